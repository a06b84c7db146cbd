"""The list of planted faults fits the code: each can be planted, and its tests exist. ``make mutants`` tries them."""

from __future__ import annotations

import ast

import pytest

from tests.mutants import ROOT, Mutant, mutants, noticed

ALL = mutants()


def test_there_are_enough_and_each_is_another() -> None:
    assert len(ALL) >= 30
    assert len({(one.file, one.old, one.new) for one in ALL}) == len(ALL)


@pytest.mark.parametrize("mutant", ALL, ids=lambda one: one.why)
def test_it_can_be_planted(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    planted = mutant.planted(text)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))
    for test in mutant.tests:
        assert (ROOT / test).exists()


def test_a_test_that_fails_is_named_and_one_that_passes_is_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("copy")
    (copy / "test_one.py").write_text("def test_good():\n    pass\n\ndef test_bad():\n    assert False\n")
    (copy / "test_two.py").write_text("def test_good():\n    pass\n")
    assert noticed(["test_one.py"], copy) == "test_one.py::test_bad"
    assert noticed(["test_two.py"], copy) == ""


def test_what_stands_twice_or_nowhere_is_refused() -> None:
    one = Mutant("x.py", "a", "b", "why", ())
    for text in ("", "aa"):
        with pytest.raises(ValueError, match="stands"):
            one.planted(text)
    with pytest.raises(ValueError, match="stands"):
        Mutant("x.py", "a", "a", "why", ()).planted("a")
