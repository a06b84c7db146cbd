"""The filters that questions to the log share, and what they say to the log."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ivr_consent.cli.terminal import of
from ivr_consent.core.decision import Outcome

if TYPE_CHECKING:
    from ivr_consent.store.merged import Reader
    from ivr_consent.store.search import Wanted

Line = Annotated[str | None, typer.Option(help="Only this line.")]
OfOutcome = Annotated[Outcome | None, typer.Option(help="Only this outcome.")]
Language = Annotated[str | None, typer.Option(help="Only notices in this language.")]
Notice = Annotated[str | None, typer.Option(help="Only this notice, by its id.")]
Version = Annotated[int | None, typer.Option(help="Only this published version of a line's notice.")]
Purpose = Annotated[str | None, typer.Option(help="Only where this purpose was granted.")]
Agent = Annotated[str | None, typer.Option(help="Only calls that this agent took.")]
Reference = Annotated[
    str | None, typer.Option(metavar="CODE", help="Only the call with this reference code, of ten digits.")
]
Day = Annotated[str | None, typer.Option(metavar="DAY", help="Only this day: 2026-01-31, UTC.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only from then on: 2026-01-31 or 2026-01-31T14:30, UTC.")
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only before then, UTC; of a day without a time, to its end.")
]
Server = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only the log of this server, where several are in one database."),
]
Kind = Annotated[str | None, typer.Option(help="Only events of this kind, such as withdrawn.")]
NoPager = Annotated[bool, typer.Option("--no-pager", help="Do not use a pager on a terminal.")]
JsonLines = Annotated[bool, typer.Option("--json-lines", help="Print one JSON object a line, as they come.")]


_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(rf"{_DAY.pattern}([T ][0-9:.+Z-]+)?")


def reader_of(context: typer.Context, server: str | None = None) -> Reader:
    """The log of the configuration, or all logs of its database; events that somebody else wrote come with what is
    wrong with them."""
    from ivr_consent.store.merged import open_reader
    from ivr_consent.store.place import place_of

    return open_reader(place_of(of(context).settings()), server, lenient=True)


def wanted(
    context: typer.Context,
    *,
    line: str | None = None,
    outcome: Outcome | None = None,
    language: str | None = None,
    notice: str | None = None,
    version: int | None = None,
    purpose: str | None = None,
    agent: str | None = None,
    reference: str | None = None,
    day: str | None = None,
    since: str | None = None,
    until: str | None = None,
    kind: str | None = None,
) -> Wanted:
    """The options as a question. Raises :class:`typer.BadParameter`, and :class:`ConsentError` for a wrong code."""
    from ivr_consent.store.search import Wanted

    if day is not None and (since is not None or until is not None):
        raise typer.BadParameter(
            "a day has its own beginning and end; leave --since and --until away", param_hint="day"
        )
    begin, end = day if day is not None else since, day if day is not None else until
    if day is not None and not _DAY.fullmatch(day):
        raise typer.BadParameter(f"{day!r} is not a day such as 2026-01-31", param_hint="day")
    return Wanted(
        line=line,
        outcome=outcome.value if outcome is not None else None,
        language=language,
        notice=notice,
        version=version,
        purpose=purpose,
        agent=agent,
        references=references(context, reference) if reference is not None else None,
        kind=kind,
        since=moment(begin, "day" if day else "since") if begin is not None else None,
        until=moment(end, "day" if day else "until", end=True) if end is not None else None,
    )


def references(context: typer.Context, code: str) -> tuple[str, ...]:
    """What the log may hold of a reference code."""
    from ivr_consent.pseudonyms import read_pseudonyms

    return read_pseudonyms(of(context).settings()).find(code)


def moment(text: str, option: str, *, end: bool = False) -> str:
    """A time as somebody wrote it, as it stands in the log; ``end``: the end of a day that comes without a time."""
    try:
        time = datetime.fromisoformat(text if _TIME.fullmatch(text) else "")
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if end and _DAY.fullmatch(text):
            time += timedelta(days=1)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is neither a day such as 2026-01-31 nor a time such as 2026-01-31T14:30", param_hint=option
        ) from None
    return time.isoformat(timespec="milliseconds")
