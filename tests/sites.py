"""Small sites: a notice of a few sentences, with sound that no voice has spoken.

For tests of versions, reloads and damage, where it matters which bytes lie in which file and not what they sound like.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from ivr_consent import config
from ivr_consent import workshop as workshop_module
from ivr_consent.audio.formats import FORMATS, FRAME
from ivr_consent.audio.store import ENTRY, PARTS, AudioFile, Mark, PromptAudio, Recipe, audio_document, find
from ivr_consent.config import Settings
from ivr_consent.core.notice import text_sha256
from ivr_consent.manifest import Manifest
from ivr_consent.signing import create_keys
from ivr_consent.site import Site, load_site
from ivr_consent.versions import Versions
from ivr_consent.workshop import Workshop

APPROVER = "A. Tester"
SAMPLES = 4 * FRAME
"""80 ms: calls through such a notice take a second."""

CONFIGURATION = """
[server]
port = {port}
draft_port = {draft_port}
drain_seconds = 5
[prompts]
directory = "notices"
[prompts.voices.en]
command = ["nobody-speaks"]
[prompts.voices.da]
command = ["nobody-speaks"]
[facts.default]
controller = "Example Company"
authority = "the Data Protection Agency"
recipients = "the agent and the team leader"
withdrawal_contact = "70 10 20 30"
rights_contact = "70 10 20 31"
web_address = "example.org/calls"
{lines}
"""

LINE = """
[lines.{name}]
timeout_seconds = 3
repeats = 0
guard_ms = 300
"""

NOTICE_EN = """
notice = "recording"
language = "en"
[[segments]]
id = "controller"
elements = [1]
text = "This is {controller}, the controller of the recording."
[[segments]]
id = "not-started"
elements = [2]
text = "Nothing is being recorded now. Recording starts only if you press yes."
[[segments]]
id = "voluntary"
elements = [4, 10]
text = "Consent is voluntary and our only legal basis. With no: the same queue, the same help, no recording."
[[segments]]
id = "content"
elements = [5, 6, 7]
text = "We record your voice and the agent's. It is kept for {retention_days} days and heard only by {recipients}."
[[segments]]
id = "rights"
elements = [8, 9]
text = "You can withdraw your consent at any time, through {withdrawal_contact}. You have the right to access, to a \
copy, to erasure, and to complain to {authority}. Contact: {rights_contact}."
[[segments]]
id = "more"
elements = [12]
text = "Press {key_long} for the full text, also at {web_address}, or {key_repeat} to hear this again."
[[purposes]]
id = "training"
name = "staff training"
statement = "Purpose: staff training. The recording serves to train your agent in handling calls."
question = "Do you consent to the recording of this call for staff training?"
[[purposes]]
id = "quality"
name = "quality checks"
statement = "Purpose: quality checks. From the recording we check whether the answers in this call are complete."
question = "Do you consent to the recording of this call for quality checks?"
[choice]
yes = "Press {key_yes} for yes."
no = "Press {key_no} for no."
otherwise = "No key, another key or hanging up means no recording for this purpose."
[[long]]
id = "long-1"
text = "This is the full text on the recording of calls. The controller is {controller}."
[results]
granted = "You have chosen yes. This call is recorded. You are connected now."
declined = "You have chosen no. This call is not recorded. You are connected now."
unrecorded = "This call is not recorded. You are connected now."
again = "No answer was received, or the key was not one of the two. The question comes again."
early = "You pressed a key before the information had ended. Make your choice when the question comes."
"""

NOTICE_DA = (
    NOTICE_EN.replace('language = "en"', 'language = "da"')
    .replace("This is {controller}, the controller of the recording.", "De taler med {controller}, den dataansvarlige.")
    .replace("Press {key_yes} for yes.", "Tryk {key_yes} for ja.")
    .replace("Press {key_no} for no.", "Tryk {key_no} for nej.")
    .replace("No key, another key or hanging up means no recording for this purpose.", "Alt andet er et nej.")
    .replace("You have chosen yes. This call is recorded. You are connected now.", "Samtalen optages nu.")
    .replace("You have chosen no. This call is not recorded. You are connected now.", "Nej. Samtalen optages ikke.")
    .replace("This call is not recorded. You are connected now.", "Samtalen optages ikke.")
)
"""Danish enough for a test of which language is which."""


def instant_build(
    recipes: Sequence[Recipe],
    store: Path,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    jobs: int | None = None,
) -> dict[str, PromptAudio]:
    """As :func:`ivr_consent.audio.build.build_prompts`, but what is "spoken" are bytes that follow from the text."""
    wanted = {recipe.key(): recipe for recipe in recipes}
    built: dict[str, PromptAudio] = {}
    for key, recipe in wanted.items():
        there = find(recipe, store)
        if there is None:
            there = _put(recipe, key, store)
        built[key] = there
        if progress is not None:
            progress(recipe.id, len(built), len(wanted))
    return built


def _put(recipe: Recipe, key: str, store: Path) -> PromptAudio:
    """Make a sound in one step, in the place of a damaged one if need be."""
    target = store / recipe.language / key
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".made-", dir=store))
    audio = _sound(recipe, key, made)
    (made / ENTRY).write_text(json.dumps(audio_document(audio)))
    made.chmod(0o755)
    while True:
        try:
            made.rename(target)
        except OSError:
            if find(recipe, store) is not None:  # somebody else was faster
                shutil.rmtree(made)
                return audio
            shutil.rmtree(target, ignore_errors=True)
        else:
            return audio


def _sound(recipe: Recipe, key: str, made: Path) -> PromptAudio:
    files = {}
    for name in recipe.formats:
        form = FORMATS[name]
        size = form.bytes(SAMPLES)
        seed = hashlib.sha256(f"{name} {recipe.text}".encode()).digest()
        data = (seed * (size // len(seed) + 1))[:size]
        (made / form.file).write_bytes(data)
        files[name] = AudioFile(form.file, form.factor * SAMPLES, size, hashlib.sha256(data).hexdigest())
    marks = tuple(Mark(name, FRAME * n + 1, FRAME * (n + 1)) for n, name in enumerate(PARTS)) if recipe.parts else ()
    return PromptAudio(
        key,
        recipe.language,
        text_sha256(recipe.text),
        SAMPLES,
        -2300,
        -300,
        recipe.made_by(),
        marks,
        MappingProxyType(files),
    )


@dataclass(frozen=True)
class SmallSite:
    """A site in a folder of its own. Its lines are called by name, ``support`` the first."""

    root: Path

    @classmethod
    def make(
        cls, root: Path, *names: str, more: Mapping[str, str] = MappingProxyType({}), port: int = 4573
    ) -> SmallSite:
        """Write configuration, notices and signing key. ``more`` is TOML behind a line's own keys, by line."""
        made = cls(root)
        lines = "".join(LINE.format(name=name) + more.get(name, "") for name in names or ("support",))
        root.mkdir(parents=True, exist_ok=True)
        made.config.write_text(CONFIGURATION.format(port=port, draft_port=port % 65535 + 1, lines=lines))
        for language, text in (("en", NOTICE_EN), ("da", NOTICE_DA)):
            path = made.notice(language)
            path.parent.mkdir(parents=True)
            path.write_text(text)
        create_keys(made.key)
        return made

    @property
    def config(self) -> Path:
        return self.root / "ivr-consent.toml"

    @property
    def key(self) -> Path:
        return self.root / "notices.key"

    @property
    def store(self) -> Path:
        return self.root / "audio"

    @property
    def settings(self) -> Settings:
        """The configuration as it is now."""
        return config.load(self.config)

    def notice(self, language: str = "en") -> Path:
        return self.root / "notices" / language / "recording.toml"

    def versions(self, line: str = "support") -> Versions:
        return Versions(self.root / "versions", line)

    def load(self) -> Site:
        return load_site(self.settings)

    def workshop(self) -> Workshop:
        """What is read once is read anew with each."""
        return Workshop(self.settings)

    def edit(self, path: Path, old: str, new: str) -> None:
        """Replace a text that stands there."""
        text = path.read_text()
        assert old in text, old
        path.write_text(text.replace(old, new))

    def say(self, sentence: str, language: str = "en") -> None:
        """Let the notice say another sentence."""
        path = self.notice(language)
        text = path.read_text()
        begin = text.index('text = "', text.index('id = "content"'))
        end = text.index("\n", begin)
        path.write_text(
            f'{text[:begin]}text = "{sentence} It is kept {{retention_days}} days for {{recipients}}."{text[end:]}'
        )

    def build(self, *names: str) -> dict[str, Manifest]:
        workshop = self.workshop()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workshop_module, "build_prompts", instant_build)
            return workshop.build(names or workshop.settings.lines)

    def publish(self, *names: str) -> list[Manifest]:
        """Build and publish; the versions in force then."""
        self.build(*names)
        workshop = self.workshop()
        return [workshop.publish(name, APPROVER)[0] for name in names or workshop.settings.lines]

    def sounds(self, manifest: Manifest) -> list[Path]:
        """Every file of a version's sounds, each once."""
        folders = {audio.folder(self.store): audio for audio in manifest.audio()}
        return [folder / file.name for folder, audio in folders.items() for file in audio.files.values()]


def flip(path: Path, at: int = -1) -> None:
    """Change one byte of a file, in place."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
