"""A site for FreeSWITCH in directories of its own, and a small event socket that answers as a real one does."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from ivr_consent import config
from ivr_consent.pbx.freeswitch.dialplan import render
from tests.cli.support import Place

CONFIGURATION = """\
<configuration name="{name}">
  <settings>
{params}    </settings>
</configuration>
"""
SITE = """\
<context name="queues">
      <extension name="queues">
          <condition field="destination_number" expression="^(support_recorded|support_unrecorded)$">
              <action application="answer"></action>
      </condition>
    </extension>
</context>
"""


HANGS = "no answer ever comes"
"""As an answer: none."""


@dataclass(frozen=True)
class FreeSwitchPlace(Place):
    """Where one site's files are; its switch is FreeSWITCH."""

    @property
    def freeswitch(self) -> Path:
        return self.root / "freeswitch"

    @property
    def password(self) -> Path:
        return self.etc / "event_socket.password"

    def init(self, *options: str) -> list[str]:
        directories = ["--dir", self.etc, "--state", self.state, "--freeswitch-etc", self.freeswitch]
        return ["init", "--switch", "freeswitch", *map(str, directories), *options]

    def configure(self, **params: str) -> Path:
        """Write FreeSWITCH's own file of its event socket."""
        path = self.freeswitch / "autoload_configs/event_socket.conf.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(configuration("event_socket.conf", params))
        return path


def configuration(name: str, params: Mapping[str, str]) -> str:
    """A configuration as ``xml_locate`` prints it."""
    rows = "".join(
        f'          <param name="{key.replace("_", "-")}" value="{value}"></param>\n\n' for key, value in params.items()
    )
    return CONFIGURATION.format(name=name, params=rows)


def running(text: str) -> str:
    """Our dialplan as a FreeSWITCH prints what it runs: without comments, no element short, other spaces."""
    context = ET.fromstring(text).find("context")  # noqa: S314 - a text of our own
    assert context is not None
    return ET.tostring(context, encoding="unicode", short_empty_elements=False) + "\n\n"


@dataclass
class EventSocketAnswers:
    """What the event socket says, by API command; a command that is missing here has no answer."""

    answers: dict[str, str]
    password: str
    greeting: bytes = b"Content-Type: auth/request\n\n"
    asked: list[str] = field(default_factory=list)


def answers(place: FreeSwitchPlace) -> EventSocketAnswers:
    """Those of a switch on which everything is as it should be."""
    return EventSocketAnswers(
        {
            "version short": "1.10.12-release\n",
            **{
                f"module_exists mod_{name}": "true"
                for name in ("commands", "dptools", "dialplan_xml", "event_socket", "sndfile", "db")
            },
            "xml_locate configuration configuration name event_socket.conf": configuration(
                "event_socket.conf", {"listen_ip": "127.0.0.1", "password": "hidden", "apply_inbound_acl": "tight"}
            ),
            "acl 192.0.2.1 tight": "false",
            "acl 192.0.2.1 loopback.auto": "false",
            "acl 192.0.2.1 wide": "true",
            "fsctl api_expansion": "+OK api_expansion is off \n",
            "xml_locate dialplan context name ivr-consent": running(render(config.load(place.config))),
            "xml_locate dialplan context name queues": SITE,
            "global_getvar recordings_dir": "/var/lib/freeswitch/recordings",
        },
        place.password.read_text().strip(),
    )


class _Handler(socketserver.StreamRequestHandler):
    timeout = 10  # seconds; a test that went wrong must not leave a thread behind

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        said = server.said
        self.wfile.write(said.greeting)
        for raw in self.rfile:
            line = raw.decode().rstrip("\n")
            if not line:
                continue
            verb, _, rest = line.partition(" ")
            if verb == "auth":
                ok = rest == said.password
                reply = "+OK accepted" if ok else "-ERR invalid"
                self.wfile.write(f"Content-Type: command/reply\nReply-Text: {reply}\n\n".encode())
                if not ok:
                    return
            else:
                assert verb == "api", line
                said.asked.append(rest)
                if said.answers.get(rest) == HANGS:
                    continue
                body = said.answers.get(rest, "-ERR no reply\n").encode()
                self.wfile.write(b"Content-Type: api/response\nContent-Length: %d\n\n%s" % (len(body), body))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, said: EventSocketAnswers) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.said = said


@contextmanager
def event_socket(place: FreeSwitchPlace, said: EventSocketAnswers | None = None) -> Iterator[EventSocketAnswers]:
    """Listens on a port of its own, which is put into the configuration."""
    said = said or answers(place)
    socket = config.load(place.config).event_socket
    assert socket is not None
    with _Server(said) as server:
        place.edit(
            f'host = "127.0.0.1"\nport = {socket.port}\n', f'host = "127.0.0.1"\nport = {server.server_address[1]}\n'
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield said
        finally:
            server.shutdown()
            thread.join(10)
