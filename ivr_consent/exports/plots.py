"""Plots of a report, drawn with matplotlib: as SVG for a page, as PNG for print.

Bars differ by pattern as well as by colour, lines by their dashes: nobody needs to tell colours apart. Text stays text
in SVG. What stands in a label comes from a log: it is never read as mathematics, and has no letter without a glyph.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import textwrap
from pathlib import Path
from typing import Any, Final

from ivr_consent.core.errors import ConsentError
from ivr_consent.exports.blocks import Bars, Curve, Plot, Spread
from ivr_consent.exports.report import LABELS
from ivr_consent.exports.text import printable

MISSING: Final = (
    "the report needs packages that are not installed here (matplotlib, fpdf2); install them: "
    "pip install 'ivr-consent[report]'"
)

WIDTH_IN: Final = 7.2
DPI: Final = 200
MAX_LABEL: Final = 44

STYLES: Final = {
    "granted": ("#1f6f8b", ""),
    "declined": ("#e9a03b", "//"),
    "no_answer": ("#b9c0c6", ""),
    "invalid": ("#8d99a3", "--"),
    "abandoned": ("#d9dde0", "\\\\"),
    "failed": ("#a63d40", "xx"),
    "unknown": ("#000000", ""),
}
"""Colour and pattern of each outcome."""

INK: Final = "#22282d"
GRID: Final = "#d5dade"

_ID: Final = re.compile(r' id="([^"]*)"')
_REFERENCE: Final = re.compile(r'(?:href="|url\()#([^")]+)')

_SETTINGS: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": "#7a848c",
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
}


def check() -> None:
    """Raises :class:`ConsentError` where the packages for a report are not installed."""
    for package in ("matplotlib", "fpdf"):
        if importlib.util.find_spec(package) is None:
            raise ConsentError(MISSING)


def font(style: str = "") -> Path:
    """A font file with the letters of Europe's languages, which matplotlib brings along: ``""``, ``-Bold``, …"""
    return Path(_matplotlib().get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{style}.ttf"


def as_svg(plot: Plot) -> str:
    """A plot as an SVG element, to stand in a page."""
    text = _drawn(plot, "svg").decode("utf-8")
    text = text[text.index("<svg") :].strip()
    used = set(_REFERENCE.findall(text))  # the other ids would stand in each plot of the page
    return _ID.sub(lambda found: found[0] if found[1] in used else "", text)


def as_png(plot: Plot) -> bytes:
    """A plot as a picture for print."""
    return _drawn(plot, "png")


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ConsentError(MISSING) from None
    return mpl


def _drawn(plot: Plot, form: str) -> bytes:
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to load

    salt = hashlib.sha256(repr(plot).encode("utf-8", "replace")).hexdigest()[:12]
    with matplotlib.rc_context(
        {**_SETTINGS, "svg.hashsalt": salt}
    ):  # the same plot has the same bytes, no other its ids
        figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
        match plot:
            case Bars():
                _bars(figure, plot)
            case Spread():
                _spread(figure, plot)
            case Curve():
                _curve(figure, plot)
        file = io.BytesIO()
        metadata = (
            {"Date": None, "Creator": None, "Format": None, "Type": None} if form == "svg" else {"Software": None}
        )
        figure.savefig(file, format=form, dpi=DPI, metadata=metadata)
    return file.getvalue()


def _bars(figure: Any, plot: Bars) -> None:
    if plot.shares:
        figure.set_size_inches(WIDTH_IN, 0.75 + 0.36 * max(2, len(plot.labels)))
    axes = figure.subplots()
    places = list(range(len(plot.labels)))
    totals = [sum(values[at] for _, values in plot.series) for at in places]
    below = [0.0] * len(places)
    for name, values in plot.series:
        colour, hatch = STYLES[name]
        heights = [100 * v / t if t else 0.0 for v, t in zip(values, totals, strict=True)] if plot.shares else values
        style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4, "label": LABELS[name]}
        if plot.shares:
            axes.barh(places, heights, left=below, height=0.68, **style)
            _inside(axes, places, heights, below, dark=name in ("granted", "failed", "unknown"))
        else:
            axes.bar(places, heights, bottom=below, width=0.82, **style)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    if plot.shares:
        axes.set_yticks(places, [shown(label) for label in plot.labels])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("percent of calls (number of calls in brackets)")
    else:
        step = -(-len(places) // 8)
        axes.set_xticks(places[::step], [shown(label) for label in plot.labels[::step]], rotation=0)
        axes.set_ylabel("calls")
        axes.set_ylim(0, 1.06 * max(totals))
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    _legend(figure)


def _inside(axes: Any, places: list[int], widths: Any, begins: list[float], *, dark: bool) -> None:
    """The percentage in each part that has room for it."""
    for place, width, begin in zip(places, widths, begins, strict=True):
        if width >= 7:
            box = (
                None
                if dark
                else {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
            )
            axes.text(
                begin + width / 2,
                place,
                f"{width:.0f} %",
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if dark else INK,
                bbox=box,
            )


def _spread(figure: Any, plot: Spread) -> None:
    axes = figure.subplots()
    looks = (("#1f6f8b", "-"), ("#b86f00", "--"))
    for (name, counts, median), (colour, line) in zip(plot.series, looks, strict=True):
        total = sum(counts)
        if not total:
            continue
        edges = [at * plot.width_ms / 1000 for at in range(len(counts) + 1)]
        shares = [100 * count / total for count in counts]
        axes.stairs(shares, edges, color=colour, linestyle=line, linewidth=1.5, label=f"{name} ({total})", fill=False)
        if median is not None:
            axes.axvline(median / 1000, color=colour, linestyle=line, linewidth=0.9, alpha=0.8)
            axes.annotate(
                f"half of {name}: {median / 1000:.1f} s",
                (median / 1000, 1.0 if name == "yes" else 0.9),
                xycoords=("data", "axes fraction"),
                xytext=(4, -3),
                textcoords="offset points",
                va="top",
                fontsize=7.5,
                color=colour,
            )
    axes.set_xlim(0, None)
    axes.set_ylim(
        0, 1.35 * max((max(counts) / sum(counts) for _, counts, _ in plot.series if sum(counts)), default=1) * 100
    )
    axes.set_xlabel("seconds from the end of the question to the key")
    axes.set_ylabel("percent of answers")
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    _legend(figure)


def _curve(figure: Any, plot: Curve) -> None:
    count = len(plot.labels)
    axes = figure.subplots()
    edges = list(range(count + 1))
    axes.stairs(list(plot.shares), edges, baseline=None, color="#1f6f8b", linewidth=1.6)
    axes.plot([at + 0.5 for at in range(count)], plot.shares, "o", color="#1f6f8b", markersize=3)
    low = min(plot.shares)
    floor = 0 if low < 60 else 5 * int((low - 5) // 5)
    axes.set_ylim(floor, 100)
    axes.set_xlim(0, count)
    wide = count > 6
    axes.set_xticks(
        [at + 0.5 for at in range(count)],
        [shown(label, 24) for label in plot.labels],
        rotation=35 if wide else 0,
        ha="right" if wide else "center",
        fontsize=7.5,
    )
    for at, share in enumerate(plot.shares):
        axes.annotate(
            f"{share:.1f}", (at + 0.5, share), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=7
        )
    axes.set_ylabel("percent still there")
    if floor:
        axes.set_xlabel(f"the axis of percent begins at {floor}")
    axes.grid(axis="y", color=GRID, linewidth=0.6)


def _legend(figure: Any) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize=8, handlelength=1.8
        )


def shown(label: str, width: int = MAX_LABEL) -> str:
    """A label of one line that the font can draw: a letter that it has not is written as its number."""
    text = printable(label)
    text = "".join(character if ord(character) in _glyphs() else f"U+{ord(character):04X}" for character in text)
    return textwrap.shorten(text, width, placeholder="…") if len(text) > width and " " in text else text[:width]


_known: dict[str, frozenset[int]] = {}


def _glyphs() -> frozenset[int]:
    if "" not in _known:
        from matplotlib.ft2font import FT2Font  # noqa: PLC0415 - an extra

        _known[""] = frozenset(FT2Font(str(font())).get_charmap())
    return _known[""]
