"""The words that numbers are joined with when a text is read aloud, by language: months, money, signs, units.

Numbers themselves come from num2words. What stands here is what callers hear in a bank's or an authority's
announcement, not what a style guide prefers in print.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Noun:
    """Something that is counted: its gender (``m``, ``f``, ``n``, ``c`` for common), and its forms.

    ``few`` is the Polish form after 2, 3, 4; elsewhere it is ``many``.
    """

    gender: str
    one: str
    few: str
    many: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words of one language.

    ``months`` are as they are said in a date, ``signs`` by the sign, ``money`` by the currency's code, or ``KR`` for a
    crown of no country: main unit and hundredth. ``kr`` is the currency that this abbreviation means. ``one`` is the
    form of the number 1 before a unit of time.
    """

    months: tuple[str, ...]
    point: str
    percent: str
    plus: str
    to: str
    joined: str
    kr: str
    signs: Mapping[str, str]
    money: Mapping[str, tuple[Noun, Noun]]
    one: Mapping[str, str]


CODES = ("EUR", "DKK", "SEK", "NOK", "GBP", "USD", "PLN", "CHF", "KR")
SYMBOLS: Mapping[str, str] = MappingProxyType({"€": "EUR", "£": "GBP", "$": "USD", "zł": "PLN"})
_SIGNS = ("*", "#", "@", ".", "-", "_", "/", "§")


def _noun(text: str) -> Noun:
    gender, _, rest = text.strip().partition(" ")
    forms = rest.split("|")
    return Noun(gender, forms[0], forms[1] if len(forms) > 2 else forms[-1], forms[-1])


def _money(table: str) -> Mapping[str, tuple[Noun, Noun]]:
    """One line a currency, in the order of :data:`CODES`: gender, forms, a semicolon, the same of the hundredth."""
    pairs = [line.split(";") for line in table.strip().splitlines()]
    return MappingProxyType({code: (_noun(main), _noun(cent)) for code, (main, cent) in zip(CODES, pairs, strict=True)})


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _words(keys: tuple[str, ...], text: str) -> Mapping[str, str]:
    return MappingProxyType(dict(zip(keys, text.split("|"), strict=True)))


def _one(text: str) -> Mapping[str, str]:
    return MappingProxyType(dict(pair.split(":") for pair in text.split()))


LEXICONS: Mapping[str, Lexicon] = MappingProxyType(
    {
        "da": Lexicon(
            _list("januar februar marts april maj juni juli august september oktober november december"),
            *("komma", "procent", "plus", "til", "og", "DKK"),
            _words(_SIGNS, "stjerne|firkant|snabel-a|punktum|bindestreg|understreg|skråstreg|paragraf"),
            _money("""
                c euro|euro; c cent|cent
                c krone|kroner; c øre|øre
                c svensk krone|svenske kroner; c øre|øre
                c norsk krone|norske kroner; c øre|øre
                n pund|pund; c penny|pence
                c dollar|dollar; c cent|cent
                c zloty|zloty; c grosz|groszy
                c schweizisk franc|schweiziske franc; c rappen|rappen
                c krone|kroner; c øre|øre"""),
            _one("dag:en døgn:et uge:en måned:en år:et time:en minut:et"),
        ),
        "sv": Lexicon(
            _list("januari februari mars april maj juni juli augusti september oktober november december"),
            *("komma", "procent", "plus", "till", "och", "SEK"),
            _words(_SIGNS, "stjärna|fyrkant|snabel-a|punkt|bindestreck|understreck|snedstreck|paragraf"),
            _money("""
                c euro|euro; c cent|cent
                c dansk krona|danska kronor; n öre|öre
                c krona|kronor; n öre|öre
                c norsk krona|norska kronor; n öre|öre
                n pund|pund; c penny|pence
                c dollar|dollar; c cent|cent
                c zloty|zloty; c grosz|groszy
                c schweizisk franc|schweiziska franc; c rappen|rappen
                c krona|kronor; n öre|öre"""),
            _one("dag:en dygn:ett vecka:en månad:en år:ett timme:en minut:en"),
        ),
        "no": Lexicon(
            _list("januar februar mars april mai juni juli august september oktober november desember"),
            *("komma", "prosent", "pluss", "til", "og", "NOK"),
            _words(_SIGNS, "stjerne|firkant|krøllalfa|punktum|bindestrek|understrek|skråstrek|paragraf"),
            _money("""
                c euro|euro; c cent|cent
                c dansk krone|danske kroner; c øre|øre
                c svensk krone|svenske kroner; c øre|øre
                c krone|kroner; c øre|øre
                n pund|pund; c penny|pence
                c dollar|dollar; c cent|cent
                c zloty|zloty; c grosz|groszy
                c sveitsisk franc|sveitsiske franc; c rappen|rappen
                c krone|kroner; c øre|øre"""),
            _one("dag:en døgn:ett uke:en måned:en år:ett time:en minutt:ett"),
        ),
        "nl": Lexicon(
            _list("januari februari maart april mei juni juli augustus september oktober november december"),
            *("komma", "procent", "plus", "tot", "en", "KR"),
            _words(_SIGNS, "sterretje|hekje|apenstaartje|punt|streepje|laag streepje|schuine streep|artikel"),
            _money("""
                c euro|euro; c cent|cent
                c Deense kroon|Deense kronen; c øre|øre
                c Zweedse kroon|Zweedse kronen; c öre|öre
                c Noorse kroon|Noorse kronen; c øre|øre
                n pond|pond; c penny|pence
                c dollar|dollar; c cent|cent
                c zloty|zloty; c grosz|groszy
                c Zwitserse frank|Zwitserse frank; c rappen|rappen
                c kroon|kronen; c øre|øre"""),
            _one("dag:één"),
        ),
        "en": Lexicon(
            _list("January February March April May June July August September October November December"),
            *("point", "percent", "plus", "to", "and", "KR"),
            _words(_SIGNS, "star|hash|at|dot|dash|underscore|slash|section"),
            _money("""
                c euro|euros; c cent|cents
                c Danish krone|Danish kroner; c ore|ore
                c Swedish krona|Swedish kronor; c ore|ore
                c Norwegian krone|Norwegian kroner; c ore|ore
                c pound|pounds; c penny|pence
                c dollar|dollars; c cent|cents
                c zloty|zlotys; c grosz|groszy
                c Swiss franc|Swiss francs; c centime|centimes
                c krone|kroner; c ore|ore"""),
            _one("day:one"),
        ),
        "de": Lexicon(
            _list("Januar Februar März April Mai Juni Juli August September Oktober November Dezember"),
            *("Komma", "Prozent", "plus", "bis", "und", "KR"),
            _words(_SIGNS, "Stern|Raute|ät|Punkt|Bindestrich|Unterstrich|Schrägstrich|Paragraf"),
            _money("""
                m Euro|Euro; m Cent|Cent
                f dänische Krone|dänische Kronen; n Öre|Öre
                f schwedische Krone|schwedische Kronen; n Öre|Öre
                f norwegische Krone|norwegische Kronen; n Öre|Öre
                n Pfund|Pfund; m Penny|Pence
                m Dollar|Dollar; m Cent|Cent
                m Zloty|Zloty; m Groschen|Groschen
                m Schweizer Franken|Schweizer Franken; m Rappen|Rappen
                f Krone|Kronen; n Öre|Öre"""),
            # in the accusative, as time that something lasts is said
            _one("Tag:einen Woche:eine Monat:einen Jahr:ein Stunde:eine Minute:eine"),
        ),
        "fr": Lexicon(
            _list("janvier février mars avril mai juin juillet août septembre octobre novembre décembre"),
            *("virgule", "pour cent", "plus", "à", "et", "KR"),
            _words(_SIGNS, "étoile|dièse|arobase|point|tiret|tiret bas|barre oblique|paragraphe"),
            _money("""
                m euro|euros; m centime|centimes
                f couronne danoise|couronnes danoises; m ore|ore
                f couronne suédoise|couronnes suédoises; m ore|ore
                f couronne norvégienne|couronnes norvégiennes; m ore|ore
                f livre|livres; m penny|pence
                m dollar|dollars; m cent|cents
                m zloty|zlotys; m grosz|groszy
                m franc suisse|francs suisses; m centime|centimes
                f couronne|couronnes; m ore|ore"""),
            _one("jour:un semaine:une mois:un an:un année:une heure:une minute:une"),
        ),
        "fi": Lexicon(
            _list(
                "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta "
                "lokakuuta marraskuuta joulukuuta"
            ),
            *("pilkku", "prosenttia", "plus", "viiva", "ja", "KR"),
            _words(_SIGNS, "tähti|ruutu|ät|piste|viiva|alaviiva|kauttaviiva|pykälä"),
            _money("""
                c euro|euroa; c sentti|senttiä
                c Tanskan kruunu|Tanskan kruunua; c äyri|äyriä
                c Ruotsin kruunu|Ruotsin kruunua; c äyri|äyriä
                c Norjan kruunu|Norjan kruunua; c äyri|äyriä
                c punta|puntaa; c penny|pennyä
                c dollari|dollaria; c sentti|senttiä
                c zloty|zlotya; c grosz|groszya
                c Sveitsin frangi|Sveitsin frangia; c rappen|rappenia
                c kruunu|kruunua; c äyri|äyriä"""),
            _one("päivä:yksi"),
        ),
        "es": Lexicon(
            _list("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"),
            *("coma", "por ciento", "más", "a", "con", "KR"),
            _words(_SIGNS, "asterisco|almohadilla|arroba|punto|guion|guion bajo|barra|artículo"),
            _money("""
                m euro|euros; m céntimo|céntimos
                f corona danesa|coronas danesas; m ore|ore
                f corona sueca|coronas suecas; m ore|ore
                f corona noruega|coronas noruegas; m ore|ore
                f libra|libras; m penique|peniques
                m dólar|dólares; m centavo|centavos
                m esloti|eslotis; m grosz|groszy
                m franco suizo|francos suizos; m céntimo|céntimos
                f corona|coronas; m ore|ore"""),
            _one(
                "día:un días:un semana:una semanas:una mes:un meses:un año:un años:un hora:una horas:una minuto:un "
                "minutos:un"
            ),
        ),
        "pl": Lexicon(
            _list("stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia"),
            *("przecinek", "procent", "plus", "do", "i", "KR"),
            _words(_SIGNS, "gwiazdka|krzyżyk|małpa|kropka|myślnik|podkreślenie|ukośnik|paragraf"),
            _money("""
                n euro|euro|euro; m cent|centy|centów
                f korona duńska|korony duńskie|koron duńskich; n ore|ore|ore
                f korona szwedzka|korony szwedzkie|koron szwedzkich; n ore|ore|ore
                f korona norweska|korony norweskie|koron norweskich; n ore|ore|ore
                m funt|funty|funtów; m pens|pensy|pensów
                m dolar|dolary|dolarów; m cent|centy|centów
                m złoty|złote|złotych; m grosz|grosze|groszy
                m frank szwajcarski|franki szwajcarskie|franków szwajcarskich; m centym|centymy|centymów
                f korona|korony|koron; n ore|ore|ore"""),
            _one("godzina:jedna godzinę:jedną minuta:jedna minutę:jedną doba:jedna dobę:jedną"),
        ),
        "it": Lexicon(
            _list("gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"),
            *("virgola", "per cento", "più", "a", "e", "KR"),
            _words(_SIGNS, "asterisco|cancelletto|chiocciola|punto|trattino|trattino basso|barra|paragrafo"),
            _money("""
                m euro|euro; m centesimo|centesimi
                f corona danese|corone danesi; m ore|ore
                f corona svedese|corone svedesi; m ore|ore
                f corona norvegese|corone norvegesi; m ore|ore
                f sterlina|sterline; m penny|pence
                m dollaro|dollari; m centesimo|centesimi
                m zloty|zloty; m grosz|groszy
                m franco svizzero|franchi svizzeri; m centesimo|centesimi
                f corona|corone; m ore|ore"""),
            _one("giorno:un settimana:una mese:un anno:un ora:una minuto:un"),
        ),
    }
)
"""By language code without its region."""

TOP_DOMAINS = frozenset(
    _list(
        "com org net info biz eu dk se no nl uk ie us ca au nz de at ch fr be lu fi es pt pl it cz sk hu ro bg gr hr "
        "si ee lv lt is li gl fo io app dev edu gov int museum example test invalid"
    )
)
"""Endings by which a name with dots in it is taken for an address; others need www, a scheme or an at sign."""
