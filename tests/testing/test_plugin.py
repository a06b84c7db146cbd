"""The pytest plugin, as a site has it: tests of their own, in a pytest of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HEAD = """
import asyncio, sys
import pytest
from ivr_consent.testing.actions import hang_up, press, wait
"""

GATE = """
@pytest.mark.parametrize("switch", ["simulated", "fake-asterisk", "fake-freeswitch"], indirect=True)
def test_yes_is_recorded(switch, call, ledger, clock):
    clock.move(days=3)
    seen = call(press("1", window=1), line={"repeats": 1}, number="+4570102030")
    assert (seen.outcome, seen.route, seen.recorder, seen.files) == ("granted", "recorded", ("start",), 1)
    assert seen.decision["outcome"] == "granted"
    assert "window training" in seen.events
    with ledger.reader() as reader:
        (record,) = reader.calls(limit=10)
    assert (record.decision.outcome, record.decision.time[:10]) == ("granted", "2026-01-04")


@pytest.mark.parametrize("switch", ["simulated"], indirect=True)
def test_others_are_not(call):
    seen = call(press("2", question="training"))
    assert (seen.outcome, seen.route, seen.files) == ("declined", "unrecorded", 0)
    gone = call(hang_up(during="controller"))
    assert (gone.outcome, gone.reason) == ("abandoned", "hung_up_informing")
    silent = call(wait(window=1), line={"repeats": 0})
    assert silent.outcome == "no_answer"


def test_the_log_is_empty_and_goes_by_the_clock(ledger, clock):
    with ledger.reader() as reader:
        assert list(reader.calls(limit=10)) == []
    before = clock()
    assert (clock.move(hours=2) - before).total_seconds() == 7200
"""

SCRIPTS = """
MENU = '''
while read line && [ -n "$line" ]; do :; done
echo ANSWER
read line
echo 'STREAM FILE menu "7"'
read line
echo oh >&2
exit 3
'''


def test_a_script_without_a_library(switch, call, tmp_path):
    switch.add_sound("menu", 1.0)
    path = tmp_path / "menu.sh"
    path.write_text(MENU)
    seen = call(press("7", during="menu"), agi=["/bin/sh", path])
    assert (seen.prompts, seen.pressed, seen.status, seen.hung_up) == (("menu",), "7", "FAILURE", "")
    assert "200 result=55 endpos=" in seen.replies[-1]
    assert "oh" in seen.said


def test_a_coroutine_serves(switch, call):
    async def serve(reader, writer):
        while (await reader.readline()).strip():
            pass
        for command in ("ANSWER", 'EXEC Dial "PJSIP/7"', "GET VARIABLE DIALSTATUS", "HANGUP"):
            writer.write(command.encode() + b"\\n")
            await reader.readline()
        writer.close()

    def dial(channel, arguments):
        channel.variables["DIALSTATUS"] = "BUSY" if arguments == "PJSIP/7" else "ANSWER"
        return 0

    switch.fake.applications["dial"] = dial
    seen = call(agi=f"{switch.serve(serve)}/any")
    assert "200 result=1 (BUSY)" in seen.replies
    assert (seen.events, seen.hung_up) == (("answer", "exec dial", "script hangs up"), "script")


def test_nobody_is_there(call):
    assert call(agi="agi://127.0.0.1:1/none").status == "FAILURE"
    assert call(agi="/nowhere/script.py").status == "NOTFOUND"


def test_a_caller_who_goes(switch, call):
    script = "import sys\\nprint('WAIT FOR DIGIT 9000', flush=True)\\nfor line in sys.stdin: pass\\n"
    seen = call(hang_up(window=1), agi=[sys.executable, "-c", script])
    assert (seen.hung_up, seen.status, seen.replies[0]) == ("caller", "HANGUP", "200 result=-1")


async def test_a_coroutine_waits_elsewhere(call):
    with pytest.raises(RuntimeError, match="to_thread"):
        call(agi="agi://127.0.0.1:1/none")
    assert (await asyncio.to_thread(call, agi="agi://127.0.0.1:1/none")).status == "FAILURE"


def test_a_site_s_own_sounds(switch, call, tmp_path):
    own = tmp_path / "own" / "da"
    own.mkdir(parents=True)
    (own / "hej.ulaw").write_bytes(bytes(800))
    switch.add_sounds(tmp_path / "own")
    seen = call(agi=["/bin/sh", "-c", "read x; echo 'STREAM FILE da/hej \\"\\"'; sleep 0.3"])
    assert seen.replies == ("200 result=0 endpos=800",)
"""

WRONG = """
def test_a_place_that_never_comes(call):
    call(press("1", window=5), line={"repeats": 0})


def test_a_script_that_asks_nothing(call):
    call(press("1", window=1), agi=["/bin/sh", "-c", "read x; echo ANSWER; read y; echo trouble >&2"])


def test_a_script_that_never_ends(call):
    call(agi=["/bin/sh", "-c", "echo ANSWER; sleep 60"], deadline_s=0.3)


def test_a_line_that_cannot_be(call):
    call(line={"repeat": 1})


@pytest.mark.parametrize("switch", ["fake-freeswitch"], indirect=True)
def test_agi_on_a_freeswitch(call):
    call(agi="/bin/true")


@pytest.mark.parametrize("switch", ["panasonic"], indirect=True)
def test_a_switch_that_is_none(switch):
    pass
"""

MENU = """
from asterisk.agi import AGI

agi = AGI()
agi.answer()
agi.set_variable("CHOICE", agi.stream_file("menu", "123"))
"""

SERVER = """
import asyncio, sys
from panoramisk import fast_agi


async def menu(request):
    await request.send_command("ANSWER")
    await request.send_command('STREAM FILE menu "9"')
    await request.send_command("HANGUP")


async def main():
    application = fast_agi.Application()
    application.add_route("menu", menu)
    await (await asyncio.start_server(application.handler, "127.0.0.1", int(sys.argv[1]))).serve_forever()


asyncio.run(main())
"""

LIVE = """
@pytest.mark.asterisk(version="16")
def test_on_a_real_one(switch, call):
    assert switch.on == "asterisk"
    raise AssertionError("there is none")


@pytest.mark.live
def test_also(switch):
    raise AssertionError("there is none")
"""

OPTIONS = ("-p", "no:randomly", "-p", "no:cacheprovider", "--strict-markers", "-W", "error", "-o", "asyncio_mode=auto")
LOOPS = ("-o", "asyncio_default_fixture_loop_scope=function")


def played(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(HEAD + text)
    return pytester.runpytest_subprocess(*OPTIONS, *LOOPS, *options, timeout=120)


def test_calls_through_the_gate(pytester: pytest.Pytester) -> None:
    played(pytester, GATE).assert_outcomes(passed=5)


def test_calls_through_scripts(pytester: pytest.Pytester) -> None:
    played(pytester, SCRIPTS).assert_outcomes(passed=6)


def test_the_examples_of_the_documentation(pytester: pytest.Pytester) -> None:
    document = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    pytester.makepyfile(menu=MENU, server=SERVER, **{f"test_{n}": text for n, text in enumerate(examples)})
    result = pytester.runpytest_subprocess(*OPTIONS, *LOOPS, timeout=120)
    result.assert_outcomes(passed=4)


def test_what_is_wrong_is_shown_with_the_call(pytester: pytest.Pytester) -> None:
    result = played(pytester, WRONG, "-o", "ivr_consent_switch=simulated", "-k", "place or line")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([
        "E * - the call never came to: press 1 in window 5",
        "E * caller * may choose: training",
        "E * line: *",
        "*repeat*",
    ])  # fmt: skip  # a line each
    result = played(pytester, WRONG, "-k", "not place and not line")
    result.assert_outcomes(failed=3, errors=1)
    result.stdout.fnmatch_lines([
        "E *there is no switch 'panasonic'; write one of: simulated, fake-asterisk, *",
        "E *the call never came to: press 1 in window 1",
        "E * answer",
        "E * trouble",
        "E *the script did not end within 0.3 s",
        "E *AGI scripts run on an Asterisk, this switch is fake-freeswitch*",
    ])  # fmt: skip  # a line each


def test_without_an_asterisk_live_tests_skip_and_say_why(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("IVR_CONSENT_RIG", str(pytester.path / "rig"))
    monkeypatch.setenv("PATH", str(pytester.path))  # no apt-get there
    result = played(pytester, LIVE, "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*no Asterisk 16: *", "SKIPPED*no Asterisk 22: *"])
    result = played(pytester, LIVE, "-m", "not live")
    result.assert_outcomes(deselected=2)


def test_markers_and_the_setting_are_told(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--markers", timeout=60)
    result.stdout.fnmatch_lines(["@pytest.mark.live: *", "@pytest.mark.asterisk(version='22'): *"])
    result = pytester.runpytest_subprocess("--help", timeout=60)
    result.stdout.fnmatch_lines(["*ivr_consent_switch*"])


def test_a_run_that_does_not_use_it_pays_for_one_module(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_what_is_loaded(request):
            assert request.config.pluginmanager.has_plugin("ivr_consent")
            loaded = {name for name in sys.modules if name.startswith("ivr_consent")}
            assert loaded == {"ivr_consent", "ivr_consent.testing", "ivr_consent.testing.plugin"}
    """)
    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", timeout=60).assert_outcomes(passed=1)


def test_calls_side_by_side_in_processes_and_in_any_order(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(HEAD + SCRIPTS)
    result = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider", "-W", "error", *OPTIONS[5:], *LOOPS)
    result.assert_outcomes(passed=6)


def test_pytest_is_no_dependency() -> None:
    """Who does not test has no pytest; everything but the plugin is there all the same."""
    code = """
import sys
sys.modules["pytest"] = None
import ivr_consent.testing.calling, ivr_consent.testing.drivers.fake_asterisk, ivr_consent.cli.test
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[2])
