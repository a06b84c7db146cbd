"""A call as a picture: prompts and windows as bars, keys, what was logged, and when a recorder ran. SVG, no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from ivr_consent.testing.verdict import LASTING, Moment, Verdict, Who, seconds, timeline

WIDTH: Final = 1200
LEFT: Final = 110
"""Pixels left of time 0, for the names of the rows."""

ROW: Final = 46
TOP: Final = 64
ROWS: Final = ("hears", "presses", "log", "recorder", "switch")
COLOURS: Final = {"play": "#9ecae1", "window": "#fdd0a2", "record": "#e5646e", "press": "#31507a"}
LETTER: Final = 6.2
"""Pixels of a letter of 11 pixels, roughly: what does not fit into a bar is left out of it, and stands in its title."""

TICKS: Final = 12
_STEPS: Final = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000)


def picture(verdict: Verdict) -> str:
    """The SVG of a call that was played."""
    assert verdict.seen is not None
    moments = timeline(verdict.seen)
    end = max((1, *(moment.ended_ms for moment in moments)))
    height = TOP + ROW * len(ROWS) + 40 + 16 * len(verdict.wrong)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{_text(verdict.scenario.name)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _label(10, 22, f"{verdict.scenario.name}: {verdict.scenario.summary}", size=15),
        _label(
            10,
            42,
            f"{verdict.result} on {verdict.on}: {verdict.seen.outcome} ({verdict.seen.reason}), "
            f"{verdict.seen.route} line, {seconds(end)} s",
        ),
        *_scale(end),
        *_recorder(moments, end),
        *(part for moment in moments for part in _moment(moment, end)),
        *(
            _label(10, height - 16 * number - 8, f"wrong: {one}", fill="#b00020")
            for number, one in enumerate(reversed(verdict.wrong))
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(at_ms: int, end: int) -> float:
    return round(LEFT + (WIDTH - LEFT - 20) * at_ms / end, 1)


def _y(row: str) -> int:
    return TOP + ROW * ROWS.index(row)


def _scale(end: int) -> Iterator[str]:
    step = next((step for step in _STEPS if end / step <= TICKS), _STEPS[-1])
    bottom = TOP + ROW * len(ROWS)
    for row in ROWS:
        yield _label(10, _y(row) + 26, row)
        yield f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{_y(row)}" y2="{_y(row)}" stroke="#ddd"/>'
    for at in range(0, end + 1, step):
        yield f'<line x1="{_x(at, end)}" x2="{_x(at, end)}" y1="{TOP}" y2="{bottom}" stroke="#eee"/>'
        yield _label(_x(at, end) + 2, bottom + 14, f"{at / 1000:g} s", fill="#666")


def _recorder(moments: tuple[Moment, ...], end: int) -> Iterator[str]:
    """From its start to its stop, or to the end and beyond."""
    began: int | None = None
    for moment in (*moments, Moment(end, end, Who.RECORDER, "", "stop")):
        if moment.event == "record":
            began = moment.at_ms
        elif moment.event == "stop" and began is not None:
            yield _bar(began, moment.at_ms, end, "recorder", "record", "the recorder runs")
            began = None


def _moment(moment: Moment, end: int) -> Iterator[str]:
    kind, _, about = moment.event.partition(" ")
    title = f"{seconds(moment.at_ms)} {moment.who.value} {moment.what}"
    if kind in LASTING:
        yield _bar(moment.at_ms, moment.ended_ms, end, "hears", kind, title, about if kind == "play" else f"? {about}")
    elif moment.who is Who.CALLER:
        x, y = _x(moment.at_ms, end), _y("presses") + 22
        yield f'<circle cx="{x}" cy="{y}" r="10" fill="{COLOURS["press"]}"><title>{_text(title)}</title></circle>'
        yield _label(x, y + 4, about if kind == "press" else "×", fill="white", anchor="middle")
    else:
        row = {Who.LOG: "log", Who.RECORDER: "recorder"}.get(moment.who, "switch")
        x, y = _x(moment.at_ms, end), _y(row)
        line = f'<line x1="{x}" x2="{x}" y1="{y + 4}" y2="{y + ROW - 4}" stroke="#333">'
        yield f"{line}<title>{_text(title)}</title></line>"
        right = x < WIDTH - 200
        if moment.who is not Who.RECORDER and not moment.event.startswith("note"):
            yield _label(x + (4 if right else -4), y + 18, moment.event, anchor="start" if right else "end")


def _bar(began: int, ended: int, end: int, row: str, kind: str, title: str, text: str = "") -> str:
    x, width = _x(began, end), max(1.0, round(_x(ended, end) - _x(began, end) - 1, 1))
    y = _y(row) + 8
    room = int((width - 6) / LETTER)
    shown = text if len(text) <= room else f"{text[: room - 1]}…" if room > 3 else ""
    bar = f'<rect x="{x}" y="{y}" width="{width}" height="{ROW - 16}" rx="3" fill="{COLOURS[kind]}">'
    return f"{bar}<title>{_text(title)}</title></rect>" + (_label(x + 3, y + 19, shown) if shown else "")


def _label(x: float, y: float, text: str, *, size: int = 11, fill: str = "#111", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}">{_text(text)}</text>'


def _text(text: str) -> str:
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))
