"""The AGI wire: every recorded session, a table of what it must refuse, and what holds for any bytes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ivr_consent.pbx.asterisk import wire
from ivr_consent.pbx.asterisk.wire import (
    Closed,
    Environment,
    Event,
    Hangup,
    LocalProtocolError,
    RemoteProtocolError,
    Reply,
    State,
    Wire,
)
from ivr_consent.testing.transcripts import Entry, Kind, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TRANSCRIPTS = Path(__file__).parents[2] / "data" / "asterisk-transcripts"
NAMES = sorted(path.name for path in TRANSCRIPTS.glob("*.txt"))

ENVIRONMENT_LINES = (
    b"agi_network: yes",
    b"agi_network_script: consent?line=sales",
    b"agi_request: agi://127.0.0.1:4573/consent?line=sales",
    b"agi_channel: PJSIP/peer-0000005f",
    b"agi_language: de",
    b"agi_type: PJSIP",
    b"agi_uniqueid: 1795303220.1472",
    b"agi_version: 22.10.1",
    b"agi_callerid: 0123456",
    b"agi_calleridname: J\xc3\xb6rg \xff",
    b"agi_callingpres: 0",
    b"agi_callingani2: 0",
    b"agi_callington: 0",
    b"agi_callingtns: 0",
    b"agi_dnid: unknown",
    b"agi_rdnis: unknown",
    b"agi_context: consent",
    b"agi_extension: s",
    b"agi_priority: 3",
    b"agi_enhanced: 0.0",
    b"agi_accountcode: ",
    b"agi_threadid: 140448194393792",
)
NUMBER, NAME, PRIORITY, LAST = 8, 9, 18, 21
USAGE = (
    b"520-Invalid command syntax.  Proper usage follows:\n"
    b"Example return code: 200 result=1 (testvariable)\n"
    b"200 result=49\n"
    b"HANGUP\n"
    b"520-Invalid command syntax.  Proper usage follows:\n"
    b"\n"
    b"520 End of proper usage.\n"
)

Step: TypeAlias = "bytes | str | None"
"""Bytes that arrive, a command to send, or the end of input."""
Outcome: TypeAlias = "Event | str"


def block(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines) + b"\n"


ENVIRONMENT = block(*ENVIRONMENT_LINES)


def replaced(index: int, line: bytes) -> bytes:
    return block(*ENVIRONMENT_LINES[:index], line, *ENVIRONMENT_LINES[index + 1 :])


def drain(w: Wire) -> Iterator[Event]:
    while (event := w.next_event()) is not None:
        yield event


def run(steps: Sequence[Step], *, piece: int | None = None, cut: int | None = None) -> list[Outcome]:
    """What happens to a wire along *steps*, up to the first error, which is the last outcome.

    Arriving bytes are fed whole, in pieces of *piece* bytes, or in two parts at *cut*.
    """
    w = Wire()
    seen: list[Outcome] = []
    try:
        for step in steps:
            if isinstance(step, str):
                w.send(step)
                continue
            if step is None:
                w.receive_eof()
                seen += drain(w)
                continue
            if piece is not None:
                parts = [step[at : at + piece] for at in range(0, len(step), piece)]
            elif cut is not None:
                parts = [step[:cut], step[cut:]]
            else:
                parts = [step]
            for part in parts:
                if part:
                    w.receive_data(part)
                    for event in drain(w):
                        seen.append(event)  # one by one: extend would lose what came before an error
    except RemoteProtocolError as error:
        seen.append(error.reason)
    except LocalProtocolError:
        seen.append("local")
    return seen


def ready(environment: bytes = ENVIRONMENT) -> Wire:
    w = Wire()
    w.receive_data(environment)
    assert isinstance(w.next_event(), Environment)
    return w


def reply_to(data: bytes, *, multiline: bool = False) -> Reply:
    w = ready()
    w.send("GET VARIABLE X", multiline=multiline)
    w.receive_data(data)
    event = w.next_event()
    assert isinstance(event, Reply)
    assert w.state is State.READY
    assert w.next_event() is None
    return event


# --- recorded sessions ------------------------------------------------------------------------------------

# Sessions that were recorded to show what goes wrong: where the wire ends them, and how.
ENDS_EARLY = {
    "agi-callerid-2": "environment-control",  # CR in the caller's name
    "agi-callerid-3": "environment-line",  # LF in the caller's name
    "agi-cmd-during": "local",  # a second command while the first one runs
    "agi-lines": "local",  # CR LF at the end of a command
    "agi-pipelined": "local",
    "security-agi-env-injection-0": "environment-argument",
    "security-agi-env-injection-1": "environment-incomplete",
    "security-injection-crlf": "environment-control",
    "security-injection-nonce": "environment-incomplete",
}


def steps_of(entries: Sequence[Entry]) -> list[Step]:
    """What was said, with everything Asterisk said in one breath as one piece of data."""
    steps: list[Step] = []
    for entry in entries:
        if entry.kind is Kind.ASTERISK:
            if steps and isinstance(steps[-1], bytes):
                steps[-1] += entry.data
            else:
                steps.append(entry.data)
        elif entry.kind is Kind.SERVER:
            if not entry.data.endswith(b"\n"):
                break  # half a command: the recording server broke off there
            steps.append(entry.data[:-1].decode("utf-8", "surrogateescape"))
        elif entry.comment.startswith("EOF from Asterisk"):
            steps.append(None)
    return steps


def expected(steps: Sequence[Step]) -> list[object]:
    """The replies and hang-ups of a recorded session, found without the wire's help."""
    found: list[object] = []
    usage: list[str] | None = None
    for step in steps[1:]:
        if not isinstance(step, bytes):
            continue
        for line in step.decode("utf-8", "surrogateescape").split("\n")[:-1]:
            if usage is not None:
                usage.append(line)
                if line == "520 End of proper usage.":
                    found.append("\n".join(usage))
                    usage = None
            elif line.startswith("520-"):
                usage = [line]
            elif line == "HANGUP":
                found.append(Hangup())
            elif not line.startswith("100 "):
                found.append(line)
    return found


def sessions(name: str) -> list[list[Step]]:
    return [steps_of(session) for session in read(TRANSCRIPTS / name).sessions()]


def test_there_are_transcripts_of_both_versions() -> None:
    assert len(NAMES) > 90
    assert {name[-7:] for name in NAMES} == {"-16.txt", "-22.txt"}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_session(name: str) -> None:
    stem = name[:-7]
    for steps in sessions(name):
        seen = run(steps)
        assert run(steps, piece=1) == seen
        if stem in ENDS_EARLY:
            assert seen[-1] == ENDS_EARLY[stem]
            continue
        first, *rest = seen
        assert isinstance(first, Environment)
        assert isinstance(steps[0], bytes)
        assert "".join(f"{key}: {value}\n" for key, value in first.raw.items()) + "\n" == steps[0].decode()
        assert first.channel.startswith(("Local/", "PJSIP/"))
        ends = [event for event in rest if isinstance(event, Closed)]
        assert len(ends) == steps.count(None)
        assert [e.text if isinstance(e, Reply) else e for e in rest if not isinstance(e, Closed)] == expected(steps)


@pytest.mark.parametrize("stem", ENDS_EARLY)
def test_sessions_that_end_early_are_recorded(stem: str) -> None:
    assert {f"{stem}-16.txt", f"{stem}-22.txt"} <= set(NAMES)


@pytest.mark.parametrize(
    "name",
    [
        "agi-hup-default-22.txt",
        "agi-hup-exit-16.txt",
        "agi-stream-missing-22.txt",
        "agi-early-getdata-22.txt",
        "agi-callerid-2-22.txt",
        "security-agi-env-injection-0-22.txt",
        "security-agi-env-injection-1-16.txt",
        "security-injection-filter-22.txt",
        "security-injection-crlf-22.txt",
    ],
)
def test_recorded_session_cut_anywhere(name: str) -> None:
    for steps in sessions(name):
        whole = run(steps)
        for cut in range(1, max(len(step) for step in steps if isinstance(step, bytes))):
            assert run(steps, cut=cut) == whole


def test_usage_text_in_a_session_cut_anywhere() -> None:
    steps: list[Step] = [ENVIRONMENT, "GET VARIABLE", b"100 Trying\n" + USAGE, "NOOP", b"200 result=0\n"]
    whole = run(steps)
    assert len(whole) == 3
    assert all(run(steps, cut=cut) == whole for cut in range(1, len(ENVIRONMENT)))


# --- the environment --------------------------------------------------------------------------------------


def test_environment() -> None:
    w = Wire()
    w.receive_data(block(*ENVIRONMENT_LINES, b"agi_arg_1: one", b"agi_arg_2: ", b"agi_arg_3: a: b"))
    event = w.next_event()
    assert isinstance(event, Environment)
    assert event.channel == "PJSIP/peer-0000005f"
    assert event.uniqueid == "1795303220.1472"
    assert event.language == "de"
    assert event.caller_number == "0123456"
    assert event.caller_name == "Jörg \udcff"
    assert event.network_script == "consent?line=sales"
    assert event.arguments == ("one", "", "a: b")
    assert (event.context, event.extension, event.priority) == ("consent", "s", 3)
    assert event.version == "22.10.1"
    assert event.raw["agi_enhanced"] == "0.0"
    assert "0123456" not in repr(event.raw["agi_type"])
    assert hash(event) == hash(event)
    with pytest.raises(TypeError):
        event.raw["agi_channel"] = "x"  # type: ignore[index] # it is read-only, which is what is tested
    assert w.next_event() is None
    assert w.state is State.READY


def test_unknown_caller() -> None:
    lines = list(ENVIRONMENT_LINES)
    lines[NUMBER], lines[NAME] = b"agi_callerid: unknown", b"agi_calleridname: unknown"
    (event,) = run([block(*lines)])
    assert isinstance(event, Environment)
    assert event.caller_number is None
    assert event.caller_name is None


@pytest.mark.parametrize("first", [0, 2])
def test_environment_of_a_classic_script_or_of_a_url_without_path(first: int) -> None:
    lines = ENVIRONMENT_LINES[2:] if first else ENVIRONMENT_LINES[:1] + ENVIRONMENT_LINES[2:]
    (event,) = run([block(*lines, b"agi_arg_1: x")])
    assert isinstance(event, Environment)
    assert event.network_script == ""
    assert event.arguments == ("x",)


def without(index: int) -> bytes:
    return block(*ENVIRONMENT_LINES[:index], *ENVIRONMENT_LINES[index + 1 :])


BAD_ENVIRONMENTS = {
    "blank first line": (b"\n", "environment-incomplete"),
    "blank first line, then the rest": (b"\n" + ENVIRONMENT, "environment-incomplete"),
    "a reply first": (b"200 result=0\n", "environment-line"),
    "hang-up first": (b"HANGUP\n", "environment-line"),
    "hang-up inside": (block(*ENVIRONMENT_LINES[:9], b"HANGUP", *ENVIRONMENT_LINES[9:]), "environment-line"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "environment-control"),
    "CR LF": (b"agi_network: yes\r\n", "environment-control"),
    "NUL": (replaced(NAME, b"agi_calleridname: a\0b"), "environment-control"),
    "tab": (replaced(NAME, b"agi_calleridname: a\tb"), "environment-control"),
    "DEL": (replaced(NAME, b"agi_calleridname: a\x7fb"), "environment-control"),
    "no space after the colon": (replaced(NAME, b"agi_calleridname:x"), "environment-line"),
    "no colon": (replaced(NAME, b"agi_calleridname"), "environment-line"),
    "space before the key": (replaced(NAME, b" agi_calleridname: x"), "environment-line"),
    "capitals": (replaced(NAME, b"AGI_CALLERIDNAME: x"), "environment-line"),
    "not FastAGI": (replaced(0, b"agi_network: no"), "environment-value"),
    "priority": (replaced(PRIORITY, b"agi_priority: x"), "environment-value"),
    "negative priority": (replaced(PRIORITY, b"agi_priority: -1"), "environment-value"),
    "superscript priority": (replaced(PRIORITY, "agi_priority: ²".encode()), "environment-value"),
    "Arabic priority": (replaced(PRIORITY, "agi_priority: ٣".encode()), "environment-value"),
    "unknown key": (replaced(NAME, b"agi_other: x"), "environment-key"),
    "unknown key at the end": (block(*ENVIRONMENT_LINES, b"agi_other: x"), "environment-key"),
    "duplicate": (block(*ENVIRONMENT_LINES[:9], b"agi_callerid: 1"), "environment-duplicate"),
    "duplicate of the channel": (block(*ENVIRONMENT_LINES[:9], b"agi_channel: X/1"), "environment-duplicate"),
    "duplicate at the end": (block(*ENVIRONMENT_LINES, b"agi_channel: X/1"), "environment-duplicate"),
    "out of order": (block(*ENVIRONMENT_LINES[:9], b"agi_context: x"), "environment-order"),
    "script without network": (block(*ENVIRONMENT_LINES[1:]), "environment-order"),
    "argument too early": (block(*ENVIRONMENT_LINES[:9], b"agi_arg_1: x"), "environment-argument"),
    "argument 0": (block(*ENVIRONMENT_LINES, b"agi_arg_0: x"), "environment-key"),
    "argument 01": (block(*ENVIRONMENT_LINES, b"agi_arg_01: x"), "environment-key"),
    "arguments begin at 2": (block(*ENVIRONMENT_LINES, b"agi_arg_2: x"), "environment-argument"),
    "gap": (block(*ENVIRONMENT_LINES, b"agi_arg_1: x", b"agi_arg_3: x"), "environment-argument"),
    "argument twice": (block(*ENVIRONMENT_LINES, b"agi_arg_1: x", b"agi_arg_1: y"), "environment-duplicate"),
    "too many arguments": (
        block(*ENVIRONMENT_LINES, *[b"agi_arg_%d: x" % n for n in range(1, wire.MAX_ARGUMENTS + 2)]),
        "environment-argument",
    ),
    "long line": (replaced(NAME, b"agi_calleridname: " + b"x" * 100_000), "line-too-long"),
    "long line without end": (b"agi_network: " + b"x" * 100_000, "line-too-long"),
    "too many bytes": (
        block(*ENVIRONMENT_LINES, *[b"agi_arg_%d: " % n + b"x" * 4000 for n in range(1, 9)]),
        "environment-too-big",
    ),
    **{
        f"without {line.partition(b':')[0].decode()}": (without(index), None)
        for index, line in enumerate(ENVIRONMENT_LINES[:-1])
        if index > 1
    },
    "without the last": (without(LAST), "environment-incomplete"),
}


@pytest.mark.parametrize(("data", "reason"), BAD_ENVIRONMENTS.values(), ids=BAD_ENVIRONMENTS)
def test_bad_environment(data: bytes, reason: str | None) -> None:
    outcome = run([data])
    assert len(outcome) == 1
    assert outcome[0] == (reason or "environment-order")
    assert run([data], piece=1) == outcome
    assert run([data], piece=7) == outcome


def test_most_arguments() -> None:
    (event,) = run([block(*ENVIRONMENT_LINES, *[b"agi_arg_%d: x" % n for n in range(1, wire.MAX_ARGUMENTS + 1)])])
    assert isinstance(event, Environment)
    assert len(event.arguments) == wire.MAX_ARGUMENTS


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"agi_netw", "half-line"),
        (b"agi_network: yes\n", "environment-eof"),
        (ENVIRONMENT[:-1], "environment-eof"),
        (ENVIRONMENT[:-2], "half-line"),
    ],
)
def test_end_of_input_in_the_environment(data: bytes, reason: str) -> None:
    assert run([data, None]) == [reason]


def test_connection_without_a_byte() -> None:
    w = Wire()
    w.receive_data(b"")
    assert w.next_event() == Closed(unanswered=False)
    assert w.next_event() is None
    assert w.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        w.send("NOOP")
    with pytest.raises(LocalProtocolError):
        w.receive_data(b"x")


# --- replies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "result", "data", "endpos", "number"),
    [
        ("200 result=0", "0", None, None, 0),
        ("200 result=-1", "-1", None, None, -1),
        ("200 result=49", "49", None, None, 49),
        ("200 result=-1 endpos=12160", "-1", None, 12160, -1),
        ("200 result=53 endpos=-1", "53", None, -1, 53),
        ("200 result= (timeout)", "", "timeout", None, None),
        ("200 result=", "", None, None, None),
        ("200 result=12 (timeout)", "12", "timeout", None, 12),
        ("200 result=12*", "12*", None, None, None),
        ("200 result=-1 (hangup)", "-1", "hangup", None, -1),
        ("200 result=0 Gosub complete", "0", None, None, 0),
        ("200 result=1 ()", "1", "", None, 1),
        ("200 result=1 ((x) y))", "1", "(x) y)", None, 1),
        ("200 result=1 (hangup)", "1", "hangup", None, 1),
        ("200 result=1 (x) endpos=24000)", "1", "x) endpos=24000", None, 1),
        ("200 result=1 (${CHANNEL})", "1", "${CHANNEL}", None, 1),
        ("200 result=1 (\tüml\udcff)", "1", "\tüml\udcff", None, 1),
        ("200 result=" + "9" * 80, "9" * 80, None, None, int("9" * 80)),
        ("200 result=1 (" + "y" * 1024 + ")", "1", "y" * 1024, None, 1),
    ],
)
def test_result(line: str, result: str, data: str | None, endpos: int | None, number: int | None) -> None:
    reply = reply_to(line.encode("utf-8", "surrogateescape") + b"\n")
    assert reply == Reply(200, result, data, endpos, line)
    assert reply.ok
    assert reply.result_int == number


@pytest.mark.parametrize(
    "line",
    [
        "510 Invalid or unknown command",
        "511 Command Not Permitted on a dead channel or intercept routine",
        "520 Invalid command syntax.  Proper usage not available.",
    ],
)
def test_refused_command(line: str) -> None:
    reply = reply_to(line.encode() + b"\n")
    assert reply == Reply(int(line[:3]), "", None, None, line)
    assert not reply.ok
    assert reply.result_int is None


def test_usage_block_is_one_reply_whatever_its_lines_look_like() -> None:
    assert reply_to(USAGE) == Reply(520, "", None, None, USAGE[:-1].decode())


def test_trying_lines_are_skipped() -> None:
    assert reply_to(b"100 result=0 Trying...\n" * wire.MAX_TRYING_LINES + b"200 result=0\n").result == "0"


def test_value_of_several_lines() -> None:
    data = b"200 result=1 (first (line)!\nHANGUP\n\n200 result=49\nend)\n"
    reply = reply_to(data, multiline=True)
    assert reply.data == "first (line)!\nHANGUP\n\n200 result=49\nend"
    assert reply.result == "1"
    assert reply.text == data[:-1].decode()


def test_value_of_several_lines_with_a_parenthesis_at_the_end_of_one() -> None:
    """As ``${SHELL(id)}`` was recorded: it cannot be told from a value's end, and is too little."""
    value = b"200 result=1 (uid=0(root) gid=0(root) groups=0(root)\n)\n"
    reply, fault = run([ENVIRONMENT, "GET FULL VARIABLE ${SHELL(id)}", value])[1:]
    assert isinstance(reply, Reply)
    assert reply.data == "uid=0(root) gid=0(root) groups=0(root"
    assert fault == "unsolicited"


def test_value_of_one_line_where_several_are_allowed() -> None:
    assert reply_to(b"200 result=1 (a)\n", multiline=True).data == "a"
    assert reply_to(b"200 result=0\n", multiline=True).data is None


def test_several_lines_were_allowed_for_one_reply_only() -> None:
    w = ready()
    w.send("GET VARIABLE A", multiline=True)
    w.receive_data(b"200 result=1 (a\nb)\n")
    assert isinstance(w.next_event(), Reply)
    w.send("GET VARIABLE A")
    w.receive_data(b"200 result=1 (a\nb)\n")
    with pytest.raises(RemoteProtocolError) as caught:
        w.next_event()
    assert caught.value.reason == "multiline-value"
    assert caught.value.excerpt == "200 result=1 ("


def test_a_value_that_closes_its_own_parenthesis_cannot_answer_the_next_command() -> None:
    w = ready()
    w.send("GET VARIABLE EVIL", multiline=True)
    w.receive_data(b"200 result=1 (a)\n200 result=49\n)\n")
    reply = w.next_event()
    assert isinstance(reply, Reply)
    with pytest.raises(RemoteProtocolError) as caught:
        w.send("WAIT FOR DIGIT 5000")
    assert caught.value.reason == "unsolicited"
    assert w.state is State.DEAD


BAD_REPLIES = {
    "empty line": (b"\n", "reply"),
    "no result": (b"200\n", "reply"),
    "no result, with a space": (b"200 \n", "reply"),
    "no equals sign": (b"200 result\n", "reply"),
    "two spaces": (b"200  result=0\n", "reply"),
    "space at the end": (b"200 result=0 \n", "reply"),
    "space at the beginning": (b" 200 result=0\n", "reply"),
    "capitals": (b"200 Result=0\n", "reply"),
    "CR LF": (b"200 result=0\r\n", "reply"),
    "NUL": (b"200 result=0\0\n", "reply"),
    "NUL in the value": (b"200 result=1 (a\0b)\n", "reply"),
    "CR in the value": (b"200 result=1 (a\rb)\n", "reply"),
    "plus sign": (b"200 result=+1\n", "reply"),
    "minus alone": (b"200 result=-\n", "reply"),
    "two minus signs": (b"200 result=--1\n", "reply"),
    "huge": (b"200 result=" + b"9" * 81 + b"\n", "reply"),
    "huge negative": (b"200 result=-" + b"9" * 19 + b"\n", "reply"),
    "huge endpos": (b"200 result=0 endpos=" + b"9" * 19 + b"\n", "reply"),
    "endpos without a number": (b"200 result=0 endpos=\n", "reply"),
    "fraction": (b"200 result=0 endpos=1.5\n", "reply"),
    "exponent": (b"200 result=0 endpos=1e3\n", "reply"),
    "underscore": (b"200 result=0 endpos=24_000\n", "reply"),
    "hexadecimal": (b"200 result=0x31\n", "reply"),
    "superscript": ("200 result=²\n".encode(), "reply"),
    "Arabic digit": ("200 result=٤٩\n".encode(), "reply"),
    "full-width digit": ("200 result=0 endpos=１\n".encode(), "reply"),
    "superscript code": ("2²0 result=0\n".encode(), "reply"),
    "endpos after a value": (b"200 result=0 (timeout) endpos=1\n", "reply"),
    "other text": (b"200 result=0 and more\n", "reply"),
    "other code": (b"404 result=0\n", "reply"),
    "510 alone": (b"510\n", "reply"),
    "an environment line": (b"agi_calleridname: x\n", "reply"),
    "520 of another kind": (b"520 result=0\n", "reply"),
    "end of usage that did not begin": (b"520 End of proper usage.\n", "reply"),
    "usage of another kind": (b"520-x\n", "reply"),
    "control character in the usage": (USAGE.replace(b"\n\n", b"\n\0\n"), "reply"),
    "hang-up with more": (b"HANGUP now\n", "reply"),
    "hang-up in small letters": (b"hangup\n", "reply"),
    "hang-up thrice": (b"HANGUP\n" * 3, "hangups"),
    "value with a line break": (b"200 result=1 (a\nb)\n", "multiline-value"),
    "value without end": (b"200 result=1 (a\n", "multiline-value"),
    "long line": (b"200 result=1 (" + b"x" * 100_000 + b")\n", "line-too-long"),
    "long line without end": (b"2" * 100_000, "line-too-long"),
    "trying for ever": (b"100 Trying\n" * 10_000, "trying"),
    "usage for ever": (USAGE[:51] + b"200 result=0\n" * 10_000, "reply-too-big"),
    "usage of long lines": (USAGE[:51] + (b"x" * 4000 + b"\n") * 100, "reply-too-big"),
}


@pytest.mark.parametrize(("data", "reason"), BAD_REPLIES.values(), ids=BAD_REPLIES)
def test_bad_reply(data: bytes, reason: str) -> None:
    steps: list[Step] = [ENVIRONMENT, "NOOP", data]
    environment, *rest = run(steps)
    assert isinstance(environment, Environment)
    assert rest[-1] == reason
    assert not any(isinstance(event, Reply) for event in rest)
    if len(data) < 10_000:
        assert run(steps, piece=1) == [environment, *rest]
    assert run(steps, piece=1000) == [environment, *rest]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"200 result=1 (a\nb\0\n", "reply"),
        (b"200 result=1 (a\n" + b"b\n" * 10_000, "reply-too-big"),
        (b"200 result=1 (a\n" + (b"b" * 4000 + b"\n") * 10, "reply-too-big"),
    ],
)
def test_bad_value_of_several_lines(data: bytes, reason: str) -> None:
    w = ready()
    w.send("GET FULL VARIABLE X", multiline=True)
    w.receive_data(data)
    with pytest.raises(RemoteProtocolError) as caught:
        w.next_event()
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"200 result=0", "half-line"), (USAGE[:-1], "half-line"), (USAGE[:60], "half-line"), (USAGE[:51], "reply-eof")],
)
def test_end_of_input_in_a_reply(data: bytes, reason: str) -> None:
    assert run([ENVIRONMENT, "NOOP", data, None])[1:] == [reason]


def test_end_of_input_between_lines() -> None:
    assert run([ENVIRONMENT, None])[1:] == [Closed(unanswered=False)]
    assert run([ENVIRONMENT, "NOOP", None])[1:] == [Closed(unanswered=True)]
    assert run([ENVIRONMENT, "NOOP", b"HANGUP\nHANGUP\n", None])[1:] == [Hangup(), Hangup(), Closed(unanswered=True)]


def test_sending_after_an_end_of_input_that_was_not_read_yet() -> None:
    w = ready()
    w.receive_eof()
    w.send("NOOP")
    assert w.next_event() == Closed(unanswered=True)


# --- in step ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"200 result=0\n", b"2", b"\n", b"100 Trying\n", b"x" * 100_000, b"HANG\n", b"HANGUPx"]
)
def test_unsolicited(data: bytes) -> None:
    """With no command out, whether read or still waiting when the next command is to go out."""
    assert run([ENVIRONMENT, data])[1:] == ["unsolicited"]
    assert run([ENVIRONMENT, data], piece=1)[1:] == ["unsolicited"]
    assert run([ENVIRONMENT + data])[1:] == ["unsolicited"]
    assert run([ENVIRONMENT, "NOOP", b"200 result=0\n" + data])[2:] == ["unsolicited"]
    w = ready(ENVIRONMENT + data)
    with pytest.raises(RemoteProtocolError) as caught:
        w.send("NOOP")
    assert caught.value.reason == "unsolicited"


def test_hangup_beside_a_reply() -> None:
    events = run([ENVIRONMENT, "CHANNEL STATUS", b"HANGUP\n511 Command Not Permitted\n"])
    assert events[1] == Hangup()
    assert isinstance(events[2], Reply)
    assert events[2].code == 511


def test_hangup_while_nothing_is_out() -> None:
    w = ready(ENVIRONMENT + b"HANGUP\n")
    before = w.hung_up
    assert w.next_event() == Hangup()
    assert (before, w.hung_up) == (False, True)
    assert w.send("NOOP") == b"NOOP\n"


@pytest.mark.parametrize("length", range(15))
def test_hangup_that_arrives_while_a_command_goes_out(length: int) -> None:
    hangups = b"HANGUP\nHANGUP\n"
    w = ready(ENVIRONMENT + hangups[:length])
    w.send("NOOP")
    w.receive_data(hangups[length:] + b"200 result=0\n")
    assert list(drain(w)) == [Hangup(), Hangup(), Reply(200, "0", None, None, "200 result=0")]


def test_third_hangup() -> None:
    assert run([ENVIRONMENT + b"HANGUP\n" * 3])[1:] == [Hangup(), Hangup(), "hangups"]
    w = ready(ENVIRONMENT + b"HANGUP\n" * 3)
    with pytest.raises(RemoteProtocolError):
        w.send("NOOP")


def test_dead_for_ever() -> None:
    w = ready()
    w.receive_data(b"boo\n" + b"x" * 60)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            w.next_event()
        assert caught.value.reason == "unsolicited"
    with pytest.raises(RemoteProtocolError) as caught:
        w.send("NOOP")
    assert str(caught.value) == "unsolicited: 'boo'"
    assert w.state is State.DEAD
    w.receive_data(b"HANGUP\n")
    w.receive_eof()
    w.receive_data(b"x")
    with pytest.raises(RemoteProtocolError):
        w.next_event()


def test_error_shows_little_and_nothing_that_a_terminal_would_obey() -> None:
    w = ready()
    w.send("NOOP")
    w.receive_data(b"\x1b[2J'\"\r\xff" + b"z" * 200 + b"\n")
    with pytest.raises(RemoteProtocolError) as caught:
        w.next_event()
    assert len(caught.value.excerpt) == 60
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes


def test_error_about_a_callers_name_does_not_show_it() -> None:
    w = Wire()
    w.receive_data(replaced(NAME, b"agi_calleridname: Ann\tBlake"))
    with pytest.raises(RemoteProtocolError) as caught:
        w.next_event()
    assert str(caught.value) == "environment-control: 'agi_calleridname'"


def test_bytes_beyond_the_limit_are_not_kept() -> None:
    w = Wire()
    for _ in range(100):
        w.receive_data(b"x" * 10_000)
    assert len(w._buffer) == wire.MAX_BUFFERED_BYTES
    with pytest.raises(RemoteProtocolError):
        w.next_event()
    assert not w._buffer


def test_a_line_that_drips_in_is_searched_once() -> None:
    w = ready()
    w.send("NOOP")
    for count in range(1, 1000):
        w.receive_data(b"2")
        assert w.next_event() is None
        assert w._scanned == count


# --- commands ---------------------------------------------------------------------------------------------


def test_one_command_at_a_time() -> None:
    w = Wire()
    with pytest.raises(LocalProtocolError):
        w.send("NOOP")  # before the environment
    w.receive_data(ENVIRONMENT)
    with pytest.raises(LocalProtocolError):
        w.send("NOOP")
    w.next_event()
    assert w.send("NOOP") == b"NOOP\n"
    with pytest.raises(LocalProtocolError):
        w.send("NOOP")
    w.receive_data(b"200 result=0\n")
    assert isinstance(w.next_event(), Reply)  # it did no harm
    assert w.send(b"NOOP") == b"NOOP\n"


@pytest.mark.parametrize(
    "command",
    [
        "",
        " NOOP",
        "NOOP\n",
        "NOOP\r",
        "NOOP\0",
        'SET VARIABLE N "x"\nEXEC MixMonitor x',
        "\u2028NOOP",
        "failure",
        "FAILURE x",
        "Failures",
        "NOOP \ud800",
        "N" * 1000,
        b"NOOP\n",
        b"\xff",
        b"failure",
    ],
)
def test_commands_that_are_not_sent(command: str | bytes) -> None:
    w = ready()
    with pytest.raises(LocalProtocolError):
        w.send(command)
    assert w.state is State.READY
    assert w.send("N" * 999) == b"N" * 999 + b"\n"


def test_only_variables_have_several_lines() -> None:
    with pytest.raises(LocalProtocolError):
        ready().send("WAIT FOR DIGIT 1", multiline=True)


@pytest.mark.parametrize(
    ("built", "line"),
    [
        (wire.answer(), b"ANSWER"),
        (wire.hangup(), b"HANGUP"),
        (wire.noop(), b"NOOP"),
        (wire.channel_status(), b"CHANNEL STATUS"),
        (wire.stream_file("consent/de/notice"), b'STREAM FILE "consent/de/notice" ""'),
        (wire.stream_file("a b", "12*#"), b'STREAM FILE "a b" "12*#"'),
        (wire.wait_for_digit(5000), b"WAIT FOR DIGIT 5000"),
        (wire.get_variable("CHANNEL(state)"), b"GET VARIABLE CHANNEL(state)"),
        (wire.get_full_variable("${A} b"), b'GET FULL VARIABLE "${A} b"'),
        (wire.set_variable("X", 'a "q" \\'), b'SET VARIABLE X "a \\"q\\" \\\\"'),
        (wire.set_variable("CDR(userfield)", "ü\udcff"), b'SET VARIABLE CDR(userfield) "\xc3\xbc\xff"'),
        (wire.exec_("StopMixMonitor"), b"EXEC StopMixMonitor"),
        (wire.exec_("MixMonitor", "/p/x y.wav,abi(MMID)"), b'EXEC MixMonitor "/p/x y.wav,abi(MMID)"'),
        (wire.command("STREAM FILE", "path", "12"), b'STREAM FILE "path" "12"'),
        (wire.command("NOOP"), b"NOOP"),
    ],
)
def test_builders(built: bytes, line: bytes) -> None:
    assert built == line
    assert ready().send(built) == line + b"\n"


@pytest.mark.parametrize(
    "build",
    [
        lambda: wire.stream_file(""),
        lambda: wire.stream_file("a", "x"),
        lambda: wire.stream_file("a", "1 2"),
        lambda: wire.stream_file("a\nb"),
        lambda: wire.stream_file("a" * 1000),
        lambda: wire.wait_for_digit(-1),
        lambda: wire.wait_for_digit(10**9),
        lambda: wire.get_variable(""),
        lambda: wire.get_variable("A B"),
        lambda: wire.get_variable("A" * 1000),
        lambda: wire.get_variable("SHELL(id;id)"),
        lambda: wire.get_full_variable("a\r"),
        lambda: wire.set_variable("A", "\0"),
        lambda: wire.set_variable("A", "\x85"),
        lambda: wire.set_variable("A", "\ud800"),
        lambda: wire.set_variable('A" "b', "x"),
        lambda: wire.exec_("Mix Monitor", "x"),
        lambda: wire.exec_("", "x"),
        lambda: wire.exec_("Set", "a\nb"),
        lambda: wire.command("stream file"),
        lambda: wire.command("A\nB"),
        lambda: wire.command("A", "\x7f"),
    ],
)
def test_builders_refuse(build: Callable[[], bytes]) -> None:
    with pytest.raises(LocalProtocolError):
        build()


def words(line: str) -> list[str]:
    """A line taken apart as Asterisk does it (parse_args of res_agi.c)."""
    found: list[str] = []
    quoted = escaped = False
    whitespace = True
    for character in line:
        if character == '"' and not escaped:
            quoted = not quoted
            if quoted and whitespace:
                found.append("")
                whitespace = False
        elif character in " \t" and not quoted and not escaped:
            whitespace = True
        elif character == "\\" and not escaped:
            escaped = True
            continue
        else:
            if whitespace:
                found.append("")
                whitespace = False
            found[-1] += character
        escaped = False
    return found


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40), max_size=4))
@settings(deadline=None)
def test_asterisk_reads_the_words_that_were_quoted(arguments: list[str]) -> None:
    assert words(wire.command("VERB", *arguments).decode()) == ["VERB", *arguments]


@given(st.text())
@settings(deadline=None)
@example("a\u0085b")
def test_quoted_text_never_ends_a_line(text: str) -> None:
    try:
        quoted = wire.quote(text)
    except LocalProtocolError:
        return
    assert len(quoted.splitlines()) == 1 or "\u2028" in quoted or "\u2029" in quoted
    assert not any(ord(character) < 32 for character in quoted)


# --- any bytes --------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        *(line + b"\n" for line in ENVIRONMENT_LINES),
        *(USAGE[: USAGE.index(b"\n") + 1], b"520 End of proper usage.\n", USAGE, ENVIRONMENT),
        b"agi_arg_1: x\n",
        b"\n",
        b"HANGUP\n",
        b"200 result=0\n",
        b"200 result=1 (a)\n",
        b"200 result=1 (a\n",
        b"b)\n",
        b"200 result=0 endpos=24000\n",
        b"510 Invalid or unknown command\n",
        b"100 Trying\n",
        b"x" * 5000,
    ]
)
JUNK = st.lists(LINES | st.binary(max_size=30), max_size=8).map(b"".join)
STEPS = st.lists(JUNK | st.sampled_from(["NOOP", "GET VARIABLE A"]) | st.none(), max_size=12)


def check_any(steps: Sequence[Step], piece: int | None) -> list[Outcome]:
    """Feed *steps* with no regard for what comes back; return the outcomes up to the first peer's fault."""
    w = Wire()
    out = False
    eof = False
    seen: list[Outcome] = []
    for step in steps:
        if isinstance(step, str):
            try:
                assert w.send(step) == step.encode() + b"\n"
            except LocalProtocolError:
                continue
            except RemoteProtocolError as error:
                return [*seen, error.reason]
            assert not out
            out = True
            continue
        if eof:
            continue
        if step is None:
            w.receive_eof()
            eof = True
            parts = [b""]
        else:
            parts = [step[at : at + piece] for at in range(0, len(step), piece)] if piece else [step]
        for part in parts:
            if part:
                w.receive_data(part)
            try:
                for count, event in enumerate(drain(w)):
                    assert count <= len(w._buffer) + 100_000
                    if isinstance(event, Reply):
                        assert out
                        out = False
                    seen.append(event)
            except RemoteProtocolError as error:
                assert w.state is State.DEAD
                return [*seen, error.reason]
            assert out == (w.state is State.AWAITING) or eof
    return seen


@given(STEPS, st.integers(1, 40))
@settings(deadline=None, max_examples=300)
def test_any_bytes_in_any_pieces(steps: list[Step], piece: int) -> None:
    assert check_any(steps, piece) == check_any(steps, None)


@given(STEPS, st.integers(1, 40))
@settings(deadline=None, max_examples=300)
def test_any_bytes_after_a_good_beginning(steps: list[Step], piece: int) -> None:
    steps = [ENVIRONMENT, "NOOP", *steps]
    assert check_any(steps, piece) == check_any(steps, None)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_random_bytes_are_the_peers_fault(data: bytes) -> None:
    w = Wire()
    if data:
        w.receive_data(data)
    w.receive_eof()
    fault: RemoteProtocolError | None = None
    events: list[Event] = []
    try:
        events += drain(w)
    except RemoteProtocolError as error:  # any other exception fails the test
        fault = error
    if fault is None:
        assert events == [Closed(unanswered=False)]
    else:
        assert str(fault).isascii()
        assert len(fault.excerpt) <= 60


def test_c1_controls_in_a_name_are_let_in() -> None:
    """R7: a caller's name with U+0085 or U+009B must not keep the call out of the log; nothing of ours prints it."""
    wire = Wire()
    wire.receive_data(replaced(NAME, b"agi_calleridname: a\xc2\x85b\xc2\x9b31m"))
    event = wire.next_event()
    assert isinstance(event, Environment)
    assert event.caller_name == "a\x85b\x9b31m"
