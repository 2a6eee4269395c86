"""Read a GGUF file's header without following what it says past the file's end, or into all memory there is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGUFValueType
from numpy.typing import NDArray

from voxpop.regular import regular

_COUNT = 1 << 22  # elements of all arrays together, tensors, or fields: Grok-1 has 400,000
_BYTES = 1 << 25  # of one text, one array or one list of dimensions


class Bounded(gguf.GGUFReader):
    """The library's reader follows a length that points past the end of the file until memory is full.

    An array is read as one piece here, not element by element: Grok-1's tokens then take 0.2 s and not 10.
    """

    _heading, _left = True, _COUNT

    def __init__(self, path: Path) -> None:
        regular(path).close()  # the library maps it, and would wait for a pipe
        super().__init__(path)

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> NDArray[Any]:
        size = int(count) * np.dtype(dtype).itemsize
        if offset + size > len(self.data) or (self._heading and size > _BYTES):
            raise ValueError(f"a length at byte {offset} points past the end")
        return super()._get(offset, dtype, count, override_order)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        """What the library's gives: bytes of the value, its parts, which of them are data, and its types."""
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        kind = GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
        count, start = int(self._get(orig_offs + 4, np.uint64)[0]), orig_offs + 12
        self._take(count)
        types = [GGUFValueType.ARRAY, kind]
        if plain := self.gguf_scalar_to_np.get(kind):
            numbers = self._get(start, plain, count)
            return 12 + numbers.nbytes, [numbers], [0], types
        if kind != GGUFValueType.STRING or self.byte_order == "S":
            raise ValueError(f"an array at byte {orig_offs} is of arrays, or of another machine's order")
        texts = list(self._texts(start, count))
        return 12 + sum(8 + len(text) for text in texts), texts, [*range(count)], types

    def _texts(self, at: int, count: int) -> Iterator[memoryview]:
        whole, start = self.data.data, at
        for _ in range(count):
            end = at + 8 + int.from_bytes(whole[at : at + 8], "little")
            if end > len(whole) or end - start > _BYTES:
                raise ValueError(f"a length at byte {at} points past the end")
            yield whole[at + 8 : end]
            at = end

    def _build_fields(self, offs: int, count: int) -> int:
        self._take(int(count))
        return super()._build_fields(offs, count)

    def _build_tensor_info(self, offs: int, count: int) -> Any:
        self._take(int(count))
        return super()._build_tensor_info(offs, count)

    def _build_tensors(self, start_offs: int, fields: Any) -> None:
        self._heading = False
        super()._build_tensors(start_offs, fields)

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ValueError(f"the header holds more than {_COUNT} values")
