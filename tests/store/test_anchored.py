"""The diary of what was shown outside, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ivr_consent.anchors.publisher import keeper
from ivr_consent.core.errors import LedgerError
from ivr_consent.service_events import last_in_force, last_notice
from ivr_consent.store.anchored import MAX_BYTES, Anchored, reading
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place

WHEN = "2026-01-01T00:00:00.000+00:00"


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    opened = Ledger(place)
    yield opened
    opened.close()


def sealed(ledger: Ledger) -> str:
    ledger.tell_now("server_started", {})
    made = ledger.seal()
    assert made is not None
    return made


def test_what_was_shown_is_known_again(ledger: Ledger) -> None:
    first, second = sealed(ledger), sealed(ledger)
    keep = keeper(ledger)
    for size, place, proof in ((2, "file", None), (3, "file", None), (2, "timestamp", b"\0token\xff")):
        keep(Anchored(size, place, WHEN, proof))
    with reading(ledger.place) as diary:
        assert (diary.newest(), diary.note(2), diary.note(3), diary.note(9)) == (second, first, second, None)
        assert diary.last("file") == Anchored(3, "file", WHEN, None)
        assert diary.last("mail") is None
        assert list(diary.proofs("timestamp")) == [(Anchored(2, "timestamp", WHEN, b"\0token\xff"), first)]
        assert list(diary.proofs("file")) == []
        assert diary.log_id() in first


def test_the_first_time_counts(ledger: Ledger) -> None:
    sealed(ledger)
    keep = keeper(ledger)
    keep(Anchored(2, "file", WHEN, b"one"))
    keep(Anchored(2, "file", "2027" + WHEN[4:], b"two"))
    with reading(ledger.place) as diary:
        assert [row for row, _ in diary.proofs("file")] == [Anchored(2, "file", WHEN, b"one")]


def test_many_proofs_are_read_page_by_page(ledger: Ledger) -> None:
    keep = keeper(ledger)
    for size in range(120):
        keep(Anchored(size, "timestamp", WHEN, b"x"))
    keep(Anchored(500, "timestamp", WHEN, b"x" * (MAX_BYTES + 1)))
    with reading(ledger.place) as diary:
        assert [row.size for row, _ in diary.proofs("timestamp")] == list(range(120))


def test_a_log_without_checkpoints(ledger: Ledger) -> None:
    with reading(ledger.place) as diary:
        assert (diary.newest(), diary.last("file")) == (None, None)


def test_no_log(place: Place) -> None:
    with pytest.raises(LedgerError), reading(place):
        pass


def test_the_newest_of_a_kind(ledger: Ledger) -> None:
    with ledger.reader() as reader:
        assert (last_in_force(reader), last_notice(reader, "support")) == (None, None)
    for number in range(3):
        ledger.tell_now("configuration_published", {"lines": {}, "configuration_sha256": str(number)})
        ledger.tell_now("notice_published", {"version": number, "by": "A"}, "support")
    ledger.tell_now("notice_published", {"version": 9, "by": "B"}, "sales")
    with ledger.reader() as reader:
        assert last_in_force(reader) == {"lines": {}, "configuration_sha256": "2"}
        assert last_notice(reader, "support") == {"version": 2, "by": "A"}
