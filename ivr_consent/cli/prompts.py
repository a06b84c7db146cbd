"""``ivr-consent prompts``: speak the notices into audio files, and check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ivr_consent.cli.terminal import Exit, Json, of, print_json, print_table, problems_as_json, safe, say, say_problem

if TYPE_CHECKING:
    from ivr_consent.audio.build import Manifest

app = typer.Typer(help="Build and check the audio of the notices.", no_args_is_help=True)


@app.command()
def build(context: typer.Context, json: Json = False) -> None:
    """Speak every notice of every line that lacks audio."""
    settings = of(context).settings()
    from ivr_consent import site  # noqa: PLC0415 - the audio tools load slowly

    if json:
        built = site.build(settings)
        print_json({"ok": True, "built": [_built(*item) for item in built]})
        return
    from rich.console import Console  # noqa: PLC0415 - not in --json
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, markup=False, highlight=False), transient=True) as bar:
        task = bar.add_task("speaking the notices", total=None)

        def spoken(prompt: str, done: int, total: int) -> None:
            bar.update(task, description=safe(prompt), completed=done, total=total)

        built = site.build(settings, spoken)
    rows = [
        (line, language, len(manifest.prompts), f"{manifest.duration_s:.0f} s", f"{manifest.engine} {manifest.voice}")
        for line, language, manifest in built
    ]
    print_table(("line", "language", "prompts", "length", "voice"), rows)
    say(f"in {settings.path(settings.prompts.audio)}")
    say("if the service runs, take them into use with: systemctl reload ivr-consent")


def _built(line: str, language: str, manifest: Manifest) -> dict[str, Any]:
    return {
        "line": line,
        "language": language,
        "voice": manifest.voice,
        "engine": manifest.engine,
        "prompts": {
            prompt.id: {"samples": prompt.samples, "text_sha256": prompt.text_sha256}
            for prompt in manifest.prompts.values()
        },
    }


@app.command()
def check(context: typer.Context, json: Json = False) -> None:
    """Say of every line whether its notices are complete, and their audio is there and unchanged."""
    settings = of(context).settings()
    from ivr_consent.site import load_site  # noqa: PLC0415 - the audio tools load slowly

    states = load_site(settings).states
    wrong = any(state.problems for state in states.values())
    if json:
        lines = [
            {
                "line": state.name,
                "ready": not state.problems,
                "languages": list(state.plans),
                "problems": problems_as_json(state.problems),
            }
            for state in states.values()
        ]
        print_json({"ok": not wrong, "lines": lines})
    else:
        for state in states.values():
            for problem in state.problems:
                say_problem(problem)
            if not state.problems:
                say(f"line {state.name}: complete and unchanged in {', '.join(state.plans)}")
    raise typer.Exit(Exit.CONFIGURATION if wrong else Exit.GOOD)
