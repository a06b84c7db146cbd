"""A decision that grants a recording, for tests of what comes after it."""

from __future__ import annotations

from dataclasses import replace

from ivr_consent.core.decision import Decision, Outcome
from ivr_consent.core.flow import failed_decision
from ivr_consent.testing.plans import call_context


def granted_decision(call_id: str, *, days: int = 30, uniqueid: str | None = None) -> Decision:
    """Of a call on the line ``support``; ``uniqueid``: what the switch calls its channel."""
    call = replace(call_context(call_id, line="support"), switch="asterisk")
    if uniqueid is not None:
        call = replace(call, channel_uniqueid=uniqueid)
    return replace(
        failed_decision(call, "yes_key"),
        outcome=Outcome.GRANTED,
        route="recorded",
        purposes_granted=("training",),
        retention_days=days,
        recording_id=call_id,
    )
