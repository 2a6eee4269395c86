"""Write reports as one page that stands alone: no script, nothing fetched, every text escaped."""

from collections.abc import Sequence
from html import escape

from voxpop.evaluation import charts
from voxpop.evaluation.charts import Report, engine, measure, shown

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>voxpop eval</title><style>
:root{--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--back:#fff;--card:#f6f8fa;--good:#1f7a4d;--bad:#c62828}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--line:#3a424c;--back:#0f1318;--card:#171c22;
--good:#5fd197;--bad:#ff7b72}}
*{box-sizing:border-box}body{margin:0 auto;max-width:60rem;padding:1.2rem;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}h1{margin:0 0 .3rem;font-size:1.6rem}h2{margin:2.2rem 0 .6rem;font-size:1.2rem}
p{margin:.4rem 0}.soft{color:var(--soft);font-size:.9rem}figure{margin:.8rem 0;padding:.6rem;background:var(--card);
border:1px solid var(--line);border-radius:8px;overflow-x:auto}
svg{display:block;width:100%;min-width:34rem;height:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{padding:.35rem .5rem;
border-bottom:1px solid var(--line);text-align:left;vertical-align:top}th{color:var(--soft);font-weight:600}
td.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}.held{color:var(--good)}
.missed{color:var(--bad);font-weight:600}details{margin:.5rem 0;padding:.4rem .7rem;border:1px solid var(--line);
border-radius:8px;background:var(--card)}summary{cursor:pointer;font-weight:600}pre{white-space:pre-wrap;
overflow-wrap:anywhere;margin:.2rem 0;font:13px/1.45 ui-monospace,monospace;color:var(--soft)}li{margin:.5rem 0;
overflow-wrap:anywhere}ol{padding-left:1.4rem}
@media(max-width:40rem){body{padding:.7rem}td.number{white-space:normal}td .soft{display:block}
th,td{padding:.3rem .25rem;font-size:.85rem}}
</style></head><body>
"""
_MOST = 200


def page(reports: Sequence[Report]) -> str:
    """The HTML of one report, or of several engines side by side."""
    parts = [_HEAD, "<h1>voxpop eval</h1>", *(f"<p class='soft'>{_origin(r)}</p>" for r in reports)]
    parts += ["<h2>Goals</h2>", _goals(reports), _figure(charts.goals(reports))]
    for title, chart in (
        ("Answering against abstaining", charts.trade_off(reports)),
        ("How soon the right answer comes", charts.soon(reports)),
        ("Times of answers", charts.latency(reports)),
    ):
        parts += [f"<h2>{title}</h2>", _figure(chart)] if chart else []
    parts += ["<h2>Everything measured</h2>", *(_everything(r) for r in reports)]
    parts += ["<h2>Misses</h2>", *(_misses(r) for r in reports), "</body></html>\n"]
    return "\n".join(parts)


def _origin(report: Report) -> str:
    sample = "every question" if report["sample"] is None else f"at most {report['sample']} questions a suite"
    return escape(
        f"{engine(report)}: voxpop {report['voxpop']}, {report['made_at']}, {report['took_s']:.0f} s, {sample}, "
        f"seed {report['seed']}"
    )


def _figure(svg: str) -> str:
    return f"<figure>{svg}</figure>" if svg else ""


def _goals(reports: Sequence[Report]) -> str:
    names = dict.fromkeys(m["name"] for r in reports for m in r["measures"] if m["goal"])
    rows = []
    for name in names:
        found = [measure(r, name) for r in reports]
        first = next(m for m in found if m)
        cells = "".join(_cell(m) for m in found)
        rows.append(
            f"<tr><td>{escape(first['title'])}</td>{cells}<td class='number'>{charts.goal_text(first)}</td></tr>"
        )
    heads = "".join(f"<th>{escape(engine(r))}</th>" for r in reports)
    return (
        f"<div class='wide'><table><thead><tr><th>what</th>{heads}<th>goal</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(m: Report | None) -> str:
    if m is None or m["value"] is None:
        return "<td class='number'>not measured</td>"
    state = {True: "held", False: "missed", None: ""}[m["held"]]
    sure = f" <span class='soft'>{charts.interval(m)}</span>" if m["low"] is not None else ""
    word = {True: " ✓", False: " ✗ missed", None: ""}[m["held"]]
    return f"<td class='number'><span class='{state}'>{escape(shown(m))}{word}</span>{sure}</td>"


def _everything(report: Report) -> str:
    rows = []
    for m in report["measures"]:
        kinds = "".join(
            f"<tr><td>&emsp;{escape(kind)}</td><td class='number'>{counted} of {n}</td><td></td></tr>"
            for kind, counted, n in m["table"]
        )
        told = f"<div class='soft'>{escape(m['told'])}</div>" if m["told"] else ""
        rows.append(
            f"<tr><td><b>{escape(m['title'])}</b>{told}</td>{_cell(m)}<td class='number'>{m['n']:,}</td></tr>"
            f"{kinds}"
        )
    rows += [
        f"<tr><td><b>{escape(name)}</b><div class='soft'>{escape(why)}</div></td><td>not run</td><td></td></tr>"
        for name, why in report["skipped"].items()
    ]
    return (
        f"<details{' open' if len(rows) < 60 else ''}><summary>{escape(engine(report))}</summary><div class='wide'>"
        f"<table><thead><tr><th>what</th><th>value</th><th>cases</th></tr></thead><tbody>{''.join(rows)}</tbody>"
        f"</table></div></details>"
    )


def _misses(report: Report) -> str:
    parts = []
    for m in (m for m in report["measures"] if m["misses"]):
        items = "".join(
            f"<li>{escape(miss['id'])} <span class='soft'>{escape(miss['why'])}</span>"
            + (f"<pre>{escape(miss['said'])}</pre>" if miss.get("said") else "")
            for miss in m["misses"][:_MOST]
        )
        left = len(m["misses"]) - _MOST
        more = f"<p class='soft'>and {left} more in report.json</p>" if left > 0 else ""
        title = f"{engine(report)}: {m['title']} ({len(m['misses'])})"
        parts.append(f"<details><summary>{escape(title)}</summary><ol>{items}</ol>{more}</details>")
    return "\n".join(parts) or f"<p class='soft'>{escape(engine(report))}: none.</p>"
