"""The layout's rules, read from the source: which way imports point, who makes a Grant, who commands a recorder."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ivr_consent

PACKAGE = Path(ivr_consent.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

CLOCKS_AND_IO = {
    "asyncio",
    "datetime",
    "io",
    "logging",
    "os",
    "pathlib",
    "queue",
    "random",
    "secrets",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}

SHORTEST_REASON = 4

LAYERS = (
    ("core",),
    ("verifier",),
    ("logs", "toml_lines"),
    ("language", "lexicon", "lexicons"),
    ("config", "config_anchors", "config_problems", "config_schema"),
    ("pseudonyms", "toml_edit", "notice_edit"),
    ("store", "audio"),
    ("anchors",),
    ("signing", "watch", "unchanged"),
    ("manifest", "versions", "receipt"),
    ("wording",),
    ("site",),
    ("pbx",),
    ("metrics", "control", "guarding", "side_asterisk", "side_freeswitch", "service", "service_events"),
    ("workshop", "prune"),
    ("exports",),
    ("testing",),
    ("cli",),
)
"""From the innermost outwards; a module imports from its own layer and from those before it. The service comes before
the workshop: what calls are made of knows published versions alone."""


def name(path: Path) -> str:
    return ".".join(("ivr_consent", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module: str) -> int | None:
    part = module.split(".")[1] if "." in module else ""
    return next((number for number, parts in enumerate(LAYERS) if part in parts), None)


def under(*parts: str) -> list[Path]:
    folder = PACKAGE.joinpath(*parts)
    return [path for path in MODULES if folder in path.parents]


def test_the_walk_finds_the_package() -> None:
    assert len(under("core")) > 5
    assert "ivr_consent.core.flow" in {name(path) for path in MODULES}


@pytest.mark.parametrize("path", under("core"), ids=name)
def test_core_is_pure(path: Path) -> None:
    """No clock, no input or output, no third party, nothing of ours outside of core."""
    for imported in imports(path):
        top = imported.partition(".")[0]
        if top == "ivr_consent":
            assert imported.startswith("ivr_consent.core."), f"core imports {imported}"
        else:
            assert top in sys.stdlib_module_names, f"core imports {imported}, which is a third party's"
            assert top not in CLOCKS_AND_IO, f"core imports {imported}"


@pytest.mark.parametrize("path", under("core"), ids=name)
def test_core_neither_opens_nor_prints(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize("path", [path for path in MODULES if path != PACKAGE / "__init__.py"], ids=name)
def test_arrows_point_inwards(path: Path) -> None:
    own = layer(name(path))
    assert own is not None, f"{name(path)} has no layer: add it to LAYERS"
    for imported in imports(path):
        if imported.startswith("ivr_consent."):
            other = layer(imported)
            assert other is None or other <= own, f"{name(path)} imports {imported}"


def test_every_layer_is_there() -> None:
    for part in (part for parts in LAYERS for part in parts):
        assert (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file(), part


@pytest.mark.parametrize(
    "path", [*under("pbx"), *(PACKAGE / f"{part}.py" for part in ("site", "manifest", "versions", "service"))], ids=name
)
def test_what_serves_calls_makes_no_notices(path: Path) -> None:
    """R2: a caller hears what was published; drafts, voices and building are the command line's."""
    makers = ("workshop", "wording", "notice_edit", "audio.build", "audio.prompt")
    for imported in imports(path):
        assert not imported.startswith(tuple(f"ivr_consent.{maker}" for maker in makers)), imported


@pytest.mark.parametrize("path", under("pbx"), ids=name)
def test_a_switch_knows_neither_the_command_line_nor_the_harness(path: Path) -> None:
    for imported in imports(path):
        assert not imported.startswith(("ivr_consent.cli", "ivr_consent.testing", "ivr_consent.service"))


@pytest.mark.parametrize("path", under("pbx", "asterisk"), ids=name)
def test_a_switch_does_not_know_another(path: Path) -> None:
    for imported in imports(path):
        assert not imported.startswith(("ivr_consent.pbx.simulated", "ivr_consent.pbx.freeswitch"))


@pytest.mark.parametrize("path", under("pbx", "audit"), ids=name)
def test_what_audits_share_knows_no_switch(path: Path) -> None:
    for imported in imports(path):
        assert not imported.startswith("ivr_consent.pbx") or imported.startswith("ivr_consent.pbx.audit."), imported


AUDITS = [*under("pbx", "audit"), *under("pbx", "asterisk", "audit"), *under("pbx", "freeswitch", "audit")]


@pytest.mark.parametrize("path", AUDITS, ids=name)
def test_the_audit_runs_nothing_and_asks_nobody(path: Path) -> None:
    """What it reads was written by others: it starts no program, opens no connection, and knows no switch."""
    for imported in imports(path):
        assert imported.partition(".")[0] not in {"subprocess", "socket", "asyncio", "multiprocessing", "ctypes"}
        assert not imported.endswith((".asterisk.manager", ".freeswitch.link", ".freeswitch.wire")), imported


def test_only_the_ledger_makes_a_grant() -> None:
    """I1: no other module names the mint, nor the constructor."""
    users = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "minted_by_ledger":
                users.add(name(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Grant":
                users.add(name(path))
            if isinstance(node, ast.Name) and node.id == "_MINT" and name(path) != "ivr_consent.core.decision":
                users.add(name(path))
    assert users == {"ivr_consent.store.ledger"}


def test_only_the_flow_asks_for_the_recorder() -> None:
    """I1: the Record step is made in one place."""
    makers = {
        name(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Record"
    }
    assert makers == {"ivr_consent.core.flow"}


def strings(path: Path) -> Iterator[str]:
    """Texts of a module that are values: docstrings and other loose strings are not."""
    tree = ast.parse(path.read_text())
    loose = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose:
            yield node.value


RECORDER_COMMANDS = ("mixmonitor", "uuid_record", "record_session")

KNOWS_RECORDERS = (
    "ivr_consent.pbx.asterisk.guard.",
    "ivr_consent.pbx.asterisk.audit.",
    "ivr_consent.pbx.freeswitch.audit.",
    "ivr_consent.pbx.asterisk.stopping",
    "ivr_consent.pbx.asterisk.rights",
    "ivr_consent.pbx.freeswitch.guard.",
    "ivr_consent.pbx.freeswitch.stopping",
)
"""What looks for recorders and stops them knows their names."""


@pytest.mark.parametrize("path", [path for path in MODULES if "testing" not in path.parts], ids=name)
def test_only_the_channel_commands_a_recorder(path: Path) -> None:
    """I1: the name of a recorder's command is a value in one module alone, beside our variables' names and the name
    of Asterisk's module."""
    commands = [
        text
        for text in strings(path)
        if any(command in text.lower().replace("app_mixmonitor", "") for command in RECORDER_COMMANDS)
        and not text.startswith("IVR_CONSENT_")
    ]
    if name(path) == "ivr_consent.pbx.asterisk.channel":
        assert sorted(commands) == ["${MIXMONITOR(", "MixMonitor", "StopMixMonitor"]
    elif name(path) == "ivr_consent.pbx.freeswitch.channel":
        assert sorted(commands) == ["record_session", "stop_record_session"]
    elif name(path) == "ivr_consent.pbx.freeswitch.dialplan":
        assert set(commands) == {"stop_record_session all"}
    elif not name(path).startswith(KNOWS_RECORDERS):
        assert commands == []


def test_the_manager_is_asked_to_stop_and_never_to_start() -> None:
    """I1: every action that is sent is named where it is sent, and none of them starts a recorder."""
    sent = set()
    for path in MODULES:
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "action"):
                continue
            if name(path).startswith("ivr_consent.pbx.asterisk."):
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}"
                sent.add(node.args[0].value)
    asked = {"Getvar", "Setvar", "Status", "ListCommands"}
    assert sent == asked | {"Redirect", "Hangup", "StopMixMonitor", "StopMonitor", "MixMonitorMute"}


def test_the_event_socket_is_asked_to_stop_and_never_to_start() -> None:
    """I1: ``uuid_record`` is written with what it is to do, and nothing begins or unmasks but our own."""
    said = {text for path in under("pbx", "freeswitch") for text in spoken(path) if text.startswith("uuid_record ")}
    verbs = {text.split("{}", 1)[1].split()[0] for text in said}
    assert verbs == {"stop", "{}"}, "the other is mask or unmask, of a recording that is followed"
    scope = (PACKAGE / "pbx" / "freeswitch" / "guard" / "scope.py").read_text()
    assert 'what = "mask" if reason else "unmask"' in scope


def spoken(path: Path) -> Iterator[str]:
    """The f-strings of a module, with {} for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]  # text, in a JoinedStr


@pytest.mark.parametrize(("switch", "command"), [("asterisk", "MixMonitor"), ("freeswitch", "record_session")])
def test_the_recorder_is_started_in_one_place(switch: str, command: str) -> None:
    """I1: one call names the recorder, inside the function that takes a Record step."""
    tree = ast.parse((PACKAGE / "pbx" / switch / "channel.py").read_text())
    places = [
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and node.value == command
    ]
    assert places == ["_record"]


SILENCED = re.compile(
    r"#\s*(?:ruff:\s*)?(?:noqa(?::[A-Z0-9, ]+)?|type:\s*ignore(?:\[[\w, -]+\])?|fmt:\s*\w+|pragma:[\w ]+)(.*)$"
)
SKIPPED = re.compile(r"(?:pytest\.(?:skip|importorskip)|mark\.(?:skip|skipif|xfail)|skip_or_fail)\((.*)$")
ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for part in ("ivr_consent", "tests", "bench", ".ci") for path in (ROOT / part).rglob("*.py"))


def test_what_is_silenced_or_skipped_has_its_reason_beside_it() -> None:
    bare = []
    for path in SOURCES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            silenced, skipped = SILENCED.search(line), SKIPPED.search(line)
            reason = "" if silenced is None else silenced[1].strip(" -#()")
            if silenced is not None and (
                len(reason) < SHORTEST_REASON or re.match(r"likewise|as (above|below)", reason)
            ):
                bare.append(f"{path}:{number}")
            if skipped is not None and not re.search(r"[\"'].{3,}|reason|error", skipped[1]):
                bare.append(f"{path}:{number}")
    assert bare == []


def test_what_the_configuration_ignores_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    entries = re.findall(r'(?m)^\s*"(?:ignore:[^"]+|[A-Z]+[0-9]+)",(.*)$|^ignore_missing_imports = true(.*)$', text)
    reasons = ["".join(entry).strip(" #") for entry in entries]
    assert len(reasons) > 20
    assert [one for one in reasons if len(one) < SHORTEST_REASON or re.match("likewise|as (above|below)", one)] == []
