"""Changes to notice files, tried on every notice that is shipped: one place changes, and the result can be read."""

from __future__ import annotations

import difflib
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_consent.core.errors import ConsentError, NoticeError
from ivr_consent.core.notice import (
    CHOICE,
    ELEMENTS,
    PLACEHOLDERS,
    REFERENCE,
    RESULTS,
    Notice,
    missing_elements,
    placeholders,
)
from ivr_consent.core.notice_file import parse_notice
from ivr_consent.notice_edit import TODO, new_notice, remove_take, set_name, set_take, set_text, with_schema

PROMPTS = Path(__file__).parent.parent / "prompts"
SHIPPED = sorted(PROMPTS.glob("*/*.toml"))
ENGLISH = PROMPTS / "en" / "recording.toml"


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def read(text: str) -> Notice:
    notice, problems = parse_notice(tomllib.loads(text), "x.toml")
    assert problems == ()
    assert notice is not None
    return notice


def changed(before: str, after: str) -> list[str]:
    """Lines taken out and put in."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def text_of(notice: Notice, prompt: str) -> str:
    kind, _, name = prompt.partition("-")
    if kind == "choice":
        return str(getattr(notice.choice, name))
    if kind == "result" and name in notice.results:
        return notice.results[name]
    for purpose in notice.purposes.values():
        if prompt.startswith(f"{purpose.id}-"):
            return str(getattr(purpose, prompt.removeprefix(f"{purpose.id}-")))
    return {segment.id: segment.text for segment in (*notice.segments, *notice.long)}[prompt]


PLACES = [(path, prompt) for path in SHIPPED for prompt in read(source(path)).places]
AT = st.sampled_from(PLACES)
some = settings(max_examples=20, deadline=None)  # each reads a whole notice several times
WORDS = st.lists(
    st.sampled_from(
        ("word", '"quoted"', "back\\slash", "{controller}", "ø", "#", "'''", '"""', "[[takes]]", "=", "\n")
    ),
    min_size=1,
    max_size=6,
).map(" ".join)
PLAIN = WORDS.map(lambda text: text.replace("{controller}", "x")).filter(str.strip)


# --- a new language ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("like", SHIPPED, ids=lambda path: path.parent.name)
def test_a_new_notice_has_everything_but_the_words(like: Path) -> None:
    """The same ids, elements and structure; each text a TODO with the placeholders that it needs."""
    text = new_notice("it", "other", like)
    made, model = read(text), read(source(like))
    assert (made.id, made.language) == ("other", "it")
    for name in ("segments", "long"):
        ours, theirs = getattr(made, name), getattr(model, name)
        assert [(s.id, s.elements, s.only_if) for s in ours] == [(s.id, s.elements, s.only_if) for s in theirs]
    assert list(made.places) == list(model.places)
    assert tuple(made.purposes) == tuple(model.purposes)
    assert missing_elements(made, tuple(made.purposes)) == ()
    texts = [*(text_of(made, prompt) for prompt in made.places), *(purpose.name for purpose in made.purposes.values())]
    assert all(text.startswith(TODO) for text in texts)
    for prompt in made.places:
        assert placeholders(text_of(made, prompt)) == placeholders(text_of(model, prompt)), prompt
    assert (made.takes, dict(made.voices)) == ((), {})


def test_above_each_text_stands_what_it_has_to_say() -> None:
    text = new_notice("it", "recording", ENGLISH)
    model = read(source(ENGLISH))
    comments = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    for prompt in model.places:
        assert f"en: {text_of(model, prompt)}" in comments, prompt
    for number, meaning in ELEMENTS.items():
        assert f"element {number}: {meaning}" in comments or number == 11, number
    assert text.count("{key_yes}, and what it does") == 1
    assert all(len(line) <= 120 for line in text.splitlines())
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if TODO in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line


def test_a_new_notice_names_its_schema_first() -> None:
    assert new_notice("it", "recording", ENGLISH).startswith("#:schema ../notice.schema.json\n")


@pytest.mark.parametrize("content", [None, b"\xff", b"[a", b"notice = 'x'\n"])
def test_a_notice_like_none_cannot_be_made(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "recording.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NoticeError):
        new_notice("it", "recording", path)


# --- texts ------------------------------------------------------------------------------------------------------------


def keys_of(prompt: str) -> str:
    return {"choice-yes": " {key_yes}", "choice-no": " {key_no}"}.get(prompt, "")


@some
@given(AT, WORDS.filter(str.strip))
def test_one_text_changes_and_nothing_else(place: tuple[Path, str], words: str) -> None:
    path, prompt = place
    before = source(path)
    after = set_text(before, prompt, words + keys_of(prompt))
    found, old = read(after), read(before)
    assert text_of(found, prompt) == " ".join((words + keys_of(prompt)).split())
    for other in old.places:
        if other != prompt:
            assert text_of(found, other) == text_of(old, other)
    lines = changed(before, after)
    assert len(lines) in (0, 2)
    assert all(
        re.match(r"[-+](text|statement|question|yes|no|otherwise|" + "|".join((*RESULTS, REFERENCE)) + ") = ", x)
        for x in lines
    )
    assert set_text(after, prompt, text_of(old, prompt)) == before


def test_a_text_over_several_lines_is_replaced_whole() -> None:
    before = source(ENGLISH).replace('text = "Nothing is', 'text = """\nNothing is', 1)
    start = before.index('"""')
    end = before.index('"\n', start + 3)
    before = before[:end] + '\n"""  # why' + before[end + 1 :]
    after = set_text(before, "not-started", "Nothing.")
    assert 'text = "Nothing."  # why\n' in after
    assert len(changed(before, after)) == 4


@pytest.mark.parametrize("prompt", ["", "nothing", "training", "choice-maybe", "result-maybe", "takes"])
def test_an_unknown_prompt_is_told_with_those_that_there_are(prompt: str) -> None:
    with pytest.raises(NoticeError, match=r"controller, .*training-question, .*choice-yes, .*result-early"):
        set_text(source(ENGLISH), prompt, "x")


@pytest.mark.parametrize(
    ("prompt", "text", "told"),
    [
        ("controller", " ", "an empty text"),
        ("controller", "x" * 2001, "2001 characters"),
        ("controller", "{boss}", "unknown placeholder"),
        ("controller", "{controller", "braces"),
        ("controller", "a\x1bb", "control character"),
        ("choice-yes", "Press one.", "does not name {key_yes}"),
        ("choice-no", "{key_no} {key_yes}", "names {key_yes} too"),
    ],
)
def test_a_text_that_a_notice_may_not_have_is_refused(prompt: str, text: str, told: str) -> None:
    with pytest.raises(NoticeError, match=re.escape(told)):
        set_text(source(ENGLISH), prompt, text)


def test_what_is_wrong_elsewhere_does_not_stand_in_the_way() -> None:
    """Or no mistake could be mended before all others are."""
    before = source(ENGLISH).replace("[results]", "[results]\nlate = 'x'")
    assert len(changed(before, set_text(before, "controller", "This is {controller}."))) == 2


# --- takes ------------------------------------------------------------------------------------------------------------

SPOKEN = [(path, prompt) for path, prompt in PLACES if not prompt.startswith("choice-")]


@some
@given(st.sampled_from(SPOKEN), PLAIN, PLAIN)
def test_takes_come_change_and_go(place: tuple[Path, str], says: str, more: str) -> None:
    path, prompt = place
    before = source(path)
    with_one = set_take(before, prompt, "takes/a.wav", says)
    assert with_one.startswith(before), "put behind all that is there"
    (take,) = read(with_one).takes
    assert (take.prompt, take.file, take.says) == (prompt, "takes/a.wav", " ".join(says.split()))
    again = set_take(with_one, prompt, "takes/b.wav", f"  {says} ")
    assert changed(with_one, again) == ['-file = "takes/a.wav"\n', '+file = "takes/b.wav"\n']
    with_two = set_take(again, prompt, "takes/c.wav", f"{says} {more}")
    assert [take.file for take in read(with_two).takes] == ["takes/b.wav", "takes/c.wav"]
    assert remove_take(with_two, prompt, f"{says} {more}") == again
    assert remove_take(with_two, prompt) == before
    assert remove_take(with_one, prompt, says) == before


@some
@given(st.lists(st.tuples(st.sampled_from(["controller", "result-early", "long-data"]), PLAIN), max_size=4))
def test_takes_are_those_that_were_set_last(takes: list[tuple[str, str]]) -> None:
    text, wanted = source(ENGLISH), {}
    for number, (prompt, says) in enumerate(takes):
        text = set_take(text, prompt, f"{number}.wav", says)
        wanted[prompt, " ".join(says.split())] = f"{number}.wav"
    assert {(take.prompt, take.says): take.file for take in read(text).takes} == wanted
    for prompt, says in list(wanted)[::-1]:
        text = remove_take(text, prompt, says)
    assert text == source(ENGLISH)


def test_comments_round_a_take_stay() -> None:
    before = source(ENGLISH).replace(
        "[results]",
        '# Anna, in June.\n[[takes]]\nprompt = "controller"\nfile = "a.wav" # old\nsays = "x"\n\n# Results.\n[results]',
    )
    assert read(before).takes[0].file == "a.wav"
    after = set_take(before, "controller", "b.wav", "x")
    assert changed(before, after) == ['-file = "a.wav" # old\n', '+file = "b.wav" # old\n']
    gone = remove_take(after, "controller")
    assert "# Anna, in June.\n" in gone
    assert "# Results.\n[results]" in gone
    added = set_take(before, "rights", "c.wav", "y")
    assert added.index("c.wav") < added.index("# Results.")


@pytest.mark.parametrize(
    ("prompt", "file", "says", "told"),
    [
        ("nothing", "a.wav", "x", "controller"),
        ("choice-yes", "a.wav", "x", "controller"),
        ("controller", "", "x", "sound file"),
        ("controller", "a" * 201, "x", "sound file"),
        ("controller", "a.wav", " ", "an empty text"),
        ("controller", "a.wav", "I am {controller}", "as they were spoken"),
    ],
)
def test_a_take_that_a_notice_may_not_have_is_refused(prompt: str, file: str, says: str, told: str) -> None:
    with pytest.raises(NoticeError, match=told):
        set_take(source(ENGLISH), prompt, file, says)


def test_a_take_that_is_not_there_cannot_go() -> None:
    with pytest.raises(NoticeError, match="no such take"):
        remove_take(source(ENGLISH), "controller")
    with pytest.raises(NoticeError, match="no such take"):
        remove_take(set_take(source(ENGLISH), "controller", "a.wav", "x"), "controller", "y")


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_name_and_schema(path: Path) -> None:
    before = source(path)
    renamed = set_name(before, "mine")
    assert changed(before, renamed) == ['-notice = "recording"\n', '+notice = "mine"\n']
    assert read(renamed).id == "mine"
    lined = with_schema(before)
    assert lined == "#:schema ../notice.schema.json\n" + before
    assert with_schema(lined) == lined
    with pytest.raises(NoticeError):
        set_name(before, "../x")


def test_ends_of_lines_and_a_byte_order_mark_stay() -> None:
    before = "\ufeff" + source(ENGLISH).replace("\n", "\r\n")
    after = set_take(set_text(before, "controller", "This is {controller}."), "rights", "a.wav", "x")
    assert after.startswith("\ufeff#")
    assert after.count("\n") == after.count("\r\n")
    assert remove_take(after, "rights").count("\r\n") == before.count("\r\n")


@pytest.mark.parametrize("text", ["[a", "a = 1\na = 2", "\x00"])
def test_what_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(ConsentError, match="TOML"):
        set_text(text, "controller", "x")
    with pytest.raises(ConsentError, match="TOML"):
        set_take(text, "controller", "a.wav", "x")
    with pytest.raises(ConsentError, match="TOML"):
        remove_take(text, "controller")
    with pytest.raises(ConsentError, match="TOML"):
        set_name(text, "x")


@some
@given(
    st.dictionaries(st.sampled_from(("segments", "long", "purposes", "takes")), st.sampled_from((1, ["x"], [[]], {})))
)
def test_a_notice_of_another_form_is_refused_and_not_stumbled_over(tables: dict[str, object]) -> None:
    text = "\n".join(f"{name} = {str(value).replace(chr(39), chr(34))}" for name, value in tables.items())
    with pytest.raises(NoticeError):
        set_text(text, "controller", "x")
    with pytest.raises(ConsentError):
        set_take(text, "controller", "a.wav", "x")


def test_every_placeholder_and_choice_is_somewhere_in_the_english_notice() -> None:
    """Else the properties above would not try them."""
    notice = read(source(ENGLISH))
    used = frozenset[str]().union(*(placeholders(text_of(notice, prompt)) for prompt in notice.places))
    assert used == PLACEHOLDERS
    assert {f"choice-{name}" for name in CHOICE} <= set(notice.places)
