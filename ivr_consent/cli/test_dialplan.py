"""``ivr-consent test --dialplan``: a site's own dialplan in the rig, called on every way in."""

from __future__ import annotations

import logging
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from ivr_consent.cli.terminal import Exit, print_json, safe, say

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.testing.dialplans.call import Seen

JOBS: Final = 32
"""Calls side by side where nobody names a number."""

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, beside the directory."""

    version: str
    contexts: tuple[str, ...]
    telephones: tuple[str, ...]
    ungated: tuple[str, ...]
    at: str
    jobs: int
    junit: Path | None
    json: bool


def test(directory: Path, settings: Settings | None, options: Options) -> Exit:
    """Call on every way in, and tell what came of it. Raises :class:`ConsentError` where that cannot be done."""
    from ivr_consent.logs import configure_logging
    from ivr_consent.testing.dialplans import playing
    from ivr_consent.testing.dialplans.judged import counts, judged
    from ivr_consent.testing.dialplans.told import junit, plain, told

    if options.at and not _TIME.fullmatch(options.at):
        raise typer.BadParameter('--at takes a time as "2026-11-23 10:00"')
    shown = not options.json and sys.stdout.isatty()
    began = time.monotonic()
    number = 0

    def done(seen: Seen, waiting: int) -> None:
        nonlocal number
        number += 1
        if shown:
            line = f"{number} calls, {waiting} to come  {seen.caller.name}, who {seen.caller.says.value}"
            sys.stdout.write(f"\r\x1b[K{safe(line)[:100]}")
            sys.stdout.flush()

    wanted = playing.Wanted(
        directory,
        "16" if options.version == "16" else "22",
        options.contexts,
        options.telephones,
        options.at,
        options.jobs,
        settings,
    )
    configure_logging(logging.ERROR, cache=False)  # the server's word on each call would fill the screen
    try:
        played = playing.play(wanted, lambda text: say(f"Asterisk: {text}", error=True), done)
    finally:
        configure_logging(cache=False)
        if shown:
            sys.stdout.write("\r\x1b[K")
    judgement = judged(played, options.ungated)
    if options.junit is not None:
        try:
            options.junit.write_bytes(junit(judgement))
        except OSError as error:
            raise typer.BadParameter(f"{options.junit} cannot be written ({error.strerror})") from None
    took = time.monotonic() - began
    if options.json:
        print_json(
            {"ok": judgement.good, "asterisk": wanted.version, "seconds": round(took, 3), **plain(played, judgement)}
        )
    else:
        for line in told(played, judgement):
            say(line)
        sums = counts(judgement)
        say(
            f"Asterisk {wanted.version}: {len(played.ways)} ways in, {sums['passed']} calls as they should be, "
            f"{sums['failed']} not, in {took:.1f} s"
        )
    return Exit.GOOD if judgement.good else Exit.PROBLEMS
