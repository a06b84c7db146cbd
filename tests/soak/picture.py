"""The plot of a soak: calls, memory, descriptors, and the faults on the same axis."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.soak.evidence import Evidence, Sample
from tests.soak.judge import decisions_by_call

COLOURS: Final = (
    "#c0392b", "#e67e22", "#8e44ad", "#2980b9", "#16a085", "#7f8c8d", "#d35400", "#2c3e50", "#27ae60", "#f39c12",
)  # fmt: skip  # rows that belong together


def draw(evidence: Evidence, path: Path, title: str) -> Path | None:
    """Write a PNG; ``None`` where matplotlib is not installed."""
    try:
        import matplotlib as mpl  # optional, and slow to load

        mpl.use("agg")
        import matplotlib.pyplot as plt  # after the choice of what draws
        from matplotlib.patches import Patch
    except ImportError:
        return None
    figure, (calls, memory, descriptors) = plt.subplots(3, 1, sharex=True, figsize=(10, 8), layout="constrained")
    _calls(calls, evidence)
    at = [_minute(evidence, one.at) for one in evidence.samples]
    _lines(memory, at, evidence, "memory, MiB", {"worker": lambda one: one.rss, "watcher": lambda one: one.watcher_rss})
    memory.set_ylim(bottom=0)
    _lines(
        descriptors,
        at,
        evidence,
        "descriptors, threads",
        {
            "worker's descriptors": lambda one: one.descriptors,
            "watcher's descriptors": lambda one: one.watcher_descriptors,
            "worker's threads": lambda one: one.threads,
            "calls": lambda one: one.up,
        },
    )
    descriptors.set_ylim(bottom=0)
    kinds = sorted({window.kind for window in evidence.windows})
    colours = dict(zip(kinds, COLOURS * 2, strict=False))
    for axes in (calls, memory, descriptors):
        for window in evidence.windows:
            span = _minute(evidence, window.began), _minute(evidence, window.ended)
            axes.axvspan(*span, color=colours[window.kind], alpha=0.25, linewidth=0)
        axes.spines[["top", "right"]].set_visible(False)
    patches = [Patch(color=colours[kind], alpha=0.25) for kind in kinds]
    if kinds:
        figure.legend(patches, kinds, loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    calls.set_title(title, loc="left")
    descriptors.set_xlabel("minutes")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _minute(evidence: Evidence, at: float) -> float:
    return (at - evidence.began) / 60


def _calls(axes: Any, evidence: Evidence) -> None:
    """Calls a minute by what was decided; without a decision: nobody was there to make one."""
    decisions = decisions_by_call(evidence)
    span = max((evidence.ended - evidence.began) / 60, 0.1)
    bars = max(min(round(span), 60), 6)
    width = span / bars
    counts: dict[str, Counter[int]] = {}
    for call in evidence.calls:
        outcome = next((one.outcome for one in decisions[call.uniqueid]), "no service there")
        slot = min(int(_minute(evidence, call.entered) / width), bars - 1)
        counts.setdefault(outcome, Counter())[slot] += 1
    bottom = [0.0] * bars
    for outcome in sorted(counts):
        heights = [counts[outcome][slot] / width for slot in range(bars)]
        axes.bar([(slot + 0.5) * width for slot in range(bars)], heights, width * 0.9, bottom, label=outcome)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_ylabel("calls a minute")
    axes.legend(fontsize="small", frameon=False, ncols=4, loc="upper left")
    axes.set_ylim(top=max([*bottom, 1.0]) * 1.25)


def _lines(axes: Any, at: list[float], evidence: Evidence, label: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        heights: list[float] = []
        before: Sample | None = None
        for one in evidence.samples:  # a new process begins a new line
            heights.append(value(one) if before is None or before.pid == one.pid else float("nan"))
            before = one
        axes.plot(at, heights, label=name, linewidth=1.2)
    axes.set_ylabel(label)
    axes.legend(fontsize="small", frameon=False, ncols=4, loc="upper left")
