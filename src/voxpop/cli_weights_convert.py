"""`voxpop weights convert` and `verify`: one checkpoint from another, and proof that it is; it prints."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import click
import orjson

from voxpop.cli_options import json_option, runs
from voxpop.cli_weights import apart, needs_extra, stepwise, teller, warn_wordless, weights
from voxpop.inert import visible

_FORMATS = ("gguf", "xai", "keyfan", "hpcai", "lmzheng")
_TYPES = ("f32", "f16", "bf16", "q8_0", "int8")
_PATH = click.Path(path_type=Path)


@weights.command("convert")
@click.argument("source", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--to", "format_", required=True, type=click.Choice(_FORMATS), help="Format of the result.")
@click.option("--type", "type_", type=click.Choice(_TYPES), help="Type of the matrices; else the format's usual.")
@click.option("--tokenizer", type=_PATH, help="SentencePiece model; else the one in or beside SOURCE.")
@click.option("--force", is_flag=True, help="Remove the checkpoint at OUT, or what was begun there, first.")
@click.option("--dry-run", is_flag=True, help="Write only headers, to a folder that is removed; say what it takes.")
@json_option
@runs
@needs_extra
async def convert(
    source: Path,
    out: Path,
    format_: str,
    type_: str | None,
    tokenizer: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Convert a checkpoint from any format to another; what was cut is gone on with by the same command.

    The checksum of every tensor goes into OUT.sums.json.

    Example: voxpop weights convert grok-1/ckpt-0 grok-1-q8_0.gguf --to gguf --tokenizer tokenizer.model
    """
    from voxpop.weights import targets
    from voxpop.weights.formats.opening import opened
    from voxpop.weights.formats.sums import manifest_of

    say = teller(as_json)
    to = targets.target(out, format_, type_)
    with ThreadPoolExecutor(1, "weights") as pool:
        given = await apart(pool, lambda: opened(source))
        to = targets.speaking(to, given, source, tokenizer)
        if to.format == "gguf" and to.words is None:
            warn_wordless(source)
        if dry_run:
            report = await apart(pool, lambda: targets.rehearsed(given, to))
            click.echo(orjson.dumps(asdict(report)).decode() if as_json else report.text())
            return
        async for step in stepwise(pool, targets.converted(given, source, to, force=force)):
            say(step.text())
    say("")
    row = {"path": str(to.path), "manifest": str(manifest_of(to.path))}
    if as_json:
        click.echo(orjson.dumps(row).decode())
        return
    click.echo(f"{row['path']} is written; the checksums of its tensors are in {row['manifest']}.")
    click.echo(f"Prove it: voxpop weights verify {to.path} {source}")


@weights.command("verify")
@click.argument("converted", type=_PATH)
@click.argument("source", type=_PATH)
@click.option("--layers", default=4, show_default=True, help="How many layers are run in both; 0 runs none.")
@click.option("--seed", default=0, show_default=True, help="Which layers, and what goes into them.")
@json_option
@runs
@needs_extra
async def verify(converted: Path, source: Path, layers: int, seed: int, as_json: bool) -> None:
    """Compare a converted checkpoint with its source: structure, every tensor, and what some layers compute.

    Exit code 1 where something is wrong.

    Example: voxpop weights verify grok-1-q8_0.gguf grok-1/ckpt-0
    """
    from voxpop.weights.proving.judging import judged

    say = teller(as_json)
    with ThreadPoolExecutor(1, "weights") as pool:
        async for report in stepwise(pool, judged(converted, source, layers=layers, seed=seed)):
            say(report.progress)
    say("")
    if as_json:
        click.echo(orjson.dumps(report.said()).decode())
    else:
        click.echo(visible(report.text()))
    if not report.right:
        sys.exit(1)
