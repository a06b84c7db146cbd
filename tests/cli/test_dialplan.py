"""ivr-consent dialplan: the configured address and lines, over no file but our own."""

from __future__ import annotations

from pathlib import Path

from ivr_consent.config import Settings, parse
from ivr_consent.pbx.asterisk import dialplan
from ivr_consent.site import shipped
from tests.cli.support import Place, run, run_json

ROUTED = """\
# recorded = "queues,support-recorded,1"
# unrecorded = "queues,support,1"
"""


def settings(**server: object) -> Settings:
    directory = dialplan.SHIPPED_RECORDINGS.rstrip("/")
    document = {"server": server, "recordings": {"directory": directory}, "lines": {"support": {}}}
    return parse({**document, "features": {"consent": "*8"}}, Path("/x.toml"), "")


def test_the_gate_has_the_configured_address_and_else_is_as_shipped() -> None:
    text = dialplan.render_include(settings(port=4600))
    assert text.count("agi://127.0.0.1:4600/") == text.count("agi://") - 1 > 0
    original = (shipped("dialplan") / dialplan.INCLUDE_FILE).read_text()
    assert text.replace(":4600/", ":4573/") == original


def test_an_address_is_never_a_name_and_never_everywhere() -> None:
    assert dialplan.address(settings(listen="::1")) == "agi://[::1]:4573/"
    everywhere = settings(listen="0.0.0.0", allow=["192.0.2.10/32"])
    assert dialplan.address(everywhere) == "agi://127.0.0.1:4573/"


def test_a_line_with_destinations_falls_through_to_the_unrecorded_one(place: Place) -> None:
    """R6: only "granted" leads to the recorded place; whatever else, the last line."""
    place.edit(ROUTED, ROUTED.replace("# ", ""))
    code, document = run_json("--config", place.config, "dialplan")
    assert code == 0
    assert document["files"][dialplan.LINES_FILE].partition("[ivr-consent-line]\n")[2].splitlines()[1:] == [
        "; training; in en",
        "exten => support,1,Gosub(ivr-consent,s,1(support))",
        ' same => n,GotoIf($["${IVR_CONSENT_RESULT}" = "granted"]?queues,support-recorded,1)',
        " same => n,Goto(queues,support,1)",
    ]


def test_without_destinations_the_context_is_empty(place: Place) -> None:
    text = run("--config", place.config, "dialplan").stdout
    assert "[ivr-consent-line]" in text
    assert "support,1,Gosub" not in text.partition("[ivr-consent-line]")[2]


def test_an_extension_that_asterisk_goes_to_of_itself_is_refused(place: Place) -> None:
    place.edit(ROUTED, ROUTED.replace("# ", ""))
    place.config.write_text(place.config.read_text().replace("[lines.support", "[lines.h"))
    result = run("--config", place.config, "dialplan")
    assert result.exit_code == 3
    assert "lines.h" in result.stderr
    assert "another name" in result.stderr


def test_a_gate_that_runs_the_classic_script_keeps_it(place: Place) -> None:
    """Written anew after a change, it is not switched back to a server that nobody runs."""
    folder = place.asterisk / "ivr-consent"
    script = "/opt/ivr-consent/bin/ivr-consent-agi"
    write = ("--config", place.config, "dialplan", "--write", folder)
    assert "as before" not in run(*write, "--script", script).stdout
    gate = (folder / dialplan.INCLUDE_FILE).read_text()
    assert gate.count(f"AGI({script},") == 3
    assert f"AGI({script},--withdraw,$" in gate
    assert "/withdraw" not in gate
    place.edit(ROUTED, ROUTED.replace("# ", ""))
    said = run(*write)
    assert said.exit_code == 0
    assert f"runs the classic script as before: {script}" in said.stdout
    assert (folder / dialplan.INCLUDE_FILE).read_text() == gate
    assert "support,1,Gosub" in (folder / dialplan.LINES_FILE).read_text()
    assert run_json(*write)[1]["script"] == script
    run(*write, "--script", "/usr/local/bin/ivr-consent-agi")
    assert run_json(*write)[1]["script"] == "/usr/local/bin/ivr-consent-agi"
    (folder / dialplan.INCLUDE_FILE).unlink()
    assert run_json(*write)[1]["script"] is None
    assert "agi://" in (folder / dialplan.INCLUDE_FILE).read_text()


def test_only_files_of_our_own_are_written_anew(place: Place) -> None:
    folder = place.asterisk / "ivr-consent"
    foreign = folder / dialplan.LINES_FILE
    foreign.write_text("; mine\n[ivr-consent-line]\n")
    place.edit("port = 4573", "port = 4601")
    code, document = run_json("--config", place.config, "dialplan", "--write", folder)
    assert code == 1
    assert document["files"] == {
        str(folder / dialplan.INCLUDE_FILE): "rewritten",
        str(foreign): "kept",
        str(folder / dialplan.FEATURES_FILE): "unchanged",
    }
    assert foreign.read_text().startswith("; mine")
    assert ":4601/" in (folder / dialplan.INCLUDE_FILE).read_text()
    foreign.unlink()
    said = run("--config", place.config, "dialplan", "--write", folder)
    assert said.exit_code == 0
    assert "unchanged" in said.stdout
    assert "written" in said.stdout
    assert {path.name for path in folder.iterdir()} == {
        "manager_consent.conf",
        dialplan.INCLUDE_FILE,
        dialplan.LINES_FILE,
        dialplan.FEATURES_FILE,
    }


def test_the_codes_and_the_marks_are_those_of_the_configuration(place: Place) -> None:
    """R13: what is pressed in the call; where the mark of it is put; without the table, no code at all."""
    place.edit('withdraw = "*9"', 'withdraw = "*77"')
    files = run_json("--config", place.config, "dialplan")[1]["files"]
    assert files[dialplan.FEATURES_FILE].partition("[applicationmap]\n")[2].splitlines() == [
        "ivr-consent-withdraw => *77,self,Gosub(ivr-consent-withdraw,s,1)",
        "ivr-consent-ask => *8,self,Gosub(ivr-consent-ask,s,1)",
    ]
    gate = files[dialplan.INCLUDE_FILE]
    assert gate.count(f"Set(FILE({place.state}/recordings/${{id}}.withdrawn)=") == dialplan.MARKS
    place.config.write_text(place.config.read_text().replace("[features]", "# [features]").replace("\nwithdraw", "\n#"))
    place.config.write_text(place.config.read_text().replace("\nconsent =", "\n#"))
    files = run_json("--config", place.config, "dialplan")[1]["files"]
    assert "=>" not in files[dialplan.FEATURES_FILE]
    assert "Set(LOCAL(codes)=)\n" in files[dialplan.INCLUDE_FILE]
