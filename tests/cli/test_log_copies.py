"""ivr-consent log backup and restore: copies are verified, a loss is told before anything is changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from ivr_consent import verifier
from ivr_consent.cli.terminal import Exit
from ivr_consent.config import load
from ivr_consent.control import Control, socket_path
from ivr_consent.core.decision import Outcome
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from tests.cli.support import Place, run, run_json
from tests.store.test_ledger import decision

WAIT_S = 20.0


def write(place: Place, count: int, *, seal: bool = True) -> None:
    """So many calls, and a checkpoint over them."""
    ledger = Ledger(place_of(load(place.config)))
    try:
        for _ in range(count):
            ledger.decide_now(decision(Outcome.DECLINED), WAIT_S)
        if seal:
            ledger.seal()
    finally:
        ledger.close()


def copied(place: Place, name: str = "copy.db") -> Path:
    file = place.root / name
    done = run("--config", place.config, "log", "backup", file)
    assert done.exit_code == Exit.GOOD, done.output
    return file


def test_a_backup(place: Place) -> None:
    write(place, 3)
    code, said = run_json("--config", place.config, "log", "backup", place.root / "copy.db")
    file = place.root / "copy.db"
    assert code == Exit.GOOD
    assert (said["ok"], said["file"], said["events"], said["sealed"]) == (True, str(file), 4, 4)
    assert said["bytes"] == file.stat().st_size
    assert said["log"].startswith("ivr-consent/")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    verified = run("log", "verify", file, "--key", place.log.with_suffix(".pub"))
    assert verified.exit_code == Exit.GOOD, verified.output


def test_a_backup_says_what_it_is(place: Place) -> None:
    write(place, 3)
    done = run("--config", place.config, "log", "backup", place.root / "copy.db")
    assert "4 events" in done.stdout
    assert "verified" in done.stdout
    assert "sealing key is not to be copied" in done.stdout


def test_nothing_is_replaced(place: Place) -> None:
    write(place, 1)
    copied(place)
    again = run("--config", place.config, "log", "backup", place.root / "copy.db")
    assert again.exit_code == Exit.LOG
    assert "name another file" in again.stderr


def test_no_log_and_no_folder(place: Place) -> None:
    for path in place.state.glob("decisions.*"):
        path.unlink()
    none = run("--config", place.config, "log", "backup", place.root / "copy.db")
    assert none.exit_code == Exit.LOG
    assert "there is no log" in none.stderr
    assert not place.log.exists()
    write(place, 1)
    nowhere = run("--config", place.config, "log", "backup", place.root / "nowhere" / "copy.db")
    assert nowhere.exit_code == Exit.LOG
    assert "name another place" in nowhere.stderr


def test_a_damaged_log_is_not_copied(place: Place) -> None:
    write(place, 3)
    with closing(sqlite3.connect(place.log)) as connection, connection:
        connection.execute("DROP TRIGGER events_are_never_changed")
        connection.execute("UPDATE events SET outcome = 'granted' WHERE sequence = 2")
    done = run("--config", place.config, "log", "backup", place.root / "copy.db")
    assert done.exit_code == Exit.LOG
    assert "event 2 was changed" in done.stderr
    assert [path.name for path in place.root.iterdir() if "copy" in path.name] == []


def test_a_restore_that_loses_nothing(place: Place) -> None:
    """The log is damaged, and nothing was written since the copy."""
    write(place, 3)
    file = copied(place)
    place.log.write_bytes(place.log.read_bytes()[:5000])
    code, said = run_json("--config", place.config, "log", "restore", file)
    assert code == Exit.GOOD
    assert (said["ok"], said["events"], said["lost"], said["key"], said["erased_again"]) == (True, 4, 0, None, 0)
    assert Path(said["kept"]).stat().st_size == 5000
    write(place, 1)
    assert run("--config", place.config, "log", "verify").exit_code == Exit.GOOD


def test_a_loss_is_told_and_accepted(place: Place) -> None:
    write(place, 3)
    file = copied(place)
    write(place, 2)
    before = place.files()
    code, said = run_json("--config", place.config, "log", "restore", file)
    assert code == Exit.LOG
    assert "ends at event 4: at least 2 events" in said["error"]["message"]
    assert "--accept-loss" in said["error"]["message"]
    after = place.files()
    for ending in ("-wal", "-shm"):  # SQLite makes these for whoever reads
        assert not before.get(f"state/decisions.db{ending}")
        after.pop(f"state/decisions.db{ending}", None)
    assert after == before, "something was changed"
    code, said = run_json("--config", place.config, "log", "restore", file, "--accept-loss")
    assert code == Exit.GOOD
    assert (said["events"], said["lost"]) == (4, 2)
    lines = place.log.with_suffix(".pub").read_text().splitlines()
    assert [line for line in lines if line == said["key"]] == lines[1:]
    assert run("--config", place.config, "log", "verify").exit_code == Exit.GOOD
    with closing(sqlite3.connect(place.log)) as connection:
        told = dict(connection.execute("SELECT kind, payload FROM events WHERE kind IN ('restored', 'key_replaced')"))
    assert json.loads(told["restored"]) == {"events": 4, "lost": 2}
    assert json.loads(told["key_replaced"])["key"] == said["key"]


def test_an_old_copy_by_hand_is_noticed_by_every_command_that_writes(place: Place) -> None:
    write(place, 3)
    file = copied(place)
    write(place, 2, seal=False)
    for ending in ("-wal", "-shm"):
        Path(f"{place.log}{ending}").unlink(missing_ok=True)
    shutil.copy(file, place.log)
    for words in (["log", "checkpoint", "--seal"], ["log", "expire"], ["sweep"]):
        done = run("--config", place.config, *words)
        assert done.exit_code == Exit.LOG, words
        assert "at least 2 events are lost" in done.stderr
        assert "log restore" in done.stderr
    done = run("--config", place.config, "log", "restore", "--accept-loss")
    assert done.exit_code == Exit.GOOD, done.output
    assert "at least 2 events are lost" in done.stdout
    assert place.log.with_suffix(".pub").read_text().splitlines()[-1] in done.stdout
    assert run("--config", place.config, "sweep").exit_code == Exit.GOOD
    assert run("--config", place.config, "log", "verify").exit_code == Exit.GOOD


def test_without_a_copy_the_loss_has_to_be_accepted(place: Place) -> None:
    write(place, 1)
    done = run("--config", place.config, "log", "restore")
    assert done.exit_code == Exit.USAGE
    assert "--accept-loss" in done.stderr


async def test_not_while_the_service_runs(place: Place) -> None:
    """Said before anything is read: its socket answers."""
    import asyncio

    write(place, 1)
    file = copied(place)

    async def answer(_: str) -> dict[str, bool]:
        return {"ok": True}

    control = Control(socket_path(load(place.config)), answer)
    await control.start()
    try:
        done = await asyncio.to_thread(run, "--config", place.config, "log", "restore", file, "--accept-loss")
    finally:
        await control.stop()
    assert done.exit_code == Exit.PROBLEMS
    assert "stop it first" in done.stderr


def test_what_is_no_copy(place: Place) -> None:
    write(place, 2)
    wrong = place.root / "wrong"
    wrong.write_bytes(b"a letter" * 1000)
    done = run("--config", place.config, "log", "restore", wrong, "--accept-loss")
    assert done.exit_code == Exit.LOG
    assert "no copy of a log" in done.stderr
    missing = run("--config", place.config, "log", "restore", place.root / "missing")
    assert missing.exit_code == Exit.LOG


@pytest.mark.parametrize("keep", [True, False], ids=["anchor", "no anchor"])
def test_an_anchor_tells_how_much_is_lost(place: Place, tmp_path: Path, keep: bool) -> None:
    """The machine is gone, key and mark with it; a file of checkpoints elsewhere is not."""
    anchor = tmp_path / "checkpoints"
    text = place.config.read_text()
    place.config.write_text(f'{text}\n[log.anchors]\nfile = "{anchor}"\n')
    write(place, 3)
    file = copied(place)
    write(place, 5)
    with closing(sqlite3.connect(place.log)) as connection:
        (note,) = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    if keep:
        anchor.write_text(note)
    for path in place.state.glob("decisions.*"):
        path.unlink()
    done = run("--config", place.config, "log", "restore", file)
    assert done.exit_code == Exit.LOG
    assert ("at least 5 events" if keep else "nobody can tell: the key is gone") in done.stderr
    done = run("--config", place.config, "log", "restore", file, "--accept-loss")
    assert done.exit_code == Exit.GOOD, done.output
    keys = verifier.read_keys(str(place.log.with_suffix(".pub")))
    assert len(keys) == 2
    assert verifier.verify(place.log, keys).ok
