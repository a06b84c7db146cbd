"""That nothing has changed is said only where another build would change nothing: every other case is told apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ivr_consent import unchanged
from ivr_consent import workshop as workshop_module
from ivr_consent.audio import speech
from ivr_consent.cli import main as program
from ivr_consent.unchanged import RECORD, look
from tests.sites import SmallSite, flip, instant_build
from tests.tools import need

BOTH = {"support": 'languages = ["en", "da"]\n'}


@pytest.fixture(autouse=True)
def _no_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop_module, "build_prompts", instant_build)


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """Two lines, built."""
    made = SmallSite.make(tmp_path / "site", "support", "sales", more=BOTH)
    made.build()
    return made


def sound(site: SmallSite) -> Path:
    return sorted(site.store.glob("en/*/*.ulaw"))[0]


def retimed(path: Path, change: Callable[[Path], object]) -> None:
    """Change a file, and set its length's and its modification's traces back as they were."""
    before = path.stat()
    change(path)
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    """Another file of the same bytes in its place, as a restored copy is."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def linked(path: Path) -> None:
    """The same file, through a link in its place."""
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


def test_what_was_built_is_unchanged(site: SmallSite) -> None:
    found = look(site.config)
    assert found is not None
    built = site.build()
    keys = {audio.key for manifest in built.values() for audio in manifest.audio()}
    assert (found.lines, found.prompts, found.store) == (2, len(keys), site.store)
    assert found == look(site.config)


CHANGES: dict[str, Callable[[SmallSite], object]] = {
    "a byte of a sound": lambda site: flip(sound(site)),
    "a byte of a sound, its times set back": lambda site: retimed(sound(site), flip),
    "a sound longer": lambda site: retimed(sound(site), lambda path: path.write_bytes(path.read_bytes() + b"x")),
    "a sound gone": lambda site: sound(site).unlink(),
    "another file in a sound's place": lambda site: retimed(sound(site), replaced),
    "a link in a sound's place": lambda site: linked(sound(site)),
    "a file beside a sound": lambda site: (sound(site).parent / "more").write_bytes(b""),
    "a sound's description": lambda site: retimed(sound(site).parent / "entry.json", flip),
    "the notice": lambda site: site.say("Something else is said now."),
    "the notice, its times set back": lambda site: retimed(
        site.notice(), lambda path: path.write_text(path.read_text().replace(" is ", " es ", 1))
    ),
    "the notice gone": lambda site: site.notice("da").unlink(),
    "the configuration": lambda site: site.config.write_text(site.config.read_text() + "# changed\n"),
    "the signing key": lambda site: flip(site.key, 40),
    "the public key": lambda site: Path(f"{site.key}.pub").unlink(),
    "a draft's manifest": lambda site: flip(site.store / "drafts" / "sales"),
    "a draft's manifest gone": lambda site: (site.store / "drafts" / "sales").unlink(),
    "the record": lambda site: (site.store / RECORD).write_text("{}"),
    "the record, no JSON": lambda site: (site.store / RECORD).write_bytes(b"\xff"),
    "the record, deep": lambda site: (site.store / RECORD).write_text("[" * 100_000),
    "the record, a list": lambda site: (site.store / RECORD).write_text("[]"),
    "the record gone": lambda site: (site.store / RECORD).unlink(),
    "the record writable by others": lambda site: (site.store / RECORD).chmod(0o666),
    "the record a link": lambda site: linked(site.store / RECORD),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(site: SmallSite, change: Callable[[SmallSite], object]) -> None:
    """R5: the record vouches for nothing that it has not seen."""
    assert look(site.config) is not None
    change(site)
    assert look(site.config) is None


def again(site: SmallSite, whole: Callable[[], bool], voices: Sequence[speech.Voice] = ()) -> bool:
    """Leave the record anew, as a build would."""
    record = site.store / RECORD
    told = json.loads(record.read_text())
    record.unlink()
    lines, prompts, files, sounds = (told[name] for name in ("lines", "prompts", "files", "sounds"))
    built = unchanged.Built(site.config, told["config_sha256"], site.store, lines, prompts, files, [], voices, sounds)
    return unchanged.remember(built, whole)


def test_another_version_of_this_package_is_seen(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "_program", lambda: "0" * 64)
    assert look(site.config) is None


def test_another_version_of_the_voice_is_seen(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    need("espeak-ng")
    assert again(site, lambda: True, [speech.espeak_voice("en"), speech.espeak_voice("da")])
    assert look(site.config) is not None
    with monkeypatch.context() as patch:
        patch.setattr(unchanged, "engine_version", lambda _: "eSpeak NG text-to-speech: 9.9")
        assert look(site.config) is None
    with monkeypatch.context() as patch:
        patch.setattr(speech, "run_bounded", _missing)
        assert look(site.config) is None
    assert look(site.config) is not None


def _missing(*_: object, **__: object) -> bytes:
    raise speech.NotStarted("espeak-ng cannot be started: No such file or directory")


def test_a_record_is_of_one_configuration(site: SmallSite) -> None:
    """Another that has the same store is not vouched for, be it of the same bytes elsewhere."""
    other = site.root / "other.toml"
    other.write_bytes(site.config.read_bytes())
    assert look(other) is None
    assert look(site.root / "nowhere.toml") is None


def test_some_of_the_lines_leave_no_record(site: SmallSite) -> None:
    (site.store / RECORD).unlink()
    site.build("sales")
    assert not (site.store / RECORD).exists()


def test_a_sound_that_is_changed_while_it_is_recorded(site: SmallSite) -> None:
    """A change that comes after a sound was found whole is not recorded as what was built."""

    def spoiled() -> bool:
        flip(sound(site))
        return True

    assert not again(site, spoiled)
    assert not (site.store / RECORD).exists()


def test_sounds_that_are_not_whole_are_not_recorded(site: SmallSite) -> None:
    assert not again(site, lambda: False)
    assert not (site.store / RECORD).exists()


def test_a_file_from_the_future_is_not_vouched_for(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back: a change could get the very time that the record has."""
    (site.store / RECORD).unlink()
    monkeypatch.setattr("ivr_consent.unchanged.time.time_ns", lambda: 1_000_000_000)
    site.build()
    assert not (site.store / RECORD).exists()


def test_nothing_is_recorded_within_a_step_of_the_clock(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is changed again within the tick of a file's time would look the same: that tick is waited out."""
    waited: list[float] = []
    (site.store / RECORD).unlink()
    sounds = [*site.store.glob("??/*"), *site.store.glob("??/*/*")]
    newest = max(path.stat().st_ctime_ns for path in sounds)
    monkeypatch.setattr("ivr_consent.unchanged.time.time_ns", lambda: newest + 1)
    monkeypatch.setattr("ivr_consent.unchanged.time.sleep", waited.append)
    site.build()
    assert look(site.config) is not None
    assert len(waited) == 1
    assert 0.01 <= waited[0] <= 0.1


def test_a_take_that_is_changed_is_seen(site: SmallSite) -> None:
    take = site.notice().with_name("hello.wav")
    take.write_bytes(b"RIFF")
    folder = str(take.parent)
    before = unchanged._takes([(folder, "hello.wav")])
    assert before == unchanged._takes([(folder, "hello.wav")])
    retimed(take, flip)
    assert before != unchanged._takes([(folder, "hello.wav")])


# --- on the command line ---------------------------------------------------------------------------------------------


def command(site: SmallSite, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "ivr_consent.cli.main", *words]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=60, check=False, cwd=site.root, env=os.environ | env
    )


def test_a_build_without_a_change_loads_nothing(site: SmallSite) -> None:
    """It is over before the verbs and the configuration's model are loaded."""
    code = (
        "import sys\nfrom ivr_consent.cli.main import main\n"
        f"sys.argv = ['ivr-consent', '--config', {str(site.config)!r}, 'prompts', 'build']\n"
        "main()\nheavy = {'typer', 'rich', 'pydantic', 'numpy', 'cryptography', 'structlog'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing has changed: all ")
    assert f"in {site.store}" in done.stdout


def test_the_configuration_is_found_as_the_other_verbs_find_it(site: SmallSite) -> None:
    for done in (
        command(site, "prompts", "build"),
        command(site, "--config", str(site.config), "prompts", "build"),
        command(site, "prompts", "build", IVR_CONSENT_CONFIG=str(site.config)),
    ):
        assert done.returncode == 0, done.stderr
        assert "prompts of 2 lines are built as they are written" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("prompts", "build", "sales"),
        ("prompts", "build", "--json"),
        ("prompts", "build", "--help"),
        ("prompts", "publish"),
        ("--config",),
        ("--config", "x"),
        (),
    ],
)
def test_any_other_command_line_is_the_apps(
    words: tuple[str, ...], site: SmallSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.root)
    assert program._built_with(words) is None


def test_it_takes_no_time(site: SmallSite) -> None:
    """Generous: the aim is 200 ms for ten languages, and what is held here is that it does not grow unnoticed."""
    began = time.process_time()
    assert look(site.config) is not None
    assert time.process_time() - began < 0.5
