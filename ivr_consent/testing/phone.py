"""A telephone for tests: SIP and RTP over UDP on loopback, nothing but the standard library.

It sends a steady tone while a call is up and keeps what it hears, with the time of arrival, so that a test
can ask which tone the caller heard between two moments. Keys are pressed as RFC 4733 events of any length,
as SIP INFO or as tones in the audio. What a hostile caller would put on the wire (user parts with escaped
line breaks, odd display names) goes out byte for byte as given.

Moments are `time.monotonic()` seconds, durations are seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import secrets
import struct
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Literal
from urllib.parse import quote

from ivr_consent.testing.wav import dominant_tones, level, tone_power

__all__ = [
    "Call",
    "CallRefused",
    "Packet",
    "Phone",
    "SipMessage",
    "alaw_decode",
    "alaw_encode",
    "dominant_tones",
    "level",
    "tone_power",
    "ulaw_decode",
    "ulaw_encode",
]

Codec = Literal["ulaw", "alaw"]
Address = tuple[str, int]

RATE = 8000  # samples and RTP clock ticks per second
FRAME = 160  # samples in one packet
FRAME_SECONDS = FRAME / RATE
KEYS = "0123456789*#ABCD"  # in the order of the RFC 4733 event codes

_T1 = 0.5  # RFC 3261's estimate of a round trip: first retransmission
_T2 = 4.0
_TRANSACTION_LIMIT = 8.0  # instead of RFC 3261's 32 s: on loopback an answer is late after 1 s
_EVENT_PAYLOAD = 101
_LATE = 0.5  # a sender further behind than this skips frames instead of sending a burst
_LISTEN = 0.05  # to look for a tone takes a millisecond, and many calls may wait for theirs
_FRESH = 0.5  # what came before is not heard now
_MEMORY = 30_000  # packets, ten minutes
_PAYLOAD_TYPES: dict[Codec, int] = {"ulaw": 0, "alaw": 8}
_SIP_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}
_DTMF_HZ = {
    key: (row, column)
    for row, keys in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=True)
    for column, key in zip((1209, 1336, 1477, 1633), keys, strict=True)
}


class CallRefused(Exception):
    """The call was not answered: a final status of 300 or more."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


# --- G.711 ----------------------------------------------------------------------------------------------


def _ulaw_sample(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_sample(code: int) -> int:
    code ^= 0x55
    exponent, magnitude = code >> 4 & 7, (code & 0x0F) << 4
    magnitude = magnitude + 8 if exponent == 0 else magnitude + 0x108 << exponent - 1
    return magnitude if code & 0x80 else -magnitude


_ULAW = tuple(map(_ulaw_sample, range(256)))
_ALAW = tuple(map(_alaw_sample, range(256)))


def ulaw_decode(data: bytes) -> list[int]:
    """G.711 mu-law bytes to 16-bit samples."""
    return [_ULAW[byte] for byte in data]


def alaw_decode(data: bytes) -> list[int]:
    """G.711 A-law bytes to 16-bit samples."""
    return [_ALAW[byte] for byte in data]


def ulaw_encode(pcm: Iterable[int]) -> bytes:
    """16-bit samples to G.711 mu-law."""
    out = bytearray()
    for sample in pcm:
        sign = 0x80 if sample < 0 else 0
        magnitude = min(abs(sample >> 2), 8158) + 33  # 14 bits, biased
        exponent = magnitude.bit_length() - 6
        out.append(~(sign | exponent << 4 | magnitude >> exponent + 1 & 0x0F) & 0xFF)
    return bytes(out)


def alaw_encode(pcm: Iterable[int]) -> bytes:
    """16-bit samples to G.711 A-law."""
    out = bytearray()
    for sample in pcm:
        sign = 0x80 if sample >= 0 else 0
        magnitude = (sample if sample >= 0 else ~sample) >> 3  # 12 bits
        magnitude = min(magnitude, 4095)
        exponent = max(magnitude.bit_length() - 5, 0)
        mantissa = magnitude >> (exponent if exponent else 1) & 0x0F
        out.append((sign | exponent << 4 | mantissa) ^ 0x55)
    return bytes(out)


_ENCODERS = {"ulaw": ulaw_encode, "alaw": alaw_encode}
_DECODERS = {"ulaw": ulaw_decode, "alaw": alaw_decode}


def tone_samples(hz: Sequence[float], seconds: float, amplitude: float = 0.25) -> list[int]:
    """16-bit samples of one or several sines added, each of `amplitude` (1 = full scale)."""
    peak = amplitude * 32767
    return [
        max(-32768, min(32767, round(sum(peak * math.sin(2 * math.pi * f * n / RATE) for f in hz))))
        for n in range(round(seconds * RATE))
    ]


@lru_cache(maxsize=64)
def _steady(hz: int | None, codec: Codec) -> bytes:
    """One second of tone, or silence; whole hertz, so that the end fits the beginning."""
    return _ENCODERS[codec](tone_samples((hz,) if hz else (), 1.0))


# --- SIP messages ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SipMessage:
    """A request or a response as received; header names are in lower case, compact forms written out."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def parse(cls, data: bytes) -> SipMessage | None:
        """None for what is no SIP message (keep-alives)."""
        head, _, body = data.decode("utf-8", "surrogateescape").partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        if "SIP/2.0" not in start:
            return None
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            headers.append((_SIP_COMPACT.get(name, name), value.strip()))
        return cls(start, tuple(headers), body)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str:
        """The first header of that name, or an empty text."""
        return next(iter(self.all(name)), "")

    @property
    def status(self) -> int:
        """Status of a response; 0 for a request."""
        return int(self.start.split(" ", 2)[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def reason(self) -> str:
        return self.start.split(" ", 2)[2] if self.status else ""

    @property
    def method(self) -> str:
        """The request's method, or that of the request a response belongs to."""
        return self.get("cseq").rpartition(" ")[2]

    @property
    def branch(self) -> str:
        return self.get("via").partition("branch=")[2].partition(";")[0]


def _uri(header: str) -> str:
    return header.partition("<")[2].partition(">")[0] or header.partition(";")[0]


def _tag(header: str) -> str:
    return header.rpartition(">")[2].partition("tag=")[2].partition(";")[0]


# --- Media ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Packet:
    """A received RTP packet: moment of arrival, payload type and payload."""

    at: float
    payload_type: int
    sequence: int
    timestamp: int
    payload: bytes


@dataclass(slots=True)
class _Key:
    """A key going down, held, and let go after `frames` packets (None: not known yet)."""

    code: int
    frames: int | None
    started: asyncio.Future[None]
    ended: asyncio.Future[None]
    sent: int = 0
    segment: int = 0  # packets sent before this RFC 4733 segment began
    timestamp: int = 0


class _Udp(asyncio.DatagramProtocol):
    """A UDP socket on loopback that can be closed for certain."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport | None = None
        self.closed = asyncio.get_running_loop().create_future()

    async def bind(self, host: str) -> Address:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self.transport = transport
        name: Address = transport.get_extra_info("sockname")[:2]
        return name

    def send(self, data: bytes, to: Address) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(data, to)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    async def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
            await asyncio.shield(self.closed)  # whoever is cancelled here must not cancel it for who closes it again


class _Media(_Udp):
    """The RTP side of one call."""

    def __init__(self, codec: Codec, tone: int | None) -> None:
        super().__init__()
        self.codec = codec
        self.tone = tone
        self.remote: Address | None = None
        self.event_payload: int | None = None
        self.packets: deque[Packet] = deque(maxlen=_MEMORY)
        self.queue = bytearray()  # audio that goes out instead of the steady tone
        self.played: asyncio.Future[None] | None = None
        self.key: _Key | None = None
        self._sequence = random.randrange(0x8000)  # noqa: S311  (no secret)
        self._timestamp = random.randrange(1 << 31)  # noqa: S311  (no secret)
        self._source = random.randrange(1 << 32)  # noqa: S311  (no secret)
        self._phase = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._pace())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for future in self._waiting():
            if not future.done():
                future.set_result(None)  # who is still pressing a key need not know: it goes nowhere
        self.key = self.played = None
        await self.close()

    def _waiting(self) -> list[asyncio.Future[None]]:
        waiting = [] if self.key is None else [self.key.started, self.key.ended]
        return waiting if self.played is None else [*waiting, self.played]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        # A stray RTCP packet for a neighbouring port has a second byte of 192 to 223.
        if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223 or addr[:2] != self.remote:
            return
        _, kind, sequence, timestamp, _ = struct.unpack_from("!BBHII", data)
        offset = 12 + 4 * (data[0] & 0x0F)
        self.packets.append(Packet(time.monotonic(), kind & 0x7F, sequence, timestamp, data[offset:]))

    async def _pace(self) -> None:
        due = time.monotonic()
        while True:
            self._tick()
            due += FRAME_SECONDS
            wait = due - time.monotonic()
            if wait < -_LATE:
                skipped = int(-wait / FRAME_SECONDS)
                due += skipped * FRAME_SECONDS
                self._timestamp += skipped * FRAME
            await asyncio.sleep(max(wait, 0))

    def _tick(self) -> None:
        if self.key is not None:
            self._send_key(self.key)
        else:
            self._send(_PAYLOAD_TYPES[self.codec], self._timestamp, self._audio())
        self._timestamp += FRAME

    def _audio(self) -> bytes:
        frame = b""
        if self.queue:
            frame = bytes(self.queue[:FRAME])
            del self.queue[:FRAME]
        elif self.played is not None:
            if not self.played.done():
                self.played.set_result(None)
            self.played = None
        if len(frame) < FRAME:
            steady = _steady(self.tone, self.codec)
            frame += (steady + steady)[self._phase : self._phase + FRAME - len(frame)]
        self._phase = (self._phase + FRAME) % RATE
        return frame

    def _send_key(self, key: _Key) -> None:
        if key.frames is not None and key.sent >= key.frames:
            # a tick after the last update, so that the key's time on the wire is its duration
            for _ in range(3):
                self._send_event(key, (key.sent - key.segment) * FRAME, end=True)
            self.key = None
            if not key.ended.done():
                key.ended.set_result(None)
            return
        first = key.sent == 0
        if first:
            key.timestamp = self._timestamp
        key.sent += 1
        duration = (key.sent - key.segment) * FRAME
        if duration > 0xFFFF:  # RFC 4733, 2.5.1.3: a longer event goes on in a new segment
            key.segment, key.timestamp, duration = key.sent - 1, self._timestamp, FRAME
        self._send_event(key, duration, marker=first)
        if not key.started.done():
            key.started.set_result(None)

    def _send_event(self, key: _Key, duration: int, *, marker: bool = False, end: bool = False) -> None:
        assert self.event_payload is not None
        payload = struct.pack("!BBH", key.code, (0x80 if end else 0) | 10, duration)
        self._send(self.event_payload, key.timestamp, payload, marker=marker)

    def _send(self, kind: int, timestamp: int, payload: bytes, *, marker: bool = False) -> None:
        self._sequence = self._sequence + 1 & 0xFFFF
        head = struct.pack(
            "!BBHII", 0x80, kind | (0x80 if marker else 0), self._sequence, timestamp & 0xFFFFFFFF, self._source
        )
        if self.remote is not None:
            self.send(head + payload, self.remote)


# --- Calls ----------------------------------------------------------------------------------------------


class Call:
    """A call that the phone has placed."""

    def __init__(self, phone: Phone, number: str, caller: str, media: _Media, media_port: int) -> None:
        self.number = number
        self.call_id = secrets.token_hex(12)
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """Resolves to the moment of the answer; raises `CallRefused`, or `TimeoutError` for no reply."""
        self.status = 0  # of the last response to the INVITE
        self.ended_by: Literal["", "us", "them", "refusal"] = ""
        self.requests: list[SipMessage] = []  # received inside the call
        self._phone = phone
        self._media = media
        self._media_port = media_port
        self._from = f"{caller};tag={secrets.token_hex(6)}"
        self._to = f"<sip:{number}@{phone.server[0]}:{phone.server[1]}>"
        self._target = _uri(self._to)
        self._branch = ""
        self._cseq = itertools.count(1)
        self._invite_number = 0
        self._offers = 1
        self._ended = asyncio.Event()
        self._replied = asyncio.Event()
        # Whoever is not interested in the answer shall not be told of its exception.
        self.answered.add_done_callback(lambda future: future.cancelled() or future.exception())

    @property
    def alive(self) -> bool:
        """Placed and not over: ringing or up."""
        return not self._ended.is_set()

    @property
    def up(self) -> bool:
        """Answered and not over."""
        return self.alive and self.answered.done()

    @property
    def tone(self) -> int | None:
        """What the phone sends all the time: a sine of so many hertz, or silence (None)."""
        return self._media.tone

    @tone.setter
    def tone(self, hz: int | None) -> None:
        self._media.tone = hz

    @property
    def packets(self) -> Sequence[Packet]:
        """RTP received, audio and all else, the last ten minutes of it."""
        return tuple(self._media.packets)

    def heard_bytes(self, start: float = -math.inf, end: float = math.inf) -> bytes:
        """Audio that arrived between two moments, in the call's codec; gaps are not filled."""
        kind = _PAYLOAD_TYPES[self._media.codec]
        since = itertools.takewhile(lambda packet: packet.at >= start, reversed(self._media.packets))
        heard = [packet.payload for packet in since if packet.payload_type == kind and packet.at < end]
        return b"".join(reversed(heard))

    def heard(self, start: float = -math.inf, end: float = math.inf) -> list[int]:
        """The same as 16-bit samples, 8000 to a second."""
        return _DECODERS[self._media.codec](self.heard_bytes(start, end))

    def heard_tones(self, start: float = -math.inf, end: float = math.inf) -> list[int]:
        """Frequencies heard between two moments, the strongest first (see `dominant_tones`)."""
        return dominant_tones(self.heard(start, end), RATE)

    async def wait_answered(self, timeout: float = 30.0) -> float:  # noqa: ASYNC109  (the tests' vocabulary)
        """The moment of the answer. Raises `CallRefused` or `TimeoutError`."""
        async with asyncio.timeout(timeout):
            return await asyncio.shield(self.answered)

    async def wait_hung_up(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109  (the tests' vocabulary)
        """Wait until the call is over, whoever ended it. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            await self._ended.wait()

    async def wait_tone(self, hz: float, timeout: float = 30.0) -> float:  # noqa: ASYNC109  (the tests' vocabulary)
        """Wait until the last 100 ms heard are mainly a sine of `hz`; the moment at which they are."""
        _, at = await self.wait_one_of((hz,), timeout)
        return at

    async def wait_one_of(
        self,
        hertz: Sequence[float],
        timeout: float = 30.0,  # noqa: ASYNC109  (the tests' vocabulary)
    ) -> tuple[float, float]:
        """Wait until the last 100 ms heard are mainly one of these sines; which, and the moment at which they are."""
        deadline = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            # By their number: on a busy machine the packets of 100 ms take longer to come.
            pcm = self.heard(now - _FRESH)[-5 * FRAME :]
            least = max(level(pcm) / 2, 1e-6)
            for hz in hertz:
                if len(pcm) >= 4 * FRAME and tone_power(pcm, hz, RATE) > least:
                    return hz, now
            if now >= deadline or not self.alive:
                wanted = " or ".join(f"{hz:g}" for hz in hertz)
                raise TimeoutError(f"no tone of {wanted} Hz, but {self.heard_tones(now - 0.5)}")
            await asyncio.sleep(_LISTEN)

    # keys

    async def key_down(self, key: str) -> None:
        """Press a key (RFC 4733) and hold it; returns when the first packet is out."""
        await asyncio.shield(self._begin_key(key, None).started)

    async def key_up(self) -> None:
        """Let the key go; returns when the three end packets are out."""
        pressed = self._media.key
        if pressed is None:
            raise RuntimeError("no key is down")
        pressed.frames = pressed.sent
        await asyncio.shield(pressed.ended)

    async def press(self, key: str, duration: float = 0.1) -> None:
        """Press a key (RFC 4733) for `duration` seconds, in steps of 20 ms; returns when it is up again."""
        await asyncio.shield(self._begin_key(key, max(1, round(duration / FRAME_SECONDS))).ended)

    async def press_info(self, key: str, duration: float = 0.1) -> None:
        """Press a key by SIP INFO (application/dtmf-relay). Raises `CallRefused` when it is not taken."""
        body = f"Signal={key}\r\nDuration={round(duration * 1000)}\r\n"
        reply = await self._request("INFO", body, "application/dtmf-relay")
        if reply.status >= 300:
            raise CallRefused(reply.status, reply.reason)

    async def press_inband(self, key: str, duration: float = 0.1) -> None:
        """Press a key as its two tones in the audio, followed by 60 ms of silence."""
        pcm = tone_samples(_DTMF_HZ[key.upper()], duration, 0.2)
        await self.play([*pcm, *(0 for _ in range(3 * FRAME))])

    async def play(self, pcm: Sequence[int]) -> None:
        """Send these samples instead of the steady tone; returns when they are out."""
        media = self._media
        if not self.up:
            raise RuntimeError("the call is not up")
        media.queue += _ENCODERS[media.codec](pcm)
        if media.played is None:
            media.played = asyncio.get_running_loop().create_future()
        await asyncio.shield(media.played)

    def _begin_key(self, key: str, frames: int | None) -> _Key:
        media = self._media
        if not self.up:
            raise RuntimeError("the call is not up")
        if media.event_payload is None:
            raise RuntimeError("no telephone events were negotiated in this call")
        if media.key is not None:
            raise RuntimeError("a key is down already")
        loop = asyncio.get_running_loop()
        media.key = _Key(KEYS.index(key.upper()), frames, loop.create_future(), loop.create_future())
        return media.key

    # signalling

    async def hang_up(self) -> None:
        """BYE when the call is up, CANCEL while it rings; nothing when it is over. Media stops."""
        if self.alive:
            if not self.answered.done():
                await self._cancel()
            if not self.answered.done():
                self._over("us", TimeoutError(f"{self.number}: no final reply to INVITE"))
            if self.up:
                self.ended_by = "us"
                self._ended.set()
                with contextlib.suppress(TimeoutError):
                    await self._request("BYE")
        await self._media.stop()

    async def hold(self, *, on: bool = True) -> None:
        """Put the other side on hold, as a telephone's button does, or take it back (RFC 3264, 8.4)."""
        self._offers += 1
        sdp = self._sdp(events=True, direction="sendonly" if on else "sendrecv")
        branch, number = _new_branch(), next(self._cseq)
        answer = await self._phone.transaction(
            self._message("INVITE", number, branch, sdp, "application/sdp"), branch + "INVITE"
        )
        self._phone.send(self._message("ACK", number, _new_branch()))
        if answer.status >= 300:
            raise CallRefused(answer.status, answer.reason)

    async def transfer(self, to: str | Call) -> None:
        """Send the other side elsewhere, as a telephone's transfer button does (RFC 3515): to an extension, or to who
        is at the end of another call of this phone (RFC 3891, attended). Raises `CallRefused` when it is not taken.
        """
        host, port = self._phone.server
        number, replaces = (to, "") if isinstance(to, str) else (to.number, f"?Replaces={quote(to.dialog, safe='')}")
        headers = (("Refer-To", f"<sip:{number}@{host}:{port}{replaces}>"), ("Referred-By", self._from))
        branch = _new_branch()
        message = self._message("REFER", next(self._cseq), branch, headers=headers)
        answer = await self._phone.transaction(message, branch + "REFER")
        if answer.status >= 300:
            raise CallRefused(answer.status, answer.reason)

    @property
    def dialog(self) -> str:
        """The call as the server knows it, for a Replaces header: its Call-ID with the tags of both ends."""
        return f"{self.call_id};to-tag={_tag(self._to)};from-tag={_tag(self._from)}"

    async def _cancel(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TRANSACTION_LIMIT):
                await self._replied.wait()  # RFC 3261, 9.1: not before a provisional response
                if not self.answered.done():
                    self.ended_by = "us"
                    cancel = self._message("CANCEL", self._invite_number, self._branch, uri=_uri(self._to))
                    await self._phone.transaction(cancel, self._branch + "CANCEL")
                    with contextlib.suppress(CallRefused):
                        await asyncio.shield(self.answered)

    async def _invite(self, headers: Sequence[tuple[str, str]], events: bool) -> None:
        """Send INVITE until anything comes back, then wait for the final response."""
        self._invite_number = next(self._cseq)
        self._branch = _new_branch()
        sdp = self._sdp(events=events)
        invite = self._message("INVITE", self._invite_number, self._branch, sdp, "application/sdp", headers)
        pause, deadline = _T1, time.monotonic() + _TRANSACTION_LIMIT
        while not self._replied.is_set():
            self._phone.send(invite)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._replied.wait()
            pause *= 2
            if time.monotonic() > deadline:
                self._over("refusal", TimeoutError(f"{self.number}: no reply to INVITE"))
                return

    def on_response(self, message: SipMessage) -> None:
        """A response to the INVITE."""
        self._replied.set()
        self.status = message.status
        if message.status < 300 and message.body:
            self._take_sdp(message.body)
        if message.status < 200:
            return
        if message.status >= 300:
            to = message.get("to")
            self._phone.send(self._message("ACK", self._invite_number, self._branch, uri=_uri(self._to), to=to))
            self._over("refusal", CallRefused(message.status, message.reason))
            return
        if not _tag(self._to):
            self._to = message.get("to")
        self._target = _uri(message.get("contact")) or self._target
        self._phone.send(self._message("ACK", self._invite_number, _new_branch()))
        if not self.answered.done():
            self.answered.set_result(time.monotonic())
            self._media.start()

    def on_request(self, message: SipMessage) -> None:
        """A request inside the call."""
        method = message.method
        if method == "ACK":
            return
        self.requests.append(message)
        if method in ("INVITE", "UPDATE") and message.body:
            self._take_sdp(message.body)
            hold = "a=sendonly" in message.body or "a=inactive" in message.body
            sdp = self._sdp(events=self._media.event_payload is not None, direction="recvonly" if hold else "")
            self._phone.reply(message, 200, "OK", sdp)
        elif method == "INVITE":
            self._phone.reply(message, 200, "OK", self._sdp(events=True))
        elif method in ("BYE", "OPTIONS", "INFO", "NOTIFY", "MESSAGE", "UPDATE"):
            self._phone.reply(message, 200, "OK")
        else:
            self._phone.reply(message, 501, "Not Implemented")
        if method == "BYE":
            self._over("them", CallRefused(487, "hung up by the other side"))

    def _over(self, by: Literal["us", "them", "refusal"], error: Exception) -> None:
        self.ended_by = self.ended_by or by
        self._ended.set()
        self._replied.set()
        self._media.remote = None  # nothing is sent or heard any more, a key still held goes nowhere
        if not self.answered.done():
            self.answered.set_exception(error)

    async def _request(self, method: str, body: str = "", kind: str = "") -> SipMessage:
        branch = _new_branch()
        message = self._message(method, next(self._cseq), branch, body, kind)
        return await self._phone.transaction(message, branch + method)

    def _message(
        self,
        method: str,
        number: int,
        branch: str,
        body: str = "",
        kind: str = "",
        headers: Sequence[tuple[str, str]] = (),
        *,
        uri: str = "",
        to: str = "",
    ) -> bytes:
        host, port = self._phone.address
        lines = [
            f"{method} {uri or self._target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch}",
            "Max-Forwards: 70",
            f"From: {self._from}",
            f"To: {to or self._to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:phone@{host}:{port}>",
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY",
            *(f"{name}: {value}" for name, value in headers),
        ]
        return _with_body(lines, body, kind)

    def _sdp(self, *, events: bool, direction: str = "") -> str:
        host, _ = self._phone.address
        name, kind = {"ulaw": ("PCMU", 0), "alaw": ("PCMA", 8)}[self._media.codec]
        formats = f"{kind} {_EVENT_PAYLOAD}" if events else f"{kind}"
        lines = ["v=0", f"o=phone 1 {self._offers} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
        lines += [f"m=audio {self._media_port} RTP/AVP {formats}", f"a=rtpmap:{kind} {name}/{RATE}"]
        if events:
            lines += [f"a=rtpmap:{_EVENT_PAYLOAD} telephone-event/{RATE}", f"a=fmtp:{_EVENT_PAYLOAD} 0-15"]
        lines += ["a=ptime:20", f"a={direction or 'sendrecv'}"]
        return "".join(f"{line}\r\n" for line in lines)

    def _take_sdp(self, text: str) -> None:
        host, port = "", 0
        self._media.event_payload = None
        for line in text.splitlines():
            if line.startswith("c=IN IP4 "):
                host = line.split()[2]
            elif line.startswith("m=audio "):
                port = int(line.split()[1])
            elif line.startswith("a=rtpmap:") and "telephone-event" in line:
                self._media.event_payload = int(line[9:].split()[0])
        if host and port:
            self._media.remote = (host, port)

    async def close(self) -> None:
        await self.hang_up()


def _new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)


def _with_body(lines: list[str], body: str, kind: str) -> bytes:
    data = body.encode()
    if data:
        lines.append(f"Content-Type: {kind}")
    lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + data


# --- The phone ------------------------------------------------------------------------------------------


class Phone:
    """A SIP phone without registration that calls extensions of one server.

    Use it as an async context manager: on leaving, every call is hung up and every socket closed. `tone` is
    what each of its calls sends (hertz, or None for silence).
    """

    def __init__(self, server: Address, *, tone: int | None = 400, host: str = "127.0.0.1") -> None:
        self.server = server
        self.tone = tone
        self.address: Address = (host, 0)
        self.calls: list[Call] = []
        self._signalling: _Signalling | None = None
        self._transactions: dict[str, asyncio.Future[SipMessage]] = {}
        self._inviting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Phone:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Bind the SIP socket; `call` does it when needed."""
        if self._signalling is None:
            self._signalling = _Signalling(self)
            self.address = await self._signalling.bind(self.address[0])

    async def close(self) -> None:
        """Hang up every call and close every socket."""
        await asyncio.gather(*(call.close() for call in self.calls))
        for task in tuple(self._inviting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._signalling is not None:
            await self._signalling.close()
            self._signalling = None

    async def call(
        self,
        number: str,
        *,
        from_user: str = "4512345678",
        display_name: str | None = None,
        codec: Codec = "ulaw",
        raw_from_user: str | None = None,
        events: bool = True,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Call:
        """Send an INVITE and return at once; ``await call.wait_answered()`` comes next.

        `number`, `raw_from_user` (instead of `from_user`) and `display_name` (between two quotes) go on the
        wire exactly as written: escape, or do not escape, as the test needs it. Without `events` no
        telephone events are offered, only tones in the audio. `headers` are added to the INVITE.
        """
        await self.open()
        media = _Media(codec, self.tone)
        _, port = await media.bind(self.address[0])
        user = from_user if raw_from_user is None else raw_from_user
        name = "" if display_name is None else f'"{display_name}" '
        call = Call(self, number, f"{name}<sip:{user}@{self.address[0]}>", media, port)
        self.calls.append(call)
        task = asyncio.get_running_loop().create_task(call._invite(headers, events))
        self._inviting.add(task)
        task.add_done_callback(self._inviting.discard)
        return call

    def send(self, message: bytes) -> None:
        """Send one datagram to the server."""
        if self._signalling is not None:
            self._signalling.send(message, self.server)

    async def transaction(self, message: bytes, key: str) -> SipMessage:
        """Send a request (not INVITE) until its final response comes. Raises `TimeoutError`.

        `key` is the branch followed by the method, by which the response is recognised.
        """
        future: asyncio.Future[SipMessage] = asyncio.get_running_loop().create_future()
        self._transactions[key] = future
        pause = _T1
        try:
            async with asyncio.timeout(_TRANSACTION_LIMIT):
                while True:
                    self.send(message)
                    done, _ = await asyncio.wait([future], timeout=pause)
                    if done:
                        return future.result()
                    pause = min(2 * pause, _T2)
        finally:
            del self._transactions[key]

    def reply(self, request: SipMessage, status: int, reason: str, sdp: str = "") -> None:
        lines = [f"SIP/2.0 {status} {reason}"]
        lines += [f"Via: {via}" for via in request.all("via")]
        lines += [f"{name}: {request.get(name.lower())}" for name in ("From", "To", "Call-ID", "CSeq")]
        lines.append(f"Contact: <sip:phone@{self.address[0]}:{self.address[1]}>")
        self.send(_with_body(lines, sdp, "application/sdp"))

    def on_message(self, message: SipMessage) -> None:
        call = next((call for call in self.calls if call.call_id == message.get("call-id")), None)
        if message.status:
            if message.method == "INVITE" and call is not None:
                call.on_response(message)
            waiting = self._transactions.get(message.branch + message.method)
            if waiting is not None and not waiting.done() and message.status >= 200:
                waiting.set_result(message)
        elif call is not None:
            call.on_request(message)
        elif message.method == "OPTIONS":
            self.reply(message, 200, "OK")
        elif message.method != "ACK":
            self.reply(message, 481, "Call/Transaction Does Not Exist")


class _Signalling(_Udp):
    def __init__(self, phone: Phone) -> None:
        super().__init__()
        self._phone = phone

    def datagram_received(self, data: bytes, addr: Address) -> None:
        message = SipMessage.parse(data)
        if message is not None:
            self._phone.on_message(message)
