from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ivr_consent.testing import rig
from ivr_consent.testing.eye import DirectoryWatch
from ivr_consent.testing.phone import Phone, tone_samples, ulaw_encode
from ivr_consent.testing.wav import read_wav

# --- Without Asterisk -----------------------------------------------------------------------------------

DEB822 = """\
# comment
Types: deb
URIs: http://mirror.invalid/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://switched-off.invalid/debian
Suites: bookworm
Components: main

Types: deb deb-src
# comment inside
URIs: http://mirror.invalid/debian http://second.invalid/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""

ONE_LINE = """\
# deb http://commented.invalid/debian bookworm main
deb-src http://source.invalid/debian bookworm main
deb [arch=amd64] https://vendor.invalid/apt bookworm stable
deb [ arch=amd64 signed-by=/keys/debian-archive-keyring.gpg ] http://one.invalid/debian trixie main contrib # x
deb http://two.invalid/debian/ sid main
"""


def test_sources_in_both_formats(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(DEB822)
    (folder / "ignored.bak").write_text(ONE_LINE)
    (tmp_path / "sources.list").write_text(ONE_LINE)
    one, two, deb822 = rig.apt_sources(tmp_path)
    assert one == rig.AptSource("http://one.invalid/debian", "/keys/debian-archive-keyring.gpg")
    assert two == rig.AptSource("http://two.invalid/debian/", "")
    assert deb822.uri == "http://mirror.invalid/debian"
    assert deb822.stanza("sid").endswith(
        "Suites: sid\nComponents: main\nSigned-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    assert "Signed-By" not in two.stanza("sid")


def test_no_sources_at_all(tmp_path: Path) -> None:
    assert rig.apt_sources(tmp_path) == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVR_CONSENT_RIG", "/a")
    assert rig.cache_directory() == Path("/a")
    monkeypatch.delenv("IVR_CONSENT_RIG")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert rig.cache_directory() == Path("/b/ivr-consent/rig")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert rig.cache_directory() == Path("/c/.cache/ivr-consent/rig")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IVR_CONSENT_RIG", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("empty_cache")
def test_what_makes_the_rig_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("platform.machine", lambda: "riscv64")
        with pytest.raises(rig.RigUnavailable, match="riscv64"):
            rig.fetch("22")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(rig.RigUnavailable, match="apt-get is not installed"):
            rig.fetch("22")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.which", lambda tool: tool)
        patch.setattr(rig, "apt_sources", list)
        with pytest.raises(rig.RigUnavailable, match="no Debian archive"):
            rig.fetch("16")


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IVR_CONSENT_RIG", str(tmp_path / "file"))
    with pytest.raises(rig.RigUnavailable, match="cannot write"):
        rig.fetch("22")


def test_an_unreachable_archive_leaves_nothing_half_made(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/usr/bin/apt-get").exists():
        pytest.skip("no apt")
    nowhere = [rig.AptSource("file:///nowhere/debian", "")]
    monkeypatch.setattr(rig, "apt_sources", lambda: nowhere)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(rig.RigUnavailable, match="apt-get failed"):
        rig.fetch("22")
    left = {path.name for path in empty_cache.iterdir()}
    assert left == {".lock22", "packages"}


def test_parallel_workers_fetch_once(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    said: list[str] = []

    def build(suite: str, wanted: tuple[str, ...], unused: tuple[str, ...], home: Path, say: rig.Progress) -> None:
        built.append(suite)
        time.sleep(0.3)
        (home / "root").mkdir(parents=True)
        (home / ".ok").touch()

    monkeypatch.setattr(rig, "_build", build)
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(rig.fetch("16", progress=said.append))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == ["bullseye"]
    assert results == [empty_cache / "deb16" / "root"] * 4
    assert said == ["waiting for another process that is fetching"] * 3


def test_skipping_is_failing_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="why"):
        rig.skip_or_fail("why")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="why"):
        rig.skip_or_fail("why")


def test_a_manager_account_cannot_break_its_file() -> None:
    instance = rig.Instance("22")
    for bad in ("a]", "a\nread = all", "a;b"):
        with pytest.raises(ValueError, match="manager"):
            instance.add_manager(bad, "secret")


def test_an_instance_never_started_leaves_no_directory() -> None:
    instance = rig.Instance("22")
    directory = instance.directory
    assert (directory / "etc" / "extensions.conf").exists()
    del instance
    assert not directory.exists()


def test_long_temporary_directories_are_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    instance = rig.Instance("22")
    assert len(str(instance.directory)) < 90
    assert list(long.iterdir()) == []


# --- With Asterisk --------------------------------------------------------------------------------------

live = pytest.mark.live
both = pytest.mark.parametrize("version", ["22", "16"])

TONE = """
[from-sip]
exten => 100,1,Answer()
 same => n,Playtones({hz})
 same => n,Wait(20)
"""

Starter = Callable[[rig.Instance], Awaitable[rig.Instance]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    started: list[rig.Instance] = []

    async def begin(instance: rig.Instance) -> rig.Instance:
        started.append(instance)
        try:
            await instance.start()
        except rig.RigUnavailable as error:
            rig.skip_or_fail(str(error))
        return instance

    yield begin
    for instance in started:
        await instance.stop()


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int, directory: Path, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) or directory.exists():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def login(port: int, name: str, secret: str) -> str:
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"Action: Login\r\nUsername: {name}\r\nSecret: {secret}\r\nEvents: off\r\n\r\n".encode())
        reply = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return reply.decode()


@live
@both
async def test_from_start_to_stop(start: Starter, version: rig.Version) -> None:
    pbx = await start(rig.Instance(version))
    pid, directory = pbx.pid, pbx.directory
    assert pid is not None
    assert alive(pid)
    assert f"Asterisk {version}." in await pbx.cli("core show version")
    # what the tests of the product rely on; a module that failed to load is only a line in the log
    for module in ("app_mixmonitor", "app_queue", "app_stack", "res_agi", "chan_pjsip", "codec_g722", "func_cut"):
        assert "Running" in await pbx.cli(f"module show like {module}")
    assert "ERROR" not in pbx.log
    features = await pbx.cli("features show")
    assert "*3" in features
    assert "Local/agent@rig-agents" in await pbx.cli("queue show support")
    await pbx.stop()
    assert pbx.pid is None
    assert not alive(pid)
    assert not directory.exists()
    assert "cleanly ending" in pbx.log
    await pbx.stop()  # again is harmless


@live
@both
async def test_only_loopback_is_bound(start: Starter, version: rig.Version) -> None:
    pbx = await start(rig.Instance(version, dialplan=TONE.format(hz=500)))
    async with Phone(("127.0.0.1", pbx.sip_port)) as phone:
        call = await phone.call("100")
        await call.wait_tone(500)
        bound = list(_sockets(pbx.pid or 0))
    assert (0x7F000001, pbx.ami_port) in bound
    assert (0x7F000001, pbx.sip_port) in bound
    foreign = [(host, port) for host, port in bound if host != 0x7F000001]
    # pjproject's DNS resolver has one unconnected socket on an ephemeral port, which cannot be configured
    assert len(foreign) <= 1
    assert len(bound) >= 5, "AMI, SIP, RTP, RTCP and that one"


def _sockets(pid: int) -> list[tuple[int, int]]:
    """Host and port of every IPv4 socket of a process."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    found = []
    for table in ("tcp", "udp"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if f"socket:[{words[9]}]" in links:
                host, _, port = words[1].partition(":")
                found.append((socket.ntohl(int(host, 16)), int(port, 16)))
    return found


@live
async def test_two_side_by_side(start: Starter) -> None:
    one, two = rig.Instance("22", dialplan=TONE.format(hz=700)), rig.Instance("16", dialplan=TONE.format(hz=1100))
    await asyncio.gather(start(one), start(two))
    assert one.directory != two.directory
    async with Phone(("127.0.0.1", one.sip_port)) as first, Phone(("127.0.0.1", two.sip_port)) as second:
        calls = [await first.call("100"), await second.call("100")]
        await calls[0].wait_tone(700)
        await calls[1].wait_tone(1100)
        await one.stop()
        now = time.monotonic()
        await calls[1].wait_tone(1100)
        assert calls[1].up
        assert time.monotonic() >= now
    assert calls[0].ended_by == "them"


@live
async def test_manager_accounts(start: Starter) -> None:
    pbx = rig.Instance("22")
    pbx.add_manager("watch", "s1", read="call,dtmf", write="")
    await start(pbx)
    assert "Success" in await login(pbx.ami_port, "watch", "s1")
    assert "Error" in await login(pbx.ami_port, "watch", "wrong")
    pbx.add_manager("later", "s2")
    assert "Error" in await login(pbx.ami_port, "later", "s2")
    await pbx.cli("manager reload")
    assert "Success" in await login(pbx.ami_port, "later", "s2")
    shown = await pbx.cli("manager show user watch")
    assert "call,dtmf" in shown


@live
async def test_the_dialplan_is_replaced_while_running(start: Starter) -> None:
    pbx = await start(rig.Instance("22", dialplan=TONE.format(hz=700)))
    await pbx.reload_dialplan(TONE.format(hz=900))
    async with Phone(("127.0.0.1", pbx.sip_port)) as phone:
        call = await phone.call("100")
        await call.wait_tone(900)


@live
@both
async def test_own_prompts_lie_among_debians(start: Starter, version: rig.Version) -> None:
    pbx = rig.Instance(
        version, dialplan="[from-sip]\nexten => 1,1,Answer()\n same => n,Playback(mine)\n same => n,Wait(9)\n"
    )
    (pbx.sounds / "mine.ulaw").write_bytes(ulaw_encode(tone_samples((800,), 2.0)))
    await start(pbx)
    assert (pbx.sounds / "beep.gsm").exists()
    async with Phone(("127.0.0.1", pbx.sip_port)) as phone:
        await (await phone.call("1")).wait_tone(800)


@live
@both
async def test_a_recording_is_seen_and_read(start: Starter, version: rig.Version) -> None:
    dialplan = "[from-sip]\nexten => 1,1,Answer()\n same => n,MixMonitor(x.wav)\n same => n,Wait(9)\n"
    pbx = await start(rig.Instance(version, dialplan=dialplan))
    with DirectoryWatch(pbx.monitor) as watch:
        async with Phone(("127.0.0.1", pbx.sip_port), tone=900) as phone:
            call = await phone.call("1")
            await watch.seen("x.wav")
            await call.play(tone_samples((900,), 1.0))
            await call.hang_up()
        await pbx.stop(keep=True)  # the file is complete
        wav = read_wav(pbx.monitor / "x.wav")
        assert watch.created == ["x.wav"]
    assert (wav.rate, len(wav.channels)) == (8000, 1)
    assert wav.seconds > 0.7
    assert [window.tones for window in wav.windows()[2:6]] == [pytest.approx((900,), abs=5)] * 4


@live
async def test_a_crash_and_a_new_start_keep_the_ports(start: Starter) -> None:
    pbx = await start(rig.Instance("22"))
    ports, pid = (pbx.ami_port, pbx.sip_port), pbx.pid
    with pytest.raises(RuntimeError, match="already running"):
        await pbx.start()
    await pbx.kill()
    assert not alive(pid or 0)
    with pytest.raises(RuntimeError):
        await pbx.cli("core show uptime")
    await pbx.start()
    assert (pbx.ami_port, pbx.sip_port) == ports
    await pbx.stop(keep=True)
    assert pbx.directory.exists()
    await pbx.start()
    assert (pbx.ami_port, pbx.sip_port) == ports


@live
@pytest.mark.parametrize(("kind", "offset"), [(socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 2)])
async def test_a_port_taken_at_the_last_moment(
    start: Starter, monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind, offset: int
) -> None:
    reserve = rig._reserve_block
    taken: list[socket.socket] = []

    def too_late() -> tuple[socket.socket, int]:
        lock, first = reserve()
        if not taken:
            taken.append(socket.socket(socket.AF_INET, kind))
            taken[0].bind(("127.0.0.1", first + offset))
            if kind is socket.SOCK_STREAM:
                taken[0].listen()
        return lock, first

    monkeypatch.setattr(rig, "_reserve_block", too_late)
    pbx = await start(rig.Instance("22"))
    with taken[0] as thief:
        assert pbx.running
        assert thief.getsockname()[1] not in (pbx.ami_port, pbx.sip_port)


@live
async def test_a_frozen_asterisk_is_killed(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "_STOP_LIMIT", 0.3)
    monkeypatch.setattr(rig, "_CLI_LIMIT", 0.3)
    pbx = await start(rig.Instance("22"))
    assert pbx.pid is not None
    pid, directory = pbx.pid, pbx.directory
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await pbx.cli("core show uptime")
    await pbx.stop()
    assert not alive(pid)
    assert not directory.exists()


@live
async def test_a_broken_configuration_says_why(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    pbx = rig.Instance("22")
    monkeypatch.setattr(rig, "_MODULES", ["res_missing"])
    monkeypatch.setattr(rig, "_START_LIMIT", 3.0)
    monkeypatch.setattr(rig._Tree, "asterisk", lambda *_: ["false"])
    with pytest.raises(RuntimeError, match="died"):
        await start(pbx)


@live
@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(3)", "raise KeyboardInterrupt"])
async def test_nothing_outlives_the_tests(start: Starter, how: str) -> None:
    await start(rig.Instance("22"))  # skips here when there is no Asterisk
    code = f"""
        import asyncio, os, signal, sys
        from ivr_consent.testing import rig

        async def main():
            instance = rig.Instance("22")
            await instance.start()
            print(instance.pid, instance.directory, flush=True)
            {how}

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    pid, directory = done.stdout.split()
    assert await gone(int(pid), Path(directory)), done.stderr
