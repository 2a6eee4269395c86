"""Draws a plan: tokens a second against the memory that the machine would have, a curve for each format.

The only part of a plan that needs a package beyond the base: matplotlib.
`python -m voxpop.weights.planning.plot docs` draws the pictures of docs/grok-1.md.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError
from voxpop.weights.grok import GROK_1
from voxpop.weights.planning.advising import Work, row
from voxpop.weights.planning.machine import GIB, described
from voxpop.weights.planning.pages import missing
from voxpop.weights.planning.programs import programs
from voxpop.weights.planning.published import published
from voxpop.weights.planning.sizes import format_named, formats
from voxpop.weights.planning.text import Plan

_GIBS = (8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768)
_LLAMA = programs()[0]


def draw(plan: Plan, path: Path) -> None:
    """SVG or PNG, by the name of the file; UsageError for another; ModuleNotFoundError without matplotlib."""
    plt = _pyplot(path)
    figure, axes = plt.subplots(figsize=(9, 5.5))
    wanted = [f for f in formats() if f.kind in _LLAMA.reads and any(r.stored is f for r in plan.rows)]
    work = Work((1,), plan.work.context)
    for number, stored in enumerate(wanted):
        points = []
        for gib in _GIBS:
            one = row(plan.model, stored, _LLAMA, replace(plan.machine, memory=gib * GIB), work).one
            if not one.placed.lacking:
                points.append((gib, one.generate.expected))
        colour = plt.get_cmap("viridis")(number / max(1, len(wanted) - 1))
        axes.plot(*zip(*points, strict=True), label=stored.name, color=colour)
    for each in published() if plan.name == "grok-1" else ():
        if each.tokens:
            axes.plot(each.memory_gib, each.tokens, "kx")
            where = {"xytext": (4, 4), "textcoords": "offset points"}
            axes.annotate(f"measured: {each.who}", (each.memory_gib, each.tokens), fontsize=7, **where)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="memory beside the GPUs' (GiB)",
        ylabel="tokens a second, one conversation, expected",
        title=f"{plan.name} on {plan.machine.name}, with more or less memory",
    )
    axes.set_xticks([8, 16, 32, 64, 128, 256, 512], ["8", "16", "32", "64", "128", "256", "512"])
    _saved(figure, axes, path)


def draw_batching(path: Path) -> None:
    """Cost against conversations at once, and speed against the share of experts that a GPU holds."""
    plt = _pyplot(path)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    counts = (1, 2, 4, 8, 16, 32, 64, 128)
    for name in ("8xh100", "8xmi300x"):
        found = row(GROK_1, format_named("fp8"), programs()[1], described()[name], Work(counts, 2048)).estimates
        bands = [e.million for e in found if e.million]
        left.plot(counts, [b.expected for b in bands], marker="o", label=f"{name}, fp8")
        left.fill_between(counts, [b.low for b in bands], [b.high for b in bands], alpha=0.15)
    left.set(xscale="log", yscale="log", xlabel="conversations at once", ylabel="EUR a million tokens")
    left.set_title("batching makes it cheap")
    left.set_xticks(counts, [str(c) for c in counts])
    held = [n / 20 for n in range(21)]
    speeds = [missing(share) for share in held]
    right.plot(held, [s[0] for s in speeds], label="missed experts copied to the GPU")
    right.plot(held, [s[1] for s in speeds], label="missed experts computed where they lie")
    right.set(yscale="log", xlabel="share of the experts on the GPU", ylabel="tokens a second at rated speeds")
    right.set_title("caching experts does not: Q4_K_M, one H100")
    right.legend(fontsize=7)
    _saved(figure, left, path)
    right.grid(alpha=0.3)


def _pyplot(path: Path) -> Any:
    if path.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"{path} is neither .svg nor .png.", "Name the file so.")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "voxpop"  # the same plan makes the same file
    return plt


def _saved(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


if __name__ == "__main__":
    from voxpop.weights.planning.asked import Asked, made

    draw(made("grok-1", Asked(machine="epyc-12ch")), Path(sys.argv[1]) / "grok-1-memory.svg")
    draw_batching(Path(sys.argv[1]) / "grok-1-batching.svg")
