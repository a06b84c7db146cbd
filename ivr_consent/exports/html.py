"""A report as one HTML file: nothing is loaded, nothing runs, and all that comes from a log is escaped."""

from __future__ import annotations

import html
from typing import Final

from ivr_consent.exports.blocks import Bars, Curve, Heading, Paragraph, Report, Spread, Table
from ivr_consent.exports.plots import as_svg
from ivr_consent.exports.text import printable

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Styles alone: no script, no picture, no font and no address outside of the file."""

LONG: Final = 40
"""Letters of a cell that may be broken into lines."""

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #22282d; background: #fff; margin: 0; }
main { max-width: 56rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.6rem; padding-top: 0.6rem; border-top: 2px solid #22282d; }
p { max-width: 44rem; margin: 0.6rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1.25rem; margin: 0 0 1rem; }
dt { color: #59636b; }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1.2rem 0 0.4rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { font-weight: 600; margin-bottom: 0.3rem; }
.scroll { overflow-x: auto; margin: 1rem 0 1.4rem; }
table { border-collapse: collapse; font-size: 0.88rem; min-width: 60%; }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; font-size: 1rem; }
th, td { padding: 0.28rem 0.55rem; border-bottom: 1px solid #d5dade; text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
thead th { border-bottom: 2px solid #59636b; vertical-align: bottom; }
th { font-weight: 600; }
tbody th { font-weight: 400; }
th, td { white-space: nowrap; }
thead th { white-space: normal; }
.word { text-align: left; }
.long { white-space: normal; overflow-wrap: anywhere; }
svg text { font-family: "DejaVu Sans", Verdana, sans-serif !important; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  figure, tr, caption { break-inside: avoid; }
  h2, caption, figcaption { break-after: avoid; }
  .scroll { overflow: visible; }
}
"""


def page(report: Report) -> bytes:
    """The whole file."""
    parts = [
        "<!DOCTYPE html>\n",
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{_text(POLICY)}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="referrer" content="no-referrer">\n',
        f"<title>{_text(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n",
        f"<h1>{_text(report.title)}</h1>\n<dl>\n",
        *(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>\n" for name, value in report.facts),
        "</dl>\n",
    ]
    for number, block in enumerate(report.blocks):
        match block:
            case Heading():
                parts.append(f"<h2>{_text(block.text)}</h2>\n")
            case Paragraph():
                parts.append(f"<p>{_text(block.text)}</p>\n")
            case Table():
                parts.append(_table(block))
            case Bars() | Spread() | Curve():
                parts.append(_figure(block, number))
    parts.append("</main>\n</body>\n</html>\n")
    return "".join(parts).encode("utf-8")


def _table(table: Table) -> str:
    def cell(at: int, value: str, tag: str, scope: str = "") -> str:
        kinds = [name for name, holds in (("word", at in table.words), ("long", len(value) > LONG)) if holds]
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        return f"<{tag}{scope}{kind}>{_text(value)}</{tag}>"

    head = "".join(cell(at, name, "th", ' scope="col"') for at, name in enumerate(table.columns))
    rows = "".join(
        "<tr>"
        + cell(0, row[0], "th", ' scope="row"')
        + "".join(cell(at, value, "td") for at, value in enumerate(row[1:], 1))
        + "</tr>\n"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table>\n<caption>{_text(table.caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _figure(plot: Bars | Spread | Curve, number: int) -> str:
    """A plot with its text alternative, which readers of the screen speak in its place."""
    drawn = as_svg(plot)
    begin, rest = drawn[: len("<svg")], drawn[len("<svg") :]
    opening, body = rest.split(">", 1)
    named = f'{begin} role="img" aria-labelledby="plot-{number}"{opening}>'
    title = f'<title id="plot-{number}">{_text(plot.alternative)}</title>'
    return f"<figure>\n<figcaption>{_text(plot.title)}</figcaption>\n{named}{title}{body}\n</figure>\n"


def _text(value: str) -> str:
    """Text of a page: nothing of it is a tag, a letter that is not seen, or a change of direction."""
    return html.escape(printable(value))
