"""A call through somebody's own AGI script: who plays it, and what came of it.

The script is a FastAGI server or a classic program; the Asterisk that runs it is fake or real. What a caller hears is
read from the commands that the script sends, so it is the same on both.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ivr_consent.pbx.simulated.caller import Action, During, HangUp, InWindow, Press
from ivr_consent.testing.fake_asterisk import Command
from ivr_consent.testing.fake_asterisk_wire import words_of
from ivr_consent.testing.scenario import in_words

CALLER: Final = "caller"
SCRIPT: Final = "script"

SAID: Final = 2000
"""So much of what a program wrote to its standard error is shown when its call fails."""

_COLLECT: Final = ("GET DATA", "GET OPTION")
_FILE_AT: Final = {"STREAM FILE": 2, "GET DATA": 2, "GET OPTION": 2, "CONTROL STREAM FILE": 3}


class AgiLine(ABC):
    """One call on an Asterisk whose dialplan runs a script, as its caller acts in it."""

    commands: list[Command]
    """What the script has sent, each with its time."""

    status = ""
    """AGISTATUS, once AGI() has ended."""

    @abstractmethod
    async def more(self) -> None:
        """Until there may be more commands, or the script has ended."""

    @abstractmethod
    async def press(self, key: str, seconds: float) -> None:
        """Press a key and let it go after so long."""

    @abstractmethod
    async def hang_up(self) -> None:
        """The caller hangs up; nothing when the call is over."""

    @abstractmethod
    async def ended(self) -> None:
        """Until AGI() has ended."""

    def replies(self) -> Sequence[str]:
        """What the script was answered; empty where the switch does not tell."""
        return ()

    def said(self) -> str:
        """What a program has written to its standard error; empty where the switch keeps that."""
        return ""


@dataclass(frozen=True, slots=True)
class AgiCall:
    """What came of a call through a script.

    ``events`` are the call in short words, in order, ``events_at_ms`` when each came: ``answer``, ``play NAME``,
    ``window`` (keys are waited for), ``say KIND TEXT``, ``record NAME``, ``set NAME``, ``exec APPLICATION``,
    ``press KEY``, ``hang up`` (the caller), ``script hangs up``. ``variables`` are those that the script set.
    ``status`` is AGISTATUS. ``hung_up`` is ``caller``, ``script`` or empty: then the dialplan goes on. ``commands`` are
    the script's own lines; ``replies`` and ``said`` (a program's standard error) are known on the fake alone.
    """

    events: tuple[str, ...]
    events_at_ms: tuple[int, ...]
    variables: Mapping[str, str]
    status: str
    hung_up: str
    commands: tuple[str, ...]
    replies: tuple[str, ...] = ()
    said: str = ""

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts that were begun, in order."""
        return tuple(event.removeprefix("play ") for event in self.events if event.startswith("play "))

    @property
    def pressed(self) -> str:
        """The keys that were pressed, in order."""
        return "".join(event.removeprefix("press ") for event in self.events if event.startswith("press "))

    def timeline(self) -> str:
        """The call, a line for each thing that happened."""
        return "\n".join(
            f"  {at / 1000:8.3f}  {event}" for at, event in zip(self.events_at_ms, self.events, strict=True)
        )


@dataclass(slots=True)
class _Acted:
    events: list[tuple[float, str]] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    hung_up: bool = False


async def play(line: AgiLine, actions: Sequence[Action], deadline_s: float) -> AgiCall:
    """Play a caller to the end of the script. Raises :class:`AssertionError` when it does not end in time, or never
    comes to where something is to be done; with the call's timeline.
    """
    for action in actions:
        if isinstance(action.place, InWindow) and action.place.question is not None:
            raise ValueError("question= is for our own notices; name a script's window by its number: window=1")
        if getattr(action.place, "at_ms", 0) < 0:
            raise ValueError("at_ms counts from the beginning of its place in a script's call")
    began = time.monotonic()
    acted = _Acted()
    tasks = [asyncio.create_task(_act(line, number, action, acted)) for number, action in enumerate(actions)]
    late = False
    try:
        async with asyncio.timeout(deadline_s):
            await line.ended()
    except TimeoutError:
        late = True
    finally:
        for task in tasks:
            task.cancel()
        failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, Exception)]
        await line.hang_up()
    if failed:
        raise failed[0]
    call = _made(line, began, acted)
    undone = [in_words(action) for number, action in enumerate(actions) if number not in acted.done]
    if late:
        raise AssertionError(_failed(f"the script did not end within {deadline_s:g} s", call))
    if undone:
        raise AssertionError(_failed(f"the call never came to: {', '.join(undone)}", call))
    return call


async def _act(line: AgiLine, number: int, action: Action, acted: _Acted) -> None:
    place = action.place
    assert isinstance(place, During | InWindow)
    due = await _reached(line, place) + place.at_ms / 1000
    await asyncio.sleep(max(0.0, due - time.monotonic()))
    acted.done.add(number)
    match action.act:
        case Press(key, hold_ms):
            acted.events.append((time.monotonic(), f"press {key}"))
            await line.press(key, hold_ms / 1000)
        case HangUp():
            acted.events.append((time.monotonic(), "hang up"))
            acted.hung_up = True
            await line.hang_up()


async def _reached(line: AgiLine, place: During | InWindow) -> float:
    wanted = f"play {place.prompt}" if isinstance(place, During) else "window"
    while True:
        came = [at for at, word in by_commands(line.commands) if word == wanted]
        if len(came) >= place.nth:
            return came[place.nth - 1]
        await line.more()


def by_commands(commands: Iterable[Command]) -> list[tuple[float, str]]:
    """The events of commands, each with its time. Where keys are waited for from the beginning (``GET DATA``,
    ``GET OPTION``, ``Read``) the prompt and the window are one place.
    """
    return [(command.at, word) for command in commands for word in _events(words_of(command.text))]


def _events(words: list[str]) -> list[str]:
    upper = [word.upper() for word in words]
    two, three = " ".join(upper[:2]), " ".join(upper[:3])
    for verb in (two, three):
        at = _FILE_AT.get(verb)
        if at is not None:
            played = [f"play {words[at]}"] if len(words) > at else []
            return [*played, "window"] if verb in _COLLECT else played
    if three == "WAIT FOR DIGIT":
        return ["window"]
    if two in ("SET VARIABLE", "RECORD FILE") and len(words) > 2:
        return [f"{upper[0].lower()} {words[2]}"]
    if upper[:1] == ["SAY"] and len(words) > 2:
        return [f"say {words[1].lower()} {words[2]}"]
    if upper[:1] == ["EXEC"] and len(words) > 1:
        return _executed(words[1].lower(), words[2] if len(words) > 2 else "")
    if upper[:1] == ["HANGUP"]:
        return ["script hangs up"]
    return ["answer"] if upper[:1] == ["ANSWER"] else []


def _executed(application: str, arguments: str) -> list[str]:
    parts = arguments.split(",")
    if application in ("playback", "background"):
        return [f"play {name}" for name in parts[0].split("&") if name]
    if application == "read":
        files = parts[1] if len(parts) > 1 else ""
        return [*(f"play {name}" for name in files.split("&") if name), "window"]
    if application == "set":
        return [f"set {arguments.partition('=')[0].lstrip('_')}"]
    words = {"answer": "answer", "hangup": "script hangs up"}
    return [words.get(application, f"exec {application}")]


def _variables(commands: Iterable[Command]) -> dict[str, str]:
    found: dict[str, str] = {}
    for command in commands:
        words = words_of(command.text)
        upper = [word.upper() for word in words]
        if upper[:2] == ["SET", "VARIABLE"] and len(words) > 3:
            found[words[2]] = words[3]
        elif upper[:2] == ["EXEC", "SET"] and len(words) > 2:
            name, _, value = words[2].partition("=")
            found[name.lstrip("_")] = value
    return found


def _made(line: AgiLine, began: float, acted: _Acted) -> AgiCall:
    events = sorted([*by_commands(line.commands), *acted.events], key=lambda event: event[0])
    by_script = any(word == "script hangs up" for _, word in events)
    return AgiCall(
        tuple(word for _, word in events),
        tuple(max(0, round((at - began) * 1000)) for at, _ in events),
        MappingProxyType(_variables(line.commands)),
        line.status,
        CALLER if acted.hung_up else SCRIPT if by_script else "",
        tuple(command.text for command in line.commands),
        tuple(line.replies()),
        line.said(),
    )


def _failed(what: str, call: AgiCall) -> str:
    said = f"\nthe program said:\n{call.said[-SAID:]}" if call.said else ""
    return f"{what}\nthe call:\n{call.timeline() or '  nothing was sent'}{said}"
