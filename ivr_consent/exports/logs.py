"""The logs of one or several servers, exported one after the other; one of them is open at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ivr_consent.core.errors import ConsentError
from ivr_consent.exports.calls import Calls, Sealed, Selection
from ivr_consent.exports.facts import Facts, facts_of
from ivr_consent.store.place import Place


@dataclass(frozen=True, slots=True)
class State:
    """A log as it was when it was exported."""

    log: str
    events: int
    pruned: int


class Logs:
    """Reads calls. Raises :class:`LedgerError` for a log that cannot be read."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self.states: list[State] = []
        """Of the logs that were read so far, by :meth:`facts`."""
        self._open: Calls | None = None

    def resolved(self, chosen: Selection) -> Selection:
        """The same, with the whole id of a call that was given by its beginning. Raises :class:`ConsentError`."""
        if chosen.call is None:
            return chosen
        found: list[str] = []
        problem: ConsentError | None = None
        for place in self.places:
            with closing(Calls(place)) as calls:
                try:
                    found.append(calls.find(chosen.call.lower()))
                except ConsentError as error:
                    problem = error
        if len(found) == 1:
            return replace(chosen, call=found[0])
        raise problem or ConsentError(f"calls of several servers have an id that begins with {chosen.call!r}")

    def count(self, chosen: Selection) -> int:
        """How many calls are chosen."""
        return sum(self._each(lambda calls: calls.count(chosen)))

    def size(self) -> int:
        """How many events there are."""
        return sum(self._each(lambda calls: calls.size))

    def _each(self, question: Callable[[Calls], int]) -> Iterator[int]:
        for place in self.places:
            with closing(Calls(place)) as calls:
                yield question(calls)

    def facts(
        self, chosen: Selection, told: Callable[[int], None] = lambda _: None, *, personal: bool = True
    ) -> Iterator[Facts]:
        """The chosen calls. ``told``: how many events lie behind."""
        behind = 0
        for place in self.places:
            with closing(Calls(place)) as calls:
                self._open = calls
                for call in calls.stream(chosen):
                    yield facts_of(call, personal=personal)
                    told(behind + call.decision.sequence)
                behind += calls.size
                self.states.append(State(calls.log_id, calls.size, calls.pruned()))
        self._open = None

    def sealed(self, sequence: int) -> Sealed | None:
        """A checkpoint over an event of the log that is read now."""
        assert self._open is not None
        return self._open.checkpoint_over(sequence)

    def whole(self) -> None:
        """Note the state of each log that is exported as a whole."""
        for place in self.places:
            with closing(Calls(place)) as calls:
                self.states.append(State(calls.log_id, calls.size, calls.pruned()))
