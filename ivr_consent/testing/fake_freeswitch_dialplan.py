"""The XML dialplan of the fake FreeSWITCH: reads real dialplan files and says what a call does in a place of one.

It knows what a consent gate needs: contexts, extensions with ``continue``, conditions with field, expression and
``break``, actions and anti-actions, ``${variables}`` and ``$1`` in them. As in the real one, all conditions of an
extension are decided when the call arrives, before its first action runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from pathlib import Path

Action = tuple[str, str]
"""An application and its data, not yet expanded."""

LEASE_S: Final = 15
CONTEXT: Final = "ivr-consent"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call is in the dialplan."""

    extension: str
    dialplan: str = "XML"
    context: str = "default"

    @classmethod
    def of(cls, text: str, context: str = "default") -> Place:
        """Read ``extension [dialplan] [context]``, as the application transfer takes it."""
        words = [*text.split(), "", ""]
        if words[0] in ("-bleg", "-both"):
            words.pop(0)
        return cls(words[0], words[1] or "XML", words[2] or context)

    def __str__(self) -> str:
        return f"{self.extension} {self.dialplan} {self.context}"


class Dialplan:
    """The contexts of some dialplan files; later ones are looked at after earlier ones of the same name."""

    def __init__(self, *texts: str) -> None:
        self._contexts: dict[str, list[ET.Element]] = {}
        for text in texts:
            self.add(text)

    @classmethod
    def of_files(cls, *paths: Path) -> Dialplan:
        """Read dialplan files (an include, a context, or bare extensions, which go into ``default``)."""
        return cls(*(path.read_text(encoding="utf-8") for path in paths))

    def add(self, text: str) -> None:
        """Read one more file's text. Raises ValueError when it is no XML."""
        try:
            root = ET.fromstring(text)  # noqa: S314 - the tests' own dialplan, never a stranger's
        except ET.ParseError as error:
            raise ValueError(f"the dialplan is no XML: {error}") from error
        contexts = [root] if root.tag == "context" else list(root.iter("context"))
        for context in contexts:
            self._contexts.setdefault(context.get("name", ""), []).extend(context.findall("extension"))
        if not contexts:
            self._contexts.setdefault("default", []).extend(root.iter("extension"))

    def actions(self, place: Place, value: Callable[[str], str]) -> list[Action]:
        """The actions of the extensions that match; ``value`` expands a condition's field (``${x}``)."""
        found: list[Action] = []
        for extension in self._contexts.get(place.context, ()):
            matched, actions = _extension(extension, place, value)
            found += actions
            if matched and extension.get("continue") != "true":
                break
        return found


def _extension(extension: ET.Element, place: Place, value: Callable[[str], str]) -> tuple[bool, list[Action]]:
    found: list[Action] = []
    matched = False
    for condition in extension.findall("condition"):
        field, expression = condition.get("field", ""), condition.get("expression", "")
        text = place.extension if field == "destination_number" else value(field) if field else ""
        match = re.search(expression, text) if expression or field else re.match("", "")
        groups = [match[0], *match.groups(default="")] if match else []
        for child in condition.findall("action" if match else "anti-action"):
            data = re.sub(r"\$([0-9])", lambda m: ([*groups, *[""] * 10])[int(m[1])], child.get("data", ""))  # noqa: B023 - used at once
            found.append((child.get("application", ""), data))
        matched = matched or match is not None or bool(condition.findall("anti-action"))
        wish = condition.get("break", "on-false")
        if wish == "always" or (wish == "on-false" and match is None) or (wish == "on-true" and match is not None):
            break
    return matched and bool(found), found


def gate(
    line: str,
    address: str,
    recorded: str,
    unrecorded: str,
    *,
    lease_s: int = LEASE_S,
    mode: str = "async full",
    resume: bool = True,
) -> str:
    """The gate before one line, as the project's own dialplan has it, for tests that render none.

    ``resume`` false leaves socket_resume away, to see what happens then.
    """
    wish = '<action application="set" data="socket_resume=true"/>' if resume else ""
    return f"""<include><context name="{CONTEXT}">
  <extension name="{line}"><condition field="destination_number" expression="^{re.escape(line)}$">
    <action application="stop_record_session" data="all"/>
    <action application="set" data="ivr_consent_result=failed"/>
    <action application="set" data="ivr_consent_reason=server_failed"/>
    <action application="set" data="ivr_consent_id="/>
    <action application="set" data="ivr_consent_line={line}"/>
    {wish}
    <action application="sched_transfer" data="+{lease_s} {line}.hangs XML {CONTEXT}"/>
    <action application="socket" data="{address} {mode}"/>
    <action application="unset" data="socket_resume"/>
    <action application="sched_cancel"/>
    <action application="transfer" data="{line}.after XML {CONTEXT}"/>
  </condition></extension>
  <extension name="{line}.hangs"><condition field="destination_number" expression="^{re.escape(line)}\\.hangs$">
    <action application="unset" data="socket_resume"/>
    <action application="set" data="ivr_consent_result=failed"/>
    <action application="set" data="ivr_consent_reason=server_hangs"/>
    <action application="transfer" data="{line}.after XML {CONTEXT}"/>
  </condition></extension>
  <extension name="{line}.after">
    <condition field="destination_number" expression="^{re.escape(line)}\\.after$"/>
    <condition field="${{ivr_consent_result}}" expression="^granted$">
      <action application="transfer" data="{recorded}"/>
      <anti-action application="stop_record_session" data="all"/>
      <anti-action application="transfer" data="{unrecorded}"/>
    </condition>
  </extension>
</context></include>
"""
