"""Random callers on real switches: the simulated one and they agree in route, decision and file on every call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ivr_consent.testing.drivers.exchange import Exchange
from tests.differential import agrees
from tests.live.test_scenarios import on_16, on_22, on_freeswitch


@pytest.mark.parametrize(
    ("make", "at_once"),
    [
        pytest.param(on_22, 48, id="22"),
        pytest.param(on_16, 48, id="16"),
        pytest.param(on_freeswitch, 32, id="freeswitch"),
    ],
)
def test_route_decision_and_file_agree(
    make: Callable[[], Exchange], at_once: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """R1 to R7, for callers that nobody thought of; all of them at once."""
    agrees(make(), at_once, capsys)
