"""The configuration: one TOML file, validated as a whole, frozen.

Every fault is reported at once, each with its line and key, what was found, what is allowed, and what to do
(:class:`~ivr_consent.core.errors.ConfigurationError`). Relative paths are relative to the file's own directory.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ivr_consent import config_problems
from ivr_consent.config_anchors import Anchors
from ivr_consent.core.errors import ConfigurationError, Problem
from ivr_consent.core.notice import IDENTIFIER, LANGUAGE
from ivr_consent.core.notice_file import Lines
from ivr_consent.language import HEADER_NAME, PREFIX, Source, number
from ivr_consent.toml_lines import TomlLines

MAX_FILE_BYTES = 1 << 20
"""A configuration is a few kilobytes; more is a wrong file."""

LINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
"""Names of lines stand in the dialplan and in file names: nothing else is let in."""

DIALPLAN_PLACE = re.compile(
    r"[A-Za-z0-9_-]{1,79},[A-Za-z0-9_+*#-]{1,79},(?:[1-9][0-9]{0,4}|[A-Za-z][A-Za-z0-9_-]{0,39})"
)
"""``context,extension,priority`` as Goto() takes it; no variables, so that nothing is expanded."""

TRANSFER_PLACE = re.compile(r"[A-Za-z0-9_+*#.-]{1,79} XML [A-Za-z0-9_.-]{1,79}")
"""``extension XML context`` as FreeSWITCH's transfer takes it; no variables either."""

RECORDINGS_PATH = re.compile(r"/[A-Za-z0-9_./-]+")
"""MixMonitor's argument is a path, options and a shell command, parted by commas: nothing of that may be in a path."""

SERVER_NAME_LENGTH = 40
SERVER_NAME = re.compile(rf"^[a-z0-9][a-z0-9_]{{0,{SERVER_NAME_LENGTH - 1}}}$")
"""Names of servers are part of a schema's name in a database, and name key files."""

DATABASE_URL = re.compile(r"postgres(?:ql)?://[!-~]{0,1000}")

FACTS = ("controller", "authority", "recipients", "withdrawal_contact", "rights_contact", "web_address")
"""What a notice says that only the site knows; the other placeholders come from the line itself."""

CODECS = {
    "ulaw": (),
    "alaw": (),
    "gsm": (),
    "g722": (),
    "slin": ("sln",),
    "slin16": (),
    "slin32": ("sln32",),
    "slin48": ("sln48",),
    "opus": ("sln48",),
    "g729": ("sln",),
    "ilbc": ("sln",),
    "speex": ("sln",),
    "speex16": (),
    "speex32": ("sln32",),
    "silk8": ("sln",),
    "silk16": (),
    "codec2": ("sln",),
}
"""By Asterisk's name of a codec: the sound formats that its prompts are translated from with the least loss, beyond
the standard ones."""

FEATURE_CODE = r"^[*#][0-9*#]{1,6}$"
"""A code in the middle of a call: it begins with a key that nobody presses in passing."""

CONSENT_KEYS = "123456789*"
"""Keys a line may use. Not "0" (asks for the operator on many sites) and not "#" (ends input): see R5."""


def _key(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Key = Annotated[str, BeforeValidator(_key), Field(pattern=rf"^[{re.escape(CONSENT_KEYS)}]$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Keys(_Table):
    """Keys of a line."""

    yes: Key = "1"
    """Consent to the purpose that was asked."""
    no: Key = "2"
    """No; counts at any moment, also during the notice."""
    repeat: Key = "3"
    """Hear the notice again."""
    long: Key = "4"
    """Hear the long version; the same key ends it."""
    language: Key = "5"
    """The next language, on a line that has several; also during the notice."""

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        used = [self.yes, self.no, self.repeat, self.long, self.language]
        if len(set(used)) < len(used):
            raise ValueError("one key stands for two things; give every function a key of its own")
        return self


class Facts(_Table):
    """What the notices say about the site, in one language."""

    controller: str | None = Field(None, min_length=1, max_length=200)
    """Who records: name and, best, address."""
    authority: str | None = Field(None, min_length=1, max_length=200)
    """Where callers may complain."""
    recipients: str | None = Field(None, min_length=1, max_length=300)
    """Who hears the recordings, as a noun phrase: "the agent and the team leader"."""
    withdrawal_contact: str | None = Field(None, min_length=1, max_length=200)
    """Where consent is withdrawn after the call."""
    rights_contact: str | None = Field(None, min_length=1, max_length=200)
    """Whom to ask for access, a copy, or erasure."""
    web_address: str | None = Field(None, min_length=1, max_length=100)
    """Where the full text stands, as it is spoken."""

    @field_validator("*")
    @classmethod
    def _speakable(cls, value: str | None) -> str | None:
        if value is not None and any(ord(character) < 32 or character in "{}" for character in value):
            raise ValueError("a control character or a brace; write plain words")
        return value


def _by_language(value: dict[str, Facts], table: str) -> dict[str, Facts]:
    for language in value:
        if language != "default" and not LANGUAGE.fullmatch(language):
            raise ValueError(f"{language!r} is not a language; write [{table}.default] or for example [{table}.da]")
    return value


class LanguageBy(_Table):
    """What chooses the language that a call begins in, see :mod:`ivr_consent.language`. Numbers are kept normalised."""

    order: Annotated[list[Source], Field(min_length=1, max_length=5)] = ["channel", "first"]
    """What is asked, in this order; the first source that has a result decides."""
    dialled: dict[str, str] = {}
    """Which language for which number dialled."""
    countries: dict[str, str] = {}
    """Which language for callers from where: by country code, with more digits where needed."""
    own_country: str | None = None
    """The country code of numbers that come without one."""
    header: str | None = None
    """The name of a SIP header that tells a language."""

    @field_validator("order")
    @classmethod
    def _order(cls, value: list[Source]) -> list[Source]:
        if len(set(value)) < len(value):
            raise ValueError("a source stands twice; name each once")
        if "first" in value[:-1]:
            raise ValueError('"first" always has a result, so nothing behind it is asked; put it last')
        return value

    @field_validator("dialled")
    @classmethod
    def _dialled(cls, value: dict[str, str]) -> dict[str, str]:
        return _by_number(value, None, 'write it as dialled, best with the country code: "+4570102030"')

    @field_validator("countries")
    @classmethod
    def _countries(cls, value: dict[str, str]) -> dict[str, str]:
        return _by_number(value, PREFIX, 'write a country code, with more digits where needed: "+45", "+4122"')

    @field_validator("own_country")
    @classmethod
    def _own_country(cls, value: str | None) -> str | None:
        digits = None if value is None else number(value)
        if value is not None and (digits is None or not PREFIX.fullmatch(digits)):
            raise ValueError('not a country code; write for example "+45"')
        return digits

    @field_validator("header")
    @classmethod
    def _header(cls, value: str | None) -> str | None:
        if value is not None and not HEADER_NAME.fullmatch(value):
            raise ValueError('not the name of a header; use letters, digits and hyphens, as in "X-Language"')
        return value

    @model_validator(mode="after")
    def _sources_and_keys(self) -> Self:
        """A source without its table can have no result, and a table without its source is not asked."""
        keys: tuple[tuple[Source, str, bool], ...] = (
            ("dialled", "dialled", bool(self.dialled)),
            ("country", "countries", bool(self.countries)),
            ("header", "header", self.header is not None),
        )
        for source, key, given in keys:
            if source in self.order and not given:
                raise ValueError(f'order has "{source}" and {key} is not given; give {key}, or take "{source}" out')
            if given and source not in self.order:
                raise ValueError(f'{key} is given and order has no "{source}"; name it in order, or remove {key}')
        return self


def _by_number(value: dict[str, str], form: re.Pattern[str] | None, remedy: str) -> dict[str, str]:
    """The same table with normalised numbers."""
    found: dict[str, str] = {}
    for text, language in value.items():
        digits = number(text)
        if digits is None or (form is not None and not form.fullmatch(digits)):
            raise ValueError(f"{text!r} is no such number; {remedy}")
        if digits in found:
            raise ValueError(f"{text!r} stands twice; name each number once, in whatever form")
        found[digits] = language
    return found


class Line(_Table):
    """A number that callers dial, with its notice, purposes and two destinations."""

    notice: str = "recording"
    """Which notice is played: the name of its file without .toml."""
    languages: Annotated[list[str], Field(min_length=1, max_length=20)] = ["en"]
    """The languages that callers can hear."""
    language_by: LanguageBy = LanguageBy()
    """What chooses the language that a call begins in."""
    purposes: Annotated[list[str], Field(min_length=1, max_length=5)] = ["training"]
    """Purposes of the notice; each is asked by a question of its own."""
    retention_days: int = Field(30, ge=1, le=3650)
    """How many days a recording is kept; said in the notice, and part of each decision."""
    keys: Keys = Keys()
    """The keys. Neither 0 nor #."""
    timeout_seconds: int = Field(8, ge=3, le=30)
    """How many seconds callers have for each answer."""
    repeats: int = Field(2, ge=0, le=5)
    """How often a question is asked again, the notice heard again, and the long version played."""
    guard_ms: int = Field(800, ge=300, le=3000)
    """Without a manager link: keys within this time after the question do not count, in milliseconds."""
    next_menu: list[Annotated[str, BeforeValidator(_key), Field(pattern=r"^[0-9*#]$")]] = []
    """Keys of the menu that follows the call to ivr-consent; none of them should be a key of the line."""
    codecs: list[str] = []
    """Codecs that callers come with: prompts are also built in the formats that these need."""
    agents: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=200)] = []
    """The agents' devices, as "PJSIP/agent-*"; without it, whoever the call is connected to first."""
    recorded: str | None = None
    """Where granted goes: "context,extension,priority"; FreeSWITCH: "extension XML context". Give both or neither."""
    unrecorded: str | None = None
    """Where everything else goes: "context,extension,priority"; FreeSWITCH: "extension XML context"."""
    facts: dict[str, Facts] = {}
    """Facts of this line alone, by language; they go before the site's."""

    @field_validator("languages")
    @classmethod
    def _languages(cls, value: list[str]) -> list[str]:
        for language in value:
            if not LANGUAGE.fullmatch(language):
                raise ValueError(f'{language!r} is not a language code; write codes such as "da" or "en"')
        if len(set(value)) < len(value):
            raise ValueError("a language stands twice; name each once, the first one is spoken first")
        return value

    @field_validator("purposes")
    @classmethod
    def _purposes(cls, value: list[str]) -> list[str]:
        for purpose in value:
            if not IDENTIFIER.fullmatch(purpose):
                raise ValueError(f"{purpose!r}; use the id of a [[purposes]] table of the notice")
        if len(set(value)) < len(value):
            raise ValueError("a purpose stands twice; name each once")
        return value

    @field_validator("codecs")
    @classmethod
    def _codecs(cls, value: list[str]) -> list[str]:
        for codec in value:
            if codec not in CODECS:
                raise ValueError(f"{codec!r} is not a codec that we know; known are: {', '.join(CODECS)}")
        return value

    @field_validator("facts")
    @classmethod
    def _fact_languages(cls, value: dict[str, Facts]) -> dict[str, Facts]:
        return _by_language(value, "lines.NAME.facts")

    @field_validator("notice")
    @classmethod
    def _notice(cls, value: str) -> str:
        if not IDENTIFIER.fullmatch(value):
            raise ValueError("not the id of a notice; use the file's name without .toml")
        return value

    @field_validator("recorded", "unrecorded")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        if value is not None and not DIALPLAN_PLACE.fullmatch(value) and not TRANSFER_PLACE.fullmatch(value):
            raise ValueError(
                'not "context,extension,priority"; write for example "queues,support,1", '
                'or for FreeSWITCH "support XML queues"'
            )
        return value

    @model_validator(mode="after")
    def _chosen_languages(self) -> Self:
        for key, table in (("dialled", self.language_by.dialled), ("countries", self.language_by.countries)):
            for digits, language in table.items():
                if language not in self.languages:
                    raise ValueError(
                        f"language_by.{key} has {language!r} for {digits}, which the line does not speak; "
                        f"add it to languages, or name one of: {', '.join(self.languages)}"
                    )
        return self

    @model_validator(mode="after")
    def _both_destinations(self) -> Self:
        if (self.recorded is None) != (self.unrecorded is None):
            raise ValueError(
                "only one destination; give both recorded and unrecorded, or neither and branch in the dialplan"
            )
        if self.recorded is not None and self.recorded == self.unrecorded:
            raise ValueError("recorded and unrecorded are the same place; give the unrecorded line a place of its own")
        return self


class Server(_Table):
    """Where the switch reaches us: FastAGI, or FreeSWITCH's socket. Whoever answers there can run commands on it."""

    listen: str = "127.0.0.1"
    """The IP address where the service listens."""
    port: int = Field(4573, ge=1, le=65535)
    """The TCP port, which the switch's dialplan names."""
    draft_port: int = Field(4574, ge=1, le=65535)
    """The TCP port on which a draft is tried on a telephone; nothing listens there else."""
    allow: list[str] = ["127.0.0.1/32", "::1/128"]
    """Networks that may connect; none of them everyone."""
    max_calls: int = Field(1000, ge=1, le=20000)
    """Calls at once; the next one goes unrecorded."""
    drain_seconds: int = Field(600, ge=0, le=3600)
    """How many seconds calls under way may go on when the service is stopped."""

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ValueError("not an IP address; names are not resolved, write for example 127.0.0.1") from None
        return value

    @field_validator("allow")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            try:
                parsed = ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"{network!r} is not a network; write for example 192.0.2.10/32") from None
            if parsed.prefixlen == 0:
                raise ValueError(f"{network!r} lets everyone in; name the switch's own address")
        return value

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.port == self.draft_port:
            raise ValueError("port and draft_port are the same; give drafts a port of their own")
        return self

    @model_validator(mode="after")
    def _beyond_loopback(self) -> Self:
        if not ipaddress.ip_address(self.listen).is_loopback and all(
            ipaddress.ip_network(network).is_loopback for network in self.allow
        ):
            raise ValueError(
                "listens beyond loopback but allows only loopback; name the switch's address in allow, "
                "or listen on 127.0.0.1"
            )
        return self


class Manager(_Table):
    """The manager connection (AMI): it proves when a key press began, which a switch reports only at its release."""

    host: str = "127.0.0.1"
    """Where Asterisk's manager interface is."""
    port: int = Field(5038, ge=1, le=65535)
    """The TCP port of the manager interface."""
    username: str = Field("ivr-consent", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The manager user."""
    secret_file: Path = Field(Path("manager.secret"), strict=False)
    """A file that holds the secret of the manager user, and that only its owner can read."""
    tls: bool = False
    """TLS, with the certificates that the system trusts."""


class EventSocket(_Table):
    """FreeSWITCH's event socket: the switch vouches for a call there, and the guard sees what records."""

    host: str = "127.0.0.1"
    """Where FreeSWITCH's event socket is; it has no encryption, so keep it on this host."""
    port: int = Field(8021, ge=1, le=65535)
    """The TCP port of the event socket."""
    password_file: Path = Field(Path("event_socket.password"), strict=False)
    """A file that holds the password of the event socket, and that only its owner can read."""


class Retention(_Table):
    """How many days events stay in the log, by what they are about; then their hashes alone are kept."""

    granted_days: int = Field(1095, ge=30, le=36500)
    """Of calls that consented: days after their recording was erased; never while there is a recording."""
    refused_days: int = Field(180, ge=1, le=36500)
    """Of all other calls: days after the decision."""
    service_days: int = Field(1095, ge=30, le=36500)
    """Of events that belong to no call."""


class Log(_Table):
    """Where decisions are written."""

    path: Path = Field(Path("decisions.db"), strict=False)
    """The log, an SQLite file on a local disk; made when it is missing. With url its folder alone counts."""
    url: str | None = None
    """A PostgreSQL database that has the log instead: "postgresql://USER@HOST/DATABASE", without a password."""
    server: str | None = Field(None, pattern=SERVER_NAME.pattern)
    """Whose log it is in that database, where each server has its own; by default the name of this host."""
    password_file: Path | None = Field(None, strict=False)
    """A file that holds the password for the database, and that only its owner can read."""
    signing_key_file: Path | None = Field(None, strict=False)
    """The key that seals the log; made together with it, by default beside it. It changes by itself; do not copy it."""
    checkpoint_events: int = Field(1000, ge=1, le=1_000_000)
    """A signed checkpoint after so many events."""
    checkpoint_minutes: int = Field(10, ge=1, le=1440)
    """A signed checkpoint after so many minutes in which there was an event."""
    pseudonym_key_file: Path = Field(Path("pseudonym.key"), strict=False)
    """The keys of callers' pseudonyms, one for each period; made together with a new log. Keep a copy of them."""
    pseudonym_period: Literal["month", "quarter", "year"] = "quarter"
    """How often callers get new pseudonyms: within a period a caller can be recognised in the log, beyond it not."""
    retention: Retention = Retention()
    """How many days the log keeps what happened."""
    anchors: Anchors = Anchors()
    """Where its checkpoints are shown outside of it."""

    @model_validator(mode="after")
    def _in_a_database(self) -> Self:
        # On the table, not on the key: what stands there is then not shown, and there may be a password in it.
        if self.url is not None:
            _check_database_url(self.url)
            _ = self.server_name
        else:
            for key, value in (("server", self.server), ("password_file", self.password_file)):
                if value is not None:
                    raise ValueError(f"{key} is given and url is not; give url, or remove {key}")
        return self

    @property
    def server_name(self) -> str:
        """``server``, else the host's name with ``_`` for what cannot be in it. Raises :class:`ValueError`."""
        if self.server is not None:
            return self.server
        name = re.sub(r"[^a-z0-9]", "_", socket.gethostname().lower())[:SERVER_NAME_LENGTH]
        if not SERVER_NAME.fullmatch(name) or name == "localhost":
            raise ValueError('the name of this host says nothing; name it yourself: server = "pbx1"')
        return name


def _check_database_url(url: str) -> None:
    """Raises :class:`ValueError`, which shows nothing of the URL."""
    example = 'write for example "postgresql://ivr_consent@db.example.org/ivr_consent?sslmode=verify-full"'
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or "@" in parts.path  # one with a slash in it
        secret = secret or any("password" in name for name, _ in parse_qsl(parts.query))
    except ValueError:
        raise ValueError(f"url is not a URL; {example}") from None
    if secret:
        raise ValueError(
            "url holds a password, and everyone who reads the configuration would know it; put it into password_file "
            "or ~/.pgpass, and change it if others have seen it"
        )
    if not DATABASE_URL.fullmatch(url):
        raise ValueError(f"url is not that of a PostgreSQL database; {example}")


class Recordings(_Table):
    """Where recordings are written; a directory of our own, readable by nobody else."""

    directory: Path = Field(Path("recordings"), strict=False)
    """A directory of its own, named with letters, digits and _ . - /."""


class Exemption(_Table):
    """A recording that the guard lets be, though nobody was asked for consent. Patterns are those of a shell (* and ?).

    A channel that fits all that is given is exempt.
    """

    context: str | None = Field(None, min_length=1, max_length=79)
    """The dialplan context that the channel is in."""
    channel: str | None = Field(None, min_length=1, max_length=200)
    """The channel's name: "PJSIP/dispatch-*"; of a conference's recording "CBRec/NAME"."""
    line: str | None = Field(None, min_length=1, max_length=40)
    """The line that the call came through."""
    application: str | None = Field(None, min_length=1, max_length=40)
    """How it records, in small letters: "mixmonitor", "monitor", "confbridge", "voicemail", "record", "agi"."""
    basis: str = Field(min_length=3, max_length=200)
    """The legal basis: "GDPR 6(1)(c), financial markets act § 12"."""
    reason: str = Field(min_length=3, max_length=500)
    """Why, in words that a regulator reads."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.context is None and self.channel is None and self.line is None and self.application is None:
            raise ValueError("exempts everything; give context, channel, line or application")
        return self


class Guard(_Table):
    """Watches the switch through the manager connection: nothing records but what a caller consented to."""

    mode: Literal["enforce", "watch", "off"] = "enforce"
    """enforce: a recording without consent is stopped; watch: it is told of alone; off: nobody looks."""
    required: bool = False
    """While the guard cannot see what records, callers are not asked and go unrecorded."""
    when_blind: Literal["keep", "stop"] = "keep"
    """Recordings under way while the guard cannot see: kept, or stopped and destroyed; of use with required."""
    files: Literal["quarantine", "destroy", "leave"] = "quarantine"
    """What is done with the file of a recording that was stopped."""
    quarantine: Path = Field(Path("quarantine"), strict=False)
    """Where such files are moved to."""
    spool: Annotated[list[str], Field(min_length=1, max_length=20)] = ["/var/spool/asterisk"]
    """Where Asterisk writes recordings, its own spool directory first; no file elsewhere is touched."""
    round_seconds: int = Field(10, ge=1, le=600)
    """How often all channels are asked, beside what the switch tells of itself."""
    command: list[str] | None = Field(None, min_length=1, max_length=40)
    """A program that is told of each incident, as JSON on its standard input."""
    exemptions: Annotated[list[Exemption], Field(max_length=100)] = []
    """Recordings that are let be."""

    @model_validator(mode="after")
    def _blind(self) -> Self:
        if self.when_blind == "stop" and not self.required:
            raise ValueError('when_blind is "stop" and required is false; set required = true, or remove when_blind')
        if self.required and self.mode == "off":
            raise ValueError('required is true and mode is "off"; set mode = "enforce", or remove required')
        return self


class Metrics(_Table):
    """Figures for monitoring. Without this table there are none."""

    file: Path = Field(strict=False)
    """Written anew in Prometheus' text format: for the textfile collector, in its directory, ending in .prom."""
    seconds: int = Field(15, ge=1, le=3600)
    """How often."""

    @field_validator("file")
    @classmethod
    def _collected(cls, value: Path) -> Path:
        if value.suffix != ".prom":
            raise ValueError(f"{str(value)!r} does not end in .prom; the collector reads no other files")
        return value


class Features(_Table):
    """Codes that are pressed in the middle of a call. Without this table there are none, and no notice speaks of one.

    Asterisk has to know them: features_consent.conf, which ivr-consent dialplan writes.
    """

    withdraw: str = Field("*9", pattern=FEATURE_CODE)
    """Consent is withdrawn, by the caller or the agent: the recorder is stopped, and the recording erased."""
    consent: str | None = Field(None, pattern=FEATURE_CODE)
    """A caller who is not recorded is asked; without it, there is no such code."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        one, other = self.withdraw, self.consent
        if other is not None and (one.startswith(other) or other.startswith(one)):
            raise ValueError("one code begins with the other; give each its own keys, as *9 and *8")
        return self


class Exports(_Table):
    """What exports of the log need and no notice says."""

    jurisdiction: str = Field("EU", pattern=r"^[A-Z]{2}$")
    """Whose law holds for consent: a country's two letters (ISO 3166), or EU."""
    storage_country: str | None = Field(None, pattern=r"^[A-Z]{2}$")
    """The country where recordings are stored, by its two letters."""
    controller_address: str | None = Field(None, min_length=1, max_length=300)
    """The controller's postal address; without it, what the notice says of who records."""
    certificate_file: Path | None = Field(None, strict=False)
    """Certificates (PEM) of the key that signs notices, its own first, for signed vCons; without it, a self-signed
    one."""


class Voice(_Table):
    """How a language is spoken: a command that reads text on standard input and writes WAV on standard output."""

    voice: str | None = None
    """The name of a voice: for espeak-ng such as en-gb, else what the command understands."""
    speed: int | None = Field(None, ge=80, le=450)
    """Words a minute."""
    command: list[str] | None = Field(None, min_length=1, max_length=40)
    """A program that reads text on standard input and writes WAV on standard output."""
    timeout_seconds: int = Field(60, ge=1, le=600)
    """How many seconds the command may take for one prompt."""


class Prompts(_Table):
    """Notice texts and built audio."""

    directory: Path | None = Field(None, strict=False)
    """Notices of your own, as LANGUAGE/NOTICE.toml; without it the shipped ones."""
    audio: Path = Field(Path("audio"), strict=False)
    """Where spoken notices are built; Asterisk plays them from there."""
    versions: Path = Field(Path("versions"), strict=False)
    """Where published versions of the notices are kept, signed; the service plays these alone."""
    signing_key_file: Path = Field(Path("notices.key"), strict=False)
    """The key that signs versions, made by the first build; its public half stands beside it (.pub)."""
    authorities: Annotated[list[str], Field(max_length=50)] = []
    """Names of supervisory authorities, beside those that the check of the wording knows."""
    voices: dict[str, Voice] = {}
    """Another voice, by language or by a name of your choice that a notice's [voices] table uses."""

    @field_validator("voices")
    @classmethod
    def _voice_names(cls, value: dict[str, Voice]) -> dict[str, Voice]:
        for name in value:
            if not IDENTIFIER.fullmatch(name) and not LANGUAGE.fullmatch(name):
                raise ValueError(f"{name!r} is neither a language nor a name; use small letters, digits and hyphens")
        return value


class Settings(_Table):
    """A whole configuration, with absolute paths."""

    server: Server = Server()
    """Where the switch reaches the service."""
    manager: Manager | None = None
    """The manager connection; without the table a guard time stands in for it."""
    event_socket: EventSocket | None = None
    """FreeSWITCH's event socket; needed there, and there alone."""
    log: Log = Log()
    """Where decisions are written."""
    recordings: Recordings = Recordings()
    """Where recordings are written."""
    features: Features | None = None
    """Codes for the middle of a call; without the table there are none."""
    guard: Guard = Guard()
    """What watches that nothing else records."""
    metrics: Metrics | None = None
    """Figures for monitoring; without the table there are none."""
    prompts: Prompts = Prompts()
    """Notice texts and audio."""
    exports: Exports = Exports()
    """What exports of the log need."""
    facts: dict[str, Facts] = {}
    """What notices say about the site, by language; [facts.default] holds for every language."""
    lines: Annotated[dict[str, Line], Field(min_length=1)]
    """The numbers that callers dial, by name."""
    switch: Literal["asterisk", "freeswitch"] = "asterisk"
    """The kind of switch."""
    source: Path = Field(Path(), exclude=True, strict=False)
    sha256: str = Field("", exclude=True)

    @field_validator("lines")
    @classmethod
    def _line_names(cls, value: dict[str, Line]) -> dict[str, Line]:
        for name in value:
            if not LINE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name for a line; use letters, digits, - and _")
        if len({name.replace("-", "") for name in value}) < len(value):
            raise ValueError("two lines differ by a - alone, and Asterisk takes no notice of it; rename one of them")
        return value

    @field_validator("facts")
    @classmethod
    def _fact_languages(cls, value: dict[str, Facts]) -> dict[str, Facts]:
        return _by_language(value, "facts")

    @model_validator(mode="after")
    def _of_this_switch(self) -> Self:
        if self.switch == "asterisk":
            if self.event_socket is not None:
                raise ValueError('[event_socket] is FreeSWITCH\'s; remove it, or set switch = "freeswitch"')
            form, example = DIALPLAN_PLACE, '"queues,support,1"'
        else:
            self._freeswitch()
            form, example = TRANSFER_PLACE, '"support XML queues"'
        for name, line in self.lines.items():
            for key, place in (("recorded", line.recorded), ("unrecorded", line.unrecorded)):
                if place is not None and not form.fullmatch(place):
                    raise ValueError(
                        f"lines.{name}.{key} is {place!r}, which {self.switch} does not take; "
                        f"write for example {example}"
                    )
        return self

    def _freeswitch(self) -> None:
        if self.manager is not None:
            raise ValueError("[manager] is Asterisk's; remove it, and give [event_socket]")
        if self.event_socket is None:
            raise ValueError("FreeSWITCH needs [event_socket]; add it, with password_file")
        for name, line in self.lines.items():
            if line.recorded is None:
                raise ValueError(
                    f"lines.{name} has no destinations, and FreeSWITCH's dialplan needs them; "
                    'give recorded and unrecorded, as "support XML queues"'
                )
        if self.features is not None and self.features.consent is not None:
            raise ValueError("features.consent: there is no code for consent later on FreeSWITCH; remove it")
        if self.features is not None and not re.fullmatch(r"\*[0-9]", self.features.withdraw):
            code = self.features.withdraw
            raise ValueError(f'features.withdraw is {code!r}; FreeSWITCH takes * and one digit, as "*9"')

    def facts_for(self, line: Line, language: str) -> dict[str, str]:
        """The facts for one line and language: the line's before the site's, the language's before the default."""
        found: dict[str, str] = {}
        for source in (self.facts, line.facts):
            for key in ("default", language):
                if key in source:
                    found |= {name: value for name, value in source[key].model_dump().items() if value is not None}
        keys = line.keys
        return found | {
            "retention_days": str(line.retention_days),
            "key_yes": keys.yes,
            "key_no": keys.no,
            "key_repeat": keys.repeat,
            "key_long": keys.long,
            "key_language": keys.language,
            "code_withdraw": "" if self.features is None else self.features.withdraw,
        }

    def path(self, value: Path) -> Path:
        """A path of the configuration, absolute."""
        return value if value.is_absolute() else (self.source.parent / value)

    def sealing_key(self) -> Path:
        """The file of the key that seals the log, absolute."""
        if self.log.signing_key_file is not None:
            return self.path(self.log.signing_key_file)
        path = self.path(self.log.path)
        return path.with_suffix(".key") if self.log.url is None else path.with_name(f"{self.log.server_name}.key")

    def log_file(self) -> Path:
        """The file that is there once the log has begun, absolute: the log, or the public key of one in a database."""
        return self.path(self.log.path) if self.log.url is None else self.sealing_key().with_suffix(".pub")


def load(path: Path) -> Settings:
    """Read and check a configuration file. Raises :class:`ConfigurationError` with every problem in it."""
    source = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problem = Problem(source, f"cannot be read ({error.strerror})", "create one with: ivr-consent init")
        raise ConfigurationError(source, (problem,)) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigurationError(source, (Problem(source, "larger than 1 MiB", "is it the right file?"),))
    try:
        text = raw.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = Problem(f"{source}:{line}", f"not UTF-8 at byte {error.start}", "save the file as UTF-8")
        raise ConfigurationError(source, (problem,)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(source, (config_problems.syntax(source, text, error),)) from None
    return parse(document, path.absolute(), hashlib.sha256(raw).hexdigest(), TomlLines(text).line)


def _no_lines(_: tuple[str | int, ...]) -> None:
    return None


def parse(document: dict[str, Any], source: Path, sha256: str, lines: Lines = _no_lines) -> Settings:
    """Check a parsed document; ``source`` is the file that relative paths start from, ``lines`` tells its lines."""
    file = str(source)
    for reserved in ("source", "sha256"):
        if reserved in document:
            problem = Problem(config_problems.place(file, lines, (reserved,)), "unknown key", "remove it")
            raise ConfigurationError(file, (problem,))
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        found = config_problems.problems(file, lines, Settings, error, CONSENT_KEYS)
        raise ConfigurationError(file, tuple(found)) from None
    settings = settings.model_copy(update={"source": source, "sha256": sha256})
    directory = str(settings.path(settings.recordings.directory))
    if not RECORDINGS_PATH.fullmatch(directory):
        where = config_problems.place(file, lines, ("recordings", "directory"))
        told = f"found {config_problems.shown(directory)}: it stands in a command to the switch"
        raise ConfigurationError(file, (Problem(where, told, "use letters, digits and / . _ - only"),))
    return settings
