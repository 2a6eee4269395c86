"""Find passages in an account's files by their words: BM25 over pieces of text, read anew each time and bounded.

Words are ranked by Okapi BM25 (Robertson and Zaragoza 2009) with the usual k1 = 1.2 and b = 0.75. It knows words,
not meanings, and looks at no more than four mebibytes of text, the newest files first.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest

from voxpop.files import File, Files
from voxpop.text import words

_PIECE = 1_000  # characters
_MOST = 4 << 20
_K1, _B = 1.2, 0.75


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a file: its `chunk_id` is `FILE:N`, its score grows with how well it fits."""

    file_id: str
    chunk_id: str
    text: str
    score: float


async def find(files: Files, owner: str, query: str, *, ids: Sequence[str] = (), limit: int = 10) -> list[Found]:
    """The best pieces of the account's files, or of those named, best first. Raises UsageError for one unknown."""
    named = [await files.get(owner, id_) for id_ in ids] if ids else (await files.list(owner, limit=1000))[0]
    texts, left = [], _MOST
    for file in named:
        if file.made_by or file.size > left:
            continue
        left -= file.size
        texts.append((file, await files.text_of(owner, file.id, _MOST)))
    return await asyncio.to_thread(ranked, query, texts, limit)


def ranked(query: str, texts: Sequence[tuple[File, str]], limit: int) -> list[Found]:
    """The best pieces of the texts."""
    sought = set(words(query))
    pieces = [(file, n, piece) for file, text in texts for n, piece in enumerate(cut(text))]
    counts = [Counter(words(piece)) for _, _, piece in pieces]
    lengths = [sum(c.values()) for c in counts]
    usual = sum(lengths) / max(len(lengths), 1) or 1.0
    weight = {}
    for word in sought:
        having = sum(word in c for c in counts)
        weight[word] = math.log(1 + (len(counts) - having + 0.5) / (having + 0.5))
    scored = []
    for (file, n, piece), count, length in zip(pieces, counts, lengths, strict=True):
        held = _K1 * (1 - _B + _B * length / usual)
        score = sum(w * count[t] * (_K1 + 1) / (count[t] + held) for t, w in weight.items() if t in count)
        if score > 0:
            scored.append(Found(file.id, f"{file.id}:{n}", piece, score))
    return nlargest(limit, scored, key=lambda f: f.score)


def cut(text: str) -> list[str]:
    """Pieces of about a thousand characters, ended where a line or a word ends; none of them is empty."""
    pieces, at = [], 0
    while at < len(text):
        end = at + _PIECE
        if end < len(text):
            half = at + _PIECE // 2
            end = max(text.rfind("\n", half, end), text.rfind(" ", half, end)) + 1 or end
        piece = text[at:end].strip()
        if piece:
            pieces.append(piece)
        at = end
    return pieces
