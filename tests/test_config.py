"""The configuration: what is right is read, what is wrong is named by key, with what is allowed and what to do."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import tomlkit

from ivr_consent.config import MAX_FILE_BYTES, Keys, Line, Settings, load, parse
from ivr_consent.core.errors import ConfigurationError, Problem
from ivr_consent.toml_lines import TomlLines

GOOD = """
[facts.default]
controller = "the Example Company"

[lines.support]
"""


FILE = "/etc/ivr-consent.toml"


def settings(text: str) -> Settings:
    return parse(tomllib.loads(text), Path(FILE), "00", TomlLines(text).line)


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as refused:
        settings(text)
    return refused.value.problems


# --- what is right ----------------------------------------------------------------------------------------------------


def test_defaults_are_safe() -> None:
    """R2, R3: one language, one purpose, loopback, keys that are neither 0 nor #."""
    found = settings(GOOD)
    line = found.lines["support"]
    assert (line.languages, line.purposes, line.retention_days) == (["en"], ["training"], 30)
    assert (line.timeout_seconds, line.repeats, line.guard_ms) == (8, 2, 800)
    assert (line.keys.yes, line.keys.no) == ("1", "2")
    assert (found.server.listen, found.server.allow) == ("127.0.0.1", ["127.0.0.1/32", "::1/128"])
    assert found.manager is None


def test_load_reads_a_file(tmp_path: Path) -> None:
    """R22: the digest is of the file's bytes."""
    path = tmp_path / "ivr-consent.toml"
    path.write_text(GOOD)
    found = load(path)
    assert found.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert found.path(found.log.path) == tmp_path / "decisions.db"
    assert found.path(Path("/var/x")) == Path("/var/x")


def test_keys_may_be_numbers() -> None:
    assert settings(GOOD + "keys = { yes = 7, no = 9 }").lines["support"].keys == Keys(yes="7", no="9")


def test_both_destinations() -> None:
    found = settings(GOOD + 'recorded = "queues,support,1"\nunrecorded = "queues,support-unrecorded,start"')
    assert found.lines["support"].unrecorded == "queues,support-unrecorded,start"


def test_facts_of_the_line_go_before_those_of_the_site() -> None:
    found = settings(
        '[facts.default]\ncontroller = "A"\nauthority = "B"\nrecipients = "C"\n[facts.da]\nauthority = "D"\n'
        "[lines.x]\nretention_days = 14\n"
        '[lines.x.facts.default]\nrecipients = "E"\n[lines.x.facts.da]\ncontroller = "F"'
    )
    facts = found.facts_for(found.lines["x"], "da")
    assert (facts["controller"], facts["authority"], facts["recipients"]) == ("F", "D", "E")
    assert found.facts_for(found.lines["x"], "sv")["controller"] == "A"
    assert (facts["retention_days"], facts["key_yes"], facts["key_language"]) == ("14", "1", "5")
    assert "web_address" not in facts


def test_what_chooses_the_language() -> None:
    """Without the table it is the channel's language, as long as the line speaks it, else the line's first."""
    rules = settings(GOOD).lines["support"].language_by
    assert (rules.order, rules.header, rules.dialled, rules.countries) == (["channel", "first"], None, {}, {})
    found = settings(
        GOOD + 'languages = ["da", "sv"]\n[lines.support.language_by]\norder = ["dialled", "country", "header"]\n'
        'dialled = { "+45 70 10 20 30" = "da", "004631123456" = "sv" }\n'
        'countries = { "0045" = "da", "+46" = "sv" }\nown_country = "+45"\nheader = "X-Language"'
    )
    rules = found.lines["support"].language_by
    assert rules.dialled == {"4570102030": "da", "4631123456": "sv"}
    assert rules.countries == {"45": "da", "46": "sv"}
    assert (rules.own_country, rules.header) == ("45", "X-Language")
    again = settings(tomlkit.dumps({"lines": {"support": found.lines["support"].model_dump(exclude_none=True)}}))
    assert again.lines["support"] == found.lines["support"], "normalised once is normalised"


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings(GOOD).lines["support"].retention_days = 60  # type: ignore[misc]  # that is what is tested


# --- what is wrong ----------------------------------------------------------------------------------------------------

S = "[lines.support]\n"
L = S + "languages = ['da', 'sv']\n[lines.support.language_by]\n"
WRONG: list[tuple[str, str, str, str, str]] = [
    # what, text, key, found, allowed or remedy
    ("no lines", "", "lines", "missing", "add it"),
    ("empty lines", "[lines]", "lines", "{}", "at least 1"),
    ("unknown table", S + "[sever]\nport = 1", "sever", "unknown key", "server, manager, event_socket, log"),
    ("unknown key of a line", S + "retention = 30", "lines.support.retention", "unknown key", "retention_days"),
    ("unknown key of the server", S + "[server]\nhost = ''", "server.host", "unknown key", "listen, port"),
    ("unknown key of keys", S + "keys = { ja = '1' }", "lines.support.keys.ja", "unknown key", "yes, no"),
    ("unknown fact", S + "[facts.default]\nboss = 'x'", "facts.default.boss", "unknown key", "controller"),
    ("reserved source", S + "[source]", "source", "unknown key", "remove"),
    ("reserved digest", "sha256 = 'x'\n" + S, "sha256", "unknown key", "remove"),
    ("name of a line", '[lines."a b"]', "lines", "'a b'", "letters, digits"),
    ("name of a line with a path", '[lines."../x"]', "lines", "'../x'", "letters, digits"),
    ("name of a line too long", f"[lines.{'a' * 41}]", "lines", "aaa", "letters, digits"),
    ("key 0", S + "keys = { yes = '0' }", "lines.support.keys.yes", "'0'", "neither 0 nor #"),
    ("key #", S + "keys = { no = '#' }", "lines.support.keys.no", "'#'", "neither 0 nor #"),
    ("two digits", S + "keys = { no = 12 }", "lines.support.keys.no", "12", "neither 0 nor #"),
    ("true as key", S + "keys = { no = true }", "lines.support.keys.no", "True", "string"),
    ("one key for two things", S + "keys = { yes = '2' }", "lines.support.keys", "two things", "a key of its own"),
    ("no languages", S + "languages = []", "lines.support.languages", "[]", "at least 1"),
    ("too many languages", S + f"languages = {['en'] * 21}", "lines.support.languages", "'en'", "at most 20"),
    ("a language by name", S + "languages = ['english please']", "lines.support.languages", "english", '"da"'),
    ("a language twice", S + "languages = ['da', 'da']", "lines.support.languages", "twice", "once"),
    ("an unknown source", L + "order = ['moon']", "lines.support.language_by.order[1]", "'moon'", "'country'"),
    ("no source", L + "order = []", "lines.support.language_by.order", "[]", "at least 1"),
    ("a source twice", L + "order = ['first', 'first']", "lines.support.language_by.order", "twice", "once"),
    ("behind first", L + "order = ['first', 'channel']", "lines.support.language_by.order", "always", "put it last"),
    ("no numbers", L + "order = ['dialled']", "lines.support.language_by", "dialled is not given", "give dialled"),
    (
        "no countries",
        L + "order = ['country']",
        "lines.support.language_by",
        "countries is not given",
        "give countries",
    ),
    ("no header", L + "order = ['header']", "lines.support.language_by", "header is not given", 'take "header" out'),
    ("numbers unused", L + "dialled = { '1' = 'da' }", "lines.support.language_by", "dialled is given", "in order"),
    ("countries unused", L + "countries = { '1' = 'da' }", "lines.support.language_by", "countries is", "in order"),
    ("header unused", L + "header = 'X-Language'", "lines.support.language_by", "header is given", "or remove header"),
    ("an unknown key of it", L + "headers = 'x'", "lines.support.language_by.headers", "unknown key", "own_country"),
    ("a header with a bracket", L + "header = 'X)'", "lines.support.language_by.header", "'X)'", "hyphens"),
    ("a header with a comma", L + "header = 'X,1'", "lines.support.language_by.header", "'X,1'", "hyphens"),
    ("a header of expressions", L + "header = '${X}'", "lines.support.language_by.header", "'${X}'", "hyphens"),
    ("a header with a line break", L + 'header = "X\\n"', "lines.support.language_by.header", "X", "hyphens"),
    ("a long header", L + f"header = '{'X' * 65}'", "lines.support.language_by.header", "XXX", "hyphens"),
    ("no header's name", L + "header = ''", "lines.support.language_by.header", "''", "hyphens"),
    ("dialled letters", L + "dialled = { 'x' = 'da' }", "lines.support.language_by.dialled", "'x'", "as dialled"),
    (
        "dialled twice",
        L + "dialled = { '+451' = 'da', '00451' = 'sv' }",
        "lines.support.language_by.dialled",
        "'00451' stands twice",
        "once",
    ),
    ("no country", L + "countries = { '0' = 'da' }", "lines.support.language_by.countries", "'0'", '"+45"'),
    ("a country's name", L + "countries = { 'dk' = 'da' }", "lines.support.language_by.countries", "'dk'", '"+45"'),
    ("own country's name", L + "own_country = 'dk'", "lines.support.language_by.own_country", "'dk'", '"+45"'),
    (
        "a language that the line does not speak, by number",
        L + "order = ['dialled']\ndialled = { '+4570102030' = 'de' }",
        "lines.support",
        "language_by.dialled has 'de'",
        "add it to languages",
    ),
    (
        "a language that the line does not speak, by country",
        L + "order = ['country']\ncountries = { '+49' = 'de' }",
        "lines.support",
        "language_by.countries has 'de' for 49",
        "name one of: da, sv",
    ),
    ("no purposes", S + "purposes = []", "lines.support.purposes", "[]", "at least 1"),
    ("a purpose with capitals", S + "purposes = ['Training']", "lines.support.purposes", "Training", "[[purposes]]"),
    ("a purpose twice", S + "purposes = ['a', 'a']", "lines.support.purposes", "twice", "once"),
    ("purposes as text", S + "purposes = 'training'", "lines.support.purposes", "'training'", "list"),
    ("notice as path", S + "notice = '../x'", "lines.support.notice", "'../x'", "without .toml"),
    ("retention 0", S + "retention_days = 0", "lines.support.retention_days", "0", "greater than or equal to 1"),
    ("retention for ever", S + "retention_days = 99999", "lines.support.retention_days", "99999", "3650"),
    ("retention as text", S + "retention_days = '30'", "lines.support.retention_days", "'30'", "integer"),
    ("retention a fraction", S + "retention_days = 30.0", "lines.support.retention_days", "30.0", "integer"),
    ("timeout too short", S + "timeout_seconds = 2", "lines.support.timeout_seconds", "2", "3"),
    ("timeout too long", S + "timeout_seconds = 31", "lines.support.timeout_seconds", "31", "30"),
    ("repeats below zero", S + "repeats = -1", "lines.support.repeats", "-1", "0"),
    ("repeats without end", S + "repeats = 6", "lines.support.repeats", "6", "5"),
    ("guard too short", S + "guard_ms = 100", "lines.support.guard_ms", "100", "300"),
    ("one destination", S + "recorded = 'a,b,1'", "lines.support", "only one destination", "both"),
    (
        "the same destination",
        S + "recorded = 'a,b,1'\nunrecorded = 'a,b,1'",
        "lines.support",
        "the same place",
        "a place of its own",
    ),
    ("half a destination", S + "recorded = 'a,b'", "lines.support.recorded", "'a,b'", "queues,support,1"),
    (
        "a destination with a variable",
        S + "recorded = 'a,${EXTEN},1'",
        "lines.support.recorded",
        "EXTEN",
        "queues,support,1",
    ),
    ("a second line in a destination", S + 'recorded = "a,b,1\\n"', "lines.support.recorded", "a,b,1", "queues"),
    ("port 0", S + "[server]\nport = 0", "server.port", "0", "1"),
    ("a name to listen on", S + "[server]\nlisten = 'localhost'", "server.listen", "'localhost'", "127.0.0.1"),
    ("no network", S + "[server]\nallow = ['x']", "server.allow", "'x'", "192.0.2.10/32"),
    ("everybody", S + "[server]\nallow = ['0.0.0.0/0']", "server.allow", "everyone", "switch's own address"),
    ("everybody by IPv6", S + "[server]\nallow = ['::/0']", "server.allow", "everyone", "switch's own address"),
    (
        "listens to the world, admits nobody",
        S + "[server]\nlisten = '0.0.0.0'",
        "server",
        "only loopback",
        "name the switch's address",
    ),
    ("user with a line break", S + '[manager]\nusername = "a\\nb"', "manager.username", "'a", "pattern"),
    ("tls as a word", S + "[manager]\ntls = 'yes'", "manager.tls", "'yes'", "boolean"),
    ("path a number", S + "[log]\npath = 1", "log.path", "1", "path"),
    ("facts of no language", S + "[facts.danish]\ncontroller = 'x'", "facts", "'danish'", "[facts.default]"),
    (
        "facts of a line in no language",
        "[lines.support.facts.danish]\ncontroller = 'x'",
        "lines.support.facts",
        "'danish'",
        "[lines.NAME.facts.default]",
    ),
    ("a brace in a fact", S + "[facts.da]\ncontroller = '{x}'", "facts.da.controller", "brace", "plain words"),
    (
        "a line break in a fact",
        S + '[facts.da]\ncontroller = "a\\nb"',
        "facts.da.controller",
        "control character",
        "plain words",
    ),
    ("an empty fact", S + "[facts.da]\ncontroller = ''", "facts.da.controller", "''", "at least 1"),
    ("another switch", "switch = 'cisco'\n" + S, "switch", "'cisco'", "'asterisk'"),
    ("speed of a voice", S + "[prompts.voices.da]\nspeed = 9", "prompts.voices.da.speed", "9", "80"),
    ("an empty command", S + "[prompts.voices.da]\ncommand = []", "prompts.voices.da.command", "[]", "at least 1"),
    ("a line that is a text", "[lines]\nsupport = 'x'", "lines.support", "'x'", "dictionary"),
]


@pytest.mark.parametrize(("text", "key", "found", "remedy"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_named(text: str, key: str, found: str, remedy: str) -> None:
    """File, line and key; what was found; what is allowed or to be done."""
    (problem,) = problems(text)
    where = re.fullmatch(rf"{FILE}(?::(\d+))?: {re.escape(key)}", problem.where)
    assert where is not None, problem.where
    names = [name for name in re.split(r"\.|\[\d+\]", key) if name]
    if where[1] is None:
        assert names[0] not in text, "nobody wrote it"
    else:
        assert names[-1] in text.splitlines()[int(where[1]) - 1]
    assert found in problem.found
    assert remedy in problem.remedy
    assert "\n" not in str(problem)
    assert "pydantic" not in str(problem)


def test_without_lines_the_key_alone_is_named() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse({"lines": {"x": {"repeats": 9}}}, Path(FILE), "")
    assert refused.value.problems[0].where == f"{FILE}: lines.x.repeats"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("\n\n[lines.a]\nretention_days = 0\n", "4: lines.a.retention_days"),
        ("[lines.a]\nx = 1\n[lines.b]\n\ny = 1\n", "2: lines.a.x"),
        ("[lines]\na = { keys = {\n yes = '0' } }\n".replace("\n yes", " yes"), "2: lines.a.keys.yes"),
        ("[lines.a]\nlanguages = [\n  'da',\n  1,\n]\n", "4: lines.a.languages[2]"),
        ("[lines.a]\nlanguages = [\n  'da',\n  'da',\n]\n", "2: lines.a.languages"),
        ("# x\n[lines.a]\n[lines.a.keys]\nyes = '2'\n", "3: lines.a.keys"),
        ("[lines.a]\nrecorded = 'a,b,1'\n", "1: lines.a"),
        ("[lines]\n", "1: lines"),
        ("\n[server]\nlisten = '0.0.0.0'\n[lines.a]\n", "2: server"),
        ("[lines.a]\n\n[source]\n", "3: source"),
        ("[lines.a]\n[recordings]\n# x\ndirectory = 'a b'\n", "4: recordings.directory"),
        ("[lines.a]\n'a b' = 1", "2: lines.a.'a b'"),
        ('[lines.a]\n"a\\nb" = 1', "2: lines.a.'a\\nb'"),
    ],
)
def test_the_line_is_named(text: str, where: str) -> None:
    assert problems(text)[0].where == f"{FILE}:{where}"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (S + "retention = 30", "retention_days"),
        (S + "langauges = ['da']", "languages"),
        (S + "keys = { repeats = '1' }", "repeat"),
        ("[line.support]\n[lines.x]\n", "lines"),
        ("[lines.keys]\nlangauges = ['da']", "languages"),  # a line may have the name of a field
        (S + "[lines.support.facts.da]\ncontroler = 'x'", "controller"),
        (S + "[prompts.voices.da]\nvoices = 'x'", "voice"),
        (S + "[prompts]\ndir = 'x'\n", None),
        (S + "zzz = 1", None),
    ],
)
def test_the_key_that_was_probably_meant_is_named(text: str, meant: str | None) -> None:
    (problem,) = problems(text)
    assert problem.found == "unknown key"
    if meant is None:
        assert problem.remedy.startswith("remove it, or correct its name; allowed here: ")
    else:
        assert problem.remedy.startswith(f"did you mean {meant}? allowed here: ")


def test_every_fault_is_told_at_once() -> None:
    found = problems(S + "retention_days = 0\nrepeats = 9\n[server]\nport = 0\n[sever]")
    assert len(found) == 4


def test_what_was_found_is_shown_without_control_characters() -> None:
    """I6: a terminal shows the problem, it does not obey it."""
    (problem,) = problems(S + 'languages = ["\\u001b[31m"]')
    assert problem.found.isprintable()


def test_what_was_found_is_shown_shortened() -> None:
    (problem,) = problems(S + f"notice = '{'A' * 500}'")
    assert len(problem.found) < 200


# --- files that cannot be read ----------------------------------------------------------------------------------------


def refused(path: Path) -> Problem:
    with pytest.raises(ConfigurationError) as error:
        load(path)
    (problem,) = error.value.problems
    assert str(path) in problem.where
    return problem


def test_no_file(tmp_path: Path) -> None:
    assert "ivr-consent init" in refused(tmp_path / "missing.toml").remedy


def test_a_directory(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path).found


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"[lines.a]\n# \xe6\n")
    problem = refused(path)
    assert problem.where == f"{path}:2"
    assert "not UTF-8 at byte 12" in problem.found
    assert "UTF-8" in problem.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[lines.a\n", ":1"),
        ("[lines.a]\n\nnotice = x\n", ":3"),
        ('[lines.a]\nnotice = """\n\n', ":2"),  # begun there, and never ended
        ("[lines.a]\n\nlanguages = [\n", ":3"),
        ("[lines.a]\n[lines.a]\n", ":2"),
        ("[lines.a]\nrepeats = " + "1" * 5000, ""),
        ("x = " + "[" * 100_000, ""),
    ],
    ids=["table", "value", "text", "list", "twice", "number", "brackets"],
)
def test_not_toml(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    problem = refused(path)
    assert problem.where == f"{path}{line}"
    assert problem.found.startswith("not TOML: ")
    assert str(problem).startswith(f"{path}{line}: ")


def test_a_file_names_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[lines.a]\n# x\nrepeats = 9\n")
    assert refused(path).where == f"{path}:3: lines.a.repeats"


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("#" * (MAX_FILE_BYTES + 1))
    assert "1 MiB" in refused(path).found


def test_every_key_of_a_line_is_documented_by_its_name() -> None:
    """The list of allowed keys in a problem is the whole list."""
    (problem,) = problems(S + "x = 1")
    assert all(name in problem.remedy for name in Line.model_fields)


# --- anchors ----------------------------------------------------------------------------------------------------------


def anchor(text: str) -> Problem:
    (found,) = problems(f"{text}\n[lines.support]\n")
    return found


def test_no_anchor_is_configured_by_default() -> None:
    chosen = settings(GOOD).log.anchors
    assert (chosen.file, chosen.journal, chosen.command, chosen.mail, chosen.timestamp) == (
        None,
        False,
        None,
        None,
        None,
    )


MAIL = '[log.anchors.mail]\nto = ["dpo@example.org"]\nsender = "pbx@example.org"\n'
STAMP = '[log.anchors.timestamp]\nca_file = "ca.pem"\n'


@pytest.mark.parametrize(
    ("text", "where", "told", "remedy"),
    [
        (
            '[log.anchors.mail]\nto = ["DPO <dpo@example.org>"]\nsender = "pbx@example.org"',
            f"{FILE}:2: log.anchors.mail.to",
            "is not an address of mail",
            "write for example dpo@example.org, without a name",
        ),
        (MAIL + 'username = "x"', f"{FILE}:1: log.anchors.mail", "belong together", "give both or neither"),
        (
            MAIL + 'host = "mail"\nusername = "x"\npassword_file = "y"\ntls = "none"',
            f"{FILE}:1: log.anchors.mail",
            "the password would be sent in clear",
            'use tls = "starttls" or "tls"',
        ),
        (
            MAIL + 'host = "a b"',
            f"{FILE}:4: log.anchors.mail.host",
            "not the name",
            "write for example mail.example.org",
        ),
        (
            STAMP + 'url = "tsa.example.org"',
            f"{FILE}:3: log.anchors.timestamp.url",
            "not an address of the web",
            "https://",
        ),
        (
            STAMP + 'url = "http://u:p@tsa.example.org/"',
            f"{FILE}:3: log.anchors.timestamp.url",
            "has a user",
            "path alone",
        ),
        (STAMP + 'url = "http://:80/"', f"{FILE}:3: log.anchors.timestamp.url", "names no machine", "https://"),
        (
            STAMP + 'url = "http://x.example:port/"',
            f"{FILE}:3: log.anchors.timestamp.url",
            "not an address",
            "https://",
        ),
        ("[log.anchors]\nfiles = 1", f"{FILE}:2: log.anchors.files", "unknown key", "did you mean file?"),
        ("[log.anchors.command]\nrun = []", f"{FILE}:2: log.anchors.command.run", "found []", "at least 1"),
    ],
)
def test_an_anchor_that_is_wrong_is_told_with_its_remedy(text: str, where: str, told: str, remedy: str) -> None:
    problem = anchor(text)
    assert problem.where == where
    assert told in problem.found
    assert remedy in problem.remedy


# --- a log in a database ----------------------------------------------------------------------------------------------


def in_a_database(line: str) -> Settings:
    return settings(f"{S}[log]\n{line}")


def test_a_log_in_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose it is, by default by the host's name; and what stays here, named by it."""
    found = in_a_database('url = "postgresql://u@db.example.org/log?sslmode=verify-full"\nserver = "pbx1"')
    assert found.log.server_name == "pbx1"
    assert found.log_file().name == "pbx1.pub"
    assert found.sealing_key() == found.source.parent / "pbx1.key"
    monkeypatch.setattr("socket.gethostname", lambda: "PBX-2.example.org")
    assert in_a_database('url = "postgresql:///log"').log.server_name == "pbx_2_example_org"
    for name in ("localhost", "", "-"):
        monkeypatch.setattr("socket.gethostname", lambda name=name: name)
        (problem,) = problems(S + '[log]\nurl = "postgresql:///log"')
        assert problem.remedy == 'name it yourself: server = "pbx1"'


@pytest.mark.parametrize(
    ("line", "found", "remedy"),
    [
        ('url = "postgresql://u:secret@h/d"', "holds a password", "password_file"),
        ('url = "postgresql://u:sec/secret@h/d"', "holds a password", "password_file"),
        ('url = "postgresql://u@h/d?password=secret"', "holds a password", "~/.pgpass"),
        ('url = "postgresql://u@h/d?sslpassword=secret"', "holds a password", "~/.pgpass"),
        ('url = ["postgresql://u:secret@h/d"]', "postgresql://***@h/d", "string"),
        ('url = { a = "postgresql://h/d?password=secret&x=1" }', "password=***&x=1", "string"),
        ('url = "mysql://h/secret"', "not that of a PostgreSQL database", "postgresql://"),
        ('url = "postgresql://[secret"', "not a URL", "postgresql://"),
        ('url = "postgresql://u@h/sec ret"', "not that of a PostgreSQL database", "postgresql://"),
        ('url = "postgresql:///d"\nserver = "PBX 1"', "'PBX 1'", "pattern"),
        (f'url = "postgresql:///d"\nserver = "{"x" * 41}"', "xxx", "pattern"),
        ('server = "pbx1"', "server is given and url is not", "give url"),
        ('password_file = "p"', "password_file is given and url is not", "give url"),
    ],
)
def test_a_database_that_is_wrong(line: str, found: str, remedy: str) -> None:
    """A password is nobody's business who reads a message."""
    (problem,) = problems(f"{S}[log]\n{line}")
    assert found in problem.found
    assert remedy in problem.remedy
    assert "secret" not in str(problem)
