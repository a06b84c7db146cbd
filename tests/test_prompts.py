"""The shipped notices: complete, neutral, and the same in every language."""

from __future__ import annotations

import re
import struct
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from ivr_consent.audio.speech import espeak_voice, speak
from ivr_consent.core.notice import (
    CHOICE,
    ELEMENTS,
    PLACEHOLDERS,
    REFERENCE,
    RESULTS,
    Notice,
    Script,
    compose,
    placeholders,
)
from ivr_consent.core.notice_file import parse_notice

PROMPTS: Final = Path(__file__).parent.parent / "prompts"
LANGUAGES: Final = ("da", "de", "en", "es", "fi", "fr", "nl", "no", "pl", "sv")
PURPOSES: Final = ("training", "quality", "agreement", "diagnosis")
FACTS: Final = {
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

# Vague: says that something happens perhaps, or to somebody.
VAGUE: Final = {
    "da": r"kan blive|kan optages|kan \w+es|måske|eventuel\w*|muligvis|nogle|visse|bl\.a\.|blandt andet|eller lignende",
    "de": r"kann|könn?t?en? \w+ werden|könnten?|gegebenenfalls|eventuell\w*|möglicherweise|vielleicht|einige|manche|"
    r"unter anderem|unter Umständen",
    "en": r"may|might|could|some|possibly|perhaps|maybe|sometimes|certain|if necessary|where appropriate|can be",
    "es": r"pueden? (?:ser|\w+rse)|podr\w+|quizás?|tal vez|posible\w*|algun[oa]s?|algún|ciert[oa]s|a veces|"
    r"entre otr[oa]s|eventual\w*|en su caso",
    "fi": r"voi|voidaan|saattaa|saatetaan|ehkä|mahdollis\w*|jotkut|joskus|tietyt|muun muassa|tarvittaessa",
    "fr": r"peut|peuvent|pourr\w+|peut-être|éventuel\w*|certaine?s?|parfois|quelques|possible\w*|notamment|"
    r"susceptibles?|le cas échéant",
    "nl": r"kan worden|kunnen worden|kan|mogelijk\w*|misschien|eventue\w+|wellicht|sommige|soms|onder andere|zou\w*",
    "no": r"kan bli|kan tas|kan \w+es|kanskje|eventuel\w*|muligens|noen|visse|blant annet|av og til",
    "pl": r"może|mogą|mogł\w+|ewentualn\w*|niektór\w*|czasem|czasami|między innymi|w razie potrzeby|możliw\w*|pewn\w*",
    "sv": r"kan komma att|kan spelas|kan \w+as|kanske|eventuell\w*|möjligen|vissa|några|ibland|bland annat",
}
# Weighted: thanks, praises, regrets, urges, promises a reward or warns of a penalty.
WEIGHTED: Final = {
    "da": r"tak|desværre|beklager|bedre|hurtig\w*|længere|forbedre\w*|gerne|venligst|glade?|rabat|skal|ellers|hjælp os|"
    r"kun \w+ sekunder",
    "de": r"danke?|leider|besser\w*|schneller|länger|verbesser\w*|gern\w*|bitte|freuen|Rabatt|müssen|sonst|helfen|"
    r"nur \w+ Sekunden",
    "en": r"thank\w*|please|sorry|unfortunately|better|faster|longer|only help|improve\w*|appreciate\w*|happy|discount|"
    r"priority|must|have to|otherwise|help us|only takes",
    "es": r"gracias|por favor|lamentamos|lamentablemente|lo sentimos|mejor\w*|más rápid\w*|más tiempo|descuento|"
    r"prioridad|debe\w*|de lo contrario|ayúde\w*|solo \w+ segundos",
    "fi": r"kiito\w*|kiitämme|valitettavasti|pahoittelemme|parem\w*|parant\w*|nopeam\w*|pidempään|mielellään|"
    r"olkaa hyvä|alennus\w*|täytyy|pitää|muuten|auttakaa",
    "fr": r"merci|s'il vous plaît|malheureusement|désolés?|meilleure?s?|mieux|plus vite|rapide\w*|plus longtemps|"
    r"amélior\w*|volontiers|remise|réduction|priorité|devez|doit|sinon|aidez\w*",
    "nl": r"bedankt|dank\w*|helaas|beter\w*|sneller|langer|verbeter\w*|graag|alstublieft|korting|moet\w*|anders wordt|"
    r"help ons|slechts",
    "no": r"takk|dessverre|beklager|bedre|raskere|lenger|forbedre\w*|gjerne|vennligst|glade?|rabatt|skal|må|ellers|"
    r"hjelp oss|bare \w+ sekunder",
    "pl": r"dziękuj\w*|niestety|przepraszamy|leps\w*|lepiej|szybciej|szybsz\w*|dłużej|poprawi\w*|uleps\w*|chętnie|"
    r"proszę|rabat\w*|zniżk\w*|musi\w*|muszą|należy|w przeciwnym razie|pomóżcie",
    "sv": r"tack|tyvärr|bättre|snabbare|längre|förbättra\w*|gärna|vänligen|glada?|rabatt|måste|annars|hjälp oss|"
    r"bara \w+ sekunder",
}
# What the software does not do: log each access, end by itself on a withdrawal or a transfer.
UNKEPT: Final = {
    "da": r"adgang|forsøg|stopper|den medarbejder er|stilles om til, optages",
    "de": r"Zugriff|Versuch|mit ihr endet|Aufzeichnung endet",
    "en": r"access to it|attempt|stops|ends with|that agent|transferred|staff (?:opts?|agrees?)",
    "es": r"acceso a ella|intento|se detiene|se interrumpe|termina con",
    "fi": r"pääsy|yritys|yritykset|keskeytyy|pysähtyy|päättyy",
    "fr": r"accès à celui-ci|tentatives?|s'arrête|s'interrompt|prend fin",
    "nl": r"toegang|poging|stopt|met die medewerker",
    "no": r"adgang|tilgang|forsøk|stopper|stanser|avsluttes",
    "pl": r"prób\w*|zatrzym\w*|przeryw\w*|kończy",
    "sv": r"åtkomst|försök|stoppas|den medarbetaren|ert samtal",
}
# What the words of each text have to say, piece by piece; in every language the same number of pieces.
SAID: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "da": {
        "controller": ("dataansvarlig", "dit samtykke", "optage samtalen"),
        "not-started": ("optages ikke noget nu", "kun, hvis du"),
        "voluntary": (
            "samtykket",
            "frivilligt",
            "eneste retsgrundlag",
            "nej",
            "samme kø",
            "samme hjælp",
            "ingen optag",
        ),
        "content": (
            "din og medarbejderens stemme",
            "svarer",
            "til opkaldet slutter",
            "stilles om",
            "køen optages ikke",
        ),
        "retention": ("gemmes", "dage", "slettes", "kun {recipients}"),
        "withdrawal": ("til enhver tid", "trække samtykket tilbage", "under samtalen", "senere", "slettes"),
        "rights": ("indsigt", "kopi", "sletning", "klage"),
        "choice-otherwise": ("ingen", "anden tast", "lægge på", "ingen optagelse til dette formål"),
        "long-basis": ("artikel 6", "stykke 1", "litra a", "lov eller aftale", "hvert formål for sig"),
        "long-data": ("slutter", "stilles du om", "på hold", "kø optages ikke", "pseudonym", "5 og 7", "ingen lyd"),
        "long-recipients": ("kun {recipients}", "slettes", "automatiske afgørelser", "profilering", "stemmen"),
        "long-rights": ("indsigt", "kopi", "berigtigelse", "sletning", "begrænsning", "portabilitet", "måned", "klage"),
        "long-withdrawal": ("til enhver tid", "uden begrundelse", "slettes", "lovligheden"),
    },
    "de": {
        "controller": ("Verantwortlicher", "Ihre Einwilligung", "Gespräch aufzuzeichnen"),
        "not-started": ("Jetzt läuft keine Aufzeichnung", "nur, wenn Sie"),
        "voluntary": (
            "Einwilligung",
            "freiwillig",
            "einzige Rechtsg",
            "Nein",
            "dieselbe Wartesch",
            "Hilfe",
            "keine Auf",
        ),
        "content": (
            "Ihre Stimme und die Ihrer",
            "Antwort",
            "bis zum Ende des Anrufs",
            "weiterverb",
            "Warteschlange nicht",
        ),
        "retention": ("speichern", "Tage", "löschen", "Nur diese Personen"),
        "withdrawal": ("jederzeit", "Einwilligung ist jederzeit widerrufbar", "im Gespräch", "später", "gelöscht"),
        "rights": ("Auskunft", "Kopie", "Löschung", "Beschwerde"),
        "choice-otherwise": ("Keine", "andere Taste", "Auflegen", "keine Aufzeichnung für diesen Zweck"),
        "long-basis": ("Artikel 6", "Absatz 1", "Buchstabe a", "Gesetz noch ein Vertrag", "jeden Zweck gesondert"),
        "long-data": (
            "Ende des",
            "weiterv",
            "Haltez",
            "Warteschlange werden nicht",
            "Pseudonym",
            "5 und 7",
            "keinen Ton",
        ),
        "long-recipients": ("Nur diese Personen", "gelöscht", "automatisierten Ent", "Profiling", "Stimme"),
        "long-rights": ("Auskunft", "Kopie", "Berichtig", "Löschung", "Einschränk", "übertragb", "Monat", "Beschwerde"),
        "long-withdrawal": ("jederzeit", "ohne Angabe von Gründen", "gelöscht", "Rechtmäßigkeit"),
    },
    "en": {
        "controller": ("the controller", "your consent", "record this call"),
        "not-started": ("nothing is being recorded now", "only if you"),
        "voluntary": ("consent", "voluntary", "only legal basis", "with no", "same queue", "same help", "no recording"),
        "content": (
            "your voice and the agent's",
            "answer",
            "until the call ends",
            "passed on",
            "queue is not recorded",
        ),
        "retention": ("kept", "days", "deleted", "only by {recipients}"),
        "withdrawal": ("at any time", "withdraw your consent", "during the call", "later", "erased"),
        "rights": ("access", "copy", "erasure", "complain"),
        "choice-otherwise": ("no key", "another key", "hanging up", "no recording for this purpose"),
        "long-basis": ("article 6", "paragraph 1", "point a", "law nor a contract", "each purpose separately"),
        "long-data": ("call ends", "passed on", "on hold", "queue are not", "pseudonym", "5 and 7", "no sound"),
        "long-recipients": ("only by {recipients}", "deleted", "automated means", "no profile", "voice"),
        "long-rights": ("access", "copy", "rectif", "erasure", "restriction", "portability", "month", "complaint"),
        "long-withdrawal": ("at any time", "without giving a reason", "erased", "lawfulness"),
    },
    "es": {
        "controller": ("responsable del tratamiento", "su consentimiento", "grabar esta llamada"),
        "not-started": ("ahora no se graba nada", "solo si usted"),
        "voluntary": (
            "consentimiento",
            "voluntario",
            "única base",
            "no:",
            "misma cola",
            "misma ayuda",
            "sin grabación",
        ),
        "content": ("su voz y la del agente", "contesta", "hasta que termina", "si le transfieren", "cola no se graba"),
        "retention": ("se conserva", "días", "se borra", "solo es escuchada por {recipients}"),
        "withdrawal": ("cuando quiera", "retirar su consentimiento", "durante la llamada", "después", "se borra"),
        "rights": ("acceso", "copia", "supresión", "reclamar"),
        "choice-otherwise": ("ninguna tecla", "otra tecla", "colgar", "no hay grabación para esta finalidad"),
        "long-basis": ("artículo 6", "apartado 1", "letra a", "ley ni un contrato", "separado para cada finalidad"),
        "long-data": (
            "termina",
            "si le pasan",
            "en espera",
            "cola no se graban",
            "seudónimo",
            "5 y 7",
            "no contiene son",
        ),
        "long-recipients": ("por {recipients}", "se borra", "decisiones automatizadas", "perfiles", "voz"),
        "long-rights": (
            "acceder",
            "copia",
            "rectific",
            "supresión",
            "limitación",
            "portabilidad",
            "mes",
            "reclamación",
        ),
        "long-withdrawal": ("en cualquier momento", "sin dar motivos", "se borra", "licitud"),
    },
    "fi": {
        "controller": ("rekisterinpitäjä", "suostumustanne", "puhelun tallentamiseen"),
        "not-started": ("nyt ei tallenneta mitään", "vain, jos suostutte"),
        "voluntary": ("suostumus", "vapaaehtoinen", "ainoa oikeus", "ette", "sama jono", "apu", "ei tallennusta"),
        "content": ("teidän ja asiakaspalvelijan", "vastauks", "puhelun loppuun", "siirretään", "jonoa ei tallenneta"),
        "retention": ("säilytetään", "päivää", "poistetaan", "vain: {recipients}"),
        "withdrawal": ("milloin vain", "peruuttaa suostumuksen", "puhelussa", "myöhemmin", "poistetaan"),
        "rights": ("tutustuminen", "kopio", "poisto", "valitus"),
        "choice-otherwise": ("ei painallusta", "muu näppäin", "puhelun lopetus", "ei tallennusta tähän tarkoitukseen"),
        "long-basis": ("artikla 6", "kohta 1", "alakohta a", "laki tai sopimus", "jokaiseen tarkoitukseen erikseen"),
        "long-data": ("loppuun", "toiselle", "pitoon", "jonotusaikaa ei", "pseudonyymi", "5 ja 7", "ei ole ääntä"),
        "long-recipients": ("vain: {recipients}", "poistetaan", "automaattisia päätöksiä", "profilointiin", "äänestä"),
        "long-rights": ("tutustua", "kopio", "oikais", "poistamis", "rajoit", "siirtää tiedot", "kuukauden", "valitus"),
        "long-withdrawal": ("milloin tahansa", "syytä ilmoittamatta", "poistetaan", "lainmukaisuuteen"),
    },
    "fr": {
        "controller": ("responsable du traitement", "votre consentement", "enregistrer cet appel"),
        "not-started": ("rien n'est enregistré pour l'instant", "ne commence que si vous"),
        "voluntary": ("consentement", "libre", "seule base", "non", "même file d'attente", "même aide", "aucun enreg"),
        "content": (
            "votre voix et celle du",
            "réponse",
            "fin de l'appel",
            "transfert",
            "file d'attente n'est pas enreg",
        ),
        "retention": ("conservé", "jours", "effacé", "uniquement par {recipients}"),
        "withdrawal": ("à tout moment", "retirer votre consentement", "pendant l'appel", "ensuite", "effacé"),
        "rights": ("accès", "copie", "effacement", "réclamation"),
        "choice-otherwise": ("aucune touche", "autre touche", "raccrocher", "aucun enregistrement pour cette finalité"),
        "long-basis": ("article 6", "paragraphe 1", "point a", "loi ni un contrat", "séparément pour chaque finalité"),
        "long-data": ("fin de l'", "transfert", "en attente", "ne sont pas enreg", "pseudonyme", "5 et 7", "aucun son"),
        "long-recipients": ("uniquement par {recipients}", "effacé", "décision automatisée", "profilage", "voix"),
        "long-rights": ("accéder", "copie", "rectif", "effacement", "limitation", "portabilité", "mois", "réclamation"),
        "long-withdrawal": ("à tout moment", "sans donner de raison", "effacé", "licéité"),
    },
    "nl": {
        "controller": ("verwerkingsverantwoordelijke", "uw toestemming", "gesprek op te nemen"),
        "not-started": ("er wordt nu niets opgenomen", "alleen als u"),
        "voluntary": (
            "toestemming",
            "vrijwillig",
            "enige rechtsgrond",
            "nee",
            "dezelfde wachtrij",
            "hulp",
            "geen opname",
        ),
        "content": (
            "uw stem en die van de",
            "antwoord",
            "tot het gesprek eindigt",
            "doorverbonden",
            "de wachtrij niet",
        ),
        "retention": ("bewaard", "dagen", "gewist", "alleen beluisterd door {recipients}"),
        "withdrawal": ("altijd", "uw toestemming altijd intrekken", "tijdens het gesprek", "later", "gewist"),
        "rights": ("inzage", "kopie", "wissing", "klacht"),
        "choice-otherwise": ("niets", "iets anders toetsen", "ophangen", "geen opname voor dit doel"),
        "long-basis": ("artikel 6", "lid 1", "onder a", "wet of overeenkomst", "elk doel afzonderlijk"),
        "long-data": ("eindigt", "doorverb", "in de wacht", "niet opgenomen", "pseudoniem", "5 en 7", "geen geluid"),
        "long-recipients": ("alleen beluisterd door {recipients}", "gewist", "geautomatiseerde", "profilering", "stem"),
        "long-rights": ("inzage", "kopie", "rectif", "wissing", "beperking", "overdraagbaarheid", "maand", "klacht"),
        "long-withdrawal": ("op elk moment", "zonder opgaaf van reden", "gewist", "rechtmatigheid"),
    },
    "no": {
        "controller": ("behandlingsansvarlig", "ditt samtykke", "ta opp samtalen"),
        "not-started": ("ingenting tas opp nå", "bare hvis du"),
        "voluntary": ("samtykket", "frivillig", "eneste rettslige", "nei", "samme kø", "samme hjelp", "uten opptak"),
        "content": (
            "din og medarbeiderens stemme",
            "svarer",
            "til samtalen er slutt",
            "settes over",
            "køen tas ikke opp",
        ),
        "retention": ("lagres", "dager", "slettes", "bare {recipients}"),
        "withdrawal": ("når som helst", "trekke samtykket tilbake", "under samtalen", "senere", "slettes"),
        "rights": ("innsyn", "kopi", "sletting", "klage"),
        "choice-otherwise": ("ingen", "annen tast", "legge på", "ikke opptak til dette formålet"),
        "long-basis": ("artikkel 6", "nummer 1", "bokstav a", "lov eller avtale", "hvert formål for seg"),
        "long-data": ("er slutt", "settes over", "på vent", "tas ikke opp", "pseudonym", "5 og 7", "ingen lyd"),
        "long-recipients": ("bare {recipients}", "slettes", "automatiserte avgjørelser", "profilering", "stemmen"),
        "long-rights": ("innsyn", "kopi", "retting", "sletting", "begrensning", "portabilitet", "måned", "klage"),
        "long-withdrawal": ("når som helst", "uten begrunnelse", "slettes", "lovligheten"),
    },
    "pl": {
        "controller": ("administrator danych", "o zgodę", "nagranie tej rozmowy"),
        "not-started": ("teraz nic nie jest nagrywane", "tylko po wybraniu zgody"),
        "voluntary": (
            "zgoda",
            "dobrowolna",
            "jedyną podstawą",
            "odmowie",
            "ta sama kolejka",
            "pomoc",
            "bez nagrania",
        ),
        "content": (
            "głos Państwa i konsultanta",
            "zgłosz",
            "do końca połączenia",
            "przełączeniu",
            "kolejki nie nagrywamy",
        ),
        "retention": ("przechowujemy", "dni", "usuwamy", "tylko: {recipients}"),
        "withdrawal": ("w każdej chwili", "zgodę można wycofać", "w rozmowie", "później", "usuwane"),
        "rights": ("wglądu", "kopii", "usunięcia", "skargi"),
        "choice-otherwise": ("brak wyboru", "inny klawisz", "rozłączenie", "brak nagrania w tym celu"),
        "long-basis": ("artykuł 6", "ustęp 1", "litera a", "ustawa, ani umowa", "osobno dla każdego celu"),
        "long-data": (
            "do końca",
            "przełącz",
            "zawiesz",
            "kolejce nie są nagr",
            "pseudonimem",
            "5 i 7",
            "nie zawiera dźw",
        ),
        "long-recipients": ("tylko te osoby: {recipients}", "usuwane", "zautomatyzowane", "profilowanie", "głosie"),
        "long-rights": ("dostępu", "kopii", "sprostow", "usunięcia", "ogranicz", "przenoszenia", "miesiąca", "skargę"),
        "long-withdrawal": ("w każdej chwili", "bez podania przyczyny", "usuwane", "zgodność z prawem"),
    },
    "sv": {
        "controller": ("personuppgiftsansvarig", "ditt samtycke", "spela in samtalet"),
        "not-started": ("nu spelas ingenting in", "bara om du"),
        "voluntary": (
            "samtycket",
            "frivilligt",
            "enda rättsliga",
            "nej",
            "samma kö",
            "samma hjälp",
            "ingen inspelning",
        ),
        "content": ("din och medarbetarens röst", "svar", "tills samtalet är slut", "kopplas", "kön spelas inte in"),
        "retention": ("sparas", "dagar", "raderas", "bara {recipients}"),
        "withdrawal": ("när som helst", "återkalla samtycket", "under samtalet", "senare", "raderas"),
        "rights": ("tillgång", "kopia", "radering", "klagomål"),
        "choice-otherwise": ("ingen", "annan knapp", "lägga på", "ingen inspelning för detta ändamål"),
        "long-basis": ("artikel 6", "punkt 1", "led a", "lag eller avtal", "varje ändamål för sig"),
        "long-data": ("är slut", "kopplas", "parkeras", "kö spelas inte", "pseudonym", "5 och 7", "inget ljud"),
        "long-recipients": ("endast {recipients}", "raderas", "automatiserade beslut", "profilering", "röst"),
        "long-rights": (
            "tillgång",
            "kopia",
            "rättelse",
            "radering",
            "begränsning",
            "portabilitet",
            "månad",
            "klagomål",
        ),
        "long-withdrawal": ("när som helst", "utan att ange skäl", "raderas", "lagligheten"),
    },
}
# The words that tell yes from no, in the choice and in the result that is told.
YES_NO: Final = {
    "da": ("ja", "nej"),
    "de": ("Ja", "Nein"),
    "en": ("yes", "no"),
    "es": ("sí", "no"),
    "fi": (r"(?:olette )?suost\w+", r"ette (?:ole )?suost\w+"),
    "fr": ("oui", "non"),
    "nl": ("ja", "nee"),
    "no": ("ja", "nei"),
    "pl": ("zgodę", "odmowę"),
    "sv": ("ja", "nej"),
}
# Articles of the regulation are the only numbers that are not facts.
NUMBERS: Final = {"long-basis": ["6", "1"], "long-data": ["5", "7"]}

# Of speech up to the end of one question, with the short facts above, at the default voices' pace.
LONGEST_S: Final = 95.0


def document(language: str) -> dict[str, Any]:
    return tomllib.loads((PROMPTS / language / "recording.toml").read_text(encoding="utf-8"))


def notice(language: str) -> Notice:
    found, problems = parse_notice(document(language), language)
    assert problems == ()
    assert found is not None
    return found


def script(language: str, purposes: tuple[str, ...], *, several: bool = False, **facts: str) -> Script:
    found, problems = compose(notice(language), purposes, FACTS | facts, several_languages=several)
    assert problems == ()
    assert found is not None
    return found


def texts(language: str) -> dict[str, str]:
    """Every spoken text of a notice by a name that says where it stands."""
    found = notice(language)
    spoken = {segment.id: segment.text for segment in (*found.segments, *found.long)}
    for purpose in found.purposes.values():
        spoken |= {f"{purpose.id}-statement": purpose.statement, f"{purpose.id}-question": purpose.question}
    spoken |= {f"choice-{name}": getattr(found.choice, name) for name in CHOICE}
    return spoken | dict(found.results)


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?!])\s+", text)


def hits(pattern: str, text: str) -> list[str]:
    return re.findall(rf"\b(?:{pattern})\b", text, re.IGNORECASE)


def apart(one: float, other: float) -> float:
    """By how much of the longer one two lengths differ."""
    return abs(one - other) / max(one, other)


def seconds(text: str, language: str) -> float:
    """How long espeak-ng's voice of a language speaks, without the silence at both ends."""
    speech = speak(text, espeak_voice(language))
    samples = [abs(sample) for (sample,) in struct.iter_unpack("<h", speech.pcm)]
    threshold = max(samples) / 50
    loud = [number for number, sample in enumerate(samples) if sample > threshold]
    return (loud[-1] - loud[0]) / (speech.rate * speech.channels)


def test_every_folder_is_a_language_we_ship() -> None:
    assert tuple(sorted(p.name for p in PROMPTS.iterdir() if p.is_dir())) == LANGUAGES
    assert all([p.name for p in (PROMPTS / language).iterdir()] == ["recording.toml"] for language in LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_parses_with_its_language_and_unique_ids(language: str) -> None:
    found = notice(language)
    assert (found.id, found.language) == ("recording", language)
    assert "version" not in document(language)  # a version is given by publishing
    ids = [segment.id for segment in (*found.segments, *found.long)] + list(found.purposes)
    assert len(ids) == len(set(ids))
    assert tuple(found.purposes) == PURPOSES
    assert tuple(found.results) == (*RESULTS, REFERENCE)
    assert tuple(document(language)["choice"]) == CHOICE
    assert 3 <= len(found.long) <= 5


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("purposes", [*((purpose,) for purpose in PURPOSES), PURPOSES], ids="+".join)
@pytest.mark.parametrize("several", [False, True])
def test_twelve_elements_for_each_purpose_and_for_all(language: str, purposes: tuple[str, ...], several: bool) -> None:
    """R2: nothing mandatory is missing before the choice, on a line with one language or several."""
    found = script(language, purposes, several=several)
    said = [number for segment in (*found.information, *found.questions.values()) for number in segment.elements]
    assert set(said) == set(ELEMENTS)
    ids = [segment.id for segment in found.segments()]
    assert len(ids) == len(set(ids))
    assert ("language" in ids) is several
    assert [f"{purpose}-statement" in ids and f"{purpose}-question" in ids for purpose in PURPOSES] == [
        purpose in purposes for purpose in PURPOSES
    ]
    assert not any("{" in segment.text or "}" in segment.text for segment in found.segments())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_words_say_the_elements(language: str) -> None:
    """R2: what a segment claims to say stands in its words, in every language the same things."""
    spoken = texts(language)
    for name, pieces in SAID[language].items():
        for piece in pieces:
            assert piece.lower() in spoken[name].lower(), name
        assert len(pieces) == len(SAID["en"][name]), name
    assert list(SAID[language]) == list(SAID["en"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_ids_elements_and_placeholders_in_all_languages(language: str) -> None:
    ours, english = document(language), document("en")
    assert list(ours) == list(english)
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
        "withdrawal-code": {"code_withdraw"},
        "choice-yes": {"key_yes"},
        "choice-no": {"key_no"},
        "choice-otherwise": set(),
        "long-withdrawal": {"withdrawal_contact", "web_address", "key_repeat"},
    }
    assert {name: set(used[name]) for name in needed} == needed
    assert [segment.id for segment in found.segments if segment.only_if] == ["language", "withdrawal-code"]
    # keys are named where the caller uses them, nowhere else: questions only ask, results not even that
    for key in sorted(name for name in PLACEHOLDERS if name.startswith("key_")):
        assert [name for name in used if key in used[name]] == [name for name in needed if key in needed[name]]
    assert all(text.count("{" + name + "}") == 1 for text in spoken.values() for name in placeholders(text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_are_facts_or_articles_of_law(language: str) -> None:
    for name, text in texts(language).items():
        assert re.findall(r"\d+", re.sub(r"\{\w+\}", "", text)) == NUMBERS.get(name, []), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_question_asks_for_its_purpose_and_nothing_else(language: str) -> None:
    """R4: one question a purpose; it and the statement name that purpose, no other one."""
    purposes = notice(language).purposes
    for purpose in purposes.values():
        assert len(sentences(purpose.question)) == 1
        assert purpose.question.endswith("?")
        assert 2 <= len(sentences(purpose.statement)) <= 3
        assert purpose.name in purpose.statement
        for other in purposes.values():
            # by the beginnings of its words: their endings change with the case
            named = all(word[:4] in purpose.question for word in other.name.split() if len(word) > 3)
            assert named is (other is purpose), other.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_yes_and_no_weigh_alike(language: str) -> None:
    """R5: yes and no in one breath, with the same words around them and of the same length."""
    choice = notice(language).choice
    filled = [choice.yes.format_map(FACTS), choice.no.format_map(FACTS)]
    assert apart(*map(len, filled)) <= 0.2
    assert all(len(sentences(text)) == 1 and text.endswith(".") for text in filled)
    yes, no = YES_NO[language]
    frames = [
        re.sub(rf"\{{\w+\}}|\b{word}\b", "_", text, flags=re.IGNORECASE)
        for word, text in ((yes, choice.yes), (no, choice.no))
    ]
    assert frames[0] == frames[1]
    assert frames[0].count("_") == 2
    (question,) = script(language, ("training",)).questions.values()
    asked = notice(language).purposes["training"].question
    assert question.parts == (asked, *filled, choice.otherwise)
    assert question.text == " ".join(question.parts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_granted_and_declined_promise_the_same(language: str) -> None:
    """R5: neither a reward nor a penalty: both are of one length and end in the same words."""
    results = notice(language).results
    granted, declined = (sentences(results[name]) for name in ("granted", "declined"))
    assert len(granted) == len(declined) == 3
    assert granted[-1] == declined[-1]
    assert apart(len(results["granted"]), len(results["declined"])) <= 0.2
    assert hits(YES_NO[language][0], granted[0])
    assert hits(YES_NO[language][1], declined[0])
    assert sentences(results["unrecorded"])[-1].split()[-1] == granted[-1].split()[-1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_vague_and_no_weighted_wording(language: str) -> None:
    for name, text in texts(language).items():
        plain = re.sub(r"\{\w+\}", "", text)
        assert hits(VAGUE[language], plain) == [], name
        assert hits(WEIGHTED[language], plain) == [], name
        assert text == " ".join(text.split()), name
        assert text.lstrip("¿")[0].isupper(), name
        assert text.endswith((".", "?")), name
        assert "!" not in text, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_promises_only_what_is_kept(language: str) -> None:
    """R2, R13: recorded until the call ends, also when passed on; a withdrawal erases; no access log is promised."""
    for name, text in texts(language).items():
        assert hits(UNKEPT[language], text) == [], name


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("da", "Samtalen kan blive optaget."),
        ("da", "Samtalen kan optages."),
        ("de", "Das Gespräch kann aufgezeichnet werden."),
        ("de", "Gegebenenfalls wird aufgezeichnet."),
        ("en", "This call may be recorded."),
        ("en", "It can be heard."),
        ("es", "Esta llamada puede ser grabada."),
        ("es", "La llamada puede grabarse."),
        ("fi", "Puhelu voidaan tallentaa."),
        ("fi", "Puhelu saatetaan tallentaa."),
        ("fr", "Cet appel peut être enregistré."),
        ("fr", "Il est susceptible d'être écouté."),
        ("nl", "Dit gesprek kan worden opgenomen."),
        ("no", "Samtalen kan bli tatt opp."),
        ("no", "Samtalen kan lagres."),
        ("pl", "Rozmowa może być nagrywana."),
        ("pl", "Niektóre rozmowy są nagrywane."),
        ("sv", "Samtalet kan komma att spelas in."),
    ],
)
def test_the_list_of_vague_words_finds_what_it_should(language: str, text: str) -> None:
    assert hits(VAGUE[language], text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("da", "Hjælp os med at blive bedre."),
        ("de", "Sonst endet der Anruf."),
        ("en", "Please say yes, you are served faster."),
        ("es", "Por favor, diga que sí."),
        ("fi", "Muuten puhelu päättyy."),
        ("fr", "Dites oui, s'il vous plaît."),
        ("nl", "U moet ja zeggen."),
        ("no", "Du må si ja."),
        ("pl", "Proszę wyrazić zgodę."),
        ("sv", "Annars avslutas samtalet."),
    ],
)
def test_the_list_of_weighted_words_finds_what_it_should(language: str, text: str) -> None:
    assert hits(WEIGHTED[language], text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_written_short(language: str) -> None:
    """R2: a notice that nobody hears out informs nobody."""
    found = script(language, ("training",))
    said = [segment.text for segment in (*found.information, *found.questions.values())]
    assert 110 <= len(" ".join(said).split()) <= 230
    assert max(len(sentence.split()) for text in said for sentence in sentences(text)) <= 30
    assert max(len(sentence.split()) for text in texts(language).values() for sentence in sentences(text)) <= 35


def test_spoken_short_and_alike() -> None:
    """R2, R5: the default voices of every language: how long a caller listens, and yes no longer than no."""
    for language in LANGUAGES:
        found = script(language, ("training",))
        (question,) = found.questions.values()
        said = " ".join([*(segment.text for segment in found.information), question.text])
        assert 40.0 <= speak(said, espeak_voice(language)).duration_s <= LONGEST_S, language
        yes, no = (seconds(text, language) for text in question.parts[1:3])
        assert apart(yes, no) <= 0.15, language
