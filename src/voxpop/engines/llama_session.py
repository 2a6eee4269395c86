"""Sessions over one llama.cpp model, each a sequence of it; it decides nothing and refuses nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxpop.engines.llamacpp import Copy, LlamaModel, LlamaSequence
from voxpop.engines.sessions import Beginnings, Session


def sessions(model: LlamaModel, count: int) -> list[Session]:
    """`count` sessions of a model that has as many sequences."""
    beginnings = Beginnings()
    return [Session(_State(model.session()), beginnings) for _ in range(count)]


class _State:
    """The keys and values of one sequence."""

    def __init__(self, sequence: LlamaSequence) -> None:
        self._sequence = sequence

    def feed(self, tokens: Sequence[int], rows: int) -> NDArray[np.float32]:
        return self._sequence.feed(tokens, rows)

    def take_back(self, count: int) -> None:
        self._sequence.cut(len(self._sequence) - count)

    def copy(self) -> Copy:
        return self._sequence.copy()

    def begin(self, length: int, copy: Copy | None = None) -> None:
        if copy is not None:
            self._sequence.begin(copy)
        self._sequence.cut(length)
