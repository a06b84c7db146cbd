"""A site: a line is asked on only when what callers hear is exactly what was published, and the configuration fits."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from ivr_consent import config
from ivr_consent import manifest as mf
from ivr_consent.core.errors import ConfigurationError, SignatureError
from ivr_consent.core.flow import Plan
from ivr_consent.language import Clues
from ivr_consent.manifest import Manifest
from ivr_consent.signing import create_keys, key_pair, public_path
from ivr_consent.site import LineState, disagreements, facts_of, line_states, recheck
from tests.sites import SmallSite, flip

BOTH = {"support": 'languages = ["en", "da"]\npurposes = ["training", "quality"]\n'}
DANISH = '[facts.da]\nauthority = "Datatilsynet"\n'


@pytest.fixture(scope="module")
def _published(tmp_path_factory: pytest.TempPathFactory) -> SmallSite:
    """Two lines, of which one speaks two languages; both published."""
    site = SmallSite.make(tmp_path_factory.mktemp("site") / "site", "support", "sales", more=BOTH)
    site.edit(site.config, "[lines.support]", DANISH + "[lines.support]")
    site.publish()
    return site


@pytest.fixture
def site(_published: SmallSite, tmp_path: Path) -> SmallSite:
    """A copy of its own."""
    shutil.copytree(_published.root, tmp_path / "site")
    return SmallSite(tmp_path / "site")


@pytest.fixture
def manifest(site: SmallSite) -> Manifest:
    found = site.load().states["support"].manifest
    assert found is not None
    return found


def ready(site: SmallSite) -> dict[str, bool]:
    return {name: bool(state.plans) for name, state in site.load().states.items()}


def the_problem(state: LineState) -> str:
    (problem,) = state.problems
    return str(problem)


def test_a_published_site(site: SmallSite) -> None:
    """Its lines are asked on by the version in force: its texts, its sounds, its digest, its number."""
    loaded = site.load()
    assert loaded.problems() == ()
    for name, state in loaded.states.items():
        assert (state.version, state.damaged) == (1, False)
        assert state.manifest == site.versions(name).in_force(key_pair(site.key)[1])
        assert state.folders == {audio.folder(site.store) for audio in state.manifest.audio()}
    plan = loaded.plan("support", Clues(channel="da"))
    assert isinstance(plan, Plan)
    assert [notice.language for notice in plan.notices] == ["da", "en"]
    assert {notice.version for notice in plan.notices} == {1}
    assert plan.purposes == ("training", "quality")
    assert plan.keys.language == "5"
    assert not plan.trial
    assert loaded.plan("unknown", Clues()) == "unknown_line"


def test_the_draft_is_never_in_force(site: SmallSite) -> None:
    """What is written and built changes nothing that callers hear, until it is published."""
    before = site.load().states
    site.say("Something else is said now.")
    assert site.load().states == before
    site.build()
    assert site.load().states == before
    site.publish("support")
    assert {name: state.version for name, state in site.load().states.items()} == {"support": 2, "sales": 1}


def test_without_the_notice_files(site: SmallSite) -> None:
    """A published version needs nothing of what it was made from."""
    shutil.rmtree(site.root / "notices")
    shutil.rmtree(site.store / "drafts")
    site.key.unlink()
    assert ready(site) == {"support": True, "sales": True}


# --- where the configuration is not what was said ---------------------------------------------------------------------

DISAGREEMENTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # what: (of the configuration, becomes, keys that are named)
    "days": ("repeats = 0\nguard", "repeats = 0\nretention_days = 31\nguard", ("lines.support.retention_days",)),
    "notice": ("repeats = 0\nguard", 'repeats = 0\nnotice = "other"\nguard', ("lines.support.notice",)),
    "language added": ('["en", "da"]', '["en", "da", "sv"]', ("lines.support.languages",)),
    "language removed": ('["en", "da"]', '["en"]', ("lines.support.languages",)),
    "another language": ('["en", "da"]', '["en", "sv"]', ("lines.support.languages",)),
    "languages in another order": ('["en", "da"]', '["da", "en"]', ("lines.support.languages",)),
    "purpose added": ('["training", "quality"]', '["training", "quality", "more"]', ("lines.support.purposes",)),
    "purpose removed": ('["training", "quality"]', '["training"]', ("lines.support.purposes",)),
    "purposes in another order": ('["training", "quality"]', '["quality", "training"]', ("lines.support.purposes",)),
    **{
        f"key {function}": (
            "repeats = 0\nguard",
            f'repeats = 0\nkeys.{function} = "9"\nguard',
            (f"lines.support.keys.{function}",),
        )
        for function in ("yes", "no", "repeat", "long", "language")
    },
    "two keys exchanged": (
        "repeats = 0\nguard",
        'repeats = 0\nkeys = { yes = "2", no = "1" }\nguard',
        ("lines.support.keys.yes", "lines.support.keys.no"),
    ),
    **{
        f"fact {name}": (f'\n{name} = "', f'\n{name} = "Another ', languages)
        for name, languages in {
            "controller": ("facts.en.controller", "facts.da.controller"),
            "recipients": ("facts.en.recipients", "facts.da.recipients"),
            "withdrawal_contact": ("facts.en.withdrawal_contact", "facts.da.withdrawal_contact"),
            "rights_contact": ("facts.en.rights_contact", "facts.da.rights_contact"),
            "web_address": ("facts.en.web_address", "facts.da.web_address"),
        }.items()
    },
    "fact of one language": ('"Datatilsynet"', '"Somebody else"', ("facts.da.authority",)),
    "fact of the default": ('"the Data Protection Agency"', '"Somebody else"', ("facts.en.authority",)),
    "fact of the line": (
        "repeats = 0\nguard",
        'repeats = 0\nfacts.en.controller = "Another"\nguard',
        ("facts.en.controller",),
    ),
    "fact removed": ('web_address = "example.org/calls"', "", ("facts.en.web_address", "facts.da.web_address")),
}


@pytest.mark.parametrize("what", DISAGREEMENTS)
def test_a_configuration_that_is_not_what_was_said(site: SmallSite, what: str) -> None:
    """The line is not ready, and every key is named with both values; nothing is damaged. Taken back, it goes on."""
    old, new, keys = DISAGREEMENTS[what]
    before = site.config.read_text()
    site.config.write_text(before.replace(old, new, 1))
    assert site.config.read_text() != before
    state = site.load().states["support"]
    assert not state.plans
    assert not state.damaged
    assert state.version == 1
    assert {problem.where for problem in state.problems} == {f"{site.config}: {key}" for key in keys}
    for problem in state.problems:
        assert "the configuration has" in problem.found
        assert "version 1 says" in problem.found
        assert "prompts publish support" in problem.remedy
    assert site.load().plan("support", Clues()) == "line_not_ready"
    site.config.write_text(before)
    assert site.load().states["support"].plans


def test_a_code_that_was_promised_stays(site: SmallSite, manifest: Manifest) -> None:
    """Element 8: a version that speaks of *9 is not in force where the switch has another code, or none."""
    spoken = manifest.languages[0]
    said = dataclasses.replace(spoken, facts=MappingProxyType({**spoken.facts, "code_withdraw": "*9"}))
    promised = dataclasses.replace(manifest, languages=(said, *manifest.languages[1:]))
    for table, agrees in (("", False), ('[features]\nwithdraw = "*7"\n', False), ("[features]\n", True)):
        path = site.config.with_name("codes.toml")
        path.write_text(site.config.read_text() + table)
        settings = config.load(path)
        found = disagreements(settings, "support", settings.lines["support"], promised)
        assert [problem.where.rpartition(" ")[2] for problem in found] == ([] if agrees else ["features.withdraw"])


def test_what_is_not_said_may_change(site: SmallSite) -> None:
    """How patiently is asked, and where callers go: nothing of it is in the notice."""
    site.edit(
        site.config,
        "[lines.support]\ntimeout_seconds = 3\nrepeats = 0\nguard_ms = 300",
        '[lines.support]\ntimeout_seconds = 9\nrepeats = 3\nguard_ms = 700\nrecorded = "a,s,1"\nunrecorded = "b,s,1"',
    )
    plan = site.load().plan("support", Clues())
    assert isinstance(plan, Plan)
    assert (plan.timeout_ms, plan.repeats, plan.guard_ms, plan.retention_days) == (9000, 3, 700, 30)


def test_a_letter_in_another_spelling_is_the_same(site: SmallSite) -> None:
    """An editor that writes é as e and an accent: nobody hears a difference, so nothing of it makes a line unready."""
    name = "Société Générale Ærø"
    for form in ("NFD", "NFC", "NFD"):
        text = site.config.read_text()
        begin = text.index('controller = "')
        end = text.index("\n", begin)
        written = unicodedata.normalize(form, name)
        site.config.write_text(f'{text[:begin]}controller = "{written}"{text[end:]}')
        notice = site.notice().read_text().replace("staff training", "stäff tráining")
        site.notice().write_text(unicodedata.normalize(form, notice))
        assert site.workshop().draft("support").errors == ()
        site.publish("support")
        assert site.load().states["support"].version == 2, "the other spelling is no other version"
        assert site.load().states["support"].problems == (), form
        settings = site.settings
        assert facts_of(settings, settings.lines["support"], "en")["controller"] == name


# --- damage -----------------------------------------------------------------------------------------------------------


def _one_byte(path: Path) -> None:
    flip(path, 60)


def _missing(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"")


def _longer(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\0")


def _shorter(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def _link(path: Path) -> None:
    """To a copy with the very same bytes: what it will point to tomorrow nobody knows."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "one byte": (_one_byte, "the file was changed after it was built"),
    "missing": (_missing, "the file is missing"),
    "empty": (_empty, "the file is empty"),
    "longer": (_longer, "bytes where"),
    "shorter": (_shorter, "bytes where"),
    "a link": (_link, "there is something else in the file's place"),
    "a folder": (_folder, "there is something else in the file's place"),
    "a pipe": (_pipe, "there is something else in the file's place"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_sound_that_is_not_what_was_published(site: SmallSite, manifest: Manifest, how: str) -> None:
    """Of whatever prompt and format: the line is damaged, and the file is named."""
    damage, told = DAMAGE[how]
    paths = site.sounds(manifest)
    for path in (paths[0], paths[len(paths) // 2], paths[-1]):
        kept = path.read_bytes()
        damage(path)
        state = site.load().states["support"]
        assert state.damaged
        assert not state.plans
        assert state.version == 1
        (problem,) = state.problems
        assert problem.where == str(path)
        assert told in problem.found
        assert path.parent in state.folders, "it is watched, to be seen when it is restored"
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(kept)
        assert site.load().states["support"].plans


def test_every_file_of_every_format(site: SmallSite, manifest: Manifest) -> None:
    """One changed byte in any of them is found, and nothing else is."""
    states = [site.load().states["support"]]
    for path in site.sounds(manifest):
        flip(path)
        (state,) = recheck(site.settings, states)
        assert state.damaged
        assert [problem.where for problem in state.problems] == [str(path)]
        flip(path)
    assert recheck(site.settings, states) == states


def test_a_whole_folder_is_missing(site: SmallSite, manifest: Manifest) -> None:
    folder = next(manifest.audio()).folder(site.store)
    shutil.rmtree(folder)
    state = site.load().states["support"]
    assert state.damaged
    assert {str(Path(problem.where).parent) for problem in state.problems} == {str(folder)}


def test_the_whole_store_is_missing(site: SmallSite) -> None:
    shutil.rmtree(site.store)
    loaded = site.load()
    assert ready(site) == {"support": False, "sales": False}
    assert all(state.damaged for state in loaded.states.values())


def test_one_damaged_line_does_not_stop_another(site: SmallSite, manifest: Manifest) -> None:
    """R6: line by line. What they share stops both."""
    danish = next(path for path in site.sounds(manifest) if "/da/" in str(path))
    flip(danish)
    assert ready(site) == {"support": False, "sales": True}
    flip(danish)
    (sales,) = line_states(site.settings, ["sales"]).values()
    assert sales.manifest is not None
    flip(site.sounds(sales.manifest)[0])
    assert ready(site) == {"support": False, "sales": False}


def test_what_the_switch_does_not_play_is_not_looked_at(site: SmallSite, manifest: Manifest) -> None:
    """The store's own notes and other files beside the sounds are nothing that callers hear."""
    for audio in manifest.audio():
        (audio.folder(site.store) / "entry.json").unlink(missing_ok=True)
        (audio.folder(site.store) / "README").write_text("")
    assert ready(site) == {"support": True, "sales": True}


def test_a_recheck_reads_what_was_ready(site: SmallSite, manifest: Manifest) -> None:
    """And no newer version: what is in force is what was loaded."""
    before = site.load().states["support"]
    site.say("Something else is said now.")
    site.publish("support")
    assert recheck(site.settings, [before]) == [before]
    (path,) = [path for path in site.sounds(manifest) if path.parent in before.folders][:1]
    flip(path)
    (after,) = recheck(site.settings, [before])
    assert (after.version, after.manifest, after.damaged, dict(after.plans)) == (1, before.manifest, True, {})


# --- keys, history, manifests -----------------------------------------------------------------------------------------


def test_no_version_is_published(site: SmallSite) -> None:
    """Not damaged: nobody has done anything yet. What to do is said."""
    shutil.rmtree(site.root / "versions" / "support")
    state = site.load().states["support"]
    assert "no version of its notice is published" in the_problem(state)
    assert "ivr-consent prompts publish support" in the_problem(state)
    assert (state.version, state.damaged, dict(state.plans)) == (None, False, {})
    assert ready(site) == {"support": False, "sales": True}


@pytest.mark.parametrize("how", ["missing", "garbage", "another"])
def test_the_public_key(site: SmallSite, tmp_path: Path, how: str) -> None:
    """Without it nothing is proved: no line is asked on."""
    public = public_path(site.key)
    if how == "missing":
        public.unlink()
    elif how == "garbage":
        public.write_text("garbage")
    else:
        create_keys(tmp_path / "other.key")
        public.write_bytes(public_path(tmp_path / "other.key").read_bytes())
    for state in site.load().states.values():
        assert state.damaged
        assert ("history:1" if how == "another" else "notices.key.pub") in the_problem(state)
        assert "restore it from its copy" in the_problem(state)


def test_the_private_key_is_not_needed(site: SmallSite) -> None:
    """The service's user cannot read it."""
    site.key.write_text("garbage")
    assert ready(site) == {"support": True, "sales": True}


@pytest.mark.parametrize("what", ["history", "1/manifest"])
@pytest.mark.parametrize("how", ["one byte", "missing", "empty"])
def test_a_damaged_history_or_manifest(site: SmallSite, what: str, how: str) -> None:
    path = site.root / "versions" / "support" / what
    DAMAGE[how][0](path)
    state = site.load().states["support"]
    assert state.damaged
    assert not state.plans
    assert str(path) in the_problem(state)
    anew = "publish anew: ivr-consent prompts publish support" in the_problem(state)
    assert anew != (what == "history" and how == "one byte"), "only what helps is advised"
    assert ready(site) == {"support": False, "sales": True}
    if anew:
        site.publish("support")
        assert ready(site) == {"support": True, "sales": True}
    else:
        with pytest.raises(SignatureError, match=r"history:1"):
            site.publish("support")


def test_the_versions_cannot_be_read(site: SmallSite) -> None:
    """That is not the same as nothing published."""
    folder = site.root / "versions" / "support"
    shutil.rmtree(folder)
    folder.write_text("")
    state = site.load().states["support"]
    assert state.damaged
    assert f"{folder}: cannot be read" in the_problem(state)


def test_the_draft_put_in_the_versions_place(site: SmallSite) -> None:
    """Signed by us; but nobody approved it."""
    site.say("Something else is said now.")
    site.build()
    target = site.root / "versions" / "support" / "1" / "manifest"
    target.unlink()
    shutil.copy(site.store / "drafts" / "support", target)
    state = site.load().states["support"]
    assert state.damaged
    assert "is not the manifest that was published as version 1" in the_problem(state)


def test_a_sound_of_a_manifest_leads_nowhere_else(site: SmallSite, manifest: Manifest) -> None:
    """Whatever is signed: names of files follow from the key, and a key is 32 hexadecimal digits."""
    spoken = manifest.languages[0]
    said = spoken.information[0]
    for key in ("../../../etc/passwd", "/etc", "0" * 31, "0" * 31 + "G", "0" * 32 + "\n"):
        prompt = dataclasses.replace(said, audio=dataclasses.replace(said.audio, key=key))
        bad = dataclasses.replace(spoken, information=(prompt, *spoken.information[1:]))
        document = mf.document_of(dataclasses.replace(manifest, languages=(bad, *manifest.languages[1:])))
        with pytest.raises(ValueError, match="key is"):
            mf._manifest(json.loads(json.dumps(document)), {})


# --- what the service needs -------------------------------------------------------------------------------------------

WITHOUT = """
import asyncio, json, sys
from pathlib import Path

FORBIDDEN = ("numpy", "pydub", "num2words", "tomlkit", "audioop", "typer", "rich")


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} is not installed here")


sys.meta_path.insert(0, Missing())
import ivr_consent.site

from ivr_consent import config
from ivr_consent.service import Service


async def serve():
    service = Service(config.load(Path(sys.argv[1])))
    await service.start()
    reloaded = await service.reload()
    await service.stop(1.0)
    return reloaded


told = asyncio.run(serve())
late = sorted(name for name in sys.modules if name.partition(".")[0] in FORBIDDEN)
print(json.dumps([late, told["ok"], told["lines"]]))
"""


def test_serving_needs_nothing_of_what_builds(site: SmallSite, tmp_path: Path) -> None:
    """No voice, no ffmpeg, no numpy: a switch's machine may be without them."""
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    site.edit(site.config, "port = 4573", f"port = {_free_port()}")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(site.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": str(nothing)},
    )
    assert done.returncode == 0, done.stderr
    late, good, lines = json.loads(done.stdout)
    assert (late, good) == ([], True)
    assert lines == {name: {"ready": True, "version": 1} for name in ("support", "sales")}


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_pseudonyms_key_is_needed(site: SmallSite) -> None:
    (site.root / "decisions.db").write_bytes(b"")
    (site.root / "pseudonym.key").unlink(missing_ok=True)
    with pytest.raises(ConfigurationError, match="pseudonym_key_file"):
        site.load()
