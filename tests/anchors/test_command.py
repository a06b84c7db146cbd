"""A program of the site's."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from ivr_consent.anchors.command import CommandAnchor
from ivr_consent.anchors.place import MAX_PROOF, AnchorError, Limit
from ivr_consent.config_anchors import CommandAnchor as Table
from tests.anchors.support import checkpoint, limit

ONE, TWO = checkpoint(1), checkpoint(2)


def anchor(code: str, read: str | None = None, *words: str) -> CommandAnchor:
    run = [sys.executable, "-c", code, *words]
    return CommandAnchor(Table(run=run, read=None if read is None else [sys.executable, "-c", read]))


KEEP = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read()); print(' receipt 7 ')"


def test_it_gets_the_note_and_gives_a_receipt(tmp_path: Path) -> None:
    path = tmp_path / "kept; $(touch x)"
    for sealed in (ONE, TWO):
        assert anchor(KEEP, None, str(path)).publish(sealed, limit()) == b"receipt 7"
    assert path.read_text() == ONE.note + TWO.note
    assert sorted(tmp_path.iterdir()) == [path], "no shell is involved"


def test_a_program_that_says_nothing_gives_no_proof() -> None:
    assert anchor("import sys; sys.stdin.read()").publish(ONE, limit()) is None


def test_it_need_not_read() -> None:
    assert anchor("pass").publish(ONE, limit()) is None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit('disk\\x1b[31m full')", r"failed with exit code 1: disk"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
        (f"print('x' * {MAX_PROOF + 1})", f"wrote more than {MAX_PROOF} bytes"),
    ],
)
def test_one_that_fails_is_told(code: str, told: str) -> None:
    with pytest.raises(AnchorError, match=told + r".*; see log\.anchors\.command"):
        anchor(code).publish(ONE, limit())


def test_one_that_is_not_there() -> None:
    for words in (["no-such-program"], ["/etc/passwd"], ["x\0y"]):
        with pytest.raises(AnchorError, match="cannot be started"):
            CommandAnchor(Table(run=words)).publish(ONE, limit())
        with pytest.raises(AnchorError, match="cannot be started"):
            list(CommandAnchor(Table(run=["true"], read=words)).read(limit()))


CHILD = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(600)"
)


def test_one_that_hangs_ends_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="did not end within 2 s"):
        anchor(CHILD, None, str(tmp_path / "pid")).publish(ONE, limit(2))
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_ends_when_it_is_to_stop(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(AnchorError, match="stopped"):
        anchor("import time; time.sleep(600)").publish(ONE, Limit(600, stop))


def test_what_it_gives_back() -> None:
    read = f"import sys; sys.stdout.buffer.write({('x' + chr(10) + ONE.note + TWO.note).encode()!r})"
    assert list(anchor("pass", read).read(limit())) == [ONE, TWO]
    with pytest.raises(AnchorError, match="no way back"):
        anchor("pass").read(limit())
    assert (anchor("pass", read).readable, anchor("pass").readable) == (True, False)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; sys.exit('no such bucket')", "failed with exit code 1: no such bucket"),
        ("import sys; sys.stderr.write('x' * 1000000); sys.exit(3)", "failed with exit code 3: x{400};"),
        ("import time; time.sleep(600)", "did not end within 2 s"),
        ("import sys\nwhile True: sys.stdout.write('x' * 100000)", "did not end within 2 s"),
        ("import os, time; os.close(1); os.close(2); time.sleep(600)", "did not end within 2 s"),
    ],
)
def test_reading_that_fails_is_told(code: str, told: str) -> None:
    """What came before is given all the same."""
    begin = f"import sys; sys.stdout.buffer.write({(ONE.note + TWO.note).encode()!r} + b'\\n'); sys.stdout.flush()\n"
    reading = anchor("pass", begin + code).read(limit(2))
    assert [next(reading), next(reading)] == [ONE, TWO]
    with pytest.raises(AnchorError, match=told):
        list(reading)


def test_nobody_reads_to_the_end(tmp_path: Path) -> None:
    """The program ends with who asked it."""
    begin = (
        f"import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); os.write(1, {ONE.note.encode()!r} * 2)"
    )
    words = [sys.executable, "-c", f"{begin}; time.sleep(600)", str(tmp_path / "pid")]
    reading = CommandAnchor(Table(run=words, read=words)).read(limit(600))
    assert next(reading) == ONE
    del reading
    pid = (tmp_path / "pid").read_text()
    assert not Path(f"/proc/{pid}").exists()
