"""Every channel variable that we set or read, and the names that our dialplan uses."""

from __future__ import annotations

from typing import Final

RESULT: Final = "ivr_consent_result"
"""The outcome (``granted``, ``declined``, …). Set last: the dialplan records and branches on nothing else."""

REASON: Final = "ivr_consent_reason"
"""Why, as a slug."""

CALL_ID: Final = "ivr_consent_id"
"""Our id of the call: names the decision in the log and the recording."""

LINE: Final = "ivr_consent_line"
"""The line that asks, set by our dialplan."""

AGENTS: Final = "ivr_consent_agents"
"""Whom a recorded call was connected to first: the guard may be restarted meanwhile."""

NUMBER: Final = "ivr_consent_number"
"""The number of who is asked, where the dialplan knows better than the channel: an outgoing call."""

DIALLED: Final = "ivr_consent_dialled"
"""The number that was dialled, where the site sets it; else the one of the INVITE."""

LANGUAGE: Final = "default_language"
"""FreeSWITCH's own: the language of a channel."""

NONCE: Final = "ivr_consent_nonce"
"""Random text that is set on one connection and read on another: both speak of the same channel."""

RESUME: Final = "socket_resume"
"""FreeSWITCH's own: whether the dialplan goes on at once when the server is gone."""

CONTEXT: Final = "ivr-consent"
"""The context of our dialplan."""

HANGS: Final = "hangs"
AFTER: Final = "after"
DRAFT: Final = "draft"
"""``LINE.hangs``, ``LINE.after`` and ``LINE.draft``: extensions of our context. No line has a dot in its name."""

WITHDRAWN_EVENT: Final = "ivr_consent::withdrawn"
"""Subclass of the event that tells of a withdrawal in the call."""

BY: Final = "ivr_consent_by"
"""Field of that event: who pressed, ``caller`` or ``agent``."""

BEAT_EVENT: Final = "ivr_consent::beat"
BEAT: Final = "ivr_consent_beat"
"""Subclass and field of the event that the guard sends to itself."""

MARKS: Final = "ivr-consent"
"""Realm of the switch's own small database in which a withdrawal is marked by the call's id."""


def extension(line: str, part: str) -> str:
    """An extension of our context that belongs to a line."""
    return f"{line}.{part}"
