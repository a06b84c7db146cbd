"""The words of AGI as Asterisk says and reads them: the environment, a command's words, an address."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ivr_consent.pbx.asterisk import variables

AGI_PORT: Final = 4573
"""Of a FastAGI address that names none."""

VERSION_22: Final = "22.10.1+dfsg+~cs6.17.60671434-1"
VERSION_16: Final = "16.28.0~dfsg-0+deb11u4"


class Address(NamedTuple):
    host: str
    port: int
    script: str


def server_of(agi: str) -> Address | None:
    """The server of a FastAGI address; ``None`` for a program. Raises :class:`ValueError`."""
    if not agi.startswith("agi://"):
        return None
    parts = urlsplit(agi)
    if parts.hostname is None:
        raise ValueError(f"{agi!r} names no host; write agi://host:port/script")
    return Address(parts.hostname, parts.port or AGI_PORT, agi.removeprefix("agi://").partition("/")[2])


def missing(program: str) -> bool:
    """Whether there is no such program."""
    return shutil.which(program) is None and not Path(program).exists()


def environment(
    script: str = variables.CONSENT_SCRIPT,
    arguments: tuple[str, ...] = ("support",),
    *,
    address: str = "127.0.0.1:4573",
    channel: str = "PJSIP/phone-00000001",
    uniqueid: str = "1795300754.9",
    language: str = "en",
    version: str = VERSION_22,
    caller: str = "4512345678",
    name: str = "unknown",
    context: str = variables.CONTEXT,
    extension: str = "s",
    priority: str = "15",
    dnid: str = "unknown",
    network: bool = True,
) -> bytes:
    """The environment block of a call, as Asterisk writes it: nothing in a value is escaped.

    Without ``network`` it is that of a program, whose path the script is.
    """
    lines = {
        "network": "yes",
        "network_script": script,
        "request": f"agi://{address}/{script}" if network else script,
        "channel": channel,
        "language": language,
        "type": "PJSIP",
        "uniqueid": uniqueid,
        "version": version,
        "callerid": caller or "unknown",
        "calleridname": name or "unknown",
        "callingpres": "0",
        "callingani2": "0",
        "callington": "0",
        "callingtns": "0",
        "dnid": dnid,
        "rdnis": "unknown",
        "context": context,
        "extension": extension,
        "priority": priority,
        "enhanced": "0.0",
        "accountcode": "",
        "threadid": "140448194393792",
        **{f"arg_{number}": word for number, word in enumerate(arguments, 1)},
    }
    if not script or not network:
        del lines["network_script"]
    if not network:
        del lines["network"]
    text = "".join(f"agi_{key}: {value}\n" for key, value in lines.items())
    return (text + "\n").encode("utf-8", "surrogateescape")


def words_of(line: str) -> list[str]:
    """Split a command as Asterisk does: quotation marks keep white space, a backslash takes the next as it is."""
    words: list[str] = []
    quoted = escaped = False
    between = True
    for character in line:
        if not escaped:
            if character == "\\":
                escaped = True
                continue
            if character == '"':
                quoted = not quoted
                if quoted and between:
                    words.append("")
                    between = False
                continue
            if character in " \t" and not quoted:
                between = True
                continue
        if between:
            words.append("")
            between = False
        words[-1] += character
        escaped = False
    return words
