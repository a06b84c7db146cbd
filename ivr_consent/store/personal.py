"""What of an event is personal: it stands beside the chain, behind a salted commitment, and can be erased.

In the chain remain the call's own random id and what happened: nothing that leads back to a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ivr_consent.core.decision import canonical

OF_CALL: Final = ("subject_ref", "channel_uniqueid")
"""Of the payload's table ``call``: the caller's keyed pseudonym, and what the switch calls the channel."""

OF_EVENT: Final = ("agent", "reference_ref")
"""Of the payload itself: who took the call, and the keyed hash of the reference code that the caller was told."""

TABLE: Final = "call"


class Personal(NamedTuple):
    """The erasable part of one event: canonical JSON, and by what it is found."""

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
    return public, Personal(canonical(found), _text(found.get(TABLE, {}).get("subject_ref")), _text(found.get("agent")))


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
