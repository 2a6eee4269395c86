"""`voxpop weights`: the open weights of the Grok family, from the released files to what a machine runs; it prints.

The other commands of the group stand in `cli_weights_*.py`; what they need is imported when they run.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from voxpop.cli_options import json_option, runs
from voxpop.errors import VoxpopError
from voxpop.inert import visible

if TYPE_CHECKING:
    from voxpop.weights.formats.inspecting import Inspection
    from voxpop.weights.grok import Grok

_EXTRA = {"gguf", "matplotlib", "ml_dtypes", "numpy", "safetensors", "sentencepiece", "torch", "xllamacpp"}
_SHOWN = 12
_SAY_EVERY_S, _WIDE = 0.25, 78
_T = TypeVar("_T")


def needs_extra(work: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Stands under `@runs`: what the extra `voxpop[weights]` would bring and is missing is a VoxpopError.

    So is a path or a disk that cannot be used.
    """

    @wraps(work)
    async def command(*args: Any, **kwargs: Any) -> None:
        try:
            await work(*args, **kwargs)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _EXTRA:
                raise
            cure = "Install it with: pip install 'voxpop[weights]'"
            raise VoxpopError(f"This command needs {error.name}.", cure, code="not_installed") from error
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            cure = "Check the path, its disk, and who may use it."
            raise VoxpopError(f"{where}{error.strerror or error}.", cure, code="unusable") from error

    return command


@click.group("weights")
def weights() -> None:
    """Grok's open weights: look at them, convert, verify and shrink them, and what they need to run.

    Example: voxpop weights inspect grok-1/ckpt-0
    """


@weights.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="List every tensor.")
@json_option
@runs
@needs_extra
async def inspect(path: Path, tensors: bool, as_json: bool) -> None:
    """Look at a checkpoint, in any format, without reading its numbers: sizes, types, and what is missing or wrong.

    Exit code 1 where it is not whole.

    Example: voxpop weights inspect grok-1/ckpt-0
    """
    from voxpop.weights.formats import inspecting

    say = teller(as_json or not sys.stderr.isatty())
    found = await asyncio.to_thread(inspecting.inspect, path, lambda *done: say("{:,} of {:,} files".format(*done)))
    say("")
    if as_json:
        click.echo(orjson.dumps(found.json(tensors=tensors)).decode())
    else:
        click.echo(visible(str(path)) + f": {inspecting.title(found)}, {'not whole' if found.wrong else 'whole'}")
        for line in _told(found, tensors):
            click.echo(visible(line))  # a file's names and texts are whoever's who made it
    if found.wrong:
        sys.exit(1)


def warn_wordless(source: Path) -> None:
    """Say, before hours of work, that a GGUF file of a checkpoint without a tokenizer reads no text."""
    click.echo(
        f"Warning: {source} has no tokenizer, and without one no program reads text with the file. Stop, and give"
        " --tokenizer; Grok-1's own: voxpop weights tokenizer.",
        err=True,
    )


def teller(as_json: bool) -> Callable[[str], None]:
    """What says on a line of its own how far it is, a few times a second; "" empties the line. JSON has none."""
    said = 0.0

    def say(text: str) -> None:
        nonlocal said
        if not as_json and (not text or time.monotonic() - said >= _SAY_EVERY_S):
            said = time.monotonic()
            click.echo(f"\r{text:<{_WIDE}}" + "\r" * (not text), nl=False, err=True)

    return say


async def stepwise(pool: ThreadPoolExecutor, steps: Iterator[_T]) -> AsyncIterator[_T]:
    """The same, each step in the pool's one thread, so that Ctrl-C is heard meanwhile."""
    while (step := await apart(pool, lambda: next(steps, None))) is not None:
        yield step


async def apart(pool: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    """What `work` gives, in the pool's one thread."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def _told(found: "Inspection", tensors: bool) -> Iterator[str]:
    if found.shape:
        yield from _sizes(found.shape)
    if "files" in found.facts:
        size = found.facts["file_bytes"]
        number = found.facts["files"]
        yield f"  {number:,} file{'s' * (number != 1)}, {size / 1e9:,.2f} GB ({size:,} bytes)"
    yield from (f"  {key}: {value}" for key, value in found.facts.items() if isinstance(value, str))
    if found.rows:
        yield ""
        yield from _table(found)
    if tensors:
        yield ""
        wide = max((len(row.name) for row in found.rows), default=0)
        for row in found.rows:
            yield f"  {row.name:<{wide}} {row.bytes:>15,} bytes  {row.stored:<40} {list(row.shape)}"
    yield ""
    for doubt in found.doubts:
        yield f"  Note: {doubt}."
    for fault in found.wrong[:_SHOWN]:
        yield f"  Wrong: {fault.rstrip('.')}."
    if len(found.wrong) > _SHOWN:
        yield f"  ... and {len(found.wrong) - _SHOWN} more; --json has all."
    yield f"  {'Once that is mended' if found.wrong else 'Next'}: {found.next()}"


def _sizes(shape: "Grok") -> Iterator[str]:
    from voxpop.weights.grok import GROK_1

    name = "Grok-1" if shape == GROK_1 else "a model of Grok-1's architecture"
    heads = f"{shape.heads} heads of {shape.head_width} ({shape.kv_heads} for keys)"
    experts = f"{shape.experts} experts of {shape.feed_forward:,} ({shape.chosen} chosen)"
    yield f"  {name}: {shape.layers} layers of {shape.width:,}, {heads}, {experts},"
    yield f"  {shape.vocabulary:,} tokens, a context of {shape.context:,}"
    share = shape.active / shape.parameters
    yield f"  {shape.parameters:,} parameters, {shape.active:,} ({share:.1%}) touched for each token"


def _table(found: "Inspection") -> Iterator[str]:
    yield f"  {'kind':<10} {'tensors':>7} {'parameters':>16} {'bytes':>16}  stored as"
    kinds = found.kinds()
    for row in kinds:
        stored = [f"{how} ({count})" if len(row["stored"]) > 1 else how for how, count in row["stored"].items()]
        first, *more = stored
        yield f"  {row['kind']:<10} {row['tensors']:>7,} {row['parameters']:>16,} {row['bytes']:>16,}  {first}"
        yield from (" " * 55 + how for how in more)
    total = [sum(row[what] for row in kinds) for what in ("tensors", "parameters", "bytes")]
    yield f"  {'all':<10} {total[0]:>7,} {total[1]:>16,} {total[2]:>16,}"
