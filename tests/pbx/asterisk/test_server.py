"""The FastAGI server over its real sockets: calls that go well, and peers that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from ivr_consent.core.decision import Decision
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.flow import Plan
from ivr_consent.core.steps import Record, Result, Step
from ivr_consent.pbx import serving
from ivr_consent.pbx.asterisk.server import Presses, Server
from ivr_consent.service import Service
from ivr_consent.store.ledger import Ledger, Ticket, Written
from ivr_consent.testing.fake_asterisk import FakeAsterisk, FakeCall
from ivr_consent.testing.fake_asterisk_wire import VERSION_16, environment
from ivr_consent.testing.tiny import TinyLines, tiny_plan

PATIENCE = 30.0
HOST = "127.0.0.1"
WINDOW = "WAIT FOR DIGIT 200"
GUARD = "WAIT FOR DIGIT 40"
LONG_WINDOW_MS = 20_000
"""Where many callers press a key in time who are all played by one process. It begins like :data:`WINDOW`."""
NUMBER, NAME = "4598765432", "Agnete Mortensen"


class Gate:
    """A server with its log, its recordings and a fake Asterisk that calls it."""

    def __init__(self, directory: Path, server: Server, ledger: Ledger, lines: TinyLines, switch: FakeAsterisk) -> None:
        self.directory, self.server, self.ledger, self.lines, self.switch = directory, server, ledger, lines, switch

    def kinds(self, call: FakeCall) -> list[str]:
        """Kinds of a call's events in the log, the decision first with its outcome."""
        with self.ledger.reader() as reader:
            record = reader.call(call.call_id) if call.call_id else None
        if record is None:
            return []
        return [f"decision {record.decision.outcome}", *(event.kind for event in record.later)]

    def payload(self, call: FakeCall) -> dict[str, Any]:
        with self.ledger.reader() as reader:
            record = reader.call(call.call_id)
        assert record is not None
        return dict(record.decision.payload)

    def decisions(self) -> list[tuple[str, str | None, str]]:
        """Line, outcome and reason of every decision, newest first."""
        with self.ledger.reader() as reader:
            return [(call.line, call.decision.outcome, call.decision.payload["reason"]) for call in reader.calls()]

    def recordings(self) -> list[str]:
        return sorted(path.name for path in self.lines.recordings.iterdir())

    async def logs(self, call: FakeCall, *kinds: str) -> None:
        """Wait until exactly these are a call's events in the log: a session writes on when its peer has gone."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.kinds(call) == list(kinds))
        assert self.kinds(call) == list(kinds)

    async def quiet(self) -> None:
        """Wait until the server has no call left."""
        await until(lambda: not self.server.calls)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def opened(
    directory: Path,
    *,
    plan: Plan | None = None,
    ledger: Callable[[Path, Callable[[list[Callable[[], None]]], None]], Ledger] | None = None,
    presses: Callable[[FakeAsterisk], Presses] | None = None,
    exit_on_hangup: bool = True,
    drain_s: float = 1.0,
    **options: Any,
) -> AsyncIterator[Gate]:
    loop = asyncio.get_running_loop()
    lines = TinyLines(directory / "recordings", {"support": plan or tiny_plan(directory / "audio")})
    lines.recordings.mkdir()

    def dispatch(callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            loop.call_soon_threadsafe(callback)

    path = directory / "log.db"
    log = ledger(path, dispatch) if ledger is not None else Ledger(path, dispatch=dispatch)
    switch = FakeAsterisk(HOST, 0, exit_on_hangup=exit_on_hangup)
    if presses is not None:
        options["presses"] = presses(switch)
    server = Server(lines, log, **options)
    try:
        await server.start(HOST, 0)
        switch.port = server.port
        async with switch:
            yield Gate(directory, server, log, lines, switch)
    finally:
        await server.stop(drain_s)
        await asyncio.to_thread(log.close)


async def answered(call: FakeCall, key: str | None) -> str:
    """Wait for the window, press, and wait for the end."""
    if key is not None:
        await call.wait_command(WINDOW)
        call.press(key, 0.01)
    return await call.wait(PATIENCE)


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_yes_is_on_disk_recorded_and_routed(tmp_path: Path) -> None:
    ended: list[str] = []
    async with opened(tmp_path, finish=ended.append) as gate:
        call = await gate.switch.call(caller=NUMBER)
        assert await answered(call, "1") == "granted"
        await gate.quiet()
        assert (call.route, call.status, call.reason) == ("recorded", "SUCCESS", "yes_key")
        await gate.logs(call, "decision granted", "recording_confirmed", "routed")
        assert gate.recordings() == [f"{call.call_id}.raw"]
        assert [recorder.options for recorder in call.recorders] == ["Dbi(IVR_CONSENT_MIXMONITOR)"]
        commands = [command.text for command in call.commands]
        assert commands[0].startswith('GET FULL VARIABLE "')
        assert commands.count("ANSWER") == 1
        assert commands[-1] == 'SET VARIABLE IVR_CONSENT_RESULT "granted"'
        await call.talk(0.1)
        call.hang_up()
        await call.wait()
        assert ended == [call.call_id]


def test_a_call_on_uvloop(tmp_path: Path) -> None:
    """Its transports are of no class of asyncio's."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is an extra")

    async def one_call() -> None:
        async with opened(tmp_path) as gate:
            call = await gate.switch.call()
            assert await answered(call, "1") == "granted"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(one_call())


async def test_version_16_gets_a_file_a_side(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call(version=VERSION_16)
        assert await answered(call, "1") == "granted"
        names = (f"{call.call_id}{end}.wav" for end in ("-agent", "-caller", ""))
        assert gate.recordings() == sorted(names)


@pytest.mark.parametrize(
    ("key", "outcome", "reason"),
    [("2", "declined", "no_key"), (None, "no_answer", "silence"), ("9", "invalid", "other_key")],
)
async def test_anything_but_yes_is_unrecorded(tmp_path: Path, key: str | None, outcome: str, reason: str) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        assert await answered(call, key) == outcome
        await gate.quiet()
        assert (call.route, call.reason) == ("unrecorded", reason)
        await gate.logs(call, f"decision {outcome}")
        assert gate.recordings() == []
        assert not call.started


async def test_no_during_the_notice_counts_at_once(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", samples=40_000)
    async with opened(tmp_path, plan=plan) as gate:
        call = await gate.switch.call()
        await call.wait_command("STREAM FILE")
        call.press("2", 0.01)
        await call.wait_command("STREAM FILE", 2)  # the result is told
        call.hang_up()
        await call.wait()
        await gate.quiet()
        await gate.logs(call, "decision declined")
        assert gate.payload(call)["reason"] == "no_key_during_notice"


async def test_a_key_held_across_the_end_is_no_yes(tmp_path: Path) -> None:
    """Released in the guard time, or, where the manager tells when presses began, anywhere in the window."""
    async with opened(tmp_path, presses=lambda switch: switch.presses) as gate:
        call = await gate.switch.call()
        await call.wait_command('STREAM FILE "' + str(tmp_path / "audio" / "training-question"))
        call.press("1", 0.15)  # the question lasts 80 ms
        assert await call.wait(PATIENCE) == "invalid"
        assert call.reason == "early_key"
        gate.switch.presses.up = False
        second = await gate.switch.call()
        await second.wait_command(GUARD)
        second.press("1", 0)
        assert await second.wait(PATIENCE) == "invalid"
        assert not call.started
        assert not second.started


async def test_a_press_that_the_manager_has_timed_grants(tmp_path: Path) -> None:
    async with opened(tmp_path, presses=lambda switch: switch.presses) as gate:
        call = await gate.switch.call()
        assert await answered(call, "1") == "granted"
        assert all(command.text != GUARD for command in call.commands)
        await gate.quiet()
        assert gate.payload(call)["answers"][0]["timing"] == "manager"


@pytest.mark.parametrize("exit_on_hangup", [True, False])
@pytest.mark.parametrize("place", ["ANSWER", "STREAM FILE", WINDOW, "EXEC MixMonitor"])
async def test_a_caller_who_hangs_up_is_not_recorded(tmp_path: Path, place: str, exit_on_hangup: bool) -> None:
    async with opened(tmp_path, exit_on_hangup=exit_on_hangup) as gate:
        call = await gate.switch.call()
        if place.startswith("EXEC"):
            await call.wait_command(WINDOW)
            call.press("1", 0.01)
        await call.wait_command(place)
        call.hang_up()
        await call.wait(PATIENCE)
        await gate.quiet()
        assert call.result == "failed"
        if place.startswith("EXEC"):
            await until(lambda: len(gate.kinds(call)) > 1)
            first, *rest = gate.kinds(call)
            assert first == "decision granted"
            assert set(rest) <= {"recording_stopped", "recording_not_confirmed"}
        else:
            await gate.logs(call, "decision abandoned")
        assert gate.recordings() == []


async def test_a_missing_prompt_is_unrecorded_and_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        for kind in ("ulaw", "wav"):  # Asterisk takes whichever is there
            (tmp_path / "audio" / f"notice-1.{kind}").unlink()
        call = await gate.switch.call()
        assert await call.wait(PATIENCE) == "failed"
        assert call.reason == "prompt_missing"
        await gate.quiet()
        await gate.logs(call, "decision failed")


async def test_a_prompt_cut_short_on_disk_proves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        (tmp_path / "audio" / "notice-1.ulaw").write_bytes(b"\xff" * 480)
        call = await gate.switch.call()
        assert await call.wait(PATIENCE) == "failed"
        assert call.reason == "prompt_not_whole"


async def test_an_unknown_line_is_unrecorded_and_logged(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call("sales")
        assert await call.wait(PATIENCE) == "failed"
        assert call.reason == "unknown_line"
        await gate.quiet()
        await gate.logs(call, "decision failed")
        assert gate.payload(call)["call"]["line"] == "-"


async def test_an_unknown_script_and_a_forged_ended_do_nothing(tmp_path: Path) -> None:
    ended: list[str] = []
    async with opened(tmp_path, finish=ended.append) as gate:
        for script, arguments in (("other", ()), ("ended", ("../../etc/passwd",)), ("ended", ())):
            call = await gate.switch.call(script=script, arguments=arguments)
            assert await call.wait(PATIENCE) == "failed"
        await gate.quiet()
        assert ended == []


async def test_two_calls_at_once_do_not_mix(tmp_path: Path) -> None:
    async with opened(tmp_path, plan=tiny_plan(tmp_path / "audio", timeout_ms=LONG_WINDOW_MS)) as gate:
        calls = [await gate.switch.call(caller=f"45{n:08}") for n in range(40)]
        keys = ["1" if n % 2 else "2" for n in range(40)]
        await asyncio.gather(*(answered(call, key) for call, key in zip(calls, keys, strict=True)))
        assert [call.result for call in calls] == ["granted" if key == "1" else "declined" for key in keys]
        assert gate.recordings() == sorted(f"{call.call_id}.raw" for call in calls if call.result == "granted")


# --- peers that mean no good ------------------------------------------------------------------------------------------


async def connect(gate: Gate, local: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = (local, 0) if local is not None else None
    return await asyncio.open_connection(HOST, gate.server.port, local_addr=address)


async def is_closed(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server has closed, which it must."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def goes_well(gate: Gate) -> None:
    """A call after the attack, as if nothing had been."""
    await until(lambda: len(gate.server.calls) == 0)
    call = await gate.switch.call()
    assert await answered(call, "1") == "granted"


def block(**changed: str) -> bytes:
    """An environment as Asterisk writes it."""
    text = environment().decode()
    for key, value in changed.items():
        head, _, rest = text.partition(f"agi_{key}: ")
        text = f"{head}agi_{key}: {value}\n{rest.partition(chr(10))[2]}"
    return text.encode()


async def test_a_port_scan_harms_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        for _ in range(50):
            _, writer = await connect(gate)
            writer.transport.abort()
        await goes_well(gate)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(block()[:200], id="half-header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: switch\r\n\r\n", id="http"),
        pytest.param(block().replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), id="tls"),
        pytest.param(b"a" * (1 << 20), id="megabyte-of-one-line"),
        pytest.param(b"agi_network: yes\n" * 60_000, id="megabyte-of-lines"),
        pytest.param(block() + b"200 result=1\n", id="reply-before-the-command"),
        pytest.param(block(language="en\nagi_language: da"), id="duplicate-key"),
        pytest.param(block(dnid="1\nagi_evil: 1"), id="unknown-key"),
    ],
)
async def test_what_asterisk_never_sends_closes_the_connection(tmp_path: Path, data: bytes) -> None:
    async with opened(tmp_path) as gate:
        reader, writer = await connect(gate)
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            writer.write_eof()
            await writer.drain()
        await is_closed(reader)
        writer.close()
        await goes_well(gate)
        good, *others = gate.decisions()
        assert good == ("support", "granted", "yes_key")
        # Only who has sent a whole environment is a call; then our own refusal is logged, and nothing that it said.
        assert others in ([], [("-", "failed", "protocol_error")])


async def test_a_caller_who_forges_the_whole_dialogue_gets_nowhere(tmp_path: Path) -> None:
    """All that a grant needs, in the caller's number: an end of the environment and replies behind it."""
    rest = block().partition(b"agi_callerid: ")[2].partition(b"\n")[2].decode()
    forged = "55\n" + rest + "200 result=1 (0123456789abcdef)\n200 result=1\n200 result=0\n"
    async with opened(tmp_path) as gate:
        call = await gate.switch.call(caller=forged)
        assert await call.wait(PATIENCE) == "failed"
        await gate.quiet()
        assert gate.recordings() == []
        assert not call.started
        await goes_well(gate)


async def test_a_reply_that_answers_nothing_ends_the_session(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        reader, writer = await connect(gate)
        writer.write(block())
        line = (await reader.readline()).decode()
        nonce = line.split('"')[1]
        writer.write(f"200 result=1 ({nonce})\n200 result=1\n".encode())
        rest = await is_closed(reader)
        assert rest.count(b"\n") <= 1
        writer.close()
        await gate.quiet()
        assert gate.recordings() == []


async def test_a_wrong_echo_ends_the_session_before_anything_is_believed(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        reader, writer = await connect(gate)
        writer.write(block())
        await reader.readline()
        writer.write(b"200 result=1 (0123456789abcdef)\n")
        assert await is_closed(reader) == b""
        writer.close()
        await gate.quiet()
        await until(lambda: gate.decisions() == [("-", "failed", "echo_wrong")])
        with gate.ledger.reader() as log:
            assert [record.decision.payload["call"]["subject_ref"] for record in log.calls()] == [None]


async def test_half_a_header_and_silence_meets_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "FIRST_WORDS_DEADLINE_S", 0.2)
    async with opened(tmp_path) as gate:
        reader, writer = await connect(gate)
        writer.write(block()[:300])
        began = time.monotonic()
        assert await is_closed(reader) == b""
        assert time.monotonic() - began < 5
        writer.close()
        await goes_well(gate)


async def test_a_switch_that_stops_answering_meets_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr_consent.pbx.asterisk.channel.REPLY_DEADLINE_S", 0.2)
    async with opened(tmp_path) as gate:
        reader, writer = await connect(gate)
        writer.write(block())
        assert (await is_closed(reader)).startswith(b"GET FULL VARIABLE")
        writer.close()
        await gate.quiet()


async def test_a_flood_does_not_touch_calls_under_way(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", samples=4000, timeout_ms=LONG_WINDOW_MS)  # half a second each
    async with opened(tmp_path, plan=plan) as gate:
        calls = [await gate.switch.call() for _ in range(20)]
        await asyncio.gather(*(call.wait_command("STREAM FILE") for call in calls))
        writers = []
        for _ in range(500):
            _, writer = await connect(gate)
            writers.append(writer)
        await asyncio.gather(*(answered(call, "1") for call in calls))
        assert [call.result for call in calls] == ["granted"] * 20
        for writer in writers:
            writer.transport.abort()
        played = [
            command.at - before.at
            for call in calls
            for before, command in zip(call.commands, call.commands[1:], strict=False)
            if before.text.startswith("STREAM FILE")
        ]
        assert max(played) < 2.5  # half a second, and what 500 connections in one process cost the test itself
        await gate.quiet()


async def test_a_peer_that_never_reads_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command at a time, so that nothing piles up; and a deadline on its reply."""
    monkeypatch.setattr("ivr_consent.pbx.asterisk.channel.REPLY_DEADLINE_S", 0.2)
    async with opened(tmp_path) as gate:
        _, writer = await connect(gate)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport can, its type does not say
        writer.write(block())
        await until(lambda: len(gate.server.calls) == 1)
        await gate.quiet()
        writer.transport.abort()
        await goes_well(gate)


async def test_a_stranger_is_not_let_in(tmp_path: Path) -> None:
    async with opened(tmp_path, allow=("127.0.0.1/32",)) as gate:
        reader, writer = await connect(gate, "127.0.0.2")
        writer.write(block())
        assert await is_closed(reader) == b""
        writer.close()
        await goes_well(gate)


async def test_the_call_above_the_limit_goes_unrecorded(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", samples=8000)
    async with opened(tmp_path, plan=plan, max_calls=2) as gate:
        first, second = [await gate.switch.call() for _ in range(2)]
        await asyncio.gather(first.wait_command("STREAM FILE"), second.wait_command("STREAM FILE"))
        third = await gate.switch.call()
        assert await third.wait(PATIENCE) == "failed"
        assert third.commands == []
        first.hang_up()
        second.hang_up()
        await goes_well(gate)


# --- stopping and reloading -------------------------------------------------------------------------------------------


async def test_stopping_lets_calls_under_way_finish(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_command("STREAM FILE")
        stopping = asyncio.create_task(gate.server.stop(PATIENCE))
        await asyncio.sleep(0)
        late = await gate.switch.call()
        assert await late.wait(PATIENCE) == "failed"
        assert await answered(call, "1") == "granted"
        assert await stopping == 0


async def test_stopping_cuts_off_what_does_not_end_in_time(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", samples=400_000)
    async with opened(tmp_path, plan=plan) as gate:
        call = await gate.switch.call()
        await call.wait_command("STREAM FILE")
        assert await gate.server.stop(0.05) == 1
        assert await call.wait(PATIENCE) == "failed"
        await gate.quiet()
        await gate.logs(call, "decision failed")


async def test_a_call_keeps_the_configuration_it_began_with(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_command("STREAM FILE")
        gate.server.lines = TinyLines(gate.lines.recordings, {}, configuration_sha256="f" * 64)
        assert await answered(call, "1") == "granted"
        await gate.quiet()
        assert gate.payload(call)["call"]["configuration_sha256"] == gate.lines.configuration_sha256
        later = await gate.switch.call()
        assert await later.wait(PATIENCE) == "failed"
        assert later.reason == "unknown_line"


def configuration(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ivr-consent.toml"
    path.write_text(text)
    return path


CONFIGURATION = '[server]\nport = 4573\n[facts.default]\ncontroller = "Example"\n[lines.support]\nretention_days = 30\n'


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (CONFIGURATION.replace("30", "60"), True),
        (CONFIGURATION + "unknown = 1\n", False),
        ("not toml", False),
        (CONFIGURATION.replace("4573", "4574"), False),
    ],
)
async def test_a_wrong_configuration_leaves_the_old_one_in_force(tmp_path: Path, text: str, taken: bool) -> None:
    from ivr_consent import config

    path = configuration(tmp_path, CONFIGURATION)
    settings = config.load(path)
    free = settings.server.model_copy(update={"port": 0})
    service = Service(settings.model_copy(update={"server": free}))
    await service.start()
    await asyncio.sleep(0)  # let its tasks begin: one cancelled before that leaves a coroutine nobody awaited
    try:
        service.settings = settings.model_copy(update={"source": path})
        before = service.server.lines
        path.write_text(text)
        assert (await service.reload())["ok"] is taken
        assert (service.server.lines.configuration_sha256 != before.configuration_sha256) is taken
        assert service.settings.lines["support"].retention_days == (60 if taken else 30)
    finally:
        await service.stop(0)


async def test_a_port_in_use_is_told_with_a_remedy(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        other = Server(gate.lines, gate.ledger)
        with pytest.raises(ConsentError, match=r"set server\.port"):
            await other.start(HOST, gate.server.port)
        await other.stop(0)


# --- the disk ---------------------------------------------------------------------------------------------------------


class RefusingLedger(Ledger):
    """A disk that refuses from now on."""

    def _append(self, batch: list[Ticket], time: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")


async def test_a_log_that_cannot_be_written_means_unrecorded(tmp_path: Path) -> None:
    async with opened(tmp_path, ledger=lambda path, dispatch: RefusingLedger(path, dispatch=dispatch)) as gate:
        call = await gate.switch.call()
        assert await answered(call, "1") == "failed"
        assert (call.route, call.reason) == ("unrecorded", "log_not_written")
        await gate.quiet()
        assert not call.started
        assert gate.recordings() == []
        gate.ledger.__class__ = Ledger  # the disk is well again: what waits is written with the next call
        await goes_well(gate)
        await gate.logs(call, "decision failed")


class SlowLedger(Ledger):
    """A disk that hangs until it is let go."""

    gate: threading.Event
    soon = False

    def decide(self, decision: Decision, done: Callable[[Written], None]) -> Ticket:
        ticket = super().decide(decision, done)
        if self.soon and not ticket.grants:
            self.gate.set()
        return ticket

    def _commit(self, batch: list[Ticket]) -> list[Callable[[], None]]:
        if any(ticket.grants for ticket in batch):
            assert self.gate.wait(PATIENCE)
        return super()._commit(batch)


@pytest.mark.parametrize("soon", [True, False])
async def test_a_disk_that_is_too_slow_means_unrecorded_and_the_grant_is_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: bool
) -> None:
    """Whether the disk wakes up while the refusal waits for it, or after the call."""
    monkeypatch.setattr(serving, "COMMIT_DEADLINE_S", 0.2)
    let_go = threading.Event()

    def slow(path: Path, dispatch: Callable[[list[Callable[[], None]]], None]) -> Ledger:
        ledger = SlowLedger(path, dispatch=dispatch)
        ledger.gate, ledger.soon = let_go, soon
        return ledger

    async with opened(tmp_path, ledger=slow) as gate:
        with structlog.testing.capture_logs() as logs:
            call = await gate.switch.call()
            assert await answered(call, "1") == "failed"
            await gate.quiet()
        # The late grant must not be taken for the answer to the refusal.
        assert [entry["logged"] for entry in logs if entry["event"] == "call"] == [soon]
        assert (call.route, call.reason) == ("unrecorded", "log_too_slow")
        assert not call.started
        let_go.set()
        await until(lambda: "grant_void" in gate.kinds(call))
        assert gate.kinds(call)[0] == "decision granted"
        assert gate.recordings() == []


async def test_a_recorder_that_writes_no_file_is_stopped_and_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        gate.lines.recordings = Path("/proc/1/nowhere")
        call = await gate.switch.call()
        assert await answered(call, "1") == "failed"
        assert (call.route, call.reason) == ("unrecorded", "recording_file_missing")
        assert len(call.started) == 1
        assert not call.recorders
        await gate.quiet()
        await gate.logs(call, "decision granted", "recording_not_confirmed")


async def test_a_fault_of_our_own_is_unrecorded_logged_and_harms_no_other_call(tmp_path: Path) -> None:
    def observe(step: Step, result: Result | None) -> None:
        if isinstance(step, Record):
            raise RuntimeError("a fault of our own")  # noqa: TRY004 - it is no matter of types

    async with opened(tmp_path, observe=observe) as gate:
        with structlog.testing.capture_logs() as logs:
            call = await gate.switch.call()
            assert await answered(call, "1") == "failed"
            await gate.quiet()
        assert not call.started
        await gate.logs(call, "decision granted", "grant_void")
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["session_failed"]
        gate.server.observe = None
        await goes_well(gate)


# --- what is said in the ordinary log ---------------------------------------------------------------------------------


async def test_one_line_of_log_a_call_without_personal_data(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        with structlog.testing.capture_logs() as logs:
            calls = [await gate.switch.call(caller=NUMBER, name=NAME) for _ in range(3)]
            await asyncio.gather(*(answered(call, key) for call, key in zip(calls, ("1", "2", None), strict=True)))
            await gate.quiet()
        assert sorted(entry["outcome"] for entry in logs) == ["declined", "granted", "no_answer"]
        assert all(entry["event"] == "call" and entry["line"] == "support" and entry["logged"] for entry in logs)
        assert NUMBER not in str(logs)
        assert "Agnete" not in str(logs)
        raw = gate.ledger.place.path.read_bytes() + Path(f"{gate.ledger.place.path}-wal").read_bytes()
        assert NUMBER.encode() not in raw
        assert b"Agnete" not in raw


async def test_a_refused_environment_does_not_tell_the_callers_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        with structlog.testing.capture_logs() as logs:
            call = await gate.switch.call(caller=f"{NUMBER}\x07", name=NAME)
            assert await call.wait(PATIENCE) == "failed"
            await gate.quiet()
        assert [entry["event"] for entry in logs] == ["connection_closed"]
        assert NUMBER not in str(logs)
        assert "Agnete" not in str(logs)


def test_plans_of_these_tests_are_short(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    assert f"WAIT FOR DIGIT {plan.timeout_ms}" == WINDOW
    assert f"WAIT FOR DIGIT {plan.guard_ms}" == GUARD


# --- a withdrawal in the call -----------------------------------------------------------------------------------------


async def test_a_withdrawal_reaches_its_call_alone_and_the_dialplan_is_told(tmp_path: Path) -> None:
    """R13, I6: an id of our form and who pressed are taken; whatever fails is told as not done."""
    asked: list[tuple[str, str]] = []

    async def withdraw(call_id: str, by: str) -> bool:
        asked.append((call_id, by))
        if by == "agent":
            raise OSError("the disk is gone")
        return True

    good = ("withdraw", ("0123456789abcdef" * 2, "caller"))
    broken = ("withdraw", ("0123456789abcdef" * 2, "agent"))
    bad = (("withdraw", ()), ("withdraw", ("*", "caller")), ("withdraw", (good[1][0], "anybody")))
    async with opened(tmp_path, withdraw=withdraw) as gate:
        for script, arguments in (good, broken, *bad):
            call = await gate.switch.call(script=script, arguments=arguments)
            await call.wait(PATIENCE)
            told = "yes" if (script, arguments) == good else "no" if (script, arguments) == broken else None
            assert call.variables.get("IVR_CONSENT_WITHDRAWN") == told
        await gate.quiet()
    assert asked == [good[1], broken[1]]


async def test_without_anybody_to_withdraw_it_is_not_done(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call(script="withdraw", arguments=("0123456789abcdef" * 2, "caller"))
        await call.wait(PATIENCE)
        assert call.variables["IVR_CONSENT_WITHDRAWN"] == "no"
