"""``ivr-consent init``: everything a site needs, written once; nothing that is there is ever changed."""

from __future__ import annotations

import os
import pwd
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ivr_consent.cli import files
from ivr_consent.cli.plain import DEFAULT_CONFIG, LOCAL_CONFIG
from ivr_consent.cli.schema import Kind, schema_text
from ivr_consent.cli.switch_words import WORDS
from ivr_consent.cli.terminal import Json, print_json, say
from ivr_consent.core.errors import ConfigurationError, ConsentError, Problem

if TYPE_CHECKING:
    from ivr_consent.config import Settings

OWN_FOLDER: Final = "ivr-consent"
"""Our files beside the switch's own are in a folder of this name, so that every include is one line."""

MANAGER_FILE: Final = "manager_consent.conf"
UNIT_FILE: Final = "ivr-consent.service"

NOTICE_LASTS: Final = "about 80 seconds"
"""The shipped notice up to the end of its question, in English, with one purpose."""

KEY_MISSING: Final = (
    "The keys of callers' pseudonyms are missing beside a log. Restore them from their copy: with new ones no caller "
    "of before is recognised in the log."
)


class Switch(StrEnum):
    """The kinds of switch."""

    ASTERISK = "asterisk"
    FREESWITCH = "freeswitch"


_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./-]+")
_SECRET = re.compile(r"[!-:<-~]{8,200}")  # no space and no semicolon: manager.conf ends a value there


@dataclass(slots=True)
class _Writer:
    """Makes files and directories, or says what it would make."""

    dry_run: bool
    user: files.Owner | None
    """The switch's user; ``None`` when we may not give files away, or it does not exist."""
    done: list[tuple[str, Path]] = field(default_factory=list)

    def _note(self, made: bool, path: Path) -> None:
        self.done.append((("would write" if self.dry_run else "written") if made else "kept", path))

    def directory(self, path: Path, mode: int, owner: files.Owner | None = None) -> None:
        made = not path.is_dir() if self.dry_run else files.make_directory(path, mode, owner)
        self._note(made, path)

    def file(self, path: Path, text: str, mode: int, owner: files.Owner | None = None) -> None:
        made = not files.exists(path) if self.dry_run else files.write_new(path, text, mode, owner)
        self._note(made, path)

    def log(self, settings: Settings) -> None:
        """An empty log: made here, it belongs to the service's user whoever is the first to look into it."""
        from ivr_consent.store.place import open_for_writing, place_of

        place, key = place_of(settings), settings.sealing_key()
        its_files = [key, key.with_suffix(".pub")]
        its_files[:0] = [place.path] if place.url is None else []
        made = not place.begun()
        if made and not self.dry_run:
            open_for_writing(place).close()
            if self.user is not None:
                for file in its_files:
                    os.chown(file, *self.user)
        for file in its_files:
            self._note(made, file)


def _fact(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="What the notices say about you", show_default=False)


def init(
    switch: Annotated[Switch | None, typer.Option(help="The kind of switch; without it, asterisk.")] = None,
    directory: Annotated[Path, typer.Option("--dir", help="Where the configuration goes.")] = DEFAULT_CONFIG.parent,
    state: Annotated[Path, typer.Option(help="Where the log, the recordings and the audio go.")] = Path(
        "/var/lib/ivr-consent"
    ),
    asterisk_etc: Annotated[Path, typer.Option(help="Where Asterisk's configuration is.")] = Path("/etc/asterisk"),
    freeswitch_etc: Annotated[Path, typer.Option(help="Where FreeSWITCH's configuration is.")] = Path(
        "/etc/freeswitch"
    ),
    user: Annotated[
        str | None,
        typer.Option(help="The user that the switch, and so the service, runs as; without it, asterisk or freeswitch."),
    ] = None,
    line: Annotated[str, typer.Option(metavar="NAME", help="The first line's name.")] = "support",
    language: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="A language of the line; may be repeated. [default: en]")
    ] = None,
    controller: Annotated[str | None, _fact("Who records: name and address.")] = None,
    authority: Annotated[str | None, _fact("Where callers may complain.")] = None,
    recipients: Annotated[str | None, _fact("Who hears the recordings.")] = None,
    withdrawal_contact: Annotated[str | None, _fact("Where consent is withdrawn after the call.")] = None,
    rights_contact: Annotated[str | None, _fact("Whom to ask for access, a copy, or erasure.")] = None,
    web_address: Annotated[str | None, _fact("Where the full text stands.")] = None,
    example_facts: Annotated[bool, typer.Option(help="Fill the rest in for a made-up company, to try it out.")] = False,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Where the switch reaches the service; else 4573, or FreeSWITCH's 8084."),
    ] = None,
    manager_port: Annotated[int, typer.Option(min=1, max=65535, help="Asterisk's manager port.")] = 5038,
    event_socket_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="FreeSWITCH's event socket port; without it, that of its file, else 8021."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; say what would be written.")] = False,
    json: Json = False,
) -> None:
    """Write configuration with its schema, dialplan, manager user, service and keys. Overwrites nothing."""
    from ivr_consent.cli import init_freeswitch
    from ivr_consent.cli.templates import EXAMPLE_FACTS, Choices

    given = {
        "controller": controller,
        "authority": authority,
        "recipients": recipients,
        "withdrawal_contact": withdrawal_contact,
        "rights_contact": rights_contact,
        "web_address": web_address,
    }
    facts = {name: value for name, value in given.items() if value is not None}
    if example_facts:
        facts = {**EXAMPLE_FACTS, **facts}
    kind = _kind(directory / DEFAULT_CONFIG.name, switch)
    etc = {"asterisk": asterisk_etc, "freeswitch": freeswitch_etc}[kind].absolute()
    link_port = manager_port
    if kind == "freeswitch":
        link_port = event_socket_port or init_freeswitch.found(etc).port or WORDS[kind].link_port
    port, user = port or WORDS[kind].port, user or WORDS[kind].user
    choices = Choices(
        directory.absolute(), state.absolute(), line, tuple(language or ("en",)), facts, port, link_port, kind
    )
    text, settings = _configuration(choices)
    owner, remark = _owner(user, WORDS[kind].name)
    writer = _Writer(dry_run, owner)
    _write(writer, settings, text, etc, user)
    if ("missing", settings.path(settings.log.pseudonym_key_file)) in writer.done:
        remark = "\n".join(filter(None, (remark, KEY_MISSING)))
    steps = _next_steps(settings, etc, user)
    if json:
        done = [{"what": what, "path": str(path)} for what, path in writer.done]
        print_json({"ok": True, "dry_run": dry_run, "files": done, "remark": remark, "next": steps})
        return
    for what, path in writer.done:
        say(f"{what:<12}{path}")
    if remark:
        say()
        for sentence in remark.splitlines():
            say(sentence)
    for step in steps:
        say()
        say(step["do"])
        for wanted in step["lines"]:
            say(f"    {wanted}")


def _kind(path: Path, switch: Switch | None) -> str:
    """The kind of switch: that of the configuration that is there, else the one asked for."""
    from ivr_consent import config

    if not files.exists(path):
        return (switch or Switch.ASTERISK).value
    kind = config.load(path).switch
    if switch is not None and switch != kind:
        problem = Problem(str(path), f"is for {WORDS[kind].name}", "give another --dir, or remove that file")
        raise ConfigurationError(str(path), (problem,))
    return kind


def _configuration(choices: Any) -> tuple[str, Settings]:
    """Text and meaning of the configuration: of the file that is there, else of a new one, checked already."""
    import tomllib

    from ivr_consent import config
    from ivr_consent.cli.templates import configuration

    for option, path in (("--state", choices.state), ("--dir", choices.directory)):
        if not _PLAIN_PATH.fullmatch(str(path)):
            problem = Problem(option, f"found {str(path)!r}", "use letters, digits and _ . - only: a dialplan names it")
            raise ConfigurationError(option, (problem,))
    path = choices.directory / DEFAULT_CONFIG.name
    if files.exists(path):
        return "", config.load(path)
    if not config.LINE_NAME.fullmatch(choices.line):
        problem = Problem("--line", f"found {choices.line!r}", "use letters, digits, - and _")
        raise ConfigurationError("--line", (problem,))
    text = configuration(choices)
    return text, config.parse(tomllib.loads(text), path, "")


def _owner(user: str, switch: str) -> tuple[files.Owner | None, str]:
    """The switch's user, where we may give files away; and what is to be said when not."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        remark = f"There is no user {user!r} here: the files stay yours. Give them to the user that {switch} runs as."
        return None, remark
    if os.geteuid() == 0:
        return (entry.pw_uid, entry.pw_gid), ""
    mine = os.geteuid() == entry.pw_uid
    return None, "" if mine else f"You are not root: the files stay yours. Give them to {user!r}, or run this as root."


def _write(writer: _Writer, settings: Settings, text: str, etc: Path, user: str) -> None:
    from ivr_consent.cli import init_freeswitch
    from ivr_consent.cli.dialplan import rendered_files
    from ivr_consent.cli.templates import manager_user, program, unit
    from ivr_consent.pseudonyms import new_file_text

    asterisk, own_folder = settings.switch == "asterisk", etc / OWN_FOLDER
    dialplan = rendered_files(settings)  # refused before anything is written, where a line cannot stand in it
    # The service's user reads the configuration but cannot change it.
    readable = None if writer.user is None else (0, writer.user[1])
    log, recordings = settings.path(settings.log.path), settings.path(settings.recordings.directory)
    directories = {log.parent: None, recordings: None, settings.path(settings.prompts.audio): None}
    config_directory, versions = settings.source.parent, settings.path(settings.prompts.versions)
    if config_directory not in directories:
        writer.directory(config_directory, 0o750, readable)
    for path in directories:
        writer.directory(path, 0o700, writer.user)
    if versions not in (config_directory, *directories):
        writer.directory(versions, 0o750, readable)
    if asterisk:
        writer.directory(own_folder, 0o755)
    writer.file(settings.source, text, 0o640, readable)
    name, schema = schema_text(Kind.CONFIG)
    writer.file(config_directory / name, schema, 0o644)
    key = settings.path(settings.log.pseudonym_key_file)
    if files.exists(settings.log_file()) and not files.exists(key):
        writer.done.append(("missing", key))  # a new one beside a log would make its callers unrecognisable
    else:
        writer.file(key, new_file_text(settings.log.pseudonym_period), 0o600, writer.user)
    if settings.manager is not None:
        secret_file, manager_file = settings.path(settings.manager.secret_file), own_folder / MANAGER_FILE
        secret = _secret(secret_file, manager_file)
        writer.file(secret_file, secret + "\n", 0o600, writer.user)
        writer.file(manager_file, manager_user(settings, secret), 0o640, readable)
    if asterisk:
        for name, content in dialplan.items():
            writer.file(own_folder / name, content, 0o644)
    else:
        init_freeswitch.write(writer, settings, etc, readable)
    command = [*program(), "--config", str(settings.source), "serve"]
    writer.file(config_directory / UNIT_FILE, unit(settings, user, command), 0o644)
    writer.log(settings)


def _secret(secret_file: Path, manager_file: Path) -> str:
    """The manager user's secret: the one that either file holds already, else a new one."""
    found = ""
    if files.exists(secret_file):
        found = files.read(secret_file).strip()
    elif files.exists(manager_file):
        match = re.search(r"(?m)^\s*secret\s*=>?\s*(\S+)", files.read(manager_file))
        found = match.group(1) if match else ""
    else:
        return secrets.token_urlsafe(32)
    if not _SECRET.fullmatch(found):
        where = secret_file if files.exists(secret_file) else manager_file
        raise ConsentError(f"{where} holds no usable secret; remove {secret_file} and {manager_file}, then try again")
    return found


def _next_steps(settings: Settings, etc: Path, user: str) -> list[dict[str, Any]]:
    source = settings.source
    known = source in (DEFAULT_CONFIG, LOCAL_CONFIG.absolute())
    program = "ivr-consent" if known else f"ivr-consent --config {source}"
    if settings.switch == "freeswitch":
        from ivr_consent.cli import init_freeswitch

        return init_freeswitch.next_steps(settings, etc, program, source.parent / UNIT_FILE, user, NOTICE_LASTS)
    return _asterisk_steps(settings, etc, program)


def _asterisk_steps(settings: Settings, etc: Path, program: str) -> list[dict[str, Any]]:
    from ivr_consent.pbx.asterisk.dialplan import FEATURES_FILE, INCLUDE_FILE, LINES_CONTEXT, LINES_FILE
    from ivr_consent.pbx.asterisk.variables import CONTEXT, RESULT

    source = settings.source
    line = next(iter(settings.lines))
    steps: list[dict[str, Any]] = [
        {
            "do": f"Add to {etc / 'extensions.conf'}:",
            "lines": [f"#include {OWN_FOLDER}/{INCLUDE_FILE}", f"#include {OWN_FOLDER}/{LINES_FILE}"],
        },
        {
            "do": "and before a queue (or give the line two destinations in the configuration, write the dialplan anew "
            f"with {program} dialplan --write {etc / OWN_FOLDER}, and use Goto({LINES_CONTEXT},{line},1)):",
            "lines": [
                f"same => n,Gosub({CONTEXT},s,1({line}))",
                f'same => n,GotoIf($["${{{RESULT}}}" = "granted"]?recorded)',
                "... the unrecorded line ...",
                "same => n(recorded),... the same queue, recorded ...",
            ],
        },
    ]
    if settings.features is not None:
        steps.append(
            {
                "do": f"Add to the end of {etc / 'features.conf'}, so that consent can be withdrawn in the call "
                f"(by {settings.features.withdraw}):",
                "lines": [f"#include {OWN_FOLDER}/{FEATURES_FILE}"],
            }
        )
    if settings.manager is not None:
        steps.append(
            {
                "do": f"Add to the end of {etc / 'manager.conf'}, and see that its [general] says "
                "enabled = yes, bindaddr = 127.0.0.1, timestampevents = yes:",
                "lines": [f"#include {OWN_FOLDER}/{MANAGER_FILE}"],
            }
        )
    unit = source.parent / UNIT_FILE
    steps.append(
        {
            "do": "Then:",
            "lines": [
                f"write what the notices say about you: [facts.default] in {source}",
                f"{program} prompts check",
                f"{program} prompts build",
                f"{program} prompts play {line}",
                f"{program} prompts publish",
                f"systemctl enable --now {unit}",
                "asterisk -rx 'dialplan reload'; asterisk -rx 'module reload features'; asterisk -rx 'manager reload'",
                f"{program} check",
                f"{program} call {line} --keys {settings.lines[line].keys.yes} --no-log",
            ],
        }
    )
    steps.append(
        {
            "do": "Then dial the number. The window for your answer opens after the notice and its question, with the "
            f"shipped one after {NOTICE_LASTS}; a yes before that does not count. What came of it: {program} log list",
            "lines": [],
        }
    )
    return steps
