"""Look for a text in every byte of a data folder and say who holds it: a live post, or nobody (a stray).

Models are skipped and said so. Files are read before any database is opened: to close a plain handle of a file that
this process also holds through SQLite would drop SQLite's locks (https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError, VoxpopError
from voxpop.keeping.needle import CHUNK, Needle
from voxpop.keeping.pages import Paged, Place, paged
from voxpop.keeping.progress import Tell
from voxpop.store.reading import Reader
from voxpop.store.trouble import said

_SKIPPED = ("models",)
_MOST = 10_000
_POSTS = "posts"
_LOG = "-wal"
LONGEST_INPUT = 64_000  # bytes of a text from the standard input
Key = tuple[Path, int]


@dataclass(frozen=True, slots=True)
class Found:
    """One occurrence. `kind`: `post` (live: `post` is the folder of its store and its number), `row` (of another
    live row) or `stray`."""

    file: str
    offset: int
    kind: str = "stray"
    post: Key | None = None


@dataclass(slots=True)
class Report:
    """What was read and found.

    `live`: the live posts that hold the text. `coded`: removed posts whose words may still stand in an index as
    keyed codes, until that part of the index is written anew.
    """

    files: int = 0
    bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    live: set[Key] = field(default_factory=set)
    coded: int = 0

    @property
    def strays(self) -> list[Found]:
        """The occurrences that belong to nothing that lives."""
        return [f for f in self.found if f.kind == "stray"]


def audit(folder: Path, text: str, tell: Tell) -> Report:
    """Search every file under `folder`; beside a running server too, as of the moment in which each file is read.

    Raises UsageError for a text that is too short or found over 10,000 times, VoxpopError for a folder or a file
    that cannot be read: a proof with a gap is none.
    """
    if not folder.is_dir():
        raise VoxpopError(f"There is no data folder {folder}.", "Choose one with --data.")
    needle, report = Needle(text), Report()
    with said(folder):
        total, hits = sum(path.stat().st_size for path in _files(folder, [])), list[_Hit]()
        for path in _files(folder, report.skipped):
            hits += _scan(path, needle, _MOST - len(hits), lambda n: tell("reading", report.bytes + n, total))
            report.files += 1
            report.bytes += path.stat().st_size if path.exists() else 0
        databases = [p for p in _files(folder, []) if _is_database(p)]
        for n, path in enumerate(databases):
            tell("asking who holds it", n, len(databases))
            try:
                _ask(path, folder, needle, [h for h in hits if h.database == path], report)
            except sqlite3.DatabaseError as error:
                what = f"Of {path} SQLite says: {error}; so nobody can say what in it is live."
                raise VoxpopError(what, "See: voxpop verify") from error
        report.found += [Found(_name(h.path, folder), h.offset) for h in hits if h.database not in databases]
    report.found.sort(key=lambda f: (f.file, f.offset))
    return report


def owners(report: Report) -> dict[Key, tuple[str, str]]:
    """Id and address of the live posts of a report; one that was removed meanwhile is left out."""
    named: dict[Key, tuple[str, str]] = {}
    for root in {root for root, _ in report.live}:
        with said(root), closing(Reader(root)) as reader:
            for held in reader.by_seqs([seq for place, seq in report.live if place == root], reader.extents()):
                named[root, held.seq] = (held.post.id, held.post.url)
    return named


@dataclass(frozen=True, slots=True)
class _Hit:
    path: Path
    offset: int
    place: Place

    @property
    def database(self) -> Path:
        """The file whose rows a page of this one may hold."""
        return self.path.with_name(self.path.name.removesuffix(_LOG))


def _files(folder: Path, skipped: list[str]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        here = Path(place)
        for name in [n for n in folders if (here == folder and n in _SKIPPED) or (here / n).is_symlink()]:
            folders.remove(name)
            skipped.append(_name(here / name, folder))
        folders.sort()
        for name in sorted(names):
            if (here / name).is_file() and not (here / name).is_symlink():
                yield here / name
            elif (here / name).exists():
                skipped.append(_name(here / name, folder))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _is_database(path: Path) -> bool:
    pages = paged(path)
    return bool(pages and not pages.log)


def _scan(path: Path, needle: Needle, most: int, tell: Callable[[int], None]) -> list[_Hit]:
    try:
        with path.open("rb") as file:
            pages, watched = paged(path), _Watched(file, tell)
            offsets = []
            for offset in needle.offsets(watched):  # type: ignore[arg-type]
                offsets.append(offset)
                if len(offsets) > most:
                    raise UsageError(f"The text stands over {_MOST} times in the folder.", "Give more of it.")
            return [_Hit(path, o, _place(pages, file, o)) for o in offsets]
    except FileNotFoundError:  # a running server drops logs and partitions
        return []


def _place(pages: Paged | None, file: Any, offset: int) -> Place:
    return pages.place(file, offset) if pages else Place("free")


class _Watched:
    """A file whose reading is told."""

    def __init__(self, file: Any, tell: Callable[[int], None]) -> None:
        self._file, self._tell, self._done = file, tell, 0

    def read(self, size: int = CHUNK) -> bytes:
        self._tell(self._done)
        data: bytes = self._file.read(size)
        self._done += len(data)
        return data


def _ask(path: Path, folder: Path, needle: Needle, hits: list[_Hit], report: Report) -> None:
    """Tell live rows from strays among the hits in one database and its log."""
    # Read only: a connection that may write would fold and delete the log if it closed last, evidence included.
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=30)) as con:
        con.create_function("holds", -1, lambda *values: any(_holds(needle, v) for v in values), deterministic=True)
        report.coded += _coded(con)
        page = con.execute("PRAGMA page_size").fetchone()[0]
        tables = _tables(con)
        numbers = {h.place.row for h in hits if h.place.kind == "row"}
        rows = {t.name: t.among(con, numbers) | t.longer(con, page * 9 // 10) for t in tables if t.numbered}
        keyed = any(h.place.kind == "index" for h in hits) and any(t.longer(con, 0, 1) for t in tables)
        split = any(h.place.kind == "unknown" for h in hits) and any(t.longer(con, page // 5, 1) for t in tables)
    posts = rows.pop(_POSTS, set())
    root = path.parents[2] if posts else folder
    report.live |= {(root, seq) for seq in posts}
    others = set().union(*rows.values())
    for hit in hits:
        at, place = (_name(hit.path, folder), hit.offset), hit.place
        if place.kind == "row" and place.row in posts:
            report.found.append(Found(*at, "post", (root, place.row)))
        elif (place.kind == "row" and place.row in others) or {"index": keyed, "unknown": split}.get(place.kind):
            report.found.append(Found(*at, "row"))
        else:
            report.found.append(Found(*at))


def _coded(con: sqlite3.Connection) -> int:
    if not con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'unindex'").fetchone():
        return 0
    sql = "SELECT (SELECT coalesce(sum(stale), 0) FROM partitions) + (SELECT count(*) FROM unindex)"
    return int(con.execute(sql).fetchone()[0])


def _holds(needle: Needle, value: Any) -> bool:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return isinstance(data, bytes) and needle.within(data)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: tuple[str, ...]  # those that can hold text, quoted
    numbered: bool

    def among(self, con: sqlite3.Connection, numbers: set[int]) -> set[int]:
        """Those of these rows that hold the text."""
        sql = f"SELECT 1 FROM {_quoted(self.name)} WHERE rowid = ? AND holds({', '.join(self.columns)})"
        return {n for n in numbers if con.execute(sql, (n,)).fetchone()}

    def longer(self, con: sqlite3.Connection, size: int, most: int = -1) -> set[int]:
        """The rows of more than `size` bytes that hold the text; without row numbers, {0} where there are any."""
        sizes = " + ".join(f"coalesce(length(CAST({c} AS BLOB)), 0)" for c in self.columns) or "0"
        number = "rowid" if self.numbered else "0"
        sql = f"SELECT {number} FROM {_quoted(self.name)} WHERE {sizes} > ? AND holds({', '.join(self.columns)})"
        return {r[0] for r in con.execute(f"{sql} LIMIT ?", (size, most))}


def _tables(con: sqlite3.Connection) -> list[_Table]:
    tables = con.execute("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    return [
        _Table(name, _columns(con, name), not without)
        for name, without in tables.fetchall()
        if name[:7] != "sqlite_"
    ]


def _columns(con: sqlite3.Connection, table: str) -> tuple[str, ...]:
    rows = con.execute("SELECT name FROM pragma_table_info(?) WHERE type NOT LIKE 'INT%'", (table,))
    return tuple(_quoted(r[0]) for r in rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
