"""What a caller does, in the words of a scenario file: ``press("1", during="welcome")``, ``hang_up(window=2)``.

Each is bound to a place in the call that a caller can hear, not to a clock, so it is the same on every switch.
"""

from __future__ import annotations

from typing import Final

from ivr_consent.pbx.simulated.caller import HOLD_MS, Act, Action, During, HangUp, InWindow, Place, Press, Wait

AT_MS: Final = 300
"""How far into a place something is done, when nobody says: a quick human answer."""

NEXT_KEY_MS: Final = 300
"""From one key of several to the next."""


def press(
    keys: str,
    *,
    during: str | None = None,
    window: int | None = None,
    question: str | None = None,
    nth: int = 1,
    at_ms: int = AT_MS,
    hold_ms: int = HOLD_MS,
) -> tuple[Action, ...]:
    """Press a key, or several one after another (``"12#"``), held so long each. Raises :class:`ValueError`."""
    if not keys:
        raise ValueError("press() without a key")
    return tuple(
        _action(Press(key, hold_ms), during, window, question, nth, at_ms + number * NEXT_KEY_MS)
        for number, key in enumerate(keys)
    )


def hang_up(
    *,
    during: str | None = None,
    window: int | None = None,
    question: str | None = None,
    nth: int = 1,
    at_ms: int = AT_MS,
) -> tuple[Action, ...]:
    """Hang up. Raises :class:`ValueError`."""
    return (_action(HangUp(), during, window, question, nth, at_ms),)


def wait(
    *,
    during: str | None = None,
    window: int | None = None,
    question: str | None = None,
    nth: int = 1,
    at_ms: int = AT_MS,
) -> tuple[Action, ...]:
    """Do nothing there; but the call must come there. Raises :class:`ValueError`."""
    return (_action(Wait(), during, window, question, nth, at_ms),)


def _action(act: Act, during: str | None, window: int | None, question: str | None, nth: int, at_ms: int) -> Action:
    given = [name for name in (during, window, question) if name is not None]
    if len(given) != 1 or (window is not None and nth != 1):
        raise ValueError(
            'name one place: during="PROMPT" (nth=2: the second time), question="PURPOSE", or window=N, which counts '
            "all windows"
        )
    place: Place = During(during, nth, at_ms) if during is not None else InWindow(question, window or nth, at_ms)
    return Action(place, act)
