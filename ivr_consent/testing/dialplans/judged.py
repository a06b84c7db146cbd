"""What is wrong with a call through a site's dialplan, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from ivr_consent.core.decision import Outcome
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan, Step
from ivr_consent.pbx.asterisk.audit.judge import BRANCH, GATE
from ivr_consent.pbx.asterisk.variables import CONTEXT
from ivr_consent.pbx.audit.findings import Place, Stop, shortened
from ivr_consent.testing.dialplans.call import Executed, Says, Seen
from ivr_consent.testing.dialplans.playing import Played

GRANTED = Outcome.GRANTED.value
LONGEST_STEP = 160
"""Characters of a step that are told."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that must not be. ``place`` is where it stands in the site's files, where that is known."""

    what: str
    place: Place | None
    remedy: str

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        place = {} if self.place is None else {"file": self.place.file, "line": self.place.line}
        return {"what": self.what, **place, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Judged:
    """A call with what is wrong with it, and the way that it took through the site's own dialplan."""

    seen: Seen
    wrong: tuple[Wrong, ...]
    way: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """All calls, and what is wrong with the whole."""

    calls: tuple[Judged, ...]
    wrong: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong and not any(call.wrong for call in self.calls)


def judged(played: Played, ungated: Collection[str] = ()) -> Judgement:
    """Judge every call. ``ungated``: queues that calls may reach without being asked."""
    calls = tuple(
        Judged(seen, tuple(_wrong(played, seen, ungated)), _way(played, seen))
        for seen in sorted(played.calls, key=lambda seen: _order(played, seen))
    )
    whole: list[str] = []
    if not any(seen.asked for seen in played.calls):
        whole.append(f"no call came to the gate: put {GATE} before the queue")
    told = any(seen.recorders() for seen in played.calls)
    if played.strangers and not told:
        names = ", ".join(played.strangers[:5])
        whole.append(f"something that no step of the dialplan shows wrote {len(played.strangers)} files: {names}")
    whole += [f"{caller.name}, who {caller.says.value}: {why}" for caller, why in played.failed]
    if played.left:
        whole.append(f"{played.left} calls more would have been needed: name some of the contexts with --into")
    return Judgement(calls, tuple(whole))


def _order(played: Played, seen: Seen) -> tuple[int, str, int]:
    return played.ways.index(seen.caller.way), seen.caller.keys, list(Says).index(seen.caller.says)


def _wrong(played: Played, seen: Seen, ungated: Collection[str]) -> Iterator[Wrong]:
    yield from _recorders(played, seen)
    yield from _queues(played.dialplan, seen, ungated)
    if seen.asked:
        yield from _gate(played.dialplan, seen)


def _recorders(played: Played, seen: Seen) -> Iterator[Wrong]:
    """Whatever records is ours."""
    asked_at = seen.gate_at
    for at, what, step in seen.recorders():
        stands = None if step is None else _step(played.dialplan, step)
        if stands is not None and stands.allowed:
            continue
        if asked_at is None or at < asked_at:
            when = "before anybody was asked"
        elif seen.outcome != GRANTED:
            when = f"although the gate's result is {seen.outcome or Outcome.FAILED.value}"
        else:
            when = "beside ours, after a yes"
        place = None if stands is None else stands.place
        remedy = f"remove it; nothing but {GATE} starts a recording"
        yield Wrong(f"{_short(what, played.moved)} records, {when}", place, remedy)


def _queues(dialplan: Dialplan, seen: Seen, ungated: Collection[str]) -> Iterator[Wrong]:
    """Who comes into a queue was asked before."""
    asked_at = seen.gate_at
    for step in seen.queues():
        name = seen.queue(step)
        if name not in ungated and (asked_at is None or step.at < asked_at):
            stands = _step(dialplan, step)
            remedy = f"put {GATE} before it, or name a queue that is never recorded: --ungated {name}"
            place = None if stands is None else stands.place
            yield Wrong(f"comes into the queue {name} without being asked", place, remedy)
            return


def _gate(dialplan: Dialplan, seen: Seen) -> Iterator[Wrong]:
    """What the gate promised is what happened."""
    outcome = seen.outcome or Outcome.FAILED.value
    last = next((step for step in reversed(seen.steps) if not step.gate), None)
    place = None if last is None or (stands := _step(dialplan, last)) is None else stands.place
    if outcome != GRANTED and (seen.recorded or seen.files):
        yield Wrong(f"was recorded although the gate's result is {outcome}", place, "tell us: this must never be")
    if seen.caller.says is Says.YES and outcome != GRANTED:
        remedy = "see docs/operations.md for the reason; is the line in the configuration, and spelled like that?"
        yield Wrong(
            f"said yes on the line {seen.line!r}, and the gate's result is {outcome} ({seen.reason})", place, remedy
        )
    if seen.caller.says is Says.YES and outcome == GRANTED and not seen.recorded:
        yield Wrong("said yes, and no recorder was started", place, "see the service's log")
    if seen.caller.says is not Says.HANGS_UP and seen.cut_off and not seen.reached_after_gate():
        remedy = f"let {BRANCH} branch, and the unrecorded line follow: who is not recorded gets the same service"
        yield Wrong(f"the call ends behind the gate, whose result is {outcome}, and reaches nobody", place, remedy)


def _step(dialplan: Dialplan, executed: Executed) -> Step | None:
    """The step in the site's files; ``None`` for one that Asterisk made."""
    if executed.context not in dialplan.contexts:
        return None
    for extension, number in dialplan.find(executed.context, executed.extension, executed.priority)[:1]:
        return extension.steps[number]
    return None


def _way(played: Played, seen: Seen) -> tuple[Stop, ...]:
    """Where the call left the row of priorities, through the site's own dialplan."""
    way = seen.caller.way
    stops = [Stop(way.place, way.context, way.what)]
    gated = False
    for step in seen.steps:
        if step.gate:
            if not gated and step.context == CONTEXT:
                stops.append(Stop(Place("the gate"), step.context, f"asks; {seen.outcome or Outcome.FAILED.value}"))
                gated = True
            continue
        gated = False
        stands = _step(played.dialplan, step)
        at = f"{step.context},{step.extension},{step.priority}"
        place = Place("the dialplan") if stands is None else stands.place
        stops.append(Stop(place, at, _short(f"{step.written}({step.data})", played.moved)))
    return shortened(stops)


def _short(text: str, moved: str) -> str:
    """A step with the site's own paths, and not too long."""
    text = text.replace(moved, "") if moved else text
    return text if len(text) <= LONGEST_STEP else text[: LONGEST_STEP - 3] + "..."


def counts(judgement: Judgement) -> dict[str, int]:
    """How many calls went well, and how many did not."""
    failed = sum(bool(call.wrong) for call in judgement.calls)
    return {"passed": len(judgement.calls) - failed, "failed": failed}
