"""A time-stamp service (RFC 3161): it signs when a checkpoint was there.

Its answer counts once it is verified: it is about this very note and this very question, and its signature comes from
the configured certificates, which were valid at the time that it tells. The answer is kept, and verified again by
whoever reads the log; with the note it also stands for itself:
``openssl ts -verify -data SIZE.note -in SIZE.tsr -CAfile ca.pem``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509

from ivr_consent.anchors.file import read_file
from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import MAX_PROOF, AnchorError, Limit, Told
from ivr_consent.anchors.web import post
from ivr_consent.config_anchors import TimestampAnchor as Table
from ivr_consent.core.errors import ConsentError
from ivr_consent.store.files import write
from ivr_consent.verifier import NoteError

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

QUERY: Final = "application/timestamp-query"

MAX_AGE: Final = timedelta(days=1)
"""So far may a new time-stamp be from this machine's clock: one of the two is wrong else."""

MAX_CERTIFICATES: Final = 1 << 20
"""Bytes of a file of certificates."""

NOTE: Final = ".note"
STAMP: Final = ".tsr"

_REMEDY: Final = "see log.anchors.timestamp"


class TokenError(ConsentError):
    """A time-stamp is not good; says why."""


class TimestampAnchor:
    """The answers stand in the log; with ``directory`` also beside it, where a change of the log does not reach."""

    name = "timestamp"

    def __init__(self, table: Table, certificates: Path, directory: Path | None) -> None:
        """``certificates`` and ``directory``: the table's, with absolute paths."""
        self._url = table.url
        self.where = urlsplit(table.url)._replace(query="").geturl()  # there may be a key of the site's in it
        self.every_s, self.timeout_s = table.every_hours * 3600.0, float(table.timeout_seconds)
        self.readable = directory is not None
        self._certificates, self._directory = certificates, directory

    def publish(self, sealed: Sealed, limit: Limit) -> bytes:
        """Ask for a time-stamp, verify it, keep it; the whole answer as proof."""
        judge = self.judge()
        note = sealed.note.encode()
        question, nonce = _question(note)
        answer = post(self._url, question, QUERY, limit, MAX_PROOF, _REMEDY)
        try:
            stamped = judge.time(answer, note, nonce)
        except TokenError as error:
            raise AnchorError(f"the time-stamp service {self.where} {error}; {_REMEDY}") from None
        if abs(datetime.now(UTC) - stamped) > MAX_AGE:
            raise AnchorError(
                f"the time-stamp service {self.where} says that it is {stamped:%Y-%m-%d %H:%M} UTC; "
                "set this machine's clock, or ask another service"
            )
        if self._directory is not None:
            keep(self._directory, sealed, answer)
        return answer

    def judge(self) -> Judge:
        """What verifies its answers. Raises :class:`AnchorError`."""
        return judge(self._certificates)

    def read(self, limit: Limit) -> Iterator[Sealed]:
        """The checkpoints in the directory whose time-stamp is good; the others are passed over."""
        for stamped in self.stamped(limit, lambda _: None):
            yield stamped.sealed

    def stamped(self, limit: Limit, told: Told) -> Iterator[Stamped]:
        """As :meth:`read`, with the times; what is wrong with the others is ``told``."""
        if self._directory is None:
            raise AnchorError("time-stamps stand in the log alone; give log.anchors.timestamp.directory")
        yield from kept(self._directory, self.judge(), limit, told)


@dataclass(frozen=True, slots=True)
class Stamped:
    """A checkpoint that a time-stamp service has seen at a time (UTC)."""

    sealed: Sealed
    time: datetime


class Judge:
    """Verifies time-stamps by the certificates that are trusted."""

    def __init__(self, trusted: list[x509.Certificate]) -> None:
        self._trusted = trusted

    def time(self, answer: bytes, message: bytes, nonce: int | None = None) -> datetime:
        """When the service saw this message, if the answer is good. Raises :class:`TokenError`.

        ``nonce``: of the question, where it is at hand. The certificates have to be valid at the time that is told: a
        time-stamp outlives its service's certificate.
        """
        import rfc3161_client as rfc3161  # noqa: PLC0415 - optional

        response = _decoded(answer)
        verifier = rfc3161.VerifierBuilder(roots=self._trusted, nonce=nonce).build()
        try:
            verifier.verify_message(response, message)
            told = response.tst_info.gen_time
        except (rfc3161.VerificationError, ValueError) as error:
            raise TokenError(f"gave a time-stamp that is not good: {_why(error)}") from None
        return told.astimezone(UTC)


def judge(certificates: Path) -> Judge:
    """What verifies time-stamps by a file of certificates. Raises :class:`AnchorError`."""
    try:
        import rfc3161_client  # noqa: F401, PLC0415 - optional
    except ImportError:
        raise AnchorError(
            "time-stamps need another package; install it beside ivr-consent: pip install rfc3161-client"
        ) from None
    pem = b"".join(read_file(certificates, Limit(10.0)))[:MAX_CERTIFICATES]
    try:
        trusted = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise AnchorError(f"{certificates} holds no certificates in PEM; {_REMEDY}.ca_file") from None
    return Judge(trusted)


def _question(message: bytes) -> tuple[bytes, int]:
    import rfc3161_client as rfc3161  # noqa: PLC0415 - optional

    builder = rfc3161.TimestampRequestBuilder().data(message).hash_algorithm(rfc3161.HashAlgorithm.SHA256)
    request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    assert request.nonce is not None
    return request.as_bytes(), request.nonce


def _decoded(answer: bytes) -> TimeStampResponse:
    import rfc3161_client as rfc3161  # noqa: PLC0415 - optional

    if len(answer) > MAX_PROOF:
        raise TokenError(f"gave more than {MAX_PROOF} bytes")
    try:
        response = rfc3161.decode_timestamp_response(in_order(answer))
        status = response.status
    except (ValueError, TypeError):
        raise TokenError("gave something that is no answer to a question for a time-stamp") from None
    if status != rfc3161.PKIStatus.GRANTED:
        why = "; ".join(_plain(text) for text in response.status_string)
        raise TokenError(f"refused (status {status}{': ' if why else ''}{why})")
    return response


def _why(error: Exception) -> str:
    text = str(error)
    if text.startswith("Error while verifying certificates"):  # followed by a list of the library's own
        return "it is not signed by a certificate that is trusted and was valid then"
    return _plain(text)


def _plain(value: object) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in str(value))[:200]


# --- certificates in order -------------------------------------------------------------------------------------------

_SEQUENCE: Final = 0x30
_EXPLICIT: Final = 0xA0
_CERTIFICATES: Final = 0xA0


def in_order(answer: bytes) -> bytes:
    """The same answer with its certificates as DER orders a set.

    Many services send them as they come, signer first, and the library takes none of these answers. The signature is
    not over them, so that their order may be changed. What is not of the expected form is given back as it is.
    """
    try:
        token = _inside(answer, 0, _SEQUENCE)[1]  # TimeStampResp: status, token
        content = _inside(answer, token[0], _SEQUENCE)[1]  # ContentInfo: type, [0] content
        (signed,) = _inside(answer, content[0], _EXPLICIT)
        for begin, end in _inside(answer, signed[0], _SEQUENCE):
            if answer[begin] == _CERTIFICATES:
                parts = [answer[a:b] for a, b in _inside(answer, begin, _CERTIFICATES)]
                whole = b"".join(sorted(parts))
                return answer[: end - len(whole)] + whole + answer[end:]
    except (IndexError, ValueError):
        pass
    return answer


def _inside(data: bytes, at: int, tag: int) -> list[tuple[int, int]]:
    """Where the elements inside of the one at ``at`` begin and end. Raises :class:`ValueError`, :class:`IndexError`."""
    if data[at] != tag:
        raise ValueError
    at, end = _content(data, at)
    found = []
    while at < end:
        _, after = _content(data, at)
        if after > end:
            raise ValueError
        found.append((at, after))
        at = after
    return found


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of an element begins and ends."""
    length, begin = data[at + 1], at + 2
    if length > 0x80:
        begin += length - 0x80
        length = int.from_bytes(data[at + 2 : begin], "big")
    elif length == 0x80:
        raise ValueError  # no end told: not DER
    if begin + length > len(data):
        raise ValueError
    return begin, begin + length


# --- files -----------------------------------------------------------------------------------------------------------


def keep(directory: Path, sealed: Sealed, answer: bytes) -> None:
    """Write a checkpoint and its time-stamp into a directory, as openssl takes them. Raises :class:`AnchorError`."""
    name = f"{sealed.log_id}-{sealed.size:012d}"
    try:
        for ending, data in ((NOTE, sealed.note.encode()), (STAMP, answer)):
            write(directory / f"{name}{ending}", data, 0o644, f"new-{os.getpid()}")
    except OSError as error:
        raise AnchorError(
            f"{directory} cannot be written ({error.strerror}); give it to the service's user, or see its disk"
        ) from None


def kept(directory: Path, by: Judge, limit: Limit, told: Told) -> Iterator[Stamped]:
    """The checkpoints in a directory whose time-stamp is good; what is wrong with the others is ``told``.

    Raises :class:`AnchorError` where there is no directory to read.
    """
    try:
        names = sorted(path for path in directory.iterdir() if path.suffix == STAMP)
    except OSError as error:
        raise AnchorError(f"{directory} cannot be read ({error.strerror}); {_REMEDY}.directory") from None
    for path in names:
        try:
            answer, note = (b"".join(_beginning(file, limit)) for file in (path, path.with_suffix(NOTE)))
            found = Sealed.parse(note.decode())
            yield Stamped(found, by.time(answer, note))
        except TokenError as error:
            told(f"{path}: it {error}")
        except (AnchorError, NoteError, UnicodeDecodeError) as error:
            told(f"{path}: {error}")


def _beginning(path: Path, limit: Limit) -> Iterator[bytes]:
    """At most so much of a file as an answer may have."""
    size = 0
    for chunk in read_file(path, limit):
        yield chunk
        size += len(chunk)
        if size > MAX_PROOF:
            return
