"""Published notices as events of the log.

The publishing itself comes first: the versions' history is a signed chain of its own, and the log says what has
happened. Where the log cannot be told, what was published stays published, and that is said; what callers hear is an
event in any case, written by the service as it takes a version into use.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ivr_consent.cli.terminal import Exit, say, say_problem
from ivr_consent.core.errors import LedgerError, Problem

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.manifest import Manifest
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.store.place import Place

WRITE_S: Final = 10.0
"""How long an administrator waits for the log's disk."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A version that came into force: by what act (as in the history), and who approved that."""

    manifest: Manifest
    act: str
    by: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Whether the log was told. ``problem``: it was not, and should have been. ``reason``: it was not, and need not."""

    problem: Problem | None = None
    reason: str | None = None

    @property
    def exit(self) -> Exit:
        """The exit code for it."""
        return Exit.LOG if self.problem is not None else Exit.GOOD

    def say(self) -> None:
        """Tell an administrator."""
        if self.problem is not None:
            say_problem(self.problem, error=True)
        elif self.reason is not None:
            say(f"the log was not told: {self.reason}")


def note(settings: Settings, done: Sequence[Publication]) -> Noted:
    """Tell the log what was published, where it does not know it already. Raises nothing of its own."""
    from ivr_consent.store.place import place_of

    place = place_of(settings)
    if not done:
        return Noted()
    if not place.begun():
        return Noted(reason="there is none yet; the service writes what is in force when it starts")
    if place.url is None and not os.access(place.path, os.R_OK | os.W_OK):
        return Noted(reason="it is another user's; the service writes what is in force when it takes it into use")
    try:
        _write(place, done)
    except LedgerError as error:
        found, _, remedy = str(error).partition("; ")
        lines = ", ".join(publication.manifest.line for publication in done)
        what = f"published, but not written into the log ({lines}): {found}"
        return Noted(Problem(place.name, what, f"{remedy or 'see its disk'}; then run this again: it only adds that"))
    return Noted()


def _write(place: Place, done: Sequence[Publication]) -> None:
    from ivr_consent.store.ledger import Ledger

    ledger = Ledger(place)
    try:
        for publication in done:
            if not _known(ledger, publication):
                _tell(ledger, publication)
    finally:
        ledger.close()


def _known(ledger: Ledger, publication: Publication) -> bool:
    """Whether the newest event of the line says this version already: an act that is repeated changes nothing."""
    from ivr_consent.service_events import last_notice

    with ledger.reader() as reader:
        last = last_notice(reader, publication.manifest.line)
    wanted = (publication.manifest.version, publication.manifest.sha256)
    return last is not None and (last.get("version"), last.get("manifest_sha256")) == wanted


def _tell(ledger: Ledger, publication: Publication) -> None:
    from ivr_consent.core.steps import Logged
    from ivr_consent.service_events import NOTICE_PUBLISHED, notice_published

    details = notice_published(publication.manifest, publication.act, publication.by)
    written = ledger.tell_now(NOTICE_PUBLISHED, details, publication.manifest.line, timeout=WRITE_S)
    if not (isinstance(written, Logged) and written.durable):
        raise LedgerError("the log cannot be written; look for a full, slow or read-only disk")
