"""Hold one sequence of tokens in a compiled model: feed it, take tokens back, keep fixed beginnings.

It refuses nothing and decides nothing: which token comes next is the caller's choice.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.engines.openvino_quiet import ov

_CHUNK = 256
_LEAST_REUSE = 8
_KEPT_BEGINNINGS = 24
_UNSEEN = np.float32(-3e38)


class Session:
    """Not for several threads at once. `threads` 0 leaves the number to OpenVINO (the physical cores)."""

    def __init__(self, xml: Path, *, threads: int = 0, group: int = 128) -> None:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group),
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core: Any = ov.Core()
        self._request = core.compile_model(xml, "CPU", settings).create_infer_request()
        self._tokens: list[int] = []
        self._seen: list[bool] = []
        self._beginnings: OrderedDict[tuple[int, ...], list[NDArray[np.float32]]] = OrderedDict()

    def begin(self, tokens: Sequence[int]) -> int:
        """Take up the longest kept beginning of `tokens`, at most all but one; returns its length."""
        most = len(tokens) - 1
        living = min(_shared(self._tokens[: self._unbroken()], tokens), most)
        kept = max((b for b in self._beginnings if _shared(b, tokens) == len(b) <= most), key=len, default=())
        if max(living, len(kept)) < _LEAST_REUSE:
            self._request.reset_state()
            self._hold([])
        elif living >= len(kept):
            self._load([state.state.data[:, :, :living] for state in self._request.query_state()])
            self._hold(tokens[:living])
        else:
            self._beginnings.move_to_end(kept)
            self._load(self._beginnings[kept])
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

    def read(self, tokens: Sequence[int], stopped: Callable[[], bool]) -> NDArray[np.float32] | None:
        """Feed a long text in pieces, asking before each whether to go on; None where it was stopped."""
        logits = None
        for first in range(0, len(tokens), _CHUNK):
            if stopped():
                return None
            logits = self.feed(tokens[first : first + _CHUNK])
        return logits

    def take_back(self, count: int) -> None:
        """Forget the last `count` tokens: their place stays in the state, and nothing looks at it again."""
        for place in range(len(self._seen) - count, len(self._seen)):
            self._seen[place] = False

    def keep_beginning(self) -> None:
        """Keep the present tokens' keys and values for later sequences that begin with them."""
        self._beginnings[tuple(self._tokens)] = [s.state.data.copy() for s in self._request.query_state()]
        while len(self._beginnings) > _KEPT_BEGINNINGS:
            self._beginnings.popitem(last=False)

    def _unbroken(self) -> int:
        return self._seen.index(False) if False in self._seen else len(self._seen)

    def _hold(self, tokens: Sequence[int]) -> None:
        self._tokens, self._seen = list(tokens), [True] * len(tokens)

    def _load(self, values: Sequence[NDArray[np.float32]]) -> None:
        for state, value in zip(self._request.query_state(), values, strict=True):
            state.state = ov.Tensor(np.ascontiguousarray(value))


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))
