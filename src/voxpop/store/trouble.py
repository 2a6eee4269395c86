"""Say what SQLite, the index or the disk refused, with the file and the cure; other failures pass as they are."""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxpop.errors import VoxpopError

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_TIGHT = 16_000_000
_FREE = "Free space on that disk: what was acknowledged is kept, and writing goes on once there is room."
_CLOSED = "Choose a folder with --data that this user can write to."


class DiskFull(VoxpopError):
    """There is no room: nothing of the batch was stored, and it may be given again later."""


@contextmanager
def said(folder: Path) -> Iterator[None]:
    """Turn a failure below into one that a person can act on."""
    try:
        yield
    except sqlite3.Error as error:
        raise _of_sqlite(folder, error) from error
    except OSError as error:
        kind = DiskFull if error.errno in _NO_SPACE else VoxpopError
        cure = _FREE if kind is DiskFull else _CLOSED
        raise kind(f"The data folder {folder} failed: {error}.", cure) from error
    except ValueError as error:  # what tantivy raises
        raise _of_index(folder, str(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what tantivy's threads end with
            raise
        raise _of_index(folder, str(error)) from error


def _of_sqlite(folder: Path, error: sqlite3.Error) -> VoxpopError:
    full = getattr(error, "sqlite_errorcode", 0)
    code = full & 0xFF
    path = Path(next(iter(getattr(error, "__notes__", ())), folder))
    what = f"The data folder {folder} failed: {error}." if path == folder else f"{path} failed: {error}."
    if code == sqlite3.SQLITE_FULL or full == sqlite3.SQLITE_IOERR_SHMSIZE:
        return DiskFull(what, _FREE)
    if code in DAMAGED:
        return VoxpopError(what, _way_out(path), code="damaged")
    if code == sqlite3.SQLITE_IOERR:
        return VoxpopError(what, f"Check the disk that holds {folder}, and whether it is full.")
    if code in _BUSY:
        what = f"Another voxpop has the data folder {folder} open ({error})."
        return VoxpopError(what, "Stop the voxpop that writes to it, or choose another folder with --data.")
    return VoxpopError(what, _CLOSED)


def _way_out(path: Path) -> str:
    if path.parent.parent.name == "partitions":
        return f"Restore a backup, or move {path.parent} away: the rest opens without it."
    place = path if path.is_dir() else path.parent
    return (
        f"Restore a backup, or move {place} away and ingest again. Without catalog.db nothing is known of what was"
        " deleted or forgotten: it may come back."
    )


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return _TIGHT


def plainly(word: str) -> str:
    """What tantivy says, less its guess that a file with a wrong end is of an old version."""
    return "a file of it is damaged" if "tantivy version" in word else word.partition("\n")[0]


def _of_index(folder: Path, word: str) -> VoxpopError:
    word = plainly(word)
    what = f"The index in {folder} failed: {word}."
    if "No space left" in word or _free(folder) < _TIGHT:  # a thread that ran out of room only says that it died
        return DiskFull(what, _FREE)
    cure = "Check the disk; if it is sound, run: voxpop rebuild. It makes the index again from the posts."
    return VoxpopError(what, cure)
