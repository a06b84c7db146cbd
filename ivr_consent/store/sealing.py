"""The key that seals the log: it signs one checkpoint, names its successor in it, and is destroyed.

Who steals the key that lies on the disk now can sign what comes after the newest checkpoint. What was sealed before
was sealed by keys that are gone: it cannot be signed anew, so a verifier that begins at the first public key finds it
rewritten. (journald's sealing once let old entries be sealed again with a newer key; here each checkpoint is good under
one key only, the one that the checkpoint before it names.)

Two files: ``NAME.key``, private, and ``NAME.pub``, the first public key as one line of text, to be given away. While a
checkpoint is being written there is a third, ``NAME.key.next``: whichever of the two keys the log names is the one. A
next key that was made once is used for the next checkpoint until one is written: after an error of the disk nobody can
tell whether the checkpoint that names it will turn out to be there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ivr_consent.core.errors import LedgerError
from ivr_consent.store import files
from ivr_consent.verifier import PublicKey

NAME: Final = "ivr-consent"
"""Origin of the checkpoints and name of the keys: this, a slash, the log's id."""

KEY_BYTES: Final = 32


def origin(log_id: str) -> str:
    """What a log calls itself in its checkpoints, and its keys in their signatures."""
    return f"{NAME}/{log_id}"


def good(public: bytes, message: bytes, signature: bytes) -> bool:
    """As :func:`ivr_consent.verifier.genuine`, forty times as fast."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class SealingKey:
    """The private key of a log, in files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.public_path = path.with_suffix(".pub")
        self._next_path = path.with_name(f"{path.name}.next")
        self._lock_path = path.with_name(f"{path.name}.lock")

    def usable(self) -> bool:
        """Whether this process may use it: the service's user may, another reader of the log need not."""
        folder = self.path.parent
        return os.access(folder, os.W_OK) and (not self.path.exists() or os.access(self.path, os.R_OK | os.W_OK))

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Be the only process that seals; gives False when another one does."""
        descriptor = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            files.give_to_owner_of_folder(descriptor, self._lock_path.parent)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def create(self, log_id: str) -> PublicKey:
        """The first key of a log: made, or found where a crash left it.

        Raises :class:`OSError`, and :class:`LedgerError` for a key file that is none.
        """
        if not self.path.exists():
            files.write(self.path, os.urandom(KEY_BYTES), 0o600)
        return PublicKey(origin(log_id), _public(_read(self.path)))

    def publish(self, keys: Sequence[PublicKey]) -> None:
        """Write the public key of a log, and those that replaced it, where none stands yet. Raises :class:`OSError`."""
        if keys and not self.public_path.exists():
            self._publish([str(key) for key in keys])

    def _publish(self, lines: Iterable[str]) -> None:
        # Other processes may be at it: each has a name of its own, and all write the same.
        files.write(self.public_path, "".join(f"{line}\n" for line in lines).encode(), 0o644, str(os.getpid()))

    def recover(self, expected: PublicKey) -> bool:
        """Finish what a crash left: whether the key in the file is then the one that the log names.

        Raises :class:`OSError` and :class:`LedgerError`.
        """
        if self._is(self.path, expected):
            return True
        if self._is(self._next_path, expected):
            self.advance()
            return True
        return False

    def fits(self, expected: PublicKey) -> bool:
        """Whether the log's next checkpoint can be signed. Changes nothing. Raises :class:`OSError`.

        Ask it while no checkpoint can be written; one that was written just before may still be moving the next key
        into its place, hence the third look.
        """
        return any(self._is(path, expected) for path in (self.path, self._next_path, self.path))

    def _is(self, path: Path, expected: PublicKey) -> bool:
        try:
            return _public(_read(path)) == expected.raw
        except (FileNotFoundError, LedgerError):
            return False  # overwritten already, or moved: the other file is the one

    def signer(self) -> Callable[[bytes], bytes]:
        """What signs with the present key, 64 bytes; it reads no file any more.

        Raises :class:`OSError` and :class:`LedgerError`.
        """
        return Ed25519PrivateKey.from_private_bytes(_read(self.path)).sign

    def prepare(self, log_id: str) -> PublicKey:
        """The next key, on disk beside the present one: made, or found where no checkpoint came of it.

        Raises :class:`OSError`.
        """
        found = self._next(log_id)
        return self._make_next(log_id) if found is None else found

    def replace(self, log_id: str) -> PublicKey:
        """A next key that nothing was ever signed under, its public half published; found where that was done before.

        Raises :class:`OSError`.
        """
        found, published = self._next(log_id), self.published()
        if found is not None and str(found) in published:
            return found
        made = self._make_next(log_id)
        self._publish([*published, str(made)])
        return made

    def published(self) -> list[str]:
        """The lines of the public file: the first key, and each that replaced one. Raises :class:`OSError`."""
        try:
            return self.public_path.read_text(encoding="utf-8", errors="replace").split()
        except FileNotFoundError:
            return []

    def _next(self, log_id: str) -> PublicKey | None:
        try:
            return PublicKey(origin(log_id), _public(_read(self._next_path)))
        except (FileNotFoundError, LedgerError):
            return None

    def _make_next(self, log_id: str) -> PublicKey:
        secret = os.urandom(KEY_BYTES)
        files.write(self._next_path, secret, 0o600)
        return PublicKey(origin(log_id), _public(secret))

    def advance(self) -> None:
        """The checkpoint is on disk: destroy the present key, the next one takes its place."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, bytes(KEY_BYTES))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._next_path.replace(self.path)
        files.flush_folder(self.path.parent)


def _public(secret: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def _read(path: Path) -> bytes:
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES or not any(secret):
        raise LedgerError(f"{path} is not the key of a log; restore the log and its key together")
    return secret
