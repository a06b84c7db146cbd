"""vCons: a call's consent as a conversation container of the IETF, without its sound.

Sources: draft-ietf-vcon-vcon-core (the container; syntax 0.4.0) and draft-howe-vcon-consent-00 (the consent
attachment). This module is the one place that knows both. What they leave open, and what is done here:

- The consent draft gives a consent object as ``purpose`` and ``status`` (sections 10, 13, 23) and as ``consent`` and
  ``value`` (sections 18 to 20). Both are written, and say the same.
- It puts its fields on the attachment itself, whose ``party`` is who consents; the core's ``party`` is who brought the
  attachment. The consent draft's meaning is used. Both its ``type`` and the core's ``purpose`` are there.
- ``expiration`` may be null, which reads as consent without end. It is never null here: a consent that does not hold
  has the time when it ceased to, and a refusal the time of the decision, so that whoever looks at that alone goes wrong
  on the safe side.
- Standard purposes that callers are not asked for (transcription, analysis, sharing) are not in it: not asked is not
  consented, and nobody denied them either. ``recording`` and ``storage`` are, and the purposes asked for by their ids.
- ``status_interval`` and ``consent_ledger`` (a web service) are left out: there is none. ``terms_of_service`` is the
  notice, as an object with its digests.
- A recording stays where it is: its dialog has the digest and no content, which the core allows of a redacted vCon.
- The log has no time of day of a key press, but of the decision, which follows it at once. The key that decided stands
  in ``party_history`` with that time; all keys with their milliseconds after the question are in the consent's proof.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ivr_consent.exports.calls import Sealed
from ivr_consent.exports.facts import Answer, Facts, Standing, Subject
from ivr_consent.exports.published import Told
from ivr_consent.exports.text import moment

SYNTAX: Final = "0.4.0"
CONSENT_DRAFT: Final = "draft-howe-vcon-consent-00"

CALLER: Final = 0
GATE: Final = 1
CONTROLLER: Final = 2
AGENT: Final = 3
"""Indices of the parties."""

NOTICE_DIALOG: Final = 0
RECORDING_DIALOG: Final = 1

_STATUS: Final = {
    Standing.GIVEN: "granted",
    Standing.REFUSED: "denied",
    Standing.UNDECIDED: "denied",
    Standing.UNKNOWN: "denied",
    Standing.WITHDRAWN: "revoked",
    Standing.EXPIRED: "expired",
    Standing.VOID: "revoked",
}

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """A vCon in its unsigned form."""

    uuid: str
    document: Node


def container(call: Facts, told: Told, sealed: Sealed | None, created: datetime) -> Container:
    """The vCon of one call. ``created``: when it is made. ``sealed``: a checkpoint over the call."""
    recorded = call.recorded is not None and call.recorded.sha256 is not None
    dialogs = [_notice_dialog(call, told)]
    if recorded:
        dialogs.append(_recording_dialog(call))
    identifier = _uuid(call)
    document: Node = {
        "vcon": SYNTAX,
        "uuid": identifier,
        "extensions": ["consent"],
        "created_at": _timestamp(created),
        "subject": f"consent to the recording of a call, line {call.line}",
        "parties": _parties(call, told, with_agent=recorded),
        "dialog": dialogs,
        "attachments": [_consent(call, sealed, RECORDING_DIALOG if recorded else NOTICE_DIALOG)],
    }
    if recorded:
        document["redacted"] = {"type": "sound of recordings"}
    return Container(identifier, document)


def _parties(call: Facts, told: Told, *, with_agent: bool) -> list[Node]:
    caller: Node = {"type": "person", "name": "anonymous", "validation": "none"}
    if call.subject is not None and call.subject_is is Subject.PSEUDONYM:
        caller["uuid"] = _grouped(call.subject)
    controller: Node = {"type": "organization"}
    if "controller" in told.facts:
        controller |= {"name": told.facts["controller"], "validation": "none"}
    gate: Node = {"type": "bot", "name": "consent gate", "validation": "none", "org": told.facts.get("controller")}
    parties = [caller, {name: value for name, value in gate.items() if value is not None}, controller]
    return [*parties, {"type": "person", "name": "anonymous", "validation": "none"}] if with_agent else parties


def _grouped(pseudonym: str) -> str:
    """A pseudonym of 32 hexadecimal digits grouped as a UUID is, every digit kept; any other as it is."""
    digits = pseudonym.lower()
    if len(digits) != 32 or any(character not in "0123456789abcdef" for character in digits):
        return pseudonym
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _notice_dialog(call: Facts, told: Told) -> Node:
    """What the gate said to the caller, as far as it was heard; its words where the version is still there."""
    dialog: Node = {
        "type": "text",
        "start": _as_time(call.asked_at) or _decided(call),
        "parties": [GATE, CALLER],
        "originator": CALLER,
        "application": "ivr-consent",
    }
    heard = [segment for segment in call.notice.segments if segment.times] if call.notice is not None else []
    words = [told.text(segment.text_sha256) for segment in heard]
    if words and None not in words:
        dialog |= {"mediatype": "text/plain", "encoding": "none", "body": "\n".join(word for word in words if word)}
    key = _deciding(call)
    if key is not None:
        dialog["party_history"] = [{"party": CALLER, "time": _decided(call), "event": "keydown", "button": key}]
    return dialog


def _deciding(call: Facts) -> str | None:
    """The last key of an answer."""
    return next((answer.key for answer in reversed(call.answers) if answer.key is not None), None)


def _recording_dialog(call: Facts) -> Node:
    recorded = call.recorded
    assert recorded is not None
    assert recorded.sha256 is not None
    dialog: Node = {
        "type": "recording",
        "start": _as_time(call.confirmed_at) or _decided(call),
        "parties": [CALLER, AGENT],
        "mediatype": "audio/x-wav",
    }
    if recorded.milliseconds is not None:
        dialog["duration"] = recorded.milliseconds / 1000
    if recorded.file is not None:
        dialog["filename"] = recorded.file
    hashed = _content_hash(recorded.sha256)
    if hashed is not None:
        dialog["content_hash"] = hashed
    return dialog


def _content_hash(sha256: str) -> str | None:
    """A digest in the form of the core: algorithm, hyphen, base64url."""
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        return None
    return f"sha256-{_base64url(digest)}" if len(digest) == 32 else None


# --- the consent attachment ------------------------------------------------------------------------------------------


def _consent(call: Facts, sealed: Sealed | None, dialog: int) -> Node:
    purposes = call.purposes()
    granted = [purpose for purpose in purposes if purpose in call.purposes_granted and call.outcome == "granted"]
    consents = [_purpose(call, name, bool(granted)) for name in ("recording", "storage")]
    consents += [_purpose(call, purpose, purpose in granted) for purpose in purposes]
    return {
        "type": "consent",
        "purpose": "consent",
        "version": CONSENT_DRAFT,
        "consent_id": f"urn:uuid:{_uuid(call)}",
        "start": _decided(call),
        "party": CALLER,
        "dialog": dialog,
        "expiration": _expiration(call),
        "consents": consents,
        "terms_of_service": _terms(call),
        "proof": _proofs(call, sealed),
    }


def _purpose(call: Facts, purpose: str, granted: bool) -> Node:
    status = _STATUS[call.standing] if granted else "denied"
    changed = call.void or call.withdrawn or call.expired if granted else None
    return {
        "purpose": purpose,
        "status": status,
        "consent": purpose,
        "value": status == "granted",
        "timestamp": (_as_time(changed.time) if changed is not None else None) or _decided(call),
        "reason": call.outcome if not granted else call.standing.value,
    }


def _expiration(call: Facts) -> str:
    changed = call.void or call.withdrawn or call.expired
    if call.standing is Standing.GIVEN:
        if call.due is not None:
            return _timestamp(call.due)
        return _later(call)
    return (_as_time(changed.time) if changed is not None else None) or _decided(call)


def _later(call: Facts) -> str:
    """The promised days after the decision: earlier than they end, since they count from the recording's end."""
    decided, days = call.decided_at, call.days
    if decided is None or days is None:
        return _decided(call)
    try:
        return _timestamp(datetime.fromtimestamp(decided.timestamp() + days * 86400, UTC))
    except (OverflowError, ValueError, OSError):
        return _decided(call)


def _terms(call: Facts) -> Node:
    notice = call.notice
    if notice is None:
        return {"notice": None}
    return {
        "notice": notice.id,
        "version": notice.version,
        "language": notice.language,
        "heard_to_the_end": notice.complete,
        "text_sha256": notice.text_sha256,
        "manifest_sha256": notice.manifest_sha256,
        "retention_days": call.days,
    }


def _proofs(call: Facts, sealed: Sealed | None) -> list[Node]:
    entry: Node = {"log": f"ivr-consent/{call.proof.log}", "sequence": call.proof.sequence, "leaf": call.proof.leaf}
    if sealed is not None:
        entry["checkpoint"] = sealed.note
    proofs: list[Node] = [
        {"type": "dtmf", "timestamp": _decided(call), "value": _pressed(answer)}
        for answer in call.answers
        if answer.key is not None
    ]
    return [*proofs, {"type": "transparency_log", "timestamp": _decided(call), "value": entry}]


def _pressed(answer: Answer) -> Node:
    return {
        "purpose": answer.purpose,
        "answer": answer.answer,
        "key": answer.key,
        "milliseconds_after_question": answer.after_ms,
        "known_from": answer.timing,
        "question_sha256": answer.question_sha256,
    }


# --- small parts -----------------------------------------------------------------------------------------------------


def _uuid(call: Facts) -> str:
    """A UUID of version 8 as the core makes it: the decision's milliseconds, then bits of our own.

    The core takes those from the name of the machine. Here they are a digest of the log, the call and its last event:
    the machine's name would say more than it should, and a call of which more became known is another version, with
    another id.
    """
    decided = call.decided_at
    milliseconds = max(0, int(decided.timestamp() * 1000)) if decided is not None else 0
    seed = hashlib.sha256(f"vcon {call.proof.log} {call.call_id} {call.last_sequence}".encode()).digest()
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(seed[:10])
    value = value & ~(0xF << 76) | 8 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


def _decided(call: Facts) -> str:
    """When it was decided. A log with a time that is none gets the oldest: nothing of it may seem to hold."""
    return _as_time(call.time) or "1970-01-01T00:00:00.000Z"


def _timestamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_time(value: str | None) -> str | None:
    found = moment(value)
    return _timestamp(found) if found is not None else None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
