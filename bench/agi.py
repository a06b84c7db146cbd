"""Our servers beside stock panoramisk and a bare asyncio loop: calls a second, and CPU a call and a command.

    python -m bench.agi [--calls 2000] [--rounds 5] [--at-once 50]

Every server runs in a process of its own, and so does the load, which answers every command at once. Servers take
turns, round after round, so that a change of the machine's pace meets all of them. CPU is the server process's own,
user and system, all threads.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

from bench.measure import bars, cpu_seconds, keep, summary

WARM_UP = 200
PATIENCE = 600.0


@dataclass(slots=True)
class Variant:
    """A server and a kind of call, with what was measured round by round."""

    label: str
    server: str
    key: str = "2"
    rate: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    commands: float = 0.0
    events_a_commit: list[float] = field(default_factory=list)


VARIANTS = (
    Variant("ivr-consent, durable log", "ours"),
    Variant("ivr-consent, durable log, uvloop", "ours+uvloop"),
    Variant("ivr-consent, yes and recorded", "ours", "1"),
    Variant("ivr-consent, yes and recorded, uvloop", "ours+uvloop", "1"),
    Variant("ivr-consent on FreeSWITCH", "freeswitch"),
    Variant("ivr-consent on FreeSWITCH, uvloop", "freeswitch+uvloop"),
    Variant("panoramisk, no log", "panoramisk"),
    Variant("panoramisk, no log, uvloop", "panoramisk+uvloop"),
    Variant("panoramisk, a commit a call", "panoramisk-log"),
    Variant("panoramisk, a commit a call, uvloop", "panoramisk-log+uvloop"),
    Variant("bare asyncio, no work", "bare"),
    Variant("bare asyncio, no work, uvloop", "bare+uvloop"),
)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=50)
    options = parser.parse_args()
    for number in range(options.rounds):
        turn = VARIANTS if number % 2 == 0 else tuple(reversed(VARIANTS))
        for variant in turn:
            print(f"round {number + 1} of {options.rounds}: {variant.label}", file=sys.stderr)
            one_round(variant, options.calls, options.at_once)
    report(options)


def one_round(variant: Variant, calls: int, at_once: int) -> None:
    """Start the server, warm it up, load it, and stop it."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.servers", variant.server, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            load(port, WARM_UP, at_once, variant)
            before = cpu_seconds(server.pid)
            done = load(port, calls, at_once, variant)
            cpu = cpu_seconds(server.pid) - before
            counters, _ = server.communicate("stop\n", timeout=PATIENCE)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
    variant.rate.append(calls / done["seconds"])
    variant.cpu_ms.append(cpu / calls * 1000)
    variant.commands = done["commands"] / calls
    expected = "granted" if variant.key == "1" else "declined"
    assert done["outcomes"] == {expected: calls}, f"{variant.label}: {done['outcomes']}"
    counted = json.loads(counters)
    if counted.get("commits"):
        variant.events_a_commit.append(counted["events"] / counted["commits"])


def load(port: str, calls: int, at_once: int, variant: Variant) -> dict[str, Any]:
    """Place calls from a process of its own."""
    command = [sys.executable, "-m", "bench.load", port, str(calls), str(at_once), variant.key]
    command += ["freeswitch"] if variant.server.startswith("freeswitch") else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def report(options: argparse.Namespace) -> None:
    """The table, the file, the picture."""
    print(
        f"\n{options.rounds} rounds of {options.calls} calls, {options.at_once} at once; median (smallest to largest)\n"
    )
    print(f"{'':40}{'commands':>9}{'CPU ms a call':>26}{'calls per CPU s':>16}{'calls per s':>22}{'log entries':>12}")
    print(f"{'':40}{'a call':>9}{'':26}{'':16}{'':22}{'a flush':>12}")
    rows: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS:
        cpu, rate = summary(variant.cpu_ms), summary(variant.rate)
        batch = summary(variant.events_a_commit) if variant.events_a_commit else None
        rows[variant.label] = {
            "commands": variant.commands,
            "cpu_ms_a_call": cpu,
            "calls_a_cpu_second": summary([1000 / value for value in variant.cpu_ms]),
            "calls_a_second": rate,
            "log_entries_a_flush": batch,
        }
        print(
            f"{variant.label:40}{variant.commands:9.0f}"
            f"{cpu['median']:10.3f} ({cpu['min']:.3f} to {cpu['max']:.3f})"
            f"{1000 / cpu['median']:14.0f}"
            f"{rate['median']:10.0f} ({rate['min']:.0f} to {rate['max']:.0f})"
            + (f"{batch['median']:12.1f}" if batch else f"{'-':>12}")
        )
    mine = rows["ivr-consent, durable log"]["calls_a_cpu_second"]["median"]
    fast = rows["ivr-consent, durable log, uvloop"]["calls_a_cpu_second"]["median"]
    ratios: dict[str, dict[str, float]] = {}
    print("\nmicroseconds of CPU a command:")
    for label in ("ivr-consent, durable log", "ivr-consent on FreeSWITCH"):
        for name in (label, f"{label}, uvloop"):
            row = rows[name]
            row["cpu_us_a_command"] = 1000 * row["cpu_ms_a_call"]["median"] / row["commands"]
            print(f"  {name:40}{row['cpu_us_a_command']:8.0f}")
    print("\ncalls per CPU second, as a multiple of:")
    for label in ("panoramisk, no log", "panoramisk, a commit a call", "bare asyncio, no work"):
        theirs = rows[label]["calls_a_cpu_second"]["median"]
        ratios[label] = {"asyncio": mine / theirs, "uvloop": fast / theirs}
        if f"{label}, uvloop" in rows:
            also = rows[f"{label}, uvloop"]["calls_a_cpu_second"]["median"]
            ratios[label]["both on uvloop"] = fast / also
        print(f"  {label:32}" + "".join(f"{name}: {value:.2f}   " for name, value in ratios[label].items()))
    print(f"\nkept in {keep('agi', {'options': vars(options), 'variants': rows, 'ratios': ratios})}")
    picture = {label: row["calls_a_cpu_second"] for label, row in rows.items()}
    print(f"drawn in {bars('agi', 'Calls served per second of CPU', 'calls per CPU second', picture)}")


if __name__ == "__main__":
    main()
