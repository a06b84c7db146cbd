"""What is wrong in a configuration, told by file, line and key: what was found, what is allowed, what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ivr_consent.core import errors
from ivr_consent.core.errors import Problem
from ivr_consent.core.notice_file import Lines

LONGEST_SHOWN = 60
"""Of what stands in the file, so much is shown."""

_PASSWORD = re.compile(r"(?<=://)[^/?#'\"]*:[^?#'\"]*(?=@)|(?<=password=)[^&'\"]*")
"""In a URL; nobody writes one on purpose where we take no URL, and no message shows it."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


def place(source: str, lines: Lines, path: tuple[str | int, ...]) -> str:
    """``FILE:LINE: key``; without the line where it is not known, as of a key that nobody wrote."""
    key = ""
    for part in path:
        if isinstance(part, int):
            key += f"[{part + 1}]"  # as people count
        else:
            key += ("." if key else "") + (part if _BARE.fullmatch(part) else shown(part))
    line = lines(path)
    return f"{source}: {key or 'the file'}" if line is None else f"{source}:{line}: {key}"


def syntax(source: str, text: str, error: ValueError | RecursionError) -> Problem:
    """Why a text is not TOML, with its line."""
    if isinstance(error, RecursionError):
        return Problem(source, "not TOML: too many brackets within each other", "correct that place")
    message = str(error)
    found = _AT_LINE.search(message)
    line = found[1] if found else text.count("\n", 0, len(text.rstrip())) + 1 if "end of document" in message else None
    return Problem(source if line is None else f"{source}:{line}", f"not TOML: {message}", "correct that place")


def problems(
    source: str, lines: Lines, model: type[BaseModel], refused: ValidationError, consent_keys: str
) -> Iterator[Problem]:
    """Each of pydantic's errors as place, what was found, and remedy."""
    for error in refused.errors():
        yield _problem(source, lines, model, error, consent_keys)


def _problem(source: str, lines: Lines, model: type[BaseModel], error: Any, consent_keys: str) -> Problem:
    path, kind, found = error["loc"], error["type"], shown(error.get("input"))
    where = place(source, lines, path)
    if kind == "extra_forbidden":
        return Problem(where, "unknown key", unknown(str(path[-1]), allowed(model, path)))
    if kind == "missing":
        return Problem(where, "missing", "add it")
    if kind == "value_error":
        told, _, remedy = str(error["ctx"]["error"]).partition("; ")
        table = isinstance(error.get("input"), dict)
        return Problem(where, told if table else f"found {found}: {told}", remedy or "correct it")
    if kind == "string_pattern_mismatch" and "keys" in path:
        return Problem(where, f"found {found}", f"one key of: {' '.join(consent_keys)} (neither 0 nor #)")
    if kind == "string_pattern_mismatch" and "next_menu" in path:
        return Problem(where, f"found {found}", "one key of: 0 1 2 3 4 5 6 7 8 9 * #")
    return Problem(where, f"found {found}", f"allowed: {error['msg'][:1].lower()}{error['msg'][1:]}")


def unknown(name: str, names: list[str]) -> str:
    """What to do about a key that there is not: the one that was probably meant, and all that are allowed."""
    near = difflib.get_close_matches(name, names, n=1)
    remedy = f"did you mean {near[0]}?" if near else "remove it, or correct its name;"
    return f"{remedy} allowed here: {', '.join(names)}"


def allowed(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Names allowed beside an unknown key, found by walking the models along its path."""
    named = False  # whether the next part is the name of a line or a language, not a field
    for part in path[:-1]:
        field = None if named else model.model_fields.get(str(part))
        named = field is not None and get_origin(field.annotation) is dict
        candidates = () if field is None else (field.annotation, *get_args(field.annotation))
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return [name for name, field in model.model_fields.items() if not field.exclude]


def shown(value: Any) -> str:
    """A value as found in a file, short and printable."""
    text = _PASSWORD.sub("***", errors.shown(value))
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
