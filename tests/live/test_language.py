"""The language of a call on a real Asterisk: by the number dialled, the caller's country, a header, a key; or none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ivr_consent.config import LanguageBy, Line
from ivr_consent.pbx.asterisk.dialplan import render_include, render_lines
from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.rig import Version
from tests.live.support import DIALPLAN, LiveCall, Site, site

pytestmark = pytest.mark.asyncio(loop_scope="session")

DANISH_LINE, GERMAN_LINE, OTHER_LINE = "+4570102030", "004930102030", "4570102031"
DANE, GERMAN, NORWEGIAN = "+4512345678", "004930123456", "+4712345678"
HEADER = "X-Language"
OWNED = Path("/tmp/ivr-consent-owned-by-header")

STRICT = LanguageBy(
    order=["dialled", "country", "header"],
    dialled={DANISH_LINE: "da", "+49 30 10 20 30": "de"},
    countries={"+45": "da", "+49": "de"},
    header=HEADER,
)
LINES = {
    "tongues": Line(languages=["en", "da", "de"], language_by=STRICT, timeout_seconds=3, repeats=0),
    "patient": Line(
        languages=["en", "da", "de"],
        language_by=LanguageBy(order=["header", "first"], header=HEADER),
        timeout_seconds=3,
        repeats=0,
    ),
}

NUMBERS = """[from-sip]
exten => _+X.,1,Goto(numbers,${EXTEN},1)
exten => _X.,1,Goto(numbers,${EXTEN},1)
exten => throughlocal,1,Dial(Local/4570102030@numbers/n)
exten => throughlocalother,1,Dial(Local/4570102031@numbers/n)
"""
GATE = """[numbers]
exten => _[+0-9].,1,Gosub(ivr-consent,s,1(tongues))
 same => n,UserEvent(Told,Result: ${IVR_CONSENT_RESULT},Reason: ${IVR_CONSENT_REASON},Call: ${IVR_CONSENT_ID})
 same => n,GotoIf($["${IVR_CONSENT_RESULT}" = "granted"]?recorded,s,1)
 same => n,Goto(unrecorded,s,1)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["22", "16"])
async def tongues(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site whose every number leads to one line that has three languages, and none for whoever fits nothing."""
    async with site(request.param, manager=False, lines=LINES) as running:
        dialplan = DIALPLAN.replace("[from-sip]\n", NUMBERS) + GATE
        await running.pbx.reload_dialplan(render_include(running.settings) + render_lines(running.settings) + dialplan)
        yield running


async def begun(tongues: Site, number: str, **options: Any) -> tuple[str, str]:
    """Call, hang up once the notice has begun; the decision's language and what chose it."""
    async with tongues.call(number, **options) as call:
        await call.until("STREAM FILE")
        await call.phone.hang_up()
        return chosen(await call.record())


def chosen(record: CallRecord) -> tuple[str, str]:
    notice = record.decision.payload["notice"]
    return notice["language"], notice["language_by"]


async def refused(call: LiveCall) -> CallRecord:
    """The call comes to the unrecorded line without a sound of ours, without a question, without a file."""
    await call.unrecorded_line()
    record = await call.record()
    assert (record.decision.outcome, record.decision.payload["reason"]) == ("failed", "no_language")
    assert (record.route, record.recording, record.decision.payload["notice"]) == ("unrecorded", "none", None)
    assert call.told is not None
    assert (call.told["Result"], call.told["Reason"]) == ("failed", "no_language")
    assert not any(call.count(word) for word in ("STREAM FILE", "WAIT FOR DIGIT", "ANSWER", "MixMonitor"))
    assert call.created() == []
    return record


@pytest.mark.parametrize(
    ("number", "expected"),
    [(DANISH_LINE, "da"), ("4570102030", "da"), ("0045" + DANISH_LINE[3:], "da"), (GERMAN_LINE, "de")],
)
async def test_two_numbers_in_two_languages(tongues: Site, number: str, expected: str) -> None:
    """R2: whoever calls: the number dialled comes first."""
    assert await begun(tongues, number, from_user=NORWEGIAN) == (expected, "dialled")


@pytest.mark.parametrize(("caller", "expected"), [(DANE, "da"), (GERMAN, "de"), ("4512345679", "da")])
async def test_callers_of_two_countries(tongues: Site, caller: str, expected: str) -> None:
    assert await begun(tongues, OTHER_LINE, from_user=caller) == (expected, "country")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["de"], "de"),
        (["pl, en;q=0.5, da;q=0.8"], "da"),
        (["en-US"], "en"),
        (["da", "de"], "da"),  # the first of two headers
        (["pl,\r\n de"], "de"),  # one header on two lines
    ],
)
async def test_a_header(tongues: Site, values: list[str], expected: str) -> None:
    headers = [(HEADER, value) for value in values]
    assert await begun(tongues, OTHER_LINE, from_user=NORWEGIAN, headers=headers) == (expected, "header")


async def test_the_whole_call_is_in_that_language_and_recorded(tongues: Site) -> None:
    """R2, R22: the evidence names the language and why; no number is in the decision or in the service's log."""
    async with tongues.call(DANISH_LINE, from_user=NORWEGIAN) as call:
        await call.window(2)  # without a manager link the guard time is a wait too
        assert call.created() == []
        await call.phone.press("1")
        await call.recorded_line()
        record = await call.record(kind="routed")
    assert record.decision.outcome == "granted"
    assert chosen(record) == ("da", "dialled")
    for number in (DANISH_LINE, NORWEGIAN):
        assert number[1:] not in f"{record}{tongues.server.log}"


async def test_a_key_changes_what_was_chosen(tongues: Site) -> None:
    """R5: the key goes through the line's languages from where the call began."""
    async with tongues.call(DANISH_LINE, from_user=NORWEGIAN) as call:
        await call.until("STREAM FILE")
        await asyncio.sleep(0.15)  # real time: the prompt plays
        await call.phone.press("5")
        await call.until("STREAM FILE", call.count("STREAM FILE") + 1)
        await call.phone.hang_up()
        assert chosen(await call.record()) == ("de", "key")


@pytest.mark.parametrize(
    "options",
    [
        {"from_user": NORWEGIAN},
        {"from_user": NORWEGIAN, "headers": [(HEADER, "pl, fi;q=0.5, *;q=0.1, da;q=0")]},
        {"from_user": NORWEGIAN, "headers": [("X-Other", "da")]},
        {"from_user": "anonymous"},
    ],
    ids=["no header", "other languages", "another header", "no number"],
)
async def test_nothing_fits(tongues: Site, options: dict[str, Any]) -> None:
    """R6: not asked in a language that nothing says the caller understands; hence not recorded."""
    async with tongues.call(OTHER_LINE, **options) as call:
        await refused(call)


async def test_a_withheld_number_tells_no_country(tongues: Site) -> None:
    """R25: the dialplan knows the number, and that it is withheld."""
    dialplan = DIALPLAN.replace("[from-sip]\n", NUMBERS) + GATE
    withheld = dialplan.replace(
        "Gosub(ivr-consent,s,1(tongues))", "Set(CALLERID(num-pres)=prohib)\n same => n,Gosub(ivr-consent,s,1(tongues))"
    )
    head = render_include(tongues.settings) + render_lines(tongues.settings)
    await tongues.pbx.reload_dialplan(head + withheld)
    try:
        async with tongues.call(OTHER_LINE, from_user=DANE) as call:
            record = await refused(call)
    finally:
        await tongues.pbx.reload_dialplan(head + dialplan)
    assert record.decision.payload["call"]["subject_ref"] is None


@pytest.mark.parametrize(("number", "fits"), [("throughlocal", True), ("throughlocalother", False)])
async def test_through_a_local_channel(tongues: Site, number: str, fits: bool) -> None:
    """It has no number dialled and no header: the extension that the gate was entered from stands in."""
    options = {"from_user": NORWEGIAN, "display_name": "x", "headers": [(HEADER, "da")]}
    async with tongues.call(number, **options) as call:  # a display name: watched by the session, not by the phone
        if not fits:
            await refused(call)
            return
        await call.until("STREAM FILE")
        await call.phone.hang_up()
        assert chosen(await call.record()) == ("da", "dialled")


HOSTILE = {
    "a line break": "da%0a200%20result=1%20(da)%0a",
    "a reply": "200 result=1 (da)",
    "the shell": f"${{SHELL(touch {OWNED})}}",
    "an expression": "$[1+1]${EXTEN}${CALLERID(num)}",
    "quotes": "\"pl\", 'fi'",
    "half a quote": 'pl"',
    "a backslash": "pl\\",
    "escapes": "\\x64\\x61",
    "brackets": ")}]{[((",
    "the end of the filter": f")}}${{SHELL(touch {OWNED})}}",
    "the end of the command": f'")%0aEXEC System "touch {OWNED}"',
    "control characters": "\x01d\x07a\x1b[31m\x7f",
    "not UTF-8": "p\udcffl\udcfe",
    "300 letters": "d" * 300,
    "10 kB": "d" * 10_240,
    "10 kB of languages": "pl," * 3_400,
    "commas": "," * 2_000,
}


@pytest.mark.parametrize("attack", HOSTILE)
async def test_a_hostile_header_is_a_lookup(tongues: Site, attack: str) -> None:
    """I6: it names no language, so nothing fits; it is no command, no reply, no line of a log."""
    async with tongues.call(OTHER_LINE, from_user=NORWEGIAN, headers=[(HEADER, HOSTILE[attack])]) as call:
        record = await refused(call)
    assert not OWNED.exists()
    ours = [line for line in tongues.server.log.splitlines() if record.call_id in line]
    assert len(ours) == 1
    assert '"reason": "no_language"' in ours[0]
    assert not any(word in tongues.server.log + str(record) for word in ("SHELL", "touch", "EXEC", "dddd", "\x1b"))


@pytest.mark.parametrize("value", ["da):0:2(", "da):0:99999(" + "x" * 3000, "(da", "[da]", '"da', "da\\", "d\udcffa"])
async def test_what_looks_like_a_language_is_one(tongues: Site, value: str) -> None:
    """I6: brackets and quotes go, whatever they would do to the place of a cut; what is left is looked up."""
    headers = [(HEADER, value)]
    assert await begun(tongues, OTHER_LINE, from_user=NORWEGIAN, headers=headers) == ("da", "header")


async def test_first_takes_whoever_fits_nothing(tongues: Site) -> None:
    assert await begun(tongues, "patient", from_user=NORWEGIAN, headers=[(HEADER, "pl")]) == ("en", "first")
    assert await begun(tongues, "patient", from_user=NORWEGIAN, headers=[(HEADER, "de")]) == ("de", "header")


@pytest.mark.parametrize("version", ["22", "16"])
async def test_the_classic_script_chooses_likewise(version: Version) -> None:
    """The same session, without a server."""
    async with site(version, manager=False, lines=LINES) as running:
        running.server.stop()
        include = render_include(running.settings, Path(sys.executable).parent / "ivr-consent-agi")
        await running.pbx.reload_dialplan(include + DIALPLAN.replace("[from-sip]\n", NUMBERS) + GATE)
        assert await begun(running, DANISH_LINE, from_user=NORWEGIAN) == ("da", "dialled")
        headers = [(HEADER, "pl, de;q=0.5")]
        assert await begun(running, OTHER_LINE, from_user=NORWEGIAN, headers=headers) == ("de", "header")
        async with running.call(OTHER_LINE, from_user=NORWEGIAN, headers=[(HEADER, HOSTILE["the shell"])]) as call:
            await refused(call)
    assert not OWNED.exists()


async def test_chan_sip_on_16() -> None:
    """The older channel driver of Asterisk 16 reads headers by another function."""
    async with site("16", manager=False, lines=LINES) as running:
        port = running.pbx.sip_port + 4  # of the instance's own block
        (running.pbx.directory / "etc/sip.conf").write_text(
            f"[general]\ncontext=from-sip\nallowguest=yes\nudpbindaddr=127.0.0.1:{port}\ndisallow=all\nallow=ulaw\n"
        )
        await running.pbx.cli("module load chan_sip.so")
        running.pbx.sip_port = port
        for value, expected in (("pl, de;q=0.5", ("de", "header")), ("${SHELL(id)}", ("en", "first"))):
            headers = [(HEADER, value)]
            assert await begun(running, "patient", from_user=NORWEGIAN, headers=headers) == expected
