"""Every error that this package raises on purpose.

::

    ConsentError
    ├── ConfigurationError     the administrator's file is wrong (has problems, each with key and remedy)
    ├── NoticeError            a notice file cannot be read or is not of the documented form
    ├── LedgerError            the log could not be read or written
    │   └── LedgerUnreadable   it is not ours, damaged, or of a newer version
    ├── AudioError             a prompt could not be spoken, converted or verified
    ├── SignatureError         a key of the site cannot be used, or a signature is not ours
    ├── VersionError           a version of a line's notice cannot be made, found or taken into use
    ├── FlowError              our own fault: the flow met a result that its table does not have
    ├── AnchorError            a checkpoint could not be shown outside of the log, or read back there (anchors.place)
    ├── TokenError             a time-stamp is not good (anchors.timestamp)
    ├── RecordingError         a recording's files are not as they should be (store.recordings)
    ├── ProtocolError          what is said on a wire is wrong (pbx.asterisk.wire)
    │   ├── LocalProtocolError     we did wrong (nothing was sent)
    │   └── RemoteProtocolError    they did wrong (the connection is closed)
    ├── EventSocketError       a command on FreeSWITCH's event socket had no good end
    └── ManagerError           an action on the manager connection had no good end (pbx.asterisk.manager)
        ├── ManagerGone            the link is down or went down before the reply
        ├── ManagerTimeout         no reply within the deadline
        └── UnsafeHeader           a header could be read as another one (nothing was sent)

A :class:`ConsentError` carries a message for an administrator: what is wrong, where, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass


class ConsentError(Exception):
    """Base of all errors raised on purpose; ``str()`` is fit to be shown to an administrator."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file of the administrator's.

    ``where`` names file and key (``lines.support.keys.yes``), ``found`` what stands there, ``remedy`` what to do.
    """

    where: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}. {self.remedy}"

    def plain(self) -> dict[str, str]:
        """As plain JSON values."""
        return {"where": self.where, "found": self.found, "remedy": self.remedy}


def shown(value: object) -> str:
    """A value as found in a file, printable. A number of thousands of digits, and tables within tables without end,
    are values that Python reads and cannot write."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that is too large"
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


class ConfigurationError(ConsentError):
    """The configuration is not usable; ``problems`` has each fault with its key and remedy."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__(f"{source}: " + "; ".join(str(problem) for problem in problems))


class NoticeError(ConsentError):
    """A notice file cannot be read or is not of the documented form."""


class LedgerError(ConsentError):
    """The log could not be read or written."""


class LedgerUnreadable(LedgerError):
    """The file is not a log of ours, is damaged, or was written by a newer version."""


class AudioError(ConsentError):
    """A prompt could not be spoken, converted or verified."""


class SignatureError(ConsentError):
    """A key of the site cannot be used, or a signature is not ours."""


class VersionError(ConsentError):
    """A version of a line's notice cannot be made, found or taken into use."""


class FlowError(ConsentError):
    """The flow met a result that its transition table does not have: a fault of ours, not of the call."""


class ProtocolError(ConsentError):
    """What is said on a wire is wrong."""


class EventSocketError(ConsentError):
    """A command on FreeSWITCH's event socket had no good end."""


class ManagerError(ConsentError):
    """An action on the manager connection had no good end."""
