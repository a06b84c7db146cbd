"""``ivr-consent log backup``, ``restore``: copies of the log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivr_consent.cli.terminal import Json, of, print_json, say
from ivr_consent.core.errors import ConsentError

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.store.backup import Restorable, Restored
    from ivr_consent.store.place import Place
    from ivr_consent.verifier import Outside


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The copy to write; it must not be there yet.")],
    json: Json = False,
) -> None:
    """Copy the log while the service writes it; the copy is verified. It holds no key."""
    from ivr_consent.store.backup import backup as copy
    from ivr_consent.store.place import place_of

    with _progress("copying", json) as progress:
        made = copy(place_of(of(context).settings()), file, progress)
    if json:
        print_json({"ok": True, **made._asdict(), "file": str(made.file)})
    elif made.log:
        say(f"{made.file}: {made.events} events of {made.log}, sealed up to event {made.sealed}; verified")
        say("keep it on another machine, together with the pseudonyms' key; the sealing key is not to be copied")
    else:
        say(f"{made.file}: {made.events} events of a log that has no chain yet; the next start of the service makes it")


def restore(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The copy; else the log as it is, to accept what it lost.")
    ] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on under a new key where events are lost for good.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a copy in the log's place. The service must not run. What was there is kept beside it.

    The copy is verified, and compared with what is known of the log: the log that is there, its key, and the
    checkpoints at its anchors. Where events would be lost, it says how many at least, and changes nothing.
    """
    from ivr_consent.store.backup import look
    from ivr_consent.store.backup import restore as put_back
    from ivr_consent.store.place import place_of

    settings = of(context).settings()
    if file is None and not accept_loss:
        raise typer.BadParameter("name the copy; or add --accept-loss, to take the log as it is", param_hint="FILE")
    _nobody_writes(settings)
    place, outside = place_of(settings), _outside(settings)
    found = look(place, file, outside)
    with _progress("restoring", json) as progress:
        done = put_back(place, file, accept_loss=accept_loss, outside=outside, progress=progress)
    if json:
        print_json(
            {
                "ok": True,
                "events": found.events,
                "lost": found.lost if found.lost or found.whole else None,
                "kept": None if done.kept is None else str(done.kept),
                "key": done.key,
                "erased_again": done.erased,
            }
        )
    else:
        _say(place, file, found, done)


def _say(place: Place, file: Path | None, found: Restorable, done: Restored) -> None:
    what = "goes on" if file is None else "is the copy now"
    say(f"{place.name} {what}, {found.events} events" + ("" if done.kept is None else f"; before: {done.kept}"))
    if done.erased:
        say(f"personal data beside {done.erased} events had been erased since the copy was made, and was erased again")
    if done.key is not None:
        lost = f"at least {found.lost} events are lost" if found.lost else "nobody can tell how many events are lost"
        say(f"{lost}, and the log says so; publish its new public key, as you did with the first:")
        say(done.key)
        say("look for recordings of the time that is lost: the log knows nothing of them")


def _outside(settings: Settings) -> list[Outside]:
    """The checkpoints at the anchors of the log, as far as they can be read."""
    from ivr_consent.anchors.gather import collected
    from ivr_consent.verifier import Outside

    found: list[Outside] = []
    with contextlib.suppress(ConsentError):  # a log that is gone: nothing can be compared with it
        found += [Outside(one.note, one.place) for one in collected(settings, _not_compared)]
    return found


def _not_compared(problem: str) -> None:
    say(f"an anchor was not compared: {problem}", error=True)


def _nobody_writes(settings: Settings) -> None:
    from ivr_consent.control import ask

    try:
        ask(settings, "status")
    except ConsentError:
        return
    raise ConsentError("the service runs and writes the log; stop it first: systemctl stop ivr-consent")


@contextlib.contextmanager
def _progress(what: str, json: bool) -> Iterator[Callable[[int, int], None] | None]:
    if json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)
