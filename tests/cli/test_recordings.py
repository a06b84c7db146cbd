"""ivr-consent withdraw and sweep: recordings are finished and erased, and the log says so."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.cli.support import Place, run, run_json


@pytest.fixture
def recorded(ready: Place) -> tuple[Place, str, Path]:
    """A granted call with a file; a call of the simulated switch has none of its own."""
    assert run("--config", ready.config, "call", "support", "--keys", "1").exit_code == 0
    (call,) = run_json("--config", ready.config, "log", "list")[1]["calls"]
    file = ready.state / "recordings" / f"{call['call_id']}.wav"
    file.write_bytes(b"RIFF")
    return ready, call["call_id"], file


def test_a_withdrawal_erases_the_file_and_stands_in_the_log(recorded: tuple[Place, str, Path]) -> None:
    """R13."""
    place, call_id, file = recorded
    said = run("--config", place.config, "withdraw", call_id[:12].upper())
    assert said.exit_code == 0
    assert call_id in said.stdout
    assert not file.exists()
    (call,) = run_json("--config", place.config, "log", "list")[1]["calls"]
    assert call["recording"] == "withdrawn"
    event = call["later"][-1]
    assert event["kind"] == "withdrawn"
    assert event["payload"] == {
        "reason": "by_administrator",
        "erased": True,
        "was_running": False,
        "route": "recorded",
    }
    again = run("--config", place.config, "withdraw", call_id)
    assert again.exit_code != 0
    assert "withdrawn already" in again.stderr


def test_what_cannot_be_withdrawn_is_told(ready: Place) -> None:
    unknown = run("--config", ready.config, "withdraw", "ffff")
    assert unknown.exit_code != 0
    assert "ivr-consent log list" in unknown.stderr
    run("--config", ready.config, "call", "support", "--keys", "2")
    (call,) = run_json("--config", ready.config, "log", "list")[1]["calls"]
    declined = run("--config", ready.config, "withdraw", call["call_id"])
    assert declined.exit_code != 0
    assert "not recorded" in declined.stderr


def test_a_sweep_erases_what_is_past_its_days(
    recorded: tuple[Place, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R14: the days are those that the caller heard, whatever the configuration says now."""
    from datetime import UTC, datetime, timedelta

    from ivr_consent.store import lifecycle

    place, _, file = recorded
    place.edit("retention_days = 30", "retention_days = 365")
    assert run_json("--config", place.config, "sweep")[1] == {"ok": True, "finished": 0, "erased": 0}
    assert file.exists()

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # as much of it as is used
            return datetime.now(UTC) + timedelta(days=31)

    monkeypatch.setattr(lifecycle, "datetime", Later)
    assert run("--config", place.config, "sweep").stdout == "finished: 0, erased: 1\n"
    assert not file.exists()
    (call,) = run_json("--config", place.config, "log", "list")[1]["calls"]
    assert call["recording"] == "expired"
    assert call["later"][-1]["payload"]["reason"] == "retention_over"


@pytest.mark.parametrize("words", [("withdraw", secrets.token_hex(16)), ("sweep",)])
def test_without_a_log_nothing_is_made(place: Place, words: tuple[str, ...]) -> None:
    place.log.unlink()
    result = run("--config", place.config, *words)
    assert result.exit_code == 5
    assert "there is no log" in result.stderr
    assert not place.log.exists()
