"""ivr-consent init --switch freeswitch: the same care as for Asterisk, in FreeSWITCH's files and words."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from ivr_consent import config
from ivr_consent.cli.templates import EXAMPLE_FACTS
from tests.cli.freeswitch import FreeSwitchPlace
from tests.cli.support import Place, run, run_json

WRITTEN = {
    "etc/ivr-consent.toml",
    "etc/ivr-consent.schema.json",
    "etc/pseudonym.key",
    "etc/event_socket.password",
    "etc/event_socket.conf.xml",
    "etc/ivr-consent.service",
    "state/decisions.db",
    "state/decisions.key",
    "state/decisions.pub",
    "freeswitch/dialplan/ivr_consent.xml",
}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def steps(document: dict[str, object]) -> str:
    return json.dumps(document["next"])


@pytest.fixture
def there(tmp_path: Path) -> FreeSwitchPlace:
    """A site after init: no audio yet."""
    made = FreeSwitchPlace(tmp_path)
    assert run(*made.init("--example-facts")).exit_code == 0
    return made


def test_writes_all_that_a_site_needs_and_the_loader_takes_it(there: FreeSwitchPlace) -> None:
    assert set(there.files()) == WRITTEN | {"state/decisions.db-writers"}  # SQLite's neighbour: locks, no content
    settings = config.load(there.config)
    assert (settings.switch, settings.manager, settings.event_socket) == ("freeswitch", None, config.EventSocket())
    assert (settings.server.port, settings.server.draft_port) == (8084, 8085)
    line = settings.lines["support"]
    assert (line.recorded, line.unrecorded) == ("support_recorded XML queues", "support_unrecorded XML queues")
    assert settings.features == config.Features(withdraw="*9")
    assert settings.guard.spool == ["/var/lib/freeswitch/recordings"]
    assert settings.facts["default"].model_dump() == dict(EXAMPLE_FACTS)
    schema = json.loads((there.etc / "ivr-consent.schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(tomllib.loads(there.config.read_text()))
    assert "sterisk" not in there.config.read_text()


def test_a_second_time_nothing_changes(there: FreeSwitchPlace) -> None:
    before = there.files()
    result = run(*there.init("--controller", "Somebody Else"))
    assert result.exit_code == 0
    assert there.files() == before
    assert "written" not in result.stdout


def test_the_event_socket_gets_a_password_that_nobody_knows(there: FreeSwitchPlace) -> None:
    password = there.password.read_text().strip()
    assert len(password) >= 32
    assert mode(there.password) == 0o600
    offered = there.etc / "event_socket.conf.xml"
    assert mode(offered) == 0o640
    root = ET.fromstring(offered.read_text())  # noqa: S314 - a text of our own
    params = {param.get("name"): param.get("value") for param in root.iter("param")}
    assert params["password"] == password
    assert params["listen-ip"] == "127.0.0.1"
    assert params["apply-inbound-acl"] == "loopback.auto"
    assert params["listen-port"] == "8021"
    other = FreeSwitchPlace(there.root / "other")
    assert run(*other.init()).exit_code == 0
    assert other.password.read_text() != there.password.read_text()
    result = run(*there.init())
    assert password not in result.stdout
    assert f"{offered} {there.freeswitch / 'autoload_configs/event_socket.conf.xml'}" in result.stdout
    assert "systemctl restart freeswitch" in result.stdout


def test_freeswitchs_own_password_is_taken(tmp_path: Path) -> None:
    """And its port; a file to be put in place is not offered then."""
    place = FreeSwitchPlace(tmp_path)
    path = place.configure(listen_port="18021", password="a&amp;better&quot;one")
    path.write_text('<!-- <param name="password" value="ClueCon"/> -->\n' + path.read_text())
    code, document = run_json(*place.init())
    assert code == 0
    assert place.password.read_text() == 'a&better"one\n'
    assert not (place.etc / "event_socket.conf.xml").exists()
    socket = config.load(place.config).event_socket
    assert socket is not None
    assert socket.port == 18021
    assert 'a&better"one' not in steps(document)
    assert "fs_cli -x reloadxml" in steps(document)
    assert "systemctl restart freeswitch" not in steps(document)


@pytest.mark.parametrize("theirs", ["ClueCon", "$${event_socket_password}", "short", "with a space in it", ""])
def test_a_password_that_is_known_or_cannot_be_read_is_not_taken(tmp_path: Path, theirs: str) -> None:
    place = FreeSwitchPlace(tmp_path)
    place.configure(password=theirs)
    assert run(*place.init()).exit_code == 0
    assert re.fullmatch(r"[A-Za-z0-9_-]{32,}\n", place.password.read_text())
    assert (place.etc / "event_socket.conf.xml").exists()


def test_a_password_file_with_the_well_known_one_is_refused(tmp_path: Path) -> None:
    place = FreeSwitchPlace(tmp_path)
    place.etc.mkdir()
    place.password.write_text("ClueCon\n")
    result = run(*place.init())
    assert result.exit_code == 1
    assert "everybody knows" in result.stderr


def test_the_dialplan_and_the_unit_are_freeswitchs(there: FreeSwitchPlace) -> None:
    text = (there.freeswitch / "dialplan/ivr_consent.xml").read_text()
    assert "socket" in text
    assert "127.0.0.1:8084 async full" in text
    lines = (there.etc / "ivr-consent.service").read_text().splitlines()
    assert "Before=freeswitch.service" in lines
    assert "User=freeswitch" in lines
    (writable,) = [line for line in lines if line.startswith("ReadWritePaths=")]
    assert "-/var/lib/freeswitch/recordings" in writable.split()
    assert not any("sterisk" in line for line in lines)


def test_what_comes_next_is_said_in_freeswitchs_words(there: FreeSwitchPlace) -> None:
    said = run(*there.init()).stdout
    for wanted in (
        '<action application="transfer" data="support XML ivr-consent"/>',
        "support_recorded and support_unrecorded in the context queues",
        "systemctl enable --now",
        f"{there.config} check",
    ):
        assert wanted in said
    assert "sterisk" not in said


def test_every_key_of_the_configuration_is_in_the_file(there: FreeSwitchPlace) -> None:
    """Or in a comment of it, but for those that do nothing on FreeSWITCH."""
    text = there.config.read_text()
    idle = {"guard_ms", "codecs", "keys", "facts", "voices", "anchors"}
    for model in (config.Server, config.EventSocket, config.Log, config.Recordings, config.Prompts, config.Line):
        names = set(model.model_fields) - idle
        assert {name for name in names if not re.search(rf"(?m)^(# )?{name} = ", text)} == set()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    place = FreeSwitchPlace(tmp_path)
    path = place.configure(password="a-password-of-theirs")
    code, document = run_json(*place.init("--dry-run"))
    assert code == 0
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == [path]
    assert "fs_cli -x reloadxml" in steps(document)


def test_a_directory_of_the_other_switch_is_left_alone(tmp_path: Path) -> None:
    asterisk = Place(tmp_path)
    assert run(*asterisk.init()).exit_code == 0
    before = asterisk.files()
    result = run(*FreeSwitchPlace(tmp_path).init())
    assert result.exit_code == 3
    assert "is for Asterisk" in result.stderr
    assert asterisk.files() == before


def test_a_line_that_cannot_stand_in_a_dialplan_is_refused(tmp_path: Path) -> None:
    place = FreeSwitchPlace(tmp_path)
    result = run(*place.init("--line", 'x"/><action'))
    assert result.exit_code == 3
    assert not place.etc.exists()
