"""What came of a scenario that was played: right or wrong, and the call itself as a timeline.

Whatever the switch, a call is the events of :class:`~ivr_consent.testing.scenario.Observed`; here they become moments:
when, for how long, who did it, and what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ivr_consent.testing.scenario import Observed, Scenario


class Who(StrEnum):
    """Whose doing a moment of a call is."""

    CALLER = "caller"
    SWITCH = "switch"
    LOG = "log"
    RECORDER = "recorder"


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. ``ended_ms`` is later than ``at_ms`` for what lasts: a prompt, a window.

    ``event`` is the event's own word, as in a scenario's ``order``.
    """

    at_ms: int
    ended_ms: int
    who: Who
    what: str
    event: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A scenario played on a switch. ``wrong``: how it was not as expected; empty when it was.

    ``seen`` is ``None`` when there was no call: ``skipped`` says why it cannot be played there, ``wrong`` what failed.
    ``seconds`` is how long the playing took, not how long the call was.
    """

    scenario: Scenario
    on: str
    seen: Observed | None
    wrong: tuple[str, ...] = ()
    skipped: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Played, and as expected."""
        return not self.wrong and not self.skipped

    @property
    def result(self) -> str:
        """In one word: ``passed``, ``failed``, ``skipped``."""
        return "skipped" if self.skipped else "failed" if self.wrong else "passed"

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: what a line of JSON holds."""
        seen = self.seen
        told: dict[str, Any] = {
            "scenario": self.scenario.name,
            "summary": self.scenario.summary,
            "on": self.on,
            "result": self.result,
            "wrong": list(self.wrong),
            "seconds": round(self.seconds, 6),
        }
        if self.skipped:
            told["skipped"] = self.skipped
        if seen is not None:
            told |= {"outcome": seen.outcome, "reason": seen.reason, "route": seen.route, "call_ms": seen.elapsed_ms}
            told["timeline"] = [
                {"at_ms": one.at_ms, "ended_ms": one.ended_ms, "who": one.who.value, "event": one.event}
                for one in timeline(seen)
            ]
        return told


_KINDS: Final[dict[str, tuple[Who, str]]] = {
    "answer": (Who.SWITCH, "answers"),
    "play": (Who.CALLER, "hears {}"),
    "window": (Who.CALLER, "may choose: {}"),
    "press": (Who.CALLER, "presses {}"),
    "hang": (Who.CALLER, "hangs up"),
    "decide": (Who.LOG, "is sent the decision: {}"),
    "note": (Who.LOG, "is sent a note: {}"),
    "record": (Who.RECORDER, "is started"),
    "stop": (Who.RECORDER, "is stopped"),
    "route": (Who.SWITCH, "is told: the {} line"),
}
"""By the first word of an event."""

LASTING: Final = ("play", "window")
"""What goes on until the next thing that the caller does not do."""

_CALLERS: Final = ("press", "hang")


def timeline(seen: Observed) -> tuple[Moment, ...]:
    """The moments of a call, in order."""
    times = seen.events_at_ms or tuple(range(len(seen.events)))
    end = max((seen.elapsed_ms, *times))
    found: list[Moment] = []
    for number, (event, at) in enumerate(zip(seen.events, times, strict=True)):
        kind, _, about = event.partition(" ")
        who, what = _KINDS.get(kind, (Who.SWITCH, event))
        ended = at
        if kind in LASTING:
            later = zip(seen.events[number + 1 :], times[number + 1 :], strict=True)
            ended = next((then for one, then in later if _ends(one)), end)
        found.append(Moment(at, ended, who, what.format(about), event))
    return tuple(found)


def _ends(event: str) -> bool:
    kind = event.partition(" ")[0]
    return kind not in _CALLERS or kind == "hang"


def told(verdict: Verdict) -> Iterator[str]:
    """A verdict that is not good, for people: what is wrong, then the call as a timeline."""
    yield f"{verdict.result.upper()}  {verdict.scenario.name} on {verdict.on}: {verdict.scenario.summary}"
    yield from (f"  - {one}" for one in verdict.wrong)
    if verdict.skipped:
        yield f"  - {verdict.skipped}"
    if verdict.seen is not None:
        yield "      when  for       who       what"
        for one in timeline(verdict.seen):
            lasts = seconds(one.ended_ms - one.at_ms) if one.ended_ms > one.at_ms else ""
            yield f"  {seconds(one.at_ms):>8}  {lasts:<8}  {one.who.value:<8}  {one.what}"


def seconds(milliseconds: int) -> str:
    """A time in seconds to the millisecond."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many of each result."""
    found = {"passed": 0, "failed": 0, "skipped": 0}
    for verdict in verdicts:
        found[verdict.result] += 1
    return found
