"""Both databases: a test that takes ``place`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivr_consent.store.place import Place
from ivr_consent.testing.rig import RigUnavailable, skip_or_fail
from tests.postgresql import PostgresqlServer, initialised, own_directory, programs


@pytest.fixture(scope="session")
def fresh_server() -> Iterator[PostgresqlServer]:
    """A server that is not started: what others are copied from."""
    aside, pristine = own_directory(), own_directory()
    try:
        found = programs(aside)
        yield PostgresqlServer(found, initialised(found, pristine))
    except RigUnavailable as unavailable:
        skip_or_fail(f"no PostgreSQL: {unavailable}")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(pristine, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql(fresh_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A server for all tests of this process; nobody stops it."""
    fresh_server.start()
    yield fresh_server
    fresh_server.discard()


@pytest.fixture
def own_postgresql(fresh_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A server for one test alone, which may break it."""
    server = PostgresqlServer(fresh_server.programs, fresh_server.pristine)
    try:
        server.start()
        yield server
    finally:
        server.discard()


@pytest.fixture(scope="session")
def database(postgresql: PostgresqlServer) -> str:
    """The name of a database that many chains are in."""
    return postgresql.create_database()


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
