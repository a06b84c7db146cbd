"""Fixtures: PostgreSQL for tests of every kind, started when the first one needs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

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
