"""Dutch."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:opgenomen|beluisterd|afgeluisterd|meegeluisterd|bewaard|opgeslagen|vastgelegd|gemonitord)"
_CALLS = r"(?:gesprekken|telefoongesprekken|oproepen|gevallen|opnames|opnamen|doelen|doeleinden|personen)"
_AFTER = r"(?! (?:\w+ )?(?:niet|niets|geen)\b)"
_AGREED = (
    rf"(?:stemt u|gaat u (?:\w+ )?akkoord|geeft u|accepteert u|aanvaardt u|bent u akkoord|gaan (?:wij|we) ervan uit|"
    rf"beschouwen|nemen (?:wij|we) (?:het|dit|uw)|wordt (?:het|dit|uw) (?:\w*gesprek) opgenomen|(?:begint|"
    rf"start) de opname|"
    rf"(?:het|dit|uw) (?:\w*gesprek) wordt opgenomen|geldt dat als){_AFTER}"
)
_STAY = (
    r"(?:aan de lijn blijft|blijft|wacht|doorgaat|verder ?gaat|doorpraat|spreekt|niet ophangt|niets zegt|niets doet|"
    r"niets toetst|niet toetst|geen toets|zwijgt|niet reageert|niet antwoordt|geen bezwaar|de verbinding)"
)

WORDS: Final = Words(
    negation=r"niet|geen|niets|nooit|niemand|noch|evenmin",
    subject=r"u|je|jij|wij|we|ze|zij",
    vague=(
        r"(?<!is )(?<!het )(?:mogelijk|mogelijkerwijs)|misschien|wellicht|eventueel|eventuele|waarschijnlijk|"
        r"vermoedelijk",
        r"soms|af en toe|nu en dan|potentieel|bij tijd en wijle|incidenteel",
        rf"(?:sommige|bepaalde|enkele|een aantal|geselecteerde|een deel van)(?: \w+)? {_CALLS}|niet alle gesprekken",
        r"een (?:selectie|steekproef) van (?:de |onze )?gesprekken",
        r"indien (?:nodig|noodzakelijk|van toepassing|relevant)|zo ?nodig|waar (?:nodig|mogelijk)|"
        r"wanneer nodig|als dat nodig is",
        r"(?:zolang|zo lang)(?: als)?(?: dat| dit| het)?(?: \w+)? (?:nodig|noodzakelijk)(?: is)?",
        r"een (?:bepaalde|beperkte|zekere|korte) (?:tijd|periode|termijn)(?! van)|een tijdje|enige tijd",
        r"in principe|doorgaans|gewoonlijk|normaal gesproken|normaliter|meestal|in de regel",
        r"onder (?:andere|meer)|o\. ?a\.?|e\. ?d\.?|enz|enzovoorts?|etc|en dergelijke|of iets dergelijks|"
        r"en soortgelijke",
    ),
    modal=(
        rf"(?<!u )(?:kan|kunnen|zou|zouden)(?: (?!alleen|niet|u|pas|enkel|slechts|altijd|uitsluitend)\S+){{0,5}}? "
        rf"(?:worden {_RECORDED}|{_RECORDED} worden)",
        rf"{_RECORDED} (?:kan|kunnen|zou|zouden)(?: kunnen)? worden|{_RECORDED} worden (?:kan|kunnen)",
        r"(?:wij|we) (?:kunnen|zouden)(?: (?!niet|alleen)\S+){0,5}? (?:opnemen|meeluisteren|beluisteren|afluisteren)",
        r"kunnen (?:wij|we)(?: (?!niet|alleen)\S+){0,5}? (?:opnemen|meeluisteren|beluisteren|afluisteren)",
        r"opnames? (?:kan|kunnen|zou|zouden)(?! niet)…(?:gebruikt|plaatsvinden|voorkomen|gedeeld|gemaakt)",
        r"het (?:kan (?:zijn|gebeuren|voorkomen)|is mogelijk) dat|opnames? (?:is|zijn) mogelijk|"
        r"behouden (?:wij |we )?ons",
    ),
    passive=(
        r"(?:als|indien|wilt) u…(?:niet|geen|bezwaar)…(?:opgenomen|opname|opnames|opnemen)…(?:meld|meldt|zeg|"
        r"zegt|geef|geeft|laat|vertel)",
        rf"(?:als|wanneer|indien|zolang) (?:u|je)(?: \S+){{0,4}}? {_STAY}~{_AGREED}",
        r"door…(?:blijven|wachten|gaan|hangen|praten|spreken|zeggen|toetsen|zwijgen)~(?:stemt|gaat|geeft|accepteert)"
        rf"{_AFTER}",
        r"(?:stilte|zwijgen|geen antwoord|geen reactie|geen bezwaar|geen toets|blijven hangen|"
        r"aan de lijn blijven|doorgaan)"
        r"~(?:betekent|is|geldt|telt|beschouwen|wordt|zien)~(?:ja|toestemming|akkoord|instemming)",
        r"opgenomen,? (?:tenzij|behalve als|behalve wanneer)|tenzij u~(?:nemen (?:wij|we)|"
        r"wordt (?:\S+ ){1,3}?opgenomen)",
        r"(?:stilzwijgende|impliciete|veronderstelde) (?:toestemming|instemming)|gaan (?:wij |"
        r"we )?er ?van ?uit dat u",
    ),
    weighing=(
        r"sneller|vlugger|eerder (?:geholpen|aan de beurt)|voorrang|(?<!dezelfde )prioriteit|"
        r"vooraan in de (?:rij|wachtrij)",
        r"langer (?:wachten|wachttijd)|langere (?:wachttijd|wachtrij)|(?:wacht|wachten)(?: \w+)? langer|"
        r"kortere wachttijd",
        r"langzamer|vertraging\w*|(?:beter|betere) (?:\w+ )?(?:service|hulp|dienstverlening|ondersteuning)",
        r"(?<!zonder )(?:nadeel|nadelen|nadelige|gevolgen|consequenties)|voordeel|voordelen",
        r"(?:moet|moeten|dient|bent verplicht)(?: u)?(?! niet)…(?:toestemmen|toestemming (?:te )?geven|"
        r"akkoord (?:te )?gaan|"
        r"instemmen|ja (?:te )?(?:kiezen|toetsen|zeggen))",
    ),
    pressure=(
        r"(?:moet|dient|gelieve)…op te hangen|hang(?:t u)? (?:dan )?op(?! betekent)|moet u ophangen",
        r"korting\w*|cadeau\w*|geschenk\w*|winnen|win|wint|prijsvraag|beloning\w*|bonus\w*|waardebon\w*|loterij\w*",
        r"helaas|jammer|spijtig|betreuren|het spijt ons|teleurgesteld",
        r"kunnen (?:wij|we)(?: u)?(?: \S+){0,2}? niet (?:\w+ ){0,3}?(?:helpen|verbinden|doorverbinden|"
        r"behandelen|van dienst)",
        r"(?:wij|we) kunnen(?: u)?(?: \S+){0,2}? niet (?:\w+ ){0,3}?(?:helpen|verbinden|doorverbinden|"
        r"behandelen|van dienst)",
        r"(?:wordt|is) (?:het|dit|uw) (?:telefoon)?gesprek (?:dan )?(?:beëindigd|verbroken|afgebroken)|"
        r"verbreken (?:wij|we)",
        r"(?:het|dit|uw) (?:telefoon)?gesprek wordt (?:dan )?(?:beëindigd|verbroken|afgebroken)|"
        r"beëindigen (?:wij|we)",
        r"(?:eindigt|stopt) (?:het|dit|uw) gesprek",
        r"(?:wij|we) (?:raden|adviseren|bevelen|hopen|moedigen)|(?:raden|adviseren|bevelen) (?:wij|we)",
        r"(?:kies|kiest u|zeg|toets) (?:alstublieft|graag|bij voorkeur) ja|kies (?:\w+ )?ja(?! of)|"
        r"gelieve (?:\w+ )?(?:ja|toe te stemmen)",
        r"help(?:t)? (?:u )?ons|bedankt voor uw (?:toestemming|keuze)|"
        r"dank (?:u )?(?:wel )?(?:voor uw toestemming|dat u toestemt)",
        r"in uw (?:eigen )?(?:belang|voordeel)|de meeste (?:bellers|klanten|mensen)",
        r"(?:slechtere|beperkte|mindere) (?:\w+ )?(?:service|hulp|dienstverlening)|extra kosten|op eigen risico",
        r"alleen (?:als|wanneer) u…(?:helpen|geholpen)",
    ),
    stress=(
        r"gewoon|slechts|enkel|alleen|graag|nu|snel|alstublieft|natuurlijk|uiteraard|absoluut|echt|liever|"
        r"helaas|even"
    ),
    day=r"(?:kalender|volle )?(?:dag|dagen|etmaal|etmalen)",
    week=r"weken|week",
    month=r"maanden|maand",
    year=r"jaar|jaren",
    hour=r"uren|uur",
    half_year=r"half jaar|een half jaar|halfjaar",
    one=r"een|één|1",
    keeping=r"bewaard|bewaren|bewaart|opgeslagen|slaan|bewaartermijn|gewist|wissen|verwijderd|vernietigd",
    answering=r"antwoord|antwoorden|beantwoord\w*|reactie|reageren|verzoek\w*|klacht\w*|bezwaar",
    press=r"toets|toetst|toetsen|druk|drukt|drukken|kies|kiest|tik|tikt",
    key=r"toets|knop|cijfer",
    filler=r"op|de|het|toets|cijfer|knop|nummer|nu|dan|u|uw|telefoon|alstublieft",
    either=r"of|en",
    purpose=r"voor|om|als|bij|wanneer|betekent",
    unit=(
        r"s|sec|seconden?|minuten?|minuut|uur|uren|dagen?|dag|weken|week|maand\w*|jaar|jaren|keer|maal|"
        r"toetsen|talen|euro"
    ),
    digits=(
        "nul",
        "een|één",
        "twee",
        "drie",
        "vier",
        "vijf",
        "zes",
        "zeven",
        "acht",
        "negen",
        "ster|sterretje",
        "hekje|hashtag",
    ),
    pace=15.3,
    words_a_minute=(95, 180),
    word_length=5.8,
    authorities=("Autoriteit Persoonsgegevens", "Gegevensbeschermingsautoriteit"),
)
