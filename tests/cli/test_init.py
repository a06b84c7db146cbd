"""ivr-consent init: complete, private, and never over anything that is there."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path

import jsonschema
import pytest

from ivr_consent import config
from ivr_consent.cli import files
from ivr_consent.cli.init import NOTICE_LASTS
from ivr_consent.cli.templates import EXAMPLE_FACTS
from ivr_consent.cli.terminal import Exit
from tests.cli.support import Place, run, run_json

WRITTEN = {
    "etc/ivr-consent.toml",
    "etc/ivr-consent.schema.json",
    "etc/pseudonym.key",
    "etc/manager.secret",
    "etc/ivr-consent.service",
    "state/decisions.db",
    "state/decisions.key",
    "state/decisions.pub",
    "asterisk/ivr-consent/manager_consent.conf",
    "asterisk/ivr-consent/extensions_consent.conf",
    "asterisk/ivr-consent/extensions_consent_lines.conf",
    "asterisk/ivr-consent/features_consent.conf",
}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_writes_all_that_a_site_needs_and_the_loader_takes_it(place: Place) -> None:
    assert set(place.files()) == WRITTEN | {"state/decisions.db-writers"}  # SQLite's neighbour: locks, no content
    settings = config.load(place.config)
    assert settings.log.path == place.log
    assert settings.lines["support"].recorded is None
    assert settings.facts["default"].model_dump() == dict(EXAMPLE_FACTS)
    assert settings.manager == config.Manager()


def test_secrets_and_state_are_their_owners_alone(place: Place) -> None:
    """R15: nobody else on the machine reads keys, log or recordings."""
    for name in ("etc/pseudonym.key", "etc/manager.secret", "state/decisions.db", "state/decisions.key"):
        assert mode(place.root / name) == 0o600
    for name in ("state", "state/recordings", "state/audio"):
        assert mode(place.root / name) == 0o700
    assert mode(place.asterisk / "ivr-consent/manager_consent.conf") == 0o640
    assert mode(place.config) == 0o640
    assert mode(place.state / "versions") == 0o750


def test_a_second_time_nothing_changes(place: Place) -> None:
    before = place.files()
    result = run(*place.init("--controller", "Somebody Else"))
    assert result.exit_code == 0
    assert place.files() == before
    assert "written" not in result.stdout
    assert result.stdout.count("kept") == len(WRITTEN) + 6  # and six directories


def test_what_an_administrator_wrote_is_never_overwritten(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.etc.mkdir()
    (place.etc / "pseudonym.key").write_text("mine")
    (place.etc / "ivr-consent.service").symlink_to("/nowhere")
    assert run(*place.init()).exit_code == 0
    assert (place.etc / "pseudonym.key").read_text() == "mine"
    assert (place.etc / "ivr-consent.service").is_symlink()


def test_a_file_that_was_lost_is_made_from_what_is_there(place: Place) -> None:
    place.edit("port = 4573", "port = 4599")
    manager = place.asterisk / "ivr-consent/manager_consent.conf"
    secret = place.etc / "manager.secret"
    kept = secret.read_text().strip()
    for lost in (manager, place.asterisk / "ivr-consent/extensions_consent.conf"):
        lost.unlink()
    assert run(*place.init()).exit_code == 0
    assert f"secret = {kept}" in manager.read_text()
    assert "agi://127.0.0.1:4599/" in (place.asterisk / "ivr-consent/extensions_consent.conf").read_text()
    secret.unlink()
    assert run(*place.init()).exit_code == 0
    assert secret.read_text().strip() == kept


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    code, document = run_json(*place.init("--dry-run"))
    assert code == 0
    assert list(tmp_path.iterdir()) == []
    assert {entry["what"] for entry in document["files"]} == {"would write"}


def test_facts_that_nobody_gave_are_left_to_be_written(tmp_path: Path) -> None:
    """R2: a line without its facts is not recorded; a made-up controller is never spoken by accident."""
    place = Place(tmp_path)
    assert run(*place.init("--controller", 'The "Works", Ørby')).exit_code == 0
    facts = tomllib.loads(place.config.read_text())["facts"]["default"]
    assert facts == {"controller": 'The "Works", Ørby'}
    code, document = run_json("--config", place.config, "prompts", "check")
    assert code == 3
    assert "set authority" in " ".join(problem["remedy"] for problem in document["lines"][0]["draft"]["errors"])


def test_every_comment_that_is_a_setting_can_be_uncommented(tmp_path: Path) -> None:
    """Alone, and with all the ones above it: what is left is TOML, with no key twice."""
    place = Place(tmp_path)
    assert run(*place.init("--controller", "A Company")).exit_code == 0
    lines = place.config.read_text().splitlines()
    settings = [n for n, line in enumerate(lines) if re.match(r"# (\[[a-z.]+\]$|[a-z_]+ = )", line)]
    assert [lines[n] for n in settings if "facts.da" in lines[n] or "Datatilsynet" in lines[n]]
    for number in settings:
        alone = [line.removeprefix("# ") if n == number else line for n, line in enumerate(lines)]
        above = [line.removeprefix("# ") if n in settings and n <= number else line for n, line in enumerate(lines)]
        for text in (alone, above):
            tomllib.loads("\n".join(text))
    facts = tomllib.loads("\n".join(above))["facts"]
    everything = config.parse(tomllib.loads("\n".join(above)), place.config, "")
    assert everything.lines["support"].codecs == ["opus", "g729"]
    assert everything.prompts.voices["en"].timeout_seconds == 60
    assert facts["da"] == {"authority": "Datatilsynet"}
    assert facts["default"]["authority"] == EXAMPLE_FACTS["authority"]


def test_editors_find_the_schema(place: Place) -> None:
    """The first line names it, beside the file; what init writes fits it."""
    first, _, _ = place.config.read_text().partition("\n")
    path = place.etc / first.removeprefix("#:schema ")
    found = json.loads(path.read_text())
    jsonschema.Draft7Validator(found).validate(tomllib.loads(place.config.read_text()))
    assert found["properties"]["lines"]["additionalProperties"]["properties"]["retention_days"]["maximum"] == 3650


def test_every_key_of_the_configuration_is_in_the_file_that_init_writes(place: Place) -> None:
    """Or in a comment of it: whoever reads the file once has seen all there is."""
    text = place.config.read_text()
    for model in (config.Server, config.Manager, config.Log, config.Recordings, config.Prompts, config.Voice):
        names = [name for name in model.model_fields if name not in ("voices", "anchors")]
        assert [name for name in names if not re.search(rf"(?m)^(# )?{name} = ", text)] == []
    assert all(f"# [log.anchors.{name}]" in text for name in ("command", "mail", "timestamp"))
    assert all(f"# {name} = " in text for name in ("file", "journal"))
    names = [name for name in (*config.Line.model_fields, *config.Keys.model_fields) if name not in ("keys", "facts")]
    assert [name for name in names if not re.search(rf"(?m)^(# )?{name} = ", text)] == []


def test_a_lost_key_is_not_made_anew_beside_a_log(place: Place) -> None:
    (place.etc / "pseudonym.key").unlink()
    result = run(*place.init())
    assert result.exit_code == 0
    assert "Restore them from their copy" in result.stdout
    assert not (place.etc / "pseudonym.key").exists()
    place.log.unlink()
    place.log.with_suffix(".pub").unlink()
    assert run(*place.init()).exit_code == 0
    assert (place.etc / "pseudonym.key").exists()


def test_the_manager_user_has_the_rights_of_the_guard_and_no_more(place: Place) -> None:
    text = (place.asterisk / "ivr-consent/manager_consent.conf").read_text()
    values = dict(re.findall(r"(?m)^(\w+) =[ ]?(.*)$", text))
    assert values["read"] == "call,dialplan,agi,dtmf"
    assert values["write"] == "call"
    assert values["deny"] == "0.0.0.0/0.0.0.0"
    assert values["permit"] == "127.0.0.1/255.255.255.255"
    assert len(values["secret"]) >= 32
    assert values["secret"] == (place.etc / "manager.secret").read_text().strip()
    other = Place(place.root / "other")
    run(*other.init())
    assert (other.etc / "manager.secret").read_text() != (place.etc / "manager.secret").read_text()


def test_the_service_is_watched_and_may_write_its_state_alone(place: Place) -> None:
    unit = (place.etc / "ivr-consent.service").read_text()
    lines = unit.splitlines()
    for wanted in ("Type=notify", "WatchdogSec=5", "Restart=always", "RestartSec=1", "User=asterisk", "UMask=0077"):
        assert wanted in lines
    assert f"RestartPreventExitStatus={Exit.CONFIGURATION.value}" in lines
    (writable,) = [line for line in lines if line.startswith("ReadWritePaths=")]
    state = place.state
    assert writable.partition("=")[2].split() == [
        str(state),
        str(state / "audio"),
        str(state / "recordings"),
        f"-{place.etc / 'pseudonym.key'}",
        "-/var/spool/asterisk",
    ]
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start.endswith(f"--config {place.config} serve")


def test_says_what_to_add_and_what_to_do_next(place: Place) -> None:
    said = run(*place.init()).stdout
    for wanted in (
        "#include ivr-consent/extensions_consent.conf",
        "#include ivr-consent/manager_consent.conf",
        "Gosub(ivr-consent,s,1(support))",
        "prompts build",
        f"{place.config} check",
        "systemctl enable --now",
        f"with the shipped one after {NOTICE_LASTS}",
    ):
        assert wanted in said


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--line", "a b"), "--line"), (("--line", "x]\ny"), "--line"), (("--state", "/tmp/a b"), "--state")],
)
def test_what_could_become_dialplan_is_refused(tmp_path: Path, options: tuple[str, str], named: str) -> None:
    """I6: a line's name and the directories stand in dialplan and commands."""
    place = Place(tmp_path)
    result = run(*place.init(*options))
    assert result.exit_code == 3
    assert named in result.stderr
    assert not place.etc.exists()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.etc.write_text("a file")
    result = run(*place.init())
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "run this as root, or name directories" in result.stderr


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("theirs")
    monkeypatch.setattr(files, "exists", lambda _: False)
    assert not files.write_new(path, "ours", 0o600)
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]
