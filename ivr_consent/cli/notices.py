"""``ivr-consent prompts new``, ``copy`` and ``take``: a site's own notice files, without writing TOML from nothing."""

from __future__ import annotations

import re
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ivr_consent.cli import files
from ivr_consent.cli.schema import Kind, write_schema
from ivr_consent.cli.terminal import Exit, Json, of, print_json, say
from ivr_consent.core.errors import ConfigurationError, ConsentError, NoticeError, Problem

if TYPE_CHECKING:
    from ivr_consent.audio.takes import Take
    from ivr_consent.config import Settings
    from ivr_consent.core.notice import Notice

OWN_FOLDER: Final = "prompts"
"""Beside the configuration: where a site's notices go when it names no other place."""

TAKES: Final = "takes"
"""Beside the notices of a language: studio recordings."""

_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")

NoticeName = Annotated[str, typer.Argument(metavar="NOTICE", help="The notice: the name of its file without .toml.")]


# --- new --------------------------------------------------------------------------------------------------------------


def new(
    context: typer.Context,
    notice: NoticeName,
    language: Annotated[str, typer.Option(metavar="CODE", help="The language to write it in.")],
    like: Annotated[str, typer.Option(metavar="CODE", help="The language whose structure it takes over.")] = "en",
    json: Json = False,
) -> None:
    """Make a notice in another language, with a TODO for each text and what it has to say above it."""
    _names(notice, [language, like])
    settings = of(context).settings()
    from ivr_consent.notice_edit import new_notice
    from ivr_consent.site import shipped

    directory = _own_directory(settings, f"ivr-consent prompts copy {notice} --language {like}")
    candidates = [folder / like / f"{notice}.toml" for folder in (directory, shipped("prompts"))]
    model = next((path for path in candidates if path.is_file()), None)
    if model is None:
        raise ConsentError(f"there is no {candidates[0]}, and none is shipped; name a language that has it with --like")
    text = new_notice(language, notice, model)
    path = directory / language / f"{notice}.toml"
    files.make_directory(path.parent, 0o755)
    if not files.write_new(path, text, 0o644):
        raise ConsentError(f"{path} is there already, and is not overwritten; edit it, or rename it first")
    done = [("written", path), _schema(directory)]
    lines = [name for name, line in settings.lines.items() if line.notice == notice and language not in line.languages]
    steps = ["write each text in place of its TODO; ivr-consent prompts check tells what is left"]
    if lines:
        steps.append(f'add "{language}" to the languages of the line: {", ".join(lines)}')
    steps.append(f"give the facts in its words under [facts.{language}], where they differ")
    _tell(done, steps, as_json=json)


# --- copy -------------------------------------------------------------------------------------------------------------


def copy(
    context: typer.Context,
    notice: NoticeName,
    language: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="A language; may be repeated. Without: those of the lines that use it."),
    ] = None,
    as_name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Give the copy another name.")] = None,
    json: Json = False,
) -> None:
    """Copy a shipped notice into a folder of your own, to change its words; names the folder in the configuration."""
    _names(notice, language or [])
    _names(as_name or notice, [])
    settings = of(context).settings()
    from ivr_consent.notice_edit import set_name, with_schema
    from ivr_consent.site import shipped

    there = {path.parent.name: path for path in sorted(shipped("prompts").glob(f"*/{notice}.toml"))}
    if not there:
        raise ConsentError(f"no notice {notice!r} is shipped; make your own with: ivr-consent prompts new")
    used = [code for line in settings.lines.values() if line.notice == notice for code in line.languages]
    wanted = language or [code for code in dict.fromkeys(used) if code in there] or list(there)
    missing = [code for code in wanted if code not in there]
    if missing:
        have = ", ".join(there)
        raise ConsentError(
            f"{notice!r} is not shipped in {missing[0]!r}, only in: {have}; then: ivr-consent prompts new {notice} "
            f"--language {missing[0]}"
        )
    name = as_name or notice
    configured = settings.prompts.directory
    directory = settings.path(configured if configured is not None else Path(OWN_FOLDER))
    done: list[tuple[str, Path]] = []
    for code in dict.fromkeys(wanted):
        text = with_schema(files.read_exactly(there[code]))
        text = set_name(text, name) if name != notice else text
        path = directory / code / f"{name}.toml"
        files.make_directory(path.parent, 0o755)
        done.append(("written" if files.write_new(path, text, 0o644) else "kept", path))
    done.append(_schema(directory))
    steps = []
    if configured is None:
        _set_directory(settings)
        done.append(("changed", settings.source))
        steps.append(
            f'set directory = "{OWN_FOLDER}" under [prompts] in {settings.source}: all notices come from there'
        )
    steps += [_lacking(lines, code, used_notice) for (used_notice, code), lines in _lack(settings, directory).items()]
    _tell(done, steps, as_json=json)


def _set_directory(settings: Settings) -> None:
    """Name the folder of a site's own notices in the configuration, which is as right afterwards as it was before."""
    from ivr_consent import config
    from ivr_consent.toml_edit import set_value

    text = set_value(files.read_exactly(settings.source), ("prompts", "directory"), OWN_FOLDER)
    config.parse(tomllib.loads(text.removeprefix("\ufeff")), settings.source, "")
    files.replace(settings.source, text)


def _lack(settings: Settings, directory: Path) -> dict[tuple[str, str], list[str]]:
    """Notices and languages that lines use and the folder does not have, with the lines."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, line in settings.lines.items():
        for code in line.languages:
            if not (directory / code / f"{line.notice}.toml").is_file():
                found.setdefault((line.notice, code), []).append(name)
    return found


def _lacking(lines: list[str], code: str, notice: str) -> str:
    return (
        f"{', '.join(lines)}: the notice {notice} in {code} is not in the folder; "
        f"copy it too (ivr-consent prompts copy {notice} --language {code}), or change the line"
    )


# --- take -------------------------------------------------------------------------------------------------------------


def take(
    context: typer.Context,
    language: Annotated[str, typer.Argument(metavar="LANGUAGE", help="The language of the notice.")],
    notice: NoticeName,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="The prompt's id, such as controller or result-early.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording: WAV, FLAC, MP3, Ogg; one channel.")],
    says: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The words as spoken. Without: as the line's notice has them.")
    ] = None,
    line: Annotated[
        str | None, typer.Option(metavar="NAME", help="The line whose facts were spoken, where several use the notice.")
    ] = None,
    json: Json = False,
) -> None:
    """Use a studio recording for a prompt: copies the file beside the notice, and names it there."""
    _names(notice, [language])
    if says is not None and line is not None:
        raise typer.BadParameter("either --says or --line: a line's notice tells what was said")
    settings = of(context).settings()
    from ivr_consent.notice_edit import set_take

    directory = _own_directory(settings, f"ivr-consent prompts copy {notice} --language {language}")
    path = directory / language / f"{notice}.toml"
    source = files.read_exactly(path)
    parsed = _parsed(source, path)
    if prompt not in _prompts(parsed):
        raise NoticeError(f"{path} has no prompt {prompt!r}; there are: {', '.join(_prompts(parsed))}")
    texts, wrong = _texts(settings, parsed, prompt, line)
    where = f"{prompt!r} in {language!r}"
    spoken = " ".join(says.split()) if says is not None else _said_now(texts, wrong, where, line)
    found = _recording(file)
    kept = path.parent / TAKES / f"{prompt}-{found.sha256[:16]}{_suffix(file)}"
    name = f"{TAKES}/{kept.name}"
    text = set_take(source, prompt, name, spoken)
    done = [(_copy(found, kept), kept), ("changed" if text != source else "unchanged", path)]
    if text != source:
        files.replace(path, text)
    steps = [f"{prompt} in {language} says: {spoken}"]
    if spoken not in texts.values():
        steps.append("no line says these words now: the take is used when one does")
    _tell(done, [*steps, "make the line's sound with: ivr-consent prompts build"], as_json=json, take=name, says=spoken)


def _parsed(source: str, path: Path) -> Notice:
    from ivr_consent.config_problems import syntax
    from ivr_consent.core.notice_file import parse_notice
    from ivr_consent.toml_lines import TomlLines

    try:
        document = tomllib.loads(source.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(str(path), (syntax(str(path), source, error),)) from None
    notice, problems = parse_notice(document, str(path), TomlLines(source).line)
    if notice is None:
        raise ConfigurationError(str(path), problems)
    return notice


def _prompts(notice: Notice) -> list[str]:
    """Ids of the prompts that may be spoken in a studio: the choice is said as part of each question."""
    return [prompt for prompt in notice.places if not prompt.startswith("choice-")]


def _texts(
    settings: Settings, notice: Notice, prompt: str, line: str | None
) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """What the prompt says now by the lines that use it, or on the one that was named; and why lines do not say it."""
    from ivr_consent.core.notice import compose

    if line is not None and line not in settings.lines:
        raise typer.BadParameter(f"there is no line {line!r}; the lines are: {', '.join(settings.lines)}")
    texts: dict[str, str] = {}
    wrong: dict[Problem, None] = {}
    for name, used in settings.lines.items():
        if used.notice != notice.id or notice.language not in used.languages or line not in (None, name):
            continue
        facts = settings.facts_for(used, notice.language)
        several = len(used.languages) > 1
        script, problems = compose(notice, tuple(used.purposes), facts, several_languages=several)
        wrong |= dict.fromkeys(problems)
        spoken = script.segments() if script is not None else ()
        texts |= {name: segment.text for segment in spoken if segment.id == prompt}  # noqa: B035 - one or none
    return texts, tuple(wrong)


def _said_now(texts: dict[str, str], wrong: tuple[Problem, ...], where: str, line: str | None) -> str:
    """The one text that the lines have."""
    if not texts and wrong:
        raise ConfigurationError(where, wrong)
    if not texts and line is not None:
        raise ConsentError(f"the line {line!r} does not play {where}; see its notice and purposes")
    if not texts:
        raise ConsentError(f"no line plays {where} now; say what was spoken with --says TEXT")
    if len(set(texts.values())) > 1:
        raise ConsentError(f"{where} has other words on each line; name one with --line: {', '.join(texts)}")
    return next(iter(texts.values()))


def _recording(file: Path) -> Take:
    """The file that was given, if there is sound in it that a prompt can be made of. Raises :class:`AudioError`."""
    from ivr_consent.audio.takes import decode, open_take

    given = file.absolute()
    found = open_take(given.name, given.parent)
    with tempfile.TemporaryDirectory() as work:
        decode(found, Path(work))
    return found


def _suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _copy(found: Take, path: Path) -> str:
    """Copy a recording to where there is none; what became of it."""
    from ivr_consent.audio.takes import open_take

    files.make_directory(path.parent, 0o755)
    if files.copy_new(found.path, path, found.sha256, 0o644):
        return "written"
    if open_take(path.name, path.parent).sha256 != found.sha256:
        raise ConsentError(f"{path} is there with another sound in it; remove it, then try again")
    return "unchanged"


# --- what they share --------------------------------------------------------------------------------------------------


def _names(notice: str, languages: list[str]) -> None:
    from ivr_consent.core.notice import IDENTIFIER, LANGUAGE

    if not IDENTIFIER.fullmatch(notice):
        raise typer.BadParameter(f"{notice!r} is no name of a notice; use small letters, digits and hyphens")
    for language in languages:
        if not LANGUAGE.fullmatch(language):
            raise typer.BadParameter(f'{language!r} is no language; write codes such as "da" or "en"')


def _own_directory(settings: Settings, remedy: str) -> Path:
    """The folder of a site's own notices. Raises :class:`ConfigurationError` when it has none."""
    directory = settings.prompts.directory
    if directory is None:
        problem = Problem(
            f"{settings.source}: prompts.directory",
            "not set: the notices are the shipped ones, and those are not to be changed",
            f"have a folder of your own made, with: {remedy}",
        )
        raise ConfigurationError(str(settings.source), (problem,))
    return settings.path(directory)


def _schema(directory: Path) -> tuple[str, Path]:
    path, what = write_schema(Kind.NOTICE, directory)
    return what, path


def _tell(done: list[tuple[str, Path]], steps: list[str], *, as_json: bool, **more: Any) -> None:
    kept = any(what == "kept" and path.suffix == ".toml" for what, path in done)
    if as_json:
        told = [{"what": what, "path": str(path)} for what, path in done]
        print_json({"ok": not kept, "files": told, **more, "next": steps})
    else:
        for what, path in done:
            why = ": it was there already, and is not overwritten" if what == "kept" and path.suffix == ".toml" else ""
            say(f"{what:<10} {path}{why}")
        for step in steps:
            say(step)
    raise typer.Exit(Exit.PROBLEMS if kept else Exit.GOOD)
