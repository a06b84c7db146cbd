"""The guard as the service runs it: what stands in the log counts, and everybody is told."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivr_consent import config, guarding
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConfigurationError
from ivr_consent.core.flow import failed_decision
from ivr_consent.core.steps import Granted
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.store import recordings
from ivr_consent.store.granted import Standing, standing
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.quarantine import Fate, Kept
from ivr_consent.store.search import Wanted
from ivr_consent.testing.plans import call_context
from tests.granted import granted_decision

DEADLINE_S = 30.0
ID = "0123456789abcdef" * 2


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    recordings.prepare(folder)
    return folder


def granted(ledger: Ledger, *kinds: str) -> None:
    assert isinstance(ledger.decide_now(granted_decision(ID, uniqueid="1.1")), Granted)
    for kind in kinds:
        ledger.note_now(ID, "support", kind, {"reason": "test"})


def stands(ledger: Ledger, call_id: str = ID, uniqueid: str = "1.1") -> Standing:
    with ledger.reader() as reader:
        return standing(reader, call_id, uniqueid)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.01)  # polling, with the deadline above


# --- what stands -----------------------------------------------------------------------------------------------------


def test_a_grant_stands_on_its_own_channel_until_something_closes_it(ledger: Ledger) -> None:
    assert stands(ledger) is Standing.UNKNOWN
    granted(ledger, "recording_confirmed", "routed", "recording_paused", "recording_resumed")
    assert stands(ledger) is Standing.OPEN
    assert stands(ledger, uniqueid="2.2") is Standing.UNKNOWN
    assert stands(ledger, call_id=ID[:31]) is Standing.UNKNOWN


@pytest.mark.parametrize("kind", ["withdrawn", "recording_stopped", "recording_ended", "grant_void"])
def test_what_closes_it(ledger: Ledger, kind: str) -> None:
    granted(ledger, kind)
    assert stands(ledger) is Standing.OVER


def test_a_refusal_grants_nothing(ledger: Ledger) -> None:
    call = replace(call_context(ID, line="support"), switch="asterisk", channel_uniqueid="1.1")
    ledger.decide_now(replace(failed_decision(call, "no_key"), outcome=Outcome.DECLINED))
    assert stands(ledger) is Standing.UNKNOWN


# --- blind -----------------------------------------------------------------------------------------------------------


class Blind:
    blind: str | None = None


async def test_recordings_end_when_the_guard_stays_blind(
    ledger: Ledger, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "BLIND_S", 0.1)
    monkeypatch.setattr(guarding, "BLIND_LOOK_S", 0.01)
    granted(ledger, "recording_confirmed", "routed")
    path = directory / f"{ID}.raw"
    path.write_bytes(b"voice")
    guard = Blind()
    work = asyncio.create_task(guarding.stop_while_blind(guard, ledger, directory))
    try:
        await asyncio.sleep(0.3)  # it sees: nothing is to happen
        assert path.exists()
        guard.blind = "manager_link_down"
        await until(lambda: not path.exists())
        await until(lambda: stands(ledger) is Standing.OVER)
    finally:
        work.cancel()
    with ledger.reader() as reader:
        (event,) = reader.events(Wanted(kind="recording_stopped"))
    assert (event.payload["reason"], event.payload["erased"]) == ("guard_blind", True)


# --- telling ---------------------------------------------------------------------------------------------------------

INCIDENT = Incident(
    way="MixMonitor",
    mode="enforce",
    stopped=1,
    confirmed=True,
    seconds=0.0042,
    context="queues",
    channel_uniqueid="1795342483.7",
    files=(Kept(Fate.QUARANTINED, 364, "x.wav"),),
)


def spawning(tasks: list[asyncio.Task[object]]) -> Callable[[Coroutine[Any, Any, object], str], object]:
    def spawn(work: Coroutine[Any, Any, object], _: str) -> object:
        tasks.append(asyncio.ensure_future(work))
        return None

    return spawn


async def test_an_incident_is_in_the_log_and_given_to_the_command(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "told"
    program = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    tasks: list[asyncio.Task[object]] = []
    telling = guarding.Telling(ledger, [sys.executable, "-c", program, str(out)], spawning(tasks))
    telling.incident(INCIDENT)
    telling.incident(replace(INCIDENT, id="b" * 32, confirmed=False, problem="Permission denied"))
    await asyncio.gather(*tasks)
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert (first["way"], first["ms"], first["files"][0]["name"]) == ("MixMonitor", 4, "x.wav")
    assert second["problem"] == "Permission denied"
    assert "1795342483.7" not in out.read_text()
    with ledger.reader() as reader:
        event = next(iter(reader.events(Wanted(kind="incident"))))
        ((payload,),) = reader._database.execute("SELECT payload FROM events WHERE sequence = ?", [event.sequence])
    assert event.payload["call"] == {"channel_uniqueid": "1795342483.7"}
    assert b"1795342483.7" not in payload, "it stands beside the chain, erasable"


async def test_a_command_that_fails_hinders_nothing(ledger: Ledger) -> None:
    tasks: list[asyncio.Task[object]] = []
    telling = guarding.Telling(ledger, ["/nowhere/alarm"], spawning(tasks))
    for _ in range(guarding.MAX_COMMANDS + 50):
        telling.incident(INCIDENT)
    assert len(tasks) == guarding.MAX_COMMANDS
    await asyncio.gather(*tasks)
    telling.incident(INCIDENT)
    await asyncio.gather(*tasks)
    assert len(tasks) == guarding.MAX_COMMANDS + 1


async def test_an_exemption_and_a_pause_are_in_the_log(ledger: Ledger) -> None:
    granted(ledger, "recording_confirmed")
    tasks: list[asyncio.Task[object]] = []
    telling = guarding.Telling(ledger, None, spawning(tasks))
    telling.exempted(Exempted("MixMonitor", "GDPR 6(1)(c)", "emergency", "dispatch", "5.5"))
    telling.scope(ID, "recording_paused", "on_hold", confirmed=True)
    telling.scope("f" * 32, "recording_paused", "on_hold", confirmed=True)  # of a call that the log does not know
    await asyncio.gather(*tasks)
    with ledger.reader() as reader:
        (exempted,) = reader.events(Wanted(kind="recording_exempted"))
        (paused,) = reader.events(Wanted(kind="recording_paused"))
    assert exempted.payload["reason"] == "emergency"
    assert (paused.call_id, paused.line, paused.payload["reason"]) == (ID, "support", "on_hold")
    assert stands(ledger) is Standing.OPEN


async def test_pause_and_end_are_told_in_their_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the log takes over the first."""
    granted(ledger, "recording_confirmed")
    tasks: list[asyncio.Task[object]] = []
    telling = guarding.Telling(ledger, None, spawning(tasks))
    note, waits = telling._note, threading.Event()

    def slow(call_id: str, kind: str, reason: str, confirmed: bool) -> None:
        if kind == "recording_paused":
            waits.wait(0.2)
        note(call_id, kind, reason, confirmed)

    monkeypatch.setattr(telling, "_note", slow)
    telling.scope(ID, "recording_paused", "on_hold", confirmed=True)
    telling.scope(ID, "recording_resumed", "talking", confirmed=True)
    await asyncio.gather(*tasks)
    with ledger.reader() as reader:
        record = reader.call(ID)
    assert record is not None
    assert [event.kind for event in record.later][-2:] == ["recording_paused", "recording_resumed"]


# --- configuration ---------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, **guard: Any) -> config.Settings:
    document = {"guard": guard, "lines": {"support": {"agents": ["PJSIP/agent-*"]}}}
    return config.parse(document, tmp_path / "ivr-consent.toml", "")


def test_what_nobody_granted_is_taken_out_of_our_directory(tmp_path: Path, ledger: Ledger) -> None:
    granted(ledger, "recording_confirmed")
    quarantine = guarding.policy_of(settings(tmp_path), ledger).quarantine
    quarantine.ours.mkdir()
    for call_id, fate in ((ID, Fate.REFUSED), ("f" * 32, Fate.QUARANTINED)):
        path = quarantine.ours / f"{call_id}.raw"
        path.write_bytes(b"voice")
        assert quarantine.take(str(path)).fate is fate


def test_what_the_configuration_wants(tmp_path: Path, ledger: Ledger) -> None:
    exemption = {"context": "dispatch", "basis": "GDPR 6(1)(c)", "reason": "emergency calls"}
    policy = guarding.policy_of(settings(tmp_path, mode="watch", files="destroy", exemptions=[exemption]), ledger)
    assert (policy.enforce, policy.leave_files, policy.quarantine.directory) == (False, False, None)
    assert policy.exemptions[0].basis == "GDPR 6(1)(c)"
    assert policy.agents("support") == ("PJSIP/agent-*",)
    assert policy.agents("unknown") == ()
    assert guarding.policy_of(settings(tmp_path), ledger).quarantine.directory == tmp_path / "quarantine"


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ({"when_blind": "stop"}, "required"),
        ({"required": True, "mode": "off"}, "enforce"),
        ({"exemptions": [{"basis": "GDPR 6(1)(c)", "reason": "because"}]}, "exempts everything"),
        ({"exemptions": [{"context": "x", "reason": "because"}]}, "basis"),
        ({"mode": "sometimes"}, "enforce"),
        ({"round_seconds": 0}, "round_seconds"),
    ],
)
def test_a_wrong_guard_is_refused_with_a_remedy(tmp_path: Path, guard: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(tmp_path, **guard)
    assert said in str(refused.value)


def test_open_files_are_those_of_the_switch(tmp_path: Path, directory: Path) -> None:
    """As the kernel tells them; only what a recording's name ends in."""
    path, other = tmp_path / "open.wav", tmp_path / "open.txt"
    code = "import sys; a = open(sys.argv[1], 'w'); b = open(sys.argv[2], 'w'); print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(path), str(other)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = guarding._open_for(directory, frozenset())
        assert found is not None
        assert str(path) in found
        assert str(other) not in found
        assert guarding._open_for(directory, frozenset({str(path)})) == frozenset({str(path)})
        process.communicate(timeout=DEADLINE_S)
    assert str(path) not in (guarding._open_for(directory, frozenset()) or ())
