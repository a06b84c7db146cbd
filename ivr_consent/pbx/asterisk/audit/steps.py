"""What each application does with a call: where it goes on, what it begins, what it records, what cannot be known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ivr_consent.pbx.asterisk.audit import channels
from ivr_consent.pbx.asterisk.audit.dialplan import Step, Value
from ivr_consent.pbx.asterisk.audit.graph import Edge, Node, Target
from ivr_consent.pbx.asterisk.audit.known import SYMBOL, State, pairs, text_of, without_global
from ivr_consent.pbx.asterisk.audit.patterns import Pattern
from ivr_consent.pbx.asterisk.audit.recorders import carries, in_function
from ivr_consent.pbx.asterisk.audit.texts import arguments, branches, call, nth, parts
from ivr_consent.pbx.asterisk.audit.ways import Walk
from ivr_consent.pbx.asterisk.variables import RESULT
from ivr_consent.pbx.audit.results import HOLE, OTHER, bit_of

CARRIED: Final = "carried: "
FORGED: Final = "forged: "
"""How a thing to be said begins, by its kind."""

OURS: Final = "ivr-consent"
"""How the names of the gate's contexts begin."""

_DEEPEST: Final = 8
"""Applications within applications' arguments."""

Do = Callable[[Walk, Edge, str, str, State], None]


def do(walk: Walk, edge: Edge, application: str, given: str, state: State, depth: int = 0) -> None:
    """One application with its arguments as written, in a state; everything that can follow is put on the walk."""
    if not state.results:
        return
    handler = _HANDLERS.get(application)
    if handler is not None:
        handler(walk, edge, application, given, state)
    elif application in _ENDS:
        pass
    elif application in _WITHIN and depth < _DEEPEST:
        _WITHIN[application](walk, edge, given, state, depth + 1)
    elif "$" in application:
        walk.say(edge, f"{application}: which application this is, is computed while the call runs")
        walk.next(edge, State(state.results, 0))
    else:
        values = state.values
        walk.next(edge, state if not values else State(state.results, walk.values.without(values, given)))


# --- jumps -----------------------------------------------------------------------------------------------------------


def _goto(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    walk.jump(edge, given, state) if given.strip() else walk.next(edge, state)


def _goto_if(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    branch = branches(given)
    true, false = walk.decide(edge, branch.condition, state)
    walk.jump(edge, branch.true, State(true, state.values))
    walk.jump(edge, branch.false, State(false, state.values))


def _either(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    """GotoIfTime: either way."""
    branch = branches(given)
    walk.jump(edge, branch.true, state)
    walk.jump(edge, branch.false, state)


def _random(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    walk.jump(edge, nth(parts(given, ":", 1), 1), state)
    walk.next(edge, state)


def _gosub(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    walk.call(edge, given.strip(), state)


def _gosub_if(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    branch = branches(given)
    for results, text in zip(walk.decide(edge, branch.condition, state), (branch.true, branch.false), strict=True):
        narrowed = State(results, state.values)
        if text:
            walk.call(edge, text, narrowed)
        elif results:
            walk.next(edge, narrowed)


def _macro(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    name, *rest = [walk.fill(edge, part, None, state) for part in arguments(given)]
    context = f"macro-{text_of(name)}"
    if HOLE in context:
        walk.say(edge, f"macro {given}: which one is computed while the call runs")
        walk.next(edge, State(state.results, 0))
        return
    node = edge.node
    values = walk.values.called(
        state.values, rest, {"MACRO_EXTEN": node.value, "MACRO_CONTEXT": node.context, "MACRO_PRIORITY": HOLE}
    )
    walk.enter(edge, Target(context, "s", "1", False), state, values, context, f"Macro({given})")


def _macro_if(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    branch = branches(given)
    for results, text in zip(walk.decide(edge, branch.condition, state), (branch.true, branch.false), strict=True):
        narrowed = State(results, state.values)
        if not results:
            continue
        if text:
            _macro(walk, edge, application, text, narrowed)
        else:
            walk.next(edge, narrowed)


def _return(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    walk.returned(edge, state)


def _macro_exit(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    if edge.frame.macro:
        walk.returned(edge, state)


# --- blocks ----------------------------------------------------------------------------------------------------------

_OPENS: Final = {"while": "endwhile", "if": "endif"}


def _block(node: Node, begin: int, opening: str, wanted: frozenset[str]) -> list[int]:
    """Priorities behind ``begin`` in its own block that hold one of some applications, up to the block's end."""
    depth, found = 0, []
    closing = _OPENS[opening]
    for number in sorted(number for number in node.extension.steps if number > begin):
        application = node.extension.steps[number].application
        if application == opening:
            depth += 1
        elif application == closing and depth:
            depth -= 1
        elif depth == 0 and application in wanted:
            found.append(number)
        if depth == 0 and application == closing:
            break
    return found


def _to(walk: Walk, edge: Edge, number: int, state: State) -> None:
    """Go on behind a priority of the same extension."""
    if not state.results:
        return
    node = edge.node
    at = walk.node(node.context, node.value, node.extension, number)
    for following in walk.following(at):
        walk.go(edge.frame, following, state, edge, "block")


def _while(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    true, false = walk.decide(edge, given, state)
    if true:
        walk.next(edge, State(true, state.values))
    for number in _block(edge.node, edge.node.priority, "while", frozenset({"endwhile"})):
        _to(walk, edge, number, State(false, state.values))


def _loop(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    """EndWhile and ContinueWhile go back to While; ExitWhile goes behind EndWhile."""
    node = edge.node
    if application == "exitwhile":
        for number in _block(node, node.priority, "while", frozenset({"endwhile"})):
            _to(walk, edge, number, state)
        return
    depth = 0
    for number in sorted((number for number in node.extension.steps if number < node.priority), reverse=True):
        inner = node.extension.steps[number].application
        if inner == "endwhile":
            depth += 1
        elif inner == "while" and depth:
            depth -= 1
        elif inner == "while":
            # What changes in the loop is not followed round after round: behind it, it is not known.
            walk.go(edge.frame, walk.node(node.context, node.value, node.extension, number), state, edge, "loop")
            return
    walk.next(edge, state)


def _if(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    true, false = walk.decide(edge, given, state)
    if true:
        walk.next(edge, State(true, state.values))
    for number in _block(edge.node, edge.node.priority, "if", frozenset({"elseif", "else", "endif"})):
        step: Step = edge.node.extension.steps[number]
        if step.application != "elseif":
            _to(walk, edge, number, State(false, state.values))
            return
        taken, false = walk.decide(edge, step.arguments, State(false, state.values))
        _to(walk, edge, number, State(taken, state.values))
        if not false:
            return


def _else(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    """A branch that was taken has ended: on behind EndIf."""
    for number in _block(edge.node, edge.node.priority, "if", frozenset({"endif"})):
        _to(walk, edge, number, state)


# --- applications within applications --------------------------------------------------------------------------------


def _exec(walk: Walk, edge: Edge, given: str, state: State, depth: int) -> None:
    do(walk, edge, *call(given), state, depth)


def _exec_if(walk: Walk, edge: Edge, given: str, state: State, depth: int) -> None:
    branch = branches(given)
    for results, text in zip(walk.decide(edge, branch.condition, state), (branch.true, branch.false), strict=True):
        narrowed = State(results, state.values)
        if text:
            do(walk, edge, *call(text), narrowed, depth)
        elif results:
            walk.next(edge, narrowed)


def _exec_if_time(walk: Walk, edge: Edge, given: str, state: State, depth: int) -> None:
    branch = branches(given)
    for text in (branch.true, branch.false):
        if text:
            do(walk, edge, *call(text), state, depth)
        else:
            walk.next(edge, state)


# --- variables -------------------------------------------------------------------------------------------------------


def _set(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    for name, text in pairs(application, given):
        value = walk.fill(edge, text, None, state)
        if name == RESULT:
            state = _set_result(walk, edge, value, state)
        elif name.startswith(("CHANNEL(hangup_handler_push", "CHANNEL(hangup_handler_wipe")):
            walk.start_at(edge, text, state, "hang-up handler")
        elif name.startswith(("ARRAY(", "HASH(", "$")) or "$" in name:
            state = State(state.results, 0)
            if RESULT in name:
                state = _set_result(walk, edge, HOLE, state)
        else:
            if (recorder := in_function(name, value)) is not None:
                walk.record(edge, recorder, state)
            if carries(name, value):
                walk.say(edge, f"{CARRIED}Set({name}={text}) lets a recorder go along to another channel")
            if edge.node.extension.context in walk.trusted:
                continue  # the gate's own variables decide nothing outside of it
            state = State(state.results, walk.values.changed(state.values, without_global(name), value))
    walk.next(edge, state)


def _set_result(walk: Walk, edge: Edge, value: Value, state: State) -> State:
    """The dialplan sets the gate's result: only what no recording follows from is believed."""
    if value == SYMBOL:
        return state
    bit = OTHER if isinstance(value, Pattern) or SYMBOL in value else bit_of(value)
    if edge.node.extension.context not in walk.trusted and bit == OTHER:
        walk.say(edge, f"{FORGED}{RESULT} is set here, and only the gate may say who has consented")
    return State(bit, walk.values.asked(state.values))


def _read(walk: Walk, edge: Edge, application: str, given: str, state: State) -> None:
    name = nth(arguments(given), 0)
    walk.next(edge, State(state.results, walk.values.changed(state.values, name, None)))


_ENDS: Final = frozenset({"hangup", "congestion", "busy", "noend", "pbxend"})

_WITHIN: Final = {"exec": _exec, "tryexec": _exec, "execif": _exec_if, "execiftime": _exec_if_time}

_HANDLERS: Final[dict[str, Do]] = {
    "goto": _goto,
    "gotoif": _goto_if,
    "gotoiftime": _either,
    "random": _random,
    "gosub": _gosub,
    "gosubif": _gosub_if,
    "macro": _macro,
    "macroexclusive": _macro,
    "macroif": _macro_if,
    "macroexit": _macro_exit,
    "return": _return,
    "while": _while,
    "endwhile": _loop,
    "continuewhile": _loop,
    "exitwhile": _loop,
    "if": _if,
    "elseif": _else,
    "else": _else,
    "exitif": _else,
    "set": _set,
    "mset": _set,
    "read": _read,
    "readexten": _read,
    "background": channels.listens,
    "waitexten": channels.listens,
    "dial": channels.dial,
    "retrydial": channels.dial,
    "queue": channels.queue,
    "originate": channels.originate,
    "channelredirect": channels.redirect,
    "disa": channels.disa,
    "directory": channels.disa,
    "agi": channels.agi,
    "deadagi": channels.agi,
    "fastagi": channels.agi,
    "eagi": channels.agi,
    "system": channels.system,
    "trysystem": channels.system,
    "stasis": channels.stasis,
    **dict.fromkeys(
        (
            "mixmonitor", "monitor", "record", "dictate", "voicemail", "voicemailmain", "minivmrecord", "minivmaccmess",
            "audiosocket", "jack", "externalivr", "ices", "chanspy", "extenspy", "page", "meetme", "followme",
            "confbridge", "bridge",
        ),
        channels.records,
    ),
}  # fmt: skip  # rows that belong together
