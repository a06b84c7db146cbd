"""``ivr-consent log forget``, ``expire``: personal data goes, what is over goes; the log says so and still verifies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ivr_consent.cli.terminal import Json, of, print_json, print_table, say
from ivr_consent.core.errors import ConsentError

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.store.erasure import Erasable, Erasure
    from ivr_consent.store.retention import Expiry

SHOWN: Final = 50
"""Calls that are shown; the rest is counted."""

WITHOUT_END_S: Final = 30 * 86_400.0
"""How long a run by hand may go on: until it is done."""

IN_THE_WAY: Final = (
    "somebody is reading the log, so its files may still hold traces of it (in the write-ahead log); "
    "the service clears them as soon as the reader is done, or run: ivr-consent log expire"
)


def forget(
    context: typer.Context,
    caller: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="All calls of this number, as the switch tells it.")
    ] = None,
    call: Annotated[str | None, typer.Option(metavar="ID", help="One call, by its id or the beginning of it.")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="CODE", help="The call with this reference code, of ten digits.")
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="WORD", help="Why, for the log: a word such as erasure-request; nobody's name.")
    ] = "erasure-request",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Erase recordings that there still are first, as: ivr-consent withdraw.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Erase nothing; show what would be.")] = False,
    json: Json = False,
) -> None:
    """Erase what the log holds of a caller: the pseudonym, the channel, the reference code. For good.

    That a call was asked, and what was decided, stays, and leads to nobody. The log says what was erased, and verifies
    as before. Copies of the log and exports are not reached.
    """
    _check(caller, call, reference, reason)
    if json and not (yes or dry_run):
        raise typer.BadParameter("with --json nobody is asked; add --yes, or --dry-run", param_hint="--json")
    settings = of(context).settings()
    found = _found(settings, caller, call, reference)
    if not json:
        _show(found)
    recorded = [erasable for erasable in found if erasable.recording]
    if dry_run or not found:
        if json:
            print_json(_as_json(found, None, dry_run=dry_run))
        return
    if recorded and not withdraw:
        ids = ", ".join(erasable.call_id for erasable in recorded[:10])
        raise ConsentError(
            f"{len(recorded)} of them has a recording that is not erased ({ids}); erase it first: "
            "ivr-consent withdraw ID, or add --withdraw"
        )
    if not yes:
        typer.confirm("Erase it? It cannot be brought back.", abort=True)
    done = _forget(context, found, recorded, reason)
    if json:
        print_json(_as_json(found, done, dry_run=False))
        return
    say(f"erased: the personal data of {_calls(done.calls)}, and the log says so")
    if not done.in_files:
        say(f"to be finished: {IN_THE_WAY}")


def _check(caller: str | None, call: str | None, reference: str | None, reason: str) -> None:
    if sum(given is not None for given in (caller, call, reference)) != 1:
        raise typer.BadParameter("name one of them: --caller, --call, --reference", param_hint="--caller")
    word = reason.replace("-", "").replace("_", "")
    if not (word.isascii() and word.isalnum() and word[:1].isalpha() and len(reason) <= 40):
        raise typer.BadParameter(
            f"{reason!r} is not a word of letters, digits, - and _; it stays in the log, so name nobody in it",
            param_hint="--reason",
        )


def _found(settings: Settings, caller: str | None, call: str | None, reference: str | None) -> list[Erasable]:
    from ivr_consent.pseudonyms import read_pseudonyms
    from ivr_consent.store.erasure import Finder
    from ivr_consent.store.place import place_of

    with Finder(place_of(settings)) as finder:
        if call is not None:
            return finder.of_call(call.lower())
        if reference is not None:
            return finder.of_reference(read_pseudonyms(settings).find(reference))
        subjects = read_pseudonyms(settings).subjects(caller or "")
        if not subjects:
            raise typer.BadParameter(f"{caller!r} is not a number", param_hint="--caller")
        return finder.of_caller(subjects)


def _forget(context: typer.Context, found: list[Erasable], recorded: list[Erasable], reason: str) -> Erasure:
    from ivr_consent.cli.log.exports import user_name
    from ivr_consent.cli.recordings import opened_log
    from ivr_consent.store import erasure, lifecycle

    with opened_log(context) as (ledger, directory):
        for erasable in recorded:
            lifecycle.withdraw(ledger, directory, erasable.call_id)
        return erasure.forget(ledger, found, reason=reason, by=user_name())


def _show(found: list[Erasable]) -> None:
    if not found:
        say("nothing personal is in the log")
        return
    rows = [
        (
            erasable.call_id[:12],
            erasable.time[:19].replace("T", " "),
            erasable.line,
            erasable.outcome or "-",
            "there" if erasable.recording else "-",
            len(erasable.events),
        )
        for erasable in found[:SHOWN]
    ]
    print_table(("id", "time (UTC)", "line", "outcome", "recording", "events"), rows)
    if len(found) > SHOWN:
        say(f"and {len(found) - SHOWN} more")


def _as_json(found: list[Erasable], done: Erasure | None, *, dry_run: bool) -> dict[str, Any]:
    return {
        "ok": True,
        "dry_run": dry_run,
        "calls": [
            {
                "call_id": erasable.call_id,
                "time": erasable.time,
                "line": erasable.line,
                "outcome": erasable.outcome,
                "recording": erasable.recording,
                "events": list(erasable.events),
            }
            for erasable in found
        ],
        "erased": sum(last - first + 1 for first, last in done.events) if done is not None else 0,
        "in_files": done.in_files if done is not None else None,
    }


def expire(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing; count what would be.")] = False,
    json: Json = False,
) -> None:
    """Remove from the log what is over by log.retention: of such events a hash stays, and the log verifies as before.

    The server does this by itself, every hour; a site with the classic script alone runs it from cron.
    """
    settings = of(context).settings()
    from ivr_consent.store import retention
    from ivr_consent.store.place import place_of

    terms = settings.log.retention
    told = retention.what_is_due(place_of(settings), terms) if dry_run else _expire(context, settings)
    if json:
        print_json(
            {
                "ok": True,
                "dry_run": dry_run,
                "calls": told.calls,
                "events": told.events,
                "trunk": told.trunk,
                "keys_destroyed": list(told.keys),
            }
        )
        return
    verb = "would be removed" if dry_run else "removed"
    say(f"{verb}: {told.events} event(s), among them those of {_calls(told.calls)}; their hashes stay")
    if told.trunk:
        say(f"of the oldest {told.trunk} events nothing is left but the checkpoints over them")
    if told.keys:
        say(f"keys of pseudonyms destroyed: {', '.join(key or 'the one of before periods' for key in told.keys)}")


def _expire(context: typer.Context, settings: Settings) -> Expiry:
    from ivr_consent.cli.recordings import opened_log
    from ivr_consent.pseudonyms import read_pseudonyms
    from ivr_consent.store import erasure, retention

    with opened_log(context) as (ledger, _):
        done = retention.expire(ledger, settings.log.retention, read_pseudonyms(settings), run_s=WITHOUT_END_S)
        if not erasure.forget_in_files(ledger.place):
            say(f"to be finished: {IN_THE_WAY}", error=True)
        return done


def _calls(number: int) -> str:
    return "one call" if number == 1 else f"{number} calls"
