"""The consent report: what a data protection officer or a regulator asks of a log, as text, tables and plots.

It holds numbers of calls and no person: neither pseudonyms nor ids of calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from ivr_consent.core.decision import Outcome
from ivr_consent.exports.blocks import Bars, Block, Curve, Evidence, Heading, Paragraph, Report, Scope, Spread, Table
from ivr_consent.exports.figures import LONGEST_MS, NONE, OUTCOMES, UNKNOWN, Answers, Figures, Heard, Spoken, Version
from ivr_consent.exports.spans import binned

LABELS: Final = {
    Outcome.GRANTED.value: "consented",
    Outcome.DECLINED.value: "refused",
    Outcome.NO_ANSWER.value: "no answer",
    Outcome.INVALID.value: "no valid key",
    Outcome.ABANDONED.value: "hung up",
    Outcome.FAILED.value: "failed",
    UNKNOWN: "unknown",
}
"""What outcomes are called in a report."""

MEANINGS: Final = {
    Outcome.GRANTED.value: "heard the whole notice and pressed the key for yes; only this starts a recording",
    Outcome.DECLINED.value: "pressed the key for no, at any moment",
    Outcome.NO_ANSWER.value: "pressed no key",
    Outcome.INVALID.value: "pressed another key, or one too early to count",
    Outcome.ABANDONED.value: "hung up before deciding",
    Outcome.FAILED.value: "could not be asked, or the answer could not be written down; not recorded",
}

ANSWER_BIN_MS: Final = 500

FIGURED_NOTICES: Final = 3
"""Notices whose hang-ups are plotted: those heard most. All are in the tables."""

LISTED_NOTICES: Final = 12
"""Notices with a table of their hang-ups."""

LISTED: Final = 40
"""Rows of one table; what is left out is said."""


def report(figures: Figures, evidence: Sequence[Evidence], scope: Scope) -> Report:
    """The report of what was counted."""
    facts = (
        ("Period", _period(figures, scope)),
        ("Line", scope.line or "all"),
        ("Log", ", ".join(one.log for one in evidence)),
        ("Made", f"{scope.made_at:%Y-%m-%d %H:%M} UTC by {scope.software}"),
    )
    blocks = [
        *_summary(figures),
        *_over_time(figures),
        *_shares(figures),
        *_answers(figures),
        *_hang_ups(figures),
        *_afterwards(figures),
        *_evidence(figures, evidence),
        *_reading(),
    ]
    return Report("Consent to call recording", facts, tuple(blocks))


def _period(figures: Figures, scope: Scope) -> str:
    def day(time: str) -> str:
        return time[:16].replace("T", " ")

    if not figures.events:
        return "no event of the log is in it"
    begin = day(scope.since) if scope.since else f"{day(figures.first_time)} (the first event)"
    end = day(scope.until) if scope.until else f"{day(figures.last_time)} (the last event)"
    return f"{begin} to {end}, UTC"


# --- sections --------------------------------------------------------------------------------------------------------


def _summary(figures: Figures) -> list[Block]:
    calls, outcomes = figures.calls, figures.outcomes
    if not calls:
        return [Heading("Summary"), Paragraph("No call was decided in this period.")]
    granted, declined = outcomes[Outcome.GRANTED.value], outcomes[Outcome.DECLINED.value]
    answered = granted + declined
    text = (
        f"{_calls(calls)} {'was' if calls == 1 else 'were'} decided. In {granted} of them ({_share(granted, calls)}) "
        f"the caller consented to the recording; {declined} ({_share(declined, calls)}) refused. Of those who answered "
        f"with yes or no, {_share(granted, answered)} said yes. All other calls were not recorded either."
    )
    rows = [(LABELS[name], str(outcomes[name]), _share(outcomes[name], calls), MEANINGS[name]) for name in OUTCOMES]
    if outcomes[UNKNOWN]:
        rows.append(
            (LABELS[UNKNOWN], str(outcomes[UNKNOWN]), _share(outcomes[UNKNOWN], calls), "not an outcome of ours")
        )
    return [
        Heading("Summary"),
        Paragraph(text),
        Table("Outcomes of all calls", ("outcome", "calls", "share", "the caller"), tuple(rows), words=(0, 3)),
    ]


def _over_time(figures: Figures) -> list[Block]:
    if not figures.days:
        return []
    unit, bins = binned(figures.days)
    names = _present(figures.outcomes)
    labels = tuple(label for label, _ in bins)
    series = tuple((name, tuple(counts[name] for _, counts in bins)) for name in names)
    most = max(bins, key=lambda found: found[1].total())
    alternative = (
        f"Stacked bars: calls for each {unit} from {labels[0]} to {labels[-1]}, by outcome. "
        f"The most were decided in {most[0]}: {most[1].total()}. The numbers are in the table below."
    )
    shown = bins[-LISTED:]
    rows = tuple(
        (label, str(counts.total()), *(str(counts[name]) for name in names), _share(counts["granted"], counts.total()))
        for label, counts in shown
    )
    columns = (unit, "calls", *(LABELS[name] for name in names), "consented, share")
    blocks: list[Block] = [
        Heading("Decisions over time"),
        Bars(f"Decisions for each {unit}", alternative, labels, series, shares=False),
        Table(f"Decisions for each {unit} (UTC), in numbers", columns, rows),
    ]
    if len(bins) > len(shown):
        blocks.append(Paragraph(f"The table has the last {len(shown)} of {len(bins)}; the plot has all."))
    if figures.undated:
        blocks.append(Paragraph(f"{_calls(figures.undated)} have no readable time and are not in the plot."))
    return blocks


def _shares(figures: Figures) -> list[Block]:
    if not figures.calls:
        return []
    versions = {_version(version): counts for version, counts in figures.versions.items()}
    return [
        Heading("Outcomes by line, language and notice"),
        *_share_of("line", figures.lines),
        *_share_of("language", {name if name != NONE else "none": found for name, found in figures.languages.items()}),
        *_share_of("notice version", versions),
        Paragraph("A call that failed before its notice began has no language and no notice version: none."),
    ]


def _share_of(what: str, counts: dict[str, Counter[str]]) -> list[Block]:
    names = _present(sum(counts.values(), Counter()))
    ordered = sorted(counts.items(), key=lambda found: (-found[1].total(), found[0]))
    plotted = ordered[:12]
    alternative = (
        f"Lying bars of 100 %: shares of the outcomes for each {what}. "
        + " ".join(f"{label}: {_share(found['granted'], found.total())} consented." for label, found in plotted[:4])
        + " The numbers are in the table below."
    )
    bars = Bars(
        f"Outcomes by {what}",
        alternative,
        tuple(f"{label} ({found.total()})" for label, found in plotted),
        tuple((name, tuple(found[name] for _, found in plotted)) for name in names),
        shares=True,
    )
    rows = tuple(
        (label, str(found.total()), *(f"{found[name]} ({_share(found[name], found.total())})" for name in names))
        for label, found in ordered[:LISTED]
    )
    blocks: list[Block] = [
        bars,
        Table(f"Outcomes by {what}, in numbers", (what, "calls", *(LABELS[name] for name in names)), rows),
    ]
    if len(ordered) > LISTED:
        blocks.append(Paragraph(f"The table has the {LISTED} with the most calls, of {len(ordered)}."))
    return blocks


def _answers(figures: Figures) -> list[Block]:
    named = (("yes", figures.answers["granted"]), ("no", figures.answers["declined"]))
    if not any(times.number for _, times in named):
        return []
    longest = max(times.below(1.0) or 0 for _, times in named)
    end = min(LONGEST_MS, max(4 * ANSWER_BIN_MS, -(-(longest + 1) // ANSWER_BIN_MS) * ANSWER_BIN_MS))
    series = tuple((name, tuple(times.bins(ANSWER_BIN_MS, end)), times.below(0.5)) for name, times in named)
    alternative = (
        "Two histograms: seconds from the end of the question to the key, for yes and for no. "
        + " ".join(
            f"Half of those who pressed {name} did so within {_seconds(times.below(0.5))}."
            for name, times in named
            if times.number
        )
        + " The numbers are in the table below."
    )
    columns = ("answer", "answers", "quickest tenth within", "half within", "nine tenths within", "longest")
    rows = tuple(_spread(name, times) for name, times in named)
    early = sum(times.early for _, times in named)
    return [
        Heading("Time to decide"),
        Paragraph(
            "From the end of the question to the key. A refusal counts at any moment; one during the notice or the "
            "question has no such time and is not in here."
        ),
        Spread("Time from the question to the key", alternative, ANSWER_BIN_MS, series),
        Table("Time from the end of the question to the key, in numbers", columns, rows),
        *([Paragraph(f"{early} keys were pressed before the question's end.")] if early else []),
    ]


def _spread(name: str, times: Answers) -> tuple[str, ...]:
    marks = (_seconds(times.below(share)) for share in (0.1, 0.5, 0.9, 1.0))
    return (name, str(times.number), *marks)


def _hang_ups(figures: Figures) -> list[Block]:
    heard = sorted(figures.heard.items(), key=lambda found: (-found[1].calls, found[0]))
    if not heard:
        return []
    blocks: list[Block] = [
        Heading("Where callers hang up"),
        Paragraph(
            "For each notice in each language: how many callers hung up while a segment was played for the first time, "
            "and how many had not hung up at its end. Who refused or consented counts as still there."
        ),
    ]
    for at, (spoken, found) in enumerate(heard[:LISTED_NOTICES]):
        if at < FIGURED_NOTICES and found.hung_up:
            blocks.append(_curve(spoken, found))
        blocks.append(_segments(spoken, found))
    if len(heard) > LISTED_NOTICES:
        blocks.append(Paragraph(f"The {LISTED_NOTICES} notices heard most are here, of {len(heard)}."))
    return blocks


def _curve(spoken: Spoken, found: Heard) -> Curve:
    shares = tuple(100 * there / found.calls for there in found.still_there())
    worst = max(range(len(found.left)), key=lambda at: found.left[at])
    alternative = (
        f"Falling steps: callers who have not hung up after each segment of {_spoken(spoken)}, in percent of "
        f"{_calls(found.calls)}. The last is {shares[-1]:.1f} %. The most, {found.left[worst]}, hung up in "
        f"{found.segments[worst]}. The numbers are in the table below."
    )
    return Curve(f"Callers still there: {_spoken(spoken)}", alternative, found.segments, shares)


def _segments(spoken: Spoken, found: Heard) -> Table:
    calls = found.calls
    rows = [("before the notice", str(found.before), str(calls - found.before), _share(calls - found.before, calls))]
    rows += [
        (name, str(left), str(there), _share(there, calls))
        for name, left, there in zip(found.segments, found.left, found.still_there(), strict=True)
    ]
    there = calls - found.hung_up + found.later
    rows.append(("waiting for the key", str(found.choosing), str(there), _share(there, calls)))
    there = calls - found.hung_up
    rows.append(("long version, or notice repeated", str(found.later), str(there), _share(there, calls)))
    return Table(
        f"Hang-ups in {_spoken(spoken)}: {_calls(calls)}, {found.hung_up} hung up",
        ("segment", "hung up in it", "still there after it", "share of calls"),
        tuple(rows),
    )


AFTERWARDS: Final = (
    ("withdrawn", "consent withdrawn, the recording erased"),
    ("recording_expired", "recordings erased because their days were over"),
    ("recording_ended", "recordings finished"),
    ("recording_stopped", "recorders stopped before the call was passed on"),
    ("recording_not_confirmed", "recorders not seen to run, and stopped"),
    ("recording_missing", "consented calls without a file of a recording"),
    ("grant_void", "consents written too late and not used"),
    ("erased", "persons' data erased from the log"),
    ("expired", "events removed because their time in the log was over"),
    ("accessed", "recordings accessed"),
    ("access_refused", "access to a recording refused"),
    ("exported", "exports of the log"),
    ("spot_check", "spot checks"),
    ("incident", "incidents"),
    ("notice_published", "notices published"),
    ("configuration_published", "configurations taken into use"),
    ("server_started", "starts of the service"),
    ("clock_set_back", "the clock was set back"),
    ("restored", "the log was restored from a copy"),
    ("key_replaced", "the log's key was replaced"),
)
"""Kinds of events that a report tells, and what they are called there."""


def _afterwards(figures: Figures) -> list[Block]:
    rows = [(meaning, str(figures.kinds.get(kind, 0))) for kind, meaning in AFTERWARDS]
    failed = sorted(
        ((reason, count) for (outcome, reason), count in figures.reasons.items() if outcome == Outcome.FAILED),
        key=lambda found: (-found[1], found[0]),
    )
    blocks: list[Block] = [
        Heading("After the decision, and around it"),
        Table("Events in the period", ("what happened", "times"), tuple(rows)),
    ]
    if failed:
        blocks.append(
            Table(
                "Failed calls by reason; none of them was recorded",
                ("reason", "calls"),
                tuple((reason, str(count)) for reason, count in failed[:LISTED]),
            )
        )
    return blocks


def _evidence(figures: Figures, evidence: Sequence[Evidence]) -> list[Block]:
    blocks: list[Block] = [Heading("State of the evidence")]
    for one in evidence:
        time = (one.checkpoint_time or "")[:19].replace("T", " ")
        sealed = NONE if one.checkpoint_size is None else f"{time} UTC, over {one.checkpoint_size} events"
        rows = [
            ("log", one.log),
            ("events", str(one.size)),
            ("of these removed, hash or summary kept", str(one.pruned)),
            ("newest signed checkpoint", sealed),
            ("its root (SHA-256, base64)", one.checkpoint_root or NONE),
            ("events since then, not sealed yet", str(one.size - (one.checkpoint_size or 0))),
            ("verification", one.verified),
        ]
        blocks.append(Table("The log that this report is made of", ("what", "state"), tuple(rows), words=(0, 1)))
        if one.findings:
            columns, caption = ("kind", "finding"), "What the verification found"
            blocks.append(Table(caption, columns, one.findings, words=(0, 1)))
    if any(one.good is False for one in evidence):
        blocks.append(Paragraph("The log does not verify: the numbers above cannot be relied on."))
    if figures.unreadable:
        blocks.append(
            Paragraph(f"{_calls(figures.unreadable)} of this period are not of the form that this program writes.")
        )
    blocks.append(
        Paragraph(
            "Every number above is counted from the events of the log. Who has the log, the public key that was "
            "published when it began, and the verifier can check it without trusting whoever made this report."
        )
    )
    return blocks


def _reading() -> list[Block]:
    return [
        Heading("How to read this"),
        Paragraph(
            "A call is counted on the day of its decision, in UTC. Shares are rounded to a tenth of a percent and may "
            "not add up to 100. The report names no caller and no agent, and holds no pseudonym."
        ),
        Paragraph(
            "A high share of consent is no proof that consent was free, and a low one no fault. What a notice said, "
            "word for word, is in its published version."
        ),
    ]


# --- small parts -----------------------------------------------------------------------------------------------------


def _present(counts: Counter[str]) -> tuple[str, ...]:
    """The outcomes that occur, and the two that are always told."""
    always = (Outcome.GRANTED.value, Outcome.DECLINED.value)
    return tuple(name for name in (*OUTCOMES, UNKNOWN) if counts[name] or name in always)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else NONE


def _calls(number: int) -> str:
    return f"{number} call" if number == 1 else f"{number} calls"


def _seconds(milliseconds: int | None) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds is not None else NONE


def _version(version: Version) -> str:
    return f"{version.line}: {version.notice} {version.version}" if version.notice != NONE else "none"


def _spoken(spoken: Spoken) -> str:
    return f"{spoken.line}: {spoken.notice} {spoken.version} in {spoken.language}"
