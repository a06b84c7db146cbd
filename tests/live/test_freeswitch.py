"""The gate on a real FreeSWITCH, where the machine has one: who is recorded, what fails, and where callers go then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from ivr_consent import config
from ivr_consent.cli.run import EXAMPLE
from ivr_consent.testing.freeswitch_rig import AGENT_HZ, CALLER_HZ, RigCall
from ivr_consent.testing.wav import read_wav
from tests.live.freeswitch import Site, site
from tests.live.support import DEADLINE_S, TONE_VOICE, at_once, publish, shared_audio

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN_HZ = 1000
"""A caller's tone far from every other, the prompts' 440 Hz among them."""

LEASE_S = 15
"""After so long the switch takes a call back from a server that hangs."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def there() -> AsyncIterator[Site]:
    """A running site, for all tests that do not break it."""
    async with site() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def own_there() -> AsyncIterator[Site]:
    """A site for one test alone, which may break it."""
    async with site() as running:
        yield running


async def said_yes(call: RigCall) -> None:
    """Listen to the end, and press the key for yes in the window."""
    await call.window()
    await asyncio.sleep(0.5)  # real time: the window is open
    await call.press("1")


async def test_yes_is_recorded_with_the_sides_apart(there: Site) -> None:
    """R1, R3, R22: after a yes the file has the caller left, the agent right, nothing of the notice; log complete."""
    with there.watched() as eye:
        call = await there.rig.call(hz=OWN_HZ)
        await call.window()
        assert eye.created == []
        await asyncio.sleep(0.5)  # real time: the window is open
        await call.press("1")
        assert await call.reached() == "recorded"
        await call.bridged()
        await asyncio.sleep(1.5)  # real time: caller and agent talk
        await call.hang_up()
        record = await there.record(call, kind="recording_ended")
    decision = record.decision.payload
    assert (record.decision.outcome, record.route, decision["call"]["switch"]) == ("granted", "recorded", "freeswitch")
    assert decision["answers"][0]["after_ms"] >= 0
    assert all(segment["complete"] for segment in decision["notice"]["segments"])
    assert call.number not in str(record)
    ended = record.later[-1].payload
    wav = read_wav(there.recordings / ended["file"])
    assert len(wav.channels) == 2
    assert ended["milliseconds"] == pytest.approx(1500, abs=700)
    for windows, side, other in ((wav.windows(0), OWN_HZ, AGENT_HZ), (wav.windows(1), AGENT_HZ, OWN_HZ)):
        assert len([window for window in windows if window.has(side)]) >= len(windows) - 3
        assert not any(window.has(other) or window.has(440) for window in windows)


async def test_anything_else_creates_no_file(there: Site) -> None:
    """R1, R3, R6, I4: no, a wrong key, silence, an early key and a hang-up: unrecorded, and no file was ever there."""

    async def key_in_window(key: str) -> RigCall:
        call = await there.rig.call()
        await call.window()
        await asyncio.sleep(0.4)  # real time: the window is open
        await call.press(key)
        assert await call.reached() == "unrecorded"
        return call

    async def no_key() -> RigCall:
        call = await there.rig.call()
        assert await call.reached() == "unrecorded"
        return call

    async def early_yes() -> RigCall:
        call = await there.rig.call()
        await call.plays("prompt", nth=3)
        await call.press("1")
        assert await call.reached() == "unrecorded"
        return call

    async def gone() -> RigCall:
        call = await there.rig.call()
        await call.plays("prompt", nth=2)
        await call.hang_up()
        await call.ended()
        return call

    with there.watched() as eye:
        calls = await at_once(
            {
                "declined": key_in_window("2"),
                "invalid": key_in_window("7"),
                "no_answer": no_key(),
                "early": early_yes(),
                "abandoned": gone(),
            }
        )
        for expected, call in calls.items():
            record = await there.record(call)
            # A yes before the question never counts: here the caller then says nothing more.
            outcomes = ("no_answer", "invalid") if expected == "early" else (expected,)
            assert record.decision.outcome in outcomes, expected
            assert (record.route, record.recording) == ("unrecorded", "none")
            if expected != "abandoned":
                assert "session_record" not in await there.recorders(call)
                await call.hang_up()
        assert eye.created == []


async def test_a_code_in_the_call_withdraws(there: Site) -> None:
    """The caller presses the code while talking: nothing records any more, the file is gone, and the call goes on."""
    call = await there.rig.call()
    await said_yes(call)
    assert await call.reached() == "recorded"
    await call.bridged()
    assert "session_record" in await there.recorders(call)
    await asyncio.sleep(0.5)  # real time: caller and agent talk
    for key in "*9":
        await call.press(key)
    record = await there.record(call, kind="withdrawn")
    assert "session_record" not in await there.recorders(call)
    assert call.up
    assert list(there.recordings.glob(f"{record.call_id}*")) == []
    await call.hang_up()


async def test_the_check_finds_no_fault(there: Site) -> None:
    """What it compares is what a real FreeSWITCH runs."""
    command = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(there.server.path), "check", "--json"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    rows = [row for row in json.loads(done.stdout)["findings"] if row["area"] == "switch"]
    assert {row["name"] for row in rows if row["state"] == "ok"} >= {
        "socket server",
        "event socket",
        "event socket reach",
        "version",
        "modules",
        "api expansion",
        "dialplan",
        "destinations",
        "switch's user",
    }
    assert [row for row in rows if row["state"] != "ok"] == []


async def test_a_draft_on_the_administrators_own_telephone(there: Site) -> None:
    """Nothing listens for drafts but while one is tried; nothing is logged, nothing recorded."""
    before = len(there.records())
    words = ["--config", str(there.server.path), "call", "support", "--draft", "--phone", "--wait", "60"]
    trial = subprocess.Popen(
        [sys.executable, "-u", "-m", "ivr_consent.cli.main", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert trial.stdout is not None
        assert "waiting for a call" in await asyncio.to_thread(trial.stdout.readline)
        call = await there.rig.call("support.draft")
        await said_yes(call)
        await call.ended()
        said, _ = await asyncio.to_thread(trial.communicate, timeout=DEADLINE_S)
    finally:
        trial.kill()
        trial.wait()
    assert trial.returncode == 0
    assert "the trial ended: granted" in said
    assert len(there.records()) == before
    call = await there.rig.call("support.draft")
    await call.ended()


async def test_the_command_that_plays_a_call(there: Site, tmp_path: Path) -> None:
    """``ivr-consent run --pbx freeswitch``: a FreeSWITCH, a service and a call of its own, and what came of it."""
    path = tmp_path / "ivr-consent.toml"
    with shared_audio() as audio:
        voice = audio / "voice.py"
        voice.write_text(TONE_VOICE)
        text = EXAMPLE.replace('languages = ["en", "da"]', 'languages = ["en"]')
        text = text.replace('audio = "audio"', f'audio = "{audio}"')
        path.write_text(f'{text}[prompts.voices.en]\ncommand = ["{sys.executable}", "{voice}"]\n')
        publish(config.load(path).model_copy(update={"switch": "freeswitch"}))
    words = [sys.executable, "-m", "ivr_consent.cli.main", "run", "--pbx", "freeswitch", "--home", str(tmp_path)]
    done = await asyncio.to_thread(
        subprocess.run, [*words, "--json"], capture_output=True, text=True, check=False, timeout=DEADLINE_S * 2
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["ok"], document["result"], document["route"]) == (True, "granted", "recorded")
    assert document["recording"]["hz"] == {"left": [CALLER_HZ], "right": [AGENT_HZ]}
    assert "We ask for your consent" in done.stderr
    assert not (tmp_path / "event_socket.password").exists()


# --- failures --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Somebody else on the server's port: each connection is handed to ``serve``, and closed at the end."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def accept() -> None:
            held = []
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    held.append(connection)
                    serve(connection)
            for connection in held:
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            ended.set()
            thread.join(DEADLINE_S)


def closes_at_once(connection: socket.socket) -> None:
    connection.close()


def closes_after_connect(connection: socket.socket) -> None:
    connection.sendall(b"connect\n\n")
    connection.settimeout(DEADLINE_S)
    connection.recv(65536)
    connection.close()


def hangs(connection: socket.socket) -> None:
    """Neither a word nor an end."""


def hangs_after_connect(connection: socket.socket) -> None:
    connection.sendall(b"connect\n\n")


async def test_a_server_that_is_not_there_closes_or_hangs(own_there: Site) -> None:
    """R6: whatever the server does, the caller reaches the unrecorded line, and nothing records."""
    own_there.server.stop()
    with contextlib.ExitStack() as stack:
        eye = stack.enter_context(own_there.watched())

        async def through(seconds: float) -> RigCall:
            began = asyncio.get_running_loop().time()
            call = await own_there.rig.call()
            assert await call.reached() == "unrecorded"
            assert asyncio.get_running_loop().time() - began < seconds + 10
            assert "session_record" not in await own_there.recorders(call)
            await call.hang_up()
            return call

        await through(0)  # nobody listens
        for serve in (closes_at_once, closes_after_connect):
            await own_there.let_gate_ask(stack.enter_context(listening(serve)))
            await through(0)
        waiting = []
        for serve in (hangs, hangs_after_connect):
            await own_there.let_gate_ask(stack.enter_context(listening(serve)))
            waiting.append(asyncio.create_task(through(LEASE_S)))
            await asyncio.sleep(1)  # real time: the call goes to this server, not to the next
        await asyncio.gather(*waiting)
        assert eye.created == []


async def test_a_server_that_dies_while_it_has_just_begun_to_record(own_there: Site) -> None:
    """R6: the caller has said yes, but nobody will hear that it is recorded: unrecorded, and the recorder stopped."""
    call = await own_there.rig.call()
    await said_yes(call)
    await call.until(lambda event: event.name == "RECORD_START")
    own_there.server.kill_group(signal.SIGKILL)
    assert await call.reached() == "unrecorded"
    await call.bridged()
    assert "session_record" not in await own_there.recorders(call)
    await asyncio.sleep(0.5)  # real time: caller and agent talk, and nothing may grow
    assert [path.stat().st_size for path in own_there.recordings.iterdir() if path.suffix in (".raw", ".wav")] in (
        [],
        [0],
    )
    await call.hang_up()
