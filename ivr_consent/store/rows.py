"""What a row of a log says, whoever wrote it: of the documented form and of a sane size, or refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from ivr_consent.store.personal import joined
from ivr_consent.verifier import Event, commitment, leaf, leaf_hash

MAX_PAYLOAD_BYTES: Final = 1 << 18
"""Of one event; ours have a few thousand."""

MAX_DEPTH: Final = 64
"""Tables within tables of a payload; ours have six."""

MAX_TEXT: Final = 1 << 16
"""Characters of any other column; ours have less than a hundred."""


class NotOurs(ValueError):
    """A row that we never wrote; says why."""


def checked_columns(sequence: Any, time: Any, kind: Any, call_id: Any, line: Any, outcome: Any) -> None:
    """Whether an event's columns are of their types. Raises :class:`NotOurs`."""
    if type(sequence) is not int:
        raise NotOurs("its sequence is not a number")
    for name, value in (("time", time), ("kind", kind), ("call", call_id), ("line", line), ("outcome", outcome)):
        if not isinstance(value, str) and (value is not None or name in ("time", "kind")):
            raise NotOurs(f"its {name} is not text")
        if value is not None and len(value) > MAX_TEXT:
            raise NotOurs(f"its {name} has {len(value)} characters")


def payload_of(raw: Any, personal: Any) -> Mapping[str, Any]:
    """An event's payload with its personal data, ``None`` where there are none. Raises :class:`NotOurs`."""
    public = _object(raw, "payload")
    return public if personal is None else joined(public, _object(personal, "personal data"))


def _object(raw: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(raw, bytes | memoryview):
        raise NotOurs(f"its {name} are not bytes" if name.endswith("data") else f"its {name} is not bytes")
    raw = bytes(raw)
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise NotOurs(f"its {name} has {len(raw)} bytes")
    try:
        value = json.loads(raw.decode(), parse_constant=_refused, parse_float=_finite)
        if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
            _check_depth(value)
    except RecursionError:
        raise NotOurs(f"its {name} has tables within tables, thousands deep") from None
    except ValueError as error:
        raise NotOurs(f"its {name} cannot be read as JSON ({error})") from None
    if not isinstance(value, dict):
        raise NotOurs(f"its {name} is JSON, but not an object")
    return value


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _check_depth(value: Any) -> None:
    """Layer by layer, so that depth costs no stack."""
    layer = [value]
    for _ in range(MAX_DEPTH):
        layer = [
            item
            for table in layer
            for item in (table.values() if isinstance(table, dict) else table)
            if isinstance(item, dict | list)
        ]
        if not layer:
            return
    raise ValueError(f"tables within tables, more than {MAX_DEPTH} deep")


def leaf_of(row: tuple[Any, ...]) -> str | None:
    """The hash of an event's leaf, hexadecimal; ``None`` for columns that could not have been written."""
    sequence, time, kind, call_id, line, outcome, payload, committed, previous = row
    try:
        checked_columns(sequence, time, kind, call_id, line, outcome)
        event = Event(sequence, time, kind, call_id, line, outcome, bytes(payload), committed, previous)
        return leaf_hash(leaf(event)).hex()
    except (TypeError, ValueError, AttributeError):
        return None


def personal_state(committed: Any, salt: Any, data: Any) -> str:
    """What became of an event's personal data: ``none``, ``kept``, ``erased``, or ``changed``."""
    if committed is None:
        return "none" if data is None else "changed"
    if data is None:
        return "erased"
    try:
        return "kept" if commitment(salt, data) == bytes(committed) else "changed"
    except (TypeError, ValueError):
        return "changed"
