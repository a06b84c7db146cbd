"""The control socket: the command line is answered, whoever else says whatever else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from ivr_consent import config, control
from ivr_consent.config import Settings
from ivr_consent.control import Control, ask, socket_path
from ivr_consent.core.errors import ConsentError

PATIENCE = 30.0


def settings_in(folder: Path, log: str = "decisions.db") -> Settings:
    return config.parse({"lines": {"support": {}}, "log": {"path": log}}, folder / "ivr-consent.toml", "")


class Answering:
    """What a service would answer: how often each question came."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, question: str) -> Mapping[str, Any]:
        self.asked.append(question)
        if question == "break":
            raise ValueError("a fault of ours")
        if question == "large":
            return {"ok": True, "text": "x" * 1_000_000}
        return {"ok": True, "question": question}


class Listening(Answering):
    """A control socket in a folder, and clients against it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.path = socket_path(settings)
        self.control = Control(self.path, self)

    async def __aenter__(self) -> Listening:
        await self.control.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.control.stop()

    async def ask(self, question: str = "status") -> dict[str, Any]:
        return await asyncio.wait_for(asyncio.to_thread(ask, self.settings, question), PATIENCE)

    async def say(self, data: bytes, *, end: bool = False) -> bytes:
        """All that is answered to these bytes, until the connection is closed."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), PATIENCE)
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def test_a_question_and_its_answer(tmp_path: Path) -> None:
    async with Listening(settings_in(tmp_path)) as here:
        assert await here.ask("reload") == {"ok": True, "question": "reload"}
        assert len((await here.ask("large"))["text"]) == 1_000_000
        assert here.asked == ["reload", "large"]
        assert [path.name for path in tmp_path.iterdir()] == ["decisions.db.control"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
async def test_only_its_owner_may_ask(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, which is as before afterwards."""
    before = os.umask(umask)
    try:
        async with Listening(settings_in(tmp_path)) as here:
            state = here.path.lstat()
            assert stat.S_ISSOCK(state.st_mode)
            assert stat.S_IMODE(state.st_mode) == 0o600
            assert os.umask(umask) == umask
    finally:
        os.umask(before)


@pytest.mark.parametrize("what", ["a dead socket", "a file", "a link", "a socket that nobody reads"])
async def test_what_an_earlier_service_left_is_replaced(tmp_path: Path, what: str) -> None:
    settings = settings_in(tmp_path)
    path = socket_path(settings)
    with socket.socket(socket.AF_UNIX) as old:
        if what in ("a dead socket", "a socket that nobody reads"):
            old.bind(str(path))
            if what != "a dead socket":
                old.listen(1)
        elif what == "a file":
            path.write_text("")
        else:
            path.symlink_to(tmp_path / "elsewhere")
        async with Listening(settings) as here:
            assert (await here.ask())["ok"]
    assert list(tmp_path.iterdir()) == []


async def test_a_service_that_took_our_place_keeps_it(tmp_path: Path) -> None:
    """One that ends late does not take the socket away from its successor."""
    settings = settings_in(tmp_path)
    async with Listening(settings) as old:
        async with Listening(settings) as new:
            await old.control.stop()
            assert (await new.ask())["ok"]
            assert new.asked == ["status"]
        assert not old.path.exists()


async def test_very_long_paths(tmp_path: Path) -> None:
    """The address of a socket has 108 bytes; a path may have 4096, and a name 255."""
    deep = tmp_path
    for _ in range(6):
        deep /= "d" * 100
    deep.mkdir(parents=True)
    async with Listening(settings_in(deep, log="l" * 240 + ".db")) as here:
        assert len(str(here.path)) > 700
        assert (await here.ask())["ok"]


async def test_nowhere_to_listen(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConsentError, match="the control socket cannot be made"):
            await Control(socket_path(settings_in(folder)), Answering()).start()
    socket_path(settings_in(tmp_path)).mkdir()
    with pytest.raises(ConsentError, match="the control socket cannot be made"):
        await Control(socket_path(settings_in(tmp_path)), Answering()).start()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decisions.db.control", "file"], "nothing half-made"


async def test_under_uvloop(tmp_path: Path) -> None:
    """The service runs on it where it is installed."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is an extra")

    async def serve() -> dict[str, Any]:
        async with Listening(settings_in(tmp_path)) as here:
            return await here.ask()

    def run() -> dict[str, Any]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve())

    assert (await asyncio.to_thread(run))["ok"]
    assert list(tmp_path.iterdir()) == []


# --- whoever says whatever --------------------------------------------------------------------------------------------

GARBAGE = {
    "nothing": b"",
    "half a line": b"relo",
    "a long line": b"r" * 2000 + b"\n",
    "a megabyte": b"r" * 1_000_000,
    "a megabyte of zeros": bytes(1_000_000),
}


@pytest.mark.parametrize("what", GARBAGE)
@pytest.mark.parametrize("end", [True, False], ids=["closes", "waits"])
async def test_garbage(
    tmp_path: Path, what: str, end: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closed without an answer, after a deadline where needed; others are answered meanwhile."""
    monkeypatch.setattr(control, "QUESTION_S", 0.3)
    with structlog.testing.capture_logs() as logged:
        async with Listening(settings_in(tmp_path)) as here:
            talk = asyncio.create_task(here.say(GARBAGE[what], end=end))
            assert (await here.ask())["ok"]
            assert await talk == b""
            assert here.asked == ["status"]
            assert (await here.ask())["ok"]
    assert logged == []
    assert caplog.records == [], "nor does the loop complain"


@pytest.mark.parametrize(
    "question", [b"\n", b"\xff\xfe\n", b"reload\r\n", b"  status \n", b"status\nreload\n", b"\0\n"]
)
async def test_strange_questions(tmp_path: Path, question: bytes) -> None:
    """One question a connection: what it is, the service decides."""
    async with Listening(settings_in(tmp_path)) as here:
        assert json.loads(await here.say(question))["ok"]
        assert len(here.asked) == 1
        assert here.asked[0].isprintable() or here.asked[0] == "\0"


async def test_who_asks_and_goes(tmp_path: Path) -> None:
    """Closed before the answer: the question is still answered to others, and nothing is logged."""
    with structlog.testing.capture_logs() as logged:
        async with Listening(settings_in(tmp_path)) as here:
            for question in (b"large\n", b"status\n"):
                _, writer = await asyncio.open_unix_connection(str(here.path))
                writer.write(question)
                await writer.drain()
                writer.transport.abort()
            async with asyncio.timeout(PATIENCE):
                while len(here.asked) < 2:
                    await asyncio.sleep(0.005)  # until both were read, with the deadline above
            assert (await here.ask())["ok"]
    assert logged == []


async def test_who_asks_and_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "QUESTION_S", 0.3)
    async with Listening(settings_in(tmp_path)) as here:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(here.path))
            link.sendall(b"large\n")
            for _ in range(3):
                assert (await here.ask())["ok"]


async def test_a_fault_of_ours(tmp_path: Path) -> None:
    """It is in the log, who asked is told by the closed connection, and the next one is answered."""
    with structlog.testing.capture_logs() as logged:
        async with Listening(settings_in(tmp_path)) as here:
            with pytest.raises(ConsentError, match="without an answer; see its log"):
                await here.ask("break")
            assert (await here.ask())["ok"]
    assert [entry["event"] for entry in logged] == ["question_failed"]


async def test_many_at_once(tmp_path: Path) -> None:
    async with Listening(settings_in(tmp_path)) as here:
        answers = await asyncio.gather(*(here.ask(f"q{number}") for number in range(30)))
        assert {answer["question"] for answer in answers} == {f"q{number}" for number in range(30)}


# --- the command line's end -------------------------------------------------------------------------------------------


def test_no_service(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            ConsentError, match=r"no service runs with this configuration .*start it: ivr-consent serve"
        ):
            ask(settings_in(folder), "status")


@pytest.mark.parametrize("what", ["a dead socket", "a file", "a folder", "a link to nothing"])
def test_something_else_in_its_place(tmp_path: Path, what: str) -> None:
    settings = settings_in(tmp_path)
    path = socket_path(settings)
    if what == "a dead socket":
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(path))
    elif what == "a file":
        path.write_text("")
    elif what == "a folder":
        path.mkdir()
    else:
        path.symlink_to("nothing")
    with pytest.raises(ConsentError, match="no service runs with this configuration"):
        ask(settings, "status")


@contextmanager
def pretending(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Something else that listens there; one connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(PATIENCE)

        def run() -> None:
            link, _ = listener.accept()
            with link:
                serve(link)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            thread.join(PATIENCE)


SAYS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "without an answer"),
    "garbage": (b"hello\n", "without an answer"),
    "bytes": (b"\xff\xfe\n", "without an answer"),
    "a list": (b"[1]\n", "is not ivr-consent"),
    "null": (b"null\n", "is not ivr-consent"),
    "half": (b'{"ok": tr', "without an answer"),
    "deep": (b"[" * 100_000 + b"\n", "without an answer|is not ivr-consent"),
}


@pytest.mark.parametrize("what", SAYS)
def test_another_program_answers(tmp_path: Path, what: str) -> None:
    settings = settings_in(tmp_path)
    said, told = SAYS[what]

    def serve(link: socket.socket) -> None:
        link.recv(100)
        link.sendall(said)

    with pretending(socket_path(settings), serve), pytest.raises(ConsentError, match=told):
        ask(settings, "status")


def test_a_service_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the question and never answers."""
    monkeypatch.setattr(control, "ANSWER_S", 0.2)
    settings = settings_in(tmp_path)
    done = threading.Event()

    def serve(link: socket.socket) -> None:
        link.recv(100)
        done.wait(PATIENCE)

    with pretending(socket_path(settings), serve):
        with pytest.raises(ConsentError, match=r"does not answer on .*see its log"):
            ask(settings, "status")
        done.set()


def test_a_service_that_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs and others wait already: the kernel's queue is full."""
    monkeypatch.setattr(control, "QUESTION_S", 0.2)
    settings = settings_in(tmp_path)
    path = socket_path(settings)
    waiting = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        try:
            for _ in range(3):
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                try:
                    waiting[-1].connect(str(path))
                except BlockingIOError:
                    break
            with pytest.raises(ConsentError, match="does not answer"):
                ask(settings, "status")
        finally:
            for link in waiting:
                link.close()


ASK = """
import os, sys
from pathlib import Path
from ivr_consent import config, control

settings = config.parse({"lines": {"support": {}}}, Path(sys.argv[1]), "")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    print(control.ask(settings, "status"))
except control.ConsentError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
async def test_another_user() -> None:
    """Nobody but the owner and root: told what to do instead of a traceback."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for mode, told in ((0o755, "decisions.db.control may not be used"), (0o700, "may not be used")):
            folder.chmod(mode)
            async with Listening(settings_in(folder)) as here:
                command = [sys.executable, "-c", ASK, str(folder / "ivr-consent.toml")]
                done = await asyncio.to_thread(
                    subprocess.run, command, capture_output=True, text=True, timeout=60, check=True
                )
                assert told in done.stdout
                assert "(Permission denied); run this as the service's user or as root" in done.stdout
                assert here.asked == []
