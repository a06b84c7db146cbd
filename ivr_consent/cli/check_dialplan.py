"""Whether FreeSWITCH runs our dialplan as this version writes it, and has the places that calls go on at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from ivr_consent.cli.findings import Area, Finding, State
from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.freeswitch import dialplan, variables

Ask = Callable[[str], str]

NOT_THERE: Final = "can't find anything"
"""FreeSWITCH's answer where its XML has no such part."""

NOBODYS: Final = "no-such-place-as-this"
"""An extension that takes this takes everything, and says nothing of a destination."""

ANYTHING: Final = re.compile(r"\$\{?destination_number\}?|destination_number")
"""What a condition looks at when it looks at the number dialled."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension: its conditions, each as field, expression and steps; a step as kind, application, argument."""

    name: str
    conditions: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...]


def findings(settings: Settings, ask: Ask) -> Iterator[Finding]:
    """Of the context, then of each line's destinations."""
    yield _context(settings, ask)
    yield _destinations(settings, ask)


def params(text: str) -> dict[str, list[str]]:
    """The values of each ``<param>`` of a configuration as ``xml_locate`` prints it; none of what is no XML."""
    root = _parsed(text)
    found: dict[str, list[str]] = {}
    for element in root.iter("param") if root is not None else ():
        found.setdefault(element.get("name", ""), []).append(element.get("value", ""))
    return found


def _finding(name: str, state: State, found: str, remedy: str = "") -> Finding:
    return Finding(Area.SWITCH, name, state, found, remedy)


def _parsed(text: str) -> ET.Element | None:
    """An element that the switch prints, or our own file; ``None`` of what is no XML, or brings entities along."""
    if "<!DOCTYPE" in text or not text.lstrip().startswith("<"):
        return None
    try:
        return ET.fromstring(text)  # noqa: S314 - without a document type there is no entity to expand
    except ET.ParseError:
        return None


def _extensions(context: ET.Element) -> list[Extension]:
    return [
        Extension(
            extension.get("name", ""),
            tuple(
                (condition.get("field", ""), condition.get("expression", ""), _steps(condition))
                for condition in extension.findall("condition")
            ),
        )
        for extension in context.iter("extension")
    ]


def _steps(condition: ET.Element) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (step.tag, step.get("application", ""), step.get("data", ""))
        for step in condition
        if step.tag in ("action", "anti-action")
    )


def _context(settings: Settings, ask: Ask) -> Finding:
    write = (
        "ivr-consent dialplan --write DIR, where DIR is the folder dialplan of FreeSWITCH's configuration; "
        "then: fs_cli -x reloadxml"
    )
    try:
        wanted = _parsed(dialplan.render(settings))
    except ConsentError as error:
        return _finding("dialplan", State.PROBLEM, str(error), "mend it, then: ivr-consent dialplan")
    assert wanted is not None
    said = ask(f"xml_locate dialplan context name {variables.CONTEXT}")
    if NOT_THERE in said:
        return _finding("dialplan", State.PROBLEM, f"the context {variables.CONTEXT} is not loaded", write)
    running = _parsed(said)
    if running is None:
        found = f"what FreeSWITCH has as context {variables.CONTEXT} cannot be read"
        return _finding("dialplan", State.PROBLEM, found, write)
    ours, theirs = _extensions(wanted), _extensions(running)
    if ours != theirs:
        differ = _differing(ours, theirs)
        found = f"the context {variables.CONTEXT} is not what this version writes: {', '.join(differ[:5])}"
        return _finding("dialplan", State.PROBLEM, found, write)
    found = f"the context {variables.CONTEXT} calls {dialplan.address(settings)}, as this version writes it"
    return _finding("dialplan", State.OK, found)


def _differing(ours: list[Extension], theirs: list[Extension]) -> list[str]:
    """What is told of two lists of extensions that are not the same."""
    there = {extension.name: extension for extension in theirs}
    told = [
        f"{extension.name!r} {'is changed' if extension.name in there else 'is missing'}"
        for extension in ours
        if there.get(extension.name) != extension
    ]
    known = {extension.name for extension in ours}
    told += [f"{extension.name[:60]!r} is not of ours" for extension in theirs if extension.name not in known]
    return told or ["their order"]


def _destinations(settings: Settings, ask: Ask) -> Finding:
    """Whether there is an extension for each place that a line goes on at."""
    contexts: dict[str, list[Extension] | None] = {}
    missing, unknown = [], []
    for name, line in settings.lines.items():
        for place in dict.fromkeys((line.recorded or "", line.unrecorded or "")):
            number, _, context = place.split(" ")
            if context not in contexts:
                root = _parsed(ask(f"xml_locate dialplan context name {context}"))
                contexts[context] = _extensions(root) if root is not None else None
            extensions = contexts[context]
            answer = None if extensions is None else _takes(extensions, number)
            if extensions is None or answer is False:
                missing.append(f"{place} (line {name})")
            elif answer is None:
                unknown.append(f"{place} (line {name})")
    if missing:
        remedy = "write these extensions into your dialplan, or mend recorded and unrecorded of the lines"
        return _finding("destinations", State.PROBLEM, f"not in FreeSWITCH's dialplan: {', '.join(missing)}", remedy)
    if unknown:
        remedy = "call in, and see that you reach them"
        return _finding("destinations", State.UNCHECKED, f"cannot be told: {', '.join(unknown)}", remedy)
    return _finding("destinations", State.OK, f"all of {len(settings.lines)} line(s) are there")


def _takes(extensions: list[Extension], number: str) -> bool | None:
    """Whether one of them takes the number dialled.

    ``None`` when an expression cannot be tried here, and when all that take it would take any other as well.
    """
    unsure = False
    for extension in extensions:
        expressions = [expression for field, expression, _ in extension.conditions if ANYTHING.fullmatch(field)]
        for expression in expressions:
            try:
                if re.search(expression, number) and not re.search(expression, NOBODYS):
                    return True
                unsure = unsure or re.search(expression, number) is not None
            except re.error:
                unsure = True
    return None if unsure else False
