"""The server of the outbound socket over its real sockets: calls that go well, and peers that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.flow import Plan
from ivr_consent.pbx import serving
from ivr_consent.pbx.freeswitch import channel as ch
from ivr_consent.pbx.freeswitch.server import Server
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.fake_freeswitch import FakeCall, FakeFreeSwitch
from ivr_consent.testing.tiny import TinyLines, tiny_plan

HOST = "127.0.0.1"
PATIENCE = 30.0
WINDOW = "playback silence_stream://400"
NUMBER = "4598765432"


class Gate:
    """A server with its log, its recordings and a fake FreeSWITCH that calls it."""

    def __init__(self, server: Server, ledger: Ledger, lines: TinyLines, switch: FakeFreeSwitch) -> None:
        self.server, self.ledger, self.lines, self.switch = server, ledger, lines, switch

    def kinds(self, call_id: str) -> list[str]:
        """Kinds of a call's events in the log, the decision first with its outcome."""
        with self.ledger.reader() as reader:
            record = reader.call(call_id) if call_id else None
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

    async def decided(self, expected: list[tuple[str, str | None, str]]) -> None:
        """Wait until these are all decisions: a session writes on when its peer has gone."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.decisions() == expected)
        assert self.decisions() == expected

    def recordings(self) -> list[str]:
        return sorted(path.name for path in self.lines.recordings.iterdir())

    async def logs(self, call: FakeCall, *kinds: str) -> None:
        """Wait until exactly these are a call's events in the log: a session writes on when its peer has gone."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.kinds(call.call_id) == list(kinds))
        assert self.kinds(call.call_id) == list(kinds)

    async def quiet(self) -> None:
        """Wait until the server has no call left."""
        await until(lambda: not self.server.calls)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def opened(
    directory: Path, *, plan: Plan | None = None, lease_s: int = 15, resume: bool = True, **options: Any
) -> AsyncIterator[Gate]:
    loop = asyncio.get_running_loop()
    asked = plan or tiny_plan(directory / "audio", timeout_ms=400)
    lines = TinyLines(directory / "recordings", {"support": asked})
    lines.recordings.mkdir()

    def dispatch(callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            loop.call_soon_threadsafe(callback)

    log = Ledger(directory / "log.db", dispatch=dispatch)
    server = Server(lines, log, **options)
    try:
        await server.start(HOST, 0)
        async with FakeFreeSwitch(HOST, server.port, lease_s=lease_s, resume=resume) as switch:
            yield Gate(server, log, lines, switch)
    finally:
        await server.stop(1.0)
        await asyncio.to_thread(log.close)


async def answered(call: FakeCall, key: str | None) -> str:
    """Wait for the window, press, and wait for the end."""
    if key is not None:
        await call.wait_execute(WINDOW)
        call.press(key, 0.06)
    return await call.wait(PATIENCE)


def said(call: FakeCall) -> list[str]:
    """The applications that we ran."""
    return [one.headers["execute-app-name"] for one in call.commands if "execute-app-name" in one.headers]


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_yes_is_on_disk_recorded_and_routed(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call(caller=NUMBER)
        assert await answered(call, "1") == "granted"
        await gate.quiet()
        assert (call.route, call.reason) == ("recorded", "yes_key")
        await gate.logs(call, "decision granted", "recording_confirmed", "routed")
        assert gate.recordings() == [f"{call.call_id}.raw"]
        payload = gate.payload(call)
        (answer,) = payload["answers"]
        assert (answer["timing"], answer["key"]) == ("event", "1")
        assert 0 <= answer["after_ms"] < 400
        assert payload["call"]["switch"] == "freeswitch"
        assert payload["call"]["channel_uniqueid"] == call.uuid
        assert NUMBER not in str(payload)
        ran = said(call)
        assert ran[-1] == "set"
        assert ran.index("record_session") > ran.index("playback")
        assert call.variables["RECORD_BRIDGE_REQ"] == call.variables["RECORD_STEREO"] == "true"
        assert "socket_resume" not in call.variables
        assert gate.switch.leases(call) == 0


async def test_nothing_is_recorded_before_the_two_talk(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        assert await answered(call, "1") == "granted"
        (path,) = gate.lines.recordings.iterdir()
        await call.talk(0.3)
        call.caller_hangs_up()
        await call.wait_done()
        seconds = path.stat().st_size / 4 / 8000
        assert 0.05 < seconds < 1


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
        assert "record_session" not in said(call)


async def test_no_during_the_notice_counts_at_once(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", samples=40_000, timeout_ms=400)
    async with opened(tmp_path, plan=plan) as gate:
        call = await gate.switch.call()
        await call.wait_execute("playback")
        began = time.monotonic()
        call.press("2", 0.06)
        await call.wait_execute("playback", 2)  # the result is told
        assert time.monotonic() - began < 4
        call.caller_hangs_up()
        await gate.quiet()
        await gate.logs(call, "decision declined")
        assert gate.payload(call)["reason"] == "no_key_during_notice"


async def test_yes_during_the_notice_is_none(tmp_path: Path) -> None:
    """I2: the key is gone, and nothing of it answers the question."""
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_execute("playback")
        call.press("1", 0.02)
        assert await call.wait(PATIENCE) == "no_answer"


async def test_a_key_held_across_the_end_is_no_yes(tmp_path: Path) -> None:
    """A key is told of when it is released; when it went down is told with it."""
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_execute("playback", 2)
        call.press("1", 0.4)  # down in the question, up in the window
        assert await call.wait(PATIENCE) != "granted"
        await gate.quiet()
        answers = gate.payload(call)["answers"]
        assert [answer["answer"] for answer in answers] != ["yes"]
        assert gate.recordings() == []


async def test_keys_pressed_at_once_before_the_question_do_not_answer_it(tmp_path: Path) -> None:
    """Three digits in the queue at one moment: the switch would hand the second to the next question."""
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_execute("flush_dtmf")
        for _ in range(3):
            call.digit("1", 2080, "APP")
        assert await call.wait(PATIENCE) != "granted"


async def test_a_hang_up_is_abandoned(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", samples=8000 * 4, timeout_ms=400)
    async with opened(tmp_path, plan=plan) as gate:
        call = await gate.switch.call()
        await call.wait_execute("playback")
        await asyncio.sleep(0.3)  # a moment of the notice is heard
        call.caller_hangs_up()
        await gate.quiet()
        await gate.logs(call, "decision abandoned")
        heard = gate.payload(call)["notice"]["segments"]
        assert 0 < heard[0]["samples_played"] < heard[0]["samples_total"]


async def test_wideband_calls_hear_wideband_sounds(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", timeout_ms=400)
    (notice,) = plan.notices
    wide = dataclasses.replace(notice.information[0], lengths=notice.information[0].lengths | {640 * 2})
    Path(f"{wide.path}-16000.wav").write_bytes(_wav(16000, 1280))
    plan = dataclasses.replace(plan, notices=(dataclasses.replace(notice, information=(wide,)),))
    async with opened(tmp_path, plan=plan) as gate:
        call = await gate.switch.call(rate=16000)
        assert await answered(call, "2") == "declined"
        assert f"playback {wide.path}-16000.wav" in [f"{one.application} {one.data}" for one in call.executed]


def _wav(rate: int, samples: int) -> bytes:
    import io
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(2 * samples))
    return buffer.getvalue()


# --- prompts that were not heard --------------------------------------------------------------------------------------


async def test_a_missing_prompt_is_no_heard_one(tmp_path: Path) -> None:
    """The variables of the playback before it still stand, and say that it was played."""
    async with opened(tmp_path) as gate:
        (notice,) = gate.lines.plans["support"].notices
        Path(f"{notice.questions['training'].path}.wav").unlink()
        call = await gate.switch.call()
        assert await call.wait(PATIENCE) == "failed"
        await gate.quiet()
        await gate.decided([("support", "failed", "prompt_missing")])
        assert call.route == "unrecorded"


@pytest.mark.parametrize("how", ["break", "stop", "truncated", "seek"])
async def test_a_prompt_cut_short_grants_nothing(tmp_path: Path, how: str) -> None:
    """``FILE PLAYED`` is said of each of these."""
    plan = tiny_plan(tmp_path / "audio", samples=8000, timeout_ms=400)
    async with opened(tmp_path, plan=plan) as gate:
        (notice,) = gate.lines.plans["support"].notices
        if how == "truncated":
            path = Path(f"{notice.information[0].path}.wav")
            path.write_bytes(path.read_bytes()[:4000])
        call = await gate.switch.call()
        await call.wait_execute("playback")
        commands = {"break": "uuid_break {}", "stop": "uuid_fileman {} stop", "seek": "uuid_fileman {} seek:+4000"}
        if how in commands:
            await until(lambda: call.playing > 0)  # a frame passes before there is a file to be skipped in
            gate.switch.api(commands[how].format(call.uuid))
        result = await answered(call, None)
        await gate.quiet()
        assert result == "failed"
        assert gate.decisions()[0][2] in ("prompt_cut_short", "prompt_faster_than_it_lasts")
        assert gate.recordings() == []


# --- the recorder -----------------------------------------------------------------------------------------------------


async def test_a_recorder_that_says_nothing_is_no_recorder(tmp_path: Path) -> None:
    """``record_session`` answers ``_none_`` when it failed, too."""
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_execute(WINDOW)
        (tmp_path / "recordings").rmdir()
        (tmp_path / "recordings").write_text("a file stands where the folder was")
        call.press("1", 0.06)
        result = await call.wait(PATIENCE)
        await gate.quiet()
        assert (result, call.route) == ("failed", "unrecorded")
        assert not call.recordings


async def test_a_recording_that_ran_when_we_died_is_stopped_by_the_dialplan(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_execute(WINDOW)
        call.press("1", 0.06)
        await call.wait_execute("record_session")
        for connection in list(gate.server.calls):
            connection.abort("killed")
        await call.wait(PATIENCE)
        assert (call.result, call.route) == ("failed", "unrecorded")
        await until(lambda: not call.recordings)


async def test_a_disk_that_says_no_grants_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "COMMIT_DEADLINE_S", 0.2)
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_execute(WINDOW)
        decide = gate.ledger.decide
        held: list[Any] = []

        def late(decision: Any, _: Any) -> Any:
            held.append(decision)
            return decide(decision, lambda _: None)  # it is written, and nobody hears of it

        monkeypatch.setattr(gate.ledger, "decide", late)
        call.press("1", 0.06)
        assert await call.wait(PATIENCE) == "failed"
        assert held
        assert "record_session" not in said(call)


# --- who vouches ------------------------------------------------------------------------------------------------------


async def test_a_channel_that_the_switch_does_not_know_is_nobody(tmp_path: Path) -> None:
    """Whoever reaches the port can play FreeSWITCH, and consent for others."""
    asked: list[tuple[str, str]] = []

    async def vouches(uuid: str, nonce: str) -> bool:
        asked.append((uuid, nonce))
        return False

    async with opened(tmp_path, vouches=vouches) as gate:
        call = await gate.switch.call(caller=NUMBER)
        assert await call.wait(PATIENCE) == "failed"
        await gate.quiet()
        await gate.decided([("-", "failed", "switch_not_vouched")])
        assert asked == [(call.uuid, asked[0][1])]
        assert re.fullmatch(r"[0-9a-f]{16}", asked[0][1])
        assert "answer" not in said(call)


async def test_the_switch_vouches_again_before_it_records(tmp_path: Path) -> None:
    """Both times for a nonce of its own, which is on the channel."""
    seen: list[str] = []

    async def vouches(uuid: str, nonce: str) -> bool:
        seen.append(nonce)
        assert gate.switch.api(f"uuid_getvar {uuid} ivr_consent_nonce") == nonce
        return len(seen) < 2

    async with opened(tmp_path, vouches=vouches) as gate:
        call = await gate.switch.call()
        result = await answered(call, "1")
        await gate.quiet()
        assert len(set(seen)) == 2
        assert (result, call.route) == ("failed", "unrecorded")
        assert "record_session" not in said(call)
        assert gate.kinds(call.call_id)[0] == "decision granted"
        assert gate.recordings() == []


async def test_a_voucher_that_never_answers_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr_consent.pbx.freeswitch.server.VOUCH_DEADLINE_S", 0.2)

    async def vouches(uuid: str, nonce: str) -> bool:
        await asyncio.Event().wait()
        return True

    async with opened(tmp_path, vouches=vouches) as gate:
        call = await gate.switch.call()
        assert await call.wait(PATIENCE) == "failed"
        assert call.route == "unrecorded"


# --- callers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile",
    [
        {"caller": "45\n\napi system touch /nowhere", "name": "x"},
        {"name": "${system(touch /nowhere)}"},
        {"name": "a\nvariable_ivr_consent_result: granted"},
        {"variables": {"sip_h_X-Evil": "a\nUnique-ID: 00000000-0000-0000-0000-000000000000"}},
        {"variables": {"sip_h_X-Evil": "x" * 60_000}},
        {"variables": {"sip_req_user": "${uuid_record(x)}", "default_language": "../../etc"}},
        {"name": "Andr\u00e9 \u2028 \U0001f600"},
    ],
    ids=str,
)
async def test_nothing_of_a_callers_becomes_a_command(tmp_path: Path, hostile: dict[str, Any]) -> None:
    """I6: whatever stands there, nothing of it is in a command of ours, and nobody is recorded without a yes."""
    async with opened(tmp_path) as gate:
        call = await gate.switch.call(**hostile)
        await call.wait(PATIENCE)
        await gate.quiet()
        assert call.route == "unrecorded"
        assert call.result in ("no_answer", "failed")
        sent = "\n".join(one.text for one in call.commands)
        for part in ("touch", "Evil", "xxxxx", "etc", "\u00e9", "$"):
            assert part not in sent
        assert gate.switch.expanded == []


async def test_a_withheld_number_is_nobodys(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call(caller="")
        assert await answered(call, "2") == "declined"
        await gate.quiet()
        assert gate.payload(call)["call"]["subject_ref"] is None


async def test_a_line_that_nobody_knows(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call("sales")
        assert await call.wait(PATIENCE) == "failed"
        await gate.quiet()
        await gate.decided([("-", "failed", "unknown_line")])


# --- peers that are no FreeSWITCH -------------------------------------------------------------------------------------


async def _peer(gate: Gate, data: bytes) -> bytes:
    """Say something in place of FreeSWITCH; all that is said to it until it is left."""
    reader, writer = await asyncio.open_connection(HOST, gate.server.port)
    try:
        async with asyncio.timeout(PATIENCE):
            assert await reader.readuntil(b"\n\n") == b"connect\n\n"
            writer.write(data)
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


FIRST = (
    "Event-Name: CHANNEL_DATA",
    "Unique-ID: 672b2648-702b-4a5d-9c19-97d5e750ac00",
    "Caller-Unique-ID: 672b2648-702b-4a5d-9c19-97d5e750ac00",
    "Caller-Context: ivr-consent",
    "variable_ivr_consent_line: support",
    "Content-Type: command/reply",
    "Reply-Text: %2BOK%0A",
    "Socket-Mode: async",
    "Control: full",
)


@pytest.mark.parametrize(
    "lines",
    [
        *(
            tuple(line for line in FIRST if not line.startswith(name))
            for name in ("Unique-ID", "Socket-Mode", "Control")
        ),
        *(tuple(line for line in FIRST if not line.startswith(name)) for name in ("Caller-Unique-ID", "Content-Type")),
        tuple(line.replace("async", "static") for line in FIRST),
        tuple(line.replace("full", "single-channel") for line in FIRST),
        tuple(line.replace("Unique-ID: 672b", "Unique-ID: ../672b") for line in FIRST),
        tuple(line.replace("ac00", "ac00%0Aapi%20status") for line in FIRST),
        tuple(line.replace("ac00", "ac00${x}") for line in FIRST),
        (*FIRST, "Unique-ID: another"),
        (*FIRST, "Content-Length: -5"),
        (*FIRST, "Content-Length: 99999999999"),
        (*FIRST, "no colon"),
        (*FIRST, "variable_x: a\rb"),
        (*FIRST, "variable_x: a%00b"),
        (*FIRST, "Caller-Caller-ID-Name: a%0Ab"),
        (*FIRST, "variable_x: " + "y" * 70_000),
    ],
    ids=range(18),
)
async def test_a_first_word_that_is_wrong_ends_the_connection(tmp_path: Path, lines: tuple[str, ...]) -> None:
    """And no call of it comes into being: nothing is said, played or written of it."""
    async with opened(tmp_path) as gate:
        assert await _peer(gate, "\n".join(lines).encode() + b"\n\n") == b""
        await gate.quiet()
        assert gate.decisions() == []
        call = await gate.switch.call()
        assert await answered(call, "2") == "declined", "nobody else is harmed"


async def test_silence_and_half_a_header_meet_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "FIRST_WORDS_DEADLINE_S", 0.2)
    async with opened(tmp_path) as gate:
        assert await _peer(gate, b"") == b""
        assert await _peer(gate, b"Content-Type: comm") == b""
        await gate.quiet()
        assert gate.decisions() == []


async def test_replies_that_nobody_asked_for_end_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        first = "\n".join(FIRST).encode() + b"\n\n"
        unasked = b"Content-Type: command/reply\nReply-Text: +OK\n\n" * 9
        await _peer(gate, first + unasked)
        await gate.quiet()
        await gate.decided([("-", "failed", "protocol_error")])


async def test_a_flood_of_events_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr_consent.pbx.freeswitch.server.MAX_EVENTS", 50)
    async with opened(tmp_path) as gate:
        body = b'{"Event-Name":"DTMF","Unique-ID":"other"}'
        event = b"Content-Type: text/event-json\nContent-Length: %d\n\n%s" % (len(body), body)
        await _peer(gate, "\n".join(FIRST).encode() + b"\n\n" + event * 100)
        await gate.quiet()
        await gate.decided([("-", "failed", "too_many_events")])


async def test_events_of_other_channels_are_nothing_to_this_one(tmp_path: Path) -> None:
    """A key and a hang-up of another call."""
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        other = await gate.switch.call()
        await call.wait_execute(WINDOW)
        body = f'{{"Event-Name":"DTMF","Unique-ID":"{other.uuid}","DTMF-Digit":"1","DTMF-Duration":"100"}}'
        assert call.controller is not None
        for connection in gate.server.calls:
            if connection.uniqueid == call.uuid:
                connection.data_received(
                    f"Content-Type: text/event-json\nContent-Length: {len(body)}\n\n{body}".encode()
                )
        assert await call.wait(PATIENCE) == "no_answer"


# --- the switch's own ends --------------------------------------------------------------------------------------------


async def test_a_server_that_hangs_loses_the_call_to_the_unrecorded_line(tmp_path: Path) -> None:
    """The lease, which our own steps move on: it is not cut off while it works."""
    plan = tiny_plan(tmp_path / "audio", samples=8 * 1500, timeout_ms=400)
    async with opened(tmp_path, plan=plan, lease_s=2) as gate:
        call = await gate.switch.call()
        assert await answered(call, "2") == "declined", "three prompts of 1.5 s each outlast the first lease of 2 s"
        moved = [one for one in gate.switch.asked if one.startswith("sched_transfer")]
        assert moved
        assert all(f"{call.uuid} support.hangs XML ivr-consent" in one for one in moved)
        assert all(int(one.split("+")[1].split(" ")[0]) >= ch.LEASE_S for one in moved)


async def test_a_connection_that_breaks_is_a_failed_call(tmp_path: Path) -> None:
    async with opened(tmp_path) as gate:
        call = await gate.switch.call()
        await call.wait_execute(WINDOW)
        call.cut()
        await gate.quiet()
        await gate.decided([("support", "failed", "connection_lost")])


async def test_calls_at_once(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "audio", timeout_ms=4000)
    async with opened(tmp_path, plan=plan) as gate:
        calls = [await gate.switch.call() for _ in range(40)]
        for number, call in enumerate(calls):
            await call.wait_execute("playback silence_stream://4000")
            call.press("12"[number % 2], 0.06)
        results = [await call.wait(PATIENCE) for call in calls]
        assert results == ["granted", "declined"] * 20
        await gate.quiet()
        assert len(gate.recordings()) == 20
