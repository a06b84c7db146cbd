"""``ivr-consent prompts show``, ``play`` and ``diff``: what callers hear, and what of it a new version changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ivr_consent.audio.picture import COLUMNS_PER_SECOND, Part, Stretch, clock, picture
from ivr_consent.cli.differences import language_differences, say_language, shown, whole_differences
from ivr_consent.cli.player import OUTPUTS, Piece, joined, pcm_of, perform, players_here, sounds_of
from ivr_consent.cli.shelf import (
    ALL,
    CURRENT,
    DRAFT,
    RATE,
    Shelf,
    chosen,
    described,
    duration,
    label,
    opened,
    output_files,
    times,
    until_choice,
    until_first_choice,
    write_file,
)
from ivr_consent.cli.terminal import (
    Exit,
    Json,
    of,
    print_json,
    print_table,
    problems_as_json,
    say,
    say_problem,
)
from ivr_consent.core.errors import ConfigurationError
from ivr_consent.core.notice import ELEMENTS

if TYPE_CHECKING:
    from ivr_consent.manifest import Manifest, Spoken, SpokenPrompt


LineName = Annotated[str, typer.Argument(metavar="LINE", help="A line of the configuration.")]
Language = Annotated[
    str | None,
    typer.Option(metavar="LANGUAGE", help='One language of the line, or "all"; its first without.', show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]
TheDraft = Annotated[bool, typer.Option("--draft", help="The draft: the files as they are now.")]
VersionNumber = Annotated[
    int | None,
    typer.Option("--version", metavar="N", min=1, help="A published version; that in force without."),
]


# --- show --------------------------------------------------------------------------------------------------------


def show(
    context: typer.Context,
    line: LineName,
    language: Language = None,
    draft: TheDraft = False,
    version: VersionNumber = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write a picture of the sound.", show_default=False)
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Show what a caller hears, second by second: of the version in force, without one of the draft.

    With --svg and --language all, FILE gets the language before its suffix.
    """
    shelf, manifest, remark = opened(of(context).settings(), line, version, draft)
    spoken = chosen(shelf, manifest, language)
    problems = () if manifest.version else shelf.problems()
    pictures = {} if svg is None else output_files(svg, spoken, several=language == ALL, force=force)
    for item in spoken:
        if item.language in pictures:
            drawn = _picture(shelf, manifest, item)
            write_file(pictures[item.language], drawn.encode(), force=force)
    if json:
        told = {
            "ok": not problems,
            **described(shelf, manifest),
            "in_force": bool(manifest.version) and manifest.version == shelf.in_force(),
            "notice": manifest.notice,
            "purposes": list(manifest.purposes),
            "retention_days": manifest.retention_days,
            "keys": _keys(manifest),
            "choice_seconds": shelf.line.timeout_seconds,
            "languages": [_spoken_as_json(item) for item in spoken],
            "pictures": {name: str(path) for name, path in pictures.items()},
            "problems": problems_as_json(problems),
        }
        print_json(told)
    else:
        say(f"line {shelf.name}: {label(manifest)}{remark}")
        for item in spoken:
            _say_spoken(shelf, manifest, item)
        for path in pictures.values():
            say(f"picture: {path}")
        for problem in problems:
            say_problem(problem, error=True)
    raise typer.Exit(Exit.CONFIGURATION if problems else Exit.GOOD)


def _keys(manifest: Manifest) -> dict[str, str]:
    """The keys that do something: that for the language only where there are several."""
    several = len(manifest.languages) > 1
    return {name: key for name, key in manifest.keys.items() if name != "language" or several}


def _totals(spoken: Spoken) -> dict[str, Any]:
    heard, seconds = until_first_choice(spoken), duration(until_first_choice(spoken))
    loudness = [prompt.audio.loudness for prompt in spoken.prompts() if prompt.audio.files]
    words = sum(len(prompt.text.split()) for prompt in heard)
    covered = {number for prompt in until_choice(spoken) for number in prompt.elements}
    return {
        "seconds_until_first_choice": round(seconds, 2),
        "words_per_minute": round(words * 60 / seconds),
        "loudness_lufs": [min(loudness) / 100, max(loudness) / 100] if loudness else None,
        "estimated": [prompt.id for prompt in spoken.prompts() if not prompt.audio.files],
        "elements_covered": {str(number): ELEMENTS[number] for number in sorted(covered)},
        "elements_missing": {str(number): ELEMENTS[number] for number in ELEMENTS if number not in covered},
    }


def _spoken_as_json(spoken: Spoken) -> dict[str, Any]:
    def timed(prompts: Iterable[SpokenPrompt], begin: int = 0) -> list[dict[str, Any]]:
        return [_prompt_as_json(*time) for time in times(prompts, begin)]

    questions = {prompt.id: purpose for purpose, prompt in spoken.questions.items()}
    heard = timed(until_choice(spoken))
    for told in heard:
        told["asks_for"] = questions.get(told["id"])
    end = sum(prompt.audio.samples for prompt in until_choice(spoken))
    return {
        "language": spoken.language,
        "segments": heard,
        "results": {name: timed([prompt], end)[0] for name, prompt in spoken.results.items()},
        "long": timed(spoken.long),
        "facts": dict(spoken.facts),
        **_totals(spoken),
    }


def _prompt_as_json(begin: float, end: float, prompt: SpokenPrompt) -> dict[str, Any]:
    audio = prompt.audio
    return {
        "id": prompt.id,
        "begin": round(begin, 2),
        "end": round(end, 2),
        "elements": {str(number): ELEMENTS[number] for number in prompt.elements},
        "spoken_by": audio.made_by,
        "text": prompt.text,
        "built": bool(audio.files),
        "audio_sha256": audio.sha256 if audio.files else None,
        "loudness_lufs": audio.loudness / 100 if audio.files else None,
        "peak_dbfs": audio.peak / 100 if audio.files else None,
        "parts": [{"name": m.name, "begin": m.begin / RATE, "end": m.end / RATE} for m in audio.marks],
    }


def _say_spoken(shelf: Shelf, manifest: Manifest, spoken: Spoken) -> None:
    """One language for a reader."""
    seconds, keys = shelf.line.timeout_seconds, _keys(manifest)
    asked = {prompt.id for prompt in spoken.questions.values()}
    rows: list[tuple[object, ...]] = []
    for begin, end, prompt in times(until_choice(spoken)):
        rows.append(_row(begin, end, prompt))
        if prompt.id in asked:
            meanings = ", ".join(f"{key} {_KEY_MEANS[name]}" for name, key in keys.items())
            rows.append((clock(end), f"+{seconds} s", "the choice", "", "", f"{seconds} s for a key: {meanings}"))
    columns = ("begin", "end", "segment", "elements", "spoken by", "text")
    say()
    say(f"in {spoken.language!r}; the clock stands still while a caller chooses")
    print_table(columns, rows)
    say()
    say("then, as it comes out, one of:")
    after = [
        (name, f"{prompt.audio.duration_s:.1f} s", prompt.id, prompt.audio.made_by, prompt.text)
        for name, prompt in spoken.results.items()
    ]
    print_table(("outcome", "length", "segment", "spoken by", "text"), after)
    if spoken.long:
        say()
        say(f"the long version, by key {keys['long']}:")
        print_table(columns, [_row(*time) for time in times(spoken.long)])
    _say_totals(spoken)


_KEY_MEANS: Final = {
    "yes": "yes",
    "no": "no",
    "repeat": "the notice again",
    "long": "the long version",
    "language": "the next language",
}


def _row(begin: float, end: float, prompt: SpokenPrompt) -> tuple[object, ...]:
    numbers = ", ".join(map(str, prompt.elements)) or "-"
    return clock(begin), clock(end), prompt.id, numbers, prompt.audio.made_by, prompt.text


def _say_totals(spoken: Spoken) -> None:
    totals = _totals(spoken)
    estimated = totals["estimated"]
    say()
    if estimated:
        which = "" if len(estimated) == len(spoken.prompts()) else f" of {', '.join(estimated)}"
        say(f"not built: times{which} are estimated; build it: ivr-consent prompts build")
    about = "about " if estimated else ""
    say(
        f"first choice after {about}{totals['seconds_until_first_choice']:.1f} s; "
        f"{about}{totals['words_per_minute']} words a minute"
    )
    if totals["loudness_lufs"]:
        low, high = totals["loudness_lufs"]
        say(f"loudness: {low:.1f} to {high:.1f} LUFS")
    say(f"elements covered: {', '.join(totals['elements_covered']) or 'none'}")
    missing = [f"{number} ({meaning})" for number, meaning in totals["elements_missing"].items()]
    say(f"elements missing: {', '.join(missing) or 'none'}")


def _picture(shelf: Shelf, manifest: Manifest, spoken: Spoken) -> str:
    """The picture of one language. Raises :class:`VersionError` without sound, :class:`AudioError`."""
    from ivr_consent.audio.measure import envelope, samples_of

    asked = {prompt.id for prompt in spoken.questions.values()}
    prompts = until_choice(spoken)
    stretches = []
    for prompt, sound in zip(prompts, sounds_of(shelf, spoken, prompts, "wav"), strict=True):
        seconds = prompt.audio.duration_s
        outline = envelope(samples_of(pcm_of(sound)), max(round(seconds * COLUMNS_PER_SECOND), 1))
        parts = tuple(Part(mark.name, mark.begin / RATE, mark.end / RATE) for mark in prompt.audio.marks)
        choice = shelf.line.timeout_seconds if prompt.id in asked else 0
        stretches.append(Stretch(prompt.id, prompt.text, prompt.elements, seconds, outline, parts, choice))
    return picture(f"Line {shelf.name}, {label(manifest)}, {spoken.language}", stretches)


# --- play --------------------------------------------------------------------------------------------------------


def play(
    context: typer.Context,
    line: LineName,
    language: Language = None,
    draft: TheDraft = False,
    version: VersionNumber = None,
    segment: Annotated[
        str | None,
        typer.Option(
            "--segment", metavar="ID", help="One segment; the notice and its questions without.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help=f"Write it to a file instead: {', '.join(f'.{name}' for name in OUTPUTS)}.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Play what callers hear: of the version in force, without one of the draft.

    What is played are the files that callers hear, each compared with its digest. With --output and --language all,
    FILE gets the language before its suffix.
    """
    shelf, manifest, remark = opened(of(context).settings(), line, version, draft)
    form = "wav" if output is None else output.suffix.removeprefix(".").lower()
    if form not in OUTPUTS:
        endings = ", ".join(f".{name}" for name in OUTPUTS)
        raise typer.BadParameter(f"--output: {str(output)!r} does not say a format; end it in one of: {endings}")
    spoken = chosen(shelf, manifest, language)
    players = [] if output is not None else players_here()
    targets = {} if output is None else output_files(output, spoken, several=language == ALL, force=force)
    pieces = []
    for item in spoken:
        prompts = until_choice(item) if segment is None else (_segment(item, segment),)
        pieces.append(Piece(item, prompts, joined(sounds_of(shelf, item, prompts, form), form)))
    if not json:
        say(f"line {shelf.name}: {label(manifest)}{remark}")
    told = []
    for piece in pieces:
        target = targets.get(piece.spoken.language)
        result = {
            "language": piece.spoken.language,
            "segments": [prompt.id for prompt in piece.prompts],
            "seconds": round(piece.seconds(), 2),
        }
        if target is None:
            told.append(result | {"played_by": perform(piece, players, json=json)})
            continue
        write_file(target, piece.sound, force=force)
        digest = hashlib.sha256(piece.sound).hexdigest()
        told.append(result | {"file": str(target), "format": form, "bytes": len(piece.sound), "sha256": digest})
        if not json:
            say(f"{target}: {piece.seconds():.1f} s in {piece.spoken.language!r}, {len(piece.sound)} bytes of {form}")
    if json:
        print_json({"ok": True, **described(shelf, manifest), "pieces": told})


def _segment(spoken: Spoken, name: str) -> SpokenPrompt:
    for prompt in spoken.prompts():
        if prompt.id == name:
            return prompt
    have = ", ".join(prompt.id for prompt in spoken.prompts())
    raise typer.BadParameter(f"there is no segment {name!r} in {spoken.language!r}; the segments are: {have}")


# --- diff --------------------------------------------------------------------------------------------------------


def diff(
    context: typer.Context,
    line: LineName,
    a: Annotated[str, typer.Argument(metavar="A", help='A version: its number, "current" or "draft".')] = CURRENT,
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")] = DRAFT,
    language: Language = ALL,
    json: Json = False,
) -> None:
    """Show what callers would hear otherwise: from A to B, from the version in force to the draft without them.

    Exit code 0 when nothing is different, 1 when something is.
    """
    shelf = Shelf(of(context).settings(), line)
    old, new = (shelf.manifest(which, guess=False) for which in (a, b))
    if DRAFT in (a, b):
        lacking = set(shelf.line.languages) - {spoken.language for spoken in (old if a == DRAFT else new).languages}
        if lacking:
            raise ConfigurationError(f"line {line}", shelf.problems())
    changed = whole_differences(old, new)
    languages = language_differences(old, new, language)
    equal = not changed and not any(told["different"] for told in languages.values())
    if json:
        sides = {side: described(shelf, manifest) for side, manifest in (("a", old), ("b", new))}
        print_json({"ok": equal, "equal": equal, "line": line, **sides, "changed": changed, "languages": languages})
    else:
        say(f"line {line}: from {label(old)} to {label(new)}")
        for name, (before, after) in changed.items():
            say(f"{name.replace('_', ' ')}: {shown(before)} -> {shown(after)}")
        for name, told in languages.items():
            say_language(name, told)
        if equal:
            say("nothing is different")
    raise typer.Exit(Exit.GOOD if equal else Exit.PROBLEMS)
