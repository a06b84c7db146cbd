"""Scenarios a second on the simulated switch, the log in memory: the shipped set, again and again, in one process.

    python -m bench.scenarios [--times 20] [--rounds 5]

Every call goes through the real flow and the real log, and every expectation is looked at. CPU is the process's own,
the log's thread included.
"""

from __future__ import annotations

import argparse
import time

from bench.measure import keep, summary
from ivr_consent.site import shipped
from ivr_consent.testing.drivers import simulated
from ivr_consent.testing.scenario import Scenario, load_directory
from ivr_consent.testing.verdict import Verdict


def measured(scenarios: list[Scenario]) -> tuple[float, float]:
    """Scenarios a second, and CPU milliseconds for one."""

    def done(verdict: Verdict) -> None:
        assert verdict.passed, verdict.wrong

    began, cpu = time.perf_counter(), time.process_time()
    simulated.play(scenarios, done)
    return len(scenarios) / (time.perf_counter() - began), (time.process_time() - cpu) * 1000 / len(scenarios)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="how often the set is played in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    scenarios = [*load_directory(shipped("scenarios"))]
    measured(scenarios)
    rounds = [measured(scenarios * options.times) for _ in range(options.rounds)]
    rate, cpu = summary([rate for rate, _ in rounds]), summary([cpu for _, cpu in rounds])
    print(f"{len(scenarios) * options.times} scenarios a round")
    for name, values in (("scenarios a second", rate), ("CPU ms a scenario", cpu)):
        print(f"{name:<20} {values['median']:8.2f}   {values['min']:8.2f} to {values['max']:8.2f}")
    keep("scenarios", {"scenarios": len(scenarios) * options.times, "a_second": rate, "cpu_ms": cpu})


if __name__ == "__main__":
    main()
