"""Logs for tests of exports: every way that a call ends, at times that a test says, with a published notice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ivr_consent.core.decision import Answer, CallContext, Decision, NoticeEvidence, Outcome, SegmentEvidence
from ivr_consent.core.notice import text_sha256
from ivr_consent.exports.calls import Calls, Selection
from ivr_consent.exports.facts import Facts, facts_of
from ivr_consent.manifest import Manifest, SpokenPrompt
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place, place_of
from ivr_consent.testing.plans import call_context
from tests.sites import SmallSite

BEGIN = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
PSEUDONYM = "00112233445566778899aabbccddeeff"
REASONS = {
    Outcome.GRANTED: "yes_key",
    Outcome.DECLINED: "no_key",
    Outcome.NO_ANSWER: "silence",
    Outcome.INVALID: "other_key",
    Outcome.ABANDONED: "hung_up_informing",
    Outcome.FAILED: "prompt_not_whole",
}


@dataclass
class Book:
    """A log, and the clock that it goes by."""

    ledger: Ledger
    manifest: Manifest
    now: datetime = BEGIN
    calls: dict[str, str] = field(default_factory=dict)
    """Ids of calls by the names that the test gave them."""

    def later(self, **span: float) -> None:
        """Some time passes."""
        self.now += timedelta(**span)

    def call(self, name: str, outcome: Outcome = Outcome.GRANTED, *, asked: bool = True, **more: Any) -> str:
        """One call is decided; ``more`` as :func:`decision`."""
        context = call_context(line=self.manifest.line, subject_ref=more.pop("subject", PSEUDONYM))
        self.calls[name] = context.call_id
        if asked:
            self.note(name, "asked", {"languages": "en"})
            self.later(seconds=80)
        self.ledger.decide_now(decision(context, outcome, self.manifest, **more))
        return context.call_id

    def note(self, name: str, kind: str, details: Mapping[str, Any]) -> None:
        """Something follows."""
        self.ledger.note_now(self.calls[name], self.manifest.line, kind, details)

    def recorded(self, name: str, milliseconds: int = 61_250) -> str:
        """The recorder runs and ends; the recording's digest."""
        call_id = self.calls[name]
        self.note(name, "recording_confirmed", {"handle": "0x1", "file": f"{call_id}.raw"})
        self.note(name, "routed", {"route": "recorded"})
        self.later(milliseconds=milliseconds)
        sha256 = hashlib.sha256(call_id.encode()).hexdigest()
        details = {"file": f"{call_id}.wav", "milliseconds": milliseconds, "bytes": 1000, "sha256": sha256}
        self.note(name, "recording_ended", {**details, "route": "recorded"})
        return sha256


def decision(
    call: CallContext,
    outcome: Outcome,
    manifest: Manifest | None,
    *,
    language: str = "en",
    heard: int | None = None,
    answers: Mapping[str, str] | None = None,
    after_ms: int | None = 1250,
    reason: str | None = None,
    days: int = 30,
) -> Decision:
    """A decision as the flow makes it. ``heard``: segments to the end, all without; ``answers`` by purpose."""
    purposes = manifest.purposes if manifest is not None else ("training",)
    if answers is None:
        answers = dict.fromkeys(purposes, outcome.value if outcome is not Outcome.ABANDONED else "not_asked")
    granted = tuple(purpose for purpose, answer in answers.items() if answer == "granted")
    return Decision(
        call,
        outcome,
        reason or REASONS[outcome],
        "recorded" if outcome is Outcome.GRANTED else "unrecorded",
        evidence(manifest, language, heard) if manifest is not None else None,
        tuple(_answer(manifest, language, *item, after_ms) for item in answers.items()),
        granted if outcome is Outcome.GRANTED else (),
        days,
        0,
        ("en", "da"),
        recording_id=call.call_id if outcome is Outcome.GRANTED else None,
    )


def evidence(manifest: Manifest, language: str, heard: int | None) -> NoticeEvidence:
    """What was played of a published notice."""
    (spoken,) = (one for one in manifest.languages if one.language == language)
    prompts = (*spoken.information, *spoken.questions.values())
    whole = len(prompts) if heard is None else heard
    return NoticeEvidence(
        manifest.notice,
        manifest.version,
        language,
        spoken.text_sha256(),
        manifest.sha256,
        tuple(_segment(prompt, at < whole, at <= whole) for at, prompt in enumerate(prompts)),
        whole >= len(spoken.information),
        1 if whole >= len(spoken.information) else 0,
        "first",
    )


def _segment(prompt: SpokenPrompt, complete: bool, begun: bool) -> SegmentEvidence:
    total = prompt.audio.samples
    played = total if complete else total // 2 if begun else 0
    return SegmentEvidence(
        prompt.id,
        prompt.audio.text_sha256,
        prompt.audio.sha256,
        prompt.elements,
        played,
        total,
        complete,
        1 if begun else 0,
    )


def _answer(manifest: Manifest | None, language: str, purpose: str, answer: str, after_ms: int | None) -> Answer:
    text = f"question for {purpose}"
    if manifest is not None:
        (spoken,) = (one for one in manifest.languages if one.language == language)
        text = spoken.questions[purpose].text
    key = {"granted": "1", "declined": "2"}.get(answer)
    pressed = key is not None and after_ms is not None
    return Answer(
        purpose,
        text_sha256(text),
        answer,
        key,
        after_ms if pressed else None,
        "manager" if pressed else None,
        0 if answer == "not_asked" else 1,
        0,
    )


@contextmanager
def book(site: SmallSite, manifest: Manifest) -> Iterator[Book]:
    """The log of a site, open for a while."""
    made: list[Book] = []
    ledger = Ledger(place_of(site.settings), clock=lambda: made[0].now if made else BEGIN)
    made.append(Book(ledger, manifest))
    try:
        yield made[0]
    finally:
        ledger.close()


def every_way(page: Book) -> None:
    """Calls of every kind, by name."""
    page.call("kept")
    page.recorded("kept")
    page.later(minutes=3)
    page.call("refused", Outcome.DECLINED, subject=None)
    page.call("silent", Outcome.NO_ANSWER)
    page.call("other-key", Outcome.INVALID)
    page.call("hung-up", Outcome.ABANDONED, heard=2)
    page.call("failed", Outcome.FAILED, asked=False, answers={}, heard=0)
    page.later(hours=1)
    page.call("withdrawn")
    page.recorded("withdrawn")
    page.later(days=1)
    page.note("withdrawn", "withdrawn", {"reason": "by_administrator", "erased": True, "route": "recorded"})
    page.call("expired", language="da")
    page.recorded("expired")
    page.later(days=30)
    page.note("expired", "recording_expired", {"reason": "retention_over", "retention_days": 30, "erased": True})
    page.call("void")
    page.note("void", "grant_void", {"reason": "log_too_slow", "route": "unrecorded"})
    page.call("running")
    page.note("running", "recording_confirmed", {"handle": "0x2", "file": "x.raw"})


def facts(place: Place | Path, chosen: Selection | None = None) -> list[Facts]:
    """What a log says of its calls."""
    with Calls(place if isinstance(place, Place) else Place(place)) as calls:
        return [facts_of(call) for call in calls.stream(chosen or Selection())]


def by_name(page: Book, found: list[Facts]) -> dict[str, Facts]:
    """The same by the names of the calls."""
    names = {call_id: name for name, call_id in page.calls.items()}
    return {names[call.call_id]: call for call in found}


def poisoned(call: Facts, attack: str) -> Facts:
    """The same call with an attack in the place of every text."""

    def poison(value: Any) -> Any:
        if isinstance(value, str):
            return attack
        if isinstance(value, tuple):
            return tuple(poison(item) for item in value)
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{one.name: poison(getattr(value, one.name)) for one in fields(value)})
        return value

    kept = {"outcome", "subject_is", "withdrawn", "expired", "void"}
    poisons = {one.name: poison(getattr(call, one.name)) for one in fields(call) if one.name not in kept}
    return replace(call, **poisons)
