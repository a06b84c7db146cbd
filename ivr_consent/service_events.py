"""What the log is told that belongs to no call: when the service ran, what was in force, what was published.

None of it is personal but who approved a notice (``by``), which stands beside the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ivr_consent.core.errors import LedgerError
from ivr_consent.manifest import Manifest
from ivr_consent.site import Site
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.search import Wanted

SERVER_STARTED: Final = "server_started"
SERVER_STOPPED: Final = "server_stopped"
CONFIGURATION_PUBLISHED: Final = "configuration_published"
NOTICE_PUBLISHED: Final = "notice_published"


def server_started(site: Site) -> dict[str, Any]:
    """The details of :data:`SERVER_STARTED`: which software answers, and on which lines it asks."""
    ready = sorted(name for name, state in site.states.items() if state.plans)
    return {
        "software": site.software,
        "configuration_sha256": site.configuration_sha256,
        "lines": ready,
        "lines_not_ready": sorted(site.states.keys() - set(ready)),
    }


def server_stopped(reason: str, calls_cut: int) -> dict[str, Any]:
    """The details of :data:`SERVER_STOPPED`: why, and how many calls were still being asked."""
    return {"reason": reason, "calls_cut": calls_cut}


def configuration_published(site: Site) -> dict[str, Any]:
    """The details of :data:`CONFIGURATION_PUBLISHED`: what calls hear from now on."""
    lines = {}
    for name, state in site.states.items():
        manifest = None if state.manifest is None else state.manifest.sha256
        lines[name] = {"ready": bool(state.plans), "version": state.version, "manifest_sha256": manifest}
    return {"configuration_sha256": site.configuration_sha256, "lines": lines}


def notice_published(manifest: Manifest, act: str, by: str) -> dict[str, Any]:
    """The details of :data:`NOTICE_PUBLISHED`, an event of the line; ``act`` and ``by`` as in its history."""
    return {
        "act": act,
        "version": manifest.version,
        "manifest_sha256": manifest.sha256,
        "by": by,
    }


def last_in_force(reader: LedgerReader) -> Mapping[str, Any] | None:
    """The details of the newest :data:`CONFIGURATION_PUBLISHED`."""
    return _newest(reader, Wanted(kind=CONFIGURATION_PUBLISHED))


def last_notice(reader: LedgerReader, line: str) -> Mapping[str, Any] | None:
    """The details of the newest :data:`NOTICE_PUBLISHED` of a line."""
    return _newest(reader, Wanted(kind=NOTICE_PUBLISHED, line=line))


def _newest(reader: LedgerReader, wanted: Wanted) -> Mapping[str, Any] | None:
    try:
        newest = next(reader.events(wanted, limit=1), None)
    except LedgerError:
        return None  # somebody has changed it: then it is told anew
    return None if newest is None else newest.payload
