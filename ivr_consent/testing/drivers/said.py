"""What our server tells a switch to do, read as the events of a call (see ``scenario.Observed``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ivr_consent.core.decision import Outcome
from ivr_consent.core.steps import Destination
from ivr_consent.pbx.asterisk import variables as asterisk
from ivr_consent.pbx.freeswitch import variables as freeswitch

QUESTION: Final = "-question"

_AGI_PROMPT: Final = re.compile(r'STREAM FILE "[^"]*/([^"/]+)"')
_AGI_TOLD: Final = re.compile(rf'SET VARIABLE "?{asterisk.RESULT}"? "?([a-z_]+)"?')
_PROMPT: Final = re.compile(r".*/([^/]+)\.wav")


def by_commands(commands: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """AGI commands, each with its time."""
    found: list[tuple[float, str]] = []
    question = ""
    for at, command in commands:
        if match := _AGI_PROMPT.match(command):
            found.append((at, f"play {match[1]}"))
            question = _asked(match[1], question)
        elif command.startswith("WAIT FOR DIGIT"):
            found.append((at, f"window {question}"))
        elif command.strip() == "ANSWER":
            found.append((at, "answer"))
        elif match := _AGI_TOLD.match(command):
            found.append((at, _route(match[1])))
    return found


def by_applications(executed: Iterable[tuple[float, str, str]], window_ms: int) -> list[tuple[float, str]]:
    """Applications of FreeSWITCH with their arguments, those of the dialplan included; choice windows are so long."""
    found: list[tuple[float, str]] = []
    question = ""
    gate = False
    for at, application, data in executed:
        if application == "playback" and (match := _PROMPT.fullmatch(data)):
            found.append((at, f"play {match[1]}"))
            question = _asked(match[1], question)
        elif application == "playback" and data == f"silence_stream://{window_ms}":
            found.append((at, f"window {question}"))
        elif application == "socket":
            gate = True
        elif application == "answer" and gate and not found:
            found.append((at, "answer"))
        elif gate and application == "set" and data.startswith(f"{freeswitch.RESULT}="):
            found.append((at, _route(data.partition("=")[2])))
    return found


def stops_by_commands(commands: Iterable[str]) -> int:
    """How often a recorder was told to stop, by AGI."""
    return sum("StopMixMonitor" in command for command in commands)


def stops_by_applications(executed: Iterable[tuple[str, str]]) -> int:
    """The same by applications: the dialplan says ``all``, we name the file."""
    return sum(application == "stop_record_session" and data != "all" for application, data in executed)


def _asked(prompt: str, before: str) -> str:
    return prompt.removesuffix(QUESTION) if prompt.endswith(QUESTION) else before


def _route(outcome: str) -> str:
    granted = outcome == Outcome.GRANTED.value
    return f"route {(Destination.RECORDED if granted else Destination.UNRECORDED).value}"
