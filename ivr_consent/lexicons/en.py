"""English."""

from __future__ import annotations

from typing import Final

from ivr_consent.lexicon import Words

_RECORDED = r"(?:recorded|taped|monitored|transcribed|listened (?:in )?(?:to|on)|logged on tape)"
_KEPT = r"(?:kept|stored|saved|retained|archived)"
_USED = r"(?:used|heard|shared|passed on|analy[sz]ed|evaluated|reviewed|processed|made|taken)"
_RECORD = r"(?:record|tape|monitor|transcribe|listen in|listen to)"
_CALLS = r"(?:calls?|conversations?|recordings?|cases|instances|situations|purposes|people|persons|partners|reasons)"
_AGREE = r"(?:agree|consent|accept|permit|allow us|authori[sz]e|approve|give (?:us )?(?:your )?(?:consent|permission))"
_STAYING = (
    r"(?:staying|remaining|holding|waiting|continuing|proceeding|going on|carrying on|keeping|speaking|talking|"
    r"listening|not hanging up|not objecting|not pressing|not answering|saying nothing|doing nothing|being silent)"
)
_STAY = (
    r"(?:stay|remain|hold|wait|continue|proceed|go on|carry on|keep|speak|talk|do not hang up|don't hang up|"
    r"do not object|don't object|do not press|don't press|do not answer|don't answer|do not say|don't say|"
    r"say nothing|do nothing|press nothing|are silent)"
)
_CONSENTED = r"(?:consent|yes|agreement|acceptance|approval|permission)"

WORDS: Final = Words(
    negation=r"not|cannot|\w+n't|never|neither|nor|nobody|no one|none|nothing|no(?= (?!you\b|we\b|i\b|and\b|or\b)\w)",
    subject=r"you|we|they|callers?|it",
    vague=(
        r"possibly|perhaps|maybe|potentially|presumably|probably|occasionally|sometimes|from time to time|"
        r"now and then",
        rf"(?:some|certain|selected|various|several) (?:\w+ )?{_CALLS}",
        r"(?:some|a selection|a part|part|a number|most|many) of (?:the|our|your|these|all)? ?(?:calls|"
        r"conversations)",
        r"not (?:all|every) (?:calls?|conversations?)|a selection of calls",
        r"(?:where|if|when|whenever|as) (?:\w+ )?(?:appropriate|applicable|necessary|needed|possible|need be)",
        r"as long as (?:\w+ ){0,2}(?:necessary|needed|required)",
        r"for (?:a while|some time|a (?:limited|certain|reasonable|short) (?:time|period))(?! of)",
        r"generally|usually|normally|as a rule|in principle|typically",
        r"and (?:the like|so on|so forth)|or (?:similar|the like)|etc|et cetera|among other things|inter alia",
        r"including but not limited to|and (?:other|similar|various) purposes",
    ),
    modal=(
        rf"(?:may|might|could)(?: (?!ask|choose|request|withdraw|object|refuse|wish|want|not)\w+){{0,3}}? "
        rf"(?:be|get) (?:\w+ )?(?:{_RECORDED}|{_KEPT}|{_USED})",
        rf"may well be {_RECORDED}",
        rf"can(?: (?!only|not|ask)\w+){{0,2}}? (?:be|get) (?:\w+ )?(?:{_RECORDED}|{_KEPT})",
        rf"(?:we|they|agents?|staff|somebody|someone|company|\{{controller\}}) (?:may|might|could)(?! not)"
        rf"(?: \w+){{0,2}}? (?:{_RECORD}|keep|store|save|use|retain)",
        rf"we can(?! not| only)(?: \w+)? {_RECORD}",
        rf"(?:may|might|could|can) (?:\w+ )?{_RECORD} (?:this|your|the|all|any) (?:call|conversation)s?",
        r"(?:it|there) (?:may|might|could) be (?:that|a recording|recordings)|it is possible that",
        r"(?:is|are) (?:subject|liable) to (?:\w+ )?(?:record|monitor|be )\w*|reserves? the right",
    ),
    passive=(
        r"if you (?:do not|don't|would prefer not to|would rather not) (?:want|wish|agree|consent|like|"
        r"be)?…(?:tell|inform|let us know|say so|advise|mention)",
        rf"(?:by|in) {_STAYING}~(?:{_AGREE}|{_CONSENTED} is)",
        rf"(?:if|when|as long as|should) you {_STAY}~(?:you (?:\w+ )?{_AGREE}|we (?:\w+ )?(?:assume|take|understand|"
        rf"regard|record|start recording)|recording (?:starts|begins)|(?:call|conversation) (?:is|"
        rf"will be) {_RECORDED}|"
        rf"(?:that|this|it) (?:is|means|counts as) {_CONSENTED})",
        rf"(?:{_STAYING}|silence|no (?:answer|reply|key|response|objection))~(?:means?|is|counts?|signif\w+|equals|"
        rf"amounts|constitutes?|implies|taken|regarded|considered|treated)~(?:{_CONSENTED}|you {_AGREE})",
        rf"{_RECORDED},? unless you|unless you (?:object|decline|refuse|say|press|tell|opt)~(?:is|will be|"
        rf"are) {_RECORDED}",
        r"(?:implied|tacit|presumed|passive|deemed) consent|consent is (?:assumed|presumed|implied|deemed)",
        r"we (?:assume|presume|take it|understand) that you (?:agree|consent|accept)|deemed to have (?:agreed|"
        r"consented)",
    ),
    weighing=(
        r"faster|quicker|quickly|sooner|(?<!same )priority|first in (?:line|the queue)",
        r"(?:wait|waits|waiting) (?:\w+ )?longer|longer (?:wait|waits|waiting|queues?)|shorter (?:wait|waits|"
        r"waiting|queues?)",
        r"slower|more slowly|delay\w*|(?:better|best|improved|premium) (?:\w+ )?(?:service|help|support|"
        r"advice|assistance)",
        r"(?<!without )(?<!without any )(?:disadvantages?|consequences?|penalt(?:y|ies)|drawbacks?|inconvenience)",
        r"advantages?",
        r"(?:must|(?:have|need|has) to|are (?:obliged|required|forced) to|should)(?! not) (?:\w+ )?"
        r"(?:consent|agree|accept|say yes|press yes(?! or)|choose yes(?! or)|give (?:us )?(?:your )?consent)",
    ),
    pressure=(
        r"(?:please|must|should|have to) (?:\w+ )?hang up|hang up (?:now|if you)|end the call if you",
        r"discounts?|rebates?|vouchers?|coupons?|gifts?|prizes?|rewards?|bonus(?:es)?|win|raffle|lottery|"
        r"free of charge if",
        r"unfortunately|regrettably|sadly|sorry|regret|(?:a|what a) (?:pity|shame)|disappointed",
        r"(?:cannot|can't|can not|will not|won't|are not able to|are unable to|unable to) (?:\w+ )?"
        r"(?:help|serve|assist|connect|support|continue|process|handle|deal)",
        r"(?:no longer|only) (?:be able to )?(?:help|serve|assist)(?: you)? (?:if|when)",
        r"(?:call|conversation) (?:is|will be|gets) (?:\w+ )?(?:ended|terminated|disconnected|cut off)",
        r"(?<!until )(?<!when )(?<!after )(?<!before )(?<!once )(?:the|your|this) call (?:then )?(?:ends|will end)",
        r"we (?:\w+ )?(?:end|terminate|disconnect) (?:the|your|this) (?:call|line)|hang up on you",
        r"we (?:\w+ )?(?:recommend|suggest|advise|urge|encourage|hope|would appreciate)|we'd appreciate",
        r"please,? (?:\w+ )?(?:(?:choose|say|select|press) yes(?! or)|agree|consent|accept|help)|"
        r"kindly (?:\w+ )?(?:agree|consent|yes)",
        r"help(?:s|ing)? us|thank you for (?:your )?(?:consent\w*|agreeing|accepting|choosing|saying)",
        r"in your (?:own )?(?:best )?interests?|to your (?:own )?(?:advantage|benefit)",
        r"most (?:of our )?(?:callers|customers|people)|everyone else|(?:worse|reduced|limited|"
        r"restricted) (?:service|help|support)",
        r"(?:extra|additional) (?:charges?|fees?|costs?)|at your own (?:risk|expense)",
    ),
    stress=(
        r"simply|just|easily|gladly|only|now|quickly|please|kindly|of course|certainly|really|absolutely|"
        r"unfortunately"
    ),
    day=r"(?:(?:calendar|full|consecutive|whole) )?days?",
    week=r"weeks?",
    month=r"(?:calendar )?months?",
    year=r"years?",
    hour=r"hours?",
    half_year=r"half a year|half-year|half year",
    one=r"one|a|an",
    keeping=(
        r"keeps?|kept|stor(?:es?|ed)|sav(?:es?|ed)|retain(?:s|ed)?|retention|held|archived?|(?:delet|eras|"
        r"destroy|remov)ed"
    ),
    answering=r"answers?|answered|repl(?:y|ies)|respon\w+|on request|request(?:s|ed)?|objections?",
    press=r"press(?:es|ing)?|push(?:ing)?|hit(?:ting)?|dial(?:ling)?|tap|type|enter",
    key=r"keys?|buttons?|digits?",
    filler=r"the|key|button|number|digit|on|your|keypad|telephone|phone|now|then|please|marked",
    either=r"or|and",
    purpose=r"for|to|if|when|means|in order",
    unit=(
        r"s|sec|seconds?|minutes?|hours?|days?|weeks?|months?|years?|times?|keys?|languages?|calls?|people|"
        r"percent|steps?"
    ),
    digits=(
        "zero|nought|oh",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "star|asterisk",
        "hash|pound|square|hash key|pound key",
    ),
    pace=15.0,
    words_a_minute=(100, 185),
    word_length=5.3,
    authorities=(
        "Information Commissioner's Office",
        "Data Protection Commission",
        "European Data Protection Supervisor",
    ),
)
