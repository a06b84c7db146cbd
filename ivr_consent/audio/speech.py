"""Text to speech by a command: espeak-ng, or any engine that reads text on stdin and writes WAV on stdout.

A text never becomes part of a command line and no shell is involved, so nothing in a notice can be run. Every
command has a deadline and a bound on its output, and is killed with its children when it exceeds one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import selectors
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import IO

from ivr_consent.core.errors import AudioError

ESPEAK = ("espeak-ng", "-v", "{voice}", "-s", "{speed}", "-b", "1", "--stdin", "--stdout")
INSTALL_ESPEAK = "install espeak-ng: apt-get install espeak-ng"

# espeak-ng's words per minute mean a different pace in each language; these sound alike unhurried.
ESPEAK_VOICES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "da": ("da", 170),
        "de": ("de", 185),
        "en": ("en-gb", 170),
        "es": ("es", 170),
        "fi": ("fi", 185),
        "fr": ("fr-fr", 160),
        "nl": ("nl", 180),
        "no": ("nb", 180),
        "pl": ("pl", 185),
        "sv": ("sv", 185),
    }
)

MAX_TEXT = 8000  # characters; about ten minutes of speech, far beyond any segment
MAX_SPEECH = 64 * 1024 * 1024  # bytes of WAV; ten minutes at 48 kHz
MAX_ERROR_TEXT = 4096  # bytes of a command's stderr that are kept for the message
_POLL = 0.1  # seconds between two looks at the stop event
_CHUNK = 65536

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_VALUE = re.compile(r"[A-Za-z0-9/.][A-Za-z0-9_+./ -]{0,255}")


class SpeechError(AudioError):
    """A text could not be spoken; the message ends with what to do."""


class CommandError(AudioError):
    """An outside program could not be started, failed, ran too long, wrote too much, or was stopped."""


class NotStarted(CommandError):
    """The program is missing or is no program."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Which program speaks, and how.

    ``argv`` is the command as a list; ``{voice}``, ``{language}`` and ``{speed}`` in it are filled in. The text
    comes on its stdin in UTF-8; it answers on stdout with 16-bit PCM WAV. ``speed`` is in words per minute.
    ``version_argv`` is a command that prints the engine's version; espeak-ng's is known.
    """

    name: str
    language: str
    speed: int = 170
    argv: tuple[str, ...] = ESPEAK
    version_argv: tuple[str, ...] = ()
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Raises :class:`SpeechError` for a template or value that no command can be made of."""
        if not self.argv or not self.argv[0] or "{" in self.argv[0]:
            raise SpeechError("the speech command is empty. Give it as a list that begins with the program's name")
        for value in (self.name, self.language):
            if not _VALUE.fullmatch(value):
                raise SpeechError(f"{value!r} is no name of a voice or language. Begin with a letter or digit")
        if not 50 <= self.speed <= 500 or not self.timeout_s > 0:
            raise SpeechError("speed or timeout out of range. Use 50 to 500 words a minute and more than 0 s")
        for part in self.argv:
            if "\0" in part:
                raise SpeechError("the speech command holds a NUL character. Remove it")
            for found in _PLACEHOLDER.findall(part):
                if found not in ("{voice}", "{language}", "{speed}"):
                    raise SpeechError(
                        f"the speech command holds {found}. Only {{voice}}, {{language}} and {{speed}} are filled in; "
                        "the text always comes on the command's stdin"
                    )

    @property
    def engine(self) -> str:
        """Name of the program, without its folder."""
        return PurePath(self.argv[0]).name

    def command(self) -> list[str]:
        """The argument list to run, with the placeholders filled in."""
        values = {"{voice}": self.name, "{language}": self.language, "{speed}": str(self.speed)}
        return [_PLACEHOLDER.sub(lambda match: values[match.group()], part) for part in self.argv]


@dataclass(frozen=True, slots=True)
class Speech:
    """Sound as 16-bit little-endian PCM: ``rate`` frames a second of ``channels`` interleaved samples."""

    pcm: bytes
    rate: int
    channels: int

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / (2 * self.channels * self.rate)


def espeak_voice(language: str) -> Voice:
    """espeak-ng's voice for a language code (``"en"``, ``"de"``, ``"fi"``, …) at an unhurried pace."""
    name, speed = ESPEAK_VOICES.get(language, (language, 170))
    return Voice(name, language, speed)


def engine_version(voice: Voice) -> str:
    """First line that the engine prints about its version; ``""`` for an engine whose command for it is not given.

    Raises :class:`SpeechError` when the program is missing or fails.
    """
    argv = list(voice.version_argv)
    if not argv and voice.engine == "espeak-ng":
        argv = [voice.argv[0], "--version"]
    if not argv:
        return ""
    try:
        said = run_bounded(argv, b"", timeout_s=10, max_output=_CHUNK)
    except CommandError as error:
        raise SpeechError(f"{error}. {_remedy(voice)}") from None
    line = said.decode("utf-8", "replace").strip().partition("\n")[0]
    # the folder of espeak-ng's data differs by machine and says nothing about the sound
    return line.partition("  Data at:")[0].strip()[:200]


def speak(text: str, voice: Voice, *, stop: threading.Event | None = None) -> Speech:
    """Speak a text. Blocks for at most ``voice.timeout_s`` seconds; setting ``stop`` ends it at once.

    Raises :class:`SpeechError` when the engine is missing, hangs, fails, or answers with anything but sound.
    """
    if not text.strip():
        raise SpeechError("the text is empty. Write what is to be spoken")
    if len(text) > MAX_TEXT:
        raise SpeechError(f"the text has {len(text)} characters. Split it into segments of at most {MAX_TEXT}")
    if any(ord(c) < 32 and c not in "\n\t" for c in text) or "\x7f" in text:
        # espeak-ng takes control characters for commands that change voice and speed
        raise SpeechError("the text holds a control character. Remove it")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise SpeechError("the text holds half a surrogate pair. Save the file as UTF-8") from None
    if voice.engine == "espeak-ng" and "{voice}" in voice.argv:
        _check_espeak_voice(voice)
    try:
        wav = run_bounded(voice.command(), data + b"\n", timeout_s=voice.timeout_s, max_output=MAX_SPEECH, stop=stop)
    except CommandError as error:
        raise SpeechError(f"{error}. {_remedy(voice)}") from None
    try:
        return parse_wav(wav)
    except AudioError as error:
        raise SpeechError(f"{voice.engine} wrote no usable sound: {error}. {_remedy(voice)}") from None


def _check_espeak_voice(voice: Voice) -> None:
    """espeak-ng speaks an unknown region or variant with another voice, without a word: English for ``en-zz``."""
    base, plus, variant = voice.name.casefold().partition("+")
    if base not in _espeak_names(voice.argv[0], "--voices") | _espeak_names(voice.argv[0], "--voices=mb"):
        raise SpeechError(f"espeak-ng has no voice {voice.name!r}. {_remedy(voice)}")
    if plus and variant not in _espeak_names(voice.argv[0], "--voices=variant"):
        raise SpeechError(f"espeak-ng has no variant {variant!r}. Variants are listed by: espeak-ng --voices=variant")


@functools.lru_cache(maxsize=8)
def _espeak_names(program: str, option: str) -> frozenset[str]:
    """Every name by which a voice of espeak-ng's list can be called for."""
    try:
        listing = run_bounded([program, option], b"", timeout_s=10, max_output=1 << 20).decode("utf-8", "replace")
    except CommandError as error:
        raise SpeechError(f"{error}. If it is missing, {INSTALL_ESPEAK}") from None
    names: set[str] = set()
    for line in listing.casefold().splitlines()[1:]:
        # priority, language, age/gender, name, file, and in parentheses further languages with their priority
        words = line.split()
        if len(words) >= 5:
            names |= {words[1], words[3], words[4], words[4].rpartition("/")[2]}
            names |= {word.strip("()") for word in words[5:] if not word.strip("()").isdecimal()}
    return frozenset(names)


def _remedy(voice: Voice) -> str:
    if voice.engine == "espeak-ng":
        return f"If it is missing, {INSTALL_ESPEAK}; voices are listed by: espeak-ng --voices"
    return f"Run {voice.engine} by hand: it must read text on stdin and write 16-bit WAV on stdout"


def parse_wav(data: bytes) -> Speech:
    """Read a 16-bit PCM WAV, also one written to a pipe (whose sizes in the header are too large).

    Raises :class:`AudioError` for any other content, for no sound at all, and for rates outside 8–192 kHz.
    """
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise AudioError("it is not a WAV file")
    position, form = 12, None
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
        if name == b"fmt " and len(body) >= 16:
            form = struct.unpack_from("<HHIIHH", body)
            if form[0] == 0xFFFE and len(body) >= 26:  # "extensible": the coding stands further on
                form = (int.from_bytes(body[24:26], "little"), *form[1:])
        elif name == b"data":
            if form is None:
                raise AudioError("its sound comes before its format")
            coding, channels, rate, _, _, bits = form
            if coding != 1 or bits != 16 or channels not in (1, 2) or not 8000 <= rate <= 192_000:
                raise AudioError(
                    f"it has coding {coding}, {bits} bits, {channels} channels, {rate} Hz; "
                    "16-bit PCM in one or two channels at 8000 to 192000 Hz is read"
                )
            frame = 2 * channels
            body = body[: len(body) // frame * frame]
            if not body:
                raise AudioError("it holds no samples")
            return Speech(body, rate, channels)
    raise AudioError("it has no sound in it")


def run_bounded(
    argv: list[str],
    data: bytes,
    *,
    timeout_s: float,
    max_output: int,
    stop: threading.Event | None = None,
    folder: Path | None = None,
) -> bytes:
    """Run a program with ``data`` on its stdin, in ``folder`` if one is given, and return its stdout.

    It gets a process group of its own, so that a Ctrl-C meets us and not half of its work, and so that its children
    end with it. Raises :class:`CommandError` when it cannot be started, exits non-zero, takes longer than
    ``timeout_s`` seconds, writes more than ``max_output`` bytes, or ``stop`` is set.
    """
    name = PurePath(argv[0]).name
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NotStarted(f"{argv[0]} cannot be started: {reason}") from None
    deadline = time.monotonic() + timeout_s
    with process:
        try:
            output, said = _exchange(process, data, deadline, max_output, stop)
            code = process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            _kill(process)
            raise CommandError(f"{name} did not end within {timeout_s:g} s") from None
        except _Exceeded as error:
            _kill(process)
            raise CommandError(f"{name} {error}") from None
        except BaseException:
            _kill(process)
            raise
    if code != 0:
        end = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        text = " ".join(said.decode("utf-8", "replace").split())[-400:]
        raise CommandError(f"{name} {end}" + (f": {text}" if text else ""))
    return output


class _Exceeded(Exception):
    """A bound was met: the message completes a sentence that begins with the program's name."""


def _exchange(
    process: subprocess.Popen[bytes], data: bytes, deadline: float, max_output: int, stop: threading.Event | None
) -> tuple[bytes, bytes]:
    """Write stdin and read stdout and stderr at the same time until both end; returns what was read."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    output, said, rest = bytearray(), bytearray(), memoryview(data)
    with selectors.DefaultSelector() as selector:

        def close(stream: IO[bytes]) -> None:
            selector.unregister(stream)
            with contextlib.suppress(BrokenPipeError):
                stream.close()

        for stream, event in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stdout, selectors.EVENT_READ),
            (process.stderr, selectors.EVENT_READ),
        ):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, event)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            if stop is not None and stop.is_set():
                raise _Exceeded("was stopped")
            for key, _ in selector.select(min(left, _POLL)):
                if key.fileobj is process.stdin:
                    try:
                        rest = rest[os.write(key.fd, rest[:_CHUNK]) :]
                    except BrokenPipeError:
                        rest = rest[:0]  # it does not want the rest; its exit code says whether that is well
                    if not rest:
                        close(process.stdin)
                elif key.fileobj is process.stdout:
                    chunk = os.read(key.fd, _CHUNK)
                    output += chunk
                    if len(output) > max_output:
                        raise _Exceeded(f"wrote more than {max_output} bytes")
                    if not chunk:
                        close(process.stdout)
                else:
                    chunk = os.read(key.fd, _CHUNK)
                    said += chunk[: MAX_ERROR_TEXT - len(said)]
                    if not chunk:
                        close(process.stderr)
    return bytes(output), bytes(said)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and its children. Its own group, made at the start, holds nothing of ours."""
    if process.returncode is None:  # not yet waited for, hence its number cannot belong to anybody else
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
