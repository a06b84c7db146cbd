"""Names of the forms of an export; apart, so that the command line knows them at once."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    CSV = "csv"
    RECORDS = "27560"
    VCON = "vcon"
