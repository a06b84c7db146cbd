"""Memory of one ``ivr-consent serve`` worker with a hundred calls in progress.

    python -m bench.memory [--calls 100]

The worker is the real one, with the shipped notice; calls come from the fake Asterisk and wait in the notice.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from bench.measure import keep, rss_mib
from bench.site import site, worker
from ivr_consent.testing.fake_asterisk import FakeAsterisk

PATIENCE = 60.0
STEPS = 20


async def measure(home: Path, calls: int) -> dict[str, Any]:
    """Start the worker, place the calls step by step, read its memory."""
    settings = site(home)
    with worker(settings) as pid:
        idle = rss_mib(pid)
        rows = [(0, idle)]
        async with FakeAsterisk("127.0.0.1", settings.server.port) as switch:
            for _ in range(STEPS):
                placed = [await switch.call() for _ in range(calls // STEPS)]
                await asyncio.gather(*(call.wait_command("STREAM FILE", timeout=PATIENCE) for call in placed))
                rows.append((len(switch.calls), rss_mib(pid)))
            going = sum(not call.done.is_set() for call in switch.calls)
        assert going == calls, f"only {going} of {calls} calls were in progress"
        return {"calls": calls, "idle_mib": idle, "in_progress_mib": rows[-1][1], "by_calls": rows}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100)
    calls = parser.parse_args().calls // STEPS * STEPS
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        result = asyncio.run(measure(Path(directory), calls))
    grown = result["in_progress_mib"] - result["idle_mib"]
    print(f"one worker, idle:                    {result['idle_mib']:6.1f} MiB")
    print(f"with {calls} calls in progress:        {result['in_progress_mib']:6.1f} MiB (aim: under 100)")
    print(f"a call:                              {grown / calls * 1024:6.1f} KiB")
    print(f"kept in {keep('memory', result)}")


if __name__ == "__main__":
    main()
