"""Every kind of forgery of a log, at every place of it: what a forger does, and what the verifier has to call it."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr_consent.store.sealing import origin
from ivr_consent.verifier import Checkpoint, Event, PublicKey, Tree, leaf, leaf_hash, note
from tests.logs import COLUMNS, Made

Row = dict[str, Any]


class Forger:
    """Somebody with the file and every right to it, but without the keys that are gone."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.execute("PRAGMA journal_mode=MEMORY")
        for (trigger,) in self.ask("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            self._connection.execute(f"DROP TRIGGER {trigger}")
        self._connection.execute("BEGIN")

    def done(self) -> None:
        self._connection.execute("COMMIT")
        self._connection.close()

    def ask(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(query, values).fetchall()

    def do(self, statement: str, *values: Any) -> None:
        assert self._connection.execute(statement, values).rowcount != 0, (statement, values)

    def events(self, condition: str = "1 = 1", *values: Any) -> list[Row]:
        return [dict(row) for row in self.ask(f"SELECT * FROM events WHERE {condition} ORDER BY sequence", *values)]

    def put(self, row: Row) -> None:
        marks = ", ".join("?" * len(COLUMNS))
        self.do(f"INSERT INTO events VALUES ({marks})", *(row[name] for name in COLUMNS))

    def change(self, sequence: int, **columns: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self.do(f"UPDATE events SET {names} WHERE sequence = ?", *columns.values(), sequence)

    def event(self, sequence: int) -> Row:
        (row,) = self.events("sequence = ?", sequence)
        return row

    def move(self, first: int, by: int) -> None:
        """Renumber all events from one on, with all that stands beside them."""
        for table in ("events", "personal", "pruned"):
            if self.ask(f"SELECT 1 FROM {table} WHERE sequence >= ?", first):
                self.do(f"UPDATE {table} SET sequence = -sequence WHERE sequence >= ?", first)
                self.do(f"UPDATE {table} SET sequence = -sequence + ? WHERE sequence < 0", by)

    def relink(self, first: int) -> None:
        """Make the links of all events after this one anew, and the row that tells the log's end."""
        begin = self.events("sequence < ?", first)[-1:]
        ((trunk,),) = self.ask("SELECT trunk_leaf FROM log")
        last = hash_of(begin[0]) if begin else trunk
        for row in self.events("sequence >= ?", first):
            if row["previous"] != last and not self._pruned_before(row["sequence"]):
                row["previous"] = last
                self.change(row["sequence"], previous=last)
            last = hash_of(row)
        self.end()

    def _pruned_before(self, sequence: int) -> bool:
        return bool(self.ask("SELECT 1 FROM pruned WHERE sequence = ?", sequence - 1))

    def end(self) -> None:
        """Make the row that tells the log's end fit what is there."""
        ((trunk, peaks),) = self.ask("SELECT trunk_size, trunk_peaks FROM log")
        tree = Tree(trunk, [peaks[at : at + 32] for at in range(0, len(peaks), 32)])
        leaves = {row["sequence"]: hash_of(row) for row in self.events()}
        leaves |= {sequence: hashed for sequence, hashed in self.ask("SELECT sequence, leaf FROM pruned")}
        for sequence in sorted(leaves):
            tree.append(leaves[sequence])
        newest = self.events()[-1]
        self.do(
            "UPDATE log SET size = ?, peaks = ?, last_leaf = ?, last_time = ?",
            tree.size,
            b"".join(tree.peaks),
            leaves[max(leaves)],
            newest["time"],
        )


def hash_of(row: Row) -> bytes:
    return leaf_hash(leaf(Event(*(row[name] for name in COLUMNS))))


@dataclass(frozen=True)
class Forgery:
    """What is done, and by which codes it may be called: at least one of them has to be found."""

    name: str
    codes: frozenset[str]
    do: Callable[[Forger], None]
    where: range | None = None
    touched: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name


UNSURE: Final = frozenset({"event_changed", "event_inserted", "event_removed", "history_rewritten"})
"""What may be said of an event with a pruned one behind it: nothing holds its hash but the next checkpoint's root."""


def _forgery(
    name: str, codes: str, do: Callable[[Forger], None], first: int = 0, last: int = 0, touched: Sequence[int] = ()
) -> Forgery:
    where = range(first, (last or first) + 1) if first else None
    return Forgery(name, frozenset(codes.split()), do, where, tuple(touched) or (first, last or first))


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def other_text(text: str | None, at: int = -1) -> str:
    if not text:
        return "x"
    at %= len(text)
    return text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]


# --- one event --------------------------------------------------------------------------------------------------------

CHANGES: Final[dict[str, Callable[[Row], Row]]] = {
    "payload-first-byte": lambda row: {"payload": flipped(row["payload"], 0)},
    "payload-byte": lambda row: {"payload": flipped(row["payload"], len(row["payload"]) // 2, 3)},
    "payload-last-byte": lambda row: {"payload": flipped(row["payload"], -1, 6)},
    "payload-all": lambda row: {"payload": b'{"nothing":"of","the":"kind"}'},
    "payload-empty": lambda row: {"payload": b""},
    "time": lambda row: {"time": other_text(row["time"], -7)},
    "kind": lambda row: {"kind": other_text(row["kind"])},
    "call": lambda row: {"call_id": other_text(row["call_id"], 5)},
    "call-none": lambda row: {"call_id": None if row["call_id"] else "x"},
    "line": lambda row: {"line": other_text(row["line"])},
    "outcome": lambda row: {"outcome": "declined" if row["outcome"] == "granted" else "granted"},
    "commitment": lambda row: {"commitment": flipped(row["commitment"] or bytes(32), 7)},
    "previous": lambda row: {"previous": flipped(row["previous"], 31, 7)},
    "payload-and-line": lambda row: {"payload": flipped(row["payload"], 1), "line": "other"},
}

MALFORMED: Final[dict[str, Row]] = {
    "payload-text": {"payload": '{"text":"in a blob column"}'},
    "payload-number": {"payload": 7},
    "time-blob": {"time": b"2026-01-01T00:00:00.000+00:00"},
    "kind-blob": {"kind": b"asked"},
    "line-blob": {"line": b"\xff\xfe"},
    "outcome-float": {"outcome": 1.5},
    "commitment-short": {"commitment": b"short"},
    "commitment-text": {"commitment": "text"},
}


def changed(events: Sequence[Row]) -> Iterator[Forgery]:
    """A column of an event is another one."""
    for row in events:
        sequence = row["sequence"]
        for name, change in CHANGES.items():
            columns = change(row)
            yield _forgery(
                f"{name} of event {sequence}",
                "event_changed",
                lambda f, s=sequence, c=columns: f.change(s, **c),
                sequence,
            )
        for name, columns in MALFORMED.items():
            if columns.items() <= row.items():
                continue
            yield _forgery(
                f"{name} of event {sequence}",
                "event_malformed event_changed",
                lambda f, s=sequence, c=columns: f.change(s, **c),
                sequence,
            )


# --- rows taken out, added, moved ---------------------------------------------------------------------------------------


def removed(events: Sequence[Row], count: int = 1) -> Iterator[Forgery]:
    """Events are missing."""
    for at in range(len(events) - count + 1):
        gone = [row["sequence"] for row in events[at : at + count]]
        if gone[-1] - gone[0] != count - 1:
            continue

        def do(f: Forger, gone: list[int] = gone, *, move: bool = False) -> None:
            for sequence in gone:
                f.do("DELETE FROM events WHERE sequence = ?", sequence)
            if move and gone[-1] < events[-1]["sequence"]:
                if f.ask("SELECT 1 FROM personal WHERE sequence BETWEEN ? AND ?", gone[0], gone[-1]):
                    f.do("DELETE FROM personal WHERE sequence BETWEEN ? AND ?", gone[0], gone[-1])
                f.move(gone[-1] + 1, -len(gone))

        at_end = gone[-1] == events[-1]["sequence"]
        codes = "tail_cut" if at_end else "event_removed"
        yield _forgery(f"{count} removed at {gone[0]}", codes, do, gone[0], gone[-1])
        if not at_end:
            yield _forgery(
                f"{count} removed at {gone[0]}, renumbered", codes, lambda f, do=do: do(f, move=True), gone[0], gone[-1]
            )


def inserted(events: Sequence[Row]) -> Iterator[Forgery]:
    """An event is there that never was, behind each one that is there."""
    for row in events:
        sequence = row["sequence"]

        def do(f: Forger, row: Row = row, *, linked: bool = True, count: int = 1, relink: bool = False) -> None:
            f.move(row["sequence"] + 1, count)
            last = hash_of(row)
            for number in range(1, count + 1):
                false = dict(
                    zip(
                        COLUMNS,
                        (
                            row["sequence"] + number,
                            row["time"],
                            "asked",
                            "f" * 32,
                            "support",
                            None,
                            b'{"false":1}',
                            None,
                            last,
                        ),
                        strict=True,
                    )
                )
                if not linked:
                    false["previous"] = flipped(last, 3)
                f.put(false)
                last = hash_of(false)

        yield _forgery(f"inserted behind {sequence}", "event_inserted", do, sequence + 1)
        yield _forgery(
            f"inserted behind {sequence}, not linked",
            "event_inserted",
            lambda f, do=do: do(f, linked=False),
            sequence + 1,
        )
        yield _forgery(
            f"three inserted behind {sequence}", "event_inserted", lambda f, do=do: do(f, count=3), sequence + 1
        )


def duplicated(events: Sequence[Row], generator: random.Random) -> Iterator[Forgery]:
    """An event is there twice: behind itself, and somewhere else."""
    for at, row in enumerate(events):
        other = generator.choice(events)

        def do(f: Forger, row: Row = row, behind: int = row["sequence"]) -> None:
            f.move(behind + 1, 1)
            f.put({**row, "sequence": behind + 1})

        yield _forgery(f"duplicated {row['sequence']}", "event_duplicated", do, row["sequence"], row["sequence"] + 1)
        if other["sequence"] != row["sequence"]:
            yield _forgery(
                f"duplicated {row['sequence']} behind {other['sequence']}",
                "event_duplicated",
                lambda f, do=do, other=other: do(f, behind=other["sequence"]),
                other["sequence"] + 1,
            )


def swapped(events: Sequence[Row], generator: random.Random) -> Iterator[Forgery]:
    """Two events stand in each other's place."""
    for at in range(len(events) - 1):
        others = [events[at + 1], generator.choice(events[at + 1 :])]
        for other in others:
            one, two = events[at], other

            def do(f: Forger, one: Row = one, two: Row = two, *, links: bool = False) -> None:
                for row, there in ((one, two), (two, one)):
                    columns = {
                        name: row[name] for name in COLUMNS if name != "sequence" and (name != "previous" or not links)
                    }
                    f.change(there["sequence"], **columns)
                for row in (one, two):
                    if f.ask("SELECT 1 FROM personal WHERE sequence = ?", row["sequence"]):
                        f.do("UPDATE personal SET sequence = ? WHERE sequence = ?", -row["sequence"], row["sequence"])
                for row, there in ((one, two), (two, one)):
                    if f.ask("SELECT 1 FROM personal WHERE sequence = ?", -row["sequence"]):
                        f.do("UPDATE personal SET sequence = ? WHERE sequence = ?", there["sequence"], -row["sequence"])

            name = f"swapped {one['sequence']} and {two['sequence']}"
            yield _forgery(name, "events_swapped", do, one["sequence"], two["sequence"])
            yield _forgery(
                f"{name}, links left in place",
                "events_swapped",
                lambda f, do=do: do(f, links=True),
                one["sequence"],
                two["sequence"],
            )


def cut(events: Sequence[Row], newest: int) -> Iterator[Forgery]:
    """The tail is cut off; also with the log's row made anew, where a checkpoint shows more."""
    for row in events[:-1]:
        sequence = row["sequence"]

        def do(f: Forger, sequence: int = sequence, *, end: bool = False) -> None:
            f.do("DELETE FROM events WHERE sequence > ?", sequence)
            if f.ask("SELECT 1 FROM pruned WHERE sequence > ?", sequence):
                f.do("DELETE FROM pruned WHERE sequence > ?", sequence)
            if end:
                f.end()

        yield _forgery(f"cut behind {sequence}", "tail_cut", do)
        if sequence < newest:
            yield _forgery(f"cut behind {sequence}, end made anew", "tail_cut", lambda f, do=do: do(f, end=True))


# --- links made anew ----------------------------------------------------------------------------------------------------


def relinked(
    events: Sequence[Row], newest: int, sizes: Sequence[int], complete: Callable[[int], bool]
) -> Iterator[Forgery]:
    """The same under a checkpoint, by somebody who makes numbers, links and the log's end anew, but cannot reseal."""
    sealed = [row for row in events if row["sequence"] < newest]
    for at, row in enumerate(sealed):
        sequence = row["sequence"]
        # With pruned events under the same checkpoint it cannot be told which event it was.
        unsure = "" if complete(sequence) and complete(sequence + 1) else " history_rewritten event_inserted"
        if sequence in sizes:
            unsure += " event_inserted"  # the second of two that were swapped is under the next checkpoint

        def change(f: Forger, sequence: int = sequence) -> None:
            f.change(sequence, payload=b'{"forged":true}')
            f.relink(sequence)

        def remove(f: Forger, sequence: int = sequence) -> None:
            f.do("DELETE FROM events WHERE sequence = ?", sequence)
            if f.ask("SELECT 1 FROM personal WHERE sequence = ?", sequence):
                f.do("DELETE FROM personal WHERE sequence = ?", sequence)
            f.move(sequence + 1, -1)
            f.relink(sequence)

        def insert(f: Forger, row: Row = row) -> None:
            f.move(row["sequence"] + 1, 1)
            f.put({**row, "sequence": row["sequence"] + 1, "payload": b'{"false":2}', "commitment": None})
            f.relink(row["sequence"] + 1)

        def duplicate(f: Forger, row: Row = row) -> None:
            f.move(row["sequence"] + 1, 1)
            f.put({**row, "sequence": row["sequence"] + 1})
            f.relink(row["sequence"] + 1)

        def swap(f: Forger, row: Row = row, sequence: int = sequence) -> None:
            two = f.event(sequence + 1)
            for there, columns in ((sequence, two), (sequence + 1, row)):
                f.change(there, **{name: columns[name] for name in COLUMNS if name not in ("sequence", "previous")})
            f.relink(sequence)

        yield _forgery(f"relinked: changed {sequence}", "history_rewritten", change)
        yield _forgery(f"relinked: removed {sequence}", "event_removed history_rewritten", remove)
        yield _forgery(f"relinked: inserted behind {sequence}", "event_inserted" + unsure, insert, sequence + 1)
        yield _forgery(
            f"relinked: duplicated {sequence}", "event_duplicated" + unsure, duplicate, sequence, sequence + 1
        )
        if at + 1 < len(sealed) and sealed[at + 1]["sequence"] == sequence + 1:
            yield _forgery(f"relinked: swapped {sequence}", "events_swapped" + unsure, swap, sequence, sequence + 1)


# --- what stands beside -------------------------------------------------------------------------------------------------


def beside(f: Forger) -> Iterator[Forgery]:
    """Personal data are others, are gone, or are there without an event."""
    rows = [dict(row) for row in f.ask("SELECT * FROM personal WHERE erased = 0 ORDER BY sequence")]
    for row in rows:
        sequence = row["sequence"]
        for name in ("salt", "data"):
            for at in (0, len(row[name]) // 2, -1):
                yield _forgery(
                    f"{name} beside {sequence}, byte {at}",
                    "personal_changed",
                    lambda f, s=sequence, n=name, v=flipped(row[name], at): f.do(
                        f"UPDATE personal SET {n} = ? WHERE sequence = ?", v, s
                    ),
                    sequence,
                )
        for name in ("subject", "agent"):
            yield _forgery(
                f"{name} beside {sequence}",
                "personal_changed",
                lambda f, s=sequence, n=name: f.do(f"UPDATE personal SET {n} = 'somebody' WHERE sequence = ?", s),
                sequence,
            )
        yield _forgery(
            f"nothing beside {sequence}",
            "personal_missing",
            lambda f, s=sequence: f.do("DELETE FROM personal WHERE sequence = ?", s),
            sequence,
        )
        yield _forgery(
            f"beside {sequence} said to be erased",
            "personal_missing",
            lambda f, s=sequence: f.do("UPDATE personal SET erased = 1 WHERE sequence = ?", s),
            sequence,
        )
    bare = [row["sequence"] for row in f.events("commitment IS NULL")]
    for sequence in bare:
        yield _forgery(
            f"something beside {sequence}",
            "personal_unexpected",
            lambda f, s=sequence: f.do(
                "INSERT INTO personal (sequence, salt, data, subject, erased) VALUES (?, zeroblob(32), x'7b7d', NULL, 0)",
                s,
            ),
            sequence,
        )


def pruned(f: Forger) -> Iterator[Forgery]:
    """The hashes of pruned events; events that are made to look pruned."""
    for sequence, hashed in f.ask("SELECT sequence, leaf FROM pruned ORDER BY sequence"):
        yield _forgery(
            f"hash of the pruned {sequence}",
            "pruned_changed history_rewritten event_changed",
            lambda f, s=sequence, v=flipped(hashed, 5): f.do("UPDATE pruned SET leaf = ? WHERE sequence = ?", v, s),
        )
        yield _forgery(
            f"pruned {sequence} gone",
            "event_removed",
            lambda f, s=sequence: f.do("DELETE FROM pruned WHERE sequence = ?", s),
            sequence,
        )
    for row in f.events():
        sequence = row["sequence"]

        def do(f: Forger, row: Row = row, *, leave: bool = False) -> None:
            f.do("INSERT INTO pruned VALUES (?, ?)", row["sequence"], hash_of(row))
            if leave:
                return
            f.do("DELETE FROM events WHERE sequence = ?", row["sequence"])
            if f.ask("SELECT 1 FROM personal WHERE sequence = ?", row["sequence"]):
                f.do("DELETE FROM personal WHERE sequence = ?", row["sequence"])

        codes = "pruned_without_reason"
        yield _forgery(f"pruned {sequence} without a reason", codes, do, sequence)
        yield _forgery(
            f"marked {sequence} as pruned", "pruned_unexpected", lambda f, do=do: do(f, leave=True), sequence
        )


# --- checkpoints, the log's own row -------------------------------------------------------------------------------------


def checkpoints(f: Forger) -> Iterator[Forgery]:
    """Checkpoints changed, missing, in a wrong order, twice."""
    rows = f.ask("SELECT size, time, note FROM checkpoints ORDER BY size")
    for at, (size, time, text) in enumerate(rows):

        def put(f: Forger, text: str, size: int = size) -> None:
            f.do("UPDATE checkpoints SET note = ? WHERE size = ?", text, size)

        lines = text.split("\n")
        places = {
            "origin": text.index("/") + 3,
            "size": len(lines[0]) + 1,
            "root": text.index(lines[2]) + 9,
            "time": text.index("time ") + 7,
            "next": text.index("next ") + 30,
            "key id": text.rindex(" ") + 3,
            "signature": text.rindex(" ") + 40,
        }
        for name, place in places.items():
            character = "3" if text[place] != "3" else "5"
            yield _forgery(
                f"{name} in the checkpoint of {size}",
                "checkpoint_changed logs_spliced key_chain_broken resealed",
                lambda f, p=put, t=text[:place] + character + text[place + 1 :]: p(f, t),
            )
        yield _forgery(
            f"time column of the checkpoint of {size}",
            "checkpoint_changed",
            lambda f, s=size: f.do("UPDATE checkpoints SET time = '2026' WHERE size = ?", s),
        )
        yield _forgery(
            f"size column of the checkpoint of {size}",
            "checkpoint_changed checkpoint_out_of_order",
            lambda f, s=size: f.do("UPDATE checkpoints SET size = size + 1 WHERE size = ?", s),
        )
        yield _forgery(
            f"checkpoint of {size} is no note", "checkpoint_changed", lambda f, p=put: p(f, "nothing of the kind")
        )
        yield _forgery(
            f"checkpoint of {size} gone",
            "checkpoint_missing key_chain_broken trunk_not_vouched",
            lambda f, s=size: f.do("DELETE FROM checkpoints WHERE size = ?", s),
        )
        yield _forgery(
            f"checkpoint of {size} twice",
            "checkpoint_duplicated",
            lambda f, s=size, t=time, n=text: f.do("INSERT INTO checkpoints VALUES (?, ?, ?)", s + 1, t, n),
        )
        if at + 1 < len(rows):

            def swap(f: Forger, one: int = size, two: int = rows[at + 1][0]) -> None:
                f.do("UPDATE checkpoints SET size = -1 WHERE size = ?", one)
                f.do("UPDATE checkpoints SET size = ? WHERE size = ?", one, two)
                f.do("UPDATE checkpoints SET size = ? WHERE size = -1", two)

            yield _forgery(f"checkpoint of {size} swapped with the next", "checkpoint_out_of_order", swap)


def own_row(f: Forger) -> Iterator[Forgery]:
    """What the log says of its beginning and end."""
    (row,) = f.ask("SELECT * FROM log")
    for name, codes in {
        "log_id": "logs_spliced wrong_key",
        "size": "tail_cut event_inserted log_row_changed",
        "peaks": "log_row_changed",
        "last_leaf": "log_row_changed",
        "last_time": "log_row_changed",
        "sealed": "checkpoint_missing log_row_changed",
        "sealed_time": "log_row_changed",
        "next_key": "log_row_changed",
        "trunk_size": "trunk_not_vouched event_removed event_inserted",
        "trunk_peaks": "trunk_not_vouched event_changed history_rewritten",
        "trunk_leaf": "event_changed trunk_not_vouched",
    }.items():
        value = row[name]
        values: list[Any]
        if isinstance(value, int):
            values = [value + 1, value - 1, 0, -5, "many", 1 << 60]
        elif isinstance(value, bytes):
            values = [flipped(value, 0), value + bytes(32), value[:-1], b"", "text"]
        else:
            values = [other_text(value), "", b"bytes"]
        for other in values:
            if other == value:
                continue
            yield _forgery(
                f"{name} of the log is {str(other)[:20]!r}",
                codes + " trunk_not_vouched log_row_changed tail_cut",
                lambda f, n=name, v=other: f.do(f"UPDATE log SET {n} = ?", v),
            )
    yield _forgery("the log says nothing", "unreadable", lambda f: f.do("DELETE FROM log"))


# --- with a stolen key ----------------------------------------------------------------------------------------------------


def resealed(events: Sequence[Row], made: Made) -> Iterator[Forgery]:
    """Somebody with the present private key and our own code rewrites history from an event on and seals it anew."""
    sizes = sorted(made.notes)
    for row in events:
        sequence = row["sequence"]
        if sequence > sizes[-1]:
            break

        def do(f: Forger, sequence: int = sequence, *, keep_sizes: bool = True) -> None:
            f.change(sequence, payload=b'{"forged":true}', commitment=None)
            if f.ask("SELECT 1 FROM personal WHERE sequence = ?", sequence):
                f.do("DELETE FROM personal WHERE sequence = ?", sequence)
            f.relink(sequence)
            again = [size for size in sizes if size >= sequence]
            f.do("DELETE FROM checkpoints WHERE size >= ?", sequence)
            reseal(f, made, again if keep_sizes else again[-1:])

        yield _forgery(f"resealed from {sequence} on", "resealed key_chain_broken", do)
        yield _forgery(
            f"resealed from {sequence} on, by one checkpoint",
            "resealed key_chain_broken",
            lambda f, do=do: do(f, keep_sizes=False),
        )


def reseal(f: Forger, made: Made, sizes: Iterable[int], private: Ed25519PrivateKey | None = None) -> None:
    """Make checkpoints of these sizes with the key that the thief has, and the keys that follow it."""
    name = origin(made.log_id)
    private = private or made.private
    ((trunk, peaks),) = f.ask("SELECT trunk_size, trunk_peaks FROM log")
    leaves = {row["sequence"]: hash_of(row) for row in f.events()}
    leaves |= {sequence: hashed for sequence, hashed in f.ask("SELECT sequence, leaf FROM pruned")}
    for size in sizes:
        tree = Tree(trunk, [peaks[at : at + 32] for at in range(0, len(peaks), 32)])
        for sequence in range(trunk + 1, size + 1):
            tree.append(leaves[sequence])
        following = Ed25519PrivateKey.generate()
        named = PublicKey(name, following.public_key().public_bytes_raw())
        time = max(row["time"] for row in f.events("sequence <= ?", size))
        text = Checkpoint(name, size, tree.root(), time, named).text()
        signed = note(text, PublicKey(name, private.public_key().public_bytes_raw()), private.sign(text.encode()))
        f.do("INSERT INTO checkpoints VALUES (?, ?, ?)", size, time, signed)
        f.do("UPDATE log SET sealed = ?, sealed_time = ?, next_key = ?", size, time, str(named))
        private = following


# --- all of it --------------------------------------------------------------------------------------------------------


def every(made: Made, generator: random.Random) -> Iterator[Forgery]:
    """Every kind of forgery, at every place."""
    with closing(sqlite3.connect(made.path)) as connection:
        pruned_ones = {sequence for (sequence,) in connection.execute("SELECT sequence FROM pruned")}
    unsure = {
        place for sequence in pruned_ones - {one + 1 for one in pruned_ones} for place in (sequence - 1, sequence)
    }
    for forgery in _every(made, generator):
        if unsure & set(forgery.touched):
            yield replace(forgery, codes=forgery.codes | UNSURE, where=None)
        else:
            yield forgery


def _every(made: Made, generator: random.Random) -> Iterator[Forgery]:
    f = Forger(made.path)
    events = f.events()
    newest = max(made.notes)
    yield from changed(events)
    for count in (1, 2, 3):
        yield from removed(events, count)
    yield from inserted(events)
    yield from duplicated(events, generator)
    yield from swapped(events, generator)
    yield from cut(events, newest)
    gone = {sequence for (sequence,) in f.ask("SELECT sequence FROM pruned")}
    sizes = [0, *sorted(made.notes)]

    def complete(sequence: int) -> bool:
        """Whether no event under the same checkpoint is pruned."""
        place = next(at for at, size in enumerate(sizes) if size >= sequence)
        return not gone & set(range(sizes[place - 1] + 1, sizes[place] + 1))

    yield from relinked(events, newest, sizes, complete)
    yield from beside(f)
    yield from pruned(f)
    yield from checkpoints(f)
    yield from own_row(f)
    yield from resealed(events, made)
    f.done()


def apply(forgery: Forgery, path: Path) -> None:
    """Do it to a copy of the log."""
    f = Forger(path)
    forgery.do(f)
    f.done()


def payload(row: Row) -> Any:
    return json.loads(row["payload"])


def connected(path: Path) -> Any:
    return closing(sqlite3.connect(path))
