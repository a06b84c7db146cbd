"""Swedish."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:inspela[dt]|inspelade|bandat|bandad|avlyssna[dt]|medlyssna[dt]|spara[dt]|lagrat|lagrad|övervakat)"
_RECORDING = r"(?:spelas (?:\w+ )?in|bandas|avlyssnas|medlyssnas|sparas|lagras|övervakas|lyssnas av)"
_CALLS = r"(?:samtal|samtalen|fall|inspelningar|ändamål|syften|personer)"
_AFTER = r"(?! (?:\w+ )?(?:inte|ej|inget|ingen|ingenting)\b)"
_AGREED = (
    rf"(?:samtycker|godkänner|accepterar|tillåter|ger du|lämnar du|säger du ja|tolkar vi|ser vi|räknas det|utgår vi|"
    rf"spelar vi in|spelas (?:samtalet )?in|samtalet spelas in|(?:börjar|startar) inspelningen|gäller det som|"
    rf"är det (?:ett )?(?:ja|samtycke)){_AFTER}"
)
_STAY = (
    r"(?:stannar|är kvar|är tyst|väntar|håller|hänger kvar|fortsätter|går vidare|dröjer kvar|inte lägger på|"
    r"inte säger|"
    r"inte trycker|inte svarar|inte gör|inte invänder|inget säger|ingenting säger|inget gör|"
    r"säger inget|tiger|pratar|talar)"
)

WORDS: Final = Words(
    negation=r"inte|ej|icke|ingen|inget|inga|ingenting|aldrig|varken|heller",
    subject=r"du|vi|ni|de|man",
    vague=(
        r"eventuell|eventuellt|eventuella|ev|kanske|möjligen|möjligtvis|troligen|förmodligen|sannolikt|potentiellt",
        r"ibland|emellanåt|då och då|stundtals|stundom|till och från",
        rf"(?:vissa|några|en del|somliga|enstaka|utvalda)(?: av)?(?: \w+)? {_CALLS}|(?:inte alla|"
        rf"ett urval av) samtal\w*",
        r"i förekommande fall|vid behov|(?:om|när) (?:det är |så är )?(?:nödvändigt|tillämpligt|lämpligt|relevant)",
        r"så länge (?:det |som |som det )?(?:behövs|är nödvändigt|krävs|är relevant|nödvändigt)",
        r"(?:i|under) en (?:viss |kortare |begränsad )?(?:tid|period)(?! (?:av|på|om))|en tid framöver",
        r"i regel|som regel|normalt|vanligtvis|oftast|i princip|typiskt sett|i allmänhet",
        r"bland annat|bl\. ?a\.?|bl a|m\. ?m\.?|o\. ?s\. ?v\.?|osv|och så vidare|och liknande|eller liknande|"
        r"med mera|etc",
    ),
    modal=(
        rf"(?:kan|kunde|skulle kunna|torde)(?: (?!bara|endast|inte|ej|när|du|få|begära)\w+){{0,3}}? "
        rf"(?:bli (?:\w+ )?{_RECORDED}|{_RECORDING})",
        r"(?:kan|kunde) (?:\w+ ){0,3}?komma att (?:\w+ ){0,3}?(?:spelas|spela|bli|användas|bandas|lyssnas|"
        r"höras|sparas|delas)",
        r"kan bli (?:aktuellt|fråga) (?:att|om)…(?:spela|inspelning)|kan kanske",
        r"vi (?:kan|kunde|skulle kunna)(?: (?!bara|endast|inte)\w+){0,3}? (?:spela in|banda|avlyssna|"
        r"medlyssna|lyssna)",
        r"inspelning\w* (?:kan|kunde) (?:\w+ )?(?:förekomma|ske|göras|komma|användas|bli)",
        r"det kan (?:hända|förekomma|vara så)(?: att)?|förbehåller (?:vi )?oss|riskerar att (?:bli|spelas)",
    ),
    passive=(
        r"(?:om du inte (?:vill|önskar)|vill du inte|önskar du inte)…(?:spela\w* in|inspel\w+|detta)…(?:säg|"
        r"säga|meddela|berätta|informera|säger)",
        rf"(?:om|när|såvida|så länge) du {_STAY}~{_AGREED}",
        r"genom att (?:du )?(?:stanna|stannar|vänta|väntar|fortsätta|fortsätter|inte|vara|tala|prata|ringa|"
        r"hålla|dröja|tiga)"
        rf"~(?:samtycker|godkänner|accepterar|tillåter|ger|lämnar){_AFTER}",
        r"(?:tystnad|uteblivet svar|utebliven invändning|inget svar|ingen knapp|att stanna kvar|att vänta|"
        r"att fortsätta)"
        r"~(?:betyder|är|räknas|gäller|innebär|tolkas|ses|anses)~(?:ja|samtycke|godkännande|medgivande)",
        r"spelas in,? (?:om du inte|såvida du inte|med mindre)|(?:om|såvida) du inte (?:säger|motsätter|"
        r"avböjer|protesterar|"
        rf"trycker|meddelar)~(?:spelas samtalet in|spelar vi in|samtalet spelas in){_AFTER}",
        r"(?:tyst|underförstått|presumerat|passivt|automatiskt) (?:samtycke|medgivande)|"
        r"(?:vi )?(?:utgår|förutsätter|antar)(?: vi)?(?: från)? att du",
    ),
    weighing=(
        r"snabbare|fortare|före (?:de )?andra|först i kön|förtur|(?<!samma )(?:prioritet|prioritering)|prioriteras",
        r"(?:vänta|väntar)(?: (?!inte)\w+)? längre|längre (?:väntetid|kö)|kortare (?:väntetid|kö)|långsammare|"
        r"försen\w+|fördröj\w+",
        r"bättre (?:\w+ )?(?:service|hjälp|rådgivning|stöd|bemötande)",
        r"(?<!utan )(?:nackdel|nackdelar|konsekvens|konsekvenser|olägenhet\w*|besvär)|fördel|fördelar",
        r"(?:måste|bör|är tvungen att|är skyldig att|ska)(?: du)?(?! inte) (?:\w+ )?"
        r"(?:samtycka|godkänna|acceptera|ge (?:ditt )?samtycke|lämna (?:ditt )?samtycke|säga ja|trycka ja|"
        r"välja ja)(?! eller)",
    ),
    pressure=(
        r"(?:måste du|ska du|vänligen) lägg(?:a)? på|lägg på om",
        r"rabatt\w*|presentkort\w*|present|presenter|gåva|gåvor|vinna|vinner|vinst\w*|pris att vinna|bonus\w*|"
        r"belöning\w*",
        r"lotteri\w*|utlottning\w*|tyvärr|beklagar|beklagligtvis|synd att|det är synd|besvik\w+",
        r"kan (?:vi )?(?:tyvärr )?inte (?:\w+ ){0,2}?(?:hjälpa|betjäna|koppla|behandla|fortsätta|handlägga)",
        r"annars (?:kan|avsluta\w*|bryt\w*)|(?:avslutar|bryter) vi|vi (?:avslutar|bryter) (?:samtalet)",
        r"samtalet (?:avslutas|bryts|kopplas ner|kommer att (?:avslutas|brytas))|(?:avslutas|bryts) samtalet",
        r"(?:vi )?(?:rekommenderar|föreslår|uppmanar|uppmuntrar|hoppas)(?: vi)?(?: dig)?|råder (?:vi )?dig",
        r"(?:välj|säg|tryck) (?:gärna|vänligen) ja|välj (?:\w+ )?ja(?! eller)|(?:vänligen|"
        r"snälla) (?:samtyck\w*|godkänn\w*)",
        r"hjälp(?:a|er)? oss|tack för (?:ditt )?(?:samtycke|ja)|tack för att du (?:samtycker|säger|valde|har valt)",
        r"i ditt (?:eget )?intresse|till din (?:egen )?fördel|de flesta (?:kunder|som ringer|väljer)",
        r"(?:sämre|begränsad) (?:service|hjälp|stöd)|extra (?:avgift|kostnad)\w*|på egen risk",
    ),
    stress=r"bara|endast|enkelt|gärna|nu|snabbt|vänligen|självklart|naturligtvis|absolut|verkligen|helst|tyvärr",
    day=r"(?:kalender|hela )?(?:dag|dagar|dagars|dygn|dygns)",
    week=r"veckor|vecka|veckors",
    month=r"månader|månad|månaders|mån",
    year=r"års?",
    hour=r"timmar|timme|timmars",
    half_year=r"halvår|ett halvår|halvt år|ett halvt år",
    one=r"en|ett|en enda",
    keeping=(
        r"spara[rs]?|sparats|sparad|lagra[rs]?|lagrad|bevara[rs]?|behålls|förvara[rs]?|radera[rs]?|raderad|"
        r"tas bort"
    ),
    answering=r"svar|besvara[rs]?|begäran|förfrågan|klagomål\w*|invändning\w*",
    press=r"tryck|trycker|trycka|slå|slår|knappa|knappar|välj|väljer|ange",
    key=r"knapp|knappen|siffra|siffran|tangent|tangenten",
    filler=r"på|knappen|siffran|nummer|tangenten|nu|sedan|din|telefon|telefonen|in|vänligen|märkt",
    either=r"eller|och",
    purpose=r"för|om|när|betyder|så",
    unit=(
        r"s|sek|sekund\w*|minut\w*|timm\w+|dygn|dag|dagar|veck\w+|månad\w*|år|gånge?r?|knappar|språk|samtal|"
        r"kronor|procent"
    ),
    digits=(
        "noll|nollan?",
        "ett|en|ettan?",
        "två|tvåan?",
        "tre|trean?",
        "fyra|fyran",
        "fem|femman?",
        "sex|sexan?",
        "sju|sjuan?",
        "åtta|åttan",
        "nio|nian?",
        "stjärnan?",
        "fyrkant(?:en)?|nummertecken|brädgård(?:en)?|hashtag",
    ),
    pace=15.0,
    words_a_minute=(95, 180),
    word_length=5.9,
    authorities=("Integritetsskyddsmyndigheten", "Dataombudsmannens byrå"),
)
