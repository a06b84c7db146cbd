"""Every kind of forgery of a log, at every place of it: what a forger does, and what the verifier has to call it."""

# ruff: noqa: S608 - names of tables and columns that stand here

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

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

    def may(self, statement: str, *values: Any) -> None:
        """The same, where there may be nothing to do."""
        self._connection.execute(statement, values)

    def events(self, condition: str = "1 = 1", *values: Any) -> list[Row]:
        return [dict(row) for row in self.ask(f"SELECT * FROM events WHERE {condition} ORDER BY sequence", *values)]

    def event(self, sequence: int) -> Row:
        (row,) = self.events("sequence = ?", sequence)
        return row

    def put(self, row: Mapping[str, Any]) -> None:
        marks = ", ".join("?" * len(COLUMNS))
        self.do(f"INSERT INTO events VALUES ({marks})", *(row[name] for name in COLUMNS))

    def change(self, sequence: int, **columns: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self.do(f"UPDATE events SET {names} WHERE sequence = ?", *columns.values(), sequence)

    def remove(self, first: int, last: int) -> None:
        """Take events out, with their personal data."""
        self.do("DELETE FROM events WHERE sequence BETWEEN ? AND ?", first, last)
        self.may("DELETE FROM personal WHERE sequence BETWEEN ? AND ?", first, last)

    def move(self, first: int, by: int) -> None:
        """Renumber all events from one on, with all that stands beside them."""
        for table in ("events", "personal", "pruned"):
            self.may(f"UPDATE {table} SET sequence = -sequence WHERE sequence >= ?", first)
            self.may(f"UPDATE {table} SET sequence = -sequence + ? WHERE sequence < 0", by)

    def insert(self, row: Mapping[str, Any], sequence: int) -> None:
        """Make room, and put a row there."""
        self.move(sequence, 1)
        self.put({**row, "sequence": sequence})

    def relink(self, first: int) -> None:
        """Make the links of all events after this one anew, and the row that tells the log's end."""
        ((last,),) = self.ask("SELECT trunk_leaf FROM log")
        for row in self.events("sequence >= ? - 1", first):
            if row["sequence"] < first:
                last = hash_of(row)
                continue
            if row["previous"] != last and not self.ask("SELECT 1 FROM pruned WHERE sequence = ?", row["sequence"] - 1):
                row["previous"] = last
                self.change(row["sequence"], previous=last)
            last = hash_of(row)
        self.end()

    def leaves(self) -> dict[int, bytes]:
        pruned = {row["sequence"]: row["leaf"] for row in self.ask("SELECT sequence, leaf FROM pruned")}
        return {row["sequence"]: hash_of(row) for row in self.events()} | pruned

    def tree(self, leaves: Mapping[int, bytes], size: int) -> Tree:
        ((trunk, peaks),) = self.ask("SELECT trunk_size, trunk_peaks FROM log")
        tree = Tree(trunk, [peaks[at : at + 32] for at in range(0, len(peaks), 32)])
        tree.extend([leaves[sequence] for sequence in range(trunk + 1, size + 1)])
        return tree

    def end(self) -> None:
        """Make the row that tells the log's end fit what is there."""
        leaves = self.leaves()
        tree = self.tree(leaves, max(leaves))
        self.do(
            "UPDATE log SET size = ?, peaks = ?, last_leaf = ?, last_time = ?",
            tree.size,
            b"".join(tree.peaks),
            leaves[max(leaves)],
            self.ask("SELECT time FROM events ORDER BY sequence DESC LIMIT 1")[0]["time"],
        )


def hash_of(row: Mapping[str, Any]) -> bytes:
    return leaf_hash(leaf(Event(*(row[name] for name in COLUMNS))))


Deed = Callable[[Forger], None]


@dataclass(frozen=True)
class Forgery:
    """What is done, and what it may be called: one of the codes has to be found, at ``where``.

    ``touched``: the events that it is about.
    """

    name: str
    codes: frozenset[str]
    do: Deed
    where: range | None
    touched: frozenset[int]

    def apply(self, path: Path) -> None:
        """Do it to a log."""
        forger = Forger(path)
        self.do(forger)
        forger.done()


def forgery(name: str, codes: str, do: Deed, first: int = 0, last: int = 0) -> Forgery:
    last = last or first
    where = range(first, last + 1) if first else None
    return Forgery(name, frozenset(codes.split()), do, where, frozenset({first, last}))


class Makes(Protocol):
    """Makes a deed of what it is about."""

    def __call__(self, *about: Any) -> Deed: ...


def deed(does: Callable[..., None]) -> Makes:
    """A function of a forger and more becomes one that makes deeds."""

    def made(*about: Any) -> Deed:
        def do(forger: Forger) -> None:
            does(forger, *about)

        return do

    return made


@deed
def run(f: Forger, statement: str, *values: Any) -> None:
    f.do(statement, *values)


@deed
def change(f: Forger, sequence: int, columns: Mapping[str, Any]) -> None:
    f.change(sequence, **columns)


@deed
def several(f: Forger, *deeds: Deed) -> None:
    for one in deeds:
        one(f)


@deed
def relink(f: Forger, first: int) -> None:
    f.relink(first)


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def other_text(text: str | None, at: int = -1) -> str:
    if not text:
        return "x"
    at %= len(text)
    return text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]


# --- one event -------------------------------------------------------------------------------------------------------

CHANGES: Final[Mapping[str, Callable[[Row], Row]]] = {
    "payload's first byte": lambda row: {"payload": flipped(row["payload"], 0)},
    "a byte in the payload": lambda row: {"payload": flipped(row["payload"], len(row["payload"]) // 2, 3)},
    "payload's last byte": lambda row: {"payload": flipped(row["payload"], -1, 6)},
    "all of the payload": lambda _: {"payload": b'{"nothing":"of","the":"kind"}'},
    "payload empty": lambda _: {"payload": b""},
    "time": lambda row: {"time": other_text(row["time"], -7)},
    "kind": lambda row: {"kind": other_text(row["kind"])},
    "call": lambda row: {"call_id": other_text(row["call_id"], 5)},
    "call or none": lambda row: {"call_id": None if row["call_id"] else "x"},
    "line": lambda row: {"line": other_text(row["line"])},
    "outcome": lambda row: {"outcome": "declined" if row["outcome"] == "granted" else "granted"},
    "commitment": lambda row: {"commitment": flipped(row["commitment"] or bytes(32), 7)},
    "previous": lambda row: {"previous": flipped(row["previous"], 31, 7)},
    "payload and line": lambda row: {"payload": flipped(row["payload"], 1), "line": "other"},
}

MALFORMED: Final[Mapping[str, Row]] = {
    "payload as text": {"payload": '{"text":"in a blob column"}'},
    "payload as number": {"payload": 7},
    "time as bytes": {"time": b"2026-01-01T00:00:00.000+00:00"},
    "kind as bytes": {"kind": b"asked"},
    "line as bytes": {"line": b"\xff\xfe"},
    "outcome as number": {"outcome": 1.5},
    "commitment too short": {"commitment": b"short"},
    "commitment as text": {"commitment": "text"},
}


def changed(events: Sequence[Row]) -> Iterator[Forgery]:
    """A column of an event is another one."""
    for row in events:
        sequence = row["sequence"]
        for name, make in CHANGES.items():
            yield forgery(f"{name} of {sequence}", "event_changed", change(sequence, make(row)), sequence)
        for name, columns in MALFORMED.items():
            codes = "event_malformed event_changed"
            yield forgery(f"{name} of {sequence}", codes, change(sequence, columns), sequence)


# --- rows taken out, added, moved ------------------------------------------------------------------------------------


@deed
def remove(f: Forger, first: int, last: int, renumber: bool) -> None:
    f.remove(first, last)
    if renumber:
        f.move(last + 1, first - last - 1)


def removed(events: Sequence[Row], end: int, count: int = 1) -> Iterator[Forgery]:
    """Events are missing."""
    for at in range(len(events) - count + 1):
        first, last = events[at]["sequence"], events[at + count - 1]["sequence"]
        if last - first != count - 1:
            continue  # there are pruned ones among them
        name, codes = f"{count} removed at {first}", "tail_cut" if last == end else "event_removed"
        yield forgery(name, codes, remove(first, last, False), first, last)
        if last < end:
            yield forgery(f"{name}, renumbered", codes, remove(first, last, True), first, last)


@deed
def insert(f: Forger, behind: Row, count: int, linked: bool) -> None:
    f.move(behind["sequence"] + 1, count)
    last = hash_of(behind)
    for number in range(1, count + 1):
        false = behind | {
            "sequence": behind["sequence"] + number,
            "kind": "asked",
            "outcome": None,
            "payload": b'{"false":1}',
            "commitment": None,
            "previous": last if linked else flipped(last, 3),
        }
        f.put(false)
        last = hash_of(false)


def inserted(events: Sequence[Row]) -> Iterator[Forgery]:
    """An event is there that never was, behind each one that is there."""
    for row in events:
        first = row["sequence"] + 1
        yield forgery(f"inserted at {first}", "event_inserted", insert(row, 1, True), first)
        yield forgery(f"inserted at {first}, not linked", "event_inserted", insert(row, 1, False), first)
        yield forgery(f"three inserted at {first}", "event_inserted", insert(row, 3, True), first)


@deed
def duplicate(f: Forger, row: Row, behind: int) -> None:
    f.insert(row, behind + 1)


def duplicated(events: Sequence[Row], generator: random.Random) -> Iterator[Forgery]:
    """An event is there twice: behind itself, and somewhere else."""
    for row in events:
        first, other = row["sequence"], generator.choice(events)["sequence"]
        yield forgery(f"duplicated {first}", "event_duplicated", duplicate(row, first), first, first + 1)
        if other != first:
            name = f"duplicated {first} behind {other}"
            yield forgery(name, "event_duplicated", duplicate(row, other), other + 1)


@deed
def swap(f: Forger, one: Row, two: Row, left: tuple[str, ...]) -> None:
    """``left``: columns that stay in their places."""
    for row, there in ((one, two), (two, one)):
        f.change(there["sequence"], **{name: row[name] for name in COLUMNS if name not in ("sequence", *left)})
    places = one["sequence"], two["sequence"]
    for old, new in ((places[0], -places[1]), (places[1], -places[0])):
        f.may("UPDATE personal SET sequence = ? WHERE sequence = ?", new, old)
    f.may("UPDATE personal SET sequence = -sequence WHERE sequence < 0")


def swapped(events: Sequence[Row], generator: random.Random) -> Iterator[Forgery]:
    """Two events stand in each other's place."""
    for at in range(len(events) - 1):
        one = events[at]
        for two in {row["sequence"]: row for row in (events[at + 1], generator.choice(events[at + 1 :]))}.values():
            first, last = one["sequence"], two["sequence"]
            name = f"swapped {first} and {last}"
            yield forgery(name, "events_swapped", swap(one, two, ()), first, last)
            links = swap(one, two, ("previous",))
            yield forgery(f"{name}, links left in place", "events_swapped", links, first, last)


@deed
def cut_behind(f: Forger, sequence: int, end: bool) -> None:
    f.do("DELETE FROM events WHERE sequence > ?", sequence)
    f.may("DELETE FROM pruned WHERE sequence > ?", sequence)
    if end:
        f.end()


def cut(events: Sequence[Row], newest: int) -> Iterator[Forgery]:
    """The tail is cut off; also with the log's row made anew, where a checkpoint shows more."""
    for row in events[:-1]:
        sequence = row["sequence"]
        yield forgery(f"cut behind {sequence}", "tail_cut", cut_behind(sequence, False))
        if sequence < newest:
            yield forgery(f"cut behind {sequence}, end made anew", "tail_cut", cut_behind(sequence, True))


# --- links made anew -------------------------------------------------------------------------------------------------


def relinked(events: Sequence[Row], newest: int, sizes: Sequence[int]) -> Iterator[Forgery]:
    """The same under a checkpoint, by somebody who makes numbers, links and the log's end anew, but cannot reseal."""
    sealed = [row for row in events if row["sequence"] < newest]
    for at, row in enumerate(sealed):
        sequence = row["sequence"]
        behind = sequence + 1
        changing = several(change(sequence, {"payload": b'{"forged":true}'}), relink(sequence))
        yield forgery(f"relinked: changed {sequence}", "history_rewritten", changing)
        removing = several(remove(sequence, sequence, True), relink(sequence))
        yield forgery(f"relinked: removed {sequence}", "event_removed history_rewritten", removing)
        inserting = several(duplicate(row | {"payload": b'{"false":2}', "commitment": None}, sequence), relink(behind))
        yield forgery(f"relinked: inserted {behind}", "event_inserted", inserting, behind)
        copying = several(duplicate(row, sequence), relink(behind))
        yield forgery(f"relinked: duplicated {sequence}", "event_duplicated", copying, sequence, behind)
        if at + 1 < len(sealed) and sealed[at + 1]["sequence"] == behind:
            swapping = several(swap(row, sealed[at + 1], ()), relink(sequence))
            # Of two that were swapped across a checkpoint the second is under the next one.
            codes = "events_swapped event_inserted" if sequence in sizes else "events_swapped"
            yield forgery(f"relinked: swapped {sequence}", codes, swapping, sequence, behind)


# --- what stands beside ----------------------------------------------------------------------------------------------


def beside(f: Forger) -> Iterator[Forgery]:
    """Personal data are others, are gone, or are there without an event."""
    for row in [dict(row) for row in f.ask("SELECT * FROM personal WHERE erased = 0 ORDER BY sequence")]:
        sequence = row["sequence"]
        for name in ("salt", "data"):
            for at in (0, len(row[name]) // 2, -1):
                other = run(f"UPDATE personal SET {name} = ? WHERE sequence = ?", flipped(row[name], at), sequence)
                yield forgery(f"byte {at} of {name} beside {sequence}", "personal_changed", other, sequence)
        for name in ("subject", "agent"):
            other = run(f"UPDATE personal SET {name} = 'somebody' WHERE sequence = ?", sequence)
            yield forgery(f"{name} beside {sequence}", "personal_changed", other, sequence)
        gone = run("DELETE FROM personal WHERE sequence = ?", sequence)
        yield forgery(f"nothing beside {sequence}", "personal_missing", gone, sequence)
        said = run("UPDATE personal SET erased = 1 WHERE sequence = ?", sequence)
        yield forgery(f"beside {sequence} said to be erased", "personal_missing", said, sequence)
    put = "INSERT INTO personal (sequence, salt, data, erased) VALUES (?, zeroblob(32), x'7b7d', 0)"
    for row in f.events("commitment IS NULL"):
        sequence = row["sequence"]
        yield forgery(f"something beside {sequence}", "personal_unexpected", run(put, sequence), sequence)


@deed
def prune(f: Forger, row: Row, leave: bool) -> None:
    f.do("INSERT INTO pruned VALUES (?, ?)", row["sequence"], hash_of(row))
    if not leave:
        f.remove(row["sequence"], row["sequence"])


def pruned(f: Forger) -> Iterator[Forgery]:
    """The hashes of pruned events; events that are made to look pruned."""
    for sequence, hashed in f.ask("SELECT sequence, leaf FROM pruned ORDER BY sequence"):
        other = run("UPDATE pruned SET leaf = ? WHERE sequence = ?", flipped(hashed, 5), sequence)
        yield forgery(f"hash of the pruned {sequence}", "pruned_changed history_rewritten", other)
        gone = run("DELETE FROM pruned WHERE sequence = ?", sequence)
        yield forgery(f"pruned {sequence} gone", "event_removed", gone, sequence)
    for row in f.events():
        sequence = row["sequence"]
        yield forgery(f"pruned {sequence} without a reason", "pruned_without_reason", prune(row, False), sequence)
        yield forgery(f"marked {sequence} as pruned", "pruned_unexpected", prune(row, True), sequence)


# --- checkpoints, the log's own row ----------------------------------------------------------------------------------


@deed
def swap_checkpoints(f: Forger, one: int, two: int) -> None:
    for old, new in ((one, -1), (two, one), (-1, two)):
        f.do("UPDATE checkpoints SET size = ? WHERE size = ?", new, old)


def checkpoints(f: Forger) -> Iterator[Forgery]:
    """Checkpoints changed, missing, in a wrong order, twice."""
    rows = f.ask("SELECT size, time, note FROM checkpoints ORDER BY size")
    update = "UPDATE checkpoints SET {} WHERE size = ?"
    for at, (size, time, text) in enumerate(rows):
        name = f"of the checkpoint of {size}"
        for part, place in {
            "origin": text.index("/") + 3,
            "size": text.index("\n") + 1,
            "root": text.index("\n", text.index("\n") + 1) + 9,
            "time": text.index("time ") + 7,
            "next key": text.index("next ") + 30,
            "key id": text.rindex(" ") + 3,
            "signature": text.rindex(" ") + 40,
        }.items():
            other = text[:place] + ("3" if text[place] != "3" else "5") + text[place + 1 :]
            codes = "checkpoint_changed logs_spliced key_chain_broken resealed"
            yield forgery(f"{part} {name}", codes, run(update.format("note = ?"), other, size))
        yield forgery(f"time's column {name}", "checkpoint_changed", run(update.format("time = '2026'"), size))
        codes = "checkpoint_changed checkpoint_out_of_order"
        yield forgery(f"size's column {name}", codes, run(update.format("size = size + 1"), size))
        yield forgery(f"no note instead {name}", "checkpoint_changed", run(update.format("note = 'nothing'"), size))
        codes = "checkpoint_missing key_chain_broken trunk_not_vouched"
        yield forgery(f"without that {name}", codes, run("DELETE FROM checkpoints WHERE size = ?", size))
        twice = run("INSERT INTO checkpoints VALUES (?, ?, ?)", size + 1, time, text)
        yield forgery(f"a second {name}", "checkpoint_duplicated", twice)
        if at + 1 < len(rows):
            other = swap_checkpoints(size, rows[at + 1]["size"])
            yield forgery(f"order {name} and the next", "checkpoint_out_of_order", other)


OWN_ROW: Final = {
    "log_id": "logs_spliced wrong_key",
    "size": "tail_cut event_inserted",
    "peaks": "log_row_changed",
    "last_leaf": "log_row_changed",
    "last_time": "log_row_changed",
    "sealed": "checkpoint_missing",
    "sealed_time": "log_row_changed",
    "next_key": "log_row_changed",
    "trunk_size": "trunk_not_vouched event_removed event_inserted",
    "trunk_peaks": "trunk_not_vouched event_changed history_rewritten",
    "trunk_leaf": "event_changed trunk_not_vouched",
}


def own_row(f: Forger) -> Iterator[Forgery]:
    """What the log says of its beginning and end."""
    (row,) = f.ask("SELECT * FROM log")
    for name, codes in OWN_ROW.items():
        value = row[name]
        others: list[Any] = [other_text(str(value)), "", b"bytes"]
        if isinstance(value, int):
            others = [value + 1, value - 1, 0, -5, "many", 1 << 60]
        elif isinstance(value, bytes):
            others = [flipped(value, 0), value + bytes(32), value[:-1], b"", "text"]
        for number, other in enumerate(others):
            if other != value:
                yield forgery(
                    f"{name} of the log, {number}",
                    f"{codes} trunk_not_vouched log_row_changed",
                    run(f"UPDATE log SET {name} = ?", other),
                )


# --- with a stolen key -----------------------------------------------------------------------------------------------


@deed
def reseal_from(f: Forger, made: Made, sequence: int, sizes: Sequence[int]) -> None:
    f.change(sequence, payload=b'{"forged":true}', commitment=None)
    f.may("DELETE FROM personal WHERE sequence = ?", sequence)
    f.relink(sequence)
    f.do("DELETE FROM checkpoints WHERE size >= ?", sequence)
    reseal(f, made, sizes)


def resealed(events: Sequence[Row], made: Made) -> Iterator[Forgery]:
    """Somebody with the present private key and our own code rewrites history from an event on and seals it anew."""
    sizes = sorted(made.notes)
    for row in events:
        sequence = row["sequence"]
        again = [size for size in sizes if size >= sequence]
        if again:
            name, codes = f"resealed from {sequence} on", "resealed key_chain_broken"
            yield forgery(name, codes, reseal_from(made, sequence, again))
            yield forgery(f"{name}, by one checkpoint", codes, reseal_from(made, sequence, again[-1:]))


def reseal(f: Forger, made: Made, sizes: Iterable[int], private: Ed25519PrivateKey | None = None) -> None:
    """Make checkpoints of these sizes with the key that the thief has, and the keys that follow it."""
    name = origin(made.log_id)
    private = private or made.private
    leaves = f.leaves()
    for size in sizes:
        following = Ed25519PrivateKey.generate()
        named = PublicKey(name, following.public_key().public_bytes_raw())
        time = f.ask("SELECT max(time) FROM events WHERE sequence <= ?", size)[0][0]
        text = Checkpoint(name, size, f.tree(leaves, size).root(), time, named).text()
        signed = note(text, PublicKey(name, private.public_key().public_bytes_raw()), private.sign(text.encode()))
        f.do("INSERT INTO checkpoints VALUES (?, ?, ?)", size, time, signed)
        f.do("UPDATE log SET sealed = ?, sealed_time = ?, next_key = ?", size, time, str(named))
        private = following


# --- all of it -------------------------------------------------------------------------------------------------------

UNSURE: Final = frozenset({"event_changed", "event_inserted", "event_removed", "history_rewritten", "logs_spliced"})
"""What may be said where a pruned event follows: nothing holds the hash of the one before it but the next root."""

KINDS: Final = (
    "changed",
    "removed",
    "inserted",
    "duplicated",
    "swapped",
    "cut",
    "relinked",
    "beside",
    "pruned",
    "checkpoints",
    "own_row",
    "resealed",
)


def every(made: Made, kind: str, generator: random.Random) -> Iterator[Forgery]:
    """Every forgery of a kind, at every place."""
    with closing(sqlite3.connect(made.path)) as connection:
        gone = {sequence for (sequence,) in connection.execute("SELECT sequence FROM pruned")}
    first = gone - {one + 1 for one in gone}
    unsure = {place for sequence in first for place in (sequence - 1, sequence)}
    sizes = sorted(made.notes)
    dark = set()
    for begin, end in zip([0, *sizes], sizes, strict=False):
        stretch = set(range(begin + 1, end + 1))
        dark |= stretch if stretch & gone else set()
    forger = Forger(made.path)
    for made_up in _every(made, kind, forger, generator):
        # Beside pruned events nothing but the next root holds a hash: which event it was cannot always be told.
        hidden = dark if kind == "relinked" else unsure
        if hidden & made_up.touched:
            yield replace(made_up, codes=made_up.codes | UNSURE, where=None)
        else:
            yield made_up
    forger.done()


def _every(made: Made, kind: str, forger: Forger, generator: random.Random) -> Iterator[Forgery]:
    events = forger.events()
    newest, end = max(made.notes), events[-1]["sequence"]
    if kind == "changed":
        yield from changed(events)
    elif kind == "removed":
        for count in (1, 2, 3):
            yield from removed(events, end, count)
    elif kind == "inserted":
        yield from inserted(events)
    elif kind == "duplicated":
        yield from duplicated(events, generator)
    elif kind == "swapped":
        yield from swapped(events, generator)
    elif kind == "cut":
        yield from cut(events, newest)
    elif kind == "relinked":
        yield from relinked(events, newest, sorted(made.notes))
    elif kind == "beside":
        yield from beside(forger)
    elif kind == "pruned":
        yield from pruned(forger)
    elif kind == "checkpoints":
        yield from checkpoints(forger)
    elif kind == "own_row":
        yield from own_row(forger)
    else:
        yield from resealed(events, made)


def at_random(made: Made, generator: random.Random) -> Forgery:
    """One forgery, anywhere in a large log, by somebody who may or may not make the links anew."""
    forger = Forger(made.path)
    newest = max(made.notes)
    while True:
        begin = generator.randrange(2, newest - 10)
        events = forger.events("sequence BETWEEN ? AND ?", begin, begin + 5)
        if len(events) < 6:
            continue  # pruned ones among them: those are for the small log
        kinds: list[Iterator[Forgery]] = [
            changed(events[:1]),
            removed(events, newest + 1, generator.choice((1, 1, 2, 5))),
            inserted(events[:1]),
            duplicated(events, generator),
            swapped(events, generator),
            resealed(events[:1], made),
        ]
        chosen = generator.choice(list(generator.choice(kinds)))
        forger.done()
        return chosen
