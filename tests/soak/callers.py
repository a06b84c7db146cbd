"""Random callers: what each does, drawn from a seed, and what may come of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ivr_consent.testing.sipp import Press, Step, Wait, Way
from tests.soak.evidence import Expected

NAMES: Final = (
    "", "Ann", 'x\\" <sip:evil@example.org>', "${SHELL(id)}", "%0a200 result=49%0a", "$(reboot)`id`",
    "../../etc/passwd", "Søren Ærø", "<script>alert(1)</script>", "' OR 1=1 --", "${EXTEN},b,System(id)", "A" * 200,
    "\u202edlrow",
)  # fmt: skip  # rows that belong together
HOSTILE_NUMBERS: Final = (
    "{}%0a%0a200%20result=0%0a200%20result=0%20endpos=24000%0a200%20result=49%0a",
    "{}%0d%0aEvent%3a%20MixMonitorStop%0d%0aUniqueid%3a%201%0d%0a%0d%0a",
    "{}%0aagi_uniqueid%3a%201.1%0a",
    "+{}",
    "{}",
)
"""User parts of an address that forge lines of AGI and of the manager, where nobody cleans them."""


@dataclass(frozen=True, slots=True)
class Notice:
    """When things happen on the line, milliseconds from the answer: its question has ended, a window lasts so long."""

    asked_ms: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class Caller:
    """What a caller does. Without ``hangs_up`` they listen until the line ends the call."""

    kind: str
    steps: tuple[Step, ...]
    expected: Expected
    way: Way
    name: str
    number: str


def _in_window(chance: random.Random, notice: Notice) -> Wait:
    return Wait(notice.asked_ms + chance.randint(notice.window_ms // 3, notice.window_ms * 2 // 3))


def _hold(chance: random.Random) -> int:
    return chance.choice((60, 100, 100, 160, 240))


def _yes(chance: random.Random, notice: Notice) -> list[Step]:
    return [_in_window(chance, notice), Press("1", _hold(chance)), Wait(chance.randint(2000, 9000))]


def _no(chance: random.Random, notice: Notice) -> list[Step]:
    first = _in_window(chance, notice) if chance.random() < 0.5 else Wait(chance.randint(300, notice.asked_ms))
    return [first, Press("2", _hold(chance)), Wait(chance.randint(500, 4000))]


def _wrong(chance: random.Random, notice: Notice) -> list[Step]:
    keys = "".join(chance.choices("456780#", k=2))
    again = Wait(notice.window_ms + notice.window_ms // 2)
    return [_in_window(chance, notice), Press(keys[0]), again, Press(keys[1]), Wait(chance.randint(3000, 8000))]


def _silent(chance: random.Random, notice: Notice) -> list[Step]:
    return [Wait(notice.asked_ms + 3 * notice.window_ms + chance.randint(2000, 8000))]


def _hangs_up(chance: random.Random, notice: Notice) -> list[Step]:
    return [Wait(chance.randint(10, notice.asked_ms + 2 * notice.window_ms))]


def _early(chance: random.Random, notice: Notice) -> list[Step]:
    # A second before the question has ended at the latest: on a slow line it ends later still.
    first = Wait(chance.randint(200, notice.asked_ms - 1000))
    return [first, Press("1", _hold(chance)), Wait(notice.asked_ms + 2 * notice.window_ms)]


def _storm(chance: random.Random, notice: Notice) -> list[Step]:
    keys = "".join(chance.choices("0123456789*#", k=chance.randint(10, 30)))
    return [Wait(chance.randint(100, notice.asked_ms)), Press(keys, 40, 40), Wait(chance.randint(500, 8000))]


def _withdraws(chance: random.Random, notice: Notice) -> list[Step]:
    talk, code = Wait(chance.randint(2500, 5000)), Press("*9", 100, chance.choice((60, 120, 400)))
    return [_in_window(chance, notice), Press("1"), talk, code, Wait(chance.randint(2500, 5000))]


def _yes_and_gone(chance: random.Random, notice: Notice) -> list[Step]:
    return [_in_window(chance, notice), Press("1"), Wait(chance.randint(0, 700))]


def _changes_mind(chance: random.Random, notice: Notice) -> list[Step]:
    return [_in_window(chance, notice), Press("1"), Wait(chance.randint(0, 300)), Press("2"), Wait(4000)]


KINDS: Final[dict[str, tuple[int, Callable[[random.Random, Notice], list[Step]], Expected]]] = {
    "says yes": (30, _yes, Expected.GRANTED),
    "says no": (12, _no, Expected.NEVER),
    "presses wrong keys": (8, _wrong, Expected.NEVER),
    "is silent": (6, _silent, Expected.NEVER),
    "hangs up": (12, _hangs_up, Expected.NEVER),
    "says yes too early": (8, _early, Expected.NEVER),
    "presses many keys": (6, _storm, Expected.ANY),
    "withdraws": (10, _withdraws, Expected.WITHDRAWN),
    "says yes and is gone": (4, _yes_and_gone, Expected.ANY),
    "changes their mind": (4, _changes_mind, Expected.ANY),
}
"""Each with its weight."""


def draw(chance: random.Random, notice: Notice, ways: tuple[Way, ...]) -> Caller:
    """One caller. One in four has a hostile name, one in eight a hostile number; what they press is as before."""
    kind = chance.choices(list(KINDS), [weight for weight, _, _ in KINDS.values()])[0]
    _, steps, expected = KINDS[kind]
    name = chance.choice(NAMES) if chance.random() < 0.25 else ""
    number = chance.choice(HOSTILE_NUMBERS) if chance.random() < 0.125 else "{}"
    return Caller(kind, tuple(steps(chance, notice)), expected, chance.choice(ways), name, number)
