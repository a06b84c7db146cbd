"""The event socket of the fake FreeSWITCH: the commands that it takes and the bytes with which it answers.

:class:`EventSocket` reads commands as mod_event_socket does, oddities included: a message ends at a blank line, line
breaks before it are skipped, a lone carriage return ends a header, the first of two like-named headers counts, a body
follows its Content-Length. :class:`Outbound` is the connection of a call's ``socket`` application, :class:`Inbound` one
that somebody made to the listening port.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from ivr_consent.testing.fake_freeswitch_events import EVENT_NAMES, MYEVENTS, Headers, as_json, framed, head, plain

if TYPE_CHECKING:
    from ivr_consent.testing.fake_freeswitch import FakeFreeSwitch
    from ivr_consent.testing.fake_freeswitch_channel import Channel

GOODBYE: Final = "Disconnected, goodbye.\nSee you at ClueCon! http:" + "//www.cluecon.com/\n"
CONNECT_S: Final = 24.5
"""How long FreeSWITCH waits for our ``connect``."""

LINGER_MORE_S: Final = 0.9
"""A lingering connection closes so much after its time."""

_MAX_MESSAGE: Final = 1 << 20
_MAX_VALUE: Final = 511  # characters of getvar's answer
_end = re.compile(rb"\n\r*\n")
_leading = re.compile(rb"[\r\n]+")
_breaks = re.compile(r"[\r\n]+")


@dataclass(frozen=True, slots=True)
class Command:
    """What came in one message: its command, its headers (lower case, the first of a name), its body, and when."""

    text: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    at: float = 0.0
    raw: bytes = b""


@dataclass(slots=True)
class Event:
    """An event on its way to whoever wants it; each form is written once."""

    name: str
    headers: Headers
    body: str = ""
    _forms: dict[str, bytes] = field(default_factory=dict)

    def message(self, kind: str) -> bytes:
        """The whole message in the form ``plain`` or ``json``."""
        if kind not in self._forms:
            write = as_json if kind == "json" else plain
            self._forms[kind] = framed(kind, write(self.headers, self.body))
        return self._forms[kind]


def _headers(block: str) -> Command:
    """Take a message's header block apart, as read_packet does."""
    found: dict[str, str] = {}
    rest, first = block, ""
    number = 0
    while rest:
        at = rest.find("\r")
        at = at if at >= 0 else rest.find("\n")
        chunk, rest = (rest[:at], rest[at:].lstrip("\r\n")) if at >= 0 else (rest, "")
        line = _breaks.split(chunk, maxsplit=1)[0]
        number += 1
        if number == 1:
            first = line
            continue
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.lower(), value.lstrip(" "))
    return Command(first, found)


class EventSocket(asyncio.Protocol):
    """One connection: reads commands, answers them in order, and sends the events that were asked for."""

    def __init__(self, switch: FakeFreeSwitch) -> None:
        self.switch = switch
        self.channel: Channel | None = None
        self.full = True
        self.commands: list[Command] = []
        self.finished = False
        self.lost = asyncio.Event()
        self.closing = False
        self.kind = "plain"
        self.names: set[str] = set()
        self.subclasses: set[str] = set()
        self.filters: list[tuple[str, str]] = []
        self.my_events = False
        self.linger: float | None = None
        self.lingers = False
        self.on_command: Callable[[Command], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._busy = False
        self._held: list[bytes] = []
        self._waiting: deque[Command] = deque()
        self._logs = False

    # --- bytes -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class, and has its methods

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self.closing:
            command = self._next()
            if command is None:
                break
            self.commands.append(command)
            if self.on_command is not None:
                self.on_command(command)
            self._waiting.append(command)
            self.work()
        if len(self._buffer) > _MAX_MESSAGE:
            self.cut()

    def _next(self) -> Command | None:
        """The next whole message of the buffer; None when it has not come yet."""
        while match := _leading.match(self._buffer):
            self._buffer = self._buffer[match.end() :]
        found = _end.search(self._buffer)
        if found is None:
            return None
        command = _headers(self._buffer[: found.start()].decode("utf-8", "surrogateescape"))
        length = command.headers.get("content-length", "")
        size = max(0, int(number[0])) if (number := re.match(r"\s*-?[0-9]{1,9}", length)) else 0
        if len(self._buffer) < found.end() + size:
            return None
        raw, self._buffer = self._buffer[: found.end() + size], self._buffer[found.end() + size :]
        body = raw[found.end() :].decode("utf-8", "surrogateescape")
        return Command(command.text, command.headers, body, time.monotonic(), raw)

    def work(self) -> None:
        """Answer the commands that wait, unless one of them blocks."""
        while self._waiting and not self._busy and not self.closing:
            command = self._waiting.popleft()
            self._busy = True
            reply = self.obey(command)
            if reply is None:
                return  # it will be answered by replied()
            self.replied(reply)

    def replied(self, reply: str | bytes) -> None:
        """Send the answer of the command that is being worked on; then the events that came meanwhile."""
        if isinstance(reply, bytes):
            self.write(reply)
        elif reply.startswith("~"):
            self.write(f"Content-Type: command/reply\n{reply[1:]}")
        elif reply:
            self.write(f"Content-Type: command/reply\nReply-Text: {reply}\n\n")
        self._busy = False
        held, self._held = self._held, []
        for message in held:
            self.write(message)
        if self.closing:
            self.close()

    def write(self, data: str | bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)

    def close(self) -> None:
        """Say goodbye and close."""
        self.closing = True
        uuid_line = f"Controlled-Session-UUID: {self.channel.uuid}\n" if self.channel is not None else ""
        end = "Content-Disposition: disconnect\n" if self.channel is not None else ""
        self.write(f"Content-Type: text/disconnect-notice\n{uuid_line}{end}Content-Length: {len(GOODBYE)}\n\n{GOODBYE}")
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Close the connection now, as a FreeSWITCH that is killed does."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.finished = self.closing = True
        self.lost.set()
        self.switch.drop_socket(self)

    # --- events ------------------------------------------------------------------------------------------------------

    def only(self) -> str:
        """The one channel whose events can reach it; empty when it can be any."""
        if self.my_events and self.channel is not None:
            return self.channel.uuid
        if len(self.filters) == 1 and self.filters[0][0] == "Unique-ID":
            return self.filters[0][1]
        return ""

    def wants(self, name: str, subclass: str, uid: str) -> bool:
        """Whether it subscribed to events of this name."""
        if self.finished or (name not in self.names and "ALL" not in self.names):
            return False
        if name == "CUSTOM" and "ALL" not in self.names and subclass not in self.subclasses:
            return False
        return not self.my_events or self.channel is None or uid == self.channel.uuid

    def deliver(self, event: Event) -> None:
        """Send an event that it wants, if its filters let it pass."""
        if self.filters and not self._passes(event.headers):
            return
        message = event.message(self.kind)
        if self._busy:
            self._held.append(message)
        else:
            self.write(message)

    def _passes(self, headers: Headers) -> bool:
        return any(headers.get(name, "").lower() == value.lower() for name, value in self.filters if name in headers)

    # --- commands ----------------------------------------------------------------------------------------------------

    def obey(self, command: Command) -> str | bytes | None:
        """Do what a command says; its Reply-Text, a whole message, or None when the answer comes later."""
        answer = self._obey(command)
        self.switch.sort_socket(self)
        return answer

    def _obey(self, command: Command) -> str | bytes | None:
        text = command.text
        verb = text.lower()
        if verb.startswith(("exit", "...")):
            self.closing = True
            return "+OK bye"
        if self.channel is None and verb.startswith("divert_events"):
            return "-ERR not controlling a session."
        for prefix, method in (
            ("filter ", self._filter),
            ("resume", self._resume),
            ("getvar", self._getvar),
            ("myevents", self._myevents),
            ("divert_events", self._divert),
        ):
            if verb.startswith(prefix) and (self.channel is not None or prefix == "filter "):
                return method(text) or "-ERR command not found"
        if verb.startswith("sendmsg"):
            return self.sendmsg(command)
        if not self.full:
            return "-ERR command not found"
        return self._obey_full(command) or "-ERR command not found"

    def _obey_full(self, command: Command) -> str | bytes:
        text, verb = command.text, command.text.lower()
        if verb.startswith("sendevent"):
            return self._sendevent(command)
        if verb.startswith("api "):
            answer = self.switch.api(text[4:])
            content = answer.encode("utf-8", "surrogateescape")
            return b"Content-Type: api/response\nContent-Length: %d\n\n" % len(content) + content
        if verb.startswith("bgapi "):
            return self._bgapi(command)
        if verb.startswith("linger"):
            return self._linger(text)
        if verb.startswith("nolinger") and self.channel is None:
            return "-ERR not controlling a session"
        if verb.startswith("nolinger"):
            self.lingers = False
            return "+OK will not linger"
        if verb.startswith("nolog"):
            was, self._logs = self._logs, False
            return "+OK no longer logging" if was else "-ERR not loging"
        if verb.startswith("log"):
            self._logs = True
            return f"+OK log level {text[3:].strip()} [7]"
        if verb.startswith("noevents"):
            self.names.clear()
            return "+OK no longer listening for events"
        if verb.startswith("event"):
            return self._event(text)
        return ""

    def _filter(self, text: str) -> str:
        name, _, value = text[7:].lstrip(" ").partition(" ")
        if name.lower() == "delete" and value:
            name, _, value = value.partition(" ")
            kept = [(key, v) for key, v in self.filters if key != name or (value and v != value)]
            self.filters = [] if name.lower() == "all" else kept
            return f"+OK filter deleted. [{name}][{value}]"
        if not value:
            return "-ERR invalid syntax"
        if name.lower() == "add":
            name, _, value = value.partition(" ")
        self.filters.append((name, value))
        return f"+OK filter added. [{name}]=[{value}]"

    def _resume(self, text: str) -> str:
        assert self.channel is not None
        self.channel.set("socket_resume", "true")
        return "+OK"

    def _getvar(self, text: str) -> str:
        assert self.channel is not None
        name = text.partition(" ")[2]
        return (self.channel.variables.get(name) or self.channel.built_in(name))[:_MAX_VALUE]

    def _myevents(self, text: str) -> str:
        if self.my_events:
            return "-ERR aready enabled."
        self.my_events = True
        self.names |= MYEVENTS
        self.kind = "json" if "json" in text.lower() else self.kind
        return "+OK Events Enabled"

    def _divert(self, text: str) -> str:
        value = text[13:].strip()
        if not value:
            return "-ERR missing value."
        return "+OK events diverted" if value.lower() == "on" else "+OK events not diverted"

    def _linger(self, text: str) -> str:
        if self.channel is None:
            return "-ERR not controlling a session"
        self.lingers = True
        match = re.match(r" ([0-9]{1,6})", text[6:])
        self.linger = float(match[1]) if match else None
        return f"+OK will linger {match[1]} seconds" if match else "+OK will linger"

    def _event(self, text: str) -> str:
        words = text[5:].split()
        if words and words[0].lower() in ("plain", "json", "xml"):
            self.kind = words.pop(0).lower()
        custom = False
        known = 0
        for word in words:
            name = word.upper()
            if custom:
                self.subclasses.add(word)
            elif name in EVENT_NAMES:
                known += 1
                self.names.add(name)
                custom = name == "CUSTOM"
        return f"+OK event listener enabled {self.kind}" if known else "-ERR no keywords supplied"

    def _sendevent(self, command: Command) -> str:
        name = command.text[9:].strip().upper()
        uid = str(uuid.uuid4())
        subclass = command.headers.get("event-subclass", "")
        headers = head(name, {"Event-Subclass": subclass} if subclass else None)
        headers |= {name: value for name, value in command.headers.items() if name != "event-subclass"}
        self.switch.fire_plain(Event(name, {**headers, "Event-UUID": uid}), subclass)
        return f"+OK {uid}"

    def _bgapi(self, command: Command) -> str:
        job = command.headers.get("job-uuid", "") or str(uuid.uuid4())
        text = command.text[6:]
        asyncio.get_running_loop().call_soon(self.switch.background_job, job, text)
        return f"~Reply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}\n\n"

    def sendmsg(self, command: Command) -> str | None:
        """Queue a message for a channel: always +OK where there is such a channel."""
        uid = command.text[7:].strip() or command.headers.get("session-id", "")
        channel = self.channel if not uid or (self.channel and uid == self.channel.uuid) else self.switch.find(uid)
        if channel is None:
            return f"-ERR invalid session id [{uid}]"
        channel.queue(command)
        return "+OK"


class Outbound(EventSocket):
    """The connection that a call's ``socket`` application made to a server."""

    def __init__(self, channel: Channel, *, asynchronous: bool, full: bool) -> None:
        super().__init__(channel.switch)
        self.channel = channel
        self.asynchronous, self.full = asynchronous, full
        self.connected = False
        self._timer: asyncio.TimerHandle | None = None
        self._down = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.switch.add_socket(self)
        self._timer = asyncio.get_running_loop().call_later(CONNECT_S, self._give_up)

    def _give_up(self) -> None:
        if not self.connected and self._transport is not None:
            self._transport.close()

    def obey(self, command: Command) -> str | bytes | None:
        assert self.channel is not None
        if command.text.lower().startswith("connect"):
            first, self.connected = not self.connected, True
            if first:
                self.channel.wake()
            return self._connect_reply()
        reply = super().obey(command)
        if not self.connected:
            return ""  # the first command is taken, and only connect is answered
        return reply

    def _connect_reply(self) -> bytes:
        assert self.channel is not None
        headers = head("CHANNEL_DATA") | self.channel.profile("Channel") | self.channel.headers()
        headers |= {"Content-Type": "command/reply", "Reply-Text": "+OK\n"}
        headers["Socket-Mode"] = "async" if self.asynchronous else "static"
        headers["Control"] = "full" if self.full else "single-channel"
        return plain(headers)

    def sendmsg(self, command: Command) -> str | None:
        reply = super().sendmsg(command)
        return None if reply == "+OK" and not self.asynchronous and not self._down else reply

    def channel_down(self) -> None:
        """The channel has ended: tell it, and close now or after the time of ``linger``."""
        if self._down or self.finished:
            return
        self._down = True
        assert self.channel is not None
        if self._busy:
            self.replied("+OK")
        if not self.lingers:
            self.close()
            return
        self.write(
            f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {self.channel.uuid}\n"
            f"Content-Disposition: linger\nChannel-Name: {self.channel.name}\n"
            f"Linger-Time: {-1 if self.linger is None else int(self.linger)}\nContent-Length: 0\n\n"
        )
        if self.linger is not None:
            self._timer = asyncio.get_running_loop().call_later(
                (self.linger + LINGER_MORE_S) / self.switch.clock_speed, self.close
            )

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        assert self.channel is not None
        self.channel.socket_lost(self)


class Inbound(EventSocket):
    """A connection to the listening port: nothing works before the password, and an address outside has no chance."""

    def __init__(self, switch: FakeFreeSwitch) -> None:
        super().__init__(switch)
        self.authed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.switch.add_socket(self)
        host = str((transport.get_extra_info("peername") or ("",))[0])
        if host not in self.switch.acl:
            answer = "Access Denied, go away.\n"
            self.write(f"Content-Type: text/rude-rejection\nContent-Length: {len(answer)}\n\n{answer}")
            self.close()
            return
        self.write("Content-Type: auth/request\n\n")

    def obey(self, command: Command) -> str | bytes | None:
        if self.authed or command.text.lower().startswith(("exit", "...")):
            return super().obey(command)
        if not command.text.lower().startswith("auth "):
            return "-ERR command not found"
        self.authed = command.text[5:] == self.switch.password
        self.closing = not self.authed
        return "+OK accepted" if self.authed else "-ERR invalid"
