"""ivr-consent log over the logs of several servers in one database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.cli.templates import unit
from ivr_consent.config import load
from ivr_consent.core.decision import Outcome
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from ivr_consent.testing.plans import call_context
from tests.cli.support import Place, run, run_json
from tests.postgresql import PostgresqlServer
from tests.store.chains import check, decision

WAIT_S = 30.0


@pytest.fixture
def sites(postgresql: PostgresqlServer, tmp_path: Path) -> list[Path]:
    """The configurations of two switches with one database; each has had six calls, in turns."""
    url = postgresql.url(postgresql.create_database())
    found = []
    for number, server in enumerate(("pbx1", "pbx2")):
        folder = tmp_path / server
        folder.mkdir()
        config = folder / "ivr-consent.toml"
        config.write_text(f'[log]\nurl = "{url}"\nserver = "{server}"\n[lines.support]\n')
        found.append(config)
        now = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=number)]
        log = Ledger(place_of(load(config)), clock=lambda now=now: now[0])  # type: ignore[misc]  # mypy cannot infer a lambda's default
        for call in range(6):
            now[0] += timedelta(hours=1)
            outcome = Outcome.GRANTED if call % 2 else Outcome.DECLINED
            log.decide_now(decision(outcome, call_context(f"{'ab'[number]}{call}".ljust(32, "0"))), WAIT_S)
        log.seal()
        log.close()
    return found


def test_a_site_whose_log_is_in_a_database(ready: Place, postgresql: PostgresqlServer) -> None:
    """Init, a call, its evidence, the check, a withdrawal: as with a file, and no file is made."""
    url = postgresql.url(postgresql.create_database())
    text = ready.config.read_text()
    assert text.count("[log]\n") == 1
    ready.config.write_text(text.replace("[log]\n", f'[log]\nurl = "{url}"\nserver = "pbx1"\n'))
    ready.log.rename(ready.log.with_name("old.db"))  # what init made before
    done = run(*ready.init())
    assert done.exit_code == 0, done.output
    assert (ready.log.parent / "pbx1.pub").exists()
    assert "postgresql.service" not in (ready.etc / "ivr-consent.service").read_text()  # kept: it is the site's own
    assert "After=network.target network-online.target postgresql.service\n" in unit(load(ready.config), "u", ["x"])
    for keys in ("1", "2"):
        assert run("--config", ready.config, "call", "support", "--keys", keys).exit_code == 0
    calls = asked(ready.config, "list")["calls"]
    assert [call["decision"]["outcome"] for call in calls] == ["declined", "granted"]
    assert not ready.log.exists()
    assert "SQLite" not in done.output
    _, told = run_json("--config", ready.config, "check")
    (finding,) = [finding for finding in told["findings"] if finding["name"] == "log"]
    assert (finding["state"], "takes a commit" in finding["found"]) == ("ok", True)
    assert run("--config", ready.config, "log", "verify").exit_code == 0
    assert run("--config", ready.config, "prompts", "prune").exit_code == 0


def asked(config: Path, *words: str) -> Any:
    code, document = run_json("--config", config, "log", *words)
    assert code == 0, document
    return document


def test_lists_the_calls_of_all(sites: list[Path]) -> None:
    calls = asked(sites[0], "list")["calls"]
    assert [(call["server"], call["call_id"][:2]) for call in calls[:4]] == [
        ("pbx2", "b5"),
        ("pbx1", "a5"),
        ("pbx2", "b4"),
        ("pbx1", "a4"),
    ]
    assert len(calls) == 12
    of_one = asked(sites[0], "list", "--server", "pbx2")["calls"]
    assert [call["call_id"][:2] for call in of_one] == ["b5", "b4", "b3", "b2", "b1", "b0"]
    printed = run("--config", sites[0], "log", "list", "--limit", "2").stdout
    assert "server" in printed.splitlines()[0]
    assert ["pbx2" in printed, "pbx1" in printed] == [True, True]
    events = run("--config", sites[1], "log", "list", "--events", "--json-lines").stdout.splitlines()
    assert {json.loads(line)["server"] for line in events} == {"pbx1", "pbx2"}


def test_shows_a_call_of_another_server(sites: list[Path]) -> None:
    shown = asked(sites[0], "show", "b3")
    assert shown["server"] == "pbx2"
    assert shown["proof"][0]["checkpoint"]["size"] == 7
    assert "pbx2" in run("--config", sites[0], "log", "show", "b3").stdout
    code, refused = run_json("--config", sites[0], "log", "show", "--event", "3")
    assert code != 0
    assert "--server pbx1|pbx2" in refused["error"]["message"]
    assert asked(sites[0], "show", "--event", "3", "--server", "pbx1")["call_id"].startswith("a1")


def test_counts_all(sites: list[Path]) -> None:
    assert asked(sites[0], "stats", "--by", "outcome")["total"]["decisions"] == 12
    rows = asked(sites[0], "stats", "--by", "server")["rows"]
    assert {row["server"]: row["decisions"] for row in rows} == {"pbx1": 6, "pbx2": 6}
    assert asked(sites[0], "stats", "--server", "pbx2")["total"]["decisions"] == 6


def test_the_tail_of_all(sites: list[Path]) -> None:
    events = asked(sites[0], "tail", "-n", "3")["events"]
    assert [(event["server"], event["call_id"][:2]) for event in events] == [
        ("pbx2", "b4"),
        ("pbx1", "a5"),
        ("pbx2", "b5"),
    ]
    assert [event["call_id"][:2] for event in asked(sites[0], "tail", "-n", "2", "--server", "pbx1")["events"]] == [
        "a4",
        "a5",
    ]


def test_one_report_of_all(sites: list[Path], tmp_path: Path) -> None:
    """Each log's evidence is told for itself: of the other server the public key is not here."""
    told = asked(sites[0], "report", "--out", str(tmp_path / "report.html"))
    assert told["calls"] == 12
    assert [log["log"].partition(" ")[2] for log in told["logs"]] == ["(server pbx1)", "(server pbx2)"]
    assert told["logs"][0]["verified"] is True
    assert told["logs"][1]["verified"] is not False
    assert "(server pbx2)" in (tmp_path / "report.html").read_text()
    alone = asked(sites[1], "report", "--server", "pbx2", "--out", str(tmp_path / "alone.html"))
    assert (alone["calls"], alone["verified"]) == (6, True)


def test_a_chain_is_verified_by_itself(sites: list[Path]) -> None:
    for config in sites:
        assert run("--config", config, "log", "verify").exit_code == 0
        check(place_of(load(config)))


def test_a_server_that_is_not_there(sites: list[Path]) -> None:
    code, refused = run_json("--config", sites[0], "log", "list", "--server", "pbx9")
    assert code != 0
    assert "there are: pbx1, pbx2" in refused["error"]["message"]
