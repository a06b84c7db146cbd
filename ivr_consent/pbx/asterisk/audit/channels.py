"""Applications that play, wait, connect, and run programs: what they begin, record, and leave unknown."""

from __future__ import annotations

import re
from typing import Final

from ivr_consent.pbx.asterisk.audit.graph import Edge
from ivr_consent.pbx.asterisk.audit.known import SYMBOL, State, text_of
from ivr_consent.pbx.asterisk.audit.recorders import in_application, words
from ivr_consent.pbx.asterisk.audit.texts import arguments, nth, options
from ivr_consent.pbx.asterisk.audit.ways import Walk
from ivr_consent.pbx.asterisk.variables import CONSENT_SCRIPT, CONTEXT, ENDED_SCRIPT
from ivr_consent.pbx.audit.results import ASKED, HOLE, NOT_ASKED

SCRIPT: Final = "script: "
"""How it begins what is said of a foreign program."""

_LOCAL: Final = re.compile(r"local/([^@/&,]*)@([^/&,@]+)", re.IGNORECASE)

_OUR_SERVER: Final = re.compile(
    rf"agi://(?:127\.0\.0\.\d+|\[::1\]|localhost)(?::\d+)?/({CONSENT_SCRIPT}|{ENDED_SCRIPT})"
)

# --- what plays, waits, connects -------------------------------------------------------------------------------------


def _filled(walk: Walk, edge: Edge, given: str, state: State) -> list[str]:
    return [text_of(walk.fill(edge, part, None, state)).replace(SYMBOL, HOLE) for part in arguments(given)]


def _recorded(walk: Walk, edge: Edge, application: str, given: list[str], state: State) -> None:
    for recorder in in_application(application, given, walk.facts):
        walk.record(edge, recorder, state)


def listens(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    """Background and WaitExten: whatever is pressed is dialled in the context."""
    context = nth(_filled(walk, edge, given, state), 3) if application == "background" else ""
    walk.dialled(edge, context or edge.node.context, state)
    walk.next(edge, state)


def records(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    _recorded(walk, edge, application, _filled(walk, edge, given, state), state)
    if application == "voicemail":
        walk.special(edge, ("a", "o"), state)
    if application in ("voicemailmain", "dictate"):
        walk.special(edge, ("a",), state)
    _local(walk, edge, given, state)
    walk.next(edge, State(state.results, walk.values.without(state.values, given)))


def _local(walk: Walk, edge: Edge, text: str, state: State) -> None:
    """Local channels that an argument names: their dialplan runs on the same call."""
    if "local/" not in text.lower():
        return
    # Each one is its own text, so that what stands in one does not blur another.
    for piece in re.split(
        r"[&,]", text_of(walk.fill(edge, text.replace("&", ","), None, state)) if "${" in text else text
    ):
        for value, context in _LOCAL.findall(piece):
            written = next((v for v, c in _LOCAL.findall(text) if c == context and "$" in v), "")
            exact = walk.fill(edge, written, None, state) if HOLE in value and written else value
            walk.start(edge, context, exact, "1", state, f"Local/{value}@{context}")


def dial(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    filled = _filled(walk, edge, given, state)
    _recorded(walk, edge, application, filled, state)
    _local(walk, edge, nth(arguments(given), 0), state)
    option = options(nth(arguments(given), 2 if application == "dial" else 5))
    for letter, how in (("U", "Dial U"), ("b", "Dial b"), ("B", "Dial B"), ("F", "Dial F")):
        if option.get(letter):
            walk.start_at(edge, option[letter], state, how)
    if option.get("M"):
        name, *_ = option["M"].split("^")
        walk.start_at(edge, f"macro-{name}^s^1", state, "Dial M")
    if option.get("G"):
        _split(walk, edge, option["G"], state)
    if {"t", "T"} & set(option):
        _transfer(walk, edge, state)
    walk.next(edge, State(state.results, walk.values.without(state.values, "")))


def _split(walk: Walk, edge: Edge, text: str, state: State) -> None:
    """Dial's G: the caller goes to a place, the callee to the priority behind it."""
    pieces = text.split("^")
    walk.start_at(edge, text, state, "Dial G")
    if pieces[-1].isdecimal():
        walk.start_at(edge, "^".join([*pieces[:-1], str(int(pieces[-1]) + 1)]), state, "Dial G")


def _transfer(walk: Walk, edge: Edge, state: State) -> None:
    """A party may transfer the other one to any extension of a context."""
    known = walk.values.of(state.values).get("TRANSFER_CONTEXT") or walk.values.fixed.get("TRANSFER_CONTEXT")
    context = text_of(known) if known else edge.node.context
    if HOLE not in context:
        root = Edge(walk.root, edge.node, edge.state)
        walk.parents.setdefault((0, edge.node.number, edge.state), (edge, "transfer"))
        walk.dialled(root, context, state, "a transfer")


def queue(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    filled = _filled(walk, edge, given, state)
    _recorded(walk, edge, application, filled, state)
    if script := nth(filled, 5):
        walk.say(edge, f"{SCRIPT}Queue() starts the AGI script {script} for the agent")
    for name in (nth(filled, 6), nth(filled, 7)):
        first = name.partition("^")[0].partition("(")[0]
        if first and f"macro-{first}" in walk.dialplan.contexts:
            walk.start(edge, f"macro-{first}", "s", "1", state, "Queue macro")
        elif first and (first in walk.dialplan.contexts or HOLE in first):
            walk.start_at(edge, name, state, "Queue gosub")
    for queue, starts in walk.facts.queue_starts.items():
        if queue == nth(filled, 0) or HOLE in nth(filled, 0):
            for context, value in starts:
                if value:
                    walk.start(edge, context, value, "1", state, f"queue {queue}")
                else:
                    walk.dialled(edge, context, state, f"queue {queue}")
    if {"t", "T"} & set(options(nth(filled, 1))):
        _transfer(walk, edge, state)
    walk.next(edge, State(state.results, walk.values.without(state.values, "")))


def originate(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    """A call of its own: what it runs is run for this one's sake, and with its consent or without."""
    filled = _filled(walk, edge, given, state)
    _local(walk, edge, nth(arguments(given), 0), state)
    kind = nth(filled, 1).lower()
    if kind == "app":
        inner = nth(filled, 2).lower()
        _recorded(walk, edge, inner, arguments(nth(filled, 3)), state)
        _program(walk, edge, inner, nth(filled, 3))
    elif kind == "exten":
        walk.start(edge, nth(filled, 2), nth(filled, 3) or "s", nth(filled, 4) or "1", state, "Originate")
    elif HOLE in kind:
        walk.say(edge, f"Originate({given}): what it runs is computed while the call runs")
    walk.next(edge, state)


def redirect(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    """ChannelRedirect: another channel, of which nothing is known, goes to a place."""
    filled = _filled(walk, edge, given, state)
    if len(filled) == 4:
        walk.start(edge, filled[1], filled[2], filled[3], State(NOT_ASKED, 0), "ChannelRedirect")
    walk.next(edge, state)


def disa(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    filled = _filled(walk, edge, given, state)
    context = nth(filled, 1) or edge.node.context
    if application == "disa" and "/" in nth(filled, 0):
        walk.say(edge, f"DISA({given}): its contexts stand in a file of its own")
    elif HOLE in context:
        walk.say(edge, f"{application}({given}): its context is computed while the call runs")
    else:
        walk.dialled(edge, context, state)
    walk.next(edge, state)


# --- programs --------------------------------------------------------------------------------------------------------


def agi(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    script = nth(_filled(walk, edge, given, state), 0)
    ours = _our_script(script)
    if edge.node.extension.context in walk.trusted:  # compared with the shipped file, but for the address
        asks = not re.search(r"/(?!consent)[a-z]+,|,--[a-z]+,", given) or "GOSUB" in given
        ours = CONSENT_SCRIPT if asks else ENDED_SCRIPT
    if application == "eagi":
        _recorded(walk, edge, application, [script], state)
    if ours == CONSENT_SCRIPT:
        walk.next(edge, State(ASKED, walk.values.asked(state.values)))
        return
    if not ours:
        walk.say(
            edge,
            f"{SCRIPT}{edge.node.step.written}({given}): the script can record (RECORD FILE, EXEC) and move the call",
        )
    walk.next(edge, State(state.results, 0))


def _our_script(script: str) -> str:
    """Which of ours an AGI address or path is; empty for another's."""
    if found := _OUR_SERVER.match(script):
        return found[1] if script.partition(found[0])[2] in ("", "?") else ""
    return CONSENT_SCRIPT if script.rpartition("/")[2] == f"{CONTEXT}-agi" else ""


def _program(walk: Walk, edge: Edge, application: str, given: str) -> None:
    if application in ("agi", "deadagi", "fastagi", "stasis", "externalivr", "system", "trysystem"):
        walk.say(edge, f"{SCRIPT}{application}({given}): another program decides what happens")


def system(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    if re.search(r"asterisk|astman|manager|5038|8088", given.lower()) or words(given):
        walk.say(
            edge, f"{SCRIPT}{edge.node.step.written}({given}): the command talks to Asterisk and can start a recorder"
        )
    walk.next(edge, state)


def stasis(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    walk.say(
        edge, f"{SCRIPT}Stasis({given}): the program behind the REST interface can record and send the call anywhere"
    )
    walk.next(edge, State(state.results, 0))
