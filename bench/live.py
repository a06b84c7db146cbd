"""CPU of our server beside Asterisk's own, on real calls through a real Asterisk 22.

    python -m bench.live [--calls 30]

SIP calls hear the shipped notice, press 1, are recorded and talk for two seconds: once with prompts of a second each,
and once at their natural length. CPU is each process's own, user and system, all threads; that of our server includes
what it needs when nobody calls.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.measure import bars, cpu_seconds, keep
from bench.site import site, worker
from ivr_consent.cli.run import AGENT_HZ, DIALPLAN
from ivr_consent.config import Settings
from ivr_consent.language import Clues
from ivr_consent.pbx.asterisk.dialplan import render_include
from ivr_consent.site import load_site
from ivr_consent.store.reader import LedgerReader
from ivr_consent.testing.phone import Phone
from ivr_consent.testing.rig import Instance, RigUnavailable

TALK_S = 2.0
PATIENCE = 60.0


async def call(phone: Phone, number: int, notice_s: float, guard_s: float) -> None:
    """One caller: listens, presses 1, talks, hangs up."""
    await asyncio.sleep(number * 0.1)  # callers do not ring at the same instant
    made = await phone.call("support", from_user=f"45{number:08}")
    await made.wait_answered(PATIENCE)
    await asyncio.sleep(notice_s + guard_s + 1.0)  # listening
    await made.press("1")
    await made.wait_tone(AGENT_HZ, PATIENCE)
    await asyncio.sleep(TALK_S)  # talking
    await made.hang_up()


def notice_seconds(settings: Settings) -> float:
    """How long the notice and its question last."""
    plan = load_site(settings).plan("support", Clues())
    assert not isinstance(plan, str), plan
    (notice,) = plan.notices
    return sum(prompt.duration_ms for prompt in (*notice.information, *notice.questions.values())) / 1000


def prepare(home: Path, secret: str, port: int, *, spoken: bool) -> Settings:
    """A site with the manager connection."""
    home.mkdir()
    (home / "manager.secret").write_text(secret)
    return site(home, f"[manager]\nport = {port}\n", spoken=spoken)


async def measure(home: Path, calls: int, *, spoken: bool) -> dict[str, Any]:
    """Run Asterisk and our worker, place the calls, compare."""
    secret = secrets.token_urlsafe(16)
    async with rig(secret) as pbx:
        settings = await asyncio.to_thread(prepare, home, secret, pbx.ami_port, spoken=spoken)
        await pbx.reload_dialplan(DIALPLAN + render_include(settings))
        assert pbx.pid is not None
        seconds = notice_seconds(settings)
        with worker(settings) as pid:
            async with Phone(("127.0.0.1", pbx.sip_port)) as phone:
                await call(phone, 0, seconds, 0)  # what is loaded once is loaded now
                before = cpu_seconds(pid), cpu_seconds(pbx.pid)
                await asyncio.gather(*(call(phone, number, seconds, 0) for number in range(1, calls + 1)))
                await asyncio.sleep(1)  # the ends of the recordings belong to the calls
                ours, theirs = cpu_seconds(pid) - before[0], cpu_seconds(pbx.pid) - before[1]
    with LedgerReader(settings.path(settings.log.path)) as log:
        granted = sum(record.decision.outcome == "granted" for record in log.calls(limit=calls + 1))
    assert granted == calls + 1, f"only {granted} of {calls + 1} calls were granted"
    return {
        "calls": calls,
        "notice_seconds": seconds,
        "talk_seconds": TALK_S,
        "ours_ms_a_call": ours / calls * 1000,
        "asterisk_ms_a_call": theirs / calls * 1000,
        "share": ours / theirs,
    }


def rig(secret: str) -> Instance:
    """An Asterisk with our manager user."""
    pbx = Instance("22", dialplan=DIALPLAN)
    pbx.add_manager("ivr-consent", secret, read="dtmf", write="")
    return pbx


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=30)
    calls = parser.parse_args().calls
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        try:
            for name, spoken in (("a second a prompt", False), ("as spoken", True)):
                print(f"{calls} calls, {name}", file=sys.stderr)
                results[name] = asyncio.run(measure(Path(directory) / str(spoken), calls, spoken=spoken))
        except RigUnavailable as error:
            print(f"not measured: {error}", file=sys.stderr)
            return
    rows = {}
    for result in results.values():
        ours, theirs = result["ours_ms_a_call"], result["asterisk_ms_a_call"]
        print(
            f"notice of {result['notice_seconds']:5.1f} s, {TALK_S:.0f} s of talk recorded: "
            f"Asterisk 22 {theirs:7.1f} ms of CPU a call, our server {ours:6.1f} ms: "
            f"{result['share']:.1%} of Asterisk's (aim: under 10%)"
        )
        for who, value in (("ivr-consent", ours), ("Asterisk 22", theirs)):
            rows[f"{who}, notice of {result['notice_seconds']:.0f} s"] = dict.fromkeys(("median", "min", "max"), value)
    print(f"kept in {keep('live', results)}")
    print(f"drawn in {bars('live', 'CPU of a real call', 'milliseconds a call', rows)}")


if __name__ == "__main__":
    main()
