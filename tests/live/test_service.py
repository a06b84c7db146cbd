"""``ivr-consent serve`` as a process: wrong configuration, reload, draining."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from ivr_consent import config
from tests.live.support import DEADLINE_S, LiveCall, Site, publish, until_log

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_wrong_configuration_does_not_start(own: Site) -> None:
    """Key, what was found, what is allowed, what to do; exit code 3; callers go on unrecorded."""
    own.server.stop()
    path = own.home / "ivr-consent.toml"
    path.write_text(
        path.read_text().replace("repeats = 1", 'repeats = "often"').replace("drain_seconds", "drian_seconds")
    )
    await own.server.start(wait=False)
    assert own.server.process is not None
    assert await asyncio.to_thread(own.server.process.wait, DEADLINE_S) == 3
    for said in ("lines.support.repeats", "'often'", "server.drian_seconds", "drain_seconds"):
        assert said in own.server.log
    async with own.call("support") as call:
        await call.unrecorded_line()
        assert call.created() == []


async def test_reload(own: Site) -> None:
    """A bad one leaves the old in force, and says why; a call under way keeps what it began with."""
    path = own.home / "ivr-consent.toml"
    good = path.read_text()
    assert own.server.process is not None
    path.write_text(good.replace("repeats = 1", "repeats = 99"))
    own.server.process.send_signal(signal.SIGHUP)
    await until_log(own.server, "reload_refused")
    assert "lines.support.repeats" in own.server.log
    # Each reload has the whole notice to happen in: the window would be over before one on a slow machine.
    async with own.call("support") as call:
        await call.until("STREAM FILE")
        path.write_text(good.replace("[lines.support]", '[lines.support]\nkeys = { yes = "7", no = "8" }'))
        # Other keys than the published version says: with them the line would not be ready.
        own.server.process.send_signal(signal.SIGHUP)
        await until_log(own.server, "lines.support.keys.yes")
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
    await asyncio.to_thread(publish, config.load(path))
    async with own.call("support") as call:  # the old is in force
        await call.until("STREAM FILE")
        own.server.process.send_signal(signal.SIGHUP)
        await until_log(own.server, '"reloaded"')
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
        old = await call.record()
    async with own.call("support") as call:
        await call.window()
        await call.phone.press("7")
        await call.recorded_line()
        new = await call.record()
    versions = [record.decision.payload["notice"]["version"] for record in (old, new)]
    assert versions == [1, 2]


async def test_draining(own: Site) -> None:
    """SIGTERM: new calls are refused and go on unrecorded, the call under way comes to its end, exit code 0."""
    assert own.server.process is not None
    async with own.call("support") as under_way:
        await under_way.prompt("training-question")
        own.server.process.terminate()
        await until_log(own.server, '"stopping"')
        await asyncio.gather(refused(own), agreed(under_way))
        assert await asyncio.to_thread(own.server.process.wait, DEADLINE_S) == 0
        record = await under_way.record(kind="routed")
    assert record.route == "recorded"


async def refused(own: Site) -> None:
    async with own.call("support") as late:
        await late.unrecorded_line()


async def agreed(call: LiveCall) -> None:
    await call.window()
    await call.phone.press("1")
    await call.recorded_line()


async def test_the_worker_dies_with_its_watcher(own: Site) -> None:
    """SIGKILL of the watcher alone: no worker stays behind that nobody watches."""
    worker = own.server.worker()
    assert own.server.process is not None
    own.server.process.kill()
    async with asyncio.timeout(DEADLINE_S):
        while os.path.exists(f"/proc/{worker}/fd/0"):  # noqa: PTH110 - a dead process waiting for init has none
            await asyncio.sleep(0.02)


async def test_a_recording_of_a_server_that_died_is_finished_by_the_next(own: Site) -> None:
    """R22: killed while caller and agent talk; the recording goes on by the caller's consent and is finished later.

    The next server looks for such recordings at its start; a grant younger than a minute it leaves alone, so this test
    asks the command for it, with the grant made old by its clock.
    """
    async with own.call("support") as call:
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
        await call.record(kind="routed")
        own.server.kill_group()
        await asyncio.sleep(0.5)  # real time: they talk
    from ivr_consent.store import lifecycle
    from ivr_consent.store.ledger import Ledger

    ledger = Ledger(own.home / "decisions.db")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lifecycle, "YOUNG_S", 0.0)
            async with asyncio.timeout(DEADLINE_S):
                while not await asyncio.to_thread(lifecycle.sweep, ledger, own.recordings, frozenset()):
                    await asyncio.sleep(0.1)  # until the switch has closed the file
    finally:
        ledger.close()
    record = await call.record(kind="recording_ended")
    assert record.later[-1].payload["milliseconds"] > 300
