"""Whether the gate's context is the one that ``ivr-consent dialplan`` writes: it is read, written anew with the choices
that stand in it (lines, destinations, codes), and compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ivr_consent.config import Settings, parse
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.freeswitch.audit.dialplan import Condition, Context, Extension, load
from ivr_consent.pbx.freeswitch.audit.documents import parse_text
from ivr_consent.pbx.freeswitch.dialplan import address, render
from ivr_consent.pbx.freeswitch.variables import AFTER, CONTEXT

_LINE: Final = re.compile(r"\^([^.\[\]]+)\[\.\]" + AFTER + r"\$")
_LOOPBACK: Final = re.compile(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}:\d{1,5}(?= async full$)")
_CODE: Final = re.compile(r"([0-9*#]) [ab] [so] execute_extension::")


def as_shipped(context: Context, settings: Settings | None) -> bool:
    """Whether a context of the gate's name does what the shipped one does."""
    lines: dict[str, dict[str, str]] = {}
    code = ""
    for extension in context.extensions:
        found = _line(extension)
        if found is not None:
            name, recorded, unrecorded = found
            lines[name] = {"recorded": recorded, "unrecorded": unrecorded}
        for condition in extension.conditions:
            for action in condition.actions:
                if action.application == "bind_meta_app" and (bound := _CODE.match(action.data)):
                    code = bound[1]
    written: dict[str, Any] = {"switch": "freeswitch", "lines": lines, "event_socket": {"password_file": "/none"}}
    if code:
        written["features"] = {"withdraw": f"*{code}"}
    try:
        text = render(parse(written, Path(f"/{CONTEXT}"), ""))
    except ConsentError:
        return False
    ours = load(parse_text(text)).contexts[CONTEXT]
    known = {address(settings), address(settings, settings.server.draft_port)} if settings is not None else set()
    return _plain(context, known) == _plain(ours, known)


def _line(extension: Extension) -> tuple[str, str, str] | None:
    """The line of an extension that branches on the result, with its destinations."""
    if len(extension.conditions) != 2:
        return None
    name = _LINE.fullmatch(extension.conditions[0].expression)
    branch = extension.conditions[1]
    if name is None or not branch.actions or not branch.antis:
        return None
    recorded, unrecorded = branch.actions[-1], branch.antis[-1]
    if (recorded.application, unrecorded.application) != ("transfer", "transfer"):
        return None
    return name[1], recorded.data, unrecorded.data


def _plain(context: Context, known: set[str]) -> list[tuple[bool, list[Any]]]:
    """What a context does, without the addresses of our own server, and in no order of lines."""
    found = [
        (one.continues, [_condition(condition, known) for condition in one.conditions]) for one in context.extensions
    ]
    return sorted(found, key=repr)


def _condition(condition: Condition, known: set[str]) -> tuple[Any, ...]:
    return (
        condition.field,
        condition.expression,
        condition.breaks,
        condition.timed,
        condition.rule,
        [_action(one.application, one.data, one.inline, known) for one in condition.actions],
        [_action(one.application, one.data, one.inline, known) for one in condition.antis],
        len(condition.nested),
    )


def _action(application: str, data: str, inline: bool, known: set[str]) -> tuple[str, str, bool]:
    if application == "socket":
        if data.removesuffix(" async full") in known:
            return application, "ours", inline
        data = _LOOPBACK.sub("ours", data).replace("ours async full", "ours")
    return application, data, inline
