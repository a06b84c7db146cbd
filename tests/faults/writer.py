"""What runs in a process under test: a log that does as it is told, or one under load."""

from __future__ import annotations

import json
import random
import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from ivr_consent.core.decision import CallContext, Decision, Outcome
from ivr_consent.core.errors import LedgerError
from ivr_consent.core.steps import Failed, Granted, Logged
from ivr_consent.logs import configure_logging
from ivr_consent.store import ledger as ledger_module
from ivr_consent.store.backup import backup, restore
from ivr_consent.store.ledger import Ledger, Written
from ivr_consent.store.place import Place
from tests.faults import disk

OUTCOMES: Final = tuple(outcome.value for outcome in Outcome)


def decision(call_id: str, outcome: str) -> Decision:
    """A decision as large as a real one's frame, without the segments of a notice."""
    granted = outcome == "granted"
    call = CallContext(call_id, "support", "asterisk", f"pbx-{call_id[:10]}.1", "k1:" + call_id, "22.1", "0" * 64)
    return Decision(
        call,
        Outcome(outcome),
        "yes_key" if granted else "some_reason",
        "recorded" if granted else "unrecorded",
        None,
        (),
        ("training",) if granted else (),
        30,
        0,
        ("en", "da"),
        recording_id=call_id if granted else None,
    )


def as_json(written: Written) -> dict[str, Any]:
    """An answer of the log."""
    match written:
        case Granted():
            return {"answer": "granted", "sequence": written.grant.sequence}
        case Logged():
            return {"answer": "logged" if written.durable else "later", "sequence": 0}
        case Failed():
            return {"answer": "failed", "reason": written.reason, "sequence": 0}


def commands(
    link: socket.socket,
    path: str,
    *,
    control: str = "",
    trace: str = "",
    retry_s: float = 0.2,
    checkpoint_events: int = 1_000_000,
) -> None:
    """Open a log and do what is asked, one command a line."""
    ledger_module.RETRY_S = retry_s  # type: ignore[misc]  # a test does not wait five seconds
    _prepare(path, control, trace)
    with link.makefile("r", encoding="utf-8") as lines:
        _obey(link, lines, Place(Path(path), checkpoint_events=checkpoint_events))


def _prepare(path: str, control: str, trace: str) -> None:
    configure_logging()
    if control:
        disk.attach(Path(control), Path(path).parent, Path(trace) if trace else None)


def _obey(link: socket.socket, lines: Any, place: Place) -> None:
    offset = [0.0]
    ledger: Ledger | None = None

    def open_() -> dict[str, Any]:
        nonlocal ledger
        ledger = Ledger(place, clock=lambda: datetime.now(UTC) + timedelta(seconds=offset[0]))
        return {}

    def run(command: dict[str, Any]) -> dict[str, Any]:
        name = command.pop("do")
        if name == "open":
            return open_()
        assert ledger is not None
        match name:
            case "decide":
                call_id = command.get("call") or secrets.token_hex(16)
                told = as_json(ledger.decide_now(decision(call_id, command["outcome"])))
                if command.get("mark") and told["answer"] in ("granted", "logged"):
                    disk.mark(f"{call_id} {command['outcome']} {told['sequence']}")
                return told | {"call": call_id}
            case "flow":  # what a call does: a grant that is refused is followed by the failed decision
                call_id = secrets.token_hex(16)
                first = ledger.decide_now(decision(call_id, "granted"))
                second = None if isinstance(first, Granted) else ledger.decide_now(decision(call_id, "failed"))
                return as_json(first) | {"call": call_id, "then": second and as_json(second)}
            case "note":
                return as_json(ledger.note_now(command["call"], "support", command["kind"], {"number": 1}))
            case "many":
                return _many(ledger, command["count"])
            case "seal":
                return {"note": ledger.seal()}
            case "clock":
                offset[0] = command["seconds"]
                return {}
            case "descriptors":
                soft = len(list(Path("/proc/self/fd").iterdir())) - 1 if command["none"] else 1024
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
                return {}
            case "healthy":
                return {"healthy": _until(lambda: ledger is not None and ledger.healthy)}
            case "close":
                ledger.close()
                return {}
            case _:
                raise ValueError(name)

    for line in lines:
        began = time.monotonic()
        try:
            answer = run(json.loads(line))
        except (LedgerError, OSError) as error:
            answer = {"error": str(error)}
        answer["seconds"] = time.monotonic() - began
        link.sendall(json.dumps(answer).encode() + b"\n")


def _until(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def _many(ledger: Ledger, count: int) -> dict[str, Any]:
    """So many decisions at once; those that were acknowledged, and how long the slowest waited."""
    done = threading.Semaphore(0)
    answers: list[tuple[str, str, dict[str, Any]]] = []

    def submit(number: int) -> None:
        call_id, outcome = secrets.token_hex(16), OUTCOMES[number % len(OUTCOMES)]

        def told(written: Written) -> None:
            answers.append((call_id, outcome, as_json(written)))
            done.release()

        ledger.decide(decision(call_id, outcome), told)

    for number in range(count):
        submit(number)
    for _ in range(count):
        done.acquire(timeout=30)
    return {"answers": answers}


def load(
    link: socket.socket,
    path: str,
    *,
    threads: int = 8,
    checkpoint_events: int = 7,
    seed: int = 0,
    control: str = "",
    trace: str = "",
    seconds: float = 600.0,
) -> None:
    """Write as fast as it goes, and say of each event that it was acknowledged, the moment it was."""
    _prepare(path, control, trace)
    ledger = Ledger(Place(Path(path), checkpoint_events=checkpoint_events), seals=True)
    link.setblocking(True)
    _tell(link, "open", "", 0, trace)
    until = time.monotonic() + seconds

    def call_after_call(number: int) -> None:
        chance = random.Random(seed * 1000 + number)  # noqa: S311 - a load, no secret
        while time.monotonic() < until:
            call_id, outcome = secrets.token_hex(16), chance.choice(OUTCOMES)
            if chance.random() < 0.3:
                ledger.note(call_id, "support", "asked", {"languages": "en"}, None)
            _write(link, ledger, call_id, outcome, trace)
            if outcome == "granted" and chance.random() < 0.5:
                ledger.note_now(call_id, "support", "recording_confirmed", {"handle": "0x1"}, 20.0)
            if chance.random() < 0.05:
                ledger.tell("spot_check", {"number": number})

    workers = [threading.Thread(target=call_after_call, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ledger.close()
    _tell(link, "closed", "", 0, trace)


def _write(link: socket.socket, ledger: Ledger, call_id: str, outcome: str, trace: str) -> None:
    told = threading.Event()

    def acknowledged(written: Written) -> None:
        match written:
            case Granted():
                _tell(link, call_id, outcome, written.grant.sequence, trace)
            case Logged(durable=True):
                _tell(link, call_id, outcome, 0, trace)
            case _:
                _tell(link, "refused", outcome, 0, trace)
        told.set()

    ledger.decide(decision(call_id, outcome), acknowledged)
    told.wait(20)


def _tell(link: socket.socket, call_id: str, outcome: str, sequence: int, trace: str) -> None:
    line = f"{call_id} {outcome} {sequence}"
    if trace:
        disk.mark(line)
    else:
        link.sendall(line.encode() + b"\n")  # less than a pipe takes at once: never half a line


def open_log(link: socket.socket, path: str, *, control: str) -> None:
    """Open a log, bring it to the newest form, and close it."""
    _prepare(path, control, "")
    Ledger(Path(path)).close()
    link.sendall(b'"done"\n')


def restore_log(link: socket.socket, path: str, *, control: str, copy: str) -> None:
    """Put a copy in the place of a log, accepting what is lost."""
    _prepare(path, control, "")
    restore(Place(Path(path)), Path(copy), accept_loss=True)
    link.sendall(b'"done"\n')


def backup_log(link: socket.socket, path: str, *, control: str, target: str) -> None:
    """Copy a log to a disk that fails; what is said about it."""
    configure_logging()
    disk.attach(Path(control), Path(target).parent)
    said = "done"
    try:
        backup(Place(Path(path)), Path(target))
    except LedgerError as error:
        said = str(error)
    link.sendall(json.dumps(said).encode() + b"\n")


ROLES: Final[dict[str, Callable[..., None]]] = {
    "commands": commands,
    "load": load,
    "open": open_log,
    "restore": restore_log,
    "backup": backup_log,
}
