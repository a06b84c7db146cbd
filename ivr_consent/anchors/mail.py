"""Mail with the newest checkpoint: through the sendmail program, or a mail server."""

from __future__ import annotations

import contextlib
import email.policy
import smtplib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import IO, Any, Final

from ivr_consent.anchors.links import connect, cut_off
from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import MAX_PROOF, AnchorError, Limit
from ivr_consent.anchors.programs import give
from ivr_consent.config_anchors import MailAnchor as Table

MAX_ANSWERS: Final = 1 << 16
"""Bytes that a mail server may say in all; it says a few hundred."""

MAX_PASSWORD: Final = 1000

_REMEDY: Final = "see log.anchors.mail"


class MailAnchor:
    """One mail, to be kept by somebody else. It is read back by hand: ``ivr-consent log verify`` takes a saved mail."""

    name = "mail"
    readable = False

    def __init__(self, table: Table, password: Path | None, certificates: Path | None) -> None:
        """``password`` and ``certificates``: the table's files, with absolute paths."""
        self.where = ", ".join(table.to)
        self.every_s, self.timeout_s = table.every_hours * 3600.0, float(table.timeout_seconds)
        self._table, self._password, self._certificates = table, password, certificates

    def publish(self, sealed: Sealed, limit: Limit) -> bytes:
        """Send it; the mail's id as proof."""
        table = self._table
        message = mail(sealed, table.sender, table.to)
        if table.host is None:
            words = [str(table.sendmail), "-i", "-f", table.sender, "--", *table.to]
            give(words, message.as_bytes(policy=email.policy.SMTP.clone(linesep="\n")), limit, MAX_PROOF, _REMEDY)
        else:
            self._send(table.host, message, limit)
        return str(message["Message-ID"]).encode()

    def _send(self, host: str, message: EmailMessage, limit: Limit) -> None:
        table = self._table
        server = f"the mail server {host}"
        try:
            with connect(host, table.port, limit) as link, cut_off(link, limit):
                talk = _Talk(link, host, self._trusted() if table.tls == "tls" else None)
                if table.tls == "starttls":
                    talk.starttls(context=self._trusted())
                talk.ehlo_or_helo_if_needed()
                if table.username is not None:
                    talk.login(table.username, self._secret())
                if not talk.has_extn("8bitmime"):
                    _code_for_seven_bits(message)
                options = ["BODY=8BITMIME"] if talk.has_extn("8bitmime") else []
                refused = talk.send_message(message, table.sender, table.to, options)
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    talk.putcmd("quit")  # it has taken the mail; what it says to this is not waited for
                talk.close()
        except _TooMuch:
            raise AnchorError(f"{server} says more than {MAX_ANSWERS} bytes; is it one? {_REMEDY}") from None
        except ssl.SSLCertVerificationError as error:
            told = error.verify_message or "it is not trusted"
            raise AnchorError(f"{server} has a wrong certificate ({told}); {_REMEDY}.ca_file") from None
        except (OSError, smtplib.SMTPException) as error:
            told = limit.why() if not limit.left() else f"did not take the mail ({_plain(error)})"
            raise AnchorError(f"{server} {told}; {_REMEDY}") from None
        if refused:
            raise AnchorError(f"{server} refused {len(refused)} of {len(table.to)} addresses; {_REMEDY}.to")

    def _trusted(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._certificates)
        except (OSError, ValueError) as error:
            raise AnchorError(f"{self._certificates} cannot be read ({error}); {_REMEDY}.ca_file") from None

    def _secret(self) -> str:
        assert self._password is not None
        try:
            with self._password.open(encoding="utf-8") as file:
                return file.read(MAX_PASSWORD).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise AnchorError(f"{self._password} cannot be read ({error}); {_REMEDY}.password_file") from None

    def read(self, _: Limit) -> Iterator[Sealed]:
        """Nobody but who got the mail can."""
        raise AnchorError("mail is read by hand: save it, and name its file to ivr-consent log verify")


def mail(sealed: Sealed, sender: str, to: list[str]) -> EmailMessage:
    """The mail of a checkpoint: the note is its whole body, so that the mail's own text can be verified as it is."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = f"Checkpoint of log {sealed.log_id}: {sealed.size} events, {sealed.checkpoint.time}"
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid("ivr-consent", sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(sealed.note, charset="utf-8", cte="8bit")
    return message


def _code_for_seven_bits(message: EmailMessage) -> None:
    body = message.get_content()
    message.set_content(body, charset="utf-8", cte="quoted-printable")


def _plain(error: Exception) -> str:
    """What a server said, as a line: it is shown to an administrator."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"it refused all of {len(error.recipients)} addresses"
    said = error.smtp_error if isinstance(error, smtplib.SMTPResponseException) else str(error) or type(error).__name__
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


class _TooMuch(Exception):
    """A server talks without end."""


class _Bounded:
    """A server's answers as a file, up to a bound."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, MAX_ANSWERS

    def readline(self, limit: int = -1) -> bytes:
        """As of a file."""
        line = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise _TooMuch
        return line

    def close(self) -> None:
        """As of a file."""
        self._file.close()


class _Talk(smtplib.SMTP):
    """SMTP over a connection that is there already, with a bound on what the server says in all."""

    file: Any = None

    def __init__(self, link: socket.socket, host: str, tls: ssl.SSLContext | None) -> None:
        self._link, self._tls = link, tls
        here = link.getsockname()[0]
        # No name of ours: to ask for it could take as long as it likes.
        super().__init__(host, 1, local_hostname=f"[IPv6:{here}]" if ":" in here else f"[{here}]")

    def connect(self, host: str = "", port: int = 0, source_address: object = None) -> tuple[int, bytes]:
        """Called by smtplib: take the connection, hear the greeting."""
        self.sock = self._link if self._tls is None else self._tls.wrap_socket(self._link, server_hostname=host)
        return self.getreply()

    def getreply(self) -> tuple[int, bytes]:
        """As smtplib's."""
        if self.file is None:
            assert self.sock is not None
            self.file = _Bounded(self.sock.makefile("rb"))
        return super().getreply()
