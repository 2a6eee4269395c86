"""Hold sequences of tokens in a compiled model: feed one, take tokens back, keep fixed beginnings for all.

It refuses nothing and decides nothing: which token comes next, and whose turn it is, is the caller's choice.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.engines.openvino_quiet import ov

_LEAST_REUSE = 8
_KEPT_TOKENS = 4096
_UNSEEN = np.float32(-3e38)
_State = list[NDArray[np.float32]]


class Beginnings:
    """Keys and values of the beginnings that were kept, the last used of them, no more than `most` tokens."""

    def __init__(self, most: int = _KEPT_TOKENS) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[int, ...], _State] = OrderedDict()

    def longest(self, tokens: Sequence[int], most: int) -> tuple[int, ...]:
        """The longest that `tokens` begins with, of at most `most`; empty where there is none."""
        return max((b for b in self._kept if shared(b, tokens) == len(b) <= most), key=len, default=())

    def take(self, tokens: tuple[int, ...]) -> _State:
        """The keys and values of one that `longest` gave."""
        self._kept.move_to_end(tokens)
        return self._kept[tokens]

    def keep(self, tokens: tuple[int, ...], state: _State) -> None:
        """Keep one; what was not used for longest goes."""
        if len(tokens) > self._most:
            return
        self._kept[tokens] = state
        while sum(map(len, self._kept)) > self._most:
            self._kept.popitem(last=False)


class Compiled:
    """A model in memory, once for all sessions. `threads` 0 leaves the number to OpenVINO (the physical cores)."""

    def __init__(self, xml: Path, *, threads: int = 0, group: int = 128) -> None:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group),
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core: Any = ov.Core()
        self._model = core.compile_model(xml, "CPU", settings)
        self._beginnings = Beginnings()

    def session(self) -> "Session":
        """A sequence of its own over the same weights."""
        return Session(self._model.create_infer_request(), self._beginnings)


class Session:
    """One sequence. Not for several threads at once, nor two sessions of one model at the same time."""

    def __init__(self, request: Any, beginnings: Beginnings) -> None:
        self._request = request
        self._tokens: list[int] = []
        self._seen: list[bool] = []
        self._beginnings = beginnings

    def __len__(self) -> int:
        """How many tokens its state holds."""
        return len(self._tokens)

    def reuse(self, tokens: Sequence[int]) -> int:
        """How many first tokens of `tokens` its state holds already."""
        return min(shared(self._tokens[: self._unbroken()], tokens), len(tokens) - 1)

    def clear(self) -> None:
        """Hold nothing."""
        self._request.reset_state()
        self._hold([])

    def begin(self, tokens: Sequence[int]) -> int:
        """Take up the longest kept beginning of `tokens`, at most all but one; returns its length."""
        living, kept = self.reuse(tokens), self._beginnings.longest(tokens, len(tokens) - 1)
        if max(living, len(kept)) < _LEAST_REUSE:
            self.clear()
        elif living >= len(kept):
            self._load([state.state.data[:, :, :living] for state in self._request.query_state()])
            self._hold(tokens[:living])
        else:
            self._load(self._beginnings.take(kept))
            self._hold(kept)
        return len(self._tokens)

    def feed(self, tokens: Sequence[int], rows: int = 1) -> NDArray[np.float32]:
        """Append `tokens`; returns the logits [rows, vocabulary] of the last `rows` of them."""
        count, past = len(tokens), len(self._tokens)
        mask = np.empty((1, 1, count, past + count), np.float32)
        mask[..., :past] = np.where(np.array(self._seen, bool), np.float32(0), _UNSEEN)
        mask[..., past:] = np.triu(np.full((count, count), _UNSEEN), 1)
        place = sum(self._seen)
        self._request.infer(
            {
                "ids": np.array([tokens], np.int64),
                "pos": np.arange(place, place + count, dtype=np.int64)[None],
                "mask": mask,
                "keep": np.array([rows], np.int64),
            },
            share_inputs=True,
        )
        self._tokens += tokens
        self._seen += [True] * count
        logits: NDArray[np.float32] = self._request.get_output_tensor(0).data[0]
        return logits

    def take_back(self, count: int) -> None:
        """Forget the last `count` tokens: their place stays in the state, and nothing looks at it again."""
        for place in range(len(self._seen) - count, len(self._seen)):
            self._seen[place] = False

    def keep_beginning(self) -> None:
        """Keep the present tokens' keys and values for later sequences that begin with them."""
        self._beginnings.keep(tuple(self._tokens), [s.state.data.copy() for s in self._request.query_state()])

    def _unbroken(self) -> int:
        return self._seen.index(False) if False in self._seen else len(self._seen)

    def _hold(self, tokens: Sequence[int]) -> None:
        self._tokens, self._seen = list(tokens), [True] * len(tokens)

    def _load(self, values: Sequence[NDArray[np.float32]]) -> None:
        for state, value in zip(self._request.query_state(), values, strict=True):
            state.state = ov.Tensor(np.ascontiguousarray(value))


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))
