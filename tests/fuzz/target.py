"""A target: something that reads what somebody else has written, and what must hold for every input."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
BASE: Final = HERE / "base"

INPUT_S: Final = 10.0
"""No input may take longer, under the fuzzer's instruments on a busy machine too. They take milliseconds."""

MEMORY_MIB: Final = 2048
"""A process of one target with its instruments needs some 300."""


@dataclass(frozen=True, slots=True)
class Target:
    """``name`` is its folder's. ``one`` takes an input, and raises anything at all where something does not hold.

    ``seeds``: inputs to begin with. ``longest``: bytes of an input. ``words`` help the fuzzer to guess.
    """

    name: str
    one: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int
    words: tuple[bytes, ...] = ()

    @property
    def corpus(self) -> Path:
        """Where its inputs are kept."""
        return HERE / "corpus" / self.name

    @property
    def crashes(self) -> Path:
        """Where those are kept that once broke something."""
        return HERE / "crashes" / self.name


class TooSlowError(Exception):
    """An input takes longer than any may."""


@contextmanager
def deadline(seconds: float = INPUT_S) -> Iterator[None]:
    """Ends what takes too long with :class:`TooSlowError`. For the main thread."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TooSlowError(f"an input takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@functools.cache
def scratch() -> Path:
    """A folder of this process for readers that take a file; in memory where the machine has such a place.

    The fuzzer ends its process without a word: the runner names a folder, and takes it away.
    """
    memory = Path("/dev/shm")
    inside = memory if memory.is_dir() and "TMPDIR" not in os.environ else None
    made = Path(tempfile.mkdtemp(prefix="ivr-consent-fuzz-", dir=inside))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def written(name: str, data: bytes) -> Path:
    """An input as a file."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    """An input as it arrives: whole for ``None``, else so many bytes at a time."""
    if size is None:
        yield data
        return
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


def shown(text: Any) -> None:
    """What stands in a message for an administrator: one line, not empty, nothing that a terminal would act upon."""
    assert isinstance(text, str)
    assert text.strip(), "an empty message"
    assert text.isprintable(), f"not printable as it is: {text!r}"


def digest(data: bytes) -> str:
    """The name of an input's file."""
    return hashlib.sha256(data).hexdigest()[:16]


def read_folder(folder: Path) -> dict[str, bytes]:
    """The inputs in a folder, by name; what begins with a dot is none."""
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name[:1] != "."}
