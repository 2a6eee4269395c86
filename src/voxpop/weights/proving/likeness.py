"""What a wrong tensor looks like: another layer, part or expert of the source, or itself, permuted or not turned.

It compares a sample of a thousand numbers with each candidate, and says nothing of what it does not recognise.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.weights.grok import Grok
from voxpop.weights.tensors import Packed, Quantised, Source, Tensor, float32, pieces

_SIDE = 32  # rows and columns of a sample
Places = NDArray[np.int64]


@np.errstate(all="ignore")  # a damaged tensor may hold any number
def likeness(source: Source, name: str, expert: int | None, found: Tensor, allowed: float) -> str | None:
    """What a matrix or vector found under `name` looks like, in words; None where it looks like nothing known.

    `found`: one expert where there are experts. `allowed`: the relative RMS that its type may have.
    """
    shape = source.shape
    size = shape.specs[name].shape[-2:]
    luck = np.random.RandomState(0)
    places: list[Places] = [np.sort(luck.choice(n, min(_SIDE, n), replace=False)) for n in size]
    grid = [axis.reshape(-1) for axis in np.meshgrid(*places, indexing="ij")]
    sample = values_at(found, grid)
    if not np.isfinite(sample).all():
        return "numbers that are not finite"
    if not sample.any():
        return "zeros"
    best, words = max(2 * allowed, 1e-3), None
    for candidate, said in _candidates(source, name, expert, grid):
        error = _distance(candidate, sample)
        if error <= best:
            best, words = error, said
    if words is None:
        itself = values_at(_piece(source, name, expert), grid)
        factor = float(np.vdot(itself, sample)) / max(float(np.vdot(itself, itself)), 1e-30)
        if factor and abs(factor) < 1e6 and _distance(itself * factor, sample) <= max(2 * allowed, 1e-3):
            words = f"itself times {factor:.4g}"
    return words


def values_at(tensor: Tensor, places: list[Places]) -> NDArray[np.float32]:
    """Single numbers of a vector or matrix, by their places in the canonical shape."""
    match tensor:
        case Quantised(weight, scales):
            row, column = places
            group = row // (weight.shape[-2] // scales.shape[-2])
            values: NDArray[np.float32] = weight[row, column].astype(np.float32)
            values *= scales[group, column].astype(np.float32)
            return values
        case Packed(data, type_, turned):
            row, column = places[::-1] if turned else places
            which, where = np.unique(row, return_inverse=True)
            return float32(Packed(data[which], type_, turned=False))[where, column]
        case _:
            return tensor[tuple(places)].astype(np.float32)


def _candidates(
    source: Source, name: str, expert: int | None, grid: list[Places]
) -> Iterator[tuple[NDArray[np.float32], str]]:
    shape = source.shape
    spec = shape.specs[name]
    itself = _piece(source, name, expert)
    if len(grid) == 2:
        rows, columns = spec.shape[-2:]
        flat = grid[1] * rows + grid[0]
        yield values_at(itself, [flat // columns, flat % columns]), "itself, not turned over"
    part = name.rpartition(".")[2]
    if part in ("query", "key"):
        heads = shape.heads if part == "query" else shape.kv_heads
        for order in _permuted(heads, shape.head_width):
            yield (
                values_at(itself, [grid[0], order[grid[1]]]),
                "a Q/K permutation of itself",
            )
    for other, tensor_expert in _others(shape, name, expert):
        yield values_at(_piece(source, other, tensor_expert), grid), _words(name, other, expert, tensor_expert)


def _others(shape: Grok, name: str, expert: int | None) -> Iterator[tuple[str, int | None]]:
    """Its other experts, the other parts of its layer, its part in other layers; of vectors every other."""
    spec = shape.specs[name]
    experts = [None] if expert is None else list(range(shape.experts))
    _, number, _ = name.split(".") if name.startswith("layers.") else ("", "", "")
    same = [s.name for s in shape.specs.values() if s.shape == spec.shape]
    part = name.rpartition(".")[2]
    near = [n for n in same if n.startswith(f"layers.{number}.") or n.rpartition(".")[2] == part]
    for other in near if len(spec.shape) > 1 else same:
        for which in experts if other == name else [expert]:
            if (other, which) != (name, expert):
                yield other, which


def _permuted(heads: int, width: int) -> Iterator[Places]:
    """The order of columns that converters for other models give to queries and keys, and its inverse."""
    order = np.arange(heads * width).reshape(heads, 2, width // 2).swapaxes(1, 2).reshape(-1)
    yield order
    yield np.argsort(order)


def _words(name: str, other: str, expert: int | None, which: int | None) -> str:
    layer, part = _split(name)
    other_layer, other_part = _split(other)
    said = []
    if which != expert:
        said.append(f"expert {which}")
    if other_part != part:
        said.append(other_part)
    if other_layer != layer:
        said.append(f"layer {other_layer}")
    return " of ".join(said) + " of the source"


def _split(name: str) -> tuple[str, str]:
    head, _, part = name.rpartition(".")
    return head.removeprefix("layers."), part


def _piece(source: Source, name: str, expert: int | None) -> Tensor:
    tensor = source.read(name)
    if expert is None:
        return tensor
    return next(piece for number, piece in enumerate(pieces(tensor)) if number == expert)


def _distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Relative RMS of their difference."""
    return float(np.linalg.norm(one - other)) / max(float(np.linalg.norm(other)), 1e-30)
