"""ivr-consent test --record: a call played by hand becomes a scenario that passes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ivr_consent.cli.app import app
from tests.cli.support import Place, run, run_json

LISTENS = "\n" * 10
"""Up to the first choice window of the usual line."""


def record(path: Path, typed: str, *words: str, config: Path | None = None) -> Result:
    chosen = [] if config is None else ["--config", str(config)]
    command = [*chosen, "test", "--record", str(path), *words]
    return CliRunner().invoke(app, command, input=typed, env={"IVR_CONSENT_CONFIG": None}, catch_exceptions=False)


@pytest.mark.parametrize(
    ("typed", "outcome", "reason"),
    [
        (LISTENS + "1\n", "granted", "yes_key"),
        (LISTENS + "2@-100\n", "declined", "no_key"),
        (LISTENS + "1@200\n2\n", "declined", "no_key_after_grant"),
        (LISTENS + "\n\n9\n1\n", "granted", "yes_key"),
        ("\n3\n\nh@7\n", "abandoned", "hung_up_informing"),
        (LISTENS + "h\n", "abandoned", "hung_up_choosing"),
        ("e\n1\n", "no_answer", "silence"),
        ("", "no_answer", "silence"),
    ],
)
def test_a_call_passes_when_it_is_played_again(tmp_path: Path, typed: str, outcome: str, reason: str) -> None:
    path = tmp_path / "by-hand.toml"
    result = record(path, typed)
    assert result.exit_code == 0, result.output
    assert f"{outcome} ({reason}); written to {path}" in result.stdout
    written = tomllib.loads(path.read_text())
    assert (written["expect"]["outcome"], written["expect"]["reason"]) == (outcome, reason)
    code, document = run_json("test", path)
    assert (code, document["passed"], document["failures"]) == (0, 1, [])


def test_what_was_recorded_notices_another_call(tmp_path: Path) -> None:
    path = tmp_path / "no.toml"
    record(path, LISTENS + "2\n")
    assert 'press = "2"' in path.read_text()
    path.write_text(path.read_text().replace('press = "2"', 'press = "1"'))
    code, document = run_json("test", path)
    assert code == 1
    wrong = document["failures"][0]["wrong"]
    assert "outcome: expected 'declined', was 'granted'" in wrong
    assert "never: 'record' came" in wrong


def test_it_is_heard_on_the_real_wire_too(tmp_path: Path) -> None:
    path = tmp_path / "twice.toml"
    record(path, LISTENS + "9\n1\n\n2\n")
    code, document = run_json("test", path, "--on", "fake-asterisk")
    assert (code, document["failures"]) == (0, [])


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("# mine\n")
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "elsewhere.toml")
    for taken in (path, link):
        result = record(taken, "e\n")
        assert result.exit_code == 1
        assert "is there already" in result.stderr
    assert path.read_text() == "# mine\n"
    assert not (tmp_path / "elsewhere.toml").exists()


@pytest.mark.parametrize(("name", "said"), [("mine.txt", "not a scenario's name"), ("none/a.toml", "is no directory")])
def test_a_place_that_cannot_be_is_told_before_the_call(tmp_path: Path, name: str, said: str) -> None:
    result = record(tmp_path / name, "e\n")
    assert result.exit_code != 0
    assert said in result.stderr
    assert "[controller]" not in result.stdout


@pytest.mark.parametrize("typed", ["x\n", "1@999999\n", "11\n", "\x1b[2J\n", "1@\n"])
def test_what_is_no_key_leaves_no_file(tmp_path: Path, typed: str) -> None:
    result = record(tmp_path / "a.toml", typed)
    assert result.exit_code == 3
    assert "standard input" in result.stderr
    assert "\x1b" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_line_of_the_configuration(place: Place, tmp_path: Path) -> None:
    place.edit("repeats = 2", "repeats = 0")
    place.edit('# next_menu = ["1", "2", "3"]', 'next_menu = ["7"]')
    path = tmp_path / "line.toml"
    result = record(path, "e\n", "--line", "support", "--json", config=place.config)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["ok"], told["file"], told["outcome"]) == (True, str(path), "no_answer")
    line = tomllib.loads(path.read_text())["line"]
    assert line["repeats"] == 0
    assert "next_menu" not in line
    assert run("test", path).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [["--record", "a.toml", "--on", "fake-asterisk"], ["--record", "a.toml", "b.toml"], ["--line", "support"]],
)
def test_options_that_do_not_go_together(words: list[str]) -> None:
    result = run("test", *words)
    assert result.exit_code == 2
    assert "--record" in result.stderr


def test_a_line_that_is_not_there(place: Place, tmp_path: Path) -> None:
    result = record(tmp_path / "a.toml", "e\n", "--line", "sales", config=place.config)
    assert result.exit_code == 2
    assert "there is no line" in result.stderr
