"""Signed vCons: checked here by code that knows RFC 7515 and nothing of ours."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from ivr_consent.core.errors import SignatureError
from ivr_consent.exports.jws import encoded, signatory, signed
from ivr_consent.signing import Signer, create_keys, public_path, signer

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
DOCUMENT = {"vcon": "0.4.0", "uuid": "019cadac-5bc0-841b-a242-c0957adfec41", "parties": [{"name": "Ærø"}]}


def decoded(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def check(data: bytes, key: Ed25519PublicKey) -> dict[str, Any]:
    """The payload of a JWS in general serialisation, as RFC 7515, 5.2 has it checked. Raises InvalidSignature."""
    whole = json.loads(data)
    assert whole.keys() == {"payload", "signatures"}
    (one,) = whole["signatures"]
    assert one.keys() == {"protected", "header", "signature"}
    protected = json.loads(decoded(one["protected"]))
    assert not protected.keys() & one["header"].keys()  # RFC 7515, 7.2.1: disjoint
    assert {**protected, **one["header"]}["alg"] == "EdDSA"
    key.verify(decoded(one["signature"]), f"{one['protected']}.{whole['payload']}".encode())
    found: dict[str, Any] = json.loads(decoded(whole["payload"]))
    return found


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "notices.key"
    create_keys(path)
    return path


@pytest.fixture
def public(key: Path) -> Ed25519PublicKey:
    """What a site publishes."""
    found = form.load_pem_public_key(public_path(key).read_bytes())
    assert isinstance(found, Ed25519PublicKey)
    return found


def make(by: Signer, certificates: Path | None = None) -> bytes:
    return signed(DOCUMENT, DOCUMENT["uuid"], signatory(by, certificates, NOW))  # type: ignore[arg-type]  # the document is a plain dict


def test_it_verifies_with_the_published_key(key: Path, public: Ed25519PublicKey) -> None:
    data = make(signer(key))
    assert check(data, public) == DOCUMENT
    assert json.loads(data)["signatures"][0]["header"]["uuid"] == DOCUMENT["uuid"]
    assert b"\n" not in data


def test_a_known_answer() -> None:
    """RFC 8037, A.4: the signature over this header and this payload."""
    raw = decoded("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
    by = Signer(Ed25519PrivateKey.from_private_bytes(raw))
    protected, payload = encoded(b'{"alg":"EdDSA"}'), encoded(b"Example of Ed25519 signing")
    assert (protected, payload) == ("eyJhbGciOiJFZERTQSJ9", "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")
    assert encoded(by.sign(f"{protected}.{payload}".encode())) == (
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )


@pytest.mark.parametrize("part", ["payload", "protected", "signature"])
def test_a_change_anywhere_is_found(key: Path, public: Ed25519PublicKey, part: str) -> None:
    whole = json.loads(make(signer(key)))
    other = {
        "payload": encoded(json.dumps({**DOCUMENT, "vcon": "0.4.1"}).encode()),
        "protected": encoded(b'{"alg":"EdDSA" }'),
        "signature": encoded(bytes(64)),
    }
    (whole if part == "payload" else whole["signatures"][0])[part] = other[part]
    with pytest.raises(InvalidSignature):
        check(json.dumps(whole).encode(), public)


def test_the_certificate_that_it_brings_is_of_the_key(key: Path, public: Ed25519PublicKey) -> None:
    """The draft wants one; this one vouches for nothing, and is of the published key."""
    (coded,) = json.loads(make(signer(key)))["signatures"][0]["header"]["x5c"]
    certificate = x509.load_der_x509_certificate(base64.b64decode(coded, validate=True))
    assert raw(certificate.public_key()) == raw(public)
    assert certificate.issuer == certificate.subject
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_before_utc <= NOW < certificate.not_valid_after_utc


def raw(key: object) -> bytes:
    assert isinstance(key, Ed25519PublicKey)
    return key.public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)


def chain(key: Ed25519PublicKey) -> bytes:
    """The certificate of a key by an authority, and the authority's own, in PEM."""
    authority = Ed25519PrivateKey.generate()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example authority")])
    found = b""
    for public, name in ((key, "consent.example.org"), (authority.public_key(), "Example authority")):
        builder = x509.CertificateBuilder(
            issuer, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), public, x509.random_serial_number()
        )
        made = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=90)).sign(authority, None)
        found += made.public_bytes(form.Encoding.PEM)
    return found


def test_certificates_of_the_site_are_brought_along(key: Path, public: Ed25519PublicKey, tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(chain(public))
    data = make(signer(key), path)
    assert check(data, public) == DOCUMENT
    own, authority = json.loads(data)["signatures"][0]["header"]["x5c"]
    certificate = x509.load_der_x509_certificate(base64.b64decode(own))
    assert raw(certificate.public_key()) == raw(public)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(base64.b64decode(authority)))


def test_certificates_of_another_key_are_refused(key: Path, tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(chain(Ed25519PrivateKey.generate().public_key()))
    with pytest.raises(SignatureError, match="not of the site's signing key"):
        make(signer(key), path)
    path.write_text("nothing")
    with pytest.raises(SignatureError, match="no certificates"):
        make(signer(key), path)
    with pytest.raises(SignatureError, match="cannot be read"):
        make(signer(key), tmp_path / "none.pem")
