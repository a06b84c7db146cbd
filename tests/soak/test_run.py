"""What the soak reads: Asterisk's log, the service's, and what its callers are drawn from."""

from __future__ import annotations

import errno
import json
import os
import random
from datetime import datetime
from pathlib import Path

import pytest

from ivr_consent.testing.sipp import Press, Wait, Way, Who
from tests.faults.disk import Disk, Fault, Operation, environment, library
from tests.soak.__main__ import summary, tell
from tests.soak.callers import KINDS, Notice, draw
from tests.soak.evidence import Expected, Window
from tests.soak.judge import RULES, judge
from tests.soak.picture import draw as draw_picture
from tests.soak.reading import gate_calls, open_files, service_lines, write_evidence
from tests.soak.run import Plan
from tests.soak.test_judge import good

LOG = """\
[2026-11-22 20:12:47.266] VERBOSE[10909][C-1] pbx.c: Executing [soak@x:3] Log("PJSIP/x", "NOTICE,SOAK enter c0 7.0")
[2026-11-22 20:12:47.266] NOTICE[10909][C-1] Ext. soak: SOAK enter c0 7.0
[2026-11-22 20:12:47.270] VERBOSE[10909][C-1] pbx.c: Executing [s@ivr-consent:1] GotoIf("PJSIP/x", "1?fresh")
[2026-11-22 20:12:47.280] VERBOSE[10909][C-1] pbx.c: Executing [s@ivr-consent:2] Set("PJSIP/x", "A=1") in new stack
[2026-11-22 20:12:47.500] NOTICE[10911][C-2] Ext. soak: SOAK enter c1 7.1
[2026-11-22 20:12:48.000] NOTICE[10912][C-3] Ext. soak: SOAK enter c2 7.2
[2026-11-22 20:12:49.000] WARNING[10909] res_agi.c: SOAK told c2 7.2 granted yes_key abc
[2026-11-22 20:12:52.056] NOTICE[10909][C-1] Ext. soak: SOAK told c0 7.0 granted yes_key 0123456789abcdef
[2026-11-22 20:12:53.056] NOTICE[10911][C-2] Ext. soak: SOAK told c1 7.1 failed server_failed 
[2026-11-22 20:12:54.270] VERBOSE[10955][C-1] pbx.c: Executing [s@ivr-consent:1] GotoIf("PJSIP/x", "1?fresh")
[2026-11-22 20:12:55.746] NOTICE[10909][C-1] Ext. s: SOAK over c0 7.0 fedcba9876543210
[2026-11-22 20:12:56.746] NOTICE[10911][C-2] Ext. s: SOAK over c1 7.1 
"""  # noqa: W291 - as Asterisk writes it


def test_calls_are_read_from_asterisks_log() -> None:
    one, two, three = gate_calls(LOG)
    assert (one.tag, one.uniqueid, one.result, one.reason) == ("c0", "7.0", "granted", "yes_key")
    assert (one.call_id, one.last_id) == ("0123456789abcdef", "fedcba9876543210")
    assert (one.asks, two.asks) == (2, 0)
    began = datetime(2026, 11, 22, 20, 12, 47, 266000).astimezone().timestamp()
    assert one.told is not None
    assert one.over is not None
    assert [one.entered, one.told, one.over] == pytest.approx([began, began + 4.79, began + 8.48])
    assert (two.result, two.reason, two.call_id) == ("failed", "server_failed", "")
    assert (three.result, three.told, three.over) == ("", None, None), "only the dialplan's own words count"


def test_what_is_no_json_has_the_time_of_what_follows() -> None:
    text = '{"event": "a", "level": "info", "timestamp": "2026-11-22T20:00:00Z"}\nTraceback\n'
    text += '{"event": "b", "level": "error", "timestamp": "2026-11-22T20:05:00Z"}\n'
    first, odd, last = service_lines(text)
    assert (first.event, first.level, last.event, last.level) == ("a", "info", "b", "error")
    assert (odd.event, odd.level, odd.text, odd.at) == ("", "error", "Traceback", last.at)
    assert last.at - first.at == 300


def test_what_is_open_is_told_by_name(tmp_path: Path) -> None:
    before = open_files(os.getpid())
    with (tmp_path / "seen-123").open("w"):
        after = open_files(os.getpid())
    assert after["seen-N"] == 1
    assert "seen-N" not in before


def test_a_program_obeys_the_disk_from_its_start(tmp_path: Path) -> None:
    """Also what it starts itself, as the watcher starts the worker."""
    import subprocess
    import sys

    disk = Disk(tmp_path / "control")
    write = f"open({str(tmp_path / 'decisions.db')!r}, 'wb', buffering=0).write(b'x')"
    start = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {write!r}]).returncode)"
    program = os.environ | environment(library(tmp_path), tmp_path / "control", tmp_path)

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", start], env=program, capture_output=True, text=True, check=False)

    assert run().returncode == 0
    disk.fail(Fault(Operation.WRITE, "decisions.db", error=errno.ENOSPC))
    refused = run()
    assert refused.returncode != 0
    assert "No space left" in refused.stderr
    disk.heal()
    assert run().returncode == 0
    disk.close()


def test_what_is_told_kept_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures as JSON, the evidence with them, a table with what is broken, and a picture."""
    evidence = good()
    evidence.windows.append(Window("switch killed", 1400.0, 1404.0))
    evidence.files["d" * 32 + ".wav"] = "sum"
    findings = judge(evidence)
    figures = json.loads(json.dumps(summary(Plan(10, 7), evidence, findings)))
    assert (figures["seed"], figures["minutes"], figures["calls at the gate"]) == (7, 10, 40)
    assert figures["decisions"] == {"granted": 20, "declined": 10, "no_answer": 10}
    assert figures["findings"] == [f"one grant for each file: file {'d' * 32}.wav has 0 grants"]
    tell(figures, findings)
    told = capsys.readouterr().out
    assert "FAILED  one grant for each file" in told
    assert told.count("\nok ") == len(RULES) - 1
    write_evidence(evidence, tmp_path / "evidence.json")
    assert json.loads((tmp_path / "evidence.json").read_text())["planned"][0]["expected"] == "granted"
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    picture = draw_picture(evidence, tmp_path / "soak.png", "a soak")
    assert picture is not None
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_callers_are_those_of_their_seed_and_can_be_written() -> None:
    """Each kind comes up, what is pressed fits its kind, and sipp's file takes every name and number."""
    notice = Notice(5000, 3000)
    ways: tuple[Way, ...] = ("rfc4733", "info")
    one, other = (random.Random(5) for _ in range(2))  # noqa: S311 - the same twice
    drawn = [draw(one, notice, ways) for _ in range(600)]
    assert drawn == [draw(other, notice, ways) for _ in range(600)]
    assert {one.kind for one in drawn} == set(KINDS)
    for caller in drawn:
        Who(caller.number.format("4500000001"), caller.name)
        pressed = "".join(step.keys for step in caller.steps if isinstance(step, Press))
        if caller.kind in ("says no", "presses wrong keys", "is silent", "hangs up"):
            assert "1" not in pressed
        if caller.expected in (Expected.GRANTED, Expected.WITHDRAWN):
            assert pressed.startswith("1")
            assert isinstance(caller.steps[0], Wait)
            assert 5000 + 1000 <= caller.steps[0].ms <= 5000 + 2000, "in the middle of the window"
        if caller.kind == "says yes too early":
            assert isinstance(caller.steps[0], Wait)
            assert caller.steps[0].ms <= 4000
