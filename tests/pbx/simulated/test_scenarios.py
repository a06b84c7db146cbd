"""Every scenario file, on the simulated switch."""

from __future__ import annotations

import pytest

from ivr_consent.site import shipped
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.scenario import Scenario, check, load_directory

SCENARIOS = load_directory(shipped("scenarios"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario(scenario: Scenario, ledger: Ledger) -> None:
    """R1, R3, R5, R6, R7: the call ends as the file says, also in the log, and silence never records."""
    call = check(scenario, ledger)
    if call.decisions and not scenario.fail:
        with ledger.reader() as reader:
            record = reader.call(call.decisions[0].call.call_id)
        assert record is not None
        assert record.route == call.destination.value


def test_there_is_a_scenario_for_every_outcome() -> None:
    """R7: each way a call can end has a file."""
    assert {scenario.expect.outcome.value for scenario in SCENARIOS} == {
        "granted",
        "declined",
        "no_answer",
        "invalid",
        "abandoned",
        "failed",
    }


def test_names_are_unique() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_most_scenarios_can_be_played_on_a_real_switch() -> None:
    assert sum(scenario.portable for scenario in SCENARIOS) > len(SCENARIOS) // 2
