"""One call on the outbound event socket: the gate. A generator, too.

It joins flow, channel and log: steps for the switch go to the channel, decisions and notes to the driver, which owns
the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from typing import Final

from ivr_consent.core.decision import CallContext
from ivr_consent.core.flow import consent_flow, refusal_flow
from ivr_consent.core.steps import Decide, Failed, Granted, Logged, Note
from ivr_consent.language import HEADER_LENGTH, HEADER_NAME, Clues, Rules
from ivr_consent.pbx.conduct import UNKNOWN_LINE, Lines, Observer, Summary, conduct
from ivr_consent.pbx.freeswitch import channel as ch
from ivr_consent.pbx.freeswitch import variables
from ivr_consent.pbx.freeswitch.wire import UUID

SCRIPT: Final = "consent"

NUMBER: Final = re.compile(r"\+?[0-9]{1,32}")
"""The number of who is asked, as the dialplan gives it for a call of its own."""

LONGEST_NUMBER: Final = 200
"""Characters of a caller's number that are looked at."""

DIALLED_LENGTH: Final = 64
"""Characters of the number dialled that are looked at."""

_NOT_DIALLED: Final = re.compile(r"[^0-9+]")
_NOT_HEADER: Final = re.compile(r"[^A-Za-z0-9_.;= ,-]")

SessionRequest = ch.Request | Decide | Note
SessionResponse = ch.Response | Granted | Logged | Failed
Fields = Mapping[str, str]


def session(
    data: Fields,
    uuid: str,
    lines: Lines,
    *,
    call_id: str,
    nonce: Callable[[], str],
    observe: Observer | None = None,
    closed: str | None = None,
) -> Generator[SessionRequest, SessionResponse, Summary]:
    """Serve one call. ``data``: what the switch told of its channel; ``uuid``: the channel, checked in its form.

    ``closed``: why nobody is asked at present, whatever the line.
    """
    asked_for = _variable(data, variables.LINE)
    ours = data.get("Caller-Context") == variables.CONTEXT
    channel = ch.Channel(uuid, lines.recordings, line=asked_for if ours else None, nonce=nonce)
    caller = _caller(data)
    plan = lines.plan(asked_for, _clues(data, lines.language_by(asked_for), caller))
    line = UNKNOWN_LINE if plan == "unknown_line" else asked_for
    if closed is not None and not isinstance(plan, str):
        plan = closed
    vouched = yield from channel.open(call_id)
    # Of a channel that nobody vouches for nothing is believed, the number least of all.
    subject = lines.subject(caller) if vouched else None
    call = CallContext(
        call_id=call_id,
        line=line if vouched else UNKNOWN_LINE,
        switch="freeswitch",
        channel_uniqueid=uuid,
        subject_ref=subject,
        software=lines.software,
        configuration_sha256=lines.configuration_sha256,
    )
    if not vouched:
        plan = channel.why_ended()
    flow = refusal_flow(call, plan) if isinstance(plan, str) else consent_flow(plan, call, lines.reference(call_id))
    ending = yield from conduct(flow, channel.perform, observe)
    return Summary(
        SCRIPT, call.line, call.call_id, ending.outcome.value, ending.reason, ending.route.value, ending.logged
    )


def is_gate(data: Fields) -> str | None:
    """The channel's id, where this is a connection that a session can be held on; else ``None``.

    ``async full`` is what our dialplan asks for: without ``async`` a hang-up and a key are told of too late, without
    ``full`` nothing can be asked about the channel.
    """
    uuid = data.get("Unique-ID", "")
    whole = data.get("Socket-Mode") == "async" and data.get("Control") == "full"
    same = data.get("Caller-Unique-ID") == uuid and data.get("Channel-Call-State") != "HANGUP"
    return uuid if whole and same and UUID.fullmatch(uuid) else None


def _caller(data: Fields) -> str | None:
    """The caller's number; ``None`` when it is withheld."""
    given = _variable(data, variables.NUMBER)
    if NUMBER.fullmatch(given):
        return given
    if data.get("Caller-Privacy-Hide-Number") == "true":
        return None
    number = data.get("Caller-Caller-ID-Number", "")
    return None if number in ("", "_undef_") else number[:LONGEST_NUMBER]


def _clues(data: Fields, rules: Rules | None, caller: str | None) -> Clues:
    """What the language is chosen by. All of it may be the caller's own words: it is looked up, and kept nowhere."""
    dialled = _variable(data, variables.DIALLED) or _variable(data, "sip_req_user")
    header = ""
    if rules is not None and rules.header is not None and HEADER_NAME.fullmatch(rules.header):
        known = _variable(data, f"sip_h_{rules.header}") or _variable(
            data, f"sip_{rules.header.lower().replace('-', '_')}"
        )
        header = _NOT_HEADER.sub("", known[:HEADER_LENGTH])
    language = _variable(data, variables.LANGUAGE)
    return Clues(language, _NOT_DIALLED.sub("", dialled[:DIALLED_LENGTH]), caller, header)


def _variable(data: Fields, name: str) -> str:
    value = data.get(f"variable_{name}", "")
    return "" if value == "_undef_" else value
