"""`voxpop weights quantize` and `importance`: a smaller GGUF file, and where it may be wrong least; it prints."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from voxpop.cli_options import json_option, runs
from voxpop.cli_weights import apart, needs_extra, stepwise, teller, warn_wordless, weights
from voxpop.cli_weights_make import posts_of
from voxpop.errors import UsageError
from voxpop.weights.mixes import fallen, mix, names, size_of

if TYPE_CHECKING:
    from voxpop.weights.importance import Importance
    from voxpop.weights.narrowing import Words
    from voxpop.weights.quantise import Count
    from voxpop.weights.tensors import Source

_PATH = click.Path(path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_texts = click.option("--texts", type=_FILE, help="Posts, one a line, or JSON lines with 'text'.")
_tokenizer = click.option("--tokenizer", type=_FILE, help="SentencePiece model; else the one in or beside SOURCE.")
_chunks = click.option("--chunks", type=click.IntRange(1, 10_000), default=64, show_default=True)
_length = click.option("--length", type=click.IntRange(8, 8192), default=512, show_default=True)


@weights.command("quantize")
@click.argument("source", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--type", "type_", required=True, type=click.Choice(names(), case_sensitive=False), help="The mix.")
@click.option("--importance", "given", type=_FILE, help="A matrix that 'weights importance' or llama.cpp wrote.")
@_texts
@_tokenizer
@_chunks
@_length
@click.option("--force", is_flag=True, help="Remove the checkpoint at OUT, or what was begun there, first.")
@json_option
@runs
@needs_extra
async def quantize(
    source: Path,
    out: Path,
    type_: str,
    given: Path | None,
    texts: Path | None,
    tokenizer: Path | None,
    chunks: int,
    length: int,
    force: bool,
    as_json: bool,
) -> None:
    """Make a smaller GGUF file of a checkpoint of any format; what was cut is gone on with by the same command.

    Norms and the router are not touched, attention less than the experts. A matrix of importance, from --importance
    or measured on --texts, makes 4 bits and fewer better; the narrowest types need one.

    Example: voxpop weights quantize grok-1/ckpt-0 grok-1-q4.gguf --type Q4_K_M --texts posts.jsonl
    """
    from voxpop.weights import importance, narrowing
    from voxpop.weights.formats.opening import opened
    from voxpop.weights.quantise import Count

    if given and texts:
        raise UsageError("--importance and --texts were both given.", "Give one of them.")
    chosen, count, say = mix(type_), Count(), teller(as_json)
    with ThreadPoolExecutor(1, "weights") as pool:
        checkpoint = await apart(pool, lambda: opened(source))
        words = await apart(pool, lambda: narrowing.words_of(checkpoint, source, tokenizer))
        if words is None:
            warn_wordless(source)
        matrix = await apart(pool, lambda: importance.read(given, checkpoint.shape)) if given else None
        if texts:
            matrix = await apart(pool, lambda: _measured(checkpoint, words, texts, chunks, length, say))
        steps = narrowing.narrowed(
            checkpoint, source, out, chosen, words=words, importance=matrix, force=force, count=count
        )
        async for step in stepwise(pool, steps):
            say(step.text())
    say("")
    _report(checkpoint, out, type_, matrix, count, as_json)


@weights.command("importance")
@click.argument("source", type=_PATH)
@click.argument("out", type=_PATH)
@_texts
@_tokenizer
@_chunks
@_length
@json_option
@runs
@needs_extra
async def importance_(
    source: Path,
    out: Path,
    texts: Path | None,
    tokenizer: Path | None,
    chunks: int,
    length: int,
    as_json: bool,
) -> None:
    """Measure on posts how much each input of each layer matters, for 'weights quantize' or llama-quantize.

    Without --texts the posts are invented ones, which do for a model of 'weights make'.

    Example: voxpop weights importance grok-1/ckpt-0 grok-1-importance.gguf --texts posts.jsonl
    """
    from voxpop.weights import narrowing
    from voxpop.weights.formats.opening import opened

    say = teller(as_json)
    with ThreadPoolExecutor(1, "weights") as pool:
        checkpoint = await apart(pool, lambda: opened(source))
        words = await apart(pool, lambda: narrowing.words_of(checkpoint, source, tokenizer))
        matrix = await apart(pool, lambda: _measured(checkpoint, words, texts, chunks, length, say))
        await apart(pool, lambda: matrix.write(out))
    say("")
    row = {"path": str(out), "chunks": matrix.chunks, "length": matrix.length, "unmet": matrix.unmet()}
    if as_json:
        click.echo(orjson.dumps(row).decode())
        return
    read = f"{matrix.chunks} chunks of {matrix.length} tokens of {', '.join(matrix.texts)}"
    click.echo(f"{out}: {read}.{_unmet(matrix)}")


def _measured(
    checkpoint: "Source",
    words: "Words | None",
    texts: Path | None,
    chunks: int,
    length: int,
    say: Callable[[str], None],
) -> "Importance":
    """On a file of texts, else on invented posts."""
    from voxpop.weights import narrowing
    from voxpop.weights.posts_file import posts_in

    given, name = (posts_in(texts), texts.name) if texts else (posts_of(None), "invented posts")
    tell = _layers(say)
    return narrowing.measured(checkpoint, words, given, name=name, chunks=chunks, length=length, tell=tell)


def _report(
    checkpoint: "Source", out: Path, type_: str, matrix: "Importance | None", count: "Count", as_json: bool
) -> None:
    from voxpop.weights.narrowing import summary

    size, fell = size_of(checkpoint.shape, mix(type_)), fallen(checkpoint.shape, mix(type_))
    if as_json:
        row = {
            "path": str(out),
            "type": type_.upper(),
            "bytes": out.stat().st_size,
            "bits": size.bits,
            "fell": fell,
            "exact": count.exact,
            "rounded": count.rounded,
        }
        click.echo(orjson.dumps(row).decode())
        return
    click.echo(summary(checkpoint, mix(type_)) + (_unmet(matrix) if matrix else ""))
    if count.exact or count.rounded:
        blocks = f"{count.exact:,} blocks of 32 int8 without a loss, {count.rounded:,} rounded anew"
        click.echo(f"Of what this run wrote: {blocks}.")
    click.echo(f"{out} is written.")


def _unmet(matrix: "Importance") -> str:
    count = matrix.unmet()
    return f"\n{count} experts were never chosen: more text would measure them." if count else ""


def _layers(say: Callable[[str], None]) -> Callable[[int, int], None]:
    return lambda done, total: say(f"importance: layer {done} of {total}")
