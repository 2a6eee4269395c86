"""Say in which row of an SQLite file a byte lies, from the page alone; where no live cell holds it there is no row.

The format is that of https://www.sqlite.org/fileformat2.html: b-tree pages in section 1.6, the log's frames in 4.1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

_DATABASE = b"SQLite format 3\0"
_LOG = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_SIZES = frozenset(1 << n for n in range(9, 17))
_LOG_HEADER, _FRAME_HEADER, _FILE_HEADER = 32, 24, 100
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 0x0D, 0x0A, 0x02

Kind = Literal["row", "index", "unknown", "free"]


@dataclass(frozen=True, slots=True)
class Place:
    """What a byte belongs to.

    `row`: the cell of table row `row`; `index`: a key in a table without row numbers or in an index; `unknown`: a
    page that is no b-tree, such as the rest of a long row or a page out of use; `free`: between the cells.
    """

    kind: Kind
    row: int = 0


@dataclass(frozen=True, slots=True)
class Paged:
    """An SQLite database or its write-ahead log."""

    size: int
    log: bool

    def place(self, file: BinaryIO, offset: int) -> Place:
        """Whose byte stands at an offset of the file. Leaves the file's position anywhere."""
        frame = self.size + _FRAME_HEADER if self.log else self.size
        number, within = divmod(offset - (_LOG_HEADER if self.log else 0), frame)
        if number < 0 or (self.log and within < _FRAME_HEADER):
            return Place("unknown")
        file.seek(offset - within + (_FRAME_HEADER if self.log else 0))
        page = file.read(self.size)
        if self.log:
            within -= _FRAME_HEADER
        return _place(page, within)


def paged(path: Path) -> Paged | None:
    """How a file is cut in pages; None where it is neither a database nor a log."""
    with path.open("rb") as file:
        head = file.read(_LOG_HEADER)
    if head.startswith(_DATABASE):
        size = int.from_bytes(head[16:18], "big")
        found = Paged(0x10000 if size == 1 else size, log=False)
    elif head[:4] in _LOG:
        found = Paged(int.from_bytes(head[8:12], "big"), log=True)
    else:
        return None
    return found if found.size in _SIZES else None


def _place(page: bytes, offset: int) -> Place:
    start = _FILE_HEADER if page.startswith(_DATABASE) else 0
    if len(page) < start + 12:
        return Place("unknown")
    kind = page[start]
    if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER):
        return Place("free" if kind == 0x05 else "unknown")
    pointers = start + (12 if kind == _INDEX_INNER else 8)
    for n in range(int.from_bytes(page[start + 3 : start + 5], "big")):
        cell = int.from_bytes(page[pointers + 2 * n : pointers + 2 * n + 2], "big")
        if cell <= offset:
            end, row = _cell(page, cell, kind)
            if offset < end:
                return Place("row", row) if kind == _TABLE_LEAF else Place("index")
    return Place("free")


def _cell(page: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where a cell's bytes on this page end, and its row number (0 in an index)."""
    payload, at = _varint(page, at + 4 if kind == _INDEX_INNER else at)
    row = 0
    if kind == _TABLE_LEAF:
        row, at = _varint(page, at)
    usable = len(page)
    most = usable - 35 if kind == _TABLE_LEAF else (usable - 12) * 64 // 255 - 23
    if payload <= most:
        return at + payload, row
    least = (usable - 12) * 32 // 255 - 23
    here = least + (payload - least) % (usable - 4)
    return at + (here if here <= most else least), row


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(9):
        byte = page[at + n] if at + n < len(page) else 0
        if n == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + n + 1
    raise AssertionError("a varint has at most nine bytes")
