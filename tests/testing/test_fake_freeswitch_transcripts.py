"""The fake FreeSWITCH says what the recorded real one said."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

from ivr_consent.testing.freeswitch_transcripts import event, messages, read
from tests.testing.freeswitch_replay import ROOT, Case, Replay, lines

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "freeswitch-transcripts"
SPEEDS = (4.0, 1.5, 0.6)
"""How much faster than it was recorded. A busy machine comes late to a moment that the recording names, and nearer to
it at a slower pace; what the fake does otherwise than the real one it does at every pace."""


def no_park(tag: str, headers: dict[str, str]) -> bool:
    return tag == "out" and headers["Event-Name"] == "CHANNEL_PARK"


GUARD = "g_18084_async_full"


def no_execute(tag: str, headers: dict[str, str]) -> bool:
    return no_park(tag, headers) or headers["Event-Name"] == "CHANNEL_EXECUTE"


def no_floor(tag: str, headers: dict[str, str]) -> bool:
    """Who is loudest: there is no sound here."""
    return headers.get("Action") == "floor-change"


def no_report(tag: str, headers: dict[str, str]) -> bool:
    """The real one's connection closed while these were on their way."""
    late = headers["Event-Name"] == "CHANNEL_STATE" and headers["Channel-State"] == "CS_REPORTING"
    return no_park(tag, headers) or late or headers["Event-Name"] == "CHANNEL_HANGUP_COMPLETE"


def from_socket(tag: str, headers: dict[str, str]) -> bool:
    """On the connection watch, what came before the socket application is left out too."""
    return no_execute(tag, headers) if "variable_socket_host" in headers else tag == "watch"


CASES = [
    Case("01-connect-answer-playback-full", skip=no_park),
    Case("04-hangup-mid-playback", skip=no_park),
    Case("07-event-lock-errors", skip=no_park),
    Case(
        "08-sync-full",
        "s_18084_sync_full",
        "full",
        skip=no_park,
        acts=(("playback p1", 1, 0.5, "RTP 1"), ("playback p3", 1, 0.52, "hangup")),
    ),
    Case("09-async-not-full", "s_18084_async_ctl", "async ctl", skip=no_park),
    Case("12-myevents-json", skip=no_park),
    Case(
        "13-early-dtmf-queue",
        skip=no_park,
        acts=(("play_and_get_digits", 1, 0.0, "APP 111"), ("play_and_get_digits", 2, 0.49, "APP 11")),
    ),
    Case("81-injection", skip=no_execute, variables={"long": "z" * 600}, expands=True),
    Case("84-json-hostile-values", skip=no_report),
    *(
        Case(name, "7200", skip=no_park)
        for name in ("90-consent-yes", "91-consent-no", "92-consent-silence", "93-hangup-in-prompt", "94-early-digit")
    ),
    Case("95-wrong-digit", "7200", skip=no_park),
    Case("21-close-at-once-async", closes_at_once=True),
    Case("23-connect-then-close-async", skip=no_execute),
    Case("30-close-at-once-resume-async", "r_18084_async_full", skip=no_execute, closes_at_once=True),
    Case("36-guard-hang-after-connect-async", GUARD, skip=from_socket),
    Case("38-guard-close-at-once-async", GUARD, skip=from_socket, closes_at_once=True),
    Case("39-guard-mid-playback-async", GUARD, skip=from_socket),
    Case("42-die-while-recording-stop", GUARD, skip=from_socket),
    Case("43-guard-normal-transfer", GUARD, skip=from_socket),
    Case("44-guard-normal-transfer-close", GUARD, skip=from_socket),
    Case("45-resume-unset-then-transfer-close", GUARD, skip=from_socket),
    Case("46-resume-unset-in-target", GUARD, skip=from_socket),
    Case("50-uuid-record", "7100"),
    Case("52-record-app", "7104"),
    Case("53-record-app-break", "7104"),
    Case("57-conference-record", "7105", skip=no_floor),
    Case("80-auth-acl", "7100"),
    Case("85-guard-stops-recording", "7100"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sounds").mkdir()
    for name, seconds in {"p3": 3.0, "p1": 1.0, "p05": 0.5}.items():
        with wave.open(str(tmp_path / "sounds" / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(int(16000 * seconds)))
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_fake_answers_our_bytes_as_the_real_one_did(case: Case, folder: Path) -> None:
    for speed in SPEEDS:
        wrong = await differences(case, folder, speed)
        if not wrong:
            return
    pytest.fail("\n\n".join(wrong))


async def differences(case: Case, folder: Path, speed: float) -> list[str]:
    """The two wires side by side, of each connection on which they differ."""
    transcript = read(TRANSCRIPTS / f"{case.name}.txt")
    replay = Replay(case, transcript, folder, speed)
    heard = await replay.run()
    wrong = []
    for tag in transcript.tags:
        recorded = b"".join(block.data for block in transcript.blocks(tag) if block.by_switch)
        uids = {
            headers["Unique-ID"]: "the call"
            for message in messages(recorded)
            for headers in (event(message) or message.headers,)
            if "Unique-ID" in headers
        }
        real = lines(case, tag, recorded, uids | {ROOT: "", "Controlled-Session-UUID": "Session"})
        fake = lines(case, tag, heard[tag], replay.names | {str(folder): "", "Controlled-Session-UUID": "Session"})
        if b"goodbye" not in recorded:  # our side closed, or the recording ended: the fake may have said more
            fake.cut(real)
        wrong.append(real.against(fake))
    return [each for each in wrong if each]
