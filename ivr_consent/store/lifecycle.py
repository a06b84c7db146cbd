"""The end of a recording, and what a restart finds: every granted call comes to a closing event in the log."""

from __future__ import annotations

import fcntl
import functools
import os
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from ivr_consent import __version__
from ivr_consent.core.decision import CallContext, Decision
from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.core.flow import failed_decision
from ivr_consent.core.steps import Logged
from ivr_consent.logs import get_logger
from ivr_consent.store import recordings, withdrawals
from ivr_consent.store.chain import CLOSING, ERASED, Chain
from ivr_consent.store.database import Database
from ivr_consent.store.decided import decision_entry
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.reader import CallRecord

SETTLE_S: Final = 10.0
"""How long an ended recorder may keep its file open; Asterisk closes it within milliseconds."""

YOUNG_S: Final = 60.0
"""A granted call younger than this may still be on its way to its recorder (also in another process)."""

UNSEEN_IDLE_S: Final = 6 * 3600.0
"""Where the open files of the switch cannot be seen, a file unchanged for so long belongs to an ended call."""

DIED_AFTER: Final = timedelta(hours=1)
"""A call that has been asked for so long without a decision is not being asked any more: its process died. The longest
notice with all repeats takes minutes, and a switch that hears nothing of us takes the call back within seconds."""

ID_LENGTH: Final = 32
"""Hexadecimal digits of a call's id, with which every file of its recording begins."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class Stop:
    """How the recorder of a call was stopped when consent was withdrawn.

    ``confirmed``: the switch says that none runs on the channel, or nobody has the file open any more. ``recorders``:
    how many the manager stopped (those that the dialplan stopped before are not among them). ``milliseconds``: from
    when we were told until that was known.
    """

    confirmed: bool
    recorders: int
    milliseconds: int


def finish_ended(ledger: Ledger, directory: Path, recording_id: str, *, empty: bool = False) -> bool:
    """The switch says that a recorded call hung up: finish its file. False when it is left to the sweep.

    The word of whoever called is worth only this: the log must know the call, granted and not closed. ``empty``: the
    switch wrote nothing, since caller and agent never talked, and so removed the file itself.
    """
    with ledger.reader() as reader:
        record = reader.call(recording_id)
    if record is None or record.call_id != recording_id or not _open(record):
        log.warning("ended_unknown_recording")
        return False
    if recordings.wait_released(directory, recording_id, SETTLE_S) is False:
        log.warning("recording_still_open", call_id=recording_id)
        return False
    _close(ledger, directory, record, empty=empty)
    return True


def sweep(ledger: Ledger, directory: Path, busy: AbstractSet[str]) -> int:
    """Close every granted call whose recording has ended without anyone saying so; their number.

    ``busy``: calls under way in this process.
    """
    with ledger.reader() as reader:
        records = reader.unfinished_grants()
    decide_died(ledger, busy)
    honour_marks(ledger, directory)
    closed = 0
    for record in records:
        call_id = record.call_id
        if call_id in busy or record.decision.payload["call"]["switch"] == "simulated" or _age(record) < YOUNG_S:
            continue
        used = recordings.in_use(directory, call_id)
        if used is True or (used is None and not _idle(directory, call_id)):
            continue
        try:
            _close(ledger, directory, record)
            closed += 1
        except (OSError, ConsentError) as error:  # one recording's trouble is not the next one's
            log.error("recording_not_finished", call_id=call_id, problem=str(error))
    return closed


def decide_died(ledger: Ledger, busy: AbstractSet[str], now: datetime | None = None) -> int:
    """Give each call that was being asked when its process died the one decision that it lacks (I3); their number.

    Nobody was asked to the end, so nothing was granted, and the caller was taken to the unrecorded line.
    """
    with ledger.reader() as reader:
        asked = [call for call in reader.undecided((now or datetime.now(UTC)) - DIED_AFTER) if call.call_id not in busy]
    done = 0
    for call in asked:
        # What its process knew went with it; whoever called is not known here, and not looked for.
        context = CallContext(call.call_id, call.line, "-", "-", None, f"ivr-consent {__version__}", "-")
        if ledger.transact(functools.partial(_decide_first, failed_decision(context, "service_died"))):
            log.warning("died_call_decided", call_id=call.call_id, line=call.line)
            done += 1
    return done


def _decide_first(decision: Decision, chain: Chain, database: Database, at: str) -> bool:
    """Append a decision unless the call has one by now; whether it was appended."""
    call_id = (decision.call.call_id,)
    if database.execute("SELECT 1 FROM decisions WHERE call_id = ?", call_id).fetchone() is None:
        return bool(chain.append(decision_entry(decision), at))
    # The disk had refused to take down that the call was asked, and took it after the decision.
    database.execute("DELETE FROM asked WHERE call_id = ?", call_id)
    return False


def expire(ledger: Ledger, directory: Path, now: datetime | None = None) -> int:
    """Erase recordings whose promised days are over (R14); their number.

    The days are those of the notice that the caller heard, frozen in the decision: a later configuration changes
    nothing. They count from the recording's end.
    """
    now = now or datetime.now(UTC)
    erased = 0
    with ledger.reader() as reader:
        records = reader.expired_recordings(now)
    for record in records:
        days = record.decision.payload["retention_days"]
        gone = recordings.discard(directory, record.call_id)
        if not gone:
            log.error("recording_not_erased", call_id=record.call_id, remedy="look at the directory's rights")
            continue
        details = {"reason": "retention_over", "retention_days": days, "erased": True}
        ledger.note_now(record.call_id, record.line, "recording_expired", details)
        erased += 1
    return erased


def erase_leftovers(ledger: Ledger, directory: Path) -> int:
    """Remove files of recordings that the log says are erased or stopped (a removal that failed); their number."""
    found = {path.name[:32] for path in directory.iterdir()}
    removed = 0
    with ledger.reader() as reader:
        for recording_id in found:
            record = reader.call(recording_id) if len(recording_id) == ID_LENGTH else None
            if record is None or not any(event.kind in ERASED for event in record.later):
                continue
            if recordings.in_use(directory, recording_id) is not True and recordings.discard(directory, recording_id):
                log.warning("leftover_erased", call_id=recording_id)
                removed += 1
    return removed


def withdraw(
    ledger: Ledger, directory: Path, call_id: str, *, by: str = "administrator", stop: Stop | None = None
) -> CallRecord:
    """A caller's withdrawal (R13): erase the recording, also one that still runs, and say so in the log.

    ``by`` whom: ``caller`` and ``agent`` by a code in the call, where ``stop`` says what became of the recorder, or the
    administrator. A running recorder keeps writing into a file that no longer has a name; when it closes it, nothing is
    left. Raises :class:`ConsentError` for a call that has no recording, and :class:`LedgerError` when the log cannot be
    written.
    """
    with _locked(directory):
        with ledger.reader() as reader:
            record = reader.call(call_id)
        if record is None:
            raise ConsentError(
                f"no call {call_id!r} in the log, or more than one that begins so; see: ivr-consent log list"
            )
        return _withdraw_locked(ledger, directory, record, by, stop)


def withdraw_pressed(ledger: Ledger, directory: Path, call_id: str, by: str, stop: Stop) -> bool:
    """As :func:`withdraw`, for a code that was pressed in the call; whether nothing of the recording is left.

    Pressed twice, the second finds it done. What cannot be done now is tried again by the sweep, which finds the mark.
    """
    try:
        withdraw(ledger, directory, call_id, by=by, stop=stop)
    except ConsentError as error:
        with ledger.reader() as reader:
            record = reader.call(call_id)
        if record is not None and _erased(record):
            withdrawals.unmark(directory, call_id)
            return True
        log.error("withdrawal_not_done", call_id=call_id, problem=str(error))
        return False
    return True


def honour_marks(ledger: Ledger, directory: Path) -> int:
    """Erase what was withdrawn in the call while nobody could be told; how many recordings."""
    erased = 0
    for call_id in withdrawals.marked(directory):
        with ledger.reader() as reader:
            record = reader.call(call_id)
        try:
            if record is None or record.decision.outcome != "granted" or _erased(record):
                # Of no recording of ours, or of one that is gone.
                withdrawals.unmark(directory, call_id)
                continue
            withdraw(ledger, directory, call_id, by=withdrawals.mark(directory, call_id) or "caller")
            log.info("withdrawal_found", call_id=call_id)
            erased += 1
        except (OSError, ConsentError) as error:  # one recording's trouble is not the next one's; the mark stays
            log.error("withdrawal_not_done", call_id=call_id, problem=str(error))
    return erased


def _withdraw_locked(ledger: Ledger, directory: Path, record: CallRecord, by: str, stop: Stop | None) -> CallRecord:
    found = record.call_id
    if record.decision.outcome != "granted":
        raise ConsentError(f"call {found} was not recorded ({record.decision.outcome}); there is nothing to withdraw")
    if _erased(record):
        raise ConsentError(f"the recording of call {found} is withdrawn already, or erased; see: ivr-consent log show")
    if not any(event.kind == "recording_confirmed" for event in record.later):
        # Nothing would be found to erase now, and the recorder could start a moment later.
        raise ConsentError(f"the recording of call {found} has not started yet; run this again in a moment")
    running = recordings.in_use(directory, found)
    if not recordings.discard(directory, found):
        raise ConsentError(f"a file of call {found} cannot be removed from {directory}; run this as the service's user")
    details: dict[str, Any] = {"reason": f"by_{by}", "erased": True, "was_running": running, "route": record.route}
    if by in withdrawals.BY:
        # Without a word of how it was stopped, whether anybody still writes is all that is known.
        confirmed = running is False if stop is None else stop.confirmed
        details |= {"by": by, "stop_confirmed": confirmed}
    if stop is not None:
        details |= {"recorders_stopped": stop.recorders, "stop_milliseconds": stop.milliseconds}
    written = ledger.note_now(found, record.line, "withdrawn", details)
    if not (isinstance(written, Logged) and written.durable):
        raise LedgerError("the recording is erased, but the log could not be written; make room and run this again")
    withdrawals.unmark(directory, found)
    return record


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time: a hang-up, a withdrawal and a sweep may come together."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConsentError(f"{directory} cannot be opened ({error.strerror}); run this as the service's user") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _close(ledger: Ledger, directory: Path, record: CallRecord, *, empty: bool = False) -> None:
    """Finish and log; where it was withdrawn in the call, erase and log that."""
    with _locked(directory):
        with ledger.reader() as reader:
            now = reader.call(record.call_id)
        if now is None or not _open(now):
            return
        by = withdrawals.mark(directory, now.call_id)
        if by is None:
            _close_locked(ledger, directory, now, empty=empty)
        else:
            _withdraw_locked(ledger, directory, now, by, None)


def _close_locked(ledger: Ledger, directory: Path, record: CallRecord, *, empty: bool = False) -> None:
    call_id, line = record.call_id, record.line
    kinds = {event.kind for event in record.later}
    there = bool(recordings.files(directory, call_id))
    if not there and not empty:
        started = "recording_confirmed" in kinds
        reason = "file_gone" if started else "recorder_never_started"
        ledger.note_now(call_id, line, "recording_missing", {"reason": reason, "route": "unrecorded"})
        log.warning("recording_missing", call_id=call_id, reason=reason)
        return
    finished = recordings.finish(directory, call_id) if there else recordings.Finished(None, 0, 0, None)
    if "routed" not in kinds and finished.milliseconds == 0:
        # We died between the grant and telling the dialplan: the caller went on unrecorded, and nothing was heard.
        recordings.discard(directory, call_id)
        details = {"reason": "dialplan_never_told", "stop_confirmed": True, "route": "unrecorded"}
        ledger.note_now(call_id, line, "recording_stopped", details)
        return
    ledger.note_now(
        call_id,
        line,
        "recording_ended",
        {
            "file": finished.file,
            "milliseconds": finished.milliseconds,
            "bytes": finished.size,
            "sha256": finished.sha256,
            "route": "recorded",
        },
    )
    log.info("recording_ended", call_id=call_id, ms=finished.milliseconds)


def _open(record: CallRecord) -> bool:
    return record.decision.outcome == "granted" and not any(event.kind in CLOSING for event in record.later)


def _erased(record: CallRecord) -> bool:
    return any(event.kind in ERASED for event in record.later)


def _age(record: CallRecord) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(record.decision.time)).total_seconds()


def _idle(directory: Path, recording_id: str) -> bool:
    times = [path.stat().st_mtime for path in recordings.files(directory, recording_id)]
    return not times or time.time() - max(times) > UNSEEN_IDLE_S
