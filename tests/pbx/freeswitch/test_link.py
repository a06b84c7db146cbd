"""The connection to the event socket: log-in, answers in order, deadlines, and a new one when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ivr_consent.core.errors import EventSocketError
from ivr_consent.pbx.freeswitch import link as link_module
from ivr_consent.pbx.freeswitch.link import Link
from ivr_consent.pbx.freeswitch.wire import Event
from ivr_consent.testing.fake_freeswitch import FakeFreeSwitch

PATIENCE = 20.0
HOST = "127.0.0.1"
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def linked(password: str | None = None, **options: object) -> AsyncIterator[tuple[FakeFreeSwitch, Link]]:
    async with FakeFreeSwitch() as switch:
        port = await switch.listen()
        link = Link(HOST, port, password or switch.password, **options)  # type: ignore[arg-type]  # passed on
        await link.start()
        try:
            yield switch, link
        finally:
            await link.close()


@contextlib.asynccontextmanager
async def peer(behaviour: Behaviour) -> AsyncIterator[Link]:
    """A link to somebody who behaves so."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                await behaviour(reader, writer)
            finally:
                writer.close()

    def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(came, HOST, 0)
    link = Link(HOST, server.sockets[0].getsockname()[1], "secret")
    await link.start()
    try:
        yield link
    finally:
        await link.close()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def logged_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"Content-Type: auth/request\n\n")
    assert await reader.readuntil(b"\n\n") == b"auth secret\n\n"
    writer.write(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")


async def test_it_asks_and_is_answered_in_order() -> None:
    async with linked() as (_, link):
        assert await link.wait_up(PATIENCE)
        answers = await asyncio.gather(*(link.api(f"eval {number}") for number in range(50)))
        assert answers == [str(number) for number in range(50)]
        assert link.problem == ""


async def test_events_come_to_who_asked_for_them() -> None:
    heard: list[Event] = []
    events = ("CUSTOM", "ivr_consent::beat")
    async with linked(events=events, on_event=heard.append) as (_, link):
        assert await link.wait_up(PATIENCE)
        await link.beat("ivr_consent::beat", "ivr_consent_beat", "abc")
        await until(lambda: bool(heard))
        assert (heard[0].get("Event-Subclass"), heard[0].get("ivr_consent_beat")) == ("ivr_consent::beat", "abc")


async def test_it_comes_back_after_a_break() -> None:
    async with linked() as (switch, link):
        assert await link.wait_up(PATIENCE)
        for socket in list(switch.sockets):
            socket.cut()
        await until(lambda: link.connections == 2)
        assert await link.api("eval again") == "again"


async def test_a_wrong_password_says_so_and_grants_nothing() -> None:
    async with linked(password="wrong") as (_, link):
        await until(lambda: "password" in link.problem)
        assert not link.up
        with pytest.raises(EventSocketError, match="password"):
            await link.api("status")


async def test_who_is_not_on_the_access_list_is_told() -> None:
    async with FakeFreeSwitch(acl=frozenset({"127.0.0.9"})) as switch:
        link = Link(HOST, await switch.listen(), switch.password)
        await link.start()
        try:
            await until(lambda: "access list" in link.problem)
        finally:
            await link.close()


@pytest.mark.parametrize(
    "said",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"\n\n\n\n\0\0", b"Content-Type: api/response\n\n", b"x" * 100_000],
    ids=["ssh", "nul", "another message", "no end"],
)
async def test_what_is_no_event_socket_gets_no_password(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_S", 0.3)
    heard: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        heard.append(await reader.read(100))

    async with peer(other) as link:
        await until(lambda: "event socket" in link.problem)
        await until(lambda: bool(heard))
        assert heard[0] == b""


async def test_a_command_has_a_deadline_and_later_ones_keep_their_own_replies() -> None:
    """The late reply comes in its turn, and is nobody else's."""
    late = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await logged_in(reader, writer)
        await reader.readuntil(b"\n\n")
        await late.wait()
        await reader.readuntil(b"\n\n")
        for word in (b"one", b"two"):
            writer.write(b"Content-Type: api/response\nContent-Length: 3\n\n" + word)
        await reader.read()

    async with peer(slow) as link:
        assert await link.wait_up(PATIENCE)
        with pytest.raises(EventSocketError, match="did not answer"):
            await link.api("first", timeout=0.05)
        second = asyncio.create_task(link.api("second", timeout=PATIENCE))
        await asyncio.sleep(0)
        late.set()
        assert await second == "two"


async def test_a_switch_that_says_nothing_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is gone closes no connection."""
    monkeypatch.setattr(link_module, "ALIVE_S", 0.05)
    monkeypatch.setattr(link_module, "REPLY_S", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await logged_in(reader, writer)
        await reader.read()

    async with peer(silent) as link:
        await until(lambda: link.connections >= 2)


async def test_a_reply_that_nobody_asked_for_ends_the_connection() -> None:
    async def talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await logged_in(reader, writer)
        writer.write(b"Content-Type: command/reply\nReply-Text: +OK\n\n")
        await reader.read()

    async with peer(talks) as link:
        await until(lambda: link.connections >= 2)


async def test_while_it_is_down_commands_fail_at_once() -> None:
    link = Link(HOST, 1, "secret")
    await link.start()
    try:
        await until(lambda: "cannot be reached" in link.problem)
        with pytest.raises(EventSocketError, match="down"):
            await link.api("status")
    finally:
        await link.close()
