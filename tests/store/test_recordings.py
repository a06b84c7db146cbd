"""The files of recordings: one lasting form, nothing of anybody else's, nothing outside of the directory."""

from __future__ import annotations

import array
import hashlib
import itertools
import os
import stat
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.errors import ConsentError
from ivr_consent.store import recordings
from ivr_consent.store.recordings import Finished, RecordingError

ID = "0123456789abcdef" * 2
WAIT_S = 20.0


def samples(*values: int) -> bytes:
    return array.array("h", values).tobytes()


def one_channel(path: Path, *values: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples(*values))


def read(path: Path) -> tuple[int, int, int, list[int]]:
    with wave.open(str(path), "rb") as file:
        data = array.array("h", file.readframes(file.getnframes()))
        return file.getnchannels(), file.getsampwidth(), file.getframerate(), list(data)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# --- finish ---------------------------------------------------------------------------------------------------------


def test_raw_becomes_two_channels(tmp_path: Path) -> None:
    (tmp_path / f"{ID}.raw").write_bytes(samples(1, -1, 2, -2, 32767, -32768))
    finished = recordings.finish(tmp_path, ID)
    final = tmp_path / f"{ID}.wav"
    assert read(final) == (2, 2, 8000, [1, -1, 2, -2, 32767, -32768])
    data = final.read_bytes()
    assert finished == Finished(final.name, 0, len(data), hashlib.sha256(data).hexdigest())
    assert names(tmp_path) == {final.name}
    assert stat.S_IMODE(final.stat().st_mode) == 0o600


def test_length_is_in_milliseconds(tmp_path: Path) -> None:
    (tmp_path / f"{ID}.raw").write_bytes(bytes(4 * 8000 * 3 // 2))
    assert recordings.finish(tmp_path, ID).milliseconds == 1500


def test_half_a_frame_at_the_end_is_left_out(tmp_path: Path) -> None:
    """A switch that died leaves its last write cut."""
    (tmp_path / f"{ID}.raw").write_bytes(samples(1, -1, 2, -2) + b"\x07\x00\x09")
    recordings.finish(tmp_path, ID)
    assert read(tmp_path / f"{ID}.wav")[3] == [1, -1, 2, -2]


@pytest.mark.parametrize(
    ("caller", "agent", "both"),
    [
        ((1, 2, 3), (-1, -2, -3), [1, -1, 2, -2, 3, -3]),
        ((1,), (-1, -2, -3), [1, -1, 0, -2, 0, -3]),
        ((1, 2, 3), (), [1, 0, 2, 0, 3, 0]),
        ((1, 2), None, [1, 0, 2, 0]),
        (None, (-1, -2), [0, -1, 0, -2]),
    ],
    ids=["same length", "agent longer", "agent empty", "no agent file", "no caller file"],
)
def test_legs_become_two_channels(
    tmp_path: Path, caller: tuple[int, ...] | None, agent: tuple[int, ...] | None, both: list[int]
) -> None:
    """R16: left the caller, right the agent: who asks for a copy can be given their own side alone."""
    mixed = [sum(pair) for pair in itertools.zip_longest(caller or (), agent or (), fillvalue=0)]
    one_channel(tmp_path / f"{ID}.wav", *mixed)  # replaced
    for side, values in (("caller", caller), ("agent", agent)):
        if values is not None:
            one_channel(tmp_path / f"{ID}-{side}.wav", *values)
    recordings.finish(tmp_path, ID)
    assert read(tmp_path / f"{ID}.wav") == (2, 2, 8000, both)
    assert names(tmp_path) == {f"{ID}.wav"}


def test_legs_without_padding_are_put_where_they_were(tmp_path: Path) -> None:
    """R22: Asterisk before 22 leaves silent frames out of a side's file; the mixed file tells which."""
    frame = recordings.FRAME
    loud = [1000 + n for n in range(frame)]
    caller = [loud, None, loud, loud, None]
    agent = [None, [7] * frame, None, [-5] * frame, [9] * frame]
    for side, frames in (("caller", caller), ("agent", agent)):
        one_channel(tmp_path / f"{ID}-{side}.wav", *itertools.chain.from_iterable(part for part in frames if part))
    padded = [[part or [0] * frame for part in side] for side in (caller, agent)]
    left, right = (list(itertools.chain.from_iterable(side)) for side in padded)
    one_channel(tmp_path / f"{ID}.wav", *(a + b for a, b in zip(left, right, strict=True)))
    one_channel(tmp_path / f"{ID}-agent.wav", *itertools.chain.from_iterable(part for part in agent if part), 3)
    recordings.finish(tmp_path, ID)
    data = read(tmp_path / f"{ID}.wav")[3]
    assert data[0 : 2 * 5 * frame : 2] == left
    assert data[1 : 2 * 5 * frame : 2] == right
    assert data[-1] == 3, "what came after the last mixed frame is kept"


def test_a_crash_between_removing_the_legs_loses_nothing(tmp_path: Path) -> None:
    """R22: the two-channel file is whole; one leg is left over."""
    one_channel(tmp_path / f"{ID}-caller.wav", 1, 2, 3)
    one_channel(tmp_path / f"{ID}-agent.wav", 4, 5, 6)
    first = recordings.finish(tmp_path, ID)
    one_channel(tmp_path / f"{ID}-agent.wav", 4, 5, 6)
    assert recordings.finish(tmp_path, ID) == first
    assert names(tmp_path) == {f"{ID}.wav"}


def test_a_leg_without_a_header_is_silence(tmp_path: Path) -> None:
    """The switch died before it wrote one."""
    one_channel(tmp_path / f"{ID}-caller.wav", 1, 2)
    (tmp_path / f"{ID}-agent.wav").write_bytes(b"")
    recordings.finish(tmp_path, ID)
    assert read(tmp_path / f"{ID}.wav")[3] == [1, 0, 2, 0]


def test_recordings_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours are streamed; the seams do not show."""
    monkeypatch.setattr(recordings, "CHUNK", 7)
    one_channel(tmp_path / f"{ID}-caller.wav", *range(1, 51))
    one_channel(tmp_path / f"{ID}-agent.wav", *range(-1, -31, -1))
    recordings.finish(tmp_path, ID)
    data = read(tmp_path / f"{ID}.wav")[3]
    assert data[0::2] == list(range(1, 51))
    assert data[1::2] == list(range(-1, -31, -1)) + [0] * 20


def test_finishing_twice_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / f"{ID}.raw").write_bytes(samples(1, -1))
    assert recordings.finish(tmp_path, ID) == recordings.finish(tmp_path, ID)


def test_finishing_after_a_crash_before_the_end(tmp_path: Path) -> None:
    """The part is written anew, and the raw file was still there."""
    (tmp_path / f"{ID}.raw").write_bytes(samples(1, -1))
    (tmp_path / f"{ID}.wav.part").write_bytes(b"half")
    recordings.finish(tmp_path, ID)
    assert names(tmp_path) == {f"{ID}.wav"}
    assert read(tmp_path / f"{ID}.wav")[3] == [1, -1]


@pytest.mark.parametrize("ending", [".raw", "-caller.wav", "-agent.wav"])
def test_nobody_talked(tmp_path: Path, ending: str) -> None:
    """R1: a recording without a second of talk leaves no file, not even an empty one."""
    path = tmp_path / f"{ID}{ending}"
    if ending == ".raw":
        path.touch()
    else:
        one_channel(path)
    assert recordings.finish(tmp_path, ID) == Finished(None, 0, 0, None)
    assert names(tmp_path) == set()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=ID):
        recordings.finish(tmp_path, ID)


# --- other files ------------------------------------------------------------------------------------------------------


ENDINGS = (".raw", ".wav", "-caller.wav", "-agent.wav", ".wav.part")


def test_discard_removes_all_of_one_and_nothing_else(tmp_path: Path) -> None:
    """R1, R13."""
    other = "f" * 32
    for ending in ENDINGS:
        (tmp_path / f"{ID}{ending}").touch()
        (tmp_path / f"{other}{ending}").touch()
    assert len(recordings.files(tmp_path, ID)) == len(ENDINGS)
    assert recordings.discard(tmp_path, ID)
    assert recordings.files(tmp_path, ID) == []
    assert names(tmp_path) == {f"{other}{ending}" for ending in ENDINGS}
    assert recordings.discard(tmp_path, ID), "nothing left is nothing left"


def test_discard_says_when_it_could_not(tmp_path: Path) -> None:
    (tmp_path / f"{ID}.raw").mkdir()
    assert not recordings.discard(tmp_path, ID)


@pytest.mark.parametrize(("ending", "expected"), [(".raw", True), ("-agent.wav", True), (".wav", False)])
def test_unfinished(tmp_path: Path, ending: str, expected: bool) -> None:
    (tmp_path / f"{ID}{ending}").touch()
    assert recordings.unfinished(tmp_path, ID) is expected


FUNCTIONS: list[Callable[[Path, str], Any]] = [
    recordings.files,
    recordings.unfinished,
    recordings.discard,
    recordings.in_use,
    recordings.finish,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: str(function.__name__))
@pytest.mark.parametrize(
    "bad",
    [
        "",
        "..",
        "../" + ID,
        "a/" + ID,
        ID + "/..",
        ID[:-1],
        ID + "0",
        ID.upper(),
        ID + "\n",
        "\0" * 32,
        "*" * 32,
        "٠" * 32,
    ],
    ids=repr,
)
def test_only_ids_of_ours_become_paths(tmp_path: Path, function: Callable[[Path, str], Any], bad: str) -> None:
    """I6: nothing that a caller or a switch sends becomes a path."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / f"{ID}.raw").write_bytes(samples(1, -1))
    with pytest.raises(ConsentError, match="not the id"):
        function(inside, bad)
    assert names(tmp_path) == {"inside", f"{ID}.raw"}


# --- the directory ----------------------------------------------------------------------------------------------------


def test_prepare_makes_a_directory_for_its_owner(tmp_path: Path) -> None:
    """R15."""
    directory = tmp_path / "a" / "recordings"
    before = os.umask(0)
    try:
        recordings.prepare(directory)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    recordings.prepare(directory)


@pytest.mark.parametrize(("mode", "after"), [(0o777, 0o700), (0o755, 0o700), (0o770, 0o700), (0o750, 0o750)])
def test_prepare_closes_an_open_directory(tmp_path: Path, mode: int, after: int) -> None:
    """R15: a group that may read (the backup) is the administrator's choice; writing and everybody are not."""
    directory = tmp_path / "recordings"
    directory.mkdir()
    directory.chmod(mode)
    recordings.prepare(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == after


def test_prepare_names_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "recordings").touch()
    with pytest.raises(RecordingError, match="give it to the user"):
        recordings.prepare(tmp_path / "recordings")


# --- in use -----------------------------------------------------------------------------------------------------------


def holding(path: Path, mode: str) -> subprocess.Popen[str]:
    script = "import sys\nfile = open(sys.argv[1], sys.argv[2])\nprint('open', flush=True)\nsys.stdin.read()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


@pytest.mark.parametrize(("mode", "expected"), [("ab", True), ("r+b", True), ("rb", False)])
def test_in_use_is_being_written(tmp_path: Path, mode: str, expected: bool) -> None:
    """R9: the open files of the switch tell the truth; one who only listens does not keep it open."""
    path = tmp_path / f"{ID}.raw"
    path.touch()
    process = holding(path, mode)
    try:
        assert recordings.in_use(tmp_path, ID) is expected
    finally:
        process.communicate(timeout=WAIT_S)
    assert recordings.in_use(tmp_path, ID) is False


def test_in_use_while_somebody_finishes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was there a moment ago."""
    monkeypatch.setattr(recordings, "files", lambda directory, recording_id: [directory / f"{recording_id}.raw"])
    assert recordings.in_use(tmp_path, ID) is False


def test_in_use_without_files(tmp_path: Path) -> None:
    assert recordings.in_use(tmp_path, ID) is False
