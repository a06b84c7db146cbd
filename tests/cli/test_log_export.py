"""ivr-consent log export, report: what lands in files, what is written into the log of it, and when nothing is."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import pwd
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ivr_consent import verifier
from ivr_consent.cli.log import exports as exports_module
from ivr_consent.config import load
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.steps import Logged
from ivr_consent.exports import plots, sheet
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from ivr_consent.store.sealing import good
from ivr_consent.testing.plans import call_context
from tests.cli.support import run, run_json
from tests.exports.support import PSEUDONYM, Book, book, decision, every_way
from tests.postgresql import PostgresqlServer
from tests.sites import SmallSite
from tests.tools import need

FORMS = ("jsonl", "csv", "27560", "vcon")
MORE = {"support": 'languages = ["en", "da"]\npurposes = ["training", "quality"]\n'}


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallSite, Book]:
    site = SmallSite.make(tmp_path_factory.mktemp("written") / "site", more=MORE)
    (manifest,) = site.publish()
    with book(site, manifest) as page:
        every_way(page)
    return site, page


@pytest.fixture
def written(_written: tuple[SmallSite, Book], tmp_path: Path) -> tuple[SmallSite, Book]:
    """A site whose log has calls of every kind."""
    site, page = _written
    shutil.copytree(site.root, tmp_path / "site")
    return SmallSite(tmp_path / "site"), page


@pytest.fixture
def site(written: tuple[SmallSite, Book]) -> SmallSite:
    return written[0]


@pytest.fixture
def page(written: tuple[SmallSite, Book]) -> Book:
    return written[1]


def export(site: SmallSite, *words: str | Path) -> Any:
    return run("--config", site.config, "log", "export", *words)


def events(site: SmallSite, kind: str) -> list[dict[str, Any]]:
    """Payloads of a kind, as they stand in the chain."""
    with closing(sqlite3.connect(place_of(site.settings).path)) as connection:
        rows = connection.execute("SELECT payload FROM events WHERE kind = ? ORDER BY sequence", (kind,))
        return [json.loads(raw) for (raw,) in rows]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


# --- what lands in the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_written(site: SmallSite, page: Book, tmp_path: Path, form: str) -> None:
    path = tmp_path / "out"
    code, document = run_json("--config", site.config, "log", "export", "--format", form, "--out", path)
    assert code == 0
    data = path.read_bytes()
    assert (document["calls"], document["bytes"]) == (len(page.calls), len(data))
    assert document["sha256"] == hashlib.sha256(data).hexdigest()
    assert document["signature"] is None
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", FORMS)
def test_standard_output_has_the_export_and_nothing_else(site: SmallSite, tmp_path: Path, form: str) -> None:
    path = tmp_path / "out"
    assert export(site, "--format", form, "--out", path, "--call", "").exit_code == 1
    result = export(site, "--format", form)
    assert result.exit_code == 0
    assert "10 call(s)" in result.stderr
    text = result.stdout
    if form == "27560":
        assert len(json.loads(text)["@graph"]) == 18
    elif form == "csv":
        assert len(list(csv.DictReader(io.StringIO(text)))) == 10
    else:
        assert all(json.loads(line) for line in text.splitlines())


def test_the_bundle_verifies(site: SmallSite, tmp_path: Path) -> None:
    """By the program that a regulator runs."""
    path = tmp_path / "evidence.jsonl"
    assert export(site, "--format", "jsonl", "--out", path).exit_code == 0
    key = verifier.PublicKey.parse(place_of(site.settings).sealing_key().public_path.read_text().strip())
    report = verifier.verify(path, [key], good=good)
    assert report.ok, report.findings
    assert report.form == "bundle"
    assert PSEUDONYM in path.read_text()
    without = tmp_path / "without.jsonl"
    assert export(site, "--format", "jsonl", "--out", without, "--no-personal").exit_code == 0
    assert PSEUDONYM not in without.read_text()
    assert verifier.verify(without, [key], good=good).ok


def test_the_bundle_of_one_call_verifies(site: SmallSite, page: Book, tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    words = ("--format", "jsonl", "--call", page.calls["kept"][:10], "--out", path)
    code, document = run_json("--config", site.config, "log", "export", *words)
    assert (code, document["calls"], document["documents"]) == (0, 1, 5)
    key = verifier.PublicKey.parse(place_of(site.settings).sealing_key().public_path.read_text().strip())
    report = verifier.verify(path, [key], good=good)
    assert (report.ok, report.form, report.present) == (True, "part", 5)


def test_a_bundle_of_some_days(site: SmallSite, tmp_path: Path) -> None:
    path = tmp_path / "days.jsonl"
    words = ("--format", "jsonl", "--since", "2026-03-03", "--until", "2026-03-03", "--out", path)
    code, document = run_json("--config", site.config, "log", "export", *words)
    assert (code, document["calls"]) == (0, 1)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert {one["event"]["time"][:10] for one in found if "event" in one} == {"2026-03-03"}
    assert "no event" in export(site, "--format", "jsonl", "--since", "2030-01-01").stderr


def test_choices(site: SmallSite, page: Book, tmp_path: Path) -> None:
    def found(*words: str) -> list[str]:
        path = tmp_path / "out.csv"
        assert export(site, "--format", "csv", "--out", path, "--force", *words).exit_code == 0
        names = {call_id: name for name, call_id in page.calls.items()}
        return [names[row["call"]] for row in table(path)]

    assert found("--outcome", "declined") == ["refused"]
    assert found("--line", "other") == []
    assert found("--since", "2026-04-02") == ["void", "running"]
    assert found("--until", "2026-03-02T08:36") == ["kept"]
    assert found("--since", "2026-03-03", "--until", "2026-03-03") == ["expired"]
    assert found("--call", page.calls["silent"][:9]) == ["silent"]


def test_a_mark_for_spreadsheets(site: SmallSite, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert export(site, "--format", "csv", "--out", path, "--excel").exit_code == 0
    assert path.read_bytes().startswith(b"\xef\xbb\xbflog,sequence,")
    assert len(table(path)) == 10


def test_without_personal_data(site: SmallSite, tmp_path: Path) -> None:
    for form in ("csv", "27560", "vcon"):
        path = tmp_path / form
        assert export(site, "--format", form, "--out", path, "--no-personal").exit_code == 0
        text = path.read_text()
        assert PSEUDONYM not in text
        assert PSEUDONYM[8:12] + "-" + PSEUDONYM[12:16] not in text
    assert {row["caller_is"] for row in table(tmp_path / "csv")} == {"left_out"}


def test_one_call_as_records_and_as_a_receipt(site: SmallSite, page: Book) -> None:
    whole = json.loads(export(site, "--format", "27560", "--call", page.calls["kept"]).stdout)
    assert len(whole["@graph"]) == 2
    receipt = json.loads(export(site, "--format", "27560", "--call", page.calls["kept"], "--receipt").stdout)
    assert receipt["@type"] == "dpv:ConsentReceipt"
    assert receipt["dpv:hasRecordOfActivity"] == whole["@graph"]
    result = export(site, "--format", "27560", "--call", page.calls["failed"])
    assert result.exit_code == 1
    assert "was not asked for any purpose (prompt_not_whole)" in result.stderr


# --- signed ----------------------------------------------------------------------------------------------------------


def test_a_signature_beside_the_export(site: SmallSite, tmp_path: Path) -> None:
    """Checked as openssl does: the signature is over the text before the tab."""
    path = tmp_path / "out.csv"
    result = export(site, "--format", "csv", "--out", path, "--sign")
    assert result.exit_code == 0, result.output
    text, _, coded = (tmp_path / "out.csv.sig").read_bytes().rstrip(b"\n").partition(b"\t")
    key: Any = load_pem_public_key((site.root / "notices.key.pub").read_bytes())
    key.verify(base64.b64decode(coded), text)
    said = json.loads(text)
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (said["file"], said["format"], said["calls"]) == ("out.csv", "csv", 10)


def test_openssl_checks_it_too(site: SmallSite, tmp_path: Path) -> None:
    need("openssl")
    assert export(site, "--format", "27560", "--out", tmp_path / "o", "--sign").exit_code == 0
    text, _, coded = (tmp_path / "o.sig").read_bytes().rstrip(b"\n").partition(b"\t")
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "signature").write_bytes(base64.b64decode(coded))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(site.root / "notices.key.pub")]
    command += ["-in", str(tmp_path / "text"), "-sigfile", str(tmp_path / "signature")]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    (tmp_path / "text").write_bytes(text.replace(b'"calls":10', b'"calls":11'))
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode != 0


def test_signed_vcons(site: SmallSite, page: Book) -> None:
    result = export(site, "--format", "vcon", "--sign")
    assert result.exit_code == 0
    key: Any = load_pem_public_key((site.root / "notices.key.pub").read_bytes())
    lines = result.stdout.splitlines()
    assert len(lines) == len(page.calls)
    for line in lines:
        whole = json.loads(line)
        (one,) = whole["signatures"]
        signature = base64.urlsafe_b64decode(one["signature"] + "==")
        key.verify(signature, f"{one['protected']}.{whole['payload']}".encode())


def test_certificates_from_the_configuration(site: SmallSite, tmp_path: Path) -> None:
    with site.config.open("a") as file:
        file.write('\n[exports]\ncertificate_file = "none.pem"\n')
    result = export(site, "--format", "vcon", "--sign", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "none.pem" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_key_that_cannot_be_used_is_told_before_anything_is_done(site: SmallSite, tmp_path: Path) -> None:
    (site.root / "notices.key").unlink()
    assert export(site, "--format", "csv", "--out", tmp_path / "out", "--sign").exit_code == 3
    assert not (tmp_path / "out").exists()
    assert events(site, "exported") == []


# --- an export is an event -------------------------------------------------------------------------------------------


def test_an_export_is_an_event_of_the_log(site: SmallSite, tmp_path: Path) -> None:
    words = ("--format", "csv", "--outcome", "granted", "--since", "2026-03-02", "--sign", "--out", tmp_path / "out")
    assert export(site, *words).exit_code == 0
    (told,) = events(site, "exported")
    assert told == {
        "format": "csv",
        "filter": {"outcome": "granted", "since": "2026-03-02T00:00:00.000+00:00"},
        "calls": 5,
        "signed": True,
        "personal": True,
    }
    assert not any(name in json.dumps(told) for name in (str(tmp_path), PSEUDONYM))


def test_who_exported_stands_beside_the_chain(site: SmallSite, tmp_path: Path) -> None:
    assert export(site, "--format", "csv", "--out", tmp_path / "out").exit_code == 0
    with closing(sqlite3.connect(place_of(site.settings).path)) as connection:
        (data,) = connection.execute(
            "SELECT data FROM personal JOIN events USING (sequence) WHERE kind = 'exported'"
        ).fetchone()
    assert json.loads(data)["by"].split(" ")[0] == pwd.getpwuid(os.getuid()).pw_name


def test_nothing_is_exported_that_the_log_does_not_tell(
    site: SmallSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds the log; the event cannot be written in time."""
    monkeypatch.setattr(exports_module, "ANNOUNCE_S", 0.2)
    with closing(sqlite3.connect(place_of(site.settings).path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = export(site, "--format", "csv", "--out", tmp_path / "out")
        other.execute("ROLLBACK")
    assert result.exit_code == 5
    assert "nothing was exported" in result.stderr
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(Ledger, "tell_now", lambda *_, **__: Logged(durable=False))
    result = export(site, "--format", "csv", "--out", tmp_path / "out")
    assert result.exit_code == 5
    assert "nothing was exported" in result.stderr
    assert not (tmp_path / "out").exists()


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_stays(site: SmallSite, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine")
    result = export(site, "--format", "csv", "--out", path)
    assert (result.exit_code, path.read_text()) == (1, "mine")
    assert "--force" in result.stderr
    assert events(site, "exported") == []
    assert export(site, "--format", "csv", "--out", path, "--force").exit_code == 0
    assert path.read_text().startswith("log,sequence")


def test_an_interrupt_leaves_no_half_file(site: SmallSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, rows = sheet.row, iter(range(5))

    def interrupted(call: Any) -> bytes:
        if next(rows, None) is None:
            raise KeyboardInterrupt
        return row(call)

    monkeypatch.setattr(sheet, "row", interrupted)
    out = tmp_path / "folder"
    out.mkdir()
    result = export(site, "--format", "csv", "--out", out / "out.csv")
    assert result.exit_code != 0
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--format", "csv", "--json"), "--out"),
        (("--format", "csv", "--sign"), "beside"),
        (("--format", "vcon", "--excel"), "--format csv"),
        (("--format", "27560", "--receipt"), "--call"),
        (("--format", "csv", "--call", "a", "--receipt"), "--format 27560"),
        (("--format", "jsonl", "--line", "support"), "--since"),
        (("--format", "xml"), "jsonl"),
        (("--format", "csv", "--since", "soon"), "2026-01-31"),
        ((), "--format"),
    ],
)
def test_what_does_not_go_together_is_told(site: SmallSite, words: tuple[str, ...], told: str) -> None:
    result = export(site, *words)
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", "").split())
    assert events(site, "exported") == []


def test_a_hostile_line_name_is_no_path(site: SmallSite, tmp_path: Path) -> None:
    """What was told is looked for under the name of the line, which whoever writes a log chooses."""
    with closing(sqlite3.connect(place_of(site.settings).path)) as connection, connection:
        connection.execute("DROP TRIGGER events_are_never_changed")
        connection.execute("UPDATE events SET line = '../versions/support' WHERE kind = 'decision'")
    result = export(site, "--format", "27560", "--out", tmp_path / "out")
    assert result.exit_code == 0
    for node in json.loads((tmp_path / "out").read_text())["@graph"]:
        assert "neither its version nor its line" in node["dct:provenance"]


# --- several servers in one database ---------------------------------------------------------------------------------


@pytest.fixture
def servers(postgresql: PostgresqlServer, tmp_path: Path) -> list[Path]:
    """The configurations of two switches with one database; each has had two calls."""
    url = postgresql.url(postgresql.create_database())
    found = []
    for number, server in enumerate(("pbx1", "pbx2")):
        folder = tmp_path / server
        folder.mkdir()
        found.append(folder / "ivr-consent.toml")
        found[-1].write_text(f'[log]\nurl = "{url}"\nserver = "{server}"\n[lines.support]\n')
        log = Ledger(place_of(load(found[-1])))
        for call, outcome in enumerate((Outcome.GRANTED, Outcome.DECLINED)):
            context = call_context(f"{'ab'[number]}{call}".ljust(32, "0"))
            log.decide_now(decision(context, outcome, None, answers={"training": outcome.value}), timeout=30)
        log.seal()
        log.close()
    return found


def told(config: Path, *words: str | Path) -> Any:
    code, document = run_json("--config", config, "log", "export", *words)
    assert code == 0, document
    return document


def test_an_export_is_of_all_servers(servers: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    document = told(servers[0], "--format", "csv", "--out", path)
    assert [row["call"][:2] for row in table(path)] == ["a0", "a1", "b0", "b1"]
    assert [row["log"] for row in table(path)] == [log["log"] for log in document["logs"] for _ in range(2)]
    alone = tmp_path / "alone.csv"
    assert told(servers[0], "--format", "csv", "--out", alone, "--server", "pbx2")["calls"] == 2
    assert [row["call"][:2] for row in table(alone)] == ["b0", "b1"]
    # Both are events of the server on which they were made.
    for config, number in zip(servers, (2, 0), strict=True):
        words = ("log", "list", "--events", "--kind", "exported", "--server", config.parent.name)
        code, found = run_json("--config", config, *words)
        assert (code, len(found["events"])) == (0, number)


@pytest.mark.parametrize("form", ["27560", "vcon"])
def test_each_call_has_the_checkpoint_of_its_own_log(servers: list[Path], tmp_path: Path, form: str) -> None:
    path = tmp_path / "out"
    logs = [log["log"] for log in told(servers[0], "--format", form, "--out", path)["logs"]]
    lines = [line for line in path.read_text().splitlines() if "ConsentRe" in line or '"vcon"' in line]
    notes = [re.findall(r"(?:value|checkpoint)\":\"ivr-consent/([0-9a-f]+)\\n", line) for line in lines]
    assert len(notes) == 4
    assert [set(found) for found in notes] == [{logs[0]}, {logs[0]}, {logs[1]}, {logs[1]}]


def test_one_call_of_another_server(servers: list[Path]) -> None:
    result = run("--config", servers[0], "log", "export", "--format", "csv", "--call", "b1")
    assert [row["call"][:2] for row in csv.DictReader(io.StringIO(result.stdout))] == ["b1"]
    assert run("--config", servers[0], "log", "export", "--format", "csv", "--call", "c").exit_code == 1


def test_a_bundle_is_of_one_server(servers: list[Path], tmp_path: Path) -> None:
    result = run("--config", servers[0], "log", "export", "--format", "jsonl")
    assert result.exit_code == 1
    assert "--server NAME, of pbx1, pbx2" in result.stderr
    path = tmp_path / "out.jsonl"
    assert told(servers[0], "--format", "jsonl", "--server", "pbx1", "--out", path)["calls"] == 2
    key = verifier.PublicKey.parse(place_of(load(servers[0])).sealing_key().public_path.read_text().strip())
    assert verifier.verify(path, [key], good=good).status in (0, verifier.INCOMPLETE)


# --- the report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "begin"), [("report.html", b"<!DOCTYPE html>"), ("report.PDF", b"%PDF-")])
def test_a_report(site: SmallSite, tmp_path: Path, name: str, begin: bytes) -> None:
    path = tmp_path / name
    code, document = run_json("--config", site.config, "log", "report", "--out", path, "--line", "support")
    assert code == 0
    assert (document["calls"], document["verified"]) == (10, True)
    assert path.read_bytes().startswith(begin)
    assert events(site, "exported") == []  # it tells of nobody


def test_a_report_of_some_days(site: SmallSite, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    words = ("--since", "2026-03-03", "--until", "2026-03-31", "--no-verify", "--out", path)
    code, document = run_json("--config", site.config, "log", "report", *words)
    assert (code, document["calls"], document["verified"]) == (0, 1, None)
    text = path.read_text()
    assert "<dd>2026-03-03 00:00 to 2026-04-01 00:00, UTC</dd>" in text
    assert "not done for this report" in text


def test_a_report_has_a_form_by_its_name(site: SmallSite, tmp_path: Path) -> None:
    result = run("--config", site.config, "log", "report", "--out", tmp_path / "report.docx")
    assert result.exit_code == 2
    assert ".pdf" in result.stderr


def test_a_report_without_its_packages_says_what_to_install(
    site: SmallSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ConsentError(plots.MISSING)

    monkeypatch.setattr(plots, "check", missing)
    result = run("--config", site.config, "log", "report", "--out", tmp_path / "report.pdf")
    assert result.exit_code == 1
    assert "pip install 'ivr-consent[report]'" in result.stderr
    assert not (tmp_path / "report.pdf").exists()
