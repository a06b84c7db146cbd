"""Whole sites: the fixtures, our own files, the other configuration files, and SARIF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.asterisk.audit.judge import audit
from ivr_consent.pbx.audit.findings import Level, Rule
from ivr_consent.pbx.audit.sarif import sarif
from ivr_consent.testing.rig import DEFAULT_DIALPLAN
from tests.audits import GATE, add_ours, fixture, found, judged, settings, site
from tests.live.support import DIALPLAN

ENABLED = "recording-enabled-by-file"


def rows(folder: Path, file: str) -> list[tuple[str, int, str]]:
    report = audit([folder], settings())
    return [
        (finding.level.value, finding.place.line, finding.rule.value)
        for finding in report.findings
        if finding.place.file == file
    ]


def test_a_site_with_mistakes(tmp_path: Path) -> None:
    folder = fixture("small", tmp_path)
    assert rows(folder, "extensions.conf") == [
        ("error", 23, "recording-without-gate"),
        ("error", 39, "recording-after-no"),
        ("error", 47, "recording-after-no"),
        ("error", 67, "recording-without-gate"),
        ("error", 72, "recording-without-gate"),
        ("error", 89, "recording-without-gate"),
        ("unknown", 51, "computed-target"),
        ("unknown", 91, "foreign-script"),
        ("unknown", 96, "recording-not-reached"),
        ("warning", 41, "recording-behind-gate"),
        ("warning", 42, "recording-behind-gate"),
        ("note", 50, "recording-allowed"),
    ]
    assert rows(folder, "features.conf") == [
        ("warning", 6, ENABLED),
        ("warning", 10, ENABLED),
        ("note", 9, "dialplan-elsewhere"),
    ]
    assert rows(folder, "manager.conf") == [
        ("warning", 12, "recording-by-interface"),
        ("note", 7, "recording-by-interface"),
    ]
    for file, line in (("queues.conf", 10), ("confbridge.conf", 8), ("pjsip.conf", 22)):
        assert rows(folder, file) == [("warning", line, ENABLED)]


def test_a_site_as_it_should_be(tmp_path: Path) -> None:
    report = audit([fixture("right", tmp_path)], settings())
    assert found(report) == []
    assert report.steps[1] > 50
    assert set(report.read) >= {"extensions.conf", "ivr-consent/extensions_consent.conf", "pjsip.conf", "queues.conf"}


def test_a_site_in_the_manner_of_freepbx(tmp_path: Path) -> None:
    folder = fixture("freepbx", tmp_path)
    assert rows(folder, "extensions_additional.conf")[:5] == [
        ("error", 59, "recording-without-gate"),
        ("error", 83, "recording-without-gate"),
        ("error", 87, "recording-without-gate"),
        ("error", 118, "recording-without-gate"),
        ("unknown", 30, "computed-target"),
    ]
    way = next(f for f in audit([folder]).findings if f.place.line == 118).way
    assert way[0].what == "calls of the endpoint 101"
    assert "sub-record-check,recordcheck,2" in [stop.at for stop in way]


# --- our own files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [None, Path("/opt/ivr-consent/bin/ivr-consent-agi")], ids=["server", "script"])
def test_our_own_files_are_clean(tmp_path: Path, script: Path | None) -> None:
    add_ours(tmp_path, settings(), script)
    folder = tmp_path / "ivr-consent"
    (folder / "extensions_consent.conf").rename(folder / "extensions.conf")
    (folder / "queues.conf").write_text("")
    (folder / "destinations.conf").write_text("[queues]\nexten => _[a-z].,1,Queue(support)\n")
    with (folder / "extensions.conf").open("a") as file:
        file.write("#include extensions_consent_lines.conf\n#include destinations.conf\n")
    assert found(audit([folder], settings())) == []


def test_the_dialplans_of_the_live_tests_are_clean(tmp_path: Path) -> None:
    for text in (DEFAULT_DIALPLAN, DIALPLAN):
        dialplan = f"{GATE}#include ivr-consent/extensions_consent_lines.conf\n[rig-agents]\n{text}"
        assert [row for row in judged(tmp_path, dialplan) if row[0] == "error"] == []


@pytest.mark.parametrize(
    "change",
    [
        ("same => n,Set(IVR_CONSENT_ID=)", "same => n,MixMonitor(x.wav)"),
        ("Set(IVR_CONSENT_RESULT=failed)", "Set(IVR_CONSENT_RESULT=granted)"),
        ("agi://127.0.0.1:4573/consent", "agi://192.0.2.1:4573/other"),
        ("[ivr-consent-stop]", "[ivr-consent-stop]\ninclude => mine"),
    ],
)
def test_a_gate_that_was_changed_is_told(tmp_path: Path, change: tuple[str, str]) -> None:
    folder = site(tmp_path, f"{GATE}[c]\nexten => 1,1,Gosub(ivr-consent,s,1(support))\n")
    path = folder / "ivr-consent" / "extensions_consent.conf"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1]))
    report = audit([folder])
    assert [finding for finding in report.findings if finding.rule is Rule.GATE]
    if "MixMonitor" in change[1]:
        assert [finding for finding in report.findings if finding.level is Level.ERROR]


def test_a_second_context_of_the_gates_name_is_told(tmp_path: Path) -> None:
    dialplan = f"{GATE}[ivr-consent]\nexten => s,500,NoOp()\n[c]\nexten => 1,1,Gosub(ivr-consent,s,1(support))\n"
    assert "gate-not-as-shipped" in [rule for _, _, rule in judged(tmp_path, dialplan)]


def test_a_gate_that_is_not_included(tmp_path: Path) -> None:
    dialplan = "[c]\nexten => 1,1,Gosub(ivr-consent,s,1(support))\n same => n,Hangup()\n"
    folder = site(tmp_path, dialplan)
    assert found(audit([folder])) == [("warning", 2, "gate-not-included")]
    assert found(audit([folder / "extensions.conf"])) == [("unknown", 2, "gate-not-included")]


def test_a_way_around_the_gate_to_a_recorded_destination(tmp_path: Path) -> None:
    dialplan = """\
#include ivr-consent/extensions_consent.conf
#include ivr-consent/extensions_consent_lines.conf
[in]
exten => 1,1,Goto(ivr-consent-line,support,1)
exten => 2,1,Goto(queues,support-recorded,1)
[queues]
exten => support,1,Queue(support)
exten => support-recorded,1,Queue(support)
"""
    folder = site(tmp_path, dialplan, queues="[support]\n", pjsip="[t]\ntype=endpoint\ncontext=in\n")
    assert found(audit([folder])) == []
    report = audit([folder], settings())
    assert found(report) == [("error", 8, "recorded-line-without-gate")]
    assert "support" in report.findings[0].found
    (folder / "extensions.conf").write_text(dialplan.replace("exten => 2,1,Goto(queues,support-recorded,1)\n", ""))
    assert found(audit([folder], settings())) == []


# --- the other files -------------------------------------------------------------------------------------------------

HANGUP = "[c]\nexten => 1,1,Hangup()\n"


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("agents", "[100]\nrecordagentcalls = yes\n", ("error", 2, ENABLED)),
        ("res_parking", "[default]\nparkedcallrecording = both\n", ("warning", 2, ENABLED)),
        ("confbridge", "[u]\ntype = user\nannounce_join_leave_review = yes\n", ("warning", 3, ENABLED)),
        ("confbridge", "[m]\ntype = menu\n1 = dialplan_exec(r,s,1)\n", ("note", 3, "dialplan-elsewhere")),
        ("extconfig", "[settings]\nqueues => odbc,asterisk\n", ("unknown", 2, "dialplan-elsewhere")),
        ("extconfig", "[settings]\nextensions.conf => odbc,asterisk\n", ("unknown", 2, "dialplan-elsewhere")),
        ("sorcery", "[res_pjsip]\nendpoint = realtime,ps_endpoints\n", ("unknown", 2, "dialplan-elsewhere")),
        ("cli", "[startup_commands]\ndialplan add extension 1 = yes\n", ("unknown", 2, "dialplan-elsewhere")),
        ("manager", "[general]\nenabled=yes\n[a]\nwrite = all\n", ("warning", 4, "recording-by-interface")),
        ("features", "[applicationmap]\nx => *1,self,AGI(x.py)\n", ("unknown", 2, "foreign-script")),
        ("sip", "[a]\ncontext = nowhere\n", ("note", 2, "dialplan-elsewhere")),
        ("pjsip", "[a]\ntype=endpoint\n", ("note", 1, "dialplan-elsewhere")),
        ("pjsip_wizard", "[a]\nendpoint/one_touch_recording = yes\n", ("warning", 2, ENABLED)),
    ],
)
def test_a_file(tmp_path: Path, file: str, text: str, expected: tuple[str, int, str]) -> None:
    folder = site(tmp_path, HANGUP, **{file: text})
    assert rows(folder, f"{file}.conf") == [expected]


def test_what_is_off_is_not_told(tmp_path: Path) -> None:
    folder = site(
        tmp_path,
        HANGUP,
        manager="[general]\nenabled=no\n[a]\nwrite = all\n",
        ari="[general]\nenabled=yes\n[a]\ntype=user\n",
        http="[general]\nenabled=no\n",
        agents="[1]\nrecordagentcalls=no\n",
        queues="[q]\nmonitor-format=\n",
        confbridge="[b]\ntype=bridge\nrecord_conference=no\n",
    )
    assert found(audit([folder])) == []
    (folder / "http.conf").write_text("[general]\nenabled=yes\n")
    assert found(audit([folder])) == [("warning", 3, "recording-by-interface")]


@pytest.mark.parametrize(("key", "level"), [("automixmon", "error"), ("", "warning")])
def test_one_touch_recording_needs_a_key(tmp_path: Path, key: str, level: str) -> None:
    features = f"[featuremap]\n{key} = *3\n" if key else "[general]\n"
    got = judged(tmp_path, "[c]\nexten => 1,1,Dial(PJSIP/1,,x)\n", features=features)
    assert (level, 2, "recording-without-gate") in got


def test_a_feature_code_that_channels_get(tmp_path: Path) -> None:
    features = "[applicationmap]\ntape => *8,self,MixMonitor(x)\nsub => *9,self,Gosub(s,s,1)\n"
    dialplan = "[c]\nexten => 1,1,Set(DYNAMIC_FEATURES=tape)\n[s]\nexten => s,1,Record(x)\n"
    report = audit([site(tmp_path, dialplan, features=features)])
    assert found(report, Level.ERROR) == [("error", 4, "recording-without-gate"), ("error", 2, ENABLED)]


def test_a_queue_and_where_it_leads(tmp_path: Path) -> None:
    queues = "[q]\nmember => Local/5@agents/n\ncontext = out\n"
    dialplan = "[c]\nexten => 1,1,Queue(q)\n[agents]\nexten => 5,1,MixMonitor(x)\n[out]\nexten => 1,1,Record(x)\n"
    assert judged(tmp_path, dialplan, queues=queues) == [
        ("error", 4, "recording-without-gate"),
        ("error", 6, "recording-without-gate"),
    ]


def test_files_that_were_not_given_are_not_known(tmp_path: Path) -> None:
    folder = site(tmp_path, "[c]\nexten => 1,1,Queue(q)\n same => n,ConfBridge(1)\n")
    assert found(audit([folder])) == []
    assert found(audit([folder / "extensions.conf"])) == [("unknown", 2, "not-read"), ("unknown", 3, "not-read")]
    (folder / "queues.conf").write_text("[q]\nmonitor-format = wav\n")
    got = found(audit([folder / "extensions.conf", folder / "queues.conf"]))
    assert ("error", 2, "recording-without-gate") in got


def test_a_file_that_nobody_includes_is_said(tmp_path: Path) -> None:
    folder = site(tmp_path, HANGUP, extensions_old="[old]\nexten => s,1,MixMonitor(x)\n")
    assert found(audit([folder])) == [("note", 0, "not-read")]


def test_nothing_to_audit_is_no_clean_site(tmp_path: Path) -> None:
    with pytest.raises(ConsentError, match="no dialplan"):
        audit([tmp_path])


def test_nothing_is_changed_and_nothing_is_run(tmp_path: Path) -> None:
    folder = fixture("small", tmp_path)
    with (folder / "extensions.conf").open("a") as file:
        file.write(f"#exec touch {tmp_path / 'ran'}\n")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    audit([folder])
    assert {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()
    } == before
    assert not (tmp_path / "ran").exists()


# --- bounds ----------------------------------------------------------------------------------------------------------

PATTERNS = "[c]\n" + "".join(f"exten => _{n:05d}[1-9].,1,Goto(${{EXTEN}},2)\n" for n in range(3000))
HUB = "".join(f"[c{n}]\ninclude => hub\n[hub](+)\ninclude => c{n}\n" for n in range(1, 1500))
VARIABLES = "[c]\n" + "".join(
    f"exten => {n},1,Set(V{n}=x)\nsame => n,GotoIf($[${{V{n}}} = 1]?{n + 1},1:{n + 1},1)\n" for n in range(3000)
)
CALLS = (
    "[c]\n"
    + "".join(f"exten => {n},1,Gosub(s,s,1({n},${{ARG1}}))\nsame => n,Goto({n + 1},1)\n" for n in range(100))
    + "[s]\nexten => s,1,GotoIf($[${ARG1} > ${ARG2}]?2:3)\nsame => n,Gosub(c,${ARG1},1(1))\nsame => n,Return()\n"
)


@pytest.mark.parametrize(
    "dialplan",
    [
        PATTERNS,
        "[hub]\n" + HUB,
        VARIABLES,
        CALLS,
        "[c]\nexten => 1,1,Set(A=1)\n" + "same => n,Set(A+=${A}${A}${A})\nsame => n,Goto(${A}${A},1)\n" * 2000,
        "[c]\n" + "a+=" + "x" * 8000 + "\n" + ("a+=" + "x" * 8000 + "\n") * 500,
        "[c]\n" + "".join(f"a{n}+=1\n" for n in range(20_000)),
        "[c]\nexten => 1,1,NoOp()\n" + "same => n,While(1)\n" * 2000,
        "[c]\nexten => 1,1,ExecIf(1?" * 900 + "x" + ")" * 900 + "\n",
        "[c]\nexten => _" + "[0-9]" * 1500 + ",1,Goto(${EXTEN:1},1)\n",
        "[c]\n" + "exten => 1,n,MixMonitor(x)\n" + "".join(f"exten => {n},1,MixMonitor(x)\n" for n in range(9000)),
    ],
    ids=[
        "patterns",
        "includes",
        "variables",
        "calls",
        "growth",
        "addition",
        "additions",
        "loops",
        "nested",
        "long",
        "many",
    ],
)
def test_a_dialplan_made_to_take_long_ends(tmp_path: Path, dialplan: str) -> None:
    report = audit([site(tmp_path, dialplan)])
    assert len(report.findings) <= 5001
    assert all(len(finding.found) < 900 for finding in report.findings)


def test_too_many_patterns_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr_consent.pbx.asterisk.audit.dialplan.MOST_COMPARED", 1000)
    assert ("unknown", 0, "not-read") in found(audit([site(tmp_path, PATTERNS)]))


# --- SARIF -----------------------------------------------------------------------------------------------------------


def test_sarif(tmp_path: Path) -> None:
    report = audit([fixture("small", tmp_path)])
    document: dict[str, Any] = json.loads(json.dumps(sarif(report)))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules) == len(Rule)
    assert len(run["results"]) == len(report.findings)
    assert run["originalUriBaseIds"]["SITE"]["uri"].endswith("/small/")
    for result, finding in zip(run["results"], report.findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"].isprintable()
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"] == {"uri": finding.place.file, "uriBaseId": "SITE"}
        assert physical["region"]["startLine"] == finding.place.line
        if finding.way:
            stops = result["codeFlows"][0]["threadFlows"][0]["locations"]
            assert len(stops) == len(finding.way)
    assert {result["level"] for result in run["results"] if result["properties"]["auditLevel"] == "unknown"} == {
        "warning"
    }


def test_a_fingerprint_outlives_a_line_above(tmp_path: Path) -> None:
    def prints(dialplan: str) -> list[str]:
        document = sarif(audit([site(tmp_path, dialplan)]))
        return [result["partialFingerprints"]["finding/v1"] for result in document["runs"][0]["results"]]

    first = prints("[c]\nexten => 1,1,MixMonitor(x)\n")
    assert first == prints("; a new line\n[c]\nexten => 1,1,MixMonitor(x)\n")
    assert first != prints("[c]\nexten => 1,1,Record(x)\n")
