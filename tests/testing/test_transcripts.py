"""The reader of recorded sessions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.testing.transcripts import Entry, Kind, TranscriptError, escape, parse, read, unescape

TRANSCRIPTS = Path(__file__).parents[1] / "data" / "asterisk-transcripts"

TEXT = r"""# Asterisk 22: two connections
# A> = Asterisk sent
   0.003 -- connection accepted, environment block:
   0.004 A> agi_network: yes\n
   0.005 S> SET VARIABLE U "\xc3\xbc \\ \r"\n
   1.508 -- server closed the connection
   1.600 A> Event: VarSet\r\n

  12.000 -- connection accepted, environment block:
  12.001 S> STREAM FILE pro
"""


def test_parse() -> None:
    transcript = parse(TEXT)
    assert transcript.header == ("Asterisk 22: two connections", "A> = Asterisk sent")
    assert transcript.entries[0] == Entry(0.003, Kind.COMMENT, b"", "connection accepted, environment block:")
    assert transcript.entries[1] == Entry(0.004, Kind.ASTERISK, b"agi_network: yes\n")
    assert transcript.entries[2] == Entry(0.005, Kind.SERVER, b'SET VARIABLE U "\xc3\xbc \\ \r"\n')
    assert transcript.entries[-1] == Entry(12.001, Kind.SERVER, b"STREAM FILE pro")


def test_sessions_are_what_lies_between_accept_and_close() -> None:
    first, second = parse(TEXT).sessions()
    assert [entry.kind for entry in first] == [Kind.COMMENT, Kind.ASTERISK, Kind.SERVER, Kind.COMMENT]
    assert [entry.kind for entry in second] == [Kind.COMMENT, Kind.SERVER]
    assert parse("").sessions() == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.1 B> x", 1),
        ("# x\nA> x", 2),
        ("0.1 A> \\q", 1),
        ("0.1 A> \\x1", 1),
        ("0.1 A> x\\", 1),
        ("0.1 A> ü", 1),
        ("1 A> x", 1),
    ],
)
def test_not_a_transcript(text: str, number: int) -> None:
    with pytest.raises(TranscriptError, match=f"line {number}"):
        parse(text)


def test_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("boo\n", encoding="utf-8")
    with pytest.raises(TranscriptError, match=r"x\.txt: line 1"):
        read(path)


def test_every_recorded_file_reads_and_has_a_connection() -> None:
    paths = sorted(TRANSCRIPTS.glob("*.txt"))
    assert paths
    for path in paths:
        transcript = read(path)
        assert len(transcript.sessions()) == 1, path.name
        assert transcript.header


@given(st.binary())
def test_escape_and_back(data: bytes) -> None:
    text = escape(data)
    assert text.isascii()
    assert "\n" not in text
    assert unescape(text) == data


def test_escape_leaves_quotation_marks() -> None:
    assert escape(b"'a' \"b\" \\ \n") == "'a' \"b\" \\\\ \\n"
    assert escape(b"it's") == "it's"
