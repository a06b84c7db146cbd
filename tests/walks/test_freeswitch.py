"""Random walks on FreeSWITCH: whatever people, dialplans and faults do, in any order, the invariants hold."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ivr_consent.pbx import watching
from ivr_consent.pbx.freeswitch import link
from ivr_consent.store import lifecycle
from ivr_consent.testing.fake_freeswitch import FakeCall
from tests.walks.freeswitch import AGENTS, OPEN, OVER, STRANGER, WITHDRAWN, Consent, World

WALKS = int(os.environ.get("IVR_CONSENT_WALKS", "12"))
"""How many walks; each has up to ``STEPS`` steps."""

STEPS = int(os.environ.get("IVR_CONSENT_WALK_STEPS", "30"))

MAX_CALLS = 4

ways = st.lists(
    st.sampled_from(["uuid_record", "record_session", "execute_on", "record", "agent"]), min_size=1, max_size=3
)
names = st.sampled_from(["plain", "odd", "deep", "bare", "never", "elsewhere", "known"])
which = st.integers(0, 7)


class Walk(RuleBasedStateMachine):
    """One site; every rule leaves its guard at rest."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="walk-")
        self.runner = asyncio.Runner()
        self.world: World

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    @initialize(named=st.booleans())
    def begin(self, named: bool) -> None:
        async def begin() -> None:
            self.world = await World.begin(Path(self.folder.name), named=named)
            await self.world.arrive()

        self.run(begin())

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.world.end())
        self.runner.close()
        self.folder.cleanup()

    # --- who there is ------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[FakeCall]:
        return [call for call in self.world.calls if call.alive] if hasattr(self, "world") else []

    def call(self, number: int) -> FakeCall:
        return self.calls[number % len(self.calls)]

    def bridged(self, number: int) -> FakeCall | None:
        found = [call for call in self.calls if call.peer is not None]
        return found[number % len(found)] if found else None

    def consent(self, number: int, *states: str) -> Consent | None:
        found = [consent for consent in self.world.consents if consent.state in states]
        return found[number % len(found)] if found else None

    # --- calls -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.calls) < MAX_CALLS)
    @rule()
    def arrives(self) -> None:
        self.run(self.world.arrive())

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def consents(self, number: int) -> None:
        self.run(self.world.consents_(self.call(number)))

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def refuses(self, number: int) -> None:
        self.run(self.world.refuses(self.call(number)))

    @precondition(lambda self: self.calls)
    @rule(number=which, who=st.sampled_from([*AGENTS, STRANGER]), old_stays=st.booleans())
    def talks(self, number: int, who: str, old_stays: bool) -> None:
        self.run(self.world.talks_to(self.call(number), who, old_stays=old_stays))

    @precondition(lambda self: len(self.calls) > 1)
    @rule(number=which)
    def callers_talk(self, number: int) -> None:
        self.run(self.world.talks_to_call(self.call(number), self.call(number + 1)))

    @precondition(lambda self: self.calls and self.bridged(0))
    @rule(number=which, stays=st.booleans())
    def parts(self, number: int, stays: bool) -> None:
        call = self.bridged(number)
        assert call is not None
        self.run(self.world.parts(call, stays=stays))

    @precondition(lambda self: self.calls and self.bridged(0))
    @rule(number=which, on=st.booleans(), by_agent=st.booleans())
    def holds(self, number: int, on: bool, by_agent: bool) -> None:
        call = self.bridged(number)
        assert call is not None
        self.run(self.world.holds(call, on=on, by_agent=by_agent))

    @precondition(lambda self: self.calls)
    @rule(number=which, where=st.sampled_from(["9000", "9100"]))
    def moves(self, number: int, where: str) -> None:
        self.run(self.world.moves(self.call(number), where))

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def hangs_up(self, number: int) -> None:
        self.run(self.world.hangs_up(self.call(number)))

    # --- withdrawal --------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(call.metas for call in self.calls))
    @rule(number=which, by_agent=st.booleans(), killed=st.booleans())
    def presses(self, number: int, by_agent: bool, killed: bool) -> None:
        found = [call for call in self.calls if call.metas]
        self.run(self.world.presses(found[number % len(found)], by_agent=by_agent, killed=killed))

    @precondition(lambda self: self.consent(0, OPEN, OVER))
    @rule(number=which)
    def administrator_withdraws(self, number: int) -> None:
        consent = self.consent(number, OPEN, OVER)
        assert consent is not None
        self.run(self.world.withdraws_by_administrator(consent))

    # --- those who may not -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.calls)
    @rule(number=which, ways=ways, name=names, whose=which, lost=st.sampled_from([0, 0, 1, 3]))
    def somebody_records(self, number: int, ways: list[str], name: str, whose: int, lost: int) -> None:
        call = self.call(number)
        known = self.consent(whose, OVER, WITHDRAWN) if name == "known" else None
        if name == "odd":
            ways = ways[:1]  # stopping one stops all, also such as began since, of which the guard then knows no file
        if not self.world.sighted:
            # A channel names the last application that it ran: one behind it, heard by nobody, is never found.
            ways = ["uuid_record" if way == "record" else way for way in ways]
        self.run(self.world.records(call, ways, name, known, lost))

    @precondition(lambda self: self.calls)
    @rule(number=which, name=names.filter(lambda name: name not in ("odd", "known")))
    def somebody_records_shortly(self, number: int, name: str) -> None:
        self.run(self.world.records_shortly(self.call(number), name))

    @precondition(lambda self: self.calls and "sales" in self.world.switch.rooms)
    @rule()
    def somebody_records_the_conference(self) -> None:
        self.run(self.world.records_conference())

    @precondition(lambda self: self.calls)
    @rule(number=which, of=st.sampled_from(["end", "beginning", "bridge"]))
    def events_lie(self, number: int, of: str) -> None:
        self.run(self.world.lies(self.call(number), of))

    # --- faults ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.calls and self.world.side is not None)
    @rule()
    def service_dies(self) -> None:
        self.run(self.world.service_dies())

    @precondition(lambda self: hasattr(self, "world") and self.world.side is None)
    @rule()
    def service_starts(self) -> None:
        self.run(self.world.service_starts())

    @precondition(lambda self: self.calls and not self.world.link_down)
    @rule()
    def link_falls(self) -> None:
        self.run(self.world.link_falls())

    @precondition(lambda self: hasattr(self, "world") and self.world.link_down)
    @rule()
    def link_returns(self) -> None:
        self.run(self.world.link_returns())

    @precondition(lambda self: self.calls and self.world.sighted)
    @rule()
    def link_is_cut(self) -> None:
        self.run(self.world.link_is_cut())

    # --- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def holds_true(self) -> None:
        if hasattr(self, "world"):
            assert self.world.problems() == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only passes time in a walk."""
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(link, "AGAIN_S", (0.01,) * 5)
    monkeypatch.setattr(lifecycle, "SETTLE_S", 0.2)


@pytest.mark.usefixtures("quick")
def test_invariants_hold_after_every_step() -> None:
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
