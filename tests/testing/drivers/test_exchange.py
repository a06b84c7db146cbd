"""Who calls again and who does not, and what a driver sees of a switch that does wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.errors import ManagerError
from ivr_consent.pbx.asterisk.server import Server
from ivr_consent.site import shipped
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.drivers import exchange
from ivr_consent.testing.drivers.exchange import Line
from ivr_consent.testing.drivers.fake_asterisk import FakeAsteriskExchange
from ivr_consent.testing.drivers.short import ShortSite
from ivr_consent.testing.drivers.watch import Watch
from ivr_consent.testing.scenario import Scenario, load_scenarios
from ivr_consent.testing.verdict import Verdict

YES = load_scenarios(shipped("scenarios") / "yes.toml")[0]
YES = YES.model_copy(update={"line": YES.line.model_copy(update={"repeats": 0})})
GONE = load_scenarios(shipped("scenarios") / "hang-up.toml")[1]
"""Who hangs up in the first prompt: a call of a moment."""

OTHER = GONE.model_copy(update={"expect": GONE.expect.model_copy(update={"reason": "hung_up_choosing"})})


class Changed(FakeAsteriskExchange):
    """A fake Asterisk whose calls are changed: ``change`` gets this exchange, the call and its number from 1."""

    def __init__(self, change: Callable[[Changed, Any, int], None]) -> None:
        super().__init__()
        self.change, self.calls = change, 0

    @asynccontextmanager
    async def open(self, site: ShortSite, ledger: Ledger, watch: Watch) -> AsyncIterator[Server]:
        self.site, self.watch = site, watch
        async with super().open(site, ledger, watch) as server:
            yield server

    async def call(self, line: str, scenario: Scenario) -> Line:
        made = await super().call(line, scenario)
        self.calls += 1
        self.change(self, made, self.calls)
        return made


def play(made: Changed, scenario: Scenario = YES) -> Verdict:
    found: list[Verdict] = []
    exchange.play(made, [scenario], found.append, 1)
    return found[0]


async def nothing(*_: object, inside: bool) -> None:
    """A key that goes nowhere."""


def test_whose_key_was_lost_calls_again() -> None:
    def deaf_at_first(_: Changed, call: Any, number: int) -> None:
        if number == 1:
            call.press = nothing
            call.keys_lost = lambda: True

    made = Changed(deaf_at_first)
    assert play(made).passed
    assert made.calls == 2


def test_who_was_in_time_does_not() -> None:
    def deaf(_: Changed, call: Any, __: int) -> None:
        call.press = nothing

    made = Changed(deaf)
    assert "outcome: expected 'granted', was 'no_answer'" in play(made).wrong
    assert made.calls == 1


@pytest.mark.parametrize(
    ("inside", "began", "ended", "missed"),
    [
        (True, 0.2, 0.3, False),
        (True, 0.45, 0.55, True),
        (True, 0.6, 0.7, True),
        (False, 0.4, 0.6, False),
        (False, 0.3, 0.45, True),
    ],
)
def test_a_key_in_another_place_than_meant_was_not_the_callers(
    inside: bool, began: float, ended: float, missed: bool
) -> None:
    """Held into the next place, and let go when that was over; or before it began, as the first took too long."""
    heard = [(0.0, "play more"), (0.5, "window training")]
    acted = exchange._Acted(done={0: exchange._Did(heard[0], began, ended, inside)})
    assert acted.missed(heard, 0.0) is missed
    assert not acted.missed(heard[:1], 0.0)


def test_who_takes_it_back_and_is_gone_has_declined() -> None:
    """The dialplan is told nothing then; what came of the call is in the log."""
    taken_back = load_scenarios(shipped("scenarios") / "no-after-yes.toml")[0]
    leaves = {"during": "result-declined", "at_ms": 60, "hang_up": True}
    document = taken_back.model_dump(exclude_none=True, exclude_defaults=True)
    expect = document["expect"] | {"order": [], "never": [], "heard": {}}
    scenario = Scenario.model_validate(document | {"does": [*document["does"], leaves], "expect": expect})
    assert play(Changed(lambda *_: None), scenario).wrong == ()


def test_who_is_always_late_gives_up() -> None:
    def lost(_: Changed, call: Any, __: int) -> None:
        call.keys_lost = lambda: True

    made = Changed(lost)
    assert play(made, OTHER).wrong
    assert made.calls == exchange.CALLS


def test_a_call_that_the_switch_ends_goes_nowhere() -> None:
    def cut(_: Changed, call: Any, __: int) -> None:
        call.told = lambda: None
        call.cut_off = lambda: True

    assert play(Changed(cut), GONE).wrong == ("route: expected 'unrecorded', was 'nowhere'",)


def test_a_file_that_was_there_for_a_moment_is_seen() -> None:
    def writes(made: Changed, call: Any, _: int) -> None:
        before = call.ended

        async def ended() -> None:
            await before()
            seen = made.watch.of(call.uniqueid)
            assert seen is not None
            path = made.site.lines.recordings / f"{seen.call_id}.raw"
            path.touch()
            path.unlink()

        call.ended = ended

    assert play(Changed(writes), GONE).wrong == ("there is a file of a call that is not recorded",)


def test_a_switch_that_is_gone_fails_the_scenario_and_not_the_run() -> None:
    def gone(_: Changed, __: object, ___: int) -> None:
        raise ManagerError("the manager connection is down")

    verdict = play(Changed(gone))
    assert verdict.wrong == ("the call could not be played: the manager connection is down",)


def test_who_is_told_to_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told_to_end(_: Changed, __: object, ___: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        play(Changed(told_to_end))
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
