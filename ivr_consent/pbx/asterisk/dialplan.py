"""What goes into Asterisk's dialplan: the gate as shipped, and a context that routes the configured lines."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final

from ivr_consent.config import DIALPLAN_PLACE, LINE_NAME, Line, Settings
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConfigurationError, ConsentError, Problem
from ivr_consent.pbx.asterisk.variables import (
    CONFIGURATION_ARGUMENT,
    CONSENT_SCRIPT,
    CONTEXT,
    ENDED_ARGUMENT,
    ENDED_SCRIPT,
    RESULT,
    WITHDRAW_ARGUMENT,
    WITHDRAW_SCRIPT,
)
from ivr_consent.site import shipped

INCLUDE_FILE: Final = "extensions_consent.conf"
LINES_FILE: Final = "extensions_consent_lines.conf"

FEATURES_FILE: Final = "features_consent.conf"
"""For features.conf, not for the dialplan."""

WITHDRAW_FEATURE: Final = "ivr-consent-withdraw"
ASK_FEATURE: Final = "ivr-consent-ask"
"""Names of the codes in Asterisk's application map, and of the contexts that they run."""

LINES_CONTEXT: Final = "ivr-consent-line"
"""Context with an extension for each line that has destinations: ``Goto(ivr-consent-line,support,1)``."""

MARK: Final = "Written by `ivr-consent dialplan`"
"""Stands in a comment at the head of every file of ours: only such files are ever written anew."""

MARK_WITHIN: Final = 2000
"""Characters of a file in which its mark is looked for."""

SHIPPED_ADDRESS: Final = "agi://127.0.0.1:4573/"
DRAFT_ADDRESS: Final = "agi://127.0.0.1:4574/"
"""The addresses in the shipped file, of the service and of a draft's trial; nothing else in it is replaced."""

SHIPPED_RECORDINGS: Final = "/var/lib/ivr-consent/recordings/"
"""Where the shipped file puts the mark of a withdrawal."""

SHIPPED_CODES: Final = f"Set(LOCAL(codes)={WITHDRAW_FEATURE}#{ASK_FEATURE})"

MARKS: Final = 2
"""How often it does."""

_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9_./-]+")

SPECIAL_EXTENSIONS: Final = frozenset({"a", "e", "fax", "h", "i", "o", "s", "t", "T"})
"""Extensions that Asterisk goes to of itself: a line of such a name would be called by nobody."""


def address(settings: Settings, port: int | None = None) -> str:
    """What stands before the script's name in ``AGI()``: an address, never a name to be resolved."""
    listen = ipaddress.ip_address(settings.server.listen)
    if listen.is_unspecified:
        listen = ipaddress.ip_address("::1" if listen.version == 6 else "127.0.0.1")
    host = f"[{listen}]" if listen.version == 6 else str(listen)
    return f"agi://{host}:{settings.server.port if port is None else port}/"


def render_include(settings: Settings, script: Path | None = None) -> str:
    """The gate, with the configured address of the server, or with the classic AGI script instead of a server.

    ``script`` is the absolute path of ``ivr-consent-agi``. Raises :class:`ConsentError` when the shipped file is not
    as it was, or a path cannot stand in a dialplan.
    """
    path = shipped("dialplan") / INCLUDE_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConsentError(f"{path} cannot be read ({error.strerror}); install ivr-consent again") from None
    scripts = (CONSENT_SCRIPT, ENDED_SCRIPT, WITHDRAW_SCRIPT)
    calls = tuple(f"AGI({SHIPPED_ADDRESS}{name}," for name in scripts)
    draft = f"AGI({DRAFT_ADDRESS}{CONSENT_SCRIPT},"
    expected = (*calls, draft)
    if not is_ours(text) or any(text.count(call) != 1 for call in expected) or text.count("agi://") != len(expected):
        raise ConsentError(f"{path} has been changed; install ivr-consent again")
    if text.count(SHIPPED_RECORDINGS) != MARKS or text.count(SHIPPED_CODES) != 1:
        raise ConsentError(f"{path} has been changed; install ivr-consent again")
    text = text.replace(DRAFT_ADDRESS, address(settings, settings.server.draft_port))
    text = text.replace(SHIPPED_RECORDINGS, f"{settings.path(settings.recordings.directory)}/")
    text = text.replace(SHIPPED_CODES, f"Set(LOCAL(codes)={'#'.join(feature_codes(settings))})")
    if script is None:
        return text.replace(SHIPPED_ADDRESS, address(settings))
    for needed in (script, settings.source):
        if not _PLAIN_PATH.fullmatch(str(needed)):
            raise ConsentError(f"{needed} cannot stand in a dialplan; use a path of letters, digits and / . _ -")
    # The configuration comes last, after what the gate passes: an argument of the process, not of the session.
    for call, argument in zip(calls, ("", f"{ENDED_ARGUMENT},", f"{WITHDRAW_ARGUMENT},"), strict=True):
        text = text.replace(call, f"AGI({script},{argument}")
    lines = []
    for line in text.splitlines(keepends=True):
        ours = f"AGI({script}," in line
        lines.append(f"{line.rstrip()[:-1]},{CONFIGURATION_ARGUMENT}{settings.source})\n" if ours else line)
    return "".join(lines)


def render_lines(settings: Settings) -> str:
    """The context that asks on a line and then routes by itself; what it falls through to is the unrecorded line.

    Raises :class:`ConfigurationError` for a line that cannot be an extension.
    """
    parts = [
        f"; ivr-consent: the lines of the configuration that have destinations. {MARK}; do not edit.\n"
        f"; Send a call there with: Goto({LINES_CONTEXT},LINE,1)\n\n"
        f"[{LINES_CONTEXT}]\n"
    ]
    parts += [
        _extension(settings, name, line, line.recorded, line.unrecorded)
        for name, line in settings.lines.items()
        if line.recorded is not None and line.unrecorded is not None
    ]
    if len(parts) == 1:
        parts.append(
            "; No line has destinations: set recorded and unrecorded of a line, or branch in your own dialplan.\n"
        )
    return "".join(parts)


def _extension(settings: Settings, name: str, line: Line, recorded: str, unrecorded: str) -> str:
    if name in SPECIAL_EXTENSIONS:
        problem = Problem(
            f"{settings.source}: lines.{name}",
            f"{name!r} is an extension that Asterisk goes to of itself",
            "give the line another name, or remove its destinations and branch in your own dialplan",
        )
        raise ConfigurationError(str(settings.source), (problem,))
    # Checked when the configuration was read; checked again where it becomes dialplan (I6).
    if not (LINE_NAME.fullmatch(name) and DIALPLAN_PLACE.fullmatch(recorded) and DIALPLAN_PLACE.fullmatch(unrecorded)):
        raise ConsentError(f"line {name!r} cannot be written into a dialplan; correct its name and destinations")
    return (
        f"\n; {', '.join(line.purposes)}; in {', '.join(line.languages)}\n"
        f"exten => {name},1,Gosub({CONTEXT},s,1({name}))\n"
        f' same => n,GotoIf($["${{{RESULT}}}" = "{Outcome.GRANTED.value}"]?{recorded})\n'
        f" same => n,Goto({unrecorded})\n"
    )


def feature_codes(settings: Settings) -> dict[str, str]:
    """The feature codes of the configuration, by their names in the application map."""
    features = settings.features
    if features is None:
        return {}
    codes = {WITHDRAW_FEATURE: features.withdraw}
    return codes if features.consent is None else codes | {ASK_FEATURE: features.consent}


def render_features(settings: Settings) -> str:
    """The codes for the middle of a call, to be included at the end of features.conf.

    ``self``: what they do is done on the channel of who pressed.
    """
    head = (
        f"; ivr-consent: codes that are pressed in the middle of a call. {MARK}; do not edit.\n"
        "; Include it at the end of features.conf; then: asterisk -rx 'module reload features'\n"
    )
    codes = feature_codes(settings)
    if not codes:
        return f"{head}; There are none: add [features] to the configuration, and write this file anew.\n"
    lines = [f"{name} => {code},self,Gosub({name},s,1)\n" for name, code in codes.items()]
    return f"{head}\n[applicationmap]\n{''.join(lines)}"


def render_files(settings: Settings, script: Path | None = None) -> dict[str, str]:
    """Every file of ours for the switch's configuration, by its name; see :func:`render_include`."""
    return {
        INCLUDE_FILE: render_include(settings, script),
        LINES_FILE: render_lines(settings),
        FEATURES_FILE: render_features(settings),
    }


def is_ours(text: str) -> bool:
    """Whether a file's text carries our mark in a comment at its head."""
    head = text[:MARK_WITHIN].splitlines()
    return any(line.startswith(";") and MARK in line for line in head)
