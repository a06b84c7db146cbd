"""What fails round a call: every caller reaches the unrecorded line, or, after a durable grant, the log explains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ivr_consent.core.steps import Logged
from ivr_consent.pbx.asterisk.dialplan import render_include
from ivr_consent.store import lifecycle
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.reader import CallRecord, LedgerReader
from tests.live.support import DEADLINE_S, DIALPLAN, Site, until_log

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLACES = (
    "ANSWER",
    "/controller",
    "/withdrawal",
    "/training-question",
    "WAIT FOR DIGIT",
    "GET FULL VARIABLE",
    "MixMonitor",
    "/result-granted",
)
"""Commands of the flow at whose beginning the server is killed, first to last."""


async def test_server_refused(own: Site) -> None:
    """R6: nobody listens."""
    own.server.stop()
    async with own.call("support") as call:
        await call.unrecorded_line()
        assert call.told == {"Result": "failed", "Reason": "server_failed", "Call": ""}
        assert call.created() == []


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Somebody else on our port: each connection is handed to ``serve`` in a thread of its own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(DEADLINE_S)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(DEADLINE_S)
                    serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def close_at_once(_: socket.socket) -> None:
    return


def close_after_one_command(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"ANSWER\n")
    connection.recv(65536)


def half_a_line(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"STREAM FI")


def reset(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"ANSWER\n")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("serve", [close_at_once, close_after_one_command, half_a_line, reset])
async def test_a_server_that_closes(own: Site, serve: Callable[[socket.socket], None]) -> None:
    """R6: AGISTATUS says SUCCESS then; the dialplan does not ask it."""
    with listening(serve) as port:
        settings = own.settings.model_copy(update={"server": own.settings.server.model_copy(update={"port": port})})
        await own.pbx.reload_dialplan(render_include(settings) + DIALPLAN)
        async with own.call("support") as call:
            await call.unrecorded_line()
            assert call.created() == []


async def test_a_hanging_server_is_escaped_by_the_dialplan_alone(own: Site) -> None:
    """R6: watcher and worker stopped with SIGSTOP in the notice; the absolute timeout takes the call to T.

    Takes up to the lease of 15 s after the step under way, and the time that is allowed before it is moved on.
    """
    async with own.call("support") as call:
        await call.prompt("retention")
        own.server.kill_group(signal.SIGSTOP)
        began = time.monotonic()
        await call.phone.wait_tone(1200, 60)
        assert call.told is not None
        assert (call.told["Result"], call.told["Reason"]) == ("failed", "server_hangs")
        assert time.monotonic() - began < 40
        assert call.created() == []


async def test_a_server_that_hangs_before_the_first_word(own: Site) -> None:
    """R6: a new call meets a stopped server; it accepts (the kernel does) and says nothing. 15 s by the dialplan."""
    own.server.kill_group(signal.SIGSTOP)
    async with own.call("support") as call:
        await call.phone.wait_tone(1200, 60)
        assert call.told is not None
        assert call.told["Reason"] == "server_hangs"
        assert call.created() == []


async def test_a_hanging_worker_is_killed_and_started_anew_within_seconds(own: Site) -> None:
    """R6: the watcher notices silence, kills, restarts; the call under way goes on unrecorded, the next is asked."""
    async with own.call("support") as call:
        await call.prompt("retention")
        os.kill(own.server.worker(), signal.SIGSTOP)
        began = time.monotonic()
        await call.unrecorded_line()
        assert time.monotonic() - began < 15
    await own.server.listening(times=2)
    async with own.call("support") as call:
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()


@pytest.mark.parametrize("place", PLACES)
async def test_killed_at_each_step(own: Site, place: str) -> None:
    """R6, I1, I4: SIGKILL of watcher and worker; unrecorded line, no recorder runs on, and the log explains a grant."""
    async with own.call("support") as call:
        nth = 2 if place == "GET FULL VARIABLE" else 1  # the second echo is the one before the recorder
        pressing = asyncio.create_task(press_yes(call))
        await call.until(place, nth)
        own.server.kill_group()
        await call.unrecorded_line()
        pressing.cancel()
        await asyncio.gather(pressing, return_exceptions=True)
        running = await own.pbx.cli("core show channels concise")
        channel = next(line.split("!")[0] for line in running.splitlines() if line.startswith("PJSIP/"))
        assert "0x" not in await own.pbx.cli(f"mixmonitor list {channel}")
        await own.server.start()
        assert call.told is not None
        assert call.told["Result"] == "failed"
        records = own.records()
        may_be_granted = place in ("GET FULL VARIABLE", "MixMonitor", "/result-granted")
        assert bool(records) is may_be_granted or place == "GET FULL VARIABLE", (
            "on disk before the recorder, not before"
        )
    if records:
        # What the next server finds: the log comes to a closing event that says the caller went on unrecorded.
        ledger = Ledger(own.home / "decisions.db")
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(lifecycle, "YOUNG_S", 0.0)
                async with asyncio.timeout(DEADLINE_S):
                    while not await asyncio.to_thread(lifecycle.sweep, ledger, own.recordings, frozenset()):
                        await asyncio.sleep(0.1)  # until the switch has closed the file
        finally:
            ledger.close()
        (record,) = own.records()
        assert record.decision.outcome == "granted"
        assert (record.route, record.recording in ("stopped", "missing")) == ("unrecorded", True)
    assert list(own.recordings.iterdir()) == [], "something was recorded"


async def test_a_server_that_hangs_at_the_end_of_a_recording_holds_nobody(own: Site) -> None:
    """R6: the end is reported on a channel of its own; the caller goes on at once."""
    async with own.call("goeson") as call:
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
        own.server.kill_group(signal.SIGSTOP)
        await call.unrecorded_line()
        own.server.kill_group(signal.SIGCONT)
        record = await call.record(kind="recording_ended")
    assert record.later[-1].payload["milliseconds"] > 500


async def test_a_switch_without_the_recorders_module(own: Site) -> None:
    """R6: the gate's own stop command must not end the call where MixMonitor is not loaded."""
    await own.pbx.cli("module unload app_mixmonitor.so")
    async with own.call("support") as call:
        await call.prompt("retention")
        await call.phone.press("2")
        await call.unrecorded_line()
    async with own.call("support") as call:
        await call.window()
        await call.phone.press("1")
        await call.unrecorded_line()
        record = await call.record(kind="recording_not_confirmed")
    assert record.route == "unrecorded"


async def press_yes(call: object) -> None:
    from tests.live.support import LiveCall

    assert isinstance(call, LiveCall)
    await call.window()
    await call.phone.press("1")


async def test_prompt_missing(own: Site) -> None:
    """R2, R6: a file that vanishes in a call; -1 without a hang-up is a missing prompt, not a caller gone."""
    prompt = Path(own.prompt("retention").path)
    copy = own.home / "audio"
    # A copy of the shared audio for this site alone, so that no other test misses the file.
    shutil.copytree(own.settings.path(own.settings.prompts.audio), copy)
    text = (own.home / "ivr-consent.toml").read_text()
    (own.home / "ivr-consent.toml").write_text(
        text.replace(f'audio = "{own.settings.prompts.audio}"', 'audio = "audio"')
    )
    own.server.stop()
    await own.server.start()
    await until_log(own.server, "manager_up")
    async with own.call("support") as call:
        await call.prompt("controller")
        shutil.rmtree(copy / prompt.parent.relative_to(own.settings.path(own.settings.prompts.audio)))
        await call.unrecorded_line()
        record = await call.record()
        assert call.created() == []
    assert (record.decision.outcome, record.decision.payload["reason"]) == ("failed", "prompt_missing")
    for restart in (False, True):  # found at once, and on the next start
        if restart:
            own.server.stop()
            await own.server.start()
        async with own.call("support") as call:
            await call.unrecorded_line()
            record = await call.record()
        assert record.decision.payload["reason"] == "line_not_ready"


async def test_manager_link_cut(own: Site) -> None:
    """R6: the link goes down in a call; a guard time stands in for it from the next question on."""
    async with own.call("support") as call:
        await call.prompt("controller")
        await own.relay.cut()
        await until_log(own.server, "manager_down")
        await call.window(2)  # the first wait is the guard time
        await call.phone.press("1")
        await call.recorded_line()
        record = await call.record(kind="routed")
    assert record.decision.payload["answers"][0]["timing"] == "guard"


async def test_manager_link_cut_between_the_window_and_the_key(own: Site) -> None:
    """R3: the window opened with the link up; the press is told by nobody, so it grants nothing, and is asked again."""
    async with own.call("support") as call:
        await call.window()
        await own.relay.cut()
        await until_log(own.server, "manager_down")
        await call.phone.press("1")
        await call.window(3)
        assert call.created() == []
        await call.phone.press("1")
        await call.recorded_line()
        record = await call.record(kind="routed")
    assert record.decision.payload["answers"][0]["early_keys"] == 1


@pytest.fixture
def disk(own: Site) -> Iterator[Path]:
    """The log's folder on a file system of its own, 1 MiB, for as long as the test takes."""
    own.server.stop()
    folder = own.home / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small file system: no full or read-only disk to be had")
    path = own.home / "ivr-consent.toml"
    path.write_text(path.read_text() + f'\n[log]\npath = "{folder}/decisions.db"\n')
    try:
        yield folder
    finally:
        own.server.stop()
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


async def test_log_on_a_full_disk(own: Site, disk: Path) -> None:
    """R6, R23: a yes cannot be written: no recorder, unrecorded line; when there is room again, the log says so."""
    await own.server.start()
    filler = disk / "filler"
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(2 << 20))
    # What was written before has left room in the write-ahead log, in which a decision is as durable as anywhere.
    spare = Ledger(disk / "decisions.db")
    while await asyncio.to_thread(spare.note_now, "0" * 32, "support", "filler", {"text": "x" * 2000}) == Logged():
        pass
    await asyncio.to_thread(spare.close)
    async with own.call("support") as call:
        await call.window()
        await call.phone.press("1")
        await call.unrecorded_line()
        assert call.told is not None
        assert (call.told["Result"], call.told["Reason"]) == ("failed", "log_not_written")
        assert call.created() == []
        assert call.count("MixMonitor") == 0
    filler.unlink()
    async with asyncio.timeout(DEADLINE_S):
        while not (records := logged(disk)):
            await asyncio.sleep(0.1)  # the refused decision is tried again every few seconds
    assert (records[0].decision.outcome, records[0].decision.payload["reason"]) == ("failed", "log_not_written")


def logged(disk: Path) -> list[CallRecord]:
    with LedgerReader(disk / "decisions.db") as reader:
        return list(reader.calls())


async def test_log_on_a_read_only_disk(own: Site, disk: Path) -> None:
    """R6: a service whose log lies on a read-only disk refuses to start and says why; callers go on unrecorded."""
    await own.server.start()
    own.server.stop()
    remount = await asyncio.create_subprocess_exec("mount", "-o", "remount,ro", str(disk))
    assert await remount.wait() == 0
    await own.server.start(wait=False)
    assert own.server.process is not None
    assert await asyncio.to_thread(own.server.process.wait, DEADLINE_S) == 5
    assert "read-only" in own.server.log.lower()
    async with own.call("support") as call:
        await call.unrecorded_line()
        assert call.created() == []
