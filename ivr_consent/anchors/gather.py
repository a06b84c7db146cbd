"""All places of a configuration, and what stands there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ivr_consent.anchors.command import CommandAnchor
from ivr_consent.anchors.file import FileAnchor
from ivr_consent.anchors.journal import JournalAnchor
from ivr_consent.anchors.mail import MailAnchor
from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import READ_S, Anchor, AnchorError, Limit, Told
from ivr_consent.anchors.timestamp import Stamped, TimestampAnchor, TokenError
from ivr_consent.config import Settings
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.anchored import reading
from ivr_consent.store.chain import utc_text
from ivr_consent.store.place import Place, place_of
from ivr_consent.verifier import NoteError


class Collected(NamedTuple):
    """A checkpoint that stands outside of the log, as a signed note: whose it is, and whether its signature is good, is
    the verifier's to say.

    ``place``: where. ``seen``: when a time-stamp service has seen it, UTC as in the log; its word is verified.
    """

    place: str
    note: str
    seen: str | None = None


def anchors_of(settings: Settings) -> list[Anchor]:
    """The places of a configuration."""
    chosen = settings.log.anchors
    found: list[Anchor] = []
    if chosen.file is not None:
        found.append(FileAnchor(settings.path(chosen.file), settings.path(settings.log.path).parent))
    if chosen.journal:
        found.append(JournalAnchor())
    if chosen.command is not None:
        found.append(CommandAnchor(chosen.command))
    if chosen.mail is not None:
        paths = (_path(settings, chosen.mail.password_file), _path(settings, chosen.mail.ca_file))
        found.append(MailAnchor(chosen.mail, *paths))
    if chosen.timestamp is not None:
        table = chosen.timestamp
        found.append(TimestampAnchor(table, settings.path(table.ca_file), _path(settings, table.directory)))
    return found


def _path(settings: Settings, path: Path | None) -> Path | None:
    return None if path is None else settings.path(path)


def collected(settings: Settings, told: Told, log: Place | None = None) -> Iterator[Collected]:
    """Every checkpoint that stands at a place of the configuration, in each place's order.

    A place that cannot be read, or a time-stamp that is not good, is ``told`` and passed over. ``log``: where the
    time-stamps are, if not in the log of the configuration.
    """
    for anchor in anchors_of(settings):
        name = f"{anchor.name} {anchor.where}"

        def told_of_it(problem: str, name: str = name) -> None:
            told(f"{name}: {problem}")

        if isinstance(anchor, TimestampAnchor):
            inside = f"time-stamp in the log, by {anchor.where}"
            for stamped in stamped_in_log(anchor, log or place_of(settings), told_of_it):
                yield Collected(inside, stamped.sealed.note, utc_text(stamped.time))
        for seen, sealed in read_back(anchor, told_of_it):
            yield Collected(name, sealed.note, seen)


def read_back(anchor: Anchor, told: Told) -> Iterator[tuple[str | None, Sealed]]:
    """What stands at a place that can be read without a hand, each with when a time-stamp service has seen it."""
    if not anchor.readable:
        return
    try:
        yield from _read(anchor, told)
    except AnchorError as error:
        told(str(error))


def _read(anchor: Anchor, told: Told) -> Iterator[tuple[str | None, Sealed]]:
    limit = Limit(READ_S)
    if isinstance(anchor, TimestampAnchor):
        for stamped in anchor.stamped(limit, told):
            yield utc_text(stamped.time), stamped.sealed
    else:
        for sealed in anchor.read(limit):
            yield None, sealed


def stamped_in_log(anchor: TimestampAnchor, log: Place, told: Told) -> Iterator[Stamped]:
    """The log's own checkpoints that a time-stamp in the log vouches for: they tell a time, and of a cut nothing."""
    try:
        judge = anchor.judge()
        with reading(log) as diary:
            for row, note in diary.proofs(anchor.name):
                if note is None:
                    told(f"the time-stamp of {row.size} events: its checkpoint is not in the log")
                    continue
                try:
                    stamped = Stamped(Sealed.parse(note), judge.time(row.proof or b"", note.encode()))
                except (TokenError, NoteError) as error:
                    told(f"the time-stamp of {row.size} events: {error}")
                else:
                    yield stamped
    except (AnchorError, LedgerError) as error:
        told(str(error))
