"""Stock scripts of pyst2 and panoramisk on the fake Asterisk: they hear what they hear from a real one.

The same calls go through a real Asterisk in ``tests/live/test_scripts.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.testing.calling import Calls, Switch
from tests import agi_scripts


def test_a_pyst2_program(switch: Switch, call: Calls, tmp_path: Path) -> None:
    agi_scripts.sounds(switch)
    seen = call(*agi_scripts.CALLER, agi=agi_scripts.program(tmp_path), arguments=["blue door"])
    assert agi_scripts.heard(seen.variables["HEARD"]) == agi_scripts.PYST2_HEARD
    assert seen.prompts[:3] == ("site/welcome", "site/pin", "site/nowhere")
    assert (seen.pressed, seen.hung_up) == ("212#57", "")
    assert seen.variables["COLOUR"] == "dark red"
    assert seen.status == "FAILURE"  # a prompt was missing


@pytest.mark.parametrize("kind", agi_scripts.AFTER_A_HANG_UP)
def test_a_caller_who_hangs_up(switch: Switch, call: Calls, tmp_path: Path, kind: str) -> None:
    agi_scripts.sounds(switch)
    assert agi_scripts.after_a_hang_up(switch, call, tmp_path, kind) == agi_scripts.AFTER_A_HANG_UP[kind]


@pytest.mark.parametrize("kind", ["pyst2", "panoramisk"])
def test_a_server(switch: Switch, call: Calls, tmp_path: Path, kind: str) -> None:
    agi_scripts.sounds(switch)
    if kind == "pyst2":
        address = agi_scripts.server(switch, tmp_path, agi_scripts.PYST2_SERVER)
        seen = call(*agi_scripts.CALLER, agi=f"{address}/menu", arguments=["blue door"])
        assert agi_scripts.heard(seen.variables["HEARD"]) == agi_scripts.PYST2_HEARD
        assert (seen.status, seen.hung_up) == ("FAILURE", "")
    else:
        address = agi_scripts.server(switch, tmp_path, agi_scripts.PANORAMISK)
        seen = call(*agi_scripts.GOES, agi=f"{address}/calls/menu")
        assert agi_scripts.heard(seen.variables["HEARD"]) == agi_scripts.PANORAMISK_HEARD
        assert (seen.status, seen.hung_up) == ("FAILURE", "caller")  # a prompt was missing before
