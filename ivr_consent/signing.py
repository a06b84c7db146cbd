"""Ed25519 signatures of what this site vouches for: the manifests of its notices.

The private key signs on the administrator's command line; the service reads the public one alone. What is signed is a
line of text, ``JSON TAB SIGNATURE``; keys are PEM files, so ``openssl pkeyutl -verify -rawin`` checks it too.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import SignatureError

SIGNATURE_BYTES: Final = 64
MAX_KEY_BYTES: Final = 4096


def public_path(private: Path) -> Path:
    """Where the public half of a key is: beside it, ``.pub``."""
    return private.with_name(f"{private.name}.pub")


def create_keys(private: Path) -> bool:
    """Make a pair of keys where there is none; whether one was made. Raises :class:`SignatureError`."""
    public = public_path(private)
    made = False
    try:
        if public.exists() and not private.exists():  # in this order: who makes a pair makes the private one first
            raise SignatureError(
                f"{private}: the signing key is missing beside its public one; restore it from its copy (to begin anew "
                f"without one, move {public.name} and the folder of the versions away)"
            )
        if not private.exists():
            key = Ed25519PrivateKey.generate()
            pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
            made = _write_new(private, pem, 0o600)
        if not public.exists():
            # Made from the private one: its loss stops lines, and costs nothing to mend.
            _write_new(public, _public_pem(_private(private)), 0o644)
    except OSError as error:
        raise SignatureError(
            f"{private}: the signing key cannot be made ({error.strerror}); see who may write there"
        ) from None
    return made


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def _write_new(path: Path, data: bytes, mode: int) -> bool:
    """Whole or not at all, and never over another: whether it was written."""
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
    finally:
        Path(aside).unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def read_plain(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """The first bytes of a plain file, and its state. Raises :class:`OSError`, also for a pipe, which would hang."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        return file.read(limit), state


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        pem, state = read_plain(path, MAX_KEY_BYTES)
        if stat.S_IMODE(state.st_mode) & 0o077:
            raise SignatureError(f"{path}: the signing key can be read by others; chmod 600 {path}")
        key = form.load_pem_private_key(pem, password=None)
    except OSError as error:
        raise SignatureError(
            f"{path}: the signing key cannot be read ({error.strerror}); run this as its owner, or restore its copy"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SignatureError(f"{path}: not an Ed25519 key in PEM; restore it from its copy") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path}: not an Ed25519 key; restore it from its copy")
    return key


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with the site's private key. Made by :func:`signer`."""

    _key: Ed25519PrivateKey

    def sign(self, data: bytes) -> bytes:
        """The signature over these very bytes, 64 bytes."""
        return self._key.sign(data)

    def certificate(self, name: str, begin: datetime, end: datetime) -> bytes:
        """A certificate of this key that it has signed itself (DER): a form that the public key is asked for in."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(subject, subject, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(end)
        return builder.sign(self._key, None).public_bytes(form.Encoding.DER)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks signatures against the site's public key. Made by :func:`verifier`."""

    _key: Ed25519PublicKey

    def good(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature is ours, over these very bytes."""

        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def signer(private: Path) -> Signer:
    """Read the private key. Raises :class:`SignatureError`."""
    return Signer(_private(private))


def verifier(private: Path) -> Verifier:
    """Read the public key that belongs to a private key's file. Raises :class:`SignatureError`."""
    return verifier_of(public_path(private))


def verifier_of(path: Path) -> Verifier:
    """Read a public key. Raises :class:`SignatureError`."""
    try:
        pem, _ = read_plain(path, MAX_KEY_BYTES)
        key = form.load_pem_public_key(pem)
    except OSError as error:
        raise SignatureError(
            f"{path}: the public key of the notices cannot be read ({error.strerror}); "
            "restore it from its copy, or make it from the private key: ivr-consent prompts build"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureError(f"{path}: not an Ed25519 public key in PEM; restore it from its copy") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path}: not an Ed25519 public key; restore it from its copy")
    return Verifier(key)


def key_pair(private: Path) -> tuple[Signer, Verifier]:
    """Both keys, which belong together. Raises :class:`SignatureError`: else we would sign what nobody accepts."""
    by, check = signer(private), verifier(private)
    if not check.good(b"", by.sign(b"")):
        raise SignatureError(
            f"{public_path(private)}: does not belong to the signing key {private.name}; restore both from one copy"
        )
    return by, check


# --- signed lines ------------------------------------------------------------------------------------------------


def sealed(document: Mapping[str, Any], by: Signer) -> bytes:
    """A document as one signed line: its canonical JSON, a tab, the signature in base64, a line feed."""
    data = canonical(document)
    return data + b"\t" + base64.b64encode(by.sign(data)) + b"\n"


def opened(line: bytes, by: Verifier) -> dict[str, Any]:
    """The document of one signed line. Raises :class:`SignatureError` when it is not ours, whole and unchanged.

    One document has one line: another coding of the same signature, or of the same values, is not accepted either.
    """
    data, _, coded = line.partition(b"\t")
    try:
        signature = base64.b64decode(coded.removesuffix(b"\n"), validate=True)
    except ValueError:
        raise SignatureError("it was changed after it was signed") from None
    if (
        len(signature) != SIGNATURE_BYTES
        or coded != base64.b64encode(signature) + b"\n"
        or not by.good(data, signature)
    ):
        raise SignatureError("it was changed after it was signed, or signed with another key")
    try:
        document = json.loads(data)
        canonically = isinstance(document, dict) and canonical(document) == data
    except (ValueError, TypeError, RecursionError):
        canonically = False
    if not canonically:
        raise SignatureError("it is not a document of ours")
    return dict(document)
