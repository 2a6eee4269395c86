"""What a stored tensor is, whatever file it lies in, and its values as float32; it opens no file.

A reader gives views of mapped files: nothing is copied until a piece is turned into numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from voxpop.errors import VoxpopError
from voxpop.weights.grok import Grok

bfloat16 = np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True, slots=True)
class Quantised:
    """int8 [..., K, N] with bfloat16 scales [..., G, N]: row k of K has the scale of group k // (K / G)."""

    weight: NDArray[np.int8]
    scales: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows as ggml packs them, uint8 [..., rows, bytes of a row], of ggml's type number `type`.

    `turned`: a row is a column of the canonical tensor (every linear layer and expert; not the embedding).
    """

    data: NDArray[np.uint8]
    type: int
    turned: bool = True


Tensor = NDArray[Any] | Quantised | Packed


class Source(Protocol):
    """A checkpoint to read, in any format."""

    @property
    def shape(self) -> Grok:
        """Its sizes."""
        ...

    def read(self, name: str) -> Tensor:
        """A tensor by its canonical name, in the canonical shape; mapped, not copied."""
        ...


class Sink(Protocol):
    """A checkpoint that is being written, tensor by tensor; one that was cut is gone on with."""

    def done(self) -> Mapping[str, str]:
        """The tensors that an earlier run wrote whole, each with its SHA-256."""
        ...

    def write(self, name: str, tensor: Tensor) -> str:
        """Store a tensor; returns the SHA-256 (hex) of the bytes that it became."""
        ...

    def close(self) -> None:
        """All are there: the checkpoint gets its name. Before this, nothing can be taken for a whole one."""
        ...


class Held:
    """A checkpoint in memory."""

    def __init__(self, shape: Grok, tensors: dict[str, Tensor]) -> None:
        self._shape, self._tensors = shape, tensors

    @property
    def shape(self) -> Grok:
        return self._shape

    def read(self, name: str) -> Tensor:
        return self._tensors[name]


class Hollow:
    """A checkpoint as xAI stores it, every number 0, that takes no memory: for a dry run of any size."""

    def __init__(self, shape: Grok) -> None:
        self.shape = shape

    def read(self, name: str) -> Tensor:
        spec = self.shape.specs[name]
        if not spec.int8:
            return np.broadcast_to(np.float32(0), spec.shape)
        return Quantised(np.broadcast_to(np.int8(0), spec.shape), np.broadcast_to(bfloat16.type(1), spec.scales))


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Expert by expert where it has experts, else the whole: what may be in memory as float32 at once."""
    match tensor:
        case Quantised(weight, scales) if weight.ndim == 3:
            yield from map(Quantised, weight, scales)
        case Packed(data, type_, turned) if data.ndim == 3:
            yield from (Packed(expert, type_, turned) for expert in data)
        case np.ndarray() if tensor.ndim == 3:
            yield from tensor
        case _:
            yield tensor


def float32(tensor: Tensor) -> NDArray[np.float32]:
    """Its values, in the canonical shape."""
    match tensor:
        case Quantised(weight, scales):
            *many, rows, columns = weight.shape
            groups = scales.shape[-2]
            grouped = weight.reshape(*many, groups, rows // groups, columns).astype(np.float32)
            grouped *= scales.astype(np.float32)[..., None, :]
            return grouped.reshape(weight.shape)
        case Packed(data, type_, turned):
            import gguf

            values = gguf.dequantize(data, gguf.GGMLQuantizationType(type_)).astype(np.float32, copy=False)
            return np.swapaxes(values, -1, -2) if turned else values
        case _:
            return tensor.astype(np.float32, copy=False)


def quantised(values: NDArray[np.float32], groups: int = 1) -> Quantised:
    """The nearest int8, [..., K, N], with symmetric bfloat16 scales, [..., G, N].

    Raises VoxpopError for numbers that are not finite: one would spoil its whole column.
    """
    if not np.isfinite(values).all():
        cure = "Take the file from its source again."
        raise VoxpopError("There are weights that are not finite numbers.", cure, code="bad_weights", lasting=True)
    *many, rows, columns = values.shape
    grouped = values.reshape(*many, groups, rows // groups, columns)
    scales = (np.abs(grouped).max(-2) / 127).astype(bfloat16)
    wide = scales.astype(np.float32)[..., None, :]
    whole = np.divide(grouped, wide, out=np.zeros_like(grouped), where=wide != 0)
    weight = np.clip(np.rint(whole), -127, 127).astype(np.int8).reshape(values.shape)
    return Quantised(weight, scales)
