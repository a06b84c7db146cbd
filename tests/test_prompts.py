"""The shipped notices: complete, neutral, and the same in every language."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.notice import ELEMENTS, PLACEHOLDERS, RESULTS, Notice, compose, parse_notice, placeholders

PROMPTS = Path(__file__).parent.parent / "prompts"
LANGUAGES = ("da", "de", "en", "nl", "sv")
PURPOSES = ("training", "quality", "diagnosis")
FACTS = {
    "controller": "Northgate Water",
    "retention_days": "30",
    "authority": "Datatilsynet",
    "recipients": "A and B",
    "withdrawal_contact": "70 10 20 30",
    "rights_contact": "70 10 20 31",
    "web_address": "example.org",
    "key_yes": "1",
    "key_no": "2",
    "key_repeat": "4",
    "key_long": "5",
    "key_language": "6",
}

# Vague: says that something happens perhaps, or to somebody. Weighted: thanks, praises, regrets, promises or warns.
VAGUE = {
    "en": r"may|might|could|some|possibly|perhaps|maybe|sometimes|certain|if necessary|where appropriate|can be",
    "da": r"kan blive|kan optages|kan \w+es|måske|eventuel\w*|muligvis|nogle|visse|bl\.a\.|eller lignende|i nogle",
    "sv": r"kan komma att|kan spelas|kan \w+as|kanske|eventuell\w*|möjligen|vissa|några|ibland|bland annat",
    "nl": r"kan worden|kunnen worden|kan|mogelijk\w*|misschien|eventue\w+|wellicht|sommige|soms|onder andere|zou\w*",
    "de": r"kann|könn?t?en? \w+ werden|könnten?|gegebenenfalls|eventuell\w*|möglicherweise|vielleicht|einige|manche|"
    r"unter anderem|unter Umständen",
}
WEIGHTED = {
    "en": r"thank\w*|please|sorry|unfortunately|better|faster|longer|only help|improve\w*|appreciate\w*|happy",
    "da": r"tak|desværre|beklager|bedre|hurtigere|længere|forbedre\w*|gerne|venligst|glade?",
    "sv": r"tack|tyvärr|bättre|snabbare|längre|förbättra\w*|gärna|vänligen|glada?",
    "nl": r"bedankt|dank\w*|helaas|beter\w*|sneller|langer|verbeter\w*|graag|alstublieft",
    "de": r"danke?|leider|besser\w*|schneller|länger|verbesser\w*|gern\w*|bitte|freuen",
}
# What the software does not do: log each access, end by itself on a withdrawal or a transfer.
UNKEPT = {
    "en": r"access to it|attempt|stops|ends with|that agent|transferred|staff (?:opts?|agrees?)",
    "da": r"adgang|forsøg|stopper|den medarbejder er|stilles om til, optages",
    "sv": r"åtkomst|försök|stoppas|den medarbetaren|ert samtal",
    "nl": r"toegang|poging|stopt|met die medewerker",
    "de": r"Zugriff|Versuch|mit ihr endet|Aufzeichnung endet",
}
UNTIL_THE_END = {
    "en": "until the call ends",
    "da": "til opkaldet slutter",
    "sv": "tills samtalet är slut",
    "nl": "tot het (?:telefoon)?gesprek eindigt",
    "de": "bis der Anruf endet",
}
PASSED_ON = {
    "en": "passed on",
    "da": "stilles (?:du )?om",
    "sv": "kopplas",
    "nl": "doorverbonden",
    "de": "weiterverbunden",
}
ERASED = {"en": "erased", "da": "slettes", "sv": "raderas", "nl": "gewist", "de": "gelöscht"}
YES_NO = {"da": ("ja", "nej"), "de": ("Ja", "Nein"), "en": ("yes", "no"), "nl": ("ja", "nee"), "sv": ("ja", "nej")}
CONSENT = {"da": "samtykke", "de": "Einwilligung", "en": "consent", "nl": "toestemming", "sv": "samtycke"}
CONTROLLER = {
    "da": "dataansvarlig",
    "de": "Verantwortlicher",
    "en": "controller",
    "nl": "verwerkingsverantwoordelijke",
    "sv": "personuppgiftsansvarig",
}


def document(language: str) -> dict[str, Any]:
    return tomllib.loads((PROMPTS / language / "recording.toml").read_text(encoding="utf-8"))


def notice(language: str) -> Notice:
    found, problems = parse_notice(document(language), language)
    assert problems == ()
    assert found is not None
    return found


def texts(language: str) -> dict[str, str]:
    """Every spoken text of a notice by a name that says where it stands."""
    found = notice(language)
    spoken = {segment.id: segment.text for segment in (*found.segments, *found.long)}
    for purpose in found.purposes.values():
        spoken |= {f"{purpose.id}-statement": purpose.statement, f"{purpose.id}-question": purpose.question}
    return spoken | dict(found.results)


def hits(pattern: str, text: str) -> list[str]:
    return re.findall(rf"\b(?:{pattern})\b", text, re.IGNORECASE)


def test_every_folder_is_a_language_we_ship() -> None:
    assert tuple(sorted(p.name for p in PROMPTS.iterdir() if p.is_dir())) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_parses_with_its_language_and_unique_ids(language: str) -> None:
    found = notice(language)
    assert (found.id, found.language, found.version) == ("recording", language, 1)
    ids = [segment.id for segment in (*found.segments, *found.long)] + list(found.purposes)
    assert len(ids) == len(set(ids))
    assert tuple(found.purposes) == PURPOSES
    assert tuple(found.results) == RESULTS
    assert 3 <= len(found.long) <= 5


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("several", [False, True])
def test_twelve_elements_for_each_purpose(language: str, purpose: str, several: bool) -> None:
    """R2: nothing mandatory is missing before the choice, on a line with one language or several."""
    script, problems = compose(notice(language), (purpose,), FACTS, several_languages=several)
    assert problems == ()
    assert script is not None
    said = [number for segment in (*script.information, *script.questions.values()) for number in segment.elements]
    assert set(said) == set(ELEMENTS)
    assert ("language" in [segment.id for segment in script.information]) is several
    assert not any("{" in segment.text or "}" in segment.text for segment in script.segments())


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_purposes_together(language: str) -> None:
    script, problems = compose(notice(language), PURPOSES, FACTS, several_languages=True)
    assert problems == ()
    assert script is not None
    ids = [segment.id for segment in script.segments()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_known_and_in_their_place(language: str) -> None:
    found, spoken = notice(language), texts(language)
    used = {name: placeholders(text) for name, text in spoken.items()}
    assert frozenset().union(*used.values()) == PLACEHOLDERS
    needed = {
        "controller": {"controller"},
        "retention": {"retention_days", "recipients"},
        "withdrawal": {"withdrawal_contact"},
        "rights": {"authority", "rights_contact"},
        "more": {"key_long", "key_repeat", "web_address"},
        "language": {"key_language"},
    }
    assert {name: set(used[name]) for name in needed} == needed
    assert [segment.id for segment in found.segments if segment.only_if] == ["language"]
    assert [name for name in used if "key_language" in used[name]] == ["language"]
    # keys are named where the caller uses them, nowhere else; results and long texts must not ask anew
    for name, names in used.items():
        asks = name.endswith("-question")
        assert ({"key_yes", "key_no"} <= names) is asks
        assert asks or not {"key_yes", "key_no"} & names


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_yes_and_no_stand_in_one_sentence_and_weigh_alike(language: str, purpose: str) -> None:
    """R5: yes and no in one breath, with the same words around them."""
    question = notice(language).purposes[purpose].question
    (sentence,) = [part for part in re.split(r"(?<=[.?!])\s+", question) if "{key_" in part]
    assert "{key_yes}" in sentence
    assert "{key_no}" in sentence
    yes, no = YES_NO[language]
    first = re.search(rf"(\w+ )?\{{key_yes\}} (\w+) {yes}\b", sentence)
    second = re.search(rf"(\w+ )?\{{key_no\}} (\w+) {no}\b", sentence)
    assert first is not None
    assert second is not None
    assert first[2] == second[2]
    assert "{" + "key" not in question.rpartition("}")[2]
    # a sentence after it says what silence, another key and hanging up mean
    assert len(question.rpartition(sentence)[2].split()) >= 8
    assert notice(language).purposes[purpose].name in question
    assert notice(language).purposes[purpose].name in notice(language).purposes[purpose].statement


@pytest.mark.parametrize("language", LANGUAGES)
def test_granted_and_declined_promise_the_same(language: str) -> None:
    """R5: neither a reward nor a penalty: both end in the same words."""
    results = notice(language).results
    assert results["granted"].rpartition(". ")[2] == results["declined"].rpartition(". ")[2]
    assert hits(YES_NO[language][0], results["granted"])
    assert hits(YES_NO[language][1], results["declined"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_vague_and_no_weighted_wording(language: str) -> None:
    for name, text in texts(language).items():
        plain = re.sub(r"\{\w+\}", "", text)
        assert hits(VAGUE[language], plain) == [], name
        assert hits(WEIGHTED[language], plain) == [], name
        assert "  " not in text, name
        assert text[0].isupper() or text[0] == "{", name
        assert text.endswith((".", "?")), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_promises_only_what_is_kept(language: str) -> None:
    """R2, R13: recorded until the call ends, also when passed on; a withdrawal erases; no access log is promised."""
    spoken = texts(language)
    for name, text in spoken.items():
        assert hits(UNKEPT[language], text) == [], name
    for name in ("content", "long-data"):
        assert hits(UNTIL_THE_END[language], spoken[name]), name
        assert hits(PASSED_ON[language], spoken[name]), name
    for name in ("withdrawal", "long-withdrawal"):
        assert hits(ERASED[language], spoken[name]), name


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "This call may be recorded."),
        ("en", "It can be heard."),
        ("da", "Samtalen kan blive optaget."),
        ("da", "Samtalen kan optages."),
        ("sv", "Samtalet kan komma att spelas in."),
        ("nl", "Dit gesprek kan worden opgenomen."),
        ("de", "Das Gespräch kann aufgezeichnet werden."),
        ("de", "Gegebenenfalls wird aufgezeichnet."),
    ],
)
def test_the_list_finds_what_it_should(language: str, text: str) -> None:
    assert hits(VAGUE[language], text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_terms_of_the_law(language: str) -> None:
    spoken = texts(language)
    assert CONSENT[language].lower() in spoken["voluntary"].lower() or CONSENT[language].lower() in spoken["controller"]
    assert CONTROLLER[language].lower() in spoken["controller"].lower()
    assert CONSENT[language].lower() in spoken["withdrawal"].lower()


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_ids_elements_and_placeholders_in_all_languages(language: str) -> None:
    ours, english = document(language), document("en")
    for table in ("segments", "long", "purposes"):
        assert [entry["id"] for entry in ours[table]] == [entry["id"] for entry in english[table]]
    assert [(s["elements"], s.get("only_if")) for s in ours["segments"]] == [
        (s["elements"], s.get("only_if")) for s in english["segments"]
    ]
    assert list(ours["results"]) == list(english["results"])
    here, there = texts(language), texts("en")
    assert {name: placeholders(text) for name, text in here.items()} == {
        name: placeholders(text) for name, text in there.items()
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_short_enough_to_be_listened_to(language: str) -> None:
    """R2: about a minute and a quarter; a notice that nobody hears out informs nobody."""
    script, _ = compose(notice(language), ("training",), FACTS, several_languages=False)
    assert script is not None
    said = " ".join(segment.text for segment in (*script.information, *script.questions.values()))
    assert 150 <= len(said.split()) <= 250
    assert max(len(sentence.split()) for sentence in re.split(r"(?<=[.?!:;])\s+", said)) <= 35
