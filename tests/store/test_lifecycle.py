"""How recordings end: reported, swept up, kept as long as promised, withdrawn."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ivr_consent.core.errors import ConsentError
from ivr_consent.core.flow import failed_decision
from ivr_consent.core.steps import Granted, Logged
from ivr_consent.store import lifecycle, recordings
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.plans import call_context
from tests.granted import granted_decision

ID = "0123456789abcdef" * 2
FRAMES = bytes(4 * 800)  # a tenth of a second of both sides


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    log = Ledger(tmp_path / "log.db", clock=lambda: datetime.now(UTC) - timedelta(minutes=10))
    yield log
    log.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    recordings.prepare(folder)
    return folder


def grant(ledger: Ledger, *kinds: str, days: int = 30) -> None:
    assert isinstance(ledger.decide_now(granted_decision(ID, days=days)), Granted)
    for kind in kinds:
        note(ledger, kind)


def note(ledger: Ledger, kind: str) -> None:
    details = {"route": "recorded"} if kind == "routed" else {"reason": "test"}
    assert ledger.note_now(ID, "support", kind, details) == Logged()


def record(ledger: Ledger) -> CallRecord:
    with ledger.reader() as reader:
        found = reader.call(ID)
    assert found is not None
    return found


def test_an_ended_recording_is_finished_with_its_length_and_digest(ledger: Ledger, directory: Path) -> None:
    """R22."""
    grant(ledger, "recording_confirmed", "routed")
    (directory / f"{ID}.raw").write_bytes(FRAMES)
    assert lifecycle.finish_ended(ledger, directory, ID)
    last = record(ledger).later[-1]
    assert (last.kind, last.payload["milliseconds"], last.payload["file"]) == ("recording_ended", 100, f"{ID}.wav")
    assert not lifecycle.finish_ended(ledger, directory, ID), "closed: whoever asks again gets nothing"


@pytest.mark.parametrize("known", [False, True])
def test_whoever_reports_an_end_reaches_only_granted_calls(ledger: Ledger, directory: Path, known: bool) -> None:
    """I6: the hang-up handler's word names a file; a call that the log does not have as granted has none of ours."""
    if known:
        assert ledger.decide_now(failed_decision(call_context(ID), "silence")) == Logged()
    (directory / f"{ID}.raw").write_bytes(FRAMES)
    assert not lifecycle.finish_ended(ledger, directory, ID)
    assert (directory / f"{ID}.raw").exists()


@pytest.mark.parametrize(
    ("kinds", "content", "kind", "reason"),
    [
        ((), None, "recording_missing", "recorder_never_started"),
        (("recording_confirmed", "routed"), None, "recording_missing", "file_gone"),
        ((), b"", "recording_stopped", "dialplan_never_told"),
        (("recording_confirmed",), b"", "recording_stopped", "dialplan_never_told"),
        (("recording_confirmed",), FRAMES, "recording_ended", None),
        (("recording_confirmed", "routed"), b"", "recording_ended", None),
    ],
)
def test_a_restart_explains_every_open_grant(
    ledger: Ledger, directory: Path, kinds: tuple[str, ...], content: bytes | None, kind: str, reason: str | None
) -> None:
    """R6, R7: whatever killed us between grant and end, the log comes to a closing event that says what happened."""
    grant(ledger, *kinds)
    if content is not None:
        (directory / f"{ID}.raw").write_bytes(content)
    assert lifecycle.sweep(ledger, directory, frozenset()) == 1
    last = record(ledger).later[-1]
    assert (last.kind, last.payload.get("reason")) == (kind, reason)
    assert recordings.files(directory, ID) == ([directory / f"{ID}.wav"] if content else [])
    assert lifecycle.sweep(ledger, directory, frozenset()) == 0


def test_the_sweep_leaves_what_still_goes_on(ledger: Ledger, directory: Path, tmp_path: Path) -> None:
    """A file that is open for writing, a call under way in this process, and a grant just made."""
    grant(ledger, "recording_confirmed", "routed")
    assert lifecycle.sweep(ledger, directory, frozenset({ID})) == 0
    with (directory / f"{ID}.raw").open("wb") as recorder:
        recorder.write(FRAMES)
        assert lifecycle.sweep(ledger, directory, frozenset()) == 0
    assert lifecycle.sweep(ledger, directory, frozenset()) == 1
    young = Ledger(tmp_path / "young.db")
    try:
        grant(young)
        assert lifecycle.sweep(young, directory, frozenset()) == 0
    finally:
        young.close()


@pytest.mark.parametrize(("days_later", "erased"), [(29, 0), (31, 1)])
def test_thirty_days_are_thirty_days(ledger: Ledger, directory: Path, days_later: int, erased: int) -> None:
    """R14: counted from the recording's end, with the days of the decision."""
    grant(ledger, "recording_confirmed", "routed", days=30)
    (directory / f"{ID}.raw").write_bytes(FRAMES)
    lifecycle.finish_ended(ledger, directory, ID)
    now = datetime.now(UTC) + timedelta(days=days_later)
    assert lifecycle.expire(ledger, directory, now) == erased
    assert bool(recordings.files(directory, ID)) is not bool(erased)
    assert (record(ledger).recording == "expired") is bool(erased)
    assert lifecycle.expire(ledger, directory, now) == 0


def test_a_withdrawal_erases_a_running_and_an_ended_recording(ledger: Ledger, directory: Path) -> None:
    """R13: no file is left, also of a recorder that still writes; the log says so; a second time is told."""
    grant(ledger, "recording_confirmed", "routed")
    with (directory / f"{ID}.raw").open("wb") as recorder:
        recorder.write(FRAMES)
        lifecycle.withdraw(ledger, directory, ID[:8])
        recorder.write(FRAMES)
    assert recordings.files(directory, ID) == []
    last = record(ledger).later[-1]
    assert (last.kind, last.payload["was_running"], last.payload["erased"]) == ("withdrawn", True, True)
    assert not lifecycle.finish_ended(ledger, directory, ID)
    with pytest.raises(ConsentError, match="already"):
        lifecycle.withdraw(ledger, directory, ID)


@pytest.mark.parametrize("call_id", ["", "ffff", "%", "../x"])
def test_a_withdrawal_of_nothing_says_so(ledger: Ledger, directory: Path, call_id: str) -> None:
    with pytest.raises(ConsentError, match="log list"):
        lifecycle.withdraw(ledger, directory, call_id)
    ledger.decide_now(failed_decision(call_context(ID), "silence"))
    with pytest.raises(ConsentError, match="was not recorded"):
        lifecycle.withdraw(ledger, directory, ID)


def test_a_withdrawal_before_the_recorder_runs_is_asked_for_again(ledger: Ledger, directory: Path) -> None:
    """R13: there is nothing to erase yet, and a file could come to be a moment later."""
    grant(ledger)
    with pytest.raises(ConsentError, match="not started yet"):
        lifecycle.withdraw(ledger, directory, ID)
    assert record(ledger).later == ()


@pytest.mark.parametrize(("kind", "left"), [("recording_stopped", 0), ("withdrawn", 0), ("routed", 1)])
def test_files_that_should_be_gone_are_removed_later(ledger: Ledger, directory: Path, kind: str, left: int) -> None:
    """R1: a removal that failed at its time (a disk's hiccup) is done again; others' files are left alone."""
    grant(ledger, "recording_confirmed", kind)
    (directory / f"{ID}.raw").write_bytes(FRAMES)
    (directory / "notes.txt").write_text("not ours")
    lifecycle.erase_leftovers(ledger, directory)
    assert len(recordings.files(directory, ID)) == left
    assert (directory / "notes.txt").exists()


# --- calls whose process died -------------------------------------------------------------------------------------


def asked(ledger: Ledger, call_id: str) -> None:
    assert ledger.note_now(call_id, "support", "asked", {"languages": "en"}) == Logged()


def decisions(ledger: Ledger, call_id: str) -> list[tuple[str | None, str, str, str]]:
    with ledger.reader() as reader:
        events = [event for event in reader.history(call_id) if event.kind == "decision"]
    return [(event.outcome, event.payload["reason"], event.payload["route"], str(event.line)) for event in events]


@pytest.fixture
def two_hours_ago(tmp_path: Path) -> Iterator[Ledger]:
    log = Ledger(tmp_path / "log.db", clock=lambda: datetime.now(UTC) - timedelta(hours=2))
    yield log
    log.close()


def test_a_call_whose_process_died_gets_its_decision(two_hours_ago: Ledger, directory: Path) -> None:
    """I3: also after a kill -9 every call ends in one decision, and it names its reason."""
    ledger = two_hours_ago
    asked(ledger, ID)
    assert lifecycle.sweep(ledger, directory, frozenset()) == 0, "no recording was finished"
    assert decisions(ledger, ID) == [("failed", "service_died", "unrecorded", "support")]
    before = decisions(ledger, ID)
    lifecycle.sweep(ledger, directory, frozenset())
    assert decisions(ledger, ID) == before, "one, whoever sweeps how often"
    with ledger.reader() as reader:
        found = reader.call(ID)
        assert reader.undecided(datetime.now(UTC)) == []
    assert found is not None
    assert found.decision.payload["call"]["subject_ref"] is None
    assert (found.recording, found.route) == ("none", "unrecorded")


def test_a_call_that_may_still_be_asked_is_left(ledger: Ledger, two_hours_ago: Ledger, directory: Path) -> None:
    """Busy here, or begun a moment ago, maybe by another process."""
    other = "f" * 32
    asked(two_hours_ago, ID)
    asked(ledger, other)
    lifecycle.sweep(ledger, directory, frozenset({ID}))
    assert decisions(ledger, ID) == decisions(ledger, other) == []
    assert lifecycle.decide_died(ledger, frozenset(), datetime.now(UTC) + timedelta(minutes=51)) == 2
    assert len(decisions(ledger, other)) == 1


def test_two_sweeps_at_once_decide_once(two_hours_ago: Ledger, directory: Path) -> None:
    """The service's and one from the command line: the second finds the decision, and voids nothing."""
    asked(two_hours_ago, ID)
    with two_hours_ago.reader() as reader:
        died = reader.undecided(datetime.now(UTC))
    for _ in range(2):
        context = replace(call_context(ID, line="support"), subject_ref=None)
        work = functools.partial(lifecycle._decide_first, failed_decision(context, "service_died"))
        two_hours_ago.transact(work)
    assert len(died) == 1
    with two_hours_ago.reader() as reader:
        assert [event.kind for event in reader.history(ID)] == ["asked", "decision"]


def test_what_was_asked_after_its_decision_is_no_call_that_died(two_hours_ago: Ledger, directory: Path) -> None:
    """The disk refused the first event of a call, and took it after the second: the decision stands."""
    assert two_hours_ago.decide_now(failed_decision(call_context(ID, line="support"), "silence")) == Logged()
    asked(two_hours_ago, ID)
    assert lifecycle.decide_died(two_hours_ago, frozenset()) == 0
    assert [reason for _, reason, *_ in decisions(two_hours_ago, ID)] == ["silence"]
    with two_hours_ago.reader() as reader:
        assert reader.undecided(datetime.now(UTC)) == []


# --- withdrawn by a code in the call -----------------------------------------------------------------------------


def marked(directory: Path, said: str = "caller") -> Path:
    path = directory / f"{ID}.withdrawn"
    path.write_text(said)
    return path


@pytest.mark.parametrize("ended", [False, True])
def test_a_mark_outlives_whoever_should_have_been_told(ledger: Ledger, directory: Path, ended: bool) -> None:
    """R13, I5: the service was dead when the code was pressed; the sweep erases, also what has ended since."""
    grant(ledger, "recording_confirmed", "routed")
    (directory / f"{ID}.raw").write_bytes(FRAMES)
    if ended:
        assert lifecycle.finish_ended(ledger, directory, ID)
    marked(directory, "agent")
    lifecycle.sweep(ledger, directory, frozenset())
    assert list(directory.iterdir()) == []
    last = record(ledger).later[-1]
    assert (last.kind, last.payload["by"], last.payload["stop_confirmed"]) == ("withdrawn", "agent", True)
    kinds = [event.kind for event in record(ledger).later]
    lifecycle.sweep(ledger, directory, frozenset())
    assert [event.kind for event in record(ledger).later] == kinds


def test_a_recording_that_was_withdrawn_is_not_finished(ledger: Ledger, directory: Path) -> None:
    """I5: the hang-up comes before the withdrawal could be told."""
    grant(ledger, "recording_confirmed", "routed")
    (directory / f"{ID}.raw").write_bytes(FRAMES)
    marked(directory)
    assert lifecycle.finish_ended(ledger, directory, ID)
    assert list(directory.iterdir()) == []
    assert [event.kind for event in record(ledger).later][-1] == "withdrawn"
    assert "recording_ended" not in [event.kind for event in record(ledger).later]


def test_pressed_twice_is_one_withdrawal(ledger: Ledger, directory: Path) -> None:
    grant(ledger, "recording_confirmed", "routed")
    (directory / f"{ID}.raw").write_bytes(FRAMES)
    stop = lifecycle.Stop(True, 1, 12)
    for _ in range(2):
        marked(directory)
        assert lifecycle.withdraw_pressed(ledger, directory, ID, "caller", stop)
        assert list(directory.iterdir()) == []
    (last,) = [event for event in record(ledger).later if event.kind == "withdrawn"]
    assert (last.payload["recorders_stopped"], last.payload["stop_milliseconds"]) == (1, 12)


def test_a_recorder_that_still_writes_is_not_said_to_have_stopped(ledger: Ledger, directory: Path) -> None:
    """R9: nothing of it is left, and the log does not say more than is known."""
    grant(ledger, "recording_confirmed", "routed")
    with (directory / f"{ID}.raw").open("wb") as recorder:
        recorder.write(FRAMES)
        marked(directory)
        lifecycle.sweep(ledger, directory, frozenset())
    assert list(directory.iterdir()) == []
    last = record(ledger).later[-1].payload
    assert (last["was_running"], last["stop_confirmed"]) == (True, False)


def test_marks_of_nothing_are_cleared_away_and_early_ones_stay(ledger: Ledger, directory: Path) -> None:
    """A mark before the recorder is confirmed waits for it; one of no call of ours is nobody's."""
    (directory / f"{'f' * 32}.withdrawn").write_text("caller")
    (directory / "notes.withdrawn").write_text("mine")
    grant(ledger)
    mark = marked(directory, "")
    assert lifecycle.honour_marks(ledger, directory) == 0
    assert sorted(path.name for path in directory.iterdir()) == [mark.name, "notes.withdrawn"]
    assert not lifecycle.withdraw_pressed(ledger, directory, ID, "caller", lifecycle.Stop(True, 0, 0))
    note(ledger, "recording_confirmed")
    assert lifecycle.honour_marks(ledger, directory) == 1
    assert [path.name for path in directory.iterdir()] == ["notes.withdrawn"]
    assert record(ledger).later[-1].payload["by"] == "caller"
