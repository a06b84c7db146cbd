"""Callers by the hundred: Debian's sipp in the rig's folder, nothing installed, with callers written by us.

sipp (seen: 3.7.3 of Debian 13) plays one scenario for many calls, at a rate. A scenario is
made here from what a caller does: listens so long, presses keys, hangs up or listens until the other side ends. Who
calls, number and name of each call, stands in a file beside it.

Keys go out in one of two ways:

- ``rfc4733``: telephone events between the caller's audio, one RTP stream. sipp sends a recording of it, made here,
  through a raw socket, which needs root or CAP_NET_RAW. Its own ``play_dtmf`` is not used: a second press in one call
  has the timestamp of the first, and beside audio every key arrives twice.
- ``info``: SIP INFO, while the audio plays; needs no rights.
"""

from __future__ import annotations

import asyncio
import csv
import os
import random
import signal
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ivr_consent.testing.loop_thread import refuse_in_coroutine
from ivr_consent.testing.phone import Address, tone_samples, ulaw_encode
from ivr_consent.testing.rig import Held, Progress, fetch_packages, own_loader
from ivr_consent.testing.sipp_scenario import (
    ANSWER_S,
    LISTENS_MS,
    TAG_HEADER,
    TONE_HZ,
    Press,
    Step,
    Wait,
    Way,
    milliseconds,
    scenario,
    write_audio,
)

__all__ = [
    "TAG_HEADER",
    "Callers",
    "Press",
    "Results",
    "Sipp",
    "Step",
    "Wait",
    "Way",
    "Who",
    "fetch_sipp",
    "raw_sockets",
]

STOP_S: Final = 5.0

_SUITE: Final = "trixie"
_PACKAGES: Final = ("sip-tester",)
_MEDIA_PORTS: Final = (61000, 64000, 65500)  # the first is one of the first two; sipp goes on from there, to the last
_UNWRITABLE: Final = frozenset(";\r\n\0")


@dataclass(frozen=True, slots=True)
class Who:
    """Who calls: the user part of the address and the display name, byte for byte as they go out.

    A semicolon and a line break cannot be written: sipp's file has lines of fields.
    """

    number: str = "4512345678"
    name: str = ""
    tag: str = ""

    def __post_init__(self) -> None:
        for text in (self.number, self.name, self.tag):
            if _UNWRITABLE & set(text):
                raise ValueError(f"{text!r} has a semicolon or a line break, which sipp's file of callers cannot hold")


@dataclass(frozen=True, slots=True)
class Results:
    """What became of the calls so far. ``failures``: sipp's reasons with their counts; ``problems``: its last words."""

    placed: int = 0
    up: int = 0
    succeeded: int = 0
    failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    exit_code: int | None = None
    problems: str = ""


# --- The program -----------------------------------------------------------------------------------------------------


def fetch_sipp(*, progress: Progress | None = None) -> list[str]:
    """The command that runs sipp; downloads about 7 MB the first time. Blocks. Raises :class:`RigUnavailable`."""
    root = fetch_packages("sipp", _SUITE, _PACKAGES, progress=progress)
    loader, libraries = own_loader(root)
    return [str(loader), "--library-path", libraries, str(root / "usr/bin/sipp")]


def raw_sockets() -> bool:
    """Whether this process may send what ``rfc4733`` needs."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except OSError:
        return False
    return True


# --- Calls -----------------------------------------------------------------------------------------------------------


class Sipp:
    """Calls of one behaviour to one number: ``calls`` of them, ``rate`` new ones a second.

    Use it as an async context manager, or `start` and `stop`. It has a directory of its own, which is gone with it.
    ``who``: one for each call; one alone stands for all of them. ``way``: how keys go out; ``None``: as telephone
    events where this process may, else as INFO. Without ``hangs_up`` the caller listens until the other side ends the
    call. Raises :class:`RigUnavailable` on `start` where sipp cannot be fetched.
    """

    def __init__(
        self,
        server: Address,
        steps: Sequence[Step],
        *,
        to: str = "100",
        calls: int = 1,
        rate: float = 1.0,
        who: Sequence[Who] = (Who(),),
        hangs_up: bool = True,
        way: Way | None = None,
    ) -> None:
        if len(who) not in (1, calls):
            raise ValueError(f"{calls} calls have {len(who)} callers; give one for each, or one for all")
        self.server, self.steps, self.to, self.calls, self.rate = server, tuple(steps), to, calls, rate
        self.who, self.hangs_up = tuple(who), hangs_up
        self.way: Way = way or ("rfc4733" if raw_sockets() else "info")
        self._held: Held | None = None
        self._results = Results()

    async def __aenter__(self) -> Sipp:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def lasts_s(self) -> float:
        """How long a call lasts that nobody else ends, from the answer on."""
        listens = 0 if self.hangs_up else LISTENS_MS
        return (sum(milliseconds(step) for step in self.steps) + listens) / 1000

    async def start(self) -> None:
        """Place the first call; the others follow."""
        program = await asyncio.to_thread(fetch_sipp)
        directory = Path(tempfile.mkdtemp(prefix="sipp"))
        self._held = Held(directory)
        weakref.finalize(self, Held.discard, self._held)
        await asyncio.to_thread(self._write, directory)
        process = await asyncio.to_thread(self._spawn, [*program, *self._arguments()], directory)
        self._held.watch_over(process)

    def _write(self, directory: Path) -> None:
        audio = directory / "caller"
        if self.way == "rfc4733":
            write_audio(audio, self.steps, 0 if self.hangs_up else LISTENS_MS)
        else:
            audio.write_bytes(ulaw_encode(tone_samples([TONE_HZ], 1.0)))
        text = scenario(self.steps, self.way, audio, hangs_up=self.hangs_up)
        (directory / "scenario.xml").write_text(text, encoding="utf-8")
        lines = [f"{one.number};{one.name};{one.tag}" for one in self.who]
        (directory / "who.csv").write_text(
            "\n".join(["SEQUENTIAL", *lines, ""]), encoding="utf-8", errors="surrogateescape"
        )

    def _arguments(self) -> list[str]:
        host, port = self.server
        first = random.randrange(_MEDIA_PORTS[0], _MEDIA_PORTS[1], 2)  # noqa: S311 - several run side by side
        every_ms = max(round(1000 / self.rate), 1)
        return [
            f"{host}:{port}", "-i", host, "-mi", host, "-s", self.to,
            "-sf", "scenario.xml", "-inf", "who.csv",
            "-m", str(self.calls), "-l", str(self.calls), "-r", "1", "-rp", str(every_ms),
            "-min_rtp_port", str(first), "-max_rtp_port", str(_MEDIA_PORTS[2]),
            "-recv_timeout", str(round(ANSWER_S * 1000)), "-max_retrans", "5",
            "-trace_stat", "-stf", "statistics.csv", "-fd", "1", "-trace_err", "-error_file", "errors.log", "-nostdin",
        ]  # fmt: skip  # rows that belong together

    @staticmethod
    def _spawn(command: list[str], directory: Path) -> subprocess.Popen[bytes]:
        with (directory / "output").open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TERM": "dumb"},
                start_new_session=True,
            )

    @property
    def results(self) -> Results:
        """What is known now: sipp writes its statistics once a second, and at its end."""
        held = self._held
        if held is not None and held.process is not None:
            self._results = _read(held.directory, held.process.poll())
        return self._results

    @property
    def running(self) -> bool:
        return self._held is not None and self._held.process is not None and self._held.process.poll() is None

    async def wait(self, seconds: float) -> Results:
        """Wait until all calls are over. Raises :class:`TimeoutError`."""
        process = self._held.process if self._held is not None else None
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, seconds)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"sipp's calls are not over after {seconds:.0f} s: {self.results}") from None
        return self.results

    def place_no_more(self) -> None:
        """Those that are up go on to their end."""
        held = self._held
        if held is not None and held.process is not None and held.process.poll() is None:
            held.process.send_signal(signal.SIGUSR1)

    async def stop(self) -> None:
        """End it; calls that are up are left as if the telephone had lost its power."""
        if self._held is not None:
            _ = self.results
            await asyncio.to_thread(self._held.discard)
            self._held = None


class Callers:
    """What the fixture ``sipp`` is: places calls and waits until all are over. ``run`` does a coroutine's work."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Results]], Results]) -> None:
        self._run = run

    def __call__(
        self,
        server: Address,
        *steps: Step,
        to: str = "100",
        calls: int = 1,
        rate: float = 1.0,
        who: Sequence[Who] = (Who(),),
        hangs_up: bool = True,
        way: Way | None = None,
        seconds: float = 60.0,
    ) -> Results:
        """As :class:`Sipp`. Raises :class:`TimeoutError` where calls go on after so many ``seconds``."""
        refuse_in_coroutine()
        made = Sipp(server, steps, to=to, calls=calls, rate=rate, who=who, hangs_up=hangs_up, way=way)
        return self._run(_whole(made, seconds))


async def _whole(made: Sipp, seconds: float) -> Results:
    async with made:
        return await made.wait(seconds)


def _read(directory: Path, exit_code: int | None) -> Results:
    """The last line of sipp's statistics; the columns with (C) count from the beginning."""
    problems = ""
    for name in ("errors.log", "output"):
        path = directory / name
        if not problems and path.exists() and (name != "output" or exit_code not in (None, 0)):
            problems = path.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    path = directory / "statistics.csv"
    if not path.exists():
        return Results(exit_code=exit_code, problems=problems)
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file, delimiter=";") if (row.get("Warnings(C)") or "").isdigit()]
    last = rows[-1] if rows else {}

    def number(name: str) -> int:
        return int(last.get(name) or 0)

    failures = {
        name.removeprefix("Failed").removesuffix("(C)"): number(name)
        for name in last
        if name and name.startswith("Failed") and name.endswith("(C)") and name != "FailedCall(C)" and number(name)
    }
    return Results(
        placed=number("TotalCallCreated"),
        up=number("CurrentCall"),
        succeeded=number("SuccessfulCall(C)"),
        failed=number("FailedCall(C)"),
        failures=failures,
        exit_code=exit_code,
        problems=problems,
    )
