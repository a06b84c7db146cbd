"""Scenarios a second on the simulated switch, the log in memory; and how long the shipped set takes on a real Asterisk.

    python -m bench.scenarios [--times 20] [--rounds 5] [--simulated]

The shipped set, again and again, in one process: every call goes through the real flow and the real log, and every
expectation is looked at. CPU is the process's own, the log's thread included. On the real Asterisk calls run side by
side; their rival is the same calls one after the other, by how long each took.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from typing import Any

from bench.measure import bars, keep, summary
from ivr_consent.cli.test import AT_ONCE, On
from ivr_consent.core.errors import ConsentError
from ivr_consent.logs import configure_logging
from ivr_consent.site import shipped
from ivr_consent.testing.drivers import exchange, simulated
from ivr_consent.testing.drivers.asterisk import AsteriskExchange
from ivr_consent.testing.scenario import Scenario, load_directory
from ivr_consent.testing.verdict import Verdict


def measured(scenarios: list[Scenario]) -> tuple[float, float]:
    """Scenarios a second, and CPU milliseconds for one."""

    def done(verdict: Verdict) -> None:
        assert verdict.passed, verdict.wrong

    began, cpu = time.perf_counter(), time.process_time()
    simulated.play(scenarios, done)
    return len(scenarios) / (time.perf_counter() - began), (time.process_time() - cpu) * 1000 / len(scenarios)


def on_a_real_one(scenarios: list[Scenario]) -> dict[str, Any] | None:
    """Seconds for the set on Asterisk 22, its start included; ``None`` where there is none."""
    verdicts: list[Verdict] = []
    configure_logging(logging.ERROR, cache=False)  # the server's word on each call would hide the figures
    began = time.perf_counter()
    try:
        exchange.play(AsteriskExchange("22"), scenarios, verdicts.append, AT_ONCE[On.ASTERISK])
    except ConsentError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return None
    played = [verdict.seconds for verdict in verdicts if not verdict.skipped]
    failed = sum(bool(verdict.wrong) for verdict in verdicts)
    took = time.perf_counter() - began
    return {"calls": len(played), "failed": failed, "seconds": took, "one_by_one": sum(played), "longest": max(played)}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="how often the set is played in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--simulated", action="store_true", help="the simulated switch alone")
    options = parser.parse_args()
    scenarios = [*load_directory(shipped("scenarios"))]
    measured(scenarios)
    rounds = [measured(scenarios * options.times) for _ in range(options.rounds)]
    rate, cpu = summary([rate for rate, _ in rounds]), summary([cpu for _, cpu in rounds])
    print(f"{len(scenarios) * options.times} scenarios a round")
    for name, values in (("scenarios a second", rate), ("CPU ms a scenario", cpu)):
        print(f"{name:<20} {values['median']:8.2f}   {values['min']:8.2f} to {values['max']:8.2f}")
    results: dict[str, Any] = {"scenarios": len(scenarios) * options.times, "a_second": rate, "cpu_ms": cpu}
    real = None if options.simulated else on_a_real_one(scenarios)
    if real is not None:
        took, apart = real["seconds"], real["one_by_one"]
        print(f"{real['calls']} calls on Asterisk 22, {real['failed']} failed: {took:.1f} s (aim: under 60)")
        print(
            f"longest call {real['longest']:.1f} s; one after the other {apart:.0f} s, {apart / took:.0f} times as long"
        )
        rows = {"ivr-consent, side by side": real["seconds"], "one after the other": real["one_by_one"]}
        spread = {name: dict.fromkeys(("median", "min", "max"), value) for name, value in rows.items()}
        bars("scenarios", "The shipped scenarios on a real Asterisk 22", "seconds", spread)
        results["asterisk-22"] = real
    print(f"kept in {keep('scenarios', results)}")


if __name__ == "__main__":
    main()
