"""The system's journal."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivr_consent.anchors.journal import IDENTIFIER, JournalAnchor, entry
from ivr_consent.anchors.place import AnchorError
from tests.anchors.support import LOG_ID, checkpoint, limit

ONE = checkpoint(1)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(path))
        link.settimeout(10)
        yield path, link


def fields(datagram: bytes) -> dict[str, str]:
    """As journald reads its native protocol."""
    found = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equal, value = line.partition(b"=")
        if not equal:
            (length,) = struct.unpack_from("<Q", datagram)
            value, datagram = datagram[8 : 8 + length], datagram[8 + length :]
            assert datagram[:1] == b"\n"
            datagram = datagram[1:]
        found[name.decode()] = value.decode()
    return found


def test_an_entry_with_fields(journal: tuple[Path, socket.socket]) -> None:
    """The note as it is, and what it is found by."""
    path, link = journal
    JournalAnchor(path).publish(ONE, limit())
    found = fields(link.recv(1 << 16))
    assert found["MESSAGE"] == ONE.note
    assert (found["SYSLOG_IDENTIFIER"], found["PRIORITY"]) == (IDENTIFIER, "5")
    assert (found["IVR_CONSENT_LOG"], found["IVR_CONSENT_SIZE"]) == (LOG_ID, "1")
    assert len(found["MESSAGE_ID"]) == 32
    assert fields(entry(ONE)) == found


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"there is no journal on this system .* set log\.anchors\.journal to false"):
        JournalAnchor(tmp_path / "none").publish(ONE, limit())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "dead"))
    with pytest.raises(AnchorError, match="there is no journal"):
        JournalAnchor(tmp_path / "dead").publish(ONE, limit())


def test_a_journal_that_takes_nothing(journal: tuple[Path, socket.socket]) -> None:
    """Its queue is full: that is waited for, but not for ever."""
    path, _ = journal
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        filler.connect(str(path))
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.send(b"x" * 1000)
    with pytest.raises(AnchorError, match="does not take anything"):
        JournalAnchor(path).publish(ONE, limit(0.2))


def program(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "journalctl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_it_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said").write_text(ONE.note + checkpoint(2).note)
    program(tmp_path / "bin", f'echo "$@" > {tmp_path}/words; cat {tmp_path}/said')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert list(JournalAnchor().read(limit())) == [ONE, checkpoint(2)]
    assert (tmp_path / "words").read_text().split() == [
        "--quiet",
        "--no-pager",
        "--output=cat",
        f"--identifier={IDENTIFIER}",
    ]


def test_it_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(AnchorError, match=r"exit code 1.*insufficient permissions.*group systemd-journal"):
        list(JournalAnchor().read(limit()))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AnchorError, match="journalctl cannot be started"):
        list(JournalAnchor().read(limit()))
