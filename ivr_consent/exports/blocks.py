"""What a report is made of, whatever it is shown as: headings, sentences, tables, plots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Heading:
    """A section begins."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """``caption`` says what it shows. The first column names its row; those in ``words`` are text, others numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Bars:
    """Stacked bars. ``series``: by outcome, a number for each of ``labels``. ``shares``: as parts of 100 %, lying."""

    title: str
    alternative: str
    labels: tuple[str, ...]
    series: tuple[tuple[str, tuple[int, ...]], ...]
    shares: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """How answers spread over time: two histograms in the same spans of ``width_ms``, and their medians (ms)."""

    title: str
    alternative: str
    width_ms: int
    series: tuple[tuple[str, tuple[int, ...], int | None], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """How many are still there after each of ``labels``, in percent of all, for each of ``series``."""

    title: str
    alternative: str
    labels: tuple[str, ...]
    shares: tuple[float, ...]


Plot = Bars | Spread | Curve
Block = Heading | Paragraph | Table | Bars | Spread | Curve


@dataclass(frozen=True, slots=True)
class Evidence:
    """The state of the log: its size, its end, and what its verification said.

    ``good``: ``None`` when it was not verified, or not all of it could be. ``findings``: level and sentence.
    """

    log: str
    size: int
    pruned: int
    checkpoint_size: int | None
    checkpoint_time: str | None
    checkpoint_root: str | None
    verified: str
    good: bool | None
    findings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """What the report is about. ``None``: no limit. Times as on the command line, UTC."""

    since: str | None
    until: str | None
    line: str | None
    made_at: datetime
    software: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it, in the order of reading."""

    title: str
    facts: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]
