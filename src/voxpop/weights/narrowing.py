"""A smaller GGUF file from any checkpoint: each kind of tensor in the type of a mix, weighed by importance.

It refuses, before it writes, a mix that needs a matrix of importance and got none, and texts without a tokenizer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError
from voxpop.weights import importance as importances
from voxpop.weights.converting import Progress, written
from voxpop.weights.formats.gguf_grok import GgufSink, GgufSource
from voxpop.weights.formats.gguf_keys import Pieces
from voxpop.weights.formats.tokenizer import beside, opened, template_beside
from voxpop.weights.grok import Grok
from voxpop.weights.importance import Importance
from voxpop.weights.mixes import Mix, Size, fallen, size_of
from voxpop.weights.quantise import Count
from voxpop.weights.tensors import Source

_A_TOKEN = 32  # bytes of a token in the header: its text, score and kind


@dataclass(frozen=True, slots=True)
class Words:
    """How a checkpoint speaks: its pieces, the template of its chats, and text to tokens."""

    pieces: Pieces
    template: str
    encode: Callable[[str], list[int]]


def words_of(source: Source, path: Path, tokenizer: Path | None = None) -> Words | None:
    """What the file `tokenizer` says, else a GGUF source itself, else the tokenizer beside it; None without any.

    Raises VoxpopError for a tokenizer that is damaged or of another model.
    """
    inside = source.words() if tokenizer is None and isinstance(source, GgufSource) else None
    if inside is not None:
        from voxpop.engines.gguf_file import GgufFile
        from voxpop.engines.vocabulary import Vocabulary

        return Words(*inside, Vocabulary(GgufFile(path).card()).encode)
    file = tokenizer or beside(path)
    if file is None:
        return None
    found = opened(path, file)
    found.check(source.shape)
    return Words(found.pieces, template_beside(file), found.encode)


def tokens_of(words: Words | None, texts: Iterable[str], most: int) -> list[int]:
    """At most `most` tokens of texts. Raises UsageError where there is no tokenizer."""
    if words is None:
        raise UsageError("There is no tokenizer to read the texts with.", "Give --tokenizer tokenizer.model.")
    tokens: list[int] = []
    for text in texts:
        tokens += words.encode(text + "\n")
        if len(tokens) >= most:
            break
    return tokens[:most]


def measured(
    source: Source,
    words: Words | None,
    texts: Iterable[str],
    *,
    name: str,
    chunks: int,
    length: int,
    tell: Callable[[int, int], None],
) -> Importance:
    """The matrix of importance of a checkpoint over the first `chunks` of `length` tokens of texts of that name."""
    tokens = tokens_of(words, texts, chunks * length)
    return importances.gathered(source, tokens, length=length, texts=(name,), tell=tell)


def narrowed(
    source: Source,
    path: Path,
    out: Path,
    chosen: Mix,
    *,
    words: Words | None = None,
    importance: Importance | None = None,
    force: bool = False,
    count: Count | None = None,
) -> Iterator[Progress]:
    """Write the tensors of the checkpoint at `path` to the GGUF file `out`, or go on with it.

    `count` is told what became of int8 in this run. Raises UsageError for a mix that needs importance and has none,
    and as `converting.written` does.
    """
    if chosen.needs_importance and importance is None:
        raise UsageError(
            f"{chosen.name} is worthless without a matrix of importance.",
            "Give --texts with posts, or --importance with a file of: voxpop weights importance.",
        )
    what: dict[str, Any] = {"format": "gguf", "type": chosen.name}
    if importance is not None:
        about = {"chunks": importance.chunks, "length": importance.length, "texts": importance.texts}
        what["importance"] = {**about, "sha256": importance.sha256()}

    def sink() -> GgufSink:
        begun = GgufSink(
            out,
            source.shape,
            chosen,
            vocabulary=words.pieces if words else None,
            template=words.template if words else "",
            importance=importance.weights() if importance else None,
        )
        if count is not None:
            begun.count = count
        return begun

    return written(source, path, out, sink, need=gguf_bytes(source.shape, chosen), what=what, force=force)


def gguf_bytes(shape: Grok, chosen: Mix) -> int:
    """What a GGUF file will weigh, to a few kilobytes."""
    return size_of(shape, chosen).bytes + _A_TOKEN * shape.vocabulary


def table(size: Size, fell: Mapping[str, tuple[str, str]]) -> str:
    """What the file is made of, as a person reads it; `fell`: parts whose rows no block of their type divides."""
    rows = [f"{'kind':<10} {'type':<8} {'weights':>16} {'bits':>6} {'bytes':>16}"]
    for share in size.shares:
        bits = 8 * share.bytes / share.parameters
        rows.append(f"{share.kind:<10} {share.type:<8} {share.parameters:>16,} {bits:>6.2f} {share.bytes:>16,}")
    weights = sum(share.parameters for share in size.shares)
    rows.append(f"{'all':<19} {weights:>16,} {size.bits:>6.2f} {size.bytes:>16,}")
    for part, (asked, given) in fell.items():
        rows.append(f"{part}: its rows are no multiple of 256, so that it is {given} and not {asked}.")
    return "\n".join(rows)


def summary(source: Source, chosen: Mix) -> str:
    """`table` of a checkpoint under a mix."""
    return table(size_of(source.shape, chosen), fallen(source.shape, chosen))
