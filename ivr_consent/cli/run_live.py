"""A call through a real switch for ``ivr-consent run``, whichever switch it is: its caller, its talk, its secret."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ivr_consent.cli.files import write_new

if TYPE_CHECKING:
    from ivr_consent.config import Settings


class Call(Protocol):
    """A caller's call, as whoever placed it has it."""

    @property
    def up(self) -> bool:
        """Answered and not over."""
        ...

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        ...

    async def hang_up(self) -> None:
        """Hang up; nothing when it is over."""
        ...


class Caller(Protocol):
    """Whoever called, for the keyboard."""

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        ...

    def hang_up(self) -> None:
        """Hang up."""
        ...


class Show(Protocol):
    """Where a person reads what goes on."""

    def line(self, text: str) -> None:
        """One line."""
        ...


class Stage(Protocol):
    """What is shown and pressed: the part of it that a switch needs."""

    settings: Settings
    line: str
    caller: Caller | None
    gone: asyncio.Event

    @property
    def show(self) -> Show:
        """The screen."""
        ...

    def through(self, route: str) -> float:
        """The dialplan has gone on; how long to talk."""
        ...


@contextlib.contextmanager
def secret_file(path: Path, secret: str) -> Iterator[None]:
    """A file that only its owner reads, in place of one that an earlier run left; gone afterwards."""
    path.unlink(missing_ok=True)
    write_new(path, secret, 0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


async def play(stage: Stage, call: Call, through: Coroutine[Any, Any, str], gone: Coroutine[Any, Any, None]) -> None:
    """Let the stage play this call to its end, and hang up.

    ``through`` ends with the route once caller and agent hear each other, ``gone`` when the call is over; whatever
    either raises means that it did not come to that.
    """
    caller = _TakingTime(call)
    stage.caller = caller
    if stage.gone.is_set():
        caller.hang_up()
    talking, over = asyncio.create_task(through), asyncio.create_task(gone)
    try:
        await asyncio.wait({talking, over}, return_when=asyncio.FIRST_COMPLETED)
        if call.up and talking.done() and talking.exception() is None:
            await asyncio.wait({over}, timeout=stage.through(talking.result()))
        await call.hang_up()
    finally:
        for task in (talking, over):
            task.cancel()
        await asyncio.gather(talking, over, return_exceptions=True)
        await caller.close()


class _TakingTime:
    """A call for the keyboard: what it does takes time, and one key is down at a time."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_key = asyncio.Lock()

    def press(self, key: str) -> None:
        self._do(self._press(key))

    def hang_up(self) -> None:
        self._do(self._call.hang_up())

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _press(self, key: str) -> None:
        async with self._one_key:
            if self._call.up:
                await self._call.press(key)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
