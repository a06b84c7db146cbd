"""The supervisory authorities of the European Economic Area, the United Kingdom and Switzerland, by their names.

From the list of members of the European Data Protection Board, and the authorities' own pages. A name counts as named
where its words stand one after the other, in any case and with any ending: "beim Landesbeauftragten für …" too.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final

AUTHORITIES: Final[dict[str, tuple[str, ...]]] = {
    "AT": (
        "Österreichische Datenschutzbehörde",
        "Datenschutzbehörde Österreich",
        "Austrian Data Protection Authority",
        "Datenschutzbehörde der Republik Österreich",
        "Datenschutzbehörde, Wien",
        "dsb.gv.at",
    ),
    "BE": (
        "Gegevensbeschermingsautoriteit",
        "Autorité de protection des données",
        "GBA",
        "APD",
        "Belgische Datenschutzbehörde",
        "Belgian Data Protection Authority",
        "Vlaamse Toezichtcommissie",
    ),
    "BG": ("Комисия за защита на личните данни", "Commission for Personal Data Protection", "КЗЛД", "CPDP"),
    "CH": (
        "Eidgenössischer Datenschutz- und Öffentlichkeitsbeauftragter",
        "EDÖB",
        "PFPDT",
        "IFPDT",
        "FDPIC",
        "Eidgenössische Datenschutz- und Öffentlichkeitsbeauftragte",
        "Incaricato federale della protezione dei dati",
        "Préposé fédéral à la protection des données",
        "Federal Data Protection and Information Commissioner",
    ),
    "CY": (
        "Επίτροπος Προστασίας Δεδομένων Προσωπικού Χαρακτήρα",
        "Office of the Commissioner for Personal Data Protection",
        "Γραφείο Επιτρόπου Προστασίας Δεδομένων",
    ),
    "CZ": ("Úřad pro ochranu osobních údajů", "ÚOOÚ", "Czech Office for Personal Data Protection"),
    "DE": (
        "Bundesbeauftragte für den Datenschutz und die Informationsfreiheit",
        "BfDI",
        "Bundesdatenschutzbeauftragte",
        "Bundesbeauftragter für den Datenschutz",
        "Federal Commissioner for Data Protection and Freedom of Information",
    ),
    "DE-BB": (
        "Landesbeauftragte für den Datenschutz und für das Recht auf Akteneinsicht",
        "LDA Brandenburg",
        "Landesbeauftragte für den Datenschutz Brandenburg",
    ),
    "DE-BE": (
        "Berliner Beauftragte für Datenschutz und Informationsfreiheit",
        "Berliner Datenschutzbeauftragte",
        "BlnBDI",
        "Berlin Commissioner for Data Protection",
    ),
    "DE-BW": (
        "Landesbeauftragte für den Datenschutz und die Informationsfreiheit Baden-Württemberg",
        "LfDI Baden-Württemberg",
        "Landesbeauftragte für Datenschutz Baden-Württemberg",
    ),
    "DE-BY": (
        "Bayerisches Landesamt für Datenschutzaufsicht",
        "BayLDA",
        "Bayerischer Landesbeauftragter für den Datenschutz",
        "Landesamt für Datenschutzaufsicht",
        "Bayerische Landesbeauftragte für den Datenschutz",
        "BayLfD",
    ),
    "DE-HB": (
        "Landesbeauftragte für Datenschutz und Informationsfreiheit Bremen",
        "LfDI Bremen",
        "Landesbeauftragte für Datenschutz und Informationsfreiheit der Freien Hansestadt Bremen",
    ),
    "DE-HE": (
        "Hessische Beauftragte für Datenschutz und Informationsfreiheit",
        "HBDI",
        "Hessischer Datenschutzbeauftragter",
    ),
    "DE-HH": (
        "Hamburgische Beauftragte für Datenschutz und Informationsfreiheit",
        "HmbBfDI",
        "Hamburgischer Datenschutzbeauftragter",
    ),
    "DE-MV": (
        "Landesbeauftragte für Datenschutz und Informationsfreiheit Mecklenburg-Vorpommern",
        "LfDI M-V",
        "Landesbeauftragte für den Datenschutz Mecklenburg-Vorpommern",
    ),
    "DE-NI": ("Landesbeauftragte für den Datenschutz Niedersachsen", "LfD Niedersachsen"),
    "DE-NW": (
        "Landesbeauftragte für Datenschutz und Informationsfreiheit Nordrhein-Westfalen",
        "LDI NRW",
        "LDI Nordrhein-Westfalen",
        "Landesbeauftragte für Datenschutz Nordrhein-Westfalen",
        "Landesbeauftragte für Datenschutz und Informationsfreiheit NRW",
    ),
    "DE-RP": (
        "Landesbeauftragte für den Datenschutz und die Informationsfreiheit Rheinland-Pfalz",
        "LfDI Rheinland-Pfalz",
        "Landesbeauftragte für Datenschutz Rheinland-Pfalz",
    ),
    "DE-SH": (
        "Unabhängiges Landeszentrum für Datenschutz",
        "ULD",
        "Landesbeauftragte für Datenschutz Schleswig-Holstein",
    ),
    "DE-SL": ("Unabhängiges Datenschutzzentrum Saarland", "Landesbeauftragte für Datenschutz Saarland"),
    "DE-SN": ("Sächsische Datenschutz- und Transparenzbeauftragte", "SDTB", "Sächsischer Datenschutzbeauftragter"),
    "DE-ST": ("Landesbeauftragte für den Datenschutz Sachsen-Anhalt", "LfD Sachsen-Anhalt"),
    "DE-TH": (
        "Thüringer Landesbeauftragte für den Datenschutz",
        "TLfDI",
        "Thüringer Landesbeauftragter für den Datenschutz",
    ),
    "DK": ("Datatilsynet", "Danish Data Protection Agency", "Det danske datatilsyn", "Dänische Datenschutzbehörde"),
    "EE": ("Andmekaitse Inspektsioon", "Estonian Data Protection Inspectorate"),
    "ES": ("Agencia Española de Protección de Datos", "AEPD", "Spanish Data Protection Agency"),
    "ES-AN": ("Consejo de Transparencia y Protección de Datos de Andalucía",),
    "ES-CT": ("Autoritat Catalana de Protecció de Dades", "Autoridad Catalana de Protección de Datos", "APDCAT"),
    "ES-PV": (
        "Datuak Babesteko Euskal Bulegoa",
        "Agencia Vasca de Protección de Datos",
        "Autoridad Vasca de Protección de Datos",
        "Datuak Babesteko Euskal Agintaritza",
    ),
    "EU": (
        "European Data Protection Supervisor",
        "EDPS",
        "Europäischer Datenschutzbeauftragter",
        "Contrôleur européen de la protection des données",
        "Den Europæiske Tilsynsførende for Databeskyttelse",
    ),
    "FI": (
        "Tietosuojavaltuutetun toimisto",
        "Tietosuojavaltuutettu",
        "Dataombudsmannens byrå",
        "Dataombudsmannen",
        "Office of the Data Protection Ombudsman",
        "Finnish Data Protection Ombudsman",
    ),
    "FO": ("Dátueftirlitið", "Faroese Data Protection Authority"),
    "FR": ("Commission nationale de l'informatique et des libertés", "CNIL", "French Data Protection Authority"),
    "GB": ("Information Commissioner's Office", "Information Commissioner", "Information Commission", "ICO"),
    "GG": ("Office of the Data Protection Authority Guernsey", "ODPA"),
    "GI": ("Gibraltar Regulatory Authority",),
    "GR": ("Αρχή Προστασίας Δεδομένων Προσωπικού Χαρακτήρα", "Hellenic Data Protection Authority"),
    "HR": ("Agencija za zaštitu osobnih podataka", "AZOP", "Croatian Personal Data Protection Agency"),
    "HU": (
        "Nemzeti Adatvédelmi és Információszabadság Hatóság",
        "NAIH",
        "Hungarian National Authority for Data Protection and Freedom of Information",
    ),
    "IE": ("Data Protection Commission", "An Coimisiún um Chosaint Sonraí", "DPC"),
    "IM": ("Isle of Man Information Commissioner",),
    "IS": ("Persónuvernd", "Icelandic Data Protection Authority"),
    "IT": (
        "Garante per la protezione dei dati personali",
        "Garante privacy",
        "Italian Data Protection Authority",
        "GPDP",
    ),
    "JE": ("Jersey Office of the Information Commissioner", "JOIC"),
    "LI": (
        "Datenschutzstelle Fürstentum Liechtenstein",
        "Datenschutzstelle Liechtenstein",
        "Liechtenstein Data Protection Authority",
    ),
    "LT": ("Valstybinė duomenų apsaugos inspekcija", "VDAI", "Lithuanian State Data Protection Inspectorate"),
    "LU": ("Commission nationale pour la protection des données", "CNPD", "Nationale Kommission für den Datenschutz"),
    "LV": ("Datu valsts inspekcija", "DVI", "Latvian Data State Inspectorate"),
    "MT": (
        "Information and Data Protection Commissioner",
        "Kummissarju għall-Informazzjoni u l-Protezzjoni tad-Data",
        "IDPC",
    ),
    "NL": ("Autoriteit Persoonsgegevens", "Dutch Data Protection Authority", "AP"),
    "NO": ("Datatilsynet", "Norwegian Data Protection Authority", "Norwegische Datenschutzbehörde"),
    "PL": (
        "Prezes Urzędu Ochrony Danych Osobowych",
        "Urząd Ochrony Danych Osobowych",
        "UODO",
        "Urzędu Ochrony Danych Osobowych",
        "President of the Personal Data Protection Office",
        "Polish Data Protection Authority",
    ),
    "PT": ("Comissão Nacional de Proteção de Dados", "Portuguese Data Protection Authority"),
    "RO": (
        "Autoritatea Națională de Supraveghere a Prelucrării Datelor cu Caracter Personal",
        "ANSPDCP",
        "National Supervisory Authority for Personal Data Processing",
    ),
    "SE": ("Integritetsskyddsmyndigheten", "IMY", "Swedish Authority for Privacy Protection"),
    "SI": ("Informacijski pooblaščenec", "Information Commissioner of the Republic of Slovenia"),
    "SK": ("Úrad na ochranu osobných údajov", "Office for Personal Data Protection of the Slovak Republic"),
}
"""Countries, as ISO 3166 names them, and their authorities' names. Capitals alone stand for an abbreviation."""

_GENERIC = re.compile(
    r"(?:the|our|your|a|an|of|for|and|in|national|competent|responsible|local|state|country|"
    r"data|protections?|privacy|personal|supervisory|supervision|regulatory|regulators?|authority|agency|office|"
    r"commissioners?|ombudsman|watchdog|"
    r"den|det|de|en|i|og|och|for|för|om|stedlige|nationale|nationella|ansvarlige|kompetente|behöriga|"
    r"tilsyn\w*|tillsyn\w*|databeskyttelse\w*|dataskydds?\w*|personvern\w*|myndighe\w*|"
    r"der|die|das|dem|des|bei|zur|zum|zuständige\w?|ihre\w?|unsere\w?|örtliche\w?|für|"
    r"aufsicht\w*|datenschutz(?:aufsicht\w*|behörde\w*|beauftragte\w*)?|behörde\w*|landesbeauftragte\w*|landesdatenschutz\w*|"
    r"het|een|uw|onze|bevoegde|nationale|toezicht\w*|privacy\w*|autoriteit|gegevensbescherming\w*|"
    r"la|le|l|les|du|d|des|autorité|commission|contrôle|surveillance|compétente|nationale|données|personnelles|"
    r"el|los|las|su|autoridad|agencia|control|protección|datos|competente|nacional|personales|"
    r"il|lo|dei|dati|di|per|autorità|controllo|garante|protezione|nazionale|vigilanza|personali|"
    r"organ\w*|nadzor\w*|urz[ąę]d\w*|ochron\w*|danych|osobowych|właściw\w*|krajow\w*|"
    r"danish|swedish|norwegian|finnish|icelandic|german|austrian|swiss|dutch|belgian|french|spanish|italian|polish|irish|"
    r"british|uk|european|dansk\w*|svensk\w*|norsk\w*|deutsch\w*|österreichisch\w*|nederlands\w*|belgisch\w*|français\w*|"
    r"belge|suisse|español\w*|italian\w*|polski\w*|suom\w+|"
    r"valvontaviranomai\w*|tietosuojaviranomai\w*|viranomai\w*|tietosuoja|toimivaltai\w*|kansalli\w*|paikalli\w*)"
)
_INSTITUTION = re.compile(
    r"authorit|agency|office|commission|regulator|ombudsman|watchdog|supervis|tilsyn|tillsyn|myndighe|aufsicht|behörde|"
    r"beauftragte|autorit|autorid|agencia|toezicht|garante|organ|nadz|urz|viranomai"
)
_WORD = re.compile(r"[^\W_]+")
_SHORT = re.compile(r"[A-ZÄÖÜÚ][A-Za-zÄÖÜÚ]*[A-ZÄÖÜÚ]{1,}\w*")
_STEM = 5
"""Shorter words have no ending that differs by case."""
_ENDING = 3


@lru_cache(maxsize=2048)
def named(text: str, declared: tuple[str, ...] = ()) -> frozenset[str]:
    """Which authorities a text names: codes of :data:`AUTHORITIES`, and names of ``declared`` as they are written."""
    words, capitals = _words(text), frozenset(_WORD.findall(text))
    known = {code for code, names in _known() for name in names if _stands(name, words, capitals)}
    return frozenset(known | {name for name in declared if _stands(_name(name), words, capitals)})


def generic(name: str) -> bool:
    """Whether a name is none: "the data protection authority", "Aufsichtsbehörde"."""
    words = [word.lower() for word in _WORD.findall(name)]
    return any(map(_INSTITUTION.search, words)) and all(map(_GENERIC.fullmatch, words))


@cache
def _known() -> tuple[tuple[str, tuple[tuple[str, ...] | str, ...]], ...]:
    return tuple((code, tuple(_name(name) for name in names)) for code, names in AUTHORITIES.items())


def _name(name: str) -> tuple[str, ...] | str:
    """An abbreviation as it is, any other name as its words."""
    return name if _SHORT.fullmatch(name) else _words(name)


def _words(text: str) -> tuple[str, ...]:
    apart = unicodedata.normalize("NFKD", text.casefold().replace("ł", "l").replace("ø", "o"))
    return tuple(_WORD.findall("".join(c for c in apart if not unicodedata.combining(c))))


def _stands(name: tuple[str, ...] | str, words: tuple[str, ...], capitals: frozenset[str]) -> bool:
    if isinstance(name, str):
        return name in capitals
    return any(
        all(map(_alike, name, words[begin:]))
        for begin in range(len(words) - len(name) + 1)
        if _alike(name[0], words[begin])
    )


def _alike(known: str, word: str) -> bool:
    """The same word, or with another ending: "datatilsynets", "beauftragter"."""
    if known == word:
        return True
    stem = max(_STEM, len(known) - _ENDING)
    return len(known) >= stem and len(word) <= len(known) + _ENDING and word[:stem] == known[:stem]
