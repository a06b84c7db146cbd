"""``ivr-consent-agi``: the classic AGI script, for a site that wants no daemon. Same session, same flow, same log.

Asterisk starts one process a call: ``AGI(ivr-consent-agi,LINE)``. There is no manager link here, so a guard time after
the question stands in for the knowledge of when a key press began.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path
from typing import Final

from asterisk.agi import AGIError

from ivr_consent import config
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.steps import Decide, Note
from ivr_consent.logs import configure_logging, get_logger
from ivr_consent.pbx.asterisk import channel as ch
from ivr_consent.pbx.asterisk.hardened import AGIReplyTimeout, AGIStreamBroken, ScriptAGI
from ivr_consent.pbx.asterisk.session import SessionRequest, SessionResponse, session
from ivr_consent.pbx.asterisk.variables import CONFIGURATION_ARGUMENT
from ivr_consent.pbx.conduct import Summary
from ivr_consent.pbx.requests import Discard, FileAppears, Lost, Released, Seen, Withdraw
from ivr_consent.site import Site, load_site
from ivr_consent.store import lifecycle, recordings
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of

CONFIGURATION: Final = Path("/etc/ivr-consent/ivr-consent.toml")
"""Read where neither the dialplan (``--config=PATH``) nor ``IVR_CONSENT_CONFIG`` names another."""

FILE_POLL_S: Final = 0.02

log = get_logger()


def main() -> int:
    """One call. Exit status 0 only after a durable grant, a finished recording or a withdrawal: else unrecorded."""
    configure_logging()
    try:
        agi = ScriptAGI()
    except AGIError as error:
        log.warning("agi_refused", reason=str(error))
        return 1
    try:
        summary = _serve(agi)
    except (ConsentError, AGIError) as error:
        log.error("script_failed", problem=str(error))
        return 1
    finally:
        agi.close()
    log.info(
        "call",
        script=summary.script,
        line=summary.line,
        call_id=summary.call_id,
        outcome=summary.outcome,
        reason=summary.reason,
        route=summary.route,
        logged=summary.logged,
    )
    return 0 if summary.outcome in ("granted", "ended", "withdrawn") else 1


def _serve(agi: ScriptAGI) -> Summary:
    settings = config.load(_configuration(sys.argv[1:]))
    site = load_site(settings)
    recordings.prepare(site.recordings)
    ledger = Ledger(place_of(settings))
    try:
        return _drive(agi, site, ledger)
    finally:
        ledger.close()


def _configuration(arguments: list[str]) -> Path:
    """Which configuration: the dialplan's own word comes with the process, where no caller can reach it."""
    for argument in arguments:
        if argument.startswith(CONFIGURATION_ARGUMENT):
            return Path(argument.removeprefix(CONFIGURATION_ARGUMENT))
    return Path(os.environ.get("IVR_CONSENT_CONFIG", CONFIGURATION))


def _drive(agi: ScriptAGI, site: Site, ledger: Ledger) -> Summary:
    """Answer the session's requests, blocking, one after the other."""
    running = session(
        agi.environment,
        site,
        call_id=secrets.token_hex(16),
        nonce=lambda: secrets.token_hex(8),
        presses_known=lambda: False,
    )
    response: SessionResponse | None = None
    while True:
        try:
            request = next(running) if response is None else running.send(response)
        except StopIteration as end:
            summary: Summary = end.value
            return summary
        response = _answer(agi, site, ledger, request)


def _answer(agi: ScriptAGI, site: Site, ledger: Ledger, request: SessionRequest) -> SessionResponse:
    match request:
        case ch.Send():
            return _ask(agi, request)
        case Decide():
            return ledger.decide_now(request.decision)
        case Note():
            return ledger.note_now(request.call.call_id, request.call.line, request.kind, request.details)
        case ch.PressBegan():
            return ch.Began(None)
        case FileAppears():
            until = time.monotonic() + request.deadline_s
            while not request.path.exists() and time.monotonic() < until:
                time.sleep(FILE_POLL_S)
            return Seen(request.path.exists())
        case Released():
            released = recordings.wait_released(site.recordings, request.recording_id, request.deadline_s)
            return Seen(released is True)
        case Discard():
            return Seen(recordings.discard(site.recordings, request.recording_id))
        case Withdraw():
            return Seen(_withdraw(site, ledger, request))
        case _:
            return Seen(lifecycle.finish_ended(ledger, site.recordings, request.recording_id))


def _withdraw(site: Site, ledger: Ledger, request: Withdraw) -> bool:
    """Erase and log; True when the recorder is known to have stopped. There is no manager link to stop it by."""
    began = time.monotonic()
    released = recordings.wait_released(site.recordings, request.recording_id, ch.FILE_DEADLINE_S) is True
    stop = lifecycle.Stop(released, 0, int((time.monotonic() - began) * 1000))
    return lifecycle.withdraw_pressed(ledger, site.recordings, request.recording_id, request.by, stop) and released


def _ask(agi: ScriptAGI, request: ch.Send) -> ch.Heard | Lost:
    sent_at = time.monotonic()
    try:
        reply = agi.ask(request.command, request.deadline_s)
    except AGIReplyTimeout:
        return Lost("switch_too_slow", agi.hung_up)
    except AGIStreamBroken:
        return Lost("protocol_error", agi.hung_up)
    except AGIError:
        return Lost("connection_lost", agi.hung_up)
    return ch.Heard(reply, sent_at, time.monotonic(), agi.hung_up)


if __name__ == "__main__":
    sys.exit(main())
