"""Dialplan applications that a fake Asterisk runs for ``EXEC``: those that scripts play prompts and take digits with.

What it does not know it answers as Asterisk does an unknown application, with -2. What a site's own flow ends in
(``Dial``, ``Queue``, …) a test gives in :attr:`FakeAsterisk.applications`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ivr_consent.testing.fake_asterisk_commands import MAX_DIGITS, Digits, play, said_s, samples_of, waits

if TYPE_CHECKING:
    from ivr_consent.testing.fake_asterisk import FakeCall

UNKNOWN: Final = -2

_KEYS: Final = "0123456789*#"
_RATE: Final = 8000

Done = Callable[[int], None]


def execute(call: FakeCall, application: str, arguments: str) -> None:
    """Run an application (its name in small letters) and reply when it has ended."""

    def done(result: int) -> None:
        call.reply(f"200 result={result}")

    own = call.switch.applications.get(application)
    if own is not None:
        done(own(call, arguments))
    elif application in _APPLICATIONS:
        _APPLICATIONS[application](call, arguments, done)
    else:
        done(UNKNOWN)


def _playback(call: FakeCall, arguments: str, done: Done) -> None:
    """Playback, and Background, which a key ends."""
    _play_all(call, arguments, "", "PLAYBACKSTATUS", done)


def _background(call: FakeCall, arguments: str, done: Done) -> None:
    _play_all(call, arguments, _KEYS, "BACKGROUNDSTATUS", done)


def _play_all(call: FakeCall, arguments: str, escape: str, status: str, done: Done) -> None:
    names = [name for name in arguments.partition(",")[0].split("&") if name]
    lengths = [samples_of(call.switch.sounds, name, call.language) for name in names]
    call.variables[status] = "FAILED" if None in lengths or not names else "SUCCESS"
    if call.dead:
        done(0)
        return

    def ended(why: str, key: str) -> None:
        done({"end": 0, "hangup": -1}.get(why, ord(key) if key else 0))

    play(call, sum(length or 0 for length in lengths) / _RATE, escape, ended)


def _wait(call: FakeCall, arguments: str, done: Done) -> None:
    seconds = 0.0
    with contextlib.suppress(ValueError):
        seconds = float(arguments.partition(",")[0])
    if call.dead:
        done(-1)
    else:
        play(call, seconds, "", lambda why, _: done(-1 if why == "hangup" else 0))


def _read(call: FakeCall, arguments: str, done: Done) -> None:
    """Read(variable[,files[,digits[,options[,attempts[,seconds]]]]]), one attempt of it."""
    variable, files, digits, _options, _attempts, seconds = (arguments.split(",") + [""] * 6)[:6]
    lengths = [samples_of(call.switch.sounds, name, call.language) or 0 for name in files.split("&") if name]
    first_s, next_s = waits(int(float(seconds) * 1000) if seconds.replace(".", "").isdigit() else 0)

    def typed(why: str, text: str) -> None:
        call.variables[variable] = text
        call.variables["READSTATUS"] = {"end": "TIMEOUT", "hangup": "HANGUP"}.get(why, "OK")
        done(-1 if why == "hangup" else 0)

    if call.dead:
        done(-1)
    else:
        maximum = int(digits) if digits.isdigit() and int(digits) else MAX_DIGITS
        Digits(call, sum(lengths) / _RATE, first_s, next_s, maximum, typed)


def _set(call: FakeCall, arguments: str, done: Done) -> None:
    name, _, value = arguments.partition("=")
    call.variables[name.lstrip("_")] = call.evaluate(value)
    done(0)


def _answer(call: FakeCall, _arguments: str, done: Done) -> None:
    call.up = call.up or not call.dead
    done(-1 if call.dead else 0)


def _hang_up(call: FakeCall, _arguments: str, done: Done) -> None:
    done(-1)
    call.hang_up()


def _goto(call: FakeCall, arguments: str, done: Done) -> None:
    """Where the dialplan goes on when AGI() has ended."""
    parts = [part.strip() for part in arguments.split(",")]
    if len(parts) == 3:
        call.context, call.extension = parts[0], parts[1]
    elif len(parts) == 2:
        call.extension = parts[0]
    done(0)


def _say(kind: str) -> Callable[[FakeCall, str, Done], None]:
    def said(call: FakeCall, arguments: str, done: Done) -> None:
        text = arguments.partition(",")[0]
        play(call, said_s(kind, text), "", lambda why, _: done(-1 if why == "hangup" else 0))

    return said


def _quiet(_call: FakeCall, _arguments: str, done: Done) -> None:
    done(0)


_APPLICATIONS: Final[Mapping[str, Callable[[FakeCall, str, Done], None]]] = MappingProxyType(
    {
        "playback": _playback,
        "background": _background,
        "wait": _wait,
        "read": _read,
        "set": _set,
        "answer": _answer,
        "hangup": _hang_up,
        "goto": _goto,
        "saydigits": _say("DIGITS"),
        "saynumber": _say("NUMBER"),
        "sayalpha": _say("ALPHA"),
        **dict.fromkeys(
            (
                "noop",
                "verbose",
                "log",
                "userevent",
                "ringing",
                "progress",
                "proceeding",
                "playtones",
                "stopplaytones",
                "startmusiconhold",
                "stopmusiconhold",
                "celgenuserevent",
            ),
            _quiet,
        ),
    }
)
