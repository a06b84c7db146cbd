"""The rules for a notice's words, beyond the twelve elements: concrete, neutral, and true to the configuration.

They hold what the elements are spoken in: in the present tense, without "may" and "some"; without reward, penalty or
pressure, yes and no alike; with the days, the keys and the authority that are configured. From the Swedish regulator's
opinion of 2010, the guidelines of the Article 29 group on transparency (WP260), and GDPR articles 4(11), 7 and 13.

Phrases are searched for in texts as they are written, not as filled in: what a company is called is no promise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from ivr_consent.core.errors import Problem
from ivr_consent.core.notice import Notice, Script
from ivr_consent.lexicon import OWN_DAYS, SAME, Kind, Lexicon, lexicon, read, sentences, straight
from ivr_consent.lexicons import authorities
from ivr_consent.lexicons.alike import ALIKE, KEY, difference, unlike
from ivr_consent.lexicons.answers import ANSWERS
from ivr_consent.lexicons.letters import strangers

QUOTED: Final = 60
"""Characters of a text that a problem quotes."""

NEARLY_ALIKE: Final = 0.15
"""Of its letters, by which the longer of yes and no may differ without advice."""

LONGEST_S: Final = 75.0
"""Up to the end of the first question; few listen longer, and who does not hears no question."""
LONGEST_SEGMENT_S: Final = 20.0
LONGEST_SENTENCE: Final = 25
"""Words that are still understood when they are heard once."""
LONGEST_WORD: Final = 30
SHORTEST_MEASURED_MS: Final = 2000
"""Shorter prompts say too few words to tell a pace by."""

FINDINGS: Final[Mapping[Kind, tuple[str, str]]] = {
    "vague": ("vague", "say what happens, to this call, in every case; or leave it out"),
    "modal": ("says that something may happen", 'say in the present tense what happens: "is recorded"'),
    "passive": (
        "takes staying or silence for consent",
        "only a pressed key is consent: say that without it nothing is recorded",
    ),
    "weighing": (
        "weighs one answer against the other",
        "promise the same after yes and after no: the same queue, the same help",
    ),
    "pressure": (
        "rewards, threatens or urges",
        "leave it out: the choice is free only where nothing hangs on it",
    ),
}

_RECIPIENTS = "{recipients}"
_LEFT_OVER = re.compile(
    r"[{}]|(?<!\w)(?:TODO|FIXME|TBD|TBC)(?!\w)|(?<!\w)[xX]{3,}(?!\w)|[Ll]orem [Ii]psum|[\[<][^\[\]<>]{0,60}[\]>]|\?\?+"
)
_WORDS = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|\{\w+\}")
_CLAUSE_END = re.compile(r"(?<=[.?!;:])\s+")


@dataclass(frozen=True, slots=True)
class LineRules:
    """What the configuration knows that a text has to agree with."""

    keys: Mapping[str, str]
    """Keys by what they are for: yes, no, repeat, long, language."""
    languages: int
    """How many languages the line has."""
    retention_days: int
    authority: str
    """As configured for the language; "" for none."""
    next_menu: frozenset[str]
    """Keys that the menu behind the notice uses."""
    authorities: tuple[str, ...] = ()
    """Names of authorities that the site declares to exist."""


@dataclass(frozen=True, slots=True)
class _Text:
    """One text of a script: ``written`` with placeholders, ``spoken`` with the line's facts."""

    prompt: str
    written: str
    spoken: str
    elements: tuple[int, ...] = ()
    aside: bool = False


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the rules of one script look at."""

    notice: Notice
    script: Script
    rules: LineRules
    texts: tuple[_Text, ...]
    words: Lexicon | None
    durations_ms: Mapping[str, int] = field(default_factory=dict)

    def problem(self, prompt: str, found: str, remedy: str) -> Problem:
        """A problem at the place of a prompt's text."""
        return Problem(self.notice.place(prompt), found, remedy)

    def with_element(self, number: int) -> tuple[_Text, ...]:
        """The texts that are to say an element, before the question."""
        return tuple(text for text in self.texts if number in text.elements)


def wording(
    notice: Notice, script: Script, rules: LineRules, durations_ms: Mapping[str, int] | None = None
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """What is wrong with the words of a script, and advice on them.

    What is wrong keeps a line from recording. ``durations_ms`` has the length of prompts by their ids, where they are
    known; without it lengths are estimated from the letters.
    """
    words = lexicon(script.language)
    checked = _Checked(notice, script, rules, _texts(notice, script), words, durations_ms or {})
    errors = [
        problem
        for rule in (_phrases, _left_over, _letters, _days, _keys, _choice, _answers, _reference, _authority)
        for problem in rule(checked)
    ]
    advice = [problem for rule in (_advice_on_choice, _advice_on_authority, _lengths) for problem in rule(checked)]
    return tuple(dict.fromkeys(errors)), tuple(dict.fromkeys(advice))


def _texts(notice: Notice, script: Script) -> tuple[_Text, ...]:
    """All that is said on a line, in the order of playing; the choice, which follows every question, once."""
    written = {segment.id: segment.text for segment in (*notice.segments, *notice.long)}
    for purpose in notice.purposes.values():
        written[f"{purpose.id}-statement"] = purpose.statement
    texts = [_Text(s.id, written.get(s.id, s.text), s.text, s.elements) for s in script.information]
    choice: dict[str, _Text] = {}
    for purpose_id, question in script.questions.items():
        of = notice.purposes.get(purpose_id)
        spoken, *parts = question.parts or (question.text,)
        texts.append(_Text(question.id, of.question if of else spoken, spoken))
        for name, part in zip(("yes", "no", "otherwise"), parts, strict=False):
            choice[name] = _Text(f"choice-{name}", getattr(notice.choice, name), part)
    texts += choice.values()
    texts += (_Text(s.id, written.get(s.id, s.text), s.text, aside=True) for s in script.long)
    texts += (_Text(s.id, notice.results.get(name, s.text), s.text) for name, s in script.results.items())
    return tuple(texts)


def quoted(text: str) -> str:
    """A text in quotation marks, printable and at most :data:`QUOTED` characters of it."""
    shown = "".join(character if character.isprintable() else "?" for character in text.strip())
    return f'"{shown}"' if len(shown) <= QUOTED else f'"{shown[: QUOTED - 3]}..."'


# --- words ------------------------------------------------------------------------------------------------------------


def _phrases(of: _Checked) -> Iterator[Problem]:
    for text in of.texts:
        phrases = read(of.script.language, text.written).phrases
        if _RECIPIENTS in text.written:
            # the one fact that is a phrase and no name: "the agent and, where necessary, partners"
            named = read(of.script.language, _recipients(text.written, text.spoken)).phrases
            phrases += tuple(phrase for phrase in named if phrase.kind in ("vague", "modal"))
        for phrase in phrases:
            title, remedy = FINDINGS[phrase.kind]
            yield of.problem(text.prompt, f"{title}: {quoted(phrase.quote)}", remedy)


@lru_cache(maxsize=1024)
def _recipients(written: str, spoken: str) -> str:
    """What stands in place of the recipients' placeholder."""
    parts = [re.escape(part) for part in re.split(r"\{(?!recipients\})\w+\}", written)]
    pattern = ".+?".join(parts).replace(re.escape(_RECIPIENTS), "(.+)", 1).replace(re.escape(_RECIPIENTS), ".+")
    found = re.fullmatch(pattern, spoken, re.DOTALL)
    return found[1] if found else ""


def _left_over(of: _Checked) -> Iterator[Problem]:
    for text in of.texts:
        left = _left_over_in(text.spoken)
        if left is not None:
            yield of.problem(text.prompt, f"not written to its end: {quoted(left)}", "write the words that are spoken")


@lru_cache(maxsize=8192)
def _left_over_in(spoken: str) -> str | None:
    found = _LEFT_OVER.search(spoken)
    if found is not None:
        return found[0] if len(found[0]) > 1 else spoken[max(0, found.start() - 20) : found.end() + 20]
    return None if any(map(str.isalnum, spoken)) else spoken


def _letters(of: _Checked) -> Iterator[Problem]:
    for text in of.texts:
        for found, remedy in strangers(of.script.language, text.spoken):
            yield of.problem(text.prompt, _printable(found), _printable(remedy))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


# --- what the configuration knows -------------------------------------------------------------------------------------


def _days(of: _Checked) -> Iterator[Problem]:
    days, language = of.rules.retention_days, of.script.language
    keeping = of.with_element(6)
    if keeping and not any(_says_days(language, text.written, days) for text in keeping):
        found = f"says how long it is kept (element 6), but not the {days} days of the configuration"
        yield of.problem(keeping[0].prompt, found, f"write {OWN_DAYS} and the word for days")
    for text in of.texts:
        for period in read(language, text.written).periods:
            kept = 6 in text.elements or (period.keeping and not period.answering)
            told = not period.answering if period.unit == "day" else period.number is None
            if (kept or told) and not period.is_days(days):
                found = f"says {quoted(period.quote)}, and the configuration keeps {days} days"
                yield of.problem(text.prompt, found, f"write {OWN_DAYS} and the word for days, or leave it out")


def _says_days(language: str, written: str, days: int) -> bool:
    if OWN_DAYS in written:
        return True
    periods = read(language, written).periods
    if any(period.unit == "day" and period.number == days for period in periods):
        return True
    # a word for days that is not known: the number alone will do, unless it counts something else
    other = any(period.number == days for period in periods)
    return not other and re.search(rf"(?<![\w.,]){days}(?![\w]|[.,]\d)", written) is not None


def _keys(of: _Checked) -> Iterator[Problem]:
    used = ", ".join(f"{key} ({name})" for name, key in of.rules.keys.items())
    for text in of.texts:
        for named in read(of.script.language, text.written).keys:
            if named.key in ("0", "#"):
                why = "0 asks for the operator on many systems" if named.key == "0" else "# ends an input"
                yield of.problem(text.prompt, f"names the key {named.key}: {quoted(named.quote)}", f"{why}: use {used}")
            elif named.key not in of.rules.keys.values():
                found = f"names the key {named.key}, which this line does not have: {quoted(named.quote)}"
                yield of.problem(text.prompt, found, f"write keys as {{key_yes}} or {{key_no}}; the line has {used}")
        if "{key_language}" in text.written and of.rules.languages < 2:
            found = "names {key_language}, and the line has one language"
            yield of.problem(text.prompt, found, 'move it to a segment with only_if = "several_languages"')
        if "{key_long}" in text.written and not of.notice.long:
            found = "names {key_long}, and the notice has no long version"
            yield of.problem(text.prompt, found, "write [[long]] segments, or leave the key out")
    yes = of.rules.keys.get("yes", "")
    if yes in of.rules.next_menu:
        found = f"the menu behind the notice uses {yes} too, which here means yes"
        yield Problem("next_menu", found, "who presses twice answers both: give yes another key, or the menu")


def _authority(of: _Checked) -> Iterator[Problem]:
    saying = of.with_element(9)
    usual = _usual(of)
    if not saying:
        return
    texts = [*saying]
    if any("{key_long}" in text.written for text in saying):
        texts += (text for text in of.texts if text.aside)  # element 9 is to say the rights, or where they are told
    configured, declared = of.rules.authority, of.rules.authorities
    own = authorities.named(configured, declared)
    naming = next((text for text in texts if "{authority}" in text.written), None)
    if naming is not None:
        if configured and not own and not authorities.generic(configured):
            found = f"no supervisory authority is known as {quoted(configured)}"
            yield of.problem(naming.prompt, found, f"{usual}. Another one is declared under prompts.authorities")
        return
    said = frozenset[str]().union(*(authorities.named(text.spoken, declared) for text in texts))
    if not said:
        found = "names no supervisory authority to complain to (element 9)"
        yield of.problem(saying[0].prompt, found, f"write {{authority}}, and set it: {usual}")
    elif own and not own & said:
        found = f"names another supervisory authority than the configuration, which says {quoted(configured)}"
        yield of.problem(saying[0].prompt, found, "write {authority}")


def _usual(of: _Checked) -> str:
    if of.words is None:
        return "give its official name"
    return "usual is " + " or ".join(f'"{name}"' for name in of.words.words.authorities)


# --- yes and no -------------------------------------------------------------------------------------------------------


def _choice(of: _Checked) -> Iterator[Problem]:
    yes, no = _yes_and_no(of)
    if yes is None or no is None:
        return
    for text, own, other in ((yes, "yes", "no"), (no, "no", "yes")):
        named = KEY.findall(text.spoken)
        if of.rules.keys[own] not in named:
            found = f"does not name the key {of.rules.keys[own]}: {quoted(text.spoken)}"
            yield of.problem(text.prompt, found, f"write {{key_{own}}}, and no other key")
        if of.rules.keys[other] in named:
            found = f"names the key {of.rules.keys[other]}, which means {other}: {quoted(text.spoken)}"
            yield of.problem(text.prompt, found, f"write {{key_{own}}}, and no other key")
    for found, remedy in unlike(of.script.language, yes.spoken, no.spoken):
        yield of.problem("choice-yes", f"{found}: {quoted(yes.spoken)} and {quoted(no.spoken)}", remedy)


def _answers(of: _Checked) -> Iterator[Problem]:
    """That yes is called yes and no is called no: their keys alone do not tell a caller what they mean."""
    language = of.script.language.partition("-")[0]
    words = ANSWERS.get(SAME.get(language, language))
    if words is None:
        return
    for text in of.texts:
        said = text.spoken
        low = said.casefold()
        if text.prompt == "choice-yes" and (not words.yes.search(low) or words.no.search(low)):
            yield of.problem(text.prompt, f"does not say yes: {quoted(said)}", "say the word yes here, and not no")
        elif text.prompt == "choice-no" and not words.no.search(low):
            yield of.problem(text.prompt, f"does not say no: {quoted(said)}", "say the word no here")
        elif text.prompt == "choice-otherwise" and not (words.negation.search(low) or words.no.search(low)):
            found = f"does not say that anything else means no: {quoted(said)}"
            yield of.problem(text.prompt, found, "say that another key, none, or hanging up means no recording")
        elif text.prompt == "result-granted" and (words.says_not_recorded(said) or not words.says_recorded(said)):
            found = f"does not tell who said yes that the call is recorded: {quoted(said)}"
            yield of.problem(text.prompt, found, "say that it is recorded")
        elif text.prompt in ("result-declined", "result-unrecorded") and not words.says_not_recorded(said):
            found = f"does not tell that the call is not recorded: {quoted(said)}"
            yield of.problem(text.prompt, found, "say that it is not recorded")
        elif text.prompt.endswith("-question") and words.object.search(low):
            found = f"asks whether the caller objects, so that yes means no: {quoted(said)}"
            yield of.problem(text.prompt, found, "ask whether the caller consents")


def _reference(of: _Checked) -> Iterator[Problem]:
    """That callers are told which key says the reference number, where the notice has one."""
    prompts = {text.prompt: text for text in of.texts}
    if "result-reference" not in prompts:
        return
    told = [prompts.get("result-granted"), *(prompts.get(segment.id) for segment in of.script.long)]
    if not any(text is not None and of.rules.keys["repeat"] in KEY.findall(text.spoken) for text in told):
        remedy = "write {key_repeat} in a [[long]] segment or in results.granted, or remove results.reference"
        yield of.problem("result-reference", "no caller is told which key says the reference number", remedy)


def _yes_and_no(of: _Checked) -> tuple[_Text | None, _Text | None]:
    found = {text.prompt: text for text in of.texts if text.prompt.startswith("choice-")}
    return found.get("choice-yes"), found.get("choice-no")


# --- advice -----------------------------------------------------------------------------------------------------------


def _advice_on_choice(of: _Checked) -> Iterator[Problem]:
    yes, no = _yes_and_no(of)
    if yes is not None and no is not None and NEARLY_ALIKE < difference(yes.spoken, no.spoken) <= ALIKE:
        found = f"yes and no differ by {difference(yes.spoken, no.spoken):.0%} of their letters"
        yield of.problem("choice-yes", found, "word them equally long: the longer one is stretched or pressed")
    key = of.rules.keys.get("no", "")
    if key in of.rules.next_menu:
        found = f"the menu behind the notice uses {key} too, which here means no"
        yield Problem("next_menu", found, "who presses twice answers both: give no another key, or the menu")


def _advice_on_authority(of: _Checked) -> Iterator[Problem]:
    configured = of.rules.authority
    if configured and authorities.generic(configured) and not authorities.named(configured, of.rules.authorities):
        naming = next((text for text in of.texts if "{authority}" in text.written), None)
        if naming is not None:
            found = f"{quoted(configured)} does not say which authority it is"
            yield of.problem(naming.prompt, found, f"give its name as authority in the facts: {_usual(of)}")


def _lengths(of: _Checked) -> Iterator[Problem]:
    if of.words is None:
        found = f"the wording rules know no {of.script.language!r}"
        yield Problem(of.notice.source, found, "have it read by somebody who speaks it, for vague and for urging words")
    first = next(iter(of.script.questions.values()), None)
    asked = [*of.script.information, *([first] if first is not None else [])]
    seconds = sum(_seconds(of, segment.id, segment.text) for segment in asked)
    if seconds > LONGEST_S:
        found = f"takes about {seconds:.0f} s up to the end of the first question"
        yield Problem(
            of.notice.source, found, f"shorten it to {LONGEST_S:.0f} s: who hangs up before hears no question"
        )
    for segment in (*of.script.information, *of.script.questions.values(), *of.script.results.values()):
        seconds = _seconds(of, segment.id, segment.text)
        if seconds > LONGEST_SEGMENT_S:
            yield of.problem(segment.id, f"takes about {seconds:.0f} s", "make two segments of it, or shorten it")
    for segment in of.script.segments():
        yield from _pace(of, segment.id, segment.text)
    for text in of.texts:
        for found, remedy in _hard_to_hear(text.spoken, text.written):
            yield of.problem(text.prompt, found, remedy)


def _seconds(of: _Checked, prompt: str, text: str) -> float:
    measured = of.durations_ms.get(prompt)
    return measured / 1000 if measured is not None else len(text) / (of.words.words.pace if of.words else 15.0)


def _pace(of: _Checked, prompt: str, text: str) -> Iterator[Problem]:
    measured = of.durations_ms.get(prompt)
    if of.words is None or measured is None or measured < SHORTEST_MEASURED_MS:
        return
    # words of the language's usual length: a segment of short words is not spoken faster for it
    pace = len(text) / of.words.words.word_length / measured * 60_000
    slow, fast = of.words.words.words_a_minute
    if not slow <= pace <= fast:
        how = "slowly" if pace < slow else "fast"
        found = f"is spoken {how}: about {pace:.0f} words a minute"
        yield of.problem(prompt, found, f"speak from {slow} to {fast} of them, by the voice's speed or the take")


@lru_cache(maxsize=8192)
def _hard_to_hear(spoken: str, written: str) -> tuple[tuple[str, str], ...]:
    found = []
    clauses = [part for sentence in sentences(straight(spoken)) for part in _CLAUSE_END.split(sentence)]
    longest = max(clauses, key=lambda clause: len(_WORDS.findall(clause)))
    count = len(_WORDS.findall(longest))
    if count > LONGEST_SENTENCE:
        found.append((f"a sentence of {count} words: {quoted(longest)}", f"make two of it: up to {LONGEST_SENTENCE}"))
    for word in _WORDS.findall(straight(written)):
        if max(map(len, word.split("-"))) > LONGEST_WORD and not word.startswith("{"):
            found.append((f"a word of {len(word)} letters: {quoted(word)}", "say it in several words"))
    return tuple(found)
