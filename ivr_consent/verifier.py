#!/usr/bin/env python3
"""Verify a log of ivr-consent: one file, the standard library and nothing else.

Whoever checks a log needs the log, the public key that was published when it began, and this file (Python 3.11 or
later):

    python3 verifier.py decisions.db --key decisions.pub

It trusts neither the operator of the log nor the program that wrote it. The form of the log, and what each finding
means, is told in ``docs/evidence.md``; the program that writes logs takes its hashes and its notes from here, so there
is one description of them in code.

Sources: RFC 9162 (hashing, proofs), RFC 8032 (Ed25519), C2SP signed-note and tlog-checkpoint (checkpoints).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import email
import email.policy
import functools
import gc
import gzip
import hashlib
import hmac
import io
import json
import os
import quopri
import re
import sqlite3
import stat
import sys
import unicodedata
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

__all__ = [
    "BUNDLE",
    "Checkpoint",
    "Finding",
    "NoteError",
    "Outside",
    "PublicKey",
    "Report",
    "Tables",
    "Tree",
    "Unreadable",
    "commitment",
    "genuine",
    "leaf",
    "leaf_hash",
    "node_hash",
    "outside_in",
    "verify",
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
    head = leaf_head(event.kind, event.call_id, event.line, event.outcome, event.payload, event.commitment)
    return leaf_at(head, event.sequence, event.time, event.previous)


def leaf_head(
    kind: str, call_id: str | None, line: str | None, outcome: str | None, payload: bytes, committed: bytes | None
) -> str:
    """The beginning of a leaf: what an event is, wherever in a log it comes to stand."""
    digest = hashlib.sha256(payload).hexdigest()
    personal = "null" if committed is None else f'"{committed.hex()}"'
    return (
        f'{{"call":{_text(call_id)},"kind":{_text(kind)},"line":{_text(line)},'
        f'"outcome":{_text(outcome)},"payload":"{digest}","personal":{personal},'
    )


def leaf_at(head: str, sequence: int, time: str, previous: bytes) -> bytes:
    """The leaf with this beginning, at its place in a log."""
    return f'{head}"previous":"{previous.hex()}","sequence":{sequence},"time":{_text(time)}}}'.encode()


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)


def commitment(salt: bytes, personal: bytes) -> bytes:
    """What the chain holds of personal data: HMAC-SHA-256 under a random salt of 32 bytes, which goes with the data.

    Without the salt nobody can tell what was committed to, nor try numbers until one fits.
    """
    if len(salt) != HASH_BYTES:
        return hmac.digest(salt, personal, "sha256")
    # by hand: half the time of the library's
    inner = hashlib.sha256(salt.translate(_INNER) + _INNER_REST + personal).digest()
    return hashlib.sha256(salt.translate(_OUTER) + _OUTER_REST + inner).digest()


_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
"""The pads of HMAC (RFC 2104), as tables of translation."""

_INNER_REST: Final = b"\x36" * (64 - HASH_BYTES)
_OUTER_REST: Final = b"\x5c" * (64 - HASH_BYTES)
"""What is left of the pads behind a salt."""


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

    def extend(self, hashed: Sequence[bytes]) -> None:
        """Add the hashes of many leaves, a level at a time; ``completed`` is not called."""
        sha256, nodes, level, made = hashlib.sha256, list(hashed), 0, []
        size = self.size
        while nodes:
            if size >> level & 1:
                nodes.insert(0, self.peaks.pop())
            if len(nodes) & 1:
                made.append(nodes.pop())
            pairs = iter(nodes)
            nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            level += 1
        self.peaks += reversed(made)
        self.size += len(hashed)

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
_D: Final = -121665 * pow(121666, -1, _P) % _P
_TWO_D: Final = 2 * _D % _P
_ROOT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""Extended coordinates: X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z."""


def genuine(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is good: 32 bytes of key, the message, 64 bytes of signature (RFC 8032, 5.1.7).

    Strict: key, R and S only in their one encoding, S below the group's order, no key of small order (under such a
    key one signature is good for many messages), and the equation without the cofactor.
    """
    if len(public) != HASH_BYTES or len(signature) != 2 * HASH_BYTES or public in SMALL_ORDER:
        return False
    key = _point(public)
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= _L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    # R = s·B - k·A: as bytes it is the first half of the signature, or the signature is none of this key.
    found = _plus_times_base(_times(challenge, (_P - key[0], key[1], 1, _P - key[3])), scalar)
    return _encoded(found) == signature[:32]


def _point(coded: bytes) -> _Point | None:
    y = int.from_bytes(coded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    above, below = (y * y - 1) % _P, (_D * y * y + 1) % _P
    cube = below * below * below % _P
    x = above * cube * pow(above * cube * cube * below, (_P - 5) // 8, _P) % _P
    if (below * x * x - above) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
        if (below * x * x - above) % _P:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encoded(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _small_order() -> frozenset[bytes]:
    """The encodings of the eight points whose order divides 8, also with the sign of a zero set."""
    y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7  # of a point of order 8
    found = {value | sign << 255 for value in (0, 1, _P - 1, y, _P - y) for sign in (0, 1)}
    return frozenset(value.to_bytes(32, "little") for value in found)


SMALL_ORDER: Final = _small_order()
"""Public keys that are none: see :func:`genuine`."""


def _add(one: _Point, two: _Point) -> _Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = one[3] * two[3] % _P * _TWO_D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


_WINDOW: Final = 5
"""Bits of the scalar that one addition takes in, for a point that is used once."""


def _times(scalar: int, point: _Point) -> _Point:
    """A multiple of a point: non-adjacent form in windows, odd multiples made first."""
    twice = _add(point, point)
    odd = [point]
    while len(odd) < 1 << _WINDOW - 2:
        odd.append(_add(odd[-1], twice))
    steps: list[tuple[int, int]] = []
    at = 0
    while scalar:
        zeros = (scalar & -scalar).bit_length() - 1
        scalar >>= zeros
        at += zeros
        digit = scalar & (1 << _WINDOW) - 1
        if digit >> _WINDOW - 1:
            digit -= 1 << _WINDOW
        scalar -= digit
        steps.append((at, digit))
    found: _Point = (0, 1, 1, 0)
    for place, digit in reversed(steps):
        if found[0]:
            found = _doubled(found, at - place)
        at = place
        x, y, z, t = odd[abs(digit) >> 1]
        found = _add(found, (x, y, z, t) if digit > 0 else (-x, y, z, -t))
    return _doubled(found, at)


def _doubled(point: _Point, times: int) -> _Point:
    x, y, z, t = point
    for left in range(times, 0, -1):
        a, b = x * x, y * y
        e, g, h = (x * y << 1) % _P, (b - a) % _P, (a + b) % _P
        f = (g - (z * z << 1)) % _P
        if left == 1:  # only an addition asks for it
            t = -e * h % _P
        x, y, z = e * f % _P, -g * h % _P, f * g % _P
    return x, y, z, t


_BASE_WINDOW: Final = 6
"""Likewise for the base point, whose multiples are made once: a digit of a scalar is from -32 to 32."""

_Multiples = list[tuple[int, int, int]]


@functools.cache
def _base_table() -> list[_Multiples]:
    """Of the base point B the multiples 1 to 32 times 64^i, each as y-x, y+x, 2dxy (z is 1)."""
    half = 1 << _BASE_WINDOW - 1
    base = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert base is not None
    points: list[_Point] = []
    for _ in range(253 // _BASE_WINDOW + 1):
        points.append(base)
        for _ in range(half - 1):
            points.append(_add(points[-1], base))
        base = _add(points[-1], points[-1])
    products = [1]  # one inversion for all
    for point in points:
        products.append(products[-1] * point[2] % _P)
    inverse = pow(products.pop(), -1, _P)
    flat: _Multiples = []
    for point, product in zip(reversed(points), reversed(products), strict=True):
        z = inverse * product % _P
        inverse = inverse * point[2] % _P
        x, y = point[0] * z % _P, point[1] * z % _P
        flat.append(((y - x) % _P, (y + x) % _P, x * y % _P * _TWO_D % _P))
    flat.reverse()
    return [flat[at : at + half] for at in range(0, len(flat), half)]


def _plus_times_base(point: _Point, scalar: int) -> _Point:
    x, y, z, t = point
    half, mask = 1 << _BASE_WINDOW - 1, (1 << _BASE_WINDOW) - 1
    carry = 0
    for row in _base_table():
        digit = (scalar & mask) + carry
        scalar >>= _BASE_WINDOW
        carry = digit > half
        if carry:
            digit -= 1 << _BASE_WINDOW
        if digit == 0:
            continue
        minus, plus, product = row[abs(digit) - 1]
        if digit < 0:
            minus, plus, product = plus, minus, -product
        a, b, c, d = (y - x) * minus % _P, (y + x) * plus % _P, t * product % _P, 2 * z
        e, f, g, h = b - a, d - c, d + c, b + a
        x, y, z, t = e * f % _P, g * h % _P, f * g % _P, e * h % _P
    return x, y, z, t


# --- what is found ---------------------------------------------------------------------------------------------------

WRONG: Final = "wrong"
OPEN: Final = "open"
NOTICE: Final = "notice"

MEANING: Final[Mapping[str, tuple[str, str]]] = {
    "event_changed": (
        WRONG,
        "What stands there is not what was written: it proves nothing. It touches no other event.",
    ),
    "event_removed": (WRONG, "Something that happened is kept back."),
    "events_swapped": (WRONG, "They happened in another order, or at another time, than the log now says."),
    "event_duplicated": (WRONG, "The copy never happened."),
    "event_inserted": (WRONG, "It was not written by the program at that place: it proves nothing."),
    "events_renumbered": (WRONG, "Events are there as they were written, under other numbers."),
    "event_malformed": (WRONG, "The program never writes such a row: somebody else did, or the file is damaged."),
    "history_rewritten": (
        WRONG,
        "The events up to that checkpoint are not those that were sealed. Of them, only what an earlier checkpoint "
        "covers is proven.",
    ),
    "logs_spliced": (WRONG, "Events of two logs were joined: those of the other log prove nothing here."),
    "tail_cut": (WRONG, "The newest events are kept back, or an old copy of the log was given."),
    "clock_ran_backwards": (WRONG, "The times of the log do not fit its order, and the log does not say why."),
    "personal_changed": (
        WRONG,
        "Who it was about cannot be proven for this event; what happened, and when, still is.",
    ),
    "personal_missing": (
        WRONG,
        "Who it was about was taken out of the log without the log saying so; what happened, and when, is proven.",
    ),
    "personal_unexpected": (WRONG, "Personal data that no event vouches for: they prove nothing."),
    "pruned_changed": (WRONG, "The hash of an event whose time is over was changed: it stands for nothing."),
    "pruned_unexpected": (WRONG, "An event is marked as removed and still there: somebody has meddled with the log."),
    "pruned_without_reason": (
        WRONG,
        "Events were taken out of the log without an event that says that their time was over.",
    ),
    "trunk_not_vouched": (WRONG, "The oldest events are gone, and what stands for them is not what was sealed."),
    "trunk_without_reason": (
        WRONG,
        "The oldest events were taken out of the log without an event that says that their time was over.",
    ),
    "checkpoint_changed": (WRONG, "It vouches for nothing. Events are still covered by a later checkpoint, if any."),
    "checkpoint_missing": (WRONG, "The program never removes a checkpoint."),
    "checkpoint_duplicated": (WRONG, "The program never writes a checkpoint twice."),
    "checkpoint_out_of_order": (WRONG, "The program writes checkpoints in the order of their sizes."),
    "key_chain_broken": (
        WRONG,
        "A checkpoint between them was removed, or the log was sealed anew (resealed) by somebody else from there on. "
        "Signatures after that point prove nothing; a checkpoint from outside the log can still decide.",
    ),
    "resealed": (
        WRONG,
        "The log was sealed anew with a key that was not the one whose turn it was: history may have been rewritten "
        "since the checkpoint before.",
    ),
    "outside_differs": (
        WRONG,
        "What was shown to the outside then is not the beginning of this log: history was rewritten, or the log was "
        "shown to different people in different forms.",
    ),
    "log_row_changed": (WRONG, "What the log says of its own end is not so. The events themselves are as found."),
    "line_malformed": (WRONG, "The bundle is damaged, or somebody has changed it."),
    "proof_fails": (WRONG, "This event is not in the log that the checkpoint vouches for."),
    "no_key": (
        OPEN,
        "The log is judged by the key that it names itself. Who has made all of it anew, keys and all, is not found: "
        "give the public key as it was published when the log began.",
    ),
    "wrong_key": (OPEN, "It says nothing about this log. Give the public key of this log."),
    "key_replaced": (
        OPEN,
        "Up to there the old key vouches. From there on a new chain of keys begins, which nobody outside the log has "
        "confirmed: give its public key too, as it was published then.",
    ),
    "key_lost": (OPEN, "From there on nothing is known of who sealed the log."),
    "nothing_sealed": (
        OPEN,
        "No signature vouches for any event. Only their chain was checked: who can write can make it.",
    ),
    "seal_overdue": (
        OPEN,
        "Either the service could not seal, or checkpoints were taken out of the log and these events made anew: a "
        "checkpoint from outside decides.",
    ),
    "newer_version": (OPEN, "Get the verifier of that version. What is told here was verified as far as it is known."),
    "not_compared": (OPEN, "Nothing speaks against them, and nothing was proven by them."),
    "outside_unusable": (OPEN, "It was left aside."),
    "clock_set_back": (NOTICE, "The clock of the server was set back, and the log says so. That is in order."),
    "personal_erased": (
        NOTICE,
        "Personal data were erased, and the log says so. The events still prove what happened.",
    ),
    "personal_left_out": (NOTICE, "The bundle was made without personal data. The events still prove what happened."),
    "events_expired": (NOTICE, "Events whose time was over are gone, and the log says so. That is in order."),
    "still_there": (NOTICE, "The log says that they are gone, and they are not. The evidence is not touched by it."),
    "unsealed": (NOTICE, "Only their chain was checked: until the next checkpoint, who can write can make it."),
    "migrated": (
        NOTICE,
        "They were taken over from a log without a chain. They are proven to be as they were then, not before.",
    ),
}
"""Level and meaning of each finding."""

MAX_FINDINGS: Final = 100
"""Of each code, that are told one by one."""


class Finding(NamedTuple):
    """One thing that was found. ``first`` and ``last``: sequences of the events that it is about, 0 for none."""

    code: str
    first: int
    last: int
    sentence: str

    @property
    def level(self) -> str:
        """``wrong``, ``open`` (could not be verified), or ``notice`` (in order, worth knowing)."""
        return MEANING[self.code][0]

    @property
    def meaning(self) -> str:
        """What follows from it."""
        return MEANING[self.code][1]


class Report(NamedTuple):
    """What was verified, and what was found.

    ``origin``: the log's name in its checkpoints. ``form``: ``log``, ``bundle`` or ``part`` (chosen events of a log).
    ``events`` so many are in the log, ``present`` of them were read, ``pruned`` are there as a hash, ``trunk`` are gone
    altogether; ``erased`` have lost their personal data. ``checkpoints`` were read. ``sealed``: so many events are
    under a checkpoint that the key vouches for, made at ``sealed_time``; those after it begin at ``unsealed_since``.
    ``trusted``: whether a key from outside the log vouches. ``compared``: checkpoints from outside that fit.
    ``findings``: at most a hundred of each code; ``left_off`` says how many more. ``damage``: why the rest could not
    be read.
    """

    log: str
    origin: str
    form: str
    events: int
    present: int
    pruned: int
    trunk: int
    erased: int
    first_time: str
    last_time: str
    checkpoints: int
    sealed: int
    sealed_time: str
    unsealed_since: str
    root: bytes
    trusted: bool
    compared: int
    findings: tuple[Finding, ...]
    left_off: Mapping[str, int]
    damage: str

    @property
    def status(self) -> int:
        """The exit status: 0 intact, 1 something is wrong, 3 not all could be verified, 5 not readable."""
        levels = {finding.level for finding in self.findings}
        if self.damage:
            return UNREADABLE
        return 1 if WRONG in levels else INCOMPLETE if OPEN in levels else 0

    @property
    def ok(self) -> bool:
        """Whether all is verified and intact."""
        return self.status == 0

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = {name: value for name, value in self._asdict().items() if name not in ("findings", "root")}
        return {
            "ok": self.ok,
            "exit": self.status,
            **found,
            "left_off": dict(self.left_off),
            "root": base64.b64encode(self.root).decode(),
            "findings": [
                {"level": finding.level, **finding._asdict(), "meaning": finding.meaning} for finding in self.findings
            ],
        }


INCOMPLETE: Final = 3
UNREADABLE: Final = 5


class Unreadable(Exception):
    """Not a log, or a damaged one; says why."""


class Outside(NamedTuple):
    """A checkpoint from outside the log, a signed note, and where it was found."""

    note: str
    where: str


# --- reading a log ---------------------------------------------------------------------------------------------------

BUNDLE: Final = "ivr-consent evidence 1"
"""The form of a bundle, as its first line says it."""

APPLICATION_ID: Final = 0x49564343
"""Of the SQLite file: "IVCC"."""

NEWEST_SCHEMA: Final = 2
"""The newest form of the tables that is known here."""

MAX_VALUE: Final = 1 << 22
"""Bytes of one value; an event has some thousands."""

MAX_LINE: Final = 1 << 23
"""Bytes of a line of a bundle."""

_Row = tuple[Any, ...]

_SQLITE: Final = (sqlite3.Error, UnicodeDecodeError)
"""What the driver raises; the second when the text of its error is not UTF-8."""

_MARK: Final[_Row] = (None,) * 9
"""Instead of an event: something else was read, and stands in its queue."""


class _Head(NamedTuple):
    """What a log says of itself first."""

    origin: str
    size: int
    trunk_size: int = 0
    trunk_peaks: tuple[bytes, ...] = ()
    trunk_leaf: bytes = b""


class _End(NamedTuple):
    """What a log says of its end."""

    size: int
    peaks: tuple[bytes, ...]
    last_leaf: bytes
    last_time: str
    sealed: int
    sealed_time: str
    next_key: str


class _Queue:
    """Rows that are looked at before they are taken; more may come."""

    def __init__(self, rows: Iterable[_Row] = ()) -> None:
        self._rows = iter(rows)
        self._waiting: deque[_Row] = deque()

    def put(self, row: _Row) -> None:
        """Add one."""
        self._waiting.append(row)

    def peek(self, at: int = 0) -> _Row | None:
        """The next one, or one that comes later; ``None`` where there is none."""
        waiting = self._waiting
        while len(waiting) <= at:
            row = next(self._rows, None)
            if row is None:
                return None
            waiting.append(row)
        return waiting[at]

    def take(self, at: int = 0) -> None:
        """It has been dealt with."""
        del self._waiting[at]

    def close(self) -> None:
        """No more are wanted."""
        if isinstance(self._rows, Generator):
            self._rows.close()


class _Source(Protocol):
    """Where a log is read from. ``pruned``, ``checkpoints``, ``beside``: see :class:`Tables`."""

    form: str
    has_personal: bool
    most: int
    pruned: _Queue
    checkpoints: _Queue
    beside: _Queue

    def head(self) -> _Head: ...
    def end(self) -> _End | None: ...
    def rows(self) -> Iterator[_Row]: ...
    def resumed(self, after: int, error: Exception) -> Iterator[_Row]: ...
    def again(self) -> Iterator[_Row]: ...
    def checkpoints_again(self) -> Iterator[_Row]: ...
    def beside_at(self, sequences: Sequence[int]) -> Iterable[_Row]: ...
    def beside_left(self) -> Iterable[_Row]: ...
    def payload(self, sequence: int) -> bytes | None: ...
    def problems(self) -> Iterator[Finding]: ...
    def close(self) -> None: ...


class Tables:
    """The tables of a log, through whatever runs statements on them: ``execute(statement, values)`` gives the rows.

    The derived tables are not looked at. ``pruned``: sequence and hash; ``checkpoints``: size, time, note; ``beside``:
    sequence, salt, data, subject, agent, erased (1 where nothing is left of them but zeros and dashes).
    """

    form = "log"
    has_personal = True
    most = 1 << 62
    _text = "{}"
    _columns = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"

    def __init__(self, execute: Callable[[str, Sequence[Any]], Iterable[_Row]]) -> None:
        self._execute = execute
        self.pruned = _Queue(self._each("SELECT sequence, leaf FROM pruned ORDER BY sequence"))
        self.checkpoints = _Queue(self.checkpoints_again())
        note = self._text.format("subject"), self._text.format("agent")
        self._beside = f"SELECT sequence, salt, data, {note[0]}, {note[1]}, erased FROM personal"  # noqa: S608 - fixed names
        self.beside = _Queue(self._each(f"{self._beside} ORDER BY sequence"))

    def _each(self, statement: str, values: Sequence[Any] = ()) -> Iterator[_Row]:
        yield from self._execute(statement, values)

    def head(self) -> _Head:
        """Raises :class:`Unreadable`."""
        text = self._text.format
        statement = f"SELECT {text('log_id')}, size, trunk_size, trunk_peaks, trunk_leaf FROM log LIMIT 2"  # noqa: S608 - fixed names
        rows = list(self._execute(statement, ()))
        if len(rows) != 1:
            raise Unreadable("its table log has not one row")
        log_id, size, trunk_size, peaks, leaf_ = rows[0]
        name = _shown_text(log_id)
        trunk = _whole(trunk_size) or 0
        return _Head(f"{NAME}/{name}", _whole(size) or 0, trunk, _split(peaks), _bytes(leaf_))

    def end(self) -> _End | None:
        text = self._text.format
        statement = (  # fixed names
            f"SELECT size, peaks, last_leaf, {text('last_time')}, sealed, {text('sealed_time')}, {text('next_key')} "  # noqa: S608 - fixed columns
            "FROM log LIMIT 1"
        )
        for size, peaks, last_leaf, last_time, sealed, sealed_time, next_key in self._execute(statement, ()):
            times = _shown_text(last_time), _shown_text(sealed_time)
            sizes = _whole(size), _whole(sealed)
            return _End(
                -1 if sizes[0] is None else sizes[0],
                _split(peaks),
                _bytes(last_leaf),
                times[0],
                -1 if sizes[1] is None else sizes[1],
                times[1],
                _shown_text(next_key),
            )
        return None

    def rows(self) -> Iterator[_Row]:
        return iter(self._execute(f"SELECT {self._columns} FROM events ORDER BY sequence", ()))  # noqa: S608 - fixed names

    def resumed(self, after: int, error: Exception) -> Iterator[_Row]:
        raise error

    def again(self) -> Iterator[_Row]:
        return self.rows()

    def checkpoints_again(self) -> Iterator[_Row]:
        text = self._text.format
        return self._each(f"SELECT size, {text('time')}, {text('note')} FROM checkpoints ORDER BY size")  # noqa: S608 - fixed names

    def beside_at(self, sequences: Sequence[int]) -> Iterable[_Row]:
        marks = ", ".join("?" * len(sequences))
        return self._execute(f"{self._beside} WHERE sequence IN ({marks})", sequences)

    def beside_left(self) -> Iterable[_Row]:
        """Sequences of the events beside which something stands."""
        return self._execute("SELECT sequence FROM personal WHERE erased = 0 ORDER BY sequence", ())

    def payload(self, sequence: int) -> bytes | None:
        for (found,) in self._execute("SELECT payload FROM events WHERE sequence = ?", (sequence,)):
            return found if isinstance(found, bytes) else None
        return None

    def problems(self) -> Iterator[Finding]:
        yield from ()

    def close(self) -> None:
        """Ask no more; who made the connection closes it."""
        for queue in (self.pruned, self.checkpoints, self.beside):
            queue.close()


class _Sqlite(Tables):
    """A file of SQLite, which somebody else may have made: read only, nothing in it is run, nothing too large is read.

    A log that is being written is read in one state. One without a write-ahead log beside it is read without touching
    its folder.
    """

    _text = "CAST({} AS BLOB)"

    def __init__(self, path: Path, *, live: bool = False) -> None:
        self._path, self._beside_it = path, path.with_name(f"{path.name}-wal")
        self._live = live or self._beside_it.exists()
        self._state = self._now()
        size = self._state[0]
        _check_header(path, size)
        more = self._beside_it.stat().st_size if self._beside_it.exists() else 0
        self.most = (size + more) // 16 + 16  # a row has more bytes than that
        self._connection = self._connect("mode=ro" if self._live else "mode=ro&immutable=1")
        self._lenient = False
        try:
            self.version = self._checked()
            self._connection.execute("BEGIN")
            super().__init__(self._connection.execute)
        except _SQLITE as error:
            self._connection.close()
            raise Unreadable(_sqlite_problem(error)) from None
        except Unreadable:
            self._connection.close()
            raise

    def _now(self) -> tuple[int, int]:
        about = self._path.stat()
        return about.st_size, about.st_mtime_ns

    def disturbed(self) -> bool:
        """Whether somebody began to write a file that was taken to be at rest."""
        return not self._live and (self._beside_it.exists() or self._now() != self._state)

    def _connect(self, options: str) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?{options}", uri=True, isolation_level=None, timeout=5.0
            )
        except _SQLITE as error:
            raise Unreadable(_sqlite_problem(error)) from None
        if hasattr(connection, "setlimit"):  # from Python 3.11 on
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        return connection

    def _checked(self) -> int:
        execute = self._connection.execute
        for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "cache_size=-4000"):
            execute(f"PRAGMA {pragma}")
        ((application,),) = execute("PRAGMA application_id")
        ((version,),) = execute("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise Unreadable("it is a database, but not a log of ivr-consent")
        if version < 2:
            raise Unreadable("it was written by an older ivr-consent, which made no chain: nothing in it can be proven")
        for table, key in (
            ("log", None),
            ("events", "sequence"),
            ("personal", "sequence"),
            ("pruned", "sequence"),
            ("checkpoints", "size"),
        ):
            self._check_table(table, key)
        return int(version)

    def _check_table(self, table: str, key: str | None) -> None:
        """A real table of the documented form: a view or a generated column could run what its maker wanted."""
        found = self._connection.execute(
            "SELECT type, CAST(sql AS BLOB) FROM sqlite_master WHERE lower(name) = ? LIMIT 2", (table,)
        ).fetchall()
        if not found:
            raise Unreadable(f"it has no table {table}: it is no log of ivr-consent, or it was taken out")
        ((kind, made),) = found if len(found) == 1 else (("several", b""),)
        if kind != "table" or not re.match(rb"(?is)\s*create\s+table\b", made or b""):
            raise Unreadable(f"its {table} is no table, but a {_shown_text(kind)} that somebody else has made")
        columns = self._connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
        hidden = [name for _, name, _, _, _, _, hidden in columns if hidden]
        whole = [name for _, name, declared, _, _, place, _ in columns if place == 1 and declared.upper() == "INTEGER"]
        if hidden or (key is not None and (whole != [key] or b"without" in made.lower())):
            raise Unreadable(f"its table {table} is not of the form of a log")

    def resumed(self, after: int, error: Exception) -> Iterator[_Row]:
        """Go on behind a row that cannot be read as it is. Raises :class:`Unreadable` for a damaged file."""
        text = str(error)
        if not isinstance(error, sqlite3.Error) or not ("too big" in text or "decode" in text):
            raise Unreadable(_sqlite_problem(error))
        if not self._lenient and "decode" in text:
            self._lenient = True
            self._connection.text_factory = _lenient
        if "too big" in text:
            for row in self._one_by_one(after):
                yield row
                after = row[0]
        query = f"SELECT {self._columns} FROM events WHERE sequence > ? ORDER BY sequence"  # noqa: S608 - fixed names
        yield from self._connection.execute(query, (after,))

    def _one_by_one(self, after: int) -> Iterator[_Row]:
        """Up to the row that is too large: its error may come with the row before it."""
        execute = self._connection.execute
        following = "SELECT sequence FROM events WHERE sequence > ? ORDER BY sequence LIMIT 1"
        while (found := execute(following, (after,)).fetchone()) is not None:
            after = found[0]
            try:
                yield execute(f"SELECT {self._columns} FROM events WHERE sequence = ?", found).fetchone()  # noqa: S608 - fixed names
            except _SQLITE as error:
                if "too big" not in str(error):
                    raise
                yield (after, *(None,) * 8)
                return

    def beside_at(self, sequences: Sequence[int]) -> Iterable[_Row]:
        try:
            return list(super().beside_at(sequences))
        except _SQLITE:
            return []

    def payload(self, sequence: int) -> bytes | None:
        try:
            return super().payload(sequence)
        except _SQLITE:
            return None

    def problems(self) -> Iterator[Finding]:
        if self.version > NEWEST_SCHEMA:
            yield Finding(
                "newer_version",
                0,
                0,
                f"the log was written by a newer ivr-consent (schema {self.version}, known here is {NEWEST_SCHEMA})",
            )

    def close(self) -> None:
        super().close()
        self._connection.close()


def _lenient(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _sqlite_problem(error: Exception) -> str:
    text = str(error)
    if "unable to open" in text or "readonly" in text:
        return (
            f"SQLite cannot open it ({text}); a log that was being written comes in three files (…, …-wal, …-shm): "
            "copy all of them into a folder that you may write to"
        )
    if "encrypted" in text or "not a database" in text:
        return "it is encrypted, or not a database"
    return f"it is damaged ({text}): take another copy"


def _check_header(path: Path, size: int) -> None:
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100:
        raise Unreadable(f"it has {size} bytes: its end was cut off")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    if header[24:28] == header[92:96] and pages * page > size:
        raise Unreadable(f"it should have {pages * page} bytes and has {size}: the end of the file was cut off")


class _Bundle:
    """An evidence bundle: see ``docs/evidence.md``."""

    most = 1 << 62

    def __init__(self, path: Path, *, packed: bool) -> None:
        self._path, self._packed = path, packed
        self._file = self._opened()
        self.pruned, self.checkpoints, self.beside = _Queue(), _Queue(), _Queue()
        self._end: _End | None = None
        self._ended = False
        self._number = 0
        self._problems: deque[Finding] = deque()
        self._pending: bytes | None = None
        try:
            self._begin()
        except Unreadable:
            self._file.close()
            raise

    def _begin(self) -> None:
        header = self._record(self._line())
        self._header = header.get("bundle") if header is not None else None
        if not isinstance(self._header, dict) or not isinstance(self._header.get("form"), str):
            raise Unreadable("it is neither a database nor an evidence bundle of ivr-consent")
        self.newer = self._header["form"] != BUNDLE
        self.form = "part" if self._header.get("holds") == "part" else "bundle"
        self.has_personal = self._header.get("personal") is not False
        self._trunk = _Head("", 0)
        if not self.newer and self.form == "bundle":
            line = self._line()
            record = self._record(line)
            if record is not None and "trunk" in record:
                self._trunk = self._trunk_of(record["trunk"])
            else:
                self._pending, self._number = line, self._number - 1

    def _opened(self) -> io.BufferedIOBase | gzip.GzipFile:
        return gzip.open(self._path, "rb") if self._packed else self._path.open("rb")

    def _line(self) -> bytes:
        try:
            line = self._file.readline(MAX_LINE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Unreadable(f"it cannot be unpacked ({error}): its end was cut off, or it is damaged") from None
        if len(line) > MAX_LINE:
            raise Unreadable(f"its line {self._number + 1} is longer than {MAX_LINE} bytes")
        self._number += 1
        return line

    def _record(self, line: bytes) -> dict[str, Any] | None:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def _trunk_of(self, found: Any) -> _Head:
        found = found if isinstance(found, dict) else {}
        return _Head(
            "", 0, _whole(found.get("size")) or 0, _hexes(found.get("peaks")), _unhex(found.get("leaf")) or b""
        )

    def head(self) -> _Head:
        assert isinstance(self._header, dict)
        origin = self._header.get("log")
        return self._trunk._replace(
            origin=origin if isinstance(origin, str) else "", size=_whole(self._header.get("size")) or 0
        )

    def end(self) -> _End | None:
        return self._end

    def rows(self) -> Iterator[_Row]:
        while line := self._next_line():
            record = self._record(line)
            if record is None or self._ended:
                self._malformed()
            elif "event" in record:
                event = record["event"]
                if not isinstance(event, dict):
                    self._malformed()
                    continue
                beside = event.get("beside")
                if isinstance(beside, dict):
                    self.beside.put(_beside_of(beside))
                yield _event_of(event)
            elif self._other(record):
                yield _MARK
            else:
                self._malformed()

    def _next_line(self) -> bytes:
        if self._pending is not None:
            line, self._pending = self._pending, None
            self._number += 1
            return line
        return self._line()

    def _other(self, record: dict[str, Any]) -> bool:
        for name in ("pruned", "checkpoint", "beside", "end"):
            found = record.get(name)
            if isinstance(found, dict):
                break
        else:
            return False
        if name == "pruned":
            self.pruned.put((found.get("sequence"), _unhex(found.get("leaf"))))
        elif name == "checkpoint":
            self.checkpoints.put((found.get("size"), found.get("time"), found.get("note")))
        elif name == "beside":
            self.beside.put(_beside_of(found))
        else:
            self._ended = True
            self._end = _End(
                _whole(found.get("size"), -1),
                _hexes(found.get("peaks")),
                _unhex(found.get("last_leaf")) or b"",
                _shown_text(found.get("last_time")),
                _whole(found.get("sealed"), -1),
                _shown_text(found.get("sealed_time")),
                _shown_text(found.get("next_key")),
            )
        return True

    def _malformed(self) -> None:
        if len(self._problems) < MAX_FINDINGS:
            self._problems.append(Finding("line_malformed", 0, 0, f"line {self._number} is none of a bundle"))

    def events(self) -> Iterator[dict[str, Any]]:
        """Of a part: its lines, as they are."""
        while line := self._next_line():
            record = self._record(line)
            if record is None or self._ended or not ({"event", "checkpoint", "end"} & set(record)):
                self._malformed()
                continue
            self._ended = "end" in record
            yield record

    def resumed(self, after: int, error: Exception) -> Iterator[_Row]:
        raise error

    def again(self) -> Iterator[_Row]:
        other = _Bundle(self._path, packed=self._packed)
        try:
            yield from other.rows()
        finally:
            other.close()

    def checkpoints_again(self) -> Iterator[_Row]:
        other = _Bundle(self._path, packed=self._packed)
        try:
            for _ in other.rows():
                while (row := other.checkpoints.peek()) is not None:
                    other.checkpoints.take()
                    yield row
        finally:
            other.close()

    def beside_at(self, sequences: Sequence[int]) -> Iterable[_Row]:
        row = self.beside.peek()
        if row is not None and row[0] in sequences:
            self.beside.take()
            return [row]
        return []

    def beside_left(self) -> Iterable[_Row]:
        return ()

    def payload(self, sequence: int) -> bytes | None:
        return None

    def problems(self) -> Iterator[Finding]:
        yield from self._problems
        if not self._ended:
            yield Finding("tail_cut", 0, 0, "the bundle has no last line: its end was cut off")

    def close(self) -> None:
        self._file.close()


def _event_of(event: Mapping[str, Any]) -> _Row:
    payload: Any = None
    if isinstance(event.get("payload"), str):
        payload = event["payload"].encode("utf-8", "surrogatepass")
    elif isinstance(event.get("payload_base64"), str):
        try:
            payload = base64.b64decode(event["payload_base64"], validate=True)
        except ValueError:
            payload = None
    personal = event.get("personal")
    return (
        _whole(event.get("sequence"), -1),
        event.get("time"),
        event.get("kind"),
        event.get("call"),
        event.get("line"),
        event.get("outcome"),
        payload,
        personal if personal is None else _unhex(personal) or "",
        _unhex(event.get("previous")),
    )


def _beside_of(found: Mapping[str, Any]) -> _Row:
    data: Any = found.get("data")
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    elif isinstance(found.get("data_base64"), str):
        try:
            data = base64.b64decode(found["data_base64"], validate=True)
        except ValueError:
            data = None
    sequence = _whole(found.get("sequence"), -1)
    return sequence, _unhex(found.get("salt")), data, found.get("subject"), found.get("agent"), 0


def _unhex(value: Any) -> bytes | None:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _hexes(value: Any) -> tuple[bytes, ...]:
    return tuple(_unhex(item) or b"" for item in value[:64]) if isinstance(value, list) else ()


def _whole(value: Any, instead: int | None = None) -> Any:
    """A number from 0 to 2^53, else what stands for none."""
    return value if type(value) is int and 0 <= value < 1 << 53 else instead


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


def _split(value: Any) -> tuple[bytes, ...]:
    raw = _bytes(value)[: 64 * HASH_BYTES]
    return tuple(raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES))


def _shown_text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value[:300] if isinstance(value, str) else "" if value is None else str(value)[:300]


# --- checkpoints from outside ----------------------------------------------------------------------------------------

NAME: Final = "ivr-consent"
"""Before the slash in the name of every log."""

MAX_OUTSIDE: Final = 1 << 26
"""Bytes of a file with checkpoints."""

MAX_SIGNATURES: Final = 32
"""Of one note: the log's own, and those of witnesses."""

_SHAPE: Final = (
    re.compile(rf"(?:.*[^A-Za-z0-9./_-])?({NAME}/[0-9a-f]{{1,64}})"),
    re.compile(r"(0|[1-9][0-9]{0,17})"),
    re.compile(r"([A-Za-z0-9+/]{43}=)"),
    re.compile(r"(time [0-9T:.+-]{10,40})"),
    re.compile(r"(next [!-~]{1,300})"),
    re.compile(r"()"),
)
_SIGNATURE_LINE: Final = re.compile("(\u2014 [!-*,-~]{1,200} [A-Za-z0-9+/]{6,300}={0,2})")
_MAIL: Final = re.compile(rb"(?:From |[!-9;-~]{1,100}:[ \t])")
"""How a mail begins, or a mailbox of many."""

_MAILBOX: Final = re.compile(rb"^From .*\n", re.MULTILINE)
"""Between the mails of a mailbox (mbox)."""

_AROUND: Final = " \t\r>|"
"""What quoting, indenting and other systems put before and behind the lines of a text."""


def outside_in(data: bytes, where: str = "") -> list[Outside]:
    """The checkpoints in what somebody has kept: a file of many, a mail, an export of a journal, any text.

    What stands around them is passed over; so are indents, marks of quotation, and the codings of mail and JSON.
    """
    found: dict[str, None] = {}
    for text in _readings(data[:MAX_OUTSIDE]):
        found |= dict.fromkeys(notes(text.split("\n")))
        if found and not _MAIL.match(data):
            break  # of mails some may be coded, and others not
    return [Outside(note_, where) for note_ in found]


def _readings(data: bytes) -> Iterator[str]:
    """A text as it stands, and as what was coded in it."""
    text = data.decode("utf-8", "replace")
    yield text
    if "\\n" in text:  # a JSON text, or lines of JSON
        yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text.replace("\\/", "/")).replace(
            "\\n", "\n"
        )
    yield quopri.decodestring(data).decode("utf-8", "replace")
    for mail in _MAILBOX.split(data):
        try:
            parts = email.message_from_bytes(mail, policy=email.policy.default).walk()
            bodies = [part.get_payload(decode=True) for part in parts if not part.is_multipart()]
        except Exception:  # noqa: BLE001, S112 - the library meets a text that somebody else has made
            continue
        yield "\n".join(body.decode("utf-8", "replace") for body in bodies if isinstance(body, bytes))


def notes(lines: Iterable[str]) -> Iterator[str]:
    """The signed notes of checkpoints among the lines of a text, which may be of any length: one note is kept."""
    found: list[str] = []
    for line in lines:
        bare = line[:2000].rstrip(_AROUND)
        match = None
        if len(found) <= len(_SHAPE) + MAX_SIGNATURES:
            shape = _SHAPE[len(found)] if len(found) < len(_SHAPE) else _SIGNATURE_LINE
            match = shape.fullmatch(bare.lstrip(_AROUND) if found else bare)
        if match is None:
            if len(found) > len(_SHAPE):
                yield "".join(f"{part}\n" for part in found)
            found = []
            match = _SHAPE[0].fullmatch(bare)
        if match is not None:
            found.append(match[1])
    if len(found) > len(_SHAPE):
        yield "".join(f"{part}\n" for part in found)


class _Signature(NamedTuple):
    name: str
    key_id: bytes
    value: bytes

    @classmethod
    def read(cls, line: str) -> _Signature:
        """Raises :class:`NoteError`."""
        name, _, coded = line.removeprefix(_SIGNED_BY).partition(" ")
        value = _base64(coded)
        if not line.startswith(_SIGNED_BY) or not _NAME.fullmatch(name) or len(value) <= 4:
            raise NoteError("a signature's line is not of the documented form")
        return cls(name, value[:4], value[4:])

    def is_by(self, key: PublicKey) -> bool:
        return (self.name, self.key_id) == (key.name, key.id)


class _Signed(NamedTuple):
    """A signed note, read and not judged. ``problem``: why it is none."""

    note: str
    text: str
    checkpoint: Checkpoint | None
    signatures: tuple[_Signature, ...]
    problem: str

    @classmethod
    def read(cls, signed: Any) -> _Signed:
        if not isinstance(signed, str) or len(signed) > MAX_NOTE_BYTES:
            return cls("", "", None, (), "is not a text of the length of a checkpoint")
        text, gap, lines = signed.rpartition("\n\n")
        text += "\n"
        if not gap or not lines.endswith("\n"):
            return cls(signed, text, None, (), "cannot be read (it is no signed note)")
        signatures = []
        try:
            for line in lines[:-1].split("\n")[: MAX_SIGNATURES + 1]:
                signatures.append(_Signature.read(line))
            found = Checkpoint.parse(text)
        except NoteError as error:
            return cls(signed, text, None, tuple(signatures), f"cannot be read ({error})")
        return cls(signed, text, found, tuple(signatures), "")


class _Judge:
    """Whether notes are signed by a key; each signature is checked once."""

    def __init__(self, good: Callable[[bytes, bytes, bytes], bool]) -> None:
        self._good = good

    def is_good(self, signed: _Signed, key: PublicKey) -> bool | None:
        """``None``: not signed by that key."""
        for signature in signed.signatures:
            if signature.is_by(key):
                return (
                    len(signature.value) == 2 * HASH_BYTES
                    and key.raw not in SMALL_ORDER
                    and self._good(key.raw, signed.text.encode("utf-8", "replace"), signature.value)
                )
        return None


# --- what was changed ------------------------------------------------------------------------------------------------

_Item = tuple[int, "bytes | None", "bytes | None", bytes]
"""What is kept of a row: its sequence as it stands there, ``previous``, its leaf, the leaf's hash. A pruned event has
no ``previous`` and no leaf; one whose columns are not of their types has an empty leaf."""

WINDOW: Final = 8192
"""Events since the last checkpoint that are kept to find out what was changed among them."""

LOOKAHEAD: Final = 64
"""Events beyond a checkpoint that are looked at, where events before it were removed or inserted."""

FAR: Final = 20_000
"""By how much events may have been renumbered to be recognised."""

BUDGET: Final = 9_000_000
"""Hashes that are tried to explain what does not fit, a third of what is left for each stretch: a minute, not hours."""

DEPTH: Final = 100
"""Changes in one stretch that are explained together."""

LEAST_BUDGET: Final = 40_000
"""For each stretch when that is spent."""

_BEFORE_PREVIOUS: Final = b'"previous":"'
_BEFORE_TIME: Final = b',"time":'


def _rehash(text: bytes, sequence: int, previous: bytes) -> bytes:
    """The hash of a leaf with another sequence and another event before it.

    The marks cannot stand in a column's text: there a quotation mark has a backslash before it.
    """
    at = text.index(_BEFORE_PREVIOUS) + len(_BEFORE_PREVIOUS)
    end = text.index(_BEFORE_TIME, at)
    changed = b'%b%b","sequence":%d%b' % (text[:at], previous.hex().encode(), sequence, text[end:])
    return hashlib.sha256(b"\x00" + changed).digest()


def _content(item: _Item) -> bytes:
    """A leaf without its place in the chain: the same for an event and its copy."""
    text = item[2] or b""
    at = text.find(_BEFORE_PREVIOUS)
    return text[:at] + text[text.find(_BEFORE_TIME, at) :] if at >= 0 else b""


class _Change(NamedTuple):
    """One change: code, the events it is about, and how it was seen. ``item``: of the first of them; ``true``: the
    hash that it had, ``before`` that of the event before it."""

    code: str
    first: int
    last: int
    how: str
    item: _Item | None = None
    true: bytes = b""
    before: bytes = b""


class _Answer(NamedTuple):
    """How a stretch of the log can be explained: the true hashes of its leaves (``None``: lost), items used, where it
    ends, by how much the sequences of the items after it are to be raised, which of its events are pruned, and whether
    the ``previous`` of those after it were made anew."""

    changes: tuple[_Change, ...]
    leaves: list[bytes | None]
    used: int
    size: int
    last: bytes
    shift: int
    proven: bool
    pruned: tuple[int, ...] = ()
    relinked: bool = False
    false_last: bytes = b""


class _Puzzle:
    """A stretch of the log in which something does not fit.

    Each event holds the hash of the one before it, so the true hash of a changed event is known from the one behind
    it; what is assumed is proven when the root of the next checkpoint comes out. ``size`` and ``root``: of that
    checkpoint. ``end``: the hash that the last item should have, where the log says so and the items reach its end.
    """

    def __init__(
        self,
        tree: Tree,
        last: bytes,
        shift: int,
        items: Sequence[_Item],
        size: int | None,
        root: bytes | None,
        end: tuple[int, bytes] | None,
        *,
        peaks: tuple[bytes, ...] | None,
        ended: bool,
        stop: int,
        budget: int,
    ) -> None:
        self.tree, self.items, self.size, self.root, self.end, self.ended = tree, items, size, root, end, ended
        self.peaks = peaks
        self._start = (last, shift)
        self._stop = stop
        self._strict = True
        self._budget, self.spent = budget, 0
        self._left = self._depth = 0
        self._far = True
        self._leaves: list[bytes | None] = []
        self._origins: list[int] = []
        self._changes: list[_Change] = []
        self._answer: _Answer | None = None

    def solved(self) -> _Answer | None:
        """The first explanation that the checkpoint (or the log's own end) confirms, else the likeliest one, not
        proven; ``None`` when there is none at all."""
        last, shift = self._start
        for strict in (True, False):
            self._strict = self._far = strict
            self._leaves, self._origins, self._changes = [], [], []
            self._left = self._budget // 8
            done = self._walk(0, self.tree.size, last, shift)
            self.spent += self._budget // 8 - self._left
            if done:
                return self._answer
            if strict:
                self._left = self._budget
                found = self._relinked()
                self.spent += self._budget - self._left
                if found is not None:
                    return found
        return None

    # One step after the other; where there is more than one way, each is tried to its end.

    def _walk(self, at: int, size: int, last: bytes, shift: int) -> bool:
        items = self.items
        while True:
            if size == self.size:
                return self._arrived(at, size, last, shift)
            if at >= len(items) or (self.size is None and at >= self._stop):
                return self._ended(at, size, last, shift)
            self._left -= 1
            if self._left < 0:
                return False
            item = items[at]
            number, previous, text, hashed = item
            if text is None:
                claimed = self._claimed(at)
                if number + shift == size + 1 and (claimed is None or claimed == hashed):
                    self._push(hashed, at)
                    at, size, last = at + 1, size + 1, hashed
                    continue
                return self._pruned(at, size, last, shift)
            if text and previous == last and number + shift == size + 1:
                hashed = _rehash(text, size + 1, last)
                claimed = self._claimed(at)
                if claimed is None or claimed == hashed:
                    self._push(hashed, at)
                    at, size, last = at + 1, size + 1, hashed
                    continue
            return self._event(at, size, last, shift)

    def _push(self, hashed: bytes | None, at: int) -> None:
        self._leaves.append(hashed)
        self._origins.append(at)

    def _claimed(self, at: int) -> bytes | None:
        """The hash that the item behind says this one has."""
        if at + 1 < len(self.items):
            return self.items[at + 1][1] or None
        if self.end is not None and self.ended:
            return self.end[1]
        return None

    def _hash(self, at: int, size: int, last: bytes | None) -> bytes | None:
        """The hash of an item, an event, as if it stood at that place."""
        if at >= len(self.items) or not (text := self.items[at][2]) or last is None:
            return None
        self._left -= 1
        return _rehash(text, size, last)

    def _try(
        self,
        change: _Change | None,
        hashes: Sequence[tuple[bytes | None, int]],
        at: int,
        size: int,
        last: bytes,
        shift: int,
        *,
        back: int | None = None,
    ) -> bool:
        """Assume this and go on; when it leads nowhere, all is as it was. ``back``: take leaves back to so many."""
        leaves, origins, changes = len(self._leaves), len(self._origins), len(self._changes)
        undone = ([], []) if back is None else (self._leaves[back:], self._origins[back:])
        if back is not None:
            del self._leaves[back:], self._origins[back:]
            leaves = origins = back
        for hashed, origin in hashes:
            self._push(hashed, origin)
        if change is not None:
            self._changes.append(change)
        if self._deeper(at, size, last, shift):
            return True
        del self._leaves[leaves:], self._origins[origins:], self._changes[changes:]
        self._leaves += undone[0]
        self._origins += undone[1]
        return False

    def _deeper(self, at: int, size: int, last: bytes, shift: int) -> bool:
        if self._depth >= DEPTH:
            if self._strict:
                self._left = -1
                return False
            self._answer = self._found(at, size, last, shift, proven=False)  # so far; the rest is another stretch
            return True
        self._depth += 1
        try:
            return self._walk(at, size, last, shift)
        finally:
            self._depth -= 1

    def _pruned(self, at: int, size: int, last: bytes, shift: int) -> bool:
        item = self.items[at]
        number, hashed = item[0] + shift, item[3]
        if number <= size:
            change = _Change(
                "pruned_unexpected", number, number, "it is there, and its hash stands among the pruned ones too"
            )
            return self._try(change, (), at + 1, size, last, shift)
        if number > size + 1:
            change = _Change("event_removed", size + 1, number - 1, "neither the event nor its hash is there")
            return self._try(change, self._lost(number - 1 - size, at), at, number - 1, last, shift)
        claimed, behind = self._claimed(at), at + 1
        if behind < len(self.items) and self.items[behind][0] != item[0] + 1:
            claimed = None  # that hash is another event's
        if claimed is not None:
            how = "the event behind it holds another hash"
            change = _Change("pruned_changed", number, number, how, item, claimed)
            if self._try(change, ((claimed, at),), at + 1, size + 1, claimed, shift):
                return True
        return self._try(None, ((hashed, at),), at + 1, size + 1, hashed, shift)

    def _lost(self, count: int, at: int) -> list[tuple[bytes | None, int]]:
        return [(None, at)] * min(count, 1 << 20)

    def _event(self, at: int, size: int, last: bytes, shift: int) -> bool:
        item = self.items[at]
        number, previous, text, _ = item
        linked, placed = previous == last, number + shift == size + 1
        hashed, claimed = self._hash(at, size + 1, last), self._claimed(at)
        if not text:
            return self._malformed(at, size, last, shift)
        assert hashed is not None
        if number + shift <= size and number <= self.tree.size and not placed and not linked:
            change = _Change("event_inserted", number, number, "that number is an earlier event's, or no number at all")
            if self._try(change, (), at + 1, size, last, shift):
                return True
        if self._swapped(at, size, last, shift):
            return True
        if placed and not linked and claimed == hashed:
            how = "its link to the event before it was changed: with the right one it is as it was sealed"
            change = _Change("event_changed", size + 1, size + 1, how, item, hashed, last)
            if self._try(change, ((hashed, at),), at + 1, size + 1, hashed, shift):
                return True
        if self._inserted(at, size, last, shift):
            return True
        if linked:
            return self._content_differs(at, size, last, shift, hashed, claimed)
        return self._not_linked(at, size, last, shift, claimed)

    def _malformed(self, at: int, size: int, last: bytes, shift: int) -> bool:
        number, claimed = self.items[at][0], self._claimed(at)
        change = _Change("event_malformed", size + 1, size + 1, "a column is not of its type, or too large")
        if number + shift == size + 1 and self._try(change, ((claimed, at),), at + 1, size + 1, claimed or last, shift):
            return True
        return self._try(change._replace(first=number, last=number), (), at + 1, size, last, shift)

    def _swapped(self, at: int, size: int, last: bytes, shift: int) -> bool:
        """This event and the next one in each other's place."""
        first = self._hash(at + 1, size + 1, last)
        if first is None:
            return False
        second, claimed = self._hash(at, size + 2, first), self._claimed(at + 1)
        assert second is not None
        as_sealed = claimed is None or claimed == second
        if not as_sealed or first not in (self.items[at][1], self._claimed(at)):
            return False
        change = _Change("events_swapped", size + 1, size + 2, "in each other's place they fit what was sealed")
        return self._try(change, ((first, at + 1), (second, at)), at + 2, size + 2, second, shift)

    def _inserted(self, at: int, size: int, last: bytes, shift: int) -> bool:
        """This event, or it and some more, stand between two that follow each other."""
        items = self.items
        for other in range(at + 1, min(at + 1 + LOOKAHEAD, len(items))):
            if items[other][1] == last and self._fits(other, size + 1, last):
                change = _Change(
                    "event_inserted",
                    items[at][0] + shift,
                    items[other - 1][0] + shift,
                    f"event {size} and the one behind it follow each other",
                    items[at],
                )
                return self._try(change, (), other, size, last, size + 1 - items[other][0])
        if other_end := self._only_the_end(at, size, last):
            return self._try(other_end, (), len(items), size, last, shift)
        return self._foreign_before(at, last, shift)

    def _foreign_before(self, at: int, last: bytes, shift: int) -> bool:
        """An event follows one that is some way back: those between them are the foreign ones."""
        items, previous = self.items, self.items[at][1]
        if previous and previous != last and previous in (*self._leaves, self._start[0]):
            back = len(self._leaves) - self._leaves[::-1].index(previous) if previous in self._leaves else 0
            true = self.tree.size + back
            if self._fits(at, true + 1, previous):
                begin = items[self._origins[back]]
                change = _Change(
                    "event_inserted",
                    begin[0] + shift,
                    items[at - 1][0] + shift,
                    f"event {true} and the one behind it follow each other",
                    begin,
                )
                return self._try(change, (), at, true, previous, true + 1 - items[at][0], back=back)
        return False

    def _only_the_end(self, at: int, size: int, last: bytes) -> _Change | None:
        """What was added behind the end that the log itself tells."""
        if not self.ended or self.end is None or self.end != (size, last):
            return None
        item = self.items[at]
        return _Change("event_inserted", size + 1, size + len(self.items) - at, "the log itself ends before it", item)

    def _fits(self, at: int, size: int, last: bytes) -> bool:
        """Whether an event at that place has the hash that the one behind it says, as far as that is known."""
        claimed = self._claimed(at)
        return claimed is None or self._hash(at, size, last) == claimed

    def _content_differs(
        self, at: int, size: int, last: bytes, shift: int, hashed: bytes, claimed: bytes | None
    ) -> bool:
        item = self.items[at]
        number = item[0]
        if number + shift != size + 1:
            change = _Change("events_renumbered", size + 1, size + 1, f"it stands there as number {number}", item)
            fits = claimed is None or hashed == claimed
            return self._try(
                change,
                ((hashed if fits else claimed, at),),
                at + 1,
                size + 1,
                hashed if fits else claimed or hashed,
                size + 1 - number,
            )
        assert claimed is not None
        if at and self.items[at - 1][2] is None and (missing := self._missing_before(at, shift, 1)):
            begin = at
            while begin and self.items[begin - 1][2] is None:
                begin -= 1
            how = f"{missing} of them {_is(1, missing)} missing, and those after were renumbered"
            change = _Change("event_removed", size + 1 - at + begin, size + missing, how)
            if self._try(change, self._lost(missing, at), at, size + missing, last, shift + missing):
                return True
        changed = _Change("event_changed", size + 1, size + 1, "", item, claimed, last)
        as_it_is = functools.partial(self._try, None, ((hashed, at),), at + 1, size + 1, hashed, shift)
        as_changed = functools.partial(self._try, changed, ((claimed, at),), at + 1, size + 1, claimed, shift)
        behind = at + 1
        if self._fits(behind, size + 2, hashed) and self._claimed(behind) is not None:
            return as_it_is()  # the next one's link was changed
        if any(other[1] == hashed for other in self.items[at + 2 : at + 2 + LOOKAHEAD]):
            return as_it_is() or as_changed()  # what stands between them is foreign
        consistent = behind >= len(self.items) or (
            self.items[behind][0] + shift == size + 2 and self._fits(behind, size + 2, claimed)
        )
        return (as_changed() or as_it_is()) if consistent else (as_it_is() or as_changed())

    def _not_linked(self, at: int, size: int, last: bytes, shift: int, claimed: bytes | None) -> bool:
        item = self.items[at]
        number, previous = item[0] + shift, item[1]
        if previous:
            gap = number - size - 1
            if gap > 0 and self._fits(at, number, previous):
                change = _Change("event_removed", size + 1, number - 1, "its number is missing", item)
                hashes = [*self._lost(gap - 1, at), (previous, at)]
                if self._try(change, hashes, at, number - 1, previous, shift):
                    return True
            if gap <= 0 and claimed is not None:
                far, self._far = FAR if self._far else LOOKAHEAD, False
                for missing in range(1, far):
                    if self._hash(at, size + 1 + missing, previous) == claimed:
                        change = _Change(
                            "event_removed",
                            size + 1,
                            size + missing,
                            "the event behind it holds the hash of another one, and those after it were renumbered",
                            item,
                        )
                        hashes = [*self._lost(missing - 1, at), (previous, at)]
                        return self._try(change, hashes, at, size + missing, previous, size + 1 + missing - item[0])
                    if self._left < 0:
                        return False
            if gap == 0 and claimed is None and (missing := self._missing_before(at, shift)):
                how = "the event behind it holds the hash of another one"
                change = _Change("event_removed", size + 1, size + missing, how, item)
                hashes = [*self._lost(missing - 1, at), (previous, at)]
                if self._try(change, hashes, at, size + missing, previous, shift + missing):
                    return True
            if not self._strict and claimed is not None:
                for more in range(1, min(LOOKAHEAD, size - self.tree.size) + 1):
                    if self._hash(at, size + 1 - more, previous) == claimed:
                        return self._too_many(more, at, size, previous)
        if claimed is None:
            hashed = self._hash(at, size + 1, last)
            if hashed is None or number != size + 1:
                return False
            how = "its link to the event before it was changed"
            change = _Change("event_changed", size + 1, size + 1, how, item, hashed, last)
            return self._try(change, ((hashed, at),), at + 1, size + 1, hashed, shift)
        how = "neither its content nor its link is that of the sealed event"
        change = _Change("event_changed", size + 1, size + 1, how, item, claimed, last)
        return self._try(change, ((claimed, at),), at + 1, size + 1, claimed, shift)

    def _missing_before(self, at: int, shift: int, reach: int = LOOKAHEAD) -> int:
        """By how much the next event whose hash is known was renumbered."""
        for other in range(at, min(at + reach, len(self.items))):
            number, previous, text, _ = self.items[other]
            claimed = self._claimed(other)
            if text and previous and claimed is not None:
                for missing in range(LOOKAHEAD):
                    if self._hash(other, number + shift + missing, previous) == claimed:
                        return missing
        return 0

    def _too_many(self, more: int, at: int, size: int, previous: bytes) -> bool:
        """So many events more than were sealed stand before this one, and it cannot be told which ones."""
        how = f"there are {more} more of them than were sealed; which ones cannot be told"
        first, count = self.tree.size + 1, size - more - self.tree.size
        change = _Change("event_inserted", first, size, how)
        return self._try(
            change, self._lost(count, at), at, size - more, previous, size + 1 - more - self.items[at][0], back=0
        )

    def _arrived(self, at: int, size: int, last: bytes, shift: int) -> bool:
        whole = None not in self._leaves
        fits = whole and self.root is not None and self._root() == self.root
        if self._strict and whole and not fits:
            reach = range(at, min(at + LOOKAHEAD, len(self.items)))
            return any(self._foreign_before(behind, last, shift) for behind in reach)
        self._answer = self._found(at, size, last, shift, proven=fits)
        return True

    def _found(self, at: int, size: int, last: bytes, shift: int, *, proven: bool) -> _Answer:
        return _Answer(tuple(self._changes), list(self._leaves), at, size, last, shift, proven, tuple(self._places()))

    def _places(self) -> Iterator[int]:
        """Where the pruned events are."""
        for place, at in enumerate(self._origins, self.tree.size + 1):
            if self.items[at][2] is None and self._leaves[place - self.tree.size - 1] is not None:
                yield place

    def _ended(self, at: int, size: int, last: bytes, shift: int) -> bool:
        fits = self.end is not None and self.ended and self.end == (size, last) and self._peaks_fit()
        if self._strict and not fits and (self.ended or None not in self._leaves):
            return False
        self._answer = self._found(at, size, last, shift, proven=False)
        return True

    def _peaks_fit(self) -> bool:
        """Whether the tree is the one that the log says it ends with, as far as both are known."""
        if self.peaks is None or None in self._leaves:
            return True
        tree = self.tree.copy()
        tree.extend([hashed for hashed in self._leaves if hashed is not None])
        return tuple(tree.peaks) == self.peaks

    def _root(self) -> bytes:
        tree = self.tree.copy()
        tree.extend([hashed for hashed in self._leaves if hashed is not None])
        return tree.root()

    # All links fit, and the root does not: whoever did this made the links anew. Undo it, one guess after the other.

    def _relinked(self) -> _Answer | None:
        last, size, root, items = self._start[0], self.size, self.root, self.items
        if root is None or size is None:
            return None
        count = size - self.tree.size
        texts: list[bytes] = []
        for item in items:
            if not item[2]:
                break
            texts.append(item[2])
        if not 0 < count <= len(texts):
            return None
        hashes = [item[3] for item in items[:count]]
        for at, item in enumerate(items[1:count], 1):
            if item[1] != _rehash(texts[at - 1], items[at - 1][0], items[at - 1][1] or b""):
                return None  # not all links fit: something else was done
        trees = [self.tree]
        for code, begin, beginning in self._guesses(count):
            order = [*beginning, *range(max(beginning) + 1, len(texts))][: count - begin]
            if begin + len(order) < count or max(order) >= len(texts):
                continue
            self._left -= 2 * len(order)
            if self._left < 0:
                return None
            while len(trees) <= begin:
                tree = trees[-1].copy()
                tree.extend(hashes[len(trees) - 1 : len(trees)])
                trees.append(tree)
            previous = hashes[begin - 1] if begin else last
            made: list[bytes] = []
            for place, at in enumerate(order, self.tree.size + begin + 1):
                previous = _rehash(texts[at], place, previous)
                made.append(previous)
            tree = trees[begin].copy()
            tree.extend(made)
            if tree.root() == root:
                return self._undone(code, begin, order, [*hashes[:begin], *made])
        return None

    def _guesses(self, count: int) -> Iterator[tuple[str, int, list[int]]]:
        """What may have been done: code, from which item on, and the true order of the items from there.

        Where times run backwards is looked first.
        """
        times = [item[2][item[2].rindex(_BEFORE_TIME) :] if item[2] else b"" for item in self.items[:count]]
        odd = [at for at in range(1, count) if times[at] < times[at - 1]][:4]
        places = sorted({place for at in odd for place in (at - 1, at)})
        for one in places:
            yield "event_inserted", one, [one + 1]
            for two in places:
                if one < two:
                    yield "events_swapped", one, [two, *range(one + 1, two), one]
        for at in range(count):
            yield "event_inserted", at, [at + 1]
        for at in range(count - 1):
            yield "events_swapped", at, [at + 1, at]
        for length in range(2, LOOKAHEAD):
            for at in range(count):
                yield "event_inserted", at, [at + length]

    def _undone(self, code: str, begin: int, order: list[int], leaves: list[bytes]) -> _Answer:
        size = self.size
        assert size is not None
        _, shift = self._start
        place = self.tree.size + begin + 1
        item = self.items[begin]
        relinked = ", and whoever did it made the links of the events after it anew"
        if code == "event_inserted":
            length = order[0] - begin
            how = f"without it what was sealed comes out{relinked}"
            change = _Change(code, place, place + length - 1, how, item)
            shift -= length
        else:
            other = order[0] - begin
            how = f"in each other's place they fit what was sealed{relinked}"
            change = _Change(code, place, place + other, how)
        used = max(order) + 1
        false = self.items[used - 1]
        false_last = _rehash(false[2] or b"", false[0], false[1] or b"")
        found: list[bytes | None] = [*leaves]
        return _Answer(
            (change,), found, used, size, leaves[-1], shift, proven=True, relinked=True, false_last=false_last
        )


# --- verifying -------------------------------------------------------------------------------------------------------

_MATTERS: Final = frozenset({"log_created", "log_migrated", "clock_set_back", "erased", "expired", "key_replaced"})
"""Kinds of events that tell something about the log itself."""

MAX_LEAF: Final = 1 << 14
"""Bytes of a leaf, which has the payload by its hash; ours have some hundreds."""

_NEVER: Final = 1 << 80
"""Behind every sequence, also the highest that a database can hold, and one that was moved up from there."""


class _Bits:
    """A set of sequences, a bit each."""

    __slots__ = ("_chunks", "_wide")

    SIZE: Final = 4096
    WIDE: Final = 1 << 22

    def __init__(self) -> None:
        self._chunks: dict[int, int] = {}
        self._wide: list[tuple[int, int]] = []

    def add(self, first: int, last: int) -> None:
        """Add all from ``first`` to ``last``."""
        if last - first > self.WIDE:
            if len(self._wide) < 1000:
                self._wide.append((first, last))
            return
        for chunk in range(first // self.SIZE, last // self.SIZE + 1):
            begin = max(first - chunk * self.SIZE, 0)
            length = min(last - chunk * self.SIZE, self.SIZE - 1) - begin + 1
            self._chunks[chunk] = self._chunks.get(chunk, 0) | ((1 << length) - 1) << begin

    def __len__(self) -> int:
        return sum(chunk.bit_count() for chunk in self._chunks.values())

    def __bool__(self) -> bool:
        return bool(self._chunks or self._wide)

    def __contains__(self, number: int) -> bool:
        return bool(self._of(number // self.SIZE) >> number % self.SIZE & 1)

    def runs(self) -> Iterator[tuple[int, int]]:
        """First and last of each run."""
        return self._runs(lambda _, bits: bits)

    def without(self, other: _Bits) -> Iterator[tuple[int, int]]:
        """Likewise of those that are not in the other set."""
        return self._runs(lambda number, bits: bits & ~other._of(number))

    def _runs(self, chosen: Callable[[int, int], int]) -> Iterator[tuple[int, int]]:
        first = last = -2
        for number in sorted(self._chunks):
            bits = chosen(number, self._chunks[number])
            while bits:
                begin = (bits & -bits).bit_length() - 1
                length = ((bits >> begin) + 1 & ~(bits >> begin)).bit_length() - 1
                start = number * self.SIZE + begin
                if start != last + 1:
                    if first >= 0:
                        yield first, last
                    first = start
                last = start + length - 1
                bits &= ~(((1 << length) - 1) << begin)
        if first >= 0:
            yield first, last

    def _of(self, number: int) -> int:
        bits = self._chunks.get(number, 0)
        for first, last in self._wide:
            begin = max(first - number * self.SIZE, 0)
            end = min(last - number * self.SIZE, self.SIZE - 1)
            if begin <= end:
                bits |= ((1 << end - begin + 1) - 1) << begin
        return bits


class _Claim(NamedTuple):
    """A checkpoint that was looked at. ``sure``: its signature is not known to be bad. ``vouched``: a chain of good
    signatures leads to it."""

    size: int
    root: bytes
    time: str
    sure: bool
    vouched: bool


class _Shown:
    """A checkpoint from outside, while the log is read: of those that are kept for years there are many."""

    __slots__ = ("fits", "inside", "note", "root", "seal", "size", "where")

    def __init__(self, note_: str, where: str, found: Checkpoint) -> None:
        self.note, self.where, self.size, self.root = note_, where, found.size, found.root
        self.fits: bool | None = None
        self.seal: bool | None = None
        self.inside = False

    @property
    def signed(self) -> _Signed:
        """It, read."""
        return _Signed.read(self.note)

    @property
    def name(self) -> str:
        """For sentences."""
        return f"the checkpoint of {self.size} events from outside ({self.where or 'given'})"


class _Findings:
    """What was found so far."""

    def __init__(self) -> None:
        self._found: dict[str, list[Finding]] = {}
        self.left_off: dict[str, int] = {}

    def add(self, code: str, first: int, last: int, sentence: str) -> None:
        """Add one; of each code so many are kept."""
        assert code in MEANING
        kept = self._found.setdefault(code, [])
        if len(kept) < MAX_FINDINGS:
            kept.append(Finding(code, first, last, sentence))
        else:
            self.leave_off(code)

    def leave_off(self, code: str) -> None:
        """Count one that is not told."""
        self.left_off[code] = self.left_off.get(code, 0) + 1

    def of(self, *codes: str) -> list[Finding]:
        """Those of some codes."""
        return [finding for code in codes for finding in self._found.get(code, ())]

    def drop(self, code: str, unneeded: Callable[[Finding], bool]) -> None:
        """Take back what another finding explains."""
        if code in self._found:
            self._found[code] = [finding for finding in self._found[code] if not unneeded(finding)]
            if not self._found[code]:
                self.left_off.pop(code, None)

    def all(self) -> tuple[Finding, ...]:
        """What is wrong first, then what is open, then notices; each by its place."""
        order = {WRONG: 0, OPEN: 1, NOTICE: 2}
        found = [finding for kept in self._found.values() for finding in kept]
        return tuple(sorted(found, key=lambda finding: (order[finding.level], finding.first, finding.last)))


_STRUCTURE: Final = (
    "event_changed",
    "event_removed",
    "events_swapped",
    "event_duplicated",
    "event_inserted",
    "events_renumbered",
    "event_malformed",
    "pruned_changed",
    "history_rewritten",
    "logs_spliced",
)


class _Verification:
    """One log, read once from its beginning to its end."""

    def __init__(
        self,
        source: _Source,
        keys: Sequence[PublicKey],
        outside: Iterable[Outside],
        good: Callable[[bytes, bytes, bytes], bool],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.source, self.progress = source, progress
        self.judge = _Judge(good)
        self.found = _Findings()
        head = source.head()
        self.origin, self.expected = head.origin, head.size
        self.given = [key for key in keys if key.name == self.origin or not self.origin]
        self.strange_keys = [key for key in keys if key not in self.given]
        self._begin_tree(head)
        self._begin_keys()
        self._begin_outside(outside)
        self.rows = source.rows()
        self.ahead: deque[_Item] = deque()
        self.at = -(1 << 63)  # sequence of the row that was read last, as it stands there
        self.ended = self.end_tried = False
        self.present, self.budget = 0, BUDGET
        self.first_time = self.last_time = ""
        self.migrated = 0
        self.created: tuple[int, str] | None = None
        self.front: list[tuple[_Row, _Signed, int]] = []
        self.waiting: _Claim | None = None
        self.due = 0
        self.personal_due = 0
        self.moved = self.any_pruned = False
        self.without_personal, self.erased = _Bits(), _Bits()
        self.pruned, self.expired = _Bits(), _Bits()
        self.expired_trunk = 0
        self.changes: list[tuple[_Change, bool, int]] = []

    def _begin_tree(self, head: _Head) -> None:
        self.trunk = head.trunk_size
        whole = all(len(peak) == HASH_BYTES for peak in head.trunk_peaks)
        if whole and len(head.trunk_peaks) == self.trunk.bit_count():
            self.tree = Tree(self.trunk, head.trunk_peaks)
        else:
            self.found.add(
                "trunk_not_vouched",
                1,
                max(self.trunk, 1),
                f"what stands for the oldest {self.trunk} events is no tree of that size",
            )
            self.tree, self.trunk = Tree(), 0
        self.trunk_vouched = False
        self.size = self.trunk
        self.last = head.trunk_leaf if self.trunk else FIRST_PREVIOUS
        self.shift = 0
        self.kept: list[_Item] = []
        self.window_last, self.window_shift = self.last, 0
        self.lost = self.broken = False
        self.unresolved: Finding | None = None
        self.relinked, self.false_last = False, b""
        self.not_compared = self.differing = 0

    def _begin_keys(self) -> None:
        self.key: PublicKey | None = None
        self.vouched = True  # whether a chain of good signatures leads here from the first key
        self.trusted = False  # whether it begins at a key that was given
        self.doubtful = False  # whether the checkpoint before was changed: nobody knows whom it named
        self.ever_trusted = False
        self.replacing: list[tuple[int, PublicKey]] = []
        self.strangers: list[tuple[int, int, frozenset[bytes]]] = []
        self.previous_note = ""
        self.checkpoints = self.newest_size = self.largest_step = 0
        self.newest_time = ""
        self.sealed, self.sealed_time, self.root = 0, "", b""

    def _begin_outside(self, outside: Iterable[Outside]) -> None:
        self.shown: list[_Shown] = []
        self.compared = 0
        self.wanted: set[bytes] = set()
        known: set[str] = set()
        for note_, where in outside:
            if note_ in known:
                continue
            known.add(note_)
            signed = _Signed.read(note_)
            if signed.checkpoint is None:
                self.found.add("outside_unusable", 0, 0, f"a checkpoint from outside ({where}) {signed.problem}")
            elif self.origin and signed.checkpoint.origin != self.origin:
                self.found.add(
                    "outside_unusable",
                    0,
                    0,
                    f"a checkpoint from outside ({where}) is of the log {signed.checkpoint.origin}",
                )
            else:
                self.shown.append(_Shown(note_, where, signed.checkpoint))
                self.wanted.update(signature.key_id for signature in signed.signatures)
        self.shown.sort(key=lambda shown: shown.size)
        self.shown_at = 0
        self.known_keys: dict[bytes, tuple[PublicKey, bool]] = {}
        for key in self.given:
            self._know(key, trusted=True)

    def _know(self, key: PublicKey, *, trusted: bool) -> None:
        """Remember a key that signed a checkpoint from outside."""
        if key.id in self.wanted and not self.known_keys.get(key.id, (key, False))[1]:
            self.known_keys[key.id] = key, trusted

    # Reading.

    def run(self) -> str:
        """Verify; why the rest could not be read, or an empty text."""
        try:
            while True:
                if not self.ahead and not self.relinked and not self.ended:
                    self._fast()
                item = self._next()
                if item is not None:
                    self._step(item)
                elif not self._settle_at_end():
                    break
        except (*_SQLITE, Unreadable) as error:
            if not self.present:
                raise
            damage = str(error) if isinstance(error, Unreadable) else _sqlite_problem(error)
            self._tell_changes()
            return f"after event {self.size} {damage}"
        self._finish()
        return ""

    def _fast(self) -> None:
        """Go on as long as all is in order: this is nearly all of a log."""
        self._refresh()
        sha256, quoted, matters, kept = hashlib.sha256, encode_basestring, _MATTERS, self.kept
        size, last, shift, due, last_time = self.size, self.last, self.shift, self.due, self.last_time
        sequence, personal_due = self.at, self.personal_due
        before = last.hex()
        middles: dict[tuple[Any, ...], str] = {}  # the few combinations that there are
        trouble: _Row | None = None
        problem: Exception | None = None
        try:
            for row in self.rows:
                sequence, time, kind, call_id, line, outcome, payload, committed, previous = row
                trouble = row
                if size >= due or previous != last or sequence is None or sequence + shift != size + 1:
                    break
                try:
                    middle = middles.get((kind, line, outcome))
                    if middle is None:
                        middle = (
                            f',"kind":{quoted(kind)},"line":{"null" if line is None else quoted(line)},'
                            f'"outcome":{"null" if outcome is None else quoted(outcome)},"payload":"'
                        )
                        if len(middles) < 1000:
                            middles[kind, line, outcome] = middle
                    text = (
                        f'{{"call":{"null" if call_id is None else quoted(call_id)}{middle}'
                        f'{sha256(payload).hexdigest()}",'
                        f'"personal":{"null" if committed is None else _quoted_hex(committed)},'
                        f'"previous":"{before}","sequence":{size + 1},"time":{quoted(time)}}}'
                    ).encode()
                except (TypeError, ValueError, AttributeError):
                    break
                if len(text) > MAX_LEAF:
                    break
                trouble = None
                size += 1
                last = sha256(b"\x00" + text).digest()
                before = last.hex()
                kept.append((sequence, previous, text, last))
                if committed is not None or sequence >= personal_due:
                    personal_due = self._beside(sequence, size, committed)
                if time < last_time:
                    self._clock(size, time, last_time, kind, payload)
                if kind in matters:
                    self._told(size, kind, payload)
                last_time = time
                if len(kept) >= WINDOW:
                    self._shrink(size)
            else:
                self.ended = True
        except _SQLITE as error:
            problem = error
        self.present += size - self.size
        self.size, self.last, self.last_time = size, last, last_time
        self.first_time = self.first_time or self._first_time()
        self.at = sequence if sequence is not None else self.at
        if problem is not None:
            self.rows = self.source.resumed(self.at, problem)
        if trouble is not None and trouble[0] is not None:
            self.ahead.append(self._read(trouble))

    def _first_time(self) -> str:
        for item in self.kept:
            if item[2]:
                return _time_of(item[2])
        return ""

    def _shrink(self, size: int) -> None:
        """A long stretch without a checkpoint: keep its newer half."""
        half = len(self.kept) // 2
        self._passed(self.kept[:half])
        if not self.lost:
            self.tree.extend([item[3] for item in self.kept[:half]])
        else:
            self.tree.size += half
        self.window_last = self.kept[half - 1][3]
        del self.kept[:half]
        self._advanced(size)

    def _advanced(self, size: int) -> None:
        if self.present > self.source.most:
            raise Unreadable("it has more rows than fit into it: its pages refer to each other in circles")
        if self.progress is not None:
            self.progress(size, self.expected)

    def _next(self) -> _Item | None:
        """The next event; ``None`` at the end."""
        if self.ahead:
            return self.ahead.popleft()
        row = self._next_row()
        return None if row is None else self._read(row)

    def _read(self, row: _Row) -> _Item:
        """A row as an item, its other checks made on the way."""
        sequence, time, kind, call_id, line, outcome, payload, committed, previous = row
        self.present += 1
        if not isinstance(sequence, int):
            sequence = -1
        number = sequence + self.shift
        previous = previous if isinstance(previous, bytes) and len(previous) == HASH_BYTES else b""
        text = _leaf_of(
            Event(number, time, kind, call_id, line, outcome, payload, committed, previous or FIRST_PREVIOUS)
        )
        if not text:
            return sequence, previous, b"", b""
        self._beside(sequence, number, committed)
        if self.last_time and time < self.last_time:
            self._clock(number, time, self.last_time, kind, payload)
        if kind in _MATTERS:
            self._told(number, kind, payload)
        self.first_time = self.first_time or time
        self.last_time = time
        return sequence, previous, text, leaf_hash(text)

    # What events say of the log itself, and what stands beside them.

    def _clock(self, size: int, time: str, before: str, kind: str, payload: bytes) -> None:
        if kind == "clock_set_back":
            told = _object(payload)
            if (told.get("before"), told.get("after")) == (before, time):
                self.found.add(
                    "clock_set_back",
                    size,
                    size,
                    f"event {size} says that the clock was set back from {before} to {time}",
                )
                return
        self.found.add(
            "clock_ran_backwards",
            size,
            size,
            f"event {size} is of {time}, earlier than the event before it ({before}), and no event says that the "
            "clock was set back",
        )

    def _told(self, size: int, kind: str, payload: bytes) -> None:
        told = _object(payload)
        if kind == "log_created":
            origin = f"{NAME}/{_shown_text(told.get('log'))}"
            if self.created is not None or (self.origin and origin != self.origin):
                self.found.add(
                    "logs_spliced", size, size, f"with event {size} the log {origin} begins, within {self.origin}"
                )
            else:
                self.created = size, _shown_text(told.get("key"))
                self._first_key()
        elif kind == "log_migrated":
            if told.get("events") == size - 1:
                self.migrated = size - 1
        elif kind == "key_replaced":
            try:
                self.replacing.append((size, PublicKey.parse(_shown_text(told.get("key")))))
            except NoteError:
                self.found.add(
                    "key_lost", size, size, f"event {size} says that the key was replaced, and not by which one"
                )
            del self.replacing[:-MAX_FINDINGS]
        elif kind in ("erased", "expired"):
            named = self.erased if kind == "erased" else self.expired
            for first, last in _ranges(told.get("events")):
                if first <= min(last, size - 1):
                    named.add(first, min(last, size - 1))
            trunk = told.get("trunk")
            if kind == "expired" and type(trunk) is int and trunk < size:
                self.expired_trunk = max(self.expired_trunk, trunk)

    def _first_key(self) -> None:
        """The key that the log names itself, until a better one is known."""
        if self.key is None and self.created is not None and not self.checkpoints:
            try:
                self.key = PublicKey.parse(self.created[1])
                self.trusted = self.key in self.given
                self._know(self.key, trusted=self.trusted)
            except NoteError:
                self.key = None

    def _beside(self, sequence: int, size: int, committed: Any) -> int:
        """The personal data of an event; the sequence of the next ones."""
        waiting = self.source.beside
        row = waiting.peek()
        if row is not None and row[0] == sequence and row[5] == 0 and committed is not None and not self.shift:
            waiting.take()  # as nearly always
            if _committed(row) != committed or not _index_fits(row):
                self._judge_beside(row, sequence, size, committed)
            if self.source.form == "log":
                self._refresh_personal()
            return self.personal_due
        row = None
        if self.shift:
            rows = list(self.source.beside_at([sequence, size]))
            row = next((row for row in rows if _committed(row) == committed), rows[0] if rows else None)
            if committed is None:
                row = None  # which event's they are cannot be told any more
        else:
            while (row := waiting.peek()) is not None and not (isinstance(row[0], int) and row[0] >= sequence):
                waiting.take()
                if not _overwritten(row):
                    self._unexpected(row[0])
            if row is not None and row[0] == sequence:
                waiting.take()
            else:
                row = None
            self._refresh_personal()
        self._judge_beside(row, sequence, size, committed)
        return self.personal_due

    def _judge_beside(self, row: _Row | None, sequence: int, size: int, committed: Any) -> None:
        if committed is None:
            if row is not None and not _overwritten(row):
                self._unexpected(sequence)
        elif row is None or row[5] != 0:
            self.without_personal.add(size, size)
            if row is not None and (
                not isinstance(row[2], bytes) or row[2].strip(b"\x00") or _committed(row) == committed
            ):
                self.found.add(
                    "still_there",
                    size,
                    size,
                    f"the personal data of event {size} are said to be erased, and still there",
                )
        elif _committed(row) != committed:
            self.found.add(
                "personal_changed",
                size,
                size,
                f"the personal data beside event {size} are not those that it was sealed with",
            )
        elif not _index_fits(row):
            self.found.add(
                "personal_changed",
                size,
                size,
                f"by what the personal data of event {size} are found is not what they say",
            )

    def _refresh_personal(self) -> None:
        if self.source.form == "log":
            following = self.source.beside.peek()
            self.personal_due = _NEVER if following is None else following[0] if isinstance(following[0], int) else 0

    def _unexpected(self, sequence: Any) -> None:
        number = sequence if isinstance(sequence, int) else 0
        self.found.add(
            "personal_unexpected",
            number,
            number,
            f"there are personal data for event {sequence}, which vouches for none",
        )

    # One after the other.

    def _refresh(self) -> None:
        """The size at which something other than an event is due."""
        while len(self.front) < 2 and (row := self.source.checkpoints.peek(len(self.front))) is not None:
            signed = _Signed.read(
                row[2] if not isinstance(row[2], bytes) else row[2][: MAX_NOTE_BYTES + 1].decode("utf-8", "replace")
            )
            size = signed.checkpoint.size if signed.checkpoint else _whole(row[0], 0)
            self.front.append((row, signed, size))
        due = min((size for _, _, size in self.front), default=_NEVER)
        if self.waiting is not None:
            due = min(due, self.waiting.size)
        if (row := self.source.pruned.peek()) is not None:
            due = min(due, row[0] + self.shift - 1 if isinstance(row[0], int) else 0)
        if self.shown_at < len(self.shown):
            due = min(due, self.shown[self.shown_at].size)
        self.due = due
        self._refresh_personal()

    def _step(self, item: _Item) -> None:
        self._refresh()
        number, previous, text, hashed = item
        if (claim := self._settle(None if text is None else number)) is not None:
            self.ahead.appendleft(item)
            self._explain(claim)
            return
        if text is None:
            if number + self.shift != self.size + 1:
                self._unfit(item)
                return
        elif self.relinked:
            if not text or number + self.shift != self.size + 1 or previous != self.false_last:
                self.relinked = False
                self._unfit(item)
                return
            self.false_last = _rehash(text, number, previous)
            hashed = _rehash(text, self.size + 1, self.last)
        else:
            if not text or previous != self.last or number + self.shift != self.size + 1:
                self._unfit(item)
                return
            hashed = _rehash(text, self.size + 1, previous)
        self.kept.append((number, previous, text, hashed))
        self.size, self.last = self.size + 1, hashed
        if len(self.kept) >= WINDOW:
            self._shrink(self.size)

    def _unfit(self, item: _Item) -> None:
        self.ahead.appendleft(item)
        self._explain(None)

    def _settle(self, coming: int | None = None) -> _Claim | None:
        """Deal with what is due here; the checkpoint that does not fit, if there is one. ``coming``: the sequence of
        the event that is next."""
        while self.size >= self.due:
            if self.waiting is not None and self.waiting.size <= self.size:
                waited, self.waiting = self.waiting, None
                if not self._agrees(waited):
                    return waited
                self._refresh()
                continue
            front = min(self.front, key=lambda waiting: waiting[2], default=None)
            shown = self.shown[self.shown_at] if self.shown_at < len(self.shown) else None
            pruned = self.source.pruned.peek()
            if front is not None and front[2] <= self.size:
                claim = self._checkpoint(front)
                if claim is not None and not self._agrees(claim):
                    return claim
            elif shown is not None and shown.size <= self.size:
                self.shown_at += 1
                self._compare(shown, self._now() if shown.size == self.size else None)
            elif pruned is not None:
                self.source.pruned.take()
                self._take_pruned(pruned, also_there=pruned[0] == coming)
            self._refresh()
        return None

    def _take_pruned(self, row: _Row, *, also_there: bool = False) -> None:
        self.any_pruned = True
        number, hashed = row[0], row[1]
        if not isinstance(number, int) or not isinstance(hashed, bytes) or len(hashed) != HASH_BYTES:
            place = number if isinstance(number, int) else 0
            self.found.add("pruned_changed", place, place, f"the hash of the pruned event {number} is none")
            return
        if number + self.shift == self.size + 1 and not also_there:
            self.kept.append((number, None, None, hashed))
            self.size, self.last = self.size + 1, hashed
            if len(self.kept) >= WINDOW:
                self._shrink(self.size)
        else:
            self.found.add(
                "pruned_unexpected",
                number,
                number,
                f"event {number} is there, and its hash stands among the pruned ones too",
            )

    def _now(self) -> Tree | None:
        """The tree of all events up to here; ``None`` where hashes are lost."""
        if self.lost:
            return None
        tree = self.tree.copy()
        tree.extend([item[3] for item in self.kept])
        return tree

    def _agrees(self, claim: _Claim) -> bool:
        """Whether a checkpoint is that of the events before it, or nothing follows from it."""
        if claim.size != self.size or claim.size < self.trunk:
            return True
        tree = self._now()
        if tree is None:
            self.not_compared += 1
            return True
        if tree.root() == claim.root:
            if self.unresolved is not None:
                self._exonerated()
            self._confirmed(claim, tree)
            return True
        if self.broken:
            self.differing += 1
            return True
        return not claim.sure

    def _exonerated(self) -> None:
        """A later checkpoint vouches for the events after all: the one before that did not fit them was wrong."""
        assert self.unresolved is not None
        size = self.unresolved.last
        self.found.add("checkpoint_changed", size, size, f"the root in the checkpoint of {size} events is not theirs")
        self.unresolved, self.broken = None, False

    def _confirmed(self, claim: _Claim, tree: Tree) -> None:
        """Up to here all is as it was sealed."""
        self._passed(self.kept)
        self.tree = tree
        self.kept.clear()
        self.window_last, self.window_shift = self.last, self.shift
        if claim.size == self.trunk:
            self.trunk_vouched = True
        self._vouched_for(claim)
        self._advanced(self.size)

    def _passed(self, items: Sequence[_Item]) -> None:
        """Their places are sure now."""
        if not self.any_pruned:
            return
        for place, item in enumerate(items, self.tree.size + 1):
            if item[2] is None:
                self.pruned.add(place, place)

    def _vouched_for(self, claim: _Claim) -> None:
        if claim.vouched:
            self.sealed, self.sealed_time, self.root = claim.size, claim.time, claim.root

    def _compare(self, shown: _Shown, tree: Tree | None) -> None:
        if tree is not None and shown.size >= self.trunk:
            shown.fits = tree.root() == shown.root

    # Checkpoints.

    def _checkpoint(self, waiting: tuple[_Row, _Signed, int]) -> _Claim | None:
        """Look at the next checkpoint; what it claims, if anything."""
        place = self.front.index(waiting)
        row, signed, size = waiting
        del self.front[place]
        self.source.checkpoints.take(place)
        self.checkpoints += 1
        name = f"the checkpoint of {size} events"
        found = signed.checkpoint
        if found is None:
            self.found.add("checkpoint_changed", size, size, f"{name} {signed.problem}")
            self.key, self.vouched, self.trusted, self.doubtful = None, False, False, True
            return None
        self.origin = self.origin or found.origin
        if found.origin != self.origin:
            self.found.add("logs_spliced", size, size, f"{name} is of the log {found.origin}, within {self.origin}")
            return None
        if signed.note == self.previous_note:
            self.found.add("checkpoint_duplicated", size, size, f"{name} is there twice")
            return None
        columns = (row[0], row[1].decode("utf-8", "replace") if isinstance(row[1], bytes) else row[1])
        if place or size <= self.newest_size:
            self.found.add("checkpoint_out_of_order", size, size, f"{name} does not stand where it belongs")
        elif columns != (size, found.time):
            self.found.add("checkpoint_changed", size, size, f"the columns of {name} are not what it says")
        if size <= self.newest_size and not place:
            return None
        sure = self._signature(signed, found, name)
        if self.newest_size:
            self.largest_step = max(self.largest_step, size - self.newest_size)
        self.previous_note, self.newest_size, self.newest_time = signed.note, size, found.time
        at = self.shown_at
        while at < len(self.shown) and self.shown[at].size <= size:
            self.shown[at].inside = self.shown[at].inside or self.shown[at].note == signed.note
            at += 1
        return _Claim(size, found.root, found.time, sure, self.vouched)

    def _signature(self, signed: _Signed, found: Checkpoint, name: str) -> bool:
        """Follow the chain of keys; False for a signature that is bad."""
        size = found.size
        result = None if self.key is None else self.judge.is_good(signed, self.key)
        if result is None:
            result = self._other_signature(signed, size, name)
        elif result:
            self.trusted = self.trusted or self.key in self.given
            self.vouched = self.vouched or self.trusted
        else:
            self._bad_signature(size, name)
            self.vouched = self.trusted = False
        self.ever_trusted = self.ever_trusted or self.trusted
        self.doubtful = result is False
        self.key = found.next_key
        self._know(self.key, trusted=self.trusted)
        return result is not False

    def _other_signature(self, signed: _Signed, size: int, name: str) -> bool | None:
        """A checkpoint that was not signed by the key whose turn it was."""
        for event, key in self.replacing:
            if self.judge.is_good(signed, key):
                self.replacing = [other for other in self.replacing if other[0] > event]
                self.trusted = self.vouched = key in self.given
                if not self.trusted:
                    self.found.add(
                        "key_replaced",
                        event,
                        event,
                        f"event {event} says that the key was replaced; from the checkpoint of {size} events on the "
                        f"log is signed under {key}, which was not given",
                    )
                return True
        known = self.key is not None and not self.doubtful
        for key in self.given:
            good = self.judge.is_good(signed, key)
            if good and known:
                self._stranger(signed, size)
            if good is not None:
                self.trusted = self.vouched = good
                if not good:
                    self._bad_signature(size, name)
                return good
        if known:
            self._stranger(signed, size)
            self.vouched = self.trusted = False
        elif self.newest_size or self.doubtful or self.given:
            self.vouched = self.trusted = False
        else:  # a log whose beginning is gone, and no key was given: it is as good as what it names from here on
            self.found.add("key_lost", 0, 0, f"the key that signed {name} is not known")
        return None

    def _bad_signature(self, size: int, name: str) -> None:
        self.found.add(
            "checkpoint_changed",
            size,
            size,
            f"the signature of {name} is not good: it was changed after it was signed",
        )

    def _stranger(self, signed: _Signed, size: int) -> None:
        if len(self.strangers) < MAX_FINDINGS:
            ids = frozenset(signature.key_id for signature in signed.signatures if signature.name == self.origin)
            self.strangers.append((self.newest_size, size, ids))

    # A part of a log.

    claim: _Claim | None = None

    def take_checkpoint(self) -> None:
        """Of a part: the next one."""
        self._refresh()
        self.claim = self._checkpoint(self.front[0]) if self.front else None

    def read(self, row: _Row) -> _Item:
        """Of a part: an event."""
        return self._read(row)

    def finish_part(self, claim: _Claim | None, count: int, said: Any) -> None:
        """Of a part: the end. ``said``: so many events it should have."""
        self._tell_keys()
        if claim is not None:
            self._vouched_for(claim)
            self.size = claim.size
        if said is not None and said != count:
            self.found.add("line_malformed", 0, 0, f"the bundle has {count} events, and its last line says {said}")
        for shown in self.shown:
            if shown.inside:
                self.compared += 1
            else:
                self.found.add("not_compared", 0, 0, f"{shown.name} is not among those of the bundle")
        left_out = "left out or erased" if self.source.has_personal else "left out"
        if len(self.without_personal):
            self.found.add(
                "personal_left_out",
                0,
                0,
                f"the personal data of {_so_many(len(self.without_personal))} were {left_out}",
            )
        for finding in self.source.problems():
            self.found.add(*finding)
        self._tell_trust()

    # Where something does not fit.

    def _explain(self, claim: _Claim | None) -> None:
        """Find out what was changed since the last checkpoint that fits, and go on behind it."""
        begin = self.tree.size
        items = self.kept
        if claim is None:
            claim, self.waiting = self.waiting, None
        waiting = self._with_pruned()
        while True:
            self._gather(waiting, None if claim is None else claim.size)
            if claim is not None:
                break
            front = min(self.front, key=lambda waiting: waiting[2], default=None)
            if front is None or not (self.ended or self._reach(waiting) >= front[2]):
                break
            found = self._checkpoint(front)
            if found is not None and found.sure and found.size > begin:
                claim = found
        everything = [*items, *waiting]
        end = self.source.end() if self.ended else None
        stop = len(everything) if self.ended else max(len(everything) - LOOKAHEAD, 1)
        target = None if claim is None or self.lost or self.broken else claim
        if claim is not None and target is None:
            self.not_compared += 1
        puzzle = _Puzzle(
            self.tree,
            self.window_last,
            self.window_shift,
            everything,
            None if target is None else target.size,
            None if target is None else target.root,
            None if end is None else (end.size, end.last_leaf),
            peaks=None if end is None or self.lost else end.peaks,
            ended=self.ended,
            stop=stop,
            budget=max(self.budget // 3, LEAST_BUDGET),
        )
        answer = puzzle.solved() or self._as_it_stands(everything, target, stop)
        self.budget -= puzzle.spent
        self._adopt(answer, everything, target)

    def _with_pruned(self) -> deque[_Item]:
        """The items that were read ahead, with the pruned ones that belong between them."""
        self.ahead, read = deque(), self.ahead
        for item in read:
            self._gather_pruned(self.ahead, item[0])
            self.ahead.append(item)
        return self.ahead

    def _reach(self, waiting: deque[_Item]) -> int:
        return waiting[-1][0] + self.shift if waiting else self.size

    def _gather(self, waiting: deque[_Item], upto: int | None) -> None:
        """Read on until the next checkpoint and a bit more."""
        while not self.ended and len(self.kept) + len(waiting) < WINDOW:
            self._refresh()
            goal = upto if upto is not None else min((size for _, _, size in self.front), default=_NEVER)
            if self._reach(waiting) > goal + LOOKAHEAD:
                return
            row = self._next_row()
            if row is None:
                break
            item = self._read(row)
            if self.present > self.source.most:
                self._advanced(self.size)
            self._gather_pruned(waiting, item[0])
            waiting.append(item)
        if self.ended:
            self._gather_pruned(waiting, _NEVER)

    def _next_row(self) -> _Row | None:
        while not self.ended:
            try:
                row = next(self.rows, None)
            except _SQLITE as error:
                self.rows = self.source.resumed(self.at, error)
                continue
            if row is None:
                self.ended = True
            elif row[0] is not None:
                self.at = row[0]
                return row
        return None

    def _gather_pruned(self, waiting: deque[_Item], before: int) -> None:
        while (row := self.source.pruned.peek()) is not None:
            number, hashed = row[0], row[1]
            if isinstance(number, int) and number >= before:
                return
            self.source.pruned.take()
            if isinstance(number, int) and isinstance(hashed, bytes) and len(hashed) == HASH_BYTES:
                waiting.append((number, None, None, hashed))
            else:
                self._take_pruned(row)

    def _as_it_stands(self, items: Sequence[_Item], target: _Claim | None, stop: int) -> _Answer:
        """No explanation: the rows as they are."""
        count = stop if target is None else min(max(target.size - self.tree.size, 0), len(items))
        count = max(count, min(len(self.kept) + 1, len(items)))
        leaves: list[bytes | None] = [item[3] or None for item in items[:count]]
        last = items[count - 1][3] or self.last
        size = self.tree.size + count
        shift = size - items[count - 1][0]
        first = self.tree.size + 1
        change = _Change("history_rewritten", first, size, "neither numbers nor links lead through them")
        return _Answer((change,), leaves, count, size, last, shift, proven=False)

    def _adopt(self, answer: _Answer, items: Sequence[_Item], target: _Claim | None) -> None:
        begin = self.tree.size
        reached = target is not None and answer.size == target.size
        for change in answer.changes:
            if len(self.changes) < MAX_CHANGES:
                self.changes.append((change, answer.proven, answer.size))
            else:
                self.found.leave_off(change.code)
        self._find_copies(answer, items)
        for place in answer.pruned:
            self.pruned.add(place, place)
        hole = None in answer.leaves
        if hole:
            self.lost = True
        if self.lost:
            self.tree = Tree()
            self.tree.size = answer.size
        else:
            self._absorb([hashed for hashed in answer.leaves if hashed is not None], answer.size)
        self.kept.clear()
        self.ahead = deque(items[answer.used :])
        self.size, self.last, self.shift = answer.size, answer.last, answer.shift
        self.moved = self.moved or bool(self.shift)
        self.window_last, self.window_shift = self.last, self.shift
        self.relinked, self.false_last = answer.relinked, answer.false_last
        self._refresh()
        if target is not None and not reached and self.ahead:
            self.waiting = target  # so much was changed that it is told in several stretches
        if target is None or not reached:
            return
        if answer.proven:
            if target.size == self.trunk:
                self.trunk_vouched = True
            self._vouched_for(target)
        elif hole:
            self.not_compared += 1
        else:
            self.broken = True
            self._unresolved(begin, answer, items, target)

    def _absorb(self, leaves: list[bytes], size: int) -> None:
        """Add leaves, and look at the checkpoints from outside on the way."""
        at = 0
        while self.shown_at < len(self.shown) and (shown := self.shown[self.shown_at]).size <= size:
            count = shown.size - self.tree.size
            if count > len(leaves) - at:
                break
            if count >= 0:
                self.tree.extend(leaves[at : at + count])
                at += count
                self._compare(shown, self.tree)
            self.shown_at += 1
        self.tree.extend(leaves[at:])

    def _unresolved(self, begin: int, answer: _Answer, items: Sequence[_Item], target: _Claim) -> None:
        """The sealed root does not come out: say between where, and what can be said of it."""
        first, last = begin + 1, target.size
        if any(change.code == "history_rewritten" for change in answer.changes):
            return
        changed = [change for change in answer.changes if change.code == "event_changed"]
        linked = all(item[2] is not None for item in items[: answer.used])
        if len(answer.changes) == 1 and changed and linked:
            place = changed[0].first
            self.changes = [entry for entry in self.changes if entry[0] is not changed[0]]
            behind = place if changed[0].how else place + 1
            self.unresolved = Finding(
                "logs_spliced",
                behind,
                last,
                f"from event {behind} on the events are of another chain: event {behind} does not follow event "
                f"{behind - 1}, and together they do not lead to what the checkpoint of {last} events sealed",
            )
            return
        later = self._later(answer, items, target)
        if later:
            self.unresolved = Finding("event_removed", first, last, later)
            return
        self.unresolved = Finding(
            "history_rewritten",
            first,
            last,
            f"the events {first} to {last} are not those that the checkpoint of {last} events sealed: at least one was "
            f"changed or removed, and the links of those after it were made anew{_unheld(items[: answer.used], first)}",
        )

    def _later(self, answer: _Answer, items: Sequence[_Item], target: _Claim) -> str:
        """Events that are later than the checkpoint over them: so many before them are missing."""
        count = 0
        for item in reversed(items[: answer.used]):
            if not item[2] or _time_of(item[2]) <= target.time:
                break
            count += 1
        around = items[max(answer.used - 1, 0) : answer.used + 1]  # the last of them and the one behind it, if any
        times = [_time_of(item[2]) for item in around if item[2]]
        if not count or times != sorted(times):
            return ""
        size = target.size
        return (
            f"at least {count} of the events up to {size} {_is(1, count)} missing: event {size} is later than the "
            f"checkpoint of {size} events ({target.time}); numbers and links of those after it were made anew"
        )

    def _find_copies(self, answer: _Answer, items: Sequence[_Item]) -> None:
        """Whether what was inserted is a copy of an event nearby."""
        for change in answer.changes:
            if change.code == "event_inserted" and change.first == change.last and change.item is not None:
                same = [item for item in items if item is not change.item and _content(item) == _content(change.item)]
                if same and _content(change.item):
                    at = next(at for at, entry in enumerate(self.changes) if entry[0] is change)
                    number = same[0][0] + (answer.shift if same[0][0] > change.item[0] else 0)
                    how = f"it is a copy of event {number}; {change.how}"
                    self.changes[at] = (change._replace(code="event_duplicated", how=how), *self.changes[at][1:])

    # The end.

    def _settle_at_end(self) -> bool:
        """What is left when there are no more events; False when that is nothing."""
        self._refresh()
        if (claim := self._settle()) is not None:
            self._explain(claim)
            return True
        end = self.source.end()
        if self.end_tried or end is None or not self.kept or self.lost or self.broken or self.relinked:
            return False
        self.end_tried = True
        if end.size != self.size or end.last_leaf == self.last:
            return False
        tree = self._now()
        if tree is None or tuple(tree.peaks) == end.peaks:
            return False
        waiting, self.ahead = self.ahead, deque()
        assert not waiting
        self._explain(None)
        return True

    def _finish(self) -> None:
        while self.front:
            self._checkpoint(min(self.front, key=lambda waiting: waiting[2]))
            self._refresh()
        self._passed(self.kept)
        self._tell_changes()
        self._tell_keys()
        self._tell_shown()
        self._tell_end()
        self._tell_gone()
        self._tell_rest()

    def _tell_changes(self) -> None:
        """The changes that were found, each by its name."""
        self._tell_swaps()
        self._tell_copies()
        looked = 0
        for change, proven, size in self.changes:
            how = change.how
            if change.code == "event_changed" and change.item is not None and not how:
                looked += 1
                how = _what_changed(change, self.source if looked <= MAX_LOOKED_AT else None)
            sure = f"; the checkpoint of {size} events confirms it" if proven else ""
            self.found.add(
                change.code,
                change.first,
                change.last,
                f"{_subject(change)} {_SAID[change.code].format(*_verbs(change))}: {how}{sure}",
            )
        if self.unresolved is not None:
            finding = self.unresolved
            more = f"; {self.differing} later checkpoints do not fit either" if self.differing else ""
            code = finding.code
            if code == "history_rewritten" and self.newest_size > self.size:
                code = "event_removed"
                more += f"; the log has {self.newest_size - self.size} events fewer than its newest checkpoint"
            self.found.add(code, finding.first, finding.last, finding.sentence + more)

    def _tell_swaps(self) -> None:
        """Changed events of which each fits in the place of another one were swapped."""
        changed = [
            entry
            for entry in self.changes
            if entry[0].code == "event_changed" and entry[0].item is not None and entry[0].item[2]
        ]
        places: dict[int, int] = {}
        for place, (change, _, _) in enumerate(changed):
            for other, (there, _, _) in enumerate(changed):
                assert change.item is not None
                if place != other and _rehash(change.item[2] or b"", there.first, there.before) == there.true:
                    places[place] = other
        for place, other in places.items():
            if places.get(other) == place and place < other:
                one, two = changed[place], changed[other]
                swap = _Change(
                    "events_swapped", one[0].first, two[0].first, "in each other's place they fit what was sealed"
                )
                self.changes = [entry for entry in self.changes if entry[0] is not one[0] and entry[0] is not two[0]]
                self.changes.append((swap, one[1] and two[1], two[2]))

    def _tell_copies(self) -> None:
        """What was inserted may be a copy of an event far away: read the log once more."""
        wanted: dict[bytes, list[_Change]] = {}
        for change, _, _ in self.changes:
            if change.code == "event_inserted" and change.item is not None and _content(change.item):
                wanted.setdefault(_content(change.item), []).append(change)
        if not wanted:
            return
        try:
            for row in self.source.again():
                content = _content_of(row)
                for change in wanted.get(content, ()):
                    if change.item is not None and row[0] != change.item[0] and change.first == change.last:
                        at = next((at for at, entry in enumerate(self.changes) if entry[0] is change), None)
                        if at is not None:
                            how = f"it is a copy of event {row[0]}; {change.how}"
                            found = change._replace(code="event_duplicated", how=how)
                            self.changes[at] = (found, *self.changes[at][1:])
        except (*_SQLITE, Unreadable):
            return

    def _tell_keys(self) -> None:
        """Checkpoints that were signed by somebody else than the one whose turn it was."""
        named: dict[bytes, int] = {}
        wanted = {key_id for _, _, ids in self.strangers for key_id in ids}
        if wanted:
            for row in self.source.checkpoints_again():
                signed = _Signed.read(row[2].decode("utf-8", "replace") if isinstance(row[2], bytes) else row[2])
                if signed.checkpoint is not None and signed.checkpoint.next_key.id in wanted:
                    named.setdefault(signed.checkpoint.next_key.id, signed.checkpoint.size)
            if self.created is not None:
                with contextlib.suppress(NoteError):
                    named[PublicKey.parse(self.created[1]).id] = 0
        for shown in self.shown:
            shown.seal = self._seal_of(shown)
        sealed = [shown for shown in self.shown if shown.seal is not False]
        proven = max((shown.size for shown in sealed if shown.fits), default=0)
        refuted = max((shown.size for shown in sealed if shown.fits is False), default=0)
        for before, size, ids in self.strangers:
            by = next((named[key_id] for key_id in ids if key_id in named), None)
            beginning = f"the checkpoint of {size} events is not signed by the key that {_named_by(before)}"
            if by is not None and by != before:
                self.found.add("resealed", before + 1, size, f"{beginning}, but by the one that {_named_by(by)}")
            elif refuted >= size:
                self.found.add(
                    "resealed",
                    before + 1,
                    size,
                    f"{beginning}, and a checkpoint from outside does not fit: the log was sealed anew from there on",
                )
            elif proven >= size:
                self.found.add(
                    "checkpoint_missing",
                    before + 1,
                    size,
                    f"{beginning}: a checkpoint between them was removed (a checkpoint "
                    "from outside confirms the events)",
                )
            else:
                self.found.add("key_chain_broken", before + 1, size, beginning)

    def _seal_of(self, shown: _Shown) -> bool | None:
        """Whether a checkpoint from outside is signed by a key of the log; ``None`` where its key is not known."""
        if shown.inside:
            return True
        signed = shown.signed
        for signature in signed.signatures:
            key, trusted = self.known_keys.get(signature.key_id, (None, False))
            if key is not None and signature.is_by(key):
                good = self.judge.is_good(signed, key)
                if good and signed.checkpoint is not None:
                    self._know(signed.checkpoint.next_key, trusted=trusted)
                return good
        return None

    def _tell_shown(self) -> None:
        """Checkpoints from outside."""
        newest: tuple[_Shown, str] | None = None
        for shown in self.shown:
            size, seal = shown.size, shown.seal
            unsure = "" if seal else "; its signature cannot be checked with the keys that the log still names"
            if seal is False:
                self.found.add("outside_unusable", 0, 0, f"the signature of {shown.name} is not good")
            elif size > self.size:
                newest = shown, unsure
            elif shown.fits is None and not shown.inside:
                self.found.add("not_compared", 0, 0, f"{shown.name} could not be compared with the log")
            elif shown.fits is False:
                self.found.add(
                    "outside_differs", 1, size, f"the events 1 to {size} are not those of {shown.name}{unsure}"
                )
            elif shown.fits and not shown.inside:
                self.compared += 1
                self.found.add(
                    "checkpoint_missing", size, size, f"{shown.name} fits the log, and is not in it any more"
                )
                found = shown.signed.checkpoint
                if seal and size > self.sealed and found is not None:
                    self.sealed, self.sealed_time, self.root = size, found.time, found.root
            else:
                self.compared += 1
        if newest is not None:
            shown, unsure = newest
            size = shown.size
            self.found.add(
                "tail_cut",
                self.size + 1,
                size,
                f"the log ends with event {self.size}, and there is {shown.name}: "
                f"{_events(self.size + 1, size)} {_was(self.size + 1, size)} cut off{unsure}",
            )

    def _tell_end(self) -> None:
        """What the log says of its own end, against what is there."""
        end = self.source.end()
        if end is None:
            if self.source.form == "log":
                self.found.add("log_row_changed", 0, 0, "the log does not say where it ends")
            return
        reach = self.newest_size if self.moved else max(self.newest_size, end.size)
        if reach > self.size and not self._explained_by_removal():
            by = (
                f"its newest checkpoint is of {reach}"
                if self.newest_size == reach
                else f"it says itself that it has {reach}"
            )
            self.found.add(
                "tail_cut",
                self.size + 1,
                reach,
                f"the log ends with event {self.size}, and {by}: {_events(self.size + 1, reach)} "
                f"{_was(self.size + 1, reach)} cut off",
            )
        if end.sealed > self.newest_size:
            self.found.add(
                "checkpoint_missing",
                self.newest_size,
                end.sealed,
                f"the log says that it is sealed up to event {end.sealed}, and its newest checkpoint is of "
                f"{self.newest_size}",
            )
        if self.found.of(*_STRUCTURE, "tail_cut", "checkpoint_missing") or self.lost:
            return
        self._tell_end_row(end)

    def _explained_by_removal(self) -> bool:
        return self.unresolved is not None and bool(self.found.of("event_removed"))

    def _tell_end_row(self, end: _End) -> None:
        if end.size < self.size:
            first = end.size + 1
            self.found.add(
                "event_inserted",
                first,
                self.size,
                f"{_events(first, self.size)} {_was(first, self.size)} added behind the end that the log itself tells",
            )
            return
        tree = self._now()
        differs = [
            name
            for name, same in (
                ("peaks", tree is None or tuple(tree.peaks) == end.peaks),
                ("last_leaf", self.last == end.last_leaf or not self.size),
                ("last_time", not self.last_time or self.last_time == end.last_time),
                ("sealed", end.sealed == self.newest_size),
                ("sealed_time", end.sealed_time == self.newest_time),
                ("next_key", not self.checkpoints or self.key is None or end.next_key == str(self.key)),
            )
            if not same
        ]
        if not self.checkpoints and self.created is not None and end.next_key != self.created[1] and not self.replacing:
            differs.append("next_key")
        if differs:
            self.found.add(
                "log_row_changed", 0, 0, f"in the row that tells the log's end, {', '.join(differs)} is not so"
            )

    def _still_there(self) -> Iterator[tuple[int, int]]:
        """Events whose personal data were erased, as the log says, and are there."""
        there = _Bits()
        if self.erased and not self.moved:
            for (sequence,) in self.source.beside_left():
                if isinstance(sequence, int) and sequence > 0 and sequence in self.erased:
                    there.add(sequence, sequence)
        return there.runs()

    def _tell_gone(self) -> None:
        """What is missing, against what the log says was taken out."""
        removed = self.found.of(*_STRUCTURE)
        if self.source.has_personal:
            for first, last in self.without_personal.without(self.erased):
                self.found.add(
                    "personal_missing",
                    first,
                    last,
                    f"the personal data of {_events(first, last)} are gone, and no event says why",
                )
            for first, last in self._still_there():
                self.found.add(
                    "still_there",
                    first,
                    last,
                    f"the personal data of {_events(first, last)} are said to be erased, and still there",
                )
            count = len(self.without_personal)
            if count and not self.found.of("personal_missing"):
                self.found.add("personal_erased", 0, 0, f"the personal data of {_so_many(count)} were erased")
        elif len(self.without_personal):
            self.found.add("personal_left_out", 0, 0, "the bundle was made without personal data")
        for first, last in self.pruned.without(self.expired):
            self.found.add(
                "pruned_without_reason",
                first,
                last,
                f"{_events(first, last)} {_was(first, last)} removed but for the hash, and no "
                "event says that their time was over",
            )
        if self.trunk:
            named = _Bits()
            named.add(self.trunk, self.trunk)
            if self.expired_trunk < self.trunk and next(named.without(self.expired), None) is not None:
                self.found.add(
                    "trunk_without_reason",
                    1,
                    self.trunk,
                    f"the oldest {self.trunk} events are gone, and no event says that their time was over",
                )
            if not self.trunk_vouched and not self.found.of("trunk_not_vouched"):
                self.found.add(
                    "trunk_not_vouched",
                    1,
                    self.trunk,
                    f"the oldest {self.trunk} events are gone, and no checkpoint of {self.trunk} "
                    "events vouches for what stands for them",
                )
        gone = len(self.pruned) + self.trunk
        if gone and not self.found.of("pruned_without_reason", "trunk_without_reason", "trunk_not_vouched"):
            self.found.add("events_expired", 0, 0, f"of {_so_many(gone)} whose time was over, only hashes are left")
        spans = [(finding.first, finding.last) for finding in removed]
        self.found.drop(
            "clock_ran_backwards",
            lambda finding: any(first <= finding.first <= last + 1 for first, last in spans),
        )
        self.found.drop(
            "personal_unexpected",
            lambda finding: self.moved or any(first <= finding.first <= last for first, last in spans),
        )
        if self.moved:
            self.found.drop("personal_missing", lambda finding: True)

    def _tell_rest(self) -> None:
        for finding in self.source.problems():
            self.found.add(*finding)
        waiting = self.source.beside
        while (row := waiting.peek()) is not None:
            waiting.take()
            if not self.moved and not self.found.of(*_STRUCTURE, "tail_cut") and not _overwritten(row):
                self._unexpected(row[0])
        if self.migrated:
            before = len(self.found.of("clock_ran_backwards"))
            self.found.drop("clock_ran_backwards", lambda finding: finding.first <= self.migrated)
            jumps = before - len(self.found.of("clock_ran_backwards"))
            also = f"; their times run backwards {jumps} times" if jumps else ""
            self.found.add(
                "migrated",
                1,
                self.migrated,
                f"the events 1 to {self.migrated} were taken over from a log without a chain{also}",
            )
        if self.not_compared:
            self.found.add(
                "not_compared",
                0,
                0,
                f"with {self.not_compared} of the checkpoints the events could not be compared: hashes before are lost",
            )
        self._tell_trust()
        first, last = self.sealed + 1, self.size
        if first <= last:
            since = f"{_events(first, last)} {_is(first, last)} not sealed yet"
            self.found.add("unsealed", first, last, since)
            overdue = last - self.sealed > OVERDUE * max(self.largest_step, 1000)
            overdue = overdue or _days_between(self._unsealed_since(), self.last_time) > OVERDUE_DAYS
            if overdue and self.sealed and self.sealed == self.newest_size and not self.found.of(*_STRUCTURE):
                self.found.add(
                    "seal_overdue", first, last, f"{since}, although the program would have sealed them long ago"
                )

    def _tell_trust(self) -> None:
        for key in self.strange_keys:
            self.found.add("wrong_key", 0, 0, f"the key {key} is of another log than {self.origin or 'this one'}")
        if not self.checkpoints:
            self.found.add("nothing_sealed", 0, 0, "there is no checkpoint in the log")
            if self.created is not None and any(str(key) == self.created[1] for key in self.given):
                self.ever_trusted = True
        if not self.given:
            if not self.strange_keys:
                self.found.add("no_key", 0, 0, "no public key was given")
        elif not self.ever_trusted and not self.found.of("key_chain_broken", "resealed", "checkpoint_changed"):
            self.found.add(
                "resealed",
                1,
                self.size,
                f"the key that was given, {self.given[0]}, bears this log's name and has signed none of its "
                "checkpoints: the log was made anew with other keys, or the key is not the one that was published",
            )

    def report(self, log: str, damage: str) -> Report:
        """All of it."""
        return Report(
            log=log,
            origin=self.origin,
            form=self.source.form,
            events=self.size,
            present=self.present,
            pruned=len(self.pruned),
            trunk=self.trunk,
            erased=len(self.without_personal) if self.source.has_personal else 0,
            first_time=self.first_time,
            last_time=self.last_time,
            checkpoints=self.checkpoints,
            sealed=self.sealed,
            sealed_time=self.sealed_time,
            unsealed_since=self._unsealed_since(),
            root=self.root,
            trusted=self.ever_trusted,
            compared=self.compared,
            findings=self.found.all(),
            left_off=self.found.left_off,
            damage=damage,
        )

    def _unsealed_since(self) -> str:
        if self.sealed >= self.size:
            return ""
        first = next((item for item in self.kept if item[2]), None)
        return _time_of(first[2]) if first is not None and first[2] else ""


OVERDUE: Final = 10
"""So many times the largest step between two checkpoints, or 10,000 events, is too much without one."""

OVERDUE_DAYS: Final = 3
"""Likewise so many days; the program may be told to wait for one."""

MAX_CHANGES: Final = 1000
"""Changes that are kept until the end, when it is known how they belong together."""

MAX_LOOKED_AT: Final = 5
"""Changed events of which it is looked for what was changed."""

_SAID: Final[Mapping[str, str]] = {
    "event_changed": "{0} changed",
    "event_removed": "{0} removed",
    "events_swapped": "{0} swapped",
    "event_duplicated": "{0} inserted",
    "event_inserted": "{0} inserted",
    "events_renumbered": "{0} renumbered",
    "event_malformed": "{1} of no form that the program writes",
    "pruned_changed": "{1} pruned, and the hash was changed",
    "pruned_unexpected": "{1} no pruned one",
    "history_rewritten": "{0} rewritten",
}


def _subject(change: _Change) -> str:
    if change.code == "events_swapped":
        return f"event {change.first} and event {change.last}"
    return _events(change.first, change.last)


def _verbs(change: _Change) -> tuple[str, str]:
    return _was(change.first, change.last), _is(change.first, change.last)


def _days_between(first: str, last: str) -> float:
    try:
        return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds() / 86_400
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _events(first: int, last: int) -> str:
    return f"event {first}" if first == last else f"the events {first} to {last}"


def _so_many(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _was(first: int, last: int) -> str:
    return "was" if first == last else "were"


def _is(first: int, last: int) -> str:
    return "is" if first == last else "are"


def _unheld(items: Sequence[_Item], first: int) -> str:
    """Events behind which a pruned one stands: no other event holds their hash."""
    places = [first + at for at, item in enumerate(items[1:]) if item[2] is None]
    if not places:
        return ""
    names = ", ".join(str(place) for place in places[:10]) + (", …" if len(places) > 10 else "")
    return f"; or one of those was changed whose hash no other event holds, because pruned ones follow them ({names})"


def _named_by(size: int) -> str:
    return f"the checkpoint of {size} events names" if size else "the log began with"


def _quoted_hex(value: bytes) -> str:
    if len(value) != HASH_BYTES:
        raise ValueError
    return f'"{value.hex()}"'


def _leaf_of(event: Event) -> bytes:
    """The leaf of what somebody else may have written; empty for columns that could not have been written by us."""
    committed = event.commitment
    try:
        if not isinstance(event.time, str) or not isinstance(event.kind, str) or len(event.payload) > MAX_VALUE:
            return b""
        if committed is not None and len(committed) != HASH_BYTES:
            return b""
        text = leaf(event)
    except (TypeError, ValueError, AttributeError):
        return b""
    return text if len(text) <= MAX_LEAF else b""


def _object(payload: Any) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _ranges(named: Any) -> Iterator[tuple[int, int]]:
    """Sequences that an event names: numbers, and pairs of the first and the last."""
    for item in named if isinstance(named, list) else ():
        pair = [item, item] if type(item) is int else item
        whole = isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and type(pair[1]) is int
        if whole and 0 < pair[0] <= pair[1]:
            yield pair[0], pair[1]


def _committed(row: _Row) -> bytes | None:
    """What personal data commit to."""
    _, salt, data, _, _, _ = row
    if not isinstance(salt, bytes) or not isinstance(data, bytes) or len(salt) != HASH_BYTES:
        return None
    return commitment(salt, data)


def _overwritten(row: _Row) -> bool:
    """Whether nothing is left of personal data: zeros stand where they stood, since nothing may be moved there."""
    return row[5] == 1 and all(isinstance(value, bytes) and not value.strip(b"\x00") for value in row[1:3])


def _index_fits(row: _Row) -> bool:
    """Whether the columns by which personal data are found are what the data say."""
    _, _, data, subject, agent, _ = row
    # as nearly always: the digits of a hash, in which nothing is to be escaped, and nobody of the staff
    plain = agent is None and isinstance(subject, bytes) and subject.isalnum()
    if plain and b'"subject_ref":"%b"' % subject in data and b'"agent":' not in data and b'"by":' not in data:
        return True
    of_staff = b'"agent":' if b'"agent":' in data else b'"by":'
    for name, value in ((b'"subject_ref":', subject), (of_staff, agent)):
        if value is None and name not in data:
            continue
        if isinstance(value, bytes) and name + b'"' + value + b'"' in data and b'"' not in value and b"\\" not in value:
            continue
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if text is None:
            fits = name + b'"' not in data
        else:
            coded = name + encode_basestring(unicodedata.normalize("NFC", str(text))).encode("utf-8", "replace")
            fits = coded in data
        if not fits:
            return False
    return True


def _time_of(text: bytes) -> str:
    try:
        return str(json.loads(text)["time"])
    except (ValueError, KeyError, TypeError):
        return ""


def _content_of(row: _Row) -> bytes:
    _, time, kind, call_id, line, outcome, payload, committed, _ = row
    try:
        return _content(
            (0, None, leaf(Event(0, time, kind, call_id, line, outcome, payload, committed, FIRST_PREVIOUS)), b"")
        )
    except (TypeError, ValueError, AttributeError):
        return b""


# --- what of an event was changed ------------------------------------------------------------------------------------

_COLUMNS: Final = {
    "call": "call_id",
    "kind": "kind",
    "line": "line",
    "outcome": "outcome",
    "payload": "payload",
    "personal": "commitment",
    "previous": "previous",
    "sequence": "sequence",
    "time": "time",
}
"""Names in a leaf, and those of the columns."""

_OUTCOMES: Final = (None, "granted", "declined", "no_answer", "invalid", "abandoned", "failed")

MAX_TRIED: Final = 40_000
"""Hashes that are tried to name the byte that was changed."""


def _what_changed(change: _Change, source: _Source | None) -> str:
    """Which column of an event was changed, and what stood there, where that can be found out: the hash of what was
    there is known, so a guess is proven when it has that hash."""
    assert change.item is not None
    number, _, text, _ = change.item
    unknown = "the event behind it holds another hash of it"
    if source is None or not text:
        return unknown
    at = text.index(_BEFORE_PREVIOUS) + len(_BEFORE_PREVIOUS)
    end = text.index(_BEFORE_TIME, at)
    stands = b'%b%b","sequence":%d%b' % (text[:at], change.before.hex().encode(), change.first, text[end:])
    found = _one_byte(b"\x00" + stands, lambda digest: digest == change.true)
    if found is not None:
        place, byte = found[0] - 1, found[1]
        name = _column_at(stands, place)
        return f"a character of its column {name} was {chr(byte)!r} and is {chr(stands[place])!r} now"
    columns = json.loads(stands)
    for name, guesses in (("outcome", _OUTCOMES), ("call", (None,)), ("line", (None,)), ("personal", (None,))):
        for guess in guesses:
            if _of_columns({**columns, name: guess}) == change.true:
                before = "empty" if guess is None else repr(guess)
                return f"its column {_COLUMNS[name]} was {before} and is {columns[name]!r} now"
    payload = source.payload(number)
    if payload is not None:
        head, behind = stands.split(columns["payload"].encode(), 1)

        def fits(digest: bytes) -> bool:
            return hashlib.sha256(b"\x00" + head + digest.hex().encode() + behind).digest() == change.true

        found = _one_byte(payload, fits)
        if found is not None:
            place, byte = found
            return f"byte {place + 1} of its payload was 0x{byte:02x} and is 0x{payload[place]:02x} now"
    return f"{unknown}; its payload was changed, or more than one character of its columns"


def _one_byte(data: bytes, fits: Callable[[bytes], bool]) -> tuple[int, int] | None:
    """The place and the value of the one character with which the hash is right; in much data, of the one bit."""
    tried = 0
    bits = len(data) * 96 > MAX_TRIED
    prefix = hashlib.sha256()
    for place, byte in enumerate(data):
        rest = data[place + 1 :]
        for other in (byte ^ 1 << bit for bit in range(8)) if bits else (*range(32, 127), byte ^ 128):
            if tried > MAX_TRIED:
                return None
            tried += 1
            digest = prefix.copy()
            digest.update(bytes((other,)) + rest)
            if other != byte and fits(digest.digest()):
                return place, other
        prefix.update(bytes((byte,)))
    return None


def _column_at(text: bytes, place: int) -> str:
    """The column to which a byte of a leaf belongs."""
    names = [(text.find(f'"{name}":'.encode()), column) for name, column in _COLUMNS.items()]
    return max((at, column) for at, column in names if 0 <= at <= place)[1]


def _of_columns(columns: Mapping[str, Any]) -> bytes:
    text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return leaf_hash(text.encode("utf-8", "surrogatepass"))


# --- a part of a log -------------------------------------------------------------------------------------------------


def _verify_part(source: _Bundle, verification: _Verification) -> None:
    """Chosen events, each with its proof that it is under the newest checkpoint."""
    found, claim, last, count = verification.found, None, 0, 0
    said: Any = None
    for record in source.events():
        if "checkpoint" in record:
            row = record["checkpoint"] if isinstance(record["checkpoint"], dict) else {}
            source.checkpoints.put((row.get("size"), row.get("time"), row.get("note")))
            verification.take_checkpoint()
            claim = verification.claim or claim
            continue
        if "end" in record:
            said = record["end"].get("events") if isinstance(record["end"], dict) else None
            continue
        event = record["event"] if isinstance(record["event"], dict) else {}
        beside = event.get("beside")
        if isinstance(beside, dict):
            source.beside.put(_beside_of(beside))
        number, _, text, hashed = verification.read(_event_of(event))
        count += 1
        if number <= last:
            found.add("event_duplicated", number, number, f"event {number} is there twice, or in the wrong order")
            continue
        last = number
        proof = _hexes(event.get("proof"))
        if not text:
            found.add("event_malformed", number, number, f"event {number} is of no form that the program writes")
        elif claim is None or not inclusion_holds(hashed, number - 1, claim.size, proof, claim.root):
            size = 0 if claim is None else claim.size
            found.add(
                "proof_fails",
                number,
                number,
                f"event {number} is not proven to be under the checkpoint of {size} events: it was "
                "changed, or its proof was",
            )
    verification.finish_part(claim, count, said)


# --- the program -----------------------------------------------------------------------------------------------------


def verify(
    log: str | Path | Tables,
    keys: Iterable[PublicKey] = (),
    checkpoints: Iterable[Outside] = (),
    *,
    good: Callable[[bytes, bytes, bytes], bool] = genuine,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify a log: an SQLite file, a bundle, or tables that somebody has opened.

    ``keys``: public keys as they were published. ``checkpoints``: from outside the log. ``good`` checks an Ed25519
    signature. ``progress`` is told events so far, and in all as the log says. Constant memory. Raises
    :class:`Unreadable` for what is no log.
    """
    source, outside = _opened(log), tuple(checkpoints)
    name = "" if isinstance(log, Tables) else str(log)
    judged = functools.partial(_verified, name=name, keys=tuple(keys), outside=outside, good=good, progress=progress)
    try:
        report = judged(source)
    except Unreadable:
        if not isinstance(source, _Sqlite) or not source.disturbed():
            raise
    else:
        if not isinstance(source, _Sqlite) or not source.disturbed():
            return report
    return judged(_Sqlite(Path(name), live=True))


def _verified(
    source: _Source,
    *,
    name: str,
    keys: Sequence[PublicKey],
    outside: Sequence[Outside],
    good: Callable[[bytes, bytes, bytes], bool],
    progress: Callable[[int, int], None] | None,
) -> Report:
    # What is there already is left out of the search for garbage, which hundreds of thousands of rows would have begun
    # again and again: a tenth of the time.
    frozen = gc.get_freeze_count() == 0
    if frozen:
        gc.freeze()
    try:
        verification = _Verification(source, keys, outside, good, progress)
        damage = ""
        if isinstance(source, _Bundle) and source.newer:
            told_of = "the bundle is of a newer form: nothing of it is known here, and nothing was verified"
            verification.found.add("newer_version", 0, 0, told_of)
        elif isinstance(source, _Bundle) and source.form == "part":
            _verify_part(source, verification)
        else:
            damage = verification.run()
        return verification.report(name, damage)
    except _SQLITE as error:
        raise Unreadable(_sqlite_problem(error)) from None
    except OSError as error:
        raise Unreadable(f"it cannot be read ({error.strerror or error})") from None
    finally:
        source.close()
        if frozen:
            gc.unfreeze()


def _opened(log: str | Path | Tables) -> _Source:
    if isinstance(log, Tables):
        return log
    path = Path(log)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("it is not a file")
        if about.st_size == 0:
            raise Unreadable("it is empty (0 bytes)")
        with path.open("rb") as file:
            beginning = file.read(16)
    except (OSError, ValueError) as error:
        raise Unreadable(f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if beginning == b"SQLite format 3\x00":
        return _Sqlite(path)
    if beginning[:2] == b"\x1f\x8b" or beginning[:1] == b"{":
        try:
            return _Bundle(path, packed=beginning[:2] == b"\x1f\x8b")
        except OSError as error:
            raise Unreadable(f"it cannot be read ({error.strerror or error})") from None
    raise Unreadable("it is neither a database nor an evidence bundle of ivr-consent; it may be encrypted")


def told(report: Report) -> Iterator[str]:
    """A report as lines of text, not yet made safe for a terminal."""
    what = {"log": "log", "bundle": "bundle of the log", "part": "part of the log"}[report.form]
    yield f"{report.log}: {what} {report.origin}"
    times = f", {report.first_time} to {report.last_time}" if report.first_time else ""
    gone = [
        f"{count} {name}"
        for count, name in ((report.trunk + report.pruned, "expired"), (report.erased, "without their personal data"))
        if count
    ]
    yield f"  events:      {report.present if report.form == 'part' else report.events}{times}" + (
        f" ({', '.join(gone)})" if gone else ""
    )
    yield f"  checkpoints: {report.checkpoints}" + (f", and {report.compared} from outside" if report.compared else "")
    if report.sealed:
        by = "the given key" if report.trusted else "a key that only the log itself names"
        yield f"  sealed:      up to event {report.sealed}, {report.sealed_time}, under {by}"
    if report.unsealed_since:
        yield f"  not sealed:  since {report.unsealed_since}"
    for finding in report.findings:
        yield ""
        yield f"{finding.level.upper()} {finding.code}: {finding.sentence}"
        yield f"  {finding.meaning}"
    for code, count in report.left_off.items():
        yield f"and {count} more of {code}"
    yield ""
    if report.damage:
        yield f"NOT READABLE to its end: {report.damage}"
    yield {
        0: "intact",
        1: "NOT INTACT",
        INCOMPLETE: "nothing is wrong; not everything could be verified",
        UNREADABLE: "NOT VERIFIED",
    }[report.status]


def _safe(text: str) -> str:
    """A line without a character that a terminal would act upon."""
    return "".join(
        character
        if character.isprintable()
        else f"\\x{ord(character):02x}"
        if ord(character) < 256
        else f"\\u{ord(character):04x}"
        for character in text
    )


def read_keys(given: str) -> list[PublicKey]:
    """Public keys: one as text, or those in a file, one a line. Raises :class:`NoteError` and :class:`OSError`."""
    if "+" in given and not os.path.exists(given):  # noqa: PTH110 - a path would not take every text
        return [PublicKey.parse(given.strip())]
    with open(given, "rb") as file:  # noqa: PTH123 - a name as it was given
        text = file.read(1 << 20).decode("utf-8", "replace")
    keys = [PublicKey.parse(line.strip()) for line in text.splitlines() if line.strip()]
    if not keys:
        raise NoteError("there is no public key in it")
    return keys


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(
        prog="verifier.py",
        description="Verify a log of ivr-consent, or an evidence bundle made of it.",
        epilog="Exit status: 0 intact (there may be notices); 1 something is wrong; 2 wrong command line; 3 nothing is "
        "wrong, but not everything could be verified; 5 not readable as a log.",
    )
    parser.add_argument("log", metavar="LOG", help="an SQLite file, or a bundle (also gzip)")
    parser.add_argument(
        "--key", action="append", default=[], metavar="KEY", help="public key as it was published: a file, or its text"
    )
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="FILE", help="a text with checkpoints from outside the log"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="print nothing: the exit status tells")
    options = parser.parse_args(arguments)
    keys: list[PublicKey] = []
    outside: list[Outside] = []
    try:
        for given in options.key:
            keys += read_keys(given)
        for given in options.checkpoint:
            with open(given, "rb") as file:  # noqa: PTH123 - as it was given
                found = outside_in(file.read(MAX_OUTSIDE), given)
            if not found:
                raise NoteError("there is no checkpoint in it")  # noqa: TRY301 - told like any other wrong option
            outside += found
    except (NoteError, OSError, ValueError) as error:
        parser.error(_safe(f"{given}: {getattr(error, 'strerror', None) or error}"))
    shown = _progress if sys.stderr.isatty() and not options.quiet else None
    try:
        report = verify(options.log, keys, outside, progress=shown)
    except Unreadable as error:
        if shown is not None:
            sys.stderr.write("\r\x1b[K")
        if options.json:
            print(json.dumps({"ok": False, "exit": UNREADABLE, "log": options.log, "damage": str(error)}))
        elif not options.quiet:
            print(_safe(f"{options.log}: {error}"), file=sys.stderr)
        return UNREADABLE
    if shown is not None:
        sys.stderr.write("\r\x1b[K")
    if options.json:
        print(json.dumps(report.plain(), indent=2).replace("\x7f", "\\u007f"))
    elif not options.quiet:
        encoding = sys.stdout.encoding or "utf-8"
        for line in told(report):
            print(_safe(line).encode(encoding, "backslashreplace").decode(encoding))
    return report.status


def _progress(done: int, total: int) -> None:
    share = f" ({100 * done // total} %)" if 0 < done <= total else ""
    sys.stderr.write(f"\r{done} events{share}\x1b[K")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
