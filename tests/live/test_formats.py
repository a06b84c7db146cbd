"""Whatever format Asterisk picks for a call, it counts a prompt's samples as the manifest does.

A prompt is heard to its end only when the switch reports exactly the samples of its file: no consent without it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ivr_consent import config
from ivr_consent.config import Line
from ivr_consent.core.decision import Outcome
from ivr_consent.manifest import Manifest
from ivr_consent.pbx.asterisk.manager import ManagerLink
from ivr_consent.signing import verifier
from ivr_consent.store.reader import CallRecord
from ivr_consent.versions import Versions
from tests.live.support import DEADLINE_S, Site, site

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORMATS = {
    "ulaw": "ulaw",
    "alaw": "alaw",
    "gsm": "gsm",
    "g722": "g722",
    "slin": "wav",
    "slin16": "sln16",
    "slin32": "sln32",
    "slin48": "sln48",
}
"""By Asterisk's name of a call's codec: the file of ours that it plays there."""

CALL_S = 90.0
"""For calls that hear a whole notice, all of them at once."""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["22", "16"])
async def codecs(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site with a line for each codec."""
    lines = {codec: Line(timeout_seconds=3, repeats=0, codecs=[codec]) for codec in FORMATS}
    async with site(request.param, lines=lines) as running:
        yield running


def published(here: Site, line: str) -> Manifest:
    """The manifest of the version that callers of a line hear."""
    settings = config.load(here.home / "ivr-consent.toml")
    check = verifier(settings.path(settings.prompts.signing_key_file))
    return Versions(settings.path(settings.prompts.versions), line).in_force(check)


async def decided(here: Site, line: str, before: set[str]) -> CallRecord:
    """The decision of a line's call that is not one of those before, once it is in the log."""
    async with asyncio.timeout(CALL_S):
        while True:
            for record in here.records():
                if record.line == line and record.call_id not in before:
                    return record
            await asyncio.sleep(0.1)  # polling another process's log, with the deadline above


def samples_heard(record: CallRecord) -> dict[str, tuple[int, int]]:
    """By segment: samples played, and of how many."""
    segments = record.decision.payload["notice"]["segments"]
    assert all(segment["complete"] for segment in segments)
    return {segment["id"]: (segment["samples_played"], segment["samples_total"]) for segment in segments}


def samples_made(manifest: Manifest, form: str) -> dict[str, tuple[int, int]]:
    """The same as the manifest has it, of the notice and its question."""
    (spoken,) = manifest.languages
    prompts = (*spoken.information, *spoken.questions.values())
    return {prompt.id: (prompt.audio.files[form].samples,) * 2 for prompt in prompts}


async def test_every_format_is_counted_as_the_manifest_has_it(codecs: Site) -> None:
    """R2, R22: a whole notice on a call of each codec; what was played is to the sample what was published."""
    before = {record.call_id for record in codecs.records()}
    codecs.pbx.add_manager("caller", "caller", read="", write="originate")
    await codecs.pbx.cli("manager reload")
    link = ManagerLink("127.0.0.1", codecs.pbx.ami_port, "caller", "caller", events="off")
    try:
        await link.start()
        assert await link.wait_up(DEADLINE_S)
        for codec in FORMATS:
            called = {"Channel": f"Local/{codec}@from-sip/n", "Application": "Wait", "Data": "120", "Async": "true"}
            assert (await link.action("Originate", called | {"Codecs": codec})).success
        records = {codec: await decided(codecs, codec, before) for codec in FORMATS}
    finally:
        await link.close()
    for codec, record in records.items():
        assert record.decision.outcome == Outcome.NO_ANSWER, f"{codec}: {record.decision.payload['reason']}"
        assert samples_heard(record) == samples_made(published(codecs, codec), FORMATS[codec]), codec
        picked = re.findall(rf"<Local/{codec}@from-sip-\w+;2> Playing '\S+/prompt\.(\w+)'", codecs.pbx.log)
        assert set(picked) == {codec}


@pytest.mark.parametrize("codec", ["ulaw", "alaw"])
async def test_a_telephone_hears_the_whole_notice(codecs: Site, codec: str) -> None:
    """R2, R3: the same on a SIP call, answered by a key."""
    async with codecs.call(codec, codec=codec) as call:
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
        record = await call.record(kind="routed")
    assert record.decision.outcome == Outcome.GRANTED
    assert samples_heard(record) == samples_made(published(codecs, codec), FORMATS[codec])
