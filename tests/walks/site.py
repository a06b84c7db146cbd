"""What walks on the model of Asterisk have in common: a site, its people, and what has to hold after every step."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, run_state_machine_as_test

from tests.walks.asterisk import Consent, World

WALKS: Final = int(os.environ.get("IVR_CONSENT_WALKS", "10"))
"""How many walks; each has up to ``STEPS`` steps."""

STEPS: Final = int(os.environ.get("IVR_CONSENT_WALK_STEPS", "30"))

MAX_CALLS: Final = 4

which = st.integers(0, 7)


class SiteWalk(RuleBasedStateMachine):
    """One site; every rule leaves its guard at rest."""

    world: World | None = None
    site: type[World] = World

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="walk-")
        self.runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    @initialize(named=st.booleans(), version=st.sampled_from([16, 22]))
    def begin(self, named: bool, version: int) -> None:
        world = self.world = self.site(Path(self.folder.name), version=version, named=named)
        self.run(world.service_starts())
        self.run(world.arrive())

    def teardown(self) -> None:
        try:
            if self.world is not None:
                self.run(self.world.end())
        finally:
            self.runner.close()
            self.folder.cleanup()

    # --- who there is ------------------------------------------------------------------------------------------------

    @property
    def there(self) -> World:
        assert self.world is not None
        return self.world

    @property
    def calls(self) -> list[str]:
        return self.world.calls if self.world is not None else []

    @property
    def bridged(self) -> list[str]:
        return [name for name in self.calls if self.there.switch.channels[name].peers]

    def of(self, names: list[str], number: int) -> str:
        return names[number % len(names)]

    def consented(self, *states: str, alive: bool = False) -> list[Consent]:
        found = [consent for consent in self.there.consents if consent.state in states] if self.world else []
        return [consent for consent in found if not alive or consent.call in self.calls]

    # --- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def holds_true(self) -> None:
        if self.world is not None:
            problems = self.world.problems()
            assert problems == [], problems


def walk(machine: type[SiteWalk]) -> None:
    """So many walks. Raises what an invariant raises, with the shortest walk that shows it."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
