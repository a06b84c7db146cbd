"""Keys and signed lines: what is accepted is ours to the last bit, and a key is never lost or overwritten."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent import signing
from ivr_consent.core.errors import SignatureError
from ivr_consent.signing import create_keys, key_pair, opened, public_path, sealed, signer, verifier

PEM, NO_PASSWORD = form.Encoding.PEM, form.NoEncryption()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "notices.key"
    assert create_keys(path)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def within_seconds(work: Callable[[], Any], seconds: float = 10.0) -> None:
    """Something that must not hang: it ends, or the test fails and does not hang either."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"


# --- key files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_modes(tmp_path: Path, umask: int) -> None:
    """The private key is its owner's alone and the public one everybody's, whatever the umask."""
    before = os.umask(umask)
    try:
        create_keys(tmp_path / "notices.key")
    finally:
        os.umask(before)
    assert mode(tmp_path / "notices.key") == 0o600
    assert mode(tmp_path / "notices.key.pub") == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notices.key", "notices.key.pub"]


def test_keys_are_made_once(key: Path) -> None:
    before = key.read_bytes(), public_path(key).read_bytes()
    assert not create_keys(key)
    assert (key.read_bytes(), public_path(key).read_bytes()) == before


@pytest.mark.parametrize("content", [b"", b"not a key\n"], ids=["empty", "garbage"])
def test_what_stands_in_the_keys_place_is_never_overwritten(tmp_path: Path, content: bytes) -> None:
    """Whoever put it there may still have use for it: say what is wrong instead."""
    path = tmp_path / "notices.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SignatureError, match=r"not an Ed25519 key"):
        create_keys(path)
    assert path.read_bytes() == content
    assert not public_path(path).exists()


def test_a_lost_public_key_is_made_again(key: Path) -> None:
    """It follows from the private one: what was signed before is still good."""
    line = sealed({"a": 1}, signer(key))
    before = public_path(key).read_bytes()
    public_path(key).unlink()
    assert not create_keys(key)
    assert public_path(key).read_bytes() == before
    assert opened(line, verifier(key)) == {"a": 1}


def test_a_lost_private_key_is_not_replaced(key: Path) -> None:
    """Beside the public key of another, a new private key would sign what nobody accepts: every line would stop."""
    public = public_path(key).read_bytes()
    key.unlink()
    with pytest.raises(SignatureError, match=r"notices\.key.*missing.*restore it from its copy"):
        create_keys(key)
    assert not key.exists()
    assert public_path(key).read_bytes() == public


def test_keys_of_two_pairs_are_no_pair(key: Path, tmp_path: Path) -> None:
    """A public key that was exchanged: told before anything is signed."""
    other = tmp_path / "other.key"
    create_keys(other)
    line = sealed({"line": "support"}, key_pair(key)[0])
    assert opened(line, key_pair(key)[1]) == opened(line, verifier(key))
    public_path(key).write_bytes(public_path(other).read_bytes())
    with pytest.raises(SignatureError, match=r"notices\.key\.pub.*does not belong to"):
        key_pair(key)


def test_many_make_one_pair(tmp_path: Path) -> None:
    """Two administrators build at the same time: one pair of keys, and it fits."""
    path = tmp_path / "notices.key"
    barrier = threading.Barrier(8)
    failed: list[SignatureError] = []
    made: list[bool] = []

    def make() -> None:
        barrier.wait(60)
        try:
            made.append(create_keys(path))
        except SignatureError as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failed == []
    assert made.count(True) <= 1
    key_pair(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["notices.key", "notices.key.pub"]


def test_an_earlier_one_that_was_killed_is_not_in_the_way(tmp_path: Path) -> None:
    """Its half-made file has the process id in its name, and ids come again."""
    (tmp_path / f".notices.key.{os.getpid()}").write_bytes(b"half")
    assert create_keys(tmp_path / "notices.key")
    key_pair(tmp_path / "notices.key")


def test_killed_between_the_two_keys(tmp_path: Path) -> None:
    """The next one makes the public key of the private one that is there."""
    path = tmp_path / "notices.key"
    code = (
        "import os, signal, sys; from pathlib import Path; from ivr_consent import signing\n"
        "def kill(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "signing._public_pem = kill\n"
        "signing.create_keys(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.exists()
    assert not public_path(path).exists()
    before = path.read_bytes()
    assert not create_keys(path)
    assert path.read_bytes() == before
    key_pair(path)


def test_nowhere_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SignatureError, match=r"cannot be made .*see who may write there"):
        create_keys(tmp_path / "file" / "notices.key")
    with pytest.raises(SignatureError, match="cannot be made"):
        create_keys(tmp_path / "nowhere" / "notices.key")


# --- what is no key of ours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o620, 0o601], ids=oct)
def test_a_key_that_others_can_read_is_refused(key: Path, bits: int) -> None:
    key.chmod(bits)
    with pytest.raises(SignatureError, match=f"can be read by others; chmod 600 {key}"):
        signer(key)


def test_a_key_that_its_owner_alone_can_read(key: Path) -> None:
    key.chmod(0o400)
    signer(key)


def test_no_key(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"notices\.key: the signing key cannot be read \(No such file"):
        signer(tmp_path / "notices.key")
    with pytest.raises(SignatureError, match=r"notices\.key\.pub: the public key of the notices cannot be read"):
        verifier(tmp_path / "notices.key")


def private_pem(of: Any) -> bytes:
    return bytes(of.private_bytes(PEM, form.PrivateFormat.PKCS8, NO_PASSWORD))


def public_pem(of: Any) -> bytes:
    return bytes(of.public_key().public_bytes(PEM, form.PublicFormat.SubjectPublicKeyInfo))


OTHERS = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "X25519": x25519.X25519PrivateKey.generate(),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_key_of_another_kind(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "notices.key"
    path.write_bytes(private_pem(OTHERS[kind]))
    path.chmod(0o600)
    public_path(path).write_bytes(public_pem(OTHERS[kind]))
    with pytest.raises(SignatureError, match=r"notices\.key: not an Ed25519 key"):
        signer(path)
    with pytest.raises(SignatureError, match=r"notices\.key\.pub: not an Ed25519 public key"):
        verifier(path)


def _unknown(pem: bytes) -> bytes:
    """The same key by the name of an algorithm that nobody knows: 1.3.101.112 becomes 1.3.101.127."""
    head, *body, foot = pem.splitlines()
    der = base64.b64decode(b"".join(body)).replace(b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x7f")
    return b"\n".join((head, base64.b64encode(der), foot, b""))


ED = ed25519.Ed25519PrivateKey.generate()
GARBAGE = {
    "empty": b"",
    "text": b"nothing of the kind\n",
    "zeros": bytes(200),
    "long": b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 100_000,
    "half": private_pem(ED)[:60],
    "the wrong half": public_pem(ED) + b"x",
    "with a password": ED.private_bytes(PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret")),
    "unknown algorithm": _unknown(private_pem(ED)),
    "unknown public algorithm": _unknown(public_pem(ED)),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_for_a_private_key(tmp_path: Path, what: str) -> None:
    path = tmp_path / "notices.key"
    path.write_bytes(GARBAGE[what])
    path.chmod(0o600)
    with pytest.raises(SignatureError, match=r"notices\.key: not an Ed25519 key"):
        signer(path)


@pytest.mark.parametrize("what", [what for what in GARBAGE if what != "the wrong half"])
def test_garbage_for_a_public_key(tmp_path: Path, what: str) -> None:
    path = tmp_path / "notices.key"
    public_path(path).write_bytes(GARBAGE[what])
    with pytest.raises(SignatureError, match=r"notices\.key\.pub: not an Ed25519 public key"):
        verifier(path)


def test_the_private_key_is_not_taken_for_the_public_one(key: Path) -> None:
    """Copied to the wrong name, it would be readable by everybody."""
    public_path(key).write_bytes(key.read_bytes())
    with pytest.raises(SignatureError, match="not an Ed25519 public key"):
        verifier(key)


@pytest.mark.parametrize("which", ["private", "public"])
def test_a_pipe_in_a_keys_place_does_not_hang(tmp_path: Path, which: str) -> None:
    path = tmp_path / "notices.key"
    os.mkfifo(path if which == "private" else public_path(path), 0o600)

    def read() -> None:
        with pytest.raises(SignatureError, match="not a plain file"):
            (signer if which == "private" else verifier)(path)

    within_seconds(read)


@pytest.mark.parametrize("which", ["private", "public"])
def test_a_folder_in_a_keys_place(tmp_path: Path, which: str) -> None:
    path = tmp_path / "notices.key"
    (path if which == "private" else public_path(path)).mkdir(mode=0o700)
    with pytest.raises(SignatureError, match=r"cannot be read|not a plain file"):
        (signer if which == "private" else verifier)(path)


# --- signed lines -----------------------------------------------------------------------------------------------------

DOCUMENTS = st.dictionaries(
    st.text(st.characters(codec="ascii"), max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[signing.Signer, signing.Verifier]:
    path = tmp_path_factory.mktemp("keys") / "notices.key"
    create_keys(path)
    return key_pair(path)


@given(document=DOCUMENTS)
def test_what_is_sealed_can_be_opened(pair: tuple[signing.Signer, signing.Verifier], document: dict[str, Any]) -> None:
    line = sealed(document, pair[0])
    assert line.endswith(b"\n")
    assert line.count(b"\n") == line.count(b"\t") == 1
    found = opened(line, pair[1])
    assert sealed(found, pair[0]) == line, "the same document has the same line"


def refused(line: bytes, by: signing.Verifier) -> None:
    with pytest.raises(SignatureError):
        opened(line, by)


def test_no_bit_can_be_turned(pair: tuple[signing.Signer, signing.Verifier]) -> None:
    """Every bit of a line: of the document, the tab, the signature with its padding, and the line feed."""
    line = sealed({"line": "support", "version": 1}, pair[0])
    for at in range(len(line)):
        for bit in range(8):
            refused(line[:at] + bytes([line[at] ^ 1 << bit]) + line[at + 1 :], pair[1])


@given(data=st.data())
def test_no_byte_can_be_put_in_or_taken_out(pair: tuple[signing.Signer, signing.Verifier], data: st.DataObject) -> None:
    line = sealed({"line": "support", "by": "Ærø"}, pair[0])
    begin = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(begin, min(begin + 3, len(line))))
    put = data.draw(st.binary(max_size=3) | st.sampled_from([b"\t", b"\n", b"\r", b" ", b"=", b"\0"]))
    changed = line[:begin] + put + line[end:]
    if changed != line:
        refused(changed, pair[1])


def test_what_is_no_signed_line(pair: tuple[signing.Signer, signing.Verifier]) -> None:
    by, check = pair
    line = sealed({"a": 1}, by)
    data, _, coded = line.partition(b"\t")
    wrong = {
        "nothing": b"",
        "a line feed": b"\n",
        "a tab": b"\t\n",
        "no tab": data + coded,
        "no signature": data + b"\t\n",
        "two tabs": data + b"\t\t" + coded,
        "a second signature": data + b"\t" + coded[:-1] + b"\t" + coded,
        "the signature alone": b"\t" + coded,
        "twice": line + line,
        "trailing space": line[:-1] + b" \n",
        "trailing bytes": line + b"x",
        "a second line feed": line + b"\n",
        "a carriage return": line[:-1] + b"\r\n",
        "no line feed": line[:-1],
        "unused bits of base64": line[:-4] + bytes([line[-4] + 1]) + line[-3:],
        "url-safe base64": data + b"\t" + base64.urlsafe_b64encode(b"\xff" * 64) + b"\n",
        "zeros": data + b"\t" + base64.b64encode(bytes(64)) + b"\n",
        "a short signature": data + b"\t" + base64.b64encode(by.sign(data)[:63]) + b"\n",
        "a long signature": data + b"\t" + base64.b64encode(by.sign(data) + b"\0") + b"\n",
        "of other data": b'{"a":2}\t' + coded,
    }
    for what, changed in wrong.items():
        with pytest.raises(SignatureError):
            pytest.fail(f"{what}: {opened(changed, check)}")


def test_the_other_form_of_a_signature(pair: tuple[signing.Signer, signing.Verifier]) -> None:
    """Ed25519 signatures have a twin (S + L) that careless programs accept; then a chained digest would be in vain."""
    by, check = pair
    data = b'{"a":1}'
    signature = by.sign(data)
    order = 2**252 + 27742317777372353535851937790883648493
    twin = int.from_bytes(signature[32:], "little") + order
    if twin < 2**256:
        assert not check.good(data, signature[:32] + twin.to_bytes(32, "little"))
    assert check.good(data, signature)


def test_signed_with_another_key(pair: tuple[signing.Signer, signing.Verifier], tmp_path: Path) -> None:
    create_keys(tmp_path / "other.key")
    refused(sealed({"a": 1}, signer(tmp_path / "other.key")), pair[1])


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b'"text"', b"1", b"{", b"\xff", b"[" * 200_000, b"1" * 5000, b'{"a":1,"a":2}', b'{"a": 1}'],
    ids=["nothing", "null", "list", "text", "number", "half", "no UTF-8", "deep", "huge", "twice", "spaced"],
)
def test_signed_by_us_and_no_document(pair: tuple[signing.Signer, signing.Verifier], data: bytes) -> None:
    """Somebody with the key signed it by hand: still told as an error of ours."""
    refused(data + b"\t" + base64.b64encode(pair[0].sign(data)) + b"\n", pair[1])


# --- by other programs ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_what_we_sign(key: Path, tmp_path: Path) -> None:
    """An auditor needs no program of ours: the two parts of a line and the public key."""
    data, _, coded = sealed({"line": "support", "version": 3}, signer(key)).rstrip(b"\n").partition(b"\t")
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "signature").write_bytes(base64.b64decode(coded))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(public_path(key)), "-in"]
    files = [str(tmp_path / "data"), "-sigfile", str(tmp_path / "signature")]
    done = subprocess.run([*command, *files], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "data").write_bytes(data + b" ")
    done = subprocess.run([*command, *files], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_key_that_openssl_made(tmp_path: Path) -> None:
    path = tmp_path / "notices.key"
    before = os.umask(0o077)
    try:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], timeout=60, check=True)
    finally:
        os.umask(before)
    assert not create_keys(path)
    by, check = key_pair(path)
    assert opened(sealed({"a": 1}, by), check) == {"a": 1}
