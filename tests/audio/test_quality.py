"""How prompts sound, in every language that is shipped, measured on the files that were built.

Loudness is read from the summary that ffmpeg itself prints, and files are decoded without our own functions.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ivr_consent.audio.build import build_prompts
from ivr_consent.audio.dtmf import keys_heard
from ivr_consent.audio.formats import FORMATS
from ivr_consent.audio.measure import silence_at_ends
from ivr_consent.audio.shape import PEAK_DBFS
from ivr_consent.audio.speech import espeak_voice
from ivr_consent.audio.store import PromptAudio, Recipe, verify
from tests.audio.support import LANGUAGES, alaw, ffmpeg, lufs, mulaw, played
from tests.tools import need

TARGET = -20.0

STATEMENTS = {
    "da": ("Der optages ikke noget nu. Optagelsen begynder kun, hvis du trykker ja.", "Dette opkald optages ikke."),
    "de": ("Es wird jetzt nicht aufgezeichnet. Nur wenn Sie Ja wählen, beginnt sie.", "Sie werden jetzt verbunden."),
    "en": ("Nothing is recorded now. Recording starts only if you press yes.", "You are connected now."),
    "es": ("Ahora no se graba nada. La grabación empieza solo si pulsa sí.", "Ahora le pasamos con un agente."),
    "fi": ("Nyt ei tallenneta mitään. Tallennus alkaa vain, jos suostutte.", "Teidät yhdistetään nyt."),
    "fr": ("Rien n'est enregistré maintenant, sauf si vous dites oui.", "Vous êtes mis en relation."),
    "nl": ("Er wordt nu niets opgenomen. De opname begint alleen als u ja kiest.", "U wordt nu doorverbonden."),
    "no": ("Ingenting tas opp nå. Opptaket begynner bare hvis du velger ja.", "Du settes over nå."),
    "pl": ("Teraz nic nie jest nagrywane. Nagrywanie zacznie się dopiero po zgodzie.", "Łączymy z konsultantem."),
    "sv": ("Inget spelas in nu. Inspelningen börjar bara om du trycker ja.", "Du kopplas fram nu."),
}

QUESTIONS = {
    "da": ("Giver du samtykke til optagelse?", "Tryk 1 for ja.", "Tryk 2 for nej.", "Ingen tast betyder nej."),
    "de": ("Willigen Sie ein?", "Drücken Sie 1 für Ja.", "Drücken Sie 2 für Nein.", "Keine Taste heißt nein."),
    "en": ("Do you consent to recording?", "Press 1 for yes.", "Press 2 for no.", "No key means no recording."),
    "es": ("¿Consiente la grabación?", "Pulse 1 para sí.", "Pulse 2 para no.", "Ninguna tecla significa que no."),
    "fi": ("Suostutteko tallennukseen?", "Painakaa 1, jos suostutte.", "Painakaa 2, jos ette suostu.", "Muuten ei."),
    "fr": ("Acceptez-vous d'être enregistré ?", "Tapez 1 pour oui.", "Tapez 2 pour non.", "Aucune touche : non."),
    "nl": ("Stemt u in met opname?", "Toets 1 voor ja.", "Toets 2 voor nee.", "Niets toetsen betekent nee."),
    "no": ("Samtykker du til opptak?", "Trykk 1 for ja.", "Trykk 2 for nei.", "Ingen tast betyr nei."),
    "pl": ("Czy wyrażają Państwo zgodę?", "Klawisz 1 oznacza zgodę.", "Klawisz 2 oznacza odmowę.", "Brak oznacza nie."),
    "sv": ("Samtycker du till inspelning?", "Tryck 1 för ja.", "Tryck 2 för nej.", "Ingen knapp betyder nej."),
}


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("espeak-ng", "ffmpeg")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every test finds what another has built: the tests only listen."""
    return tmp_path_factory.mktemp("quality")


def build(language: str, store: Path) -> list[PromptAudio]:
    voice = espeak_voice(language)
    recipes = [Recipe(f"s{n}", language, text, voice, None) for n, text in enumerate(STATEMENTS[language])]
    parts = QUESTIONS[language]
    recipes.append(Recipe("question", language, " ".join(parts), voice, None, parts))
    return list(build_prompts(recipes, store).values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_prompts_of_a_language_sound_as_they_must(language: str, store: Path) -> None:
    """R2: no segment is said more softly, faster or less intelligibly than another, in no language and no format."""
    for audio in build(language, store):
        assert verify(audio, store) == []
        folder = audio.folder(store)
        sounds = {form: played(folder / FORMATS[form].file) for form in audio.files}
        for form, (samples, rate) in sounds.items():
            assert abs(lufs(samples, rate) - TARGET) <= 1.0, form
            # G.722 and GSM may overshoot by a little where the others hold the limit exactly
            limit = PEAK_DBFS + {"g722": 1.0, "gsm": 2.7}.get(form, 0.0)
            assert np.abs(samples.astype(int)).max() < 32768 * 10 ** (limit / 20), form
            assert len(samples) == audio.samples * rate // 8000, form
            begin, end = silence_at_ends(samples, rate)
            assert 0.03 <= begin <= 0.2, form
            assert 0.02 <= end <= 0.2, form
        master, _ = sounds["wav"]
        assert keys_heard(master) == []
        if audio.duration_s > 1.6:  # a shorter one is measured without the silence round it
            assert abs(audio.loudness / 100 - lufs(master, 8000)) <= 0.06
        assert abs(audio.peak / 100 - 20 * math.log10(np.abs(master.astype(int)).max() / 32768)) <= 0.01
        for form, table in (("ulaw", mulaw()), ("alaw", alaw())):
            codes = np.fromfile(folder / FORMATS[form].file, np.uint8)
            values, steps = (column[codes] for column in table)
            assert (np.abs(values - master) <= steps).all(), form


@pytest.mark.parametrize("language", LANGUAGES)
def test_yes_and_no_are_equally_long_and_loud(language: str, store: Path) -> None:
    """R5: neither choice is easier to hear than the other."""
    audio = build(language, store)[-1]
    samples, _ = played(audio.path(store).with_suffix(".wav"))
    assert [mark.name for mark in audio.marks] == ["question", "yes", "no", "otherwise"]
    lengths = {mark.name: mark.end - mark.begin for mark in audio.marks}
    assert abs(lengths["yes"] / lengths["no"] - 1) <= 0.035
    loud = {mark.name: lufs(samples[mark.begin : mark.end], 8000) for mark in audio.marks}
    assert abs(loud["yes"] - loud["no"]) <= 0.7
    # the marks lie where the speech is: all that is loud is inside them, and each begins and ends with speech
    outside = np.ones(len(samples), bool)
    for mark in audio.marks:
        outside[mark.begin - 40 : mark.end + 40] = False
        begin, end = silence_at_ends(samples[mark.begin : mark.end], 8000)
        assert max(begin, end) <= 0.12
    assert np.abs(samples[outside].astype(int)).max() < 300


def test_all_segments_are_equally_loud_across_languages(tmp_path: Path) -> None:
    built = [audio for language in ("da", "fi", "pl") for audio in build(language, tmp_path)]
    heard = [lufs(*played(audio.path(tmp_path).with_suffix(".ulaw"))) for audio in built]
    assert max(heard) - min(heard) <= 1.0


def test_wider_formats_hold_what_the_narrow_ones_cannot(tmp_path: Path) -> None:
    formats = ("wav", "sln", "sln16", "sln32", "sln48", "wav16", "wav32", "wav48")
    recipe = Recipe("a", "en", STATEMENTS["en"][0], espeak_voice("en"), None, formats=formats)
    (audio,) = build_prompts([recipe], tmp_path).values()
    assert verify(audio, tmp_path) == []
    above = {}
    for form in formats:
        samples, rate = played(audio.folder(tmp_path) / FORMATS[form].file)
        assert abs(lufs(samples, rate) - TARGET) <= 1.0, form
        assert len(samples) == audio.samples * rate // 8000
        spectrum = np.abs(np.fft.rfft(samples / 32768)) ** 2
        hz = np.fft.rfftfreq(len(samples), 1 / rate)
        above[form] = [
            10 * math.log10(spectrum[hz > edge].sum() / spectrum.sum() + 1e-15) for edge in (3600, 7900, 11500)
        ]
    assert above["wav"][0] < -50
    assert above["sln"][0] < -50
    assert all(above[form][0] > -30 for form in ("sln16", "sln32", "sln48", "wav16", "wav32", "wav48"))
    assert all(above[form][1] > -50 for form in ("sln32", "sln48", "wav32", "wav48"))
    # nothing above half the rate at which the voice speaks: no images of the upsampling
    assert all(above[form][2] < -60 for form in ("sln32", "sln48", "wav32", "wav48"))


def test_wav_files_say_what_they_hold(tmp_path: Path) -> None:
    formats = ("wav", "wav16", "wav48")
    recipe = Recipe("a", "en", "Hello there.", espeak_voice("en"), None, formats=formats)
    (audio,) = build_prompts([recipe], tmp_path).values()
    assert sorted(p.name for p in audio.folder(tmp_path).glob("*.wav")) == [
        "prompt-16000.wav",
        "prompt-48000.wav",
        "prompt.wav",
    ]
    for form in formats:
        path = audio.folder(tmp_path) / FORMATS[form].file
        header = path.read_bytes()[:44]
        assert header[36:40] == b"data"
        assert int.from_bytes(header[24:28], "little") == FORMATS[form].rate
        assert int.from_bytes(header[40:44], "little") == path.stat().st_size - 44
        assert len(ffmpeg("-i", path, "-f", "s16le", "-")) == path.stat().st_size - 44


@pytest.mark.parametrize(("language", "digit"), [("no", "6"), ("da", "6"), ("sv", "0"), ("pl", "9")])
def test_the_shortest_words_are_as_loud_as_the_rest(language: str, digit: str, tmp_path: Path) -> None:
    """A digit of a reference code: a vowel of a tenth of a second between sounds that a telephone hardly carries."""
    (audio,) = build_prompts([Recipe("digit", language, digit, espeak_voice(language), None)], tmp_path).values()
    samples, rate = played(audio.path(tmp_path).with_suffix(".wav"))
    begin, end = (round(seconds * rate) for seconds in silence_at_ends(samples, rate))
    word = samples[begin : len(samples) - end]
    assert abs(lufs(np.tile(word, 6), rate) - TARGET) <= 1.0
