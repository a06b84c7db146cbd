"""What must hold at the end of a soak, and what of it does not. Pure: evidence in, findings out."""

from __future__ import annotations

import bisect
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ivr_consent.store.database import CACHE_KIB
from tests.soak.evidence import Decided, Evidence, Expected, GateCall, Line, Sample, Window

SERVICE_GONE: Final = frozenset({"service killed", "worker killed", "worker hangs"})
"""Faults with which nobody is there to decide: the log has no entry of such a call, or ``service_died`` later."""

SWITCH_GONE: Final = "switch killed"

CLOSED: Final = frozenset(
    {
        "recording_ended",
        "recording_stopped",
        "recording_not_confirmed",
        "recording_missing",
        "withdrawn",
        "grant_void",
    }
)

ID_LENGTH: Final = 32

EXPLAINED: Final = {
    "disk full": {"log_not_written", "recording_not_finished", "sweep_failed", "withdrawal_not_done",
                  "log_not_sealed", "withdrawal_failed", "checkpoint_not_anchored"},
    SWITCH_GONE: {"manager_login_refused", "guard_rights_missing"},
}  # fmt: skip  # rows that belong together
"""Errors in the service's log that a fault explains, while it lasts and shortly after."""

WATCHER: Final = re.compile(r"ivr-consent: the worker [\w ]+(\(exit code -?\d+\))?; restarting")
"""What the watcher says, in words, of a worker that a fault has ended."""

AFTERWARDS_S: Final = 35.0
"""The service tries again after up to 30 seconds what failed in a fault, and says so then."""

SHARE: Final = 0.8
"""Of callers who said yes in time and met no fault, at least so many were granted. Not all: a machine that is late
makes a caller's key early, and such a key does not count."""

ENOUGH: Final = 5
"""Callers of whom a share says something."""

GROWTH_MIB: Final = 4.0
GROWTH_SHARE: Final = 0.06
"""Of memory in the second half of a run, in the worker that lives through all of it, beside its cache: this much, or
this share of the median if that is more, is no leak. The allocator's arenas fill up in the first minutes, each with
pages that are partly in use. Ten kilobytes lost with each of the 600 calls of a ten minutes' half would be 6 MiB."""

CACHE_MIB: Final = CACHE_KIB / 1024
"""What the worker keeps of the log's pages: it grows with the log until it is full, and then no more. Seen with 20,000
calls in one worker: 19 MiB in the first 3,500, nothing in the others."""

GROWTH_DESCRIPTORS: Final = 8.0
"""Above what calls take. SQLite keeps the descriptor of a connection that is closed while another has the file open,
for the next one: as many as were ever open at once, which is what a busy moment needs. One lost with every fiftieth of
the 600 calls of a half would be 12."""

GROWTH_THREADS: Final = 3.0
"""A pool starts a thread when it first needs one; a leak goes on."""

FEWEST_SAMPLES: Final = 6
"""Of which a slope says something."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. ``rule``: which of the promises."""

    rule: str
    what: str


def judge(evidence: Evidence) -> list[Finding]:
    """Everything that does not hold; empty: all is well."""
    return [Finding(name, what) for name, rule in RULES.items() for what in rule(evidence)]


# --- decisions -------------------------------------------------------------------------------------------------------


def decisions_by_call(evidence: Evidence) -> dict[str, list[Decided]]:
    """The decisions of each call, by its channel: those that name it, and those under the id that the call was told.

    The process that took a call may be gone with all that it knew but the id: ``service_died``.
    """
    by_channel, by_id = defaultdict(list), defaultdict(list)
    for one in evidence.decided:
        by_channel[one.uniqueid].append(one)
        by_id[one.call_id].append(one)
    found = {}
    for call in evidence.calls:
        ids = {call.call_id, call.last_id} - {""}
        more = [one for call_id in ids for one in by_id[call_id] if one.uniqueid != call.uniqueid]
        found[call.uniqueid] = by_channel[call.uniqueid] + more
    return found


def one_decision(evidence: Evidence) -> Iterable[str]:
    """Each time that a call came through the gate has one decision; none only where nobody was there to make it."""
    decisions = decisions_by_call(evidence)
    for call in evidence.calls:
        count = len(decisions[call.uniqueid])
        name = f"call {call.tag} ({call.uniqueid})"
        if count > call.asks:
            yield f"{name} has {count} decisions, and was asked {call.asks} times"
        elif count == 0 and call.result == "granted":
            yield f"{name} was told granted, and has no decision"
        elif count < call.asks and not _met(evidence, call, SERVICE_GONE | {SWITCH_GONE}):
            told = f"told {call.result or 'nothing'} {call.reason}".strip()
            asked = f"{name} was asked {call.asks} times and has {count} decisions"
            yield f"{asked}, {told}, and the service was there"


def decisions_of_calls(evidence: Evidence) -> Iterable[str]:
    """Each decision is one of a call that Asterisk knows, and no two are of one id."""
    known = {name for call in evidence.calls for name in (call.uniqueid, call.call_id, call.last_id)}
    for one in evidence.decided:
        if one.uniqueid in known or one.call_id in known:
            continue
        # The last words of an Asterisk that is killed may be lost.
        if not any(window.kind == SWITCH_GONE and window.meets(one.at, one.at) for window in evidence.windows):
            yield f"decision {one.call_id} ({one.outcome}) is of {one.uniqueid}, which Asterisk does not know"
    for call_id, count in Counter(one.call_id for one in evidence.decided).items():
        if count > 1:
            yield f"{count} decisions have the id {call_id}"


def what_was_told(evidence: Evidence) -> Iterable[str]:
    """Who was told ``granted`` has a grant on disk, under the id that was told."""
    decisions = decisions_by_call(evidence)
    for call in evidence.calls:
        said = {one.call_id: one.outcome for one in decisions[call.uniqueid]}
        if call.result == "granted" and said and said.get(call.call_id) != "granted":
            yield f"call {call.tag} was told granted {call.call_id}; the log says {said}"


# --- recordings ------------------------------------------------------------------------------------------------------


def one_grant(evidence: Evidence) -> Iterable[str]:
    """Each file has one grant, and is what the log says of it."""
    grants: dict[str, list[Decided]] = defaultdict(list)
    for one in evidence.decided:
        if one.outcome == "granted":
            grants[one.call_id].append(one)
    for name, digest in evidence.files.items():
        found = grants.get(name[:ID_LENGTH], [])
        if len(found) != 1:
            yield f"file {name} has {len(found)} grants"
        elif found[0].file != name:
            yield f"file {name} is there; of its call the log says {', '.join(found[0].later) or 'nothing more'}"
        elif found[0].sha256 != digest:
            yield f"file {name} is not what the log says: SHA-256 {digest}"
    for name in evidence.created:
        if len(grants.get(name[:ID_LENGTH], [])) != 1 and not name.endswith(".withdrawn"):
            yield f"file {name} was there for a moment, and nobody had granted it"
    yield from (f"audio where none may be: {name}" for name in evidence.strays)
    if count := evidence.events.get("incident", 0):
        yield f"{count} recordings without a grant, says the guard"
    if count := evidence.events.get("recording_paused", 0):
        yield f"{count} recordings were made silent, and nobody held a call, parked it or joined it"


def no_orphans(evidence: Evidence) -> Iterable[str]:
    """Each grant came to an end in the log, and what the log says is kept is there."""
    for one in evidence.decided:
        if one.outcome != "granted":
            continue
        if not CLOSED & set(one.later):
            yield f"grant {one.call_id} has no end: {', '.join(one.later) or 'nothing follows it'}"
        if one.file is not None and one.file not in evidence.files:
            yield f"grant {one.call_id}: its file {one.file} is gone"


# --- callers ---------------------------------------------------------------------------------------------------------


def what_callers_wanted(evidence: Evidence) -> Iterable[str]:
    """Who refuses, is silent, presses nonsense or hangs up is never recorded; who says yes is, almost always."""
    calls = {call.tag: call for call in evidence.calls}
    decisions = decisions_by_call(evidence)
    heard: dict[Expected, list[bool]] = {Expected.GRANTED: [], Expected.WITHDRAWN: []}
    for planned in evidence.planned:
        call = calls.get(planned.tag)
        if call is None:
            continue
        later = {kind for one in decisions[call.uniqueid] for kind in (one.outcome, *one.later)}
        granted = "granted" in later
        if planned.expected is Expected.NEVER and (granted or call.result == "granted"):
            yield f"call {planned.tag} ({planned.kind}) was granted"
        quiet = not any(window.meets(call.entered, call.over or evidence.ended) for window in evidence.windows)
        if planned.expected in heard and quiet:
            wanted = "withdrawn" if planned.expected is Expected.WITHDRAWN else "recording_ended"
            heard[planned.expected].append(granted and wanted in later)
    for expected, outcomes in heard.items():
        if len(outcomes) >= ENOUGH and sum(outcomes) < SHARE * len(outcomes):
            yield f"of {len(outcomes)} callers without a fault who were to be {expected.value}, {sum(outcomes)} were"


def callers_arrived(evidence: Evidence) -> Iterable[str]:
    """Each caller that sipp played is in Asterisk's log, unless Asterisk was dead; and there were some."""
    arrived = Counter(call.tag for call in evidence.calls)
    missing = [planned.tag for planned in evidence.planned if not arrived[planned.tag]]
    if missing and not any(window.kind == SWITCH_GONE for window in evidence.windows):
        yield f"{len(missing)} callers never reached the gate: {', '.join(missing[:5])}"
    if len(missing) > 0.2 * max(len(evidence.planned), 1):
        yield f"{len(missing)} of {len(evidence.planned)} callers never reached the gate"
    yield from evidence.broken
    yield from (f"caller {tag} is in Asterisk's log {count} times" for tag, count in arrived.items() if count > 1)
    if not any(one.outcome == "granted" for one in evidence.decided):
        yield "nobody was granted: this run shows nothing"


# --- the service -----------------------------------------------------------------------------------------------------


def the_log_verifies(evidence: Evidence) -> Iterable[str]:
    """``ivr-consent log verify`` finds nothing."""
    code, said = evidence.verified
    if code:
        yield f"log verify ended with {code}: {said}"


def no_errors(evidence: Evidence) -> Iterable[str]:
    """The service's log has no traceback, and no error that a fault does not explain."""
    for line in evidence.lines:
        if line.level in ("debug", "info", "warning"):
            continue
        ends = any(window.kind in SERVICE_GONE and _near(window, line) for window in evidence.windows)
        if ends and WATCHER.match(line.text):
            continue
        if not any(line.event in EXPLAINED.get(window.kind, ()) and _near(window, line) for window in evidence.windows):
            yield f"{line.event or 'no JSON'}: {line.text[:300]}"


def all_healed(evidence: Evidence) -> Iterable[str]:
    """After each fault the service watches again, within a minute."""
    return evidence.unhealed


def all_ended(evidence: Evidence) -> Iterable[str]:
    """The service stopped in an orderly way, and no process is left."""
    if evidence.stopped:
        yield f"the service ended with {evidence.stopped}"
    yield from (f"still running: {process}" for process in evidence.left)


def growth(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    """How much a value grew over the samples: the median of all slopes (Theil and Sen), times their span.

    A burst of calls or one late collection of garbage moves the last sample, and hardly this.
    """
    slopes = [
        (value(later) - value(earlier)) / (later.at - earlier.at)
        for number, earlier in enumerate(samples)
        for later in samples[number + 1 :]
        if later.at > earlier.at
    ]
    return statistics.median(slopes) * (samples[-1].at - samples[0].at) if slopes else 0.0


def settled(evidence: Evidence) -> list[Sample]:
    """Samples of the second half, of the worker that was there at its end."""
    middle = (evidence.began + evidence.ended) / 2
    last = evidence.samples[-1].pid if evidence.samples else 0
    return [one for one in evidence.samples if one.pid == last and middle <= one.at <= evidence.ended]


def beside_the_cache(evidence: Evidence) -> Callable[[Sample], float]:
    """A worker's memory without the pages of the log that it has written since its beginning (MiB)."""
    times = sorted(one.at for one in evidence.decided)
    each = evidence.log_bytes / len(times) / 2**20 if times else 0.0
    began: dict[int, float] = {}
    for one in evidence.samples:
        began.setdefault(one.pid, one.at)

    def memory(one: Sample) -> float:
        written = bisect.bisect(times, one.at) - bisect.bisect(times, began.get(one.pid, one.at))
        return one.rss - min(CACHE_MIB, written * each)

    return memory


def asked(evidence: Evidence, at: float) -> int:
    """How many calls were being asked at a moment, says Asterisk."""
    return sum(call.entered <= at <= (call.told or call.over or call.entered) for call in evidence.calls)


def flat(evidence: Evidence) -> Iterable[str]:
    """Memory, descriptors and threads do not grow while calls come and go, and are given back when they have gone."""
    samples = settled(evidence)
    if len(samples) < FEWEST_SAMPLES:
        yield f"only {len(samples)} samples of one worker in the second half: nothing can be said of its memory"
        return
    for who, rss in (("worker", beside_the_cache(evidence)), ("watcher", lambda one: one.watcher_rss)):
        limit = max(GROWTH_MIB, GROWTH_SHARE * statistics.median(map(rss, samples)))
        if (grown := growth(samples, rss)) > limit:
            yield f"the {who}'s memory grew by {grown:.1f} MiB in the second half (at most {limit:.1f})"
    limits: list[tuple[str, Callable[[Sample], float], float]] = [
        # Each call that is being asked has a connection: what is left without those must stay.
        ("the worker's descriptors", lambda one: one.descriptors - asked(evidence, one.at), GROWTH_DESCRIPTORS),
        ("the watcher's descriptors", lambda one: one.watcher_descriptors, GROWTH_DESCRIPTORS),
        ("the worker's threads", lambda one: one.threads, GROWTH_THREADS),
    ]
    for name, value, limit in limits:
        if (grown := growth(samples, value)) > limit:
            yield f"{name} grew by {grown:.1f} in the second half (at most {limit:.0f})"
    if len(evidence.idle) == 2:
        before, after = evidence.idle
        more = after.descriptors - before.descriptors
        if more > GROWTH_DESCRIPTORS:
            opened, still_open = (Counter(one) for one in evidence.open_when_idle)
            what = ", ".join(f"{count} of {name}" for name, count in (still_open - opened).items())
            yield f"with nobody calling the worker has {more} descriptors more than before the first call: {what}"


def _met(evidence: Evidence, call: GateCall, kinds: frozenset[str]) -> bool:
    over = call.over or evidence.ended
    return any(window.kind in kinds and window.meets(call.entered, over) for window in evidence.windows)


def _near(window: Window, line: Line) -> bool:
    return window.began - 1.0 <= line.at <= window.ended + AFTERWARDS_S


RULES: Final[dict[str, Callable[[Evidence], Iterable[str]]]] = {
    "one decision for each call": one_decision,
    "no decision without a call": decisions_of_calls,
    "told as decided": what_was_told,
    "one grant for each file": one_grant,
    "no orphan": no_orphans,
    "recorded as the caller wanted": what_callers_wanted,
    "every caller arrived": callers_arrived,
    "the log verifies": the_log_verifies,
    "no unexplained error": no_errors,
    "memory and descriptors are flat": flat,
    "every fault was over": all_healed,
    "everything ended": all_ended,
}
"""By the words in which the result is told."""
