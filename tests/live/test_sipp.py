"""Callers of sipp's on a real Asterisk: what they press is heard, whatever they are called, and what came of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ivr_consent.testing.rig import Instance, RigUnavailable, Version, skip_or_fail
from ivr_consent.testing.sipp import TAG_HEADER, Press, Sipp, Step, Wait, Way, Who, fetch_sipp, raw_sockets
from tests.live.support import DEADLINE_S

KEYS = "123*9"
DIALPLAN = f"""
[from-sip]
exten => keys,1,Answer()
 same => n,Log(NOTICE,TRIED ${{PJSIP_HEADER(read,{TAG_HEADER})}} enters)
 same => n,Read(HEARD,,{len(KEYS)},,1,20)
 same => n,Log(NOTICE,TRIED ${{PJSIP_HEADER(read,{TAG_HEADER})}} pressed ${{HEARD}})
 same => n,Hangup()
exten => busy,1,Hangup(17)
"""
NAMES = ("", 'x\\" <sip:evil@example.org>', "${SHELL(id)}", "%0a200 result=49")


pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["22", "16"])
async def pbx(request: pytest.FixtureRequest) -> AsyncIterator[Instance]:
    version: Version = request.param
    try:
        await asyncio.to_thread(fetch_sipp)
        async with Instance(version, dialplan=DIALPLAN) as running:
            yield running
    except RigUnavailable as error:
        skip_or_fail(str(error))


def seen(pbx: Instance) -> dict[str, str]:
    """What each caller pressed, by the caller's tag; a hostile name has not become a line of its own."""
    return dict(re.findall(r"Ext\. keys: TRIED (\w+) pressed (\S*)$", pbx.log, re.M))


@pytest.mark.parametrize("way", ["rfc4733", "info"])
async def test_every_key_is_heard_once(pbx: Instance, way: Way) -> None:
    if way == "rfc4733" and not raw_sockets():
        pytest.skip("telephone events of sipp's need a raw socket: root, or CAP_NET_RAW")
    who = [Who(f"4570{number:04}", NAMES[number % len(NAMES)], f"{way}x{number}") for number in range(8)]
    steps: list[Step] = [Wait(300), Press("1"), Wait(300), Press("23", 60, 60), Wait(200), Press("*9", 200)]
    server = ("127.0.0.1", pbx.sip_port)
    async with Sipp(server, steps, to="keys", calls=8, rate=20, who=who, way=way, hangs_up=False) as calls:
        results = await calls.wait(DEADLINE_S)
        assert not calls.running
    assert (results.placed, results.succeeded, results.failed, results.exit_code) == (8, 8, 0, 0), results
    assert {tag: keys for tag, keys in seen(pbx).items() if tag.startswith(way)} == {one.tag: KEYS for one in who}


async def test_who_hangs_up_is_gone_and_a_refusal_is_a_failure(pbx: Instance) -> None:
    server = ("127.0.0.1", pbx.sip_port)
    async with Sipp(server, [Wait(200)], to="keys", who=[Who(tag="short")]) as calls:
        results = await calls.wait(DEADLINE_S)
    assert (results.succeeded, results.exit_code) == (1, 0), results
    assert "TRIED short enters" in pbx.log
    assert "short" not in seen(pbx)
    async with Sipp(server, [Wait(200)], to="busy", calls=2, rate=20) as calls:
        results = await calls.wait(DEADLINE_S)
    assert (results.placed, results.failed, results.exit_code) == (2, 2, 1)
    assert results.failures == {"UnexpectedMessage": 2}
    assert "486" in results.problems or "600" in results.problems, results.problems


async def test_calls_that_are_stopped_leave_nothing_behind(pbx: Instance) -> None:
    server = ("127.0.0.1", pbx.sip_port)
    calls = Sipp(server, [], to="keys", calls=3, rate=20, who=[Who(tag="stays")], hangs_up=False)
    await calls.start()
    async with asyncio.timeout(DEADLINE_S):
        while pbx.log.count("keys: TRIED stays enters") < 3:
            await asyncio.sleep(0.05)  # polling another process's log, with the deadline above
    held = calls._held
    assert held is not None
    directory = held.directory
    await calls.stop()
    assert not calls.running
    assert held.process is None
    assert not directory.exists()


async def test_the_fixture(pbx: Instance, sipp: object) -> None:
    from ivr_consent.testing.sipp import Callers

    assert isinstance(sipp, Callers)
    server = ("127.0.0.1", pbx.sip_port)
    with pytest.raises(RuntimeError, match="to_thread"):
        sipp(server, Press("1"))
    results = await asyncio.to_thread(
        sipp, server, Wait(200), Press(KEYS), to="keys", who=[Who(tag="f")], hangs_up=False
    )
    assert results.succeeded == 1, results
    assert seen(pbx)["f"] == KEYS
