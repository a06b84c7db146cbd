"""The guard as the service runs it: made from the configuration, with the log behind it and everybody told."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from ivr_consent import metrics
from ivr_consent.audio.speech import CommandError, run_bounded
from ivr_consent.config import Settings
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import LedgerError
from ivr_consent.logs import get_logger
from ivr_consent.metrics import Count, uncounted
from ivr_consent.pbx.incidents import EXEMPTED, INCIDENT, PAUSED, Exempted, Incident
from ivr_consent.pbx.policy import Exemption, OpenFor, Policy, Standings
from ivr_consent.store import recordings
from ivr_consent.store.granted import Standing, standing
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.open_files import OpenFiles
from ivr_consent.store.quarantine import ENDINGS, Quarantine

COMMAND_S: Final = 30.0
"""How long the site's command may take for one incident."""

BLIND_S: Final = 3.0
"""So long the guard may be blind before recordings are ended: a link that is made anew takes less."""

BLIND_LOOK_S: Final = 0.5
"""How often it is looked whether it is."""

MAX_COMMANDS: Final = 100
"""Incidents that wait for the command; what comes beyond that is in the log alone."""

MAX_SAID: Final = 1 << 16
"""Bytes of the command's output that are read, and thrown away."""

log = get_logger()


def policy_of(settings: Settings, ledger: Ledger) -> Policy:
    """What the configuration wants of the guard."""
    guard = settings.guard
    spool = tuple(settings.path(Path(place)) for place in guard.spool)
    ours = settings.path(settings.recordings.directory)
    directory = None if guard.files == "destroy" else settings.path(guard.quarantine)
    return Policy(
        enforce=guard.mode == "enforce",
        recordings=ours,
        quarantine=Quarantine(directory, spool, ours, granted_in(ledger)),
        leave_files=guard.files == "leave",
        round_s=float(guard.round_seconds),
        exemptions=tuple(
            Exemption(one.context, one.channel, one.line, one.application, one.basis, one.reason)
            for one in guard.exemptions
        ),
        agents=lambda line: tuple(settings.lines[line].agents) if line in settings.lines else (),
        spool=spool[0],
    )


def granted_in(ledger: Ledger) -> Callable[[str], bool]:
    """Whether a log has a call as granted, by its id. Blocking."""

    def granted(call_id: str) -> bool:
        try:
            with ledger.reader() as reader:
                record = reader.call(call_id)
        except LedgerError:
            return True  # a log that cannot be read just now is no reason to take a recording away
        return record is not None and record.call_id == call_id and record.decision.outcome == Outcome.GRANTED.value

    return granted


class Sees(Protocol):
    """A guard of any switch, as far as it matters here."""

    @property
    def blind(self) -> str | None:
        """Why it does not see all that records; ``None`` when it does."""
        ...


class Telling:
    """Puts what the guard finds into the log and the service's log, and gives it to the site's command."""

    def __init__(
        self,
        ledger: Ledger,
        command: list[str] | None,
        spawn: Callable[[Coroutine[Any, Any, object], str], object],
        switch: str = "asterisk",
        count: Count = uncounted,
    ) -> None:
        self._ledger, self._command, self._spawn, self._count = ledger, command, spawn, count
        self._remedy = f"see: ivr-consent audit /etc/{switch}"
        self._commands = 0
        self._turn, self._order = asyncio.Lock(), asyncio.Lock()

    def incident(self, incident: Incident) -> None:
        """A recording without a grant."""
        details = incident.details()
        self._ledger.tell(INCIDENT, details)
        labels = {"way": incident.way, "mode": incident.mode, "confirmed": _yes(incident.confirmed)}
        self._count(metrics.INCIDENTS, labels)
        log.error(
            "recording_without_grant",
            incident=incident.id,
            way=incident.way,
            mode=incident.mode,
            found=incident.found,
            stopped=incident.stopped,
            confirmed=incident.confirmed,
            ms=details["ms"],
            files=[kept.fate.value for kept in incident.files],
            problem=incident.problem or None,
            remedy=self._remedy,
        )
        if self._command is not None and self._commands < MAX_COMMANDS:
            self._commands += 1
            self._spawn(self._run(details), "guard_command_failed")

    def exempted(self, exempted: Exempted) -> None:
        """A recording that is let be."""
        self._ledger.tell(EXEMPTED, exempted.details())
        self._count(metrics.EXEMPTED, {"way": exempted.way})
        log.info("recording_exempted", way=exempted.way, basis=exempted.basis)

    def scope(self, call_id: str, kind: str, reason: str, *, confirmed: bool) -> None:
        """A lawful recording was paused, or goes on."""
        self._spawn(self._note_in_order(call_id, kind, reason, confirmed), "guard_failed")
        if kind == PAUSED:
            self._count(metrics.PAUSES, {"reason": reason, "confirmed": _yes(confirmed)})
        log.info(kind, call_id=call_id, reason=reason, confirmed=confirmed)

    async def _note_in_order(self, call_id: str, kind: str, reason: str, confirmed: bool) -> None:
        async with self._order:  # a pause and its end are told in the order in which they came
            await asyncio.to_thread(self._note, call_id, kind, reason, confirmed)

    def _note(self, call_id: str, kind: str, reason: str, confirmed: bool) -> None:
        with self._ledger.reader() as reader:
            record = reader.call(call_id)
        if record is not None:
            self._ledger.note_now(call_id, record.line, kind, {"reason": reason, "confirmed": confirmed})

    async def _run(self, details: dict[str, Any]) -> None:
        assert self._command is not None
        shown = {name: value for name, value in details.items() if name != "call"}
        told = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **shown}
        data = (json.dumps(told) + "\n").encode()
        try:
            async with self._turn:  # one after the other: a flood of incidents is no flood of processes
                await asyncio.to_thread(run_bounded, self._command, data, timeout_s=COMMAND_S, max_output=MAX_SAID)
        except CommandError as error:
            log.error("guard_command_failed", problem=str(error), remedy="see guard.command")
        finally:
            self._commands -= 1


def _yes(true: bool) -> str:
    return "yes" if true else "no"


async def stop_while_blind(guard: Sees, ledger: Ledger, directory: Path) -> None:
    """Where recordings may not go on unseen: end all of them each time the guard has been blind for a while."""
    since: float | None = None
    while True:
        now = time.monotonic()
        since = None if guard.blind is None else now if since is None else since
        if since is not None and now - since >= BLIND_S:
            since = now
            await asyncio.to_thread(stop_all, ledger, directory)
        await asyncio.sleep(BLIND_LOOK_S)


def stop_all(ledger: Ledger, directory: Path) -> int:
    """End every recording with a grant, and erase what there is of it; their number.

    The switch cannot be told now. A running recorder writes on into a file that has no name any more, and the guard
    stops it as soon as it sees again: its grant does not stand.
    """
    with ledger.reader() as reader:
        records = reader.unfinished_grants()
    for record in records:
        erased = recordings.discard(directory, record.call_id)
        details = {"reason": "guard_blind", "stop_confirmed": False, "erased": erased, "route": "recorded"}
        ledger.note_now(record.call_id, record.line, "recording_stopped", details)
        log.error("recording_stopped", call_id=record.call_id, reason="guard_blind", erased=erased)
    return len(records)


def open_for(recordings: Path) -> OpenFor:
    """Which recordings the switch writes, as its open files tell."""

    async def found(wanted: frozenset[str]) -> frozenset[str] | None:
        return await asyncio.to_thread(_open_for, recordings, wanted)

    return found


def standings_of(ledger: Ledger) -> Standings:
    """How recordings stand, asked of a log."""

    async def standings(call_id: str, uniqueid: str) -> Standing:
        return await asyncio.to_thread(_standing, ledger, call_id, uniqueid)

    return standings


def _standing(ledger: Ledger, call_id: str, uniqueid: str) -> Standing:
    with ledger.reader() as reader:
        return standing(reader, call_id, uniqueid)


def _open_for(recordings: Path, wanted: frozenset[str]) -> frozenset[str] | None:
    """Recordings that the switch writes at this moment; the switch runs as the user of our recordings' directory."""
    looked = OpenFiles({recordings.stat().st_uid, os.getuid()}, {os.path.realpath(name) for name in wanted} or None)
    found = frozenset(path for path in looked if os.path.splitext(path)[1].lower() in ENDINGS)  # noqa: PTH122 - plain
    return None if looked.blind and not found else found
