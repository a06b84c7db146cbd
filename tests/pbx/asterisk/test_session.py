"""A session before the call is answered: what it asks of the switch to choose the language, and what it makes of it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest

from ivr_consent import config
from ivr_consent.core.decision import Decision
from ivr_consent.core.steps import Decide, Logged
from ivr_consent.pbx.asterisk import channel as ch
from ivr_consent.pbx.asterisk.session import session
from ivr_consent.pbx.asterisk.wire import Environment, Reply, Wire
from ivr_consent.pbx.conduct import Summary
from ivr_consent.pbx.requests import Lost
from ivr_consent.pseudonyms import Pseudonyms
from ivr_consent.site import LineState, Site
from ivr_consent.testing.fake_asterisk_wire import environment
from ivr_consent.testing.plans import short_plan

LANGUAGES = ("da", "sv", "de")
CALLER, DIALLED = "+46812345678", "+4570102030"

READ_HEADER = r'GET FULL VARIABLE "${FILTER(A-Za-z0-9_.;=\\x20\\x2c\\x2d,${PJSIP_HEADER(read,X-Language):0:256})}"'
READ_DIALLED = 'GET FULL VARIABLE "${FILTER(0-9+,${STACK_PEEK(1,e,1):0:64})}"'

EVERYTHING = """
order = ["dialled", "country", "header", "channel"]
dialled = { "+4570102030" = "da", "+46855500" = "sv" }
countries = { "+46" = "sv", "+49" = "de" }
header = "X-Language"
"""


def site(rules: str) -> Site:
    """A line in three languages that chooses by these rules."""
    text = f"[lines.support]\nlanguages = {list(LANGUAGES)}\n" + (
        f"[lines.support.language_by]\n{rules}" if rules else ""
    )
    settings = config.parse(tomllib.loads(text), Path("/etc/ivr-consent.toml"), "00")
    turns = [LANGUAGES[turn:] + LANGUAGES[:turn] for turn in range(len(LANGUAGES))]
    plans = {languages[0]: short_plan(languages=languages) for languages in turns}
    state = LineState("support", MappingProxyType(plans), ())
    return Site(
        settings=settings,
        states=MappingProxyType({"support": state}),
        pseudonyms=Pseudonyms.of_nobody(),
        recordings=Path("/recordings"),
        software="ivr-consent test",
        configuration_sha256="0" * 64,
    )


@dataclass
class Asked:
    """What a session sent, decided and summed up."""

    commands: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    summary: Summary | None = None

    @property
    def clues(self) -> list[str]:
        """Commands that ask for what the language is chosen by."""
        return [command for command in self.commands if "FILTER" in command]

    @property
    def chosen(self) -> tuple[str, str] | str:
        """Language and what chose it; or the reason of a call that was not asked."""
        (decision,) = self.decisions
        notice = decision.notice
        return decision.reason if notice is None else (notice.language, notice.language_by)


def of(lines: Site, answer: Callable[[str], str | Lost] = lambda _: "", **values: str) -> Asked:
    """One session whose environment has these values; ``answer`` gives what the switch makes of an expression.

    The caller hangs up before the call is answered: by then the language is chosen, and in the decision.
    """
    number = values.pop("environment_arguments", None)
    text = environment(arguments=("support",) if number is None else ("support", number), caller=CALLER).decode()
    for key, value in values.items():
        lines_before = text.splitlines()
        text = "\n".join(f"agi_{key}: {value}" if line.startswith(f"agi_{key}: ") else line for line in lines_before)
        text += "\n\n"
    wire = Wire()
    wire.receive_data(text.encode())
    event = wire.next_event()
    assert isinstance(event, Environment)
    asked = Asked()
    running = session(event, lines, call_id="a" * 32, nonce=lambda: "00ff", presses_known=lambda: False)
    response: object = None
    while asked.summary is None:
        try:
            request = running.send(response)  # type: ignore[arg-type]  # whatever the request before asked for
        except StopIteration as end:
            asked.summary = end.value
            break
        if isinstance(request, Decide):
            asked.decisions.append(request.decision)
            response = Logged()
            continue
        assert isinstance(request, ch.Send)
        command = request.command.decode()
        asked.commands.append(command)
        if "00ff" in command:
            reply: Reply | Lost = Reply(200, "1", "00ff", None, "")
        elif "FILTER" in command:
            told = answer(command)
            reply = Reply(200, "1", told, None, "") if isinstance(told, str) else told
        else:
            reply = Reply(200, "1", None, None, "") if command.startswith("SET") else Reply(511, "", None, None, "")
        response = reply if isinstance(reply, Lost) else ch.Heard(reply, 0.0, 0.0, False)
    return asked


def test_a_line_without_rules_is_asked_nothing() -> None:
    asked = of(site(""), language="sv", dnid=DIALLED)
    assert asked.clues == []
    assert asked.chosen == ("sv", "channel")
    assert of(site(""), language="en").chosen == ("da", "first")


def test_the_number_dialled_is_in_the_environment() -> None:
    asked = of(site(EVERYTHING), dnid="004570102030")
    assert asked.chosen == ("da", "dialled")
    assert READ_DIALLED not in asked.commands


def test_else_the_extension_that_the_gate_was_entered_from() -> None:
    """Local channels have no number dialled."""
    asked = of(site(EVERYTHING), lambda command: "+46855500" if "STACK_PEEK" in command else "", dnid="unknown")
    assert asked.commands.count(READ_DIALLED) == 1
    assert asked.chosen == ("sv", "dialled")
    countries = 'order = ["country", "first"]\ncountries = { "+46" = "sv" }'
    assert of(site(countries), dnid="unknown").clues == [], "only where it is looked at"


def test_the_callers_country() -> None:
    asked = of(site(EVERYTHING), dnid="+4570102031")
    assert asked.chosen == ("sv", "country")
    assert of(site(EVERYTHING), dnid="s", callerid="0049301234").chosen == ("de", "country")


@pytest.mark.parametrize("presentation", ["32", "35", "64", "97"])
def test_a_withheld_number_tells_no_country(presentation: str) -> None:
    """R25: what is withheld is not used, also where the switch knows it."""
    asked = of(site(EVERYTHING), callingpres=presentation, language="en")
    assert asked.chosen == "no_language"
    assert asked.decisions[0].call.subject_ref is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("PJSIP", [READ_HEADER]), ("SIP", [READ_HEADER.replace("PJSIP_HEADER(read,", "SIP_HEADER(")]), ("Local", [])],
)
def test_a_header_is_read_in_one_command_that_filters(kind: str, expected: list[str]) -> None:
    asked = of(site(EVERYTHING), lambda _: "pl, de;q=0.3, sv;q=0.2", callerid="unknown", dnid="s", type=kind)
    assert asked.clues == expected
    assert asked.chosen == (("de", "header") if expected else "no_language")


@pytest.mark.parametrize("order", ['["channel"]', '["channel", "first"]'])
def test_a_line_that_looks_at_no_header_reads_none(order: str) -> None:
    assert of(site(f"order = {order}"), lambda _: "sv", language="de").clues == []


@pytest.mark.parametrize(
    "value",
    ["", "SHELLid", "200 result=1 da", "da0a200 result=1", "..;..;q=1", "=" * 256, "-" * 256, "A" * 256, "da en",
     "de" + "-a" * 100],
)  # fmt: skip  # rows that belong together
def test_a_hostile_header_is_a_lookup_that_finds_nothing(value: str) -> None:
    """I6: it does not end the session, is in no later command, in no decision, in no line of a log."""
    asked = of(site(EVERYTHING), lambda _: value, callerid="unknown", dnid="s", language="en")
    assert asked.chosen == "no_language"
    assert len(value) < 3 or not any(value in text for text in (*asked.commands, str(asked.decisions)))


def test_where_no_language_fits_nothing_is_asked_or_played() -> None:
    """R6: unrecorded, with a decision that says why."""
    asked = of(site(EVERYTHING), callerid="+4712345678", dnid="s", language="en")
    assert asked.chosen == "no_language"
    (decision,) = asked.decisions
    assert (decision.outcome.value, decision.route, decision.answers) == ("failed", "unrecorded", ())
    assert asked.summary is not None
    assert (asked.summary.line, asked.summary.reason, asked.summary.route) == ("support", "no_language", "unrecorded")
    assert not any(command.startswith(("ANSWER", "STREAM", "WAIT", "EXEC")) for command in asked.commands)
    assert asked.commands[-2:] == [
        'SET VARIABLE IVR_CONSENT_REASON "no_language"',
        'SET VARIABLE IVR_CONSENT_RESULT "failed"',
    ]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        (Lost("switch_too_slow", False), "switch_too_slow"),
        (Lost("connection_lost", False), "connection_lost"),
        (Lost("connection_lost", True), "hung_up_ringing"),
    ],
)
def test_a_switch_that_was_gone_before_it_could_tell(lost: Lost, reason: str) -> None:
    asked = of(site(EVERYTHING), lambda _: lost, callerid="unknown", dnid="s", language="en")
    assert asked.chosen == reason
    assert len(asked.clues) == 1, "nothing is said on this connection any more"


@pytest.mark.parametrize("reply", [Reply(510, "", None, None, ""), Reply(200, "0", None, None, ""),
                                   Reply(200, "0", "da", None, "")])  # fmt: skip  # rows that belong together
def test_a_refused_header_is_none(reply: Reply, tmp_path: Path) -> None:
    wire = Wire()
    wire.receive_data(environment())
    event = wire.next_event()
    assert isinstance(event, Environment)
    channel = ch.Channel(event, tmp_path, nonce=lambda: "00", presses_known=lambda: False)
    reading = channel.header("X-Language")
    next(reading)
    with pytest.raises(StopIteration) as end:
        reading.send(ch.Heard(reply, 0.0, 0.0, False))
    assert end.value.value == ""


@pytest.mark.parametrize("name", ["", "X)", "X,1", "${X}", "X\n", "X" * 65, "1X", "X:0:5"])
def test_a_header_with_another_name_is_never_asked_for(name: str, tmp_path: Path) -> None:
    """I6: checked where it becomes a command, whatever the configuration let through."""
    wire = Wire()
    wire.receive_data(environment())
    event = wire.next_event()
    assert isinstance(event, Environment)
    channel = ch.Channel(event, tmp_path, nonce=lambda: "00", presses_known=lambda: False)
    with pytest.raises(ValueError, match="letters, digits"):
        next(channel.header(name))


@pytest.mark.parametrize(
    ("argument", "asked_number"),
    [(DIALLED, DIALLED), ("004570102030", DIALLED), ("", CALLER), ("+45;x", CALLER), ("4" * 40, CALLER)],
)
def test_an_outgoing_call_is_the_consent_of_who_is_called(argument: str, asked_number: str) -> None:
    """R12: the dialplan's word goes before the channel's own caller, also where that one is withheld."""
    asked: list[str | None] = []

    class Lines:
        def __init__(self, lines: Site) -> None:
            self._lines = lines

        def __getattr__(self, name: str) -> object:
            return getattr(self._lines, name)

        def subject(self, number: str | None) -> None:
            asked.append(None if number is None else number.replace("00", "+", 1) if number[:2] == "00" else number)

    of(cast("Site", Lines(site(""))), environment_arguments=argument)
    assert asked == [asked_number]
    asked.clear()
    of(cast("Site", Lines(site(""))), environment_arguments=argument, callingpres="32")
    assert asked == [asked_number if asked_number == DIALLED else None]


def test_no_number_is_kept() -> None:
    """R25: the decision says by what the language was chosen, not which number or header it was."""
    asked = of(site(EVERYTHING), lambda _: "de-x-secret", dnid=DIALLED)
    kept = f"{asked.decisions} {asked.summary}"
    assert not any(text in kept for text in (DIALLED[1:], CALLER[1:], "secret"))


def test_rules_of_an_unknown_line() -> None:
    lines = site(EVERYTHING)
    assert lines.language_by("sales") is None
    assert of(lines, arg_1="sales").chosen == "unknown_line"


def test_a_line_that_kept_its_old_plans_speaks_those(tmp_path: Path) -> None:
    """A reload may leave a line what it had, beside newer rules: no language is taken that it does not speak."""
    lines = site(EVERYTHING)
    only = LineState("support", MappingProxyType({"de": short_plan(languages=("de",))}), ())
    lines = lines.with_states([only])
    assert of(lines, dnid=DIALLED, language="de").chosen == ("de", "channel")
    assert of(lines, dnid=DIALLED, language="en").chosen == "no_language"
