"""What callers of sipp's do, as sipp wants it: a scenario, and a recording of their audio with the keys in it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.sax.saxutils import escape

from ivr_consent.testing.phone import FRAME, FRAME_SECONDS, KEYS, RATE, tone_samples, ulaw_encode

Way = Literal["rfc4733", "info"]

TAG_HEADER: Final = "X-Rig-Call"
"""Of the INVITE: what :class:`Who` is known by, whatever a hostile number or name makes of itself."""

LISTENS_MS: Final = 120_000
"""How long a caller who does not hang up stays on a line that nobody ends."""

ANSWER_S: Final = 60.0
"""For the other side to answer, or to reply to a key."""

TONE_HZ: Final = 400
_EVENTS: Final = 101  # payload type


# --- What a caller does ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wait:
    """Listen so long, milliseconds from the answer or from what came before."""

    ms: int


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys, each held so long, with a gap after each (milliseconds)."""

    keys: str
    hold_ms: int = 100
    gap_ms: int = 100

    def __post_init__(self) -> None:
        if not self.keys or set(self.keys) - set(KEYS):
            raise ValueError(f"{self.keys!r} are no keys; write some of {KEYS}")


Step = Wait | Press


def milliseconds(step: Step) -> int:
    """How long a step takes."""
    return step.ms if isinstance(step, Wait) else len(step.keys) * (step.hold_ms + step.gap_ms)


# --- The caller's audio ----------------------------------------------------------------------------------------------


def _frames(steps: Sequence[Step], listens_ms: int) -> Iterator[tuple[int, int, bool]]:
    """One RTP packet after the other: event code or -1, samples since the key went down, whether it is its end."""
    for step in [*steps, Wait(listens_ms)]:
        if isinstance(step, Wait):
            for _ in range(round(step.ms / 1000 / FRAME_SECONDS)):
                yield -1, 0, False
            continue
        for key in step.keys:
            held = max(round(step.hold_ms / 1000 / FRAME_SECONDS), 1)
            for number in range(1, held + 1):
                yield KEYS.index(key), number * FRAME, number == held
            for _ in range(max(round(step.gap_ms / 1000 / FRAME_SECONDS), 1)):
                yield -1, 0, False


def write_audio(path: Path, steps: Sequence[Step], listens_ms: int = 0) -> None:
    """A recording (pcap) of a caller's RTP: a tone, and telephone events for the keys (RFC 4733)."""
    tone = ulaw_encode(tone_samples([TONE_HZ], 1.0))
    sequence, began = 0, 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number, (code, held, last) in enumerate(_frames(steps, listens_ms)):
            now = number * FRAME
            if code < 0:
                packets = [(0, now, tone[now % RATE : now % RATE + FRAME])]
            else:
                began = now if held == FRAME else began
                event = struct.pack(">BBH", code, (0x80 if last else 0) | 10, held)
                packets = [((0x80 if held == FRAME else 0) | _EVENTS, began, event)] * (3 if last else 1)
            for kind, stamp, payload in packets:
                rtp = struct.pack(">BBHII", 0x80, kind, sequence & 0xFFFF, stamp, 0x5199) + payload
                sequence += 1
                udp = struct.pack(">HHHH", 4000, 4000, 8 + len(rtp), 0) + rtp
                ip = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, 0x7F000001, 0x7F000001) + udp
                frame = bytes(12) + b"\x08\x00" + ip
                second, micro = divmod(round(number * FRAME_SECONDS * 1e6), 10**6)
                file.write(struct.pack("<IIII", second, micro, len(frame), len(frame)) + frame)


# --- The scenario ----------------------------------------------------------------------------------------------------

_IN_CALL = """\
{method} [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "[field1]" <sip:[field0]@[local_ip]>;tag=[pid]x[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
[routes]
Call-ID: [call_id]
CSeq: {cseq} {method}
Max-Forwards: 70
{body}"""

_INVITE = """\
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "[field1]" <sip:[field0]@[local_ip]>;tag=[pid]x[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:rig@[local_ip]:[local_port]>
Max-Forwards: 70
{header}: [field2]
Content-Type: application/sdp
Content-Length: [len]

v=0
o=rig 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [{port}] RTP/AVP 0 {events}
a=rtpmap:0 PCMU/8000
a=rtpmap:{events} telephone-event/8000
a=fmtp:{events} 0-15
a=ptime:20
"""

_OK = """\
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

"""


def _send(message: str, *, again: bool = True) -> str:
    attribute = ' retrans="500"' if again else ""
    return f"<send{attribute}><![CDATA[\n{message}\n]]></send>"


def _in_call(method: str, cseq: int, body: str = "Content-Length: 0\n\n", *, again: bool = True) -> str:
    return _send(_IN_CALL.format(method=method, cseq=cseq, body=body), again=again)


def scenario(steps: Sequence[Step], way: Way, audio: Path, *, hangs_up: bool = True) -> str:
    """The scenario's XML. ``audio``: a recording of RTP for ``rfc4733``, mu-law samples for ``info``."""
    plays = f'play_pcap_audio="{escape(str(audio))}"'
    if way == "info":
        plays = f'rtp_stream="{escape(str(audio))},-1,0,PCMU/8000"'
    port = "media_port" if way == "rfc4733" else "rtpstream_audio_port"
    parts = [
        _send(_INVITE.format(header=TAG_HEADER, port=port, events=_EVENTS)),
        *(f'<recv response="{status}" optional="true"/>' for status in (100, 180, 183)),
        '<recv request="BYE" optional="global" next="ended"/>',  # from here on, whatever else is waited for
        f'<recv response="200" rrs="true" timeout="{round(ANSWER_S * 1000)}"/>',
        _in_call("ACK", 1, again=False),
        f"<nop><action><exec {plays}/></action></nop>",
    ]
    cseq = 1
    for step in [*steps, *([] if hangs_up else [Wait(LISTENS_MS)])]:
        if isinstance(step, Wait):
            parts.append(f'<pause milliseconds="{step.ms}"/>')
        elif way == "rfc4733":
            parts.append(f'<pause milliseconds="{len(step.keys) * (step.hold_ms + step.gap_ms)}"/>')
        else:
            for key in step.keys:
                cseq += 1
                body = f"Content-Type: application/dtmf-relay\nContent-Length: [len]\n\nSignal={key}\n"
                parts.append(_in_call("INFO", cseq, f"{body}Duration={step.hold_ms}\n"))
                parts.append('<recv response="200"/>')
                parts.append(f'<pause milliseconds="{step.hold_ms + step.gap_ms}"/>')
    parts += [
        _in_call("BYE", cseq + 1),
        '<recv response="200" next="over"/>',
        '<label id="ended"/>',
        _send(_OK, again=False),
        '<label id="over"/>',
    ]
    body = "\n".join(parts)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="rig">\n{body}\n</scenario>\n'
