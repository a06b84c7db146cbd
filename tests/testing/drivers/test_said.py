"""What a switch was told to do, in the words of a scenario."""

from __future__ import annotations

from ivr_consent.testing.drivers import said


def test_agi_commands_are_events() -> None:
    commands = [
        "ANSWER",
        'STREAM FILE "/audio/scenario0/en/controller" "2"',
        'GET FULL VARIABLE "nonce"',
        'STREAM FILE "/audio/scenario0/en/training-question" ""',
        "WAIT FOR DIGIT 1500",
        'EXEC "StopMixMonitor" "0x55"',
        'SET VARIABLE "IVR_CONSENT_REASON" "granted"',
        'SET VARIABLE "IVR_CONSENT_RESULT" "declined"',
    ]
    events = said.by_commands((float(number), command) for number, command in enumerate(commands))
    assert events == [
        (0.0, "answer"),
        (1.0, "play controller"),
        (3.0, "play training-question"),
        (4.0, "window training"),
        (7.0, "route unrecorded"),
    ]
    assert said.stops_by_commands(commands) == 1


def test_applications_are_events_from_the_gate_on() -> None:
    executed = [
        ("answer", ""),
        ("set", "ivr_consent_result=failed"),
        ("socket", "127.0.0.1:4573 async full"),
        ("answer", ""),
        ("playback", "/audio/scenario0/en/training-question.wav"),
        ("playback", "silence_stream://1500"),
        ("playback", "silence_stream://20"),
        ("stop_record_session", "/recordings/1.raw"),
        ("stop_record_session", "all"),
        ("set", "ivr_consent_result=granted"),
    ]
    events = said.by_applications(((float(number), *one) for number, one in enumerate(executed)), 1500)
    assert events == [
        (3.0, "answer"),
        (4.0, "play training-question"),
        (5.0, "window training"),
        (9.0, "route recorded"),
    ]
    assert said.stops_by_applications(executed) == 1
