"""The simulated switch: performs the flow's steps in virtual time, with a scripted caller and injected failures.

It behaves as real switches do where that matters for consent:

- a key interrupts a prompt only if the step names it; any other key pressed meanwhile is lost;
- a key is reported when it is *released*: one held across the end of a prompt turns up in the choice window, there
  with a negative ``after_ms``;
- a hang-up ends the step under way, and nothing can be played or recorded afterwards;
- a recorder writes a file from its start until it is stopped.

Nothing sleeps: a call of a minute takes less than a millisecond.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from ivr_consent.core.decision import CallContext, Decision, Grant, Outcome, Reference
from ivr_consent.core.flow import Ending, Plan, consent_flow, refusal_flow
from ivr_consent.core.steps import (
    Answer,
    Answered,
    Ask,
    Decide,
    Destination,
    Failed,
    Gone,
    Granted,
    Logged,
    NotConfirmed,
    Note,
    Play,
    Played,
    Pressed,
    Prompt,
    Record,
    Recording,
    Result,
    Route,
    Routed,
    Step,
    Stopped,
    StopRecording,
    TimedOut,
    Timing,
)
from ivr_consent.pbx.simulated.caller import Action, AtStep, Caller, During, HangUp, InWindow, Place, Press, StepKind

MAX_STEPS: Final = 2000
"""More than any plan can need: a flow that goes round in circles fails here instead of never."""


class DecisionLog(Protocol):
    """The log as a simulated call uses it; :class:`ivr_consent.store.ledger.Ledger` is one."""

    def decide_now(self, decision: Decision) -> Granted | Logged | Failed:
        """Write the decision and wait for the disk."""
        ...

    def note_now(self, call_id: str, line: str, kind: str, details: Any) -> Granted | Logged | Failed:
        """Write a further event and wait for the disk."""
        ...


class Fault(StrEnum):
    """What goes wrong, each at the kinds of step named beside it."""

    NOT_ANSWERED = "not-answered"  # answer
    PROMPT_MISSING = "prompt-missing"  # a prompt: its file cannot be opened
    PROMPT_CUT_SHORT = "prompt-cut-short"  # a prompt: the switch says "played", with half of its samples
    PROMPT_EMPTY = "prompt-empty"  # a prompt: the switch says "played", with none
    CONNECTION_LOST = "connection-lost"  # any: this step and every later one that needs the switch fails
    LOG_REFUSED = "log-refused"  # decide, note: the disk does not take it
    RECORDER_REFUSED = "recorder-refused"  # record: asked for and not there when read back; stopped and removed
    RECORDER_UNCLEAR = "recorder-unclear"  # record: it was started, and then no reply came
    STOP_NOT_CONFIRMED = "stop-not-confirmed"  # stop: the switch still names the recorder
    DIALPLAN_NOT_TOLD = "dialplan-not-told"  # route


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault at a place; ``at_ms`` of the place has no meaning here."""

    place: Place
    fault: Fault


@dataclass(frozen=True, slots=True)
class RecorderCommand:
    """A command to the recorder, as it was sent: ``start`` or ``stop``."""

    at_ms: int
    command: str
    recording_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of the call with its result, in virtual milliseconds since the call came in."""

    began_ms: int
    ended_ms: int
    step: Step
    result: Result


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """Everything that came of a call.

    ``destination`` is where the dialplan goes on: unrecorded unless it was told otherwise. ``running`` and ``files``
    are the recorders and files there are when it does. ``undone`` are actions and injections whose place the call
    never came to. ``events`` is the call as short words, in order: ``play ID``, ``window PURPOSE``, ``press KEY``,
    ``hang up``, ``decide OUTCOME``, ``record``, ``stop``, ``note KIND``, ``route DESTINATION``; ``events_at_ms`` is
    when each came.
    """

    ending: Ending
    journal: tuple[Entry, ...]
    commands: tuple[RecorderCommand, ...]
    running: frozenset[str]
    files: frozenset[str]
    destination: Destination
    elapsed_ms: int
    undone: tuple[Action | Injection, ...]
    events: tuple[str, ...]
    events_at_ms: tuple[int, ...] = ()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Decisions that the log took, a granted one only with its Grant."""
        return tuple(
            entry.step.decision
            for entry in self.journal
            if isinstance(entry.step, Decide) and isinstance(entry.result, Granted | Logged)
        )


@dataclass(frozen=True, slots=True)
class _Key:
    """A key on its way: when it went down and when it comes up."""

    released: int
    pressed: int
    key: str


class SimulatedChannel:
    """One call's channel, its recorder and its caller."""

    def __init__(
        self, plan: Plan | None, caller: Caller, ledger: DecisionLog | None, injections: tuple[Injection, ...] = ()
    ) -> None:
        self.now = 0
        self.commands: list[RecorderCommand] = []
        self.running: set[str] = set()
        self.files: set[str] = set()
        self.destination = Destination.UNRECORDED
        self.undone: list[Action | Injection] = [*caller.actions, *injections]
        self._ledger = ledger
        self._purposes = {
            prompt.id: purpose
            for notice in (plan.notices if plan is not None else ())
            for purpose, prompt in notice.questions.items()
        }
        self._question = ""  # the purpose that was asked last
        self._times: dict[tuple[str, str | None], int] = {}
        self._awaited = frozenset(_where(item.place)[0] for item in self.undone)
        self._keys: list[_Key] = []
        self._hang_up_at: int | None = None
        self._lost = False
        self._events: list[tuple[int, str]] = []

    @property
    def events(self) -> tuple[str, ...]:
        """What has happened so far, as words."""
        return tuple(text for _, text in self.timed_events)

    @property
    def timed_events(self) -> tuple[tuple[int, str], ...]:
        """The same, each behind its time."""
        end = self.now if self._hang_up_at is None else min(self.now, self._hang_up_at)
        # Stable: what begins with a step stands after it. What the caller had still in mind did not happen.
        return tuple(event for event in sorted(self._events, key=lambda event: event[0]) if event[0] <= max(end, 0))

    def perform(self, step: Step) -> Result:
        """Do one step; the virtual clock moves on to its end."""
        result = self.begin(step)
        if result is not None:
            return result
        assert self._ledger is not None
        assert isinstance(step, Decide | Note)
        return _written(self._ledger, step)

    def begin(self, step: Step) -> Result | None:
        """As :meth:`perform`; ``None`` of what the log is to write, which is left to who asks."""
        fault = self._enter(step)
        match step:
            case Decide():
                return self._refused(step) if fault is Fault.LOG_REFUSED else None
            case Note():
                return Logged(durable=False) if fault is Fault.LOG_REFUSED else None
            case _:
                if fault is Fault.CONNECTION_LOST:
                    self._lost = True
                if self._lost:
                    return self._without_switch(step)
                if self._gone_by(self.now):
                    return self._after_hang_up(step)
                return self._with_switch(step, fault)

    # --- places --------------------------------------------------------------------------------

    def _enter(self, step: Step) -> Fault | None:
        """Count the step, start what the caller does in it, and tell what is to fail."""
        duration, word = 0, ""
        here: tuple[tuple[str, str | None], ...]
        match step:
            case Play():
                duration, word = step.prompt.duration_ms, f"play {step.prompt.id}"
                self._question = self._purposes.get(step.prompt.id, self._question)
                here = (("during", step.prompt.id),)
            case Ask():
                duration, word = step.timeout_ms, f"window {self._question}"
                here = (("window", None), ("window", self._question))
            case _:
                kind, word = _kind_of(step)
                here = (("step", kind.value),)
        self._events.append((self.now, word))
        return self._reach(step, here, duration) if self.undone else None

    def _reach(self, step: Step, here: tuple[tuple[str, str | None], ...], duration: int) -> Fault | None:
        """What is to be done or to fail at a place that the call has come to."""
        for one in here:
            self._times[one] = self._times.get(one, 0) + 1
        if self._awaited.isdisjoint(here):
            return None
        fault: Fault | None = None
        for item in list(self.undone):
            key, nth, at_ms = _where(item.place)
            if key not in here or self._times[key] != nth:
                continue
            if isinstance(item, Injection):
                fault = self._suits(item.fault, step)
            else:
                self._begin(item, at_ms, duration)
            self.undone.remove(item)
        return fault

    def _begin(self, action: Action, at_ms: int, duration: int) -> None:
        if not -duration <= at_ms <= duration:
            raise ValueError(f"at_ms = {at_ms} is outside of {action.place}, which lasts {duration} ms")
        at = self.now + (at_ms if at_ms >= 0 else duration + at_ms)
        if isinstance(action.act, Press):
            self._keys.append(_Key(at + action.act.hold_ms, at, action.act.key))
            self._keys.sort(key=lambda key: key.released)
            self._events.append((at, f"press {action.act.key}"))
        elif isinstance(action.act, HangUp):
            self._hang_up_at = at if self._hang_up_at is None else min(at, self._hang_up_at)
            self._events.append((at, "hang up"))

    @staticmethod
    def _suits(fault: Fault, step: Step) -> Fault:
        if fault not in _FAULTS_OF.get(type(step), frozenset({Fault.CONNECTION_LOST})):
            raise ValueError(f"{fault.value!r} cannot happen at {type(step).__name__}")
        return fault

    # --- the log ---------------------------------------------------------------------------------

    @staticmethod
    def _refused(step: Decide) -> Result:
        if step.decision.outcome is Outcome.GRANTED:
            return Failed("log_not_written")
        return Logged(durable=False)

    # --- steps on the switch ---------------------------------------------------------------------

    def _with_switch(self, step: Step, fault: Fault | None) -> Result:
        match step:
            case Play():
                return self._play(step, fault)
            case Ask():
                return self._ask(step)
            case Record():
                return self._record(step, fault)
            case StopRecording():
                self._stop(step.recording_id, works=fault is not Fault.STOP_NOT_CONFIRMED)
                return Failed("stop_not_confirmed") if fault is Fault.STOP_NOT_CONFIRMED else Stopped()
            case Route():
                if fault is Fault.DIALPLAN_NOT_TOLD:
                    return Failed("dialplan_not_told")
                self.destination = step.destination
                return Routed()
            case _:
                return Failed("not_answered") if fault is Fault.NOT_ANSWERED else Answered()

    def _play(self, step: Play, fault: Fault | None) -> Result:
        prompt, began = step.prompt, self.now
        if fault is Fault.PROMPT_MISSING:
            return Failed("prompt_missing")
        total = min(prompt.lengths)
        if fault is Fault.PROMPT_EMPTY:
            return Played(0, 0)
        end = began + prompt.duration_ms
        while (key := self._released_before(end)) is not None:
            if key.key in step.keys:
                self.now = max(began, key.released)
                return Pressed(key.key, _heard(prompt, self.now - began))
        if self._gone_by(end - 1):
            return Gone(_heard(prompt, self.now - began))
        self.now = end
        return Played(total // 2 if fault is Fault.PROMPT_CUT_SHORT else total, end - began)

    def _ask(self, step: Ask) -> Result:
        opened = self.now
        end = opened + step.timeout_ms
        if (key := self._released_before(end)) is not None:
            self.now = max(opened, key.released)
            return Pressed(key.key, 0, key.pressed - opened, Timing.VIRTUAL)
        if self._gone_by(end - 1):
            return Gone()
        self.now = end
        return TimedOut()

    def _record(self, step: Record, fault: Fault | None) -> Result:
        if type(step.grant) is not Grant:
            raise TypeError("the recorder takes a Grant and nothing else")
        recording_id = step.grant.call_id
        self.commands.append(RecorderCommand(self.now, "start", recording_id))
        self.running.add(recording_id)
        self.files.add(f"{recording_id}.raw")
        if fault is Fault.RECORDER_REFUSED:
            self._stop(recording_id, works=True)
            return NotConfirmed("recording_file_missing")
        if fault is Fault.RECORDER_UNCLEAR:
            return Failed("switch_too_slow")
        return Recording("0x1", f"{recording_id}.raw")

    def _stop(self, recording_id: str, *, works: bool) -> None:
        self.commands.append(RecorderCommand(self.now, "stop", recording_id))
        if works:
            self.running.discard(recording_id)
        self.files.discard(f"{recording_id}.raw")

    # --- a switch or caller that is not there any more -------------------------------------------

    def _without_switch(self, step: Step) -> Result:
        if isinstance(step, StopRecording):
            # The dialplan went on when the connection broke, and stopped what ran; its closed file is the witness.
            self.running.discard(step.recording_id)
            self.files.discard(f"{step.recording_id}.raw")
            return Stopped()
        return Failed("connection_lost")

    def _after_hang_up(self, step: Step) -> Result:
        if isinstance(step, StopRecording):
            # As a real switch: the channel is on its way out, but it still answers for its recorder.
            self._stop(step.recording_id, works=True)
            return Stopped()
        return Gone()

    def _released_before(self, end: int) -> _Key | None:
        """The next key that comes up before ``end`` with the caller still there; it is used up."""
        if not self._keys:
            return None
        key = self._keys[0]
        if key.released >= end or (self._hang_up_at is not None and key.released >= self._hang_up_at):
            return None
        return self._keys.pop(0)

    def _gone_by(self, time: int) -> bool:
        """Whether the caller has hung up by then; if so, the clock stands at that moment."""
        if self._hang_up_at is None or self._hang_up_at > time:
            return False
        self.now = max(self.now, self._hang_up_at)
        return True


def run_call(
    plan: Plan | str,
    call: CallContext,
    caller: Caller,
    ledger: DecisionLog,
    injections: tuple[Injection, ...] = (),
    reference: Reference | None = None,
) -> SimulatedCall:
    """One whole call. A text instead of a plan is the reason why the line cannot be asked on."""
    writing = play_call(plan, call, caller, injections, reference)
    try:
        step = next(writing)
        while True:
            step = writing.send(_written(ledger, step))
    except StopIteration as end:
        done = end.value
        assert isinstance(done, SimulatedCall)
        return done


def _written(ledger: DecisionLog, step: Decide | Note) -> Granted | Logged | Failed:
    if isinstance(step, Decide):
        return ledger.decide_now(step.decision)
    return ledger.note_now(step.call.call_id, step.call.line, step.kind, step.details)


def play_call(
    plan: Plan | str,
    call: CallContext,
    caller: Caller,
    injections: tuple[Injection, ...] = (),
    reference: Reference | None = None,
) -> Generator[Decide | Note, Granted | Logged | Failed, SimulatedCall]:
    """One whole call that asks for what the log is to write: so many calls can share its commits."""
    channel = SimulatedChannel(None if isinstance(plan, str) else plan, caller, None, injections)
    flow = refusal_flow(call, plan) if isinstance(plan, str) else consent_flow(plan, call, reference)
    journal: list[Entry] = []
    result: Result | None = None
    while len(journal) < MAX_STEPS:
        try:
            step = next(flow) if result is None else flow.send(result)
        except StopIteration as end:
            timed = channel.timed_events
            return SimulatedCall(
                end.value,
                tuple(journal),
                tuple(channel.commands),
                frozenset(channel.running),
                frozenset(channel.files),
                channel.destination,
                channel.now,
                tuple(channel.undone),
                tuple(text for _, text in timed),
                tuple(at for at, _ in timed),
            )
        began = channel.now
        result = channel.begin(step)
        if result is None:
            assert isinstance(step, Decide | Note)
            result = yield step
        journal.append(Entry(began, channel.now, step, result))
    raise RuntimeError(f"the flow did not end within {MAX_STEPS} steps")


_FAULTS_OF: Final[dict[type, frozenset[Fault]]] = {
    Answer: frozenset({Fault.NOT_ANSWERED, Fault.CONNECTION_LOST}),
    Play: frozenset({Fault.PROMPT_MISSING, Fault.PROMPT_CUT_SHORT, Fault.PROMPT_EMPTY, Fault.CONNECTION_LOST}),
    Decide: frozenset({Fault.LOG_REFUSED}),
    Note: frozenset({Fault.LOG_REFUSED}),
    Record: frozenset({Fault.RECORDER_REFUSED, Fault.RECORDER_UNCLEAR, Fault.CONNECTION_LOST}),
    StopRecording: frozenset({Fault.STOP_NOT_CONFIRMED, Fault.CONNECTION_LOST}),
    Route: frozenset({Fault.DIALPLAN_NOT_TOLD, Fault.CONNECTION_LOST}),
}


def _kind_of(step: Step) -> tuple[StepKind, str]:
    match step:
        case Decide():
            return StepKind.DECIDE, f"decide {step.decision.outcome.value}"
        case Record():
            return StepKind.RECORD, "record"
        case StopRecording():
            return StepKind.STOP, "stop"
        case Note():
            return StepKind.NOTE, f"note {step.kind}"
        case Route():
            return StepKind.ROUTE, f"route {step.destination.value}"
        case _:
            return StepKind.ANSWER, "answer"


def _where(place: Place) -> tuple[tuple[str, str | None], int, int]:
    match place:
        case During():
            return ("during", place.prompt), place.nth, place.at_ms
        case InWindow():
            return ("window", place.question), place.nth, place.at_ms
        case AtStep():
            return ("step", place.step.value), place.nth, 0


def _heard(prompt: Prompt, elapsed_ms: int) -> int:
    return min(prompt.lengths) * elapsed_ms // prompt.duration_ms if prompt.duration_ms else 0
