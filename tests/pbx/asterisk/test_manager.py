"""The manager link against a small fake Asterisk on a real socket.

Each test named after a danger of panoramisk as released would fail with it.
"""

from __future__ import annotations

import asyncio
import gc
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shutil import which

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.core.errors import ManagerError
from ivr_consent.pbx.asterisk import manager
from ivr_consent.pbx.asterisk.manager import (
    MAX_HEADER_LINE,
    Backoff,
    Event,
    Headers,
    ManagerGone,
    ManagerLink,
    ManagerTimeout,
    Pace,
    Reply,
    UnsafeHeader,
    encode_action,
)

SECRET = "s3cret-of-the-account"
CALLER = "+49301234567"
PATIENCE = 30.0  # seconds; a bound for what should take milliseconds, on a loaded machine too
QUICK = Pace(first_retry=0.01, slowest_retry=0.05, settled=60.0, connect=PATIENCE, ping_every=60.0)
DATA = Path(__file__).parents[2] / "data" / "ami"

Action = dict[str, str]


class FakeAsterisk:
    """Speaks the manager's wire format: greeting, logins, replies, and whatever a test wants to say."""

    def __init__(self) -> None:
        self.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        self.refuse = False
        self.silent = {"Held"}  # actions that get no reply
        self.answers: dict[str, Callable[[Action], str]] = {}
        self.actions: list[Action] = []
        self.connections = 0
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.drop()
            await self._server.wait_closed()
            self._server = None

    def drop(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    async def say(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        for writer in self._writers:
            writer.write(data)
            await writer.drain()

    def names(self) -> list[str]:
        return [action["Action"] for action in self.actions]

    async def until(self, predicate: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(predicate)

    async def seen(self, name: str, times: int = 1) -> Action:
        await self.until(lambda: self.names().count(name) >= times)
        return [action for action in self.actions if action["Action"] == name][times - 1]

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        await self._note()
        try:
            writer.write(self.greeting)
            while True:
                block = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")
                action = dict(line.split(": ", 1) for line in block.split("\r\n") if line)
                self.actions.append(action)
                if action["Action"] not in self.silent:
                    writer.write(self._answer(action).encode("utf-8", "surrogateescape"))
                await self._note()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, action: Action) -> str:
        head = f"ActionID: {action['ActionID']}\r\n"
        if action["Action"] in self.answers:
            return self.answers[action["Action"]](action)
        if action["Action"] == "Login":
            if self.refuse:
                return f"Response: Error\r\n{head}Message: Authentication failed\r\n\r\n"
            return f"Response: Success\r\n{head}Message: Authentication accepted\r\n\r\n"
        return f"Response: Success\r\n{head}Message: done\r\n\r\n"


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    fake = FakeAsterisk()
    await fake.listen()
    yield fake
    await fake.stop()


@pytest.fixture
async def link(asterisk: FakeAsterisk) -> AsyncIterator[ManagerLink]:
    made = ManagerLink("127.0.0.1", asterisk.port, "watch", SECRET, pace=QUICK)
    yield made
    await made.close()


@pytest.fixture
async def up(link: ManagerLink) -> ManagerLink:
    await link.start()
    assert await link.wait_up(PATIENCE)
    return link


class Heard:
    """Keeps the events it is given and waits for them."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def __call__(self, event: Event) -> None:
        self.events.put_nowait(event)

    async def next(self) -> Event:
        async with asyncio.timeout(PATIENCE):
            return await self.events.get()


async def outage(asterisk: FakeAsterisk, link: ManagerLink) -> None:
    """Stop the fake Asterisk and wait until the link has seen it."""
    assert link._protocol is not None
    lost = link._protocol.lost
    await asterisk.stop()
    await asyncio.wait({lost}, timeout=PATIENCE)
    assert not link.up


def wire(path: Path) -> bytes:
    """The bytes Asterisk sent, from a transcript's `A>` lines."""
    written = [line for line in path.read_text().splitlines() if " A> " in line and line[0] != "#"]
    lines = [line.split(" A> ", 1)[1] for line in written]
    return b"".join(line.encode().replace(rb"\r", b"\r").replace(rb"\n", b"\n") for line in lines)


# -- the ordinary day


async def test_it_logs_in_and_gets_replies(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    reply = await up.action("Getvar", {"Variable": "X"})
    assert reply.success
    assert reply.message == "done"
    login = await asterisk.seen("Login")
    assert (login["Username"], login["Secret"], login["Events"]) == ("watch", SECRET, "dtmf,call")


async def test_start_returns_before_anything_answers(link: ManagerLink) -> None:
    await link.start()
    assert not link.up
    with pytest.raises(RuntimeError):
        await link.start()


async def test_an_error_is_a_reply(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    asterisk.answers["StopMixMonitor"] = lambda action: (
        f"Response: Error\r\nActionID: {action['ActionID']}\r\nMessage: Could not stop monitoring channel\r\n\r\n"
    )
    reply = await up.action("StopMixMonitor", {"Channel": "PJSIP/peer-1"})
    assert not reply.success
    assert reply.message == "Could not stop monitoring channel"


async def test_a_list_is_gathered_by_its_action_id(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    heard = Heard()
    up.on("CoreShow*", heard)

    def answer(action: Action) -> str:
        ours = f"ActionID: {action['ActionID']}\r\n"
        return (
            f"Response: Success\r\n{ours}EventList: start\r\nMessage: Channels will follow\r\n\r\n"
            f"Event: CoreShowChannel\r\n{ours}Channel: PJSIP/a\r\n\r\n"
            "Event: CoreShowChannel\r\nActionID: another\r\nChannel: PJSIP/forged\r\n\r\n"
            f"Event: CoreShowChannelsComplete\r\n{ours}EventList: Complete\r\nListItems: 1\r\n\r\n"
        )

    asterisk.answers["CoreShowChannels"] = answer
    reply = await up.action("CoreShowChannels")
    assert [event.headers.get("Channel") for event in reply.events] == ["PJSIP/a", None]
    assert (await heard.next()).headers["Channel"] == "PJSIP/forged"


async def test_a_list_too_long_is_an_error(
    asterisk: FakeAsterisk, up: ManagerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "MAX_LIST", 3)

    def answer(action: Action) -> str:
        ours = f"ActionID: {action['ActionID']}\r\n"
        head = f"Response: Success\r\n{ours}EventList: start\r\n\r\n"
        return head + f"Event: Status\r\n{ours}\r\n" * 4

    asterisk.answers["Status"] = answer
    with pytest.raises(ManagerError, match="more than 3"):
        await up.action("Status")


async def test_a_header_with_several_lines(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    asterisk.answers["Command"] = lambda action: (
        f"Response: Success\r\nActionID: {action['ActionID']}\r\nMessage: Command output follows\r\n"
        "Output: one\r\nOutput: two\r\n\r\n"
    )
    reply = await up.action("Command", {"Command": "core show version"})
    assert reply.headers.all("output") == ("one", "two")
    assert encode_action("X", "1", {"Variable": ["A=1", "B=2"]}).count(b"Variable: ") == 2


# -- nothing is sent twice


async def test_an_unanswered_action_is_not_sent_again(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    asterisk.silent.add("MixMonitor")
    asked = asyncio.create_task(up.action("MixMonitor", {"Channel": "PJSIP/a", "File": "x.wav"}, timeout=60))
    await asterisk.seen("MixMonitor")
    asterisk.silent.clear()
    asterisk.drop()
    with pytest.raises(ManagerGone) as gone:
        await asked
    assert gone.value.sent
    await asterisk.seen("Login", 2)
    assert await up.wait_up(PATIENCE)
    await asterisk.say("Event: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\n\r\n")
    assert (await up.action("Ping")).success  # what would have been replayed came before this reply
    assert asterisk.names() == ["Login", "MixMonitor", "Login", "Ping"]


async def test_an_action_while_down_fails_at_once(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    await outage(asterisk, up)
    with pytest.raises(ManagerGone) as gone:
        await up.action("StopMixMonitor", {"Channel": "PJSIP/a"}, timeout=60)
    assert not gone.value.sent


async def test_an_action_before_the_first_connect_fails_at_once(link: ManagerLink) -> None:
    with pytest.raises(ManagerGone) as gone:
        await link.action("Ping", timeout=60)
    assert not gone.value.sent


async def test_it_comes_back_after_an_outage(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    heard = Heard()
    up.on("Hangup", heard)
    for number in range(2, 5):
        asterisk.drop()
        await asterisk.seen("Login", number)
        assert await up.wait_up(PATIENCE)
        await asterisk.say("Event: Hangup\r\nUniqueid: 1.1\r\n\r\n")
        assert (await heard.next()).headers["Uniqueid"] == "1.1"
    assert heard.events.empty()  # one registration, one call, however many connections there were


async def test_never_two_connections(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    for number in range(2, 6):
        asterisk.drop()
        await asterisk.seen("Login", number)
    assert asterisk.connections == asterisk.names().count("Login") == 5
    assert up.up or await up.wait_up(PATIENCE)


# -- every wait ends


async def test_an_action_has_a_deadline(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    with pytest.raises(ManagerTimeout):
        await up.action("Held", timeout=0.01)
    protocol = up._protocol
    assert protocol is not None
    assert not protocol.responses
    held = await asterisk.seen("Held")
    await asterisk.say(f"Response: Success\r\nActionID: {held['ActionID']}\r\nMessage: late\r\n\r\n")
    assert (await up.action("Ping")).message == "done"


async def test_a_cancelled_action_leaves_nothing_behind(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    asked = asyncio.create_task(up.action("Held", timeout=60))
    await asterisk.seen("Held")
    asked.cancel()
    await asyncio.wait({asked}, timeout=PATIENCE)
    assert asked.cancelled()
    assert up._protocol is not None
    assert not up._protocol.responses


async def test_pending_actions_are_bounded(
    asterisk: FakeAsterisk, up: ManagerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "MAX_PENDING", 3)
    asked = [asyncio.create_task(up.action("Held", timeout=60)) for _ in range(3)]
    await asterisk.seen("Held", 3)
    with pytest.raises(ManagerGone, match="unanswered"):
        await up.action("StopMixMonitor")
    await up.close()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [ManagerGone] * 3
    assert "StopMixMonitor" not in asterisk.names()


async def test_a_half_open_link_is_noticed(asterisk: FakeAsterisk) -> None:
    asterisk.silent.add("Ping")
    pace = Pace(first_retry=0.01, slowest_retry=0.01, ping_every=0.01, ping_answer=0.01)
    link = ManagerLink("127.0.0.1", asterisk.port, "watch", SECRET, pace=pace)
    await link.start()
    try:
        with structlog.testing.capture_logs() as logs:
            await asterisk.seen("Login", 2)
        assert "no answer to a Ping" in [entry.get("reason") for entry in logs]
        asterisk.silent.clear()
        pings = asterisk.names().count("Ping")
        await asterisk.seen("Ping", pings + 3)
        assert await link.wait_up(PATIENCE)
    finally:
        await link.close()


async def test_a_server_that_accepts_and_stays_silent(asterisk: FakeAsterisk) -> None:
    asterisk.greeting = b""
    pace = Pace(first_retry=0.01, slowest_retry=0.01, connect=0.05)
    link = ManagerLink("127.0.0.1", asterisk.port, "watch", SECRET, pace=pace)
    await link.start()
    try:
        await asterisk.until(lambda: asterisk.connections >= 2)
        assert not link.up
        assert asterisk.actions == []  # the secret is not given to somebody who is no manager
    finally:
        await link.close()


async def test_a_login_without_answer_is_tried_again(asterisk: FakeAsterisk) -> None:
    asterisk.silent.add("Login")
    pace = Pace(first_retry=0.01, slowest_retry=0.01, connect=0.05)
    link = ManagerLink("127.0.0.1", asterisk.port, "watch", SECRET, pace=pace)
    await link.start()
    try:
        await asterisk.seen("Login", 2)
        assert not link.up
    finally:
        await link.close()


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n", b"asterisk call manager/1\r\n", b"A\r\n"])
async def test_another_service_on_the_port(asterisk: FakeAsterisk, link: ManagerLink, greeting: bytes) -> None:
    asterisk.greeting = greeting
    with structlog.testing.capture_logs() as logs:
        await link.start()
        await asterisk.until(lambda: asterisk.connections >= 2)
    assert asterisk.actions == []
    assert {entry.get("reason") for entry in logs} == {"what answers is no manager interface"}


async def test_a_greeting_without_end(asterisk: FakeAsterisk, link: ManagerLink) -> None:
    asterisk.greeting = b"Asterisk Call Manager/" + b"1" * 300
    await link.start()
    await asterisk.until(lambda: asterisk.connections >= 2)
    assert not link.up


# -- reconnecting


async def test_close_during_an_outage_ends_it(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    await outage(asterisk, up)
    before = asterisk.connections
    await up.close()
    await asterisk.listen()
    assert [task.get_name() for task in asyncio.all_tasks() if "manager-link" in task.get_name()] == []
    assert asterisk.connections == before
    assert not up.up
    with pytest.raises(ManagerGone):
        await up.action("Ping")


async def test_close_before_start_and_twice(link: ManagerLink) -> None:
    await link.close()
    await link.close()
    with pytest.raises(RuntimeError):
        await link.start()


async def test_close_fails_what_is_pending(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    asked = asyncio.create_task(up.action("Held", timeout=60))
    await asterisk.seen("Held")
    await up.close()
    with pytest.raises(ManagerGone):
        await asked


async def test_close_from_a_callback(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    closed = asyncio.Event()

    async def on_hangup(_: Event) -> None:
        await up.close()
        closed.set()

    up.on("Hangup", on_hangup)
    await asterisk.say("Event: Hangup\r\n\r\n")
    await asyncio.wait_for(closed.wait(), PATIENCE)
    assert not up.up


async def test_a_refused_login_is_said_once(asterisk: FakeAsterisk, link: ManagerLink) -> None:
    asterisk.refuse = True
    with structlog.testing.capture_logs() as logs:
        await link.start()
        await asterisk.seen("Login", 4)
    said = [entry for entry in logs if entry["event"] == "manager_login_refused"]
    assert len(said) == 1
    assert "manager.conf" in said[0]["remedy"]
    assert SECRET not in repr(logs)
    asterisk.refuse = False
    assert await link.wait_up(PATIENCE)


@pytest.mark.parametrize(("host", "port"), [("a" * 70 + ".example", 5038), ("127.0.0.1", 70_000)])
async def test_a_nonsense_address_ends_nothing(host: str, port: int) -> None:
    link = ManagerLink(host, port, "watch", SECRET, pace=QUICK)
    with structlog.testing.capture_logs() as logs:
        await link.start()
        assert not await link.wait_up(0.1)
        async with asyncio.timeout(PATIENCE):
            while "manager_down" not in [entry["event"] for entry in logs]:
                await asyncio.sleep(0.01)  # a name is looked up in a thread, with the deadline above
    assert link._task is not None
    assert not link._task.done()
    await link.close()


def test_the_backoff_doubles_within_its_bounds() -> None:
    backoff = Backoff(Pace(jitter=0.0))
    assert [backoff.next() for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    backoff.reset()
    assert backoff.next() == 1.0
    assert backoff.next(slow=True) == 30.0  # a refused login


@given(st.lists(st.booleans(), max_size=20))
def test_the_backoff_never_leaves_its_bounds(attempts: list[bool]) -> None:
    backoff = Backoff(Pace())
    assert all(1.0 <= backoff.next(slow=slow) <= 30.0 for slow in attempts)


def test_the_backoff_has_jitter() -> None:
    waits = set()
    for _ in range(20):
        backoff = Backoff(Pace(first_retry=1.0, slowest_retry=100.0))
        backoff.next()
        waits.add(backoff.next())
    assert len(waits) > 1


# -- what may be sent


@pytest.mark.parametrize("mark", ["\r\n", "\n", "\r", "\0"])
async def test_no_line_break_goes_out(asterisk: FakeAsterisk, up: ManagerLink, mark: str) -> None:
    attack = f"PJSIP/a{mark}{mark}Action: MixMonitor{mark}Channel: PJSIP/b"
    for name, headers in [
        ("Redirect", {"Channel": attack}),
        ("Redirect", {f"Channel{mark}": "PJSIP/a"}),
        (f"Redirect{mark}X: y", {}),
    ]:
        with pytest.raises(UnsafeHeader) as refused:
            await up.action(name, headers)
        assert isinstance(refused.value, ValueError)
        assert "PJSIP" not in str(refused.value)
    assert (await up.action("Ping")).success
    assert asterisk.names() == ["Login", "Ping"]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Channel": "x" * MAX_HEADER_LINE}, "longer"),
        ({"Channel": "é" * (MAX_HEADER_LINE // 2)}, "longer"),
        ({"Chan: nel": "x"}, "header name"),
        ({"": "x"}, "header name"),
        ({"ActionID": "mine"}, "link itself"),
        ({"action": "Originate"}, "link itself"),
        ({"Variable": ["A=1"] * 100}, "at most"),
        ({"Channel": "\ud800"}, "no text"),
        ({"Variable": ["A=1", "B=\r\n"]}, "line break"),
    ],
)
def test_an_unsafe_action_is_refused(headers: dict[str, str], says: str) -> None:
    with pytest.raises(UnsafeHeader, match=says):
        encode_action("Setvar", "1", headers)


def test_a_value_that_is_no_text_is_refused() -> None:
    with pytest.raises(UnsafeHeader, match="must be text"):
        encode_action("Setvar", "1", {"Value": [1]})  # type: ignore[list-item]  # what a caller without types does


@given(st.text(max_size=60), st.text(max_size=200))
def test_whatever_goes_in_one_action_comes_out(name: str, value: str) -> None:
    try:
        data = encode_action("Setvar", "1", {name: value})
    except UnsafeHeader:
        return
    assert data.count(b"\r\n") == 4
    assert data.count(b"\n") == data.count(b"\r") == 4
    assert data.endswith(b"\r\n\r\n")
    assert len(data.split(b"\r\n")[2]) <= MAX_HEADER_LINE


async def test_bytes_that_are_no_utf8_come_back_as_they_were(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    heard = Heard()
    up.on("Newchannel", heard)
    await asterisk.say(b"Event: Newchannel\r\nChannel: PJSIP/Zo\xeb-1\r\n\r\n")
    channel = (await heard.next()).headers["Channel"]
    await up.action("Hangup", {"Channel": channel})
    assert (await asterisk.seen("Hangup"))["Channel"].encode("utf-8", "surrogateescape") == b"PJSIP/Zo\xeb-1"


async def test_the_callers_headers_are_left_alone(up: ManagerLink) -> None:
    headers = {"Channel": "PJSIP/a"}
    await up.action("Hangup", headers)
    assert headers == {"Channel": "PJSIP/a"}


async def test_action_ids_cannot_be_guessed(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    for _ in range(3):
        await up.action("Ping")
    ids = [action["ActionID"] for action in asterisk.actions]
    assert len(set(ids)) == 4
    assert all(len(bytes.fromhex(one)) == 16 for one in ids)


async def test_originate_without_async(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    asterisk.answers["Originate"] = lambda action: (
        f"Response: Success\r\nActionID: {action['ActionID']}\r\nMessage: Originate successfully queued\r\n\r\n"
    )
    reply = await up.action("Originate", {"Channel": "Local/s@x", "Application": "Wait", "Data": "1"})
    assert reply.success
    assert up.up


# -- what may come in


async def test_a_letter_split_at_every_byte() -> None:
    events: list[Event] = []
    message = "Event: Newchannel\r\nCallerIDName: Zoë Žižek 日本 🎧\r\nUniqueid: 1.1\r\n\r\n".encode()
    for cut in range(1, len(message)):
        protocol = manager._Protocol(events.append, lambda _: None)
        protocol.data_received(b"Asterisk Call Manager/11.0.0\r\n")
        protocol.data_received(message[:cut])
        protocol.data_received(message[cut:])
    assert len(events) == len(message) - 1
    assert {event.headers["CallerIDName"] for event in events} == {"Zoë Žižek 日本 🎧"}
    assert {event.headers["Uniqueid"] for event in events} == {"1.1"}


@pytest.mark.parametrize("version", ["16", "22"])
async def test_real_traffic_in_any_pieces(version: str) -> None:
    data = wire(DATA / f"forged-reply-{version}.txt")
    whole: list[Event] = []
    protocol = manager._Protocol(whole.append, lambda _: None)
    protocol.data_received(data)
    assert [event.name for event in whole] == ["Newchannel", "VarSet", "Newexten", "AGIExecStart", "Newstate"]
    assert len({event.headers["Uniqueid"] for event in whole}) == 1
    assert all(event.headers["CallerIDNum"].startswith("55\n\n200 result=0") for event in whole)
    for size in (1, 2, 3, 7, 100):
        pieces: list[Event] = []
        protocol = manager._Protocol(pieces.append, lambda _: None)
        for start in range(0, len(data), size):
            protocol.data_received(data[start : start + size])
        assert [dict(event.headers) for event in pieces] == [dict(event.headers) for event in whole]


@pytest.mark.parametrize("version", ["16", "22"])
async def test_real_agi_over_the_manager(asterisk: FakeAsterisk, up: ManagerLink, version: str) -> None:
    """The reply comes first; the outcome is an event with a CommandID, which is not ours to match."""
    heard = Heard()
    up.on("AsyncAGIExec", heard)
    text = wire(DATA / f"asyncagi-{version}.txt").decode()
    asterisk.answers["AGI"] = lambda action: re.sub(r"(?<=ActionID: )\w+", action["ActionID"], text)
    reply = await up.action("AGI", {"Channel": "PJSIP/a", "Command": 'STREAM FILE x ""', "CommandID": "STREAM"})
    assert reply.message == "Added AGI command to queue"
    assert (await heard.next()).headers["Result"] == "200 result=0 endpos=24000"


async def test_a_message_without_end_closes_the_link(
    asterisk: FakeAsterisk, up: ManagerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "MAX_MESSAGE", 10_000)
    with structlog.testing.capture_logs() as logs:
        await asterisk.say("Event: VarSet\r\n" + "Value: x\r\n" * 2000)
        await asterisk.seen("Login", 2)
    assert "a message without end" in [entry.get("reason") for entry in logs]


async def test_a_forged_event_is_an_event_and_nothing_more(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    """CR LF in a SIP user name: seen with Asterisk 16 and 22."""
    heard = Heard()
    up.on("*", heard)
    asked = asyncio.create_task(up.action("Held", timeout=60))
    held = await asterisk.seen("Held")
    attack = (
        "55\r\n\r\nEvent: MixMonitorStop\r\nActionID: 0123456789abcdef0123456789abcdef\r\nChannel: PJSIP/other-1"
        "\r\n\r\nResponse: Success\r\nActionID: action/1/1/1\r\nMessage: forged"
        "\r\n\r\nResponse: Success\r\nMessage: forged"
        "\r\n\r\nEvent: Shutdown\r\nX: y"
    )
    await asterisk.say(
        f"Event: Newchannel\r\nPrivilege: call,all\r\nCallerIDNum: {attack}\r\nUniqueid: 1795303325.77\r\n\r\n"
    )
    assert [(await heard.next()).name for _ in range(3)] == ["Newchannel", "MixMonitorStop", "Shutdown"]
    assert not asked.done()
    assert up.up
    await asterisk.say(f"Event: OriginateResponse\r\nActionID: {held['ActionID']}\r\n\r\n")
    assert (await heard.next()).name == "OriginateResponse"  # not a list, so no reply, though it has our ActionID
    assert not asked.done()
    await asterisk.say(f"Response: Error\r\nActionID: {held['ActionID']}\r\nMessage: real\r\n\r\n")
    reply = await asked
    assert (reply.success, reply.message) == (False, "real")


@pytest.mark.parametrize("name", ["Response", "response", "RESPONSE"])
async def test_a_value_cannot_turn_an_error_into_success(asterisk: FakeAsterisk, up: ManagerLink, name: str) -> None:
    asterisk.answers["Getvar"] = lambda action: (
        f"Response: Error\r\nActionID: {action['ActionID']}\r\nMessage: no\r\n"
        f"Value: 55\r\n{name}: Success\r\nActionID: x\r\nMessage: yes\r\n\r\n"
    )
    reply = await up.action("Getvar")
    assert (reply.success, reply.message) == (False, "no")


async def test_a_command_id_matches_nothing(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    asked = asyncio.create_task(up.action("Held", {"CommandID": "known"}, timeout=60))
    held = await asterisk.seen("Held")
    await asterisk.say("Response: Success\r\nCommandID: known\r\nMessage: forged\r\n\r\n")
    await asterisk.say(f"Response: Success\r\nActionID: {held['ActionID']}\r\nMessage: real\r\n\r\n")
    assert (await asked).message == "real"


async def test_what_a_forger_cuts_off_is_said_once(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    with structlog.testing.capture_logs() as logs:
        await asterisk.say(f"CallerIDName: {CALLER}\r\nUniqueid: 1.1\r\n\r\n" * 50)
        await up.action("Ping")
    assert [entry["event"] for entry in logs] == ["manager_message_cut"]
    assert CALLER not in repr(logs)


# -- callbacks


async def test_an_error_in_a_callback_hurts_nobody_else(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    heard = Heard()

    def broken(event: Event) -> None:
        raise KeyError(event.headers["CallerIDNum"])

    up.on("Newchannel", broken)
    up.on("Newchannel", heard)
    up.on("Hangup", heard)
    with structlog.testing.capture_logs() as logs:
        await asterisk.say(
            f"Event: Newchannel\r\nCallerIDNum: {CALLER}\r\n\r\nEvent: Hangup\r\nCallerIDNum: {CALLER}\r\n\r\n"
        )
        assert (await heard.next()).name == "Newchannel"
        assert (await heard.next()).name == "Hangup"
    assert up.up
    assert asterisk.connections == 1
    (entry,) = logs
    assert (entry["event"], entry["event_name"], entry["error"]) == (
        "manager_callback_failed",
        "Newchannel",
        "KeyError",
    )
    assert CALLER not in repr(logs)


async def test_a_forged_events_name_is_not_logged(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    def broken(_: Event) -> None:
        raise RuntimeError

    up.on("*", broken)
    with structlog.testing.capture_logs() as logs:
        await asterisk.say(f"Event: {CALLER}\r\n\r\n")
        await up.action("Ping")
    assert logs[0]["event_name"] == "?"
    assert CALLER not in repr(logs)


async def test_a_coroutine_callback_runs_and_its_error_is_logged(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    gate, failed = asyncio.Event(), asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()
        failed.set()
        raise LookupError(event.headers["CallerIDNum"])

    up.on("Newchannel", slow)
    with structlog.testing.capture_logs() as logs:
        await asterisk.say(f"Event: Newchannel\r\nCallerIDNum: {CALLER}\r\n\r\n")
        await up.action("Ping")
        gc.collect()  # a task nobody refers to may go here
        gate.set()
        await asyncio.wait_for(failed.wait(), PATIENCE)
        await up.action("Ping")
    assert [(entry["event"], entry["error"]) for entry in logs] == [("manager_callback_failed", "LookupError")]
    assert CALLER not in repr(logs)


async def test_coroutine_callbacks_are_bounded_and_end_with_the_link(
    asterisk: FakeAsterisk, up: ManagerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "MAX_TASKS", 3)
    running = cancelled = 0

    async def endless(_: Event) -> None:
        nonlocal running, cancelled
        running += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    up.on("VarSet", endless)
    with structlog.testing.capture_logs() as logs:
        await asterisk.say("Event: VarSet\r\n\r\n" * 10)
        await up.action("Ping")
    assert running == 3
    assert [entry["event"] for entry in logs] == ["manager_callbacks_overrun"]
    await up.close()
    assert cancelled == 3


async def test_patterns_choose_the_events(asterisk: FakeAsterisk, up: ManagerLink) -> None:
    dtmf, every = Heard(), Heard()
    up.on("DTMF*", dtmf)
    up.on("*", every)
    await asterisk.say("Event: DTMFBegin\r\n\r\nEvent: Hangup\r\n\r\nEvent: DTMFEnd\r\n\r\n")
    assert [(await every.next()).name for _ in range(3)] == ["DTMFBegin", "Hangup", "DTMFEnd"]
    assert [(await dtmf.next()).name for _ in range(2)] == ["DTMFBegin", "DTMFEnd"]


# -- secrets, TLS, values


async def test_the_secret_is_nowhere_to_be_seen(asterisk: FakeAsterisk, link: ManagerLink) -> None:
    with structlog.testing.capture_logs() as logs:
        await link.start()
        assert await link.wait_up(PATIENCE)
        asterisk.drop()
        await asterisk.seen("Login", 2)
    assert SECRET not in repr(logs) + repr(link) + str(link)


def test_a_line_break_in_the_configuration_is_said_at_once() -> None:
    with pytest.raises(UnsafeHeader):
        ManagerLink("127.0.0.1", 5038, "watch\r\nEvents: on", SECRET)


async def test_plain_text_to_another_host_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stay(_: ManagerLink) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ManagerLink, "_run", stay)
    for host, count in [("192.0.2.1", 1), ("pbx.example", 1), ("127.0.0.2", 0), ("::1", 0), ("localhost", 0)]:
        link = ManagerLink(host, 5038, "watch", SECRET)
        with structlog.testing.capture_logs() as logs:
            await link.start()
        await link.close()
        assert [entry["event"] for entry in logs] == ["manager_in_clear"] * count


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of our own for 127.0.0.1; its key is in the same file."""
    program = which("openssl")
    if program is None:
        pytest.skip("openssl makes the test's certificate, and is not there")
    both = tmp_path / "certificate.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(both), "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    both.write_text(both.read_text() + (tmp_path / "key.pem").read_text())
    return both


async def test_tls_with_a_context_of_ones_own(certificate: Path) -> None:
    fake = FakeAsterisk()
    fake.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    fake.tls.load_cert_chain(certificate)
    await fake.listen()
    trusting = ManagerLink(
        "127.0.0.1", fake.port, "w", SECRET, tls=ssl.create_default_context(cafile=str(certificate)), pace=QUICK
    )
    strict = ManagerLink("127.0.0.1", fake.port, "w", SECRET, tls=ssl.create_default_context(), pace=QUICK)
    try:
        await trusting.start()
        assert await trusting.wait_up(PATIENCE)
        assert (await trusting.action("Ping")).success
        await strict.start()
        assert not await strict.wait_up(0.2)
    finally:
        await trusting.close()
        await strict.close()
        await fake.stop()
    assert fake.names().count("Login") == 1


def test_headers_are_read_in_any_case_and_shown_without_values() -> None:
    headers = Headers({"CallerIDNum": CALLER, "Variable": ["A=1", "B=2"], "variable": "C=3"})
    assert headers["calleridnum"] == CALLER
    assert "CALLERIDNUM" in headers
    assert headers.all("VARIABLE") == ("A=1", "B=2", "C=3")
    assert headers["Variable"] == "A=1"
    assert headers.one("Variable") is None
    assert headers.one("CallerIDNum") == CALLER
    assert headers.get("missing") is None
    with pytest.raises(KeyError):
        headers["CalerIDNum"]  # misspelt is an error, not ''
    assert len(headers) == 2
    event = Event("Newchannel", headers, 0.0)
    assert CALLER not in repr(headers) + repr(event) + repr(Reply(True, "", headers))
