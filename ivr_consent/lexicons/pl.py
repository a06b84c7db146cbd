"""Polish."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = (
    r"(?:nagran[aeyio]|nagrywan[aeyio]|rejestrowan[aeyio]|zarejestrowan[aeyio]|odsłuchan[aeyio]|odsłuchiwan[aeyio]|"
    r"przechowywan[aeyio]|zapisan[aeyio]|zapisywan[aeyio]|utrwalan[aeyio]|monitorowan[aeyio])"
)
_RECORD = r"(?:nagrać|nagrywać|rejestrować|zarejestrować|odsłuchać|odsłuchiwać|utrwalać)"
_CALLS = r"(?:rozm[oó]w\w*|połącze\w+|przypad\w+|nagra\w+|cel\w*|os[oó]b\w*)"
_CONSENTS = (
    r"(?:wyraża|wyrażają|wyrażasz|wyraził\w*|zgadza|zgadzają|zgadzasz|akceptuje|akceptują|akceptujesz|udziela|"
    r"udzielają|"
    r"udzielasz|daje|dają)"
)
_CONSENT = r"(?:zgod[aąęy]|tak|akceptacj\w+|przyzwoleni\w+)"

WORDS: Final = Words(
    negation=r"nic|nikt|ani|brak|żaden|żadna|żadne|żadnych|nigdy|nie(?= (?!lub\b|czy\b|albo\b|i\b)\w)",
    subject=r"państwo|my|pan|pani|ty",
    vague=(
        r"ewentualn\w+|być może|może być tak|możliwie|prawdopodobnie|potencjalnie|przypuszczalnie",
        r"czasami|czasem|niekiedy|okazjonalnie|od czasu do czasu|nieraz|sporadycznie",
        rf"(?:niektór\w+|pewn[eyi]ch|pewne|wybran[eyi]ch|wybrane|część|kilka|poszczególn\w+)(?: \w+)? {_CALLS}",
        r"nie wszystkie rozmowy|losowo wybran\w+",
        r"w razie (?:potrzeby|konieczności)|(?:jeśli|jeżeli|gdy|o ile) (?:to |jest to |"
        r"będzie to )?(?:konieczne|potrzebne|dotyczy|niezbędne)",
        r"w stosownych przypadkach|(?:tak długo,? jak|dopóki|przez okres|"
        r"przez czas)(?: \w+){0,2}? (?:konieczn|niezbędn|potrzebn)\w+",
        r"przez (?:pewien|jakiś|ograniczony|określony) (?:czas|okres)(?! \d)",
        r"zazwyczaj|zwykle|z reguły|co do zasady|zasadniczo|normalnie|na ogół|w zasadzie|przeważnie",
        r"między innymi|m\. ?in|itp|itd|i tak dalej|i tym podobne|lub podobn\w+|oraz podobn\w+|w innych celach",
    ),
    modal=(
        r"(?<!nie )(?<!tylko )(?:może|mogą|mogłaby|mogłyby|mógłby|mogłoby)(?: (?!tylko|nie|wyłącznie|jedynie|"
        r"państwo)\S+){0,4}? "
        rf"(?:być|zostać|zostawać|ulec|podlegać) (?:\w+ )?(?:{_RECORDED}|nagraniu|nagrywaniu|rejestracji|zapisowi)",
        r"(?<!nie )(?:może|mogą) (?:\w+ )?(?:podlegać|ulec) (?:nagr\w+|rejestr\w+)",
        rf"(?<!nie )(?:możemy|moglibyśmy|można)(?: (?!nie|tylko)\S+){{0,3}}? {_RECORD}",
        rf"(?:konsultant|pracownik|firma) (?:może|mógłby) (?:\w+ )?{_RECORD}",
        r"istnieje możliwość|(?:jest )?możliw[ey],? że|zastrzegamy sobie|niewykluczone|nagr(?:anie|"
        r"ywanie) jest możliwe|może się zdarzyć",
    ),
    passive=(
        r"(?:jeśli|jeżeli)(?: \w+)? nie (?:chcą|zgadzają|wyrażają|życzą)…(?:poinform\w+|powiedz\w+|zgłos\w+|"
        r"o poinformowanie)",
        r"(?:pozostając|zostając|kontynuując|czekając|nie rozłączając się|rozmawiając|milcząc|"
        r"nie odpowiadając|korzystając)"
        rf"~{_CONSENTS}",
        r"(?:jeśli|jeżeli|gdy|kiedy|skoro)(?: \S+){0,2}? (?:pozosta\w+|kontynuuj\w+|czeka\w*|zosta\w+|"
        r"poczeka\w*|rozmawia\w*|"
        r"nie rozłącz\w+|nie powie\w*|nie naciśn\w+|nie wybier\w+|nie odpowie\w*|milcz\w+|nie zgłos\w+|"
        r"nie sprzeciw\w+|nic nie \w+)~"
        rf"(?:{_CONSENTS}|uznajemy|przyjmujemy|traktujemy|rozmowa (?:jest|będzie|zostanie) nagr\w+|nagrywamy|"
        r"(?:zaczyna|rozpoczyna) się nagr\w+|(?:oznacza to|to oznacza))",
        r"(?:milczenie|brak (?:odpowiedzi|wyboru|reakcji|sprzeciwu|klawisza)|pozostanie na linii|"
        r"pozostawanie na linii|"
        r"kontynuowanie|kontynuacja|oczekiwanie)~(?:oznacza|jest|to|stanowi|traktujemy|uznajemy|uważamy)~"
        rf"{_CONSENT}",
        r"(?:domnieman|dorozumian|milcząc)(?:a|ej|ą) zgod\w+|(?:zakładamy|"
        r"przyjmujemy),? że (?:\w+ )?(?:zgadza|wyraża)\w*",
        rf"{_RECORDED},? (?:chyba,? że|o ile nie|jeśli nie)|(?:chyba,? że|o ile)~(?:jest|będzie|"
        rf"zostanie) nagrywan\w+",
    ),
    weighing=(
        r"szybciej|szybsz\w+|pierwszeństw\w+|(?<!ten sam )(?:priorytet\w*)|poza kolejnością|wcześniej obsłuż\w+",
        r"(?:czeka|czekają|poczekają|oczekują|czekać)(?: \w+)? dłużej|dłużej (?:czeka|czekać|czekają|"
        r"oczekiwać|oczekują|poczekają)",
        r"dłuższ\w+ (?:czas|oczekiwan\w+|kolejk\w+)|krótsz\w+ (?:czas|oczekiwan\w+|kolejk\w+)|wolniej|opóźnie\w+",
        r"lepsz\w+ (?:obsług\w+|pomoc\w*|wsparci\w+)|lepiej (?:pomóc|obsłużyć)",
        r"(?<!bez )(?<!bez żadnych )(?:konsekwencj\w+|niedogodnoś\w+|niekorzyst\w+)|korzyś\w+|korzystniej\w*",
        r"(?:muszą|musi|musisz|trzeba|należy|powinni|powinien|powinna)(?: \w+){0,2}? "
        r"(?:zgodzić|wyrazić zgod\w+|zaakceptować|udzielić zgod\w+|wybrać (?:tak|zgod\w+))(?! (?:lub|albo|czy))",
    ),
    pressure=(
        r"(?:prosimy|proszę)(?: o)? (?:się )?(?:rozłączenie|rozłączyć)|muszą (?:się )?państwo rozłączyć",
        r"rabat\w*|zniżk\w+|prezent\w*|upomin\w+|nagrod[aąęyęu]\w*|nagród|wygra[ćjł]\w*|wygrają|"
        r"premi[aęiąe]\w*|bonus\w*|konkurs\w*|loteri\w+",
        r"niestety|przykro|szkoda|żałujemy|ubolewa\w+|z żalem",
        r"nie (?:możemy|będziemy mogli|zdołamy|jesteśmy w stanie|będziemy w stanie)(?: \S+){0,3}? "
        r"(?:pomóc|obsłużyć|połączyć|udzielić|kontynuować)",
        r"(?:rozmowa|połączenie) (?:zostanie|zostaje|jest|będzie) (?:\w+ )?(?:zakończon\w+|przerwan\w+|rozłączon\w+)",
        r"zakończymy|przerwiemy|rozłączymy|kończymy (?:rozmowę|połączenie)|(?:rozmowa|połączenie) (?:kończy|"
        r"zakończy) się",
        r"zalecamy|polecamy|rekomendujemy|zachęcamy|doradzamy|sugerujemy|mamy nadzieję",
        r"(?:proszę|prosimy)(?: o)? (?:\w+ )?(?:wybrać|wybranie|powiedzieć|nacisnąć) (?:tak|zgod\w+)|"
        r"(?:proszę|prosimy) (?:się )?zgodzić",
        r"(?:proszę|prosimy) wyrazić zgod\w+|wybierz tak(?! lub)|prosimy zaakceptować",
        r"pomóż\w* nam|pomó[cż] nam|pomaga nam|pomagają nam|pomogą nam|nam pomóc",
        r"dziękujemy za (?:zgod\w+|wyrażenie|udzielenie|wybór)|w (?:państwa|pana|pani|swoim) (?:własnym )?interesie",
        r"większość (?:klientów|osób|dzwoniących|rozmówców)|gorsz\w+|dodatkow\w+ (?:opłat\w+|koszt\w+)|"
        r"na własne ryzyko",
        r"tylko (?:jeśli|wtedy|po)…(?:pomóc|pomożemy|obsłużymy)",
    ),
    stress=(
        r"po prostu|łatwo|tylko|jedynie|teraz|szybko|chętnie|proszę|oczywiście|naprawdę|koniecznie|lepiej|"
        r"niestety|zwyczajnie"
    ),
    day=r"dni|dzień|dnia|dniach|dobę|doby|dób",
    week=r"tygodni|tygodnie|tydzień|tygodnia|tygodniach",
    month=r"miesięcy|miesiące|miesiąc|miesiąca|miesiącach",
    year=r"lat|lata|rok|roku|latach",
    hour=r"godzin|godziny|godzinę|godzinach",
    half_year=r"pół roku|półrocze|półrocza",
    one=r"jeden|jednego|jedną|jednej",
    keeping=r"przechow\w+|zachow\w+|usuwan\w+|usunię\w+|usuwamy|skasowan\w+|kasowan\w+|kasujemy|zniszczon\w+",
    answering=r"odpowie\w+|wniosek|wniosk\w+|żądani\w+|skarg\w+|reklamacj\w+",
    press=r"naciśnij|naciśnijcie|nacisnąć|naciskając|wciśnij|wcisnąć|wybierz|wybrać|wybierając|naciśnięcie",
    key=r"klawisz|klawisza|klawiszem|przycisk|przycisku|cyfra|cyfrę|cyfry",
    filler=r"klawisz|przycisk|cyfrę|cyfra|numer|na|telefonie|teraz|proszę|z|oznaczony",
    either=r"lub|albo|i|a|oraz",
    purpose=r"aby|żeby|by|dla|jeśli|jeżeli|w celu|gdy|oznacza|na",
    unit=(
        r"s|sek|sekund\w*|minut\w*|godzin\w*|dni|dzień|tygod\w+|miesi\w+|lat|lata|rok|razy|raz|klawisz\w+|"
        r"język\w+|złotych|procent"
    ),
    digits=(
        "zero|zera",
        r"jeden|jedynk[aęi]",
        r"dwa|dwójk[aęi]",
        r"trzy|trójk[aęi]",
        r"cztery|czwórk[aęi]",
        r"pięć|piątk[aęi]",
        r"sześć|szóstk[aęi]",
        r"siedem|siódemk[aęi]",
        r"osiem|ósemk[aęi]",
        r"dziewięć|dziewiątk[aęi]",
        r"gwiazdk[aęi]",
        r"krzyżyk\w*|kratk[aęi]|hasz\w*|hash",
    ),
    pace=14.0,
    words_a_minute=(75, 150),
    word_length=6.5,
    authorities=("Prezes Urzędu Ochrony Danych Osobowych",),
)
