"""All places of a configuration, and what stands there."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ivr_consent.anchors.command import CommandAnchor
from ivr_consent.anchors.file import FileAnchor
from ivr_consent.anchors.journal import JournalAnchor
from ivr_consent.anchors.mail import MailAnchor
from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import READ_S, Anchor, AnchorError, Limit, Told
from ivr_consent.anchors.timestamp import Stamped, TimestampAnchor, TokenError
from ivr_consent.config import Settings
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.anchored import AnchoredReader, reading
from ivr_consent.store.chain import utc_text
from ivr_consent.store.place import Place, place_of
from ivr_consent.verifier import NoteError

MAX_BEYOND: Final = 10_000
"""Checkpoints of one place that the log has not and that are looked at: there should be none."""

MAX_TOLD: Final = 20
"""Problems of one place that are told."""


class Collected(NamedTuple):
    """A checkpoint that stands outside of the log, as a signed note: whose it is, and whether its signature is good, is
    the verifier's to say.

    ``place``: where. ``events``: of how many it is. ``seen``: when a time-stamp service has seen it, UTC as in the log;
    its word is verified.
    """

    place: str
    note: str
    events: int
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


def collected(settings: Settings, told: Told) -> Iterator[Collected]:
    """What stands at the places of a configuration, for a verifier of its log.

    Of checkpoints that the log has in the very same words, and which therefore tell nothing that it does not tell
    itself, only the newest of each place. A place that cannot be read, or a time-stamp that is not good, is ``told``
    and passed over. Memory: a place may hold years of checkpoints, or what somebody has flooded it with.
    """
    place = place_of(settings)
    for anchor in anchors_of(settings):
        name = f"{anchor.name} {anchor.where}"
        told_of_it = _bounded(told, name)
        if isinstance(anchor, TimestampAnchor):
            inside = f"time-stamp in the log, by {anchor.where}"
            for stamped in stamped_in_log(anchor, place, told_of_it):
                yield Collected(inside, stamped.sealed.note, stamped.sealed.size, utc_text(stamped.time))
        for seen, sealed in _beyond_the_log(place, read_back(anchor, told_of_it), told_of_it):
            yield Collected(name, sealed.note, sealed.size, seen)


Found = tuple[str | None, Sealed]
"""A checkpoint that stands at a place, and when a time-stamp service has seen it."""


def _beyond_the_log(place: Place, found: Iterator[Found], told: Told) -> Iterator[Found]:
    """What the log does not have itself, at most :data:`MAX_BEYOND`, and the newest of what it has."""
    newest: Found | None = None
    beyond = 0
    with contextlib.ExitStack() as stack:
        diary = None
        with contextlib.suppress(LedgerError):  # no log, or none of ours: then all of it is beyond
            diary = stack.enter_context(reading(place))
        for one in found:
            if diary is not None and _has(diary, one[1]):
                newest = one if newest is None or one[1].size > newest[1].size else newest
                continue
            beyond += 1
            if beyond > MAX_BEYOND:
                told(f"more than {MAX_BEYOND} checkpoints that the log has not; the others are not looked at")
                break
            yield one
    if newest is not None:
        yield newest


def _has(diary: AnchoredReader, sealed: Sealed) -> bool:
    try:
        return diary.note(sealed.size) == sealed.note
    except LedgerError:
        return False


def _bounded(told: Told, name: str) -> Told:
    """Tells of a place, so much and no more."""
    count = itertools.count()

    def tell(problem: str) -> None:
        number = next(count)
        if number < MAX_TOLD:
            told(f"{name}: {problem}")
        elif number == MAX_TOLD:
            told(f"{name}: and more of the kind")

    return tell


def read_back(anchor: Anchor, told: Told) -> Iterator[Found]:
    """What stands at a place that can be read without a hand."""
    if not anchor.readable:
        return
    try:
        yield from _read(anchor, told)
    except AnchorError as error:
        told(str(error))


def _read(anchor: Anchor, told: Told) -> Iterator[Found]:
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
