"""Scripts of a site as they are written for pyst2 and panoramisk, and what they are to hear from any Asterisk.

Nothing in them knows of this project. What each reply became in the script's hands it sets as the variable HEARD.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivr_consent.pbx.simulated.caller import Action
from ivr_consent.testing.actions import hang_up, press
from ivr_consent.testing.calling import Calls, Switch

_FLOW: Final = """
from asterisk.agi import AGI, AGIException


def menu(agi):
    heard = []

    def ask(name, command, *arguments):
        try:
            heard.append(f"{name}={command(*arguments)}")
        except (AGIException, ValueError) as error:
            heard.append(f"{name}!{type(error).__name__}")

    agi.answer()
    ask("caller", agi.env.get, "agi_callerid")
    ask("first", agi.env.get, "agi_arg_1")
    ask("welcome", agi.stream_file, "site/welcome", "12")
    ask("pin", agi.get_data, "site/pin", 3000, 4)
    ask("missing", agi.stream_file, "site/nowhere")
    ask("put", agi.database_put, "site", "pin", "1 2")
    ask("get", agi.database_get, "site", "pin")
    ask("deleted", agi.database_deltree, "site")
    ask("gone", agi.database_get, "site", "pin")
    ask("set", agi.set_variable, "COLOUR", "dark red")
    ask("colour", agi.get_full_variable, "${COLOUR}")
    ask("unset", agi.get_variable, "NOWHERE")
    ask("number", agi.set_callerid, "4711")
    ask("full", agi.get_full_variable, "${CALLERID(num)}")
    ask("played", agi.appexec, "Playback", "site/short")
    ask("status", agi.get_variable, "PLAYBACKSTATUS")
    ask("unknown", agi.appexec, "NoSuchApplication")
    ask("option", agi.get_option, "site/short", "5", 2000)
    ask("control", agi.control_stream_file, "site/short", "5")
    ask("usage", agi.execute, "SAY DIGITS", "x", '""')
    ask("bogus", agi.execute, "BOGUS")
    ask("up", agi.channel_status)
    ask("key", agi.wait_for_digit, 5000)
    ask("none", agi.wait_for_digit, 50)
    agi.set_variable("HEARD", ";".join(heard))
"""

PYST2: Final = f"""#!{sys.executable}
{_FLOW}

menu(AGI())
"""

PYST2_SERVER: Final = f"""
import io, socketserver, sys
{_FLOW}

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        menu(AGI(self.rfile, io.TextIOWrapper(self.wfile, write_through=True)))


socketserver.TCPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

_GOES_ON: Final = """
import time
from asterisk.agi import AGI, AGIException


def listen(agi, path):
    agi.answer()
    came = []
    for number in range(3):
        try:
            agi.stream_file("site/welcome")
            came.append("played")
        except (AGIException, ValueError) as error:
            came.append(type(error).__name__)
        time.sleep(0.2)
    with open(path, "w") as file:
        file.write(" ".join(came))
"""

GOES_ON: Final = f"""#!{sys.executable}
import sys
{_GOES_ON}

listen(AGI(), sys.argv[1])
"""

GOES_ON_SERVER: Final = f"""
import io, socketserver, sys
{_GOES_ON}

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        agi = AGI(self.rfile, io.TextIOWrapper(self.wfile, write_through=True))
        listen(agi, agi.env["agi_arg_1"])


socketserver.TCPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

AFTER_A_HANG_UP: Final = {
    "program": "AGIAppError AGISIGHUPHangup AGISIGHUPHangup",
    "server": "AGIAppError ValueError AGIUnknownError",  # it takes HANGUP for a reply, and is one behind from there on
}
"""What the library makes of a caller who hangs up in a prompt, for a script that goes on."""


PYST2_HEARD: Final = {
    "caller": "4512345678",
    "first": "blue door",
    "welcome": "2",
    "pin": "12",
    "missing": "!AGIAppError",
    "put": "None",
    "get": "1 2",
    "deleted": "!AGIDBError",  # Asterisk says 0 when it has deleted something
    "gone": "!AGIDBError",
    "set": "None",
    "colour": "dark red",
    "unset": "",
    "number": "None",
    "full": "4711",
    "played": "0",
    "status": "SUCCESS",
    "unknown": "!AGIAppError",
    "option": "5",
    "control": "",
    "usage": "!AGIUsageError",
    "bogus": "!AGIInvalidCommand",
    "up": "6",
    "key": "7",
    "none": "",
}

PANORAMISK: Final = """
import asyncio, sys
from panoramisk import fast_agi


async def menu(request):
    heard = []

    async def ask(name, command):
        reply = await request.send_command(command)
        heard.append(f"{name}={reply.get('result', ('', ''))[0]},{reply.get('endpos', ('', ''))[0]},"
                     f"{reply.get('error', '')}")

    await ask("answer", "ANSWER")
    heard.append(f"caller={request.headers['agi_callerid']}")
    await ask("welcome", 'STREAM FILE site/welcome ""')
    await ask("option", 'GET OPTION site/short "5" 2000')
    await ask("missing", 'STREAM FILE site/nowhere ""')
    await ask("pin", "GET DATA site/pin 400 4")
    await ask("bogus", "BOGUS")
    await ask("gosub", "GOSUB nowhere s 1")
    await ask("usage", 'SAY DIGITS x ""')
    await ask("shifted", "NOOP")
    await ask("late", "GET VARIABLE NOWHERE")
    await request.send_command('SET VARIABLE HEARD "' + ";".join(heard) + '"')
    await ask("key", "WAIT FOR DIGIT 8000")


async def main():
    application = fast_agi.Application()
    application.add_route("calls/menu", menu)
    server = await asyncio.start_server(application.handler, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


asyncio.run(main())
"""

PANORAMISK_HEARD: Final = {
    "answer": "0,,",
    "caller": "4512345678",
    "welcome": "0,8000,",
    "option": "53,*,",  # where in the prompt the key came
    "missing": ",,AGIAppError",
    "pin": ",,",  # "200 result= (timeout)" is not taken apart
    "bogus": ",,AGIInvalidCommand",
    "gosub": ",,AGIAppError",
    "usage": ",,AGIUsageError",
    "shifted": ",,AGIUsageError",  # one line of the usage is left, so from here on each reply is the one before
    "late": "0,,",
}

CALLER: Final[Sequence[Sequence[Action]]] = (
    press("2", during="site/welcome"),
    press("12#", during="site/pin"),
    press("5", during="site/short", nth=2),
    press("7", window=3),
)
"""Who calls the script of pyst2."""

GOES: Final[Sequence[Sequence[Action]]] = (press("5", during="site/short"), hang_up(window=3))
"""Who calls that of panoramisk."""


def sounds(switch: Switch) -> None:
    """The prompts that the scripts play."""
    for name, seconds in (("welcome", 1.0), ("pin", 0.5), ("short", 0.8)):
        switch.add_sound(f"site/{name}", seconds)


def program(folder: Path, text: str = PYST2) -> Path:
    """A script of pyst2 as a program that Asterisk can start."""
    path = folder / "menu.py"
    path.write_text(text)
    path.chmod(0o755)
    return path


def server(switch: Switch, folder: Path, text: str) -> str:
    """A server of a site, running; its address."""
    path = folder / "server.py"
    path.write_text(text)
    return switch.launch(sys.executable, path, "{port}")


def after_a_hang_up(switch: Switch, call: Calls, folder: Path, kind: str) -> str:
    """What a script of pyst2 that goes on came to when its caller had hung up in the first prompt."""
    came = folder / f"{kind}-came"
    agi: str | Path = program(folder, GOES_ON) if kind == "program" else server(switch, folder, GOES_ON_SERVER)
    seen = call(hang_up(during="site/welcome"), agi=agi, arguments=[str(came)])
    assert (seen.hung_up, seen.status) == ("caller", "HANGUP")
    return came.read_text()


def heard(text: str) -> dict[str, str]:
    """What a script said that it heard; of where in a prompt a key came, that it did."""
    found = {}
    for one in text.split(";"):
        name, _, value = one.partition("=") if "=" in one else one.partition("!")
        found[name] = value if "=" in one else f"!{value}"
    key, position, error = [*found.get("option", "").split(","), "", "", ""][:3]
    if position and 0 < int(position) <= 6400:
        found["option"] = f"{key},*,{error}"
    return found
