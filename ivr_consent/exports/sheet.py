"""The log as a table: CSV (RFC 4180), one row for each decision, harmless to a spreadsheet program.

A cell that begins like a formula is run by spreadsheet programs, and what stands in a log is partly the words of
others. Such a cell gets an apostrophe before what could begin the formula: at the beginning of the cell, and after
whatever another program could take for the end of a cell. Numbers of ours stay numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from ivr_consent.exports.facts import Answer, Facts
from ivr_consent.exports.text import printable
from ivr_consent.store.records import LoggedEvent

BOM: Final = b"\xef\xbb\xbf"
"""Tells spreadsheet programs that the file is UTF-8."""

_FORMULA: Final = re.compile(
    r"""(^|[;,|\t\n\r])([\s'"\u2018\u2019\u201c\u201d`]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])"""
)
"""Where a formula could begin: also behind quotes and spaces, and in full-width forms."""

Cell = str | int | None


def cell(value: Cell) -> str:
    """A value as it stands in a cell: numbers as they are, text as one line that nothing runs; nothing for ``None``."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    # Twice: before escaping, since what is escaped (a tab) could end a cell; after it, for what is left.
    return printable(_FORMULA.sub(r"\1'\2", value))


def _flag(value: bool) -> str:
    return "yes" if value else "no"


def _of_notice(name: str) -> Callable[[Facts], Cell]:
    def value(call: Facts) -> Cell:
        found: Cell | bool = getattr(call.notice, name) if call.notice is not None else None
        return _flag(found) if isinstance(found, bool) else found

    return value


def _of_recording(name: str) -> Callable[[Facts], Cell]:
    def value(call: Facts) -> Cell:
        found: Cell = getattr(call.recorded, name) if call.recorded is not None else None
        return found

    return value


def _heard(call: Facts) -> Cell:
    notice = call.notice
    return f"{sum(segment.complete for segment in notice.segments)} of {len(notice.segments)}" if notice else None


def _answers(call: Facts) -> Cell:
    return "; ".join(_told(answer) for answer in call.answers) or None


def _told(answer: Answer) -> str:
    parts = [f"{answer.purpose}: {answer.answer}"]
    if answer.key is not None:
        parts.append(f"key {answer.key}")
    if answer.after_ms is not None:
        parts.append(f"{answer.after_ms} ms")
    return " ".join(parts)


def _after_ms(call: Facts) -> Cell:
    return next((answer.after_ms for answer in reversed(call.answers) if answer.after_ms is not None), None)


def _timing(call: Facts) -> Cell:
    return next((answer.timing for answer in reversed(call.answers) if answer.after_ms is not None), None)


def _sum(name: str) -> Callable[[Facts], Cell]:
    def value(call: Facts) -> Cell:
        found = [number for answer in call.answers if (number := getattr(answer, name)) is not None]
        return sum(found) if found else None

    return value


def _time_of(name: str) -> Callable[[Facts], Cell]:
    def value(call: Facts) -> Cell:
        event: LoggedEvent | None = getattr(call, name)
        return event.time if event is not None else None

    return value


def _moment(value: datetime | None) -> Cell:
    return value.isoformat(timespec="milliseconds") if value is not None else None


COLUMNS: Final[dict[str, tuple[str, Callable[[Facts], Cell]]]] = {
    "log": ("the log's id", lambda call: call.proof.log),
    "sequence": ("number of the decision's event in the log", lambda call: call.sequence),
    "time": ("when it was decided, UTC", lambda call: call.time),
    "line": ("the line that was called", lambda call: call.line),
    "outcome": ("granted, declined, no_answer, invalid, abandoned or failed", lambda call: call.outcome),
    "reason": ("what led to the outcome", lambda call: call.reason),
    "consent_now": (
        "what holds now: given, refused, undecided, unknown, withdrawn, expired or void",
        lambda call: call.standing.value,
    ),
    "route": ("where the call went: recorded or unrecorded", lambda call: call.route),
    "call": ("the call's id, which names its recording too", lambda call: call.call_id),
    "caller": ("the caller's pseudonym", lambda call: call.subject),
    "caller_is": (
        "pseudonym, withheld (no number came), erased, or left_out of the export",
        lambda call: call.subject_is.value,
    ),
    "notice": ("which notice was played", _of_notice("id")),
    "version": ("its published version", _of_notice("version")),
    "language": ("its language", _of_notice("language")),
    "language_by": ("what chose the language", _of_notice("language_by")),
    "notice_whole": ("yes: heard to the end", _of_notice("complete")),
    "notice_times": ("how many times it was heard to the end", _of_notice("times")),
    "segments_heard": ("segments heard to the end, questions among them", _heard),
    "answers": ("for each purpose: the answer, the key, when it was pressed", _answers),
    "purposes_granted": ("purposes that the caller said yes to", lambda call: ", ".join(call.purposes_granted) or None),
    "answered_after_ms": ("from the end of the question to the key, milliseconds, of the last answer", _after_ms),
    "answer_timing": ("how that time is known", _timing),
    "attempts": ("how many times a key was waited for", _sum("attempts")),
    "early_keys": ("keys that were pressed too early to count", _sum("early_keys")),
    "repeats": ("how many times the notice was asked for again", lambda call: call.repeats),
    "retention_days": ("days that the caller was told", lambda call: call.retention_days),
    "asked_at": ("when the question of consent began, UTC", lambda call: call.asked_at),
    "recording": ("what became of the recording; none: there never was one", lambda call: call.recording),
    "recorder_confirmed_at": ("when the recorder was seen to run, UTC", lambda call: call.confirmed_at),
    "recording_ended_at": ("when its file was finished, UTC", lambda call: call.ended_at),
    "recording_ms": ("its length, milliseconds", _of_recording("milliseconds")),
    "recording_bytes": ("its size", _of_recording("size")),
    "recording_sha256": ("its digest", _of_recording("sha256")),
    "erase_due": ("when it has to be erased, UTC", lambda call: _moment(call.due)),
    "withdrawn_at": ("when consent was withdrawn, UTC", _time_of("withdrawn")),
    "expired_at": (
        "when it was erased because its days were over, UTC",
        _time_of("expired"),
    ),
    "text_sha256": ("digest of all that the caller was told before the choice", _of_notice("text_sha256")),
    "manifest_sha256": ("digest of the published version's manifest", _of_notice("manifest_sha256")),
    "configuration_sha256": ("digest of the configuration", lambda call: call.configuration_sha256),
    "software": ("which software decided", lambda call: call.software),
    "switch": ("the kind of switch", lambda call: call.switch),
    "leaf_sha256": ("hash of the event's leaf in the log", lambda call: call.proof.leaf),
    "readable": (
        "no: an event of this call is not of the form that this program writes",
        lambda call: _flag(call.readable),
    ),
}
"""Every column: what it holds, and how it is taken from a call."""


def header() -> bytes:
    """The first row."""
    return _row(COLUMNS)


def row(call: Facts) -> bytes:
    """The row of one call."""
    return _row(cell(value(call)) for _, value in COLUMNS.values())


def _row(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()
