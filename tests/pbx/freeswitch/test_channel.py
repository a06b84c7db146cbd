"""Steps as applications: what is sent, and what each answer is worth; answered by hand, event by event."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from ivr_consent.core.decision import Grant
from ivr_consent.core.steps import (
    Answer,
    Answered,
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
    StopRecording,
    TimedOut,
    Timing,
)
from ivr_consent.pbx.conduct import ChannelStep
from ivr_consent.pbx.freeswitch import channel as ch
from ivr_consent.pbx.freeswitch.wire import ApiResponse, Event, Reply
from ivr_consent.pbx.requests import Discard, FileAppears, Lost, Released, Seen
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.plans import silent_prompt
from tests.granted import granted_decision

UUID = "672b2648-702b-4a5d-9c19-97d5e750ac00"
ID = "0123456789abcdef" * 2
PATH = f"/r/{ID}.raw"
OK = Reply("+OK", MappingProxyType({}))
UP = {"Answer-State": "answered"}
SDP = "v=0\r\na=rtpmap:101 telephone-event/{}\r\na=fmtp:101 0-15\r\n"

Script = Callable[[str, str], list[tuple[float, dict[str, str]]]]
"""What happens on an application: events with the seconds since it began, its own end without an Event-Name."""


def ends(seconds: float = 0.02, **more: str) -> tuple[float, dict[str, str]]:
    return seconds, {**UP, **{name.replace("_", "-"): value for name, value in more.items()}}


def stops(seconds: float, path: str, **more: str) -> tuple[float, dict[str, str]]:
    given = {"Event-Name": "PLAYBACK_STOP", "Playback-File-Path": path, "Playback-Status": "done"}
    return seconds, {**UP, **given, **more}


def dtmf(seconds: float, key: str, samples: int, source: str = "RTP") -> tuple[float, dict[str, str]]:
    fields = {"DTMF-Digit": key, "DTMF-Duration": str(samples), "DTMF-Source": source}
    return seconds, {"Event-Name": "DTMF", **fields}


class Switch:
    """Plays FreeSWITCH to a channel, by a script, in time of its own."""

    def __init__(self, script: Script, *, vouched: bool = True, files: bool = True, buglist: str | None = None) -> None:
        self.script, self.vouched, self.files, self.buglist = script, vouched, files, buglist
        self.now = 100.0
        self.waiting: list[tuple[float, Event]] = []
        self.ran: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.discarded: list[str] = []
        numbers = itertools.count(1)
        self.channel = ch.Channel(UUID, Path("/r"), line="support", nonce=lambda: f"{next(numbers):016x}")

    def play(self, step: ChannelStep) -> Result:
        running = self.channel.perform(step)
        response: ch.Response | None = None
        try:
            while True:
                request = next(running) if response is None else running.send(response)
                response = self.answer(request)
        except StopIteration as end:
            result: Result = end.value
            return result

    def answer(self, request: ch.Request) -> ch.Response:
        match request:
            case ch.Send():
                return self.hears(request)
            case ch.NextEvent():
                due = [one for one in self.waiting if one[0] <= request.until]
                if not due:
                    self.now = max(self.now, request.until)
                    return ch.Nothing()
                self.waiting.remove(due[0])
                self.now = max(self.now, due[0][0])
                return ch.Happened(due[0][1], self.now)
            case ch.Vouch():
                return Seen(self.vouched)
            case FileAppears() | Released():
                return Seen(self.files)
            case Discard():
                self.discarded.append(request.recording_id)
                return Seen(True)

    def hears(self, request: ch.Send) -> ch.Response:
        sent, self.now = self.now, self.now + 0.001
        replies: list[Reply | ApiResponse] = []
        for command in request.commands.decode().split("\n\n")[:-1]:
            if command.startswith("api "):
                self.asked.append(command)
                listed = f"<target>{PATH}</target>" if self.buglist is None else self.buglist
                replies.append(ApiResponse(listed if "buglist" in command else "+OK"))
                continue
            replies.append(OK)
            lines = dict(line.partition(": ")[::2] for line in command.split("\n"))
            name, argument = lines["execute-app-name"], lines.get("execute-app-arg", "")
            self.ran.append((name, argument))
            for seconds, fields in self.script(name, argument):
                mark = {"Event-Name": "CHANNEL_EXECUTE_COMPLETE", "Application-UUID": lines["Event-UUID"]}
                headers: Mapping[str, str] = {"Unique-ID": UUID, **({} if "Event-Name" in fields else mark), **fields}
                self.waiting.append((sent + seconds, Event(headers["Event-Name"], headers)))
        self.waiting.sort(key=lambda one: one[0])
        return ch.Heard(tuple(replies), sent, self.now)


PROMPT = silent_prompt("notice-1")
FILE = f"{PROMPT.path}.wav"
WHOLE = {"variable_playback_last_offset_pos": "8000"}
FILE_PLAYED = {"Application-Response": "FILE PLAYED"}


def prompt(*, stop: dict[str, str] | None = None, end: dict[str, str] | None = None, seconds: float = 1.01) -> Script:
    """A playback: its stop (``None``: there is none) and its end, with what is different from a whole one."""

    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        if name != "playback":
            return [ends()]
        whole = [] if stop is None else [stops(seconds, argument, **{**WHOLE, **stop})]
        return [*whole, (seconds, {**UP, **FILE_PLAYED, **(end or {})})]

    return script


def test_a_whole_prompt() -> None:
    switch = Switch(prompt(stop={}))
    assert switch.play(Play(PROMPT, frozenset("12"))) == Played(8000, 1010)
    assert switch.ran == [("multiset", "^^;playback_terminators=12"), ("playback", FILE)]
    assert switch.play(Play(PROMPT, frozenset("12"))) == Played(8000, 1010)
    assert switch.ran[2:] == [("playback", FILE)], "the keys are told once"
    assert switch.play(Play(PROMPT, frozenset())) == Played(8000, 1010)
    assert switch.ran[3] == ("multiset", "^^;playback_terminators=none")


@pytest.mark.parametrize(("key", "expected"), [("2", Pressed("2", 8000)), ("5", Played(8000, 1010))])
def test_a_key_released_between_two_prompts_is_heard(key: str, expected: Result) -> None:
    """The switch takes it from its queue while it plays nothing, and so it ends no prompt."""
    played = prompt(stop={})

    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        gap = [dtmf(1.02, key, 1600)] if argument.endswith("notice-1.wav") else []
        return [*played(name, argument), *gap]

    switch = Switch(script)
    assert switch.play(Play(PROMPT, frozenset("2"))) == Played(8000, 1010)
    assert switch.play(Play(silent_prompt("notice-2"), frozenset("2"))) == expected
    assert switch.play(Play(silent_prompt("notice-3"), frozenset("2"))) == Played(8000, 1010), "it is told once"


@pytest.mark.parametrize(
    ("stop", "end", "seconds", "reason"),
    [
        (None, {}, 1.01, "prompt_missing"),
        (None, {"Application-Response": "FILE NOT FOUND", **WHOLE}, 0.02, "prompt_missing"),
        ({}, {"Application-Response": "PLAYBACK ERROR"}, 1.01, "prompt_missing"),
        ({"Playback-Status": "break"}, {}, 1.01, "prompt_cut_short"),
        ({"Playback-File-Path": "/another.wav"}, {}, 1.01, "prompt_cut_short"),
        ({"variable_playback_last_offset_pos": "7999"}, {}, 1.01, "prompt_cut_short"),
        ({"variable_playback_last_offset_pos": ""}, {}, 1.01, "prompt_cut_short"),
        ({"variable_playback_last_offset_pos": "-1"}, {}, 1.01, "prompt_cut_short"),
        ({}, {"variable_playback_terminator_used": "*"}, 1.01, "prompt_cut_short"),
        ({}, {"Answer-State": "hangup"}, 1.01, "prompt_cut_short"),
        ({}, {}, 0.8, "prompt_faster_than_it_lasts"),
    ],
)
def test_each_of_six_conditions_counts(
    stop: dict[str, str] | None, end: dict[str, str], seconds: float, reason: str
) -> None:
    """``FILE PLAYED`` alone is said of each of these."""
    assert Switch(prompt(stop=stop, end=end, seconds=seconds)).play(Play(PROMPT, frozenset("2"))) == Failed(reason)


def test_a_key_ends_a_prompt() -> None:
    stop = {"Playback-Status": "break", "variable_playback_last_offset_pos": "3200"}
    switch = Switch(prompt(stop=stop, end={"variable_playback_terminator_used": "2"}, seconds=0.4))
    assert switch.play(Play(PROMPT, frozenset("2"))) == Pressed("2", 3200)


def test_a_hang_up_tells_how_much_was_heard() -> None:
    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        if name != "playback":
            return [ends()]
        return [
            (0.5, {"Event-Name": "CHANNEL_HANGUP"}),
            stops(0.501, argument, variable_playback_last_offset_pos="4000"),
        ]

    assert Switch(script).play(Play(PROMPT, frozenset())) == Gone(4000)


@pytest.mark.parametrize(
    ("rate", "clock", "pressed_at", "samples", "after"),
    [
        ("8000", 8000, 1.0, 2080, 740),
        ("8000", 8000, 0.2, 2080, -60),
        ("48000", 48000, 1.0, 12480, 740),
        ("48000", 48000, 0.2, 12480, -60),
        ("48000", 8000, 1.0, 2080, 740),
        ("8000", 8000, 0.5, 999_999_999, -59_500),
    ],
)
def test_when_a_press_began(rate: str, clock: int, pressed_at: float, samples: int, after: int) -> None:
    """Its end is told, and how long it was, by the clock that the call's telephone events have."""

    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        if name == "playback":
            used = {"variable_playback_terminator_used": "1"}
            return [dtmf(pressed_at, "1", samples), (pressed_at, {**UP, **FILE_PLAYED, **used})]
        more = {"Channel-Write-Codec-Rate": rate, "variable_rtp_2833_recv_payload": "101"}
        return [(0.02, {**UP, **more, "variable_rtp_local_sdp_str": SDP.format(clock)})]

    switch = Switch(script)
    assert switch.play(Answer()) == Answered()
    result = switch.play(Ask(8000, 800))
    assert isinstance(result, Pressed)
    assert (result.key, result.timing) == ("1", Timing.EVENT)
    assert result.after_ms == pytest.approx(after, abs=25)


@pytest.mark.parametrize(("heard_at", "told_ms", "expected"), [(0.3, 240, -40), (2.0, 240, -40), (0.3, 270, -10)])
def test_hearing_of_a_press_late_makes_it_no_later(heard_at: float, told_ms: int, expected: int) -> None:
    """By the switch's own clock it began before the window; a busy machine may hear of it seconds later.

    The key lasted 260 ms, and may have waited in the switch's queue for a frame before it was told of.
    """
    stamp = 1_795_303_309_000_000

    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        if name == "playback":
            late, told = dtmf(heard_at, "1", 2080)
            end = {**UP, **FILE_PLAYED, "variable_playback_terminator_used": "1"}
            return [(late, {**told, "Event-Date-Timestamp": str(stamp + told_ms * 1000)}), (heard_at, end)]
        return [(0.02, {**UP, "Event-Date-Timestamp": str(stamp)})]

    result = Switch(script).play(Ask(8000, 800))
    assert isinstance(result, Pressed)
    assert result.after_ms == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("who", ["key", "window", "nobody"])
def test_two_clocks_are_never_compared(who: str) -> None:
    """A press that began before the window, and the switch's clock in one event alone."""

    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        stamp = {"Event-Date-Timestamp": "1795303309000000"}
        if name == "playback":
            at, told = dtmf(0.1, "1", 2080)
            end = {**UP, **FILE_PLAYED, "variable_playback_terminator_used": "1"}
            return [(at, {**told, **(stamp if who == "key" else {})}), (0.1, end)]
        return [(0.02, {**UP, **(stamp if who == "window" else {})})]

    result = Switch(script).play(Ask(8000, 800))
    assert isinstance(result, Pressed)
    assert -200 < result.after_ms < 0


def test_a_key_that_was_told_of_before_the_window_opened() -> None:
    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        return [dtmf(0.005, "1", 10), ends()] if name == "flush_dtmf" else [ends()]

    switch = Switch(script)
    result = switch.play(Ask(8000, 800))
    assert isinstance(result, Pressed)
    assert result.after_ms < 0
    assert ("playback", "silence_stream://8000") not in switch.ran


def test_a_key_without_an_event_grants_nothing() -> None:
    used = {"variable_playback_terminator_used": "1"}
    switch = Switch(prompt(stop={}, end=used, seconds=1.0))
    assert switch.play(Ask(8000, 800)) == Pressed("1", 0, -1, Timing.UNPROVEN)


@pytest.mark.parametrize(("seconds", "expected"), [(8.0, TimedOut()), (3.0, Failed("silence_faster_than_it_lasts"))])
def test_silence_lasts_as_long_as_it_does(seconds: float, expected: Result) -> None:
    assert Switch(prompt(stop={}, seconds=seconds)).play(Ask(8000, 800)) == expected


# --- the recorder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def grant(tmp_path: Path) -> Grant:
    ledger = Ledger(tmp_path / "log.db")
    granted = ledger.decide_now(granted_decision(ID))
    ledger.close()
    found = getattr(granted, "grant", None)
    assert isinstance(found, Grant)
    return found


def recorder(*, starts: bool = True, path: str = PATH, gone: bool = False) -> Script:
    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        if name != "record_session":
            return [ends()]
        started = [(0.02, {"Event-Name": "RECORD_START", "Record-File-Path": path})] if starts else []
        return [*started, (0.03, {"Event-Name": "CHANNEL_HANGUP"})] if gone else [*started, ends(0.04)]

    return script


def test_a_confirmed_recorder(grant: Grant) -> None:
    switch = Switch(recorder())
    assert switch.play(Record(grant)) == Recording(f"{UUID} {PATH}", f"{ID}.raw")
    assert switch.ran[-1] == ("record_session", PATH)
    told = switch.ran[-2][1]
    for wanted in ("RECORD_STEREO=true", "RECORD_BRIDGE_REQ=true", "record_post_process_exec_app=;"):
        assert wanted in told


@pytest.mark.parametrize(
    ("switch", "reason"),
    [
        (Switch(recorder(starts=False)), "recorder_did_not_start"),
        (Switch(recorder(path="/r/another.raw")), "recorder_did_not_start"),
        (Switch(recorder(), buglist="<media-bugs/>"), "recorder_not_on_channel"),
        (Switch(recorder(), files=False), "recording_file_missing"),
        (Switch(recorder(gone=True), buglist=""), "channel_gone"),
    ],
)
def test_what_is_not_confirmed_is_stopped_and_its_file_removed(switch: Switch, reason: str, grant: Grant) -> None:
    result = switch.play(Record(grant))
    assert isinstance(result, NotConfirmed)
    assert result.reason == reason
    assert switch.discarded == [ID]
    if reason != "channel_gone":
        assert switch.ran[-1] == ("stop_record_session", PATH)


def test_whom_nobody_vouches_for_is_not_recorded(grant: Grant) -> None:
    switch = Switch(recorder(), vouched=False)
    assert switch.play(Record(grant)) == NotConfirmed("switch_not_vouched", stopped=True)
    assert "record_session" not in [name for name, _ in switch.ran]


def test_a_stop_that_the_list_does_not_confirm_is_none() -> None:
    assert Switch(lambda *_: [ends()]).play(StopRecording(ID)) == Failed("stop_not_confirmed")


# --- the end ----------------------------------------------------------------------------------------------------------


def test_the_result_is_the_last_word() -> None:
    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        return [(0.02, {**UP, "variable_ivr_consent_result": argument.partition("=")[2] if name == "set" else ""})]

    switch = Switch(script)
    assert switch.play(Route(Destination.RECORDED, "granted", "yes_key")) == Routed()
    assert [name for name, _ in switch.ran] == ["unset", "multiset", "set"]
    assert switch.ran[0] == ("unset", "socket_resume")
    assert switch.ran[-1] == ("set", "ivr_consent_result=granted")


def test_granted_is_never_said_of_the_unrecorded_line() -> None:
    switch = Switch(lambda *_: [(0.02, {**UP, "variable_ivr_consent_result": "failed"})])
    assert switch.play(Route(Destination.UNRECORDED, "granted", "yes_key")) == Routed()
    assert switch.ran[-1] == ("set", "ivr_consent_result=failed")


def test_a_result_that_the_channel_does_not_have_was_not_told() -> None:
    switch = Switch(lambda *_: [ends()])
    assert switch.play(Route(Destination.RECORDED, "granted", "yes_key")) == Failed("dialplan_not_told")


def test_an_application_that_never_ends_is_given_up_and_nothing_follows() -> None:
    switch = Switch(lambda *_: [])
    assert switch.play(Answer()) == Failed("switch_too_slow")
    before = list(switch.ran)
    assert switch.play(Play(PROMPT, frozenset())) == Failed("switch_too_slow")
    assert switch.ran == before


@pytest.mark.parametrize(("hung_up", "expected"), [(True, Gone()), (False, Failed("connection_lost"))])
def test_a_lost_connection(hung_up: bool, expected: Result) -> None:
    switch = Switch(lambda *_: [ends()])
    running = switch.channel.perform(Answer())
    next(running)
    with pytest.raises(StopIteration) as end:
        running.send(Lost("connection_lost", hung_up))
    assert end.value.value == expected


def test_another_applications_end_is_not_ours() -> None:
    """Known by the id that we gave it, never by its name."""

    def script(name: str, argument: str) -> list[tuple[float, dict[str, str]]]:
        foreign = {**UP, "Event-Name": "CHANNEL_EXECUTE_COMPLETE", "Application-UUID": "another", "Application": name}
        return [(0.01, foreign)]

    assert Switch(script).play(Answer()) == Failed("switch_too_slow")


@pytest.mark.parametrize("value", ["a;b=c", "a b", "${x}", "a\nb", "x" * 300])
def test_only_plain_values_become_variables(value: str) -> None:
    channel = Switch(lambda *_: []).channel
    with pytest.raises(ValueError, match="plain"):
        next(channel._set({"x": value}))


def test_a_recording_has_a_name_of_ours() -> None:
    channel = Switch(lambda *_: []).channel
    for wrong in ("", "../x", "A" * 32, "0" * 31):
        with pytest.raises(ValueError, match="name"):
            channel.recording_path(wrong)
