"""The store of prompts: what names a sound, what is read back of it, and how a changed byte is found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ivr_consent.audio.formats import FORMATS, STANDARD_FORMATS
from ivr_consent.audio.speech import Voice
from ivr_consent.audio.staging import publish, staging
from ivr_consent.audio.store import (
    AudioFile,
    Mark,
    PromptAudio,
    Recipe,
    audio_document,
    audio_from,
    find,
    verify,
)
from ivr_consent.audio.takes import Take
from ivr_consent.core.errors import AudioError
from ivr_consent.core.notice import text_sha256

VOICE = Voice("v", "en", argv=("say",), version_argv=())
TAKE = Take(Path("/notices/en"), "a.wav", "0" * 64, 5)
PARTS = ("Do you?", "One for yes.", "Two for no.", "Else not.")


def recipe(text: str = "Hello.", **changes: Any) -> Recipe:
    return Recipe(**{"id": "a", "language": "en", "text": text, "voice": VOICE, "take": None, **changes})


def fabricated(wanted: Recipe, store: Path, samples: int = 320) -> PromptAudio:
    """Put files of the right lengths, without any sense in them, into the store."""
    with staging(store) as work:
        made = work / wanted.key()
        made.mkdir()
        files = {}
        for number, name in enumerate(wanted.formats):
            form = FORMATS[name]
            data = bytes([number + 1]) * form.bytes(samples)
            (made / form.file).write_bytes(data)
            files[name] = AudioFile(form.file, form.factor * samples, len(data), hashlib.sha256(data).hexdigest())
        marks = (Mark("question", 10, 20), Mark("yes", 30, 40), Mark("no", 50, 60), Mark("otherwise", 70, 320))
        audio = PromptAudio(
            wanted.key(),
            wanted.language,
            text_sha256(wanted.text),
            samples,
            -2003,
            -361,
            wanted.made_by(),
            marks if wanted.parts else (),
            MappingProxyType(files),
        )
        return publish(audio, made, store)


# what names a sound


def test_the_key_is_of_all_that_shapes_the_sound_and_of_nothing_else() -> None:
    key = recipe().key()
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
    assert recipe().key() == key
    assert recipe(id="b").key() == key
    assert recipe(formats=tuple(reversed(STANDARD_FORMATS))).key() == key
    others = [
        recipe("Hello").key(),
        recipe(language="en-gb", voice=dataclasses.replace(VOICE, language="en-gb")).key(),
        recipe(voice=dataclasses.replace(VOICE, speed=171)).key(),
        recipe(voice=dataclasses.replace(VOICE, name="w")).key(),
        recipe(voice=dataclasses.replace(VOICE, argv=("say", "-x"))).key(),
        recipe(voice=None, take=TAKE).key(),
        recipe(voice=None, take=dataclasses.replace(TAKE, sha256="1" * 64)).key(),
        recipe(formats=("wav",)).key(),
        recipe(" ".join(PARTS)).key(),
        recipe(" ".join(PARTS), parts=PARTS).key(),
    ]
    assert len({key, *others}) == len(others) + 1
    # how long a voice may take, and where a take lies, do not sound
    assert recipe(voice=dataclasses.replace(VOICE, timeout_s=5)).key() == key
    elsewhere = dataclasses.replace(TAKE, folder=Path("/x"), file="b.wav", size=6)
    assert recipe(voice=None, take=elsewhere).key() == recipe(voice=None, take=TAKE).key()


def test_the_key_holds_the_engine_s_version_which_is_asked_for_once(tmp_path: Path) -> None:
    """Another version of the voice speaks otherwise, so its sounds are other sounds."""
    count = tmp_path / "count"
    script = tmp_path / "engine"
    script.write_text(f"#!/bin/sh\necho x >> '{count}'\necho Engine 1.2.3 of $1\n")
    script.chmod(0o755)
    first = Voice("v", "en", argv=("say",), version_argv=(str(script), "may"))
    second = Voice("v", "en", argv=("say",), version_argv=(str(script), "june"))
    assert len({recipe(voice=voice).key() for voice in (VOICE, first, second, first, second)}) == 3
    assert count.read_text().count("x") == 2
    assert recipe(voice=first).made_by() == "say 1.2.3 v"
    assert recipe(voice=VOICE).made_by() == "say v"
    assert recipe(voice=None, take=TAKE).made_by() == "take 0000000000000000"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "A"}, "small letters"),
        ({"id": "../up"}, "small letters"),
        ({"id": ""}, "small letters"),
        ({"language": "../en"}, "no language"),
        ({"language": ""}, "no language"),
        ({"language": "da"}, "Choose another voice"),
        ({"voice": None}, "either a voice or a take"),
        ({"take": TAKE}, "either a voice or a take"),
        ({"parts": PARTS}, "parts are not its text"),
        ({"parts": ("Hello.",)}, "parts are not its text"),
        ({"formats": ()}, "formats are missing"),
        ({"formats": ("wav", "wav")}, "stand twice"),
        ({"formats": ("wav", "../x")}, "is no format. Choose from ulaw"),
    ],
)
def test_recipe_of_which_nothing_can_be_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AudioError, match=message):
        recipe(**changes)


def test_every_format_has_a_name_of_its_own_inside_the_folder() -> None:
    names = [form.file for form in FORMATS.values()]
    assert len(set(names)) == len(names)
    assert all(name.startswith("prompt") and "/" not in name for name in names)
    assert all(FORMATS[name].bytes(160) > 0 for name in FORMATS)


def test_lengths_are_those_that_the_switch_counts() -> None:
    """R2: Asterisk counts samples, of G.722 those of its sound and not its bytes."""
    counted = {name: form.factor * 160 for name, form in FORMATS.items()}
    assert {counted[name] for name in ("ulaw", "alaw", "gsm", "wav", "sln")} == {160}
    assert (counted["sln16"], counted["sln32"], counted["sln48"]) == (320, 640, 960)
    assert (counted["wav16"], counted["wav32"], counted["wav48"]) == (320, 640, 960)
    assert FORMATS["g722"].bytes(160) == FORMATS["ulaw"].bytes(160) == 160
    assert FORMATS["gsm"].bytes(320) == 66
    assert FORMATS["wav"].bytes(160) == 364


# documents


def test_a_document_is_read_back(tmp_path: Path) -> None:
    for wanted in (recipe(), recipe(" ".join(PARTS), parts=PARTS), recipe(formats=tuple(FORMATS))):
        audio = fabricated(wanted, tmp_path)
        text = json.dumps(audio_document(audio))
        assert audio_from(json.loads(text)) == audio
        assert "." not in text.replace("prompt.", "").replace("say v", "")  # no floating-point number
        assert audio.duration_s == 0.04
        assert audio.path(tmp_path) == tmp_path / "en" / wanted.key() / "prompt"


def test_one_digest_stands_for_all_files(tmp_path: Path) -> None:
    audio = fabricated(recipe(formats=("wav", "ulaw")), tmp_path)
    files = {form: (audio.folder(tmp_path) / file.name).read_bytes() for form, file in audio.files.items()}
    lines = "".join(f"{form} {hashlib.sha256(files[form]).hexdigest()}\n" for form in ("ulaw", "wav"))
    assert audio.sha256 == hashlib.sha256(lines.encode()).hexdigest()


def changed(document: Any, path: str, value: Any) -> Any:
    """A copy of a document with one value replaced, or removed if it is ``...``."""
    document = json.loads(json.dumps(document))
    *way, last = path.split("/")
    place = document
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("key", "../../../../etc"),
        ("key", "A" * 32),
        ("key", "a" * 31),
        ("key", 5),
        ("language", "../en"),
        ("language", "en/.."),
        ("language", None),
        ("text_sha256", "x" * 64),
        ("samples", 0),
        ("samples", -160),
        ("samples", 161),
        ("samples", 320.0),
        ("samples", True),
        ("samples", "320"),
        ("samples", 480),
        ("loudness", -20.03),
        ("loudness", None),
        ("peak", True),
        ("made_by", "a\nb"),
        ("made_by", 5),
        ("made_by", ...),
        ("more", 1),
        ("marks", {}),
        ("marks", [{"name": "yes", "begin": 1, "end": 2}]),
        ("marks/0/name", "yes"),
        ("marks/1/begin", 15),
        ("marks/1/end", 30),
        ("marks/3/end", 321),
        ("marks/0/begin", -1),
        ("marks/0/begin", 1.5),
        ("marks/0/end", True),
        ("marks/0/more", 1),
        ("files", {}),
        ("files", []),
        ("files/wav", ...),
        ("files/../x", {"samples": 320, "bytes": 320, "sha256": "0" * 64}),
        ("files/wav/samples", 640),
        ("files/wav/bytes", 683),
        ("files/wav/bytes", 684.0),
        ("files/wav/sha256", "0" * 63),
        ("files/wav/sha256", None),
        ("files/wav/name", "../x"),
    ],
)
def test_a_document_with_anything_else_in_it_is_refused(path: str, value: Any, tmp_path: Path) -> None:
    document = audio_document(fabricated(recipe(" ".join(PARTS), parts=PARTS), tmp_path))
    if path == "files/../x":
        document["files"]["../x"] = value
        wrong = document
    elif (path, value) == ("files/wav", ...):
        wrong = changed(document, "files/wav", 5)
    else:
        wrong = changed(document, path, value)
    with pytest.raises((ValueError, KeyError, TypeError)):
        audio_from(wrong)


@pytest.mark.parametrize("document", [None, [], {}, 5, "x", {"key": "0" * 32}])
def test_what_is_no_document_is_refused(document: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        audio_from(document)


# what is found


def test_what_was_put_there_is_found_and_right(tmp_path: Path) -> None:
    wanted = recipe()
    assert find(wanted, tmp_path) is None
    audio = fabricated(wanted, tmp_path)
    assert find(wanted, tmp_path) == audio
    assert find(recipe(id="other"), tmp_path) == audio
    assert find(recipe("Other."), tmp_path) is None
    assert verify(audio, tmp_path) == []


def touched(path: Path, data: bytes) -> None:
    """Change a file and give it back its time of modification, as somebody would who does not want it found."""
    state = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def later(path: Path) -> None:
    """Wait until the file system's clock has moved on from a file's last change."""
    probe = path.parent / "probe"
    for _ in range(1000):
        probe.write_bytes(b"")
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            break
        time.sleep(0.001)
    probe.unlink()


@pytest.mark.parametrize("form", STANDARD_FORMATS)
def test_a_changed_byte_is_found_and_named(form: str, tmp_path: Path) -> None:
    """R2, R23: audio that is not what was built is found, whatever its time says."""
    wanted = recipe()
    audio = fabricated(wanted, tmp_path)
    path = audio.folder(tmp_path) / audio.files[form].name
    later(audio.folder(tmp_path) / "entry.json")
    data = path.read_bytes()
    touched(path, data[:-1] + b"\xff")
    (problem,) = verify(audio, tmp_path)
    assert problem.where == str(path)
    assert problem.found == "the file was changed after it was built"
    assert problem.remedy.startswith("Build the prompts again")
    assert find(wanted, tmp_path) is None
    touched(path, data)
    assert verify(audio, tmp_path) == []
    assert find(wanted, tmp_path) == audio  # touched, so it was read, and is the same


def test_every_other_fault_is_found_and_named(tmp_path: Path) -> None:
    wanted = recipe()
    audio = fabricated(wanted, tmp_path)
    path = audio.folder(tmp_path) / "prompt.ulaw"
    data = path.read_bytes()

    def found() -> str:
        assert find(wanted, tmp_path) is None
        (problem,) = verify(audio, tmp_path)
        assert problem.where == str(path)
        return problem.found

    touched(path, data[:-1])
    assert found() == "the file has 319 bytes where 320 belong"
    touched(path, b"")
    assert found() == "the file is empty"
    path.unlink()
    assert found() == "the file is missing"
    path.mkdir()
    assert found() == "there is something else in the file's place"
    path.rmdir()
    os.mkfifo(path)
    assert found() == "there is something else in the file's place"
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(data)
    path.symlink_to(tmp_path / "elsewhere")
    assert found() == "there is something else in the file's place"


@pytest.mark.parametrize("wrong", ["", "{", "null", "[]", "[" * 5000, "x" * 70_000])
def test_a_damaged_entry_is_no_entry(wrong: str, tmp_path: Path) -> None:
    audio = fabricated(recipe(), tmp_path)
    touched(audio.folder(tmp_path) / "entry.json", wrong.encode())
    assert find(recipe(), tmp_path) is None


def test_another_s_entry_is_no_entry(tmp_path: Path) -> None:
    ours, other = fabricated(recipe(), tmp_path), fabricated(recipe("Other."), tmp_path)
    touched(ours.folder(tmp_path) / "entry.json", (other.folder(tmp_path) / "entry.json").read_bytes())
    assert find(recipe(), tmp_path) is None


def test_an_entry_behind_a_link_or_in_a_pipe_is_no_entry(tmp_path: Path) -> None:
    entry = fabricated(recipe(), tmp_path).folder(tmp_path) / "entry.json"
    entry.rename(tmp_path / "moved")
    entry.symlink_to(tmp_path / "moved")
    assert find(recipe(), tmp_path) is None
    entry.unlink()
    os.mkfifo(entry)
    assert find(recipe(), tmp_path) is None


def test_other_formats_than_asked_for_are_not_what_was_asked_for(tmp_path: Path) -> None:
    wanted = recipe(formats=("wav", "ulaw"))
    folder = fabricated(wanted, tmp_path).folder(tmp_path)
    document = json.loads((folder / "entry.json").read_text())
    touched(folder / "entry.json", json.dumps(changed(document, "files/ulaw", ...)).encode())
    assert find(wanted, tmp_path) is None


def test_a_format_that_this_machine_cannot_write_may_lack(tmp_path: Path) -> None:
    wanted = recipe(formats=("wav", "gsm"))
    folder = fabricated(wanted, tmp_path).folder(tmp_path)
    document = json.loads((folder / "entry.json").read_text())
    touched(folder / "entry.json", json.dumps(changed(document, "files/gsm", ...)).encode())
    found = find(wanted, tmp_path)
    assert found is not None
    assert set(found.files) == {"wav"}


def test_looking_for_a_site_s_prompts_costs_milliseconds(tmp_path: Path) -> None:
    """Three hundred are found in 45 ms on a quiet machine; ten times that is a mistake, not noise."""
    wanted = [recipe(f"Text {number}.") for number in range(100)]
    for one in wanted:
        fabricated(one, tmp_path)
    began = time.process_time()
    assert all(find(one, tmp_path) for one in wanted for _ in range(3))
    assert time.process_time() - began < 0.6
