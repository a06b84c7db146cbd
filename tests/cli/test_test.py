"""ivr-consent test: scenario files from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ivr_consent.site import shipped
from tests.cli.support import run, run_json

YES = """
summary = "Yes"
[[does]]
window = 1
press = "1"
[expect]
outcome = "granted"
reason = "yes_key"
route = "recorded"
"""
WRONG = YES.replace('press = "1"', 'press = "2"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    (made / "yes.toml").write_text(YES)
    return made


def test_without_files_the_shipped_set_is_played() -> None:
    code, document = run_json("test")
    assert code == 0
    assert document["passed"] > 90
    assert (document["failed"], document["skipped"], document["failures"]) == (0, 0, [])


def test_the_shipped_set_comes_with_the_package() -> None:
    assert len(list(shipped("scenarios").glob("*.toml"))) > 20


def test_a_failure_shows_what_is_wrong_and_the_call(folder: Path) -> None:
    (folder / "no.toml").write_text(WRONG)
    result = run("test", folder)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "FAILED  no on simulated: Yes"
    assert "  - outcome: expected 'granted', was 'declined'" in lines
    assert any(line.endswith("caller    presses 2") for line in lines)
    assert any(line.endswith("switch    is told: the unrecorded line") for line in lines)
    assert lines[-1].startswith("simulated: 1 passed, 1 failed, in ")


def test_a_failure_as_json(folder: Path) -> None:
    (folder / "no.toml").write_text(WRONG)
    code, document = run_json("test", folder)
    assert code == 1
    (failure,) = document["failures"]
    assert failure["scenario"] == "no"
    assert {"at_ms", "ended_ms", "who", "event"} == set(failure["timeline"][0])


def test_what_is_written(folder: Path, tmp_path: Path) -> None:
    (folder / "no.toml").write_text(WRONG + '\n[[variants]]\nname = "a"\n')
    junit, lines, pictures = tmp_path / "j.xml", tmp_path / "l.jsonl", tmp_path / "new" / "pictures"
    result = run("test", folder, "--junit", junit, "--json-lines", lines, "--pictures", pictures)
    assert result.exit_code == 1
    root = ET.fromstring(junit.read_bytes())  # noqa: S314 - our own
    assert [case.get("name") for case in root.iter("testcase")] == ["no/a", "yes"]
    assert {json.loads(line)["scenario"]: json.loads(line)["result"] for line in lines.read_text().splitlines()} == {
        "no/a": "failed",
        "yes": "passed",
    }
    assert {path.name for path in pictures.iterdir()} == {"no--a.svg", "yes.svg"}


@pytest.mark.parametrize("option", ["--junit", "--json-lines", "--pictures"])
def test_a_place_that_cannot_be_written(folder: Path, option: str) -> None:
    result = run("test", folder, option, folder / "yes.toml" / "x")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_several_processes(folder: Path) -> None:
    (folder / "no.toml").write_text(WRONG)
    code, document = run_json("test", folder, shipped("scenarios") / "silence.toml", "--jobs", "2")
    assert code == 1
    assert (document["passed"], document["failed"]) == (4, 1)


def test_on_a_fake_switch(folder: Path) -> None:
    """Through our real server; its own log does not stand between the lines."""
    result = run("test", folder, shipped("scenarios") / "switch-fails.toml", "--on", "fake-freeswitch")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("fake-freeswitch: 1 passed, 0 failed, 4 that cannot be played there, in ")
    assert result.stderr == ""


def test_nothing_to_be_played_there_is_no_success() -> None:
    result = run("test", shipped("scenarios") / "switch-fails.toml", "--on", "fake-asterisk")
    assert result.exit_code == 1
    assert "none of these scenarios can be played on fake-asterisk" in result.stderr


def test_every_problem_of_every_file_is_told(folder: Path) -> None:
    (folder / "a.toml").write_text(YES + "colour = 1\n")
    (folder / "b.toml").write_text("[[")
    code, document = run_json("test", folder, folder / "missing.toml")
    assert code == 3
    wheres = [problem["where"] for problem in document["error"]["problems"]]
    assert any("a.toml: expect.colour" in where for where in wheres)
    assert any("b.toml" in where for where in wheres)
    assert any("missing.toml" in where for where in wheres)


def test_two_scenarios_of_one_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "yes.toml").write_text(YES)
    result = run("test", folder, tmp_path / "yes.toml")
    assert result.exit_code == 3
    assert "a second scenario 'yes'" in result.stderr


def test_an_empty_directory_is_no_success(tmp_path: Path) -> None:
    result = run("test", tmp_path)
    assert result.exit_code == 3
    assert "no scenario file" in result.stderr


def test_a_notice_that_is_not_there(folder: Path) -> None:
    (folder / "yes.toml").write_text(YES + '[line]\nnotice = "nowhere"\n')
    result = run("test", folder)
    assert result.exit_code == 3
    assert "nowhere" in result.stderr


def test_nothing_of_a_scenario_acts_upon_the_terminal(folder: Path) -> None:
    (folder / "no.toml").write_text(WRONG.replace('"Yes"', '"\\u001b[2J"'))
    result = run("test", folder)
    assert "\x1b" not in result.stdout
    assert "\\x1b[2J" in result.stdout


@pytest.mark.parametrize(
    ("on", "code", "why"),
    [
        ("asterisk", 1, "there is no Asterisk 22 to be had here: apt-get is not installed"),
        ("freeswitch", 4, "there is no FreeSWITCH to be had here: there is no program freeswitch"),
    ],
)
def test_where_there_is_no_such_switch(folder: Path, tmp_path: Path, on: str, code: int, why: str) -> None:
    """What is missing, and what can be done without it; no directory is left."""
    bare = tmp_path / "bare"
    bare.mkdir()
    aside = tmp_path / "aside"
    aside.mkdir()
    places = {"PATH": str(bare), "IVR_CONSENT_RIG": str(tmp_path / "rig"), "TMPDIR": str(aside)}
    result = run("test", folder, "--on", on, **places)
    assert result.exit_code == code
    assert why in result.stderr
    assert f"try --on fake-{on}" in result.stderr
    assert list(aside.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--into", "from-trunk"], "go with --dialplan"),
        (["--dialplan", ".", "--on", "freeswitch"], "takes no scenarios"),
        (["--dialplan", ".", "a.toml"], "takes no scenarios"),
        (["--dialplan", "nowhere"], "does not exist"),
        (["--dialplan", ".", "--at", "noon"], "2026-11-23"),
    ],
)
def test_options_of_a_dialplan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("test", *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_directory_without_a_dialplan_is_told(tmp_path: Path) -> None:
    done = run("test", "--dialplan", str(tmp_path))
    assert done.exit_code == 1
    assert "there is no dialplan in" in done.stderr
