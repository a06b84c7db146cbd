"""Long answers on a terminal: the user's pager, colours, and an end without a word when it is left."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ivr_consent.cli import pager
from tests.cli.support import Place
from tests.cli.terminal import Process
from tests.store.written import append, entry, raw
from tests.tools import need

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
GREEN = "\x1b[32mgranted\x1b[0m"
LIST = ("log", "list")


@pytest.fixture
def filled(place: Place) -> Place:
    """Three hundred calls; the newest was granted."""
    entries = [
        entry("decision", f"{n:032x}", "support", {"outcome": "declined", "reason": "no_key"}) for n in range(299)
    ]
    append(place.log, [*entries, entry("decision", "f" * 32, "support", {"outcome": "granted", "reason": "yes_key"})])
    return place


def program(folder: Path, text: str) -> Path:
    """A pager for the test."""
    path = folder / "pager"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_on_a_terminal_the_users_pager_has_it_with_colours(filled: Place, tmp_path: Path) -> None:
    command = program(tmp_path, f'echo "$LESS" > {tmp_path}/less; exec cat > {tmp_path}/paged')
    with Process("--config", filled.config, *LIST, columns=200, PAGER=str(command)) as process:
        assert process.exit_code() == 0
        assert process.printed == ""
    assert (tmp_path / "less").read_text() == "FRX\n"
    paged = (tmp_path / "paged").read_text()
    assert GREEN in paged
    assert len(paged.splitlines()) == 51


def test_less_shows_what_fits_at_once(filled: Place) -> None:
    need("less")
    with Process("--config", filled.config, *LIST, "--limit", "3", columns=200) as process:
        assert process.exit_code() == 0
    assert GREEN in process.printed


def test_less_pages_what_does_not_fit(filled: Place) -> None:
    need("less")
    with Process("--config", filled.config, *LIST, "--limit", "0", columns=200) as process:
        process.until("granted")
        assert process.printed.count("declined") < 30
        process.interrupt()  # it stays: it is the pager's now
        assert process.leave("q") in (0, pager.INTERRUPTED)
        assert "Traceback" not in process.printed
        assert "Aborted" not in process.printed


@pytest.mark.parametrize("options", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_colours_where_none_are_wanted(filled: Place, options: dict[str, str]) -> None:
    with Process("--config", filled.config, *LIST, columns=200, **{"PAGER": "cat", **options}) as process:
        assert process.exit_code() == 0
    assert "granted" in process.printed
    assert not COLOUR.search(process.printed)


@pytest.mark.parametrize("words", [("--no-pager",), ("--json",), ("--json-lines",)], ids=str)
def test_no_pager_where_none_is_wanted(filled: Place, tmp_path: Path, words: tuple[str, ...]) -> None:
    command = program(tmp_path, f"touch {tmp_path}/used")
    with Process("--config", filled.config, *LIST, *words, columns=200, PAGER=str(command)) as process:
        assert process.exit_code() == 0
    assert "granted" in process.printed
    assert not (tmp_path / "used").exists()


@pytest.mark.parametrize("name", ["/nowhere/pager", "", "cat", "'"])
def test_a_pager_that_is_none_is_done_without(filled: Place, name: str) -> None:
    with Process("--config", filled.config, *LIST, columns=200, PAGER=name) as process:
        assert process.exit_code() == 0
    assert GREEN in process.printed


def test_a_pager_that_is_left_early_ends_it_well(filled: Place, tmp_path: Path) -> None:
    command = program(tmp_path, "exec head -n 2")
    for _ in range(3):
        with Process(
            "--config", filled.config, *LIST, "--limit", "0", "--events", columns=200, PAGER=str(command)
        ) as process:
            assert process.exit_code() == 0
        assert len(process.printed.splitlines()) == 2


def test_an_error_comes_after_the_pager(filled: Place, tmp_path: Path) -> None:
    append(filled.log, [raw(b"no JSON", "e" * 32)])
    command = program(tmp_path, "exec cat")
    with Process("--config", filled.config, *LIST, columns=200, PAGER=str(command)) as process:
        assert process.exit_code() == 5
    assert process.printed.index("declined") < process.printed.index("was not written by ivr-consent")


def test_a_narrow_terminal_has_fewer_columns(filled: Place) -> None:
    for columns, there, left_out in ((80, "reason", "switch"), (200, "switch", "nothing")):
        with Process("--config", filled.config, *LIST, "--limit", "3", columns=columns, PAGER="cat") as process:
            assert process.exit_code() == 0
        head = process.printed.splitlines()[0]
        assert there in head
        assert left_out not in head
        assert all(len(COLOUR.sub("", line)) <= columns for line in process.printed.splitlines())


def test_bars_on_a_terminal(filled: Place) -> None:
    for language, bar in (("C.UTF-8", "█"), ("C", "#")):
        env = {"LANG": language, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PAGER": "cat"}
        with Process("--config", filled.config, "log", "stats", columns=200, **env) as process:
            assert process.exit_code() == 0
        declined = next(line for line in process.printed.splitlines() if "declined" in line)
        assert bar * 19 in declined


def test_behind_a_pipe_there_are_no_colours_and_no_pager(filled: Place, tmp_path: Path) -> None:
    command = program(tmp_path, f"touch {tmp_path}/used")
    with Process("--config", filled.config, *LIST, PAGER=str(command)) as process:
        assert process.exit_code() == 0
    assert "granted" in process.printed
    assert not COLOUR.search(process.printed)
    assert not (tmp_path / "used").exists()


@pytest.mark.parametrize("words", [(), ("--json",), ("--json-lines",), ("--events",)], ids=str)
def test_a_pipe_that_is_closed_ends_it_well(filled: Place, words: tuple[str, ...]) -> None:
    """More is printed than a pipe holds; whoever read it has gone."""
    for number in range(6):
        append(filled.log, [entry("asked", f"{number}{n:031x}", "x" * 40, {"a": "b" * 60}) for n in range(300)])
    wanted = words if words == ("--events",) else (*words, "--events")
    with Process("--config", filled.config, *LIST, "--limit", "0", *wanted) as process:
        process.until("asked")
        process.stop_reading()
        assert process.exit_code() == 0
        assert process.said == ""


def test_ctrl_c_ends_it_without_a_word(filled: Place) -> None:
    """It is stuck in a full pipe when it comes."""
    for number in range(6):
        append(filled.log, [entry("asked", f"{number}{n:031x}", "x" * 40, {"a": "b" * 60}) for n in range(300)])
    with Process("--config", filled.config, *LIST, "--limit", "0", "--events") as process:
        process.until("asked")
        process.interrupt()
        assert process.exit_code() == pager.INTERRUPTED
        assert process.said == ""


def test_which_pager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "less -S +G")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert pager.pager() == ["less", "-S", "+G"]
    monkeypatch.delenv("PAGER")
    assert pager.pager() == ["less"]
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/more" if name == "more" else None)
    assert pager.pager() == ["more"]
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert pager.pager() is None
