"""The half of ``ivr-consent check`` that needs no switch: configuration, notices, log, recordings, tools."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ivr_consent.audio.speech import CommandError, run_bounded
from ivr_consent.cli.findings import Area, Finding, State
from ivr_consent.cli.switch_words import WORDS
from ivr_consent.cli.templates import EXAMPLE_FACTS
from ivr_consent.config import Settings
from ivr_consent.core.errors import ConfigurationError, ConsentError
from ivr_consent.pseudonyms import period_name, read_pseudonyms
from ivr_consent.site import line_states
from ivr_consent.store.address import proves_itself
from ivr_consent.store.database import BUSY_TIMEOUT_S
from ivr_consent.store.place import open_for_writing, place_of
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.schema import MIGRATIONS
from ivr_consent.workshop import Workshop

LITTLE_SPACE: Final = 1 << 30
"""Bytes free below which it is said: a day of recordings on a small site."""

NO_SPACE: Final = 100 << 20
"""Bytes free below which the log itself will soon be refused."""

CLOCK_SLACK: Final = timedelta(minutes=1)
"""So far may the newest decision seem to lie in the future."""

_RECORDER_PATH = re.compile(r"/[A-Za-z0-9_./-]+")


def findings(settings: Settings) -> Iterator[Finding]:
    """Everything of this machine."""
    yield Finding(Area.CONFIGURATION, "file", State.OK, f"{settings.source}: {len(settings.lines)} line(s)")
    yield from _examples(settings)
    key = _pseudonym_key(settings)
    yield key
    yield from _lines(settings)
    yield from _log(settings)
    yield from _recordings(settings)
    yield from _owners(settings)
    yield from _clock(settings)
    yield from _tools(settings)


def _examples(settings: Settings) -> Iterator[Finding]:
    tables = [
        ("facts", settings.facts),
        *((f"lines.{name}.facts", line.facts) for name, line in settings.lines.items()),
    ]
    for where, facts in tables:
        for language, table in facts.items():
            said = [
                name
                for name, value in table.model_dump().items()
                if name in ("controller", "withdrawal_contact", "rights_contact", "web_address")
                and value == EXAMPLE_FACTS[name]
            ]
            if said:
                yield Finding(
                    Area.CONFIGURATION,
                    f"{where}.{language}",
                    State.WARNING,
                    f"still the made-up company's: {', '.join(said)}",
                    "write your own before a caller hears it, then: ivr-consent prompts build",
                )


def _pseudonym_key(settings: Settings) -> Finding:
    path = settings.path(settings.log.pseudonym_key_file)
    made_by = "ivr-consent init makes it, with the log"
    if settings.log_file().exists():
        made_by = "restore it from its copy: beside a log no new one is made, it would make callers unrecognisable"
    problem = secret_problem(path, made_by)
    if problem is not None:
        return Finding(Area.CONFIGURATION, "pseudonym key", *problem)
    try:
        keys = read_pseudonyms(settings)
    except ConfigurationError as error:
        (wrong,) = error.problems
        return Finding(Area.CONFIGURATION, "pseudonym key", State.PROBLEM, wrong.found, wrong.remedy)
    now = period_name(datetime.now(UTC), settings.log.pseudonym_period)
    if now not in keys.periods:
        newest = keys.periods[-1] or "one of before there were periods"
        remedy = (
            "the service makes it within a minute; if it does not, it may not write this file: see its log, the "
            "file's owner, and ReadWritePaths of its unit"
        )
        found = f"{path} has no key for {now}, the newest is {newest}"
        return Finding(Area.CONFIGURATION, "pseudonym key", State.WARNING, found, remedy)
    return Finding(Area.CONFIGURATION, "pseudonym key", State.OK, f"{path}, {len(keys.periods)} period(s)")


def secret_problem(path: Path, made_by: str) -> tuple[State, str, str] | None:
    """What is wrong with a file that only its owner may read."""
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except FileNotFoundError:
        return State.PROBLEM, f"{path} is not there", made_by
    except OSError as error:
        return State.PROBLEM, f"{path} cannot be read ({error.strerror})", "run this as root or as the service's user"
    if mode & 0o077:
        return State.PROBLEM, f"{path} can be read by others ({stat.filemode(mode)})", f"chmod 600 {path}"
    return None


# --- lines -----------------------------------------------------------------------------------------------------


def _lines(settings: Settings) -> Iterator[Finding]:
    """Whether each line may ask: what is in force is whole, and agrees with the configuration. Drafts: a warning."""
    workshop = Workshop(settings)
    for name, state in line_states(settings).items():
        errors = workshop.draft(name).errors
        # that nothing is published says nothing where nothing can be
        for problem in () if state.unpublished and errors else state.problems:
            found = f"not recorded: {problem.where}: {problem.found}"
            yield Finding(Area.CONFIGURATION, f"line {name}", State.PROBLEM, found, problem.remedy)
        for problem in errors:
            kind = State.WARNING if state.plans else State.PROBLEM
            found = f"its draft: {problem.where}: {problem.found}"
            yield Finding(Area.CONFIGURATION, f"line {name}", kind, found, problem.remedy)
        for problem in workshop.versions(name).altered(state.manifest) if state.manifest is not None else ():
            yield Finding(
                Area.CONFIGURATION, f"line {name}", State.WARNING, f"{problem.where} {problem.found}", problem.remedy
            )
        if not state.problems:
            purposes = ", ".join(settings.lines[name].purposes)
            found = f"asks for {purposes} in {', '.join(state.plans)}; version {state.version}, whole and unchanged"
            yield Finding(Area.CONFIGURATION, f"line {name}", State.OK, found)


# --- log ---------------------------------------------------------------------------------------------------------


def _log(settings: Settings) -> Iterator[Finding]:
    if settings.log.url is not None:
        yield _log_in_a_database(settings)
        return
    path = settings.path(settings.log.path)
    if not path.exists():
        remedy = "ivr-consent init makes it, or the first: ivr-consent serve"
        if not os.access(path.parent, os.W_OK | os.X_OK):
            found = f"{path} is not there, and its directory cannot be written"
            yield Finding(Area.LOG, "log", State.PROBLEM, found, "create it, and give it to the service's user")
        else:
            yield Finding(Area.LOG, "log", State.WARNING, f"{path} is not there yet", remedy)
        return
    try:
        with LedgerReader(place_of(settings)) as reader:
            newest = next(reader.calls(limit=1), None)
    except ConsentError as error:
        yield Finding(Area.LOG, "log", State.PROBLEM, *_split(error))
        return
    refused = _commit(path)
    if refused:
        remedy = "look for a full or read-only disk and the file's owner; until then nothing is recorded"
        yield Finding(Area.LOG, "log", State.PROBLEM, f"{path} cannot be written ({refused})", remedy)
    else:
        last = f"the newest decision is of {newest.decision.time}" if newest is not None else "no decision yet"
        yield Finding(Area.LOG, "log", State.OK, f"{path} takes a commit; {last}")
    mode = path.stat().st_mode
    if mode & 0o077:
        found = f"{path} can be read or written by others ({stat.filemode(mode)})"
        yield Finding(Area.LOG, "log permissions", State.PROBLEM, found, f"chmod 600 {path}")
    yield _space(Area.LOG, "log disk", path.parent)


def _log_in_a_database(settings: Settings) -> Finding:
    """Opening it for writing is a commit, of nothing; the server's word on durability is looked at too."""
    place = place_of(settings)
    if not place.begun():
        remedy = "ivr-consent init makes it, or the first: ivr-consent serve"
        return Finding(Area.LOG, "log", State.WARNING, f"the log {place.name} is not there yet", remedy)
    try:
        open_for_writing(place).close()
        with LedgerReader(place) as reader:
            newest = next(reader.calls(limit=1), None)
    except ConsentError as error:
        return Finding(Area.LOG, "log", State.PROBLEM, *_split(error))
    last = f"the newest decision is of {newest.decision.time}" if newest is not None else "no decision yet"
    found = f"the log {place.name} takes a commit; {last}"
    if not proves_itself(place.address().url):
        remedy = "add ?sslmode=verify-full to log.url, and the server's authority as sslrootcert"
        return Finding(Area.LOG, "log", State.WARNING, f"{found}; whose server that is cannot be known", remedy)
    return Finding(Area.LOG, "log", State.OK, found)


def _commit(path: Path) -> str:
    """Why the log takes no commit; ``""`` when it does. Writes the schema's number anew: no row is added."""
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if int(version) == len(MIGRATIONS):
                connection.execute(f"PRAGMA user_version={int(version)}")
                connection.execute("COMMIT")
            else:
                connection.execute("ROLLBACK")  # of another version of ours: its number is not for us to write
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return ""


def _split(error: ConsentError) -> tuple[str, str]:
    found, _, remedy = str(error).partition("; ")
    return found, remedy


# --- recordings and other things of the host --------------------------------------------------------------------


def _recordings(settings: Settings) -> Iterator[Finding]:
    path, switch = settings.path(settings.recordings.directory), WORDS[settings.switch].name

    def wrong(found: str, remedy: str) -> Finding:
        return Finding(Area.HOST, "recordings", State.PROBLEM, found, remedy)

    if not path.is_dir():
        yield wrong(f"{path} is not a directory", f"install -d -m 700 -o {WORDS[settings.switch].user} {path}")
        return
    if not _RECORDER_PATH.fullmatch(str(path)):
        yield wrong(f"{path} has characters that the recorder's command must not have", "use letters, digits and _ . -")
        return
    mode = path.stat().st_mode
    if mode & 0o077:
        yield wrong(f"others may enter {path} ({stat.filemode(mode)})", f"chmod 700 {path}")
    elif not os.access(path, os.W_OK | os.X_OK):
        yield wrong(f"{path} cannot be written", f"give it to the user that {switch} and ivr-consent run as")
    else:
        yield Finding(Area.HOST, "recordings", State.OK, str(path))
    yield _space(Area.HOST, "recordings disk", path)


def _space(area: Area, name: str, directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < NO_SPACE:
        return Finding(area, name, State.PROBLEM, found, "free space: without it nothing is recorded")
    if free < LITTLE_SPACE:
        return Finding(area, name, State.WARNING, found, "free space before recordings are refused")
    return Finding(area, name, State.OK, found)


def _owners(settings: Settings) -> Iterator[Finding]:
    """The switch writes the recordings, we finish them and write the log: all of it by one user, not by root."""
    paths = [settings.log_file(), settings.path(settings.recordings.directory)]
    paths.append(settings.path(settings.log.pseudonym_key_file))
    if settings.manager is not None:
        paths.append(settings.path(settings.manager.secret_file))
    if settings.event_socket is not None:
        paths.append(settings.path(settings.event_socket.password_file))
    remedy = f"to the user that {WORDS[settings.switch].name} runs as"
    owners = {path: path.stat().st_uid for path in paths if path.exists()}
    if len(set(owners.values())) > 1:
        found = "; ".join(f"{path} belongs to user {uid}" for path, uid in owners.items())
        yield Finding(Area.HOST, "owners", State.PROBLEM, found, f"give all of them {remedy}")
    elif owners and next(iter(owners.values())) == 0:
        found = "log, recordings and keys belong to root"
        yield Finding(Area.HOST, "owners", State.WARNING, found, f"give them {remedy}")


def _clock(settings: Settings) -> Iterator[Finding]:
    now = datetime.now(UTC)
    try:
        with LedgerReader(place_of(settings)) as reader:
            times = [datetime.fromisoformat(record.decision.time) for record in reader.calls(limit=1)]
    except (ConsentError, ValueError):
        times = []
    if times and times[0].tzinfo is not None and times[0] > now + CLOCK_SLACK:
        found = f"it is {now:%Y-%m-%d %H:%M:%S} UTC, before the newest decision"
        yield Finding(Area.HOST, "clock", State.PROBLEM, found, "set the clock: the evidence is dated by it")
        return
    try:
        said = run_bounded(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"], b"", timeout_s=2, max_output=4096
        )
    except CommandError as error:
        found = f"{now:%Y-%m-%d %H:%M:%S} UTC; whether it is kept by a time server cannot be asked ({error})"
        yield Finding(Area.HOST, "clock", State.UNCHECKED, found, "see that chrony, ntpd or systemd-timesyncd runs")
        return
    if said.strip() == b"yes":
        yield Finding(Area.HOST, "clock", State.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC, kept by a time server")
    else:
        found = f"{now:%Y-%m-%d %H:%M:%S} UTC, not kept by a time server"
        yield Finding(Area.HOST, "clock", State.WARNING, found, "timedatectl set-ntp true")


def _tools(settings: Settings) -> Iterator[Finding]:
    """Needed to build prompts, not to answer calls: what lacks is a warning."""
    languages = {language for line in settings.lines.values() for language in line.languages}
    workshop = Workshop(settings)
    try:
        needed = sorted({workshop.voice(language).argv[0] for language in languages} | {"ffmpeg"})
    except ConsentError as error:
        yield Finding(Area.CONFIGURATION, "prompts.voices", State.PROBLEM, *_split(error))
        return
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        remedy = f"apt-get install {' '.join(missing)}, before the next: ivr-consent prompts build"
        yield Finding(Area.HOST, "tools", State.WARNING, f"not found: {', '.join(missing)}", remedy)
    else:
        yield Finding(Area.HOST, "tools", State.OK, ", ".join(needed))
