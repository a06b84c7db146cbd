"""ivr-consent check: every fault is found, each with its remedy; nothing is changed by looking."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest

from ivr_consent.core.flow import failed_decision
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.plans import call_context
from tests.cli.support import MORE, NOTHING, Place, fake_manager, run, run_json

PATIENCE = 60.0  # seconds; a bound for what takes one, on a loaded machine too

GATE = "[ Context 'ivr-consent' created by 'pbx_config' ]\n   14. AGI(agi://127.0.0.1:{port}/consent,${{line}})\n"
USER = "          username: ivr-consent\n         read perm: {read}\n        write perm: <none>\n"
MODULES = "\n".join(
    f"{name}.so   Something   0   Running   core"
    for name in (
        "res_agi",
        "app_mixmonitor",
        "app_stack",
        "func_callerid",
        "func_channel",
        "func_logic",
        "func_strings",
        "func_timeout",
        "app_originate",
        "app_playtones",
        "func_env",
        "func_groupcount",
    )
)


def found(place: Place, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the worst finding of each name."""
    code, document = run_json("--config", place.config, "check", "--asterisk", "/nonexistent/asterisk", *options)
    order = ["ok", "not checked", "warning", "problem"]
    rows: list[dict[str, str]] = sorted(document["findings"], key=lambda row: order.index(row["state"]))
    assert all(row["remedy"] for row in rows if row["state"] != "ok")
    return code, {row["name"]: row for row in rows}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def problems(rows: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, row in rows.items() if row["state"] == "problem"}


def without_log(files: dict[str, bytes]) -> dict[str, bytes]:
    """SQLite keeps two files beside a log that somebody has read."""
    return {name: text for name, text in files.items() if not name.startswith("state/decisions.db")}


@pytest.fixture
def site(ready: Place) -> Place:
    """A site on ports of its own, on which nobody listens."""
    ready.edit("port = 4573", f"port = {free_port()}")
    ready.edit("port = 5038", f"port = {free_port()}")
    return ready


def test_all_but_the_switch_is_good_after_init_and_build(site: Place) -> None:
    before = site.files()
    code, rows = found(site)
    assert problems(rows) == {"FastAGI server", "manager login"}
    assert code == 4
    assert rows["facts.default"]["state"] == "warning"
    assert rows["log"]["state"] == rows["line support"]["state"] == rows["recordings"]["state"] == "ok"
    assert rows["dialplan"]["state"] == rows["modules"]["state"] == "not checked"
    assert without_log(site.files()) == without_log(before)
    assert run_json("--config", site.config, "log", "list")[1]["calls"] == []


def test_the_table_says_the_same(site: Place) -> None:
    result = run("--config", site.config, "check", "--asterisk", "/nonexistent/asterisk")
    assert result.exit_code == 4
    for wanted in ("FastAGI server", "problem", "systemctl start ivr-consent", "not checked"):
        assert wanted in result.stdout


def test_a_line_that_lacks_audio_or_a_fact(place: Place) -> None:
    """R2: the check names what is missing."""
    code, rows = found(place)
    assert "ivr-consent prompts build" in rows["line support"]["remedy"]
    assert code == 1  # beside it, the switch
    place.edit('\nauthority = "', '\n# authority = "')
    code, rows = found(place)
    assert rows["line support"]["remedy"] == f"set authority in [facts.default] (or [facts.en]) of {place.config}"


def test_each_missing_fact_is_one_row_a_language_with_its_key(tmp_path: Path) -> None:
    """However often the notice says it: an administrator sets it once."""
    place = Place(tmp_path)
    assert run(*place.init("--language", "en", "--language", "da", "--controller", "A Company")).exit_code == 0
    rows = run_json("--config", place.config, "check", "--asterisk", "/nonexistent/asterisk")[1]["findings"]
    remedies = [row["remedy"] for row in rows if row["name"] == "line support"]
    lacking = ("authority", "recipients", "withdrawal_contact", "rights_contact", "web_address")
    assert remedies == [
        f"set {fact} in [facts.default] (or [facts.{language}]) of {place.config}"
        for language in ("en", "da")
        for fact in lacking
    ]
    assert len([row for row in rows if row["state"] == "problem" and "facts." in row["found"]]) == len(remedies)


def test_the_log(site: Place) -> None:
    site.log.chmod(0o644)
    assert found(site)[1]["log permissions"]["state"] == "problem"
    holder = sqlite3.connect(site.log, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert "locked" in found(site)[1]["log"]["found"]
    finally:
        holder.close()
    site.log.write_bytes(b"something else, and not short" * 50)
    code, rows = found(site)
    assert "not a log of ivr-consent" in rows["log"]["found"]
    assert code == 1


def test_keys_and_recordings_that_others_can_read(site: Place) -> None:
    """R15."""
    (site.etc / "pseudonym.key").chmod(0o644)
    (site.etc / "manager.secret").chmod(0o640)
    (site.state / "recordings").chmod(0o755)
    rows = found(site)[1]
    assert {"pseudonym key", "manager secret", "recordings"} <= problems(rows)
    assert "chmod 600" in rows["pseudonym key"]["remedy"]


def test_a_missing_key_is_told_and_not_made(site: Place) -> None:
    (site.etc / "pseudonym.key").unlink()
    rows = found(site)[1]
    assert rows["pseudonym key"]["state"] == "problem"
    assert "restore it from its copy" in rows["pseudonym key"]["remedy"]
    assert rows["line support"]["state"] == "ok"
    assert not (site.etc / "pseudonym.key").exists()


def test_a_clock_that_went_back(site: Place) -> None:
    log = Ledger(site.log, clock=lambda: datetime(2999, 1, 1, tzinfo=UTC))
    log.decide_now(failed_decision(call_context(), "unknown_line"))
    log.close()
    assert found(site)[1]["clock"]["state"] == "problem"


def manager_port(place: Place) -> int:
    from ivr_consent import config

    manager = config.load(place.config).manager
    assert manager is not None
    return manager.port


@contextmanager
def with_manager(site: Place, **options: Any) -> Iterator[Any]:
    with fake_manager((site.etc / "manager.secret").read_text().strip(), **options) as server:
        site.edit(f"port = {manager_port(site)}", f"port = {server.server_address[1]}")
        yield server


def test_the_manager_login_is_tried(site: Place) -> None:
    with with_manager(site) as server:
        rows = found(site)[1]
        assert rows["manager login"]["state"] == rows["manager write rights"]["state"] == "ok"
        assert server.actions[:4] == ["Login", "ListCommands", "Events", "Setvar"]
        assert set(server.actions[4:]) == {"Ping"}
        (site.etc / "manager.secret").write_text("another-secret\n")
        rows = found(site)[1]
        assert "refuses" in rows["manager login"]["found"]


def test_a_manager_user_with_more_rights_than_it_needs(site: Place) -> None:
    with with_manager(site, listed=MORE):
        row = found(site)[1]["manager write rights"]
    assert row["state"] == "warning"
    assert "Originate" in row["found"]
    assert "Getvar" not in row["found"]


def test_a_manager_user_that_may_stop_nothing(site: Place) -> None:
    """The guard would be blind; without the guard it is as it should be."""
    with with_manager(site, listed=NOTHING):
        row = found(site)[1]["manager write rights"]
        assert row["state"] == "problem"
        assert "StopMixMonitor" in row["found"]
        assert "write = call" in row["remedy"]
        site.edit('mode = "enforce"', 'mode = "off"')
        assert found(site)[1]["manager write rights"]["state"] == "ok"
    with with_manager(site):
        assert found(site)[1]["manager write rights"]["state"] == "warning"


@pytest.mark.parametrize(("told", "state"), [(0, "ok"), (1, "warning"), (500, "warning")])
def test_a_manager_user_that_is_told_everything(site: Place, told: int, state: str) -> None:
    """Without eventfilter lines; on a busy switch not even the reply is found among the events."""
    with with_manager(site, told=told):
        rows = found(site)[1]
    assert rows["manager event filters"]["state"] == state
    assert ("eventfilter" in rows["manager event filters"]["remedy"]) == (state == "warning")
    assert rows["manager login"]["state"] == "ok"


def test_without_a_guard_nobody_asks_for_filters(site: Place) -> None:
    with with_manager(site, told=1):
        site.edit('mode = "enforce"', 'mode = "off"')
        assert "manager event filters" not in found(site)[1]


def test_something_else_on_the_managers_port(site: Place) -> None:
    with with_manager(site, greeting=b"220 smtp\r\n"):
        assert "no manager interface" in found(site)[1]["manager login"]["found"]


def test_silence_on_a_port_ends_at_its_deadline(site: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.edit(f"port = {manager_port(site)}", f"port = {silent.getsockname()[1]}")
        assert "does not answer" in found(site)[1]["manager login"]["found"]


FEATURES = """
Builtin Feature           Default Current
---------------           ------- -------
Pickup                    *8      *8
Blind Transfer            #       #1
Attended Transfer                 *2
One Touch MixMonitor              *3

Dynamic Feature           Default Current
---------------           ------- -------
ivr-consent-withdraw      no def  *9
ivr-consent-ask           no def  *8

Feature Groups:
---------------
(none)
"""


def asterisk_program(
    place: Place, read: str = "call,dialplan,agi,dtmf", gate: str = GATE, stamps: str = "Yes", features: str = FEATURES
) -> str:
    """A program that answers as ``asterisk -rx`` does."""
    port = json.loads(run("--config", place.config, "dialplan", "--json").stdout)["files"]["extensions_consent.conf"]
    number = int(port.partition("agi://127.0.0.1:")[2].partition("/")[0])
    answers = {
        "manager show user ivr-consent": USER.format(read=read),
        "manager show settings": f"  Timestamp events:          {stamps}            \n",
        "dialplan show ivr-consent": gate.format(port=number),
        "dialplan show ivr-consent-line": "There is no existence of 'ivr-consent-line' context\n",
        "module show": MODULES,
        "features show": features,
    }
    program = place.root / "asterisk-program"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nassert sys.argv[1] == '-rx'\nprint({answers!r}[sys.argv[2]])\n"
    )
    program.chmod(0o755)
    return str(program)


def test_asterisks_own_program_is_asked(site: Place) -> None:
    rows = found(site, "--asterisk", asterisk_program(site))[1]
    for name in ("manager read rights", "timestampevents", "dialplan", "modules"):
        assert rows.get(name, {"state": "ok"})["state"] == "ok", rows[name]
    assert rows["dialplan"]["state"] == rows["modules"]["state"] == "ok"


@pytest.mark.parametrize(
    ("features", "state", "said"),
    [
        (FEATURES, "ok", "*9 (ivr-consent-withdraw), *8 (ivr-consent-ask)"),
        (FEATURES.replace("ivr-consent-ask     ", "another-feature     "), "problem", "*8 (ivr-consent-ask)"),
        (FEATURES.replace("*9", "*7"), "problem", "*9 (ivr-consent-withdraw)"),
        (FEATURES.replace("*3", "*9"), "warning", "*9 is also One Touch MixMonitor"),
    ],
)
def test_asterisk_knows_the_codes_that_the_notice_speaks_of(site: Place, features: str, state: str, said: str) -> None:
    row = found(site, "--asterisk", asterisk_program(site, features=features))[1]["feature codes"]
    assert (row["state"], said in row["found"]) == (state, True), row


def classic(site: Place, script: Path, options: str = "") -> dict[str, dict[str, str]]:
    """What is found where the dialplan's gate runs a script in place of the server."""
    gate = (
        f"[ Context 'ivr-consent' created by 'pbx_config' ]\n   14. AGI({script},${{{{line}}}}{options})   [file:37]\n"
    )
    return found(site, "--asterisk", asterisk_program(site, gate=gate))[1]


def test_a_site_with_the_classic_script_needs_no_server_and_no_manager(site: Place) -> None:
    script = site.root / "ivr-consent-agi"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    rows = classic(site, script, f",--config={site.config}")
    assert problems(rows) == set()
    for name in ("dialplan", "FastAGI server", "manager"):
        assert rows[name]["state"] == "ok", rows[name]
        assert "classic script" in rows[name]["found"]
    assert "manager login" not in rows
    assert rows["sweep"]["state"] == "not checked"
    assert "ivr-consent sweep" in rows["sweep"]["remedy"]
    site.edit("[manager]\n", "[manager]\ntls = true\n")
    site.config.write_text(site.config.read_text().replace("tls = false\n", "", 1))
    assert problems(classic(site, script)) == set()


def test_a_classic_script_that_is_not_there_or_reads_something_else(site: Place) -> None:
    script = site.root / "ivr-consent-agi"
    rows = classic(site, script)
    assert rows["dialplan"]["state"] == "problem"
    assert str(script) in rows["dialplan"]["found"]
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    row = classic(site, script, ",--config=/elsewhere.toml")["dialplan"]
    assert row["state"] == "warning"
    assert "/elsewhere.toml" in row["found"]


def test_without_a_manager_table_it_is_said_what_to_add(site: Place) -> None:
    text = site.config.read_text()
    before, _, rest = text.partition("[manager]\n")
    site.config.write_text(before + rest[rest.index("[log]") :])
    row = found(site)[1]["manager"]
    assert row["state"] == "warning"
    for wanted in (str(site.config), "[manager]", 'secret_file = "manager.secret"', f"init --dir {site.etc}"):
        assert wanted in row["remedy"]


def test_what_asterisks_program_says_is_wrong(site: Place) -> None:
    gate = GATE.replace("{port}", "1")
    rows = found(site, "--asterisk", asterisk_program(site, read="call,user", gate=gate, stamps="No"))[1]
    assert rows["manager read rights"]["state"] == "problem"
    assert rows["timestampevents"]["state"] == "warning"
    assert "does not call" in rows["dialplan"]["found"]
    rows = found(site, "--asterisk", asterisk_program(site, read="all", gate="no such context"))[1]
    assert rows["manager read rights"]["state"] == "warning"
    assert "not loaded" in rows["dialplan"]["found"]


def test_a_program_that_hangs_is_left_at_its_deadline(site: Place) -> None:
    program = site.root / "hangs"
    program.write_text("#!/bin/sh\nsleep 600\n")
    program.chmod(0o755)
    rows = found(site, "--asterisk", str(program))[1]
    assert "does not answer within" in rows["dialplan"]["found"]


def test_somebody_else_on_our_port(site: Place) -> None:
    """Whoever answers on the agi:// port owns the switch."""
    with fake_manager("-", greeting=b"HTTP/1.1 400 Bad Request\n") as other:
        text = site.config.read_text()
        site.config.write_text(
            text.replace(text.partition("port = ")[2].partition("\n")[0], str(other.server_address[1]), 1)
        )
        row = found(site)[1]["FastAGI server"]
    assert row["state"] == "problem"
    assert "somebody else" in row["found"]


@contextmanager
def serving(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """``ivr-consent serve``, from when it listens."""
    command = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(place.config), "serve"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "NOTIFY_SOCKET": ""}) as process:
        said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert process.stderr is not None

        def read(stream: IO[bytes]) -> None:
            for line in stream:
                said.put(line)

        reader = threading.Thread(target=read, args=(process.stderr,))
        reader.start()
        try:
            while b'"listening"' not in said.get(timeout=PATIENCE):
                pass
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            reader.join(PATIENCE)


def test_our_own_server_answers(site: Place) -> None:
    site.edit("drain_seconds = 600", "drain_seconds = 0")
    with with_manager(site), serving(site) as server:
        code, rows = found(site, "--asterisk", asterisk_program(site))
        assert rows["FastAGI server"]["state"] == "ok", rows["FastAGI server"]
        assert code == 0
    assert server.returncode == 0
    assert run_json("--config", site.config, "log", "list")[1]["calls"] == []


def test_serve_does_not_start_with_what_is_not_usable(site: Place) -> None:
    site.log.write_bytes(b"something else, and not short" * 50)
    command = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(site.config), "serve"]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
    assert ended.returncode == 5
    assert "not a log of ivr-consent" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_paths_of_the_program_are_given(tmp_path: Path) -> None:
    """An unreadable configuration is a wrong configuration."""
    assert run_json("--config", tmp_path, "check")[0] == 3
