"""The fake Asterisk answers as the recorded real one did."""

from __future__ import annotations

import asyncio
import contextlib
import re
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ivr_consent.testing.fake_asterisk import FakeAsterisk, FakeCall
from ivr_consent.testing.fake_asterisk_wire import VERSION_16, words_of
from ivr_consent.testing.transcripts import Kind, read

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "asterisk-transcripts"
SPEED = 10.0
PATIENCE = 30.0

# What the fake knows; the real one has some more.
KNOWN = re.compile(
    r"(?i)(ANSWER|CHANNEL STATUS|STREAM FILE|WAIT FOR DIGIT|GET VARIABLE|GET FULL VARIABLE|SET VARIABLE|HANGUP|NOOP"
    r"|VERBOSE|EXEC (NoOp|NoSuchApp|MixMonitor|StopMixMonitor|Playback|Wait)|BOGUS|GET$|GET DATA|GET OPTION|SAY "
    r"|DATABASE|CONTROL STREAM FILE|RECEIVE CHAR|SET (MUSIC|CALLERID|CONTEXT|EXTENSION|PRIORITY)|RECORD FILE|SEND)"
)
# Variables of Asterisk that the gate does not look at, and formats that the fake does not read.
UNLIKE = re.compile(r"PLAYBACKOFFSET|HANGUPCAUSE|promptw|SHELL|CALLERID|VARIABLE L|EXEC Set")

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for name, samples in {"prompt3": 24000, "prompt10": 80000, "beep": 3520, "empty": 0, "short": 480}.items():
        (tmp_path / f"{name}.ulaw").write_bytes(b"\xff" * samples)
    return tmp_path


class Peer:
    """The server's side of one session, for a test to speak."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.hangups = 0

    async def line(self) -> str:
        """The next line; empty at the end. Lines HANGUP are counted and left out."""
        while True:
            async with asyncio.timeout(PATIENCE):
                line = (await self.reader.readline()).decode("latin-1").removesuffix("\n")
            if line != "HANGUP":
                return line
            self.hangups += 1

    async def environment(self) -> list[str]:
        lines = []
        while line := await self.line():
            lines.append(line)
        return lines

    def send(self, command: str) -> None:
        self.writer.write(command.encode("latin-1") + b"\n")

    async def say(self, command: str) -> str:
        self.send(command)
        return await self.line()

    async def eof(self) -> None:
        assert await self.line() == ""


@contextlib.asynccontextmanager
async def session(
    sounds: Path, *, exit_on_hangup: bool = False, speed: float = 1.0, lease_s: float = 15.0, version: str | None = None
) -> AsyncIterator[tuple[FakeCall, Peer, list[str]]]:
    """A call of the fake Asterisk, its server's side, and the environment."""
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[Peer] = loop.create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connected.done():
            writer.close()  # the hang-up handler
        else:
            connected.set_result(Peer(reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    switch = FakeAsterisk(
        "127.0.0.1", port, sounds=sounds, monitor=sounds, exit_on_hangup=exit_on_hangup, speed=speed, lease_s=lease_s
    )
    try:
        async with switch:
            call = await (switch.call() if version is None else switch.call(version=version))
            async with asyncio.timeout(PATIENCE):
                peer = await connected
            try:
                yield call, peer, await peer.environment()
            finally:
                peer.writer.close()
                with contextlib.suppress(ConnectionError):
                    await peer.writer.wait_closed()
    finally:
        server.close()
        await server.wait_closed()


# --- against the transcripts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["16", "22"])
async def test_environment_has_the_recorded_keys_in_order(sounds: Path, version: str) -> None:
    recorded = [
        entry.data.decode().partition(":")[0]
        for entry in read(TRANSCRIPTS / f"agi-basic-{version}.txt").sessions()[0]
        if entry.data.startswith(b"agi_") and not entry.data.startswith(b"agi_arg_")
    ]
    async with session(sounds) as (_, _, lines):
        keys = [line.partition(": ")[0] for line in lines]
    assert keys == [*recorded, "agi_arg_1"]
    assert "agi_context: ivr-consent" in lines
    assert "agi_arg_1: support" in lines
    assert "agi_accountcode: " in lines


# What the caller does: after which command the server has sent, how many (recorded) seconds later.
ACTS: dict[str, dict[int, list[tuple[float, str]]]] = {
    "agi-basic": {},
    "agi-stream-digit": {1: [(1.5, "2")]},
    "agi-stream-hangup": {1: [(1.5, "hang up")]},
    "agi-stream-missing": {},
    "agi-wait-digit": {2: [(1.25, "4")], 4: [(1.0, "hang up")]},
    "agi-mixmon": {},
    "agi-hup-default": {1: [(1.5, "hang up")]},
    "agi-hup-idle": {0: [(1.0, "hang up")]},
    "agi-lines": {},
    "agi-get-data": {1: [(0.75, "5")], 2: [(3.5, "1"), (4.3, "2"), (5.1, "#")]},
    "agi-getdata-part": {1: [(0.75, "1"), (1.5, "2")]},
    "agi-option": {1: [(0.75, "2")], 2: [(4.35, "1")]},
    "agi-control": {1: [(0.75, "5")]},
}
RECORDED = [
    (name, version)
    for name in ACTS
    for version in ("16", "22")
    if (name, version) != ("agi-lines", "16")  # 16 splits the long line in it, so the rest is out of step
]
MONITOR = re.compile(r"/srv\S*/monitor")


@pytest.mark.parametrize(("name", "version"), RECORDED)
async def test_replies_are_the_recorded_ones(sounds: Path, name: str, version: str) -> None:
    entries = [
        entry for entry in read(TRANSCRIPTS / f"{name}-{version}.txt").sessions()[0] if entry.kind is not Kind.COMMENT
    ]
    first = next(index for index, entry in enumerate(entries) if entry.kind is Kind.SERVER)
    async with session(sounds, speed=SPEED) as (call, peer, _):
        sent, compared = -1, 0
        position = first
        while position < len(entries):
            command = entries[position].data.decode("latin-1").removesuffix("\n")
            position += 1
            expected = []
            while position < len(entries) and entries[position].kind is Kind.ASTERISK:
                expected.append(entries[position].data.decode("latin-1").removesuffix("\n"))
                position += 1
            sent += 1
            if command.startswith("EXEC Set"):
                break  # a line break inside an argument: from here on the recorded replies are out of step
            if not KNOWN.match(command) or UNLIKE.search(command) or len(command) > 1000:
                continue
            command = MONITOR.sub(str(sounds), command)
            answers = [MONITOR.sub(str(sounds), line) for line in expected if line != "HANGUP"]
            peer.send(command)
            acts = ACTS[name].get(sent)
            if acts is not None:
                await call.wait_command(command.partition(" ")[0])
                if command == "ANSWER":
                    assert await peer.line() == answers.pop(0)
                for seconds, what in acts:
                    asyncio.get_running_loop().call_later(seconds / SPEED, _act, call, what)
                if command == "ANSWER":
                    while not call.hung_up:
                        await asyncio.sleep(0.001)
            for answer in answers:
                got = await peer.line()
                compared += 1
                if answer.startswith("520-"):
                    while not got.startswith("520 "):
                        got = await peer.line()
                    break
                assert _alike(got, answer), f"{command}: {got} instead of {answer}"
        assert compared >= 2
        assert call.hung_up is any(entry.data == b"HANGUP\n" for entry in entries)


def _act(call: FakeCall, what: str) -> None:
    if what == "hang up":
        call.hang_up()
    else:
        call.press(what, 0)


def _alike(got: str, recorded: str) -> bool:
    """Equal but for names that differ by call, and a position within a frame of what time allows."""
    pattern = re.compile(r"Local/[^)]+|PJSIP/[^)]+|0x[0-9a-f]+")
    here, there = (pattern.sub("NAME", line) for line in (got, recorded))
    first, _, end = here.partition(" endpos=")
    second, _, recorded_end = there.partition(" endpos=")
    if not (end and recorded_end):
        return here == there
    # A position is a matter of timing when something ended the prompt early: at this speed 100 ms are a second.
    slack = 0 if int(recorded_end) in (0, 3520, 24000, 80000) else 8000
    return first == second and -320 <= int(end) - int(recorded_end) <= slack


# --- what the transcripts show in time --------------------------------------------------------------------------------


async def test_a_prompt_lasts_as_long_as_its_file(sounds: Path) -> None:
    loop = asyncio.get_running_loop()
    async with session(sounds) as (_, peer, _):
        began = loop.time()
        assert await peer.say('STREAM FILE short "12"') == "200 result=0 endpos=480"
        assert loop.time() - began >= 0.058


async def test_a_command_during_a_prompt_takes_its_reply(sounds: Path) -> None:
    """As recorded in agi-cmd-during: the prompt is cut off, and only the second command is answered."""
    async with session(sounds) as (call, peer, _):
        await peer.say("ANSWER")
        peer.send('STREAM FILE prompt10 ""')
        await call.wait_command("STREAM FILE")
        assert (await peer.say("GET VARIABLE CHANNEL")).startswith("200 result=1 (PJSIP/")
        assert await peer.say("NOOP") == "200 result=0"


async def test_the_second_command_of_a_segment_is_dropped(sounds: Path) -> None:
    async with session(sounds) as (_, peer, _):
        assert await peer.say('ANSWER\nSTREAM FILE beep ""') == "200 result=0"
        assert await peer.say("NOOP\nBOGUS") == "200 result=0"
        assert await peer.say("CHANNEL STATUS") == "200 result=6"


async def test_a_key_counts_when_it_is_released_and_only_if_somebody_waits(sounds: Path) -> None:
    async with session(sounds) as (call, peer, _):
        await peer.say("ANSWER")
        call.press("1", 0)  # nobody waits: dropped
        peer.send('STREAM FILE short ""')
        await call.wait_command("STREAM FILE")
        call.press("2", 0)  # no escape digit: dropped
        assert await peer.line() == "200 result=0 endpos=480"
        assert await peer.say("WAIT FOR DIGIT 50") == "200 result=0"
        peer.send('STREAM FILE short ""')
        await call.wait_command("STREAM FILE", 2)
        call.press("3", 0.15)  # held across the end
        assert await peer.line() == "200 result=0 endpos=480"
        assert await peer.say("WAIT FOR DIGIT 5000") == "200 result=51"
        assert [key for key, _, _ in call.pressed] == ["1", "2", "3"]


async def test_with_agiexitonhangup_the_session_ends_with_the_call(sounds: Path) -> None:
    """As recorded in agi-hup-exit: the reply, two lines HANGUP, the end."""
    async with session(sounds, exit_on_hangup=True) as (call, peer, _):
        await peer.say("ANSWER")
        peer.send("WAIT FOR DIGIT 10000")
        await call.wait_command("WAIT")
        call.hang_up()
        assert await peer.line() == "200 result=-1"
        await peer.eof()
        assert peer.hangups == 2
        assert await call.wait() == "failed"
        assert (call.status, call.route) == ("HANGUP", "unrecorded")


async def test_a_server_that_hangs_is_left_at_the_absolute_timeout(sounds: Path) -> None:
    async with session(sounds, exit_on_hangup=True) as (call, peer, _):
        await peer.say("SET VARIABLE IVR_CONSENT_RESULT granted")
        assert await peer.say('SET VARIABLE TIMEOUT(absolute) "0.1"') == "200 result=1"
        await peer.eof()
        assert await call.wait() == "failed"
        assert (call.reason, call.alive, call.route) == ("server_hangs", True, "unrecorded")


async def test_a_server_that_closes_counts_as_a_success(sounds: Path) -> None:
    async with session(sounds) as (call, peer, _):
        peer.writer.close()
        assert await call.wait() == "failed"
        assert call.status == "SUCCESS"


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with FakeAsterisk("127.0.0.1", port) as switch:
        call = await switch.call()
        assert await call.wait() == "failed"
        assert (call.status, call.route, call.reason) == ("FAILURE", "unrecorded", "server_failed")


# --- the recorder -----------------------------------------------------------------------------------------------------


async def test_mixmonitor_makes_its_file_and_says_so_to_those_who_ask(sounds: Path, tmp_path: Path) -> None:
    file = tmp_path / "rec" / "a.raw"
    async with session(sounds) as (call, peer, _):
        assert await peer.say(f'EXEC MixMonitor "{file},Dbi(MMID)"') == "200 result=0"
        assert file.read_bytes() == b""
        handle = (await peer.say("GET VARIABLE MMID"))[14:-1]
        assert await peer.say(f'GET FULL VARIABLE "${{MIXMONITOR({handle},filename)}}"') == f"200 result=1 ({file})"
        assert await peer.say("SET VARIABLE IVR_CONSENT_RESULT granted") == "200 result=1"
        peer.writer.close()
        await call.wait()
        await call.talk(0.2)
        assert len(call.recorders) == 1
        assert file.stat().st_size == 2 * 1600 * 2
        call.hang_up()
        assert not call.recorders


async def test_what_cannot_be_recorded_is_answered_alike(sounds: Path) -> None:
    async with session(sounds) as (call, peer, _):
        assert await peer.say("EXEC MixMonitor") == "200 result=-1"
        assert await peer.say('EXEC MixMonitor "/proc/1/nope/x.wav,i(MMID)"') == "200 result=0"
        assert await peer.say(f'EXEC MixMonitor "{sounds}/x.nosuchfmt"') == "200 result=0"
        assert not list(sounds.glob("x.*"))
        assert [len(recorder.files) for recorder in call.recorders] == [0, 0]
        assert await peer.say("EXEC StopMixMonitor 0x1234") == "200 result=0"
        assert len(call.recorders) == 2
        assert await peer.say("EXEC StopMixMonitor") == "200 result=0"
        assert [recorder.filename for recorder in call.recorders] == ["/proc/1/nope/x.wav"]


async def test_version_16_writes_wav_files_a_side(sounds: Path, tmp_path: Path) -> None:
    async with session(sounds, version=VERSION_16) as (_, peer, lines):
        assert f"agi_version: {VERSION_16}" in lines
        stem = tmp_path / "b"
        await peer.say(f'EXEC MixMonitor "{stem}.wav,br({stem}-caller.wav)t({stem}-agent.wav)i(X)"')
        for path in (f"{stem}.wav", f"{stem}-caller.wav", f"{stem}-agent.wav"):
            with wave.open(path) as file:
                assert file.getnframes() == 0


async def test_a_call_not_granted_has_its_recorders_stopped_by_the_dialplan(sounds: Path) -> None:
    async with session(sounds) as (call, peer, _):
        await peer.say(f'EXEC MixMonitor "{sounds}/c.raw,Db"')
        peer.writer.close()
        await call.wait()
        assert not call.recorders
        assert len(call.started) == 1


def test_words_are_split_as_asterisk_does() -> None:
    assert words_of(r'SET VARIABLE FOO "a \"quoted\" b"') == ["SET", "VARIABLE", "FOO", 'a "quoted" b']
    assert words_of('STREAM FILE  x ""') == ["STREAM", "FILE", "x", ""]
    assert words_of(r'SET VARIABLE I "a\nb"') == ["SET", "VARIABLE", "I", "anb"]
    assert words_of("") == []
