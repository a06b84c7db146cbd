"""``ivr-consent log stats``: how many decisions, with which outcome."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ivr_consent.cli.log import filters
from ivr_consent.cli.log.filters import reader_of
from ivr_consent.cli.log.told import STYLES
from ivr_consent.cli.pager import paged
from ivr_consent.cli.rows import Column, Rows
from ivr_consent.cli.terminal import Json, print_json, say
from ivr_consent.core.decision import Outcome

if TYPE_CHECKING:
    from ivr_consent.store.counting import Tally

BAR: Final = 20
"""Columns of the longest bar."""

OUTCOMES: Final[tuple[str, ...]] = tuple(outcome.value for outcome in Outcome)


class By(StrEnum):
    """What decisions are counted by."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    LINE = "line"
    OUTCOME = "outcome"
    LANGUAGE = "language"
    NOTICE = "notice"
    VERSION = "version"
    SERVER = "server"


def stats(
    context: typer.Context,
    by: Annotated[By, typer.Option(help="What to count by.")] = By.OUTCOME,
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
    server: filters.Server = None,
    no_pager: filters.NoPager = False,
    json: Json = False,
) -> None:
    """Count decisions by time, line, outcome, language, notice, version; logs of one database by server."""
    wanted = filters.wanted(
        context,
        line=line,
        outcome=outcome,
        language=language,
        notice=notice,
        version=version,
        purpose=purpose,
        agent=agent,
        day=day,
        since=since,
        until=until,
    )
    with reader_of(context, server) as reader:
        if by is By.SERVER and not hasattr(reader, "readers"):
            raise typer.BadParameter("there is one log, of one server", param_hint="--by")
        found = reader.tally(by.value, wanted)
    total = _total(found)
    if json:
        rows = [{by.value: tally.label, **_as_json(tally, total.decisions)} for tally in found]
        print_json({"ok": True, "by": by.value, "rows": rows, "total": _as_json(total, total.decisions)})
        return
    if not found:
        say("no decision in the log fits" if any(getattr(wanted, name) for name in wanted.__slots__) else _NONE)
        return
    with paged(not no_pager):
        _print(by, found, total)


_NONE: Final = "no decision in the log yet"


def _total(found: Sequence[Tally]) -> Tally:
    from ivr_consent.store.counting import Tally

    total = Tally("all")
    for tally in found:
        for outcome, decisions in tally.outcomes.items():
            total.outcomes[outcome] = total.outcomes.get(outcome, 0) + decisions
    return total


def _as_json(tally: Tally, of: int) -> dict[str, Any]:
    return {
        "decisions": tally.decisions,
        "share": _share(tally.decisions, of),
        "outcomes": {outcome: tally.outcomes.get(outcome, 0) for outcome in OUTCOMES} | tally.outcomes,
        "grant_rate": _share(tally.outcomes.get(Outcome.GRANTED.value, 0), tally.decisions),
    }


def _share(part: int, of: int) -> float | None:
    return round(part / of, 4) if of else None


def _print(by: By, found: Sequence[Tally], total: Tally) -> None:
    """A row for each label; the outcomes that there are, and on a terminal a bar."""
    outcomes = [outcome for outcome in OUTCOMES if outcome in total.outcomes]
    outcomes += sorted(set(total.outcomes) - set(OUTCOMES))[:3]  # no outcome of ours
    if by is By.OUTCOME:
        outcomes = []
    bars = [""] * (len(found) + 1)
    if sys.stdout.isatty():
        most = max(tally.decisions for tally in found)
        bars = [_bar(tally.decisions, most) for tally in found] + [""]
    label = max(len(by.value), *(min(len(tally.label), 24) for tally in found))
    columns = [
        Column(by.value, label),
        Column("decisions", 9, number=True),
        Column("share", 6, number=True),
        Column("", BAR, 2),
        *(Column(outcome, 9, 1, number=True) for outcome in outcomes),
    ]
    if by is not By.OUTCOME:
        columns.append(Column("grant rate", 10, number=True))
    if not any(bars):
        del columns[3]
    rows = Rows(columns, STYLES if by is By.OUTCOME else {})
    for tally, bar in zip((*found, total), bars, strict=True):
        cells = [tally.label, str(tally.decisions), _percent(tally.decisions, total.decisions), bar]
        cells += [str(tally.outcomes.get(outcome, 0)) for outcome in outcomes]
        if by is not By.OUTCOME:
            cells.append(_percent(tally.outcomes.get(Outcome.GRANTED.value, 0), tally.decisions))
        if not any(bars):
            del cells[3]
        rows.add(cells)


def _percent(part: int, of: int) -> str:
    return f"{100 * part / of:.1f}%" if of else "-"


_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def _bar(part: int, most: int) -> str:
    """A bar of eighths of a column, or of hashes where the terminal has no such letters."""
    try:
        _EIGHTHS.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#" * round(BAR * part / most)
    whole, eighth = divmod(round(8 * BAR * part / most), 8)
    return "█" * whole + _EIGHTHS[eighth].strip()
