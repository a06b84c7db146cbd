"""Fixtures of the command line's tests."""

from __future__ import annotations

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
    """Audio of the example site, built once for a test process."""
    need("espeak-ng", "ffmpeg")
    made = Place(tmp_path_factory.mktemp("built"))
    assert run(*made.init("--example-facts")).exit_code == 0
    built = run("--config", made.config, "prompts", "build")
    assert built.exit_code == 0, built.output
    return made.state / "audio"


@pytest.fixture
def ready(place: Place, _built: Path) -> Place:
    """A site that can be called: its notice is built and published."""
    shutil.copytree(_built, place.state / "audio", dirs_exist_ok=True)
    for verb in ("build", "publish"):
        done = run("--config", place.config, "prompts", verb)
        assert done.exit_code == 0, done.output
    return place
