"""The first inputs of each target: what real switches said, what is shipped, what the base holds.

They are cut to pieces where they are long: a short input is tried ten times as often.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ivr_consent.core.decision import canonical
from ivr_consent.testing import freeswitch_transcripts, transcripts
from ivr_consent.testing.fake_asterisk_wire import environment
from tests.fuzz.target import BASE, ROOT
from tests.fuzz.wires import ACTION, LISTED, MULTILINE, TURN

DATA: Final = ROOT / "tests" / "data"
PIECE: Final = 3000


def _files(pattern: str, root: Path = ROOT) -> list[bytes]:
    return [path.read_bytes() for path in sorted(root.glob(pattern)) if path.is_file()]


def agi() -> Iterator[bytes]:
    """What Asterisk said in each recorded session, with a turn wherever the server said something."""
    for path in sorted((DATA / "asterisk-transcripts").glob("*-22.txt")):
        for session in transcripts.read(path).sessions():
            turns: list[bytes] = [b""]
            for entry in session:
                if entry.kind is transcripts.Kind.ASTERISK:
                    turns[-1] += entry.data
                elif entry.kind is transcripts.Kind.SERVER and turns[-1]:
                    turns.append(b"")
            yield TURN.join(turns)[:PIECE]
    begin = environment()
    yield begin
    for reply in (
        b"520-Invalid command syntax.  Proper usage follows:\nUsage: X\n520 End of proper usage.\n",
        b"100 Trying...\n200 result=0 Gosub complete\n",
        b"HANGUP\n511 Command Not Permitted on a dead channel or intercept routine\n",
        b"510 Invalid or unknown command\n",
    ):
        yield begin + TURN + reply + TURN
    yield begin + MULTILINE + b"200 result=1 (a\nb)\n" + TURN + b"200 result=1 (c)\nHANGUP\n"


def event_socket() -> Iterator[bytes]:
    """What FreeSWITCH said on each connection, a few messages at a time."""
    for path in sorted((DATA / "freeswitch-transcripts").glob("*.txt")):
        read = freeswitch_transcripts.read(path)
        for tag in read.tags:
            said = b"".join(
                block.data for block in read.blocks(tag) if block.sender == freeswitch_transcripts.SWITCH
            ).lstrip(b"\n")
            while said and (found := freeswitch_transcripts.messages(said)):
                size = len(said) - len(found[0].after)
                yield said[:size]
                said = said[size:]
    yield b"Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: +OK accepted\n\n"
    plain = b"Event-Name: DTMF\nDTMF-Digit: 1\nvariable_x: a%0Ab\nvariable_x: c\n\n"
    yield b"Content-Length: %d\nContent-Type: text/event-plain\n\n%s" % (len(plain), plain)
    fields = b'{"Event-Name":"CUSTOM","variable_x":["a","b"]}'
    yield b"Content-Length: %d\nContent-Type: text/event-json\n\n%s" % (len(fields), fields)
    yield b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 3\n\nBye"
    yield b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"


def manager() -> Iterator[bytes]:
    """What the manager said, and answers to the two actions that are out."""
    greeting = b"Asterisk Call Manager/9.0.0\r\n"
    for path in sorted((DATA / "ami").glob("*.txt")):
        entries = transcripts.read(path).entries
        said = b"".join(entry.data for entry in entries if entry.kind is transcripts.Kind.ASTERISK)
        for message in said.split(b"\r\n\r\n")[:12]:
            yield greeting + message + b"\r\n\r\n"
        yield greeting + said[:PIECE]
    one, other = ACTION.encode(), LISTED.encode()
    yield greeting + b"Response: Success\r\nActionID: " + one + b"\r\nMessage: yes\r\n\r\n"
    yield greeting + b"Response: Error\r\nActionID: %s\r\nMessage: no\r\nresponse: Success\r\n\r\n" % one
    yield (
        greeting
        + b"Response: Success\r\nActionID: %s\r\nEventList: start\r\nMessage: Channels will follow\r\n\r\n" % other
        + b"Event: CoreShowChannel\r\nActionID: %s\r\nChannel: PJSIP/a-1\r\n\r\n" % other
        + b"Event: CoreShowChannelsComplete\r\nActionID: %s\r\nEventList: Complete\r\n\r\n" % other
    )
    yield greeting + b"Response: Follows\r\nActionID: %s\r\nOutput: a\r\nOutput: b\r\n--END COMMAND--\r\n\r\n" % one


def answers() -> Iterator[bytes]:
    """What the switches answer to the guards, and every body that FreeSWITCH sent."""
    bug = b"<media-bug><function>session_record</function><target>/a/b.raw</target><thread-locked>0</thread-locked>"
    yield b'<?xml version="1.0"?>\n<media-bugs>' + bug + b"</media-bug></media-bugs>"
    yield b"<media-bugs>" + bug.replace(b"/a", b"/a&\x01") + b"</media-bug></media-bugs>"
    yield b'{"row_count":1,"rows":[{"uuid":"2f1c5b7a-90d3-4e64-80b1-d2c3e4f50617","name":"a"}]}'
    yield b'[{"conference_name":"a","recording":true,"members":[{"type":"recording_node","record_path":"/a"}]}]'
    yield b'{"Channel-Name":"a","Channel-Call-State":"ACTIVE","variable_bridge_uuid":"x","variable_signal_bond":"x"}'
    yield b"-ERR No such channel!\n"
    yield b"No such channel"
    yield b"12"
    for data in event_socket():
        body = data.partition(b"\n\n")[2]
        if body and len(body) < 2048:
            yield body


def commands() -> tuple[bytes, ...]:
    """Values of all kinds."""
    return (
        b"",
        b"support",
        b'a "b" \\c',
        b"a\nANSWER",
        b"${SHELL(id)}",
        b"Name\x1fvalue",
        b"ActionID\x1f1",
        "é€\U0001f600".encode(),
        b"\xff\xfe",
        b"CUSTOM::a",
        b"GLOBAL(X)",
        b"x" * 990,
    )


def configuration() -> Iterator[bytes]:
    """The configurations of the documentation, and a few that are wrong."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        for block in re.findall(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            yield block.encode()
    yield b'[lines.a]\nkeys = { yes = "1", no = "2" }\npurposes = ["training"]\nrecorded = "a,b,1"\n'
    yield from _awkward()


def _awkward() -> tuple[bytes, ...]:
    """Texts that have broken readers of TOML."""
    return (
        b"a = " + b"[" * 1200,
        b"a = " + b"{b=" * 600,
        b"a = " + b"1" * 4400,
        b"a = 0x" + b"f" * 4000,
        b".".join([b"a"] * 1200) + b" = 1",
        b".".join([b"a"] * 1200) + b" = 'x'",
        b"\xef\xbb\xbfa = 1",
        b"a = 9999-99-99",
        b"a = 1979-05-27T07:32:00-07:00\nb = nan\nc = -inf\nd = 07:32:00.999\n",
        b'a = """\n\\\n  b"""\nc = \'\'\'d\'\'\'\n"e f".g = [ 1, # h\n 2 ]\n',
        b"\x00",
    )


def toml() -> Iterator[bytes]:
    """All TOML that there is."""
    yield from configuration()
    yield from scenarios()
    for data in _files("prompts/*/*.toml"):
        yield data[:PIECE]


def scenarios() -> Iterator[bytes]:
    """The shipped ones."""
    yield from _files("scenarios/*.toml")
    yield from _awkward()


def notice() -> Iterator[bytes]:
    """The shipped ones."""
    yield from _files("prompts/*/*.toml")
    yield from _awkward()


def wording() -> Iterator[bytes]:
    """Every text of the shipped notices, with its language."""
    for path in sorted((ROOT / "prompts").glob("*/*.toml")):
        for text in re.findall(r'^(?:text|question|statement)\s*=\s*"(.*)"', path.read_text(encoding="utf-8"), re.M):
            yield f"{path.parent.name}\n{text}".encode()
    for _, text in re.findall(r'(\w+)\s*=\s*"(.*)"', (DATA / "wording.toml").read_text(encoding="utf-8"))[:400]:
        yield f"en\n{text}".encode()


def bundle() -> Iterator[bytes]:
    """The base's, whole, in part, and cut."""
    for name in ("log.bundle", "part.bundle"):
        data = (BASE / name).read_bytes()
        yield data
        lines = data.splitlines(keepends=True)
        yield b"".join(lines[:3])
        yield b"".join(lines[:-1])
        yield b"".join([lines[0], *lines[2:]])


def tables() -> Iterator[bytes]:
    """The base's database, a row a line."""
    from tests.fuzz.evidence import TABLES

    connection = sqlite3.connect(f"file:{BASE / 'log.db'}?mode=ro", uri=True)
    with contextlib.closing(connection):
        rows: list[bytes] = []
        for name, columns in TABLES.items():
            for row in connection.execute(f"SELECT {', '.join(columns.split())} FROM {name}"):  # noqa: S608 - fixed names
                values = [{"hex": value.hex()} if isinstance(value, bytes) else value for value in row]
                rows.append(json.dumps([name, dict(zip(columns.split(), values, strict=True))]).encode() + b"\n")
    yield b"".join(rows)
    yield b"".join(rows[:4])
    yield b"".join(row for row in rows if b'"checkpoints"' not in row)
    yield b"".join(row for row in rows if b'"personal"' not in row)


def database() -> Iterator[bytes]:
    """A byte changed on every page, and the fields of the header."""
    size = (BASE / "log.db").stat().st_size
    yield b""
    for at in (0, 16, 18, 20, 24, 28, 32, 36, 44, 56, 68, 96, 100, 103, 108):
        yield b"%d ff\n" % at
    for at in range(512, size, 512):
        yield b"%d 00\n" % at
        yield b"%d 0000ffff00\n" % (at + 3)


def checkpoints() -> Iterator[bytes]:
    """A genuine note as it stands, in a mail, in JSON, quoted."""
    records = map(json.loads, (BASE / "log.bundle").read_text(encoding="utf-8").splitlines())
    notes = [record["checkpoint"]["note"] for record in records if "checkpoint" in record]
    yield notes[0].encode()
    yield "\n".join(notes).encode()
    yield notes[0].partition("\n\n")[0].encode() + b"\n"
    yield notes[0].partition("\n\n")[0].encode() + b"\nx"
    yield json.dumps({"MESSAGE": notes[0]}).encode()
    yield "".join(f"> {line}\r\n" for line in notes[0].split("\n")).encode()
    head = b"From: a@example.org\nContent-Type: text/plain; charset=utf-8\n"
    yield head + b"Content-Transfer-Encoding: quoted-printable\n\n" + notes[0].encode().replace(b"=", b"=3D")
    yield b"From a@example.org Mon\n" + head + b"\n" + notes[0].encode() + b"\nFrom b@example.org Tue\n" + head
    yield (BASE / "log.pub").read_bytes()


def signatures() -> Iterator[bytes]:
    """The vectors of RFC 8032, and points of small order."""
    for line in (DATA / "rfc8032.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") and len(line) < 600:
            yield line.replace(" - ", "  ").encode()
    identity = "01" + "00" * 31
    yield f"{identity}  {identity}{'00' * 32}".encode()
    yield f"{'ff' * 32} 00 {'ee' + 'ff' * 30 + '7f'}{'00' * 32}".encode()


def lines() -> Iterator[bytes]:
    """Signed documents, and one that is not."""
    from tests.fuzz.evidence import signed

    for name in ("receipt.json", "manifest.json"):
        yield (BASE / name).read_bytes()
    yield signed((BASE / "receipt.json").read_bytes())
    yield b'{"a":1}\tAAAA\n'
    yield b'{"a":' + b"[" * 1200 + b"]" * 1200 + b"}"
    yield b'{"a":1.5}'
    yield '{"a":"é"}'.encode()


def manifest() -> tuple[bytes, ...]:
    """The base's."""
    whole = (BASE / "manifest.json").read_bytes()
    wrong = whole.replace(b'"version":', b'"version":true,"":'), re.sub(rb'"version":\d+', b'"version":true', whole)
    return whole, *wrong, b"{}", b'{"schema":1}'


def receipt() -> Iterator[bytes]:
    """The base's, and what is signed and no receipt."""
    whole = (BASE / "receipt.json").read_bytes()
    yield whole
    yield b"{}"
    document = json.loads(whole)
    for name in ("call_id", "line", "time", "outcome", "purposes", "retention_days", "notice", "proof", "event"):
        yield canonical({**document, name: document["issued"]})
    yield b'{"receipt":1}'


def history() -> tuple[bytes, ...]:
    """One entry."""
    entry = {
        "action": "published",
        "at": "2026-03-05T08:00:00Z",
        "by": "A",
        "line": "versions",
        "manifest_sha256": "0" * 64,
        "number": 1,
        "previous_sha256": "",
        "version": 1,
    }
    one = canonical(entry)
    return one, one + b"\n" + one.replace(b'"number":1', b'"number":2'), b"{}"


def _dialplans(*names: str) -> Iterator[bytes]:
    for path in sorted((DATA / "audit").glob("*/*")):
        if path.name in names and path.is_file():
            yield path.read_bytes()


def conf() -> Iterator[bytes]:
    """The audit's fixtures, one with its other files."""
    yield from _dialplans("extensions.conf", "extensions_additional.conf", "extensions_custom.conf")
    for folder in ("small", "right", "traps"):
        files = {path.name: path for path in sorted((DATA / "audit" / folder).iterdir()) if path.is_file()}
        parts = [files.pop("extensions.conf").read_bytes()]
        parts += [f"{name}\n".encode() + path.read_bytes() for name, path in files.items()]
        yield b"\n;;;; ".join(parts)
    for name in ("queues.conf", "features.conf", "pjsip.conf", "confbridge.conf", "manager.conf"):
        for data in _dialplans(name):
            yield b"[a]\nexten => 1,1,Queue(support)\n\n;;;; " + name.encode() + b"\n" + data
    yield b'[a]\nexten => _X.,1,GotoIf($[${A} = 1 & "${B:1:2}" != ""]?b,${EXTEN},1:c)\nsame => n(d),MixMonitor(x,b)\n'
    yield b"[a](!)\n[b](a)\nexten = s,1,While($[1])\n same = n,ExecIf($[${X}]?Set(Y=1))\n same = n,EndWhile\n"
    yield b"#include a.inc\n#exec x\n[a]\ninclude => b,9:00-17:00,mon-fri,*,*\nswitch => Realtime/x@y\nignorepat => 9\n"


def ael() -> Iterator[bytes]:
    """The fixture, and all of the language's statements."""
    yield from _dialplans("extensions.ael")
    yield b"globals { A=1; }\nmacro m(a,b) { Verbose(${a}); return; }\ncontext c { s => { &m(1,2); jump 1@d; } }\n"
    yield (
        b"context a { includes { b; } hint(SIP/1) 1 => { if (${X}) { MixMonitor(x.wav); } else { Hangup(); } "
        b"switch (${Y}) { case 1: Dial(SIP/1); break; pattern _X: goto b,1,1; default: NoOp(); } "
        b"for (x=0; ${x} < 3; x=${x}+1) { continue; } while (1) { break; } l: random(50) { goto l; } "
        b"ifTime(*,*,*,*) { catch h { NoOp(); } } } }\n"
    )


def lua() -> Iterator[bytes]:
    """The fixture, and forms of texts and comments."""
    yield from _dialplans("extensions.lua")
    yield b"extensions = { a = { ['s'] = function(c, e) app.MixMonitor('x.wav', \"b\"); app['Record']([[y]]) end } }\n"
    yield b"--[==[ app.MixMonitor() ]==] -- x\nlocal a = app\na.mixmonitor{[=[x]=]}\nchannel.X:set('\\'')\n"


def freeswitch() -> Iterator[bytes]:
    """Dialplans with what the preprocessor does, and what a condition may hold."""
    from tests.freeswitch_audits import public

    yield public(("answer", ""), ("record_session", "${uuid}.wav"), ("transfer", "1 XML b")).encode()
    yield (
        b'<context name="public"><X-PRE-PROCESS cmd="set" data="a=b"/>\n<extension name="$${a}" continue="true">'
        b'<condition field="${caller}" expression="^(\\d{3,4})$" break="on-false">'
        b'<action application="set" data="x=$1"/><anti-action application="hangup"/></condition>\n'
        b'<condition regex="any"><regex field="a" expression="^b$"/>'
        b'<regex field="${x}" expression="(?i)[^a-z]|y+?"/>'
        b'<action application="execute_extension" data="1 XML public"/></condition></extension></context>\n'
    )
    yield b'<!DOCTYPE a [<!ENTITY b "c">]><context name="public">&b;</context>'
    yield b'<!-- a --><context name="public"><![CDATA[x]]></context>'
    yield public(
        ("set", "api_hangup_hook=uuid_record ${uuid} start"), ("bind_meta_app", "2 b s record_session::x")
    ).encode()
    yield public(
        ("export", "nolocal:execute_on_answer=record_session x"), ("lua", "x.lua"), ("conference", "a@b")
    ).encode()


def language() -> tuple[bytes, ...]:
    """What telephones send."""
    return (
        b"da, en;q=0.8\nda_DK\n+45 70 10 20 30\n0045-12345678",
        b"de-CH;q=1.000,*;q=0\nde\n70102030;phone-context=x\n12345678",
        "dä\n\x00\n(٤٥)\n+".encode(),
    )


def control() -> tuple[bytes, ...]:
    """Questions."""
    return b"reload\n", b"status\nreload\n", b"x" * 64 + b"\n", b"", b"\xff\n"


def sound() -> Iterator[bytes]:
    """Small files of one and two channels, and in other codings."""
    for channels, width, form in ((1, 2, 1), (2, 2, 1), (1, 1, 1), (1, 2, 6), (1, 2, 0xFFFE)):
        body = bytes(range(64))
        head = form.to_bytes(2, "little") + channels.to_bytes(2, "little") + (8000).to_bytes(4, "little")
        head += (8000 * channels * width).to_bytes(4, "little") + (channels * width).to_bytes(2, "little")
        head += (8 * width).to_bytes(2, "little")
        chunks = b"fmt " + len(head).to_bytes(4, "little") + head
        chunks += b"LIST" + (4).to_bytes(4, "little") + b"abcd"
        chunks += b"data" + len(body).to_bytes(4, "little") + body
        yield b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WAVE" + chunks


def recording() -> Iterator[bytes]:
    """Both sides in one file; a file for each side, with the mix and without."""
    one = next(iter(sound()))
    yield bytes(range(80))
    yield b"\n----\n".join((b"", one, one))
    yield b"\n----\n".join((b"", one, one.replace(b"data\x40", b"data\x20"), one))
    for data in sound():
        yield b"\n----\n".join((b"", data, b"", one))
        yield b"\n----\n".join((b"", b"", b"", data))
    yield b"\n----\n".join((b"", (one + b"more"), one[:30], b"RIFF"))


def transcript() -> Iterable[bytes]:
    """Beginnings of recorded ones."""
    found = [path for path in sorted(DATA.glob("*-transcripts/*.txt")) if "consent" in path.name or "hang" in path.name]
    return [path.read_bytes()[:1500] for path in found[:20]]
