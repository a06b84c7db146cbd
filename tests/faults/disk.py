"""The disk under a process: its faults, switched while it runs, and what a power cut would leave of it."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from enum import IntFlag
from functools import cache
from pathlib import Path
from typing import Final

from tests.tools import need

SOURCE: Final = Path(__file__).with_name("faults.c")
RULES: Final = 8
RULE: Final = struct.Struct("7i100s")
HEAD: Final = struct.Struct("4IQ")
SECTOR: Final = 512
"""Bytes that a disk writes whole or not at all."""

PAGE: Final = 4096
"""Bytes that a kernel keeps and writes together."""

ALWAYS: Final = -1

DIE: Final = 4096
"""Instead of an error: the process is killed just before the operation."""


class Operation(IntFlag):
    """What a rule meets, and what stands in a trace: ``MARK`` was said by the process, ``FAILED`` was a flush."""

    WRITE = 1
    FLUSH = 2
    TRUNCATE = 4
    RENAME = 8
    UNLINK = 16
    CREATE = 32
    MARK = 64
    FAILED = 128


CHANGE: Final = (
    Operation.WRITE | Operation.FLUSH | Operation.TRUNCATE | Operation.RENAME | Operation.UNLINK | Operation.CREATE
)
"""Whatever may leave another state behind."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule: ``operations`` on files whose path ends with ``name``; ``after`` so many, ``times`` times."""

    operations: Operation
    name: str = ""
    error: int = 0
    delay_ms: int = 0
    half: bool = False
    after: int = 0
    times: int = ALWAYS


class Disk:
    """The faults of one process's files in one folder. Change them at any time."""

    def __init__(self, control: Path) -> None:
        self.control = control
        control.write_bytes(bytes(RULE.size * RULES))
        with control.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), RULE.size * RULES)

    def fail(self, *faults: Fault) -> None:
        """From now on these, and no others."""
        packed = b"".join(
            RULE.pack(one.operations, one.error, one.delay_ms, one.half, one.after, one.times, 0, one.name.encode())
            for one in faults
        )
        self._page[:] = packed.ljust(RULE.size * RULES, b"\0")

    def heal(self) -> None:
        """No more faults."""
        self.fail()

    @property
    def hits(self) -> int:
        """How often a fault struck since :meth:`fail`."""
        return sum(RULE.unpack_from(self._page, RULE.size * number)[6] for number in range(RULES))

    def close(self) -> None:
        """Let go of the page."""
        self._page.close()


@cache
def library(folder: Path) -> Path:
    """Compile the preloaded library into a folder, once."""
    need("cc")
    target = folder / "faults.so"
    aside = folder / f"faults.so.{os.getpid()}"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(aside), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, timeout=120)
    aside.replace(target)
    return target


def attach(control: Path, folder: Path, trace: Path | None = None) -> None:
    """In the process under test, where the library was preloaded: obey a :class:`Disk`, keep a trace."""
    preloaded = ctypes.CDLL(None)
    preloaded.faults_attach(os.fsencode(control), os.fsencode(folder), os.fsencode(trace or ""))


def environment(library: Path, control: Path, folder: Path) -> dict[str, str]:
    """For a program that cannot call :func:`attach`: it, and what it starts, obeys a :class:`Disk` from the start."""
    return {"LD_PRELOAD": str(library), "FAULTS_CONTROL": str(control), "FAULTS_FOLDER": str(folder)}


def mark(text: str) -> None:
    """In the process under test: put a remark between two entries of the trace."""
    ctypes.CDLL(None).faults_mark(text.encode())


# --- a power cut -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a trace, in the order in which the kernel took them. Paths are names in the folder, "" itself."""

    operation: Operation
    path: str
    other: str
    offset: int
    data: bytes


def read_trace(trace: Path, folder: Path) -> list[Step]:
    """All entries of a trace."""
    data, at, found = trace.read_bytes(), 0, []
    while at < len(data):
        operation, path, other, size, offset = HEAD.unpack_from(data, at)
        at += HEAD.size
        ends = [at + path, at + path + other, at + path + other + (size if operation == Operation.WRITE else 0)]
        first, second = data[at : ends[0]].decode(), data[ends[0] : ends[1]].decode()
        if operation != Operation.MARK:
            first = os.path.relpath(first, folder) if first != str(folder) else ""
            second = os.path.relpath(second, folder) if second else ""
        found.append(Step(Operation(operation), first, second, offset, data[ends[1] : ends[2]]))
        at = ends[2]
    return found


@dataclass(slots=True)
class _File:
    """A file as its processes see it, as it is on disk for certain, and the pages between, in their order."""

    cached: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    """Offset of a page and all of it as it was after a write; a negative offset: cut off there (its complement)."""

    def change(self, step: Step) -> None:
        """A write makes whole pages dirty: what else stands in them goes to disk with it."""
        if step.operation is Operation.TRUNCATE:
            _resize(self.cached, step.offset)
            self.pending.append((~step.offset, b""))
            return
        end = step.offset + len(step.data)
        self.cached.extend(bytes(max(0, step.offset - len(self.cached))))
        self.cached[step.offset : end] = step.data
        for page in range(step.offset // PAGE * PAGE, end, PAGE):
            self.pending.append((page, bytes(self.cached[page : page + PAGE])))

    def flush(self) -> None:
        """All of it is on disk."""
        for offset, image in self.pending:
            _apply(self.durable, offset, image)
        self.pending.clear()

    def fail(self, chance: random.Random) -> None:
        """A flush failed: the kernel takes the pages for written, whether they are or not, and never tries again."""
        self.durable[:] = self.after_cut(chance)
        self.pending.clear()

    def after_cut(self, chance: random.Random) -> bytes:
        """What is found after the power is back: of what was not flushed any part, in whole sectors, or nothing."""
        data = bytearray(self.durable)
        luck = chance.choice((0.0, 0.0, 0.5, 1.0))
        for offset, image in self.pending:
            if offset < 0:
                if chance.random() < luck:
                    _apply(data, offset, image)
                continue
            for begin in range(0, len(image), SECTOR):
                if chance.random() < luck:
                    _apply(data, offset + begin, image[begin : begin + SECTOR])
        return bytes(data)


def _apply(data: bytearray, offset: int, image: bytes) -> None:
    if offset < 0:
        _resize(data, ~offset)
    else:
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + len(image)] = image


def _resize(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


class Replay:
    """The disk as a trace goes on. Names are as durable as the last flush of the folder made them; later changes of
    names reach the disk in their order, and a cut may come between any two of them."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._names: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._later: list[Step] = []
        self._objects: dict[int, _File] = {}
        self.marks: list[str] = []

    def step(self, step: Step) -> None:
        """The next entry of the trace."""
        kind = step.operation
        if kind is Operation.MARK:
            self.marks.append(step.other)
        elif kind is Operation.FLUSH and not step.path:
            self._durable = dict(self._names)
            self._later.clear()
        elif kind is Operation.FLUSH:
            if step.path in self._names:
                self._names[step.path].flush()
        elif kind in (Operation.WRITE, Operation.TRUNCATE):
            self._names.setdefault(step.path, _File()).change(step)
        elif kind is Operation.FAILED:
            if step.path in self._names:
                self._names[step.path].fail(self._chance)
        else:
            if kind is Operation.CREATE:
                self._objects[id(step)] = _File()
            self._later.append(step)
            self._rename(self._names, step)

    def _rename(self, names: dict[str, _File], step: Step) -> None:
        if step.operation is Operation.CREATE:
            names[step.path] = self._objects[id(step)]
        elif step.operation is Operation.RENAME and step.path in names:
            names[step.other] = names.pop(step.path)
        elif step.operation is Operation.UNLINK:
            names.pop(step.path, None)

    def cut(self, folder: Path) -> None:
        """Write into a new folder what a power cut at this moment may leave."""
        chance = self._chance
        names = dict(self._durable)
        for step in self._later[: chance.randint(0, len(self._later))]:
            self._rename(names, step)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, file in names.items():
            if not name.endswith("-shm"):  # shared memory: made anew from the write-ahead log
                (folder / name).write_bytes(file.after_cut(chance))
