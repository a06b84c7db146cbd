"""Ways through an XML dialplan: conditions as FreeSWITCH takes them, jumps, the gate, and what is known behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.pbx.audit.findings import Level, Rule
from ivr_consent.pbx.freeswitch.audit import hunt, ways
from ivr_consent.pbx.freeswitch.audit.judge import audit
from tests.freeswitch_audits import QUEUES, action, extension, found, judged, public, settings, site

GATED = public(("transfer", "support XML ivr-consent"))
RECORD = action("record_session", "/x.wav")
ANTI = action("record_session", "/x.wav", "anti-action")
RESULT = 'field="${ivr_consent_result}"'
UNGATED, REFUSED, BEHIND = "recording-without-gate", "recording-after-no", "recording-behind-gate"


def in_queue(tmp_path: Path, inside: str, before: str = "") -> list[tuple[str, str]]:
    """Level and rule for a queue behind the gate whose extension has this inside."""
    folder = site(tmp_path, GATED)
    queue = f'<context name="queues">\n{before}<extension name="q">\n{inside}\n</extension></context>'
    (folder / "dialplan" / "queues.xml").write_text(queue)
    report = audit([folder])
    return sorted({(level, rule) for level, _, rule in found(report, Level.ERROR, Level.UNKNOWN, Level.WARNING)})


def in_public(tmp_path: Path, conditions: str, more: str) -> list[str]:
    """Rules of errors for an extension of the context that calls come into, beside other contexts."""
    dialplan = f'<context name="public"><extension name="e">\n{conditions}\n</extension></context>{more}'
    return [rule for level, _, rule in judged(tmp_path, dialplan) if level == "error"]


# --- the gate --------------------------------------------------------------------------------------------------------


def test_a_site_as_it_should_be(tmp_path: Path) -> None:
    for config in (settings(), settings(features={"withdraw": "*9"}), settings(features={"withdraw": "*8"})):
        report = audit([site(tmp_path, GATED, config)], config)
        assert found(report) == []
        assert report.contexts == 3
        assert report.steps[1] > 20


@pytest.mark.parametrize(
    ("inside", "rows"),
    [
        (f"<condition>{RECORD}</condition>", [("error", REFUSED)]),
        (f'<condition {RESULT} expression="^granted$">{RECORD}</condition>', [("warning", BEHIND)]),
        (f'<condition {RESULT} expression="^granted$">{ANTI}</condition>', [("error", REFUSED)]),
        (f'<condition {RESULT} expression="^declined$">{RECORD}</condition>', [("error", REFUSED)]),
        (f'<condition {RESULT} expression="^declined$">{ANTI}</condition>', [("error", REFUSED)]),
        (f'<condition {RESULT} expression="granted|declined">{RECORD}</condition>', [("error", REFUSED)]),
        (f'<condition {RESULT} expression="^$">{RECORD}</condition>', []),
        (
            f'<condition field="${{IVR_CONSENT_RESULT}}" expression="^granted$">{RECORD}</condition>',
            [("warning", BEHIND)],
        ),
        (f'<condition {RESULT} expression="^granted$"/><condition>{RECORD}</condition>', [("warning", BEHIND)]),
        (
            f'<condition {RESULT} expression="^granted$" break="never"/><condition>{RECORD}</condition>',
            [("error", REFUSED)],
        ),
        (
            f'<condition {RESULT} expression="^granted$" break="on-true"/><condition>{RECORD}</condition>',
            [("error", REFUSED)],
        ),
        (f'<condition {RESULT} expression="^granted$" break="always"/><condition>{RECORD}</condition>', []),
        (
            f'<condition {RESULT} expression="^granted$"><condition>{RECORD}</condition></condition>',
            [("warning", BEHIND)],
        ),
        (
            f'<condition regex="all"><regex {RESULT} expression="^granted$"/>'
            f'<regex field="caller_id_number" expression="^1"/>{RECORD}</condition>',
            [("warning", BEHIND)],
        ),
        (
            f'<condition regex="any"><regex {RESULT} expression="^granted$"/>'
            f'<regex field="caller_id_number" expression="^1"/>{RECORD}</condition>',
            [("error", REFUSED)],
        ),
        (
            f'<condition regex="xor"><regex {RESULT} expression="^granted$"/>'
            f'<regex {RESULT} expression="^declined$"/>{RECORD}</condition>',
            [("error", REFUSED)],
        ),
        # the time is right, the field is not: FreeSWITCH takes the actions all the same
        (f'<condition wday="2-6" {RESULT} expression="^granted$">{RECORD}</condition>', [("error", REFUSED)]),
        (f'<condition {RESULT} expression="${{other}}">{RECORD}</condition>', [("error", REFUSED)]),
    ],
)
def test_conditions_on_the_result(tmp_path: Path, inside: str, rows: list[tuple[str, str]]) -> None:
    assert in_queue(tmp_path, inside) == rows


def test_the_way_and_the_results_are_told(tmp_path: Path) -> None:
    folder = site(tmp_path, GATED)
    (folder / "dialplan" / "queues.xml").write_text(QUEUES.replace("<action", f"{RECORD}\n<action"))
    (finding,) = audit([folder]).findings
    assert (finding.rule, finding.place.file, finding.place.line) == (Rule.REFUSED, "dialplan/queues.xml", 3)
    assert {"declined", "failed"} <= set(finding.found.partition("result is: ")[2].split(", "))
    assert "granted" not in finding.found.partition("result is: ")[2].split(", ")
    at = [stop.at for stop in finding.way]
    assert at[0] == "public"
    assert at[-1] == "queues,q"
    assert any(one.startswith("ivr-consent,") for one in at)


def test_a_result_in_another_variable(tmp_path: Path) -> None:
    before = (
        '<extension name="copy" continue="true"><condition>'
        '<action application="set" inline="true" data="mine=${ivr_consent_result}"/></condition></extension>'
    )
    for expression, rows in (("^granted$", [("warning", BEHIND)]), ("^declined$", [("error", REFUSED)])):
        inside = f'<condition field="${{mine}}" expression="{expression}">{RECORD}</condition>'
        assert in_queue(tmp_path, inside, before) == rows
    # Not inline: the conditions are gone through before it is set.
    inside = f'<condition field="${{mine}}" expression="^granted$">{RECORD}</condition>'
    assert in_queue(tmp_path, inside, before.replace(' inline="true"', "")) == [("error", REFUSED)]


def test_a_flag_that_is_set_on_the_way(tmp_path: Path) -> None:
    folder = site(tmp_path, GATED)
    (folder / "dialplan" / "queues.xml").write_text(f"""\
<context name="queues">
<extension name="q"><condition {RESULT} expression="^granted$" break="never">
{action("set", "keep=yes")}
{action("set", "keep=no", "anti-action")}
</condition><condition>
{action("transfer", "${keep} XML rooms")}
</condition></extension>
</context>
<context name="rooms">
{extension(RECORD, "^yes$")}
{extension(action("answer"), "^no$")}
</context>
""")
    assert found(audit([folder]), Level.ERROR, Level.UNKNOWN, Level.WARNING) == [("warning", 11, BEHIND)]


def test_what_is_known_either_way_alone_is_known(tmp_path: Path) -> None:
    """A variable that is set on one branch is not known behind both; nor is a number that one branch has narrowed."""
    branch = (
        '<extension name="b" continue="true"><condition field="caller_id_number" expression="^1">'
        '<action application="set" data="where=1" inline="true"/>'
        '<anti-action application="set" data="where=2" inline="true"/>'
        "</condition></extension>\n"
    )
    inside = action("transfer", "${where} XML rooms")
    dialplan = f'<context name="public">\n{branch}{extension(inside)}</context>'
    for number in ("1", "2"):
        rooms = f'<context name="rooms">\n{extension(RECORD, f"^{number}$")}</context>'
        assert [rule for _, _, rule in judged(tmp_path, dialplan + rooms)] == [UNGATED]
    go = action("transfer", "${destination_number} XML rooms")
    for narrow in (
        f'<condition field="destination_number" expression="^(77)$" break="never"/><condition>{go}</condition>',
        '<condition field="destination_number" expression="^(77)$" break="never">'
        f"{action('answer', '', 'anti-action')}<condition>{go}</condition></condition>",
    ):
        rooms = f'<context name="rooms">\n{extension(RECORD, "^88$")}</context>'
        assert in_public(tmp_path, narrow, rooms) == [UNGATED]


def test_inline_actions_run_before_all_others(tmp_path: Path) -> None:
    inside = (
        f'{action("set", "where=2")}<action application="set" data="where=1" inline="true"/>'
        f"{action('transfer', '${where} XML rooms')}"
    )
    for number, rules in (("1", []), ("2", [UNGATED])):
        rooms = f'<context name="rooms">\n{extension(RECORD, f"^{number}$")}</context>'
        rows = judged(tmp_path, f'<context name="public">\n{extension(inside)}</context>{rooms}')
        assert [rule for level, _, rule in rows if level == "error"] == rules


def test_what_was_set_inline_is_known_when_actions_run(tmp_path: Path) -> None:
    """Also where the same variable had another value before."""
    inside = f'<action application="set" data="where=2" inline="true"/>{action("transfer", "${where} XML rooms")}'
    hub = f'<context name="hub">\n{extension(inside)}</context>'
    before = public(("set", "where=1"), ("transfer", "100 XML hub"))
    for number, rules in (("1", []), ("2", [UNGATED])):
        rooms = f'<context name="rooms">\n{extension(RECORD, f"^{number}$")}</context>'
        rows = judged(tmp_path, before + hub + rooms)
        assert [rule for level, _, rule in rows if level == "error"] == rules


def test_what_was_set_inline_on_one_of_two_ends(tmp_path: Path) -> None:
    ends = "".join(
        f'<extension name="e{number}"><condition field="caller_id_number" expression="^{number}">'
        f'<action application="set" data="where={number}" inline="true"/>'
        f"{action('transfer', '${where} XML rooms')}</condition></extension>"
        for number in (1, 2)
    )
    for number in (1, 2):
        rooms = f'<context name="rooms">\n{extension(RECORD, f"^{number}$")}</context>'
        rows = judged(tmp_path, f'<context name="public">{ends}</context>{rooms}')
        assert [rule for _, _, rule in rows] == [UNGATED]


def test_a_result_that_the_site_sets_itself(tmp_path: Path) -> None:
    for application, data in (
        ("set", "ivr_consent_result=granted"),
        ("export", "IVR_CONSENT_RESULT=granted"),
        ("multiset", "a=b,ivr_consent_result=granted"),
        ("unset", "ivr_consent_result"),
    ):
        dialplan = public((application, data), ("transfer", "support XML queues"))
        assert ("error", 3, "result-set-by-dialplan") in judged(tmp_path, dialplan)
    folder = site(tmp_path, public(("set", "ivr_consent_result=granted"), ("transfer", "x XML rooms")))
    rooms = f'<context name="rooms"><extension name="r"><condition {RESULT} expression="granted">{RECORD}'
    (folder / "dialplan" / "rooms.xml").write_text(f"{rooms}</condition></extension></context>")
    assert ("error", 1, REFUSED) in found(audit([folder]))


@pytest.mark.parametrize(
    "change",
    [
        ('application="stop_record_session" data="all"', 'application="record_session" data="/x.wav"'),
        ("ivr_consent_result=failed", "ivr_consent_result=granted"),
        ("127.0.0.1:", "192.0.2.1:"),
        (" async full", " async"),
        ("^granted$", "^granted"),
        ('<context name="ivr-consent">', '<context name="ivr-consent"><extension name="x"><condition/></extension>'),
        ("+15 support.hangs", "+999 support.hangs"),
        ('<anti-action application="stop_record_session" data="all"/>', ""),
    ],
)
def test_a_gate_that_was_changed_is_told(tmp_path: Path, change: tuple[str, str]) -> None:
    folder = site(tmp_path, GATED)
    path = folder / "dialplan" / "ivr_consent.xml"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1]))
    report = audit([folder])
    assert [finding for finding in report.findings if finding.rule is Rule.GATE]
    if "<extension" not in change[1]:
        assert report.count(Level.UNKNOWN)  # its socket is a stranger's then
    if "record_session" in change[1]:
        assert report.count(Level.ERROR)


def test_the_gate_on_another_address(tmp_path: Path) -> None:
    config = settings(server={"listen": "192.0.2.1", "port": 8084, "draft_port": 8085, "allow": ["192.0.2.0/24"]})
    folder = site(tmp_path, GATED, config)
    assert found(audit([folder], config)) == []
    assert "gate-not-as-shipped" in [rule for _, _, rule in found(audit([folder]))]


def test_a_gate_that_is_not_there(tmp_path: Path) -> None:
    folder = site(tmp_path, GATED)
    (folder / "dialplan" / "ivr_consent.xml").unlink()
    assert ("warning", 3, "gate-not-included") in found(audit([folder]))
    assert ("unknown", 3, "gate-not-included") in found(audit([folder / "dialplan" / "public.xml"]))


# --- a line's recorded destination -----------------------------------------------------------------------------------


def test_a_way_around_the_gate(tmp_path: Path) -> None:
    config = settings()
    folder = site(tmp_path, public(("transfer", "support_recorded XML queues")))
    assert found(audit([folder], config)) == [("error", 3, "recorded-line-without-gate")]
    assert found(audit([folder])) == []
    folder = site(tmp_path, public(("transfer", "${x} XML queues")))
    assert found(audit([folder], config), Level.ERROR) == []


def test_a_recorded_destination_that_can_be_dialled(tmp_path: Path) -> None:
    profile = '<configuration name="sofia.conf"><param name="context" value="queues"/></configuration>'
    folder = site(tmp_path, GATED, sofia=profile)
    assert ("warning", 1, "recorded-line-without-gate") in found(audit([folder], settings()))


# --- conditions on what is dialled -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "target", "reached"),
    [
        ("^(10[0-9]{2})$", "$1", True),
        ("^(20[0-9]{2})$", "$1", False),
        ("^9(10[0-9]{2})$", "$1", True),
        ("^(.*)$", "$1", True),
        ("^(10[0-9]{2})$", "${destination_number}", True),
        ("^(20[0-9]{2})$", "${destination_number}", False),
        ("^(20[0-9]{2})$", "1005", True),
        ("^20([0-9]{2})$", "10$1", True),
        ("^20([0-9]{2})$", "100$1", False),
    ],
)
def test_what_is_dialled_goes_along(tmp_path: Path, expression: str, target: str, *, reached: bool) -> None:
    dialplan = (
        f'<context name="public">\n{extension(action("transfer", f"{target} XML rooms"), expression)}</context>\n'
        f'<context name="rooms">\n{extension(RECORD, "^10[0-9]{2}$")}</context>\n'
    )
    assert bool(judged(tmp_path, dialplan)) is reached


def test_the_first_extension_takes_the_call(tmp_path: Path) -> None:
    rooms = f'<context name="rooms">\n{extension(action("answer"), "^1$")}{extension(RECORD, "^[0-9]$")}</context>'
    assert judged(tmp_path, public(("transfer", "1 XML rooms")) + rooms) == []
    assert [row[2] for row in judged(tmp_path, public(("transfer", "2 XML rooms")) + rooms)] == [UNGATED]
    going = rooms.replace('name="e"', 'name="e" continue="true"')
    assert [row[2] for row in judged(tmp_path, public(("transfer", "1 XML rooms")) + going)] == [UNGATED]


NESTED = """\
<condition field="destination_number" expression="^1" {attributes}>
<condition field="destination_number" expression="^2"><action application="answer"/></condition>
</condition>
<condition>{record}</condition>"""


@pytest.mark.parametrize(
    ("attributes", "rules"),
    [("", []), ('require-nested="false"', [UNGATED]), ('break="never"', [UNGATED])],
)
def test_conditions_within_conditions(tmp_path: Path, attributes: str, rules: list[str]) -> None:
    text = NESTED.format(attributes=attributes, record=RECORD)
    rooms = f'<context name="rooms"><extension name="r">{text}</extension></context>'
    assert [row[2] for row in judged(tmp_path, public(("transfer", "11 XML rooms")) + rooms)] == rules


def test_a_nested_condition_that_fails_lets_the_next_extension_have_the_call(tmp_path: Path) -> None:
    text = NESTED.format(attributes="", record="")
    rooms = f'<context name="rooms"><extension name="r">{text}</extension>\n{extension(RECORD, ".*")}</context>'
    assert [row[2] for row in judged(tmp_path, public(("transfer", "11 XML rooms")) + rooms)] == [UNGATED]
    assert judged(tmp_path, public(("transfer", "11 XML rooms")) + rooms.replace('"^2"', '"^11"')) == []


def test_an_extension_without_conditions_does_nothing(tmp_path: Path) -> None:
    dialplan = f'<context name="public"><extension name="e">{RECORD}</extension></context>'
    assert judged(tmp_path, dialplan) == []


def test_what_stands_behind_a_transfer_is_not_run(tmp_path: Path) -> None:
    assert judged(tmp_path, public(("transfer", "support XML ivr-consent"), ("record_session", "/x"))) == []
    assert judged(tmp_path, public(("hangup", ""), ("record_session", "/x"))) == []


def test_an_extension_that_comes_back(tmp_path: Path) -> None:
    rooms = f'<context name="rooms">\n{extension(action("answer"), "^1$")}</context>'
    rows = judged(tmp_path, public(("execute_extension", "1 XML rooms"), ("record_session", "/x")) + rooms)
    assert rows == [("error", 4, UNGATED)]
    away = f'<context name="rooms">\n{extension(action("transfer", "2 XML rooms"), "^1$")}</context>'
    assert judged(tmp_path, public(("execute_extension", "1 XML rooms"), ("record_session", "/x")) + away) == []
    assert judged(tmp_path, public(("execute_extension", "7 XML rooms"), ("record_session", "/x")) + rooms) == [
        ("error", 4, UNGATED)
    ]


def test_an_extension_that_is_run_twice_comes_back_twice(tmp_path: Path) -> None:
    rooms = f'<context name="rooms">\n{extension(action("answer"), "^1$")}</context>'
    twice = [("execute_extension", "1 XML rooms")] * 2
    assert judged(tmp_path, public(*twice, ("record_session", "/x")) + rooms) == [("error", 5, UNGATED)]


def test_many_values_of_a_variable_are_any_value(tmp_path: Path) -> None:
    numbers = "".join(
        extension(action("set", f"where={number}") + action("transfer", "go XML hub"), f"^{number}$")
        for number in range(30)
    )
    hub = f'<context name="hub">\n{extension(action("transfer", "${where} XML rooms"), "^go$")}</context>'
    for number in (0, 15, 29):
        rooms = f'<context name="rooms">\n{extension(RECORD, f"^{number}$")}</context>'
        rows = judged(tmp_path, f'<context name="public">{numbers}</context>{hub}{rooms}')
        assert {rule for _, _, rule in rows} == {UNGATED}


def test_an_expression_that_is_not_understood_may_match_or_not(tmp_path: Path) -> None:
    for rooms in (extension(RECORD, "(?=1)1"), extension(action("answer"), "(?=2)1") + extension(RECORD, "1")):
        rows = judged(tmp_path, public(("transfer", "1 XML rooms")) + f'<context name="rooms">\n{rooms}</context>')
        assert [rule for _, _, rule in rows] == [UNGATED]


def test_the_worst_way_to_a_recorder_is_told(tmp_path: Path) -> None:
    config = settings({"support": {"recorded": "x XML rooms", "unrecorded": "y XML rooms"}})
    rooms = f'<context name="rooms">\n{extension(RECORD, "^x$")}</context>'
    jump = extension(action("transfer", "${where} XML rooms"), "^200$")
    both = GATED.replace("</context>", f"{jump}</context>") + rooms
    assert found(audit([site(tmp_path, GATED + rooms, config)])) == [("warning", 8, BEHIND)]
    assert [row[0] for row in found(audit([site(tmp_path, both, config)]))] == ["unknown"]


def test_behind_a_program_anything_may_be_the_result(tmp_path: Path) -> None:
    rooms = f'<context name="rooms"><extension name="r"><condition {RESULT} expression="^granted$">{RECORD}'
    rooms += "</condition></extension></context>"
    assert judged(tmp_path, public(("system", "x"), ("transfer", "1 XML rooms")) + rooms) == [
        ("unknown", 3, "foreign-script")
    ]
    rows = judged(tmp_path, public(("lua", "x.lua"), ("transfer", "1 XML rooms")) + rooms)
    assert ("unknown", 3, "foreign-script") in rows
    assert REFUSED in [rule for _, _, rule in rows]


def test_an_application_that_sets_a_variable(tmp_path: Path) -> None:
    """Digits that are read are any digits, whatever the variable held before."""
    rooms = f'<context name="rooms">\n{extension(RECORD, "^7$")}</context>'
    steps = [("set", "digits=1"), ("transfer", "${digits} XML rooms")]
    assert judged(tmp_path, public(*steps) + rooms) == []
    steps.insert(1, ("play_and_get_digits", "1 1 3 5000 # a.wav b.wav digits"))
    assert [rule for _, _, rule in judged(tmp_path, public(*steps) + rooms)] == [UNGATED]


def test_the_context_global_takes_what_has_no_context(tmp_path: Path) -> None:
    dialplan = f'<context name="global">\n{extension(RECORD)}</context>'
    rows = judged(tmp_path, public(("transfer", "100 XML nowhere")) + dialplan)
    assert [rule for _, _, rule in rows] == [UNGATED]


def test_a_context_that_is_not_there(tmp_path: Path) -> None:
    folder = site(tmp_path, public(("transfer", "100 XML nowhere")))
    assert found(audit([folder])) == [("note", 3, "dialplan-elsewhere")]


def test_contexts_that_nothing_leads_to(tmp_path: Path) -> None:
    lost = f'<context name="lost">\n{extension(RECORD)}</context>'
    assert judged(tmp_path, GATED + lost) == [("unknown", 8, "recording-not-reached")]


def test_without_entry_points_every_first_context_counts(tmp_path: Path) -> None:
    behind = f'<context name="behind"><extension name="b">\n<condition>{RECORD}</condition></extension></context>'
    config = settings({"support": {"recorded": "x XML behind", "unrecorded": "support XML queues"}})
    folder = site(tmp_path, behind + GATED, config)
    (folder / "autoload_configs" / "sofia.conf.xml").unlink()
    assert found(audit([folder])) == [("warning", 2, BEHIND)]
    (folder / "dialplan" / "public.xml").write_text(f'<context name="in">\n{extension(RECORD)}</context>')
    assert ("error", 3, UNGATED) in found(audit([folder]))


def test_a_computed_destination_is_followed_to_all_that_it_can_mean(tmp_path: Path) -> None:
    rooms = f'<context name="rooms">\n{extension(RECORD, "^7$")}</context>'
    for target, row in (("${x}", "unknown"), ("8${x}", None), ("7", "error")):
        rows = judged(tmp_path, public(("transfer", f"{target} XML rooms")) + rooms)
        assert [level for level, _, rule in rows] == ([] if row is None else [row])


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name"), [(ways, "MOST_EDGES"), (ways, "MOST_NODES"), (hunt, "MOST_LOOKS")], ids=str
)
def test_what_was_not_finished_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    folder = site(tmp_path, GATED)
    assert audit([folder]).count(Level.UNKNOWN) == 0
    monkeypatch.setattr(module, name, 3)
    assert "not-read" in [rule for level, _, rule in found(audit([folder])) if level == "unknown"]


@pytest.mark.parametrize(
    "condition",
    [
        '<condition field="destination_number" expression="^1$" wday="2-6">{}</condition>',
        '<condition field="destination_number" expression="^1$" break="never"/><condition>{}</condition>',
        '<condition field="destination_number" expression="^1$" break="on-true"/><condition>{}</condition>',
        '<condition field="destination_number" expression="^1$"><anti-action application="record"/>{}</condition>',
        '<condition field="destination_number" expression="^1$" regex="any"><regex/>{}</condition>',
        '<condition field="destination_number" expression="${{x}}">{}</condition>',
        '<condition field="${{destination_number}}" expression="^2$">{}</condition>',
    ],
)
def test_extensions_that_another_number_gets_past(tmp_path: Path, condition: str) -> None:
    """They are not left out for what their first condition asks for."""
    rooms = f'<context name="rooms"><extension name="r">{condition.format(RECORD)}</extension></context>'
    assert {row[2] for row in judged(tmp_path, public(("transfer", "2 XML rooms")) + rooms)} == {UNGATED}


def test_conditions_too_deep_are_not_followed(tmp_path: Path) -> None:
    deep = "<condition>" * 150 + RECORD + "</condition>" * 150
    dialplan = f'<context name="public"><extension name="e">{deep}</extension></context>'
    assert judged(tmp_path, dialplan) == []  # FreeSWITCH gives up at 100, too


def test_applications_that_run_each_other_for_ever(tmp_path: Path) -> None:
    data = "bind_meta_app 1 a s " + "bind_meta_app::1 a s " * 30 + "record_session::/x"
    assert audit([site(tmp_path, public(("set", f"execute_on_answer={data}")))]).count(Level.UNKNOWN)
    loop = public(("transfer", "100 XML public"), ("execute_extension", "100 XML public"))
    assert judged(tmp_path, loop) == []
    assert judged(tmp_path, public(("execute_extension", "100 XML public"), ("record_session", "/x"))) == []
