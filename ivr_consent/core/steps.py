"""What the flow asks of a switch (steps) and what it hears back (results).

The flow yields a :data:`Step` and is sent a :data:`Result`. A channel of any switch performs steps; it never decides.
Times are whole milliseconds, lengths are samples at the prompt's own rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ivr_consent.core.decision import CallContext, Decision, Grant


@dataclass(frozen=True, slots=True)
class Prompt:
    """One segment of a notice with its audio, as a channel plays it.

    ``path`` is what the switch is told (no extension: it picks the format), ``lengths`` the length in samples of each
    format, at that format's own rate: a prompt was heard to its end only when the switch reports one of them.
    ``audio_sha256`` stands for the files of every format (see :attr:`~ivr_consent.audio.store.PromptAudio.sha256`).
    """

    id: str
    text: str
    text_sha256: str
    path: str
    duration_ms: int
    lengths: frozenset[int]
    audio_sha256: str
    elements: tuple[int, ...] = ()


class Destination(StrEnum):
    """Where a call goes after the choice."""

    RECORDED = "recorded"
    UNRECORDED = "unrecorded"


class Timing(StrEnum):
    """How it is known when a key press began: a switch reports a key only when it is released."""

    MANAGER = "manager"  # the manager's DTMFEnd minus its duration
    GUARD = "guard"  # nothing was pressed during the guard time after the prompt
    UNPROVEN = "unproven"  # the manager link is there but told nothing of this press
    EVENT = "event"  # the switch's own event of the key, minus its duration
    VIRTUAL = "virtual"  # the simulated switch, which knows


# --- steps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the call. Results: Answered, Gone, Failed."""


@dataclass(frozen=True, slots=True)
class Play:
    """Play one prompt; only ``keys`` interrupt it. Results: Played, Pressed (one of keys), Gone, Failed."""

    prompt: Prompt
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """Open the choice window now and wait for one key. Results: Pressed (any key), TimedOut, Gone, Failed.

    Where the channel cannot tell when a press began, it first waits ``guard_ms`` and reports a key of that time with
    a negative ``after_ms``.
    """

    timeout_ms: int
    guard_ms: int


@dataclass(frozen=True, slots=True)
class Decide:
    """Write the one decision of this call. Results: Granted (only for a granted decision), Logged, Failed."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Record:
    """Start the recorder. Takes a Grant: there is no other way. Results: Recording, NotConfirmed, Gone."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Stop the recorder of this call, and read back that it stopped. Results: Stopped, Gone, Failed."""

    recording_id: str


@dataclass(frozen=True, slots=True)
class Note:
    """Write a further event of this call to the log. Results: Logged, Failed."""

    call: CallContext
    kind: str
    details: Mapping[str, str | int | bool | None] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Route:
    """Tell the dialplan where the call goes; the last step. Results: Routed, Gone, Failed."""

    destination: Destination
    outcome: str
    reason: str


Step = Answer | Play | Ask | Decide | Record | StopRecording | Note | Route

# --- results ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """The call is up."""


@dataclass(frozen=True, slots=True)
class Played:
    """The prompt was played to its end: ``samples`` as reported by the switch, ``elapsed_ms`` by our clock."""

    samples: int
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key. During Play ``samples`` says how far the prompt had come; after Ask ``after_ms`` when the press *began*,
    counted from the opening of the window (negative: before it), and ``timing`` how that is known."""

    key: str
    samples: int = 0
    after_ms: int = -1
    timing: Timing = Timing.UNPROVEN


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Silence until the end of the window."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The caller hung up. ``samples``: how much of the prompt under way had been played."""

    samples: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """Something other than the caller went wrong; ``reason`` is a slug for the decision."""

    reason: str


@dataclass(frozen=True, slots=True)
class Granted:
    """The granted decision is on disk; here is its proof."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Logged:
    """The event is on disk, or (never for a grant) kept in memory until the disk takes it: ``durable`` tells."""

    durable: bool = True


@dataclass(frozen=True, slots=True)
class Recording:
    """The switch and the file both say that the recorder runs. ``handle`` is the switch's own id of the recorder."""

    handle: str
    file: str


@dataclass(frozen=True, slots=True)
class NotConfirmed:
    """The recorder could not be confirmed. ``stopped``: whatever may have run was stopped, and read back so."""

    reason: str
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """The recorder was stopped and read back as stopped."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The dialplan knows where to go on."""


Result = (
    Answered
    | Played
    | Pressed
    | TimedOut
    | Gone
    | Failed
    | Granted
    | Logged
    | Recording
    | NotConfirmed
    | Stopped
    | Routed
)
