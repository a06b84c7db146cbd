"""A conference of the fake FreeSWITCH: its members, its recorders, its events, which name no channel."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Final

from ivr_consent.testing.fake_freeswitch_events import Headers, head
from ivr_consent.testing.fake_freeswitch_recording import Recording
from ivr_consent.testing.fake_freeswitch_socket import Event

if TYPE_CHECKING:
    from ivr_consent.testing.fake_freeswitch import FakeFreeSwitch
    from ivr_consent.testing.fake_freeswitch_channel import Channel

SUBCLASS: Final = "conference::maintenance"
_MEMBER: Final = {
    "Video": "false",
    "Hear": "true",
    "See": "true",
    "Speak": "true",
    "Talking": "false",
    "Mute-Detect": "false",
    "Hold": "false",
    "Member-ID": "1",
    "Member-Type": "member",
    "Member-Ghost": "false",
    "Energy-Level": "0",
    "Current-Energy": "0",
}


class Room:
    """One conference, by its name."""

    def __init__(self, switch: FakeFreeSwitch, name: str) -> None:
        self.switch, self.name = switch, name
        self.uuid = str(uuid.uuid4())
        self.members: list[Channel] = []
        self.recordings: list[Recording] = []
        self._began = time.time()
        self._tell("conference-create")

    def _tell(self, action: str, more: Headers | None = None, member: Channel | None = None) -> None:
        first = head("CUSTOM", {"Event-Subclass": SUBCLASS})
        room = {
            "Conference-Name": self.name,
            "Conference-Domain": "127.0.0.1",
            "Conference-Size": str(len(self.members)),
            "Conference-Ghosts": "0",
            "Conference-Profile-Name": "default",
            "Conference-Unique-ID": self.uuid,
        }
        own = {"Floor": "false"} | member.headers(variables=False) | _MEMBER if member is not None else {}
        event = Event("CUSTOM", first | room | own | {"Action": action} | (more or {}))
        self.switch.fire("CUSTOM", lambda: event, subclass=SUBCLASS)

    def join(self, channel: Channel) -> None:
        """A call comes in."""
        self.members.append(channel)
        self._tell("add-member", member=channel)

    def leave(self, channel: Channel) -> None:
        """A call has gone; the last one ends the room."""
        if channel in self.members:
            self.members.remove(channel)
            self._tell("del-member", member=channel)
        if not self.members:
            self.stop("all")
            self._tell("conference-destroy")
            self.switch.rooms.pop(self.name, None)

    def record(self, path: str) -> bool:
        """Start a recorder: no RECORD_START, no media bug, and an event without a channel."""
        recording = Recording(path, {}, bug=False, speed=self.switch.speed)
        if not recording.start():
            return False
        self.recordings.append(recording)
        self._tell("start-recording", {"Path": path})
        return True

    def stop(self, path: str) -> None:
        """Stop the recorders of a path, or ``all``."""
        for recording in [each for each in self.recordings if path in ("all", each.path)]:
            recording.flush(bridged=True, answered=True)
            values = recording.stop()
            self.recordings.remove(recording)
            more = {
                "Path": recording.path,
                "Other-Recordings": "true" if self.recordings else "false",
                "Samples-Out": values["record_samples"],
                "Samplerate": str(recording.rate),
                "Milliseconds-Elapsed": values["record_ms"],
                "Record-File-Size": values["record_file_size"],
            }
            self._tell("stop-recording", more)

    def as_json(self) -> dict[str, object]:
        """What ``conference json_list`` says of it."""
        nodes: list[dict[str, object]] = [
            {"type": "recording_node", "record_path": each.path, "join_time": int(self._began)}
            for each in self.recordings
        ]
        callers = [_member(number, member) for number, member in enumerate(self.members, 1)]
        return {
            "conference_name": self.name,
            "member_count": len(self.members),
            "ghost_count": 0,
            "rate": 8000,
            "run_time": int(time.time() - self._began),
            "conference_uuid": self.uuid,
            "canvas_count": 0,
            "max_bw_in": 0,
            "force_bw_in": 0,
            "video_floor_packets": 0,
            "locked": False,
            "destruct": False,
            "wait_mod": False,
            "audio_always": False,
            "running": True,
            "answered": True,
            "enforce_min": True,
            "bridge_to": False,
            "dynamic": True,
            "exit_sound": True,
            "enter_sound": True,
            "recording": bool(self.recordings),
            "video_bridge": False,
            "video_floor_only": False,
            "video_rfc4579": False,
            "variables": {},
            "members": nodes + callers,
        }


def _member(number: int, member: Channel) -> dict[str, object]:
    flags = dict.fromkeys(
        ("can_hear", "can_see", "can_speak", "hold", "mute_detect", "talking", "has_video", "video_bridge"), False
    )
    flags |= dict.fromkeys(("has_floor", "is_moderator", "end_conference"), False)
    flags |= dict.fromkeys(("mandatory_member_end_conference", "pass_digits"), False)
    flags |= {"can_hear": True, "can_see": True, "can_speak": True, "has_floor": number == 1}
    return {
        "type": "caller",
        "id": number,
        "flags": flags,
        "uuid": member.uuid,
        "caller_id_name": member.caller_name,
        "caller_id_number": member.number,
        "join_time": 1,
        "last_talking": 0,
        "energy": 0,
        "volume_in": 0,
        "volume_out": 0,
        "output-volume": 0,
        "input-volume": 0,
    }
