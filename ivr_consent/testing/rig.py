"""A real Asterisk in a folder: fetched from Debian's packages, nothing installed, no root needed.

apt resolves the whole closure of the package, C library included, against a private and empty package
state; the archives are unpacked side by side, and the binary is started through its *own* dynamic loader
with ``--library-path``. That option is not inherited, so what Asterisk starts itself (AGI scripts,
``System()``) runs with the host's libraries.

Each `Instance` has its own directory and ports, so any number (up to `_BLOCKS`) run side by side. Apart
from two sockets that pjproject opens for its DNS resolver, everything is bound to 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn

Version = Literal["16", "22"]
DtmfMode = Literal["rfc4733", "info", "auto_info", "inband", "auto"]
Progress = Callable[[str], None]

_SUITES: dict[Version, str] = {"22": "sid", "16": "bullseye"}
_PACKAGES = ("asterisk", "asterisk-core-sounds-en-gsm")
_ARCHITECTURES = {
    "x86_64": ("amd64", "x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "aarch64": ("arm64", "aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}
# In the closure by way of maintainer scripts, never opened by a running Asterisk.
_UNUSED = (
    "adduser", "coreutils", "debconf", "dpkg", "libperl", "libsemanage", "libsnmp-base", "login",
    "lsb-base", "passwd", "pci.ids", "perl", "systemd", "tzdata", "util-linux",
)  # fmt: skip  # rows that belong together
_UNUSED_FILES = ("./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*", "./usr/lib/systemd/*")
_FETCH_LIMIT = 900.0  # seconds, for one apt command and for waiting for another process's fetch

_START_LIMIT = 120.0  # seconds; 0.8 on an idle machine, 30 on one with far too much to do
_STOP_LIMIT = 6.0
_CLI_LIMIT = 30.0
_SOCKET_PATH_LIMIT = 107  # bytes in sockaddr_un, less the final zero

# A block of ports per instance, below the range from which the kernel hands out ephemeral ports.
_FIRST_PORT, _BLOCK_SIZE, _BLOCKS = 11000, 500, 43

DEFAULT_DIALPLAN = """\
[from-sip]
exten => _X!,1,Answer()
 same => n,Echo()
"""
_DEFAULT_AGENTS = """
[rig-agents]
exten => agent,1,Answer()
 same => n,Playtones(600)
 same => n,Wait(3600)
"""

# Dependencies count: with autoload=no a missing one is an ERROR line only. Names that the version lacks
# are left out.
_MODULES = """
res_timing_timerfd res_sorcery_config res_sorcery_memory res_sorcery_astdb res_pjproject res_musiconhold
res_speech res_parking res_monitor res_agi pbx_config
func_strings func_logic func_callerid func_channel func_cdr func_timeout func_groupcount
func_periodic_hook func_global func_db func_env func_math func_hangupcause func_shell func_cut func_uri
func_base64 func_dialplan func_rand func_sprintf func_frame_trace func_volume func_talkdetect
func_holdintercept func_sha1 func_md5 func_lock
format_pcm format_g722 format_wav format_wav_gsm format_gsm format_sln
codec_ulaw codec_alaw codec_a_mu codec_gsm codec_g722 codec_resample
res_rtp_asterisk res_pjsip res_pjsip_session res_pjsip_pubsub res_pjsip_sdp_rtp res_pjsip_caller_id
res_pjsip_nat res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user
res_pjsip_endpoint_identifier_anonymous res_pjsip_authenticator_digest
res_pjsip_outbound_authenticator_digest res_pjsip_registrar res_pjsip_dtmf_info res_pjsip_empty_info
res_pjsip_header_funcs res_pjsip_refer res_pjsip_rfc3326 res_pjsip_logger
res_pjsip_one_touch_record_info res_pjsip_diversion chan_pjsip
bridge_simple bridge_native_rtp bridge_softmix bridge_holding bridge_builtin_features
bridge_builtin_interval_features
app_dial app_playback app_read app_record app_mixmonitor app_confbridge app_queue app_chanspy app_stack
app_exec app_senddtmf app_system app_userevent app_verbose app_while app_cdr app_echo app_milliwatt
app_controlplayback app_originate app_softhangup app_channelredirect app_transfer app_bridgewait
app_bridgeaddchan app_page app_dictate app_macro app_forkcdr app_playtones app_waitforsilence
app_sayunixtime app_celgenuserevent app_dumpchan app_if app_blind_transfer app_attended_transfer
app_voicemail app_chanisavail app_followme app_db app_directed_pickup
cdr_csv cdr_manager cel_manager res_clialiases res_security_log
""".split()  # noqa: SIM905  (a hundred quoted names read worse)
# Files that Asterisk would complain about when missing.
_EMPTY = (
    "udptl", "stasis", "ccss", "codecs", "sorcery", "pjproject", "cli", "cli_permissions", "cli_aliases",
    "followme", "queuerules",
)  # fmt: skip  # rows that belong together


class RigUnavailable(Exception):
    """This machine cannot provide the Asterisk asked for; the text says why."""


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test that is running, or fail it where a skip would go unnoticed (``CI=true``)."""
    import pytest  # noqa: PLC0415  (the rig is usable without pytest)

    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# --- Fetching -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AptSource:
    """Where this machine gets Debian's own packages from."""

    uri: str
    signed_by: str  # the field as written: a path or an embedded key; empty = apt's own trusted keys

    def stanza(self, suite: str) -> str:
        lines = ["Types: deb", f"URIs: {self.uri}", f"Suites: {suite}", "Components: main"]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


_DEBIAN_SUITES = frozenset({
    "bullseye", "bookworm", "trixie", "forky", "duke", "sid",
    "oldoldstable", "oldstable", "stable", "testing", "unstable",
})  # fmt: skip  # rows that belong together


def apt_sources(directory: Path = Path("/etc/apt")) -> list[AptSource]:
    """Debian archives named in apt's configuration, the most credible first (both file formats)."""
    found: list[AptSource] = []
    files = [directory / "sources.list", *sorted(directory.glob("sources.list.d/*"))]
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.suffix == ".sources":
            found += _deb822_sources(text)
        elif file.suffix == ".list":
            found += _one_line_sources(text)
    return sorted(found, key=lambda source: "debian-archive-keyring" not in source.signed_by)


def _deb822_sources(text: str) -> Iterator[AptSource]:
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = fields.get(name, "") + "\n" + line
            else:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        words = {key: value.split() for key, value in fields.items()}
        if fields.get("enabled", "yes").lower() in ("no", "false", "off", "0") or not words.get("uris"):
            continue
        if _is_debian(words.get("types", []), words.get("suites", []), words.get("components", [])):
            yield AptSource(words["uris"][0], fields.get("signed-by", ""))


def _one_line_sources(text: str) -> Iterator[AptSource]:
    for line in text.splitlines():
        match = re.match(r"\s*(deb)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match and _is_debian([match[1]], [match[4]], match[5].split()):
            key = re.search(r"signed-by=(\S+)", match[2] or "")
            yield AptSource(match[3], key[1] if key else "")


def _is_debian(types: list[str], suites: list[str], components: list[str]) -> bool:
    return "deb" in types and "main" in components and not _DEBIAN_SUITES.isdisjoint(suites)


def cache_directory() -> Path:
    """``$IVR_CONSENT_RIG``, else ``ivr-consent/rig`` in the user's cache directory."""
    if chosen := os.environ.get("IVR_CONSENT_RIG"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ivr-consent" / "rig"


def fetch(version: Version, *, progress: Progress | None = None) -> Path:
    """Return the folder with the unpacked packages of an Asterisk; download about 80 MB the first time.

    As :func:`fetch_packages`.
    """
    return fetch_packages(f"deb{version}", _SUITES[version], _PACKAGES, progress=progress)


def fetch_packages(
    name: str,
    suite: str,
    packages: tuple[str, ...],
    *,
    unused: tuple[str, ...] = _UNUSED,
    progress: Progress | None = None,
) -> Path:
    """Return the folder ``name`` of the cache, with Debian's ``packages`` and all that they depend on unpacked in it.

    Packages whose names begin like one of ``unused`` are left out. Any number of processes may call this at once: one
    works, the others wait. Interrupting leaves nothing behind but a part of the archives, with which the next call
    goes on. Blocks (20 s to minutes): call it through `asyncio.to_thread` in a coroutine. Raises `RigUnavailable`.
    """
    home = cache_directory() / name
    if (home / ".ok").exists():
        return home / "root"
    say = progress or _silent
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _locked(home.parent / f".lock{name.removeprefix('deb')}", say):
            if not (home / ".ok").exists():
                _build(suite, packages, unused, home, say)
    except OSError as error:
        raise RigUnavailable(f"cannot write {home.parent}: {error}") from error
    return home / "root"


def _silent(message: str) -> None:
    pass


@contextlib.contextmanager
def _locked(path: Path, say: Progress) -> Iterator[None]:
    deadline = time.monotonic() + _FETCH_LIMIT
    with path.open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RigUnavailable(f"another process holds {path} for {_FETCH_LIMIT:.0f} s") from None
                if not told:
                    say("waiting for another process that is fetching")
                    told = True
                time.sleep(0.1)
            else:
                break
        yield  # closing the file releases the lock


def _architecture() -> tuple[str, str, str]:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        raise RigUnavailable(f"no Debian packages are known to run on {sys.platform} {machine}")
    return _ARCHITECTURES[machine]


def _build(suite: str, wanted: tuple[str, ...], unused: tuple[str, ...], home: Path, say: Progress) -> None:
    architecture, _, _ = _architecture()
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            raise RigUnavailable(f"{tool} is not installed: the rig needs a Debian or one of its relatives")
    sources = apt_sources()
    if not sources:
        raise RigUnavailable("no Debian archive (component main) is configured in /etc/apt")
    packages = home.parent / "packages" / f"{suite}-{wanted[0]}"
    (packages / "partial").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".fetch-{home.name}-", dir=home.parent) as name:
        work = Path(name)
        state = work / "apt"
        (state / "lists" / "partial").mkdir(parents=True)
        (state / "archives" / "partial").mkdir(parents=True)
        (state / "none").mkdir()
        (state / "status").touch()  # nothing is installed: so the whole closure is resolved
        (state / "debian.sources").write_text(sources[0].stanza(suite), encoding="utf-8")
        apt = _apt_command(state, architecture)
        say(f"reading the package lists of Debian {suite}")
        _run([*apt, "update"])
        # Asked with an empty archive folder, because apt leaves out of this list what is there already.
        listed = _run([*apt, "install", "-y", "--print-uris", *wanted])
        archives = [packages / name for name in sorted(re.findall(r"^'\S+' (\S+\.deb) ", listed, re.M))]
        if not archives:
            raise RigUnavailable(f"apt lists no packages for {wanted[0]}: {listed.strip()[-300:]}")
        say(f"downloading {wanted[0]} and its libraries ({len(archives)} packages)")
        _run([*apt, "-o", f"Dir::Cache::archives={packages}", "install", "-y", "--download-only", *wanted])
        say("unpacking")
        ready = work / "ready"
        (ready / "root").mkdir(parents=True)
        for archive in archives:
            if not archive.name.startswith(unused):
                _unpack(archive, ready / "root")
        (ready / "versions.txt").write_text("".join(f"{a.name}\n" for a in archives), encoding="utf-8")
        (ready / ".ok").touch()
        if home.exists():  # without its .ok, hence half-made by someone else
            shutil.rmtree(home)
        ready.rename(home)
    shutil.rmtree(packages)


def _apt_command(state: Path, architecture: str) -> list[str]:
    options = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "Dir::Etc::sourcelist": state / "debian.sources",
        "Dir::Etc::sourceparts": state / "none",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": state / "none",
        "Debug::NoLocking": "1",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",  # an unreachable archive is otherwise only a warning
        "APT::Update::Post-Invoke::": "",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",  # an archived suite is no longer signed anew
        "Acquire::Retries": "3",
    }
    command = ["apt-get", "-q=2"]
    for key, value in options.items():
        command += ["-o", f"{key}={value}"]
    return command


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_FETCH_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RigUnavailable(f"{command[0]} took longer than {_FETCH_LIMIT:.0f} s") from error
    if done.returncode:
        tail = " / ".join(done.stdout.strip().splitlines()[-4:])
        raise RigUnavailable(f"{command[0]} failed (no network?): {tail}")
    return done.stdout


def _unpack(archive: Path, root: Path) -> None:
    tar = ["tar", "-x", "-C", str(root), "--no-same-owner", "--keep-directory-symlink"]
    tar += [f"--exclude={pattern}" for pattern in _UNUSED_FILES]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as unpacker:
        result = subprocess.run(tar, stdin=unpacker.stdout, capture_output=True, check=False)
    if unpacker.returncode or result.returncode:
        raise RigUnavailable(f"cannot unpack {archive.name}: {result.stderr.decode(errors='replace')}")


def own_loader(root: Path) -> tuple[Path, str]:
    """The dynamic loader of an unpacked package folder, and what to give it as ``--library-path``."""
    _, _, loader = _architecture()
    folders = _library_folders(root)
    found = next(path for path in (folder / loader for folder in folders) if path.exists())
    return found, ":".join(map(str, folders))


def _library_folders(root: Path) -> list[Path]:
    # Debian 11 still splits /lib and /usr/lib; libasteriskpj lies directly in /usr/lib.
    _, triplet, _ = _architecture()
    folders = [root / "lib" / triplet, root / "usr/lib" / triplet, root / "usr/lib"]
    return [folder for folder in folders if folder.is_dir()]


# --- Configuration --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tree:
    """Paths inside an unpacked package folder."""

    root: Path
    modules: Path
    loader: Path
    libraries: str

    @classmethod
    def of(cls, root: Path) -> _Tree:
        folders = _library_folders(root)
        modules = [folder / "asterisk/modules" for folder in folders]
        loader, libraries = own_loader(root)
        return cls(
            root=root, modules=next(path for path in modules if path.is_dir()), loader=loader, libraries=libraries
        )

    def asterisk(self, directory: Path, *arguments: str) -> list[str]:
        program = str(self.root / "usr/sbin/asterisk")
        config = str(directory / "etc/asterisk.conf")
        return [str(self.loader), "--library-path", self.libraries, program, "-C", config, *arguments]


def _static_config(tree: _Tree, directory: Path, modules: Sequence[str]) -> dict[str, str]:
    """Files that do not depend on the ports."""
    present = [name for name in modules if (tree.modules / f"{name}.so").exists()]
    empty = "[general]\n"
    return {
        "asterisk.conf": f"""\
[directories]
astetcdir => {directory}/etc
astmoddir => {tree.modules}
astvarlibdir => {directory}/lib
astdbdir => {directory}/lib
astkeydir => {directory}/lib
astdatadir => {directory}/data
astagidir => {directory}/data/agi-bin
astspooldir => {directory}/spool
astrundir => {directory}/run
astlogdir => {directory}/log
astsbindir => {tree.root}/usr/sbin
[options]
nocolor = yes
dumpcore = no
languageprefix = yes
live_dangerously = no
transmit_silence = no
hideconnect = yes
nosystemname = yes
""",
        "modules.conf": "[modules]\nautoload = no\n" + "".join(f"load = {name}.so\n" for name in present),
        "logger.conf": "[general]\ndateformat = %F %T.%3q\n[logfiles]\nfull = notice,warning,error,verbose(4),dtmf\n",
        "musiconhold.conf": f"[default]\nmode=files\ndirectory={directory}/data/sounds/en/digits\n",
        "queues.conf": "[general]\n[support]\nstrategy=ringall\ntimeout=10\nretry=1\n"
        "member => Local/agent@rig-agents/n\n"
        "[taped]\nstrategy=ringall\ntimeout=10\nretry=1\nmonitor-format=wav\nmember => Local/agent@rig-agents/n\n",
        # `automon` is unknown to 22 and would void its whole featuremap
        "features.conf": "[general]\n[featuremap]\nautomixmon => *3\nblindxfer => #1\natxfer => *2\n"
        "parkcall => #72\n[applicationmap]\n",
        "res_parking.conf": "[general]\n[default]\nparkext => 700\nparkpos => 701-720\ncontext => parkedcalls\n",
        "cdr.conf": "[general]\nenable=yes\nunanswered=yes\n[csv]\nusegmtime=yes\nloguniqueid=yes\nloguserfield=yes\n",
        "cdr_manager.conf": "[general]\nenabled=yes\n",
        "cel.conf": "[general]\nenable=yes\napps=all\nevents=ALL\n",
        "voicemail.conf": "[general]\nformat=wav\n[default]\n100 => ,Rig\n",
        "confbridge.conf": "[general]\n[default_user]\ntype=user\n[default_bridge]\ntype=bridge\n",
        "indications.conf": "[general]\ncountry=us\n[us]\ndescription=US\nringcadence=2000,4000\n"
        "dial=350+440\nbusy=480+620/500,0/500\nring=440+480/2000,0/4000\n"
        "congestion=480+620/250,0/250\nrecord=1400/500,0/15000\n",
        "http.conf": "[general]\nenabled=no\nbindaddr=127.0.0.1\n",
        "acl.conf": "",
        **{f"{name}.conf": empty for name in _EMPTY},
    }


def _pjsip(port: int, dtmf_mode: DtmfMode, context: str) -> str:
    # Every phone is on loopback, so one endpoint stands for all of them: the extension dialled is the user
    # part of the request URI. T1 is short because loopback loses nothing.
    return f"""\
[global]
type=global
user_agent=rig
[system]
type=system
timer_t1=100
[udp]
type=transport
protocol=udp
bind=127.0.0.1:{port}
[phone]
type=endpoint
transport=udp
context={context}
disallow=all
allow=ulaw,alaw,g722
dtmf_mode={dtmf_mode}
direct_media=no
rtp_symmetric=no
media_address=127.0.0.1
bind_rtp_to_media_address=yes
[phone]
type=identify
endpoint=phone
match=127.0.0.1
"""


_MANAGER_HEAD = """\
[general]
enabled = yes
webenabled = no
bindaddr = 127.0.0.1
port = {port}
timestampevents = yes
"""


# --- Running --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Held:
    """What must not outlive a switch of ours, apart from it so that a finalizer may hold it."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None
    undertaker: subprocess.Popen[bytes] | None = None
    ports: socket.socket | None = None

    def watch_over(self, process: subprocess.Popen[bytes]) -> None:
        """Let the switch die with this process even when that is killed and cannot clean up.

        A shell waits for a line from us; when the pipe ends without one, we are gone.
        """
        self.process = process
        script = 'read -r _ || { kill -s KILL -- "-$0"; rm -rf "$1"; }'
        self.undertaker = subprocess.Popen(
            ["/bin/sh", "-c", script, str(process.pid), str(self.directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def release_ports(self) -> None:
        if self.ports is not None:
            self.ports.close()
            self.ports = None

    def kill(self) -> None:
        """SIGKILL for the switch and for whatever it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        if self.undertaker is not None:
            self.undertaker.communicate(b"\n")
            self.undertaker = None

    def discard(self) -> None:
        """Nothing of it is kept."""
        self.kill()
        self.release_ports()
        shutil.rmtree(self.directory, ignore_errors=True)


class _PortsTaken(Exception):
    pass


@dataclass(eq=False)
class Instance:
    """One Asterisk with a directory and ports of its own.

    The directory exists from construction on, so dialplan, prompts (`sounds`: ``name.ulaw`` is raw 8 kHz
    G.711) and manager accounts may be written before `start`. The ports are known after it. Use it as an
    async context manager, or call `stop`; an instance that is forgotten dies with the interpreter.

    `dtmf_mode` is PJSIP's: ``rfc4733`` hears telephone events and SIP INFO, ``auto`` hears tones in the
    audio as well when the phone offers no telephone events. `context` is where the phones' calls come in.
    `files` take the place of configuration files of the rig's own, by their names; in ``pjsip.conf`` they
    are added to those, and ``{sip_port}`` stands for the port. `modules` are loaded besides, those of
    `without` are not.
    """

    version: Version
    dialplan: str = DEFAULT_DIALPLAN
    dtmf_mode: DtmfMode = "rfc4733"
    context: str = "from-sip"
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    modules: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    directory: Path = field(init=False)
    sounds: Path = field(init=False)
    pid: int | None = field(init=False, default=None)
    ami_port: int = field(init=False, default=0)
    sip_port: int = field(init=False, default=0)
    _managers: dict[str, str] = field(init=False, default_factory=dict, repr=False)
    _kept_log: str = field(init=False, default="", repr=False)
    _held: Held = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.directory = _short_directory()
        self.sounds = self.directory / "data/sounds/en"
        for name in ("etc", "run", "lib", "log/cdr-csv", "spool/monitor", "spool/tmp", "spool/outgoing"):
            (self.directory / name).mkdir(parents=True)
        self.sounds.mkdir(parents=True)
        self._held = Held(self.directory)
        weakref.finalize(self, Held.discard, self._held)
        self.write_dialplan(self.dialplan)

    async def __aenter__(self) -> Instance:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def monitor(self) -> Path:
        """Where relative file names of MixMonitor and Record end up."""
        return self.directory / "spool/monitor"

    @property
    def log_path(self) -> Path:
        return self.directory / "log/full"

    @property
    def log(self) -> str:
        """Everything logged so far; after `stop`, the whole log."""
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return self._kept_log

    @property
    def running(self) -> bool:
        return self._held.process is not None and self._held.process.poll() is None

    def write_dialplan(self, text: str) -> None:
        """Write extensions.conf without telling a running Asterisk.

        Phones call into the context ``from-sip``. A context ``rig-agents`` with an agent that answers with
        a 600 Hz tone (the member of the queue ``support``) is added unless `text` brings its own.
        """
        self.dialplan = text
        if "[rig-agents]" not in text:
            text += _DEFAULT_AGENTS
        self.write_config("extensions.conf", text)

    async def reload_dialplan(self, text: str) -> None:
        """Replace the dialplan of the running Asterisk."""
        self.write_dialplan(text)
        await self.cli("dialplan reload")

    def add_manager(
        self, name: str, secret: str, read: str = "all", write: str = "all", filters: Sequence[str] = ()
    ) -> None:
        """Add an AMI account; when Asterisk runs already, ``await cli("manager reload")`` activates it.

        `read` and `write` are Asterisk's comma-separated privilege classes, `filters` its event filters.
        """
        for text in (name, secret, read, write):
            if re.search(r"[\[\]\r\n;]", text):
                raise ValueError(f"{text!r} cannot be written in manager.conf")
        self._managers[name] = (
            f"[{name}]\nsecret = {secret}\ndeny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/255.255.255.255\n"
            f"read = {read}\nwrite = {write}\n" + "".join(f"eventfilter = {one}\n" for one in filters)
        )
        if self.ami_port:
            self._write_managers()

    async def start(self) -> None:
        """Start, and return when calls and AMI connections are accepted (about a second).

        After `kill`, or `stop(keep=True)`, it starts again on the same ports with the same files. Raises
        `RigUnavailable` when the packages cannot be fetched, `RuntimeError` with the end of the log when
        Asterisk does not come up within two minutes.
        """
        if self.running:
            raise RuntimeError("already running")
        await asyncio.to_thread(fetch, self.version)
        tree = self._tree()
        await asyncio.to_thread(self._prepare, tree)
        again = self._held.ports is not None
        for attempt in range(1, 6):
            if not again:
                self._choose_ports()
            try:
                await self._launch(tree)
            except _PortsTaken:
                await asyncio.to_thread(self._held.kill)
                if again or attempt == 5:
                    raise RuntimeError(f"ports of Asterisk are in use: {self._complaints()}") from None
            except BaseException:
                self._held.kill()
                raise
            else:
                return

    async def stop(self, *, keep: bool = False) -> None:
        """Stop in an orderly way, or with SIGKILL after 6 s, and remove the directory unless `keep`."""
        process = self._held.process
        try:
            if process is not None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(process.wait, _STOP_LIMIT)
        finally:
            self._held.kill()
            self.pid = None
            if not keep:
                self._kept_log = self.log
                self._held.discard()

    async def kill(self) -> None:
        """Die at once, as in a crash; directory and ports stay, `start` begins anew."""
        await asyncio.to_thread(self._held.kill)
        self.pid = None

    async def cli(self, command: str) -> str:
        """Run a console command and return what it prints. Raises `TimeoutError` after 30 s."""
        try:
            done = await asyncio.to_thread(self._remote, command)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no answer to {command!r} in {_CLI_LIMIT} s") from None
        if done.returncode:
            raise RuntimeError(f"{command!r}: {done.stdout.strip() or 'Asterisk is not running'}")
        return done.stdout

    def _tree(self) -> _Tree:
        return _Tree.of(cache_directory() / f"deb{self.version}" / "root")

    def _remote(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._tree().asterisk(self.directory, "-rx", command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_CLI_LIMIT,
            check=False,
        )

    def write_config(self, name: str, text: str) -> None:
        """Write a file into Asterisk's directory of configuration without telling a running one."""
        path = self.directory / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _write_managers(self) -> None:
        head = _MANAGER_HEAD.format(port=self.ami_port)
        self.write_config("manager.conf", head + "".join(self._managers.values()))

    def _prepare(self, tree: _Tree) -> None:
        """Write the configuration; link Debian's data file by file, so that own prompts lie among it."""
        own = {name: text for name, text in self.files.items() if name != "pjsip.conf"}
        for name, text in (_static_config(tree, self.directory, self._modules()) | own).items():
            self.write_config(name, text)
        share = tree.root / "usr/share/asterisk"
        pairs = [(self.directory / "data", entry) for entry in share.iterdir() if entry.name != "sounds"]
        pairs += [(self.sounds, entry) for entry in (share / "sounds/en_US_f_Allison").iterdir()]
        for folder, entry in pairs:
            with contextlib.suppress(FileExistsError):
                (folder / entry.name).symlink_to(entry)

    def _modules(self) -> list[str]:
        return [name for name in dict.fromkeys((*_MODULES, *self.modules)) if name not in self.without]

    def _choose_ports(self) -> None:
        self._held.release_ports()
        self._held.ports, first = _reserve_block()
        self.ami_port, self.sip_port = first, first + 2
        self._write_managers()
        more = self.files.get("pjsip.conf", "").replace("{sip_port}", str(self.sip_port))
        self.write_config("pjsip.conf", _pjsip(self.sip_port, self.dtmf_mode, self.context) + more)
        rtp = f"[general]\nrtpstart={first + 10}\nrtpend={first + _BLOCK_SIZE - 2}\n"
        self.write_config("rtp.conf", rtp + "icesupport=no\nstrictrtp=no\n")

    def _complaints(self) -> str:
        lines = re.findall(r".*(?:already in use|Unable to bind).*", self.log)
        return " / ".join(lines[:3])

    async def _launch(self, tree: _Tree) -> None:
        for stale in (self.log_path, self.directory / "run/asterisk.ctl"):
            stale.unlink(missing_ok=True)
        output = self.directory / "log/stdout"
        process = await asyncio.to_thread(_spawn, tree.asterisk(self.directory, "-f"), output)
        self._held.watch_over(process)
        self.pid = process.pid
        deadline = time.monotonic() + _START_LIMIT
        control = self.directory / "run/asterisk.ctl"
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                state = "died" if process.poll() is not None else f"was not ready after {_START_LIMIT} s"
                text = output.read_text(encoding="utf-8", errors="replace") + self.log
                raise RuntimeError(f"Asterisk {self.version} {state}: {text[-2000:]}")
            if control.exists():
                with contextlib.suppress(RuntimeError, TimeoutError):
                    if "fully booted" in await self.cli("core waitfullybooted"):
                        break
            await asyncio.sleep(0.02)
        if self._complaints():  # booted does not mean bound
            raise _PortsTaken


def _spawn(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=output.parent,
            start_new_session=True,  # Ctrl-C is for the tests; they stop Asterisk in their own way
        )


def _short_directory() -> Path:
    """A temporary directory in which the console's socket has a name short enough for the kernel."""
    longest = len("/run/asterisk.ctl")
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108  (mkdtemp makes it safe)
        path = Path(tempfile.mkdtemp(prefix="rig", dir=parent))
        if len(os.fsencode(path)) + longest <= _SOCKET_PATH_LIMIT:
            return path
        path.rmdir()
    raise RigUnavailable(f"every temporary directory has too long a name, such as {path}")


def _reserve_block() -> tuple[socket.socket, int]:
    """Reserve a block of ports against all other instances on this machine; returns the lock and a port.

    The lock is a name in the abstract socket namespace: the kernel keeps it unique and drops it when the
    process ends, however it ends. Whether a foreign program sits on a port is tried out in addition.
    """
    for block in random.sample(range(_BLOCKS), _BLOCKS):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        first = _FIRST_PORT + block * _BLOCK_SIZE
        try:
            lock.bind(f"\0ivr-consent-rig-{first}")
            _try_bind(first, socket.SOCK_STREAM)
            _try_bind(first + 2, socket.SOCK_DGRAM)
        except OSError:
            lock.close()
        else:
            return lock, first
    raise RigUnavailable(f"all {_BLOCKS} blocks of ports are taken")


def _try_bind(port: int, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Asterisk does
        probe.bind(("127.0.0.1", port))
