"""A clock that is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

NEW_YEAR: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Clock:
    """Stands still until it is moved. What takes a clock calls it for the time, in UTC."""

    now: datetime = NEW_YEAR

    def __call__(self) -> datetime:
        return self.now

    def move(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """Go on, or back; the new time."""
        self.now += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self.now
