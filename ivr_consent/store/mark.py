"""How many events a log has had, beside its key: a log that lost its tail is noticed, and by how much.

The key goes on with each checkpoint, so a log older than the newest checkpoint is noticed by its key. Between two
checkpoints there is this: a line that is written, not flushed, after each commit. It is never more than what was on
disk, and it proves nothing: who can change the log can change it too. It is for accidents: an old copy put in its
place, a file system that went back in time, a disk that said "written" and had not.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from ivr_consent.store.files import give_to_owner_of_folder

_LINE: Final = re.compile(rb"([0-9a-f]{1,64}) ([0-9]{20})\n")


class Mark:
    """The file ``NAME.key.mark``: log id and number of events."""

    def __init__(self, key: Path) -> None:
        self.path = key.with_name(f"{key.name}.mark")
        self._descriptor = -1

    def events(self, log_id: str) -> int:
        """So many events the log has had at least; 0 where nothing is known of it."""
        try:
            found = _LINE.fullmatch(self.path.read_bytes())
        except OSError:
            return 0
        return int(found[2]) if found is not None and found[1].decode() == log_id else 0

    def set(self, log_id: str, events: int) -> None:
        """So many events are on disk. A mark that cannot be written is left as it is: nobody waits for it."""
        with contextlib.suppress(OSError):
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
                give_to_owner_of_folder(self._descriptor, self.path.parent)
            os.pwrite(self._descriptor, f"{log_id} {events:020d}\n".encode(), 0)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
