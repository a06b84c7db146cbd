"""ivr-consent call: a call without a switch, decided and logged as a real one."""

from __future__ import annotations

import shutil

import pytest

from tests.cli.support import Place, run, run_json


def test_a_yes_is_played_as_text_and_logged(ready: Place) -> None:
    result = run("--config", ready.config, "call", "support", "--keys", "1", "--from", "+49301234567")
    assert result.exit_code == 0
    assert "[not-started] Nothing is being recorded now." in result.stdout
    assert "<< key 1 after 1000 ms" in result.stdout
    assert "decision:   granted (yes_key)" in result.stdout
    assert "01234567" not in result.stdout
    (call,) = run_json("--config", ready.config, "log", "list")[1]["calls"]
    assert call["decision"]["payload"]["call"]["switch"] == "simulated"
    assert len(call["decision"]["payload"]["call"]["subject_ref"]) == 32


def test_a_granted_call_is_closed_in_the_log(ready: Place) -> None:
    """There is no file, and there never was one: nobody waits for its end."""
    for key in ("1", "2"):
        assert run("--config", ready.config, "call", "support", "--keys", key).exit_code == 0
    declined, granted = run_json("--config", ready.config, "log", "list")[1]["calls"]
    assert (granted["recording"], granted["route"]) == ("ended", "recorded")
    end = granted["later"][-1]
    assert end["kind"] == "recording_ended"
    assert end["payload"] == {"file": None, "milliseconds": 0, "simulated": True, "route": "recorded"}
    assert declined["later"] == []
    swept = run_json("--config", ready.config, "sweep")[1]
    assert (swept["finished"], swept["erased"]) == (0, 0)


def test_a_grant_that_is_taken_back_is_not_closed_as_a_recording(ready: Place) -> None:
    run("--config", ready.config, "call", "support", "--keys", "1", "--hangup-at", "route")
    (call,) = run_json("--config", ready.config, "log", "list")[1]["calls"]
    assert call["recording"] == "stopped"


@pytest.mark.parametrize(
    ("options", "outcome", "reason"),
    [
        ((), "no_answer", "silence"),
        (("--keys", "2"), "declined", "no_key"),
        (("--keys", "9,-,9"), "invalid", "other_key"),
        (("--keys", "3,1"), "granted", "yes_key"),
        (("--press-during", "controller:2@500"), "declined", "no_key_during_notice"),
        (("--hangup-at", "question"), "abandoned", None),
        (("--hangup-at", "window@300"), "abandoned", None),
        (("--hangup-at", "rights@100"), "abandoned", None),
        (("--hangup-at", "answer"), "abandoned", None),
        (("--press-during", "training-question:1@-100", "--hold", "500", "--keys", "-,-,-"), None, None),
    ],
)
def test_callers_of_every_kind(ready: Place, options: tuple[str, ...], outcome: str | None, reason: str | None) -> None:
    """R3, R7: a call that ends as a call should is good, also when it is declined."""
    code, document = run_json("--config", ready.config, "call", "support", "--no-log", *options)
    assert code == 0
    assert document["logged"]
    assert document["decision"]["outcome"] == document["outcome"]
    assert outcome in (None, document["outcome"])
    assert reason in (None, document["reason"])
    assert (document["route"] == "recorded") is (document["outcome"] == "granted")
    assert document["journal"][0]["step"] == "answer"
    assert run_json("--config", ready.config, "log", "list")[1]["calls"] == []


STRICT = """
[lines.support.language_by]
order = ["dialled", "country", "header", "channel"]
dialled = { "+4570102030" = "en" }
countries = { "+44" = "en" }
header = "X-Language"
"""


@pytest.mark.parametrize(
    ("options", "by"),
    [
        (("--dialled", "004570102030"), "dialled"),
        (("--dialled", "+4570102031", "--from", "+44201234567"), "country"),
        (("--header", "da, en;q=0.5"), "header"),
        (("--language", "en_GB"), "channel"),
    ],
)
def test_what_chose_the_language_is_told(ready: Place, options: tuple[str, ...], by: str) -> None:
    ready.config.write_text(ready.config.read_text() + STRICT)
    code, document = run_json("--config", ready.config, "call", "support", "--no-log", "--keys", "1", *options)
    assert code == 0
    notice = document["decision"]["notice"]
    assert (notice["language"], notice["language_by"]) == ("en", by)
    text = run("--config", ready.config, "call", "support", "--no-log", "--keys", "1", *options).stdout
    assert f"in 'en' (by: {by})" in text
    assert "70102030" not in text + str(document)


def test_where_no_language_fits_nothing_is_played(ready: Place) -> None:
    """R6: the call is unrecorded, the decision says why, and a call as it should be is another one."""
    ready.config.write_text(ready.config.read_text() + STRICT)
    words = ("--config", ready.config, "call", "support", "--from", "+4712345678", "--header", "no", "--keys", "1")
    code, document = run_json(*words)
    assert code == 1
    assert (document["outcome"], document["reason"], document["route"]) == ("failed", "no_language", "unrecorded")
    assert document["decision"]["notice"] is None
    assert [entry["step"] for entry in document["journal"]] == ["decide", "route"]
    result = run(*words)
    assert result.exit_code == 1
    assert "decision:   failed (no_language)" in result.stdout


def test_what_the_caller_never_came_to_is_a_call_not_as_wanted(ready: Place) -> None:
    code, document = run_json("--config", ready.config, "call", "support", "--no-log", "--keys", "2,1")
    assert code == 1
    assert document["undone"] == ["press 1 in window (time 2)"]
    text = run("--config", ready.config, "call", "support", "--no-log", "--keys", "2,1")
    assert "the call never came there" in text.stdout


@pytest.mark.parametrize(
    "options",
    [
        ("--keys", "11"),
        ("--keys", "x"),
        ("--press-during", "controller"),
        ("--press-during", "nowhere:1"),
        ("--hangup-at", "no where"),
        ("--hangup-at", "nowhere"),
        ("--hold", "0"),
    ],
)
def test_a_wrong_option_is_a_wrong_command_line(ready: Place, options: tuple[str, ...]) -> None:
    assert run("--config", ready.config, "call", "support", *options).exit_code == 2
    assert run_json("--config", ready.config, "call", "support", *options)[0] == 2


def test_an_unknown_line_names_the_lines(ready: Place) -> None:
    result = run("--config", ready.config, "call", "sales")
    assert result.exit_code == 2
    assert "support" in result.stderr


def test_a_line_without_audio_says_how_to_build_it(place: Place) -> None:
    """R2: not ready is never asked, and the reason is told with its remedy."""
    result = run("--config", place.config, "call", "support", "--keys", "1")
    assert result.exit_code == 3
    assert "ivr-consent prompts build" in result.stderr
    code, document = run_json("--config", place.config, "call", "support")
    assert code == 3
    assert document["error"]["problems"][0]["where"] == "line support"


def test_a_prompt_that_was_changed_stops_the_line(ready: Place) -> None:
    sound = next((ready.state / "audio" / "en").rglob("prompt.ulaw"))
    sound.chmod(0o644)
    sound.write_bytes(sound.read_bytes()[:-160])
    result = run("--config", ready.config, "call", "support", "--keys", "1")
    assert result.exit_code == 3
    assert str(sound) in result.stderr
    code, document = run_json("--config", ready.config, "prompts", "check")
    assert code == 3
    assert not document["lines"][0]["in_force"]["ready"]


def test_a_log_that_cannot_be_opened_is_told(ready: Place) -> None:
    shutil.rmtree(ready.state / "recordings")
    ready.log.unlink()
    ready.log.mkdir()
    result = run("--config", ready.config, "call", "support", "--keys", "1")
    assert result.exit_code == 5
    assert "decisions.db" in result.stderr
