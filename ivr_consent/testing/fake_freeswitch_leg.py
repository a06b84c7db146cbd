"""One leg of a call of the fake FreeSWITCH: who it is, its variables, its recorders, and its headers in events."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Final

from ivr_consent.testing.fake_freeswitch_dialplan import Place
from ivr_consent.testing.fake_freeswitch_events import STATE_NUMBERS, VARIABLES, Headers, head, micros
from ivr_consent.testing.fake_freeswitch_recording import Recording
from ivr_consent.testing.fake_freeswitch_socket import Event

if TYPE_CHECKING:
    from ivr_consent.testing.fake_freeswitch import FakeFreeSwitch
    from ivr_consent.testing.fake_freeswitch_channel import Channel

_expansion = re.compile(r"\$\{([^${}]*)\}")
_MAX_EXPANSIONS: Final = 100


class Leg:
    """What a channel is; ``Channel`` is what it does."""

    def __init__(
        self,
        switch: FakeFreeSwitch,
        place: Place,
        *,
        number: str = "4512345678",
        name: str = "Caller",
        direction: str = "inbound",
        rate: int = 8000,
    ) -> None:
        self.switch = switch
        self.uuid = str(uuid.uuid4())
        self.number, self.caller_name, self.direction, self.rate = number, name, direction, rate
        self.place = self.first_place = place
        self.call_uuid = ""
        """The other leg that it was made for, as ``show channels`` says it."""
        self.name = f"sofia/internal/{number if direction == 'inbound' else place.extension}@127.0.0.1"
        self.created, self.answered, self.hung_up_at = time.time(), 0.0, 0.0
        self.state = self.running_state = "CS_EXECUTE"
        self.call_state = "RINGING"
        self.cause = ""
        self.variables: dict[str, str] = {}
        self.application, self.application_data = "", ""
        self.recordings: list[Recording] = []
        """Those that run, media bugs and the application ``record``."""
        self.started: list[Recording] = []
        """Every one that ever ran."""
        self.peer: Channel | None = None
        self.held = self.reset = False
        self.moving: Place | None = None
        self._profile, self._rdnis, self._source = 1, "", ""
        self._profile_at = self.created
        known = {
            "direction": direction,
            "uuid": self.uuid,
            "session": str(next(switch.sessions)),
            "number": number,
            "name": name,
            "channel": self.name,
            "call": str(uuid.uuid4()),
            "created": micros(self.created),
            "destination": place.extension,
            "rate": str(rate),
        }
        for key, value in VARIABLES:
            self.variables[key] = value.format_map(known) if "{" in value else value

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Nobody has hung up."""
        return not self.cause

    @property
    def ready(self) -> bool:
        """FreeSWITCH's switch_channel_ready: an application may go on."""
        return not self.cause and self.moving is None and not self.reset

    @property
    def bridged(self) -> bool:
        """It is connected with another leg."""
        return self.peer is not None

    def set(self, name: str, value: str) -> None:
        """Set a variable; an empty value removes it."""
        self.variables.pop(name, None)
        if value:
            self.variables[name] = value

    def built_in(self, name: str) -> str:
        """What ``${name}`` is where there is no such variable."""
        return {
            "hostname": "vm",
            "destination_number": self.place.extension,
            "context": self.place.context,
            "caller_id_number": self.number,
            "caller_id_name": self.caller_name,
        }.get(name, "")

    def expand(self, text: str) -> str:
        """Expand ``${…}`` as the core does before an application runs: again and again, APIs included."""
        for _ in range(_MAX_EXPANSIONS):
            match = _expansion.search(text)
            if match is None:
                break
            inner = match[1]
            if name := re.fullmatch(r"([\w-]+)(?:\((.*)\)| (.+))", inner):
                value = self.switch.expand_api(name[1], name[2] or name[3] or "")
            else:
                value = self.variables.get(inner) or self.built_in(inner)
            text = text[: match.start()] + value + text[match.end() :]
        return text

    def profile(self, prefix: str) -> Headers:
        """The caller profile's headers, as in every event (``Caller``) and once more in the answer to ``connect``."""
        number, name = self.number, self.caller_name
        values = {
            "Direction": self.direction,
            "Logical-Direction": self.direction,
            "Username": number,
            "Dialplan": "XML",
            "Caller-ID-Name": name,
            "Caller-ID-Number": number,
            "Orig-Caller-ID-Name": name,
            "Orig-Caller-ID-Number": number,
            "Network-Addr": "127.0.0.1",
            "ANI": number,
            "Destination-Number": self.moving.extension if self.moving else self.place.extension,
            "Unique-ID": self.uuid,
            "Source": "mod_sofia",
        }
        if self._source:
            values["Transfer-Source"] = self._source
        values["Context"] = self.moving.context if self.moving else self.place.context
        if self._rdnis:
            values["RDNIS"] = self._rdnis
        created, answered = micros(self.created), micros(self.answered)
        values |= {
            "Channel-Name": self.name,
            "Profile-Index": str(self._profile),
            "Profile-Created-Time": micros(self._profile_at),
            "Channel-Created-Time": created,
            "Channel-Answered-Time": answered,
            "Channel-Progress-Time": "0",
            "Channel-Progress-Media-Time": "0",
            "Channel-Hangup-Time": micros(self.hung_up_at),
            "Channel-Transfer-Time": "0",
            "Channel-Resurrect-Time": "0",
            "Channel-Bridged-Time": "0",
            "Channel-Last-Hold": "0",
            "Channel-Hold-Accum": "0",
            "Screen-Bit": "true",
            "Privacy-Hide-Name": "false",
            "Privacy-Hide-Number": "false",
        }
        return {f"{prefix}-{key}": value for key, value in values.items()}

    def headers(self, *, variables: bool = True) -> Headers:
        """The channel's own headers, the caller profile's, and its variables."""
        rate = str(self.rate)
        found = {
            "Channel-State": self.running_state,
            "Channel-Call-State": "HELD" if self.held else self.call_state,
            "Channel-State-Number": STATE_NUMBERS.get(self.state, "4"),
            "Channel-Name": self.name,
            "Unique-ID": self.uuid,
            "Call-Direction": self.direction,
            "Presence-Call-Direction": self.direction,
            "Channel-HIT-Dialplan": "true",
            "Channel-Call-UUID": self.uuid,
            "Answer-State": "hangup" if self.cause else "answered" if self.answered else "ringing",
        }
        if self.cause:
            found["Hangup-Cause"] = self.cause
        found |= {
            "Channel-Read-Codec-Name": "PCMU",
            "Channel-Read-Codec-Rate": rate,
            "Channel-Read-Codec-Bit-Rate": "64000",
            "Channel-Write-Codec-Name": "PCMU",
            "Channel-Write-Codec-Rate": rate,
            "Channel-Write-Codec-Bit-Rate": "64000",
        }
        found |= self.profile("Caller")
        if variables:
            found |= {f"variable_{key}": value for key, value in self.variables.items()}
        return found

    def fire(
        self,
        name: str,
        *,
        before: Headers | None = None,
        after: Headers | None = None,
        variables: bool = True,
        subclass: str = "",
    ) -> None:
        """Fire an event of this channel to whoever listens."""

        def build() -> Event:
            first = {"Event-Subclass": subclass} if subclass else None
            own = self.headers(variables=variables)
            return Event(name, head(name, first) | (before or {}) | own | (after or {}))

        self.switch.fire(name, build, uid=self.uuid, subclass=subclass)

    # --- recorders ---------------------------------------------------------------------------------------------------

    def record(self, path: str) -> bool:
        """Start a media bug that records, as record_session and uuid_record do; the same path twice is one."""
        if any(recording.path == path for recording in self.recordings):
            return True
        recording = Recording(path, self.variables, speed=self.switch.speed)
        if self.cause or not recording.start():
            return False
        self.keep(recording)
        self.fire("RECORD_START", after={"Record-File-Path": path})
        self.fire("MEDIA_BUG_START", before={"Media-Bug-Function": "session_record", "Media-Bug-Target": path})
        return True

    def keep(self, recording: Recording) -> None:
        """Take up a recorder that runs."""
        self.recordings.append(recording)
        self.started.append(recording)

    def stop(self, recording: Recording, cause: str = "success-maxtime") -> None:
        """Stop a recorder."""
        recording.flush(bridged=self.bridged, answered=bool(self.answered))
        for key, value in recording.stop().items():
            self.set(key, value)
        self.recordings.remove(recording)
        after = {"Record-File-Path": recording.path}
        if recording.bug:
            cause = cause if recording.samples else "empty-file"
            self.set("record_completion_cause", cause)
            after["Record-Completion-Cause"] = cause
        self.fire("RECORD_STOP", after=after)
        if recording.bug:
            bug = {"Media-Bug-Function": "session_record", "Media-Bug-Target": recording.path}
            self.fire("MEDIA_BUG_STOP", before=bug)

    def stop_recording(self, path: str) -> bool:
        """Stop the media bugs of this path, or ``all``; false when there is none."""
        found = [each for each in self.recordings if each.bug and path in ("all", each.path)]
        for recording in found:
            self.stop(recording)
        return bool(found)

    def flush(self, *, bridged: bool) -> None:
        """Write the silence until now into what records, before something changes."""
        for recording in self.recordings:
            recording.flush(bridged=bridged, answered=bool(self.answered))
