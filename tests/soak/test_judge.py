"""The judge of the soak: a run in which all is well passes, and each planted violation is found, by its own rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.soak.evidence import Decided, Evidence, Expected, GateCall, Line, Planned, Sample, Window
from tests.soak.judge import RULES, growth, judge, settled

BEGAN, ENDED = 1000.0, 1600.0
PID = 42


def sample(at: float, **changed: Any) -> Sample:
    ordinary = Sample(at, PID, 70.0, 30, 12, 60.0, 5, 3, 100, 1 << 20)
    return replace(ordinary, **changed)


def call(number: int, result: str, reason: str, entered: float) -> tuple[GateCall, Decided]:
    """A call with its decision; a granted one has a recording that ended in an orderly way."""
    name = f"{number:032x}"
    file = f"{name}.wav" if result == "granted" else None
    later = ("recording_confirmed", "routed", "recording_ended") if file else ()
    made = GateCall(f"c{number}", f"1.{number}", entered, result, reason, name, told=entered + 6, over=entered + 10)
    return made, Decided(
        name, f"1.{number}", entered + 5, result, reason, later, file, f"sum{number}" if file else None
    )


def good() -> Evidence:
    """Ten minutes, forty calls of each kind of caller, a fault in the first half."""
    evidence = Evidence(BEGAN, ENDED)
    kinds = [
        ("says yes", Expected.GRANTED, "granted", "yes_key"),
        ("says no", Expected.NEVER, "declined", "no_key"),
        ("is silent", Expected.NEVER, "no_answer", "silence"),
        ("withdraws", Expected.WITHDRAWN, "granted", "yes_key"),
    ]
    for number in range(40):
        kind, expected, result, reason = kinds[number % 4]
        made, decided = call(number, result, reason, BEGAN + 50 + number * 12)
        if expected is Expected.WITHDRAWN:
            decided = replace(decided, later=(*decided.later[:2], "withdrawn"), file=None, sha256=None)
        evidence.planned.append(Planned(made.tag, kind, expected))
        evidence.calls.append(made)
        evidence.decided.append(decided)
        if decided.file is not None and decided.sha256 is not None:
            evidence.files[decided.file] = decided.sha256
            evidence.created += [decided.file, decided.file.replace(".wav", ".raw")]
    evidence.windows = [Window("service killed", 1010.0, 1020.0)]
    evidence.samples = [sample(BEGAN + 5 * number, descriptors=30 + number % 3) for number in range(121)]
    evidence.idle = (sample(BEGAN - 1, up=0, descriptors=27), sample(ENDED + 20, up=0, descriptors=29))
    evidence.open_when_idle = ({"log": 27}, {"log": 29})
    evidence.events = {"decision": 40}
    evidence.lines = [Line(1011.0, "info", "listening", "{}"), Line(1300.0, "warning", "manager_down", "{}")]
    return evidence


def test_a_good_run_passes() -> None:
    assert judge(good()) == []


GONE = call(99, "failed", "server_failed", 1300.0)[0]
KILLED = Window("service killed", 1305.0, 1312.0)


def lost(evidence: Evidence) -> None:
    evidence.decided.pop(7)


def twice(evidence: Evidence) -> None:
    evidence.decided.append(replace(evidence.decided[5], call_id="f" * 32))


def asked_again_without_decision(evidence: Evidence) -> None:
    evidence.calls[9] = replace(evidence.calls[9], asks=2, last_id="9" * 32)


def twice_by_its_id(evidence: Evidence) -> None:
    evidence.decided.append(replace(evidence.decided[5], uniqueid="-", reason="service_died"))


def unknown(evidence: Evidence) -> None:
    evidence.decided.append(Decided("e" * 32, "9.9", 1300.0, "declined", "no_key"))


def told_otherwise(evidence: Evidence) -> None:
    evidence.decided[0] = replace(evidence.decided[0], outcome="failed", file=None, sha256=None)
    evidence.files.pop(f"{0:032x}.wav")
    evidence.created = [name for name in evidence.created if not name.startswith(f"{0:032x}")]


def granted_without_decision(evidence: Evidence) -> None:
    evidence.windows.append(Window("service killed", 1045.0, 1055.0))
    told_otherwise(evidence)
    evidence.decided.pop(0)


def file_without_grant(evidence: Evidence) -> None:
    evidence.files["d" * 32 + ".wav"] = "sum"


def file_with_two_grants(evidence: Evidence) -> None:
    evidence.decided.append(replace(evidence.decided[0], uniqueid="1.1000"))


def file_of_a_refusal(evidence: Evidence) -> None:
    evidence.files[f"{1:032x}.wav"] = "sum"


def file_that_was_withdrawn(evidence: Evidence) -> None:
    evidence.files[f"{3:032x}.wav"] = "sum"


def file_changed(evidence: Evidence) -> None:
    evidence.files[f"{0:032x}.wav"] = "other"


def file_for_a_moment(evidence: Evidence) -> None:
    evidence.created.append(f"{1:032x}.raw")


def audio_elsewhere(evidence: Evidence) -> None:
    evidence.strays.append("monitor/x.wav")


def incident(evidence: Evidence) -> None:
    evidence.events["incident"] = 1


def paused(evidence: Evidence) -> None:
    evidence.events["recording_paused"] = 2


def orphan(evidence: Evidence) -> None:
    evidence.decided[3] = replace(evidence.decided[3], later=("recording_confirmed", "routed"))


def file_gone(evidence: Evidence) -> None:
    evidence.files.pop(f"{0:032x}.wav")


def a_silent_caller_is_granted(evidence: Evidence) -> None:
    made, decided = call(2, "granted", "yes_key", evidence.calls[2].entered)
    evidence.calls[2], evidence.decided[2] = made, decided
    evidence.files[f"{2:032x}.wav"] = "sum2"


def nobody_is_granted_who_wants_it(evidence: Evidence) -> None:
    for number in (0, 4, 8):
        evidence.calls[number] = replace(evidence.calls[number], result="no_answer")
        evidence.decided[number] = replace(evidence.decided[number], outcome="no_answer", file=None, sha256=None)
        evidence.files.pop(f"{number:032x}.wav")
    evidence.created = [f"{12:032x}.wav"]


def withdrawals_fail(evidence: Evidence) -> None:
    for number in (3, 7, 11):
        name = f"{number:032x}.wav"
        evidence.decided[number] = replace(
            evidence.decided[number], later=("recording_ended",), file=name, sha256=f"sum{number}"
        )
        evidence.files[name] = f"sum{number}"


def never_arrived(evidence: Evidence) -> None:
    evidence.calls.pop(1)
    evidence.decided.pop(1)


def most_never_arrived(evidence: Evidence) -> None:
    evidence.windows.append(Window("switch killed", 1100.0, 1105.0))
    evidence.planned += [Planned(f"d{number}", "says yes", Expected.GRANTED) for number in range(20)]


def arrived_twice(evidence: Evidence) -> None:
    made, decided = call(200, "declined", "no_key", 1300.0)
    evidence.calls.append(replace(made, tag="c1"))
    evidence.decided.append(decided)


def nobody_at_all(evidence: Evidence) -> None:
    evidence.planned, evidence.calls, evidence.decided, evidence.files, evidence.created = [], [], [], {}, []


def sipp_broke(evidence: Evidence) -> None:
    evidence.broken.append("sipp ended with 255: cannot bind")


def not_verified(evidence: Evidence) -> None:
    evidence.verified = (1, "event 12 was changed")


def an_error(evidence: Evidence) -> None:
    evidence.lines.append(Line(1400.0, "error", "session_failed", "{}"))


def a_traceback(evidence: Evidence) -> None:
    evidence.lines.append(Line(1011.0, "error", "", "Traceback (most recent call last):"))


def an_error_of_another_fault(evidence: Evidence) -> None:
    evidence.windows.append(Window("link cut", 1395.0, 1399.0))
    evidence.lines.append(Line(1400.0, "error", "log_not_written", "{}"))


def a_worker_that_died(evidence: Evidence) -> None:
    evidence.lines.append(Line(1400.0, "error", "", "ivr-consent: the worker ended (exit code -11); restarting"))


def leaks(**a_second: float) -> Callable[[Evidence], None]:
    """So much more of it each second, whatever else goes up and down."""

    def plant(evidence: Evidence) -> None:
        evidence.samples = [
            replace(
                one,
                **{
                    name: type(getattr(one, name))(getattr(one, name) + more * (one.at - BEGAN))
                    for name, more in a_second.items()
                },
            )
            for one in evidence.samples
        ]

    return plant


def not_given_back(evidence: Evidence) -> None:
    before, after = evidence.idle
    evidence.idle = (before, replace(after, descriptors=before.descriptors + 12))
    evidence.open_when_idle = ({"log": 27}, {"log": 27, "socket:[N]": 12})


def no_samples(evidence: Evidence) -> None:
    evidence.samples = evidence.samples[:60]


def worker_replaced_late(evidence: Evidence) -> None:
    evidence.samples = [replace(one, pid=PID + (one.at > ENDED - 20)) for one in evidence.samples]


def never_healed(evidence: Evidence) -> None:
    evidence.unhealed.append("link cut: the service did not watch again")


def bad_exit(evidence: Evidence) -> None:
    evidence.stopped = -9


def left_behind(evidence: Evidence) -> None:
    evidence.left.append("sipp")


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        ("one decision for each call", lost),
        ("one decision for each call", twice),
        ("one decision for each call", asked_again_without_decision),
        ("one decision for each call", twice_by_its_id),
        ("one decision for each call", granted_without_decision),
        ("no decision without a call", unknown),
        ("told as decided", told_otherwise),
        ("one grant for each file", file_without_grant),
        ("one grant for each file", file_with_two_grants),
        ("one grant for each file", file_of_a_refusal),
        ("one grant for each file", file_that_was_withdrawn),
        ("one grant for each file", file_changed),
        ("one grant for each file", file_for_a_moment),
        ("one grant for each file", audio_elsewhere),
        ("one grant for each file", incident),
        ("one grant for each file", paused),
        ("no orphan", orphan),
        ("no orphan", file_gone),
        ("recorded as the caller wanted", a_silent_caller_is_granted),
        ("recorded as the caller wanted", nobody_is_granted_who_wants_it),
        ("recorded as the caller wanted", withdrawals_fail),
        ("every caller arrived", never_arrived),
        ("every caller arrived", most_never_arrived),
        ("every caller arrived", arrived_twice),
        ("every caller arrived", nobody_at_all),
        ("every caller arrived", sipp_broke),
        ("the log verifies", not_verified),
        ("no unexplained error", an_error),
        ("no unexplained error", a_traceback),
        ("no unexplained error", an_error_of_another_fault),
        ("no unexplained error", a_worker_that_died),
        ("memory and descriptors are flat", leaks(rss=0.02)),
        ("memory and descriptors are flat", leaks(watcher_rss=0.02)),
        ("memory and descriptors are flat", leaks(descriptors=0.04)),
        ("memory and descriptors are flat", leaks(watcher_descriptors=0.04)),
        ("memory and descriptors are flat", leaks(threads=0.02)),
        ("memory and descriptors are flat", not_given_back),
        ("memory and descriptors are flat", no_samples),
        ("memory and descriptors are flat", worker_replaced_late),
        ("every fault was over", never_healed),
        ("everything ended", bad_exit),
        ("everything ended", left_behind),
    ],
)
def test_what_is_planted_is_found(rule: str, plant: Callable[[Evidence], None]) -> None:
    evidence = good()
    plant(evidence)
    assert rule in {finding.rule for finding in judge(evidence)}


def test_every_rule_has_a_violation_planted() -> None:
    marker = next(mark for mark in test_what_is_planted_is_found.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]  # pytest puts it there
    assert {rule for rule, _ in marker.args[1]} == set(RULES)


def test_what_a_fault_explains_is_none() -> None:
    """A call that met a dead service, its decision an hour later, what the service said of a full disk."""
    evidence = good()
    evidence.windows += [KILLED, Window("disk full", 1400.0, 1405.0)]
    evidence.planned.append(Planned(GONE.tag, "says yes", Expected.GRANTED))
    evidence.calls.append(GONE)
    died = replace(GONE, tag="c98", uniqueid="1.98", call_id="9" * 32)
    evidence.planned.append(Planned("c98", "says no", Expected.NEVER))
    evidence.calls.append(died)
    evidence.decided.append(Decided("9" * 32, "-", 9000.0, "failed", "service_died"))
    evidence.lines += [
        Line(1308.0, "error", "", "ivr-consent: the worker ended (exit code -9); restarting"),
        Line(1403.0, "error", "log_not_written", "{}"),
    ]
    assert judge(evidence) == []


def test_who_is_asked_again_by_a_code_has_two_decisions() -> None:
    evidence = good()
    evidence.calls[9] = replace(evidence.calls[9], asks=2, last_id="9" * 32)
    evidence.decided.append(replace(evidence.decided[9], call_id="9" * 32, outcome="no_answer", reason="silence"))
    assert judge(evidence) == []


def test_a_call_cut_by_a_dead_switch_needs_no_decision() -> None:
    evidence = good()
    evidence.windows.append(Window("switch killed", 1305.0, 1308.0))
    evidence.calls.append(replace(GONE, result="", reason="", call_id="", told=None, over=None))
    evidence.planned += [Planned(GONE.tag, "says yes", Expected.GRANTED), Planned("c100", "says no", Expected.NEVER)]
    evidence.decided.append(Decided("e" * 32, "9.9", 1306.0, "abandoned", "hung_up_choosing"))
    assert judge(evidence) == []


def test_a_trend_is_none_of_a_burst() -> None:
    """A last sample in the middle of many calls, and one late collection of garbage."""
    flat = [sample(BEGAN + 5 * number) for number in range(40)]
    burst = [*flat[:-2], replace(flat[-2], rss=95.0), replace(flat[-1], rss=95.0)]
    assert growth(burst, lambda one: one.rss) == 0.0
    rising = [replace(one, rss=one.rss + 0.1 * number + (number % 2)) for number, one in enumerate(flat)]
    assert growth(rising, lambda one: one.rss) == pytest.approx(3.9, abs=0.3)
    assert growth(flat[:1], lambda one: one.rss) == 0.0


def test_what_the_log_is_kept_by_is_no_leak() -> None:
    """The worker's cache grows with the log until it is full; what grows beside it is told."""
    evidence = good()
    evidence.log_bytes = 40 << 18  # a quarter of a MiB for each decision
    times = sorted(one.at for one in evidence.decided)

    def cached(at: float) -> float:
        return 0.25 * sum(time <= at for time in times)

    evidence.samples = [replace(one, rss=70 + cached(one.at)) for one in evidence.samples]
    assert growth(settled(evidence), lambda one: one.rss) > 4.2
    assert judge(evidence) == []
    evidence.samples = [replace(one, rss=one.rss + 0.02 * (one.at - BEGAN)) for one in evidence.samples]
    assert {finding.rule for finding in judge(evidence)} == {"memory and descriptors are flat"}


def test_what_is_looked_at_is_one_worker_in_the_second_half() -> None:
    evidence = good()
    evidence.samples = [replace(one, pid=PID + (one.at > BEGAN + 400)) for one in evidence.samples]
    found = settled(evidence)
    assert {one.pid for one in found} == {PID + 1}
    assert found[0].at == BEGAN + 405
