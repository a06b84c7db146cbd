"""Checkpoints in time: after so many events, after so many seconds, and when a service ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ivr_consent.core.errors import LedgerError
from ivr_consent.logs import get_logger
from ivr_consent.store.chain import Chain
from ivr_consent.store.database import Database
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.sealing import origin
from ivr_consent.store.work import Request
from ivr_consent.verifier import Checkpoint, PublicKey, note

SEAL_DEADLINE_S: Final = 20.0
"""How long the sealer waits for the writer; nobody waits for the sealer."""

Published = Callable[[str], None]
"""Is given each checkpoint, a signed note, once it is on disk; on the sealer's thread, so it may take its time."""

log = get_logger()


class SealRequest(Request["str | None"]):
    """A checkpoint asked of the writer thread: it signs inside the transaction whose end the checkpoint tells."""

    def __init__(self, key: PublicKey, next_key: PublicKey, sign: Callable[[bytes], bytes]) -> None:
        super().__init__(self._sealed, apart=False)
        self._key, self._next_key, self._sign = key, next_key, sign

    def _sealed(self, chain: Chain, _: Database, time: str) -> str | None:
        """The note of the checkpoint added; ``None`` when another process was first."""
        if chain.next_key != str(self._key) or chain.tree.size == chain.sealed:
            return None
        time = max(time, chain.last_time)
        text = Checkpoint(origin(chain.log_id), chain.tree.size, chain.tree.root(), time, self._next_key).text()
        made = note(text, self._key, self._sign(text.encode()))
        chain.seal(made, time, str(self._next_key))
        return made


class Sealer:
    """Has checkpoints made when they are due.

    ``goes_on``: on a thread of its own, and one at the end. Else one at the end, where one is due.
    """

    def __init__(
        self, place: Place, submit: Callable[[SealRequest], None], *, published: Published | None, goes_on: bool
    ) -> None:
        self._place, self._submit, self._published = place, submit, published
        self._key = place.sealing_key()
        self._wake = threading.Event()
        self._closing = False
        self._unsealed = 0
        self._told = False
        self._once = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True) if goes_on else None
        if self._thread is not None:
            self._thread.start()

    def written(self, unsealed: int) -> None:
        """So many events are on disk and under no checkpoint. Called after each commit."""
        self._unsealed = unsealed
        if unsealed >= self._place.checkpoint_events:
            self._wake.set()

    def close(self) -> None:
        """Seal what has to be sealed, and end."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=SEAL_DEADLINE_S)
            self._guarded()
        elif self._unsealed:
            self._guarded(only_overdue=self._unsealed < self._place.checkpoint_events)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._place.checkpoint_s)
            self._wake.clear()
            if not self._closing:
                self._guarded()

    def _guarded(self, *, only_overdue: bool = False) -> None:
        """One attempt: whatever is wrong, calls go on, and the next attempt comes."""
        if not self._key.usable():
            return  # another user's log, which the service of that user seals
        try:
            if not only_overdue or self._overdue():
                self.seal()
            self._told = False
        except Exception as error:  # noqa: BLE001 - the root of a thread
            if not self._told:
                log.error("log_not_sealed", problem=str(error))
            self._told = True

    def seal(self) -> str | None:
        """One checkpoint, now; ``None`` when there is nothing new, or another process is at it.

        Raises :class:`LedgerError` when the key is not the one that the log names, or cannot be used.
        """
        with self._once, self._key.held() as mine:
            if not mine:
                return None
            chain = self._end()
            if chain.tree.size == chain.sealed and not self._unsealed:
                return None
            expected = PublicKey.parse(chain.next_key)
            try:
                if not self._key.recover(expected):
                    raise LedgerError(
                        f"{self._key.path} is not the key that seals the log {self._place.name} next: the log is "
                        "older than its key (its end was cut off, or an old copy was put in its place), or the key "
                        "is another log's; see: ivr-consent log verify"
                    )
                request = SealRequest(expected, self._key.prepare(chain.log_id), self._key.signer())
                self._submit(request)
                made = request.finished(SEAL_DEADLINE_S)
                if made is not None:
                    self._key.advance()
            except OSError as error:
                raise LedgerError(
                    f"{self._key.path} cannot be used ({error}); run this as the service's user, or see its disk"
                ) from None
        if made is not None and self._published is not None:
            self._published(made)
        return made

    def _end(self) -> Chain:
        database = open_for_reading(self._place)
        try:
            chain = Chain(database)
            chain.load()
            return chain
        finally:
            database.close()

    def _overdue(self) -> bool:
        sealed = self._end().sealed_time
        if not sealed:
            return True
        age = (datetime.now(UTC) - datetime.fromisoformat(sealed)).total_seconds()
        return not 0 <= age < self._place.checkpoint_s
