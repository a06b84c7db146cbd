"""The file of a recording that should not be: moved or destroyed, and nothing else ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ivr_consent.store.quarantine import Fate, Quarantine


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool" / "monitor").mkdir(parents=True)
    (tmp_path / "recordings").mkdir()
    return tmp_path / "spool"


def made(spool: Path, *, destroy: bool = False) -> Quarantine:
    root = spool.parent
    return Quarantine(None if destroy else root / "quarantine", (spool,), root / "recordings")


def test_a_recording_is_moved_where_nobody_else_reads(spool: Path) -> None:
    path = spool / "monitor" / "caller;rm -rf.wav"
    path.write_bytes(b"12345")
    kept = made(spool).take(str(path))
    assert (kept.fate, kept.size) == (Fate.QUARANTINED, 5)
    assert kept.name is not None
    moved = spool.parent / "quarantine" / kept.name
    assert moved.read_bytes() == b"12345"
    assert not path.exists()
    assert moved.stat().st_mode & 0o777 == 0o600
    assert moved.parent.stat().st_mode & 0o777 == 0o700
    assert "caller" not in kept.name


def test_or_destroyed_or_left(spool: Path) -> None:
    path = spool / "a.gsm"
    path.write_bytes(b"123")
    assert made(spool).take(str(path), leave=True).fate is Fate.LEFT
    assert path.exists()
    assert made(spool, destroy=True).take(str(path)).fate is Fate.DESTROYED
    assert not path.exists()
    assert made(spool).take(str(path)).fate is Fate.NOT_FOUND


@pytest.mark.parametrize(
    "name", ["../outside.wav", "link.wav", "linked/inside.wav", "folder.wav", "fifo.wav", "plain.conf", "monitor"]
)
def test_nothing_else_is_touched(spool: Path, name: str) -> None:
    """Names may have been made of what a caller sent."""
    root = spool.parent
    outside = root / "outside.wav"
    outside.write_bytes(b"precious")
    (spool / "link.wav").symlink_to(outside)
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "inside.wav").write_bytes(b"precious")
    (spool / "linked").symlink_to(root / "elsewhere")
    (spool / "folder.wav").mkdir()
    os.mkfifo(spool / "fifo.wav")
    (spool / "plain.conf").write_bytes(b"precious")
    kept = made(spool, destroy=True).take(str(spool / name))
    assert kept.fate is Fate.REFUSED
    assert outside.read_bytes() == (root / "elsewhere" / "inside.wav").read_bytes() == b"precious"
    assert (spool / "plain.conf").exists()


def test_our_own_recordings_are_not_touched(tmp_path: Path) -> None:
    """Also where they lie within the switch's spool."""
    ours = tmp_path / "recordings"
    ours.mkdir()
    path = ours / f"{'a' * 32}.wav"
    path.write_bytes(b"lawful")
    assert Quarantine(tmp_path / "q", (tmp_path,), ours).take(str(path)).fate is Fate.REFUSED
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        (f"{'a' * 32}.raw", Fate.REFUSED),
        (f"{'a' * 32}-caller.wav", Fate.REFUSED),
        (f"{'b' * 32}.raw", Fate.QUARANTINED),
        (f"{'b' * 32}-agent.wav", Fate.QUARANTINED),
        ("theirs.wav", Fate.QUARANTINED),
        (f"{'b' * 32}.withdrawn", Fate.REFUSED),
        (f"{'b' * 32}.wav.part", Fate.REFUSED),
        (f"deeper/{'b' * 32}.raw", Fate.REFUSED),
    ],
)
def test_in_our_own_directory_only_what_nobody_granted_is_taken(tmp_path: Path, name: str, fate: Fate) -> None:
    """I4: who writes where our recordings are has no grant by that."""
    ours = tmp_path / "recordings"
    (ours / "deeper").mkdir(parents=True)
    (ours / name).write_bytes(b"voice")
    quarantine = Quarantine(tmp_path / "q", (tmp_path / "spool",), ours, lambda call_id: call_id == "a" * 32)
    assert quarantine.take(str(ours / name)).fate is fate
    assert (ours / name).exists() == (fate is Fate.REFUSED)


@pytest.mark.parametrize("name", ["", "relative.wav", "/with\0nul.wav", "/" + "x" * 5000])
def test_names_that_are_none(spool: Path, name: str) -> None:
    assert made(spool).take(name).fate is Fate.NOT_FOUND


def test_another_file_system(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spool / "a.wav"
    path.write_bytes(b"12345")

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "rename", refuse)
    kept = made(spool).take(str(path))
    assert kept.name is not None
    assert (spool.parent / "quarantine" / kept.name).read_bytes() == b"12345"
    assert not path.exists()
