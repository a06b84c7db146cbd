"""``withdraw`` and ``sweep`` as an administrator runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ivr_consent import config
from ivr_consent.cli.main import app
from ivr_consent.store import recordings
from ivr_consent.store.ledger import Ledger
from tests.store.test_lifecycle import FRAMES, ID, granted


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "ivr-consent.toml"
    path.write_text("[lines.support]\n")
    settings = config.load(path)
    recordings.prepare(settings.path(settings.recordings.directory))
    ledger = Ledger(settings.path(settings.log.path))
    ledger.decide_now(granted())
    ledger.close()
    (tmp_path / "recordings" / f"{ID}.raw").write_bytes(FRAMES)
    return path


def run(site: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    done = CliRunner().invoke(app, ["--config", str(site), *arguments, "--json"])
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return done.exit_code, answer


def test_withdraw(site: Path) -> None:
    """R13: the file is gone and the log says so; a second time is an error with its remedy."""
    assert run(site, "withdraw", ID[:10]) == (0, {"ok": True, "call_id": ID, "erased": True})
    assert list((site.parent / "recordings").iterdir()) == []
    code, answer = run(site, "withdraw", ID)
    assert code == 5
    assert "already" in str(answer)
    _, shown = run(site, "log", "show", ID)
    assert "withdrawn" in str(shown)


def test_withdraw_of_an_unknown_call(site: Path) -> None:
    code, answer = run(site, "withdraw", "ffff")
    assert code == 5
    assert "log list" in str(answer)


def test_sweep_leaves_a_young_grant(site: Path) -> None:
    assert run(site, "sweep") == (0, {"ok": True, "finished": 0, "erased": 0})


def test_sweep_without_a_log(tmp_path: Path) -> None:
    path = tmp_path / "ivr-consent.toml"
    path.write_text("[lines.support]\n")
    assert run(path, "sweep")[0] == 5
