"""Which of the manager's events are told at all, and which are looked at."""

from __future__ import annotations

import re
from itertools import product

import pytest

from ivr_consent.pbx.asterisk.guard.ways import HEARTBEAT, PLAIN_EVENTS, WATCHED_APPLICATIONS, is_wanted
from ivr_consent.pbx.asterisk.rights import GUARD

WANTED = [
    *(f"Event: {name.decode()}\r\nChannel: x" for name in sorted(PLAIN_EVENTS)),
    *(
        f"Event: Newexten\r\nChannel: x\r\nExtension: s\r\nApplication: {case(name)}\r\nAppData: y"
        for name, case in product(sorted(WATCHED_APPLICATIONS), (str.lower, str.upper, str.title))
    ),
    *(f"Event: VarSet\r\nChannel: x\r\nVariable: {name}\r\nValue: y" for name in ("MIXMONITOR_FILENAME", HEARTBEAT)),
    *(
        f'Event: AGIExecStart\r\nChannel: x\r\nCommand: {command} "/tmp/x" wav "#" 5'
        for command in ("RECORD FILE", "record file", "Record File")
    ),
]
OTHERS = [
    "Event: Newexten\r\nChannel: x\r\nApplication: Set\r\nAppData: X=1",
    "Event: VarSet\r\nChannel: x\r\nVariable: X\r\nValue: 1",
    "Event: Newstate\r\nChannel: x",
    "Event: DialState\r\nChannel: x",
    "Event: AGIExecStart\r\nChannel: x\r\nCommand: STREAM FILE x",
    "Event: AGIExecEnd\r\nChannel: x",
]


def told(event: str) -> bool:
    """As Asterisk decides: one filter has to be found anywhere in the event."""
    return any(re.search(one, event) for one in GUARD.filters)


@pytest.mark.parametrize("event", WANTED)
def test_what_is_looked_at_is_told(event: str) -> None:
    assert is_wanted(f"{event}\r\n".encode())
    assert told(f"{event}\r\n")


@pytest.mark.parametrize("event", OTHERS)
def test_the_rest_is_neither(event: str) -> None:
    assert not is_wanted(f"{event}\r\n".encode())
    assert not told(f"{event}\r\n")


@pytest.mark.parametrize("name", ["DTMFBegin", "DTMFEnd"])
def test_key_presses_are_told(name: str) -> None:
    assert told(f"Event: {name}\r\nDigit: 1\r\n")


def test_a_filter_survives_the_configuration_file() -> None:
    """manager.conf: a semicolon begins a comment, spaces at the end are cut off, and a ``!`` would leave events out."""
    for one in GUARD.filters:
        assert one == one.strip()
        assert not set(one) & set(";\r\n\\")
        assert one[0].isalpha()
        assert len(one) < 1000
