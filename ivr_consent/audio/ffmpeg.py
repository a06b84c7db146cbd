"""Running ffmpeg: one command line, one set of bounds, and what this machine's ffmpeg can write."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path

from ivr_consent.audio.formats import FORMATS, OPTIONAL_FORMATS, RATE
from ivr_consent.audio.speech import CommandError, run_bounded
from ivr_consent.core.errors import AudioError

INSTALL_FFMPEG = "install ffmpeg: apt-get install ffmpeg"
TIMEOUT_S = 60.0
MAX_PROMPT_S = 300.0
"""Longest prompt: five minutes without a choice are more than anybody listens to."""

MAX_OUTPUT = int((MAX_PROMPT_S + 10) * 48_000 * 2)  # bytes: the widest sound of the longest prompt, and its silences

# One thread: the build runs as many programs as there are processors, and each is small.
COMMAND = (
    *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-threads", "1"),
    *("-filter_threads", "1", "-filter_complex_threads", "1", "-protocol_whitelist", "file,pipe"),
)

# The telephone band. To 16 kHz first, also for a voice of 8 kHz: so the steep cut at 0.85 x 4000 Hz holds for every
# source.
WIDE = "aresample=16000:filter_size=64"
NARROW = "highpass=f=200:p=2,aresample=8000:filter_size=128:cutoff=0.85"
LIMIT_AT = 0.66  # of full scale, -3.6 dBFS: a little under -3 for the coding noise of A-law and mu-law
LIMIT_DELAY_MS = 5  # its attack, by which it delays
LIMIT_RELEASE_MS = 50
LIMIT = (
    "aformat=sample_fmts=dbl:channel_layouts=mono,"
    f"alimiter=limit={LIMIT_AT}:attack={LIMIT_DELAY_MS}:release={LIMIT_RELEASE_MS}:level=0,"
    "aformat=sample_fmts=s16"
)


# To a pipe ffmpeg writes every packet by itself, of a few milliseconds, unless it is told to wait for more.
TO_PIPE = ("-flush_packets", "0", "pipe:1")


def pcm_input(rate: int) -> list[str]:
    """Options for 16-bit mono PCM of ``rate`` Hz on standard input."""
    return ["-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0"]


def run(
    options: Sequence[str], data: bytes, *, stop: threading.Event | None = None, folder: Path | None = None
) -> bytes:
    """Run ffmpeg with ``data`` on its standard input, in ``folder``; returns its standard output.

    Raises :class:`AudioError` when it is missing, fails, hangs, or writes more than a prompt can be.
    """
    try:
        argv = [*COMMAND, *options]
        return run_bounded(argv, data, timeout_s=TIMEOUT_S, max_output=MAX_OUTPUT, stop=stop, folder=folder)
    except CommandError as error:
        raise AudioError(f"{error}. If it is missing, {INSTALL_FFMPEG}") from None


@functools.lru_cache(maxsize=1)
def available_formats() -> frozenset[str]:
    """The formats that this machine's ffmpeg writes. Raises :class:`AudioError` when it is missing or lacks one."""
    try:
        listing = run_bounded(["ffmpeg", "-hide_banner", "-encoders"], b"", timeout_s=20, max_output=1 << 20)
    except CommandError as error:
        raise AudioError(f"{error}. If it is missing, {INSTALL_FFMPEG}") from None
    encoders = {words[1] for line in listing.decode("utf-8", "replace").splitlines() if len(words := line.split()) > 1}
    found = {name for name, form in FORMATS.items() if form.encoder in encoders}
    for name in sorted(FORMATS.keys() - found - OPTIONAL_FORMATS):
        raise AudioError(
            f"this ffmpeg has no encoder {FORMATS[name].encoder}. Use the distribution's: {INSTALL_FFMPEG}"
        )
    return frozenset(found)


def telephone_band(pcm: bytes, rate: int) -> bytes:
    """Resample 16-bit mono PCM of ``rate`` Hz to 8 kHz through the very filters that prompts go through.

    Returns 16-bit PCM, limited to 200–3400 Hz and to -3.6 dBFS, neither levelled nor padded.
    """
    graph = f"aformat=sample_fmts=fltp,{WIDE},{NARROW},{LIMIT}"
    return run([*pcm_input(rate), "-af", graph, "-f", "s16le", "-ar", str(RATE), *TO_PIPE], pcm)
