"""A report as PDF, with fpdf2: text, tables and plots with their alternatives; letters of Europe's languages.

Its fonts are those that matplotlib brings along. A letter that they have not is written as its number.
"""

from __future__ import annotations

import io
from typing import Any, Final

from ivr_consent.core.errors import ConsentError
from ivr_consent.exports.blocks import Bars, Curve, Heading, Paragraph, Report, Spread, Table
from ivr_consent.exports.plots import MISSING, as_png, font, shown

FAMILY: Final = "DejaVu"
MARGIN_MM: Final = 20
WIDTH_MM: Final = 170
"""Of the text on A4."""

LONGEST_CELL: Final = 60
INK: Final = (34, 40, 45)
SOFT: Final = (89, 99, 107)
LINE: Final = (213, 218, 222)


def document(report: Report) -> bytes:
    """The whole file. Raises :class:`ConsentError` where the packages for it are not installed."""
    pdf = _document(report)
    for block in report.blocks:
        match block:
            case Heading():
                _heading(pdf, block.text)
            case Paragraph():
                _paragraph(pdf, block.text)
            case Table():
                _table(pdf, block)
            case Bars() | Spread() | Curve():
                _figure(pdf, block)
    return bytes(pdf.output())


def _document(report: Report) -> Any:
    try:
        from fpdf import FPDF  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConsentError(MISSING) from None

    class Paper(FPDF):  # type: ignore[misc,unused-ignore]  # fpdf2 has types in some versions alone
        def footer(self) -> None:
            self.set_y(-14)
            self.set_font(FAMILY, size=8)
            self.set_text_color(*SOFT)
            self.cell(0, 5, f"{_text(report.title)}, page {self.page_no()} of {{nb}}", align="C")

    pdf = Paper(format="A4")
    pdf.set_margins(MARGIN_MM, MARGIN_MM, MARGIN_MM)
    pdf.set_auto_page_break(True, margin=20)
    for style, name in (("", ""), ("B", "-Bold")):
        pdf.add_font(FAMILY, style, font(name))
    pdf.set_title(_text(report.title))
    pdf.set_lang("en")
    pdf.set_creator("ivr-consent")
    pdf.set_text_color(*INK)
    pdf.add_page()
    pdf.set_font(FAMILY, "B", 20)
    pdf.multi_cell(0, 10, _text(report.title), new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)
    for name, value in report.facts:
        pdf.set_font(FAMILY, size=9.5)
        pdf.set_text_color(*SOFT)
        pdf.cell(22, 5.5, _text(name))
        pdf.set_text_color(*INK)
        pdf.multi_cell(0, 5.5, _text(value), new_x="LMARGIN", new_y="NEXT")
    return pdf


def _heading(pdf: Any, text: str) -> None:
    if pdf.will_page_break(60):  # a section's beginning stands with what it is about
        pdf.add_page()
    pdf.ln(6)
    pdf.set_draw_color(*INK)
    pdf.set_line_width(0.4)
    pdf.line(pdf.l_margin, pdf.get_y(), pdf.w - pdf.r_margin, pdf.get_y())
    pdf.ln(2)
    pdf.start_section(_text(text))
    pdf.set_font(FAMILY, "B", 14)
    pdf.multi_cell(0, 8, _text(text), new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)


def _paragraph(pdf: Any, text: str) -> None:
    pdf.set_font(FAMILY, size=9.5)
    pdf.multi_cell(0, 5, _text(text), new_x="LMARGIN", new_y="NEXT", align="L")
    pdf.ln(2)


def _figure(pdf: Any, plot: Bars | Spread | Curve) -> None:
    from PIL import Image  # noqa: PLC0415 - comes with the extra

    picture = as_png(plot)
    with Image.open(io.BytesIO(picture)) as image:
        height = WIDTH_MM * image.height / image.width
    if pdf.will_page_break(height + 10):
        pdf.add_page()
    pdf.set_font(FAMILY, "B", 10)
    pdf.multi_cell(0, 6, _text(plot.title), new_x="LMARGIN", new_y="NEXT")
    pdf.image(io.BytesIO(picture), w=WIDTH_MM, alt_text=_text(plot.alternative), title=_text(plot.title))
    pdf.ln(3)


def _table(pdf: Any, table: Table) -> None:
    from fpdf.enums import TableBordersLayout  # noqa: PLC0415 - an extra
    from fpdf.fonts import FontFace  # noqa: PLC0415 - an extra

    size = 8.5 if len(table.columns) <= 6 else 7.2
    if pdf.will_page_break(30):
        pdf.add_page()
    pdf.set_font(FAMILY, "B", 10)
    pdf.multi_cell(0, 6, _text(table.caption), new_x="LMARGIN", new_y="NEXT", align="L")
    pdf.set_font(FAMILY, size=size)
    pdf.set_draw_color(*LINE)
    pdf.set_line_width(0.2)
    align = tuple("LEFT" if at in table.words else "RIGHT" for at in range(len(table.columns)))
    with pdf.table(
        width=WIDTH_MM,
        col_widths=_widths(table),
        text_align=align,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="BOLD"),
        line_height=1.5 * pdf.font_size,
        padding=(0.6, 1.5),
    ) as drawn:
        for cells in (table.columns, *table.rows):
            row = drawn.row()
            for cell in cells:
                row.cell(_text(cell))
    pdf.ln(4)


def _widths(table: Table) -> tuple[float, ...]:
    """Wide enough for what is in them, within reason: relative to each other."""

    def longest(at: int) -> int:
        words = max((len(word) for word in table.columns[at].split()), default=1)
        cells = max((len(row[at]) for row in table.rows), default=1)
        return min(LONGEST_CELL, max(5, words, cells))

    return tuple(float(longest(at) + 2) for at in range(len(table.columns)))


def _text(value: str) -> str:
    return shown(value, max(len(value) * 8, 1))
