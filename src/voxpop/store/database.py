"""SQLite as the store uses it: what is removed is overwritten in every page and log, and an error names its file.

It refuses to checkpoint behind our back: with each checkpoint the gaps of the pages are cleared, where balancing
leaves copies of rows that `secure_delete` does not see.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson

F = TypeVar("F", bound=Callable[..., Any])
_BTREE_PAGES = (2, 5, 10, 13)
_LOG_HEADER, _FRAME_HEADER = 32, 24


def _naming(method: F) -> F:
    """An error of `method` carries the path of its file, for `trouble.said`."""

    @wraps(method)
    def named(self: "Database", *args: Any, **more: Any) -> Any:
        try:
            return method(self, *args, **more)
        except sqlite3.Error as error:
            error.add_note(str(self.path))
            raise

    return cast(F, named)


class Database:
    """One connection to one file. `durable`: a commit is on the disk when it returns.

    `moved` says that balancing may have moved text since the last purge. It stays False where text is only
    ever appended, until somebody sets it.
    """

    @_naming
    def __init__(
        self, path: Path, schema: str = "", *, cache_kb: int = 1024, durable: bool = False, readonly: bool = False
    ) -> None:
        self.path = path
        self.moved = False
        self._log = path.with_name(path.name + "-wal")
        # To close any descriptor of a file drops all locks of this process on it (sqlite.org/howtocorrupt.html,
        # 2.2): the next reader elsewhere would delete the log under us. So it stays open with the connection.
        self._raw = -1
        self._all_pages = log_size(path) > 0  # a process was cut off: what it cleared is not known
        mode = "ro" if readonly else "rwc"  # who only reads never folds or deletes a log when it closes last
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        self.con = sqlite3.connect(uri, isolation_level=None, check_same_thread=False, timeout=10, uri=True)
        try:
            self._configure(cache_kb, durable, readonly)
            if schema and not readonly:
                self.con.executescript(schema)
        except BaseException:
            self.con.close()
            raise

    def _configure(self, cache_kb: int, durable: bool, readonly: bool) -> None:
        if not readonly:
            self.con.execute("PRAGMA journal_mode=WAL")
        self.con.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self.con.execute("PRAGMA secure_delete=ON")
        self.con.execute("PRAGMA wal_autocheckpoint=0")
        self.con.execute("PRAGMA temp_store=MEMORY")
        self.cache(cache_kb)
        if readonly:
            self.con.execute("PRAGMA query_only=ON")

    def cache(self, kb: int) -> None:
        """How much of the file to keep in memory."""
        self.con.execute(f"PRAGMA cache_size=-{int(kb)}")

    @_naming
    def rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        """All rows of a query."""
        return self.con.execute(sql, tuple(values)).fetchall()

    @_naming
    def rows_at_once(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        """The rows that a query gives as one JSON array.

        `sqlite3` takes the interpreter's lock anew for each row that it steps to, and beside a busy thread may wait
        for it each time.
        """
        rows: list[Any] = orjson.loads(self.con.execute(sql, tuple(values)).fetchone()[0])
        return rows

    @_naming
    def many(self, sql: str, values: Iterable[Any]) -> int:
        """Run a statement for each of `values`; how many rows it changed."""
        return max(self.con.executemany(sql, values).rowcount, 0)

    @_naming
    def begin(self) -> None:
        self.con.execute("BEGIN IMMEDIATE")

    @_naming
    def commit(self) -> None:
        self.con.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what is open, if anything is."""
        if self.con.in_transaction:
            self.con.execute("ROLLBACK")

    def log_bytes(self) -> int:
        """How long the write-ahead log is."""
        return log_size(self.path)

    @_naming
    def purge(self) -> None:
        """Fold the write-ahead log into the file and empty it: no removed text stays in either.

        The gaps are cleared while the log is still there: after a crash in between, the next start clears all.
        """
        if not self.log_bytes() and not self._all_pages:
            return
        clear = self.moved or self._all_pages
        pages = None if self._all_pages else _logged_pages(self._log) if clear else set()
        busy, *_ = self.con.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        if self._raw < 0:
            self._raw = os.open(self.path, os.O_RDWR)
        _clear_gaps(self._raw, pages)
        self._all_pages, self.moved = clear and bool(busy), False
        self.con.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def check(self) -> str:
        """SQLite's own word on the file: `ok`, or what is wrong."""
        return str(self.rows("PRAGMA quick_check(1)")[0][0])

    def close(self) -> None:
        self.con.close()
        if self._raw >= 0:
            os.close(self._raw)
            self._raw = -1


def log_size(path: Path) -> int:
    """Bytes in the write-ahead log of a database."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def among(values: Iterable[int | str]) -> tuple[str]:
    """Values as the one parameter of `IN (SELECT value FROM json_each(?))`."""
    return (orjson.dumps(list(values)).decode(),)


def _logged_pages(log: Path) -> set[int]:
    """The pages that a write-ahead log holds (https://www.sqlite.org/fileformat2.html#walformat)."""
    found: set[int] = set()
    with log.open("rb") as file:
        size = int.from_bytes(file.read(_LOG_HEADER)[8:12], "big")
        end = os.fstat(file.fileno()).st_size
        for frame in range(_LOG_HEADER, end - _FRAME_HEADER, _FRAME_HEADER + size):
            found.add(int.from_bytes(os.pread(file.fileno(), 4, frame), "big"))
    return found


def _clear_gaps(file: int, pages: set[int] | None) -> None:
    """Overwrite the unused middle of b-tree pages (fileformat2.html#b_tree_pages); None: of all pages.

    SQLite reads nothing there, so that readers beside us are not disturbed.
    """
    size = int.from_bytes(os.pread(file, 2, 16), "big")
    size = 65536 if size == 1 else size
    count = os.fstat(file).st_size // size if size else 0
    for number in range(1, count + 1) if pages is None else sorted(pages):
        start = (number - 1) * size
        page = os.pread(file, size, start)
        low, high = _gap(page, 100 if number == 1 else 0)
        if low < high <= size and page.count(0, low, high) != high - low:
            os.pwrite(file, bytes(high - low), start + low)
    os.fsync(file)


def _gap(page: bytes, header: int) -> tuple[int, int]:
    """From where to where a page is unused; (0, 0) where it is no b-tree page."""
    if len(page) < header + 12 or page[header] not in _BTREE_PAGES:
        return 0, 0
    cells = int.from_bytes(page[header + 3 : header + 5], "big")
    content = int.from_bytes(page[header + 5 : header + 7], "big") or 65536
    return header + (12 if page[header] < 8 else 8) + 2 * cells, content
