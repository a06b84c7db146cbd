"""The Asterisk Gateway Interface as a protocol without input or output.

:class:`Wire` turns bytes from Asterisk into events and commands into bytes; sockets, clocks and tasks are
the caller's business. It is strict because a caller can write into this stream: line breaks in a caller
number reach it unescaped, so whoever rings can end the environment early and put replies behind it.

What holds against that here, and what does not:

* The environment must have exactly the lines that Asterisk writes, in Asterisk's order, each once.
  ``agi_channel`` and ``agi_uniqueid`` stand before the first line a caller can influence, so nobody can
  replace them; an environment cut short lacks the lines that must follow.
* Whatever came before a command cannot be its answer: :meth:`Wire.send` refuses to send while unread bytes
  wait. One command, one reply; a reply without a command ends the session.
* A caller who forges *every* remaining line of the environment is not seen here if the network delivers the
  forged part before the rest. So the first command has to be an echo of random text, and nothing in the
  environment is to be believed before that echo has come back exactly.

States, and what moves between them::

    ENVIRONMENT --blank line--> READY --send()--> AWAITING --last line of the reply--> READY
    any state --end of input--> CLOSED          any state --peer breaks a rule--> DEAD

There are two kinds of errors: :class:`LocalProtocolError`, you did wrong, nothing has changed, and
:class:`RemoteProtocolError`, they did wrong, and the wire is dead for ever.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NoReturn, TypeAlias

from ivr_consent.core.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Closed",
    "Environment",
    "Event",
    "Hangup",
    "LocalProtocolError",
    "ProtocolError",
    "Reason",
    "RemoteProtocolError",
    "Reply",
    "State",
    "Wire",
    "answer",
    "channel_status",
    "command",
    "exec_",
    "get_full_variable",
    "get_variable",
    "hangup",
    "noop",
    "quote",
    "set_variable",
    "stream_file",
    "wait_for_digit",
]

MAX_LINE_BYTES: Final = 4096
"""Asterisk formats its own lines in 2 KiB, and cuts GET VARIABLE at 1024 characters; twice that is room."""

MAX_ENVIRONMENT_BYTES: Final = 16 * 1024
"""A real one has 0.5 to 2 KiB; a SIP packet, through which a caller could swell it, has at most 4."""

MAX_ARGUMENTS: Final = 32
"""Our dialplan passes two or three; Asterisk itself takes at most 128 words."""

MAX_USAGE_LINES: Final = 128
"""Lines in one 520 block; the longest usage text of Asterisk 16 and 22 has fewer than forty."""

MAX_USAGE_BYTES: Final = 32 * 1024
"""Bytes in one 520 block, for the same reason."""

MAX_VALUE_BYTES: Final = 8 * 1024
"""Bytes of one variable's value spread over several lines; asked for with ``multiline=True`` only."""

MAX_TRYING_LINES: Final = 4
"""``100 Trying`` lines before one reply; GOSUB, the only command that has them, sends one."""

MAX_HANGUPS: Final = 2
"""Asterisk sends one HANGUP line, and two where AGIEXITONHANGUP is set."""

MAX_BUFFERED_BYTES: Final = 64 * 1024
"""Unread bytes kept. More than the largest environment or reply, so that what is left out beyond it lies
behind bytes that end the session anyway."""

MAX_COMMAND_BYTES: Final = 1000
"""With its line end. Asterisk 16 splits a line beyond 2 KiB and answers the rest as a second command."""

_EXCERPT_CHARACTERS: Final = 60

_NETWORK_KEYS: Final = ("agi_network", "agi_network_script")
_FIXED_KEYS: Final = (
    "agi_request",
    "agi_channel",
    "agi_language",
    "agi_type",
    "agi_uniqueid",
    "agi_version",
    "agi_callerid",
    "agi_calleridname",
    "agi_callingpres",
    "agi_callingani2",
    "agi_callington",
    "agi_callingtns",
    "agi_dnid",
    "agi_rdnis",
    "agi_context",
    "agi_extension",
    "agi_priority",
    "agi_enhanced",
    "agi_accountcode",
    "agi_threadid",
)
# Asterisk 16 and 22 write all of these, always, in this order; agi_network (with a script if the URL has
# one) only to a FastAGI server, and agi_arg_1.. after them.
_KEYS: Final = _NETWORK_KEYS + _FIXED_KEYS
_FIRST_FIXED: Final = len(_NETWORK_KEYS)
_KNOWN_KEYS: Final = frozenset(_KEYS)
# What the next line has to begin with, for the short way through _environment_line. The two lines whose value
# is looked at have what no line can hold, so they, like any line that is not as usual, go the long way.
_PREFIXES: Final = tuple(b"\n" if key in ("agi_network", "agi_priority") else key.encode() + b": " for key in _KEYS)

# What Python's \d, isdigit() and int() accept beyond 0-9 has no place here: every class is spelled out.
# C1 controls (U+0080 to U+009F) are let in: a caller's name may hold them, no terminal of ours sees them, and refusing
# them would let a caller stay out of the log.
_environment_line = re.compile(r"([a-z0-9_]+): ([^\x00-\x1f\x7f]*)").fullmatch
_argument_key = re.compile(r"agi_arg_[1-9][0-9]{0,3}").fullmatch
_priority = re.compile(r"[0-9]{1,9}").fullmatch
_result_line = re.compile(
    r"200 result=(-[0-9]{1,18}|[0-9A-Da-d*#]{0,80})"
    r"(?: endpos=(-?[0-9]{1,18})| \(([^\x00-\x08\x0a-\x1f\x7f]*)\)| Gosub complete)?"
).fullmatch
_value_first_line = re.compile(r"200 result=1 \(([^\x00-\x08\x0a-\x1f\x7f]*)").fullmatch
_refusal_line = re.compile(r"(51[01]) [ -~]+").fullmatch
_trying_line = re.compile(r"1[0-9]{2} [ -~]+").fullmatch
_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_control_in_text = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_sendable = re.compile(rb"[A-Za-z][^\x00-\x1f\x7f]*").fullmatch
_verb = re.compile(r"[A-Z]+(?: [A-Z]+)*").fullmatch
_variable_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\([A-Za-z0-9_:,-]*\))?").fullmatch
_application_name = re.compile(r"[A-Za-z][A-Za-z0-9_]*").fullmatch
_escape_digits = re.compile(r"[0-9*#]*").fullmatch

_HANGUP_LINE: Final = b"HANGUP"
_USAGE_FIRST: Final = "520-Invalid command syntax.  Proper usage follows:"
_USAGE_LAST: Final = b"520 End of proper usage."
_USAGE_MISSING: Final = "520 Invalid command syntax.  Proper usage not available."

Reason: TypeAlias = Literal[
    "environment-argument",  # agi_arg_N out of step, or too many
    "environment-control",  # a control character in a value
    "environment-duplicate",
    "environment-eof",
    "environment-incomplete",  # ended before its last required line
    "environment-key",  # a key Asterisk does not write
    "environment-line",  # not "key: value"
    "environment-order",
    "environment-too-big",
    "environment-value",  # a value that Asterisk cannot have written
    "half-line",  # end of input inside a line
    "hangups",  # more HANGUP lines than Asterisk sends
    "line-too-long",
    "multiline-value",  # a value with line breaks that the command had not allowed
    "reply",  # not a reply at all
    "reply-eof",  # end of input inside a reply of several lines
    "reply-too-big",
    "trying",  # too many 1xx lines
    "unsolicited",  # a reply, or anything else, with no command out
]


class LocalProtocolError(ProtocolError):
    """You did wrong: nothing was sent and the wire's state is as before."""


class RemoteProtocolError(ProtocolError):
    """They did wrong: the stream cannot be trusted any more and the wire stays dead."""

    def __init__(self, reason: Reason, excerpt: str = "") -> None:
        super().__init__(reason, excerpt)
        self.reason: Final[Reason] = reason
        self.excerpt: Final = excerpt
        """The line at fault, escaped to printable ASCII and cut; without the value where it could be a
        caller's name or number."""

    def __str__(self) -> str:
        return f"{self.reason}: '{self.excerpt}'" if self.excerpt else self.reason


class State(Enum):
    """Where a :class:`Wire` is."""

    ENVIRONMENT = "environment"
    READY = "ready"
    AWAITING = "awaiting"
    CLOSED = "closed"
    DEAD = "dead"


# A member of an enumeration costs two lookups, a name of the module one.
_ENVIRONMENT, _READY, _AWAITING, _CLOSED, _DEAD = State


@dataclass(frozen=True, slots=True)
class Environment:
    """What Asterisk says about the call before the first command.

    Text is decoded as UTF-8; bytes that are none are kept as lone surrogates (``surrogateescape``).
    """

    channel: str
    uniqueid: str
    language: str
    caller_number: str | None
    """None if withheld or absent: Asterisk then writes ``unknown``."""
    caller_name: str | None
    """None likewise."""
    network_script: str
    """The path of the ``agi://`` URL with its query, without the leading slash; empty if there is none."""
    arguments: tuple[str, ...]
    version: str
    context: str
    extension: str
    priority: int
    raw: Mapping[str, str] = field(repr=False, hash=False)
    """Every line, by its key."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The one answer to the one command that was out."""

    code: int
    """200, 510 (no such command), 511 (not on a dead channel) or 520 (wrong usage)."""
    result: str
    """As written: a number, keys, or empty. Empty for any code but 200."""
    data: str | None
    """What stood in parentheses, up to the last one."""
    endpos: int | None
    """Where a playback ended: in samples for STREAM FILE."""
    text: str
    """The whole reply; lines joined by line feeds where it had several."""

    @property
    def ok(self) -> bool:
        """The command was carried out. It says nothing about how well."""
        return self.code == 200

    @property
    def result_int(self) -> int | None:
        """The result as a number; None if it is not one."""
        try:
            return int(self.result)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Hangup:
    """The channel is gone. It comes beside a reply, never instead of one."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Asterisk closed its side, between two lines. The last event."""

    unanswered: bool
    """A command was out, and its reply will never come."""


Event: TypeAlias = Environment | Reply | Hangup | Closed

_HANGUP: Final = Hangup()


class Wire:
    """One AGI session, from the first byte of its environment on.

    Give it what arrives with :meth:`receive_data`, then take events with :meth:`next_event` until it
    returns None; write what :meth:`send` returns.
    """

    __slots__ = (
        "_block",
        "_block_bytes",
        "_block_is_value",
        "_buffer",
        "_environment",
        "_environment_bytes",
        "_eof",
        "_fault",
        "_hangups",
        "_key_index",
        "_multiline",
        "_scanned",
        "_state",
        "_trying",
    )

    def __init__(self) -> None:
        self._state = _ENVIRONMENT
        self._buffer = bytearray()
        self._scanned = 0  # bytes known to hold no line end: a line that drips in is searched once, not squared
        self._eof = False
        self._fault: tuple[Reason, str] = ("reply", "")  # of no meaning until the state is DEAD
        self._environment: dict[str, str] = {}
        self._environment_bytes = 0
        self._key_index = 0
        self._hangups = 0
        self._trying = 0
        self._multiline = False
        self._block: list[str] | None = None  # lines so far of a reply that has several
        self._block_bytes = 0
        self._block_is_value = False

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._state

    @property
    def hung_up(self) -> bool:
        """A HANGUP line has been read."""
        return self._hangups > 0

    def receive_data(self, data: bytes) -> None:
        """Take bytes as they arrived; empty means that the peer has closed its side."""
        if not data:
            self.receive_eof()
            return
        if self._state is _DEAD:
            return
        if self._eof:
            raise LocalProtocolError("data after the end of input")
        room = MAX_BUFFERED_BYTES - len(self._buffer)
        self._buffer += data if len(data) <= room else data[:room]

    def receive_eof(self) -> None:
        """The peer has closed its side."""
        self._eof = True

    def next_event(self) -> Event | None:
        """The next thing that happened; None if more bytes are needed, or after :class:`Closed`.

        Raises :class:`RemoteProtocolError` at the first byte that Asterisk would not have sent, and again at
        every later call.
        """
        if self._state is _DEAD:
            self._raise_again()
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._scanned)
            if end < 0:
                return self._without_line()
            if end > MAX_LINE_BYTES:
                self._die("unsolicited" if self._state is _READY else "line-too-long")
            line = bytes(buffer[:end])
            del buffer[: end + 1]  # constant time: a bytearray only moves its start
            self._scanned = 0
            event: Event | None
            if self._state is _AWAITING:
                event = self._reply_line(line)
            elif self._state is _ENVIRONMENT:
                event = self._environment_line(line)
            elif line == _HANGUP_LINE:
                event = self._hangup_line()
            else:
                self._die("unsolicited", line)
            if event is not None:
                return event

    def send(self, command: bytes | str, *, multiline: bool = False) -> bytes:
        """The bytes to write for *command*, which has no line end; a reply is awaited from here on.

        *multiline* lets the value in the reply to GET VARIABLE or GET FULL VARIABLE have line breaks: it then
        ends with the first line that ends with ``)``, which for some values (the output of ``id``, say) is
        too early and ends the session. Never use it for text that a caller can choose: he could close the
        parenthesis and go on with a reply of his own. Without it, a value with a line break ends the session,
        which is right for every variable of ours.

        Raises :class:`LocalProtocolError` if a command is out already or this one must not be sent, and
        :class:`RemoteProtocolError` if bytes wait that came too early to be an answer to it.
        """
        if self._state is not _READY:
            if self._state is _DEAD:
                self._raise_again()
            raise LocalProtocolError(f"cannot send in state {self._state.value}")
        if isinstance(command, str):
            command = _encode(command)
        if len(command) >= MAX_COMMAND_BYTES:
            raise LocalProtocolError(f"command of {len(command)} bytes, the limit is {MAX_COMMAND_BYTES - 1}")
        if _sendable(command) is None:
            raise LocalProtocolError("a command begins with a letter and has no control characters")
        if command[:7].lower() == b"failure":
            # Asterisk ends the whole session at such a line
            raise LocalProtocolError("a command must not begin with 'failure'")
        if multiline and not command.startswith(b"GET "):
            raise LocalProtocolError("only GET VARIABLE and GET FULL VARIABLE have a value of several lines")
        if self._buffer:
            # Came before the command, so it answers nothing. Only HANGUP, or its beginning, may be here.
            early = bytes(self._buffer)
            if not (b"HANGUP\n" * (MAX_HANGUPS - self._hangups)).startswith(early):
                self._die("unsolicited", early)
        self._state = _AWAITING
        self._multiline = multiline
        self._trying = 0
        return command + b"\n"

    def _environment_line(self, line: bytes) -> Environment | None:
        self._environment_bytes += len(line) + 1
        if self._environment_bytes > MAX_ENVIRONMENT_BYTES:
            self._die("environment-too-big")
        index = self._key_index
        if index < len(_KEYS) and line.startswith(_PREFIXES[index]):
            usual = line[len(_PREFIXES[index]) :].decode("utf-8", "surrogateescape")
            if usual.isprintable():
                self._environment[_KEYS[index]] = usual
                self._key_index = index + 1
                return None
        if not line:
            if index < len(_KEYS):
                self._die("environment-incomplete")
            self._state = _READY
            raw, self._environment = self._environment, {}  # the caller's from here on, whatever becomes of the wire
            return _build_environment(raw)
        text = line.decode("utf-8", "surrogateescape")
        match = _environment_line(text)
        if match is None:
            name, colon, _ = line.partition(b": ")
            if _control(text) is not None:
                self._die("environment-control", name if colon else line)
            self._die("environment-line", line)
        key, value = match.groups()
        if index < len(_KEYS):
            if key != _KEYS[index]:
                # the lines for FastAGI alone may be absent: both, or the path
                if index >= _FIRST_FIXED or key != _KEYS[_FIRST_FIXED]:
                    self._die_at_key(key)
                index = _FIRST_FIXED
            self._key_index = index + 1
            if (key == "agi_network" and value != "yes") or (key == "agi_priority" and _priority(value) is None):
                self._die("environment-value", line)
        elif key != f"agi_arg_{index - len(_KEYS) + 1}" or index >= len(_KEYS) + MAX_ARGUMENTS:
            self._die_at_key(key)
        else:
            self._key_index = index + 1
        self._environment[key] = value
        return None

    def _reply_line(self, line: bytes) -> Reply | Hangup | None:
        if self._block is not None:
            return self._block_line(self._block, line)
        text = line.decode("utf-8", "surrogateescape")
        match = _result_line(text)
        if match is not None:
            self._state = _READY
            result, endpos, data = match.groups()
            return Reply(200, result, data, None if endpos is None else int(endpos), text)
        if line == _HANGUP_LINE:
            return self._hangup_line()
        refusal = _refusal_line(text)
        if refusal is not None or text == _USAGE_MISSING:
            self._state = _READY
            return Reply(int(text[:3]), "", None, None, text)
        if _trying_line(text) is not None:
            self._trying += 1
            if self._trying > MAX_TRYING_LINES:
                self._die("trying", line)
            return None
        if text == _USAGE_FIRST:
            self._block_is_value = False
        elif _value_first_line(text) is not None:
            if not self._multiline:
                self._die("multiline-value", b"200 result=1 (")  # the value may be personal
            self._block_is_value = True
        else:
            self._die("reply", line)
        self._block = [text]
        self._block_bytes = len(line) + 1
        return None

    def _block_line(self, block: list[str], line: bytes) -> Reply | None:
        # Asterisk writes usage and value in one go: in here a line that looks like HANGUP, or like a reply,
        # is text.
        self._block_bytes += len(line) + 1
        is_value = self._block_is_value
        if self._block_bytes > (MAX_VALUE_BYTES if is_value else MAX_USAGE_BYTES) or len(block) >= MAX_USAGE_LINES:
            self._die("reply-too-big")
        text = line.decode("utf-8", "surrogateescape")
        if _control_in_text(text) is not None:
            self._die("reply", b"" if is_value else line)
        block.append(text)
        if not (line.endswith(b")") if is_value else line == _USAGE_LAST):
            return None
        self._block = None
        self._state = _READY
        whole = "\n".join(block)
        if is_value:
            return Reply(200, "1", whole[len("200 result=1 (") : -1], None, whole)
        return Reply(520, "", None, None, whole)

    def _hangup_line(self) -> Hangup:
        self._hangups += 1
        if self._hangups > MAX_HANGUPS:
            self._die("hangups")
        return _HANGUP

    def _without_line(self) -> Closed | None:
        """No whole line is left: is that right, and is it the end?"""
        buffer = self._buffer
        size = len(buffer)
        if size:
            if self._state is _READY and not _HANGUP_LINE.startswith(bytes(buffer)):
                self._die("unsolicited", bytes(buffer))
            if size > MAX_LINE_BYTES:
                self._die("line-too-long")
            self._scanned = size
            if self._eof:
                self._die("half-line", bytes(buffer))
            return None
        if not self._eof or self._state is _CLOSED:
            return None
        if self._environment and self._state is _ENVIRONMENT:
            self._die("environment-eof")
        if self._block is not None:
            self._die("reply-eof")
        unanswered = self._state is _AWAITING
        self._state = _CLOSED
        return Closed(unanswered)

    def _die_at_key(self, key: str) -> NoReturn:
        name = key.encode()
        if key in self._environment:
            self._die("environment-duplicate", name)
        if key in _KNOWN_KEYS:
            self._die("environment-order", name)
        if _argument_key(key) is not None:
            self._die("environment-argument", name)
        self._die("environment-key", name)

    def _die(self, reason: Reason, line: bytes = b"") -> NoReturn:
        excerpt = repr(line[:_EXCERPT_CHARACTERS])[2:-1][:_EXCERPT_CHARACTERS]
        self._state = _DEAD
        self._fault = (reason, excerpt)
        self._buffer.clear()
        self._environment.clear()
        self._block = None
        raise RemoteProtocolError(reason, excerpt)

    def _raise_again(self) -> NoReturn:
        raise RemoteProtocolError(*self._fault)


def _build_environment(raw: dict[str, str]) -> Environment:
    number, name = raw["agi_callerid"], raw["agi_calleridname"]
    count = len(raw) - len(_FIXED_KEYS) - ("agi_network" in raw) - ("agi_network_script" in raw)
    return Environment(
        channel=raw["agi_channel"],
        uniqueid=raw["agi_uniqueid"],
        language=raw["agi_language"],
        caller_number=None if number == "unknown" else number,
        caller_name=None if name == "unknown" else name,
        network_script=raw.get("agi_network_script", ""),
        arguments=tuple([raw[f"agi_arg_{n}"] for n in range(1, count + 1)]),
        version=raw["agi_version"],
        context=raw["agi_context"],
        extension=raw["agi_extension"],
        priority=int(raw["agi_priority"]),
        raw=MappingProxyType(raw),
    )


# Commands. Each is the line without its end, which Wire.send adds: bare LF, CR LF would be refused.


def quote(value: str) -> str:
    r"""*value* as one word of a command: in quotation marks, with ``"`` and ``\`` escaped.

    Control characters are refused: AGI cannot escape a line break, the rest would be a second command.
    """
    if _control(value) is not None:
        raise LocalProtocolError("a command's argument has no control characters")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def command(verb: str, *words: str) -> bytes:
    """The command *verb*, such as ``STREAM FILE``, with each of *words* quoted."""
    if _verb(verb) is None:
        raise LocalProtocolError("a command's verb is capital letters and single spaces")
    return _checked(" ".join([verb, *map(quote, words)]))


def answer() -> bytes:
    """Answer the call."""
    return b"ANSWER"


def hangup() -> bytes:
    """Hang up the channel; the session goes on with the few commands a dead channel takes."""
    return b"HANGUP"


def noop() -> bytes:
    """Do nothing, and reply."""
    return b"NOOP"


def channel_status() -> bytes:
    """Ask for the channel's state; 6 is up."""
    return b"CHANNEL STATUS"


def stream_file(path: str, escape_digits: str = "") -> bytes:
    """Play *path* (no extension) from its first sample; a key of *escape_digits* ends it."""
    if not path:
        raise LocalProtocolError("STREAM FILE needs a file")
    if _escape_digits(escape_digits) is None:
        raise LocalProtocolError("escape digits are 0-9, * and #")
    return _checked(f'STREAM FILE {quote(path)} "{escape_digits}"')


def wait_for_digit(ms: int) -> bytes:
    """Wait for a key for *ms* milliseconds; without limit is refused, since every wait has a deadline."""
    if not 0 <= ms <= 3_600_000:
        raise LocalProtocolError("WAIT FOR DIGIT takes 0 ms to an hour")
    return b"WAIT FOR DIGIT %d" % ms


def get_variable(name: str) -> bytes:
    """Read the channel variable *name*."""
    return _checked(f"GET VARIABLE {_name(name)}")


def get_full_variable(expression: str) -> bytes:
    """Evaluate *expression*: text with ``${...}`` in it. Text without comes back as it is."""
    return _checked(f"GET FULL VARIABLE {quote(expression)}")


def set_variable(name: str, value: str) -> bytes:
    """Set the channel variable *name*; ``${...}`` in *value* is not evaluated."""
    return _checked(f"SET VARIABLE {_name(name)} {quote(value)}")


def exec_(application: str, arguments: str = "") -> bytes:
    """Run a dialplan application. *arguments* is the one string it takes, its parts separated by commas.

    The string goes in quotation marks, which Asterisk takes off, so spaces and commas arrive as they are. A
    comma, parenthesis or ``${`` inside a part is *not* escaped: put in only text of your own choice.
    """
    if _application_name(application) is None:
        raise LocalProtocolError("an application's name is letters, digits and underscores")
    return _checked(f"EXEC {application} {quote(arguments)}" if arguments else f"EXEC {application}")


def _name(name: str) -> str:
    if _variable_name(name) is None:
        raise LocalProtocolError("a variable's name is letters, digits and underscores, or NAME(argument)")
    return name


def _checked(text: str) -> bytes:
    line = _encode(text)
    if len(line) >= MAX_COMMAND_BYTES:
        raise LocalProtocolError(f"command of {len(line)} bytes, the limit is {MAX_COMMAND_BYTES - 1}")
    return line


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise LocalProtocolError("a command is text that UTF-8 can carry") from None
