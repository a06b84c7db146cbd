"""Callers as keyed pseudonyms, and reference codes of calls: both under a key that changes with the period.

Each period's key is random of its own. When no event of a period is left, its key is destroyed, and whatever pseudonym
of that period lies in some old copy leads to nobody any more.

All keys are in one text file, a line for each period, readable by its owner alone::

    # Keys of the callers' pseudonyms. ...
    2026Q4 0f1e2d... (64 hexadecimal digits)
    2026Q3 ----------------------------------------------------------------

Dashes stand where a key was destroyed. A line of nothing but 64 hexadecimal digits is the key of a site from before
there were periods: its pseudonyms name no period. The file is only ever changed in place, under a lock on itself: the
service may write this file, and not the directory that it is in.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from ivr_consent.config import Settings
from ivr_consent.core.decision import Reference
from ivr_consent.core.errors import ConfigurationError, ConsentError, Problem
from ivr_consent.logs import get_logger

Every = Literal["month", "quarter", "year"]
"""How often the key changes."""

KEY_BYTES: Final = 32
"""As long as the digest that it is used with."""

REF_DIGITS: Final = 32
"""Hexadecimal digits of a pseudonym, and of a reference code's keyed hash: 128 bits."""

CODE_DIGITS: Final = 10
"""Of a reference code: nine and a check digit."""

NO_PERIOD: Final = ""
"""Names the key from before there were periods."""

LOCK_DEADLINE_S: Final = 2.0
"""How long a process waits for another one that writes the file, which takes milliseconds."""

MAX_FILE_BYTES: Final = 1 << 16
"""Sixty years of monthly keys; more is something else."""

RECENT_S: Final = 60.0
"""A file that was written this recently may not be on disk yet: its writer may have been killed before its flush."""

HEADER: Final = """\
# Keys of the callers' pseudonyms, one for each period, made by ivr-consent. Keep this file private, and a copy of it
# apart from the log's: without a key, no caller of its period is found in the log. A key whose events are all gone is
# overwritten with dashes; do the same in copies.
"""

_NUMBER_ALPHABET: Final = re.compile(r"[^0-9A-Za-z]", re.ASCII)
_PERIOD: Final = re.compile(rb"([0-9]{4}(?:Q[1-4]|M0[1-9]|M1[0-2])?) ([0-9A-Fa-f]{64}|[0-9A-Fa-f]{0,64}-{1,64})")
_NO_PERIOD: Final = re.compile(rb"()([0-9A-Fa-f]{64,256}|[0-9A-Fa-f]*-{1,256})")
_REFERENCE_CODE: Final = b"reference code\0"
_REFERENCE_REF: Final = b"reference ref\0"

log = get_logger()


# --- reference codes -------------------------------------------------------------------------------------------------

_DAMM: Final = (
    (0, 3, 1, 7, 5, 9, 8, 6, 4, 2),
    (7, 0, 9, 2, 1, 5, 4, 8, 6, 3),
    (4, 2, 0, 6, 8, 7, 1, 3, 5, 9),
    (1, 7, 5, 0, 9, 8, 3, 4, 2, 6),
    (6, 1, 2, 3, 0, 4, 5, 9, 7, 8),
    (3, 6, 7, 4, 2, 0, 9, 5, 8, 1),
    (5, 8, 6, 9, 7, 2, 0, 1, 3, 4),
    (8, 9, 4, 5, 3, 6, 2, 0, 1, 7),
    (9, 4, 3, 8, 6, 1, 7, 2, 0, 5),
    (2, 5, 8, 1, 4, 3, 6, 7, 9, 0),
)
"""Damm's quasigroup (H. M. Damm, 2004): finds every wrong digit and every swap of two neighbours. ISO 7064's systems
for digits alone let some swaps through, and Luhn's lets 09 and 90 through."""


def check_digit(digits: str) -> str:
    """The check digit of decimal digits (Damm)."""
    interim = 0
    for digit in digits:
        interim = _DAMM[interim][int(digit)]
    return str(interim)


def checked_code(text: str) -> str:
    """A reference code as somebody wrote it, as its ten digits. Raises :class:`ConsentError` for one that is none."""
    digits = re.sub(r"[\s./-]", "", text)
    if not re.fullmatch(rf"[0-9]{{{CODE_DIGITS}}}", digits):
        raise ConsentError(f"a reference code has {CODE_DIGITS} digits; ask for it again")
    if check_digit(digits[:-1]) != digits[-1]:
        raise ConsentError(
            "this reference code has a wrong digit, or two digits swapped: its check digit does not fit; ask again"
        )
    return digits


# --- periods ---------------------------------------------------------------------------------------------------------


def period_name(at: datetime, every: Every) -> str:
    """The period that a time lies in, by UTC: ``2026M10``, ``2026Q4``, ``2026``."""
    at = at.astimezone(UTC)
    match every:
        case "month":
            return f"{at.year:04}M{at.month:02}"
        case "quarter":
            return f"{at.year:04}Q{(at.month + 2) // 3}"
        case "year":
            return f"{at.year:04}"


def period_of(ref: str) -> str:
    """The period that a pseudonym, or the keyed hash of a reference code, names."""
    return ref.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a period, or what is left of it: without ``secret`` it was destroyed."""

    period: str
    secret: bytes | None = field(repr=False)
    offset: int = 0
    """Where in the file its digits begin."""
    length: int = 0

    def ref(self, message: bytes) -> str:
        """A keyed hash that names its period."""
        assert self.secret is not None
        digits = hmac.digest(self.secret, message, "sha256").hex()[:REF_DIGITS]
        return f"{self.period}-{digits}" if self.period else digits

    def code(self, call_id: str) -> str:
        """The reference code of a call: nine digits of a keyed hash and their check digit."""
        assert self.secret is not None
        hashed = hmac.digest(self.secret, _REFERENCE_CODE + call_id.encode(), hashlib.sha256)
        digits = f"{int.from_bytes(hashed[:8], 'big') % 10**9:09}"
        return digits + check_digit(digits)


def _normal(number: str | None) -> bytes | None:
    """What of a number is hashed; ``None`` for what is nobody's number ("anonymous", "Restricted")."""
    digits = _NUMBER_ALPHABET.sub("", number or "")
    return digits.lower().encode() if any(character.isdigit() for character in digits) else None


class Pseudonyms:
    """The keys of a site. Any thread may ask; :meth:`refresh` from time to time, where it may touch the disk."""

    def __init__(self, path: Path | None, keys: Iterable[Key], every: Every, clock: Callable[[], datetime]) -> None:
        self.path, self._every, self._clock = path, every, clock
        self._keys: dict[str, Key] = {}
        self._told = ""
        self._take(keys)

    @classmethod
    def of_nobody(cls) -> Pseudonyms:
        """Keys that nobody has and nothing keeps, for what is not logged."""
        now = datetime.now(UTC)
        key = Key(period_name(now, "year"), secrets.token_bytes(KEY_BYTES))
        return cls(None, (key,), "year", lambda: now)

    def _take(self, keys: Iterable[Key]) -> None:
        self._keys = {key.period: key for key in keys if key.secret is not None}  # in the file's order: oldest first

    @property
    def periods(self) -> tuple[str, ...]:
        """Periods whose keys are there, in the order in which they were made."""
        return tuple(self._keys)

    def period(self, at: datetime | None = None) -> str:
        """The period whose key serves at a time, now by default: its own, else the newest there is."""
        return self._serving(at or self._clock()).period

    def _serving(self, at: datetime) -> Key:
        keys = self._keys  # once: another thread may put others in their place
        return keys.get(period_name(at, self._every)) or keys[next(reversed(keys))]

    def subject(self, number: str | None) -> str | None:
        """A caller as a pseudonym, ``2026Q4-`` and 32 hexadecimal digits; ``None`` for a withheld number."""
        message = _normal(number)
        return None if message is None else self._serving(self._clock()).ref(message)

    def subjects(self, number: str) -> tuple[str, ...]:
        """Every pseudonym that a caller has or had, one for each key that is there; none for what is no number.

        The number is taken with and without an international prefix: ``+45…`` and ``0045…`` are one caller.
        """
        message = _normal(number)
        if message is None:
            return ()
        messages = [message]
        if number.strip().startswith("+"):
            messages.append(b"00" + message)
        elif message.startswith(b"00"):
            messages.append(message[2:])
        return tuple(key.ref(form) for key in self._keys.values() for form in messages)

    def reference_code(self, call_id: str, at: datetime | str) -> str:
        """The reference code of a call: ten digits, the last one a check digit (Damm). It is stored nowhere.

        ``at``: the time of its decision, or the period that its decision's reference names (:func:`period_of`). Raises
        :class:`ConsentError` when the key of that period is gone.
        """
        return self._key(at if isinstance(at, str) else self.period(at)).code(call_id)

    def reference(self, call_id: str) -> Reference:
        """The reference code of a call that is decided now, and what the log holds of it."""
        key = self._serving(self._clock())
        code = key.code(call_id)
        return Reference(code, key.ref(_REFERENCE_REF + code.encode()))

    def reference_ref(self, code: str, period: str) -> str:
        """What the log holds of a reference code: its keyed hash under the key of a period.

        Raises :class:`ConsentError` for what is no code, and when the key of that period is gone.
        """
        return self._key(period).ref(_REFERENCE_REF + checked_code(code).encode())

    def find(self, code: str) -> tuple[str, ...]:
        """What the log may hold of a code: one keyed hash for each key that is there.

        Codes are not unique: with a million calls in a period, one in a thousand shares its code with another call.
        Raises :class:`ConsentError` for a code with a wrong check digit.
        """
        message = _REFERENCE_REF + checked_code(code).encode()
        return tuple(key.ref(message) for key in self._keys.values())

    def _key(self, period: str) -> Key:
        key = self._keys.get(period)
        if key is None:
            raise ConsentError(
                f"the key of {period or 'the time before periods'} is not in {self.path}: it was destroyed when the "
                "last event of its period was removed, or the file is an older copy; restore its newest copy"
            )
        return key

    # --- the file ----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Make the key of a period that has begun. Blocking; quick while there is nothing to do.

        What it cannot do is logged, and the newest key there is serves on: no call waits for a file.
        """
        name = period_name(self._clock(), self._every)
        if self.path is None or name in self._keys:
            return
        try:
            with _held(self.path, write=True) as file:
                keys = file.parse()
                if name not in {key.period for key in keys}:
                    file.add(name)
                    keys = file.parse()
                elif all(key.secret is None for key in keys if key.period == name):
                    return  # the clock was set back, to a period whose key has been destroyed
            self._take(keys)
        except (OSError, ValueError) as error:
            if not self._keys:
                raise
            if self._told != name:
                log.error("pseudonym_key_not_made", period=name, path=str(self.path), problem=str(error))
            self._told = name

    def destroy(self, periods: Iterable[str]) -> tuple[str, ...]:
        """Overwrite the keys of periods that nothing of is left; which they were. The key in use is never among them.

        Raises :class:`OSError`.
        """
        wanted = set(periods) - {self.period()}
        if self.path is None or not wanted & set(self._keys):
            return ()
        with _held(self.path, write=True) as file:
            keys = [key for key in file.parse() if key.period in wanted and key.secret is not None]
            file.destroy(keys)
            self._take(file.parse())
        return tuple(key.period for key in keys)


def open_pseudonyms(settings: Settings, clock: Callable[[], datetime] | None = None) -> Pseudonyms:
    """The keys of a site, with that of the present period.

    The file is made with the log: where there is a log already, a missing file is an error, since with new keys no
    caller of before would be recognised. Raises :class:`ConfigurationError`.
    """
    return _opened(settings, clock or _utc_now, make=True)


def read_pseudonyms(settings: Settings) -> Pseudonyms:
    """The keys of a site as they are; nothing is made. Raises :class:`ConfigurationError`."""
    return _opened(settings, _utc_now, make=False)


def _opened(settings: Settings, clock: Callable[[], datetime], *, make: bool) -> Pseudonyms:
    path = settings.path(settings.log.pseudonym_key_file)
    try:
        new = make and not settings.log_file().exists()
        if new:
            _create(path)
        with _held(path, write=False) as file:
            found = Pseudonyms(path, file.parse(), settings.log.pseudonym_period, clock)
        if make and (new or found.periods):
            found.refresh()
        problem = "there is no key in it"
    except (OSError, ValueError) as error:
        found, problem = None, str(error)
    if found is not None and found.periods:
        return found
    remedy = (
        "it holds a key of 64 hexadecimal digits for each period; restore it from its copy (with new keys no caller of "
        "before is recognised), and see that it belongs to the service's user"
    )
    where = f"{settings.source}: log.pseudonym_key_file"
    raise ConfigurationError(str(settings.source), (Problem(where, f"{path} cannot be used ({problem})", remedy),))


def new_file_text(every: Every) -> str:
    """The text of a new file, with the key of the present period."""
    return f"{HEADER}{_line(period_name(_utc_now(), every))}"


def _line(period: str) -> str:
    return f"{period} {secrets.token_hex(KEY_BYTES)}\n"


def _create(path: Path) -> None:
    """Make an empty file where there is none. Raises :class:`OSError`."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class _File:
    """The file, open and locked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def parse(self) -> list[Key]:
        """All of its keys. Raises :class:`OSError`, and :class:`ValueError` for a file of another form."""
        raw, keys = self._read(), []
        if time.time() - os.fstat(self._descriptor).st_mtime < RECENT_S:
            os.fsync(self._descriptor)
        for number, line, offset in _lines(raw):
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            found = _PERIOD.fullmatch(text) or _NO_PERIOD.fullmatch(text)
            if found is None:
                if offset + len(line) == len(raw):
                    continue  # the last line, without its end: its writer was killed
                raise ValueError(f"line {number} is not a period and 64 hexadecimal digits")
            digits = found.group(2)
            secret = None if b"-" in digits else bytes.fromhex(digits.decode())
            begin = offset + line.index(text) + found.start(2)
            keys.append(Key(found.group(1).decode(), secret, begin, len(digits)))
        if len({key.period for key in keys}) < len(keys):
            raise ValueError("two of its lines name one period")
        return keys

    def _read(self) -> bytes:
        raw = os.pread(self._descriptor, MAX_FILE_BYTES + 1, 0)
        if len(raw) > MAX_FILE_BYTES:
            raise ValueError("it is larger than 64 KiB")
        return raw

    def add(self, period: str) -> None:
        """Add a key; on disk when this returns. A key of 32 random bytes, of nobody's making but the system's."""
        raw = self._read()
        end, before = len(raw), HEADER if not raw else ""
        if raw and not raw.endswith(b"\n"):
            begin = raw.rindex(b"\n") + 1 if b"\n" in raw else 0
            text = raw[begin:].strip()
            if _PERIOD.fullmatch(text) or _NO_PERIOD.fullmatch(text):
                before = "\n"
            else:
                end = begin  # half a line of a writer that was killed: no pseudonym was made with it
                os.ftruncate(self._descriptor, end)
        self._write((before + _line(period)).encode(), end)

    def destroy(self, keys: Iterable[Key]) -> None:
        """Overwrite keys where they stand; on disk when this returns."""
        for key in keys:
            self._write(b"-" * key.length, key.offset)

    def _write(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._descriptor, data, offset) != len(data):
            raise OSError("the disk took only a part of a line")
        os.fsync(self._descriptor)


def _lines(raw: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Number from 1, bytes, offset of each line."""
    offset = 0
    for number, line in enumerate(raw.split(b"\n"), 1):
        yield number, line, offset
        offset += len(line) + 1


@contextlib.contextmanager
def _held(path: Path, *, write: bool) -> Iterator[_File]:
    """The file, locked against other processes. Raises :class:`OSError`."""
    descriptor = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_DEADLINE_S
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_EX if write else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("another process holds it") from None
                time.sleep(0.005)
        yield _File(descriptor)
    finally:
        os.close(descriptor)


def _utc_now() -> datetime:
    return datetime.now(UTC)
