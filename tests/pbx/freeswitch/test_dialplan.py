"""The rendered dialplan, run by a switch that reads it: whatever becomes of the server, the call goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ivr_consent import config
from ivr_consent.config import Settings
from ivr_consent.core.errors import ConfigurationError, ConsentError
from ivr_consent.pbx.freeswitch import dialplan
from ivr_consent.testing.fake_freeswitch import Dialplan, FakeCall, FakeFreeSwitch

HOST = "127.0.0.1"
LINE = {"recorded": "recorded XML queues", "unrecorded": "unrecorded XML queues"}
QUEUES = """<include><context name="queues"><extension name="both"><condition field="destination_number"
  expression="^(un)?recorded$"><action application="answer"/><action application="park"/></condition></extension>
</context></include>"""


def settings(port: int = 8084, line: dict[str, Any] | None = None, **more: Any) -> Settings:
    document = {
        "switch": "freeswitch",
        "event_socket": {},
        "server": {"port": port},
        "lines": {"support": LINE if line is None else line},
        **more,
    }
    return config.parse(document, Path("/etc/ivr-consent/ivr-consent.toml"), "")


@contextlib.asynccontextmanager
async def switch_with(port: int, **more: Any) -> AsyncIterator[FakeFreeSwitch]:
    rendered = dialplan.render(settings(port, **more))
    lines = {"support": (LINE["recorded"], LINE["unrecorded"])}
    async with FakeFreeSwitch(HOST, port, lines=lines, dialplan=Dialplan(rendered, QUEUES)) as switch:
        switch.clock_speed = 30.0
        yield switch


@contextlib.asynccontextmanager
async def server(*, then: str, say: bytes = b"", tmp: Path = Path("/nowhere")) -> AsyncIterator[int]:
    """A server that takes a connection, says something, and does one thing."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if say:
                writer.write(say)
                await reader.readuntil(b"\n\n")
            if then == "record":
                writer.write(b"event json RECORD_START\n\n")
                for step in ("answer", f"record_session\nexecute-app-arg: {tmp}/x.wav"):
                    writer.write(f"sendmsg\ncall-command: execute\nexecute-app-name: {step}\n\n".encode())
                await reader.readuntil(b'RECORD_START"')
            if then == "hang":
                await asyncio.Event().wait()
            if then == "reset":
                writer.transport.abort()
        finally:
            writer.close()

    def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(came, HOST, 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def came_to(call: FakeCall) -> str:
    await call.wait(30)
    assert call.alive
    assert call.recordings == []
    assert "socket_resume" not in call.variables, "a later end of the connection would throw the call back"
    return f"{call.route} {call.result} {call.reason}"


@pytest.mark.parametrize(
    ("then", "say", "reason"),
    [
        ("close", b"", "server_failed"),
        ("reset", b"", "server_failed"),
        ("hang", b"", "server_hangs"),
        ("close", b"connect\n\n", "server_failed"),
        ("hang", b"connect\n\n", "server_hangs"),
        ("record", b"connect\n\n", "server_failed"),
    ],
)
async def test_whatever_the_server_does_the_call_goes_on_unrecorded(
    tmp_path: Path, then: str, say: bytes, reason: str
) -> None:
    async with server(then=then, say=say, tmp=tmp_path) as port, switch_with(port) as switch:
        call = await switch.call()
        assert await came_to(call) == f"unrecorded failed {reason}"


async def test_a_port_where_nobody_listens() -> None:
    async with server(then="close") as port:
        pass
    async with switch_with(port) as switch:
        call = await switch.call()
        assert await came_to(call) == "unrecorded failed server_failed"


async def test_a_result_from_before_is_worth_nothing() -> None:
    """Set by some other dialplan, or by a first pass through the gate."""
    async with server(then="close") as port, switch_with(port) as switch:
        call = await switch.call(variables={"ivr_consent_result": "granted"})
        assert await came_to(call) == "unrecorded failed server_failed"


@pytest.mark.parametrize("result", ["granted ", "Granted", "granted\nx", "xgranted", "declined", ""])
async def test_only_the_one_word_leads_to_the_recorded_line(result: str) -> None:
    async with switch_with(1) as switch:
        call = await switch.call(place="support.after XML ivr-consent", variables={"ivr_consent_result": result})
        await call.wait(30)
        assert call.route == "unrecorded"
        other = await switch.call(place="support.after XML ivr-consent", variables={"ivr_consent_result": "granted"})
        await other.wait(30)
        assert other.route == "recorded"


def test_it_is_ours() -> None:
    text = dialplan.render(settings(features={"withdraw": "*9"}))
    assert text.count("<action ") > 10
    assert dialplan.is_ours(text)
    assert not dialplan.is_ours(text.replace(dialplan.MARK, "Written by hand"))
    assert text.splitlines().count("<include>") == 1, "the pre-processor drops every line that has it"
    comments = [part.split("-->")[0] for part in text.split("<!--")[1:]]
    assert all("--" not in comment for comment in comments)


def test_without_codes_there_are_none() -> None:
    assert "bind_meta_app" not in dialplan.render(settings())
    rendered = dialplan.render(settings(features={"withdraw": "*7"}))
    assert rendered.count("bind_meta_app") == 2
    assert 'data="7 a s execute_extension::withdraw.caller XML ivr-consent"' in rendered


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"line": {}}, "destinations"),
        ({"line": {**LINE, "recorded": "queues,support,1"}}, "does not take"),
        ({"line": {**LINE, "recorded": "a XML b; rm"}}, "recorded"),
        ({"line": {**LINE, "recorded": "${x} XML b"}}, "recorded"),
        ({"manager": {}}, "[manager]"),
        ({"event_socket": None}, "[event_socket]"),
        ({"features": {"withdraw": "*99"}}, "one digit"),
        ({"features": {"withdraw": "#9"}}, "one digit"),
        ({"features": {"withdraw": "*9", "consent": "*8"}}, "consent later"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said(document: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(**document)
    assert what in str(caught.value.problems)


def test_asterisk_takes_none_of_it() -> None:
    with pytest.raises(ConfigurationError, match="event_socket"):
        config.parse({"event_socket": {}, "lines": {"support": {}}}, Path("/etc/x.toml"), "")
    with pytest.raises(ConfigurationError, match="does not take"):
        config.parse({"lines": {"support": LINE}}, Path("/etc/x.toml"), "")


@pytest.mark.parametrize(
    ("listen", "expected"), [("127.0.0.1", "127.0.0.1:8084"), ("0.0.0.0", "127.0.0.1:8084"), ("::", "127.0.0.1:8084")]
)
def test_the_address_is_one(listen: str, expected: str) -> None:
    allowed = {"listen": listen, "port": 8084, "allow": ["192.0.2.1/32"]}
    assert f'data="{expected} async full"' in dialplan.render(settings(server=allowed))


def test_an_ipv6_address_is_refused() -> None:
    with pytest.raises(ConsentError, match="IPv6"):
        dialplan.render(settings(server={"listen": "::1", "port": 8084}))
