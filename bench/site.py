"""A site of its own, and the real worker that serves it, as a process."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ivr_consent import config
from ivr_consent.cli.run import EXAMPLE
from ivr_consent.config import Settings
from ivr_consent.workshop import Workshop

PATIENCE = 60.0


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def site(home: Path, more: str = "", *, spoken: bool = False) -> Settings:
    """The shipped notice in English; ``more`` goes into the file.

    Said by a voice that takes a second a prompt, or, ``spoken``, by espeak-ng at its natural length.
    """
    path = home / "ivr-consent.toml"
    voice = f'[prompts.voices.en]\ncommand = ["{sys.executable}", "{Path(__file__).with_name("voice.py")}"]\n'
    text = EXAMPLE.replace('languages = ["en", "da"]', 'languages = ["en"]')
    path.write_text(f"[server]\nport = {free_port()}\n{text}{'' if spoken else voice}{more}")
    settings = config.load(path)
    workshop = Workshop(settings)
    workshop.build(settings.lines)
    for line in settings.lines:
        workshop.publish(line, "bench")
    return settings


@contextlib.contextmanager
def worker(settings: Settings) -> Iterator[int]:
    """The worker of ``ivr-consent serve``, ready; its process id."""
    beats, beating = os.pipe()
    watched, watching = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "ivr_consent.service", str(settings.source), str(beating), str(watched)],
        pass_fds=(beating, watched),
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(beating)
        ready, _, _ = select.select([beats], [], [], PATIENCE)
        assert ready, "the worker did not come up"
        assert os.read(beats, 1), "the worker ended"
        yield process.pid
    finally:
        process.terminate()
        process.wait(PATIENCE)
        for descriptor in (beats, watched, watching):
            os.close(descriptor)
