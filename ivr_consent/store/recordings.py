"""The files of recordings: a directory of our own, names of our own, one two-channel file for each in the end.

While a call runs, the switch writes ``ID.raw`` (both sides interleaved, Asterisk 22 and later) or ``ID.wav`` with
``ID-caller.wav`` and ``ID-agent.wav`` (older). When it has ended, :func:`finish` leaves ``ID.wav``: 16 bit, 8 kHz,
left the caller, right the agent.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import os
import re
import sys
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ivr_consent.core.errors import ConsentError
from ivr_consent.store.open_files import OpenFiles

SAMPLE_RATE: Final = 8000
"""Samples a second and side; MixMonitor's raw and wav files are telephone quality."""

CHUNK: Final = 1 << 16
"""Frames handled at once: recordings are streamed, an hour needs no more memory than a minute."""

FRAME: Final = 160
"""Samples that MixMonitor handles at once: 20 ms."""

_NOTHING: Final = array.array("h")

POLL_S: Final = 0.1
"""How often open files are looked at while waiting; a look costs some milliseconds."""

_NO_SOUND: Final = (FileNotFoundError, wave.Error, EOFError, RuntimeError)
"""What the library raises for a file that is none, or that the switch had only begun; the last, without a word, for a
part that is longer than its file."""

_ID: Final = re.compile(r"[0-9a-f]{32}")
_UNFINISHED: Final = (".raw", "-caller.wav", "-agent.wav")


class RecordingError(ConsentError):
    """A recording's files are not as they should be."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A recording in its lasting form; ``file`` is ``None`` when caller and agent never talked."""

    file: str | None
    milliseconds: int
    size: int
    sha256: str | None


def prepare(directory: Path) -> None:
    """Make the directory, readable by its owner alone. Raises :class:`RecordingError` with a remedy."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o027:
            directory.chmod(0o700)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
    except OSError as error:
        raise RecordingError(
            f"the recordings' directory {directory} cannot be used ({error.strerror}); "
            "give it to the user that Asterisk and ivr-consent run as"
        ) from None


def files(directory: Path, recording_id: str) -> list[Path]:
    """Every file of one recording that is there now."""
    stem = directory / _checked(recording_id)
    names = [stem.with_suffix(".wav"), *(Path(f"{stem}{ending}") for ending in (*_UNFINISHED, ".wav.part"))]
    return [path for path in names if path.exists()]


def unfinished(directory: Path, recording_id: str) -> bool:
    """Whether the switch's own files are still there: the recording runs, or nobody has finished it."""
    stem = directory / _checked(recording_id)
    return any(Path(f"{stem}{ending}").exists() for ending in _UNFINISHED)


def discard(directory: Path, recording_id: str) -> bool:
    """Remove every file of a recording. True when none is left."""
    for path in files(directory, recording_id):
        try:
            path.unlink()
        except OSError:
            return False
    return not files(directory, recording_id)


def in_use(directory: Path, recording_id: str) -> bool | None:
    """Whether a process on this host has a file of the recording open for writing; ``None`` when that cannot be seen.

    The switch's open files tell the truth also when nobody answers on its manager port. Only processes of the files'
    own user are looked at: the switch created them.
    """
    paths = files(directory, recording_id)
    if not paths:
        return False
    wanted = {str(path.resolve()) for path in paths}
    users = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # somebody has just finished it
            users.add(path.stat().st_uid)
    if not users:
        return False
    looked = OpenFiles(users, wanted)
    if any(True for _ in looked):
        return True
    return None if looked.blind else False


def wait_released(directory: Path, recording_id: str, deadline_s: float) -> bool | None:
    """Block until nobody writes the recording, at most ``deadline_s`` seconds; what :func:`in_use` said last, negated.

    True: seen to be closed; False: still open; ``None``: cannot be seen.
    """
    until = time.monotonic() + deadline_s
    while (used := in_use(directory, recording_id)) is True and time.monotonic() < until:
        time.sleep(POLL_S)
    return None if used is None else not used


def finish(directory: Path, recording_id: str) -> Finished:
    """Bring an ended recording into its lasting form, atomically, and give its length and digest.

    May be done again after a crash at any point. A recording in which nobody talked leaves no file. Raises
    :class:`RecordingError` when there is no file at all.
    """
    stem = directory / _checked(recording_id)
    final, raw = stem.with_suffix(".wav"), stem.with_suffix(".raw")
    caller, agent = Path(f"{stem}-caller.wav"), Path(f"{stem}-agent.wav")
    if _channels(final) == 2:
        pass  # written whole before; a crash may have left the switch's own files
    elif raw.exists():
        _write_two_channels(final, _raw_frames(raw))
    elif caller.exists() or agent.exists():
        _write_two_channels(final, _paired_frames(caller, agent, final))
    elif not final.exists():
        raise RecordingError(f"there is no file of recording {recording_id} in {directory}")
    for source in (raw, caller, agent):
        source.unlink(missing_ok=True)
    frames = _frames(final)
    if frames == 0:
        final.unlink(missing_ok=True)
        return Finished(None, 0, 0, None)
    return Finished(final.name, frames * 1000 // SAMPLE_RATE, final.stat().st_size, _sha256(final))


def _write_two_channels(final: Path, chunks: Iterator[bytes]) -> None:
    part = Path(f"{final}.part")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            for chunk in chunks:
                out.writeframesraw(chunk)
        file.flush()
        os.fsync(file.fileno())
    part.replace(final)


def _raw_frames(raw: Path) -> Iterator[bytes]:
    """Interleaved 16-bit samples, left the caller, right the agent; a half frame at the end is left out."""
    with raw.open("rb") as file:
        while chunk := file.read(CHUNK * 4):
            yield chunk[: len(chunk) // 4 * 4]


def _paired_frames(caller: Path, agent: Path, mixed: Path) -> Iterator[bytes]:
    """Two one-channel files side by side.

    Asterisk before 22 leaves out of a side's file the frames in which that side sent nothing. Where the two are not
    of one length, the mixed file tells which frames those were.
    """
    if _frames(caller) == _frames(agent) or not mixed.exists():
        yield from _side_by_side(_samples(caller, CHUNK), _samples(agent, CHUNK))
    else:
        yield from _aligned(_samples(caller, FRAME), _samples(agent, FRAME), _samples(mixed, FRAME))


def _side_by_side(caller: Iterator[array.array[int]], agent: Iterator[array.array[int]]) -> Iterator[bytes]:
    """Chunk beside chunk, the shorter side followed by silence."""
    while True:
        left, right = next(caller, _NOTHING), next(agent, _NOTHING)
        if not left and not right:
            return
        yield _interleaved(left, right)


def _aligned(
    caller: Iterator[array.array[int]], agent: Iterator[array.array[int]], mixed: Iterator[array.array[int]]
) -> Iterator[bytes]:
    """Frame by frame: the mixed frame is the sum of both sides, or one side alone where the other sent nothing.

    A frame of silence may be placed earlier than it came, which nobody can hear; the next sound is in its place again.
    """
    left, right = next(caller, _NOTHING), next(agent, _NOTHING)
    silence = array.array("h", bytes(2 * FRAME))
    for both in mixed:
        if left and right and _sum(left, right) == both:
            takes_left = takes_right = True
        else:
            takes_left, takes_right = both == left, both == right
            if not takes_left and not takes_right:
                takes_left, takes_right = bool(left), bool(right)  # not of this sum: keep both in step
        yield _interleaved(left if takes_left else silence[: len(both)], right if takes_right else silence[: len(both)])
        left = next(caller, _NOTHING) if takes_left else left
        right = next(agent, _NOTHING) if takes_right else right
    while left or right:  # what came after the last mixed frame
        yield _interleaved(left, right)
        left, right = next(caller, _NOTHING), next(agent, _NOTHING)


def _sum(left: array.array[int], right: array.array[int]) -> array.array[int]:
    """As the switch mixes: added, and cut at the ends of the range."""
    return array.array("h", [max(-32768, min(32767, a + b)) for a, b in zip(left, right, strict=False)])


def _interleaved(left: array.array[int], right: array.array[int]) -> bytes:
    length = max(len(left), len(right))
    frames = array.array("h", bytes(length * 4))
    frames[0 : 2 * len(left) : 2] = left
    frames[1 : 2 * len(right) : 2] = right
    return _little_endian(frames).tobytes()


def _samples(path: Path, count: int) -> Iterator[array.array[int]]:
    """A file's samples in chunks of ``count``, the last one shorter; none of a file that holds no sound yet."""
    try:
        with wave.open(str(path), "rb") as file:
            while data := file.readframes(count):
                yield _little_endian(array.array("h", data[: len(data) // 2 * 2]))
    except _NO_SOUND:
        return


def _little_endian(samples: array.array[int]) -> array.array[int]:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _frames(path: Path) -> int:
    try:
        with wave.open(str(path), "rb") as file:
            return file.getnframes()
    except _NO_SOUND:
        return 0


def _channels(path: Path) -> int:
    try:
        with wave.open(str(path), "rb") as file:
            return file.getnchannels()
    except _NO_SOUND:
        return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(recording_id: str) -> str:
    if not _ID.fullmatch(recording_id):
        raise RecordingError("not the id of a recording")
    return recording_id
