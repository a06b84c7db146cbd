"""The consent report: its numbers, its two forms, and that nothing of a log acts in them."""

from __future__ import annotations

import importlib.util
import logging
import re
import sqlite3
import tomllib
import xml.etree.ElementTree as ET
import zlib
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError
from ivr_consent.exports import html, pdf, plots
from ivr_consent.exports.blocks import Bars, Curve, Evidence, Heading, Paragraph, Report, Scope, Spread, Table
from ivr_consent.exports.calls import Calls, Noted, Selection
from ivr_consent.exports.evidence import evidence_of
from ivr_consent.exports.figures import Figures
from ivr_consent.exports.report import report
from ivr_consent.store.place import place_of
from ivr_consent.testing.plans import call_context
from tests.exports.support import PSEUDONYM, Book, decision
from tests.sites import SmallSite, flip

SCOPE = Scope(None, None, None, datetime(2026, 5, 1, 12, 30, tzinfo=UTC), "ivr-consent test")
EVIDENCE = Evidence("00ff", 12, 0, 12, "2026-03-02T08:30:00.000+00:00", "root=", "intact", True)
HOSTILE = "<script>alert(1)</script>&\"'$\\frac{1}{0}$ ]]>\u202e\x1b[2J Ærøskøbing Łódź \U0001f4a9"


@pytest.fixture
def made(written: tuple[SmallSite, Book]) -> Report:
    place = place_of(written[0].settings)
    figures = Figures()
    with Calls(place) as calls:
        figures.count(calls.events(Selection()))
        evidence = evidence_of(place, calls, verify=True)
    return report(figures, [evidence], SCOPE)


def hostile_report(manifest: Any) -> Report:
    """A log in which every text is an attack."""
    events = []
    for outcome in Outcome:
        payload = decision(call_context(), outcome, manifest, heard=2).payload()
        payload["notice"] |= {"id": HOSTILE, "language": HOSTILE}
        payload["reason"] = "hung_up_informing" if outcome is Outcome.ABANDONED else HOSTILE
        for segment in payload["notice"]["segments"]:
            segment["id"] = HOSTILE
        events.append(Noted(1, "2026-03-02T08:30:00.000+00:00", "decision", HOSTILE, outcome.value, payload))
    figures = Figures()
    figures.count(events)
    evidence = replace(EVIDENCE, log=HOSTILE, verified=HOSTILE, findings=((HOSTILE, HOSTILE),))
    return report(figures, [evidence], replace(SCOPE, line=HOSTILE))


def table_of(found: Report, caption: str) -> Table:
    (table,) = (block for block in found.blocks if isinstance(block, Table) and block.caption.startswith(caption))
    return table


def cells(found: Report, caption: str) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in table_of(found, caption).rows}


# --- what it tells ---------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_log(made: Report) -> None:
    outcomes = cells(made, "Outcomes of all calls")
    assert [outcomes[name][:2] for name in ("consented", "refused", "hung up")] == [
        ("5", "50.0 %"),
        ("1", "10.0 %"),
        ("1", "10.0 %"),
    ]
    summary = next(block.text for block in made.blocks if isinstance(block, Paragraph))
    assert summary.startswith("10 calls were decided. In 5 of them (50.0 %) the caller consented")
    assert "83.3 % said yes" in summary
    assert cells(made, "Outcomes by language")["en"][:2] == ("9", "4 (44.4 %)")
    assert cells(made, "Outcomes by notice version")["support: recording 1"][0] == "10"
    assert cells(made, "Time from the end of the question")["yes"] == ("10", "1.2 s", "1.2 s", "1.2 s", "1.2 s")
    around = cells(made, "Events in the period")
    assert around["consent withdrawn, the recording erased"] == ("1",)
    assert around["recordings erased because their days were over"] == ("1",)
    assert cells(made, "Failed calls by reason") == {"prompt_not_whole": ("1",)}


def test_where_callers_hang_up(made: Report) -> None:
    found = cells(made, "Hang-ups in support: recording 1 in en")
    assert found["before the notice"] == ("0", "9", "100.0 %")
    assert found["not-started"] == ("0", "9", "100.0 %")
    assert found["training-statement"] == ("1", "8", "88.9 %")
    assert found["waiting for the key"] == ("0", "8", "88.9 %")
    (curve,) = (block for block in made.blocks if isinstance(block, Curve))
    assert curve.labels[:3] == ("controller", "not-started", "training-statement")
    assert [round(share, 1) for share in curve.shares[:3]] == [100.0, 100.0, 88.9]


def test_the_state_of_the_evidence(made: Report) -> None:
    state = cells(made, "The log that this report is made of")
    assert state["events"] == ("33",)
    assert state["newest signed checkpoint"] == ("2026-04-02 09:48:03 UTC, over 33 events",)
    assert state["verification"] == ("intact, under the key that was published when the log began",)


def test_a_log_that_was_changed_is_told(written: tuple[SmallSite, Book]) -> None:
    place = place_of(written[0].settings)
    with closing(sqlite3.connect(place.path)) as connection, connection:
        connection.execute("DROP TRIGGER events_are_never_changed")
        connection.execute("UPDATE events SET outcome = 'granted' WHERE outcome = 'declined'")
    with Calls(place) as calls:
        evidence = evidence_of(place, calls, verify=True)
        unasked = evidence_of(place, calls, verify=False)
    assert (evidence.good, evidence.verified) == (False, "NOT INTACT")
    assert any(level == "wrong" for level, _ in evidence.findings)
    assert (unasked.good, unasked.verified) == (None, "not done for this report")
    found = report(Figures(), [evidence], SCOPE)
    assert any("cannot be relied on" in block.text for block in found.blocks if isinstance(block, Paragraph))
    assert len(table_of(found, "What the verification found").rows) >= 1


def test_a_log_without_its_key_is_not_called_intact(written: tuple[SmallSite, Book]) -> None:
    place = place_of(written[0].settings)
    place.sealing_key().public_path.unlink()
    with Calls(place) as calls:
        evidence = evidence_of(place, calls, verify=True)
    assert evidence.good is None
    assert "not everything could be verified" in evidence.verified


def test_a_damaged_log_is_told(written: tuple[SmallSite, Book]) -> None:
    place = place_of(written[0].settings)
    with Calls(place) as calls:
        size = place.path.stat().st_size
        for at in range(size // 3, size, 4096):
            flip(place.path, at)
        evidence = evidence_of(place, calls, verify=True)
    assert evidence.good is not True


def test_an_empty_period_is_a_report_too() -> None:
    found = report(Figures(), [EVIDENCE], replace(SCOPE, since="2026-01-01T00:00:00.000+00:00"))
    assert dict(found.facts)["Period"] == "no event of the log is in it"
    assert any("No call was decided" in block.text for block in found.blocks if isinstance(block, Paragraph))
    assert b"No call was decided" in html.page(found)
    assert pdf.document(found).startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("span", "unit", "bars", "first", "last"),
    [
        (1, "day", 1, "2026-03-04", "2026-03-04"),
        (62, "day", 62, "2026-03-04", "2026-05-04"),
        (63, "week", 10, "2026-03-02", "2026-05-04"),
        (435, "month", 15, "2026-03", "2027-05"),
        (2000, "year", 6, "2026", "2031"),
    ],
)
def test_bars_are_few_and_without_gaps(span: int, unit: str, bars: int, first: str, last: str) -> None:
    begin = date(2026, 3, 4)
    days = {begin, begin + timedelta(days=span - 1)}
    figures = Figures()
    figures.count(Noted(1, f"{day}T00:00:00.000+00:00", "decision", "x", "granted", {}) for day in days)
    (plot,) = (
        block for block in report(figures, [EVIDENCE], SCOPE).blocks if isinstance(block, Bars) and not block.shares
    )
    assert plot.title == f"Decisions for each {unit}"
    assert (len(plot.labels), plot.labels[0], plot.labels[-1]) == (bars, first, last)
    assert sum(sum(values) for _, values in plot.series) == len(days)


def test_it_names_no_person(made: Report, written: tuple[SmallSite, Book]) -> None:
    text = html.page(made).decode()
    assert PSEUDONYM not in text
    assert not any(call_id in text for call_id in written[1].calls.values())
    assert "1700000000.1" not in text


# --- as a page -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would find that matters here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def check_page(text: str) -> Page:
    """Nothing runs, nothing is loaded, every plot has its text."""
    page = Page(text)
    names = {name for name, _ in page.tags}
    assert not names & {
        "script",
        "iframe",
        "object",
        "embed",
        "link",
        "img",
        "image",
        "a",
        "form",
        "base",
        "foreignobject",
    }
    for name, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes), name
        for key in ("src", "href", "xlink:href", "data", "action"):
            assert (attributes.get(key) or "#").startswith("#"), (name, attributes)
    assert not re.search(r"url\((?!#)|@import", text)
    (policy,) = (one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy == html.POLICY
    assert "script" not in html.POLICY
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for plot in page.of("svg"):
        assert plot["role"] == "img"
        assert plot["aria-labelledby"] in ids
    assert len(page.of("caption")) == len(page.of("table"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.of("th"))
    return page


def test_a_page_stands_for_itself(made: Report) -> None:
    text = html.page(made).decode()
    page = check_page(text)
    assert page.of("html")[0]["lang"] == "en"
    plots_of = [block for block in made.blocks if isinstance(block, Bars | Spread | Curve)]
    assert len(page.of("svg")) == len(plots_of) == 6
    titles = re.findall(r"<title id=[^>]*>([^<]*)</title>", text)
    assert titles == [block.alternative.replace("%", "%") for block in plots_of]
    assert len(page.of("table")) == sum(isinstance(block, Table) for block in made.blocks)
    assert len(page.of("h2")) == sum(isinstance(block, Heading) for block in made.blocks)


def test_plots_are_well_formed_and_the_same_each_time(made: Report) -> None:
    for block in made.blocks:
        if isinstance(block, Bars | Spread | Curve):
            drawn = plots.as_svg(block)
            ET.fromstring(drawn)  # noqa: S314 - ours
            assert plots.as_svg(block) == drawn
            assert "<metadata" not in drawn


def test_a_label_is_no_mathematics() -> None:
    """It is drawn as it stands; as mathematics it would be nothing that can be read."""
    label = "$\\frac$ $x^2$"
    drawn = plots.as_svg(Bars("t", "a", (label,), (("granted", (1,)),), shares=True))
    assert label in drawn


def test_two_plots_share_no_ids(made: Report) -> None:
    drawn = [plots.as_svg(block) for block in made.blocks if isinstance(block, Bars | Spread | Curve)]
    ids = [set(re.findall(r' id="([^"]*)"', one)) for one in drawn]
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_patterns_and_words_tell_outcomes_apart_and_not_colours_alone() -> None:
    looks = [
        pattern for name, (_, pattern) in plots.STYLES.items() if name in ("declined", "invalid", "abandoned", "failed")
    ]
    assert len(set(looks)) == len(looks)
    assert "" not in looks


def test_a_hostile_log_is_text(site: SmallSite) -> None:
    (manifest,) = site.publish()
    found = hostile_report(manifest)
    text = html.page(found).decode()
    check_page(text)
    assert "<script" not in text
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "\u202e" not in text


# --- as a PDF --------------------------------------------------------------------------------------------------------


def streams(document: bytes) -> bytes:
    """All that stands in the file, unpacked."""
    found = [document]
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, flags=re.DOTALL):
        try:
            found.append(zlib.decompress(packed))
        except zlib.error:
            found.append(packed)
    return b"\n".join(found)


def test_a_pdf_has_its_plots_with_their_text(made: Report, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        document = pdf.document(made)
    assert document.startswith(b"%PDF-")
    assert document.rstrip().endswith(b"%%EOF")
    plots_of = [block for block in made.blocks if isinstance(block, Bars | Spread | Curve)]
    assert len(re.findall(rb"/Subtype /Image", document)) == len(plots_of)
    assert len(re.findall(rb"/Alt\b", streams(document))) == len(plots_of)
    assert re.search(rb"/Lang \(en", document)
    assert b"/JavaScript" not in document
    assert b"/URI" not in document
    assert caplog.records == []


def test_letters_of_europe_have_glyphs() -> None:
    for word in ("Ærøskøbing", "Åse", "Łódź", "Öljy", "Größe", "Ελλάδα", "Київ", "Ţară", "ő", "€ – “x”"):
        assert plots.shown(word, 100) == word


def test_what_has_no_glyph_is_its_number(caplog: pytest.LogCaptureFixture, site: SmallSite) -> None:
    (manifest,) = site.publish()
    with caplog.at_level(logging.WARNING):
        document = pdf.document(hostile_report(manifest))
    assert document.startswith(b"%PDF-")
    assert caplog.records == []
    assert plots.shown("\U00020000", 100) == "U+20000"


def test_a_report_needs_its_packages(made: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with what to install, before anything is read."""
    found = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == "fpdf" else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(ConsentError, match=re.escape("pip install 'ivr-consent[report]'")):
        plots.check()


def test_the_extra_is_declared() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[a-z0-9]+", one)[0] for one in project["optional-dependencies"]["report"]}  # type: ignore[index]  # every name matches
    assert names == {"matplotlib", "fpdf2"}
