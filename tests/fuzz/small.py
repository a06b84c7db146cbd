"""Small readers: languages and numbers as callers send them, the control socket, sound files, transcripts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import wave
from typing import Any, cast

from ivr_consent import language
from ivr_consent.config import LanguageBy
from ivr_consent.control import MAX_QUESTION, Control
from ivr_consent.store.recordings import RecordingError, discard, finish, prepare, unfinished
from ivr_consent.testing import freeswitch_transcripts, transcripts
from ivr_consent.testing.wav import read_wav
from tests.fuzz.target import scratch, shown, written
from tests.fuzz.wires import _loop

OFFERED = ("da", "en", "de-AT", "nb")


def languages(data: bytes) -> None:
    """What a caller's telephone says of its language and number: a line each for header, channel, dialled, caller."""
    text = data.decode("utf-8", "surrogateescape")
    header, channel, dialled, caller = (text.split("\n", 3) + [""] * 3)[:4]
    found = language.tags(header)
    assert len(found) <= header.count(",") + 1
    for tag in found:
        assert tag.isascii()
        assert tag in header
        assert language.fitting(tag, OFFERED) in (*OFFERED, None)
    assert language.fitting(channel, OFFERED) in (*OFFERED, None)
    for number in (language.number(dialled), language.international(caller, "45"), language.number(caller)):
        assert number is None or (number.isascii() and number.isdigit())
    rules = LanguageBy(
        order=["dialled", "header", "channel", "country", "first"],
        own_country="45",
        countries={"45": "da"},
        dialled={"4570102030": "en"},
        header="X-Language",
    )
    chosen = language.choose(rules, OFFERED, language.Clues(dialled, caller, header, channel))
    assert chosen is not None
    assert chosen.language in OFFERED


class _Writer:
    """Takes the answer."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def control(data: bytes) -> None:
    """A question on the control socket: asked at most once, as one short word; and always closed."""
    _loop().run_until_complete(_control(data))


async def _control(data: bytes) -> None:
    asked: list[str] = []

    async def answer(question: str) -> dict[str, Any]:
        asked.append(question)
        return {"question": question}

    reader = asyncio.StreamReader(limit=MAX_QUESTION)
    reader.feed_data(data)
    reader.feed_eof()
    writer = _Writer()
    await Control(scratch() / "control", answer)._serve(reader, cast("asyncio.StreamWriter", writer))
    assert writer.closed
    assert len(asked) <= 1
    for question in asked:
        assert "\n" not in question
        assert len(question) <= MAX_QUESTION
        assert json.loads(writer.data) == {"question": question}
        assert writer.data.count(b"\n") == 1
    assert bool(asked) == (b"\n" in data[: MAX_QUESTION + 1])


def sound(data: bytes) -> None:
    """A WAV file."""
    path = written("sound.wav", data)
    try:
        found = read_wav(path)
    except ValueError as error:
        shown(str(error))
        return
    assert found.rate > 0
    assert found.channels
    assert len({len(channel) for channel in found.channels}) == 1
    assert sum(map(len, found.channels)) * 2 <= len(data)
    assert found.seconds >= 0
    with wave.open(str(path), "rb") as file:
        assert file.getframerate() == found.rate


RECORDING = "0" * 32
NEXT = b"\n----\n"
"""In an input for recordings: here the next of the switch's files begins."""


def recording(data: bytes) -> None:
    """What a switch, or a disk, left of a recording: both sides in one, or the caller's, the agent's, and the mix."""
    folder = scratch() / "recordings"
    prepare(folder)
    assert discard(folder, RECORDING)
    for part, name in zip(data.split(NEXT), (".raw", "-caller.wav", "-agent.wav", ".wav"), strict=False):
        if part:
            written(f"recordings/{RECORDING}{name}", part)
    ours, mixed = unfinished(folder, RECORDING), (folder / f"{RECORDING}.wav").exists()
    try:
        found = finish(folder, RECORDING)
    except RecordingError as error:
        shown(str(error))
        return
    left = [path.name for path in folder.iterdir()]
    assert left == ([] if found.file is None else [found.file])
    if found.file is not None and ours and not mixed:  # a whole one that is there already is taken as it says
        made = read_wav(folder / found.file)
        assert len(made.channels) == 2
        assert found.milliseconds == len(made.channels[0]) // 8
        assert found.size == (folder / found.file).stat().st_size <= 4 * len(data) + 1000


def transcript(data: bytes) -> None:
    """Recorded sessions of both switches."""
    with contextlib.suppress(transcripts.TranscriptError, UnicodeDecodeError):
        read = transcripts.parse(data.decode())
        for entry in read.entries:
            assert transcripts.unescape(transcripts.escape(entry.data)) == entry.data
        read.sessions()
    assert transcripts.unescape(transcripts.escape(data)) == data
    with contextlib.suppress(freeswitch_transcripts.TranscriptError):
        blocks = freeswitch_transcripts.parse(data)
        for tag in blocks.tags:
            for block in blocks.blocks(tag):
                assert block.data in data
    for message in freeswitch_transcripts.messages(data):
        assert len(message.body) + len(message.after) <= len(data)
