"""Logs for the tests of erasure and retention: calls with persons in them, at times of the test's choice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ivr_consent.core.decision import Decision, Outcome
from ivr_consent.core.flow import failed_decision
from ivr_consent.core.steps import Granted, Logged
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.sealing import good
from ivr_consent.testing.plans import call_context
from ivr_consent.verifier import PublicKey, Report, Tables, verify

WAIT_S = 60.0


@dataclass(frozen=True)
class Person:
    """What a log holds of a caller in one call."""

    call_id: str = field(default_factory=lambda: secrets.token_hex(16))
    subject: str = field(default_factory=lambda: f"2026Q1-{secrets.token_hex(16)}")
    channel: str = field(default_factory=lambda: f"pbx-{secrets.token_hex(8)}.7")
    reference: str = field(default_factory=lambda: f"2026Q1-{secrets.token_hex(16)}")

    @property
    def traces(self) -> tuple[bytes, ...]:
        """What must not be found anywhere once it is erased."""
        return tuple(text.encode() for text in (self.subject, self.channel, self.reference))


def decided(person: Person, outcome: Outcome = Outcome.DECLINED, line: str = "support") -> Decision:
    context = call_context(person.call_id, line=line)
    context = replace(context, switch="asterisk", subject_ref=person.subject, channel_uniqueid=person.channel)
    made = replace(failed_decision(context, "no_key"), outcome=outcome, reference_ref=person.reference)
    if outcome is not Outcome.GRANTED:
        return made
    return replace(
        made,
        reason="yes_key",
        route="recorded",
        purposes_granted=("training",),
        retention_days=30,
        recording_id=person.call_id,
    )


def call(ledger: Ledger, person: Person | None = None, outcome: Outcome = Outcome.DECLINED, *later: str) -> Person:
    """One call, with later events by their kinds."""
    person = person or Person()
    assert ledger.note_now(person.call_id, "support", "asked", {"languages": "en"}, WAIT_S) == Logged()
    written = ledger.decide_now(decided(person, outcome), WAIT_S)
    assert isinstance(written, Granted) if outcome is Outcome.GRANTED else written == Logged()
    for kind in later:
        note(ledger, person, kind)
    return person


def note(ledger: Ledger, person: Person, kind: str, **details: Any) -> None:
    assert ledger.note_now(person.call_id, "support", kind, {"reason": "test", **details}, WAIT_S) == Logged()


RECORDED = ("recording_confirmed", "routed", "recording_ended")


def ask(place: Place, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a log, read beside all that is tested."""
    with closing(open_for_reading(place)) as database:
        return database.execute(query, values).fetchall()


def events(place: Place, kind: str) -> list[dict[str, Any]]:
    """The details of all events of a kind, without what is personal."""
    found = ask(place, "SELECT payload FROM events WHERE kind = ? ORDER BY sequence", kind)
    return [json.loads(raw) for (raw,) in found]


def verified(place: Place) -> Report:
    """What the verifier says, which trusts nobody; with the key that was published when the log began."""
    key = PublicKey.parse(place.sealing_key().public_path.read_text().strip())
    with closing(open_for_reading(place)) as database:
        rows: Any = database.execute
        return verify(Tables(rows), [key], good=good)


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def in_files(path: Path, traces: Iterable[bytes]) -> list[bytes]:
    """Which of these byte strings are in the database file or in its write-ahead log."""
    wal = Path(f"{path}-wal")
    content = path.read_bytes() + (wal.read_bytes() if wal.exists() else b"")
    return [trace for trace in traces if trace in content]
