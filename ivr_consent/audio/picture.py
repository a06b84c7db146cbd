"""A picture of a notice: its waveform in rows, with each prompt, the elements it covers, and a question's parts.

SVG from data, without any look at a disk or a clock: the same data gives the same bytes. It holds no script and refers
to nothing outside itself, is readable on light and dark paper, and says in words what it shows.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

COLUMNS_PER_SECOND: Final = 32
"""Of a waveform: one for each unit of the picture's width, so that 90 s take some 60 kB."""

_ROW_S: Final = 30  # seconds in a row
_MARGIN: Final = 16
_WIDTH: Final = _ROW_S * COLUMNS_PER_SECOND + 2 * _MARGIN
_HEAD: Final = 64  # above the first row: the title, and how to read the picture
_ROW: Final = 176
_IDS, _ELEMENTS, _WAVE, _MIDDLE, _BAND, _AXIS, _TIMES = 14, 30, 38, 78, 122, 144, 160
"""Heights within a row: two lines of labels, the waveform, its middle, a question's parts, the axis and its times."""
_HALF: Final = 40.0  # height of a full-scale sample
_BAND_HEIGHT: Final = 18
_LETTER: Final = 6.8  # width of a letter at 12 units, rather more than less

_LIGHT: Final = {
    ".paper": "fill:#ffffff",
    "text": "fill:#1b1f24",
    ".faint": "fill:#57606a",
    ".even": "fill:#f3f5f8",
    ".odd": "fill:#e6eaf0",
    ".wave": "stroke:#1f5c99",
    ".rule": "stroke:#8c959f",
    ".mark": "stroke:#1b1f24",
    ".part": "fill:#d0d7de",
    ".yes": "fill:#a6e0b4",
    ".no": "fill:#ffd0a1",
}
_DARK: Final = {
    ".paper": "fill:#0d1117",
    "text": "fill:#e6edf3",
    ".faint": "fill:#9da7b3",
    ".even": "fill:#161b22",
    ".odd": "fill:#212830",
    ".wave": "stroke:#79b8ff",
    ".rule": "stroke:#6e7681",
    ".mark": "stroke:#e6edf3",
    ".part": "fill:#3d444d",
    ".yes": "fill:#1f6b35",
    ".no": "fill:#8a4b10",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a question (``yes``, ``no``, …), in seconds from the question's own beginning."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """One prompt of the picture. ``outline`` is the lowest and highest 16-bit sample of equal pieces of it.

    ``choice`` is how many seconds callers have for a key after it, 0 when it asks nothing.
    """

    id: str
    text: str
    elements: tuple[int, ...]
    seconds: float
    outline: Sequence[tuple[int, int]]
    parts: tuple[Part, ...] = ()
    choice: int = 0


def clock(seconds: float) -> str:
    """A time as ``m:ss.t``."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def picture(title: str, stretches: Sequence[Stretch]) -> str:
    """An SVG document of prompts that are played one after another."""
    begins, length = _begins(stretches)
    rows = max(_row(length, end=True) + 1, 1)
    height = _HEAD + rows * _ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="picture-title picture-desc" '
        f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
        f'<title id="picture-title">{_plain(title)}</title>',
        f'<desc id="picture-desc">{_plain(_description(stretches))}</desc>',
        f"<style>{_style()}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="{_MARGIN}" y="26">{_plain(_fit(title, _WIDTH - 2 * _MARGIN, 1.4))}</text>',
        _text("faint", _MARGIN, 46, "Above the sound: each prompt, and the numbers of the mandatory elements in it."),
    ]
    for number, (begin, stretch) in enumerate(zip(begins, stretches, strict=True)):
        lines += _stretch(stretch, begin, "odd" if number % 2 else "even")
    for row in range(rows):
        lines += _axis(row, min(length - row * _ROW_S, _ROW_S))
    return "\n".join([*lines, "</svg>", ""])


def _begins(stretches: Sequence[Stretch]) -> tuple[list[float], float]:
    """When each begins, and when the last one ends: to the microsecond, so that sums do not miss the end of a row."""
    begins, at = [], 0.0
    for stretch in stretches:
        begins.append(at)
        at = round(at + stretch.seconds, 6)
    return begins, at


def _description(stretches: Sequence[Stretch]) -> str:
    begins, length = _begins(stretches)
    told = [f"Waveform of {len(stretches)} prompts, {clock(length)} in all."]
    for begin, stretch in zip(begins, stretches, strict=True):
        parts = ", ".join(f"{p.name} {clock(begin + p.begin)} to {clock(begin + p.end)}" for p in stretch.parts)
        told.append(
            f"{stretch.id}: {clock(begin)} to {clock(begin + stretch.seconds)}"
            + (f", elements {_numbers(stretch.elements)}" if stretch.elements else "")
            + (f" ({parts})" if parts else "")
            + (f", then {stretch.choice} s for a key." if stretch.choice else ".")
        )
    return " ".join(told)


def _stretch(stretch: Stretch, begin: float, shade: str) -> Iterator[str]:
    """One prompt as a group: its ground, its waveform, its parts, and a mark where it begins."""
    end = round(begin + stretch.seconds, 6)
    pieces = list(_pieces(begin, end))
    yield '<g class="segment">'
    yield f"<title>{_plain(f'{stretch.id}, {clock(begin)} to {clock(end)}: {stretch.text}')}</title>"
    for row, left, right in pieces:
        yield _rect(shade, row, left, right, _WAVE, 2 * _HALF)
    if stretch.outline:
        yield f'<path class="wave" d="{_wave(stretch, begin)}"/>'
    for part in stretch.parts:
        kind = f"part {part.name}" if part.name in ("yes", "no") else "part"
        for row, left, right in _pieces(begin + part.begin, begin + part.end):
            yield _rect(kind, row, left, right, _BAND, _BAND_HEIGHT)
            yield _label("small", left + 3, row, _BAND + 13, part.name, right - left - 4)
    widest = max(range(len(pieces)), key=lambda turn: pieces[turn][2] - pieces[turn][1], default=0)
    for turn, (row, left, right) in enumerate(pieces):
        room = right - left - 6
        # bold letters are wider
        yield _label("id", left + 4, row, _IDS, stretch.id if turn == 0 else f"… {stretch.id}", room / 1.1)
        if turn == 0:
            yield f'<path class="mark" d="M{left:.1f} {_top(row) + 2}V{_top(row) + _MIDDLE + _HALF:.0f}"/>'
        if turn == widest:
            yield _label("elements", left + 4, row, _ELEMENTS, _numbers(stretch.elements), room)
        if stretch.choice and turn == len(pieces) - 1:
            yield f'<path class="mark choice" d="M{right:.1f} {_top(row) + _IDS + 4}V{_top(row) + _AXIS}"/>'
            taken = _LETTER * (len(_numbers(stretch.elements)) + 2) if turn == widest else 0
            told = _fit(f"then a key: {stretch.choice} s", room - taken)
            yield _text("small end", right - 4, _top(row) + _ELEMENTS, told)
    yield "</g>"


def _wave(stretch: Stretch, begin: float) -> str:
    step = stretch.seconds / len(stretch.outline)
    drawn = []
    for number, (lowest, highest) in enumerate(stretch.outline):
        at = begin + (number + 0.5) * step
        middle = _top(_row(at)) + _MIDDLE
        upper, lower = (middle - _HALF * min(max(value / 32768, -1), 1) for value in (highest, lowest))
        drawn.append(f"M{_x(at):.1f} {upper:.1f}V{max(lower, upper + 0.6):.1f}")
    return "".join(drawn)


def _axis(row: int, seconds: float) -> Iterator[str]:
    """The time axis of a row: a tick each second, a time each five."""
    y, ticks = _top(row) + _AXIS, []
    for second in range(int(seconds) + 1):
        ticks.append(f"M{_MARGIN + second * COLUMNS_PER_SECOND} {y}v{6 if second % 5 == 0 else 3}")
    yield f'<path class="rule" d="M{_MARGIN} {y}H{_MARGIN + seconds * COLUMNS_PER_SECOND:.1f}{"".join(ticks)}"/>'
    for second in range(0, int(seconds) + 1, 5):
        if second < _ROW_S:  # the next row begins with it
            at = row * _ROW_S + second
            kind = "small faint" if second == 0 else "small faint middle"
            yield _text(kind, _MARGIN + second * COLUMNS_PER_SECOND, y + 18, f"{at // 60}:{at % 60:02d}")


# --- places ------------------------------------------------------------------------------------------------------


def _row(at: float, *, end: bool = False) -> int:
    """The row of a time; what ends where a row ends is still in that row."""
    row = int(at // _ROW_S)
    return row - 1 if end and row and at == row * _ROW_S else row


def _x(at: float, *, end: bool = False) -> float:
    return _MARGIN + (at - _row(at, end=end) * _ROW_S) * COLUMNS_PER_SECOND


def _top(row: int) -> int:
    return _HEAD + row * _ROW


def _pieces(begin: float, end: float) -> Iterator[tuple[int, float, float]]:
    """Row, left and right of what a stretch of time takes in each row."""
    last = _row(end, end=True)
    for row in range(_row(begin), last + 1):
        left = _x(begin) if row == _row(begin) else float(_MARGIN)
        yield row, left, _x(end, end=True) if row == last else float(_WIDTH - _MARGIN)


# --- text --------------------------------------------------------------------------------------------------------


def _numbers(elements: Sequence[int]) -> str:
    return ", ".join(map(str, elements))


def _fit(text: str, room: float, size: float = 1.0) -> str:
    """As much of a text as there is room for."""
    letters = int(room / (_LETTER * size))
    return text if len(text) <= letters else text[: letters - 1] + "…" if letters > 1 else ""


def _label(kind: str, x: float, row: int, y: int, text: str, room: float) -> str:
    return _text(kind, x, _top(row) + y, _fit(text, room))


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.0f}">{_plain(text)}</text>'


def _rect(kind: str, row: int, left: float, right: float, y: int, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{_top(row) + y}" '
        f'width="{max(right - left, 0.1):.1f}" height="{height:.0f}"/>'
    )


def _plain(text: str) -> str:
    """A text as it may stand in XML: what is not printable (controls, changes of direction) shown by its number."""
    shown = (c if c.isprintable() else f"\\u{{{ord(c):04x}}}" for c in text)
    return html.escape("".join(shown), quote=True)


def _style() -> str:
    fixed = (
        "text{font:12px ui-sans-serif,system-ui,sans-serif}.title{font-size:17px;font-weight:600}"
        ".id{font-weight:600}.small{font-size:11px}.end{text-anchor:end}.middle{text-anchor:middle}"
        "path{fill:none;stroke-width:1}.choice{stroke-dasharray:3 3}"
    )
    light, dark = ("".join(f"{name}{{{value}}}" for name, value in colours.items()) for colours in (_LIGHT, _DARK))
    return f"{fixed}{light}@media (prefers-color-scheme:dark){{{dark}}}"
