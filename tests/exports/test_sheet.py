"""The table: RFC 4180, every column documented, and no cell that a spreadsheet program would run."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.exports import sheet
from ivr_consent.store.place import place_of
from tests.exports.support import Book, by_name, facts, poisoned
from tests.sites import SmallSite

ROOT = Path(__file__).parents[2]
FORMULAS = "=+-@\uff1d\uff0b\uff0d\uff20"
ATTACKS = (
    "=1+1",
    "+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    ' "=1',
    "'=1",
    "\u201c=1",
    "\uff1d1+1",
    "harmless;=1+1",
    "harmless,=1+1",
    'harmless";=1+1',
    'harmless"\t"=1+1',
    "harmless\n=1+1",
    "harmless|-1",
    "\x00=1",
    "\ufeff=1",
    "\u200b=1",
    "\xa0=1",
)


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def begins_a_formula(cell: str) -> bool:
    return cell.lstrip(" \t\r\n'\"\u2018\u2019\u201c\u201d`\xa0")[:1] in tuple(FORMULAS) and not cell.startswith("'")


def parts(line: str) -> list[str]:
    """The cells of a line as programs cut it that take another separator, and quotes amid a cell for letters."""
    return [part for separator in ",;\t|" for part in line.split(separator)]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_cell_begins_a_formula(attack: str) -> None:
    """Whatever program opens the table, and wherever it thinks that cells end."""
    line = sheet._row([sheet.cell(attack), sheet.cell(f"a{attack}")]).decode()
    assert line.count("\n") == 1
    assert line.endswith("\r\n")
    cells = rows(line.encode())
    assert len(cells) == 1
    assert not any(begins_a_formula(cell) for cell in cells[0])
    assert not any(begins_a_formula(part.lstrip('"')) for part in parts(line.removesuffix("\r\n")))


@given(st.text(alphabet=st.characters(exclude_categories=())) | st.text(alphabet="=+-@;,|\t\n'\" a1"))
def test_whatever_stands_in_a_log(value: str) -> None:
    cell = sheet.cell(value)
    assert cell.isprintable()
    assert not begins_a_formula(cell)
    assert not any(begins_a_formula(part) for part in parts(cell))
    assert rows(sheet._row(["x", cell])) == [["x", cell]]


@pytest.mark.parametrize("value", ["training", "2026-03-02T08:30:00.000+00:00", "1 of 2", "ж", "a=b", "a-b", "x + y"])
def test_what_is_harmless_stays_as_it_is(value: str) -> None:
    assert sheet.cell(value) == value


def test_numbers_stay_numbers() -> None:
    assert sheet.cell(-250) == "-250"
    assert sheet.cell(0) == "0"
    assert sheet.cell(None) == ""


def test_one_row_for_each_decision(written: tuple[SmallSite, Book]) -> None:
    site, page = written
    found = facts(place_of(site.settings))
    data = sheet.header() + b"".join(sheet.row(call) for call in found)
    header, *cells = rows(data)
    assert header == list(sheet.COLUMNS)
    by_call = {row[header.index("call")]: dict(zip(header, row, strict=True)) for row in cells}
    assert by_call.keys() == set(page.calls.values())

    kept = by_call[page.calls["kept"]]
    assert (kept["outcome"], kept["consent_now"], kept["recording"]) == ("granted", "given", "ended")
    assert kept["answers"] == "training: granted key 1 1250 ms; quality: granted key 1 1250 ms"
    assert (kept["answered_after_ms"], kept["retention_days"], kept["recording_ms"]) == ("1250", "30", "61250")
    assert kept["erase_due"] == "2026-04-01T08:32:21.250+00:00"
    assert kept["caller"] == "00112233445566778899aabbccddeeff"
    assert kept["leaf_sha256"] == page_leaf(site, kept["sequence"])

    refused = by_call[page.calls["refused"]]
    assert (refused["consent_now"], refused["caller"], refused["caller_is"]) == ("refused", "", "withheld")
    assert refused["recording_sha256"] == ""
    assert by_call[page.calls["withdrawn"]]["withdrawn_at"] == "2026-03-03T09:43:02.500+00:00"
    assert by_call[page.calls["expired"]]["consent_now"] == "expired"
    assert by_call[page.calls["void"]]["route"] == "unrecorded"
    assert by_call[page.calls["hung-up"]]["segments_heard"] == "2 of 10"


def page_leaf(site: SmallSite, sequence: str) -> str:
    """The hash of an event's leaf, from the hash that the next event has of it."""
    with closing(sqlite3.connect(place_of(site.settings).path)) as connection:
        (found,) = connection.execute("SELECT previous FROM events WHERE sequence = ?", (int(sequence) + 1,)).fetchone()
    return bytes(found).hex()


def test_every_column_of_a_hostile_call_is_harmless(written: tuple[SmallSite, Book]) -> None:
    """Every text of a call is the attack."""
    site, page = written
    call = by_name(page, facts(place_of(site.settings)))["kept"]
    for attack in ATTACKS:
        hostile = poisoned(call, attack)
        line = sheet.row(hostile).decode()
        (cells,) = rows(line.encode())
        texts = [cell for cell in cells if not re.fullmatch(r"-?\d+", cell)]
        assert not any(begins_a_formula(cell) for cell in texts), attack
        assert line.removesuffix("\r\n").isprintable()


def test_the_columns_are_documented() -> None:
    text = (ROOT / "docs" / "exports.md").read_text()
    section = text[text.index("## The table") : text.index("## Consent records")]
    documented = re.findall(r"^\| `([a-z0-9_]+)` \|", section, flags=re.MULTILINE)
    assert documented == list(sheet.COLUMNS)
