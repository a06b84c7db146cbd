"""Changes to notice files: a new language, another text, a studio recording. What is not changed stays byte for byte.

The functions take and give a file's text; who reads and writes the file is not their matter.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ivr_consent.core import notice_schema
from ivr_consent.core.errors import NoticeError, Problem
from ivr_consent.core.notice import CHOICE, ELEMENTS, REFERENCE, RESULTS, Notice, Segment
from ivr_consent.core.notice_file import parse_notice
from ivr_consent.toml_edit import append_table, literal, remove_table, set_value

TODO: Final = "TODO"
"""A text that begins with it is not written yet, and no check takes it for one that is."""

SCHEMA_LINE: Final = f"#:schema ../{notice_schema.FILE}"
"""First line of a notice in a folder that has the schema: editors complete and check by it."""

_WIDTH: Final = 118
_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")


# --- a new language ---------------------------------------------------------------------------------------------------


def new_notice(language: str, notice_id: str, like: Path) -> str:
    """A notice in another language with everything but its words: ids, elements and structure are those of ``like``.

    Each text is a TODO with the placeholders that it needs; above it stands what it has to say, and how ``like`` says
    it. Raises :class:`NoticeError`.
    """
    model = _read(like)
    return "\n".join(_lines(model, language, notice_id)) + "\n"


def _lines(model: Notice, language: str, notice_id: str) -> Iterator[str]:
    yield SCHEMA_LINE
    yield from _comment(
        f"The notice {notice_id!r} in {language!r}. Write each text in place of its {TODO}. Above it stands what it "
        f"has to say, and how {model.language!r} says it. What stands between braces is filled in from the "
        "configuration: keep it. `ivr-consent prompts check` tells what is not written yet."
    )
    yield from ("", f"notice = {literal(notice_id)}", f"language = {literal(language)}")
    for segment in model.segments:
        yield from _segment("segments", segment, model.language)
    for purpose in model.purposes.values():
        yield from ("", "[[purposes]]", f"id = {literal(purpose.id)}")
        yield from _text("name", purpose.name, model.language, "the purpose in a few words")
        yield from _text("statement", purpose.statement, model.language, _element(3))
        yield from _text("question", purpose.question, model.language, "the question alone; the keys follow it")
    yield from ("", "[choice]")
    for name in CHOICE:
        yield from _text(name, getattr(model.choice, name), model.language, notice_schema.CHOICE_MEANINGS[name])
    for segment in model.long:
        yield from _segment("long", segment, model.language)
    yield from ("", "[results]")
    for name, text in model.results.items():
        yield from _text(name, text, model.language, notice_schema.RESULT_MEANINGS[name])


def _segment(table: str, segment: Segment, language: str) -> Iterator[str]:
    yield from ("", f"[[{table}]]", f"id = {literal(segment.id)}")
    if segment.elements or table == "segments":
        yield f"elements = [{', '.join(map(str, segment.elements))}]"
    if segment.only_if is not None:
        yield f"only_if = {literal(segment.only_if)}"
    yield from _text("text", segment.text, language, "; ".join(map(_element, segment.elements)))


def _element(number: int) -> str:
    return f"element {number}: {ELEMENTS[number]}"


def _text(key: str, text: str, language: str, meaning: str) -> Iterator[str]:
    if meaning:
        yield from _comment(meaning)
    yield from _comment(f"{language}: {text}")
    yield f"{key} = {literal(' '.join([TODO, *dict.fromkeys(_PLACEHOLDER.findall(text))]))}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


# --- changes ----------------------------------------------------------------------------------------------------------


def with_schema(source: str) -> str:
    """The file with the line that names its schema to editors."""
    return source if source.startswith("#:schema ") else f"{SCHEMA_LINE}\n{source}"


def set_name(source: str, notice_id: str) -> str:
    """The file under another notice's name. Raises :class:`NoticeError`."""
    return _changed(source, set_value(source, ("notice",), notice_id))


def set_text(source: str, prompt_id: str, text: str) -> str:
    """The file with another text of one prompt: a segment's, ``ID-statement``, ``ID-question``, ``choice-NAME`` or
    ``result-NAME``. Raises :class:`NoticeError` for an unknown prompt, and for a text that a notice may not have."""
    return _changed(source, set_value(source, _path(_document(source), prompt_id), " ".join(text.split())))


def set_take(source: str, prompt: str, file: str, says: str) -> str:
    """The file with a studio recording of a prompt, in place of one that says the same. Raises :class:`NoticeError`."""
    says = " ".join(says.split())
    for number, take in _tables(_document(source), "takes"):
        if take.get("prompt") == prompt and _said(take) == says:
            return _changed(source, set_value(source, ("takes", number, "file"), file))
    return _changed(source, append_table(source, "takes", {"prompt": prompt, "file": file, "says": says}))


def remove_take(source: str, prompt: str, says: str | None = None) -> str:
    """The file without the recordings of a prompt, or without the one that says this. Raises :class:`NoticeError`."""
    wanted = None if says is None else " ".join(says.split())
    takes = _tables(_document(source), "takes")
    found = [n for n, take in takes if take.get("prompt") == prompt and wanted in (None, _said(take))]
    if not found:
        raise NoticeError(f"{prompt!r} has no such take; see the [[takes]] tables of the notice")
    for number in reversed(found):
        source = remove_table(source, "takes", number)
    return source


def _changed(before: str, after: str) -> str:
    """The changed file, unless the change made something wrong that was not wrong before."""
    known = {(problem.where, problem.found) for problem in _problems(_document(before))}
    for problem in _problems(_document(after)):
        if (problem.where, problem.found) not in known:
            raise NoticeError(f"{problem.where.removeprefix(': ')}: {problem.found}; {problem.remedy}")
    return after


def _problems(document: dict[str, Any]) -> tuple[Problem, ...]:
    return parse_notice(document, "")[1]


def _document(source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(source.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise NoticeError(f"the notice is not TOML: {error}") from None


def _read(path: Path) -> Notice:
    try:
        document = _document(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise NoticeError(f"{path} cannot be read: {error}") from None
    notice, problems = parse_notice(document, str(path))
    if notice is None:
        raise NoticeError("; ".join(map(str, problems)))
    return notice


def _tables(document: dict[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    tables = document.get(name, [])
    return [(n, table) for n, table in enumerate(tables if isinstance(tables, list) else []) if isinstance(table, dict)]


def _said(take: dict[str, Any]) -> str:
    return " ".join(str(take.get("says", "")).split())


def _path(document: dict[str, Any], prompt: str) -> tuple[str | int, ...]:
    """Where a prompt's text stands."""
    found: dict[str, tuple[str | int, ...]] = {}
    for table in ("segments", "long"):
        for number, segment in _tables(document, table):
            found.setdefault(str(segment.get("id")), (table, number, "text"))
    for number, purpose in _tables(document, "purposes"):
        for part in ("statement", "question"):
            found.setdefault(f"{purpose.get('id')}-{part}", ("purposes", number, part))
    found |= {f"choice-{name}": ("choice", name) for name in CHOICE}
    results = document.get("results")
    optional = (REFERENCE,) if isinstance(results, dict) and REFERENCE in results else ()
    found |= {f"result-{name}": ("results", name) for name in (*RESULTS, *optional)}
    if prompt not in found:
        raise NoticeError(f"{prompt!r} is no prompt of this notice; there are: {', '.join(found)}")
    return found[prompt]
