"""What a caller was told: of the very version that the decision names, or said to be of another source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.exports import published as published_module
from ivr_consent.exports.facts import Facts
from ivr_consent.exports.published import CONFIGURATION, MANIFEST, NOWHERE, Published
from ivr_consent.store.place import place_of
from ivr_consent.versions import Versions
from tests.exports.support import Book, by_name, facts
from tests.sites import SmallSite, flip


@pytest.fixture
def site(written: tuple[SmallSite, Book]) -> SmallSite:
    return written[0]


@pytest.fixture
def call(written: tuple[SmallSite, Book]) -> Facts:
    site, page = written
    return by_name(page, facts(place_of(site.settings)))["kept"]


def of_notice(call: Facts, **changes: Any) -> Facts:
    assert call.notice is not None
    return replace(call, notice=replace(call.notice, **changes))


def test_it_is_the_version_of_the_decision(site: SmallSite, call: Facts) -> None:
    """Also when the notice says something else by now."""
    site.edit(site.config, "Example Company", "Another Company")
    site.say("We record everything.")
    site.publish()
    told = Published(site.settings).told(call)
    assert told.source == MANIFEST
    assert told.facts["controller"] == "Example Company"
    assert call.notice is not None
    assert all(told.text(segment.text_sha256) for segment in call.notice.segments)
    assert told.text("0" * 64) is None
    assert told.text(None) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest_sha256": "0" * 64},  # another manifest of the same number
        {"manifest_sha256": None},
        {"version": 2},
        {"version": None},
        {"language": "sv"},
    ],
)
def test_another_one_is_not_taken_for_it(site: SmallSite, call: Facts, changes: dict[str, Any]) -> None:
    told = Published(site.settings).told(of_notice(call, **changes))
    assert told.source == CONFIGURATION
    assert told.texts == {}
    assert told.facts["controller"] == "Example Company"


@pytest.mark.parametrize("name", ["1/manifest", "history"])
def test_one_that_was_changed_is_not_believed(site: SmallSite, call: Facts, name: str) -> None:
    flip(site.root / "versions" / "support" / name, 20)
    assert Published(site.settings).told(call).source == CONFIGURATION


def test_without_the_public_key_none_is_believed(site: SmallSite, call: Facts) -> None:
    (site.root / "notices.key.pub").unlink()
    assert Published(site.settings).told(call).source == CONFIGURATION


def test_a_line_that_is_gone(site: SmallSite, call: Facts) -> None:
    assert Published(site.settings).told(replace(call, line="gone", notice=None)).source == NOWHERE


@pytest.mark.parametrize("line", ["../versions/support", "/etc", "..", "", "a/b", "x" * 300, "support\0"])
def test_a_line_is_never_a_path(site: SmallSite, call: Facts, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote the log chose it: nothing is looked for under such a name."""

    def refused(*_: object) -> Versions:
        pytest.fail("looked for")

    monkeypatch.setattr(published_module, "Versions", refused)
    assert Published(site.settings).told(replace(call, line=line)).source == NOWHERE


def test_each_version_is_read_once_and_few_are_kept(
    site: SmallSite, call: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Counted(Versions):
        def __init__(self, root: Path, line: str) -> None:
            read.append(line)
            super().__init__(root, line)

    monkeypatch.setattr(published_module, "Versions", Counted)
    found = Published(site.settings)
    for _ in range(3):
        assert found.told(call).source == MANIFEST
    assert read == ["support"]
    for number in range(2, 300):
        found.told(of_notice(call, version=number))
    assert len(found._known) <= published_module.KEPT
