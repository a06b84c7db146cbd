"""The log's tables, as numbered migrations that only go forward.

The chain is ``events`` with ``checkpoints``; ``personal`` stands beside it and can be erased; ``pruned`` and the trunk
in ``log`` are what is left of events whose time is over. ``decisions``, ``facets``, ``facet_events``, ``clock_steps``,
``recordings``, ``asked`` and ``counts`` are made from the chain, to answer questions quickly: what they hold proves
nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import LedgerUnreadable
from ivr_consent.store.chain import Chain, Entry, decision_index
from ivr_consent.store.database import Database
from ivr_consent.store.personal import split
from ivr_consent.verifier import FIRST_PREVIOUS

LOG_ID_BYTES: Final = 8
"""Random, so that two logs never have one name."""


@dataclass(frozen=True, slots=True)
class Migration:
    """``common`` is for every database, ``before`` and ``after`` by its kind; then code carries over what there was.

    BLOB, INTEGER and TEXT stand for what PostgreSQL calls BYTEA, BIGINT and TEXT COLLATE "C".
    """

    common: str
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    carry_over: Callable[[Database], None] | None = None


_ONE_SQLITE: Final = """
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,      -- gapless: nothing is ever deleted
        time TEXT NOT NULL,                -- UTC, ISO 8601, milliseconds
        kind TEXT NOT NULL,
        call_id TEXT NOT NULL,
        line TEXT NOT NULL,
        outcome TEXT,                      -- of a decision
        payload BLOB NOT NULL              -- canonical JSON
    );
    CREATE UNIQUE INDEX one_decision_per_call ON events (call_id) WHERE kind = 'decision';
    CREATE INDEX events_of_call ON events (call_id, sequence);
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""

_TWO_BEFORE_SQLITE: Final = """
    DROP TRIGGER events_are_never_changed;
    DROP TRIGGER events_are_never_deleted;
    DROP INDEX one_decision_per_call;
    DROP INDEX events_of_call;
    ALTER TABLE events RENAME TO events_unchained;
"""

_TWO: Final = """
    CREATE TABLE log (                     -- one row: where the log ends
        one INTEGER PRIMARY KEY CHECK (one = 1),
        log_id TEXT NOT NULL,
        size INTEGER NOT NULL,             -- events, the pruned ones too
        peaks BLOB NOT NULL,               -- hashes of the tree's complete subtrees, the largest first
        last_leaf BLOB NOT NULL,
        last_time TEXT NOT NULL,
        sealed INTEGER NOT NULL,           -- size of the newest checkpoint
        sealed_time TEXT NOT NULL,
        next_key TEXT NOT NULL,            -- the public key that signs the next checkpoint
        trunk_size INTEGER NOT NULL,       -- so many of the oldest events are gone but for these three
        trunk_peaks BLOB NOT NULL,
        trunk_leaf BLOB NOT NULL
    );

    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,      -- from 1, gapless
        time TEXT NOT NULL,                -- UTC, ISO 8601, milliseconds
        kind TEXT NOT NULL,
        call_id TEXT,                      -- none: an event of the service
        line TEXT,
        outcome TEXT,                      -- of a decision
        payload BLOB NOT NULL,             -- canonical JSON
        commitment BLOB,                   -- to what stands in personal
        previous BLOB NOT NULL             -- hash of the leaf before
    );
    CREATE INDEX events_of_call ON events (call_id) WHERE call_id IS NOT NULL;

    CREATE TABLE personal (                -- beside the chain; a row may be erased, see store/erasure.py
        sequence INTEGER PRIMARY KEY,
        salt BLOB NOT NULL,
        data BLOB NOT NULL,                -- canonical JSON
        subject TEXT,                      -- the caller's pseudonym, as in data
        agent TEXT,                        -- as in data
        facet INTEGER,                     -- of the event, where there is an agent
        decision INTEGER,                  -- of the event's call, where there is an agent, and its facet
        decision_facet INTEGER,
        erased INTEGER NOT NULL            -- 1: nothing of it is left, zeros and dashes stand where it stood
    );
    CREATE INDEX personal_of_agent ON personal (agent, facet, sequence) WHERE agent IS NOT NULL;
    CREATE INDEX calls_of_agent ON personal (agent, decision_facet, decision) WHERE decision IS NOT NULL;

    CREATE TABLE pruned (                  -- an event whose time is over
        sequence INTEGER PRIMARY KEY,
        leaf BLOB NOT NULL                 -- its hash
    );

    CREATE TABLE nodes (                   -- hashes of complete subtrees of 256, 65536, ... leaves: for proofs
        level INTEGER NOT NULL,
        number INTEGER NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (level, number)
    );

    CREATE TABLE checkpoints (             -- signed notes
        size INTEGER PRIMARY KEY,
        time TEXT NOT NULL,
        note TEXT NOT NULL
    );

    CREATE TABLE anchors (                 -- where a checkpoint has been shown, and what came back
        size INTEGER NOT NULL,
        place TEXT NOT NULL,               -- file, journal, mail, command, timestamp
        time TEXT NOT NULL,
        proof BLOB,
        PRIMARY KEY (size, place)
    );

    CREATE TABLE decisions (
        sequence INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL UNIQUE,      -- one decision for each call
        time TEXT NOT NULL,
        line TEXT NOT NULL,
        outcome TEXT NOT NULL,
        language TEXT,
        notice TEXT,
        version INTEGER,
        reference TEXT,                    -- keyed hash of the reference code
        facet INTEGER NOT NULL
    );
    CREATE INDEX decisions_by_reference ON decisions (reference) WHERE reference IS NOT NULL;

    CREATE TABLE facets (                  -- what events are looked for by: each combination that there is, once
        facet INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        line TEXT NOT NULL,                -- '' and 0 stand for none, here and below
        outcome TEXT NOT NULL,
        language TEXT NOT NULL,
        notice TEXT NOT NULL,
        version INTEGER NOT NULL,
        purposes TEXT NOT NULL,            -- that were granted, each between spaces
        first INTEGER NOT NULL,            -- no event of it is before this one
        block INTEGER NOT NULL,            -- its newest event is in this block of 4096 or in one before
        UNIQUE (kind, line, outcome, language, notice, version, purposes)
    );

    CREATE TABLE clock_steps (             -- an event with an earlier time than the one before it
        sequence INTEGER PRIMARY KEY
    );

    CREATE TABLE recordings (              -- granted and not erased
        call_id TEXT PRIMARY KEY,
        sequence INTEGER NOT NULL,
        days INTEGER NOT NULL,
        due TEXT                           -- when it has to be erased; none: its end is not in the log yet
    );
    CREATE INDEX recordings_by_due ON recordings (due);

    CREATE TABLE asked (                   -- calls that are being asked
        call_id TEXT PRIMARY KEY,
        sequence INTEGER NOT NULL,
        time TEXT NOT NULL,
        line TEXT NOT NULL
    );

    CREATE TABLE counts (                  -- decisions of a day
        day TEXT NOT NULL,
        line TEXT NOT NULL,
        outcome TEXT NOT NULL,
        language TEXT NOT NULL,
        notice TEXT NOT NULL,
        version INTEGER NOT NULL,
        purposes TEXT NOT NULL,
        decisions INTEGER NOT NULL,
        PRIMARY KEY (day, line, outcome, language, notice, version, purposes)
    );
"""

_TWO_SQLITE: Final = """
    CREATE TABLE facet_events (            -- where the events of a facet are
        facet INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (facet, sequence)
    ) WITHOUT ROWID;

    CREATE TRIGGER pruned_events_are_not_looked_for AFTER DELETE ON events
        BEGIN
            DELETE FROM facet_events WHERE sequence = OLD.sequence AND facet IN (
                SELECT facet FROM facets
                WHERE kind = OLD.kind AND line = coalesce(OLD.line, '') AND outcome = coalesce(OLD.outcome, '')
            );
        END;
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER events_are_pruned_only BEFORE DELETE ON events
        WHEN NOT EXISTS (SELECT 1 FROM pruned WHERE sequence = OLD.sequence)
            AND OLD.sequence > (SELECT trunk_size FROM log)
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER pruned_is_never_changed BEFORE UPDATE ON pruned
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER pruned_goes_with_the_trunk BEFORE DELETE ON pruned
        WHEN OLD.sequence > (SELECT trunk_size FROM log)
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER checkpoints_are_never_changed BEFORE UPDATE ON checkpoints
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER checkpoints_are_never_deleted BEFORE DELETE ON checkpoints
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""

_TWO_POSTGRESQL: Final = """
    CREATE TABLE facet_events (            -- where the events of a facet are
        facet INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (facet, sequence)
    );

    CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the log is append-only'; END
    $$;
    CREATE FUNCTION only_pruned() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM pruned WHERE sequence = OLD.sequence)
                AND OLD.sequence > (SELECT trunk_size FROM log)
            THEN
                RAISE EXCEPTION 'the log is append-only';
            END IF;
            RETURN OLD;
        END
    $$;
    CREATE FUNCTION only_the_trunk() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            IF OLD.sequence > (SELECT trunk_size FROM log) THEN
                RAISE EXCEPTION 'the log is append-only';
            END IF;
            RETURN OLD;
        END
    $$;
    CREATE FUNCTION not_looked_for() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            DELETE FROM facet_events WHERE sequence = OLD.sequence AND facet IN (
                SELECT facet FROM facets
                WHERE kind = OLD.kind AND line = coalesce(OLD.line, '') AND outcome = coalesce(OLD.outcome, '')
            );
            RETURN NULL;
        END
    $$;
    CREATE TRIGGER pruned_events_are_not_looked_for AFTER DELETE ON events
        FOR EACH ROW EXECUTE FUNCTION not_looked_for();
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        FOR EACH ROW EXECUTE FUNCTION append_only();
    CREATE TRIGGER events_are_pruned_only BEFORE DELETE ON events
        FOR EACH ROW EXECUTE FUNCTION only_pruned();
    CREATE TRIGGER events_are_never_emptied BEFORE TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION append_only();
    CREATE TRIGGER pruned_is_never_changed BEFORE UPDATE ON pruned
        FOR EACH ROW EXECUTE FUNCTION append_only();
    CREATE TRIGGER pruned_goes_with_the_trunk BEFORE DELETE ON pruned
        FOR EACH ROW EXECUTE FUNCTION only_the_trunk();
    CREATE TRIGGER pruned_is_never_emptied BEFORE TRUNCATE ON pruned
        FOR EACH STATEMENT EXECUTE FUNCTION append_only();
    CREATE TRIGGER checkpoints_are_never_changed BEFORE UPDATE OR DELETE ON checkpoints
        FOR EACH ROW EXECUTE FUNCTION append_only();
    CREATE TRIGGER checkpoints_are_never_emptied BEFORE TRUNCATE ON checkpoints
        FOR EACH STATEMENT EXECUTE FUNCTION append_only();
"""


def _chain_what_there_was(database: Database) -> None:
    """Bring the events of a log without a chain into one, in their order and with their times."""
    database.execute(
        "INSERT INTO log VALUES (1, ?, 0, ?, ?, '', 0, '', '', 0, ?, ?)",
        (secrets.token_hex(LOG_ID_BYTES), b"", FIRST_PREVIOUS, b"", FIRST_PREVIOUS),
    )
    chain = Chain(database)
    chain.load()
    carried = 0
    if database.kind != "sqlite":
        return  # there never was a log without a chain
    rows = database.execute(
        "SELECT time, kind, call_id, line, outcome, payload FROM events_unchained ORDER BY sequence"
    )
    for time, kind, call_id, line, outcome, raw in rows:
        entry = _carried_over(kind, call_id, line, outcome, raw)
        if not chain.append(entry, time):
            chain.append(entry._replace(decided=None), time)  # a second decision, written past us: kept as what it is
        carried += 1
    if carried:
        details = {"schema": 1, "events": carried}
        chain.append(Entry("log_migrated", None, None, None, canonical(details), None, None), chain.last_time)
    chain.save()
    database.execute("DROP TABLE events_unchained")


def _carried_over(kind: str, call_id: str, line: str, outcome: str | None, raw: bytes | str) -> Entry:
    """An event with what is personal split off; of one that was not written by us, the bytes as they are."""
    data = raw if isinstance(raw, bytes) else raw.encode()
    try:
        payload = json.loads(data)
        public, personal = split(payload)
        content = canonical(public)
    except (ValueError, TypeError, AttributeError, RecursionError):
        payload, content, personal = {}, data, None
    index = decision_index(payload) if kind == "decision" else None
    return Entry(kind, call_id, line, outcome, content, personal, index)


MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration("", after={"sqlite": _ONE_SQLITE}),  # before there was a chain, and PostgreSQL
    Migration(
        _TWO,
        before={"sqlite": _TWO_BEFORE_SQLITE},
        after={"sqlite": _TWO_SQLITE, "postgresql": _TWO_POSTGRESQL},
        carry_over=_chain_what_there_was,
    ),
)


def migrate(database: Database) -> None:
    """Bring the tables to the newest form, inside a transaction. Raises :class:`LedgerUnreadable` for a newer log."""
    done = checked_version(database)
    for number, migration in enumerate(MIGRATIONS[done:], done + 1):
        for script in (migration.before.get(database.kind), migration.common, migration.after.get(database.kind)):
            if script:
                database.run(script)
        if migration.carry_over is not None:
            migration.carry_over(database)
        database.set_version(number)


def checked_version(database: Database) -> int:
    """The version of a database's tables. Raises :class:`LedgerUnreadable` for one that we do not know."""
    version = database.version()
    if version > len(MIGRATIONS):
        raise LedgerUnreadable(
            f"{database.name} was written by a newer ivr-consent (schema {version}, this one knows {len(MIGRATIONS)}); "
            "upgrade"
        )
    return version
