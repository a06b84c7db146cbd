"""ivr-consent reload: what the running service answers, told to an administrator or a script."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import Result

from ivr_consent import control
from ivr_consent.core.errors import ConsentError
from ivr_consent.manifest import Manifest
from ivr_consent.service import Service
from tests.cli.support import run, run_json
from tests.sites import APPROVER, SmallSite, flip

PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """Two lines, published."""
    made = SmallSite.make(
        tmp_path / "site", "support", "sales", more={"sales": 'languages = ["da"]\n'}, port=free_port()
    )
    made.publish()
    return made


@contextmanager
def serving(site: SmallSite) -> Iterator[Service]:
    """The service in a thread of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[tuple[Service, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        service = Service(site.settings)
        await service.start()
        found.append((service, asyncio.get_running_loop()))
        ready.set()
        await stop.wait()
        await service.stop(0.0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield found[0][0]
    finally:
        if found:
            found[0][1].call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)


def reload(site: SmallSite) -> Result:
    return run("--config", site.config, "reload")


def manifest(site: SmallSite, line: str = "support") -> Manifest:
    found = site.load().states[line].manifest
    assert found is not None
    return found


def test_a_new_version(site: SmallSite) -> None:
    with serving(site):
        site.say("Something else is said now.")
        site.publish("support")
        done = reload(site)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines() == ["reloaded", "line support: version 2", "line sales: version 1"]
        assert "what to do" not in done.stderr
        code, told = run_json("--config", site.config, "reload")
        assert code == 0
        assert told == {
            "ok": True,
            "problems": [],
            "lines": {"support": {"ready": True, "version": 2}, "sales": {"ready": True, "version": 1}},
        }


def test_a_refused_reload(site: SmallSite) -> None:
    """Exit code 3, what is wrong on standard error, and what is in force as before."""
    with serving(site):
        site.edit(site.config, "[lines.support]", "[lines.support]\nretention_days = 31")
        done = reload(site)
        assert done.exit_code == 3
        assert "the configuration has '31', version 1 says '30'" in done.stderr
        assert "lines.support.retention_days" in done.stderr
        assert "what to do:" in done.stderr
        assert "ivr-consent: not reloaded; what was in force stays in force" in done.stderr
        assert done.stdout.splitlines() == ["line support: version 1", "line sales: version 1"]
        code, told = run_json("--config", site.config, "reload")
        assert (code, told["ok"]) == (3, False)
        assert set(told["problems"][0]) == {"where", "found", "remedy"}
        assert told["lines"]["support"] == {"ready": True, "version": 1}


def test_a_damaged_line(site: SmallSite) -> None:
    with serving(site):
        path = site.sounds(manifest(site))[0]
        flip(path)
        done = reload(site)
        assert done.exit_code == 3
        assert str(path) in done.stderr
        assert done.stdout.splitlines() == ["line support: NOT RECORDED", "line sales: version 1"]


def test_a_line_that_is_not_ready_yet(site: SmallSite) -> None:
    """The reload is good; what the new line lacks is told."""
    with serving(site):
        site.config.write_text(site.config.read_text() + "[lines.new]\n")
        done = reload(site)
        assert done.exit_code == 0
        assert "no version of its notice is published" in done.stderr
        assert done.stdout.splitlines()[0] == "reloaded"
        assert "line new: NOT RECORDED" in done.stdout


def test_a_wrong_configuration(site: SmallSite) -> None:
    """Told by the command itself; the service is not even asked."""
    with serving(site) as service:
        site.edit(site.config, "repeats = 0", "repeats = 99")
        before = service.site
        done = reload(site)
        assert done.exit_code == 3
        assert "lines.support.repeats" in done.stderr
        assert service.site is before


def _nothing(_: Path) -> None:
    pass


def _dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))


def _file(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("there", [_nothing, _dead, _file], ids=["nothing", "a dead socket", "a file"])
def test_no_service(site: SmallSite, there: Callable[[Path], None]) -> None:
    there(control.socket_path(site.settings))
    done = reload(site)
    assert done.exit_code == 1
    assert "no service runs with this configuration" in done.stderr
    assert "start it: ivr-consent serve" in done.stderr
    code, told = run_json("--config", site.config, "reload")
    assert code == 1
    assert told["error"]["kind"] == "ConsentError"


def test_a_service_that_hangs(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWER_S", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(control.socket_path(site.settings)))
        listener.listen(5)
        done = reload(site)
    assert done.exit_code == 1
    assert "the service does not answer" in done.stderr


# --- the real service -------------------------------------------------------------------------------------------------


class Process:
    """``ivr-consent serve``, with its watcher and its worker."""

    def __init__(self, site: SmallSite) -> None:
        self.site = site
        self.log = site.root / "serve.log"

    def __enter__(self) -> Process:
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(self.site.config), "serve"]
            environment = {name: value for name, value in os.environ.items() if name != "WATCHDOG_USEC"}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        self.until(lambda: self.said("listening") == 1)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def said(self, event: str) -> int:
        return self.log.read_text().count(f'"{event}"')

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)  # polling another process, with the deadline above

    def version(self) -> int | None:
        """What is in force on line support, as the service says."""
        try:
            return int(control.ask(self.site.settings, "status")["lines"]["support"]["version"])
        except ConsentError:
            return None


def test_the_whole_way(site: SmallSite) -> None:
    """Publish, reload by command and by signal, a worker that is killed, the end."""
    with Process(site) as serve:
        socket_file = control.socket_path(site.settings)
        site.say("Something else is said now.")
        site.publish("support")
        assert serve.version() == 1
        done = reload(site)
        assert (done.exit_code, serve.version()) == (0, 2), done.output
        assert site.workshop().rollback("support", None, APPROVER).version == 1
        serve.process.send_signal(signal.SIGHUP)
        serve.until(lambda: serve.said("reloaded") == 2)
        assert serve.version() == 1
        site.edit(site.config, "[lines.support]", "[lines.support]\nretention_days = 31")
        serve.process.send_signal(signal.SIGHUP)
        serve.until(lambda: serve.said("reload_refused") == 1)
        assert serve.version() == 1
        site.edit(site.config, "\nretention_days = 31", "")
        before = socket_file.stat().st_ino
        worker = Path(f"/proc/{serve.process.pid}/task/{serve.process.pid}/children").read_text().split()[0]
        os.kill(int(worker), signal.SIGKILL)
        serve.until(lambda: serve.said("listening") == 2)
        assert socket_file.stat().st_ino != before or serve.version() == 1
        done = reload(site)
        assert done.exit_code == 0, done.output
        serve.process.terminate()
        assert serve.process.wait(PATIENCE) == 0
        assert not socket_file.exists()
    assert "Traceback" not in serve.log.read_text()
