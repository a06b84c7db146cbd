"""``ivr-consent prompts``: write, check, build, hear and publish the notices."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivr_consent.cli import notices, publications
from ivr_consent.cli.hear import diff, play, show
from ivr_consent.cli.terminal import (
    Exit,
    Json,
    of,
    print_json,
    print_table,
    problems_as_json,
    safe,
    say,
    say_problem,
)
from ivr_consent.core.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from ivr_consent.audio.build import Progress
    from ivr_consent.config import Settings
    from ivr_consent.manifest import Manifest
    from ivr_consent.workshop import Draft, Workshop

app = typer.Typer(help="Write, check, build, hear and publish the notices.", no_args_is_help=True)

Lines = Annotated[
    list[str] | None, typer.Argument(metavar="[LINE]...", help="Lines of the configuration; all of them without.")
]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who approves; your login name without.", show_default=False)
]


def chosen(settings: Settings, lines: list[str] | None) -> list[str]:
    """The lines named, or all. Raises :class:`typer.BadParameter`."""
    for line in lines or ():
        if line not in settings.lines:
            raise typer.BadParameter(f"there is no line {line!r}; the lines are: {', '.join(settings.lines)}")
    return list(dict.fromkeys(lines)) if lines else list(settings.lines)


def approver(given: str | None) -> str:
    """Who approves: the name given, else who is logged in, also behind sudo. Raises :class:`typer.BadParameter`."""
    if given is not None:
        return given
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        raise typer.BadParameter("your login has no name; say who approves: --by NAME") from None


def unlisted(workshop: Workshop, name: str) -> Problem | None:
    """Versions of a line that its history does not name, as a thing to look at."""
    from ivr_consent.core.errors import SignatureError
    from ivr_consent.signing import verifier

    versions = workshop.versions(name)
    try:
        if not versions.published_any():
            return None
        check = verifier(workshop.settings.path(workshop.settings.prompts.signing_key_file))
        found = versions.unlisted(versions.history(check))
    except SignatureError:
        return None  # told elsewhere
    if not found:
        return None
    numbers = ", ".join(map(str, found))
    return Problem(
        str(versions.folder),
        f"version {numbers} of line {name} is there and not in the history: publishing was broken off, or the "
        "history's end was cut off",
        "Compare the history with its copy",
    )


# --- write -------------------------------------------------------------------------------------------------------


app.command("new")(notices.new)
app.command("copy")(notices.copy)
app.command("take")(notices.take)


# --- check -------------------------------------------------------------------------------------------------------


@app.command()
def check(context: typer.Context, lines: Lines = None, json: Json = False) -> None:
    """Say of every line whether its notices are complete, true to the configuration, neutral and clear.

    Errors keep a line from being published (exit code 3); advice does not, nor that nothing is published yet.
    """
    settings = of(context).settings()
    names = chosen(settings, lines)
    from ivr_consent.site import line_states
    from ivr_consent.workshop import Workshop

    workshop = Workshop(settings)
    drafts = {name: workshop.draft(name) for name in names}
    states = line_states(settings, names)
    faults = {
        name: (
            *(() if state.unpublished else state.problems),
            *(() if state.manifest is None else workshop.versions(name).altered(state.manifest)),
        )
        for name, state in states.items()
    }
    wrong = any(draft.errors for draft in drafts.values()) or any(faults.values())
    if json:
        told = [
            {
                "line": name,
                "draft": _draft_as_json(workshop, draft),
                "in_force": {
                    "version": states[name].version,
                    "ready": bool(states[name].plans),
                    "problems": problems_as_json(faults[name] or states[name].problems),
                    "advice": problems_as_json(filter(None, [unlisted(workshop, name)])),
                },
            }
            for name, draft in drafts.items()
        ]
        print_json({"ok": not wrong, "lines": told})
        raise typer.Exit(Exit.CONFIGURATION if wrong else Exit.GOOD)
    told_already = set()
    for name, draft in drafts.items():
        for problem in draft.errors:
            if problem not in told_already:  # lines share notices: what is wrong with one is told once
                say_problem(problem)
            told_already.add(problem)
        for advice in draft.advice:
            if advice not in told_already:
                say(f"advice: {advice.where}: {advice.found}. {advice.remedy}")
            told_already.add(advice)
        for problem in faults[name]:
            say_problem(problem)
        loose = unlisted(workshop, name)
        if loose is not None:
            say(f"advice: {loose.where}: {loose.found}. {loose.remedy}")
    for name, draft in drafts.items():
        state = states[name]
        words = f"{len(draft.errors)} errors" if draft.errors else "complete"
        force = (
            f"version {state.version} in force"
            if state.plans
            else "nothing published yet"
            if state.unpublished
            else "NOT RECORDED"
        )
        say(f"line {name}: draft {words} in {', '.join(settings.lines[name].languages)}; {force}")
    raise typer.Exit(Exit.CONFIGURATION if wrong else Exit.GOOD)


def _draft_as_json(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    return {
        "ok": not draft.errors,
        "languages": list(draft.scripts),
        "errors": problems_as_json(draft.errors),
        "advice": problems_as_json(draft.advice),
        "notices": {language: str(source.path) for language, source in draft.sources.items()},
    }


# --- build -------------------------------------------------------------------------------------------------------


@app.command()
def build(context: typer.Context, lines: Lines = None, json: Json = False) -> None:
    """Make the sound that the drafts lack: only what has changed is spoken anew.

    A line with errors is told and left out (exit code 3); the others are built.
    """
    settings = of(context).settings()
    names = chosen(settings, lines)
    from ivr_consent.workshop import Workshop

    workshop = Workshop(settings)
    wrong = {name: draft.errors for name in names if (draft := workshop.draft(name)).errors}
    good = [name for name in names if name not in wrong]
    if json:
        built = workshop.build(good)
        refused = [{"line": name, "errors": problems_as_json(errors)} for name, errors in wrong.items()]
        print_json({"ok": not wrong, "built": [_built(*item) for item in built.items()], "refused": refused})
        raise typer.Exit(Exit.CONFIGURATION if wrong else Exit.GOOD)
    with progress_bar("speaking the notices") as spoken:
        built = workshop.build(good, spoken)
    rows = [
        (
            name,
            spoken_in.language,
            len(spoken_in.prompts()),
            f"{sum(prompt.audio.duration_s for prompt in spoken_in.prompts()):.0f} s",
            ", ".join(dict.fromkeys(prompt.audio.made_by for prompt in spoken_in.prompts())),
        )
        for name, manifest in built.items()
        for spoken_in in manifest.languages
    ]
    if rows:
        print_table(("line", "language", "prompts", "length", "spoken by"), rows)
        say(f"in {settings.path(settings.prompts.audio)}")
        say("hear it: ivr-consent prompts play LINE; then: ivr-consent prompts publish LINE")
    for problem in dict.fromkeys(problem for errors in wrong.values() for problem in errors):
        say_problem(problem, error=True)
    for name in wrong:
        say(f"ivr-consent: line {name} was not built", error=True)
    raise typer.Exit(Exit.CONFIGURATION if wrong else Exit.GOOD)


class progress_bar:  # noqa: N801 - used as a function: with progress_bar(...) as progress
    """A bar on standard error, as a build's progress."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        console = Console(stderr=True, markup=False, highlight=False)
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self._spoken

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _spoken(self, prompt: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=safe(prompt), completed=done, total=total)


def _built(name: str, manifest: Manifest) -> dict[str, Any]:
    return {
        "line": name,
        "languages": {
            spoken.language: {
                prompt.id: {
                    "text_sha256": prompt.audio.text_sha256,
                    "audio_sha256": prompt.audio.sha256,
                    "samples": prompt.audio.samples,
                    "made_by": prompt.audio.made_by,
                }
                for prompt in spoken.prompts()
            }
            for spoken in manifest.languages
        },
    }


app.command("show")(show)
app.command("play")(play)
app.command("diff")(diff)


# --- versions ----------------------------------------------------------------------------------------------------


@app.command()
def publish(context: typer.Context, lines: Lines = None, by: By = None, json: Json = False) -> None:
    """Freeze the built drafts as the lines' next versions. Callers hear them from the next reload on.

    All lines are looked at first: with an error in one of them, nothing is published.
    """
    settings = of(context).settings()
    names = chosen(settings, lines)
    from ivr_consent.workshop import Workshop

    workshop = Workshop(settings)
    for name in names:
        workshop.publishable(name)
    approved_by = approver(by)
    done: list[tuple[Manifest, bool]] = []
    try:
        for name in names:
            done.append(workshop.publish(name, approved_by))
    finally:  # also those before one that could not be published after all
        noted = publications.note(settings, [_publication(manifest) for manifest, _ in done])
        if len(done) < len(names) and noted.problem is not None:
            noted.say()
    if json:
        told = {"published": [{**_version(manifest), "new": new} for manifest, new in done]}
        print_json({"ok": noted.problem is None, **told, "problems": problems_as_json(filter(None, [noted.problem]))})
        raise typer.Exit(noted.exit)
    for manifest, new in done:
        if new:
            say(f"line {manifest.line}: version {manifest.version} published, approved by {manifest.approved_by}")
        else:
            say(f"line {manifest.line}: says what version {manifest.version} says; nothing to publish")
    noted.say()
    say("if the service runs, take it into use with: ivr-consent reload")
    raise typer.Exit(noted.exit)


def _publication(manifest: Manifest) -> publications.Publication:
    from ivr_consent.versions import PUBLISHED

    return publications.Publication(manifest, PUBLISHED, manifest.approved_by or "")


@app.command()
def rollback(
    context: typer.Context,
    line: Annotated[str, typer.Argument(metavar="LINE", help="A line of the configuration.")],
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", min=1, help="Which version; the one before without.")
    ] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Bring an older version of a line's notice back into force, from the next reload on."""
    settings = of(context).settings()
    (name,) = chosen(settings, [line])
    from ivr_consent.site import line_states
    from ivr_consent.versions import ROLLED_BACK, approver_name
    from ivr_consent.workshop import Workshop

    approved_by = approver_name(approver(by))
    manifest = Workshop(settings).rollback(name, to, approved_by)
    noted = publications.note(settings, [publications.Publication(manifest, ROLLED_BACK, approved_by)])
    problems = (*line_states(settings, [name])[name].problems, *filter(None, [noted.problem]))
    if json:
        print_json({"ok": not problems, **_version(manifest), "problems": problems_as_json(problems)})
    else:
        say(f"line {name}: version {manifest.version} is in force again")
        for problem in problems:
            say_problem(problem, error=True)
        if noted.problem is None:
            noted.say()
        say("if the service runs, take it into use with: ivr-consent reload")
    raise typer.Exit(noted.exit if noted.problem is not None else Exit.CONFIGURATION if problems else Exit.GOOD)


@app.command()
def history(
    context: typer.Context,
    line: Annotated[str, typer.Argument(metavar="LINE", help="A line of the configuration.")],
    json: Json = False,
) -> None:
    """List a line's published versions: when, by whom, and which is in force."""
    settings = of(context).settings()
    (name,) = chosen(settings, [line])
    from ivr_consent.signing import verifier
    from ivr_consent.workshop import Workshop

    workshop = Workshop(settings)
    versions = workshop.versions(name)
    loose = unlisted(workshop, name)
    private = settings.path(settings.prompts.signing_key_file)
    entries = versions.history(verifier(private)) if versions.published_any() else ()
    if json:
        told = [
            {
                "action": entry.action,
                "version": entry.version,
                "by": entry.by,
                "at": entry.at,
                "manifest_sha256": entry.manifest_sha256,
            }
            for entry in entries
        ]
        in_force = entries[-1].version if entries else None
        advice = problems_as_json(filter(None, [loose]))
        print_json({"ok": True, "line": name, "in_force": in_force, "history": told, "advice": advice})
        return
    if loose is not None:
        say(f"advice: {loose.where}: {loose.found}. {loose.remedy}", error=True)
    if not entries:
        say(f"line {name}: nothing is published yet; ivr-consent prompts publish {name}")
        return
    rows = [
        (entry.at, entry.action.replace("_", " "), entry.version, entry.by, entry.manifest_sha256[:16])
        for entry in entries
    ]
    print_table(("time", "act", "version", "by", "manifest"), rows)
    say(f"in force: version {entries[-1].version}, in {versions.path(entries[-1].version)}")


def _version(manifest: Manifest) -> dict[str, Any]:
    return {
        "line": manifest.line,
        "version": manifest.version,
        "approved_by": manifest.approved_by,
        "approved_at": manifest.approved_at,
        "manifest_sha256": manifest.sha256,
    }


def _there(path: Path) -> bool:
    """Whether a file is there. Raises :class:`ConsentError` where that may not be known."""
    from ivr_consent.core.errors import ConsentError

    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        told = f"{path} cannot be read ({error.strerror}); run this as the service's user or as root"
        raise ConsentError(told) from None
    return True


@app.command()
def prune(
    context: typer.Context,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it; without, it is only told.")] = False,
    json: Json = False,
) -> None:
    """Tell which versions and sounds nobody can need any more, and remove them.

    A version stays while it is in force or the one to go back to, while the service plays it, and as long as a
    decision in the log names it.
    """
    settings = of(context).settings()
    from ivr_consent.control import ask
    from ivr_consent.core.errors import ConsentError
    from ivr_consent.prune import prunable
    from ivr_consent.prune import prune as remove_all
    from ivr_consent.store.place import place_of
    from ivr_consent.store.reader import LedgerReader
    from ivr_consent.workshop import Workshop

    place = place_of(settings)
    if not _there(settings.log_file()):
        raise ConsentError(f"there is no log at {place.name}: what decisions name cannot be known; nothing is removed")
    with LedgerReader(place) as reader:
        named = reader.notice_versions()
    try:
        lines = ask(settings, "status").get("lines", {})
        played = {name: line["version"] for name, line in lines.items() if line["version"] is not None}
    except ConsentError:
        played = {}  # no service runs
    found = prunable(Workshop(settings), named, played)
    if remove:
        remove_all(found)
    told = {
        "versions": [str(path) for path in found.versions],
        "sounds": [str(path) for path in found.sounds],
        "bytes": found.bytes,
        "removed": remove,
    }
    if json:
        print_json({"ok": True, **told})
        return
    for path in found.versions:
        say(f"version  {path}")
    for path in found.sounds:
        say(f"sound    {path}")
    verb = "removed" if remove else "nobody needs"
    say(f"{verb}: {len(found.versions)} versions, {len(found.sounds)} sounds, {found.bytes / 1_000_000:.1f} MB")
    if not remove and (found.versions or found.sounds):
        say("remove them: ivr-consent prompts prune --remove")
