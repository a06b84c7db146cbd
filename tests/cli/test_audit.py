"""ivr-consent audit: what it prints, its exit codes, JSON and SARIF."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest

from tests.audits import GATE, fixture, site
from tests.cli.support import Place, run, run_json
from tests.freeswitch_audits import public
from tests.freeswitch_audits import site as freeswitch_site

CLEAN = f"{GATE}[c]\nexten => 1,1,Gosub(ivr-consent,s,1(support))\n same => n,Hangup()\n"
UNGATED = "[c]\nexten => 1,1,Answer()\n same => n,MixMonitor(x.wav)\n"
COMPUTED = "[c]\nexten => 1,1,Goto(${X})\n"
GATED = (
    f"{GATE}[c]\nexten => 1,1,Gosub(ivr-consent,s,1(a))\n"
    ' same => n,GotoIf($["${IVR_CONSENT_RESULT}" = "granted"]?r)\n'
    " same => n,Hangup()\n same => n(r),MixMonitor(x.wav)\n"
)


@pytest.mark.parametrize(
    ("dialplan", "options", "code"),
    [
        (CLEAN, (), 0),
        (UNGATED, (), 1),
        (COMPUTED, (), 6),
        (UNGATED + COMPUTED, (), 1),
        (GATED, (), 0),
        (GATED, ("--strict",), 1),
        (CLEAN, ("--strict",), 0),
    ],
)
def test_exit_codes(tmp_path: Path, dialplan: str, options: tuple[str, ...], code: int) -> None:
    folder = site(tmp_path, dialplan)
    assert run("audit", folder, *options).exit_code == code
    exit_code, document = run_json("audit", folder, *options)
    assert (exit_code, document["exit"]) == (code, code)


def test_what_is_printed(tmp_path: Path) -> None:
    result = run("audit", site(tmp_path, UNGATED))
    assert result.stdout.splitlines() == [
        "error:   extensions.conf:3: MixMonitor() starts a recorder; a way leads here without the gate  "
        "[recording-without-gate]",
        "  way:  extensions.conf:1  c  context c",
        "        extensions.conf:2  c,1,1  Answer()",
        "        extensions.conf:3  c,1,2  MixMonitor(x.wav)",
        "  do:   remove it: on a yes ivr-consent has started the recorder already; "
        "nothing but Gosub(ivr-consent,s,1(LINE)) starts a recording",
        "Asterisk: 1 files, 3 lines, 1 contexts, 2 priorities: 1 error, 0 unknown, 0 warning, 0 note",
    ]


def test_notes_are_printed_when_they_are_wanted(tmp_path: Path) -> None:
    folder = site(tmp_path, "[c]\nexten => 1,1,VoiceMail(1) ; ivr-consent audit: allowed, after a tone\n")
    assert "after a tone" not in run("audit", folder).stdout
    assert "after a tone" in run("audit", folder, "--notes").stdout


def test_json(tmp_path: Path) -> None:
    folder = fixture("small", tmp_path)
    code, document = run_json("audit", folder)
    assert code == 1
    assert document["directory"] == str(folder)
    assert {"file": "local/hours.conf", "lines": 2} in document["files"]
    first = document["findings"][0]
    assert {key: first[key] for key in ("rule", "level", "file", "line")} == {
        "rule": "recording-without-gate",
        "level": "error",
        "file": "extensions.conf",
        "line": 23,
    }
    assert first["way"][-1] == {
        "file": "extensions.conf",
        "line": 23,
        "at": "from-trunk,70102031,2",
        "what": "MixMonitor(${UNIQUEID}.wav,b)",
    }
    assert document["counts"]["error"] == sum(finding["level"] == "error" for finding in document["findings"])


def test_sarif(tmp_path: Path) -> None:
    folder = site(tmp_path, UNGATED)
    out = tmp_path / "out.sarif"
    assert run("audit", folder, "--sarif", out).exit_code == 1
    written = json.loads(out.read_text())
    result = run("audit", folder, "--sarif", "-")
    assert json.loads(result.stdout) == written
    assert written["runs"][0]["results"][0]["ruleId"] == "recording-without-gate"
    assert run("audit", folder, "--sarif", tmp_path / "no" / "out").exit_code == 2


def test_single_files(tmp_path: Path) -> None:
    folder = site(tmp_path, UNGATED, queues="[q]\n")
    assert run("audit", folder / "extensions.conf", folder / "queues.conf").exit_code == 1


@pytest.mark.parametrize("what", ["nothing here", "no dialplan", "directory and file", "missing"])
def test_a_wrong_command_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.conf").write_text("[c]\n")
    words = {
        "nothing here": [],
        "no dialplan": [tmp_path / "empty"],
        "directory and file": [tmp_path / "x.conf", tmp_path / "empty"],
        "missing": [tmp_path / "missing"],
    }[what]
    assert run("audit", *words).exit_code == 2


def test_the_configuration_is_used_when_it_is_there(tmp_path: Path, place: Place) -> None:
    place.edit(
        "[lines.support]\n",
        '[lines.support]\nrecorded = "queues,support-recorded,1"\nunrecorded = "queues,support,1"\n',
    )
    dialplan = "[in]\nexten => 1,1,Goto(queues,support-recorded,1)\n[queues]\nexten => support-recorded,1,Hangup()\n"
    folder = site(tmp_path, dialplan)
    assert run("audit", folder).exit_code == 0
    assert "recorded-line-without-gate" in run("--config", place.config, "audit", folder).stdout
    assert run("--config", tmp_path / "none.toml", "audit", folder).exit_code == 3


def test_what_stands_in_the_files_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    hostile = "\x1b7\x07\x9b2J\u202e"
    dialplan = f"[c{hostile}]\nexten => 1{hostile},1,MixMonitor({hostile})\n same => n,Goto(${{{hostile}}})\n"
    folder = site(tmp_path, dialplan)
    for options in ((), ("--notes",), ("--json",), ("--sarif", "-")):
        output = run("audit", folder, *options).output
        assert "recording-without-gate" in output
        assert not set(output) & set("\x1b\x07\x9b\u202e")


def test_a_hostile_site_ends(tmp_path: Path) -> None:
    """A tree of links, pipes, loops of includes and bytes: it ends, and is not called safe."""
    folder = site(tmp_path, "#include a.conf\n#include loop.conf\n#include *.bin\n[c]\nexten => 1,1,Hangup()\n")
    (folder / "a.conf").write_text("[a]\n#include extensions.conf\n")
    (folder / "loop.conf").symlink_to(folder / "loop.conf")
    (folder / "x.bin").write_bytes(bytes(range(256)) * 100)
    (folder / "pjsip.conf").symlink_to("/dev/zero")
    (folder / "down").symlink_to(folder)
    assert run("audit", folder).exit_code == 6


def test_the_collector_is_on_again_afterwards(tmp_path: Path) -> None:
    assert gc.isenabled()
    run("audit", site(tmp_path, CLEAN))
    run("audit", tmp_path / "site" / "ivr-consent")
    assert gc.isenabled()


# --- FreeSWITCH ------------------------------------------------------------------------------------------------------

FREESWITCH_GATED = public(("transfer", "support XML ivr-consent"))
FREESWITCH_UNGATED = public(("record_session", "/x.wav"))


@pytest.mark.parametrize(
    ("dialplan", "options", "code"),
    [
        (FREESWITCH_GATED, (), 0),
        (FREESWITCH_UNGATED, (), 1),
        (public(("transfer", "1 XML ${x}")), (), 6),
        (FREESWITCH_GATED + FREESWITCH_GATED, (), 0),
        (FREESWITCH_GATED + FREESWITCH_GATED, ("--strict",), 1),
    ],
)
def test_exit_codes_of_xml(tmp_path: Path, dialplan: str, options: tuple[str, ...], code: int) -> None:
    folder = freeswitch_site(tmp_path, dialplan)
    assert run("audit", folder, *options).exit_code == code
    exit_code, document = run_json("audit", folder, *options)
    assert (exit_code, document["exit"], document["switch"]) == (code, code, "FreeSWITCH")


def test_what_is_printed_of_xml(tmp_path: Path) -> None:
    result = run("audit", freeswitch_site(tmp_path, FREESWITCH_UNGATED))
    *lines, last = result.stdout.splitlines()
    assert lines == [
        "error:   dialplan/public.xml:3: record_session starts a recorder; a way leads here without the gate  "
        "[recording-without-gate]",
        "  way:  autoload_configs/sofia.conf.xml:4  public  calls of external",
        "        dialplan/public.xml:3  public,e  record_session /x.wav",
        "  do:   remove it: on a yes ivr-consent has started the recorder already; nothing but "
        '<action application="transfer" data="LINE XML ivr-consent"/> starts a recording',
    ]
    assert last.startswith("FreeSWITCH: 6 files, ")
    assert last.endswith(" actions: 1 error, 0 unknown, 0 warning, 0 note")


def test_the_switch_is_told_by_the_files(tmp_path: Path) -> None:
    folder = freeswitch_site(tmp_path, FREESWITCH_UNGATED)
    (folder / "extensions.conf").write_text(UNGATED)
    assert "FreeSWITCH: " in run("audit", folder).stdout
    assert "Asterisk: " in run("audit", folder / "extensions.conf").stdout
    assert "FreeSWITCH: " in run("audit", folder / "dialplan" / "public.xml").stdout
    (folder / "freeswitch.xml").unlink()
    assert "Asterisk: " in run("audit", folder).stdout
    assert run_json("audit", folder)[1]["switch"] == "Asterisk"


def test_what_stands_in_xml_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    hostile = "\x07\x9b2J\u202e\x7f"
    dialplan = public((f"record{hostile}", "x"), ("record_session", hostile), ("transfer", f"1 XML ${{x{hostile}}}"))
    folder = freeswitch_site(tmp_path, dialplan.replace("\x07", ""))
    for options in ((), ("--notes",), ("--json",), ("--sarif", "-")):
        output = run("audit", folder, *options).output
        assert "recording-without-gate" in output
        assert not set(output) & set("\x1b\x07\x9b\u202e\x7f")
