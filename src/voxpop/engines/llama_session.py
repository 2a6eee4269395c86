"""Sessions over one llama.cpp model: each is a sequence, and so is each beginning that is kept; it refuses nothing.

All share one pool of places, so that a beginning is held once however many sequences begin with it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxpop.engines.llamacpp import LlamaModel, LlamaSequence
from voxpop.engines.sessions import MOST_KEPT, MOST_KEPT_TOKENS, Beginnings, Session


def places(most: int) -> int:
    """How many tokens the pool must hold where all sessions together hold at most `most`."""
    return most + MOST_KEPT_TOKENS


def sessions(model: LlamaModel, count: int) -> list[Session]:
    """`count` sessions of a model that was opened with `sequences(count)` of them."""
    spare = [model.session() for _ in range(MOST_KEPT)]

    def forget(copy: LlamaSequence) -> None:
        copy.cut(0)
        spare.append(copy)

    beginnings = Beginnings(forget)
    return [Session(_State(model.session(), spare), beginnings) for _ in range(count)]


def sequences(count: int) -> int:
    """How many sequences the model needs for `count` sessions."""
    return count + MOST_KEPT


class _State:
    """A sequence; a copy of it is a spare sequence with the same places."""

    def __init__(self, sequence: LlamaSequence, spare: list[LlamaSequence]) -> None:
        self._sequence, self._spare = sequence, spare

    def feed(self, tokens: Sequence[int], rows: int) -> NDArray[np.float32]:
        return self._sequence.feed(tokens, rows)

    def take_back(self, count: int) -> None:
        self._sequence.cut(len(self._sequence) - count)

    def copy(self) -> LlamaSequence:
        copy = self._spare.pop()
        copy.take(self._sequence)
        return copy

    def begin(self, length: int, copy: LlamaSequence | None = None) -> None:
        if copy is not None:
            self._sequence.take(copy)
        self._sequence.cut(length)
