"""The forms of an export, each as a stream of bytes: calls go in, one after the other, and are not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ivr_consent.core.errors import ConsentError
from ivr_consent.exports import jsonld, records, sheet, vcon
from ivr_consent.exports.calls import Sealed
from ivr_consent.exports.facts import Facts
from ivr_consent.exports.jws import Signatory, signed
from ivr_consent.exports.published import Told


@dataclass(slots=True)
class Tally:
    """How much has been written: calls, and the documents that they made."""

    calls: int = 0
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a call's export takes from what is not in its events: what its caller was told, and its checkpoint."""

    told: Callable[[Facts], Told]
    sealed: Callable[[int], Sealed | None]


def csv_pieces(calls: Iterable[Facts], tally: Tally, *, excel: bool) -> Iterator[bytes]:
    """A table. ``excel``: with the mark that tells spreadsheet programs that it is UTF-8."""
    yield (sheet.BOM if excel else b"") + sheet.header()
    for call in calls:
        yield sheet.row(call)
        tally.calls += 1
        tally.documents += 1


def record_pieces(calls: Iterable[Facts], tally: Tally, sources: Sources, setting: records.Setting) -> Iterator[bytes]:
    """Consent records of many calls, one JSON-LD document, a record on each line."""
    yield jsonld.opening()
    for call in calls:
        tally.calls += 1
        sealed = sources.sealed(call.last_sequence)
        for node in records.records(call, sources.told(call), setting, sealed, words=False):
            yield (jsonld.BETWEEN if tally.documents else b"") + jsonld.dumped(node)
            tally.documents += 1
    yield jsonld.CLOSING


def record_document(
    calls: Iterable[Facts], tally: Tally, sources: Sources, setting: records.Setting, created: datetime | None
) -> Iterator[bytes]:
    """The consent records of the one call that there is; ``created``: as a receipt that is made now.

    Raises :class:`ConsentError` for a call that has none.
    """
    for call in calls:
        found = records.records(call, sources.told(call), setting, sources.sealed(call.last_sequence))
        if not found:
            raise ConsentError(
                f"call {call.call_id} was not asked for any purpose ({call.reason}): there is no consent to be "
                "recorded; see: ivr-consent log show"
            )
        tally.calls, tally.documents = 1, len(found)
        if created is not None:
            yield jsonld.document(records.receipt(call, found, created))
        elif len(found) == 1:
            yield jsonld.document(found[0])
        else:
            yield from jsonld.graph(found)
    if not tally.calls:
        raise ConsentError("the call's decision is not in the log any more: its time there was over")


def vcon_pieces(
    calls: Iterable[Facts], tally: Tally, sources: Sources, created: datetime, who: Signatory | None
) -> Iterator[bytes]:
    """vCons, one on each line. ``who``: in their signed form."""
    for call in calls:
        made = vcon.container(call, sources.told(call), sources.sealed(call.last_sequence), created)
        if who is None:
            yield jsonld.dumped(made.document) + b"\n"
        else:
            yield signed(made.document, made.uuid, who) + b"\n"
        tally.calls += 1
        tally.documents += 1
