"""The verifier: published vectors, proofs, keys, checkpoints from outside, hostile files, the stand-alone program."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import quopri
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_consent import verifier
from ivr_consent.store.bundle import write_bundle
from ivr_consent.store.place import Place
from ivr_consent.store.schema import MIGRATIONS
from ivr_consent.store.sealing import good
from ivr_consent.verifier import (
    Checkpoint,
    Event,
    NoteError,
    Outside,
    PublicKey,
    Tree,
    Unreadable,
    commitment,
    consistency_holds,
    consistency_proof,
    genuine,
    inclusion_holds,
    inclusion_proof,
    leaf,
    leaf_hash,
    node_hash,
    note,
    opened,
    outside_in,
    verify,
)
from tests.logs import Made, Writer, small

DATA = Path(__file__).parent / "data"
ALONE = Path(verifier.__file__)
WAIT_S = 120.0


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return small(tmp_path_factory.mktemp("log") / "decisions.db")


@pytest.fixture
def mine(log: Made, tmp_path: Path) -> Made:
    """A copy to do as one likes with."""
    path = tmp_path / "decisions.db"
    shutil.copy(log.path, path)
    return Made(path, log.key, log.notes, log.private, log.log_id)


def alter(made: Made, *statements: str) -> None:
    with closing(sqlite3.connect(made.path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def codes(made: Made, *outside: str, keys: Sequence[PublicKey] | None = None) -> set[str]:
    return {finding.code for finding in made.verify(*outside, keys=keys).findings if finding.level != "notice"}


# --- Ed25519 ---------------------------------------------------------------------------------------------------------

RFC_8032 = [line.split() for line in (DATA / "rfc8032.txt").read_text().splitlines()[1:]]


@pytest.mark.parametrize("vector", RFC_8032, ids=["1", "2", "3", "1024", "SHA(abc)"])
def test_ed25519_vectors_of_the_rfc(vector: list[str]) -> None:
    """RFC 8032, section 7.1, all five."""
    public, message, signature = (bytes.fromhex(value.strip("-")) for value in vector)
    assert genuine(public, message, signature)
    assert not genuine(public, message + b"\x00", signature)
    for bit in (0, 255, 256, 300, 511):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        assert not genuine(public, message, bytes(changed))


ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19


def signed(message: bytes = b"message") -> tuple[bytes, bytes, bytes]:
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(message).digest())
    return private.public_key().public_bytes_raw(), message, private.sign(message)


def encoded(number: int) -> bytes:
    return number.to_bytes(32, "little")


@pytest.mark.parametrize("times", [1, 2, 7])
def test_the_second_half_of_a_signature_has_one_form(times: int) -> None:
    public, message, signature = signed()
    scalar = int.from_bytes(signature[32:], "little") + times * ORDER
    if scalar < 1 << 256:
        assert not genuine(public, message, signature[:32] + encoded(scalar))


@pytest.mark.parametrize("first", [0, 1, ORDER - 1, ORDER, PRIME - 1, PRIME, PRIME + 1, (1 << 255) - 1, 1 << 255])
@pytest.mark.parametrize("second", [0, 1, ORDER - 1, ORDER, ORDER + 1, PRIME, (1 << 256) - 1])
def test_special_values_are_no_signature(first: int, second: int) -> None:
    public, message, _ = signed()
    signature = encoded(first) + encoded(second)
    assert not genuine(public, message, signature)
    assert not good(public, message, signature)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 63, 65, 96, 128])
def test_a_signature_has_64_bytes_and_a_key_32(length: int) -> None:
    public, message, signature = signed()
    assert not genuine(public, message, (signature * 2)[:length])
    assert not genuine((public * 4)[:length] if length != 32 else b"", message, signature)


def test_keys_that_are_no_points_or_not_in_their_one_form() -> None:
    _, message, signature = signed()
    assert not genuine(encoded(2), message, signature), "no point of the curve has this y"
    for y in range(PRIME, 1 << 255):
        assert not genuine(encoded(y), message, signature)


@pytest.mark.parametrize("public", sorted(verifier.SMALL_ORDER), ids=bytes.hex)
def test_a_key_of_small_order_is_none(public: bytes) -> None:
    """Under the neutral element R = s·B is good for every message; a log must not name such a key as its next."""
    scalar = encoded(1)
    base = encoded(4 * pow(5, -1, PRIME) % PRIME)
    assert not genuine(public, b"whatever", base + scalar)
    if public == encoded(1):
        assert good(public, b"whatever", base + scalar), "OpenSSL takes it"


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 1023))
def test_what_is_good_is_what_openssl_says(secret: bytes, message: bytes, bit: int) -> None:
    """Bits of key and signature are flipped: both say the same."""
    private = Ed25519PrivateKey.from_private_bytes(secret)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert genuine(public, message, signature)
    both = bytearray(public + signature)
    both[bit % 768 // 8] ^= 1 << bit % 8
    public, signature = bytes(both[:32]), bytes(both[32:])
    canonical = int.from_bytes(public, "little") & (1 << 255) - 1 < PRIME
    assert genuine(public, message, signature) == (good(public, message, signature) and canonical)


# --- the tree --------------------------------------------------------------------------------------------------------

INPUTS = [
    bytes.fromhex(value)
    for value in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""Leaves of the vectors that implementations of RFC 6962 and 9162 share."""

ROOTS = [
    bytes.fromhex(value)
    for value in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]

INCLUSION = {
    (1, 1): "",
    (1, 8): "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7 "
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e "
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    (6, 8): "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b "
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0 "
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (3, 3): "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    (2, 5): "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d "
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e "
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
}
"""Number of the leaf, from 1, and size of the tree."""

CONSISTENCY = {
    (1, 1): "",
    (1, 8): INCLUSION[1, 8],
    (6, 8): "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a "
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0 "
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (2, 5): "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e "
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    (6, 7): "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a "
    "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f "
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
}


def hashes(text: str) -> list[bytes]:
    return [bytes.fromhex(value) for value in text.split()]


def subtrees(leaves: Sequence[bytes]) -> verifier.Subtree:
    """The hashes of complete subtrees, computed each time from the leaves."""

    def subtree(level: int, number: int) -> bytes:
        if level == 0:
            return leaves[number]
        return node_hash(subtree(level - 1, 2 * number), subtree(level - 1, 2 * number + 1))

    return subtree


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """The definition in RFC 9162, section 2.1.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return node_hash(naive_root(leaves[:middle]), naive_root(leaves[middle:]))


VECTOR_LEAVES = [leaf_hash(data) for data in INPUTS]


def test_published_roots() -> None:
    tree = Tree()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for hashed, root in zip(VECTOR_LEAVES, ROOTS, strict=True):
        tree.append(hashed)
        assert tree.root() == root


@pytest.mark.parametrize("vector", INCLUSION, ids=str)
def test_published_inclusion_proofs(vector: tuple[int, int]) -> None:
    number, size = vector
    proof = hashes(INCLUSION[vector])
    assert inclusion_proof(number - 1, size, subtrees(VECTOR_LEAVES)) == proof
    assert inclusion_holds(VECTOR_LEAVES[number - 1], number - 1, size, proof, ROOTS[size - 1])


@pytest.mark.parametrize("vector", CONSISTENCY, ids=str)
def test_published_consistency_proofs(vector: tuple[int, int]) -> None:
    first, second = vector
    proof = hashes(CONSISTENCY[vector])
    assert consistency_proof(first, second, subtrees(VECTOR_LEAVES)) == proof
    assert consistency_holds(first, second, ROOTS[first - 1], ROOTS[second - 1], proof)


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


@given(st.lists(st.integers(0, 40), max_size=6))
def test_a_tree_grows_the_same_one_by_one_and_in_heaps(heaps: list[int]) -> None:
    leaves = leaves_of(sum(heaps))
    one, many, at = Tree(), Tree(), 0
    for count in heaps:
        many.extend(leaves[at : at + count])
        at += count
        for hashed in leaves[at - count : at]:
            one.append(hashed)
        assert many.peaks == one.peaks
        assert many.size == one.size
        assert many.root() == naive_root(leaves[:at])


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_every_proof_holds_and_no_changed_one(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    root, subtree = naive_root(leaves), subtrees(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, subtree)
    assert inclusion_holds(leaves[index], index, size, proof, root)
    other = data.draw(st.integers(-1, size))
    if other != index:
        assert not inclusion_holds(leaves[index], other, size, proof, root)
    assert not inclusion_holds(leaf_hash(b"another"), index, size, proof, root)
    assert not inclusion_holds(leaves[index], index, size, [*proof, root], root)
    for wrong in changed_proofs(proof):
        assert not inclusion_holds(leaves[index], index, size, wrong, root)
    first = data.draw(st.integers(1, size))
    proof = consistency_proof(first, size, subtree)
    assert consistency_holds(first, size, naive_root(leaves[:first]), root, proof)
    assert not consistency_holds(first, size, leaf_hash(b"another"), root, proof)
    for wrong in changed_proofs(proof):
        assert not consistency_holds(first, size, naive_root(leaves[:first]), root, wrong)


def changed_proofs(proof: list[bytes]) -> list[list[bytes]]:
    flipped = [[*proof[:at], bytes([step[0] ^ 8]) + step[1:], *proof[at + 1 :]] for at, step in enumerate(proof)]
    return flipped + ([proof[:-1], proof[1:]] if proof else [])


def test_the_form_of_a_leaf() -> None:
    """As docs/evidence.md tells it; whoever changes this makes all logs that there are unreadable."""
    event = Event(
        7,
        "2026-01-02T03:04:05.678+00:00",
        "decision",
        "ab" * 16,
        'li"ne\n\u00e9',
        None,
        b"{}",
        b"\x01" * 32,
        b"\x02" * 32,
    )
    text = leaf(event)
    assert json.loads(text) == {
        "call": "ab" * 16,
        "kind": "decision",
        "line": 'li"ne\n\u00e9',
        "outcome": None,
        "payload": hashlib.sha256(b"{}").hexdigest(),
        "personal": "01" * 32,
        "previous": "02" * 32,
        "sequence": 7,
        "time": "2026-01-02T03:04:05.678+00:00",
    }
    whole = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert text == whole.encode(), "canonical"
    assert leaf_hash(text) == hashlib.sha256(b"\x00" + text).digest()


@given(st.binary(max_size=100), st.binary(max_size=300))
def test_a_commitment_is_an_hmac(salt: bytes, data: bytes) -> None:
    import hmac

    assert commitment(salt, data) == hmac.digest(salt, data, "sha256")


# --- signed notes ----------------------------------------------------------------------------------------------------

NOTES = {
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW": (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
        "PeterNeumann",
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
    ),
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k": (
        "This is an example message.\n",
        "example.com/foo",
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=",
    ),
}
"""Published signed notes, by the keys that signed them."""


def published(key: str) -> tuple[str, str]:
    """The text, and the line with its signature."""
    text, name, signature = NOTES[key]
    return text, f"\u2014 {name} {signature}"


@pytest.mark.parametrize("key", NOTES)
def test_published_signed_notes(key: str) -> None:
    """C2SP signed-note, as other programs make them."""
    text, line = published(key)
    parsed = PublicKey.parse(key)
    assert str(parsed) == key
    assert opened(f"{text}\n{line}\n", parsed, genuine) == text
    with pytest.raises(NoteError, match=r"not good"):
        opened(f"{text[:-2]}!\n\n{line}\n", parsed, genuine)


def test_signatures_of_others_are_left_alone() -> None:
    """Witnesses may sign too."""
    (text, line), (_, other) = (published(key) for key in NOTES)
    parsed = PublicKey.parse(next(iter(NOTES)))
    for lines in (f"{line}\n{other}\n", f"{other}\n{line}\n"):
        assert opened(f"{text}\n{lines}", parsed, genuine) == text
    with pytest.raises(NoteError, match=r"signed by example\.com/foo"):
        opened(f"{text}\n{other}\n", parsed, genuine)


@pytest.mark.parametrize("at", range(0, 68, 4))
def test_a_public_key_with_a_changed_character_is_refused(at: int) -> None:
    key = next(iter(NOTES))
    with pytest.raises(NoteError):
        PublicKey.parse(key[:at] + ("x" if key[at] != "x" else "y") + key[at + 1 :])


# --- keys ------------------------------------------------------------------------------------------------------------


def test_without_a_key_the_log_is_consistent_and_no_more(log: Made) -> None:
    report = log.verify(keys=[])
    assert report.status == verifier.INCOMPLETE
    assert {"no_key"} <= codes(log, keys=[])
    assert not report.trusted
    assert report.sealed == 41


def test_a_key_of_another_log_says_nothing(log: Made) -> None:
    other = PublicKey("ivr-consent/0123456789abcdef", log.key.raw)
    report = log.verify(keys=[other])
    assert report.status == verifier.INCOMPLETE
    assert "wrong_key" in codes(log, keys=[other])
    assert log.verify(keys=[other, log.key]).status == verifier.INCOMPLETE, "one of them is not this log's"


def test_a_later_key_vouches_for_all_that_is_below(log: Made) -> None:
    """Somebody took note of the key that a checkpoint named: the root covers everything before."""
    named = Checkpoint.parse(log.notes[25].rpartition("\n\n")[0] + "\n").next_key
    report = log.verify(keys=[named])
    assert report.ok
    assert (report.trusted, report.sealed) == (True, 41)


def replaced(path: Path) -> tuple[Made, PublicKey]:
    """A log that went on under a new key, and that key."""
    log = Writer(path)
    log.call(1)
    log.seal()
    log.call(2)
    log.private = Ed25519PrivateKey.generate()
    made = log.public(log.private)
    log.event("key_replaced", {"key": str(made), "log": log.chain.log_id, "reason": "restored"})
    log.chain.next_key = str(made)
    log.call(3)
    log.seal()
    return log.close(), made


def test_a_key_that_was_replaced_has_to_be_known(tmp_path: Path) -> None:
    log, second = replaced(tmp_path / "decisions.db")
    report = log.verify()
    assert report.status == verifier.INCOMPLETE
    assert codes(log) == {"key_replaced"}
    assert report.sealed == 4, "up to there the first key vouches"
    assert log.verify(keys=[log.key, second]).ok
    assert log.verify(keys=[second]).ok
    assert log.verify(keys=[second]).sealed == 11


def test_nothing_is_sealed_yet(tmp_path: Path) -> None:
    log = Writer(tmp_path / "decisions.db")
    log.call(1)
    made = log.close()
    report = made.verify()
    assert report.status == verifier.INCOMPLETE
    assert codes(made) == {"nothing_sealed"}
    assert report.unsealed_since


# --- what is as it should be -----------------------------------------------------------------------------------------


def test_what_is_told_of_a_log(log: Made) -> None:
    report = log.verify(*log.notes.values())
    assert report.ok
    assert (report.form, report.origin, report.compared) == ("log", f"ivr-consent/{log.log_id}", 6)
    assert {finding.code for finding in report.findings} == {
        "clock_set_back",
        "personal_erased",
        "events_expired",
        "unsealed",
    }
    assert report.root == Checkpoint.parse(log.notes[41].rpartition("\n\n")[0] + "\n").root
    lines = list(verifier.told(report))
    assert lines[-1] == "intact"
    assert json.loads(json.dumps(report.plain()))["ok"] is True


def test_derived_tables_are_not_read(mine: Made) -> None:
    derived = ("decisions", "recordings", "asked", "counts", "nodes", "anchors")
    alter(mine, *(f"DROP TABLE {name}" for name in derived))
    assert mine.verify().ok


def test_events_from_before_the_chain(tmp_path: Path) -> None:
    """Their clock may have run backwards, and nothing said so then."""
    log = Writer(tmp_path / "decisions.db")
    log.call(1)
    log.event("asked", {}, call="x", line="support", time="2025-01-01T00:00:00.000+00:00")
    log.event("log_migrated", {"schema": 1, "events": 5})
    log.seal()
    report = log.close().verify()
    assert report.ok
    (found,) = [finding for finding in report.findings if finding.code == "migrated"]
    assert "their times run backwards 1 times" in found.sentence


def test_the_newest_schema_is_the_newest(mine: Made) -> None:
    """Whoever adds a migration looks whether the verifier still reads what it leaves."""
    assert len(MIGRATIONS) == verifier.NEWEST_SCHEMA
    alter(mine, "PRAGMA user_version = 99")
    report = mine.verify()
    assert report.status == verifier.INCOMPLETE
    assert codes(mine) == {"newer_version"}


def test_a_log_that_is_being_written(tmp_path: Path) -> None:
    """In one state, its write-ahead log beside it."""
    log = Writer(tmp_path / "decisions.db")
    log.call(1)
    log.seal()
    log.chain.save()
    log.database.commit()
    log.database.begin()
    log.call(2)
    assert verify(log.path, [log.key], good=good).events == 4
    log.chain.save()
    log.database.commit()
    log.database.begin()
    assert (tmp_path / "decisions.db-wal").stat().st_size
    assert verify(log.path, [log.key], good=good).events == 7
    log.close()


@pytest.mark.parametrize(
    "name", ["a b#c?d%41.db", "\u00e6\u00f8\u00e5 \u2028.db", "-log", "file:x?mode=rw", "new\nline.db"]
)
def test_odd_file_names(name: str, log: Made, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copy(log.path, path)
    assert verify(path, [log.key], good=good).ok
    assert [entry.name for entry in tmp_path.iterdir()] == [name], "nothing else was written"


def test_a_log_is_not_touched(mine: Made) -> None:
    mine.path.chmod(0o444)
    before = mine.path.read_bytes(), mine.path.stat().st_mtime_ns
    assert mine.verify().ok
    assert (mine.path.read_bytes(), mine.path.stat().st_mtime_ns) == before
    assert [entry.name for entry in mine.path.parent.iterdir()] == [mine.path.name]


# --- checkpoints from outside ----------------------------------------------------------------------------------------


def mail(text: str, coding: str) -> bytes:
    message = EmailMessage()
    message["Subject"] = "Checkpoint of the log"
    message["From"] = message["To"] = "somebody@example.org"
    message.set_content(f"Keep this.\n\n{text}\nRegards\n", cte=coding)
    return message.as_bytes()


KEPT: dict[str, Callable[[str], bytes]] = {
    "alone": lambda text: text.encode(),
    "without the last line's end": lambda text: text.rstrip("\n").encode(),
    "with other text": lambda text: f"noted on Monday\n\n{text}\nand more\n".encode(),
    "with carriage returns": lambda text: text.replace("\n", "\r\n").encode(),
    "indented": lambda text: "".join(f"    {line}\n" for line in text.split("\n")).encode(),
    "quoted": lambda text: "".join(f"> {line}\n" for line in text.split("\n")).encode(),
    "in a journal": lambda text: f"Nov 22 08:00:00 host ivr-consent[1]: {text}".encode(),
    "in JSON": lambda text: json.dumps({"MESSAGE": text}).encode(),
    "in JSON, not ASCII": lambda text: json.dumps({"MESSAGE": text}, ensure_ascii=False).encode(),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()),
    "in a mail": lambda text: mail(text, "8bit"),
    "in a mail, quoted-printable": lambda text: mail(text, "quoted-printable"),
    "in a mail, base64": lambda text: mail(text, "base64"),
    "with bytes of no text": lambda text: b"\xff\xfe\x00" + text.encode() + b"\x80\x81",
}


@pytest.mark.parametrize("how", KEPT)
def test_checkpoints_are_found_in_what_they_were_kept_in(how: str, log: Made) -> None:
    for text in log.notes.values():
        assert [found.note for found in outside_in(KEPT[how](text), "there")] == [text]
    both = KEPT[how](log.notes[25] + log.notes[41])
    if how != "in a journal":
        assert [found.note for found in outside_in(both)] == [log.notes[25], log.notes[41]]


@pytest.mark.parametrize("data", [b"", b"nothing", b"\n" * 10_000, bytes(range(256)) * 50, b"ivr-consent/ab\n" * 1000])
def test_there_is_no_checkpoint(data: bytes) -> None:
    assert outside_in(data) == []


def test_a_checkpoint_of_another_log_is_left_aside(log: Made) -> None:
    text = log.notes[41].replace(log.log_id, "0123456789abcdef")
    assert codes(log, text) == {"outside_unusable"}
    assert log.verify(text).status == verifier.INCOMPLETE


def test_a_changed_checkpoint_from_outside_is_no_word_against_the_log(log: Made) -> None:
    lines = log.notes[41].split("\n")
    lines[2] = base64.b64encode(bytes(32)).decode()
    assert codes(log, "\n".join(lines)) == {"outside_unusable"}


def test_a_checkpoint_from_outside_that_differs(log: Made) -> None:
    """The log was shown to somebody else in another form: both are signed by the same key."""
    text, _, _ = log.notes[41].rpartition("\n\n")
    shown = Checkpoint.parse(f"{text}\n")
    forged = shown._replace(root=bytes(32), size=43)
    key = PublicKey(log.key.name, log.private.public_key().public_bytes_raw())
    assert codes(log, note(forged.text(), key, log.private.sign(forged.text().encode()))) == {"outside_differs"}


# --- what is no log --------------------------------------------------------------------------------------------------


def unreadable(path: Path) -> str:
    with pytest.raises(Unreadable) as error:
        verify(path)
    return str(error.value)


def test_files_that_are_no_logs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert "No such file" in unreadable(path)
    assert "not a file" in unreadable(tmp_path)
    for data, problem in (
        (b"", "0 bytes"),
        (b"x", "may be encrypted"),
        (random.Random(1).randbytes(8192), "may be encrypted"),  # noqa: S311 - noise
        (b"SQLite format 3\x00", "cut off"),
        (b"SQLite format 3\x00" + bytes(4080), "database"),
        (b"{}", "neither a database nor"),
        (b"{" * 100_000, "neither a database nor"),
        (b"\x1f\x8b" + bytes(100), "unpacked"),
        (gzip.compress(b"not a bundle"), "neither a database nor"),
    ):
        path.write_bytes(data)
        assert problem in unreadable(path), data[:50]


def test_a_bundle_of_a_newer_form(tmp_path: Path) -> None:
    path = tmp_path / "newer.jsonl"
    path.write_text('{"bundle":{"form":"ivr-consent evidence 9","log":"ivr-consent/ab"}}\n{"unheard":"of"}\n')
    report = verify(path)
    assert report.status == verifier.INCOMPLETE
    assert [finding.code for finding in report.findings] == ["newer_version"]


def test_another_database(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE events (sequence INTEGER PRIMARY KEY)")
    assert "not a log of ivr-consent" in unreadable(path)


def test_a_log_without_a_chain(mine: Made) -> None:
    alter(mine, "PRAGMA user_version = 1")
    assert "older ivr-consent" in unreadable(mine.path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off(share: float, mine: Made) -> None:
    data = mine.path.read_bytes()
    mine.path.write_bytes(data[: int(len(data) * share)])
    assert "cut off" in unreadable(mine.path)


HOSTILE_TABLES = {
    "a view": ("DROP TABLE pruned", "CREATE VIEW pruned AS SELECT 1 AS sequence, zeroblob(900000000) AS leaf"),
    "a generated column": (
        "ALTER TABLE pruned RENAME TO old",
        "CREATE TABLE pruned (sequence INTEGER PRIMARY KEY, leaf BLOB AS (zeroblob(900000000)))",
    ),
    "no numbers of rows": (
        "ALTER TABLE pruned RENAME TO old",
        "CREATE TABLE pruned (sequence INTEGER PRIMARY KEY, leaf BLOB) WITHOUT ROWID",
    ),
    "sequences of any kind": (
        "ALTER TABLE pruned RENAME TO old",
        "CREATE TABLE pruned (sequence TEXT PRIMARY KEY, leaf BLOB)",
    ),
    "a table missing": ("DROP TABLE personal",),
    "a column missing": ("ALTER TABLE personal DROP COLUMN salt",),
    "a table within the program": (
        "DROP TABLE pruned",
        "CREATE VIRTUAL TABLE pruned USING fts5(sequence, leaf)",
    ),
}


@pytest.mark.parametrize("how", HOSTILE_TABLES)
def test_tables_that_somebody_else_has_made(how: str, mine: Made) -> None:
    with closing(sqlite3.connect(mine.path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            connection.execute(f"DROP TRIGGER {name}")
    alter(mine, *HOSTILE_TABLES[how])
    assert unreadable(mine.path)


def test_nothing_in_a_log_is_run(mine: Made) -> None:
    """Indexes on expressions and triggers of somebody else's are there, and stay without effect."""
    alter(
        mine,
        "CREATE INDEX evil ON events (abs(-9223372036854775807 - sequence * 0))",
        "CREATE TRIGGER evil_one AFTER INSERT ON log BEGIN DELETE FROM events; END",
    )
    assert mine.verify().ok


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = zeroblob(60000000) WHERE sequence = 20",
        "UPDATE events SET kind = CAST(zeroblob(30000000) AS TEXT) WHERE sequence = 20",
        "UPDATE events SET kind = CAST(x'ff41' AS TEXT) WHERE sequence = 20",
        "UPDATE events SET line = CAST(x'80' AS TEXT), call_id = 12 WHERE sequence = 20",
        "UPDATE events SET outcome = char(27) || '[2J' WHERE sequence = 20",
    ],
)
def test_values_that_are_too_large_or_no_text(statement: str, mine: Made) -> None:
    """They are one event's fault: the others are verified."""
    drop = [
        f"DROP TRIGGER {name}"
        for (name,) in closing_rows(mine.path, "SELECT name FROM sqlite_master WHERE type = 'trigger'")
    ]
    alter(mine, *drop, statement)
    report = mine.verify()
    assert report.status == 1
    (found,) = [finding for finding in report.findings if finding.level == "wrong"]
    assert found.code in ("event_malformed", "event_changed")
    assert (found.first, found.last) == (20, 20)
    assert report.sealed == 41


def closing_rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def content(path: Path) -> list[list[tuple[object, ...]]]:
    """What is evidence in a log."""
    return [
        closing_rows(path, query)
        for query in (
            "SELECT * FROM events ORDER BY sequence",
            "SELECT * FROM pruned ORDER BY sequence",
            "SELECT * FROM checkpoints ORDER BY size",
            "SELECT sequence, salt, data FROM personal ORDER BY sequence",
            "SELECT sequence, subject, agent FROM personal WHERE erased = 0 ORDER BY sequence",
            "SELECT * FROM log",
        )
    ]


@pytest.mark.parametrize("seed", range(4))
def test_bits_that_flip_anywhere_in_the_file(seed: int, log: Made, tmp_path: Path) -> None:
    """Whatever happens to the bytes: no crash; and where all is said to be well, all of the evidence is as it was."""
    chance = random.Random(seed)  # noqa: S311 - which bits
    path, whole, bundle = tmp_path / "flipped", log.path.read_bytes(), tmp_path / "bundle"
    with bundle.open("wb") as file:
        write_bundle(Place(log.path), file)
    forms = (whole, bundle.read_bytes(), gzip.compress(bundle.read_bytes()))
    intact = 0
    for number in range(60):
        data = bytearray(forms[number % 3])
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            report = verify(path, [log.key], good=good)
        except Unreadable:
            continue
        assert list(verifier.told(report))
        if report.ok and number % 3 == 0:
            intact += 1
            assert content(path) == content(log.path)
    assert intact, "most of a small file is indexes and empty space"


# --- bundles ---------------------------------------------------------------------------------------------------------


def written(log: Made, path: Path) -> list[bytes]:
    with path.open("wb") as file:
        write_bundle(Place(log.path), file)
    return path.read_bytes().splitlines(keepends=True)


def test_a_bundle_says_what_the_log_says(log: Made, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = written(log, path)
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(b"".join(lines)))
    expected = log.verify()
    for bundle in (path, packed):
        report = verify(bundle, [log.key], good=good)
        assert report.ok
        assert report.form == "bundle"
        assert report.findings == expected.findings
        assert report._replace(log="", form="") == expected._replace(log="", form="")


@pytest.mark.parametrize("at", [1, 3, 10, 40])
def test_a_bundle_whose_end_is_missing(at: int, log: Made, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = written(log, path)
    path.write_bytes(b"".join(lines[:at]))
    report = verify(path, [log.key], good=good)
    assert report.status == 1
    assert "tail_cut" in {finding.code for finding in report.findings}


def test_lines_that_are_none_of_a_bundle(log: Made, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = written(log, path)
    odd = [
        b"\n",
        b"[]\n",
        b'{"event":7}\n',
        b'{"other":{}}\n',
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
        b"1" * 9000 + b"\n",
    ]
    path.write_bytes(b"".join([*lines[:10], *odd, *lines[10:]]))
    report = verify(path, [log.key], good=good)
    wrong = [finding for finding in report.findings if finding.level == "wrong"]
    assert {finding.code for finding in wrong} == {"line_malformed"}
    assert len(wrong) == len(odd)
    assert wrong[0].sentence == "line 11 is none of a bundle"


def test_a_line_that_does_not_end(tmp_path: Path, log: Made) -> None:
    path = tmp_path / "log.jsonl"
    lines = written(log, path)
    path.write_bytes(lines[0] + b'{"event":{"kind":"' + b"x" * (verifier.MAX_LINE + 10))
    with pytest.raises(Unreadable, match="longer than"):
        verify(path, [log.key], good=good)


@pytest.mark.parametrize("field", ["sequence", "time", "kind", "payload", "previous", "personal", "call"])
@pytest.mark.parametrize("value", [None, True, 1e300, -1, 1 << 70, "", [], {}, "\ud800", ["x"] * 3])
def test_values_of_no_sense_in_a_bundle(field: str, value: object, log: Made, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = written(log, path)
    at = next(number for number, line in enumerate(lines) if b'"sequence":20,' in line)
    record = json.loads(lines[at])
    before = record["event"][field]
    record["event"][field] = value
    lines[at] = json.dumps(record).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    report = verify(path, [log.key], good=good)
    assert report.status == (0 if value == before else 1)
    assert list(verifier.told(report))


# --- the program -----------------------------------------------------------------------------------------------------


def alone(folder: Path, *words: str | Path, limit: int = 0) -> subprocess.CompletedProcess[str]:
    """Run nothing but the one file, in a folder where nothing else is; ``limit``: bytes of memory that it may use."""
    program = folder / "verify.py"
    if not program.exists():
        shutil.copy(ALONE, program)

    def limited() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return subprocess.run(
        [sys.executable, "-I", "-S", program, *words],
        cwd=folder,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        preexec_fn=limited if limit else None,
        check=False,
    )


def test_the_stand_alone_file_needs_nothing_else(mine: Made, tmp_path: Path) -> None:
    key = tmp_path / "decisions.pub"
    key.write_text(f"{mine.key}\n")
    done = alone(tmp_path, mine.path, "--key", key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "intact"
    assert alone(tmp_path, mine.path, "--key", str(mine.key), "--quiet").stdout == ""
    told = alone(tmp_path, mine.path, "--key", key, "--json")
    assert json.loads(told.stdout)["exit"] == 0


def test_exit_statuses_of_the_program(mine: Made, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text(mine.notes[41])
    empty = tmp_path / "empty"
    empty.touch()
    key = str(mine.key)
    assert alone(tmp_path, mine.path, "--key", key, "--checkpoint", kept).returncode == 0
    assert alone(tmp_path, mine.path).returncode == 3
    for words in ((), (mine.path, "--key", "nonsense"), (mine.path, "--checkpoint", empty), (mine.path, "--unknown")):
        assert alone(tmp_path, *words).returncode == 2
    done = alone(tmp_path, empty, "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout) == {"ok": False, "exit": 5, "log": str(empty), "damage": "it is empty (0 bytes)"}
    alter(mine, "DROP TRIGGER events_are_never_changed", "UPDATE events SET kind = 'x' WHERE sequence = 30")
    done = alone(tmp_path, mine.path, "--key", key)
    assert done.returncode == 1
    assert "WRONG event_changed: event 30 was changed" in done.stdout


HOSTILE = "evil\x1b]0;owned\x07\x1b[2J\r\nfake line\u202e\x9b31m\x7f"


def test_nothing_of_a_log_reaches_the_terminal_raw(mine: Made, tmp_path: Path) -> None:
    alter(mine, "DROP TRIGGER events_are_never_changed", "DROP TRIGGER checkpoints_are_never_changed")
    with closing(sqlite3.connect(mine.path)) as connection:
        connection.execute("UPDATE events SET outcome = ?, time = ? WHERE sequence = 30", (HOSTILE, HOSTILE))
        connection.execute("UPDATE log SET log_id = ?, last_time = ?", (HOSTILE, HOSTILE))
        connection.execute("UPDATE checkpoints SET time = ?, note = ? || note WHERE size = 32", (HOSTILE, HOSTILE))
        connection.commit()
    path = tmp_path / f"log\x1b[31m{HOSTILE[:4]}.db"
    shutil.copy(mine.path, path)
    for words in ((), ("--json",)):
        done = alone(tmp_path, path, "--key", str(mine.key), *words)
        assert done.returncode == 1
        for character in "\x1b\x07\r\x9b\x7f\u202e":
            assert character not in done.stdout + done.stderr


def test_hostile_logs_do_not_exhaust_memory(tmp_path: Path) -> None:
    """Less than 300 MiB of address space, whatever stands there."""
    log = Writer(tmp_path / "decisions.db")
    huge = [[1, 10**15], *([number, number] for number in range(1, 3000, 2))]
    log.event("erased", {"events": huge, "more": "x" * 200_000})
    for number in range(40):
        log.event("expired", {"events": [[number * 10**9 + 1, number * 10**9 + 10**9]], "trunk": 10**17})
    log.seal()
    made = log.close()
    alter(made, *(f"DROP TRIGGER {name}" for name in ("events_are_never_changed", "events_are_pruned_only")))
    with closing(sqlite3.connect(made.path)) as connection:
        row = connection.execute("SELECT * FROM events WHERE sequence = 5").fetchone()[1:]
        for sequence in (-5, 10**6, 10**12, 1 << 61, (1 << 63) - 1):
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (sequence, *row))
        connection.execute("UPDATE events SET payload = zeroblob(200000000) WHERE sequence = 1000000")
        connection.commit()
    done = alone(tmp_path, made.path, "--key", str(made.key), limit=300 << 20)
    assert done.returncode == 1, done.stderr
    assert len(done.stdout) < 200_000


def test_so_many_findings_are_counted_and_not_kept(tmp_path: Path) -> None:
    log = Writer(tmp_path / "decisions.db")
    for number in range(400):
        log.call(number)
    log.seal()
    made = log.close()
    alter(made, "DELETE FROM personal WHERE sequence % 2 = 1")
    report = made.verify()
    found = [finding for finding in report.findings if finding.code == "personal_missing"]
    assert len(found) == verifier.MAX_FINDINGS
    assert report.left_off["personal_missing"] == 200 - verifier.MAX_FINDINGS


def test_progress_is_told(tmp_path: Path) -> None:
    log = Writer(tmp_path / "decisions.db")
    for number in range(30):
        log.call(number)
        log.seal()
    made = log.close()
    told: list[tuple[int, int]] = []
    verify(made.path, [made.key], good=good, progress=lambda *done: told.append(done))
    assert told == sorted(told)
    assert told[-1] == (91, 91)


def test_outside_checkpoints_may_be_given_with_their_place(log: Made) -> None:
    report = verify(log.path, [log.key], [Outside(log.notes[41], "the notary")], good=good)
    assert report.compared == 1
