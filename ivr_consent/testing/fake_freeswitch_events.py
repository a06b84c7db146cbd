"""The events of the fake FreeSWITCH: which headers a channel's event has, in which order, and how they are written.

Names, order and the caller's made-up values are those of the recorded transcripts (FreeSWITCH 1.10.12).
"""

from __future__ import annotations

import itertools
import json
import re
import time
from datetime import UTC, datetime
from typing import Final

Headers = dict[str, str]

MYEVENTS: Final = frozenset(
    re.findall(
        r"\S+",
        "CHANNEL_ANSWER CHANNEL_APPLICATION CHANNEL_BRIDGE CHANNEL_CREATE CHANNEL_DATA CHANNEL_DESTROY CHANNEL_EXECUTE "
        "CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE CHANNEL_ORIGINATE CHANNEL_UUID "
        "CHANNEL_OUTGOING "
        "CHANNEL_PARK CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_STATE CHANNEL_UNBRIDGE CHANNEL_UNPARK "
        "DETECTED_SPEECH DTMF NOTALK TALK",
    )
)
"""What ``myevents`` subscribes to."""

_NAMES: Final = frozenset(
    re.findall(
        r"\S+",
        "ALL CUSTOM BACKGROUND_JOB CHANNEL_CALLSTATE CHANNEL_HOLD CHANNEL_UNHOLD PLAYBACK_START PLAYBACK_STOP "
        "RECORD_START RECORD_STOP MEDIA_BUG_START MEDIA_BUG_STOP HEARTBEAT API SHUTDOWN",
    )
)
EVENT_NAMES: Final = MYEVENTS | _NAMES
"""The events that ``event`` knows here; the real one has some sixty more."""

STATE_NUMBERS: Final = {"CS_ROUTING": "2", "CS_EXECUTE": "4", "CS_RESET": "9", "CS_HANGUP": "10", "CS_REPORTING": "11"}

_SOURCE: Final = {
    "CHANNEL_DATA": ("mod_event_socket.c", "parse_command", 2021),
    "CHANNEL_PARK": ("switch_ivr.c", "switch_ivr_park", 1002),
    "CHANNEL_UNPARK": ("switch_ivr.c", "switch_ivr_park", 1213),
    "CHANNEL_EXECUTE": ("switch_core_session.c", "switch_core_session_exec", 2944),
    "CHANNEL_EXECUTE_COMPLETE": ("switch_core_session.c", "switch_core_session_exec", 2967),
    "CHANNEL_ANSWER": ("switch_channel.c", "switch_channel_perform_mark_answered", 3846),
    "CHANNEL_HANGUP": ("switch_channel.c", "switch_channel_perform_hangup", 3445),
    "CHANNEL_STATE": ("switch_channel.c", "switch_channel_perform_set_running_state", 2408),
    "CHANNEL_CALLSTATE": ("switch_channel.c", "switch_channel_perform_set_callstate", 301),
    "CHANNEL_HANGUP_COMPLETE": ("switch_core_state_machine.c", "switch_core_session_reporting_state", 943),
    "CHANNEL_BRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1689),
    "CHANNEL_UNBRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1879),
    "PLAYBACK_START": ("switch_ivr_play_say.c", "switch_ivr_play_file", 1646),
    "PLAYBACK_STOP": ("switch_ivr_play_say.c", "switch_ivr_play_file", 2020),
    "DTMF": ("switch_channel.c", "switch_channel_dequeue_dtmf", 677),
    "RECORD_START": ("switch_ivr_async.c", "record_callback", 1481),
    "RECORD_STOP": ("switch_ivr_async.c", "send_record_stop_event", 1240),
    "MEDIA_BUG_START": ("switch_core_media_bug.c", "switch_core_media_bug_add", 1014),
    "MEDIA_BUG_STOP": ("switch_core_media_bug.c", "switch_core_media_bug_destroy", 84),
}
_unsafe = re.compile(rb"%(?![0-9A-Fa-f]{2})|[\x00-\x20\"#&+:;<=>?@\[\\\]^`{|}\x7f-\xff]")
_STAMP: Final = "%Y-%m-%d %H:%M:%S"
_sequence = itertools.count(1)

CORE_UUID: Final = "7fb6e1a3-67b7-43de-8d81-2ebbf419e859"
HOSTNAME: Final = "vm"

VARIABLES: Final[tuple[tuple[str, str], ...]] = (
    ("direction", "{direction}"),
    ("uuid", "{uuid}"),
    ("session_id", "{session}"),
    ("sip_from_user", "{number}"),
    ("sip_from_uri", "{number}@127.0.0.1"),
    ("sip_from_host", "127.0.0.1"),
    ("video_media_flow", "disabled"),
    ("text_media_flow", "disabled"),
    ("channel_name", "{channel}"),
    ("sip_call_id", "{call}"),
    ("sip_local_network_addr", "127.0.0.1"),
    ("sip_network_ip", "127.0.0.1"),
    ("sip_network_port", "15060"),
    ("sip_invite_stamp", "{created}"),
    ("sip_received_ip", "127.0.0.1"),
    ("sip_received_port", "15060"),
    ("sip_via_protocol", "udp"),
    ("sip_from_user_stripped", "{number}"),
    ("sip_from_tag", "K7rp6UyQ7gjBe"),
    ("sofia_profile_name", "internal"),
    ("sofia_profile_url", "sip:mod_sofia@127.0.0.1:15060"),
    ("recovery_profile_name", "internal"),
    ("sip_Remote-Party-ID", '"{name}" <sip:{number}@127.0.0.1>;party=calling;screen=yes;privacy=off'),
    ("sip_cid_type", "rpid"),
    ("sip_full_via", "SIP/2.0/UDP 127.0.0.1:15060;rport=15060;branch=z9hG4bK3pNNmepgQ9DcQ"),
    ("sip_from_display", "{name}"),
    ("sip_full_from", '"{name}" <sip:{number}@127.0.0.1>;tag=K7rp6UyQ7gjBe'),
    ("sip_full_to", "<sip:{destination}@127.0.0.1:15060>"),
    ("sip_allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY"),
    ("sip_req_user", "{destination}"),
    ("sip_req_port", "15060"),
    ("sip_req_uri", "{destination}@127.0.0.1:15060"),
    ("sip_req_host", "127.0.0.1"),
    ("sip_to_user", "{destination}"),
    ("sip_to_port", "15060"),
    ("sip_to_uri", "{destination}@127.0.0.1:15060"),
    ("sip_to_host", "127.0.0.1"),
    ("sip_contact_user", "mod_sofia"),
    ("sip_contact_port", "15060"),
    ("sip_contact_uri", "mod_sofia@127.0.0.1:15060"),
    ("sip_contact_host", "127.0.0.1"),
    ("sip_user_agent", "FreeSWITCH-mod_sofia/1.10.12-release+git~20240802T210227Z~a88d069d6f~64bit"),
    ("sip_via_host", "127.0.0.1"),
    ("sip_via_port", "15060"),
    ("sip_via_rport", "15060"),
    ("max_forwards", "70"),
    (
        "switch_r_sdp",
        "v=0\r\no=FreeSWITCH 1795282023 1795282024 IN IP4 127.0.0.1\r\ns=FreeSWITCH\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 21286 RTP/AVP 0 8 101 13\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtpmap:13 CN/8000\r\na=ptime:20\r\n",
    ),
    ("ep_codec_string", "CORE_PCM_MODULE.PCMU@8000h@20i@64000b,CORE_PCM_MODULE.PCMA@8000h@20i@64000b"),
    ("rtp_use_codec_string", "PCMU,PCMA"),
    ("remote_video_media_flow", "inactive"),
    ("remote_text_media_flow", "inactive"),
    ("remote_audio_media_flow", "sendrecv"),
    ("audio_media_flow", "sendrecv"),
    ("remote_media_ip", "127.0.0.1"),
    ("remote_media_port", "21286"),
    ("rtp_audio_recv_pt", "0"),
    ("rtp_use_codec_name", "PCMU"),
    ("rtp_use_codec_rate", "{rate}"),
    ("rtp_use_codec_ptime", "20"),
    ("rtp_use_codec_channels", "1"),
    ("rtp_last_audio_codec_string", "PCMU@8000h@20i@1c"),
    ("read_codec", "PCMU"),
    ("original_read_codec", "PCMU"),
    ("read_rate", "{rate}"),
    ("original_read_rate", "{rate}"),
    ("write_codec", "PCMU"),
    ("write_rate", "{rate}"),
    ("dtmf_type", "rfc2833"),
    ("endpoint_disposition", "RECEIVED"),
    ("call_uuid", "{uuid}"),
)
"""A fresh SIP call's variables, without the prefix ``variable_``."""

ANSWERED: Final = {
    "rtp_local_sdp_str": "v=0\r\no=FreeSWITCH 1795281945 1795281946 IN IP4 127.0.0.1\r\ns=FreeSWITCH\r\nt=0 0\r\n",
    "local_media_ip": "127.0.0.1",
    "local_media_port": "21364",
    "advertised_media_ip": "127.0.0.1",
    "rtp_use_timer_name": "soft",
    "rtp_use_pt": "0",
    "rtp_use_ssrc": "2131459285",
    "rtp_2833_send_payload": "101",
    "rtp_2833_recv_payload": "101",
    "remote_media_ip": "127.0.0.1",
    "remote_media_port": "21286",
    "endpoint_disposition": "ANSWER",
}
"""Variables that the answer sets."""

_SPANS: Final = ("", "bill", "progress", "answer", "wait", "progress_media", "flow_bill")
_RTP: Final = re.findall(
    r"\S+",
    "in_raw_bytes in_media_bytes in_packet_count in_media_packet_count in_skip_packet_count in_jitter_packet_count "
    "in_dtmf_packet_count in_cng_packet_count in_flush_packet_count in_largest_jb_size in_jitter_min_variance "
    "in_jitter_max_variance in_jitter_loss_rate in_jitter_burst_rate in_mean_interval in_flaw_total "
    "in_quality_percentage in_mos out_raw_bytes out_media_bytes out_packet_count out_media_packet_count "
    "out_skip_packet_count out_dtmf_packet_count out_cng_packet_count rtcp_packet_count rtcp_octet_count",
)


def micros(at: float) -> str:
    """A moment (``time.time``) as FreeSWITCH writes it; 0 for never."""
    return str(int(at * 1_000_000))


def hangup_variables(cause: str, number: str, name: str, created: float, answered: float) -> Headers:
    """What CHANNEL_HANGUP_COMPLETE has more: the times of the call in all units, and the counters of its RTP."""
    now = time.time()
    stamps = {"start": created, "profile_start": created, "answer": answered, "end": now}
    found = {"hangup_cause": cause, "hangup_cause_q850": str(Q850.get(cause, 16)), "digits_dialed": "none"}
    found |= {f"{key}_stamp": datetime.fromtimestamp(at, UTC).strftime(_STAMP) for key, at in stamps.items() if at}
    for key in ("start", "profile_start", "answer", "bridge", "last_hold"):
        at = stamps.get(key, 0.0)
        found |= {f"{key}_epoch": str(int(at)), f"{key}_uepoch": micros(at)}
    found |= {"hold_accum_seconds": "0", "hold_accum_usec": "0", "hold_accum_ms": "0"}
    for key in ("resurrect", "progress", "progress_media", "end"):
        at = stamps.get(key, 0.0)
        found |= {f"{key}_epoch": str(int(at)), f"{key}_uepoch": micros(at)}
    found["caller_id"] = f'"{name}" <{number}>'
    lengths = {"": now - created, "flow_bill": now - created, "answer": max(0.0, answered - created)}
    lengths["bill"] = now - answered if answered else 0.0
    for unit, factor in (("sec", 1), ("msec", 1000), ("usec", 1_000_000)):
        for span in _SPANS:
            key = (f"{span}{unit}") if span else {"sec": "duration", "msec": "mduration", "usec": "uduration"}[unit]
            found[key] = str(int(lengths.get(span, 0.0) * factor))
    return found | {f"rtp_audio_{key}": "0" for key in _RTP}


Q850: Final = {
    "NORMAL_CLEARING": 16,
    "USER_BUSY": 17,
    "DESTINATION_OUT_OF_ORDER": 27,
    "NO_ROUTE_DESTINATION": 3,
    "NORMAL_TEMPORARY_FAILURE": 41,
    "MANAGER_REQUEST": 16,
}


def head(name: str, first: Headers | None = None) -> Headers:
    """The headers with which every event begins; ``first`` (a CUSTOM event's subclass) comes before them."""
    at = datetime.now(UTC)
    file, function, line = _SOURCE.get(name, ("fake.c", "fake", 1))
    return {
        **(first or {}),
        "Event-Name": name,
        "Core-UUID": CORE_UUID,
        "FreeSWITCH-Hostname": HOSTNAME,
        "FreeSWITCH-Switchname": HOSTNAME,
        "FreeSWITCH-IPv4": "192.0.2.2",
        "FreeSWITCH-IPv6": "fd00::2",
        "Event-Date-Local": at.strftime(_STAMP),
        "Event-Date-GMT": at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Event-Date-Timestamp": str(int(at.timestamp() * 1_000_000)),
        "Event-Calling-File": file,
        "Event-Calling-Function": function,
        "Event-Calling-Line-Number": str(line),
        "Event-Sequence": str(next(_sequence)),
    }


def encode(value: str) -> str:
    """A value as FreeSWITCH url-encodes it: what looks encoded already stays, so ``%0A`` of a caller stays ``%0A``."""
    raw = value.encode("utf-8", "surrogateescape")
    return _unsafe.sub(_percent, raw).decode("ascii")


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(match[0])


def plain(headers: Headers, body: str = "") -> bytes:
    """An event as ``text/event-plain``: encoded values, ``_undef_`` for an empty one, a blank line."""
    lines = [f"{key}: {encode(value) if value else '_undef_'}\n" for key, value in headers.items()]
    if body:
        content = body.encode("utf-8", "surrogateescape")
        return "".join(lines).encode("ascii") + b"Content-Length: %d\n\n" % len(content) + content
    return ("".join(lines) + "\n").encode("ascii")


def as_json(headers: Headers, body: str = "") -> bytes:
    """An event as ``text/event-json``: nothing is url-encoded, and bytes that are no UTF-8 go out as they came in."""
    whole = headers if not body else {**headers, "Content-Length": str(len(body.encode())), "_body": body}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")


def framed(kind: str, content: bytes) -> bytes:
    """An event's message: header block and content."""
    return b"Content-Length: %d\nContent-Type: text/event-%s\n\n" % (len(content), kind.encode("ascii")) + content
