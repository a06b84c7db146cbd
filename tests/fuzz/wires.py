"""What switches say to us, and what we say to them: AGI, the manager, the event socket, our commands."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final, cast
from unittest.mock import patch

from structlog.testing import capture_logs

from ivr_consent.pbx.asterisk import manager as ami
from ivr_consent.pbx.asterisk import wire as agi_wire
from ivr_consent.pbx.freeswitch import wire as socket_wire
from ivr_consent.testing.fake_asterisk_wire import environment, words_of
from tests.fuzz.target import pieces, shown

SHORT: Final = 1000


def sizes(data: bytes) -> tuple[int, ...]:
    """In how many bytes at a time an input arrives besides whole: what is read must be the same. A byte at a time takes
    long where there are many."""
    return (1, 7) if len(data) <= SHORT else (13,)


TURN: Final = b"\n--\n"
MULTILINE: Final = b"\n-m\n"
"""In an input for AGI: here we send a command, with a value of several lines allowed or not."""


# --- AGI -------------------------------------------------------------------------------------------------------------


def agi(data: bytes) -> None:
    """What Asterisk sends, with our commands between."""
    whole = _agi(data, None)
    for size in sizes(data):
        assert _agi(data, size) == whole, f"other events when {size} bytes arrive at a time"
    _check_agi(data, whole)


def _deliveries(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """What arrives before each of our commands, and whether that command lets its value have several lines."""
    for one in data.split(TURN):
        *first, last = one.split(MULTILINE)
        yield from ((part, True) for part in first)
        yield last, False


def _agi(data: bytes, size: int | None) -> list[Any]:
    wire = agi_wire.Wire()
    seen: list[Any] = []
    try:
        for part, multiline in _deliveries(data):
            for piece in pieces(part, size):
                if piece:
                    wire.receive_data(piece)
                seen += _events(wire)
            if wire.state is agi_wire.State.READY:
                wire.send("GET VARIABLE X", multiline=multiline)
                seen.append("sent")
        wire.receive_eof()
        seen += _events(wire)
    except agi_wire.RemoteProtocolError as error:
        assert wire.state is agi_wire.State.DEAD
        shown(str(error))
        seen.append(error.reason)
        told = str(error)
    else:
        return seen
    assert told.isascii()
    assert len(told) < 200
    wire.receive_data(b"200 result=0\n")
    with contextlib.suppress(agi_wire.RemoteProtocolError):
        wire.next_event()
        seen.append("what is dead went on")
    return seen


def _events(wire: agi_wire.Wire) -> Iterator[Any]:
    while (event := wire.next_event()) is not None:
        yield event


def _check_agi(data: bytes, seen: list[Any]) -> None:
    stream = b"".join(part for part, _ in _deliveries(data))
    waiting = closed = False
    for number, event in enumerate(seen):
        assert not closed, "something after the end"
        match event:
            case "sent":
                assert not waiting, "two commands without a reply between"
                waiting = True
            case agi_wire.Environment():
                assert number == 0, "the environment does not come first"
                lines = "".join(f"{key}: {value}\n" for key, value in event.raw.items()) + "\n"
                assert stream.startswith(lines.encode("utf-8", "surrogateescape")), "not the lines that came"
                assert event.channel == event.raw["agi_channel"]
                assert len(event.arguments) == sum(key.startswith("agi_arg_") for key in event.raw)
            case agi_wire.Reply():
                assert waiting, "a reply without a command"
                waiting = False
                assert event.text.encode("utf-8", "surrogateescape") in stream
                assert event.code in (200, 510, 511, 520)
                assert event.ok or not event.result
                _ = event.result_int
            case agi_wire.Closed():
                closed = True
                assert event.unanswered == waiting
            case agi_wire.Hangup():
                pass
            case reason:
                assert isinstance(reason, str)
                assert number == len(seen) - 1, f"it went on after a fault: {seen[number:]}"
    assert sum(isinstance(event, agi_wire.Hangup) for event in seen) <= agi_wire.MAX_HANGUPS


# --- our commands ----------------------------------------------------------------------------------------------------


def commands(data: bytes) -> None:
    """Values that a caller could have a say in, in every command of ours: refused, or one value to the switch too."""
    value = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(agi_wire.LocalProtocolError):
        _one_word(agi_wire.set_variable("NAME", value), value, 4)
    with contextlib.suppress(agi_wire.LocalProtocolError):
        _one_word(agi_wire.get_full_variable(value), value, 4)
    with contextlib.suppress(agi_wire.LocalProtocolError):
        _one_word(agi_wire.exec_("Playback", value), value, 3 if value else 2)
    with contextlib.suppress(agi_wire.LocalProtocolError):
        _one_word(agi_wire.command("NOOP", "x", value), value, 3)
    with contextlib.suppress(agi_wire.LocalProtocolError):
        assert words_of(_line(agi_wire.stream_file(value, "12")))[2:] == [value, "12"]
    with contextlib.suppress(agi_wire.LocalProtocolError):
        _line(agi_wire.get_variable(value))
        assert value.isascii()
    _action(value)
    _socket_command(value)


def _line(command: bytes) -> str:
    """The command as Asterisk gets it: one line."""
    try:
        sent = copy.copy(_ready()).send(command)
    except agi_wire.LocalProtocolError as error:
        raise AssertionError("a command was made that cannot be sent") from error
    assert sent.count(b"\n") == 1
    assert sent.endswith(b"\n")
    assert b"\r" not in sent
    assert b"\0" not in sent
    return sent[:-1].decode("utf-8", "surrogateescape")


@functools.cache
def _ready() -> agi_wire.Wire:
    """A wire that a command may be sent on."""
    wire = agi_wire.Wire()
    wire.receive_data(environment())
    assert isinstance(wire.next_event(), agi_wire.Environment)
    return wire


def _one_word(command: bytes, value: str, words: int) -> None:
    found = words_of(_line(command))
    assert len(found) == words, "other words"
    assert found[-1] == value or words == 2, "another value"


def _action(value: str) -> None:
    """An action of the manager: as many lines as it has headers, whatever stands in them."""
    name, _, rest = value.partition("\x1f")
    for action, headers in (("Setvar", {"Value": value}), ("Ping", {name: rest}), (name, {})):
        try:
            data = ami.encode_action(action, "1", cast("Mapping[str, str]", headers))
        except ami.UnsafeHeader as error:
            shown(str(error))
            continue
        lines = data.split(b"\r\n")
        assert lines[-2:] == [b"", b""]
        assert len(lines) == 4 + len(headers)
        assert b"\n" not in data.replace(b"\r\n", b"")
        assert sum(line.lower().startswith((b"action:", b"actionid:")) for line in lines) == 2


def _socket_command(value: str) -> None:
    """A command of the event socket: so many lines, and one empty one at its end."""
    made: tuple[tuple[Callable[[], bytes], int], ...] = (
        (lambda: socket_wire.execute("playback", value), 4 + bool(value)),
        (lambda: socket_wire.execute("playback", "x", value), 5 + bool(value)),
        (lambda: socket_wire.execute(value), 4),
        (lambda: socket_wire.api(f"uuid_exists {value}"), 1),
        (lambda: socket_wire.only(value), 1),
        (lambda: socket_wire.auth(value), 1),
        (lambda: socket_wire.events(value), 1),
        (lambda: socket_wire.beat("a::b", "Nonce", value), 3),
    )
    for make, lines in made:
        try:
            data = make()
        except (socket_wire.LocalProtocolError, UnicodeEncodeError):
            continue  # of a lone surrogate nothing is sent either
        assert data.endswith(b"\n\n")
        assert data[:-2].count(b"\n") == lines - 1, "a value became a line"
        assert b"\r" not in data
        assert b"\0" not in data


# --- the event socket ------------------------------------------------------------------------------------------------


def event_socket(data: bytes) -> None:
    """What FreeSWITCH sends."""
    whole = _messages(data, None)
    for size in sizes(data):
        assert _messages(data, size) == whole, f"other messages when {size} bytes arrive at a time"
    with _the_long_way():
        assert _messages(data, None) == whole, "the short way through what is usual comes to something else"
    for message in whole:
        if isinstance(message, socket_wire.Event):
            assert message.name == message.headers["Event-Name"]
            assert message.name.isascii()
        headers = getattr(message, "headers", {})
        for name, value in headers.items():
            assert isinstance(name, str)
            assert isinstance(value, str)


@contextlib.contextmanager
def _the_long_way() -> Iterator[None]:
    """Every header line by line, every event by the standard library."""

    def no_json(_: bytes) -> Any:
        raise ValueError

    with (
        patch.object(socket_wire, "_usual_headers", lambda _: None),
        patch.object(socket_wire, "_short_headers", socket_wire._headers),
        patch.object(socket_wire, "orjson", SimpleNamespace(loads=no_json)),
    ):
        yield


def _messages(data: bytes, size: int | None) -> list[Any]:
    wire = socket_wire.Wire(max_body=4096)
    seen: list[Any] = []
    try:
        for piece in pieces(data, size):
            wire.receive_data(piece)
            while (message := wire.next_message()) is not None:
                seen.append(message)
            assert wire.holds <= len(data)
    except socket_wire.RemoteProtocolError as error:
        seen.append(error.reason)
    else:
        return seen
    assert wire.holds == 0, "what is dead still holds something"
    with contextlib.suppress(socket_wire.RemoteProtocolError):
        wire.receive_data(b"\n\n")
        raise AssertionError("what is dead went on")
    return seen


# --- the manager -----------------------------------------------------------------------------------------------------

ACTION: Final = "2f1c5b7a90d3e6480b1d2c3e4f506172"
LISTED: Final = "00112233445566778899aabbccddeeff"
"""Ids of two actions that are out, as an input may have them."""


class _Transport:
    """Takes what is sent, and is told when the link is to be dropped."""

    dropped = False

    def abort(self) -> None:
        self.dropped = True


class _Seen:
    """What came of an input: events, replies, and whether the link was dropped."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.replies: list[Any] = []
        self.fragments = 0
        self.dropped = ""

    def plain(self) -> Any:
        return self.events, self.replies, self.fragments, self.dropped


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def manager(data: bytes) -> None:
    """What the manager sends: replies to two actions of ours, events, and what callers made of them."""
    with capture_logs() as logged:
        arriving = (None, *sizes(data))
        seen = [_loop().run_until_complete(_manager(data, size)) for size in arriving]
    for size, other in zip(arriving[1:], seen[1:], strict=True):
        assert other.plain() == seen[0].plain(), f"other events when {size} bytes arrive at a time"
    for entry in logged:
        shown(json.dumps(entry))
        assert set(entry) <= {"event", "log_level", "count", "remedy"}, "what came over the wire is logged"
    for reply in seen[0].replies:
        assert f"ActionID: {ACTION}".lower() in _text(data) or f"ActionID: {LISTED}".lower() in _text(data)
        assert "response: " in _text(data)
        assert reply[0] in (True, False)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape").lower()


async def _manager(data: bytes, size: int | None) -> _Seen:
    seen = _Seen()

    def event(one: ami.Event) -> None:
        seen.events.append((one.name, _plain(one.headers)))

    protocol = ami._Protocol(event, lambda _: None)
    transport = _Transport()
    protocol.transport = cast("asyncio.Transport", transport)
    loop = asyncio.get_running_loop()
    pending = {name: ami._Pending(loop.create_future()) for name in (ACTION, LISTED)}
    protocol.responses.update(pending)
    for piece in pieces(data, size):
        protocol.data_received(piece)
    seen.fragments = protocol.fragments
    seen.dropped = protocol.reason if transport.dropped else ""
    for action in pending.values():
        if action.future.done():
            answer = action.future.result()
            assert isinstance(answer, ami.Reply)
            listed = [(one.name, _plain(one.headers)) for one in answer.events]
            seen.replies.append((answer.success, answer.message, _plain(answer.headers), listed))
    protocol.greeted.cancel()
    protocol.lost.cancel()
    return seen


def _plain(headers: ami.Headers) -> dict[str, tuple[str, ...]]:
    found = {name: headers.all(name) for name in headers}
    for name, values in found.items():
        assert values, "a header without a value"
        assert headers[name.upper()] == values[0]
        assert headers.one(name) == (values[0] if len(values) == 1 else None)
        assert not any("\r\n" in value for value in values)
    assert repr(headers).count("\n") == "".join(found).count("\n")
    return found
