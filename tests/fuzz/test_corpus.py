"""Every input that is kept, and every one that once broke something, through its target, without the fuzzer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.target import HERE, Target, deadline, digest, read_folder
from tests.fuzz.targets import TARGETS

MOST_FILES = 500
MOST_BYTES = 1 << 20


def _crashes() -> Iterator[tuple[Target, Path]]:
    for target in TARGETS.values():
        for name in read_folder(target.crashes):
            yield target, target.crashes / name


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_everything_that_is_kept_holds(target: Target) -> None:
    """Everything a target asserts, for each input of its corpus."""
    inputs = read_folder(target.corpus)
    assert inputs, "nothing is kept for it: make fuzz"
    for name, data in inputs.items():
        with deadline():
            try:
                target.one(data)
            except Exception as error:
                error.add_note(f"input: {target.corpus / name}")
                raise


@pytest.mark.parametrize(("target", "path"), list(_crashes()), ids=lambda one: getattr(one, "name", ""))
def test_what_once_broke_something_does_so_no_more(target: Target, path: Path) -> None:
    """A crash that the fuzzer found, and that was mended."""
    with deadline():
        target.one(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_seed_holds(target: Target) -> None:
    """What the fuzzer begins with: transcripts, scenarios, notices, the small log."""
    seeds = list(target.seeds())
    assert seeds
    for data in seeds:
        with deadline():
            target.one(data)


def test_what_is_kept_is_small_and_named_by_its_content() -> None:
    files = [path for kind in ("corpus", "crashes") for path in (HERE / kind).glob("*/*")]
    assert files
    assert len(files) < MOST_FILES
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    for path in files:
        assert path.parent.name in TARGETS, f"{path}: there is no such target"
        assert path.name == digest(path.read_bytes()), f"{path}: not named by its content"
