"""Copies of the log: made while it is written, verified, put back; a lost tail is noticed and told."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ivr_consent import verifier
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.core.steps import Granted
from ivr_consent.store.backup import backup, look, restore
from ivr_consent.store.erasure import Finder, forget
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from ivr_consent.store.reader import LedgerReader
from ivr_consent.verifier import read_keys
from tests.faults.disk import CHANGE, DIE, Disk, Fault, Operation, library
from tests.faults.zygote import Zygote
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


def erased(place: Place) -> list[int]:
    with closing(sqlite3.connect(place.path)) as connection:
        return [row[0] for row in connection.execute("SELECT sequence FROM personal WHERE erased = 1 ORDER BY 1")]


def test_what_was_erased_since_does_not_come_back(place: Place, tmp_path: Path) -> None:
    """R24: the copy still has the caller; the log that it replaces says whom it has to forget."""
    first, second = write(place, 2)
    made = backup(place, tmp_path / "copy.db")
    log = Ledger(place)
    with Finder(place) as finder:
        log.note_now(first, "support", "recording_missing", {"reason": "recorder_never_started"})
        forget(log, finder.of_call(first), reason="erasure-request", by=None)
    log.close()
    gone = erased(place)
    assert gone
    done = restore(place, made.file, accept_loss=True)
    assert done.erased == len(gone)
    assert erased(place) == gone
    assert verified(place).ok
    with LedgerReader(place) as reader:
        record = reader.call(first)
        other = reader.call(second)
    assert record is not None
    assert record.decision.erased
    assert other is not None
    assert not other.decision.erased


def test_nobody_may_be_writing(place: Place, tmp_path: Path) -> None:
    """Also a call of the classic script, which no socket tells of."""
    write(place, 2)
    made = backup(place, tmp_path / "copy.db")
    log = Ledger(place)
    before = place.path.stat().st_ino
    with pytest.raises(LedgerError, match="somebody writes"):
        restore(place, made.file, accept_loss=True)
    assert place.path.stat().st_ino == before
    assert isinstance(log.decide_now(decision(), WAIT_S), Granted)
    log.close()
    restore(place, made.file, accept_loss=True)


def test_a_copy_ends_with_a_checkpoint(place: Place, tmp_path: Path) -> None:
    """What is in it is proven by the time it is carried away."""
    write(place, 3, seal=False)
    made = backup(place, tmp_path / "copy.db")
    assert made.sealed == made.events == 4


def test_a_machine_that_is_gone(place: Place, tmp_path: Path) -> None:
    """Nothing is left but the copy: neither key nor mark, so nobody can tell what is lost, and that has to be said."""
    made = write(place, 3)
    copy = backup(place, tmp_path / "copy.db")
    first_key = place.path.with_suffix(".pub").read_text()
    new = Place(tmp_path / "new" / "decisions.db")
    new.path.parent.mkdir()
    with pytest.raises(LedgerError, match="nobody can tell: the key is gone"):
        restore(new, copy.file, accept_loss=False)
    assert list(new.path.parent.iterdir()) == []
    restore(new, copy.file, accept_loss=True)
    assert calls(new) == made
    assert new.path.with_suffix(".pub").read_text().startswith(first_key)
    write(new, 1)
    assert verified(new).ok
    check_kept(new)


def check_kept(place: Place) -> None:
    """Nothing but the log and what belongs to it lies there."""
    names = {path.name for path in place.path.parent.iterdir()}
    assert not {name for name in names if name.startswith(".")}
    assert {"decisions.db", "decisions.key", "decisions.pub"} <= names


def test_a_checkpoint_elsewhere_shows_more(place: Place, tmp_path: Path) -> None:
    """The machine is gone, and a checkpoint that was published since the copy says how much is lost."""
    write(place, 3)
    copy = backup(place, tmp_path / "copy.db")
    write(place, 4)
    outside = verifier.outside_in(note_of(place.path).encode(), "kept elsewhere")
    new = Place(tmp_path / "new" / "decisions.db")
    new.path.parent.mkdir()
    assert look(new, copy.file, outside).lost == 4
    with pytest.raises(LedgerError, match="at least 4 events"):
        restore(new, copy.file, accept_loss=False, outside=outside)


def test_a_copy_of_a_log_without_a_chain(tmp_path: Path) -> None:
    """Before an update: it is copied as it is, and not changed by that."""
    place = Place(tmp_path / "decisions.db")
    with closing(sqlite3.connect(place.path)) as connection:
        connection.executescript(V1.read_text())
    before = place.path.read_bytes()
    made = backup(place, tmp_path / "copy.db")
    assert made.events > 10
    assert place.path.read_bytes() == before
    assert not place.path.with_suffix(".key").exists()


def test_a_disk_that_is_full(place: Place, tmp_path: Path, zygote: Zygote) -> None:
    """No half copy stands anywhere."""
    write(place, 3)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    disk = Disk(tmp_path / "control")
    disk.fail(Fault(Operation.WRITE, "", errno.ENOSPC, after=4))
    child = zygote.fork("backup", path=str(place.path), control=str(disk.control), target=str(folder / "copy.db"))
    assert "full disk" in child.answer()
    child.close()
    disk.close()
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(library(tmp_path_factory.mktemp("library"))) as server:
        yield server


def test_killed_in_the_middle_of_a_restore(tmp_path: Path, zygote: Zygote) -> None:
    """At every change of a file and every flush: the log is as it was, or is refused until it is restored again; what
    was there is kept; the second run finishes."""
    place = Place(tmp_path / "live" / "decisions.db")
    place.path.parent.mkdir()
    made = write(place, 3)
    copy = backup(place, tmp_path / "copy.db")
    lost = write(place, 2)
    shutil.copytree(place.path.parent, tmp_path / "before")
    step, left = 0, True
    while left:
        shutil.rmtree(place.path.parent)
        shutil.copytree(tmp_path / "before", place.path.parent)
        disk = Disk(tmp_path / "control")
        disk.fail(Fault(CHANGE, "", DIE, after=step))
        child = zygote.fork("restore", path=str(place.path), control=str(disk.control), copy=str(copy.file))
        with contextlib.suppress(EOFError):
            left = child.answer() != "done"
        child.close()
        disk.close()
        if left:
            try:
                Ledger(place).close()
            except LedgerError as error:
                assert "log restore" in str(error)  # noqa: PT017 - what stands there may be whole, too
            else:
                assert set(made) <= set(calls(place))
            restore(place, copy.file, accept_loss=True)
        kept = [Place(path, path) for path in place.path.parent.glob("decisions.db.replaced-*[0-9]")]
        assert any(calls(one) == made + lost for one in kept)
        assert calls(place) == made
        assert verified(place).ok
        step += 1 if step < 10 else 7
    assert step > 30


V1 = Path(__file__).parents[1] / "data" / "log-schema-1.sql"
