"""What of an event is personal: it stands beside the chain, behind a salted commitment, and can be erased.

In the chain remain the call's own random id and what happened: nothing that leads back to a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ivr_consent.core.decision import canonical

OF_CALL: Final = ("subject_ref", "channel_uniqueid")
"""Of the payload's table ``call``: the caller's keyed pseudonym, and what the switch calls the channel."""

OF_EVENT: Final = ("agent", "by", "reference_ref")
"""Of the payload itself: who took the call, who did what the event tells (approved, exported, …), and the keyed hash of
the reference code that the caller was told."""

OF_STAFF: Final = ("agent", "by")
"""Of these, what is not about the caller."""

TABLE: Final = "call"

KEPT_BESIDE: Final = "LEFT JOIN personal AS p ON p.sequence = e.sequence AND p.erased = 0"
"""How a question to ``events AS e`` reads what stands beside them, where it has not been erased."""


class Personal(NamedTuple):
    """The erasable part of one event: canonical JSON, and whom it is about: a caller, one of the staff."""

    data: bytes
    subject: str | None
    agent: str | None


def split(payload: Mapping[str, Any]) -> tuple[dict[str, Any], Personal | None]:
    """An event's payload as what goes into the chain, and what stands beside it."""
    public = dict(payload)
    found: dict[str, Any] = {name: public.pop(name) for name in OF_EVENT if name in public}
    call = public.get(TABLE)
    if isinstance(call, Mapping):
        public[TABLE] = {name: value for name, value in call.items() if name not in OF_CALL}
        of_call = {name: call[name] for name in OF_CALL if name in call}
        if of_call:
            found[TABLE] = of_call
    if not found:
        return public, None
    of_staff = _text(found.get("agent", found.get("by")))
    return public, Personal(canonical(found), _text(found.get(TABLE, {}).get("subject_ref")), of_staff)


def joined(public: Mapping[str, Any], personal: Mapping[str, Any]) -> dict[str, Any]:
    """The payload as it was before it was split."""
    whole = {**public, **{name: personal[name] for name in OF_EVENT if name in personal}}
    of_call = personal.get(TABLE)
    if isinstance(of_call, Mapping):
        there = public.get(TABLE)
        whole[TABLE] = {**(there if isinstance(there, Mapping) else {}), **of_call}
    return whole


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
