"""How large a stored tensor is, and when its pages come into memory and go; it changes no byte of it."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.weights.tensors import Packed, Quantised, Tensor


def arrays(tensor: Tensor) -> tuple[NDArray[Any], ...]:
    """What holds its bytes."""
    match tensor:
        case Quantised(weight, scales):
            return weight, scales
        case Packed(data):
            return (data,)
        case _:
            return (tensor,)


def nbytes(tensor: Tensor) -> int:
    """How many bytes it is stored in."""
    return sum(array.nbytes for array in arrays(tensor))


def announce(tensor: Tensor) -> None:
    """Have the system read a mapped tensor from the disk, into its own memory, while something else is done."""
    _advise(tensor, getattr(mmap, "MADV_WILLNEED", None))


def release(tensor: Tensor) -> None:
    """A mapped tensor's pages leave this process's memory; they are read again where they are looked at again."""
    _advise(tensor, getattr(mmap, "MADV_DONTNEED", None))


def _advise(tensor: Tensor, advice: int | None) -> None:
    for array in arrays(tensor):
        owner: Any = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        mapped = owner.obj if isinstance(owner, memoryview) else owner
        if advice is not None and isinstance(mapped, mmap.mmap):
            low, high = np.lib.array_utils.byte_bounds(array)
            start = low - np.frombuffer(mapped, np.uint8).ctypes.data
            first = start - start % mmap.PAGESIZE
            mapped.madvise(advice, first, start + high - low - first)
