"""ivr-consent log list, show, stats: what stands in the log, whoever wrote it, shown as it comes and without harm."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from ivr_consent.cli import rows
from ivr_consent.cli.terminal import Exit
from ivr_consent.config import load
from ivr_consent.pseudonyms import read_pseudonyms
from ivr_consent.store import place as store
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.personal import joined
from ivr_consent.store.search import Search, Wanted
from ivr_consent.testing.plans import call_context
from tests.cli.support import Place, run, run_json
from tests.store.test_reader import decision
from tests.store.written import append, entry, overwrite, prune, raw

HOSTILE = "evil\x1b]0;owned\x07\x1b[2J\r\nfake  line\u202e\x9b31m\x7f"
LIST, SHOW, TAIL, STATS = ("log", "list"), ("log", "show"), ("log", "tail"), ("log", "stats")


@pytest.fixture
def called(ready: Place) -> Place:
    """A log with a yes and a no."""
    for keys in ("1", "2"):
        assert run("--config", ready.config, "call", "support", "--keys", keys).exit_code == 0
    return ready


def asked(place: Place, *words: str) -> Any:
    """What a verb answers with --json; it must go well."""
    code, document = run_json("--config", place.config, *words)
    assert code == 0, document
    return document


def is_harmless(printed: str) -> bool:
    """Nothing in it moves a cursor, changes a title or begins a line of its own."""
    plain = all(character == "\n" or character.isprintable() for character in printed)
    return plain and not any(line.strip().startswith("fake  line") for line in printed.splitlines())


# --- list ------------------------------------------------------------------------------------------------------------


def test_lists_newest_first_with_what_happened(called: Place) -> None:
    """R7: every outcome is there, positively."""
    calls = asked(called, *LIST)["calls"]
    assert [call["decision"]["outcome"] for call in calls] == ["declined", "granted"]
    assert [call["route"] for call in calls] == ["unrecorded", "recorded"]
    table = run("--config", called.config, *LIST).stdout
    assert [word for word in table.split() if word in ("declined", "granted")] == ["declined", "granted"]
    assert "no_key" in table
    assert "simulated" in table


def test_can_be_narrowed(called: Place) -> None:
    newest = asked(called, *LIST)["calls"][0]["decision"]
    day = newest["time"][:10]

    def found(*options: str) -> int:
        return len(asked(called, *LIST, *options)["calls"])

    assert found("--outcome", "granted") == 1
    assert found("--limit", "1") == 1
    assert found("--limit", "0") == 2
    assert found("--line", "support") == 2
    assert found("--line", "other") == 0
    assert found("--since", "2000-01-01") == 2
    assert found("--since", "2999-01-01T10:30") == 0
    assert found("--until", "2000-01-01") == 0
    assert found("--until", "2999-01-01 10:30:00+02:00") == 2
    assert found("--language", "en") == 2
    assert found("--language", "da") == 0
    assert found("--notice", "recording") == 2
    assert found("--version", "1", "--outcome", "declined") == 1
    assert found("--version", "2") == 0
    assert found("--purpose", "training") == 1
    assert found("--agent", "anna") == 0
    assert found("--day", "2000-01-01") == 0
    assert found("--day", day) + found("--until", f"{day}T00:00") == 2
    none = run("--config", called.config, *LIST, "--line", "other")
    assert "no decision in the log fits" in none.stdout


@pytest.mark.parametrize(
    "options",
    [
        ("--day", "2026-02-30"),
        ("--day", "2026-01-31T10:00"),
        ("--day", "2026-01-31", "--since", "2026-01-01"),
        ("--since", "yesterday"),
        ("--since", "2026-W05-1"),
        ("--until", "9999-12-31"),
        ("--limit", "-1"),
    ],
)
def test_a_filter_that_is_none_is_told(place: Place, options: tuple[str, ...]) -> None:
    code, document = run_json("--config", place.config, *LIST, *options)
    assert code == Exit.USAGE
    assert options[0].removeprefix("--") in document["error"]["message"]


def test_the_call_of_an_agent(place: Place) -> None:
    """An agent is personal: known beside the chain, and found until it is erased."""
    for number, agent in enumerate(("anna", "bo")):
        call_id = f"{number}" * 32
        append(place.log, [entry("decision", call_id, "support", {"outcome": "granted", "reason": "yes_key"})])
        append(place.log, [entry("routed", call_id, "support", {"agent": agent, "route": "recorded"})])
    (call,) = asked(place, *LIST, "--agent", "anna")["calls"]
    assert call["call_id"] == "0" * 32
    assert [event["kind"] for event in asked(place, *LIST, "--agent", "anna", "--events")["events"]] == ["routed"]
    assert asked(place, *LIST, "--agent", "anna", "--outcome", "declined")["calls"] == []


def test_the_call_with_a_reference_code(place: Place) -> None:
    """The log holds a keyed hash of the code alone."""
    pseudonyms = read_pseudonyms(load(place.config))
    code = pseudonyms.reference_code("1" * 32, pseudonyms.period())
    ref = pseudonyms.reference_ref(code, pseudonyms.period())
    append(
        place.log,
        [
            entry("decision", "1" * 32, "support", {"outcome": "granted", "reference_ref": ref}),
            entry("decision", "2" * 32, "support", {"outcome": "granted"}),
        ],
    )
    (call,) = asked(place, *LIST, "--reference", f"{code[:5]} {code[5:]}")["calls"]
    assert call["call_id"] == asked(place, *SHOW, "--reference", code)["call_id"] == "1" * 32
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    for words in (LIST, SHOW):
        assert "wrong digit" in run("--config", place.config, *words, "--reference", wrong).stderr
    other = pseudonyms.reference_code("3" * 32, pseudonyms.period())
    assert asked(place, *LIST, "--reference", other)["calls"] == []
    assert run("--config", place.config, *SHOW, "--reference", other).exit_code == Exit.PROBLEMS
    append(place.log, [entry("decision", "4" * 32, "support", {"outcome": "granted", "reference_ref": ref})])
    shared = run("--config", place.config, *SHOW, "--reference", code)
    assert shared.exit_code == Exit.PROBLEMS
    assert "1" * 32 in shared.stderr
    assert "4" * 32 in shared.stderr


def test_events_of_every_kind(called: Place) -> None:
    events = asked(called, *LIST, "--events", "--limit", "0")["events"]
    assert [event["sequence"] for event in events] == list(range(len(events), 0, -1))
    assert events[-1]["kind"] == "log_created"
    assert events[-1]["call_id"] is None
    kinds = {event["kind"] for event in events}
    assert {"asked", "decision", "recording_confirmed"} <= kinds
    for kind in kinds:
        of_kind = asked(called, *LIST, "--kind", kind)["events"]
        assert of_kind == [event for event in events if event["kind"] == kind]
    table = run("--config", called.config, *LIST, "--events").stdout
    assert "log_created" in table
    assert "no event in the log fits" in run("--config", called.config, *LIST, "--kind", "none").stdout


def test_json_lines_are_one_object_each(called: Place) -> None:
    whole = asked(called, *LIST)["calls"]
    lines = run("--config", called.config, *LIST, "--json-lines").stdout.splitlines()
    assert [json.loads(line) for line in lines] == whole
    assert run("--config", called.config, *LIST, "--json-lines", "--line", "other").stdout == ""


@pytest.mark.parametrize("options", [(), ("--json",), ("--json-lines",), ("--events",)], ids=str)
def test_the_first_row_is_printed_before_the_last_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    append(place.log, [entry("decision", f"{n:032x}", "support", {"outcome": "failed"}) for n in range(500)])
    real, seen = Search._all, []

    def watched(search: Search, table: str, wanted: Wanted) -> Iterator[int]:
        for number, sequence in enumerate(real(search, table, wanted)):
            if number == 100:
                assert isinstance(sys.stdout, io.TextIOWrapper)
                buffer = sys.stdout.buffer
                assert isinstance(buffer, io.BytesIO)
                seen.append(buffer.getvalue().decode())
            yield sequence

    monkeypatch.setattr(Search, "_all", watched)
    printed = run("--config", place.config, *LIST, "--limit", "0", *options).stdout
    assert printed.count("failed") >= 500
    assert "failed" in seen[0]
    assert seen[0].count("failed") < 200


def test_an_empty_log_is_said_to_be_empty(place: Place) -> None:
    assert "no decision in the log yet" in run("--config", place.config, *LIST).stdout
    assert run_json("--config", place.config, *LIST) == (0, {"ok": True, "calls": []})
    assert "no decision in the log yet" in run("--config", place.config, *STATS).stdout
    assert asked(place, *STATS)["rows"] == []


# --- show ------------------------------------------------------------------------------------------------------------


def test_shows_the_evidence_of_a_call_by_a_beginning_of_its_id(called: Place) -> None:
    """R22: which notice, how much of it, the question, the key, the time."""
    call = asked(called, *LIST, "--outcome", "granted")["calls"][0]
    text = run("--config", called.config, *SHOW, call["call_id"][:10]).stdout
    for wanted in (call["call_id"], "granted (yes_key)", "notice recording version 1 in 'en'", "training-question"):
        assert wanted in text
    assert "asked for training: granted, key 1, pressed 1000 ms after the question" in text
    assert text.index("asked before:") < text.index("afterwards:") < text.index("recording_confirmed")
    document = asked(called, *SHOW, call["call_id"])
    payload = document["decision"]["payload"]
    assert payload == call["decision"]["payload"]
    assert [event["kind"] for event in document["before"]] == ["asked"]
    with closing(sqlite3.connect(called.log)) as connection:
        query = "SELECT payload, p.data FROM events LEFT JOIN personal AS p USING (sequence) WHERE kind = 'decision'"
        chained = [(json.loads(raw), json.loads(data)) for raw, data in connection.execute(query)]
    chain, beside = next(found for found in chained if found[0]["outcome"] == "granted")
    assert payload == joined(chain, beside)


def test_shows_by_what_the_events_are_held(place: Place) -> None:
    """Leaf, personal data, checkpoint and anchors of each event; and what is not sealed yet."""
    log = Ledger(store.Place(place.log))
    log.decide_now(decision(call=call_context("1" * 32, subject_ref="2026Q1-" + "a" * 32)))
    assert log.seal() is not None
    log.note_now("1" * 32, "support", "recording_confirmed", {"handle": "0x1"})
    log.close()
    sealed, open_ = asked(place, *SHOW, "1")["proof"]
    assert (sealed["personal"], open_["personal"]) == ("kept", "none")
    assert sealed["checkpoint"]["size"] == sealed["sequence"]
    assert open_["checkpoint"] is None
    assert len(sealed["leaf"]) == 64
    text = run("--config", place.config, *SHOW, "1").stdout
    assert sealed["leaf"] in text
    assert f"checkpoint {sealed['sequence']}: signed " in text
    assert "not sealed yet" in text
    assert "no checkpoint from there on was shown outside" in text
    with closing(sqlite3.connect(place.log)) as connection:
        connection.execute(
            "INSERT INTO anchors VALUES (?, 'journal', '2026-03-02T00:00:00.000+00:00', NULL)", (sealed["sequence"],)
        )
        connection.commit()
    assert asked(place, *SHOW, "1")["proof"][0]["anchors"] == [
        {"size": sealed["sequence"], "place": "journal", "time": "2026-03-02T00:00:00.000+00:00"}
    ]
    assert "shown to journal 2026-03-02 00:00:00 UTC" in run("--config", place.config, *SHOW, "1").stdout


def test_shows_what_was_erased_as_erased(place: Place) -> None:
    """R24: the evidence stays, the caller is gone."""
    payload = {"outcome": "granted", "call": {"subject_ref": "2026Q1-abc", "channel_uniqueid": "17.4"}}
    append(place.log, [entry("decision", "1" * 32, "support", payload)])
    assert "2026Q1-abc" in run("--config", place.config, *SHOW, "1").stdout
    with closing(sqlite3.connect(place.log)) as connection:
        connection.execute("DELETE FROM personal")
        connection.commit()
    text = run("--config", place.config, *SHOW, "1").stdout
    assert "caller:      erased" in text
    assert "channel erased" in text
    assert "2026Q1-abc" not in text
    document = asked(place, *SHOW, "1")
    assert document["decision"]["erased"] is True
    assert document["proof"][0]["personal"] == "erased"


def test_shows_one_event(place: Place) -> None:
    append(place.log, [entry("server_started", None, None, {"version": "1"}), entry("asked", "1" * 32, "support", {})])
    newest = asked(place, *LIST, "--events")["events"]
    sequence = newest[1]["sequence"]
    document = asked(place, *SHOW, "--event", str(sequence))
    assert [event["kind"] for event in document["events"]] == ["server_started"]
    assert document["proof"][0]["sequence"] == sequence
    assert "server_started  version 1" in run("--config", place.config, *SHOW, "--event", str(sequence)).stdout
    undecided = run("--config", place.config, *SHOW, "1").stdout
    assert "call " + "1" * 32 + " has no decision in the log" in undecided
    prune(store.Place(place.log), [sequence])
    gone = asked(place, *SHOW, "--event", str(sequence))
    assert (gone["events"], gone["proof"][0]["pruned"]) == ([], True)
    assert "was pruned" in run("--config", place.config, *SHOW, "--event", str(sequence)).stdout
    assert "there is no event 999 yet" in run("--config", place.config, *SHOW, "--event", "999").stderr
    with closing(sqlite3.connect(place.log)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DELETE FROM pruned")
        connection.commit()
    missing = run("--config", place.config, *SHOW, "--event", str(sequence))
    assert missing.exit_code == Exit.PROBLEMS
    assert f"event {sequence} is missing, and was not pruned" in missing.stderr
    with closing(sqlite3.connect(place.log)) as connection:
        connection.execute("UPDATE log SET trunk_size = ?", (sequence,))
        connection.commit()
    assert "oldest events are gone" in run("--config", place.config, *SHOW, "--event", str(sequence)).stderr


def test_a_decision_that_somebody_wrote_past_us_is_shown_all_the_same(place: Place) -> None:
    append(place.log, [raw(b'{"reason":"yes_key"}', "1" * 32, outcome="granted")])
    with closing(sqlite3.connect(place.log)) as connection:
        connection.execute("DELETE FROM decisions")
        connection.commit()
    assert asked(place, *SHOW, "1")["decision"]["outcome"] == "granted"


def test_an_id_that_is_none_is_told(called: Place) -> None:
    result = run("--config", called.config, *SHOW, "zzz")
    assert result.exit_code == 1
    assert "ivr-consent log list" in result.stderr
    assert run_json("--config", called.config, *SHOW, "")[0] == 1


@pytest.mark.parametrize("words", [(), ("1", "--event", "1"), ("--event", "1", "--reference", "1"), ("--event", "0")])
def test_one_thing_is_shown(called: Place, words: tuple[str, ...]) -> None:
    assert run_json("--config", called.config, *SHOW, *words)[0] == Exit.USAGE


# --- stats -----------------------------------------------------------------------------------------------------------


def test_counts_with_shares_and_the_rate_of_grants(place: Place) -> None:
    made = [("support", "granted"), ("support", "granted"), ("support", "declined"), ("sales", "failed")]
    for number, (line, outcome) in enumerate(made):
        notice = {"id": "recording", "version": 2, "language": "da"} if outcome != "failed" else None
        payload = {"outcome": outcome, "notice": notice}
        append(
            place.log, [entry("decision", f"{number}" * 32, line, payload)], f"2026-03-0{number + 1}T10:00:00.000+00:00"
        )
    by_line = asked(place, *STATS, "--by", "line")
    assert by_line["total"]["decisions"] == 4
    assert [(row["line"], row["decisions"], row["share"], row["grant_rate"]) for row in by_line["rows"]] == [
        ("support", 3, 0.75, 0.6667),
        ("sales", 1, 0.25, 0.0),
    ]
    assert by_line["rows"][0]["outcomes"]["declined"] == 1
    assert by_line["rows"][0]["outcomes"]["abandoned"] == 0
    days = [row["day"] for row in asked(place, *STATS, "--by", "day", "--since", "2026-03-02")["rows"]]
    assert days == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert [row["week"] for row in asked(place, *STATS, "--by", "week")["rows"]] == ["2026-W09", "2026-W10"]
    assert [row["version"] for row in asked(place, *STATS, "--by", "version")["rows"]] == ["support 2", "sales none"]
    table = run("--config", place.config, *STATS, "--by", "line").stdout.splitlines()
    assert [line.split()[:3] for line in table[1:]] == [
        ["support", "3", "75.0%"],
        ["sales", "1", "25.0%"],
        ["all", "4", "100.0%"],
    ]
    assert "no decision in the log fits" in run("--config", place.config, *STATS, "--line", "none").stdout
    assert run_json("--config", place.config, *STATS, "--by", "agent")[0] == Exit.USAGE


# --- what somebody else wrote ----------------------------------------------------------------------------------------

WAYS: tuple[tuple[str, ...], ...] = (
    LIST,
    (*LIST, "--events"),
    (*LIST, "--json"),
    (*LIST, "--json-lines"),
    (*SHOW, "aa"),
    (*SHOW, "aa", "--json"),
    (*TAIL,),
    (*TAIL, "--json-lines"),
    (*STATS, "--by", "line"),
    (*STATS, "--by", "line", "--json"),
)


@pytest.mark.parametrize(
    "payload",
    [
        {
            "reason": HOSTILE,
            "call": {"switch": HOSTILE},
            "notice": {"language": HOSTILE},
            "answers": [{"key": HOSTILE}],
        },
        {"call": [], "notice": "x", "answers": {"a": 1}, "purposes_granted": 7},
        {"notice": {"segments": [HOSTILE, {"id": HOSTILE, "elements": [HOSTILE], "audio_sha256": HOSTILE}]}},
        {HOSTILE: HOSTILE * 1000, "reason": "x" * 100_000},
        {},
    ],
)
def test_hostile_content_is_shown_escaped(place: Place, payload: object) -> None:
    """I6: a row that somebody wrote past us moves no cursor, changes no title, and fakes no line."""
    append(place.log, [raw(json.dumps(payload).encode(), "a" * 32, HOSTILE, HOSTILE)], HOSTILE)
    for words in WAYS:
        result = run("--config", place.config, *words)
        assert result.exit_code == 0, words
        assert is_harmless(result.stdout + result.stderr), words
        if "--json" not in words and "--json-lines" not in words:
            assert len(result.stdout) < 20_000, words
    assert "evil\\x1b]0;owned\\x07" in run("--config", place.config, *SHOW, "aa").stdout


@pytest.mark.parametrize("payload", [b"evil\x1b[2J", b'{"a":' + b"[" * 100_000, b"null", b'{"a":"' + b"x" * (5 << 20)])
def test_an_event_that_is_not_ours_is_named_and_the_others_are_shown(place: Place, payload: bytes) -> None:
    """No traceback, the event's number, and an exit code that says that the log is not usable."""
    append(place.log, [raw(b'{"reason":"yes_key"}', "b" * 32, outcome="granted"), raw(payload, "a" * 32)])
    sequence = asked(place, *LIST, "--kind", "log_created")["events"][0]["sequence"] + 2
    for words in WAYS:
        result = run("--config", place.config, *words)
        printed = result.stdout + result.stderr
        assert is_harmless(printed), words
        if words[1] == "stats":
            continue
        assert result.exit_code == Exit.LOG, words
        assert f"event {sequence} of the log was not written by ivr-consent" in printed, words
        if words[1] != "show":
            assert "yes_key" in result.stdout, words
    code, document = run_json("--config", place.config, *LIST)
    assert (code, document["exit"], len(document["calls"])) == (Exit.LOG, Exit.LOG, 2)
    assert "problem" in document["calls"][0]["decision"]


@pytest.mark.parametrize(
    "value", [None, 7, 1.5, b"\xff\x1b[2J", HOSTILE], ids=["null", "int", "float", "bytes", "text"]
)
@pytest.mark.parametrize("column", ["time", "kind", "call_id", "line", "outcome", "payload", "commitment", "previous"])
def test_columns_of_other_types(place: Place, column: str, value: object) -> None:
    append(place.log, [raw(b'{"reason":"yes_key"}', "b" * 32), raw(b"{}", "a" * 32)])
    sequence = asked(place, *LIST, "--kind", "log_created")["events"][0]["sequence"] + 2
    overwrite(place.log, f"{column} = ?", [value], sequence)
    for words in (*WAYS, (*SHOW, "--event", str(sequence))):
        result = run("--config", place.config, *words)
        printed = result.stdout + result.stderr
        assert result.exit_code in (0, Exit.PROBLEMS, Exit.LOG), words
        assert is_harmless(printed), words
        assert result.exit_code == 0 or f"event {sequence} " in printed or words[:2] == SHOW, words


def test_a_log_that_breaks_in_the_middle_ends_the_object(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed is whole, and says that not all of it is there."""
    append(place.log, [entry("decision", f"{n:032x}", "support", {"outcome": "failed"}) for n in range(5)])

    def broken(search: Search, table: str, wanted: Wanted) -> Iterator[int]:
        yield 3
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Search, "_all", broken)
    code, document = run_json("--config", place.config, *LIST)
    assert (code, len(document["calls"])) == (Exit.LOG, 1)
    assert "newest copy" in document["error"]["message"]
    result = run("--config", place.config, *LIST)
    assert result.exit_code == Exit.LOG
    assert "newest copy" in result.stderr


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_long_cell_is_cut_and_a_wide_letter_takes_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    table = rows.Rows([rows.Column("one", 4), rows.Column("two", 3), rows.Column("n", 4, number=True)], {})
    table.add(["中", "x" * 1000, 7])
    table.add(["a", "\x1b" * 1000, 12])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "one   two     n"
    assert first.startswith("中    " + "x" * rows.MAX_CELL + "...")
    assert len(first) < 100
    assert second.startswith("a     \\x1b")
    assert len(second) < 150
    assert second.endswith("  12")
