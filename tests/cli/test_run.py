"""``ivr-consent run`` as a program: scripted, and played by somebody at a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivr_consent.cli.run import EXAMPLE

PATIENCE = 60.0

# A voice for tests: whatever the text, an eighth of a second of a tone, so that a notice takes seconds.
TONE_VOICE = """
import math, struct, sys, wave
sys.stdin.buffer.read()
samples = [int(9000 * math.sin(2 * math.pi * 440 * n / 16000)) for n in range(2000)]
with wave.open(sys.stdout.buffer, "wb") as out:
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(16000)
    out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's configuration, in one language, with that voice."""
    directory = tmp_path_factory.mktemp("run")
    voice = directory / "voice.py"
    voice.write_text(TONE_VOICE)
    text = EXAMPLE.replace('languages = ["en", "da"]', 'languages = ["en"]')
    text += f'[prompts.voices.en]\ncommand = ["{sys.executable}", "{voice}"]\n'
    (directory / "ivr-consent.toml").write_text(text)
    return directory


def command(home: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "ivr_consent.cli.main", "run", "--home", str(home), *options]


def without_terminal(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(home, *options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_without_a_terminal_a_scripted_caller_says_yes(home: Path) -> None:
    done = without_terminal(home, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["ok"], document["result"], document["route"]) == (True, "granted", "recorded")
    assert all(segment["complete"] for segment in document["decision"]["notice"]["segments"])
    assert [event["kind"] for event in document["events"]] == ["recording_confirmed", "routed", "recording_ended"]
    assert document["recording"]["hz"] == {"left": [400], "right": [600]}
    assert "We ask for your consent" in done.stderr
    assert (home / "service.log").read_text().count('"outcome": "granted"') >= 1


def test_an_unknown_line_is_told_with_a_remedy(home: Path) -> None:
    done = without_terminal(home, "--line", "sales")
    assert done.returncode == 3
    assert "no line 'sales'" in done.stderr
    assert "--line support" in done.stderr


def test_keys_that_are_none_are_told(home: Path) -> None:
    done = without_terminal(home, "--keys", "yes")
    assert done.returncode == 2


class Terminal:
    """The program at a terminal of its own."""

    def __init__(self, arguments: list[str]) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
        )
        self.slave = slave
        self.text = ""

    def until(self, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while what not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{what!r} did not come: {self.text[-2000:]}"
            self.text += os.read(self.master, 65536).decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65536).decode("utf-8", "replace")
        return self.process.wait(1)

    @property
    def restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    found = Terminal(command(home))
    yield found
    found.close()


def test_keys_count_as_they_are_typed_and_the_terminal_is_restored(terminal: Terminal) -> None:
    terminal.until("the controller of the")
    assert not terminal.restored
    terminal.type("2")
    terminal.until("pressed 2")
    terminal.until("on the unrecorded line")
    terminal.type("h")
    assert terminal.end() == 0, terminal.text
    assert "declined: the unrecorded line" in terminal.text
    assert "nothing of this call is in" in terminal.text
    assert terminal.restored


@pytest.mark.parametrize("how", ["h", signal.SIGINT, signal.SIGTERM])
def test_hanging_up_in_any_way_is_a_decision_and_restores_the_terminal(
    terminal: Terminal, how: str | signal.Signals
) -> None:
    terminal.until("the controller of the")
    if isinstance(how, str):
        terminal.type(how)
    else:
        terminal.process.send_signal(how)
    assert terminal.end() == 0, terminal.text
    assert "abandoned: the unrecorded line" in terminal.text
    assert terminal.restored
