"""The configuration's tables of places outside of the log where its checkpoints are shown: ``[log.anchors]``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63}@[A-Za-z0-9][A-Za-z0-9.-]{0,254}")
"""An address of mail: it becomes a header and a word of a program's arguments, so nothing else is let in."""

HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}|[0-9A-Fa-f:.]{2,45}")
"""A name or an IP address."""

MAX_URL = 2000

Words = Annotated[list[str], Field(min_length=1, max_length=40)]
"""A program and its arguments."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CommandAnchor(_Table):
    """A program of the site's that takes each checkpoint on standard input."""

    run: Words
    """The program and its arguments; no shell is involved."""
    read: Words | None = None
    """A program that writes the checkpoints it has kept on standard output, for verify."""
    every_hours: int = Field(0, ge=0, le=744)
    """At most once in so many hours; 0 is each checkpoint."""
    timeout_seconds: int = Field(60, ge=1, le=600)
    """How many seconds it may take."""


class MailAnchor(_Table):
    """Mail with the newest checkpoint, to whoever keeps it."""

    to: Annotated[list[str], Field(min_length=1, max_length=20)]
    """Who gets it, as addresses: best somebody who does not administer this machine."""
    sender: str
    """The sender's address."""
    sendmail: Path = Field(Path("/usr/sbin/sendmail"), strict=False)
    """The program that takes mail where there is no host."""
    host: str | None = None
    """A mail server that takes it instead of the program."""
    port: int = Field(587, ge=1, le=65535)
    """The TCP port of the mail server."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """TLS after a greeting in clear (starttls), from the first byte (tls), or none."""
    ca_file: Path | None = Field(None, strict=False)
    """Certificates in PEM that the mail server's must come from; the system's without."""
    username: str | None = Field(None, min_length=1, max_length=200)
    """The user at the mail server."""
    password_file: Path | None = Field(None, strict=False)
    """A file that holds the user's password, and that only its owner can read."""
    every_hours: int = Field(24, ge=0, le=744)
    """At most once in so many hours; 0 is each checkpoint."""
    timeout_seconds: int = Field(60, ge=1, le=600)
    """How many seconds one mail may take."""

    @field_validator("to")
    @classmethod
    def _to(cls, value: list[str]) -> list[str]:
        return [_address(address) for address in value]

    @field_validator("sender")
    @classmethod
    def _sender(cls, value: str) -> str:
        return _address(value)

    @field_validator("host")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        if value is not None and not HOST.fullmatch(value):
            raise ValueError("not the name or address of a machine; write for example mail.example.org")
        return value

    @model_validator(mode="after")
    def _user(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together; give both or neither")
        if self.username is not None and self.host is None:
            raise ValueError("username is given and host is not; give the mail server, or remove username")
        if self.username is not None and self.tls == "none":
            raise ValueError('the password would be sent in clear; use tls = "starttls" or "tls"')
        return self


class TimestampAnchor(_Table):
    """A time-stamp service (RFC 3161) that vouches for when a checkpoint was there."""

    url: str
    """Its address, http:// or https://; what it answers is signed either way."""
    ca_file: Path = Field(strict=False)
    """Certificates in PEM that its own must come from."""
    directory: Path | None = Field(None, strict=False)
    """Where each checkpoint is kept with its time-stamp, as files that openssl checks; best outside of this machine."""
    every_hours: int = Field(24, ge=0, le=744)
    """At most once in so many hours; 0 is each checkpoint."""
    timeout_seconds: int = Field(30, ge=1, le=600)
    """How many seconds one answer may take."""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        remedy = "write for example https://timestamp.example.org/tsr"
        if len(value) > MAX_URL or not re.fullmatch(r"https?://[!-~]+", value):
            raise ValueError(f"not an address of the web; {remedy}")
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise ValueError(f"not an address of the web; {remedy}") from None
        if not parts.hostname or not HOST.fullmatch(parts.hostname) or port == 0:
            raise ValueError(f"names no machine; {remedy}")
        if parts.username is not None or parts.fragment:
            raise ValueError("has a user or a fragment; name the service by machine and path alone")
        return value


class Anchors(_Table):
    """Places outside of the log where its checkpoints are shown, so that who changes the log later is found out."""

    file: Path | None = Field(None, strict=False)
    """A file that each checkpoint is appended to: best on another machine, or where nothing can be taken away."""
    journal: bool = False
    """Whether each checkpoint goes to the system's journal."""
    command: CommandAnchor | None = None
    """A program of the site's."""
    mail: MailAnchor | None = None
    """Mail."""
    timestamp: TimestampAnchor | None = None
    """A time-stamp service (RFC 3161)."""


def _address(value: str) -> str:
    if not ADDRESS.fullmatch(value):
        raise ValueError(f"{value!r} is not an address of mail; write for example dpo@example.org, without a name")
    return value
