"""One AGI session: the gate, the hang-up handler of a recorded call, or a withdrawal in it. A generator, too.

It joins flow, channel and log: steps for the switch go to the channel, decisions and notes to the driver, which owns
the log. The driver's answers to those are the ledger's own (``Granted``, ``Logged``, ``Failed``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Final

from ivr_consent.core.decision import CallContext
from ivr_consent.core.flow import Ending, consent_flow, refusal_flow
from ivr_consent.core.steps import Decide, Failed, Granted, Logged, Note
from ivr_consent.language import Clues, Rules
from ivr_consent.pbx.asterisk import channel as ch
from ivr_consent.pbx.asterisk.variables import (
    CHECK_SCRIPT,
    CONSENT_SCRIPT,
    ENDED_ARGUMENT,
    ENDED_SCRIPT,
    WITHDRAW_ARGUMENT,
    WITHDRAW_SCRIPT,
)
from ivr_consent.pbx.asterisk.wire import Environment
from ivr_consent.pbx.conduct import UNKNOWN_LINE, Lines, Observer, Summary, conduct
from ivr_consent.pbx.requests import Finish, Seen, Withdraw
from ivr_consent.store.withdrawals import BY

PRESENTATION_RESTRICTED: Final = 0x60
"""Bits of ``agi_callingpres`` (Q.931): any of them means that the caller withholds the number."""

NUMBER: Final = re.compile(r"\+?[0-9]{1,32}")
"""The number of who is asked, as the dialplan gives it for a call of its own."""

RECORDING_ID: Final = re.compile(r"[0-9a-f]{32}")

SessionRequest = ch.Request | Decide | Note | Finish | Withdraw
SessionResponse = ch.Response | Granted | Logged | Failed


def session(
    environment: Environment,
    lines: Lines,
    *,
    call_id: str,
    nonce: Callable[[], str],
    presses_known: Callable[[], bool],
    observe: Observer | None = None,
    closed: str | None = None,
) -> Generator[SessionRequest, SessionResponse, Summary]:
    """Serve one AGI connection after its environment has been read.

    Nothing of the environment is believed before the echo has come back: a caller can forge the rest of it.
    ``closed``: why nobody is asked at present, whatever the line.
    """
    channel = ch.Channel(environment, lines.recordings, nonce=nonce, presses_known=presses_known)
    if not (yield from channel.echo()):
        # Only the channel and its uniqueid stand before the first line that a caller can influence.
        call = _context(environment, lines, call_id, UNKNOWN_LINE, None)
        ending = yield from conduct(refusal_flow(call, channel.why_ended()), channel.perform, observe)
        return _summary(call, ending)
    script, arguments = _asked(environment)
    if script == ENDED_SCRIPT:
        return (yield from _ended(arguments))
    if script == WITHDRAW_SCRIPT:
        return (yield from _withdrawn(arguments, channel))
    if script != CONSENT_SCRIPT:
        quiet = script == CHECK_SCRIPT
        reason = "checked" if quiet else "unknown_script"
        script = script if quiet else "unknown"
        return Summary(script, UNKNOWN_LINE, None, "failed", reason, "unrecorded", logged=False, quiet=quiet)
    return (yield from _gate(environment, arguments, lines, channel, call_id, observe, closed))


def _asked(environment: Environment) -> tuple[str, tuple[str, ...]]:
    """What is wanted, and for what: FastAGI says it in the address, the classic script in its first argument."""
    arguments = environment.arguments
    if environment.network_script:
        return environment.network_script.partition("?")[0], arguments
    if arguments[:1] == (ENDED_ARGUMENT,):
        return ENDED_SCRIPT, arguments[1:]
    if arguments[:1] == (WITHDRAW_ARGUMENT,):
        return WITHDRAW_SCRIPT, arguments[1:]
    return CONSENT_SCRIPT, arguments


def _gate(
    environment: Environment,
    arguments: tuple[str, ...],
    lines: Lines,
    channel: ch.Channel,
    call_id: str,
    observe: Observer | None,
    closed: str | None,
) -> Generator[SessionRequest, SessionResponse, Summary]:
    asked_for = arguments[0] if arguments else ""
    restricted = int(environment.raw.get("agi_callingpres", "0") or "0") & PRESENTATION_RESTRICTED
    caller = None if restricted else environment.caller_number
    if len(arguments) > 1 and NUMBER.fullmatch(arguments[1]):
        caller = arguments[1]  # the dialplan's own word on who is asked: an outgoing call's channel may show another's
    plan = lines.plan(asked_for, (yield from _clues(environment, lines.language_by(asked_for), caller, channel)))
    known = plan != "unknown_line"
    if plan == "no_language" and channel.ended:
        plan = channel.why_ended()  # a clue may be missing because the switch was gone before it could tell
    if closed is not None and not isinstance(plan, str):
        plan = closed
    call = _context(environment, lines, call_id, asked_for if known else UNKNOWN_LINE, lines.subject(caller))
    yield from channel.announce(call_id)
    flow = refusal_flow(call, plan) if isinstance(plan, str) else consent_flow(plan, call, lines.reference(call_id))
    ending = yield from conduct(flow, channel.perform, observe)
    return _summary(call, ending)


def _clues(
    environment: Environment, rules: Rules | None, caller: str | None, channel: ch.Channel
) -> Generator[ch.Request, ch.Response, Clues]:
    """What the language is chosen by. All of it may be the caller's own words: it is looked up, and kept nowhere."""
    dialled = environment.raw["agi_dnid"]
    header = ""
    if dialled == "unknown":
        dialled = (yield from channel.dialled()) if rules is not None and "dialled" in rules.order else ""
    if rules is not None and rules.header is not None:
        header = yield from channel.header(rules.header)
    return Clues(environment.language, dialled, caller, header)


def _context(environment: Environment, lines: Lines, call_id: str, line: str, subject: str | None) -> CallContext:
    return CallContext(
        call_id=call_id,
        line=line,
        switch="asterisk",
        channel_uniqueid=environment.uniqueid,
        subject_ref=subject,
        software=lines.software,
        configuration_sha256=lines.configuration_sha256,
    )


def _summary(call: CallContext, ending: Ending) -> Summary:
    return Summary(
        CONSENT_SCRIPT,
        call.line,
        call.call_id,
        ending.outcome.value,
        ending.reason,
        ending.route.value,
        ending.logged,
    )


def _ended(arguments: tuple[str, ...]) -> Generator[SessionRequest, SessionResponse, Summary]:
    """The hang-up handler: which recording it was is in our own variable, so take nothing but an id of our form."""
    recording_id = arguments[0] if arguments else ""
    if not RECORDING_ID.fullmatch(recording_id):
        return Summary(ENDED_SCRIPT, UNKNOWN_LINE, None, "failed", "not_a_recording", "-", logged=False)
    yield Finish(recording_id)
    return Summary(ENDED_SCRIPT, UNKNOWN_LINE, recording_id, "ended", "hung_up", "-", logged=True)


def _withdrawn(arguments: tuple[str, ...], channel: ch.Channel) -> Generator[SessionRequest, SessionResponse, Summary]:
    """A code was pressed in the call. Of the arguments, an id of our form and who pressed are taken, and no more."""
    recording_id, by = (*arguments, "", "")[:2]
    if not RECORDING_ID.fullmatch(recording_id) or by not in BY:
        return Summary(WITHDRAW_SCRIPT, UNKNOWN_LINE, None, "failed", "not_a_recording", "-", logged=False)
    done = yield Withdraw(recording_id, by)
    assert isinstance(done, Seen)
    yield from channel.tell_withdrawn(done.yes)
    outcome = "withdrawn" if done.yes else "failed"
    return Summary(WITHDRAW_SCRIPT, UNKNOWN_LINE, recording_id, outcome, f"by_{by}", "-", logged=done.yes)
