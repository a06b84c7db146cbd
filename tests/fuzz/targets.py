"""All targets, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.fuzz import answers, audits, evidence, files, seeds, small, wires
from tests.fuzz.target import Target

_TOML: Final = (b"[[", b"]]", b'"""', b"'''", b" = ", b"true", b"{ ", b" }", b"lines", b"keys", b"purposes")
_EVENT: Final = (b"Content-Type: ", b"Content-Length: ", b"text/event-json", b"text/event-plain", b"command/reply")
_MANAGER: Final = (b"Response: ", b"Event: ", b"ActionID: ", b"EventList: ", b"\r\n\r\n", wires.ACTION.encode())
_AGI: Final = (wires.TURN, wires.MULTILINE, b"200 result=", b"HANGUP\n", b"520-", b"520 ", b"agi_arg_1: ", b"endpos=")
_CONF: Final = (b"exten => ", b"same => n,", b"include => ", b"${", b"$[", b"Goto(", b"Gosub(", b"MixMonitor(")
_XML: Final = (b"<action application=", b"<condition field=", b"expression=", b"<X-PRE-PROCESS cmd=", b"$${", b"${")
_LOG: Final = (b'{"event":', b'{"checkpoint":', b'{"pruned":', b'{"beside":', b'{"end":', b'"sequence":', b"null")

_ALL: Final = (
    Target("agi", wires.agi, seeds.agi, 4096, _AGI),
    Target("event-socket", wires.event_socket, seeds.event_socket, 16384, _EVENT),
    Target("manager", wires.manager, seeds.manager, 4096, _MANAGER),
    Target("commands", wires.commands, seeds.commands, 1024),
    Target("answers", answers.answers, seeds.answers, 2048, (b"<media-bug>", b'"members":', b'"rows":', b"-ERR ")),
    Target("configuration", files.configuration, seeds.configuration, 8192, _TOML),
    Target("scenario", files.scenarios, seeds.scenarios, 8192, _TOML),
    Target("notice", files.notice, seeds.notice, 8192, _TOML),
    Target("toml", files.toml, seeds.toml, 8192, _TOML),
    Target("wording", files.wording, seeds.wording, 2048),
    Target("bundle", evidence.bundle, seeds.bundle, 16384, _LOG),
    Target("tables", evidence.tables, seeds.tables, 16384, (b'["events", ', b'{"hex": "', b'["checkpoints", ')),
    Target("database", evidence.database, seeds.database, 1024),
    Target("checkpoints", evidence.checkpoints, seeds.checkpoints, 4096, (b"ivr-consent/", b"\ntime ", b"\nnext ")),
    Target("signature", evidence.signatures, seeds.signatures, 1024),
    Target("signed-line", evidence.lines, seeds.lines, 16384),
    Target("manifest", evidence.manifests, seeds.manifest, 16384),
    Target("history", evidence.histories, seeds.history, 4096),
    Target("receipt", evidence.receipts, seeds.receipt, 8192),
    Target("audit-conf", audits.conf, seeds.conf, 4096, _CONF),
    Target("audit-ael", audits.ael, seeds.ael, 4096, _CONF),
    Target("audit-lua", audits.lua, seeds.lua, 4096, (b"app.", b"function(", b" end ", b"[==[", b"]==]", b"--[[")),
    Target("audit-freeswitch", audits.freeswitch, seeds.freeswitch, 4096, _XML),
    Target("language", small.languages, seeds.language, 512),
    Target("control", small.control, seeds.control, 256),
    Target("sound", small.sound, seeds.sound, 2048, (b"RIFF", b"WAVE", b"fmt ", b"data")),
    Target("recording", small.recording, seeds.recording, 2048, (b"RIFF", b"WAVE", b"fmt ", b"data", small.NEXT)),
    Target("transcript", small.transcript, seeds.transcript, 4096, (b"FS>APP[", b"A> ", b"S> ", b"-- ")),
)

TARGETS: Final[Mapping[str, Target]] = {target.name: target for target in _ALL}
"""In the order in which they are fuzzed."""
