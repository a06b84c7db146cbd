"""The places of a configuration, and what stands there."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ivr_consent import config, verifier
from ivr_consent.anchors.gather import MAX_BEYOND, Collected, anchors_of, collected
from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import AnchorError
from ivr_consent.anchors.publisher import anchored, keeper
from ivr_consent.anchors.timestamp import TimestampAnchor
from ivr_consent.config import Settings
from ivr_consent.store.anchored import reading
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from tests.anchors.support import Tsa, checkpoint, limit, reply, web
from tests.tools import need

ONE, TWO = checkpoint(1), checkpoint(2000)


def site(folder: Path, anchors: str) -> Settings:
    path = folder / "ivr-consent.toml"
    path.write_text(f"{anchors}\n[lines.support]\n")
    return config.load(path)


def gathered(settings: Settings) -> tuple[list[Collected], list[str]]:
    told: list[str] = []
    return list(collected(settings, told.append)), told


def test_nothing_is_configured(tmp_path: Path) -> None:
    settings = site(tmp_path, "")
    assert anchors_of(settings) == []
    assert gathered(settings) == ([], [])


def test_every_place_of_a_configuration(tmp_path: Path) -> None:
    """With paths that start from the file's own directory."""
    settings = site(
        tmp_path,
        """
        [log.anchors]
        file = "outside/checkpoints"
        journal = true
        [log.anchors.command]
        run = ["tee", "-a", "x"]
        every_hours = 2
        [log.anchors.mail]
        to = ["dpo@example.org"]
        sender = "pbx@example.org"
        [log.anchors.timestamp]
        url = "http://tsa.example.org/"
        ca_file = "ca.pem"
        directory = "stamps"
        """,
    )
    found = {one.name: one for one in anchors_of(settings)}
    assert list(found) == ["file", "journal", "command", "mail", "timestamp"]
    assert found["file"].where == str(tmp_path / "outside" / "checkpoints")
    assert [one.every_s for one in found.values()] == [0, 0, 7200, 86400, 86400]
    assert [one.readable for one in found.values()] == [True, True, False, False, True]
    with pytest.raises(AnchorError, match=f"{tmp_path}/ca.pem cannot be read"):
        found["timestamp"].publish(ONE, limit())


def test_what_stands_there(tmp_path: Path) -> None:
    """Each with its place; one that cannot be read is told, and does not hide the others."""
    (tmp_path / "kept").write_text(f"{ONE.note}rubbish\n{TWO.note}")
    read = f"print(open({str(tmp_path / 'kept')!r}).read()); raise SystemExit('no more')"
    settings = site(
        tmp_path,
        f"""
        [log.anchors]
        file = "gone"
        [log.anchors.command]
        run = ["true"]
        read = ["{sys.executable}", "-c", "{read}"]
        """,
    )
    found, told = gathered(settings)
    assert found == [Collected("command true", sealed.note, sealed.size) for sealed in (ONE, TWO)]
    assert len(told) == 2
    assert told[0].startswith(f"file {tmp_path}/gone: {tmp_path}/gone cannot be read")
    assert told[1].startswith("command true: python")
    assert "no more" in told[1]


@pytest.fixture
def stamped(tmp_path: Path) -> Iterator[tuple[Settings, list[Sealed]]]:
    """A log with two checkpoints, each with a time-stamp."""
    need("openssl")
    tsa = Tsa(tmp_path / "tsa")
    with web(lambda handler, question: reply(handler, tsa.answer(question))) as port:
        settings = site(
            tmp_path,
            f'[log.anchors.timestamp]\nurl = "http://127.0.0.1:{port}/"\nca_file = "tsa/authority.pem"\n',
        )
        (anchor,) = anchors_of(settings)
        ledger = Ledger(place_of(settings))
        notes = []
        for _ in range(2):
            ledger.tell_now("server_started", {})
            made = ledger.seal()
            assert made is not None
            notes.append(Sealed.parse(made))
            keeper(ledger)(anchored(anchor, notes[-1], anchor.publish(notes[-1], limit())))
        ledger.close()
        yield settings, notes


def test_time_stamps_in_the_log(stamped: tuple[Settings, list[Sealed]]) -> None:
    settings, notes = stamped
    found, told = gathered(settings)
    assert told == []
    assert [one.note for one in found] == [sealed.note for sealed in notes]
    assert all(one.seen is not None and one.seen >= "2026" for one in found)
    assert all(one.place.startswith("time-stamp in the log, by http://") for one in found)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            "UPDATE anchors SET proof = (SELECT proof FROM anchors ORDER BY size DESC LIMIT 1)",
            "Mismatch between messages",
        ),
        ("UPDATE anchors SET proof = x'00' WHERE size = (SELECT min(size) FROM anchors)", "no answer"),
        ("DELETE FROM checkpoints WHERE size = (SELECT min(size) FROM anchors)", "its checkpoint is not in the log"),
        ("UPDATE checkpoints SET note = 'x' WHERE size = (SELECT min(size) FROM anchors)", "not a signed note"),
        ("UPDATE checkpoints SET note = x'ff' WHERE size = (SELECT min(size) FROM anchors)", "is not in the log"),
    ],
)
def test_one_that_is_not_good_is_told(stamped: tuple[Settings, list[Sealed]], change: str, why: str) -> None:
    settings, notes = stamped
    alter(settings, change)
    found, told = gathered(settings)
    assert [one.note for one in found] == [notes[1].note]
    (said,) = told
    assert f"the time-stamp of {notes[0].size} events" in said
    assert why in said


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE anchors SET size = 'x' || size, proof = x'00'",
        "UPDATE anchors SET proof = 'text'",
        "UPDATE anchors SET proof = zeroblob(100000000)",
        "UPDATE anchors SET proof = NULL",
        "UPDATE anchors SET time = x'ff', proof = 7",
        "INSERT INTO anchors SELECT 9223372036854775807, 'timestamp', 'x', x'00'",
    ],
)
def test_rows_that_somebody_else_wrote(stamped: tuple[Settings, list[Sealed]], change: str) -> None:
    """None of them is an error that nobody foresaw, nor read into memory because it is there."""
    settings, _ = stamped
    alter(settings, change)
    gathered(settings)
    with reading(place_of(settings)) as diary:
        diary.last("timestamp")


def alter(settings: Settings, change: str) -> None:
    with closing(sqlite3.connect(place_of(settings).path)) as database:
        for kind in ("changed", "deleted"):
            database.execute(f"DROP TRIGGER checkpoints_are_never_{kind}")
        database.execute(change)
        database.commit()


def test_no_log_to_read_them_from(tmp_path: Path) -> None:
    need("openssl")
    Tsa(tmp_path / "tsa")
    settings = site(tmp_path, '[log.anchors.timestamp]\nurl = "http://tsa.example/"\nca_file = "tsa/authority.pem"\n')
    found, told = gathered(settings)
    assert found == []
    assert "there is no log" in told[0]
    assert isinstance(anchors_of(settings)[0], TimestampAnchor)


def test_years_of_checkpoints_take_no_memory(tmp_path: Path) -> None:
    """What the log has itself is passed over, but for the newest; what it has not is bounded, and said."""
    settings = site(tmp_path, '[log.anchors]\nfile = "outside"\n')
    ledger = Ledger(place_of(settings))
    kept = []
    for _ in range(5):
        ledger.tell_now("server_started", {})
        kept.append(ledger.seal() or "")
    ledger.close()
    (tmp_path / "outside").write_text("".join(kept) + ONE.note + kept[0])
    found, told = gathered(settings)
    assert [one.note for one in found] == [ONE.note, kept[-1]]
    (tmp_path / "outside").write_text("".join(kept) + ONE.note * (MAX_BEYOND + 5))
    found, told = gathered(settings)
    assert len(found) == MAX_BEYOND + 1
    assert told == [
        f"file {tmp_path}/outside: more than {MAX_BEYOND} checkpoints that the log has not; "
        "the others are not looked at"
    ]


def test_a_log_that_cannot_be_read_hides_nothing(tmp_path: Path) -> None:
    settings = site(tmp_path, '[log.anchors]\nfile = "outside"\n')
    (tmp_path / "outside").write_text(ONE.note + TWO.note)
    place_of(settings).path.write_bytes(b"rubbish" * 1000)
    assert [one.note for one in gathered(settings)[0]] == [ONE.note, TWO.note]


# --- what it is for --------------------------------------------------------------------------------------------------


def test_a_cut_tail_is_found_through_it(tmp_path: Path) -> None:
    """R23: an older copy of log, key and all beside them is consistent in itself; what stands outside tells of it."""
    (tmp_path / "state").mkdir()
    settings = site(tmp_path, '[log]\npath = "state/decisions.db"\n[log.anchors]\nfile = "outside"\n')
    place, (anchor,) = place_of(settings), anchors_of(settings)

    def grow(events: int) -> None:
        ledger = Ledger(place)
        for _ in range(events):
            ledger.tell_now("server_started", {})
        note = ledger.seal()
        ledger.close()
        assert note is not None
        anchor.publish(Sealed.parse(note), limit())

    def verified(outside: list[Collected]) -> verifier.Report:
        keys = verifier.read_keys(str(tmp_path / "state" / "decisions.pub"))
        return verifier.verify(place.path, keys, [verifier.Outside(one.note, one.place) for one in outside])

    grow(3)
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    grow(5)
    found, told = gathered(settings)
    assert (told, len(found)) == ([], 1)
    assert verified(found).status == 0
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "copy").rename(tmp_path / "state")
    assert verified([]).status == 0, "consistent in itself"
    found, told = gathered(settings)
    assert (told, len(found)) == ([], 2)
    report = verified(found)
    assert report.status == 1
    (cut,) = [finding for finding in report.findings if finding.code == "tail_cut"]
    assert f"of 9 events from outside (file {tmp_path / 'outside'})" in cut.sentence
