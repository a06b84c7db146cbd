"""The service's part of Asterisk: what it passes on between withdrawals and the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from ivr_consent.config import Settings
from ivr_consent.core.steps import Granted
from ivr_consent.pbx.asterisk.guard.watcher import Guard
from ivr_consent.side_asterisk import AsteriskSide
from ivr_consent.store import recordings
from ivr_consent.store.granted import Standing, standing
from ivr_consent.store.ledger import Ledger
from tests.granted import granted_decision

ID = "0123456789abcdef" * 2


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    log = Ledger(tmp_path / "log.db")
    yield log
    log.close()


class Watching:
    """A guard that notes how the grant stood when it was told to look."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.found: list[Standing] = []

    def look_at_scopes(self) -> None:
        with self._ledger.reader() as reader:
            self.found.append(standing(reader, ID, "1.1"))


@pytest.mark.parametrize("marked", [False, True])
async def test_the_guard_looks_again_once_a_withdrawal_is_in_the_log(
    ledger: Ledger, tmp_path: Path, marked: bool
) -> None:
    """The one who withdrew may be in the bridge of another recording."""
    folder = tmp_path / "recordings"
    recordings.prepare(folder)
    assert isinstance(ledger.decide_now(granted_decision(ID, uniqueid="1.1")), Granted)
    ledger.note_now(ID, "support", "recording_confirmed", {"reason": "test"})
    side = AsteriskSide(cast("Settings", None), ledger, folder, lambda work, _: asyncio.ensure_future(work))
    watching = Watching(ledger)
    side._guard = cast("Guard", watching)
    await side.withdraw_marked()
    assert watching.found == []  # nobody withdrew
    if marked:
        (folder / f"{ID}.withdrawn").write_text("caller")
        await side.withdraw_marked()
    else:
        await side.withdraw(ID, "caller")
    assert watching.found == [Standing.OVER]
