"""The watch over published sounds: whatever changes there is told, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.watch import FolderWatch

NAME = "prompt.ulaw"


class Told:
    """A watch over one sound's folder, and what it has told of."""

    def __init__(self, store: Path) -> None:
        self.folder = store / "en" / "0123"
        self.other = store / "en" / "4567"
        for folder in (self.folder, self.other):
            folder.mkdir(parents=True)
            (folder / NAME).write_bytes(b"\xff" * 100)
        self.changed: list[Path | None] = []
        self.watch = FolderWatch(self.changed.append)

    def read(self) -> set[Path | None]:
        """What was told since the last time."""
        self.changed.clear()
        self.watch.read()
        assert len(set(self.changed)) == len(self.changed), "each folder once"
        return set(self.changed)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    found = Told(tmp_path / "state" / "audio")
    if found.watch.descriptor < 0:
        pytest.skip("no inotify here")
    found.watch.set([found.folder])
    assert found.watch.complete
    assert found.read() == set()
    yield found
    found.watch.close()


def _write(folder: Path) -> None:
    with (folder / NAME).open("r+b") as file:
        file.seek(50)
        file.write(b"\xfe")


def _replace(folder: Path) -> None:
    aside = folder.parent.parent.parent / "aside"
    aside.write_bytes(b"\xfe" * 100)
    aside.replace(folder / NAME)


def _link_over(folder: Path) -> None:
    (folder / NAME).unlink()
    (folder / NAME).symlink_to("/dev/null")


def _truncate(folder: Path) -> None:
    os.truncate(folder / NAME, 0)


def _elsewhere(folder: Path) -> Path:
    return folder.parent.parent.parent / "elsewhere"


CHANGES: dict[str, Callable[[Path], Any]] = {
    "a byte": _write,
    "truncated": _truncate,
    "removed": lambda folder: (folder / NAME).unlink(),
    "replaced": _replace,
    "replaced by a link": _link_over,
    "moved away": lambda folder: (folder / NAME).rename(_elsewhere(folder)),
    "renamed": lambda folder: (folder / NAME).rename(folder / "other"),
    "no longer readable": lambda folder: (folder / NAME).chmod(0),
    "touched": lambda folder: os.utime(folder / NAME, (0, 0)),
    "another file": lambda folder: (folder / "more").write_bytes(b""),
    "the folder removed": shutil.rmtree,
    "the folder renamed": lambda folder: folder.rename(_elsewhere(folder)),
    "the folder no longer readable": lambda folder: folder.chmod(0),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change(told: Told, what: str) -> None:
    CHANGES[what](told.folder)
    assert told.read() == {told.folder}
    assert told.read() == set(), "told once"


ABOVE: dict[str, Callable[[Path], Any]] = {
    "the language's folder moved": lambda folder: folder.parent.rename(_elsewhere(folder)),
    "the store moved": lambda folder: folder.parent.parent.rename(_elsewhere(folder)),
    "what the store is in moved": lambda folder: folder.parent.parent.parent.rename(
        folder.parent.parent.parent.with_name("elsewhere")
    ),
    "the store removed": lambda folder: shutil.rmtree(folder.parent.parent),
}


@pytest.mark.parametrize("what", ABOVE)
def test_a_change_further_up(told: Told, what: str) -> None:
    """The files are as they were, but they are not where the switch plays them from: all is to be looked at."""
    ABOVE[what](told.folder)
    assert None in told.read()


def test_a_link_on_the_way(told: Told, tmp_path: Path) -> None:
    """A store behind a link that is made to point elsewhere, as a careful administrator does it."""
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to("state/audio")
    shutil.copytree(tmp_path / "state" / "audio", other)
    folder = link / "en" / "0123"
    told.watch.set([folder])
    assert told.read() == set()
    (tmp_path / "new").symlink_to("other")
    (tmp_path / "new").replace(link)
    assert told.read() == {None}
    told.watch.set([folder])
    _write(other / "en" / "0123")
    assert told.read() == {folder}
    (tmp_path / "state").rename(tmp_path / "nowhere")
    assert told.read() == set(), "it is not there any more"


def test_a_real_folder_above_a_link(told: Told, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("state/audio")
    told.watch.set([tmp_path / "link" / "en" / "0123"])
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    assert told.read() == {None}


def test_reading_is_no_change(told: Told) -> None:
    """Else each comparison would be the cause of the next."""
    (told.folder / NAME).read_bytes()
    list(told.folder.iterdir())
    (told.folder / NAME).stat()
    assert told.read() == set()


def test_building_is_no_change(told: Told) -> None:
    """New sounds come into the store while calls are served: lines must not go unrecorded for it."""
    for name in (".build-1", "en/89ab", "da"):
        (told.folder.parent.parent / name).mkdir()
    (told.folder.parent.parent / ".build-1").rename(told.folder.parent / "cdef")
    (told.folder.parent.parent / "drafts").write_bytes(b"")
    assert told.read() == set()


def test_other_folders(told: Told) -> None:
    _write(told.other)
    assert told.read() == set()
    told.watch.set([told.other])
    assert told.watch.complete
    assert told.read() == set()
    _write(told.folder)
    assert told.read() == set()
    _write(told.other)
    assert told.read() == {told.other}
    told.watch.set([told.folder, told.other])
    _write(told.folder)
    _write(told.other)
    assert told.read() == {told.folder, told.other}
    told.watch.set([])
    _write(told.folder)
    assert told.read() == set()
    assert told.watch.complete


def test_a_folder_that_comes_back(told: Told) -> None:
    """Watched anew with the next set: until then somebody has to look."""
    aside = _elsewhere(told.folder)
    told.folder.rename(aside)
    assert told.read() == {told.folder}
    told.watch.set([told.folder])
    assert not told.watch.complete
    shutil.copytree(aside, told.folder)
    told.watch.set([told.folder])
    assert told.watch.complete
    told.read()
    _write(aside)
    assert told.read() == set(), "the one that was moved away is not ours any more"
    _write(told.folder)
    assert told.read() == {told.folder}


def test_setting_the_same_again(told: Told) -> None:
    """Each comparison does: nothing is lost and nothing told."""
    for _ in range(3):
        told.watch.set([told.folder])
        assert told.read() == set()
    _write(told.folder)
    told.watch.set([told.folder])
    assert told.read() == {told.folder}


def test_many_changes_at_once(told: Told) -> None:
    """More than fit into one read, with long names: one telling."""
    for number in range(600):
        (told.folder / f"{number:0200}").touch()
    assert told.read() == {told.folder}


def test_more_than_the_kernel_keeps(told: Told) -> None:
    """What it had to forget stands for everything."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("this kernel keeps too many")
    paths = [str(told.folder / NAME), str(told.folder)]
    for number in range(limit + 10):
        os.chmod(paths[number % 2], 0o700)  # noqa: PTH101 - many thousand times
    assert told.read() == {None, told.folder}


def test_a_folder_that_is_not_there(told: Told) -> None:
    """The others are watched all the same."""
    told.watch.set([told.folder, told.folder.parent / "nowhere"])
    assert not told.watch.complete
    _write(told.folder)
    assert told.read() == {told.folder}


def test_a_file_in_the_folders_place(told: Told) -> None:
    shutil.rmtree(told.folder)
    told.folder.write_bytes(b"")
    told.read()
    told.watch.set([told.folder])
    assert not told.watch.complete


class _NoKernel:
    """A kernel without inotify, or with no watch to spare."""

    def __init__(self, real: Any, *, init: bool) -> None:
        self._real, self._init = real, init

    def inotify_init1(self, flags: int) -> int:
        return int(self._real.inotify_init1(flags)) if self._init else -1

    def inotify_add_watch(self, *_: Any) -> int:
        return -1

    def inotify_rm_watch(self, *_: Any) -> int:
        return -1


def test_a_kernel_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is watched, and that is said; nothing else breaks."""
    import ctypes

    real = ctypes.CDLL(None, use_errno=True)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: _NoKernel(real, init=False))
    watch = FolderWatch(lambda _: pytest.fail("nothing can be told"))
    assert not watch.complete
    watch.set([tmp_path])
    assert not watch.complete
    watch.close()


def test_no_watch_to_spare(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """fs.inotify.max_user_watches is used up."""
    real = told.watch._libc
    monkeypatch.setattr(told.watch, "_libc", _NoKernel(real, init=True))
    told.watch.set([told.folder, told.other])
    assert not told.watch.complete


def test_closing_twice(told: Told) -> None:
    told.watch.close()
    told.watch.close()
    told.watch.set([told.folder])
