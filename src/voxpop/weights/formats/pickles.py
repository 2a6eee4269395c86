"""One file of xAI's checkpoint, a pickle of one tensor, read as a format; it calls nothing and refuses all else.

A pickle is a program. The few instructions that `pickle.dump` writes for an array, or for the two of xAI's
`QuantizedWeight8bit`, are followed here as a file format: a name stands for a fact, never for something that is
imported or run. A tensor's bytes stay in the file and are mapped. Sources: Python's `pickletools` says what the
instructions mean, xAI's `checkpoint.py` what wrote them.
"""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.errors import VoxpopError
from voxpop.regular import regular
from voxpop.weights.tensors import Quantised, bfloat16

_MOST_STEPS = 400  # a file of the release takes 113
_MOST_TENSOR = 3  # [experts, in, out]
_COPIED = 1 << 20
_FOREIGN = "It is no file of a Grok checkpoint: do not load it with anything."
_AGAIN = "Fetch it again."
_LETTER = ord("b")  # of the type that an array has before it is told its own

_RECONSTRUCT, _FROM_BUFFER, _ARRAY, _DTYPE, _BFLOAT16, _QUANTISED = (object() for _ in range(6))
_GLOBALS = {
    "numpy.core.multiarray _reconstruct": _RECONSTRUCT,  # numpy 1, which wrote the release
    "numpy._core.multiarray _reconstruct": _RECONSTRUCT,  # numpy 2
    "numpy.core.numeric _frombuffer": _FROM_BUFFER,  # the same in pickle's protocol 5
    "numpy._core.numeric _frombuffer": _FROM_BUFFER,
    "numpy ndarray": _ARRAY,
    "numpy dtype": _DTYPE,
    "ml_dtypes bfloat16": _BFLOAT16,
    "__main__ QuantizedWeight8bit": _QUANTISED,
}
_DTYPES: dict[object, tuple[np.dtype[Any], list[Any]]] = {
    # With its version, byte order, no fields, and its size where its name has none; flags follow, which differ.
    "i1": (np.dtype(np.int8), [3, "|", None, None, None, -1, -1]),
    "f4": (np.dtype("<f4"), [3, "<", None, None, None, -1, -1]),
    _BFLOAT16: (bfloat16, [3, "<", None, None, None, 2, 2]),
}


class _Refused(Exception):
    """What is wrong with a file, and what to do about it."""

    def __init__(self, what: str, cure: str = _FOREIGN) -> None:
        self.what, self.cure = what, cure


def read(path: Path) -> NDArray[Any] | Quantised:
    """The tensor of a file: an array of int8, float32 or bfloat16, or both parts of a quantised one; mapped.

    A part under 1 MiB is copied, because in the file it begins at any odd place. Raises VoxpopError.
    """
    try:
        with regular(path) as file:
            if not os.fstat(file.fileno()).st_size:
                raise _Refused("is empty", _AGAIN)
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _tensor(data, _Machine(data).run())
    except _Refused as error:
        raise VoxpopError(f"{path} {error.what}.", error.cure, code="bad_checkpoint", lasting=True) from None
    except OSError as error:
        cure = "Check the path, and who may read it."
        raise VoxpopError(f"{path} cannot be read: {error.strerror}.", cure, code="unreadable") from error


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Where bytes lie in the file."""

    start: int
    size: int


@dataclass(slots=True)
class _Dtype:
    dtype: np.dtype[Any]
    state: list[Any]
    stated: bool = False


@dataclass(slots=True)
class _Array:
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    turned: bool = False
    held: _Bytes = _Bytes(0, 0)


@dataclass(slots=True)
class _Leaf:
    weight: _Array | None = None
    scales: _Array | None = None


class _Machine:
    """Follows a pickle of protocol 4 or 5 to the one value that it describes."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at, self._size = data, 0, len(data)
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._frame_ends = 0

    def run(self) -> object:
        """Raises _Refused."""
        if not self._data[0]:
            raise _Refused("begins with zeros", "It was not fetched to its end: go on with that.")
        if self._number(1) != 0x80 or self._number(1) not in (4, 5):
            raise _Refused("is no pickle of protocol 4 or 5")
        for _ in range(_MOST_STEPS):
            code = self._number(1)
            if code == ord("."):
                return self._ended()
            if code not in _STEPS:
                raise _Refused(f"has the instruction {code:#04x} at byte {self._at - 1:,}, which no tensor needs")
            _STEPS[code](self)
        raise _Refused(f"has over {_MOST_STEPS} instructions")

    def _ended(self) -> object:
        if self._at != self._size:
            raise _Refused(f"goes on for {self._size - self._at:,} bytes after its end", _AGAIN)
        value = self._pop()
        if self._stack or self._below:
            raise _Refused("leaves values over")
        return value

    # What instructions do

    def _ahead(self, size: int) -> int:
        """Where the next `size` bytes lie; they must be there."""
        start, self._at = self._at, self._at + size
        if self._at > self._size:
            raise _Refused(
                f"is cut: byte {start:,} begins {size:,} bytes, and it has {self._size:,} in all", _AGAIN
            )
        if start < self._frame_ends < self._at:
            raise _Refused(f"has an instruction that leaves its frame, at byte {start:,}")
        return start

    def _number(self, size: int, *, signed: bool = False) -> int:
        start = self._ahead(size)
        return int.from_bytes(self._data[start : start + size], "little", signed=signed)

    def frame(self) -> None:
        """Bytes that a reader may fetch at once; Python's two readers differ on an instruction that crosses one."""
        began, size = self._at, self._number(8)
        self._ahead(size)
        if began < self._frame_ends:
            raise _Refused("has a frame within a frame")
        self._frame_ends, self._at = self._at, self._at - size

    def text(self) -> None:
        size = self._number(1)
        start = self._ahead(size)
        try:
            self._stack.append(self._data[start : start + size].decode())
        except UnicodeDecodeError:
            raise _Refused("has a name that is no text") from None

    def held(self, size: int) -> None:
        """Bytes of `size` bytes' length stay where they are."""
        length = self._number(size)
        self._stack.append(_Bytes(self._ahead(length), length))

    def integer(self, size: int) -> None:
        self._stack.append(self._number(size, signed=size == 4))

    def push(self, value: object) -> None:
        self._stack.append(value)

    def empty_state(self) -> None:
        self._stack.append({})

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._top()

    def recall(self, size: int) -> None:
        number = self._number(size)
        if number not in self._memo:
            raise _Refused(f"asks for value {number} before it has one")
        self._stack.append(self._memo[number])

    def join(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self._stack.append(tuple(reversed(items)))

    def join_from_mark(self) -> None:
        items = self._to_mark()
        self._stack.append(tuple(items))

    def set_items(self) -> None:
        items = self._to_mark()
        state = self._top()
        if not isinstance(state, dict) or items[::2] != ["weight", "scales"] or len(items) != 4:
            raise _Refused("sets something else than weight and scales")
        state.update(zip(items[::2], items[1::2], strict=True))

    def name(self) -> None:
        """The one place where a pickle could ask for code."""
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str) and f"{module} {name}" in _GLOBALS):
            said = f"{module}.{name}" if isinstance(name, str) and isinstance(module, str) else "no name"
            raise _Refused(f"asks for {said!r}, which is not part of a tensor")
        self._stack.append(_GLOBALS[f"{module} {name}"])

    def reduce(self) -> None:
        arguments, called = self._pop(), self._pop()
        match arguments:
            case (kind, (0,), _Bytes(at, 1)) if (
                called is _RECONSTRUCT and kind is _ARRAY and self._data[at] == _LETTER
            ):
                self._stack.append(_Array())
            case (kind, False, True) if called is _DTYPE and (kind is _BFLOAT16 or kind in ("i1", "f4")):
                self._stack.append(_Dtype(*_DTYPES[kind]))
            case (_Bytes() as held, _Dtype() as dtype, shape, "C" | "F" as order) if called is _FROM_BUFFER:
                self._stack.append(_array(_Array(), shape, dtype, order == "F", held))
            case _:
                raise _Refused("calls what no tensor needs")

    def new(self) -> None:
        arguments, kind = self._pop(), self._pop()
        if arguments != () or kind is not _QUANTISED:
            raise _Refused("makes something else than a quantised weight")
        self._stack.append(_Leaf())

    def build(self) -> None:
        state, value = self._pop(), self._top()
        match value, state:
            case _Dtype(stated=False), (*state, int()) if state == value.state:
                value.stated = True
            case _Array(dtype=None), (1, shape, _Dtype() as dtype, bool() as turned, _Bytes() as held):
                _array(value, shape, dtype, turned, held)
            case _Leaf(None, None), {"weight": _Array() as weight, "scales": _Array() as scales}:
                value.weight, value.scales = weight, scales
            case _:
                raise _Refused("describes no array of int8, float32 or bfloat16")

    def _top(self) -> Any:
        if not self._stack:
            raise _Refused("takes a value where none is")
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _to_mark(self) -> list[Any]:
        if not self._below:
            raise _Refused("takes a mark where none is")
        items, self._stack = self._stack, self._below.pop()
        return items


def _step(method: Callable[..., None], *given: object) -> Callable[[_Machine], None]:
    return lambda machine: method(machine, *given)


_M = _Machine
_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x95: _M.frame,
    0x8C: _M.text,
    ord("C"): _step(_M.held, 1),
    ord("B"): _step(_M.held, 4),
    0x8E: _step(_M.held, 8),
    0x96: _step(_M.held, 8),  # a bytearray, as protocol 5 has an array that may be written to
    ord("K"): _step(_M.integer, 1),
    ord("M"): _step(_M.integer, 2),
    ord("J"): _step(_M.integer, 4),
    0x88: _step(_M.push, True),
    0x89: _step(_M.push, False),
    ord("N"): _step(_M.push, None),
    ord(")"): _step(_M.push, ()),
    ord("}"): _M.empty_state,
    ord("("): _M.mark,
    0x94: _M.memoize,
    ord("h"): _step(_M.recall, 1),
    0x85: _step(_M.join, 1),
    0x86: _step(_M.join, 2),
    0x87: _step(_M.join, 3),
    ord("t"): _M.join_from_mark,
    ord("u"): _M.set_items,
    0x93: _M.name,
    ord("R"): _M.reduce,
    0x81: _M.new,
    ord("b"): _M.build,
}


def _array(array: _Array, shape: object, dtype: _Dtype, turned: bool, held: _Bytes) -> _Array:
    """Raises _Refused where the shape does not hold exactly those bytes."""
    if not isinstance(shape, tuple) or not 1 <= len(shape) <= _MOST_TENSOR:
        raise _Refused(f"has an array that is not of one to {_MOST_TENSOR} dimensions")
    if not all(type(side) is int and side > 0 for side in shape) or not dtype.stated:
        raise _Refused("has an array of no size or no type")
    size = prod(shape) * dtype.dtype.itemsize
    if size != held.size:
        raise _Refused(f"has {held.size:,} bytes for an array of {size:,}: {list(shape)} of {dtype.dtype}", _AGAIN)
    array.shape, array.dtype, array.turned, array.held = shape, dtype.dtype, turned, held
    return array


def _tensor(data: mmap.mmap, found: object) -> NDArray[Any] | Quantised:
    match found:
        case _Array(dtype=np.dtype()):
            return _mapped(data, found)
        case _Leaf(_Array(dtype=np.int8) as weight, _Array(dtype=np.dtype()) as scales) if scales.dtype == bfloat16:
            if not _go_together(weight.shape, scales.shape):
                raise _Refused(f"has scales {list(scales.shape)}, which do not go with int8 {list(weight.shape)}")
            return Quantised(_mapped(data, weight), _mapped(data, scales))
        case _:
            raise _Refused("holds no tensor")


def _go_together(weight: tuple[int, ...], scales: tuple[int, ...]) -> bool:
    if not 2 <= len(weight) == len(scales):
        return False
    groups = scales[-2]
    return scales == (*weight[:-2], groups, weight[-1]) and weight[-2] % groups == 0


def _mapped(data: mmap.mmap, array: _Array) -> NDArray[Any]:
    view: NDArray[Any] = np.ndarray(
        array.shape, array.dtype, data, array.held.start, order="F" if array.turned else "C"
    )
    return view.copy(order="K") if array.held.size < _COPIED else view
