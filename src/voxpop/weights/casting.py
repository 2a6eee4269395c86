"""A tensor's bytes as another type and another way round, a few megabytes at a time; it opens no file.

Turning is what costs: numpy copies a transposed int8 matrix at 0.1 GB/s, because each byte read or written is in
another line of the cache. A tile that fits the cache, copied straight and turned by torch, goes at 2 GB/s.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from voxpop.weights.tensors import Packed, Quantised, Tensor, float32, pieces

Type = Literal["f32", "f16", "bf16", "q8_0"]
Q8_0 = 8  # ggml's number of the type
BLOCK = 32  # values that share a scale there
TILE = 1 << 19  # values: with its float32 it fits a second-level cache
_BLOCK_DTYPE = np.dtype([("scale", "<f2"), ("values", f"V{BLOCK}")])


def stored(tensor: Tensor, type_: Type, *, turned: bool) -> Iterator[NDArray[np.uint8]]:
    """Its bytes as `type_`, row after row and expert after expert; `turned`: its columns are the rows.

    bf16 and f16 round to nearest even. Raises ValueError where q8_0 would not be exact (see `exact_q8_0`).
    """
    if type_ == "q8_0":
        if not turned or not exact_q8_0(tensor):
            raise ValueError("These values are no Q8_0 without a loss: they have to be quantised.")
        yield from _blocks(tensor)
        return
    for values in tiles(tensor, turned=turned):
        yield narrowed(values, type_).reshape(-1)


def narrowed(values: NDArray[np.float32], type_: Type) -> NDArray[np.uint8]:
    """Rows of float32 as rows of bytes of a float type, to nearest even; torch is three times as fast as numpy."""
    narrow = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[type_]
    return torch.from_numpy(values).to(narrow).view(torch.uint8).numpy()


def tiles(tensor: Tensor, *, turned: bool) -> Iterator[NDArray[np.float32]]:
    """Its values, [rows, columns] at a time, row after row and expert after expert; the caller may keep a tile."""
    for piece in pieces(tensor):
        match piece:
            case Quantised():
                yield from _quantised(piece, turned)
            case Packed(data, type_, is_turned) if is_turned == turned:
                for rows in _steps(len(data), row_of(piece)):
                    yield np.array(float32(Packed(data[rows], type_, turned=False)))
            case Packed():
                yield from _plain(float32(piece), turned)
            case _:
                yield from _plain(piece, turned)


def row_of(packed: Packed) -> int:
    """How many values one of its rows holds."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(packed.type)]
    return int(packed.data.shape[-1] // size * block)


def ahead(parts: Iterator[NDArray[Any]], depth: int = 2) -> Iterator[NDArray[Any]]:
    """The same, made in a thread of its own while the caller writes: at most `depth` parts before it asks."""
    with ThreadPoolExecutor(1, "cast", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        due = deque(pool.submit(next, parts, None) for _ in range(depth))
        while (part := due.popleft().result()) is not None:
            due.append(pool.submit(next, parts, None))
            yield part


def exact_q8_0(tensor: Tensor) -> bool:
    """Whether ggml's Q8_0 (32 int8 of a column with a float16 scale) holds it to the last bit."""
    if not isinstance(tensor, Quantised):
        return False
    scales = tensor.scales.astype(np.float32)
    rows = tensor.weight.shape[-2] // scales.shape[-2]
    return rows % BLOCK == 0 and bool((scales.astype(np.float16).astype(np.float32) == scales).all())


def _quantised(tensor: Quantised, turned: bool) -> Iterator[NDArray[np.float32]]:
    weight, scales = tensor.weight, tensor.scales.astype(np.float32)
    rows, columns = weight.shape
    groups = len(scales)
    for step in _steps(columns, rows) if turned else _steps(rows, columns):
        if turned:
            values = torch.from_numpy(_turned(weight[:, step])).view(-1, groups, rows // groups)
            scale = torch.from_numpy(scales[:, step].T.copy())[..., None]
        else:
            values = torch.from_numpy(weight[step].copy())
            scale = torch.from_numpy(scales[np.arange(rows)[step] // (rows // groups)])
        yield torch.mul(values, scale).view(len(values), -1).numpy()


def _blocks(tensor: Tensor) -> Iterator[NDArray[np.uint8]]:
    for piece in pieces(tensor):
        if not isinstance(piece, Quantised):
            raise TypeError(type(piece))
        rows, columns = piece.weight.shape
        scales = np.repeat(piece.scales.astype(np.float16), rows // BLOCK // len(piece.scales), axis=0)
        for step in _steps(columns, rows):
            values = _turned(piece.weight[:, step])
            blocks = np.empty((len(values), rows // BLOCK), _BLOCK_DTYPE)
            blocks["scale"] = scales[:, step].T
            blocks["values"] = values.view(f"V{BLOCK}")
            yield blocks.reshape(-1).view(np.uint8)


def _plain(values: NDArray[Any], turned: bool) -> Iterator[NDArray[np.float32]]:
    if values.ndim == 1:
        yield np.array(values, np.float32)[None]
        return
    for step in _steps(*(values.shape[::-1] if turned else values.shape)):
        part = _turned(values[:, step]) if turned else values[step]
        yield np.array(part, np.float32, order="C")


def _turned(matrix: NDArray[Any]) -> NDArray[Any]:
    """A copy of a few columns as rows."""
    if matrix.T.flags.c_contiguous:
        return np.array(matrix.T)
    whole = np.dtype(f"i{matrix.itemsize}")
    return torch.from_numpy(np.array(matrix, order="C").view(whole)).t().contiguous().numpy().view(matrix.dtype)


def _steps(rows: int, columns: int) -> Iterator[slice]:
    size = max(TILE // columns, 1)
    yield from (slice(start, start + size) for start in range(0, rows, size))
