"""Places outside of the log where its checkpoints are shown, so that who changes the log later is found out.

A checkpoint is a signed note, a text of a few lines: it can be appended to a file, go to the system's journal, be
mailed, be given to a program, be time-stamped. ``publisher`` brings it there, ``gather`` reads back what stands there.
"""

from __future__ import annotations
