"""``make fuzz``: every target for a while, one after the other.

    python -m tests.fuzz [--minutes N] [--list] [WORD …]     only targets with one of the words in their name

What breaks something is made as short as it can be and written to ``tests/fuzz/crashes/``, where
``tests/fuzz/test_corpus.py`` tries it from then on. What reaches new code is kept in ``tests/fuzz/corpus/``. Exit code:
1 if something was found, 2 if nothing could be tried, 130 if it was broken off.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivr_consent.cli.plain import safe, say
from tests.fuzz.coverage import chosen, measured
from tests.fuzz.least import Fault, fault, shortest
from tests.fuzz.target import INPUT_S, MEMORY_MIB, ROOT, Target, digest, read_folder
from tests.fuzz.targets import TARGETS

DEFAULT_MINUTES: Final = 13.0
"""Half a minute for each target."""

LEAST_S: Final = 2.0
FUZZING: Final = 0.75
"""Of a target's time; the rest is for choosing what is kept."""

START_S: Final = 120.0
"""For imports with instruments, and the inputs that are there already."""

SHORTEN_S: Final = 60.0
MOST_TOLD: Final = 40
"""Lines of the fuzzer's last words that are shown."""

_STATUS: Final = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+ .*exec/s: (\d+)")


@dataclass(slots=True)
class Outcome:
    """What came of one target. ``written``: the crash that was kept; ``added``: inputs that are new in the corpus."""

    target: Target
    tries: int = 0
    code: int = 0
    told: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_TOLD))
    written: Path | None = None
    fault: Fault | None = None
    added: int = 0
    kept: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the targets, and tell."""
    options = _options(arguments)
    wanted = [one for one in TARGETS.values() if not options.words or any(word in one.name for word in options.words)]
    if options.list or not wanted:
        say(f"targets: {' '.join(TARGETS)}")
        return 0 if options.list else 2
    if importlib.util.find_spec("atheris") is None:
        say("atheris is not installed. `make fuzz` installs it where there is one: Linux on x86-64.", error=True)
        return 2
    seconds = max(LEAST_S, options.minutes * 60 / len(wanted))
    say(f"{len(wanted)} targets, {seconds:.0f} s each")
    outcomes: list[Outcome] = []
    try:
        for target in wanted:
            outcomes.append(run(target, seconds))
            tell(outcomes[-1])
    except KeyboardInterrupt:
        say("broken off: what the target at hand had found is not kept", error=True)
        return 130
    broken = [outcome.target.name for outcome in outcomes if outcome.code]
    say(f"{len(outcomes)} targets, {sum(one.tries for one in outcomes)} inputs, {len(broken)} broken")
    return 1 if broken else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Coverage-guided fuzzing of our readers.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only targets with one of these in their name")
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="for all of them together")
    parser.add_argument("--list", action="store_true", help="say which targets there are")
    return parser.parse_args(arguments)


def run(target: Target, seconds: float) -> Outcome:
    """Fuzz one target; keep what broke it, else what reaches new code."""
    outcome = Outcome(target)
    with tempfile.TemporaryDirectory(prefix="ivr-consent-fuzz-") as name:
        aside = Path(name)
        found = aside / "found"
        _begin(target, found)
        options = [f"-max_total_time={seconds * FUZZING:.0f}", f"-artifact_prefix={aside}/"]
        if target.words:
            words = "".join(f'"{_quoted(word)}"\n' for word in target.words)
            (aside / "words").write_text(words)
            options.append(f"-dict={aside / 'words'}")
        outcome.code = _engine(outcome, [str(found), *options], aside, seconds + START_S)
        broke = sorted(path for path in aside.iterdir() if re.match(r"(crash|timeout|oom)-", path.name))
        if broke:
            _keep_crash(outcome, broke[0].read_bytes())
        elif outcome.code == 0:
            merged = aside / "merged"
            merged.mkdir()
            _engine(Outcome(target), ["-merge=1", str(merged), str(found)], aside, START_S + seconds)
            _keep_corpus(outcome, read_folder(merged) or read_folder(found), max(LEAST_S, seconds * (1 - FUZZING)))
    return outcome


def _begin(target: Target, folder: Path) -> None:
    """The inputs to begin with: seeds, the corpus, and what once broke it and does so no more."""
    folder.mkdir()
    for data in (*target.seeds(), *read_folder(target.corpus).values(), *read_folder(target.crashes).values()):
        if len(data) <= target.longest:
            (folder / digest(data)).write_bytes(data)


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _engine(outcome: Outcome, arguments: Sequence[str], aside: Path, seconds: float) -> int:
    """Run the fuzzer and follow what it says; its exit code. It is gone when this returns, however that is."""
    target = outcome.target
    bounds = [f"-max_len={target.longest}", f"-timeout={INPUT_S:.0f}", f"-rss_limit_mb={MEMORY_MIB}"]
    command = [sys.executable, "-m", "tests.fuzz.engine", target.name, *bounds, *arguments]
    environment = {**os.environ, "TMPDIR": str(aside), "PYTHONHASHSEED": "0"}
    with _process(command, environment, seconds) as process:
        assert process.stdout is not None
        for line in process.stdout:
            text = safe(line.rstrip("\n"))
            status = _STATUS.match(text)
            if status is None:
                outcome.told.append(text)
            else:
                outcome.tries = int(status[1])
                _progress(f"{target.name}: {status[1]} inputs, {status[5]} a second, {status[4]} of them new")
        code = process.wait(timeout=START_S)
    if code == -signal.SIGKILL:
        outcome.told.append(f"it did not end within {seconds:.0f} s")
    return code


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that is over after so many seconds, and when the block is."""
    # In a session of its own: an interrupt at the keyboard is ours to carry on.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        with process:
            _progress("")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text[:100]}\x1b[K")
        sys.stderr.flush()


# --- what is kept ----------------------------------------------------------------------------------------------------


def _keep_crash(outcome: Outcome, data: bytes) -> None:
    """The shortest input that breaks the same, where the tests find it."""
    target = outcome.target
    outcome.code = outcome.code or 1
    outcome.fault = fault(target.one, data)
    if outcome.fault is not None:
        data = shortest(target.one, data, SHORTEN_S)
        outcome.fault = fault(target.one, data)
    outcome.written = _write(target.crashes, data)


def _keep_corpus(outcome: Outcome, found: Mapping[str, bytes], seconds: float) -> None:
    target = outcome.target
    known = read_folder(target.corpus)
    inputs = {digest(data): data for data in (*known.values(), *found.values())}
    reach = measured(target, inputs, seconds)
    names = chosen(inputs, reach, frozenset(map(digest, known.values())))
    if not names:
        return
    for name in names:
        _write(target.corpus, inputs[name])
    for name in known.keys() - set(names):
        (target.corpus / name).unlink()
    outcome.kept, outcome.added = len(names), len(set(names) - known.keys())


def _write(folder: Path, data: bytes) -> Path:
    """Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / digest(data)
    aside = folder / f".{path.name}"
    aside.write_bytes(data)
    return aside.replace(path)


def tell(outcome: Outcome) -> None:
    """One line for each target, and what to do where it is broken."""
    name = outcome.target.name
    if not outcome.code:
        new = f", {outcome.added} new" if outcome.added else ""
        say(f"{name:<18}{outcome.tries:>9} inputs   {outcome.kept:>3} kept{new}")
        return
    say(f"{name:<18}{outcome.tries:>9} inputs   BROKEN")
    if outcome.written is None:
        for line in outcome.told:
            say(f"    {line}", error=True)
        say(f"    the fuzzer ended with {outcome.code} and left no input; its last words are above")
        return
    path = outcome.written.relative_to(ROOT)
    told = "only under the fuzzer: for its time, its memory, or what came before it"
    say(f"    {outcome.fault.told if outcome.fault is not None else told}")
    say(f"    kept: {path} ({outcome.written.stat().st_size} bytes)")
    say(f"    see it:   .venv/bin/pytest tests/fuzz/test_corpus.py -k {path.name}")
    say("    mend what it shows, and leave the file where it is: from now on it is a test")


if __name__ == "__main__":
    sys.exit(main())
