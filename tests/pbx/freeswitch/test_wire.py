"""The event socket's bytes: recorded ones as they came and in pieces, and what no FreeSWITCH ever sends."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ivr_consent.pbx.freeswitch import wire
from ivr_consent.pbx.freeswitch.wire import (
    ApiResponse,
    AuthRequest,
    Disconnect,
    Event,
    LocalProtocolError,
    Message,
    Reason,
    Rejected,
    RemoteProtocolError,
    Reply,
    Wire,
)
from ivr_consent.testing import freeswitch_transcripts as transcripts

FOLDER = Path(__file__).parents[2] / "data" / "freeswitch-transcripts"
FILES = sorted(FOLDER.glob("*.txt"))
FLOW = FOLDER / "90-consent-yes.txt"


def streams(path: Path) -> Iterator[bytes]:
    """What the switch sent on each connection of a transcript."""
    blocks = [one for one in transcripts.read(path).entries if isinstance(one, transcripts.Block) and one.by_switch]
    for tag in dict.fromkeys(block.tag for block in blocks):
        yield b"".join(block.data for block in blocks if block.tag == tag)


def all_of(data: bytes, *, step: int | None = None) -> list[Message]:
    """Every message in it; fed whole, or so many bytes at a time."""
    received = Wire()
    found: list[Message] = []
    for begin in range(0, len(data), step or len(data) or 1):
        received.receive_data(data[begin : begin + (step or len(data))])
        while (message := received.next_message()) is not None:
            found.append(message)
    return found


def block(*lines: str, body: bytes = b"") -> bytes:
    return "\n".join(lines).encode("latin-1") + b"\n\n" + body


def test_there_are_transcripts() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recorded_connection_is_read_to_its_end(path: Path) -> None:
    """In one piece and in pieces of 1000 bytes, with the same result."""
    for data in streams(path):
        if path.stem.startswith("81-") and b"Reply-Text: v=0\r" in data:
            with pytest.raises(RemoteProtocolError, match="line_break"):  # getvar puts a variable's line breaks in raw
                all_of(data)
            continue
        found = all_of(data)
        assert found
        assert all_of(data, step=1000) == found


def test_what_the_messages_of_a_consented_call_say() -> None:
    (data,) = streams(FLOW)
    found = all_of(data)
    first = found[0]
    assert isinstance(first, Reply)
    assert first.ok
    assert (first.headers["Socket-Mode"], first.headers["Control"]) == ("async", "full")
    assert first.headers["Caller-Caller-ID-Number"] == "+31600000001"
    (dtmf,) = [one for one in found if isinstance(one, Event) and one.name == "DTMF"]
    assert (dtmf.get("DTMF-Digit"), dtmf.get("DTMF-Duration"), dtmf.get("DTMF-Source")) == ("1", "2080", "RTP")
    played = [one for one in found if isinstance(one, Event) and one.get("Application") == "playback"]
    assert [one.get("Application-Response") for one in played] == ["FILE PLAYED"]
    assert played[0].variable("playback_last_offset_pos") == "24000"
    assert played[0].variable("there_is_no_such") == ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_cut_at_every_byte_nothing_is_made_up(path: Path) -> None:
    """The messages before the cut, and no other."""
    for data in streams(path):
        if path.stem.startswith("81-") and b"Reply-Text: v=0\r" in data:
            continue
        whole = all_of(data)
        assert all_of(data, step=1) == whole
        half = data[: len(data) // 2]
        found = all_of(half)
        assert found == whole[: len(found)]


MALFORMED: dict[str, tuple[Callable[[bytes, bytes], bytes], Reason]] = {
    "no colon": (lambda name, value: name + value, Reason.NO_COLON),
    "too long": (lambda name, value: name + b": " + b"x" * wire.MAX_LINE, Reason.LINE_TOO_LONG),
    "CR": (lambda name, value: name + b": a\rb", Reason.LINE_BREAK),
    "NUL": (lambda name, value: name + b": a\0b", Reason.NUL),
    "an encoded NUL": (lambda name, value: name + b": a%00b", Reason.NUL),
    "an empty name": (lambda name, value: b": " + value, Reason.BAD_NAME),
    "a space in the name": (lambda name, value: b"a " + name + b": " + value, Reason.BAD_NAME),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_each_header_of_the_first_reply_malformed_in_turn(how: str) -> None:
    """All hundred and seventy of them; and an encoded line break makes no header of its own in any."""
    change, reason = MALFORMED[how]
    (data,) = streams(FLOW)
    lines = data.partition(b"\n\n")[0].split(b"\n")
    assert len(lines) > 150
    for number, line in enumerate(lines):
        name, _, value = line.partition(b": ")
        changed = [*lines[:number], change(name, value), *lines[number + 1 :]]
        with pytest.raises(RemoteProtocolError) as caught:
            all_of(b"\n".join(changed) + b"\n\n")
        assert caught.value.reason is reason, line
        broken = [*lines[:number], name + b": a%0Avariable_forged%3A%20yes", *lines[number + 1 :]]
        try:
            found = all_of(b"\n".join(broken) + b"\n\n")
        except RemoteProtocolError:
            continue
        assert all("variable_forged" not in one.headers for one in found if isinstance(one, Reply))


def test_an_empty_line_more_between_messages_is_none() -> None:
    assert all_of(b"\n\n\n" + block("Content-Type: auth/request")) == [AuthRequest()]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"Content-Type: command/reply\nno colon here\n\n", Reason.NO_COLON),
        (b": command/reply\n\n", Reason.BAD_NAME),
        (b"Content Type: command/reply\n\n", Reason.BAD_NAME),
        (b"Content-Type\x00: command/reply\n\n", Reason.BAD_NAME),
        (b"Content-Type: command/reply\r\n\n", Reason.LINE_BREAK),
        (b"Content-Type: command/reply\nReply-Text: +OK\rEvil: yes\n\n", Reason.LINE_BREAK),
        (b"Content-Type: command/reply\nUnique-ID: a%0Aapi%20system\n\n", Reason.LINE_BREAK),
        (b"Content-Type: command/reply\nCaller-Caller-ID-Name: a%0D%0A%0D%0Aapi\n\n", Reason.LINE_BREAK),
        (b"Content-Type: command/reply\nReply-Text: a%00b\n\n", Reason.NUL),
        (b"Content-Type: command/reply\nvariable_sip_h_X-Evil: a%00b\n\n", Reason.NUL),
        (b"Content-Type: command/reply\nvariable_raw: a\x00b\n\n", Reason.NUL),
        (b"Content-Type: api/response\nContent-Length: -1\n\n", Reason.BAD_LENGTH),
        (b"Content-Type: api/response\nContent-Length: +1\n\n", Reason.BAD_LENGTH),
        (b"Content-Type: api/response\nContent-Length: 0x10\n\n", Reason.BAD_LENGTH),
        (b"Content-Type: api/response\nContent-Length: \n\n", Reason.BAD_LENGTH),
        (b"Content-Type: api/response\nContent-Length: 1 1\n\n", Reason.BAD_LENGTH),
        (b"Content-Type: api/response\nContent-Length: 99999999999999999999\n\n", Reason.BAD_LENGTH),
        (b"Content-Type: api/response\nContent-Length: 99999999\n\n", Reason.BODY_TOO_LONG),
        (b"Content-Type: api/response\nContent-Length: 1\nContent-Length: 2\n\n", Reason.TWICE),
        (b"Content-Type: command/reply\nReply-Text: +OK\nReply-Text: -ERR\n\n", Reason.TWICE),
        (b"Reply-Text: +OK\n\n", Reason.NO_TYPE),
        (b"Content-Type: text/html\n\n", Reason.BAD_EVENT),
        (b"Content-Type: text/event-json\nContent-Length: 3\n\n{x}", Reason.BAD_EVENT),
        (b"Content-Type: text/event-json\nContent-Length: 2\n\n[]", Reason.BAD_EVENT),
        (b"Content-Type: text/event-json\nContent-Length: 2\n\n{}", Reason.BAD_EVENT),
        (b'Content-Type: text/event-json\nContent-Length: 18\n\n{"Event-Name": {}}', Reason.BAD_EVENT),
        (b'Content-Type: text/event-json\nContent-Length: 23\n\n{"Event-Name": "A B\\n"}', Reason.BAD_EVENT),
        (b"Content-Type: text/event-plain\nContent-Length: 5\n\nhello", Reason.NO_COLON),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else None,
)
def test_what_no_freeswitch_sends_kills_the_connection(data: bytes, reason: Reason) -> None:
    """And it stays dead, whatever comes after."""
    received = Wire()
    received.receive_data(data)
    with pytest.raises(RemoteProtocolError) as caught:
        received.next_message()
    assert caught.value.reason is reason
    with pytest.raises(RemoteProtocolError):
        received.receive_data(block("Content-Type: auth/request"))


def test_json_nested_without_end_is_refused() -> None:
    body = b'{"Event-Name": ' + b"[" * 100_000
    with pytest.raises(RemoteProtocolError, match="bad_event"):
        all_of(block("Content-Type: text/event-json", f"Content-Length: {len(body)}", body=body))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"A" * (wire.MAX_LINE + 2), Reason.LINE_TOO_LONG),
        (b"A: " + b"x" * wire.MAX_LINE + b"\n\n", Reason.LINE_TOO_LONG),
        (b"".join(b"A%d: x\n" % n for n in range(60_000)), Reason.HEADERS_TOO_LONG),
    ],
    ids=["a line without an end", "a long line", "headers without an end"],
)
def test_buffers_are_bounded(data: bytes, reason: Reason) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        all_of(data, step=4096)
    assert caught.value.reason is reason


def test_a_callers_line_break_makes_no_header() -> None:
    """A SIP header with %0A comes as it was sent: parted into lines first, it stays one value."""
    forged = "variable_sip_h_X-Evil: a%0Avariable_ivr_consent_result%3A%20granted"
    (reply,) = all_of(block("Content-Type: command/reply", "Reply-Text: +OK", forged))
    assert isinstance(reply, Reply)
    assert "variable_ivr_consent_result" not in reply.headers
    assert reply.headers["variable_sip_h_X-Evil"] == "a\nvariable_ivr_consent_result: granted"
    body = f"Event-Name: CHANNEL_ANSWER\n{forged}\n\n".encode()
    (event,) = all_of(block("Content-Type: text/event-plain", f"Content-Length: {len(body)}", body=body))
    assert isinstance(event, Event)
    assert event.variable("ivr_consent_result") == ""


def test_a_name_in_latin_1_is_no_error() -> None:
    body = b'{"Event-Name":"DTMF","Caller-Caller-ID-Name":"Andr\xe9","variable_DP_MATCH":["a","b"]}'
    (event,) = all_of(block("Content-Type: text/event-json", f"Content-Length: {len(body)}", body=body))
    assert isinstance(event, Event)
    assert event.get("Caller-Caller-ID-Name") == "Andr\ufffd"
    assert event.variable("DP_MATCH") == "a"


def test_notices_and_answers() -> None:
    found = all_of(
        block("Content-Type: text/rude-rejection", "Content-Length: 3", body=b"no\n")
        + block("Content-Type: text/disconnect-notice", "Content-Disposition: linger", "Content-Length: 0")
        + block("Content-Type: text/disconnect-notice", "Content-Length: 0")
        + block("Content-Type: api/response", "Content-Length: 4", body=b"true")
    )
    assert found == [Rejected(), Disconnect(True), Disconnect(False), ApiResponse("true")]


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_whatever_comes_ends_in_messages_or_in_its_own_error(parts: list[bytes]) -> None:
    received = Wire(max_body=1000)
    try:
        for part in parts:
            received.receive_data(part + b"\n")
            while received.next_message() is not None:
                pass
    except RemoteProtocolError:
        pass


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Content-Type", "Content-Length", "Reply-Text", "X-Name", "variable_a", "Unique-ID"]),
            st.text(st.characters(codec="latin-1", exclude_characters="\n"), max_size=20),
        ),
        max_size=6,
    )
)
def test_headers_of_all_kinds_end_in_messages_or_in_its_own_error(headers: list[tuple[str, str]]) -> None:
    received = Wire(max_body=1000)
    try:
        received.receive_data(block("Content-Type: command/reply", *(f"{name}: {value}" for name, value in headers)))
        while (message := received.next_message()) is not None:
            assert isinstance(message, Reply)
    except RemoteProtocolError:
        pass


# --- commands ---------------------------------------------------------------------------------------------------------

HOSTILE = ["a\nb", "a\r\nb", "a\n\napi system touch /nowhere", "a\0b"]


@pytest.mark.parametrize("value", [*HOSTILE, "${system(touch /nowhere)}", "a$b"])
def test_no_command_of_ours_can_hold_another_one(value: str) -> None:
    with pytest.raises(LocalProtocolError):
        wire.api(value)
    with pytest.raises(LocalProtocolError):
        wire.execute("set", value)
    with pytest.raises(LocalProtocolError):
        wire.beat("a::b", "x", value)


@pytest.mark.parametrize("value", [*HOSTILE, "", "a b", "-x", "x" * 200, "${uuid}", "ä"])
def test_a_channels_id_is_plain(value: str) -> None:
    with pytest.raises(LocalProtocolError):
        wire.only(value)
    with pytest.raises(LocalProtocolError):
        wire.channel(value)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_password_holds_no_command(value: str) -> None:
    with pytest.raises(LocalProtocolError):
        wire.auth(value)
    assert wire.auth("p$w") == b"auth p$w\n\n"


@pytest.mark.parametrize("name", ["", "a b", "DTMF\n\napi x", "x" * 70, "a:b"])
def test_only_names_of_events_and_applications_are_sent(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        wire.events(name)
    with pytest.raises(LocalProtocolError):
        wire.execute(name)


def test_a_command_is_not_too_long() -> None:
    with pytest.raises(LocalProtocolError):
        wire.api("x" * wire.MAX_COMMAND)


def test_the_commands_as_they_are_sent() -> None:
    uuid = "672b2648-702b-4a5d-9c19-97d5e750ac00"
    sent = (
        (wire.connect(), b"connect\n\n"),
        (wire.linger(2), b"linger 2\n\n"),
        (wire.only(uuid), f"filter Unique-ID {uuid}\n\n".encode()),
        (
            wire.events("DTMF", "CUSTOM", "conference::maintenance"),
            b"event json DTMF CUSTOM conference::maintenance\n\n",
        ),
        (wire.api(f"uuid_buglist {uuid}"), f"api uuid_buglist {uuid}\n\n".encode()),
        (
            wire.execute("playback", "/a/b.wav", "id-1"),
            b"sendmsg\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: /a/b.wav\n"
            b"Event-UUID: id-1\nevent-lock: true\n\n",
        ),
    )
    for data, expected in sent:
        assert data == expected
    ours = {data.split(b"\n")[0].split(b" ")[0] for data, _ in sent}
    recorded = {
        block.data.split(b"\n")[0].split(b" ")[0]
        for path in FILES
        for block in transcripts.read(path).entries
        if isinstance(block, transcripts.Block) and not block.by_switch
    }
    assert ours <= recorded, "every command was seen to be understood"


def test_what_is_sent_is_what_a_reader_parts_again() -> None:
    """One command ends where the next begins, whatever plain value is in them."""
    values = ["a", "a b", "a:b", "%0A", "ä", "#", ";", "'\"", "\t"]
    data = b"".join(wire.execute("set", f"x={value}") for value in values)
    assert data.count(b"\n\n") == len(values)
    assert all(b"\n\n" not in one.strip(b"\n") for one in itertools.islice(data.split(b"\n\n"), len(values)))


# --- the quick ways are the same as the careful ones -----------------------------------------------------------------

NAMES = st.sampled_from(["Unique-ID", "Caller-Username", "variable_a", "X", "variable_b", "Content-Type", " X", ""])
VALUES = st.one_of(
    st.text("ab%0dDAa \t:é", max_size=12),
    st.sampled_from(["%0A", "%0d", "%00", "\r", "\0", "a" * 40_000, "a" * 70_000, "%c3%a9", "%", "%zz", "%80"]),
)
LINES = st.lists(st.tuples(NAMES, st.sampled_from([": ", ":", ":  ", "", " :"]), VALUES), min_size=1, max_size=6)


@given(LINES)
@example([("X", ": ", "a"), ("X", ": ", "a")])
@example([("Caller-Username", ": ", "%0Aapi: status")])
@example([("variable_a", ": ", "v=0%0D%0A")])
def test_a_block_that_is_read_at_once_is_read_as_line_by_line(lines: list[tuple[str, str, str]]) -> None:
    block = "\n".join("".join(line) for line in lines).encode()
    quick = wire._usual_headers(block)
    if quick is None:
        return
    with mock.patch.object(wire, "_usual_headers", return_value=None):
        careful, length = wire._headers(block, wire.MAX_BODY)
    assert dict(quick) == dict(careful)
    assert length == 0


def test_the_reply_to_connect_is_read_at_once() -> None:
    blocks = [one for one in transcripts.read(FLOW).entries if isinstance(one, transcripts.Block) and one.by_switch]
    first = next(block.data for block in blocks if b"CHANNEL_DATA" in block.data)
    assert len(wire._usual_headers(first.strip(b"\n")) or {}) > 150


@given(
    st.one_of(
        st.binary(max_size=40),
        st.dictionaries(
            st.text(max_size=3), st.one_of(st.text(max_size=5), st.integers(), st.lists(st.text(max_size=2)))
        ).map(lambda fields: json.dumps(fields).encode()),
    )
)
@example(b'{"a": "\\ud800"}')
@example(b'{"a": "\xff"}')
@example(b'{"a": NaN}')
@example(b'{"a": 1e999}')
@example(b"[" * 3000)
@example(b'{"a": "1", "a": "2"}')
def test_events_are_read_as_pythons_own_reader_reads_them(body: bytes) -> None:
    def told() -> object:
        try:
            return dict(wire._json_fields(body))
        except RemoteProtocolError as error:
            return error.args

    quick = told()
    with mock.patch("orjson.loads", side_effect=ValueError):
        assert told() == quick
