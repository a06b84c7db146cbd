"""Text of a log on its way to another program: anything may stand in any place of it, and nothing of it may act."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

MAX_TEXT: Final = 4096
"""Characters of one value; ours have a hundred."""

MAX_NUMBER: Final = 2**53
"""Whole numbers beyond it are no longer exact in spreadsheets and in many readers of JSON."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def plain(value: object, limit: int = MAX_TEXT) -> str:
    """Text that every reader of UTF-8 and JSON takes: no half characters, and no more of it than ``limit``."""
    if type(value) is str and len(value) <= limit and value.isascii():
        return value  # nearly all: this runs for every value of every event
    text = _SURROGATE.sub("\ufffd", str(value))
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def printable(value: object, limit: int = MAX_TEXT) -> str:
    """The same as one line, without a character that a program or a screen would act upon."""
    text = plain(value, limit)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


# --- values of a payload, by what they ought to be -------------------------------------------------------------------


def table(value: Any) -> Mapping[str, Any]:
    """A table, or an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any, limit: int = 100) -> list[Any]:
    """A list, not longer than ``limit``, or an empty one."""
    return value[:limit] if isinstance(value, list) else []


def texts(value: Any) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(plain(item) for item in items(value) if isinstance(item, str))


def text(value: Any) -> str | None:
    """A text, or ``None``."""
    return plain(value) if isinstance(value, str) else None


def number(value: Any) -> int | None:
    """A whole number of a size that occurs, or ``None``."""
    return value if type(value) is int and abs(value) < MAX_NUMBER else None


def flag(value: Any) -> bool:
    """Whether it says yes."""
    return value is True


def moment(value: Any) -> datetime | None:
    """A time in UTC, or ``None`` for what is none."""
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, TypeError, OverflowError):
        return None
