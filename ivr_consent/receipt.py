"""Receipts: what a caller consented to, as one signed line of text that is verified without the log.

A receipt holds the call's decision as it stands in the log, the notice in words, and the proof that the decision is in
the tree of a checkpoint. The site's key signs all of it, the one that signs its notices; ``openssl`` can check it, as
:mod:`ivr_consent.signing` tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ivr_consent.core.errors import SignatureError
from ivr_consent.manifest import Spoken
from ivr_consent.signing import Signer, Verifier, opened, sealed
from ivr_consent.store.database import Database
from ivr_consent.store.proofs import Proofs
from ivr_consent.store.reader import CallRecord
from ivr_consent.verifier import HASH_BYTES, Checkpoint, Event, NoteError, inclusion_holds, leaf, leaf_hash

FORM: Final = 1
"""Version of the document; a reader refuses what is newer than itself."""

MAX_RECEIPT_BYTES: Final = 1 << 20

FACTS: Final = ("controller", "authority", "recipients", "withdrawal_contact", "rights_contact", "web_address")
"""Of what the notice said of the site: what a caller needs later."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An event with the proof that it is in the tree of ``size`` leaves that a checkpoint, ``note``, tells."""

    event: Event
    size: int
    note: str
    path: tuple[bytes, ...]


_COLUMNS: Final = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"


def included(database: Database, sequence: int) -> Inclusion | None:
    """An event under the first checkpoint that covers it; ``None`` when there is none yet, or the event is gone.

    Raises :class:`LedgerError` for a log that is damaged.
    """
    query = "SELECT size, note FROM checkpoints WHERE size >= ? ORDER BY size LIMIT 1"
    checkpoint = database.execute(query, (sequence,)).fetchone()
    row = database.execute(f"SELECT {_COLUMNS} FROM events WHERE sequence = ?", (sequence,)).fetchone()  # noqa: S608 - fixed columns
    if checkpoint is None or row is None:
        return None
    size, note = checkpoint
    return Inclusion(Event(*row), size, note, tuple(Proofs(database).inclusion(sequence, size)))


def receipt(record: CallRecord, inclusion: Inclusion, spoken: Spoken, code: str | None, issued: str) -> dict[str, Any]:
    """The document for one granted call; ``spoken`` is the published notice in the language that the caller heard.

    ``code`` is the reference code, ``None`` where its period's key is gone.
    """
    decision = record.decision.payload
    notice = decision["notice"]
    asked = [*spoken.information, *(spoken.questions[purpose] for purpose in decision["purposes_granted"])]
    event = inclusion.event
    return {
        "receipt": FORM,
        "issued": issued,
        "reference": code,
        "call_id": record.call_id,
        "line": record.line,
        "time": event.time,
        "outcome": event.outcome,
        "purposes": list(decision["purposes_granted"]),
        "retention_days": decision["retention_days"],
        "recording": record.recording,
        "facts": {name: spoken.facts[name] for name in FACTS if name in spoken.facts},
        "notice": {
            "id": notice["id"],
            "version": notice["version"],
            "language": notice["language"],
            "manifest_sha256": notice["manifest_sha256"],
            "text": [{"id": prompt.id, "text": prompt.text} for prompt in asked],
        },
        "event": {
            "sequence": event.sequence,
            "time": event.time,
            "kind": event.kind,
            "call_id": event.call_id,
            "line": event.line,
            "outcome": event.outcome,
            "payload": bytes(event.payload).decode(),
            "commitment": None if event.commitment is None else bytes(event.commitment).hex(),
            "previous": bytes(event.previous).hex(),
        },
        "proof": {
            "size": inclusion.size,
            "path": [step.hex() for step in inclusion.path],
            "checkpoint": inclusion.note,
        },
    }


def issue(document: Mapping[str, Any], by: Signer) -> bytes:
    """The receipt as it is handed out: one signed line."""
    return sealed(document, by)


def checked(line: bytes, by: Verifier) -> dict[str, Any]:
    """The document of a receipt. Raises :class:`SignatureError` with what is wrong with it.

    The site's signature, that the decision hashes to the leaf that the proof is of, that the proof leads to the
    checkpoint's root, and that what is said above the proof is what the decision says. That the checkpoint is the log's
    own is vouched for by the site's signature, and shown by a verification of the log itself.
    """
    if len(line) > MAX_RECEIPT_BYTES:
        raise SignatureError("it is larger than any receipt")
    document = opened(line, by)
    if document.get("receipt") != FORM:
        raise SignatureError(f"it is a receipt of another form ({document.get('receipt')!r}), or none; upgrade")
    try:
        _check(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SignatureError(f"it is signed, but not a receipt of ours ({type(error).__name__})") from None
    return document


def _check(document: Mapping[str, Any]) -> None:
    given, proof = document["event"], document["proof"]
    committed = given["commitment"]
    event = Event(
        given["sequence"],
        given["time"],
        given["kind"],
        given["call_id"],
        given["line"],
        given["outcome"],
        given["payload"].encode(),
        None if committed is None else bytes.fromhex(committed),
        bytes.fromhex(given["previous"]),
    )
    try:
        checkpoint = Checkpoint.parse(proof["checkpoint"].rpartition("\n\n")[0] + "\n")
    except NoteError as error:
        raise SignatureError(f"its checkpoint is not one: {error}") from None
    path = [bytes.fromhex(step) for step in proof["path"]]
    if any(len(step) != HASH_BYTES for step in path) or checkpoint.size != proof["size"]:
        raise ValueError("not a proof")
    if not inclusion_holds(leaf_hash(leaf(event)), event.sequence - 1, checkpoint.size, path, checkpoint.root):
        raise SignatureError("its decision is not in the tree of its checkpoint")
    decision = json.loads(event.payload)
    said = (document["call_id"], document["line"], document["time"], document["outcome"])
    logged = (event.call_id, event.line, event.time, event.outcome)
    notice = ("id", "version", "language", "manifest_sha256")
    if (
        said != logged
        or document["purposes"] != decision["purposes_granted"]
        or document["retention_days"] != decision["retention_days"]
        or any(document["notice"][name] != decision["notice"][name] for name in notice)
    ):
        raise SignatureError("what it says is not what the decision in it says")
