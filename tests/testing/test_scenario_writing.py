"""A scenario that was written is read as what it was."""

from __future__ import annotations

import tomllib

import pytest

from ivr_consent.site import shipped
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.scenario import (
    Does,
    Scenario,
    differences,
    load_directory,
    observed,
    parse_scenarios,
    simulate,
)
from ivr_consent.testing.scenario_writing import as_toml, does_table

SCENARIOS = [one for one in load_directory(shipped("scenarios")) if not one.fail]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_shipped_call(scenario: Scenario, ledger: Ledger) -> None:
    for done in scenario.does:
        again = Does.model_validate(does_table(done.action()))
        assert again.action() == done.action()
    seen = observed(simulate(scenario, ledger))
    actions = [done.action() for done in scenario.does]
    text = as_toml(scenario.summary, scenario.line, scenario.caller, actions, seen)
    (written,) = parse_scenarios(tomllib.loads(text), "again.toml")
    assert (written.line, written.caller) == (scenario.line, scenario.caller)
    assert written.behaviour() == scenario.behaviour()
    assert differences(written.expect, observed(simulate(written, ledger))) == ()
    assert written.expect.order == list(seen.events)
