"""``ivr-consent log verify``, ``verifier``, ``checkpoint``: that the log is what it was."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivr_consent.cli import files
from ivr_consent.cli.terminal import Exit, Json, of, print_json, say
from ivr_consent.core.errors import ConsentError, LedgerUnreadable

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.store.place import Place
    from ivr_consent.verifier import Outside, PublicKey, Report

FILE_NAME = "verify_ivr_consent.py"
"""What the stand-alone verifier is called where it is handed out."""


def verify(
    context: typer.Context,
    log: Annotated[
        Path | None, typer.Argument(metavar="[LOG]", help="A log, or an evidence bundle; else the configured log.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="The public key as it was published: a file, or its text; else the one beside the log."),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A file with checkpoints from outside the log: an anchor, a mail, a journal's export."),
    ] = None,
    json: Json = False,
) -> None:
    """Verify the log: every event, the tree, the checkpoints and their keys. What is wrong is named.

    Of the configured log, the checkpoints of its anchors are compared too. Exit code 0: intact. 1: something is wrong.
    3: nothing is wrong, but not everything could be verified (a key is missing). 5: not readable as a log.
    """
    from ivr_consent import verifier

    place, outside, untold = None, _outside(checkpoint or []), list[str]()
    stamps: list[dict[str, Any]] = []
    if log is None:
        from ivr_consent.anchors.gather import collected
        from ivr_consent.store.place import place_of

        settings = of(context).settings()
        place = place_of(settings)
        for found in collected(settings, untold.append):
            outside.append(verifier.Outside(found.note, found.place))
            if found.seen is not None:
                stamps.append({"events": found.events, "seen": found.seen, "by": found.place})
    keys = _keys(key, log, place)
    try:
        with _progress(json) as progress:
            report = _verified(log, place, keys, outside, progress)
    except verifier.Unreadable as error:
        name = str(log) if log is not None else place.name if place is not None else ""
        raise LedgerUnreadable(f"{name} cannot be verified: {error}") from None
    if json:
        print_json({**report.plain(), "time_stamps": stamps, "anchors_not_read": untold})
    else:
        for line in verifier.told(report):
            say(line)
        for stamp in stamps[:1] + stamps[1:][-1:]:
            say(f"time-stamp of {stamp['seen']}: the checkpoint of {stamp['events']} events was there ({stamp['by']})")
        for problem in untold:
            say(f"an anchor was not compared: {problem}", error=True)
    if report.status:
        raise typer.Exit(report.status)


def verifier_file(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The file to write; it must not be there yet.")] = Path(FILE_NAME),
    json: Json = False,
) -> None:
    """Write the verifier as one file of Python, for somebody who has a log and nothing else of ours.

    It needs Python 3.11 or later, and no package. Run it with the log and --key decisions.pub.
    """
    from ivr_consent import verifier

    if not files.write_new(out, Path(verifier.__file__).read_text(encoding="utf-8"), 0o755):
        raise ConsentError(f"{out} is there already; name another file with --out")
    if json:
        print_json({"ok": True, "file": str(out)})
    else:
        say(f"written: {out}; run it as: python3 {out} decisions.db --key decisions.pub")


def checkpoint(
    context: typer.Context,
    seal: Annotated[bool, typer.Option("--seal", help="Sign one over everything that is in the log now.")] = False,
    json: Json = False,
) -> None:
    """Print the newest checkpoint, a signed note: keep it elsewhere, and a cut end of the log is found by it."""
    settings = of(context).settings()
    if seal:
        _seal(settings)
    note = _newest(settings)
    if json:
        print_json({"ok": note is not None, "checkpoint": note})
    elif note is not None:
        for line in note.rstrip("\n").split("\n"):
            say(line)
    if note is None:
        if not json:
            say("there is no checkpoint yet; sign one with: ivr-consent log checkpoint --seal", error=True)
        raise typer.Exit(Exit.PROBLEMS)


def _seal(settings: Settings) -> None:
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.store.place import place_of

    place = place_of(settings)
    if not place.begun():
        raise LedgerUnreadable(f"there is no log at {place.name}; it is created by the first: ivr-consent serve")
    ledger = Ledger(place)
    try:
        ledger.seal()
    finally:
        ledger.close()


def _newest(settings: Settings) -> str | None:
    from ivr_consent.store.place import open_for_reading, place_of

    database = open_for_reading(place_of(settings))
    try:
        row = database.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    except database.errors as error:
        raise LedgerUnreadable(f"{database.name} cannot be read ({error}); see: ivr-consent log verify") from None
    finally:
        database.close()
    return None if row is None else str(row[0])


def _keys(given: list[str] | None, log: Path | None, place: Place | None) -> list[PublicKey]:
    """Those given; else the one that lies beside the log, which is the operator's word and no more."""
    from ivr_consent.verifier import NoteError, read_keys

    beside = None
    if not given:
        beside = place.sealing_key().public_path if place is not None else (log or Path()).with_suffix(".pub")
    found: list[PublicKey] = []
    for one in given or ([str(beside)] if beside is not None and beside.is_file() else []):
        try:
            found += read_keys(one)
        except (NoteError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise typer.BadParameter(f"--key {one}: {reason}; give the line or the file that was published") from None
    return found


def _outside(paths: list[Path]) -> list[Outside]:
    from ivr_consent.verifier import MAX_OUTSIDE, outside_in

    outside: list[Outside] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                found = outside_in(file.read(MAX_OUTSIDE), str(path))
        except OSError as error:
            raise typer.BadParameter(f"--checkpoint {path}: cannot be read ({error.strerror})") from None
        if not found:
            raise typer.BadParameter(f"--checkpoint {path}: there is no checkpoint in it")
        outside += found
    return outside


def _verified(
    log: Path | None,
    place: Place | None,
    keys: list[PublicKey],
    outside: list[Outside],
    progress: Callable[[int, int], None] | None,
) -> Report:
    from ivr_consent import verifier
    from ivr_consent.store.place import open_for_reading
    from ivr_consent.store.sealing import good

    if place is None or place.url is None:
        path = log if place is None else place.path
        assert path is not None
        return verifier.verify(path, keys, outside, good=good, progress=progress)
    database = open_for_reading(place)
    rows: Any = database.execute
    try:
        return verifier.verify(verifier.Tables(rows), keys, outside, good=good, progress=progress)
    except database.errors as error:
        raise verifier.Unreadable(str(error)) from None
    finally:
        database.close()


@contextlib.contextmanager
def _progress(json: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, for a log that takes a while."""
    if json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("verifying", total=None)

        def told(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total or None)

        yield told
