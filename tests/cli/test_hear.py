"""ivr-consent prompts show, play, diff: what callers hear is shown, drawn, played and compared, byte for byte."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import subprocess
import sys
import wave
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import Result

from ivr_consent import config, wording
from ivr_consent.cli import differences, player
from ivr_consent.core.notice import ELEMENTS
from ivr_consent.manifest import Manifest, Spoken
from ivr_consent.workshop import Workshop
from tests.cli.support import run, run_json
from tests.tools import need

PATIENCE = 60.0
PLAYED_SHARE = player.PLAYED_SHARE

CONFIGURATION = """
[prompts]
directory = "prompts"

[facts.default]
controller = "Example Cafe\u0301"
authority = "the data protection authority"
recipients = "the agent"
withdrawal_contact = "telephone 12 34"
rights_contact = "privacy at example dot com"
web_address = "example dot com"

[lines.support]
notice = "short"
languages = ["en", "da"]
retention_days = 30

[lines.other]
notice = "short"
languages = ["da"]
"""

NOTICE = """
notice = "short"
language = "{language}"

[[segments]]
id = "who"
elements = [1, 2]
text = "This is {{controller}}, the controller. Nothing is being recorded now."

[[segments]]
id = "how"
elements = [4, 5, 6, 10]
text = "It is voluntary, with the same help. We record your voice and keep it for {{retention_days}} days."

[[segments]]
id = "rights"
elements = [7, 8, 9, 12]
text = "Heard by {{recipients}}. Withdraw at any time by {{withdrawal_contact}}. Complain to {{authority}}. More: \
{{web_address}}, {{rights_contact}}, or press {{key_long}}, {{key_repeat}}, {{key_language}}."

[[purposes]]
id = "training"
name = "staff training"
statement = "Purpose: staff training."
question = "May we record this call for staff training?"

[choice]
yes = "Press {{key_yes}} for yes."
no = "Press {{key_no}} for no."
otherwise = "Anything else means no recording."

[[long]]
id = "long-basis"
text = "The legal basis is your consent."

[results]
granted = "Yes. This call is recorded."
declined = "No. This call is not recorded."
unrecorded = "This call is not recorded."
again = "The question comes again."
early = "That key came too early."
"""


@dataclass(frozen=True)
class Site:
    """A site whose line ``support`` has a published version 1, and whose line ``other`` has none."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "ivr-consent.toml"

    @property
    def store(self) -> Path:
        return self.root / "audio"

    def workshop(self) -> Workshop:
        return Workshop(config.load(self.config))

    def prompts(self, *words: str | Path, **env: str) -> Result:
        return run("--config", self.config, "prompts", *words, **env)

    def json(self, *words: str | Path) -> tuple[int, dict[str, Any]]:
        return run_json("--config", self.config, "prompts", *words)

    def published(self, version: int = 1) -> Manifest:
        workshop = self.workshop()
        return workshop.versions("support").published(version, workshop.keys()[1])

    def spoken(self, language: str = "en") -> Spoken:
        return next(spoken for spoken in self.published().languages if spoken.language == language)

    def files(self, form: str, language: str = "en") -> list[bytes]:
        """What the store holds of all that is heard before the choice, in order."""
        spoken = self.spoken(language)
        prompts = (*spoken.information, *spoken.questions.values())
        return [(p.audio.folder(self.store) / p.audio.files[form].name).read_bytes() for p in prompts]

    def damage(self, prompt: str, form: str = "wav") -> Path:
        """Change one byte of a file in the store."""
        audio = next(item.audio for item in self.spoken().prompts() if item.id == prompt)
        path = audio.folder(self.store) / audio.files[form].name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        return path

    def edit(self, old: str, new: str, language: str | None = "en") -> None:
        """Change the draft: a text of one language's notice, or of the configuration."""
        path = self.config if language is None else self.root / "prompts" / language / "short.toml"
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))


def no_rules(*_: object) -> tuple[tuple[()], tuple[()]]:
    """Instead of the rules for wording: these notices are short, and none of theirs."""
    return (), ()


@pytest.fixture(autouse=True)
def _no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "wording", no_rules)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spoken and published once for all tests."""
    need("espeak-ng", "ffmpeg")
    site = Site(tmp_path_factory.mktemp("hear"))
    site.config.write_text(CONFIGURATION)
    for language in ("en", "da"):
        folder = site.root / "prompts" / language
        folder.mkdir(parents=True)
        (folder / "short.toml").write_text(NOTICE.format(language=language))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wording, "wording", no_rules)
        workshop = site.workshop()
        workshop.build(["support"])
        workshop.publish("support", "the tester")
    return site.root


@pytest.fixture
def site(_made: Path, tmp_path: Path) -> Site:
    """A copy of it: the store lies beside the configuration, so it may be moved."""
    shutil.copytree(_made, tmp_path / "site")
    return Site(tmp_path / "site")


# --- show --------------------------------------------------------------------------------------------------------


def test_show_tells_every_second_until_the_choice(site: Site) -> None:
    """The times are those of the files that callers hear."""
    code, document = site.json("show", "support")
    assert code == 0
    assert (document["version"], document["draft"], document["in_force"]) == (1, False, True)
    assert document["approved_by"] == "the tester"
    assert document["choice_seconds"] == 8
    assert document["keys"] == {"yes": "1", "no": "2", "repeat": "3", "long": "4", "language": "5"}
    (told,) = document["languages"]
    assert told["language"] == "en"
    segments, spoken = told["segments"], site.spoken()
    assert [segment["id"] for segment in segments] == [
        "who",
        "training-statement",
        "how",
        "rights",
        "training-question",
    ]
    assert [segment["asks_for"] for segment in segments] == [None, None, None, None, "training"]
    assert segments[0]["begin"] == 0
    assert all(before["end"] == after["begin"] for before, after in pairwise(segments))
    samples = sum(prompt.audio.samples for prompt in (*spoken.information, *spoken.questions.values()))
    assert segments[-1]["end"] == told["seconds_until_first_choice"] == round(samples / 8000, 2)
    assert [part["name"] for part in segments[-1]["parts"]] == ["question", "yes", "no", "otherwise"]
    assert set(told["results"]) == {"granted", "declined", "unrecorded", "again", "early"}
    assert told["long"][0]["begin"] == 0
    assert told["estimated"] == []
    low, high = told["loudness_lufs"]
    assert -30 < low <= high < -10
    assert 60 < told["words_per_minute"] < 300


def test_show_names_the_elements_with_their_meaning(site: Site) -> None:
    """R1: all twelve, by what is heard before the choice."""
    told = site.json("show", "support")[1]["languages"][0]
    assert told["elements_covered"] == {str(number): meaning for number, meaning in ELEMENTS.items()}
    assert told["elements_missing"] == {}
    assert told["segments"][0]["elements"] == {"1": ELEMENTS[1], "2": ELEMENTS[2]}


def test_show_as_text(site: Site) -> None:
    text = site.prompts("show", "support").stdout
    assert "version 1, in force, approved by the tester" in text
    assert "8 s for a key: 1 yes, 2 no, 3 the notice again, 4 the long version, 5 the next language" in text
    assert "0:00.0" in text
    assert "4, 5, 6, 10" in text
    assert "result-declined" in text
    assert "elements missing: none" in text
    assert "espeak-ng" in text
    assert "not built" not in text


def test_show_without_a_version_is_of_the_draft_and_says_so(site: Site) -> None:
    site.edit("Nothing is being recorded now.", "Nothing at all is being recorded now.", "da")
    shown = site.prompts("show", "other")
    assert shown.exit_code == 0
    assert "the draft, since no version of this line is published" in shown.stdout
    assert "not built: times of who are estimated" in shown.stdout
    document = site.json("show", "other")[1]
    assert (document["version"], document["draft"]) == (None, True)
    who = document["languages"][0]["segments"][0]
    assert (who["built"], who["audio_sha256"]) == (False, None)
    assert who["end"] == pytest.approx(0.06 * len(who["text"]))


def test_show_draft_is_of_the_files_as_they_are(site: Site) -> None:
    """What is built has its true length, whatever else has changed; the version stays as it was."""
    site.edit("Purpose: staff training.", "Purpose: training of our staff.")
    draft = site.json("show", "support", "--draft")[1]["languages"][0]
    assert draft["estimated"] == ["training-statement"]
    assert draft["segments"][1]["text"] == "Purpose: training of our staff."
    version = site.json("show", "support", "--version", "1")[1]["languages"][0]
    assert version["segments"][1]["text"] == "Purpose: staff training."
    assert draft["segments"][0] == version["segments"][0]


def test_show_tells_what_is_wrong_with_a_draft(site: Site) -> None:
    """An unfinished draft is an error of the configuration: exit code 3, with the place."""
    site.edit("elements = [7, 8, 9, 12]", "elements = [7, 8, 12]")
    shown = site.prompts("show", "support", "--draft")
    assert shown.exit_code == 3
    assert "element 9" in shown.stderr
    code, document = site.json("show", "support", "--draft", "--language", "da")
    assert code == 3
    assert document["languages"][0]["language"] == "da"
    assert "element 9" in document["problems"][0]["where"]
    assert site.prompts("show", "support").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "sales"], ["no line 'sales'", "support, other"]),
        (["play", "sales"], ["no line 'sales'"]),
        (["diff", "sales"], ["no line 'sales'"]),
        (["show", "support", "--version", "7"], ["no version '7'", "1, current, draft"]),
        (["show", "support", "--language", "fr"], ["no language 'fr'", "en, da, all"]),
        (["show", "support", "--draft", "--language", "fr"], ["the draft has no language 'fr'"]),
        (["show", "support", "--draft", "--version", "1"], ["--draft and --version"]),
        (["play", "support", "--segment", "what", "--output", "x.wav"], ["no segment 'what'", "who", "result-early"]),
        (["play", "support", "--output", "x.mp3"], ["x.mp3", ".wav", ".g722"]),
        (["diff", "support", "1", "9"], ["no version '9'", "1, current, draft"]),
        (["diff", "support", "old"], ["no version 'old'"]),
        (["diff", "support", "--language", "fr"], ["neither has language 'fr'", "en, da"]),
        (["diff", "other"], ["no published version", "draft"]),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    site: Site, words: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, document = site.json(*words)
    assert code == 2
    assert document["error"]["kind"] == "UsageError"
    for part in told:
        assert part in document["error"]["message"]
    assert site.prompts(*words).exit_code == 2


def test_a_text_that_would_act_on_a_terminal_is_shown_escaped(site: Site) -> None:
    """I6: a change of direction would show a reader other words than a caller hears."""
    site.edit("Purpose: staff training.", "Purpose: \u202estaff training.")
    for shown in (site.prompts("show", "support", "--draft"), site.prompts("diff", "support")):
        assert "\u202e" not in shown.stdout
        assert "\\u202e" in "".join(shown.stdout.split())


# --- the picture -------------------------------------------------------------------------------------------------


def test_show_draws_the_sound(site: Site, tmp_path: Path) -> None:
    """One mark for each segment, and the parts of the question."""
    file = tmp_path / "notice.svg"
    document = site.json("show", "support", "--svg", file)[1]
    assert document["pictures"] == {"en": str(file)}
    assert file.stat().st_size < 300_000
    root = ET.fromstring(file.read_text())  # noqa: S314 - our own
    namespace = {"s": "http://www.w3.org/2000/svg"}
    groups = root.findall("s:g[@class='segment']", namespace)
    assert len(groups) == len(document["languages"][0]["segments"])
    assert all(group.find("s:path[@class='wave']", namespace) is not None for group in groups)
    assert groups[-1].find("s:rect[@class='part yes']", namespace) is not None
    title = root.find("s:title", namespace)
    assert title is not None
    assert title.text == "Line support, version 1, en"
    before = file.read_bytes()
    assert site.prompts("show", "support", "--svg", file, "--force").exit_code == 0
    assert file.read_bytes() == before


def test_every_language_gets_its_picture_and_none_is_overwritten(site: Site, tmp_path: Path) -> None:
    taken = tmp_path / "notice-da.svg"
    taken.write_text("mine")
    refused = site.prompts("show", "support", "--language", "all", "--svg", tmp_path / "notice.svg")
    assert refused.exit_code == 1
    assert f"{taken} is there already" in refused.stderr
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["notice-da.svg"]
    assert taken.read_text() == "mine"
    done = site.prompts("show", "support", "--language", "all", "--svg", tmp_path / "notice.svg", "--force")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["notice-da.svg", "notice-en.svg"]
    assert "version 1, da" in taken.read_text()


def test_no_picture_of_what_is_not_built_or_not_as_built(site: Site, tmp_path: Path) -> None:
    damaged = site.damage("how")
    shown = site.prompts("show", "support", "--svg", tmp_path / "x.svg")
    assert shown.exit_code == 3
    assert f"{damaged}: the file was changed after it was built" in shown.stderr
    site.edit("Purpose: staff training.", "Purpose: training.")
    shown = site.prompts("show", "support", "--draft", "--svg", tmp_path / "x.svg")
    assert shown.exit_code == 3
    assert "training-statement" in shown.stderr
    assert "ivr-consent prompts build support" in shown.stderr
    assert list(tmp_path.glob("*.svg")) == []


# --- play, into a file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["ulaw", "alaw", "gsm", "g722", "sln16"])
def test_a_file_is_the_files_of_the_store_one_after_another(site: Site, tmp_path: Path, form: str) -> None:
    """What is heard here is what callers hear."""
    if form == "gsm" and "gsm" not in site.spoken().information[0].audio.files:
        pytest.skip("this ffmpeg cannot write GSM")
    file = tmp_path / f"notice.{form}"
    document = site.json("play", "support", "--output", file)[1]
    assert file.read_bytes() == b"".join(site.files(form))
    (piece,) = document["pieces"]
    assert piece["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert piece["bytes"] == file.stat().st_size
    assert piece["file"] == str(file)


def test_a_wav_file_holds_the_samples_of_the_store(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "notice.WAV"
    done = site.prompts("play", "support", "--output", file)
    assert done.exit_code == 0, done.output
    assert str(file) in done.stdout
    with wave.open(str(file)) as found:
        assert (found.getnchannels(), found.getsampwidth(), found.getframerate()) == (1, 2, 8000)
        assert found.readframes(found.getnframes()) == b"".join(sound[44:] for sound in site.files("wav"))


def test_one_segment_and_every_language(site: Site, tmp_path: Path) -> None:
    done = site.prompts("play", "support", "--segment", "who", "--language", "all", "--output", tmp_path / "who.ulaw")
    assert done.exit_code == 0, done.output
    for language in ("en", "da"):
        assert (tmp_path / f"who-{language}.ulaw").read_bytes() == site.files("ulaw", language)[0]


def test_a_file_that_is_there_stays_unless_forced(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "notice.ulaw"
    file.write_text("mine")
    refused = site.prompts("play", "support", "--output", file)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert file.read_text() == "mine"
    assert site.prompts("play", "support", "--output", file, "--force").exit_code == 0
    assert file.read_bytes() == b"".join(site.files("ulaw"))
    nowhere = site.prompts("play", "support", "--output", tmp_path / "no" / "where.wav")
    assert nowhere.exit_code == 1
    assert "cannot be written" in nowhere.stderr


def test_a_changed_byte_is_refused_by_name(site: Site, tmp_path: Path) -> None:
    """What was not published is not passed off as what callers hear; other formats are still whole."""
    damaged = site.damage("rights", "ulaw")
    code, document = site.json("play", "support", "--output", tmp_path / "x.ulaw")
    assert code == 3
    assert document["error"]["kind"] == "AudioError"
    assert str(damaged) in document["error"]["message"]
    assert "changed" in document["error"]["message"]
    assert not (tmp_path / "x.ulaw").exists()
    assert site.prompts("play", "support", "--output", tmp_path / "x.alaw").exit_code == 0


def test_a_link_or_a_gap_in_the_store_is_refused(site: Site, tmp_path: Path) -> None:
    whole = site.damage("rights", "ulaw")
    whole.unlink()
    assert "the file is missing" in site.prompts("play", "support", "--output", tmp_path / "x.ulaw").stderr
    whole.symlink_to("/dev/zero")
    assert "something else" in site.prompts("play", "support", "--output", tmp_path / "x.ulaw").stderr


def test_a_draft_that_is_not_built_cannot_be_heard(site: Site, tmp_path: Path) -> None:
    site.edit("Purpose: staff training.", "Purpose: training.")
    refused = site.prompts("play", "support", "--draft", "--output", tmp_path / "x.wav")
    assert refused.exit_code == 3
    assert "training-statement" in refused.stderr
    other = site.prompts("play", "support", "--draft", "--segment", "who", "--output", tmp_path / "x.wav")
    assert other.exit_code == 0, other.output


# --- play, aloud -------------------------------------------------------------------------------------------------


@pytest.fixture
def players(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, on a machine with a sound server; players may be faster than the sound."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")
    monkeypatch.setattr(player, "PLAYED_SHARE", 0.0)
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


ALOUD = ("play", "support", "--segment", "result-again")


def test_no_sound_here_is_said_with_what_to_do(
    site: Site, players: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is written where nobody has named a file."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    lacking = site.prompts(*ALOUD)
    assert lacking.exit_code == 1
    assert "no player here" in lacking.stderr
    assert "--output FILE" in lacking.stderr
    program(players, "aplay", "exit 0")
    monkeypatch.setattr(player, "sound_is_likely", lambda: False)
    silent = site.prompts(*ALOUD)
    assert silent.exit_code == 1
    assert "no sound here" in silent.stderr
    assert "--output FILE" in silent.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_sound_is_likely_where_a_server_or_a_device_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PULSE_SERVER", "PIPEWIRE_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert player.sound_is_likely() is bool(list(Path("/dev/snd").glob("pcm*p")))
    (tmp_path / "pipewire-0").touch()
    assert player.sound_is_likely()


def test_a_player_gets_the_very_sound_and_the_text_is_told(site: Site, players: Path, tmp_path: Path) -> None:
    program(players, "paplay", f'while read -r line; do :; done; exec /bin/cp "$1" {tmp_path}/heard.wav')
    program(players, "aplay", "exit 1")
    done = site.prompts(*ALOUD)
    assert done.exit_code == 0, done.output
    assert "0:00.0  result-again: The question comes again." in done.stdout
    audio = site.spoken().results["again"].audio
    stored = (audio.folder(site.store) / "prompt.wav").read_bytes()
    assert (tmp_path / "heard.wav").read_bytes() == stored
    code, document = site.json(*ALOUD)
    assert code == 0
    assert document["pieces"][0]["played_by"] == "paplay"


def test_the_next_player_is_tried_when_one_fails(site: Site, players: Path) -> None:
    program(players, "ffplay", "echo 'no \x1b[31mdevice' >&2; exit 7")
    program(players, "pw-play", "exit 0")
    assert site.json(*ALOUD)[1]["pieces"][0]["played_by"] == "pw-play"
    program(players, "pw-play", "kill -9 $$")
    failed = site.prompts(*ALOUD)
    assert failed.exit_code == 1
    assert "ffplay failed with exit code 7: no \\x1b[31mdevice" in failed.stderr
    assert "pw-play failed with exit code -9" in failed.stderr
    assert "--output FILE" in failed.stderr


def test_a_program_that_cannot_be_started_is_no_end(site: Site, players: Path) -> None:
    (players / "paplay").write_bytes(b"\x7fELF nonsense")
    (players / "paplay").chmod(0o755)
    program(players, "aplay", "exit 0")
    assert site.json(*ALOUD)[1]["pieces"][0]["played_by"] == "aplay"


def test_a_player_that_ends_well_at_once_has_not_played(
    site: Site, players: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ffplay without a device does that."""
    monkeypatch.setattr(player, "PLAYED_SHARE", PLAYED_SHARE)
    program(players, "ffplay", "echo audio open failed >&2; exit 0")
    failed = site.prompts("play", "support")
    assert failed.exit_code == 1
    assert "ffplay ended after 0." in failed.stderr
    assert "audio open failed" in failed.stderr


def gone(number: int) -> bool:
    """Whether a process is no more, or a zombie of somebody else's that is about to be collected."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_player_that_hangs_is_stopped_with_all_it_started(
    site: Site, players: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also one that does not listen to a polite signal."""
    monkeypatch.setattr(player, "PLAYER_MARGIN_S", 0.3)
    monkeypatch.setattr(player, "STOPPING_S", 0.2)
    numbers = tmp_path / "numbers"
    program(players, "aplay", f"trap '' TERM\n/bin/sleep 300 &\necho $$ $! > {numbers}\nwhile :; do wait; done")
    failed = site.prompts(*ALOUD)
    assert failed.exit_code == 1
    assert "aplay did not end within" in failed.stderr
    assert [gone(int(number)) for number in numbers.read_text().split()] == [True, True]


def test_ctrl_c_stops_the_player_and_exits_130(site: Site, players: Path, tmp_path: Path) -> None:
    """The player presses Ctrl-C itself: it is the child of the command, and plays by then."""
    numbers = tmp_path / "numbers"
    program(players, "aplay", f"echo $$ > {numbers}\nkill -INT $PPID\nexec /bin/sleep 300")
    # a test run in the background would hand down that Ctrl-C is ignored
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from ivr_consent.cli.main import main; main()"
    command = [sys.executable, "-c", code, "--config", str(site.config), "prompts", *ALOUD]
    for extra in ([], ["--json"]):
        done = subprocess.run([*command, *extra], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 130, done.stderr
        assert "Traceback" not in done.stderr
        assert gone(int(numbers.read_text()))
    assert '"exit": 130' in done.stdout


# --- diff --------------------------------------------------------------------------------------------------------


def test_nothing_is_different_from_the_draft_that_was_published(site: Site) -> None:
    """Neither in another spelling of the same letter: the controller's accent is a character of its own in the file."""
    code, document = site.json("diff", "support")
    assert (code, document["equal"], document["changed"]) == (0, True, {})
    assert (document["a"]["version"], document["b"]["version"]) == (1, None)
    assert not any(told["different"] for told in document["languages"].values())
    assert "nothing is different" in site.prompts("diff", "support", "1", "current").stdout


def test_a_comment_is_no_difference_but_is_told(site: Site) -> None:
    path = site.root / "prompts" / "en" / "short.toml"
    path.write_text("# a remark\n" + path.read_text())
    done = site.prompts("diff", "support")
    assert done.exit_code == 0
    assert "en: the same, though the notice's file was changed" in done.stdout
    assert "da: the same\n" in done.stdout


def test_every_kind_of_difference_is_told(site: Site) -> None:
    path = site.root / "prompts" / "en" / "short.toml"
    text = path.read_text()
    text = text.replace("We record your voice", "We record what you say")
    text = text.replace("elements = [1, 2]", "elements = [1, 2, 10]")
    # a segment renamed is one gone and one new; the long version's goes to the end
    text = text.replace('id = "long-basis"', 'id = "long-law"')
    who, how, rights = (text.index(f'[[segments]]\nid = "{name}"') for name in ("who", "how", "rights"))
    rest = text.index("[[purposes]]")
    path.write_text(text[:who] + text[how:rights] + text[who:how] + text[rights:rest] + text[rest:])
    site.edit("retention_days = 30", "retention_days = 60\nkeys = { yes = '7' }", None)
    site.edit("the agent", "the team", None)
    code, document = site.json("diff", "support")
    assert code == 1
    assert document["changed"] == {"retention_days": [30, 60], "key_yes": ["1", "7"]}
    told = document["languages"]["en"]
    assert [item["id"] for item in told["added"]] == ["long-law"]
    assert [item["id"] for item in told["removed"]] == ["long-basis"]
    assert told["moved"] in (["how"], ["who", "training-statement"])
    changed = {item["id"]: item["words"] for item in told["text"]}
    assert "We record [-your voice-] {+what you say+} and keep it for [-30-] {+60+} days." in changed["how"]
    assert "Press [-1-] {+7+} for yes." in changed["training-question"]
    assert told["elements"] == [{"id": "who", "a": [1, 2], "b": [1, 2, 10]}]
    assert told["facts"] == {"recipients": ["the agent", "the team"]}
    assert told["sound"] == []
    assert told["estimated"]
    before, after = told["seconds_until_first_choice"]
    assert before != after
    assert not document["languages"]["da"]["moved"]
    shown = site.prompts("diff", "support")
    assert shown.exit_code == 1
    lines = shown.stdout.splitlines()
    assert "retention days: 30 -> 60" in lines
    assert "key yes: 1 -> 7" in lines
    assert "  added long-law: {+The legal basis is your consent.+}" in lines
    assert "  elements of who: 1, 2 -> 1, 2, 10" in lines
    assert "  fact recipients: the agent -> the team" in lines
    assert any(line.startswith("  first choice after ") and "estimated" in line for line in lines)
    only = site.json("diff", "support", "--language", "da")[1]
    assert list(only["languages"]) == ["da"]


def test_another_sound_of_the_same_text_is_told_with_its_reason(site: Site) -> None:
    take = site.root / "prompts" / "en" / "who.wav"
    audio = site.spoken().information[0].audio
    shutil.copy(audio.folder(site.store) / "prompt.wav", take)
    said = site.spoken().information[0].text
    with (site.root / "prompts" / "en" / "short.toml").open("a") as notice:
        notice.write(f'[[takes]]\nprompt = "who"\nfile = "who.wav"\nsays = "{said}"\n')
        notice.write('[voices]\nhow = "slow"\nrights = "american"\n')
    with site.config.open("a") as settings:
        settings.write('[prompts.voices.slow]\nspeed = 120\n[prompts.voices.american]\nvoice = "en-us"\n')
    code, document = site.json("diff", "support")
    assert code == 1
    told = {item["id"]: item for item in document["languages"]["en"]["sound"]}
    assert {name: item["why"] for name, item in told.items()} == {
        "who": "take",
        "how": "speed or pipeline",
        "rights": "voice",
    }
    assert told["who"]["b"].startswith("take ")
    assert document["languages"]["en"]["text"] == []
    assert "sound of rights, the same text: voice: espeak-ng" in site.prompts("diff", "support").stdout


def test_languages_and_purposes_that_come_and_go(site: Site) -> None:
    site.edit('languages = ["en", "da"]', 'languages = ["en"]', None)
    code, document = site.json("diff", "support")
    assert code == 1
    assert document["changed"]["languages"] == [["en", "da"], ["en"]]
    assert document["languages"]["da"] == {"different": True, "only_in": "a"}
    assert "da: removed" in site.prompts("diff", "support").stdout
    assert "da: added" in site.prompts("diff", "support", "draft", "current").stdout


def test_a_draft_that_cannot_be_composed_cannot_be_compared(site: Site) -> None:
    site.edit("elements = [7, 8, 9, 12]", "elements = [7, 8, 12]")
    code, document = site.json("diff", "support")
    assert code == 3
    assert "element 9" in document["error"]["problems"][0]["where"]


def test_changed_words_are_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """And cannot be forged by a text: what is not printable is escaped there too."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        differences.say_words([("=", "as it was"), ("-", "old"), ("+", "new\x1b]0;title\x07")])
    shown = os.read(reader, 4096).decode()
    os.close(reader)
    assert "\x1b[9;31mold\x1b[0m" in shown
    assert "\x1b[4;32mnew\\x1b]0;title\\x07\x1b[0m" in shown
    assert "[-" not in shown


def test_a_history_that_is_not_ours_is_refused(site: Site, tmp_path: Path) -> None:
    """What was tampered with is not shown as what callers hear."""
    history = site.root / "versions" / "support" / "history"
    history.write_bytes(history.read_bytes().replace(b"the tester", b"a stranger"))
    for words in (["show", "support"], ["play", "support", "--output", str(tmp_path / "x.wav")], ["diff", "support"]):
        code, document = site.json(*words)
        assert code == 3
        assert document["error"]["kind"] == "SignatureError"
