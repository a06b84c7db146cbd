"""The texts that ``ivr-consent init`` writes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ivr_consent import config_schema
from ivr_consent.cli.switch_words import WORDS
from ivr_consent.config import FACTS, Settings
from ivr_consent.pbx.asterisk.rights import needed

EXAMPLE_FACTS: Final[Mapping[str, str]] = {
    "controller": "Example Company, Main Street 1, Exampletown",
    "authority": "the data protection authority",
    "recipients": "the agent and the team leader",
    "withdrawal_contact": "telephone 12 34 56 78",
    "rights_contact": "privacy at example dot com",
    "web_address": "example dot com slash calls",
}
"""What a site replaces by its own; ``ivr-consent check`` says where it has not."""

_FACT_COMMENTS: Final[Mapping[str, str]] = {
    "controller": "who records: name and, best, address",
    "authority": "where callers may complain",
    "recipients": 'who hears the recordings, as a noun phrase: "the agent and the team leader"',
    "withdrawal_contact": "where consent is withdrawn after the call",
    "rights_contact": "whom to ask for access, a copy, or erasure",
    "web_address": "where the full text stands, short enough to be spoken",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What an administrator chose on the command line."""

    directory: Path
    state: Path
    line: str
    languages: tuple[str, ...]
    facts: Mapping[str, str]
    port: int
    link_port: int
    switch: str = "asterisk"


def configuration(choices: Choices) -> str:
    """The configuration file, with a comment for every key."""
    state, words, line = choices.state, WORDS[choices.switch], choices.line
    return f"""\
#:schema ./{config_schema.FILE}
# ivr-consent: a call is recorded only after its caller has said yes by a key.
# After every change: ivr-consent check, then ivr-consent reload (for {words.restart}: systemctl restart ivr-consent). \
Relative paths start from this file's directory.

{words.head}\
[server]
{words.listens}\
listen = "127.0.0.1"
port = {choices.port}
# Where a draft of a notice is tried on your own telephone; at all other times nothing listens there.
draft_port = {choices.port + 1 if choices.port < 65535 else choices.port - 1}
# Who may connect.
allow = ["127.0.0.1/32", "::1/128"]
# Calls at the same time; the next one goes unrecorded.
max_calls = 1000
# How long calls under way may go on when the service is stopped.
drain_seconds = 600

{words.link.format(port=choices.link_port)}
[log]
# Every decision, with its evidence.
path = {_toml(state / "decisions.db")}
# Or one database for several switches: its address, whose log it is there, and a file with the password.
# url = "postgresql://consent@db.example.org/consent"
# server = "pbx1"
# password_file = "postgresql.password"
# The key that seals it; it changes by itself: do not copy it. Its public half (.pub) is for whoever verifies.
# signing_key_file = {_toml(state / "decisions.key")}
# A signed checkpoint after so many events, and after so many minutes in which there was one.
# checkpoint_events = 1000
# checkpoint_minutes = 10
# The keys of callers' pseudonyms. Keep a copy of them: without a key, no caller of its period is found in the log.
pseudonym_key_file = "pseudonym.key"
# How often callers get new pseudonyms, and a new key is made: "month", "quarter" or "year".
# pseudonym_period = "quarter"
# How many days events stay in the log: of calls that consented, after their recording was erased; of all other calls;
# and of the service itself.
# retention = {{ granted_days = 1095, refused_days = 180, service_days = 1095 }}

# Where its checkpoints are shown outside of it: without such a place, nobody can tell whether its end was cut off.
# Best where nobody who administers this machine can write. Try it with: ivr-consent log anchor
# [log.anchors]
# file = "/mnt/audit/checkpoints"
# journal = true
# [log.anchors.command]
# run = ["ssh", "audit@vault.example.org", "cat >> checkpoints"]
# [log.anchors.mail]
# to = ["dpo@example.org"]
# sender = "pbx@example.org"
# [log.anchors.timestamp]
# url = "http://timestamp.example.org/tsr"
# ca_file = "tsa-ca.pem"

[recordings]
# A directory of our own. {words.name} writes into it: run ivr-consent as {words.name}'s user.
directory = {_toml(state / "recordings")}

[features]
{words.features}
[guard]
# Nothing records on the switch but what a caller consented to. "enforce" stops it, "watch" tells of it alone, "off".
mode = "enforce"
# While the guard cannot see what records, callers are not asked and go unrecorded.
# required = true
# when_blind = "stop"
# What is done with the file of a recording that was stopped: "quarantine", "destroy" or "leave".
files = "quarantine"
quarantine = {_toml(state / "quarantine")}
{words.spool_comment}{words.spool}\
# A program that is told of each incident, as JSON on its standard input.
# command = ["/usr/local/bin/alarm", "--recording"]
# How often all channels are asked, beside what the switch tells of itself.
# round_seconds = 10
# Recordings that are let be, though nobody is asked; each time it is logged with these words.
# exemptions = [{{ context = "dispatch", basis = "GDPR 6(1)(c)", reason = "emergency calls have to be recorded" }}]

[prompts]
# Where the spoken notices are built: ivr-consent prompts build
audio = {_toml(state / "audio")}
# What callers hear: published versions, signed and never changed: ivr-consent prompts publish
versions = {_toml(state / "versions")}
# The key that signs them, made by the first build; the service reads its public half alone. Keep a copy of it.
signing_key_file = "notices.key"
# Notices of your own (LANGUAGE/NOTICE.toml); without it, the ones that come with ivr-consent. To have them made:
# ivr-consent prompts copy recording
# directory = "prompts"
# Supervisory authorities, beside those that the check of the notices knows by name.
# authorities = ["the Data Protection Office of Exampletown"]

# Another voice: for a language, or under a name that a notice gives to single prompts in its [voices] table. One of
# espeak-ng's, or a command that reads text on standard input and writes WAV on standard output, in so many seconds.
# [prompts.voices.en]
# voice = "en-gb"
# speed = 170
# command = ["/usr/local/bin/my-voice", "--language", "{{language}}"]
# timeout_seconds = 60

# What the notices say about you. A line without one of these is never recorded. Write words as they are spoken.
# In the words of one language, where they differ from those in [facts.default] below:
# [facts.da]
# authority = "Datatilsynet"
[facts.default]
{_facts(choices.facts)}
{words.line.format(line=line)}\
[lines.{line}]
# Which notice, and in which languages; the first one is spoken first.
notice = "recording"
languages = [{", ".join(_toml(language) for language in choices.languages)}]
# In which of them a call begins: the first of these that tells one. Also: the number "dialled", the caller's "country",
# a SIP "header".
# language_by = {{ order = ["channel", "first"] }}
# What the recording is for: purposes of the notice, one question each. Shipped: training, quality, agreement,
# diagnosis.
purposes = ["training"]
# How long a recording is kept. It is said in the notice.
retention_days = 30
# How long callers have for their answer, and how often they are asked again.
timeout_seconds = 8
repeats = 2
{words.guard_ms}\
# The keys of a menu that follows, if one does: the check tells when a caller's late press would choose there.
# next_menu = ["1", "2", "3"]
{words.codecs}\
# The agents' devices: while anybody else is in the call, its recording is silent. Without it, agents are whoever the
# call is connected to first.
{words.agents}\
{words.destinations.format(line=line)}
# The keys. Neither 0 nor #.
[lines.{line}.keys]
yes = "1"
no = "2"
repeat = "3"
long = "4"
language = "5"
"""


def _facts(given: Mapping[str, str]) -> str:
    parts = []
    for name in FACTS:
        line = f"{name} = {_toml(given.get(name, EXAMPLE_FACTS[name]))}"
        parts.append(f"# {_FACT_COMMENTS[name]}\n{line if name in given else '# ' + line}\n")
    return "".join(parts)


def _toml(value: str | Path) -> str:
    import tomlkit

    return tomlkit.item(str(value)).as_string()


def manager_user(settings: Settings, secret: str) -> str:
    """The manager user with the least rights that do."""
    manager = settings.manager
    assert manager is not None
    rights = needed(settings)
    filters = "".join(f"eventfilter = {one}\n" for one in rights.filters)
    return f"""\
; ivr-consent's manager user. Include this file at the end of manager.conf.
; It hears of key presses (dtmf): a press is reported to the dialplan only when the key is released, and consent needs a
; press that began after the question. For the guard it hears of recorders (call, dialplan, agi) and may stop them
; (write = call); without the guard, that is with guard.mode = "off", read = dtmf and no write rights would do.
; The filters leave out what it does not look at: on a busy switch the rest would make it late.
; The same secret stands in {settings.path(manager.secret_file)}: who has it can act on every call.
[{manager.username}]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = {",".join(rights.read)}
write = {",".join(rights.write)}
{filters}"""


def program() -> list[str]:
    """How the program that runs now is started by others, as words."""
    script = Path(sys.prefix) / "bin" / "ivr-consent"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "ivr_consent.cli.main"]


def unit(settings: Settings, user: str, command: Sequence[str]) -> str:
    """The systemd unit."""
    words = WORDS[settings.switch]
    log = settings.path(settings.log.path).parent
    writable = (log, settings.path(settings.recordings.directory), settings.path(settings.prompts.audio))
    own = sorted({str(path) for path in writable})
    # A file of its own, which the service writes in place: a period's key is made when the period begins.
    keys = settings.path(settings.log.pseudonym_key_file)
    own += [f"-{keys}"] if not any(keys.is_relative_to(path) for path in writable) else []
    if settings.guard.mode == "enforce" and settings.guard.files != "leave":
        own += [f"-{path}" for path in settings.guard.spool]  # where the guard takes files away
    if settings.metrics is not None:
        own.append(f"-{settings.path(settings.metrics.file).parent}")
    hidden = any(path.startswith(("/tmp/", "/var/tmp/")) for path in own)  # noqa: S108 - what is asked is whether it is used
    return f"""\
# ivr-consent's service. Written by `ivr-consent init`.
[Unit]
Description=ivr-consent, consent before a call is recorded
# Whoever has the port first owns the switch: we do, before {words.name} starts.
Before={words.unit}
After=network.target{" network-online.target postgresql.service" if settings.log.url is not None else ""}
# Calls go unrecorded while we are down: never give up, but for a wrong configuration (below).
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={" ".join(_quoted(word) for word in command)}
ExecReload=/bin/kill -HUP $MAINPID
# {words.name}'s own user: it writes the recordings that we finish, and reads the prompts that we build.
User={user}
UMask=0077
# A server that hangs holds calls up: it is restarted within seconds.
WatchdogSec=5
Restart=always
RestartSec=1
# Exit code 3, a wrong configuration: starting again does not mend it. ivr-consent check says what to mend.
RestartPreventExitStatus=3
# Calls under way may finish.
TimeoutStopSec={settings.server.drain_seconds + 90}
LimitNOFILE={settings.server.max_calls * 4 + 1024}

NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={" ".join(_quoted(path) for path in own)}
ProtectHome=read-only
PrivateTmp={"no" if hidden else "yes"}
PrivateDevices=yes
# Whether a recorder has closed its file is seen in /proc of {words.name}, which runs as the same user: so \
no ProtectProc,
# no ProcSubset, no PrivateUsers.
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str | Path) -> str:
    """A word of a unit file: specifiers and quotes in a path stand for themselves."""
    text = str(word).replace("%", "%%")
    if any(character in text for character in " \t\"'\\;$"):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'
    return text
