"""Danish."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:optaget|båndet|aflyttet|medlyttet|hørt|lyttet til|gemt|lagret|overvåget)"
_RECORDING = r"(?:optages|båndes|aflyttes|medlyttes|gemmes|lagres|overvåges)"
_CALLS = r"(?:samtaler|samtalerne|opkald|opkaldene|tilfælde|optagelser|formål|personer)"
_AFTER = r"(?! (?:\w+ )?(?:ikke|intet|ingenting|ingen)\b)"
_AGREED = (
    rf"(?:samtykker|accepterer|godkender|tillader|giver du|siger du ja|optager vi|betragter vi|opfatter vi|"
    rf"går vi ud fra|"
    rf"optages (?:samtalen|opkaldet)|(?:samtalen|opkaldet) optages|bliver (?:samtalen|opkaldet) optaget|"
    rf"begynder optagelsen|starter optagelsen|er det (?:et )?(?:ja|samtykke)|gælder det som){_AFTER}"
)
_STAY = (
    r"(?:bliver|forbliver|venter|fortsætter|taler|går videre|lægger ikke på|ikke lægger på|intet siger|"
    r"ikke siger|siger intet|siger ingenting|"
    r"tier|er tavs|intet gør|ikke gør|ikke trykker|ikke svarer|undlader|ikke protesterer|hænger på)"
)

WORDS: Final = Words(
    negation=r"ikke|ingen|intet|ingenting|aldrig|hverken|heller|ej",
    subject=r"du|vi|i|de|man",
    vague=(
        r"eventuel|eventuelt|eventuelle|evt|måske|muligvis|formentlig|sandsynligvis|undertiden|somme tider|"
        r"ind imellem",
        r"af og til|engang imellem|potentielt|nogle gange|til tider",
        rf"(?:nogle|visse|enkelte|udvalgte|somme|en del)(?: af)?(?: \w+)? {_CALLS}|ikke alle (?:samtaler|opkald)",
        r"efter behov|om nødvendigt|hvis (?:det er |det bliver )?(?:nødvendigt|relevant)|"
        r"når det er (?:nødvendigt|relevant)",
        r"så længe (?:det er |som )?(?:nødvendigt|påkrævet)|så længe der er behov",
        r"i en (?:vis |kortere |begrænset )?(?:periode|tid)(?! på)|et stykke tid|en vis tid",
        r"som regel|normalt|sædvanligvis|typisk|i princippet|som udgangspunkt|almindeligvis",
        r"blandt andet|bl\. ?a\.?|bl a|m\. ?m\.?|m\. ?v\.?|mv|o\. ?l\.?|og lignende|eller lignende|osv|"
        r"og så videre|etc",
    ),
    modal=(
        rf"kan(?: (?!kun|ikke|alene|få|du|bede|altid|udelukkende)\w+){{0,3}}? "
        rf"(?:blive (?:\w+ )?{_RECORDED}|{_RECORDING}|optages)",
        rf"(?:vil|skal|ville|kunne|måtte|skulle)(?: (?!ikke|kun)\w+){{0,2}}? (?:kunne|blive) (?:blive )?"
        rf"(?:{_RECORDED}|{_RECORDING})",
        r"vi (?:kan|kunne|vil kunne)(?: (?!kun|ikke)\w+){0,3}? (?:optage|bånde|aflytte|medlytte|lytte med)",
        r"optagels\w+ (?:kan|kunne)(?! ikke)…(?:bruges|brugt|anvendes|anvendt|forekomme|ske|finde sted)",
        r"der kan (?:\w+ )?(?:forekomme|ske|foretages|blive foretaget) (?:\w+ )?optagels\w+|det kan (?:ske|"
        r"være|hænde),? at",
        r"forbeholder (?:vi )?os|risikerer at blive|er det muligt,? at (?:samtalen|opkaldet)",
    ),
    passive=(
        r"(?:(?:hvis|såfremt) du ikke (?:ønsker|vil)|ønsker du ikke|vil du ikke)…(?:optag\w+|dette|"
        r"det)…(?:sig|sige|oplys|oplyse|fortæl|"
        r"fortælle|giv besked|give besked|gør opmærksom)",
        rf"(?:hvis|når|såfremt|så længe) du {_STAY}~{_AGREED}",
        rf"ved at (?:du )?(?:blive|bliver|forblive|vente|venter|fortsætte|fortsætter|undlade|tie|tale|taler|"
        rf"bruge|ringe|ikke)"
        rf"~(?:samtykker|accepterer|godkender|tillader|giver){_AFTER}",
        r"(?:tavshed|stilhed|manglende svar|manglende indsigelse|intet svar|ingen tast|at vente|at tie|"
        r"at blive|at fortsætte)"
        r"~(?:betyder|er|gælder|tæller|regnes|opfattes|betragtes|anses|tages)~(?:ja|samtykke|accept|godkendelse)",
        r"(?:optages|optaget),? (?:medmindre|med mindre)|(?:medmindre|med mindre) du~(?:optages|optager vi|"
        r"bliver \w+ optaget)"
        rf"{_AFTER}",
        r"(?:stiltiende|underforstået|formodet|passivt) (?:samtykke|accept)|(?:går vi|vi går) ud fra,? at du|"
        r"(?:antager vi|vi antager),? at du",
    ),
    weighing=(
        r"hurtigere|før (?:de )?andre|forrest i køen|forrang|(?<!samme )(?:prioritet|prioritering)|"
        r"prioriteres|fortrin\w*",
        r"(?:vente|venter|ventes)(?: (?!ikke)\w+)? længere|længere (?:ventetid|kø)|kortere (?:ventetid|kø)|"
        r"langsommere|forsink\w+",
        r"bedre (?:\w+ )?(?:service|hjælp|betjening|rådgivning|vejledning)",
        r"(?<!uden )(?:ulempe|ulemper|konsekvens|konsekvenser|besvær)|fordel|fordele|fordelagtig\w*",
        r"(?:skal|må|bør|er nødt til at|er forpligtet til at)(?: du)?(?! ikke) (?:\w+ )?"
        r"(?:samtykke|acceptere|give (?:dit )?samtykke|sige ja|trykke ja|vælge ja)(?! eller)",
    ),
    pressure=(
        r"(?:bedes du|skal du|må du|venligst) lægge? på|læg på,? hvis",
        r"rabat\w*|gavekort\w*|gave|gaver|præmie\w*|vinde|vinder|vind|gevinst\w*|bonus\w*|belønning\w*|"
        r"lodtrækning\w*",
        r"desværre|beklager|beklageligvis|ærgerligt|det er synd|vi er kede af|skuffe\w+",
        r"kan (?:vi )?(?:desværre )?ikke (?:\w+ ){0,2}?(?:hjælpe|betjene|stille dig|behandle|fortsætte|ekspedere)",
        r"ellers (?:kan|afslutte\w*|afbryde\w*|slutter)|(?:afslutter|afbryder) vi|vi (?:afslutter|"
        r"afbryder) (?:samtalen|opkaldet)",
        r"(?:samtalen|opkaldet) (?:bliver|vil blive) (?:\w+ )?(?:afsluttet|afbrudt)|(?:samtalen|"
        r"opkaldet) (?:afsluttes|afbrydes)",
        r"(?:slutter|afsluttes|afbrydes) (?:samtalen|opkaldet)",
        r"(?:vi|vil vi) (?:\w+ )?(?:anbefale\w*|foreslå\w*|opfordre\w*|råde\w*|håbe\w*)|anbefaler vi",
        r"(?:vælg|sig|tryk) (?:venligst|gerne|endelig) ja|vælg (?:\w+ )?ja(?! eller)|venligst (?:samtykke\w*|"
        r"accept\w*)|"
        r"sig endelig ja",
        r"hjælp(?:e|er)? os|tak for (?:dit )?(?:samtykke|ja)|tak,? fordi du (?:samtykker|siger ja|valgte|har valgt)",
        r"i din (?:egen )?interesse|til din (?:egen )?fordel|de fleste (?:kunder|der ringer|mennesker|vælger)",
        r"(?:dårligere|ringere|begrænset) (?:service|hjælp|betjening)|ekstra (?:gebyr|betaling|omkostning\w*)|"
        r"for egen risiko",
    ),
    stress=r"blot|bare|kun|nemt|gerne|nu|hurtigt|venligst|endelig|selvfølgelig|naturligvis|helt|absolut|desværre",
    day=r"(?:kalender|hele )?(?:dage?|dages|døgns?)",
    week=r"ugers?|uge",
    month=r"måneders?|måned|mdr",
    year=r"års?",
    hour=r"timers?|time",
    half_year=r"halvt år|halvår|et halvår",
    one=r"en|et|én|ét|en enkelt|et enkelt",
    keeping=r"gemmes?|gemt|opbevare[rs]?|opbevaret|opbevares|lagre[rs]?|lagret|bevares|slettes?|slettet|sletter",
    answering=r"svar|besvare[rs]?|anmodning\w*|klage[rn]?|indsigelse\w*",
    press=r"tryk|trykker|trykke|tast|taster|taste|indtast|vælg|vælger",
    key=r"tasten?|knap|knappen|ciffer|cifret",
    filler=r"på|tasten|knappen|tallet|nummer|cifret|din|telefon|telefonen|nu|så|mærket|venligst",
    either=r"eller|og",
    purpose=r"for|hvis|når|betyder|så",
    unit=r"s|sek|sekund\w*|minut\w*|timer?|døgn|dage?|uger?|måned\w*|år|gange?|taster?|sprog|opkald|kroner|procent",
    digits=(
        "nul",
        "et|ét|en|én|et-tallet",
        "to",
        "tre",
        "fire",
        "fem",
        "seks",
        "syv",
        "otte",
        "ni",
        "stjernen?",
        r"firkant(?:en)?|havelågen?|hashtag(?:tasten)?|nummertegn(?:et)?",
    ),
    pace=15.4,
    words_a_minute=(95, 180),
    word_length=5.9,
    authorities=("Datatilsynet",),
)
