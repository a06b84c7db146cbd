"""``ivr-consent log anchor``, ``anchors``: checkpoints shown outside of the log, and read back from there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ivr_consent.cli.terminal import Exit, Json, of, print_json, print_table, say
from ivr_consent.core.errors import ConsentError, LedgerError

if TYPE_CHECKING:
    from ivr_consent.anchors.notes import Sealed
    from ivr_consent.anchors.place import Anchor
    from ivr_consent.store.anchored import AnchoredReader
    from ivr_consent.store.place import Place

NONE: Final = 'no anchor is configured; name one in [log.anchors], such as: file = "/mnt/other/checkpoints"'

_STYLES: Final = {"shown": "green", "good": "green", "failed": "red", "wrong": "red"}


# --- show it now -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of one place: ``shown``, ``already`` (it has this checkpoint), or ``failed``."""

    place: str
    where: str
    state: str
    problem: str = ""

    def plain(self) -> dict[str, Any]:
        return {"place": self.place, "where": self.where, "state": self.state, "problem": self.problem or None}


def anchor(
    context: typer.Context,
    again: Annotated[bool, typer.Option("--again", help="Also where this checkpoint has been shown already.")] = False,
    json: Json = False,
) -> None:
    """Seal the log, and show its newest checkpoint at every place of the configuration, now.

    The service does this by itself; a site with the classic script alone runs it from cron. Exit code 1 when a place
    did not take it.
    """
    settings = of(context).settings()
    from ivr_consent.anchors.gather import anchors_of
    from ivr_consent.anchors.publisher import anchored, keeper
    from ivr_consent.store.anchored import reading
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.store.place import place_of

    chosen = anchors_of(settings)
    if not chosen:
        raise ConsentError(NONE)
    place = place_of(settings)
    with reading(place):
        pass  # a log that is not there is not made here
    ledger = Ledger(place)
    try:
        if place.sealing_key().usable():
            ledger.seal()
        with reading(place) as diary:
            sealed = _newest(diary)
            due = [one for one in chosen if again or (last := diary.last(one.name)) is None or last.size < sealed.size]
        keep = keeper(ledger)

        def attempt(one: Anchor, stop: threading.Event) -> _Tried:
            from ivr_consent.anchors.place import Limit

            try:
                proof = one.publish(sealed, Limit(one.timeout_s, stop))
                keep(anchored(one, sealed, proof))
            except ConsentError as error:
                return _Tried(one.name, one.where, "failed", str(error))
            return _Tried(one.name, one.where, "shown")

        tried = _at_once(due, attempt)
    finally:
        ledger.close()
    found = [tried.get(one.name) or _Tried(one.name, one.where, "already") for one in chosen]
    _say_tried(sealed, found, json=json)


def _newest(diary: AnchoredReader) -> Sealed:
    from ivr_consent.anchors.notes import Sealed
    from ivr_consent.verifier import NoteError

    note = diary.newest()
    if note is None:
        raise LedgerError(
            "the log has no checkpoint yet, and this user may not seal it; run this as the service's user"
        )
    try:
        return Sealed.parse(note)
    except NoteError as error:
        raise LedgerError(
            f"the newest checkpoint of the log was changed ({error}); see: ivr-consent log verify"
        ) from None


def _at_once(chosen: Sequence[Anchor], attempt: Callable[[Anchor, threading.Event], _Tried]) -> dict[str, _Tried]:
    """One attempt at each place, at the same time; each has its own deadline, and Ctrl-C ends them all."""
    from ivr_consent.anchors.publisher import HANGS_S

    done: dict[str, _Tried] = {}
    stop = threading.Event()

    def work(one: Anchor) -> None:
        done[one.name] = attempt(one, stop)

    threads = [(one, threading.Thread(target=work, args=(one,), daemon=True)) for one in chosen]
    for _, thread in threads:
        thread.start()
    try:
        for one, thread in threads:
            thread.join(one.timeout_s + HANGS_S)
    except KeyboardInterrupt:
        stop.set()
        raise
    hangs = "it hangs; see its disk, or network"
    return {one.name: done.get(one.name) or _Tried(one.name, one.where, "failed", hangs) for one, _ in threads}


def _say_tried(sealed: Sealed, found: Sequence[_Tried], *, json: bool) -> None:
    failed = [one for one in found if one.state == "failed"]
    if json:
        told = {"log": sealed.log_id, "size": sealed.size, "time": sealed.checkpoint.time, "note": sealed.note}
        print_json({"ok": not failed, "checkpoint": told, "places": [one.plain() for one in found]})
    else:
        say(f"checkpoint of {sealed.size} events, {sealed.checkpoint.time}")
        print_table(("place", "where", "state"), [(one.place, one.where, one.state) for one in found], styles=_STYLES)
        for one in failed:
            say(f"ivr-consent: {one.problem}", error=True)
    raise typer.Exit(Exit.PROBLEMS if failed else Exit.GOOD)


# --- read back -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """A place: the newest checkpoint that the log says it has seen, and what stands there.

    ``state``: ``good``; ``wrong`` (it cannot be read, or does not agree with the log); ``by hand`` where its keeper
    alone can read it.
    """

    place: str
    where: str
    last: tuple[int, str] | None
    notes: int | None
    newest: int | None
    state: str
    problems: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        size, time = self.last or (None, None)
        return {
            "place": self.place,
            "where": self.where,
            "size": size,
            "time": time,
            "notes": self.notes,
            "newest": self.newest,
            "state": self.state,
            "problems": list(self.problems),
        }


def anchors(
    context: typer.Context,
    tokens: Annotated[
        Path | None,
        typer.Option("--tokens", metavar="DIR", help="Write the time-stamps of the log there, as openssl takes them."),
    ] = None,
    json: Json = False,
) -> None:
    """List the places outside of the log, and compare what stands there with the log.

    Exit code 1 when a place cannot be read, lacks a checkpoint that it has seen, or has one that the log has not.
    """
    settings = of(context).settings()
    from ivr_consent.anchors.gather import anchors_of
    from ivr_consent.store.anchored import reading
    from ivr_consent.store.place import place_of

    chosen = anchors_of(settings)
    if not chosen:
        raise ConsentError(NONE)
    place = place_of(settings)
    with reading(place) as diary:
        found = [_compared(place, one, diary) for one in chosen]
        written = None if tokens is None else _write_tokens(diary, tokens)
    wrong = any(one.problems for one in found)
    if json:
        counted: Mapping[str, Any] = {} if written is None else {"tokens": written}
        print_json({"ok": not wrong, "places": [one.plain() for one in found], **counted})
    else:
        columns = ("place", "where", "events shown", "at (UTC)", "stand there", "newest there", "state")
        print_table(columns, [_row(one) for one in found], styles=_STYLES)
        for one in found:
            for problem in one.problems:
                say(f"ivr-consent: {one.place}: {problem}", error=True)
        if written is not None:
            say(
                f"{written} time-stamps written to {tokens}; openssl ts -verify -data NOTE -in TSR -CAfile CERTIFICATES"
            )
    raise typer.Exit(Exit.PROBLEMS if wrong else Exit.GOOD)


MAX_TOLD: Final = 5
"""Problems of one place that are told; more of the same do not help."""


def _compared(place: Place, one: Anchor, diary: AnchoredReader) -> _Found:
    """What a place says, and whether the log says the same."""
    row = diary.last(one.name)
    last = None if row is None else (row.size, row.time)
    problems: list[str] = []
    count, newest, strange = 0, 0, 0
    log_id = diary.log_id()
    for sealed in _standing(place, one, problems.append):
        if sealed.log_id != log_id:
            continue  # another log's: they may share a place
        count += 1
        newest = max(newest, sealed.size)
        if diary.note(sealed.size) != sealed.note:
            strange = strange or sealed.size
    by_hand = not one.readable and one.name != "timestamp"
    if last is not None and newest < last[0] and not problems and not by_hand:
        problems.append(f"the checkpoint of {last[0]} events, shown at {last[1]}, does not stand there any more")
    if strange:
        problems.append(
            f"it has a checkpoint of {strange} events that the log has not, or has otherwise: the log was cut or "
            "written anew, or that checkpoint is forged; see: ivr-consent log verify"
        )
    state = "wrong" if problems else "by hand" if by_hand else "good"
    return _Found(
        one.name, one.where, last, None if by_hand else count, newest or None, state, tuple(problems[:MAX_TOLD])
    )


def _standing(place: Place, one: Anchor, told: Callable[[str], None]) -> Iterator[Sealed]:
    """The checkpoints that stand at a place; of a time-stamp service those in the log too, whose stamp is good."""
    from ivr_consent.anchors.gather import read_back, stamped_in_log
    from ivr_consent.anchors.timestamp import TimestampAnchor

    if isinstance(one, TimestampAnchor):
        for stamped in stamped_in_log(one, place, told):
            yield stamped.sealed
    for _, sealed in read_back(one, told):
        yield sealed


def _row(one: _Found) -> tuple[object, ...]:
    size, time = one.last or ("none yet", "-")
    there = "-" if one.notes is None else one.notes
    return (one.place, one.where, size, time, there, "-" if one.newest is None else one.newest, one.state)


def _write_tokens(diary: AnchoredReader, folder: Path) -> int:
    """Write every time-stamp of the log with its note; their number."""
    from ivr_consent.anchors.notes import Sealed
    from ivr_consent.anchors.timestamp import TimestampAnchor, keep
    from ivr_consent.verifier import NoteError

    written = 0
    for row, note in diary.proofs(TimestampAnchor.name):
        try:
            if note is not None and row.proof is not None:
                keep(folder, Sealed.parse(note), row.proof)
                written += 1
        except NoteError:
            continue  # a checkpoint that was changed: ivr-consent log verify tells of it
    return written
