"""AGI commands of a fake Asterisk that a gate does not need and other scripts do, with a real one's replies.

What each says was asked of an Asterisk 22, oddities included: ``DATABASE DELTREE`` says 0 when it has deleted
something, a digit is itself in ``GET DATA`` and its ASCII number elsewhere, ``RECEIVE CHAR`` says "hangup" on a line
that cannot carry text.
"""

from __future__ import annotations

import contextlib
import re
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ivr_consent.testing.fake_asterisk import FakeCall

SAID_S: Final = 0.5
"""How long a digit, a letter or a part of a date takes to say: about what Asterisk's own sounds do."""

BEEP_S: Final = 0.44

FIRST_DIGIT_S: Final = 6.0
NEXT_DIGIT_S: Final = 2.0
"""How long is waited for a digit where a command does not say."""

MAX_DIGITS: Final = 1024

_RATE: Final = 8000
_BYTES_A_SECOND: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"ulaw": (1, 1), "alaw": (1, 1), "sln": (1, 2), "sln16": (1, 4), "g722": (1, 1), "gsm": (160, 33)}
)
"""Samples (of 8 kHz) for bytes, by a sound file's kind."""

_RECORDED: Final = frozenset({"wav", "gsm", "ulaw", "alaw", "sln", "raw", "g722"})
_USAGE_LINES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "CHANNEL STATUS": 10,
        "CONTROL STREAM": 9,
        "STREAM FILE": 5,
        "GET FULL": 4,
        "DATABASE GET": 3,
        "EXEC": 3,
        **dict.fromkeys(
            ("GET DATA", "GET VARIABLE", "DATABASE PUT", "DATABASE DEL", "DATABASE DELTREE", "SET MUSIC"), 2
        ),
    }
)
"""Lines of a command's usage between the first and the last, where it is not one: some libraries read too few."""

_number = re.compile(r"-?[0-9]{1,9}")


def samples_of(sounds: Path, name: str, language: str) -> int | None:
    """How long a sound is, in samples of 8 kHz; ``None`` when there is no file of that name in any format."""
    for folder in (sounds / language, sounds):
        for kind, (samples, size) in _BYTES_A_SECOND.items():
            with contextlib.suppress(OSError):
                return Path(folder / f"{name}.{kind}").stat().st_size * samples // size
        with contextlib.suppress(OSError, wave.Error, EOFError), wave.open(str(folder / f"{name}.wav"), "rb") as file:
            return file.getnframes() * _RATE // file.getframerate()
    return None


def usage_lines(line: str) -> int:
    """How many lines Asterisk 22 has to say about the right use of this command."""
    words = line.upper().split()
    return _USAGE_LINES.get(" ".join(words[:2]), _USAGE_LINES.get(" ".join(words[:1]), 1))


def obey(call: FakeCall, words: list[str]) -> bool:
    """Do a command; whether it is one of these."""
    upper = [word.upper() for word in words[:3]]
    for count in (3, 2, 1):
        command = COMMANDS.get(" ".join(upper[:count]))
        if command is not None and len(upper) >= count:
            command(call, words)
            return True
    return False


# --- prompts and keys -------------------------------------------------------------------------------------------------


def play(call: FakeCall, seconds: float, escape: str, ended: Callable[[str, str], None]) -> None:
    """Make a sound of so long; ``ended`` gets why it ended (``end``, ``key``, ``hangup``) and the key of ``escape``."""

    def happens(what: str, key: str) -> None:
        if what == "key" and key not in escape:
            return
        call.stop_running()
        if what != "command":  # which takes the reply's place
            ended(what, key)

    call.start_running(happens, seconds)


class Digits:
    """Digits that are typed during a prompt and behind it, to # or to so many."""

    def __init__(
        self,
        call: FakeCall,
        seconds: float,
        first_s: float | None,
        next_s: float | None,
        maximum: int,
        done: Callable[[str, str], None],
    ) -> None:
        self._call, self._first_s, self._next_s, self._maximum, self._done = call, first_s, next_s, maximum, done
        self._typed = ""
        self._playing = seconds > 0
        call.start_running(self._happens, seconds if self._playing else first_s)

    def _happens(self, what: str, key: str) -> None:
        call = self._call
        call.stop_running()
        if what == "key" and key != "#":
            self._typed += key
            self._playing = False
            if len(self._typed) < self._maximum:
                call.start_running(self._happens, self._next_s)
                return
        elif what == "end" and self._playing:
            self._playing = False
            call.start_running(self._happens, self._first_s)
            return
        if what != "command":
            self._done("typed" if what == "key" or len(self._typed) == self._maximum else what, self._typed)


def waits(milliseconds: int) -> tuple[float | None, float | None]:
    """How long is waited for the first digit and for each further one; ``None`` is for ever."""
    if milliseconds < 0:
        return None, None
    return (milliseconds / 1000, milliseconds / 1000) if milliseconds else (FIRST_DIGIT_S, NEXT_DIGIT_S)


def _get_data(call: FakeCall, words: list[str]) -> None:
    if not call.permitted():
        return
    if len(words) < 3:
        call.usage()
        return
    samples = samples_of(call.switch.sounds, words[2], call.language)
    if samples is None:
        call.reply("200 result=-1")
        return
    maximum = (_int(words[4]) if len(words) > 4 else 0) or MAX_DIGITS

    def done(why: str, typed: str) -> None:
        if why == "hangup":
            call.reply("200 result=-1")
        else:
            call.reply(f"200 result={typed}" + (" (timeout)" if why == "end" else ""))

    first_s, next_s = waits(_int(words[3]) if len(words) > 3 else 0)
    Digits(call, samples / _RATE, first_s, next_s, maximum, done)


def _get_option(call: FakeCall, words: list[str]) -> None:
    if not call.permitted():
        return
    if not 4 <= len(words) <= 5:
        call.usage()
        return
    samples = samples_of(call.switch.sounds, words[2], call.language)
    if samples is None:
        call.fail()
        call.reply("200 result=-1 endpos=0")
        return
    seconds, began = samples / _RATE, call.now()
    more = int(words[4]) / 1000 if len(words) > 4 else 5.0

    def ended(why: str, key: str) -> None:
        at = call.position(began, samples)
        if why == "end" and call.now() - began < (seconds + more) / call.switch.speed * 0.999:
            play(call, more, words[3], ended)
        else:
            call.reply(f"200 result={_code(why, key)} endpos={at}")

    play(call, seconds, words[3], ended)


def _control_stream_file(call: FakeCall, words: list[str]) -> None:
    if not call.permitted():
        return
    if not 4 <= len(words) <= 9:
        call.usage()
        return
    samples = samples_of(call.switch.sounds, words[3], call.language)
    if samples is None:
        call.variables |= {"CPLAYBACKSTATUS": "ERROR", "CPLAYBACKOFFSET": "-1"}
        call.reply("200 result=-1 endpos=-1")
        return
    began = call.now()

    def ended(why: str, key: str) -> None:
        at = -1 if why == "end" else call.position(began, samples) // 8  # milliseconds here, not samples
        call.variables["CPLAYBACKSTATUS"] = {"end": "SUCCESS", "key": "USERSTOPPED"}.get(why, "ERROR")
        call.variables["CPLAYBACKOFFSET"] = str(at)
        if why == "key":
            call.variables["CPLAYBACKSTOPKEY"] = key
        call.reply(f"200 result={_code(why, key)} endpos={at}")

    play(call, samples / _RATE, words[4] if len(words) > 4 else "", ended)


def _say(call: FakeCall, words: list[str]) -> None:
    if not call.permitted():
        return
    kind, text = words[1].upper(), words[2] if len(words) > 2 else ""
    numeric = kind in ("DIGITS", "NUMBER", "DATE", "TIME", "DATETIME")
    if len(words) < 4 or (numeric and not re.fullmatch(r"[-+]?[0-9*#]+", text)):
        call.usage()
        return
    play(call, said_s(kind, text), words[3], lambda why, key: call.reply(f"200 result={_code(why, key)}"))


def said_s(kind: str, text: str) -> float:
    """How long it takes to say digits, a number, letters, or a date."""
    parts = {"DIGITS": len(text), "ALPHA": len(text), "PHONETIC": len(text), "NUMBER": max(1, len(text.strip("0")))}
    return SAID_S * parts.get(kind, 6)


def _record_file(call: FakeCall, words: list[str]) -> None:
    if not call.permitted():
        return
    if len(words) < 6 or not _number.fullmatch(words[5]):
        call.usage()
        return
    path = call.switch.sounds / f"{words[2]}.{words[3]}"
    if words[3] not in _RECORDED or not path.parent.is_dir():
        call.reply("200 result=-1 (writefile)")
        return
    beep = any(word.isalpha() for word in words[6:])
    limit = None if int(words[5]) < 0 else int(words[5]) / 1000
    if beep:
        play(call, BEEP_S, "", lambda why, _: _record(call, path, words[4], limit, why))
    else:
        _record(call, path, words[4], limit, "end")


def _record(call: FakeCall, path: Path, escape: str, limit: float | None, why: str) -> None:
    if why == "hangup":
        call.reply("200 result=-1 (hangup) endpos=0")
        return
    began = call.now()

    def happens(what: str, key: str) -> None:
        if what == "key" and key not in escape:
            return
        call.stop_running()
        samples = call.position(began, None)
        _write_silence(path, samples)
        if what == "hangup":
            call.reply(f"200 result=-1 (hangup) endpos={samples}")
        elif what != "command":
            told = "0 (timeout)" if what == "end" else f"{ord(key)} (dtmf)"
            call.reply(f"200 result={told} endpos={samples}")

    call.start_running(happens, limit)


def _write_silence(path: Path, samples: int) -> None:
    """A recording of nobody: a file of the right kind and length."""
    with contextlib.suppress(OSError):
        if path.suffix == ".wav":
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, _RATE, 0, "NONE", ""))
                file.writeframes(bytes(2 * samples))
        else:
            made, size = _BYTES_A_SECOND.get(path.suffix[1:], (1, 2))
            path.write_bytes(b"\xff" * (samples * size // made))


def _int(text: str) -> int:
    """A number as C reads it: 0 for what is none."""
    match = _number.match(text)
    return int(match[0]) if match else 0


def _code(why: str, key: str) -> int:
    return {"end": 0, "hangup": -1}.get(why, ord(key) if key else 0)


# --- what makes no sound ----------------------------------------------------------------------------------------------


def _database(call: FakeCall, words: list[str]) -> None:
    verb, rest = words[1].upper(), words[2:]
    if len(rest) != {"GET": 2, "PUT": 3, "DEL": 2}.get(verb, len(rest)) or not 1 <= len(rest) <= 3:
        call.usage()
        return
    kept = call.switch.database
    if verb == "GET":
        value = kept.get((rest[0], rest[1]))
        call.reply("200 result=0" if value is None else f"200 result=1 ({value})")
    elif verb == "PUT":
        kept[rest[0], rest[1]] = rest[2]
        call.reply("200 result=1")
    elif verb == "DEL":
        kept.pop((rest[0], rest[1]), None)
        call.reply("200 result=1")
    else:
        tree = rest[1] if len(rest) > 1 else ""
        gone = [key for key in kept if key[0] == rest[0] and (not tree or f"{key[1]}/".startswith(f"{tree}/"))]
        for key in gone:
            del kept[key]
        call.reply(f"200 result={0 if gone else 1}")  # as the real one has it: 0 when something was there


def _set_caller_id(call: FakeCall, words: list[str]) -> None:
    if not call.permitted():
        return
    if len(words) < 3:
        call.reply("200 result=1")  # the one command that takes a missing argument
        return
    match = re.fullmatch(r'"?([^"<]*?)"?\s*<([^>]*)>', words[2])
    if match is not None:
        call.name, call.caller = match[1], match[2]
    elif re.fullmatch(r"[-+0-9*#().]+", words[2]):
        call.caller = words[2]
    else:
        call.name, call.caller = words[2], ""  # a name alone takes the number away
    call.reply("200 result=1")


def _set_place(call: FakeCall, words: list[str]) -> None:
    """Where the dialplan goes on when AGI() has ended."""
    if not call.permitted():
        return
    what = words[1].upper()
    if len(words) != 3 or (what == "PRIORITY" and not words[2].isdigit()):
        call.usage()
        return
    if what == "CONTEXT":
        call.context = words[2]
    elif what == "EXTENSION":
        call.extension = words[2]
    else:
        call.variables["PRIORITY"] = str(int(words[2]) - 1)
    call.reply("200 result=0")


def _set_auto_hangup(call: FakeCall, words: list[str]) -> None:
    if not call.permitted():
        return
    if len(words) != 3 or not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", words[2]):
        call.usage()
        return
    call.hang_up_in(float(words[2]))
    call.reply("200 result=0")


def _quiet(least: int, reply: str = "200 result=0") -> Callable[[FakeCall, list[str]], None]:
    """A command that does nothing here that can be seen, with so many words at least."""

    def done(call: FakeCall, words: list[str]) -> None:
        if not call.permitted():
            return
        if len(words) < least:
            call.usage()
        else:
            call.reply(reply)

    return done


def _receive(reply: str) -> Callable[[FakeCall, list[str]], None]:
    def done(call: FakeCall, words: list[str]) -> None:
        if not call.permitted():
            return
        if len(words) != 3 or not _number.fullmatch(words[2]):
            call.usage()
            return
        play(call, max(0, int(words[2])) / 1000, "", lambda _why, _key: call.reply(reply))

    return done


COMMANDS: Final[Mapping[str, Callable[[FakeCall, list[str]], None]]] = MappingProxyType(
    {
        "GET DATA": _get_data,
        "GET OPTION": _get_option,
        "CONTROL STREAM FILE": _control_stream_file,
        **{f"SAY {kind}": _say for kind in ("DIGITS", "NUMBER", "ALPHA", "PHONETIC", "DATE", "TIME", "DATETIME")},
        "RECORD FILE": _record_file,
        **{f"DATABASE {verb}": _database for verb in ("GET", "PUT", "DEL", "DELTREE")},
        "SET CALLERID": _set_caller_id,
        **{f"SET {what}": _set_place for what in ("CONTEXT", "EXTENSION", "PRIORITY")},
        "SET AUTOHANGUP": _set_auto_hangup,
        "SET MUSIC": _quiet(3),
        "SEND TEXT": _quiet(3),
        "SEND IMAGE": _quiet(3),
        "TDD MODE": _quiet(3),
        "RECEIVE CHAR": _receive("200 result=-1 (hangup)"),
        "RECEIVE TEXT": _receive("200 result=-1"),
        "GOSUB": lambda call, words: call.usage() if len(words) < 4 else call.reply(_NO_LABEL),
        "ASYNCAGI BREAK": lambda call, _: call.reply("200 result=0"),
    }
)
"""By their first words. What the words of a command lack, Asterisk answers with its usage."""

_NO_LABEL: Final = "200 result=-1 Gosub label not found"  # there is no dialplan here
