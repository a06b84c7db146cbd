"""What is known of variables on a way, and behind two of them."""

from __future__ import annotations

from typing import Final

from ivr_consent.pbx.audit.results import HOLE

LONGEST_VALUE: Final = 400
MOST_VARIABLES: Final = 60
"""Characters of a value that is remembered, and variables that are remembered at a time."""


class Memory:
    """Variables by number: what is known is carried as a number, and the same values have the same one. 0: nothing."""

    def __init__(self, tracked: frozenset[str]) -> None:
        self.tracked = tracked
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {(): 0}
        self._values: list[dict[str, str]] = [{}]

    def of(self, number: int) -> dict[str, str]:
        """The values of a number; not to be changed."""
        return self._values[number]

    def number(self, values: dict[str, str]) -> int:
        """The number of some values."""
        key = tuple(sorted(values.items()))
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._values)
            self._values.append(values)
        return found

    def changed(self, number: int, name: str, value: str | None) -> int:
        """The same with another value of one variable, or without it."""
        if name not in self.tracked:
            return number
        values = self._values[number]
        if value is None or len(value) > LONGEST_VALUE or value == HOLE:
            if name not in values:
                return number
            return self.number({key: kept for key, kept in values.items() if key != name})
        if values.get(name) == value or (len(values) >= MOST_VARIABLES and name not in values):
            return number
        return self.number({**values, name: value})

    def both(self, one: int, other: int) -> int:
        """What is known either way."""
        if one == other:
            return one
        others = self._values[other]
        return self.number({name: value for name, value in self._values[one].items() if others.get(name) == value})
