"""`voxpop weights tokenizer`: fetch the vocabulary that xAI released with Grok-1; it prints, `fetching.py` does."""

from pathlib import Path

import click
import orjson

from voxpop.cli_options import json_option, runs
from voxpop.cli_weights import needs_extra, weights


@weights.command("tokenizer")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("tokenizer.model"),
    show_default=True,
    help="Where to put it: beside a checkpoint it is found by itself.",
)
@json_option
@runs
@needs_extra
async def tokenizer(out: Path, as_json: bool) -> None:
    """Fetch Grok-1's tokenizer (2.2 MB) from xAI's repository, checked by its SHA-256.

    Example: voxpop weights tokenizer --out grok-1/tokenizer.model
    """
    from voxpop.weights.formats.fetching import fetch_tokenizer
    from voxpop.weights.formats.tokenizer import GROK_1_SHA256, GROK_1_SIZE

    await fetch_tokenizer(out)
    if as_json:
        click.echo(orjson.dumps({"path": str(out), "size": GROK_1_SIZE, "sha256": GROK_1_SHA256}).decode())
    else:
        click.echo(f"{out}: {GROK_1_SIZE} bytes, SHA-256 {GROK_1_SHA256}")
