"""Published versions: made once, never changed, one after the other, and whole whatever happens on the way."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent import manifest as mf
from ivr_consent import versions as vs
from ivr_consent.core.errors import SignatureError, VersionError
from ivr_consent.manifest import Manifest
from ivr_consent.signing import Signer, Verifier, create_keys, key_pair, sealed
from ivr_consent.versions import PUBLISHED, ROLLED_BACK, Versions, approver_name
from tests.sites import APPROVER, SmallSite, flip

SOURCES = {"en": b"# as it was\n"}


@dataclasses.dataclass(frozen=True)
class Shelf:
    """A line's versions, and what is needed to make more."""

    versions: Versions
    draft: Manifest
    signer: Signer
    verifier: Verifier

    @property
    def history_file(self) -> Path:
        return self.versions.folder / "history"

    def publish(self, days: int, by: str = APPROVER) -> int:
        """Publish a draft that differs by its days; the number of the version."""
        draft = dataclasses.replace(self.draft, retention_days=days)
        return self.versions.publish(draft, SOURCES, by, self.signer, self.verifier)[0].version

    def rollback(self, to: int | None = None) -> int:
        return self.versions.rollback(to, APPROVER, self.signer, self.verifier).version

    def in_force(self) -> tuple[int, int]:
        """Version and days of what is in force."""
        found = self.versions.in_force(self.verifier)
        return found.version, found.retention_days

    def listed(self) -> list[tuple[str, int]]:
        return [(entry.action, entry.version) for entry in self.versions.history(self.verifier)]

    def left(self) -> list[str]:
        """Names in the folder that are neither a version nor the history nor the lock."""
        return [
            path.name
            for path in self.versions.folder.iterdir()
            if not path.name.isdecimal() and path.name not in ("history", ".lock")
        ]

    def lines(self) -> list[bytes]:
        return self.history_file.read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallSite, Manifest]:
    site = SmallSite.make(tmp_path_factory.mktemp("site"))
    return site, site.build()["support"]


@pytest.fixture
def shelf(built: tuple[SmallSite, Manifest], tmp_path: Path) -> Shelf:
    site, draft = built
    return Shelf(Versions(tmp_path / "versions", "support"), draft, *key_pair(site.key))


# --- publishing -------------------------------------------------------------------------------------------------------


def test_one_after_the_other(shelf: Shelf) -> None:
    """Numbers from 1, each with what was approved, by whom and when; the last one is in force."""
    assert not shelf.versions.published_any()
    assert shelf.versions.history(shelf.verifier) == ()
    assert shelf.versions.current(shelf.verifier) is None
    assert [shelf.publish(days) for days in (31, 32, 33)] == [1, 2, 3]
    assert shelf.versions.published_any()
    assert shelf.in_force() == (3, 33)
    entries = shelf.versions.history(shelf.verifier)
    assert [(entry.number, entry.action, entry.version, entry.by) for entry in entries] == [
        (number, PUBLISHED, number, APPROVER) for number in (1, 2, 3)
    ]
    for entry in entries:
        manifest = shelf.versions.manifest(entry, shelf.verifier)
        assert (manifest.version, manifest.retention_days) == (entry.version, 30 + entry.version)
        assert (manifest.approved_by, manifest.approved_at) == (entry.by, entry.at)
        assert manifest.sha256 == entry.manifest_sha256
        assert shelf.versions.published(entry.version, shelf.verifier) == manifest
    assert shelf.versions.unlisted(entries) == ()
    assert shelf.left() == []


def test_an_unchanged_draft_is_no_new_version(shelf: Shelf) -> None:
    shelf.publish(31)
    before = shelf.history_file.read_bytes()
    draft = dataclasses.replace(shelf.draft, retention_days=31, software="ivr-consent 99", made_at="later")
    found, new = shelf.versions.publish(draft, SOURCES, "Somebody Else", shelf.signer, shelf.verifier)
    assert (found.version, found.approved_by, new) == (1, APPROVER, False)
    assert shelf.history_file.read_bytes() == before
    assert [path.name for path in shelf.versions.folder.iterdir() if path.name.isdecimal()] == ["1"]


def test_what_said_the_same_before_is_a_new_version(shelf: Shelf) -> None:
    """Only with the version in force there is nothing to do: who publishes wants to hear it."""
    assert [shelf.publish(days) for days in (31, 32, 31)] == [1, 2, 3]
    assert shelf.in_force() == (3, 31)


def test_the_files_of_a_version(shelf: Shelf) -> None:
    """Manifest and notices as they were; for everybody to read, for nobody to write."""
    before = os.umask(0o077)
    try:
        shelf.publish(31)
    finally:
        os.umask(before)
    folder = shelf.versions.path(1)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "manifest": 0o444,
        "en.toml": 0o444,
    }
    assert (folder / "en.toml").read_bytes() == SOURCES["en"]
    for path in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755, "the service is another user"
    assert stat.S_IMODE(shelf.history_file.stat().st_mode) == 0o644


def test_a_damaged_version_is_replaced_by_a_new_one(shelf: Shelf) -> None:
    shelf.publish(31)
    flip(shelf.versions.path(1) / "manifest", 20)
    with pytest.raises(SignatureError):
        shelf.in_force()
    assert shelf.publish(31) == 2
    assert shelf.in_force() == (2, 31)


# --- at the same time -------------------------------------------------------------------------------------------------


def _publish_many(root: Path, key: Path, draft: Path, days: list[int]) -> None:
    signer, verifier = key_pair(key)
    versions = Versions(root, "support")
    for each in days:
        found = dataclasses.replace(mf.read(draft, verifier), retention_days=each)
        versions.publish(found, SOURCES, APPROVER, signer, verifier)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_at_the_same_time(shelf: Shelf, built: tuple[SmallSite, Manifest], kind: str) -> None:
    """Different numbers, one whole history, and every one of them in it."""
    site, _ = built
    work = [
        (shelf.versions.folder.parent, site.key, site.store / "drafts" / "support", list(range(start, start + 5)))
        for start in (100, 200, 300)
    ]
    spawn = multiprocessing.get_context("spawn")
    workers = [
        (threading.Thread if kind == "threads" else spawn.Process)(target=_publish_many, args=args) for args in work
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    entries = shelf.versions.history(shelf.verifier)
    assert sorted(entry.version for entry in entries) == list(range(1, 16))
    said = {shelf.versions.manifest(entry, shelf.verifier).retention_days for entry in entries}
    assert said == {*range(100, 105), *range(200, 205), *range(300, 305)}
    assert shelf.left() == []


def test_the_same_draft_at_the_same_time(shelf: Shelf) -> None:
    """Two administrators press the button: one version, and the second is told that there is nothing to publish."""
    barrier = threading.Barrier(4)
    new: list[bool] = []

    def publish() -> None:
        barrier.wait(60)
        new.append(shelf.versions.publish(shelf.draft, SOURCES, APPROVER, shelf.signer, shelf.verifier)[1])

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(new) == [False, False, False, True]
    assert shelf.listed() == [(PUBLISHED, 1)]


def test_somebody_who_never_ends(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who was stopped with Ctrl-Z in the middle of it does not hold up others for ever."""
    monkeypatch.setattr(vs, "LOCK_S", 0.2)
    shelf.publish(31)
    with shelf.versions._locked(), pytest.raises(VersionError, match="somebody else has been publishing"):
        shelf.publish(32)
    assert shelf.publish(32) == 2


# --- killed, or out of space, half-way --------------------------------------------------------------------------------

KILLED = """
import dataclasses, json, os, signal, sys
from pathlib import Path
from ivr_consent import manifest as mf
from ivr_consent.core.errors import ConsentError
from ivr_consent.signing import key_pair
from ivr_consent.versions import Versions

root, key, draft = map(Path, sys.argv[1:])
signer, verifier = key_pair(key)
draft = mf.read(draft, verifier)
versions = Versions(root, "support")


def publish(days):
    return versions.publish(dataclasses.replace(draft, retention_days=days), {"en": b"#"}, "A", signer, verifier)


def kill_at(nth):
    # Before every operation on a file that changes something.
    left = nth

    def hook(event, arguments):
        nonlocal left
        changes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if changes or event in ("os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


publish(1000)
in_force, told = 1000, []
for nth in range(1, 200):
    pid = os.fork()
    if not pid:
        kill_at(nth)
        publish(nth)
        os._exit(0)
    killed = os.waitpid(pid, 0)[1] != 0
    found = versions.in_force(verifier)
    numbers = [int(path.name) for path in versions.folder.iterdir() if path.name.isdecimal()]
    told.append([killed, found.retention_days in (in_force, nth), found.version in numbers, len(numbers)])
    in_force = found.retention_days
    if not killed:
        break
entries = versions.history(verifier)
for entry in entries:
    versions.manifest(entry, verifier)
manifests = sorted(versions.folder.glob("[0-9]*/manifest"))
for path in manifests:
    mf.read(path, verifier)
left = [path.name for path in versions.folder.iterdir() if path.name[0] == "."]
print(json.dumps([told, [entry.version for entry in entries], len(manifests), left]))
"""


def test_killed_at_every_step(shelf: Shelf, built: tuple[SmallSite, Manifest]) -> None:
    """By SIGKILL before each thing that publishing does to a file: the old version is in force or the new one, whole.

    No version that was ever made is lost, no number is given twice, and the next one cleans up.
    """
    site, _ = built
    command = [sys.executable, "-c", KILLED, str(shelf.versions.folder.parent), str(site.key)]
    done = subprocess.run(
        [*command, str(site.store / "drafts" / "support")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    steps, listed, manifests, left = json.loads(done.stdout)
    assert len(steps) > 8
    assert [killed for killed, *_ in steps] == [True] * (len(steps) - 1) + [False]
    assert all(old_or_new and there for _, old_or_new, there, _ in steps)
    counts = [count for *_, count in steps]
    assert counts == sorted(counts), "no version disappears"
    assert listed == sorted(set(listed))
    assert manifests == counts[-1] >= len(listed)
    assert left == [".lock"]


def test_killed_at_the_very_first(shelf: Shelf) -> None:
    """A first version that nobody wrote into a history is not in force; the next one is, under a number of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Versions, "_append", _broken)
        with pytest.raises(KeyboardInterrupt):
            shelf.publish(31)
    assert shelf.versions.published_any()
    assert shelf.versions.unlisted(()) == (1,)
    with pytest.raises(SignatureError, match="history of the versions is missing or empty"):
        shelf.in_force()
    assert shelf.publish(32) == 2
    assert shelf.in_force() == (2, 32)
    assert mf.read(shelf.versions.path(1) / "manifest", shelf.verifier).retention_days == 31


def _broken(*_: Any) -> None:
    raise KeyboardInterrupt


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("where", "name"),
    [(os, "fsync"), (os, "fchmod"), (Path, "replace"), (Path, "rename"), (Path, "chmod"), (tempfile, "mkdtemp")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_disk_that_is_full(shelf: Shelf, where: Any, name: str) -> None:
    """What was in force stays in force, nothing half-made stays, and with space again it goes on."""
    shelf.publish(31)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, _full)
        with pytest.raises(VersionError, match=r"cannot be written \(No space left on device\)"):
            shelf.publish(32)
    assert shelf.in_force() == (1, 31)
    assert shelf.left() == []
    assert shelf.publish(33) >= 2
    assert shelf.in_force()[1] == 33


def test_a_disk_that_is_full_for_the_history_alone(shelf: Shelf) -> None:
    """The version is made, and not in force: its number is not given again."""
    shelf.publish(31)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Versions, "_append", _full)
        with pytest.raises(OSError, match="No space"):
            shelf.publish(32)
    assert shelf.in_force() == (1, 31)
    assert shelf.versions.unlisted(shelf.versions.history(shelf.verifier)) == (2,)
    assert shelf.publish(33) == 3
    assert shelf.listed() == [(PUBLISHED, 1), (PUBLISHED, 3)]
    assert mf.read(shelf.versions.path(2) / "manifest", shelf.verifier).retention_days == 32


def test_nowhere_to_write(shelf: Shelf) -> None:
    """A file in the place of the folder, of the line's or of all lines'."""
    shelf.versions.folder.parent.mkdir()
    shelf.versions.folder.write_text("")
    with pytest.raises(VersionError, match=r"cannot be written .*run this as the service's user or as root"):
        shelf.publish(31)
    with pytest.raises(SignatureError, match="cannot be read"):
        shelf.versions.published_any()
    shelf.versions.folder.unlink()
    shelf.versions.folder.parent.rmdir()
    shelf.versions.folder.parent.write_text("")
    with pytest.raises(VersionError, match="cannot be written"):
        shelf.publish(31)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounts a folder read-only")
def test_a_folder_that_may_only_be_read(shelf: Shelf) -> None:
    shelf.publish(31)
    folder = str(shelf.versions.folder)
    bound = subprocess.run(["mount", "--bind", "-o", "ro", folder, folder], capture_output=True, check=False)
    if bound.returncode != 0:
        pytest.skip("may not mount here")
    try:
        acts: list[Callable[[], int]] = [lambda: shelf.publish(32), lambda: shelf.rollback(1)]
        for act in acts:
            with pytest.raises(VersionError, match=r"cannot be written \(Read-only file system\)"):
                act()
        assert shelf.in_force() == (1, 31)
    finally:
        subprocess.run(["umount", folder], check=True)
    assert shelf.publish(32) == 2


# --- a history that was tampered with ---------------------------------------------------------------------------------


@pytest.fixture
def long(shelf: Shelf) -> Shelf:
    """Four acts: 1, 2, 3 published, then back to 2."""
    for days in (31, 32, 33):
        shelf.publish(days)
    shelf.rollback()
    return shelf


def _remove(nth: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: lines[:nth] + lines[nth + 1 :]


TAMPERED: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "first line removed": _remove(0),
    "second line removed": _remove(1),
    "third line removed": _remove(2),
    "two lines swapped": lambda lines: [lines[0], lines[2], lines[1], lines[3]],
    "last line twice": lambda lines: [*lines, lines[3]],
    "first line twice": lambda lines: [lines[0], *lines],
    "an empty line": lambda lines: [*lines[:2], b"\n", *lines[2:]],
    "half a line": lambda lines: [*lines[:3], lines[3][:50]],
    "no line feed at the end": lambda lines: [*lines[:3], lines[3][:-1]],
    "a line feed more at the end": lambda lines: [*lines, b"\n"],
    "other line feeds": lambda lines: [line[:-1] + b"\r\n" for line in lines],
    "words behind": lambda lines: [*lines, b"rolled back by me\n"],
    "nothing but zeros": lambda lines: [bytes(100)],
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_history_that_was_changed(long: Shelf, how: str) -> None:
    """Whatever was done to it: nothing is in force by it, and nothing is added to it."""
    changed = b"".join(TAMPERED[how](long.lines()))
    long.history_file.write_bytes(changed)
    for act in (long.in_force, lambda: long.publish(99), lambda: long.rollback(1), long.rollback):
        with pytest.raises(SignatureError, match=r"history:\d"):
            act()
    assert long.history_file.read_bytes() == changed
    assert long.versions.published_any()


def test_one_byte_of_a_history(long: Shelf) -> None:
    data = long.history_file.read_bytes()
    for at in range(0, len(data), 7):
        long.history_file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(SignatureError, match=r"history:\d"):
            long.in_force()


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
def test_a_history_whose_end_was_cut_off(long: Shelf, keep: int) -> None:
    """The file alone cannot tell. The versions that it no longer names do, as after a publishing that broke off.

    Their numbers are not given again and their folders stay as they are: decisions in the log name them.
    """
    long.history_file.write_bytes(b"".join(long.lines()[:keep]))
    history = long.versions.history(long.verifier)
    assert len(history) == keep
    assert long.versions.unlisted(history) == tuple(range(keep + 1, 4))
    if keep:
        assert long.in_force() == (keep, 30 + keep)
    else:
        with pytest.raises(SignatureError, match="missing or empty"):
            long.in_force()
    before = {path: path.read_bytes() for path in long.versions.folder.glob("[0-9]/*")}
    assert long.publish(99) == 4
    assert {path: path.read_bytes() for path in before} == before


def test_a_history_that_was_taken_away(long: Shelf) -> None:
    """The versions stay what they are; the line is not ready, and a new version has a new number."""
    before = {path: path.read_bytes() for path in long.versions.folder.glob("[0-9]/*")}
    long.history_file.unlink()
    assert long.versions.published_any()
    with pytest.raises(SignatureError, match="missing or empty"):
        long.in_force()
    with pytest.raises(VersionError, match="has no published version"):
        long.rollback(1)
    assert long.publish(99) == 4
    assert {path: path.read_bytes() for path in before} == before


def test_another_lines_history(long: Shelf) -> None:
    """Copied with its versions from another line of the same site: signed by us, and not of this line."""
    other = Versions(long.versions.folder.parent, "sales")
    shutil.copytree(long.versions.folder, other.folder)
    with pytest.raises(SignatureError, match=r"history:1: is not an entry of ours \(it belongs to line 'support'\)"):
        other.in_force(long.verifier)


def test_an_earlier_history_of_the_line(long: Shelf) -> None:
    """Put back from a backup, with another branch behind it: the chain does not fit."""
    old = long.lines()[:2]
    apart = dataclasses.replace(long, versions=Versions(long.versions.folder.parent.parent / "apart", "support"))
    for days in (31, 32, 40, 41):
        apart.publish(days, "Somebody Else")
    long.history_file.write_bytes(b"".join([*old, *apart.lines()[2:]]))
    with pytest.raises(SignatureError, match=r"history:3: an entry before it was changed, removed or put in"):
        long.in_force()


WRONG_ENTRIES: dict[str, dict[str, Any]] = {
    "another action": {"action": "deleted"},
    "version 0": {"version": 0},
    "a version in words": {"version": "1"},
    "true for a version": {"version": True},
    "a negative version": {"version": -1},
    "another number": {"number": 2},
    "true for a number": {"number": True},
    "by nobody": {"by": None},
    "at a number": {"at": 5},
    "no digest": {"manifest_sha256": None},
    "something before it": {"previous_sha256": "0" * 64},
    "more": {"more": 1},
}


@pytest.mark.parametrize("how", WRONG_ENTRIES)
def test_an_entry_that_another_program_signed(shelf: Shelf, how: str) -> None:
    """Signed by us, and still looked at."""
    shelf.publish(31)
    entry = shelf.versions.history(shelf.verifier)[0]
    document = {"line": "support", **dataclasses.asdict(entry)}
    shelf.history_file.write_bytes(sealed(document, shelf.signer))
    shelf.in_force()
    shelf.history_file.write_bytes(sealed(document | WRONG_ENTRIES[how], shelf.signer))
    with pytest.raises(SignatureError, match="history:1"):
        shelf.in_force()
    for name in document:
        shelf.history_file.write_bytes(sealed({k: v for k, v in document.items() if k != name}, shelf.signer))
        with pytest.raises(SignatureError, match="history:1"):
            shelf.in_force()


@pytest.mark.parametrize("what", ["folder", "pipe", "zeros"])
def test_something_else_in_the_historys_place(shelf: Shelf, what: str) -> None:
    shelf.publish(31)
    shelf.history_file.unlink()
    if what == "folder":
        shelf.history_file.mkdir()
    elif what == "pipe":
        os.mkfifo(shelf.history_file)
    else:
        shelf.history_file.symlink_to("/dev/zero")
    asked = threading.Thread(target=_refused, args=(shelf,), daemon=True)
    asked.start()
    asked.join(10)
    assert not asked.is_alive(), "it hangs"


def _refused(shelf: Shelf) -> None:
    with pytest.raises(SignatureError, match="history: cannot be read"):
        shelf.in_force()


def test_a_history_without_end(shelf: Shelf) -> None:
    shelf.publish(31)
    os.truncate(shelf.history_file, 20 * vs.MAX_HISTORY_BYTES)
    with pytest.raises(SignatureError, match="is larger than 16 MiB"):
        shelf.in_force()


# --- a manifest in another's place ------------------------------------------------------------------------------------


def _put(shelf: Shelf, manifest: Manifest) -> None:
    path = shelf.versions.path(2) / "manifest"
    path.unlink()
    mf.write(manifest, path, shelf.signer)


@pytest.mark.parametrize("whose", ["the draft", "another version", "another line", "the same number", "another key"])
def test_a_manifest_in_another_ones_place(shelf: Shelf, tmp_path: Path, whose: str) -> None:
    """All signed by us; only the very one that was published is version 2."""
    for days in (31, 32):
        shelf.publish(days)
    path = shelf.versions.path(2) / "manifest"
    right = mf.read(path, shelf.verifier)
    if whose == "the draft":
        _put(shelf, shelf.draft)
    elif whose == "another version":
        _put(shelf, shelf.versions.published(1, shelf.verifier))
    elif whose == "another line":
        _put(shelf, dataclasses.replace(right, line="sales"))
    elif whose == "the same number":
        _put(shelf, dataclasses.replace(right, retention_days=3650))
    else:
        create_keys(tmp_path / "other.key")
        _put(dataclasses.replace(shelf, signer=key_pair(tmp_path / "other.key")[0]), right)
    told = (
        "signed with another key" if whose == "another key" else "is not the manifest that was published as version 2"
    )
    with pytest.raises(SignatureError, match=rf"2/manifest: .*{told}"):
        shelf.in_force()
    with pytest.raises(SignatureError, match=told):
        shelf.versions.published(2, shelf.verifier)
    shelf.rollback(1)
    assert shelf.in_force() == (1, 31)


def test_a_manifest_of_the_history_kind(shelf: Shelf) -> None:
    """A history's line and a manifest are signed with one key; neither passes for the other."""
    shelf.publish(31)
    manifest = shelf.versions.path(1) / "manifest"
    line, entry = manifest.read_bytes(), shelf.history_file.read_bytes()
    shelf.history_file.write_bytes(line)
    with pytest.raises(SignatureError, match="history:1"):
        shelf.in_force()
    shelf.history_file.write_bytes(entry)
    manifest.unlink()
    manifest.write_bytes(entry)
    with pytest.raises(SignatureError, match="is not a manifest"):
        shelf.in_force()


def test_a_version_that_is_gone(shelf: Shelf) -> None:
    shelf.publish(31)
    shutil.rmtree(shelf.versions.path(1))
    with pytest.raises(SignatureError, match=r"1/manifest: the manifest cannot be read \(No such file"):
        shelf.in_force()


# --- back to an older one ---------------------------------------------------------------------------------------------


def test_rollback(shelf: Shelf) -> None:
    """To the one before, to a named one, and forth again; each is an act of its own in the history."""
    for days in (31, 32, 33):
        shelf.publish(days)
    assert shelf.rollback() == 2
    assert shelf.in_force() == (2, 32)
    assert shelf.rollback(1) == 1
    assert shelf.in_force() == (1, 31)
    assert shelf.rollback(3) == 3
    assert shelf.in_force() == (3, 33)
    assert shelf.rollback() == 1, "the one that was in force before"
    assert shelf.publish(34) == 4
    assert shelf.listed() == [
        *((PUBLISHED, number) for number in (1, 2, 3)),
        *((ROLLED_BACK, number) for number in (2, 1, 3, 1)),
        (PUBLISHED, 4),
    ]
    assert shelf.versions.published(4, shelf.verifier).retention_days == 34


def test_rollback_to_nowhere(shelf: Shelf) -> None:
    with pytest.raises(VersionError, match="line support has no published version"):
        shelf.rollback()
    shelf.publish(31)
    with pytest.raises(VersionError, match="line support has no version before 1"):
        shelf.rollback()
    shelf.publish(32)
    before = shelf.history_file.read_bytes()
    for to, told in ((2, "version 2 of line support is in force already"), (3, "no version 3"), (-1, "no version -1")):
        with pytest.raises(VersionError, match=told):
            shelf.rollback(to)
    assert shelf.history_file.read_bytes() == before


def test_rollback_to_a_damaged_version(shelf: Shelf) -> None:
    """Nothing changes: it would stop the line."""
    for days in (31, 32):
        shelf.publish(days)
    flip(shelf.versions.path(1) / "manifest", 40)
    before = shelf.history_file.read_bytes()
    with pytest.raises(SignatureError, match="1/manifest: it was changed"):
        shelf.rollback()
    assert shelf.history_file.read_bytes() == before


def test_rollback_to_a_version_that_was_never_in_the_history(shelf: Shelf) -> None:
    """Its publishing broke off: nobody approved that it comes into force."""
    shelf.publish(31)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Versions, "_append", _broken)
        with pytest.raises(KeyboardInterrupt):
            shelf.publish(32)
    with pytest.raises(VersionError, match="no version 2"):
        shelf.rollback(2)


# --- who approves -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("Ærø Østergård", "Ærø Østergård"),
        ("  A \t B\n C  ", "A B C"),
        ("A\u030a", "Å"),
        ("x" * 200, "x" * 200),
        ("王小明", "王小明"),
    ],
)
def test_names(given_name: str, name: str) -> None:
    assert approver_name(given_name) == name


WRONG_NAMES = {
    "empty": "",
    "spaces": "  \n ",
    "too long": "x" * 201,
    "escape": "A\x1b[2JB",
    "NUL": "A\0B",
    "bell": "A\aB",
    "delete": "A\x7fB",
    "C1": "A\x9bB",
    "right to left": "A\u202eB",
    "isolate": "A\u2066B",
    "zero width": "A\u200bB",
    "byte order mark": "\ufeffA",
    "soft hyphen": "A\u00adB",
    "not UTF-8": "A\udcffB",
    "private use": "A\ue000B",
}


@pytest.mark.parametrize("what", WRONG_NAMES)
def test_no_names(shelf: Shelf, what: str) -> None:
    """Refused before anything is written: it would stand in the history for ever."""
    with pytest.raises(VersionError, match="1 to 200 printable characters"):
        shelf.publish(31, WRONG_NAMES[what])
    assert not shelf.versions.published_any()
    shelf.publish(31)
    with pytest.raises(VersionError, match="1 to 200 printable characters"):
        shelf.versions.rollback(None, WRONG_NAMES[what], shelf.signer, shelf.verifier)


@given(name=st.text(max_size=30))
def test_any_name(name: str) -> None:
    """What is let in is one printable line, and is let in again as it is."""
    try:
        found = approver_name(name)
    except VersionError:
        return
    assert found.isprintable()
    assert found == found.strip() != ""
    assert approver_name(found) == found
