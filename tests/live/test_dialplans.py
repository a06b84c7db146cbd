"""A site's own dialplan on a real Asterisk: every way in is called, and what is wrong with one is told with its place.

Each run is twenty to forty seconds: some caller says nothing through a whole notice, and in a second round others call
while the server is down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.testing.rig import RigUnavailable, fetch, skip_or_fail

SITES = Path(__file__).parents[1] / "data/dialplans"
RUN_S = 300.0


def words(directory: Path, version: str, *options: str) -> list[str]:
    """The command, as an administrator gives it."""
    try:
        fetch("16" if version == "16" else "22")
    except RigUnavailable as error:
        skip_or_fail(str(error))
    configuration = directory / "ivr-consent.toml"
    given = ["--config", str(configuration)] if configuration.exists() else []
    program = [sys.executable, "-m", "ivr_consent.cli.main", *given, "test", "--dialplan", str(directory)]
    return [*program, "--asterisk-version", version, *options]


def tried(directory: Path, version: str, *options: str) -> dict[str, Any]:
    """What came of it; its exit code is ``exit``."""
    command = [*words(directory, version, *options), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.stdout, done.stderr
    return {"exit": done.returncode, **json.loads(done.stdout)}


def wrong(found: dict[str, Any]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """What is wrong, with its place, by what was dialled (and which keys followed) and what the caller said."""
    told: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for call in found["calls"]:
        for one in call["wrong"]:
            place = f"{one['file']}:{one['line']}" if "file" in one else ""
            dialled = " ".join([call["way_in"]["dialled"], *call["keys"]])
            told.setdefault((dialled, call["caller"]), []).append((one["what"].partition(",")[0], place))
    return told


def test_a_shop_whose_forgotten_number_records(tmp_path: Path) -> None:
    found = tried(SITES / "shop", "22", "--at", "2026-11-23 10:00", "--junit", str(tmp_path / "junit.xml"))
    assert found["exit"] == 1
    bad = wrong(found)
    assert set(bad) == {("70102045", "says nothing")}
    recorder, queue = bad["70102045", "says nothing"]
    assert recorder[0].startswith("MixMonitor(/var/spool/asterisk/monitor/")
    assert recorder[1] == "extensions.conf:48"
    assert queue == ("comes into the queue support without being asked", "extensions.conf:49")
    calls = {(call["way_in"]["dialled"], call["keys"], call["caller"]): call for call in found["calls"]}
    yes = calls["70102030", "", "says yes"]
    assert (yes["outcome"], yes["recorded"], yes["reached"][0]) == ("granted", True, "Queue(support-recorded)")
    for says in ("says nothing", "says no", "calls while ivr-consent is down"):
        other = calls["70102030", "", says]
        assert (other["recorded"], other["reached"]) == (False, ["Queue(support)"]), says
    assert calls["70102031", "2", "says nothing"]["reached"] == ["Dial(PJSIP/100)"]
    trunk = calls["05273180", "", "says nothing"]  # nothing is dialled out, whatever the dialplan says
    assert trunk["reached"] == ["Dial(PJSIP/trunk/sip:5273180@192.0.2.7)"]
    assert any("#exec /usr/local/bin/holidays" in cut for cut in found["cut_off"])
    assert b'failures="1"' in (tmp_path / "junit.xml").read_bytes()


def test_a_shop_that_is_closed_on_sunday() -> None:
    found = tried(SITES / "shop", "22", "--at", "2026-11-22 10:00", "--into", "from-trunk", "--ungated", "support")
    calls = {(call["way_in"]["dialled"], call["keys"], call["caller"]): call for call in found["calls"]}
    assert {way for way, *_ in calls} == {"70102030", "70102031", "1", "2", "70102045"}
    closed = calls["70102030", "", "says nothing"]
    assert (closed["asked"], closed["reached"], closed["result"]) == (False, [], "passed")
    assert [one for calls in wrong(found).values() for one, _ in calls if "queue" in one] == []


@pytest.mark.parametrize("version", ["22", "16"])
def test_every_mistake_is_found_where_it_stands(version: str) -> None:
    found = tried(SITES / "mistakes", version, "--into", "from-trunk", "--into", "from-ael", "--telephone", "200")
    other = {
        call["way_in"]["dialled"]: call for call in found["calls"] if call["way_in"]["dialled"] in ("1008", "1009")
    }
    assert [call["result"] for call in other.values()] == ["passed", "passed"]  # nothing is wrong with these two
    assert other["1008"]["talked"]  # and the telephone answered
    assert found["exit"] == 1
    bad = wrong(found)
    for says, outcome in (
        ("says no", "declined"),
        ("says nothing", "no_answer"),
        ("calls while ivr-consent is down", "failed"),
    ):
        assert bad.pop(("1001", says)) == [("the call ends behind the gate", "extensions.conf:9")], outcome
        [(recorder, place)] = bad.pop(("1002", says))
        assert recorder.startswith("MixMonitor(/srv/tapes/")
        assert place == "extensions.conf:14"
    assert [what for what, _ in bad.pop(("1003", "says yes"))] == [
        f"{'MixMonitor' if version == '22' else 'Monitor'} records"
    ]
    ungated = "comes into the queue support without being asked"
    assert bad.pop(("1004 7", "says nothing")) == [(ungated, "more/support.conf:2")]
    [(unknown, place)] = bad.pop(("1005", "says yes"))
    assert unknown == "said yes on the line 'suport'"
    assert place == "extensions.conf:29"
    assert [what for what, _ in bad.pop(("1006", "says nothing"))] == ["the conference's recorder records"]
    assert bad.pop(("1007", "says nothing")) == [(ungated, "more/support.conf:2")]
    assert bad.pop(("2001", "says nothing")) == [(ungated, "extensions.ael:5")]
    assert bad == {}
    assert not Path("/srv/tapes").exists()


def test_breaking_off_leaves_nothing_behind(tmp_path: Path) -> None:
    command = words(SITES / "shop", "22", "--at", "2026-11-23 10:00")
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while not list(tmp_path.glob("rig*/run/asterisk.ctl")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        told = process.stdout.read().decode()
        assert process.wait(RUN_S) != 0
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []
