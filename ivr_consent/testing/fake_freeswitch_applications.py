"""The dialplan applications of the fake FreeSWITCH, but for those that play and ask (``fake_freeswitch_playing``).

Each takes the channel and its data, already expanded, and returns when the application has ended. What a real one does
silently, it does silently here: ``record_session`` answers alike whether or not anything is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from ivr_consent.testing import fake_freeswitch_api
from ivr_consent.testing.fake_freeswitch_channel import Application, Channel, Meta
from ivr_consent.testing.fake_freeswitch_dialplan import Place
from ivr_consent.testing.fake_freeswitch_events import Headers
from ivr_consent.testing.fake_freeswitch_playing import flush_dtmf, play_and_get_digits, playback, sleep
from ivr_consent.testing.fake_freeswitch_recording import Recording, true
from ivr_consent.testing.fake_freeswitch_socket import Outbound

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLACK_HOLE_S: Final = 135.0  # SYN packets that nobody answers


async def socket(channel: Channel, data: str) -> None:
    """Hand the call to a server: connect, and be controlled until the connection ends."""
    address, *words = data.split()
    host, _, port = address.rpartition(":")
    channel.set("socket_host", host)
    connection = Outbound(channel, asynchronous="async" in words, full="full" in words)
    connection.on_command = channel.switch.tell_command(channel)
    channel.controller = connection
    loop = asyncio.get_running_loop()
    local = (channel.switch.local_host, 0) if channel.switch.local_host else None
    try:
        async with asyncio.timeout(_BLACK_HOLE_S):
            await loop.create_connection(lambda: connection, host, int(port), local_addr=local)
    except OSError:
        connection.finished = True
        return
    if connection.asynchronous:
        await _park(channel, connection)
    else:
        await _controlled(channel, connection)


async def _park(channel: Channel, connection: Outbound) -> None:
    """Asynchronous mode: the channel is parked, and the connection's messages run there.

    A connection that ends before ``connect`` was said finds nothing to release: the call is parked for ever, unless
    socket_resume resets it.
    """
    while channel.ready and not connection.finished and not connection.connected:
        await channel.idle()
    released = connection.connected
    if channel.ready:
        channel.fire("CHANNEL_PARK")
        why = "break"
        while why == "break":
            why, _ = await channel.pause(None, until=lambda: released and connection.finished and channel.ready)
        channel.fire("CHANNEL_UNPARK")
    if channel.reset and channel.moving is None and not channel.cause:
        channel.reset, channel.state = False, "CS_EXECUTE"


async def _controlled(channel: Channel, connection: Outbound) -> None:
    """Without ``async``: each message runs before the next command is read, and a lingering one holds the channel."""
    await channel.pause(None, until=lambda: connection.finished)
    if channel.cause:
        connection.channel_down()
    while not connection.finished:
        await channel.idle()


async def answer(channel: Channel, data: str) -> None:
    """Answer the call."""
    channel.answer()


async def set_(channel: Channel, data: str) -> None:
    """Set one variable: ``name=value``."""
    name, _, value = data.partition("=")
    channel.set(name.strip(), value)


async def multiset(channel: Channel, data: str) -> None:
    """Set some: ``^^;a=1;b=2``, or with spaces between."""
    words = data[3:].split(data[2]) if data.startswith("^^") and len(data) > 2 else data.split()
    for word in words:
        await set_(channel, word)


async def unset(channel: Channel, data: str) -> None:
    """Remove a variable."""
    channel.set(data, "")


async def record_session(channel: Channel, data: str) -> None:
    """Record what both sides say; told by RECORD_START alone."""
    channel.record(data.split("+", 1)[0] if data.endswith("+") else data)


async def stop_record_session(channel: Channel, data: str) -> None:
    """Stop the recorder of a path, or ``all``."""
    channel.stop_recording(data)


async def record(channel: Channel, data: str) -> None:
    """Record the caller into a file, as voicemail does: no media bug, so no list shows it."""
    words = data.split()
    recording = Recording(words[0] if words else "", channel.variables, bug=False, speed=channel.switch.speed)
    if not recording.start():
        return
    channel.keep(recording)
    channel.fire("RECORD_START", after={"Record-File-Path": recording.path})
    limit = float(words[1]) if len(words) > 1 and words[1].isdigit() and words[1] != "0" else None
    await channel.pause(limit, on_digit=lambda digit: digit.key in "*#")
    if recording in channel.recordings:
        channel.stop(recording)


async def sched_transfer(channel: Channel, data: str) -> None:
    """Set a lease: ``+seconds extension dialplan context``."""
    when, _, place = data.partition(" ")
    number = channel.switch.schedule(channel, when, Place.of(place))
    channel.set("last_sched_id", str(number))


async def sched_cancel(channel: Channel, data: str) -> None:
    """Cancel the channel's leases, or the one of a number."""
    channel.switch.cancel(data or channel.uuid)


async def transfer(channel: Channel, data: str) -> None:
    """Go on elsewhere in the dialplan."""
    channel.transfer(Place.of(data, channel.place.context))


async def hangup(channel: Channel, data: str) -> None:
    """End the call."""
    channel.hang_up(data or "NORMAL_CLEARING")


async def park(channel: Channel, data: str) -> None:
    """Hold the call in silence."""
    channel.fire("CHANNEL_PARK")
    while (await channel.pause(None))[0] == "break":
        pass
    channel.fire("CHANNEL_UNPARK")


async def bridge(channel: Channel, data: str) -> None:
    """Call an agent, who answers at once, and talk until one of both has gone."""
    leg = channel.switch.leg(Place.of(data.rpartition("/")[2] or data), caller=channel)
    channel.switch.connect_legs(channel, leg)
    await channel.pause(None, until=lambda: leg.cause != "" or channel.peer is not leg)
    channel.switch.part_legs(channel)
    if channel.cause and not leg.cause:
        leg.hang_up()
    elif leg.cause and channel.ready and true(channel.variables.get("hangup_after_bridge")):
        channel.hang_up()


async def conference(channel: Channel, data: str) -> None:
    """Be in a room until the end of the call."""
    room = channel.switch.room(data.partition("@")[0])
    room.join(channel)
    while (await channel.pause(None))[0] == "break":
        pass
    room.leave(channel)


async def bind_meta_app(channel: Channel, data: str) -> None:
    """Bind ``*`` and a key: ``key legs flags application::data``."""
    words = data.split(" ", 3)
    if len(words) == 4:
        application, _, argument = words[3].partition("::")
        channel.metas[words[0]] = Meta(application, argument, words[2])


async def execute_extension(channel: Channel, data: str) -> None:
    """Run another extension's actions, and come back."""
    for application, arguments in channel.switch.dialplan.actions(Place.of(data, channel.place.context), lambda _: ""):
        if channel.ready:
            await channel.execute(application, arguments)


async def event(channel: Channel, data: str) -> None:
    """Fire an event: ``Event-Subclass=a::b,Event-Name=CUSTOM,name=value``."""
    pairs = dict(pair.split("=", 1) for pair in data.split(",") if "=" in pair)
    subclass = pairs.pop("Event-Subclass", "")
    headers: Headers = {key: value for key, value in pairs.items() if key != "Event-Name"}
    channel.fire(pairs.get("Event-Name", "CHANNEL_APPLICATION"), after=headers, subclass=subclass)


async def db(channel: Channel, data: str) -> None:
    """Change the switch's own small database: ``insert/realm/key/value``."""
    fake_freeswitch_api.db(channel.switch, data.split())


async def nothing(channel: Channel, data: str) -> None:
    """Do nothing that anyone here could see."""


async def block_dtmf(channel: Channel, data: str) -> None:
    """Keep keys from applications until unblock_dtmf."""
    channel.blocked = channel.application == "block_dtmf"


async def sched_hangup(channel: Channel, data: str) -> None:
    """End the call later: ``+seconds cause``."""
    when, _, cause = data.partition(" ")
    with contextlib.suppress(ValueError):
        channel.switch.schedule(channel, when, None, cause or "ALLOTTED_TIMEOUT")


APPLICATIONS: Final[Mapping[str, Application]] = {
    "socket": socket,
    "answer": answer,
    "playback": playback,
    "play_and_get_digits": play_and_get_digits,
    "flush_dtmf": flush_dtmf,
    "sleep": sleep,
    "set": set_,
    "export": set_,
    "multiset": multiset,
    "unset": unset,
    "record_session": record_session,
    "stop_record_session": stop_record_session,
    "record": record,
    "sched_transfer": sched_transfer,
    "sched_cancel": sched_cancel,
    "sched_hangup": sched_hangup,
    "transfer": transfer,
    "hangup": hangup,
    "park": park,
    "bridge": bridge,
    "conference": conference,
    "bind_meta_app": bind_meta_app,
    "execute_extension": execute_extension,
    "event": event,
    "block_dtmf": block_dtmf,
    "unblock_dtmf": block_dtmf,
    "db": db,
    "log": nothing,
    "pre_answer": nothing,
    "ring_ready": nothing,
    "info": nothing,
}
Channel.applications = dict(APPLICATIONS)
