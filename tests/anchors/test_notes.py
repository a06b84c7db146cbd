"""Finding checkpoints in whatever they were kept in."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ivr_consent.anchors.notes import MAX_LINE, Sealed, lines, notes_in
from ivr_consent.verifier import MAX_SIGNATURES, NoteError
from tests.anchors.support import LOG_ID, checkpoint

ONE, TWO, OTHER = checkpoint(1), checkpoint(2000), checkpoint(7, "ffff")


def found(text: str) -> list[Sealed]:
    return list(notes_in([text.encode()]))


def test_what_a_checkpoint_says() -> None:
    assert (TWO.size, TWO.log_id, OTHER.log_id) == (2000, LOG_ID, "ffff")
    assert Sealed.parse(TWO.note) == TWO


@pytest.mark.parametrize("text", ["", "\n\n", "x\n\ny\n", ONE.note.replace("\n\n", "\n")])
def test_what_is_none(text: str) -> None:
    with pytest.raises(NoteError):
        Sealed.parse(text)
    assert found(text) == []


@pytest.mark.parametrize("between", ["", "\n", "\n\n\n", "Dear officer,\n\n", "\x00\xff\n", "\u2014 \n", "next \n"])
def test_they_are_found_one_after_the_other(between: str) -> None:
    """In their order, of whatever log; with what else stands there passed over."""
    assert found(between + between.join(part.note for part in (ONE, OTHER, TWO))) == [ONE, OTHER, TWO]


def test_line_ends_of_mail_are_taken() -> None:
    assert found(ONE.note.replace("\n", "\r\n") + "\r\n" + TWO.note.replace("\n", "\r\n")) == [ONE, TWO]


def test_one_that_was_broken_off_does_not_hide_the_next() -> None:
    for end in range(len(ONE.note)):
        assert found(f"{ONE.note[:end]}\n{TWO.note}")[-1] == TWO
    for end in range(len(ONE.note) - 1):
        assert TWO in found(f"{ONE.note[:end]}{TWO.note}") or not ONE.note[:end].endswith("\n")


def test_signatures_of_witnesses_stay_with_it() -> None:
    witness = "\u2014 witness.example AAAAAAAA\n"
    (both,) = found(ONE.note + witness)
    assert both.note == ONE.note + witness
    (many,) = found(ONE.note + witness * 1000)
    assert many.note.count("witness") <= MAX_SIGNATURES


def test_a_changed_line_is_no_checkpoint_of_ours() -> None:
    """What has another form is passed over; whether a signature is good is another question."""
    rows = ONE.note.split("\n")
    for number, line in ((0, "ivr-consent/xyz"), (1, "01"), (1, "-1"), (2, "AAAA"), (3, "time now "), (4, "next x")):
        assert found("\n".join([*rows[:number], line, *rows[number + 1 :]])) == []
    assert len(found(ONE.note.replace("\u2014 ", "\u2014 x"))) == 1


def test_text_comes_in_pieces_of_any_size() -> None:
    whole = f"x\n{ONE.note}\n{TWO.note}y\n{OTHER.note}".encode()
    randomly = random.Random(1)  # noqa: S311 - which places are tried
    for _ in range(200):
        cuts = sorted(randomly.randrange(len(whole)) for _ in range(randomly.randrange(9)))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert list(notes_in(pieces)) == [ONE, TWO, OTHER]


def test_a_line_without_end_takes_no_memory() -> None:
    """Gigabytes of one line, in a file that somebody made to do harm."""

    def endless() -> Iterator[bytes]:
        yield ONE.note.encode()
        for _ in range(20_000):
            yield b"ivr-consent/" * 1000
        yield b"\n" + TWO.note.encode()

    import tracemalloc

    tracemalloc.start()
    try:
        assert list(notes_in(endless())) == [ONE, TWO]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_lines_are_bounded() -> None:
    assert [len(line) for line in lines([b"a" * 10_000, b"b\nc"])] == [MAX_LINE, 1]
    assert list(lines([b"\xff\xfe\r\n\n"])) == ["\ufffd\ufffd", ""]
