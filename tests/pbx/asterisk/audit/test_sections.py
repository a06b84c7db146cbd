"""Asterisk's configuration syntax. What stands here as expected was seen on Asterisk 22 and 16."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.pbx.asterisk.audit import conf, sections
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan
from ivr_consent.pbx.audit import library
from ivr_consent.pbx.audit.findings import Finding, Level, Rule
from tests.audits import steps


def read(tmp_path: Path, text: str | bytes, **files: str) -> sections.Configuration:
    """A file x.conf with others beside it."""
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "x.conf").write_bytes(data)
    for name, other in files.items():
        (tmp_path / f"{name}.conf").write_text(other)
    return sections.read(library.Library(tmp_path, usual="/etc/asterisk"), tmp_path / "x.conf")


def plain(configuration: sections.Configuration) -> dict[str, list[tuple[str, str]]]:
    return {
        section.name: [(entry.name, entry.value) for entry in section.entries] for section in configuration.sections
    }


def load(tmp_path: Path, text: str, **files: str) -> tuple[dict[tuple[str, str, str], dict[int, str]], list[Finding]]:
    configuration = read(tmp_path, text, **files)
    dialplan = Dialplan()
    findings = conf.load(configuration, dialplan)
    return steps(dialplan), [*configuration.findings, *findings]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("a = b ; comment", "b"),
        (r"a = b\;c ; comment", "b;c"),
        ("a = b;--hidden--;c", "bc"),
        ("a = b;---no block", "b"),
        ("a => b", "b"),
        ("  a=b\t", "b"),
        ("a = b = c", "b = c"),
    ],
)
def test_a_line(tmp_path: Path, line: str, value: str) -> None:
    assert plain(read(tmp_path, f"[x]\n{line}\n")) == {"x": [("a", value)]}


def test_comments_over_lines(tmp_path: Path) -> None:
    text = "[x]\na=1 ;-- one\nb=2\n;-- nested\nc=3 --;\nd=4\n--; e=5\nf=6\n"
    assert plain(read(tmp_path, text)) == {"x": [("a", "1"), ("e", "5"), ("f", "6")]}


def test_an_end_of_comment_that_ends_nothing_hides_the_rest(tmp_path: Path) -> None:
    configuration = read(tmp_path, "[x]\na=1 --; 2\nb=3\n")
    assert plain(configuration) == {"x": [("a", "1 --; 2")]}
    assert [finding.place.line for finding in configuration.findings] == [2]


def test_a_comment_that_never_ends_is_said(tmp_path: Path) -> None:
    configuration = read(tmp_path, "[x]\n;-- on\na=1\n")
    assert plain(configuration) == {"x": []}
    assert [finding.level for finding in configuration.findings] == [Level.WARNING]


def test_templates_and_additions(tmp_path: Path) -> None:
    text = "[t](!)\na=1\n[x](t)\nb=2\n[X](+)\nc=3\n[x]\nd=4\n[y](!,t)\n[z](y)\n"
    configuration = read(tmp_path, text)
    assert [(s.name, s.template, [e.name for e in s.entries]) for s in configuration.sections] == [
        ("t", True, ["a"]),
        ("x", False, ["a", "b", "c"]),
        ("x", False, ["d"]),
        ("y", True, ["a"]),
        ("z", False, ["a"]),
    ]


@pytest.mark.parametrize("text", ["a=1\n", "[x](+)\n", "[x](nothing)\n", "[x\n", '#include "nowhere.conf"\n'])
def test_what_asterisk_refuses_is_unknown(tmp_path: Path, text: str) -> None:
    (finding,) = read(tmp_path, text).findings
    assert (finding.rule, finding.level) == (Rule.REFUSED_FILE, Level.UNKNOWN)


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "1.conf").write_text("b=1\n[in]\nc=2\n")
    (tmp_path / "d" / "2.conf").write_text("d=3\n")
    text = "[x]\na=0\n#include <d/*.conf>\ne=4\n#tryinclude none.conf\n#include /etc/asterisk/y.conf\n"
    configuration = read(tmp_path, text, y="f=5\n")
    assert configuration.findings == []
    assert plain(configuration) == {
        "x": [("a", "0"), ("b", "1"), ("e", "4")],
        "in": [("c", "2"), ("d", "3"), ("f", "5")],  # where the include before had ended
    }


def test_exec_is_named_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    configuration = read(tmp_path, f'[x]\n#exec "/usr/bin/touch {trace}"\na=1\n')
    (finding,) = configuration.findings
    assert (finding.rule, finding.level) == (Rule.ELSEWHERE, Level.UNKNOWN)
    assert str(trace) in finding.found
    assert not trace.exists()
    assert plain(configuration) == {"x": [("a", "1")]}


# --- hostile files ---------------------------------------------------------------------------------------------------


def test_files_that_include_each_other(tmp_path: Path) -> None:
    configuration = read(tmp_path, "[x]\n#include y.conf\na=1\n", y="b=2\n#include x.conf\n#include y.conf\n")
    assert plain(configuration) == {"x": [("b", "2"), ("a", "1")]}
    assert [finding.level for finding in configuration.findings] == [Level.UNKNOWN] * 2


def test_a_bomb_of_includes_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_READS", 50)
    files = {f"f{n}": f"a{n}=1\n" + f"#include f{n + 1}.conf\n" * 10 for n in range(9)}
    configuration = read(tmp_path, "[x]\n#include f0.conf\n", **files)
    assert any("more than 50 files" in finding.found for finding in configuration.findings)
    assert len(configuration.sections[0].entries) < 100


def test_templates_cannot_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "MOST_INHERITED", 1000)
    text = "[t0](!)\na=1\n" + "".join(f"[t{n}](!,t{n - 1},t{n - 1})\n" for n in range(1, 40))
    configuration = read(tmp_path, text)
    assert sum(len(section.entries) for section in configuration.sections) <= 1001
    assert any(finding.rule is Rule.UNREAD for finding in configuration.findings)


@pytest.mark.parametrize("kind", ["missing", "loop", "pipe", "directory", "binary", "large", "unreadable name"])
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "y.conf"
    if kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"[x]\n\0\n")
    elif kind == "large":
        monkeypatch.setattr(library, "MAX_FILE", 10)
        path.write_text("[x]\nabcdefghij = 1\n")
        (finding,) = sections.read(library.Library(tmp_path), path).findings
        assert finding.rule is Rule.UNREAD
        return
    name = "a\\0b" if kind == "unreadable name" else "y.conf"
    (finding,) = read(tmp_path, f"[x]\n#include {name}\n").findings
    assert finding.level is Level.UNKNOWN
    assert finding.place.line == 2


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    assert plain(read(tmp_path, b"[x]\na = \xff\xfe\n")) == {"x": [("a", "\\xff\\xfe")]}


def test_an_include_cannot_search_the_whole_disk(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "e.conf").write_text("[x]\n")
    assert library.Library(tmp_path).matching("*/*/*/*/*.conf") == []
    assert library.Library(tmp_path).matching("a/b/*/*/*.conf") == [deep / "e.conf"]


def test_a_line_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    configuration = read(tmp_path, "[x]\na=" + "1" * 9000 + "\nb=2\n")
    assert plain(configuration) == {"x": [("b", "2")]}
    assert [finding.place.line for finding in configuration.findings] == [2]


PIECES = ["[x]", "[t](!)", "[x](+)", "[y](t)", "a=1", "a+=2", ";--", "--;", ";", "\\;", "#include x.conf", "#exec z",
          "exten => 1,1,Goto(2)", "same => n(l),X", "=>", "#", "[", "(", ")", ",", "\r", "\t",
        "\x1b[2J"]  # fmt: skip  # rows that belong together


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=20))
def test_whatever_is_written_is_read_to_its_end(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    load(folder, "\n".join(lines))


# --- extensions ------------------------------------------------------------------------------------------------------


def test_priorities_as_asterisk_counts_them(tmp_path: Path) -> None:
    text = """\
[general]
[globals]
G=42
[x]
exten => 100,1,NoOp(a)
same => n(lab),NoOp(b)
same => n+3,NoOp(c)
exten => 100,s+2,NoOp(d)
exten => 100,lab+1,NoOp(e)
exten => 101,hint,PJSIP/101
exten => 101,n,NoOp(left out)
exten => 102,n,NoOp(left out)
exten => ${G}1,1,NoOp(global)
exten => 103,n,NoOp(after the last one)
EXTEN = 107,1,NoOp(large)
exten => 108,1,NoOp
exten => 114,1,Dial(PJSIP/1,20,m(default)
exten => 115,1,Goto(a,b
exten => _[1,2]8,1,NoOp(set)
exten => _NXX/_212XX,1,NoOp(caller)
exten => 100,1,NoOp(twice)
"""
    found, findings = load(tmp_path, text)
    assert found == {
        ("x", "100", ""): {1: "NoOp(a)", 2: "NoOp(b)", 3: "NoOp(e)", 6: "NoOp(c)", 8: "NoOp(d)"},
        ("x", "103", ""): {2: "NoOp(after the last one)"},
        ("x", "421", ""): {1: "NoOp(global)"},
        ("x", "107", ""): {1: "NoOp(large)"},
        ("x", "108", ""): {1: "NoOp()"},
        ("x", "114", ""): {1: "Dial(PJSIP/1,20,m(default)"},
        ("x", "115", ""): {1: "Goto(a,b)"},
        ("x", "_[1,2]8", ""): {1: "NoOp(set)"},
        ("x", "_NXX", "_212XX"): {1: "NoOp(caller)"},
    }
    assert [finding.place.line for finding in findings] == [11, 12, 21]
