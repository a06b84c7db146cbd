"""The shipped scenarios on real switches: the same files as on the simulated one, through the same driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import EventSocketError
from ivr_consent.core.steps import Destination
from ivr_consent.site import shipped
from ivr_consent.testing.drivers import asterisk, exchange
from ivr_consent.testing.drivers.asterisk import AsteriskExchange
from ivr_consent.testing.drivers.exchange import Exchange
from ivr_consent.testing.drivers.freeswitch import FreeSwitchExchange
from ivr_consent.testing.rig import RigUnavailable, fetch, skip_or_fail
from ivr_consent.testing.scenario import Scenario, load_directory
from ivr_consent.testing.verdict import Verdict, told
from tests.live.support import DEADLINE_S

PORTABLE = [scenario for scenario in load_directory(shipped("scenarios")) if scenario.portable]

SIDE_BY_SIDE = 32


def on_22() -> Exchange:
    fetched("22")
    return AsteriskExchange("22")


def on_16() -> Exchange:
    fetched("16")
    return AsteriskExchange("16")


def on_freeswitch() -> Exchange:
    try:
        return FreeSwitchExchange()
    except EventSocketError as error:
        pytest.skip(str(error))


def fetched(version: str) -> None:
    try:
        fetch("16" if version == "16" else "22")
    except RigUnavailable as error:
        skip_or_fail(str(error))


def play(made: Exchange, scenarios: Sequence[Scenario]) -> dict[str, Verdict]:
    found: list[Verdict] = []
    exchange.play(made, scenarios, found.append, SIDE_BY_SIDE)
    return {verdict.scenario.name: verdict for verdict in found}


def named(name: str) -> Scenario:
    return next(scenario for scenario in PORTABLE if scenario.name == name)


@pytest.mark.parametrize(
    "make",
    [pytest.param(on_22, id="22"), pytest.param(on_16, id="16"), pytest.param(on_freeswitch, id="freeswitch")],
)
def test_the_shipped_set(make: Callable[[], Exchange]) -> None:
    """R1 to R7 for every variant, all calls side by side: it takes as long as the longest call."""
    verdicts = play(make(), PORTABLE)
    assert len(verdicts) == len(PORTABLE) > 60
    wrong = [line for verdict in verdicts.values() if not verdict.passed for line in told(verdict)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("make", [pytest.param(on_22, id="22"), pytest.param(on_freeswitch, id="freeswitch")])
def test_what_is_not_as_expected_is_told(make: Callable[[], Exchange]) -> None:
    """What the switch did, not what was to be expected: decision, route, recorder, order."""
    yes, no = named("yes"), named("hang-up/in-the-notice")
    granted = {"outcome": Outcome.DECLINED, "route": Destination.UNRECORDED, "recorded": False, "recorder": []}
    wrong = [
        yes.model_copy(update={"expect": yes.expect.model_copy(update=granted)}),
        no.model_copy(update={"expect": no.expect.model_copy(update={"order": ["window"], "never": ["hang up"]})}),
    ]
    verdicts = play(make(), wrong)
    assert [verdict.result for verdict in verdicts.values()] == ["failed"] * 2
    text = "\n".join(line for verdict in verdicts.values() for line in told(verdict))
    for word in ("outcome: expected", "route: expected", "recorded: expected", "recorder: expected"):
        assert word in text, word
    for word in ("order: 'window'", "never: 'hang up' came", "caller    presses 1", "recorder  is started"):
        assert word in text, word


def test_where_the_caller_comes_out_is_heard_and_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialplan that sends everybody to the recorded line, and one that hangs up on them."""
    fetched("22")
    no = named("no-during-notice/first-prompt")
    astray = asterisk.DIALPLAN.replace("Goto(unrecorded,s,1)", "Goto(recorded,s,1)")
    monkeypatch.setattr(asterisk, "DIALPLAN", astray)
    verdict = play(AsteriskExchange("22"), [no])[no.name]
    assert "route: expected 'unrecorded', was 'recorded'" in verdict.wrong
    monkeypatch.setattr(asterisk, "DIALPLAN", astray.replace("Goto(recorded,s,1)", "Hangup()"))
    verdict = play(AsteriskExchange("22"), [no])[no.name]
    assert "route: expected 'unrecorded', was 'nowhere'" in verdict.wrong


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_breaks_off_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Neither a switch that runs on nor a directory."""
    fetched("22")
    words = [sys.executable, "-m", "ivr_consent.cli.main", "test", "--on", "asterisk"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    running = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + DEADLINE_S
        while not (pids := processes(tmp_path)):
            assert time.monotonic() < until
            assert running.poll() is None
            time.sleep(0.05)  # polling another process, with the deadline above
        running.send_signal(number)
        said, _ = running.communicate(timeout=DEADLINE_S)
    finally:
        running.kill()
        running.wait()
    assert pids
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []


def processes(directory: Path) -> list[int]:
    """Those whose command line names it, an Asterisk's does."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory).encode() in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue  # it has ended meanwhile
    return found
