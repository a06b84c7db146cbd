"""How a whole run is shared out between the test processes, so that it is short on two slow processors.

Tests on a real Asterisk mostly listen, all others mostly compute. So both kinds are under way at the same time: one
process begins with those that compute, the others with those that listen, the longest first. Tests that share a running
site stay together in one process, because each site is an Asterisk, a service and their start.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.servers import database, fresh_server, own_postgresql, postgresql  # noqa: F401 - fixtures for all

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# The program is started some hundred times, the tests are compiled in every process: without compiled files that costs
# half of all the time. What is written lies in __pycache__, which git ignores and `make clean` removes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A machine that is slow for a while is no fault of what is tested, nor of how its examples are made.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

SHARED_SITES = ("live/test_attacks.py", "live/test_gate.py", "live/test_language.py", "live/test_formats.py")
"""Most tests of these modules use a site that is started once for a process and a version of Asterisk."""

FIRST = ("live/test_workshop.py", "live/test_scenarios.py", *SHARED_SITES, "live/", "testing/")
"""What listens: the longest first."""

LAST = ("core/test_invariants.py", "audio/", "cli/")
"""What computes: the longest last, because one process begins at the end."""


def _rank(nodeid: str) -> int:
    """Where a test stands in the queue."""
    for rank, beginning in enumerate(FIRST):
        if nodeid.startswith(f"tests/{beginning}"):
            return rank
    for rank, beginning in enumerate(LAST):
        if nodeid.startswith(f"tests/{beginning}"):
            return 99 - rank
    return 50


def _scope(nodeid: str) -> str:
    """Tests of one scope run in one process, one after the other."""
    module, _, test = nodeid.partition("::")
    version = re.search(r"\[(16|22)\b", test)
    if version is not None:
        if module.endswith("live/test_scenarios.py"):
            return f"scenarios on {version[1]}"
        if module.endswith(("live/test_attacks.py", "live/test_gate.py")) and "a_dialplan_that_does_not" not in test:
            return f"{'guard' if 'guard' in test else 'calls'} on {version[1]}"
        if module.endswith(SHARED_SITES):
            return f"{module} on {version[1]}"
        if "/live/" in module:
            return nodeid
    return nodeid if module.endswith("core/test_invariants.py") else module


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only where several processes share the tests: the order within each rank stays random."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With ``-n``; pytest-xdist asks for it."""
    from xdist.scheduler import LoadScopeScheduling

    class FromBothEnds(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        """Scopes in the order of their first test; the first process takes them from the end.

        At the start each process gets a second scope, which waits for the first: for those that listen a short one.
        """

        def _split_scope(self, nodeid: str) -> str:
            return _scope(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            scopes = reversed(self.workqueue)
            if node is self.nodes[0] and len(self.nodes) > 1:
                self.workqueue.move_to_end(next(scopes), last=False)
            elif len(self.assigned_work[node]) == 1:
                short = (scope for scope in scopes if "/live/test_failures.py" in scope)
                self.workqueue.move_to_end(next(short, next(iter(self.workqueue))), last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return FromBothEnds(config, log)
