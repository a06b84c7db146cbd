"""Logs for the tests of evidence: made by the chain that the service writes with, sealed, erased, pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr_consent.core.decision import canonical
from ivr_consent.store.chain import Chain, Entry, utc_text
from ivr_consent.store.database import SqliteDatabase, open_for_writing
from ivr_consent.store.personal import split
from ivr_consent.store.schema import migrate
from ivr_consent.store.sealing import good, origin
from ivr_consent.verifier import Checkpoint, Event, Outside, PublicKey, Report, Tree, leaf, leaf_hash, note, verify

BEGIN = datetime(2026, 3, 4, 8, 0, 0, tzinfo=UTC)
COLUMNS = ("sequence", "time", "kind", "call_id", "line", "outcome", "payload", "commitment", "previous")


@dataclass
class Made:
    """A log as it was written, closed. ``notes``: its checkpoints by size; ``private``: the key that signs next."""

    path: Path
    key: PublicKey
    notes: dict[int, str]
    private: Ed25519PrivateKey
    log_id: str

    def verify(self, *outside: str, keys: Sequence[PublicKey] | None = None) -> Report:
        """What the verifier says of it."""
        given = (self.key,) if keys is None else keys
        return verify(self.path, given, [Outside(text, "test") for text in outside], good=good)


@dataclass
class Writer:
    """Writes a log event by event; a second passes between two."""

    path: Path
    step: timedelta = timedelta(seconds=1)
    now: datetime = BEGIN
    notes: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database: SqliteDatabase = open_for_writing(self.path)
        self.database.execute("PRAGMA synchronous=OFF")
        self.database.begin()
        migrate(self.database)
        self.chain = Chain(self.database)
        self.chain.load()
        self.private = Ed25519PrivateKey.generate()
        self.key = self.public(self.private)
        self.chain.next_key = str(self.key)
        self.event("log_created", {"key": str(self.key), "log": self.chain.log_id, "software": "test"})

    def public(self, private: Ed25519PrivateKey) -> PublicKey:
        return PublicKey(origin(self.chain.log_id), private.public_key().public_bytes_raw())

    def time(self) -> str:
        self.now += self.step
        return utc_text(self.now)

    def event(
        self,
        kind: str,
        details: Mapping[str, Any],
        *,
        call: str | None = None,
        line: str | None = None,
        outcome: str | None = None,
        time: str | None = None,
    ) -> int:
        """Append one event; its sequence."""
        public, personal = split(details)
        entry = Entry(kind, call, line, outcome, canonical(public), personal, None)
        if time is not None and time < self.chain.last_time:
            self.chain.last_time = time  # as the ledger does where the clock was set back
        return self.chain.append(entry, time or self.time())

    def call(self, number: int, outcome: str = "granted") -> tuple[int, int]:
        """A call of three events; the sequences of the first and the last."""
        call_id = f"{number:032x}"
        first = self.event("asked", {"channel": f"c{number}"}, call=call_id, line="support")
        details = {
            "call": {"subject_ref": f"subject-{number}", "channel_uniqueid": f"1.{number}", "line": "support"},
            "outcome": outcome,
            "answers": [{"key": "1", "after_ms": 900 + number}],
            "agent": f"agent-{number % 3}",
        }
        self.event("decision", details, call=call_id, line="support", outcome=outcome)
        return first, self.event("routed", {"route": "recorded"}, call=call_id, line="support")

    def seal(self, private: Ed25519PrivateKey | None = None) -> str:
        """A checkpoint over all that is there."""
        self.chain.save()  # as the service does: a checkpoint is of what is on disk
        signer = private or self.private
        following = Ed25519PrivateKey.generate()
        text = Checkpoint(
            origin(self.chain.log_id),
            self.chain.tree.size,
            self.chain.tree.root(),
            max(utc_text(self.now), self.chain.last_time),
            self.public(following),
        ).text()
        made = note(text, self.public(signer), signer.sign(text.encode()))
        self.chain.seal(made, max(utc_text(self.now), self.chain.last_time), str(self.public(following)))
        self.notes[self.chain.tree.size] = made
        self.private = following
        return made

    def erase(self, *sequences: int, told: bool = True) -> None:
        """Take the personal data of events away, and say so."""
        for sequence in sequences:
            self.database.execute(
                "UPDATE personal SET salt = zeroblob(32), data = zeroblob(length(data)), subject = '-', agent = '-', "
                "erased = 1 WHERE sequence = ?",
                (sequence,),
            )
        if told:
            self.event("erased", {"events": [[sequence, sequence] for sequence in sequences]})

    def prune(self, first: int, last: int, *, told: bool = True) -> None:
        """Leave of events nothing but their hashes, and say so."""
        self.chain.save()
        hashes = leaf_hashes(self.database)
        for sequence in range(first, last + 1):
            self.database.execute("INSERT INTO pruned VALUES (?, ?)", (sequence, hashes[sequence]))
            self.database.execute("DELETE FROM events WHERE sequence = ?", (sequence,))
            self.database.execute("DELETE FROM personal WHERE sequence = ?", (sequence,))
        if told:
            self.event("expired", {"events": [[first, last]]})

    def trunk(self, size: int, *, told: bool = True) -> None:
        """Leave of the oldest events nothing but the tree's peaks; ``size`` is a checkpoint's."""
        hashes = leaf_hashes(self.database)
        tree = Tree()
        for sequence in range(1, size + 1):
            tree.append(hashes[sequence])
        self.database.execute(
            "UPDATE log SET trunk_size = ?, trunk_peaks = ?, trunk_leaf = ?", (size, b"".join(tree.peaks), hashes[size])
        )
        for table in ("events", "personal", "pruned"):
            self.database.execute(f"DELETE FROM {table} WHERE sequence <= ?", (size,))  # noqa: S608 - fixed names
        if told:
            self.event("expired", {"events": [[1, size]], "trunk": size})

    def close(self) -> Made:
        self.chain.save()
        self.database.commit()
        self.database.execute("PRAGMA journal_mode=DELETE")
        self.database.close()
        return Made(self.path, self.key, self.notes, self.private, self.chain.log_id)


def leaf_hashes(database: SqliteDatabase) -> dict[int, bytes]:
    """The hash of every leaf of which something is left, by sequence."""
    found: dict[int, bytes] = dict(database.execute("SELECT sequence, leaf FROM pruned"))
    for row in database.execute(f"SELECT {', '.join(COLUMNS)} FROM events"):  # noqa: S608 - fixed names
        found[row[0]] = leaf_hash(leaf(Event(*row)))
    return found


def small(path: Path) -> Made:
    """About forty events under six checkpoints: calls, erased, pruned, a trunk, a clock that was set back."""
    log = Writer(path)
    log.call(1)
    log.call(2, "declined")
    log.seal()  # 7
    log.call(3)
    log.call(4)
    log.seal()  # 13
    log.call(5)
    log.call(6, "no_answer")
    log.call(7)
    log.erase(12)
    log.seal()  # 23
    log.prune(15, 17)
    log.trunk(7)
    log.seal()  # 25
    back = log.chain.last_time
    log.now -= timedelta(seconds=30)
    before = utc_text(log.now)
    log.event("clock_set_back", {"before": back, "after": before}, time=before)
    log.chain.last_time = before
    log.call(8)
    log.call(9, "declined")
    log.seal()  # 32
    for number in range(10, 13):
        log.call(number)
    log.seal()  # 41
    log.call(13)
    return log.close()


def large(path: Path, events: int, every: int = 1000) -> Made:
    """A log of many events, checkpoints at every so many, with erased and pruned ones among them."""
    log = Writer(path, step=timedelta(milliseconds=7))
    number = 0
    while log.chain.tree.size < events:
        number += 1
        log.call(number, "granted" if number % 3 else "declined")
        if number % 400 == 100:
            log.erase(log.chain.tree.size - 1)
        if log.chain.tree.size // every > log.chain.sealed // every:
            log.seal()
        if number % 700 == 200 and log.chain.sealed:
            log.prune(log.chain.sealed - 5, log.chain.sealed - 3)
    return log.close()
