"""Questions to a log of ten million events: time to the first row, for every filter and every pair of filters.

    python -m bench.questions [--events 10000000] [--rounds 3] [--rival 6] [--log FILE]

The log is made by the writer's own code in large transactions (a quarter of an hour; four gigabytes in the folder for
temporary files, removed at the end), or taken from ``--log``, which keeps it for another time. A third of it is of one
day. For every filter there is an answer that comes at once and one that is the oldest call of the log; for every pair
a question whose only answer is the oldest call, or that has none, while each of the two fits hundreds of thousands.

Each question is put to a reader of its own, opened anew. ``cold``: after the system was told to forget the file. The
rival is what one would write without our tables: the events, newest first, with ``json_extract`` on the payload.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.measure import bars, keep, summary
from ivr_consent.cli.run import EXAMPLE
from ivr_consent.core.decision import canonical
from ivr_consent.store.chain import Chain, DecisionIndex, Entry, decision_index, prepared, utc_text
from ivr_consent.store.personal import Personal
from ivr_consent.store.place import Place, open_for_writing
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.search import Wanted

EVENTS: Final = 10_000_000
BYTES_OF_EVENT: Final = 600
BATCH: Final = 50_000
AT_ONCE: Final = 20
"""Calls that are written at one time, as a busy log does: the log is made in a third of the time."""
BEGIN: Final = datetime(2024, 1, 1, tzinfo=UTC)
DAYS: Final = 1000
FULL_DAY: Final = BEGIN + timedelta(days=700)
LINES: Final = tuple(f"line{n}" for n in range(10))
OUTCOMES: Final = ("granted", "declined", "no_answer", "invalid", "abandoned", "failed")
LANGUAGES: Final = ("da", "sv", "nl", "en", "pl")
NOTICES: Final = ("recording", "short", "long", "sales", "claims")
VERSIONS: Final = tuple(range(1, 13))
PURPOSES: Final = ("training", "quality", "agreement", "diagnosis")
AGENTS: Final = tuple(f"agent{n}" for n in range(20))
RARE: Final[dict[str, Any]] = {"line": LINES[0], "language": LANGUAGES[0], "notice": NOTICES[0], "version": VERSIONS[0]}
"""Common each; no call but the two oldest has two of them together, or one with the outcome failed."""

RIVAL_S: Final = 60.0
"""After so many seconds the rival is stopped."""

AIM_MS: Final = 100.0


# --- a log of any length ---------------------------------------------------------------------------------------------


class Call(NamedTuple):
    """What differs from call to call, but for what is random in each."""

    line: str
    language: str
    notice: str
    version: int
    outcome: str
    purpose: str
    agent: str


def calls(rng: random.Random, events: int) -> Iterator[Call]:
    """Calls without end: each line has a notice of its own, whose versions follow each other."""
    rare = {**RARE, "purpose": PURPOSES[0], "agent": AGENTS[0]}
    yield Call(**rare, outcome="failed")
    yield Call(**rare, outcome="granted")
    for number in itertools.count():
        line = rng.randrange(1, len(LINES))
        version = VERSIONS[min(1 + 4 * number * (len(VERSIONS) - 1) // events, len(VERSIONS) - 1)]
        call = Call(
            LINES[line],
            rng.choice(LANGUAGES[1:]),
            NOTICES[1 + line % (len(NOTICES) - 1)],
            version,
            rng.choices(OUTCOMES, (50, 20, 10, 5, 10, 5))[0],
            rng.choice(PURPOSES[1:]),
            rng.choice(AGENTS[1:]),
        )
        name = rng.choice([*rare, "none", "none", "none"])
        if name in rare and not (call.outcome == "failed" and name in RARE):
            call = call._replace(**{name: rare[name]})
        yield call


@lru_cache(maxsize=100_000)
def decided(call: Call) -> tuple[bytes, DecisionIndex]:
    """A decision without what is personal: payload, and by what it is looked for."""
    granted = call.outcome == "granted"
    payload = {
        "call": {"switch": "asterisk"},
        "notice": {"id": call.notice, "language": call.language, "version": call.version},
        "outcome": call.outcome,
        "purposes_granted": [call.purpose] if granted else [],
        "reason": "yes_key" if granted else "no_key",
        "retention_days": 30,
        "route": "recorded" if granted else "unrecorded",
    }
    return canonical(payload), decision_index(payload)


def entries(call: Call, rng: random.Random) -> list[Entry]:
    """The events of one call."""
    call_id, line = f"{rng.getrandbits(128):032x}", call.line
    subject, reference = f"2026Q1-{rng.getrandbits(128):032x}", f"2026Q1-{rng.getrandbits(128):032x}"
    payload, index = decided(call._replace(agent=""))
    data = f'{{"call":{{"subject_ref":"{subject}"}},"reference_ref":"{reference}"}}'.encode()
    personal = Personal(data, subject, None)
    found = [
        Entry("asked", call_id, line, None, b"{}", None, None),
        Entry("decision", call_id, line, call.outcome, payload, personal, index._replace(reference=reference)),
    ]
    if call.outcome == "granted":
        agent = Personal(f'{{"agent":"{call.agent}"}}'.encode(), None, call.agent)
        found.append(Entry("recording_confirmed", call_id, line, None, b'{"handle":"0x1"}', None, None))
        found.append(Entry("routed", call_id, line, None, b'{"route":"recorded"}', agent, None))
        found.append(Entry("recording_ended", call_id, line, None, b'{"milliseconds":120000}', None, None))
        found.append(Entry("recording_expired", call_id, line, None, b'{"erased":true}', None, None))
    return found


def times(events: int) -> Iterator[datetime]:
    """The time of each event: even over :data:`DAYS`, and a third of them on one day."""
    before = int(events * 0.45)
    full = events // 3
    for number in range(before):
        yield BEGIN + timedelta(days=number * 699 / before)
    for number in range(full):
        yield FULL_DAY + timedelta(seconds=number * 86_000 / full)
    rest = events - before - full
    for number in range(rest + 10 * AT_ONCE):
        yield FULL_DAY + timedelta(days=1 + number * 299 / rest)


def fill(path: Path, events: int) -> float:
    """Write a log of at least so many events; seconds."""
    began = time.perf_counter()
    database = open_for_writing(Place(path), clock=lambda: BEGIN)
    for pragma in ("synchronous=OFF", "cache_size=-1000000", "wal_autocheckpoint=100000"):
        database.execute(f"PRAGMA {pragma}")
    rng = random.Random(7)  # noqa: S311 - the same log each time
    chain, moments, written = Chain(database), times(events), 0
    source = calls(rng, events)
    while written < events:
        database.begin()
        chain.load()
        goal = min(events, written + BATCH)
        while written < goal:
            some = [prepared(entry) for call in itertools.islice(source, AT_ONCE) for entry in entries(call, rng)]
            now, *_ = itertools.islice(moments, len(some))
            chain.append_all(some, utc_text(now))
            written += len(some)
        chain.save()
        database.commit()
        print(f"\r{written:>12,} events, {time.perf_counter() - began:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return time.perf_counter() - began


# --- questions -------------------------------------------------------------------------------------------------------


def questions(path: Path) -> dict[str, dict[str, Any]]:
    """Every question by its name: single filters with a common and an old or no answer, then every pair."""
    with LedgerReader(path) as reader:
        newest = next(reader.calls(limit=1))
        oldest = next(reader.calls(Wanted(**{**RARE, "outcome": "failed"}), limit=1))
    old = {**RARE, "outcome": "failed", "purpose": PURPOSES[0], "agent": AGENTS[0]}
    day = utc_text(FULL_DAY)
    span = {"since": day, "until": utc_text(FULL_DAY + timedelta(days=1))}
    first_hour = utc_text(BEGIN + timedelta(hours=1))
    single: dict[str, dict[str, Any]] = {"nothing": {}}
    single |= {f"{name}, common": {name: value} for name, value in old.items()}
    single |= {f"{name}, none": {name: 99 if name == "version" else "nowhere"} for name in old}
    single |= {
        "kind, common": {"kind": "routed"},
        "kind, only the oldest": {"kind": "log_created"},
        "reference, newest": {"references": (newest.decision.payload["reference_ref"],)},
        "reference, oldest": {"references": (oldest.decision.payload["reference_ref"],)},
        "reference, none": {"references": ("2026Q1-0",)},
        "since": {"since": day},
        "day of three million": span,
        "until, only the oldest": {"until": first_hour},
        "until, none": {"until": "2000"},
    }
    pairs = {f"{a} + {b}": {a: old[a], b: old[b]} for a, b in itertools.combinations(old, 2)}
    pairs |= {f"{name} + day": {name: old[name], "outcome": "failed", **span} for name in RARE}
    pairs |= {f"{name} + until": {name: value, "until": first_hour} for name, value in old.items()}
    pairs |= {f"kind + {name}": {"kind": "decision", name: value, **RARE} for name, value in old.items()}
    pairs |= {"kind + line": {"kind": "log_created", "line": LINES[3]}, "kind + day": {"kind": "log_created", **span}}
    pairs |= {
        f"reference + {name}": {"references": single["reference, newest"]["references"], name: old[name]}
        for name in old
    }
    return single | pairs | {"all": {**RARE, "outcome": "failed", **span}}


def first_row(path: Path, wanted: Wanted) -> tuple[float, bool]:
    """Seconds from opening the log to the first row; whether there was one."""
    began = time.perf_counter()
    with LedgerReader(path) as reader:
        source: Iterator[Any] = reader.calls(wanted, limit=1) if wanted.kind is None else reader.events(wanted, limit=1)
        found = next(source, None)
        return time.perf_counter() - began, found is not None


RIVAL: Final = {
    "line": "e.line = ?",
    "outcome": "e.outcome = ?",
    "language": "json_extract(e.payload, '$.notice.language') = ?",
    "notice": "json_extract(e.payload, '$.notice.id') = ?",
    "version": "json_extract(e.payload, '$.notice.version') = ?",
    "purpose": "json_extract(e.payload, '$.purposes_granted[0]') = ?",
    "kind": "e.kind = ?",
    "since": "e.time >= ?",
    "until": "e.time < ?",
}


def rival(path: Path, asked: Mapping[str, Any]) -> float:
    """Seconds of the plain question to its first row; at most :data:`RIVAL_S`."""
    kind = [] if "kind" in asked else ["e.kind = 'decision'"]
    conditions = " AND ".join([*kind, *(RIVAL[name] for name in asked)]) or "1"
    query = f"SELECT e.*, p.data FROM events AS e LEFT JOIN personal AS p USING (sequence) WHERE {conditions} ORDER BY e.sequence DESC"  # noqa: S608, E501 - fixed conditions
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        began = time.perf_counter()
        connection.set_progress_handler(lambda: time.perf_counter() - began > RIVAL_S, 100_000)
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute(query, tuple(asked.values())).fetchone()
        return time.perf_counter() - began


def forget(path: Path) -> None:
    """Have the system forget what it holds of the file in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def command(path: Path, *words: str) -> float:
    """Seconds of a whole command line, the start of the program included."""
    config = path.with_suffix(".toml")
    config.write_text(f'[log]\npath = "{path}"\n' + EXAMPLE[EXAMPLE.index("[lines.support]") :])
    line = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(config), *words]
    began = time.perf_counter()
    subprocess.run(line, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(path: Path, rounds: int, rivals: int) -> dict[str, Any]:
    """Every question ``rounds`` times warm and once cold; the rival for some of them, between."""
    asked = questions(path)
    warm: dict[str, list[float]] = {name: [] for name in asked}
    cold, answered = {}, {}
    for name, values in asked.items():
        forget(path)
        seconds, answered[name] = first_row(path, Wanted(**values))
        cold[name] = seconds * 1000
    for _ in range(rounds):
        for name, values in asked.items():
            warm[name].append(first_row(path, Wanted(**values))[0] * 1000)
    hard = ["nothing", "line, common", "line + outcome", "language + version", "until, only the oldest", "kind + day"]
    compared = {name: rival(path, asked[name]) * 1000 for name in hard[:rivals]}
    starts = [command(path, "--version") for _ in range(rounds)]
    lists = [command(path, "log", "list", "--limit", "1", "--line", LINES[0]) for _ in range(rounds)]
    return {
        "first_row_ms": {name: summary(values) for name, values in warm.items()},
        "cold_ms": cold,
        "answered": answered,
        "rival_ms": compared,
        "command_s": {"ivr-consent --version": summary(starts), "ivr-consent log list --limit 1": summary(lists)},
    }


def report(result: Mapping[str, Any]) -> None:
    """Print it."""
    rows, cold, compared = result["first_row_ms"], result["cold_ms"], result["rival_ms"]
    print(
        f"\n{result['events']:,} events, {result['gigabytes']:.1f} GB; ms to the first row (aim: under {AIM_MS:.0f})\n"
    )
    print(f"{'question':28}{'median':>9}{'worst':>9}{'cold':>9}{'rival':>11}")
    for name, row in rows.items():
        plain = f"{compared[name]:11,.0f}" if name in compared else ""
        none = "" if result["answered"][name] else "   (nothing fits)"
        print(f"{name:28}{row['median']:9.1f}{row['max']:9.1f}{cold[name]:9.1f}{plain}{none}")
    slowest = max(rows, key=lambda name: rows[name]["max"])
    coldest = max(cold, key=cold.__getitem__)
    print(
        f"\nslowest of {len(rows)}: {slowest}, {rows[slowest]['max']:.1f} ms; cold: {coldest}, {cold[coldest]:.1f} ms"
    )
    for name, row in result["command_s"].items():
        print(f"{name:34}{row['median']:6.2f} s")


def main() -> None:
    """Make the log, measure, print, keep, remove."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rival", type=int, default=6, help="how many questions the rival is asked, at most 6")
    parser.add_argument("--log", type=Path, help="make the log here and keep it, or use the one that is here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        path = (given.log or Path(directory) / "decisions.db").absolute()
        if not path.exists():
            room = shutil.disk_usage(path.parent).free
            if room < 2 * given.events * BYTES_OF_EVENT:
                sys.exit(f"{path.parent} has {room / 1e9:.0f} GB left; this log needs {given.events * 1.2e-6:.1f} GB")
            print(f"filled in {fill(path, given.events):.0f} s", file=sys.stderr)
        with LedgerReader(path) as reader:
            events = reader.size()
        result = {"events": events, "gigabytes": path.stat().st_size / 1e9, **measure(path, given.rounds, given.rival)}
    report(result)
    print(f"kept in {keep('questions', result)}")
    drawn = {f"ivr-consent, {name}": result["first_row_ms"][name] for name in result["rival_ms"]}
    drawn |= {f"json_extract, {name}": summary([value]) for name, value in result["rival_ms"].items()}
    print(f"drawn in {bars('questions', 'First row of a question to ten million events', 'milliseconds', drawn)}")


if __name__ == "__main__":
    main()
