"""One file of xAI's checkpoint written: byte for byte the pickle that Python and numpy 1 made of such a tensor.

It takes int8 with bfloat16 scales, float32 and bfloat16 of one to three dimensions, and refuses any other.
"""

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from voxpop.weights.tensors import Quantised, bfloat16

_CHUNK = 16 << 20
_BFLOAT16_STATE = b"NNNK\2K\2K\x50"  # the flags are those of ml_dtypes 0.3.2, of xAI's time
_LETTER_STATE = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0"


def write(tensor: NDArray[Any] | Quantised, file: BinaryIO, *, hollow: bool = False) -> None:
    """Write a tensor, a few megabytes at a time. Raises OSError.

    `hollow`: the tensor's own bytes are left out as a hole of the file, which then has its true size and takes no
    room on the disk.
    """
    for part in _Writing().leaf(tensor):
        if hollow and isinstance(part, np.ndarray):
            file.truncate(file.seek(part.nbytes, os.SEEK_CUR))
            continue
        for piece in _contiguous(part):
            file.write(piece)


def _contiguous(part: bytes | NDArray[Any]) -> Iterator[bytes | memoryview]:
    if isinstance(part, bytes):
        yield part
        return
    for block in (part,) if part.flags.c_contiguous or part.ndim < 2 else part:  # an expert, or a row, at a time
        flat = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        yield from (flat[at : at + _CHUNK] for at in range(0, len(flat), _CHUNK))


class _Writing:
    """Builds what Python's pickler would write: the same instructions, memo and frames."""

    _FRAME = 64 << 10

    def __init__(self) -> None:
        self._parts: list[bytes | NDArray[Any]] = [b"\x80\x04"]
        self._frame = bytearray()
        self._memo: dict[object, int] = {}

    def leaf(self, tensor: NDArray[Any] | Quantised) -> list[bytes | NDArray[Any]]:
        """The file in parts: instructions, and each large array as itself."""
        if isinstance(tensor, Quantised):
            self._name("__main__", "QuantizedWeight8bit")
            self._frame += b")\x81"
            self._memoize()
            self._frame += b"}"
            self._memoize()
            self._frame += b"("
            self._text("weight")
            self._array(tensor.weight)
            if len(self._frame) >= self._FRAME:
                self._close()
            self._text("scales")
            self._array(tensor.scales)
            self._frame += b"ub"
        else:
            self._array(tensor)
        self._frame += b"."
        self._close()
        return self._parts

    def _array(self, array: NDArray[Any]) -> None:
        self._name("numpy.core.multiarray", "_reconstruct")
        self._name("numpy", "ndarray")
        self._frame += b"K\0\x85"
        self._memoize()
        if not self._recalled(b"b"):
            self._frame += b"C\1b"
            self._memoize(b"b")
        self._frame += b"\x87"
        self._memoize()
        self._frame += b"R"
        self._memoize()
        self._frame += b"(K\1"
        self._shape(array.shape)
        self._dtype(array.dtype)
        self._frame += b"\x89"
        self._payload(array)
        self._frame += b"t"
        self._memoize()
        self._frame += b"b"

    def _shape(self, shape: tuple[int, ...]) -> None:
        for side in shape:
            size = 1 if side < 1 << 8 else 2 if side < 1 << 16 else 4
            self._frame += {1: b"K", 2: b"M", 4: b"J"}[size] + side.to_bytes(size, "little")
        self._frame += bytes([0x84 + len(shape)])
        self._memoize()

    def _dtype(self, dtype: np.dtype[Any]) -> None:
        self._name("numpy", "dtype")
        if dtype == bfloat16:
            self._name("ml_dtypes", "bfloat16")
        else:
            self._text(dtype.str[1:])
        self._frame += b"\x89\x88\x87"
        self._memoize()
        self._frame += b"R"
        self._memoize()
        self._frame += b"(K\3"
        self._text("|" if dtype.itemsize == 1 else "<")
        self._frame += (_BFLOAT16_STATE if dtype == bfloat16 else _LETTER_STATE) + b"t"
        self._memoize()
        self._frame += b"b"

    def _payload(self, array: NDArray[Any]) -> None:
        size = array.nbytes
        head = b"C" + bytes([size]) if size < 1 << 8 else b"B" + struct.pack("<I", size) if size < 1 << 32 else None
        head = head or b"\x8e" + struct.pack("<Q", size)
        if size < self._FRAME:
            self._frame += head + array.tobytes()
        else:
            self._close()
            self._parts += [head, array]
        self._memoize()

    def _name(self, module: str, name: str) -> None:
        if not self._recalled((module, name)):
            self._text(module)
            self._text(name)
            self._frame += b"\x93"
            self._memoize((module, name))

    def _text(self, text: str) -> None:
        if not self._recalled(text):
            self._frame += b"\x8c" + bytes([len(text)]) + text.encode()
            self._memoize(text)

    def _recalled(self, key: object) -> bool:
        if key in self._memo:
            self._frame += b"h" + bytes([self._memo[key]])
        return key in self._memo

    def _memoize(self, key: object = None) -> None:
        self._memo[key or object()] = len(self._memo)
        self._frame += b"\x94"

    def _close(self) -> None:
        if len(self._frame) >= 4:  # a smaller frame is not worth its head
            self._parts.append(b"\x95" + struct.pack("<Q", len(self._frame)))
        self._parts.append(bytes(self._frame))
        self._frame.clear()
