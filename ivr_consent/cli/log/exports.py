"""``ivr-consent log export``, ``report``: the log for others."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ivr_consent.cli.log.filters import Line, OfOutcome, Server, Since, Until, moment
from ivr_consent.cli.terminal import Json, of, print_json, say
from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.exports.forms import Format

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.exports.calls import Noted, Selection
    from ivr_consent.exports.formats import Tally
    from ivr_consent.exports.logs import Logs
    from ivr_consent.exports.output import Output
    from ivr_consent.signing import Signer
    from ivr_consent.store.place import Place

ANNOUNCE_S: Final = 10.0
"""How long an export waits for its event to be on disk: nobody is on the telephone."""

Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for on the command line."""

    form: Format
    out: Path
    chosen: Selection
    server: str | None
    sign: bool
    excel: bool
    receipt: bool
    personal: bool
    force: bool


def export(
    context: typer.Context,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="jsonl: the events with their proofs; csv: a table of decisions; 27560: consent records of "
            "ISO/IEC TS 27560 (JSON-LD); vcon: conversation containers of the IETF.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to; - is standard output.")] = Path("-"),
    line: Line = None,
    outcome: OfOutcome = None,
    since: Since = None,
    until: Until = None,
    call: Annotated[str | None, typer.Option(metavar="ID", help="Only this call, by its id or its beginning.")] = None,
    sign: Annotated[bool, typer.Option("--sign", help="Sign it with the key that signs notices.")] = False,
    excel: Annotated[bool, typer.Option("--excel", help="csv: mark it as UTF-8 for spreadsheet programs.")] = False,
    receipt: Annotated[bool, typer.Option("--receipt", help="27560 of one call: as a receipt for its caller.")] = False,
    personal: Annotated[bool, typer.Option(help="With callers' pseudonyms and what else leads to persons.")] = True,
    server: Server = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Export decisions for others. The export is an event of the log itself."""
    from ivr_consent.exports.calls import Selection
    from ivr_consent.exports.output import STANDARD_OUTPUT, check

    if json and out == STANDARD_OUTPUT:
        raise typer.BadParameter("--json tells of the export on standard output; name a file with --out")
    if sign and out == STANDARD_OUTPUT and form is not Format.VCON:
        raise typer.BadParameter("the signature is a file beside the export; name one with --out")
    if excel and form is not Format.CSV:
        raise typer.BadParameter("--excel is for --format csv")
    if receipt and (form is not Format.RECORDS or call is None):
        raise typer.BadParameter("--receipt is for --format 27560 with --call")
    if form is Format.JSONL and (line is not None or outcome is not None):
        raise typer.BadParameter("a bundle has every event of its span; choose by --call, or by --since and --until")
    chosen = Selection(line, outcome.value if outcome else None, *_span(since, until), call)
    settings = of(context).settings()
    check(out, force=force)
    _export(settings, _Wish(form, out, chosen, server, sign, excel, receipt, personal, force), as_json=json)


def report(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to: a name that ends with .html or .pdf.")],
    line: Line = None,
    since: Since = None,
    until: Until = None,
    server: Server = None,
    verify: Annotated[bool, typer.Option(help="Verify the log first, and say in the report what came of it.")] = True,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a report on consent for who oversees data protection: numbers, plots, the state of the evidence."""
    from ivr_consent.exports.calls import Selection
    from ivr_consent.exports.output import check

    if out.suffix.lower() not in (".html", ".pdf"):
        raise typer.BadParameter("name a file that ends with .html or .pdf", param_hint="--out")
    settings = of(context).settings()
    check(out, force=force)
    begin, end = _span(since, until)
    chosen = Selection(line=line, since=begin, until=end)
    _report(settings, out, chosen, server, verify=verify, force=force, as_json=json)


def _span(since: str | None, until: str | None) -> tuple[str | None, str | None]:
    begin = moment(since, "since") if since is not None else None
    return begin, moment(until, "until", end=True) if until is not None else None


def _export(settings: Settings, wish: _Wish, *, as_json: bool) -> None:
    from ivr_consent.exports.logs import Logs
    from ivr_consent.exports.output import STANDARD_OUTPUT, opened
    from ivr_consent.signing import signer
    from ivr_consent.store.merged import places
    from ivr_consent.store.place import place_of

    own = place_of(settings)
    logs = Logs(places(own, wish.server) or [own])
    if wish.form is Format.JSONL and len(logs.places) > 1:
        names = ", ".join(place.server for place in logs.places)
        raise ConsentError(f"there are several logs in the database, and a bundle is of one: --server NAME, of {names}")
    by = signer(settings.path(settings.prompts.signing_key_file)) if wish.sign else None
    chosen = logs.resolved(wish.chosen)
    announce(own, wish, chosen, logs.count(chosen))
    with opened(wish.out, force=wish.force) as output, _progress(logs.size()) as told:
        if wish.form is Format.JSONL:
            tally = _bundle(logs, wish, chosen, output, told)
        else:
            tally = _write(settings, wish, chosen, logs, by, output, told)
    signature = _signature(wish, by, output, tally, logs)
    pruned = sum(state.pruned for state in logs.states)
    result = {
        "ok": True,
        "format": wish.form.value,
        "file": str(wish.out),
        "calls": tally.calls,
        "documents": tally.documents,
        "bytes": output.size,
        "sha256": output.sha256,
        "signature": str(signature) if signature is not None else None,
        "logs": [{"log": state.log, "events": state.events, "pruned": state.pruned} for state in logs.states],
    }
    if as_json:
        print_json(result)
        return
    to_file = wish.out != STANDARD_OUTPUT
    what = "events" if wish.form is Format.JSONL else "documents"
    documents = "" if tally.documents == tally.calls else f", {tally.documents} {what}"
    say(f"{tally.calls} call(s){documents}{f' written to {wish.out}' if to_file else ''}", error=not to_file)
    if pruned:
        say(f"{pruned} older event(s) are not in it: their time in the log was over", error=not to_file)
    if signature is not None:
        say(f"signed: {signature}")


def _bundle(logs: Logs, wish: _Wish, chosen: Selection, output: Output, told: Callable[[int], None]) -> Tally:
    """The events themselves, with what proves them."""
    from ivr_consent.exports.calls import Calls
    from ivr_consent.exports.formats import Tally
    from ivr_consent.store.bundle import Part, write_bundle

    (place,) = logs.places
    part = None
    with Calls(place) as calls:
        number = calls.count(chosen)
        if chosen.call is not None:
            part = Part(call=chosen.call)
        elif chosen.since is not None or chosen.until is not None:
            first, last = calls.span(chosen)
            part = Part(first=first, last=last)
    events = write_bundle(place, output, part=part, personal=wish.personal, progress=lambda done, _: told(done))
    logs.whole()
    return Tally(number, events)


def _write(
    settings: Settings,
    wish: _Wish,
    chosen: Selection,
    logs: Logs,
    by: Signer | None,
    output: Output,
    told: Callable[[int], None],
) -> Tally:
    from ivr_consent.exports import formats
    from ivr_consent.exports.jws import signatory
    from ivr_consent.exports.published import Published
    from ivr_consent.exports.records import Setting

    tally = formats.Tally()
    sources = formats.Sources(Published(settings).told, logs.sealed)
    facts = logs.facts(chosen, told, personal=wish.personal)
    now = datetime.now(UTC)
    if wish.form is Format.CSV:
        pieces = formats.csv_pieces(facts, tally, excel=wish.excel)
    elif wish.form is Format.VCON:
        certificates = settings.exports.certificate_file
        path = settings.path(certificates) if certificates is not None else None
        who = signatory(by, path, now) if by is not None else None
        pieces = formats.vcon_pieces(facts, tally, sources, now, who)
    else:
        given = settings.exports
        setting = Setting(given.jurisdiction, given.controller_address, given.storage_country)
        if chosen.call is None:
            pieces = formats.record_pieces(facts, tally, sources, setting)
        else:
            pieces = formats.record_document(facts, tally, sources, setting, now if wish.receipt else None)
    for piece in pieces:
        output.write(piece)
    return tally


# --- the report ------------------------------------------------------------------------------------------------------


def _report(
    settings: Settings, out: Path, chosen: Selection, server: str | None, *, verify: bool, force: bool, as_json: bool
) -> None:
    from ivr_consent import __version__
    from ivr_consent.exports import html, pdf, plots
    from ivr_consent.exports.blocks import Scope
    from ivr_consent.exports.calls import Calls
    from ivr_consent.exports.evidence import evidence_of
    from ivr_consent.exports.figures import Figures
    from ivr_consent.exports.output import opened
    from ivr_consent.exports.report import report
    from ivr_consent.store.merged import places
    from ivr_consent.store.place import place_of

    plots.check()
    figures, evidence = Figures(), []
    for place in places(place_of(settings), server) or [place_of(settings)]:
        with Calls(place) as calls, _progress(calls.size) as told:
            figures.count(_watched(calls.events(chosen), told))
        with Calls(place) as calls, _progress(calls.size, "verifying the log") as told:
            evidence.append(evidence_of(place, calls, verify=verify, progress=_done(told)))
    scope = Scope(chosen.since, chosen.until, chosen.line, datetime.now(UTC), f"ivr-consent {__version__}")
    made = report(figures, evidence, scope)
    document = pdf.document(made) if out.suffix.lower() == ".pdf" else html.page(made)
    with opened(out, force=force) as output:
        output.write(document)
    if as_json:
        print_json(
            {
                "ok": True,
                "file": str(out),
                "calls": figures.calls,
                "events": figures.events,
                "verified": _worst([one.good for one in evidence]),
                "verification": "; ".join(dict.fromkeys(one.verified for one in evidence)),
                "logs": [{"log": one.log, "verified": one.good, "verification": one.verified} for one in evidence],
            }
        )
        return
    say(f"report on {figures.calls} call(s) written to {out}")
    for one in evidence:
        say(f"the log {one.log}: {one.verified}" if len(evidence) > 1 else f"the log: {one.verified}")


def _done(told: Callable[[int], None]) -> Callable[[int, int], None]:
    return lambda done, _: told(done)


def _worst(verified: list[bool | None]) -> bool | None:
    """Of all logs: one that is not intact counts, then one of which not all could be verified."""
    return False if False in verified else None if None in verified else True


def _watched(events: Iterator[Noted], told: Callable[[int], None]) -> Iterator[Noted]:
    for event in events:
        yield event
        if not event.sequence % 1000:
            told(event.sequence)


# --- what is said of it ----------------------------------------------------------------------------------------------


def announce(place: Place, wish: _Wish, chosen: Selection, number: int) -> None:
    """Write into the log what is exported, for whom. Raises :class:`LedgerError`, and nothing may be exported then."""
    from ivr_consent.core.steps import Logged
    from ivr_consent.exports.text import plain
    from ivr_consent.store.ledger import Ledger

    details = {
        "format": wish.form.value,
        "filter": {name: plain(value, 100) for name, value in chosen.plain().items()}
        | ({"server": plain(wish.server, 100)} if wish.server is not None else {}),
        "calls": number,
        "signed": wish.sign,
        "personal": wish.personal,
        "by": user_name(),
    }
    try:
        ledger = Ledger(place)
    except LedgerError as error:
        raise LedgerError(f"nothing was exported: an export has to be an event of the log, and {error}") from None
    try:
        written = ledger.tell_now("exported", details, timeout=ANNOUNCE_S)
    finally:
        ledger.close()
    if not (isinstance(written, Logged) and written.durable):
        raise LedgerError(
            "nothing was exported: an export has to be an event of the log, and the log cannot be written; make room, "
            "or run this as the service's user"
        )


def user_name() -> str:
    """Who runs this, by the name of the system; the name that was logged in with where that is another one."""

    def name(number: int) -> str:
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return str(number)

    own = name(os.getuid())
    with contextlib.suppress(OSError, ValueError):
        login = int(Path("/proc/self/loginuid").read_text())
        if login not in (os.getuid(), 2**32 - 1):
            return f"{own} ({name(login)})"
    return own


@contextlib.contextmanager
def _progress(size: int, what: str = "reading the log") -> Iterator[Callable[[int], None]]:
    """Tells how far the log has been read, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=size)
        yield lambda sequence: bar.update(task, completed=sequence)


def _signature(wish: _Wish, by: Signer | None, output: Output, tally: Tally, logs: Logs) -> Path | None:
    """A file beside the export: a signed line with its digest. A vCon is signed in itself."""
    from ivr_consent.exports.output import opened
    from ivr_consent.exports.text import printable
    from ivr_consent.signing import sealed

    if by is None or wish.form is Format.VCON:
        return None
    path = wish.out.with_name(f"{wish.out.name}.sig")
    statement = {
        "file": printable(wish.out.name),
        "format": wish.form.value,
        "sha256": output.sha256,
        "bytes": output.size,
        "calls": tally.calls,
        "logs": [{"log": state.log, "events": state.events} for state in logs.states],
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    with opened(path, force=True) as file:
        file.write(sealed(statement, by))
    return path
