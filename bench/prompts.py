"""Building and checking the notices: ten languages cold, again with nothing changed, and a hundred lines checked.

    python -m bench.prompts [--rounds 3]

The rival of a cold build is the work that cannot be left out: espeak-ng speaks every text once and ffmpeg writes every
format once, on all processors, with no trimming, no loudness, no check, no digest. Both are told in seconds of the wall
and of all processors: the latter is hit less by what else the machine does. The rival of doing nothing is a Python that
starts and ends. Commands run as a user runs them, each in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.measure import bars, keep, summary
from ivr_consent import config
from ivr_consent.audio.formats import FORMATS
from ivr_consent.audio.store import Recipe
from ivr_consent.cli.run import EXAMPLE
from ivr_consent.workshop import Workshop

LANGUAGES = ("da", "sv", "nl", "en", "de", "fr", "no", "fi", "es", "pl")
PURPOSES = ("training", "quality", "agreement", "diagnosis")
LINES = 100
PATIENCE = 900.0


def site(home: Path, lines: int) -> Path:
    """A configuration of so many lines, each in every language and with every purpose."""
    head = EXAMPLE[: EXAMPLE.index("[lines.support]")].replace("the data protection authority", "Datatilsynet")
    languages, purposes = (", ".join(f'"{word}"' for word in words) for words in (LANGUAGES, PURPOSES))
    rows = [f"[lines.line{n}]\nlanguages = [{languages}]\npurposes = [{purposes}]\n" for n in range(lines)]
    path = home / "ivr-consent.toml"
    path.write_text(head + "".join(rows))
    return path


def command(path: Path, *words: str) -> list[str]:
    """A command line of ours."""
    return [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(path), *words]


def run(words: Sequence[str], good: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Wall seconds of a command, and the most MiB that its own process ever held."""
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            most = max(most, next(int(row.split()[1]) / 1024 for row in status if row.startswith("VmHWM:")))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    took = time.perf_counter() - began
    assert process.returncode in good, f"{' '.join(words)}: exit code {process.returncode}"
    return took, most


def cpu() -> float:
    """Seconds of all processors that programs started from here have taken, those that they started included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def recipes(path: Path) -> list[Recipe]:
    """Every different prompt of a configuration."""
    workshop = Workshop(config.load(path))
    found: dict[str, Recipe] = {}
    for name in workshop.settings.lines:
        draft = workshop.draft(name)
        assert not draft.errors, draft.errors
        for made in draft.recipes.values():
            found |= {recipe.key(): recipe for recipe in made}
    return list(found.values())


def bare(prompts: Sequence[Recipe], folder: Path) -> float:
    """Wall seconds of the voice and ffmpeg alone."""

    def one(number: int) -> None:
        recipe = prompts[number]
        assert recipe.voice is not None
        spoken = subprocess.run(recipe.voice.command(), input=recipe.text.encode(), stdout=subprocess.PIPE, check=True)
        words = ["ffmpeg", "-loglevel", "error", "-nostdin", "-y", "-i", "pipe:0"]
        for form in recipe.formats:
            made = FORMATS[form]
            out = str(folder / f"{number}.{form}")
            words += ["-ar", str(made.rate), "-ac", "1", "-c:a", made.encoder, "-f", made.muxer, out]
        subprocess.run(words, input=spoken.stdout, check=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(one, range(len(prompts))))
    return time.perf_counter() - began


def measure(rounds: int) -> dict[str, Any]:
    """Everything, round by round, rivals between."""
    rows: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    memory: list[float] = []

    def note(label: str, value: float) -> None:
        rows.setdefault(label, []).append(value)

    prompts = 0
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="bench") as directory:
            home = Path(directory)
            path = site(home, 1)
            wanted = recipes(path)
            prompts = len(wanted)
            (home / "bare").mkdir()
            began = cpu()
            note("voice and ffmpeg alone", bare(wanted, home / "bare"))
            between = cpu()
            took, most = run(command(path, "prompts", "build"))
            note("ivr-consent, cold build", took)
            memory.append(most)
            busy.setdefault("voice and ffmpeg alone", []).append(between - began)
            busy.setdefault("ivr-consent, cold build", []).append(cpu() - between)
            for _ in range(5):
                note("ivr-consent, nothing changed", run(command(path, "prompts", "build"))[0])
                note("python starts and ends", run([sys.executable, "-c", "pass"])[0])
                note("ivr-consent starts and ends", run(command(path, "--version"))[0])
            many = home / "many"
            many.mkdir()
            (many / "audio").symlink_to(home / "audio")
            path = site(many, LINES)
            note("ivr-consent, 100 lines checked", run(command(path, "prompts", "check"), (0, 3))[0])
    return {
        "prompts": prompts,
        "seconds": {label: summary(values) for label, values in rows.items()},
        "cpu_seconds": {label: summary(values) for label, values in busy.items()},
        "rss_mib": summary(memory),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    result = measure(rounds)
    seconds = result["seconds"]
    print(
        f"\n{result['prompts']} prompts in {len(LANGUAGES)} languages; {rounds} rounds; median (smallest to largest)\n"
    )
    for label, row in seconds.items():
        print(f"{label:34}{row['median']:9.2f} s ({row['min']:.2f} to {row['max']:.2f})")
    print(f"{'memory of a cold build':34}{result['rss_mib']['median']:9.0f} MiB (aim: under 150)")
    ratio, busy = (
        times["ivr-consent, cold build"]["median"] / times["voice and ffmpeg alone"]["median"]
        for times in (seconds, result["cpu_seconds"])
    )
    idle = seconds["ivr-consent, nothing changed"]["median"]
    print(
        f"\ncold build, as a multiple of voice and ffmpeg alone: {ratio:.2f} (aim: under 1.5), "
        f"of the processors' time: {busy:.2f}"
    )
    print(f"nothing changed: {idle * 1000:.0f} ms, the start of Python included (aim: under 200 ms)")
    result["ratios"] = {
        "cold build to voice and ffmpeg alone": ratio,
        "cold build to voice and ffmpeg alone, processors' time": busy,
    }
    print(f"kept in {keep('prompts', result)}")
    print(f"drawn in {bars('prompts', 'Building and checking notices', 'seconds', seconds)}")


if __name__ == "__main__":
    main()
