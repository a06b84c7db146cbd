"""ivr-consent log anchor, anchors: shown outside now, and compared with what stands there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivr_consent import config
from ivr_consent.anchors.file import FileAnchor
from ivr_consent.anchors.notes import Sealed
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from tests.anchors.support import Tsa, checkpoint, limit, reply, web
from tests.cli.support import Place, run, run_json
from tests.tools import need


@pytest.fixture
def logged(place: Place) -> Place:
    """A site with a log."""
    tell(place, 3)
    return place


def tell(place: Place, events: int) -> None:
    ledger = Ledger(place_of(config.load(place.config)))
    for _ in range(events):
        ledger.tell_now("server_started", {})
    ledger.close()


def anchors(place: Place, text: str) -> None:
    with place.config.open("a") as file:
        file.write(f"\n{text}\n")


@pytest.fixture
def filed(logged: Place) -> Place:
    """Its checkpoints go to a file."""
    anchors(logged, f'[log.anchors]\nfile = "{logged.root}/outside"')
    return logged


def notes(path: Path) -> list[Sealed]:
    return list(FileAnchor(path, path.parent).read(limit()))


# --- log anchor ------------------------------------------------------------------------------------------------------


def test_nothing_is_configured(logged: Place) -> None:
    for verb in ("anchor", "anchors"):
        result = run("--config", logged.config, "log", verb)
        assert result.exit_code == 1
        assert "no anchor is configured; name one in [log.anchors]" in result.stderr


def test_there_is_no_log(place: Place) -> None:
    """And none is made of it."""
    anchors(place, f'[log.anchors]\nfile = "{place.root}/outside"')
    for path in place.state.glob("decisions.*"):
        path.unlink()
    for verb in ("anchor", "anchors"):
        assert run("--config", place.config, "log", verb).exit_code == 5
    assert not place.log.exists()


def test_the_log_is_sealed_and_shown(filed: Place) -> None:
    code, document = run_json("--config", filed.config, "log", "anchor")
    assert code == 0
    (shown,) = notes(filed.root / "outside")
    assert document["checkpoint"]["note"] == shown.note
    assert document["checkpoint"]["size"] == shown.size == 4  # with log_created
    where = str(filed.root / "outside")
    assert document["places"] == [{"place": "file", "where": where, "state": "shown", "problem": None}]


def test_what_has_been_shown_is_not_shown_again(filed: Place) -> None:
    """Unless somebody wants it, because the place has lost it."""
    run("--config", filed.config, "log", "anchor")
    result = run("--config", filed.config, "log", "anchor")
    assert result.exit_code == 0
    assert "already" in result.stdout
    assert len(notes(filed.root / "outside")) == 1
    assert "shown" in run("--config", filed.config, "log", "anchor", "--again").stdout
    assert len(notes(filed.root / "outside")) == 2
    tell(filed, 1)
    run("--config", filed.config, "log", "anchor")
    assert [sealed.size for sealed in notes(filed.root / "outside")] == [4, 4, 5]


def test_one_place_that_fails_does_not_keep_the_others(filed: Place) -> None:
    anchors(filed, '[log.anchors.command]\nrun = ["false"]')
    code, document = run_json("--config", filed.config, "log", "anchor")
    assert code == 1
    assert [place["state"] for place in document["places"]] == ["shown", "failed"]
    assert "failed with exit code 1" in document["places"][1]["problem"]
    result = run("--config", filed.config, "log", "anchor")
    assert result.exit_code == 1
    assert "false failed with exit code 1; see log.anchors.command" in result.stderr
    assert len(notes(filed.root / "outside")) == 1


def test_beside_a_service_that_runs(filed: Place) -> None:
    """Another process has the log open and seals it."""
    ledger = Ledger(place_of(config.load(filed.config)), seals=True)
    try:
        ledger.tell_now("server_started", {})
        assert run("--config", filed.config, "log", "anchor").exit_code == 0
        ledger.tell_now("server_stopped", {})
        assert ledger.seal() is not None
        assert run("--config", filed.config, "log", "anchor").exit_code == 0
    finally:
        ledger.close()
    assert [sealed.size for sealed in notes(filed.root / "outside")] == [5, 6]


# --- log anchors -----------------------------------------------------------------------------------------------------


def compared(place: Place) -> tuple[int, list[dict[str, object]]]:
    code, document = run_json("--config", place.config, "log", "anchors")
    return code, document["places"]


def test_nothing_is_shown_yet(filed: Place) -> None:
    code, (row,) = compared(filed)
    assert code == 1, "a file that is not there cannot be read"
    assert row["size"] is None
    assert "cannot be read" in str(row["problems"])


def test_what_stands_there_is_what_the_log_says(filed: Place) -> None:
    for _ in range(3):
        run("--config", filed.config, "log", "anchor")
        tell(filed, 1)
    with (filed.root / "outside").open("a") as file:
        file.write(checkpoint(9).note)  # another log's
    code, (row,) = compared(filed)
    assert (code, row["state"], row["problems"]) == (0, "good", [])
    assert (row["size"], row["notes"], row["newest"]) == (6, 3, 6)
    table = run("--config", filed.config, "log", "anchors").stdout
    assert "good" in table


def test_a_place_that_has_lost_its_end(filed: Place) -> None:
    run("--config", filed.config, "log", "anchor")
    (filed.root / "outside").write_text("")
    code, (row,) = compared(filed)
    assert (code, row["state"]) == (1, "wrong")
    assert "the checkpoint of 4 events" in str(row["problems"])
    assert "does not stand there any more" in run("--config", filed.config, "log", "anchors").stderr


def test_a_log_that_was_cut(filed: Place) -> None:
    """R23: an older copy of log and key, which is consistent in itself, is found out by what stands outside."""
    run("--config", filed.config, "log", "anchor")
    copy = filed.root / "copy"
    shutil.copytree(filed.state, copy)
    tell(filed, 5)
    run("--config", filed.config, "log", "anchor")
    shutil.rmtree(filed.state)
    copy.rename(filed.state)
    code, (row,) = compared(filed)
    assert (code, row["state"], row["newest"]) == (1, "wrong", 9)
    assert "a checkpoint of 9 events that the log has not" in str(row["problems"])


def test_a_log_that_was_written_anew(filed: Place) -> None:
    """With as many events: the checkpoints are others."""
    copy = filed.root / "copy"
    shutil.copytree(filed.state, copy)
    tell(filed, 5)
    run("--config", filed.config, "log", "anchor")
    shutil.rmtree(filed.state)
    copy.rename(filed.state)
    tell(filed, 5)
    ledger = Ledger(place_of(config.load(filed.config)))
    ledger.seal()
    ledger.close()
    code, (row,) = compared(filed)
    assert (code, row["state"]) == (1, "wrong")
    assert "or has otherwise" in str(row["problems"])


def test_what_stands_there_cannot_harm_a_terminal(filed: Place) -> None:
    run("--config", filed.config, "log", "anchor")
    with (filed.root / "outside").open("ab") as file:
        file.write(b"\x1b]0;owned\x07\n" * 100)
    result = run("--config", filed.config, "log", "anchors")
    assert "\x1b" not in result.output


def test_mail_is_read_by_hand(logged: Place) -> None:
    anchors(
        logged,
        '[log.anchors.mail]\nto = ["dpo@example.org"]\nsender = "pbx@example.org"\nsendmail = "/bin/true"',
    )
    assert run("--config", logged.config, "log", "anchor").exit_code == 0
    code, (row,) = compared(logged)
    assert (code, row["state"], row["size"], row["notes"]) == (0, "by hand", 4, None)


# --- time-stamps -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stamping(logged: Place) -> Iterator[Place]:
    need("openssl")
    tsa = Tsa(logged.root / "tsa")
    with web(lambda handler, question: reply(handler, tsa.answer(question))) as port:
        table = f'url = "http://127.0.0.1:{port}/"\nca_file = "{tsa.authority.pem}"'
        anchors(logged, f"[log.anchors.timestamp]\n{table}")
        yield logged


def test_time_stamps_are_verified_and_written_out(stamping: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger verifies them with openssl alone."""
    monkeypatch.setenv("no_proxy", "*")
    assert run("--config", stamping.config, "log", "anchor").exit_code == 0
    code, (row,) = compared(stamping)
    assert (code, row["state"], row["notes"], row["newest"]) == (0, "good", 1, 4)
    (stamping.root / "out").mkdir()
    code, document = run_json("--config", stamping.config, "log", "anchors", "--tokens", stamping.root / "out")
    assert (code, document["tokens"]) == (0, 1)
    note, token = sorted((stamping.root / "out").iterdir())
    authority = str(stamping.root / "tsa" / "authority.pem")
    verify = ["openssl", "ts", "-verify", "-data", str(note), "-in", str(token), "-CAfile", authority]
    assert b"Verification: OK" in subprocess.run(verify, capture_output=True, check=True, timeout=60).stdout
    result = run("--config", stamping.config, "log", "anchors", "--tokens", stamping.root / "gone")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_verify_tells_their_times(stamping: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    run("--config", stamping.config, "log", "anchor")
    code, document = run_json("--config", stamping.config, "log", "verify")
    assert code == 0
    (stamp,) = document["time_stamps"]
    assert (stamp["events"], document["anchors_not_read"]) == (4, [])
    assert stamp["seen"] >= "2026"
    told = run("--config", stamping.config, "log", "verify").stdout
    assert f"time-stamp of {stamp['seen']}: the checkpoint of 4 events was there (time-stamp in the log, by " in told


def test_verify_names_a_cut_tail_by_the_anchor(filed: Place) -> None:
    """R23: an older copy of log and key, consistent in itself."""
    run("--config", filed.config, "log", "anchor")
    copy = filed.root / "copy"
    shutil.copytree(filed.state, copy)
    tell(filed, 5)
    run("--config", filed.config, "log", "anchor")
    assert run("--config", filed.config, "log", "verify").exit_code == 0
    shutil.rmtree(filed.state)
    copy.rename(filed.state)
    assert run("log", "verify", filed.log).exit_code == 0, "it tells nothing by itself"
    result = run("--config", filed.config, "log", "verify")
    assert result.exit_code == 1
    assert f"of 9 events from outside (file {filed.root / 'outside'})" in result.stdout
    assert "the events 5 to 9 were cut off" in result.stdout
    alone = run("log", "verify", filed.log, "--checkpoint", filed.root / "outside")
    assert alone.exit_code == 1


def test_verify_says_which_anchor_it_could_not_read(filed: Place) -> None:
    result = run("--config", filed.config, "log", "verify")
    assert f"an anchor was not compared: file {filed.root / 'outside'}: " in result.stderr
