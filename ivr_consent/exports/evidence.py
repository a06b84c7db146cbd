"""The state of a log for a report: its size, its newest checkpoint, and what its verification says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ivr_consent import verifier
from ivr_consent.exports.blocks import Evidence
from ivr_consent.exports.calls import Calls, Sealed
from ivr_consent.exports.text import printable
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.sealing import good

MAX_FINDINGS: Final = 20
"""Findings of a verification that a report tells."""

_STATUS: Final = {
    0: "intact, under the key that was published when the log began",
    1: "NOT INTACT",
    verifier.INCOMPLETE: "nothing is wrong; not everything could be verified",
}


def evidence_of(
    place: Place, calls: Calls, *, verify: bool, progress: Callable[[int, int], None] | None = None
) -> Evidence:
    """What there is to say. ``verify``: read the whole log and compare; ``progress`` is told events so far, and all."""
    sealed = calls.newest_checkpoint()
    verified, intact, findings = _verified(place, progress) if verify else ("not done for this report", None, ())
    return Evidence(
        f"{calls.log_id} (server {place.server})" if place.server else calls.log_id,
        calls.size,
        calls.pruned(),
        sealed.size if sealed is not None else None,
        sealed.time if sealed is not None else None,
        _root(sealed),
        verified,
        intact,
        findings,
    )


def _root(sealed: Sealed | None) -> str | None:
    lines = sealed.note.split("\n") if sealed is not None else []
    return lines[2] if len(lines) > 2 else None


def _verified(
    place: Place, progress: Callable[[int, int], None] | None
) -> tuple[str, bool | None, tuple[tuple[str, str], ...]]:
    """In words, whether it is intact (``None``: not all of it could be verified), and what was found."""
    keys = _keys(place.sealing_key().public_path)
    try:
        if place.url is None:
            found = verifier.verify(place.path, keys, good=good, progress=progress)
        else:
            database = open_for_reading(place)
            rows: Any = database.execute
            try:
                found = verifier.verify(verifier.Tables(rows), keys, good=good, progress=progress)
            except database.errors as error:
                return f"not done: the log cannot be read ({printable(error, 200)})", None, ()
            finally:
                database.close()
    except verifier.Unreadable as error:
        return f"not done: {printable(error, 200)}", None, ()
    told = _STATUS.get(found.status, f"NOT VERIFIED: {printable(found.damage, 200)}")
    findings = tuple((finding.level, printable(finding.sentence, 300)) for finding in found.findings[:MAX_FINDINGS])
    return told, {0: True, verifier.INCOMPLETE: None}.get(found.status, False), findings


def _keys(path: Path) -> tuple[verifier.PublicKey, ...]:
    """The log's first public key, as it was published beside it; none where it is not there any more."""
    try:
        return (verifier.PublicKey.parse(path.read_text(encoding="ascii").strip()),)
    except (OSError, ValueError):
        return ()
