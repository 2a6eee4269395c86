"""Carry a folder of version 0.1 (posts.db, index/) over to partitions; killed at any moment, it begins again.

The new files are made in `next/` and renamed; the catalog's rename is the moment from which they count, and the old
files, with their text, are removed after it.
"""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from voxpop.errors import VoxpopError
from voxpop.posts import AccountGone, Author, Engagement, Media, Post, Renamed, Upsert
from voxpop.store.building import build
from voxpop.store.codes import Codes
from voxpop.store.index import PartitionIndex, begin, index_of
from voxpop.store.reading import Reader
from voxpop.store.rows import key
from voxpop.store.truth import Writer

_log = logging.getLogger(__name__)
_SLICE = 5000
_SELECT = """SELECT p.seq, p.id, p.network, p.author_id, a.handle, a.name, p.text, p.created_at, p.witnessed_at,
  p.url, p.lang, p.reply_to, p.root, p.quote_of, p.extra, p.likes, p.reposts, p.replies
  FROM posts p LEFT JOIN authors a ON a.id = p.author_id WHERE p.seq > ? ORDER BY p.seq LIMIT ?"""


def refuse_old(root: Path) -> None:
    """Raise VoxpopError where a folder must be carried over first, or its catalog is lost."""
    if (root / "posts.db").exists() and not (root / "catalog.db").exists():
        what = f"The data folder {root} was written by voxpop 0.1."
        raise VoxpopError(what, f"Carry it over first, such as with: voxpop rebuild --data {root}")
    _refuse_lost(root)


def refuse_empty(root: Path, cure: str = "Choose another with --data.") -> None:
    """Raise VoxpopError for a folder without posts; where only the simulated night is there, that is the cure."""
    if holds_posts(root):
        return
    if holds_posts(root / "simulated"):
        raise VoxpopError(f"Only the simulated night is in {root}.", f"Name it with: --data {root / 'simulated'}")
    raise VoxpopError(f"The data folder {root} holds no posts.", cure)


def holds_posts(root: Path) -> bool:
    """Whether a folder is a store: of this version, of an older one, or one that lost its catalog."""
    return (root / "catalog.db").exists() or (root / "posts.db").exists() or any((root / "partitions").glob("*"))


def _refuse_lost(root: Path) -> None:
    if any((root / "partitions").glob("*")) and not (root / "catalog.db").exists():
        what = f"{root / 'catalog.db'} is missing, and the partitions cannot be read without it."
        raise VoxpopError(what, "Restore a backup of the folder, or choose another with --data.")


def carry_over(root: Path) -> None:
    """Make the folder one of this version, where it is an older one. The caller holds its lock."""
    old = root / "posts.db"
    if (root / "catalog.db").exists():
        _remove_old(root)
        return
    parts = root / "partitions"
    if not old.exists():
        _refuse_lost(root)
        return
    fresh = root / "next"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(parts, ignore_errors=True)
    fresh.mkdir()
    _copy(old, fresh)
    if (fresh / "partitions").exists():
        (fresh / "partitions").rename(parts)
    (fresh / "catalog.db").rename(root / "catalog.db")  # from here on the new files count
    _remove_old(root)
    _log.info("Carried %s over from voxpop 0.1.", root)


def _remove_old(root: Path) -> None:
    for name in ("index", "next"):
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("posts.db-wal", "posts.db-shm", "posts.db"):
        (root / name).unlink(missing_ok=True)


def _copy(old: Path, fresh: Path) -> None:
    with closing(_opened(old)) as con:
        total = con.execute("SELECT count(*) FROM posts").fetchone()[0]
        writer = Writer(fresh, lambda first: begin(fresh, first))
        try:
            done = 0
            for rows in _slices(con):
                writer.apply("", [Upsert(_post(r)) for r in rows])
                done += len(rows)
                _log.info("Carried over %d of %d posts.", done, total)
            names = [Author(*r) for r in con.execute("SELECT id, handle, name FROM authors")]
            writer.apply("", [Renamed(a) for a in names])
            writer.apply("", [AccountGone(*r) for r in con.execute("SELECT author_id, at FROM gone")])
            _copy_catalog(con, writer)
        finally:
            writer.close()
    _index(fresh)


def _opened(old: Path) -> sqlite3.Connection:
    con = sqlite3.connect(old, timeout=10)
    try:
        con.execute("SELECT count(*) FROM counters")
    except sqlite3.Error as error:
        con.close()
        error.add_note(str(old))
        raise
    return con


def _copy_catalog(con: sqlite3.Connection, writer: Writer) -> None:
    catalog = writer.catalog
    dead = [(key(id_), at) for id_, at in con.execute("SELECT id, at FROM tombstones")]
    catalog.db.begin()
    catalog.count("tombstones", catalog.db.many("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", dead))
    catalog.db.many(
        "INSERT INTO cursors VALUES (?, ?)", con.execute("SELECT source, cursor FROM cursors").fetchall()
    )
    catalog.db.commit()


def _index(fresh: Path) -> None:
    reader = Reader(fresh)
    try:
        codes = Codes(reader.catalog.secret())
        for extent in reader.extents():
            part = PartitionIndex(index_of(fresh, extent.first), codes)
            build(reader, part, extent.first, 0, lambda done: _log.info("Indexed %d posts.", done))
    finally:
        reader.close()


def _slices(con: sqlite3.Connection) -> Iterator[list[Any]]:
    seq = 0
    while rows := con.execute(_SELECT, (seq, _SLICE)).fetchall():
        seq = rows[-1][0]
        yield rows


def _post(row: Any) -> Post:
    media, links = orjson.loads(row[14]) if row[14] else ((), ())
    return Post(
        id=row[1], network=row[2], author=Author(row[3], row[4] or "", row[5] or ""), text=row[6],
        created_at=row[7], witnessed_at=row[8], url=row[9] or "",
        lang=row[10] or "", reply_to=row[11] or "", root=row[12] or "",
        quote_of=row[13] or "", media=tuple(Media(*m) for m in media), links=tuple(links),
        engagement=Engagement(row[15] or 0, row[16] or 0, row[17] or 0),
    )  # fmt: skip
