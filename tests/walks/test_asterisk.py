"""Random walks on the model of Asterisk: whatever people, dialplans and faults do, the invariants hold."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ivr_consent.pbx import watching
from tests.walks.asterisk import OPEN, OVER, WITHDRAWN
from tests.walks.site import MAX_CALLS, SiteWalk, walk, which


class Walk(SiteWalk):
    """One site; every rule leaves its guard at rest."""

    # --- calls -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.calls) < MAX_CALLS)
    @rule()
    def arrives(self) -> None:
        self.run(self.there.arrive())

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def consents(self, number: int) -> None:
        name = self.of(self.calls, number)
        lawful = {consent.path for consent in self.there._open(name)}
        # Asterisk lists no recorders: one that began before a lawful one, heard by nobody, is never found.
        if self.there.sighted or lawful.issuperset(self.there.switch.channels[name].recorders):
            self.run(self.there.consents_(name))

    @precondition(lambda self: self.calls)
    @rule(number=which, device=st.sampled_from(["agent1", "agent2", "stranger"]))
    def talks(self, number: int, device: str) -> None:
        self.run(self.there.talks_to(self.of(self.calls, number), device))

    @precondition(lambda self: len(self.calls) > 1)
    @rule(number=which)
    def callers_talk(self, number: int) -> None:
        self.run(self.there.talks_to_call(self.of(self.calls, number), self.of(self.calls, number + 1)))

    @precondition(lambda self: self.bridged)
    @rule(number=which, device=st.sampled_from(["agent1", "agent2", "stranger"]))
    def somebody_joins(self, number: int, device: str) -> None:
        self.run(self.there.third_joins(self.of(self.bridged, number), device))

    @precondition(lambda self: self.bridged)
    @rule(number=which)
    def parts(self, number: int) -> None:
        self.run(self.there.parts(self.of(self.bridged, number)))

    @precondition(lambda self: self.bridged and self.there.sighted)
    @rule(number=which, on=st.booleans())
    def holds(self, number: int, on: bool) -> None:
        self.run(self.there.holds(self.of(self.bridged, number), on=on))

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def hangs_up(self, number: int) -> None:
        self.run(self.there.hangs_up(self.of(self.calls, number)))

    # --- withdrawal --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.consented(OPEN, alive=True))
    @rule(number=which, by_agent=st.booleans())
    def presses(self, number: int, by_agent: bool) -> None:
        found = self.consented(OPEN, alive=True)
        self.run(self.there.presses(found[number % len(found)], by_agent=by_agent))

    @precondition(lambda self: self.consented(OPEN, OVER))
    @rule(number=which)
    def administrator_withdraws(self, number: int) -> None:
        found = self.consented(OPEN, OVER)
        self.run(self.there.withdraws_by_administrator(found[number % len(found)]))

    # --- those who may not -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.calls and self.there.sighted)
    @rule(number=which, kind=st.sampled_from(["plain", "never", "known"]), count=st.integers(1, 3), whose=which)
    def somebody_records(self, number: int, kind: str, count: int, whose: int) -> None:
        found = self.consented(OVER, WITHDRAWN)
        known = found[whose % len(found)] if found else None
        self.run(self.there.records(self.of(self.calls, number), kind, count, known))

    @precondition(lambda self: self.calls and not self.there.sighted)
    @rule(number=which)
    def somebody_records_unseen(self, number: int) -> None:
        """One alone: what a blind guard heard no name of it finds by the channel's newest recorder."""
        name = self.of(self.calls, number)
        running = self.there.switch.channels[name].recorders
        if len(running) <= 1 and all(consent.path in running for consent in self.there._open(name)):
            self.run(self.there.records(name, "plain", 1, None))

    @precondition(lambda self: self.bridged)
    @rule(number=which)
    def somebody_records_the_other_side(self, number: int) -> None:
        peer = self.there.switch.channels[self.of(self.bridged, number)].peers[0]
        if not self.there.switch.channels[peer].recorders:
            self.run(self.there.records(peer, "plain", 1, None))

    @precondition(lambda self: self.calls and self.there.switch.version == 16)
    @rule(number=which)
    def somebody_monitors(self, number: int) -> None:
        self.run(self.there.monitors(self.of(self.calls, number)))

    @precondition(lambda self: self.calls)
    @rule(number=which, application=st.sampled_from(["Record", "VoiceMail"]))
    def an_application_records(self, number: int, application: str) -> None:
        self.run(self.there.runs(self.of(self.calls, number), application))

    @precondition(lambda self: self.calls)
    @rule()
    def a_conference_is_recorded(self) -> None:
        self.run(self.there.records_conference())

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def events_lie(self, number: int) -> None:
        self.run(self.there.lies(self.of(self.calls, number)))

    # --- faults ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.calls and self.there.guard is not None and not self.there.held)
    @rule()
    def service_dies(self) -> None:
        self.run(self.there.service_dies())

    @precondition(lambda self: self.world is not None and self.world.guard is None)
    @rule()
    def service_starts(self) -> None:
        self.run(self.there.service_starts())

    @precondition(lambda self: self.calls and self.there.switch.up and not self.there.held)
    @rule()
    def link_falls(self) -> None:
        self.run(self.there.link_falls())

    @precondition(lambda self: self.world is not None and not self.world.switch.up)
    @rule()
    def link_returns(self) -> None:
        self.run(self.there.link_returns())


def test_invariants_hold_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.01)
    walk(Walk)
