"""The pytest plugin, loaded by itself where this package is installed beside pytest.

Fixtures ``switch``, ``call``, ``sipp``, ``ledger``, ``clock``; markers ``live`` and ``asterisk(version=…)``. Everything
else is imported when a test asks for it: a run that does not pays for this file alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.testing.calling import Calls, Machinery, Switch
    from ivr_consent.testing.clock import Clock
    from ivr_consent.testing.sipp import Callers

INI: Final = "ivr_consent_switch"
DEFAULT: Final = "fake-asterisk"
LIVE: Final = "asterisk"
VERSIONS: Final = ("22", "16")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The switch of tests that name none."""
    parser.addini(INI, f"the switch that the fixture `switch` of ivr-consent is (default: {DEFAULT})", default=DEFAULT)


def pytest_configure(config: pytest.Config) -> None:
    """The markers, for --strict-markers."""
    for line in (
        "live: calls through a real switch; of ivr-consent: the fixture `switch` is a real Asterisk, fetched from "
        "Debian's packages into a folder",
        "asterisk(version='22'): as live, and which version: '22' or '16'",
    ):
        config.addinivalue_line("markers", line)


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """``-m "not live"`` leaves out those that name a version too."""
    if item.get_closest_marker("asterisk") is not None and item.get_closest_marker("live") is None:
        item.add_marker("live")


def _wanted(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Which switch a test wants, and which version of it: parametrised, marked, or as configured."""
    from ivr_consent.testing.calling import SWITCHES  # noqa: PLC0415 - the plugin imports late

    marker = request.node.get_closest_marker("asterisk")
    version = str((marker.kwargs.get("version") or next(iter(marker.args), "22")) if marker else "22")
    real = marker is not None or request.node.get_closest_marker("live") is not None
    name = getattr(request, "param", None) or (LIVE if real else request.config.getini(INI))
    if name not in SWITCHES:
        raise pytest.UsageError(f"there is no switch {name!r}; write one of: {', '.join(SWITCHES)}")
    if version not in VERSIONS:
        raise pytest.UsageError(f"there is no Asterisk {version!r} to be had; write one of: {', '.join(VERSIONS)}")
    return name, version


def _need(name: str, version: Any) -> None:
    """Skip the test where the switch is not to be had."""
    if name == LIVE:
        from ivr_consent.testing.rig import RigUnavailable, fetch, skip_or_fail  # noqa: PLC0415 - the plugin imports late

        try:
            fetch(version)
        except RigUnavailable as unavailable:
            skip_or_fail(f"no Asterisk {version}: {unavailable}")
    elif name == "freeswitch":
        from ivr_consent.testing.freeswitch_rig import program  # noqa: PLC0415 - the plugin imports late

        if program() is None:
            pytest.skip("no freeswitch on the search path")


@pytest.fixture(scope="session")
def _ivr_consent_machinery() -> Iterator[Machinery]:
    from ivr_consent.testing.calling import Machinery  # noqa: PLC0415 - the plugin imports late

    made = Machinery()
    yield made
    made.close()


@pytest.fixture
def switch(request: pytest.FixtureRequest, tmp_path: Path, _ivr_consent_machinery: Machinery) -> Iterator[Switch]:
    """The switch that calls go through: the fake Asterisk, unless the test or the configuration says otherwise.

    ``@pytest.mark.parametrize("switch", ["fake-asterisk", "asterisk"], indirect=True)`` plays a test on several.
    """
    from ivr_consent.testing.calling import Switch  # noqa: PLC0415 - the plugin imports late

    name, version = _wanted(request)
    _need(name, version)
    made = Switch(name, tmp_path, _ivr_consent_machinery, version)  # type: ignore[arg-type]  # looked at in _wanted
    yield made
    made.close()


@pytest.fixture
def call(request: pytest.FixtureRequest, switch: Switch) -> Calls:
    """Place a call and play its caller; what came of it."""
    from ivr_consent.testing.calling import Calls  # noqa: PLC0415 - the plugin imports late

    return Calls(switch, lambda: (request.getfixturevalue("ledger"), request.getfixturevalue("clock")))


@pytest.fixture
def sipp(_ivr_consent_machinery: Machinery) -> Callers:
    """Place many calls to a switch, by Debian's sipp in the rig's folder, and wait until they are over."""
    from ivr_consent.testing.rig import RigUnavailable, skip_or_fail  # noqa: PLC0415 - the plugin imports late
    from ivr_consent.testing.sipp import Callers, fetch_sipp  # noqa: PLC0415 - the plugin imports late

    try:
        fetch_sipp()
    except RigUnavailable as unavailable:
        skip_or_fail(f"no sipp: {unavailable}")
    return Callers(_ivr_consent_machinery.run)


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    """An empty log in the test's own directory, which goes by ``clock``; calls of ``call`` are written there."""
    from ivr_consent.store.ledger import Ledger  # noqa: PLC0415 - the plugin imports late

    log = Ledger(tmp_path / "decisions.db", clock=clock)
    yield log
    log.close()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved: ``clock.move(days=31)``."""
    from ivr_consent.testing.clock import Clock  # noqa: PLC0415 - the plugin imports late

    return Clock()
