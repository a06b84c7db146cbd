"""Ways into a site: a number for each extension that somebody can dial, which leads to it and to no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.asterisk.audit import judge
from ivr_consent.pbx.asterisk.audit.patterns import pattern
from ivr_consent.pbx.asterisk.audit.site import survey
from ivr_consent.testing.dialplans import copied
from ivr_consent.testing.dialplans.ways import Untried, WayIn, numbers, ways_in

SITES = Path(__file__).parents[2] / "data/dialplans"


def ways(directory: Path, *contexts: str) -> tuple[list[WayIn], list[Untried]]:
    library = copied.library_of(directory)
    site = survey(library)
    dialplan, _ = judge.load(library, site)
    return ways_in(dialplan, site, contexts)


def site(directory: Path, text: str) -> Path:
    (directory / "extensions.conf").write_text(text)
    return directory


def test_the_files_say_where_calls_come_in() -> None:
    found, untried = ways(SITES / "shop")
    assert [way.name for way in found] == [
        "from-trunk,70102030", "from-trunk,70102031", "from-trunk,1", "from-trunk,2", "from-trunk,70102045",
        "inside,05273180", "inside,155",
    ]  # fmt: skip  # rows that belong together
    assert not untried


@pytest.mark.parametrize("name", ["_X.", "_NXXXXXX", "_[2-5]ZX!", "_+45XXXXXXXX", "_*7[13]", "_X[a-c]"])
def test_a_number_is_one_that_the_pattern_takes(name: str) -> None:
    wanted = pattern(name)
    assert wanted is not None
    assert wanted.takes(next(numbers(wanted)))


def test_a_number_does_not_lead_to_a_better_match(tmp_path: Path) -> None:
    site(tmp_path, "[in]\nexten => 555,1,Hangup()\nexten => _5XX,1,Hangup()\nexten => _XXX,1,Hangup()\n")
    dialled = [way.dialled for way in ways(tmp_path, "in")[0]]
    assert dialled[0] == "555"
    assert dialled[1][0] == "5"
    assert dialled[1] != "555"
    assert dialled[2][0] != "5"


def test_an_extension_that_nothing_leads_to_is_told(tmp_path: Path) -> None:
    many = "".join(f"exten => {number},1,Hangup()\n" for number in range(10))
    found, untried = ways(site(tmp_path, f"[in]\n{many}exten => _X,1,Hangup()\n"), "in")
    assert len(found) == 10
    assert [one.place.line for one in untried] == [12]


def test_who_must_call_is_part_of_the_way(tmp_path: Path) -> None:
    found, _ = ways(site(tmp_path, "[in]\nexten => 7/_45XX,1,Hangup()\nexten => 7,1,Hangup()\n"), "in")
    assert [way.name for way in found] == ["in,7 from 4555", "in,7"]


def test_special_extensions_and_the_gate_are_not_dialled(tmp_path: Path) -> None:
    text = "[in]\nexten => s,1,Hangup()\nexten => h,1,NoOp()\nexten => t,1,Hangup()\ninclude => ivr-consent-line\n"
    text += "[ivr-consent-line]\nexten => support,1,Hangup()\n"
    assert [way.dialled for way in ways(site(tmp_path, text), "in")[0]] == ["s"]


def test_where_no_file_says_where_calls_come_in_the_administrator_has_to(tmp_path: Path) -> None:
    site(tmp_path, "[in]\nexten => 7,1,Hangup()\n")
    with pytest.raises(ConsentError, match="--into"):
        ways(tmp_path)
    with pytest.raises(ConsentError, match=r"no context 'out' in the dialplan; there are: in$"):
        ways(tmp_path, "out")
    site(tmp_path, "[in]\nexten => h,1,Hangup()\n")
    with pytest.raises(ConsentError, match="nobody can dial anything in: in"):
        ways(tmp_path, "in")
