"""Replays a recorded FreeSWITCH session against the fake: our side's bytes, and what people did, at their moments."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ivr_consent.testing.fake_freeswitch import Dialplan, FakeCall, FakeFreeSwitch
from ivr_consent.testing.freeswitch_transcripts import Block, Closed, Message, Note, Transcript, event, messages

ROOT = "/srv/fs-build/run1"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PATIENCE = 10.0

TELLING = (
    "Application",
    "Application-Data",
    "Application-Response",
    "Playback-File-Path",
    "Playback-Status",
    "Record-File-Path",
    "Media-Bug-Function",
    "Media-Bug-Target",
    "DTMF-Digit",
    "DTMF-Source",
    "Channel-State",
    "Channel-State-Number",
    "Channel-Call-State",
    "Answer-State",
    "Hangup-Cause",
    "Caller-Destination-Number",
    "Action",
    "Conference-Name",
    "Path",
    "variable_playback_ms",
    "variable_playback_terminator_used",
    "variable_read_result",
    "variable_consent_digit",
    "variable_socket_resume",
    "variable_reached",
)

TONE = "tone_stream://%(200,200,440)"
PLACES = f"""<include>
<extension name="7001"><condition field="destination_number" expression="^7001$">
 <action application="set" data="reached=unrecorded"/><action application="answer"/>
 <action application="playback" data="{TONE};loops=5"/><action application="hangup"/></condition></extension>
<extension name="7002"><condition field="destination_number" expression="^7002$">
 <action application="stop_record_session" data="all"/><action application="sched_cancel"/>
 <action application="set" data="reached=unrecorded"/><action application="answer"/>
 <action application="playback" data="{TONE};loops=15"/><action application="hangup"/></condition></extension>
<extension name="7003"><condition field="destination_number" expression="^7003$">
 <action application="unset" data="socket_resume"/>
 <action application="playback" data="{TONE};loops=10"/><action application="hangup"/></condition></extension>
<extension name="7100"><condition field="destination_number" expression="^7100$">
 <action application="answer"/><action application="playback" data="silence_stream://-1"/></condition></extension>
<extension name="7104"><condition field="destination_number" expression="^7104$">
 <action application="answer"/>
 <action application="record" data="{{ROOT}}/recordings/recapp.wav 20 30 20"/></condition></extension>
<extension name="7105"><condition field="destination_number" expression="^7105$">
 <action application="answer"/><action application="conference" data="room1@default"/></condition></extension>
<extension name="7200"><condition field="destination_number" expression="^7200$">
 <action application="set" data="consent_state=none"/><action application="set" data="socket_resume=true"/>
 <action application="sched_transfer" data="+60 7201 XML default"/>
 <action application="socket" data="{{ADDRESS}} async full"/>
 <action application="transfer" data="7201 XML default"/></condition></extension>
<extension name="7201"><condition field="destination_number" expression="^7201$">
 <action application="unset" data="socket_resume"/><action application="stop_record_session" data="all"/>
 <action application="sched_cancel"/><action application="set" data="reached=unrecorded"/>
 <action application="answer"/><action application="playback" data="silence_stream://-1"/></condition></extension>
<extension name="7202"><condition field="destination_number" expression="^7202$">
 <action application="unset" data="socket_resume"/><action application="set" data="reached=recorded"/>
 <action application="playback" data="silence_stream://-1"/></condition></extension>
<extension name="socket"><condition field="destination_number" expression="^s_18084_">
 <action application="socket" data="{{ADDRESS}} {{MODE}}"/>
 <action application="log" data="NOTICE consent: socket application returned"/>
 <action application="transfer" data="7001 XML default"/></condition></extension>
<extension name="resume"><condition field="destination_number" expression="^r_18084_">
 <action application="set" data="socket_resume=true"/><action application="socket" data="{{ADDRESS}} async full"/>
 <action application="log" data="NOTICE consent: socket application returned"/>
 <action application="transfer" data="7001 XML default"/></condition></extension>
<extension name="guard"><condition field="destination_number" expression="^g_18084_">
 <action application="set" data="socket_resume=true"/>
 <action application="sched_transfer" data="+8 7002 XML default"/><action application="answer"/>
 <action application="socket" data="{{ADDRESS}} async full"/>
 <action application="transfer" data="7002 XML default"/></condition></extension>
</include>"""


@dataclass(frozen=True, slots=True)
class Case:
    """A transcript, the place that the call went to, and how the server behaved where no byte of it is recorded."""

    name: str
    place: str = "s_18084_async_full"
    mode: str = "async full"
    closes_at_once: bool = False
    skip: Callable[[str, dict[str, str]], bool] = lambda tag, headers: False
    """Events of the fake that the transcript leaves out, or that came in another order by chance."""
    acts: tuple[tuple[str, int, float, str], ...] = ()
    """After the how-manieth of which application, how many seconds later, what: ``hangup``, or ``APP 11`` (keys, and
    where they come from). For what the order of the messages does not tell."""
    variables: dict[str, str] = field(default_factory=dict)
    expands: bool = False


@dataclass(slots=True)
class Heard:
    """What came over one connection."""

    data: bytes = b""
    closed: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    writer: asyncio.StreamWriter | None = None

    async def listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while more := await reader.read(65536):
                self.data += more
                self.news.set()
        self.closed = True
        self.news.set()

    async def until(self, ready: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait for what is expected; a fake that never says it shows in the comparison."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not ready():
                    self.news.clear()
                    await self.news.wait()


def told(case: Case, tag: str, message: Message) -> bool:
    """Whether a message counts in a comparison."""
    headers = event(message)
    return headers is None or not case.skip(tag, headers)


def awaited(case: Case, tag: str, data: bytes) -> int:
    """How many messages there are to wait for: a goodbye comes when it likes."""
    return sum(told(case, tag, each) and each.kind != "text/disconnect-notice" for each in messages(data))


class Replay:
    """One case against one fake."""

    def __init__(self, case: Case, transcript: Transcript, folder: Path, speed: float) -> None:
        self.case, self.transcript, self.folder, self.speed = case, transcript, folder, speed
        self.heard: dict[str, Heard] = {tag: Heard() for tag in transcript.tags}
        self.heard.setdefault("out", Heard())
        self.names: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._switch: FakeFreeSwitch
        self._call: FakeCall
        self._port = 0
        self._rung = False

    async def run(self) -> dict[str, bytes]:
        """Play it all; the bytes of FreeSWITCH's side, by connection."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        text = PLACES.replace("{ADDRESS}", address).replace("{MODE}", self.case.mode)
        plan = Dialplan(text.replace("{ROOT}", str(self.folder)))
        self.names[address] = "127.0.0.1:18084"
        async with FakeFreeSwitch(
            dialplan=plan,
            sounds=self.folder / "sounds",
            speed=self.speed,
            password="secret",
            api_expansion=self.case.expands,
        ) as switch:
            self._switch = switch
            switch.clock_speed = self.speed / 1.5  # our side is never late for a lingering connection
            self._port = await switch.listen()
            for entry in self.transcript.entries:
                await self._entry(entry)
            for tag, heard in self.heard.items():
                await self._finish(tag, heard)
                if heard.writer is not None:
                    heard.writer.close()
        server.close()
        for task in self._tasks:
            task.cancel()
        return {tag: heard.data for tag, heard in self.heard.items()}

    async def _finish(self, tag: str, heard: Heard) -> None:
        """Wait for what is still to come, and for the close where the real one closed."""
        real = b"".join(block.data for block in self.transcript.blocks(tag) if block.by_switch)
        wanted = awaited(self.case, tag, real)
        await heard.until(lambda: self._count(tag) >= wanted)
        if b"goodbye" in real:
            await heard.until(lambda: heard.closed)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.case.closes_at_once:
            writer.close()
            return
        self.heard["out"].writer = writer
        self.heard["out"].news.set()
        await self.heard["out"].listen(reader)

    def _begins(self, entry: Block | Closed | Note) -> bool:
        """Whether the call has to be there now: the first event, or the first byte of its own connection."""
        if isinstance(entry, Note):
            return entry.text.startswith("api ")
        return isinstance(entry, Block) and (entry.tag == "out" or b"text/event" in entry.data[:60])

    async def _ring(self) -> None:
        self._rung = True
        for tag, heard in self.heard.items():
            if tag != "out":
                await self._ready(tag, heard)
        self._call = await self._switch.call(
            place=self.case.place, caller="+31600000001", variables=self.case.variables
        )
        self.names[self._call.uuid] = "the call"
        for act in self.case.acts:
            self._tasks.add(asyncio.create_task(self._act(*act)))

    async def _ready(self, tag: str, heard: Heard) -> None:
        """A connection that watches has logged in and subscribed."""
        ours = sum(not block.by_switch for block in self.transcript.blocks(tag) if block.seconds < 0.5)
        await heard.until(lambda: len(messages(heard.data)) > ours)

    async def _act(self, prefix: str, nth: int, seconds: float, what: str) -> None:
        await self._call.wait_execute(prefix, nth)
        await asyncio.sleep(seconds / self.speed)
        if what == "hangup":
            self._call.caller_hangs_up()
        else:
            source, _, keys = what.partition(" ")
            for key in keys:
                self._call.digit(key, 2080 if source == "RTP" else 2000, source)

    async def _writer(self, tag: str) -> asyncio.StreamWriter:
        heard = self.heard[tag]
        if tag == "out":
            await heard.until(lambda: heard.writer is not None)
        elif heard.writer is None:
            local = ("127.0.0.2", 0) if tag.endswith("127.0.0.2") else None
            reader, heard.writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=local)
            task = asyncio.create_task(heard.listen(reader))
            self._tasks.add(task)
        assert heard.writer is not None, "the fake did not connect"
        return heard.writer

    def _expected(self, tag: str, before: Block | Closed) -> int:
        """How many messages of this connection the real one had sent by then."""
        count = 0
        for block in self.transcript.blocks(tag):
            if block is before or block.seconds > before.seconds:
                break
            if block.by_switch:
                count += awaited(self.case, tag, block.data)
        return count

    def _count(self, tag: str) -> int:
        return awaited(self.case, tag, self.heard[tag].data)

    async def _settle(self, entry: Block | Closed) -> None:
        """Wait until the fake has said as much as the real one, and for the pause that was made then."""
        heard = self.heard[entry.tag]
        await heard.until(lambda: heard.closed or self._count(entry.tag) >= self._expected(entry.tag, entry))
        before = self.transcript.entries[: self.transcript.entries.index(entry)]
        said = [
            e for e in before if not isinstance(e, Note) and not (isinstance(e, Block) and b"-notice" in e.data[:60])
        ]
        last = max((other.seconds for other in said), default=entry.seconds)
        await asyncio.sleep(max(0.0, entry.seconds - last - 0.03) / self.speed)

    async def _entry(self, entry: Block | Closed | Note) -> None:
        if not self._rung and self._begins(entry):
            await self._ring()
        if isinstance(entry, Note):
            if entry.text.startswith("api "):
                await self._by_hand(entry)
        elif isinstance(entry, Closed):
            if not self._said_goodbye(entry.tag):
                await self._settle(entry)
                writer = self.heard[entry.tag].writer
                if writer is not None:
                    writer.close()
        elif not entry.by_switch:
            writer = await self._writer(entry.tag)
            await self._settle(entry)
            writer.write(self._ours(entry.data))
        else:
            await self._writer(entry.tag)
            await self._people(entry)

    def _said_goodbye(self, tag: str) -> bool:
        last = [block for block in self.transcript.blocks(tag) if block.by_switch][-1]
        return b"goodbye" in last.data

    def _ours(self, data: bytes) -> bytes:
        """Our side's bytes, with the fake's id of the call, its password, and this machine's folder."""
        text = data.decode("utf-8", "surrogateescape").replace("<password>", "secret").replace(ROOT, str(self.folder))
        known = {
            headers["Unique-ID"]
            for block in self.transcript.blocks("out") + self.transcript.blocks("watch")
            if block.by_switch
            for message in messages(block.data)
            for headers in (event(message) or message.headers,)
            if "Unique-ID" in headers
        }
        for uid in known if self._rung else ():
            text = text.replace(uid, self._call.uuid)
        return text.encode("utf-8", "surrogateescape")

    async def _by_hand(self, note: Note) -> None:
        """An api command that the recording's author gave elsewhere."""
        heard = self.heard["watch"]
        at = self.transcript.entries.index(note)
        after = next((e for e in self.transcript.entries[at:] if isinstance(e, Block)), None)
        if after is not None:
            await self._settle(after)
        await heard.until(lambda: bool(heard.data))
        command = UUID.sub(self._call.uuid, note.text.removeprefix("api ")).replace(ROOT, str(self.folder))
        self._switch.api(command.partition(" -> ")[0])

    async def _people(self, block: Block) -> None:
        """What nobody of us asked for: a key, a hang-up, a recorder that somebody starts."""
        for message in messages(block.data) if not self.case.acts else ():
            headers = event(message) or {}
            name = headers.get("Event-Name", "")
            if name == "DTMF":
                await self._settle(block)
                self._call.digit(headers["DTMF-Digit"], int(headers["DTMF-Duration"]), headers["DTMF-Source"])
            elif "Hangup-Cause" in headers and self._call.alive and not self._asked_to_hang_up(block):
                await self._settle(block)
                cause = headers["Hangup-Cause"]
                self._call.hang_up(cause, by_caller=cause == "NORMAL_CLEARING")
            elif name == "RECORD_START" and "guard" in headers.get("Record-File-Path", ""):
                await self._settle(block)
                path = headers["Record-File-Path"].replace(ROOT, str(self.folder))
                self._switch.api(f"uuid_record {self._call.uuid} start {path}")

    def _asked_to_hang_up(self, block: Block) -> bool:
        for entry in self.transcript.entries:
            if entry is block:
                return False
            if isinstance(entry, Block) and (b"app-name: hangup" in entry.data or b"nosuchapp" in entry.data):
                return True
            if isinstance(entry, Block) and b"Application: hangup" in entry.data:
                return True
        return False


# --- comparing --------------------------------------------------------------------------------------------------------


def shown(message: Message, names: dict[str, str]) -> str:
    """A message in one line, of what has to be alike."""
    headers = event(message)
    if headers is not None:
        telling = [f"{key}={headers[key]}" for key in TELLING if key in headers]
        line = f"{message.kind} {headers['Event-Name']} {headers.get('Event-Subclass', '')} " + " ".join(telling)
    elif len(message.headers) > 100:
        line = "connect " + " ".join(message.headers[key] for key in ("Reply-Text", "Socket-Mode", "Control"))
    else:
        more = {key: value for key, value in message.headers.items() if key != "Content-Type"}
        line = f"{message.kind} {more} {message.body.decode('utf-8', 'replace')}"
        line = "api/response status" if "} UP 0 years" in line else "an SDP" if "'v=0" in line else line
    for old, new in names.items():
        line = line.replace(old, new)
    return UUID.sub("<id>", line)


@dataclass(slots=True)
class Lines:
    """What one connection heard, each part in order: answers, events, the names of their headers, goodbyes."""

    answers: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    goodbyes: list[str] = field(default_factory=list)

    def cut(self, other: Lines) -> None:
        """Leave out what comes after the last event of the other."""
        del self.events[len(other.events) :]
        del self.shapes[len(other.shapes) :]

    def against(self, other: Lines) -> str:
        """How the other differs, to read; empty when it does not."""
        pairs = (
            (self.answers, other.answers),
            (self.events, other.events),
            (self.shapes, other.shapes),
            (self.goodbyes, other.goodbyes),
        )
        return "\n\n".join(filter(None, (side_by_side(one, another) for one, another in pairs)))


def lines(case: Case, tag: str, data: bytes, names: dict[str, str]) -> Lines:
    """Sort what one connection heard."""
    found = Lines()
    for message in messages(data):
        if not told(case, tag, message):
            continue
        headers = event(message)
        line = shown(message, names)
        if message.kind == "text/disconnect-notice":
            found.goodbyes.append(line)
        elif headers is None:
            found.answers.append(line)
        else:
            found.events.append(line)
        if headers is not None or line.startswith("connect "):
            own = [key for key in (headers or message.headers) if not key.startswith("variable_")]
            found.shapes.append(" ".join(own))
    return found


def side_by_side(real: list[str], fake: list[str]) -> str:
    """Both columns, with a mark where they differ, and of long lines only what differs; empty when they are alike."""
    if real == fake:
        return ""
    rows = []
    for number in range(max(len(real), len(fake))):
        one = real[number] if number < len(real) else "(nothing)"
        other = fake[number] if number < len(fake) else "(nothing)"
        if one == other:
            rows.append(f"    {number:3} both: {one[:100]}")
            continue
        words, others = one.split(" "), other.split(" ")
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(words, others, strict=False))
        same = [word for word, _ in alike]
        rows += [
            f"*** {number:3} {' '.join(same)[-60:]}",
            f"        real: {' '.join(words[len(same) :])[:400]}",
            f"        fake: {' '.join(others[len(same) :])[:400]}",
        ]
    return "\n".join(rows)
