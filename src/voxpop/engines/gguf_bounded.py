"""Read a GGUF file's header without following what it says past the file's end, or into all memory there is."""

from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

_COUNT = 1 << 22  # elements of all arrays together, tensors, or fields: Grok-1 has 400,000
_BYTES = 1 << 24  # of one text or one list of dimensions


class Bounded(gguf.GGUFReader):
    """The library's reader follows a length that points past the end of the file until memory is full."""

    _heading, _left = True, _COUNT

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> NDArray[Any]:
        size = int(count) * np.dtype(dtype).itemsize
        if offset + size > len(self.data) or (self._heading and size > _BYTES):
            raise ValueError(f"a length at byte {offset} points past the end")
        return super()._get(offset, dtype, count, override_order)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if raw_type == gguf.GGUFValueType.ARRAY:
            self._take(int(self._get(orig_offs + 4, np.uint64)[0]))
        return super()._get_field_parts(orig_offs, raw_type)

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
