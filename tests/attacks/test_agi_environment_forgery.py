"""A caller writes the answers of his own switch, and with them a consent.

How it goes: PJSIP un-escapes ``%0a`` in the user part of the SIP From address, and Asterisk writes the caller
number into the AGI environment as it is. A call from the user

    55%0a%0a200%20result=0%0a200%20result=0%20endpos=24000%0a200%20result=49%0a

therefore ends the environment after ``agi_callerid`` and puts three replies behind it. A server that sends
ANSWER, STREAM FILE and WAIT FOR DIGIT reads: answered, notice played to its end, key 1 pressed. Two
milliseconds, not a sound was heard, and a recording starts on a consent that nobody gave. Seen on Asterisk 16
and 22; other shapes replace the channel's name, pass arguments, or forge manager events with ``%0d%0a``.

What holds: the environment has to be exactly the lines that Asterisk writes, in its order, once each; nothing
that came before a command can be its answer; and against the caller who forges every line that has to
follow, a random echo before anything is believed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.pbx.asterisk import wire
from ivr_consent.pbx.asterisk.wire import Environment, RemoteProtocolError, Reply, State, Wire
from ivr_consent.testing.transcripts import Kind, read

TRANSCRIPTS = Path(__file__).parents[1] / "data" / "asterisk-transcripts"
FORGED_REPLIES = b"200 result=0\n200 result=0 endpos=24000\n200 result=49\n"
ECHO = "9f86d081884c7d65"

VERSIONS = pytest.mark.parametrize("version", ["16", "22"])
PIECES = pytest.mark.parametrize("piece", [1, 7, 1 << 20])


def sent_by_asterisk(name: str) -> bytes:
    """What reached the server, in one piece: the replies were there before the commands."""
    (session,) = read(TRANSCRIPTS / name).sessions()
    return b"".join(entry.data for entry in session if entry.kind is Kind.ASTERISK)


def environment_of(name: str) -> bytes:
    return sent_by_asterisk(name).partition(b"\n\n")[0] + b"\n\n"


def feed(data: bytes, piece: int) -> tuple[list[object], RemoteProtocolError]:
    """All events before the error that must come, and the error."""
    w = Wire()
    events: list[object] = []

    def read_all() -> None:
        for at in range(0, len(data), piece):
            w.receive_data(data[at : at + piece])
            while (event := w.next_event()) is not None:
                events.append(event)

    with pytest.raises(RemoteProtocolError) as caught:
        read_all()
    assert w.state is State.DEAD
    with pytest.raises(RemoteProtocolError):
        w.send(wire.answer())
    return events, caught.value


@VERSIONS
@PIECES
@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        # the environment ended early, three replies behind it
        ("security-agi-env-injection-1", "environment-incomplete"),
        ("security-injection-nonce", "environment-incomplete"),
        # an argument of the dialplan's, and another channel's name
        ("security-agi-env-injection-0", "environment-argument"),
        # a manager event
        ("security-injection-crlf", "environment-control"),
    ],
)
def test_recorded_attack_ends_before_the_first_command(attack: str, reason: str, version: str, piece: int) -> None:
    events, error = feed(sent_by_asterisk(f"{attack}-{version}.txt"), piece)
    assert events == []
    assert error.reason == reason


@VERSIONS
def test_recorded_attack_would_have_read_as_consent(version: str) -> None:
    """The transcript is of the real thing: three replies, without one line of the true environment's end."""
    name = f"security-agi-env-injection-1-{version}.txt"
    assert b"agi_callerid: 55\n\n" + FORGED_REPLIES in sent_by_asterisk(name)
    assert b"agi_threadid" not in environment_of(name)


@VERSIONS
def test_filtered_caller_number_leaves_a_good_environment(version: str) -> None:
    """The dialplan's FILTER takes the line breaks out: the same call is then a call like any other."""
    w = Wire()
    w.receive_data(environment_of(f"security-injection-filter-{version}.txt"))
    event = w.next_event()
    assert isinstance(event, Environment)
    assert event.caller_number == "55200020002400020049"


def complete_forgery(version: str) -> tuple[bytes, bytes]:
    """The best a caller can do: every line that must follow, then replies; and the true rest behind it."""
    true = environment_of(f"security-injection-filter-{version}.txt")
    head, mark, tail = true.partition(b"agi_calleridname: ")
    number = head.rindex(b"agi_callerid: ") + len(b"agi_callerid: ")
    forged_end = (mark + tail).replace(b"cidsafe", b"another").removesuffix(b"\n") + b"agi_arg_1: evil\n\n"
    return head[:number] + b"55\n" + forged_end, FORGED_REPLIES + b"\n" + mark + tail


@VERSIONS
def test_complete_forgery_in_one_piece_cannot_be_answered(version: str) -> None:
    forged, rest = complete_forgery(version)
    events, error = feed(forged + rest, 1 << 20)
    assert [type(event) for event in events] == [Environment]
    assert error.reason == "unsolicited"


@VERSIONS
@pytest.mark.parametrize("early", [0, 1, 13, 40])
def test_complete_forgery_that_is_not_read_further_cannot_be_answered_either(version: str, early: int) -> None:
    """A server that takes one event and sends at once still finds the bytes that came too early."""
    forged, rest = complete_forgery(version)
    w = Wire()
    w.receive_data(forged + rest[:early])
    assert isinstance(w.next_event(), Environment)
    if early:
        with pytest.raises(RemoteProtocolError) as caught:
            w.send(wire.get_full_variable(ECHO))
        assert caught.value.reason == "unsolicited"
        return
    # The network kept the replies back until the echo was asked for: they are answers, but to nothing.
    w.send(wire.get_full_variable(ECHO))
    w.receive_data(rest)
    reply = w.next_event()
    assert isinstance(reply, Reply)
    assert reply.data != ECHO
    with pytest.raises(RemoteProtocolError):
        w.next_event()


@VERSIONS
def test_no_forgery_reaches_what_stands_before_the_caller_number(version: str) -> None:
    """Whatever a caller writes, the channel and the unique id are Asterisk's own."""
    forged, _ = complete_forgery(version)
    w = Wire()
    w.receive_data(forged)
    event = w.next_event()
    assert isinstance(event, Environment)
    (session,) = read(TRANSCRIPTS / f"security-injection-filter-{version}.txt").sessions()
    lines = [entry.data for entry in session if entry.kind is Kind.ASTERISK]
    assert f"agi_channel: {event.channel}\n".encode() in lines
    assert f"agi_uniqueid: {event.uniqueid}\n".encode() in lines
    assert event.context == "from-sip"
    assert event.extension == "another"  # such as this is the caller's word until the echo has come back


@pytest.mark.parametrize("key", [b"agi_channel", b"agi_uniqueid", b"agi_language", b"agi_network_script"])
def test_replacing_a_line_from_below_is_refused(key: bytes) -> None:
    true = environment_of("security-injection-filter-22.txt")
    forged = true.replace(b"\nagi_calleridname: ", b"\n" + key + b": other\nagi_calleridname: ")
    events, error = feed(forged, 1 << 20)
    assert events == []
    assert error.reason == "environment-duplicate"
