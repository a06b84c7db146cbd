"""ivr-consent call: a call without a switch, decided and logged as a real one."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import Result

from ivr_consent import workshop as workshop_module
from ivr_consent.testing.fake_asterisk import FakeAsterisk, FakeCall
from tests.cli.support import Place, run, run_json
from tests.sites import SmallSite, instant_build


def test_a_yes_is_played_as_text_and_logged(ready: Place) -> None:
    result = run("--config", ready.config, "call", "support", "--keys", "1", "--from", "+49301234567")
    assert result.exit_code == 0
    assert "[not-started] Nothing is being recorded now." in result.stdout
    assert "<< key 1 after 1000 ms" in result.stdout
    assert "decision:   granted (yes_key)" in result.stdout
    assert "01234567" not in result.stdout
    (call,) = run_json("--config", ready.config, "log", "list")[1]["calls"]
    assert call["decision"]["payload"]["call"]["switch"] == "simulated"
    assert re.fullmatch(r"[0-9]{4}Q[1-4]-[0-9a-f]{32}", call["decision"]["payload"]["call"]["subject_ref"])


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


# --- drafts -----------------------------------------------------------------------------------------------------------

PATIENCE = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallSite:
    """A line with a draft; nothing is built."""
    monkeypatch.setattr(workshop_module, "build_prompts", instant_build)
    made = SmallSite.make(tmp_path / "site", "support", "sales")
    made.edit(made.config, "draft_port = 4574", f"draft_port = {free_port()}")
    return made


def draft(site: SmallSite, *words: str) -> Result:
    return run("--config", site.config, "call", "support", "--draft", *words)


def untouched(site: SmallSite) -> None:
    """No log, no recording, no key of pseudonyms: a draft leaves nothing behind."""
    left = {path.name for path in site.root.iterdir()} - {"ivr-consent.toml", "notices", "audio", "versions"}
    assert left == {"notices.key", "notices.key.pub"}


@pytest.mark.parametrize("built", [False, True], ids=["not built", "built"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--keys", "1"), "granted (yes_key)"),
        (("--keys", "2"), "declined (no_key)"),
        ((), "no_answer (silence)"),
        (("--keys", "9"), "invalid (other_key)"),
        (("--hangup-at", "window@100"), "abandoned (hung_up_choosing)"),
        (("--press-during", "content:2@10"), "declined (no_key_during_notice)"),
    ],
)
def test_a_draft_is_never_logged(site: SmallSite, options: tuple[str, ...], told: str, built: bool) -> None:
    """Whatever is pressed: it sounds like the call, and nothing of it is kept."""
    if built:
        site.build()
    done = draft(site, *options)
    assert done.exit_code == 0, done.output
    assert ("not built yet: how long the prompts take is an estimate" in done.stdout) != built
    assert f"trial:      {told}" in done.stdout
    assert "logged:     nothing (a draft is never logged)" in done.stdout
    assert "the recorder starts" not in done.stdout
    assert "evidence:" not in done.stdout
    assert "the dialplan goes on at the unrecorded line" in done.stdout
    untouched(site)
    code, played = run_json("--config", site.config, "call", "support", "--draft", *options)
    assert code == 0
    assert (played["outcome"], played["reason"]) == tuple(told.strip(")").split(" ("))
    assert (played["route"], played["logged"], played["recording_id"], played["decision"]) == (
        "unrecorded",
        False,
        None,
        None,
    )
    assert {step["step"] for step in played["journal"]} <= {"answer", "play", "ask", "route"}
    untouched(site)


def test_a_draft_is_what_the_files_say_now(site: SmallSite) -> None:
    """Callers go on hearing what is published."""
    site.publish()
    site.say("Something else is said now.")
    assert "[content] Something else is said now." in draft(site, "--keys", "1").stdout
    published = run("--config", site.config, "call", "support", "--keys", "1", "--no-log")
    assert "[content] We record your voice" in published.stdout
    assert "Something else" not in published.stdout
    assert site.load().states["support"].version == 1


def test_a_draft_with_errors_is_told(site: SmallSite) -> None:
    site.edit(site.notice(), "elements = [12]", "elements = []")
    done = draft(site, "--keys", "1")
    assert done.exit_code == 3
    assert "element 12" in done.stderr
    assert "trial:" not in done.stdout


def test_a_draft_where_no_language_fits(site: SmallSite) -> None:
    """There is no evidence of it in any log, and none is named."""
    site.edit(site.config, "[lines.support]", '[lines.support]\nlanguage_by = { order = ["channel"] }')
    done = draft(site, "--language", "fi")
    assert "trial:      failed (no_language)" in done.stdout
    assert "log show" not in done.stdout
    untouched(site)


def test_the_telephone_is_for_drafts(site: SmallSite) -> None:
    done = run("--config", site.config, "call", "support", "--phone")
    assert done.exit_code == 2
    assert "--draft" in done.stderr


def test_a_telephone_hears_only_what_is_built(site: SmallSite) -> None:
    done = draft(site, "--phone", "--wait", "1")
    assert done.exit_code == 3
    assert "is not built as it is written now" in done.stderr


def test_a_telephone_that_does_not_call(site: SmallSite) -> None:
    site.build()
    began = time.monotonic()
    done = draft(site, "--phone", "--wait", "1")
    assert time.monotonic() - began < PATIENCE
    assert done.exit_code == 1
    assert "no call came within 1 s" in done.stderr
    assert "exten => 9900,1,Gosub(ivr-consent-draft,s,1(support))" in done.stdout
    untouched(site)


def test_a_port_that_is_taken(site: SmallSite) -> None:
    site.build()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.settings.server.draft_port))
        taken.listen()
        done = draft(site, "--phone", "--wait", "1")
    assert done.exit_code == 1
    assert "cannot listen on 127.0.0.1" in done.stderr


@contextmanager
def telephone(site: SmallSite, act: Callable[[FakeAsterisk], object]) -> Iterator[list[FakeCall]]:
    """A switch in a thread of its own, whose telephone calls as soon as somebody waits for it."""
    calls: list[FakeCall] = []
    failed: list[BaseException] = []

    async def ring() -> None:
        async with asyncio.timeout(PATIENCE), FakeAsterisk("127.0.0.1", site.settings.server.draft_port) as switch:
            while not await _listening(switch.port):
                await asyncio.sleep(0.02)  # until it listens, with the deadline above
            await act(switch)  # type: ignore[misc]  # every act is a coroutine
            calls.extend(switch.calls)

    def run_it() -> None:
        try:
            asyncio.run(ring())
        except BaseException as error:  # noqa: BLE001 - told by the test
            failed.append(error)

    thread = threading.Thread(target=run_it)
    thread.start()
    try:
        yield calls
    finally:
        thread.join(PATIENCE)
    assert failed == []


async def _listening(port: int) -> bool:
    """Whether something listens there; looked up, since to connect would be a call."""
    return any(f":{port:04X} 00000000:0000 0A" in line for line in Path("/proc/net/tcp").read_text().splitlines())


WINDOW = "WAIT FOR DIGIT 3000"


def pressing(key: str) -> Callable[[FakeAsterisk], object]:
    async def act(switch: FakeAsterisk) -> None:
        call = await switch.call("support")
        await call.wait_command(WINDOW, timeout=PATIENCE)
        if key:
            call.press(key)
        await call.wait(PATIENCE)

    return act


@pytest.mark.parametrize(
    ("key", "outcome", "reason"),
    [
        ("1", "granted", "yes_key"),
        ("2", "declined", "no_key"),
        ("9", "invalid", "other_key"),
        ("", "no_answer", "silence"),
    ],
)
def test_a_draft_on_a_telephone(site: SmallSite, key: str, outcome: str, reason: str) -> None:
    """Its own sound and windows; the switch is never told to record, and never told that it may."""
    site.build()
    with telephone(site, pressing(key)) as calls:
        done = draft(site, "--phone")
    assert done.exit_code == 0, done.output
    assert f"the trial ended: {outcome} {reason}" in done.stdout
    assert "nothing was logged, nothing was recorded" in done.stdout
    assert "[controller] This is Example Company" in done.stdout
    (call,) = calls
    texts = [command.text for command in call.commands]
    assert not any("MixMonitor" in text or "MIXMONITOR" in text for text in texts)
    assert not any("granted" in text for text in texts if text.startswith("SET VARIABLE"))
    assert (call.result, call.reason) == ("trial", reason)
    assert call.recorders == []
    untouched(site)


def test_a_draft_on_a_telephone_as_json(site: SmallSite) -> None:
    site.build()
    with telephone(site, pressing("1")):
        code, told = run_json("--config", site.config, "call", "support", "--draft", "--phone")
    assert code == 0
    assert (told["outcome"], told["reason"]) == ("granted", "yes_key")
    assert told["heard"] == [
        "controller",
        "not-started",
        "training-statement",
        "voluntary",
        "content",
        "rights",
        "more",
        "training-question",
        "result-granted",
    ]


def test_a_telephone_that_hangs_up(site: SmallSite) -> None:
    async def act(switch: FakeAsterisk) -> None:
        call = await switch.call("support")
        await call.wait_command("STREAM FILE", nth=2, timeout=PATIENCE)
        call.hang_up()
        await call.wait(PATIENCE)

    site.build()
    with telephone(site, act):
        done = draft(site, "--phone")
    assert done.exit_code == 0
    assert "<< you hung up" in done.stdout
    assert "the trial ended: abandoned" in done.stdout
    untouched(site)


def test_a_telephone_that_asks_for_another_line(site: SmallSite) -> None:
    """The draft of one line is tried; a call for another is refused, and logged nowhere."""

    async def act(switch: FakeAsterisk) -> None:
        call = await switch.call("sales")
        await call.wait(PATIENCE)

    site.publish("sales")
    site.build()
    with telephone(site, act) as calls:
        done = draft(site, "--phone")
    assert done.exit_code == 1
    assert "the trial ended: failed unknown_line" in done.stdout
    assert calls[0].result == "failed"
    untouched(site)


def test_one_telephone_at_a_time(site: SmallSite) -> None:
    """A second call is not let in; the first one goes on."""

    async def act(switch: FakeAsterisk) -> None:
        first = await switch.call("support")
        await first.wait_command("STREAM FILE", timeout=PATIENCE)
        second = await switch.call("support")
        await second.wait(PATIENCE)
        assert second.commands == []
        await first.wait_command(WINDOW, timeout=PATIENCE)
        first.press("1")
        await first.wait(PATIENCE)

    site.build()
    with telephone(site, act) as calls:
        done = draft(site, "--phone")
    assert "the trial ended: granted yes_key" in done.stdout
    assert [call.result for call in calls] == ["trial", "failed"]


@pytest.mark.parametrize("when", ["waiting", "in the call"])
def test_a_trial_that_is_broken_off(site: SmallSite, when: str) -> None:
    """Ctrl-C: told, without a traceback; nothing is left behind and nothing listens any more."""

    async def act(switch: FakeAsterisk) -> None:
        if when == "waiting":
            os.kill(os.getpid(), signal.SIGINT)
            return
        call = await switch.call("support")
        await call.wait_command("STREAM FILE", nth=2, timeout=PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)
        await call.wait(PATIENCE)
        assert call.result == "failed"

    site.build()
    with telephone(site, act):
        done = draft(site, "--phone")
    assert done.exit_code == 1
    told = "the trial ended: failed server_stopped" if when == "in the call" else "broken off before a call came"
    assert told in done.output
    untouched(site)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", site.settings.server.draft_port))
