from __future__ import annotations

import array
import asyncio
import socket
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ivr_consent.testing import phone as phone_module
from ivr_consent.testing import rig
from ivr_consent.testing.phone import (
    Call,
    CallRefused,
    Phone,
    SipMessage,
    alaw_decode,
    alaw_encode,
    dominant_tones,
    tone_power,
    tone_samples,
    ulaw_decode,
    ulaw_encode,
)
from ivr_consent.testing.wav import level, read_wav, windows

ALL_SAMPLES = range(-32768, 32768)


# --- Audio ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_g711_equals_the_reference(law: str) -> None:
    audioop = pytest.importorskip("audioop", reason="the rival of our own tables is gone from Python 3.13")
    encode, decode = {"ulaw": (ulaw_encode, ulaw_decode), "alaw": (alaw_encode, alaw_decode)}[law]
    raw = array.array("h", ALL_SAMPLES).tobytes()
    assert encode(ALL_SAMPLES) == getattr(audioop, f"lin2{law}")(raw, 2)
    reference = array.array("h", getattr(audioop, f"{law}2lin")(bytes(range(256)), 2))
    assert decode(bytes(range(256))) == reference.tolist()


@pytest.mark.parametrize("hz", [200, 400, 697, 1000, 1633, 3399])
def test_a_single_tone_is_found(hz: int) -> None:
    pcm = ulaw_decode(ulaw_encode(tone_samples((hz,), 0.3)))
    (found,) = dominant_tones(pcm)
    assert abs(found - hz) <= 5


def test_power_is_that_of_the_sine() -> None:
    pcm = tone_samples((1000,), 0.1, amplitude=1.0)
    assert tone_power(pcm, 1000) == pytest.approx(0.5, rel=0.01)
    assert tone_power(pcm, 400) < 1e-6
    assert level(pcm) == pytest.approx(0.5, rel=0.01)


def test_two_tones_and_silence() -> None:
    assert sorted(dominant_tones(tone_samples((697, 1209), 0.1))) == pytest.approx([697, 1209], abs=5)
    assert dominant_tones([0] * 8000) == []
    assert dominant_tones([]) == []
    assert tone_power([], 400) == 0


def test_windows_show_when_a_tone_changes() -> None:
    pcm = tone_samples((400,), 0.5) + [0] * 800 + tone_samples((1000,), 0.44)
    found = windows(pcm)
    assert [w.has(400) for w in found] == [True] * 5 + [False] * 5
    assert [w.has(1000) for w in found] == [False] * 6 + [True] * 4
    assert found[5].tones == ()
    assert found[7].start == pytest.approx(0.7)


def test_wav_channels_are_told_apart(tmp_path: Path) -> None:
    left, right = tone_samples((400,), 0.5), tone_samples((1000,), 0.5)
    path = tmp_path / "two.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(array.array("h", [x for pair in zip(left, right, strict=True) for x in pair]).tobytes())
    wav = read_wav(path)
    assert (wav.rate, len(wav.channels), wav.seconds) == (8000, 2, 0.5)
    assert wav.channels[0].tolist() == left
    assert all(w.has(1000) and not w.has(400) for w in wav.windows(1))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x10\0\0\0WAVEdata\0\0\0\0", b"noise" * 20])
def test_what_is_no_wav_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.wav"):
        read_wav(path)


def test_eight_bit_wav_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * 100)
    with pytest.raises(ValueError, match="8-bit"):
        read_wav(path)


# --- Against a scripted server --------------------------------------------------------------------------

Answer = Callable[[SipMessage], list[tuple[int, str]]]

SDP = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"


class Server(asyncio.DatagramProtocol):
    """Answers requests as a function says, and sees every byte of signalling and media."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.raw: list[bytes] = []
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind(("127.0.0.1", 0))
        self.rtp.setblocking(False)
        self.peer: tuple[str, int] = ("", 0)
        self.gone = asyncio.get_running_loop().create_future()

    async def open(self) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        name: tuple[str, int] = self.transport.get_extra_info("sockname")
        return name

    async def close(self) -> None:
        self.transport.close()
        self.rtp.close()
        await self.gone

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.raw.append(data)
        self.peer = addr
        message = SipMessage.parse(data)
        assert message is not None
        self.last = message
        for status, reason in self.answer(message):
            self.reply(message, status, reason)

    def reply(self, message: SipMessage, status: int, reason: str) -> None:
        body = SDP.format(port=self.rtp.getsockname()[1]) if message.method == "INVITE" and status == 200 else ""
        lines = [f"SIP/2.0 {status} {reason}", f"v: {message.get('via')}", f"f: {message.get('from')}"]
        lines += [f"t: {message.get('to').partition(';')[0]};tag=server", f"i: {message.get('call-id')}"]
        lines += [f"CSeq: {message.get('cseq')}", "m: <sip:inside@127.0.0.1:9>", f"l: {len(body)}"]
        self.transport.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.peer)

    def request(self, call: Call, method: str, number: int, body: str = "") -> None:
        lines = [f"{method} sip:phone@127.0.0.1 SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKs{number}"]
        lines += ["From: <sip:s@x>;tag=server", "To: <sip:p@x>;tag=p", f"Call-ID: {call.call_id}"]
        lines += [f"CSeq: {number} {method}", "Content-Length: 0"]
        self.transport.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.peer)

    def methods(self) -> list[str]:
        return [raw.split(b" ", 1)[0].decode() for raw in self.raw]

    async def until(self, count: int, start: str) -> None:
        async with asyncio.timeout(30):
            while sum(raw.startswith(start.encode()) for raw in self.raw) < count:
                await asyncio.sleep(0.005)


def agreeable(message: SipMessage) -> list[tuple[int, str]]:
    return [] if message.method == "ACK" else [(200, "OK")]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def make(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield make
    for server in servers:
        await server.close()


async def test_the_wire_carries_the_caller_verbatim(serve: Callable[[Answer], Server]) -> None:
    server = serve(agreeable)
    async with Phone(await server.open()) as phone:
        evil = "55%0a%0a200%20result=0"
        call = await phone.call("1%0a0", raw_from_user=evil, display_name=r"a\"b\n<x>", headers=[("X-A", "1")])
        await call.wait_answered()
    invite = server.raw[0].decode()
    assert invite.startswith("INVITE sip:1%0a0@127.0.0.1:")
    assert f'\r\nFrom: "a\\"b\\n<x>" <sip:{evil}@127.0.0.1>;tag=' in invite
    assert "\r\nX-A: 1\r\n" in invite
    assert server.methods() == ["INVITE", "ACK", "BYE"]
    assert server.raw[2].startswith(b"BYE sip:inside@127.0.0.1:9 SIP/2.0")
    assert call.ended_by == "us"
    assert not call.alive


async def test_invite_and_bye_are_sent_again_until_answered(
    serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone_module, "_T1", 0.02)
    lost = {"INVITE": 2, "BYE": 2}

    def lossy(message: SipMessage) -> list[tuple[int, str]]:
        if lost.get(message.method, 0):
            lost[message.method] -= 1
            return []
        return agreeable(message)

    server = serve(lossy)
    async with Phone(await server.open()) as phone:
        await (await phone.call("100")).wait_answered()
    assert server.methods() == ["INVITE"] * 3 + ["ACK"] + ["BYE"] * 3
    assert len({raw for raw in server.raw if raw.startswith(b"INVITE")}) == 1


async def test_a_repeated_answer_is_acknowledged_again(serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda m: [(100, "Trying"), (180, "Ringing"), (200, "OK"), (200, "OK")][: 4 * (m.method != "ACK")])
    async with Phone(await server.open()) as phone:
        await (await phone.call("100")).wait_answered()
        await server.until(2, "ACK")


async def test_no_reply_at_all(serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_module, "_T1", 0.02)
    monkeypatch.setattr(phone_module, "_TRANSACTION_LIMIT", 0.2)
    server = serve(lambda message: [])
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        with pytest.raises(TimeoutError, match="no reply"):
            await call.wait_answered()
        assert not call.alive


async def test_a_refused_call_says_why(serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda m: [(486, "Busy Here")] if m.method == "INVITE" else [])
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        with pytest.raises(CallRefused) as caught:
            await call.answered
        assert (caught.value.status, caught.value.reason) == (486, "Busy Here")
        assert call.ended_by == "refusal"
        await server.until(1, "ACK")
    ack, invite = (SipMessage.parse(raw) for raw in (server.raw[1], server.raw[0]))
    assert ack is not None
    assert invite is not None
    assert ack.branch == invite.branch
    assert ack.get("to").endswith(";tag=server")
    assert server.methods() == ["INVITE", "ACK"]


async def test_hanging_up_a_ringing_call_cancels_it(serve: Callable[[Answer], Server]) -> None:
    invites: list[SipMessage] = []

    def ring(message: SipMessage) -> list[tuple[int, str]]:
        if message.method == "INVITE":
            invites.append(message)
            return [(180, "Ringing")]
        if message.method == "CANCEL":
            server.reply(message, 200, "OK")
            server.reply(invites[0], 487, "Request Terminated")
        return []

    server = serve(ring)
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        await call.hang_up()
        await call.wait_hung_up(0)
        assert call.ended_by == "us"
        assert call.status == 487
    await server.until(1, "ACK")
    assert server.methods() == ["INVITE", "CANCEL", "ACK"]


async def test_requests_inside_the_call_are_answered(serve: Callable[[Answer], Server]) -> None:
    server = serve(agreeable)
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        await call.wait_answered()
        other_port = server.rtp.getsockname()[1]
        hold = SDP.format(port=other_port) + "a=sendonly\r\n"
        for number, (method, body) in enumerate(
            [("OPTIONS", ""), ("INFO", ""), ("INVITE", hold), ("PUBLISH", ""), ("BYE", "")], 1
        ):
            server.request(call, method, number, body)
        await call.wait_hung_up(2)
        await server.until(4, "SIP/2.0 200")
        await server.until(1, "SIP/2.0 501")
        assert call.ended_by == "them"
        assert not call.up
        assert [request.method for request in call.requests] == ["OPTIONS", "INFO", "INVITE", "PUBLISH", "BYE"]
        assert any(b"a=recvonly" in raw for raw in server.raw)
        with pytest.raises(RuntimeError, match="not up"):
            await call.press("1")
    assert "BYE" not in server.methods()


async def test_strangers_are_turned_away(serve: Callable[[Answer], Server]) -> None:
    server = serve(agreeable)
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        await call.wait_answered()
        call.call_id, known = "other", call.call_id
        server.request(call, "OPTIONS", 1)
        call.call_id = "third"
        server.request(call, "ACK", 2)
        server.request(call, "BYE", 3)
        server.transport.sendto(b"\r\n\r\n", server.peer)
        call.call_id = known
        await server.until(1, "SIP/2.0 200")
        await server.until(1, "SIP/2.0 481")
        assert call.alive


def _events(server: Server) -> Iterator[tuple[bool, int, int, bool, int]]:
    """(marker, timestamp, key, end, duration) of every event packet sent so far."""
    while True:
        try:
            data = server.rtp.recv(2048)
        except BlockingIOError:
            return
        if data[1] & 0x7F == 96:
            timestamp = int.from_bytes(data[4:8], "big")
            duration = int.from_bytes(data[14:16], "big")
            yield bool(data[1] & 0x80), timestamp, data[12], bool(data[13] & 0x80), duration


async def test_a_key_on_the_wire(serve: Callable[[Answer], Server]) -> None:
    server = serve(agreeable)
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        await call.wait_answered()
        await call.press("#", duration=0.1)
        sent = list(_events(server))
        assert [(m, k, e, d) for m, _, k, e, d in sent] == [
            *((n == 1, 11, False, n * 160) for n in range(1, 6)),
            *[(False, 11, True, 800)] * 3,
        ]
        assert len({timestamp for _, timestamp, *_ in sent}) == 1
        await call.key_down("d")
        with pytest.raises(RuntimeError, match="already"):
            await call.press("1")
        await call.key_up()
        held = list(_events(server))
        assert held[0][0]
        assert held[0][1] != sent[0][1]
        assert [e for _, _, _, e, _ in held[-3:]] == [True] * 3
        with pytest.raises(RuntimeError, match="no key"):
            await call.key_up()


async def test_a_very_long_key_goes_on_in_a_new_segment(
    serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone_module, "FRAME_SECONDS", 0.0005)  # 8 seconds of it would be a long test
    server = serve(agreeable)
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        await call.wait_answered()
        pressing = asyncio.ensure_future(call.press("5", duration=415 * 0.0005))
        sent: list[tuple[bool, int, int, bool, int]] = []
        while not pressing.done():
            sent += _events(server)
            await asyncio.sleep(0.005)
        sent += _events(server)
    assert [marker for marker, *_ in sent].count(True) == 1
    first, second = sorted({timestamp for _, timestamp, *_ in sent}, key=lambda t: t - sent[0][1] & 0xFFFFFFFF)
    assert second - first & 0xFFFFFFFF == 409 * 160
    assert [d for _, t, _, e, d in sent if t == second] == [160 * n for n in range(1, 7)] + [960] * 3


async def test_no_events_were_negotiated(serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SDP", "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP 0\r\n")
    server = serve(agreeable)
    async with Phone(await server.open()) as phone:
        call = await phone.call("100", events=False)
        await call.wait_answered()
        assert b"telephone-event" not in server.raw[0]
        with pytest.raises(RuntimeError, match="no telephone events"):
            await call.press("1")


async def test_hanging_up_lets_go_of_who_is_waiting(serve: Callable[[Answer], Server]) -> None:
    server = serve(agreeable)
    async with Phone(await server.open()) as phone:
        call = await phone.call("100")
        await call.wait_answered()
        waiting = [call.press("1", duration=30), call.play([0] * 240_000)]
        tasks = [asyncio.ensure_future(one) for one in waiting]
        await asyncio.sleep(0)  # both begin
        await call.hang_up()
        async with asyncio.timeout(15):
            await asyncio.gather(*tasks)


# --- Against Asterisk -----------------------------------------------------------------------------------

DIALPLAN = """
[globals]
GOT=nothing
CALLER=nobody
[from-sip]
exten => 100,1,Answer()
 same => n,Playtones(1000)
 same => n,Wait(20)
exten => 101,1,Answer()
 same => n,Read(KEYS,,${LEN(${CALLERID(num)})},,,12)
 same => n,Set(GLOBAL(GOT)=${KEYS})
 same => n,Playtones(1500)
 same => n,Wait(20)
exten => 102,1,Answer()
 same => n,Set(GLOBAL(CALLER)=${URIENCODE(${CALLERID(num)})}/${URIENCODE(${CALLERID(name)})})
 same => n,Hangup()
exten => 103,1,Progress()
 same => n,Wait(20)
exten => 104,1,Answer()
 same => n,Echo()
exten => 105,1,Answer()
 same => n,Queue(support,,,,10)
exten => 106,1,Set(CHANNEL(hangup_handler_push)=gone,s,1)
 same => n,Answer()
 same => n,Wait(20)
exten => _.,1,Hangup(17)
[gone]
exten => s,1,Set(GLOBAL(GOT)=handler ran)
 same => n,Return()
"""


@pytest.fixture(scope="module", params=["22", "16"])
def pbx(request: pytest.FixtureRequest) -> Iterator[rig.Instance]:
    instance = rig.Instance(request.param, dialplan=DIALPLAN, dtmf_mode="auto")
    try:
        asyncio.run(instance.start())
    except rig.RigUnavailable as error:
        rig.skip_or_fail(str(error))
    yield instance
    asyncio.run(instance.stop())


@pytest.fixture
async def phone(pbx: rig.Instance) -> AsyncIterator[Phone]:
    await pbx.cli("dialplan set global GOT nothing")
    async with Phone(("127.0.0.1", pbx.sip_port)) as phone:
        yield phone


async def variable(pbx: rig.Instance, name: str) -> str:
    text = await pbx.cli("dialplan show globals")
    return next(line.strip().partition("=")[2] for line in text.splitlines() if line.strip().startswith(name + "="))


@pytest.mark.live
@pytest.mark.parametrize("codec", ["ulaw", "alaw"])
async def test_a_call_hears_the_tone(phone: Phone, codec: phone_module.Codec) -> None:
    call = await phone.call("100", codec=codec)
    answered = await call.wait_answered()
    heard_at = await call.wait_tone(1000)
    assert heard_at - answered < 2
    assert call.up
    await call.play(tone_samples((300,), 0.3))
    assert call.heard_tones(heard_at) == pytest.approx([1000], abs=10)
    await call.hang_up()
    assert call.ended_by == "us"


@pytest.mark.live
async def test_what_is_said_comes_back_as_echo(phone: Phone) -> None:
    call = await phone.call("104")
    await call.wait_answered()
    await call.wait_tone(400)
    call.tone = 1200
    await call.wait_tone(1200)
    call.tone = None
    start = time.monotonic() + 0.3
    await call.play(tone_samples((700,), 0.6))
    assert call.heard_tones(start) == pytest.approx([700], abs=10)


@pytest.mark.live
async def test_keys_as_events(pbx: rig.Instance, phone: Phone) -> None:
    call = await phone.call("101", from_user="123456")
    await call.wait_answered()
    for key in "19*":
        await call.press(key)
    await call.press("0", duration=1.0)
    await call.key_down("2")
    await call.key_up()
    await call.press("2", duration=0.04)
    await call.wait_tone(1500)
    assert await variable(pbx, "GOT") == "19*022"


@pytest.mark.live
async def test_a_key_held_longer_than_an_event_can_say(pbx: rig.Instance, phone: Phone) -> None:
    call = await phone.call("101", from_user="1")
    await call.wait_answered()
    await call.press("7", duration=8.5)
    await call.wait_tone(1500)
    assert await variable(pbx, "GOT") == "7"


@pytest.mark.live
async def test_keys_by_info(pbx: rig.Instance, phone: Phone) -> None:
    call = await phone.call("101", from_user="123")
    await call.wait_answered()
    await call.press_info("4")
    await call.press_info("5", duration=0.5)
    await call.press_info("*")
    await call.wait_tone(1500)
    assert await variable(pbx, "GOT") == "45*"


@pytest.mark.live
async def test_keys_as_tones(pbx: rig.Instance, phone: Phone) -> None:
    call = await phone.call("101", from_user="123", events=False)
    await call.wait_answered()
    await call.press_inband("6")
    await call.press_inband("8", duration=1.0)
    await call.press_inband("*")
    await call.wait_tone(1500)
    assert await variable(pbx, "GOT") == "68*"


@pytest.mark.live
async def test_a_line_break_in_the_caller_reaches_the_server(pbx: rig.Instance, phone: Phone) -> None:
    call = await phone.call("102", raw_from_user="55%0a%0a200%20result=0", display_name="a'b`c")
    await call.wait_hung_up()
    assert call.ended_by == "them"
    assert await variable(pbx, "CALLER") == "55%0A%0A200%20result%3D0/a'b%60c"


@pytest.mark.live
async def test_hanging_up_while_it_rings(pbx: rig.Instance, phone: Phone) -> None:
    call = await phone.call("103")
    await call.hang_up()
    assert call.status == 487
    async with asyncio.timeout(30):
        while "0 active calls" not in await pbx.cli("core show channels count"):
            await asyncio.sleep(0.02)


@pytest.mark.live
async def test_a_busy_number(phone: Phone) -> None:
    call = await phone.call("999")
    with pytest.raises(CallRefused, match="486"):
        await call.wait_answered()


@pytest.mark.live
async def test_the_queue_has_an_agent(phone: Phone) -> None:
    call = await phone.call("105")
    await call.wait_answered()
    await call.wait_tone(600)


@pytest.mark.live
async def test_a_hangup_handler_runs(pbx: rig.Instance, phone: Phone) -> None:
    call = await phone.call("106")
    await call.wait_answered()
    await call.hang_up()
    async with asyncio.timeout(30):
        while await variable(pbx, "GOT") != "handler ran":
            await asyncio.sleep(0.05)
