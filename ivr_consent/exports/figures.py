"""What a report tells, counted while the log is read once: memory is bounded whatever stands in the log."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from ivr_consent.core.decision import Outcome
from ivr_consent.exports.calls import Noted
from ivr_consent.exports.text import flag, items, number, printable, table, text

MAX_NAMES: Final = 200
"""Lines, languages, versions, reasons that are told apart; what comes after them is counted together."""

MAX_NAME: Final = 60
"""Characters of a name."""

MAX_DAYS: Final = 20_000
"""Days that are told apart: more than fifty years."""

MAX_SEGMENTS: Final = 60
"""Segments of one notice that are told apart."""

LONGEST_MS: Final = 60_000
"""Callers have at most 30 s for an answer; what is longer is counted as this."""

OTHERS: Final = "(others)"
NONE: Final = "-"

OUTCOMES: Final = tuple(outcome.value for outcome in Outcome)

UNKNOWN: Final = "unknown"
"""Stands for an outcome that there is not."""

_DAY: Final = re.compile(r"(?:19|20|21)\d\d-\d\d-\d\d")


class Version(NamedTuple):
    """A published version of a line's notice."""

    line: str
    notice: str
    version: str


class Spoken(NamedTuple):
    """A published version in one language: what a caller heard, segment by segment."""

    line: str
    notice: str
    version: str
    language: str


class Answers:
    """Times from the end of the question to the key, to the millisecond."""

    __slots__ = ("_counts", "early", "number")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * (LONGEST_MS + 1)))
        self.number = 0
        self.early = 0

    def add(self, milliseconds: int) -> None:
        """Count one; a negative one was pressed before the question's end."""
        if milliseconds < 0:
            self.early += 1
            return
        self._counts[min(milliseconds, LONGEST_MS)] += 1
        self.number += 1

    def below(self, share: float) -> int | None:
        """The time that this share of the answers does not exceed, ms; ``None`` when there is no answer."""
        wanted, seen = share * self.number, 0
        for milliseconds, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return milliseconds
        return None

    def bins(self, width_ms: int, end_ms: int) -> list[int]:
        """How many in each span of this width, up to ``end_ms``; what is longer is in the last one."""
        found = [sum(self._counts[at : at + width_ms]) for at in range(0, end_ms, width_ms)]
        found[-1] += sum(self._counts[end_ms:])
        return found


@dataclass(slots=True)
class Heard:
    """How far callers heard one spoken notice.

    ``ids``: what the log calls its segments. ``left``: how many hung up in each segment on its first playing.
    ``before``: before it began. ``choosing``: after the question, before a key. ``later``: in the long version, or when
    the notice was played again.
    """

    segments: tuple[str, ...]
    ids: tuple[Any, ...] = ()
    calls: int = 0
    before: int = 0
    left: list[int] = field(default_factory=list)
    choosing: int = 0
    later: int = 0

    def __post_init__(self) -> None:
        self.left = [0] * len(self.segments)

    @property
    def hung_up(self) -> int:
        """All of them."""
        return self.before + sum(self.left) + self.choosing + self.later

    def still_there(self) -> list[int]:
        """How many had not hung up after each segment."""
        found, there = [], self.calls - self.before
        for left in self.left:
            there -= left
            found.append(there)
        return found


Key = TypeVar("Key")


class Figures:
    """All that is counted. Times are of the events; a name is a printable text of at most :data:`MAX_NAME` letters."""

    def __init__(self) -> None:
        self.events = 0
        self.unreadable = 0
        self.first_time = self.last_time = ""
        self.outcomes: Counter[str] = Counter()
        self.days: dict[date, Counter[str]] = {}
        self.undated = 0
        self.lines: dict[str, Counter[str]] = {}
        self.languages: dict[str, Counter[str]] = {}
        self.versions: dict[Version, Counter[str]] = {}
        self.reasons: dict[tuple[str, str], int] = {}
        self.kinds: dict[str, int] = {}
        self.answers = {"granted": Answers(), "declined": Answers()}
        self.heard: dict[Spoken, Heard] = {}
        self.software: dict[str, int] = {}

    def count(self, events: Iterable[Noted]) -> None:
        """Count events, in the order of the log."""
        for event in events:
            self.events += 1
            if event.time > self.last_time and _DAY.match(event.time):
                self.last_time = event.time
            if (event.time < self.first_time or not self.first_time) and _DAY.match(event.time):
                self.first_time = event.time
            kind = _known(self.kinds, _name(event.kind), OTHERS)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if event.kind == "decision":
                self._decision(event)

    @property
    def calls(self) -> int:
        """How many calls were decided."""
        return self.outcomes.total()

    def _decision(self, event: Noted) -> None:
        outcome = event.outcome if event.outcome in OUTCOMES else UNKNOWN
        payload = event.payload if event.payload is not None else {}
        self.unreadable += event.payload is None
        notice = table(payload.get("notice"))
        line, language = _name(event.line), _name(text(notice.get("language")))
        name = _name(text(notice.get("id")))
        version = Version(line, name, _version(notice.get("version"))) if notice else Version(NONE, NONE, NONE)
        self.outcomes[outcome] += 1
        self._day(event.time, outcome)
        _add(self.lines, line, OTHERS, outcome)
        _add(self.languages, language, OTHERS, outcome)
        _add(self.versions, version, Version(OTHERS, OTHERS, OTHERS), outcome)
        reason = (outcome, _name(text(payload.get("reason"))))
        reason = _known(self.reasons, reason, (outcome, OTHERS))
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        software = _known(self.software, _name(text(table(payload.get("call")).get("software"))), OTHERS)
        self.software[software] = self.software.get(software, 0) + 1
        for answer in map(table, items(payload.get("answers"))):
            times, after = self.answers.get(str(text(answer.get("answer")))), number(answer.get("after_ms"))
            if times is not None and after is not None:
                times.add(after)
        if notice:
            self._heard(Spoken(*version, language), notice, outcome, text(payload.get("reason")) or "")

    def _day(self, time: str, outcome: str) -> None:
        try:
            day = date.fromisoformat(time[:10]) if _DAY.fullmatch(time[:10]) else None
        except ValueError:
            day = None
        if day is None or (day not in self.days and len(self.days) >= MAX_DAYS):
            self.undated += 1
            return
        if day not in self.days:
            self.days[day] = Counter()
        self.days[day][outcome] += 1

    def _heard(self, spoken: Spoken, notice: Any, outcome: str, reason: str) -> None:
        segments = [table(segment) for segment in items(notice.get("segments"), MAX_SEGMENTS)]
        ids = tuple(segment.get("id") for segment in segments)
        heard = self.heard.get(spoken)
        if heard is None:
            if len(self.heard) >= MAX_NAMES or not ids:
                return
            heard = self.heard[spoken] = Heard(tuple(_name(text(name)) for name in ids), ids)
        if ids != heard.ids:
            return  # one version has one order of segments: whoever wrote this had another in mind
        heard.calls += 1
        if outcome != Outcome.ABANDONED:
            return
        place = next((at for at, segment in enumerate(segments) if not flag(segment.get("complete"))), None)
        first_time = not number(notice.get("times"))
        if reason == "hung_up_ringing":
            heard.before += 1
        elif reason == "hung_up_choosing":
            heard.choosing += 1
        elif place is not None and (reason == "hung_up_questioning" or (reason == "hung_up_informing" and first_time)):
            heard.left[place] += 1
        else:
            heard.later += 1


def _known(known: dict[Key, Any], key: Key, others: Key) -> Key:
    return key if key in known or len(known) < MAX_NAMES else others


def _add(counts: dict[Key, Counter[str]], key: Key, others: Key, outcome: str) -> None:
    key = _known(counts, key, others)
    if key not in counts:
        counts[key] = Counter()
    counts[key][outcome] += 1


@lru_cache(maxsize=1024)
def _name(value: str | None) -> str:
    return printable(value, MAX_NAME) if value else NONE


def _version(value: object) -> str:
    found = number(value)
    return str(found) if found else NONE
