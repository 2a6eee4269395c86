"""Copy and check what accounts have beside the posts: the records in SQLite and uploaded files; it changes neither.

A file's bytes are there before its row is, and after it: what a copy of the rows names is looked for on the disk,
and what was removed meanwhile is left out of both. Records in PostgreSQL are their operator's to dump.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from voxpop.keeping.manifest import Kept, digest
from voxpop.keeping.progress import Tell

NAME = "accounts.db"
FILES = "files"
_BUSY_S = 10.0
_UPLOADS = "SELECT id, size FROM files WHERE made_by = ''"
_HAS = "SELECT 1 FROM sqlite_schema WHERE name = 'files'"


def records_of(folder: Path, elsewhere: bool) -> list[Path]:
    """The database of records in a data folder, if it is there; `elsewhere`: it is not this folder's to keep."""
    path = folder / NAME
    return [path] if path.is_file() and not elsewhere else []


def uploads_of(folder: Path) -> list[Path]:
    """The uploaded files of a data folder; those that are being written are not among them."""
    return [p for p in sorted((folder / FILES).glob("file-*")) if p.is_file() and p.suffix != ".part"]


def copy_uploads(folder: Path, target: Path, tell: Tell, rows: sqlite3.Connection | None) -> dict[str, Kept]:
    """Copy the files that `rows` names, those that are gone left out; without rows all that lie there."""
    named = None if rows is None else {id_ for id_, _ in _uploads(rows)}
    wanted = [p for p in uploads_of(folder) if named is None or p.name in named]
    files: dict[str, Kept] = {}
    for n, path in enumerate(wanted):
        tell("copying files", n, len(wanted))
        name = f"{FILES}/{path.name}"
        (target / FILES).mkdir(mode=0o700, exist_ok=True)
        alone(target / name)
        try:
            files[name] = digest(path, lambda _: None, target / name)
        except FileNotFoundError:
            (target / name).unlink()
    return files


def settle(copy: sqlite3.Connection, files: dict[str, Kept]) -> None:
    """Take the rows of files that were removed while they were copied out of a copy of the records."""
    gone = [(id_,) for id_, _ in _uploads(copy) if f"{FILES}/{id_}" not in files]
    copy.executemany("DELETE FROM files WHERE id = ?", gone)


def alone(path: Path) -> None:
    """Make an empty file that only its owner may read, where there is none; what is there becomes so."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.chmod(0o600)


def verify(folder: Path, *, elsewhere: bool = False) -> Iterator[tuple[str, str]]:
    """What is wrong with the records and the files of a data folder, and the way out."""
    for path in records_of(folder, elsewhere):
        cure = f"Restore a backup, or give up all accounts and move {path} away."
        try:
            with closing(_opened(path)) as con:
                if (word := con.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                    yield f"SQLite says of {path}: {word}.", cure
                elif row := con.execute("PRAGMA foreign_key_check").fetchone():
                    yield f"A row of {row[0]} in {path} belongs to none of {row[2]}.", cure
                else:
                    yield from _unlike(folder, con)
        except sqlite3.Error as error:
            yield f"SQLite says of {path}: {error}.", cure


def _unlike(folder: Path, con: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Rows whose bytes are not there, or are of another size; bytes without a row are swept by the server."""
    for id_, size in _uploads(con):
        path = folder / FILES / id_
        found = path.stat().st_size if path.is_file() else None
        if found == size or not con.execute("SELECT 1 FROM files WHERE id = ?", (id_,)).fetchone():
            continue  # the row goes first: a file that was just removed is no fault
        said = f"{path} is gone." if found is None else f"{path} has {found} bytes and its row says {size}."
        yield said, f"Restore it from a backup, or remove it: DELETE /v1/files/{id_}"


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None)


def _uploads(con: sqlite3.Connection) -> list[tuple[str, int]]:
    return con.execute(_UPLOADS).fetchall() if con.execute(_HAS).fetchone() else []
