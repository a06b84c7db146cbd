"""The spoken form: numbers, dates, money and signs as words, in every language, and nothing else touched."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_consent.audio.lexicon import CODES, LEXICONS
from ivr_consent.audio.spoken import spoken_form

LANGUAGES = sorted(LEXICONS)

# What is written, and how each language says it.
TABLES: dict[str, dict[str, str]] = {
    "da": {
        "Tryk 1 for ja.": "Tryk et for ja.",
        "gemmes i 30 dage": "gemmes i tredive dage",
        "i 365 dage": "i trehundrede og femogtreds dage",
        "1 år, 1 dag": "et år, en dag",
        "Ring 12 34 56 78.": "Ring et to, tre fire, fem seks, syv otte.",
        "+45 70 10 20 30": "plus fire fem, syv nul, et nul, to nul, tre nul",
        "den 22.11.2026": "den toogtyvende november totusinde og seksogtyve",
        "fra 1. januar 2026": "fra den første januar totusinde og seksogtyve",
        "31/12/1999": "den enogtredivte december nitten hundrede nioghalvfems",
        "12,50 EUR": "tolv euro og halvtreds cent",
        "100 kr. om året": "ethundrede kroner om året",
        "1 kr": "en krone",
        "1.250 kr.": "ettusind tohundrede og halvtreds kroner.",
        "100 SEK": "ethundrede svenske kroner",
        "1,5": "et komma fem",
        "25 %": "femogtyve procent",
        "kl. 08:30": "klokken otte tredive",
        "kl. 9": "klokken ni",
        "Kl. 8.30-16.00": "Klokken otte tredive til seksten",
        "tryk *": "tryk stjerne",
        "tryk #": "tryk firkant",
        "§ 6": "paragraf seks",
        "info@firma.dk": "info snabel-a firma punktum d k",
        "1.999": "ettusind nihundrede og nioghalvfems",
        "1.000.000": "en million",
    },
    "sv": {
        "Tryck 1 för ja.": "Tryck ett för ja.",
        "i 30 dagar": "i trettio dagar",
        "1 vecka": "en vecka",
        "Ring 08-123 45 67.": "Ring noll åtta, ett två tre, fyra fem, sex sju.",
        "den 22.11.2026": "den tjugoandra november tjugohundratjugosex",
        "den 1 januari 1999": "den första januari nittonhundranittionio",
        "2005-03-03": "den tredje mars tvåtusenfem",
        "12,50 EUR": "tolv euro och femtio cent",
        "21 kr": "tjugoen kronor",
        "1 kr": "en krona",
        "10 000 kr": "tiotusen kronor",
        "1,5": "ett komma fem",
        "25 %": "tjugofem procent",
        "kl. 8": "klockan åtta",
        "08:05": "åtta noll fem",
        "*": "stjärna",
        "#": "fyrkant",
        "2:a": "andra",
        "1 000": "ettusen",
    },
    "no": {
        "Trykk 1 for ja.": "Trykk en for ja.",
        "i 30 dager": "i tretti dager",
        "Ring 123 45 678.": "Ring en to tre, fire fem, seks syv åtte.",
        "22.11.2026": "tjueandre november to tusen og tjueseks",
        "1. mai 2026": "første mai to tusen og tjueseks",
        "12,50 EUR": "tolv euro og femti cent",
        "100 kr": "en hundre kroner",
        "1 £": "ett pund",
        "2,25": "to komma tjuefem",
        "25 %": "tjuefem prosent",
        "kl. 14:00": "klokken fjorten",
        "*": "stjerne",
        "#": "firkant",
    },
    "nl": {
        "Toets 1 voor ja.": "Toets één voor ja.",
        "30 dagen": "dertig dagen",
        "0800 123 456": "nul acht nul nul, één twee drie, vier vijf zes",
        "22-11-2026": "tweeëntwintig november tweeduizendzesentwintig",
        "3 mei 2026": "drie mei tweeduizendzesentwintig",
        "€12,50": "twaalf euro en vijftig cent",
        "1,5": "één komma vijf",
        "25%": "vijfentwintig procent",
        "om 8:30 uur": "om acht uur dertig",
        "09:00": "negen uur",
        "*": "sterretje",
        "#": "hekje",
        "2e": "tweede",
    },
    "en": {
        "Press 1 for yes.": "Press one for yes.",
        "30 days": "thirty days",
        "article 6, paragraph 1, point a": "article six, paragraph one, point a",
        "Regulation (EU) 2016/679": "Regulation (EU) twenty sixteen, six hundred and seventy-nine",
        "020 7946 0958": "zero two zero, seven nine four six, zero nine five eight",
        "+44 (0)20 7946 0958": "plus four four, zero, two zero, seven nine four six, zero nine five eight",
        "01632960123": "zero one six, three two nine, six zero one, two three",
        "2026-11-22": "the twenty-second of November twenty twenty-six",
        "the 22/11/2026": "the twenty-second of November twenty twenty-six",
        "11/22/2026": "the twenty-second of November twenty twenty-six",
        "on 22nd November 2026": "on the twenty-second of November twenty twenty-six",
        "November 22, 2026": "the twenty-second of November twenty twenty-six",
        "1 May": "the first of May",
        "12.50 EUR": "twelve euros and fifty cents",
        "EUR 12,50": "twelve euros and fifty cents",
        "£1": "one pound",
        "$1,250.05": "one thousand, two hundred and fifty dollars and five cents",
        "1 USD": "one dollar",
        "100 kr": "one hundred kroner",
        "1.5": "one point five",
        "0.05": "zero point zero five",
        "99.9 %": "ninety-nine point nine percent",
        "1,000": "one thousand",
        "24/7": "twenty-four seven",
        "08:30": "eight thirty a m",
        "14:05-16:00": "two oh five p m to four p m",
        "00:00 and 12:00": "midnight and twelve noon",
        "*": "star",
        "Press # or *35.": "Press hash or star three five.",
        "1st, 2nd and 23rd": "first, second and twenty-third",
        "1–4": "one to four",
        "2024-2026": "two thousand and twenty-four to two thousand and twenty-six",
        "007": "zero zero seven",
        "privacy@northgate.example": "privacy at northgate dot example",
        "jo.do-e_2@a.b.co.uk": "jo dot do dash e underscore two at a dot b dot c o dot u k",
        "www.northgate.example/recording.": "w w w dot northgate dot example slash recording.",
        "https://northgate.example/a/b2": "northgate dot example slash a slash b two",
        "116 117": "one one six, one one seven",
    },
    "de": {
        "Drücken Sie 1 für Ja.": "Drücken Sie eins für Ja.",
        "30 Tage": "dreißig Tage",
        "1 Tag": "einen Tag",
        "030 123456": "null drei null, eins zwei drei, vier fünf sechs",
        "030/123456": "null drei null, eins zwei drei, vier fünf sechs",
        "am 22.11.2026": "am zweiundzwanzigsten November zweitausendsechsundzwanzig",
        "3. Oktober 1990": "dritter Oktober neunzehnhundertneunzig",
        "12,50 €": "zwölf Euro und fünfzig Cent",
        "1 €": "ein Euro",
        "101 EUR": "einhundertein Euro",
        "1 DKK": "eine dänische Krone",
        "1.500": "eintausendfünfhundert",
        "1,25": "eins Komma zwei fünf",
        "25 %": "fünfundzwanzig Prozent",
        "um 8.30 Uhr": "um acht Uhr dreißig",
        "um 1 Uhr": "um ein Uhr",
        "08:00-16:30": "acht Uhr bis sechzehn Uhr dreißig",
        "*": "Stern",
        "#": "Raute",
        "§ 201": "Paragraf zweihunderteins",
    },
    "fr": {
        "Tapez 1 pour oui.": "Tapez un pour oui.",
        "30 jours": "trente jours",
        "21 jours et 1 semaine": "vingt et un jours et une semaine",
        "01 23 45 67 89": "zéro un, deux trois, quatre cinq, six sept, huit neuf",
        "le 22/11/2026": "le vingt-deux novembre deux mille vingt-six",
        "le 1er mars 2026": "le premier mars deux mille vingt-six",
        "12,50 €": "douze euros et cinquante centimes",
        "1 DKK": "une couronne danoise",
        "1 €": "un euro",
        "1,5": "un virgule cinq",
        "25 %": "vingt-cinq pour cent",
        "à 8h30": "à huit heures trente",
        "1:00": "une heure",
        "*": "étoile",
        "#": "dièse",
        "2e": "deuxième",
    },
    "fi": {
        "Painakaa 1, jos suostutte.": "Painakaa yksi, jos suostutte.",
        "30 päivää": "kolmekymmentä päivää",
        "30 päivän ajan": "kolmenkymmenen päivän ajan",
        "09 123 4567": "nolla yhdeksän, yksi kaksi kolme, neljä viisi kuusi seitsemän",
        "22.11.2026": "kahdeskymmenestoinen marraskuuta kaksituhatta kaksikymmentäkuusi",
        "1. tammikuuta 2026": "ensimmäinen tammikuuta kaksituhatta kaksikymmentäkuusi",
        "12,50 €": "kaksitoista euroa ja viisikymmentä senttiä",
        "1 €": "yksi euro",
        "1,5": "yksi pilkku viisi",
        "25 %": "kaksikymmentäviisi prosenttia",
        "1 %": "yksi prosentti",
        "klo 8.30": "kello kahdeksan kolmekymmentä",
        "*": "tähti",
        "#": "ruutu",
    },
    "es": {
        "Pulse 1 para sí.": "Pulse uno para sí.",
        "30 días": "treinta días",
        "31 días y 1 semana": "treinta y un días y una semana",
        "912 345 678": "nueve uno dos, tres cuatro cinco, seis siete ocho",
        "22/11/2026": "veintidós de noviembre de dos mil veintiséis",
        "22 de noviembre de 2026": "veintidós de noviembre de dos mil veintiséis",
        "12,50 €": "doce euros con cincuenta céntimos",
        "1 €": "un euro",
        "21 €": "veintiún euros",
        "200 DKK": "doscientas coronas danesas",
        "1,5": "uno coma cinco",
        "25 %": "veinticinco por ciento",
        "a las 08:30": "a las ocho y treinta",
        "a la 1:00": "a la una",
        "*": "asterisco",
        "#": "almohadilla",
    },
    "pl": {
        "Klawisz 1 oznacza zgodę.": "Klawisz jeden oznacza zgodę.",
        "30 dni": "trzydzieści dni",
        "22 123 45 67": "dwa dwa, jeden dwa trzy, cztery pięć, sześć siedem",
        "22.11.2026": "dwudziestego drugiego listopada dwa tysiące dwudziestego szóstego roku",
        "22 listopada 2026 roku": "dwudziestego drugiego listopada dwa tysiące dwudziestego szóstego roku",
        "1.01.2000": "pierwszego stycznia dwutysięcznego roku",
        "12,50 zł": "dwanaście złotych i pięćdziesiąt groszy",
        "1 zł": "jeden złoty",
        "2,03 zł": "dwa złote i trzy grosze",
        "22 DKK": "dwadzieścia dwie korony duńskie",
        "1 EUR": "jedno euro",
        "1,5": "jeden przecinek pięć",
        "25 %": "dwadzieścia pięć procent",
        "o 08:30": "o ósmej trzydzieści",
        "od 8:00 do 22:00": "od ósmej do dwudziestej drugiej",
        "*": "gwiazdka",
        "#": "krzyżyk",
    },
    "it": {
        "Premere 1 per sì.": "Premere uno per sì.",
        "30 giorni": "trenta giorni",
        "06 1234567": "zero sei, uno due tre, quattro cinque sei sette",
        "1/11/2026": "primo novembre duemilaventisei",
        "12,50 €": "dodici euro e cinquanta centesimi",
        "1 €": "un euro",
        "25 %": "venticinque per cento",
        "alle 08:30": "alle otto e trenta",
        "*": "asterisco",
        "#": "cancelletto",
    },
}

CASES = [(language, written, said) for language, table in TABLES.items() for written, said in table.items()]


@pytest.mark.parametrize(("language", "written", "said"), CASES)
def test_what_is_written_is_said(language: str, written: str, said: str) -> None:
    assert spoken_form(written, language) == said


@pytest.mark.parametrize(("language", "written", "said"), CASES)
def test_what_is_said_is_said_once(language: str, written: str, said: str) -> None:
    """The spoken form of a spoken form is itself."""
    assert spoken_form(said, language) == said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nothing to read here.",
        "Ja, nej; f.eks. og bl.a. (måske)… “citat” – tankestreg",
        "Ærø Öl ß façade żółć",
        "Line\nand\ttab",
        "e.g. this, i.e. that, z.B. das, m.m.",
        "mp3 A4 G711 x2y",
    ],
)
def test_what_has_no_numbers_and_signs_is_as_it_was(text: str, language: str) -> None:
    assert spoken_form(text, language) == text


def test_regions_and_other_names_of_a_language() -> None:
    assert spoken_form("1 2", "en-GB") == "one two"
    assert spoken_form("1 2", "nb") == spoken_form("1 2", "nn") == spoken_form("1 2", "no") == "en to"
    assert spoken_form("100 €, 22.11.2026, *", "xx") == "100 €, 22.11.2026, *"


@pytest.mark.parametrize("written", ["30.02.2026", "2026-13-01", "99.99.2026", "00/00/2026"])
def test_what_is_no_date_is_not_read_as_one(written: str) -> None:
    assert "of" not in spoken_form(written, "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_word(language: str) -> None:
    words = LEXICONS[language]
    assert len(words.months) == 12
    assert set(words.money) == set(CODES)
    assert words.kr in CODES
    for main, cent in words.money.values():
        for noun in (main, cent):
            assert all(form.strip() == form and form for form in (noun.one, noun.few, noun.many))
            assert noun.gender in set("cfmn")
    assert all(re.fullmatch(r"[^\W\d_]+([ -][^\W\d_]+)*", sign) for sign in words.signs.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_digit_and_no_sign_is_left_of_ordinary_texts(language: str) -> None:
    text = (
        "Tel. +45 12 34 56 78, 0800 123 456, 12345678. 2026-11-22, 01.02.2027, 3/4/2025. 12.50 EUR, 100 kr, £5, 3 zł. "
        "30, 1.5, 25 %, 24/7, 08:30. a@b.dk, www.b.example/c1. * # *35 1#. § 7."
    )
    said = spoken_form(text, language)
    assert not re.search(r"[0-9*#@§%€£+/]", said)
    assert said.count(".") == text.count(". ") + 1


@settings(deadline=None)
@given(st.text(alphabet="0123456789 .,:/-+*#%€@abcæ\u00a0()§'\n", max_size=40), st.sampled_from(LANGUAGES))
def test_no_text_is_too_much(text: str, language: str) -> None:
    """Whatever is written comes out, in bounded length, and coming out again is no different."""
    said = spoken_form(text, language)
    assert len(said) <= 60 * len(text) + 60
    assert len(re.findall("[a-cæ]", text)) == 0 or said


@settings(deadline=None)
@given(st.integers(0, 10**14), st.sampled_from(LANGUAGES))
def test_every_number_becomes_words(number: int, language: str) -> None:
    said = spoken_form(f"{number} x", language)
    assert not re.search("[0-9]", said)
    assert said.endswith(" x")


@pytest.mark.parametrize("end", ["", "x", "%", "@", ")"])
@pytest.mark.parametrize(
    "piece", ["9", "1 ", "1.1", "a@", "(", "+1-", "(1)", "a.", "a-", "1,", "1/", "12 345 ", "*1", "kr1 "]
)
def test_long_nonsense_takes_no_time(piece: str, end: str) -> None:
    """No pattern goes back and forth for ever. A text of this length takes milliseconds, and seconds at most here."""
    text = piece * (4000 // len(piece)) + end
    for language in ("da", "en", "fr"):
        began = time.process_time()
        spoken_form(text, language)
        assert time.process_time() - began < 5
