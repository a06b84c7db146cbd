"""What the service tells the log of itself, and the order of its end: told, sealed, shown outside, closed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog.testing

from ivr_consent import service as service_module
from ivr_consent.anchors.file import FileAnchor
from ivr_consent.anchors.place import Limit
from ivr_consent.core.errors import LedgerError
from ivr_consent.service import Service
from ivr_consent.store.anchored import reading
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from ivr_consent.store.reader import LedgerReader, LoggedEvent
from ivr_consent.testing.fake_asterisk import FakeAsterisk
from tests.sites import SmallSite, flip

PATIENCE = 20.0
HOST = "127.0.0.1"
OF_SERVICE = ("server_started", "server_stopped", "configuration_published")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """Two lines, one of them without a published notice; checkpoints go to a file."""
    made = SmallSite.make(tmp_path / "site", "support", "sales", port=free_port())
    made.publish("support")
    anchored(made, f'file = "{made.root}/outside"')
    return made


def anchored(site: SmallSite, text: str) -> None:
    with site.config.open("a") as file:
        file.write(f"\n[log.anchors]\n{text}\n")


def events(site: SmallSite) -> list[LoggedEvent]:
    with LedgerReader(place_of(site.settings)) as reader:
        return list(reader.events(limit=None))[::-1]


def told(site: SmallSite, *kinds: str) -> list[LoggedEvent]:
    return [event for event in events(site) if event.kind in (kinds or OF_SERVICE)]


def kinds(site: SmallSite) -> list[str]:
    return [event.kind for event in told(site)]


@contextlib.asynccontextmanager
async def running(site: SmallSite, drain_s: float = 1.0, reason: str = "stopped") -> AsyncIterator[Service]:
    service = Service(site.settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop(drain_s, reason)


# --- started, in force -----------------------------------------------------------------------------------------------


async def test_a_start_is_told(site: SmallSite) -> None:
    """R22: which software answers, on which lines it asks, and with which versions of their notices."""
    async with running(site) as service:
        sha = service.site.configuration_sha256
        software = service.site.software
    started, in_force, _ = told(site)
    assert (started.kind, started.call_id, started.line) == ("server_started", None, None)
    assert started.payload == {
        "software": software,
        "configuration_sha256": sha,
        "lines": ["support"],
        "lines_not_ready": ["sales"],
    }
    (entry,) = site.versions("support").history(site.workshop().keys()[1])
    assert in_force.kind == "configuration_published"
    assert in_force.payload == {
        "configuration_sha256": sha,
        "lines": {
            "support": {"ready": True, "version": 1, "manifest_sha256": entry.manifest_sha256},
            "sales": {"ready": False, "version": None, "manifest_sha256": None},
        },
    }


async def test_it_comes_before_the_first_call(site: SmallSite) -> None:
    async with running(site) as service, FakeAsterisk(HOST, service.server.port) as switch:
        call = await switch.call()
        await call.wait_command("WAIT FOR DIGIT 3000", timeout=PATIENCE)
        call.press("2")
        await call.wait(PATIENCE)
    found = [event.kind for event in events(site)]
    assert found.index("server_started") < found.index("configuration_published") < found.index("asked")
    assert found[-1] == "server_stopped"


async def test_what_has_not_changed_is_told_once(site: SmallSite) -> None:
    """Not at each start, not at each reload."""
    for _ in range(2):
        async with running(site) as service:
            assert (await service.reload())["ok"]
    assert kinds(site) == [
        "server_started",
        "configuration_published",
        "server_stopped",
        "server_started",
        "server_stopped",
    ]


async def test_what_a_reload_takes_up_is_told(site: SmallSite) -> None:
    """A version that was published, a configuration that was changed; not before, and not what was refused."""
    async with running(site) as service:
        site.say("Something else is said now.")
        site.publish("support")
        assert len(told(site, "configuration_published")) == 1
        assert (await service.reload())["ok"]
        site.edit(site.config, "drain_seconds = 5", "drain_seconds = 6")
        assert not (await service.reload())["ok"]
        site.edit(site.config, "drain_seconds = 6", "drain_seconds = 5 # as it was")
        assert (await service.reload())["ok"]
    found = [event.payload for event in told(site, "configuration_published")]
    assert [payload["lines"]["support"]["version"] for payload in found] == [1, 2, 2]
    assert len({payload["configuration_sha256"] for payload in found}) == 2


async def test_a_line_that_is_damaged_at_the_start_is_told(site: SmallSite) -> None:
    manifest = site.load().states["support"].manifest
    assert manifest is not None
    flip(site.sounds(manifest)[0])
    async with running(site):
        pass
    started, in_force, _ = told(site)
    assert started.payload["lines"] == []
    assert in_force.payload["lines"]["support"]["ready"] is False


async def test_nothing_personal_is_in_them(site: SmallSite) -> None:
    async with running(site):
        pass
    with reading(place_of(site.settings)) as diary:
        assert diary._rows("SELECT * FROM personal", []) == []


async def test_a_log_that_cannot_be_read_keeps_nobody_from_the_service(
    site: SmallSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6: what is in force is then told once more, and checkpoints are shown all the same."""

    def broken(*_: object) -> NoReturn:
        raise LedgerError("the disk does not answer; see it")

    async with running(site):
        pass
    monkeypatch.setattr(service_module, "reading", broken)
    monkeypatch.setattr(Ledger, "reader", broken)
    with structlog.testing.capture_logs() as logs:
        async with running(site):
            pass
    assert [entry["problem"] for entry in logs if entry["event"] == "log_not_read"] == [
        "the disk does not answer; see it"
    ] * 2
    assert kinds(site)[3:] == ["server_started", "configuration_published", "server_stopped"]
    assert shown(site)[-1] == len(events(site)), [event.kind for event in events(site)]


# --- stopped ---------------------------------------------------------------------------------------------------------


def shown(site: SmallSite) -> list[int]:
    path = site.root / "outside"
    return [sealed.size for sealed in FileAnchor(path, path.parent).read(Limit(PATIENCE))]


async def test_the_end_is_told_sealed_and_shown(site: SmallSite) -> None:
    """R23: nothing can be cut from the end of a log whose service was stopped without it being seen."""
    async with running(site, reason="signal"):
        pass
    last = events(site)[-1]
    assert (last.kind, last.payload) == ("server_stopped", {"reason": "signal", "calls_cut": 0})
    with reading(place_of(site.settings)) as diary:
        assert diary._rows("SELECT size, sealed FROM log", []) == [(last.sequence, last.sequence)]
        row = diary.last("file")
    assert row is not None
    assert (row.size, shown(site)[-1]) == (last.sequence, last.sequence)


async def test_calls_that_were_cut_are_counted(site: SmallSite) -> None:
    service = Service(site.settings)
    await service.start()
    async with FakeAsterisk(HOST, service.server.port) as switch:
        call = await switch.call()
        await call.wait_command("WAIT FOR DIGIT 3000", timeout=PATIENCE)
        await service.stop(0.0)
    assert told(site, "server_stopped")[0].payload["calls_cut"] == 1


async def test_a_place_that_hangs_does_not_keep_it_from_ending(
    site: SmallSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6: neither calls nor the end wait for it; what can be shown elsewhere is."""
    pid = site.root / "pid"
    monkeypatch.setattr(service_module, "LAST_ANCHORS_S", 0.5)
    with site.config.open("a") as file:
        file.write(f'[log.anchors.command]\nrun = ["sh", "-c", "echo $$ > {pid}; exec sleep 600"]\n')
    with structlog.testing.capture_logs() as logs:
        async with running(site) as service:
            assert service._ledger is not None
            await asyncio.to_thread(service._ledger.seal)
            async with FakeAsterisk(HOST, service.server.port) as switch:
                call = await switch.call()
                await call.wait_command("WAIT FOR DIGIT 3000", timeout=PATIENCE)
                call.press("1")
                await call.wait(PATIENCE)
                assert call.result == "granted"
            began = time.monotonic()
        assert time.monotonic() - began < PATIENCE
    assert shown(site)[-1] == len(events(site)), [event.kind for event in events(site)]
    assert [entry["place"] for entry in logs if entry["event"] == "anchor_cut_off"] == ["command"]
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_a_signal_is_told(site: SmallSite) -> None:
    """The whole program, ended as systemd ends it."""
    command = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(site.config), "serve"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "WATCHDOG_USEC": "1"})
    assert process.stderr is not None
    try:
        assert any('"listening"' in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert kinds(site) == ["server_started", "configuration_published", "server_stopped"]
    assert told(site, "server_stopped")[0].payload == {"reason": "signal", "calls_cut": 0}
    assert shown(site)[-1] == len(events(site)), [event.kind for event in events(site)]
