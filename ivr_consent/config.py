"""The configuration: one TOML file, validated as a whole, frozen.

Every fault is reported at once, each with its key, what was found, what is allowed, and what to do
(:class:`~ivr_consent.core.errors.ConfigurationError`). Relative paths are relative to the file's own directory.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ivr_consent.core.errors import ConfigurationError, Problem
from ivr_consent.core.notice import IDENTIFIER, LANGUAGE

MAX_FILE_BYTES = 1 << 20
"""A configuration is a few kilobytes; more is a wrong file."""

LINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
"""Names of lines stand in the dialplan and in file names: nothing else is let in."""

DIALPLAN_PLACE = re.compile(
    r"[A-Za-z0-9_-]{1,79},[A-Za-z0-9_+*#-]{1,79},(?:[1-9][0-9]{0,4}|[A-Za-z][A-Za-z0-9_-]{0,39})"
)
"""``context,extension,priority`` as Goto() takes it; no variables, so that nothing is expanded."""

RECORDINGS_PATH = re.compile(r"/[A-Za-z0-9_./-]+")
"""MixMonitor's argument is a path, options and a shell command, parted by commas: nothing of that may be in a path."""

FACTS = ("controller", "authority", "recipients", "withdrawal_contact", "rights_contact", "web_address")
"""What a notice says that only the site knows; the other placeholders come from the line itself."""

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
    no: Key = "2"
    repeat: Key = "3"
    long: Key = "4"
    language: Key = "5"

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        used = [self.yes, self.no, self.repeat, self.long, self.language]
        if len(set(used)) < len(used):
            raise ValueError("one key stands for two things; give every function a key of its own")
        return self


class Facts(_Table):
    """What the notices say about the site, in one language."""

    controller: str | None = Field(None, min_length=1, max_length=200)
    authority: str | None = Field(None, min_length=1, max_length=200)
    recipients: str | None = Field(None, min_length=1, max_length=300)
    withdrawal_contact: str | None = Field(None, min_length=1, max_length=200)
    rights_contact: str | None = Field(None, min_length=1, max_length=200)
    web_address: str | None = Field(None, min_length=1, max_length=100)

    @field_validator("*")
    @classmethod
    def _speakable(cls, value: str | None) -> str | None:
        if value is not None and any(ord(character) < 32 or character in "{}" for character in value):
            raise ValueError("a control character or a brace; write plain words")
        return value


class Line(_Table):
    """A number that callers dial, with its notice, purposes and two destinations."""

    notice: str = "recording"
    languages: Annotated[list[str], Field(min_length=1, max_length=9)] = ["en"]
    purposes: Annotated[list[str], Field(min_length=1, max_length=5)] = ["training"]
    retention_days: int = Field(30, ge=1, le=3650)
    keys: Keys = Keys()
    timeout_seconds: int = Field(8, ge=3, le=30)
    repeats: int = Field(2, ge=0, le=5)
    guard_ms: int = Field(800, ge=300, le=3000)
    recorded: str | None = None
    unrecorded: str | None = None
    facts: dict[str, Facts] = {}

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

    @field_validator("notice")
    @classmethod
    def _notice(cls, value: str) -> str:
        if not IDENTIFIER.fullmatch(value):
            raise ValueError("not the id of a notice; use the file's name without .toml")
        return value

    @field_validator("recorded", "unrecorded")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        if value is not None and not DIALPLAN_PLACE.fullmatch(value):
            raise ValueError('not "context,extension,priority"; write for example "queues,support,1"')
        return value

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
    """Where Asterisk reaches us (FastAGI). Whoever answers on this port can run commands on the switch."""

    listen: str = "127.0.0.1"
    port: int = Field(4573, ge=1, le=65535)
    allow: list[str] = ["127.0.0.1/32", "::1/128"]
    max_calls: int = Field(1000, ge=1, le=20000)
    drain_seconds: int = Field(600, ge=0, le=3600)

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
    port: int = Field(5038, ge=1, le=65535)
    username: str = Field("ivr-consent", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    secret_file: Path = Field(Path("manager.secret"), strict=False)
    tls: bool = False


class Log(_Table):
    """Where decisions are written."""

    path: Path = Field(Path("decisions.db"), strict=False)
    pseudonym_key_file: Path = Field(Path("pseudonym.key"), strict=False)


class Recordings(_Table):
    """Where recordings are written; a directory of our own, readable by nobody else."""

    directory: Path = Field(Path("recordings"), strict=False)


class Voice(_Table):
    """How a language is spoken: a command that reads text on standard input and writes WAV on standard output."""

    voice: str | None = None
    speed: int | None = Field(None, ge=80, le=450)
    command: list[str] | None = Field(None, min_length=1, max_length=40)


class Prompts(_Table):
    """Notice texts and built audio."""

    directory: Path | None = Field(None, strict=False)
    audio: Path = Field(Path("audio"), strict=False)
    voices: dict[str, Voice] = {}


class Settings(_Table):
    """A whole configuration, with absolute paths."""

    server: Server = Server()
    manager: Manager | None = None
    log: Log = Log()
    recordings: Recordings = Recordings()
    prompts: Prompts = Prompts()
    facts: dict[str, Facts] = {}
    lines: Annotated[dict[str, Line], Field(min_length=1)]
    switch: Literal["asterisk"] = "asterisk"
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
        for language in value:
            if language != "default" and not LANGUAGE.fullmatch(language):
                raise ValueError(f"{language!r} is not a language; write [facts.default] or for example [facts.da]")
        return value

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
        }

    def path(self, value: Path) -> Path:
        """A path of the configuration, absolute."""
        return value if value.is_absolute() else (self.source.parent / value)


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
        document = tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        problem = Problem(source, f"not UTF-8 at byte {error.start}", "save the file as UTF-8")
        raise ConfigurationError(source, (problem,)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(source, (Problem(source, f"not TOML: {error}", "correct that place"),)) from None
    return parse(document, path.absolute(), hashlib.sha256(raw).hexdigest())


def parse(document: dict[str, Any], source: Path, sha256: str) -> Settings:
    """Check a parsed document; ``source`` is the file that relative paths start from."""
    for reserved in ("source", "sha256"):
        if reserved in document:
            problem = Problem(f"{source}: {reserved}", "unknown key", "remove it")
            raise ConfigurationError(str(source), (problem,))
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(str(source), tuple(_problem(source, item) for item in error.errors())) from None
    settings = settings.model_copy(update={"source": source, "sha256": sha256})
    directory = str(settings.path(settings.recordings.directory))
    if not RECORDINGS_PATH.fullmatch(directory):
        found = f"found {_shown(directory)}: it stands in a command to the switch"
        problem = Problem(f"{source}: recordings.directory", found, "use letters, digits and / . _ - only")
        raise ConfigurationError(str(source), (problem,))
    return settings


def _problem(source: Path, error: Any) -> Problem:
    """One of pydantic's errors as key, what was found, and remedy."""
    key = ".".join(str(part) for part in error["loc"]) or "the file"
    where, kind, found = f"{source}: {key}", error["type"], _shown(error.get("input"))
    if kind == "extra_forbidden":
        return Problem(where, "unknown key", f"remove it, or correct its name; allowed here: {_allowed(error['loc'])}")
    if kind == "missing":
        return Problem(where, "missing", "add it")
    if kind == "value_error":
        found_text, _, remedy = str(error["ctx"]["error"]).partition("; ")
        return Problem(
            where,
            f"found {found}: {found_text}" if not isinstance(error.get("input"), dict) else found_text,
            remedy or "correct it",
        )
    if kind == "string_pattern_mismatch" and ".keys." in f".{key}.":
        return Problem(where, f"found {found}", f"one key of: {' '.join(CONSENT_KEYS)} (neither 0 nor #)")
    return Problem(where, f"found {found}", f"allowed: {error['msg'][:1].lower()}{error['msg'][1:]}")


def _allowed(location: tuple[str | int, ...]) -> str:
    """Names allowed beside an unknown key, found by walking the models along its location."""
    model: Any = Settings
    for part in location[:-1]:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        annotation = field.annotation if field is not None else None
        if field is None:
            continue  # a name of a line or a language: the model for its values was already entered
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, _Table)), model)
    names = [name for name in model.model_fields if name not in ("source", "sha256")]
    return ", ".join(names)


def _shown(value: Any) -> str:
    text = repr(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 60 else text[:57] + "..."
