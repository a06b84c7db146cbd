"""Text to speech by outside commands: what is said is said, never run, and no command outlives its bounds."""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from ivr_consent.audio import speech
from ivr_consent.audio.speech import (
    CommandError,
    SpeechError,
    Voice,
    engine_version,
    espeak_voice,
    parse_wav,
    run_bounded,
    speak,
)
from ivr_consent.core.errors import AudioError
from tests.audio.support import LANGUAGES
from tests.tools import need


def python_voice(code: str, *extra: str, timeout_s: float = 10.0) -> Voice:
    """A voice that is a few lines of Python."""
    return Voice("test", "en", argv=(sys.executable, "-c", code, *extra), version_argv=(), timeout_s=timeout_s)


def wav(pcm: bytes, *, coding: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16, size: int = -1) -> bytes:
    form = struct.pack("<HHIIHH", coding, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    length = len(pcm) if size < 0 else size
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    return b"RIFF" + struct.pack("<I", 0) + body + b"data" + struct.pack("<I", length) + pcm


@pytest.mark.parametrize("language", LANGUAGES)
def test_espeak_speaks_each_shipped_language(language: str) -> None:
    need("espeak-ng")
    said = speak("1 2 3 4 5", espeak_voice(language))
    assert (said.rate, said.channels) == (22050, 1)
    assert 0.5 < said.duration_s < 10
    assert any(said.pcm)


@pytest.mark.parametrize(
    "text",
    [
        "--help",
        "-v",
        ";rm -rf ~ ; touch owned",
        "$(touch owned)",
        "`touch owned`",
        "| touch owned",
        "a > owned",
        "%s %n",
    ],
)
def test_text_that_looks_like_a_command_or_option_is_spoken(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("espeak-ng")
    monkeypatch.chdir(tmp_path)
    said = speak(text, espeak_voice("en"))
    assert 0.1 < said.duration_s < 20
    assert not list(tmp_path.iterdir())


def test_all_of_a_long_text_is_spoken() -> None:
    need("espeak-ng")
    voice = espeak_voice("en")
    once, tenfold = speak("We ask you. " * 5, voice), speak("We ask you. " * 50, voice)
    assert tenfold.duration_s > 9 * once.duration_s


def test_text_comes_on_stdin_and_nowhere_else(tmp_path: Path) -> None:
    code = (
        "import json, os, sys; from pathlib import Path; text = sys.stdin.buffer.read().decode();"
        "Path(sys.argv[1]).write_text(json.dumps([sys.argv[2:], text, 'consent?' in str(os.environ)]))"
    )
    seen = tmp_path / "seen"
    voice = python_voice(code, str(seen), "{voice}", "--lang={language}", "{speed}")
    with pytest.raises(SpeechError, match="no usable sound"):
        speak("Ønsker du … consent?", voice)
    assert json.loads(seen.read_text()) == [["test", "--lang=en", "170"], "Ønsker du … consent?\n", False]


@pytest.mark.parametrize("text", ["", "  \n", "x" * 8001, "a\x01b", "a\0b", "a\x7f", "\ud800"])
def test_unspeakable_text_is_refused(text: str) -> None:
    with pytest.raises(SpeechError):
        speak(text, python_voice("raise SystemExit(0)"))


@pytest.mark.parametrize(
    "argv",
    [(), ("",), ("{voice}",), ("say", "{text}"), ("say", "{0}"), ("say", "{}"), ("say", "a\0b")],
)
def test_template_that_cannot_work_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(SpeechError):
        Voice("a", "en", argv=argv)


@pytest.mark.parametrize("name", ["", "-f", "a\nb", "a\0", "x;y", "--path=/"])
def test_voice_name_that_could_be_an_option_is_refused(name: str) -> None:
    with pytest.raises(SpeechError):
        Voice(name, "en")


def test_missing_engine_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpeechError, match="apt-get install espeak-ng"):
        speak("hello", espeak_voice("en"))
    with pytest.raises(SpeechError, match="apt-get install espeak-ng"):
        engine_version(espeak_voice("en"))


@pytest.mark.parametrize("name", ["xx", "xx-none", "en-zz", "da-foo", "en-gb+nosuch", "da+nosuch", "en+v/f3"])
def test_unknown_espeak_voice_is_an_error(name: str) -> None:
    """Left to itself it speaks an unknown region or variant in another voice, and says nothing about it."""
    need("espeak-ng")
    with pytest.raises(SpeechError, match="espeak-ng --voices"):
        speak("hello", Voice(name, "en"))


@pytest.mark.parametrize("name", ["en", "en-gb", "EN-GB", "no", "nb", "fr", "gmw/en", "en+f3", "da+Annie"])
def test_every_name_of_a_voice_that_espeak_knows(name: str) -> None:
    need("espeak-ng")
    assert speak("hello", Voice(name, "en")).duration_s > 0.3


def test_every_shipped_voice_is_unhurried() -> None:
    """The same sentence, said in one language, takes about as long as in another."""
    need("espeak-ng")
    texts = {
        "da": "Optagelsen begynder kun, hvis du trykker ja. Samtalen gemmes i tredive dage og slettes derefter.",
        "de": "Die Aufzeichnung beginnt nur, wenn Sie Ja drücken. Sie wird dreißig Tage gespeichert und dann gelöscht.",
        "en": "The recording starts only if you press yes. It is kept for thirty days and is then deleted.",
        "es": "La grabación empieza solo si pulsa sí. Se conserva treinta días y después se borra.",
        "fi": "Tallennus alkaa vain, jos suostutte. Sitä säilytetään kolmekymmentä päivää, sitten se poistetaan.",
        "fr": "L'enregistrement commence seulement si vous dites oui. Il est conservé trente jours, puis effacé.",
        "nl": "De opname begint alleen als u ja kiest. Ze wordt dertig dagen bewaard en daarna gewist.",
        "no": "Opptaket begynner bare hvis du velger ja. Det lagres i tretti dager og slettes deretter.",
        "pl": "Nagranie zacznie się tylko po zgodzie. Przechowujemy je trzydzieści dni, a potem usuwamy.",
        "sv": "Inspelningen börjar bara om du trycker ja. Den sparas i trettio dagar och raderas sedan.",
    }
    seconds = {language: speak(text, espeak_voice(language)).duration_s for language, text in texts.items()}
    middle = sorted(seconds.values())[len(seconds) // 2]
    assert all(0.8 * middle < value < 1.25 * middle for value in seconds.values()), seconds


def test_engine_version() -> None:
    need("espeak-ng")
    assert engine_version(espeak_voice("en")).startswith("eSpeak NG")
    assert "/" not in engine_version(espeak_voice("en"))
    assert engine_version(python_voice("")) == ""


def test_hanging_command_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; from pathlib import Path;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "Path(sys.argv[1]).write_text(str(child.pid)); time.sleep(60)"
    )
    note = tmp_path / "child"
    began = time.monotonic()
    with pytest.raises(SpeechError, match=r"did not end within 1\.5 s"):
        speak("hello", python_voice(code, str(note), timeout_s=1.5))
    assert time.monotonic() - began < 6
    child = Path("/proc") / note.read_text()
    for _ in range(100):
        if not child.exists() or child.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the command's child lives on")


def test_command_that_closes_its_output_and_stays_is_killed() -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(60)"
    with pytest.raises(SpeechError, match="did not end"):
        speak("hello", python_voice(code, timeout_s=1.0))


@pytest.mark.parametrize("stream", [1, 2])
def test_command_that_never_stops_writing_is_stopped(stream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "MAX_SPEECH", 1_000_000)
    code = f"import os\nwhile True: os.write({stream}, b'x' * 65536)"
    began = time.monotonic()
    with pytest.raises(SpeechError, match=r"wrote more than 1000000 bytes|did not end"):
        speak("hello", python_voice(code, timeout_s=2.0))
    assert time.monotonic() - began < 6


def test_failing_command_says_why() -> None:
    with pytest.raises(SpeechError, match=r"exit code 7: no such voice\b"):
        speak("hello", python_voice("import sys; sys.stderr.write('no such\\nvoice'); sys.exit(7)"))
    with pytest.raises(SpeechError, match="signal 9"):
        speak("hello", python_voice("import os; os.kill(os.getpid(), 9)"))


def test_long_complaint_is_cut() -> None:
    code = "import sys; sys.stderr.write('x' * 1000000); sys.exit(1)"
    with pytest.raises(SpeechError) as caught:
        speak("hello", python_voice(code))
    assert len(str(caught.value)) < 1000


def test_stop_event_ends_a_command_at_once() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(CommandError, match="stopped"):
        run_bounded([sys.executable, "-c", "import time; time.sleep(60)"], b"", timeout_s=30, max_output=9, stop=stop)
    assert time.monotonic() - began < 6
    timer.join()


def test_large_input_and_output_do_not_block_each_other() -> None:
    data = bytes(range(256)) * 8192
    argv = [sys.executable, "-c", "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"]
    assert run_bounded(argv, data, timeout_s=20, max_output=len(data)) == data


def test_command_that_does_not_read_its_input() -> None:
    argv = [sys.executable, "-c", "print('ok')"]
    assert run_bounded(argv, b"x" * 3_000_000, timeout_s=20, max_output=9) == b"ok\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"RIFF\0\0\0\0WAVE",
        b"ID3" + bytes(100),
        wav(b"\0\0" * 100, coding=3),
        wav(b"\0\0" * 100, bits=8),
        wav(b"\0\0" * 100, channels=6),
        wav(b"\0\0" * 100, rate=4000),
        wav(b""),
        wav(b"\0"),
        b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd",
        wav(b"\0\0")[:40],
    ],
)
def test_output_that_is_no_usable_wav(data: bytes) -> None:
    with pytest.raises(AudioError):
        parse_wav(data)
    code = f"import sys; sys.stdin.read(); sys.stdout.buffer.write({data!r})"
    with pytest.raises(SpeechError, match="no usable sound"):
        speak("hello", python_voice(code))


def test_wav_of_a_pipe_with_impossible_sizes() -> None:
    assert parse_wav(wav(b"\1\0\2\0\3", size=0x7FFFF000)).pcm == b"\1\0\2\0"


def test_extensible_wav() -> None:
    form = struct.pack("<HHIIHH", 0xFFFE, 2, 48000, 192000, 4, 16) + struct.pack("<HHI", 22, 16, 3)
    form += struct.pack("<H", 1) + bytes(14)
    data = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 4) + b"\1\0\2\0"
    assert parse_wav(data) == speech.Speech(b"\1\0\2\0", 48000, 2)
