"""Whether anything has changed since the last build of all lines: told without reading a notice or hearing a sound.

A build leaves a record in the store: digests of what it read and signed, and the state of every file of every sound
(its place, owner, length, times and number on disk) at a moment when each had been found to be what was built. As long
as all that is as it was, another build would change nothing. The time of a file's last change cannot be set by anybody
who writes to it; a file that was touched within the clock's own step of the record is never vouched for.

Nothing but ``prompts build`` goes by this record: who publishes, and what serves calls, reads every byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ivr_consent.audio.speech import Voice, engine_version
from ivr_consent.core.errors import AudioError

RECORD: Final = "unchanged.json"
"""In the store, for who made it alone."""

DEFAULT_STORE: Final = "audio"
"""Of a configuration that does not name one."""

_SCHEMA: Final = 1
_LIMIT: Final = 32 * 1024 * 1024
_STEP_NS: Final = 20_000_000  # times of files go by the tick of the kernel, which is 10 ms at most
_ESPEAK: Final = "espeak-ng"


@dataclass(frozen=True, slots=True)
class Built:
    """What all lines were built of: paths of files by their digests in hexadecimal, and the sounds in the store.

    ``takes`` are each a folder and a name in it; ``sounds`` are ``LANGUAGE/KEY``, ``prompts`` how many texts they say.
    """

    config: Path
    config_sha256: str
    store: Path
    lines: int
    prompts: int
    files: dict[str, str]
    takes: Sequence[tuple[str, str]]
    voices: Iterable[Voice]
    sounds: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """That nothing has changed: of how many lines and prompts, in which store."""

    lines: int
    prompts: int
    store: Path


def file_digest(path: str | Path) -> str:
    """SHA-256 of a plain file in hexadecimal. Raises :class:`OSError`."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a plain file")
        return hashlib.file_digest(file, "sha256").hexdigest()


def remember(built: Built, whole: Callable[[], bool]) -> bool:
    """Leave a record of a build; whether there is one now.

    ``whole`` looks whether every sound is what was built: the states are taken before and after it, and must agree.
    """
    try:
        if look(built.config) is not None:
            return True
        newest = max(_sounds(built.store, built.sounds)[1], _takes(built.takes)[1])
        since = time.time_ns() - newest
        if since < 0:
            return False  # a file from the future: its time says nothing
        if since < _STEP_NS:
            time.sleep((_STEP_NS - since) / 1e9)
        before = _sounds(built.store, built.sounds), _takes(built.takes)
        if not whole() or before != (_sounds(built.store, built.sounds), _takes(built.takes)):
            return False
        (sounds, _), (takes, _) = before
        programs = dict.fromkeys(voice.argv[0] for voice in built.voices if voice.engine == _ESPEAK)
        record = {
            "schema": _SCHEMA,
            "program": _program(),
            "config": str(built.config),
            "config_sha256": built.config_sha256,
            "store": str(built.store),
            "lines": built.lines,
            "prompts": built.prompts,
            "files": built.files,
            "takes": [[folder, name] for folder, name in built.takes],
            "takes_state": takes,
            "voices": {program: _version(program) for program in programs},
            "sounds": list(built.sounds),
            "sounds_state": sounds,
        }
        _write(built.store / RECORD, json.dumps(record).encode())
    except (OSError, AudioError):
        return False
    return True


def look(config: Path) -> Unchanged | None:
    """Whether a build of all lines of this configuration would change nothing; ``None`` where that is not certain."""
    try:
        config = config.absolute()
        with config.open("rb") as file:
            raw = file.read(_LIMIT)
        prompts = tomllib.loads(raw.decode()).get("prompts", {})
        store = config.parent / prompts.get("audio", DEFAULT_STORE)
        record = _read(store / RECORD)
        if (
            record["schema"] == _SCHEMA
            and record["config"] == str(config)
            and record["config_sha256"] == hashlib.sha256(raw).hexdigest()
            and record["store"] == str(store)
            and record["program"] == _program()
            and all(file_digest(path) == digest for path, digest in record["files"].items())
            and _sounds(store, record["sounds"])[0] == record["sounds_state"]
            and _takes(record["takes"])[0] == record["takes_state"]
            and all(_version(program) == version for program, version in record["voices"].items())
        ):
            return Unchanged(int(record["lines"]), int(record["prompts"]), store)
    except (OSError, AudioError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # whatever is wrong is told by the build itself
    return None


def _state(found: os.stat_result) -> list[int]:
    return [
        found.st_mode,
        found.st_uid,
        found.st_gid,
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    ]


def _sounds(store: Path, sounds: Iterable[str]) -> tuple[str, int]:
    """One digest for the state of all files of sounds, and when the last of them was changed, in nanoseconds."""
    digest, newest = hashlib.sha256(), 0
    for sound in sounds:
        folder = f"{store}/{sound}"
        rows: list[tuple[str, list[int]]] = [("", _state(os.lstat(folder)))]
        with os.scandir(folder) as entries:
            rows += sorted((entry.name, _state(entry.stat(follow_symlinks=False))) for entry in entries)
        newest = max(newest, *(state[-1] for _, state in rows))
        digest.update(repr((sound, rows)).encode())
    return digest.hexdigest(), newest


def _takes(takes: Iterable[Sequence[str]]) -> tuple[str, int]:
    """The same of studio takes, with the folders on the way to each: a link among them is another file."""
    digest, newest = hashlib.sha256(), 0
    for folder, name in takes:
        parts = name.split("/")
        for count in range(len(parts) + 1):
            state = _state(os.lstat("/".join([folder, *parts[:count]])))
            newest = max(newest, state[-1])
            digest.update(repr((folder, name, count, state)).encode())
    return digest.hexdigest(), newest


def _program() -> str:
    """One digest for this package as it is installed: another version may build otherwise."""
    digest = hashlib.sha256()
    folders = [os.path.dirname(__file__)]  # noqa: PTH120 - plain strings: this is to take no time
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    found = entry.stat()
                    digest.update(repr((entry.path, found.st_size, found.st_mtime_ns)).encode())
    return digest.hexdigest()


def _version(program: str) -> str:
    return engine_version(Voice("en", "en", argv=(program,)))


def _read(path: Path) -> dict[str, Any]:
    """The record, if it is ours alone to write."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ValueError("it is somebody else's")
        record = json.loads(file.read(_LIMIT))
    if not isinstance(record, dict):
        raise TypeError("not a table")
    return record


def _write(path: Path, data: bytes) -> None:
    """Replace the record in one step. It need not be on disk: what is lost is only time."""
    import tempfile  # noqa: PLC0415 - looking is to take no time, and needs none of it

    descriptor, name = tempfile.mkstemp(prefix=f".{RECORD}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
