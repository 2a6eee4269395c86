"""What a sequence of tokens holds, and the beginnings that are kept for all; the runtime below computes.

It refuses nothing and decides nothing: which token comes next, and whose turn it is, is the caller's choice.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_LEAST_REUSE = 8
MOST_KEPT = 4096  # tokens of all beginnings together


class State(Protocol):
    """The keys and values of one sequence, in some runtime."""

    def feed(self, tokens: Sequence[int], rows: int) -> NDArray[np.float32]:
        """Append `tokens`; the logits [rows, vocabulary] after the last `rows` of them."""
        ...

    def take_back(self, count: int) -> None:
        """Forget the last `count` tokens, a few."""
        ...

    def copy(self) -> Any:
        """What it holds now, to be begun with later, by any state of the same model."""
        ...

    def begin(self, length: int, copy: Any = None) -> None:
        """Hold the first `length` tokens of `copy`, or of what it holds now, and nothing else."""
        ...


class Beginnings:
    """Copies of the beginnings that were kept, the last used of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def longest(self, tokens: Sequence[int], most: int) -> tuple[int, ...]:
        """The longest that `tokens` begins with, of at most `most`; empty where there is none."""
        return max((b for b in self._kept if shared(b, tokens) == len(b) <= most), key=len, default=())

    def take(self, tokens: tuple[int, ...]) -> Any:
        """The copy of one that `longest` gave."""
        self._kept.move_to_end(tokens)
        return self._kept[tokens]

    def keep(self, tokens: tuple[int, ...], copy: Callable[[], Any]) -> None:
        """Keep one; what was not used for longest goes."""
        if len(tokens) > MOST_KEPT or tokens in self._kept:
            return
        while sum(map(len, self._kept)) + len(tokens) > MOST_KEPT:
            self._kept.popitem(last=False)
        self._kept[tokens] = copy()


class Session:
    """One sequence. Not for several threads at once, nor two sessions of one model at the same time."""

    def __init__(self, state: State, beginnings: Beginnings) -> None:
        self._state, self._beginnings = state, beginnings
        self._tokens: list[int] = []

    def __len__(self) -> int:
        """How many tokens it holds."""
        return len(self._tokens)

    def reuse(self, tokens: Sequence[int]) -> int:
        """How many first tokens of `tokens` it holds already."""
        return min(shared(self._tokens, tokens), len(tokens) - 1)

    def clear(self) -> None:
        """Hold nothing."""
        self._begin([])

    def begin(self, tokens: Sequence[int]) -> int:
        """Take up the longest kept beginning of `tokens`, at most all but one; returns its length."""
        living, kept = self.reuse(tokens), self._beginnings.longest(tokens, len(tokens) - 1)
        if max(living, len(kept)) < _LEAST_REUSE:
            self.clear()
        elif living >= len(kept):
            self._begin(self._tokens[:living])
        else:
            self._begin(kept, self._beginnings.take(kept))
        return len(self._tokens)

    def feed(self, tokens: Sequence[int], rows: int = 1) -> NDArray[np.float32]:
        """Append `tokens`; returns the logits [rows, vocabulary] of the last `rows` of them."""
        logits = self._state.feed(tokens, rows)
        self._tokens += tokens
        return logits

    def take_back(self, count: int) -> None:
        """Forget the last `count` tokens."""
        if count:
            self._state.take_back(count)
            del self._tokens[-count:]

    def keep_beginning(self) -> None:
        """Keep the present tokens for later sequences that begin with them."""
        self._beginnings.keep(tuple(self._tokens), self._state.copy)

    def _begin(self, tokens: Sequence[int], copy: Any = None) -> None:
        self._state.begin(len(tokens), copy)
        self._tokens = list(tokens)


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))
