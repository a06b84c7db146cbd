"""Takes: prompts that somebody has spoken in a studio, given as files in the notice's folder.

A take's name comes from a notice, which may be somebody else's, and its bytes may be anything. So the file is opened
component by component without following a link, must be a plain file, and is copied while its digest is taken: what is
decoded is what was hashed. ffmpeg gets the copy under a name of ours, is told which containers it may see in it, and
reaches neither network nor other files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ivr_consent.audio.ffmpeg import INSTALL_FFMPEG, TO_PIPE
from ivr_consent.audio.speech import CommandError, NotStarted, Speech, run_bounded
from ivr_consent.core.errors import AudioError

MAX_TAKE = 256 * 1024 * 1024  # bytes: a quarter of an hour in the widest format that is read
MAX_TAKE_S = 300  # as long as a prompt may be
MIN_RATE, MAX_RATE = 8000, 96_000  # Hz
DECODED_RATE = 48_000  # Hz at most: nothing that is built holds more

CONTAINERS = ("wav", "w64", "aiff", "au", "caf", "flac", "mp3", "ogg", "aac", "mov", "matroska")
"""ffmpeg's names of what a take may come in: sound files, and nothing that names other files or addresses."""

_CHUNK = 1 << 20
_PROBE_S = 20.0
_DECODE_S = 120.0


@dataclass(frozen=True, slots=True)
class Take:
    """A studio recording: its ``file`` inside ``folder``, the digest of its bytes in hexadecimal, and its length."""

    folder: Path
    file: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        """For messages: what was opened is told by the digest."""
        return self.folder / self.file


def open_take(file: str, folder: Path) -> Take:
    """Find a take by its name, relative to ``folder``, and hash it.

    Raises :class:`AudioError` when the name leads or could lead elsewhere, or there is no plain file of sensible
    length. Whether there is sound in it is found out by :func:`decode`.
    """
    digest = hashlib.sha256()
    size = 0
    with _opened(file, folder) as source:
        for chunk in _chunks(source, folder / file):
            digest.update(chunk)
            size += len(chunk)
    return Take(folder, file, digest.hexdigest(), size)


def _check_name(file: str, folder: Path) -> list[str]:
    """The components of a name that stays inside its folder."""
    parts = file.split("/")
    if not file:
        raise AudioError(f"a take in {folder} has an empty name. Write the file's name, relative to that folder")
    bad = next((c for c in file if not (c.isalnum() or c in "._- /")), None)
    if bad is not None:
        raise AudioError(
            f"take {file!r}: {bad!r} cannot stand in a take's name. Rename the file: letters, digits, "
            "'.', '_', '-' and spaces are allowed"
        )
    if file.startswith("/"):
        raise AudioError(f"take {file!r}: the name is absolute. Put the file into {folder} and name it from there")
    if ".." in parts:
        raise AudioError(f"take {file!r}: the name leads out of its folder. Put the file into {folder}")
    if "" in parts or "." in parts:
        raise AudioError(f"take {file!r}: a part of the name is empty. Write FILE or FOLDER/FILE")
    if any(part.startswith("-") for part in parts):
        raise AudioError(f"take {file!r}: a name that begins with a hyphen looks like an option. Rename the file")
    if len(file.encode()) > 1024 or len(parts) > 8:
        raise AudioError(f"take {file[:60]!r}…: the name is too long. Rename the file")
    return parts


@contextlib.contextmanager
def _opened(file: str, folder: Path) -> Iterator[BinaryIO]:
    """The take's file, reached from its folder without following any link."""
    parts = _check_name(file, folder)
    where = folder / file
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        try:
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, at)
            for part in parts[:-1]:
                _no_link(part, at, where)
                at = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
                stack.callback(os.close, at)
            _no_link(parts[-1], at, where)
            # not blocking: a pipe put here since that look must not hold us
            descriptor = os.open(parts[-1], flags | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=at)
            stack.callback(os.close, descriptor)
            state = os.fstat(descriptor)
        except FileNotFoundError:
            raise AudioError(f"{where}: there is no such take. Put the file there, or correct its name") from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise AudioError(f"{where}: a folder in its name is a file or a link. Name a plain file") from None
            raise AudioError(f"{where}: cannot be read ({error.strerror}). Let this user read it") from None
        if not stat.S_ISREG(state.st_mode):
            raise AudioError(f"{where}: is not a plain file. Put the recording itself there")
        if state.st_size == 0:
            raise AudioError(f"{where}: is empty. Save the recording again")
        if state.st_size > MAX_TAKE:
            raise _too_large(where)
        yield os.fdopen(descriptor, "rb", buffering=0, closefd=False)


def _no_link(part: str, at: int, where: Path) -> None:
    state = os.stat(part, dir_fd=at, follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode):
        raise AudioError(f"{where}: {part!r} is a symbolic link. Put the recording itself there")
    if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
        raise AudioError(f"{where}: is not a plain file. Put the recording itself there")


def _too_large(where: Path) -> AudioError:
    return AudioError(f"{where}: has more than {MAX_TAKE >> 20} MiB. Save it as FLAC, or cut it")


def _chunks(source: BinaryIO, where: Path) -> Iterator[bytes]:
    """All bytes of a take, of which there cannot be more than allowed even if it grows meanwhile."""
    left = MAX_TAKE
    try:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise _too_large(where)
            yield chunk
    except OSError as error:
        raise AudioError(f"{where}: cannot be read ({error.strerror}). Save the recording again") from None


# decoding


def decode(take: Take, work: Path, stop: threading.Event | None = None) -> Speech:
    """The sound of a take as 16-bit mono PCM, at its own rate up to 48 kHz. ``work`` is a private folder.

    Blocks for at most two minutes; setting ``stop`` ends it. Raises :class:`AudioError` for anything that is no
    single-channel recording of at most five minutes, and when the file is not the one that was opened.
    """
    copy = work / "take"
    try:
        _copy(take, copy)
        rate = _inspect(take, work, stop)
        return _sound(take, work, min(rate, DECODED_RATE), stop)
    finally:
        copy.unlink(missing_ok=True)


def _copy(take: Take, copy: Path) -> None:
    digest = hashlib.sha256()
    with _opened(take.file, take.folder) as source, copy.open("xb") as target:
        for chunk in _chunks(source, take.path):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != take.sha256:
        raise AudioError(f"{take.path}: was changed while it was read. Build the prompts again")


_INPUT = ("-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(CONTAINERS), "-i", "file:take")


def _inspect(take: Take, work: Path, stop: threading.Event | None) -> int:
    """The sampling rate of a take that is one channel of sound and nothing else."""
    entries = "stream=codec_type,channels,sample_rate:stream_disposition=attached_pic:format=duration"
    argv = ["ffprobe", "-hide_banner", "-loglevel", "error", "-show_entries", entries, "-of", "json", *_INPUT]
    try:
        told = json.loads(run_bounded(argv, b"", timeout_s=_PROBE_S, max_output=1 << 20, stop=stop, folder=work))
    except NotStarted as error:
        raise AudioError(f"{take.path}: {error}. {INSTALL_FFMPEG.capitalize()}") from None
    except CommandError as error:
        raise AudioError(_no_sound(take, error)) from None
    except ValueError:
        raise AudioError(_no_sound(take, "ffprobe said nothing")) from None
    streams: list[dict[str, Any]] = told.get("streams", [])
    sounds = [stream for stream in streams if stream.get("codec_type") == "audio"]
    # a cover picture is a stream of its own, and no video
    if any(s.get("codec_type") == "video" and not s.get("disposition", {}).get("attached_pic") for s in streams):
        raise AudioError(f"{take.path}: is a video. Save its sound alone, as WAV or FLAC")
    if not sounds:
        raise AudioError(_no_sound(take, "there is no audio stream"))
    if len(sounds) > 1:
        raise AudioError(f"{take.path}: has {len(sounds)} sound tracks. Save the one to be played, as WAV or FLAC")
    channels, rate = int(sounds[0].get("channels") or 0), int(sounds[0].get("sample_rate") or 0)
    if channels != 1:
        raise AudioError(f"{take.path}: has {channels} channels, a telephone has one. Save it as mono")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"{take.path}: has {rate} samples a second; {MIN_RATE} to {MAX_RATE} are read. Save it at 48000"
        )
    return rate


def _no_sound(take: Take, why: object) -> str:
    return f"{take.path}: is no sound file that can be read ({why}). Save it as WAV, FLAC, MP3 or Ogg"


def _sound(take: Take, work: Path, rate: int, stop: threading.Event | None) -> Speech:
    argv = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1", "-xerror", *_INPUT]
    # one second more than is allowed shows that there is more
    argv += ["-map", "0:a:0", "-vn", "-sn", "-dn", "-t", str(MAX_TAKE_S + 1), "-ar", str(rate), "-f", "s16le", *TO_PIPE]
    bound = (MAX_TAKE_S + 2) * rate * 2
    try:
        pcm = run_bounded(argv, b"", timeout_s=_DECODE_S, max_output=bound, stop=stop, folder=work)
    except CommandError as error:
        raise AudioError(_no_sound(take, error)) from None
    if len(pcm) > MAX_TAKE_S * rate * 2:
        raise AudioError(f"{take.path}: lasts longer than {MAX_TAKE_S} s. Split the text, and the recording")
    if not pcm:
        raise AudioError(_no_sound(take, "there is no sound in it"))
    return Speech(pcm, rate, 1)
