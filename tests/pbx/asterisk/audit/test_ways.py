"""Ways through a dialplan: what leads to a recorder, with which results of the gate, and what cannot be known."""

# ruff: noqa: E501 - one dialplan on each line

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.pbx.asterisk.audit.judge import audit
from ivr_consent.pbx.audit.findings import Level
from tests.audits import GATE, found, judged, one, site

ASK = "Gosub(ivr-consent,s,1(support))"
GRANTED = '$["${IVR_CONSENT_RESULT}" = "granted"]'

UNGATED = ("error", "recording-without-gate")
REFUSED = ("error", "recording-after-no")
GATED = ("warning", "recording-behind-gate")
UNREACHED = ("unknown", "recording-not-reached")
COMPUTED = ("unknown", "computed-target")
GUESSED = ("unknown", "recording-without-gate")

CASES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "straight": ("exten => 1,1,MixMonitor(x.wav)", [UNGATED]),
    "after a question whose answer nobody looks at": (f"exten => 1,1,{ASK}\nsame => n,MixMonitor(x.wav)", [REFUSED]),
    "behind the branch": (f"exten => 1,1,{ASK}\nsame => n,GotoIf({GRANTED}?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)", [GATED]),
    "the branch without quotes": (f"exten => 1,1,{ASK}\nsame => n,GotoIf($[${{IVR_CONSENT_RESULT}}=granted]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)", [GATED]),
    "quotes on one side are never equal": (f'exten => 1,1,{ASK}\nsame => n,GotoIf($["${{IVR_CONSENT_RESULT}}"=granted]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [UNREACHED]),
    "the branch turned round": (f'exten => 1,1,{ASK}\nsame => n,GotoIf($["${{IVR_CONSENT_RESULT}}" != "granted"]?no)\nsame => n,MixMonitor(x)\nsame => n(no),Hangup()', [GATED]),
    "the wrong side": (f"exten => 1,1,{ASK}\nsame => n,GotoIf({GRANTED}?yes)\nsame => n,MixMonitor(x)\nsame => n(yes),Hangup()", [REFUSED]),
    "anything but no": (f'exten => 1,1,{ASK}\nsame => n,GotoIf($["${{IVR_CONSENT_RESULT}}" != "declined"]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [REFUSED]),
    "granted or something else": (f'exten => 1,1,{ASK}\nsame => n,GotoIf($["${{IVR_CONSENT_RESULT}}" = "granted" | "${{VIP}}" = "1"]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [REFUSED]),
    "granted and something else": (f'exten => 1,1,{ASK}\nsame => n,GotoIf($["${{IVR_CONSENT_RESULT}}" = "granted" & "${{VIP}}" = "1"]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [GATED]),
    "an and in brackets": (f'exten => 1,1,{ASK}\nsame => n,GotoIf($[("${{IVR_CONSENT_RESULT}}" = "granted") & !("${{X}}" = "")]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [GATED]),
    "ExecIf": (f"exten => 1,1,{ASK}\nsame => n,ExecIf({GRANTED}?MixMonitor(x))", [GATED]),
    "ExecIf, the other": (f"exten => 1,1,{ASK}\nsame => n,ExecIf({GRANTED}?NoOp():MixMonitor(x))", [REFUSED]),
    "IF": (f"exten => 1,1,{ASK}\nsame => n,Goto(${{IF({GRANTED}?r:no)}})\nsame => n(r),MixMonitor(x)\nsame => n(no),Hangup()", [GATED]),
    "a result as an extension": (f"exten => 1,1,{ASK}\nsame => n,Goto(${{IVR_CONSENT_RESULT}},1)\nexten => granted,1,MixMonitor(a)\nexten => declined,1,MixMonitor(b)\nexten => _X.,1,Hangup()", [UNGATED, UNGATED]),
    "a copy of the result": (f'exten => 1,1,{ASK}\nsame => n,Set(R=${{IVR_CONSENT_RESULT}})\nsame => n,GotoIf($["${{R}}" = "granted"]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [GATED]),
    "a copy of an older result": (f'exten => 1,1,{ASK}\nsame => n,Set(R=${{IVR_CONSENT_RESULT}})\nsame => n,{ASK}\nsame => n,GotoIf($["${{R}}" = "granted"]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [REFUSED]),
    "a local channel by what was dialled": ("exten => _8X,1,Dial(Local/${EXTEN:1}@d/n)\n[d]\nexten => _X,1,MixMonitor(x)", [UNGATED]),
    "a flag of one's own": (f'exten => 1,1,{ASK}\nsame => n,Set(OK=0)\nsame => n,ExecIf({GRANTED}?Set(OK=1))\nsame => n,GotoIf($[${{OK}} = 1]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)', [GATED]),
    "asked in a subroutine": (f"exten => 1,1,Gosub(a,1)\nsame => n,GotoIf({GRANTED}?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)\nexten => a,1,{ASK}\nsame => n,Return()", [GATED]),
    "asked in a macro": (f"exten => 1,1,Macro(a)\nsame => n,GotoIf({GRANTED}?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)\n[macro-a]\nexten => s,1,{ASK}", [GATED]),
    "asked on one way only": (f"exten => 1,1,GotoIf($[${{EPOCH}} > 5]?past)\nsame => n,{ASK}\nsame => n(past),ExecIf({GRANTED}?MixMonitor(x))", [GATED]),
    "two ways, one of them around": (f"exten => 1,1,GotoIf($[${{EPOCH}} > 5]?r)\nsame => n,{ASK}\nsame => n,GotoIf({GRANTED}?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)", [UNGATED]),
    "stopped again": (f"exten => 1,1,{ASK}\nsame => n,GotoIf({GRANTED}?r)\nsame => n,Hangup()\nsame => n(r),Queue(q)\nsame => n,Gosub(ivr-consent-stop,s,1)\nsame => n,MixMonitor(x)", [REFUSED]),
    "the result set by oneself": ("exten => 1,1,Set(IVR_CONSENT_RESULT=granted)\nsame => n,GotoIf(" + GRANTED + "?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)", [("error", "result-set-by-dialplan"), REFUSED]),
    "inherited, set by oneself": ("exten => 1,1,Set(__IVR_CONSENT_RESULT=${CALLERID(name)})", [("error", "result-set-by-dialplan")]),
    "while": (f"exten => 1,1,While($[${{EPOCH}} > 5])\nsame => n,{ASK}\nsame => n,EndWhile()\nsame => n,MixMonitor(x)", [UNGATED]),
    "a loop that always asks": (f"exten => 1,1,{ASK}\nsame => n,While($[1])\nsame => n,ExecIf({GRANTED}?ExitWhile())\nsame => n,{ASK}\nsame => n,EndWhile()\nsame => n,MixMonitor(x)", [GATED]),
    "if and else": (f"exten => 1,1,{ASK}\nsame => n,If({GRANTED})\nsame => n,MixMonitor(x)\nsame => n,Else()\nsame => n,Record(y)\nsame => n,EndIf()", [GATED, REFUSED]),
    "an h extension": ("exten => 1,1,Hangup()\nexten => h,1,MixMonitor(x)", [UNGATED]),
    "a hang-up handler": ("exten => 1,1,Set(CHANNEL(hangup_handler_push)=c,e,1(a))\nexten => e,1,MixMonitor(x)\nsame => n,Return()", [UNGATED]),
    "a menu": ("exten => 1,1,Background(menu)\nsame => n,WaitExten()\nexten => 2,1,Record(x.wav)", [UNGATED]),
    "Dial into a subroutine": ("exten => 1,1,Dial(PJSIP/1,,U(sub^a))\n[sub]\nexten => s,1,MixMonitor(x)\nsame => n,Return()", [UNGATED]),
    "Dial into a macro": ("exten => 1,1,Dial(PJSIP/1,,M(m^a))\n[macro-m]\nexten => s,1,MixMonitor(x)", [UNGATED]),
    "Dial by way of a local channel": (f"exten => 1,1,{ASK}\nsame => n,Dial(PJSIP/1&Local/5@agents/n)\n[agents]\nexten => 5,1,MixMonitor(x)", [REFUSED]),
    "Dial with G": ("exten => 1,1,Dial(PJSIP/1,,G(c^50^1))\nexten => 50,1,Hangup()\nexten => 50,2,MixMonitor(x)", [UNGATED]),
    "a transfer": ("exten => 1,1,Set(TRANSFER_CONTEXT=t)\nsame => n,Dial(PJSIP/1,,t)\n[t]\nexten => 9,1,Record(x)", [UNGATED]),
    "Originate": ("exten => 1,1,Originate(Local/7@o/n,exten,o,8,1)\n[o]\nexten => 7,1,MixMonitor(x)\nexten => 8,1,Record(y)", [UNGATED, UNGATED]),
    "Originate an application": ("exten => 1,1,Originate(PJSIP/1,app,Record,x.wav)", [UNGATED]),
    "TryExec": ("exten => 1,1,TryExec(Exec(MixMonitor(x)))", [UNGATED]),
    "Random": ("exten => 1,1,Random(50:c,2,1)\nsame => n,Hangup()\nexten => 2,1,MixMonitor(x)", [UNGATED]),
    "the time": ("exten => 1,1,GotoIfTime(9:00-17:00,mon-fri,*,*?c,2,1)\nsame => n,Hangup()\nexten => 2,1,MixMonitor(x)", [UNGATED]),
    "MacroExit": (f"exten => 1,1,Macro(a)\nsame => n,MixMonitor(x)\n[macro-a]\nexten => s,1,{ASK}\nsame => n,GotoIf({GRANTED}?y)\nsame => n,Hangup()\nsame => n(y),MacroExit()", [GATED]),
    "priorities beyond a pattern's": ("exten => 123,1,NoOp()\nexten => _XXX,1,NoOp()\nsame => n,MixMonitor(x)", [UNGATED]),
    "the context itself before what it includes": ("include => inner\nexten => _1X,1,Hangup()\n[inner]\nexten => 12,1,MixMonitor(x)", [UNREACHED]),
    "what is included": ("include => inner\nexten => _2X,1,Hangup()\n[inner]\nexten => 12,1,MixMonitor(x)", [UNGATED]),
    "a part of what was dialled": ("exten => _7010X,1,Goto(d,${EXTEN:-2},1)\n[d]\nexten => _0X,1,MixMonitor(x)\nexten => _1X,1,Record(y)", [UNGATED, UNREACHED]),
    "a global that nothing changes": ("exten => 1,1,Goto(${WHERE},1)\nexten => 2,1,MixMonitor(x)\nexten => 3,1,Record(y)\n[globals]\nWHERE = 2", [UNGATED, UNGATED]),
    "a global that decides": ("exten => 1,1,GotoIf($[${REC} = yes]?r)\nsame => n,Hangup()\nsame => n(r),MixMonitor(x)\n[globals]\nREC = no", [UNREACHED]),
    "a global that is changed": ("exten => 1,1,GotoIf($[${REC} = yes]?r)\nsame => n,Set(GLOBAL(REC)=yes)\nsame => n(r),MixMonitor(x)\n[globals]\nREC = no", [UNGATED]),
    "an argument": ("exten => 1,1,Gosub(sub,s,1(no))\nexten => 2,1,Gosub(sub,s,1(yes))\n[sub]\nexten => s,1,GotoIf($[${ARG1} = yes]?r)\nsame => n,Return()\nsame => n(r),MixMonitor(x)\nsame => n,Return()", [UNGATED]),
    "an argument that is never so": ("exten => 1,1,Gosub(sub,s,1(no))\n[sub]\nexten => s,1,GotoIf($[${ARG1} = yes]?r)\nsame => n,Return()\nsame => n(r),MixMonitor(x)\nsame => n,Return()", [UNREACHED]),
    "no such extension": ("exten => 1,1,Goto(c,99,1)\nexten => i,1,MixMonitor(x)", [UNGATED]),
    "a computed context": ("exten => 1,1,Goto(${X},s,1)", [COMPUTED]),
    "a computed target": ("exten => 1,1,Goto(${X})", [COMPUTED]),
    "a computed application": ("exten => 1,1,${X}(a)", [COMPUTED]),
    "a computed extension of a known context": ("exten => 1,1,Goto(c,${X},1)\nexten => i,1,Hangup()\n[c](+)\nexten => h,2,MixMonitor(x)", [UNREACHED]),
    "a computed subroutine that comes back": (f"exten => 1,1,Gosub(${{X}},s,1)\nsame => n,{ASK}\nsame => n,ExecIf({GRANTED}?MixMonitor(x))", [COMPUTED, GATED]),
    "a status as an extension": ("exten => 1,1,Dial(PJSIP/1)\nsame => n,Goto(s-${DIALSTATUS},1)\nexten => s-BUSY,1,Record(x)\nexten => _s-.,1,Hangup()", [UNGATED]),
    "a foreign script": ("exten => 1,1,AGI(/opt/x.py)", [("unknown", "foreign-script")]),
    "a foreign server": ("exten => 1,1,AGI(agi://10.0.0.5/consent)", [("unknown", "foreign-script")]),
    "Stasis": ("exten => 1,1,Stasis(app)", [("unknown", "foreign-script")]),
    "a switch": ("exten => 1,1,Hangup()\nswitch => Realtime/x@y", [("unknown", "dialplan-elsewhere")]),
    "AUDIOHOOK_INHERIT": ("exten => 1,1,Set(AUDIOHOOK_INHERIT(MixMonitor)=yes)", [("warning", "recording-carried-on")]),
    "allowed": ("exten => 1,1,VoiceMail(1)  ; ivr-consent audit: allowed, they leave a message", []),
    "a target within the gate": ("exten => 1,1,Goto(ivr-consent,s,1)\nsame => n,MixMonitor(x)", [UNREACHED]),
}  # fmt: skip  # rows that belong together


@pytest.mark.parametrize("name", CASES)
def test_case(tmp_path: Path, name: str) -> None:
    dialplan, expected = CASES[name]
    got = [(level, rule) for level, _, rule in judged(tmp_path, f"{GATE}[c]\n{dialplan}\n")]
    assert sorted(got) == sorted(expected)


RECORDERS = {
    "MixMonitor(x.wav)": "app_mixmonitor",
    "Monitor(wav,x)": "res_monitor",
    "Record(x.wav)": "app_record",
    "VoiceMail(1)": "app_voicemail",
    "VoiceMailMain()": "app_voicemail",
    "MinivmRecord(a@b)": "app_minivm",
    "MinivmAccMess(a@b)": "app_minivm",
    "Dictate()": "app_dictate",
    "AudioSocket(u,127.0.0.1:1)": "app_audiosocket",
    "JACK()": "app_jack",
    "ExternalIVR(x)": "app_externalivr",
    "ICES(x)": "app_ices",
    "ChanSpy(,qr)": "app_chanspy",
    "ExtenSpy(1@c,r(x))": "app_chanspy",
    "Page(PJSIP/1,r)": "app_page",
    "MeetMe(1,r)": "app_meetme",
    "FollowMe(1,a)": "app_followme",
    "Dial(PJSIP/1,20,p)": "app_dial",
    "Dial(PJSIP/1,,tP(x)r)": "app_dial",
    "RetryDial(a,1,1,PJSIP/1,20,P)": "app_dial",
    "Set(CONFBRIDGE(bridge,record_conference)=yes)": "app_confbridge",
    "Set(JACK_HOOK(manipulate)=on)": "app_jack",
}


@pytest.mark.parametrize("step", RECORDERS)
def test_every_recorder_is_known(tmp_path: Path, step: str) -> None:
    dialplan = f"[c]\nexten => 1,1,{step}\n"
    assert ("error", 2, "recording-without-gate") in judged(tmp_path, dialplan)


@pytest.mark.parametrize("step", RECORDERS)
def test_a_recorder_whose_module_is_not_loaded(tmp_path: Path, step: str) -> None:
    modules = f"[modules]\nautoload = yes\nnoload => {RECORDERS[step]}.so\n"
    report = audit([site(tmp_path, f"[c]\nexten => 1,1,{step}\n", modules=modules)])
    assert ("note", 2, "recorder-not-loaded") in found(report)
    assert found(report, Level.ERROR) == []


@pytest.mark.parametrize(
    "step",
    ["ChanSpy(,q)", "Page(PJSIP/1,q)", "Dial(PJSIP/1,20,tTg)", "StopMixMonitor()", "ConfBridge(1)", "Queue(q,tT)"],
)
def test_what_records_nothing(tmp_path: Path, step: str) -> None:
    queues, confbridge = "[q]\nmember => PJSIP/1\n", "[default_bridge]\ntype = bridge\n"
    assert judged(tmp_path, f"[c]\nexten => 1,1,{step}\n", queues=queues, confbridge=confbridge) == []


def test_the_way_is_told(tmp_path: Path) -> None:
    dialplan = """\
[general]
[from-trunk]
exten => 100,1,Answer()
 same => n,Gosub(sub,s,1(a))
 same => n,Hangup()
[sub]
exten => s,1,NoOp(${ARG1})
 same => n,GotoIf($["${X}" = ""]?out)
 same => n(rec),MixMonitor(x.wav)
 same => n(out),Return()
"""
    pjsip = "[trunk]\ntype = endpoint\ncontext = from-trunk\n"
    finding = one(audit([site(tmp_path, dialplan, pjsip=pjsip)]), 9)
    assert [(str(stop.place), stop.at) for stop in finding.way] == [
        ("pjsip.conf:3", "from-trunk"),
        ("extensions.conf:3", "from-trunk,100,1"),
        ("extensions.conf:4", "from-trunk,100,2"),
        ("extensions.conf:8", "sub,s,2"),
        ("extensions.conf:9", "sub,s,3"),
    ]
    assert finding.way[-1].what == "MixMonitor(x.wav)"


def test_a_way_round_a_loop_is_told_without_it(tmp_path: Path) -> None:
    dialplan = """\
[c]
exten => 1,1,Set(N=0)
 same => n(again),Set(N=$[${N} + 1])
 same => n,GotoIf($[${N} < 3]?again)
 same => n,MixMonitor(x.wav)
"""
    finding = one(audit([site(tmp_path, dialplan)]), 5)
    assert [stop.at for stop in finding.way] == ["c", "c,1,1", "c,1,3", "c,1,4"]


def test_recursion_ends(tmp_path: Path) -> None:
    dialplan = (
        "[c]\nexten => 1,1,Set(N=${N}x)\nsame => n,Gosub(1,1(${N}))\nsame => n,Goto(1)\nsame => n,MixMonitor(x)\n"
    )
    assert judged(tmp_path, dialplan) == [("unknown", 5, "recording-not-reached")]


def test_entry_points_are_named_by_the_files(tmp_path: Path) -> None:
    """A context that no endpoint calls into and nothing leads to is not an error, and not safe."""
    dialplan = "[in]\nexten => 1,1,Hangup()\n[other]\nexten => 1,1,MixMonitor(x)\n"
    pjsip = "[trunk]\ntype = endpoint\ncontext = in\n"
    assert judged(tmp_path, dialplan) == [("error", 4, "recording-without-gate")]
    assert judged(tmp_path, dialplan, pjsip=pjsip) == [("unknown", 4, "recording-not-reached")]


def test_a_bound_on_ways_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr_consent.pbx.asterisk.audit.ways.MOST_EDGES", 10)
    dialplan = "[c]\n" + "".join(f"exten => {n},1,NoOp()\n" for n in range(20))
    assert judged(tmp_path, dialplan) == [("unknown", 0, "not-read")]
