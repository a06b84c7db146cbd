"""A caller as data: what is done, and where in the call.

Every action is bound to a place that a caller can hear (a prompt, the silence of a choice window), not to a clock: so
the same caller can be played on the simulated switch and, by a real phone, on a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

KEYS: Final = frozenset("0123456789*#ABCD")
"""Every key that a telephone has (the last four only on special ones)."""

HOLD_MS: Final = 100
"""How long a thumb rests on a key; telephones send at least 40 ms."""


class StepKind(StrEnum):
    """A step of the flow that makes no sound, as a place."""

    ANSWER = "answer"
    DECIDE = "decide"
    RECORD = "record"
    STOP = "stop"
    NOTE = "note"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class During:
    """``at_ms`` into the ``nth`` playing of a prompt; negative: so long before its end."""

    prompt: str
    nth: int = 1
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class InWindow:
    """``at_ms`` into the ``nth`` opening of a choice window, of one purpose's question or (``None``) of any.

    Negative: so long before the window closes.
    """

    question: str | None = None
    nth: int = 1
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class AtStep:
    """The beginning of the ``nth`` step of a kind. Only a simulated switch can be that exact."""

    step: StepKind
    nth: int = 1


Place = During | InWindow | AtStep


@dataclass(frozen=True, slots=True)
class Press:
    """Press a key and hold it. A switch reports it at its release."""

    key: str
    hold_ms: int = HOLD_MS


@dataclass(frozen=True, slots=True)
class HangUp:
    """Hang up."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing. The place must be reached all the same: see :attr:`SimulatedCall.undone`."""


Act = Press | HangUp | Wait


@dataclass(frozen=True, slots=True)
class Action:
    """One act at one place."""

    place: Place
    act: Act

    def __post_init__(self) -> None:
        if self.place.nth < 1:
            raise ValueError(f"nth = {self.place.nth}: count from 1")
        if isinstance(self.act, Press):
            if self.act.key not in KEYS:
                raise ValueError(f"{self.act.key!r} is not a key; one of: {' '.join(sorted(KEYS))}")
            if self.act.hold_ms < 1:
                raise ValueError(f"hold_ms = {self.act.hold_ms}: a key is held for at least 1 ms")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls: does the actions whose places the call comes to, and else keeps silent."""

    actions: tuple[Action, ...] = ()

    @classmethod
    def who(cls, *actions: tuple[Place, Act]) -> Caller:
        """A caller of pairs: ``Caller.who((InWindow(at_ms=500), Press("1")))``."""
        return cls(tuple(Action(place, act) for place, act in actions))
