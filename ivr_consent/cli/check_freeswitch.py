"""The half of ``ivr-consent check`` that talks, on FreeSWITCH: to our own server, and to the switch's event socket.

What is asked there reads and changes nothing. Every step has a deadline, and what could not be asked is said to be
unchecked, with the reason.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ivr_consent.cli import check_dialplan
from ivr_consent.cli.check_host import secret_problem
from ivr_consent.cli.findings import Area, Finding, State
from ivr_consent.cli.init_freeswitch import WELL_KNOWN
from ivr_consent.cli.links import DEADLINE_S, Link, is_loopback, listeners
from ivr_consent.config import EventSocket, Settings
from ivr_consent.core.errors import EventSocketError, ManagerError, ProtocolError
from ivr_consent.pbx.freeswitch import wire

OLDEST: Final = (1, 10)
"""The version that all this was seen on; what older ones do is not known."""

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer: a large dialplan's context has some hundred kilobytes."""

MODULES: Final = (
    "mod_commands",
    "mod_dptools",
    "mod_dialplan_xml",
    "mod_event_socket",
    "mod_sndfile",
)
"""What the gate, the prompts and the recorder use."""

FEATURE_MODULES: Final = ("mod_db",)
"""What the code in the middle of a call uses beside that: its mark outlives us."""

FOREIGN: Final = "192.0.2.1"
"""An address of nobody (RFC 5737): an access list that lets it in lets everyone in."""

OWN_ACL: Final = "loopback.auto"
"""The access list that FreeSWITCH uses where its event socket's configuration names none."""

SOCKET_FILE: Final = "autoload_configs/event_socket.conf.xml"

_LIST = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")

Ask = Callable[[str], str]
"""An API command to FreeSWITCH. Raises :class:`EventSocketError` and :class:`OSError`."""


def findings(settings: Settings) -> Iterator[Finding]:
    """Everything of the switch."""
    yield from _server(settings)
    yield from _event_socket(settings)


def _finding(name: str, state: State, found: str, remedy: str = "") -> Finding:
    return Finding(Area.SWITCH, name, state, found, remedy)


# --- our own server ------------------------------------------------------------------------------------------------


def _server(settings: Settings) -> Iterator[Finding]:
    """Whether it answers as ours does; it speaks first."""
    name, port = "socket server", settings.server.port
    listen = ipaddress.ip_address(settings.server.listen)
    if listen.is_unspecified:
        listen = ipaddress.ip_address("127.0.0.1")
    where = f"{listen} port {port}"
    yield from _reach(settings)
    try:
        with Link(str(listen), port) as link:
            ours = link.until(b"\n\n", wire.MAX_COMMAND) == wire.connect()
    except TimeoutError:
        remedy = "systemctl restart ivr-consent; if that does not help, find out who listens there: ss -ltnp"
        yield _finding(name, State.PROBLEM, f"{where} says nothing", remedy)
        return
    except ConnectionError as error:
        if isinstance(error, ConnectionRefusedError):
            remedy = "start it: systemctl start ivr-consent; until then every call goes unrecorded"
            yield _finding(name, State.PROBLEM, f"nobody answers on {where} ({error.strerror})", remedy)
        else:
            remedy = f"does server.allow name {listen}? is it full?"
            yield _finding(name, State.PROBLEM, f"{where} closes at once", remedy)
        return
    except ManagerError:
        ours = False
    except OSError as error:
        remedy = "start it: systemctl start ivr-consent; until then every call goes unrecorded"
        yield _finding(name, State.PROBLEM, f"nobody answers on {where} ({error.strerror})", remedy)
        return
    if not ours:
        remedy = "find out who listens there (ss -ltnp) and stop it at once: it can run commands on the switch"
        yield _finding(name, State.PROBLEM, f"on {where} somebody else answers", remedy)
        return
    log = settings.log_file()
    uid = next((uid for _, uid in listeners(port)), None)
    if uid is not None and log.exists() and log.stat().st_uid != uid:
        found = f"{where} belongs to user {uid}, the log to user {log.stat().st_uid}"
        yield _finding(name, State.PROBLEM, found, "find out who listens there: ss -ltnp")
        return
    yield _finding(name, State.OK, f"answers on {where}")


def _reach(settings: Settings) -> Iterator[Finding]:
    """Whether others than this machine can come to the server's port, by the configuration and by the kernel."""
    addresses = {settings.server.listen, *(address for address, _ in listeners(settings.server.port))}
    beyond = sorted(address for address in addresses if not is_loopback(address))
    if beyond:
        found = f"port {settings.server.port} listens on {', '.join(beyond)}, beyond loopback"
        remedy = "whoever takes this port's place owns the switch: a network of its own, or server.listen = 127.0.0.1"
        yield _finding("socket address", State.WARNING, found, remedy)


# --- the event socket ------------------------------------------------------------------------------------------------


class LoginRefused(Exception):
    """The event socket does not take this password."""


class NotLetIn(Exception):
    """The event socket's access list refuses this machine."""


class Conversation(Link):
    """One connection to the event socket, a command at a time."""

    def __init__(self, socket: EventSocket) -> None:
        super().__init__(socket.host, socket.port)
        self._wire = wire.Wire(max_body=MAX_ANSWER)

    def log_in(self, password: str) -> None:
        """Raises :class:`NotLetIn`, :class:`LoginRefused`, :class:`EventSocketError`, :class:`OSError`."""
        first = self._message()
        if isinstance(first, wire.Rejected):
            raise NotLetIn
        if not isinstance(first, wire.AuthRequest):
            raise EventSocketError("what answers is no event socket")
        self.send(wire.auth(password))
        reply = self._message()
        if not isinstance(reply, wire.Reply) or not reply.ok:
            raise LoginRefused

    def api(self, command: str) -> str:
        """What an API command prints."""
        self.send(wire.api(command))
        answer = self._message()
        if not isinstance(answer, wire.ApiResponse):
            raise EventSocketError(f"it does not answer {command.partition(' ')[0]!r}")
        return answer.body.strip()

    def _message(self) -> wire.Message:
        deadline = time.monotonic() + DEADLINE_S
        while (message := self._wire.next_message()) is None:
            self._wire.receive_data(self.more(deadline))
        return message


def _event_socket(settings: Settings) -> Iterator[Finding]:
    socket = settings.event_socket
    assert socket is not None
    if not is_loopback(socket.host):
        remedy = "use a FreeSWITCH on this machine: who reads the password can run anything on the switch"
        found = f"{socket.host}: the password travels in clear"
        yield _finding("event socket address", State.WARNING, found, remedy)
    path = settings.path(socket.password_file)
    problem = secret_problem(path, "write the event socket's password into it, or have ivr-consent init make both")
    if problem is not None:
        yield _finding("event socket password", *problem)
    password = _password(path)
    if password is None:
        if problem is None:
            remedy = "one line of plain characters, the one of FreeSWITCH's event_socket.conf.xml"
            yield _finding("event socket password", State.PROBLEM, f"{path} holds no password", remedy)
        return
    if password == WELL_KNOWN:
        found = f"{path} has the one that FreeSWITCH comes with, which everybody knows"
        remedy = f"another one in {SOCKET_FILE} and in this file, then: systemctl restart freeswitch"
        yield _finding("event socket password", State.PROBLEM, found, remedy)
    where = f"{socket.host} port {socket.port}"
    try:
        with Conversation(socket) as conversation:
            conversation.log_in(password)
            yield _finding("event socket", State.OK, f"logged in on {where}")
            yield from _asked(settings, conversation.api)
    except NotLetIn:
        remedy = f"apply-inbound-acl in {SOCKET_FILE} has to let this machine in: {OWN_ACL}"
        yield _finding("event socket", State.PROBLEM, f"the access list of {where} refuses us", remedy)
    except LoginRefused:
        remedy = f"the same password in {path} and in {SOCKET_FILE}, then: systemctl restart freeswitch"
        yield _finding("event socket", State.PROBLEM, f"{where} refuses the password", remedy)
    except TimeoutError:
        yield _finding(
            "event socket", State.PROBLEM, f"{where} does not answer", "is FreeSWITCH well? fs_cli -x status"
        )
    except (EventSocketError, ProtocolError, OSError) as error:
        found = f"{where} cannot be used ({getattr(error, 'strerror', None) or error})"
        remedy = f"is FreeSWITCH running, with mod_event_socket? is event_socket.port that of {SOCKET_FILE}?"
        yield _finding("event socket", State.PROBLEM, found, remedy)


def _password(path: Path) -> str | None:
    """The password, if there is one that can be sent."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return text if text and text.isprintable() and "\n" not in text else None


def _asked(settings: Settings, ask: Ask) -> Iterator[Finding]:
    """All that the switch is asked once we are logged in."""
    yield _version(ask)
    yield _modules(settings, ask)
    yield from _exposed(settings, ask)
    yield _expansion(ask)
    yield from check_dialplan.findings(settings, ask)
    yield from _folders(settings, ask)


def _version(ask: Ask) -> Finding:
    said = ask("version short")
    match = re.match(r"(\d{1,4})\.(\d{1,4})\b", said)
    if match is None:
        return _finding("version", State.UNCHECKED, "it does not tell its version", "as root: freeswitch -version")
    if (int(match[1]), int(match[2])) < OLDEST:
        found = f"FreeSWITCH {_shown(said)}"
        return _finding("version", State.PROBLEM, found, "use FreeSWITCH 1.10 or later: older ones were never tried")
    return _finding("version", State.OK, f"FreeSWITCH {_shown(said)}")


def _modules(settings: Settings, ask: Ask) -> Finding:
    needed = MODULES if settings.features is None else (*MODULES, *FEATURE_MODULES)
    missing = [name for name in needed if ask(f"module_exists {name}") != "true"]
    if missing:
        remedy = "load them in autoload_configs/modules.conf.xml, then: systemctl restart freeswitch"
        return _finding("modules", State.PROBLEM, f"not loaded: {', '.join(missing)}", remedy)
    return _finding("modules", State.OK, ", ".join(needed))


def _exposed(settings: Settings, ask: Ask) -> Iterator[Finding]:
    """Who can come to the event socket: where it listens, and whom its access list lets in."""
    socket = settings.event_socket
    assert socket is not None
    params = check_dialplan.params(ask("xml_locate configuration configuration name event_socket.conf"))
    addresses = {address for address, _ in listeners(socket.port)} if is_loopback(socket.host) else set()
    addresses = addresses or set(params.get("listen-ip", ["::"]))
    beyond = sorted(address for address in addresses if not is_loopback(address))
    lists = [name for name in params.get("apply-inbound-acl", []) if _LIST.fullmatch(name)] or [OWN_ACL]
    # All of them have to let somebody in.
    lets_in = all(ask(f"acl {FOREIGN} {name}") == "true" for name in lists)
    if params.get("password") == [WELL_KNOWN]:
        remedy = f"another one in {SOCKET_FILE} and in event_socket.password_file, then: systemctl restart freeswitch"
        found = "FreeSWITCH's configuration has the password that it comes with, which everybody knows"
        yield _finding("event socket password", State.PROBLEM, found, remedy)
    remedy = f'listen-ip "127.0.0.1" and apply-inbound-acl "{OWN_ACL}" in {SOCKET_FILE}, then restart FreeSWITCH'
    if beyond and lets_in:
        found = f"listens on {', '.join(beyond)}, and its access list {', '.join(lists)} lets everyone in"
        yield _finding("event socket reach", State.PROBLEM, found, remedy)
    elif beyond:
        found = f"listens on {', '.join(beyond)}; its access list {', '.join(lists)} alone keeps others out"
        yield _finding("event socket reach", State.WARNING, found, remedy)
    else:
        yield _finding("event socket reach", State.OK, f"{', '.join(sorted(addresses))}, by {', '.join(lists)}")


def _expansion(ask: Ask) -> Finding:
    """Whether ``${name(…)}`` in a dialplan's text runs an API command, whoever wrote that text."""
    said = ask("fsctl api_expansion")
    if "is off" in said:
        return _finding("api expansion", State.OK, "off")
    if "is on" not in said:
        remedy = "see that autoload_configs/switch.conf.xml says api-expansion false"
        return _finding("api expansion", State.UNCHECKED, "it does not tell", remedy)
    found = "on: a caller's words that reach an application's argument can run commands"
    remedy = (
        'api-expansion "false" in autoload_configs/switch.conf.xml, if no dialplan and no dial-string of yours needs '
        "${name(…)}; FreeSWITCH's shipped directory does (docs/freeswitch.md)"
    )
    return _finding("api expansion", State.WARNING, found, remedy)


def _shown(text: str) -> str:
    return "".join(character for character in text[:60] if character.isprintable())


# --- files -----------------------------------------------------------------------------------------------------------


def _folders(settings: Settings, ask: Ask) -> Iterator[Finding]:
    """Whether the switch's user can write recordings and read prompts, and the guard sees where else it records."""
    socket = settings.event_socket
    assert socket is not None
    spool = ask("global_getvar recordings_dir")
    if settings.guard.mode != "off" and spool.startswith("/") and not _within(spool, settings.guard.spool):
        remedy = f"add {_shown_path(spool)!r} to guard.spool, then: systemctl restart ivr-consent"
        found = f"FreeSWITCH writes recordings to {_shown_path(spool)}, where the guard takes no file away"
        yield _finding("guard spool", State.WARNING, found, remedy)
    uid = next((uid for _, uid in listeners(socket.port)), None) if is_loopback(socket.host) else None
    recordings = settings.path(settings.recordings.directory)
    if uid is None or not recordings.is_dir():
        remedy = "see that FreeSWITCH and ivr-consent run as one user, whose the recordings directory is"
        yield _finding("switch's user", State.UNCHECKED, "who FreeSWITCH runs as cannot be seen here", remedy)
        return
    owner = recordings.stat().st_uid
    if uid != owner:
        found = f"FreeSWITCH runs as user {uid}, {recordings} belongs to user {owner}"
        remedy = "run both as one user, and give it log, recordings, audio and keys"
        yield _finding("switch's user", State.PROBLEM, found, remedy)
        return
    audio = settings.path(settings.prompts.audio)
    if audio.is_dir() and uid not in (0, audio.stat().st_uid) and audio.stat().st_mode & 0o005 != 0o005:
        found = f"{audio} cannot be read by user {uid}, who FreeSWITCH runs as"
        yield _finding("switch's user", State.PROBLEM, found, f"chown -R {uid} {audio}")
        return
    if uid != 0 and _privileged(uid):
        found = "FreeSWITCH's process has capabilities, so its open files are hidden from ivr-consent"
        remedy = "take them from the program (setcap -r) and from its unit: else ends of recordings are seen late"
        yield _finding("switch's user", State.WARNING, found, remedy)
        return
    yield _finding("switch's user", State.OK, f"user {uid}, whose the recordings are too")


def _within(path: str, folders: list[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _shown_path(path: str) -> str:
    return _shown(path.replace("'", "?"))


def _privileged(uid: int) -> bool:
    """Whether a FreeSWITCH of this user holds capabilities: then nobody without them may look into its /proc."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        mine = fields.get("Name") == "freeswitch" and fields.get("Uid", "").split("\t")[0] == str(uid)
        if mine and int(fields.get("CapPrm", "0"), 16):
            return True
    return False
