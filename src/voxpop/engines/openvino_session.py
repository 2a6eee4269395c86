"""A compiled OpenVINO model, and the keys and values of its sequences; it decides nothing and refuses nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.engines.openvino_quiet import ov
from voxpop.engines.sessions import Beginnings, Session

_UNSEEN = np.float32(-3e38)
_Values = list[NDArray[np.float32]]


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

    def session(self) -> Session:
        """A sequence of its own over the same weights."""
        return Session(_State(self._model.create_infer_request()), self._beginnings)


class _State:
    """Keys and values in an inference request. What is taken back keeps its place; nothing looks at it again."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._seen = np.ones(0, bool)

    def feed(self, tokens: Sequence[int], rows: int) -> NDArray[np.float32]:
        count, past = len(tokens), len(self._seen)
        mask = np.empty((1, 1, count, past + count), np.float32)
        mask[..., :past] = np.where(self._seen, np.float32(0), _UNSEEN)
        mask[..., past:] = np.triu(np.full((count, count), _UNSEEN), 1)
        place = int(self._seen.sum())
        self._request.infer(
            {
                "ids": np.array([tokens], np.int64),
                "pos": np.arange(place, place + count, dtype=np.int64)[None],
                "mask": mask,
                "keep": np.array([rows], np.int64),
            },
            share_inputs=True,
        )
        self._seen = np.append(self._seen, np.ones(count, bool))
        logits: NDArray[np.float32] = self._request.get_output_tensor(0).data[0]
        return logits

    def take_back(self, count: int) -> None:
        self._seen[np.flatnonzero(self._seen)[-count:]] = False

    def copy(self) -> _Values:
        return [np.ascontiguousarray(s.state.data[:, :, self._seen]) for s in self._request.query_state()]

    def begin(self, length: int, copy: _Values | None = None) -> None:
        if length:
            for state, value in zip(self._request.query_state(), copy or self.copy(), strict=True):
                state.state = ov.Tensor(np.ascontiguousarray(value[:, :, :length]))
        else:
            self._request.reset_state()
        self._seen = np.ones(length, bool)
