"""What a site has written for its switch: the audits read all of it and run nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Final

from ivr_consent.cli.plain import safe
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.asterisk.audit.judge import audit as audit_asterisk
from ivr_consent.pbx.audit.report import MOST_FINDINGS, Report
from ivr_consent.pbx.audit.sarif import sarif
from ivr_consent.pbx.freeswitch.audit.judge import audit as audit_freeswitch
from tests import audits, freeswitch_audits
from tests.fuzz.target import scratch, shown

FILE: Final = b"\n;;;; "
"""In an input: here begins another file of the site, whose name is the rest of the line."""

ASTERISK_FILES: Final = (
    "extensions.conf extensions.ael extensions.lua queues.conf features.conf pjsip.conf confbridge.conf manager.conf "
    "asterisk.conf a.inc"
)


def _site(folder: Path, usual: str, data: bytes) -> dict[str, int]:
    """Write the files of an input; how many lines each has."""
    found: dict[str, int] = {}
    for number, part in enumerate(data.split(FILE)):
        name, text = usual, part
        if number:
            first, _, text = part.partition(b"\n")
            name = first.decode("ascii", "replace").strip()
            if name not in ASTERISK_FILES.split():
                continue
        (folder / name).write_bytes(text)
        found[name] = len(text.splitlines()) + text.count(b"\r") + 1
    return found


@cache
def _asterisk() -> Path:
    folder = scratch() / "asterisk"
    audits.add_ours(folder)
    return folder


def asterisk(usual: str, data: bytes) -> None:
    """Files of an Asterisk; the first of an input is the ``usual`` one."""
    folder = _asterisk()
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    lines = _site(folder, usual, data)
    _judged(lambda: audit_asterisk([folder]), lines)


@cache
def _freeswitch() -> Path:
    scratch().joinpath("freeswitch").mkdir(exist_ok=True)
    return freeswitch_audits.site(scratch() / "freeswitch")


def freeswitch(data: bytes) -> None:
    """A dialplan of a FreeSWITCH, with what its preprocessor does."""
    folder = _freeswitch()
    path = folder / "dialplan" / "public.xml"
    path.write_bytes(data)
    _judged(lambda: audit_freeswitch([folder]), {"dialplan/public.xml": data.count(b"\n") + 1})


def _judged(audit: Callable[[], Report], lines: dict[str, int]) -> None:
    try:
        report = audit()
    except ConsentError as error:
        shown(str(error))
        return
    assert len(report.findings) <= MOST_FINDINGS + 1
    json.dumps(report.plain(), allow_nan=False)
    json.dumps(sarif(report), allow_nan=False)
    assert safe(report.read).isprintable()
    for finding in report.findings:
        shown(safe(finding.found))
        shown(safe(finding.remedy))
        for place in (finding.place, *(stop.place for stop in finding.way)):
            assert 0 <= place.line <= lines.get(place.file, 1 << 30), f"a line that there is not: {place}"


conf = partial(asterisk, "extensions.conf")
ael = partial(asterisk, "extensions.ael")
lua = partial(asterisk, "extensions.lua")
