"""An event loop in a thread of its own, so that a test without asyncio can use what needs one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

START_S: Final = 30.0
STOP_S: Final = 30.0

T = TypeVar("T")


def refuse_in_coroutine() -> None:
    """Raises :class:`RuntimeError` where an event loop runs, which would stand still meanwhile."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "this waits for a whole call, and the test's own event loop would stand still meanwhile; "
        "in a coroutine write: await asyncio.to_thread(call, …)"
    )


class LoopThread:
    """A loop that runs until :meth:`stop`; then what is still under way is cancelled."""

    def __init__(self) -> None:
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="switch", daemon=True)
        self._end: asyncio.Event | None = None
        self._thread.start()
        self._loop.result(START_S)

    async def _main(self) -> None:
        self._end = asyncio.Event()
        self._loop.set_result(asyncio.get_running_loop())
        await self._end.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there and wait for it; what it raises is raised here. It is to have deadlines of its own."""
        done = asyncio.run_coroutine_threadsafe(work, self._loop.result())
        try:
            return done.result()
        except BaseException:
            done.cancel()  # a test that was interrupted
            raise

    def stop(self) -> None:
        """End it."""
        assert self._end is not None
        self._loop.result().call_soon_threadsafe(self._end.set)
        self._thread.join(STOP_S)
