"""The running service: what is in force changes by a reload alone, and what is damaged is in force no longer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from ivr_consent import control
from ivr_consent import service as service_module
from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError, Problem
from ivr_consent.core.flow import Plan, failed_decision
from ivr_consent.language import Clues
from ivr_consent.manifest import Checked, Manifest
from ivr_consent.service import Service
from ivr_consent.signing import public_path
from ivr_consent.site import LineState, Site, recheck
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from ivr_consent.store.reader import LedgerReader
from ivr_consent.testing.fake_asterisk import FakeAsterisk, FakeCall
from ivr_consent.testing.plans import call_context
from ivr_consent.watch import FolderWatch
from tests.sites import APPROVER, SmallSite, flip

PATIENCE = 60.0
"""Seconds, for anything that is waited for; on an idle machine it takes milliseconds."""
HOST = "127.0.0.1"
WINDOW = "WAIT FOR DIGIT 3000"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def _published(tmp_path_factory: pytest.TempPathFactory) -> SmallSite:
    """Two lines that share no sound: the one is asked in English, the other in Danish."""
    site = SmallSite.make(
        tmp_path_factory.mktemp("site") / "site", "support", "sales", more={"sales": 'languages = ["da"]\n'}
    )
    site.publish()
    return site


@pytest.fixture
def site(_published: SmallSite, tmp_path: Path) -> SmallSite:
    shutil.copytree(_published.root, tmp_path / "site")
    here = SmallSite(tmp_path / "site")
    here.edit(here.config, "port = 4573", f"port = {free_port()}")
    return here


class Running:
    """A service under way, and callers."""

    def __init__(self, site: SmallSite, service: Service, switch: FakeAsterisk, logs: list[Any]) -> None:
        self.site, self.service, self.switch, self.logs = site, service, switch, logs
        self.seen: list[int | str] = []
        """What the next call on ``support`` would have heard, at every change of what is in force."""
        show = service._show

        def showing() -> None:
            show()
            self.seen.append(self.asked())

        service._show = showing  # type: ignore[method-assign]  # it is watched, not changed

    def asked(self, line: str = "support") -> int | str:
        """The version that the next call would hear; or why it would not be asked."""
        lines = self.service.server.lines
        assert isinstance(lines, Site)
        plan = lines.plan(line, Clues())
        return plan if isinstance(plan, str) else plan.notices[0].version

    async def becomes(self, what: int | str, line: str = "support") -> None:
        """For what stays; what passes stands in :attr:`seen`."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.asked(line) == what)
        assert self.asked(line) == what

    async def call(self, key: str = "1", line: str = "support") -> FakeCall:
        """One call to its end."""
        call = await self.switch.call(line)
        await self.answer(call, key)
        return call

    async def answer(self, call: FakeCall, key: str) -> None:
        with contextlib.suppress(ConnectionResetError):  # over before anything was asked
            await call.wait_command(WINDOW, timeout=PATIENCE)
            call.press(key)
        await call.wait(PATIENCE)

    def decision(self, call: FakeCall) -> dict[str, Any]:
        with LedgerReader(self.site.root / "decisions.db") as reader:
            record = reader.call(call.call_id)
        assert record is not None
        return dict(record.decision.payload)

    def manifest(self, line: str = "support") -> Manifest:
        found = self.service.site.states[line].manifest
        assert found is not None
        return found

    def sound(self, line: str = "support", nth: int = 0) -> Path:
        """A file that is played on a line."""
        return self.site.sounds(self.manifest(line))[nth]

    def publish(self, sentence: str, line: str = "support") -> int:
        """Publish another wording as the next version."""
        self.site.say(sentence, "da" if line == "sales" else "en")
        (manifest,) = self.site.publish(line)
        return manifest.version

    def events(self, name: str) -> list[Any]:
        return [entry for entry in self.logs if entry["event"] == name]

    async def settled(self) -> None:
        """Wait until nothing is being compared or reloaded."""
        await until(lambda: not self.service._comparing and len(self.service._tasks) == 1)  # the sweep


@contextlib.asynccontextmanager
async def running(site: SmallSite) -> AsyncIterator[Running]:
    with structlog.testing.capture_logs() as logs:
        service = Service(site.settings)
        await service.start()
        try:
            async with FakeAsterisk(HOST, service.server.port) as switch:
                yield Running(site, service, switch, logs)
        finally:
            await service.stop(2.0)
    assert [entry for entry in logs if entry["event"] in ("sweep_failed", "recording_not_finished")] == []


# --- reload -----------------------------------------------------------------------------------------------------------


async def test_calls_hear_the_published_version(site: SmallSite) -> None:
    """A draft is not heard, whatever is built; the decision names the version and its signed manifest."""
    site.say("Something else is said now.")
    site.build()
    async with running(site) as here:
        call = await here.call("1")
        assert call.result == "granted"
        notice = here.decision(call)["notice"]
        assert (notice["version"], notice["manifest_sha256"]) == (1, here.manifest().sha256)
        assert here.manifest() == site.load().states["support"].manifest


async def test_figures_for_monitoring(site: SmallSite) -> None:
    """Calls by their outcome, and a line that is out; reports of a recording's end are no calls."""
    path = site.root / "figures.prom"
    site.edit(site.config, "[server]", f'[metrics]\nfile = "{path}"\nseconds = 1\n[server]')

    def told(sample: str) -> bool:
        return path.exists() and f"{sample}\n" in path.read_text()

    async with running(site) as here:
        await until(lambda: told("ivr_consent_calls_total 0"))
        assert "guard_watching" not in path.read_text()
        for key in ("1", "1", "2"):
            await here.call(key)
        labels = 'line="support",outcome="{}",reason="{}",route="{}",logged="yes"'
        granted, declined = (
            labels.format("granted", "yes_key", "recorded"),
            labels.format("declined", "no_key", "unrecorded"),
        )
        await until(lambda: told(f"ivr_consent_calls_total{{{granted}}} 2"))
        await until(lambda: told(f"ivr_consent_calls_total{{{declined}}} 1"))
        assert told('ivr_consent_line_ready{line="support"} 1')


async def test_a_reload_takes_a_new_version_into_use(site: SmallSite) -> None:
    """From the next call on; a call under way keeps what it began with, to its last prompt and in its decision."""
    async with running(site) as here:
        first = here.manifest()
        under_way = await here.switch.call()
        await under_way.wait_command("STREAM FILE", nth=2)
        assert here.publish("Something else is said now.") == 2
        answer = await here.service.reload()
        assert (answer["ok"], answer["problems"]) == (True, [])
        assert answer["lines"] == {name: {"ready": True, "version": n} for name, n in (("support", 2), ("sales", 1))}
        assert not under_way.hung_up
        after = await here.call("2")
        await here.answer(under_way, "1")
        assert (under_way.result, after.result) == ("granted", "declined")
        played = {command.text.split()[2].strip('"') for command in under_way.commands if "STREAM" in command.text}
        assert played <= {str(audio.path(site.store)) for audio in first.audio()}
        assert here.decision(under_way)["notice"]["manifest_sha256"] == first.sha256
        assert here.decision(after)["notice"]["version"] == 2
        assert here.decision(after)["notice"]["manifest_sha256"] == here.manifest().sha256 != first.sha256
        assert len(here.events("reloaded")) == 1


async def test_nothing_changes_without_a_reload(site: SmallSite) -> None:
    """Published, damaged, restored, compared: what is in force is what was loaded."""
    async with running(site) as here:
        path = here.sound()
        here.publish("Something else is said now.")
        for _ in range(2):
            assert here.asked() == 1
            flip(path)
            await here.becomes("line_not_ready")
            await until(lambda: bool(here.events("line_damaged")))
            flip(path)
            await here.becomes(1)
        await here.service._compare(everything=True)
        assert here.asked() == 1
        assert (await here.service.reload())["ok"]
        assert here.asked() == 2


async def test_a_rollback(site: SmallSite) -> None:
    async with running(site) as here:
        here.publish("Something else is said now.")
        assert (await here.service.reload())["ok"]
        assert site.workshop().rollback("support", None, APPROVER).version == 1
        assert here.asked() == 2
        assert (await here.service.reload())["ok"]
        assert here.asked() == 1


async def test_a_reload_with_nothing_new(site: SmallSite) -> None:
    async with running(site) as here:
        for _ in range(3):
            assert (await here.service.reload())["ok"]
        assert (here.asked(), here.asked("sales")) == (1, 1)


REFUSED: dict[str, tuple[Callable[[SmallSite], Any], tuple[str, ...]]] = {
    "no configuration": (lambda site: site.config.unlink(), ("cannot be read", "ivr-consent.toml")),
    "not TOML": (lambda site: site.config.write_text("[lines"), ("ivr-consent.toml",)),
    "a wrong key": (
        lambda site: site.edit(site.config, "repeats = 0", "repeats = 99"),
        ("lines.support.repeats", "99"),
    ),
    "other days": (
        lambda site: site.edit(site.config, "[lines.support]", "[lines.support]\nretention_days = 31"),
        ("lines.support.retention_days", "version 1 says '30'"),
    ),
    "another fact": (
        lambda site: site.edit(site.config, "Example Company", "Another Company"),
        ("facts.en.controller", "facts.da.controller", "Another Company"),
    ),
    "another language": (
        lambda site: site.edit(site.config, "[lines.support]", '[lines.support]\nlanguages = ["en", "da"]'),
        ("lines.support.languages",),
    ),
    "no version any more": (
        lambda site: shutil.rmtree(site.root / "versions" / "support"),
        ("no version of its notice is published",),
    ),
    "another folder of versions": (
        lambda site: site.edit(site.config, "[prompts]", '[prompts]\nversions = "elsewhere"'),
        ("no version of its notice is published", "line support", "line sales"),
    ),
    "[server]": (
        lambda site: site.edit(site.config, "drain_seconds = 5", "drain_seconds = 6"),
        ("[server]", "restart"),
    ),
    "[log]": (lambda site: site.config.write_text('[log]\npath = "b.db"\n' + site.config.read_text()), ("[log]",)),
    "[recordings]": (
        lambda site: site.config.write_text('[recordings]\ndirectory = "b"\n' + site.config.read_text()),
        ("[recordings]", "systemctl restart"),
    ),
    "[manager]": (lambda site: site.config.write_text("[manager]\n" + site.config.read_text()), ("[manager]",)),
    "no pseudonyms": (lambda site: (site.root / "pseudonym.key").unlink(), ("pseudonym_key_file",)),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_reload_is_refused(site: SmallSite, what: str) -> None:
    """What is wrong is named, in the answer and in the log; the old stays in force, all of it."""
    change, told = REFUSED[what]
    async with running(site) as here:
        here.publish("Noch etwas anderes.", "sales")
        change(site)
        before = here.service.site, here.service.settings
        answer = await here.service.reload()
        assert answer["ok"] is False
        said = "\n".join(f"{p['where']}: {p['found']}. {p['remedy']}" for p in answer["problems"])
        for words in told:
            assert words in said
        assert answer["lines"] == {name: {"ready": True, "version": 1} for name in ("support", "sales")}
        assert [entry["problem"] for entry in here.events("reload_refused")] == said.split("\n")
        assert (here.service.site, here.service.settings) == before
        assert (here.asked(), here.asked("sales")) == (1, 1)
        assert (await here.call("2")).result == "declined"
        assert here.events("reloaded") == []


async def test_a_line_that_is_added(site: SmallSite) -> None:
    """Not ready yet, it holds nobody up; published and reloaded, it is asked on."""
    async with running(site) as here:
        here.publish("Something else is said now.")
        site.config.write_text(site.config.read_text() + "[lines.new]\n")
        answer = await here.service.reload()
        assert answer["ok"]
        assert [problem["where"] for problem in answer["problems"]] == ["line new"]
        assert answer["lines"]["new"] == {"ready": False, "version": None}
        assert (here.asked(), here.asked("new")) == (2, "line_not_ready")
        assert len(here.events("line_not_ready")) == 1
        site.publish("new")
        assert here.asked("new") == "line_not_ready"
        assert (await here.service.reload())["ok"]
        assert here.asked("new") == 1


@pytest.mark.parametrize("how", ["damaged sound", "broken history", "publishing broke off", "wrong days"])
async def test_a_line_that_was_never_ready_holds_nobody_up(site: SmallSite, how: str) -> None:
    """Whatever is wrong with it: the others take their new versions into use."""
    site.config.write_text(site.config.read_text() + '[lines.new]\nkeys.yes = "7"\n')
    (new,) = site.publish("new")
    if how == "damaged sound":
        own = set(site.sounds(new)) - set(site.sounds(site.load().states["support"].manifest or new))
        flip(sorted(own)[0])
    elif how == "broken history":
        flip(site.root / "versions" / "new" / "history", 20)
    elif how == "publishing broke off":
        (site.root / "versions" / "new" / "history").unlink()
    else:
        site.edit(site.config, "[lines.new]", "[lines.new]\nretention_days = 99")
    async with running(site) as here:
        assert here.asked("new") == "line_not_ready"
        here.publish("Something else is said now.")
        answer = await here.service.reload()
        assert answer["ok"]
        assert answer["problems"]
        assert (here.asked(), here.asked("sales"), here.asked("new")) == (2, 1, "line_not_ready")


async def test_a_line_that_is_removed(site: SmallSite) -> None:
    """Also when it is damaged, and with a call under way on it."""
    async with running(site) as here:
        under_way = await here.switch.call("sales")
        await under_way.wait_command("STREAM FILE")
        text = site.config.read_text()
        site.config.write_text(text[: text.index("[lines.sales]")])
        answer = await here.service.reload()
        assert answer["ok"]
        assert list(answer["lines"]) == ["support"]
        assert here.asked("sales") == "unknown_line"
        await here.answer(under_way, "2")
        assert under_way.result == "declined"
        site.config.write_text(text)
        assert (await here.service.reload())["ok"]
        flip(here.sound("sales"))
        await here.becomes("line_not_ready", "sales")
        site.config.write_text(text[: text.index("[lines.sales]")])
        assert (await here.service.reload())["ok"]
        assert (here.asked(), here.asked("sales")) == (1, "unknown_line")


async def test_many_reloads_at_once(site: SmallSite) -> None:
    """One after the other, each with a whole answer; the last of them has what was published before it."""
    async with running(site) as here:
        reloads = [asyncio.create_task(here.service.reload()) for _ in range(3)]
        here.publish("Something else is said now.")
        reloads += [asyncio.create_task(here.service.reload()) for _ in range(3)]
        answers = await asyncio.gather(*reloads)
        assert all(answer["ok"] for answer in answers)
        assert answers[-1]["lines"]["support"] == {"ready": True, "version": 2}
        assert here.asked() == 2


async def test_publishing_while_reloads_run(site: SmallSite) -> None:
    """Whatever the moment: the version before or after, whole, and never a refusal."""
    async with running(site) as here:
        publishing = asyncio.create_task(
            asyncio.to_thread(lambda: [here.publish(f"Number {number} is said now.") for number in range(6)])
        )
        seen = []
        while not publishing.done():
            answer = await here.service.reload()
            assert answer["ok"], answer
            seen.append(answer["lines"]["support"]["version"])
        assert publishing.result() == [2, 3, 4, 5, 6, 7]
        assert seen == sorted(seen)
        assert (await here.service.reload())["lines"]["support"]["version"] == 7


async def test_a_signal(site: SmallSite) -> None:
    """SIGHUP does what the command does; what came of it is in the log."""
    async with running(site) as here:
        here.publish("Something else is said now.")
        here.service.reload_soon()
        await until(lambda: bool(here.events("reloaded")))
        assert here.asked() == 2
        site.config.write_text("garbage")
        here.service.reload_soon()
        await until(lambda: bool(here.events("reload_refused")))
        assert here.asked() == 2


def test_a_signal_before_the_first_beat(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker may have read the configuration before it was changed: the reload comes late, but it comes."""
    watch = service_module._Watch(site.config)
    got: list[int] = []

    class Worker:
        """Hears its watcher's signals, beats once, and ends."""

        def __init__(self, _: list[str], pass_fds: tuple[int, int]) -> None:
            watch._pass_on(signal.SIGHUP, None)
            os.write(pass_fds[0], b".")

        def send_signal(self, number: int) -> None:
            got.append(number)

        def poll(self) -> int:
            return 0

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Worker)
    assert watch._one_life() == (0, True)
    assert got == [signal.SIGHUP]


async def test_a_fault_of_our_own(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw leaves the old in force as well, and the next reload works."""
    async with running(site) as here:
        with monkeypatch.context() as patch:
            patch.setattr(service_module, "load_site", lambda _: 1 // 0)
            here.service.reload_soon()
            await until(lambda: bool(here.events("reload_refused")))
            with pytest.raises(ConsentError, match="without an answer"):
                await asyncio.to_thread(control.ask, site.settings, "reload")
        assert here.asked() == 1
        assert (await here.service.reload())["ok"]


# --- by the command line ----------------------------------------------------------------------------------------------


async def test_the_socket(site: SmallSite) -> None:
    """A reload and its answer, and what is in force; gone when the service is."""
    async with running(site) as here:
        here.publish("Something else is said now.")
        status = await asyncio.to_thread(control.ask, site.settings, "status")
        assert status["lines"]["support"] == {"ready": True, "version": 1}
        answer = await asyncio.to_thread(control.ask, site.settings, "reload")
        assert answer["ok"]
        assert answer["lines"]["support"] == {"ready": True, "version": 2}
        for question in ("", "reload now", "RELOAD", "stop"):
            unknown = await asyncio.to_thread(control.ask, site.settings, question)
            assert unknown["ok"] is False
            assert unknown["problems"]
        flip(here.sound())
        await here.becomes("line_not_ready")
        status = await asyncio.to_thread(control.ask, site.settings, "status")
        assert status["lines"]["support"] == {"ready": False, "version": 2}
    with pytest.raises(ConsentError, match="no service runs"):
        await asyncio.to_thread(control.ask, site.settings, "status")


async def test_a_start_without_a_socket(site: SmallSite) -> None:
    """Told, instead of a service that cannot be asked."""
    control.socket_path(site.settings).mkdir()
    service = Service(site.settings)
    with pytest.raises(ConsentError, match="the control socket cannot be made"):
        await service.start()
    await service.stop(0.0)


# --- damage -----------------------------------------------------------------------------------------------------------


def _elsewhere(site: SmallSite) -> Path:
    return site.root.parent / "elsewhere"


def _replaced(path: Path) -> None:
    aside = path.parent.parent.parent.parent.parent / "aside"
    aside.write_bytes(path.read_bytes()[:-1] + b"x")
    aside.replace(path)


DAMAGE: dict[str, Callable[[SmallSite, Path], Any]] = {
    "a byte": lambda _, path: flip(path),
    "removed": lambda _, path: path.unlink(),
    "replaced": lambda _, path: _replaced(path),
    "folder removed": lambda _, path: shutil.rmtree(path.parent),
    "folder moved": lambda site, path: path.parent.rename(_elsewhere(site)),
    "language moved": lambda site, path: path.parent.parent.rename(_elsewhere(site)),
    "store moved": lambda site, _: site.store.rename(_elsewhere(site)),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_the_next_call_after_a_change(site: SmallSite, what: str) -> None:
    """R6: at once, before anything is played; the reason is in the decision, the file in the log."""
    async with running(site) as here:
        path = here.sound(nth=4)
        DAMAGE[what](site, path)
        call = await here.call("1")
        assert (call.result, call.reason) == ("failed", "line_not_ready")
        assert not any("STREAM" in command.text for command in call.commands)
        assert here.decision(call)["outcome"] == "failed"
        await until(lambda: any(str(path) in entry["problem"] for entry in here.events("line_damaged")))
        assert here.asked() == "line_not_ready"
        if what != "store moved":
            await here.becomes(1, "sales")


async def test_a_line_that_is_whole_again(site: SmallSite) -> None:
    """Restored, it goes on by itself; one that shares nothing with it never stopped."""
    async with running(site) as here:
        for nth in (0, 7, -1):
            path = here.sound(nth=nth)
            flip(path)
            await here.becomes("line_not_ready")
            assert here.asked("sales") == 1
            flip(path)
            await here.becomes(1)
        assert (await here.call("2")).result == "declined"
        assert here.events("line_whole_again")
        assert {entry["line"] for entry in here.events("line_damaged")} <= {"support"}


async def test_what_changes_nothing(site: SmallSite) -> None:
    """Touched, but the same bytes: compared, and asked on again."""
    async with running(site) as here:
        here.sound().touch()
        await until(lambda: len(here.seen) >= 2)
        await here.settled()
        assert here.seen[0] == "line_not_ready"
        assert here.seen[-1] == here.asked() == 1
        assert here.events("line_damaged") == []


@pytest.mark.parametrize("what", ["folder moved", "language moved", "store moved"])
async def test_a_folder_that_comes_back(site: SmallSite, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of that the kernel does not tell: somebody looks from time to time."""
    monkeypatch.setattr(service_module, "SWEEP_S", 0.05)
    async with running(site) as here:
        path = here.sound()
        DAMAGE[what](site, path)
        await here.becomes("line_not_ready")
        await until(lambda: bool(here.events("line_damaged")))
        back = {"folder moved": path.parent, "language moved": path.parent.parent, "store moved": site.store}[what]
        _elsewhere(site).rename(back)
        await here.becomes(1)
        flip(path)
        await here.becomes("line_not_ready")


async def test_shared_sounds(site: SmallSite) -> None:
    """Lines that say the same play the same files: one damaged byte stops both."""
    site.config.write_text(site.config.read_text() + "[lines.third]\n")
    site.publish("third")
    async with running(site) as here:
        assert here.asked("third") == 1
        flip(here.sound())
        await here.becomes("line_not_ready")
        await here.becomes("line_not_ready", "third")
        assert here.asked("sales") == 1
        flip(here.sound())
        await here.becomes(1)
        await here.becomes(1, "third")


async def test_a_start_with_a_damaged_line(site: SmallSite) -> None:
    """The other one is asked on. Repaired, a reload takes it into use."""
    path = site.sounds(site.load().states["support"].manifest or pytest.fail("not published"))[0]
    flip(path)
    async with running(site) as here:
        assert (here.asked(), here.asked("sales")) == ("line_not_ready", 1)
        assert [str(path) in entry["problem"] for entry in here.events("line_not_ready")] == [True]
        answer = await here.service.reload()
        assert answer["ok"], "it was not ready before either"
        assert answer["problems"]
        flip(path)
        assert (await here.service.reload())["ok"]
        assert here.asked() == 1


async def test_a_reload_with_a_damaged_line(site: SmallSite) -> None:
    """Refused, named, and out; the others keep what they have. Restored, it goes on by itself."""
    async with running(site) as here:
        here.publish("Noch etwas anderes.", "sales")
        path = here.sound()
        flip(path)
        answer = await here.service.reload()
        assert answer["ok"] is False
        assert [problem["where"] for problem in answer["problems"]] == [str(path)]
        assert answer["lines"] == {"support": {"ready": False, "version": 1}, "sales": {"ready": True, "version": 1}}
        await here.settled()
        assert (here.asked(), here.asked("sales")) == ("line_not_ready", 1)
        flip(path)
        await here.becomes(1)
        assert here.asked("sales") == 1
        assert (await here.service.reload())["ok"]
        assert here.asked("sales") == 2


BROKEN: dict[str, Callable[[SmallSite], Path]] = {
    "a changed history": lambda site: site.root / "versions" / "support" / "history",
    "a changed manifest": lambda site: site.root / "versions" / "support" / "1" / "manifest",
    "a changed public key": lambda site: public_path(site.key),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_reload_without_proof(site: SmallSite, what: str) -> None:
    """The line is out, though its sounds are as they were: comparing those proves nothing, only another reload does."""
    async with running(site) as here:
        path = BROKEN[what](site)
        flip(path, 60)
        answer = await here.service.reload()
        assert answer["ok"] is False
        assert ("signed with another key" if "key" in what else str(path)) in answer["problems"][0]["found"]
        assert answer["lines"]["support"]["ready"] is False
        assert here.asked() == "line_not_ready"
        here.seen.clear()
        here.sound().touch()
        await until(lambda: len(here.seen) >= 2)
        await here.service._compare(everything=True)
        assert set(here.seen) == {"line_not_ready"}
        assert here.asked("sales") == ("line_not_ready" if "key" in what else 1)
        flip(path, 60)
        assert here.asked() == "line_not_ready"
        assert (await here.service.reload())["ok"]
        assert here.asked() == 1


async def test_a_line_without_proof_comes_back_by_any_reload(site: SmallSite) -> None:
    """Also by one that is refused for another line's sake: it is whole, and goes on with what it had."""
    async with running(site) as here:
        history = site.root / "versions" / "support" / "history"
        flip(history, 60)
        assert not (await here.service.reload())["ok"]
        flip(history, 60)
        flip(site.root / "versions" / "sales" / "history", 60)
        answer = await here.service.reload()
        assert answer["ok"] is False
        assert (here.asked(), here.asked("sales")) == (1, "line_not_ready")


async def test_a_new_version_that_is_damaged(site: SmallSite) -> None:
    """It says that it is in force, and nobody can hear it: the line is out until it can, or until a rollback."""
    async with running(site) as here:
        before = set(site.sounds(here.manifest()))
        here.publish("Something else is said now.")
        after = site.versions().in_force(site.workshop().keys()[1])
        path = next(path for path in site.sounds(after) if path not in before)
        flip(path)
        answer = await here.service.reload()
        assert answer["ok"] is False
        assert [problem["where"] for problem in answer["problems"]] == [str(path)]
        await here.service._compare(everything=True)
        assert here.asked() == "line_not_ready"
        site.workshop().rollback("support", 1, APPROVER)
        assert (await here.service.reload())["ok"]
        assert here.asked() == 1


# --- changes at the worst moment --------------------------------------------------------------------------------------


@contextlib.contextmanager
def after_reading(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, act: Callable[[], Any], nth: int = 1
) -> Iterator[None]:
    """Do something right after the n-th time that ``module.name`` has looked at the disk."""
    real = getattr(module, name)
    count = 0

    def acting(*arguments: Any) -> Any:
        nonlocal count
        found = real(*arguments)
        count += 1
        if count == nth:
            act()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(module, name, acting)
        yield
    assert count >= nth


async def test_damaged_between_being_read_and_the_first_call(site: SmallSite) -> None:
    """The folders are watched, and read again, before anybody can call."""
    with structlog.testing.capture_logs() as logs:
        service = Service(site.settings)
        path = site.sounds(service.site.states["support"].manifest or pytest.fail("not published"))[0]
        flip(path)
        await service.start()
        try:
            here = Running(site, service, FakeAsterisk(HOST, service.server.port), logs)
            assert (here.asked(), here.asked("sales")) == ("line_not_ready", 1)
            assert [str(path) in entry["problem"] for entry in here.events("line_damaged")] == [True]
            flip(path)
            await here.becomes(1)
        finally:
            await service.stop(0.0)


@pytest.mark.parametrize("when", ["before it is watched", "while it is read again"])
@pytest.mark.parametrize("what", ["the version in force", "the new version"])
async def test_damaged_during_a_reload(site: SmallSite, what: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no moment is a line asked on whose sound has been damaged, by the old version or the new one."""
    async with running(site) as here:
        old = set(site.sounds(here.manifest()))
        if what == "the new version":
            here.publish("Something else is said now.")
            manifest = site.versions().in_force(site.workshop().keys()[1])
            path = next(path for path in site.sounds(manifest) if path not in old)
        else:
            path = here.sound()

        def damage() -> None:
            flip(path)
            here.seen.clear()

        name = "load_site" if when == "before it is watched" else "recheck"
        with after_reading(monkeypatch, service_module, name, damage):
            answer = await here.service.reload()
        await here.settled()
        await here.becomes("line_not_ready")
        assert set(here.seen) <= ({"line_not_ready"} if what == "the version in force" else {"line_not_ready", 1})
        assert answer["lines"]["support"]["ready"] is False or not answer["ok"]
        flip(path)
        await here.settled()
        await here.service.reload()
        await here.becomes(2 if what == "the new version" else 1)


async def test_damaged_again_while_it_is_compared(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has read the good byte already: the line is not let go before the next one has looked."""
    async with running(site) as here:
        path = here.sound()
        with after_reading(monkeypatch, service_module, "recheck", lambda: flip(path)):
            path.touch()
            await until(lambda: bool(here.events("line_damaged")))
            await here.settled()
        assert set(here.seen) == {"line_not_ready"}
        flip(path)
        await here.becomes(1)


async def test_what_the_kernel_has_told_and_nobody_has_read(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is busy with other things: who lets a line go on, or takes a new version up, reads it first."""
    async with running(site) as here:
        path = here.sound()
        assert here.service._watch is not None
        asyncio.get_running_loop().remove_reader(here.service._watch.descriptor)
        path.touch()
        here.service._changed(path.parent)
        with after_reading(monkeypatch, service_module, "recheck", lambda: flip(path)):
            await until(lambda: bool(here.events("line_damaged")))
        await here.settled()
        assert set(here.seen) == {"line_not_ready"}
        flip(path)
        await here.service._compare(everything=True)
        await here.becomes(1)
        await here.settled()
        here.seen.clear()
        with after_reading(monkeypatch, service_module, "recheck", lambda: flip(path)):
            answer = await here.service.reload()
        assert answer["lines"]["support"]["ready"] is False
        await here.settled()
        assert here.asked() == "line_not_ready"


async def test_an_endless_stream_of_changes(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are compared together, not one by one: a chmod of the whole store must not take hours."""
    count = 0

    def counting(settings: Settings, states: Iterable[LineState]) -> list[LineState]:
        nonlocal count
        count += 1
        return recheck(settings, states)

    async with running(site) as here:
        monkeypatch.setattr(service_module, "recheck", counting)
        for _ in range(20):
            for path in site.sounds(here.manifest()):
                path.chmod(0o444)
        await until(lambda: "line_not_ready" in here.seen)  # for a moment only: nobody may be looking in that
        await here.becomes(1)
        await here.settled()
        assert here.asked() == 1
        assert 1 <= count <= 5


async def test_the_kernel_forgets_what_changed(site: SmallSite) -> None:
    """Then every line is looked at; one that was not ready stays what it was, with its own problem."""
    site.config.write_text(site.config.read_text() + "[lines.third]\n")
    site.publish("third")
    site.edit(site.config, "[lines.third]", "[lines.third]\nretention_days = 99")
    async with running(site) as here:
        before = here.service.site.states["third"]
        here.service._changed(None)
        assert (here.asked(), here.asked("sales")) == ("line_not_ready", "line_not_ready")
        await here.becomes(1)
        await here.becomes(1, "sales")
        lines = here.service.server.lines
        assert isinstance(lines, Site)
        assert lines.states["third"] == before


async def test_without_the_kernels_help(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are compared from time to time instead."""

    def blind(watch: FolderWatch, changed: Any) -> None:
        watch.descriptor, watch.complete = -1, False

    monkeypatch.setattr(FolderWatch, "__init__", blind)
    monkeypatch.setattr(service_module, "SWEEP_S", 0.05)
    async with running(site) as here:
        path = here.sound()
        flip(path)
        await here.becomes("line_not_ready")
        assert here.asked("sales") == 1
        flip(path)
        await here.becomes(1)
        assert (await here.service.reload())["ok"]


async def test_a_file_that_could_not_be_opened_for_a_moment(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files: the line is out, and looked at again in a round or two, not after an hour."""
    monkeypatch.setattr(service_module, "SWEEP_S", 0.05)
    async with running(site) as here:
        troubled = threading.Event()
        troubled.set()
        real = Checked.faults

        def faults(checked: Checked, manifest: Manifest) -> tuple[Problem, ...]:
            if troubled.is_set():
                return (Problem("a file", "the file cannot be read (Too many open files)", "wait"),)
            return real(checked, manifest)

        monkeypatch.setattr(Checked, "faults", faults)
        here.sound().touch()
        await here.becomes("line_not_ready")
        await until(lambda: bool(here.events("line_damaged")))
        troubled.clear()
        await here.becomes(1)


async def test_a_comparison_that_breaks(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours: the lines stay out, and the next round looks again."""
    monkeypatch.setattr(service_module, "SWEEP_S", 0.05)
    with structlog.testing.capture_logs() as logs:
        service = Service(site.settings)
        await service.start()
        try:
            here = Running(site, service, FakeAsterisk(HOST, service.server.port), logs)
            with monkeypatch.context() as patch:
                patch.setattr(service_module, "recheck", lambda *_: 1 // 0)
                here.sound().touch()
                await until(lambda: len(here.events("sweep_failed")) > 1)
                assert here.asked() == "line_not_ready"
            await here.becomes(1)
        finally:
            await service.stop(0.0)


async def test_calls_during_damage(site: SmallSite) -> None:
    """A storm of damage, repair and calls: a call is asked by a version, or not at all; nothing else happens."""
    async with running(site) as here:
        over = asyncio.Event()

        async def storm() -> None:
            path = here.sound(nth=3)
            while not over.is_set():
                flip(path)
                await asyncio.sleep(0.02)
                flip(path)
                await asyncio.sleep(0.05)

        storming = asyncio.create_task(storm())
        calls = await asyncio.gather(*(here.call("2") for _ in range(20)))
        over.set()
        await storming
        for call in calls:
            assert call.result == "declined" or (call.result, call.reason) == ("failed", "line_not_ready")
        await here.becomes(1)
        assert (await here.call("2")).result == "declined"


def test_a_plan_of_the_service_is_no_trial(site: SmallSite) -> None:
    for state in site.load().states.values():
        for plan in state.plans.values():
            assert isinstance(plan, Plan)
            assert not plan.trial


@pytest.mark.parametrize("key", ["1", "2"])
async def test_damaged_while_a_call_is_under_way(site: SmallSite, key: str) -> None:
    """I2, R22: what was heard may not be what the decision would name, so a yes counts no more; a no always does."""
    async with running(site) as here:
        under_way = await here.switch.call("support")
        await under_way.wait_command("STREAM FILE")
        flip(here.sound())
        await here.becomes("line_not_ready")
        await here.answer(under_way, key)
        assert (under_way.result, under_way.reason) == (
            ("failed", "line_damaged") if key == "1" else ("declined", "no_key")
        )
        assert not list(here.service.site.recordings.iterdir())


async def test_what_is_over_leaves_the_log_by_itself(site: SmallSite) -> None:
    """R14, R24, I3: a refusal of last year goes, a call whose process died is decided, a new period has its key."""
    place = place_of(site.settings)
    (site.root / "pseudonym.key").write_text(f"2001Q1 {'ab' * 32}\n")
    before = Ledger(place, clock=lambda: datetime.now(UTC) - timedelta(days=200))
    old = call_context(line="support")
    before.decide_now(failed_decision(old, "silence"))
    before.note_now("f" * 32, "support", "asked", {"languages": "en"})
    before.seal()
    before.close()

    def kinds_of(call_id: str) -> list[str]:
        with LedgerReader(place) as reader:
            return [event.kind for event in reader.history(call_id)]

    async with running(site) as here:
        await until(lambda: kinds_of(old.call_id) == [])
        await until(lambda: kinds_of("f" * 32) == ["asked", "decision"])
        periods = here.service.site.pseudonyms.periods
        await until(lambda: "2001Q1 ---" in (site.root / "pseudonym.key").read_text())
        assert len(periods) == 2
        assert (await here.call("2")).result == "declined"
