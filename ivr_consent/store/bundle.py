"""The evidence bundle: a log, or a part of it, as lines of JSON that the verifier reads instead of the database.

The first line says what it is; then come the trunk (what is left of the oldest events), events, hashes of pruned
events and checkpoints, in their order; the last line says where the log ends. In a part there are all checkpoints
first, and each event has its inclusion proof to the newest of them. The form is told in ``docs/evidence.md``.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.store.database import Database, cannot_read
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.proofs import Proofs
from ivr_consent.store.sealing import origin
from ivr_consent.verifier import BUNDLE, HASH_BYTES

MAX_PLAIN: Final = 1 << 20
"""Bytes of a payload or of personal data that are written as text; longer ones, and what is no text, as base64."""

TOLD_EVERY: Final = 4096
"""Events between two calls of ``progress``."""

_EVENTS: Final = "SELECT sequence, time, kind, call_id, line, outcome, payload, commitment, previous FROM events"
_BESIDE: Final = "SELECT sequence, salt, data, subject, agent"


class Writable(Protocol):
    """What a bundle is written to: an open binary file, a gzip file, a pipe."""

    def write(self, data: bytes, /) -> object:
        """Take some bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Which events: of one call (its whole id), and from a sequence to another, both included."""

    call: str | None = None
    first: int | None = None
    last: int | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """As SQL."""
        chosen = (("call_id = ?", self.call), ("sequence >= ?", self.first), ("sequence <= ?", self.last))
        where = [(text, value) for text, value in chosen if value is not None]
        return " AND ".join(text for text, _ in where) or "1 = 1", [value for _, value in where]


def write_bundle(
    place: Place,
    file: Writable,
    *,
    part: Part | None = None,
    personal: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the evidence of a log, or of a part of it, as lines of JSON; the number of events in it.

    Without ``personal`` data the events still verify, as if these had been erased and only that. ``progress`` is told
    events so far and in all. Constant memory. Raises :class:`LedgerError`, :class:`ConsentError` for a part that is
    not under a checkpoint yet, and :class:`OSError` of the file.
    """
    database = open_for_reading(place)
    try:
        database.freeze()
        writer = _Writer(database, file, personal=personal, progress=progress)
        return writer.whole() if part is None else writer.part(part)
    except database.errors as error:
        raise cannot_read(place.name, error) from None
    finally:
        database.close()


class _Writer:
    def __init__(
        self, database: Database, file: Writable, *, personal: bool, progress: Callable[[int, int], None] | None
    ) -> None:
        self._database, self._file, self._personal, self._progress = database, file, personal, progress
        row = database.execute(
            "SELECT log_id, size, peaks, last_leaf, last_time, sealed, sealed_time, next_key, "
            "trunk_size, trunk_peaks, trunk_leaf FROM log"
        ).fetchone()
        if row is None:
            raise LedgerError(f"{database.name} does not say where it ends; see: ivr-consent log verify")
        self.log_id, self.size, *self._end, self._trunk_size, self._trunk_peaks, self._trunk_leaf = row

    def _line(self, name: str, value: Any) -> None:
        text = json.dumps({name: value}, ensure_ascii=False, separators=(",", ":"), default=_other)
        self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def _header(self, holds: str, **more: Any) -> None:
        self._line("bundle", {"form": BUNDLE, "log": origin(self.log_id), "holds": holds, "size": self.size, **more})

    def whole(self) -> int:
        """All of the log."""
        beside = {"personal": self._personal}
        self._header("all", **beside)
        if self._trunk_size:
            trunk = {"size": self._trunk_size, "peaks": _hashes(self._trunk_peaks), "leaf": _hex(self._trunk_leaf)}
            self._line("trunk", trunk)
        personal = _Ahead(self._rows(f"{_BESIDE} FROM (SELECT * FROM personal WHERE erased = 0) AS p"))  # noqa: S608 - fixed
        pruned = _Ahead(self._rows("SELECT sequence, leaf FROM pruned"))
        checkpoints = _Ahead(self._rows("SELECT size, time, note FROM checkpoints", "size"))
        count = 0
        for row in self._rows(_EVENTS):
            sequence = row[0]
            for sign in pruned.upto(sequence):
                self._checkpoints(checkpoints, sign[0])
                self._line("pruned", {"sequence": sign[0], "leaf": _hex(sign[1])})
            self._checkpoints(checkpoints, sequence)
            for left in personal.upto(sequence):
                self._unclaimed(left)
            found = personal.at(sequence)
            self._event(row, found if self._personal else None)
            count += 1
            self._told(count)
        for sign in pruned.upto(self.size + 1):
            self._checkpoints(checkpoints, sign[0])
            self._line("pruned", {"sequence": sign[0], "leaf": _hex(sign[1])})
        self._checkpoints(checkpoints, None)
        for left in personal.upto(None):
            self._unclaimed(left)
        peaks, last_leaf, last_time, sealed, sealed_time, next_key = self._end
        self._line(
            "end",
            {
                "size": self.size,
                "peaks": _hashes(peaks),
                "last_leaf": _hex(last_leaf),
                "last_time": last_time,
                "sealed": sealed,
                "sealed_time": sealed_time,
                "next_key": next_key,
            },
        )
        self._unchanged()
        return count

    def part(self, part: Part) -> int:
        """The chosen events, each proven to be under the newest checkpoint."""
        newest = self._database.execute("SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        size = 0 if newest is None else newest[0]
        where, values = part.condition()
        found = self._database.execute(
            f"SELECT count(*), max(sequence) FROM events WHERE {where}",  # noqa: S608 - fixed conditions, bound values
            values,
        ).fetchone()
        assert found is not None
        count, last = found
        if not count:
            raise ConsentError("no event in the log fits; see: ivr-consent log list")
        if last > size:
            raise ConsentError(
                f"event {last} is not under a checkpoint yet, so it cannot be proven; "
                "make one now: ivr-consent log checkpoint --seal"
            )
        self._header("part", sealed=size, events=count)
        for row in self._rows("SELECT size, time, note FROM checkpoints", "size"):
            if row[0] <= size:
                self._checkpoint(row)
        proofs = Proofs(self._database)
        personal = f"{_BESIDE} FROM personal WHERE erased = 0 AND sequence = ?"
        written = 0
        for row in self._database.execute(
            f"{_EVENTS} WHERE {where} ORDER BY sequence",
            values,
        ):
            beside = self._database.execute(personal, (row[0],)).fetchone() if self._personal else None
            self._event(row, beside, [step.hex() for step in proofs.inclusion(row[0], size)])
            written += 1
            self._told(written, count)
        self._line("end", {"events": written})
        return written

    def _rows(self, query: str, order: str = "sequence") -> Iterator[tuple[Any, ...]]:
        if self._database.kind == "sqlite":
            yield from self._database.execute(f"{query} ORDER BY {order}")
        else:  # each question sees a state of its own: what came after the end that was read first is left for later
            yield from self._database.execute(f"{query} WHERE {order} <= ? ORDER BY {order}", (self.size,))

    def _checkpoints(self, checkpoints: _Ahead, before: int | None) -> None:
        for row in checkpoints.upto(before):
            self._checkpoint(row)

    def _checkpoint(self, row: Sequence[Any]) -> None:
        self._line("checkpoint", dict(zip(("size", "time", "note"), row, strict=True)))

    def _event(self, row: Sequence[Any], beside: Sequence[Any] | None, proof: list[str] | None = None) -> None:
        sequence, time, kind, call_id, line, outcome, payload, committed, previous = row
        event = {"sequence": sequence, "time": time, "kind": kind, "call": call_id, "line": line, "outcome": outcome}
        event |= {**_data("payload", payload), "personal": _hex(committed), "previous": _hex(previous)}
        if beside is not None:
            event["beside"] = _beside(beside)
        if proof is not None:
            event["proof"] = proof
        self._line("event", event)

    def _unclaimed(self, beside: Sequence[Any]) -> None:
        """Personal data without an event: the verifier has something to say about them."""
        if self._personal:
            self._line("beside", _beside(beside))

    def _told(self, count: int, total: int | None = None) -> None:
        if self._progress is not None and (count % TOLD_EVERY == 0 or count == total):
            self._progress(count, self.size if total is None else total)

    def _unchanged(self) -> None:
        """A database without one state for all questions may have been pruned between two of them."""
        row = self._database.execute("SELECT trunk_size FROM log").fetchone()
        if row is None or row[0] != self._trunk_size:
            raise LedgerError(f"the log {self._database.name} was pruned while it was read; run this again")


class _Ahead:
    """Rows in the order of their first column, taken as they are passed."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def upto(self, before: int | None) -> Iterator[tuple[Any, ...]]:
        """Those before a number; all that are left."""
        while self._next is not None and (before is None or self._next[0] < before):
            row, self._next = self._next, next(self._rows, None)
            yield row

    def at(self, number: int) -> tuple[Any, ...] | None:
        """The one with this number."""
        row = self._next
        if row is None or row[0] != number:
            return None
        self._next = next(self._rows, None)
        return row


def _data(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        if len(raw) <= MAX_PLAIN:
            with contextlib.suppress(UnicodeDecodeError):
                return {name: raw.decode()}
        return {f"{name}_base64": base64.b64encode(raw).decode()}
    return {f"{name}_other": _other(value)}  # not of its type: the verifier says so


def _beside(row: Sequence[Any]) -> dict[str, Any]:
    sequence, salt, data, subject, agent = row
    return {"sequence": sequence, "salt": _hex(salt), **_data("data", data), "subject": subject, "agent": agent}


def _hex(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else _other(value)


def _hashes(value: Any) -> Any:
    if not isinstance(value, bytes | bytearray | memoryview):
        return _other(value)
    return [bytes(value[at : at + HASH_BYTES]).hex() for at in range(0, len(value), HASH_BYTES)]


def _other(value: Any) -> Any:
    """A value that stands where another type belongs: as JSON can say it."""
    if value is None or isinstance(value, str | int | float):
        return value
    return f"not text: {bytes(value)[:100].hex()}" if isinstance(value, bytes | bytearray | memoryview) else repr(value)
