"""Both databases: a test that takes ``place`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from ivr_consent.store.place import Place
from tests.postgresql import PostgresqlServer


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    """Where no log is yet: an SQLite file."""
    return Place(tmp_path / "decisions.db")


@pytest.fixture
def postgresql_place(tmp_path: Path, postgresql: PostgresqlServer, database: str) -> Place:
    """Where no log is yet: a chain of its own in PostgreSQL."""
    server = f"t{uuid.uuid4().hex[:12]}"
    return Place(tmp_path / f"{server}.db", url=postgresql.url(database), server=server)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """Where no log is yet, on both databases."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found
