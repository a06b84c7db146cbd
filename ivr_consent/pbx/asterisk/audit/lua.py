"""``extensions.lua``: a program, which is not run. What it names can be read; where calls go in it cannot."""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path
from typing import Final

from ivr_consent.pbx.asterisk.audit.recorders import Facts, in_application, in_function
from ivr_consent.pbx.asterisk.audit.sections import unread
from ivr_consent.pbx.asterisk.audit.texts import parts
from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library, Unread
from ivr_consent.pbx.audit.results import HOLE

_TOKEN: Final = re.compile(r"--(?:\[(=*)\[)?|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'")
_CALL: Final = re.compile(r"\bapp\s*(?:\.\s*(\w+)|\[\s*[\"'](\w+)[\"']\s*\]|\[)\s*(\(?)")
_SET: Final = re.compile(
    r"channel\s*\[\s*[\"']([^\"']+)[\"']\s*\]\s*[:=]|channel\.([A-Za-z_]+)\(\s*[\"']([^\"']*)[\"']"
)
_LOADS: Final = re.compile(r"\b(dofile|loadfile|loadstring|load|require)\s*[(\"']")


def load(library: Library, path: Path, facts: Facts) -> list[Finding]:
    """What can be told of the file. Every recorder in it is unknown: no way to it can be read."""
    text = library.open(path)
    if isinstance(text, Unread):
        return [unread(Place(text.name), text.why)]
    whole = _uncommented("\n".join(text.lines))
    begins = [0, *(found.end() for found in re.finditer("\n", whole))]

    def at(found: re.Match[str]) -> Place:
        return Place(text.name, bisect_right(begins, found.start()))

    findings = []
    if whole.strip():
        findings.append(
            Finding(
                Rule.ELSEWHERE,
                Level.UNKNOWN,
                Place(text.name),
                "a part of the dialplan is a Lua program: where calls go in it cannot be read",
                "read it by hand for every recorder; or write these extensions into extensions.conf",
            )
        )
    for found in _CALL.finditer(whole):
        place = at(found)
        name = (found[1] or found[2] or "").lower()
        if not name:
            findings.append(_unknown(place, "an application whose name is computed is run"))
            continue
        given = _arguments(whole, found.end()) if found[3] else []
        for recorder in in_application(name, given, facts):
            findings.append(_unknown(place, f"{recorder.what}; the way to it cannot be read in Lua"))
        if name in ("agi", "deadagi", "stasis", "exec", "tryexec", "execif"):
            findings.append(_unknown(place, f"app.{name}() is run; what it does cannot be read in Lua"))
    for found in _SET.finditer(whole):
        name = found[1] or f"{found[2]}({found[3]})"
        set_up = in_function(name, HOLE)
        if set_up is not None:
            place = at(found)
            findings.append(_unknown(place, f"{set_up.what.replace(HOLE, '...')}; the way to it cannot be read"))
    for found in _LOADS.finditer(whole):
        place = at(found)
        findings.append(_unknown(place, f"{found[1]}() loads more code, which was not read"))
    return findings


def _uncommented(text: str) -> str:
    """The program without its comments; what stands in strings stays, and so do the ends of lines."""
    pieces, begin = [], 0
    while (found := _TOKEN.search(text, begin)) is not None:
        if not found[0].startswith("--"):
            pieces.append(text[begin : found.end()])
            begin = found.end()
            continue
        pieces.append(text[begin : found.start()])
        close = "\n" if found[1] is None else f"]{found[1]}]"
        end = text.find(close, found.end())
        begin = len(text) if end < 0 else end if close == "\n" else end + len(close)
        pieces.append("\n" * text.count("\n", found.start(), begin))
    return "".join([*pieces, text[begin:]])


def _arguments(text: str, begin: int) -> list[str]:
    """The arguments of a call as text; what is no plain string or number is a hole."""
    depth, at = 1, begin
    while at < len(text) and depth and at - begin < 2000:
        depth += (text[at] in "([{") - (text[at] in ")]}")
        at += 1
    found = []
    for part in parts(text[begin : at - 1]):
        plain = re.fullmatch(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([\w.]+))\s*", part)
        found.append(HOLE if plain is None else plain[1] or plain[2] or (plain[3] if plain[3] else ""))
    return found


def _unknown(place: Place, found: str) -> Finding:
    return Finding(Rule.SCRIPT, Level.UNKNOWN, place, found, "read it by hand, or write it into extensions.conf")
