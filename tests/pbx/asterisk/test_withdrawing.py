"""A withdrawal in the call, from the manager's replies to the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pytest

from ivr_consent.core.errors import ManagerError
from ivr_consent.core.steps import Granted
from ivr_consent.pbx.asterisk.manager import Headers, HeaderValue, Reply
from ivr_consent.pbx.asterisk.stopping import Recorders
from ivr_consent.pbx.withdrawing import withdraw, withdraw_marked
from ivr_consent.store import recordings
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.reader import LoggedEvent
from tests.granted import granted_decision

ID = "0123456789abcdef" * 2
UNIQUEID = "1700000000.1"


class Switch:
    """A manager that stops so many recorders, then says that none is left; or says what it is told to."""

    def __init__(self, running: int = 0, refusal: str = "", down: bool = False) -> None:
        self.running, self.refusal, self.down = running, refusal, down
        self.asked: list[tuple[str, dict[str, HeaderValue]]] = []
        self.recorder: BinaryIO | None = None

    async def action(
        self,
        name: str,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        timeout: float = 0,  # noqa: ASYNC109 - as the link's
    ) -> Reply:
        self.asked.append((name, dict(headers or {})))
        if self.down:
            raise ManagerError("the link is down")
        if name == "StopMixMonitor" and (self.refusal or not self.running):
            return Reply(False, self.refusal or "Could not stop monitoring channel", Headers({}), ())
        self.running -= name == "StopMixMonitor"
        if self.recorder is not None:
            self.recorder.close()
        return Reply(True, "", Headers({}), ())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    log = Ledger(tmp_path / "log.db")
    assert isinstance(log.decide_now(granted_decision(ID)), Granted)
    log.note_now(ID, "support", "recording_confirmed", {"reason": "test"})
    log.note_now(ID, "support", "routed", {"route": "recorded"})
    yield log
    log.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    recordings.prepare(folder)
    (folder / f"{ID}.raw").write_bytes(bytes(3200))
    (folder / f"{ID}.withdrawn").write_text("agent")
    return folder


def last(ledger: Ledger) -> LoggedEvent:
    with ledger.reader() as reader:
        record = reader.call(ID)
    assert record is not None
    return record.later[-1]


async def test_the_agent_stops_the_recorder_on_the_callers_channel(ledger: Ledger, directory: Path) -> None:
    """R9, R13: by the channel that the log knows, until the switch says that none is left; then the caller is told."""
    switch = Switch(running=1)
    with (directory / f"{ID}.raw").open("ab") as recorder:
        switch.recorder = recorder
        assert await withdraw(ledger, directory, Recorders(switch), ID, "agent")
    assert [name for name, _ in switch.asked] == ["StopMixMonitor", "StopMixMonitor", "Setvar"]
    assert {headers["Channel"] for _, headers in switch.asked} == {UNIQUEID}
    assert list(directory.iterdir()) == []
    event = last(ledger)
    assert (event.kind, event.payload["by"], event.payload["recorders_stopped"]) == ("withdrawn", "agent", 1)
    assert event.payload["stop_confirmed"] is True


@pytest.mark.parametrize("switch", [None, Switch(down=True), Switch(refusal="Permission denied")])
async def test_where_the_manager_cannot_stop_it_the_open_file_tells(
    ledger: Ledger, directory: Path, switch: Switch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9: whoever still writes, writes into a file without a name; and it is not said to have stopped."""
    monkeypatch.setattr("ivr_consent.pbx.withdrawing.RELEASE_S", 0.1)
    with (directory / f"{ID}.raw").open("ab"):
        reached = None if switch is None else Recorders(switch)
        assert not await withdraw(ledger, directory, reached, ID, "agent")
    assert list(directory.iterdir()) == []
    assert (last(ledger).kind, last(ledger).payload["stop_confirmed"]) == ("withdrawn", False)
    assert switch is None or "Setvar" not in [name for name, _ in switch.asked]


async def test_the_callers_own_needs_no_manager(ledger: Ledger, directory: Path) -> None:
    assert await withdraw(ledger, directory, None, ID, "caller")
    assert last(ledger).payload["stop_confirmed"] is True
    assert await withdraw(ledger, directory, None, ID, "caller"), "a second time it is done already"


@pytest.mark.parametrize("by", ["caller", "agent"])
async def test_a_recorder_of_a_later_consent_runs_on(ledger: Ledger, directory: Path, by: str) -> None:
    """A withdrawal that is told late, after the caller has agreed again in the same call."""
    switch = Switch(running=1)
    assert await withdraw(ledger, directory, Recorders(switch), ID, by)
    assert switch.asked == []
    assert last(ledger).payload["stop_confirmed"] is True


async def test_nobody_elses_channel_is_touched(ledger: Ledger, directory: Path) -> None:
    """I6: an id that the log does not have as granted stops nothing."""
    switch = Switch(running=1)
    assert not await withdraw(ledger, directory, Recorders(switch), "f" * 32, "agent")
    assert switch.asked == []
    assert (directory / f"{ID}.raw").exists()


async def test_what_was_pressed_while_nobody_listened(ledger: Ledger, directory: Path) -> None:
    """R13: marks are found at the next start, and the recorder is stopped as well."""
    (directory / f"{'f' * 32}.withdrawn").write_text("caller")
    switch = Switch(running=1)
    with (directory / f"{ID}.raw").open("ab") as recorder:
        switch.recorder = recorder
        await withdraw_marked(ledger, directory, Recorders(switch))
    assert (last(ledger).kind, last(ledger).payload["by"]) == ("withdrawn", "agent")
    assert switch.running == 0
    assert [path.name for path in directory.iterdir()] == [f"{'f' * 32}.withdrawn"], "for the sweep to clear away"
