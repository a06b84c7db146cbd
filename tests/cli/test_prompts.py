"""ivr-consent prompts check, build, publish, rollback, history: from a notice file to a version in force."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from ivr_consent import workshop as workshop_module
from ivr_consent.core.errors import AudioError
from ivr_consent.manifest import Manifest
from ivr_consent.signing import public_path
from ivr_consent.versions import Versions
from tests.cli.support import run, run_json
from tests.sites import SmallSite, flip, instant_build

ROOT = Path(__file__).parent.parent.parent
BOTH = {"support": 'languages = ["en", "da"]\n'}

CHILD = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from ivr_consent import workshop
from tests.sites import instant_build
workshop.build_prompts = instant_build
from ivr_consent.cli.main import main
main()
"""


@pytest.fixture(autouse=True)
def _no_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop_module, "build_prompts", instant_build)


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """Two lines; nothing is built."""
    return SmallSite.make(tmp_path / "site", "support", "sales", more=BOTH)


def prompts(site: SmallSite, *words: str, **env: str) -> Result:
    return run("--config", site.config, "prompts", *words, **env)


def prompts_json(site: SmallSite, *words: str) -> tuple[int, dict[str, Any]]:
    return run_json("--config", site.config, "prompts", *words)


def wrong(site: SmallSite, language: str = "da") -> None:
    """Let the notice of one language lack an element: line ``support`` alone speaks Danish."""
    site.edit(site.notice(language), "elements = [12]", "elements = []")


def in_force(site: SmallSite, line: str = "support") -> int | None:
    return site.load().states[line].version


def manifest_of(site: SmallSite, line: str = "support") -> Manifest:
    found = site.load().states[line].manifest
    assert found is not None
    return found


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_before_anything_is_published(site: SmallSite) -> None:
    """A good draft is good: that nothing is published yet is told, and is no error."""
    done = prompts(site, "check")
    assert done.exit_code == 0, done.output
    assert "line support: draft complete in en, da; nothing published yet" in done.stdout
    assert "line sales: draft complete in en; nothing published yet" in done.stdout
    code, told = prompts_json(site, "check")
    assert code == 0
    assert [line["line"] for line in told["lines"]] == ["support", "sales"]
    for line in told["lines"]:
        assert line["draft"]["ok"] is True
        assert line["in_force"]["version"] is None
        assert line["in_force"]["ready"] is False
    assert told["lines"][0]["draft"]["languages"] == ["en", "da"]
    assert told["lines"][0]["draft"]["notices"]["da"] == str(site.notice("da"))


def test_check_of_what_is_in_force(site: SmallSite) -> None:
    site.publish()
    assert "draft complete in en, da; version 1 in force" in prompts(site, "check", "support").stdout
    assert prompts_json(site, "check", "support")[1]["lines"][0]["in_force"]["ready"] is True
    site.edit(site.config, "[lines.support]", "[lines.support]\nretention_days = 31")
    done = prompts(site, "check", "support")
    assert done.exit_code == 3
    assert "lines.support.retention_days" in done.stdout
    assert "NOT RECORDED" in done.stdout
    assert prompts(site, "check", "sales").exit_code == 0


def test_check_of_a_damaged_sound(site: SmallSite) -> None:
    site.publish()
    path = site.sounds(manifest_of(site))[0]
    flip(path)
    done = prompts(site, "check")
    assert done.exit_code == 3
    assert str(path) in done.stdout
    code, told = prompts_json(site, "check", "support")
    assert (code, told["ok"]) == (3, False)
    assert told["lines"][0]["draft"]["ok"] is True
    assert [problem["where"] for problem in told["lines"][0]["in_force"]["problems"]] == [str(path)]


def test_check_of_a_wrong_draft(site: SmallSite) -> None:
    """What two lines share is told once; what is in force stays."""
    site.publish()
    wrong(site, "en")
    done = prompts(site, "check")
    assert done.exit_code == 3
    assert done.stdout.count("element 12") == 1
    assert "line support: draft 1 errors in en, da; version 1 in force" in done.stdout
    assert "line sales: draft 1 errors in en; version 1 in force" in done.stdout
    code, told = prompts_json(site, "check", "sales")
    assert code == 3
    assert "element 12" in told["lines"][0]["draft"]["errors"][0]["where"]


def test_check_and_history_tell_of_a_version_that_the_history_does_not_name(site: SmallSite) -> None:
    """Its end was cut off, or publishing broke off: only somebody with a copy can tell which."""
    site.publish()
    history = site.versions().folder / "history"
    before = history.read_bytes()
    site.say("Something else is said now.")
    site.publish("support")
    assert "not in the history" not in prompts(site, "check").output
    assert prompts_json(site, "history", "support")[1]["advice"] == []
    history.write_bytes(before)
    for verb in ("check", "history"):
        done = prompts(site, verb, "support")
        assert done.exit_code == 0
        assert "version 2 of line support is there and not in the history" in done.output
        assert "Compare the history with its copy" in done.output
    told = prompts_json(site, "history", "support")[1]
    assert told["in_force"] == 1
    assert "version 2" in told["advice"][0]["found"]
    assert "version 2" in prompts_json(site, "check", "support")[1]["lines"][0]["in_force"]["advice"][0]["found"]


# --- build ------------------------------------------------------------------------------------------------------------


def test_build(site: SmallSite) -> None:
    done = prompts(site, "build")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows if row and row[0] in ("support", "sales")] == [
        ["support", "en"],
        ["support", "da"],
        ["sales", "en"],
    ]
    assert f"in {site.store}" in done.stdout
    assert "ivr-consent prompts publish LINE" in done.stdout
    code, told = prompts_json(site, "build", "sales")
    assert (code, told["refused"]) == (0, [])
    (built,) = told["built"]
    assert built["line"] == "sales"
    prompt = built["languages"]["en"]["training-question"]
    assert set(prompt) == {"text_sha256", "audio_sha256", "samples", "made_by"}
    assert prompt["samples"] > 0


def test_a_second_build_changes_nothing(site: SmallSite) -> None:
    assert prompts(site, "build").exit_code == 0
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in site.store.rglob("*")}
    assert prompts(site, "build").exit_code == 0
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in site.store.rglob("*")} == before


def test_one_of_two_lines_is_wrong(site: SmallSite) -> None:
    """It is told and left out; the other is built."""
    wrong(site)
    done = prompts(site, "build")
    assert done.exit_code == 3
    assert "element 12" in done.stderr
    assert "ivr-consent: line support was not built" in done.stderr
    assert "sales" in done.stdout
    assert "support" not in done.stdout
    assert {path.name for path in (site.store / "drafts").iterdir()} == {"sales"}
    code, told = prompts_json(site, "build")
    assert (code, told["ok"]) == (3, False)
    assert [built["line"] for built in told["built"]] == ["sales"]
    assert [refused["line"] for refused in told["refused"]] == ["support"]
    assert "element 12" in told["refused"][0]["errors"][0]["where"]
    assert prompts(site, "publish", "sales").exit_code == 0


def test_both_lines_are_wrong(site: SmallSite) -> None:
    wrong(site, "en")
    done = prompts(site, "build")
    assert done.exit_code == 3
    assert done.stderr.count("element 12") == 1
    assert not list(site.store.glob("en/*"))


@pytest.mark.parametrize("verb", ["check", "build", "publish", "rollback", "history"])
def test_an_unknown_line(site: SmallSite, verb: str) -> None:
    """Nothing is done for the known ones either."""
    words = (verb, "nowhere") if verb in ("rollback", "history") else (verb, "support", "nowhere")
    done = prompts(site, *words)
    assert done.exit_code == 2
    assert "nowhere" in done.stderr
    assert not site.store.exists()
    code, told = prompts_json(site, *words)
    assert code == 2
    assert "there is no line 'nowhere'; the lines are: support, sales" in told["error"]["message"]


def test_a_line_named_twice(site: SmallSite) -> None:
    told = prompts_json(site, "build", "sales", "sales")[1]
    assert [built["line"] for built in told["built"]] == ["sales"]


def test_a_voice_that_fails(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish()

    def fails(*_: Any, **__: Any) -> None:
        raise AudioError("prompt 'content' (en): nobody-speaks cannot be started. Install it")

    monkeypatch.setattr(workshop_module, "build_prompts", fails)
    done = prompts(site, "build")
    assert done.exit_code == 3
    assert "nobody-speaks cannot be started" in done.stderr
    assert "What was built before is untouched" in done.stderr
    assert prompts_json(site, "build")[1]["error"]["kind"] == "AudioError"
    assert in_force(site) == 1


def test_a_lost_signing_key(site: SmallSite) -> None:
    """It is not replaced: what would be signed with another is accepted by nobody."""
    site.publish()
    site.key.unlink()
    site.say("Something else is said now.")
    done = prompts(site, "build")
    assert done.exit_code == 3
    assert f"{site.key}: the signing key is missing beside its public one; restore it from its copy" in done.stderr
    assert in_force(site) == 1


def child(site: SmallSite, *words: str, code: str = CHILD) -> subprocess.Popen[str]:
    """A command line of its own."""
    command = [sys.executable, "-c", code, str(ROOT), "--config", str(site.config), "prompts", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_builds_and_publishings_at_the_same_time(site: SmallSite) -> None:
    """From processes of their own: all end well, nothing is half-made, and one version comes of one draft."""
    builds = [child(site, "build") for _ in range(3)]
    for process in builds:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    publishing = [child(site, "publish", "--by", f"Administrator {number}") for number in range(3)]
    said = []
    for process in publishing:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        said.append(output)
    assert sum("version 1 published" in output for output in said) >= 1
    assert all(state.version == 1 and state.plans for state in site.load().states.values())
    assert not [path for path in site.root.rglob(".*") if path.name != ".lock"]


SLOW_VOICE = """
import sys, time
from pathlib import Path
Path(sys.argv[1]).touch()
time.sleep(600)
"""


def test_ctrl_c_leaves_nothing_half_made(site: SmallSite, tmp_path: Path) -> None:
    """In the middle of speaking: the voice ends with it, the store has no trace, and what is in force stays."""
    site.publish("sales")
    before = sorted(path for path in site.store.rglob("*") if path.name != ".lock")
    (tmp_path / "voice.py").write_text(SLOW_VOICE)
    speaking = tmp_path / "speaking"
    command = f'["{sys.executable}", "{tmp_path / "voice.py"}", "{speaking}"]'
    site.edit(site.config, '["nobody-speaks"]', command)
    process = child(site, "build", "support", code=CHILD.replace("workshop.build_prompts = instant_build\n", ""))
    try:
        end = time.monotonic() + 30
        while not speaking.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)  # polling another process, with the deadline above
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode not in (0, None)
    assert "Traceback" not in output + errors
    assert sorted(path for path in site.store.rglob("*") if path.name != ".lock") == before
    assert not site.versions().published_any()
    assert in_force(site, "sales") == 1


# --- publish ----------------------------------------------------------------------------------------------------------


def test_publish(site: SmallSite) -> None:
    assert prompts(site, "build").exit_code == 0
    done = prompts(site, "publish", "--by", "Ærø Østergård")
    assert done.exit_code == 0, done.output
    assert "line support: version 1 published, approved by Ærø Østergård" in done.stdout
    assert "line sales: version 1 published, approved by Ærø Østergård" in done.stdout
    assert "ivr-consent reload" in done.stdout
    again = prompts(site, "publish", "--by", "Somebody Else")
    assert again.exit_code == 0
    assert "line support: says what version 1 says; nothing to publish" in again.stdout
    code, told = prompts_json(site, "publish", "--by", "Somebody Else")
    assert code == 0
    for published in told["published"]:
        assert published["version"] == 1
        assert published["approved_by"] == "Ærø Østergård"
        assert published["new"] is False
        assert published["manifest_sha256"] == manifest_of(site, published["line"]).sha256
    site.say("Something else is said now.")
    assert prompts(site, "build").exit_code == 0
    told = prompts_json(site, "publish", "sales")[1]
    assert [(line["line"], line["version"], line["new"]) for line in told["published"]] == [("sales", 2, True)]
    assert (in_force(site), in_force(site, "sales")) == (1, 2)


def test_publish_without_a_build(site: SmallSite) -> None:
    """Nobody has heard it yet: what to do is said; nothing is published."""
    done = prompts(site, "publish", "support")
    assert done.exit_code == 3
    assert "line support: 'controller' in 'en' is not built as it is written now" in done.stderr
    assert "ivr-consent prompts build" in done.stderr
    assert prompts_json(site, "publish")[1]["error"]["kind"] == "VersionError"
    assert prompts(site, "build").exit_code == 0
    site.say("Something else is said now.")
    assert "'content' in 'en' is not built" in prompts(site, "publish", "support").stderr
    assert not site.versions().published_any()


def _not_built(site: SmallSite) -> None:
    shutil.rmtree(site.store / "da")


def _damaged(site: SmallSite) -> None:
    manifest = site.workshop().draft_manifest("support")
    path = next(path for path in site.sounds(manifest) if "/da/" in str(path))
    entry = path.parent / "entry.json"
    flip(path)
    later = time.time_ns() + 10**12  # as if the entry had been written after it
    os.utime(entry, ns=(later, later))


def _bad_history(site: SmallSite) -> None:
    site.publish("support")
    flip(site.versions().folder / "history", 30)


@pytest.mark.parametrize("spoil", [_not_built, wrong, _damaged, _bad_history], ids=lambda act: act.__name__.strip("_"))
def test_one_of_two_lines_cannot_be_published(site: SmallSite, spoil: Callable[[SmallSite], None]) -> None:
    """All lines are looked at first: then neither is."""
    assert prompts(site, "build").exit_code == 0
    spoil(site)
    done = prompts(site, "publish", "sales", "support")
    assert done.exit_code == 3
    assert not site.versions("sales").published_any()
    assert prompts(site, "publish", "sales").exit_code == 0


def test_publish_without_the_right_to_sign(site: SmallSite) -> None:
    assert prompts(site, "build").exit_code == 0
    site.key.chmod(0o644)
    done = prompts(site, "publish")
    assert done.exit_code == 3
    assert f"chmod 600 {site.key}" in done.stderr
    site.key.unlink()
    done = prompts(site, "publish")
    assert done.exit_code == 3
    assert "run this as its owner, or restore its copy" in done.stderr
    public_path(site.key).unlink()
    assert prompts(site, "publish").exit_code == 3
    assert not site.versions().published_any()


@contextmanager
def somebody_else() -> Iterator[None]:
    """As a user who owns nothing here."""
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user(site: SmallSite) -> None:
    """The service's user can read all that is published, and neither sign nor write."""
    assert prompts(site, "build").exit_code == 0
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        shutil.copytree(site.root, Path(name) / "site")
        copy = SmallSite(Path(name) / "site")
        verbs = (("publish", "--by", "A"), ("rollback", "support", "--by", "A"), ("build",), ("history", "support"))
        for words in (*verbs, ("check",)):  # loads all that is needed: somebody else may not read this Python
            prompts(site, *words)
        with somebody_else():
            done = prompts(copy, "publish", "--by", "A")
            assert done.exit_code == 3
            assert f"{copy.key}: the signing key cannot be read (Permission denied); run this as its" in done.stderr
            assert not copy.versions().published_any()
        copy.publish()
        with somebody_else():
            for words in verbs[:3]:
                done = prompts(copy, *words)
                assert done.exit_code == 3, done.output
                assert "Permission denied" in done.stderr
            assert prompts(copy, "check").exit_code == 0
            assert prompts(copy, "history", "support").exit_code == 0
        assert in_force(copy) == 1


# --- who approves -----------------------------------------------------------------------------------------------------


def test_who_approves(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name given; else who is logged in, and behind sudo who that is."""
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    assert prompts(site, "build").exit_code == 0
    assert prompts(site, "publish", "support", SUDO_USER="agnete").exit_code == 0
    assert prompts(site, "publish", "sales", SUDO_USER="").exit_code == 0
    assert manifest_of(site).approved_by == "agnete"
    assert manifest_of(site, "sales").approved_by == "root"
    site.say("Something else is said now.")
    assert prompts(site, "build").exit_code == 0
    assert prompts(site, "publish", "--by", "B. Berg", SUDO_USER="agnete").exit_code == 0
    assert manifest_of(site).approved_by == "B. Berg"


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_login_without_a_name(site: SmallSite, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """As in a container: ask for it."""

    def nobody() -> str:
        raise error("uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert prompts(site, "build").exit_code == 0
    done = prompts(site, "publish", SUDO_USER="")
    assert done.exit_code == 2
    assert "--by NAME" in done.stderr
    assert prompts(site, "publish", "--by", "A. Tester", SUDO_USER="").exit_code == 0


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "A\x1b[31mB", "A\u202eB", "A\u200bB", "A\x00B", "A\udc80B"])
def test_a_wrong_name(site: SmallSite, name: str) -> None:
    assert prompts(site, "build").exit_code == 0
    done = prompts(site, "publish", "--by", name)
    assert done.exit_code == 3
    assert "1 to 200 printable characters: --by NAME" in done.stderr
    assert not site.versions().published_any()
    site.publish()
    assert prompts(site, "rollback", "support", "--by", name).exit_code == 3


def test_a_name_with_line_breaks_is_one_line(site: SmallSite) -> None:
    assert prompts(site, "build").exit_code == 0
    assert prompts(site, "publish", "--by", "A\nB\tC").exit_code == 0
    assert manifest_of(site).approved_by == "A B C"


# --- rollback and history ---------------------------------------------------------------------------------------------


@pytest.fixture
def three(site: SmallSite) -> SmallSite:
    """Three versions of line support."""
    for number in range(3):
        site.say(f"Number {number} is said now.")
        site.publish("support")
    return site


def test_rollback(three: SmallSite) -> None:
    done = prompts(three, "rollback", "support", "--by", "A. Tester")
    assert done.exit_code == 0, done.output
    assert "line support: version 2 is in force again" in done.stdout
    assert "ivr-consent reload" in done.stdout
    assert in_force(three) == 2
    code, told = prompts_json(three, "rollback", "support", "--to", "1")
    assert (code, told["version"], told["problems"]) == (0, 1, [])
    assert told["manifest_sha256"] == manifest_of(three).sha256
    assert in_force(three) == 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("support", "--to", "3"), 3, "version 3 of line support is in force already"),
        (("support", "--to", "9"), 3, "line support has no version 9; see ivr-consent prompts history support"),
        (("support", "--to", "0"), 2, "--to"),
        (("support", "--to", "x"), 2, "--to"),
        (("sales",), 3, "line sales has no published version"),
        ((), 2, "LINE"),
    ],
)
def test_a_rollback_that_is_refused(three: SmallSite, words: tuple[str, ...], code: int, told: str) -> None:
    before = (three.versions().folder / "history").read_bytes()
    done = prompts(three, "rollback", *words)
    assert done.exit_code == code
    assert told in done.stderr
    assert (three.versions().folder / "history").read_bytes() == before
    assert not three.versions("sales").published_any()


def test_a_rollback_to_what_cannot_be_played(three: SmallSite) -> None:
    """Refused while the version in force still can."""
    first = three.versions().published(1, three.workshop().keys()[1])
    path = next(path for path in three.sounds(first) if path not in three.sounds(manifest_of(three)))
    path.unlink()
    done = prompts(three, "rollback", "support", "--to", "1")
    assert done.exit_code == 3
    assert str(path) in done.stderr
    assert in_force(three) == 3


def test_a_rollback_to_what_the_configuration_is_not(three: SmallSite) -> None:
    """It is in force by the history; with this configuration nothing is recorded, and that is said."""
    three.edit(three.config, "[lines.support]", "[lines.support]\nretention_days = 31")
    three.publish("support")
    done = prompts(three, "rollback", "support")
    assert done.exit_code == 3
    assert "version 3 is in force again" in done.stdout
    assert "lines.support.retention_days" in done.stderr
    code, told = prompts_json(three, "rollback", "support", "--to", "2")
    assert (code, told["version"]) == (3, 2)
    assert "retention_days" in told["problems"][0]["where"]


def test_history(three: SmallSite) -> None:
    assert prompts(three, "rollback", "support", "--by", "B. Berg").exit_code == 0
    done = prompts(three, "history", "support")
    assert done.exit_code == 0
    rows = [line for line in done.stdout.splitlines() if "20" in line and "Z" in line]
    assert [("published" in row, "rolled back" in row) for row in rows] == [(True, False)] * 3 + [(False, True)]
    assert "B. Berg" in rows[-1]
    assert f"in force: version 2, in {three.versions().path(2)}" in done.stdout
    code, told = prompts_json(three, "history", "support")
    assert (code, told["line"], told["in_force"]) == (0, "support", 2)
    assert [(act["action"], act["version"]) for act in told["history"]] == [
        ("published", 1),
        ("published", 2),
        ("published", 3),
        ("rolled_back", 2),
    ]
    assert told["history"][1]["manifest_sha256"] == told["history"][3]["manifest_sha256"]
    assert set(told["history"][0]) == {"action", "version", "by", "at", "manifest_sha256"}


def test_no_history(site: SmallSite) -> None:
    done = prompts(site, "history", "sales")
    assert done.exit_code == 0
    assert "line sales: nothing is published yet; ivr-consent prompts publish sales" in done.stdout
    assert prompts_json(site, "history", "sales")[1]["history"] == []
    assert not site.versions("sales").folder.exists(), "looking makes nothing"


@pytest.mark.parametrize("verb", ["history", "rollback", "publish"])
def test_a_broken_history(three: SmallSite, verb: str) -> None:
    """Told with file and line; nothing is added to it."""
    history = three.versions().folder / "history"
    flip(history, 30)
    before = history.read_bytes()
    done = prompts(three, verb, "support")
    assert done.exit_code == 3
    assert f"{history}:1: it was changed after it was signed" in done.stderr
    assert history.read_bytes() == before


def test_a_name_from_the_history_cannot_act_on_the_terminal(three: SmallSite) -> None:
    """Names are printable when they are written; what is shown is made safe all the same."""
    by, check = three.workshop().keys()
    versions = Versions(three.root / "versions", "support")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ivr_consent.versions.approver_name", lambda value: value)
        versions.rollback(1, "A\x1b[2JB\u202e", by, check)
    done = prompts(three, "history", "support")
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output
    assert "A\\x1b[2JB\\u202e" in done.stdout


def test_a_published_notice_file_that_was_changed_is_told(site: SmallSite) -> None:
    """R22: nobody hears it, but it is evidence."""
    for verb in ("build", "publish"):
        assert prompts(site, verb).exit_code == 0
    (copy,) = site.root.rglob("support/1/en.toml")
    whole = copy.read_bytes()
    copy.chmod(0o644)
    copy.write_bytes(whole + b"# changed\n")
    code, document = run_json("--config", site.config, "prompts", "check")
    assert code == 3
    state = next(line for line in document["lines"] if line["line"] == "support")["in_force"]
    assert state["ready"]  # what callers hear is whole
    assert state["problems"][0]["where"] == str(copy)
    assert str(copy) in prompts(site, "check").output
    copy.unlink()
    assert prompts(site, "check").exit_code == 3
    copy.write_bytes(whole)
    assert prompts(site, "check").exit_code == 0
