"""Stock scripts of pyst2 and panoramisk on a real Asterisk: what the fake one answers in ``tests/testing`` is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.testing.calling import Calls, Switch
from tests import agi_scripts

VERSIONS = [pytest.param(version, marks=pytest.mark.asterisk(version=version)) for version in ("22", "16")]


@pytest.mark.parametrize("version", VERSIONS)
def test_scripts_hear_what_they_hear_from_the_fake(version: str, switch: Switch, call: Calls, tmp_path: Path) -> None:
    assert switch.on == "asterisk"
    assert switch.version == version
    agi_scripts.sounds(switch)
    program = call(*agi_scripts.CALLER, agi=agi_scripts.program(tmp_path), arguments=["blue door"])
    assert agi_scripts.heard(program.variables["HEARD"]) == agi_scripts.PYST2_HEARD
    assert (program.status, program.hung_up, program.pressed) == ("FAILURE", "", "212#57")

    address = agi_scripts.server(switch, tmp_path, agi_scripts.PANORAMISK)
    served = call(*agi_scripts.GOES, agi=f"{address}/calls/menu")
    assert agi_scripts.heard(served.variables["HEARD"]) == agi_scripts.PANORAMISK_HEARD
    assert (served.status, served.hung_up) == ("FAILURE", "caller")  # a prompt was missing before

    for kind, came in agi_scripts.AFTER_A_HANG_UP.items():
        assert agi_scripts.after_a_hang_up(switch, call, tmp_path, kind) == came
