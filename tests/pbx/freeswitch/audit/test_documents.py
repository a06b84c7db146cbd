"""Files as FreeSWITCH joins and parses them, and files that were written to do harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.audit.findings import Level, Place
from ivr_consent.pbx.audit.library import Library
from ivr_consent.pbx.audit.results import HOLE
from ivr_consent.pbx.freeswitch.audit import documents
from ivr_consent.pbx.freeswitch.audit.documents import Document, is_freeswitch, read
from ivr_consent.pbx.freeswitch.audit.judge import audit
from tests.freeswitch_audits import action, extension, found, judged, public, site


def joined(tmp_path: Path, text: str, **files: str) -> Document:
    """A main file with others beside it: ``a="..."`` is a.xml."""
    (tmp_path / "freeswitch.xml").write_text(text)
    for name, inside in files.items():
        (tmp_path / f"{name}.xml").write_text(inside)
    return read(Library(tmp_path, usual=documents.INSTALLED))


def shape(document: Document) -> list[tuple[str, str, int]]:
    """Tag, file and line of every element."""
    return [(one.tag, one.place.file, one.place.line) for one in document.root.walk()]


def include(name: str) -> str:
    return f'<X-PRE-PROCESS cmd="include" data="{name}"/>'


def test_included_files_keep_their_places(tmp_path: Path) -> None:
    document = joined(
        tmp_path,
        f"<a>\n{include('x.xml')}\n<d/>\n</a>",
        x="<include>\n<b\n q='1'/>\n<c/></include>\n<e/>\n</include>",
    )
    assert shape(document) == [
        ("a", "freeswitch.xml", 1),
        ("b", "x.xml", 2),
        ("e", "x.xml", 5),
        ("d", "freeswitch.xml", 3),
    ]
    (lost,) = document.findings  # FreeSWITCH leaves out the whole line
    assert (lost.place, lost.level) == (Place("x.xml", 4), Level.WARNING)


def test_patterns_are_relative_to_the_including_file_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "y.xml").write_text(include("z/*.xml"))
    (tmp_path / "sub" / "z").mkdir()
    for name in ("2", "1"):
        (tmp_path / "sub" / "z" / f"{name}.xml").write_text(f"<n{name}/>\n")
    document = joined(tmp_path, f"<a>\n{include('sub/*.xml')}\n</a>")
    assert [tag for tag, _, _ in shape(document)] == ["a", "n1", "n2"]


@pytest.mark.parametrize("pattern", ["/etc/freeswitch/x.xml", "$${conf_dir}/x.xml", "./x.xml", "$${name}.xml"])
def test_names_of_included_files(tmp_path: Path, pattern: str) -> None:
    text = f'<X-PRE-PROCESS cmd="set" data="name = x"/>\n<a>\n{include(pattern)}\n</a>'
    assert [tag for tag, _, _ in shape(joined(tmp_path, text, x="<b/>"))] == ["a", "b"]


def test_variables_are_filled_in_before_anything_is_parsed(tmp_path: Path) -> None:
    text = """\
<X-PRE-PROCESS cmd="set" data="tag=<b/>"/>
<X-PRE-PROCESS cmd='set' data='tag=<c/>'/>
<!--#set "more=<d/>" -->
<a q="$${none}x${none}">$${tag}$${more}
</a>"""
    document = joined(tmp_path, text)
    assert [tag for tag, _, _ in shape(document)] == ["a", "b", "d"]
    assert document.root.get("q") == "x${none}"


def test_a_line_with_a_command_is_taken_as_a_whole(tmp_path: Path) -> None:
    lines = [f"<b/> {include('x.xml')[1:]}<c/>", f"<b/>{include('x.xml')}<c/>", '<X-NO-PRE-PROCESS cmd="include"/>']
    text = "\n".join(["<a>", *lines, "</a>"])
    assert [tag for tag, _, _ in shape(joined(tmp_path, text, x="<x/>"))] == ["a", "x", "X-NO-PRE-PROCESS"]


def test_a_command_within_a_comment_is_done_all_the_same(tmp_path: Path) -> None:
    text = f"<a>\n<!--\n{include('x.xml')}\n<c/>\n-->\n</a>"
    assert [tag for tag, _, _ in shape(joined(tmp_path, text, x="-->\n<x/>\n<!--\n"))] == ["a", "x"]


def test_old_comments_are_left_out(tmp_path: Path) -> None:
    text = '<a>\n<!--#comment\n<b/> -- >\n--><c/>\n<d/><!--#include "x.xml" --><e/>\n</a>'
    assert [tag for tag, _, _ in shape(joined(tmp_path, text, x="<x/>"))] == ["a", "c", "d", "e", "x"]


def test_behind_an_old_comment_a_line_ends_at_its_first_variable(tmp_path: Path) -> None:
    text = "<a>\n<!--#comment\n--><b q='$${conf_dir}x'/><c/>\ny'/>\n</a>"
    document = joined(tmp_path, text)
    assert [(one.tag, one.get("q")) for one in document.root.walk()] == [("a", ""), ("b", "$${conf_diry")]


def test_an_ampersand_that_stands_for_itself(tmp_path: Path) -> None:
    document = joined(tmp_path, '<a q="1&2&amp;3&lt;&#52;&nbsp;">x & y</a>')
    assert document.root.get("q") == "1&2&3<4&nbsp;"
    assert document.root.text == "x & y"


@pytest.mark.parametrize("command", ["exec", "exec-set", "env-set", "stun-set"])
def test_no_command_is_run(tmp_path: Path, command: str) -> None:
    mark = tmp_path / "ran"
    text = f'<a>\n<X-PRE-PROCESS cmd="{command}" data="x=touch {mark}"/>\n<b q="$${{x}}"/></a>'
    document = joined(tmp_path, text)
    assert not mark.exists()
    if command == "exec":
        assert [(finding.level, finding.place.line) for finding in document.findings] == [(Level.UNKNOWN, 2)]
    else:
        assert document.root.children[0].get("q") == HOLE


# --- hostile ---------------------------------------------------------------------------------------------------------

BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">' + "".join(
    f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 10)
) + "]>\n<a>&x9;</a>"  # fmt: skip  # one expression


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">\n<a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://example.org/x">%x;]>\n<a/>',
        "<a><b></a>",
        "<a",
        "",
        "no xml",
        "<a>" * 100_000,
        '<a q="<"/>',
        "<a q=1/>",
        "<a>\x01</a>",
        "<a>\x00</a>",
        "<a></a><b/>",
    ],
    ids=range(14),
)
def test_what_cannot_be_parsed_is_unknown(tmp_path: Path, text: str) -> None:
    document = joined(tmp_path, text)
    findings = [finding for finding in document.findings if finding.level is Level.UNKNOWN]
    assert {finding.place.file for finding in findings} <= {"freeswitch.xml", "."}
    assert findings
    assert len(str(findings)) < 2000
    assert audit([tmp_path]).count(Level.UNKNOWN) >= 1


def test_an_error_has_its_file_and_line(tmp_path: Path) -> None:
    folder = site(tmp_path, '<context name="public">\n<extension>\n<condition field="<"/>\n</extension></context>')
    (finding,) = [one for one in audit([folder]).findings if one.level is Level.UNKNOWN and "XML" in one.found]
    assert finding.place == Place("dialplan/public.xml", 3)
    assert "forgives" in finding.remedy


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    document = joined(tmp_path, f"<a>\n{include('x.xml')}\n</a>", x=include("y.xml"), y=include("[xy].xml"))
    assert {finding.level for finding in document.findings} == {Level.UNKNOWN}
    deep = {f"d{number}": include(f"d{number + 1}.xml") for number in range(150)}
    (tmp_path / "deep").mkdir()
    document = joined(tmp_path / "deep", f"<a>\n{include('d0.xml')}\n</a>", **deep)
    assert [finding.level for finding in document.findings] == [Level.UNKNOWN]


def test_lines_that_grow_end(tmp_path: Path) -> None:
    lines = ['<X-PRE-PROCESS cmd="set" data="x0=yyyyyyyyyy"/>']
    lines += [f'<X-PRE-PROCESS cmd="set" data="x{number}={f"$${{x{number - 1}}}" * 10}"/>' for number in range(1, 12)]
    document = joined(tmp_path, "\n".join([*lines, "<a>$${x11}</a>"]))
    assert Level.UNKNOWN in [finding.level for finding in document.findings]


def test_odd_files_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.xml")
    (tmp_path / "l.xml").symlink_to(tmp_path / "l.xml")
    (tmp_path / "z.xml").symlink_to("/dev/zero")
    (tmp_path / "b.xml").write_bytes(bytes(range(256)))
    document = joined(tmp_path, "<a>\n" + "\n".join(include(f"{name}.xml") for name in "plzb") + "\n</a>")
    assert [finding.place.line for finding in document.findings if finding.level is Level.UNKNOWN] == [2, 3, 4, 5]


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_ELEMENTS", 10)
    assert Level.UNKNOWN in [one.level for one in joined(tmp_path, f"<a>{'<b/>' * 20}</a>").findings]
    monkeypatch.setattr(documents, "MOST_LINES", 10)
    assert Level.UNKNOWN in [one.level for one in joined(tmp_path, "<a>\n" + "\n" * 20 + "</a>").findings]


# --- which files -----------------------------------------------------------------------------------------------------


def test_which_switch_files_are_of(tmp_path: Path) -> None:
    assert not is_freeswitch([tmp_path])
    (tmp_path / "extensions.conf").write_text("")
    assert not is_freeswitch([tmp_path])
    assert not is_freeswitch([tmp_path / "extensions.conf"])
    (tmp_path / "x.xml").write_text("")
    assert not is_freeswitch([tmp_path])  # an Asterisk with a stray file
    assert is_freeswitch([tmp_path / "x.xml"])
    (tmp_path / "freeswitch.xml").write_text("")
    assert is_freeswitch([tmp_path])  # as FreeSWITCH's own example, which has an extensions.conf too


def test_a_folder_without_the_main_file(tmp_path: Path) -> None:
    folder = site(tmp_path, public(("record_session", "/x.wav")))
    (folder / "freeswitch.xml").unlink()
    assert found(audit([folder]), Level.ERROR) == [("error", 3, "recording-without-gate")]


def test_single_files(tmp_path: Path) -> None:
    folder = site(tmp_path, public(("record_session", "/x.wav"), ("conference", "x@kept")))
    report = audit([folder / "dialplan" / "public.xml"])
    assert found(report, Level.ERROR) == [("error", 3, "recording-without-gate")]
    assert "conference.conf.xml was not given" in report.findings[1].found


def test_no_dialplan(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<configuration name='x'/>")
    with pytest.raises(ConsentError, match="no dialplan"):
        audit([tmp_path])


def test_a_second_context_of_a_name_is_left_out(tmp_path: Path) -> None:
    quiet = public(("answer", ""))
    assert judged(tmp_path, quiet + public(("record_session", "/x"))) == [("warning", 6, "freeswitch-leaves-out")]


def test_the_text_of_an_action_comes_before_its_data(tmp_path: Path) -> None:
    line = '<action application="set" data="a=b">execute_on_answer=record_session /x.wav</action>'
    dialplan = f'<context name="public">\n{extension(line)}</context>'
    assert judged(tmp_path, dialplan) == [("error", 3, "recording-without-gate")]


@pytest.mark.parametrize(("loop", "rows"), [("0", []), ("-1", []), ("2", ["error"]), ("x", [])])
def test_an_action_in_a_loop(tmp_path: Path, loop: str, rows: list[str]) -> None:
    line = action("record_session", "/x.wav").replace("/>", f' loop="{loop}"/>')
    dialplan = f'<context name="public">\n{extension(line)}</context>'
    assert [level for level, _, _ in judged(tmp_path, dialplan)] == rows
