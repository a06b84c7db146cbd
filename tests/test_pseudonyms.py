"""Pseudonyms of callers, and reference codes: keys that change with the period, in a file that is written in place."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import stat
import string
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ivr_consent import config, pseudonyms
from ivr_consent.config import Settings
from ivr_consent.core.errors import ConfigurationError, ConsentError
from ivr_consent.pseudonyms import (
    Pseudonyms,
    check_digit,
    checked_code,
    new_file_text,
    open_pseudonyms,
    period_name,
    period_of,
    read_pseudonyms,
)

OLD = "0f" * 32
NUMBER = "+4570102030"
CALL = "0123456789abcdef" * 2


def clock(text: str) -> Callable[[], datetime]:
    return lambda: datetime.fromisoformat(text).replace(tzinfo=UTC)


AUTUMN, WINTER = clock("2026-09-30T23:59:59"), clock("2026-10-01T00:00:00")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.parse(tomllib.loads("[lines.support]"), tmp_path / "ivr-consent.toml", "00")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pseudonym.key"


def with_log(settings: Settings) -> Settings:
    settings.path(settings.log.path).write_bytes(b"")
    return settings


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


# --- periods ------------------------------------------------------------------------------------------------------


def test_the_periods_names() -> None:
    at = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    assert [period_name(at, every) for every in ("month", "quarter", "year")] == ["2026M11", "2026Q4", "2026"]
    assert [period_name(at.replace(month=month), "quarter") for month in range(1, 13) if month != 2] == [
        f"2026Q{quarter}" for quarter in (1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)
    ]
    east = at.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+02:00").tzinfo)
    assert period_name(east, "month") == "2026M11", "by UTC, whatever zone the time is told in"


@pytest.mark.parametrize("every", ["month", "quarter", "year"])
def test_a_pseudonym_names_its_period(path: Path, settings: Settings, every: pseudonyms.Every) -> None:
    log = settings.log.model_copy(update={"pseudonym_period": every})
    found = open_pseudonyms(settings.model_copy(update={"log": log}), WINTER)
    subject = found.subject(NUMBER)
    assert subject is not None
    assert re.fullmatch(rf"{period_name(WINTER(), every)}-[0-9a-f]{{32}}", subject)
    assert period_of(subject) == period_name(WINTER(), every) == found.period()


def test_a_pseudonym_is_hmac_sha_256_under_the_periods_key(path: Path) -> None:
    """What docs/personal-data.md says, computed by hand."""
    path.write_text(f"2026Q4 {OLD}\n")
    found = Pseudonyms(path, pseudonyms._File(os.open(path, os.O_RDONLY)).parse(), "quarter", WINTER)
    digest = hmac.new(bytes.fromhex(OLD), b"4570102030", hashlib.sha256).hexdigest()
    assert found.subject("+45 70 10-20 30") == f"2026Q4-{digest[:32]}"


@pytest.mark.parametrize("withheld", [None, "", "anonymous", "Restricted", "+"])
def test_a_withheld_number_is_nobody(settings: Settings, withheld: str | None) -> None:
    """R25."""
    found = open_pseudonyms(settings)
    assert found.subject(withheld) is None
    assert found.subjects(withheld or "") == ()


def test_each_periods_key_is_of_its_own(settings: Settings, path: Path) -> None:
    """No key follows from another: the digits of two files and of two periods have nothing in common."""
    open_pseudonyms(settings, AUTUMN)
    open_pseudonyms(with_log(settings), WINTER)
    autumn, winter = (line.split() for line in lines(path))
    assert (autumn[0], winter[0]) == ("2026Q3", "2026Q4")
    assert autumn[1] != winter[1]
    hashes = {hashlib.sha256(text).hexdigest() for text in (autumn[1].encode(), bytes.fromhex(autumn[1]))}
    assert winter[1] not in hashes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_caller_is_another_one_in_another_period_and_found_in_both(settings: Settings) -> None:
    before = open_pseudonyms(settings, AUTUMN).subject(NUMBER)
    after = open_pseudonyms(with_log(settings), WINTER)
    assert before is not None
    assert after.subject(NUMBER) != before
    assert {before, after.subject(NUMBER)} <= set(after.subjects(NUMBER))
    assert set(after.subjects("0045 70102030")) == set(after.subjects(NUMBER)), "one caller, two ways of writing"
    assert not set(after.subjects("+4570102031")) & set(after.subjects(NUMBER))


# --- the file -----------------------------------------------------------------------------------------------------


def test_the_file_that_init_writes_is_read(settings: Settings, path: Path) -> None:
    path.write_text(new_file_text("quarter"))
    before = path.read_text()
    assert open_pseudonyms(with_log(settings)).periods == (period_name(datetime.now(UTC), "quarter"),)
    assert path.read_text() == before


@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
def test_the_old_form_is_read_on_as_the_key_of_before(settings: Settings, path: Path, end: str) -> None:
    """A site that was there before periods: its old pseudonyms are found on, new ones are made with a new key."""
    path.write_text(OLD + end)
    digest = hmac.new(bytes.fromhex(OLD), b"4570102030", hashlib.sha256).hexdigest()[:32]
    assert read_pseudonyms(with_log(settings)).subject(NUMBER) == digest
    assert path.read_text().strip() == OLD, "who only reads changes nothing"
    found = open_pseudonyms(settings, WINTER)
    assert found.periods == ("", "2026Q4")
    assert digest in found.subjects(NUMBER)
    assert found.subject(NUMBER) != digest
    assert lines(path)[0] == OLD
    assert open_pseudonyms(settings, WINTER).subjects(NUMBER) == found.subjects(NUMBER)


def test_a_missing_file_beside_a_log_is_never_made_anew(settings: Settings, path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pseudonym_key_file.*restore it from its copy"):
        open_pseudonyms(with_log(settings))
    assert not path.exists()
    path.write_text("# no key\n")
    with pytest.raises(ConfigurationError, match="there is no key in it"):
        open_pseudonyms(settings)
    assert path.read_text() == "# no key\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mine\nand yours\n", "line 1"),
        (f"2026Q4 {OLD}\n2026Q5 {OLD}\n", "line 2"),
        (f"2026Q4 {OLD[:-2]}\n", "line 1"),
        (f"2026Q4 {OLD}\n2026Q4 {OLD[::-1]}\n", "two of its lines name one period"),
        (f"2026Q4 {'z' * 64}\n", "line 1"),
        (f"2026Q4 {OLD}\n" * 2000, "larger than 64 KiB"),
        (f"2026Q4 {'-' * 64}\n", "there is no key in it"),
    ],
)
def test_a_file_of_another_form_is_told_and_left(settings: Settings, path: Path, text: str, told: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        open_pseudonyms(with_log(settings))
    assert path.read_text() == text


@pytest.mark.parametrize("cut", [1, 7, 20, 70])
@pytest.mark.parametrize("filler", [b"", b"\0" * 9])
def test_half_a_line_of_a_writer_that_was_killed(settings: Settings, path: Path, cut: int, filler: bytes) -> None:
    """What a crash left is no key, and the next writer takes its place."""
    half = f"2026Q4 {OLD}\n".encode()[:cut] + filler
    path.write_bytes(f"2026Q3 {OLD}\n".encode() + half)
    assert read_pseudonyms(with_log(settings)).periods == ("2026Q3",)
    assert open_pseudonyms(settings, WINTER).periods == ("2026Q3", "2026Q4")
    assert [line[:7] for line in lines(path)] == ["2026Q3 ", "2026Q4 "]
    assert path.read_bytes().endswith(b"\n")


def test_a_period_that_begins_while_the_service_runs(settings: Settings, path: Path) -> None:
    now = [AUTUMN()]
    found = open_pseudonyms(settings, lambda: now[0])
    before = found.subject(NUMBER)
    assert before is not None
    now[0] += timedelta(seconds=1)
    assert found.subject(NUMBER) == before, "until the next refresh: a call waits for no file"
    found.refresh()
    after = found.subject(NUMBER)
    assert after is not None
    assert period_of(after) == "2026Q4"
    before_file = path.read_bytes()
    found.refresh()
    assert path.read_bytes() == before_file


def test_a_clock_that_was_set_back_makes_no_second_key(settings: Settings, path: Path) -> None:
    now = [AUTUMN()]
    found = open_pseudonyms(settings, lambda: now[0])
    first = found.subject(NUMBER)
    now[0] = WINTER()
    found.refresh()
    now[0] = AUTUMN()
    found.refresh()
    assert found.subject(NUMBER) == first
    assert len(lines(path)) == 2


OPENS: str = """
import sys, tomllib
from datetime import UTC, datetime
from pathlib import Path
from ivr_consent import config
from ivr_consent.pseudonyms import open_pseudonyms
settings = config.parse(tomllib.loads("[lines.support]"), Path(sys.argv[1]), "00")
sys.stdin.read()
print(open_pseudonyms(settings, lambda: datetime(2026, 10, 1, tzinfo=UTC)).subject("+4570102030"))
"""


@pytest.mark.parametrize("first", [False, True], ids=["a new period", "a new site"])
def test_processes_that_begin_at_one_moment_make_one_key(settings: Settings, path: Path, first: bool) -> None:
    """The service and classic scripts: whoever is first makes it, all use it."""
    if not first:
        open_pseudonyms(settings, AUTUMN)
    command = [sys.executable, "-c", OPENS, str(settings.source)]
    there = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii")
        for _ in range(6)
    ]
    for process in there:
        assert process.stdin is not None
        process.stdin.close()  # all of them have been started: now
        process.stdin = None
    found = {process.communicate(timeout=60)[0].strip() for process in there}
    assert [process.returncode for process in there] == [0] * 6
    assert len(found) == 1
    assert [line[:6] for line in lines(path)] == (["2026Q4"] if first else ["2026Q3", "2026Q4"])


def test_a_key_is_on_disk_before_it_is_used(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    write, flush = os.pwrite, os.fsync

    def told_write(descriptor: int, data: bytes, offset: int) -> int:
        done.append("write")
        return write(descriptor, data, offset)

    def told_flush(descriptor: int) -> None:
        done.append("flush")
        flush(descriptor)

    monkeypatch.setattr(os, "pwrite", told_write)
    monkeypatch.setattr(os, "fsync", told_flush)
    open_pseudonyms(settings, WINTER)
    assert "write" in done
    assert "flush" in done[done.index("write") :]


def test_a_new_key_that_cannot_be_written_stops_no_call(
    settings: Settings, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6: the newest key there is serves on, and what is wrong is said."""
    monkeypatch.setattr(pseudonyms, "LOCK_DEADLINE_S", 0.05)
    before = open_pseudonyms(settings, AUTUMN).subject(NUMBER)
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_SH)  # as a process that was stopped in the middle of reading
        after = open_pseudonyms(with_log(settings), WINTER)
    assert after.subject(NUMBER) == before
    after.refresh()
    assert after.subject(NUMBER) != before


def test_without_any_key_an_unwritable_file_is_an_error(
    settings: Settings, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(ConfigurationError, match="No space left on device"):
        open_pseudonyms(settings)


def test_a_destroyed_key_is_overwritten_where_it_stood(settings: Settings, path: Path) -> None:
    """R24: its pseudonyms are nobody's; no other process makes it anew, and the key in use cannot be destroyed."""
    path.write_text(f"# mine\n{OLD}\n2026Q3 {'ab' * 32}\n")
    found = open_pseudonyms(with_log(settings), WINTER)
    inode = path.stat().st_ino
    gone = found.subjects(NUMBER)[:2]
    assert found.destroy(["", "2026Q3", "2026Q4", "1999Q1"]) == ("", "2026Q3")
    assert found.periods == ("2026Q4",)
    assert path.stat().st_ino == inode
    text = path.read_text()
    assert OLD not in text
    assert "ab" * 8 not in text
    assert text.startswith(f"# mine\n{'-' * 64}\n2026Q3 {'-' * 64}\n2026Q4 ")
    again = open_pseudonyms(settings, AUTUMN)  # a clock that was set back
    assert again.periods == ("2026Q4",)
    assert not set(gone) & set(again.subjects(NUMBER))
    assert again.period() == "2026Q4"
    assert path.read_text() == text
    with pytest.raises(ConsentError, match="destroyed"):
        again.reference_code(CALL, "2026Q3")


def test_a_key_that_was_half_destroyed_is_no_key(settings: Settings, path: Path) -> None:
    path.write_text(f"2026Q3 {OLD[:30]}{'-' * 34}\n2026Q4 {OLD}\n")
    assert read_pseudonyms(with_log(settings)).periods == ("2026Q4",)


def test_keys_of_nobody_leave_nothing_behind(tmp_path: Path) -> None:
    found = Pseudonyms.of_nobody()
    assert found.subject(NUMBER) == found.subject(NUMBER)
    assert found.subject(NUMBER) != Pseudonyms.of_nobody().subject(NUMBER)
    found.refresh()
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_not_shown(settings: Settings) -> None:
    found = open_pseudonyms(settings)
    assert "secret" not in repr(list(found._keys.values()))


# --- reference codes ----------------------------------------------------------------------------------------------


def test_the_check_digit_is_damms() -> None:
    """The example of the method's own description: 572 has the check digit 4."""
    assert check_digit("572") == "4"


def test_every_wrong_digit_and_every_swap_is_found(settings: Settings) -> None:
    found = open_pseudonyms(settings)
    for n in range(20):
        code = found.reference_code(f"{n:032x}", datetime.now(UTC))
        assert re.fullmatch("[0-9]{10}", code)
        assert checked_code(code) == code
        for place in range(10):
            for digit in set(string.digits) - {code[place]}:
                with pytest.raises(ConsentError, match="wrong digit"):
                    checked_code(code[:place] + digit + code[place + 1 :])
        for place in range(9):
            swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
            if swapped != code:
                with pytest.raises(ConsentError, match="wrong digit"):
                    checked_code(swapped)


def test_a_code_as_people_write_it(settings: Settings) -> None:
    code = open_pseudonyms(settings).reference_code(CALL, datetime.now(UTC))
    assert checked_code(f" {code[:3]} {code[3:6]}-{code[6:]}\n") == code
    for wrong in ("", code[:-1], code + "0", "x" + code[1:], "\u0661" * 10):
        with pytest.raises(ConsentError, match="has 10 digits"):
            checked_code(wrong)


def test_a_code_is_found_by_its_keyed_hash_in_every_period(settings: Settings) -> None:
    autumn = open_pseudonyms(settings, AUTUMN)
    code = autumn.reference_code(CALL, AUTUMN())
    ref = autumn.reference_ref(code, autumn.period())
    assert re.fullmatch(r"2026Q3-[0-9a-f]{32}", ref)
    assert code not in ref
    winter = open_pseudonyms(with_log(settings), WINTER)
    assert ref in winter.find(f"{code[:5]} {code[5:]}")
    assert len(winter.find(code)) == 2
    assert winter.reference_code(CALL, period_of(ref)) == code, "told again, years later"
    assert winter.reference_code(CALL, WINTER()) != code
    with pytest.raises(ConsentError, match="wrong digit"):
        winter.find(code[:-1] + str((int(code[-1]) + 1) % 10))


def test_codes_spread_over_all_digits(settings: Settings) -> None:
    found = open_pseudonyms(settings)
    codes = [found.reference_code(f"{n:032x}", datetime.now(UTC)) for n in range(2000)]
    assert len(set(codes)) == 2000
    for place in range(10):
        counts = [sum(code[place] == digit for code in codes) for digit in string.digits]
        assert min(counts) > 130, "200 are expected, and 130 is five standard deviations away"


def test_a_code_is_not_a_pseudonym(settings: Settings, path: Path) -> None:
    """One key, three uses: what is hashed for one of them is never what is hashed for another."""
    path.write_text(f"2026Q4 {OLD}\n")
    found = open_pseudonyms(with_log(settings), WINTER)
    code = found.reference_code(CALL, WINTER())
    assert found.reference_ref(code, "2026Q4") not in found.subjects(code)
    assert found.subject(f"reference ref\0{code}") != found.reference_ref(code, "2026Q4")
