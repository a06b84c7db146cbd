"""The calls through a site's dialplan for people, and for other programs: JSON, JUnit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ivr_consent.core.decision import Outcome
from ivr_consent.testing import reports
from ivr_consent.testing.dialplans.call import Says, Seen
from ivr_consent.testing.dialplans.judged import Judged, Judgement, counts
from ivr_consent.testing.dialplans.playing import Played

MOST_CUTS = 20
"""Lines that were cut off of which each is told."""


def plain(played: Played, judgement: Judgement) -> dict[str, Any]:
    """Everything as plain JSON values."""
    return {
        "ways": len(played.ways),
        **counts(judgement),
        "wrong": list(judgement.wrong),
        "calls": [_call(call) for call in judgement.calls],
        "not_tried": [f"{one.place}: {one.what}" for one in played.untried],
        "cut_off": [f"{cut.place}: {cut.what}" for cut in played.cuts],
        "without_their_notice": played.without_notice,
    }


def _call(call: Judged) -> dict[str, Any]:
    seen = call.seen
    way = seen.caller.way
    return {
        "way_in": {"context": way.context, "dialled": way.dialled, "caller": way.caller, "by": way.what},
        "keys": seen.caller.keys,
        "caller": seen.caller.says.value,
        "asked": seen.asked,
        "line": seen.line,
        "outcome": seen.outcome,
        "recorded": seen.recorded,
        "reached": seen.reached(),
        "talked": bool(seen.partners),
        "result": "failed" if call.wrong else "passed",
        "wrong": [one.plain() for one in call.wrong],
        "way": [stop.plain() for stop in call.way],
    }


def told(played: Played, judgement: Judgement) -> Iterator[str]:
    """For people: each way in with what came of it; what is wrong with its calls; what was not done."""
    for name, group in groupby(judgement.calls, key=lambda call: call.seen.caller.name):
        calls = list(group)
        bad = [call for call in calls if call.wrong]
        way = calls[0].seen.caller.way
        yield f"{'FAILED' if bad else 'ok':<7} {name}  ({way.what}, {way.place})"
        yield from (f"          {line}" for line in _results(calls))
        said: set[str] = set()
        for call in bad:
            for one in call.wrong:
                at = "" if one.place is None else f" at {one.place}"
                yield f"  - {call.seen.caller.says.value}: {one.what}{at}"
                if one.remedy not in said:
                    yield f"    do: {one.remedy}"
                said.add(one.remedy)
        if bad:
            for number, stop in enumerate(bad[0].way):
                yield f"  {'way:' if number == 0 else '    '}  {stop.place}  {stop.at}  {stop.what}"
    yield from (f"FAILED  {one}" for one in judgement.wrong)
    yield from (f"not tried: {one.place}: {one.what}" for one in played.untried)
    for cut in played.cuts[:MOST_CUTS]:
        yield f"not run: {cut.place}: {cut.what}"
    if len(played.cuts) > MOST_CUTS:
        yield f"not run: {len(played.cuts) - MOST_CUTS} lines more; --json names them all"
    for line in played.without_notice:
        yield f"note: the line {line} was asked with a shipped notice: its own could not be spoken here"


def _results(calls: list[Judged]) -> Iterator[str]:
    """In a line each: what callers who came to the same had said."""
    by_result: dict[str, list[str]] = {}
    for call in calls:
        by_result.setdefault(_result(call.seen), []).append(call.seen.caller.says.value)
    for result, said in by_result.items():
        yield f"{', '.join(said)}: {result}"


def _result(seen: Seen) -> str:
    reached = ", ".join(seen.reached()) or "nobody"
    if not seen.asked:
        return f"not asked; reaches {reached}"
    recorded = "recorded" if seen.recorded or seen.files else "not recorded"
    if seen.caller.says is Says.HANGS_UP:
        return f"{seen.outcome}; {recorded}"
    return f"{seen.outcome or Outcome.FAILED.value}; {recorded}; reaches {reached}"


def junit(judgement: Judgement) -> bytes:
    """A suite for each way in, a case for each caller."""
    return reports.junit_of(
        [
            reports.Case(
                f"dialplan.{call.seen.caller.way.name}",
                f"{call.seen.caller.name}, who {call.seen.caller.says.value}",
                0.0,
                tuple(one.what for one in call.wrong),
                tuple(f"{stop.place}  {stop.at}  {stop.what}" for stop in call.way),
            )
            for call in judgement.calls
        ]
        + [reports.Case("dialplan", "the whole", 0.0, judgement.wrong, ())]
    )
