"""``base/``: a small log with its bundles and its key, a manifest and a receipt, as real programs make them.

They were made once, and their private keys were thrown away: ``python -m tests.fuzz.made`` makes others, after which
the seeds that hold parts of the old ones are worth less.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from ivr_consent import receipt
from ivr_consent.core.decision import canonical
from ivr_consent.manifest import document_of
from ivr_consent.store.bundle import Part, write_bundle
from ivr_consent.store.database import Database, open_for_reading
from ivr_consent.store.place import Place
from tests.fuzz.target import BASE
from tests.logs import Made, Writer
from tests.sites import SmallSite


def main() -> None:
    """Make all of it anew."""
    BASE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        aside = Path(name)
        log = _log(aside / "log.db")
        (BASE / "log.pub").write_text(f"{log.key}\n")
        (BASE / "log.db").write_bytes(log.path.read_bytes())
        place = Place(path=log.path)
        for file, part in (("log.bundle", None), ("part.bundle", Part(first=4, last=6))):
            with (BASE / file).open("wb") as stream:
                write_bundle(place, stream, part=part)
        site = SmallSite.make(aside / "site")
        manifest = site.build()["support"]
        (BASE / "manifest.json").write_bytes(canonical(document_of(manifest)))
        database = open_for_reading(log.path)
        try:
            (BASE / "receipt.json").write_bytes(canonical(_receipt(database)))
        finally:
            database.close()


def _log(path: Path) -> Made:
    """Calls, one of them erased, one event pruned, and three checkpoints."""
    log = Writer(path)
    log.call(1)
    log.seal()
    details = {"outcome": "granted", "purposes_granted": ["training"], "retention_days": 30, "notice": _NOTICE}
    log.event("decision", details, call=f"{2:032x}", line="support", outcome="granted")
    log.call(3, "declined")
    log.erase(7)
    log.seal()
    log.prune(2, 2)
    log.call(4, "no_answer")
    log.seal()
    log.event("started", {"software": "test"})
    made = log.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA page_size = 512")  # many small pages: a file of a quarter of the size
        database.execute("VACUUM")
    return made


_NOTICE = {"id": "recording", "version": 1, "language": "en", "manifest_sha256": "0" * 64}


def _receipt(database: Database) -> dict[str, object]:
    inclusion = receipt.included(database, 5)
    assert inclusion is not None
    event = inclusion.event
    return {
        "receipt": receipt.FORM,
        "issued": "2026-03-05T08:00:00.000Z",
        "reference": "1234567894",
        "call_id": event.call_id,
        "line": event.line,
        "time": event.time,
        "outcome": event.outcome,
        "purposes": ["training"],
        "retention_days": 30,
        "recording": None,
        "facts": {"controller": "Example Ltd"},
        "notice": {**_NOTICE, "text": [{"id": "training-question", "text": "Do you consent?"}]},
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


if __name__ == "__main__":
    main()
