"""Consent records after ISO/IEC TS 27560 in DPV: every mandatory field, states in their order, as JSON-LD reads it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pyld import jsonld

from ivr_consent.core.decision import Outcome
from ivr_consent.exports import formats, records
from ivr_consent.exports import jsonld as jsonld_
from ivr_consent.exports.calls import Calls, Selection
from ivr_consent.exports.facts import Facts, facts_of
from ivr_consent.exports.published import Published
from ivr_consent.exports.records import Setting
from ivr_consent.store.place import place_of
from tests.exports.support import Book, book, by_name, facts, poisoned
from tests.sites import SmallSite

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "consent-record.schema.json").read_text())
MADE = datetime(2026, 5, 1, 12, tzinfo=UTC)

DPV = "https://w3id.org/dpv#"
TERMS = {
    # What DPV 2.3 has, by the kind that it is of; read in its list of terms.
    DPV: """ConsentExpired ConsentGiven ConsentNotice ConsentReceipt ConsentRecord ConsentRefused ConsentRequestDeferred
        ConsentRequested ConsentRevoked ConsentUnknown ConsentWithdrawn DataController DataProtectionAuthority
        DataSubject DataSubjectDataSource DataSubjectRight EndlessDuration EstablishContractualAgreement
        ExpressedConsent IndeterminateDuration LocalLocation Optional PersonalData PersonnelManagement Process Purpose
        Recipient Record Service ServiceMonitoring StorageDeletion StorageDuration StorageLocation Store Collect
        TechnicalServiceProvision TemporalDuration UntilEventDuration UntilTimeDuration WithdrawConsent
        hasAddress hasApplicableLaw hasAuthority hasConsentControl hasConsentStatus hasContact hasDataController
        hasDataSource hasDataSubject hasDuration hasIdentifier hasIndicationMethod hasJurisdiction hasLegalBasis
        hasLocation hasName hasNecessity hasNotice hasPersonalData hasProcess hasProcessing hasPurpose hasRecipient
        hasRecordOfActivity hasRight hasService hasStorageCondition isExercisedAt isIndicatedAtTime isIndicatedBy""",
    "https://w3id.org/dpv/pd#": "VoiceCommunicationRecording",
    "https://w3id.org/dpv/loc#": "EU DK",
    "https://w3id.org/dpv/legal/eu#": "law-GDPR",
    "https://w3id.org/dpv/legal/eu/gdpr#": "A6-1-a A7-3 A15 A16 A17 A18 A20 A77",
    "https://w3id.org/dpv/schema/dpv-27560#": "record-eu-gdpr receipt",
    "http://purl.org/dc/terms/": """conformsTo created date description extent hasPart identifier isPartOf language
        provenance references source title""",
    "http://spdx.org/rdf/terms#": "Checksum algorithm checksum checksumAlgorithm_sha256 checksumValue",
    "https://schema.org/": "recipient url",
    "http://www.w3.org/2004/02/skos/core#": "broader",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "value type",
    "http://www.w3.org/2001/XMLSchema#": "dateTime duration hexBinary string",
}
KNOWN = {namespace + name for namespace, names in TERMS.items() for name in names.split()}

MANDATORY = {
    # Fields that the guide says MUST be present, by where they stand.
    "": """conformsTo hasIdentifier hasDataSubject hasNotice hasProcess hasDataController hasConsentControl
        hasJurisdiction hasRight hasConsentStatus language""",
    "hasProcess": "hasPurpose hasPersonalData hasStorageCondition hasRecipient",
    "hasDataController": "hasName hasIdentifier hasAddress hasContact",
    "hasConsentStatus": "isIndicatedAtTime hasDuration isIndicatedBy",
}


@pytest.fixture
def made(written: tuple[SmallSite, Book]) -> dict[str, list[Any]]:
    """Records of each call, by the calls' names."""
    site, page = written
    with Calls(place_of(site.settings)) as calls:
        found = by_name(page, [facts_of(call) for call in calls.stream(Selection())])
        published = Published(site.settings)
        return {
            name: records.records(call, published.told(call), Setting(), calls.checkpoint_over(call.last_sequence))
            for name, call in found.items()
        }


def no_network(url: str, *_: object) -> Any:
    raise AssertionError(f"{url} was asked for")


def expanded(document: dict[str, Any]) -> list[Any]:
    found: list[Any] = jsonld.expand(document, {"documentLoader": no_network})
    return found


def document(node: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(jsonld_.document(node))
    return found


def iris(value: Any) -> Iterator[str]:
    """Every name and every reference of an expanded document."""
    if isinstance(value, list):
        for item in value:
            yield from iris(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "@type":
                yield from [item] if isinstance(item, str) else item
            elif key == "@id":
                yield item
            elif not key.startswith("@"):
                yield key
            if key != "@value":
                yield from iris(item) if key not in ("@id", "@type") else ()


def keys(value: Any) -> int:
    """How many keys there are that are not of JSON-LD itself."""
    if isinstance(value, list):
        return sum(map(keys, value))
    if isinstance(value, dict):
        return sum((not key.startswith("@")) + keys(item) for key, item in value.items())
    return 0


def states(node: dict[str, Any]) -> list[str]:
    found = []
    for event in node["dpv:hasConsentStatus"]:
        kind = event["@type"]
        found.append((kind if isinstance(kind, str) else kind[0]).removeprefix("dpv:Consent"))
    return found


# --- what there is ---------------------------------------------------------------------------------------------------


def test_one_record_for_each_purpose(made: dict[str, list[Any]]) -> None:
    """Each is a consent of its own."""
    purposes = [node["dpv:hasProcess"]["dpv:hasPurpose"]["dct:identifier"] for node in made["kept"]]
    assert purposes == ["training", "quality"]
    assert len({node["@id"] for nodes in made.values() for node in nodes}) == sum(map(len, made.values()))
    assert made["failed"] == []  # it was not asked for anything


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kept", ["Requested", "Given"]),
        ("running", ["Requested", "Given"]),
        ("refused", ["Requested", "Refused"]),
        ("silent", ["Requested", "RequestDeferred"]),
        ("other-key", ["Requested", "RequestDeferred"]),
        ("hung-up", ["Requested", "RequestDeferred"]),
        ("withdrawn", ["Requested", "Given", "Withdrawn"]),
        ("expired", ["Requested", "Given", "Expired"]),
        ("void", ["Requested", "Given", "Revoked"]),
    ],
)
def test_the_life_of_a_consent(made: dict[str, list[Any]], name: str, expected: list[str]) -> None:
    """27560, events; refusals too."""
    for node in made[name]:
        assert states(node) == expected
        times = [event["dpv:isIndicatedAtTime"] for event in node["dpv:hasConsentStatus"]]
        assert times == sorted(times)


def test_each_purpose_has_its_own_answer(site: SmallSite) -> None:
    """R4: yes to one and no to the other."""
    (manifest,) = site.publish()
    with book(site, manifest) as page:
        page.call("mixed", Outcome.GRANTED, answers={"training": "granted", "quality": "declined"})
    (call,) = facts(place_of(site.settings))
    told = Published(site.settings).told(call)
    training, quality = records.records(call, told, Setting(), None)
    assert (states(training)[-1], states(quality)[-1]) == ("Given", "Refused")
    assert training["dpv:hasConsentStatus"][1]["dpv:hasIndicationMethod"].startswith("key 1 pressed")
    assert quality["dpv:hasConsentStatus"][1]["dpv:hasIndicationMethod"].startswith("key 2 pressed")


def test_who_said_it_how_and_until_when(made: dict[str, list[Any]]) -> None:
    node = made["withdrawn"][0]
    requested, given, withdrawn = node["dpv:hasConsentStatus"]
    assert requested["dpv:isIndicatedBy"] == node["dpv:hasDataController"]["@id"]
    assert given["dpv:isIndicatedBy"] == withdrawn["dpv:isIndicatedBy"] == node["dpv:hasDataSubject"]["@id"]
    assert given["dpv:hasIndicationMethod"] == "key 1 pressed on the telephone (DTMF), 1250 ms after the question"
    assert given["dpv:hasDuration"]["rdf:value"]["@value"] == "2026-04-01T09:43:02.500Z"
    assert withdrawn["dpv:hasIndicationMethod"] == "the caller told the controller"
    running = made["running"][0]["dpv:hasConsentStatus"][1]["dpv:hasDuration"]
    assert (running["@type"], running["rdf:value"]["@value"]) == ("dpv:TemporalDuration", "P30D")


def test_what_the_caller_was_told_is_of_the_version_that_was_heard(made: dict[str, list[Any]]) -> None:
    node = made["expired"][0]
    notice = node["dpv:hasNotice"]
    assert (notice["dct:identifier"], notice["dct:language"]) == ("recording version 1", "da")
    assert notice["dct:hasPart"][0]["dct:description"] == "De taler med Example Company, den dataansvarlige."
    assert [one["dct:description"] for one in notice["spdx:checksum"]] == ["text", "manifest"]
    assert node["dpv:hasDataController"]["dpv:hasName"] == "Example Company"
    assert node["dpv:hasAuthority"]["dpv:hasName"] == "the Data Protection Agency"
    assert "from the signed version" in node["dct:provenance"]
    heard = [part["dct:extent"] for part in made["hung-up"][0]["dpv:hasNotice"]["dct:hasPart"]]
    assert heard[:4] == ["640 of 640 samples heard"] * 2 + ["320 of 640 samples heard", "0 of 640 samples heard"]


def test_a_version_that_is_gone_is_not_made_up(written: tuple[SmallSite, Book]) -> None:
    site, page = written
    shutil.rmtree(site.root / "versions")
    with Calls(place_of(site.settings)) as calls:
        call = by_name(page, [facts_of(call) for call in calls.stream(Selection())])["kept"]
    told = Published(site.settings).told(call)
    (node, _) = records.records(call, told, Setting(), None)
    assert "from the present configuration" in node["dct:provenance"]
    assert not any("dct:description" in part for part in node["dpv:hasNotice"]["dct:hasPart"])
    nowhere = Published(site.settings).told(replace(call, line="gone"))
    (node, _) = records.records(replace(call, line="gone"), nowhere, Setting(), None)
    assert "dpv:hasAuthority" not in node
    assert "neither its version nor its line" in node["dct:provenance"]


def test_what_is_not_known_of_a_subject_is_told(made: dict[str, list[Any]], written: tuple[SmallSite, Book]) -> None:
    assert made["kept"][0]["dpv:hasDataSubject"]["dct:identifier"] == "00112233445566778899aabbccddeeff"
    withheld = made["refused"][0]["dpv:hasDataSubject"]
    assert "dct:identifier" not in withheld
    assert "did not come" in withheld["dct:description"]
    with Calls(place_of(written[0].settings)) as calls:
        (call, *_) = [facts_of(call, personal=False) for call in calls.stream(Selection())]
    node = records.records(call, Published(written[0].settings).told(call), Setting(), None)[0]
    assert "00112233" not in json.dumps(node)


def test_the_setting_of_the_site(written: tuple[SmallSite, Book]) -> None:
    site, _ = written
    with Calls(place_of(site.settings)) as calls:
        call = facts_of(next(calls.stream(Selection())))
    setting = Setting("DK", "Example Street 1, 1000 Example", "DK")
    node = records.records(call, Published(site.settings).told(call), setting, None)[0]
    assert node["dpv:hasJurisdiction"] == "loc:DK"
    assert node["dpv:hasDataController"]["dpv:hasAddress"] == "Example Street 1, 1000 Example"
    assert node["dpv:hasProcess"]["dpv:hasStorageCondition"][0]["dpv:hasLocation"] == ["dpv:LocalLocation", "loc:DK"]


# --- its form --------------------------------------------------------------------------------------------------------


def test_each_record_is_of_our_schema(made: dict[str, list[Any]]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name, nodes in made.items():
        for node in nodes:
            assert [error.message for error in validator.iter_errors(document(node))] == [], name


@pytest.mark.parametrize(
    ("place", "spoil"),
    [
        ("dct:conformsTo", lambda node: node.pop("dct:conformsTo")),
        ("dpv:hasConsentStatus", lambda node: node["dpv:hasConsentStatus"].clear()),
        ("state", lambda node: node["dpv:hasConsentStatus"][0].update({"@type": "dpv:ConsentMaybe"})),
        ("time", lambda node: node["dpv:hasConsentStatus"][0].update({"dpv:isIndicatedAtTime": "yesterday"})),
        ("purpose", lambda node: node["dpv:hasProcess"].pop("dpv:hasPurpose")),
        ("more", lambda node: node.update({"caller": "+4512345678"})),
    ],
)
def test_the_schema_refuses_what_is_wrong(made: dict[str, list[Any]], place: str, spoil: Any) -> None:
    node = document(made["kept"][0])
    spoil(node)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(node), place


def test_the_mandatory_fields_are_there(made: dict[str, list[Any]]) -> None:
    for nodes in made.values():
        for node in nodes:
            for place, names in MANDATORY.items():
                parts = node if not place else node[f"dpv:{place}"]
                for part in parts if isinstance(parts, list) else [parts]:
                    present = {key.partition(":")[2] for key in part}
                    assert set(names.split()) <= present, place
            kinds = {part["@type"] for part in node["dpv:hasProcess"]["dpv:hasStorageCondition"]}
            assert kinds == {"dpv:StorageLocation", "dpv:StorageDuration", "dpv:StorageDeletion"}


def test_a_reader_of_json_ld_loses_nothing(made: dict[str, list[Any]]) -> None:
    """Every key has a meaning, every name is of its vocabulary, and nothing is asked for on the network."""
    for nodes in made.values():
        for node in nodes:
            found = expanded(document(node))
            assert len(found) == 1
            assert keys(found) == keys(node)
            names = {iri for iri in iris(found) if not iri.startswith(("urn:uuid:", "_:subject-"))}
            assert names <= KNOWN, names - KNOWN


def test_it_is_rdf(made: dict[str, list[Any]]) -> None:
    """Statements, with times as times and references as references."""
    dataset = jsonld.to_rdf(document(made["withdrawn"][0]), {"documentLoader": no_network})
    triples = dataset["@default"]
    states_of = [one["object"] for one in triples if one["predicate"]["value"] == DPV + "hasConsentStatus"]
    assert len(states_of) == 3
    times = [one["object"] for one in triples if one["predicate"]["value"] == DPV + "isIndicatedAtTime"]
    assert {time["datatype"] for time in times} == {"http://www.w3.org/2001/XMLSchema#dateTime"}
    (law,) = (one["object"] for one in triples if one["predicate"]["value"] == DPV + "hasApplicableLaw")
    assert law == {"type": "IRI", "value": "https://w3id.org/dpv/legal/eu#law-GDPR"}


def test_a_record_says_where_it_is_proven(made: dict[str, list[Any]], written: tuple[SmallSite, Book]) -> None:
    site, page = written
    with Calls(place_of(site.settings)) as calls:
        call = by_name(page, [facts_of(call) for call in calls.stream(Selection())])["kept"]
        sealed = calls.newest_checkpoint()
        log = calls.log_id
    assert sealed is not None
    source = made["kept"][0]["dct:source"]
    assert source["dct:identifier"] == f"ivr-consent/{log} event {call.sequence}"
    assert source["spdx:checksum"][0]["spdx:checksumValue"] == call.proof.leaf
    assert source["dct:references"]["rdf:value"] == sealed.note


def test_many_records_are_one_document(written: tuple[SmallSite, Book]) -> None:
    """Each on its line; the whole of it is JSON-LD."""
    site, page = written
    with Calls(place_of(site.settings)) as calls:
        tally = formats.Tally()
        sources = formats.Sources(Published(site.settings).told, calls.checkpoint_over)
        found = (facts_of(call) for call in calls.stream(Selection()))
        data = b"".join(formats.record_pieces(found, tally, sources, Setting()))
    assert (tally.calls, tally.documents) == (len(page.calls), 2 * (len(page.calls) - 1))
    whole = json.loads(data)
    assert len(expanded(whole)) == tally.documents
    lines = data.decode().splitlines()[1:-1]
    assert [json.loads(line.removesuffix(",")) for line in lines] == whole["@graph"]


def test_no_record_is_a_document_too() -> None:
    sources = formats.Sources(lambda _: pytest.fail("asked"), lambda _: None)
    data = b"".join(formats.record_pieces([], formats.Tally(), sources, Setting()))
    assert json.loads(data)["@graph"] == []


def test_a_receipt_holds_the_records_of_its_call(made: dict[str, list[Any]], written: tuple[SmallSite, Book]) -> None:
    """27560, receipt: identifier and schema version, and as the guide has it the records themselves."""
    site, page = written
    with Calls(place_of(site.settings)) as calls:
        call = by_name(page, [facts_of(call) for call in calls.stream(Selection())])["kept"]
    node = document(records.receipt(call, made["kept"], MADE))
    assert node["@type"] == "dpv:ConsentReceipt"
    assert node["dct:conformsTo"] == "https://w3id.org/dpv/schema/dpv-27560#receipt"
    assert node["dct:created"] == "2026-05-01T12:00:00.000Z"
    assert node["dct:identifier"] not in {record["dct:identifier"] for record in made["kept"]}
    assert node["dpv:hasRecordOfActivity"] == made["kept"]
    found = expanded(node)
    assert keys(found) == keys({key: value for key, value in node.items() if key != "@context"})
    assert {iri for iri in iris(found) if not iri.startswith(("urn:uuid:", "_:subject-"))} <= KNOWN


# --- what must not be in it, and what somebody else has put there ----------------------------------------------------


def test_nothing_of_the_switch_and_no_other_key(made: dict[str, list[Any]]) -> None:
    """B2: not in the record: audio, raw digits beyond the consent key, caller's name, the channel."""
    text = json.dumps(made)
    assert "1700000000.1" not in text
    assert re.findall(r"key (\S) pressed", text)
    assert set(re.findall(r"key (\S) pressed", text)) == {"1", "2"}


def test_hostile_text_stays_text(made: dict[str, list[Any]], written: tuple[SmallSite, Book]) -> None:
    """It is neither a name of JSON-LD nor a reference, and the document is ASCII."""
    site, page = written
    with Calls(place_of(site.settings)) as calls:
        call = by_name(page, [facts_of(call) for call in calls.stream(Selection())])["withdrawn"]
    told = Published(site.settings).told(call)
    for attack in (
        '"}],"@id":"http://evil.example/',
        "http://evil.example/x",
        "@type",
        "\x1b[2J\x7f\u202e",
        "_:b0",
        "",
    ):
        hostile: Facts = replace(poisoned(call, attack), purposes_granted=(attack,), outcome="granted")
        for node in records.records(hostile, told, Setting(), None):
            data = jsonld_.document(node)
            assert all(32 <= byte < 127 or byte == 10 for byte in data)
            found = expanded(json.loads(data))
            names = {iri for iri in iris(found) if not iri.startswith(("urn:uuid:", "_:subject-"))}
            assert names <= KNOWN
