"""Consent records and receipts after ISO/IEC TS 27560:2023, in the W3C's Data Privacy Vocabulary (DPV), as JSON-LD.

Source: "Consent Records and Receipts as per ISO/IEC TS 27560:2023 using DPV", the final community group report of
15 February 2026, and DPV 2.3. Where the report's examples use names that the vocabulary does not have
(``isImplementedBy``, ``hasLegalName``, ``ConsentTerminated``, ``eu-gdpr:GDPR``), those of the vocabulary are used.

One record is about one purpose of one call: each purpose is asked for by a question of its own, and the report reads
several purposes of one record as one consent. A call in which no purpose was asked for has no record.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from ivr_consent.core.decision import Outcome
from ivr_consent.exports.calls import Sealed
from ivr_consent.exports.facts import Answer, Facts, Segment, Standing, Subject
from ivr_consent.exports.jsonld import Node
from ivr_consent.exports.published import Told
from ivr_consent.exports.text import moment, text

RECORD: Final = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
"""The profile: what ISO/IEC TS 27560 asks for, and what the GDPR asks for beside it."""

RECEIPT: Final = "https://w3id.org/dpv/schema/dpv-27560#receipt"

GDPR: Final = "https://w3id.org/dpv/legal/eu#law-GDPR"

PURPOSE_TYPES: Final = MappingProxyType(
    {
        "training": "dpv:PersonnelManagement",
        "quality": "dpv:ServiceMonitoring",
        "agreement": "dpv:EstablishContractualAgreement",
        "diagnosis": "dpv:TechnicalServiceProvision",
    }
)
"""What kind of purpose each of the shipped notices is; a site's own has none (the field is optional)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a record needs and no notice says: whose law holds (``EU``, or a country's two letters), the controller's
    postal address, the country where recordings are stored."""

    jurisdiction: str = "EU"
    controller_address: str | None = None
    storage_country: str | None = None


def records(call: Facts, told: Told, setting: Setting, sealed: Sealed | None, *, words: bool = True) -> list[Node]:
    """The records of one call, one for each purpose; without their context.

    ``sealed``: a checkpoint over the call. ``words``: with the notice segment by segment, word for word where it is
    known; without, by its digests alone.
    """
    return [_record(call, purpose, told, setting, sealed, words=words) for purpose in call.purposes()]


def receipt(call: Facts, found: list[Node], created: datetime) -> Node:
    """The records of one call as a receipt for its caller; without its context."""
    identifier = _urn(call, "receipt")
    return {
        "@id": identifier,
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": RECEIPT,
        "dct:identifier": identifier,
        "dpv:hasIdentifier": identifier,
        "dct:created": _timestamp(created),
        "schema:recipient": "dpv:DataSubject",
        "dpv:hasRecordOfActivity": found,
    }


# --- a record --------------------------------------------------------------------------------------------------------


def _record(call: Facts, purpose: str, told: Told, setting: Setting, sealed: Sealed | None, *, words: bool) -> Node:
    answer = call.answered(purpose)
    identifier = _urn(call, purpose)
    subject = _subject(call)
    controller = _controller(told, setting)
    node: Node = {
        "@id": identifier,
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": RECORD,
        "dct:identifier": identifier,
        "dpv:hasIdentifier": identifier,
        "dpv:hasDataSubject": subject,
        "dpv:hasDataController": controller,
        "dpv:hasJurisdiction": f"loc:{setting.jurisdiction}",
        "dpv:hasApplicableLaw": GDPR,
        "dpv:hasLegalBasis": "eu-gdpr:A6-1-a",
        "dpv:hasAuthority": _named("dpv:DataProtectionAuthority", told.facts.get("authority")),
        "dpv:hasNotice": _notice(call, told, words=words),
        "dct:language": call.notice.language if call.notice is not None else None,
        "dpv:hasProcess": _process(call, purpose, answer, told, setting),
        "dpv:hasConsentControl": _exercised(["dpv:WithdrawConsent"], told.facts.get("withdrawal_contact")),
        "dpv:hasRight": _rights(told),
        "dpv:hasConsentStatus": _events(call, purpose, answer, subject["@id"], controller["@id"]),
        "dct:source": _source(call, sealed),
        "dct:provenance": _provenance(call, told),
    }
    return _without_none(node)


def _subject(call: Facts) -> Node:
    """The caller: a pseudonym that the log has, or nobody who could be found again."""
    node: Node = {"@id": f"_:subject-{call.sequence}", "@type": "dpv:DataSubject", "dct:identifier": call.subject}
    if call.subject_is is Subject.ERASED:
        node["dct:description"] = "The caller's pseudonym has been erased from the log."
    elif call.subject_is is Subject.WITHHELD:
        node["dct:description"] = "The caller's number did not come with the call."
    elif call.subject_is is Subject.LEFT_OUT:
        node["dct:description"] = "Who the caller is was left out of this export."
    return _without_none(node)


def _controller(told: Told, setting: Setting) -> Node:
    name = told.facts.get("controller")
    address = setting.controller_address or name  # the fact is documented as name and, best, address
    identifier = f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'controller {name}')}"
    return _without_none(
        {
            "@id": identifier,
            "@type": "dpv:DataController",
            "dpv:hasIdentifier": identifier,
            "dpv:hasName": name,
            "dpv:hasAddress": address,
            "dpv:hasContact": told.facts.get("rights_contact"),
            "schema:url": told.facts.get("web_address"),
        }
    )


def _notice(call: Facts, told: Told, *, words: bool) -> Node | None:
    notice = call.notice
    if notice is None:
        return None
    heard = sum(segment.complete for segment in notice.segments)
    return _without_none(
        {
            "@type": "dpv:ConsentNotice",
            "dct:identifier": f"{notice.id} version {notice.version}",
            "dct:language": notice.language,
            "dct:date": _as_time(call.asked_at),
            "dct:extent": f"{heard} of {len(notice.segments)} segments heard to the end",
            "spdx:checksum": _checksums(("text", notice.text_sha256), ("manifest", notice.manifest_sha256)),
            "dct:hasPart": [_segment(segment, told) for segment in notice.segments] if words else None,
        }
    )


def _segment(segment: Segment, told: Told) -> Node:
    return _without_none(
        {
            "dct:identifier": segment.id,
            "dct:description": told.text(segment.text_sha256),
            "dct:extent": f"{segment.samples_played} of {segment.samples_total} samples heard",
            "spdx:checksum": _checksums(("text", segment.text_sha256), ("audio", segment.audio_sha256)),
        }
    )


def _process(call: Facts, purpose: str, answer: Answer | None, told: Told, setting: Setting) -> Node:
    recorded = call.recorded
    data: Node = {
        "@type": "dpv:PersonalData",
        "skos:broader": "pd:VoiceCommunicationRecording",
        "dpv:hasNecessity": "dpv:Optional",
    }
    if recorded is not None and recorded.sha256 is not None:
        data["dct:identifier"] = recorded.file or call.call_id
        data["spdx:checksum"] = _checksums(("recording", recorded.sha256))
    location: Node = {"@type": "dpv:StorageLocation", "dpv:hasLocation": ["dpv:LocalLocation"]}
    if setting.storage_country is not None:
        location["dpv:hasLocation"].append(f"loc:{setting.storage_country}")
    storage: list[Node] = [location]
    if call.days is not None:
        storage.append({"@type": "dpv:StorageDuration", "dpv:hasDuration": _days(call.days)})
    deletion: Node = {"@type": "dpv:StorageDeletion", "dct:description": _deletion(call)}
    if call.due is not None:
        deletion["dct:date"] = _timestamp(call.due)
    storage.append(deletion)
    return _without_none(
        {
            "@type": "dpv:Process",
            "dpv:hasPurpose": {
                "@type": "dpv:Purpose",
                "dct:identifier": purpose,
                "skos:broader": PURPOSE_TYPES.get(purpose),
                "dct:description": told.text(answer.question_sha256) if answer is not None else None,
            },
            "dpv:hasPersonalData": data,
            "dpv:hasProcessing": ["dpv:Record", "dpv:Store"],
            "dpv:hasDataSource": {"@type": "dpv:DataSubjectDataSource", "dpv:hasProcessing": ["dpv:Collect"]},
            "dpv:hasStorageCondition": storage,
            "dpv:hasRecipient": _named("dpv:Recipient", told.facts.get("recipients")),
            "dpv:hasService": {"@type": "dpv:Service", "dct:title": f"telephone line {call.line}"},
        }
    )


def _deletion(call: Facts) -> str:
    if call.outcome != Outcome.GRANTED:
        return "Nothing was recorded."
    return {
        "none": "Nothing was recorded.",
        "granted": "The recorder has not been seen to run.",
        "confirmed": "Recorded; the end of the recording is not in the log yet.",
        "ended": "Recorded, and to be erased when its days are over.",
        "expired": "Recorded, and erased when its days were over.",
        "withdrawn": "Consent was withdrawn and the recording erased.",
        "stopped": "The recorder was stopped before the call was passed on.",
        "not_confirmed": "The recorder was not seen to run, and was stopped.",
        "missing": "There is no file of the recording.",
    }.get(call.recording, "The grant was not used: nothing was recorded.")


# --- events ----------------------------------------------------------------------------------------------------------


def _events(call: Facts, purpose: str, answer: Answer | None, subject: str, controller: str) -> list[Node]:
    """The life of one purpose's consent, oldest first."""
    events: list[Node] = []
    if call.asked_at is not None:
        events.append(_event("dpv:ConsentRequested", call.asked_at, controller, "notice and question, spoken", _ANSWER))
    granted = call.outcome == Outcome.GRANTED and purpose in call.purposes_granted
    how = _method(answer)
    if granted:
        events.append(_event("dpv:ConsentGiven", call.time, subject, how, _validity(call), "dpv:ExpressedConsent"))
    elif answer is not None and answer.answer == "declined":
        events.append(_event("dpv:ConsentRefused", call.time, subject, how, _CALL))
    elif call.standing is Standing.UNKNOWN:
        events.append(_event("dpv:ConsentUnknown", call.time, controller, f"failure: {call.reason}", _CALL))
    else:
        events.append(_event("dpv:ConsentRequestDeferred", call.time, subject, f"no answer: {call.reason}", _CALL))
    if granted:
        for event, state, by in (
            (call.void, "dpv:ConsentRevoked", controller),
            (call.withdrawn, "dpv:ConsentWithdrawn", subject),
            (call.expired, "dpv:ConsentExpired", controller),
        ):
            if event is not None:
                reason = text(event.payload.get("reason"))
                events.append(_event(state, event.time, by, _REASONS.get(reason or "", reason), _ENDLESS))
    return events


_REASONS: Final = {
    "no_key_after_grant": "the no key pressed on the telephone, before the call was passed on",
    "by_administrator": "the caller told the controller",
    "retention_over": "the days that the caller was told are over; the recording was erased",
    "log_too_slow": "the log was written too late; the grant was not used",
    "decided_otherwise": "the call was decided otherwise; the grant was not used",
}


def _method(answer: Answer | None) -> str | None:
    if answer is None or answer.key is None:
        return None
    when = f", {answer.after_ms} ms after the question" if answer.after_ms is not None else ""
    return f"key {answer.key} pressed on the telephone (DTMF){when}"


def _event(state: str, time: str, by: str, how: str | None, duration: Node, kind: str | None = None) -> Node:
    return _without_none(
        {
            "@type": [state, kind] if kind is not None else state,
            "dpv:isIndicatedAtTime": _as_time(time),
            "dpv:isIndicatedBy": by,
            "dpv:hasIndicationMethod": how,
            "dpv:hasDuration": duration,
        }
    )


def _validity(call: Facts) -> Node:
    if call.due is not None:
        return {
            "@type": "dpv:UntilTimeDuration",
            "rdf:value": {"@value": _timestamp(call.due), "@type": "xsd:dateTime"},
        }
    if call.days is not None:
        return {
            "@type": "dpv:TemporalDuration",
            "rdf:value": _days(call.days),
            "dct:description": "Counted from the end of the recording.",
        }
    return {"@type": "dpv:IndeterminateDuration"}


_ANSWER: Final[Node] = {"@type": "dpv:UntilEventDuration", "rdf:value": "the caller's answer"}
_CALL: Final[Node] = {"@type": "dpv:UntilEventDuration", "rdf:value": "end of the call"}
_ENDLESS: Final[Node] = {"@type": "dpv:EndlessDuration"}


# --- where it comes from ---------------------------------------------------------------------------------------------


def _source(call: Facts, sealed: Sealed | None) -> Node:
    """By what the decision is found and proven in its log."""
    proof = call.proof
    checkpoint = None
    if sealed is not None:
        checkpoint = {
            "dct:description": f"signed checkpoint over the first {sealed.size} events",
            "dct:date": _as_time(sealed.time),
            "rdf:value": sealed.note,
        }
    return _without_none(
        {
            "dct:identifier": f"ivr-consent/{proof.log} event {proof.sequence}",
            "dct:isPartOf": {"dct:identifier": f"ivr-consent/{proof.log}"},
            "spdx:checksum": _checksums(("leaf", proof.leaf)),
            "dct:references": checkpoint,
        }
    )


def _provenance(call: Facts, told: Told) -> str:
    where = {
        "manifest": "What the notice said is from the signed version that the decision names.",
        "configuration": "What the notice said is from the present configuration: that version is not there any more.",
        "nowhere": "What the notice said is not known: neither its version nor its line is there any more.",
    }[told.source]
    parts = [f"Decided by {call.software or 'unknown software'}.", where]
    if not call.readable:
        parts.append("An event of this call is not of the form that this program writes.")
    return " ".join(parts)


# --- small parts -----------------------------------------------------------------------------------------------------

_SHA256: Final = re.compile("[0-9a-f]{64}")

_NAMESPACE: Final = uuid.UUID("8f2bb6a4-6a0c-5e7e-9a30-0d4f6c1f2b57")
"""Ours alone: ids made in it are the same in every export."""


def _urn(call: Facts, name: str) -> str:
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{call.proof.log} {call.call_id} {name}')}"


def _named(kind: str, name: str | None) -> Node | None:
    return {"@type": kind, "dpv:hasName": name} if name is not None else None


def _exercised(kinds: list[str], where: str | None) -> Node:
    return _without_none({"@type": kinds, "dpv:isExercisedAt": where})


def _rights(told: Told) -> list[Node]:
    contact, authority = told.facts.get("rights_contact"), told.facts.get("authority")
    named = (
        ("A7-3", "Right to withdraw consent", told.facts.get("withdrawal_contact")),
        ("A15", "Right of access", contact),
        ("A16", "Right to rectification", contact),
        ("A17", "Right to erasure", contact),
        ("A18", "Right to restriction of processing", contact),
        ("A20", "Right to data portability", contact),
        ("A77", "Right to lodge a complaint", authority),
    )
    return [
        {**_exercised(["dpv:DataSubjectRight", f"eu-gdpr:{article}"], where), "dct:title": title}
        for article, title, where in named
    ]


def _checksums(*digests: tuple[str, str | None]) -> list[Node]:
    """Digests by what they are of; what is none is left out."""
    return [
        {
            "@type": "spdx:Checksum",
            "dct:description": name,
            "spdx:algorithm": "spdx:checksumAlgorithm_sha256",
            "spdx:checksumValue": digest,
        }
        for name, digest in digests
        if digest is not None and _SHA256.fullmatch(digest)
    ]


def _days(days: int) -> Node:
    return {"@value": f"P{days}D", "@type": "xsd:duration"}


def _timestamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_time(value: str | None) -> str | None:
    """A time of the log, typed; ``None`` for what is no time: it would be a false statement."""
    found = moment(value)
    return _timestamp(found) if found is not None else None


def _without_none(node: Node) -> Node:
    return {name: value for name, value in node.items() if value is not None and value != []}
