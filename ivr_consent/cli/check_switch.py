"""The half of ``ivr-consent check`` that talks: to our own server, to the manager interface, to Asterisk's program.

Every step has a deadline, and what may not be asked is said to be unchecked, with the reason.
"""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ivr_consent.cli.check_host import secret_problem
from ivr_consent.cli.findings import Area, Finding, State
from ivr_consent.cli.init import MANAGER_FILE
from ivr_consent.cli.links import DEADLINE_S, Link, is_loopback, listeners
from ivr_consent.cli.plain import DEFAULT_CONFIG
from ivr_consent.config import Manager, Settings
from ivr_consent.core.errors import ManagerError
from ivr_consent.pbx.asterisk import dialplan
from ivr_consent.pbx.asterisk.manager import GREETING, MAX_GREETING, MAX_MESSAGE, Headers, encode_action
from ivr_consent.pbx.asterisk.rights import NEEDED_ACTIONS, Rights, needed
from ivr_consent.pbx.asterisk.variables import CONSENT_SCRIPT, CONTEXT

MAX_OUTPUT: Final = 1 << 20
"""Bytes read of a program's answer; a large dialplan's context has some kilobytes."""

MAX_MESSAGES: Final = 100
"""Messages before the reply to an action; with events switched off, or filtered, there are none or few."""

FILTER_PROBE: Final = "IVR_CONSENT_CHECK"
"""Begins the name of a variable of Asterisk's own that tells whether events are filtered: nobody looks at it."""

PROBED: Final = 6
PROBE_S: Final = 0.05
"""How often it is looked for among the events, and how long before each time."""

MODULES: Final = (
    "res_agi",
    "app_mixmonitor",
    "app_stack",
    "func_callerid",
    "func_channel",
    "func_logic",
    "func_strings",
    "func_timeout",
)
"""What the gate in the dialplan uses."""

FEATURE_MODULES: Final = ("app_originate", "app_playtones", "func_env", "func_groupcount")
"""What the codes in the middle of a call use beside that."""

FEATURE_NAME: Final = 25
"""Columns of a name in ``features show``; the code that is in force comes last."""

_SCRIPT = re.compile(
    r"AGI\((?P<path>(?:[^,()\s]*/)?ivr-consent-agi|/[^,()\s]+),(?:[^\n]*,--config=(?P<configuration>[^,()\s]+)\))?"
)
_ECHO = re.compile(rb'GET FULL VARIABLE "?([0-9a-f]{16})"?\n')

Ask = Callable[[str], str]
"""A question for Asterisk's command line. Raises :class:`Unanswered`."""


class Unanswered(Exception):
    """Nobody here may or can ask Asterisk; the message says why."""


def findings(settings: Settings, program: str) -> Iterator[Finding]:
    """Everything of the switch."""

    def ask(question: str) -> str:
        return run_program(program, question)

    script = _script(ask)
    if script is None:
        yield from _server(settings)
        yield from _manager(settings, ask)
        yield from _dialplan(settings, ask)
    else:
        yield from _classic(settings, script)
        yield from _destinations(settings, ask)
    yield from _features(settings, ask)
    yield from _modules(settings, ask)


def _finding(name: str, state: State, found: str, remedy: str = "") -> Finding:
    return Finding(Area.SWITCH, name, state, found, remedy)


# --- the classic script instead of the server ----------------------------------------------------------------------


def _script(ask: Ask) -> re.Match[str] | None:
    """The call of ``ivr-consent-agi`` in the dialplan's gate, where that stands in place of the server's."""
    try:
        return _SCRIPT.search(ask(f"dialplan show {CONTEXT}"))
    except Unanswered:
        return None


def _classic(settings: Settings, script: re.Match[str]) -> Iterator[Finding]:
    path = Path(script["path"])
    write = f"ivr-consent dialplan --write /etc/asterisk/ivr-consent --script {path}, then dialplan reload"
    if path.is_absolute() and not os.access(path, os.X_OK):
        found = f"the context {CONTEXT} runs {path}, which is no program here"
        yield _finding("dialplan", State.PROBLEM, found, "install it there, or write the dialplan anew with --script")
    elif script["configuration"] and Path(script["configuration"]) != settings.source.absolute():
        found = f"the context {CONTEXT} runs {path} with another configuration, {script['configuration']}"
        yield _finding("dialplan", State.WARNING, found, f"look at that one with --config, or: {write}")
    else:
        yield _finding("dialplan", State.OK, f"the context {CONTEXT} runs the classic script {path} for each call")
    yield _finding("FastAGI server", State.OK, "not needed: the classic script does its work")
    yield _finding("manager", State.OK, "not needed: the classic script goes by the guard time")
    remedy = "see that cron runs it as the user that Asterisk runs as, every few minutes: ivr-consent sweep"
    found = "no server ends recordings that nobody reported, or erases those past their days"
    yield _finding("sweep", State.UNCHECKED, found, remedy)


# --- our own server ------------------------------------------------------------------------------------------------


def _server(settings: Settings) -> Iterator[Finding]:
    listen = ipaddress.ip_address(settings.server.listen)
    if not listen.is_loopback:
        found = f"listens on {listen}, beyond loopback"
        remedy = "whoever takes this port's place owns the switch: a network of its own, or server.listen = 127.0.0.1"
        yield _finding("FastAGI address", State.WARNING, found, remedy)
    if listen.is_unspecified:
        listen = ipaddress.ip_address("::1" if listen.version == 6 else "127.0.0.1")
    where = f"{listen} port {settings.server.port}"
    started = (
        "start it: systemctl start ivr-consent; until then every call goes unrecorded "
        "(a site with the classic script needs none: run this as root, so that the dialplan is seen)"
    )
    try:
        echoed = _is_our_server(str(listen), settings.server.port)
    except TimeoutError:
        yield _finding("FastAGI server", State.PROBLEM, f"{where} does not answer", "systemctl restart ivr-consent")
        return
    except (ConnectionResetError, BrokenPipeError):
        found = f"{where} closes at once"
        yield _finding("FastAGI server", State.PROBLEM, found, f"does server.allow name {listen}? is it full?")
        return
    except ManagerError:
        echoed = False
    except OSError as error:
        yield _finding("FastAGI server", State.PROBLEM, f"nobody answers on {where} ({error.strerror})", started)
        return
    if not echoed:
        remedy = "find out who listens there (ss -ltnp) and stop it at once: it can run commands on the switch"
        yield _finding("FastAGI server", State.PROBLEM, f"on {where} somebody else answers", remedy)
        return
    log = settings.log_file()
    uid = next((uid for _, uid in listeners(settings.server.port)), None)
    if uid is not None and log.exists() and log.stat().st_uid != uid:
        found = f"{where} belongs to user {uid}, the log to user {log.stat().st_uid}"
        yield _finding("FastAGI server", State.PROBLEM, found, "find out who listens there: ss -ltnp")
        return
    yield _finding("FastAGI server", State.OK, f"answers on {where}")


def _is_our_server(host: str, port: int) -> bool:
    """Begin a session as Asterisk does: ours asks for an echo first. It is for a script that does not exist."""
    values = {"network": "yes", "network_script": "check", "request": dialplan.SHIPPED_ADDRESS + "check"}
    values |= {"channel": "check", "language": "en", "type": "check", "uniqueid": "0.0", "version": "check"}
    values |= dict.fromkeys(("callerid", "calleridname"), "unknown")
    values |= dict.fromkeys(("callingpres", "callingani2", "callington", "callingtns"), "0")
    values |= {"dnid": "unknown", "rdnis": "unknown", "context": "check", "extension": "s", "priority": "1"}
    values |= {"enhanced": "0.0", "accountcode": "", "threadid": "0"}
    environment = "".join(f"agi_{name}: {value}\n" for name, value in values.items()) + "\n"
    with Link(host, port) as link:
        link.send(environment.encode())
        asked = _ECHO.fullmatch(link.until(b"\n", MAX_GREETING))
        if asked is not None:
            link.send(b"200 result=1 (" + asked[1] + b")\n")
        return asked is not None


# --- the manager interface --------------------------------------------------------------------------------------


class LoginRefused(Exception):
    """The manager interface knows neither this user nor this secret, or not from here."""


class TooMuch(ManagerError):  # says what happened, not that it is an error
    """So many events came that a reply was not found among them."""


class Conversation(Link):
    """One connection to the manager interface, an action at a time."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager.host, manager.port, ssl.create_default_context() if manager.tls else None)
        self.heard: list[Headers] = []
        """Events that came between the replies."""

    def log_in(self, username: str, secret: str) -> None:
        """The greeting and the login. Raises :class:`LoginRefused`, :class:`ManagerError`, :class:`OSError`."""
        if not self.until(b"\r\n", MAX_GREETING).startswith(GREETING):
            raise ManagerError("what answers is no manager interface")
        if self.action("Login", {"Username": username, "Secret": secret, "Events": "off"}).get("Response") != "Success":
            raise LoginRefused

    def action(self, name: str, headers: dict[str, str]) -> Headers:
        """Send one action; the headers of its reply."""
        action_id = os.urandom(8).hex()
        self.send(encode_action(name, action_id, headers))
        for _ in range(MAX_MESSAGES):
            message = self.until(b"\r\n\r\n", MAX_MESSAGE).decode("utf-8", "surrogateescape")
            lines: dict[str, list[str]] = {}
            for line in message.strip("\r\n").split("\r\n"):
                key, _, value = line.partition(": ")
                lines.setdefault(key, []).append(value)
            reply = Headers(lines)
            if reply.get("ActionID") == action_id and "Response" in reply:
                return reply
            self.heard.append(reply)
        raise TooMuch("no reply among many messages")


def _manager(settings: Settings, ask: Ask) -> list[Finding]:
    """What the manager connection is like."""
    manager = settings.manager
    if manager is None:
        found = "no [manager] table: a guard time after the question stands in for the manager link"
        directory = settings.source.absolute().parent
        init = "ivr-consent init" if directory == DEFAULT_CONFIG.parent else f"ivr-consent init --dir {directory}"
        remedy = (
            f'add two lines to {settings.source}: [manager] and secret_file = "manager.secret"; then {init} writes the '
            "secret and the manager user, and says what to include in manager.conf; then systemctl restart ivr-consent"
        )
        return [_finding("manager", State.WARNING, found, remedy)]
    rows: list[Finding] = []
    if not manager.tls and not is_loopback(manager.host):
        remedy = "set manager.tls = true, or use an Asterisk on this machine"
        rows.append(_finding("manager address", State.WARNING, f"{manager.host}: the secret travels in clear", remedy))
    path = settings.path(manager.secret_file)
    problem = secret_problem(path, "ivr-consent init makes it")
    if problem is not None:
        rows.append(_finding("manager secret", *problem))
    if not path.is_file() or not os.access(path, os.R_OK):
        return rows
    where = f"{manager.host} port {manager.port}"
    include = "include the file that ivr-consent init wrote in manager.conf, then: asterisk -rx 'manager reload'"
    try:
        with Conversation(manager) as conversation:
            conversation.log_in(manager.username, path.read_text().strip())
            rows.append(_finding("manager login", State.OK, f"{manager.username} on {where}"))
            allowed = _allowed(conversation)
            rows.append(_write_rights(allowed, needed(settings)))
            if needed(settings).filters and "Setvar" in allowed:
                rows.append(_filters(conversation, settings))
    except LoginRefused:
        rows.append(_finding("manager login", State.PROBLEM, f"{where} refuses {manager.username!r}", include))
    except TimeoutError:
        rows.append(_finding("manager login", State.PROBLEM, f"{where} does not answer", "is Asterisk well?"))
    except (OSError, ManagerError, ValueError) as error:
        found = f"{where} cannot be used ({getattr(error, 'strerror', None) or error})"
        remedy = "is Asterisk running, with enabled = yes in manager.conf? is manager.port right?"
        rows.append(_finding("manager login", State.PROBLEM, found, remedy))
    rows += _read_rights(manager, needed(settings), ask)
    return rows


def _allowed(conversation: Conversation) -> dict[str, str]:
    """Actions that the user may send and that need a right, with these rights."""
    listed = conversation.action("ListCommands", {})
    rights = {}
    for name in listed:
        match = re.search(r"\(Priv: ([^)]*)\)", listed[name])
        if match is not None and match[1] != "<none>":
            rights[name] = match[1]
    return rights


def _write_rights(allowed: dict[str, str], rights: Rights) -> Finding:
    write = ",".join(rights.write)
    unneeded = sorted(name for name, of in allowed.items() if not set(of.split(",")) & set(rights.write))
    missing = sorted(NEEDED_ACTIONS - allowed.keys()) if rights.write else []
    remedy = f"write = {write or '(nothing)'} for it in manager.conf, then: asterisk -rx 'manager reload'"
    if missing:
        found = f"may not send {', '.join(missing)}: the guard can stop nothing"
        return _finding("manager write rights", State.PROBLEM, found, remedy)
    if unneeded:
        found = f"may send {len(unneeded)} actions that it does not need ({', '.join(unneeded[:5])}, …)"
        return _finding("manager write rights", State.WARNING, found, remedy)
    return _finding("manager write rights", State.OK, write or "none, as it should be")


def _filters(conversation: Conversation, settings: Settings) -> Finding:
    """Whether the user is told only what the guard looks at: a variable is set that is none of that."""
    name = "manager event filters"
    probe = f"{FILTER_PROBE}_{os.urandom(4).hex()}"
    try:
        conversation.action("Events", {"EventMask": "dialplan"})
        conversation.action("Setvar", {"Variable": probe, "Value": ""})
        for _ in range(PROBED):
            time.sleep(PROBE_S)  # the event comes some milliseconds after the reply
            conversation.action("Ping", {})
            if any(event.get("Variable") == probe for event in conversation.heard):
                break
        else:
            return _finding(name, State.OK, "it is told what the guard looks at, and no more")
    except TooMuch:
        pass  # so many events between an action and its reply: nothing is filtered
    found = "it is told every step of every call: on a busy switch the guard hears of a recorder too late"
    remedy = (
        f"take the eventfilter lines over from the {MANAGER_FILE} that `ivr-consent init` writes into an empty "
        "directory, then: asterisk -rx 'manager reload'"
    )
    return _finding(name, State.WARNING, found, remedy)


def _read_rights(manager: Manager, rights: Rights, ask: Ask) -> list[Finding]:
    """What the user hears is known to Asterisk's command line alone."""
    wanted = ",".join(rights.read)
    try:
        user = ask(f"manager show user {manager.username}")
        settings = ask("manager show settings")
    except Unanswered as error:
        remedy = f"as root: asterisk -rx 'manager show user {manager.username}' (read perm: {wanted})"
        return [_finding("manager read rights", State.UNCHECKED, str(error), remedy)]
    rows = []
    read = re.search(r"read perm:\s*(\S+)", user)
    heard = set(read[1].split(",")) if read is not None else set()
    remedy = f"read = {wanted} for it in manager.conf, then: asterisk -rx 'manager reload'"
    if "all" not in heard and not heard >= set(rights.read):
        found = f"hears {', '.join(sorted(heard)) or 'nothing'}, and not {', '.join(sorted(set(rights.read) - heard))}"
        rows.append(_finding("manager read rights", State.PROBLEM, found, remedy))
    elif heard != set(rights.read):
        found = f"hears more than it needs: {', '.join(sorted(heard))}"
        rows.append(_finding("manager read rights", State.WARNING, found, remedy))
    else:
        rows.append(_finding("manager read rights", State.OK, wanted))
    if re.search(r"Timestamp events:\s*Yes", settings):
        rows.append(_finding("timestampevents", State.OK, "yes"))
    else:
        remedy = "timestampevents = yes in [general] of manager.conf: key presses are timed by it"
        rows.append(_finding("timestampevents", State.WARNING, "no", remedy))
    return rows


# --- Asterisk's own command line ---------------------------------------------------------------------------------


def run_program(program: str, question: str) -> str:
    """Ask Asterisk's program. Raises :class:`Unanswered` when it is missing, may not ask, or takes too long."""
    # Into a file, not a pipe: a child of the program that outlives it cannot hold us up.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [program, "-rx", question],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise Unanswered(f"the program {program!r} cannot be run ({error.strerror})") from None
        with process:
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its own group, made above, and not yet waited for
                raise Unanswered(f"{program!r} does not answer within {DEADLINE_S:g} s") from None
        output.seek(0)
        text = output.read(MAX_OUTPUT).decode("utf-8", "replace")
    if "Unable to connect to remote asterisk" in text:
        raise Unanswered("Asterisk's command line cannot be asked: it does not run, or this user may not")
    return text


def _dialplan(settings: Settings, ask: Ask) -> Iterator[Finding]:
    try:
        gate = ask(f"dialplan show {CONTEXT}")
    except Unanswered as error:
        remedy = f"as root: asterisk -rx 'dialplan show {CONTEXT}'"
        yield _finding("dialplan", State.UNCHECKED, str(error), remedy)
        return
    address = dialplan.address(settings) + CONSENT_SCRIPT
    include = f"#include ivr-consent/{dialplan.INCLUDE_FILE} in extensions.conf, then: asterisk -rx 'dialplan reload'"
    if f"Context '{CONTEXT}'" not in gate:
        yield _finding("dialplan", State.PROBLEM, f"the context {CONTEXT} is not loaded", include)
    elif f"AGI({address}," not in gate:
        remedy = "write it anew: ivr-consent dialplan --write /etc/asterisk/ivr-consent, then dialplan reload"
        yield _finding("dialplan", State.PROBLEM, f"the context {CONTEXT} does not call {address}", remedy)
    else:
        yield _finding("dialplan", State.OK, f"the context {CONTEXT} calls {address}")
    yield from _destinations(settings, ask)


def _destinations(settings: Settings, ask: Ask) -> Iterator[Finding]:
    """Whether lines with destinations are in the dialplan."""
    try:
        lines = ask(f"dialplan show {dialplan.LINES_CONTEXT}")
    except Unanswered:
        return
    routed = [name for name, line in settings.lines.items() if line.recorded is not None]
    missing = [name for name in routed if f"'{name}' =>" not in lines]
    if missing:
        found = f"not in the context {dialplan.LINES_CONTEXT}: {', '.join(missing)}"
        remedy = f"ivr-consent dialplan --write DIR, #include {dialplan.LINES_FILE}, then dialplan reload"
        yield _finding("dialplan lines", State.PROBLEM, found, remedy)


def _features(settings: Settings, ask: Ask) -> Iterator[Finding]:
    """Whether Asterisk knows the codes for the middle of a call: a notice may speak of one."""
    codes = dialplan.feature_codes(settings)
    if not codes:
        return
    try:
        rows = [
            (line[:FEATURE_NAME].strip(), line[FEATURE_NAME:].split()) for line in ask("features show").splitlines()
        ]
    except Unanswered as error:
        yield _finding("feature codes", State.UNCHECKED, str(error), "as root: asterisk -rx 'features show'")
        return
    known = {name: words[-1] for name, words in rows if name and words}
    wrong = [f"{code} ({name})" for name, code in codes.items() if known.get(name) != code]
    others = [
        f"{code} is also {name}"
        for name, code in known.items()
        if code in codes.values() and name not in codes and name != "Pickup"  # which is dialled, not pressed in a call
    ]
    if wrong:
        remedy = (
            f"#include ivr-consent/{dialplan.FEATURES_FILE} at the end of features.conf (written anew after a change: "
            "ivr-consent dialplan --write /etc/asterisk/ivr-consent), then: asterisk -rx 'module reload features'"
        )
        yield _finding("feature codes", State.PROBLEM, f"Asterisk does not know {', '.join(wrong)}", remedy)
    elif others:
        remedy = "give one of the two another code: [features] here, or features.conf"
        yield _finding("feature codes", State.WARNING, "; ".join(others), remedy)
    else:
        yield _finding("feature codes", State.OK, ", ".join(f"{code} ({name})" for name, code in codes.items()))


def _modules(settings: Settings, ask: Ask) -> Iterator[Finding]:
    try:
        shown = ask("module show")
    except Unanswered as error:
        yield _finding(
            "modules", State.UNCHECKED, str(error), "as root: asterisk -rx 'module show like app_mixmonitor'"
        )
        return
    running = {words[0] for line in shown.splitlines() if (words := line.split()) and " Running " in f"{line} "}
    needed = MODULES if settings.features is None else (*MODULES, *FEATURE_MODULES)
    missing = [name for name in needed if f"{name}.so" not in running]
    if missing:
        remedy = "load them in modules.conf, with what they depend on, then restart Asterisk"
        yield _finding("modules", State.PROBLEM, f"not running: {', '.join(missing)}", remedy)
    else:
        yield _finding("modules", State.OK, ", ".join(needed))
