"""The rules for a notice's words: what they catch, and what near to it they let pass.

Sentences by language and rule stand in ``data/wording.toml``. Each is put into a notice that has no other words.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.errors import Problem
from ivr_consent.core.notice import Notice, Script, compose
from ivr_consent.core.notice_file import parse_notice
from ivr_consent.lexicon import KINDS, LANGUAGES, lexicon, read
from ivr_consent.lexicons import authorities, letters
from ivr_consent.lexicons.alike import difference, unlike
from ivr_consent.lexicons.index import alternatives, heads
from ivr_consent.lexicons.numbers import joined, may_be_number, number_words
from ivr_consent.wording import FINDINGS, QUOTED, LineRules, quoted, wording

PROMPTS = Path(__file__).parent.parent / "prompts"
SHIPPED = sorted(path.parent.name for path in PROMPTS.glob("*/recording.toml"))
SENTENCES: dict[str, dict[str, list[str]]] = tomllib.loads(
    (Path(__file__).parent / "data" / "wording.toml").read_text(encoding="utf-8")
)
KEYS = {"yes": "1", "no": "2", "repeat": "3", "long": "4", "language": "5"}
FACTS = {
    "controller": "Maybe Discount Gifts Ltd, 90 Days Street",
    "retention_days": "30",
    "authority": "Datatilsynet",
    "recipients": "A",
    "withdrawal_contact": "70 10 20 30",
    "rights_contact": "70 10 20 31",
    "web_address": "example.org/7",
} | {f"key_{name}": key for name, key in KEYS.items()}
"""Facts hold words that a rule would catch in a text: what a company is called is no promise."""

TITLES = {
    "hedge": {FINDINGS["vague"][0], FINDINGS["modal"][0]},
    "passive": {FINDINGS["passive"][0]},
    "weighing": {FINDINGS["weighing"][0]},
    "pressure": {FINDINGS["pressure"][0]},
}

Outcome = tuple[tuple[Problem, ...], tuple[Problem, ...]]


def rules(**changes: Any) -> LineRules:
    given: dict[str, Any] = {
        "keys": KEYS,
        "languages": 2,
        "retention_days": 30,
        "authority": FACTS["authority"],
        "next_menu": frozenset(),
        "authorities": (),
    }
    return LineRules(**(given | changes))


def bare(language: str = "en", extra: str = "", **changes: Any) -> dict[str, Any]:
    """A notice with all elements, in signs and placeholders rather than in words; ``extra`` is one segment more."""
    document: dict[str, Any] = {
        "notice": "recording",
        "language": language,
        "segments": [
            {"id": "most", "elements": [1, 2, 4, 5, 7, 8, 10, 12], "text": "{controller}. {recipients}."},
            {"id": "days", "elements": [6], "text": "{retention_days}."},
            {"id": "rights", "elements": [9], "text": "{authority}."},
        ],
        "purposes": [{"id": "p", "name": "p", "statement": "P.", "question": "P?"}],
        "choice": {"yes": "{key_yes}: A.", "no": "{key_no}: B.", "otherwise": "C."},
        "long": [{"id": "more", "text": "D."}],
        "results": dict.fromkeys(("granted", "declined", "unrecorded", "again", "early"), "E."),
    }
    document |= changes
    if extra:
        document["segments"] = [*document["segments"], {"id": "extra", "text": extra}]
    return document


def spoken(document: dict[str, Any], facts: Mapping[str, str] = FACTS) -> tuple[Notice, Script]:
    notice, problems = parse_notice(document, "notice.toml")
    assert notice is not None, problems
    script, lacking = compose(notice, tuple(notice.purposes), facts, several_languages=True)
    assert script is not None, lacking
    return notice, script


def told(notice: Notice, script: Script, given: LineRules, durations_ms: Mapping[str, int] | None = None) -> Outcome:
    """Errors and advice, but for errors on answers: the bare notice has none, they are tested below."""
    errors, advice = wording(notice, script, given, durations_ms)
    return tuple(each for each in errors if not each.found.startswith(("does not say", "does not tell"))), advice


def checked(document: dict[str, Any], facts: Mapping[str, str] = FACTS, **changes: Any) -> Outcome:
    return told(*spoken(document, facts), rules(**changes))


def found(outcome: tuple[Problem, ...]) -> list[str]:
    return [problem.found for problem in outcome]


def test_the_bare_notice_has_nothing_to_tell_of() -> None:
    for language in LANGUAGES:
        assert checked(bare(language)) == ((), ())


def test_every_language_has_sentences_for_every_rule() -> None:
    assert set(SENTENCES) == set(LANGUAGES)
    for by_kind in SENTENCES.values():
        assert {kind for kind, sentences in by_kind.items() if len(sentences) >= 4} == {
            *TITLES,
            "days",
            "keys",
            "spared",
        }


# --- sentences --------------------------------------------------------------------------------------------------------


def errors_of(language: str, sentence: str) -> tuple[Problem, ...]:
    """What is wrong with a sentence; all of it is told where the sentence stands, and with a remedy."""
    errors, _ = checked(bare(language, sentence))
    assert all(problem.where == "notice.toml: segments[4].text" and problem.remedy for problem in errors), errors
    return errors


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TITLES)
def test_vague_passive_and_pressing_words_are_wrong(language: str, kind: str) -> None:
    """R2, R3, R5: present tense, no consent by silence, neither reward nor penalty."""
    missed = [
        sentence
        for sentence in SENTENCES[language][kind]
        if not TITLES[kind] & {problem.found.partition(": ")[0] for problem in errors_of(language, sentence)}
    ]
    assert missed == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_days_than_the_configured_are_wrong(language: str) -> None:
    """R14: what is said is what is kept."""
    for sentence in SENTENCES[language]["days"]:
        (problem,) = errors_of(language, sentence)
        assert "and the configuration keeps 30 days" in problem.found
        assert "{retention_days}" in problem.remedy


@pytest.mark.parametrize("language", LANGUAGES)
def test_keys_that_the_line_does_not_have_are_wrong(language: str) -> None:
    for sentence in SENTENCES[language]["keys"]:
        (problem,) = errors_of(language, sentence)
        assert "which this line does not have" in problem.found
        assert "1 (yes), 2 (no)" in problem.remedy


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_near_to_it_passes(language: str) -> None:
    caught = {sentence: found(errors_of(language, sentence)) for sentence in SENTENCES[language]["spared"]}
    assert {sentence: errors for sentence, errors in caught.items() if errors} == {}


@pytest.mark.parametrize("language", SHIPPED)
@pytest.mark.parametrize("several", [False, True])
def test_the_shipped_notices_pass(language: str, several: bool) -> None:
    """R2, R5: what this package ships is worded as it asks of others."""
    document = tomllib.loads((PROMPTS / language / "recording.toml").read_text(encoding="utf-8"))
    notice, problems = parse_notice(document, language)
    assert notice is not None, problems
    script, lacking = compose(notice, tuple(notice.purposes), FACTS, several_languages=several)
    assert script is not None, lacking
    errors, advice = wording(notice, script, rules(languages=1 + several))
    assert errors == ()
    assert not [problem for problem in advice if "differ" in problem.found or "no " + repr(language) in problem.found]


def test_names_are_not_searched_but_recipients_are() -> None:
    facts = FACTS | {"recipients": "the agent and possibly others"}
    errors, _ = checked(bare(), facts)
    assert found(errors) == ['vague: "possibly"']
    assert errors[0].where == "notice.toml: segments[1].text"


def test_each_place_is_looked_at() -> None:
    """A phrase is found in every text that is spoken, and told where it stands."""
    places = {
        "segments[5].text": bare(segments=[*bare()["segments"], {"id": "a", "text": "X."}], extra="Maybe."),
        "purposes[1].statement": bare(purposes=[{"id": "p", "name": "p", "statement": "Maybe.", "question": "P?"}]),
        "purposes[1].question": bare(purposes=[{"id": "p", "name": "p", "statement": "P.", "question": "Maybe?"}]),
        "choice.yes": bare(choice={"yes": "{key_yes}: maybe.", "no": "{key_no}: B.", "otherwise": "C."}),
        "choice.otherwise": bare(choice={"yes": "{key_yes}: A.", "no": "{key_no}: B.", "otherwise": "Maybe."}),
        "long[1].text": bare(long=[{"id": "more", "text": "Maybe."}]),
        "results.declined": bare(results=bare()["results"] | {"declined": "Maybe."}),
    }
    for place, document in places.items():
        assert f"notice.toml: {place}" in [problem.where for problem in checked(document)[0]], place


def test_only_what_the_line_says_is_looked_at() -> None:
    purposes = [*bare()["purposes"], {"id": "other", "name": "o", "statement": "Maybe.", "question": "Q?"}]
    notice, _ = parse_notice(bare(purposes=purposes), "notice.toml")
    assert notice is not None
    script, _ = compose(notice, ("p",), FACTS, several_languages=False)
    assert script is not None
    assert told(notice, script, rules()) == ((), ())


def test_a_quotation_is_short_and_printable() -> None:
    assert quoted("a" * 200) == f'"{"a" * (QUOTED - 3)}..."'
    assert quoted("a\x1b[31mb\u202e") == '"a?[31mb?"'
    errors, _ = checked(bare(extra=f"By staying on the {'line' * 30} you consent."))
    (problem,) = errors
    assert len(problem.found) <= QUOTED + len("takes staying or silence for consent: ") + 2


def test_apostrophes_and_hyphens_of_every_kind_are_read() -> None:
    for sentence in ("We can’t help you.", "We can't help you.", "We can\u00a0not help you."):
        assert checked(bare(extra=sentence))[0] != ()
    assert checked(bare("fr", "Aidez\u2011nous."))[0] != ()


def test_a_country_or_another_name_of_the_language_has_the_same_words() -> None:
    assert found(checked(bare("de-AT", "Vielleicht."))[0]) == ['vague: "Vielleicht"']
    assert found(checked(bare("nb", "Kanskje."))[0]) == ['vague: "Kanskje"']


def test_a_language_without_words_is_told() -> None:
    errors, advice = checked(bare("xx", "This may be recorded."))
    assert errors == ()
    (problem,) = advice
    assert problem.where == "notice.toml"
    assert problem.found == "the wording rules know no 'xx'"


# --- days -------------------------------------------------------------------------------------------------------------


def days(text: str, language: str = "en", retention: int = 30) -> list[str]:
    segments = [segment | ({"text": text} if segment["id"] == "days" else {}) for segment in bare()["segments"]]
    facts = FACTS | {"retention_days": str(retention)}
    return found(checked(bare(language, segments=segments), facts, retention_days=retention)[0])


@pytest.mark.parametrize(
    ("text", "retention"),
    [
        ("Kept for {retention_days} days.", 30),
        ("Kept for 30 days.", 30),
        ("Kept for thirty days.", 30),
        ("Kept for 30 (thirty) days.", 30),
        ("Kept for thirty (30) calendar days.", 30),
        ("Kept for one hundred and eighty days.", 180),
        ("Kept for 1,000 days.", 1000),
        ("Kept for 14 days, that is two weeks.", 14),
        ("Kept for {retention_days} days, that is one year.", 365),
        ("Kept for {retention_days} days, that is six months.", 180),
        ("A {retention_days}-day period.", 30),
    ],
)
def test_the_days_of_the_configuration_in_digits_or_words(text: str, retention: int) -> None:
    assert days(text, retention=retention) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Kept as the law says.", "but not the 30 days"),
        ("Kept for 30 months.", "but not the 30 days"),
        ("Kept for {retention_days} months.", 'says "{retention_days} months"'),
        ("Kept for {retention_days} days, at least 60 days.", 'says "60 days"'),
        ("{retention_days} days. Kept for two weeks.", 'says "two weeks"'),
        ("{retention_days} days. Kept for 96 hours.", 'says "96 hours"'),
        ("{retention_days} days. Kept for half a year.", 'says "half a year"'),
        ("{retention_days} days. Answered within a year.", 'says "a year"'),
    ],
)
def test_another_period_where_the_days_are_said_is_wrong(text: str, wrong: str) -> None:
    assert any(wrong in problem for problem in days(text))


def test_a_period_that_is_not_how_long_it_is_kept_passes_elsewhere() -> None:
    for sentence in (
        "You are called back within two weeks.",
        "Since five years we train agents.",
        "Open 24 hours a day.",
        "An answer on how long it is kept comes within two months.",
    ):
        assert checked(bare(extra=sentence))[0] == ()
    for sentence in ("The recording is stored for two weeks.", "After 24 hours it is deleted."):
        assert len(checked(bare(extra=sentence))[0]) == 1


@pytest.mark.parametrize(
    ("language", "word", "number"),
    [
        ("da", "tres", 60),
        ("da", "enogtredive", 31),
        ("da", "hundrede og tyve", 120),
        ("de", "dreißig", 30),
        ("de", "hundertachtzig", 180),
        ("en", "a hundred and eighty", 180),
        ("en", "Twenty-Eight", 28),
        ("es", "treinta y un", 31),
        ("es", "veintidos", 22),
        ("fi", "yhdeksänkymmenen", 90),
        ("fr", "septante-deux", 72),
        ("fr", "quatre-vingt-dix", 90),
        ("it", "trentun", 31),
        ("nl", "achtentwintig", 28),
        ("no", "førti", 40),
        ("no", "tredve", 30),
        ("pl", "trzydziestu", 30),
        ("pl", "sto osiemdziesiąt", 180),
        ("sv", "tjugoen", 21),
    ],
)
def test_numbers_as_words(language: str, word: str, number: int) -> None:
    assert number_words(language)[joined(language, word.replace("-", " ").split())] == number
    assert may_be_number(language, word.replace("-", " ").split()[-1])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_word_begins_as_it_should(language: str) -> None:
    assert all(may_be_number(language, word) for word in number_words(language) if not word.startswith("a"))
    assert set(number_words(language).values()) >= set(range(2, 401))


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Press 0 for the operator.", "names the key 0"),
        ("Press zero to speak to us.", "names the key 0"),
        ("Press # to end.", "names the key #"),
        ("Press the hash key.", "names the key #"),
        ("Press {key_yes} for yes or 9 for no.", "names the key 9"),
        ("Press, on your telephone, the 6.", "names the key 6"),
        ("Button 8 for no.", "names the key 8"),
    ],
)
def test_wrong_keys(text: str, wrong: str) -> None:
    """R5: neither 0 nor #, and no key that does nothing."""
    (problem,) = checked(bare(extra=text))[0]
    assert problem.found.startswith(wrong)
    reason = {"names the key 0": "0 asks for the operator", "names the key #": "# ends an input"}
    assert problem.remedy.startswith(reason.get(wrong, "write keys as {key_yes}"))


@pytest.mark.parametrize(
    "text",
    [
        "Press {key_yes} or {key_no}.",
        "Press one for yes or two for no.",
        "Press the two keys at once.",
        "Press it 7 times.",
        "Dial 7 70 10 20.",
        "Press yes. Article 6, paragraph 1.",
        "The reference number 7 is stored.",
    ],
)
def test_numbers_that_are_no_wrong_keys(text: str) -> None:
    assert checked(bare(extra=text))[0] == ()


def test_a_key_for_what_is_not_there_is_wrong() -> None:
    language = bare(extra="{key_language}: F.")
    assert found(checked(language, languages=1)[0]) == ["names {key_language}, and the line has one language"]
    assert checked(language, languages=2)[0] == ()
    long = bare(extra="{key_long}: F.")
    assert found(checked(long | {"long": []})[0]) == ["names {key_long}, and the notice has no long version"]
    assert checked(long)[0] == ()


def test_a_condition_keeps_the_language_key_from_lines_with_one_language() -> None:
    segment = {"id": "language", "only_if": "several_languages", "text": "{key_language}: F."}
    notice, _ = parse_notice(bare(segments=[*bare()["segments"], segment]), "notice.toml")
    assert notice is not None
    for several in (False, True):
        script, _ = compose(notice, ("p",), FACTS, several_languages=several)
        assert script is not None
        assert told(notice, script, rules(languages=1 + several))[0] == ()


def test_the_next_menu_does_not_use_the_key_that_means_yes() -> None:
    errors, advice = checked(bare(), next_menu=frozenset("12"))
    assert [(problem.where, problem.found) for problem in errors] == [
        ("next_menu", "the menu behind the notice uses 1 too, which here means yes")
    ]
    assert found(advice) == ["the menu behind the notice uses 2 too, which here means no"]
    assert checked(bare(), next_menu=frozenset("34567890*#")) == ((), ())


# --- yes and no -------------------------------------------------------------------------------------------------------


def choice(yes: str, no: str, **changes: Any) -> Outcome:
    return checked(bare(choice={"yes": yes, "no": no, "otherwise": "C."}, **changes))


def test_the_keys_of_the_choice() -> None:
    assert choice("Press {key_yes} for yes.", "Press {key_no} for no.") == ((), ())
    errors, _ = choice("Press {key_yes} for yes, not 2.", "Press {key_no} for no, not 3.")
    assert found(errors)[0].startswith("names the key 2, which means no")
    assert errors[0].where == "notice.toml: choice.yes"
    assert len(errors) == 1
    other = FACTS | {"key_yes": "9"}  # what is spoken has another key than the line
    (problem,) = checked(bare(), other)[0]
    assert problem.found == 'does not name the key 1: "9: A."'
    assert problem.where == "notice.toml: choice.yes"


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("Press 1 for yes.", "Press 2 for no."),
        ("Press 1 for YES.", "Press 2 for NO."),
        ("Press 1 if you consent.", "Press 2 if you do not."),
        ("For yes press 1.", "For no press 2."),
        ("If you consent, press 1.", "If you decline, press 2."),
        ("Please press 1 for yes.", "Please press 2 for no."),
        ("Yes: 1.", "No: 2."),
        ("Press * for yes.", "Press 2 for no."),
    ],
)
def test_yes_and_no_alike(yes: str, no: str) -> None:
    assert unlike("en", yes, no) == ()


@pytest.mark.parametrize(
    ("yes", "no", "wrong"),
    [
        ("Press 1 for yes.", "Press 2 for no, and go on as you are without it.", "differ by"),
        ("Press 1 for yes.", "For no, press 2.", "not worded alike"),
        ("Press 1 for yes.", "Hit 2, no.", "not worded alike"),
        ("Press 1 for yes.", "Press 2. For no.", "not worded alike"),
        ("Press 1 for yes!", "Press 2 for no.", "stressed by '!'"),
        ("Press 1 for YES.", "Press 2 for not.", "stressed by 'YES'"),
        ("Simply press 1 for yes.", "Press only 2 for no.", "stressed by 'simply'"),
        ("Please press 1 for yes.", "Press 2 for not so.", "stressed by 'please'"),
    ],
)
def test_yes_and_no_unlike(yes: str, no: str, wrong: str) -> None:
    """R5: yes and no in one breath, in the same words."""
    assert any(wrong in problem for problem, _ in unlike("en", yes, no))


def test_yes_and_no_unlike_is_told_at_the_choice() -> None:
    errors, _ = choice("Press {key_yes} for yes!", "Press {key_no} for no.")
    assert [problem.where for problem in errors] == ["notice.toml: choice.yes"]
    assert '"Press 1 for yes!" and "Press 2 for no."' in errors[0].found


def test_a_small_difference_is_advised_on() -> None:
    yes, no = "Press {key_yes} to agree here.", "Press {key_no} to disagree here."
    assert 0.15 < difference(yes.format(**FACTS), no.format(**FACTS)) <= 0.30
    errors, advice = choice(yes, no)
    assert errors == ()
    assert any("differ by" in problem for problem in found(advice))
    assert difference("yes", "no") == 0.0


# --- the authority ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Datatilsynet",
        "datatilsynets",
        "Datatilsynet, Carl Jacobsens Vej 35, 2500 Valby",
        "the Danish Data Protection Agency",
        "Integritetsskyddsmyndigheten",
        "IMY",
        "die Bundesbeauftragte für den Datenschutz und die Informationsfreiheit",
        "beim Landesbeauftragten für Datenschutz und Informationsfreiheit Nordrhein-Westfalen",
        "dem Bayerischen Landesamt für Datenschutzaufsicht",
        "CNIL",
        "la Commission nationale de l’informatique et des libertés",
        "tietosuojavaltuutetun toimistoon",
        "Prezesa Urzędu Ochrony Danych Osobowych",
        "Information Commissioner's Office",
        "Autoriteit Persoonsgegevens",
        "Agencia Española de Protección de Datos",
        "GARANTE PER LA PROTEZIONE DEI DATI PERSONALI",
        "Eidgenössischer Datenschutz- und Öffentlichkeitsbeauftragter",
    ],
)
def test_authorities_that_exist(name: str) -> None:
    facts = FACTS | {"authority": name}
    assert checked(bare(), facts, authority=name) == ((), ())


@pytest.mark.parametrize("name", ["the data protection authority", "the Data Protection Agency", "Aufsichtsbehörde"])
def test_an_authority_without_a_name_is_advised_on(name: str) -> None:
    errors, advice = checked(bare("da"), FACTS | {"authority": name}, authority=name)
    assert errors == ()
    (problem,) = advice
    assert problem.where == "notice.toml: segments[3].text"
    assert problem.remedy.endswith('usual is "Datatilsynet"')


@pytest.mark.parametrize("name", ["the Office of Truth", "Consumer Agency", "Datainspektionen", "ico", "Data"])
def test_an_authority_that_does_not_exist_is_wrong(name: str) -> None:
    (problem,) = checked(bare("sv"), FACTS | {"authority": name}, authority=name)[0]
    assert problem.found == f'no supervisory authority is known as "{name}"'
    assert "Integritetsskyddsmyndigheten" in problem.remedy
    assert "prompts.authorities" in problem.remedy


def test_a_site_may_declare_an_authority() -> None:
    name = "the Office of Truth"
    facts = FACTS | {"authority": name}
    assert checked(bare(), facts, authority=name, authorities=("Office of Truth",)) == ((), ())


def test_the_segment_on_rights_names_the_authority() -> None:
    """R2, element 9: a complaint to the named authority, or where to hear of it."""

    def rights(text: str, **changes: Any) -> list[str]:
        segments = [segment | ({"text": text} if segment["id"] == "rights" else {}) for segment in bare()["segments"]]
        return found(checked(bare(segments=segments, **changes))[0])

    assert rights("Complain to Datatilsynet.") == []
    assert rights("You have rights.") == ["names no supervisory authority to complain to (element 9)"]
    assert rights("Complain to the CNIL.") == [
        'names another supervisory authority than the configuration, which says "Datatilsynet"'
    ]
    assert rights("Rights: {key_long}.", long=[{"id": "more", "text": "{authority}."}]) == []
    assert rights("Rights: {key_long}.") == ["names no supervisory authority to complain to (element 9)"]


def test_every_known_name_is_found_in_itself() -> None:
    for code, names in authorities.AUTHORITIES.items():
        for name in names:
            assert code in authorities.named(name), name
    for language in LANGUAGES:
        of = lexicon(language)
        assert of is not None
        assert all(authorities.named(name) for name in of.words.authorities)


# --- letters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_letters_of_another_script_are_named(language: str) -> None:
    errors, _ = checked(bare(language, "Hall\u043e."))
    assert found(errors) == ["CYRILLIC SMALL LETTER O in 'Hall\u043e'"]
    assert errors[0].where == "notice.toml: segments[4].text"


@pytest.mark.parametrize(
    ("language", "text", "wrong"),
    [
        ("en", "\u041f\u0440\u0438\u0432\u0435\u0442.", "CYRILLIC CAPITAL LETTER PE"),
        ("en", "re\u03bford.", "GREEK SMALL LETTER OMICRON"),
        ("en", "a zero\u200bwidth.", "ZERO WIDTH SPACE"),
        ("en", "soft\u00adhyphen.", "SOFT HYPHEN"),
        ("en", "\u202etxet.", "RIGHT-TO-LEFT OVERRIDE"),
        ("en", "private \ue000.", "U+E000"),
        ("en", "\uff11 a.", "FULLWIDTH DIGIT ONE"),
        ("en", "con\ufb01rm.", "LATIN SMALL LIGATURE FI"),
        ("en", "m\u0336ay.", "COMBINING LONG STROKE OVERLAY"),
        ("en", "\U0001d42becord.", "MATHEMATICAL BOLD SMALL R"),
        ("el", "\u03ba\u03b1\u03bba.", "LATIN SMALL LETTER A"),
        ("el", "\u03ba\u03b1\u03bb\u03b1 \u043c\u0438\u0440.", "CYRILLIC SMALL LETTER EM"),
        ("xx", "hello \u043c\u0438\u0440.", "CYRILLIC SMALL LETTER EM"),
        ("sr-Latn", "\u043f\u043e\u0437\u0438\u0432.", "CYRILLIC SMALL LETTER PE"),
    ],
)
def test_strange_letters(language: str, text: str, wrong: str) -> None:
    assert letters.strangers(language, text)[0][0].startswith(wrong)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "“Plain” – text… it’s 5 € for Århus\u00a0A/S, 1º, Cafe\u0301."),
        ("vi", "Cuộc gọi này."),
        ("el", "Καλημέρα, Acme Ltd."),
        ("ja", "録音はデータです Acme。"),
        ("sr-Latn", "Poziv."),
        ("az", "Zəng."),
        ("xx", "Anything in one script."),
        ("xy", "録音は データ"),
    ],
)
def test_letters_of_the_language(language: str, text: str) -> None:
    assert letters.strangers(language, text) == ()


def test_few_of_many_strange_letters_are_told() -> None:
    assert len(letters.strangers("en", "один два три четыре пять")) == letters.MOST_SHOWN
    assert len(letters.strangers("en", "д" * 2000)[0][0]) < 100


# --- what was left over -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["TODO.", "Say FIXME here.", "TBD.", "Lorem ipsum dolor.", "Call xxx.", "...", "[name] here.", "<who>.", "A??"],
)
def test_what_is_left_over_is_wrong(text: str) -> None:
    (problem,) = checked(bare("es", text))[0]
    assert problem.found.startswith("not written to its end: ")


def test_braces_that_were_not_filled_are_wrong() -> None:
    notice, script = spoken(bare(), FACTS | {"controller": "{controller}"})
    assert any("not written to its end" in problem for problem in found(told(notice, script, rules())[0]))


@pytest.mark.parametrize("text", ["En todo momento.", "Wait...", "Boxxes and XX.", "Why?"])
def test_what_only_looks_left_over_passes(text: str) -> None:
    assert checked(bare("es", text))[0] == ()


# --- advice -----------------------------------------------------------------------------------------------------------


def advice_on(text: str, durations_ms: Mapping[str, int] | None = None) -> list[str]:
    errors, advice = told(*spoken(bare(extra=text)), rules(), durations_ms)
    assert errors == ()
    return found(advice)


def test_long_sentences_and_words_are_advised_on() -> None:
    assert advice_on("One " * 24 + "two.") == []
    assert advice_on("One " * 25 + "two.")[0].startswith("a sentence of 26 words")
    assert advice_on("One " * 20 + "two: " + "one " * 20 + "two.") == []
    assert advice_on("A" + "b" * 35 + ".")[0].startswith("a word of 36 letters")
    assert advice_on("Recording-and-erasure-of-telephone-calls.") == []


def test_long_notices_and_segments_are_advised_on() -> None:
    sentence = "It is a text of words. "
    assert advice_on(sentence * 12) == []
    assert advice_on(sentence * 15) == ["takes about 23 s"]
    assert advice_on(sentence * 50)[0] == "takes about 82 s up to the end of the first question"


def test_measured_lengths_go_before_estimates() -> None:
    sentence = "It is a text of words. "
    assert advice_on(sentence * 14, {"extra": 19_900}) == []
    assert advice_on(sentence, {"extra": 21_000}) == ["takes about 21 s", "is spoken slowly: about 12 words a minute"]
    assert advice_on(sentence, {"extra": 76_000})[0] == "takes about 81 s up to the end of the first question"
    assert advice_on(sentence * 4, {"extra": 4_000}) == ["is spoken fast: about 258 words a minute"]
    assert advice_on(sentence * 4, {"extra": 7_000}) == []
    assert advice_on(sentence, {"extra": 500}) == []


# --- the machinery ----------------------------------------------------------------------------------------------------


def test_alternatives_and_their_first_letters() -> None:
    assert alternatives(r"a|b(?:c|d)|[|e]|\|f") == ["a", "b(?:c|d)", "[|e]", r"\|f"]
    assert heads(r"(?<!no )(?:may|might)(?: \w+)? be") == {"may", "might"}
    assert heads(r"advantages?|(?:very )?good") == {"advant", "very g", "good"} or heads(r"(?:very )?good") == {
        "very ",
        "good",
    }
    assert heads(r"discounts?") == {"discou"}
    assert heads(r"gifts?") == {"gift"}
    assert heads(r"\{who\} may") == {"{who} "}
    assert heads(r"\w+ may") == {""}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_is_looked_up_by_letters_and_compiles(language: str) -> None:
    of = lexicon(language)
    assert of is not None
    for kind in KINDS:
        for pattern in getattr(of.words, kind):
            assert all(head and head == head.lower() for head in heads(pattern)), pattern
    for entries in of.index.entries.values():
        for entry in entries:
            entry.match("nothing of the kind", 0)
    assert len(of.words.digits) == 12
    assert of.digit_keys
    assert of.spelled_keys.groups == 12


def test_what_is_read_of_a_text() -> None:
    reading = read("en", "Kept for 90 days. Maybe press 7. You may say so?")
    assert [(phrase.kind, phrase.quote) for phrase in reading.phrases] == [("vague", "Maybe")]
    assert [(period.number, period.unit, period.keeping) for period in reading.periods] == [(90, "day", True)]
    assert [(named.key, named.quote) for named in reading.keys] == [("7", "press 7")]


def test_many_lines_are_checked_in_a_moment() -> None:
    """A site of a hundred lines in ten languages is checked while its administrator waits."""
    documents = [tomllib.loads((PROMPTS / language / "recording.toml").read_text()) for language in SHIPPED]
    scripts = [spoken(document) for document in documents]
    begun = time.process_time()
    for _ in range(1000 // len(scripts)):
        for notice, script in scripts:
            told(notice, script, rules())
    assert time.process_time() - begun < 3.0  # about a fifth of a second on a machine with nothing else to do


# --- the answers ------------------------------------------------------------------------------------------------------


def shipped(language: str) -> dict[str, Any]:
    return tomllib.loads((PROMPTS / language / "recording.toml").read_text(encoding="utf-8"))


def answers_of(document: dict[str, Any]) -> list[str]:
    """Where the answers are wrong."""
    errors, _ = wording(*spoken(document), rules())
    return sorted(problem.where.rpartition(": ")[2] for problem in errors)


@pytest.mark.parametrize("language", SHIPPED)
def test_yes_is_called_yes_and_no_is_called_no(language: str) -> None:
    """R3, R5: a caller who hears "press 1 for no" and presses 1 has not consented, whatever the key is called here."""
    document = shipped(language)
    yes, no = document["choice"]["yes"], document["choice"]["no"]
    document["choice"] |= {
        "yes": no.replace("{key_no}", "{key_yes}"),
        "no": yes.replace("{key_yes}", "{key_no}"),
    }
    assert answers_of(document) == ["choice.no", "choice.yes"]
    document["choice"] |= {"yes": yes, "no": yes.replace("{key_yes}", "{key_no}")}
    assert answers_of(document) == ["choice.no"]
    document["choice"] |= {"yes": "{key_yes}: A.", "no": "{key_no}: B.", "otherwise": "C."}
    assert answers_of(document) == ["choice.no", "choice.otherwise", "choice.yes"]


@pytest.mark.parametrize("language", SHIPPED)
def test_the_result_that_is_told_is_the_one_there_is(language: str) -> None:
    document = shipped(language)
    results = document["results"]
    document["results"] = results | {"granted": results["declined"], "declined": results["granted"]}
    assert answers_of(document) == ["results.declined", "results.granted"]
    document["results"] = results | {"unrecorded": results["granted"]}
    assert answers_of(document) == ["results.unrecorded"]
    document["results"] = results | {"granted": "A."}
    assert answers_of(document) == ["results.granted"]


@pytest.mark.parametrize(
    "question",
    ["Do you object to the recording of this call?", "Do you mind that we record?", "Do you refuse the recording?"],
)
def test_yes_is_never_the_answer_of_who_objects(question: str) -> None:
    document = shipped("en")
    document["purposes"][0]["question"] = question
    assert answers_of(document) == ["purposes[1].question"]
