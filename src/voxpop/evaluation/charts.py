"""Draw the charts of a report as small SVG images that stand alone, light and dark; they decide nothing.

Every function takes reports as `report.json` has them, one an engine, and gives an `<svg>` or an empty string.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isfinite, log10
from typing import Any

Report = Mapping[str, Any]
_WIDTH = 720
_STYLE = """<style>
svg{--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--goal:#1b1f24;--c0:#2563c9;--c1:#c2570c;--c2:#1f7a4d;--c3:#8b3fbf;
--bad:#c62828;font:13px system-ui,sans-serif}
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--soft:#9aa4af;--line:#3a424c;--goal:#e6edf3;--c0:#6ea8ff;
--c1:#ff9d57;--c2:#5fd197;--c3:#c99bff;--bad:#ff7b72}}
text{fill:var(--ink)}.soft{fill:var(--soft);font-size:12px}.line{stroke:var(--line)}
.goal{stroke:var(--goal);stroke-width:2}.dash{stroke-dasharray:4 3}.whisker{stroke:var(--soft);stroke-width:1.5}
.c0{fill:var(--c0);color:var(--c0)}.c1{fill:var(--c1);color:var(--c1)}.c2{fill:var(--c2);color:var(--c2)}
.c3{fill:var(--c3);color:var(--c3)}.bad{fill:var(--bad)}
.path{fill:none;stroke:currentColor;stroke-width:2.5}
</style>"""


def goals(reports: Sequence[Report]) -> str:
    """A row a goal: a bar of the value for each engine, its interval, and the line that it must not cross."""
    names = [m["name"] for m in _goals(reports)]
    if not names:
        return ""
    step = 16 * len(reports) + 40
    rows = "".join(_goal_row(name, reports, 10 + i * step) for i, name in enumerate(names))
    legend = _legend(reports, 14 + len(names) * step)
    return _svg(rows + legend, 30 + len(names) * step, "Each goal's value, its interval and its line")


def _goals(reports: Sequence[Report]) -> list[Mapping[str, Any]]:
    found = {m["name"]: m for r in reports for m in r["measures"] if m["goal"] and m["value"] is not None}
    return list(found.values())


def _goal_row(name: str, reports: Sequence[Report], top: float) -> str:
    drawn = [(i, m) for i, r in enumerate(reports) if (m := measure(r, name)) and m["value"] is not None]
    first = drawn[0][1]
    sign, bound = first["goal"].split()
    line = float(bound)
    scale = _scale(line, sign, [m for _, m in drawn])
    left, width = 8, _WIDTH - 90
    out = [f'<text x="8" y="{top + 12}">{escape(first["title"])}</text>']
    out.append(
        f'<text class="soft" x="{_WIDTH - 8}" y="{top + 12}" text-anchor="end">goal {goal_text(first)}</text>'
    )
    for row, (i, m) in enumerate(drawn):
        y, value = top + 20 + row * 16, min(m["value"], scale) if isfinite(m["value"]) else scale
        out.append(
            f'<rect class="c{i % 4}" x="{left}" y="{y}" width="{max(2, width * value / scale):.1f}" height="11"/>'
        )
        if m["unit"] == "share" and m["low"] is not None:
            low, high = (left + width * min(m[k], scale) / scale for k in ("low", "high"))
            out.append(
                f'<path class="whisker" d="M{low:.1f} {y + 5.5}H{high:.1f}'
                f'M{low:.1f} {y + 2}v7M{high:.1f} {y + 2}v7"/>'
            )
        mark = "bad" if m["held"] is False else ""
        out.append(f'<text class="{mark}" x="{left + width + 8}" y="{y + 10}">{shown(m)}</text>')
    at = left + width * min(line, scale) / scale
    out.append(f'<path class="goal" d="M{at:.1f} {top + 17}v{len(drawn) * 16 + 3}"/>')
    return "".join(out)


def _scale(line: float, sign: str, drawn: Iterable[Mapping[str, Any]]) -> float:
    values: list[float] = [m["value"] for m in drawn if isfinite(m["value"])]
    if sign == ">=":
        return max([1.0, line, *values])
    return max([line * 3, *(1.15 * v for v in values)]) or 1.0


def trade_off(reports: Sequence[Report]) -> str:
    """Each set's place between answering what the posts say (right) and abstaining where they do not (up)."""
    points = []
    for i, report in enumerate(reports):
        silent, spoken = (_table(report, f"abstention.{n}") for n in ("abstains", "answers"))
        points += [(i, name, spoken[name], silent[name]) for name in silent if name in spoken]
    if not points:
        return ""
    left, top, width, height = 60, 16, _WIDTH - 240, 260

    def x(value: float) -> float:
        return left + width * value

    def y(value: float) -> float:
        return top + height * (1 - value)

    out = [_frame(left, top, width, height, "answers what the posts say", "abstains where they do not")]
    out.append(f'<path class="goal dash" d="M{x(0.85):.1f} {top}v{height}M{left} {y(0.95):.1f}h{width}"/>')
    for row, (i, name, right, up) in enumerate(points):
        out.append(f'<circle class="c{i % 4}" cx="{x(right):.1f}" cy="{y(up):.1f}" r="6"/>')
        out.append(f'<text class="soft" x="{x(right) + 9:.1f}" y="{y(up) + 4:.1f}">{row + 1}</text>')
        label = f"{row + 1} {name}: {right:.0%}, {up:.0%}"
        out.append(f'<text class="soft" x="{left + width + 16}" y="{top + 12 + row * 17}">{escape(label)}</text>')
    return _svg(
        "".join(out) + _legend(reports, top + height + 40), top + height + 56, "Answering against abstaining"
    )


def latency(reports: Sequence[Report]) -> str:
    """How long whole answers took: the share of answers in each step of a factor of two and a half."""
    edges = [0.0, 1, 2.5, 6, 16, 40, 100, 250, 600, 1600, 4000, 10_000, 25_000, 60_000, float("inf")]
    times = [[t[0] for t in _series(r, "cost.total", "times")] for r in reports]
    if not any(times):
        return ""
    used = [b for b in range(len(edges) - 1) if any(edges[b] <= t < edges[b + 1] for all_ in times for t in all_)]
    bins = range(used[0], used[-1] + 1)
    shares = [[sum(edges[b] <= t < edges[b + 1] for t in all_) / max(1, len(all_)) for b in bins] for all_ in times]
    left, top, height = 50, 16, 200
    wide = (_WIDTH - 80) / len(bins)
    most = max(max(s) for s in shares)
    out = [_frame(left, top, _WIDTH - 80, height, "time of a whole answer", "share of answers", ticks=False)]
    for i, series in enumerate(shares):
        for b, value in enumerate(series):
            bar = (wide - 8) / len(shares)
            h = height * value / most
            out.append(
                f'<rect class="c{i % 4}" x="{left + b * wide + 4 + i * bar:.1f}" y="{top + height - h:.1f}" '
                f'width="{bar:.1f}" height="{h:.1f}"/>'
            )
    for b, edge in enumerate(bins):
        out.append(
            f'<text class="soft" x="{left + b * wide:.1f}" y="{top + height + 15}" text-anchor="middle">'
            f"{milliseconds(edges[edge])}</text>"
        )
    out.append(f'<text class="soft" x="{left - 6}" y="{top + 10}" text-anchor="end">{most:.0%}</text>')
    return _svg("".join(out) + _legend(reports, top + height + 52), top + height + 68, "Times of answers")


def soon(reports: Sequence[Report]) -> str:
    """The share of the night's questions answered rightly within a time from the post that carries the answer."""
    curves = [_series(r, "night.soon", "curve") for r in reports]
    if not any(curves):
        return ""
    left, top, width, height = 60, 16, _WIDTH - 90, 200
    last = max(p[0] for c in curves for p in c)

    def x(seconds: float) -> float:
        return left + width * log10(1 + seconds) / log10(1 + last)

    out = [_frame(left, top, width, height, "seconds from the post that carries the answer", "right", ticks=False)]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - tick)
        out.append(f'<text class="soft" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
    for i, curve in enumerate(c for c in curves if c):
        points = " ".join(f"{x(t):.1f},{top + height * (1 - v):.1f}" for t, v in curve)
        out.append(f'<polyline class="c{i % 4} path" points="{points}"/>')
        if i == 0:
            out += [
                f'<text class="soft" x="{x(t):.1f}" y="{top + height + 15}" text-anchor="middle">{t:g}</text>'
                for t, _ in curve
            ]
    return _svg(
        "".join(out) + _legend(reports, top + height + 52), top + height + 68, "How soon the right answer comes"
    )


def measure(report: Report, name: str) -> Mapping[str, Any] | None:
    """A report's measure by its name."""
    return next((m for m in report["measures"] if m["name"] == name), None)


def shown(m: Mapping[str, Any]) -> str:
    """A value with its unit, as people write it."""
    value = m["value"]
    if value is None:
        return "–"
    if m["unit"] == "share":
        return f"{100 * value:.1f} %"
    if m["unit"] == "count":
        return f"{value:g} of {m['n']:,}"
    return f"{value:.2f} s" if m["unit"] == "s" else milliseconds(value)


def milliseconds(value: float) -> str:
    """Milliseconds as people write them."""
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


def engine(report: Report) -> str:
    """The name of a report's engine, with its model where it has one."""
    return " ".join(filter(None, (report["engine"].get("name", ""), report["engine"].get("model", ""))))


def interval(m: Mapping[str, Any]) -> str:
    """The 95 % interval of the share that counted, in percent."""
    return "" if m["low"] is None else f"{100 * m['low']:.1f}–{100 * m['high']:.1f} %"


def goal_text(m: Mapping[str, Any]) -> str:
    """A goal as people write it."""
    sign, bound = m["goal"].split()
    value = f"{100 * float(bound):g} %" if m["unit"] == "share" else f"{bound}{' s' if m['unit'] == 's' else ''}"
    return f"{'≤' if sign == '<=' else '≥'} {value}"


def _table(report: Report, name: str) -> dict[str, float]:
    found = measure(report, name)
    return {kind: counted / n for kind, counted, n in (found["table"] if found else []) if n}


def _series(report: Report, name: str, series: str) -> list[list[float]]:
    found = measure(report, name)
    return list(found["series"].get(series, [])) if found else []


def _frame(
    left: float, top: float, width: float, height: float, below: str, beside: str, *, ticks: bool = True
) -> str:
    out = [f'<path class="line" fill="none" d="M{left} {top}v{height}h{width}"/>']
    out.append(
        f'<text class="soft" x="{left + width / 2}" y="{top + height + 32}" text-anchor="middle">{below}</text>'
        f'<text class="soft" text-anchor="middle" transform="translate({left - 42} {top + height / 2})rotate(-90)">'
        f"{beside}</text>"
    )
    for tick in (0, 0.5, 1) if ticks else ():
        x, y = left + width * tick, top + height * (1 - tick)
        out.append(f'<text class="soft" x="{x}" y="{top + height + 15}" text-anchor="middle">{tick:.0%}</text>')
        out.append(f'<text class="soft" x="{left - 6}" y="{y + 4}" text-anchor="end">{tick:.0%}</text>')
    return "".join(out)


def _legend(reports: Sequence[Report], y: float) -> str:
    if len(reports) < 2:
        return ""
    wide = (_WIDTH - 16) / len(reports)
    return "".join(
        f'<rect class="c{i % 4}" x="{8 + i * wide:.0f}" y="{y - 9}" width="10" height="10"/>'
        f'<text class="soft" x="{22 + i * wide:.0f}" y="{y}">{escape(engine(r))}</text>'
        for i, r in enumerate(reports)
    )


def _svg(inside: str, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{_STYLE}{inside}</svg>'
    )
