"""Norwegian (Bokmål)."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:tatt opp|innspilt|spilt inn|avlyttet|avlytta|medlyttet|lagret|lyttet til|overvåket|gjort opptak av)"
_RECORDING = r"(?:tas (?:\w+ )?opp|spilles (?:\w+ )?inn|avlyttes|medlyttes|lagres|overvåkes|lyttes til)"
_CALLS = r"(?:samtaler|samtalene|anrop|telefoner|tilfeller|opptak|formål|personer)"
_AFTER = r"(?! (?:\w+ )?(?:ikke|intet|ingenting|ingen)\b)"
_AGREED = (
    rf"(?:samtykker|godtar|aksepterer|godkjenner|tillater|gir du|sier du ja|tar vi opp|regner vi|anser vi|antar vi|"
    rf"tas samtalen opp|samtalen tas opp|blir samtalen tatt opp|(?:begynner|starter) opptaket|gjelder det som|"
    rf"er det (?:et )?(?:ja|samtykke)){_AFTER}"
)
_STAY = (
    r"(?:blir|venter|fortsetter|snakker|går videre|holder|henger på|ikke legger på|ikke sier|ikke trykker|"
    r"ikke svarer|"
    r"ikke gjør|ikke protesterer|lar være|sier ingenting|tier|er taus|er stille)"
)

WORDS: Final = Words(
    negation=r"ikke|ingen|intet|ingenting|aldri|verken|heller|ei",
    subject=r"du|vi|dere|de|man",
    vague=(
        r"eventuell|eventuelt|eventuelle|ev|evt|kanskje|muligens|trolig|sannsynligvis|antakelig|potensielt",
        r"iblant|av og til|noen ganger|innimellom|fra tid til annen",
        rf"(?:noen|enkelte|visse|utvalgte|en del)(?: av)?(?: \w+)? {_CALLS}|(?:ikke alle|"
        rf"et utvalg av) (?:samtaler|anrop)",
        r"ved behov|om nødvendig|(?:hvis|når) (?:det er )?(?:nødvendig|aktuelt|relevant)|"
        r"der det er (?:nødvendig|relevant)",
        r"så lenge (?:det er |som )?(?:nødvendig|påkrevd)|så lenge det er behov",
        r"i en (?:viss |kortere |begrenset )?(?:periode|tid)(?! på)|en stund|en viss tid",
        r"som regel|vanligvis|normalt|i utgangspunktet|i prinsippet|typisk|til vanlig",
        r"blant annet|bl\. ?a\.?|bl a|m\. ?m\.?|m\. ?v\.?|mv|o\. ?l\.?|osv|og så videre|og lignende|eller lignende|etc",
    ),
    modal=(
        rf"kan(?: (?!bare|kun|ikke|få|du|be|alltid|når)\w+){{0,3}}? (?:bli (?:\w+ )?{_RECORDED}|{_RECORDING})",
        rf"(?:vil|skal|ville|kunne|måtte|skulle)(?: (?!ikke|bare|kun)\w+){{0,2}}? (?:kunne|bli) (?:bli )?"
        rf"(?:{_RECORDED}|{_RECORDING})",
        r"kan komme til å (?:bli|tas|ta|spille)",
        r"vi (?:kan|kunne|vil kunne)(?: (?!bare|kun|ikke)\w+){0,3}? (?:ta opp|spille inn|avlytte|medlytte|"
        r"lytte|gjøre opptak)",
        r"opptak\w* (?:kan|kunne) (?:\w+ )?(?:bli|forekomme|brukes|benyttes|skje)|kan det (?:bli|"
        r"gjøres) (?:\w+ )?opptak",
        r"det kan (?:skje|hende|være|forekomme)(?: at)?|forbeholder (?:vi )?oss|risikerer å bli",
    ),
    passive=(
        r"(?:(?:hvis|dersom) du ikke (?:ønsker|vil)|ønsker du ikke|vil du ikke)…(?:tas opp|opptak\w*|tatt opp|"
        r"dette)…(?:si|sier|meld|meddel|"
        r"gi beskjed|opplys|informer)",
        rf"(?:hvis|når|dersom|om|så lenge) du {_STAY}~{_AGREED}",
        r"ved å (?:bli|vente|fortsette|snakke|la være|ikke|tie|bruke|ringe|holde)"
        rf"~(?:samtykker|godtar|aksepterer|godkjenner|tillater|gir){_AFTER}",
        r"(?:taushet|stillhet|manglende svar|manglende innvending|intet svar|ikke noe svar|ingen tast|å vente|"
        r"å tie|å bli)"
        r"~(?:betyr|er|gjelder|teller|regnes|oppfattes|anses)~(?:ja|samtykke|aksept|godkjenning)",
        r"(?:tas opp|tatt opp),? (?:med mindre|hvis du ikke|om du ikke)|med mindre du~(?:tas samtalen opp|tar vi opp|"
        rf"blir samtalen tatt opp|samtalen tas opp){_AFTER}",
        r"(?:stilltiende|underforstått|antatt|passivt) (?:samtykke|aksept)|(?:går vi|vi går) ut fra at du|"
        r"(?:antar vi|vi antar|vi forutsetter) at du",
    ),
    weighing=(
        r"raskere|fortere|før (?:de )?andre|først i køen|fortrinn\w*|forrang|(?<!samme )(?:prioritet|"
        r"prioritering)|prioriteres",
        r"(?:vente|venter)(?: (?!ikke)\w+)? lenger|lengre (?:ventetid|kø)|kortere (?:ventetid|kø)|langsommere|tregere|"
        r"forsink\w+",
        r"bedre (?:\w+ )?(?:service|hjelp|veiledning|rådgivning)",
        r"(?<!uten )(?:ulempe|ulemper|konsekvens|konsekvenser|bryderi)|fordel|fordeler|fordelaktig\w*",
        r"(?:må|bør|skal|er nødt til å|er forpliktet til å)(?: du)?(?! ikke) (?:\w+ )?"
        r"(?:samtykke|godta|akseptere|gi (?:ditt )?samtykke|si ja|trykke ja|velge ja)(?! eller)",
    ),
    pressure=(
        r"(?:må du|skal du|vennligst) legge? på|legg på hvis",
        r"rabatt\w*|gavekort\w*|gave|gaver|premie\w*|vinne|vinner|gevinst\w*|bonus\w*|belønning\w*|lodd|trekning\w*",
        r"dessverre|beklager|beklageligvis|synd at|det er synd|leit|skuffe\w+",
        r"kan (?:vi )?(?:dessverre )?ikke (?:\w+ ){0,2}?(?:hjelpe|betjene|sette deg|behandle|fortsette)",
        r"ellers (?:kan|avslutte\w*|bryt\w*)|(?:avslutter|bryter) vi|vi (?:avslutter|bryter) (?:samtalen|anropet)",
        r"(?:samtalen|anropet) (?:blir|vil bli) (?:\w+ )?(?:avsluttet|brutt)|(?:samtalen|"
        r"anropet) (?:avsluttes|brytes)",
        r"(?:avsluttes|brytes) (?:samtalen|anropet)",
        r"vi (?:\w+ )?(?:anbefaler|foreslår|oppfordrer|oppmuntrer|råder|håper)|anbefaler vi|oppfordres til",
        r"(?:velg|si|trykk) (?:gjerne|vennligst) ja|velg (?:\w+ )?ja(?! eller)|vennligst (?:samtykk\w*|godta\w*)",
        r"hjelp(?:e|er)? oss|takk for (?:ditt )?(?:samtykke\w*|ja)|takk for at du (?:samtykker|sier|valgte|"
        r"har valgt)",
        r"i din (?:egen )?interesse|til din (?:egen )?fordel|de fleste (?:kunder|som ringer|velger|innringere)",
        r"(?:dårligere|begrenset) (?:service|hjelp)|ekstra (?:gebyr|kostnad)\w*|på egen risiko",
    ),
    stress=r"bare|kun|enkelt|gjerne|nå|raskt|vennligst|selvfølgelig|naturligvis|absolutt|virkelig|helst|dessverre",
    day=r"(?:kalender|hele )?(?:dag|dager|dagers|døgn|døgns)",
    week=r"uker|uke|ukers",
    month=r"måneder|måned|måneders|mnd",
    year=r"års?",
    hour=r"timer|time|timers",
    half_year=r"halvår|et halvår|halvt år|et halvt år",
    one=r"en|et|ett|én|ei",
    keeping=r"lagre[rs]?|lagret|oppbevare[rs]?|oppbevart|bevares|beholdes|slettes?|slettet|sletter",
    answering=r"svar|besvare[rs]?|forespørs\w+|anmodning\w*|klage[rn]?|innsigelse\w*",
    press=r"trykk|trykker|trykke|tast|taster|taste|slå|slår|velg|velger",
    key=r"tasten?|knapp|knappen|siffer|sifferet",
    filler=r"på|tasten|knappen|tallet|nummer|sifferet|nå|så|din|telefon|telefonen|merket|vennligst",
    either=r"eller|og",
    purpose=r"for|hvis|når|betyr|så",
    unit=(
        r"s|sek|sekund\w*|minutt\w*|timer?|døgn|dager?|uker?|måned\w*|år|ganger?|taster?|språk|samtaler|"
        r"kroner|prosent"
    ),
    digits=(
        "null|nullen",
        "en|ett|én|eneren?",
        "to|toeren?",
        "tre|treeren?",
        "fire|fireren?",
        "fem|femmeren?",
        "seks|sekseren?",
        "sju|syv",
        "åtte|åtteren?",
        "ni|nieren?",
        "stjernen?",
        "firkant(?:en)?|skigard|hashtag",
    ),
    pace=14.0,
    words_a_minute=(95, 180),
    word_length=5.7,
    authorities=("Datatilsynet",),
)
