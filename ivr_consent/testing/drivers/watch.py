"""What the server is seen to do in each call: decisions, notes and recorders, each with its time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ivr_consent.core.steps import Decide, Granted, Logged, Note, Record, Result, Step, Stopped, StopRecording


@dataclass(slots=True)
class Seen:
    """What the server was seen to do in one call."""

    call_id: str
    decided: bool = False
    logged: bool = False
    stopped: bool = False
    pending: int = 0
    """Steps under way."""
    events: list[tuple[float, str]] = field(default_factory=list)


class Watch:
    """The server's observer: what each call wrote and commanded, by the channel's id."""

    def __init__(self) -> None:
        self._by_call: dict[str, Seen] = {}
        self._by_channel: dict[str, Seen] = {}

    def observe(self, step: Step, result: Result | None) -> None:
        """See ``conduct.Observer``."""
        match step:
            case Decide():
                seen = self._of(step.decision.call.call_id)
                self._by_channel[step.decision.call.channel_uniqueid] = seen
                word = f"decide {step.decision.outcome.value}"
                seen.logged = seen.logged or isinstance(result, Granted) or _durable(result)
                seen.decided = seen.decided or result is not None
            case Note():
                seen, word = self._of(step.call.call_id), f"note {step.kind}"
                self._by_channel[step.call.channel_uniqueid] = seen
            case Record():
                seen, word = self._of(step.grant.call_id), "record"
            case StopRecording():
                seen, word = self._of(step.recording_id), "stop"
                seen.stopped = seen.stopped or isinstance(result, Stopped)
            case _:
                return
        seen.pending += 1 if result is None else -1
        if result is None:
            seen.events.append((time.monotonic(), word))

    def _of(self, call_id: str) -> Seen:
        return self._by_call.setdefault(call_id, Seen(call_id))

    def of(self, uniqueid: str) -> Seen | None:
        """What was seen of the call on a channel."""
        return self._by_channel.get(uniqueid)


def _durable(result: Result | None) -> bool:
    return isinstance(result, Logged) and result.durable
