"""Draw the plots of docs/performance.md; same input, same bytes: `plot.py growth LINES.jsonl OUT.svg`."""

import json
import sys
from collections.abc import Sequence
from math import nan
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
    """What grows with the number of posts, from the lines of `ten_million.py`, one for each size."""
    lines = sorted(lines, key=lambda line: line["posts"])
    posts = [line["posts"] for line in lines]
    figure, ((search, size), (ingest, rest)) = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    for kind in lines[0]["search_ms"]:
        search.plot(posts, [line["search_ms"][kind]["p99"] for line in lines], marker=".", label=_words(kind))
    search.set(title="search, p99, ms", yscale="log")
    parts = [part for part in lines[0]["bytes_per_post"] if part != "all"]
    size.stackplot(posts, [[line["bytes_per_post"][p] for line in lines] for p in parts], labels=parts, alpha=0.7)
    size.set(title="bytes on disk a post")
    for name in ("posts_per_s", "posts_per_cpu_s"):
        if name in lines[0]["ingest"]:
            ingest.plot(
                posts, [(line["ingest"] or {}).get(name, nan) for line in lines], marker=".", label=_words(name)
            )
    ingest.set(title="ingest", ylim=(0, None), xlabel="posts")
    rest.plot(posts, [1000 * line["open_s"] for line in lines], marker=".", label="open")
    for name in ("p99", "a_thousand"):
        rest.plot(posts, [line["delete_ms"][name] for line in lines], marker=".", label=f"delete, {_words(name)}")
    rest.set(title="opening and deleting, ms", yscale="log", xlabel="posts")
    for panel in (search, size, ingest, rest):
        panel.set_xscale("log")
        panel.legend()
    _save(figure, path)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("per s", "a second").replace("per cpu s", "a second of CPU")


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 3 or arguments[0] != "growth":
        print(__doc__)
        return 2
    rows = [json.loads(line) for line in Path(arguments[1]).read_text("utf-8").splitlines() if line.strip()]
    growth(rows, Path(arguments[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
