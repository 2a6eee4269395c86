"""Which tensors of a checkpoint are written: a line each, once its bytes are on the disk; it writes no tensor.

A line that a crash cut does not count, and is cut off before the next one is written.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

_MOST = 64 << 20  # bytes that are read; Grok-1's has 80 kB


class Journal:
    """The file at `path`: what is being written, then the name and the SHA-256 of each tensor."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def taken_up(self) -> tuple[Any, dict[str, str]] | None:
        """What an earlier run was writing, and its tensors; None where it left nothing that can be read."""
        try:
            with self.path.open("r+b") as file:
                whole = file.read(_MOST).rpartition(b"\n")[0]
                what, *rows = map(orjson.loads, whole.split(b"\n"))
                sums = {str(name): str(sha256) for name, sha256 in rows}
                file.truncate(len(whole) + 1)
        except (OSError, ValueError, TypeError):
            return None
        return what, sums

    def begin(self, what: Mapping[str, Any]) -> None:
        """No tensor is written yet."""
        self._put("wb", what)

    def note(self, name: str, sha256: str) -> None:
        """This tensor is written."""
        self._put("ab", [name, sha256])

    def end(self) -> None:
        """All is written: the journal goes."""
        self.path.unlink()

    def _put(self, mode: str, row: Any) -> None:
        with self.path.open(mode) as file:
            file.write(orjson.dumps(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def settle(folder: Path) -> None:
    """The names in a folder outlast a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
