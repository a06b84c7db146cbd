"""What differs between two versions of a notice, as data and for a reader."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import typer

from ivr_consent.cli.shelf import ALL, duration, until_first_choice
from ivr_consent.cli.terminal import (
    console,
    safe,
    say,
)

if TYPE_CHECKING:
    from ivr_consent.audio.store import PromptAudio
    from ivr_consent.manifest import Manifest, Spoken, SpokenPrompt


def whole_differences(old: Manifest, new: Manifest) -> dict[str, list[Any]]:
    """What differs for all languages: name, then before and after."""

    def values(manifest: Manifest) -> dict[str, Any]:
        return {
            "notice": manifest.notice,
            "purposes": list(manifest.purposes),
            "retention_days": manifest.retention_days,
            "languages": [spoken.language for spoken in manifest.languages],
            **{f"key_{name}": key for name, key in manifest.keys.items()},
        }

    before, after = values(old), values(new)
    return {name: [before[name], after[name]] for name in before if before[name] != after[name]}


def language_differences(old: Manifest, new: Manifest, language: str | None) -> dict[str, dict[str, Any]]:
    """What differs, by language. Raises :class:`typer.BadParameter` for a language that neither has."""
    before = {spoken.language: spoken for spoken in old.languages}
    after = {spoken.language: spoken for spoken in new.languages}
    names = list(dict.fromkeys([*before, *after]))
    if language not in (ALL, None, *names):
        raise typer.BadParameter(f"neither has language {language!r}; there is: {', '.join(names)}, {ALL}")
    told: dict[str, dict[str, Any]] = {}
    for name in names if language in (ALL, None) else [str(language)]:
        if name in before and name in after:
            told[name] = differences(before[name], after[name])
        else:
            told[name] = {"different": True, "only_in": "a" if name in before else "b"}
    return told


def differences(old: Spoken, new: Spoken) -> dict[str, Any]:
    """What differs in one language."""
    from ivr_consent.config import FACTS

    before, after = _placed(old), _placed(new)
    both = [name for name in before if name in after]
    pairs = [(name, before[name][1], after[name][1]) for name in both]
    found: dict[str, Any] = {
        "added": [{"id": name, "text": after[name][1].text} for name in after if name not in before],
        "removed": [{"id": name, "text": before[name][1].text} for name in before if name not in after],
        "moved": _moved(before, after),
        "text": [
            {"id": name, "a": a.text, "b": b.text, "words": _marked(_words(a.text, b.text))}
            for name, a, b in pairs
            if a.text != b.text
        ],
        "sound": [
            {"id": name, "why": why, "a": a.audio.made_by, "b": b.audio.made_by}
            for name, a, b in pairs
            if a.text == b.text and (why := _other_sound(a.audio, b.audio))
        ],
        "elements": [
            {"id": name, "a": list(a.elements), "b": list(b.elements)}
            for name, a, b in pairs
            if a.elements != b.elements
        ],
        "facts": {
            name: [old.facts.get(name), new.facts.get(name)]
            for name in sorted({*old.facts, *new.facts})
            # keys and days are told once, for all languages
            if name in FACTS and old.facts.get(name) != new.facts.get(name)
        },
    }
    return {
        "different": any(found.values()),
        **found,
        "seconds_until_first_choice": [round(duration(until_first_choice(spoken)), 2) for spoken in (old, new)],
        "estimated": not all(prompt.audio.files for prompt in (*until_first_choice(old), *until_first_choice(new))),
        "file_changed": old.source_sha256 != new.source_sha256,
    }


def _placed(spoken: Spoken) -> dict[str, tuple[str, SpokenPrompt]]:
    """Prompts by id, in order, each with the part of the call that it belongs to."""
    parts = {
        "notice": spoken.information,
        "question": tuple(spoken.questions.values()),
        "long": spoken.long,
        "result": tuple(spoken.results.values()),
    }
    return {prompt.id: (part, prompt) for part, prompts in parts.items() for prompt in prompts}


def _moved(before: Mapping[str, tuple[str, SpokenPrompt]], after: Mapping[str, tuple[str, SpokenPrompt]]) -> list[str]:
    """Ids that stand elsewhere among those that are in both."""
    old = [(before[name][0], name) for name in before if name in after]
    new = [(after[name][0], name) for name in after if name in before]
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    stayed = {name for block in blocks for _, name in old[block.a : block.a + block.size]}
    return [name for _, name in new if name not in stayed]


def _other_sound(old: PromptAudio, new: PromptAudio) -> str:
    """Why the sound of a text is another one; ``""`` when it is not."""
    if old.key == new.key and (not old.files or not new.files or old.sha256 == new.sha256):
        return ""
    if old.made_by != new.made_by:
        return "take" if "take " in (old.made_by[:5], new.made_by[:5]) else "voice"
    if old.files and new.files and old.files.keys() != new.files.keys():
        return "formats"
    return "speed or pipeline"  # of what shapes a sound, only who speaks is kept with it


def _words(old: str, new: str) -> list[tuple[str, str]]:
    """A text's words as stretches that are the same (``=``), gone (``-``), or new (``+``)."""
    a, b = old.split(), new.split()
    found = []
    for kind, begin, end, first, last in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("=", " ".join(a[begin:end])))
            continue
        if end > begin:
            found.append(("-", " ".join(a[begin:end])))
        if last > first:
            found.append(("+", " ".join(b[first:last])))
    return found


def _marked(words: Sequence[tuple[str, str]]) -> str:
    """With ``[-gone-]`` and ``{+new+}``."""
    return " ".join({"-": f"[-{text}-]", "+": f"{{+{text}+}}"}.get(kind, text) for kind, text in words)


def say_language(name: str, told: Mapping[str, Any]) -> None:
    """What differs in one language, for a reader."""
    if "only_in" in told:
        say(f"{name}: {'removed' if told['only_in'] == 'a' else 'added'}")
        return
    if not told["different"]:
        say(f"{name}: the same" + (", though the notice's file was changed" if told["file_changed"] else ""))
        return
    say(f"{name}:")
    for kind, sign in (("removed", "-"), ("added", "+")):
        for item in told[kind]:
            say_words([("=", f"  {kind} {item['id']}:"), (sign, item["text"])])
    for item in told["moved"]:
        say(f"  moved {item}")
    for item in told["text"]:
        say_words([("=", f"  text of {item['id']}:"), *_words(item["a"], item["b"])])
    for item in told["sound"]:
        say(f"  sound of {item['id']}, the same text: {item['why']}: {item['a']} -> {item['b']}")
    for item in told["elements"]:
        say(f"  elements of {item['id']}: {shown(item['a'])} -> {shown(item['b'])}")
    for fact, (before, after) in told["facts"].items():
        say(f"  fact {fact}: {shown(before)} -> {shown(after)}")
    before, after = told["seconds_until_first_choice"]
    about = ", estimated: not all is built" if told["estimated"] else ""
    say(f"  first choice after {before:.1f} s -> {after:.1f} s ({after - before:+.1f} s{about})")


def say_words(words: Sequence[tuple[str, str]]) -> None:
    """Coloured on a terminal, marked elsewhere."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        say(_marked(words))
        return
    from rich.text import Text

    styles = {"-": "red strike", "+": "green underline", "=": ""}
    console().print(Text(" ").join(Text(safe(text), style=styles[kind]) for kind, text in words))


def shown(value: Any) -> str:
    """A value before or after, for a reader."""
    if value is None:
        return "not said"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
