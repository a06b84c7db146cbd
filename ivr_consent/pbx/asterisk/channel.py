"""Steps of the flow as AGI commands: a generator of requests, without input or output.

A driver (FastAGI server, classic script, a test) answers each :data:`Request` with a :data:`Response`. So the
server and the script run the very same code, and no recorder command exists anywhere else than in
:meth:`Channel._record`.

What Asterisk's replies are worth is in docs/asterisk.md; the short of it: a reply proves that a command was read,
hardly ever that it did its work.
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
from ivr_consent.language import HEADER_LENGTH, HEADER_NAME
from ivr_consent.pbx.asterisk import variables, wire
from ivr_consent.pbx.asterisk.wire import Environment, Reply
from ivr_consent.pbx.conduct import ChannelStep
from ivr_consent.pbx.requests import Discard, FileAppears, Lost, Released, Seen

REPLY_DEADLINE_S: Final = 5.0
"""For a command that does not wait for the caller; Asterisk answers such in a millisecond."""

WAITING_MARGIN_S: Final = 10.0
"""Added to the length of what is played or waited for: Asterisk under heavy load stretches a prompt by a fifth."""

PLAYED_TOO_FAST_S: Final = 0.1
"""A prompt may seem this much shorter than it is (the last 20 ms frames are still under way); less is a forgery."""

PRESS_DEADLINE_S: Final = 0.5
"""How long the manager's event of a key press may come after AGI's reply; both are sent at once."""

FILE_DEADLINE_S: Final = 2.0
"""How long the recorder's file may take to appear, or to be closed; Asterisk needs milliseconds."""

LEASE_S: Final = 15
"""If we hang, the dialplan takes the call back this long after the end of the step under way (its ``T`` extension)."""

LEASE_RENEWAL_S: Final = 5.0
"""The lease is renewed when less than this would be left at the end of the next step."""

TWO_CHANNEL_VERSION: Final = 22
"""From here on MixMonitor writes both sides into one file (option D); older ones write a file a side."""

HEADER_FUNCTIONS: Final = {"PJSIP": "PJSIP_HEADER(read,{})", "SIP": "SIP_HEADER({})"}
"""By the channel's type (``agi_type``): the dialplan function that reads a header of the call's INVITE."""

DIALLED_LENGTH: Final = 64
"""Characters of an extension that are looked at."""

_HANDLE = re.compile(r"0x[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True)
class Send:
    """Send one command and wait for its one reply, at most ``deadline_s``. Response: Heard or Lost."""

    command: bytes
    deadline_s: float


@dataclass(frozen=True, slots=True)
class PressBegan:
    """When did the press of this key, released after ``not_before`` (driver's clock), begin? Response: Began."""

    key: str
    not_before: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """The reply, with the driver's clock (seconds) at sending and at arrival, and whether the caller has hung up."""

    reply: Reply
    sent_at: float
    at: float
    hung_up: bool


@dataclass(frozen=True, slots=True)
class Began:
    """When a press began, by the driver's clock; ``None`` when nobody told."""

    at: float | None


Request = Send | PressBegan | FileAppears | Released | Discard
Response = Heard | Lost | Began | Seen
Performing = Generator[Request, Response, Result]


class Channel:
    """One channel of Asterisk, spoken with over AGI.

    ``nonce`` gives fresh hexadecimal text for echoes; ``presses_known`` tells whether the manager link is up now.
    """

    def __init__(
        self,
        environment: Environment,
        recordings: Path,
        *,
        nonce: Callable[[], str],
        presses_known: Callable[[], bool],
    ) -> None:
        self.environment = environment
        self.recordings = recordings
        self.handle: str | None = None
        self._nonce = nonce
        self._presses_known = presses_known
        self._leased = environment.context in (variables.CONTEXT, variables.DRAFT_CONTEXT)
        self._lease_until = 0.0
        self._now = 0.0
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
                return self._stop(step)
            case Route():
                return self._route(step)

    def echo(self) -> Generator[Request, Response, bool]:
        """A random text must come back exactly: else the replies are not Asterisk's answers to our commands."""
        nonce = self._nonce()
        heard = yield from self._say(wire.get_full_variable(nonce))
        if heard is not None and heard.reply.code == 200 and heard.reply.result == "1" and heard.reply.data == nonce:
            return True
        self._end = self._end or Failed("echo_wrong")
        return False

    # --- steps ------------------------------------------------------------------------------

    def _answer(self) -> Performing:
        heard = yield from self._say(wire.answer(), deadline_s=WAITING_MARGIN_S)
        if heard is None:
            return self._ended()
        if heard.hung_up or heard.reply.code == 511:
            return Gone()
        return Answered() if heard.reply.result == "0" and heard.reply.ok else Failed("not_answered")

    def _play(self, step: Play) -> Performing:
        prompt = step.prompt
        duration = prompt.duration_ms / 1000
        yield from self._lease(duration)
        command = wire.stream_file(prompt.path, "".join(sorted(step.keys)))
        heard = yield from self._say(command, deadline_s=duration * 1.25 + WAITING_MARGIN_S)
        if heard is None:
            return self._ended()
        reply, samples = heard.reply, max(heard.reply.endpos or 0, 0)
        if reply.code == 511 or heard.hung_up:
            return Gone(samples)
        if not reply.ok:
            return Failed("switch_refused_prompt")
        if reply.result == "0":
            if heard.at - heard.sent_at < duration - PLAYED_TOO_FAST_S:
                # Out of step or forged: nothing on this connection can be believed any more.
                self._end = Failed("prompt_faster_than_it_lasts")
                return self._end
            return Played(samples, int((heard.at - heard.sent_at) * 1000))
        key = _key_of(reply)
        if key is not None and key in step.keys:
            return Pressed(key, samples)
        if reply.result == "-1" and samples == 0:
            return (yield from self._why_not_played())
        return Gone(samples) if reply.result == "-1" else Failed("switch_refused_prompt")

    def _why_not_played(self) -> Performing:
        """``result=-1 endpos=0`` is a hang-up or a file that would not open: ask whether the channel lives."""
        heard = yield from self._say(wire.channel_status())
        if heard is None:
            return self._ended()
        alive = heard.reply.ok and heard.reply.result == "6" and not heard.hung_up
        return Failed("prompt_missing") if alive else Gone()

    def _ask(self, step: Ask) -> Performing:
        opened = self._now
        known = self._presses_known()
        if not known:
            guarded = yield from self._wait_for_key(step.guard_ms)
            if not isinstance(guarded, TimedOut):
                return guarded  # a key of the guard time: reported as before the window
            opened = self._now
        result = yield from self._wait_for_key(step.timeout_ms)
        if not isinstance(result, Pressed):
            return result
        if not known:
            return Pressed(result.key, 0, _ms(self._now - opened), Timing.GUARD)
        began = yield PressBegan(result.key, opened, PRESS_DEADLINE_S)
        assert isinstance(began, Began)
        if began.at is None:
            return Pressed(result.key, 0, -1, Timing.UNPROVEN)
        return Pressed(result.key, 0, _ms(began.at - opened), Timing.MANAGER)

    def _wait_for_key(self, timeout_ms: int) -> Performing:
        seconds = timeout_ms / 1000
        yield from self._lease(seconds)
        heard = yield from self._say(wire.wait_for_digit(timeout_ms), deadline_s=seconds + WAITING_MARGIN_S)
        if heard is None:
            return self._ended()
        if heard.hung_up or heard.reply.code == 511 or heard.reply.result == "-1":
            return Gone()
        if not heard.reply.ok:
            return Failed("switch_refused_question")
        if heard.reply.result == "0":
            if heard.at - heard.sent_at < seconds - PLAYED_TOO_FAST_S:
                self._end = Failed("silence_faster_than_it_lasts")
                return self._end
            return TimedOut()
        key = _key_of(heard.reply)
        return Failed("switch_refused_question") if key is None else Pressed(key, 0, -1, Timing.GUARD)

    def _record(self, step: Record) -> Performing:
        """The only recorder command there is: with a grant, after an exact echo, on a channel that is up."""
        if self._end is not None:
            return self._ended()
        yield from self._lease(FILE_DEADLINE_S + REPLY_DEADLINE_S)
        if not (yield from self.echo()):
            return NotConfirmed("echo_wrong", stopped=True)  # nothing was started
        if not (yield from self._up()):
            return Gone() if self._end is None else self._ended()
        path, options = self.recording_arguments(step.grant.call_id)
        heard = yield from self._say(wire.set_variable(variables.MIXMONITOR, ""))
        if heard is None or heard.hung_up or not heard.reply.ok:
            return self._ended() if heard is None else Gone()
        heard = yield from self._say(wire.exec_("MixMonitor", f"{path},{options}"))
        if heard is None:
            return self._ended()
        reason = yield from self._unconfirmed(path)
        if reason is None:
            assert self.handle is not None
            return Recording(self.handle, path.name)
        stopped = yield from self._stop_and_discard(step.grant.call_id)
        return NotConfirmed(reason, stopped)

    def recording_arguments(self, recording_id: str) -> tuple[Path, str]:
        """MixMonitor's file and options: only while bridged, the sides apart, names of our own."""
        if not re.fullmatch(r"[0-9a-f]{32}", recording_id) or not RECORDINGS_PATH.fullmatch(str(self.recordings)):
            raise ValueError("a recording has a name and a directory of our own, in plain characters")
        stem = self.recordings / recording_id
        handle = f"i({variables.MIXMONITOR})"
        if _major(self.environment.version) >= TWO_CHANNEL_VERSION:
            return stem.with_suffix(".raw"), f"Db{handle}"
        return stem.with_suffix(".wav"), f"br({stem}-caller.wav)t({stem}-agent.wav){handle}"

    def _unconfirmed(self, path: Path) -> Generator[Request, Response, str | None]:
        """Why the recorder is not confirmed; ``None``: the channel names it, its file exists, the caller is there."""
        heard = yield from self._say(wire.get_variable(variables.MIXMONITOR))
        if heard is None or not heard.reply.data or not _HANDLE.fullmatch(heard.reply.data):
            return "recorder_has_no_handle"
        self.handle = heard.reply.data
        if (yield from self._recorder_file()) != str(path):
            return "recorder_not_on_channel"
        seen = yield FileAppears(path, FILE_DEADLINE_S)
        assert isinstance(seen, Seen)
        if not seen.yes:
            return "recording_file_missing"
        return None if (yield from self._up()) else "channel_gone"

    def _recorder_file(self) -> Generator[Request, Response, str | None]:
        """The file that the channel says our recorder writes; ``None`` when no such recorder runs."""
        heard = yield from self._say(wire.get_full_variable(f"${{MIXMONITOR({self.handle},filename)}}"))
        return heard.reply.data if heard is not None and heard.reply.ok and heard.reply.data else None

    def _stop(self, step: StopRecording) -> Performing:
        stopped = yield from self._stop_and_discard(step.recording_id)
        return Stopped() if stopped else Failed("stop_not_confirmed")

    def _stop_and_discard(self, recording_id: str) -> Generator[Request, Response, bool]:
        """Stop our recorder, read back that the channel has it no more, remove its file (nothing was bridged).

        Where nothing can be said to the switch any more (a hang-up ends the recorder, else the dialplan stops it), the
        switch's open files are the witness.
        """
        yield from self._say(wire.exec_("StopMixMonitor", self.handle or ""))
        stopped = self.handle is None or (yield from self._recorder_file()) is None
        if self._end is not None:
            released = yield Released(recording_id, FILE_DEADLINE_S)
            assert isinstance(released, Seen)
            stopped = released.yes
        seen = yield Discard(recording_id)
        assert isinstance(seen, Seen)
        return stopped and seen.yes

    def _route(self, step: Route) -> Performing:
        outcome = step.outcome
        if step.destination is not Destination.RECORDED and outcome == Outcome.GRANTED.value:
            outcome = Outcome.FAILED.value  # the dialplan records on this word alone: never say it by mistake
        # The result last of all: whatever happens before, the dialplan goes on to the unrecorded line.
        for name, value in ((variables.REASON, step.reason), (variables.RESULT, outcome)):
            heard = yield from self._say(wire.set_variable(name, value))
            if heard is None:
                return self._ended()
            if heard.hung_up:
                return Gone()
            if not heard.reply.ok or heard.reply.result != "1":
                return Failed("dialplan_not_told")
        return Routed()

    # --- parts ------------------------------------------------------------------------------

    def announce(self, call_id: str) -> Generator[Request, Response, None]:
        """Tell the dialplan our id of the call, so that its log and ours can be joined."""
        yield from self._say(wire.set_variable(variables.CALL_ID, call_id))

    def tell_withdrawn(self, done: bool) -> Generator[Request, Response, None]:
        """Tell the dialplan, on the channel that reports a withdrawal, whether it is done."""
        yield from self._say(wire.set_variable(variables.WITHDRAWN, "yes" if done else "no"))

    def dialled(self) -> Generator[Request, Response, str]:
        """The extension from which the gate was entered by Gosub; empty when it is no number.

        Local channels have no number dialled in their environment.
        """
        return (yield from self._filtered("0-9+", f"STACK_PEEK(1,e,1):0:{DIALLED_LENGTH}"))

    def header(self, name: str) -> Generator[Request, Response, str]:
        """The first header of this name of the call's INVITE, cut and filtered; empty when there is none.

        The caller writes it. So the switch itself takes out all that a list of languages has no need of.
        """
        if not HEADER_NAME.fullmatch(name):
            raise ValueError("a header is named by letters, digits and hyphens")
        function = HEADER_FUNCTIONS.get(self.environment.raw["agi_type"])
        if function is None:
            return ""
        return (yield from self._filtered("A-Za-z0-9_.;=\\x20\\x2c\\x2d", f"{function.format(name)}:0:{HEADER_LENGTH}"))

    def _filtered(self, allowed: str, expression: str) -> Generator[Request, Response, str]:
        """What the switch makes of an expression of ours, with no other characters than these in it.

        The value is cut before it is filtered: behind the filter a ``)`` in it could move the place of the cut.
        """
        heard = yield from self._say(wire.get_full_variable(f"${{FILTER({allowed},${{{expression}}})}}"))
        if heard is None or not heard.reply.ok or heard.reply.result != "1":
            return ""
        return heard.reply.data or ""

    @property
    def ended(self) -> bool:
        """Whether nothing can be said on this channel any more."""
        return self._end is not None

    def why_ended(self) -> str:
        """Why nothing can be said on this channel any more, as a slug for the decision."""
        return self._end.reason if isinstance(self._end, Failed) else "hung_up_ringing"

    def _up(self) -> Generator[Request, Response, bool]:
        heard = yield from self._say(wire.channel_status())
        return heard is not None and not heard.hung_up and heard.reply.ok and heard.reply.result == "6"

    def _lease(self, seconds: float) -> Generator[Request, Response, None]:
        """Move the absolute timeout past the next step: if we hang, the dialplan takes the call back soon after."""
        if not self._leased or self._now + seconds + LEASE_RENEWAL_S < self._lease_until:
            return
        length = ceil(seconds) + LEASE_S
        heard = yield from self._say(wire.set_variable("TIMEOUT(absolute)", str(length)))
        if heard is not None:
            self._lease_until = heard.sent_at + length

    def _say(self, command: bytes, deadline_s: float = REPLY_DEADLINE_S) -> Generator[Request, Response, Heard | None]:
        """One command, one reply; ``None`` when the connection is lost (then :meth:`_ended` tells why)."""
        if self._end is not None:
            return None
        response = yield Send(command, deadline_s)
        if isinstance(response, Heard):
            self._now = response.at
            return response
        assert isinstance(response, Lost)
        self._end = Gone() if response.hung_up else Failed(response.reason)
        return None

    def _ended(self) -> Gone | Failed:
        return self._end if self._end is not None else Failed("connection_lost")


def _key_of(reply: Reply) -> str | None:
    """The key of ``200 result=49``: replies give its character code."""
    value = reply.result_int
    if value is None or not 0 < value < 128 or chr(value) not in "0123456789*#ABCD":
        return None
    return chr(value)


def _ms(seconds: float) -> int:
    return int(seconds * 1000 // 1)


def _major(version: str) -> int:
    """The major version of ``22.10.1+dfsg`` or ``certified/18.9-cert1``; 0 when it cannot be told."""
    found = re.search(r"(?:^|/)(\d{1,3})\.", version)
    return int(found.group(1)) if found else 0
