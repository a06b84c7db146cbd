"""Every channel variable that we set or read, and the names that our dialplan uses."""

from __future__ import annotations

from typing import Final

RESULT: Final = "IVR_CONSENT_RESULT"
"""The outcome (``granted``, ``declined``, …). Set last: the dialplan records and branches on nothing else."""

REASON: Final = "IVR_CONSENT_REASON"
"""Why, as a slug."""

CALL_ID: Final = "IVR_CONSENT_ID"
"""Our id of the call: names the decision in the log and the recording."""

LINE: Final = "IVR_CONSENT_LINE"
"""The line that asked, as the dialplan named it."""

AGENTS: Final = "IVR_CONSENT_AGENTS"
"""The devices that a recorded call was connected to first, parted by commas: the guard may be restarted meanwhile."""

MIXMONITOR: Final = "IVR_CONSENT_MIXMONITOR"
"""Asterisk's handle of the recorder that a grant started."""

WITHDRAWN: Final = "IVR_CONSENT_WITHDRAWN"
"""``yes`` on the channel that reports a withdrawal, once nothing records any more and nothing is left."""

WITHDRAWN_RESULT: Final = "withdrawn"
"""The result on the caller's channel from a withdrawal on: its hang-up reports no recording."""

CONTEXT: Final = "ivr-consent"
"""The context of our dialplan; a session that comes from it may lean on its ``T`` extension."""

DRAFT_CONTEXT: Final = "ivr-consent-draft"
"""The context in which an administrator's own telephone hears a draft; it has a ``T`` extension too."""

CONSENT_SCRIPT: Final = "consent"
ENDED_SCRIPT: Final = "ended"
WITHDRAW_SCRIPT: Final = "withdraw"
"""What stands after the host in ``agi://127.0.0.1:4573/…``: the gate, the hang-up handler of a recorded call, and the
feature code that withdraws consent."""

ENDED_ARGUMENT: Final = "--ended"
WITHDRAW_ARGUMENT: Final = "--withdraw"
"""Likewise for the classic script, before the id: no line can have such a name."""

CONFIGURATION_ARGUMENT: Final = "--config="
"""Before the configuration's path among the classic script's arguments, where it is not the default one."""

CHECK_SCRIPT: Final = "check"
"""What ``ivr-consent check`` asks for, to see that it is our server that answers: no call, and no line of log."""
