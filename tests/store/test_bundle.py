"""The evidence bundle: a log, or chosen events of it with their proofs, for somebody who has nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.errors import ConsentError, LedgerUnreadable
from ivr_consent.store.bundle import Part, write_bundle
from ivr_consent.store.database import open_for_reading
from ivr_consent.store.place import Place
from ivr_consent.store.proofs import Proofs
from ivr_consent.store.sealing import good
from ivr_consent.verifier import Checkpoint, Report, consistency_holds, inclusion_holds, verify
from tests.logs import Made, Writer, leaf_hashes, small

CALL = f"{9:032x}"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return small(tmp_path_factory.mktemp("log") / "decisions.db")


def lines(made: Made, part: Part | None = None, *, personal: bool = True) -> list[dict[str, Any]]:
    file = io.BytesIO()
    write_bundle(Place(made.path), file, part=part, personal=personal)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def verified(records: list[dict[str, Any]], made: Made, folder: Path) -> Report:
    path = folder / "bundle.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return verify(path, [made.key], good=good)


def kinds(records: list[dict[str, Any]]) -> list[str]:
    return [next(iter(record)) for record in records]


def test_what_is_in_a_bundle(log: Made) -> None:
    """In its order: what it is, what is left of the oldest events, the events with all that stands between them."""
    found = kinds(lines(log))
    assert found[:3] == ["bundle", "trunk", "checkpoint"]
    assert found[-1] == "end"
    assert (found.count("event"), found.count("pruned"), found.count("checkpoint")) == (34, 3, 6)
    assert found[10:14] == ["event", "pruned", "pruned", "pruned"]


def test_a_part_has_one_calls_events_and_nothing_of_others(log: Made, tmp_path: Path) -> None:
    records = lines(log, Part(call=CALL))
    assert kinds(records) == ["bundle", *["checkpoint"] * 6, *["event"] * 3, "end"]
    assert {record["event"]["call"] for record in records if "event" in record} == {CALL}
    assert "subject-9" in json.dumps(records)
    assert "subject-8" not in json.dumps(records)
    report = verified(records, log, tmp_path)
    assert report.ok
    assert (report.form, report.present, report.sealed, report.trusted) == ("part", 3, 41, True)


@pytest.mark.parametrize(
    "part", [Part(first=8, last=41), Part(first=30, last=30), Part(last=9), Part(first=40, last=41)]
)
def test_a_part_may_be_a_range(part: Part, log: Made, tmp_path: Path) -> None:
    report = verified(lines(log, part), log, tmp_path)
    assert report.ok, report.findings


def test_a_part_of_what_is_not_sealed_or_not_there(log: Made) -> None:
    with pytest.raises(ConsentError, match="ivr-consent log checkpoint --seal"):
        lines(log, Part(first=40))
    with pytest.raises(ConsentError, match="no event in the log fits"):
        lines(log, Part(call="0" * 32))


def test_without_personal_data_nothing_leads_to_a_person(log: Made, tmp_path: Path) -> None:
    for part in (None, Part(call=CALL)):
        records = lines(log, part, personal=False)
        text = json.dumps(records)
        assert "subject-" not in text
        assert "agent-" not in text
        assert "salt" not in text
        report = verified(records, log, tmp_path)
        assert report.ok
        assert "personal_left_out" in {finding.code for finding in report.findings}


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreadable):
        write_bundle(Place(tmp_path / "nothing.db"), io.BytesIO())


def test_progress_is_told(log: Made) -> None:
    told: list[tuple[int, int]] = []
    write_bundle(Place(log.path), io.BytesIO(), part=Part(call=CALL), progress=lambda *done: told.append(done))
    assert told == [(3, 3)]


# --- a part that was changed -----------------------------------------------------------------------------------------


def changed(records: list[dict[str, Any]], kind: str, number: int, **values: Any) -> list[dict[str, Any]]:
    places = [at for at, record in enumerate(records) if kind in record]
    copies = json.loads(json.dumps(records))
    copies[places[number]][kind].update(values)
    assert copies != records
    return copies  # type: ignore[no-any-return]  # JSON has no types: each is a dict


@pytest.mark.parametrize(
    ("kind", "number", "values", "codes"),
    [
        ("event", 1, {"outcome": "granted"}, {"proof_fails"}),
        ("event", 1, {"payload": '{"all":"invented"}'}, {"proof_fails"}),
        ("event", 1, {"sequence": 5}, {"event_duplicated"}),
        ("event", 1, {"time": 7}, {"event_malformed"}),
        ("event", 0, {"proof": []}, {"proof_fails"}),
        ("event", 0, {"proof": ["00" * 32] * 6}, {"proof_fails"}),
        ("event", 0, {"proof": "nothing"}, {"proof_fails"}),
        ("end", 0, {"events": 4}, {"line_malformed"}),
        ("checkpoint", 5, {"note": "nothing"}, {"checkpoint_changed"}),
        ("checkpoint", 3, {"time": "2020-01-01T00:00:00.000+00:00"}, {"checkpoint_changed"}),
    ],
)
def test_what_was_changed_in_a_part_is_named(
    kind: str, number: int, values: dict[str, Any], codes: set[str], log: Made, tmp_path: Path
) -> None:
    report = verified(changed(lines(log, Part(call=CALL)), kind, number, **values), log, tmp_path)
    assert report.status == 1
    assert codes <= {finding.code for finding in report.findings if finding.level == "wrong"}


def test_personal_data_of_a_part_that_were_changed(log: Made, tmp_path: Path) -> None:
    records = lines(log, Part(call=CALL))
    (at,) = [number for number, record in enumerate(records) if "beside" in record.get("event", {})]
    records[at]["event"]["beside"]["data"] = records[at]["event"]["beside"]["data"].replace("subject-9", "subject-8")
    report = verified(records, log, tmp_path)
    assert [finding.code for finding in report.findings] == ["personal_changed"]


@pytest.mark.parametrize("at", range(1, 7))
def test_every_checkpoint_of_a_part_is_needed(at: int, log: Made, tmp_path: Path) -> None:
    """They lead from the key that was published to the one that the newest is signed with."""
    records = lines(log, Part(call=CALL))
    del records[at]
    report = verified(records, log, tmp_path)
    assert report.status == 1 if at > 1 else report.status in (1, 3)
    assert not report.ok


def test_an_event_of_another_log_is_not_in_this_one(log: Made, tmp_path: Path) -> None:
    """The whole of it: checkpoints, key, proofs; only an event comes from elsewhere."""
    other = small(tmp_path / "other.db")
    records, strange = lines(log, Part(call=CALL)), lines(other, Part(call=CALL))
    records[8] = strange[8]
    report = verified(records, log, tmp_path)
    assert "proof_fails" in {finding.code for finding in report.findings}
    assert verified(strange, log, tmp_path).status != 0, "another log's key"


# --- proofs ----------------------------------------------------------------------------------------------------------


def test_every_event_can_be_proven_at_every_size(log: Made) -> None:
    """Also beside pruned events, and where the oldest are gone but for the tree's peaks."""
    database = open_for_reading(log.path)
    proofs, hashes = Proofs(database), leaf_hashes(database)
    sizes = [size for size in log.notes if size > 7]
    for size in (*sizes, 44):
        root = _root(log, size) if size in log.notes else None
        for sequence in sorted(hashes):
            if 7 < sequence <= size:
                proof = proofs.inclusion(sequence, size)
                if root is not None:
                    assert inclusion_holds(hashes[sequence], sequence - 1, size, proof, root)
    for first in sorted(log.notes):
        for second in sizes:
            if first <= second:
                proof = proofs.consistency(first, second)
                assert consistency_holds(first, second, _root(log, first), _root(log, second), proof)
    database.close()


def _root(log: Made, size: int) -> bytes:
    return Checkpoint.parse(log.notes[size].rpartition("\n\n")[0] + "\n").root


def test_proofs_of_a_log_with_kept_nodes(tmp_path: Path) -> None:
    """More than 256 events: inner nodes come from the table, and are as good."""
    writer = Writer(tmp_path / "decisions.db")
    for number in range(300):
        writer.call(number)
        if number % 70 == 0:
            writer.seal()
    writer.seal()
    made = writer.close()
    database = open_for_reading(made.path)
    proofs, hashes = Proofs(database), leaf_hashes(database)
    size = max(made.notes)
    for sequence in (1, 2, 255, 256, 257, 511, 512, 513, 800, size):
        proof = proofs.inclusion(sequence, size)
        assert inclusion_holds(hashes[sequence], sequence - 1, size, proof, _root(made, size))
    for first in made.notes:
        proof = proofs.consistency(first, size)
        assert consistency_holds(first, size, _root(made, first), _root(made, size), proof)
    database.close()


def test_proofs_of_what_is_not_there(log: Made) -> None:
    database = open_for_reading(log.path)
    proofs = Proofs(database)
    for sequence, size in ((7, 41), (42, 41), (0, 41), (41, 45)):
        with pytest.raises(ConsentError):
            proofs.inclusion(sequence, size)
    for first, second in ((6, 41), (41, 45), (41, 32)):
        with pytest.raises(ConsentError):
            proofs.consistency(first, second)
    database.close()
