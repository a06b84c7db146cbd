"""French."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:enregistrée?s?|écoutée?s?|conservée?s?|gardée?s?|stockée?s?|surveillée?s?|transcrite?s?)"
_CAN = r"(?:peut|peuvent|pourrait|pourraient|pourra|pourront|puisse|puissent)"
_RECORD = r"(?:enregistrer|écouter|transcrire)"
_CALLS = r"(?:appels|communications|conversations|cas|enregistrements|finalités|fins|personnes|échanges)"
_CONSENT = r"(?:oui|consentement|accord|acceptation|autorisation)"
_AGREED = (
    r"(?:vous (?:\w+ )?(?:consentez|acceptez|autorisez|donnez|approuvez)|nous (?:considérons|supposons|"
    r"présumons|enregistrons)|"
    r"(?:l'appel|cet appel|votre appel|la conversation) (?:est|sera) enregistrée?|"
    r"l'enregistrement (?:commence|débute)|"
    r"(?:cela|ceci) (?:vaut|signifie|équivaut)|vous êtes d'accord)"
)
_STAY = (
    r"(?:restez|demeurez|poursuivez|continuez|patientez|attendez|ne raccrochez pas|ne dites rien|ne faites rien|"
    r"n'appuyez|ne tapez|ne répondez pas|ne choisissez|gardez le silence|parlez|ne vous (?:y )?opposez pas)"
)

WORDS: Final = Words(
    negation=r"n'\w+|ne|pas|aucune?|rien|jamais|ni|nul|personne",
    subject=r"vous|nous|il|elle|on|je",
    vague=(
        r"éventuel|éventuelle|éventuels|éventuelles|éventuellement|peut-être|possiblement|potentiellement|"
        r"probablement",
        r"parfois|quelquefois|occasionnellement|de temps en temps|de temps à autre|par moments|ponctuellement",
        rf"(?:certains|certaines|quelques|plusieurs|divers|diverses)(?: \w+)? {_CALLS}|une partie des appels",
        r"une sélection d'appels|pas tous les appels",
        r"le cas échéant|si (?:nécessaire|besoin|applicable|c'est nécessaire|cela est nécessaire)|au besoin|"
        r"en cas de besoin",
        r"(?:aussi longtemps|tant) (?:que|qu')(?:\w+ ){0,3}? ?nécessaire|le temps nécessaire|la durée nécessaire",
        r"(?:une certaine|une courte) (?:durée|période)(?! de)|un certain temps|une (?:durée|"
        r"période) limitée(?! à)|quelque temps",
        r"en (?:principe|général|règle générale)|généralement|habituellement|normalement|d'habitude|typiquement",
        r"entre autres|etc|et cetera|ou (?:autre|similaire|similaires)|et autres (?:fins|finalités|raisons)|"
        r"et ainsi de suite",
    ),
    modal=(
        rf"(?<!ne )(?<!n'){_CAN}(?: (?:également|aussi|donc|ainsi|ensuite|alors|"
        rf"toutefois))? être (?:\w+ )?{_RECORDED}(?! par vous)",
        rf"enregistrements? (?<!ne ){_CAN} (?:\w+ )?être utilisée?s?|(?<!ne ){_CAN} (?:\w+ )?faire l'objet d'une? "
        r"(?:enregistrement|écoute)",
        r"susceptibles? (?:d'être|de faire|d'enregistrer)",
        rf"nous (?:pouvons|pourrions|pourrons)(?: \w+)? {_RECORD}|(?:pouvons|pourrions)-nous {_RECORD}",
        rf"on (?:peut|pourrait) (?:\w+ )?{_RECORD}|(?:conseiller|agent|opérateur) (?:peut|"
        rf"pourrait) (?:\w+ )?{_RECORD}",
        r"il (?:se peut|est possible|peut arriver|se pourrait) (?:que|qu'\w+)|(?:nous )?réservons (?:le droit|"
        r"la possibilité)",
        r"enregistrements? (?:est |sont )?(?:possible|éventuel)s?",
    ),
    passive=(
        r"si vous (?:ne souhaitez pas|ne voulez pas|ne désirez pas|refusez|vous y opposez|"
        r"vous opposez)…(?:dites|signalez|signaler|informez|informer|précisez|indiquez|indiquer|prévenez|dire)",
        r"en (?:restant|demeurant|poursuivant|continuant|patientant|ne raccrochant pas|attendant|gardant|parlant|"
        r"ne répondant pas|utilisant)~vous (?:\w+ )?(?:consentez|acceptez|autorisez|donnez|approuvez)",
        rf"si vous {_STAY}~{_AGREED}",
        r"(?:silence|absence de (?:réponse|choix|touche|refus)|aucune (?:réponse|touche)|ne rien dire|"
        r"rester en ligne|"
        rf"poursuivre (?:l'appel|la conversation))~(?:signifie|vaut|équivaut|est|sera|constitue)~{_CONSENT}",
        r"consentement (?:tacite|implicite|présumé)|qui ne dit mot|nous (?:supposons|considérons|présumons) que vous",
        r"enregistrée?s?,? (?:sauf|à moins)|(?:à moins que vous|sauf si vous|sauf opposition|sauf refus)~"
        r"(?:est|sera) enregistrée?",
    ),
    weighing=(
        r"plus (?:vite|rapide|rapides|rapidement|tôt)|(?<!même )(?:priorité|prioritaire|prioritaires)|en premier",
        r"(?:attendez|attendrez|attendre|patientez|patienterez) (?:\w+ )?plus (?:longtemps|longuement)|"
        r"attente (?:\w+ )?plus longue",
        r"plus (?:lent|lente|lents|lentement)|retards?|retardée?s?|plus d'attente|moins d'attente",
        r"meilleure?s? (?:\w+ )?(?:service|aide|assistance|accompagnement|conseil)|mieux (?:vous )?(?:aider|"
        r"servir|conseiller)",
        r"(?<!sans )(?<!sans aucun )(?<!sans aucune )(?:inconvénients?|conséquences?|désavantages?)|"
        r"avantages?",
        r"(?:devez|devriez|il faut|êtes (?:obligée?|tenue?) (?:de|d'))(?! pas) ?(?:\w+ )?"
        r"(?:consentir|accepter|dire oui|choisir oui|donner (?:votre )?(?:consentement|accord))",
    ),
    pressure=(
        r"(?:veuillez|merci de|devez) raccrocher|raccrochez si",
        r"réductions?|remises?|rabais|cadeaux?|primes?|gagnez|gagner|gagnerez|récompenses?|bons? d'achat|"
        r"tirage au sort",
        r"malheureusement|hélas|regrett\w+|dommage|désolée?s?|déçue?s?",
        r"(?:ne|n'y) (?:pouvons|pourrons|pourrions|peut|pourra|sommes)(?: \S+){0,4}? (?:aider|assister|"
        r"répondre|traiter|servir|"
        r"continuer|poursuivre)",
        r"(?:l'appel|cet appel|votre appel|la communication|la conversation) (?:est|"
        r"sera) (?:alors )?(?:terminée?|coupée?|"
        r"interrompue?)|(?:l'appel|cet appel|votre appel|la communication) (?:prend|prendra) fin",
        r"(?:mettons|mettrons|met) fin à (?:l'appel|cet appel|la)|nous raccroch\w+",
        r"(?:nous (?:vous )?)(?:recommandons|conseillons|encourageons|invitons à (?:accepter|consentir|"
        r"choisir oui|dire oui)|espérons)",
        r"(?:veuillez|merci de|merci d'|s'il vous plaît,?) ?(?:\w+ )?(?:accepter|consentir|choisir oui|"
        r"dire oui|dites oui)",
        r"(?<!vous )choisissez (?:\w+ )?oui(?! ou)|aidez-nous|nous aidez|"
        r"(?:à|pour|de) nous aider|nous aide à|nous aident",
        r"merci (?:pour|de) votre (?:consentement|accord|choix)|merci d'avoir (?:accepté|consenti|choisi)",
        r"dans votre (?:propre )?intérêt|à votre avantage|la plupart des (?:appelants|clients|personnes|gens)",
        r"moins (?:bon|bonne|bien) (?:service|aide)|frais supplémentaires|coûts supplémentaires|"
        r"à vos (?:propres )?risques",
        r"(?:uniquement|seulement) si vous (?:consentez|acceptez)…(?:aider|aide|répondre)",
    ),
    stress=(
        r"simplement|facilement|seulement|uniquement|maintenant|vite|volontiers|veuillez|bien sûr|vraiment|"
        r"surtout|hélas"
    ),
    day=r"jours?|journées?",
    week=r"semaines?",
    month=r"mois",
    year=r"ans?|années?",
    hour=r"heures?",
    half_year=r"une demi-année|semestre|un semestre",
    one=r"une?",
    keeping=r"conserv\w+|gard(?:é|és|ée|ées|ons)|stock\w+|effacée?s?|supprimée?s?|détruite?s?",
    answering=r"réponse|réponses|répond\w+|demandes?|réclamations?",
    press=r"tapez|taper|appuyez|appuyer|composez|composer|pressez|faites le|faites la|saisissez",
    key=r"touche|touches|chiffre",
    filler=r"sur|la|le|les|touche|chiffre|numéro|maintenant|votre|téléphone|clavier|du|de",
    either=r"ou|et",
    purpose=r"pour|si|afin|quand|signifie",
    unit=(
        r"s|sec|secondes?|minutes?|heures?|jours?|semaines?|mois|ans?|années?|fois|touches|langues|appels|"
        r"euros|pour cent"
    ),
    digits=(
        "zéro",
        "un|une",
        "deux",
        "trois",
        "quatre",
        "cinq",
        "six",
        "sept",
        "huit",
        "neuf",
        "étoile|astérisque",
        "dièse|touche dièse",
    ),
    pace=17.0,
    words_a_minute=(100, 195),
    word_length=6.3,
    authorities=(
        "Commission nationale de l'informatique et des libertés",
        "Autorité de protection des données",
        "Commission nationale pour la protection des données",
        "Préposé fédéral à la protection des données et à la transparence",
    ),
)
