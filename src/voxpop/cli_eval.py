"""`voxpop eval`: measure the goals on an engine, write JSON and a page; it prints, and `evaluation/` measures."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import orjson

from voxpop.cli_options import config_of, engine_option, json_option, runs
from voxpop.errors import UsageError
from voxpop.evaluation.measures import SAMPLE, Report

_TOLD_S = 5.0


@click.command("eval")
@engine_option
@click.option("--model", help="Model for --engine local or openai.")
@click.option("--suite", "suites", multiple=True, help="Only this suite (docs/evaluation.md). May be repeated.")
@click.option("--questions", type=click.Path(path_type=Path), help="Your own questions, TOML or JSONL.")
@click.option(
    "--data",
    "public",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of public question sets and posts.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    help=f"At most so many questions a suite. Left out: all, or {SAMPLE} where a model answers.",
)
@click.option("--seed", default=0, show_default=True, help="Which questions a sample takes.")
@click.option("--out", default="voxpop-eval", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--compare", "compared", is_flag=True, help="Only lay the reports given side by side.")
@click.argument("report", nargs=-1, type=click.Path(path_type=Path))
@json_option
@click.pass_context
@runs
async def evaluate(
    context: click.Context,
    report: tuple[Path, ...],
    out: Path,
    as_json: bool,
    compared: bool,
    **given: str | int | Path | tuple[str, ...] | None,
) -> None:
    """Measure citations, abstention, early calls and the rest on an engine; exit 1 where a goal is missed.

    Writes report.json and report.html to the folder of --out; they quote posts, so keep them to yourself.

    Example: voxpop eval --suite citations --out report
    """
    from voxpop.evaluation import reports

    if compared != bool(report):
        raise UsageError("--compare and reports go together.", "Write: voxpop eval --compare a.json b.json")
    if compared:
        click.echo(reports.compare([reports.read(path) for path in report], out / "compare.html"))
        return
    made = await _measured(context, **given)  # type: ignore[arg-type]
    path = reports.write(made, out)
    if as_json:
        click.echo(orjson.dumps(made.json(said=False)).decode())
    else:
        _print(made)
        click.echo(f"\nThe page: {path}")
    if made.missed:
        sys.exit(1)


async def _measured(
    context: click.Context,
    engine: str | None,
    model: str | None,
    suites: tuple[str, ...],
    questions: Path | None,
    public: Path | None,
    sample: int | None,
    seed: int,
) -> Report:
    from voxpop.engine_choice import Engines
    from voxpop.evaluation import reports
    from voxpop.evaluation.bench import Bench
    from voxpop.service import clock

    config = config_of(context, engine=engine or "quote")
    if model:
        config = replace(config, engine=replace(config.engine, model=model))
    engines = Engines(config, lambda line: click.echo(line, err=True))
    await engines.load_now()
    limit = reports.sampled(engines.now(), sample)
    progress = _progress(sys.stderr.isatty())
    bench = Bench(engines.now, public, questions, limit, seed, config, progress=progress)
    return await reports.run(bench, suites, clock())


def _progress(drawn: bool) -> Callable[[str, int, int], None]:
    """Tell the suite, how far it is and how long it may last: in one line that changes, else every few seconds."""
    began, told = {"": 0.0}, 0.0

    def show(suite: str, done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if done == 0 or suite not in began:
            began[suite] = now
        if now - told < (0.1 if drawn else _TOLD_S) and done != total:
            return
        told = now
        left = (now - began[suite]) / done * (total - done) if done else None
        line = f"{suite}: {done} of {total}" + (f", {left:.0f} s left" if left is not None and done < total else "")
        click.echo(f"\r\x1b[K{line}" if drawn else line, err=True, nl=not drawn or done == total)

    return show


def _print(report: Report) -> None:
    from voxpop.evaluation.charts import goal_text, shown

    for m in report.measures:
        told = m.json(said=False)
        mark = {True: "held  ", False: "MISSED", None: "      "}[m.held]
        goal = f"  (goal {goal_text(told)})" if m.goal else ""
        click.echo(f"{mark} {shown(told):>14}  {m.title}{goal}")
    for suite, why in report.skipped.items():
        click.echo(f"not run: {suite}: {why}")
