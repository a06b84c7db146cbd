"""Several logs read as one: every question over all of them, and who said what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError, LedgerUnreadable
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.merged import MergedReader, of_one_log, open_reader, places
from ivr_consent.store.place import Place
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.search import EVERYTHING, Wanted
from ivr_consent.testing.plans import call_context
from tests.postgresql import PostgresqlServer
from tests.store.chains import decision

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
WAIT_S = 30.0


def fill(place: Place, offset: int, count: int = 12) -> None:
    """Calls an hour apart, those of one server between those of the next."""
    now = MIDNIGHT + timedelta(minutes=offset)

    def clock() -> datetime:
        return now

    log = Ledger(place, clock=clock)
    outcomes = [Outcome.GRANTED, Outcome.DECLINED, Outcome.NO_ANSWER]
    for number in range(count):
        now += timedelta(hours=1)
        call = call_context(f"{offset:x}{number:x}".ljust(32, "0"), line="support" if number % 2 else "sales")
        log.decide_now(decision(outcomes[number % 3], call), WAIT_S)
    log.note_now(f"{offset:x}0".ljust(32, "0"), "sales", "recording_confirmed", {"handle": "0x1"}, WAIT_S)
    log.close()


@pytest.fixture
def own(postgresql: PostgresqlServer, tmp_path: Path) -> Place:
    """The first of three servers in a database of their own."""
    return Place(tmp_path / "pbx1.db", url=postgresql.url(postgresql.create_database()), server="pbx1")


@pytest.fixture
def servers(own: Place) -> list[Place]:
    found = [replace(own, server=name, path=own.path.with_name(f"{name}.db")) for name in ("pbx1", "pbx2", "pbx_3")]
    for number, place in enumerate(found):
        fill(place, 10 + number)
    return found


@pytest.fixture
def files(tmp_path: Path) -> list[Place]:
    found = [Place(tmp_path / f"{name}.db") for name in ("one", "two", "three")]
    for number, place in enumerate(found):
        fill(place, 10 + number)
    return found


@pytest.fixture(params=["servers", "files"])
def chosen(request: pytest.FixtureRequest) -> list[Place]:
    """Three logs: in one database, and in three files."""
    found: list[Place] = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def merged(chosen: list[Place]) -> Iterator[MergedReader]:
    with MergedReader(chosen) as reader:
        yield reader


def name_of(place: Place) -> str:
    return place.server or str(place.path)


def test_all_calls_by_time(merged: MergedReader, chosen: list[Place]) -> None:
    """Newest first over all logs; each call with what followed it, and whose it is."""
    records = list(merged.calls(EVERYTHING, limit=None))
    assert len(records) == 36
    times = [record.decision.time for record in records]
    assert times == sorted(times, reverse=True)
    assert Counter(record.decision.server for record in records) == {name_of(place): 12 for place in chosen}
    for place in chosen:
        with LedgerReader(place) as reader:
            alone = list(reader.calls(EVERYTHING, limit=None))
        own = [record for record in records if record.decision.server == name_of(place)]
        assert [record.call_id for record in own] == [record.call_id for record in alone]
        assert [len(record.later) for record in own] == [len(record.later) for record in alone]
        assert {event.server for record in own for event in record.later} == {name_of(place)}


@pytest.mark.parametrize("limit", [0, 1, 5, 17, None])
def test_the_newest_of_all(merged: MergedReader, limit: int | None) -> None:
    for wanted in (EVERYTHING, Wanted(outcome="granted"), Wanted(line="sales", since="2026-03-01T06:00:00")):
        every = list(merged.calls(wanted, limit=None))
        assert list(merged.calls(wanted, limit=limit)) == every[: len(every) if limit is None else limit]
        events = list(merged.events(wanted, limit=None))
        assert list(merged.events(wanted, limit=limit)) == events[: len(events) if limit is None else limit]


def test_one_call(merged: MergedReader, chosen: list[Place]) -> None:
    """By a beginning that no other call of any log has."""
    record = merged.call("b3")
    assert record is not None
    assert record.decision.server == name_of(chosen[1])
    assert record.call_id == "b3".ljust(32, "0")
    assert merged.call("b") is None
    assert merged.call("d") is None
    history = merged.history("c0")
    assert [event.kind for event in history] == ["decision", "recording_confirmed"]
    assert {event.server for event in history} == {name_of(chosen[2])}
    seal = merged.seal_of(history[0])
    assert seal is not None
    assert (seal.sequence, seal.personal) == (2, "kept")


def test_a_call_that_two_logs_know_is_ambiguous(chosen: list[Place]) -> None:
    log = Ledger(chosen[0])
    log.decide_now(decision(call=call_context("b3".ljust(32, "1"))), WAIT_S)
    log.close()
    with MergedReader(chosen) as reader:
        assert reader.call("b3") is None
        assert reader.history("b3") == ()
        assert reader.call("b31") is not None


def test_sums(merged: MergedReader, chosen: list[Place]) -> None:
    assert [(tally.label, tally.decisions) for tally in merged.tally("day")] == [("2026-03-01", 36)]
    assert {tally.label: tally.decisions for tally in merged.tally("line")} == {"sales": 18, "support": 18}
    by_server = merged.tally("server", Wanted(outcome="granted"))
    assert {tally.label: tally.outcomes for tally in by_server} == {name_of(place): {"granted": 4} for place in chosen}
    assert merged.size() == 3 * 14
    assert merged.notice_versions() == {}


def test_what_is_open_in_all(merged: MergedReader) -> None:
    granted = [record.call_id for record in merged.calls(Wanted(outcome="granted"), limit=None)]
    assert [record.call_id for record in merged.unfinished_grants()] == granted[::-1]
    assert merged.expired_recordings(MIDNIGHT + timedelta(days=1)) == []
    assert merged.undecided(MIDNIGHT + timedelta(days=9)) == []


# --- which logs -------------------------------------------------------------------------------------------------------


def test_every_log_of_the_database_is_found(servers: list[Place], own: Place, postgresql: PostgresqlServer) -> None:
    """Schemas that are no log are none; the key of another server is not taken for its own."""
    database = str(own.url).partition("@/")[2].partition("?")[0]
    postgresql.run("CREATE SCHEMA ivr_consent_notes CREATE TABLE calls (id int)", database)
    postgresql.run("CREATE SCHEMA elsewhere CREATE TABLE ivr_consent_schema (id int)", database)
    keyed = replace(own, key=own.path.with_name("own.key"))
    found = places(keyed)
    assert [place.server for place in found] == ["pbx1", "pbx2", "pbx_3"]
    assert found[0] == keyed
    assert found[1] == servers[1]
    assert places(own, "pbx2") == [servers[1]]
    with pytest.raises(ConsentError, match="there are: pbx1, pbx2, pbx_3"):
        places(own, "pbx4")


def test_one_server_or_all(servers: list[Place], own: Place) -> None:
    with open_reader(own) as reader:
        assert isinstance(reader, MergedReader)
        with pytest.raises(ConsentError, match=r"--server pbx1\|pbx2\|pbx_3"):
            of_one_log(reader)
    with open_reader(own, "pbx2") as reader:
        assert isinstance(reader, LedgerReader)
        assert of_one_log(reader).call("b3") is not None
        assert reader.call("a3") is None


def test_a_console_that_has_no_log_of_its_own(servers: list[Place], own: Place) -> None:
    with open_reader(replace(own, server="office", path=own.path.with_name("office.db"))) as reader:
        assert len(list(reader.calls(EVERYTHING, limit=None))) == 36


def test_no_log_in_the_database(own: Place) -> None:
    assert places(own) == []
    with pytest.raises(LedgerUnreadable, match="ivr-consent serve"):
        open_reader(own)


def test_a_file_is_a_file(files: list[Place]) -> None:
    with open_reader(files[0]) as reader:
        assert isinstance(reader, LedgerReader)
    with pytest.raises(ConsentError, match="leave --server away"):
        open_reader(files[0], "pbx1")


def test_a_log_that_may_not_be_read_is_not_left_out(
    servers: list[Place], own: Place, postgresql: PostgresqlServer
) -> None:
    """An answer that lacks a server without a word would be a wrong one."""
    database = str(own.url).partition("@/")[2].partition("?")[0]
    role = f"reader_{database}"
    for statement in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA ivr_consent_pbx1 TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA ivr_consent_pbx1 TO {role}",
    ):
        postgresql.run(statement, database)
    limited = replace(own, url=postgresql.url(database, role))
    with pytest.raises(LedgerUnreadable, match=r"server pbx2.*GRANT USAGE ON SCHEMA.*choose another one: --server"):
        open_reader(limited)
    with open_reader(limited, "pbx1") as reader:
        assert len(list(reader.calls(EVERYTHING, limit=None))) == 12
