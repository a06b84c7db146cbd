"""A file that each checkpoint is appended to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ivr_consent.anchors import file as module
from ivr_consent.anchors.file import FileAnchor
from ivr_consent.anchors.place import AnchorError
from tests.anchors.support import checkpoint, limit

ONE, TWO = checkpoint(1), checkpoint(2)


def anchor(path: Path) -> FileAnchor:
    return FileAnchor(path, path.parent)


def test_they_are_appended_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    before = os.umask(0o077)
    try:
        for sealed in (ONE, TWO):
            anchor(path).publish(sealed, limit())
    finally:
        os.umask(before)
    assert path.read_text() == f"\n{ONE.note}\n{TWO.note}"
    assert path.stat().st_mode & 0o777 == 0o644, "whoever compares it later must be able to read it"
    assert list(anchor(path).read(limit())) == [ONE, TWO]


def test_what_stands_there_is_kept(tmp_path: Path) -> None:
    """Also what a write left that was broken off, and rights that an administrator gave it."""
    path = tmp_path / "checkpoints"
    path.write_text(f"# kept since 2026\n{ONE.note[:50]}")
    path.chmod(0o640)
    anchor(path).publish(TWO, limit())
    assert path.read_text() == f"# kept since 2026\n{ONE.note[:50]}\n{TWO.note}"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(anchor(path).read(limit())) == [TWO]


def test_it_is_on_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    monkeypatch.setattr(module, "flush_folder", lambda path: flushed.append(str(path)))
    for sealed in (ONE, TWO):
        anchor(tmp_path / "a").publish(sealed, limit())
    assert flushed == [str(tmp_path / "a"), str(tmp_path), str(tmp_path / "a")]


def test_a_flush_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(AnchorError, match=r"cannot be written \(Input/output error\); look for a full"):
        anchor(tmp_path / "a").publish(ONE, limit())


def test_only_part_of_it_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes half; the next attempt ends that half with an empty line of its own."""
    path = tmp_path / "a"
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:80]))
    with pytest.raises(AnchorError, match="No space left"):
        anchor(path).publish(ONE, limit())
    monkeypatch.undo()
    anchor(path).publish(ONE, limit())
    assert list(anchor(path).read(limit())) == [ONE]


def test_a_full_disk_is_told() -> None:
    with pytest.raises(AnchorError, match="not a plain file"):
        anchor(Path("/dev/full")).publish(ONE, limit())


def test_nobody_at_the_other_end_of_a_pipe(tmp_path: Path) -> None:
    """It must not be waited for, neither at writing nor at reading."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(AnchorError, match="it is a pipe; name a plain file"):
        anchor(path).publish(ONE, limit())
    with pytest.raises(AnchorError, match="not a plain file"):
        list(anchor(path).read(limit()))


@pytest.mark.parametrize("where", ["gone/checkpoints", "."])
def test_a_place_that_is_none(tmp_path: Path, where: str) -> None:
    with pytest.raises(AnchorError, match=r"cannot be written|not a plain file"):
        anchor(tmp_path / where).publish(ONE, limit())
    with pytest.raises(AnchorError, match=r"cannot be read|not a plain file"):
        list(anchor(tmp_path / where).read(limit()))


def test_what_is_not_mounted_says_so(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="is it mounted"):
        anchor(tmp_path / "gone" / "checkpoints").publish(ONE, limit())
    assert not (tmp_path / "gone").exists(), "a folder below a mount point would hide what is to come"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_it_to_the_owner_of_the_log(tmp_path: Path) -> None:
    home = tmp_path / "state"
    home.mkdir()
    os.chown(home, 4321, 4321)
    FileAnchor(tmp_path / "a", home).publish(ONE, limit())
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (4321, 4321)


def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    """The service and an administrator's command append to one file."""
    path = tmp_path / "a"
    code = (
        "import sys; from pathlib import Path; from ivr_consent.anchors.file import FileAnchor;"
        "from tests.anchors.support import checkpoint, limit; p = Path(sys.argv[1]); sys.stdin.read(1);"
        "[FileAnchor(p, p.parent).publish(checkpoint(int(sys.argv[2]) + n), limit()) for n in range(50)]"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(1000 * n)], stdin=subprocess.PIPE)
        for n in range(3)
    ]
    for writer in writers:
        writer.communicate(b"g", timeout=60)
        assert writer.returncode == 0
    sizes = [sealed.size for sealed in anchor(path).read(limit())]
    assert sorted(sizes) == sorted(1000 * n + m for n in range(3) for m in range(50))
