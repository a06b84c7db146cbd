"""Live tests share one site per Asterisk version and test process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.live.support import Site, site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["22", "16"])
async def here(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A running site, on Asterisk 22 and on 16, with a manager link of least rights."""
    async with site(request.param) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["22", "16"])
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """The same without a manager link: a guard time stands in for it."""
    async with site(request.param, manager=False) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", params=["22", "16"])
async def own(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site for one test alone, which may break it."""
    async with site(request.param) as running:
        yield running
