"""AEL and Lua: what can be read of them, and that the rest is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ivr_consent.pbx.asterisk.audit import ael
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan
from ivr_consent.pbx.asterisk.audit.judge import audit
from ivr_consent.pbx.audit.findings import Level
from ivr_consent.pbx.audit.library import Library
from tests.audits import fixture, found, steps


def compiled(tmp_path: Path, text: str) -> Dialplan:
    """AEL without anything that is not understood."""
    (tmp_path / "x.ael").write_text(text)
    dialplan = Dialplan()
    assert ael.load(Library(tmp_path), tmp_path / "x.ael", dialplan) == []
    return dialplan


def lines(folder: Path) -> list[tuple[str, int, str]]:
    return found(audit([folder]), Level.ERROR, Level.UNKNOWN, Level.WARNING)


def test_the_fixture_in_ael(tmp_path: Path) -> None:
    folder = fixture("ael", tmp_path)
    (folder / "extensions.conf").write_text("#include ivr-consent/extensions_consent.conf\n")
    assert lines(folder) == [
        ("error", 47, "recording-without-gate"),
        ("error", 58, "recording-without-gate"),
        ("unknown", 21, "recording-not-reached"),
        ("unknown", 57, "foreign-script"),
        ("warning", 11, "recording-behind-gate"),
    ]


def test_ael_is_compiled_into_priorities(tmp_path: Path) -> None:
    text = """
globals { A=1; }
context c {
    includes { d; }
    switches { Realtime/x; }
    ignorepat => 9;
    1 => { // comment
        x=1;
        if ($[${x}]) { Dial(agi://nothing//here); } else Hangup();
again:
        for (i=0; ${i} < 2; i=${i}+1) { NoOp(${i}); }
        &m(a,b);
        goto again;
    }
    hint(SIP/1) 2 => jump 1@c;
}
macro m(p,q) { NoOp(${p}); return; }
"""
    dialplan = compiled(tmp_path, text)
    assert steps(dialplan)["c", "1", ""] == {
        1: "Set(x=1)",
        2: "GotoIf($[$[${x}]]?3:5)",
        3: "Dial(agi://nothing//here)",
        4: "Goto(6)",
        5: "Hangup()",
        6: "NoOp()",
        7: "Set(i=$[0])",
        8: "GotoIf($[${i} < 2]?9:12)",
        9: "NoOp(${i})",
        10: "Set(i=$[${i}+1])",
        11: "Goto(8)",
        12: "NoOp()",
        13: "Gosub(m,~~s~~,1(a,b))",
        14: "Goto(again)",
    }
    assert steps(dialplan)["c", "2", ""] == {1: "Goto(c,1,1)"}
    assert steps(dialplan)["m", "~~s~~", ""] == {
        1: "Set(LOCAL(p)=${ARG1})",
        2: "Set(LOCAL(q)=${ARG2})",
        3: "NoOp(${p})",
        4: "Return()",
        5: "Return()",
    }
    context = dialplan.contexts["c"]
    assert context.extensions["1", ""].labels == {"again": 7}
    assert [include.name for include in context.includes] == ["d"]
    assert len(context.switches) == 1
    assert dialplan.globals["A"][0] == "1"


def test_ael_that_is_not_understood_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "extensions.ael").write_text(
        "context a {\n 1 => { if (x { Record(a); }\n }\n}\ncontext b {\n 1 => MixMonitor(x);\n}\n"
    )
    got = lines(tmp_path)
    assert ("error", 6, "recording-without-gate") in got
    assert [row for row in got if row[0] == "unknown" and row[2] == "not-read"]


WORDS = ["context", "macro", "a", "{", "}", "(", ")", ";", "=>", "=", ":", "&", "if", "else", "switch", "case", "for",
         "goto", "\n", " ", "//", "/*", "*/", "#include \"x.ael\"", "${x}", "catch",
        "return"]  # fmt: skip  # rows that belong together


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
def test_whatever_stands_in_ael_or_lua_ends(tmp_path: Path, text: str) -> None:
    (tmp_path / "extensions.ael").write_text(text)
    (tmp_path / "extensions.lua").write_text(text)
    audit([tmp_path])


@pytest.mark.parametrize(
    "text", ["context a { 1 => (" * 3000, "/*" * 30_000, "context a {" + "{" * 30_000, "(" * 30_000]
)
def test_hostile_ael_takes_no_time(tmp_path: Path, text: str) -> None:
    (tmp_path / "extensions.ael").write_text(text)
    assert audit([tmp_path]).count(Level.UNKNOWN) or text.startswith("/*")


def test_the_fixture_in_lua(tmp_path: Path) -> None:
    assert lines(fixture("lua", tmp_path)) == [
        ("unknown", 0, "dialplan-elsewhere"),
        ("unknown", 4, "foreign-script"),
        ("unknown", 15, "foreign-script"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('app.record("x")', 1),
        ("app['Record']('x')", 1),
        ("app[name]()", 1),
        ("app.playback('x')", 0),
        ('dofile("more.lua")', 1),
        ('s = "app.record(1)"', 1),
        ("-- app.record(1)", 0),
        ("--[==[ app.record(1)\n]] ]==] app.record(2)", 1),
        ('channel["JACK_HOOK(manipulate)"] = "on"', 1),
        ('app.agi("x.py")', 1),
        ("--[[" * 50_000, 0),
    ],
)
def test_lua(tmp_path: Path, text: str, expected: int) -> None:
    """A recorder in a string counts too: what the program makes of strings is not known."""
    (tmp_path / "extensions.lua").write_text(f"{text}\nx = 1\n")
    assert len(lines(tmp_path)) == expected + (not text.startswith("--[[" * 9))
