"""The event socket of FreeSWITCH, without input or output: bytes in, messages out, and commands as bytes.

A message is a block of headers, an empty line and, where a ``Content-Length`` says so, a body of so many bytes. A
command is one line, or a ``sendmsg`` with headers; an empty line ends it. Replies come in the order of the commands,
events and notices between them (docs/freeswitch.md).

What a caller can write reaches us only inside values. So lines are parted before anything in them is decoded: else
``%0A`` in a SIP header would become a header of the caller's own. And no value of ours that has a line break, a NUL or
a ``$`` is ever sent: a line break would begin a command of its own, and ``${…}`` is expanded by the switch and runs its
API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson

from ivr_consent.core.errors import ProtocolError

MAX_HEADERS: Final = 256 * 1024
"""Bytes of one block of headers. The first reply has some 170 headers and 7 kB; a call with many variables has more."""

MAX_LINE: Final = 64 * 1024
"""Bytes of one header: the longest value seen is a session description of some kilobytes."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of a body on the connection of one call: an event has some 7 kB."""

MAX_COMMAND: Final = 4096
"""Bytes of a command. Ours have some hundred."""

SHORT: Final = 100
"""Bytes of a block of headers that is worth keeping."""

UUID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")
"""A channel's id: FreeSWITCH makes UUIDs, and takes others (``origination_uuid``), which a site chooses."""

_NAME: Final = re.compile(rb"[!-9;-~]{1,200}")
_NUMBER: Final = re.compile(rb"[0-9]{1,9}")

_LINE: Final = re.compile(r"(?m)^([!-9;-~]{1,200}):(?: |)([^\n]*)$")
"""A header of a whole block."""

USUAL_VALUE: Final = 32 * 1024
"""Characters of a value that is nothing out of the ordinary."""

_WORD: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_FORBIDDEN: Final = frozenset("\r\n\0")
_SWITCHS_OWN: Final = ("Channel-", "Caller-", "Unique-", "Answer-", "Event-", "Core-", "Socket-", "Control", "Content-")
_BROKEN: Final = re.compile(rf"(?m)^(?:{'|'.join(_SWITCHS_OWN)})[^\n]*%0[aAdD]")
"""Headers that hold no line break, whoever is the caller: one in them is no FreeSWITCH, or a forged one."""


class Reason(StrEnum):
    """Why the stream of a peer cannot be trusted any more."""

    HEADERS_TOO_LONG = "headers_too_long"
    LINE_TOO_LONG = "line_too_long"
    NO_COLON = "no_colon"
    BAD_NAME = "bad_name"
    LINE_BREAK = "line_break_in_value"
    NUL = "nul_in_value"
    BAD_LENGTH = "bad_length"
    BODY_TOO_LONG = "body_too_long"
    TWICE = "header_twice"
    NO_TYPE = "no_content_type"
    BAD_EVENT = "bad_event"
    NOT_ASKED = "reply_to_nothing"


class RemoteProtocolError(ProtocolError):
    """They did wrong: the stream cannot be trusted any more and the wire stays dead."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason: Final = reason


class LocalProtocolError(ProtocolError):
    """We did wrong: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``command/reply``: ``text`` is its Reply-Text. ``headers`` has the whole block, decoded."""

    text: str
    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether it begins with ``+OK``. Of a ``sendmsg`` that means "queued", and nothing more."""
        return self.text.startswith("+OK")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """``api/response``: what an API command printed."""

    body: str

    @property
    def ok(self) -> bool:
        """Whether it begins with ``+OK``."""
        return self.body.startswith("+OK")


@dataclass(frozen=True, slots=True)
class Event:
    """An event. ``headers`` has the first value of each field, as the switch sent it."""

    name: str
    headers: Mapping[str, str]

    def get(self, name: str) -> str:
        """A field's value, empty when there is none."""
        value = self.headers.get(name, "")
        return "" if value == "_undef_" else value

    def variable(self, name: str) -> str:
        """A channel variable's value, empty when it is not set."""
        return self.get(f"variable_{name}")


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """The switch wants the password: the first message on its own port."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A notice that the connection ends; ``lingers``: not yet, and because the channel has hung up."""

    lingers: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """The switch's access list does not let us in."""


Message = Reply | ApiResponse | Event | AuthRequest | Disconnect | Rejected


class Wire:
    """One connection's incoming half. Feed it bytes; take messages until there is none.

    ``max_body``: bytes of a body. Raises :class:`RemoteProtocolError` at the first thing that no FreeSWITCH sends, and
    from then on at every call.
    """

    def __init__(self, *, max_body: int = MAX_BODY) -> None:
        self._buffer = bytearray()
        self._max_body = max_body
        self._scanned = 0
        self._headers: Mapping[str, str] | None = None
        self._length = 0
        self._dead: RemoteProtocolError | None = None

    def receive_data(self, data: bytes) -> None:
        """Bytes from the switch."""
        if self._dead is not None:
            raise self._dead
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next whole message, or ``None`` when more bytes are needed."""
        if self._dead is not None:
            raise self._dead
        try:
            return self._next()
        except RemoteProtocolError as error:
            self._dead = error
            self._buffer.clear()
            raise

    @property
    def holds(self) -> int:
        """Bytes that have come and are no whole message yet."""
        return len(self._buffer)

    def _next(self) -> Message | None:
        while self._headers is None:
            end = self._buffer.find(b"\n\n", max(0, self._scanned - 1))
            if end > MAX_HEADERS or (end < 0 and len(self._buffer) > MAX_HEADERS):
                raise RemoteProtocolError(Reason.HEADERS_TOO_LONG)
            if end < 0:
                if len(self._buffer) - (self._buffer.rfind(b"\n") + 1) > MAX_LINE:
                    raise RemoteProtocolError(Reason.LINE_TOO_LONG)
                self._scanned = len(self._buffer)
                return None
            block = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            self._scanned = 0
            if block.strip(b"\n"):
                parsed = _short_headers if len(block) < SHORT else _headers
                self._headers, self._length = parsed(block, self._max_body)
        if len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        headers, self._headers = self._headers, None
        return _message(headers, body)


def _headers(block: bytes, max_body: int) -> tuple[Mapping[str, str], int]:
    """The headers of a block, decoded, and the length of the body."""
    usual = _usual_headers(block)
    if usual is not None:
        return usual, 0
    found: dict[str, str] = {}
    length = 0
    for line in block.strip(b"\n").split(b"\n"):
        if len(line) > MAX_LINE:
            raise RemoteProtocolError(Reason.LINE_TOO_LONG)
        raw, colon, value = line.partition(b":")
        if not colon:
            raise RemoteProtocolError(Reason.NO_COLON)
        if not _NAME.fullmatch(raw):
            raise RemoteProtocolError(Reason.BAD_NAME)
        if b"\r" in value:
            raise RemoteProtocolError(Reason.LINE_BREAK)
        value = value.removeprefix(b" ")
        name = raw.decode()
        if name == "Content-Length":
            if not _NUMBER.fullmatch(value):
                raise RemoteProtocolError(Reason.BAD_LENGTH)
            length = int(value)
            if length > max_body:
                raise RemoteProtocolError(Reason.BODY_TOO_LONG)
        text = _decoded(name, value)
        # Twice the same is how some events are; of a variable with several values the first one counts.
        if found.setdefault(name, text) != text and not name.startswith("variable_"):
            raise RemoteProtocolError(Reason.TWICE)
    return MappingProxyType(found), length


class _Lazy(Mapping[str, str]):
    """Headers whose values are decoded when somebody looks: of two hundred that is done with ten."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[str, str]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        value = self._raw[name]
        return _unquoted(value.encode("ascii")) if "%" in value else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def _usual_headers(block: bytes) -> Mapping[str, str] | None:
    """The same for a block of many headers in which nothing is out of the ordinary, and which has no body.

    The reply to ``connect`` has nearly two hundred, and this takes a third of the time. Whatever could be wrong in a
    block is left to who looks at each line: ``None``.
    """
    if b"\r" in block or b"\0" in block or b"%00" in block or b"Content-Length" in block or not block.isascii():
        return None
    text = block.strip(b"\n").decode("ascii")
    pairs = _LINE.findall(text)
    if len(pairs) != text.count("\n") + 1 or _BROKEN.search(text):
        return None
    found = dict(pairs)
    if len(found) < len(pairs) or len(max(found.values(), key=len)) > USUAL_VALUE:
        return None
    return _Lazy(found)


_short_headers = lru_cache(maxsize=1024)(_headers)
"""Nearly every block is one of few: ``+OK``, and events with a length."""


def _decoded(name: str, value: bytes) -> str:
    """A header's value, decoded now that the lines are parted."""
    text = _unquoted(value)
    if "\0" in text:
        raise RemoteProtocolError(Reason.NUL)
    if ("\n" in text or "\r" in text) and name.startswith(_SWITCHS_OWN):
        raise RemoteProtocolError(Reason.LINE_BREAK)
    return text


def _unquoted(value: bytes) -> str:
    return (unquote_to_bytes(value) if b"%" in value else value).decode(errors="replace")


def _message(headers: Mapping[str, str], body: bytes) -> Message:
    kind = headers.get("Content-Type")
    match kind:
        case "command/reply":
            return Reply(headers.get("Reply-Text", "").rstrip("\n"), headers)
        case "api/response":
            return ApiResponse(body.decode(errors="replace"))
        case "text/event-json":
            return _event(_json_fields(body))
        case "text/event-plain":
            return _event(_headers(body.partition(b"\n\n")[0], len(body))[0])
        case "auth/request":
            return AuthRequest()
        case "text/disconnect-notice":
            return Disconnect(headers.get("Content-Disposition") == "linger")
        case "text/rude-rejection":
            return Rejected()
        case None:
            raise RemoteProtocolError(Reason.NO_TYPE)
        case _:
            # XML events and log lines: nothing that is ever asked for.
            raise RemoteProtocolError(Reason.BAD_EVENT)


def _json_fields(body: bytes) -> Mapping[str, str]:
    """The fields of an event in JSON. It may hold bytes that are no UTF-8, in what a caller wrote, and lists."""
    try:
        fields = orjson.loads(body)
    except ValueError:  # bytes that are no UTF-8, half of a pair: then with a sign in their place
        try:
            fields = json.loads(body.decode(errors="replace"))
        except (ValueError, RecursionError):
            raise RemoteProtocolError(Reason.BAD_EVENT) from None
    if not isinstance(fields, dict):
        raise RemoteProtocolError(Reason.BAD_EVENT)
    if set(map(type, fields.values())) == {str}:  # nearly always, and a hundred and fifty of them
        return MappingProxyType(fields)
    for name, value in fields.items():
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, str):
            raise RemoteProtocolError(Reason.BAD_EVENT)
        fields[name] = first
    return MappingProxyType(fields)


def _event(fields: Mapping[str, str]) -> Event:
    name = fields.get("Event-Name", "")
    if not _WORD.fullmatch(name):
        raise RemoteProtocolError(Reason.BAD_EVENT)
    return Event(name, fields)


# --- commands --------------------------------------------------------------------------------------------------------


def connect() -> bytes:
    """The first word on the connection of a call: the reply has all that is known of the channel."""
    return b"connect\n\n"


def auth(password: str) -> bytes:
    """The password, on the switch's own port."""
    return _command(f"auth {_plain(password, dollar=True)}")


def linger(seconds: int) -> bytes:
    """After the hang-up the connection stays so long: its last events are sure to come."""
    return _command(f"linger {int(seconds)}")


def only(uuid: str) -> bytes:
    """Events of this channel alone. Without it, ``event`` brings those of all calls."""
    return _command(f"filter Unique-ID {channel(uuid)}")


def events(*names: str) -> bytes:
    """These events, as JSON. ``CUSTOM`` comes last, with its subclasses."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]{1,40}(?:::[a-z_-]{1,40})?", name):
            raise LocalProtocolError("not the name of an event")
    return _command(f"event json {' '.join(names)}")


def api(command: str) -> bytes:
    """An API command; the response is an :class:`ApiResponse`."""
    return _command(f"api {_plain(command)}")


def beat(subclass: str, name: str, value: str) -> bytes:
    """An event of our own, to see whether events come."""
    return _command(f"sendevent CUSTOM\nEvent-Subclass: {_plain(subclass)}\n{name}: {_plain(value)}")


def execute(application: str, argument: str = "", event_uuid: str = "") -> bytes:
    """Run an application on the channel of this connection, after those that were queued before.

    ``event_uuid`` comes back as ``Application-UUID``: by nothing else can a completion be told from another one's.
    """
    if not _WORD.fullmatch(application):
        raise LocalProtocolError("not the name of an application")
    lines = ["sendmsg", "call-command: execute", f"execute-app-name: {application}"]
    if argument:
        lines.append(f"execute-app-arg: {_plain(argument)}")
    if event_uuid:
        lines.append(f"Event-UUID: {channel(event_uuid)}")
    lines.append("event-lock: true")
    return _command("\n".join(lines))


def channel(uuid: str) -> str:
    """A channel's id that may stand in a command. Raises :class:`LocalProtocolError`."""
    if not UUID.fullmatch(uuid):
        raise LocalProtocolError("not the id of a channel")
    return uuid


def _plain(value: str, *, dollar: bool = False) -> str:
    """A value that can neither end a line nor be expanded."""
    if _FORBIDDEN & set(value):
        raise LocalProtocolError("a line break or NUL in a value")
    if "$" in value and not dollar:
        raise LocalProtocolError("a $ in a value: the switch would expand what follows")
    return value


def _command(text: str) -> bytes:
    data = text.encode() + b"\n\n"
    if len(data) > MAX_COMMAND:
        raise LocalProtocolError("a command that is too long")
    return data
