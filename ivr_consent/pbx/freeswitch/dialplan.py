"""What goes into FreeSWITCH's dialplan: one context with the gate before each line, fail-closed by its shape.

``socket`` stands between a result of ``failed`` and a branch on that result. Whatever becomes of the server, the call
goes on behind ``socket``: at once where the server is gone (``socket_resume``), by the switch's own timer where it
hangs (``sched_transfer``). docs/freeswitch.md has what was seen of each.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from xml.sax.saxutils import quoteattr

from ivr_consent.config import LINE_NAME, TRANSFER_PLACE, Line, Settings
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.freeswitch import variables
from ivr_consent.pbx.freeswitch.channel import LEASE_S
from ivr_consent.store.withdrawals import BY

FILE: Final = "ivr_consent.xml"
"""For the folder ``dialplan`` of FreeSWITCH's configuration, which includes all that is in it."""

MARK: Final = "Written by `ivr-consent dialplan`"
"""Stands in a comment at the head: only such a file is ever written anew."""

MARK_WITHIN: Final = 2000
"""Characters of a file in which its mark is looked for."""

WITHDRAW: Final = ("withdraw.caller", "withdraw.agent")
"""Extensions of our context for the code in the call, by who pressed (:data:`~ivr_consent.store.withdrawals.BY`)."""

_HEAD: Final = f"""\
<!-- ivr-consent: the gate. FreeSWITCH 1.10. {MARK}; do not edit.
     It lies in the folder "dialplan" of the configuration; then: fs_cli -x reloadxml
     Send a call in with:  <action application="transfer" data="LINE XML {variables.CONTEXT}"/>
     It goes on at the line's destinations, which the configuration of ivr-consent names. -->
<include>
  <context name={quoteattr(variables.CONTEXT)}>
"""
_FOOT: Final = "  </context>\n</include>\n"


def address(settings: Settings, port: int | None = None) -> str:
    """What ``socket`` is told: an address, never a name to be resolved."""
    listen = ipaddress.ip_address(settings.server.listen)
    if listen.version == 6 and not listen.is_unspecified:
        raise ConsentError(
            f"server.listen is {listen}, and FreeSWITCH's socket takes no IPv6 address; listen on 127.0.0.1"
        )
    host = "127.0.0.1" if listen.is_unspecified else str(listen)
    return f"{host}:{settings.server.port if port is None else port}"


def render(settings: Settings) -> str:
    """The whole file. Raises :class:`ConsentError` for what cannot stand in a dialplan."""
    parts = [_HEAD]
    for name, line in settings.lines.items():
        parts += _line(settings, name, line)
    if settings.features is not None:
        parts += _features()
    return "".join((*parts, _FOOT))


def render_files(settings: Settings) -> dict[str, str]:
    """Every file of ours for the switch's configuration, by its name."""
    return {FILE: render(settings)}


def is_ours(text: str) -> bool:
    """Whether a file's text carries our mark in the comment at its head."""
    return text.lstrip().startswith("<!--") and MARK in text[:MARK_WITHIN]


def _line(settings: Settings, name: str, line: Line) -> list[str]:
    recorded, unrecorded = line.recorded or "", line.unrecorded or ""
    # Checked when the configuration was read; checked again where it becomes dialplan.
    if not (LINE_NAME.fullmatch(name) and TRANSFER_PLACE.fullmatch(recorded) and TRANSFER_PLACE.fullmatch(unrecorded)):
        raise ConsentError(f"line {name!r} cannot be written into a dialplan; correct its name and destinations")
    after = f"transfer {variables.extension(name, variables.AFTER)} XML {variables.CONTEXT}"
    hangs = f"{variables.extension(name, variables.HANGS)} XML {variables.CONTEXT}"
    gate = (
        "stop_record_session all",  # asked a second time in one call: what the first yes started ends here
        f"set {variables.RESULT}={Outcome.FAILED.value}",
        f"set {variables.REASON}=server_failed",
        f"set {variables.CALL_ID}=",
        f"set {variables.LINE}={name}",
        f"set {variables.RESUME}=true",
        f"sched_transfer +{LEASE_S} {hangs}",
        f"socket {address(settings)} async full",
        f"unset {variables.RESUME}",
        "sched_cancel",
        after,
    )
    hung = (
        f"unset {variables.RESUME}",
        f"set {variables.RESULT}={Outcome.FAILED.value}",
        f"set {variables.REASON}=server_hangs",
        after,
    )
    draft = (
        f"set {variables.RESULT}=trial",
        f"set {variables.LINE}={name}",
        f"set {variables.RESUME}=true",
        f"sched_hangup +{600} normal_clearing",
        f"socket {address(settings, settings.server.draft_port)} async full",
        "hangup",
    )
    branch = _branch(settings, name, recorded, unrecorded)
    return [
        f"    <!-- {', '.join(line.purposes)}; in {', '.join(line.languages)} -->\n",
        _extension(name, f"^{name}$", gate),
        _extension(f"{name}, the server hangs", _exact(name, variables.HANGS), hung),
        branch,
        _extension(f"{name}, a draft, for telephones of your own alone", _exact(name, variables.DRAFT), draft),
    ]


def _branch(settings: Settings, name: str, recorded: str, unrecorded: str) -> str:
    """Behind the gate: recorded where the server has said so as its last word, else unrecorded and nothing records."""
    granted = [f"unset {variables.RESUME}", *_codes(settings), f"transfer {recorded}"]
    refused = [f"unset {variables.RESUME}", "stop_record_session all", f"transfer {unrecorded}"]
    field = quoteattr("${" + variables.RESULT + "}")
    return (
        f"    <extension name={quoteattr(f'{name}, the result')}>\n"
        f'      <condition field="destination_number" expression={quoteattr(_exact(name, variables.AFTER))}/>\n'
        f"      <condition field={field} expression={quoteattr(f'^{Outcome.GRANTED.value}$')}>\n"
        f"{_actions(granted)}{_actions(refused, 'anti-action')}"
        "      </condition>\n"
        "    </extension>\n"
    )


def _codes(settings: Settings) -> list[str]:
    """The code for the middle of the call, for the caller and for the agent; both are carried out on our channel."""
    features = settings.features
    if features is None:
        return []
    digit = features.withdraw[1:]
    return [
        f"bind_meta_app {digit} a s execute_extension::{WITHDRAW[0]} XML {variables.CONTEXT}",
        f"bind_meta_app {digit} b o execute_extension::{WITHDRAW[1]} XML {variables.CONTEXT}",
    ]


def _features() -> list[str]:
    """On the caller's channel, whoever pressed: the recorder stops here, whether ivr-consent is there or not."""
    call = "${" + variables.CALL_ID + "}"
    parts = ["    <!-- Consent is withdrawn by a code in the call: one high tone when nothing records any more. -->\n"]
    for place, by in zip(WITHDRAW, BY, strict=True):
        fields = f"{variables.CALL_ID}={call},{variables.BY}={by}"
        steps = (
            "stop_record_session all",
            f"set {variables.RESULT}=withdrawn",
            f"event Event-Name=CUSTOM,Event-Subclass={variables.WITHDRAWN_EVENT},{fields}",
            # A mark that outlives everything: whoever finds it erases the recording.
            f"db insert/{variables.MARKS}/{call}/{by}",
            "playback tone_stream://%(300,0,820)",
        )
        parts.append(_extension(f"withdrawal by the {by}", f"^{place.replace('.', '[.]')}$", steps))
    return parts


def _exact(name: str, part: str) -> str:
    return f"^{name}[.]{part}$"


def _extension(name: str, expression: str, steps: tuple[str, ...]) -> str:
    return (
        f"    <extension name={quoteattr(name)}>\n"
        f'      <condition field="destination_number" expression={quoteattr(expression)}>\n'
        f"{_actions(steps)}"
        "      </condition>\n"
        "    </extension>\n"
    )


def _actions(steps: tuple[str, ...] | list[str], element: str = "action") -> str:
    lines = []
    for step in steps:
        application, _, data = step.partition(" ")
        told = f" data={quoteattr(data)}" if data else ""
        lines.append(f"        <{element} application={quoteattr(application)}{told}/>\n")
    return "".join(lines)
