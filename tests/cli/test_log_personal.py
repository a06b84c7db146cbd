"""ivr-consent log forget and expire: shown, asked, done, and said in the log, which verifies as before."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ivr_consent.cli.app import app
from ivr_consent.cli.log import personal
from ivr_consent.cli.terminal import Exit
from ivr_consent.config import load
from ivr_consent.core.decision import Outcome
from ivr_consent.pseudonyms import Pseudonyms, read_pseudonyms
from ivr_consent.store import erasure
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from tests.cli.support import Place, run, run_json
from tests.store.kept import RECORDED, Person, call, codes, in_files, note, verified

NUMBER = "+45 70 10 20 30"


class Site:
    """A site with a log in which calls of known persons are."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.settings = load(place.config)
        self.keys: Pseudonyms = read_pseudonyms(self.settings)
        self.store = place_of(self.settings)

    def person(self, number: str = NUMBER) -> Person:
        call_id = secrets.token_hex(16)
        period = self.keys.period()
        code = self.keys.reference_code(call_id, period)
        subject = self.keys.subject(number)
        assert subject is not None
        return Person(call_id, subject, reference=self.keys.reference_ref(code, period))

    def calls(self, *people: Person, outcome: Outcome = Outcome.DECLINED, later: tuple[str, ...] = ()) -> None:
        self.with_log(lambda ledger: [call(ledger, person, outcome, *later) for person in people])

    def with_log(self, work: Callable[[Ledger], Any], days_ago: float = 0.0) -> None:
        ledger = Ledger(self.store, clock=lambda: datetime.now(UTC) - timedelta(days=days_ago))
        try:
            work(ledger)
            ledger.seal()
        finally:
            ledger.close()

    def run(self, *words: str) -> Any:
        return run("--config", self.place.config, "log", *words)

    def json(self, *words: str) -> tuple[int, dict[str, Any]]:
        return run_json("--config", self.place.config, "log", *words)

    def events(self, kind: str) -> list[Any]:
        code, document = self.json("list", "--events", "--kind", kind)
        assert code == 0
        return list(document["events"])

    def traces(self, *people: Person) -> list[bytes]:
        return in_files(self.store.path, [trace for person in people for trace in person.traces])


@pytest.fixture
def site(place: Place) -> Site:
    return Site(place)


# --- forget -------------------------------------------------------------------------------------------------------


def test_a_caller_is_forgotten(site: Site) -> None:
    """R24: by the number, in whatever form; and nobody else is."""
    caller, again, other = site.person(), site.person("004570102030"), site.person("+4570102031")
    again = Person(again.call_id, caller.subject, reference=again.reference)
    site.calls(caller, other, again)
    shown = site.run("forget", "--caller", NUMBER, "--dry-run")
    assert shown.exit_code == 0
    for person in (caller, again):
        assert person.call_id[:12] in shown.stdout
    assert other.call_id[:12] not in shown.stdout
    assert len(site.traces(caller, again, other)) == 9, "nothing has been done"
    done = site.run("forget", "--caller", "+4570102030", "--yes")
    assert done.exit_code == 0
    assert "erased: the personal data of 2 calls, and the log says so" in done.stdout
    assert "70102030" not in done.stdout.replace(" ", "").replace(NUMBER, "")
    assert site.traces(caller, again) == []
    assert len(site.traces(other)) == 3
    report = verified(site.store)
    assert report.ok, report.findings
    assert codes(report) <= {"personal_erased", "unsealed"}
    nothing = site.run("forget", "--caller", NUMBER, "--yes")
    assert (nothing.exit_code, nothing.stdout) == (0, "nothing personal is in the log\n")


def test_a_caller_of_an_earlier_period_is_forgotten(site: Site) -> None:
    path = site.place.etc / "pseudonym.key"
    path.write_text(f"2024Q1 {'ab' * 32}\n" + path.read_text())
    keys = read_pseudonyms(site.settings)
    (before,) = [subject for subject in keys.subjects("4570102030") if subject.startswith("2024Q1-")]
    old = Person(subject=before)
    site.calls(old, site.person())
    code, document = site.json("forget", "--caller", NUMBER, "--yes")
    assert (code, len(document["calls"]), document["erased"], document["in_files"]) == (0, 2, 2, True)
    assert site.traces(old) == []


def test_nothing_is_erased_unasked(site: Site) -> None:
    person = site.person()
    site.calls(person)
    words = ["--config", str(site.place.config), "log", "forget", "--call", person.call_id]
    for answer in ("n\n", "\n", ""):
        refused = CliRunner().invoke(app, words, input=answer)
        assert refused.exit_code != 0
        assert "Erase it?" in refused.output
        assert len(site.traces(person)) == 3
    done = CliRunner().invoke(app, words, input="y\n")
    assert done.exit_code == 0, done.output
    assert site.traces(person) == []


def test_a_call_is_forgotten_by_its_reference_code(site: Site) -> None:
    person, other = site.person(), site.person("+4570102031")
    site.calls(person, other)
    code = site.keys.reference_code(person.call_id, site.keys.period())
    wrong = site.run("forget", "--reference", code[:-1] + str((int(code[-1]) + 1) % 10), "--yes")
    assert wrong.exit_code == Exit.PROBLEMS
    assert "its check digit does not fit" in wrong.stderr
    status, document = site.json("forget", "--reference", f"{code[:5]} {code[5:]}", "--yes", "--reason", "by-letter")
    assert (status, [found["call_id"] for found in document["calls"]]) == (0, [person.call_id])
    assert (site.traces(person), len(site.traces(other))) == ([], 3)
    (told,) = site.events("erased")
    assert told["payload"]["reason"] == "by-letter"
    assert code not in str(told)
    gone = site.run("forget", "--reference", code, "--yes")
    assert gone.exit_code == Exit.PROBLEMS
    assert "may have been erased" in gone.stderr


def test_a_recording_is_withdrawn_first(site: Site) -> None:
    """R13, R24: refused with the remedy; or done in one go."""
    person = site.person()
    site.calls(person, outcome=Outcome.GRANTED, later=RECORDED)
    file = site.place.state / "recordings" / f"{person.call_id}.wav"
    file.write_bytes(b"RIFF")
    refused = site.run("forget", "--call", person.call_id[:10], "--yes")
    assert refused.exit_code == Exit.PROBLEMS
    assert "ivr-consent withdraw" in refused.stderr
    assert person.call_id in refused.stderr
    assert file.exists()
    assert len(site.traces(person)) == 3
    code, document = site.json("forget", "--call", person.call_id, "--dry-run")
    assert (code, document["dry_run"], document["calls"][0]["recording"]) == (0, True, True)
    done = site.run("forget", "--call", person.call_id, "--yes", "--withdraw")
    assert done.exit_code == 0, done.output
    assert not file.exists()
    assert site.traces(person) == []
    (shown,) = site.json("list")[1]["calls"]
    assert shown["recording"] == "withdrawn"
    assert verified(site.store).ok


def test_who_did_it_stands_beside_the_chain(site: Site) -> None:
    person = site.person()
    site.calls(person)
    assert site.run("forget", "--call", person.call_id, "--yes").exit_code == 0
    (told,) = site.events("erased")
    assert told["payload"]["by"]
    with closing(sqlite3.connect(site.store.path)) as database:
        ((public,),) = database.execute("SELECT payload FROM events WHERE kind = 'erased'").fetchall()
    assert re.fullmatch(rb'\{"events":\[\[\d+,\d+\]\],"reason":"erasure-request"\}', public)


def test_a_reader_in_the_way_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    person = site.person()
    site.calls(person)
    monkeypatch.setattr(erasure.forget, "__kwdefaults__", {"files_deadline_s": 0.1})
    # The service has the log open, too: what the last one to close it would do is not done.
    holder = Ledger(site.store)
    with closing(sqlite3.connect(f"file:{site.store.path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM personal").fetchall()
        done = site.run("forget", "--call", person.call_id, "--yes")
        assert done.exit_code == 0, done.output
        assert "erased: the personal data of one call" in done.stdout
        assert personal.IN_THE_WAY in done.stdout.replace("\n", " ")
        assert site.traces(person) != []
        reader.execute("COMMIT")
    assert site.run("expire").exit_code == 0, "which clears the files, too"
    assert site.traces(person) == []
    holder.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name one of them"),
        (("--caller", "1", "--call", "ab"), "name one of them"),
        (("--caller", "anonymous", "--yes"), "is not a number"),
        (("--call", "ab", "--json"), "--yes"),
        (("--call", "ab", "--yes", "--reason", "Jens Hansen"), "name nobody"),
        (("--call", "ab", "--yes", "--reason", "a" * 41), "name nobody"),
        (("--call", "ab", "--yes", "--reason", "\x1b[2J"), "name nobody"),
        (("--call", "ab", "--yes", "--reason", ""), "name nobody"),
    ],
)
def test_a_wrong_command_line(site: Site, words: tuple[str, ...], told: str) -> None:
    site.calls(site.person())
    found = site.run("forget", *words)
    assert found.exit_code == Exit.USAGE
    assert told in re.sub(r"[\s│]+", " ", found.output)
    assert "\x1b[2J" not in found.output


def test_an_unknown_call_is_told(site: Site) -> None:
    site.calls(site.person())
    code, document = site.json("forget", "--call", "ffff", "--yes")
    assert code == Exit.PROBLEMS
    assert "ivr-consent log list" in document["error"]["message"]


def test_what_a_forger_wrote_reaches_no_terminal(site: Site) -> None:
    """I6: a log may have been written to by anybody."""
    person = site.person()
    site.calls(person)
    with closing(sqlite3.connect(site.store.path)) as forger, forger:
        forger.execute("DROP TRIGGER events_are_never_changed")
        forger.execute("UPDATE events SET line = ? WHERE call_id = ?", ("\x1b]0;owned\x07\nfake", person.call_id))
    shown = site.run("forget", "--call", person.call_id, "--dry-run")
    assert "\x1b" not in shown.stdout
    assert "\nfake" not in shown.stdout


def test_a_log_that_is_not_there(site: Site) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{site.store.path}{suffix}").unlink(missing_ok=True)
    for words in (("forget", "--call", "ab", "--yes"), ("expire",), ("expire", "--dry-run")):
        assert site.run(*words).exit_code == Exit.LOG


# --- expire -------------------------------------------------------------------------------------------------------


def test_what_is_over_goes(site: Site) -> None:
    """R14: counted first, then done; numbers stay, and the log verifies."""
    old, recorded, young = (site.person(f"+457010203{digit}") for digit in range(3))
    site.with_log(lambda ledger: call(ledger, old), days_ago=200)
    site.with_log(lambda ledger: call(ledger, recorded, Outcome.GRANTED, *RECORDED), days_ago=199)
    site.calls(young)
    code, document = site.json("expire", "--dry-run")
    assert (code, document["dry_run"], document["calls"], document["events"]) == (0, True, 1, 2)
    assert len(site.json("list")[1]["calls"]) == 3
    told = site.run("expire", "--dry-run")
    assert "would be removed: 2 event(s), among them those of one call; their hashes stay" in told.stdout
    code, document = site.json("expire")
    assert (code, document["calls"], document["events"], document["trunk"]) == (0, 1, 2, 0)
    assert document["keys_destroyed"] == []
    left = {found["call_id"] for found in site.json("list")[1]["calls"]}
    assert left == {recorded.call_id, young.call_id}
    assert site.traces(old) == []
    report = verified(site.store)
    assert report.ok, report.findings
    assert report.pruned == 2
    assert "removed: 0 event(s)" in site.run("expire").stdout


def test_the_days_are_those_of_the_configuration(site: Site) -> None:
    person = site.person()
    site.with_log(lambda ledger: call(ledger, person), days_ago=20)
    assert site.json("expire", "--dry-run")[1]["calls"] == 0
    text = site.place.config.read_text()
    line = next(line for line in text.splitlines() if line.startswith("# retention = "))
    changed = re.sub("refused_days = [0-9]+", "refused_days = 10", line.removeprefix("# "))
    site.place.edit(line, changed)
    assert site.json("expire", "--dry-run")[1]["calls"] == 1


def test_a_grant_is_kept_until_its_recording_is_gone(site: Site) -> None:
    person = site.person()
    site.with_log(lambda ledger: call(ledger, person, Outcome.GRANTED, *RECORDED), days_ago=2000)
    assert site.json("expire")[1]["calls"] == 0
    site.with_log(lambda ledger: note(ledger, person, "withdrawn"), days_ago=1100)
    code, document = site.json("expire")
    assert (code, document["calls"]) == (0, 1)
    assert verified(site.store).ok
