"""Days of a report, gathered into as many bars as a reader can tell apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Final

MAX_BINS: Final = 62
"""Bars: days up to two months, else weeks, months or years."""


def binned(days: dict[date, Counter[str]]) -> tuple[str, list[tuple[str, Counter[str]]]]:
    """Days, weeks, months or years, whichever are few enough, without gaps."""
    first, last = min(days), max(days)
    span = (last - first).days + 1
    if span <= MAX_BINS:
        return "day", _filled(days, (first + timedelta(days=at) for at in range(span)), lambda day: day, "%Y-%m-%d")
    if span <= 7 * MAX_BINS:
        begin = first - timedelta(days=first.weekday())
        weeks = (begin + timedelta(days=7 * at) for at in range((last - begin).days // 7 + 1))
        return "week", _filled(days, weeks, lambda day: day - timedelta(days=day.weekday()), "%Y-%m-%d")
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    if months <= MAX_BINS:
        starts = (
            date(first.year + (first.month - 1 + at) // 12, (first.month - 1 + at) % 12 + 1, 1) for at in range(months)
        )
        return "month", _filled(days, starts, lambda day: day.replace(day=1), "%Y-%m")
    years = (date(year, 1, 1) for year in range(first.year, last.year + 1))
    return "year", _filled(days, years, lambda day: day.replace(month=1, day=1), "%Y")


def _filled(
    days: dict[date, Counter[str]], starts: Iterable[date], start_of: Callable[[date], date], form: str
) -> list[tuple[str, Counter[str]]]:
    found: dict[date, Counter[str]] = {start: Counter() for start in starts}
    for day, counts in days.items():
        found[start_of(day)].update(counts)
    return [(start.strftime(form), counts) for start, counts in found.items()]
