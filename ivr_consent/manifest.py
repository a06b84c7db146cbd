"""The manifest of a line's notice: every text and sound of it, with lengths and digests, signed.

One document, whether it is the draft that was built last (version 0) or a published version: what callers hear, in
every language, and what of the configuration was said in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ivr_consent.audio.store import PromptAudio, audio_document, audio_from, verify
from ivr_consent.core.errors import Problem, SignatureError, VersionError
from ivr_consent.core.flow import Keys, SpokenNotice
from ivr_consent.core.notice import DIGITS, ELEMENTS, IDENTIFIER, LANGUAGE, REFERENCE, RESULTS, text_sha256
from ivr_consent.core.steps import Prompt
from ivr_consent.signing import Signer, Verifier, opened, read_plain, sealed

SCHEMA: Final = 1
DRAFT: Final = 0
"""The version of what is built and not published."""

MAX_BYTES: Final = 32 * 1024 * 1024
KEYS: Final = ("yes", "no", "repeat", "long", "language")
"""What the keys of a line are for."""

SAMPLES_PER_MS: Final = 8
"""Lengths are counted at 8 kHz."""


@dataclass(frozen=True, slots=True)
class SpokenPrompt:
    """One prompt: what it says, which elements it covers, and its sound."""

    id: str
    text: str
    elements: tuple[int, ...]
    audio: PromptAudio


@dataclass(frozen=True, slots=True)
class Spoken:
    """A notice in one language with its sound.

    ``source_sha256`` is the digest of the notice's file, ``facts`` what it says of the configuration, by placeholder.
    """

    language: str
    source_sha256: str
    facts: Mapping[str, str]
    information: tuple[SpokenPrompt, ...]
    questions: Mapping[str, SpokenPrompt]
    long: tuple[SpokenPrompt, ...]
    results: Mapping[str, SpokenPrompt]

    def prompts(self) -> tuple[SpokenPrompt, ...]:
        """Every prompt, in the order of playing."""
        return (*self.information, *self.questions.values(), *self.long, *self.results.values())

    def text_sha256(self) -> str:
        """Digest of all that a caller is told before the choice, with its order and ids."""
        digest = hashlib.sha256()
        for prompt in (*self.information, *self.questions.values()):
            digest.update(f"{prompt.id}\0{prompt.text}\0".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A line's notice. ``approved_by`` and ``approved_at`` (ISO 8601, UTC) are of a published one, else ``None``."""

    line: str
    version: int
    notice: str
    purposes: tuple[str, ...]
    retention_days: int
    keys: Mapping[str, str]
    languages: tuple[Spoken, ...]
    software: str
    made_at: str
    approved_by: str | None = None
    approved_at: str | None = None
    sha256: str = ""

    def audio(self) -> Iterator[PromptAudio]:
        """The sound of every prompt; the same sound may come twice."""
        for spoken in self.languages:
            for prompt in spoken.prompts():
                yield prompt.audio

    def said(self) -> dict[str, Any]:
        """All that callers hear and press, as plain values: equal in two manifests with the same notice."""
        document = document_of(self)
        for name in ("version", "software", "made_at", "approved_by", "approved_at"):
            del document[name]
        for spoken in document["languages"]:
            del spoken["source_sha256"]  # a comment in the file is heard by nobody
        return document


def spoken_notice(manifest: Manifest, spoken: Spoken, store: Path) -> SpokenNotice:
    """One language of a manifest as the flow plays it."""

    def prompt(item: SpokenPrompt) -> Prompt:
        audio = item.audio
        return Prompt(
            item.id,
            item.text,
            audio.text_sha256,
            str(audio.path(store)),
            audio.samples // SAMPLES_PER_MS,
            frozenset(file.samples for file in audio.files.values()),
            audio.sha256,
            item.elements,
        )

    return SpokenNotice(
        manifest.notice,
        manifest.version,
        spoken.language,
        spoken.text_sha256(),
        manifest.sha256,
        tuple(prompt(item) for item in spoken.information),
        MappingProxyType({purpose: prompt(item) for purpose, item in spoken.questions.items()}),
        tuple(prompt(item) for item in spoken.long),
        MappingProxyType({name: prompt(item) for name, item in spoken.results.items()}),
    )


def plan_keys(keys: Mapping[str, str], languages: int) -> Keys:
    """The keys of a line as the flow takes them: that for the language is there where there are several."""
    return Keys(keys["yes"], keys["no"], keys["repeat"], keys["long"], keys["language"] if languages > 1 else None)


class Checked:
    """Which sounds have been read and compared already: lines share them. For one load of a site."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[tuple[str, str], list[Problem]] = {}

    def faults(self, manifest: Manifest) -> tuple[Problem, ...]:
        """What differs on disk from the manifest. Reads every byte, once for each sound."""
        problems: list[Problem] = []
        for spoken in manifest.languages:
            for prompt in spoken.prompts():
                known = (prompt.audio.key, prompt.audio.sha256)
                if known not in self._known:
                    self._known[known] = verify(prompt.audio, self._store)
                name = f"prompt {prompt.id!r} in {spoken.language!r} of line {manifest.line}"
                problems += (
                    Problem(fault.where, f"{name}: {fault.found}", fault.remedy) for fault in self._known[known]
                )
        return tuple(problems)


# --- on disk -----------------------------------------------------------------------------------------------------


def write(manifest: Manifest, path: Path, by: Signer) -> Manifest:
    """Sign a manifest and put it in place in one step; returns it with its digest. Raises :class:`VersionError`."""
    document = document_of(manifest)
    line = sealed(document, by)
    try:
        _manifest(json.loads(line.partition(b"\t")[0]), {})
    except (ValueError, KeyError, TypeError) as error:  # ours to prevent; callers must not find it out
        raise VersionError(f"{path}: this could not be read again ({error}); nothing was written") from None
    write_whole(path, line)
    return _with_digest(manifest, line)


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file in one step, flushed to disk. Raises :class:`VersionError`."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise VersionError(
            f"{path}: cannot be written ({error.strerror}); see who may write there, and whether the disk is full"
        ) from None


def read(path: Path, by: Verifier, known: dict[str, PromptAudio] | None = None) -> Manifest:
    """Read a signed manifest. Raises :class:`SignatureError` unless it is ours and unchanged.

    ``known`` keeps sounds that were read before: lines share them.
    """
    try:
        line, _ = read_plain(path, MAX_BYTES + 1)
    except OSError as error:
        raise SignatureError(f"{path}: the manifest cannot be read ({error.strerror})") from None
    if len(line) > MAX_BYTES:
        raise SignatureError(f"{path}: is larger than {MAX_BYTES // 1024 // 1024} MiB, which no manifest is")
    try:
        return _with_digest(_manifest(opened(line, by), {} if known is None else known), line)
    except SignatureError as error:
        raise SignatureError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureError(f"{path}: is not a manifest of this version of ivr-consent ({error})") from None


def digest_of(path: Path) -> str:
    """The digest of a manifest's file by which it is known, whoever signed it. Raises :class:`OSError`."""
    line, _ = read_plain(path, MAX_BYTES + 1)
    return hashlib.sha256(line.partition(b"\t")[0]).hexdigest()


def _with_digest(manifest: Manifest, line: bytes) -> Manifest:
    values = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    return Manifest(**(values | {"sha256": hashlib.sha256(line.partition(b"\t")[0]).hexdigest()}))


def document_of(manifest: Manifest) -> dict[str, Any]:
    """As plain JSON values."""
    return {
        "schema": SCHEMA,
        "line": manifest.line,
        "version": manifest.version,
        "notice": manifest.notice,
        "purposes": list(manifest.purposes),
        "retention_days": manifest.retention_days,
        "keys": dict(manifest.keys),
        "languages": [_spoken_document(spoken) for spoken in manifest.languages],
        "software": manifest.software,
        "made_at": manifest.made_at,
        "approved_by": manifest.approved_by,
        "approved_at": manifest.approved_at,
    }


def _spoken_document(spoken: Spoken) -> dict[str, Any]:
    return {
        "language": spoken.language,
        "source_sha256": spoken.source_sha256,
        "text_sha256": spoken.text_sha256(),
        "facts": dict(spoken.facts),
        "information": [_prompt_document(prompt) for prompt in spoken.information],
        "questions": {purpose: _prompt_document(prompt) for purpose, prompt in spoken.questions.items()},
        "long": [_prompt_document(prompt) for prompt in spoken.long],
        "results": {name: _prompt_document(prompt) for name, prompt in spoken.results.items()},
    }


def _prompt_document(prompt: SpokenPrompt) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "text": prompt.text,
        "elements": list(prompt.elements),
        "audio": audio_document(prompt.audio),
    }


# --- back from disk: signed by us, and still looked at, since an older or newer program may have signed it -----------


_FIELDS = "schema line version notice purposes retention_days keys languages software made_at approved_by approved_at"
_SPOKEN_FIELDS = "language source_sha256 text_sha256 facts information questions long results"
_PROMPT_FIELDS = "id text elements audio"
_KEY = re.compile(r"[0-9*#]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _only(document: Any, names: str) -> None:
    if not isinstance(document, dict) or set(document) != set(names.split()):
        raise ValueError(f"not a table of exactly {names}")


def _manifest(document: Mapping[str, Any], known: dict[str, PromptAudio]) -> Manifest:
    schema = document["schema"]
    if type(schema) is not int or schema != SCHEMA:
        raise ValueError(f"its schema is {schema!r}, this program reads {SCHEMA}")
    _only(document, _FIELDS)
    purposes = tuple(_identifier(purpose) for purpose in _list(document["purposes"]))
    if not purposes or len(set(purposes)) < len(purposes):
        raise ValueError("a purpose is missing or stands twice")
    languages = tuple(_spoken(item, purposes, known) for item in _list(document["languages"]))
    if not languages or len({spoken.language for spoken in languages}) < len(languages):
        raise ValueError("a language is missing or stands twice")
    keys = document["keys"]
    _only(keys, " ".join(KEYS))
    if not all(_KEY.fullmatch(_text(key)) for key in keys.values()) or len(set(keys.values())) < len(keys):
        raise ValueError("a key is none, or stands for two things")
    return Manifest(
        _text(document["line"]),
        _number(document["version"]),
        _identifier(document["notice"]),
        purposes,
        _number(document["retention_days"]),
        MappingProxyType({name: keys[name] for name in KEYS}),
        languages,
        _text(document["software"]),
        _text(document["made_at"]),
        None if document["approved_by"] is None else _text(document["approved_by"]),
        None if document["approved_at"] is None else _text(document["approved_at"]),
    )


def _spoken(document: Mapping[str, Any], purposes: tuple[str, ...], known: dict[str, PromptAudio]) -> Spoken:
    _only(document, _SPOKEN_FIELDS)
    language = _text(document["language"])
    if not LANGUAGE.fullmatch(language):
        raise ValueError(f"{language!r} is no language")
    facts = document["facts"]
    if not isinstance(facts, dict) or not _SHA256.fullmatch(_text(document["source_sha256"])):
        raise ValueError("what it was made of is not told")
    _only(document["questions"], " ".join(purposes))
    results = (*RESULTS, REFERENCE, *DIGITS) if REFERENCE in document["results"] else RESULTS
    _only(document["results"], " ".join(results))
    spoken = Spoken(
        language,
        document["source_sha256"],
        MappingProxyType({name: _text(value) for name, value in facts.items()}),
        tuple(_prompt(item, known) for item in _list(document["information"])),
        # in the order of the line's purposes: keys are sorted in the file
        MappingProxyType({purpose: _prompt(document["questions"][purpose], known) for purpose in purposes}),
        tuple(_prompt(item, known) for item in _list(document["long"])),
        MappingProxyType({name: _prompt(document["results"][name], known) for name in results}),
    )
    prompts = spoken.prompts()
    if any(prompt.audio.language != language for prompt in prompts):
        raise ValueError("a sound is in another language")
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise ValueError("an id stands twice")
    if spoken.text_sha256() != document["text_sha256"]:
        raise ValueError("the digest of its texts is another")
    return spoken


def _prompt(document: Mapping[str, Any], known: dict[str, PromptAudio]) -> SpokenPrompt:
    _only(document, _PROMPT_FIELDS)
    raw = document["audio"]
    audio = known.get(raw["key"])
    if audio is None or audio_document(audio) != raw:
        audio = known[raw["key"]] = audio_from(raw)
    text = _text(document["text"])
    if audio.text_sha256 != text_sha256(text):
        raise ValueError("a sound says another text")
    elements = tuple(_number(number) for number in _list(document["elements"]))
    if not set(elements) <= ELEMENTS.keys():
        raise ValueError("an element that there is not")
    return SpokenPrompt(_identifier(document["id"]), text, elements, audio)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text belongs")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list belongs")
    return value


def _identifier(value: Any) -> str:
    if not IDENTIFIER.fullmatch(_text(value)):
        raise ValueError(f"{value!r} is no id")
    return str(value)


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} where a whole number belongs")
    return value
