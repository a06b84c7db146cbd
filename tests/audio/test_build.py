"""Building prompts: only what is missing, whole or not at all, whoever else is building, whatever interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivr_consent.audio import ffmpeg as our_ffmpeg
from ivr_consent.audio import prompt
from ivr_consent.audio.build import build_prompts
from ivr_consent.audio.dtmf import Heard
from ivr_consent.audio.formats import FORMATS, STANDARD_FORMATS
from ivr_consent.audio.measure import Samples, silence_at_ends
from ivr_consent.audio.speech import SpeechError, Voice, espeak_voice
from ivr_consent.audio.store import PromptAudio, Recipe, find, verify
from ivr_consent.core.errors import AudioError
from tests.audio.support import dbfs, lufs, played, playing_voice, power, sine, tone_voice, wav
from tests.audio.test_store import touched
from tests.tools import need

VOICE = espeak_voice("en")
TEXTS = {
    "who": "This is Northgate Water, the controller of the recording.",
    "now": "Nothing is recorded now.",
    "rights": "You have a right of access.",
}


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("espeak-ng", "ffmpeg")


def recipes(texts: dict[str, str] | None = None, voice: Voice = VOICE, **changes: Any) -> list[Recipe]:
    return [Recipe(i, voice.language, text, voice, None, **changes) for i, text in (texts or TEXTS).items()]


def built(store: Path, *args: Any, **changes: Any) -> list[PromptAudio]:
    return list(build_prompts(recipes(*args, **changes), store).values())


def one(store: Path, voice: Voice, **changes: Any) -> tuple[PromptAudio, Samples]:
    """One prompt of a voice, and how it sounds at 8 kHz."""
    (audio,) = built(store, {"a": "x"}, voice, **changes)
    return audio, played(audio.path(store).with_suffix(".wav"))[0]


def marks(store: Path) -> dict[str, tuple[int, int]]:
    """Identity and time of every file in the store."""
    found = [path for path in store.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(p.relative_to(store)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


# what is built


def test_every_recipe_is_built_and_found_by_its_key(tmp_path: Path) -> None:
    wanted = recipes()
    audios = build_prompts(wanted, tmp_path)
    assert list(audios) == [recipe.key() for recipe in wanted]
    for recipe, audio in zip(wanted, audios.values(), strict=True):
        assert verify(audio, tmp_path) == []
        assert find(recipe, tmp_path) == audio
        assert set(audio.files) == set(STANDARD_FORMATS)
        assert audio.made_by.startswith("espeak-ng 1.")
        assert audio.made_by.endswith(" en-gb")
        assert audio.marks == ()
        assert audio.samples % 160 == 0
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "en"}


def test_equal_texts_share_a_sound_and_other_notices_find_it(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    first, second = Recipe("a", "en", "Hello.", VOICE, None), Recipe("b", "en", "Hello.", VOICE, None)
    audios = build_prompts([first, second], tmp_path, progress=lambda *step: seen.append(step))
    assert len(audios) == 1
    assert seen == [("a", 1, 1)]
    before = marks(tmp_path)
    assert build_prompts([second], tmp_path) == audios
    assert marks(tmp_path) == before


def test_nothing_is_built_twice_and_old_sounds_stay(tmp_path: Path) -> None:
    first = build_prompts(recipes(), tmp_path)
    before = marks(tmp_path)
    assert build_prompts(recipes(), tmp_path) == first
    assert marks(tmp_path) == before
    again = build_prompts(recipes({**TEXTS, "now": "Nothing is recorded yet."}), tmp_path)
    assert len(set(again) & set(first)) == 2
    assert {name: mark for name, mark in marks(tmp_path).items() if name in before} == before
    slower = build_prompts(recipes(voice=Voice(VOICE.name, "en", VOICE.speed - 30)), tmp_path)
    assert not set(slower) & {*first, *again}
    assert sum(a.samples for a in slower.values()) > sum(a.samples for a in first.values())
    assert {name: mark for name, mark in marks(tmp_path).items() if name in before} == before


def test_the_same_recipes_give_the_same_bytes(tmp_path: Path) -> None:
    assert build_prompts(recipes(), tmp_path / "a") == build_prompts(recipes(), tmp_path / "b", jobs=1)


def test_nothing_heavy_is_loaded_when_nothing_is_to_be_built(tmp_path: Path) -> None:
    build_prompts(recipes(), tmp_path)
    code = (
        "import sys; from pathlib import Path; from ivr_consent.audio.build import build_prompts\n"
        "from ivr_consent.audio.speech import espeak_voice; from ivr_consent.audio.store import Recipe\n"
        f"texts = {TEXTS!r}\n"
        "wanted = [Recipe(i, 'en', text, espeak_voice('en'), None) for i, text in texts.items()]\n"
        "assert len(build_prompts(wanted, Path(sys.argv[1]))) == 3\n"
        "print([name for name in ('numpy', 'pydub', 'num2words') if name in sys.modules])"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(argv, capture_output=True, check=True, text=True, timeout=60).stdout == "[]\n"


def test_progress_counts_every_sound(tmp_path: Path) -> None:
    for _ in range(2):
        seen: list[tuple[str, int, int]] = []
        build_prompts(recipes(), tmp_path, progress=lambda *step, seen=seen: seen.append(step))
        assert [step[1:] for step in seen] == [(1, 3), (2, 3), (3, 3)]
        assert {step[0] for step in seen} == set(TEXTS)


def test_nothing_wanted_is_nothing_built(tmp_path: Path) -> None:
    assert build_prompts([], tmp_path / "store") == {}
    assert list(tmp_path.iterdir()) == []


def test_store_that_looks_like_an_option_or_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-y", "http:x %d", "æ ø", "concat:a|b"):
        (audio,) = built(Path(name), {"a": "One."})
        assert verify(audio, Path(name)) == []


# how it sounds


@pytest.mark.parametrize("amplitude", [60, 32000])
def test_quiet_and_loud_voices_come_out_alike(amplitude: int, tmp_path: Path) -> None:
    audio, sound = one(tmp_path, tone_voice(1000, rate=16000, amplitude=amplitude, seconds=2))
    assert abs(lufs(sound, 8000) + 20) <= 0.6
    assert abs(audio.loudness + 2000) <= 30
    assert abs(dbfs(sound[2000:14000]) + 20) < 1.5


@pytest.mark.parametrize("seconds", [0.12, 0.3, 0.7, 1.5])
def test_a_short_word_is_as_loud_as_a_sentence(seconds: float, tmp_path: Path) -> None:
    """The meter's blocks are longer than a word: the silence in them must not be made up for."""
    audio, sound = one(tmp_path, tone_voice(1000, rate=16000, seconds=seconds))
    speech = sound[1000 : 1000 + round(8000 * seconds) - 500]
    assert abs(dbfs(speech) + 20) < 1.5
    assert abs(audio.loudness + 2000) <= 100


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(8000, 1, 0.1234), (11025, 2, 0.37), (48000, 2, 1.0001)])
def test_lengths_are_exact_for_every_source(rate: int, channels: int, seconds: float, tmp_path: Path) -> None:
    voice = tone_voice(700, rate=rate, channels=channels, seconds=seconds)
    audio, sound = one(tmp_path, voice, formats=tuple(FORMATS))
    assert verify(audio, tmp_path) == []
    assert len(sound) == audio.samples
    for form in audio.files:
        samples, own = played(audio.folder(tmp_path) / FORMATS[form].file)
        assert len(samples) == audio.samples * own // 8000, form
    assert abs(audio.duration_s - seconds - 0.19) < 0.05


@pytest.mark.parametrize("rate", [11025, 22050, 44100, 48000])
def test_nothing_aliases_into_a_prompt(rate: int, tmp_path: Path) -> None:
    """A tone of 5 kHz beside one of 1 kHz is gone from the narrow formats, and in the wide ones."""
    mixed = sine(1000, rate, 1.5, 6000) + sine(5000, rate, 1.5, 6000)
    voice = playing_voice(tmp_path, {"x": wav(mixed, rate)})
    audio, narrow = one(tmp_path / "store", voice)
    kept = power(narrow[2000:10000], 1000)
    assert power(narrow[2000:10000], 3000) < kept * 1e-5
    wide, _ = played(audio.path(tmp_path / "store").with_suffix(".sln16"))
    assert power(wide[4000:20000], 5000, 16000) > power(wide[4000:20000], 1000, 16000) / 2


def test_silence_round_the_speech_is_cut(tmp_path: Path) -> None:
    quiet = np.zeros(16000, np.int16)
    voice = playing_voice(tmp_path, {"x": wav(np.concatenate((quiet, sine(800, 16000, 1), quiet, quiet)), 16000)})
    _, sound = one(tmp_path / "store", voice)
    assert max(silence_at_ends(sound, 8000)) <= 0.13
    assert min(silence_at_ends(sound, 8000)) >= 0.08


def test_silence_longer_than_what_is_looked_at_first_is_cut_too(tmp_path: Path) -> None:
    quiet = np.zeros(8000 * 7, np.int16)
    voice = playing_voice(tmp_path, {"x": wav(np.concatenate((sine(800, 8000, 1), quiet)), 8000)})
    audio, _ = one(tmp_path / "store", voice)
    assert audio.duration_s < 1.3


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        (tone_voice(500, amplitude=0), "only silence"),
        (tone_voice(500, seconds=0.05), "were spoken"),
        (tone_voice(5000, rate=16000), "nothing is left of it in the telephone band"),
        (tone_voice(500, rate=8000, seconds=301), "301 s were spoken. Split the segment"),
        (Voice("v", "en", argv=("no-such-program-here",), version_argv=()), "cannot be started"),
    ],
)
def test_failure_names_the_prompt_and_leaves_nothing(voice: Voice, message: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=rf"prompt 'a' \(en\): .*{message}"):
        built(tmp_path, {"a": "x"}, voice)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_click_that_would_have_to_be_distorted_is_refused(tmp_path: Path) -> None:
    sound = sine(500, 8000, 3, 60)
    sound[8000:8004] = (30000, -30000, 30000, -30000)
    with pytest.raises(AudioError, match="Remove clicks and knocks"):
        one(tmp_path / "store", playing_voice(tmp_path, {"x": wav(sound, 8000)}))


def test_text_that_espeak_does_not_speak(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="prompt 'a'"):
        built(tmp_path, {"a": "…"})


def test_speech_errors_keep_their_remedy(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="espeak-ng --voices") as caught:
        built(tmp_path, {"a": "One."}, espeak_voice("xx"))
    assert isinstance(caught.value.__cause__, SpeechError)


def test_digits_are_spoken_as_words(tmp_path: Path) -> None:
    """The voice is given words; the digest is of the text as written."""
    heard = tmp_path / "heard"
    code = (
        "import sys; from pathlib import Path; text = sys.stdin.read(); Path(sys.argv[1]).write_text(text);"
        "sys.stdout.buffer.write(Path(sys.argv[2]).read_bytes())"
    )
    (tmp_path / "tone.wav").write_bytes(wav(sine(500, 8000, 1), 8000))
    argv = (sys.executable, "-c", code, str(heard), str(tmp_path / "tone.wav"))
    built(tmp_path / "store", {"a": "Call 12 34 56 78."}, Voice("v", "en", argv=argv))
    assert heard.read_text() == "Call one two, three four, five six, seven eight.\n"


# talking off


def key_tone(row: float, column: float, rate: int, seconds: float) -> Samples:
    return sine(row, rate, seconds, 5000) + sine(column, rate, seconds, 5000)


def test_a_prompt_that_sounds_like_a_key_is_refused(tmp_path: Path) -> None:
    """R4: a prompt must not press a key."""
    sound = np.concatenate((sine(500, 16000, 0.5), key_tone(697, 1209, 16000, 0.3), sine(500, 16000, 0.5)))
    with pytest.raises(AudioError, match=r"sounds like keys being pressed \(1 at 0\.\d s\)"):
        one(tmp_path / "store", playing_voice(tmp_path, {"x": wav(sound, 16000)}))


def test_a_prompt_that_sounds_like_a_key_by_accident_is_spoken_at_another_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    def heard(master: Samples) -> list[Heard]:
        lengths.append(len(master) - 190 * 8)
        return [Heard("5", 0, 204)] if len(lengths) < 3 else []

    monkeypatch.setattr(prompt, "keys_heard", heard)
    audio, sound = one(tmp_path, tone_voice(500, rate=16000, seconds=3))
    assert verify(audio, tmp_path) == []
    assert abs(lengths[1] / lengths[0] - 1 / 0.97) < 0.01
    assert abs(lengths[2] / lengths[0] - 1 / 1.03) < 0.01
    assert len(sound) - 190 * 8 == lengths[2]
    assert power(sound[2000:10000], 500) > 1e-3  # the pitch stays


# questions


def question(folder: Path, yes: float, no: float, *, loud: float = 1.0) -> tuple[Recipe, Path]:
    """A question whose yes and no are tones of so many seconds; yes so many times louder."""
    parts = ("Do you?", "yes", "no", "Else not.")
    tones = (sine(400, 16000, 1), sine(500, 16000, yes, 6000 * loud), sine(600, 16000, no, 6000), sine(700, 16000, 1))
    voice = playing_voice(folder, dict(zip(parts, (wav(tone, 16000) for tone in tones), strict=True)))
    return Recipe("q", "en", " ".join(parts), voice, None, parts), folder / "store"


@pytest.mark.parametrize(("yes", "no", "loud"), [(1.0, 1.0, 1.0), (1.0, 1.2, 2.0), (1.3, 1.05, 0.4)])
def test_yes_and_no_come_out_equally_long_and_loud(yes: float, no: float, loud: float, tmp_path: Path) -> None:
    """R5: which is said longer or louder is not left to the voice."""
    recipe, store = question(tmp_path, yes, no, loud=loud)
    (audio,) = build_prompts([recipe], store).values()
    sound, _ = played(audio.path(store).with_suffix(".wav"))
    said = {mark.name: sound[mark.begin : mark.end] for mark in audio.marks}
    assert abs(len(said["yes"]) / len(said["no"]) - 1) <= 0.03
    assert abs(lufs(said["yes"], 8000) - lufs(said["no"], 8000)) <= 0.5
    for name, hz in {"question": 400, "yes": 500, "no": 600, "otherwise": 700}.items():
        inner = said[name][200:-200]
        assert power(inner, hz) > 100 * max(power(inner, other) for other in (400, 500, 600, 700) if other != hz)
    gaps = [after.begin - before.end for before, after in zip(audio.marks, audio.marks[1:], strict=False)]
    assert all(abs(gap - 2800) <= 8 for gap in gaps)


def test_yes_and_no_that_are_too_different_are_refused(tmp_path: Path) -> None:
    recipe, store = question(tmp_path, 1.0, 1.5)
    with pytest.raises(AudioError, match=r"'yes' takes 1\.0 s, 'no' 1\.5 s\. Word them alike"):
        build_prompts([recipe], store)


def test_the_same_words_with_and_without_parts_are_two_sounds(tmp_path: Path) -> None:
    parts = ("Do you consent?", "Press 1 for yes.", "Press 2 for no.", "Nothing means no.")
    plain = Recipe("q", "en", " ".join(parts), VOICE, None)
    marked = Recipe("q", "en", " ".join(parts), VOICE, None, parts)
    first, second = build_prompts([plain, marked], tmp_path).values()
    assert first.marks == ()
    assert len(second.marks) == 4
    assert first.text_sha256 == second.text_sha256


# machines


def test_missing_ffmpeg_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    our_ffmpeg.available_formats.cache_clear()
    with pytest.raises(AudioError, match="apt-get install ffmpeg"):
        built(tmp_path / "x", {"a": "x"}, tone_voice(500))
    our_ffmpeg.available_formats.cache_clear()


def test_without_a_gsm_encoder_the_other_formats_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_ffmpeg, "available_formats", lambda: frozenset(FORMATS) - {"gsm"})
    wanted = recipes({"a": "One."})
    (audio,) = build_prompts(wanted, tmp_path).values()
    assert set(audio.files) == set(STANDARD_FORMATS) - {"gsm"}
    assert find(wanted[0], tmp_path) == audio


def test_unwritable_store_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError, match="cannot be written"):
        built(tmp_path / "file", {"a": "One."})


# interruptions and others


CHILD = (
    "import sys; from pathlib import Path; from ivr_consent.audio.build import build_prompts\n"
    "from ivr_consent.audio.speech import Voice; from ivr_consent.audio.store import Recipe\n"
    "code = 'import sys, time; sys.stdin.read(); print(1, file=open(sys.argv[1], \"a\"), flush=True); time.sleep(60)'\n"
    "voice = Voice('v', 'en', argv=(sys.executable, '-c', code, sys.argv[2]), version_argv=())\n"
    "wanted = [Recipe(f'p{n}', 'en', f'x{n}', voice, None) for n in range(9)]\n"
    "build_prompts(wanted, Path(sys.argv[1]))"
)


@contextlib.contextmanager
def building(store: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that builds with a voice that never ends, seen speaking."""
    spoken = folder / "spoken"
    os.mkfifo(spoken)
    argv = [sys.executable, "-c", CHILD, str(store), str(spoken)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            with spoken.open() as said:
                assert said.readline() == "1\n"
                yield process
        finally:
            process.kill()


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with building(store, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=45)
    assert "KeyboardInterrupt" in said
    assert {path.name for path in store.iterdir()} == {".lock"}


def test_a_killed_build_leaves_nothing_in_use_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with building(store, tmp_path) as process:
        process.kill()
        process.communicate(timeout=45)
        (left,) = store.glob(".build-*")
        assert not (store / "en").exists()
        (audio,) = built(store, {"a": "One."})
        assert not left.exists()
    assert verify(audio, store) == []
    assert {path.name for path in store.iterdir()} == {".lock", "en"}


def test_the_first_failure_ends_the_others(tmp_path: Path) -> None:
    """The voice that never ends does so at once, or the test would not."""
    sleeping = Voice("v", "en", argv=(sys.executable, "-c", "import time; time.sleep(60)"), version_argv=())
    failing = Voice("v", "en", argv=(sys.executable, "-c", "raise SystemExit(3)"), version_argv=())
    wanted = [*recipes({"b": "x"}, failing), *recipes({f"a{n}": f"x{n}" for n in range(5)}, sleeping)]
    with pytest.raises(AudioError, match=r"prompt 'b'.*exit code 3"):
        build_prompts(wanted, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert threading.active_count() < 10


def test_two_builds_at_once_into_one_store(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: build_prompts(recipes(), tmp_path, jobs=1), range(2))
    assert first == second
    assert all(verify(audio, tmp_path) == [] for audio in first.values())
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "en"}
    assert {path.name for path in (tmp_path / "en").iterdir()} == set(first)


def test_a_damaged_sound_is_built_again(tmp_path: Path) -> None:
    first = build_prompts(recipes(), tmp_path)
    before = marks(tmp_path)
    damaged = next(iter(first.values()))
    touched(damaged.folder(tmp_path) / "prompt.gsm", b"")
    assert build_prompts(recipes(), tmp_path) == first
    assert all(verify(audio, tmp_path) == [] for audio in first.values())
    after = marks(tmp_path)
    assert {name for name in before if after[name] != before[name]} == {
        name for name in before if name.split("/")[1] == damaged.key
    }
