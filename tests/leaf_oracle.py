"""What Python's own pickle machine makes of a file of xAI's checkpoint, for those that we accept."""

import io
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.weights.formats import pickles
from voxpop.weights.tensors import Quantised

Parts = list[tuple[str, tuple[int, ...], bytes]]


@dataclass
class QuantizedWeight8bit:
    weight: Any
    scales: Any


QuantizedWeight8bit.__module__ = "__main__"  # as in the release


def parts(found: NDArray[Any] | Quantised) -> Parts:
    arrays = [found.weight, found.scales] if isinstance(found, Quantised) else [found]
    return [(str(a.dtype), a.shape, a.tobytes()) for a in arrays]


class Type:
    """numpy's own would set the flags of the one bfloat16 that a process has, and with them its hash."""

    def __init__(self, kind: Any, *_: bool) -> None:
        self.dtype = np.dtype(kind)

    def __setstate__(self, state: Any) -> None:
        assert state[1] in "<|"


class Array:
    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, type_, turned, data = state
        self.array = np.frombuffer(data, type_.dtype).reshape(shape, order="F" if turned else "C")


def from_buffer(data: bytes, type_: Type, shape: tuple[int, ...], order: Any) -> Array:
    made = Array()
    made.__setstate__((1, shape, type_, order == "F", data))
    return made


class Oracle(pickle.Unpickler):
    """Python's own machine, for files that we accept."""

    def find_class(self, module: str, name: str) -> Any:
        assert f"{module} {name}" in pickles._GLOBALS
        ours = {
            "QuantizedWeight8bit": QuantizedWeight8bit,
            "dtype": Type,
            "_reconstruct": Array,
            "_frombuffer": from_buffer,
        }
        return ours.get(name) or super().find_class(module, name)


def known(data: bytes) -> Parts:
    found = Oracle(io.BytesIO(data)).load()
    if isinstance(found, QuantizedWeight8bit):
        return parts(Quantised(found.weight.array, found.scales.array))
    return parts(found.array)
