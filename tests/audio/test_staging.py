"""How sounds enter the store: whole, in one step, beside whatever else is being built there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ivr_consent.audio.staging import staging
from ivr_consent.audio.store import find, verify
from ivr_consent.core.errors import AudioError
from tests.audio.test_store import fabricated, recipe, touched


def names(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def test_what_is_made_can_be_entered_and_read_under_a_strict_umask(tmp_path: Path) -> None:
    store = tmp_path / "a" / "store"
    old = os.umask(0o077)
    try:
        audio = fabricated(recipe(), store)
    finally:
        os.umask(old)
    for folder in (store.parent, store, store / "en", audio.folder(store)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in audio.folder(store).iterdir()} == {0o444}
    assert names(store) == {"en", ".lock"}


def test_what_is_there_and_intact_stays(tmp_path: Path) -> None:
    first = fabricated(recipe(), tmp_path)
    inode = first.folder(tmp_path).stat().st_ino
    again = fabricated(recipe(), tmp_path, samples=480)
    assert again == first
    assert first.folder(tmp_path).stat().st_ino == inode
    assert names(tmp_path) == {"en", ".lock"}


def test_what_is_there_and_damaged_is_put_aside_and_replaced(tmp_path: Path) -> None:
    """A call may be playing from it, so it is not removed."""
    first = fabricated(recipe(), tmp_path)
    path = first.folder(tmp_path) / "prompt.ulaw"
    with path.open("rb") as playing:
        touched(path, b"x" * 320)
        again = fabricated(recipe(), tmp_path)
        assert playing.read() == b"x" * 320
    assert verify(again, tmp_path) == []
    assert find(recipe(), tmp_path) == again
    (aside,) = tmp_path.glob(".damaged-*")
    assert (aside / first.key / "prompt.ulaw").read_bytes() == b"x" * 320


@pytest.mark.parametrize("kind", ["file", "link", "empty", "half"])
def test_anything_else_in_the_place_is_put_aside(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "en" / recipe().key()
    place.parent.mkdir()
    if kind == "file":
        place.write_text("mine")
    elif kind == "link":
        (tmp_path / "other").mkdir()
        place.symlink_to(tmp_path / "other")
    else:
        place.mkdir()
        if kind == "half":
            (place / "prompt.ulaw").write_bytes(b"half")
    audio = fabricated(recipe(), tmp_path)
    assert find(recipe(), tmp_path) == audio
    assert verify(audio, tmp_path) == []
    assert not place.is_symlink()
    if kind == "link":
        assert list((tmp_path / "other").iterdir()) == []


def failing(store: Path) -> None:
    with staging(store) as work:
        (work / "half").write_text("x")
        raise RuntimeError("stop")


def test_nothing_stays_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        failing(tmp_path)
    assert names(tmp_path) == {".lock"}


def test_what_a_killed_build_left_is_removed_by_the_next_and_what_one_at_work_uses_is_not(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ivr_consent.audio.staging import staging\n"
        "with staging(Path(sys.argv[1])) as work:\n"
        "    (work / 'half').write_text('x'); print(work, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]

    def started() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    killed, left = started()
    at_work, used = started()
    with killed, at_work:
        killed.send_signal(signal.SIGKILL)
        killed.wait(60)
        (tmp_path / ".build-nothing").mkdir()  # killed before it had a lock
        (tmp_path / ".build-file").write_text("not a folder of ours")
        assert left.is_dir()
        with staging(tmp_path) as work:
            assert not left.exists()
            assert not (tmp_path / ".build-nothing").exists()
            assert used.is_dir()
            assert (used / "half").read_text() == "x"
            assert work.is_dir()
        at_work.communicate("", timeout=60)
        assert at_work.returncode == 0
    assert not used.exists()


def test_a_store_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError, match="Choose a folder you may write to"), staging(tmp_path / "file" / "store"):
        pass
    with pytest.raises(AudioError, match="Choose a folder you may write to"), staging(tmp_path / "file"):
        pass
