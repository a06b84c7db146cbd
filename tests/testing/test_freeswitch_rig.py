"""The rig where there is no FreeSWITCH, or none that is one: it says why, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ivr_consent.testing.freeswitch_rig import FreeSwitchRig, FreeSwitchUnavailable
from tests.cli.support import run


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search path without any program, and a place of its own for what is temporary."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return folder


async def test_without_a_program_it_says_so(bare_path: Path) -> None:
    with pytest.raises(FreeSwitchUnavailable, match="no program freeswitch on the search path"):
        await FreeSwitchRig().start()


async def test_a_program_that_ends_at_once_is_told_with_its_last_words(bare_path: Path) -> None:
    program = bare_path / "freeswitch"
    program.write_text("#!/bin/sh\necho 'Cannot open the database'\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(FreeSwitchUnavailable, match="ended at once: Cannot open the database"):
        await FreeSwitchRig().start()
    assert list(bare_path.parent.iterdir()) == [bare_path]


async def test_it_listens_on_loopback_alone_and_with_a_password_of_its_own(bare_path: Path) -> None:
    kept = bare_path.parent / "kept.xml"
    program = bare_path / "freeswitch"
    program.write_text(
        '#!/bin/sh\nwhile [ "$1" != -conf ]; do shift; done\nread -r all < /dev/null\n'
        f'while IFS= read -r line; do echo "$line"; done < "$2/freeswitch.xml" > {kept}\n'
    )
    program.chmod(0o755)
    rig = FreeSwitchRig(["support", "sales"])
    with pytest.raises(FreeSwitchUnavailable):
        await rig.start()
    root = ET.fromstring(kept.read_text())  # noqa: S314 - a text of our own
    params = [(param.get("name"), param.get("value")) for param in root.iter("param")]
    assert {value for name, value in params if name in ("listen-ip", "sip-ip", "rtp-ip")} == {"127.0.0.1"}
    assert ("password", rig.password) in params
    assert ("api-expansion", "false") in params
    assert len(rig.password) >= 24
    assert rig.password != FreeSwitchRig().password
    expressions = {condition.get("expression") for condition in root.iter("condition")}
    assert {"^support$", "^sales$", "^rig_recorded$", "^rig_unrecorded$"} <= expressions


def test_the_command_that_plays_a_call_says_so_before_it_builds_anything(bare_path: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = run("run", "--pbx", "freeswitch", "--home", home, PATH=str(bare_path))
    assert result.exit_code == 4
    assert "no program freeswitch on the search path; try --pbx simulated" in result.stderr
    assert not home.exists()
