"""An administrator's walk through docs/prompts.md, on the command line, against a real Asterisk.

A new line in two languages with one studio take: written, refused, repaired, heard, published, called; changed, tried
on a telephone, published again while a call is under way; damaged, restored, rolled back. Each decision names the
version that its caller heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import wave
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ivr_consent import config
from ivr_consent.audio.formats import FORMATS
from ivr_consent.pbx.asterisk.manager import ManagerLink
from ivr_consent.testing.rig import Instance, RigUnavailable, Version, skip_or_fail
from tests.live import support
from tests.live.support import DEADLINE_S, LiveCall, Relay, Server, Site, free_port, until_log

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM_S = 120.0
"""For one run of the program; building takes the longest."""

ENGLISH, DANISH, DRAFT = "70102030", "70102040", "9900"
"""Numbers that are dialled: the new line's, by language, and the administrator's own for drafts."""

DIALPLAN = f"""
#include {{include}}
[from-sip]
exten => {DRAFT},1,Gosub(ivr-consent-draft,s,1(sales))
exten => _7010.,1,Gosub(ivr-consent,s,1(sales))
 same => n,UserEvent(Told,Result: ${{{{IVR_CONSENT_RESULT}}}},Reason: ${{{{IVR_CONSENT_REASON}}}})
 same => n,GotoIf($["${{{{IVR_CONSENT_RESULT}}}}" = "granted"]?recorded,s,1)
 same => n,Goto(unrecorded,s,1)
"""

NEW_LINE = """
[facts.da]
recipients = "medarbejderen"

[lines.sales]
notice = "sales"
languages = ["en", "da"]
purposes = ["training"]
retention_days = 14
timeout_seconds = 10
repeats = 1

[lines.sales.language_by]
order = ["dialled", "first"]
dialled = {{ "{english}" = "en", "{danish}" = "da" }}

[prompts.voices.en]
command = ["{python}", "{voice}"]
[prompts.voices.da]
command = ["{python}", "{voice}"]
"""

TAKEN = "not-started"
"""The prompt that is spoken in a studio."""


@dataclass
class Desk:
    """An administrator with the program and the files that it works on."""

    home: Path

    @property
    def configuration(self) -> Path:
        return self.home / "ivr-consent.toml"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(self.configuration), *words]

    async def run(self, *words: str, code: int = 0) -> str:
        """Run ``ivr-consent WORDS`` and expect this exit code; all that it says."""
        done = await asyncio.to_thread(
            subprocess.run,
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PROGRAM_S,
            check=False,
        )
        assert done.returncode == code, f"ivr-consent {' '.join(words)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    async def told(self, *words: str, code: int = 0) -> Any:
        """Likewise with ``--json``; what it tells."""
        return json.loads(await self.run(*words, "--json", code=code))

    def notice(self, language: str) -> Path:
        return self.home / "prompts" / language / "sales.toml"

    def edit(self, path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert text.count(old) == 1, f"{path}: {old!r}"
        path.write_text(text.replace(old, new))

    def manifest(self, version: int) -> tuple[dict[str, Any], str]:
        """A published manifest as anybody can read it, and the digest of its JSON."""
        line = (self.home / "versions" / "sales" / str(version) / "manifest").read_bytes()
        document, tab, _ = line.partition(b"\t")
        assert tab
        return json.loads(document), hashlib.sha256(document).hexdigest()

    def sound(self, prompt: Mapping[str, Any], form: str) -> Path:
        audio = prompt["audio"]
        return self.home / "audio" / str(audio["language"]) / str(audio["key"]) / FORMATS[form].file


def heard_before_choice(manifest: Mapping[str, Any], language: str) -> list[dict[str, Any]]:
    (spoken,) = (item for item in manifest["languages"] if item["language"] == language)
    return [*spoken["information"], *(spoken["questions"][purpose] for purpose in manifest["purposes"])]


@pytest_asyncio.fixture(loop_scope="session", params=["22", "16"])
async def office(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Desk, Site]]:
    """An Asterisk, and beside it the files that ``ivr-consent init`` writes; nothing is published, nothing runs."""
    version: Version = request.param
    pbx = Instance(version)
    pbx.add_manager("watch", "watch", read="agi,call,user,dialplan", write="call,command,system,reporting")
    with tempfile.TemporaryDirectory(prefix="ivr-consent-live-") as folder:
        home = Path(folder)
        desk = Desk(home)
        try:
            await pbx.start()
        except RigUnavailable as error:
            skip_or_fail(str(error))
        port = free_port()
        places = ("--dir", str(home), "--state", str(home), "--asterisk-etc", str(home / "asterisk"))
        ports = ("--port", str(port), "--manager-port", str(pbx.ami_port))
        await desk.run("init", *places, *ports, "--example-facts", "--authority", "Datatilsynet")
        text = desk.configuration.read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("draft_port = "))
        desk.configuration.write_text(text.replace(line, f"draft_port = {free_port()}"))
        include = home / "asterisk" / "ivr-consent"
        await desk.run("dialplan", "--write", str(include))
        pbx.add_manager("ivr-consent", (home / "manager.secret").read_text().strip(), read="dtmf", write="")
        await pbx.cli("manager reload")
        agents = support.DIALPLAN[support.DIALPLAN.index("[recorded]") :]
        await pbx.reload_dialplan(DIALPLAN.format(include=include / "extensions_consent.conf") + agents)
        settings = config.load(desk.configuration)
        watch = ManagerLink("127.0.0.1", pbx.ami_port, "watch", "watch", events="agi,user,call")
        server = Server(desk.configuration)
        here = Site(version, home, pbx, settings, watch, server, Relay(pbx.ami_port))
        for pattern in ("AGIExecStart", "UserEvent", "Newchannel"):
            watch.on(pattern, here.happened)
        try:
            await watch.start()
            assert await watch.wait_up(DEADLINE_S)
            yield desk, here
        finally:
            server.stop()
            await watch.close()
            await pbx.stop()


def record_take(path: Path, text: str) -> None:
    """A speaker in a studio: 48 kHz, one channel."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "en-gb", "-s", "300", "--stdin", "--stdout"],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", "pipe:0", "-ar", "48000", "-ac", "1", str(path)],
        input=spoken.stdout,
        check=True,
    )


@contextlib.contextmanager
def damaged(path: Path) -> Iterator[None]:
    """One byte of a file is another; put back at the end."""
    path.chmod(0o644)  # published sounds are read-only, which stops nobody who may write here
    with path.open("r+b", buffering=0) as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
        try:
            yield
        finally:
            file.seek(-1, 1)
            file.write(byte)


async def agreed(call: LiveCall) -> str:
    """The caller says yes and is connected to the recorded line; the decision's id."""
    await call.window()
    await call.phone.press("1")
    await call.recorded_line()
    record = await call.record(kind="routed")
    assert any(name.startswith(record.call_id) for name in call.created())
    return record.call_id


async def said_yes(here: Site, number: str) -> str:
    async with here.call(number) as call:
        return await agreed(call)


async def notice_of(desk: Desk, call_id: str) -> dict[str, Any]:
    """The notice in a decision, as the program shows it."""
    notice: dict[str, Any] = (await desk.told("log", "show", call_id))["decision"]["payload"]["notice"]
    return notice


async def assert_evidence(desk: Desk, call_id: str, version: int, language: str) -> dict[str, Any]:
    """The decision names the version, and its digests are those of the files on disk; what it says of the notice."""
    notice = await notice_of(desk, call_id)
    manifest, digest = desk.manifest(version)
    assert (notice["id"], notice["version"], notice["language"]) == ("sales", version, language)
    assert notice["manifest_sha256"] == digest
    prompts = heard_before_choice(manifest, language)
    assert [segment["id"] for segment in notice["segments"]] == [prompt["id"] for prompt in prompts]
    for segment, prompt in zip(notice["segments"], prompts, strict=True):
        files = {
            form: hashlib.sha256(desk.sound(prompt, form).read_bytes()).hexdigest() for form in prompt["audio"]["files"]
        }
        assert files == {form: file["sha256"] for form, file in prompt["audio"]["files"].items()}
        lines = "".join(sorted(f"{form} {value}\n" for form, value in files.items()))
        assert segment["audio_sha256"] == hashlib.sha256(lines.encode()).hexdigest()
        assert segment["text_sha256"] == hashlib.sha256(prompt["text"].encode()).hexdigest()
        assert segment["samples_played"] == prompt["audio"]["samples"]  # the telephone speaks mu-law
        assert segment["complete"]
    return notice


async def write_it(desk: Desk) -> None:
    """A new line, its notice in two languages, refused without one of the twelve elements, repaired; and a take."""
    voice = desk.home / "voice.py"
    voice.write_text(support.TONE_VOICE)
    new_line = NEW_LINE.format(english=ENGLISH, danish=DANISH, python=sys.executable, voice=voice)
    await desk.run("prompts", "copy", "recording")
    await desk.run("prompts", "copy", "recording", "--language", "en", "--language", "da", "--as", "sales")
    with desk.configuration.open("a") as file:
        file.write(new_line)
    desk.edit(desk.notice("en"), "elements = [8]", "elements = []")
    refused = await desk.run("prompts", "check", "sales", code=3)
    assert "element 8" in refused
    assert "withdrawn" in refused
    for verb in ("build", "publish"):
        assert "element 8" in await desk.run("prompts", verb, "sales", code=3)
    desk.edit(desk.notice("en"), 'elements = []\ntext = "You can withdraw', 'elements = [8]\ntext = "You can withdraw')
    assert "nothing published yet" in await desk.run("prompts", "check", "sales")
    take = desk.home / "studio.wav"
    record_take(take, "Nothing is being recorded now. Recording starts only if you press yes.")
    await desk.run("prompts", "take", "en", "sales", TAKEN, str(take))


async def hear_it(desk: Desk) -> None:
    """Build; what is played is as long as what the draft shows."""
    built = await desk.run("prompts", "build")
    assert "take " in built
    heard = desk.home / "heard.wav"
    await desk.run("prompts", "play", "sales", "--output", str(heard))
    shown = await desk.told("prompts", "show", "sales")
    (spoken,) = shown["languages"]
    by = {segment["id"]: segment["spoken_by"] for segment in spoken["segments"]}
    assert [prompt for prompt, who in by.items() if who.startswith("take ")] == [TAKEN]
    with wave.open(str(heard)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(spoken["segments"][-1]["end"], abs=0.01)


async def try_it(desk: Desk, here: Site) -> None:
    """A draft on the administrator's own telephone: it is heard, and leaves nothing behind."""
    before = [record.call_id for record in here.records()]
    process = await asyncio.create_subprocess_exec(
        *desk.command("call", "sales", "--draft", "--phone", "--wait", str(int(DEADLINE_S))),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PROGRAM_S):
            while b"ivr-consent-draft" not in (line := await process.stdout.readline()):
                assert line, "it ended before it waited"
            async with here.call(DRAFT) as call:
                await call.window()
                played = call.count("STREAM FILE")
                await call.until("STREAM FILE", nth=played + 2)  # silence: the question comes again
                # Longer by now than a call that nobody prolongs. A trial has no manager link: a key within the guard
                # time does not count.
                await call.window(call.count("WAIT FOR DIGIT") + 1, at=1.2)
                await call.phone.press("1")
                await call.phone.wait_hung_up(DEADLINE_S)
                said = (await process.stdout.read()).decode()
                assert await process.wait() == 0
                assert call.created() == []
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "The full text is" in said
    assert "<< silence" in said
    assert "[result-granted]" in said
    assert [record.call_id for record in here.records()] == before


async def test_an_administrators_walk(office: tuple[Desk, Site]) -> None:
    """R2, R4, R22: from an empty site to the evidence of which version each caller heard."""
    desk, here = office
    await write_it(desk)
    await hear_it(desk)
    await desk.run("prompts", "publish", "--by", "Anna Admin")
    await here.server.start()
    await until_log(here.server, "manager_up")

    notice = await assert_evidence(desk, await said_yes(here, ENGLISH), 1, "en")
    assert notice["language_by"] == "dialled"
    await assert_evidence(desk, await said_yes(here, DANISH), 1, "da")

    # another wording: tried first, then published while somebody hears the old one
    desk.edit(
        desk.notice("en"),
        "Press {key_long} for the full text, also at {web_address}, or {key_repeat} to hear this again.",
        "The full text is at {web_address}, and here: press {key_long}. To hear this again, press {key_repeat}.",
    )
    assert "more" in await desk.run("prompts", "diff", "sales", code=1)
    await desk.run("prompts", "build", "sales")
    await try_it(desk, here)
    async with here.call(ENGLISH) as under_way:
        await under_way.until("STREAM FILE", nth=2)
        await desk.run("prompts", "publish", "sales", "--by", "Anna Admin")
        assert "version 2" in await desk.run("reload")
        first = await agreed(under_way)
    await assert_evidence(desk, first, 1, "en")
    second = await said_yes(here, ENGLISH)
    await assert_evidence(desk, second, 2, "en")
    assert (await notice_of(desk, first))["manifest_sha256"] != (await notice_of(desk, second))["manifest_sha256"]

    # one byte of a sound that callers hear
    manifest, _ = desk.manifest(2)
    path = desk.sound(heard_before_choice(manifest, "en")[0], "alaw")
    with damaged(path):
        async with here.call(ENGLISH) as call:
            await call.unrecorded_line()
            record = await call.record()
            assert record.decision.payload["reason"] == "line_not_ready"
            assert call.created() == []
        for words in (("prompts", "check", "sales"), ("reload",)):
            assert str(path) in await desk.run(*words, code=3)
    await until_log(here.server, "line_whole_again")
    await assert_evidence(desk, await said_yes(here, ENGLISH), 2, "en")

    # back to the words of before
    await desk.run("prompts", "rollback", "sales", "--by", "Anna Admin")
    assert "version 1" in await desk.run("reload")
    await assert_evidence(desk, await said_yes(here, ENGLISH), 1, "en")
    told = await desk.told("prompts", "history", "sales")
    acts = [(entry["action"], entry["version"], entry["by"]) for entry in told["history"]]
    assert acts == [("published", 1, "Anna Admin"), ("published", 2, "Anna Admin"), ("rolled_back", 1, "Anna Admin")]
