"""Figures for monitoring, in the form that Prometheus reads."""

from __future__ import annotations

import asyncio
import re
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import structlog.testing

from ivr_consent import metrics
from ivr_consent.guarding import Telling
from ivr_consent.metrics import CALLS, EXEMPTED, INCIDENTS, MAX_SERIES, Metrics, keep
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.store.ledger import Ledger

DEADLINE_S = 30.0
SAMPLE = re.compile(r'[a-z_]+(?:\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? -?[0-9.]+')
CALL = {"line": "support", "outcome": "granted", "reason": "yes_key", "route": "recorded", "logged": "yes"}


def samples(text: str) -> dict[str, float]:
    """Every sample of a text, each line of which is one, or tells of the figures behind it."""
    found: dict[str, float] = {}
    announced = ""
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            announced = line.split(" ")[2]
            continue
        assert SAMPLE.fullmatch(line), line
        assert re.match(r"[a-z_]+", line)[0] == announced, "a figure stands behind its own head"  # type: ignore[index]  # it matched
        name, _, value = line.rpartition(" ")
        assert name not in found
        found[name] = float(value)
    return found


def test_what_is_counted_and_what_is_so() -> None:
    counted = Metrics()
    for _ in range(3):
        counted.count(CALLS, CALL)
    counted.count(CALLS, {**CALL, "outcome": "declined", "reason": "no_key", "route": "unrecorded"})
    found = samples(counted.text(calls=2, lines={"support": True, "sales": False}, blind=True))
    yes = '{line="support",outcome="granted",reason="yes_key",route="recorded",logged="yes"}'
    assert found[f"ivr_consent_calls_total{yes}"] == 3
    assert sum(value for name, value in found.items() if name.startswith("ivr_consent_calls_total")) == 4
    assert found["ivr_consent_calls_in_progress"] == 2
    assert found['ivr_consent_line_ready{line="sales"}'] == 0
    assert found["ivr_consent_guard_watching"] == 0
    assert found["ivr_consent_incidents_total"] == 0, "there for an alarm before the first one"


def test_without_a_guard_nothing_is_said_of_it() -> None:
    text = Metrics().text(calls=0, lines={}, blind=None)
    assert "guard_watching" not in text
    assert samples(text)["ivr_consent_calls_total"] == 0


def test_a_label_cannot_end_itself() -> None:
    counted = Metrics()
    for way in ('a"} 1\nforged 2', "back\\slash", "line\nbreak"):
        counted.count(EXEMPTED, {"way": way})
    found = samples(counted.text(calls=0, lines={}, blind=False))
    assert sum(name.startswith("ivr_consent_exempted_total") for name in found) == 3


def test_a_flood_of_labels_is_counted_and_not_kept_apart() -> None:
    counted = Metrics()
    for number in range(MAX_SERIES + 500):
        counted.count(INCIDENTS, {"way": f"w{number}", "mode": "enforce", "confirmed": "yes"})
    found = samples(counted.text(calls=0, lines={}, blind=False))
    incidents = {name: value for name, value in found.items() if name.startswith("ivr_consent_incidents")}
    assert len(incidents) == MAX_SERIES + 1
    assert sum(incidents.values()) == MAX_SERIES + 500


async def test_the_file_is_there_whole_and_comes_back(tmp_path: Path) -> None:
    """A folder that is missing is said once, and the file written as soon as it is there."""
    path = tmp_path / "collector" / "ivr-consent.prom"
    texts = iter(range(10**9))
    with structlog.testing.capture_logs() as logs:
        work = asyncio.create_task(keep(path, 0.001, lambda: f"{next(texts)}\n" * 1000))
        try:
            async with asyncio.timeout(DEADLINE_S):
                while next(texts) < 20:
                    await asyncio.sleep(0.001)
                path.parent.mkdir()
                while not path.exists():
                    await asyncio.sleep(0.001)
                for _ in range(50):
                    assert len(set(path.read_text().split())) == 1
                    await asyncio.sleep(0.001)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
    assert [entry["event"] for entry in logs] == ["metrics_not_written"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_nothing_is_counted_where_nobody_asks() -> None:
    metrics.uncounted(CALLS, CALL)


async def test_what_the_guard_tells_is_counted() -> None:
    class Log:
        def tell(self, kind: str, details: object) -> None:
            pass

    def spawn(work: Coroutine[Any, Any, object], _: str) -> None:
        work.close()

    counted = Metrics()
    telling = Telling(cast("Ledger", Log()), None, spawn, count=counted.count)
    for confirmed in (True, True, False):
        telling.incident(Incident("MixMonitor", "enforce", 1, confirmed, 0.01))
    telling.exempted(Exempted("Monitor", "GDPR 6(1)(c)", "emergency calls", "", ""))
    for kind in ("recording_paused", "recording_resumed"):
        telling.scope("0" * 32, kind, "on_hold", confirmed=True)
    found = samples(counted.text(calls=0, lines={}, blind=False))
    assert found['ivr_consent_incidents_total{way="MixMonitor",mode="enforce",confirmed="yes"}'] == 2
    assert found['ivr_consent_incidents_total{way="MixMonitor",mode="enforce",confirmed="no"}'] == 1
    assert found['ivr_consent_exempted_total{way="Monitor"}'] == 1
    assert found['ivr_consent_recording_pauses_total{reason="on_hold",confirmed="yes"}'] == 1
