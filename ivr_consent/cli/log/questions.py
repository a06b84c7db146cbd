"""``ivr-consent log list``, ``show``: questions to the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivr_consent.cli.terminal import Json, of, print_json, print_table, say
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError

if TYPE_CHECKING:
    from ivr_consent.store.reader import CallRecord, LedgerReader, LoggedEvent

_STYLES = {outcome.value: "green" if outcome is Outcome.GRANTED else "yellow" for outcome in Outcome} | {
    Outcome.FAILED.value: "red"
}


def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest first.")] = 50,
    line: Annotated[str | None, typer.Option(help="Only this line.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only this outcome.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], help="Only from then on, UTC."),
    ] = None,
    json: Json = False,
) -> None:
    """List decisions, the newest first."""
    begin = since.replace(tzinfo=UTC).isoformat(timespec="milliseconds") if since is not None else None
    with _reader(context) as reader:
        records = reader.calls(limit=limit, line=line, outcome=outcome.value if outcome else None, since=begin)
        if json:
            print_json({"ok": True, "calls": [as_json(record) for record in records]})
            return
        rows = [_row(record) for record in records]
    if not rows:
        say("no decision in the log" + (" fits" if line or outcome or since else " yet"))
        return
    columns = ("id", "time (UTC)", "line", "outcome", "reason", "route", "recording", "language", "switch")
    print_table(columns, rows, styles=_STYLES)


def show(
    context: typer.Context,
    call: Annotated[str, typer.Argument(metavar="ID", help="The call's id, or the beginning of it.")],
    json: Json = False,
) -> None:
    """Show the evidence of one call."""
    with _reader(context) as reader:
        record = reader.call(call.lower())
    if record is None:
        raise ConsentError(f"no call, or more than one, has an id that begins with {call!r}; see: ivr-consent log list")
    if json:
        print_json({"ok": True, **as_json(record)})
    else:
        say_record(record)


def _reader(context: typer.Context) -> LedgerReader:
    from ivr_consent.store.place import place_of
    from ivr_consent.store.reader import LedgerReader

    settings = of(context).settings()
    return LedgerReader(place_of(settings))


# --- one record ----------------------------------------------------------------------------------------------------


def as_json(record: CallRecord) -> dict[str, Any]:
    """A call with the payloads exactly as they stand in the log."""
    return {
        "call_id": record.decision.call_id,
        "route": record.route,
        "recording": record.recording,
        "decision": _event(record.decision),
        "later": [_event(event) for event in record.later],
    }


def _event(event: LoggedEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "time": event.time,
        "kind": event.kind,
        "line": event.line,
        "outcome": event.outcome,
        "payload": event.payload,
    }


def _row(record: CallRecord) -> tuple[str, ...]:
    decision = record.decision
    payload = _table(decision.payload)
    return (
        record.call_id[:12],
        _time(decision.time),
        record.line,
        decision.outcome or "-",
        str(payload.get("reason", "-")),
        record.route,
        record.recording,
        str(_table(payload.get("notice")).get("language", "-")),
        str(_table(payload.get("call")).get("switch", "-")),
    )


def say_record(record: CallRecord) -> None:
    """Print the evidence of one call for a reader."""
    decision = record.decision
    payload = _table(decision.payload)
    call, notice = _table(payload.get("call")), _table(payload.get("notice"))
    granted = ", ".join(str(purpose) for purpose in _list(payload.get("purposes_granted")))
    facts: list[tuple[str, object]] = [
        ("call", decision.call_id),
        ("time", f"{_time(decision.time)} UTC, entry {decision.sequence} of the log"),
        ("line", decision.line),
        ("outcome", f"{decision.outcome or '-'} ({payload.get('reason', '-')})"),
        ("granted for", granted or "nothing"),
        ("route", record.route),
        ("recording", record.recording if record.recording == "none" else f"{record.recording} ({decision.call_id})"),
        ("kept for", f"{payload.get('retention_days')} days" if granted else "-"),
        ("caller", call.get("subject_ref") or "number withheld"),
        ("switch", f"{call.get('switch', '-')}, channel {call.get('channel_uniqueid', '-')}"),
        ("software", f"{call.get('software', '-')}, configuration {str(call.get('configuration_sha256', '-'))[:16]}"),
    ]
    for name, value in facts:
        say(f"{name + ':':<13}{value}")
    _say_notice(notice)
    _say_answers(_list(payload.get("answers")))
    if record.later:
        say()
        say("afterwards:")
        for event in record.later:
            details = ", ".join(f"{name} {value}" for name, value in event.payload.items())
            say(f"  {_time(event.time)}  {event.kind}  {details}")


def _say_notice(notice: Mapping[str, Any]) -> None:
    say()
    if not notice:
        say("notice: none was played")
        return
    heard = "to its end" if notice.get("complete") else "not to its end"
    language = f"{notice.get('language')!r} (by: {notice.get('language_by')})"
    say(
        f"notice {notice.get('id')} version {notice.get('version')} in {language}, heard {heard}, "
        f"{notice.get('times')} time(s)"
    )
    say(f"  text {notice.get('text_sha256')}, manifest {notice.get('manifest_sha256')}")
    rows = [
        (
            segment.get("id"),
            ", ".join(str(number) for number in _list(segment.get("elements"))) or "-",
            f"{segment.get('samples_played')} of {segment.get('samples_total')}",
            "whole" if segment.get("complete") else "not whole",
            segment.get("times"),
            str(segment.get("text_sha256", ""))[:12],
            str(segment.get("audio_sha256", "-"))[:12],
        )
        for segment in map(_table, _list(notice.get("segments")))
    ]
    columns = ("segment", "elements", "samples played", "heard", "times", "text", "audio")
    print_table(columns, rows, styles={"not whole": "yellow"})


def _say_answers(answers: list[Any]) -> None:
    for answer in map(_table, answers):
        key = f"key {answer.get('key')}" if answer.get("key") is not None else "no key"
        when = f", pressed {answer['after_ms']} ms after the question" if answer.get("after_ms") is not None else ""
        how = f" (known from: {answer['timing']})" if answer.get("timing") else ""
        early = f", {answer['early_keys']} too early" if answer.get("early_keys") else ""
        say(
            f"asked for {answer.get('purpose')}: {answer.get('answer')}, {key}{when}{how}, "
            f"asked {answer.get('attempts')} time(s){early}"
        )


def _table(value: Any) -> Mapping[str, Any]:
    """A log that somebody else has written to may hold anything in any place."""
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return text
