"""What an attacker may have written: logs and bundles to be verified, checkpoints, receipts, manifests, histories."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr_consent import manifest as mf
from ivr_consent import receipt, verifier, versions
from ivr_consent.anchors.notes import Sealed, notes_in
from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import SignatureError
from ivr_consent.signing import Signer, Verifier, opened
from ivr_consent.store.sealing import good
from tests.fuzz.target import BASE, pieces, scratch, shown, written

GUESSES: Final = 2000

TABLES: Final = {
    "log": "log_id size peaks last_leaf last_time sealed sealed_time next_key trunk_size trunk_peaks trunk_leaf",
    "events": "sequence time kind call_id line outcome payload commitment previous",
    "personal": "sequence salt data subject agent erased",
    "pruned": "sequence leaf",
    "checkpoints": "size time note",
}
"""What the verifier reads of a database."""


@functools.cache
def key() -> verifier.PublicKey:
    """The public key of the log in ``base/``. Its private one is gone: nobody can sign another checkpoint."""
    return verifier.read_keys(str(BASE / "log.pub"))[0]


@functools.cache
def genuine_events() -> Mapping[int, tuple[Any, ...]]:
    """The events of that log, by sequence."""
    lines = (BASE / "log.bundle").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line).get("event") for line in lines]
    return {event["sequence"]: verifier._event_of(event) for event in found if event}


def _verified(log: Path | verifier.Tables) -> verifier.Report:
    """Verified with fewer guesses at what stood in a changed event: they are most of the time, and all alike."""
    with patch.object(verifier, "MAX_TRIED", GUESSES):
        return verifier.verify(log, [key()], good=good)


def check_report(report: verifier.Report, events: Iterable[Sequence[Any]]) -> None:
    """What holds for every report. What is vouched for is what was written: nobody can sign anything else."""
    assert report.status in (0, 1, verifier.INCOMPLETE, verifier.UNREADABLE)
    assert report.ok == (report.status == 0)
    json.dumps(report.plain(), allow_nan=False).encode()
    for line in verifier.told(report):
        assert verifier._safe(line).isprintable()
    by_code: dict[str, int] = {}
    for finding in report.findings:
        by_code[finding.code] = by_code.get(finding.code, 0) + 1
        assert finding.level in ("wrong", "open", "notice")
        assert finding.sentence
        assert len(finding.sentence) < 4000
    assert max(by_code.values(), default=0) <= verifier.MAX_FINDINGS
    if report.ok:
        assert report.trusted or not report.sealed
        known = genuine_events()
        for event in events:
            if event[0] <= report.sealed:
                assert tuple(event) == known[event[0]], f"event {event[0]} is another, and the log is called intact"


# --- logs ------------------------------------------------------------------------------------------------------------


def bundle(data: bytes) -> None:
    """An evidence bundle, whole or a part of a log."""
    path = written("log.bundle", data)
    with contextlib.suppress(verifier.Unreadable):
        report = _verified(path)
        check_report(report, list(_events_of(data)) if report.ok else ())


def _events_of(data: bytes) -> Iterable[Sequence[Any]]:
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("event"), dict):
                yield verifier._event_of(record["event"])


def tables(data: bytes) -> None:
    """The tables of a database, a row a line: ``["events", {"sequence": 1, "payload": {"hex": "7b7d"}}]``."""
    database = sqlite3.connect(":memory:")
    with contextlib.closing(database):
        for name, columns in TABLES.items():
            database.execute(f"CREATE TABLE {name} ({', '.join(columns.split())})")
        for line in data.split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError, OverflowError):
                name, row = json.loads(line)
                values = [_value(row.get(one)) for one in TABLES[name].split()]
                database.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608 - fixed names
        with contextlib.suppress(verifier.Unreadable):
            report = _verified(verifier.Tables(database.execute))
            check_report(report, database.execute(f"SELECT {', '.join(TABLES['events'].split())} FROM events"))  # noqa: S608 - fixed names


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if isinstance(value, str):
        value.encode()  # a text that SQLite can hold; raises for any other
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError("no value of a database")
    return value


def database(data: bytes) -> None:
    """A database file: that of ``base/`` with some bytes changed, a place a line: ``OFFSET HEX``."""
    made = bytearray((BASE / "log.db").read_bytes())
    for line in data.split(b"\n")[:64]:
        place, _, changed = line.partition(b" ")
        with contextlib.suppress(ValueError):
            at = int(place) if place.isdigit() and len(place) < 9 else -1
            new = bytes.fromhex(changed.decode("ascii"))
            if 0 <= at <= len(made):
                made[at : at + len(new)] = new
    path = written("log.db", bytes(made))
    for beside in scratch().glob("log.db-*"):
        beside.unlink()
    with contextlib.suppress(verifier.Unreadable):
        report = _verified(path)
        check_report(report, _rows(path) if report.ok else ())


def _rows(path: Path) -> list[Sequence[Any]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with contextlib.closing(connection):
        return list(connection.execute(f"SELECT {', '.join(TABLES['events'].split())} FROM events"))  # noqa: S608 - fixed names


# --- checkpoints, keys, signatures -----------------------------------------------------------------------------------


def checkpoints(data: bytes) -> None:
    """What somebody has kept checkpoints in: mails, mailboxes, JSON, any text."""
    found = verifier.outside_in(data, "kept")
    assert len({one.note for one in found}) == len(found)
    for one in found:
        assert verifier.outside_in(one.note.encode()) == [verifier.Outside(one.note, "")], "not found in its own text"
        _check_note(one.note)
    whole = [one.note for one in notes_in(pieces(data, None))]
    assert [one.note for one in notes_in(pieces(data, 1))] == whole
    assert [one.note for one in notes_in(pieces(data, 11))] == whole
    for line in data.decode("utf-8", "replace").split("\n")[:64]:
        with contextlib.suppress(verifier.NoteError):
            assert str(verifier.PublicKey.parse(line)) == line
    _check_note(data.decode("utf-8", "replace"))


def _check_note(text: str) -> None:
    with contextlib.suppress(verifier.NoteError):
        assert verifier.Checkpoint.parse(text).text() == text
    with contextlib.suppress(verifier.NoteError):
        sealed = Sealed.parse(text)
        signed = sealed.note.rpartition("\n\n")[0] + "\n"
        assert verifier.Checkpoint.parse(signed) == sealed.checkpoint
        assert sealed.checkpoint.text() == signed, "a checkpoint has one text"
        assert sealed.size >= 0
    with contextlib.suppress(verifier.NoteError):
        inside = verifier.opened(text, key(), good)
        known = {note.rpartition("\n\n")[0] + "\n" for note in _genuine_notes()}
        assert inside in known, "a note is good that nobody signed"


@functools.cache
def _genuine_notes() -> tuple[str, ...]:
    lines = (BASE / "log.bundle").read_text(encoding="utf-8").splitlines()
    return tuple(record["checkpoint"]["note"] for record in map(json.loads, lines) if "checkpoint" in record)


def signatures(data: bytes) -> None:
    """Ed25519: what our own check takes, the library takes too. A line: ``PUBLIC MESSAGE SIGNATURE``, in hex."""
    public, _, rest = data.partition(b" ")
    message, _, signature = rest.partition(b" ")
    try:
        values = [bytes.fromhex(one.decode("ascii")) for one in (public, message, signature)]
    except ValueError:
        return
    if verifier.genuine(*values):
        assert good(*values), "a signature that the library refuses"


# --- signed lines ----------------------------------------------------------------------------------------------------


@functools.cache
def _pair() -> tuple[Signer, Verifier]:
    private = Ed25519PrivateKey.from_private_bytes(b"fuzzing: nobody's key, 32 bytes.")
    return Signer(private), Verifier(private.public_key())


def signed(data: bytes) -> bytes:
    """An input as a line that the site has signed: whoever has its key may have written anything."""
    return data + b"\t" + base64.b64encode(_pair()[0].sign(data)) + b"\n"


def lines(data: bytes) -> None:
    """A signed line as it comes, and the input signed: opened only if it is one of ours, in its one form."""
    by = _pair()[1]
    with contextlib.suppress(SignatureError):
        opened(data, by)
        assert data in _known_lines(), "a line was opened that nobody signed"
    with contextlib.suppress(SignatureError):
        assert canonical(opened(signed(data), by)) == data


@functools.cache
def _known_lines() -> frozenset[bytes]:
    return frozenset(signed(one.read_bytes()) for one in (BASE / "receipt.json", BASE / "manifest.json"))


def manifests(data: bytes) -> None:
    """A manifest, signed: refused, or in the one form that we write."""
    path = written("manifest", signed(data))
    try:
        found = mf.read(path, _pair()[1])
    except SignatureError as error:
        shown(str(error))
        return
    assert canonical(mf.document_of(found)) == data
    assert found.languages
    assert type(found.version) is type(found.retention_days) is int
    assert all(type(number) is int for one in found.languages for prompt in one.prompts() for number in prompt.elements)


def histories(data: bytes) -> None:
    """The history of a line's versions: its entries, each signed."""
    folder = written("versions/history", b"".join(signed(line) for line in data.split(b"\n") if line)).parent
    try:
        entries = versions.Versions(folder.parent, folder.name).history(_pair()[1])
    except SignatureError as error:
        shown(str(error))
        return
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    assert all(entry.version > 0 for entry in entries)


def receipts(data: bytes) -> None:
    """A receipt, signed: refused, or what it says is what the decision in it says."""
    try:
        document = receipt.checked(signed(data), _pair()[1])
    except SignatureError as error:
        shown(str(error))
        return
    assert canonical(document) == data
    event = document["event"]
    assert all(document[name] == event[name] for name in ("call_id", "line", "time", "outcome"))
    decision = json.loads(event["payload"])
    assert document["purposes"] == decision["purposes_granted"]
    assert document["retention_days"] == decision["retention_days"]
    assert document["proof"]["size"] >= event["sequence"] > 0
