"""The applications of the fake FreeSWITCH that play and ask: in real time, without sound.

``playback_last_offset_pos`` counts what was played, ``playback_ms`` and its like what was read ahead, in blocks of
16384 samples of the channel: so a prompt that was cut short looks longer, and a short one complete.
"""

from __future__ import annotations

import math
import re
import wave
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ivr_consent.testing.fake_freeswitch_recording import true

if TYPE_CHECKING:
    from ivr_consent.testing.fake_freeswitch_channel import Channel, Digit

BLOCK: Final = 16384
"""Samples that are read ahead at a time."""

FRAME: Final = 160
"""Samples of a frame at 8 kHz; positions are whole frames."""

MISSING_MS: Final = 250
"""What a missing part of a file_string takes."""

_tone = re.compile(r"%\((\d+),(\d+),[^)]*\)")


@dataclass(frozen=True, slots=True)
class Sound:
    """Something to play: its name as events have it, samples at the channel's rate (None: endless), where to begin.

    ``block`` is how many samples are read ahead at a time; of tones it is one round. ``native`` and ``samples``
    are a file's own.
    """

    name: str
    total: int | None
    offset: int = 0
    block: int = BLOCK
    native: int = 0
    samples: int = 0

    @property
    def left(self) -> int | None:
        """Samples that will be played."""
        return None if self.total is None else max(0, self.total - self.offset)


def sound(channel: Channel, name: str) -> Sound | None:
    """Open what ``name`` says; None where FreeSWITCH finds nothing to play."""
    rate = channel.rate
    scheme, sep, rest = name.partition("://")
    if sep and scheme == "silence_stream":
        ms = int(match[0]) if (match := re.match(r"-?\d+", rest)) else 0
        return Sound(name, None if ms < 0 else ms * rate // 1000)
    if sep and scheme == "tone_stream":
        tones = sum(int(on) + int(off) for on, off in _tone.findall(rest))
        loops = int(match[1]) if (match := re.search(r"loops=(-?\d+)", rest)) else 1
        return Sound(name, None if loops < 0 else tones * loops * rate // 1000, block=max(1, tones * rate // 1000))
    if sep and scheme == "file_string":
        parts = [sound(channel, part) for part in rest.split("!")]
        lengths = [MISSING_MS * rate // 1000 if part is None else part.left or 0 for part in parts]
        return Sound(name, sum(lengths))
    if sep:
        return None
    path, _, offset = name.partition("@@")
    return _file(channel, Path(path), int(offset) if offset.isdigit() else 0)


def _file(channel: Channel, path: Path, offset: int) -> Sound | None:
    path = channel.switch.sounds / path
    try:
        size = path.stat().st_size
        if path.suffix == ".wav":
            with wave.open(str(path), "rb") as file:
                frame = file.getsampwidth() * file.getnchannels()
                samples = min(file.getnframes(), max(0, size - 44) // frame)
                rate = file.getframerate()
        elif path.suffix in (".raw", ".sln"):
            samples, rate = size // 2, 8000
        elif path.suffix in (".ul", ".al", ".PCMU", ".PCMA", ".ulaw", ".alaw"):
            samples, rate = size, 8000
        else:
            return None
    except (OSError, EOFError, wave.Error):
        return None
    if not samples:
        return None
    return Sound(
        str(path), _resampled(samples, rate, channel.rate), offset, native=rate, samples=0 if offset else samples
    )


def _resampled(samples: int, rate: int, wanted: int) -> int:
    """How many samples become of a file's: at 48 kHz on an 8 kHz channel, some are lost at each block's end."""
    blocks, rest = divmod(samples, BLOCK)
    return blocks * (BLOCK * wanted // rate) + math.ceil(rest * wanted / rate)


class _Playing:
    """One sound as it plays."""

    def __init__(self, channel: Channel, what: Sound) -> None:
        self.channel, self.what = channel, what
        self.frame = FRAME * channel.rate // 8000
        self.start = what.offset  # where the present stretch began
        self.factor = 1.0
        self.total = what.total

    async def play(self, terminators: frozenset[str]) -> tuple[str, str, str]:
        """Play; how it ended (``end``, ``gone``, ``break``, ``digit``), Playback-Status, and the key."""
        pressed: list[str] = []

        def on_digit(digit: Digit) -> bool:
            if digit.key in terminators:
                pressed.append(digit.key)
            return bool(pressed)

        self.channel.playing += 1
        while True:
            seconds = None if self.total is None else max(0, self.total - self.start) / self.channel.rate / self.factor
            why, passed = await self.channel.pause(seconds, on_digit=on_digit)
            self._advance(passed, ended=why == "end")
            if why != "file":
                break
            self._obey(self.channel.file_command)
            self.channel.file_command = ""
        self.channel.playing -= 1
        return why, "break" if why in ("break", "digit") else "done", "".join(pressed)

    def _advance(self, seconds: float, *, ended: bool) -> None:
        position = self.start + int(seconds * self.channel.rate * self.factor + 1e-6) // self.frame * self.frame
        if self.total is not None:
            position = self.total if ended else min(position, self.total)
        self.start = position

    def _obey(self, command: str) -> None:
        """uuid_fileman: the read-ahead is played before a stop, and a seek is not told by any figure."""
        verb, _, value = command.partition(":")
        if verb == "stop":
            self.total = min(self.read, self.total or self.read)
        elif verb == "seek" and (match := re.fullmatch(r"([+-]?)(\d+)", value)):
            by = int(match[2])
            self.start = max(0, self.start + (-by if match[1] == "-" else by) if match[1] else by)
            self.total = self.total and self.total + FRAME
        elif verb == "speed" and (match := re.fullmatch(r"[+]?([12])", value)):
            self.factor = float(match[1])
            self.total = self.total and self.total - FRAME

    @property
    def read(self) -> int:
        """Samples that were read ahead."""
        blocks = -(-(self.start - self.what.offset) // self.what.block)
        read = blocks * self.what.block
        left = self.what.left
        return read if left is None else min(read, left)

    def variables(self) -> None:
        """Set what FreeSWITCH tells about it, right or wrong."""
        rate = self.what.native or self.channel.rate
        read = round(self.read * rate / self.channel.rate)
        if self.what.samples:
            read = self.what.samples if self.read == self.what.left else min(read, self.what.samples)
        self.channel.set("playback_last_offset_pos", str(self.start))
        self.channel.set("playback_seconds", str(read // rate))
        self.channel.set("playback_ms", str(read // (rate // 1000)))
        self.channel.set("playback_samples", str(read))


async def play(channel: Channel, name: str, terminators: frozenset[str]) -> tuple[str, str]:
    """Play with the events of it; how it ended (``missing`` too) and the key that did."""
    what = sound(channel, name)
    if what is None:
        return "missing", ""
    playing = _Playing(channel, what)
    channel.fire("PLAYBACK_START", after={"Playback-File-Path": what.name})
    why, status, key = await playing.play(terminators)
    if key:
        channel.set("playback_terminator_used", key)
    playing.variables()
    channel.fire("PLAYBACK_STOP", after={"Playback-File-Path": what.name, "Playback-Status": status})
    return why, key


def terminators(value: str | None) -> frozenset[str]:
    """The keys that end a playback, as playback_terminators says it; ``*`` where it says nothing."""
    if value is None:
        return frozenset("*")
    return frozenset({"none": "", "any": "0123456789*#ABCD"}.get(value, value))


async def playback(channel: Channel, data: str) -> None:
    """Play a file, a stream, or several; "FILE PLAYED" is said of nearly everything."""
    channel.set("playback_terminator_used", "")
    response = "PLAYBACK ERROR"
    if data:
        why, _ = await play(channel, data, terminators(channel.variables.get("playback_terminators")))
        response = {"gone": "PLAYBACK ERROR", "missing": "FILE NOT FOUND"}.get(why, "FILE PLAYED")
    channel.set("current_application_response", response)


async def flush_dtmf(channel: Channel, data: str) -> None:
    """Throw the queue of keys away; nobody hears of them."""
    channel.digits.clear()


async def sleep(channel: Channel, data: str) -> None:
    """Wait; a key ends it, and stays in the queue, unless sleep_eat_digits."""
    eats = true(channel.variables.get("sleep_eat_digits"))
    await channel.pause(int(data or "0") / 1000, peek=not eats)


@dataclass(frozen=True, slots=True)
class _Question:
    """The arguments of play_and_get_digits; times in milliseconds."""

    least: int
    most: int
    tries: int
    timeout: int
    terminators: frozenset[str]
    prompt: str
    invalid: str
    variable: str
    regexp: str
    digit_timeout: int

    @classmethod
    def of(cls, data: str) -> _Question | None:
        words = data.split(" ")
        if len(words) < 9 or not all(word.isdigit() for word in words[:4]):
            return None
        least, most, tries, timeout = (int(word) for word in words[:4])
        last = int(words[9]) if len(words) > 9 and words[9].isdigit() else timeout
        keys = frozenset("" if words[4] == "none" else words[4])
        return cls(least, most, tries, timeout, keys, words[5], words[6], words[7], words[8], last)


async def play_and_get_digits(channel: Channel, data: str) -> None:
    """Ask: the variable is set only when the answer matches; ``read_result`` says success of a wrong one too."""
    question = _Question.of(data)
    if question is None:
        return
    channel.set(question.variable, "")
    channel.set(f"{question.variable}_invalid", "")
    for _ in range(max(1, question.tries)):
        channel.set("read_result", "")
        answer = await _ask(channel, question)
        if len(answer) >= question.least and re.search(question.regexp, answer):
            channel.set(question.variable, answer)
            return
        if answer:
            channel.set(f"{question.variable}_invalid", answer)
        if not channel.ready:
            return
        await play(channel, question.invalid, frozenset())


async def _ask(channel: Channel, question: _Question) -> str:
    """Play the prompt, which any key cuts off, and collect keys; where there is no prompt, nothing is asked."""
    digits: list[str] = []
    ended = False

    def take(digit: Digit) -> bool:
        nonlocal ended
        if digit.key in question.terminators:
            ended = True
        else:
            digits.append(digit.key)
        return True

    what = sound(channel, question.prompt)
    if what is None:
        return ""
    playing = _Playing(channel, replace(what))
    channel.fire("PLAYBACK_START", after={"Playback-File-Path": what.name})
    why, passed = await channel.pause(None if what.left is None else what.left / channel.rate, on_digit=take)
    playing._advance(passed, ended=why == "end")
    playing.variables()
    status = "break" if why in ("break", "digit") else "done"
    channel.fire("PLAYBACK_STOP", after={"Playback-File-Path": what.name, "Playback-Status": status})
    while not ended and len(digits) < question.most and channel.ready:
        wait = question.digit_timeout if digits else question.timeout
        if (await channel.pause(wait / 1000, on_digit=take))[0] != "digit":
            break
    channel.set("read_result", "success" if len(digits) >= question.least else "failure")
    return "".join(digits)
