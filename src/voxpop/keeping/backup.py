"""Copy a data folder as of one moment while it is written, without what was removed; it never blocks for long.

The catalog's transaction is the commit point of every batch. While this process holds the write lock, for some
milliseconds, it opens a read snapshot of every database; then each is copied from its snapshot (SQLite's online
backup) and written anew without free space (VACUUM INTO). The index is not copied: the truth can rebuild it.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from voxpop import __version__
from voxpop.errors import UsageError, VoxpopError
from voxpop.history import NAME as ANSWERS
from voxpop.keeping import accounts
from voxpop.keeping.manifest import Kept, Manifest, digest
from voxpop.keeping.progress import Tell
from voxpop.store.migration import refuse_empty, refuse_old
from voxpop.store.partition import folder_of
from voxpop.store.trouble import DAMAGED, said

_PAGES = 4_096
_BUSY_S = 60.0
_PART = ".copying"
_VOICES = "voices"


def backup(folder: Path, target: Path, tell: Tell, *, now: str, elsewhere: bool = False) -> Manifest:
    """Write a backup of `folder` to `target`; `now` is the ISO time to note. What fails leaves `target` as it was.

    `elsewhere`: the records are in a database that is not the folder's, and not copied; the files are.

    Raises UsageError for a target that is not empty or lies in the data folder, VoxpopError for a folder without
    posts, a disk that is too small, or a database that cannot be read.
    """
    _check(folder, target, elsewhere)
    fresh = not target.exists()
    with said(target):
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with said(folder):
            return _write(folder, target, tell, now, elsewhere)
    except BaseException:
        for path in target.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if fresh:
            with suppress(OSError):
                target.rmdir()
        raise


def catalog_of(folder: Path) -> Path:
    """The catalog of a data folder. Raises VoxpopError where there is none, or the folder is of an older voxpop."""
    refuse_old(folder)
    refuse_empty(folder)
    return folder / "catalog.db"


def _partitions(folder: Path, catalog: sqlite3.Connection) -> list[Path]:
    """The databases of the partitions, newest first: that one is written to, and should be released first.

    One whose folder is gone is just being dropped, or was moved away: the store forgets its posts when it opens.
    """
    rows = catalog.execute("SELECT first FROM partitions ORDER BY first DESC").fetchall()
    paths = [folder_of(folder, first) / "posts.db" for (first,) in rows]
    return [path for path in paths if path.is_file()]


def _beside(folder: Path, elsewhere: bool) -> list[Path]:
    """The kept answers and the records, where there are any; the records last (`accounts.settle`)."""
    path = folder / ANSWERS
    return [*([path] if path.is_file() else []), *accounts.records_of(folder, elsewhere)]


def _check(folder: Path, target: Path, elsewhere: bool) -> None:
    paths = [catalog_of(folder), *folder.glob("partitions/*/posts.db"), *_beside(folder, elsewhere)]
    paths += accounts.uploads_of(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not an empty folder.", "Name a folder that is new or empty.")
    if folder.resolve() in [target.resolve(), *target.resolve().parents]:
        cure = "Name a folder elsewhere: what is forgotten must not live on beside what remembers."
        raise UsageError(f"{target} lies in the data folder.", cure)
    place = next(p for p in [target.absolute(), *target.absolute().parents] if p.exists())
    sizes = [_size(path) for path in paths]
    needed, free = sum(sizes) + max(sizes), shutil.disk_usage(place).free
    if needed > free:
        what = f"The backup may need {needed / 2**20:.0f} MiB and {free / 2**20:.0f} MiB are free at {place}."
        raise VoxpopError(what, "Free some space, or name a folder on another disk.")


def _size(path: Path) -> int:
    """With its log; 0 for what was removed meanwhile."""
    size = 0
    for part in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            size += part.stat().st_size
    return size


@dataclass(frozen=True, slots=True)
class _Snapshot:
    path: Path
    con: sqlite3.Connection


@contextmanager
def _snapshots(folder: Path, elsewhere: bool) -> Iterator[list[_Snapshot]]:
    """The catalog and every partition as of one moment between two batches."""
    with ExitStack() as stack:

        def snapshot(path: Path) -> _Snapshot:
            con = stack.enter_context(closing(_connect(path, "ro")))
            with _naming(path):
                con.execute("BEGIN")
                con.execute(
                    "SELECT count(*) FROM sqlite_schema"
                ).fetchone()  # a snapshot begins with its first read
            return _Snapshot(path, con)

        path = catalog_of(folder)
        snapshot(path)  # while one that only reads is open the gate's end folds no log: that is for the store to do
        gate = stack.enter_context(closing(_connect(path)))
        gate.execute("BEGIN IMMEDIATE")
        try:
            paths = (path, *_partitions(folder, gate), *_beside(folder, elsewhere))
            snapshots = [snapshot(p) for p in paths]
        finally:
            gate.execute("ROLLBACK")
        yield snapshots


def _connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=_BUSY_S)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Damage that is met below is that of `path`, for `trouble.said`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
            error.add_note(str(path))
        raise


def _write(folder: Path, target: Path, tell: Tell, now: str, elsewhere: bool) -> Manifest:
    files = accounts.copy_uploads(folder, target, tell, None) if elsewhere else {}
    owed = _Owed(files)
    with _snapshots(folder, elsewhere) as snapshots:
        for snapshot in snapshots:
            name = snapshot.path.relative_to(folder).as_posix()
            if name == accounts.NAME:
                files |= accounts.copy_uploads(folder, target, tell, snapshot.con)
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            _copy(snapshot, copy, owed, lambda n, all_: tell(f"copying {name}", n, all_))  # noqa: B023
            files[name] = digest(copy, lambda n: tell(f"checking {name}", n, copy.stat().st_size))  # noqa: B023
    for voice in sorted((folder / _VOICES).glob("*.md")):
        (target / _VOICES).mkdir(exist_ok=True)
        files[f"{_VOICES}/{voice.name}"] = digest(voice, lambda _: None, target / _VOICES / voice.name)
    manifest = Manifest(__version__, now, owed.posts, owed.tombstones, files)
    manifest.write(target)
    return manifest


def _copy(snapshot: _Snapshot, copy: Path, owed: "_Owed", tell: Callable[[int, int], None]) -> None:
    part = copy.with_name(copy.name + _PART)
    for path in (part, copy):
        accounts.alone(path)
    with closing(_connect(part)) as con, _naming(snapshot.path):
        snapshot.con.backup(con, pages=_PAGES, progress=lambda _, left, total: tell(total - left, total))
        snapshot.con.close()  # the writer may fold its log again
        con.execute("PRAGMA journal_mode=OFF")
        con.execute("BEGIN")
        owed.settle(con)
        con.execute("COMMIT")
        tell(1, 1)
        con.execute("VACUUM INTO ?", (os.fspath(copy),))
    part.unlink()


@dataclass(slots=True)
class _Owed:
    """What the store would do with these files when it opens them: the copy has it done, so that no text stays.

    Rows above the catalog's `seq` were never committed; removals of its journal may not have reached a partition.
    """

    files: dict[str, Kept]
    """What of uploaded files was copied."""
    seq: int = 0
    removed: list[tuple[int]] = field(default_factory=list)
    tombstones: int = 0
    posts: int = 0

    def settle(self, con: sqlite3.Connection) -> None:
        """Do it in one copied database; the catalog comes first."""
        if con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'counters'").fetchone():
            row = con.execute("SELECT value FROM counters WHERE name = 'seq'").fetchone()
            self.seq = row[0] if row else 0
            self.removed = con.execute("SELECT seq FROM unindex").fetchall()
            self.tombstones = con.execute("SELECT count(*) FROM tombstones").fetchone()[0]
            con.execute("DELETE FROM orders")  # who gave them waits for the original
            con.execute("DELETE FROM unindex")  # done below, and the index will be made of what is left
            con.execute("UPDATE partitions SET stale = 0")
            return
        if con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'answers'").fetchone():
            return
        if not con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'posts'").fetchone():
            accounts.settle(con, self.files)
            return
        con.execute("DELETE FROM posts WHERE seq > ?", (self.seq,))
        con.execute("DELETE FROM aliases WHERE seq > ?", (self.seq,))
        con.executemany("DELETE FROM posts WHERE seq = ?", self.removed)
        self.posts += con.execute("SELECT count(*) FROM posts").fetchone()[0]
