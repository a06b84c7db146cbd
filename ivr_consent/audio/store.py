"""The store of prompts: every sound in a folder named by all that shaped it, never changed once it is there.

``LANGUAGE/KEY/`` holds the files of one sound, and ``entry.json`` that describes them. A running server keeps playing
what it began with, whatever is built meanwhile, and equal texts of several notices share one sound.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ivr_consent.audio.formats import FORMATS, FRAME, OPTIONAL_FORMATS, RATE, STANDARD_FORMATS
from ivr_consent.audio.speech import Voice, engine_version
from ivr_consent.audio.takes import Take
from ivr_consent.core.errors import AudioError, Problem
from ivr_consent.core.notice import IDENTIFIER, LANGUAGE, text_sha256

ENTRY = "entry.json"
PARTS = ("question", "yes", "no", "otherwise")
"""Names of a question's parts, in the order in which they are spoken."""

MAX_ENTRY = 64 * 1024  # bytes; ours have about two thousand

# Raised with every change in this package that changes the sound, so that older sounds are built anew.
_PIPELINE = 4
_KEY = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEDY = "Build the prompts again; until then nothing is recorded"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that shapes one prompt's sound; its digest names the folder in the store.

    ``text`` is what is said, facts filled in, with digits as written. Exactly one of ``voice`` and ``take`` is given.
    ``parts`` of a question are its four sentences (see :data:`PARTS`), which joined by spaces are its text: the build
    makes yes and no equally long and loud, and marks where each part lies. A take is one recording of the whole, in
    which nobody knows where the parts are: it has no marks.
    """

    id: str
    language: str
    text: str
    voice: Voice | None
    take: Take | None
    parts: tuple[str, ...] = ()
    formats: tuple[str, ...] = STANDARD_FORMATS

    def __post_init__(self) -> None:
        """Raises :class:`AudioError` for what nothing can be built from."""
        if not IDENTIFIER.fullmatch(self.id):
            raise AudioError(f"prompt {self.id!r}: use small letters, digits and hyphens in its id, at most 64")
        if not LANGUAGE.fullmatch(self.language):
            raise AudioError(f'prompt {self.id!r}: {self.language!r} is no language. Write a code such as "da" or "en"')
        if (self.voice is None) == (self.take is None):
            raise AudioError(f"prompt {self.id!r}: give it either a voice or a take")
        if self.voice is not None and self.voice.language != self.language:
            raise AudioError(
                f"prompt {self.id!r}: the voice speaks {self.voice.language!r}, the text is in {self.language!r}. "
                "Choose another voice"
            )
        if self.parts and (len(self.parts) != len(PARTS) or " ".join(self.parts) != self.text):
            raise AudioError(f"prompt {self.id!r}: its parts are not its text. Give {', '.join(PARTS)}")
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats or len(set(self.formats)) != len(self.formats):
            found = f"{unknown[0]!r} is no format" if unknown else "formats are missing or stand twice"
            raise AudioError(f"prompt {self.id!r}: {found}. Choose from {', '.join(FORMATS)}")

    def key(self) -> str:
        """32 hexadecimal digits for all that shapes the sound; the prompt's id does not.

        Raises :class:`AudioError` when the voice's engine cannot say its version.
        """
        source: dict[str, Any] = {}
        if self.voice is not None:
            source = {
                "argv": self.voice.argv,
                "name": self.voice.name,
                "speed": self.voice.speed,
                "version": _version(self.voice.argv, self.voice.version_argv, self.voice),
            }
        elif self.take is not None:
            source = {"take": self.take.sha256}
        document = {
            "formats": sorted(self.formats),
            "language": self.language,
            "parts": self.parts,
            "pipeline": _PIPELINE,
            "source": source,
            "text": self.text,
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def made_by(self) -> str:
        """What speaks: ``espeak-ng 1.51 en-gb``, or ``take`` with the beginning of its digest."""
        if self.take is not None:
            return f"take {self.take.sha256[:16]}"
        assert self.voice is not None
        version = _version(self.voice.argv, self.voice.version_argv, self.voice)
        number = re.search(r"\d+(\.\d+)+", version)
        said = " ".join(part for part in (self.voice.engine, number.group() if number else "", self.voice.name) if part)
        return "".join(c if c.isprintable() else "?" for c in said)


_versions: dict[tuple[tuple[str, ...], ...], str] = {}


def _version(argv: tuple[str, ...], version_argv: tuple[str, ...], voice: Voice) -> str:
    """The version of a voice's engine, asked for once in a process."""
    known = _versions.get((argv[:1], version_argv))
    if known is None:
        known = _versions[argv[:1], version_argv] = engine_version(voice)
    return known


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a part of a question begins and ends, in samples at 8 kHz, the silence round it not included."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class AudioFile:
    """One file of a prompt: ``samples`` in the units that the switch counts in, ``bytes`` on disk, digest in hex."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PromptAudio:
    """One sound in the store, as built and measured.

    ``samples`` are at 8 kHz. ``loudness`` is the integrated loudness by EBU R 128 in hundredths of LUFS, ``peak`` the
    highest sample in hundredths of dBFS, both of the sound at 8 kHz. ``files`` is by format.
    """

    key: str
    language: str
    text_sha256: str
    samples: int
    loudness: int
    peak: int
    made_by: str
    marks: tuple[Mark, ...]
    files: Mapping[str, AudioFile]

    @property
    def sha256(self) -> str:
        """One digest for all formats: of the lines ``FORMAT SHA256``, sorted, each ended by a line feed."""
        lines = sorted(f"{form} {file.sha256}\n" for form, file in self.files.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def duration_s(self) -> float:
        """Seconds that it plays."""
        return self.samples / RATE

    def folder(self, store: Path) -> Path:
        """Where its files are."""
        return store / self.language / self.key

    def path(self, store: Path) -> Path:
        """What the switch is told to play: without an extension, it picks the format that suits the call."""
        return self.folder(store) / "prompt"


# as a document


def audio_document(audio: PromptAudio) -> dict[str, Any]:
    """As plain values for JSON, without floating-point numbers; :func:`audio_from` reads it."""
    return {
        "key": audio.key,
        "language": audio.language,
        "text_sha256": audio.text_sha256,
        "samples": audio.samples,
        "loudness": audio.loudness,
        "peak": audio.peak,
        "made_by": audio.made_by,
        "marks": [{"name": mark.name, "begin": mark.begin, "end": mark.end} for mark in audio.marks],
        "files": {
            form: {"samples": file.samples, "bytes": file.bytes, "sha256": file.sha256}
            for form, file in audio.files.items()
        },
    }


def audio_from(document: Any) -> PromptAudio:
    """Read what :func:`audio_document` made.

    Names of files follow from key and format, so that nothing in a document can point outside the store. Raises
    :class:`ValueError`, :class:`KeyError` or :class:`TypeError` for anything else. That it is well formed says nothing
    about the files: ask :func:`verify`.
    """
    _only(document, "key language text_sha256 samples loudness peak made_by marks files")
    samples = document["samples"]
    if type(samples) is not int or samples <= 0 or samples % FRAME:
        raise ValueError(f"{samples!r} is no number of samples")
    for name, pattern in (("key", _KEY), ("language", LANGUAGE), ("text_sha256", _SHA256)):
        if not isinstance(document[name], str) or not pattern.fullmatch(document[name]):
            raise ValueError(f"{name} is {document[name]!r}")
    if not isinstance(document["made_by"], str) or not document["made_by"].isprintable():
        raise ValueError("made_by is not printable")
    for name in ("loudness", "peak"):
        if type(document[name]) is not int:
            raise ValueError(f"{name} is {document[name]!r}, not a whole number")
    if not isinstance(document["files"], dict) or not document["files"]:
        raise ValueError("there are no files")
    return PromptAudio(
        document["key"],
        document["language"],
        document["text_sha256"],
        samples,
        document["loudness"],
        document["peak"],
        document["made_by"],
        _marks_from(document["marks"], samples),
        MappingProxyType({form: _file_from(form, file, samples) for form, file in document["files"].items()}),
    )


def _only(document: Any, names: str) -> None:
    if not isinstance(document, dict) or set(document) != set(names.split()):
        raise ValueError(f"not a table of exactly {names}")


def _marks_from(document: Any, samples: int) -> tuple[Mark, ...]:
    if not isinstance(document, list) or len(document) not in (0, len(PARTS)):
        raise ValueError("marks are neither none nor one for each part")
    marks, last = [], 0
    for name, mark in zip(PARTS, document, strict=False):
        _only(mark, "name begin end")
        begin, end = mark["begin"], mark["end"]
        if mark["name"] != name or type(begin) is not int or type(end) is not int or not last <= begin < end <= samples:
            raise ValueError(f"the mark of {name} does not fit")
        marks.append(Mark(name, begin, end))
        last = end
    return tuple(marks)


def _file_from(form: str, document: Any, samples: int) -> AudioFile:
    _only(document, "samples bytes sha256")
    described = FORMATS[form]
    own = (described.factor * samples, described.bytes(samples))
    for value, right in zip((document["samples"], document["bytes"]), own, strict=True):
        if type(value) is not int or value != right:
            raise ValueError(f"the length in {form} does not fit")
    if not isinstance(document["sha256"], str) or not _SHA256.fullmatch(document["sha256"]):
        raise ValueError(f"the digest of {form} is {document['sha256']!r}")
    return AudioFile(described.file, own[0], own[1], document["sha256"])


# what is in the store


def find(recipe: Recipe, store: Path) -> PromptAudio | None:
    """The sound of a recipe if it is built and looks intact, else ``None``. Made to be asked for hundreds of prompts.

    Looks at sizes and times only, and reads every byte of a file only when that was touched after the entry was
    written; :func:`verify` always does. Raises :class:`AudioError` when the voice's engine cannot say its version.
    """
    return find_key(recipe.key(), recipe, store)


def find_key(key: str, recipe: Recipe, store: Path) -> PromptAudio | None:
    """Like :func:`find`, of a recipe whose key is known."""
    # plain strings: pathlib would take most of the time here
    folder = f"{store}/{recipe.language}/{key}"
    try:
        audio, written = read_entry(folder)
        if audio.text_sha256 != text_sha256(recipe.text) or audio.language != recipe.language:
            return None
        if not set(recipe.formats) - OPTIONAL_FORMATS <= audio.files.keys() <= set(recipe.formats):
            return None
        for file in audio.files.values():
            path = f"{folder}/{file.name}"
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode) or found.st_size != file.bytes:
                return None
            # the change time too, since the time of modification can be set to anything
            touched = found.st_mtime_ns > written.st_mtime_ns or found.st_ctime_ns > written.st_ctime_ns
            if touched and digest(path) != file.sha256:
                return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return audio


def read_entry(folder: str) -> tuple[PromptAudio, os.stat_result]:
    """Read a folder's ``entry.json``; also its state on disk.

    Raises :class:`OSError`, and what :func:`audio_from` raises, also when it is not the entry of this folder.
    """
    # not through a link: what is in the store is in the store
    descriptor = os.open(f"{folder}/{ENTRY}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        data = os.read(descriptor, MAX_ENTRY + 1) if stat.S_ISREG(state.st_mode) else b""
    finally:
        os.close(descriptor)
    audio = audio_from(json.loads(data) if len(data) <= MAX_ENTRY else None)
    if audio.key != os.path.basename(folder):  # noqa: PTH119 - pathlib is too slow here
        raise ValueError("it is another folder's entry")
    return audio, state


def verify(audio: PromptAudio, store: Path) -> list[Problem]:
    """Compare every file with what was built: there, of the right length, unchanged. Reads every byte."""
    problems = []
    folder = audio.folder(store)
    for file in audio.files.values():
        found = fault(str(folder / file.name), file)
        if found:
            problems.append(Problem(str(folder / file.name), found, _REMEDY))
    return problems


def fault(path: str, file: AudioFile) -> str:
    """What is wrong with a file on disk; ``""`` when nothing is."""
    try:
        state = os.lstat(path)
        if not stat.S_ISREG(state.st_mode):
            return "there is something else in the file's place"
        if state.st_size == 0:
            return "the file is empty"
        if state.st_size != file.bytes:
            return f"the file has {state.st_size} bytes where {file.bytes} belong"
        if digest(path) != file.sha256:
            return "the file was changed after it was built"
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"
    return ""


def digest(path: str) -> str:
    """SHA-256 of a file's bytes in hexadecimal. Raises :class:`OSError`."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
        return hashlib.file_digest(file, "sha256").hexdigest()
