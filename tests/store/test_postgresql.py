"""The log in PostgreSQL: one chain for each server, and nothing lost, doubled or used that was in doubt."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ivr_consent.core.decision import Decision, Outcome
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.core.steps import Failed, Granted, Logged
from ivr_consent.store import ledger as ledger_module
from ivr_consent.store import postgresql_link
from ivr_consent.store.ledger import Ledger, Ticket, Written
from ivr_consent.store.place import Place, open_for_reading, open_for_writing
from ivr_consent.store.postgresql import PostgresqlDatabase, numbered
from ivr_consent.store.postgresql_reading import MAX_LINKS
from ivr_consent.store.reader import LedgerReader
from ivr_consent.testing.plans import call_context
from ivr_consent.testing.rig import skip_or_fail
from tests.faults.evidence import Evidence
from tests.postgresql import PostgresqlServer, unprivileged
from tests.proxy import Fate, Proxy, Way
from tests.store.chains import check, decision, evidence_of, kinds, rows

WAIT_S = 30.0


@pytest.fixture
def ledger(postgresql_place: Place) -> Iterator[Ledger]:
    log = Ledger(postgresql_place)
    yield log
    log.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait five seconds for the next attempt."""
    monkeypatch.setattr(ledger_module, "RETRY_S", 0.05)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def backend(log: Ledger) -> int:
    """The process of the server that serves a writer."""
    database = log._database
    assert isinstance(database, PostgresqlDatabase)
    return database._link.backend[0]


# --- writing ----------------------------------------------------------------------------------------------------------


def test_a_chain_in_a_schema_of_its_own(ledger: Ledger, postgresql: PostgresqlServer, database: str) -> None:
    """I1, R23: decisions, a further event, a checkpoint; and the chain is recomputed from what is in the database."""
    made = [decision(), decision(Outcome.DECLINED)]
    assert isinstance(ledger.decide_now(made[0]), Granted)
    assert ledger.decide_now(made[1]) == Logged()
    assert ledger.note_now(made[0].call.call_id, "support", "recording_confirmed", {"handle": "0x1"}) == Logged()
    assert ledger.seal() is not None
    evidence = check(ledger.place)
    assert evidence.tree.size == 4
    assert evidence.checkpoints == 4
    schema = ledger.place.address().schema
    assert postgresql.run("SELECT count(*) FROM {}.events", database, schema) == [(4,)]
    tables = {name for (name,) in postgresql.run("SELECT tablename FROM pg_tables", database)}
    assert "events_unchained" not in tables


@pytest.mark.parametrize("setting", ["synchronous_commit", "fsync", "full_page_writes"])
def test_the_disk_is_waited_for(ledger: Ledger, postgresql: PostgresqlServer, database: str, setting: str) -> None:
    """R23: also where the database says otherwise for its sessions."""
    if setting == "synchronous_commit":
        postgresql.run(f"ALTER DATABASE {database} SET synchronous_commit = off", database)
    try:
        with closing(open_for_writing(ledger.place)) as other:
            assert other.execute(f"SHOW {setting}").fetchone() == ("on",)
    finally:
        postgresql.run(f"ALTER DATABASE {database} RESET ALL", database)


def test_two_writers_take_turns(ledger: Ledger) -> None:
    """The classic script writes the same chain as the service, each from a process of its own."""
    other = Ledger(ledger.place)
    answers: queue.SimpleQueue[Written] = queue.SimpleQueue()
    for _ in range(50):
        ledger.decide(decision(), answers.put)
        other.decide(decision(), answers.put)
    assert Counter(type(answers.get(timeout=WAIT_S)) for _ in range(100)) == {Granted: 100}
    other.close()
    assert check(ledger.place).tree.size == 101


def test_creating_it_at_once(postgresql_place: Place) -> None:
    """The first calls after an installation may come at the same moment."""
    logs: queue.SimpleQueue[Ledger] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: logs.put(Ledger(postgresql_place))) for _ in range(4)]
    for thread in threads:
        thread.start()
    opened = [logs.get(timeout=WAIT_S) for _ in threads]
    for log in opened:
        assert isinstance(log.decide_now(decision(), WAIT_S), Granted)
        log.close()
    assert check(postgresql_place).tree.size == 5


def test_texts_are_compared_byte_by_byte(ledger: Ledger, postgresql: PostgresqlServer, database: str) -> None:
    """Where Danes sort, "aa" comes after "z": the beginning of a call's id would not be found."""
    if postgresql.programs.version >= 15:
        assert postgresql.run("SELECT 'aa' > 'z'", database) == [(True,)]
    for beginning in ("aa", "aaa", "ab", "a0"):
        ledger.decide_now(decision(call=call_context(beginning.ljust(32, "0"))))
    with ledger.reader() as reader:
        for beginning in ("aa0", "aaa", "ab", "a0"):
            found = reader.call(beginning)
            assert found is not None
            assert found.call_id == beginning.ljust(32, "0")
        assert reader.call("a") is None


def test_a_text_that_no_database_takes_costs_its_own_event_alone(ledger: Ledger) -> None:
    """Calls share a commit, not their faults."""
    answers: queue.SimpleQueue[Written] = queue.SimpleQueue()
    ledger.decide(decision(), answers.put)
    ledger.note("a" * 32, "a line\0with more", "asked", {}, None)
    ledger.decide(decision(), answers.put)
    assert isinstance(answers.get(timeout=WAIT_S), Granted)
    assert isinstance(answers.get(timeout=WAIT_S), Granted)
    assert kinds(ledger.place) == ["decision", "decision"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", "SELECT 1"),
        ("a = ? AND b = ?", "a = $1 AND b = $2"),
        ("a = '?' AND b = ?", "a = '?' AND b = $1"),
        ("a = 'it''s ?' OR b LIKE '%' || ?", "a = 'it''s ?' OR b LIKE '%' || $1"),
    ],
)
def test_numbered_marks(statement: str, expected: str) -> None:
    assert numbered(statement) == expected.encode()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {}.events SET outcome = 'granted'",
        "UPDATE {}.events SET payload = payload",
        "DELETE FROM {}.events",
        "TRUNCATE {}.events",
        "UPDATE {}.checkpoints SET note = ''",
        "DELETE FROM {}.checkpoints",
        "TRUNCATE {}.checkpoints",
    ],
)
def test_rows_are_never_changed(ledger: Ledger, postgresql: PostgresqlServer, database: str, statement: str) -> None:
    """R23: append-only, also for the owner with another program; who may drop triggers is found by the verifier."""
    ledger.decide_now(decision(Outcome.DECLINED))
    ledger.seal()
    before = rows(ledger.place)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        postgresql.run(statement, database, ledger.place.address().schema)
    assert rows(ledger.place) == before


def test_a_pruned_event_may_go(ledger: Ledger, postgresql: PostgresqlServer, database: str) -> None:
    """What stands in ``pruned`` is deleted, with what it was found by; whoever deletes it."""
    ledger.decide_now(decision())
    schema = ledger.place.address().schema
    for statement in (
        "INSERT INTO {}.pruned SELECT 2, previous FROM {}.events WHERE sequence = 1",
        "DELETE FROM {}.events WHERE sequence = 2",
    ):
        postgresql.run(statement, database, schema)
    assert postgresql.run("SELECT count(*) FROM {}.facet_events WHERE sequence = 2", database, schema) == [(0,)]


def test_what_was_erased_is_not_in_the_files(ledger: Ledger, postgresql: PostgresqlServer, database: str) -> None:
    """R24: a small table of personal data is written anew."""
    schema = ledger.place.address().schema
    made = decision()
    made = replace(made, call=replace(made.call, subject_ref="k1:" + "5ec2e7" * 8))
    ledger.decide_now(made)

    def in_files() -> bool:
        postgresql.run("CHECKPOINT", database)
        ((path,),) = postgresql.run(f"SELECT pg_relation_filepath('{schema}.personal')", database)
        return b"5ec2e7" * 8 in (postgresql.data / str(path)).read_bytes()

    assert in_files()
    writing = open_for_writing(ledger.place)
    writing.begin()
    writing.execute("DELETE FROM personal WHERE sequence = ?", (2,))
    writing.commit()
    assert in_files()  # a deleted row stays where it was
    writing.forget_erased()
    writing.close()
    assert not in_files()
    assert isinstance(ledger.decide_now(decision()), Granted)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_long_answer_is_read_amid_other_questions(ledger: Ledger) -> None:
    """Its rows come as they are looked at; another question in between has a connection of its own."""
    with closing(open_for_reading(ledger.place)) as database:
        seen = 0
        for (number,) in database.execute("SELECT generate_series(1, 100000)"):
            seen += 1
            assert number == seen
            if number % 10_000 == 0:
                assert database.execute("SELECT size FROM log").fetchone() == (1,)
        assert seen == 100_000
        begun = database.execute("SELECT generate_series(1, 100000000)")
        assert begun.fetchone() == (1,)
        assert begun.fetchone() == (2,)
        del begun  # who stops looking has not to wait for the rest
        assert database.execute("SELECT 1").fetchone() == (1,)
        assert database.execute("SELECT sum(g), avg(g) FROM generate_series(1, 4) AS g").fetchone() == (10, 2.5)


def test_a_reader_holds_few_connections(ledger: Ledger) -> None:
    with closing(open_for_reading(ledger.place)) as database:
        answers = [iter(database.execute("SELECT generate_series(1, 5000)")) for _ in range(MAX_LINKS)]
        for answer in answers:
            next(answer)
        with pytest.raises(psycopg.OperationalError, match="at once"):
            database.execute("SELECT 1")


def test_a_reader_cannot_write(ledger: Ledger) -> None:
    with ledger.reader() as reader, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader._database.execute("INSERT INTO checkpoints VALUES (99, '', '')")


def test_a_reader_that_was_cut_off_says_so(ledger: Ledger, postgresql: PostgresqlServer, database: str) -> None:
    ledger.decide_now(decision())
    with ledger.reader() as reader:
        postgresql.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ivr-consent reader'",
            database,
        )
        with pytest.raises(LedgerError, match="cannot be read"):
            list(reader.calls())


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_schema_of_somebody_else(postgresql_place: Place, postgresql: PostgresqlServer, database: str) -> None:
    schema = postgresql_place.address().schema
    postgresql.run(f"CREATE SCHEMA {schema} CREATE TABLE events (id int)", database)
    for opens in (open_for_writing, open_for_reading):
        with pytest.raises(LedgerUnreadable, match=r"not a log of ivr-consent; give another log\.server"):
            opens(postgresql_place)


def test_an_empty_schema_that_was_made_for_us(
    postgresql_place: Place, postgresql: PostgresqlServer, database: str
) -> None:
    """A database's owner need not let us make schemas: it can make this one."""
    address = postgresql_place.address()
    role = f"role_{address.server}"
    postgresql.run(f"CREATE ROLE {role} LOGIN", database)
    place = replace(postgresql_place, url=postgresql.url(database, role))
    with pytest.raises(LedgerError, match=r"permission denied .*GRANT CREATE ON DATABASE"):
        open_for_writing(place)
    postgresql.run(f"CREATE SCHEMA {address.schema} AUTHORIZATION {role}", database)
    Ledger(place).close()
    assert check(place).tree.size == 1


RIGHTS = """
CREATE ROLE ROLE_owner NOLOGIN;
REASSIGN OWNED BY ROLE TO ROLE_owner;
GRANT USAGE ON SCHEMA {} TO ROLE;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO ROLE;
REVOKE UPDATE, DELETE, TRUNCATE ON {}.checkpoints FROM ROLE;
REVOKE UPDATE, TRUNCATE ON {}.events, {}.pruned FROM ROLE;
REVOKE INSERT, UPDATE, DELETE ON {}.ivr_consent_schema FROM ROLE;
"""


def test_a_role_that_can_only_add(postgresql_place: Place, postgresql: PostgresqlServer, database: str) -> None:
    """R23: with the rights of the manual, whoever breaks into the switch adds to the chain, and changes nothing."""
    address = postgresql_place.address()
    role = f"role_{address.server}"
    for statement in (f"CREATE ROLE {role} LOGIN", f"CREATE SCHEMA {{}} AUTHORIZATION {role}"):
        postgresql.run(statement, database, address.schema)
    place = replace(postgresql_place, url=postgresql.url(database, role))
    Ledger(place).close()
    manual = (Path(__file__).parents[2] / "docs/postgresql.md").read_text()
    for statement in RIGHTS.strip().splitlines():
        for_pbx1 = statement.replace("ROLE_owner", "ivr_consent_owner").replace(" ROLE;", " pbx1;")
        assert for_pbx1.replace("BY ROLE", "BY pbx1").replace("{}", "ivr_consent_pbx1") in manual
        words = statement.replace("ROLE_owner", f"{role}_owner").replace(" ROLE;", f" {role};")
        postgresql.run(words.replace("BY ROLE", f"BY {role}"), database, address.schema)
    log = Ledger(place)
    assert isinstance(log.decide_now(decision(), WAIT_S), Granted)
    assert log.decide_now(decision(Outcome.DECLINED), WAIT_S) == Logged()
    assert log.seal() is not None
    log.close()
    evidence = check(place)
    assert (evidence.tree.size, evidence.checkpoints) == (3, 3)
    with psycopg.connect(place.url or "", autocommit=True) as connection:
        for statement in (
            "ALTER TABLE {}.events DISABLE TRIGGER ALL",
            "DROP TRIGGER events_are_pruned_only ON {}.events",
            "UPDATE {}.events SET outcome = 'granted'",
            "TRUNCATE {}.events",
            "UPDATE {}.pruned SET leaf = leaf",
            "DELETE FROM {}.checkpoints",
            "UPDATE {}.ivr_consent_schema SET version = 9",
            "DROP SCHEMA {} CASCADE",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.replace("{}", address.schema).encode())
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            connection.execute(f"DELETE FROM {address.schema}.events".encode())  # noqa: S608 - a name of ours


def test_the_end_of_a_transaction_that_failed_is_no_commit(ledger: Ledger) -> None:
    """The server answers such a COMMIT with ROLLBACK, and with no error."""
    with closing(open_for_writing(ledger.place)) as database:
        database.begin()
        with pytest.raises(psycopg.errors.DivisionByZero):
            _ = database.execute("DELETE FROM personal WHERE 1 / 0 = 1").rowcount
        with pytest.raises(psycopg.Error):
            database.commit()
        database.rollback()
        database.begin()
        database.commit()


def test_a_newer_log(ledger: Ledger, postgresql: PostgresqlServer, database: str) -> None:
    schema = ledger.place.address().schema
    postgresql.run("UPDATE {}.ivr_consent_schema SET version = version + 1", database, schema)
    for opens in (open_for_writing, open_for_reading):
        with pytest.raises(LedgerUnreadable, match="newer ivr-consent"):
            opens(ledger.place)


def test_no_log_yet(postgresql_place: Place, postgresql: PostgresqlServer, database: str) -> None:
    """Looking does not make it."""
    with pytest.raises(LedgerUnreadable, match="ivr-consent serve"):
        LedgerReader(postgresql_place)
    schemas = postgresql.run("SELECT nspname FROM pg_namespace", database)
    assert (postgresql_place.address().schema,) not in schemas


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_keep_its_word(
    own_postgresql: PostgresqlServer, tmp_path: Path, soon: None, setting: str
) -> None:
    """I1: without flushes nothing is recorded; also when the server comes back so, and until it is set right."""
    place = Place(tmp_path / "pbx1.db", url=own_postgresql.url(), server="pbx1")
    log = Ledger(place)
    assert isinstance(log.decide_now(decision()), Granted)
    own_postgresql.settings[setting] = "off"
    own_postgresql.restart()
    with pytest.raises(LedgerError, match=f"{setting} = off.*; set {setting} = on in its postgresql.conf"):
        Ledger(place)
    made = decision()
    assert log.decide_now(made) == Failed("log_not_written")
    del own_postgresql.settings[setting]
    own_postgresql.restart()
    until(lambda: isinstance(log.decide_now(decision()), Granted))
    log.close()
    assert made.call.call_id not in check(place).decided


def test_a_database_that_is_not_in_utf_8(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    postgresql.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(LedgerError, match="is in LATIN1; make one for the log: CREATE DATABASE"):
        Ledger(Place(tmp_path / "pbx1.db", url=postgresql.url("latin"), server="pbx1"))


def test_nobody_listens(tmp_path: Path) -> None:
    place = Place(tmp_path / "pbx1.db", url=f"postgresql://u@/d?host={tmp_path}", server="pbx1")
    for opens in (open_for_writing, open_for_reading):
        with pytest.raises(LedgerError, match="see that the server runs") as refused:
            opens(place)
        assert "\n" not in str(refused.value)


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path / "pbx1.db", url="postgresql://u@/d", server="pbx1")
    for name in [name for name in sys.modules if name.startswith(("psycopg", "ivr_consent.store.postgresql"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for opens in (open_for_writing, open_for_reading):
        with pytest.raises(LedgerError, match=r"pip install 'ivr-consent\[postgresql\]'"):
            opens(place)


# --- passwords --------------------------------------------------------------------------------------------------------

SECRET = "correct horse battery"


@pytest.fixture
def guarded(own_postgresql: PostgresqlServer, tmp_path: Path) -> Place:
    """A database that takes a password, and the password in a file."""
    own_postgresql.run(f"CREATE ROLE pbx LOGIN SUPERUSER PASSWORD '{SECRET}'")
    rules = own_postgresql.data / "pg_hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    own_postgresql.run("SELECT pg_reload_conf()")
    password = tmp_path / "password"
    password.write_text(f"{SECRET}\n")
    password.chmod(0o600)
    return Place(tmp_path / "pbx1.db", url=own_postgresql.url(user="pbx"), server="pbx1", password_file=password)


def refused(place: Place) -> str:
    with pytest.raises(LedgerError) as error:
        Ledger(place)
    assert SECRET not in str(error.value)
    return str(error.value)


def test_the_password_comes_from_a_file(guarded: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of ours, or libpq's own; it is in no message."""
    path = guarded.password_file
    assert path is not None
    until(lambda: isinstance(_try(replace(guarded, password_file=None)), str))  # the server has read its rules
    Ledger(guarded).close()
    assert "no password supplied" in refused(replace(guarded, password_file=None))
    passes = tmp_path / "pgpass"
    passes.write_text(f"*:*:*:pbx:{SECRET}\n")
    passes.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passes))
    Ledger(replace(guarded, password_file=None)).close()
    monkeypatch.delenv("PGPASSFILE")
    path.write_text(f"not {SECRET}\n")
    assert "password authentication failed" in refused(guarded)
    path.write_text(f"{SECRET}\nand more\n")
    assert "does not hold one line" in refused(guarded)
    path.chmod(0o644)
    assert f"chmod 600 {path}" in refused(guarded)
    path.unlink()
    assert "cannot be read" in refused(guarded)


def _try(place: Place) -> str | None:
    try:
        Ledger(place).close()
    except LedgerError as error:
        return str(error)
    return None


def test_a_url_that_is_none(tmp_path: Path) -> None:
    message = refused(Place(tmp_path / "pbx1.db", url=f"postgresql://u@h/d?sslmood={SECRET}", server="pbx1"))
    assert "not a URL that PostgreSQL understands" in message


# --- two servers ------------------------------------------------------------------------------------------------------


def elsewhere(place: Place, folder: Path, *, copied: bool) -> Place:
    """The same chain as another machine would write it: the same name, and its own folder, or a copy of it."""
    folder.mkdir()
    if copied:
        for file in place.path.parent.glob(f"{place.server}.*"):
            (folder / file.name).write_bytes(file.read_bytes())
    return replace(place, path=folder / place.path.name)


@pytest.mark.parametrize("copied", [False, True], ids=["a key of its own", "a copy of the folder"])
def test_two_servers_of_one_name_at_once(ledger: Ledger, tmp_path: Path, copied: bool) -> None:
    """A server is cloned, or two are given one name: the second one is refused while the first one runs."""
    with pytest.raises(LedgerError, match=r"written from elsewhere too .*give one of them another log\.server"):
        Ledger(elsewhere(ledger.place, tmp_path / "other", copied=copied))
    assert isinstance(ledger.decide_now(decision()), Granted)


def test_two_servers_of_one_name_one_after_the_other(postgresql_place: Place, tmp_path: Path) -> None:
    """Who has not the key of a chain does not write it."""
    Ledger(postgresql_place).close()
    with pytest.raises(LedgerError, match="key"):
        Ledger(elsewhere(postgresql_place, tmp_path / "other", copied=False))
    assert check(postgresql_place).tree.size == 1


def test_a_copied_key_is_noticed_once_the_other_has_sealed(postgresql_place: Place, tmp_path: Path) -> None:
    Ledger(postgresql_place).close()
    copy = elsewhere(postgresql_place, tmp_path / "other", copied=True)
    log = Ledger(postgresql_place)
    log.decide_now(decision())
    assert log.seal() is not None
    log.close()
    with pytest.raises(LedgerError, match="is not the key that seals"):
        Ledger(copy)


# --- a server that goes away ------------------------------------------------------------------------------------------


def test_a_restart_while_nobody_writes_costs_nothing(own_postgresql: PostgresqlServer, tmp_path: Path) -> None:
    place = Place(tmp_path / "pbx1.db", url=own_postgresql.url(), server="pbx1")
    log = Ledger(place)
    assert isinstance(log.decide_now(decision()), Granted)
    own_postgresql.restart()
    assert isinstance(log.decide_now(decision()), Granted)
    log.close()
    assert check(place).tree.size == 3


def test_a_server_that_is_gone_refuses_at_once(own_postgresql: PostgresqlServer, tmp_path: Path, soon: None) -> None:
    """R6: nobody waits for a server that is not there; R7: what is owed to the log is written when it is back."""
    place = Place(tmp_path / "pbx1.db", url=own_postgresql.url(), server="pbx1")
    log = Ledger(place)
    own_postgresql.stop()
    begun = time.monotonic()
    grant, refusal = decision(), decision(Outcome.DECLINED)
    assert log.decide_now(grant) == Failed("log_not_written")
    assert log.decide_now(refusal) == Logged(durable=False)
    assert time.monotonic() - begun < 2
    own_postgresql.start()
    until(lambda: log.healthy)
    log.close()
    assert {call: outcome for call, (_, outcome) in check(place).decided.items()} == {refusal.call.call_id: "declined"}


def test_a_standby_that_does_not_answer(own_postgresql: PostgresqlServer, tmp_path: Path, soon: None) -> None:
    """A commit that waits for a standby is in doubt. PostgreSQL calls it done when it is made to stop waiting."""
    place = Place(tmp_path / "pbx1.db", url=own_postgresql.url(), server="pbx1")
    log = Ledger(place)
    assert isinstance(log.decide_now(decision()), Granted)
    own_postgresql.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    own_postgresql.run("SELECT pg_reload_conf()")
    until(lambda: own_postgresql.run("SHOW synchronous_standby_names") == [("nobody",)])
    made = decision()
    assert log.decide_now(made) == Failed("log_too_slow")
    own_postgresql.run("ALTER SYSTEM RESET synchronous_standby_names")
    own_postgresql.run("SELECT pg_reload_conf()")
    until(lambda: isinstance(log.decide_now(decision()), Granted))
    log.close()
    evidence = check(place)
    assert evidence.later.get(made.call.call_id, []) == (
        ["grant_void"] if made.call.call_id in evidence.decided else []
    )


def test_the_disk_of_the_server_is_full(own_postgresql: PostgresqlServer, tmp_path: Path, soon: None) -> None:
    """R6: a file system that is full, and has room again."""
    folder = own_postgresql.directory / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        skip_or_fail("this machine does not let us mount a small file system: no really full disk")
    user = unprivileged()
    try:
        if user is not None:
            os.chown(folder, *user)
        own_postgresql.run(f"CREATE TABLESPACE small LOCATION '{folder}'")
        own_postgresql.run("CREATE DATABASE tight TABLESPACE pg_default")
        own_postgresql.run("ALTER DATABASE tight SET default_tablespace = 'small'")
        place = Place(tmp_path / "pbx1.db", url=own_postgresql.url("tight"), server="pbx1")
        log = Ledger(place)
        assert isinstance(log.decide_now(decision()), Granted)
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        until(lambda: log.decide_now(decision()) == Failed("log_not_written"))  # room in what the tables have already
        owed = decision(Outcome.DECLINED)
        assert log.decide_now(owed) == Logged(durable=False)
        filler.unlink()
        until(lambda: isinstance(log.decide_now(decision()), Granted))
        log.close()
        assert check(place).decided[owed.call.call_id][1] == "declined"
    finally:
        own_postgresql.stop()
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def test_a_frozen_writer_elsewhere_is_waited_for_no_longer_than_said(
    ledger: Ledger, postgresql: PostgresqlServer, database: str, soon: None
) -> None:
    """R6: somebody holds the row that orders the writers."""
    with psycopg.connect(postgresql.url(database)) as other:
        other.execute(b"SELECT 1 FROM %s.log FOR UPDATE" % ledger.place.address().schema.encode())
        begun = time.monotonic()
        assert isinstance(ledger.decide_now(decision()), Failed)
        assert time.monotonic() - begun < 3
    until(lambda: isinstance(ledger.decide_now(decision()), Granted))
    check(ledger.place)


@pytest.fixture
def proxy(postgresql: PostgresqlServer) -> Iterator[Proxy]:
    with Proxy(postgresql.directory) as between:
        yield between


@pytest.fixture
def through_proxy(postgresql_place: Place, proxy: Proxy, database: str) -> Place:
    return replace(postgresql_place, url=f"postgresql://postgres@/{database}?host={proxy.directory}")


@pytest.mark.parametrize("way", Way, ids=lambda way: str(way.value))
def test_silence_is_given_up_in_time(through_proxy: Place, proxy: Proxy, soon: None, way: Way) -> None:
    """R6: a network that swallows everything. The writer gives up by itself, ends its old session, and goes on."""
    log = Ledger(through_proxy)
    assert isinstance(log.decide_now(decision()), Granted)
    old = backend(log)
    proxy.plan(way, 5, Fate.SILENCE)
    made = decision()
    begun = time.monotonic()
    assert log.decide_now(made) == Failed("log_too_slow")
    assert time.monotonic() - begun < 2.5
    proxy.speak_again()
    until(lambda: isinstance(log.decide_now(decision()), Granted))
    assert time.monotonic() - begun < postgresql_link.PATIENCE_S + 3
    assert backend(log) != old
    log.close()
    evidence = check(through_proxy)
    assert made.call.call_id not in evidence.decided or evidence.later[made.call.call_id] == ["grant_void"]


class Batched(Ledger):
    """A log whose transactions can be held before they begin, and that says whether they have come to their events."""

    def __init__(self, place: Place) -> None:
        self.holds = self.appended = False
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)
        super().__init__(place)

    def _transaction(self, batch: list[Ticket], seals: Any) -> list[Ticket]:
        if self.holds:
            self.entered.release()
            assert self.go.acquire(timeout=WAIT_S)
        self.appended = False
        return super()._transaction(batch, seals)

    def _append(self, batch: list[Ticket], time: str) -> None:
        self.appended = True
        super()._append(batch, time)

    def together(self, submit: Callable[[], None], then: Callable[[], None]) -> None:
        """Submit several events for one transaction, and do something right before it begins."""
        self.holds = True
        self.note("f" * 32, "support", "before", {}, None)
        assert self.entered.acquire(timeout=WAIT_S)
        submit()  # while the one before is held
        self.go.release()
        assert self.entered.acquire(timeout=WAIT_S)
        then()
        self.holds = False
        self.go.release()


@dataclass(slots=True)
class Expected:
    """What callers were told."""

    granted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    owed: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)

    def must_hold(self, evidence: Evidence) -> None:
        """Each granted is there and valid, no refused one is, each that is owed is there once."""
        for call in self.granted:
            assert evidence.decided[call][1] == "granted"
            assert call not in evidence.later
        for call in self.refused:
            voided = evidence.later.get(call, [])
            assert voided == (["grant_void"] if call in evidence.decided else []), call
        for call in self.owed:
            assert evidence.decided[call][1] == "declined"
        for call in self.asked:
            assert evidence.later[call] == ["asked"]


@pytest.mark.parametrize("way", Way, ids=lambda way: str(way.value))
def test_a_cut_at_each_point_of_a_transaction(
    postgresql_place: Place, through_proxy: Place, proxy: Proxy, soon: None, way: Way
) -> None:
    """I1: the connection ends before each message of a batch, in turn; also before the word on its commit.

    Whatever of the batch is in the log then: a grant that was refused is never valid, and no event is there twice.
    """
    log = Batched(through_proxy)
    expected = Expected()
    found_after_all = 0
    evidence = evidence_of(postgresql_place)
    for message in range(1, 1000):
        answers: queue.SimpleQueue[Written] = queue.SimpleQueue()
        grant, asked = decision(), call_context().call_id

        def submit(grant: Decision = grant, asked: str = asked, told: Callable[[Written], None] = answers.put) -> None:
            log.note(asked, "support", "asked", {}, lambda _: None)
            log.decide(grant, told)

        log.together(submit, lambda message=message: proxy.plan(way, message))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        written = answers.get(timeout=WAIT_S)
        expected.asked.add(asked)
        (expected.granted if isinstance(written, Granted) else expected.refused).add(grant.call.call_id)
        until(lambda: log.note_now("f" * 32, "support", "after", {}, WAIT_S) == Logged())
        evidence.go_on(whole=False)
        expected.must_hold(evidence)
        found_after_all += grant.call.call_id in expected.refused and grant.call.call_id in evidence.decided
        if isinstance(written, Granted):  # the cut came after the word on the commit
            break
    log.close()  # it may be cut off again, which is nobody's loss
    expected.must_hold(check(postgresql_place))
    assert message > 15
    assert found_after_all > 0, "no commit was in doubt"


def test_two_commits_in_doubt_one_after_the_other(
    through_proxy: Place, proxy: Proxy, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction that settles a doubt comes into doubt itself."""
    log = Batched(through_proxy)
    commit, cuts = PostgresqlDatabase.commit, [3]

    def cut(database: PostgresqlDatabase) -> None:
        commit(database)
        if log.appended and cuts[0]:
            cuts[0] -= 1
            proxy.cut_all()
            raise psycopg.OperationalError("the word on the commit is lost")

    monkeypatch.setattr(PostgresqlDatabase, "commit", cut)
    expected = Expected()
    grants = [decision() for _ in range(3)]
    for grant in grants:
        assert log.decide_now(grant, WAIT_S) == Failed("log_not_written")
        expected.refused.add(grant.call.call_id)
    assert cuts == [0]
    until(lambda: log.note_now("f" * 32, "support", "after", {}, WAIT_S) == Logged())
    log.close()
    evidence = check(through_proxy)
    assert {grant.call.call_id for grant in grants} == set(evidence.decided)
    expected.must_hold(evidence)


def test_it_is_killed_under_load(own_postgresql: PostgresqlServer, tmp_path: Path, soon: None) -> None:
    """The postmaster dies at once, and in its tidier way, while eight calls write as fast as they can."""
    place = Place(tmp_path / "pbx1.db", url=own_postgresql.url(), server="pbx1", checkpoint_events=20)
    log = Ledger(place, seals=True)
    expected, ended, lock = Expected(), threading.Event(), threading.Lock()

    def calls() -> None:
        while not ended.is_set():
            refusal, grant = decision(Outcome.DECLINED), decision()
            log.note(refusal.call.call_id, "support", "asked", {}, None)
            log.decide(refusal, lambda _: None)
            written = log.decide_now(grant)
            with lock:
                expected.owed.add(refusal.call.call_id)
                expected.asked.add(refusal.call.call_id)
                (expected.granted if isinstance(written, Granted) else expected.refused).add(grant.call.call_id)

    threads = [threading.Thread(target=calls) for _ in range(8)]
    for thread in threads:
        thread.start()
    for kill in (True, False, True, False):
        before = len(expected.granted)
        until(lambda before=before: len(expected.granted) > before + 20)  # type: ignore[misc]  # mypy cannot infer a lambda's default
        if kill:
            own_postgresql.kill()
            own_postgresql.start()
        else:
            own_postgresql.restart()
        until(lambda: isinstance(log.decide_now(decision(Outcome.DECLINED)), Logged) and log.healthy)
    ended.set()
    for thread in threads:
        thread.join(WAIT_S)
    until(lambda: log.note_now("f" * 32, "support", "after", {}, WAIT_S) == Logged())
    log.close()
    evidence = check(place)
    expected.must_hold(evidence)
    assert expected.refused, "no call was hit"
    assert evidence.checkpoints > 0
