"""Draw the plots of docs/performance.md; same input, same bytes: `plot.py growth LINES.jsonl OUT.svg`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({
    "svg.hashsalt": "voxpop", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "lines.linewidth": 1.2,
    "legend.frameon": False, "font.family": "sans-serif",
})  # fmt: skip
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

_MOST_POINTS = 360


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def soak(samples: Sequence[dict[str, Any]], path: Path) -> None:
    """Memory, queues, rates, lags, disk and searches over time, one panel each."""
    samples = samples[:: len(samples) // _MOST_POINTS + 1]
    at = [s["at_s"] / 60 for s in samples]
    figure, ((memory, queue), (rate, lag), (disk, search)) = plt.subplots(
        3, 2, figsize=(9, 7), sharex=True, layout="constrained"
    )
    memory.plot(at, [s["rss_mb"] for s in samples])
    memory.set(title="resident memory, MB", ylim=(0, None))
    queue.plot(at, [s["tail"] for s in samples], label="hot tail")
    queue.plot(at, [sum(s["queues"].values()) for s in samples], label="all queues")
    queue.set(title="posts and events that wait")
    queue.legend()
    for name in samples[0]["rates"]:
        rate.plot(at, [s["rates"][name] for s in samples], label=name)
        lag.plot(at, [s["lags_s"][name] for s in samples], label=name)
    rate.set(title="events stored a second", ylim=(0, None))
    lag.set(title="age of the newest post, s", yscale="symlog", ylim=(0, None))
    lag.legend(ncols=2)
    disk.plot(at, [s["disk_mb"] for s in samples], label="disk, MB")
    disk.plot(at, [s["open_files"] for s in samples], label="open files")
    disk.set(xlabel="minutes", ylim=(0, None))
    disk.legend()
    search.plot(at, [s["search_ms"] for s in samples])
    search.set(title="search, median of 5 s, ms", xlabel="minutes", ylim=(0, None))
    _save(figure, path)


def growth(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Every figure that grows with the number of posts, on logarithmic axes: one panel for each unit."""
    lines = sorted(lines, key=lambda line: line["posts"])
    posts = [line["posts"] for line in lines]
    panels: dict[str, dict[str, list[float | None]]] = {}
    for name, unit in ((n, n.rpartition("_")[2]) for n in lines[-1] if n != "posts"):
        values = [_number(line.get(name)) for line in lines]
        if any(v is not None for v in values):
            panels.setdefault(unit, {})[name.removesuffix("_" + unit).replace("_", " ")] = values
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.5 * len(panels), 3.6), layout="constrained", squeeze=False
    )
    for panel, (unit, curves) in zip(axes[0], panels.items(), strict=True):
        for name, values in curves.items():
            panel.plot(posts, values, marker="o", markersize=3, label=name)
        panel.set(title=unit, xlabel="posts", xscale="log", ylim=(0, None))
        panel.legend()
    _save(figure, path)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 3 or arguments[0] != "growth":
        print(__doc__)
        return 2
    rows = [json.loads(line) for line in Path(arguments[1]).read_text("utf-8").splitlines() if line.strip()]
    growth(rows, Path(arguments[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
