"""One safetensors file: its header read with every bound checked, its tensors as mapped views, its header written.

Format: github.com/huggingface/safetensors (README, "Format"): eight bytes of length, a JSON header, then the bytes
of the tensors without holes. It refuses what the format refuses, and types that no Grok checkpoint has.
"""

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.errors import VoxpopError
from voxpop.regular import regular
from voxpop.weights.tensors import bfloat16

DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": bfloat16}
# The format's own library stops at 100 MB. All of Grok-1 in one file needs less than one.
HEADER_MAX = 16 << 20
_MOST_TENSORS = 1 << 16
_LENGTH = 8
_CURE = "Fetch or write the file again."


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor in a file: `dtype` a key of DTYPES, bytes `start` to `stop` counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SafetensorsFile:
    """A file to read; its header is checked when it is opened. Raises VoxpopError where the file is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                header = _header_bytes(file.read(_LENGTH), size, path)
                self._data = _LENGTH + header
                text = file.read(header)
        except OSError as error:
            raise VoxpopError(f"{path} cannot be read: {error.strerror}.", _CURE, code="bad_weights") from error
        self.entries = _entries(text, size - self._data, path)

    @cached_property
    def _mapped(self) -> mmap.mmap:
        with regular(self.path) as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def view(self, name: str) -> NDArray[Any]:
        """The tensor as it lies in the file: mapped, read-only, not copied."""
        entry = self.entries[name]
        dtype = DTYPES[entry.dtype]
        return np.ndarray(entry.shape, dtype, buffer=self._mapped, offset=self._data + entry.start)

    def views(self, names: list[str]) -> NDArray[Any] | None:
        """Tensors of one shape and type as a stack, [names, ...], where they lie at even distances; else None."""
        entries = [self.entries[name] for name in names]
        first, steps = entries[0], {b.start - a.start for a, b in pairwise(entries)}
        if len(steps) > 1 or any((e.dtype, e.shape) != (first.dtype, first.shape) for e in entries):
            return None
        dtype, step = DTYPES[first.dtype], steps.pop() if steps else first.stop - first.start
        inner = tuple(dtype.itemsize * prod(first.shape[i + 1 :]) for i in range(len(first.shape)))
        shape, offset = (len(names), *first.shape), self._data + first.start
        return np.ndarray(shape, dtype, self._mapped, offset, (step, *inner)) if step > 0 else None


def header(entries: Mapping[str, Entry]) -> bytes:
    """The length and header of a file with these tensors; padded, so that the data begins at a multiple of 8."""
    rows: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name, entry in entries.items():
        rows[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [entry.start, entry.stop]}
    text = json.dumps(rows, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH, "little") + text


def parsed(text: bytes, what: object, cure: str = _CURE) -> dict[str, Any]:
    """A JSON object without a name twice. Raises VoxpopError."""
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise VoxpopError(f"{what} is not usable JSON: {error}.", cure, code="bad_weights") from error
    if not isinstance(found, dict):
        raise VoxpopError(f"{what} is not a JSON object.", cure, code="bad_weights")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _header_bytes(start: bytes, size: int, path: Path) -> int:
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH or length > size - _LENGTH:
        said = f"{path} has {size} bytes; its header says that it has {length} itself."
        raise VoxpopError(f"{said} It is cut, or no safetensors file.", _CURE, code="bad_weights")
    if length > HEADER_MAX:
        raise VoxpopError(
            f"The header of {path} has {length} bytes, more than the {HEADER_MAX} that voxpop reads.",
            _CURE,
            code="bad_weights",
        )
    return length


def _entries(text: bytes, size: int, path: Path) -> dict[str, Entry]:
    rows = parsed(text, f"The header of {path}")
    rows.pop("__metadata__", None)
    if len(rows) > _MOST_TENSORS:
        raise VoxpopError(f"{path} has {len(rows)} tensors; all of Grok-1 has 2,114.", _CURE, code="bad_weights")
    found = {name: _entry(name, row, path) for name, row in rows.items()}
    end = 0
    for name, entry in sorted(found.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            wrong = f"{name[:100]!r} of {path} begins at byte {entry.start}; the one before it ends at {end}."
            raise VoxpopError(wrong, _CURE, code="bad_weights")
        end = entry.stop
    if end != size:
        said = f"The tensors of {path} end at byte {end} of {size}."
        raise VoxpopError(f"{said} The file is cut or padded.", _CURE, code="bad_weights")
    return found


def _entry(name: str, row: Any, path: Path) -> Entry:
    match row:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, stop]}:
            numbers = [*shape, start, stop]
        case _:
            numbers = [None]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers) or len(numbers) > 10:
        wrong = f"{name[:100]!r} of {path} has no usable type, shape and place."
        raise VoxpopError(wrong, _CURE, code="bad_weights")
    if dtype not in DTYPES:
        wrong = f"{name[:100]!r} of {path} is of type {dtype[:20]!r}; voxpop reads {', '.join(DTYPES)}."
        raise VoxpopError(wrong, "Give the checkpoint before it was quantised.", code="bad_weights")
    if stop - start != prod(shape) * DTYPES[dtype].itemsize:
        wrong = f"{name[:100]!r} of {path} has {stop - start} bytes; {dtype} {shape} takes another number."
        raise VoxpopError(wrong, _CURE, code="bad_weights")
    return Entry(dtype, tuple(shape), start, stop)


def placed(tensors: Iterator[tuple[str, str, tuple[int, ...]]]) -> dict[str, Entry]:
    """Tensors (name, dtype, shape) one after the other in a file."""
    entries: dict[str, Entry] = {}
    at = 0
    for name, dtype, shape in tensors:
        end = at + prod(shape) * DTYPES[dtype].itemsize
        entries[name] = Entry(dtype, shape, at, end)
        at = end
    return entries
