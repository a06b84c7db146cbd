"""The fake FreeSWITCH plays channel and dialplan as the real one was seen to: above all where it is awkward."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ivr_consent.testing.fake_freeswitch import Dialplan, FakeCall, FakeFreeSwitch, Place, gate
from ivr_consent.testing.fake_freeswitch_events import encode
from ivr_consent.testing.freeswitch_transcripts import Message, TranscriptError, event, messages, parse, read

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "freeswitch-transcripts"
SPEED = 5.0
SLOW = 3.0  # where something has to happen in the middle of a prompt
PATIENCE = 20.0

Reply = dict[str, str]


class Peer:
    """The other side of an event socket connection, for a test to speak."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.events: list[Reply] = []
        self.unread: list[Message] = []

    async def message(self) -> Message:
        """The next message, of whatever kind. Raises EOFError at the end."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\n\n")
            length = re.search(rb"^Content-Length: (\d+)$", head, re.MULTILINE)
            body = await self.reader.readexactly(int(length[1])) if length else b""
        [message] = messages(head + body)
        found = event(message)
        if found is not None:
            self.events.append(found)
        return message

    async def answer(self, command: str) -> str:
        """Send a command; what is answered, events aside."""
        self.writer.write(f"{command}\n\n".encode())
        while True:
            message = await self.message()
            if message.kind.startswith("text/event"):
                continue
            return message.body.decode() if message.kind == "api/response" else message.headers.get("Reply-Text", "")

    async def event(self, name: str, **wanted: str) -> Reply:
        """The next event of a name, one that has come already included."""
        headers = {key.replace("_", "-"): value for key, value in wanted.items()}
        while True:
            for found in self.events:
                if found["Event-Name"] == name and headers.items() <= found.items():
                    self.events.remove(found)
                    return found
            await self.message()

    async def execute(self, application: str, data: str = "", *, wait: bool = True, lock: bool = True) -> Reply:
        """Run an application; its CHANNEL_EXECUTE_COMPLETE."""
        uid = f"{application}-{len(data)}-{id(data) % 9973}"
        arguments = f"\nexecute-app-arg: {data}" if data else ""
        text = f"sendmsg\ncall-command: execute\nexecute-app-name: {application}{arguments}\nEvent-UUID: {uid}"
        assert await self.answer(text + ("\nevent-lock: true" if lock else "")) == "+OK"
        return await self.event("CHANNEL_EXECUTE_COMPLETE", Application_UUID=uid) if wait else {}

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


Behave = Callable[[Peer], Awaitable[None]]
EVENTS = "CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP PLAYBACK_STOP RECORD_START RECORD_STOP DTMF"


@contextlib.asynccontextmanager
async def serving(behave: Behave) -> AsyncIterator[int]:
    """A server that behaves so on each connection; its port."""
    tasks: set[asyncio.Task[None]] = set()
    peers: list[Peer] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(reader, writer)
        peers.append(peer)
        try:
            await behave(peer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for peer in peers:
            await peer.close()


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name, seconds, rate in (("p3", 3.0, 8000), ("p1", 1.0, 8000), ("p16k", 1.0, 16000), ("p48k", 1.0, 48000)):
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(bytes(int(2 * rate * seconds)))
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes((folder / "p3.wav").read_bytes()[: 44 + 16000])
    return folder


async def opening(peer: Peer) -> None:
    """What a server says first."""
    peer.writer.write(b"connect\n\n")
    call = (await peer.message()).headers["Unique-ID"]
    assert await peer.answer(f"filter Unique-ID {call}") == f"+OK filter added. [Unique-ID]=[{call}]"
    assert await peer.answer(f"event json {EVENTS}") == "+OK event listener enabled json"


Steps = Callable[[Peer, FakeCall], Awaitable[None]]


async def talk_to(sounds: Path, steps: Steps, *, speed: float = SPEED, rate: int = 8000) -> FakeCall:
    """One call whose server takes the steps, with the prompts at hand; the call, when the dialplan has gone on."""
    failed: list[BaseException] = []
    call: FakeCall | None = None
    began = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await began.wait()
        assert call is not None
        try:
            await opening(peer)
            await steps(peer, call)
        except BaseException as error:
            failed.append(error)
            raise

    async with (
        serving(behave) as port,
        FakeFreeSwitch("127.0.0.1", port, sounds=sounds, speed=speed) as switch,
    ):
        call = await switch.call(rate=rate)
        began.set()
        await call.wait(PATIENCE)
    if failed:
        raise failed[0]
    return call


# --- the gate, and what happens when the server fails -----------------------------------------------------------------


async def granting(peer: Peer) -> None:
    await opening(peer)
    await peer.execute("answer")
    await peer.execute("unset", "socket_resume")
    await peer.execute("set", "ivr_consent_result=granted")
    assert await peer.answer("exit") == "+OK bye"


async def test_a_server_that_grants_and_leaves_sends_the_call_to_the_recorded_line() -> None:
    async with serving(granting) as port, FakeFreeSwitch("127.0.0.1", port) as switch:
        call = await switch.call()
        assert await call.wait(PATIENCE) == "granted"
        assert call.route == "recorded"
        assert str(call.place) == "support_recorded XML default"
        assert switch.leases(call) == 0


async def test_nobody_listens() -> None:
    async with FakeFreeSwitch("127.0.0.1", 1) as switch:
        call = await switch.call()
        assert await call.wait(PATIENCE) == "failed"
        assert (call.route, call.reason) == ("unrecorded", "server_failed")
        assert "stop_record_session" in [each.application for each in call.executed][-4:]


async def at_once(peer: Peer) -> None:
    """Close before ``connect``."""


async def after_connect(peer: Peer) -> None:
    await peer.answer("connect")


async def silent(peer: Peer) -> None:
    await asyncio.sleep(PATIENCE)


async def silent_after_connect(peer: Peer) -> None:
    await peer.answer("connect")
    await asyncio.sleep(PATIENCE)


@pytest.mark.parametrize("behave", [at_once, after_connect])
async def test_a_server_that_closes_lets_the_dialplan_go_on_at_once(behave: Behave) -> None:
    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port, lease_s=60) as switch:
        call = await switch.call()
        assert await call.wait(PATIENCE) == "failed"
        assert (call.route, call.reason) == ("unrecorded", "server_failed")


async def test_without_socket_resume_a_server_that_closes_before_connect_parks_the_call_for_ever() -> None:
    async with serving(at_once) as port:
        plan = Dialplan(gate("support", f"127.0.0.1:{port}", "a XML default", "b XML default", resume=False))
        lines = {"support": ("a XML default", "b XML default")}
        async with FakeFreeSwitch("127.0.0.1", port, dialplan=plan, lines=lines) as switch:
            call = await switch.call()
            await call.wait_execute("socket")
            with pytest.raises(TimeoutError):
                await call.wait(0.5)
            assert call.parked
            assert not call.route
            call.caller_hangs_up()
            await call.wait_done(PATIENCE)


@pytest.mark.parametrize("behave", [silent, silent_after_connect])
async def test_the_lease_takes_the_call_from_a_server_that_hangs(behave: Behave) -> None:
    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port, lease_s=1) as switch:
        call = await switch.call()
        await call.wait(PATIENCE)
        assert (call.route, call.result, call.reason) == ("unrecorded", "failed", "server_hangs")


@pytest.mark.parametrize("resume", [True, False])
async def test_a_server_that_dies_in_a_prompt(resume: bool, sounds: Path) -> None:
    """With socket_resume the prompt ends there; without, it plays to its end and the dialplan goes on then."""

    async def behave(peer: Peer) -> None:
        await opening(peer)
        await peer.execute("answer")
        await peer.execute("playback", "p3.wav", wait=False)
        await asyncio.sleep(1.0 / SPEED)

    async with (
        serving(behave) as port,
        FakeFreeSwitch("127.0.0.1", port, sounds=sounds, speed=SPEED, resume=resume, lease_s=60) as switch,
    ):
        call = await switch.call()
        began = await call.wait_execute("playback")
        gone = await call.wait_execute("transfer support.after")
        assert await call.wait(PATIENCE) == "failed"
        assert call.route == "unrecorded"
        lasted = (gone - began) * SPEED
        assert (lasted < 2.9) if resume else (lasted > 2.9)
        played = int(call.variables["playback_last_offset_pos"])
        assert (played < 24000) if resume else (played == 24000)


@pytest.mark.parametrize("resume", [True, False])
async def test_socket_resume_left_on_hangs_a_call_that_was_transferred(resume: bool) -> None:
    async def behave(peer: Peer) -> None:
        await opening(peer)
        await peer.execute("answer")
        if not resume:
            await peer.execute("unset", "socket_resume")
        await peer.execute("sched_cancel")
        await peer.execute("transfer", "support_recorded XML default")

    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port) as switch:
        call = await switch.call()
        await call.wait_execute("park")
        assert call.controller is not None
        async with asyncio.timeout(PATIENCE):
            await call.controller.lost.wait()
        await asyncio.sleep(0.1)  # nothing happens is what is seen here
        assert call.running_state == ("CS_RESET" if resume else "CS_EXECUTE")
        assert call.alive


async def test_a_recording_goes_on_when_the_server_dies_and_the_unrecorded_way_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.raw"

    async def behave(peer: Peer) -> None:
        await opening(peer)
        await peer.execute("answer")
        await peer.execute("record_session", str(path))
        await peer.event("RECORD_START", Record_File_Path=str(path))

    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port) as switch:
        call = await switch.call()
        await call.wait_execute("transfer support.after")
        assert [each.path for each in call.started] == [str(path)]
        await call.wait(PATIENCE)
        assert call.recordings == []
        assert path.exists()


async def test_an_unknown_application_hangs_up() -> None:
    async def behave(peer: Peer) -> None:
        await opening(peer)
        assert await peer.answer("sendmsg\ncall-command: execute\nexecute-app-name: nosuchapp") == "+OK"
        await peer.event("CHANNEL_HANGUP", Hangup_Cause="DESTINATION_OUT_OF_ORDER")

    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port) as switch:
        call = await switch.call()
        await call.wait_done(PATIENCE)
        assert call.cause == "DESTINATION_OUT_OF_ORDER"


# --- the table of playbacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "response", "status", "ms", "least", "most"),
    [
        ("to the end", "FILE PLAYED", "done", 3000, 24000, 24000),
        ("*", "FILE PLAYED", "break", 2048, 160, 16000),
        ("1", "FILE PLAYED", "done", 3000, 24000, 24000),
        ("uuid_break", "FILE PLAYED", "break", 2048, 160, 16000),
        ("uuid_fileman stop", "FILE PLAYED", "done", 2048, 16384, 16384),
        ("uuid_fileman seek:+8000", "FILE PLAYED", "done", 3000, 24160, 24160),
        ("hang-up", "PLAYBACK ERROR", "done", 2048, 160, 16000),
    ],
)
async def test_what_is_said_of_a_three_second_prompt(
    what: str, response: str, status: str, ms: int, least: int, most: int, sounds: Path
) -> None:
    found: dict[str, Reply] = {}

    async def steps(peer: Peer, call: FakeCall) -> None:
        await peer.execute("answer")
        await peer.execute("playback", "p3.wav", wait=False)
        await call.wait_execute("playback")
        await asyncio.sleep(0.6 / SLOW)
        if what in "*1":
            call.digit(what)
        elif what == "hang-up":
            call.caller_hangs_up()
        elif what.startswith("uuid"):
            verb, _, more = what.partition(" ")
            assert await peer.answer(f"api {verb} {call.uuid} {more}".strip()) == "+OK\n"
        found["stop"] = await peer.event("PLAYBACK_STOP")
        found["complete"] = await peer.event("CHANNEL_EXECUTE_COMPLETE", Application="playback")

    await talk_to(sounds, steps, speed=SLOW)
    complete, stop = found["complete"], found["stop"]
    assert complete["Application-Response"] == response
    assert stop["Playback-Status"] == status
    assert int(complete["variable_playback_ms"]) == ms
    assert least <= int(complete["variable_playback_last_offset_pos"]) <= most
    assert complete.get("variable_playback_terminator_used") == ("*" if what == "*" else None)


@pytest.mark.parametrize(
    ("file", "response", "ms", "position"),
    [
        ("nosuch.wav", "FILE NOT FOUND", "1000", "8000"),  # stale: of the prompt before
        ("empty.wav", "FILE NOT FOUND", "1000", "8000"),
        ("", "PLAYBACK ERROR", "1000", "8000"),
        ("cut.wav", "FILE PLAYED", "1000", "8000"),
        ("p16k.wav", "FILE PLAYED", "1000", "8000"),
        ("p48k.wav", "FILE PLAYED", "1000", "7999"),
        ("file_string://p1.wav!nosuch.wav!p1.wav", "FILE PLAYED", "2250", "18000"),
        ("silence_stream://500", "FILE PLAYED", "500", "4000"),
    ],
)
async def test_what_is_said_of_other_files(file: str, response: str, ms: str, position: str, sounds: Path) -> None:
    found: list[Reply] = []

    async def steps(peer: Peer, call: FakeCall) -> None:
        await peer.execute("answer")
        await peer.execute("playback", "p1.wav")
        found.append(await peer.execute("playback", file))

    await talk_to(sounds, steps, speed=20.0)
    [complete] = found
    assert complete["Application-Response"] == response
    assert complete["variable_playback_ms"] == ms
    assert complete["variable_playback_last_offset_pos"] == position


async def test_a_prompt_takes_its_time(sounds: Path) -> None:
    took: list[float] = []

    async def steps(peer: Peer, call: FakeCall) -> None:
        await peer.execute("answer")
        began = asyncio.get_running_loop().time()
        await peer.execute("playback", "p1.wav")
        took.append(asyncio.get_running_loop().time() - began)

    await talk_to(sounds, steps, speed=1.0)
    assert took[0] >= 0.99


# --- keys -------------------------------------------------------------------------------------------------------------

QUESTION = "1 1 1 1500 none silence_stream://250 silence_stream://100 d ^[12]$ 1500"


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [("1", "1", "success"), ("7", None, "success"), ("", None, "failure")],
)
async def test_the_answer_to_a_question(key: str, value: str | None, result: str, sounds: Path) -> None:
    found: list[Reply] = []

    async def steps(peer: Peer, call: FakeCall) -> None:
        await peer.execute("answer")
        await peer.execute("play_and_get_digits", QUESTION, wait=False)
        await call.wait_execute("play_and_get_digits")
        if key:
            call.press(key, 0.05)
        found.append(await peer.event("CHANNEL_EXECUTE_COMPLETE", Application="play_and_get_digits"))

    await talk_to(sounds, steps)
    assert found[0].get("variable_d") == value
    assert found[0]["variable_read_result"] == result
    assert found[0].get("variable_d_invalid") == ("7" if key == "7" else None)


@pytest.mark.parametrize("flush", [True, False])
async def test_a_key_pressed_before_the_question_answers_it_unless_it_is_flushed(flush: bool, sounds: Path) -> None:
    found: list[Reply] = []

    async def steps(peer: Peer, call: FakeCall) -> None:
        await peer.execute("answer")
        await peer.execute("playback", "p1.wav", wait=False)
        await call.wait_execute("playback")
        call.blocked = True  # the key stays in the queue
        call.digit("2")
        await peer.event("CHANNEL_EXECUTE_COMPLETE", Application="playback")
        if flush:
            await peer.execute("flush_dtmf")
        call.blocked = False
        found.append(await peer.execute("play_and_get_digits", QUESTION))

    await talk_to(sounds, steps, speed=20.0)
    assert found[0].get("variable_d") == (None if flush else "2")


async def test_a_star_code_stops_the_recording_and_fires_no_dtmf(tmp_path: Path) -> None:
    plan = """<include><extension name="w"><condition field="destination_number" expression="^withdraw$">
      <action application="stop_record_session" data="all"/><action application="set" data="state=withdrawn"/>
      <action application="event" data="Event-Subclass=consent::withdraw,Event-Name=CUSTOM"/>
    </condition></extension></include>"""
    async with FakeFreeSwitch(dialplan=Dialplan(plan), lines={"x": ("7002 XML default", "7001 XML default")}) as switch:
        watch = await inbound(switch)
        await watch.answer("event json DTMF RECORD_STOP CUSTOM consent::withdraw")
        call = await switch.call("x", place="7002 XML default")
        call.metas.clear()
        await call.wait_execute("park")
        call.broadcast("bind_meta_app", "9 a s1 execute_extension::withdraw XML default")
        await call.wait_execute("bind_meta_app")
        assert call.record(str(tmp_path / "a.wav"))
        call.bridge()
        call.press("*", 0.02)
        call.press("9", 0.04)
        await watch.event("RECORD_STOP", Unique_ID=call.uuid)
        await watch.event("CUSTOM", Event_Subclass="consent::withdraw", Unique_ID=call.uuid)
        assert call.bridged
        assert call.variables["state"] == "withdrawn"
        assert not [each for each in watch.events if each["Event-Name"] == "DTMF"]
        await watch.close()


# --- recordings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["bad.xyz", "/proc/nowhere/x.wav"])
async def test_a_recorder_that_fails_is_told_by_nothing(path: str, tmp_path: Path) -> None:
    async def behave(peer: Peer) -> None:
        await opening(peer)
        await peer.execute("answer")
        path_ = path if path.startswith("/") else str(tmp_path / path)
        complete = await peer.execute("record_session", path_)
        assert complete["Application-Response"] == "_none_"
        assert not [each for each in peer.events if each["Event-Name"] == "RECORD_START"]

    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port) as switch:
        call = await switch.call()
        await call.wait(PATIENCE)
        assert call.started == []
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["raw", "wav"])
async def test_both_sides_are_written_while_they_talk_and_not_before(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    async with FakeFreeSwitch(lines={"x": ("7002 XML default", "7001 XML default")}) as switch:
        call = await switch.call("x", place="7002 XML default")
        await call.wait_execute("park")
        call.variables |= {"RECORD_STEREO": "true", "RECORD_BRIDGE_REQ": "true", "record_sample_rate": "8000"}
        assert call.record(str(path))
        await asyncio.sleep(0.15)
        await call.talk(0.3)
        call.unbridge()
        call.stop_recording("all")
        if suffix == "raw":
            data = path.read_bytes()
        else:
            with wave.open(str(path), "rb") as file:
                assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
                data = file.readframes(file.getnframes())
        assert 4 * 2400 <= len(data) < 4 * 8000, "and the silence of a busy machine's pauses"
        assert any(data[:400]), "nothing of before the bridge"
        assert data[0::4] != data[2::4]


# --- the listening port -----------------------------------------------------------------------------------------------


async def inbound(switch: FakeFreeSwitch, password: str | None = None, local: str = "127.0.0.1") -> Peer:
    """Connect and log in."""
    port = await switch.listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))
    peer = Peer(reader, writer)
    assert (await peer.message()).kind == "auth/request"
    assert await peer.answer(f"auth {switch.password if password is None else password}") == "+OK accepted"
    return peer


async def test_the_sweep_sees_media_bugs_conferences_and_the_application_record(tmp_path: Path) -> None:
    real = read(TRANSCRIPTS / "86-sweep.txt")
    plan = """<include><extension name="r"><condition field="destination_number" expression="^7104$">
      <action application="record" data="{}/r.wav 20"/></condition></extension>
      <extension name="c"><condition field="destination_number" expression="^7105$">
      <action application="conference" data="room1@default"/></condition></extension></include>"""
    dialplan = Dialplan(plan.format(tmp_path))
    async with FakeFreeSwitch(dialplan=dialplan, lines={"x": ("7002 XML default", "7001 XML default")}) as switch:
        guard = await inbound(switch)
        one, two = await switch.call("x", place="7104"), await switch.call("x", place="7105")
        three = await switch.call("x", place="7002")
        await three.wait_execute("park")
        await two.wait_execute("conference")
        assert three.uuid_record(tmp_path / "a.wav") == "+OK Success\n"
        assert switch.rooms["room1"].record(str(tmp_path / "c.wav"))
        rows = json.loads(await guard.answer("api show channels as json"))
        recorded = next(
            json.loads(message.body)
            for block in real.blocks("watch")
            for message in messages(block.data)
            if message.body.startswith(b'{"row_count"')
        )
        assert list(rows["rows"][0]) == list(recorded["rows"][0])
        assert {row["uuid"]: row["application"] for row in rows["rows"]} == {
            one.uuid: "record",
            two.uuid: "conference",
            three.uuid: "park",
        }
        assert f"<target>{tmp_path}/a.wav</target>" in await guard.answer(f"api uuid_buglist {three.uuid}")
        assert await guard.answer(f"api uuid_buglist {one.uuid}") == "<media-bugs>\n</media-bugs>\n"
        assert (await guard.answer(f"api uuid_record {one.uuid} stop all")).startswith("-ERR")
        assert await guard.answer(f"api uuid_break {one.uuid}") == "+OK\n"
        async with asyncio.timeout(PATIENCE):
            await one.done.wait()
        assert not one.recordings
        [room] = json.loads(await guard.answer("api conference json_list"))
        assert room["members"][0]["record_path"] == f"{tmp_path}/c.wav"
        known = [m.body for b in real.blocks("watch") for m in messages(b.data) if m.body.startswith(b"[{")]
        assert list(room) == list(json.loads(known[0])[0])
        await guard.answer("api conference room1 recording stop all")
        assert not switch.rooms["room1"].recordings
        await guard.close()


async def test_a_background_job_is_told_by_an_event() -> None:
    async with FakeFreeSwitch() as switch:
        guard = await inbound(switch)
        await guard.answer("event plain BACKGROUND_JOB")
        reply = await guard.answer("bgapi uuid_exists nobody\nJob-UUID: 1234")
        assert reply == "+OK Job-UUID: 1234"
        job = await guard.event("BACKGROUND_JOB", Job_UUID="1234")
        assert job["Job-Command-Arg"] == "nobody"
        assert await guard.answer("api nonsense") == "-ERR nonsense Command not found!\n"
        await guard.close()


async def test_events_of_all_channels_reach_the_guard_and_filters_hold_them_back(tmp_path: Path) -> None:
    async with FakeFreeSwitch(lines={"x": ("7002 XML default", "7001 XML default")}) as switch:
        guard = await inbound(switch)
        await guard.answer("event json RECORD_START MEDIA_BUG_START CHANNEL_BRIDGE CHANNEL_HOLD CHANNEL_UNBRIDGE")
        one, two = [await switch.call("x", place="7002 XML default") for _ in range(2)]
        await two.wait_execute("park")
        leg = one.bridge()
        assert (await guard.event("CHANNEL_BRIDGE"))["Bridge-B-Unique-ID"] == leg.uuid
        leg.record(str(tmp_path / "leg.wav"))
        assert (await guard.event("RECORD_START"))["Unique-ID"] == leg.uuid
        one.hold()
        assert (await guard.event("CHANNEL_HOLD"))["Unique-ID"] == leg.uuid
        await guard.answer(f"filter Unique-ID {two.uuid}")
        one.record(str(tmp_path / "one.wav"))
        two.record(str(tmp_path / "two.wav"))
        assert (await guard.event("RECORD_START"))["Unique-ID"] == two.uuid
        await guard.close()


# --- what callers and lines bring -------------------------------------------------------------------------------------


async def test_what_looks_encoded_stays_so_in_a_plain_event() -> None:
    assert encode("a%0Avariable_x: yes") == "a%0Avariable_x%3A%20yes"
    assert encode("Sat, 21 Nov (1)/~") == "Sat,%2021%20Nov%20(1)/~"


async def test_braces_in_an_argument_are_expanded_and_apis_in_them_noted() -> None:
    async def behave(peer: Peer) -> None:
        await opening(peer)
        complete = await peer.execute("set", "x=${lit}")
        assert "Permission Denied" in complete["Application-Data"]

    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port) as switch:
        call = await switch.call(variables={"lit": "${system(touch /nowhere)}"})
        await call.wait(PATIENCE)
        assert switch.expanded == ["system touch /nowhere"]


async def test_many_calls_at_once(sounds: Path) -> None:
    async def behave(peer: Peer) -> None:
        await opening(peer)
        await peer.execute("answer")
        await peer.execute("playback", "p1.wav")
        await peer.execute("set", "ivr_consent_result=granted")
        await peer.execute("unset", "socket_resume")

    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port, sounds=sounds, speed=SPEED) as switch:
        calls = [await switch.call() for _ in range(100)]
        assert [await call.wait(PATIENCE) for call in calls] == ["granted"] * 100
        assert {call.route for call in calls} == {"recorded"}


@pytest.mark.parametrize("data", [b"\n\r\n" * 100, b"sendmsg\ncontent-length: -7\n\n", b"x: " + b"y" * 2_000_000])
async def test_nonsense_on_the_wire_harms_nobody_else(data: bytes) -> None:
    async def behave(peer: Peer) -> None:
        peer.writer.write(data)
        await asyncio.sleep(0.1)

    async with serving(behave) as port, FakeFreeSwitch("127.0.0.1", port) as switch:
        call = await switch.call()
        assert await call.wait(PATIENCE) == "failed"
        assert call.route == "unrecorded"


# --- the dialplan -----------------------------------------------------------------------------------------------------


def test_conditions_breaks_and_groups_of_the_dialplan() -> None:
    plan = Dialplan("""<include><context name="c">
      <extension name="all" continue="true"><condition><action application="log" data="hello"/></condition></extension>
      <extension name="one"><condition field="destination_number" expression="^(\\d+)-x$" break="on-false">
        <action application="set" data="n=$1"/></condition>
        <condition field="${state}" expression="^good$"><action application="answer"/>
        <anti-action application="hangup"/></condition></extension>
      <extension name="two"><condition field="destination_number" expression="^.*$">
        <action application="park"/></condition></extension></context></include>""")
    good: Callable[[str], str] = {"${state}": "good"}.__getitem__
    bad: Callable[[str], str] = {"${state}": "bad"}.__getitem__
    hello = ("log", "hello")
    assert plan.actions(Place("12-x", "XML", "c"), good) == [hello, ("set", "n=12"), ("answer", "")]
    assert plan.actions(Place("12-x", "XML", "c"), bad)[:3] == [hello, ("set", "n=12"), ("hangup", "")]
    assert plan.actions(Place("y", "XML", "c"), good) == [hello, ("park", "")]
    with pytest.raises(ValueError, match="no XML"):
        Dialplan("<context>")


# --- transcripts ------------------------------------------------------------------------------------------------------


def test_every_transcript_can_be_read_and_each_block_of_events_is_whole() -> None:
    files = sorted(TRANSCRIPTS.glob("*.txt"))
    assert len(files) > 30
    for path in files:
        transcript = read(path)
        assert transcript.title.startswith("case ")
        for tag in transcript.tags:
            for block in transcript.blocks(tag):
                if block.by_switch:
                    assert messages(block.data), (path.name, block.seconds)


@pytest.mark.parametrize(
    "data", [b"nonsense\n", b"#### 1.0 APP>FS[out] 5\nabc\n", b"# no end", b"#### x APP>FS[out] 1\na\n"]
)
def test_what_is_no_transcript_is_refused(data: bytes) -> None:
    with pytest.raises(TranscriptError):
        parse(data)
