"""Spanish."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = (
    r"(?:grabad[oa]s?|registrad[oa]s?|escuchad[oa]s?|conservad[oa]s?|monitorizad[oa]s?|guardad[oa]s?|transcrit[oa]s?)"
)
_RECORD = r"(?:grabar|registrar|escuchar|transcribir|monitorizar)"
_CAN = r"(?:puede|pueden|podría|podrían|podrá|podrán|pudiera|pueda)"
_NOT_ONLY = r"(?<!no )(?<!no se )(?<!solo )(?<!sólo )(?<!solo se )(?<!sólo se )"
_CALLS = r"(?:llamadas|conversaciones|casos|grabaciones|finalidades|fines|personas)"
_CONSENT = r"(?:sí|consentimiento|aceptación|acuerdo|autorización|conformidad)"
_CONSENTS = r"(?:consiente|acepta|autoriza|da su|presta|permite|está (?:usted )?(?:aceptando|consintiendo|de acuerdo))"

WORDS: Final = Words(
    negation=r"nada|nunca|ninguna?|ningún|nadie|tampoco|ni|no(?= (?!y\b|o\b|espera)\w)",
    subject=r"usted|ustedes|nosotros|él|ella",
    vague=(
        r"posiblemente|quizás?|tal vez|acaso|eventual|eventuales|eventualmente|potencialmente|probablemente|"
        r"a lo mejor",
        r"a veces|en ocasiones|ocasionalmente|de vez en cuando|algunas veces|puntualmente",
        rf"(?:algun[oa]s|ciert[oa]s|determinad[oa]s|vari[oa]s|divers[oa]s)(?: \w+)? {_CALLS}|parte de las llamadas",
        r"una selección de (?:las )?llamadas|no todas las llamadas",
        r"en su caso|(?:si|cuando|según|como) (?:procede|proceda|es necesario|sea necesario|fuera necesario|"
        r"hace falta|corresponda)",
        r"(?:el tiempo|mientras|durante el tiempo) (?:que )?(?:\w+ )?(?:necesario|necesaria|preciso)",
        r"durante (?:un|cierto|algún|un cierto) (?:tiempo|periodo|período)(?: limitado)?(?! de)|por un tiempo",
        r"en principio|por lo general|en general|generalmente|normalmente|habitualmente|por regla general",
        r"entre otr[oa]s(?: cosas)?|etc|etcétera|y similares|o similares|y otr[oa]s (?:fines|finalidades)",
    ),
    modal=(
        rf"{_NOT_ONLY}{_CAN}(?: (?:también|incluso|además))? (?:ser|quedar|resultar) (?:\w+ )?{_RECORDED}",
        rf"{_NOT_ONLY}se {_CAN}(?: \w+)? (?:{_RECORD}|conservar|guardar)",
        rf"{_NOT_ONLY}{_CAN}(?: \w+)? (?:grabarse|registrarse|escucharse|conservarse|guardarse)",
        rf"{_NOT_ONLY}(?:podemos|podríamos|podremos) (?:\w+ )?{_RECORD}(?:la|lo)?",
        rf"(?:agente|operador|empresa) (?:puede|podría|podrá) (?:\w+ )?{_RECORD}",
        r"(?:es|sea|resulta) posible que|cabe la posibilidad|nos reservamos|susceptibles? de (?:ser )?\w+|"
        r"podría ocurrir que",
    ),
    passive=(
        r"si (?:usted )?no (?:desea|quiere|está de acuerdo|consiente)…(?:indíque\w+|comuníque\w+|díga\w+|"
        r"avise|infórme\w+|indicar\w*|comunicar\w*)",
        r"al (?:permanecer|continuar|seguir|quedarse|mantenerse|no colgar|esperar|proseguir|hablar|"
        r"no responder|utilizar)"
        rf"~{_CONSENTS}",
        r"si (?:usted )?(?:permanece|continúa|sigue|se queda|se mantiene|no cuelga|espera|no dice nada|"
        r"no hace nada|no pulsa|"
        r"no marca|no responde|no elige|calla|guarda silencio|prosigue|no se opone)~"
        rf"(?:{_CONSENTS}|entend\w+ que|consideramos|se (?:graba|grabará)|grabamos|(?:empieza|"
        rf"comienza) la grabación)",
        r"(?:silencio|(?:falta|ausencia) de (?:respuesta|oposición)|ninguna (?:tecla|respuesta)|no (?:pulsar|"
        r"responder|colgar)|"
        r"permanecer en línea|seguir en línea)~(?:significa|equivale|es|vale|cuenta|implica|entiende|"
        r"considera|supone)~"
        rf"{_CONSENT}",
        r"consentimiento (?:tácito|implícito|presunto)|entend\w+ que (?:usted )?(?:consiente|acepta)|"
        r"quien calla otorga",
        r"se (?:graba|grabará),? (?:salvo|a menos|excepto)|(?:salvo|a menos|"
        r"excepto) que (?:usted )?~se (?:graba|grabará)",
    ),
    weighing=(
        r"más (?:rápido|rápida|rápidos|rápidas|rápidamente|deprisa|pronto)|(?<!misma )prioridad|"
        r"prioritari[oa]s?|preferente\w*",
        r"(?:espera|esperará|esperar|esperan) (?:\w+ )?más|más (?:tiempo de )?espera|espera más larga|menos espera",
        r"más (?:lento|lenta|lentos|despacio)|retras\w+|demoras?|demorad[oa]",
        r"mejor(?:es)? (?:servicio|atención|ayuda|asistencia)|(?:atender|ayudar|servir)le mejor",
        r"(?<!sin )(?<!sin ninguna )(?:desventajas?|inconvenientes?|perjuicios?|consecuencias?)|ventajas?",
        r"(?:debe|deberá|tiene que|hay que|está obligad[oa] a|es necesario que|tendrá que) (?:\w+ )?"
        r"(?:consentir|consienta|aceptar|acepte|decir (?:que )?sí|elegir sí|dar (?:su )?consentimiento)",
    ),
    pressure=(
        r"(?:debe|deberá|tiene que|por favor,?) (?:colgar|cuelgue)|cuelgue si",
        r"descuentos?|rebajas?|regalos?|premios?|sorteos?|gane|ganar|ganará|recompensas?|bonificaci\w+|cupón|cupones",
        r"desgraciadamente|lamentablemente|por desgracia|lamentamos|lástima|lo sentimos|desafortunadamente",
        r"no (?:le )?(?:podemos|podremos|podríamos|es posible)(?: \S+){0,2}? (?:atender\w*|ayudar\w*|"
        r"continuar|tramitar|servir\w*)",
        r"(?<!que )(?<!cuando )la (?:llamada|conversación) (?:se )?(?:termina|terminará|finaliza|finalizará|"
        r"corta|cortará)",
        r"(?:cortaremos|colgaremos|terminaremos|finalizaremos|colgamos|cortamos)|se (?:cortará|terminará|"
        r"finalizará) la llamada",
        r"(?:le )?(?:recomendamos|aconsejamos|sugerimos|animamos|invitamos a (?:aceptar|consentir|decir))|"
        r"esperamos que",
        r"por favor,? (?:elija|diga|pulse|marque|seleccione) (?:que )?sí|por favor,? (?:acepte|consienta)|"
        r"elija (?:\w+ )?sí(?! o)",
        r"ayúdenos|ayúdanos|ayudarnos|nos ayuda|nos ayudará",
        r"gracias por (?:su consentimiento|aceptar|consentir|elegir|haber)",
        r"en su (?:propio )?(?:interés|beneficio)|la mayoría de (?:los|las|nuestros) (?:clientes|personas|"
        r"llamantes|usuarios)",
        r"peor (?:servicio|atención)|costes? adicional(?:es)?|cargos? adicional(?:es)?|"
        r"bajo su (?:propia )?responsabilidad",
        r"(?:solo|sólo) (?:si|podemos|podremos)…(?:atender\w*|ayudar\w*)",
    ),
    stress=(
        r"simplemente|fácilmente|solo|sólo|solamente|ahora|rápidamente|gustosamente|por favor|claro|"
        r"realmente|mejor"
    ),
    day=r"días?(?: naturales| completos)?",
    week=r"semanas?",
    month=r"mes|meses",
    year=r"años?",
    hour=r"horas?",
    half_year=r"medio año|semestre|un semestre",
    one=r"una?|uno",
    keeping=r"conserv\w+|guard(?:a|an|amos|ada|adas|ará)|almacen\w+|borra|borran|borrará|elimin\w+|suprime|destruye",
    answering=r"respuesta|respuestas|respond\w+|contest\w+ a su|solicitud\w*|reclamaci\w+",
    press=r"pulse|pulsar|pulsando|pulsa|presione|presionar|marque|marcar|oprima|teclee|apriete",
    key=r"tecla|teclas|dígito",
    filler=r"la|el|tecla|número|dígito|en|su|teléfono|teclado|ahora|por|favor",
    either=r"o|u|y",
    purpose=r"para|si|cuando|significa",
    unit=(
        r"s|seg|segundos?|minutos?|horas?|días?|semanas?|mes|meses|años?|veces|vez|teclas|idiomas|llamadas|"
        r"euros|por ciento"
    ),
    digits=(
        "cero",
        "uno|un|una",
        "dos",
        "tres",
        "cuatro",
        "cinco",
        "seis",
        "siete",
        "ocho",
        "nueve",
        "asterisco|estrella",
        "almohadilla|numeral|tecla numeral",
    ),
    pace=16.0,
    words_a_minute=(95, 185),
    word_length=5.8,
    authorities=("Agencia Española de Protección de Datos",),
)
