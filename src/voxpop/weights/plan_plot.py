"""Draws a plan: tokens a second against the memory that the machine would have, a curve for each format.

The only part of a plan that needs a package beyond the base: matplotlib.
"""

from dataclasses import replace
from pathlib import Path

from voxpop.errors import UsageError
from voxpop.weights.advising import Work, row
from voxpop.weights.formats import formats
from voxpop.weights.machine import GIB
from voxpop.weights.plan_text import Plan
from voxpop.weights.published import published
from voxpop.weights.runtimes import runtimes

_GIBS = (8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768)


def draw(plan: Plan, path: Path) -> None:
    """SVG or PNG, by the name of the file; UsageError for another; ModuleNotFoundError without matplotlib."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"{path} is neither .svg nor .png.", "Name the file so.")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "voxpop"  # the same plan makes the same file
    figure, axes = plt.subplots(figsize=(9, 5.5))
    llama = runtimes()[0]
    wanted = {r.stored.name for r in plan.rows}
    work = Work((1,), plan.work.context)
    for stored in formats():
        if stored.name in wanted and stored.kind in llama.reads:
            rows = [
                row(plan.model, stored, llama, replace(plan.machine, memory=gib * GIB), work).one for gib in _GIBS
            ]
            points = [(g, e.generate.expected) for g, e in zip(_GIBS, rows, strict=True) if not e.placed.lacking]
            axes.plot(*zip(*points, strict=True), label=stored.name) if points else None
    if plan.name == "grok-1":
        for each in published():
            if each.memory_gib and each.tokens:
                axes.plot(each.memory_gib, each.tokens, "kx")
                axes.annotate(
                    each.who, (each.memory_gib, each.tokens), fontsize=7, xytext=(4, 4), textcoords="offset points"
                )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="memory beside the GPUs' (GiB)",
        ylabel="tokens a second, one conversation, expected",
        title=f"{plan.name} on {plan.machine.name} with more or less memory",
    )
    axes.set_xticks([8, 16, 32, 64, 128, 256, 512], ["8", "16", "32", "64", "128", "256", "512"])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    plt.close(figure)
