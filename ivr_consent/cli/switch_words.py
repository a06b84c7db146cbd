"""What the files that ``ivr-consent init`` writes say of one kind of switch: the texts that differ, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SwitchWords:
    """Parts of the configuration's text. ``{…}`` in them is filled in by the line's name or a port."""

    name: str
    """The switch, as its makers write it."""
    user: str
    """Whom it runs as, by its own packages."""
    unit: str
    """Its systemd unit."""
    port: int
    """Where it reaches us, unless somebody chose another port."""
    link_port: int
    """Where we reach it, likewise."""
    restart: str
    """The tables that a reload does not take."""
    head: str
    """Before [server]."""
    listens: str
    """Above ``listen``."""
    link: str
    """The table of our connection to it."""
    features: str
    spool: str
    spool_comment: str
    line: str
    """Above [lines.NAME]."""
    guard_ms: str
    codecs: str
    agents: str
    destinations: str


_ASTERISK: Final = SwitchWords(
    name="Asterisk",
    user="asterisk",
    unit="asterisk.service",
    port=4573,
    link_port=5038,
    restart="[server], [manager], [log], [recordings] and\n# [guard]",
    head="",
    listens="""\
# Where Asterisk reaches ivr-consent (FastAGI). Whoever answers on this port can run commands on the switch: keep it on
# loopback, and let nobody else log in to this machine. After a change of it: ivr-consent dialplan --write DIR
""",
    link="""\
[manager]
# The manager connection (AMI) tells when a key press began, and it is what the guard sees and acts by. Without this
# table a guard time stands in for the first, and nothing for the second.
host = "127.0.0.1"
port = {port}
username = "ivr-consent"
secret_file = "manager.secret"
tls = false
""",
    features="""\
# Codes that are pressed in the middle of a call. withdraw: caller or agent withdraws consent; the recording is stopped
# and erased. consent: a caller who is not recorded is asked after all. After a change: ivr-consent dialplan --write DIR
# and asterisk -rx 'module reload features', then a new version of the notices.
withdraw = "*9"
consent = "*8"
""",
    spool='spool = ["/var/spool/asterisk"]\n',
    spool_comment="# Where Asterisk writes recordings; no file elsewhere is touched.\n",
    line="# A line: a number that callers dial. In the dialplan: Gosub(ivr-consent,s,1({line}))\n",
    guard_ms="""\
# Where nothing tells when a press began: keys within this time after the question do not count.
guard_ms = 800
""",
    codecs="""\
# Codecs of your callers beyond G.711, G.722 and GSM: prompts are also built in the formats that these need.
# codecs = ["opus", "g729"]
""",
    agents='# agents = ["PJSIP/agent-*"]\n',
    destinations="""\
# Two destinations, "context,extension,priority", if Goto(ivr-consent-line,{line},1) is to route by itself:
# the same queue with the same priority. Without them, branch in your own dialplan.
# recorded = "queues,{line}-recorded,1"
# unrecorded = "queues,{line},1"
""",
)

_FREESWITCH: Final = SwitchWords(
    name="FreeSWITCH",
    user="freeswitch",
    unit="freeswitch.service",
    port=8084,
    link_port=8021,
    restart="[server], [event_socket], [log],\n# [recordings] and [guard]",
    head="""\
# The kind of switch.
switch = "freeswitch"

""",
    listens="""\
# Where FreeSWITCH reaches ivr-consent (the application "socket"). Whoever answers on this port can run commands on the
# switch: keep it on loopback, and let nobody else log in to this machine. After a change of it: ivr-consent dialplan
""",
    link="""\
[event_socket]
# FreeSWITCH's own port: there it vouches for each call before it is recorded, and there the guard sees and acts. Who
# has the password can run anything on the switch: keep it on loopback.
host = "127.0.0.1"
port = {port}
password_file = "event_socket.password"
""",
    features="""\
# A code that is pressed in the middle of a call, * and one digit. withdraw: caller or agent withdraws consent; the
# recording is stopped and erased. After a change: ivr-consent dialplan --write DIR and reloadxml, then a new version of
# the notices.
withdraw = "*9"
""",
    spool='spool = ["/var/lib/freeswitch/recordings"]\n',
    spool_comment="# Where FreeSWITCH writes recordings; no file elsewhere is touched.\n",
    line='# A line: a number that callers dial. In the dialplan: transfer, data="{line} XML ivr-consent"\n',
    guard_ms="",
    codecs="",
    agents='# agents = ["sofia/internal/agent-*"]\n',
    destinations="""\
# Where the call goes on, as FreeSWITCH's transfer takes it: the same queue with the same priority. Both are extensions
# of your own dialplan.
recorded = "{line}_recorded XML queues"
unrecorded = "{line}_unrecorded XML queues"
""",
)

WORDS: Final[Mapping[str, SwitchWords]] = {"asterisk": _ASTERISK, "freeswitch": _FREESWITCH}
"""By the kind of switch, as the configuration names it."""
