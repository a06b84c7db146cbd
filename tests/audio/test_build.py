"""Prompts in every format: exact lengths, digests, levels, no aliasing, and only what changed is built again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.audio import build
from ivr_consent.audio.build import (
    LEAD_MS,
    MANIFEST,
    PEAK_DBFS,
    TAIL_MS,
    TARGET_DBFS,
    Manifest,
    available_formats,
    build_prompts,
    load_manifest,
    telephone_band,
    verify_manifest,
)
from ivr_consent.audio.speech import SpeechError, Voice, espeak_voice
from ivr_consent.core.errors import AudioError
from ivr_consent.testing.wav import read_wav, tone_power

TEXTS = {
    "who": "This is Northgate Water, the controller of the recording.",
    "yes": "Yes.",
    "question": "Do you consent? Press 1 for yes or 2 for no.",
}
VOICE = espeak_voice("en")


@pytest.fixture(autouse=True)
def _programs() -> None:
    """Skip without the programs, but never silently in continuous integration."""
    for program in ("espeak-ng", "ffmpeg"):
        if shutil.which(program) is None:
            reason = f"{program} is not installed"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.fixture
def built(tmp_path: Path) -> tuple[Manifest, Path]:
    folder = tmp_path / "en"
    return build_prompts(TEXTS, "en", folder, voice=VOICE), folder


def samples_of(data: bytes) -> array[int]:
    result = array("h", data)
    if sys.byteorder == "big":
        result.byteswap()
    return result


def tone(hz: float, rate: int, seconds: float, amplitude: float = 12000) -> bytes:
    values = array("h", (round(amplitude * math.sin(2 * math.pi * hz * n / rate)) for n in range(int(rate * seconds))))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def dbfs(values: Sequence[int]) -> float:
    return 10 * math.log10(sum(x * x for x in values) / len(values) / 32768**2)


def tone_voice(
    hz: float, *, rate: int = 8000, channels: int = 1, seconds: float = 0.5, amplitude: float = 3000
) -> Voice:
    """An engine that answers every text with a tone."""
    code = (
        "import array, math, sys, wave; sys.stdin.read();"
        "hz, rate, channels, seconds, amplitude = (float(x) for x in sys.argv[1:]);"
        "a = array.array('h', (round(amplitude * math.sin(2 * math.pi * hz * (n // int(channels)) / rate))"
        " for n in range(int(rate * seconds) * int(channels))));"
        "w = wave.open('/dev/stdout', 'wb'); w.setparams((int(channels), 2, int(rate), len(a) // int(channels),"
        " 'NONE', '')); w.writeframesraw(a.tobytes()); w.close()"
    )
    argv = (sys.executable, "-c", code, *(str(x) for x in (hz, rate, channels, seconds, amplitude)))
    return Voice("tone", "en", argv=argv, version_argv=())


def mulaw(code: int) -> tuple[int, int]:
    """Linear value of a mu-law code (G.711), and the size of the step that it stands for."""
    code = ~code & 0xFF
    segment = code >> 4 & 7
    value = (((code & 15) << 3) + 0x84 << segment) - 0x84
    return (-value if code & 0x80 else value), 8 << segment


def alaw(code: int) -> tuple[int, int]:
    code ^= 0x55
    segment = code >> 4 & 7
    value = (code & 15) << 4
    value = value + 8 if segment == 0 else value + 0x108 << segment - 1
    return (value if code & 0x80 else -value), 16 << max(segment - 1, 0)


def test_lengths_are_exact_in_every_format(built: tuple[Manifest, Path]) -> None:
    """R2: how much was heard is counted in samples, so no format may be longer or shorter than another."""
    manifest, folder = built
    assert list(manifest.prompts) == list(TEXTS)
    for prompt_id, prompt in manifest.prompts.items():
        n = prompt.samples
        assert n % 160 == 0
        assert prompt.duration_s == n / 8000
        assert set(prompt.files) == set(available_formats())
        sizes = {form: (folder / f"{prompt_id}.{form}").stat().st_size for form in prompt.files}
        assert sizes["ulaw"] == sizes["alaw"] == n
        assert sizes["sln16"] == 4 * n
        assert sizes["wav"] == 44 + 2 * n
        assert sizes.get("gsm", n // 160 * 33) == n // 160 * 33
        sound = read_wav(folder / f"{prompt_id}.wav")
        assert (sound.rate, len(sound.channels), len(sound.channels[0])) == (8000, 1, n)
        assert {form: file.bytes for form, file in prompt.files.items()} == sizes
        assert {f.samples for form, f in prompt.files.items() if form != "sln16"} == {n}
        assert prompt.files["sln16"].samples == 2 * n


def test_gsm_decodes_to_the_same_length(built: tuple[Manifest, Path]) -> None:
    manifest, folder = built
    if "gsm" not in available_formats():
        pytest.skip("this ffmpeg has no GSM encoder")
    argv = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(folder / "who.gsm"), "-f", "s16le", "pipe:1"]
    decoded = subprocess.run(argv, capture_output=True, check=True, timeout=20).stdout
    assert len(decoded) == 2 * manifest.prompts["who"].samples


def test_digests_and_modes(built: tuple[Manifest, Path]) -> None:
    manifest, folder = built
    for prompt in manifest.prompts.values():
        assert prompt.text_sha256 == hashlib.sha256(TEXTS[prompt.id].encode()).hexdigest()
        for file in prompt.files.values():
            assert file.sha256 == hashlib.sha256((folder / file.name).read_bytes()).hexdigest()
    assert verify_manifest(manifest, folder) == []
    assert load_manifest(folder / MANIFEST) == manifest
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    assert manifest.engine == "espeak-ng"
    assert manifest.voice == "en-gb"
    assert manifest.engine_version.startswith("eSpeak NG")
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [MANIFEST, *(f.name for p in manifest.prompts.values() for f in p.files.values())]
    )


def test_the_switch_can_read_what_is_made_under_a_strict_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        build_prompts({"a": "One."}, "en", tmp_path / "x" / "en", voice=VOICE)
    finally:
        os.umask(old)
    for folder in (tmp_path / "x", tmp_path / "x" / "en"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "x" / "en").iterdir()} == {0o644}


def test_level_peak_and_silence_at_both_ends(built: tuple[Manifest, Path]) -> None:
    manifest, folder = built
    for prompt in manifest.prompts.values():
        pcm = read_wav(folder / f"{prompt.id}.wav").channels[0]
        lead, tail = LEAD_MS * 8, TAIL_MS * 8
        speech = pcm[lead : len(pcm) - tail]
        assert abs(dbfs(speech) - TARGET_DBFS) < 1.5
        assert max(abs(x) for x in pcm) / 32768 <= 10 ** (PEAK_DBFS / 20)
        # 10 ms of tolerance: the trimming looks in steps of 10 ms, the limiter delays by 5
        assert max(abs(x) for x in pcm[: lead - 80]) < 200
        assert max(abs(x) for x in pcm[len(pcm) - tail + 160 :]) < 200
        assert max(abs(x) for x in pcm[lead : lead + 1600]) > 1000


@pytest.mark.parametrize("amplitude", [60, 32000])
def test_quiet_and_loud_voices_come_out_alike(amplitude: int, tmp_path: Path) -> None:
    voice = tone_voice(1000, rate=16000, amplitude=amplitude)
    build_prompts({"a": "x"}, "en", tmp_path, voice=voice)
    pcm = read_wav(tmp_path / "a.wav").channels[0]
    assert abs(dbfs(pcm[1200:4400]) - TARGET_DBFS) < 1.5


@pytest.mark.parametrize("coded", ["ulaw", "alaw"])
def test_companded_file_equals_wav_within_quantisation(coded: str, built: tuple[Manifest, Path]) -> None:
    _, folder = built
    pcm = read_wav(folder / "question.wav").channels[0]
    decode = mulaw if coded == "ulaw" else alaw
    for code, linear in zip((folder / f"question.{coded}").read_bytes(), pcm, strict=True):
        value, step = decode(code)
        assert abs(value - linear) <= step


def test_wide_format_holds_what_the_narrow_ones_cannot(tmp_path: Path) -> None:
    build_prompts({"a": "x"}, "en", tmp_path, voice=tone_voice(5000, rate=44100))
    wide = samples_of((tmp_path / "a.sln16").read_bytes())
    assert tone_power(wide[4000:6000], 5000, 16000) > 0.004


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_no_aliasing(rate: int) -> None:
    """A 5 kHz tone must not come back as 3 kHz, nor as anything else."""
    narrow = samples_of(telephone_band(tone(5000, rate, 1.0), rate))
    inner = narrow[800:7200]
    assert tone_power(inner, 3000) < 1e-8
    assert max(abs(x) for x in inner) <= 4


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_speech_band_passes(rate: int) -> None:
    for hz in (400, 1000, 3000):
        inner = samples_of(telephone_band(tone(hz, rate, 0.5), rate))[800:3200]
        assert abs(10 * math.log10(tone_power(inner, hz) / (0.5 * (12000 / 32768) ** 2))) < 1.0
    for hz in (50, 3900):
        inner = samples_of(telephone_band(tone(hz, rate, 0.5), rate))[800:3200]
        assert tone_power(inner, hz) < 0.5 * (12000 / 32768) ** 2 / 100


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(8000, 1, 0.1234), (11025, 2, 0.37), (48000, 2, 1.0001)])
def test_lengths_are_exact_for_every_source(rate: int, channels: int, seconds: float, tmp_path: Path) -> None:
    voice = tone_voice(700, rate=rate, channels=channels, seconds=seconds)
    manifest = build_prompts({"a": "x"}, "en", tmp_path, voice=voice)
    assert verify_manifest(manifest, tmp_path) == []
    seconds += (LEAD_MS + TAIL_MS) / 1000
    assert abs(manifest.duration_s - seconds) < 0.05


def test_only_what_changed_is_built_again(built: tuple[Manifest, Path]) -> None:
    before, folder = built

    def marks() -> dict[str, tuple[int, int]]:
        return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.iterdir() if p.name != MANIFEST}

    old = marks()
    assert build_prompts(TEXTS, "en", folder, voice=VOICE) == before
    assert marks() == old

    changed = {**TEXTS, "yes": "Yes, it is."}
    after = build_prompts(changed, "en", folder, voice=VOICE)
    assert {name.partition(".")[0] for name, mark in marks().items() if mark != old[name]} == {"yes"}
    assert after.prompts["who"] == before.prompts["who"]
    assert after.prompts["yes"].text_sha256 != before.prompts["yes"].text_sha256

    old = marks()
    (folder / "who.alaw").write_bytes(b"x" * before.prompts["who"].samples)
    again = build_prompts(changed, "en", folder, voice=VOICE)
    assert {name.partition(".")[0] for name, mark in marks().items() if mark != old[name]} == {"who"}
    assert again == after

    old = marks()
    slower = Voice(VOICE.name, "en", VOICE.speed - 30)
    build_prompts(changed, "en", folder, voice=slower)
    assert all(mark != old[name] for name, mark in marks().items())

    fewer = build_prompts({"who": TEXTS["who"]}, "en", folder, voice=slower)
    assert list(fewer.prompts) == ["who"]
    assert list(load_manifest(folder / MANIFEST).prompts) == ["who"]


def test_same_texts_give_the_same_bytes(built: tuple[Manifest, Path], tmp_path: Path) -> None:
    assert build_prompts(TEXTS, "en", tmp_path / "other", voice=VOICE) == built[0]


def test_progress_counts_every_prompt(tmp_path: Path) -> None:
    for _ in range(2):
        seen: list[tuple[str, int, int]] = []

        def note(*step: Any, seen: list[tuple[str, int, int]] = seen) -> None:
            seen.append(step)

        build_prompts(TEXTS, "en", tmp_path, voice=VOICE, progress=note)
        assert [step[1:] for step in seen] == [(1, 3), (2, 3), (3, 3)]
        assert {step[0] for step in seen} == set(TEXTS)


def test_verify_names_file_and_remedy(built: tuple[Manifest, Path]) -> None:
    """R2, R23: audio that is not what was built is found."""
    manifest, folder = built
    ulaw = (folder / "who.ulaw").read_bytes()
    middle = len(ulaw) // 2
    cases = {
        "changed": ulaw[:middle] + bytes([ulaw[middle] ^ 1]) + ulaw[middle + 1 :],
        "bytes where": ulaw[:-1],
        "empty": b"",
    }
    for word, data in cases.items():
        (folder / "who.ulaw").write_bytes(data)
        (problem,) = verify_manifest(manifest, folder)
        assert problem.where == str(folder / "who.ulaw")
        assert word in problem.found
        assert "Build the prompts again" in problem.remedy
    (folder / "who.ulaw").unlink()
    (folder / "yes.wav").unlink()
    (folder / "yes.wav").mkdir()
    assert [p.found for p in verify_manifest(manifest, folder)] == ["the file is missing"] * 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"name": "who.ulaw"', '"name": "../who.ulaw"'),
        ('"name": "who.ulaw"', '"name": "/etc/passwd"'),
        ('"schema": 1', '"schema": 2'),
        ('"samples": ', '"samples": 1'),
        ('"samples": ', '"samples": -'),
        ('"bytes": ', '"bytes": 1'),
        ('"order": [', '"order": ["more", '),
        ('"sha256": "', '"sha256": "x'),
        ('"language": "en"', '"language": 5'),
        ("{", ""),
        ("{", "[{"),
    ],
)
def test_damaged_manifest_is_refused(old: str, new: str, built: tuple[Manifest, Path]) -> None:
    _, folder = built
    path = folder / MANIFEST
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(AudioError, match="Build the prompts again"):
        load_manifest(path)


@pytest.mark.parametrize(
    "text", ["[]", "null", "{}", "", "\udcff", '{"schema": 1, "order": [], "prompts": []}', "[" * 99999]
)
def test_anything_else_is_no_manifest(text: str, tmp_path: Path) -> None:
    path = tmp_path / MANIFEST
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(AudioError, match="Build the prompts"):
        load_manifest(path)
    with pytest.raises(AudioError, match="Build the prompts"):
        load_manifest(tmp_path / "none")


@pytest.mark.parametrize("prompt_id", ["", "A", "../up", "a/b", "a.b", "-v", "a b", "a\n", "é", "a" * 65])
def test_id_that_cannot_be_a_file_name(prompt_id: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="file name"):
        build_prompts({prompt_id: "One."}, "en", tmp_path / "x", voice=VOICE)
    assert not list(tmp_path.iterdir())


def test_nothing_to_build_or_the_wrong_voice(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no text"):
        build_prompts({}, "en", tmp_path, voice=VOICE)
    with pytest.raises(AudioError, match="another voice"):
        build_prompts(TEXTS, "da", tmp_path, voice=VOICE)


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        (tone_voice(500, amplitude=0), "said nothing"),
        (tone_voice(500, seconds=0.05), "were spoken"),
        (Voice("v", "en", argv=("no-such-program-here",), version_argv=()), "cannot be started"),
    ],
)
def test_failure_names_the_prompt_and_leaves_nothing(voice: Voice, message: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=rf"prompt 'a': .*{message}"):
        build_prompts({"a": "x"}, "en", tmp_path, voice=voice)
    assert not list(tmp_path.iterdir())


def test_text_that_espeak_does_not_speak(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="prompt 'a'"):
        build_prompts({"a": "…"}, "en", tmp_path, voice=VOICE)


def test_missing_ffmpeg_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    available_formats.cache_clear()
    with pytest.raises(AudioError, match="apt-get install ffmpeg"):
        build_prompts(TEXTS, "en", tmp_path / "x", voice=VOICE)
    available_formats.cache_clear()


def test_without_a_gsm_encoder_the_other_formats_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "available_formats", lambda: ("ulaw", "alaw", "wav", "sln16"))
    manifest = build_prompts({"a": "One."}, "en", tmp_path, voice=VOICE)
    assert set(manifest.prompts["a"].files) == {"ulaw", "alaw", "wav", "sln16"}
    assert verify_manifest(load_manifest(tmp_path / MANIFEST), tmp_path) == []


def test_destination_that_looks_like_an_option_or_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-y", "http:x %d", "æ ø"):
        assert verify_manifest(build_prompts({"a": "One."}, "en", Path(name), voice=VOICE), Path(name)) == []


def test_unwritable_destination_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError, match="cannot be made"):
        build_prompts({"a": "One."}, "en", tmp_path / "file", voice=VOICE)


def test_interrupt_leaves_no_half_made_file(tmp_path: Path) -> None:
    folder = tmp_path / "en"
    code = (
        "import sys; from pathlib import Path; from ivr_consent.audio.build import build_prompts;"
        "from ivr_consent.audio.speech import Voice;"
        "voice = Voice('v', 'en', argv=(sys.executable, '-c', 'import time; time.sleep(60)'), version_argv=());"
        "build_prompts({f'p{n}': 'x' for n in range(9)}, 'en', Path(sys.argv[1]), voice=voice)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 15
        while not list(folder.glob(".build-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # let the voices start
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in said
    assert not list(folder.iterdir())


def test_speech_errors_keep_their_remedy(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="espeak-ng --voices") as caught:
        build_prompts({"a": "One."}, "xx", tmp_path, voice=espeak_voice("xx"))
    assert isinstance(caught.value.__cause__, SpeechError)
