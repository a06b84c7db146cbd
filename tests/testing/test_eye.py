from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ivr_consent.testing.eye import DirectoryWatch


def test_a_file_that_lives_for_a_millisecond_is_seen(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        path = tmp_path / "call.wav"
        path.touch()
        time.sleep(0.001)
        path.unlink()
        assert watch.created == ["call.wav"]


def test_a_file_that_lives_no_time_at_all_is_seen(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        for n in range(1000):
            path = tmp_path / f"{n}"
            path.touch()
            path.unlink()
        assert watch.created == [f"{n}" for n in range(1000)]


def test_another_process_is_seen(tmp_path: Path) -> None:
    code = "import os, sys; p = sys.argv[1]; open(p, 'w').close(); os.remove(p)"
    with DirectoryWatch(tmp_path) as watch:
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=True)
        assert watch.created == ["x"]


def test_nothing_created_is_an_empty_list(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("there before")
    (tmp_path / "folder").mkdir()
    with DirectoryWatch(tmp_path) as watch:
        old.read_text()
        old.write_text("changed")
        old.unlink()
        assert watch.created == []
    assert watch.created == []


def test_renaming_into_the_directory_counts(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "a").touch()
    with DirectoryWatch(inside) as watch:
        (tmp_path / "a").rename(inside / "b")
        os.link(inside / "b", inside / "c")
        (inside / "d").symlink_to("nowhere")
    assert watch.created == ["b", "c", "d"]


def test_subdirectories_old_and_new(tmp_path: Path) -> None:
    (tmp_path / "old" / "deep").mkdir(parents=True)
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "old" / "deep" / "1").touch()
        (tmp_path / "new" / "er").mkdir(parents=True)
        (tmp_path / "new" / "er" / "2").touch()
        assert set(watch.created) == {"old/deep/1", "new/", "new/er/", "new/er/2"}
        (tmp_path / "new" / "er" / "3").touch()
        (tmp_path / "new" / "er" / "3").unlink()
        assert watch.created[-1] == "new/er/3"


def test_a_directory_gone_at_once_is_seen(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "d").mkdir()
        (tmp_path / "d").rmdir()
        assert watch.created == ["d/"]


async def test_waiting_for_a_file(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        timer = threading.Timer(0.05, (tmp_path / "17.wav").touch)
        timer.start()
        assert await watch.seen("*.wav", timeout=30) == "17.wav"
        timer.join()


async def test_waiting_in_vain_tells_what_was_seen(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "other").touch()
        with pytest.raises(TimeoutError, match="other"):
            await watch.seen("x", timeout=0.02)


async def test_many_watches_leave_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208  (a count)
    for _ in range(50):
        with DirectoryWatch(tmp_path):
            pass
    await asyncio.sleep(0)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before  # noqa: PTH208  (a count)


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), DirectoryWatch(tmp_path / "missing"):
        pass


def test_an_overflow_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DirectoryWatch(tmp_path) as watch:
        monkeypatch.setattr(watch, "_overflow", True)
        with pytest.raises(OverflowError):
            _ = watch.created
