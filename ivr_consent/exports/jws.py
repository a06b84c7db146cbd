"""The signed form of a vCon: JWS, general JSON serialisation (RFC 7515, 7.2.1), by the site's key.

draft-ietf-vcon-vcon-core asks for ``x5c`` or ``x5u`` in the unprotected header and recommends RS256. The site's key is
Ed25519, so ``alg`` is EdDSA (RFC 8037): readers that know RS256 alone cannot check it. ``x5c`` holds the certificate
that the site has for its key, else one that the key has signed itself: then it carries the public key and vouches for
nothing, and who checks compares it with the site's published key. The draft's text wants ``alg`` in the unprotected
header; RFC 7515 wants each name in one of the two headers only. It stands in the protected one, under the signature.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from ivr_consent.core.errors import SignatureError
from ivr_consent.exports.jsonld import dumped
from ivr_consent.signing import Signer, read_plain

ALGORITHM: Final = "EdDSA"
MAX_CERTIFICATES_BYTES: Final = 1 << 18

_NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""No well-defined end (RFC 5280, 4.1.2.5)."""


@dataclass(frozen=True, slots=True)
class Signatory:
    """Who signs: the site's key, and its certificates as ``x5c`` has them, its own first."""

    by: Signer
    chain: tuple[str, ...]


def signatory(by: Signer, certificates: Path | None, now: datetime) -> Signatory:
    """The site's key with its certificates. Raises :class:`SignatureError` for certificates that are not of this key.

    ``certificates``: a PEM file, the key's own first, then who vouches for it, in order; ``None``: made here.
    """
    if certificates is None:
        made = by.certificate("ivr-consent signing key", now.replace(microsecond=0), _NEVER)
        return Signatory(by, (base64.b64encode(made).decode(),))
    try:
        pem, _ = read_plain(certificates, MAX_CERTIFICATES_BYTES + 1)
        chain = x509.load_pem_x509_certificates(pem)
    except OSError as error:
        raise SignatureError(f"{certificates}: the certificates cannot be read ({error.strerror})") from None
    except ValueError:
        raise SignatureError(f"{certificates}: no certificates in PEM; export them with their chain") from None
    if not _belongs(chain[0], by):
        raise SignatureError(
            f"{certificates}: the first certificate is not of the site's signing key; put that key's own first"
        )
    return Signatory(by, tuple(base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain))


def _belongs(certificate: x509.Certificate, by: Signer) -> bool:
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(by.sign(b""), b"")
    except InvalidSignature:
        return False
    return True


def signed(document: dict[str, Any], identifier: str, who: Signatory) -> bytes:
    """A vCon in its signed form, one line of JSON. ``identifier``: the vCon's UUID."""
    payload = encoded(dumped(document))
    protected = encoded(dumped({"alg": ALGORITHM}))
    signature = encoded(who.by.sign(f"{protected}.{payload}".encode()))
    header = {"x5c": list(who.chain), "uuid": identifier}
    return dumped(
        {"payload": payload, "signatures": [{"protected": protected, "header": header, "signature": signature}]}
    )


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
