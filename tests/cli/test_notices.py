"""ivr-consent prompts new, copy, take: notices of one's own. Nothing is overwritten, and one place is changed."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
import wave
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from ivr_consent import config
from ivr_consent.cli import files
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.notice import Notice
from ivr_consent.core.notice_file import parse_notice
from ivr_consent.notice_edit import SCHEMA_LINE, TODO
from ivr_consent.site import shipped
from tests.cli import support
from tests.cli.support import Place
from tests.tools import need

ENGLISH = (shipped("prompts") / "en" / "recording.toml").read_text(encoding="utf-8")


def run(place: Place, *words: str | Path) -> Result:
    """One of the verbs, on a site."""
    return support.run("--config", place.config, "prompts", *words)


def run_json(place: Place, *words: str | Path) -> tuple[int, dict[str, Any]]:
    return support.run_json("--config", place.config, "prompts", *words)


def read(path: Path) -> Notice:
    notice, problems = parse_notice(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    assert problems == ()
    assert notice is not None
    return notice


@pytest.fixture
def own(place: Place) -> Place:
    """A site with its own copy of the English notice."""
    assert run(place, "copy", "recording").exit_code == 0
    return place


def left_over(place: Place) -> list[str]:
    """Parts of files that were not made whole."""
    return [path.name for path in place.root.rglob(".*")]


# --- copy -------------------------------------------------------------------------------------------------------------


def test_copy_makes_a_folder_of_ones_own_and_names_it(place: Place) -> None:
    before = place.config.read_text()
    result = run(place, "copy", "recording")
    assert result.exit_code == 0
    folder = place.etc / "prompts"
    assert (folder / "en" / "recording.toml").read_text(encoding="utf-8") == f"{SCHEMA_LINE}\n{ENGLISH}"
    assert json.loads((folder / "notice.schema.json").read_text())["title"] == "A notice of ivr-consent"
    assert config.load(place.config).prompts.directory == Path("prompts")
    changes = set(place.config.read_text().splitlines()) ^ set(before.splitlines())
    assert changes == {'# directory = "prompts"', 'directory = "prompts"'}
    assert place.config.stat().st_mode & 0o777 == 0o640
    assert 'set directory = "prompts" under [prompts]' in result.stdout
    assert left_over(place) == []


def test_copy_takes_the_languages_of_the_lines_or_those_named(place: Place) -> None:
    place.edit('languages = ["en"]', 'languages = ["en", "da"]')
    code, document = run_json(place, "copy", "recording")
    folder = place.etc / "prompts"
    assert code == 0
    assert {path.parent.name for path in folder.glob("*/*.toml")} == {"en", "da"}
    code, document = run_json(place, "copy", "recording", "--language", "sv", "--language", "sv")
    assert code == 0
    assert [entry["what"] for entry in document["files"]] == ["written", "unchanged"]
    assert {path.parent.name for path in folder.glob("*/*.toml")} == {"en", "da", "sv"}


def test_copy_under_another_name(own: Place) -> None:
    assert run(own, "copy", "recording", "--language", "en", "--as", "sales").exit_code == 0
    path = own.etc / "prompts" / "en" / "sales.toml"
    assert read(path).id == "sales"
    assert path.read_text().replace('"sales"', '"recording"') == f"{SCHEMA_LINE}\n{ENGLISH}"


def test_copy_says_what_lines_lack_in_the_new_folder(place: Place) -> None:
    place.edit('languages = ["en"]', 'languages = ["en", "da"]')
    code, document = run_json(place, "copy", "recording", "--language", "en")
    assert code == 0
    (lacking,) = [step for step in document["next"] if "is not in the folder" in step]
    assert lacking.startswith("support: the notice recording in da")
    assert "prompts copy recording --language da" in lacking


def test_copy_never_overwrites(own: Place) -> None:
    path = own.etc / "prompts" / "en" / "recording.toml"
    path.write_text("mine")
    before = own.files()
    result = run(own, "copy", "recording")
    assert result.exit_code == 1
    assert "it was there already, and is not overwritten" in result.stdout
    assert own.files() == before


def test_copy_leaves_a_folder_that_is_named_already(place: Place) -> None:
    place.edit('# directory = "prompts"', 'directory = "texts"')
    before = place.config.read_text()
    assert run(place, "copy", "recording").exit_code == 0
    assert place.config.read_text() == before
    assert (place.etc / "texts" / "en" / "recording.toml").is_file()


@pytest.mark.parametrize(
    ("table", "after"),
    [
        ('[prompts]\naudio = "a"\n', '[prompts]\naudio = "a"\ndirectory = "prompts"\n'),
        (
            "[prompts.voices.en]\nspeed = 150\n",
            '[prompts.voices.en]\nspeed = 150\n\n[prompts]\ndirectory = "prompts"\n',
        ),
        ("", '\n[prompts]\ndirectory = "prompts"\n'),
        ('prompts = { audio = "a" } # x\n', 'prompts = { audio = "a", directory = "prompts" } # x\n'),
    ],
)
def test_copy_into_whatever_configuration(tmp_path: Path, table: str, after: str) -> None:
    place = Place(tmp_path)
    place.etc.mkdir()
    head, tail = ("", "[lines.support]\n") if table.startswith("prompts") else ("[lines.support]\n", "")
    place.config.write_text(f"{head}{table}{tail}")
    assert run(place, "copy", "recording").exit_code == 0
    assert place.config.read_text() == f"{head}{after}{tail}"
    assert config.load(place.config).prompts.directory == Path("prompts")


def test_copy_tells_when_the_configuration_must_be_written_by_hand(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.etc.mkdir()
    text = 'prompts.audio = "a"\n[lines.support]\n'
    place.config.write_text(text)
    result = run(place, "copy", "recording")
    assert result.exit_code == 1
    assert "write it by hand" in result.stderr
    assert place.config.read_text() == text


def test_copy_keeps_a_link_to_the_configuration(place: Place) -> None:
    real = place.root / "real.toml"
    place.config.rename(real)
    place.config.symlink_to(real)
    assert run(place, "copy", "recording").exit_code == 0
    assert place.config.is_symlink()
    assert config.load(place.config).prompts.directory == Path("prompts")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("sales",), 1, "no notice 'sales' is shipped"),
        (("recording", "--language", "xx"), 1, "is not shipped in 'xx', only in: da, "),
        (("../recording",), 2, "no name of a notice"),
        (("recording", "--as", "../x"), 2, "no name of a notice"),
        (("recording", "--language", "../en"), 2, "is no language"),
    ],
)
def test_copy_of_what_there_is_not(place: Place, words: tuple[str, ...], code: int, told: str) -> None:
    before = place.files()
    result = run(place, "copy", *words)
    assert result.exit_code == code
    assert told in " ".join(result.stderr.replace("│", " ").split())
    assert place.files() == before


# --- new --------------------------------------------------------------------------------------------------------------


def test_new_makes_a_notice_to_be_written(own: Place) -> None:
    code, document = run_json(own, "new", "recording", "--language", "it")
    path = own.etc / "prompts" / "it" / "recording.toml"
    assert code == 0
    assert document["files"][0] == {"what": "written", "path": str(path)}
    made = read(path)
    assert (made.id, made.language) == ("recording", "it")
    assert all(segment.text.startswith(TODO) for segment in made.segments)
    assert 'add "it" to the languages of the line: support' in document["next"]
    assert left_over(own) == []


def test_new_is_like_ones_own_notice_where_there_is_one(own: Place) -> None:
    path = own.etc / "prompts" / "en" / "recording.toml"
    path.write_text(path.read_text().replace('id = "more"', 'id = "where"'))
    assert run(own, "new", "recording", "--language", "it").exit_code == 0
    assert "where" in read(own.etc / "prompts" / "it" / "recording.toml").places
    assert run(own, "new", "recording", "--language", "pt-BR", "--like", "sv").exit_code == 0
    text = (own.etc / "prompts" / "pt-BR" / "recording.toml").read_text(encoding="utf-8")
    assert "more" in read(own.etc / "prompts" / "pt-BR" / "recording.toml").places
    assert "# sv: " in text


def test_new_never_overwrites(own: Place) -> None:
    assert run(own, "new", "recording", "--language", "it").exit_code == 0
    before = own.files()
    result = run(own, "new", "recording", "--language", "it")
    assert result.exit_code == 1
    assert "is not overwritten" in result.stderr
    assert own.files() == before


def test_new_needs_a_folder_of_ones_own(place: Place) -> None:
    before = place.files()
    code, document = run_json(place, "new", "recording", "--language", "it")
    assert code == 3
    (problem,) = document["error"]["problems"]
    assert problem["where"].endswith(": prompts.directory")
    assert "ivr-consent prompts copy recording --language en" in problem["remedy"]
    assert place.files() == before


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("sales", "--language", "it"), 1, "none is shipped"),
        (("recording", "--language", "it", "--like", "xx"), 1, "name a language that has it with --like"),
        (("recording", "--language", "italian please"), 2, "is no language"),
        (("recording", "--language", "it", "--like", "../en"), 2, "is no language"),
        (("a/b", "--language", "it"), 2, "no name of a notice"),
    ],
)
def test_new_of_what_cannot_be(own: Place, words: tuple[str, ...], code: int, told: str) -> None:
    before = own.files()
    result = run(own, "new", *words)
    assert result.exit_code == code
    assert told in " ".join(result.stderr.replace("│", " ").split())
    assert own.files() == before


# --- take -------------------------------------------------------------------------------------------------------------

needs_ffmpeg = pytest.mark.usefixtures("ffmpeg")


@pytest.fixture
def ffmpeg() -> None:
    """Recordings are looked at with ffmpeg."""
    need("ffmpeg")


def sound(path: Path, *, channels: int = 1, hertz: int = 440) -> Path:
    """Half a second of a tone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16000)
        tone = (int(8000 * math.sin(2 * math.pi * hertz * n / 16000)) for n in range(8000))
        file.writeframes(b"".join(value.to_bytes(2, "little", signed=True) * channels for value in tone))
    return path


@needs_ffmpeg
def test_take_copies_the_recording_and_names_it(own: Place) -> None:
    given = sound(own.root / "My recording.WAV")
    path = own.etc / "prompts" / "en" / "recording.toml"
    before = path.read_text(encoding="utf-8")
    path.chmod(0o664)
    code, document = run_json(own, "take", "en", "recording", "controller", given)
    assert code == 0
    (take,) = read(path).takes
    assert take.prompt == "controller"
    assert take.says == document["says"]
    assert take.says.startswith("This is Example Company, Main Street 1, Exampletown,")
    assert take.file == document["take"]
    assert (path.parent / take.file).read_bytes() == given.read_bytes()
    assert take.file.startswith("takes/controller-")
    assert take.file.endswith(".wav")
    assert path.read_text(encoding="utf-8").startswith(before), "put behind all that was there"
    assert path.stat().st_mode & 0o777 == 0o664
    assert left_over(own) == []
    again, document = run_json(own, "take", "en", "recording", "controller", given)
    assert (again, [entry["what"] for entry in document["files"]]) == (0, ["unchanged", "unchanged"])


@needs_ffmpeg
def test_a_new_take_takes_the_place_of_the_old_one(own: Place) -> None:
    """The old recording stays beside it: a version that was published may have been made of it."""
    assert run(own, "take", "en", "recording", "rights", sound(own.root / "a.wav")).exit_code == 0
    assert run(own, "take", "en", "recording", "rights", sound(own.root / "a.wav", hertz=550)).exit_code == 0
    folder = own.etc / "prompts" / "en"
    (take,) = read(folder / "recording.toml").takes
    assert len(list((folder / "takes").iterdir())) == 2
    assert (folder / take.file).read_bytes() == (own.root / "a.wav").read_bytes()


@needs_ffmpeg
def test_take_of_a_question_says_the_choice_too(own: Place) -> None:
    code, document = run_json(own, "take", "en", "recording", "training-question", sound(own.root / "q.wav"))
    assert code == 0
    assert "Press 1 for yes. Press 2 for no." in document["says"]


@needs_ffmpeg
def test_take_with_words_of_its_own(own: Place) -> None:
    given = sound(own.root / "a.wav")
    code, document = run_json(own, "take", "en", "recording", "quality-question", given, "--says", " Do  you? ")
    assert code == 0
    assert document["says"] == "Do you?"
    assert any("no line says these words now" in step for step in document["next"])
    result = run(own, "take", "en", "recording", "quality-question", given)
    assert result.exit_code == 1
    assert "no line plays 'quality-question' in 'en' now; say what was spoken with --says" in result.stderr


@needs_ffmpeg
def test_take_where_lines_say_other_words(own: Place) -> None:
    text = own.config.read_text()
    own.config.write_text(f"{text}\n[lines.sales]\nretention_days = 7\n[lines.other]\nnotice = 'other'\n")
    given = sound(own.root / "a.wav")
    assert run(own, "take", "en", "recording", "controller", given).exit_code == 0, "both say the same"
    result = run(own, "take", "en", "recording", "retention", given)
    assert result.exit_code == 1
    assert "name one with --line: support, sales" in result.stderr
    code, document = run_json(own, "take", "en", "recording", "retention", given, "--line", "sales")
    assert code == 0
    assert "kept for 7 days" in document["says"]
    for name, told in (("other", "does not play"), ("none", "there is no line")):
        refused = run(own, "take", "en", "recording", "retention", given, "--line", name)
        assert refused.exit_code != 0
        assert told in " ".join(refused.stderr.replace("│", " ").split())


@needs_ffmpeg
def test_take_without_the_facts_tells_which(own: Place) -> None:
    own.edit('controller = "Example Company, Main Street 1, Exampletown"', "")
    code, document = run_json(own, "take", "en", "recording", "controller", sound(own.root / "a.wav"))
    assert code == 3
    assert "set controller in [facts.default]" in document["error"]["problems"][0]["remedy"]
    code, _ = run_json(own, "take", "en", "recording", "controller", own.root / "a.wav", "--says", "This is us.")
    assert code == 0


@needs_ffmpeg
@pytest.mark.parametrize("what", ["stereo", "no sound", "empty", "missing", "a link", "a folder", "a name"])
def test_take_of_what_is_no_recording_changes_nothing(own: Place, what: str) -> None:
    given = own.root / ("a.wav" if what != "a name" else "a;b.wav")
    match what:
        case "stereo":
            sound(given, channels=2)
        case "no sound":
            given.write_text("#!/bin/sh\n" * 100)
        case "empty":
            given.write_bytes(b"")
        case "a link":
            given.symlink_to(sound(own.root / "b.wav"))
        case "a folder":
            given.mkdir()
        case "a name":
            sound(given)
        case _:
            pass
    before = own.files()
    result = run(own, "take", "en", "recording", "controller", given)
    assert result.exit_code == 3, result.output
    assert "ivr-consent: " in result.stderr
    assert own.files() == before
    assert left_over(own) == []


@needs_ffmpeg
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("en", "recording", "nothing"), 3, "has no prompt 'nothing'"),
        (("en", "recording", "../../x"), 3, "has no prompt"),
        (("en", "recording", "choice-yes"), 3, "has no prompt 'choice-yes'"),
        (("da", "recording", "controller"), 1, "cannot be read"),
        (("en", "sales", "controller"), 1, "cannot be read"),
        (("..", "recording", "controller"), 2, "is no language"),
        (("en", "recording", "controller", "--says", "x", "--line", "support"), 2, "either --says or --line"),
        (("en", "recording", "controller", "--says", " "), 3, "an empty text"),
        (("en", "recording", "controller", "--says", "x" * 2001), 3, "2001 characters"),
        (("en", "recording", "controller", "--says", "{controller}"), 3, "as they were spoken"),
    ],
)
def test_take_of_what_cannot_be_changes_nothing(own: Place, words: tuple[str, ...], code: int, told: str) -> None:
    given = sound(own.root / "a.wav")
    before = own.files()
    result = run(own, "take", *words[:3], given, *words[3:])
    assert result.exit_code == code, result.output
    assert told in " ".join(result.stderr.replace("│", " ").split())
    assert own.files() == before


@needs_ffmpeg
def test_take_into_a_notice_that_is_wrong_tells_where(own: Place) -> None:
    path = own.etc / "prompts" / "en" / "recording.toml"
    path.write_text(path.read_text() + 'late = "\\u001b[2J"\n')
    lines = len(path.read_text().splitlines())
    result = run(own, "take", "en", "recording", "controller", sound(own.root / "a.wav"))
    assert result.exit_code == 3
    assert f"recording.toml:{lines}: results.late" in result.stderr
    path.write_text("[a\n")
    result = run(own, "take", "en", "recording", "controller", own.root / "a.wav")
    assert result.exit_code == 3
    assert "recording.toml:1" in result.stderr


def test_take_needs_a_folder_of_ones_own(place: Place) -> None:
    code, document = run_json(place, "take", "en", "recording", "controller", "a.wav")
    assert code == 3
    assert "prompts copy recording --language en" in document["error"]["problems"][0]["remedy"]


def test_nothing_of_a_notice_reaches_the_terminal_as_it_is(own: Place) -> None:
    """I6."""
    path = own.etc / "prompts" / "en" / "recording.toml"
    path.write_text(path.read_text().replace('id = "more"', 'id = "\\u001b[2J"'))
    result = run(own, "take", "en", "recording", "\x1b[2J", "a.wav")
    assert result.exit_code == 3
    assert "\x1b" not in result.output


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_copied_is_not_kept(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_text("now another")
    with pytest.raises(ConsentError, match="was changed"):
        files.copy_new(source, tmp_path / "b", "0" * 64, 0o644)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_there_is_not_copied_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("ours")
    target.write_text("theirs")
    digest = hashlib.sha256(b"ours").hexdigest()
    assert not files.copy_new(source, target, digest, 0o644)
    monkeypatch.setattr(files, "exists", lambda _: False)  # as when somebody makes it meanwhile
    assert not files.copy_new(source, target, digest, 0o644)
    assert target.read_text() == "theirs"


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_to_be_changed_has_to_be_read_exactly(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConsentError):
        files.read_exactly(path)
    path.write_bytes(b"a\r\nb")
    assert files.read_exactly(path) == "a\r\nb"
