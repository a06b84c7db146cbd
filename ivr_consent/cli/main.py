"""Where the program begins: what can be told at once is, and all else is the app's (:mod:`ivr_consent.cli.app`).

A build of notices where nothing has changed is over before the app, with all its verbs and what they need, is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ivr_consent.cli.plain import ENVIRONMENT, config_path, say


def main() -> None:
    """Entry point of the program."""
    config = _built_with(sys.argv[1:])
    if config is None or not _unchanged(config):
        from ivr_consent.cli.app import app

        app()


def _built_with(words: Sequence[str]) -> Path | None:
    """The configuration of a plain ``prompts build``, of all lines and as text; ``None`` for any other command line."""
    given = os.environ.get(ENVIRONMENT) or None
    if len(words) > 1 and words[0] == "--config":
        given, words = words[1], words[2:]
    if list(words) != ["prompts", "build"]:
        return None
    return config_path(None if given is None else Path(given))


def _unchanged(config: Path) -> bool:
    from ivr_consent.unchanged import look

    found = look(config)
    if found is None:
        return False
    lines = "1 line" if found.lines == 1 else f"{found.lines} lines"
    say(f"nothing has changed: all {found.prompts} prompts of {lines} are built as they are written")
    say(f"in {found.store}")
    say("hear it: ivr-consent prompts play LINE; then: ivr-consent prompts publish LINE")
    return True


if __name__ == "__main__":
    main()
