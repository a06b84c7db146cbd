"""How soon the guard stops a recording, how much of it was written, and what listening to the manager costs.

    python -m bench.guard [--calls 100] [--rounds 5]

On a real Asterisk 22, with 1 call and with many at once: from the recorder's start, as the manager tells of it, to the
switch's word that none is left; and the audio in its file. Then the CPU of 1,000 manager events, of which few matter
(as on a busy switch), beside panoramisk as released; both parsers run in this process on the same bytes. Last the CPU
of 1,000 events of FreeSWITCH, 7 kB of JSON each, as its guard hears them: of the few kinds that it asks for, of calls
that it does not follow; beside the standard library's JSON parser alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any, Final

from panoramisk.manager import Manager

from bench.load_freeswitch import recorded
from bench.measure import bars, keep, summary
from ivr_consent.pbx.asterisk.guard.watcher import Guard
from ivr_consent.pbx.asterisk.guard.ways import is_wanted
from ivr_consent.pbx.asterisk.manager import ManagerLink, _Protocol
from ivr_consent.pbx.asterisk.rights import GUARD
from ivr_consent.pbx.freeswitch.guard import scope as freeswitch_scope
from ivr_consent.pbx.freeswitch.guard.watcher import Guard as FreeswitchGuard
from ivr_consent.pbx.freeswitch.link import Link
from ivr_consent.pbx.freeswitch.wire import Event, Wire
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.pbx.policy import Policy
from ivr_consent.store.granted import Standing
from ivr_consent.store.quarantine import Quarantine
from ivr_consent.testing.rig import Instance

PATIENCE: Final = 120.0
BYTES_A_MS: Final = 16
WAV_HEADER: Final = 44

DIALPLAN: Final = """
[taped]
exten => _call.,1,Answer()
 same => n,Wait(1)
 same => n,MixMonitor(${EXTEN}.wav)
 same => n,Milliwatt()
[from-sip]
exten => plain,1,Answer()
 same => n,Milliwatt()
"""

SNAPSHOT: Final = (
    "Channel: PJSIP/phone-00000001\r\nChannelState: 6\r\nChannelStateDesc: Up\r\nCallerIDNum: 4512345678\r\n"
    "CallerIDName: <unknown>\r\nConnectedLineNum: 100\r\nConnectedLineName: Agent\r\nLanguage: en\r\nAccountCode: \r\n"
    "Context: queues\r\nExten: s\r\nPriority: 4\r\nUniqueid: 1795342483.0\r\nLinkedid: 1795342483.0\r\n"
)
EVENTS: Final = (
    "Event: Newexten\r\nPrivilege: dialplan,all\r\n" + SNAPSHOT + "Application: Set\r\nAppData: X=1\r\n\r\n",
    "Event: VarSet\r\nPrivilege: dialplan,all\r\n" + SNAPSHOT + "Variable: X\r\nValue: 1\r\n\r\n",
    "Event: Newstate\r\nPrivilege: call,all\r\n" + SNAPSHOT + "\r\n",
    "Event: DialState\r\nPrivilege: call,all\r\n" + SNAPSHOT + "\r\n",
)
MATTERS: Final = "Event: MixMonitorStart\r\nPrivilege: call,all\r\n" + SNAPSHOT + "\r\n"


class _Told:
    def __init__(self) -> None:
        self.incidents: list[Incident] = []

    def incident(self, incident: Incident) -> None:
        self.incidents.append(incident)

    def exempted(self, exempted: Exempted) -> None:
        raise AssertionError(exempted)

    def scope(self, call_id: str, kind: str, reason: str, *, confirmed: bool) -> None:
        raise AssertionError(call_id, kind, reason, confirmed)


async def _unknown(_: str, __: str) -> Standing:
    return Standing.UNKNOWN


async def _unseen(_: frozenset[str]) -> frozenset[str] | None:
    return None


async def stopping(calls: int, rounds: int, beside: int = 0) -> dict[str, Any]:
    """Seconds to the confirmed stop, and milliseconds of audio that were written.

    ``calls``: recorders that begin at once. ``beside``: so many calls go on meanwhile that record nothing.
    """
    told = _Told()
    pbx = Instance("22", DIALPLAN)
    pbx.add_manager("guard", "guard", ",".join(GUARD.read), ",".join(GUARD.write), GUARD.filters)
    pbx.add_manager("admin", "admin")
    async with pbx:
        spool = pbx.directory / "spool"
        kept = pbx.directory / "quarantine"
        quarantine = Quarantine(kept, (spool,), pbx.directory / "ours")
        policy = Policy(True, pbx.directory / "ours", quarantine, False, 10.0, (), lambda _: (), spool)
        link = ManagerLink("127.0.0.1", pbx.ami_port, "guard", "guard", events="call,dialplan,agi")
        admin = ManagerLink("127.0.0.1", pbx.ami_port, "admin", "admin", events="off")
        guard = Guard(link, policy, _unknown, told, _unseen)
        await admin.start()
        await guard.start()
        async with asyncio.timeout(PATIENCE):
            while guard.blind is not None or not admin.up:  # noqa: ASYNC110 - of two links
                await asyncio.sleep(0.05)
            plain = {"Context": "from-sip", "Exten": "plain", "Priority": "1", "Async": "true"}
            for _ in range(beside):
                await admin.action("Originate", {"Channel": "Local/plain@from-sip/n", **plain})
            await asyncio.sleep(beside / 20)
            for done in range(1, rounds + 1):
                for number in range(calls):
                    await admin.action("Originate", {"Channel": f"Local/call{done}x{number}@taped/n", **plain})
                while sum(incident.stopped for incident in told.incidents) < done * calls:  # noqa: ASYNC110 - not measured
                    await asyncio.sleep(0.05)
                await admin.action("Hangup", {"Channel": "/^Local.call/"})
                await asyncio.sleep(0.5)
        await guard.stop()
        await admin.close()
        audio = [_milliseconds(path) for path in kept.iterdir()] if kept.exists() else []
    seconds = sorted(incident.seconds for incident in told.incidents)
    return {
        "recorders at once": calls,
        "other calls": beside,
        "recorders": len(seconds),
        "confirmed": all(incident.confirmed for incident in told.incidents),
        "stop ms": {
            **{name: value * 1000 for name, value in summary(seconds).items()},
            "p99": seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))] * 1000,
        },
        "audio ms": {**summary(audio or [0.0]), "none": sum(one == 0 for one in audio) / max(1, len(audio))},
    }


def _milliseconds(path: Path) -> float:
    return max(0, path.stat().st_size - WAV_HEADER) / BYTES_A_MS


async def listening(rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of 1,000 events, ours and panoramisk's."""
    plain = "".join(EVENTS[number % len(EVENTS)] for number in range(990))
    stream = (plain + MATTERS * 10).encode()
    found: dict[str, list[float]] = {"the guard's link": [], "panoramisk as released": []}
    heard = 0

    def count(*_: object) -> None:
        nonlocal heard
        heard += 1

    for _ in range(rounds):
        ours = _Protocol(count, count, is_wanted)
        ours.data_received(b"Asterisk Call Manager/11.0.0\r\n")
        began = time.process_time()
        for at in range(0, len(stream), 16_384):
            ours.data_received(stream[at : at + 16_384])
        found["the guard's link"].append((time.process_time() - began) * 1000)
        ours.lost.set_result(None)
        manager = Manager()
        manager.register_event("MixMonitor*", count)
        theirs = _released(manager)
        began = time.process_time()
        for at in range(0, len(stream), 16_384):
            theirs.data_received(stream[at : at + 16_384])
        found["panoramisk as released"].append((time.process_time() - began) * 1000)
    assert heard >= rounds * 20, heard
    return found


def _released(manager: Manager) -> Any:
    from panoramisk.ami_protocol import AMIProtocol  # noqa: PLC0415 - the rival

    protocol = AMIProtocol()
    protocol.connection_made(None)
    protocol.factory, protocol.encoding = manager, "utf8"
    protocol.data_received(b"Asterisk Call Manager/11.0.0\r\n")
    return protocol


def listening_to_freeswitch(rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of 1,000 events, the guard's and those of their JSON alone."""
    bodies = [recorded()[1].replace("@N@", name).encode() for name in freeswitch_scope.EVENTS]
    stream = b"".join(b"Content-Length: %d\nContent-Type: text/event-json\n\n%b" % (len(body), body) for body in bodies)
    quarantine = Quarantine(None, (), Path("ours"))
    policy = Policy(True, Path("ours"), quarantine, False, 60.0, (), lambda _: (), Path("spool"))
    guard = FreeswitchGuard(Link("127.0.0.1", 0, "none"), policy, _unknown, _Told(), _unseen)
    found: dict[str, list[float]] = {"FreeSWITCH: the guard": [], "FreeSWITCH: json.loads": []}
    for _ in range(rounds):
        wire = Wire()
        began = time.process_time()
        for _ in range(1000 // len(bodies)):
            wire.receive_data(stream)
            while (message := wire.next_message()) is not None:
                assert isinstance(message, Event)
                guard._hear(message)
        found["FreeSWITCH: the guard"].append((time.process_time() - began) * 1000)
        began = time.process_time()
        for _ in range(1000 // len(bodies)):
            for body in bodies:
                json.loads(body)
        found["FreeSWITCH: json.loads"].append((time.process_time() - began) * 1000)
    return found


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything."""
    one = await stopping(1, options.rounds * 4)
    among = await stopping(1, options.rounds * 4, options.calls)
    many = await stopping(options.calls, options.rounds)
    heard = await listening(options.rounds * 10) | listening_to_freeswitch(options.rounds * 10)
    return {"one": one, "among": among, "many": many, "listening": heard}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = asyncio.run(measure(options))
    for name in ("one", "among", "many"):
        row = found[name]
        stop, audio = row["stop ms"], row["audio ms"]
        print(
            f"{row['recorders at once']:>4} at once among {row['other calls']} other calls: "
            f"{row['recorders']} recorders, each confirmed: {row['confirmed']}; "
            f"ms to that: median {stop['median']:.1f}, p99 {stop['p99']:.1f}, most {stop['max']:.1f}; "
            f"audio ms: median {audio['median']:.0f}, most {audio['max']:.0f}, none at all in {audio['none']:.0%}"
        )
    rows = {name: summary(values) for name, values in found["listening"].items()}
    ratio = statistics.median(found["listening"]["panoramisk as released"]) / statistics.median(
        found["listening"]["the guard's link"]
    )
    for name, row in rows.items():
        print(f"{name}: {row['median']:.2f} ms CPU for 1,000 events ({row['min']:.2f} to {row['max']:.2f})")
    print(f"panoramisk takes {ratio:.1f} times as much as the guard's link")
    print(f"FreeSWITCH: {1_000_000 / rows['FreeSWITCH: the guard']['median']:.0f} events in a second of CPU")
    keep(
        "guard",
        {"stopping": {name: found[name] for name in ("one", "among", "many")}, "listening ms": rows, "ratio": ratio},
    )
    bars("guard", "CPU of 1,000 events", "ms", rows)


if __name__ == "__main__":
    main()
