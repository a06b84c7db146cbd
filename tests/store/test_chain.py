"""Many events at once are written as one after the other would be: the chain, and all that is made beside it."""

from __future__ import annotations

import random
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_consent.core.decision import Outcome, canonical
from ivr_consent.store import batch as batch_module
from ivr_consent.store.chain import Chain, DecisionIndex, Entry, prepared
from ivr_consent.store.personal import Personal, split
from ivr_consent.store.place import Place, open_for_writing
from tests.faults.evidence import check

KINDS = (
    "asked",
    "recording_confirmed",
    "recording_ended",
    "withdrawn",
    "recording_expired",
    "routed",
    "spot_check",
    "agent_objected",
)
TABLES = ("events", "personal", "decisions", "recordings", "asked", "counts", "nodes", "facets", "facet_events", "log")


def entry(kind: str, call: int, outcome: Outcome | None, agent: str | None) -> Entry:
    """An event of one of a few calls."""
    call_id = f"{call:032x}"
    if outcome is not None:
        payload = {"call": {"call_id": call_id, "subject_ref": f"k1:{call}"}, "number": call}
        public, personal = split(payload)
        index = DecisionIndex("en", "notice", 3, 30, None, ("training",) if outcome is Outcome.GRANTED else ())
        return Entry("decision", call_id, "support", outcome.value, canonical(public), personal, index)
    personal = Personal(canonical({"agent": agent}), None, agent) if agent is not None else None
    return Entry(kind, call_id, "support", None, canonical({"kind": kind}), personal, None)


entries = st.builds(
    entry,
    st.sampled_from(KINDS),
    st.integers(0, 5),
    st.none() | st.sampled_from([Outcome.GRANTED, Outcome.DECLINED]),
    st.none() | st.sampled_from(["agent-1", "agent-2"]),
)


def written(folder: Path, batches: Sequence[Sequence[Entry]], *, at_once: bool) -> tuple[list[int], dict[str, Any]]:
    """All tables after these events; the log's name, keys and salts are the same each time."""
    path = folder / "decisions.db"
    numbers: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        sure = random.Random(7)  # noqa: S311 - the same for both
        patch.setattr(secrets, "token_hex", lambda count: sure.randbytes(count).hex())
        patch.setattr(secrets, "token_bytes", sure.randbytes)
        patch.setattr("os.urandom", sure.randbytes)
        database = open_for_writing(Place(path), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        chain = Chain(database)
        for number, batch in enumerate(batches):
            database.begin()
            chain.load()
            time = f"2026-01-01T00:00:{number:02d}.000+00:00"
            if at_once:
                numbers += chain.append_all([prepared(one) for one in batch], time)
            else:
                numbers += [chain.append(one, time) for one in batch]
            chain.save()
            database.commit()
        database.close()
    with closing(sqlite3.connect(path)) as connection:
        return numbers, {table: sorted(connection.execute(f"SELECT * FROM {table}")) for table in TABLES}  # noqa: S608 - our own tables


@given(batches=st.lists(st.lists(entries, max_size=12), max_size=4))
@settings(max_examples=60)
def test_at_once_or_one_after_the_other(tmp_path_factory: pytest.TempPathFactory, batches: list[list[Entry]]) -> None:
    ways = [written(tmp_path_factory.mktemp("chain"), batches, at_once=at_once) for at_once in (True, False)]
    assert ways[0] == ways[1]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 255, 256, 257, 700])
@pytest.mark.parametrize("most", [1, 64])
def test_batches_of_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, most: int) -> None:
    """Across the borders of statements and of the kept nodes."""
    monkeypatch.setattr(batch_module, "MOST", most)
    batch = [
        entry("decision", number, Outcome.GRANTED if number % 2 else Outcome.DECLINED, None) for number in range(count)
    ]
    numbers, tables = written(tmp_path, [batch, batch[:3], [entry("asked", count + 1, None, None)]], at_once=True)
    assert numbers == [*range(2, count + 2), *[0] * min(3, count), count + 2]
    assert len(tables["nodes"]) == (count + 2) // 256
    check(tmp_path / "decisions.db")


@pytest.fixture
def opened(place: Place) -> Iterator[tuple[Any, Chain]]:
    database = open_for_writing(place)
    database.begin()
    chain = Chain(database)
    chain.load()
    yield database, chain
    database.rollback()
    database.close()


def test_within_one_batch(opened: tuple[Any, Chain]) -> None:
    """What follows a decision in the same batch finds it, on both databases."""
    database, chain = opened
    batch = [
        entry("asked", 1, None, None),
        entry("decision", 1, Outcome.GRANTED, None),
        entry("decision", 1, Outcome.DECLINED, None),
        entry("recording_ended", 1, None, None),
        entry("agent_objected", 1, None, "agent-1"),
        entry("decision", 2, Outcome.GRANTED, None),
        entry("withdrawn", 2, None, None),
        entry("asked", 3, None, None),
        entry("asked", 3, None, None),
    ]
    time = "2026-01-01T00:00:00.000+00:00"
    size = chain.tree.size
    numbers = chain.append_all([prepared(one) for one in batch], time)
    assert [number and number - size for number in numbers] == [1, 2, 0, 3, 4, 5, 6, 7, 8]
    due = database.execute("SELECT call_id, due FROM recordings").fetchall()
    assert due == [(f"{1:032x}", "2026-01-31T00:00:00.000+00:00")]
    assert database.execute("SELECT call_id FROM asked").fetchall() == [(f"{3:032x}",)]
    decided = database.execute("SELECT p.decision, p.agent FROM personal p WHERE p.agent IS NOT NULL").fetchall()
    assert decided == [(size + 2, "agent-1")]


def test_a_transaction_that_was_given_up_leaves_nothing(opened: tuple[Any, Chain]) -> None:
    """Neither in the database nor in memory."""
    database, chain = opened
    time = "2026-01-01T00:00:00.000+00:00"
    chain.append(entry("decision", 1, Outcome.GRANTED, None), time)
    size = chain.tree.size
    database.rollback()
    database.begin()
    chain.load()
    assert chain.append(entry("decision", 1, Outcome.DECLINED, None), time) == size
    chain.save()
    assert database.execute("SELECT outcome FROM decisions").fetchall() == [("declined",)]
    assert database.execute("SELECT count(*) FROM recordings").fetchone() == (0,)
