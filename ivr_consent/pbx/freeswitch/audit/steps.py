"""Where a call goes after an action, what records there, and what an action sets up to run later."""

from __future__ import annotations

import re
from typing import Final

from ivr_consent.pbx.audit.results import ASKED, HOLE, OTHER, bit_of
from ivr_consent.pbx.freeswitch.audit import texts
from ivr_consent.pbx.freeswitch.audit.expressions import is_exact
from ivr_consent.pbx.freeswitch.audit.recorders import (
    CHANGES_NOTHING,
    HOOK,
    RUNS_COMMAND,
    SCRIPT_COMMANDS,
    SCRIPTS,
    in_application,
    in_command,
)
from ivr_consent.pbx.freeswitch.audit.texts import words
from ivr_consent.pbx.freeswitch.audit.ways import Edge, State, Walk
from ivr_consent.pbx.freeswitch.variables import RESULT

DEEPEST: Final = 8
"""Applications that run applications."""

SETS: Final = frozenset({
    "set", "export", "bridge_export", "set_profile_var", "push", "unshift", "set_global", "multiset",
})  # fmt: skip  # rows that belong together
DIALS: Final = frozenset({"bridge", "att_xfer", "page", "limit_bridge", "enterprise_bridge", "esf_page_group"})
_INTO: Final = frozenset({"read", "play_and_get_digits", "set_user", "transfer_vars", "lcr", "easyroute", "enum", "db"})
"""Applications that may set any variable."""


def do(walk: Walk, edge: Edge) -> None:
    """Perform an action, and go on."""
    action = edge.node.action
    assert action is not None
    if action.inline:  # it ran while the context was looked through; here it is only looked at
        perform(walk, edge, action.application, edge.node.data, edge.state)
        walk.next(edge, edge.state)
        return
    state = perform(walk, edge, action.application, edge.node.data, edge.state)
    if state is not None:
        walk.next(edge, state)


def perform(walk: Walk, edge: Edge, application: str, written: str, state: State, depth: int = 0) -> State | None:
    """What an application does; the state behind it, or None where the call does not come back to it."""
    if depth > DEEPEST:
        walk.say(edge, "computed", f"{application}: applications run each other too deeply")
        return state
    _commands(walk, edge, written, state, depth)
    data = walk.fill(edge, written, state)
    if not is_exact(application):
        walk.say(edge, "computed", f"the application {application.replace(HOLE, '...')} is computed while it runs")
        return state
    for recorder in in_application(application, data, walk.facts):
        walk.record(edge, recorder, state)
    if application in SCRIPTS:
        return _script(walk, edge, application, data, state)
    if application in SETS or application in ("unset", "multiunset"):
        return _set(walk, edge, application, written, state, depth)
    if application in ("transfer", "execute_extension", "hangup"):
        return _jump(walk, edge, application, data, state, depth)
    if application in DIALS:
        return _dial(walk, edge, written, state, depth)
    _later(walk, edge, application, data, state, depth)
    if application in _INTO:
        return _forget(walk, written, state)
    return state


def _forget(walk: Walk, written: str, state: State) -> State:
    """An application may set variables whose names stand in its arguments."""
    values = state.values
    for name in list(walk.memory.of(values)):
        if name in written.lower():
            values = walk.memory.changed(values, name, None)
    return State(state.results, values)


# --- programs --------------------------------------------------------------------------------------------------------


def _script(walk: Walk, edge: Edge, application: str, data: str, state: State) -> State:
    if application == "socket" and edge.node.context in walk.trusted:
        return State(ASKED, state.values)
    loaded = walk.facts.loaded
    if loaded is not None and SCRIPTS[application] and SCRIPTS[application] not in loaded:
        walk.say(edge, "inactive", f"{application}: modules.conf.xml does not load {SCRIPTS[application]}")
        return state
    shown = data[:200]
    walk.say(edge, "script", f"{application}({shown}): a program that can record, or send the call anywhere")
    return state if application in CHANGES_NOTHING else State(state.results | OTHER, 0)


def _commands(walk: Walk, edge: Edge, written: str, state: State, depth: int) -> None:
    """Commands that are run while a text is expanded."""
    for command in texts.commands(written):
        run_command(walk, edge, command.name, walk.fill(edge, command.arguments, state), state, depth + 1)


def run_command(walk: Walk, edge: Edge, name: str, arguments: str, state: State, depth: int) -> None:
    """A command of the switch: what records, what runs something else."""
    if depth > DEEPEST:
        walk.say(edge, "computed", f"{name}: commands run each other too deeply")
        return
    for recorder in in_command(name, arguments):
        walk.record(edge, recorder, state)
    given = words(arguments)
    if name in SCRIPT_COMMANDS:
        walk.say(edge, "script", f"the command {name} runs a program ({arguments.replace(HOLE, '...')[:200]})")
    elif name in RUNS_COMMAND:
        rest = given[RUNS_COMMAND[name] :]
        if rest:
            run_command(walk, edge, rest[0].lower(), " ".join(rest[1:]), state, depth + 1)
    elif name == "cond" or name in ("eval", "url_encode"):
        return
    elif name in ("uuid_transfer", "uuid_dual_transfer"):
        rest = [word for word in given[1:] if word not in ("-bleg", "-both")]
        _target(walk, edge, rest, state, f"the command {name}", depth)
    elif name == "sched_transfer":
        _target(walk, edge, given[2:], state, f"the command {name}", depth)
    elif name in ("uuid_broadcast", "sched_broadcast"):
        _broadcast(walk, edge, given[1 if name == "uuid_broadcast" else 2 :], state, depth)
    elif name in ("uuid_setvar", "uuid_setvar_multi"):
        pairs = [(given[1].lower(), " ".join(given[2:]))] if name == "uuid_setvar" and len(given) > 1 else []
        if name == "uuid_setvar_multi" and len(given) > 1:
            pairs = texts.assignments(" ".join(given[1:]), ";")
        for variable, value in pairs:
            _variable(walk, edge, variable, value, state, depth + 1)
    elif name in ("originate", "expand_originate"):
        _originate(walk, edge, arguments, state, depth)


def _broadcast(walk: Walk, edge: Edge, given: list[str], state: State, depth: int) -> None:
    """``app::arguments`` or ``app!arguments`` in the place of a sound."""
    text = " ".join(given)
    application, mark, data = text.partition("::")
    if not mark:
        application, mark, data = text.partition("!")
    if mark and re.fullmatch(r"[A-Za-z_0-9]+", application):
        perform(walk, edge, application.lower(), re.sub(r" (?:aleg|bleg|both)$", "", data), state, depth + 1)


def _originate(walk: Walk, edge: Edge, arguments: str, state: State, depth: int) -> None:
    """``originate DIALSTRING EXTENSION|&app(arguments) [DIALPLAN] [CONTEXT]``."""
    before, mark, rest = arguments.partition("&")
    if mark:
        application, _, data = rest.partition("(")
        perform(walk, edge, application.strip().lower(), data.rpartition(")")[0], state, depth + 1)
    given = words(arguments if not mark else before)
    for leg in texts.legs(given[0] if given else ""):
        _leg(walk, edge, leg, state, depth)
    if not mark:
        _target(walk, edge, given[1:4], state, "originate", depth)


# --- jumps -----------------------------------------------------------------------------------------------------------


def _jump(walk: Walk, edge: Edge, application: str, data: str, state: State, depth: int) -> State | None:
    if application == "hangup":
        return None
    given = words(data)
    if application == "execute_extension":
        destination, dialplan, context = _named(edge, given)
        if dialplan.lower() != "xml" or not destination:
            _target(walk, edge, given, state, application, depth)
            return State(state.results | OTHER, 0)
        how = f"{application} {data}"
        if depth:  # by a key or a variable, some time later: what it changes is not followed back
            walk.jump(edge, destination, context, state, how)
            return state
        walk.call(edge, destination, context, state, how)
        return None
    other = given[:1] == ["-bleg"]
    if given[:1] in (["-bleg"], ["-both"]):
        given = given[1:]
    _target(walk, edge, given, state, f"{application} {data}", depth)
    return state if other else None


def _named(edge: Edge, given: list[str]) -> tuple[str, str, str]:
    """Destination, dialplan and context of ``DESTINATION [DIALPLAN [CONTEXT]]``."""
    destination = given[0] if given else ""
    dialplan = given[1] if len(given) > 1 else "XML"
    return destination, dialplan, given[2] if len(given) > 2 else edge.node.context


def _target(walk: Walk, edge: Edge, given: list[str], state: State, how: str, depth: int) -> None:
    """Go where ``DESTINATION [DIALPLAN [CONTEXT]]`` says."""
    destination, dialplan, context = _named(edge, given)
    if not destination:
        return
    if not is_exact(dialplan):
        walk.say(edge, "computed", f"{how}: the dialplan is computed while the call runs")
        return
    for one in dialplan.split(","):
        kind = one.strip().lower()
        if kind == "xml":
            walk.jump(edge, destination, context, state, how)
        elif kind == "inline":
            _inline(walk, edge, destination, state, depth)
        else:
            walk.say(edge, "elsewhere", f"{how}: the dialplan {one.strip()} is not among these files")


def _inline(walk: Walk, edge: Edge, text: str, state: State, depth: int) -> None:
    """The dialplan ``inline``: ``app:data,app:data``."""
    separator = ","
    if text.startswith("m:"):
        separator, text = text[2:3], text[4:]
    for pair in texts.separated(text, separator or ","):
        application, _, data = pair.partition(":")
        after = perform(walk, edge, application.strip().lower(), data, state, depth + 1)
        if after is None:
            return
        state = after


# --- dialling --------------------------------------------------------------------------------------------------------


def _dial(walk: Walk, edge: Edge, written: str, state: State, depth: int) -> State:
    for leg in texts.legs(written):
        _leg(walk, edge, leg, state, depth)
    return state


def _leg(walk: Walk, edge: Edge, leg: texts.Leg, state: State, depth: int) -> None:
    for name, value in leg.variables:
        _variable(walk, edge, name, value, state, depth + 1)
    address = walk.fill(edge, leg.address, state)
    if not address.lower().startswith("loopback/"):
        return
    destination, _, rest = address[9:].partition("/")
    if destination.lower().startswith("app="):
        application, _, data = address[13:].partition(":")
        perform(walk, edge, application.strip().lower(), data, state, depth + 1)
        return
    context, _, dialplan = rest.partition("/")
    given = [destination, dialplan or "XML", context or "default"]
    _target(walk, edge, given, state, f"bridge {address}", depth)


# --- what runs later -------------------------------------------------------------------------------------------------


def _later(walk: Walk, edge: Edge, application: str, data: str, state: State, depth: int) -> None:
    """Applications that take another application, a target or a menu in their arguments."""
    given = words(data)
    if application == "bind_meta_app" and len(given) > 3:
        _bound(walk, edge, data.split(" ", 3)[3] if data.count(" ") > 2 else given[3], "::", state, depth)
    elif application == "bind_digit_action":
        _digits(walk, edge, data, state, depth)
    elif application == "sched_transfer":
        _target(walk, edge, given[1:], state, f"sched_transfer {data}", depth)
    elif application in ("sched_broadcast", "broadcast"):
        _broadcast(walk, edge, given[1:] if application == "sched_broadcast" else given, state, depth)
    elif application == "limit" and len(given) > 4:
        _target(walk, edge, given[4:], state, "limit", depth)
    elif application in ("limit_execute", "limit_hash_execute") and len(given) > 4:
        perform(walk, edge, given[4].lower(), " ".join(given[5:]), state, depth + 1)
    elif application == "play_and_get_digits" and len(given) > 10:
        _target(walk, edge, words(given[10]), state, "play_and_get_digits, on failure", depth)
    elif application in ("tone_detect", "spandsp_start_tone_detect") and len(given) > 4:
        perform(walk, edge, given[4].lower(), " ".join(given[5:6]), state, depth + 1)
    elif application == "spandsp_start_fax_detect" and given:
        perform(walk, edge, given[0].lower(), " ".join(given[1:2]), state, depth + 1)
    elif application == "ivr":
        _menu(walk, edge, data.strip(), state, depth)
    elif application == "event":
        return


def _bound(walk: Walk, edge: Edge, text: str, mark: str, state: State, depth: int) -> None:
    """``app::arguments``, run by a key."""
    application, _, data = text.partition(mark)
    perform(walk, edge, application.strip().lower(), data, state, depth + 1)


def _digits(walk: Walk, edge: Edge, data: str, state: State, depth: int) -> None:
    """``realm,digits,exec:app,arguments`` or ``realm,digits,api:command,arguments``."""
    parts = texts.separated(data, ",")
    if len(parts) < 3:
        return
    kind, _, name = re.sub(r"^exec\[[^\]]*\]", "exec", parts[2].strip()).partition(":")
    arguments = parts[3] if len(parts) > 3 else ""
    if kind.lower() == "exec":
        perform(walk, edge, name.lower(), arguments, state, depth + 1)
    elif kind.lower() == "api":
        run_command(walk, edge, name.lower(), arguments, state, depth + 1)


def _menu(walk: Walk, edge: Edge, name: str, state: State, depth: int) -> None:
    menus = walk.facts.menus
    if menus is None:
        return
    waiting = [name] if is_exact(name) else list(menus)
    seen = set(waiting)
    while waiting:
        for _, text in menus.get(waiting.pop(), ()):
            kind, _, data = text.partition(" ")
            if kind == "menu-sub":
                waiting += [data] if data not in seen else []
                seen.add(data)
            else:
                application, _, arguments = data.partition(" ")
                perform(walk, edge, application.lower(), re.sub(r"\$\d", HOLE, arguments), state, depth + 1)


# --- variables -------------------------------------------------------------------------------------------------------


def _set(walk: Walk, edge: Edge, application: str, written: str, state: State, depth: int) -> State:
    if application in ("unset", "multiunset"):
        for name in re.split(r"[\s,]+", written.strip().lower()):
            state = _assigned(walk, edge, name, "", state)
        return state
    pairs = texts.assignments(written) if application == "multiset" else texts.assignments(written, "\0")
    for name, value in pairs:
        plain = re.sub(r"^(?:nolocal|_nolocal_):?", "", name)
        _variable(walk, edge, plain, value, state, depth)
        if not is_exact(walk.fill(edge, name, state)):
            walk.say(edge, "computed", f"{application} {written}: the variable's name is computed while the call runs")
        elif application not in ("push", "unshift", "set_global") and not name.startswith("nolocal:"):
            state = _assigned(walk, edge, plain, walk.fill(edge, value, state), state)
        elif plain == RESULT:
            state = _assigned(walk, edge, plain, HOLE, state)
    return state


def _assigned(walk: Walk, edge: Edge, name: str, value: str, state: State) -> State:
    if name != RESULT:
        return State(state.results, walk.memory.changed(state.values, name, value if is_exact(value) else None))
    if edge.node.context not in walk.trusted:
        walk.say(edge, "forged", f"{edge.node.action.application if edge.node.action else ''} {RESULT}: set by hand")
    return State(bit_of(value) if is_exact(value) else OTHER, state.values)


def _variable(walk: Walk, edge: Edge, name: str, written: str, state: State, depth: int) -> None:
    """A variable that runs something later."""
    found = HOOK.match(name)
    if found is None:
        return
    kind = found["kind"]
    value = walk.fill(edge, written, state)
    if kind.startswith("api_") or kind == "record_post_process_exec_api":
        command, _, arguments = value.replace(":", " ", 1 if kind.startswith("record") else 0).strip().partition(" ")
        run_command(walk, edge, command.lower(), arguments, state, depth + 1)
    elif kind == "fifo_record_template":
        perform(walk, edge, "record_session", value, state, depth + 1)
    elif kind.startswith("transfer_after"):
        _target(walk, edge, value.split(":"), state, f"{name}={value}", depth)
    elif kind.endswith(("_exten", "_extension")):
        if not value.partition(":")[0].isspace():
            _target(walk, edge, value.partition(":")[0].split(" "), state, f"{name}={value}", depth)
    elif kind.endswith("_app") and not kind.startswith("record"):
        partner = name.removesuffix("app") + ("arg" if kind.startswith("exec_after") else "data")
        perform(walk, edge, value.lower(), walk.memory.of(state.values).get(partner, HOLE), state, depth + 1)
    elif kind.endswith(("_data", "_arg")):
        partner = re.sub(r"(?:data|arg)$", "app", name)
        application = walk.memory.of(state.values).get(partner)
        if application:
            perform(walk, edge, application.lower(), value, state, depth + 1)
    else:
        application, data = _split(value)
        perform(walk, edge, application, data, state, depth + 1)


def _split(value: str) -> tuple[str, str]:
    """``app arguments``, ``app:arguments`` or ``app::arguments``."""
    found = re.match(r"\s*([^\s:]*)(?:::|:|\s)?(.*)", value, re.DOTALL)
    assert found is not None
    return found[1].lower(), found[2]
