"""When a key press began, from events as Asterisk sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.pbx.asterisk import keys, manager
from ivr_consent.pbx.asterisk.keys import KeyPresses
from ivr_consent.pbx.asterisk.manager import Event, Headers, ManagerLink

CHANNEL = "1795303220.72"
EPOCH = 1_795_303_000.0  # Asterisk's wall clock when the monotonic one shows 0
PATIENCE = 30.0  # seconds; a bound for what should take milliseconds
DATA = Path(__file__).parents[2] / "data" / "ami"


class Clock:
    """A monotonic clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def presses(clock: Clock) -> KeyPresses:
    return KeyPresses(clock=clock, wall=clock.wall)


def event(name: str, arrived: float, **headers: str | list[str]) -> Event:
    lines = {"Uniqueid": CHANNEL, "Digit": "1", "Direction": "Received", **headers}
    return Event(name, Headers({key: value for key, value in lines.items() if value != "-"}), arrived)


def end(arrived: float, duration: int = 100, **headers: str | list[str]) -> Event:
    return event("DTMFEnd", arrived, **{"DurationMs": str(duration), **headers})


async def known(
    presses: KeyPresses, not_before: float = 0.0, digit: str = "1", uniqueid: str = CHANNEL
) -> float | None:
    """What is known now, without waiting for more."""
    async with asyncio.timeout(PATIENCE):
        return await presses.began(uniqueid, digit, not_before, 0.0)


async def test_a_press_began_its_duration_before_it_arrived(presses: KeyPresses) -> None:
    presses.heard(end(1000.0, 1500))
    assert await known(presses) == 998.5


async def test_the_latest_press_counts(presses: KeyPresses) -> None:
    presses.heard(end(990.0))
    presses.heard(end(995.0))
    presses.heard(end(999.0, Digit="2"))
    assert await known(presses) == pytest.approx(994.9)
    assert await known(presses, digit="2") == pytest.approx(998.9)


async def test_a_key_held_across_the_end_of_the_notice(presses: KeyPresses) -> None:
    notice_ended = 999.0
    presses.heard(end(999.5, 1500))
    assert await known(presses, notice_ended) == 998.0  # it did end after the notice, and began before


async def test_a_press_that_ended_too_early_is_none(presses: KeyPresses) -> None:
    presses.heard(end(998.9))
    assert await known(presses, 999.0) is None
    assert await known(presses, 998.9) == pytest.approx(998.8)


@pytest.mark.parametrize(
    ("behind", "began"),
    [
        (0.5, 999.4),  # the event was half a second under way
        (2.0, 997.9),
        (2.5, 999.9),  # the clocks disagree: only the arrival counts
        (-0.5, 999.9),  # Asterisk's clock is ahead: the arrival is earlier
        (-100.0, 999.9),
    ],
)
async def test_the_earlier_of_both_clocks(presses: KeyPresses, behind: float, began: float) -> None:
    presses.heard(end(1000.0, Timestamp=f"{EPOCH + 1000.0 - behind:.6f}"))
    assert await known(presses) == pytest.approx(began, abs=1e-5)


async def test_an_event_that_waited_in_our_own_queue(presses: KeyPresses, clock: Clock) -> None:
    clock.now = 1001.0  # handled a second after it arrived, which is no delay of Asterisk's
    presses.heard(end(1000.0, Timestamp=f"{EPOCH + 999.8:.6f}"))
    assert await known(presses) == pytest.approx(999.7, abs=1e-5)


@pytest.mark.parametrize("timestamp", ["", "nan", "inf", "-1", "1e9", "now", "1.2.3", "9" * 40])
async def test_a_timestamp_that_is_none(presses: KeyPresses, timestamp: str) -> None:
    presses.heard(end(1000.0, Timestamp=timestamp))
    assert await known(presses) == pytest.approx(999.9)


async def test_the_begin_event_can_only_make_it_earlier(presses: KeyPresses) -> None:
    presses.heard(event("DTMFBegin", 998.0))
    presses.heard(end(1000.0, 100))
    assert await known(presses) == 998.0
    presses.heard(event("DTMFBegin", 1000.5))
    presses.heard(end(1001.0, 700))
    assert await known(presses) == pytest.approx(1000.3)


async def test_a_begin_without_its_end_is_replaced(presses: KeyPresses) -> None:
    presses.heard(event("DTMFBegin", 900.0))
    presses.heard(event("DTMFBegin", 999.9))
    presses.heard(end(1000.0, 50))
    assert await known(presses) == pytest.approx(999.9)


async def test_without_a_duration_the_begin_event_tells(presses: KeyPresses) -> None:
    presses.heard(event("DTMFBegin", 998.0))
    presses.heard(event("DTMFEnd", 1000.0))
    assert await known(presses) == 998.0


@pytest.mark.parametrize("duration", ["-", "", "-5", "1_0", "١٠", "1.5", "99999999", " 7"])
async def test_a_press_of_unknown_beginning_is_none(presses: KeyPresses, duration: str) -> None:
    presses.heard(event("DTMFEnd", 1000.0, DurationMs=duration))
    assert await known(presses) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Direction": "Sent"},
        {"Direction": "-"},
        {"Uniqueid": "-"},
        {"Uniqueid": ""},
        {"Digit": "-"},
        {"Digit": ""},
        {"Digit": "11"},
        {"Digit": "x"},
        {"Uniqueid": [CHANNEL, "1.1"]},  # a forged event, with the true event's rest behind it
        {"Digit": ["1", "2"]},
        {"DurationMs": ["0", "1500"]},
    ],
)
async def test_an_event_that_does_not_count(presses: KeyPresses, headers: dict[str, str | list[str]]) -> None:
    presses.heard(end(1000.0, **headers))  # type: ignore[arg-type]  # headers never has the name `duration`
    assert await known(presses) is None
    assert await known(presses, uniqueid="") is None


@pytest.mark.parametrize("version", ["16", "22"])
async def test_a_real_press(version: str) -> None:
    lines = (DATA / f"one-press-{version}.txt").read_text().splitlines()[1:]
    data = "".join(line.split(" A> ", 1)[1] for line in lines).replace("\\r\\n", "\r\n")
    events: list[Event] = []
    protocol = manager._Protocol(events.append, lambda _: None)
    protocol.data_received(b"Asterisk Call Manager/11.0.0\r\n" + data.encode())
    assert [one.name for one in events] == ["DTMFBegin", "DTMFEnd"]
    begin, ended = (float(one.headers["Timestamp"]) for one in events)
    arrived = events[1].arrived
    presses = KeyPresses(clock=lambda: arrived, wall=lambda: ended)
    for one in events:
        presses.heard(one)
    began = await known(presses, uniqueid=events[0].headers["Uniqueid"])
    assert began is not None
    # Begin and end came 75 ms apart for a press of 100 ms: the longer counts.
    assert 0.0999 < arrived - began < 0.2
    assert arrived - began >= ended - begin - 1e-5


# -- waiting


async def test_waiting_for_an_event(presses: KeyPresses) -> None:
    waiting = asyncio.create_task(presses.began(CHANNEL, "1", 999.0, PATIENCE))
    await asyncio.sleep(0)
    presses.heard(end(998.0))  # too early
    presses.heard(end(1000.0, Digit="2"))
    presses.heard(end(1000.0, Uniqueid="1.1"))
    assert not waiting.done()
    presses.heard(end(1000.0))
    assert await waiting == pytest.approx(999.9)
    assert presses._waiters == {}


async def test_no_event_is_none(presses: KeyPresses) -> None:
    assert await presses.began(CHANNEL, "1", 0.0, 0.01) is None
    assert await presses.began(CHANNEL, "1", 0.0, -1.0) is None
    assert presses._waiters == {}
    assert presses._waiting == 0


async def test_several_waiters_at_once(presses: KeyPresses) -> None:
    asked = [
        asyncio.create_task(presses.began(CHANNEL, "1", 999.0, PATIENCE)),
        asyncio.create_task(presses.began(CHANNEL, "1", 999.0, PATIENCE)),
        asyncio.create_task(presses.began(CHANNEL, "2", 999.0, PATIENCE)),
        asyncio.create_task(presses.began("1.1", "1", 999.0, PATIENCE)),
    ]
    await asyncio.sleep(0)
    presses.heard(end(1000.0))
    assert await asyncio.gather(*asked[:2]) == [pytest.approx(999.9)] * 2
    presses.heard(end(1000.0, 500, Digit="2"))
    presses.heard(end(1000.0, 300, Uniqueid="1.1"))
    assert await asyncio.gather(*asked[2:]) == [999.5, pytest.approx(999.7)]


async def test_a_cancelled_wait_leaves_nothing_behind(presses: KeyPresses) -> None:
    waiting = asyncio.create_task(presses.began(CHANNEL, "1", 999.0, PATIENCE))
    await asyncio.sleep(0)
    assert presses._waiting == 1
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=PATIENCE)
    assert presses._waiting == 0
    assert presses._waiters == {}


async def test_a_callback_comes_once_and_never_at_once(presses: KeyPresses) -> None:
    told: list[float | None] = []
    presses.heard(end(1000.0, 500))
    presses.when(CHANNEL, "1", 0.0, PATIENCE, told.append)
    assert told == []
    await asyncio.sleep(0)
    assert told == [999.5]
    presses.when(CHANNEL, "2", 0.0, PATIENCE, told.append)
    presses.heard(end(1000.0, 250, Digit="2"))
    presses.heard(end(1000.5, 250, Digit="2"))
    assert told == [999.5]
    await asyncio.sleep(0)
    assert told == [999.5, 999.75]


@pytest.mark.parametrize("moment", ["known", "waiting", "event", "after"])
async def test_no_callback_after_a_cancel(presses: KeyPresses, moment: str) -> None:
    told: list[float | None] = []
    if moment == "known":
        presses.heard(end(1000.0))
    cancel = presses.when(CHANNEL, "1", 0.0, PATIENCE, told.append)
    if moment in {"event", "after"}:
        presses.heard(end(1000.0))
    if moment == "after":
        await asyncio.sleep(0)
    before = list(told)
    cancel()
    cancel()
    presses.heard(end(1000.0))
    await asyncio.sleep(0)
    assert told == before
    assert len(before) == (moment == "after")
    assert presses._waiting == 0


async def test_an_error_in_one_callback_keeps_none_from_theirs(presses: KeyPresses) -> None:
    told: list[float | None] = []
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def broken(_: float | None) -> None:
        raise LookupError

    presses.when(CHANNEL, "1", 0.0, PATIENCE, broken)
    presses.when(CHANNEL, "1", 0.0, PATIENCE, told.append)
    presses.heard(end(1000.0, 500))
    await asyncio.sleep(0)
    assert told == [999.5]
    assert [type(error) for error in reported] == [LookupError]


# -- bounds


async def test_presses_per_channel_are_bounded(presses: KeyPresses) -> None:
    for number in range(100):
        presses.heard(end(900.0 + number))
    assert len(presses._channels[CHANNEL].presses) == keys.MAX_PRESSES


async def test_channels_are_bounded_and_the_oldest_goes(presses: KeyPresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_CHANNELS", 3)
    for name in ("a", "b", "c", "a", "d"):
        presses.heard(end(1000.0, Uniqueid=name))
    assert list(presses._channels) == ["c", "a", "d"]


async def test_old_presses_are_dropped(presses: KeyPresses, clock: Clock) -> None:
    presses.heard(end(1000.0))
    presses.heard(end(1000.0, Uniqueid="other"))
    clock.now = 1000.0 + keys.MAX_AGE + 1
    assert await known(presses) is None
    presses.heard(end(clock.now, Digit="2"))
    assert list(presses._channels) == [CHANNEL]
    assert len(presses._channels[CHANNEL].presses) == 1


async def test_waiters_are_bounded(presses: KeyPresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_WAITERS", 2)
    cancels = [presses.when(CHANNEL, "1", 0.0, PATIENCE, lambda _: None) for _ in range(2)]
    assert await presses.began(CHANNEL, "1", 0.0, PATIENCE) is None
    for cancel in cancels:
        cancel()


async def test_forgetting_a_channel(presses: KeyPresses) -> None:
    presses.heard(end(1000.0))
    presses.forget(CHANNEL)
    presses.forget(CHANNEL)
    assert await known(presses) is None


# -- properties


_gaps = st.floats(0.01, 5.0, allow_nan=False)


@given(st.lists(st.tuples(_gaps, _gaps, st.floats(0.0, 1.5)), min_size=1, max_size=30))
def test_never_later_than_the_truth(history: list[tuple[float, float, float]]) -> None:
    """Whatever the network's delays, no press is said to have begun after it really did."""

    async def run() -> None:
        clock = Clock()
        presses = KeyPresses(clock=clock, wall=clock.wall)
        time = 1000.0
        for pause, length, delay in history:
            down, up = time + pause, time + pause + length
            clock.now = down + delay
            presses.heard(event("DTMFBegin", clock.now, Timestamp=f"{EPOCH + down:.6f}"))
            clock.now = up + delay
            presses.heard(end(clock.now, round(length * 1000), Timestamp=f"{EPOCH + up:.6f}"))
            time = up + delay
            began = await known(presses, up)
            assert began is not None
            assert began <= down + 0.001  # durations have whole milliseconds

    asyncio.run(run())


async def test_it_listens_to_a_link(presses: KeyPresses) -> None:
    class Link:
        def __init__(self) -> None:
            self.patterns: dict[str, Callable[[Event], object]] = {}

        def on(self, pattern: str, callback: Callable[[Event], object]) -> None:
            self.patterns[pattern] = callback

    link = Link()
    presses.attach(link)  # type: ignore[arg-type]  # as much of a ManagerLink as is used
    assert set(link.patterns) == {"DTMFBegin", "DTMFEnd"}
    link.patterns["DTMFEnd"](end(1000.0, 500))
    assert await known(presses) == 999.5
    presses.attach(ManagerLink("127.0.0.1", 5038, "watch", "secret"))
