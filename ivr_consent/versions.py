"""Published versions of a line's notice: made once, never changed, and which of them is in force.

``VERSIONS/LINE/N/`` holds the signed manifest and the notice files of version N as they were; the sound lies in the
store, where nothing is overwritten. ``VERSIONS/LINE/history`` is one signed line for each publishing and each return
to an older version, chained by digests: the version of its last line is in force.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ivr_consent import manifest as mf
from ivr_consent.audio.store import PromptAudio
from ivr_consent.core.errors import Problem, SignatureError, VersionError
from ivr_consent.manifest import Manifest, write_whole
from ivr_consent.signing import Signer, Verifier, opened, read_plain, sealed

MANIFEST: Final = "manifest"
HISTORY: Final = "history"
MAX_HISTORY_BYTES: Final = 16 * 1024 * 1024
MAX_NAME: Final = 200
MAX_NOTICE_BYTES: Final = 256 * 1024
"""A notice file is a few kilobytes; more is a wrong file."""

LOCK_S: Final = 30.0
"""How long somebody else may be at work on the same line: publishing takes a fraction of a second."""

LOCK_POLL_S: Final = 0.05

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")

PUBLISHED: Final = "published"
ROLLED_BACK: Final = "rolled_back"


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: ``action`` brought ``version`` into force, approved ``by`` somebody ``at`` a time (ISO 8601, UTC)."""

    number: int
    action: str
    version: int
    by: str
    at: str
    manifest_sha256: str
    previous_sha256: str


def now() -> str:
    """The time as it is written: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Versions:
    """The versions of one line. ``root`` is the folder of all lines.

    The chain shows a history that was changed anywhere but at its end: who can write the file can cut its last entries
    off, and the file alone does not tell. What tells is :meth:`unlisted`.
    """

    def __init__(self, root: Path, line: str) -> None:
        self.line = line
        self.folder = root / line

    def published_any(self) -> bool:
        """Whether anything was ever published: a version without a history is a history that was taken away.

        Raises :class:`SignatureError` when that cannot be seen.
        """
        return HISTORY in (names := self._names()) or any(map(_number, names))

    def unlisted(self, history: tuple[Entry, ...]) -> tuple[int, ...]:
        """Versions that are there and not in the history: publishing was broken off, or the history's end was cut off.

        Raises :class:`SignatureError` as :meth:`published_any`.
        """
        there = {number for name in self._names() if (number := _number(name))}
        return tuple(sorted(there - {entry.version for entry in history}))

    def altered(self, manifest: Manifest) -> tuple[Problem, ...]:
        """Which of a version's notice files are not as they were published. Nobody hears them; they are evidence."""
        problems = []
        for spoken in manifest.languages:
            path = self.path(manifest.version) / f"{spoken.language}.toml"
            try:
                data, _ = read_plain(path, MAX_NOTICE_BYTES + 1)
            except OSError as error:
                problems.append(Problem(str(path), f"cannot be read ({error.strerror})", "restore it from its copy"))
                continue
            if hashlib.sha256(data).hexdigest() != spoken.source_sha256:
                found = f"is not the notice that was published as version {manifest.version}"
                problems.append(Problem(str(path), found, "restore it from its copy"))
        return tuple(problems)

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SignatureError(f"{self.folder}: cannot be read ({error.strerror})") from None

    def path(self, version: int) -> Path:
        """The folder of a version."""
        return self.folder / str(version)

    def history(self, by: Verifier) -> tuple[Entry, ...]:
        """Every act, oldest first; empty when nothing was ever published. Raises :class:`SignatureError`."""
        path = self.folder / HISTORY
        try:
            data, _ = read_plain(path, MAX_HISTORY_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SignatureError(f"{path}: cannot be read ({error.strerror})") from None
        if len(data) > MAX_HISTORY_BYTES:
            raise SignatureError(f"{path}: is larger than {MAX_HISTORY_BYTES // 1024 // 1024} MiB, which no history is")
        entries: list[Entry] = []
        previous = ""
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            try:
                entry = _entry(opened(line, by), self.line)
            except SignatureError as error:
                raise SignatureError(f"{path}:{number}: {error}") from None
            except (KeyError, TypeError, ValueError) as error:
                raise SignatureError(f"{path}:{number}: is not an entry of ours ({error})") from None
            if (entry.number, entry.previous_sha256) != (number, previous):
                raise SignatureError(f"{path}:{number}: an entry before it was changed, removed or put in")
            entries.append(entry)
            previous = _digest(line)
        return tuple(entries)

    def current(self, by: Verifier) -> Entry | None:
        """What is in force; ``None`` when nothing was ever published. Raises :class:`SignatureError`."""
        history = self.history(by)
        return history[-1] if history else None

    def manifest(self, entry: Entry, by: Verifier, known: dict[str, PromptAudio] | None = None) -> Manifest:
        """The manifest of a published version. Raises :class:`SignatureError` unless it is that very one."""
        path = self.path(entry.version) / MANIFEST
        found = mf.read(path, by, known)
        if (found.line, found.version, found.sha256) != (self.line, entry.version, entry.manifest_sha256):
            raise SignatureError(f"{path}: is not the manifest that was published as version {entry.version}")
        return found

    def in_force(self, by: Verifier, known: dict[str, PromptAudio] | None = None) -> Manifest:
        """The manifest of the version in force. Raises :class:`SignatureError` when there is none that is whole."""
        entry = self.current(by)
        if entry is None:
            raise SignatureError(f"{self.folder / HISTORY}: the history of the versions is missing or empty")
        return self.manifest(entry, by, known)

    def published(self, version: int, by: Verifier) -> Manifest:
        """The manifest of a version by its number. Raises :class:`VersionError`, :class:`SignatureError`."""
        for entry in self.history(by):
            if (entry.action, entry.version) == (PUBLISHED, version):
                return self.manifest(entry, by)
        raise VersionError(f"line {self.line} has no version {version}; see ivr-consent prompts history {self.line}")

    def publish(
        self, draft: Manifest, sources: Mapping[str, bytes], approved_by: str, signer: Signer, verifier: Verifier
    ) -> tuple[Manifest, bool]:
        """Freeze a draft as the next version and bring it into force; and whether it is a new one.

        A draft that says what the version in force says stays that version. ``sources``: notice files by language. A
        number is used once, also when who published was stopped half-way. Raises :class:`VersionError`,
        :class:`SignatureError`.
        """
        approver = approver_name(approved_by)
        with self._locked():
            history = self.history(verifier)
            with contextlib.suppress(SignatureError):  # a version that is damaged is replaced by a new one
                if history and (in_force := self.manifest(history[-1], verifier)).said() == draft.said():
                    return in_force, False
            at = now()
            number = max((0, *(entry.version for entry in history), *self.unlisted(history))) + 1
            version = dataclasses.replace(draft, version=number, approved_by=approver, approved_at=at)
            try:
                self._clean()
                aside = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
                try:
                    for language, source in sources.items():
                        write_whole(aside / f"{language}.toml", source, 0o444)
                    version = mf.write(version, aside / MANIFEST, signer)
                    (aside / MANIFEST).chmod(0o444)
                    aside.chmod(0o755)
                    aside.rename(self.path(number))
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
            except OSError as error:
                raise VersionError(f"{self.folder}: cannot be written ({error.strerror})") from None
            self._append(history, PUBLISHED, number, approver, at, version.sha256, signer)
        return version, True

    def rollback(
        self,
        to: int | None,
        approved_by: str,
        signer: Signer,
        verifier: Verifier,
        check: Callable[[Manifest], None] = lambda _: None,
    ) -> Manifest:
        """Bring an older version into force: ``to``, or the one that was in force before.

        ``check`` may raise to refuse it. Raises as :meth:`publish`.
        """
        approver = approver_name(approved_by)
        with self._locked():
            history = self.history(verifier)
            if not history:
                raise VersionError(f"line {self.line} has no published version; make one: ivr-consent prompts publish")
            in_force = history[-1].version
            before = [entry.version for entry in history if entry.version != in_force]
            if to is None and not before:
                raise VersionError(f"line {self.line} has no version before {in_force}")
            number = before[-1] if to is None else to
            if number == in_force:
                raise VersionError(f"version {number} of line {self.line} is in force already")
            version = self.published(number, verifier)
            check(version)
            self._append(history, ROLLED_BACK, number, approver, now(), version.sha256, signer)
        return version

    def _clean(self) -> None:
        """Remove what one who was killed left behind: we hold the lock."""
        for left in (*self.folder.glob(".new-*"), *self.folder.glob(f".{HISTORY}-*")):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    def _append(
        self, history: tuple[Entry, ...], action: str, version: int, by: str, at: str, manifest: str, signer: Signer
    ) -> None:
        path = self.folder / HISTORY
        before = path.read_bytes() if history else b""
        document = {
            "line": self.line,
            "number": len(history) + 1,
            "action": action,
            "version": version,
            "by": by,
            "at": at,
            "manifest_sha256": manifest,
            "previous_sha256": _digest(before.splitlines(keepends=True)[-1]) if before else "",
        }
        write_whole(path, before + sealed(document, signer))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Two administrators publish one after the other. Raises :class:`VersionError`."""
        try:
            make_folders(self.folder)
            descriptor = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise VersionError(
                f"{self.folder}: cannot be written ({error.strerror}); run this as the service's user or as root"
            ) from None
        try:
            end = time.monotonic() + LOCK_S
            while not _lock(descriptor):
                if time.monotonic() > end:
                    raise VersionError(f"{self.folder}: somebody else has been publishing for {LOCK_S:.0f} s; see who")
                time.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Make a folder that the service and the switch, other users, can enter, whatever the umask."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in missing:
        part.chmod(0o755)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _number(name: str) -> int:
    """The version of which this is the folder's name; 0 for any other name."""
    return int(name) if _NUMBER.fullmatch(name) else 0


def approver_name(value: str) -> str:
    """A name as it may stand in the history. Raises :class:`VersionError`."""
    name = unicodedata.normalize("NFC", " ".join(value.split()))
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise VersionError(f"the name of who approves has 1 to {MAX_NAME} printable characters: --by NAME")
    return name


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _entry(document: Mapping[str, Any], line: str) -> Entry:
    if set(document) != {"line", *Entry.__dataclass_fields__}:
        raise ValueError("its fields are others")
    if document["line"] != line:
        raise ValueError(f"it belongs to line {document['line']!r}")
    for name in ("action", "by", "at", "manifest_sha256", "previous_sha256"):
        if not isinstance(document[name], str):
            raise TypeError(f"{name} is {document[name]!r}")
    entry = Entry(**{name: document[name] for name in Entry.__dataclass_fields__})
    if (
        type(entry.number) is not int
        or type(entry.version) is not int
        or entry.version < 1
        or entry.action not in (PUBLISHED, ROLLED_BACK)
    ):
        raise ValueError(f"it says {entry.action!r}, version {entry.version!r}")
    return entry
