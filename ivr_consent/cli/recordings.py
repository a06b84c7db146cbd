"""``ivr-consent withdraw`` and ``ivr-consent sweep``: what becomes of recordings outside a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivr_consent.cli.terminal import Json, of, print_json, say

if TYPE_CHECKING:
    from ivr_consent.store.ledger import Ledger


def withdraw(
    context: typer.Context,
    call_id: Annotated[
        str, typer.Argument(metavar="ID", help="The call's id, or the beginning of it, as in: ivr-consent log list.")
    ],
    json: Json = False,
) -> None:
    """Erase the recording of a caller who withdraws consent, also while the call goes on, and log it."""
    with opened_log(context) as (ledger, directory):
        from ivr_consent.store import lifecycle

        record = lifecycle.withdraw(ledger, directory, call_id.lower())
    found = record.call_id
    if json:
        print_json({"ok": True, "call_id": found, "erased": True})
    else:
        say(f"withdrawn: the recording of call {found} is erased, and the log says so")


def sweep(context: typer.Context, json: Json = False) -> None:
    """Finish recordings whose end nobody reported, and erase those whose promised days are over.

    The server does this by itself; a site with the classic script alone runs it from cron.
    """
    with opened_log(context) as (ledger, directory):
        from ivr_consent.store import lifecycle

        finished = lifecycle.sweep(ledger, directory, frozenset())
        erased = lifecycle.expire(ledger, directory) + lifecycle.erase_leftovers(ledger, directory)
    if json:
        print_json({"ok": True, "finished": finished, "erased": erased})
    else:
        say(f"finished: {finished}, erased: {erased}")


@contextmanager
def opened_log(context: typer.Context) -> Iterator[tuple[Ledger, Path]]:
    """The log, open for writing, and where recordings are."""
    settings = of(context).settings()
    from ivr_consent.core.errors import LedgerUnreadable
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.store.place import place_of

    place = place_of(settings)
    if not place.begun():
        raise LedgerUnreadable(f"there is no log at {place.name}; it is created by the first: ivr-consent serve")
    ledger = Ledger(place)
    try:
        yield ledger, settings.path(settings.recordings.directory)
    finally:
        ledger.close()
