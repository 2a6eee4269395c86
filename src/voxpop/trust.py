"""Write the tables and plots of docs/trust.md from reports; ids of misses go in, never a word of a post.

    python -m voxpop.trust docs quote/report.json local/report.json

The page keeps its own text; what stands between its marks is written anew.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from voxpop.docs import filled
from voxpop.evaluation import charts
from voxpop.evaluation.charts import Report, engine, goal_text, interval, measure, shown
from voxpop.evaluation.reports import read

_SHOWN = 12
_PLOTS = {"goals": charts.goals, "answers": charts.trade_off, "soon": charts.soon, "times": charts.latency}
_BY = "python -m voxpop.trust"


def table(reports: Sequence[Report]) -> str:
    """A row a goal, a column an engine: value, interval of a share, cases, and whether it is held."""
    names = dict.fromkeys(m["name"] for r in reports for m in r["measures"] if m["goal"])
    rows = [f"| measured | goal | {' | '.join(engine(r) for r in reports)} |", f"|---|---|{'---|' * len(reports)}"]
    for name in names:
        found = [measure(r, name) for r in reports]
        first = next(m for m in found if m)
        rows.append(f"| {first['title']} | {goal_text(first)} | {' | '.join(map(_cell, found))} |")
    return "\n".join([*rows, "", *(_origin(r) for r in reports)])


def _cell(m: Report | None) -> str:
    if m is None or m["value"] is None:
        return "not measured"
    cases = f"; n {m['n']:,}" if m["unit"] == "share" else ""
    sure = f" ({interval(m)}{cases})" if m["low"] is not None else ""
    value = f"{shown(m)}{sure}"
    return value if m["held"] else f"**{value}: missed**"


def _origin(report: Report) -> str:
    sample = "" if report["sample"] is None else f", at most {report['sample']} questions a suite"
    skipped = "".join(f"; not run: {name}" for name in report["skipped"])
    return (
        f"- {engine(report)}: voxpop {report['voxpop']}, {report['made_at'][:10]}, {report['took_s']:.0f} s{sample}"
        f"{skipped}"
    )


def details(reports: Sequence[Report]) -> str:
    """Every other figure, and each measure's cases by kind."""
    return "\n".join(line for report in reports for line in _details(report))


def _details(report: Report) -> Iterator[str]:
    yield f"### {engine(report)}\n\n| measured | value | by kind |\n|---|---|---|"
    for m in report["measures"]:
        kinds = [f"{kind} {counted}/{n}" for kind, counted, n in m["table"]]
        yield f"| {m['title']} | {shown(m)} | {_cell_text('; '.join(kinds))} |"
    yield ""


def misses(reports: Sequence[Report]) -> str:
    """The ids of what missed a goal, and why; the first dozen of each, their number always."""
    lines = []
    for report in reports:
        for m in (m for m in report["measures"] if m["goal"] and m["misses"]):
            lines.append(f"- {engine(report)}, {m['title']}: {len(m['misses'])}")
            lines += [f"  - `{_cell_text(x['id'])}`: {_cell_text(x['why'])}" for x in m["misses"][:_SHOWN]]
            left = len(m["misses"]) - _SHOWN
            lines += [f"  - and {left} more"] if left > 0 else []
    return "\n".join(lines) or "None."


def _cell_text(text: str) -> str:
    return " ".join(text.replace("|", "/").replace("`", "'").split())


def written(page: str, reports: Sequence[Report]) -> str:
    """docs/trust.md with its tables written anew; raises ValueError where its marks are missing."""
    page = filled(page, "goals", table(reports), _BY)
    page = filled(page, "details", details(reports), _BY)
    return filled(page, "misses", misses(reports), _BY)


def main(folder: Path, paths: Sequence[Path]) -> None:
    """Write the page and its plots in the folder of the docs."""
    reports = [read(path) for path in paths]
    page = folder / "trust.md"
    page.write_text(written(page.read_text("utf-8"), reports), "utf-8")
    for name, plot in _PLOTS.items():
        if drawn := plot(reports):
            (folder / f"trust-{name}.svg").write_text(f"{drawn}\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]])
