"""Steps of the flow as applications of FreeSWITCH: a generator of requests, without input or output.

A driver (the server, a test) answers each :data:`Request` with a :data:`Response`. No recorder command exists anywhere
else than in :meth:`Channel._record`.

What the switch's words are worth is in docs/freeswitch.md; the short of it: ``+OK`` means queued, ``FILE PLAYED`` is
said of a prompt that was cut short, ``record_session`` never says that it failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from ivr_consent.config import RECORDINGS_PATH
from ivr_consent.core.decision import Outcome
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
    Prompt,
    Record,
    Recording,
    Result,
    Route,
    Routed,
    Stopped,
    StopRecording,
    TimedOut,
    Timing,
)
from ivr_consent.pbx.conduct import ChannelStep
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.wire import ApiResponse, Event, Reply
from ivr_consent.pbx.requests import Discard, FileAppears, Lost, Released, Seen

EVENTS: Final = (
    "CHANNEL_EXECUTE_COMPLETE",
    "CHANNEL_HANGUP",
    "PLAYBACK_STOP",
    "RECORD_START",
    "RECORD_STOP",
    "DTMF",
)
"""All that a call needs to hear of itself."""

REPLY_DEADLINE_S: Final = 5.0
"""For a reply, and for an application that does not wait for the caller: 20 to 60 ms were seen."""

WAITING_MARGIN_S: Final = 10.0
"""Added to the length of what is played or waited for: a busy switch stretches it."""

PLAYED_TOO_FAST_S: Final = 0.1
"""A prompt may seem this much shorter than it is; less means that a part of it was skipped."""

GONE_S: Final = 0.5
"""So long after a hang-up the end of the prompt under way is waited for; it comes within 10 ms."""

RECORDER_DEADLINE_S: Final = 2.0
"""How long the recorder may take to say that it runs, and its file to appear; milliseconds were seen."""

LINGER_S: Final = 2
"""How long the connection stays after a hang-up, so that the last events are sure to come."""

LEASE_S: Final = 15
"""If we hang, the switch takes the call back this long after the end of the step under way (``sched_transfer``)."""

LEASE_RENEWAL_S: Final = 5.0
"""The lease is renewed when less than this would be left at the end of the next step."""

RATES: Final = (8000, 16000, 32000, 48000)
"""Hz: prompts are built at these rates, and the switch is told the name of the one that fits the call."""

RECORDING_RATE: Final = 8000
"""Hz of a recording, as on the other switch."""

KEY_RATE: Final = 8000
"""Hz of the samples in which the length of a key press is told, unless the call's telephone events have another clock
(RFC 4733): with Opus they have 48 kHz."""

QUEUED_S: Final = 0.02
"""A released key waits in the switch's queue for up to a frame before it is told of: it was pressed that much earlier
than its event says."""

LONGEST_PRESS_S: Final = 60.0
"""A press that says it lasted longer is taken for one of this length: it began before anything was asked."""

KEYS: Final = frozenset("0123456789*#ABCD")

_RECORDING_ID: Final = re.compile(r"[0-9a-f]{32}")
_VALUE: Final = re.compile(r"[A-Za-z0-9_./:*#-]{0,200}")


@dataclass(frozen=True, slots=True)
class Send:
    """Send commands and wait for as many replies, at most ``deadline_s``. Response: Heard or Lost."""

    commands: bytes
    replies: int
    deadline_s: float


@dataclass(frozen=True, slots=True)
class NextEvent:
    """Wait for the next event, at most until ``until`` (driver's clock, seconds). Response: Happened, Nothing, Lost."""

    until: float


@dataclass(frozen=True, slots=True)
class Vouch:
    """Does the channel have this nonce, as the switch itself says on another connection? Response: Seen."""

    uuid: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The replies in order, with the driver's clock (seconds) at sending and at the last one's arrival."""

    replies: tuple[Reply | ApiResponse, ...]
    sent_at: float
    at: float


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, and when it came by the driver's clock."""

    event: Event
    at: float


@dataclass(frozen=True, slots=True)
class Nothing:
    """No event came in time."""


@dataclass(frozen=True, slots=True)
class _Done:
    """An application has ended: its own event of that, and how long it took."""

    event: Event
    seconds: float


@dataclass(frozen=True, slots=True)
class _Moment:
    """When something happened: by the switch's own clock, where it tells, and when we heard of it (seconds)."""

    switch: float | None
    heard: float

    def since(self, other: _Moment) -> float:
        """Seconds from another moment to this one. By one clock alone: a busy machine lets us hear of things late."""
        if self.switch is not None and other.switch is not None:
            return self.switch - other.switch
        return self.heard - other.heard


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that was released, when, and how long it was down."""

    key: str
    released: _Moment
    seconds: float


Request = Send | NextEvent | Vouch | FileAppears | Released | Discard
Response = Heard | Happened | Nothing | Lost | Seen
Performing = Generator[Request, Response, Result]


class Channel:
    """One channel of FreeSWITCH, spoken with over its outbound event socket.

    ``line`` is the line that our dialplan named, or ``None`` when the call did not come through it: then there is no
    lease to be moved. ``nonce`` gives fresh hexadecimal text.
    """

    def __init__(self, uuid: str, recordings: Path, *, line: str | None, nonce: Callable[[], str]) -> None:
        self.uuid = wire.channel(uuid)
        self.recordings = recordings
        self._line = line
        self._nonce = nonce
        self._lease_until = 0.0
        self._now = 0.0
        self._call_rate = self._rate = RATES[0]
        """Hz: of the call, in whose samples the switch tells how far it played; and of the sounds that it is given."""
        self._key_rate = KEY_RATE
        self._terminators = ""
        """The keys that end a playback, as the channel was told last."""
        self._keys: list[_Key] = []
        """Keys that were released since something was last asked for."""
        self._stop: Event | None = None
        """The last word on the end of a playback."""
        self._recording: set[str] = set()
        """Files that the switch says are being recorded on this channel."""
        self._sent_at = 0.0
        self._end: Gone | Failed | None = None
        """Set once nothing can be said on this channel any more."""

    def perform(self, step: ChannelStep) -> Performing:
        """Do one step. Once the connection is lost every step ends at once, with nothing sent."""
        match step:
            case Play():
                return self._play(step)
            case Ask():
                return self._ask(step)
            case Answer():
                return self._answer()
            case Record():
                return self._record(step)
            case StopRecording():
                return self._stop_recording(step)
            case Route():
                return self._route(step)

    # --- before the first step ------------------------------------------------------------------

    def open(self, call_id: str) -> Generator[Request, Response, bool]:
        """Ask for the events of this channel, and see that it is a channel of our switch at all.

        Nobody has to say who he is on this connection: whoever reaches the port can play FreeSWITCH.
        """
        commands = wire.only(self.uuid) + wire.events(*EVENTS) + wire.linger(LINGER_S)
        replies = yield from self._say(commands, 3)
        if replies is None:
            return False
        if not all(isinstance(reply, Reply) and reply.ok for reply in replies):
            self._end = Failed("socket_not_full")
            return False
        return (yield from self._vouched(call_id))

    def _vouched(self, call_id: str) -> Generator[Request, Response, bool]:
        nonce = self._nonce()
        if (yield from self._set({variables.CALL_ID: call_id, variables.NONCE: nonce})) is None:
            return False
        seen = yield Vouch(self.uuid, nonce)
        assert isinstance(seen, Seen)
        if not seen.yes:
            self._end = self._end or Failed("switch_not_vouched")
        return seen.yes

    # --- steps ------------------------------------------------------------------------------

    def _answer(self) -> Performing:
        yield from self._lease(0.0)
        done = yield from self._execute("answer", seconds=WAITING_MARGIN_S)
        if done is None:
            return self._ended()
        self._choose_rate(done.event)
        return Answered() if _up(done.event) else Failed("not_answered")

    def _play(self, step: Play) -> Performing:
        """Six things together prove that a prompt was heard to its end; none of them does alone."""
        prompt, duration = step.prompt, step.prompt.duration_ms / 1000
        yield from self._lease(duration)
        path, length = self._file(prompt)
        done = yield from self._playback(path, "".join(sorted(step.keys)) or "none", duration)
        stop = self._stop
        samples = _number(stop.variable("playback_last_offset_pos")) if stop is not None else 0
        if done is None:
            ended = self._ended()
            return Gone(samples) if isinstance(ended, Gone) else ended
        key = done.event.variable("playback_terminator_used")
        if key in step.keys:
            self._keys.clear()
            return Pressed(key, samples)
        if stop is None or done.event.get("Application-Response") != "FILE PLAYED":
            return Failed("prompt_missing")
        played = stop.get("Playback-Status") == "done" and stop.get("Playback-File-Path") == path and not key
        if not played or not self._whole(samples, prompt) or not _up(done.event):
            return Failed("prompt_cut_short")
        if done.seconds < duration - PLAYED_TOO_FAST_S:
            # Skipped through by an API command, or no FreeSWITCH: what it says is worth nothing from here on.
            self._end = Failed("prompt_faster_than_it_lasts")
            return self._end
        # Released between two prompts a key ends neither: the switch took it while it played nothing.
        between = next((key.key for key in self._keys if key.key in step.keys), None)
        self._keys.clear()
        return Played(length, int(done.seconds * 1000)) if between is None else Pressed(between, samples)

    def _ask(self, step: Ask) -> Performing:
        seconds = step.timeout_ms / 1000
        yield from self._lease(seconds)
        # What was pressed before is thrown away by the switch, as far as it has not been told of yet.
        flushed = yield from self._execute("flush_dtmf")
        if flushed is None:
            return self._ended()
        opened = _moment(flushed.event, self._now)
        if self._keys:
            return self._pressed(opened)
        done = yield from self._playback(f"silence_stream://{step.timeout_ms}", "any", seconds)
        if done is None:
            return self._ended()
        if self._keys:
            return self._pressed(opened)
        key = done.event.variable("playback_terminator_used")
        if key in KEYS:
            return Pressed(key, 0, -1, Timing.UNPROVEN)
        if not _up(done.event) or done.event.get("Application-Response") != "FILE PLAYED":
            return Failed("switch_refused_question")
        if done.seconds < seconds - PLAYED_TOO_FAST_S:
            self._end = Failed("silence_faster_than_it_lasts")
            return self._end
        return TimedOut()

    def _pressed(self, opened: _Moment) -> Pressed:
        """The first key that came; negative where its press began before the window opened."""
        first = self._keys[0]
        self._keys.clear()
        after = first.released.since(opened) - first.seconds - QUEUED_S
        return Pressed(first.key, 0, int(after * 1000 // 1), Timing.EVENT)

    def _record(self, step: Record) -> Performing:
        """The only recorder command there is: with a grant, on a channel that the switch itself vouches for."""
        if self._end is not None:
            return self._ended()
        call_id = step.grant.call_id
        path = self.recording_path(call_id)
        yield from self._lease(RECORDER_DEADLINE_S * 2)
        if not (yield from self._vouched(call_id)):
            return Gone() if isinstance(self._end, Gone) else NotConfirmed("switch_not_vouched", stopped=True)
        if (yield from self._set(self.recording_variables())) is None:
            return self._ended()
        done = yield from self._execute("record_session", str(path))
        if done is None:
            reason: str | None = "channel_gone" if isinstance(self._ended(), Gone) else "recorder_not_confirmed"
        else:
            reason = yield from self._unconfirmed(path, done)
        if reason is None:
            return Recording(f"{self.uuid} {path}", path.name)
        stopped = yield from self._stop_and_discard(call_id)
        return NotConfirmed(reason, stopped)

    @staticmethod
    def recording_variables() -> dict[str, str]:
        """How it is recorded: both sides apart, only while bridged, and nothing is run when it ends."""
        return {
            "RECORD_STEREO": "true",
            "RECORD_BRIDGE_REQ": "true",
            "RECORD_MIN_SEC": "0",
            "record_sample_rate": str(RECORDING_RATE),
            "record_post_process_exec_app": "",
            "record_post_process_exec_api": "",
        }

    def recording_path(self, recording_id: str) -> Path:
        """The recorder's file: a name of ours, without a header, so that it is whole whenever it ends."""
        if not _RECORDING_ID.fullmatch(recording_id) or not RECORDINGS_PATH.fullmatch(str(self.recordings)):
            raise ValueError("a recording has a name and a directory of our own, in plain characters")
        return self.recordings / f"{recording_id}.raw"

    def _unconfirmed(self, path: Path, done: _Done) -> Generator[Request, Response, str | None]:
        """Why the recorder is not confirmed; ``None``: the switch said so twice, its file exists, the call is up."""
        until = self._now + RECORDER_DEADLINE_S
        while str(path) not in self._recording:
            if (yield from self._event(until)) is None:
                return "channel_gone" if isinstance(self._end, Gone) else "recorder_did_not_start"
        if not (yield from self._runs(path)):
            return "recorder_not_on_channel"
        seen = yield FileAppears(path, RECORDER_DEADLINE_S)
        assert isinstance(seen, Seen)
        if not seen.yes:
            return "recording_file_missing"
        return None if _up(done.event) and self._end is None else "channel_gone"

    def _runs(self, path: Path) -> Generator[Request, Response, bool | None]:
        """Whether the switch has a recorder with this file on the channel; ``None`` when it does not say."""
        replies = yield from self._say(wire.api(f"uuid_buglist {self.uuid}"), 1)
        if replies is None or not isinstance(replies[0], ApiResponse):
            return None
        return f"<target>{path}</target>" in replies[0].body

    def _stop_recording(self, step: StopRecording) -> Performing:
        stopped = yield from self._stop_and_discard(step.recording_id)
        return Stopped() if stopped else Failed("stop_not_confirmed")

    def _stop_and_discard(self, recording_id: str) -> Generator[Request, Response, bool]:
        """Stop our recorder, read back that the channel has it no more, remove its file (nothing was bridged).

        Where nothing can be said to the switch any more (a hang-up ends the recorder, else the dialplan stops it), the
        switch's open files are the witness.
        """
        path = self.recording_path(recording_id)
        yield from self._execute("stop_record_session", str(path))
        stopped = (yield from self._runs(path)) is False
        if self._end is not None:
            released = yield Released(recording_id, RECORDER_DEADLINE_S)
            assert isinstance(released, Seen)
            stopped = released.yes
        seen = yield Discard(recording_id)
        assert isinstance(seen, Seen)
        return stopped and seen.yes

    def _route(self, step: Route) -> Performing:
        outcome = step.outcome
        if step.destination is not Destination.RECORDED and outcome == Outcome.GRANTED.value:
            outcome = Outcome.FAILED.value  # the dialplan records on this word alone: never say it by mistake
        # Without it the running call would be thrown back when this connection ends. The result last of all: whatever
        # happens before, the dialplan goes on to the unrecorded line.
        if (yield from self._execute("unset", variables.RESUME)) is None:
            return self._ended()
        if (yield from self._set({variables.REASON: step.reason, variables.NONCE: ""})) is None:
            return self._ended()
        done = yield from self._execute("set", f"{variables.RESULT}={outcome}")
        if done is None:
            return self._ended()
        return Routed() if done.event.variable(variables.RESULT) == outcome else Failed("dialplan_not_told")

    # --- parts ------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether nothing can be said on this channel any more."""
        return self._end is not None

    def why_ended(self) -> str:
        """Why nothing can be said on this channel any more, as a slug for the decision."""
        return self._end.reason if isinstance(self._end, Failed) else "hung_up_ringing"

    def _choose_rate(self, event: Event) -> None:
        """The rate of the sounds that fits the call: the switch then neither stretches nor cuts them."""
        self._call_rate = _number(event.get("Channel-Write-Codec-Rate")) or RATES[0]
        self._rate = max((one for one in RATES if one <= self._call_rate), default=RATES[0])
        payload, ours = event.variable("rtp_2833_recv_payload"), event.variable("rtp_local_sdp_str")
        clock = re.search(rf"(?m)^a=rtpmap:{re.escape(payload)} telephone-event/([0-9]{{4,6}})", ours)
        self._key_rate = max(KEY_RATE, _number(clock[1])) if clock is not None and payload else KEY_RATE

    def _file(self, prompt: Prompt) -> tuple[str, int]:
        """The file of a prompt for this call, and its length in samples of its own rate."""
        for rate in (self._rate, RATES[0]):
            length = prompt.duration_ms * rate // 1000
            if length in prompt.lengths:
                return f"{prompt.path}.wav" if rate == RATES[0] else f"{prompt.path}-{rate}.wav", length
        return f"{prompt.path}.wav", max(prompt.lengths, default=1)

    def _whole(self, samples: int, prompt: Prompt) -> bool:
        """Whether so many samples of the call are all of a prompt.

        Where the switch changes the rate it rounds: one sample in 16384 was seen to be missing.
        """
        wanted = prompt.duration_ms * self._call_rate // 1000
        return samples + (0 if self._call_rate == self._rate else wanted // 8192 + 2) >= wanted

    def _playback(self, path: str, keys: str, seconds: float) -> Generator[Request, Response, _Done | None]:
        """Play a file; ``keys`` end it.

        How far it came is taken from the event of its own end, which is not there for a file that is missing: the
        variables that the last one left behind would still stand. The key that ended it is cleared by the switch.
        """
        if keys != self._terminators:
            if (yield from self._set({"playback_terminators": keys})) is None:
                return None
            self._terminators = keys
        self._stop = None
        done = yield from self._execute("playback", path, seconds=seconds * 1.25 + WAITING_MARGIN_S)
        if isinstance(self._end, Gone) and self._stop is None:
            until = self._now + GONE_S
            while self._stop is None and (yield from self._event(until, ended=True)) is not None:
                pass
        return done

    def _set(self, values: dict[str, str]) -> Generator[Request, Response, _Done | None]:
        """Set channel variables, all by one application; an empty value takes the variable away."""
        for value in values.values():
            if not _VALUE.fullmatch(value):
                raise ValueError("a value of ours has plain characters")
        pairs = ";".join(f"{name}={value}" for name, value in values.items())
        return (yield from self._execute("multiset", f"^^;{pairs}"))

    def _execute(
        self, application: str, argument: str = "", *, seconds: float = REPLY_DEADLINE_S
    ) -> Generator[Request, Response, _Done | None]:
        """Run one application to its end, known by an id of ours; ``None`` when it will not be told of any more."""
        mark = self._nonce()
        replies = yield from self._say(wire.execute(application, argument, mark), 1)
        if replies is None:
            return None
        if not isinstance(replies[0], Reply) or not replies[0].ok:
            self._end = Failed("switch_refused_command")
            return None
        began = self._sent_at
        while True:
            event = yield from self._event(began + seconds)
            if event is None:
                if self._end is None:
                    self._end = Failed("switch_too_slow")
                return None
            if event.name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application-UUID") == mark:
                return _Done(event, self._now - began)

    def _event(self, until: float, *, ended: bool = False) -> Generator[Request, Response, Event | None]:
        """The next event of this channel; ``None`` when none comes in time, or the call has ended."""
        while ended or self._end is None:
            response = yield NextEvent(until)
            if isinstance(response, Lost):
                self._end = self._end or _lost(response)
                return None
            if isinstance(response, Nothing):
                return None
            assert isinstance(response, Happened)
            event = response.event
            if event.get("Unique-ID") == self.uuid:
                self._now = response.at
                self._note(event, response.at)
                if event.name != "CHANNEL_HANGUP":
                    return event
        return None

    def _note(self, event: Event, at: float) -> None:
        match event.name:
            case "CHANNEL_HANGUP":
                self._end = self._end or Gone()
            case "PLAYBACK_STOP":
                self._stop = event
            case "RECORD_START":
                self._recording.add(event.get("Record-File-Path"))
            case "RECORD_STOP":
                self._recording.discard(event.get("Record-File-Path"))
            case "DTMF":
                key = event.get("DTMF-Digit")
                if key in KEYS:
                    clock = self._key_rate if event.get("DTMF-Source") == "RTP" else KEY_RATE
                    seconds = min(_number(event.get("DTMF-Duration")) / clock, LONGEST_PRESS_S)
                    self._keys = [*self._keys[-9:], _Key(key, _moment(event, at), seconds)]

    def _lease(self, seconds: float) -> Generator[Request, Response, None]:
        """Move the switch's own timer past the next step: if we hang, it takes the call back soon after."""
        if self._line is None or self._now + seconds + LEASE_RENEWAL_S < self._lease_until:
            return
        length = ceil(seconds) + LEASE_S
        place = f"{variables.extension(self._line, variables.HANGS)} XML {variables.CONTEXT}"
        # Both at once: between the two the call would have no timer.
        commands = wire.api(f"sched_del {self.uuid}") + wire.api(f"sched_transfer +{length} {self.uuid} {place}")
        replies = yield from self._say(commands, 2)
        if replies is not None and isinstance(replies[1], ApiResponse) and replies[1].ok:
            self._lease_until = self._sent_at + length

    def _say(
        self, commands: bytes, replies: int
    ) -> Generator[Request, Response, tuple[Reply | ApiResponse, ...] | None]:
        """Commands and their replies; ``None`` when the connection is lost (then :meth:`_ended` tells why)."""
        if self._end is not None:
            return None
        response = yield Send(commands, replies, REPLY_DEADLINE_S)
        if isinstance(response, Heard):
            self._sent_at, self._now = response.sent_at, response.at
            return response.replies
        assert isinstance(response, Lost)
        self._end = _lost(response)
        return None

    def _ended(self) -> Gone | Failed:
        return self._end if self._end is not None else Failed("connection_lost")


def _lost(response: Lost) -> Gone | Failed:
    return Gone() if response.hung_up else Failed(response.reason)


def _moment(event: Event, at: float) -> _Moment:
    stamp = event.get("Event-Date-Timestamp")  # microseconds
    told = stamp.isascii() and stamp.isdigit() and len(stamp) < 20
    return _Moment(int(stamp) / 1_000_000 if told else None, at)


def _up(event: Event) -> bool:
    return event.get("Answer-State") == "answered"


def _number(text: str) -> int:
    """A whole number as the switch writes it; 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
