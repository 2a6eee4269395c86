"""A backup taken while another process writes shows one moment, holds nothing removed, and comes back whole."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import orjson
import pytest

from conftest import voxpop
from voxpop.errors import UsageError, VoxpopError
from voxpop.keeping.audit import audit
from voxpop.keeping.backup import backup
from voxpop.keeping.manifest import NAME, Manifest
from voxpop.keeping.restore import restore
from voxpop.posts import Author, Delete, Event, Post, Upsert
from voxpop.store import Query
from voxpop.store.local import LocalStore

BATCH, NOW = 200, "2026-11-21T20:00:00.000Z"
DAY = 24 * 3600 * 1_000_000


def quiet(*_: object) -> None:
    """Tell nobody."""


def batch(number: int) -> list[Event]:
    """Posts, an edit of an earlier one and the removal of another; the cursor is the batch's number."""
    first = number * BATCH
    events: list[Event] = [
        Upsert(made(n, f"word{n} of harbour {n % 7}"), str(number)) for n in range(first, first + BATCH)
    ]
    if number:
        events.append(Upsert(made(first - 3, f"edited{first - 3} harbour", later=DAY), str(number)))
        events.append(Delete(f"x:{first - 5}", first * DAY, str(number)))
    return events


def made(number: int, text: str, later: int = 0) -> Post:
    at = 1_700_000_000_000_000 + number * 1_000 + later
    return Post(f"x:{number}", "x", Author(f"did:x:{number % 9}", f"ada{number % 9}"), text, at, at)


def expected(batches: int) -> dict[str, str]:
    texts: dict[str, str] = {}
    for event in (e for n in range(batches) for e in batch(n)):
        if isinstance(event, Upsert):
            texts[event.post.id] = event.post.text
        elif isinstance(event, Delete):
            texts.pop(event.id)
    return texts


async def fill(folder: Path, until: int) -> None:
    async with LocalStore(folder) as store:
        for number in range(int(await store.cursor("rows") or -1) + 1, until):
            await store.apply("rows", batch(number))


async def held(folder: Path, *, mended: bool = False) -> tuple[int, dict[str, str]]:
    """The number of batches that a store's cursor speaks of, and its posts; `mended`: an index may be made anew."""
    async with LocalStore(folder) as store:
        assert await store.check() == []
        assert mended or not store.rebuilt
        batches = int(await store.cursor("rows") or -1) + 1
        posts = await store.posts([f"x:{n}" for n in range(batches * BATCH + BATCH)])
        if batches:
            (hit,) = await store.search(Query(words=(f"word{batches * BATCH - 1}",)), 0)
            assert hit.post.id == f"x:{batches * BATCH - 1}"
        assert (await store.totals())["posts"] == len(posts)
        return batches, {p.id: p.text for p in posts}


@contextmanager
def writing(folder: Path, purge_s: str = "60") -> Iterator["subprocess.Popen[str]"]:
    """Another process that stores batch after batch; what it prints is the number of the last one stored."""
    command = [sys.executable, __file__, "write", str(folder), purge_s]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def until(child: "subprocess.Popen[str]", number: int) -> None:
    assert child.stdout
    for line in child.stdout:
        if int(line) >= number:
            return
    raise AssertionError("the writing process ended")


async def test_a_backup_beside_a_writing_process_is_one_moment_and_goes_on(tmp_path: Path) -> None:
    folder, moments = tmp_path / "data", []
    with writing(folder) as child:
        for n in range(3):
            until(child, 4 + 8 * n)
            target = tmp_path / f"backup{n}"
            manifest = await asyncio.to_thread(backup, folder, target, quiet, now=NOW)
            again = await restore(target, tmp_path / f"again{n}", quiet)
            assert again == manifest
            batches, posts = await held(tmp_path / f"again{n}")
            assert posts == expected(batches)
            assert manifest.posts == len(posts)
            moments.append(batches)
    assert moments == sorted(set(moments))
    assert moments[0] >= 5
    await fill(tmp_path / "again0", moments[-1])
    assert await held(tmp_path / "again0") == (moments[-1], expected(moments[-1]))


def test_who_comes_and_goes_beside_a_writing_process_costs_it_nothing(tmp_path: Path) -> None:
    """Each is a process that opens the databases and closes them last, were it not for the writer's locks."""
    folder = tmp_path / "data"
    last = 0
    with writing(folder, "0.1") as child:
        for n in range(3):
            until(child, last := 8 * n)
            done = voxpop("search", "harbour", "--data", str(folder), "--json")
            assert done.returncode == 0, done.stderr
        until(child, last := last + 8)
    # The writer is killed while it purges ten times a second: its index may then be a purge ahead, and is made anew
    batches, posts = asyncio.run(held(folder, mended=True))
    assert batches > last
    assert posts == expected(batches)


async def test_what_a_crash_left_half_done_is_not_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    await fill(folder, 2)
    with closing(sqlite3.connect(next(folder.glob("partitions/*/posts.db")))) as con, con:
        row = con.execute("SELECT * FROM posts WHERE text = 'word7 of harbour 0'").fetchone()
        columns = [c[1] for c in con.execute("PRAGMA table_info(posts)")]
        torn = dict(zip(columns, row, strict=True)) | {"seq": 10**9, "key": 1, "id": "torn", "text": "a torn tale"}
        marks = ", ".join("?" * len(columns))
        con.execute(f"INSERT INTO posts ({', '.join(columns)}) VALUES ({marks})", [torn[c] for c in columns])
    with closing(sqlite3.connect(folder / "catalog.db")) as con, con:
        con.execute("INSERT INTO unindex VALUES (?)", (row[0],))
    backup(folder, tmp_path / "backup", quiet, now=NOW)
    for text in ("a torn tale", "word7 of harbour"):
        assert audit(folder, text, quiet).found
        assert not audit(tmp_path / "backup", text, quiet).found


async def test_what_was_removed_is_not_in_it_before_the_folder_is_purged(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with writing(folder) as child:
        until(child, 3)
        removed = f"word{BATCH - 5} of harbour"
        await asyncio.to_thread(backup, folder, tmp_path / "backup", quiet, now=NOW)
    logs = {path: path.stat().st_size for path in folder.rglob("*.db-wal")}
    assert all(logs.values())
    backup(folder, tmp_path / "after the crash", quiet, now=NOW)
    assert audit(folder, removed, quiet).found  # in the log, still
    assert {path: path.stat().st_size for path in folder.rglob("*.db-wal")} == logs  # for the store to clear
    assert not audit(tmp_path / "backup", removed, quiet).found
    assert audit(tmp_path / "backup", "word1 of harbour", quiet).live


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    asyncio.run(fill(tmp_path / "data", 1))
    (tmp_path / "data" / "voices").mkdir()
    (tmp_path / "data" / "voices" / "pirate.md").write_text("---\ntitle: Pirate\n---\nArr.\n")
    backup(tmp_path / "data", tmp_path / "backup", quiet, now=NOW)
    return tmp_path / "backup"


def refused(source: Path, folder: Path) -> VoxpopError:
    with pytest.raises(VoxpopError) as error:
        asyncio.run(restore(source, folder, quiet))
    assert error.value.cure
    assert [p.name for p in folder.parent.glob("new*")] == []
    return error.value


def test_a_backup_that_is_not_whole_is_refused(kept: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    manifest = kept / NAME
    whole = manifest.read_bytes()
    manifest.unlink()
    assert "cut off" in refused(kept, new).what
    for torn in (b"", b"[]", whole[:-20], b'{"format": 1, "files": 3}'):
        manifest.write_bytes(torn)
        assert "cannot be read" in refused(kept, new).what
    manifest.write_bytes(orjson.dumps(orjson.loads(whole) | {"format": 2}))
    assert "format 2" in refused(kept, new).what
    elsewhere = {"../catalog.db": {"bytes": 1, "sha256": ""}}
    manifest.write_bytes(orjson.dumps(orjson.loads(whole) | {"files": elsewhere}))
    assert "outside" in refused(kept, new).what
    manifest.write_bytes(orjson.dumps(orjson.loads(whole) | {"posts": 7}))
    assert "says 7" in refused(kept, new).what
    manifest.write_bytes(whole)
    partition = next(kept.glob("partitions/*/posts.db"))
    data = bytearray(partition.read_bytes())
    data[-1] ^= 1
    partition.write_bytes(data)
    assert partition.name in refused(kept, new).what
    partition.unlink()
    assert "lacks" in refused(kept, new).what
    assert "cut off" in refused(tmp_path / "nowhere", new).what


def test_nothing_is_written_over(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        asyncio.run(restore(kept, tmp_path / "data", quiet))
    with pytest.raises(UsageError, match="not an empty folder"):
        backup(tmp_path / "data", kept, quiet, now=NOW)
    with pytest.raises(UsageError, match="lies in the data folder"):
        backup(tmp_path / "data", tmp_path / "data" / "backup", quiet, now=NOW)
    with pytest.raises(VoxpopError, match="holds no posts"):
        backup(tmp_path / "nowhere", tmp_path / "b2", quiet, now=NOW)
    assert not (tmp_path / "b2").exists()


def test_an_empty_folder_is_filled_and_the_voices_come_along(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    manifest = asyncio.run(restore(kept, tmp_path / "empty", quiet))
    assert isinstance(manifest, Manifest)
    assert (tmp_path / "empty" / "voices" / "pirate.md").read_text().endswith("Arr.\n")
    assert asyncio.run(held(tmp_path / "empty")) == (1, expected(1))


@pytest.mark.parametrize("steps", [1, 3])
def test_killed_on_the_way_neither_passes_for_whole(kept: Path, tmp_path: Path, steps: int) -> None:
    killed("backup", tmp_path / "data", tmp_path / "torn", steps)
    assert (tmp_path / "torn").exists()
    assert "cut off" in refused(tmp_path / "torn", tmp_path / "new").what
    killed("restore", kept, tmp_path / "back", steps)
    assert not (tmp_path / "back").exists()
    asyncio.run(restore(kept, tmp_path / "back", quiet))
    assert asyncio.run(held(tmp_path / "back")) == (1, expected(1))


def killed(what: str, source: Path, target: Path, steps: int) -> None:
    """Begin it in another process, and kill that as it tells of a step."""
    with subprocess.Popen([sys.executable, __file__, what, source, target], stdout=subprocess.PIPE) as child:
        assert child.stdout
        for _ in range(steps):
            assert child.stdout.readline()
        child.kill()


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "data", 1))

    def fail(what: str, done: int, total: int) -> None:
        if what.startswith("checking partitions"):
            raise VoxpopError("The disk is full.")

    with pytest.raises(VoxpopError, match="full"):
        backup(tmp_path / "data", tmp_path / "backup", fail, now=NOW)
    assert not (tmp_path / "backup").exists()


def test_a_disk_that_is_too_small_is_seen_before(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(VoxpopError, match="MiB are free"):
        backup(tmp_path / "data", tmp_path / "b2", quiet, now=NOW)
    assert "MiB are free" in refused(kept, tmp_path / "new").what


async def store_batches(folder: Path, purge_s: float) -> None:
    async with LocalStore(folder, commit_s=0.1, purge_s=purge_s) as store:
        for number in range(10_000):
            await store.apply("rows", batch(number))
            print(number, flush=True)
            await asyncio.sleep(0.01)


def slowly(what: str, *_: int) -> None:
    print(what, flush=True)
    time.sleep(0.2)


if __name__ == "__main__":
    role, *given = sys.argv[1:]
    with suppress(BrokenPipeError):
        if role == "write":
            asyncio.run(store_batches(Path(given[0]), float(given[1])))
        elif role == "backup":
            backup(Path(given[0]), Path(given[1]), slowly, now=NOW)
        else:
            asyncio.run(restore(Path(given[0]), Path(given[1]), slowly))
