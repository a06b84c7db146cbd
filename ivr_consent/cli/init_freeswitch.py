"""What ``ivr-consent init`` writes for FreeSWITCH alone, and what an administrator of one does next."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from xml.sax.saxutils import quoteattr, unescape

from ivr_consent.cli import files
from ivr_consent.core.errors import ConsentError

if TYPE_CHECKING:
    from ivr_consent.config import EventSocket, Settings

DIALPLAN_FOLDER: Final = "dialplan"
"""Of FreeSWITCH's configuration, which as shipped includes every file in it."""

SOCKET_FILE: Final = "event_socket.conf.xml"
"""FreeSWITCH's file of its event socket; ours beside our configuration is one to put in its place."""

MODULES_FOLDER: Final = "autoload_configs"
"""Of FreeSWITCH's configuration, where that file is."""

WELL_KNOWN: Final = "ClueCon"
"""The password that FreeSWITCH comes with; everybody knows it."""

MAX_FILE: Final = 1 << 20
"""Characters of FreeSWITCH's file that are looked at."""

_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_PARAM: Final = re.compile(r"<param\s+name\s*=\s*[\"']([\w-]+)[\"']\s+value\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_PASSWORD: Final = re.compile(r"[!-~]{8,200}")


class Writer(Protocol):
    """Makes files and directories, or says what it would make."""

    @property
    def user(self) -> files.Owner | None:
        """The switch's user, where files may be given to it."""
        ...

    def directory(self, path: Path, mode: int, owner: files.Owner | None = None) -> None:
        """A directory."""
        ...

    def file(self, path: Path, text: str, mode: int, owner: files.Owner | None = None) -> None:
        """A file."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What FreeSWITCH's own file says of its event socket; empty where it says nothing, or cannot be read."""

    password: str = ""
    port: int | None = None


def found(etc: Path) -> Found:
    """Read FreeSWITCH's file. Values that name a variable of its own (``$${…}``) are none."""
    try:
        with (etc / MODULES_FOLDER / SOCKET_FILE).open(encoding="utf-8", errors="replace") as file:
            text = _COMMENT.sub("", file.read(MAX_FILE))
    except OSError:
        return Found()
    params = {name: unescape(one or other, {"&quot;": '"', "&apos;": "'"}) for name, one, other in _PARAM.findall(text)}
    password, port = params.get("password", ""), params.get("listen-port", "")
    usable = _PASSWORD.fullmatch(password) and "$" not in password
    return Found(password if usable else "", int(port) if re.fullmatch(r"[1-9][0-9]{0,4}", port) else None)


def write(writer: Writer, settings: Settings, etc: Path, readable: files.Owner | None) -> None:
    """The password, the event socket's file where FreeSWITCH lacks the password, and the dialplan."""
    from ivr_consent.pbx.freeswitch.dialplan import render_files

    socket = settings.event_socket
    assert socket is not None
    dialplan = render_files(settings)
    password, known = _password(settings, etc)
    writer.file(settings.path(socket.password_file), password + "\n", 0o600, writer.user)
    if not known:
        writer.file(settings.source.parent / SOCKET_FILE, socket_file(socket, password), 0o640, readable)
    writer.directory(etc / DIALPLAN_FOLDER, 0o755)
    for name, content in dialplan.items():
        writer.file(etc / DIALPLAN_FOLDER / name, content, 0o644)


def _password(settings: Settings, etc: Path) -> tuple[str, bool]:
    """The event socket's password, and whether FreeSWITCH has it already: ours, else FreeSWITCH's, else a new one."""
    socket = settings.event_socket
    assert socket is not None
    path, theirs = settings.path(socket.password_file), found(etc).password
    if files.exists(path):
        ours = files.read(path).strip()
        if ours == WELL_KNOWN:
            raise ConsentError(f"{path} holds the password that everybody knows; remove it, then try again")
        if not _PASSWORD.fullmatch(ours):
            raise ConsentError(f"{path} holds no usable password; remove it, then try again")
        return ours, ours == theirs
    if theirs and theirs != WELL_KNOWN:
        return theirs, True
    return secrets.token_urlsafe(32), False


def socket_file(socket: EventSocket, password: str) -> str:
    """A whole file for FreeSWITCH's event socket: loopback alone, with an access list and this password."""
    return f"""\
<!-- FreeSWITCH's event socket, on loopback alone. Written by `ivr-consent init` to be put in the place of
     {MODULES_FOLDER}/{SOCKET_FILE}. Who has the password can run anything on the switch. -->
<configuration name="event_socket.conf" description="Socket Client">
  <settings>
    <param name="nat-map" value="false"/>
    <param name="listen-ip" value="127.0.0.1"/>
    <param name="listen-port" value="{socket.port}"/>
    <param name="password" value={quoteattr(password)}/>
    <param name="apply-inbound-acl" value="loopback.auto"/>
    <param name="stop-on-bind-error" value="true"/>
  </settings>
</configuration>
"""


def next_steps(settings: Settings, etc: Path, program: str, unit: Path, user: str, lasts: str) -> list[dict[str, Any]]:
    """What to do, in order: each with the lines to type or to write."""
    line = next(iter(settings.lines))
    theirs = etc / MODULES_FOLDER / SOCKET_FILE
    offered = unit.parent / SOCKET_FILE
    known = _password(settings, etc)[1]
    take = "fs_cli -x reloadxml" if known else "systemctl restart freeswitch"
    return [
        _password_step(theirs, offered, user, known=known),
        _calls_step(settings, etc, line),
        {
            "do": "Then:",
            "lines": [
                f"write what the notices say about you: [facts.default] in {settings.source}",
                f"{program} prompts check",
                f"{program} prompts build",
                f"{program} prompts play {line}",
                f"{program} prompts publish",
                f"systemctl enable --now {unit}",
                take,
                f"{program} check",
                f"{program} call {line} --keys {settings.lines[line].keys.yes} --no-log",
            ],
        },
        {
            "do": "Then dial the number. The window for your answer opens after the notice and its question, with the "
            f"shipped one after {lasts}; a yes before that does not count. What came of it: {program} log list",
            "lines": [],
        },
    ]


def _password_step(theirs: Path, offered: Path, user: str, *, known: bool) -> dict[str, Any]:
    if known:
        return {
            "do": f"The event socket's password is the one of {theirs}. See that this file says, so that nobody else "
            "can come to it:",
            "lines": [
                '<param name="listen-ip" value="127.0.0.1"/>',
                '<param name="apply-inbound-acl" value="loopback.auto"/>',
            ],
        }
    return {
        "do": "Give FreeSWITCH's event socket a password that nobody knows, and let it listen on loopback alone (or "
        f"change these values in {theirs}, if you changed more in it); from then on fs_cli needs -p PASSWORD:",
        "lines": [f"install -m 640 -o {user} -g {user} {offered} {theirs}"],
    }


def _calls_step(settings: Settings, etc: Path, line: str) -> dict[str, Any]:
    from ivr_consent.pbx.freeswitch.variables import CONTEXT

    places = [settings.lines[line].recorded or "", settings.lines[line].unrecorded or ""]
    names = " and ".join(dict.fromkeys(place.split(" ")[0] for place in places))
    contexts = " and ".join(dict.fromkeys(place.split(" ")[-1] for place in places))
    return {
        "do": f"Send calls in: an extension in {etc / DIALPLAN_FOLDER}, in the context calls arrive in. Where they "
        f"go on, {names} in the context {contexts}, are extensions of yours too: the same queue, neither records:",
        "lines": [
            f'<extension name="{line}, with consent">',
            '  <condition field="destination_number" expression="^12345678$">',
            f'    <action application="transfer" data="{line} XML {CONTEXT}"/>',
            "  </condition>",
            "</extension>",
        ],
    }
