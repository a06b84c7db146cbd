"""``ivr-consent call``: play a call on the simulated switch, with the configuration, notices and log in force."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from ivr_consent.cli.terminal import Exit, Json, of, print_json, say
from ivr_consent.core.errors import ConfigurationError

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.core.flow import Plan
    from ivr_consent.core.steps import Result, Step
    from ivr_consent.pbx.simulated.caller import Action, Place
    from ivr_consent.pbx.simulated.channel import Entry, SimulatedCall
    from ivr_consent.site import Site
    from ivr_consent.store.ledger import Ledger

THINKING_MS: Final = 1000
"""How long after a question a key of --keys is pressed."""

NEVER_LOGGED: Final = "a draft is never logged"

_PRESS = re.compile(r"(?P<place>[a-z0-9-]{1,64}):(?P<key>[0-9*#A-D])(?:@(?P<ms>-?[0-9]{1,7}))?")
_HANG_UP = re.compile(r"(?P<place>[a-z0-9-]{1,64})(?:@(?P<ms>-?[0-9]{1,7}))?")


def call(
    context: typer.Context,
    line: Annotated[str, typer.Argument(metavar="LINE", help="A line of the configuration.")],
    keys: Annotated[
        str,
        typer.Option(metavar="KEYS", help='What is pressed after each question: "3,1"; "-" is silence.'),
    ] = "",
    press_during: Annotated[
        list[str] | None,
        typer.Option(metavar="SEGMENT:KEY[@MS]", help="Press a key while a segment plays; may be repeated."),
    ] = None,
    hold: Annotated[int, typer.Option(min=1, max=600_000, metavar="MS", help="How long keys are held.")] = 100,
    hangup_at: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE[@MS]",
            help="Hang up: in a segment, in the question, in the window after it, "
            "or at a step (answer, decide, record, route).",
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="The language that the call comes in with.")] = "",
    dialled: Annotated[str, typer.Option(metavar="NUMBER", help="The number that was dialled.")] = "",
    header: Annotated[
        str, typer.Option(metavar="VALUE", help="What the header says that the line chooses its language by.")
    ] = "",
    caller: Annotated[str | None, typer.Option("--from", metavar="NUMBER", help="The caller's number.")] = None,
    no_log: Annotated[bool, typer.Option("--no-log", help="Write to a log that is thrown away.")] = False,
    draft: Annotated[
        bool, typer.Option("--draft", help="Try the notice as it is written now; nothing is logged.")
    ] = False,
    phone: Annotated[
        bool, typer.Option("--phone", help="With --draft: wait for a call from your own telephone, and play it there.")
    ] = False,
    wait: Annotated[int, typer.Option(min=1, max=86_400, metavar="S", help="With --phone: how long to wait.")] = 600,
    json: Json = False,
) -> None:
    """Play a call, as text, in no time: nothing rings, nothing is recorded.

    Exit code 0 when the call went as a call should, declined or not.
    """
    if phone and not draft:
        raise typer.BadParameter("--phone is for --draft: callers hear the published version by calling")
    settings = of(context).settings()
    if line not in settings.lines:
        raise typer.BadParameter(f"there is no line {line!r}; the lines are: {', '.join(settings.lines)}")
    from ivr_consent.language import Clues
    from ivr_consent.pbx.simulated.caller import Caller
    from ivr_consent.pbx.simulated.channel import run_call
    from ivr_consent.store.place import place_of

    site = _draft_site(settings, line, with_sound=phone, quiet=json) if draft else _site(settings)
    if phone:
        _on_telephone(site, line, wait, json=json)
    plan = site.plan(line, Clues(language, dialled, caller, header))
    if not site.states[line].plans:
        raise ConfigurationError(f"line {line}", site.states[line].problems)
    # Where no language fits nothing is played, and nothing can be done in it: places are those of any language then.
    spoken = next(iter(site.states[line].plans.values())) if isinstance(plan, str) else plan
    actions = _actions(spoken, keys, press_during or [], hold, hangup_at)
    with _ledger(site, throw_away=no_log or draft) as ledger:
        called = _context(site, line, site.subject(caller))
        played = run_call(plan, called, Caller(actions), ledger, reference=site.reference(called.call_id))
        closed = _closed(played, ledger, called.call_id, line)
    good = _went_well(played, draft=draft) and closed
    if json:
        print_json({"ok": good, **as_json(played)})
    else:
        log = NEVER_LOGGED if draft else "thrown away" if no_log else place_of(settings).name
        _say_call(played, log)
    raise typer.Exit(Exit.GOOD if good else Exit.PROBLEMS)


def _site(settings: Settings) -> Site:
    from ivr_consent.site import load_site

    return load_site(settings)


def _draft_site(settings: Settings, line: str, *, with_sound: bool, quiet: bool) -> Site:
    """The line as its files are now. Raises :class:`ConsentError` when it cannot be spoken, or is to be heard and is
    not built.
    """
    from ivr_consent.core.errors import VersionError
    from ivr_consent.workshop import Workshop

    workshop = Workshop(settings)
    try:
        return workshop.draft_site(line)
    except VersionError:
        if with_sound:
            raise
    if not quiet:
        say("not built yet: how long the prompts take is an estimate")
    return workshop.draft_site(line, with_sound=False)


def _on_telephone(site: Site, line: str, wait: int, *, json: bool) -> NoReturn:
    from ivr_consent.cli.trial import try_on_telephone

    told = try_on_telephone(site, line, float(wait), quiet=json)
    good = told["outcome"] not in ("", "failed")
    if json:
        print_json({"ok": good, **told})
    else:
        say(f"the trial ended: {told['outcome'] or 'broken off'} {told['reason']}".rstrip())
        say("nothing was logged, nothing was recorded")
    raise typer.Exit(Exit.GOOD if good else Exit.PROBLEMS)


def _context(site: Site, line: str, subject_ref: str | None) -> Any:
    from ivr_consent.core.decision import CallContext

    call_id = secrets.token_hex(16)
    return CallContext(
        call_id=call_id,
        line=line,
        switch="simulated",
        channel_uniqueid=f"simulated-{call_id[:8]}",
        subject_ref=subject_ref,
        software=site.software,
        configuration_sha256=site.configuration_sha256,
    )


@contextmanager
def _ledger(site: Site, *, throw_away: bool) -> Iterator[Ledger]:
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.store.place import Place, place_of

    with tempfile.TemporaryDirectory(prefix="ivr-consent-") as aside:
        place = Place(Path(aside) / "log.db") if throw_away else place_of(site.settings)
        path, new = place.path, not place.begun()
        ledger = Ledger(place)
        if new and os.geteuid() == 0:
            # Made by root in the service's directory: the service must be able to write it afterwards.
            directory = path.parent.stat()
            for made in path.parent.glob(f"{path.name}*"):
                os.chown(made, directory.st_uid, directory.st_gid)
        try:
            yield ledger
        finally:
            ledger.close()


# --- the caller ----------------------------------------------------------------------------------------------------


def _actions(plan: Plan, keys: str, during: list[str], hold: int, hangup_at: str | None) -> tuple[Action, ...]:
    """What the options make the caller do. Raises :class:`typer.BadParameter`."""
    from ivr_consent.pbx.simulated.caller import KEYS, Action, HangUp, InWindow, Press

    actions = []
    for nth, key in enumerate(filter(None, (part.strip() for part in keys.split(","))), 1):
        if key == "-":
            continue
        if key not in KEYS:
            raise typer.BadParameter(
                f'--keys: {key!r} is not a key; write one key a question, as in "3,1", "-" is silence'
            )
        actions.append(Action(InWindow(nth=nth, at_ms=THINKING_MS), Press(key, hold)))
    for text in during:
        match = _PRESS.fullmatch(text)
        if match is None:
            raise typer.BadParameter(
                f"--press-during: {text!r} is not SEGMENT:KEY[@MS]; write for example controller:2@500"
            )
        actions.append(Action(_place(plan, match["place"], match["ms"]), Press(match["key"], hold)))
    if hangup_at is not None:
        match = _HANG_UP.fullmatch(hangup_at)
        if match is None:
            raise typer.BadParameter(f"--hangup-at: {hangup_at!r} is not PLACE[@MS]; write for example window@500")
        actions.append(Action(_place(plan, match["place"], match["ms"]), HangUp()))
    return tuple(actions)


def _place(plan: Plan, name: str, ms: str | None) -> Place:
    from ivr_consent.pbx.simulated.caller import AtStep, During, InWindow, StepKind

    at_ms = int(ms or 0)
    prompts = list(dict.fromkeys(prompt.id for notice in plan.notices for prompt in notice.prompts()))
    if name == "window":
        return InWindow(at_ms=at_ms)
    if name == "question":
        return During(plan.notices[0].questions[plan.purposes[0]].id, at_ms=at_ms)
    if name in prompts:
        return During(name, at_ms=at_ms)
    if name in list(StepKind) and ms is None:
        return AtStep(StepKind(name))
    places = ", ".join(("question", "window", *prompts, *StepKind))
    raise typer.BadParameter(f"there is no place {name!r} in this call; the places are: {places}")


# --- what came of it -------------------------------------------------------------------------------------------------


def _went_well(played: SimulatedCall, *, draft: bool) -> bool:
    """Decided and, unless it was a trial, logged; no fault of ours, and the caller could do all that was asked for."""
    ending = played.ending
    return ending.outcome.value != "failed" and (ending.logged or draft) and not played.undone


def _closed(played: SimulatedCall, ledger: Ledger, call_id: str, line: str) -> bool:
    """Say in the log that a granted call's recording, of which there never was a file, has ended."""
    from ivr_consent.core.decision import Outcome
    from ivr_consent.core.steps import Logged

    if played.ending.outcome is not Outcome.GRANTED:
        return True
    details = {"file": None, "milliseconds": 0, "simulated": True, "route": "recorded"}
    written = ledger.note_now(call_id, line, "recording_ended", details)
    return isinstance(written, Logged) and written.durable


def as_json(played: SimulatedCall) -> dict[str, Any]:
    """The whole call as plain values."""
    ending = played.ending
    decisions = [decision.payload() for decision in played.decisions]
    return {
        "outcome": ending.outcome.value,
        "reason": ending.reason,
        "route": ending.route.value,
        "logged": ending.logged,
        "recording_id": ending.recording_id,
        "elapsed_ms": played.elapsed_ms,
        "decision": decisions[-1] if decisions else None,
        "journal": [_entry_as_json(entry) for entry in played.journal],
        "events": list(played.events),
        "undone": [_undone(action) for action in played.undone],
    }


def _entry_as_json(entry: Entry) -> dict[str, Any]:
    from ivr_consent.core.steps import Note, Play, Route

    step = entry.step
    told: dict[str, Any] = {
        "began_ms": entry.began_ms,
        "ended_ms": entry.ended_ms,
        "step": type(step).__name__.lower(),
        "result": type(entry.result).__name__.lower(),
    }
    if isinstance(step, Play):
        told |= {"segment": step.prompt.id, "text": step.prompt.text}
    elif isinstance(step, Note):
        told |= {"kind": step.kind, "details": dict(step.details)}
    elif isinstance(step, Route):
        told |= {"destination": step.destination.value}
    for name in ("key", "samples", "after_ms", "reason"):
        value = getattr(entry.result, name, None)
        if value is not None:
            told[name] = value
    return told


def _undone(action: Any) -> str:
    place, act = action.place, getattr(action, "act", None)
    where = getattr(place, "prompt", None) or getattr(place, "step", None) or "window"
    key = getattr(act, "key", None)
    what = f"press {key}" if key is not None else "hang up"
    return f"{what} in {where} (time {place.nth})"


def _say_call(played: SimulatedCall, log: str) -> None:
    for entry in played.journal:
        text = _told(entry.step, entry.result)
        if text:
            say(f"{_clock(entry.began_ms)}  {text}")
    ending = played.ending
    say(f"{_clock(played.elapsed_ms)}  the dialplan goes on at the {played.destination.value} line")
    say()
    word = "trial: " if log == NEVER_LOGGED else "decision:"
    say(f"{word:<11} {ending.outcome.value} ({ending.reason})")
    for decision in played.decisions[-1:]:
        notice = decision.notice
        if notice is not None:
            whole = sum(segment.complete for segment in notice.segments)
            say(
                f"notice:     {notice.id} version {notice.version} in {notice.language!r} (by: {notice.language_by}), "
                f"{whole} of {len(notice.segments)} segments heard to their end"
            )
        for answer in decision.answers:
            key = f"key {answer.key}" if answer.key else "no key"
            when = f" {answer.after_ms} ms after the question" if answer.after_ms is not None else ""
            say(f"asked for:  {answer.purpose}: {answer.answer}, {key}{when}")
        say(
            f"evidence:   ivr-consent log show {decision.call.call_id}"
            if log not in ("thrown away", NEVER_LOGGED)
            else "evidence:   thrown away"
        )
    state = "nothing" if log == NEVER_LOGGED else "on disk" if ending.logged else "NOT WRITTEN"
    say(f"logged:     {state} ({log})")
    for action in played.undone:
        say(f"not done:   {_undone(action)}: the call never came there")


def _told(step: Step, result: Result) -> str:
    """One step of the call as a caller notices it; nothing for what makes no sound."""
    from ivr_consent.core import steps as st

    match step:
        case st.Answer():
            text = "the call is answered"
        case st.Play():
            text = f"[{step.prompt.id}] {step.prompt.text}"
        case st.Ask():
            text = "... the choice window opens"
        case st.Record():
            text = "the recorder starts (simulated: no file)"
        case st.StopRecording():
            text = "the recorder stops"
        case _:
            text = ""
    match result:
        case st.Pressed():
            after = f" after {result.after_ms} ms" if isinstance(step, st.Ask) else ""
            return f"{text}  << key {result.key}{after}"
        case st.TimedOut():
            return f"{text}  << silence"
        case st.Gone():
            return f"{text}  << the caller hangs up" if text else ""
        case st.Failed() | st.NotConfirmed():
            return f"{text or type(step).__name__.lower()}  << failed: {result.reason}"
        case _:
            return text


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 60:02d}:{seconds % 60:02d}.{rest // 100}"
