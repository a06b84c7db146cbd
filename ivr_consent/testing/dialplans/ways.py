"""Where calls come into a site, and what is dialled there: one number for each extension that somebody can dial."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.asterisk.audit.dialplan import RAN_BY_ASTERISK, Dialplan, Extension
from ivr_consent.pbx.asterisk.audit.patterns import Pattern, pattern
from ivr_consent.pbx.asterisk.audit.site import SEPARATE, Site
from ivr_consent.pbx.asterisk.variables import CONTEXT
from ivr_consent.pbx.audit.findings import Place

PREFERRED: Final = "5273180469*#"
"""Digits in the order in which they are tried where a pattern leaves the choice."""

TRIED: Final = 64
"""Numbers that are tried for a pattern until one leads to it and to no other."""

LENGTH: Final = 8
"""Digits of a number for a pattern that leaves its length open."""


@dataclass(frozen=True, slots=True)
class WayIn:
    """A context, what is dialled there and by which caller, and what says that calls come in there."""

    context: str
    dialled: str
    caller: str
    place: Place
    what: str

    @property
    def name(self) -> str:
        """``context,extension``, and the caller's number where it takes a certain one."""
        return f"{self.context},{self.dialled}" + (f" from {self.caller}" if self.caller else "")


@dataclass(frozen=True, slots=True)
class Untried:
    """An extension for which no number was found that leads there."""

    place: Place
    what: str


def ways_in(dialplan: Dialplan, site: Site, contexts: Sequence[str]) -> tuple[list[WayIn], list[Untried]]:
    """The ways into a site: by ``contexts``, or else by all that its files name. Raises :class:`ConsentError`."""
    ways: list[WayIn] = []
    untried: list[Untried] = []
    for context, place, what in _entries(dialplan, site, contexts):
        for extension in dialplan.dialled_in(context):
            if extension.name in RAN_BY_ASTERISK or extension.context.startswith(CONTEXT):
                continue
            found = _sample(dialplan, context, extension)
            if found is None:
                why = f"{extension.context},{extension.name}: no number was found that leads there from {context}"
                untried.append(Untried(extension.steps[1].place, why))
            else:
                ways.append(WayIn(context, *found, place, what))
    if not ways:
        raise ConsentError(f"nobody can dial anything in: {', '.join(contexts) or 'the contexts that calls come into'}")
    return ways, untried


def _entries(dialplan: Dialplan, site: Site, contexts: Sequence[str]) -> Iterator[tuple[str, Place, str]]:
    for name in contexts:
        if name not in dialplan.contexts:
            near = ", ".join(sorted(dialplan.contexts)[:20])
            raise ConsentError(f"there is no context {name!r} in the dialplan; there are: {near}")
        yield name, dialplan.contexts[name].place, "named on the command line"
    if contexts:
        return
    found = [
        entry
        for entry in site.entries
        if not entry.value and entry.place.file not in SEPARATE and entry.context in dialplan.contexts
    ]
    if not found:
        raise ConsentError("no file of the site says where calls come in; name the contexts: --into from-trunk")
    for entry in found:
        yield entry.context, entry.place, entry.what


def _sample(dialplan: Dialplan, context: str, extension: Extension) -> tuple[str, str] | None:
    """A number that leads to this extension and to no other, and the caller's number where it takes certain ones."""
    caller = ""
    if extension.caller:
        wanted = pattern(extension.caller)
        caller = extension.caller if wanted is None else next(numbers(wanted), "")
    tried = [extension.name] if extension.pattern is None else itertools.islice(numbers(extension.pattern), TRIED)
    for number in tried:
        # Those that want another caller are passed over.
        meant = (one for one, _ in dialplan.find(context, number, 1) if one is extension or not one.caller)
        if next(meant, None) is extension:
            return number, caller
    return None


def numbers(wanted: Pattern) -> Iterator[str]:
    """Texts that a pattern takes, such as people dial first."""
    places = [sorted(allowed, key=_liked) for allowed in wanted.places]
    if not all(places):
        return
    more = max(LENGTH - len(places), 1) if wanted.tail == "." else 0
    # The first places change first, because patterns differ there: 555, 255, 755, …
    for choice in itertools.product(*reversed(places)):
        yield "".join(reversed(choice)) + PREFERRED[:more]


def _liked(character: str) -> int:
    return PREFERRED.index(character) if character in PREFERRED else len(PREFERRED) + ord(character)
