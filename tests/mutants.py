"""``make mutants``: faults planted one by one in a copy of the project, each to be noticed by the tests.

The list is ``tests/data/mutants.toml``. Survivors are printed, and make the exit code 1.

    python -m tests.mutants [WORD]     only those with the word in their file or their reason
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "data" / "mutants.toml"
COPIED = ("ivr_consent", "tests", "prompts", "dialplan", "scenarios", "pyproject.toml")
DEADLINE_S = 300.0
"""For the tests of one mutant: one that never ends is noticed too."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: in ``file`` the text ``old`` becomes ``new``; ``tests`` are to notice."""

    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """The file's text with the fault in it. Raises :class:`ValueError` when ``old`` does not stand there once."""
        if text.count(self.old) != 1 or self.old == self.new:
            raise ValueError(f"{self.file}: stands {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: ``by`` is the first test that noticed, empty for a survivor."""

    mutant: Mutant
    by: str
    seconds: float


def mutants() -> tuple[Mutant, ...]:
    """All of the list."""
    document = tomllib.loads(LIST.read_text(encoding="utf-8"))
    tests = document["tests"]
    return tuple(Mutant(**one, tests=tuple(tests[one["file"]])) for one in document["mutant"])


def copied(directory: Path) -> Path:
    """A copy of the project as far as tests need it."""
    leave = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=leave)
        else:
            shutil.copy(ROOT / name, directory / name)
    return directory


def tried(mutant: Mutant, copy: Path) -> Outcome:
    """Plant a fault in a copy, run its tests, take it out again."""
    path = copy / mutant.file
    before = path.read_text(encoding="utf-8")
    began = time.monotonic()
    path.write_text(mutant.planted(before), encoding="utf-8")
    try:
        by = noticed(mutant.tests, copy)
    finally:
        path.write_text(before, encoding="utf-8")
    return Outcome(mutant, by, time.monotonic() - began)


def noticed(tests: Sequence[str], copy: Path) -> str:
    """The first test that fails; empty when all pass. One module after the other, the quick ones stand first."""
    return next(filter(None, (_failing(test, copy) for test in tests)), "")


def _failing(test: str, copy: Path) -> str:
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    # Most of what serves calls waits for time to pass: side by side it takes a third.
    beside = ["-n", "4"] if "server" in test or "drivers" in test else ["-p", "no:xdist"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, *beside, test],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "(the tests did not end)"
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].partition(" ")[2].partition(" - ")[0] if failed else f"(pytest ended with {done.returncode})"


def try_all(chosen: Sequence[Mutant], jobs: int) -> Iterator[Outcome]:
    """Each mutant, in as many copies of the project at once."""
    with tempfile.TemporaryDirectory(prefix="ivr-consent-mutants-") as aside:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            copies.put(copied(Path(aside) / str(number)))

        def one(mutant: Mutant) -> Outcome:
            copy = copies.get()
            try:
                return tried(mutant, copy)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(one, chosen)


def main() -> int:
    """Try them all, and tell."""
    from tests.core.test_invariants import paths_walked

    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in mutants() if word in one.file or word in one.why]
    sys.stdout.write("".join(f"{walked}\n" for walked in paths_walked()))
    outcomes = []
    for outcome in try_all(chosen, min(4, os.cpu_count() or 1)):
        outcomes.append(outcome)
        told = f"noticed by {outcome.by}" if outcome.by else "SURVIVED"
        sys.stdout.write(f"{outcome.seconds:6.1f} s  {outcome.mutant.file}: {outcome.mutant.why}\n          {told}\n")
        sys.stdout.flush()
    left = [outcome.mutant for outcome in outcomes if not outcome.by]
    sys.stdout.write(f"{len(outcomes)} mutants, {len(left)} survived\n")
    return 1 if left or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
