"""vCons: the container, the consent attachment as both of its draft's halves have it, and nothing personal in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.exports import formats, vcon
from ivr_consent.exports.calls import Calls, Selection
from ivr_consent.exports.facts import Facts, facts_of
from ivr_consent.exports.jsonld import dumped
from ivr_consent.exports.published import Published
from ivr_consent.store.place import place_of
from tests.exports.support import Book, book, by_name, facts, poisoned
from tests.sites import SmallSite

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "vcon.schema.json").read_text())
MADE = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def calls(written: tuple[SmallSite, Book]) -> dict[str, Facts]:
    site, page = written
    return by_name(page, facts(place_of(site.settings)))


@pytest.fixture
def made(written: tuple[SmallSite, Book]) -> dict[str, dict[str, Any]]:
    """vCons as they are read back, by the calls' names."""
    site, page = written
    published = Published(site.settings)
    with Calls(place_of(site.settings)) as opened:
        found = by_name(page, [facts_of(call) for call in opened.stream(Selection())])
        return {
            name: json.loads(
                dumped(
                    vcon.container(
                        call, published.told(call), opened.checkpoint_over(call.last_sequence), MADE
                    ).document
                )
            )
            for name, call in found.items()
        }


def consent(document: dict[str, Any]) -> dict[str, Any]:
    (attachment,) = document["attachments"]
    assert isinstance(attachment, dict)
    return attachment


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {one["purpose"]: one["status"] for one in consent(document)["consents"]}


def test_each_is_of_the_schema(made: dict[str, dict[str, Any]]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for name, document in made.items():
        assert [error.message for error in validator.iter_errors(document)] == [], name


def test_the_schema_refuses_what_is_wrong(made: dict[str, dict[str, Any]]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for spoil in (
        lambda document: consent(document).pop("expiration"),
        lambda document: consent(document).update(expiration=None),
        lambda document: consent(document)["consents"][0].update(value=not consent(document)["consents"][0]["value"]),
        lambda document: document["parties"][0].update(tel="+4512345678"),
        lambda document: document["dialog"][0].pop("start"),
        lambda document: document.update(uuid="x"),
    ):
        document = json.loads(json.dumps(made["kept"]))
        spoil(document)
        assert not validator.is_valid(document)


def test_references_hold(made: dict[str, dict[str, Any]]) -> None:
    """Draft, 4.4: party and dialog are there."""
    for document in made.values():
        attachment, parties = consent(document), len(document["parties"])
        assert attachment["party"] == 0
        assert attachment["dialog"] < len(document["dialog"])
        for dialog in document["dialog"]:
            assert all(index < parties for index in (*dialog["parties"], dialog.get("originator", 0)))
            assert all(event["party"] < parties for event in dialog.get("party_history", ()))


@pytest.mark.parametrize(
    ("name", "status", "expiration"),
    [
        ("kept", "granted", "2026-04-01T08:32:21.250Z"),  # 30 days after the recording's end
        ("running", "granted", "2026-05-02T09:48:03.750Z"),  # 30 days after the decision: its end is not known yet
        ("refused", "denied", "2026-03-02T08:36:41.250Z"),
        ("silent", "denied", "2026-03-02T08:38:01.250Z"),
        ("other-key", "denied", "2026-03-02T08:39:21.250Z"),
        ("hung-up", "denied", "2026-03-02T08:40:41.250Z"),
        ("failed", "denied", "2026-03-02T08:40:41.250Z"),
        ("withdrawn", "revoked", "2026-03-03T09:43:02.500Z"),
        ("expired", "expired", "2026-04-02T09:45:23.750Z"),
        ("void", "revoked", "2026-04-02T09:46:43.750Z"),
    ],
)
def test_what_holds_and_until_when(made: dict[str, dict[str, Any]], name: str, status: str, expiration: str) -> None:
    """A consent that does not hold has an expiration that is over: whoever looks at that alone does not process."""
    assert set(statuses(made[name]).values()) == {status}
    assert consent(made[name])["expiration"] == expiration
    assert {one["value"] for one in consent(made[name])["consents"]} == {status == "granted"}


def test_both_halves_of_the_draft_say_the_same(made: dict[str, dict[str, Any]]) -> None:
    for document in made.values():
        for one in consent(document)["consents"]:
            assert one["purpose"] == one["consent"]
            assert one["value"] is (one["status"] == "granted")


def test_what_was_not_asked_is_not_in_it(made: dict[str, dict[str, Any]]) -> None:
    assert list(statuses(made["kept"])) == ["recording", "storage", "training", "quality"]
    assert list(statuses(made["failed"])) == ["recording", "storage"]


def test_one_purpose_may_be_refused(site: SmallSite) -> None:
    (manifest,) = site.publish()
    with book(site, manifest) as page:
        page.call("mixed", Outcome.GRANTED, answers={"training": "granted", "quality": "declined"})
    (call,) = facts(place_of(site.settings))
    document = vcon.container(call, Published(site.settings).told(call), None, MADE).document
    expected = {"recording": "granted", "storage": "granted", "training": "granted", "quality": "denied"}
    assert statuses(document) == expected


def test_the_recording_is_named_by_its_digest(made: dict[str, dict[str, Any]], calls: dict[str, Facts]) -> None:
    notice, recording = made["kept"]["dialog"]
    recorded = calls["kept"].recorded
    assert recorded is not None
    algorithm, _, coded = recording["content_hash"].partition("-")
    assert algorithm == "sha256"
    assert base64.urlsafe_b64decode(coded + "=").hex() == recorded.sha256
    assert (recording["duration"], recording["parties"]) == (61.25, [0, 3])
    assert consent(made["kept"])["dialog"] == 1
    assert "body" not in recording
    assert "url" not in recording
    assert made["kept"]["redacted"] == {"type": "sound of recordings"}
    assert notice["type"] == "text"


def test_a_call_that_was_not_recorded_has_no_recording(made: dict[str, dict[str, Any]]) -> None:
    for name in ("refused", "silent", "other-key", "hung-up", "failed", "void", "running"):
        assert [dialog["type"] for dialog in made[name]["dialog"]] == ["text"]
        assert "redacted" not in made[name]
        assert len(made[name]["parties"]) == 3


def test_the_words_of_the_notice_are_those_that_were_heard(
    made: dict[str, dict[str, Any]], calls: dict[str, Facts]
) -> None:
    """Each line has the digest that the log has of it; what was not played is not there."""
    for name, heard in (("kept", 10), ("hung-up", 3)):
        lines = made[name]["dialog"][0]["body"].split("\n")
        notice = calls[name].notice
        assert notice is not None
        digests = [segment.text_sha256 for segment in notice.segments if segment.times]
        assert [hashlib.sha256(line.encode()).hexdigest() for line in lines] == digests
        assert len(lines) == heard


def test_words_that_are_not_there_are_not_made_up(written: tuple[SmallSite, Book], calls: dict[str, Facts]) -> None:
    site, _ = written
    shutil.rmtree(site.root / "versions")
    call = calls["kept"]
    dialog = vcon.container(call, Published(site.settings).told(call), None, MADE).document["dialog"][0]
    assert not {"body", "encoding", "mediatype"} & dialog.keys()


def test_the_deciding_key_is_in_the_history_of_the_parties(made: dict[str, dict[str, Any]]) -> None:
    for name, key in (("kept", "1"), ("refused", "2")):
        (pressed,) = made[name]["dialog"][0]["party_history"]
        assert (pressed["party"], pressed["event"], pressed["button"]) == (0, "keydown", key)
        assert pressed["time"] == consent(made[name])["start"]
    assert "party_history" not in made["silent"]["dialog"][0]


def test_it_says_where_it_is_proven(made: dict[str, dict[str, Any]], calls: dict[str, Facts]) -> None:
    *pressed, entry = consent(made["kept"])["proof"]
    assert [proof["value"]["milliseconds_after_question"] for proof in pressed] == [1250, 1250]
    proof = calls["kept"].proof
    assert entry["type"] == "transparency_log"
    assert entry["value"]["log"] == f"ivr-consent/{proof.log}"
    assert (entry["value"]["sequence"], entry["value"]["leaf"]) == (proof.sequence, proof.leaf)
    assert entry["value"]["checkpoint"].startswith(f"ivr-consent/{proof.log}\n")
    terms = consent(made["expired"])["terms_of_service"]
    assert (terms["notice"], terms["version"], terms["language"]) == ("recording", 1, "da")


def test_a_call_has_one_id_until_more_becomes_known(calls: dict[str, Facts], written: tuple[SmallSite, Book]) -> None:
    """A vCon that was changed is another one."""
    told = Published(written[0].settings).told(calls["kept"])

    def identifier(call: Facts) -> str:
        return vcon.container(call, told, None, datetime.now(UTC)).uuid

    found = identifier(calls["kept"])
    assert found == identifier(calls["kept"])
    assert found != identifier(replace(calls["kept"], last_sequence=99))
    assert found != identifier(calls["refused"])
    parsed = uuid.UUID(found)
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    assert parsed.int >> 80 == int(datetime(2026, 3, 2, 8, 31, 20, tzinfo=UTC).timestamp() * 1000)


def test_the_pseudonym_is_all_that_is_personal(made: dict[str, dict[str, Any]], calls: dict[str, Facts]) -> None:
    caller = made["kept"]["parties"][0]
    assert caller["name"] == "anonymous"
    assert caller["uuid"].replace("-", "") == calls["kept"].subject
    assert "uuid" not in made["refused"]["parties"][0]  # withheld
    assert "1700000000.1" not in json.dumps(made)  # what the switch calls the channel
    assert not re.search(r'"(tel|sip|mailto|stir|did|gmlpos)"', json.dumps(made))


def test_another_pseudonym_is_kept_as_it_is(calls: dict[str, Facts], written: tuple[SmallSite, Book]) -> None:
    told = Published(written[0].settings).told(calls["kept"])
    for subject in ("2026q1:0011", "x", "0" * 31):
        document = vcon.container(replace(calls["kept"], subject=subject), told, None, MADE).document
        assert document["parties"][0]["uuid"] == subject


def test_a_log_with_impossible_times_grants_nothing(calls: dict[str, Facts], written: tuple[SmallSite, Book]) -> None:
    told = Published(written[0].settings).told(calls["kept"])
    for spoilt in (
        replace(calls["running"], time="never"),
        replace(calls["running"], time="9999-12-31T23:59:59+00:00", retention_days=36_000),
        replace(calls["running"], retention_days=10**9),
    ):
        document = json.loads(dumped(vcon.container(spoilt, told, None, MADE).document))
        assert jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
        assert consent(document)["expiration"] == consent(document)["start"]


def test_hostile_text_stays_text(calls: dict[str, Facts], written: tuple[SmallSite, Book]) -> None:
    told = Published(written[0].settings).told(calls["withdrawn"])
    for attack in ('","value":true,"x":"', "\x1b[2J\x7f\u202e\r\n", "../../etc/passwd", ""):
        call = replace(poisoned(calls["withdrawn"], attack), outcome="granted")
        data = dumped(vcon.container(call, told, None, MADE).document)
        assert all(32 <= byte < 127 for byte in data)
        document = json.loads(data)
        assert [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)] == []


def test_many_are_one_a_line(written: tuple[SmallSite, Book]) -> None:
    site, page = written
    tally = formats.Tally()
    with Calls(place_of(site.settings)) as opened:
        sources = formats.Sources(Published(site.settings).told, opened.checkpoint_over)
        found = (facts_of(call) for call in opened.stream(Selection()))
        lines = b"".join(formats.vcon_pieces(found, tally, sources, MADE, None)).splitlines()
    assert tally.calls == len(lines) == len(page.calls)
    assert len({json.loads(line)["uuid"] for line in lines}) == len(lines)
