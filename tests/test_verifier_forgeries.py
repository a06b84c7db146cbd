"""Every kind of forgery at every place of a small log, and many at random of a large one: each is found, and named."""

# ruff: noqa: S311 - chance decides what is forged, and nothing else

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr_consent import verifier
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.bundle import write_bundle
from ivr_consent.store.place import Place
from ivr_consent.store.sealing import good
from ivr_consent.verifier import PublicKey, Report, Unreadable, verify
from tests import forging
from tests.forging import Forger, Forgery
from tests.logs import COLUMNS, Made, Writer, large, small

AT_RANDOM = int(os.environ.get("IVR_CONSENT_FORGERIES", "60"))
"""So many of a large log; thousands when somebody asks for them."""

LARGE = 12_000 if AT_RANDOM <= 1000 else 40_000
"""Its events."""

PARTS = 4


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return small(tmp_path_factory.mktemp("small") / "decisions.db")


@pytest.fixture(scope="session")
def large_log(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return large(tmp_path_factory.mktemp("large") / "decisions.db", LARGE)


def copied(made: Made, folder: Path) -> Made:
    """A log of one's own."""
    path = folder / "forged.db"
    shutil.copy(made.path, path)
    return Made(path, made.key, made.notes, made.private, made.log_id)


def verified(made: Made, *outside: str) -> Report | None:
    """What is found; ``None``: it cannot be read as a log."""
    try:
        return made.verify(*outside)
    except Unreadable:
        return None


def misses(forgery: Forgery, report: Report | None) -> str:
    """What is wrong with what was found, or nothing."""
    if report is None:
        return ""
    named = [finding for finding in report.findings if finding.code in forgery.codes]
    where = forgery.where
    placed = [one for one in named if where is None or (one.first <= where[-1] and one.last >= where[0])]
    if report.status != 1 or not placed:
        found = [(one.code, one.first, one.last) for one in report.findings]
        return f"{forgery.name}: {sorted(forgery.codes)} at {where}, found (exit {report.status}): {found}"
    return ""


def test_nothing_is_wrong_with_the_logs_that_are_forged(log: Made, large_log: Made) -> None:
    report = log.verify()
    assert report.ok
    assert (report.events, report.trunk, report.pruned, report.erased, report.checkpoints) == (44, 7, 3, 1, 6)
    assert report.sealed == 41
    assert large_log.verify().ok


@pytest.mark.parametrize("kind", forging.KINDS)
def test_every_forgery_of_a_small_log_is_found_and_named(kind: str, log: Made, tmp_path: Path) -> None:
    """R23: a change, a removal, a reordering, a cut tail, and whatever else somebody may do."""
    missed, count = [], 0
    for forgery in forging.every(log, kind, random.Random(7)):
        count += 1
        forged = copied(log, tmp_path)
        forgery.apply(forged.path)
        missed.append(misses(forgery, verified(forged)))
    assert [one for one in missed if one] == []
    assert count >= 24, "there are so few of them that something is wrong with the test"


@pytest.mark.parametrize("part", range(PARTS))
def test_forgeries_at_random_of_a_large_log_are_found_and_named(part: int, large_log: Made, tmp_path: Path) -> None:
    generator = random.Random(f"{part} of {AT_RANDOM}")
    missed = []
    for _ in range(-(-AT_RANDOM // PARTS)):
        forgery = forging.at_random(large_log, generator)
        forged = copied(large_log, tmp_path)
        forgery.apply(forged.path)
        missed.append(misses(forgery, verified(forged)))
    assert [one for one in missed if one] == []


def bundles(made: Made, kind: str, folder: Path) -> Iterator[tuple[Forgery, Report, Report]]:
    """Forgeries as they are found in a log, and in the bundle that was made of it."""
    generator = random.Random(kind)
    for forgery in forging.every(made, kind, generator):
        if generator.random() > 0.15:
            continue
        forged = copied(made, folder)
        forgery.apply(forged.path)
        bundle = folder / "forged.jsonl"
        try:
            with bundle.open("wb") as file:
                write_bundle(Place(forged.path), file)
            yield forgery, forged.verify(), verify(bundle, [made.key], good=good)
        except (LedgerError, Unreadable):
            continue  # what cannot be read cannot be passed on either


@pytest.mark.parametrize("kind", forging.KINDS)
def test_a_bundle_of_a_forged_log_says_the_same(kind: str, log: Made, tmp_path: Path) -> None:
    """A type that a column should not have is not in a bundle: there the value is another one."""
    for forgery, of_log, of_bundle in bundles(log, kind, tmp_path):
        codes = {one.code for one in of_bundle.findings if one.level == "wrong"}
        assert of_bundle.status == 1, forgery
        if kind != "changed":
            assert codes == {one.code for one in of_log.findings if one.level == "wrong"}, forgery
        assert codes & (forgery.codes | {"event_changed", "history_rewritten"}), forgery


# --- what a sentence names -------------------------------------------------------------------------------------------


def sentence(made: Made, code: str) -> str:
    """Of the only finding of that code."""
    (found,) = [one for one in made.verify().findings if one.code == code]
    return found.sentence


def test_the_changed_character_is_named(log: Made, tmp_path: Path) -> None:
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    time = forger.event(20)["time"]
    forger.change(20, time=time.replace("00:20", "00:30"))
    forger.done()
    text = sentence(forged, "event_changed")
    assert "event 20 was changed: a character of its column time was '2' and is '3' now" in text
    assert "the checkpoint of 23 events confirms it" in text


def test_the_changed_outcome_is_named(log: Made, tmp_path: Path) -> None:
    """The forgery that is worth most: a no that becomes a yes."""
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    (refused,) = forger.events("outcome = 'declined' AND sequence > 25")
    forger.change(refused["sequence"], outcome="granted")
    forger.done()
    assert "its column outcome was 'declined' and is 'granted' now" in sentence(forged, "event_changed")


def test_the_changed_byte_of_a_payload_is_named(log: Made, tmp_path: Path) -> None:
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    payload = forger.event(28)["payload"]
    at = payload.index(b"granted")
    forger.change(28, payload=payload[:at] + b"G" + payload[at + 1 :])
    forger.done()
    assert f"byte {at + 1} of its payload was 0x67 and is 0x47 now" in sentence(forged, "event_changed")


def test_several_changes_under_one_checkpoint_are_all_named(log: Made, tmp_path: Path) -> None:
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    for sequence in (33, 34, 36, 39):
        forger.change(sequence, kind="forged")
    forger.remove(37, 37)
    forger.done()
    wrong = [one for one in forged.verify().findings if one.level == "wrong"]
    named = {(one.code, one.first) for one in wrong}
    assert {("event_changed", 34), ("event_removed", 37), ("event_changed", 39)} <= named
    # Who vouches for 33 was changed itself, and who vouches for 36 is gone: that they lie where something was is told.
    for sequence in (33, 36):
        assert any(one.first <= sequence <= one.last for one in wrong), sequence


def test_what_is_found_in_one_place_does_not_hide_another(log: Made, tmp_path: Path) -> None:
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    forger.change(9, line="other")
    forger.remove(27, 28)
    forger.change(35, line="other")
    forger.do("UPDATE personal SET data = x'00' WHERE sequence = 40")
    forger.done()
    found = {(one.code, one.first) for one in forged.verify().findings}
    assert {("event_changed", 9), ("event_removed", 27), ("event_changed", 35), ("personal_changed", 40)} <= found


# --- so much was changed ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def flat_log(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Many events under one checkpoint, with a few behind it."""
    log = Writer(tmp_path_factory.mktemp("flat") / "decisions.db")
    for number in range(500):
        log.call(number)
    log.seal()
    log.call(500)
    return log.close()


@pytest.mark.parametrize("every", [2, 5])
def test_changes_without_number_under_one_checkpoint(every: int, flat_log: Made, tmp_path: Path) -> None:
    """All are counted, a hundred are told, and it is known that the rest of the log is as it was sealed."""
    forged = copied(flat_log, tmp_path)
    forger = Forger(forged.path)
    changed = range(10, 1490, every)
    for sequence in changed:
        forger.change(sequence, line="forged")
    forger.done()
    report = forged.verify()
    wrong = [one for one in report.findings if one.level == "wrong"]
    assert {one.code for one in wrong} == {"event_changed"}
    assert [one.first for one in wrong] == list(changed)[: len(wrong)]
    assert (len(wrong), report.left_off) == (100, {"event_changed": len(changed) - 100})
    assert (report.sealed, report.events) == (1501, 1504), "what was not changed is under the checkpoint still"


def test_changes_without_number_and_a_cut_tail(flat_log: Made, tmp_path: Path) -> None:
    forged = copied(flat_log, tmp_path)
    forger = Forger(forged.path)
    for sequence in range(10, 1200, 2):
        forger.change(sequence, line="forged")
    forger.remove(1301, 1504)
    forger.done()
    report = forged.verify()
    assert {one.code for one in report.findings if one.level == "wrong"} >= {"event_changed", "tail_cut"}
    assert report.left_off["event_changed"] >= 400
    assert report.sealed == 0, "the events that the checkpoint needs are gone"


def test_an_honest_log_without_a_seal_for_long_is_told_of(tmp_path: Path) -> None:
    """R23: who takes out checkpoints and makes the events anew leaves a log without a fault, and without a seal."""
    for days, overdue in ((2, False), (4, True)):
        log = Writer(tmp_path / f"{days}.db")
        log.call(1)
        log.seal()
        log.call(2)
        log.now += timedelta(days=days)
        log.call(3)
        report = log.close().verify()
        told = [one for one in report.findings if one.code == "seal_overdue"]
        assert [(one.level, one.first, one.last) for one in told] == [("open", 5, 10)] * overdue
        assert report.status == (3 if overdue else 0)


@pytest.mark.parametrize(("removed", "overdue"), [(11, True), (8, False)])
def test_checkpoints_that_were_taken_out_with_their_traces(
    removed: int, overdue: bool, large_log: Made, tmp_path: Path
) -> None:
    """Many events behind the newest checkpoint: the program would have sealed them. One from outside decides."""
    forged = copied(large_log, tmp_path)
    sizes = sorted(large_log.notes)
    last = sizes[-removed - 1]
    forger = Forger(forged.path)
    for size in sizes[-removed:]:
        forger.do("DELETE FROM checkpoints WHERE size = ?", size)
    cut_back(forger, last)
    forger.done()
    report = forged.verify()
    assert not [one for one in report.findings if one.level == "wrong"]
    assert [one.first for one in report.findings if one.code == "seal_overdue"] == [last + 1] * overdue
    assert report.status == (3 if overdue else 0)
    outside = forged.verify(large_log.notes[sizes[-1]])
    assert "checkpoint_missing" in {one.code for one in outside.findings}


@pytest.mark.parametrize("events", [1, 2])
def test_it_is_said_of_how_many_events_something_is_gone(events: int, tmp_path: Path) -> None:
    log = Writer(tmp_path / "decisions.db")
    for number in range(3):
        log.call(number)
    log.seal()
    log.erase(*(6, 9)[:events])
    log.prune(3, 2 + events)
    log.seal()
    found = {one.code: one.sentence for one in log.close().verify().findings}
    many = ("1 event", "2 events")[events - 1]
    assert found == {
        "personal_erased": f"the personal data of {many} were erased",
        "events_expired": f"of {many} whose time was over, only hashes are left",
    }


def cut_back(forger: Forger, size: int) -> None:
    """The log says of itself that the checkpoint of that size is its newest one."""
    ((note,),) = forger.ask("SELECT note FROM checkpoints WHERE size = ?", size)
    named, time = (note.partition(f"{word} ")[2].partition("\n")[0] for word in ("next", "time"))
    forger.do("UPDATE log SET sealed = ?, sealed_time = ?, next_key = ?", size, time, named)


# --- a clock that ran backwards --------------------------------------------------------------------------------------


def test_a_clock_that_ran_backwards_is_told(tmp_path: Path) -> None:
    log = Writer(tmp_path / "decisions.db")
    log.call(1)
    log.event("asked", {}, call="x", line="support", time="2026-03-04T07:00:00.000+00:00")
    log.call(2)
    log.seal()
    made = log.close()
    (found,) = [one for one in made.verify().findings if one.level == "wrong"]
    assert (found.code, found.first) == ("clock_ran_backwards", 5)
    assert "2026-03-04T07:00:00.000+00:00" in found.sentence


def test_an_event_that_says_otherwise_than_its_own_time_does_not_excuse_it(tmp_path: Path) -> None:
    log = Writer(tmp_path / "decisions.db")
    log.call(1)
    told = {"before": "2026-03-04T09:00:00.000+00:00", "after": "2026-03-04T07:00:00.000+00:00"}
    log.event("clock_set_back", told, time="2026-03-04T07:00:00.000+00:00")
    log.seal()
    made = log.close()
    assert [one.code for one in made.verify().findings if one.level == "wrong"] == ["clock_ran_backwards"]


# --- two logs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seal", [True, False])
def test_two_logs_spliced(seal: bool, log: Made, tmp_path: Path) -> None:
    """The beginning of one log, the end of another; with the other's checkpoints, or with the first one's."""
    other = Writer(tmp_path / "other.db")
    for number in range(20, 40):
        other.call(number)
        if number % 3 == 0:
            other.seal()
    made = other.close()
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    forger.may("DELETE FROM personal")
    forger.do("DELETE FROM events WHERE sequence > 28")
    with closing(sqlite3.connect(made.path)) as connection:
        for row in connection.execute("SELECT * FROM events WHERE sequence > 28").fetchall():
            forger.put(dict(zip(COLUMNS, row, strict=True)))
        if seal:
            forger.do("DELETE FROM checkpoints WHERE size > 28")
            for row in connection.execute("SELECT * FROM checkpoints WHERE size > 28").fetchall():
                forger.do("INSERT INTO checkpoints VALUES (?, ?, ?)", *row)
    forger.end()
    forger.done()
    report = forged.verify()
    assert report.status == 1
    spliced = [one for one in report.findings if one.code == "logs_spliced"]
    assert spliced
    if not seal:
        assert spliced[0].first == 29, "the first event of the other one"


# --- as docs/evidence.md tells a stranger to try ----------------------------------------------------------------------

PAGE = Path(__file__).parent.parent / "docs" / "evidence.md"
FORGE, SQL = (PAGE.read_text().partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("python", "sql"))
TRIED = re.findall(r"(.+?)-- (\w+)\n", SQL, re.DOTALL)


@pytest.mark.parametrize(("statement", "code"), TRIED, ids=[str(number) for number in range(len(TRIED))])
def test_what_a_stranger_is_told_to_try_is_found(statement: str, code: str, tmp_path: Path) -> None:
    """The page's own script and statements, and the stand-alone program."""
    log = Writer(tmp_path / "decisions.db")
    for number, outcome in enumerate(("granted", "declined", "granted", "no_answer")):
        log.call(number, outcome)
        if number == 1:
            log.seal()
    log.seal()
    made = log.close()
    shutil.copy(verifier.__file__, tmp_path / "verify_ivr_consent.py")
    (tmp_path / "decisions.pub").write_text(f"{made.key}\n")
    (tmp_path / "forge.py").write_text(FORGE)
    program = ("verify_ivr_consent.py", "forged.db", "--key", "decisions.pub", "--json")
    assert ran(tmp_path, "forge.py", "SELECT 1").returncode == 0
    assert ran(tmp_path, *program).returncode == 0
    assert ran(tmp_path, "forge.py", statement).returncode == 0
    found = ran(tmp_path, *program)
    assert found.returncode == 1
    assert code in {one["code"] for one in json.loads(found.stdout)["findings"]}


def test_the_page_tells_enough_to_try() -> None:
    assert len(TRIED) >= 11
    assert "".join(statement for statement, _ in TRIED).count("--") == 0
    assert "sqlite3" in FORGE


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-I", "-S", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


# --- with a stolen key -----------------------------------------------------------------------------------------------


def thief(log: Made, folder: Path, sequence: int) -> Made:
    """Has the present key, the log, and our own code; makes history anew from an event on, and seals it."""
    forged = copied(log, folder)
    forger = Forger(forged.path)
    forging.reseal_from(log, sequence, [size for size in sorted(log.notes) if size >= sequence])(forger)
    forger.done()
    return forged


@pytest.mark.parametrize("sequence", [9, 20, 33, 41])
def test_a_stolen_key_cannot_reseal_what_was_sealed(sequence: int, log: Made, tmp_path: Path) -> None:
    """The fault that another log's sealing once had: newer keys were good for older entries."""
    forged = thief(log, tmp_path, sequence)
    report = forged.verify()
    assert report.status == 1
    (found,) = [one for one in report.findings if one.level == "wrong"]
    assert found.code == "key_chain_broken"
    assert "resealed" in found.meaning
    assert report.sealed == max([size for size in log.notes if size < sequence], default=0), "what came before stands"


@pytest.mark.parametrize("sequence", [9, 33])
def test_with_a_checkpoint_from_outside_the_resealing_is_proven(sequence: int, log: Made, tmp_path: Path) -> None:
    forged = thief(log, tmp_path, sequence)
    codes = {one.code for one in forged.verify(log.notes[41]).findings if one.level == "wrong"}
    assert codes == {"resealed", "outside_differs"}


def test_a_newer_key_on_an_older_checkpoint_is_named(log: Made, tmp_path: Path) -> None:
    """The newest checkpoint stays, and names the stolen key; an older one is made anew with it."""
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    forger.change(30, payload=b'{"forged":true}', commitment=None)
    forger.may("DELETE FROM personal WHERE sequence = 30")
    forger.relink(30)
    forger.do("DELETE FROM checkpoints WHERE size = 32")
    forging.reseal(forger, log, [32])
    forger.done()
    found = [one for one in forged.verify().findings if one.code == "resealed"]
    assert found
    assert "but by the one that the checkpoint of 41 events names" in found[0].sentence


def test_the_thief_can_sign_what_comes_next_and_no_more(log: Made, tmp_path: Path) -> None:
    """What was not sealed when the key was stolen is not protected by it: docs/evidence.md says so."""
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    forger.change(43, payload=b'{"forged":true}', commitment=None)
    forger.may("DELETE FROM personal WHERE sequence = 43")
    forger.relink(43)
    forging.reseal(forger, log, [44])
    forger.done()
    assert forged.verify().ok


def test_all_of_it_made_anew_is_found_by_the_key_that_was_published(log: Made, tmp_path: Path) -> None:
    other = Writer(tmp_path / "decisions.db")
    other.call(1)
    other.seal()
    made = other.close()
    # The same name, another key: as if somebody had made the whole log anew.
    mine = PublicKey(made.key.name, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    report = made.verify(keys=[mine])
    assert report.status == 1
    assert [one.code for one in report.findings if one.level == "wrong"] == ["resealed"]


# --- a cut tail ------------------------------------------------------------------------------------------------------


def cut(log: Made, folder: Path) -> Made:
    """The newest events are gone, their checkpoints too, and the log says that it ends there."""
    forged = copied(log, folder)
    forger = Forger(forged.path)
    forger.do("DELETE FROM events WHERE sequence > 27")
    forger.do("DELETE FROM personal WHERE sequence > 27")
    forger.do("DELETE FROM checkpoints WHERE size > 27")
    forger.end()
    cut_back(forger, 25)
    forger.done()
    return forged


def test_a_tail_cut_with_its_checkpoints_is_found_by_one_from_outside_only(log: Made, tmp_path: Path) -> None:
    forged = cut(log, tmp_path)
    assert forged.verify().ok, "a limit, and docs/evidence.md tells it"
    for size in (32, 41):
        (found,) = [one for one in forged.verify(log.notes[size]).findings if one.level == "wrong"]
        assert (found.code, found.first, found.last) == ("tail_cut", 28, size)
    assert forged.verify(log.notes[25]).ok, "an older one does not know of it"


def test_checkpoints_from_outside_vouch_for_each_other(log: Made, tmp_path: Path) -> None:
    """Those in between bring the keys: then even the signature of the newest is checked."""
    forged = cut(log, tmp_path)
    (found,) = [one for one in forged.verify(log.notes[32], log.notes[41]).findings if one.code == "tail_cut"]
    assert "cannot be checked" not in found.sentence
    (found,) = [one for one in forged.verify(log.notes[41]).findings if one.code == "tail_cut"]
    assert "its signature cannot be checked" in found.sentence


def test_checkpoints_that_were_taken_out_are_missed_where_somebody_has_seen_them(log: Made, tmp_path: Path) -> None:
    forged = copied(log, tmp_path)
    forger = Forger(forged.path)
    forger.do("DELETE FROM checkpoints WHERE size = 32")
    forger.done()
    assert [one.code for one in forged.verify().findings if one.level == "wrong"] == ["key_chain_broken"]
    codes = [one.code for one in forged.verify(log.notes[41], log.notes[32]).findings if one.level == "wrong"]
    assert codes == ["checkpoint_missing", "checkpoint_missing"]
