"""``make soak``: random callers on a real Asterisk for minutes, faults in between, and every call accounted for.

    python -m tests.soak [--minutes 10] [--seed N] [--asterisk 22] [--rate 1.0] [--fault KIND] [--keep DIR]

Prints a table, keeps figures and a plot in bench/results, and ends with 1 where anything does not hold; the log, the
recordings and both logs of the run are then kept. Ctrl-C ends the calls and judges what there is; pressed again, it
ends everything at once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.measure import RESULTS, keep
from ivr_consent.testing.rig import RigUnavailable
from tests.soak.evidence import Evidence
from tests.soak.judge import RULES, Finding, beside_the_cache, decisions_by_call, growth, judge, settled
from tests.soak.picture import draw
from tests.soak.reading import write_evidence
from tests.soak.run import Plan, Soak

MOST_FINDINGS = 20
"""Of one rule that are printed; all are in the JSON."""


def say(text: str) -> None:
    """Progress, at once."""
    print(text, file=sys.stderr, flush=True)


async def play(plan: Plan, kept: Path) -> Evidence:
    """Play until it is over, or somebody presses Ctrl-C."""
    soak = Soak(plan, say)
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        say("ending the calls, and judging what there is; Ctrl-C once more ends at once")
        soak.stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, interrupted)
    return await soak.run(kept)


def summary(plan: Plan, evidence: Evidence, findings: list[Finding]) -> dict[str, Any]:
    """What is kept as JSON."""
    last = settled(evidence)
    outcomes = Counter(one.outcome for one in evidence.decided)
    reasons = Counter(f"{one.outcome}: {one.reason}" for one in evidence.decided)
    decisions = decisions_by_call(evidence)
    seconds = evidence.ended - evidence.began
    return {
        "asterisk": plan.version,
        "seed": plan.seed,
        "minutes": round(seconds / 60, 2),
        "callers": dict(Counter(one.kind for one in evidence.planned)),
        "calls at the gate": len(evidence.calls),
        "calls a minute": round(len(evidence.calls) / max(seconds / 60, 0.01), 1),
        "decisions": dict(outcomes),
        "reasons": dict(reasons.most_common()),
        "calls that met no service": sum(not found for found in decisions.values()),
        "files": len(evidence.files),
        "faults": dict(Counter(window.kind for window in evidence.windows)),
        "memory of the worker, MiB": _span([one.rss for one in last]),
        "growth in the second half, MiB": round(growth(last, lambda one: one.rss), 2),
        "the same beside its cache, MiB": round(growth(last, beside_the_cache(evidence)), 2),
        "descriptors of the worker": _span([one.descriptors for one in last]),
        "descriptors when idle": [one.descriptors for one in evidence.idle],
        "opened and kept": dict(Counter(evidence.open_when_idle[-1]) - Counter(evidence.open_when_idle[0])),
        "log, bytes": evidence.log_bytes,
        "events in the log": evidence.events,
        "calls that sipp saw end otherwise": evidence.failures,
        "findings": [f"{one.rule}: {one.what}" for one in findings],
    }


def _span(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": round(statistics.median(values), 1), "min": round(min(values), 1), "max": round(max(values), 1)}


def tell(figures: dict[str, Any], findings: list[Finding]) -> None:
    """The table, then each rule with what broke it."""
    for name, value in figures.items():
        if name not in ("findings", "reasons", "events in the log"):
            text = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
            print(f"{name:34} {text}")
    print()
    for rule in RULES:
        broken = [one.what for one in findings if one.rule == rule]
        print(f"{'FAILED' if broken else 'ok':7} {rule}")
        for what in broken[:MOST_FINDINGS]:
            print(f"          {what}")
        if len(broken) > MOST_FINDINGS:
            print(f"          and {len(broken) - MOST_FINDINGS} more")


def main() -> int:
    """Play, judge, tell, keep."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="of a run that is to be repeated")
    parser.add_argument("--asterisk", choices=("22", "16"), default="22")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the run's files, kept in any case")
    parser.add_argument("--fault", action="append", default=[], help="this one alone, or these, by their names")
    parser.add_argument("--rate", type=float, default=1.0, help="new calls a second")
    given = parser.parse_args()
    if given.minutes <= 0 or given.rate <= 0:
        parser.error("--minutes and --rate are more than 0")
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    plan = Plan(given.minutes, seed, given.asterisk, given.rate, tuple(given.fault))
    say(f"soak: {plan.minutes:g} minutes on Asterisk {plan.version}, seed {seed}")
    kept = given.keep or Path(tempfile.mkdtemp(prefix=f"soak-{seed}-"))
    try:
        evidence = asyncio.run(play(plan, kept))
    except RigUnavailable as error:
        if given.keep is None:
            shutil.rmtree(kept)
        say(f"not run: {error}")
        return 1
    write_evidence(evidence, kept / "evidence.json")
    findings = judge(evidence)
    figures = summary(plan, evidence, findings)
    tell(figures, findings)
    name = "soak" if plan.version == "22" else f"soak-{plan.version}"
    began = time.strftime("%d %b %Y", time.localtime(evidence.began))
    title = f"{figures['minutes']:g} minutes of random calls on Asterisk {plan.version}, {began}, seed {seed}"
    print(f"\nkept in {keep(name, figures)}")
    print(f"drawn in {draw(evidence, RESULTS / f'{name}.png', title)}")
    if findings or given.keep is not None:
        print(f"the log, the recordings and what both sides said: {kept}")
    else:
        shutil.rmtree(kept)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
