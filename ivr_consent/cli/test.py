"""``ivr-consent test``: scenario files played on a switch, simulated or not, and what was not as expected."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from ivr_consent.cli.terminal import Exit, Json, of, print_json, safe, say, settings_if_any
from ivr_consent.core.errors import ConfigurationError, ConsentError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from ivr_consent.testing.drivers.exchange import Exchange
    from ivr_consent.testing.scenario import Scenario
    from ivr_consent.testing.verdict import Verdict

MAX_JOBS: Final = 1000
PROGRESS_S: Final = 0.1
"""How often the line of progress is written anew."""

LONGEST_NAME: Final = 60
"""Characters of a scenario's name in the line of progress."""


class On(StrEnum):
    """Where scenarios are played."""

    SIMULATED = "simulated"
    FAKE_ASTERISK = "fake-asterisk"
    FAKE_FREESWITCH = "fake-freeswitch"
    ASTERISK = "asterisk"
    FREESWITCH = "freeswitch"


class AsteriskVersion(StrEnum):
    """The real ones that can be fetched."""

    NEW = "22"
    OLD = "16"


AT_ONCE: Final = {On.SIMULATED: 1, On.FAKE_ASTERISK: 64, On.FAKE_FREESWITCH: 64, On.ASTERISK: 64, On.FREESWITCH: 32}
"""Jobs where nobody names a number: processes on the simulated switch, else calls side by side."""


def scenarios(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILES]", help="Scenario files, or directories of them; without any, the shipped ones."
        ),
    ] = None,
    on: Annotated[
        On,
        typer.Option(
            "--on",
            help="The simulated switch, in no time; or our real server and a fake switch that speaks to it over the "
            "real wire, in real time; or a real one, called by a SIP telephone: an Asterisk (fetched once, about "
            "80 MB, into a folder), or the FreeSWITCH that is on the search path.",
        ),
    ] = On.SIMULATED,
    asterisk_version: Annotated[
        AsteriskVersion, typer.Option("--asterisk-version", help="Which real Asterisk.")
    ] = AsteriskVersion.NEW,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            max=MAX_JOBS,
            metavar="N",
            help="Processes on the simulated switch (1), calls side by side on others (64; FreeSWITCH 32).",
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.")] = None,
    json_lines: Annotated[
        Path | None, typer.Option("--json-lines", metavar="FILE", help="Write one JSON object a scenario there.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="Draw each call there, as SVG.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="Play a call by hand, on the simulated switch, and write it as a scenario: a new file.",
        ),
    ] = None,
    line: Annotated[
        str | None,
        typer.Option("--line", metavar="LINE", help="With --record: a line of the configuration; else a usual one."),
    ] = None,
    dialplan: Annotated[
        Path | None,
        typer.Option(
            "--dialplan",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Instead of scenarios: call through the dialplan of a site's directory, such as /etc/asterisk, in a "
            "copy without trunks, on every way in, and see whether each that leads into a queue passes the gate.",
        ),
    ] = None,
    into: Annotated[
        list[str] | None,
        typer.Option("--into", metavar="CONTEXT", help="With --dialplan: calls come in there; else as the files say."),
    ] = None,
    telephone: Annotated[
        list[str] | None,
        typer.Option("--telephone", metavar="NAME", help="With --dialplan: one more endpoint that answers."),
    ] = None,
    ungated: Annotated[
        list[str] | None,
        typer.Option("--ungated", metavar="QUEUE", help="With --dialplan: a queue that is never recorded."),
    ] = None,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help='With --dialplan: the time for GotoIfTime, "2026-11-23 10:00".')
    ] = "",
    json: Json = False,
) -> None:
    """Play scenarios: calls as data, with what must come of them; or call through a site's own dialplan.

    A failure shows what is wrong and the whole call, moment by moment. The exit code is 0 only if every scenario that
    can be played there went as it says, and there was one.
    """
    if dialplan is not None:
        if files or on not in (On.SIMULATED, On.ASTERISK) or json_lines or pictures or record or line:
            raise typer.BadParameter(
                "--dialplan calls through a site's files on a real Asterisk; it takes no scenarios"
            )
        from ivr_consent.cli import test_dialplan

        options = test_dialplan.Options(
            asterisk_version.value,
            tuple(into or ()),
            tuple(telephone or ()),
            tuple(ungated or ()),
            at,
            jobs or test_dialplan.JOBS,
            junit,
            json,
        )
        raise typer.Exit(test_dialplan.test(dialplan, settings_if_any(context), options))
    if into or telephone or ungated or at:
        raise typer.BadParameter("--into, --telephone, --ungated and --at go with --dialplan")
    if record is not None:
        if files or on is not On.SIMULATED or junit or json_lines or pictures:
            raise typer.BadParameter("--record plays one new call, on the simulated switch; it goes with --line alone")
        raise typer.Exit(_recorded(context, record, line, as_json=json))
    if line is not None:
        raise typer.BadParameter("--line is for --record; a scenario file has its line in it")
    wanted = load(files or [])
    with Outputs(json_lines, pictures) as outputs, _Progress(len(wanted), quiet=json) as progress:
        began = time.monotonic()

        def done(verdict: Verdict) -> None:
            progress.tell(outputs.take(verdict))

        play(wanted, on, done, jobs or AT_ONCE[on], asterisk_version)
        took = time.monotonic() - began
    verdicts = outputs.in_order(wanted)
    if junit is not None:
        from ivr_consent.testing import reports

        _write(junit, reports.junit(verdicts))
    raise typer.Exit(_told(verdicts, on, took, as_json=json))


def _recorded(context: typer.Context, path: Path, name: str | None, *, as_json: bool) -> Exit:
    from ivr_consent.cli.by_hand import record
    from ivr_consent.config import Line

    line = Line()
    if name is not None:
        lines = of(context).settings().lines
        if name not in lines:
            raise typer.BadParameter(f"there is no line {name!r}; the lines are: {', '.join(lines)}")
        line = lines[name]
    return record(path, line, json=as_json)


def load(files: Sequence[Path]) -> tuple[Scenario, ...]:
    """The scenarios of files and directories. Raises :class:`ConfigurationError` with the problems of all of them."""
    from ivr_consent.site import shipped
    from ivr_consent.testing.scenario import load_scenarios

    found: dict[str, Scenario] = {}
    problems: list[Problem] = []
    for path in _paths(files or [shipped("scenarios")], problems):
        try:
            for scenario in load_scenarios(path):
                if scenario.name in found:
                    remedy = "rename one of the two files: a scenario is named by its file"
                    problems.append(Problem(str(path), f"a second scenario {scenario.name!r}", remedy))
                found[scenario.name] = scenario
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError("scenarios", tuple(dict.fromkeys(problems)))
    return tuple(found.values())


def _paths(files: Sequence[Path], problems: list[Problem]) -> list[Path]:
    paths: list[Path] = []
    for path in files:
        inside = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not inside:
            problems.append(Problem(str(path), "no scenario file in this directory", "name one that holds *.toml"))
        paths += inside
    return list(dict.fromkeys(paths))


def play(
    scenarios: Sequence[Scenario],
    on: On,
    done: Callable[[Verdict], None],
    jobs: int,
    asterisk_version: AsteriskVersion = AsteriskVersion.NEW,
) -> None:
    """Play scenarios; ``done`` gets each verdict as it falls. Raises :class:`ConsentError` when none can be played."""
    if on is On.SIMULATED:
        from ivr_consent.testing.drivers import simulated

        simulated.play(scenarios, done, jobs)
        return
    from ivr_consent.logs import configure_logging
    from ivr_consent.testing.drivers import exchange

    made = _exchange(on, asterisk_version)
    configure_logging(logging.WARNING, cache=False)  # the server's word on each call would fill the screen
    try:
        exchange.play(made, scenarios, done, jobs)
    finally:
        configure_logging(cache=False)


def _exchange(on: On, asterisk_version: AsteriskVersion) -> Exchange:
    """The switch. Raises :class:`EventSocketError` where there is no FreeSWITCH."""
    if on is On.ASTERISK:
        from ivr_consent.testing.drivers.asterisk import AsteriskExchange

        return AsteriskExchange(asterisk_version.value, lambda text: say(f"Asterisk: {text}", error=True))
    if on is On.FREESWITCH:
        from ivr_consent.testing.drivers.freeswitch import FreeSwitchExchange

        return FreeSwitchExchange()
    if on is On.FAKE_ASTERISK:
        from ivr_consent.testing.drivers.fake_asterisk import FakeAsteriskExchange

        return FakeAsteriskExchange()
    from ivr_consent.testing.drivers.fake_freeswitch import FakeFreeSwitchExchange

    return FakeFreeSwitchExchange()


class Outputs:
    """Where verdicts go as they fall: lines of JSON, pictures; and those that are told at the end."""

    def __init__(self, json_lines: Path | None, pictures: Path | None) -> None:
        self._lines, self._pictures = json_lines, pictures
        self._file: TextIO | None = None
        self._verdicts: dict[str, Verdict] = {}

    def __enter__(self) -> Outputs:
        try:
            if self._pictures is not None:
                self._pictures.mkdir(parents=True, exist_ok=True)
            if self._lines is not None:
                self._file = self._lines.open("w", encoding="ascii")
        except OSError as error:
            raise _unwritable(error, self._lines or self._pictures) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def take(self, verdict: Verdict) -> Verdict:
        """Write it where it is wanted, and keep what is told at the end: of a call that went well, its verdict."""
        from ivr_consent.testing import picture, reports

        if self._file is not None:
            self._file.write(reports.json_line(verdict))
        if self._pictures is not None and verdict.seen is not None:
            name = verdict.scenario.name.replace("/", "--")
            _write(self._pictures / f"{name}.svg", picture.picture(verdict).encode())
        self._verdicts[verdict.scenario.name] = replace(verdict, seen=None) if verdict.passed else verdict
        return verdict

    def in_order(self, scenarios: Sequence[Scenario]) -> list[Verdict]:
        """The verdicts in the order of the scenarios."""
        return [self._verdicts[scenario.name] for scenario in scenarios]


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _unwritable(error, path) from None


def _unwritable(error: OSError, path: Path | None) -> ConsentError:
    return ConsentError(f"{path} cannot be written ({error.strerror}); name another place")


class _Progress:
    """How far it is, on one line of a terminal; nothing where nobody looks on."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total, self._done, self._failed = total, 0, 0
        self._shown = not quiet and sys.stdout.isatty()
        self._next = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._line("")

    def tell(self, verdict: Verdict) -> None:
        """One more."""
        self._done += 1
        self._failed += bool(verdict.wrong)
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_S
            self._line(f"{self._done}/{self._total}, {self._failed} failed  {verdict.scenario.name[:LONGEST_NAME]}")

    @staticmethod
    def _line(text: str) -> None:
        sys.stdout.write(f"\r\x1b[K{safe(text)}")
        sys.stdout.flush()


def _told(verdicts: Sequence[Verdict], on: On, took: float, *, as_json: bool) -> Exit:
    from ivr_consent.testing.verdict import counts, told

    sums = counts(verdicts)
    good = not sums["failed"]
    if as_json:
        bad: list[dict[str, Any]] = [verdict.plain() for verdict in verdicts if verdict.wrong]
        print_json({"ok": good, "on": on.value, **sums, "seconds": round(took, 3), "failures": bad})
        return Exit.GOOD if good else Exit.PROBLEMS
    for verdict in verdicts:
        if verdict.wrong:
            for line in told(verdict):
                say(line)
            say()
    skipped = f", {sums['skipped']} that cannot be played there" if sums["skipped"] else ""
    say(f"{on.value}: {sums['passed']} passed, {sums['failed']} failed{skipped}, in {took:.1f} s")
    return Exit.GOOD if good else Exit.PROBLEMS
