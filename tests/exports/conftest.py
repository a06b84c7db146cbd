"""Fixtures of the exports' tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.exports.support import Book, book, every_way
from tests.sites import SmallSite

MORE = {"support": 'languages = ["en", "da"]\npurposes = ["training", "quality"]\n'}


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """A site of two languages and two purposes."""
    return SmallSite.make(tmp_path / "site", more=MORE)


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallSite, Book]:
    site = SmallSite.make(tmp_path_factory.mktemp("written") / "site", more=MORE)
    (manifest,) = site.publish()
    with book(site, manifest) as page:
        every_way(page)
    return site, page


@pytest.fixture
def written(_written: tuple[SmallSite, Book], tmp_path: Path) -> tuple[SmallSite, Book]:
    """A site whose log has calls of every kind, and the book that it was written by, closed."""
    site, page = _written
    shutil.copytree(site.root, tmp_path / "site")
    return SmallSite(tmp_path / "site"), page
