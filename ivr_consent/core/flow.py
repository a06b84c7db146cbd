"""The call, as a generator: it yields steps, receives results, and ends with one decision logged and one route told.

It reads like the call: answer, inform, ask, decide, record, tell, route. Any result that is not the expected one leads,
by the transition table, to the unrecorded line. The rules it keeps are the invariants I1 to I4 of docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from ivr_consent.core.decision import Answer as AnswerEvidence
from ivr_consent.core.decision import (
    CallContext,
    Decision,
    Grant,
    NoticeEvidence,
    Outcome,
    Reference,
    heard_of,
)
from ivr_consent.core.notice import DIGITS, ELEMENTS, REFERENCE
from ivr_consent.core.states import Event, State, advance
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


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a line, one character each; ``language`` is ``None`` on a line with one language."""

    yes: str
    no: str
    repeat: str
    long: str
    language: str | None


@dataclass(frozen=True, slots=True)
class SpokenNotice:
    """A notice in one language with its audio, for one line."""

    id: str
    version: int
    language: str
    text_sha256: str
    manifest_sha256: str
    information: tuple[Prompt, ...]
    questions: Mapping[str, Prompt] = field(hash=False)
    long: tuple[Prompt, ...]
    results: Mapping[str, Prompt] = field(hash=False)

    def prompts(self) -> tuple[Prompt, ...]:
        """Every prompt of the notice, in the order of playing."""
        return (*self.information, *self.questions.values(), *self.long, *self.results.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """How one call on one line goes. The first of ``notices`` is in the language that the call begins with, chosen by
    ``language_by`` (see :class:`~ivr_consent.core.decision.NoticeEvidence`).

    ``repeats`` bounds, each for itself, further openings of one question's window, replays of the notice, and
    playings of the long version. A ``trial`` plays a draft to who wrote it: nothing is logged and nothing recorded,
    whatever is pressed.
    """

    keys: Keys
    notices: tuple[SpokenNotice, ...]
    purposes: tuple[str, ...]
    timeout_ms: int
    guard_ms: int
    repeats: int
    retention_days: int
    trial: bool = False
    language_by: str = "first"


@dataclass(frozen=True, slots=True)
class Ending:
    """How the call ended for us: the decision, whether it is on disk, and where the dialplan was told to go."""

    outcome: Outcome
    reason: str
    route: Destination
    logged: bool
    recording_id: str | None


class _End(Exception):
    """The choice has come to an end without a grant."""

    def __init__(self, event: Event, outcome: Outcome, reason: str) -> None:
        self.event, self.outcome, self.reason = event, outcome, reason


class _SwitchLanguage(Exception):
    """The caller asked for the next language: the notice begins again in it."""


@dataclass(slots=True)
class _Heard:
    """How far a prompt was heard."""

    prompt: Prompt
    samples: int = 0
    total: int = 0
    complete: bool = False
    times: int = 0


@dataclass(slots=True)
class _Question:
    """What has come of one purpose's question so far; ``answer`` is ``None`` while it is open."""

    asked: Prompt | None = None  # in the language that it was asked in last
    answer: str | None = None
    key: str | None = None
    after_ms: int | None = None
    timing: str | None = None
    attempts: int = 0
    early_keys: int = 0
    unclear: str = "silence"


Steps = Generator[Step, Result, None]


def consent_flow(plan: Plan, call: CallContext, reference: Reference | None = None) -> Generator[Step, Result, Ending]:
    """One call on one line, from answering to the told route. Send it the result of each yielded step.

    ``reference``: what the caller is told on request once consent is given.
    """
    return (yield from _Flow(plan, call, reference).run())


def failed_decision(call: CallContext, reason: str) -> Decision:
    """The decision of a call that was not asked anything."""
    return Decision(
        call, Outcome.FAILED, reason, Destination.UNRECORDED.value, None, (), (), None, 0, (), recording_id=None
    )


def refusal_flow(call: CallContext, reason: str) -> Generator[Step, Result, Ending]:
    """A call that cannot be asked (unknown line, incomplete notice): logged as failed, told the unrecorded route."""
    logged = yield Decide(failed_decision(call, reason))
    yield Route(Destination.UNRECORDED, Outcome.FAILED.value, reason)
    on_disk = isinstance(logged, Logged) and logged.durable
    return Ending(Outcome.FAILED, reason, Destination.UNRECORDED, on_disk, None)


class _Flow:
    """The state of one call: where it stands, what was heard, what was answered."""

    def __init__(self, plan: Plan, call: CallContext, reference: Reference | None) -> None:
        self.plan, self.call, self.reference = plan, call, reference
        self.state = State.RINGING
        self.turn = 0  # which of plan.notices is spoken
        self.heard: dict[tuple[str, str], _Heard] = {}
        self.questions: dict[str, _Question] = {purpose: _Question() for purpose in plan.purposes}
        self.passes = 0  # whole playings of the notice in this language
        self.replays = 0
        self.explained = 0
        self.switches = 0

    @property
    def notice(self) -> SpokenNotice:
        return self.plan.notices[self.turn % len(self.plan.notices)]

    def go(self, event: Event) -> None:
        self.state = advance(self.state, event)

    # --- the call ----------------------------------------------------------------------------------------------------

    def run(self) -> Generator[Step, Result, Ending]:
        try:
            yield from self.answer()
            while True:
                try:
                    yield from self.inform()
                    yield from self.ask_all()
                    break
                except _SwitchLanguage:
                    self.switch_language()
        except _End as end:
            self.go(end.event)
            return (yield from self.refuse(end.outcome, end.reason))
        return (yield from self.grant())

    def answer(self) -> Steps:
        result = yield Answer()
        if not isinstance(result, Answered):
            raise self.broken(result)
        self.go(Event.ANSWERED)
        if not self.plan.trial:
            # So that a call whose process dies before its decision can be told from one that never was (R7). What
            # becomes of this line changes nothing: without a log there is no grant later on.
            yield Note(self.call, "asked", {"languages": ", ".join(n.language for n in self.plan.notices)})

    def inform(self) -> Steps:
        """The notice, segment by segment. Only "no" and the language key interrupt it; a yes now means nothing."""
        for prompt in self.notice.information:
            key = yield from self.play(prompt, self.interrupts())
            if key == self.plan.keys.no:
                self.decline_all()
                raise _End(Event.NO, Outcome.DECLINED, "no_key_during_notice")
            if key is not None:
                raise _SwitchLanguage
        self.passes += 1
        self.go(Event.INFORMED)

    def ask_all(self) -> Steps:
        """One question after the other, one key press per purpose (R4)."""
        last: _Question | None = None
        for purpose, question in self.questions.items():
            if question.answer is not None:
                continue  # a "no" is not asked again, also not in another language
            yield from self.ask(purpose, question)
            last = question
            if self.questions[purpose].answer in ("no_answer", "invalid"):
                break  # who does not answer one question is not held up with the next
            if any(other.answer is None for other in self.questions.values()):
                self.go(Event.NEXT_QUESTION)
        if self.granted():
            self.go(Event.SETTLED)
            return
        if any(question.answer == "declined" for question in self.questions.values()):
            raise _End(Event.NO, Outcome.DECLINED, "no_key")
        if last is None or last.unclear == "silence":
            raise _End(Event.EXHAUSTED, Outcome.NO_ANSWER, "silence")
        raise _End(Event.EXHAUSTED, Outcome.INVALID, last.unclear)

    def ask(self, purpose: str, question: _Question) -> Steps:
        """One purpose: its question, then its window, until an answer or no attempt is left."""
        while question.answer is None:
            question.asked = self.notice.questions[purpose]
            key = yield from self.play(question.asked, self.interrupts())
            if key == self.plan.keys.no:
                question.answer, question.key = "declined", key
                return
            if key is not None:
                raise _SwitchLanguage
            self.go(Event.QUESTIONED)
            yield from self.choose(question)

    def choose(self, question: _Question) -> Steps:
        """Open the window once. Leaves the question answered, or the call questioning again."""
        keys = self.plan.keys
        question.attempts += 1
        result = yield Ask(self.plan.timeout_ms, self.plan.guard_ms)
        if isinstance(result, TimedOut):
            yield from self.unclear(question, "silence", "again")
        elif not isinstance(result, Pressed):
            raise self.broken(result)
        elif result.key == keys.no:
            question.answer, question.key = "declined", result.key
            question.after_ms, question.timing = result.after_ms, result.timing.value
        elif result.key == keys.yes and result.after_ms >= 0 and result.timing is not Timing.UNPROVEN:
            question.answer, question.key = "granted", result.key
            question.after_ms, question.timing = result.after_ms, result.timing.value
        elif result.key == keys.yes:
            # Held since before the question ended, or nobody can tell: it answers nothing that was heard.
            question.early_keys += 1
            yield from self.unclear(question, "early_key", "early")
        elif result.key == keys.repeat and self.replays < self.plan.repeats:
            self.replays += 1
            question.attempts -= 1
            self.go(Event.REPEAT)
            yield from self.inform()
        elif result.key == keys.long and self.notice.long and self.explained < self.plan.repeats:
            self.explained += 1
            question.attempts -= 1
            self.go(Event.LONGER)
            yield from self.explain()
        elif result.key == keys.language and self.may_switch():
            question.attempts -= 1
            raise _SwitchLanguage
        else:
            yield from self.unclear(question, "other_key", "again")

    def unclear(self, question: _Question, reason: str, say: str) -> Steps:
        """Silence, another key or an early one: ask again while attempts are left, else the question stays open."""
        question.unclear = reason
        if question.attempts > self.plan.repeats:
            question.answer = "no_answer" if reason == "silence" else "invalid"
            return
        self.go(Event.UNCLEAR)
        key = yield from self.play(self.notice.results[say], self.interrupts())
        if key == self.plan.keys.no:
            question.answer, question.key = "declined", key
        elif key is not None:
            raise _SwitchLanguage

    def explain(self) -> Steps:
        """The long version: a second layer, so it may be skipped; "no" counts in it as everywhere."""
        keys = self.plan.keys
        for prompt in self.notice.long:
            key = yield from self.play(prompt, frozenset({keys.no, keys.long}))
            if key == keys.no:
                self.decline_all()
                raise _End(Event.NO, Outcome.DECLINED, "no_key")
            if key is not None:
                break
        self.go(Event.EXPLAINED)

    # --- after the choice --------------------------------------------------------------------------------------------

    def grant(self) -> Generator[Step, Result, Ending]:
        """Disk first, then the recorder, then the switch's word that it runs, then the caller is told."""
        purposes = self.granted()
        if not self.may_grant(purposes):  # a second lock on I2: the table above should never let this happen
            self.go(Event.FAILED)
            return (yield from self.refuse(Outcome.FAILED, "notice_not_complete"))
        if self.plan.trial:  # no decision, hence no Grant, hence no recorder
            self.go(Event.FAILED)
            return (yield from self.refuse(Outcome.GRANTED, "yes_key"))
        decision = self.decision(Outcome.GRANTED, "yes_key", purposes)
        result = yield Decide(decision)
        if not isinstance(result, Granted) or not self.proves(result.grant, purposes):
            self.go(Event.FAILED)
            reason = result.reason if isinstance(result, Failed) else "log_not_written"
            return (yield from self.refuse(Outcome.FAILED, reason))
        self.go(Event.GRANTED)
        return (yield from self.record(result.grant))

    def record(self, grant: Grant) -> Generator[Step, Result, Ending]:
        result = yield Record(grant)
        if isinstance(result, NotConfirmed):
            details: dict[str, str | int | bool | None] = {
                "reason": result.reason,
                "stop_confirmed": result.stopped,
                "route": Destination.UNRECORDED.value,
            }
            yield Note(self.call, "recording_not_confirmed", details)
            self.go(Event.NOT_CONFIRMED)
            return (yield from self.tell_and_route_unrecorded(Outcome.FAILED, result.reason, logged=True))
        if not isinstance(result, Recording):
            return (yield from self.revoke(*self.interrupted(result, "while_recorder_started")))
        noted = yield Note(self.call, "recording_confirmed", {"handle": result.handle, "file": result.file})
        if not (isinstance(noted, Logged) and noted.durable):
            return (yield from self.revoke(Event.FAILED, "recording_stopped", Outcome.FAILED, "log_not_written"))
        self.go(Event.CONFIRMED)
        told = yield from self.tell_granted()
        if isinstance(told, Pressed) and told.key == self.plan.keys.no:
            return (yield from self.revoke(Event.NO, "withdrawn", Outcome.DECLINED, "no_key_after_grant"))
        if not isinstance(told, Played):
            return (yield from self.revoke(*self.interrupted(told, "while_result_was_told")))
        self.go(Event.TOLD)
        routed = yield Route(Destination.RECORDED, Outcome.GRANTED.value, "yes_key")
        if not isinstance(routed, Routed):
            return (yield from self.revoke(*self.interrupted(routed, "while_routed")))
        self.go(Event.ROUTED)
        yield Note(self.call, "routed", {"route": Destination.RECORDED.value})
        return Ending(Outcome.GRANTED, "yes_key", Destination.RECORDED, True, self.call.call_id)

    def tell_granted(self) -> Generator[Step, Result, Result]:
        """The result, and on request the reference code; what ended it. Asked for once too often, the call goes on."""
        keys, results = self.plan.keys, self.notice.results
        reference = self.reference if REFERENCE in results else None
        interrupts = frozenset({keys.no, keys.repeat} if reference is not None else {keys.no})
        told = yield Play(results["granted"], interrupts)
        for left in range(self.plan.repeats, -2, -1):
            if reference is None or not isinstance(told, Pressed) or told.key != keys.repeat:
                break
            if left < 0:
                return Played(told.samples, 0)
            for name in (REFERENCE, *(DIGITS[int(digit)] for digit in reference.code)):
                told = yield Play(results[name], interrupts)
                if not isinstance(told, Played):
                    break
        return told

    def interrupted(self, result: Result, when: str) -> tuple[Event, str, Outcome, str]:
        if isinstance(result, Gone):
            return Event.GONE, "recording_stopped", Outcome.ABANDONED, f"hung_up_{when}"
        reason = result.reason if isinstance(result, Failed) else f"failed_{when}"
        return Event.FAILED, "recording_stopped", Outcome.FAILED, reason

    def revoke(self, event: Event, kind: str, outcome: Outcome, reason: str) -> Generator[Step, Result, Ending]:
        """A recorder that was started must not run on: stop it, read that back, say so in the log."""
        self.go(event)
        stopped = yield StopRecording(self.call.call_id)
        confirmed = isinstance(stopped, Stopped)
        details: dict[str, str | int | bool | None] = {
            "reason": reason,
            "stop_confirmed": confirmed,
            "stop_problem": stopped.reason if isinstance(stopped, Failed) else None,
            "route": Destination.UNRECORDED.value,
        }
        yield Note(self.call, kind, details)
        self.go(Event.STOPPED if confirmed else Event.GONE if isinstance(stopped, Gone) else Event.FAILED)
        if event is Event.GONE and self.state is not State.UNRECORDED:
            self.go(Event.GONE)  # there is nobody left to tell, and nothing left to route
        if self.state is State.UNRECORDED:
            return Ending(outcome, reason, Destination.UNRECORDED, True, None)
        return (yield from self.tell_and_route_unrecorded(outcome, reason, logged=True))

    def refuse(self, outcome: Outcome, reason: str) -> Generator[Step, Result, Ending]:
        """Any end without a grant: logged, told, routed to the unrecorded line."""
        logged = False
        if not self.plan.trial:
            result = yield Decide(self.decision(outcome, reason, ()))
            logged = isinstance(result, Logged) and result.durable
        self.go(Event.LOGGED if logged else Event.FAILED)
        if outcome is Outcome.ABANDONED:
            self.go(Event.GONE)
            return Ending(outcome, reason, Destination.UNRECORDED, logged, None)
        return (yield from self.tell_and_route_unrecorded(outcome, reason, logged=logged))

    def tell_and_route_unrecorded(
        self, outcome: Outcome, reason: str, *, logged: bool
    ) -> Generator[Step, Result, Ending]:
        ending = Ending(outcome, reason, Destination.UNRECORDED, logged, None)
        # Telling is a courtesy here: whatever becomes of it, the caller goes on to the unrecorded line.
        say = outcome.value if outcome in (Outcome.DECLINED, Outcome.GRANTED) else "unrecorded"  # granted: a trial's
        told = yield Play(self.notice.results[say], frozenset())
        if isinstance(told, Gone):
            self.go(Event.GONE)
            return ending
        routed = yield Route(Destination.UNRECORDED, "trial" if self.plan.trial else outcome.value, reason)
        event = Event.ROUTED if isinstance(routed, Routed) else Event.GONE if isinstance(routed, Gone) else Event.FAILED
        self.go(event)
        return ending

    # --- small parts -------------------------------------------------------------------------------------------------

    def play(self, prompt: Prompt, keys: frozenset[str]) -> Generator[Step, Result, str | None]:
        """Play one prompt: ``None`` when it was heard to its end, else the key that interrupted it."""
        heard = self.heard.setdefault((self.notice.language, prompt.id), _Heard(prompt))
        heard.times += 1
        heard.complete = False
        result = yield Play(prompt, keys)
        if isinstance(result, Played):
            if result.samples <= 0 or result.samples not in prompt.lengths:
                raise _End(Event.FAILED, Outcome.FAILED, "prompt_not_whole")
            heard.samples = heard.total = result.samples
            heard.complete = True
            return None
        heard.total = min(prompt.lengths, default=0)
        if isinstance(result, Pressed) and result.key in keys:
            heard.samples = result.samples
            return result.key
        if isinstance(result, Gone):
            heard.samples = result.samples
        raise self.broken(result)

    def broken(self, result: Result) -> _End:
        """The end that a hang-up, a failure or an impossible result makes of a call that is not decided."""
        if isinstance(result, Gone):
            return _End(Event.GONE, Outcome.ABANDONED, f"hung_up_{self.state.value.lower()}")
        if isinstance(result, Failed):
            return _End(Event.FAILED, Outcome.FAILED, result.reason)
        return _End(Event.FAILED, Outcome.FAILED, "unexpected_result")

    def interrupts(self) -> frozenset[str]:
        keys = self.plan.keys
        return frozenset({keys.no, keys.language} if keys.language and self.may_switch() else {keys.no})

    def may_switch(self) -> bool:
        # Each language twice is enough to find one's own; then the key is a wrong key like any other.
        return len(self.plan.notices) > 1 and self.switches < 2 * len(self.plan.notices)

    def switch_language(self) -> None:
        """The proof starts anew: a yes given in another language is asked again, a no is kept."""
        self.turn += 1
        self.switches += 1
        self.passes = 0
        for question in self.questions.values():
            if question.answer != "declined":
                question.answer = question.key = question.after_ms = question.timing = None
        self.go(Event.SWITCHED)

    def decline_all(self) -> None:
        for question in self.questions.values():
            question.answer, question.key = "declined", self.plan.keys.no
            question.after_ms = question.timing = None

    def granted(self) -> tuple[str, ...]:
        return tuple(purpose for purpose, question in self.questions.items() if question.answer == "granted")

    def may_grant(self, purposes: tuple[str, ...]) -> bool:
        """I2: all twelve elements, every segment and each purpose's question, heard to the end in this language."""
        needed = [*self.notice.information, *(self.notice.questions[purpose] for purpose in purposes)]
        language = self.notice.language
        said = {number for prompt in needed for number in prompt.elements}
        return (
            bool(purposes)
            and said >= ELEMENTS.keys()
            and all(
                (heard := self.heard.get((language, prompt.id))) is not None
                and heard.complete
                and heard.samples == heard.total > 0
                for prompt in needed
            )
        )

    def proves(self, grant: Grant, purposes: tuple[str, ...]) -> bool:
        """Whether it is the proof of this very call: another call's grant must not start our recorder."""
        return grant.call_id == self.call.call_id and grant.purposes == purposes

    def decision(self, outcome: Outcome, reason: str, purposes: tuple[str, ...]) -> Decision:
        granted = outcome is Outcome.GRANTED
        return Decision(
            call=self.call,
            outcome=outcome,
            reason=reason,
            route=(Destination.RECORDED if granted else Destination.UNRECORDED).value,
            notice=self.notice_evidence(),
            answers=tuple(self.answer_evidence(purpose, q) for purpose, q in self.questions.items()),
            purposes_granted=purposes,
            retention_days=self.plan.retention_days,
            repeats=self.replays,
            languages_offered=tuple(notice.language for notice in self.plan.notices),
            recording_id=self.call.call_id if granted else None,
            reference_ref=self.reference.ref if granted and self.reference is not None else None,
        )

    def notice_evidence(self) -> NoticeEvidence:
        notice = self.notice
        asked = [notice.questions[purpose] for purpose in self.questions]
        segments = []
        for prompt in (*notice.information, *asked):
            heard = self.heard.get((notice.language, prompt.id), _Heard(prompt, total=min(prompt.lengths, default=0)))
            segments.append(
                heard_of(
                    prompt.id,
                    prompt.text_sha256,
                    prompt.audio_sha256,
                    prompt.elements,
                    heard.samples,
                    heard.total,
                    heard.complete,
                    heard.times,
                )
            )
        complete = all(segment.complete for segment in segments[: len(notice.information)])
        return NoticeEvidence(
            notice.id,
            notice.version,
            notice.language,
            notice.text_sha256,
            notice.manifest_sha256,
            tuple(segments),
            complete,
            self.passes,
            "key" if self.switches else self.plan.language_by,
        )

    def answer_evidence(self, purpose: str, question: _Question) -> AnswerEvidence:
        return AnswerEvidence(
            purpose,
            (question.asked or self.notice.questions[purpose]).text_sha256,
            question.answer or ("not_asked" if question.asked is None else "unanswered"),
            question.key,
            question.after_ms,
            question.timing,
            question.attempts,
            question.early_keys,
        )
