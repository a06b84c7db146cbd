"""The sound of prompts: read from the store as it was built, joined, and played by a program of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import typer

from ivr_consent.audio.picture import clock
from ivr_consent.cli.shelf import RATE, Shelf, duration, times
from ivr_consent.cli.terminal import (
    print_json,
    say,
)
from ivr_consent.core.errors import AudioError, ConsentError, VersionError

if TYPE_CHECKING:
    from ivr_consent.manifest import Spoken, SpokenPrompt


OUTPUTS: Final = ("wav", "ulaw", "alaw", "gsm", "g722", "sln16")
"""What a file for ``--output`` may be called after its dot."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as a shell has it."""
PLAYER_MARGIN_S: Final = 10.0
"""How much longer than the sound a player may take: it opens a device first, which may be far away."""
PLAYED_SHARE: Final = 0.7
"""A player that ends well before this share of the sound has not played it: ffplay without a device does that."""
STOPPING_S: Final = 2.0  # for a player that is asked to end, before it is made to
_SAID_BYTES: Final = 400  # of what a player that failed has said


def sounds_of(shelf: Shelf, spoken: Spoken, prompts: Sequence[SpokenPrompt], form: str) -> list[bytes]:
    """The files of prompts in one format, as they were built. Raises :class:`VersionError`, :class:`AudioError`."""
    missing = [prompt.id for prompt in prompts if not prompt.audio.files]
    if missing:
        raise VersionError(
            f"line {shelf.name}: {', '.join(missing)} in {spoken.language!r} is not built as it is written now; "
            f"build it: ivr-consent prompts build {shelf.name}"
        )
    return [_read(prompt, form, shelf.workshop.store) for prompt in prompts]


def _read(prompt: SpokenPrompt, form: str, store: Path) -> bytes:
    """One file of the store, if it is what was built: what is returned is what was compared."""
    from ivr_consent.audio.store import fault

    file = prompt.audio.files.get(form)
    if file is None:
        have = ", ".join(name for name in OUTPUTS if name in prompt.audio.files)
        raise AudioError(f"{prompt.id!r} was not built as {form}; choose from: {have}")
    path = prompt.audio.folder(store) / file.name
    data = b""
    with contextlib.suppress(OSError):
        # not through a link, and not waiting for a pipe: what is in the store is a plain file
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as source:
            data = source.read(file.bytes + 1)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        found = fault(str(path), file) or "the file was changed while it was read"
        raise AudioError(
            f"{path}: {found}, so it is not played as {prompt.id!r}; restore it from its copy, or build and publish "
            "anew: ivr-consent prompts build"
        )
    return data


def pcm_of(sound: bytes) -> bytes:
    """The samples of a WAV file of the store, which has the plain header."""
    from ivr_consent.audio.formats import WAV_HEADER

    return sound[WAV_HEADER:]


def joined(sounds: Sequence[bytes], form: str) -> bytes:
    """Files of the store one after another, as one file of the same format."""
    if form != "wav":
        return b"".join(sounds)
    made = io.BytesIO()
    with wave.open(made, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"".join(map(pcm_of, sounds)))
    return made.getvalue()


class Piece(NamedTuple):
    """One language, or one prompt of it, ready to be played or written."""

    spoken: Spoken
    prompts: Sequence[SpokenPrompt]
    sound: bytes

    def seconds(self) -> float:
        return duration(self.prompts)


_PLAYERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ffplay": ("-hide_banner", "-loglevel", "error", "-nodisp", "-autoexit", "-i"),
        "paplay": (),
        "pw-play": (),
        "aplay": ("-q",),
        "play": ("-q",),  # of sox
    }
)
"""Programs that play a WAV file, in the order in which they are tried, with what stands before the file's name."""


def players_here() -> list[str]:
    """The players that are here. Raises :class:`ConsentError` where nothing can be heard."""
    remedy = "write the sound to a file instead: --output FILE.wav"
    if not sound_is_likely():
        raise ConsentError(f"there is no sound here: neither a sound card nor a sound server; {remedy}")
    found = [name for name in _PLAYERS if shutil.which(name)]
    if not found:
        raise ConsentError(f"there is no player here: none of {', '.join(_PLAYERS)} is on the PATH; {remedy}")
    return found


def sound_is_likely() -> bool:
    """Whether there is a sound server, by its variable or its socket, or a device that plays."""
    if os.environ.get("PULSE_SERVER") or os.environ.get("PIPEWIRE_REMOTE"):
        return True
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and any((Path(runtime) / name).exists() for name in ("pulse/native", "pipewire-0")):
        return True
    return any(Path("/dev/snd").glob("pcm*p"))


def perform(piece: Piece, players: Sequence[str], *, json: bool) -> str:
    """Play with the first player that can; its name. Raises :class:`ConsentError`, :class:`typer.Exit`."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="ivr-consent-") as folder:
        file = Path(folder) / "notice.wav"
        file.write_bytes(piece.sound)
        for name in players:
            try:
                why = _run([name, *_PLAYERS[name], str(file)], piece, quiet=json)
            except KeyboardInterrupt:
                if json:
                    told = {"kind": "Interrupted", "message": "stopped by Ctrl-C", "problems": []}
                    print_json({"ok": False, "exit": INTERRUPTED, "error": told})
                else:
                    say("stopped", error=True)
                raise typer.Exit(INTERRUPTED) from None
            if not why:
                return name
            failed.append(f"{name} {why}")
    raise ConsentError(f"nothing could be played ({'; '.join(failed)}); write the sound to a file: --output FILE.wav")


def _run(command: Sequence[str], piece: Piece, *, quiet: bool) -> str:
    """Run a player to its end, telling what it says meanwhile; why it failed, ``""`` when it did not.

    Whatever happens, it does not outlive this. Raises :class:`ConsentError` for one that does not come to an end:
    the sound has been heard by then, or another one would hang on the same device.
    """
    seconds, limit = piece.seconds(), piece.seconds() + PLAYER_MARGIN_S
    process = None
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        # held back, or a Ctrl-C in this very moment would leave a player that nobody knows
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # a session of its own: Ctrl-C is for us, and we end all that it has started
            with contextlib.suppress(OSError):
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
                )
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if process is None:
                return "cannot be started"
            for begin, _, prompt in times(piece.prompts):
                if begin and _ended_before(process, started + begin):
                    break
                if not quiet:
                    say(f"{clock(begin)}  {prompt.id}: {prompt.text}")
                    sys.stdout.flush()
            if not _ended_before(process, started + limit):
                raise ConsentError(
                    f"{command[0]} did not end within {limit:.0f} s and was stopped; see whether the sound device is "
                    "free, or write the sound to a file: --output FILE.wav"
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if process is not None:
                _stop(process)
        took = time.monotonic() - started
        if process.returncode == 0 and took >= PLAYED_SHARE * seconds:
            return ""
        said.seek(max(said.seek(0, os.SEEK_END) - _SAID_BYTES, 0))
        text = " ".join(said.read().decode("utf-8", "replace").split())
    if process.returncode:
        why = f"failed with exit code {process.returncode}"
    else:
        why = f"ended after {took:.1f} of {seconds:.1f} s"
    return f"{why}: {text}" if text else why


def _ended_before(process: subprocess.Popen[bytes], at: float) -> bool:
    """Wait until a time by the monotonic clock, or until the program ends."""
    try:
        process.wait(max(at - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a player and all that it has started, and wait for it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPPING_S)
