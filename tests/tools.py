"""Programs that tests need."""

from __future__ import annotations

import shutil

from ivr_consent.testing.rig import skip_or_fail


def need(*programs: str) -> None:
    """Skip the test without a program; fail it where a skip would go unnoticed (``CI=true``)."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        skip_or_fail(f"not installed: {', '.join(missing)}")
