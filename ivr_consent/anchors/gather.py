"""All places of a configuration, and what stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ivr_consent.anchors.command import CommandAnchor
from ivr_consent.anchors.file import FileAnchor, read_file
from ivr_consent.anchors.journal import JournalAnchor
from ivr_consent.anchors.mail import MailAnchor, notes_in_mails
from ivr_consent.anchors.notes import Sealed, notes_in
from ivr_consent.anchors.place import READ_S, Anchor, AnchorError, Limit, Told
from ivr_consent.anchors.timestamp import TimestampAnchor, TokenError
from ivr_consent.config import Settings
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.anchored import reading
from ivr_consent.store.chain import utc_text
from ivr_consent.store.place import Place, place_of

_MAIL: Final = re.compile(rb"(?:From |[!-9;-~]{1,100}:[ \t])")
"""How a saved mail begins, or a mailbox of many."""


class Outside(NamedTuple):
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


def collected(settings: Settings, told: Told, log: Place | None = None) -> Iterator[Outside]:
    """Every checkpoint that stands at a place of the configuration, in each place's order.

    A place that cannot be read, or a time-stamp that is not good, is ``told`` and passed over. ``log``: where the
    time-stamps are, if not in the log of the configuration.
    """
    for anchor in anchors_of(settings):
        name = f"{anchor.name} ({anchor.where})"
        try:
            if isinstance(anchor, TimestampAnchor):
                yield from _stamped(anchor, log or place_of(settings), told)
            if anchor.readable:
                for seen, sealed in _read(anchor, told):
                    yield Outside(name, sealed.note, seen)
        except (AnchorError, LedgerError) as error:
            told(f"{name}: {error}")


def _read(anchor: Anchor, told: Told) -> Iterator[tuple[str | None, Sealed]]:
    limit = Limit(READ_S)
    if isinstance(anchor, TimestampAnchor):
        for stamped in anchor.stamped(limit, told):
            yield utc_text(stamped.time), stamped.sealed
    else:
        for sealed in anchor.read(limit):
            yield None, sealed


def _stamped(anchor: TimestampAnchor, log: Place, told: Told) -> Iterator[Outside]:
    """The log's own checkpoints that a time-stamp in the log vouches for: they tell a time, and nothing that is cut."""
    judge = anchor.judge()
    with reading(log) as diary:
        for row, note in diary.proofs(anchor.name):
            if note is None or row.proof is None:
                told(f"the time-stamp of {row.size} events: the checkpoint that it is of is not in the log")
                continue
            try:
                seen = judge.time(row.proof, note.encode())
            except TokenError as error:
                told(f"the time-stamp of {row.size} events: it {error}")
            else:
                yield Outside(f"time-stamp in the log ({anchor.where})", note, utc_text(seen))


def saved(path: Path) -> Iterator[Sealed]:
    """The checkpoints in a file that somebody has kept: any text, a mail, or a mailbox. Raises :class:`AnchorError`."""
    limit = Limit(READ_S)
    beginning = next(read_file(path, limit), b"")
    if _MAIL.match(beginning):
        yield from notes_in_mails(read_file(path, limit))
    else:
        yield from notes_in(read_file(path, limit))
