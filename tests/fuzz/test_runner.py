"""``make fuzz`` itself, with something else in the fuzzer's place."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.fuzz import __main__ as runner
from tests.fuzz import target as target_module
from tests.fuzz.coverage import MOST_BYTES, MOST_FILES, chosen, measured, reached
from tests.fuzz.least import fault, shortest
from tests.fuzz.target import Target, TooSlowError, deadline, digest, read_folder
from tests.fuzz.targets import TARGETS
from tests.fuzz.wires import agi

Engine = Callable[[runner.Outcome, Sequence[str], Path, float], int]


def breaks(data: bytes) -> None:
    if b"<" in data and b">" in data[data.index(b"<") :]:
        raise KeyError("an angle")
    if b"!" in data:
        raise IndexError("another fault")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target in a folder of its own, the only one."""
    monkeypatch.setattr(target_module, "HERE", tmp_path)
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    made = Target("small", breaks, lambda: (b"seed", b"x" * 100), 64)
    monkeypatch.setattr(runner, "TARGETS", {"small": made})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    return made


def fuzzes(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(runner, "_engine", engine)


def test_a_crash_is_made_short_kept_and_told(
    small: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def engine(_: runner.Outcome, arguments: Sequence[str], aside: Path, __: float) -> int:
        assert read_folder(Path(arguments[0])) == {digest(b"seed"): b"seed"}, "what is too long is no seed"
        (aside / "crash-1").write_bytes(b"a lot before < and between > and behind!\x1b[2J")
        return 77

    fuzzes(monkeypatch, engine)
    assert runner.main(["--minutes", "0.1"]) == 1
    assert read_folder(small.crashes) == {digest(b"<>"): b"<>"}
    assert not small.corpus.exists()
    told = capsys.readouterr().out
    assert "KeyError" in told
    assert f"-k {digest(b'<>')}" in told
    assert "from now on it is a test" in told


def test_a_fuzzer_that_dies_without_a_word_is_no_success(
    small: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def engine(outcome: runner.Outcome, *_: object) -> int:
        outcome.told.append("last words")
        return 1

    fuzzes(monkeypatch, engine)
    assert runner.main(["small"]) == 1
    assert "last words" in capsys.readouterr().err
    assert not small.crashes.exists()


def test_what_only_the_fuzzer_meets_is_kept_as_it_is(small: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much memory, say: it cannot be tried again in the runner's own process as it was there."""

    def engine(_: runner.Outcome, __: Sequence[str], aside: Path, ___: float) -> int:
        (aside / "oom-1").write_bytes(b"good here")
        return 71

    fuzzes(monkeypatch, engine)
    assert runner.main(["small"]) == 1
    assert list(read_folder(small.crashes).values()) == [b"good here"]


def test_broken_off_nothing_is_half_made(small: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    (small.corpus).mkdir(parents=True)
    (small.corpus / digest(b"old")).write_bytes(b"old")

    def engine(*_: object) -> int:
        raise KeyboardInterrupt

    fuzzes(monkeypatch, engine)
    assert runner.main(["small"]) == 130
    assert read_folder(small.corpus) == {digest(b"old"): b"old"}
    assert not small.crashes.exists()


def test_the_corpus_keeps_what_reaches_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AGI environment reaches more than nothing does; what adds nothing goes."""
    whole = max(TARGETS["agi"].seeds(), key=len)
    made = Target("small", agi, lambda: (b"",), 4096)
    monkeypatch.setattr(target_module, "HERE", tmp_path)
    made.corpus.mkdir(parents=True)
    (made.corpus / digest(b"agi")).write_bytes(b"agi")

    def engine(_: runner.Outcome, arguments: Sequence[str], __: Path, ___: float) -> int:
        folder = Path(arguments[1] if "-merge=1" in arguments else arguments[0])
        for data in (whole, b"agi_request", b"\xff"):
            (folder / digest(data)).write_bytes(data)
        return 0

    fuzzes(monkeypatch, engine)
    outcome = runner.run(made, 1.0)
    kept = read_folder(made.corpus)
    assert kept[digest(whole)] == whole
    assert outcome.code == 0
    assert outcome.kept == len(kept)
    assert all(digest(data) == name for name, data in kept.items())
    reach = measured(made, kept, 60.0)
    for name in kept:
        others = frozenset().union(*(steps for other, steps in reach.items() if other != name))
        assert reach[name] - others or name == digest(whole), "it adds nothing"


def test_nothing_to_try(small: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["no-such"]) == 2
    assert "targets: small" in capsys.readouterr().out
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert runner.main([]) == 2
    assert "atheris is not installed" in capsys.readouterr().err


def test_what_the_fuzzer_says_is_followed(tmp_path: Path) -> None:
    """Its lines are counted, the rest is kept for the end, made safe."""
    outcome = runner.Outcome(TARGETS["control"])
    said = r"#4096 pulse  cov: 10 ft: 20 corp: 7/90b lim: 64 exec/s: 128 rss: 90Mb\nERROR: \x1b[2J"
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nprintf "{said}"\nexit 77\n')
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(script))
        assert runner._engine(outcome, [], tmp_path, 60.0) == 77
    assert outcome.tries == 4096
    assert [line.isprintable() for line in outcome.told] == [True]


def test_one_that_never_ends_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho begun; exec sleep 600\n")
    script.chmod(0o755)
    outcome = runner.Outcome(TARGETS["control"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(script))
        assert runner._engine(outcome, [], tmp_path, 0.5) == -signal.SIGKILL
    assert "did not end" in outcome.told[-1]


def test_faults_are_told_apart() -> None:
    one, other = fault(breaks, b"<>"), fault(breaks, b"!")
    assert one is not None
    assert other is not None
    assert (one.kind, other.kind) == ("KeyError", "IndexError")
    assert one.where.startswith("tests/fuzz/test_runner.py:")
    assert fault(breaks, b"good") is None
    assert shortest(breaks, b"!!!<x>", 60.0) == b"<>", "the other fault is not taken for it"
    assert shortest(breaks, b"good", 60.0) == b"good"


def test_an_input_that_takes_too_long_is_a_fault() -> None:
    def waits() -> None:
        with deadline(0.01):
            while True:
                pass

    with pytest.raises(TooSlowError, match="takes longer"):
        waits()


def test_few_inputs_reach_all() -> None:
    inputs = {name: b"x" * size for name, size in (("both", 5), ("one", 2), ("two", 2), ("same", 5), ("long", 9))}
    a, b, c = ("f", 0, 1), ("f", 1, 2), ("f", 2, 3)
    reach = {
        "both": frozenset({a, b}),
        "one": frozenset({a}),
        "two": frozenset({b}),
        "same": frozenset({a, b}),
        "long": frozenset({c}),
    }
    assert chosen(inputs, reach, frozenset()) == ["same", "long"]
    assert chosen(inputs, reach, frozenset({"both"})) == ["both", "long"]
    many = {str(number): b"x" for number in range(100)}
    assert len(chosen(many, {name: frozenset({("f", 0, int(name))}) for name in many}, frozenset())) == MOST_FILES
    large = {"large": b"x" * (MOST_BYTES + 1), "small": b"x"}
    assert chosen(large, {"large": frozenset({a, b}), "small": frozenset({a})}, frozenset()) == ["small"]


def test_what_is_reached_is_steps_in_our_own_modules() -> None:
    steps = reached(agi, b"agi_network: yes\n")
    assert any(name.endswith("pbx/asterisk/wire.py") for name, _, _ in steps)
    assert all("/ivr_consent/" in name for name, _, _ in steps)
    assert reached(agi, b"agi_network: yes\n") == steps
