"""ivr-consent log verify, verifier, checkpoint: the same program, with the site's key, anchors and paths."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ivr_consent import config
from ivr_consent.store.bundle import write_bundle
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from ivr_consent.verifier import Checkpoint
from tests.cli.support import Place, run, run_json

WAIT_S = 120.0


@pytest.fixture
def logged(place: Place) -> Place:
    """A site with a log of two checkpoints."""
    ledger = Ledger(place_of(config.load(place.config)))
    for _ in range(2):
        for _ in range(3):
            ledger.tell_now("server_started", {"by": "test"})
        ledger.seal()
    ledger.close()
    return place


def forge(place: Place, *statements: str) -> None:
    with closing(sqlite3.connect(place.log)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def verify(place: Place, *words: str | Path) -> tuple[int, str]:
    result = run("--config", place.config, "log", "verify", *words)
    return result.exit_code, result.stdout


def test_the_configured_log_with_the_key_beside_it(logged: Place) -> None:
    code, text = verify(logged)
    assert code == 0
    assert text.splitlines()[-1] == "intact"
    code, document = run_json("--config", logged.config, "log", "verify")
    assert code == 0
    assert (document["events"], document["checkpoints"], document["trusted"]) == (7, 2, True)
    assert document["sealed"] == 7


def test_what_is_wrong_is_named(logged: Place) -> None:
    forge(logged, "UPDATE events SET kind = 'server_stopped' WHERE sequence = 3")
    code, text = verify(logged)
    assert code == 1
    assert "WRONG event_changed: event 3 was changed" in text
    code, document = run_json("--config", logged.config, "log", "verify")
    assert (code, document["exit"]) == (1, 1)
    (found,) = [one for one in document["findings"] if one["level"] == "wrong"]
    assert (found["code"], found["first"], found["last"]) == ("event_changed", 3, 3)


def test_another_log_and_another_key(logged: Place, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.jsonl"
    with bundle.open("wb") as file:
        write_bundle(place_of(config.load(logged.config)), file)
    assert verify(logged, bundle)[0] == 3, "no key lies beside it"
    key = logged.log.with_suffix(".pub")
    assert verify(logged, bundle, "--key", key)[0] == 0
    assert verify(logged, bundle, "--key", key.read_text().strip())[0] == 0
    assert verify(logged, logged.log)[0] == 0
    nobody = tmp_path / "nobody.toml"
    assert run("--config", nobody, "log", "verify", bundle, "--key", key).exit_code == 0, "it needs no configuration"


def test_a_wrong_command_line(logged: Place, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for words in (("--key", "nonsense"), ("--checkpoint", empty), ("--checkpoint", tmp_path / "missing")):
        code, _ = verify(logged, *words)
        assert code == 2, words


@pytest.mark.parametrize("data", [b"", b"nothing of the kind", b"SQLite format 3\x00" + bytes(100)])
def test_what_is_no_log(data: bytes, logged: Place, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    result = run("--config", logged.config, "log", "verify", path)
    assert result.exit_code == 5
    assert "cannot be verified" in result.stderr
    assert run_json("--config", logged.config, "log", "verify", path)[0] == 5


def test_a_kept_checkpoint_finds_a_cut_tail(logged: Place, tmp_path: Path) -> None:
    kept = tmp_path / "mail.txt"
    kept.write_text("Dear colleague,\n\n" + run("--config", logged.config, "log", "checkpoint").stdout)
    assert verify(logged, "--checkpoint", kept)[0] == 0
    with closing(sqlite3.connect(logged.log)) as connection:
        first = connection.execute("SELECT note FROM checkpoints ORDER BY size").fetchone()[0]
    size = Checkpoint.parse(first.rpartition("\n\n")[0] + "\n").size
    tables = (("events", "sequence"), ("checkpoints", "size"))
    forge(logged, *(f"DELETE FROM {table} WHERE {column} > {size}" for table, column in tables))  # noqa: S608 - a number
    code, text = verify(logged, "--checkpoint", kept)
    assert code == 1
    assert "tail_cut" in text


def test_the_anchors_of_the_configuration_are_compared(logged: Place, tmp_path: Path) -> None:
    kept = tmp_path / "outside"
    with logged.config.open("a") as file:
        file.write(f'\n[log.anchors]\nfile = "{kept}"\n')
    kept.write_text(run("--config", logged.config, "log", "checkpoint").stdout)
    code, document = run_json("--config", logged.config, "log", "verify")
    assert (code, document["compared"]) == (0, 1)


def test_the_verifier_is_handed_out_as_one_file(logged: Place, tmp_path: Path) -> None:
    out = tmp_path / "apart" / "check.py"
    out.parent.mkdir()
    assert run("--config", logged.config, "log", "verifier", "--out", out).exit_code == 0
    words = [sys.executable, "-I", "-S", out, logged.log, "--key", logged.log.with_suffix(".pub"), "--json"]
    done = subprocess.run(
        [str(word) for word in words], cwd=out.parent, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    mine = json.loads(done.stdout)
    ours = run_json("--config", logged.config, "log", "verify")[1]
    assert {name: ours[name] for name in mine if name != "log"} == {name: mine[name] for name in mine if name != "log"}
    assert run("--config", logged.config, "log", "verifier", "--out", out).exit_code == 1, "it is there already"


def test_a_checkpoint_now(logged: Place) -> None:
    before = run("--config", logged.config, "log", "checkpoint").stdout
    ledger = Ledger(place_of(config.load(logged.config)))
    ledger.tell_now("server_stopped", {})
    ledger.close()
    assert run("--config", logged.config, "log", "checkpoint").stdout == before
    code, document = run_json("--config", logged.config, "log", "checkpoint", "--seal")
    assert code == 0
    assert Checkpoint.parse(document["checkpoint"].rpartition("\n\n")[0] + "\n").size == 8
    assert verify(logged)[0] == 0


def test_there_is_no_log(place: Place) -> None:
    place.log.unlink()
    for words in (("verify",), ("checkpoint",), ("checkpoint", "--seal")):
        assert run("--config", place.config, "log", *words).exit_code == 5
        assert run_json("--config", place.config, "log", *words)[0] == 5
