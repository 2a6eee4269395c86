"""Turn stored tensors into rows of ggml's types, tile by tile, with llama.cpp's own routines and all cores.

xAI's int8 becomes Q8_0 verbatim wherever its scale is a float16: that is counted, never assumed. It refuses numbers
that are not finite, which llama.cpp answers by ending the process.
"""

import ctypes
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from voxpop.engines.llama_library import library
from voxpop.errors import VoxpopError
from voxpop.weights.casting import BLOCK, TILE, Type, exact_q8_0, narrowed, row_of, stored, tiles
from voxpop.weights.tensors import Packed, Quantised, Tensor, float32

Rows = NDArray[np.uint8]
_MOST = 65504.0  # of float16, in which ggml keeps its scales
_PLAIN: dict[str, Type] = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


@dataclass(slots=True)
class Count:
    """How many Q8_0 blocks of int8 input were taken verbatim, and how many were rounded anew."""

    exact: int = 0
    rounded: int = 0


def number(type_: str) -> int:
    """ggml's number of a type."""
    return int(gguf.GGMLQuantizationType[type_])


def packed_rows(
    tensor: Tensor,
    type_: str,
    *,
    turned: bool,
    importance: NDArray[np.float32] | None = None,
    count: Count | None = None,
    threads: int = 1,
) -> Iterator[Rows]:
    """The rows of a matrix [in, out] (`turned`) or [rows, width], in order, as uint8 [some rows, bytes of a row].

    `importance`: [width of a row]. At most `threads` + 1 tiles are in memory at once. Raises VoxpopError for
    numbers that are not finite or that the type cannot hold.
    """
    width, rows = size_of_rows(tensor, turned)
    step = max(1, min(TILE // width, -(-rows // threads)))
    tally = count if count is not None else Count()
    weights = None if importance is None else _usable(importance)

    def made(first: int) -> tuple[Rows, Count]:
        return _tile(_part(tensor, first, first + step, turned), type_, turned, weights)

    def taken(future: Future[tuple[Rows, Count]]) -> Rows:
        block, counted = future.result()
        tally.exact += counted.exact
        tally.rounded += counted.rounded
        return block

    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[tuple[Rows, Count]]] = deque()
        for first in range(0, rows, step):
            pending.append(pool.submit(made, first))
            if len(pending) > threads:
                yield taken(pending.popleft())
        while pending:
            yield taken(pending.popleft())


def int8_rows(part: Quantised) -> tuple[Rows, Count]:
    """int8 [K, N] with scales [G, N] as Q8_0 rows, uint8 [N, K/32 · 34]: the int8 as they are.

    A block whose scale is no float16 is rounded anew. K/G must be a multiple of 32: elsewhere everything is.
    """
    (height, width), groups = part.weight.shape, len(part.scales)
    blocks = width * height // BLOCK
    scales = part.scales.astype(np.float32)
    with np.errstate(over="ignore"):
        halves = scales.astype(np.float16)
    if not np.isfinite(halves).all():
        raise VoxpopError("There is a scale that float16 cannot hold.", "Take BF16.", lasting=True)
    if exact_q8_0(part):
        return _q8_0(part), Count(blocks, 0)
    if (height // groups) % BLOCK:
        return _packed(np.ascontiguousarray(float32(part).T), "Q8_0", None), Count(0, blocks)
    lost = halves.astype(np.float32) != scales
    rows = _q8_0(Quantised(part.weight, np.where(lost, 0, part.scales))).reshape(width, groups, -1)
    grouped = part.weight.reshape(groups, height // groups, width)
    for group, column in np.argwhere(lost):
        values = grouped[group, :, column] * scales[group, column]
        rows[column, group] = _packed(values[None], "Q8_0", None)
    rounded = int(lost.sum()) * (height // groups // BLOCK)
    return rows.reshape(width, -1), Count(blocks - rounded, rounded)


def needs_importance(type_: str) -> bool:
    """Whether ggml refuses to write the type without a matrix of importance."""
    return bool(_ggml().ggml_quantize_requires_imatrix(number(type_)))


def _packed(values: NDArray[np.float32], type_: str, importance: NDArray[np.float32] | None) -> Rows:
    """float32 [rows, width] as a ggml type, uint8 [rows, bytes]."""
    peak = max(float(values.max()), -float(values.min()))
    if not np.isfinite(peak):
        raise VoxpopError(
            "There are weights that are not finite numbers.", "Take the file from its source again.", lasting=True
        )
    if peak > _MOST and type_ not in ("F32", "BF16"):
        raise VoxpopError(f"There is a weight of {peak:g}, which {type_} cannot hold.", "Take BF16.", lasting=True)
    if plain := _PLAIN.get(type_):
        return narrowed(values, plain)
    return _by_ggml(np.ascontiguousarray(values), type_, importance)


def _tile(part: Tensor, type_: str, turned: bool, importance: NDArray[np.float32] | None) -> tuple[Rows, Count]:
    if isinstance(part, Packed) and part.type == number(type_) and part.turned == turned:
        return np.ascontiguousarray(part.data), Count()
    if type_ == "Q8_0" and turned and isinstance(part, Quantised):
        return int8_rows(part)
    return np.concatenate([_packed(values, type_, importance) for values in tiles(part, turned=turned)]), Count()


def _q8_0(part: Quantised) -> Rows:
    return np.concatenate(list(stored(part, "q8_0", turned=True))).reshape(part.weight.shape[1], -1)


def _by_ggml(values: NDArray[np.float32], type_: str, importance: NDArray[np.float32] | None) -> Rows:
    rows, width = values.shape
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_]]
    out = np.empty((rows, width // block * size), np.uint8)
    if importance is None and needs_importance(type_):
        raise VoxpopError(f"{type_} needs a matrix of importance.", "Give --importance or --texts.", lasting=True)
    floats = ctypes.POINTER(ctypes.c_float)
    weights = importance.ctypes.data_as(floats) if importance is not None else None
    written = _ggml().ggml_quantize_chunk(
        number(type_), values.ctypes.data_as(floats), out.ctypes.data, 0, rows, width, weights
    )
    if written != out.nbytes:
        raise VoxpopError(f"llama.cpp wrote {written} bytes of {type_} where {out.nbytes} are due.", "Report this.")
    return out


def _usable(importance: NDArray[np.float32]) -> NDArray[np.float32]:
    """A column that was never met weighs as the least that was; ggml fails where a whole block has no weight."""
    met = importance[np.isfinite(importance) & (importance > 0)]
    least = met.min() if met.size else 1.0
    return np.ascontiguousarray(np.where(importance >= least, importance, least), np.float32)


def size_of_rows(tensor: Tensor, turned: bool) -> tuple[int, int]:
    """(width of a row, rows) of the GGUF tensor."""
    match tensor:
        case Packed(data):
            return row_of(tensor), data.shape[-2]
        case Quantised(weight, _):
            shape = weight.shape
        case _:
            shape = tensor.shape
    return (shape[-2], shape[-1]) if turned else (shape[-1], shape[0] if len(shape) > 1 else 1)


def _part(tensor: Tensor, first: int, last: int, turned: bool) -> Tensor:
    """Some rows of the GGUF tensor, still as they are stored."""
    match tensor:
        case Packed(data, type_, lies):
            return Packed(data[first:last], type_, lies)
        case Quantised(weight, scales):
            return Quantised(weight[:, first:last], scales[:, first:last])
        case _:
            if tensor.ndim == 1:
                return tensor[None]
            return tensor[:, first:last] if turned else tensor[first:last]


@cache
def _ggml() -> Any:
    """llama.cpp's library."""
    found = library()
    found.ggml_quantize_chunk.restype = ctypes.c_size_t
    found.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_float),
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_float),
    ]
    found.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    found.ggml_quantize_requires_imatrix.argtypes = [ctypes.c_int]
    return found
