"""What a log says of one call, value by value, each of the type that it ought to have or ``None``.

Exports are made from this and from nothing else: what is not in the log is not in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from ivr_consent.core.decision import Outcome
from ivr_consent.exports.calls import Call, Proof
from ivr_consent.exports.text import flag, items, moment, number, table, text, texts
from ivr_consent.store.records import LoggedEvent

MAX_SEGMENTS: Final = 100
"""Segments of a notice that are looked at; ours have a dozen."""


class Subject(StrEnum):
    """What the log has of the caller."""

    PSEUDONYM = "pseudonym"
    WITHHELD = "withheld"
    ERASED = "erased"
    LEFT_OUT = "left_out"  # it may be in the log; whoever made the export left it out


class Standing(StrEnum):
    """What holds of a call's consent now."""

    GIVEN = "given"
    REFUSED = "refused"
    UNDECIDED = "undecided"  # silence, another key, a hang-up: no consent
    UNKNOWN = "unknown"  # a failure: nobody knows what the caller wanted, and nothing was recorded
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"  # the promised days are over
    VOID = "void"  # written too late, and not used


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of the notice, and how much of it was heard."""

    id: str
    text_sha256: str | None
    audio_sha256: str | None
    samples_played: int | None
    samples_total: int | None
    complete: bool
    times: int | None


@dataclass(frozen=True, slots=True)
class Notice:
    """Which notice was played: published version, language, digests."""

    id: str | None
    version: int | None
    language: str | None
    language_by: str | None
    text_sha256: str | None
    manifest_sha256: str | None
    complete: bool
    times: int | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for one purpose, and what came back."""

    purpose: str
    question_sha256: str | None
    answer: str
    key: str | None
    after_ms: int | None
    timing: str | None
    attempts: int | None
    early_keys: int | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished recording: its file's name, digest and length. ``None`` for what the log does not tell."""

    file: str | None
    sha256: str | None
    size: int | None
    milliseconds: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """One call. Times as they stand in the log; ``None`` for what did not happen or is not in the log."""

    sequence: int
    time: str
    call_id: str
    line: str
    outcome: str
    reason: str | None
    route: str
    subject: str | None
    subject_is: Subject
    switch: str | None
    software: str | None
    configuration_sha256: str | None
    notice: Notice | None
    answers: tuple[Answer, ...]
    purposes_granted: tuple[str, ...]
    retention_days: int | None
    repeats: int | None
    languages_offered: tuple[str, ...]
    asked_at: str | None
    recording: str
    recorded: Recorded | None
    confirmed_at: str | None
    ended_at: str | None
    withdrawn: LoggedEvent | None
    expired: LoggedEvent | None
    void: LoggedEvent | None
    last_sequence: int
    proof: Proof
    readable: bool
    left_out: int

    @property
    def standing(self) -> Standing:
        """What holds of the consent now."""
        if self.outcome != Outcome.GRANTED:
            return _STANDING.get(self.outcome, Standing.UNKNOWN)
        for event, standing in (
            (self.void, Standing.VOID),
            (self.withdrawn, Standing.WITHDRAWN),
            (self.expired, Standing.EXPIRED),
        ):
            if event is not None:
                return standing
        return Standing.GIVEN

    @property
    def decided_at(self) -> datetime | None:
        """When it was decided; ``None`` for a time that is none."""
        return moment(self.time)

    @property
    def due(self) -> datetime | None:
        """When the recording has to be erased; ``None`` while its end is not in the log."""
        ended, days = moment(self.ended_at), self.days
        if ended is None or days is None:
            return None
        try:
            return ended + timedelta(days=days)
        except OverflowError:
            return None

    @property
    def days(self) -> int | None:
        """The days that the caller was told, if they are days that a calendar has."""
        return self.retention_days if self.retention_days is not None and 0 <= self.retention_days < 36_525 else None

    def answered(self, purpose: str) -> Answer | None:
        """The answer for one purpose."""
        return next((answer for answer in self.answers if answer.purpose == purpose), None)

    def purposes(self) -> tuple[str, ...]:
        """Every purpose that was asked for, and any that was granted, each once."""
        return tuple(dict.fromkeys((*(answer.purpose for answer in self.answers), *self.purposes_granted)))


_STANDING: Final = {
    Outcome.DECLINED.value: Standing.REFUSED,
    Outcome.NO_ANSWER.value: Standing.UNDECIDED,
    Outcome.INVALID.value: Standing.UNDECIDED,
    Outcome.ABANDONED.value: Standing.UNDECIDED,
    Outcome.FAILED.value: Standing.UNKNOWN,
}


def facts_of(call: Call, *, personal: bool = True) -> Facts:
    """What the log says of a call; without ``personal`` data nothing that leads to the caller."""
    decision = call.decision
    payload = table(decision.payload)
    of_call = table(payload.get("call"))
    subject = text(of_call.get("subject_ref")) if personal else None
    subject_is = Subject.ERASED if decision.erased else Subject.PSEUDONYM if subject else Subject.WITHHELD
    kinds: dict[str, LoggedEvent] = {}
    for event in call.later:
        kinds.setdefault(
            event.kind, event
        )  # the first of a kind: what a recorder's end says a second time adds nothing
    ended = kinds.get("recording_ended")
    return Facts(
        sequence=decision.sequence,
        time=decision.time,
        call_id=decision.call_id or "",
        line=decision.line or "",
        outcome=decision.outcome or "",
        reason=text(payload.get("reason")),
        route=_route(call),
        subject=subject,
        subject_is=subject_is if personal else Subject.LEFT_OUT,
        switch=text(of_call.get("switch")),
        software=text(of_call.get("software")),
        configuration_sha256=text(of_call.get("configuration_sha256")),
        notice=_notice(payload.get("notice")),
        answers=tuple(_answer(answer) for answer in items(payload.get("answers"))),
        purposes_granted=texts(payload.get("purposes_granted")),
        retention_days=number(payload.get("retention_days")),
        repeats=number(payload.get("repeats")),
        languages_offered=texts(payload.get("languages_offered")),
        asked_at=call.asked.time if call.asked is not None else None,
        recording=call.record.recording,
        recorded=_recorded(ended),
        confirmed_at=_time(kinds.get("recording_confirmed")),
        ended_at=_time(ended),
        withdrawn=kinds.get("withdrawn"),
        expired=kinds.get("recording_expired"),
        void=kinds.get("grant_void"),
        last_sequence=call.later[-1].sequence if call.later else decision.sequence,
        proof=call.proof,
        readable=not call.unreadable,
        left_out=call.left_out,
    )


def _route(call: Call) -> str:
    """Where the call went: as decided, unless a later event changed it."""
    told = (text(event.payload.get("route")) for event in (*reversed(call.later), call.decision))
    return next((route for route in told if route is not None), "unrecorded")


def _time(event: LoggedEvent | None) -> str | None:
    return event.time if event is not None else None


def _notice(value: object) -> Notice | None:
    found = table(value)
    if not found:
        return None
    return Notice(
        text(found.get("id")),
        number(found.get("version")),
        text(found.get("language")),
        text(found.get("language_by")),
        text(found.get("text_sha256")),
        text(found.get("manifest_sha256")),
        flag(found.get("complete")),
        number(found.get("times")),
        tuple(_segment(segment) for segment in items(found.get("segments"), MAX_SEGMENTS)),
    )


def _segment(value: object) -> Segment:
    found = table(value)
    return Segment(
        text(found.get("id")) or "?",
        text(found.get("text_sha256")),
        text(found.get("audio_sha256")),
        number(found.get("samples_played")),
        number(found.get("samples_total")),
        flag(found.get("complete")),
        number(found.get("times")),
    )


def _answer(value: object) -> Answer:
    found = table(value)
    return Answer(
        text(found.get("purpose")) or "?",
        text(found.get("question_sha256")),
        text(found.get("answer")) or "?",
        text(found.get("key")),
        number(found.get("after_ms")),
        text(found.get("timing")),
        number(found.get("attempts")),
        number(found.get("early_keys")),
    )


def _recorded(ended: LoggedEvent | None) -> Recorded | None:
    if ended is None or ended.payload.get("simulated") is True:
        return None
    payload = ended.payload
    return Recorded(
        text(payload.get("file")),
        text(payload.get("sha256")),
        number(payload.get("bytes")),
        number(payload.get("milliseconds")),
    )
