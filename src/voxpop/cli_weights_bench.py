"""`voxpop weights bench`: how good and how fast files of a model are, beside one another; it prints and draws."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from voxpop.cli_options import json_option, runs
from voxpop.cli_weights import needs_extra, teller, weights
from voxpop.errors import UsageError

if TYPE_CHECKING:
    from voxpop.weights.proving.measuring import Model

_PATH = click.Path(exists=True, path_type=Path)
_CONTEXT = 1024
_HEAD = ("file", "MB", "bits", "perplexity", "KL", "KL 99 %", "top-1", "prompt/s", "answer/s")


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of a file; speeds are tokens a second at batch 1, what was not measured is nan."""

    path: str
    engine: str
    bytes: int
    bits: float
    tokens: int
    perplexity: float
    kl: float
    kl_99: float
    agrees: float
    prompt: float
    answer: float


@weights.command("bench")
@click.argument("files", nargs=-1, required=True, type=_PATH)
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A text a line, or JSON lines with 'text'; else invented posts, new to 'make'.")  # fmt: skip
@click.option("--reference", type=_PATH, help="A checkpoint to compare with, in float32. Without it, no KL.")
@click.option(
    "--tokenizer", type=_PATH, help="The tokenizer.model; without it, the one beside the first checkpoint."
)
@click.option("--most", type=click.IntRange(1, 10**6), default=100, show_default=True, help="Texts at most.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw KL against bits here (SVG).")
@click.option("--threads", type=click.IntRange(0, 1024), default=0, help="Of llama.cpp; 0: every physical core.")
@json_option
@runs
@needs_extra
async def bench(
    files: tuple[Path, ...],
    texts: Path | None,
    reference: Path | None,
    tokenizer: Path | None,
    most: int,
    plot: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Measure files of a model: perplexity, distance from a reference, tokens a second, size.

    A GGUF file runs in llama.cpp, as it would be served; any other checkpoint in PyTorch, in float32.

    Example: voxpop weights bench small-grok.Q4_K_M.gguf --reference small-grok
    """
    if plot and not reference:
        raise UsageError("The plot shows KL, and there is no reference.", "Give --reference.")
    rows = await asyncio.to_thread(_rows, files, texts, reference, tokenizer, most, threads, teller(as_json))
    if plot:
        await asyncio.to_thread(_draw, rows, plot)
    if as_json:
        told = [{k: None if isinstance(v, float) and isnan(v) else v for k, v in asdict(r).items()} for r in rows]
        click.echo(orjson.dumps({"files": told}).decode())
        return
    for line in _table(rows):
        click.echo(line)


def _draw(rows: Sequence[Row], path: Path) -> None:
    from voxpop.weights.proving.measuring import drawn

    path.write_text(drawn([(Path(row.path).name, row.bits, row.kl) for row in rows]), "utf-8")


def _rows(
    files: Sequence[Path],
    texts: Path | None,
    reference: Path | None,
    named: Path | None,
    most: int,
    threads: int,
    say: Callable[[str], None],
) -> list[Row]:
    from voxpop.cli_weights_make import posts_of
    from voxpop.weights.formats.opening import opened
    from voxpop.weights.formats.tokenizer import opened as spoken
    from voxpop.weights.making.lessons import BOS
    from voxpop.weights.proving.measuring import InTorch, Remembered

    vocabulary = spoken(reference or files[0], named)
    posts = sorted({text.strip() for text in posts_of(texts, unseen=True)} - {""})
    step = max(1, len(posts) // most)
    said = [[BOS, *vocabulary.encode(text)][:_CONTEXT] for text in posts[::step][:most]]
    truth = Remembered(InTorch(opened(reference))) if reference else None
    return [_row(path, said, truth, threads, say) for path in files]


def _row(
    path: Path, said: Sequence[Sequence[int]], truth: "Model | None", threads: int, say: Callable[[str], None]
) -> Row:
    from voxpop.weights.formats.opening import opened
    from voxpop.weights.proving.measuring import quality, speed

    with _running(path, threads) as (engine, model):
        found = quality(model, said, truth, lambda done, all_: say(f"{path.name}: {done} of {all_} texts"))
        say(f"{path.name}: how fast…")
        pace = speed(model, said)
    say("")
    size = sum(p.stat().st_size for p in ([path] if path.is_file() else sorted(path.rglob("*"))) if p.is_file())
    bits = 8 * size / opened(path).shape.parameters
    return Row(str(path), engine, size, bits, *asdict(found).values(), *asdict(pace).values())


@contextmanager
def _running(path: Path, threads: int) -> "Iterator[tuple[str, Model]]":
    from voxpop.weights.formats.opening import format_of, opened
    from voxpop.weights.proving.measuring import InTorch, in_llama_cpp

    if format_of(path) == "gguf":
        with in_llama_cpp(path, context=_CONTEXT, threads=threads) as model:
            yield "llama.cpp", model
    else:
        yield "torch", InTorch(opened(path))


def _table(rows: Sequence[Row]) -> Iterator[str]:
    cells = [_HEAD, *(_cells(row) for row in rows)]
    wide = [max(len(line[i]) for line in cells) for i in range(len(_HEAD))]
    for line in cells:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, wide, strict=True))
        )
        yield "  ".join((first, *rest)).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    def said(value: float, form: str) -> str:
        return "-" if isnan(value) else format(value, form)

    return (
        Path(row.path).name,
        said(row.bytes / 1e6, ",.1f"),
        said(row.bits, ".2f"),
        said(row.perplexity, ".3f"),
        said(row.kl, ".2e"),
        said(row.kl_99, ".2e"),
        said(row.agrees, ".1%"),
        said(row.prompt, ",.0f"),
        said(row.answer, ",.0f"),
    )
