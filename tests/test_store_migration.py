"""A folder of version 0.1.0 is carried over, whole or again: killed at any moment it loses nothing."""

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from voxpop.errors import VoxpopError
from voxpop.posts import Author, Engagement, Media, Post, Renamed, Upsert
from voxpop.store import Query, migration
from voxpop.store.local import LocalStore
from voxpop.text import fingerprint

# As version 0.1.0 made it.
SCHEMA = """
CREATE TABLE posts (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, network TEXT NOT NULL, author_id TEXT NOT NULL,
  text TEXT NOT NULL, created_at INTEGER NOT NULL, witnessed_at INTEGER NOT NULL, url TEXT, lang TEXT,
  reply_to TEXT, root TEXT, quote_of TEXT, extra BLOB, likes INTEGER, reposts INTEGER, replies INTEGER,
  fingerprint INTEGER NOT NULL);
CREATE INDEX posts_by_author ON posts(author_id, witnessed_at);
CREATE INDEX posts_by_text ON posts(fingerprint);
CREATE INDEX posts_by_time ON posts(witnessed_at);
CREATE TABLE authors (id TEXT PRIMARY KEY, handle TEXT NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX authors_by_handle ON authors(handle COLLATE NOCASE);
CREATE TABLE tombstones (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE gone (author_id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE unindex (seq INTEGER PRIMARY KEY);
CREATE TABLE cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
COUNT = 60
NOW = 10_000


def post(n: int) -> Post:
    return Post(
        f"x:{n}", "x", Author(f"x:u{n % 7}", f"u{n % 7}", "Name"), f"red thing{n}", n, 100 + n, url=f"https://x/{n}",
        lang="en", reply_to="x:1", media=(Media("image", "", f"alt{n}"),), links=("https://a.example",),
        engagement=Engagement(n, 1, 2),
    )  # fmt: skip


def write_old(folder: Path) -> None:
    """A folder as version 0.1.0 leaves it: sixty posts less one, a gone account that posted again."""
    folder.mkdir(parents=True, exist_ok=True)
    con = sqlite3.connect(folder / "posts.db")
    con.execute("PRAGMA journal_mode=WAL")
    con.executescript(SCHEMA)
    with con:
        for n in range(COUNT):
            p = post(n)
            con.execute(
                f"INSERT INTO posts VALUES ({', '.join('?' * 17)})",
                (
                    2 * n + 1, p.id, p.network, p.author.id, p.text, p.created_at, p.witnessed_at, p.url, p.lang,
                    p.reply_to, p.root, p.quote_of, orjson.dumps([[list(m) for m in p.media], p.links]),
                    *p.engagement, fingerprint(p.text),
                ),
            )  # fmt: skip
        con.executemany("INSERT INTO authors VALUES (?, ?, ?)", [(f"x:u{n}", f"u{n}", "Name") for n in range(9)])
        con.execute("INSERT INTO tombstones VALUES ('x:dead', 5)")
        con.execute("INSERT INTO gone VALUES ('x:gone', 50)")
        con.execute("INSERT INTO cursors VALUES ('s', '41')")
        con.execute("INSERT INTO counters VALUES ('seq', ?)", (2 * COUNT,))
    con.close()
    (folder / "index" / "000000000001").mkdir(parents=True)
    (folder / "index" / "000000000001" / "some.term").write_bytes(b"thing")
    (folder / "lock").touch()


async def look(folder: Path) -> None:
    async with LocalStore(folder, commit_s=3600) as store:
        assert store.rebuilt == ""
        assert await store.posts([f"x:{n}" for n in range(COUNT)]) == [post(n) for n in range(COUNT)]
        assert [h.post.id for h in await store.search(Query(words=("thing33",)), NOW)] == ["x:33"]
        assert [h.post.id for h in await store.search(Query(words=("alt34",), handles=("u6",)), NOW)] == ["x:34"]
        assert await store.cursors() == {"s": "41"}
        assert (await store.totals())["tombstones"] == 1
        late = Post("x:old", "x", Author("x:gone"), "red", 1, 50)
        dead = Post("x:dead", "x", Author("x:u1"), "red", 1, NOW)
        assert (await store.apply("s", [Upsert(late), Upsert(dead)])).refused == 2
        assert await store.check() == []
    names = {p.name for p in folder.iterdir()}
    assert names == {"catalog.db", "partitions", "lock"}


async def test_all_of_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(migration, "_SLICE", 25)
    caplog.set_level(logging.INFO)
    write_old(tmp_path)
    await look(tmp_path)
    assert "Carried over 25 of 60 posts." in caplog.text
    await look(tmp_path)


async def test_a_reader_says_what_to_do(tmp_path: Path) -> None:
    write_old(tmp_path)
    with pytest.raises(VoxpopError, match=r"written by voxpop 0\.1\. Carry it over first"):
        await LocalStore(tmp_path, readonly=True).__aenter__()


async def test_a_damaged_old_file_is_named_and_left(tmp_path: Path) -> None:
    write_old(tmp_path)
    (tmp_path / "posts.db").write_bytes(b"no database" * 1000)
    with pytest.raises(VoxpopError, match=r"posts\.db failed"):
        await LocalStore(tmp_path).__aenter__()
    assert (tmp_path / "posts.db").exists()


@pytest.mark.parametrize("last", range(1, 7))
async def test_killed_at_any_step_it_begins_again_or_goes_on(tmp_path: Path, last: int) -> None:
    """The process ends just before the `last`-th change that other processes can see."""
    write_old(tmp_path)
    code = f"""
import os, pathlib, shutil, sys
from voxpop.store import migration
left = {last}
def counted(real):
    def step(*args, **more):
        global left
        left -= 1
        if not left:
            os._exit(9)
        return real(*args, **more)
    return step
steps = (migration, "_copy"), (migration, "_index"), (pathlib.Path, "rename"), (pathlib.Path, "unlink")
for place, name in steps:
    setattr(place, name, counted(getattr(place, name)))
migration.carry_over(pathlib.Path(sys.argv[1]))
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert ended.returncode == 9
    await look(tmp_path)


async def test_a_catalog_of_version_2_takes_profiles(tmp_path: Path) -> None:
    async with LocalStore(tmp_path, commit_s=3600) as store:
        await store.apply("s", [Upsert(post(3), "7")])
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as con:
        for column in ("mark", "label", "since", "bio"):  # as version 2 made it
            con.execute(f"ALTER TABLE authors DROP COLUMN {column}")
        con.execute("PRAGMA user_version=2")
        con.commit()
    async with LocalStore(tmp_path, readonly=True) as store:
        assert await store.posts(["x:3"]) == [post(3)]
    async with LocalStore(tmp_path, commit_s=3600) as store:
        assert await store.posts(["x:3"]) == [post(3)]
        assert [h.post.id for h in await store.search(Query(words=("thing3",)), NOW)] == ["x:3"]
        whole = Author("x:u3", "u3", "Name", "organisation", "automated", 77, "Counts things.")
        await store.apply("s", [Renamed(whole)])
        assert (await store.posts(["x:3"]))[0].author == whole
        assert (await store.cursors(), store.rebuilt) == ({"s": "7"}, "")
    async with LocalStore(tmp_path, readonly=True) as store:
        assert (await store.posts(["x:3"]))[0].author == whole
