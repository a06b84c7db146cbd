"""The evidence of one call, or of one event, for a reader: what happened, and by what it is held in the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ivr_consent.cli.log.told import (
    Refused,
    call_as_json,
    event_as_json,
    event_with_call,
    listed,
    shown_time,
    table,
)
from ivr_consent.cli.terminal import print_table, say
from ivr_consent.core.errors import ConsentError

if TYPE_CHECKING:
    from ivr_consent.store.merged import Reader
    from ivr_consent.store.reader import CallRecord, LedgerReader, LoggedEvent, Seal

MAX_VALUE: Final = 300
"""Characters of a value that are shown; the JSON has all."""

ERASED: Final = "erased"


@dataclass(frozen=True, slots=True)
class Shown:
    """One call, or one event: all its events in order, and the seal of each. ``record`` is ``None`` without a decision.

    ``only``: one event was asked for; ``gone``: what is said where it was pruned.
    """

    call_id: str | None
    events: tuple[LoggedEvent, ...]
    seals: tuple[Seal, ...]
    record: CallRecord | None = None
    only: bool = False
    gone: str | None = None

    @property
    def refused(self) -> Refused:
        """Which of the events were not written by us."""
        found = Refused()
        for event in self.events:
            found.look_at(event)
        return found

    @property
    def before(self) -> tuple[LoggedEvent, ...]:
        """What came before the decision."""
        if self.record is None:
            return self.events
        return tuple(event for event in self.events if event.sequence < self.record.decision.sequence)

    def as_json(self) -> dict[str, Any]:
        """Payloads exactly as they stand in the log."""
        proof = [_seal_as_json(seal) for seal in self.seals]
        if self.record is not None:
            before = [event_as_json(event) for event in self.before]
            return {**call_as_json(self.record), "before": before, "proof": proof}
        return {"call_id": self.call_id, "events": [event_with_call(event) for event in self.events], "proof": proof}

    def say(self) -> None:
        """Print it for a reader."""
        if self.record is not None:
            _say_record(self.record)
        elif self.gone is not None:
            say(self.gone)
        elif not self.only:
            say(f"call {self.call_id} has no decision in the log")
        _say_events("asked before:" if self.record is not None else "events:", self.before)
        if self.record is not None:
            _say_events("afterwards:", self.record.later)
        _say_seals(self.seals)


def call(reader: Reader, call_id: str) -> Shown:
    """A call by its id, or the beginning of it. Raises :class:`ConsentError` where there is none, or more than one."""
    record = reader.call(call_id)
    events = reader.history((record.call_id if record is not None else "") or call_id)
    if not events:
        raise ConsentError(
            f"no call, or more than one, has an id that begins with {call_id!r}; see: ivr-consent log list"
        )
    seals = tuple(seal for event in events if (seal := reader.seal_of(event)) is not None)
    return Shown(events[0].call_id, events, seals, record or _record_of(events))


def _record_of(events: tuple[LoggedEvent, ...]) -> CallRecord | None:
    """The record of a call that the log has no decision of by name: somebody else may have written one past us."""
    from ivr_consent.store.reader import CallRecord

    for number, event in enumerate(events):
        if event.kind == "decision":
            return CallRecord(event, events[number + 1 :])
    return None


def event(reader: LedgerReader, sequence: int) -> Shown:
    """One event, pruned or not. Raises :class:`ConsentError` where there never was one, or nothing is left."""
    found, seal = reader.event(sequence), reader.seal(sequence)
    if seal is not None:
        gone = None if found is not None else f"event {sequence} was pruned: its time was over, and its hash is left"
        return Shown(found.call_id if found else None, (found,) if found else (), (seal,), only=True, gone=gone)
    size, trunk = reader.size(), reader.trunk()
    if sequence > size:
        raise ConsentError(f"there is no event {sequence} yet: the log has {size}; see: ivr-consent log list --events")
    if sequence <= trunk:
        raise ConsentError(f"the {trunk} oldest events are gone, {sequence} with them: their time was over")
    raise ConsentError(f"event {sequence} is missing, and was not pruned: see: ivr-consent log verify")


def _seal_as_json(seal: Seal) -> dict[str, Any]:
    checkpoint = {"size": seal.checkpoint[0], "time": seal.checkpoint[1]} if seal.checkpoint is not None else None
    anchors = [{"size": anchor.size, "place": anchor.place, "time": anchor.time} for anchor in seal.anchors]
    return {
        "sequence": seal.sequence,
        "leaf": seal.leaf,
        "pruned": seal.pruned,
        "personal": seal.personal,
        "checkpoint": checkpoint,
        "anchors": anchors,
    }


# --- for a reader ----------------------------------------------------------------------------------------------------


def _say_record(record: CallRecord) -> None:
    decision = record.decision
    payload = table(decision.payload)
    said, notice = table(payload.get("call")), table(payload.get("notice"))
    granted = ", ".join(str(purpose) for purpose in listed(payload.get("purposes_granted")))
    caller = ERASED if decision.erased else said.get("subject_ref") or "number withheld"
    channel = ERASED if decision.erased else said.get("channel_uniqueid", "-")
    facts: list[tuple[str, object]] = [
        *([("server", decision.server)] if decision.server else []),
        ("call", decision.call_id),
        ("time", f"{shown_time(decision.time)} UTC, entry {decision.sequence} of the log"),
        ("line", decision.line),
        ("outcome", f"{decision.outcome or '-'} ({decision.problem or payload.get('reason', '-')})"),
        ("granted for", granted or "nothing"),
        ("route", record.route),
        ("recording", record.recording if record.recording == "none" else f"{record.recording} ({decision.call_id})"),
        ("kept for", f"{payload.get('retention_days')} days" if granted else "-"),
        ("caller", caller),
        ("switch", f"{said.get('switch', '-')}, channel {channel}"),
        ("software", f"{said.get('software', '-')}, configuration {str(said.get('configuration_sha256', '-'))[:16]}"),
    ]
    for name, value in facts:
        say(f"{name + ':':<13}{_cut(value)}")
    _say_notice(notice)
    _say_answers(listed(payload.get("answers")))


def _say_notice(notice: Mapping[str, Any]) -> None:
    say()
    if not notice:
        say("notice: none was played")
        return
    heard = "to its end" if notice.get("complete") else "not to its end"
    language = f"{_cut(notice.get('language'))!r} (by: {_cut(notice.get('language_by'))})"
    say(
        f"notice {_cut(notice.get('id'))} version {_cut(notice.get('version'))} in {language}, heard {heard}, "
        f"{_cut(notice.get('times'))} time(s)"
    )
    say(f"  text {_cut(notice.get('text_sha256'))}, manifest {_cut(notice.get('manifest_sha256'))}")
    rows = [
        (
            _cut(segment.get("id")),
            _cut(", ".join(str(number) for number in listed(segment.get("elements"))) or "-"),
            f"{_cut(segment.get('samples_played'))} of {_cut(segment.get('samples_total'))}",
            "whole" if segment.get("complete") else "not whole",
            _cut(segment.get("times")),
            str(segment.get("text_sha256", ""))[:12],
            str(segment.get("audio_sha256", "-"))[:12],
        )
        for segment in map(table, listed(notice.get("segments")))
    ]
    columns = ("segment", "elements", "samples played", "heard", "times", "text", "audio")
    print_table(columns, rows, styles={"not whole": "yellow"})


def _say_answers(answers: list[Any]) -> None:
    for answer in map(table, answers):
        key = f"key {_cut(answer.get('key'))}" if answer.get("key") is not None else "no key"
        after = _cut(answer.get("after_ms"))
        when = f", pressed {after} ms after the question" if answer.get("after_ms") is not None else ""
        how = f" (known from: {_cut(answer['timing'])})" if answer.get("timing") else ""
        early = f", {_cut(answer['early_keys'])} too early" if answer.get("early_keys") else ""
        say(
            f"asked for {_cut(answer.get('purpose'))}: {_cut(answer.get('answer'))}, {key}{when}{how}, "
            f"asked {_cut(answer.get('attempts'))} time(s){early}"
        )


def _say_events(title: str, events: Iterable[LoggedEvent]) -> None:
    for number, event in enumerate(events):
        if number == 0:
            say()
            say(title)
        said = event.problem or ", ".join(f"{name} {_cut(value)}" for name, value in event.payload.items())
        erased = " (personal data: erased)" if event.erased else ""
        say(f"  {shown_time(event.time)}  {event.kind}  {said}{erased}".rstrip())


def _say_seals(seals: tuple[Seal, ...]) -> None:
    """By what the events are held. What most of them have in common is said once."""
    if not seals:
        return
    say()
    say("in the log:")
    columns = ("event", "leaf (SHA-256)", "personal data", "sealed by")
    rows = [
        (
            seal.sequence,
            seal.leaf or "cannot be one of ours",
            "pruned" if seal.pruned else seal.personal,
            f"checkpoint {seal.checkpoint[0]}" if seal.checkpoint is not None else "not sealed yet",
        )
        for seal in seals
    ]
    print_table(columns, rows, styles={"changed": "red", "cannot be one of ours": "red", "not sealed yet": "yellow"})
    for size, time in dict.fromkeys(seal.checkpoint for seal in seals if seal.checkpoint is not None):
        say(f"checkpoint {size}: signed {shown_time(time)} UTC")
    anchors = list(dict.fromkeys(anchor for seal in seals for anchor in seal.anchors))
    for anchor in anchors:
        say(f"checkpoint {anchor.size}: shown to {_cut(anchor.place)} {shown_time(anchor.time)} UTC")
    if not anchors and any(seal.checkpoint is not None for seal in seals):
        say("no checkpoint from there on was shown outside")


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}... ({len(text)} characters)"
