"""``ivr-consent log list``, ``show``: questions to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ivr_consent.cli.log import evidence, filters, told
from ivr_consent.cli.log.filters import reader_of
from ivr_consent.cli.pager import paged
from ivr_consent.cli.terminal import Json, print_json
from ivr_consent.core.errors import ConsentError

if TYPE_CHECKING:
    from ivr_consent.store.merged import Reader


def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest first; 0 for all.")] = 50,
    line: filters.Line = None,
    outcome: filters.OfOutcome = None,
    day: filters.Day = None,
    since: filters.Since = None,
    until: filters.Until = None,
    language: filters.Language = None,
    notice: filters.Notice = None,
    version: filters.Version = None,
    purpose: filters.Purpose = None,
    agent: filters.Agent = None,
    reference: filters.Reference = None,
    kind: filters.Kind = None,
    server: filters.Server = None,
    events: Annotated[bool, typer.Option("--events", help="Events of every kind, the service's too.")] = False,
    no_pager: filters.NoPager = False,
    json_lines: filters.JsonLines = False,
    json: Json = False,
) -> None:
    """List decisions, or with --events or --kind all events, the newest first."""
    wanted = filters.wanted(
        context,
        line=line,
        outcome=outcome,
        language=language,
        notice=notice,
        version=version,
        purpose=purpose,
        agent=agent,
        reference=reference,
        day=day,
        since=since,
        until=until,
        kind=kind,
    )
    filtered = any(getattr(wanted, name) is not None for name in wanted.__slots__)
    what = "event" if events or kind is not None else "decision"
    empty = f"no {what} in the log {'fits' if filtered else 'yet'}"
    with reader_of(context, server) as reader, paged(not (no_pager or json or json_lines)):
        several = hasattr(reader, "readers")
        if what == "event":
            found = reader.events(wanted, limit=limit or None)
            form = told.of_servers(told.EVENTS) if several else told.EVENTS
            told.print_list(found, form, json=json, json_lines=json_lines, empty=empty)
        else:
            calls = reader.calls(wanted, limit=limit or None)
            calls_form = told.of_servers(told.CALLS) if several else told.CALLS
            told.print_list(calls, calls_form, json=json, json_lines=json_lines, empty=empty)


def show(
    context: typer.Context,
    call: Annotated[str | None, typer.Argument(metavar="ID", help="The call's id, or the beginning of it.")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="CODE", help="The call with this reference code, of ten digits.")
    ] = None,
    event: Annotated[int | None, typer.Option(metavar="N", min=1, help="One event, by its sequence.")] = None,
    server: filters.Server = None,
    no_pager: filters.NoPager = False,
    json: Json = False,
) -> None:
    """Show the evidence of one call, or one event."""
    if sum(given is not None for given in (call, reference, event)) != 1:
        raise typer.BadParameter("name one call by its id or --reference, or one event by --event", param_hint="ID")
    codes = filters.references(context, reference) if reference is not None else ()
    with reader_of(context, server) as reader:
        if event is not None:
            from ivr_consent.store.merged import of_one_log

            shown = evidence.event(of_one_log(reader), event)
        elif reference is not None:
            shown = evidence.call(reader, _of_code(reader, reference, codes))
        else:
            shown = evidence.call(reader, (call or "").lower())
    if json:
        shown.refused.check()
        print_json({"ok": True, **shown.as_json()})
        return
    with paged(not no_pager):
        shown.say()
    shown.refused.check()


def _of_code(reader: Reader, code: str, codes: tuple[str, ...]) -> str:
    """The id of the call with a reference code. Raises :class:`ConsentError`."""
    from ivr_consent.store.search import Wanted

    found = [record.call_id for record in reader.calls(Wanted(references=codes), limit=10)]
    if not found:
        raise ConsentError(f"no call in the log has the reference code {code!r}; ask for it again")
    if len(found) > 1:
        raise ConsentError(
            f"{len(found)} calls share the reference code {code!r}: {', '.join(found)}; show them one by one"
        )
    return found[0]
