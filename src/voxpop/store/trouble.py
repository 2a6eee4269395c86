"""Say what SQLite, the index or the disk refused, with the folder and the cure; other failures pass as they are."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxpop.errors import VoxpopError

_DAMAGED = (
    "Move that folder away and ingest again, or restore a copy of it.",
    frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}),
)
_FULL = (
    "Free space on that disk, then start again: what was acknowledged is kept.",
    frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}),
)
_BUSY = (
    "Stop the voxpop that writes to it, or choose another folder with --data.",
    frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}),
)
_CLOSED = "Choose a folder with --data that this user can write to."


@contextmanager
def said(folder: Path) -> Iterator[None]:
    """Turn a failure below into one that a person can act on."""
    try:
        yield
    except sqlite3.Error as error:
        raise VoxpopError(f"The data folder {folder} failed: {error}.", _cure(error)) from error
    except OSError as error:
        raise VoxpopError(f"The data folder {folder} failed: {error}.", _CLOSED) from error
    except ValueError as error:  # what tantivy raises
        cure = f"Check the disk; if it is sound, delete {folder / 'index'}: it is rebuilt at the next start."
        raise VoxpopError(f"The index in {folder} failed: {error}.", cure) from error


def _cure(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return next((cure for cure, codes in (_DAMAGED, _FULL, _BUSY) if code in codes), _CLOSED)
