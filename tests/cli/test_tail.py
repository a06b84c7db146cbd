"""ivr-consent log tail: the newest events, and those that come, also after a restart, a gap, and another copy."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.cli.terminal import Exit
from ivr_consent.store import place as store
from ivr_consent.store.ledger import Ledger
from tests.cli.support import Place, run, run_json
from tests.cli.terminal import Process
from tests.store.written import append, entry, prune, raw

TAIL = ("log", "tail")
CALL = "1" * 32


@pytest.fixture
def filled(place: Place) -> Place:
    """The beginning of the log, a decision, and thirty events of the service."""
    append(place.log, [entry("decision", CALL, "support", {"outcome": "granted", "reason": "yes_key"})])
    append(place.log, [entry("server_started", None, None, {"number": n}) for n in range(30)])
    return place


def numbers(printed: str) -> list[Any]:
    return [json.loads(line)["payload"].get("number") for line in printed.splitlines()]


@pytest.fixture
def following(filled: Place) -> Iterator[Process]:
    """One that has shown the last event and follows."""
    with Process("--config", filled.config, *TAIL, "-f", "-n", "1", "--json-lines") as process:
        process.until('"number": 29')
        yield process


def test_the_newest_the_oldest_of_them_first(filled: Place) -> None:
    printed = run("--config", filled.config, *TAIL, "--json-lines").stdout
    assert numbers(printed) == list(range(20, 30))
    assert numbers(run("--config", filled.config, *TAIL, "-n", "2", "--json-lines").stdout) == [28, 29]
    assert run("--config", filled.config, *TAIL, "-n", "0", "--json-lines").stdout == ""
    code, document = run_json("--config", filled.config, *TAIL, "-n", "3")
    assert code == 0
    assert [event["payload"]["number"] for event in document["events"]] == [27, 28, 29]
    table = run("--config", filled.config, *TAIL, "-n", "1").stdout.splitlines()
    assert table[0].split()[0] == "event"
    assert "number 29" in table[1]


def test_only_what_is_wanted(filled: Place) -> None:
    def kinds(*options: str) -> list[str]:
        printed = run("--config", filled.config, *TAIL, "--json-lines", *options).stdout
        return [json.loads(line)["kind"] for line in printed.splitlines()]

    assert kinds("--kind", "log_created") == ["log_created"]
    assert kinds("--line", "support") == ["decision"]
    assert kinds("--outcome", "granted") == ["decision"]
    assert kinds("--line", "none") == []
    assert "no event in the log fits" in run("--config", filled.config, *TAIL, "--line", "none").stdout


def test_one_object_has_an_end(filled: Place) -> None:
    assert run_json("--config", filled.config, *TAIL, "-f")[0] == Exit.USAGE


def test_a_log_that_is_not_there_is_not_waited_for_at_first(filled: Place) -> None:
    filled.log.unlink()
    assert run("--config", filled.config, *TAIL, "-f").exit_code == Exit.LOG


def test_follows_what_comes_and_ends_well_by_ctrl_c(filled: Place, following: Process) -> None:
    append(filled.log, [entry("server_stopped", None, None, {"number": 30})])
    following.until('"number": 30')
    append(filled.log, [entry("server_started", None, None, {"number": n}) for n in range(31, 531)])
    following.until('"number": 530')
    following.interrupt()
    assert following.exit_code() == 0
    assert numbers(following.printed) == list(range(29, 531))
    assert following.said == ""


def test_follows_only_what_is_wanted(filled: Place) -> None:
    words = ("-f", "-n", "1", "--line", "support", "--outcome", "declined", "--json-lines")
    with Process("--config", filled.config, *TAIL, *words) as process:
        with Process("--config", filled.config, *TAIL, "-f", "-n", "1", "--kind", "routed", "--json-lines") as other:
            made = [("support", "granted"), ("sales", "declined"), ("support", "declined")]
            for number in range(200):  # until both of them follow
                for line, outcome in made:
                    payload = {"outcome": outcome, "number": number}
                    append(filled.log, [entry("decision", f"{line}{outcome}{number}", line, payload)])
                append(filled.log, [entry("routed", CALL, "support", {"number": number})])
                if process.has_printed() and other.has_printed():
                    break
            assert {json.loads(line)["kind"] for line in other.whole_lines()} == {"routed"}
        found = {(event["line"], event["outcome"]) for event in map(json.loads, process.whole_lines())}
        assert found == {("support", "declined")}


def test_goes_on_after_the_services_restart(filled: Place, following: Process) -> None:
    for number in (30, 31):
        log = Ledger(store.Place(filled.log), seals=True)
        log.tell_now("server_started", {"number": number})
        log.close()
        following.until(f'"number": {number}')
    assert following.said == ""


def test_goes_on_after_pruning(filled: Place, following: Process) -> None:
    newest = json.loads(following.printed.splitlines()[-1])["sequence"]
    prune(store.Place(filled.log), range(3, newest + 1))
    append(filled.log, [entry("server_started", None, None, {"number": 30})])
    following.until('"number": 30')
    assert following.said == ""


def copied(log: Path, to: Path) -> Path:
    """A copy as a backup makes it."""
    with closing(sqlite3.connect(log)) as source:
        source.execute("VACUUM INTO ?", (str(to),))
    return to


def put_in_place(log: Path, copy: Path) -> None:
    """What a restore does: other files under the log's names."""
    for suffix in ("-wal", "-shm"):
        log.with_name(log.name + suffix).unlink(missing_ok=True)
    copy.replace(log)


def test_an_older_copy_in_its_place_is_told_and_followed(filled: Place, following: Process, tmp_path: Path) -> None:
    """Also where the copy has grown past what was shown before it is looked at."""
    older = copied(filled.log, tmp_path / "older.db")
    append(filled.log, [entry("server_started", None, None, {"number": n}) for n in range(30, 33)])
    following.until('"number": 32')
    shutil.copy(filled.log.with_suffix(".key"), tmp_path / "older.key")
    append(older, [entry("server_started", None, None, {"number": 100 + n}) for n in range(10)])
    put_in_place(filled.log, older)
    following.until("another copy of the log is in its place")
    following.until('"number": 109')
    shown = numbers(following.printed)
    assert shown[-10:] == list(range(100, 110))
    assert following.said.count("\n") == 1
    assert "Traceback" not in following.said


def test_a_log_that_is_gone_for_a_while_is_waited_for(filled: Place, following: Process, tmp_path: Path) -> None:
    aside = copied(filled.log, tmp_path / "aside.db")
    for suffix in ("", "-wal", "-shm"):
        filled.log.with_name(filled.log.name + suffix).unlink(missing_ok=True)
    following.until("waiting for it")
    put_in_place(filled.log, aside)
    following.until("can be read again")
    append(filled.log, [entry("server_started", None, None, {"number": 30})])
    following.until('"number": 30')
    following.interrupt()
    assert following.exit_code() == 0
    assert numbers(following.printed) == [29, 30]


def test_an_event_that_is_not_ours_does_not_end_it(filled: Place, following: Process) -> None:
    append(filled.log, [raw(b"evil\x1b[2J", "e" * 32)])
    append(filled.log, [entry("server_started", None, None, {"number": 30})])
    following.until('"number": 30')
    problem = json.loads(following.printed.splitlines()[1])["problem"]
    assert "cannot be read as JSON" in problem
    assert "\x1b" not in following.printed


def test_on_a_terminal_it_has_colours_and_no_pager(filled: Place) -> None:
    with Process("--config", filled.config, *TAIL, "-f", "-n", "40", columns=120, PAGER="/nowhere") as process:
        process.until("number 29")
        assert "\x1b[32mgranted" in process.printed
        process.interrupt()
        assert process.exit_code() == 0
    assert "Aborted" not in process.printed
