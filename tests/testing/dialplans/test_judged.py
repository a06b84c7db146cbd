"""What is wrong with a call through a site's dialplan: told by what was seen of it, with the place in the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ivr_consent.pbx.asterisk.audit import judge
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan
from ivr_consent.pbx.asterisk.audit.site import survey
from ivr_consent.pbx.asterisk.manager import Event, Headers
from ivr_consent.pbx.audit.findings import Place
from ivr_consent.testing.dialplans import copied
from ivr_consent.testing.dialplans.call import Caller, Says, Seen
from ivr_consent.testing.dialplans.judged import Judgement, judged
from ivr_consent.testing.dialplans.playing import Played
from ivr_consent.testing.dialplans.told import junit, plain, told
from ivr_consent.testing.dialplans.ways import WayIn

UNIQUEID = "1700000000.1"
WAY = WayIn("from-trunk", "70102030", "", Place("pjsip.conf", 8), "calls of the endpoint trunk")
GATE = ("ivr-consent", "s", 1, "GotoIf", "0?fresh")
ASKED = (GATE, ("ivr-consent", "s", 7, "Set", "IVR_CONSENT_LINE=support"))
QUEUE = ("from-trunk", "70102030", 9, "Queue", "support")
HANGUP = ("from-trunk", "70102030", 10, "Hangup", "")

Step = tuple[str, str, int, str, str]


def dialplan() -> Dialplan:
    library = copied.library_of(Path(__file__).parents[2] / "data/dialplans/shop")
    return judge.load(library, survey(library))[0]


def call(*steps: Step, says: Says = Says.NOTHING, outcome: str = "", recorded: bool = False) -> Seen:
    seen = Seen(Caller(WAY, "", says), UNIQUEID, outcome=outcome, recorded=recorded)
    for number, step in enumerate(steps):
        seen.happened(event("Newexten", number, **fields(step)))
    return seen


def fields(step: Step) -> dict[str, str]:
    context, extension, priority, application, data = step
    return {
        "Context": context,
        "Extension": extension,
        "Priority": str(priority),
        "Application": application,
        "AppData": data,
    }


def event(name: str, at: float, **headers: str) -> Event:
    return Event(name, Headers({"Uniqueid": UNIQUEID, "Channel": "PJSIP/phone-1", **headers}), at)


def judgement(*calls: Seen, ungated: tuple[str, ...] = (), strangers: tuple[str, ...] = ()) -> Judgement:
    return judged(Played(dialplan(), [WAY], list(calls), strangers=list(strangers)), ungated)


def wrong(*calls: Seen, ungated: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    found = judgement(*calls, ungated=ungated)
    return [(one.what, str(one.place)) for judged_call in found.calls for one in judged_call.wrong]


def test_asked_and_not_recorded_is_as_it_should_be() -> None:
    assert wrong(call(*ASKED, QUEUE, outcome="declined", says=Says.NO)) == []
    assert wrong(call(*ASKED, QUEUE, outcome="granted", recorded=True, says=Says.YES)) == []


def test_a_queue_that_nobody_was_asked_before() -> None:
    seen = call(QUEUE)
    assert wrong(seen) == [("comes into the queue support without being asked", "extensions.conf:23")]
    assert wrong(seen, ungated=("support",)) == []
    assert wrong(call(QUEUE, *ASKED, outcome="declined"))[0][0] == "comes into the queue support without being asked"


def test_a_recorder_of_somebody_elses() -> None:
    tape = ("forgotten", "s", 2, "MixMonitor", "a.wav")
    assert wrong(call(tape)) == [("MixMonitor(a.wav) records, before anybody was asked", "extensions.conf:48")]
    no = call(*ASKED, tape, QUEUE, outcome="declined", says=Says.NO)
    assert wrong(no) == [("MixMonitor(a.wav) records, although the gate's result is declined", "extensions.conf:48")]
    yes = call(*ASKED, tape, QUEUE, outcome="granted", says=Says.YES, recorded=True)
    assert wrong(yes) == [("MixMonitor(a.wav) records, beside ours, after a yes", "extensions.conf:48")]


def test_a_recorder_that_no_step_started() -> None:
    seen = call(*ASKED, QUEUE, outcome="granted", says=Says.YES, recorded=True)
    seen.happened(event("MixMonitorStart", 5))  # ours
    assert wrong(seen) == []
    seen.happened(event("MixMonitorStart", 6))
    assert wrong(seen) == [("MixMonitor records, beside ours, after a yes", "None")]


def test_who_does_not_consent_reaches_somebody() -> None:
    seen = call(*ASKED, HANGUP, outcome="declined", says=Says.NO)
    seen.cut_off = True
    assert wrong(seen) == [
        ("the call ends behind the gate, whose result is declined, and reaches nobody", "extensions.conf:24")
    ]
    later = call(*ASKED, QUEUE, HANGUP, outcome="declined", says=Says.NO)
    later.cut_off = True
    assert wrong(later) == []


def test_a_yes_that_does_not_count() -> None:
    seen = call(*ASKED, QUEUE, outcome="failed", says=Says.YES)
    seen.commands.append((1.5, 'SET VARIABLE "IVR_CONSENT_REASON" "unknown_line"'))
    assert [what for what, _ in wrong(seen)] == [
        "said yes on the line 'support', and the gate's result is failed (unknown_line)"
    ]
    quiet = call(*ASKED, QUEUE, outcome="granted", says=Says.YES)
    assert [what for what, _ in wrong(quiet)] == ["said yes, and no recorder was started"]


def test_recorded_without_a_grant_is_the_worst() -> None:
    seen = call(*ASKED, QUEUE, outcome="declined", recorded=True)
    assert [what for what, _ in wrong(seen)] == ["was recorded although the gate's result is declined"]


def test_a_site_without_a_gate_is_not_good() -> None:
    found = judgement(call(("inside", "155", 1, "Dial", "PJSIP/155,30")))
    assert not found.good
    assert found.wrong[0].startswith("no call came to the gate")


def test_files_that_nothing_explains_are_told_once() -> None:
    asked = call(*ASKED, QUEUE, outcome="declined")
    assert "wrote 1 files: monitor/x.wav" in judgement(asked, strangers=("monitor/x.wav",)).wrong[0]
    explained = call(*ASKED, ("forgotten", "s", 2, "MixMonitor", "a.wav"), QUEUE, outcome="declined")
    assert judgement(explained, strangers=("monitor/x.wav",)).wrong == ()


def menus(*names: str) -> Iterator[Step]:
    return (("from-trunk", "70102031", number, name, "") for number, name in enumerate(names, 2))


def test_a_menu_is_one_although_two_applications_make_it() -> None:
    assert len(call(*menus("BackGround", "WaitExten")).menus) == 1
    assert len(call(*menus("BackGround", "WaitExten", "Goto", "BackGround", "Read")).menus) == 3


def test_other_channels_count_for_the_call_and_the_rigs_own_do_not() -> None:
    seen = call(("rig-ways", "way1", 1, "Goto", ""), ("none", "s", 1, "AppDial", ""))
    assert seen.steps == []
    seen.happened(Event("Newexten", Headers(fields(QUEUE) | {"Uniqueid": "other", "Channel": "Local/1;2"}), 1.0))
    assert [step.application for step in seen.steps] == ["queue"]
    seen.happened(Event("BridgeEnter", Headers({"Uniqueid": "other", "Channel": "PJSIP/100-1"}), 2.0))
    seen.happened(event("BridgeEnter", 2.0))
    assert seen.partners == ["PJSIP/100-1"]


def test_it_is_told_to_people_and_to_programs() -> None:
    played = Played(dialplan(), [WAY], [call(QUEUE)])
    found = judged(played)
    text = "\n".join(told(played, found))
    assert "FAILED  from-trunk,70102030  (calls of the endpoint trunk, pjsip.conf:8)" in text
    assert "do: put Gosub(ivr-consent,s,1(LINE)) before it" in text
    assert "extensions.conf:23  from-trunk,70102030,9  Queue(support)" in text
    document = plain(played, found)
    assert document["failed"] == 1
    assert document["calls"][0]["wrong"][0]["line"] == 23
    assert b'failures="2"' in junit(found)  # and that there is no gate at all
