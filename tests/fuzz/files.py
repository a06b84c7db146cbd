"""What an administrator writes: the configuration, scenarios, notices; and the words of a notice."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from ivr_consent import config, lexicon, toml_edit
from ivr_consent.config_problems import syntax
from ivr_consent.core.errors import ConfigurationError, ConsentError, Problem
from ivr_consent.core.notice import Notice, missing_elements
from ivr_consent.core.notice_file import parse_notice
from ivr_consent.testing import scenario
from ivr_consent.toml_lines import Path, TomlLines
from tests.fuzz.target import shown, written

MOST_OF_A_PROBLEM = 4096
"""Characters of what one problem says; the longest list of allowed keys has some hundreds."""


def configuration(data: bytes) -> None:
    """A configuration: settings, or problems that say where, what and what to do."""
    path = written("ivr-consent.toml", data)
    try:
        settings = config.load(path)
    except ConfigurationError as error:
        _check_problems(error.problems, str(path), data)
    else:
        assert settings.source == path
        again = config.parse(tomllib.loads(data.decode()), path, settings.sha256)
        assert again == settings
        assert settings.log_file().is_absolute()


def scenarios(data: bytes) -> None:
    """A scenario file: scenarios with names of their own, or problems."""
    path = written("scenario.toml", data)
    try:
        found = scenario.load_scenarios(path)
    except ConfigurationError as error:
        _check_problems(error.problems, str(path), data)
    else:
        assert found
        names = [one.name for one in found]
        assert len(set(names)) == len(names)
        for one in found:
            assert len(one.behaviour().actions) == len(one.does)


def notice(data: bytes) -> None:
    """A notice file, as ``notices check`` reads it."""
    try:
        text = data.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError:
        return
    except (ValueError, RecursionError) as error:
        _check_problems((syntax("da.toml", text, error),), "da.toml", data)
        return
    found, problems = parse_notice(document, "da.toml", TomlLines(text).line)
    assert (found is None) == bool(problems)
    if found is None:
        _check_problems(problems, "da.toml", data)
    else:
        _check_notice(found)


def _check_notice(found: Notice) -> None:
    purposes = tuple(found.purposes)
    assert purposes
    missing_elements(found, purposes)


def _check_problems(problems: tuple[Problem, ...], source: str, data: bytes) -> None:
    """Each names the file, a line that there is, and what to do."""
    assert problems
    lines = data.count(b"\n") + 1
    for problem in problems:
        for part in (problem.where, problem.found, problem.remedy):
            shown(part)
        assert len(str(problem)) < MOST_OF_A_PROBLEM + len(data)
        assert problem.where.startswith(source)
        number = problem.where.removeprefix(source).removeprefix(":").partition(":")[0]
        if problem.where.startswith(f"{source}:") and number.isdigit():
            assert 1 <= int(number) <= lines, "a line that there is not"


def toml(data: bytes) -> None:
    """The places of keys in a TOML file, and changes to it: what stands at a place is the value, and nothing else."""
    text = data.decode("utf-8", "replace")
    lines = TomlLines(text)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        lines.line(("a", 0, "b"))
        lines.span(("a",))
        return
    edited = False
    for path, value in _leaves(document):
        line = lines.line(path)
        assert line is not None, f"{path} has no line"
        assert 1 <= line <= text.count("\n") + 1
        span = lines.span(path)
        assert span is not None, f"{path} has no place"
        assert same(tomllib.loads(f"x = {text[span[0] : span[1]]}")["x"], value), f"another value stands at {path}"
        if not edited and isinstance(value, str):
            edited = True
            _set(text, path)


def _set(text: str, path: Path) -> None:
    new = 'a "b"\\\n\tc\x7f é'
    try:
        changed = toml_edit.set_value(text, path, new)
    except ConsentError as error:
        shown(str(error))
        return
    document: Any = tomllib.loads(changed.removeprefix("\ufeff"))
    for part in path:
        document = document[part]
    assert document == new


def _leaves(document: Any) -> Iterator[tuple[Path, Any]]:
    """Every value that is no table and no list of tables, with its path."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, name), below) for name, below in value.items()]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            waiting += [((*path, number), below) for number, below in enumerate(value)]
        else:
            yield path, value


def same(one: Any, other: Any) -> bool:
    """Whether two values of TOML are equal, and of one type; not-a-number is equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    assert isinstance(one, str | int | bool | datetime | date | time)
    return bool(one == other)


def wording(data: bytes) -> None:
    """The words of a notice: its language in the first line, then its text."""
    first, _, text = data.decode("utf-8", "replace").partition("\n")
    language = first[:20]
    reading = lexicon.read.__wrapped__(language, text)
    straight = lexicon.straight(text)
    assert lexicon.lexicon(language) is not None or reading == lexicon.Reading()
    found = (reading.phrases, reading.periods, reading.keys)
    for quote in (one.quote for several in found for one in several):
        assert quote in straight or quote in straight.lower(), "what is quoted does not stand there"
    for key in reading.keys:
        assert key.key in "0123456789*#"
        assert len(key.key) == 1
