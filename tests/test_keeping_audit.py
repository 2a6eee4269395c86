"""An audit finds a text wherever a data folder holds it, and says whether a live row does; else nothing."""

import io
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.errors import UsageError, VoxpopError
from voxpop.keeping.audit import Report, audit
from voxpop.keeping.pages import Paged
from voxpop.posts import AccountGone, Author, Delete, Event, Post, Renamed, Upsert
from voxpop.store.local import LocalStore

TEXT = "the Lantern Bridge burns tonight"


def quiet(what: str, done: int, total: int) -> None:
    assert done >= 0
    assert what


@pytest.fixture
def con(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database as a partition has it, with its log open."""
    folder = tmp_path / "data" / "partitions" / "000000000001"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "posts.db", isolation_level=None)) as con:
        con.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
            "CREATE TABLE posts (seq INTEGER PRIMARY KEY, text TEXT, extra BLOB, fingerprint INTEGER);"
            "CREATE TABLE authors (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID;"
        )
        yield con


def add(con: sqlite3.Connection, seq: int, text: str, extra: bytes = b"") -> None:
    con.execute("INSERT INTO posts VALUES (?, ?, ?, 0)", (seq, text, extra))


def look(folder: Path, text: str = TEXT) -> tuple[Report, dict[tuple[str, str], int]]:
    report = audit(folder / "data", text, quiet)
    return report, dict(Counter((f.kind, f.file.rpartition("/")[2]) for f in report.found))


def test_a_live_post_is_told_from_what_is_left_of_a_removed_one(tmp_path: Path, con: sqlite3.Connection) -> None:
    add(con, 1, f"I saw it: {TEXT}!")
    add(con, 2, f"Me too, {TEXT.upper()}.")
    add(con, 3, "nothing of it")
    report, kinds = look(tmp_path)
    assert report.live == {(tmp_path / "data", 1), (tmp_path / "data", 2)}
    assert set(kinds) == {("post", "posts.db-wal")}
    assert {f.post for f in report.found} == report.live
    con.execute("PRAGMA secure_delete=OFF")
    con.execute("DELETE FROM posts WHERE seq = 1")
    report, kinds = look(tmp_path)
    assert report.live == {(tmp_path / "data", 2)}
    assert kinds["stray", "posts.db-wal"] >= 1  # the frames of before
    assert {f.post for f in report.found if f.kind == "post"} == report.live
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    report, kinds = look(tmp_path)
    assert kinds == {("post", "posts.db"): 1, ("stray", "posts.db"): 1}  # in the free bytes of the page
    con.execute("VACUUM")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert look(tmp_path)[1] == {("post", "posts.db"): 1}
    con.execute("DELETE FROM posts WHERE seq = 2")
    con.execute("VACUUM")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    report, kinds = look(tmp_path)
    assert (kinds, report.live, report.strays) == ({}, set(), [])
    assert report.files >= 2
    assert report.bytes > 0


def test_pages_out_of_use_are_read(tmp_path: Path, con: sqlite3.Connection) -> None:
    con.execute("PRAGMA secure_delete=OFF")
    for seq in range(400):
        add(con, seq, f"{TEXT} {seq} " + "x" * 100)
    con.execute("DELETE FROM posts")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _, kinds = look(tmp_path)
    assert set(kinds) == {("stray", "posts.db")}
    assert kinds["stray", "posts.db"] > 300


def test_what_a_balanced_page_leaves_behind_is_found(tmp_path: Path, con: sqlite3.Connection) -> None:
    con.execute("PRAGMA secure_delete=ON")
    luck = random.Random(1)
    con.execute("BEGIN")
    for seq in range(8_000):
        add(con, seq, f"{TEXT} {seq} " + "x" * luck.randint(10, 300))
    removed = luck.sample(range(8_000), 6_600)
    con.executemany("DELETE FROM posts WHERE seq = ?", [(seq,) for seq in removed])
    con.execute("COMMIT")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    report, kinds = look(tmp_path)
    left = (tmp_path / "data/partitions/000000000001/posts.db").read_bytes().count(TEXT.encode())
    assert kinds["post", "posts.db"] == 1_400
    assert kinds.get(("stray", "posts.db"), 0) == left - 1_400
    assert {f.post[1] for f in report.found if f.post} == set(range(8_000)) - set(removed)


def test_a_long_row_and_a_row_without_number_are_live(tmp_path: Path, con: sqlite3.Connection) -> None:
    add(con, 7, "x" * 9_000 + TEXT, extra=b"y" * 9_000)
    con.execute("INSERT INTO authors VALUES ('did:plc:1', ?)", (TEXT,))
    report, kinds = look(tmp_path)
    assert set(kinds) == {("row", "posts.db-wal")}
    assert report.live == {(tmp_path / "data", 7)}
    con.execute("DELETE FROM authors")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert set(look(tmp_path)[1]) == {("row", "posts.db")}


async def test_what_leaves_a_store_is_nowhere_however_its_pages_were_balanced(tmp_path: Path) -> None:
    luck, live, gone = random.Random(20261121), dict[str, str](), set[str]()
    folder, n = tmp_path / "data", 0
    async with LocalStore(folder, purge_s=3600) as store:
        for batch in range(40):
            events: list[Event] = []
            for id_ in luck.sample(sorted(live), min(len(live), luck.randint(0, 150))):
                gone.add(live.pop(id_))
                n += 1
                events.append(Delete(id_, n) if luck.random() < 0.7 else saying(id_, live, n, luck))
            for _ in range(200):
                n += 1
                events.append(saying(f"x:{n}", live, n, luck))
            await store.apply("s", events)
            if batch % 11 == 0:
                await store.purge()
        await store.purge()
        look = "import re, sys, pathlib; print(*{m.decode() for p in pathlib.Path(sys.argv[1]).rglob('*')"
        look += " if p.is_file() for m in re.findall(rb'token[0-9]{6}', p.read_bytes())})"
        # In a process of its own: to close a file here would drop the locks of the store that is open here.
        done = subprocess.run([sys.executable, "-c", look, folder], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert len(gone) > 2_000
    assert found & gone == set()
    assert found == set(live.values())


def saying(id_: str, live: dict[str, str], n: int, luck: random.Random) -> Upsert:
    live[id_] = f"token{n:06d}"
    text = live[id_] + " and" * luck.randint(1, 90)
    return Upsert(Post(id_, "x", Author(f"d:{n % 40}", f"h{n % 40}"), text, 10**15 + n, 10**15 + n))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("voxpop.log", f"12:00 ERROR could not store: {TEXT}\n".encode()),
        ("saved.json", json.dumps({"answer": f'"{TEXT}"'}).encode()),
        ("index/1.store", TEXT.lower().encode("utf-16-le")),
        ("deep/er/links.txt", b"https://a.example/?q=the+lantern+bridge%20burns+tonight"),
    ],
)
def test_any_file_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(3 << 20) + data)
    report, _ = look(tmp_path)
    assert [(f.file, f.kind) for f in report.found] == [(name, "stray")]
    assert report.found[0].offset >= 3 << 20


def test_models_and_links_are_skipped_and_named(tmp_path: Path) -> None:
    for place in ("data/models", "data/voices", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_text(TEXT)
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere" / "file")
    report, _ = look(tmp_path)
    assert sorted(report.skipped) == ["link", "linked", "models"]
    assert [f.file for f in report.found] == ["voices/file"]


def test_what_cannot_be_proved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VoxpopError, match="no data folder"):
        look(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "log").write_text(f"{TEXT}\n" * 10_001)
    with pytest.raises(UsageError, match="over 10000 times"):
        look(tmp_path)
    (tmp_path / "data" / "log").unlink()
    (tmp_path / "data" / "posts.db").write_bytes(b"SQLite format 3\0" + b"\x10\0" + bytes(4_078))
    with pytest.raises(VoxpopError, match=r"posts\.db"):
        look(tmp_path)


@given(st.binary(max_size=40), st.integers(9, 12), st.booleans(), st.data())
def test_a_page_of_any_bytes_has_an_answer(head: bytes, bits: int, log: bool, data: st.DataObject) -> None:
    pages = Paged(1 << bits, log)
    kind = data.draw(st.sampled_from([b"\x0d", b"\x0a", b"\x02", b"\x05", b"\x00", b"SQLite format 3\0"]))
    size = len(kind + head) + (1 << bits)
    place = pages.place(io.BytesIO((kind + head) * 3 + bytes(size)), data.draw(st.integers(0, size)))
    assert place.kind in ("row", "index", "unknown", "free")


@pytest.mark.parametrize("head", [b"SQLite format 3\0", b"\x37\x7f\x06\x82" + bytes(12)])
def test_a_file_that_only_looks_like_a_database_is_read_as_bytes(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fake").write_bytes(head + bytes(100) + TEXT.encode())
    assert look(tmp_path)[1] == {("stray", "fake"): 1}


async def test_a_bio_is_live_with_its_account_and_nowhere_after_it(tmp_path: Path) -> None:
    told = Author("d:1", "ann.example", "Ann", "person", "automated", 7, f"I say that {TEXT}.")
    async with LocalStore(tmp_path, purge_s=3600) as store:
        await store.apply("s", [Upsert(Post("x:1", "x", Author("d:1"), "hello there", 1, 5)), Renamed(told)])
        await store.purge()
    held = audit(tmp_path, TEXT, lambda *_: None)
    assert {(f.kind, f.file) for f in held.found} == {("row", "catalog.db")}
    async with LocalStore(tmp_path, purge_s=3600) as store:
        await store.apply("s", [AccountGone("d:1", 9), Renamed(told)])
        await store.purge()
    assert audit(tmp_path, TEXT, lambda *_: None).found == []
