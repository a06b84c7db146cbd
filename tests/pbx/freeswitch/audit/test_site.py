"""The configuration beside the dialplan: entry points, what records by itself, interfaces, parts from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ivr_consent.pbx.audit.findings import Level, Rule
from ivr_consent.pbx.audit.sarif import sarif
from ivr_consent.pbx.freeswitch.audit.judge import audit
from tests.freeswitch_audits import action, extension, found, judged, public, site

QUIET = public(("transfer", "support XML ivr-consent"))
ENABLED, UNGATED = "recording-enabled-by-file", "recording-without-gate"


def configuration(name: str, inside: str) -> str:
    """A configuration whose inside begins in line 2."""
    return f'<configuration name="{name}.conf">\n{inside}\n</configuration>'


def params(**values: str) -> str:
    """Settings, each in a line of its own: ``listen_ip`` is listen-ip."""
    return "\n".join(f'<param name="{name.replace("_", "-")}" value="{value}"/>' for name, value in values.items())


# --- where calls come in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"verto": configuration("verto", f"<profiles><profile name='v'>{params(context='in')}</profile></profiles>")},
        {"skinny": configuration("skinny", params(context="in"))},
        {"directory": '<domain name="x"><user id="1"><variables>\n<variable name="user_context" value="in"/>'
                      "</variables></user></domain>"},
    ],
    ids=["profile", "settings", "user"],
)  # fmt: skip  # rows that belong together
def test_calls_come_into_contexts_that_files_name(tmp_path: Path, files: dict[str, str]) -> None:
    inner = f'<context name="in">\n{extension(action("record_session", "/x"))}</context>'
    assert [row[2] for row in judged(tmp_path, QUIET + inner)] == ["recording-not-reached"]
    assert [row[2] for row in judged(tmp_path, QUIET + inner, **files)] == [UNGATED]


def test_an_entry_point_of_which_there_is_no_context(tmp_path: Path) -> None:
    report = audit([site(tmp_path, QUIET, skinny=configuration("skinny", params(context="none")))])
    assert found(report) == [("note", 2, "dialplan-elsewhere")]


@pytest.mark.parametrize(
    ("value", "rows"), [("XML", []), ("xml", []), ("XML,enum", [2]), ("lua", [2]), ("inline", [2])]
)
def test_another_dialplan(tmp_path: Path, value: str, rows: list[int]) -> None:
    found_rows = judged(tmp_path, QUIET, skinny=configuration("skinny", params(dialplan=value)))
    assert found_rows == [("unknown", line, "dialplan-elsewhere") for line in rows]


# --- what records by itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("conference", f"<profiles><profile name='x'>\n{params(auto_record='/r.wav')}</profile></profiles>"),
        ("callcenter", f"<queues><queue name='x'>\n{params(record_template='/r.wav')}</queue></queues>"),
        ("sofia2", f"<profile name='x'><settings>\n{params(record_template='/r.wav')}</settings></profile>"),
    ],
    ids=["conference", "callcenter", "sofia"],
)  # fmt: skip  # rows that belong together
def test_what_is_set_to_record(tmp_path: Path, name: str, inside: str) -> None:
    assert judged(tmp_path, QUIET, **{name: configuration(name, inside)}) == [("warning", 3, ENABLED)]
    allowed = inside.replace("/></", "/><!-- ivr-consent audit: allowed, by the law --></").replace(
        '.wav"/>', '.wav"/><!-- ivr-consent audit: allowed, by the law -->'
    )
    assert judged(tmp_path, QUIET, **{name: configuration(name, allowed)}) == []


VARIABLE = '<variable name="{}" value="{}"/>'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("execute_on_answer", "record_session /x.wav"),
        ("api_on_answer", "uuid_record ${uuid} start /x.wav"),
        ("fifo_record_template", "/x.wav"),
    ],
)
def test_variables_that_every_call_of_somebody_gets(tmp_path: Path, name: str, value: str) -> None:
    variable = VARIABLE.format(name, value)
    user = f'<domain name="x"><user id="1"><variables>\n{variable}</variables></user></domain>'
    gateway = configuration("sofia2", f"<gateway name='g'><variables>{variable}</variables></gateway>")
    everybody = f'<X-PRE-PROCESS cmd="set" data="{name}={value}"/>'
    assert judged(tmp_path, QUIET, directory=user) == [("error", 2, UNGATED)]
    assert judged(tmp_path / "1", QUIET, sofia2=gateway) == [("error", 2, UNGATED)]
    assert judged(tmp_path / "2", QUIET, vars=everybody) == [("error", 1, UNGATED)]


@pytest.mark.parametrize(
    "inside",
    [
        '<macro><input><match><action function="execute" data="record_session(/x.wav)"/></match></input></macro>',
        '<group name="g"><control action="execute_application" data="record_session /x"/></group>',
        '<param name="dial-string" value="{execute_on_answer=record_session /x}sofia/internal/1"/>',
        '<agent name="a" contact="[execute_on_answer=record_session /x]user/1"/>',
        '<fifo name="f"><member timeout="60">{execute_on_answer=record_session /x}user/1</member></fifo>',
    ],
    ids=["phrase", "conference key", "dial string", "agent", "member"],
)
def test_applications_that_run_outside_of_the_dialplan(tmp_path: Path, inside: str) -> None:
    assert judged(tmp_path, QUIET, other=configuration("other", inside)) == [("error", 2, UNGATED)]
    quiet = inside.replace("record_session", "playback")
    assert judged(tmp_path / "1", QUIET, other=configuration("other", quiet)) == []


# --- parts that stand elsewhere, and programs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("xml_curl", '<bindings><binding name="b">\n<param name="gateway-url" value="x" bindings="dialplan"/>'
                     "</binding></bindings>"),
        ("xml_curl", '<bindings><binding name="b">\n<param name="gateway-url" value="x"/></binding></bindings>'),
        ("xml_scgi", '<bindings><binding name="b">\n<param name="x" bindings="directory"/></binding></bindings>'),
        ("lua", '<settings>\n<param name="xml-handler-bindings" value="dialplan"/></settings>'),
    ],
)  # fmt: skip  # rows that belong together
def test_a_dialplan_that_comes_from_elsewhere(tmp_path: Path, name: str, inside: str) -> None:
    text = configuration(name, inside)
    assert judged(tmp_path, QUIET, **{name: text}) == [("unknown", 3, "dialplan-elsewhere")]
    modules = configuration("modules", '<load module="mod_sofia"/>')
    assert judged(tmp_path, QUIET, **{name: text, "modules": modules}) == []
    for part in ("dialplan", "directory"):
        text = text.replace(f'"{part}"', '"phrases"')
    rows = [] if "phrases" in text else [("unknown", 3, "dialplan-elsewhere")]
    assert judged(tmp_path / "1", QUIET, **{name: text}) == rows


def test_scripts_that_run_beside_the_calls(tmp_path: Path) -> None:
    inside = '<settings>\n<param name="startup-script" value="x.lua"/>\n<hook event="X" script="y.lua"/></settings>'
    rows = judged(tmp_path, QUIET, lua=configuration("lua", inside))
    assert rows == [("unknown", 3, "foreign-script"), ("unknown", 4, "foreign-script")]


# --- interfaces ------------------------------------------------------------------------------------------------------

PASSWORD = "0123456789abcdef"


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"listen_ip": "127.0.0.1", "password": PASSWORD}, []),
        ({"listen_ip": "127.0.0.1", "password": "ClueCon"}, [("warning", 3)]),
        ({"listen_ip": "::1", "password": ""}, [("warning", 3)]),
        ({"listen_ip": "::", "password": "ClueCon", "apply_inbound_acl": "ours"}, [("error", 3)]),
        ({"listen_ip": "0.0.0.0", "password": PASSWORD}, [("warning", 2)]),
        ({"password": PASSWORD}, [("warning", 1)]),
        ({"listen_ip": "::", "password": PASSWORD, "apply_inbound_acl": "ours"}, []),
        ({"listen_ip": "::", "password": PASSWORD, "apply_inbound_acl": "all"}, [("warning", 4)]),
        ({"listen_ip": "::", "password": PASSWORD, "apply_inbound_acl": "most"}, [("warning", 4)]),
        ({"listen_ip": "::", "password": PASSWORD, "apply_inbound_acl": "any_v4.auto"}, [("warning", 4)]),
    ],
)
def test_the_event_socket(tmp_path: Path, values: dict[str, str], rows: list[tuple[str, int]]) -> None:
    lists = (
        '<list name="ours" default="deny"><node type="allow" cidr="127.0.0.1/32"/></list>'
        '<list name="all" default="allow"/>'
        '<list name="most" default="deny"><node type="allow" cidr="0.0.0.0/0"/></list>'
    )
    files = {"event_socket": configuration("event_socket", params(**values)), "acl": configuration("acl", lists)}
    assert judged(tmp_path, QUIET, **files) == [(level, line, "interface-open") for level, line in rows]
    rules = [finding.rule for finding in audit([tmp_path / "site"]).findings if finding.level is Level.NOTE]
    assert rules == [Rule.POWER]


def test_other_interfaces(tmp_path: Path) -> None:
    loads = "".join(f'\n<load module="{name}"/>' for name in ("mod_sofia", "mod_rayo", "mod_xml_rpc"))
    rows = judged(tmp_path, QUIET, modules=configuration("modules", loads))
    assert rows == [("warning", 4, "recording-by-interface"), ("warning", 5, "recording-by-interface")]


@pytest.mark.parametrize(("value", "rules"), [("false", []), ("true", ["interface-open"]), (None, ["interface-open"])])
def test_commands_in_texts(tmp_path: Path, value: str | None, rules: list[str]) -> None:
    inside = params(api_expansion=value) if value is not None else ""
    report = audit([site(tmp_path, QUIET, switch=configuration("switch", inside))])
    assert [finding.rule.value for finding in report.findings] == rules


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report(tmp_path: Path) -> None:
    report = audit([site(tmp_path, public(("voicemail", "default x 1000"), ("set", "a=${x\x7fy}")))])
    plain = report.plain()
    assert (plain["switch"], plain["contexts"]) == ("FreeSWITCH", 3)
    assert plain["actions"] == report.steps[1] > 10
    assert {"file": "dialplan/public.xml", "lines": 6} in plain["files"]
    (run,) = sarif(report)["runs"]
    (result,) = run["results"]
    assert result["ruleId"] == UNGATED
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [rule.value for rule in Rule]
    stops = result["codeFlows"][0]["threadFlows"][0]["locations"]
    assert stops[0]["location"]["physicalLocation"]["artifactLocation"]["uri"] == "autoload_configs/sofia.conf.xml"
    json.dumps(sarif(report))


def test_what_is_not_known_is_shown_as_dots(tmp_path: Path) -> None:
    dialplan = (
        f'<context name="public">\n{extension(action("transfer", "$1 XML ${x}"), "^1(.*)$")}</context>'
        f'<context name="b">\n{extension(action("transfer", "$1 XML b"), "^(.)(.)$")}</context>'
    )
    report = audit([site(tmp_path, dialplan, vars='<X-PRE-PROCESS cmd="exec-set" data="y=z"/>')])
    text = json.dumps(report.plain(), ensure_ascii=False)
    assert not [character for character in text if ord(character) > 0x7F]
