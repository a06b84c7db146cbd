"""ivr-consent check on FreeSWITCH: every fault is found, each with its remedy; what it asks changes nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ivr_consent import config
from ivr_consent import workshop as workshop_module
from ivr_consent.cli import check_freeswitch, links
from tests.cli.freeswitch import HANGS, EventSocketAnswers, FreeSwitchPlace, answers, configuration, event_socket
from tests.cli.support import run, run_json
from tests.sites import instant_build

READS = ("version short", "module_exists ", "xml_locate ", "acl ", "fsctl api_expansion", "global_getvar ")
"""API commands that change nothing; ``fsctl api_expansion`` without a value tells what is set."""

DIALPLAN = "xml_locate dialplan context name ivr-consent"
SOCKET = "xml_locate configuration configuration name event_socket.conf"

Rows = dict[str, dict[str, str]]


def found(place: FreeSwitchPlace) -> tuple[int, Rows]:
    """The exit code, and the worst finding of each name in the switch's area."""
    code, document = run_json("--config", place.config, "check")
    order = ["ok", "not checked", "warning", "problem"]
    rows: list[dict[str, str]] = sorted(document["findings"], key=lambda row: order.index(row["state"]))
    assert all(row["remedy"] for row in rows if row["state"] != "ok")
    return code, {row["name"]: row for row in rows if row["area"] == "switch"}


def told(place: FreeSwitchPlace, change: Callable[[EventSocketAnswers], None]) -> Rows:
    """What is found on a switch that is as it should be but for a change."""
    with service(place):
        said = answers(place)
        change(said)
        with event_socket(place, said):
            return found(place)[1]


@contextlib.contextmanager
def service(place: FreeSwitchPlace, words: bytes | None = b"connect\n\n") -> Iterator[None]:
    """Somebody on our server's port: says these words to whoever connects, or closes at once."""
    port = config.load(place.config).server.port
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        place.edit(
            f'listen = "127.0.0.1"\nport = {port}\n', f'listen = "127.0.0.1"\nport = {server.getsockname()[1]}\n'
        )

        def accept() -> None:
            held = []
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    if words is None:
                        connection.close()
                    else:
                        held.append(connection)
                        connection.sendall(words)
            for connection in held:
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(10)


@pytest.fixture(scope="session")
def _published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a published notice, of which no voice has spoken a word."""
    place = FreeSwitchPlace(tmp_path_factory.mktemp("freeswitch-site"))
    assert run(*place.init("--example-facts")).exit_code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workshop_module, "build_prompts", instant_build)
        for verb in ("build", "publish"):
            done = run("--config", place.config, "prompts", verb)
            assert done.exit_code == 0, done.output
    return place.root


@pytest.fixture
def there(tmp_path: Path, _published: Path) -> FreeSwitchPlace:
    """A copy of it, on ports on which nobody listens."""
    place = FreeSwitchPlace(tmp_path / "site")
    shutil.copytree(_published, place.root)
    place.config.write_text(place.config.read_text().replace(str(_published), str(place.root)))
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        place.edit("\nport = 8084\n", f"\nport = {one.getsockname()[1]}\n")
        place.edit("\nport = 8021\n", f"\nport = {two.getsockname()[1]}\n")
    return place


def test_a_switch_that_is_as_it_should_be(there: FreeSwitchPlace) -> None:
    with service(there), event_socket(there) as said:
        code, rows = found(there)
    assert {name: row["state"] for name, row in rows.items() if row["state"] != "ok"} == {}
    assert code == 0
    assert {"socket server", "event socket", "dialplan", "destinations", "modules", "version"} <= rows.keys()
    assert said.asked
    assert [command for command in said.asked if not command.startswith(READS)] == []
    assert not any("api_expansion " in command for command in said.asked)


def test_nobody_is_there(there: FreeSwitchPlace) -> None:
    before = there.files()
    code, rows = found(there)
    assert {name for name, row in rows.items() if row["state"] == "problem"} == {"socket server", "event socket"}
    assert code == 4
    assert "systemctl start ivr-consent" in rows["socket server"]["remedy"]
    after = there.files()
    assert {name: text for name, text in after.items() if "decisions.db" not in name} == {
        name: text for name, text in before.items() if "decisions.db" not in name
    }


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (b"220 smtp ready\r\n\n\n", "somebody else answers"),
        (b"connect \n\n", "somebody else answers"),
        (b"x" * 10_000, "somebody else answers"),
        (b"", "says nothing"),
        (None, "closes at once"),
    ],
)
def test_who_answers_on_the_servers_port(there: FreeSwitchPlace, words: bytes | None, what: str) -> None:
    """Whoever has that port can run commands on the switch."""
    with service(there, words):
        row = found(there)[1]["socket server"]
    assert (row["state"], what in row["found"]) == ("problem", True), row


def test_a_server_that_others_can_reach(there: FreeSwitchPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_freeswitch, "listeners", lambda _: [("0.0.0.0", 0)])
    row = found(there)[1]["socket address"]
    assert row["state"] == "warning"
    assert "0.0.0.0" in row["found"]


def test_the_password_is_tried_and_never_told(there: FreeSwitchPlace) -> None:
    with event_socket(there) as said:
        said.password = "another-password"
        row = found(there)[1]["event socket"]
        assert (row["state"], "refuses the password" in row["found"]) == ("problem", True)
        there.password.write_text("another-password\n")
        result = run("--config", there.config, "check")
    assert "logged in" in result.stdout
    assert "another-password" not in result.stdout
    assert "hidden" not in result.stdout


def test_the_password_that_everybody_knows(there: FreeSwitchPlace) -> None:
    """In our file or in FreeSWITCH's."""
    there.password.write_text("ClueCon\n")

    def clue(said: EventSocketAnswers) -> None:
        said.password = "ClueCon"

    row = told(there, clue)["event socket password"]
    assert (row["state"], "everybody knows" in row["found"]) == ("problem", True)
    there.password.write_text("a-better-password\n")

    def theirs(said: EventSocketAnswers) -> None:
        said.password = "a-better-password"
        said.answers[SOCKET] = configuration("event_socket.conf", {"listen_ip": "127.0.0.1", "password": "ClueCon"})

    assert told(there, theirs)["event socket password"]["state"] == "problem"


@pytest.mark.parametrize("text", ["", "two\nlines", None])
def test_a_password_file_that_holds_none(there: FreeSwitchPlace, text: str | None) -> None:
    there.password.unlink()
    if text is not None:
        there.password.write_text(text)
        there.password.chmod(0o600)
    row = found(there)[1]["event socket password"]
    assert row["state"] == "problem"


def test_a_password_file_that_others_can_read(there: FreeSwitchPlace) -> None:
    """R15."""
    there.password.chmod(0o644)
    row = found(there)[1]["event socket password"]
    assert (row["state"], row["remedy"]) == ("problem", f"chmod 600 {there.password}")


@pytest.mark.parametrize(
    ("greeting", "what"),
    [
        (b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n", "access list"),
        (b"Asterisk Call Manager/11.0.0\r\n\n", "cannot be used"),
        (b"Content-Type: command/reply\nReply-Text: +OK\n\n", "no event socket"),
        (b"", "does not answer"),
    ],
)
def test_something_else_on_the_event_sockets_port(there: FreeSwitchPlace, greeting: bytes, what: str) -> None:
    said = answers(there)
    said.greeting = greeting
    with event_socket(there, said):
        row = found(there)[1]["event socket"]
    assert (row["state"], what in row["found"]) == ("problem", True), row


@pytest.mark.parametrize(
    ("command", "answer", "name", "state", "what"),
    [
        ("version short", "1.8.7-release", "version", "problem", "FreeSWITCH 1.8.7"),
        ("version short", "-ERR no reply", "version", "not checked", "does not tell"),
        ("module_exists mod_sndfile", "false", "modules", "problem", "mod_sndfile"),
        ("module_exists mod_db", "false", "modules", "problem", "mod_db"),
        ("fsctl api_expansion", "+OK api_expansion is on \n", "api expansion", "warning", "run commands"),
        ("fsctl api_expansion", "-ERR", "api expansion", "not checked", "does not tell"),
        (DIALPLAN, "can't find anything\n", "dialplan", "problem", "is not loaded"),
        (DIALPLAN, "<context", "dialplan", "problem", "cannot be read"),
        (DIALPLAN, "<!DOCTYPE x><context/>", "dialplan", "problem", "cannot be read"),
        ("xml_locate dialplan context name queues", "can't find anything", "destinations", "problem", "recorded"),
        (
            "xml_locate dialplan context name queues",
            '<context name="queues"><extension name="a"><condition field="destination_number" '
            'expression="^support_recorded$"></condition></extension></context>',
            "destinations",
            "problem",
            "support_unrecorded XML queues (line support)",
        ),
        (
            "xml_locate dialplan context name queues",
            '<context name="queues"><extension name="a"><condition field="${destination_number}" '
            'expression="^(?|support)$"></condition></extension></context>',
            "destinations",
            "not checked",
            "cannot be told",
        ),
        (
            "xml_locate dialplan context name queues",
            '<context name="queues"><extension name="all" continue="true"><condition field="destination_number" '
            'expression="^(.*)$"></condition></extension></context>',
            "destinations",
            "not checked",
            "support_recorded XML queues",
        ),
        ("global_getvar recordings_dir", "/mnt/elsewhere", "guard spool", "warning", "/mnt/elsewhere"),
    ],
)
def test_what_the_switch_tells(
    there: FreeSwitchPlace, command: str, answer: str, name: str, state: str, what: str
) -> None:
    def change(said: EventSocketAnswers) -> None:
        assert command in said.answers
        said.answers[command] = answer

    row = told(there, change)[name]
    assert (row["state"], what in row["found"]) == (state, True), row


def test_a_switch_that_stops_to_answer(there: FreeSwitchPlace) -> None:
    """What was told before stands; the rest is not taken for good."""

    def change(said: EventSocketAnswers) -> None:
        said.answers["fsctl api_expansion"] = HANGS

    rows = told(there, change)
    assert (rows["event socket"]["state"], "does not answer" in rows["event socket"]["found"]) == ("problem", True)
    assert rows["version"]["state"] == "ok"
    assert "dialplan" not in rows


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('application="sched_transfer" data="+15', 'application="sched_transfer" data="+900', "'support' is changed"),
        ("^granted$", "^(granted|failed)$", "'support, the result' is changed"),
        ("anti-action", "action", "'support, the result' is changed"),
        ("async full", "full", "'support' is changed"),
        (
            "</context>",
            '<extension name="more"><condition><action application="answer"/></condition></extension></context>',
            "'more' is not of ours",
        ),
    ],
)
def test_a_dialplan_that_is_not_what_this_version_writes(there: FreeSwitchPlace, old: str, new: str, what: str) -> None:
    """R6: what keeps a call safe from a dead server stands there; a hand that changed it is found."""

    def change(said: EventSocketAnswers) -> None:
        assert old in said.answers[DIALPLAN]
        said.answers[DIALPLAN] = said.answers[DIALPLAN].replace(old, new)

    row = told(there, change)["dialplan"]
    assert (row["state"], what in row["found"]) == ("problem", True), row
    assert "ivr-consent dialplan --write" in row["remedy"]


@pytest.mark.parametrize(
    ("listening", "acl", "state", "what"),
    [
        ("127.0.0.1", "wide", "ok", "127.0.0.1"),
        ("0.0.0.0", "tight", "warning", "alone keeps others out"),
        ("::", None, "warning", "loopback.auto alone"),
        ("::", "wide", "problem", "lets everyone in"),
        ("192.0.2.7", "wide", "problem", "lets everyone in"),
    ],
)
def test_who_can_come_to_the_event_socket(
    there: FreeSwitchPlace, monkeypatch: pytest.MonkeyPatch, listening: str, acl: str | None, state: str, what: str
) -> None:
    """As the kernel has it: what the configuration says now may not be what it said when the port was opened."""
    real = links.listeners
    monkeypatch.setattr(check_freeswitch, "listeners", lambda port: [(listening, uid) for _, uid in real(port)])

    def change(said: EventSocketAnswers) -> None:
        params = {"listen_ip": "127.0.0.1", **({"apply_inbound_acl": acl} if acl else {})}
        said.answers[SOCKET] = configuration("event_socket.conf", params)

    row = told(there, change)["event socket reach"]
    assert (row["state"], what in row["found"]) == (state, True), row


def test_a_switch_of_another_user(there: FreeSwitchPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_freeswitch, "listeners", lambda _: [("127.0.0.1", 4711)])
    row = told(there, lambda _: None)["switch's user"]
    assert row["state"] == "problem"
    assert "runs as user 4711" in row["found"]


def test_listeners_are_those_of_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as four:
        assert links.listeners(four.getsockname()[1]) == [("127.0.0.1", os.getuid())]
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        assert links.listeners(six.getsockname()[1]) == [("::1", os.getuid())]
