"""The documentation against the code: diagram, commands, links, keys, reasons; and what must stand nowhere."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import ivr_consent
from ivr_consent import config, config_anchors
from ivr_consent.cli.app import app
from ivr_consent.core.states import State, mermaid

PACKAGE = Path(ivr_consent.__file__).parent
ROOT = PACKAGE.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LONGEST_LINE = 120

SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": config.Settings,
    "[server]": config.Server,
    "[manager]": config.Manager,
    "[event_socket]": config.EventSocket,
    "[log]": config.Log,
    "[log.retention]": config.Retention,
    "[log.anchors]": config_anchors.Anchors,
    "[log.anchors.command]": config_anchors.CommandAnchor,
    "[log.anchors.mail]": config_anchors.MailAnchor,
    "[log.anchors.timestamp]": config_anchors.TimestampAnchor,
    "[recordings]": config.Recordings,
    "[guard]": config.Guard,
    "[metrics]": config.Metrics,
    "[[guard.exemptions]]": config.Exemption,
    "[features]": config.Features,
    "[prompts]": config.Prompts,
    "[exports]": config.Exports,
    "[prompts.voices.LANGUAGE]": config.Voice,
    "[facts.LANGUAGE]": config.Facts,
    "[lines.NAME]": config.Line,
    "[lines.NAME.language_by]": config.LanguageBy,
    "[lines.NAME.keys]": config.Keys,
}
"""Where docs/configuration.md has the keys of each table."""

REASON_MODULES = (
    *sorted((PACKAGE / "core").glob("flow.py")),
    *(PACKAGE / "pbx" / "asterisk" / f"{name}.py" for name in ("channel", "server", "session", "script")),
    *(PACKAGE / "store" / f"{name}.py" for name in ("ledger", "lifecycle")),
    PACKAGE / "site.py",
)
"""Where reasons, and the kinds of events in the log, come from."""

NO_REASONS = frozenset({"agi_dnid", "agi_type", "call_id", "ivr_consent", "no_answer", "not_asked"})
"""Words of the same form in these modules that are neither a reason nor a kind of event."""

HUNG_UP_IN = (State.RINGING, State.INFORMING, State.QUESTIONING, State.CHOOSING, State.EXPLAINING)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A document without its code blocks."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def code(text: str) -> Iterator[str]:
    """Lines of code blocks, and code spans."""
    for block in re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    yield from re.findall(r"`([^`]+)`", prose(text))


def sections(text: str) -> dict[str, str]:
    """A document's text by the heading above it."""
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# --- the diagram -----------------------------------------------------------------------------------------------------


def test_the_diagram_is_the_transition_table() -> None:
    """To mend it, put what core.states.mermaid() gives between the markers."""
    (between,) = re.findall(r"<!-- states -->\n(.*?)<!-- /states -->", read("README.md"), flags=re.DOTALL)
    assert between == f"```mermaid\n{mermaid()}```\n"


# --- commands --------------------------------------------------------------------------------------------------------


def verbs() -> dict[str, set[str]]:
    """Every verb ("log show") with its options; for a group, the empty set."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        found[path] = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        for sub, child in getattr(command, "commands", {}).items():
            walk(child, f"{path} {sub}".strip())

    walk(typer.main.get_command(app), "")
    return found


VERBS = verbs()


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each ``ivr-consent VERB`` of a document's code, with the options behind it."""
    for line in code(text):
        for match in re.finditer(r"(?<![\w/.-])ivr-consent(?: --config \S+)? ([a-z]+)((?: [^`;|]*)?)", line):
            verb, rest = match[1], match[2].split()
            if rest and f"{verb} {rest[0]}" in VERBS:
                verb = f"{verb} {rest[0]}"
            yield verb, re.findall(r"(?<!\S)--[a-z-]+", match[2])


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_command_exists(path: Path) -> None:
    for verb, options in commands(path.read_text(encoding="utf-8")):
        assert verb in VERBS, f"ivr-consent {verb}"
        for option in options:
            assert option in VERBS[verb] | {"--help"}, f"ivr-consent {verb} {option}"


def test_commands_are_found() -> None:
    found = {verb for path in DOCUMENTS for verb, _ in commands(path.read_text(encoding="utf-8"))}
    assert {"init", "check", "serve", "call", "dialplan", "log list", "log show", "prompts build", "reload"} <= found


def test_every_verb_is_documented() -> None:
    found = {verb for path in DOCUMENTS for verb, _ in commands(path.read_text(encoding="utf-8"))}
    leaves = {verb for verb in VERBS if verb and not any(other.startswith(f"{verb} ") for other in VERBS)}
    assert leaves <= found


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))
    for path in DOCUMENTS:
        for line in code(path.read_text(encoding="utf-8")):
            assert set(re.findall(r"(?:^|\s)make ([a-z]+)", line)) <= targets, f"{name(path)}: {line}"


def test_every_result_is_explained() -> None:
    table = sections(read("README.md"))["What the dialplan gets back"]
    from ivr_consent.core.decision import Outcome

    assert re.findall(r"^\| `([a-z_]+)` \|", table, flags=re.MULTILINE) == [outcome.value for outcome in Outcome]


def test_every_exit_code_is_explained() -> None:
    from ivr_consent.cli.terminal import Exit

    table = sections(read("docs/operations.md"))["Exit codes"]
    rows = dict(re.findall(r"^\| (\d) \| (.*) \|$", table, flags=re.MULTILINE))
    assert rows == {str(code.value): code.meaning for code in Exit}


def test_the_twelve_elements_are_those_of_the_code() -> None:
    from ivr_consent.core.notice import ELEMENTS, PLACEHOLDERS

    text = sections(read("docs/prompts.md"))
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text["The twelve elements"], flags=re.MULTILINE)
    assert rows == [(str(number), meaning) for number, meaning in ELEMENTS.items()]
    assert set(re.findall(r"`\{([a-z_]+)\}`", text["Placeholders"])) == PLACEHOLDERS


# --- links -----------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors that a forge makes of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        assert not target.startswith("http"), f"{target}: the documentation stands on its own"
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_file_of_ours_that_is_named_exists(path: Path) -> None:
    for span in re.findall(r"`([^`]+)`", prose(path.read_text(encoding="utf-8"))):
        if re.fullmatch(r"(tests|ivr_consent|dialplan|prompts|bench|docs|\.ci)/[\w./-]*", span):
            assert (ROOT / span).exists(), span


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_no_line_is_too_long(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [f"line {number}" for number, line in enumerate(lines, 1) if len(line) > LONGEST_LINE] == []


# --- configuration ---------------------------------------------------------------------------------------------------


def rows(section: str) -> dict[str, list[str]]:
    """The rows of a section's table of keys: default, allowed, meaning by key."""
    text = sections(read("docs/configuration.md"))[section]
    found = {}
    for line in re.findall(r"^\| `.*\|$", text, flags=re.MULTILINE):
        key, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
        found[key.strip("` ")] = cells
    return found


def keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {key: field for key, field in model.model_fields.items() if key not in ("source", "sha256")}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_and_no_other(section: str) -> None:
    assert list(rows(section)) == list(keys(SECTIONS[section]))


def written(field: FieldInfo) -> str:
    """A field's default as the documentation writes it."""
    default = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    if default is None:
        return "none"
    if isinstance(default, BaseModel):
        return "see below"
    return f"`{json.dumps(str(default) if isinstance(default, Path) else default)}`"


@pytest.mark.parametrize("section", SECTIONS)
def test_defaults_and_bounds_are_those_of_the_code(section: str) -> None:
    documented = rows(section)
    for key, field in keys(SECTIONS[section]).items():
        default, allowed, *_ = documented[key]
        assert default == written(field), key
        for bound in field.metadata:
            for kind, attribute in (
                (annotated_types.Ge, "ge"),
                (annotated_types.Le, "le"),
                (annotated_types.MinLen, "min_length"),
                (annotated_types.MaxLen, "max_length"),
            ):
                if isinstance(bound, kind):
                    assert str(getattr(bound, attribute)) in re.findall(r"\d+", allowed), f"{key}: {bound}"


def test_every_table_is_documented() -> None:
    """Every model of the module has a section: one that is new is not forgotten."""
    models = {
        value
        for module in (config, config_anchors)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
    }
    assert {model for model in models if model.model_fields} == set(SECTIONS.values())


@pytest.mark.parametrize("section", ["Example", "What chooses the language"])
def test_the_example_is_a_configuration(tmp_path: Path, section: str) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", sections(read("docs/configuration.md"))[section], flags=re.DOTALL)
    path = tmp_path / "ivr-consent.toml"
    path.write_text(text)
    assert set(config.load(path).lines) == {"support"}


def test_the_example_of_a_notice_is_one() -> None:
    from ivr_consent.core.notice_file import parse_notice

    (text,) = re.findall(r"```toml\n(.*?)```", sections(read("docs/prompts.md"))["The file"], flags=re.DOTALL)
    notice, problems = parse_notice(tomllib.loads(text), "docs/prompts.md")
    assert problems == ()
    assert notice is not None
    assert notice.takes
    assert notice.voices


def test_the_shipped_notices_are_listed() -> None:
    from ivr_consent.core.notice_file import parse_notice

    files = sorted((ROOT / "prompts").glob("*/recording.toml"))
    purposes = set()
    for path in files:
        notice, problems = parse_notice(tomllib.loads(path.read_text(encoding="utf-8")), name(path))
        assert notice is not None, problems
        purposes.add(tuple(notice.purposes))
    text = read("docs/prompts.md")
    assert set(re.findall(r"\(`([a-z]{2})`\)", text)) == {path.parent.name for path in files}
    assert set(re.findall(r"`([a-z]+)`", sections(text)["Purposes"])) == {"training", *purposes.pop()}
    assert not purposes, "the languages have other purposes"


def test_limits_of_the_check_are_those_of_the_code() -> None:
    from ivr_consent import wording
    from ivr_consent.lexicons.alike import ALIKE

    text = sections(read("docs/prompts.md"))["Check"]
    for number in (wording.LONGEST_S, wording.LONGEST_SEGMENT_S, wording.LONGEST_SENTENCE, wording.LONGEST_WORD):
        assert f"more than {number:.0f} " in text
    for share in (ALIKE, wording.NEARLY_ALIKE):
        assert f"{share:.0%}".replace("%", " %") in text


def test_formats_are_those_of_the_code() -> None:
    from ivr_consent.audio import measure, takes
    from ivr_consent.audio.formats import STANDARD_FORMATS
    from ivr_consent.cli.player import OUTPUTS

    text = sections(read("docs/prompts.md"))
    assert re.findall(r"`([a-z0-9]+)`", text["Build"].partition("Asterisk picks")[0])[:6] == list(STANDARD_FORMATS)
    assert set(re.findall(r"`\.([a-z0-9]+)`", text["Hear"])) == set(OUTPUTS)
    assert f"−{-measure.TARGET_LUFS:.0f} LUFS" in text["Build"]
    for number in (f"{takes.MIN_RATE:_}", f"{takes.MAX_RATE:_}", f"{takes.MAX_TAKE_S // 60} minutes"):
        assert number.replace("_", " ") in text["Studio takes"]
    assert f"{takes.MAX_TAKE >> 20} MiB" in text["Studio takes"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_a_manifest_as_documented(tmp_path: Path) -> None:
    """R22: the evidence can be checked without this program; a changed one is found."""
    from ivr_consent.signing import create_keys, sealed, signer

    (script,) = re.findall(
        r"```sh\n(cut .*?)```", sections(read("docs/prompts.md"))["By hand, without this program"], re.DOTALL
    )
    key, manifest = tmp_path / "notices.key", tmp_path / "manifest"
    create_keys(key)
    line = sealed({"line": "support", "texts": ["blåbærgrød\t\n"]}, signer(key))
    script = script.replace("/etc/ivr-consent/notices.key.pub", f"{key}.pub")
    script = script.replace("/var/lib/ivr-consent/versions/support/1/manifest", str(manifest))
    assert script.count(str(tmp_path)) == 3

    def run(data: bytes) -> subprocess.CompletedProcess[str]:
        manifest.write_bytes(data)
        return subprocess.run(
            ["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    good = run(line)
    assert "Signature Verified Successfully" in good.stdout, good.stderr
    assert hashlib.sha256(line.partition(b"\t")[0]).hexdigest() in good.stdout
    assert run(line.replace(b"support", b"supporT")).returncode != 0


def test_the_example_of_a_scenario_is_one() -> None:
    from ivr_consent.pbx.simulated.channel import Fault
    from ivr_consent.testing.scenario import Expect, parse_scenarios

    text = sections(read("docs/testing.md"))["Scenario files"]
    (example,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert len(parse_scenarios(tomllib.loads(example), "example.toml")) == 1
    for word in (*Fault, *Expect.model_fields):
        assert f"`{word}`" in text or f"\n{word} = " in example, word


# --- reasons and events ----------------------------------------------------------------------------------------------


def words(path: Path) -> Iterator[str]:
    """Values of a module that have the form of a reason: small letters with underscores."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and re.fullmatch(r"[a-z]+(_[a-z]+)+", value):
            yield value


def reasons() -> set[str]:
    found = {word for path in REASON_MODULES for word in words(path)} - NO_REASONS
    moments = {word for word in found if word.startswith("while_")}
    assert moments, "the flow puts hung_up_ and failed_ before them"
    found -= moments
    found |= {f"{what}_{moment}" for what in ("hung_up", "failed") for moment in moments}
    found |= {f"hung_up_{state.value.lower()}" for state in HUNG_UP_IN} | {"silence"}
    dialplan = read("dialplan/extensions_consent.conf")
    return found | set(re.findall(r"IVR_CONSENT_REASON=([a-z_]+)", dialplan))


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_every_reason_and_event_is_explained(reason: str) -> None:
    assert f"`{reason}`" in read("docs/operations.md")


def log_events() -> set[str]:
    """What the service's own log can say: the first argument of log.info() and its like."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


def test_every_line_of_the_services_log_is_explained() -> None:
    table = sections(read("docs/operations.md"))["The service's log lines"]
    events = log_events()
    assert len(events) > 10
    assert {event for event in events if f"`{event}`" not in table} == set()


# --- what must not stand in the project -----------------------------------------------------------------------------


def texts() -> list[Path]:
    """Every text file that is, or would be, tracked; recorded transcripts are data."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not in a checkout of git: which files are tracked cannot be asked")
    paths = [ROOT / path for path in listed.stdout.decode().split("\0") if path and not path.startswith(MADE)]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


MADE = ("tests/data/", "tests/fuzz/corpus/", "tests/fuzz/crashes/")
"""What switches said, and inputs that a fuzzer made up."""

ALLOWED_HOSTS = re.compile(
    r"www\.apache\.org|www\.w3\.org|purl\.org|creativecommons\.org|matplotlib\.org"  # licence; in pictures
    r"|json-schema\.org"  # in the schemas that editors complete by
    r"|w3id\.org|schema\.org|spdx\.org"  # names of the vocabularies that records are written in; nothing asks them
    r"|(?:[\w-]+\.)*(?:invalid|example|example\.(?:com|org|net))|127\.0\.0\.1|localhost"
)
MACHINE_PATHS = re.compile(r"/(?:work|root|Users|home/[a-z][\w-]*|opt/(?!ivr-consent|\.\.\.)[\w-]+)/")


def test_no_host_and_no_path_of_a_machine() -> None:
    """Packages come from wherever the machine is set up to get them; nothing names where."""
    found = []
    for path in texts():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            hosts = re.findall(r"\b(?:https?|ftp|git\+\w+)://(?:[^/\s@]+@)?([\w.-]+)", line)
            wrong = [host for host in hosts if not ALLOWED_HOSTS.fullmatch(host)]
            wrong += [] if path == Path(__file__) else MACHINE_PATHS.findall(line)
            wrong += re.findall(r"--(?:extra-)?index-url[= ]", line)
            found += [f"{name(path)}:{number}: {what}" for what in wrong]
    assert found == []
