"""Do two checkpoints have one vocabulary? Piece by piece; it opens what lies in or beside them, runs nothing."""

from pathlib import Path

from voxpop.weights.formats.gguf_grok import GgufSource
from voxpop.weights.formats.gguf_keys import Pieces
from voxpop.weights.formats.tokenizer import beside, opened
from voxpop.weights.tensors import Source


def same_words(found: Source, path: Path, due: Source, source: Path) -> tuple[str, list[str]]:
    """What to say of the tokenizer of the checkpoint at `path`, which was made from `source`, and what is wrong.

    Raises VoxpopError for one that is damaged.
    """
    ours, theirs = _pieces(found, path), _pieces(due, source)
    if ours is None or theirs is None:
        lacking = path if ours is None else source
        return f"not compared: there is none in or beside {lacking}", []
    wrong = []
    if len(ours.texts) != found.shape.vocabulary:
        wrong.append(f"The tokenizer has {len(ours.texts)} pieces, the model {found.shape.vocabulary} tokens.")
    for what, is_, must in (
        ("text", ours.texts, theirs.texts),
        ("score", ours.scores, theirs.scores),
        ("kind", ours.kinds, theirs.kinds),
    ):
        pairs = zip(is_, must, strict=False)
        token = next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(is_), len(must)))
        if token < max(len(is_), len(must)):
            a, b = (f"{list_[token]!r:.60}" if token < len(list_) else "none" for list_ in (is_, must))
            wrong.append(f"Token {token} has the {what} {a} and must have {b}, as in the source's tokenizer.")
    marks = ("bos", "eos", "unknown")
    for mark in marks:
        if getattr(ours, mark) != getattr(theirs, mark):
            wrong.append(f"The token for {mark} is {getattr(ours, mark)} and must be {getattr(theirs, mark)}.")
    return ("as the source's" if not wrong else "WRONG"), wrong


def _pieces(checkpoint: Source, path: Path) -> Pieces | None:
    inside = checkpoint.words() if isinstance(checkpoint, GgufSource) else None
    if inside is not None:
        return inside[0]
    file = None if isinstance(checkpoint, GgufSource) else beside(path)
    return opened(path, file).pieces if file else None
