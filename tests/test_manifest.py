"""The manifest: what was signed comes back equal, and nothing else is taken for it."""

from __future__ import annotations

import base64
import copy
import dataclasses
import errno
import json
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ivr_consent import manifest as mf
from ivr_consent.audio import store as store_module
from ivr_consent.audio.store import PromptAudio
from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import SignatureError, VersionError
from ivr_consent.core.notice import text_sha256
from ivr_consent.manifest import Manifest, Spoken
from ivr_consent.signing import Signer, Verifier, create_keys, key_pair
from tests.sites import SmallSite, flip

HEALTH = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
BOTH = {"support": 'languages = ["da", "en"]\npurposes = ["training", "quality"]\n'}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> SmallSite:
    """A line with two languages and two purposes, built."""
    made = SmallSite.make(tmp_path_factory.mktemp("site"), more=BOTH)
    made.build()
    return made


@pytest.fixture(scope="module")
def pair(site: SmallSite) -> tuple[Signer, Verifier]:
    return key_pair(site.key)


@pytest.fixture(scope="module")
def built(site: SmallSite, pair: tuple[Signer, Verifier]) -> Manifest:
    return mf.read(site.store / "drafts" / "support", pair[1])


def signed(document: Any, by: Signer) -> bytes:
    """A line of ours of any document, canonical where it can be."""
    try:
        data = canonical(document)
    except (TypeError, ValueError):
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return data + b"\t" + base64.b64encode(by.sign(data)) + b"\n"


def within_seconds(work: Callable[[], Any], seconds: float = 10.0) -> None:
    """Something that must not hang: it ends, or the test fails and does not hang either."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"


# --- there and back ---------------------------------------------------------------------------------------------------


def test_there_and_back(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path) -> None:
    """What is read is what was written, in the same order, with the digest that decisions name."""
    for manifest in (built, dataclasses.replace(built, version=7, approved_by="Ærø Ø", approved_at="2026-01-02")):
        written = mf.write(manifest, tmp_path / "manifest", pair[0])
        found = mf.read(tmp_path / "manifest", pair[1])
        assert found == written
        assert dataclasses.replace(found, sha256=manifest.sha256) == manifest
        assert [spoken.language for spoken in found.languages] == ["da", "en"]
        for before, after in zip(manifest.languages, found.languages, strict=True):
            assert list(after.questions) == list(before.questions) == ["training", "quality"]
            assert after.prompts() == before.prompts()
            assert after.text_sha256() == before.text_sha256()
    assert (tmp_path / "manifest").stat().st_mode & 0o777 == 0o644


def test_the_digest_is_of_what_was_signed(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path) -> None:
    """The same in both programs that may ask for it: of the JSON before the tab."""
    written = mf.write(built, tmp_path / "manifest", pair[0])
    data = (tmp_path / "manifest").read_bytes().partition(b"\t")[0]
    assert written.sha256 == text_sha256(data.decode())
    again = mf.write(dataclasses.replace(built, retention_days=31), tmp_path / "manifest", pair[0])
    assert again.sha256 != written.sha256


def test_what_is_said(built: Manifest) -> None:
    """Who approved it when, and by which program it was made, are not what callers hear; everything else is."""
    same = dataclasses.replace(
        built, version=9, software="other", made_at="later", approved_by="A", approved_at="B", sha256="f" * 64
    )
    assert same.said() == built.said()
    for change in (
        {"retention_days": 31},
        {"line": "other"},
        {"notice": "other"},
        {"purposes": ("training",)},
        {"keys": MappingProxyType({**built.keys, "yes": "9"})},
        {"languages": built.languages[::-1]},
        {"languages": built.languages[:1]},
    ):
        assert dataclasses.replace(built, **change).said() != built.said(), change


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def _saying(built: Manifest, text: str) -> Manifest:
    """The manifest with another text for its first prompt, and the sound's digest to fit."""
    first, *rest = built.languages
    said = first.information[0]
    audio = dataclasses.replace(said.audio, text_sha256=text_sha256(text), key="0" * 32)
    prompt = dataclasses.replace(said, text=text, audio=audio)
    spoken = dataclasses.replace(first, information=(prompt, *first.information[1:]))
    return dataclasses.replace(built, languages=(spoken, *rest))


@settings(max_examples=50, deadline=None, suppress_health_check=HEALTH)
@given(text=TEXTS)
@example(text="\u212b")
@example(text="e\u0301")
@example(text='"\\\t\u2028')
def test_any_text_comes_back_or_is_refused_at_once(
    built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path, text: str
) -> None:
    """Nothing is published that could not be read afterwards: the line would stop at its next reload."""
    manifest, path = _saying(built, text), tmp_path / "manifest"
    path.unlink(missing_ok=True)
    try:
        mf.write(manifest, path, pair[0])
    except VersionError:
        assert not path.exists()
        return
    assert mf.read(path, pair[1]).languages == manifest.languages


# --- the strict reader ------------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, from the outside in. Of what is alike one or two: of items, files, and sounds."""
    yield path
    if isinstance(value, dict):
        for name in value:
            if path[-1:] == ("files",) and name != "ulaw":
                continue
            if "audio" in path and not {"information", "training"} & set(path):
                continue
            yield from places(value[name], (*path, name))
    elif isinstance(value, list) and value:
        for number in {0, len(value) - 1}:
            yield from places(value[number], (*path, number))


def small(manifest: Manifest) -> dict[str, Any]:
    """A manifest's document, with few prompts and one format."""

    def cut(spoken: Spoken) -> Spoken:
        return dataclasses.replace(spoken, information=spoken.information[:2])

    published = dataclasses.replace(
        manifest, version=3, approved_by="A", approved_at="B", languages=tuple(map(cut, manifest.languages[:1]))
    )
    document = mf.document_of(published)
    (spoken,) = document["languages"]
    prompts = (*spoken["information"], *spoken["long"], *spoken["questions"].values(), *spoken["results"].values())
    for prompt in prompts:
        prompt["audio"]["files"] = {"ulaw": prompt["audio"]["files"]["ulaw"]}
    return document


def changed(document: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> dict[str, Any]:
    """A copy in which the value at a place was changed by ``change(container, key)``."""
    made = copy.deepcopy(document)
    at: Any = made
    for name in path[:-1]:
        at = at[name]
    change(at, path[-1])
    return made


def putting(value: Any) -> Callable[[Any, Any], None]:
    return lambda box, key: box.__setitem__(key, value)


def wrong_values(right: Any) -> list[Any]:
    """Values of other types, and such as look alike."""
    values: list[Any] = [None, True, 1.5, -1, 10**30, "", "x\0", [], {}, ["x"], {"x": 1}, [[]]]
    if isinstance(right, int):
        values += [float(right), str(right), -right]
    if isinstance(right, list):
        values += ["".join(map(str, right)), right + right, dict.fromkeys(map(str, right), 1)]
    return [value for value in values if type(value) is not type(right) or value != right]


def acceptable(path: tuple[Any, ...], value: Any) -> bool:
    """Whether a document with this value is another good one: then only the signature stands for it."""
    name, inside = path[-1], path[-2] if len(path) > 1 else None
    if name in ("line", "software", "made_at", "approved_by", "approved_at") or inside == "facts":
        return isinstance(value, str) or (value is None and name in ("approved_by", "approved_at"))
    if name in ("version", "retention_days"):
        return type(value) is int and value >= 0
    if name in ("loudness", "peak"):
        return type(value) is int
    if name == "made_by":
        return isinstance(value, str) and value.isprintable()
    if name == "elements":
        return isinstance(value, list) and all(type(number) is int for number in value)
    return (name in ("long", "marks") and bool(value == [])) or (name == "facts" and value == {})


def test_every_field_is_looked_at(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path) -> None:
    """Signed by us, and still not believed: an older, a newer or a broken program may have written it."""
    document = small(built)
    path = tmp_path / "manifest"
    path.write_bytes(signed(document, pair[0]))
    mf.read(path, pair[1])
    count = 0
    for place in list(places(document))[1:]:
        at: Any = document
        for name in place:
            at = at[name]
        wrong = [(f"is {value!r:.40}", value) for value in wrong_values(at) if not acceptable(place, value)]
        tries = [(what, changed(document, place, putting(value))) for what, value in wrong]
        if place[-1] != 0 and not isinstance(place[-1], int) and "facts" not in place[:-1]:
            tries.append(("is missing", changed(document, place, lambda box, key: box.__delitem__(key))))
        if isinstance(at, dict) and place[-1] != "facts":
            tries.append(("has more", changed(document, place, lambda box, key: box[key].update(more=1))))
        for what, made in tries:
            if place[-2:] == ("files", "ulaw") and what == "is missing":
                continue  # which formats there are differs by machine
            count += 1
            with pytest.raises((ValueError, KeyError, TypeError)):
                pytest.fail(f"{'.'.join(map(str, place))} {what}: {mf._manifest(made, {})!r:.200}")
        path.write_bytes(signed(tries[-1][1], pair[0]))  # and from the outside
        with pytest.raises(SignatureError):
            mf.read(path, pair[1])
    assert count > 500


@pytest.mark.parametrize("schema", [0, 2, True, "1", None, 1.0], ids=repr)
def test_another_schema(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path, schema: Any) -> None:
    (tmp_path / "manifest").write_bytes(signed({**mf.document_of(built), "schema": schema}, pair[0]))
    with pytest.raises(SignatureError, match=r"schema is|not a document of ours"):
        mf.read(tmp_path / "manifest", pair[1])


def test_more_at_the_top(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path) -> None:
    (tmp_path / "manifest").write_bytes(signed({**mf.document_of(built), "more": 1}, pair[0]))
    with pytest.raises(SignatureError, match="not a table of exactly"):
        mf.read(tmp_path / "manifest", pair[1])


def _edit_text(document: dict[str, Any]) -> None:
    document["languages"][0]["information"][0]["text"] = "Nothing is recorded."


def _edit_text_and_digests(document: dict[str, Any]) -> None:
    _edit_text(document)
    document["languages"][0]["information"][0]["audio"]["text_sha256"] = text_sha256("Nothing is recorded.")


def _swap_audio(document: dict[str, Any]) -> None:
    one, two = document["languages"][0]["information"][:2]
    one["audio"], two["audio"] = two["audio"], one["audio"]


def _swap_languages_audio(document: dict[str, Any]) -> None:
    for danish, english in zip(*(spoken["information"] for spoken in document["languages"]), strict=True):
        if danish["text"] == english["text"]:
            danish["audio"] = english["audio"]


def _drop_question(document: dict[str, Any]) -> None:
    del document["languages"][0]["questions"]["quality"]


def _another_question(document: dict[str, Any]) -> None:
    questions = document["languages"][0]["questions"]
    questions["more"] = questions["training"]


def _one_key_for_two(document: dict[str, Any]) -> None:
    document["keys"]["yes"] = document["keys"]["no"]


def _language_twice(document: dict[str, Any]) -> None:
    document["languages"][1] = document["languages"][0]


def _purpose_twice(document: dict[str, Any]) -> None:
    document["purposes"] = ["training", "training"]


@pytest.mark.parametrize(
    "edit",
    [
        _edit_text,
        _edit_text_and_digests,
        _swap_audio,
        _swap_languages_audio,
        _drop_question,
        _another_question,
        _one_key_for_two,
        _language_twice,
        _purpose_twice,
    ],
    ids=lambda edit: edit.__name__.strip("_"),
)
def test_what_does_not_fit_together(
    built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    """The text's digest, the sound's text, its language, one question for each purpose, one key for each function."""
    document = copy.deepcopy(mf.document_of(built))
    edit(document)
    (tmp_path / "manifest").write_bytes(signed(document, pair[0]))
    with pytest.raises(SignatureError, match="is not a manifest of this version of ivr-consent"):
        mf.read(tmp_path / "manifest", pair[1])


def test_a_sound_that_was_read_before_is_compared(
    built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path
) -> None:
    """Lines share sounds by their key. One of the same key and other bytes is not taken for it."""
    document = mf.document_of(built)
    path = tmp_path / "manifest"
    known: dict[str, PromptAudio] = {}
    path.write_bytes(signed(document, pair[0]))
    first = mf.read(path, pair[1], known)
    assert mf.read(path, pair[1], known).languages[0].information[0].audio is first.languages[0].information[0].audio
    other = copy.deepcopy(document)
    other["languages"][0]["information"][0]["audio"]["files"]["ulaw"]["sha256"] = "0" * 64
    path.write_bytes(signed(other, pair[0]))
    assert mf.read(path, pair[1], known).languages[0].information[0].audio.files["ulaw"].sha256 == "0" * 64


# --- the file ---------------------------------------------------------------------------------------------------------


def test_another_key(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path) -> None:
    create_keys(tmp_path / "other.key")
    mf.write(built, tmp_path / "manifest", key_pair(tmp_path / "other.key")[0])
    with pytest.raises(SignatureError, match=r"manifest: it was changed after it was signed, or signed with another"):
        mf.read(tmp_path / "manifest", pair[1])


@pytest.mark.parametrize("at", [0, 5, 2000, -1, -2, -3, -4, -40, -90])
def test_one_byte(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path, at: int) -> None:
    mf.write(built, tmp_path / "manifest", pair[0])
    flip(tmp_path / "manifest", at)
    with pytest.raises(SignatureError, match="manifest: it was changed"):
        mf.read(tmp_path / "manifest", pair[1])


@pytest.mark.parametrize("what", ["missing", "folder", "pipe", "link to a pipe", "link to zeros", "link to nothing"])
def test_something_else_in_its_place(pair: tuple[Signer, Verifier], tmp_path: Path, what: str) -> None:
    """None of them hangs, fills the memory, or is taken for a manifest."""
    path = tmp_path / "manifest"
    os.mkfifo(tmp_path / "pipe")
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what != "missing":
        target = {"link to a pipe": "pipe", "link to zeros": "/dev/zero", "link to nothing": "nothing"}[what]
        path.symlink_to(target)

    def read() -> None:
        with pytest.raises(SignatureError, match=r"manifest: the manifest cannot be read \("):
            mf.read(path, pair[1])

    within_seconds(read)


def test_a_file_without_end(pair: tuple[Signer, Verifier], tmp_path: Path) -> None:
    """Refused by its size, with no more of it in memory than a manifest may have."""
    path = tmp_path / "manifest"
    with path.open("wb") as file:
        file.truncate(50 * mf.MAX_BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(SignatureError, match="is larger than 32 MiB"):
            mf.read(path, pair[1])
        assert tracemalloc.get_traced_memory()[1] < 2 * mf.MAX_BYTES + 2**20
    finally:
        tracemalloc.stop()


def test_a_disk_that_is_full(
    built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there stays, and nothing half-written beside it."""
    path = tmp_path / "manifest"
    before = mf.write(built, path, pair[0])

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("fsync", "fchmod", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path if name == "replace" else os, name, full)
            with pytest.raises(VersionError, match=r"cannot be written \(No space left on device\)"):
                mf.write(dataclasses.replace(built, retention_days=99), path, pair[0])
        assert mf.read(path, pair[1]) == before
        assert [file.name for file in tmp_path.iterdir()] == ["manifest"]


def test_nowhere_to_write(built: Manifest, pair: tuple[Signer, Verifier], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere" / "manifest", tmp_path / "file" / "manifest"):
        with pytest.raises(VersionError, match="cannot be written"):
            mf.write(built, path, pair[0])


# --- sounds -----------------------------------------------------------------------------------------------------------


def test_each_sound_is_read_once(site: SmallSite, built: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines and languages share sounds: two hundred lines are compared in the time of one."""
    asked: list[str] = []

    def counting(audio: PromptAudio, store: Path) -> Any:
        asked.append(audio.key)
        return store_module.verify(audio, store)

    monkeypatch.setattr(mf, "verify", counting)
    checked = mf.Checked(site.store)
    for _ in range(3):
        assert checked.faults(built) == ()
    assert sorted(asked) == sorted({audio.key for audio in built.audio()})


def test_two_digests_of_one_sound(site: SmallSite, built: Manifest) -> None:
    """A manifest that wants two different sounds of one folder cannot be satisfied, in whichever order they come."""
    first, *rest = built.languages
    said = first.information[0]
    files = {name: dataclasses.replace(file, sha256="0" * 64) for name, file in said.audio.files.items()}
    other = dataclasses.replace(said, audio=dataclasses.replace(said.audio, files=MappingProxyType(files)))
    for prompts in ((other, *first.information), (*first.information, other)):
        spoken = dataclasses.replace(first, information=prompts)
        manifest = dataclasses.replace(built, languages=(spoken, *rest))
        assert len(mf.Checked(site.store).faults(manifest)) == len(files)


def test_what_the_flow_plays(site: SmallSite, built: Manifest) -> None:
    """Each prompt with its text's digest, its sound's, and the lengths that the switch may report."""
    for spoken in built.languages:
        notice = mf.spoken_notice(built, spoken, site.store)
        assert (notice.id, notice.version, notice.language) == ("recording", mf.DRAFT, spoken.language)
        assert notice.manifest_sha256 == built.sha256
        assert [prompt.id for prompt in notice.prompts()] == [prompt.id for prompt in spoken.prompts()]
        for prompt, said in zip(notice.prompts(), spoken.prompts(), strict=True):
            assert prompt.audio_sha256 == said.audio.sha256
            assert prompt.text_sha256 == text_sha256(said.text)
            assert prompt.lengths == {file.samples for file in said.audio.files.values()}
            assert prompt.duration_ms * 8 == said.audio.samples
            assert Path(f"{prompt.path}.ulaw").is_file()


def test_the_language_key_is_there_for_several_languages(built: Manifest) -> None:
    assert mf.plan_keys(built.keys, 2).language == built.keys["language"]
    assert mf.plan_keys(built.keys, 1).language is None
