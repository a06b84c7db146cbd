"""What the benchmarks share: CPU time of a process, medians, results as files."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system, threads that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median with the smallest and the largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"processors": os.cpu_count(), "model": model, "python": platform.python_version()}


def keep(name: str, results: Mapping[str, Any]) -> Path:
    """Write results into bench/results."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
    return path


def bars(name: str, title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> Path | None:
    """Draw medians as bars, with their spread; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional, and slow to load

        mpl.use("svg")
        import matplotlib.pyplot as plt  # noqa: PLC0415 - after the choice of what draws
    except ImportError:
        return None
    mpl.rcParams["svg.hashsalt"] = "ivr-consent"  # the same picture for the same figures
    labels = list(rows)
    medians = [rows[label]["median"] for label in labels]
    low = [rows[label]["median"] - rows[label]["min"] for label in labels]
    high = [rows[label]["max"] - rows[label]["median"] for label in labels]
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(labels) + 1.2), layout="constrained")
    colours = ["#1f6f8b" if label.startswith("ivr-consent") else "#b0b7bd" for label in labels]
    drawn = axes.barh(labels, medians, xerr=[low, high], color=colours, error_kw={"elinewidth": 1})
    axes.bar_label(drawn, fmt="%.3g", padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(title, loc="left")
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    path = RESULTS / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
