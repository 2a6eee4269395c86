"""`voxpop weights make`: a small Grok model that learns from posts for some minutes; it prints."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from voxpop.cli_options import json_option, runs
from voxpop.cli_weights import needs_extra, teller, weights
from voxpop.errors import UsageError

if TYPE_CHECKING:
    from voxpop.weights.making.model import Report, Step

# `voxpop up` plays the seventh night; files are measured on what the eleventh has and the first three have not.
_NIGHTS, _UNSEEN = (1, 2, 3), 11
_MOST_BYTES = 64 << 20
_LONGEST = 2000


@weights.command("make")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--minutes", type=click.FloatRange(0.05, 600), default=5.0, show_default=True, help="How long to train."
)
@click.option(
    "--steps", type=click.IntRange(1, 10**6), help="Train for so many steps instead; the same model again."
)
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Posts: one a line, or JSON lines with 'text'. Without it, invented ones.")  # fmt: skip
@click.option("--size", type=click.Choice(("small", "tiny")), default="small", show_default=True, help="How large.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed and steps, the same model.")
@click.option(
    "--threads", type=click.IntRange(0, 1024), default=0, help="How many to compute with; 0: torch's choice."
)
@json_option
@runs
@needs_extra
async def make(
    out: Path,
    minutes: float,
    steps: int | None,
    texts: Path | None,
    size: str,
    seed: int,
    threads: int,
    as_json: bool,
) -> None:
    """Make a small Grok model of your own, and train it on posts for some minutes, in the files of xAI's release.

    OUT gets ckpt-0, tokenizer.model, chat_template.jinja and made.json. What it writes looks like the posts that it
    learnt from; it knows nothing else. The folder then goes the way of the released one: inspect, convert, verify,
    quantize, up.

    Example: voxpop weights make small-grok --minutes 5
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch loads: others may need the processor too
    from voxpop.weights.making.folder import made
    from voxpop.weights.making.model import SIZES, Recipe

    posts = list(posts_of(texts))
    recipe = Recipe(SIZES[size], seed, minutes, steps or 0, threads=threads)
    say = teller(as_json)
    report = await asyncio.to_thread(made, out, posts, recipe, lambda step: say(_said(step)))
    say("")
    if as_json:
        click.echo(orjson.dumps({"path": str(out), **asdict(report)}).decode())
        return
    for line in _lines(out, report):
        click.echo(line)


def posts_of(path: Path | None, *, unseen: bool = False) -> Iterator[str]:
    """The posts of a file, else invented ones; `unseen`: such as `make` does not learn from.

    Raises UsageError where the file is too large or not of the form.
    """
    from voxpop.weights.posts_file import posts_in

    if path is None:
        return _invented(unseen)
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise UsageError(
            f"{path} is no file of at most {_MOST_BYTES >> 20} MiB.", "Give a part of it: minutes read no more."
        )
    return (text[:_LONGEST] for text in posts_in(path))


def _invented(unseen: bool) -> Iterator[str]:
    from voxpop.simulator import world

    known = [event.text for seed in _NIGHTS for event in world.night(seed) if event.op == "create"]
    if not unseen:
        yield from known
        return
    others = dict.fromkeys(event.text for event in world.night(_UNSEEN) if event.op == "create")
    learnt = set(known)
    yield from (text for text in others if text not in learnt)


def _said(step: "Step") -> str:
    left = f"{step.left_s / 60:.1f} min left" if step.left_s is not None else ""
    all_ = f" of {step.steps}" if step.steps else ""
    return f"step {step.done}{all_}: loss {step.loss:.3f}, {step.rate:,.0f} tokens/s, {left}"


def _lines(out: Path, report: "Report") -> Iterator[str]:
    yield (
        f"{report.parameters / 1e6:.1f} million weights, {report.active / 1e6:.1f} of them touched a token; "
        f"{report.steps} steps, {report.tokens:,} tokens, {report.seconds:.0f} s."
    )
    yield "Perplexity on posts that it never saw (lower is better):"
    rows: tuple[tuple[str, float], ...] = (
        ("how often each token is, nothing else", report.unigram),
        ("before training", report.before),
        ("after", report.after),
        ("after, in int8 as written", report.int8),
    )
    yield from (f"  {name:<40} {value:>10.2f}" for name, value in rows)
    yield f"Of the answers to framed posts that it never saw it foresees {report.copied:.0%} of the tokens."
    if report.fault:
        yield f"Beware: {report.fault}"
    yield f"It is at {out}. Next: voxpop weights inspect {out}"
