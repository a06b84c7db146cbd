"""Results of the gate that are possible on a way: a set of them is a number, one bit for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ivr_consent.core.decision import Outcome

HOLE: Final = "\ufffc"
"""What stands in a text for what is not known."""

VALUES: Final[tuple[str, ...]] = ("", *(outcome.value for outcome in Outcome), "ended", "withdrawn", "trial", HOLE)
"""What the result variable can hold: nothing before the gate was asked, an outcome, what the gate's own contexts set
later, or what nobody knows."""

NOT_ASKED: Final = 1
GRANTED: Final = 1 << VALUES.index(Outcome.GRANTED.value)
OTHER: Final = 1 << (len(VALUES) - 1)
ASKED: Final = sum(1 << VALUES.index(outcome.value) for outcome in Outcome)
"""What comes back from the gate: any outcome."""


def bits(results: int) -> Iterator[int]:
    """Each of a set of results alone."""
    number = 1
    while number <= results:
        if results & number:
            yield number
        number <<= 1


def bit_of(value: str) -> int:
    """The result that a text is; :data:`OTHER` for a text that the gate would not have set."""
    return 1 << VALUES.index(value) if value in VALUES and value != Outcome.GRANTED.value else OTHER


def told(results: int) -> str:
    """A set of results in words."""
    names = [name for number, name in enumerate(VALUES) if results & 1 << number]
    return ", ".join({"": "not asked", HOLE: "something unknown"}.get(name, name) for name in names)
