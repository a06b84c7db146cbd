"""`ivr-consent audit` of made-up dialplans of 50,000 lines: seconds and memory of the whole command.

    python -m bench.audit [--lines 50000] [--rounds 5]

Three kinds of sites: menus and departments, each of which asks; one generated in the manner of FreePBX, whose every
number goes through subroutines with arguments; and one context with tens of thousands of numbers and patterns. Each
has one recorder before the gate on its last line, which has to be found. Aim: under 5 s.

The rivals read the same files in a process of their own: one line after the other into sections of names and values,
as a plain parser of such files does, and a search for the word MixMonitor. Neither knows of ways.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.measure import bars, keep, summary
from ivr_consent.pbx.asterisk.dialplan import INCLUDE_FILE
from ivr_consent.site import shipped

LINES: Final = 50_000
AIM_S: Final = 5.0
PATIENCE_S: Final = 300.0
GRANTED: Final = '$["${IVR_CONSENT_RESULT}" = "granted"]'

LINE_BY_LINE: Final = """
import sys
sections, current = {}, {}
for line in open(sys.argv[1], encoding="utf-8"):
    line = line.partition(";")[0].strip()
    if line.startswith("["):
        current = sections.setdefault(line.strip("[]"), {})
    elif "=" in line:
        name, _, value = line.partition("=")
        current.setdefault(name.strip(), []).append(value.lstrip(">").strip())
print(sum(map(len, sections.values())))
"""
SEARCH: Final = """
import re, sys
print(len(re.findall("MixMonitor", open(sys.argv[1], encoding="utf-8").read())))
"""


# --- sites -----------------------------------------------------------------------------------------------------------


def menus() -> Iterator[str]:
    """Menus with five departments, each of which asks and branches, and forty telephones."""
    for menu in count(1):
        yield from (f"[menu-{menu}]", "exten => s,1,Answer()", " same => n,Background(menu)", " same => n,WaitExten(5)")
        yield from (f"exten => {key},1,Goto(department-{menu}-{key},s,1)" for key in range(1, 6))
        yield "exten => t,1,Hangup()"
        for key in range(1, 6):
            yield f"[department-{menu}-{key}]"
            yield f"exten => s,1,Gosub(ivr-consent,s,1(line{key}))"
            yield f" same => n,GotoIf({GRANTED}?recorded)"
            yield from (f" same => n,Queue(queue-{menu})", " same => n,Hangup()")
            yield from (f" same => n(recorded),Queue(queue-{menu})", " same => n,Hangup()")
        yield f"[telephones-{menu}]"
        for number in range(10_000 + menu * 100, 10_040 + menu * 100):
            yield f"exten => {number},1,Dial(PJSIP/{number},20,t)"
            yield ' same => n,GotoIf($["${DIALSTATUS}" = "BUSY"]?busy:away)'
            yield from (" same => n(away),Playback(away)", " same => n,Hangup()", " same => n(busy),Busy(5)")
        yield "exten => _9NXXXXXX.,1,Dial(PJSIP/${EXTEN:1}@trunk)"
        yield from ("[from-trunk]", f"exten => 7010{menu:04d},1,Goto(menu-{menu},s,1)")
        yield from ("[inside]", f"include => telephones-{menu}")


def generated() -> Iterator[str]:
    """Every number goes through a macro and a subroutine that decides by its arguments."""
    yield "[macro-set-up]"
    yield from ("exten => s,1,Set(CHANNEL(language)=da)", 'exten => s,n,GotoIf($["${ARG1}" = "LIMIT"]?end)')
    yield from ("exten => s,n,Set(TRUNK_OK=1)", "exten => s,n(end),NoOp()")
    yield "[sub-check]"
    yield from ("exten => s,1,Set(__STATUS=START)", 'exten => s,n,GotoIf($["${ARG2}" = "force"]?ask)')
    yield from ("exten => s,n,Return()", "exten => s,n(ask),Gosub(ivr-consent,s,1(${ARG1}))", "exten => s,n,Return()")
    for number in count(100_000):
        yield "[from-trunk]"
        yield f"exten => {number},1,Macro(set-up,)"
        yield f"exten => {number},n,Set(__FROM_DID=${{EXTEN}})"
        yield f"exten => {number},n,Gosub(sub-check,s,1(support,{'force' if number % 3 else 'no'}))"
        yield f'exten => {number},n,GotoIf($["${{CALLERID(name)}}" != ""]?known)'
        yield f"exten => {number},n,Set(CALLERID(name)=${{CALLERID(num)}})"
        yield f"exten => {number},n(known),Goto(queues,{number % 50},1)"
        if number % 20 == 0:
            yield from ("[queues]", f"exten => {number % 50},1,Answer()", f"exten => {number % 50},n,Queue(q{number})")


def numbers() -> Iterator[str]:
    """One context of numbers and patterns."""
    yield "[from-trunk]"
    for number in count():
        yield f"exten => 4570{number:06d},1,NoOp(${{EXTEN}})"
        yield " same => n,Goto(desk,${EXTEN:-4},1)"
        if number % 100 == 0:
            yield from (f"exten => _45{number:05d}X.,1,Gosub(ivr-consent,s,1(support))", " same => n,Hangup()")
        if number % 500 == 0:
            yield from ("[desk]", f"exten => _{number % 10}XXX,1,Dial(PJSIP/{number})", "[from-trunk]")


SITES: Final[dict[str, Callable[[], Iterator[str]]]] = {"menus": menus, "generated": generated, "numbers": numbers}


def write(folder: Path, name: str, lines: int) -> Path:
    """A site of so many lines, the last of which records without the gate."""
    home = folder / name
    (home / "ivr-consent").mkdir(parents=True)
    (home / "ivr-consent" / INCLUDE_FILE).write_bytes((shipped("dialplan") / INCLUDE_FILE).read_bytes())
    text = [f"#include ivr-consent/{INCLUDE_FILE}"]
    text += [line for line, _ in zip(SITES[name](), range(lines - 3), strict=False)]
    text += ["[from-trunk]", "exten => 1,1,MixMonitor(x.wav)"]
    (home / "extensions.conf").write_text("\n".join(text) + "\n")
    endpoints = ("from-trunk", "inside")
    (home / "pjsip.conf").write_text("".join(f"[{name}]\ntype = endpoint\ncontext = {name}\n" for name in endpoints))
    return home


# --- measuring -------------------------------------------------------------------------------------------------------


def command(words: list[str], codes: tuple[int, ...] = (0,)) -> tuple[float, str]:
    """Seconds of a whole command, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    seconds = time.perf_counter() - began
    assert done.returncode in codes, done.stderr[-500:]
    return seconds, done.stdout


def memory(home: Path) -> float:
    """The most MiB that an audit held."""
    code = (
        "import resource, sys; from pathlib import Path; from ivr_consent.pbx.asterisk.audit.judge import audit;"
        "import gc; gc.disable(); audit([Path(sys.argv[1])]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    return float(command([sys.executable, "-c", code, str(home)])[1])


def measure(folder: Path, lines: int, rounds: int) -> dict[str, Any]:
    """Every site, and every rival on the same files, in turn."""
    homes = {name: write(folder, name, lines) for name in SITES}
    seconds: dict[str, list[float]] = {}
    found = {}
    for _ in range(rounds):
        for name, home in homes.items():
            took, printed = command([sys.executable, "-m", "ivr_consent.cli.main", "audit", "--json", str(home)], (1,))
            document = json.loads(printed)
            assert [finding["line"] for finding in document["findings"] if finding["level"] == "error"] == [lines]
            found[name] = {key: document[key] for key in ("contexts", "priorities", "counts")}
            seconds.setdefault(f"ivr-consent audit, {name}", []).append(took)
            file = str(home / "extensions.conf")
            seconds.setdefault(f"line by line, {name}", []).append(
                command([sys.executable, "-c", LINE_BY_LINE, file])[0]
            )
            seconds.setdefault(f"search, {name}", []).append(command([sys.executable, "-c", SEARCH, file])[0])
    return {
        "lines": lines,
        "seconds": {name: summary(values) for name, values in seconds.items()},
        "memory_mib": {name: memory(home) for name, home in homes.items()},
        "found": found,
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-audit-") as folder:
        results = measure(Path(folder), chosen.lines, chosen.rounds)
    print(f"{results['lines']:,} lines; aim: under {AIM_S:.0f} s")
    for name, row in results["seconds"].items():
        print(f"{name:<32}{row['median']:>8.2f} s   ({row['min']:.2f} to {row['max']:.2f})")
    for name, mib in results["memory_mib"].items():
        print(f"{'memory, ' + name:<32}{mib:>8.0f} MiB")
    keep("audit", results)
    bars("audit", f"A dialplan of {results['lines']:,} lines, the whole command", "seconds", results["seconds"])


if __name__ == "__main__":
    main()
