"""Every way in which a recording can start on FreeSWITCH, before the gate; and what looks like one and is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.pbx.audit.findings import Level, Rule
from ivr_consent.pbx.freeswitch.audit.judge import audit
from tests.freeswitch_audits import action, extension, found, judged, public, site

CONFERENCE = """\
<configuration name="conference.conf"><profiles>
<profile name="default"><param name="rate" value="8000"/></profile>
<profile name="kept"><param name="auto-record" value="/r/x.wav"/></profile>
</profiles></configuration>
"""
CALLCENTER = """\
<configuration name="callcenter.conf"><queues>
<queue name="plain@default"><param name="strategy" value="round-robin"/></queue>
<queue name="kept@default"><param name="record-template" value="/r/x.wav"/></queue>
</queues></configuration>
"""
MENUS = """\
<configuration name="ivr.conf"><menus>
<menu name="main"><entry action="menu-sub" digits="1" param="second"/></menu>
<menu name="second"><entry action="menu-exec-app" digits="2" param="record_session /x.wav"/>
<entry action="menu-sub" digits="3" param="main"/></menu>
<menu name="quiet"><entry action="menu-exec-app" digits="2" param="playback x.wav"/></menu>
</menus></configuration>
"""
FILES = {"conference": CONFERENCE, "callcenter": CALLCENTER, "ivr": MENUS}

RECORDS = [
    ("record_session", "/x.wav"),
    ("RECORD_SESSION", "/x.wav"),
    ("record", "/x.wav 20 200"),
    ("record_fsv", "/x.fsv"),
    ("record_mp4", "/x.mp4"),
    ("record_av", "/x.mp4"),
    ("snapshot", "start 60 8000 /x"),
    ("oreka_record", ""),
    ("record_session_unmask", "/x.wav"),
    ("record_session_resume", "/x.wav"),
    ("audio_fork", "ws://example.org"),
    ("audio_stream", "ws://example.org"),
    ("unicast", "local-ip=127.0.0.1"),
    ("detect_speech", "unimrcp grammar x"),
    ("play_and_detect_speech", "x.wav detect:unimrcp {start-input-timers=false}x"),
    ("voicemail", "default example.org 1000"),
    ("voicemail", "check default example.org"),
    ("voicemail_ivr", "check default example.org"),
    ("conference", "room@kept"),
    ("conference", "room@kept+1234+flags{mute}"),
    ("conference", "bridge:room@kept:user/1000"),
    ("callcenter", "kept@default"),
    ("ivr", "main"),
    # something that runs something
    ("bind_meta_app", "2 b s record_session::/x.wav"),
    ("bind_meta_app", "2 ab s1 execute_extension::keep XML other"),
    ("bind_digit_action", "realm,*2,exec:record_session,/x.wav"),
    ("bind_digit_action", "realm,*2,exec[i]:record_session,/x.wav,self,self"),
    ("bind_digit_action", "realm,*2,api:uuid_record,${uuid} start /x.wav"),
    ("sched_broadcast", "+10 record_session::/x.wav aleg"),
    ("limit_execute", "hash realm id 1 record_session /x.wav"),
    ("limit", "hash realm id 1 keep XML other"),
    ("tone_detect", "fax 1100 r +5000 record_session '/x.wav' 3"),
    ("spandsp_start_fax_detect", "record_session '/x.wav' 3"),
    ("play_and_get_digits", "1 1 3 5000 # a.wav b.wav digit [1-3] 2000 'keep XML other'"),
    ("sched_transfer", "+10 keep XML other"),
    ("transfer", "keep XML other"),
    ("transfer", "-bleg keep XML other"),
    ("transfer", "-both keep XML other"),
    ("transfer", "'record_session:/x.wav' inline"),
    ("transfer", "m:;:answer;record_session:/x.wav inline"),
    ("execute_extension", "keep XML other"),
    ("bridge", "loopback/keep/other/XML"),
    ("bridge", "{a=b}[c=d]user/1000|loopback/keep/other"),
    ("bridge", "user/1000:_:loopback/keep/other"),
    ("bridge", "loopback/app=record_session:/x.wav"),
    ("att_xfer", "loopback/keep/other"),
    ("bridge", "{execute_on_answer='record_session /x.wav'}user/1000"),
    ("bridge", "[api_on_answer='uuid_record ${uuid} start /x.wav']user/1000,user/1001"),
    ("bridge", "<execute_on_answer=record_session::/x.wav>user/1000:_:user/1001"),
    ("bridge", "{^^;a=b;execute_on_media=record_session /x.wav}user/1000"),
    # variables
    ("set", "execute_on_answer=record_session /x.wav"),
    ("set", "execute_on_answer_2=record_session:/x.wav"),
    ("set", "EXECUTE_ON_ANSWER=record_session::/x.wav"),
    ("export", "nolocal:execute_on_answer=record_session /x.wav"),
    ("bridge_export", "execute_on_pre_answer=record_session /x.wav"),
    ("multiset", "a=b,execute_on_media=record_session /x.wav"),
    ("multiset", "^^;a=b;execute_on_ring=record_session /x.wav"),
    ("push", "execute_on_answer=record_session /x.wav"),
    ("set_global", "execute_on_answer=record_session /x.wav"),
    ("set", "sip_execute_on_image=record_session /x.wav"),
    ("set", "api_on_answer=uuid_record ${uuid} start /x.wav"),
    ("set", "api_hangup_hook=uuid_broadcast ${other} record_session::/x.wav both"),
    ("set", "api_after_bridge=bgapi uuid_record ${uuid} start /x.wav"),
    ("set", "record_post_process_exec_app=record_session:/x.wav"),
    ("set", "record_post_process_exec_api=uuid_record:${uuid} start /x.wav"),
    ("set", "bridge_pre_execute_bleg_app=record_session"),
    ("set", "bridge_pre_execute_aleg_app=record"),
    ("set", "exec_after_bridge_app=record"),
    ("set", "transfer_after_bridge=keep:XML:other"),
    ("set", "fifo_record_template=/x.wav"),
    ("set", "transfer_fallback_extension=keep XML other"),
    ("set", "transfer_after_early_bridge=keep:XML:other"),
    ("set", "api_before_bridge=uuid_record ${uuid} start /x.wav"),
    ("set", "api_reporting_hook=uuid_record ${uuid} start /x.wav"),
    ("set", "sip_api_on_image=uuid_record ${uuid} start /x.wav"),
    ("set", "campon_fallback_exten=keep XML other"),
    ("set", "fifo_orbit_exten=keep XML other:30"),
    # commands of the switch
    ("set", "x=${uuid_audio_stream(${uuid} start ws://example.org)}"),
    ("set", "x=${uuid_snapshot(${uuid} start)}"),
    ("set", "x=${uuid_record(${uuid} start /x.wav)}"),
    ("eval", "${uuid_record(${uuid} start /x.wav)}"),
    ("log", "INFO ${expand(uuid_record ${uuid} start /x.wav)}"),
    ("set", "x=${cond(1 == 1 ? ${uuid_record(${uuid} start /x.wav)} : no)}"),
    ("set", "x=${uuid_audio_fork(${uuid} start ws://example.org)}"),
    ("set", "x=${uuid_transfer(${uuid} keep XML other)}"),
    ("set", "x=${uuid_broadcast(${uuid} record_session::/x.wav both)}"),
    ("set", "x=${sched_api(+5 none uuid_record ${uuid} start /x.wav)}"),
    ("set", "x=${sched_transfer(+5 ${uuid} keep XML other)}"),
    ("set", "x=${uuid_setvar(${uuid} execute_on_answer record_session /x.wav)}"),
    ("set", "x=${uuid_setvar_multi(${uuid} a=b;execute_on_answer=record_session /x.wav)}"),
    ("set", "x=${originate(user/1000 &record_session(/x.wav))}"),
    ("set", "x=${originate(user/1000 keep XML other)}"),
    ("set", "x=${originate({execute_on_answer=record_session::/x.wav}user/1000 &park())}"),
    ("set", "x=${conference(room recording start /x.wav)}"),
    ("set", "x=${conference(room record /x.wav)}"),
]

KEEP = f'<context name="other">\n{extension(action("record_session", "/x.wav"), "^keep$")}</context>\n'


@pytest.mark.parametrize(("application", "data"), RECORDS, ids=[f"{a} {d}" for a, d in RECORDS])
def test_a_recording_before_the_gate(tmp_path: Path, application: str, data: str) -> None:
    written = public(("answer", ""), (application, data), ("transfer", "support XML ivr-consent"))
    report = audit([site(tmp_path, written + KEEP, **FILES)])
    errors = [finding for finding in report.findings if finding.level is Level.ERROR]
    assert [finding.rule for finding in errors] == [Rule.UNGATED]
    (error,) = errors
    assert error.way[0].what == "calls of external"
    assert ("dialplan/public.xml", 4) in [(stop.place.file, stop.place.line) for stop in error.way]


QUIET = [
    ("stop_record_session", "all"),
    ("record_session_mask", "/x.wav"),
    ("record_session_pause", "/x.wav"),
    ("detect_speech", "stop"),
    ("voicemail", "auth_only default example.org"),
    ("conference", "room"),
    ("conference", "room@default+flags{moderator}"),
    ("callcenter", "plain@default"),
    ("ivr", "quiet"),
    ("bind_meta_app", "9 a s stop_record_session::all"),
    ("set", "x=${uuid_record(${uuid} stop all)}"),
    ("set", "x=${conference(room recording stop all)}"),
    ("set", "record_sample_rate=8000"),
    ("set", "my_execute=record_session /x.wav"),
    ("bridge", "user/1000"),
    ("bridge", "loopback/100/quiet"),
    ("playback", "record_session.wav"),
    ("log", "INFO record_session"),
]


@pytest.mark.parametrize(("application", "data"), QUIET, ids=[f"{a} {d}" for a, d in QUIET])
def test_what_records_nothing(tmp_path: Path, application: str, data: str) -> None:
    quiet = f'<context name="quiet">\n{extension(action("answer"))}</context>\n'
    written = public((application, data), ("transfer", "support XML ivr-consent"))
    assert [row for row in judged(tmp_path, written + quiet, **FILES) if row[2] != Rule.ENABLED.value] == []


@pytest.mark.parametrize(
    ("application", "data"),
    [("conference", "room@${profile}"), ("callcenter", "${queue}"), ("ivr", "${menu}")],
)
def test_what_may_record_by_what_is_computed(tmp_path: Path, application: str, data: str) -> None:
    rows = judged(tmp_path, public((application, data)), **FILES)
    assert ("unknown" if application != "ivr" else "error", 3, "recording-without-gate") in rows


@pytest.mark.parametrize(
    ("application", "data"),
    [
        ("socket", "192.0.2.1:8084 async full"),
        ("lua", "x.lua"),
        ("python", "x"),
        ("javascript", "x.js"),
        ("perl", "x.pl"),
        ("system", "x"),
        ("httapi", "{url=http://example.org}"),
        ("erlang", "x y"),
        ("rayo", ""),
        ("set", "x=${lua(x.lua)}"),
        ("set", "x=${system(x)}"),
        ("set", "x=${curl(http://example.org)}"),
        ("set", "api_hangup_hook=luarun x.lua"),
        ("set", "execute_on_answer=lua x.lua"),
        ("bind_meta_app", "1 a s lua::x.lua"),
    ],
)
def test_a_program_is_named_and_not_known(tmp_path: Path, application: str, data: str) -> None:
    written = public((application, data), ("transfer", "support XML ivr-consent"))
    assert judged(tmp_path, written) == [("unknown", 3, "foreign-script")]


@pytest.mark.parametrize(
    ("application", "data", "rule"),
    [
        ("transfer", "100 XML ${where}", "computed-target"),
        ("transfer", "100 ${which}", "computed-target"),
        ("set", "${name}=record_session", "computed-target"),
        ("set", "execute_on_answer=${what}", "computed-target"),
        ("transfer", "100 enum", "dialplan-elsewhere"),
        ("transfer", "100 XML:/other.xml public", "dialplan-elsewhere"),
        ("bridge", "loopback/100/public/lua", "dialplan-elsewhere"),
    ],
)
def test_what_cannot_be_known_is_said(tmp_path: Path, application: str, data: str, rule: str) -> None:
    assert judged(tmp_path, public((application, data))) == [("unknown", 3, rule)]


@pytest.mark.parametrize("after", [False, True], ids=["data first", "application first"])
def test_an_application_and_its_arguments_in_two_variables(tmp_path: Path, *, after: bool) -> None:
    pair = [("set", "exec_after_bridge_app=execute_extension"), ("set", "exec_after_bridge_arg=keep XML other")]
    rows = judged(tmp_path, public(*(pair if after else pair[::-1])) + KEEP)
    assert ("error", 9, "recording-without-gate") in rows


def test_an_allowed_line_is_a_note(tmp_path: Path) -> None:
    line = action("voicemail", "default example.org 1000")
    reason = "<!-- ivr-consent audit: allowed, a message is left on purpose -->"
    dialplan = f'<context name="public">\n{extension(f"{line} {reason}")}</context>'
    report = audit([site(tmp_path, dialplan)])
    assert found(report) == [("note", 3, "recording-allowed")]
    assert "a message is left on purpose" in report.findings[0].found


def test_a_script_that_was_read_is_a_note(tmp_path: Path) -> None:
    line = f"{action('lua', 'x.lua')}<!-- ivr-consent audit: allowed, it says the time -->"
    dialplan = f'<context name="public">\n{extension(line)}</context>'
    assert found(audit([site(tmp_path, dialplan)])) == [("note", 3, "foreign-script")]


def test_a_module_that_is_not_loaded(tmp_path: Path) -> None:
    modules = '<configuration name="modules.conf"><modules><load module="{}"/></modules></configuration>'
    dialplan = public(("voicemail", "default example.org 1000"))
    assert found(audit([site(tmp_path, dialplan, modules=modules.format("mod_sofia"))])) == [
        ("note", 3, "recorder-not-loaded")
    ]
    script = audit([site(tmp_path, public(("lua", "x.lua")), modules=modules.format("mod_sofia"))])
    assert found(script) == [("note", 3, "recorder-not-loaded")]
    rows = found(audit([site(tmp_path, dialplan, modules=modules.format("mod_voicemail"))]))
    assert rows == [("error", 3, "recording-without-gate")]
