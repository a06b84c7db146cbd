"""What a caller was told, word for word: the published version that a decision names, from its signed manifest."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ivr_consent.config import FACTS, LINE_NAME, Settings
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.notice import text_sha256
from ivr_consent.exports.facts import Facts, Notice
from ivr_consent.manifest import Manifest
from ivr_consent.signing import Verifier, verifier
from ivr_consent.versions import Versions

KEPT: Final = 64
"""Versions that are kept in memory: each is read once, and calls of one time name few of them."""

MANIFEST: Final = "manifest"
CONFIGURATION: Final = "configuration"
NOWHERE: Final = "nowhere"


@dataclass(frozen=True, slots=True)
class Told:
    """What the notice said of the site (the names of :data:`~ivr_consent.config.FACTS`), and its texts by digest.

    ``source``: ``manifest``, the very version; ``configuration``, as it is now, since the version is not there or not
    ours; ``nowhere``.
    """

    source: str
    facts: Mapping[str, str]
    texts: Mapping[str, str]

    def text(self, sha256: str | None) -> str | None:
        """The text with this digest, if it is known."""
        return self.texts.get(sha256) if sha256 is not None else None


class Published:
    """Finds what was told. Reads each version once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: OrderedDict[tuple[str, int, str], Manifest | None] = OrderedDict()
        self._by: Verifier | None = None
        with contextlib.suppress(ConsentError):  # nothing was published here, or its key is lost: then none is believed
            self._by = verifier(settings.path(settings.prompts.signing_key_file))

    def told(self, call: Facts) -> Told:
        """What the caller of a call was told, as far as it is known."""
        notice = call.notice
        manifest = self._manifest(call.line, notice)
        if manifest is not None and notice is not None:
            for spoken in manifest.languages:
                if spoken.language == notice.language:
                    facts = {name: spoken.facts[name] for name in FACTS if name in spoken.facts}
                    texts = {text_sha256(prompt.text): prompt.text for prompt in spoken.prompts()}
                    return Told(MANIFEST, MappingProxyType(facts), MappingProxyType(texts))
        line = self._settings.lines.get(call.line)
        if line is None:
            return Told(NOWHERE, MappingProxyType({}), MappingProxyType({}))
        language = (notice.language if notice is not None else None) or line.languages[0]
        found = self._settings.facts_for(line, language)
        facts = {name: found[name] for name in FACTS if name in found}
        return Told(CONFIGURATION, MappingProxyType(facts), MappingProxyType({}))

    def _manifest(self, line: str, notice: Notice | None) -> Manifest | None:
        if notice is None or not notice.version or notice.manifest_sha256 is None or self._by is None:
            return None
        if not LINE_NAME.fullmatch(line):  # it becomes a path, and whoever wrote the log chose it
            return None
        key = (line, notice.version, notice.manifest_sha256)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found: Manifest | None = None
        versions = Versions(self._settings.path(self._settings.prompts.versions), line)
        with contextlib.suppress(ConsentError):  # removed or changed: the log still has the digests of what was heard
            read = versions.published(notice.version, self._by)
            found = read if read.sha256 == notice.manifest_sha256 else None
        self._known[key] = found
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found
