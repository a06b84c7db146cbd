"""Random walks of the whole service: callers at the gate at once, the guard, and faults of disk, link and clock."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ivr_consent.pbx import watching
from ivr_consent.store import ledger as ledger_module
from tests.walks.asterisk import OPEN, OVER
from tests.walks.service import CHOICES, FAULTS, Gate, ServiceWorld
from tests.walks.site import MAX_CALLS, SiteWalk, walk, which

AT_THE_GATE = 3


class ServiceWalk(SiteWalk):
    """Few rules, so that most steps are those of callers who are asked; the guard's own walks are beside this one."""

    site = ServiceWorld

    @property
    def there(self) -> ServiceWorld:
        assert isinstance(self.world, ServiceWorld)
        return self.world

    def gate(self, number: int) -> Gate:
        """One of the callers who are asked; another comes while there are few."""
        there = self.there
        if there.guard is None:
            self.run(there.service_starts())
        if not there.gates or (len(there.gates) < AT_THE_GATE and number % 2):
            if not self.calls or len(self.calls) + len(there.gates) < MAX_CALLS:
                self.run(there.arrive())
            self.run(there.comes_to_the_gate(self.calls[-1]))
        return there.gates[number % len(there.gates)]

    def asked(self, number: int, steps: int, choice: str) -> None:
        """So many steps of a caller who says yes, then another; after each the invariants hold."""
        gate = self.gate(number)
        for done in range(steps + 1):
            if gate in self.there.gates:
                self.run(self.there.goes_on(gate, "yes" if done < steps else choice))
                self.holds_true()

    # --- callers -----------------------------------------------------------------------------------------------------

    @rule(number=which, steps=st.integers(0, 12), choice=st.sampled_from(CHOICES))
    def is_asked(self, number: int, steps: int, choice: str) -> None:
        self.asked(number, steps, choice)

    @rule(number=which)
    def says_yes_to_all(self, number: int) -> None:
        self.asked(number, 20, "yes")

    @rule(number=which, steps=st.integers(7, 11), choice=st.sampled_from(["no", "hang up", "fails", "unclear"]))
    def is_asked_up_to_the_recorder(self, number: int, steps: int, choice: str) -> None:
        self.asked(number, steps, choice)

    @precondition(lambda self: self.calls)
    @rule(number=which, agent=st.sampled_from(["agent1", "stranger"]))
    def talks(self, number: int, agent: str) -> None:
        self.run(self.there.talks_to(self.of(self.calls, number), agent))

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def hangs_up(self, number: int) -> None:
        if len(self.calls) + len(self.there.gates) > 1:
            self.run(self.there.hangs_up(self.of(self.calls, number)))

    @precondition(lambda self: self.calls and self.there.sighted)
    @rule(number=which)
    def somebody_records(self, number: int) -> None:
        self.run(self.there.records(self.of(self.calls, number), "plain", 1, None))

    # --- withdrawal --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.consented(OPEN, alive=True))
    @rule(number=which, by_agent=st.booleans())
    def presses(self, number: int, by_agent: bool) -> None:
        found = self.consented(OPEN, alive=True)
        self.run(self.there.presses(found[number % len(found)], by_agent=by_agent))

    @precondition(lambda self: self.consented(OPEN, OVER))
    @rule(number=which)
    def administrator_withdraws(self, number: int) -> None:
        found = [one for one in self.consented(OPEN, OVER) if self.there.confirmed(one)]
        if found and self.there.writes:
            self.run(self.there.withdraws_by_administrator(found[number % len(found)]))

    # --- faults ------------------------------------------------------------------------------------------------------

    @rule(fault=st.sampled_from(["", *FAULTS]))
    def disk_fails_or_heals(self, fault: str) -> None:
        self.run(self.there.disk_becomes(fault))

    @rule(
        number=which,
        fault=st.sampled_from(FAULTS),
        later=st.sampled_from([0, 2]),
        steps=st.sampled_from([0, 2]),
    )
    def disk_fails_for_a_moment(self, number: int, fault: str, later: int, steps: int) -> None:
        """Just when somebody is decided, or two steps later, when the recorder runs and is to be confirmed."""
        gate = self.gate(number)
        while gate in self.there.gates and not gate.is_decided:
            self.run(self.there.goes_on(gate, "yes"))
        for _ in range(later):
            if gate in self.there.gates:
                self.run(self.there.goes_on(gate, "yes"))
        self.run(self.there.disk_becomes(fault))
        for _ in range(steps + 1):
            if gate in self.there.gates:
                self.run(self.there.goes_on(gate, "yes"))
                self.holds_true()
        self.run(self.there.disk_becomes(""))

    @rule()
    def link_falls_or_returns(self) -> None:
        self.run(self.there.link_falls() if self.there.switch.up else self.there.link_returns())

    @rule(hours=st.sampled_from([-72, -2, 2, 1000]))
    def clock_steps(self, hours: int) -> None:
        self.run(self.there.clock_steps(hours))

    @precondition(lambda self: self.there.guard is not None)
    @rule()
    def service_dies(self) -> None:
        self.run(self.there.service_dies())


def test_invariants_hold_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """I1 to I5, and in the end: the log is intact, and who calls then is recorded, without anybody's help."""
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(ledger_module, "RETRY_S", 0.02)
    walk(ServiceWalk)
