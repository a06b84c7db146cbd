"""``ivr-consent log tail``: the newest events, and those that come."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import select
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ivr_consent.cli.log import filters, told
from ivr_consent.cli.pager import paged
from ivr_consent.cli.terminal import Json, of, say
from ivr_consent.core.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

    from ivr_consent.store.place import Place
    from ivr_consent.store.reader import LedgerReader, LoggedEvent
    from ivr_consent.store.search import Wanted

POLL_S: Final = 1.0
"""The log is looked at this often, also when the kernel tells of nothing: another machine may have written it."""

PAUSE_S: Final = 0.05
"""And never more often than this."""

REMEMBERED: Final = 1000
"""Leaves of events that were shown: by them it is seen where a restored copy goes another way."""


def tail(
    context: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with the events that come, until Ctrl-C.")
    ] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, max=100_000, help="How many of the newest.")] = 10,
    line: filters.Line = None,
    outcome: filters.OfOutcome = None,
    kind: filters.Kind = None,
    server: filters.Server = None,
    json_lines: filters.JsonLines = False,
    json: Json = False,
) -> None:
    """Show the newest events, the oldest of them first."""
    if json and follow:
        raise typer.BadParameter("one object has an end; use --json-lines with --follow", param_hint="--json")
    wanted = filters.wanted(context, line=line, outcome=outcome, kind=kind)
    chosen = _places(context, server)
    named = server is None and chosen[0].url is not None
    form = told.of_servers(told.EVENTS) if named else told.EVENTS
    with contextlib.ExitStack() as opened, paged(False, interrupted=0):
        followers = [
            opened.enter_context(contextlib.closing(_Follower(place, wanted, place.server if named else None)))
            for place in chosen
        ]
        newest = _newest(followers, lines)
        if not follow:
            told.print_list(newest, form, json=json, json_lines=json_lines, empty="no event in the log fits")
            return
        add = told.adder(form, json_lines=json_lines)
        for event in newest:
            add(event)
        sys.stdout.flush()
        for event in _following(followers):
            add(event)
            sys.stdout.flush()


def _places(context: typer.Context, server: str | None) -> list[Place]:
    from ivr_consent.store.merged import places
    from ivr_consent.store.place import place_of

    place = place_of(of(context).settings())
    return places(place, server) or [place]  # of the one that is not there yet it is said why


def _newest(followers: list[_Follower], count: int) -> list[LoggedEvent]:
    """The newest of all logs, the oldest of them first."""
    merged = heapq.merge(*(follower.newest(count) for follower in followers), key=lambda event: event.time)
    return list(deque(merged, maxlen=count))


def _following(followers: list[_Follower]) -> Iterator[LoggedEvent]:
    """Events as they come, without end."""
    with _Change(followers[0].folder) as change:
        while True:
            for follower in followers:
                yield from follower.come()
            change.wait()


class _Follower:
    """Reads a log to its end, again and again; also where it is gone for a while, or another copy is in its place."""

    def __init__(self, place: Place, wanted: Wanted, server: str | None) -> None:
        self._place, self._wanted, self._server = place, wanted, server
        self._reader: LedgerReader | None = self._opened()
        self._last = self._reader.size()
        self._leaves: deque[tuple[int, str | None]] = deque(maxlen=REMEMBERED)
        self._remember()
        self._waiting = False

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _opened(self) -> LedgerReader:
        from ivr_consent.store.reader import LedgerReader

        return LedgerReader(self._place, lenient=True)

    @property
    def folder(self) -> Path | None:
        """Where the kernel tells of a change; ``None`` of a log in a database."""
        return self._place.path.parent if self._place.url is None else None

    def newest(self, count: int) -> list[LoggedEvent]:
        """The newest that fit, the oldest of them first."""
        assert self._reader is not None
        found = self._reader.events(self._wanted, limit=count)
        return [self._labelled(event) for event in reversed(list(found)) if event.sequence <= self._last]

    def _labelled(self, event: LoggedEvent) -> LoggedEvent:
        return event if self._server is None else dataclasses.replace(event, server=self._server)

    def come(self) -> Iterator[LoggedEvent]:
        """What has come since."""
        try:
            yield from map(self._labelled, self._read())
        except LedgerError as error:
            self._lost(error)

    def _read(self) -> Iterator[LoggedEvent]:
        if self._reader is not None and self._reader.replaced():
            self._reader.close()
            self._reader = None
        if self._reader is None:
            self._reader = self._opened()
            self._find_place()
        if self._waiting:
            self._waiting = False
            say("ivr-consent: the log can be read again", error=True)
        while events := self._reader.after(self._last):
            for event in events:
                self._last = event.sequence
                if self._fits(event):
                    yield event
            self._remember()
        if self._reader.size() < self._last:
            self._find_place()

    def _fits(self, event: LoggedEvent) -> bool:
        wanted = self._wanted
        return (
            wanted.line in (None, event.line)
            and wanted.outcome in (None, event.outcome)
            and wanted.kind in (None, event.kind)
        )

    def _remember(self) -> None:
        assert self._reader is not None
        seal = self._reader.seal(self._last) if self._last else None
        self._leaves.append((self._last, seal.leaf if seal is not None else None))

    def _find_place(self) -> None:
        """Where the log that is there now parts from what was shown."""
        assert self._reader is not None
        size = self._reader.size()
        while self._leaves:
            sequence, leaf = self._leaves[-1]
            seal = self._reader.seal(sequence) if sequence <= size else None
            if seal is not None and seal.leaf == leaf:
                break
            if seal is None and 0 < sequence <= self._reader.trunk():
                break
            self._leaves.pop()
        common = self._leaves[-1][0] if self._leaves else size
        if common < self._last or not self._leaves:
            say(
                f"ivr-consent: another copy of the log is in its place: it ends with event {size}, and what was shown "
                f"after event {common} is not in it",
                error=True,
            )
        self._last = common

    def _lost(self, error: LedgerError) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if not self._waiting:
            self._waiting = True
            say(f"ivr-consent: {error}; waiting for it", error=True)


class _Change:
    """Waits until something has changed in the log's folder, or for :data:`POLL_S`."""

    def __init__(self, folder: Path | None) -> None:
        from ivr_consent.watch import FolderWatch

        self._watch = FolderWatch(lambda _: None) if folder is not None else None
        if self._watch is not None and folder is not None:
            self._watch.set([folder])

    def __enter__(self) -> _Change:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.close()

    def wait(self) -> None:
        """Wait, at least for :data:`PAUSE_S`."""
        time.sleep(PAUSE_S)
        if self._watch is None or self._watch.descriptor < 0:
            time.sleep(POLL_S - PAUSE_S)
            return
        ready, _, _ = select.select([self._watch.descriptor], [], [], POLL_S - PAUSE_S)
        if ready:
            self._watch.read()
