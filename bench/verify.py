"""How fast a log is verified, and in how much memory.

    python -m bench.verify [--events 1000000] [--folder DIR]

The log is written by the chain that the service writes with, in large transactions, a checkpoint every thousand
events: about a quarter are decisions of 3 KB with personal data beside them, the rest has about 150 bytes. Then it is
verified by processes of their own: with the package (signatures by ``cryptography``), and by the stand-alone file (its
own signatures). The rival in the same run reads every row and takes SHA-256 of it, without chain, tree or any check.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.measure import bars, keep, summary
from ivr_consent.core.decision import canonical
from ivr_consent.store.chain import Chain, Entry, decision_index, utc_text
from ivr_consent.store.database import open_for_writing
from ivr_consent.store.personal import split
from ivr_consent.store.schema import migrate
from ivr_consent.store.sealing import origin
from ivr_consent.verifier import Checkpoint, PublicKey, note

CHECKPOINT: Final = 1000
TRANSACTION: Final = 20_000

OUTCOMES: Final = ("granted", "declined", "no_answer", "granted", "invalid", "granted", "abandoned")


def write(path: Path, events: int) -> Path:
    """A log of so many events, and its public key beside it."""
    database = open_for_writing(path)
    database.execute("PRAGMA synchronous=OFF")  # what is measured here is reading
    database.begin()
    migrate(database)
    database.commit()
    chain = Chain(database)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    private: Ed25519PrivateKey | None = None
    number = 0
    while number < events:
        database.begin()
        chain.load()
        name = origin(chain.log_id)
        if private is None:
            private = Ed25519PrivateKey.generate()
            first = PublicKey(name, private.public_key().public_bytes_raw())
            details = canonical({"key": str(first), "log": chain.log_id, "software": "bench"})
            chain.append(Entry("log_created", None, None, None, details, None, None), utc_text(now))
            path.with_suffix(".pub").write_text(f"{first}\n")
            number = 1
        for _ in range(min(TRANSACTION, events - number)):
            now += timedelta(milliseconds=90)
            chain.append(_entry(number), utc_text(now))
            number += 1
            if number % CHECKPOINT == 0 or number == events:
                following = Ed25519PrivateKey.generate()
                named = PublicKey(name, following.public_key().public_bytes_raw())
                text = Checkpoint(name, number, chain.tree.root(), utc_text(now), named).text()
                signed = note(
                    text, PublicKey(name, private.public_key().public_bytes_raw()), private.sign(text.encode())
                )
                chain.save()
                chain.seal(signed, utc_text(now), str(named))
                private = following
        chain.save()
        database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


def _entry(number: int) -> Entry:
    call = f"{number // 4 * 2654435761 % (1 << 128):032x}"
    kind = ("asked", "decision", "routed", "recording_ended")[number % 4]
    if kind != "decision":
        details = {
            "route": "recorded",
            "channel": f"SIP/trunk-{number:08x}",
            "milliseconds": number % 600_000,
            "of": "x" * 50,
        }
        return Entry(kind, call, "support", None, canonical(details), None, None)
    outcome = OUTCOMES[number // 4 % len(OUTCOMES)]
    segments = [
        {
            "id": f"segment-{place}",
            "text_sha256": f"{place:064x}",
            "audio_sha256": f"{place + 7:064x}",
            "elements": [place, place + 1],
            "samples_played": 80_000 + place,
            "samples_total": 80_000 + place,
            "complete": True,
            "times": 1,
        }
        for place in range(9)
    ]
    payload = {
        "call": {
            "call_id": call,
            "line": "support",
            "switch": "asterisk",
            "channel_uniqueid": f"1767225600.{number}",
            "subject_ref": f"{number // 40:064x}",
            "software": "bench",
            "configuration_sha256": "c" * 64,
        },
        "outcome": outcome,
        "reason": "yes_key",
        "notice": {
            "id": "recording",
            "version": 3,
            "language": "en",
            "segments": segments,
            "times": 1,
            "complete": True,
        },
        "answers": [{"purpose": "training", "question_sha256": "d" * 64, "key": "1", "after_ms": 900, "attempts": 1}],
        "retention_days": 30,
    }
    public, personal = split(payload)
    return Entry(kind, call, "support", outcome, canonical(public), personal, decision_index(payload))


READ: Final = """
import hashlib, sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
sha256 = hashlib.sha256
for row in connection.execute("SELECT * FROM events ORDER BY sequence"):
    sha256(row[6]).digest()
"""

VERIFY: Final = """
import sys
from ivr_consent.store.sealing import good
from ivr_consent.verifier import read_keys, verify
report = verify(sys.argv[1], read_keys(sys.argv[2]), good=good)
assert report.ok, report
"""


LAUNCH: Final = """
import os, sys, time
begin = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small program starts what is measured: a process counts as large as the one that started it was."""


def run(*words: str | Path) -> dict[str, float]:
    """Run a program: wall clock and processor time in seconds, memory at its peak in MiB."""
    line = [sys.executable, "-I", "-S", "-c", LAUNCH, sys.executable, *map(str, words)]
    told = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(("seconds", "cpu_seconds", "peak_mib"), map(float, told[-3:]), strict=True))


def measure(folder: Path, events: int, times: int) -> dict[str, Any]:
    """Write a log, verify it."""
    log = folder / "bench.db"
    key = log.with_suffix(".pub")
    if not log.exists():
        write(log, events)
    alone = Path(__file__).resolve().parent.parent / "ivr_consent" / "verifier.py"
    ways: dict[str, tuple[str | Path, ...]] = {
        "plain reading and SHA-256": ("-c", READ, log),
        "ivr-consent, package": ("-c", VERIFY, log, key),
        "ivr-consent, stand-alone file": ("-I", "-S", alone, log, "--key", key, "--quiet"),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(times):  # in turns: what else the machine does hits all of them
        for name, words in ways.items():
            found[name].append(run(*words))
    rows = {
        name: {unit: summary([one[unit] for one in all_]) for unit in ("seconds", "cpu_seconds", "peak_mib")}
        for name, all_ in found.items()
    }
    rival = rows["plain reading and SHA-256"]["cpu_seconds"]["median"]
    for row in rows.values():
        row["times_the_rival"] = {"median": row["cpu_seconds"]["median"] / rival}
    return {"events": events, "bytes": log.stat().st_size, "checkpoints": events // CHECKPOINT, "ways": rows}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the log is, or is made; else made and thrown away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        result = measure(options.folder or Path(directory), options.events, options.times)
    print(f"{result['events']} events, {result['bytes'] / 1e9:.2f} GB, {result['checkpoints']} checkpoints")
    for name, row in result["ways"].items():
        print(
            f"{name:32} {row['seconds']['median']:7.2f} s, {row['cpu_seconds']['median']:7.2f} s of one processor, "
            f"{row['peak_mib']['median']:6.1f} MiB, {row['times_the_rival']['median']:.1f} times the rival"
        )
    print(f"kept in {keep('verify', result)}")
    bars(
        "verify",
        f"Verifying {result['events']} events, processor time (aim: under 10 s)",
        "seconds",
        {name: row["cpu_seconds"] for name, row in result["ways"].items()},
    )


if __name__ == "__main__":
    main()
