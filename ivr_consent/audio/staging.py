"""Staging: where sounds are made before they enter the store, each in one step, whole or not at all.

A build works in a folder of its own inside the store, hence on the same file system, and holds a lock in it for as
long as its process lives. What a killed build leaves behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ivr_consent.audio.store import ENTRY, PromptAudio, audio_document, fault, read_entry
from ivr_consent.core.errors import AudioError

_PREFIX = ".build-"
_LOCK = ".lock"  # in the store: held while a build's folder is made or removed, and in that: while it works


@contextlib.contextmanager
def staging(store: Path) -> Iterator[Path]:
    """A folder to work in, removed at the end. Raises :class:`AudioError` when the store cannot be written."""
    try:
        _make_folders(store)
        with _locked(store / _LOCK):
            _sweep(store)
            work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=store))
            # held until this process ends, however it does
            held = os.open(work / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(held, fcntl.LOCK_EX)
    except OSError as error:
        raise AudioError(f"{store}: cannot be written ({error.strerror}). Choose a folder you may write to") from None
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(held)


def publish(audio: PromptAudio, made: Path, store: Path) -> PromptAudio:
    """Move a finished folder to its place in the store; returns what is there then.

    When another build was faster, its sound stays and ours is left where it is. A damaged one is put aside, not
    removed: a call may be playing from it. Raises :class:`AudioError`.
    """
    target = audio.folder(store)
    try:
        _seal(audio, made)
        _make_folders(target.parent)
        for _ in range(3):
            try:
                made.rename(target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
            else:
                _sync(target.parent)
                return audio
            there = _intact(target)
            if there is not None:
                return there
            aside = Path(tempfile.mkdtemp(prefix=".damaged-", dir=store))
            try:
                target.rename(aside / audio.key)
            except FileNotFoundError:
                aside.rmdir()  # another build has put it aside
    except OSError as error:
        raise AudioError(f"{target}: cannot be written ({error.strerror}). Free space, or choose another") from None
    raise AudioError(f"{target}: is being damaged while it is built. See what else writes there")


def _intact(folder: Path) -> PromptAudio | None:
    """What is in a folder of the store, if it is all there."""
    try:
        audio, _ = read_entry(str(folder))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if any(fault(str(folder / file.name), file) for file in audio.files.values()):
        return None
    return audio


def _seal(audio: PromptAudio, made: Path) -> None:
    """Write the entry, last, and flush everything: a folder in the store is never half on disk."""
    for file in audio.files.values():
        path = made / file.name
        path.chmod(0o444)
        _sync(path)
    entry = made / ENTRY
    with entry.open("x", encoding="utf-8") as target:
        json.dump(audio_document(audio), target, sort_keys=True, indent=1)
        target.write("\n")
        target.flush()
        os.fchmod(target.fileno(), 0o444)
        os.fsync(target.fileno())
    made.chmod(0o755)  # whatever the umask: the switch, another user, must be able to enter
    _sync(made)


def _make_folders(folder: Path) -> None:
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in missing:
        part.chmod(0o755)
    for part in missing:
        _sync(part.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(store: Path) -> None:
    """Remove the folders of builds that no longer run; we hold the store's lock, so none is being made."""
    for left in store.glob(f"{_PREFIX}*"):
        with contextlib.ExitStack() as stack:
            try:
                lock = os.open(left / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                pass  # killed before it had a lock
            else:
                stack.callback(os.close, lock)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # it works
            shutil.rmtree(left, ignore_errors=True)
