"""Steps as AGI commands: what each reply is worth, answered here by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ivr_consent.core.decision import Grant, Outcome
from ivr_consent.core.steps import (
    Ask,
    Destination,
    Failed,
    Gone,
    NotConfirmed,
    Play,
    Played,
    Pressed,
    Record,
    Recording,
    Result,
    Route,
    Routed,
    Timing,
)
from ivr_consent.pbx.asterisk import channel as ch
from ivr_consent.pbx.asterisk import variables
from ivr_consent.pbx.asterisk.wire import Environment, Reply, Wire
from ivr_consent.pbx.requests import Lost, Seen
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.fake_asterisk_wire import environment
from ivr_consent.testing.plans import silent_prompt
from tests.granted import granted_decision
from tests.store.test_lifecycle import ID

Answer = Callable[[str], Reply | None]


def made(tmp_path: Path, *, presses_known: bool = False) -> ch.Channel:
    wire = Wire()
    wire.receive_data(environment())
    event = wire.next_event()
    assert isinstance(event, Environment)
    return ch.Channel(event, tmp_path, nonce=lambda: "00112233445566ff", presses_known=lambda: presses_known)


@pytest.fixture
def grant(tmp_path: Path) -> Grant:
    ledger = Ledger(tmp_path / "log.db")
    try:
        written = ledger.decide_now(granted_decision(ID))
    finally:
        ledger.close()
    assert not isinstance(written, Failed)
    grant = getattr(written, "grant", None)
    assert isinstance(grant, Grant)
    return grant


def ok(result: str = "0", data: str | None = None, endpos: int | None = None) -> Reply:
    return Reply(200, result, data, endpos, "")


def usual(command: str) -> Reply:
    """What Asterisk answers when all goes well."""
    if command.startswith("GET FULL VARIABLE"):
        inside = command.split('"')[1]
        return ok("1", f"/recordings/{ID}.raw" if "MIXMONITOR" in inside else inside)
    if command.startswith("GET VARIABLE"):
        return ok("1", "0x7f00")
    return ok({"CHANNEL STATUS": "6"}.get(command, "1" if command.startswith("SET") else "0"))


def drive(
    performing: ch.Performing,
    answer: Answer,
    *,
    seen: bool = True,
    seconds: float = 0.0,
    hung_up: str = "-",
    began_s: float | None = None,
) -> tuple[Result, list[str]]:
    """Answer every request of a step; the commands that were sent. ``began_s``: when a press began, in the window."""
    commands: list[str] = []
    response: ch.Response | None = None
    now = 100.0
    while True:
        try:
            request = next(performing) if response is None else performing.send(response)
        except StopIteration as end:
            return end.value, commands
        if isinstance(request, ch.Send):
            command = request.command.decode().strip()
            commands.append(command)
            reply = answer(command)
            response = (
                Lost("connection_lost", False)
                if reply is None
                else ch.Heard(reply, now, now + seconds, hung_up in command)
            )
            now += seconds
        elif isinstance(request, ch.PressBegan):
            response = ch.Began(None if began_s is None else request.not_before + began_s)
        else:
            response = Seen(seen)


def recording_channel(tmp_path: Path) -> ch.Channel:
    channel = made(tmp_path)
    channel.recordings = Path("/recordings")
    return channel


def test_a_grant_starts_one_recorder_after_an_exact_echo(tmp_path: Path, grant: Grant) -> None:
    """I1: echo, channel up, one recorder command with a name of our own, then the read-back."""
    result, commands = drive(recording_channel(tmp_path).perform(Record(grant)), usual)
    assert result == Recording("0x7f00", f"{ID}.raw")
    starts = [n for n, command in enumerate(commands) if "MixMonitor" in command and "Stop" not in command]
    assert len(starts) == 1
    assert f"/recordings/{ID}.raw,Dbi(IVR_CONSENT_MIXMONITOR)" in commands[starts[0]]
    assert "00112233445566ff" in commands[: starts[0]][-3]


@pytest.mark.parametrize(
    "wrong", [ok("1", "00112233445566fe"), ok("0"), ok("1", ""), Reply(510, "", None, None, ""), None]
)
def test_a_wrong_echo_starts_no_recorder(tmp_path: Path, grant: Grant, wrong: Reply | None) -> None:
    """R3: the last command before recording; replies out of step or forged end the session."""
    channel = recording_channel(tmp_path)

    def answer(command: str) -> Reply | None:
        return wrong if "00112233445566ff" in command else usual(command)

    result, commands = drive(channel.perform(Record(grant)), answer)
    assert isinstance(result, NotConfirmed | Failed | Gone)
    assert not any("EXEC" in command for command in commands)
    again, more = drive(channel.perform(Play(silent_prompt("x"), frozenset())), usual)
    assert isinstance(again, Failed | Gone)
    assert more == [], "nothing is said on this connection any more"


@pytest.mark.parametrize("status", [ok("4"), ok("-1"), Reply(511, "", None, None, "")])
def test_a_channel_that_is_not_up_is_not_recorded(tmp_path: Path, grant: Grant, status: Reply) -> None:
    """I1: Asterisk starts a recorder on a dead channel as well, and says 200."""

    def answer(command: str) -> Reply:
        return status if command == "CHANNEL STATUS" else usual(command)

    result, commands = drive(recording_channel(tmp_path).perform(Record(grant)), answer)
    assert isinstance(result, Gone)
    assert not any("EXEC" in command for command in commands)


@pytest.mark.parametrize(
    ("part", "reply", "seen", "reason"),
    [
        ("GET VARIABLE", ok("0"), True, "recorder_has_no_handle"),
        ("GET VARIABLE", ok("1", "${SHELL(id)}"), True, "recorder_has_no_handle"),
        ("MIXMONITOR(0x7f00", ok("1", ""), True, "recorder_not_on_channel"),
        ("MIXMONITOR(0x7f00", ok("1", "/recordings/other.raw"), True, "recorder_not_on_channel"),
        ("-", ok(), False, "recording_file_missing"),
    ],
)
def test_200_of_the_recorder_proves_nothing(
    tmp_path: Path, grant: Grant, part: str, reply: Reply, seen: bool, reason: str
) -> None:
    """R9: unconfirmed by channel or file: stopped, and the result says why."""

    def answer(command: str) -> Reply:
        return reply if part in command else usual(command)

    result, commands = drive(recording_channel(tmp_path).perform(Record(grant)), answer, seen=seen)
    assert isinstance(result, NotConfirmed)
    assert result.reason == reason
    assert any("StopMixMonitor" in command for command in commands)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.0, Played), (0.95, Played), (0.5, Failed), (0.002, Failed)],
)
def test_no_prompt_is_played_faster_than_it_lasts(tmp_path: Path, seconds: float, expected: type[Result]) -> None:
    """R2, R3: a second of sound acknowledged after two milliseconds is a forgery, and ends the session."""
    prompt = silent_prompt("notice", ms=1000)
    samples = min(prompt.lengths)
    channel = made(tmp_path)
    channel._leased = False  # one command only
    result, _ = drive(channel.perform(Play(prompt, frozenset())), lambda _: ok("0", None, samples), seconds=seconds)
    assert isinstance(result, expected)
    if expected is Failed:
        assert drive(channel.perform(Record(None)), usual)[1] == []  # type: ignore[arg-type]  # not reached


@pytest.mark.parametrize(
    ("began_s", "expected"),
    [
        (None, Pressed("1", 0, -1, Timing.UNPROVEN)),
        (-0.25, Pressed("1", 0, -250, Timing.MANAGER)),
        (0.5, Pressed("1", 0, 500, Timing.MANAGER)),
    ],
)
def test_when_a_press_began_is_the_managers_word(tmp_path: Path, began_s: float | None, expected: Pressed) -> None:
    """I2: a key of which the manager said nothing is not taken for one that was pressed in the window."""
    channel = made(tmp_path, presses_known=True)
    channel._leased = False  # one command only
    result, commands = drive(channel.perform(Ask(8000, 800)), lambda _: ok("49"), seconds=1.0, began_s=began_s)
    assert result == expected
    assert commands == ["WAIT FOR DIGIT 8000"], "no guard time where the manager tells of presses"


@pytest.mark.parametrize("name", ["a" * 31, "A" * 32, "../" + "a" * 29, "a" * 31 + ",", "a" * 31 + "\n"])
def test_recordings_have_names_of_our_own_only(tmp_path: Path, name: str) -> None:
    """I6: the recorder's argument is a path, options and a shell command, parted by commas."""
    with pytest.raises(ValueError, match="our own"):
        recording_channel(tmp_path).recording_arguments(name)


@pytest.mark.parametrize(
    ("destination", "outcome", "told"),
    [
        (Destination.RECORDED, "granted", "granted"),
        (Destination.UNRECORDED, "granted", "failed"),
        (Destination.UNRECORDED, "declined", "declined"),
    ],
)
def test_granted_is_only_said_on_the_way_to_the_recorded_line(
    tmp_path: Path, destination: Destination, outcome: str, told: str
) -> None:
    """I4: the dialplan records on this word alone, whatever a flow may ask for."""
    result, commands = drive(made(tmp_path).perform(Route(destination, outcome, "why")), usual)
    assert result == Routed()
    assert commands == [
        f'SET VARIABLE {variables.REASON} "why"',
        f'SET VARIABLE {variables.RESULT} "{told}"',
    ]


def test_outcomes_are_the_dialplans_words() -> None:
    """The dialplan branches on "granted" alone."""
    assert Outcome.GRANTED.value == "granted"
