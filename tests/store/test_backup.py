"""Copies of the log: made while it is written, verified, put back; a lost tail is noticed and told."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ivr_consent import verifier
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.core.steps import Granted
from ivr_consent.store.backup import backup, restore
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from ivr_consent.store.reader import LedgerReader
from ivr_consent.verifier import read_keys
from tests.store.test_ledger import decision

WAIT_S = 20.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "site").mkdir()
    return Place(tmp_path / "site" / "decisions.db")


def write(place: Place, count: int, *, seal: bool = True) -> list[str]:
    log = Ledger(place)
    made = [decision() for _ in range(count)]
    assert all(isinstance(log.decide_now(one, WAIT_S), Granted) for one in made)
    if seal:
        log.seal()
    log.close()
    return [one.call.call_id for one in made]


def verified(place: Place, file: Path | None = None) -> verifier.Report:
    return verifier.verify(file or place.path, read_keys(str(place.path.with_suffix(".pub"))))


def calls(place: Place) -> list[str]:
    with LedgerReader(place) as reader:
        return [record.call_id for record in reader.calls(limit=None)][::-1]


def test_a_copy_verifies_and_holds_no_key(place: Place, tmp_path: Path) -> None:
    write(place, 20)
    made = backup(place, tmp_path / "copy.db")
    assert (made.events, made.sealed) == (21, 21)
    assert verified(place, made.file).ok
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    secret = place.path.with_suffix(".key").read_bytes()
    assert secret not in made.file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "site"], "one file, nothing beside it"


def test_while_it_is_written(place: Place, tmp_path: Path) -> None:
    """What was acknowledged before the copy began is in it; the writer is not held up."""
    before = write(place, 5)
    log, stop = Ledger(place), threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            assert isinstance(log.decide_now(decision(), WAIT_S), Granted)

    writing = threading.Thread(target=go_on)
    writing.start()
    try:
        made = [backup(place, tmp_path / f"copy{number}.db") for number in range(5)]
    finally:
        stop.set()
        writing.join(WAIT_S)
        log.close()
    for one in made:
        assert verified(place, one.file).ok
        assert set(before) <= set(calls(Place(one.file, place.path.with_suffix(".key"))))
    assert verified(place).ok


def test_nothing_is_overwritten(place: Place, tmp_path: Path) -> None:
    write(place, 1)
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(LedgerError, match="name another file"):
        backup(place, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_a_log_that_is_not_intact_makes_no_copy(place: Place, tmp_path: Path) -> None:
    write(place, 5)
    with closing(sqlite3.connect(place.path)) as connection, connection:
        connection.execute("DROP TRIGGER events_are_never_changed")
        connection.execute("UPDATE events SET line = 'other' WHERE sequence = 3")
    with pytest.raises(LedgerError, match="event 3 was changed"):
        backup(place, tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]


def test_the_newest_copy_is_put_back_whole(place: Place, tmp_path: Path) -> None:
    """Nothing was written after it: the key goes on, and nobody has to accept anything."""
    made = write(place, 5)
    backup(place, tmp_path / "copy.db")
    place.path.unlink()
    with pytest.raises(LedgerError, match="gone or empty"):
        Ledger(place)
    assert restore(place, tmp_path / "copy.db", accept_loss=False).kept is None
    more = write(place, 2)
    assert calls(place) == made + more
    assert verified(place).ok
    assert len(read_keys(str(place.path.with_suffix(".pub")))) == 1


@pytest.mark.parametrize("sealed", [True, False])
def test_a_lost_tail_is_noticed_and_has_to_be_accepted(place: Place, tmp_path: Path, sealed: bool) -> None:
    """Neither the service nor a restore takes an older copy for the log."""
    made = write(place, 5)
    backup(place, tmp_path / "copy.db")
    lost = write(place, 3, seal=sealed)
    for ending in ("-wal", "-shm"):
        Path(f"{place.path}{ending}").unlink(missing_ok=True)
    newest = place.path.rename(tmp_path / "newest.db")
    shutil.copy(tmp_path / "copy.db", place.path)
    with pytest.raises(LedgerError, match="accept-loss"):
        Ledger(place)
    with pytest.raises(LedgerError, match="at least 3 events"):
        restore(place, tmp_path / "copy.db", accept_loss=False)
    first_key = read_keys(str(place.path.with_suffix(".pub")))
    done = restore(place, tmp_path / "copy.db", accept_loss=True)
    assert done.kept is not None
    assert done.key in place.path.with_suffix(".pub").read_text().splitlines()
    more = write(place, 2)
    assert calls(place) == made + more
    assert not set(lost) & set(calls(place))
    kinds = [event.kind for event in LedgerReader(place).events(limit=None)]
    assert kinds.index("key_replaced") + 1 == kinds.index("restored")  # newest first
    keys = read_keys(str(place.path.with_suffix(".pub")))
    assert len(keys) == 2
    assert verifier.verify(place.path, keys).ok
    assert verifier.verify(place.path, first_key).status == verifier.INCOMPLETE, (
        "the first key alone vouches no further"
    )
    if sealed:
        # Who has seen the newest checkpoint sees that the log has lost its end, whatever the log says of itself.
        outside = verifier.outside_in(note_of(newest).encode(), "kept elsewhere")
        assert verifier.verify(place.path, keys, outside).status == 1


def note_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()[0])


@pytest.mark.parametrize("named", [True, False])
def test_the_log_itself_can_be_accepted(place: Place, named: bool) -> None:
    """Its key is gone: what is there goes on under a new one."""
    made = write(place, 3)
    place.path.with_suffix(".key").unlink()
    with pytest.raises(LedgerError, match="accept-loss"):
        Ledger(place)
    assert restore(place, place.path if named else None, accept_loss=True).kept is None
    assert calls(place) == made
    write(place, 1)
    assert verified(place).ok


def test_what_is_no_copy(place: Place, tmp_path: Path) -> None:
    write(place, 3)
    other = Place(tmp_path / "other.db")
    write(other, 2)
    with pytest.raises(LedgerError, match="another log"):
        restore(place, other.path, accept_loss=True)
    for number, content in enumerate((b"", b"a letter" * 1000, b"SQLite format 3\x00" + bytes(5000))):
        wrong = tmp_path / f"wrong{number}"
        wrong.write_bytes(content)
        with pytest.raises(LedgerUnreadable):
            restore(place, wrong, accept_loss=True)
    backup(place, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection, connection:
        connection.execute("DROP TRIGGER events_are_never_changed")
        connection.execute("UPDATE events SET line = 'other' WHERE sequence = 2")
    with pytest.raises(LedgerError, match="event 2 was changed"):
        restore(place, tmp_path / "copy.db", accept_loss=True)
    assert len(calls(place)) == 3
    assert verified(place).ok
