"""The audit's reader against a real Asterisk: every fixture's dialplan as `dialplan show` has it after loading."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ivr_consent.pbx.asterisk.audit import conf, sections
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan
from ivr_consent.pbx.audit.library import Library
from ivr_consent.testing.rig import Instance, RigUnavailable, Version, skip_or_fail
from tests.audits import fixture

FIXTURES = ("traps", "small", "right", "freepbx", "lua")

LONGEST_SHOWN = 240
"""Characters of an application that `dialplan show` has room for."""

Row = tuple[str, str, str, int, str, str]
"""Context, extension, caller id, priority, application, file and line."""

_CONTEXT = re.compile(r"^\[ (?:Included )?[Cc]ontext '(.*)' created by '(.*)' \]")
_EXTENSION = re.compile(r"^  '(.*?)'(?: \(CID match '(.*?)'\))? => +(.*)$")
_PRIORITY = re.compile(r"^(\d+)\. (.*?) +\[([^][]*)\]$")
_INCLUDE = re.compile(r"^  Include => +'(.*?)' +\[pbx_config\]")


def shown(text: str) -> tuple[set[Row], set[tuple[str, str]]]:
    """What `dialplan show` prints of pbx_config's contexts: priorities, and includes by context."""
    rows: set[Row] = set()
    includes: set[tuple[str, str]] = set()
    context, ours, name, caller = "", False, "", ""
    for line in text.splitlines():
        if found := _CONTEXT.match(line):
            context, ours = found[1], found[2] == "pbx_config"
            continue
        if not ours:
            continue
        if found := _INCLUDE.match(line):
            includes.add((context, found[1].split(",")[0]))
            continue
        rest = line
        if found := _EXTENSION.match(line):
            name, caller, rest = found[1], found[2] or "", found[3]
        rest = re.sub(r"^ +(?:\[[^]]*\] +)?", "", rest)
        if (found := _PRIORITY.match(rest)) and ":" in found[3]:
            rows.add((context, name, caller, int(found[1]), found[2].rstrip()[:LONGEST_SHOWN], found[3]))
    return rows, includes


def read(folder: Path) -> tuple[set[Row], set[tuple[str, str]]]:
    """The same as the audit reads it; Asterisk names files without their directories."""
    dialplan = Dialplan()
    conf.load(sections.read(Library(folder), folder / "extensions.conf"), dialplan)
    rows = {
        (
            context.name,
            extension.name,
            extension.caller,
            number,
            text.rstrip()[:LONGEST_SHOWN],
            f"{Path(step.place.file).name}:{step.place.line}",
        )
        for context in dialplan.contexts.values()
        for extension in context.extensions.values()
        for number, step in extension.steps.items()
        for text in [f"{step.written}({step.arguments})"]
    }
    includes = {(context.name, include.name) for context in dialplan.contexts.values() for include in context.includes}
    return rows, includes


@pytest.mark.parametrize("version", ["22", "16"])
async def test_dialplans_are_read_as_asterisk_reads_them(version: Version, tmp_path: Path) -> None:
    pbx = Instance(version)
    try:
        await pbx.start()
    except RigUnavailable as error:
        skip_or_fail(str(error))
    try:
        for name in FIXTURES:
            folder = fixture(name, tmp_path)
            for path in folder.iterdir():
                if path.name == "extensions.conf":
                    pbx.write_dialplan(path.read_text())
                elif path.is_dir():
                    shutil.copytree(path, pbx.directory / "etc" / path.name, dirs_exist_ok=True)
                elif path.name.startswith(("extensions_", "globals_")) or path.suffix == ".inc" or name == "traps":
                    shutil.copy(path, pbx.directory / "etc" / path.name)
            await pbx.cli("dialplan reload")
            theirs, their_includes = shown(await pbx.cli("dialplan show"))
            ours, our_includes = read(folder)
            assert ours
            theirs = {row for row in theirs if row[0] != "rig-agents"}
            assert (name, sorted(theirs - ours)[:5], sorted(ours - theirs)[:5]) == (name, [], [])
            assert their_includes == our_includes, name
    finally:
        await pbx.stop()
