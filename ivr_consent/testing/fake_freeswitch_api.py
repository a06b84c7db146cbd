"""The api commands of the fake FreeSWITCH, with the answers of the real one, line ends included."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ivr_consent.testing.fake_freeswitch_dialplan import Place
from ivr_consent.testing.fake_freeswitch_events import HOSTNAME, as_json, head, plain

if TYPE_CHECKING:
    from ivr_consent.testing.fake_freeswitch import FakeFreeSwitch
    from ivr_consent.testing.fake_freeswitch_channel import Channel

_GONE: Final = "-ERR No such channel!\n"
_RECORD_USAGE: Final = "-USAGE: <uuid> [start|stop|mask|unmask] <path> [<limit>] [<recording_vars>]\n"
_NO_REPLY: Final = "-ERR no reply\n"

Api = Callable[["FakeFreeSwitch", list[str]], str]


def answer(switch: FakeFreeSwitch, text: str) -> str:
    """What ``api text`` answers."""
    name, _, rest = text.partition(" ")
    command = APIS.get(name.lower())
    if command is None:
        return f"-ERR {name} Command not found!\n"
    return command(switch, rest.split()) or _NO_REPLY


def _channel(switch: FakeFreeSwitch, words: list[str]) -> Channel | None:
    return switch.find(words[0]) if words else None


def status(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``status``."""
    up = int(time.monotonic() - switch.began)
    count = len(switch.channels)
    return (
        f"UP 0 years, 0 days, {up // 3600} hours, {up // 60 % 60} minutes, {up % 60} seconds, 0 milliseconds, 0 "
        "microseconds\nFreeSWITCH (Version 1.10.12-release git a88d069 2024-08-02 21:02:27Z 64bit) is ready\n"
        f"{switch.count} session(s) since startup\n{count} session(s) - peak {count}, last 5min {count} \n"
        f"0 session(s) per Sec out of max 200, peak 2, last 5min 2 \n500 session(s) max\nmin idle cpu 0.00/94.10\n"
        "Current Stack Size/Max 240K/8192K\n"
    )


def uuid_exists(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_exists <uuid>``: no line end."""
    return "true" if _channel(switch, words) else "false"


def uuid_getvar(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_getvar <uuid> <name>``: no line end, ``_undef_`` for none."""
    if len(words) < 2:
        return "-USAGE: <uuid> <var>\n"
    channel = _channel(switch, words)
    return _GONE if channel is None else channel.variables.get(words[1]) or channel.built_in(words[1]) or "_undef_"


def uuid_setvar(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_setvar <uuid> <name> [value]``."""
    if len(words) < 2:
        return "-USAGE: <uuid> <var> [value]\n"
    channel = _channel(switch, words)
    if channel is None:
        return _GONE
    channel.set(words[1], " ".join(words[2:]))
    return "+OK\n"


def uuid_setvar_multi(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_setvar_multi <uuid> a=1;b=2``."""
    channel = _channel(switch, words)
    if channel is None:
        return _GONE
    for pair in " ".join(words[1:]).split(";"):
        name, _, value = pair.partition("=")
        channel.set(name, value)
    return "+OK\n"


def uuid_record(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_record <uuid> start|stop|mask|unmask|pause|resume <path>``."""
    if len(words) < 3:
        return _RECORD_USAGE
    channel = _channel(switch, words)
    if channel is None:
        return "-ERR Cannot locate session!\n"
    action, path = words[1].lower(), words[2]
    if action == "start":
        return "+OK Success\n" if channel.record(path) else "-ERR Cannot record session!\n"
    if action == "stop":
        return "+OK Success\n" if channel.stop_recording(path) else "-ERR Cannot stop record session!\n"
    if action not in ("mask", "unmask", "pause", "resume"):
        return _RECORD_USAGE
    found = [each for each in channel.recordings if each.bug and each.path == path]
    for recording in found:
        channel.flush(bridged=channel.bridged)
        if action in ("mask", "unmask"):
            recording.masked = action == "mask"
        else:
            recording.paused = action == "pause"
    return "+OK Success\n" if found else f"-ERR Cannot {action} recording session!\n"


def uuid_buglist(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_buglist <uuid>``: the media bugs, as XML; the application record is none."""
    if not words:
        return "-USAGE: <uuid>\n"
    channel = _channel(switch, words)
    if channel is None:
        return ""
    bugs = "".join(
        f" <media-bug>\n  <function>session_record</function>\n  <target>{each.path}</target>\n"
        "  <thread-locked>0</thread-locked>\n </media-bug>\n"
        for each in channel.recordings
        if each.bug
    )
    return f"<media-bugs>\n{bugs}</media-bugs>\n"


def sched_transfer(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``sched_transfer [+]<time> <uuid> <extension> [<dialplan>] [<context>]``."""
    if not 2 <= len(words) <= 5:
        return "-USAGE: [+]<time> <uuid> <extension> [<dialplan>] [<context>]\n"
    channel = switch.find(words[1])
    if channel is None:
        return _GONE
    switch.schedule(channel, words[0], Place.of(" ".join(words[2:])))
    return "+OK\n"


def sched_del(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``sched_del <number>|<uuid>``."""
    return f"+OK Deleted: {switch.cancel(words[0])}\n" if words else "+OK Deleted: 0\n"


def uuid_break(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_break <uuid> [all]``."""
    channel = _channel(switch, words)
    if channel is None:
        return _GONE if words else "-USAGE: <uuid> [all]\n"
    channel.break_()
    return "+OK\n"


def uuid_fileman(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_fileman <uuid> stop|seek:+N|speed:N`` of the file that plays."""
    channel = _channel(switch, words)
    if channel is None or len(words) < 2:
        return _GONE
    if channel.playing:
        channel.file_command = words[1]
        channel.wake()
    return "+OK\n"


def uuid_transfer(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_transfer <uuid> [-bleg|-both] <extension> [<dialplan>] [<context>]``."""
    if len(words) < 2:
        return "-USAGE: <uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]\n"
    channel = _channel(switch, words)
    if channel is None:
        return _GONE
    (channel.peer if words[1] == "-bleg" and channel.peer else channel).transfer(Place.of(" ".join(words[1:])))
    return "+OK\n"


def uuid_kill(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_kill <uuid> [cause]``."""
    channel = _channel(switch, words)
    if channel is None:
        return _GONE if words else "-USAGE: <uuid> [cause]\n"
    channel.hang_up(words[1] if len(words) > 1 else "NORMAL_CLEARING")
    return "+OK\n"


def uuid_broadcast(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_broadcast <uuid> application::data``: run nested in whatever the channel does."""
    channel = _channel(switch, words)
    if channel is None or len(words) < 2:
        return "-ERR invalid uuid\n"
    switch.broadcast(channel, words[1])
    return "+OK Message sent\n"


def uuid_recv_dtmf(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_recv_dtmf <uuid> <digits>``: into the queue at once."""
    channel = _channel(switch, words)
    if channel is None or len(words) < 2:
        return _GONE
    for key in words[1].partition("@")[0]:
        channel.digit(key, 2000, "APP")
    return f"+OK {channel.uuid} received DTMF {words[1]}.\n"


def uuid_send_dtmf(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_send_dtmf <uuid> <digits>``: towards the phone, which is none."""
    channel = _channel(switch, words)
    return _GONE if channel is None or len(words) < 2 else f"+OK {channel.uuid} sent DTMF {words[1]}.\n"


def uuid_dump(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``uuid_dump <uuid> [json]``: the channel as an event."""
    if not words:
        return "-USAGE: <uuid> [format]\n"
    channel = _channel(switch, words)
    if channel is None:
        return _GONE
    headers = head("CHANNEL_DATA") | channel.headers()
    return (as_json if words[1:] == ["json"] else plain)(headers).decode("utf-8", "surrogateescape")


def nothing(switch: FakeFreeSwitch, words: list[str]) -> str:
    """What has nothing to say here."""
    return ""


def show(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``show channels as json``."""
    if not words or words[0] != "channels":
        return "-USAGE: codec|endpoint|application|api|dialplan|file|timer|calls|channels|…\n"
    if "count" in words:
        return f"\n{len(switch.channels)} total.\n"
    rows = [_row(channel) for channel in switch.channels.values()]
    if words[1:] == ["as", "json"]:
        return json.dumps({"row_count": len(rows), **({"rows": rows} if rows else {})}, separators=(",", ":"))
    lines = [",".join(rows[0])] + [",".join(row.values()) for row in rows] if rows else []
    return "\n".join([*lines, "", f"{len(rows)} total.", ""])


def _row(channel: Channel) -> dict[str, str]:
    inbound = channel.direction == "inbound"
    created = time.gmtime(channel.created)
    host = "127.0.0.1" if inbound else ""
    plan = "XML" if inbound else ""
    number = channel.number if inbound else channel.place.extension
    return {
        "uuid": channel.uuid,
        "direction": channel.direction,
        "created": time.strftime("%Y-%m-%d %H:%M:%S", created),
        "created_epoch": str(int(channel.created)),
        "name": channel.name,
        "state": channel.running_state,
        "cid_name": channel.caller_name if inbound else number,
        "cid_num": number,
        "ip_addr": host,
        "dest": channel.place.extension,
        "application": channel.application,
        "application_data": channel.application_data,
        "dialplan": plan,
        "context": channel.place.context,
        "read_codec": "PCMU",
        "read_rate": str(channel.rate),
        "read_bit_rate": "64000",
        "write_codec": "PCMU",
        "write_rate": str(channel.rate),
        "write_bit_rate": "64000",
        "secure": "",
        "hostname": HOSTNAME,
        "presence_id": "",
        "presence_data": "",
        "accountcode": "",
        "callstate": "HELD" if channel.held else channel.call_state,
        "callee_name": "" if inbound else channel.caller_name,
        "callee_num": "" if inbound else channel.number,
        "callee_direction": "" if inbound else "RECV",
        "call_uuid": channel.call_uuid,
        "sent_callee_name": "",
        "sent_callee_num": "",
        "initial_cid_name": channel.caller_name,
        "initial_cid_num": channel.number,
        "initial_ip_addr": host,
        "initial_dest": channel.first_place.extension,
        "initial_dialplan": plan,
        "initial_context": channel.first_place.context,
    }


def conference(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``conference [<name>] json_list|list|recording …|record …``."""
    if words and words[0] == "json_list":
        rooms = [room.as_json() for room in switch.rooms.values()]
        return json.dumps(rooms, indent="\t", separators=(",", ":\t"))
    if not words:
        return "-USAGE: conference …\n"
    room = switch.rooms.get(words[0])
    if room is None:
        return f"-ERR Conference {words[0]} not found\n"
    rest = words[1:]
    if rest[:1] == ["json_list"]:
        return json.dumps([room.as_json()], indent="\t", separators=(",", ":\t"))
    if rest[:2] == ["recording", "stop"]:
        room.stop(rest[2] if len(rest) > 2 else "all")
        return "+OK Stopped recording 0 files\n"
    if rest[:2] == ["recording", "check"]:
        paths = "".join(f"+OK Record file {each.path}\n" for each in room.recordings)
        return paths or "+OK Conference is not being recorded.\n"
    if rest[:2] == ["recording", "start"] or rest[:1] == ["record"]:
        path = rest[-1]
        return f"+OK Record file {path}\n" if room.record(path) else "-ERR Cannot record\n"
    return f"-ERR Conference command '{rest[0] if rest else ''}' not found.\n"


def db(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``db insert|select|delete|list/realm/key/value``: the switch's own small database."""
    action, realm, key, value = [*" ".join(words).split("/", 3), "", "", ""][:4]
    kept = switch.database.setdefault(realm, {})
    match action:
        case "insert":
            kept[key] = value
        case "delete":
            kept.pop(key, None)
        case "select":
            return kept.get(key, "")
        case "list":
            return ",".join(kept)
        case _:
            return "-USAGE: [insert|delete|select|exists|count|list]/<realm>/<key>/<value>\n"
    return "+OK\n"


def eval_(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``eval text``."""
    return " ".join(words)


def hostname(switch: FakeFreeSwitch, words: list[str]) -> str:
    """``hostname``."""
    return HOSTNAME


APIS: Final[Mapping[str, Api]] = {
    "status": status,
    "show": show,
    "conference": conference,
    "db": db,
    "eval": eval_,
    "hostname": hostname,
    "uuid_exists": uuid_exists,
    "uuid_getvar": uuid_getvar,
    "uuid_setvar": uuid_setvar,
    "uuid_setvar_multi": uuid_setvar_multi,
    "uuid_record": uuid_record,
    "uuid_buglist": uuid_buglist,
    "uuid_break": uuid_break,
    "uuid_fileman": uuid_fileman,
    "uuid_transfer": uuid_transfer,
    "uuid_kill": uuid_kill,
    "uuid_broadcast": uuid_broadcast,
    "uuid_recv_dtmf": uuid_recv_dtmf,
    "uuid_send_dtmf": uuid_send_dtmf,
    "uuid_dump": uuid_dump,
    "global_getvar": nothing,
    "sched_transfer": sched_transfer,
    "sched_del": sched_del,
}
