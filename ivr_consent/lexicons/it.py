"""Italian."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:registrat[oaie]|ascoltat[oaie]|conservat[oaie]|monitorat[oaie]|intercettat[oaie]|trascritt[oaie])"
_RECORD = r"(?:registrare|ascoltare|monitorare|trascrivere)"
_CAN = r"(?:può|possono|potrebbe|potrebbero|potrà|potranno|possa|possano)"
_NOT_ONLY = r"(?<!non )(?<!non si )(?<!solo )(?<!soltanto )"
_CALLS = r"(?:chiamat[ae]|telefonat[ae]|conversazion[ie]|cas[oi]|registrazion[ie]|finalità|scopi|person[ae])"
_CONSENT = r"(?:sì|consenso|assenso|accettazione|autorizzazione|approvazione)"
_CONSENTS = r"(?:acconsente|acconsentite|accetta|accettate|autorizza|presta|prestate|dà il|date il|si considera)"

WORDS: Final = Words(
    negation=r"non|nulla|niente|nessuna?|nessuno|nessun|mai|né|neppure|nemmeno",
    subject=r"lei|voi|noi|egli",
    vague=(
        r"eventuale|eventuali|eventualmente|forse|possibilmente|magari|probabilmente|potenzialmente",
        r"talvolta|a volte|qualche volta|occasionalmente|di tanto in tanto|ogni tanto|saltuariamente",
        rf"(?:alcun[ie]|cert[ie]|qualche|determinat[ie]|talun[ie]|vari[e]?|divers[ie])(?: \w+)? {_CALLS}",
        r"una selezione di (?:chiamate|telefonate)|non tutte le (?:chiamate|telefonate)|"
        r"parte delle (?:chiamate|telefonate)",
        r"(?:se|ove|quando|laddove) (?:sia |è )?(?:necessario|del caso|applicabile|opportuno|possibile)|"
        r"all'occorrenza",
        r"(?:finché|per il tempo|fino a quando|per tutto il tempo)(?: \w+){0,2}? necessario|in caso di bisogno",
        r"per (?:un certo|qualche|un) (?:periodo|tempo)(?: limitato)?(?! di)",
        r"in (?:linea di )?(?:principio|massima)|di (?:solito|regola|norma)|normalmente|generalmente|"
        r"in genere|solitamente",
        r"tra l'altro|fra l'altro|tra le altre cose|ecc|eccetera|e simili|o simili|e così via|"
        r"e altr[ie] (?:finalità|scopi)",
    ),
    modal=(
        rf"{_NOT_ONLY}{_CAN}(?: (?:anche|quindi|inoltre|altresì))? (?:essere|venire) (?:\w+ )?{_RECORDED}",
        rf"{_NOT_ONLY}si {_CAN} (?:\w+ )?{_RECORD}|{_NOT_ONLY}(?:possiamo|potremmo|potremo) (?:\w+ )?{_RECORD}",
        rf"(?:operatore|azienda|società) (?:può|potrebbe|potrà) (?:\w+ )?{_RECORD}",
        r"è possibile che|suscettibil[ei] di|ci riserviamo|può (?:darsi|accadere|capitare) che|"
        r"potrebbe (?:capitare|accadere)",
    ),
    passive=(
        r"(?:se|qualora)(?: lei)? non (?:desidera|vuole|intende|acconsente|è d'accordo)…(?:comunichi|dica|"
        r"informi|avvisi|segnali|comunicarlo|dirlo|segnalarlo)",
        r"(?:rimanendo|restando|proseguendo|continuando|attendendo|non riagganciando|parlando|tacendo|utilizzando)"
        rf"~{_CONSENTS}",
        r"(?:se|quando|finché)(?: lei)? (?:rimane|resta|prosegue|continua|attende|parla|non riaggancia|"
        r"non dice nulla|"
        r"non dice niente|non preme|non risponde|non sceglie|tace|non fa nulla|non si oppone)~"
        rf"(?:{_CONSENTS}|si intende|consideriamo|riteniamo|registriamo|(?:chiamata|telefonata) (?:viene|è|"
        rf"sarà) registrata|"
        r"(?:inizia|comincia) la registrazione|la registrazione (?:inizia|comincia))",
        r"(?:silenzio|(?:mancata|nessuna) (?:risposta|scelta|opposizione)|nessun tasto|restare in linea|"
        r"rimanere in linea|"
        rf"proseguire)~(?:significa|vale|equivale|è|conta|costituisce|implica)~{_CONSENT}",
        r"consenso (?:tacito|implicito|presunto)|chi tace acconsente|(?:presumiamo|supponiamo|riteniamo) che",
        r"registrat[oa],? (?:salvo|a meno che|tranne)|(?:a meno che|salvo che)~(?:viene|è|sarà) registrata",
    ),
    weighing=(
        r"più (?:veloce|veloci|velocemente|rapido|rapida|rapidamente|in fretta|presto)|"
        r"(?<!stessa )(?:priorità|precedenza)|prioritari[oa]",
        r"attes[ae] più (?:lung\w+|brev\w+)|(?:attende|attenderà|attendere|aspetta|"
        r"aspetterà) (?:\w+ )?(?:di più|più)",
        r"più (?:lento|lenta|lentamente|attesa)|ritard[oi]|ritardat[oa]",
        r"miglior[ei]? (?:servizio|assistenza|aiuto|consulenza)|(?:aiutarla|servirla|assisterla) meglio",
        r"(?<!senza )(?<!senza alcuna )(?:svantaggi\w*|conseguenz[ae]|penalizzazion[ei])|vantaggi\w*",
        r"(?:deve|dovete|dovrà|è obbligat[oa] ad?|bisogna|è tenut[oa] ad?) (?:\w+ )?"
        r"(?:acconsentire|accettare|dare il (?:suo )?consenso|dire (?:di )?sì|scegliere sì)",
    ),
    pressure=(
        r"(?:deve|la preghiamo di|è pregato di) riagganciare|riagganci(?:,)? se",
        r"scont[oi]|regal[oi]|omagg[io]\w*|premio|un premio|concors[oi]|vincere|vince|vinca|buon[oi] (?:sconto|"
        r"acquisto)|ricompens[ae]",
        r"purtroppo|sfortunatamente|ci (?:dispiace|spiace|rincresce)|peccato|spiacenti",
        r"non (?:la |le )?(?:possiamo|potremo|potremmo|saremo in grado di|siamo in grado di)(?: \S+){0,2}? "
        r"(?:aiutar\w+|assister\w+|servir\w+|proseguire|rispondere|continuare)",
        r"(?<!che )(?<!quando )(?<!finché )la (?:chiamata|telefonata|conversazione) (?:termina|terminerà|"
        r"si chiude|si interrompe|"
        r"(?:verrà|viene|sarà) (?:interrotta|chiusa|terminata))|chiuderemo la|interromperemo la|termineremo la",
        r"(?:le |vi )?(?:consigliamo|raccomandiamo|suggeriamo|esortiamo|invitiamo ad? (?:accettare|"
        r"acconsentire|dire))|speriamo",
        r"per favore,? (?:\w+ )?(?:dica sì|scelga sì|prema sì|accetti|acconsenta)|scelga (?:\w+ )?sì(?! o)",
        r"ci aiut[aio]\w*|aiutarci|aiutateci|ci (?:può|potete) aiutare",
        r"grazie per (?:\w+ )?(?:acconsentito|accettato|consenso|il suo consenso|aver\w* \w+)",
        r"nel suo (?:stesso |proprio )?interesse|a suo vantaggio|la maggior parte (?:dei|delle) (?:clienti|"
        r"persone|chiamanti)",
        r"(?:peggior\w*|minore) (?:servizio|assistenza|aiuto)|cost[oi] aggiuntiv[oi]|a suo rischio",
        r"(?:solo|soltanto) se…(?:aiutar\w+|assister\w+)",
    ),
    stress=(
        r"semplicemente|facilmente|solo|soltanto|ora|adesso|subito|volentieri|per favore|certamente|davvero|"
        r"purtroppo|pure"
    ),
    day=r"giorni?|giornate?",
    week=r"settiman[ae]",
    month=r"mes[ei]",
    year=r"ann[oi]",
    hour=r"or[ae]",
    half_year=r"mezzo anno|un semestre|semestre",
    one=r"una?|uno|un'",
    keeping=r"conserv\w+|memorizz\w+|custodit[ao]|cancell\w+|eliminat[ao]|elimin\w+|distrutt[ao]",
    answering=r"rispost[ae]|rispond\w+|richiest[ae]|reclam[oi]",
    press=r"prema|premere|premi|premendo|digiti|digitare|digita|selezioni|componga",
    key=r"tasto|tasti|cifra",
    filler=r"il|la|lo|l'|tasto|numero|cifra|sul|sulla|suo|telefono|tastiera|ora|adesso",
    either=r"o|oppure|e",
    purpose=r"per|se|quando|significa",
    unit=(
        r"s|sec|secondi|secondo|minut[oi]|or[ae]|giorn[oi]|settiman[ae]|mes[ei]|ann[oi]|volt[ae]|tasti|"
        r"lingue|euro|per cento"
    ),
    digits=(
        "zero",
        "uno|un",
        "due",
        "tre",
        "quattro",
        "cinque",
        "sei",
        "sette",
        "otto",
        "nove",
        "asterisco|stella|stelletta",
        "cancelletto|diesis",
    ),
    pace=16.0,
    words_a_minute=(95, 180),
    word_length=6.1,
    authorities=("Garante per la protezione dei dati personali",),
)
