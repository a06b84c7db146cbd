"""The workshop: from the files that administrators write to a draft that can be heard, and to a version."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ivr_consent import manifest as mf
from ivr_consent import workshop as workshop_module
from ivr_consent.audio.build import build_prompts
from ivr_consent.audio.store import PromptAudio, Recipe, find
from ivr_consent.core.errors import AudioError, ConfigurationError, SignatureError, VersionError
from ivr_consent.core.flow import Plan
from ivr_consent.language import Clues
from ivr_consent.signing import create_keys, key_pair, public_path
from ivr_consent.versions import MAX_NOTICE_BYTES
from ivr_consent.workshop import Workshop
from tests.sites import APPROVER, SmallSite, flip, instant_build

BOTH = {"support": 'languages = ["en", "da"]\npurposes = ["training", "quality"]\n'}


@pytest.fixture(autouse=True)
def _no_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop_module, "build_prompts", instant_build)


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    return SmallSite.make(tmp_path / "site", "support", "sales", more=BOTH)


def draft_file(site: SmallSite, line: str = "support") -> Path:
    return site.store / "drafts" / line


def told(site: SmallSite, line: str = "support") -> str:
    return "\n".join(map(str, site.workshop().draft(line).errors))


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_good_draft(site: SmallSite) -> None:
    draft = site.workshop().draft("support")
    assert draft.errors == ()
    assert list(draft.scripts) == list(draft.sources) == list(draft.recipes) == ["en", "da"]
    assert draft.sources["en"].data == site.notice().read_bytes()
    for language, script in draft.scripts.items():
        assert [recipe.text for recipe in draft.recipes[language]] == [segment.text for segment in script.segments()]


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, r"cannot be read (No such file or directory). write it, or name another"),
    "a folder": (_folder, "cannot be read ("),
    "a pipe": (_pipe, "cannot be read (not a plain file)"),
    "a key of many parts": (lambda path: path.write_text("a" + ".a" * 50_000 + " = 1"), "full stops in one line"),
    "too large": (lambda path: path.write_bytes(b"#" * (MAX_NOTICE_BYTES + 1)), "larger than 256 KiB"),
    "not UTF-8": (lambda path: path.write_bytes(b'a = "x"\nb = "\xe6"\n'), "recording.toml:2: not UTF-8"),
    "not TOML": (lambda path: path.write_text("notice = \n"), "not TOML: "),
    "empty": (lambda path: path.write_text(""), "recording.toml"),
    "a number of 5000 digits": (lambda path: path.write_text("a = " + "1" * 5000), "not TOML: "),
    "a day that there is not": (lambda path: path.write_text("a = 2026-02-31"), "not TOML: "),
    "nested without end": (lambda path: path.write_text("a = " + "[" * 100_000), "not TOML: "),
    "of another language": (
        lambda path: path.write_text(path.read_text().replace('language = "en"', 'language = "da"')),
        "says notice = 'recording', language = 'da'",
    ),
    "another notice": (
        lambda path: path.write_text(path.read_text().replace('notice = "recording"', 'notice = "other"')),
        "says notice = 'other', language = 'en'",
    ),
    "incomplete": (
        lambda path: path.write_text(path.read_text().replace("elements = [12]", "elements = []")),
        "element 12: missing: where the full text is",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_wrong_notice_file(site: SmallSite, what: str) -> None:
    """Told with the file and what to do, without hanging; the line cannot be built, and the other one can."""
    change, expected = FILES[what]
    site.edit(site.config, "[lines.sales]", '[lines.sales]\nlanguages = ["da"]')
    change(site.notice())
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(told(site)), daemon=True)
    reader.start()
    reader.join(20)
    assert not reader.is_alive(), "it hangs"
    assert expected in found[0]
    assert str(site.notice()) in found[0]
    with pytest.raises(ConfigurationError):
        site.workshop().build(["support"])
    with pytest.raises(ConfigurationError):
        site.workshop().draft_manifest("support")
    with pytest.raises(ConfigurationError):
        site.workshop().publish("support", APPROVER)
    assert site.workshop().draft("sales").errors == ()
    site.publish("sales")
    assert site.load().states["sales"].plans


def test_a_notice_behind_a_link(site: SmallSite, tmp_path: Path) -> None:
    """Administrators keep notices elsewhere; a link to them is fine."""
    site.notice().rename(tmp_path / "elsewhere.toml")
    site.notice().symlink_to(tmp_path / "elsewhere.toml")
    assert told(site) == ""


def test_a_byte_order_mark(site: SmallSite) -> None:
    site.notice().write_bytes(b"\xef\xbb\xbf" + site.notice().read_bytes())
    assert told(site) == ""


def test_a_missing_fact_is_told_once(site: SmallSite) -> None:
    site.edit(site.config, 'web_address = "example.org/calls"', "")
    errors = [error for error in site.workshop().draft("support").errors if "web_address" in error.where]
    assert len(errors) == 2, "once for each language that says it"
    assert {"'en'" in error.found for error in errors} == {True, False}


# --- building ---------------------------------------------------------------------------------------------------------


def test_a_build(site: SmallSite) -> None:
    """Every sound in the store, and a signed manifest of each line, which holds exactly what the draft says."""
    before = os.umask(0o077)
    try:
        built = site.workshop().build(["support", "sales"])
    finally:
        os.umask(before)
    check = key_pair(site.key)[1]
    for name, manifest in built.items():
        assert mf.read(draft_file(site, name), check) == manifest
        assert (manifest.line, manifest.version, manifest.approved_by) == (name, mf.DRAFT, None)
        assert mf.Checked(site.store).faults(manifest) == ()
        assert site.workshop().draft_manifest(name).said() == manifest.said()
        assert site.workshop().built(name, check) == manifest
    assert stat.S_IMODE(draft_file(site).parent.stat().st_mode) == 0o755
    assert {path.name for path in draft_file(site).parent.iterdir()} == {"support", "sales"}
    facts = built["support"].languages[1].facts
    assert facts["controller"] == "Example Company"
    assert "key_repeat" in facts
    assert built["sales"].languages[0].facts.keys() >= {"retention_days", "key_yes", "authority"}


def test_a_second_build_does_nothing(site: SmallSite) -> None:
    site.workshop().build(["support"])
    before = {path: path.stat().st_mtime_ns for path in site.store.rglob("*")}
    again = site.workshop().build(["support"])
    assert {path: path.stat().st_mtime_ns for path in site.store.rglob("*") if path.name != ".lock"} == {
        path: time for path, time in before.items() if path.name != ".lock"
    }
    assert again["support"].made_at


def test_only_what_changed_is_made(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {audio.key for audio in site.workshop().build(["support"])["support"].audio()}
    site.say("Something else is said now.")
    second = {audio.key for audio in site.workshop().build(["support"])["support"].audio()}
    assert len(first - second) == len(second - first) == 1


def test_a_damaged_draft_is_made_again(site: SmallSite) -> None:
    for damage in (
        lambda: flip(draft_file(site), 50),
        draft_file(site).unlink,
        lambda: draft_file(site).write_bytes(b""),
    ):
        manifest = site.workshop().build(["support"])["support"]
        damage()
        assert site.workshop().built("support", key_pair(site.key)[1]) is None
        assert site.workshop().build(["support"])["support"].said() == manifest.said()
        assert site.workshop().built("support", key_pair(site.key)[1]) is not None


def test_a_damaged_sound_is_made_again(site: SmallSite) -> None:
    manifest = site.workshop().build(["support"])["support"]
    flip(site.sounds(manifest)[3])
    with pytest.raises(VersionError, match="is not built as it is written now"):
        site.workshop().draft_manifest("support")
    assert site.workshop().build(["support"])["support"].said() == manifest.said()
    assert mf.Checked(site.store).faults(manifest) == ()


def test_the_first_build_makes_the_keys(site: SmallSite) -> None:
    site.key.unlink()
    public_path(site.key).unlink()
    site.workshop().build(["support"])
    assert site.workshop().publish("support", APPROVER)[1]
    assert site.load().states["support"].plans


@pytest.mark.parametrize("what", ["private key lost", "public key lost", "public key of another"])
def test_keys_that_do_not_fit(site: SmallSite, tmp_path: Path, what: str) -> None:
    """What is published with another key stops the line at the next reload: refused before anything is signed."""
    site.publish("support")
    history = (site.versions().folder / "history").read_bytes()
    if what == "private key lost":
        site.key.unlink()
    elif what == "public key lost":
        public_path(site.key).unlink()
    else:
        create_keys(tmp_path / "other.key")
        public_path(site.key).write_bytes(public_path(tmp_path / "other.key").read_bytes())
    site.say("Something else is said now.")
    if what == "public key lost":  # the private one makes it again
        site.workshop().build(["support"])
        assert site.workshop().publish("support", APPROVER)[1]
        assert site.load().states["support"].version == 2
        return
    for act in (
        lambda: site.workshop().build(["support"]),
        lambda: site.workshop().publish("support", APPROVER),
        lambda: site.workshop().rollback("support", None, APPROVER),
    ):
        with pytest.raises((SignatureError, VersionError)) as raised:
            act()
        assert "key" in str(raised.value) or "not built" in str(raised.value)
    assert (site.versions().folder / "history").read_bytes() == history


def test_nowhere_to_build(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop_module, "build_prompts", build_prompts)
    site.store.write_text("")
    with pytest.raises(AudioError, match=f"{site.store}: cannot be written"):
        site.workshop().build(["support"])


def test_builds_at_the_same_time(site: SmallSite) -> None:
    """Every one ends well, and what they made is one whole thing."""
    site.key.unlink()
    public_path(site.key).unlink()
    failed: list[BaseException] = []
    barrier = threading.Barrier(4)

    def build() -> None:
        workshop = site.workshop()
        barrier.wait(60)
        try:
            workshop.build(["support", "sales"])
        except Exception as error:  # noqa: BLE001 - told by the test
            failed.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    site.workshop().publish("support", APPROVER)
    assert site.load().states["support"].plans
    assert not [path for path in site.store.rglob(".*") if path.name != ".lock"]


# --- drafts to be heard -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_sound", [True, False])
def test_a_draft_is_a_trial(site: SmallSite, with_sound: bool) -> None:
    """In every language that it can begin in: nothing of it is logged and nothing recorded."""
    if with_sound:
        site.workshop().build(["support"])
    plans = site.workshop().draft_plans("support", with_sound=with_sound)
    assert list(plans) == ["en", "da"]
    for language, plan in plans.items():
        assert plan.trial
        assert plan.notices[0].language == language
        assert {notice.version for notice in plan.notices} == {mf.DRAFT}
    draft = site.workshop().draft_site("support", with_sound=with_sound)
    for clues in (Clues(), Clues(channel="da"), Clues(channel="xx")):
        found = draft.plan("support", clues)
        assert isinstance(found, Plan)
        assert found.trial
    assert draft.plan("sales", Clues()) == "unknown_line", "no other line is tried with it"


def test_a_draft_asks_as_its_version_would(site: SmallSite) -> None:
    """What is tried is what is published then, but for what a version has and a draft has not."""
    site.workshop().build(["support"])
    tried = site.workshop().draft_plans("support")
    site.workshop().publish("support", APPROVER)
    in_force = site.load().states["support"].plans
    for language, plan in in_force.items():
        trial = tried[language]
        assert (plan.trial, trial.trial) == (False, True)
        assert plan.keys == trial.keys
        assert plan.purposes == trial.purposes
        for one, other in zip(plan.notices, trial.notices, strict=True):
            assert one.prompts() == other.prompts()
    silent = site.workshop().draft_plans("support", with_sound=False)
    for language, plan in silent.items():
        assert plan.keys == tried[language].keys
        for one, other in zip(plan.notices, tried[language].notices, strict=True):
            assert [(p.id, p.text, p.elements) for p in one.prompts()] == [
                (p.id, p.text, p.elements) for p in other.prompts()
            ]


def test_a_draft_that_is_not_built(site: SmallSite) -> None:
    """Neither at first, nor after a word has changed."""
    for _ in range(2):
        with pytest.raises(VersionError, match=r"line support: '[a-z-]+' in 'en' is not built .* ivr-consent prompts"):
            site.workshop().draft_manifest("support")
        with pytest.raises(VersionError):
            site.workshop().publish("support", APPROVER)
        site.workshop().build(["support"])
        site.say("Something else is said now.")
    assert not site.versions().published_any()


# --- publishing -------------------------------------------------------------------------------------------------------


def test_publishing(site: SmallSite) -> None:
    """The draft as it is, with its files; the other line is not touched."""
    site.workshop().build(["support", "sales"])
    manifest, new = site.workshop().publish("support", "  Ærø\tØ. ")
    assert (manifest.version, manifest.approved_by, new) == (1, "Ærø Ø.", True)
    for language in ("en", "da"):
        assert (site.versions().path(1) / f"{language}.toml").read_bytes() == site.notice(language).read_bytes()
    assert manifest.said() == site.workshop().draft_manifest("support").said()
    assert not site.versions("sales").published_any()


def test_what_nobody_hears_is_no_new_version(site: SmallSite) -> None:
    """A comment, other line breaks, another program: callers hear the same."""
    site.publish("support")
    site.notice().write_text("# a comment\n" + site.notice().read_text().replace("[[segments]]", "\n[[segments]]"))
    site.workshop().build(["support"])
    manifest, new = site.workshop().publish("support", "Somebody Else")
    assert (manifest.version, manifest.approved_by, new) == (1, APPROVER, False)


CHANGES = {
    "a word": lambda site: site.say("Something else is said now."),
    "the days": lambda site: site.edit(site.config, "repeats = 0\nguard", "repeats = 0\nretention_days = 31\nguard"),
    "a key": lambda site: site.edit(site.config, "repeats = 0\nguard", 'repeats = 0\nkeys.yes = "9"\nguard'),
    "a fact": lambda site: site.edit(site.config, "Example Company", "Another Company"),
    "the order of the languages": lambda site: site.edit(site.config, '["en", "da"]', '["da", "en"]'),
    "the purposes": lambda site: site.edit(site.config, '["training", "quality"]', '["quality", "training"]'),
    "a codec": lambda site: site.edit(site.config, "repeats = 0\nguard", 'repeats = 0\ncodecs = ["opus"]\nguard'),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_somebody_hears_is_a_new_version(site: SmallSite, what: str) -> None:
    """And what was in force stays readable beside it; a rollback brings the first one back."""
    site.publish("support")
    CHANGES[what](site)
    site.publish("support")
    state = site.load().states["support"]
    assert (state.version, state.problems) == (2, ())
    assert site.workshop().rollback("support", None, APPROVER).version == 1
    assert site.load().states["support"].version == 1


def test_nothing_is_published_with_a_damaged_sound(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size and times look right, and every byte is read before somebody vouches for it."""
    manifest = site.workshop().build(["support"])["support"]
    path = site.sounds(manifest)[5]
    before = path.stat()
    monkeypatch.setattr(workshop_module, "find", _blind(site))
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ConfigurationError) as raised:
        site.workshop().publish("support", APPROVER)
    assert [problem.where for problem in raised.value.problems] == [str(path)]
    assert not site.versions().published_any()


def _blind(site: SmallSite) -> Callable[[Recipe, Path], PromptAudio | None]:
    """A look at the store that sees no damage: as of a disk that lost a bit while nobody wrote."""
    recipes = [recipe for made in site.workshop().draft("support").recipes.values() for recipe in made]
    known = {recipe.key(): find(recipe, site.store) for recipe in recipes}
    return lambda recipe, _: known[recipe.key()]


def test_nothing_is_rolled_back_to_damaged_sounds(site: SmallSite) -> None:
    """It would stop the line; now it stays as it is."""
    site.publish("support")
    first = site.load().states["support"].manifest
    site.say("Something else is said now.")
    site.publish("support")
    second = site.load().states["support"].manifest
    assert first is not None
    assert second is not None
    gone = next(path for path in site.sounds(first) if path not in site.sounds(second))
    gone.unlink()
    with pytest.raises(ConfigurationError) as raised:
        site.workshop().rollback("support", None, APPROVER)
    assert [problem.where for problem in raised.value.problems] == [str(gone)]
    assert site.load().states["support"].version == 2
    assert site.load().states["support"].plans


def test_without_the_right_to_sign(site: SmallSite) -> None:
    """The service's user has no private key: it can neither build a manifest nor publish."""
    site.publish("support")
    site.key.chmod(0o640)
    site.say("Something else is said now.")
    workshop = site.workshop()
    for act in (
        lambda: workshop.build(["support"]),
        lambda: workshop.publish("support", APPROVER),
        lambda: workshop.rollback("support", None, APPROVER),
    ):
        with pytest.raises(SignatureError, match="can be read by others; chmod 600"):
            act()
    assert site.versions().history(key_pair_of(site)[1])[-1].version == 1


def key_pair_of(site: SmallSite) -> Any:
    site.key.chmod(0o600)
    return key_pair(site.key)


def test_notices_that_come_with_the_package(tmp_path: Path) -> None:
    """Without a directory of its own a site speaks the shipped notices."""
    site = SmallSite.make(tmp_path / "site")
    shutil.rmtree(site.root / "notices")
    site.edit(site.config, 'directory = "notices"\n', "")
    workshop = Workshop(site.settings)
    assert workshop.draft("support").sources["en"].path.parent.parent.name == "prompts"
    assert [str(error) for error in workshop.draft("support").errors] == []
    workshop.build(["support"])
