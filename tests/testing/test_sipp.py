"""What is written for sipp: who calls, what they do, the recording of their audio; and what is read of its results."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ivr_consent.testing import sipp
from ivr_consent.testing.phone import KEYS, ulaw_decode
from ivr_consent.testing.sipp import Press, Sipp, Step, Wait, Way, Who
from ivr_consent.testing.sipp_scenario import LISTENS_MS, scenario, write_audio
from ivr_consent.testing.wav import dominant_tones

SERVER = ("127.0.0.1", 5060)


def packets(path: Path) -> list[tuple[float, int, bool, int, int, bytes]]:
    """Second, payload type, marker, sequence, timestamp and payload of each RTP packet of a recording."""
    data = path.read_bytes()
    assert struct.unpack("<I", data[:4])[0] == 0xA1B2C3D4
    at, found = 24, []
    while at < len(data):
        second, micro, size, whole = struct.unpack("<IIII", data[at : at + 16])
        assert size == whole
        frame = data[at + 16 : at + 16 + size]
        assert frame[12:14] == b"\x08\x00"
        assert frame[14 + 9] == 17
        assert struct.unpack(">H", frame[16:18])[0] == size - 14, "the length of the IP packet"
        assert struct.unpack(">H", frame[38:40])[0] == size - 34, "that of UDP in it"
        rtp = frame[42:]
        _, kind, sequence, stamp, _ = struct.unpack(">BBHII", rtp[:12])
        found.append((second + micro / 1e6, kind & 0x7F, bool(kind & 0x80), sequence, stamp, rtp[12:]))
        at += 16 + size
    return found


def test_audio_and_keys_are_one_stream(tmp_path: Path) -> None:
    """RFC 4733: an event keeps the timestamp of its beginning, its duration grows, its end is said three times."""
    write_audio(tmp_path / "a.pcap", [Wait(1000), Press("1", 100), Wait(500), Press("*#", 60, 80)], listens_ms=200)
    found = packets(tmp_path / "a.pcap")
    assert [one[3] for one in found] == list(range(len(found))), "no gap in the sequence"
    keys = [one for one in found if one[1] == 101]
    stamps = sorted({one[4] for one in keys})
    assert stamps == [8000, 8000 + 800 + 800 + 4000, 8000 + 5600 + 480 + 640]
    for stamp, key, held in zip(stamps, "1*#", (800, 480, 480), strict=True):
        event = [one for one in keys if one[4] == stamp]
        codes, flags, durations = zip(*(struct.unpack(">BBH", one[5]) for one in event), strict=True)
        assert set(codes) == {KEYS.index(key)}
        assert [bool(flag & 0x80) for flag in flags] == [False] * (len(event) - 3) + [True] * 3
        assert list(durations[:-2]) == list(range(160, held + 1, 160))
        assert [one[2] for one in event] == [True] + [False] * (len(event) - 1), "the marker begins it"
    assert found[-1][0] == pytest.approx(1.0 + 0.2 + 0.5 + 2 * 0.14 + 0.2 - 0.02)


def test_the_caller_is_a_tone(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.pcap", [Wait(2000)])
    heard = b"".join(one[5] for one in packets(tmp_path / "a.pcap"))
    assert len(heard) == 16000
    assert dominant_tones(ulaw_decode(heard[:8000])) == [400]
    assert dominant_tones(ulaw_decode(heard[4000:12000])) == [400], "no break where the second begins anew"


@pytest.mark.parametrize("way", ["rfc4733", "info"])
@pytest.mark.parametrize("hangs_up", [True, False])
def test_the_scenario_is_the_steps(tmp_path: Path, way: Way, hangs_up: bool) -> None:
    steps: list[Step] = [Wait(700), Press("12", 80, 120), Wait(300)]
    root = ET.fromstring(scenario(steps, way, tmp_path / "a & b", hangs_up=hangs_up))  # noqa: S314 - our own
    pauses = [int(one.attrib["milliseconds"]) for one in root.iter("pause")]
    listens = [] if hangs_up else [LISTENS_MS]
    assert pauses == [700, *([400] if way == "rfc4733" else [200, 200]), 300, *listens]
    said = [(one.text or "").split()[0] for one in root.iter("send")]
    assert said == ["INVITE", "ACK", *(["INFO"] * 2 if way == "info" else []), "BYE", "SIP/2.0"]
    numbers = [line for one in root.iter("send") for line in (one.text or "").splitlines() if line.startswith("CSeq: ")]
    assert numbers[0] == "CSeq: 1 INVITE"
    assert numbers[-1] == f"CSeq: {2 if way == 'rfc4733' else 4} BYE"
    (plays,) = [str(one.attrib) for one in root.iter("exec")]
    assert str(tmp_path / "a & b") in plays
    ended = [one.attrib for one in root.iter("recv") if one.attrib.get("request") == "BYE"]
    assert ended == [{"request": "BYE", "optional": "global", "next": "ended"}], "whatever else is waited for"


@pytest.mark.parametrize("bad", ["1;2", "1\n2", "1\0"])
def test_a_caller_that_would_be_another_field(bad: str) -> None:
    with pytest.raises(ValueError, match="semicolon"):
        Who(bad)
    with pytest.raises(ValueError, match="semicolon"):
        Who(name=bad)


def test_what_cannot_be_pressed_or_called() -> None:
    with pytest.raises(ValueError, match="no keys"):
        Press("x")
    with pytest.raises(ValueError, match="no keys"):
        Press("")
    with pytest.raises(ValueError, match="3 calls have 2 callers"):
        Sipp(SERVER, [], calls=3, who=[Who(), Who()])


def test_how_long_a_call_lasts() -> None:
    assert Sipp(SERVER, [Wait(1500), Press("12", 100, 150)]).lasts_s == 2.0
    assert Sipp(SERVER, [Wait(1500)], hangs_up=False).lasts_s == 1.5 + LISTENS_MS / 1000


def test_results_are_those_of_the_last_whole_line(tmp_path: Path) -> None:
    """sipp is writing: the last line may be half of one."""
    assert sipp._read(tmp_path, None) == sipp.Results()
    head = "TotalCallCreated;CurrentCall;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);FailedMaxUDPRetrans(C);"
    head += "FailedUnexpectedMessage(C);Warnings(C);"
    lines = [head, "3;3;0;0;0;0;0;0;", "8;1;2;5;2;0;2;1;", "9;1;"]
    (tmp_path / "statistics.csv").write_text("\n".join(lines))
    (tmp_path / "errors.log").write_text("Aborting call\n")
    (tmp_path / "output").write_text("screens")
    expected = sipp.Results(8, 1, 5, 2, {"UnexpectedMessage": 2}, None, "Aborting call")
    assert sipp._read(tmp_path, None) == expected


def test_why_sipp_did_not_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("Invalid argument: '-x'")
    assert sipp._read(tmp_path, 255).problems == "Invalid argument: '-x'"
    assert sipp._read(tmp_path, 0).problems == ""
