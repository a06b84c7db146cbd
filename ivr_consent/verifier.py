#!/usr/bin/env python3
"""Verify a log of ivr-consent: one file, the standard library and nothing else.

Whoever checks a log needs the log, the public key that was published when it began, and this file:

    python3 verifier.py decisions.db --key decisions.pub

It trusts neither the operator of the log nor the program that wrote it. The form of the log is told in
``docs/evidence.md``; the program that writes logs takes its hashes and its notes from here, so there is one description
of them in code.

Sources: RFC 9162 (hashing, proofs), RFC 8032 (Ed25519), C2SP signed-note and tlog-checkpoint (checkpoints).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring
from typing import Final, NamedTuple

__all__ = [
    "Checkpoint",
    "NoteError",
    "PublicKey",
    "Tree",
    "commitment",
    "genuine",
    "leaf",
    "leaf_hash",
    "node_hash",
]

HASH_BYTES: Final = 32

# --- leaves ----------------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """One event as it stands in a log: the columns of its row.

    ``sequence`` counts from 1 without a gap. ``time``: UTC, ISO 8601, milliseconds. ``call_id`` and ``line`` are
    ``None`` for an event of the service. ``outcome``: of a decision. ``payload``: canonical JSON. ``commitment``: what
    :func:`commitment` made of the personal data that stand beside the chain, ``None`` where there are none.
    ``previous``: the leaf hash of the event before, 32 zero bytes for the first.
    """

    sequence: int
    time: str
    kind: str
    call_id: str | None
    line: str | None
    outcome: str | None
    payload: bytes
    commitment: bytes | None
    previous: bytes


FIRST_PREVIOUS: Final = bytes(HASH_BYTES)
"""What stands for the event before the first."""


def leaf(event: Event) -> bytes:
    """The leaf of an event: canonical JSON of its columns, the payload by its SHA-256."""
    digest = hashlib.sha256(event.payload).hexdigest()
    personal = "null" if event.commitment is None else f'"{event.commitment.hex()}"'
    return (
        f'{{"call":{_text(event.call_id)},"kind":{_text(event.kind)},"line":{_text(event.line)},'
        f'"outcome":{_text(event.outcome)},"payload":"{digest}","personal":{personal},'
        f'"previous":"{event.previous.hex()}","sequence":{event.sequence},"time":{_text(event.time)}}}'
    ).encode()


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)


def commitment(salt: bytes, personal: bytes) -> bytes:
    """What the chain holds of personal data: HMAC-SHA-256 under a random salt of 32 bytes, which goes with the data.

    Without the salt nobody can tell what was committed to, nor try numbers until one fits.
    """
    return hmac.digest(salt, personal, "sha256")


# --- the tree (RFC 9162, section 2.1) --------------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of a zero byte and the leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of a one byte and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A Merkle tree that grows at its right side, kept as its complete subtrees: at most one for each bit of ``size``.

    ``peaks``: their hashes, the largest (oldest) first. ``completed``: called with level and index (from 0) and hash of
    each inner node as it becomes complete; level 1 has two leaves.
    """

    __slots__ = ("completed", "peaks", "size")

    def __init__(
        self, size: int = 0, peaks: Iterable[bytes] = (), completed: Callable[[int, int, bytes], None] | None = None
    ) -> None:
        self.size, self.peaks, self.completed = size, list(peaks), completed
        if len(self.peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees, not {len(self.peaks)}")

    def append(self, hashed: bytes) -> None:
        """Add the hash of one leaf."""
        level = 0
        while self.size >> level & 1:
            hashed = node_hash(self.peaks.pop(), hashed)
            level += 1
            if self.completed is not None:
                self.completed(level, self.size >> level, hashed)
        self.peaks.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash; of an empty tree the hash of nothing."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = node_hash(peak, found)
        return found

    def copy(self) -> Tree:
        """The same tree, to grow another way."""
        return Tree(self.size, self.peaks, self.completed)


def inclusion_holds(hashed: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a leaf's hash is that of leaf ``index`` (from 0) of a tree of ``size`` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last = index, size - 1
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            hashed = node_hash(step, hashed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, step)
        node, last = node >> 1, last >> 1
    return last == 0 and hashed == root


def consistency_holds(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of ``first`` leaves is the beginning of that of ``second`` (RFC 9162, 2.1.4.2)."""
    if not 0 < first <= second:
        return first == 0 and not proof
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, step)
        node, last = node >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


Subtree = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree at (level, index); level 0 are the leaves."""


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The inclusion proof of leaf ``index`` (from 0) in a tree of ``size`` leaves (RFC 9162, 2.1.3.1)."""
    return _path(index, 0, size, subtree)


def _path(index: int, begin: int, end: int, subtree: Subtree) -> list[bytes]:
    if end - begin == 1:
        return []
    middle = begin + (1 << (end - begin - 1).bit_length() - 1)
    if index < middle:
        return [*_path(index, begin, middle, subtree), range_hash(middle, end, subtree)]
    return [*_path(index, middle, end, subtree), range_hash(begin, middle, subtree)]


def consistency_proof(first: int, second: int, subtree: Subtree) -> list[bytes]:
    """The proof that a tree of ``first`` leaves is the beginning of one of ``second`` (RFC 9162, 2.1.4.1)."""
    if not 0 < first < second:
        return []
    return _sub_proof(first, 0, second, subtree, whole=True)


def _sub_proof(first: int, begin: int, end: int, subtree: Subtree, *, whole: bool) -> list[bytes]:
    if first == end:
        return [] if whole else [range_hash(begin, end, subtree)]
    middle = begin + (1 << (end - begin - 1).bit_length() - 1)
    if first <= middle:
        return [*_sub_proof(first, begin, middle, subtree, whole=whole), range_hash(middle, end, subtree)]
    return [*_sub_proof(first, middle, end, subtree, whole=False), range_hash(begin, middle, subtree)]


def range_hash(begin: int, end: int, subtree: Subtree) -> bytes:
    """The tree hash of the leaves from ``begin`` up to ``end``; ``begin`` is a multiple of the largest power of two
    below the length, as it is in every proof."""
    length = end - begin
    if length & (length - 1) == 0:
        level = length.bit_length() - 1
        return subtree(level, begin >> level)
    middle = begin + (1 << (length - 1).bit_length() - 1)
    return node_hash(range_hash(begin, middle, subtree), range_hash(middle, end, subtree))


# --- signed notes (C2SP) ---------------------------------------------------------------------------------------------

ED25519: Final = 1
"""The kind of signature, first byte of a public key in its text form."""

MAX_NOTE_BYTES: Final = 1 << 16
"""A checkpoint has a few hundred bytes; more is something else."""


class NoteError(ValueError):
    """Not a note, a checkpoint or a public key of the documented form; says what is wrong."""


class PublicKey(NamedTuple):
    """An Ed25519 public key as a signed note names it: ``NAME+ID+BASE64``."""

    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        """The first four bytes of SHA-256 over name, line feed, kind of signature, key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([ED25519]) + self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the text form. Raises :class:`NoteError`."""
        name, _, rest = text.partition("+")
        given, _, coded = rest.partition("+")
        raw = _base64(coded)
        if not _NAME.fullmatch(name) or len(raw) != HASH_BYTES + 1 or raw[0] != ED25519:
            raise NoteError("not a public key: it is one line, NAME+ID+BASE64")
        key = cls(name, raw[1:])
        if str(key) != text:
            raise NoteError(f"the public key's id is {key.id.hex()}, not {given[:16]!r}: a character was changed")
        return key


_NAME = re.compile(r"[!-*,-~]{1,200}")
"""Visible ASCII without a plus sign: what a key may be called."""


class Checkpoint(NamedTuple):
    """What a log's key vouched for: so many events, with this root, at this time; and which key comes after it.

    The key that signed it is destroyed once it is written: nobody can sign another one in its place (``next_key``
    signs the next one, and nothing else does).
    """

    origin: str
    size: int
    root: bytes
    time: str
    next_key: PublicKey

    def text(self) -> str:
        """What is signed: origin, size, root, then our own two lines (C2SP tlog-checkpoint)."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\ntime {self.time}\nnext {self.next_key}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read what was signed; one checkpoint has one text. Raises :class:`NoteError`."""
        lines = text.split("\n")
        if len(lines) != 6 or not lines[3].startswith("time ") or not lines[4].startswith("next "):
            raise NoteError("not a checkpoint of this kind of log")
        if not re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]):
            raise NoteError("not a number of events")
        found = cls(lines[0], int(lines[1]), _base64(lines[2]), lines[3][5:], PublicKey.parse(lines[4][5:]))
        if len(found.root) != HASH_BYTES or found.text() != text:
            raise NoteError("not a checkpoint of this kind of log")
        return found


def note(text: str, key: PublicKey, signature: bytes) -> str:
    """A signed note: the text, an empty line, the signature's line."""
    return f"{text}\n{_SIGNED_BY}{key.name} {base64.b64encode(key.id + signature).decode()}\n"


_SIGNED_BY: Final = "\u2014 "


def opened(signed: str, key: PublicKey, good: Callable[[bytes, bytes, bytes], bool]) -> str:
    """The text of a note that ``key`` signed. ``good``: see :func:`genuine`. Raises :class:`NoteError`.

    Signatures by other keys (witnesses) are left alone, as the specification wants it.
    """
    if len(signed) > MAX_NOTE_BYTES:
        raise NoteError("longer than any note")
    text, gap, signatures = signed.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise NoteError("not a signed note")
    text += "\n"
    others: list[str] = []
    for line in signatures[:-1].split("\n"):
        name, _, coded = line.removeprefix(_SIGNED_BY).partition(" ")
        value = _base64(coded)
        if not line.startswith(_SIGNED_BY) or not _NAME.fullmatch(name) or len(value) <= 4:
            raise NoteError("a signature's line is not of the documented form")
        if (name, value[:4]) != (key.name, key.id):
            others.append(f"{name} (key {value[:4].hex()})")
        elif len(value) == 68 and good(key.raw, text.encode(), value[4:]):
            return text
        else:
            raise NoteError("its signature is not good: it was changed after it was signed")
    raise NoteError(f"signed by {', '.join(others)}, not by {key.name} (key {key.id.hex()})")


def _base64(text: str) -> bytes:
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise NoteError("not base64") from None
    if base64.b64encode(value).decode() != text:
        raise NoteError("not base64 in its one form")
    return value


# --- Ed25519 (RFC 8032), checking only -------------------------------------------------------------------------------

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""Extended coordinates: X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z."""


def genuine(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is good: 32 bytes of key, the message, 64 bytes of signature (RFC 8032, 5.1.7)."""
    if len(public) != HASH_BYTES or len(signature) != 2 * HASH_BYTES:
        return False
    key, commit = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commit is None or scalar >= _L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    # s·B = R + k·A, as s·B - k·A = R: one walk over the bits of both scalars.
    minus = (_P - key[0], key[1], key[2], _P - key[3])
    found = _double_times(scalar, _BASE, challenge, minus)
    return (found[0] * commit[2] - commit[0] * found[2]) % _P == 0 and (
        found[1] * commit[2] - commit[1] * found[2]
    ) % _P == 0


def _point(coded: bytes) -> _Point | None:
    y = int.from_bytes(coded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    above, below = y * y - 1, _D * y * y + 1
    x = above * pow(below, 3, _P) * pow(above * pow(below, 7, _P), (_P - 5) // 8, _P) % _P
    if (below * x * x - above) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
        if (below * x * x - above) % _P:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _add(one: _Point, two: _Point) -> _Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(one: _Point) -> _Point:
    a, b, c = one[0] * one[0] % _P, one[1] * one[1] % _P, 2 * one[2] * one[2] % _P
    h = a + b
    e, g = h - (one[0] + one[1]) ** 2 % _P, a - b
    f = c + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


_NEUTRAL: Final[_Point] = (0, 1, 1, 0)


def _double_times(one: int, first: _Point, two: int, second: _Point) -> _Point:
    """``one`` times the first point plus ``two`` times the second (Shamir's trick, two bits of each at a time)."""
    row = (_NEUTRAL, first, _double(first), _add(_double(first), first))
    column = (_NEUTRAL, second, _double(second), _add(_double(second), second))
    table = [[_add(a, b) for b in column] for a in row]
    found = _NEUTRAL
    for shift in range(252, -2, -2):
        found = _double(_double(found))
        entry = table[one >> shift & 3][two >> shift & 3]
        if entry is not _NEUTRAL:
            found = _add(found, entry)
    return found


def _base() -> _Point:
    found = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))
    assert found is not None
    return found


_BASE: Final = _base()
