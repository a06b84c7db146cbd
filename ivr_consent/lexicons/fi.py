"""Finnish."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORD = (
    r"(?:tallentaa|nauhoittaa|äänittää|kuunnella|säilyttää|tallentua|taltioida|"
    r"tulla (?:tallennetuksi|nauhoitetuksi|äänitetyksi|kuunnelluksi))"
)
_CALLS = r"(?:puhelu\w*|tapau\w+|tallent\w+|tarkoitu\w+|henkilö\w*)"
_CONSENTS = r"(?:suostutte|hyväksytte|annatte|sallitte|suostut|hyväksyt|annat|sallit)"
_STAY = (
    r"(?:pysytte|jäätte|odotatte|jatkatte|puhutte|vaikenette|olette hiljaa|ette sulje|ette katkaise|ette sano|"
    r"ette paina|"
    r"ette vastaa|ette vastusta|ette tee|ette kiellä|pysyt|jäät|jatkat|odotat|olet hiljaa|et sulje|et paina|"
    r"et vastaa)"
)
_CONSENT = r"(?:kyllä|suostumu\w+|hyväksyn\w+|hyväksymi\w+|luvaksi|luvan)"

WORDS: Final = Words(
    negation=r"ette|emme|eivät|eikä|mitään|kukaan|ketään|koskaan|et|en|ei(?= \w)",
    subject=r"te|me|sinä|he|hän",
    vague=(
        r"mahdollisesti|ehkä|kenties|todennäköisesti|luultavasti|mahdollinen|mahdolliset",
        r"joskus|toisinaan|ajoittain|silloin tällöin|satunnaisesti|aika ajoin|välillä",
        rf"(?:jotkut|jotkin|osa|osaa|tietyt|eräät|muutam\w+|joitakin|joitain|tiettyjä|yksittäis\w+|"
        rf"valikoi\w+)(?: \w+)? {_CALLS}",
        r"joissa(?:kin|in) tapauksissa|tietyissä tapauksissa|kaikkia puheluja ei|satunnaisotan\w+",
        r"tarvittaessa|tarpeen mukaan|mikäli tarpeen|jos (?:se on )?tarpeen|tarpeen vaatiessa|soveltuvin osin",
        r"niin kauan kuin(?: \w+){0,2}? (?:tarpeen|tarpeellista|välttämätöntä)|tarvittavan ajan|"
        r"niin kauan kuin tarvitaan",
        r"jonkin aikaa|rajoitetun ajan|rajallisen ajan|tietyn ajan|jonkin verran aikaa",
        r"yleensä|tavallisesti|normaalisti|pääsääntöisesti|periaatteessa|lähtökohtaisesti|useimmiten",
        r"muun muassa|ynnä muuta|ym|yms|jne|ja niin edelleen|ja vastaav\w+|tai vastaav\w+|"
        r"ja muihin tarkoituksiin",
    ),
    modal=(
        r"(?:voidaan|voi|voivat|saatetaan|saattaa|saattavat|voitaisiin|voisi|voisivat|saatamme|voimme|voisimme)"
        rf"(?: (?!vain|ei|poistaa|peruuttaa|pyytää)\S+){{0,4}}? {_RECORD}(?! vain)",
        r"(?:on mahdollista|voi olla|saattaa olla),? että|mahdollinen (?:tallennus|tallentaminen|nauhoitus)|"
        r"pidätämme (?:itsellämme )?oikeuden",
        r"(?:tallennus|tallentaminen|nauhoitus|nauhoittaminen) on mahdollista",
    ),
    passive=(
        r"(?:jos|mikäli) ette (?:halua|hyväksy|suostu|toivo)…(?:ilmoitta\w+|kertokaa|sanokaa|kertomaan)",
        rf"(?:jos|kun|mikäli|niin kauan kuin)(?: te)? {_STAY}~(?:{_CONSENTS}|katsomme|tulkitsemme|tulkitaan|"
        rf"katsotaan|"
        r"tallennamme|nauhoitamme|puhelu (?:tallennetaan|nauhoitetaan)|puhelunne (?:tallennetaan|"
        r"nauhoitetaan)|(?:tallennus|nauhoitus) alkaa)",
        r"(?:pysymällä|jatkamalla|odottamalla|jäämällä|puhumalla|olemalla|vaikenemalla|sulkematta)"
        rf"~{_CONSENTS}",
        r"(?:hiljaisuus|vaikeneminen|vastaamatta jättäminen|vastaamattomuus|linjalla pysyminen|"
        r"linjalle jääminen|jatkaminen|odottaminen)"
        rf"~(?:tarkoittaa|on|merkitsee|katsotaan|tulkitaan|lasketaan|vastaa)~{_CONSENT}",
        r"(?:hiljainen|oletettu|konkludenttinen) (?:suostumus|hyväksyntä)|oletamme,? että|"
        r"katsomme,? että (?:suostu|hyväksy)\w+",
        r"(?:tallennetaan|nauhoitetaan),? (?:ellette|ellet|jollette|paitsi jos|jos ette|mikäli ette)|"
        r"(?:ellette|ellet|jollette|jos ette)(?: \S+){0,3}? (?:kiellä|vastusta|kieltäydy|paina|sano|"
        r"ilmoita)~(?:tallennetaan|tallennamme)",
    ),
    weighing=(
        r"nopeammin|nopeam\w+|pikemmin|(?<!sama )(?:etusija\w*|etuoikeu\w+|prioriteet\w+)|"
        r"ensimmäisenä (?:vuorossa|jonossa)",
        r"(?:odot|jonot)\w+ (?:pidempään|kauemmin|enemmän)|(?:pidempään|kauemmin) (?:odot|jonot)\w+|"
        r"pidem\w+ (?:odotus\w*|jono\w*)",
        r"lyhyem\w+ (?:odotus\w*|jono\w*)|hitaam\w+|viivä\w+|viivyt\w+|parem\w+ (?:palvelu\w*|apu\w*|neuvon\w+)",
        r"(?<!ilman )(?:haittaa|haittoja|haitta|seuraamu\w+|seurauksia)|hyödytte",
        r"(?:täytyy|pitää|on pakko|on pakollista|tulee|kannattaa)(?: \w+){0,2}? (?:suostua|hyväksyä|"
        r"antaa suostumu\w+|vastata kyllä)",
    ),
    pressure=(
        r"sulkekaa puhelin|pyydämme (?:teitä )?sulkemaan|teidän on suljettava",
        r"alennu\w+|lahja|lahjan|lahjoja|lahjakort\w+|palkin\w+|palkkio\w*|voitatte|voitat|voiton|voitto|"
        r"bonus\w*|arvontaan|arvonta",
        r"valitettavasti|ikävä kyllä|pahoittelemme|pahoittelut|harmi|harmillista|pettym\w+",
        r"(?:emme|ei) (?:\w+ )?(?:voi|voida|pysty|pystytä)(?: \S+){0,2}? (?:auttaa|palvella|yhdistää|hoitaa|"
        r"jatkaa|palvelemaan|auttamaan)",
        r"(?<!kun )(?<!kunnes )puhelu (?:päättyy|päätetään|katkaistaan|katkeaa)|katkaisemme puhelun|"
        r"lopetamme puhelun",
        r"suosittelemme|suositellaan|kehotamme|toivomme|rohkaisemme|neuvomme teitä",
        r"(?:valitkaa|valitse|sanokaa|vastatkaa)(?: \w+)? kyllä(?! tai)|ystävällisesti (?:\w+ )?(?:suostukaa|"
        r"hyväksykää|kyllä)",
        r"auttakaa meitä|auta meitä|auttaa meitä|autatte meitä|autat meitä",
        r"kiitos,? (?:suostumuk\w+|että (?:suostu|hyväksy|vastas|valits)\w+)|kiitämme suostumuk\w+",
        r"(?:teidän )?(?:omaksi )?eduksenne|oman etunne|omaksi hyödyksenne|useimmat (?:soittajat|asiakkaat)|"
        r"suurin osa (?:soittajista|asiakkaista)",
        r"huonom\w+ (?:palvelu\w*|apu\w*)|lisämaksu\w*|omalla vastuulla\w*|vain jos…(?:auttaa|autamme)|"
        r"vain,? jos…(?:auttaa|autamme)",
    ),
    stress=(
        r"helposti|vain|nyt|nopeasti|mielellään|mieluiten|ystävällisesti|tietenkin|todella|ehdottomasti|"
        r"yksinkertaisesti"
    ),
    day=r"päivä|päivää|päivän|päiväksi|päivien|päivässä|vuorokau\w+|kalenteripäiv\w+",
    week=r"viikko|viikkoa|viikon|viikoksi",
    month=r"kuukausi|kuukautta|kuukauden|kuukaudeksi|kk",
    year=r"vuosi|vuotta|vuoden|vuodeksi",
    hour=r"tunti|tuntia|tunnin",
    half_year=r"puoli vuotta|puolen vuoden|puolivuotta",
    one=r"yksi|yhden|yhtä",
    keeping=r"säilyt\w+|säily\w+|tallessa|poistetaan|poistamme|hävitetään|tuhotaan",
    answering=r"vastau\w+|vastaamme|pyyn\w+|valitu\w+|vastustu\w+",
    press=r"paina|painakaa|painatte|painamalla|painat|painaa|näppäile\w*|näppäilkää|valitse|valitkaa",
    key=r"näppäin|näppäintä|näppäimellä|painike|painiketta|numeronäppäin|numeronäppäintä",
    filler=r"näppäintä|näppäin|numeroa|numero|nyt|puhelimen|puhelimenne|sitten|painiketta",
    either=r"tai|ja",
    purpose=r"jos|niin|kun|saadaksenne|kuullaksenne|tarkoittaa|mikäli",
    unit=(
        r"s|sek|sekun\w+|minuut\w+|tunti\w*|tunnin|päiv\w+|viik\w+|kuukau\w+|vuo\w+|kertaa|kerran|"
        r"näppäin\w+|kieltä|euroa|prosentti\w*"
    ),
    digits=(
        r"nolla\w{0,2}",
        r"yksi|yhtä|ykkös\w+",
        r"kaksi|kahta|kakkos\w+",
        r"kolme|kolmea|kolmos\w+",
        r"neljä|neljää|nelos\w+",
        r"viisi|viittä|viitos\w+",
        r"kuusi|kuutta|kuutos\w+",
        r"seitsemän|seitsemää|seiska\w*",
        r"kahdeksan|kahdeksaa|kasi\w*",
        r"yhdeksän|yhdeksää|ysi\w*",
        r"tähti|tähteä|tähtinäppäin\w*|asteriski\w*",
        r"ruutu|ruutua|risuaita|risuaitaa|ristikkomerk\w+",
    ),
    pace=13.5,
    words_a_minute=(60, 125),
    word_length=8.2,
    authorities=("Tietosuojavaltuutetun toimisto",),
)
