"""The folder of a small model that was made: xAI's checkpoint, its vocabulary, its template, and how it came to be.

The checkpoint gets its name last: before that nothing can be taken for a model. A folder with anything in it is
refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from voxpop.errors import UsageError
from voxpop.weights.formats.tokenizer import FILE, TEMPLATE, Tokenizer, trained
from voxpop.weights.formats.xai import FOLDER, XaiSink
from voxpop.weights.making.lessons import CHAT, Texts, divided, framed
from voxpop.weights.making.model import Recipe, Report, Step, taught
from voxpop.weights.tensors import Source

RECORD = "made.json"
_FRAMES = 2000


def made(out: Path, posts: Sequence[str], recipe: Recipe, tell: Callable[[Step], None] = lambda _: None) -> Report:
    """Make a model that learns from `posts`, and write it to `out`.

    Raises UsageError where `out` is taken or there are too few posts; VoxpopError where it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"There is something at {out} already.", "Name another folder.")
    vocabulary = spoken(posts, recipe)
    weights, report = taught(recipe, Texts(posts, Tokenizer(vocabulary), recipe.seed), tell)
    out.mkdir(parents=True, exist_ok=True)
    (out / FILE).write_bytes(vocabulary)
    (out / TEMPLATE).write_text(CHAT, "utf-8")
    record = {"recipe": asdict(replace(recipe, steps=report.steps)), "report": asdict(report)}
    (out / RECORD).write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))
    written(out, weights)
    return report


def spoken(posts: Sequence[str], recipe: Recipe) -> bytes:
    """A vocabulary of the posts and of the frame in which an engine is asked; none of what is held back."""
    known, _ = divided(posts, recipe.seed)
    frames = [lesson.before + lesson.after for lesson in framed(known, recipe.seed, _FRAMES)]
    return trained([*known, *frames], recipe.shape.vocabulary)


def written(out: Path, weights: Source) -> None:
    """Only the checkpoint."""
    sink = XaiSink(out / FOLDER, weights.shape)
    for name in weights.shape.specs:
        sink.write(name, weights.read(name))
    sink.close()
