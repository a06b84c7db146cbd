"""Where an export goes: whole or not at all, never over what is there, never instead of a device."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from ivr_consent.core.errors import ConsentError
from ivr_consent.exports.output import check, opened


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with opened(path, force=False) as output:
        output.write(b"a\r\n")
        output.write(b"b\r\n")
        assert not path.exists()
    assert path.read_bytes() == b"a\r\nb\r\n"
    assert (output.size, output.sha256) == (6, hashlib.sha256(b"a\r\nb\r\n").hexdigest())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ConsentError("x"), OSError(errno.ENOSPC, "No space left")])
def test_nothing_is_left_of_one_that_was_broken_off(tmp_path: Path, error: BaseException | type[BaseException]) -> None:
    with pytest.raises((KeyboardInterrupt, ConsentError)):
        broken_off(tmp_path / "out.csv", error)
    assert list(tmp_path.iterdir()) == []


def broken_off(path: Path, error: BaseException | type[BaseException]) -> None:
    with opened(path, force=True) as output:
        output.write(b"a" * 1_000_000)
        raise error


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConsentError, match="make room"), opened(tmp_path / "out.csv", force=False):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_there_stays_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(ConsentError, match="--force"), opened(path, force=False):
        pytest.fail("opened")
    assert path.read_text() == "old"
    with pytest.raises(KeyboardInterrupt):
        broken_off(path, KeyboardInterrupt)
    assert path.read_text() == "old"
    with opened(path, force=True) as output:
        output.write(b"new")
    assert path.read_text() == "new"


def test_one_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    def race() -> None:
        with opened(path, force=False) as output:
            output.write(b"ours")
            path.write_text("theirs")

    with pytest.raises(ConsentError, match="meanwhile"):
        race()
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_where_there_are_no_links_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system of a memory stick."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with opened(tmp_path / "out.csv", force=False) as output:
        output.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with opened(link, force=True) as output:
        output.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with opened(path, force=True) as output:
        output.write(b"through")
    reader.join(20)
    assert read == [b"through"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_what_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConsentError, match="is a directory"):
        check(tmp_path, force=True)
    with pytest.raises(ConsentError, match="mkdir"):
        check(tmp_path / "none" / "out.csv", force=False)
