"""ivr-consent log: what stands in it, whoever wrote it, shown without harm."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.cli.support import Place, run, run_json

HOSTILE = "evil\x1b]0;owned\x07\x1b[2J\r\nfake  line\u202e\x9b31m\x7f"


@pytest.fixture
def called(ready: Place) -> Place:
    """A log with a yes and a no."""
    for keys in ("1", "2"):
        assert run("--config", ready.config, "call", "support", "--keys", keys).exit_code == 0
    return ready


def insert(place: Place, call_id: str, line: str, payload: object, outcome: str = "failed") -> None:
    with sqlite3.connect(place.log) as connection:
        connection.execute(
            "INSERT INTO events (time, kind, call_id, line, outcome, payload) VALUES (?, 'decision', ?, ?, ?, ?)",
            (HOSTILE, call_id, line, outcome, json.dumps(payload)),
        )
    connection.close()


def test_lists_newest_first_with_what_happened(called: Place) -> None:
    """R7: every outcome is there, positively."""
    code, document = run_json("--config", called.config, "log", "list")
    assert code == 0
    assert [call["decision"]["outcome"] for call in document["calls"]] == ["declined", "granted"]
    assert [call["route"] for call in document["calls"]] == ["unrecorded", "recorded"]
    table = run("--config", called.config, "log", "list").stdout
    assert "declined" in table
    assert "no_key" in table
    assert "simulated" in table


def test_can_be_narrowed(called: Place) -> None:
    def found(*options: str) -> int:
        return len(run_json("--config", called.config, "log", "list", *options)[1]["calls"])

    assert found("--outcome", "granted") == 1
    assert found("--limit", "1") == 1
    assert found("--line", "support") == 2
    assert found("--line", "other") == 0
    assert found("--since", "2000-01-01") == 2
    assert found("--since", "2999-01-01") == 0
    assert "no decision in the log fits" in run("--config", called.config, "log", "list", "--line", "other").stdout


def test_shows_the_evidence_of_a_call_by_a_beginning_of_its_id(called: Place) -> None:
    """R22: which notice, how much of it, the question, the key, the time."""
    call = run_json("--config", called.config, "log", "list", "--outcome", "granted")[1]["calls"][0]
    text = run("--config", called.config, "log", "show", call["call_id"][:10]).stdout
    for wanted in (call["call_id"], "granted (yes_key)", "notice recording version 1 in 'en'", "training-question"):
        assert wanted in text
    assert "asked for training: granted, key 1, pressed 1000 ms after the question" in text
    assert "recording_confirmed" in text
    code, document = run_json("--config", called.config, "log", "show", call["call_id"])
    assert code == 0
    assert document["decision"]["payload"] == call["decision"]["payload"]
    connection = sqlite3.connect(called.log)
    (raw,) = connection.execute("SELECT payload FROM events WHERE kind = 'decision' AND outcome = 'granted'").fetchone()
    connection.close()
    assert document["decision"]["payload"] == json.loads(raw)


def test_an_id_that_is_none_is_told(called: Place) -> None:
    result = run("--config", called.config, "log", "show", "zzz")
    assert result.exit_code == 1
    assert "ivr-consent log list" in result.stderr
    assert run_json("--config", called.config, "log", "show", "")[0] == 1


@pytest.mark.parametrize(
    "payload",
    [
        {
            "reason": HOSTILE,
            "call": {"switch": HOSTILE},
            "notice": {"language": HOSTILE},
            "answers": [{"key": HOSTILE}],
        },
        {"call": [], "notice": "x", "answers": {"a": 1}, "purposes_granted": 7},
        {"notice": {"segments": [HOSTILE, {"id": HOSTILE, "elements": [HOSTILE], "audio_sha256": HOSTILE}]}},
        {},
    ],
)
def test_hostile_content_is_shown_escaped(place: Place, payload: object) -> None:
    """I6: a row that somebody wrote past us moves no cursor, changes no title, and fakes no line."""
    insert(place, "a" * 32, HOSTILE, payload, outcome=HOSTILE)
    for words in (("log", "list"), ("log", "show", "aa"), ("log", "list", "--json"), ("log", "show", "aa", "--json")):
        result = run("--config", place.config, *words)
        assert result.exit_code == 0
        printed = result.stdout + result.stderr
        assert all(character == "\n" or character.isprintable() for character in printed), words
        assert not any(line.strip().startswith("fake  line") for line in printed.splitlines())
    assert "evil\\x1b]0;owned\\x07" in run("--config", place.config, "log", "show", "aa").stdout


def test_an_empty_log_is_said_to_be_empty(place: Place) -> None:
    assert "no decision in the log yet" in run("--config", place.config, "log", "list").stdout
    assert run_json("--config", place.config, "log", "list") == (0, {"ok": True, "calls": []})
