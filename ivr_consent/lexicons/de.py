"""German."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:aufgezeichnet|aufgenommen|mitgeschnitten|mitgehört|abgehört|gespeichert|protokolliert|überwacht)"
_USED = r"(?:verwendet|genutzt|ausgewertet|angehört|weitergegeben|herangezogen)"
_RECORD = r"(?:aufzeichnen|aufnehmen|mitschneiden|mithören|abhören)"
_CALLS = r"(?:gesprächen?|anrufen?|telefonaten?|fällen?|aufzeichnungen|zwecken?|personen)"
_AFTER = r"(?! (?:\w+ ){0,3}?(?:nicht|nichts|kein|keine|keiner)\b)"
_AGREED = (
    rf"(?:stimmen sie|willigen sie|erklären sie|geben sie|akzeptieren sie|erteilen sie|"
    rf"sind sie (?:\w+ )?einverstanden|"
    rf"gilt (?:dies|das)|gehen wir davon|werten wir|zeichnen wir|nehmen wir|(?:beginnt|startet) die aufzeichnung|"
    rf"wird (?:das|dieses|ihr|der|dieser) (?:gespräch|anruf|telefonat)|(?:das|dieses) gespräch wird){_AFTER}"
)
_STAY = (
    r"(?:in der leitung|am apparat|am telefon|dran|bleiben|dranbleiben|warten|weitersprechen|sprechen|"
    r"fortfahren|fortsetzen|"
    r"nicht auflegen|nicht widersprechen|nichts sagen|schweigen|nichts tun|nichts drücken|keine taste drücken|"
    r"nicht reagieren)"
)
_CONSENT = r"(?:ja|einwilligung|zustimmung|einverständnis|einwilligung an|zustimmung an)"

WORDS: Final = Words(
    negation=r"nicht|nichts|kein|keine|keinen|keinem|keiner|keinerlei|niemand|nie|niemals|weder|noch",
    subject=r"sie|wir|es|man",
    vague=(
        r"gegebenenfalls|ggf|eventuell\w*|evtl|möglicherweise|vielleicht|unter umständen|u\. ?u\.?|womöglich|"
        r"wahrscheinlich",
        r"voraussichtlich|potenziell|potentiell|manchmal|gelegentlich|zeitweise|mitunter|hin und wieder|ab und zu",
        rf"(?:einige|einigen|manche|manchen|einzelne|einzelnen|gewisse|gewissen|ausgewählte|ausgewählten|"
        rf"mehrere|diverse)"
        rf"(?: \w+)? {_CALLS}|nicht alle (?:gespräche|anrufe)|ein teil der (?:gespräche|anrufe)|in einzelfällen",
        r"eine auswahl (?:der|von) (?:gespräche|gesprächen|anrufe|anrufen)",
        r"bei bedarf|im bedarfsfall|(?:falls|soweit|sofern|wenn|wo) (?:es |dies )?(?:nötig|erforderlich|"
        r"notwendig|möglich)(?: ist)?",
        r"so ?lange,? (?:wie )?(?:es |dies |das )?(?:nötig|erforderlich|notwendig)(?: ist)?",
        r"(?:eine|für eine) (?:gewisse|begrenzte|bestimmte|kurze) zeit|einen (?:gewissen|"
        r"begrenzten) zeitraum(?! von)|eine weile",
        r"in der regel|normalerweise|üblicherweise|grundsätzlich|im prinzip|im allgemeinen|typischerweise|"
        r"meist|meistens",
        r"unter anderem|u\. ?a\.?|usw|etc|und so weiter|(?:oder|und) ähnliche[sn]?|o\. ?ä\.?|und dergleichen",
    ),
    modal=(
        rf"(?<!sie )(?:kann|können|könnte|könnten)(?: (?!nur|nicht|sie|jederzeit|ausschließlich|erst|"
        rf"ihnen|kein\w*)\S+){{0,8}}? "
        rf"(?:{_RECORDED}|{_USED}) (?:werden|sein)",
        rf"{_RECORDED} (?:werden )?(?:kann|können|könnte|könnten|dürfte|dürften)(?: werden)?",
        rf"(?:kann|können|könnte|könnten) {_RECORDED} werden",
        rf"wir (?:können|könnten)(?: (?!nur|nicht)\S+){{0,7}}? {_RECORD}|können wir(?: (?!nur|"
        rf"nicht)\S+){{0,6}}? {_RECORD}",
        rf"{_RECORD} (?:können|könnten)",
        r"es (?:kann sein|kann vorkommen|könnte sein|ist möglich|besteht die möglichkeit),? dass",
        r"behalten (?:wir )?uns (?:\w+ ){0,2}?vor|vorbehalten|aufzeichnung(?:en)? (?:ist|sind) möglich|"
        r"zu einer aufzeichnung kommen",
    ),
    passive=(
        r"(?:wenn|falls|sollten|sofern) sie…(?:nicht einverstanden|keine aufzeichnung|nicht wünschen|"
        r"nicht möchten|nicht wollen|nicht aufgezeichnet)…(?:teilen|sagen|informieren|geben|weisen) sie",
        rf"(?:wenn|sofern|falls|indem|solange) sie(?: \S+){{0,4}}? {_STAY}~{_AGREED}",
        r"(?:durch|mit)(?: \w+)? (?:verbleib|verbleiben|fortsetzung|fortsetzen|fortführung|weiterführung|"
        r"warten|schweigen|"
        r"bleiben|nutzung|nichtauflegen)~(?:stimmen|willigen|erklären|geben|akzeptieren|erteilen)"
        rf"{_AFTER}",
        r"(?:schweigen|stille|keine antwort|keine eingabe|keine taste|kein widerspruch|verbleiben|"
        r"weitersprechen|warten|"
        rf"nichts (?:zu )?sagen|wer (?:\S+ ){{0,4}}?(?:bleibt|wartet|schweigt))~(?:bedeutet|gilt|ist|zählt|"
        rf"heißt|werten|stimmt)~"
        rf"(?:{_CONSENT}|zu)",
        rf"{_RECORDED}(?: werden)?,? (?:wenn|sofern|falls|solange|soweit|außer|es sei denn),?(?: wenn| dass)? sie"
        r"(?: \S+){0,4}? (?:nicht|widersprechen|nein|ablehnen|auflegen)",
        r"(?:stillschweigend|konkludent|mutmaßlich|vermutet)e?[rn]? (?:einwilligung|zustimmung)|davon aus,? dass sie|"
        r"(?:unterstellen|nehmen an)(?: wir)?,? dass sie",
    ),
    weighing=(
        r"schneller\w*|rascher|früher (?:bedient|dran|verbunden)|bevorzugt\w*|vorrang|vorrangig|"
        r"(?<!gleiche )(?<!dieselbe )priorität",
        r"länger (?:warten|in der warteschlange)|längere (?:wartezeit\w*|warteschlange)|(?:warten|dauert|"
        r"wartet)(?: \w+){0,2}? länger",
        r"kürzere (?:wartezeit\w*|warteschlange)|langsamer|verzögerung\w*|verzögert\w*",
        r"besser(?:e|er|es|en|em)? (?:\w+ )?(?:service|hilfe|betreuung|beratung|unterstützung)",
        r"(?<!ohne )(?<!ohne jeden )(?<!ohne jegliche )(?:nachteil|nachteile|nachteilen|konsequenzen)|vorteil|"
        r"vorteile|vorteilen",
        r"(?:müssen|sollten|sollen|sind verpflichtet)(?: sie)?(?! nicht)…(?:zustimmen|zuzustimmen|einwilligen|"
        r"einzuwilligen|"
        r"ja (?:sagen|drücken|wählen))",
    ),
    pressure=(
        r"(?:legen sie|bitte)(?: \w+)? (?:bitte )?auf,? wenn|legen sie (?:bitte |dann )?auf|müssen sie auflegen",
        r"rabatt\w*|gutschein\w*|geschenk\w*|prämie\w*|gewinn\w*|gewinne|bonus\w*|belohnung\w*|verlosung\w*|"
        r"preisnachlass\w*",
        r"leider|bedauer\w+|schade|enttäusch\w+",
        r"können (?:wir )?(?:ihnen |sie )?(?:\S+ ){0,4}?(?:nicht|keine)(?: \S+){0,2}? (?:helfen|weiterhelfen|"
        r"bedienen|verbinden|"
        r"bearbeiten|hilfe|unterstützen|beraten)",
        r"(?:das|dieses|ihr) (?:gespräch|telefonat) (?:wird|ist) (?:\w+ )?(?:beendet|getrennt|abgebrochen)",
        r"(?:der|dieser|ihr) anruf (?:wird|ist) (?:\w+ )?(?:beendet|getrennt|abgebrochen)|(?:endet|"
        r"beenden wir) (?:das|der|den) \w+",
        r"wird (?:das|dieses|ihr|der|dieser) (?:gespräch|anruf|telefonat) (?:\w+ )?(?:beendet|getrennt|abgebrochen)",
        r"wir (?:\w+ )?(?:empfehlen|raten|hoffen)|(?:empfehlen|raten) wir|legen wir ihnen nahe|ermuntern wir",
        r"bitte,? (?:\w+ )?(?:sagen|wählen|drücken) sie ja|bitte (?:stimmen|willigen) sie|"
        r"bitten (?:wir )?sie,? (?:\S+ )?"
        r"(?:zuzustimmen|einzuwilligen)|wählen sie (?:bitte |am besten )?ja(?! oder)",
        r"helfen sie uns|(?:hilft|helfen) uns|uns (?:dabei )?(?:zu )?helfen|unterstützen sie uns",
        r"(?:danke|dank),? (?:dass sie|für ihre (?:einwilligung|zustimmung))",
        r"in ihrem (?:eigenen )?interesse|zu ihrem (?:eigenen )?vorteil|die meisten (?:anrufer\w*|kunden|"
        r"menschen|kundinnen)",
        r"(?:schlechter|eingeschränkt)e?[rsnm]? (?:service|hilfe|betreuung|beratung)|auf eigene gefahr|"
        r"zusätzliche kosten",
        r"nur (?:dann )?(?:helfen|weiterhelfen|verbinden),? wenn",
    ),
    stress=(
        r"einfach|nur|gerne?|jetzt|schnell|bitte|natürlich|selbstverständlich|unbedingt|wirklich|gleich|"
        r"lieber|leider|bloß"
    ),
    day=r"(?:kalender|volle )?(?:tag|tage|tagen|tages|tägige\w?|tägig)",
    week=r"wochen?|wöchige\w?",
    month=r"monate?n?|monats|monatige\w?",
    year=r"jahre?n?|jahres|jährige\w?",
    hour=r"stunden?",
    half_year=r"halbes jahr|ein halbes jahr|halben jahr|einem halben jahr|halbjahr",
    one=r"ein|eine|einen|einem|einer|eines",
    keeping=(
        r"gespeichert|speichern|speichert|aufbewahrt|aufbewahren|aufbewahrung\w*|speicherdauer|gelöscht|"
        r"löschen|vernichtet"
    ),
    answering=r"antwort|antworten|beantwort\w+|anfrage\w*|antrag\w*|beschwerde\w*|verlangen|wunsch",
    press=r"drücken|drückt|drücke|wählen|wählt|tippen|tippt|betätigen",
    key=r"taste|ziffer|knopf",
    filler=r"sie|die|den|das|auf|taste|ziffer|zahl|nummer|bitte|jetzt|nun|der|ihrem|ihres|telefon|telefons",
    either=r"oder|und|beziehungsweise|bzw\.",
    purpose=r"für|um|zum|zur|wenn|falls|bei|bedeutet",
    unit=(
        r"s|sek|sekunden?|minuten?|stunden?|tagen?|tag|tage|wochen?|monate?n?|jahre?n?|mal|tasten|sprachen|"
        r"euro|prozent"
    ),
    digits=(
        "null",
        "eins|ein|eine",
        "zwei|zwo",
        "drei",
        "vier",
        "fünf",
        "sechs",
        "sieben",
        "acht",
        "neun",
        "stern|sternchen|sterntaste|stern-taste",
        "raute|rautetaste|raute-taste|rautezeichen|doppelkreuz",
    ),
    pace=16.0,
    words_a_minute=(85, 165),
    word_length=6.8,
    authorities=(
        "Bundesbeauftragte für den Datenschutz und die Informationsfreiheit",
        "Landesbeauftragte für Datenschutz und Informationsfreiheit Nordrhein-Westfalen",
        "Österreichische Datenschutzbehörde",
        "Eidgenössischer Datenschutz- und Öffentlichkeitsbeauftragter",
    ),
)
