"""Fixtures of the command line's tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.support import Place, run
from tests.tools import need


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A site after init: no audio yet."""
    made = Place(tmp_path)
    assert run(*made.init("--example-facts")).exit_code == 0
    return made


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Audio of the example site, built once for all test processes of a run: whoever is first holds the lock."""
    need("espeak-ng", "ffmpeg")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each process has a folder of its own in that of the run
    made = Place(folder / "built")
    whole = made.root / "whole"
    with (folder / "built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(made.root, ignore_errors=True)
            assert run(*made.init("--example-facts")).exit_code == 0
            built = run("--config", made.config, "prompts", "build")
            assert built.exit_code == 0, built.output
            whole.touch()
    return made.state / "audio"


@pytest.fixture
def ready(place: Place, _built: Path) -> Place:
    """A site that can be called: its notice is built and published."""
    shutil.copytree(_built, place.state / "audio", dirs_exist_ok=True)
    for verb in ("build", "publish"):
        done = run("--config", place.config, "prompts", verb)
        assert done.exit_code == 0, done.output
    return place
