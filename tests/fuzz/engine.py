"""One target under atheris, in a process of its own: ``python -m tests.fuzz.engine NAME [what libFuzzer takes]``.

Only our own modules have the fuzzer's instruments: what others wrote is not what is looked for here.
"""

from __future__ import annotations

import os
import sys

import atheris

LESS_IMPORTANT = 10


def main() -> None:
    """Never returns: libFuzzer ends the process, with 77 for an exception, 70 for a timeout, 71 for memory."""
    os.nice(LESS_IMPORTANT)
    with atheris.instrument_imports(include=["ivr_consent"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
