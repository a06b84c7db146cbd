"""Calls and events of a log, printed as they come, as rows or as JSON; and those among them that we did not write."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import typer

from ivr_consent.cli.pager import Lines
from ivr_consent.cli.rows import Column, Rows
from ivr_consent.cli.terminal import Exit, exit_code, say
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError, LedgerError

if TYPE_CHECKING:
    from ivr_consent.store.reader import CallRecord, LoggedEvent

T = TypeVar("T")

UNREADABLE: Final = "unreadable"
"""Stands for the outcome of an event that was not written by us."""

STYLES: Final = {outcome.value: "yellow" for outcome in Outcome} | {
    Outcome.GRANTED.value: "green",
    Outcome.FAILED.value: "red",
    UNREADABLE: "red",
}

DETAILS: Final = 8
"""Values of a payload that are shown in a row."""


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How the items of a list are shown: as rows, as JSON; and of which events each consists."""

    name: str
    columns: tuple[Column, ...]
    row: Callable[[T], Sequence[str]]
    plain: Callable[[T], Mapping[str, Any]]
    events: Callable[[T], Iterable[LoggedEvent]]


# --- calls and events ------------------------------------------------------------------------------------------------


def _call_row(record: CallRecord) -> tuple[str, ...]:
    decision = record.decision
    payload = table(decision.payload)
    return (
        record.call_id[:12],
        shown_time(decision.time),
        record.line,
        UNREADABLE if decision.problem else decision.outcome or "-",
        decision.problem or str(payload.get("reason", "-")),
        record.route,
        record.recording,
        str(table(payload.get("notice")).get("language", "-")),
        str(table(payload.get("call")).get("switch", "-")),
    )


def _event_row(event: LoggedEvent) -> tuple[str, ...]:
    return (
        str(event.sequence),
        shown_time(event.time),
        event.kind,
        event.line or "-",
        UNREADABLE if event.problem else event.outcome or "-",
        (event.call_id or "-")[:12],
        event.problem or _details(event.payload),
    )


def _details(payload: Mapping[str, Any]) -> str:
    plain = [f"{name} {value}" for name, value in payload.items() if isinstance(value, str | int) and value != ""]
    return ", ".join(plain[:DETAILS])


def call_as_json(record: CallRecord) -> dict[str, Any]:
    """A call with the payloads exactly as they stand in the log."""
    return {
        **({"server": record.decision.server} if record.decision.server else {}),
        "call_id": record.decision.call_id,
        "route": record.route,
        "recording": record.recording,
        "decision": event_as_json(record.decision),
        "later": [event_as_json(event) for event in record.later],
    }


def event_as_json(event: LoggedEvent) -> dict[str, Any]:
    """An event of a call, as it stands in the log."""
    return {
        "sequence": event.sequence,
        "time": event.time,
        "kind": event.kind,
        "line": event.line,
        "outcome": event.outcome,
        "payload": event.payload,
        "erased": event.erased,
        **({"problem": event.problem} if event.problem else {}),
    }


def event_with_call(event: LoggedEvent) -> dict[str, Any]:
    """An event by itself, as it stands in the log."""
    server = {"server": event.server} if event.server else {}
    return {**server, "call_id": event.call_id, **event_as_json(event)}


def _events_of(record: CallRecord) -> Iterable[LoggedEvent]:
    return record.events


def _only(event: LoggedEvent) -> Iterable[LoggedEvent]:
    return (event,)


CALLS: Final = Form(
    "calls",
    (
        Column("id", 12),
        Column("time (UTC)", 19),
        Column("line", 10),
        Column("outcome", 9),
        Column("reason", 16, 1),
        Column("route", 10, 3),
        Column("recording", 9, 2),
        Column("language", 8, 4),
        Column("switch", 9, 5),
    ),
    _call_row,
    call_as_json,
    _events_of,
)

EVENTS: Final = Form(
    "events",
    (
        Column("event", 8),
        Column("time (UTC)", 19),
        Column("kind", 19),
        Column("line", 10, 1),
        Column("outcome", 9, 2),
        Column("call", 12, 3),
        Column("details", 20, 4),
    ),
    _event_row,
    event_with_call,
    _only,
)


def of_servers(form: Form[T]) -> Form[T]:
    """The same with a column that says whose log it is in."""

    def row(item: T) -> tuple[str, ...]:
        return (next((event.server for event in form.events(item)), None) or "-", *form.row(item))

    return Form(form.name, (Column("server", 8), *form.columns), row, form.plain, form.events)


def table(value: Any) -> Mapping[str, Any]:
    """A log that somebody else has written to may hold anything in any place."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """The same of a list."""
    return value if isinstance(value, list) else []


def shown_time(text: str) -> str:
    """A time of the log without its fractions and its zone, which is UTC; any other text as it is."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return text


# --- lists -----------------------------------------------------------------------------------------------------------


def print_list(items: Iterable[T], form: Form[T], *, json: bool, json_lines: bool, empty: str) -> None:
    """Print items as they come. ``empty`` is said where there are none.

    Events that were not written by us are shown with what is wrong with them, and end the list with a
    :class:`LedgerError` that names the first; with ``json`` it is told in the object, and the exit code is its own.
    """
    refused = Refused()
    watched = _watched(items, form, refused)
    if json:
        _print_object(watched, form, refused)
        return
    add, found = adder(form, json_lines=json_lines), False
    for item in watched:
        found = True
        add(item)
    if not found and not json_lines:
        say(empty)
    sys.stdout.flush()
    refused.check()


def adder(form: Form[T], *, json_lines: bool) -> Callable[[T], None]:
    """What prints one item after another: rows under headings, or one object a line."""
    lines = Lines()
    if json_lines:
        return lambda item: lines.write(_ascii(json_module.dumps(form.plain(item), ensure_ascii=True)))
    rows = Rows(form.columns, STYLES, lines=lines)
    return lambda item: rows.add(form.row(item))


def _print_object(items: Iterator[T], form: Form[T], refused: Refused) -> None:
    """One object with the list in it, printed as it comes; whether all is well is said at its end."""
    lines = Lines()
    lines.put(f'{{\n  "{form.name}": [')
    told: dict[str, Any] = {"ok": True}
    code, before = Exit.GOOD, "\n"
    try:
        for item in items:
            text = _ascii(json_module.dumps(form.plain(item), ensure_ascii=True, indent=2))
            lines.put(before + indent(text, "    "))
            before = ",\n"
        refused.check()
    except ConsentError as error:
        code = exit_code(error)
        said = {"kind": type(error).__name__, "message": str(error), "problems": []}
        told = {"ok": False, "exit": int(code), "error": said}
    rest = _ascii(json_module.dumps(told, ensure_ascii=True, indent=2)).removeprefix("{\n")
    lines.write(("],\n" if before == "\n" else "\n  ],\n") + rest)
    if code is not Exit.GOOD:
        raise typer.Exit(code)


def _ascii(text: str) -> str:
    return text.replace("\x7f", "\\u007f")


def _watched(items: Iterable[T], form: Form[T], refused: Refused) -> Iterator[T]:
    for item in items:
        for event in form.events(item):
            refused.look_at(event)
        yield item


class Refused:
    """Counts events that were not written by us."""

    def __init__(self) -> None:
        self._first: LedgerError | None = None
        self._count = 0

    def look_at(self, event: LoggedEvent) -> None:
        """Count an event, if it is one of them."""
        if event.problem is not None:
            from ivr_consent.store.reader import event_error

            self._count += 1
            self._first = self._first or event_error(event.sequence, event.problem)

    def check(self) -> None:
        """Raises :class:`LedgerError` when there was one."""
        if self._first is not None:
            more = f" (and {self._count - 1} more)" if self._count > 1 else ""
            raise LedgerError(f"{self._first}{more}")
