"""Changes to TOML files that are kept by hand: what was asked for, and not a byte besides."""

from __future__ import annotations

import difflib
import json
import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_consent.core.errors import ConsentError
from ivr_consent.toml_edit import append_table, literal, remove_table, set_value
from ivr_consent.toml_lines import Path

DOCUMENT = """\
# head
top = 1   # a comment

[prompts]   # more
audio = "/var"  # here
# directory = "prompts"

# About facts.
[facts.default]
  controller = "x"

[[takes]]
prompt = "a"
says = '''
one''' # end

# Between.

[results]
x = "1"

[[takes]]
prompt = "b"

# After.
[late]
"""


def changed(before: str, after: str) -> list[str]:
    """Lines taken out and put in."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def test_a_value_is_replaced_in_its_place() -> None:
    after = set_value(DOCUMENT, ("prompts", "audio"), 'a "new" one\n')
    assert changed(DOCUMENT, after) == ['-audio = "/var"  # here\n', '+audio = "a \\"new\\" one\\n"  # here\n']
    after = set_value(DOCUMENT, ("takes", 0, "says"), "two")
    assert changed(DOCUMENT, after) == ["-says = '''\n", "-one''' # end\n", '+says = "two" # end\n']
    after = set_value(DOCUMENT, ("takes", 1, "prompt"), "c")
    assert changed(DOCUMENT, after) == ['-prompt = "b"\n', '+prompt = "c"\n']


def test_a_key_takes_the_place_of_the_comment_that_shows_it() -> None:
    after = set_value(DOCUMENT, ("prompts", "directory"), "own")
    assert changed(DOCUMENT, after) == ['-# directory = "prompts"\n', '+directory = "own"\n']


@pytest.mark.parametrize(
    ("path", "added"),
    [
        (("prompts", "versions"), ['+versions = "x"\n']),
        (("facts", "default", "authority"), ['+  authority = "x"\n']),
        (("late", "a b"), ['+"a b" = "x"\n']),
        (("takes", 0, "file"), ['+file = "x"\n']),
        (("new", "key"), ["+\n", "+[new]\n", '+key = "x"\n']),
        (("facts", "da", "authority"), ["+\n", "+[facts.da]\n", '+authority = "x"\n']),
        (("facts", "other"), ["+\n", "+[facts]\n", '+other = "x"\n']),
    ],
)
def test_a_key_that_is_not_there_is_the_last_of_its_table(path: Path, added: list[str]) -> None:
    after = set_value(DOCUMENT, path, "x")
    assert changed(DOCUMENT, after) == added
    found: Any = tomllib.loads(after)
    for part in path:
        found = found[part]
    assert found == "x"


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("", ("a", "b"), '[a]\nb = "x"\n'),
        ("[a]", ("a", "b"), '[a]\nb = "x"\n'),
        ("a = { }", ("a", "b"), 'a = { b = "x" }'),
        ("a = {}", ("a", "b"), 'a = { b = "x" }'),
        ("a = { c = 1 } # d", ("a", "b"), 'a = { c = 1, b = "x" } # d'),
        ("[[a]]\nl = [ 1 ]", ("a", 0, "b"), '[[a]]\nl = [ 1 ]\nb = "x"\n'),
        ("[a]\r\nc = 1\r\n\r\n[d]\r\n", ("a", "b"), '[a]\r\nc = 1\r\nb = "x"\r\n\r\n[d]\r\n'),
        ("\ufeff[a]\nb = 1\n", ("a", "b"), '\ufeff[a]\nb = "x"\n'),
        ('[a]\n#b="old"', ("a", "b"), '[a]\nb = "x"'),
        # what looks like a comment in a text is none
        ("[a]\nc = '''\n# b = 1\n'''\n", ("a", "b"), "[a]\nc = '''\n# b = 1\n'''\nb = \"x\"\n"),
        # nor is the one of another table
        ("[a]\nc = 1\n\n[d]\n# b = 1\n", ("a", "b"), '[a]\nc = 1\nb = "x"\n\n[d]\n# b = 1\n'),
    ],
)
def test_ways_in_which_a_table_is_written(before: str, path: Path, after: str) -> None:
    assert set_value(before, path, "x") == after


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.c = 1", ("a", "b")),  # would need a heading that TOML refuses
        ("a = 1", ("a", "b")),
        ("[[a]]", ("a", 1, "b")),
        ("[[a]]", ("a", "b")),
        ("[a", ("a", "b")),
        ("a = 1", ("b",)),
        ("a = " + "[" * 5000, ("a",)),
    ],
)
def test_what_cannot_be_changed_alone_is_refused(text: str, path: Path) -> None:
    with pytest.raises(ConsentError):
        set_value(text, path, "x")


def test_a_table_is_put_behind_the_last_of_its_name() -> None:
    after = append_table(DOCUMENT, "takes", {"prompt": "c", "a b": "d"})
    assert sorted(changed(DOCUMENT, after)) == ["+\n", '+"a b" = "d"\n', "+[[takes]]\n", '+prompt = "c"\n']
    assert after.index('prompt = "b"') < after.index('prompt = "c"') < after.index("# After.")
    assert remove_table(after, "takes", 2) == DOCUMENT


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '\n[[t]]\nk = "v"\n'),
        ("a = 1\n", 'a = 1\n\n[[t]]\nk = "v"\n'),
        ("a = 1", 'a = 1\n\n[[t]]\nk = "v"\n'),
        ("a = 1\r\n", 'a = 1\r\n\r\n[[t]]\r\nk = "v"\r\n'),
        ("[[t]]", '[[t]]\n\n[[t]]\nk = "v"\n'),
    ],
)
def test_the_first_table_of_its_name_is_the_last_of_the_file(before: str, after: str) -> None:
    found = append_table(before, "t", {"k": "v"})
    assert found.lstrip() == after.lstrip() if not before else found == after


def test_a_table_is_taken_out_and_its_neighbours_comments_stay() -> None:
    after = remove_table(DOCUMENT, "takes", 0)
    out = ["-\n", "-[[takes]]\n", "-one''' # end\n", '-prompt = "a"\n', "-says = '''\n"]
    assert sorted(changed(DOCUMENT, after)) == out
    assert "# Between." in after
    after = remove_table(DOCUMENT, "takes", 1)
    assert sorted(changed(DOCUMENT, after)) == ["-\n", "-[[takes]]\n", '-prompt = "b"\n']
    assert "# After." in after
    assert remove_table("[[t]]\nk = 1\n\n# x\n[a]\n", "t", 0) == "# x\n[a]\n"
    assert remove_table("[[t]]\r\nk = 1\r\n\r\n\r\n[[t]]\r\n", "t", 1) == "[[t]]\r\nk = 1\r\n\r\n"
    assert remove_table("[[t]]", "t", 0) == ""


@pytest.mark.parametrize("text", ["t = [{k = 1}]", "a = 1", "[t]", "[[t]]\n[t.u]\nk = 1"])
def test_what_is_not_written_as_tables_is_refused(text: str) -> None:
    with pytest.raises(ConsentError, match="by hand"):
        remove_table(text, "t", 0)


@settings(deadline=None)
@given(st.text())
def test_a_literal_is_the_text_on_one_line(text: str) -> None:
    written = literal(text)
    assert "\n" not in written
    assert tomllib.loads(f"a = {written}") == {"a": text}


WORDS = st.sampled_from(("a", "b", "c d", "#", "[x]"))
TREES: st.SearchStrategy[Any] = st.dictionaries(
    WORDS,
    st.one_of(
        st.integers(0, 9),
        WORDS,
        st.lists(WORDS, max_size=2),
        st.dictionaries(WORDS, WORDS, max_size=2),
        st.lists(st.dictionaries(WORDS, WORDS, max_size=2), min_size=1, max_size=3),
    ),
    max_size=4,
)


def leaves(value: Any, path: Path = ()) -> list[Path]:
    """Every value that is neither a table nor a list."""
    if not isinstance(value, dict | list):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [below for key, item in items for below in leaves(item, (*path, key))]


@settings(max_examples=200, deadline=None)
@given(TREES, st.data())
def test_one_value_changes_and_nothing_else(tree: dict[str, Any], data: st.DataObject) -> None:
    """Of whatever document: what it means afterwards is what it meant, but for the one value."""
    text = "# head\n" + tomlkit.dumps(tree) + "# tail\n"
    places = leaves(tree)
    if not places:
        return
    path = data.draw(st.sampled_from(places))
    new = data.draw(st.text(max_size=5))
    after = set_value(text, path, new)
    wanted: Any = json.loads(json.dumps(tree))
    table = wanted
    for part in path[:-1]:
        table = table[part]
    table[path[-1]] = new
    assert tomllib.loads(after) == wanted
    assert after.startswith("# head\n")
    assert after.endswith("# tail\n")
    assert abs(len(changed(text, after))) <= 2 + text.count("\n")
