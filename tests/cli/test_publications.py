"""Published notices as events of the log: what was published, by whom; and when the log cannot be told."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.steps import Logged
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from ivr_consent.store.reader import LedgerReader, LoggedEvent
from ivr_consent.store.search import Wanted
from ivr_consent.versions import Versions
from tests.cli.support import run, run_json
from tests.sites import SmallSite

KIND = "notice_published"


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """Two lines; one has a version, the other is ready to be published. There is a log."""
    made = SmallSite.make(tmp_path / "site", "support", "sales")
    made.publish("support")
    made.build()
    Ledger(place_of(made.settings)).close()
    return made


def log(site: SmallSite) -> Path:
    return site.root / "decisions.db"


def events(site: SmallSite) -> list[LoggedEvent]:
    with LedgerReader(place_of(site.settings)) as reader:
        return list(reader.events(Wanted(kind=KIND)))[::-1]


def prompts(site: SmallSite, *words: str) -> Any:
    return run("--config", site.config, "prompts", *words)


def test_a_publication_is_an_event(site: SmallSite) -> None:
    """R22: which version, which manifest, by whom."""
    done = prompts(site, "publish", "sales", "--by", "Ærø  Østergård")
    assert done.exit_code == 0, done.output
    (event,) = events(site)
    (entry,) = site.versions("sales").history(site.workshop().keys()[1])
    assert (event.call_id, event.line) == (None, "sales")
    assert event.payload == {
        "act": "published",
        "version": 1,
        "manifest_sha256": entry.manifest_sha256,
        "by": "Ærø Østergård",
    }
    assert "the log was not told" not in done.output


def test_who_approved_stands_beside_the_chain(site: SmallSite) -> None:
    """R24: a name can be erased; what happened stays."""
    prompts(site, "publish", "sales", "--by", "Ærø Østergård")
    with closing(sqlite3.connect(log(site))) as database:
        ((payload, committed),) = database.execute(
            "SELECT payload, commitment FROM events WHERE kind = ?", (KIND,)
        ).fetchall()
        ((data, agent),) = database.execute("SELECT data, agent FROM personal").fetchall()
    assert "Ærø".encode() not in payload
    assert set(json.loads(payload)) == {"act", "version", "manifest_sha256"}
    assert committed is not None
    assert (json.loads(data), agent) == ({"by": "Ærø Østergård"}, "Ærø Østergård")


def test_a_rollback_is_an_event(site: SmallSite) -> None:
    site.say("Something else is said now.")
    site.build()
    assert prompts(site, "publish", "support", "--by", "A").exit_code == 0
    assert prompts(site, "rollback", "support", "--by", "B").exit_code == 0
    told = [(event.payload["act"], event.payload["version"], event.payload["by"]) for event in events(site)]
    assert told == [("published", 2, "A"), ("rolled_back", 1, "B")]


def test_what_changes_nothing_is_no_event(site: SmallSite) -> None:
    """But one that the log does not know yet is told, as whom it was approved by: of a time before the log, say."""
    for _ in range(2):
        assert prompts(site, "publish", "--by", "Somebody Else").exit_code == 0
    assert [(event.line, event.payload["by"]) for event in events(site)] == [
        ("support", "A. Tester"),
        ("sales", "Somebody Else"),
    ]


def test_there_is_no_log_yet(site: SmallSite) -> None:
    """And none is made; the service writes what is in force when it starts."""
    for path in site.root.glob("decisions.*"):
        path.unlink()
    done = prompts(site, "publish", "sales")
    assert done.exit_code == 0
    assert "the log was not told: there is none yet; the service writes what is in force when it starts" in done.stdout
    assert not log(site).exists()
    code, document = run_json("--config", site.config, "prompts", "publish", "sales")
    assert (code, document["problems"]) == (0, [])


def test_the_log_of_another_user(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who publishes need not be who serves."""
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != log(site))
    done = prompts(site, "publish", "sales")
    assert done.exit_code == 0
    assert "the log was not told: it is another user's" in done.stdout
    monkeypatch.undo()
    assert events(site) == []


def test_a_log_that_cannot_be_written(site: SmallSite) -> None:
    """It is published all the same, which is said; run again, it adds what the log lacks."""
    with closing(sqlite3.connect(log(site), isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        done = prompts(site, "publish", "sales", "--by", "A")
        code, document = run_json("--config", site.config, "prompts", "publish", "sales")
    assert done.exit_code == 5
    assert "line sales: version 1 published, approved by A" in done.stdout
    assert "published, but not written into the log (sales)" in done.stderr
    assert "then run this again: it only adds that" in done.stderr
    assert code == 5
    assert document["published"][0]["version"] == 1
    assert str(log(site)) in document["problems"][0]["where"]
    assert events(site) == []
    again = prompts(site, "publish", "sales", "--by", "B")
    assert again.exit_code == 0
    (event,) = events(site)
    assert (event.payload["version"], event.payload["by"]) == (1, "A")


def test_a_disk_that_refuses(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log can be opened, and takes nothing."""
    monkeypatch.setattr(Ledger, "tell_now", lambda *_, **__: Logged(durable=False))
    done = prompts(site, "publish", "sales")
    assert done.exit_code == 5
    assert "line sales: version 1 published" in done.stdout
    assert "published, but not written into the log (sales): the log cannot be written" in done.stderr


def test_a_log_that_is_none(site: SmallSite) -> None:
    log(site).write_bytes(b"rubbish" * 1000)
    done = prompts(site, "publish", "sales")
    assert done.exit_code == 5
    assert "not a log of ivr-consent" in done.stderr
    done = prompts(site, "rollback", "sales")
    assert done.exit_code == 3, "there is nothing to roll back to"


def test_a_rollback_that_the_log_is_not_told(site: SmallSite) -> None:
    site.say("Something else is said now.")
    site.publish("support")
    log(site).write_bytes(b"rubbish" * 1000)
    done = prompts(site, "rollback", "support")
    assert done.exit_code == 5
    assert "line support: version 1 is in force again" in done.stdout
    assert "not written into the log" in done.stderr
    code, document = run_json("--config", site.config, "prompts", "rollback", "support", "--to", "2")
    assert (code, document["version"], len(document["problems"])) == (5, 2, 1)


def test_one_that_fails_behind_one_that_did_not(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published before is in the log."""
    site.say("Something else is said now.")
    site.build()
    publish = Versions.publish

    def failing(self: Versions, *words: Any) -> Any:
        if self.line == "sales":
            from ivr_consent.core.errors import VersionError

            raise VersionError("no; see")
        return publish(self, *words)

    monkeypatch.setattr(Versions, "publish", failing)
    assert prompts(site, "publish", "--by", "A").exit_code == 3
    assert [(event.line, event.payload["version"]) for event in events(site)] == [("support", 2)]
