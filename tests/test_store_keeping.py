"""What the store keeps and forgets: retention, purge of every file, engagement, gaps, spending, orders, rebuild."""

import asyncio
import re
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import (
    AccountGone,
    Author,
    Counted,
    Delete,
    Engaged,
    Engagement,
    Event,
    Media,
    Missed,
    Post,
    Renamed,
    Spent,
    Upsert,
)
from voxpop.store import Query, partition
from voxpop.store.index import PartitionIndex
from voxpop.store.local import LocalStore
from voxpop.store.orders import order
from voxpop.store.reading import Reader
from voxpop.store.rows import Stored, key
from voxpop.times import MICROS

NOW = 1_800_000_000 * MICROS
DAY = 24 * 3600 * MICROS


def post(id_: str, text: str = "red fox", *, who: str = "did:plc:anna", at: int = NOW, **more: object) -> Post:
    return Post(id_, "x", Author(who, who[-4:]), text, at, at, **more)  # type: ignore[arg-type]


def open_store(folder: Path, **how: object) -> LocalStore:
    return LocalStore(folder, commit_s=3600, **how)  # type: ignore[arg-type]


async def found(store: LocalStore, word: str) -> list[str]:
    return [h.post.id for h in await store.search(Query(words=(word,), limit=100, per_author=100), NOW)]


async def likes(store: LocalStore, id_: str) -> Engagement:
    return (await store.posts([id_]))[0].engagement


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of two posts."""
    monkeypatch.setattr(partition, "FULL", 2)


class TestRows:
    """A post comes back as it was given, however short it is written."""

    @pytest.mark.parametrize(
        "one",
        [
            post(
                "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3lbyo7zmrfc2x",
                who="did:plc:ewvi7nxzyoun6zhxrhs64oiz",
                url="https://bsky.app/profile/did:plc:ewvi7nxzyoun6zhxrhs64oiz/post/3lbyo7zmrfc2x",
                reply_to="at://did:plc:other/app.bsky.feed.post/3lbyo7zmrfc2w",
                root="at://did:plc:other/app.bsky.feed.post/3lbyo7zmrfc2w",
                quote_of="at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3lbyo7zmrfc2x",
                media=(Media("image", "https://cdn/did:plc:ewvi7nxzyoun6zhxrhs64oiz/x", "a\x06 \x01 cat"),),
                links=("https://a.example/did:plc:ewvi7nxzyoun6zhxrhs64oiz",),
                kind="news",
            ),
            post("\x06at://\x01/post/\x08", who="\x06\x02\x07odd", url="\x07", root="\x08", reply_to="\x08"),
            post("postpostpost/post", who="post", url="at://post/post/post", reply_to="a", root="b"),
            post("é/ñandú", who="ñandú", url="https://ñandú.example/é/ñandú", media=(Media("k", "ñandú"),)),
            post("", who="", text=""),
        ],
    )
    async def test_it_is_the_same(self, tmp_path: Path, one: Post) -> None:
        one = replace(one, created_at=5, lang="fr", engagement=Engagement(1, 2, 3))
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(one)])
            assert await store.posts([one.id]) == [one]
            assert (await store.apply("s", [Upsert(one)])).unchanged == 1


class TestEngagement:
    async def test_more_is_added_to_what_is_stored_and_to_what_comes_with_it(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a", engagement=Engagement(5, 1, 0)))])
            batch: list[Event] = [
                Engaged("a", Engagement(1, 0, 2)),
                Engaged("a", Engagement(1)),
                Engaged("z", Engagement(9)),
            ]
            await store.apply("s", [*batch, Upsert(post("b", "blue")), Engaged("b", Engagement(3))])
            assert await likes(store, "a") == Engagement(7, 1, 2)
            assert await likes(store, "b") == Engagement(3)
            await store.apply("s", [Engaged("a", Engagement(1)), Counted("a", Engagement(50)), *batch])
            assert await likes(store, "a") == Engagement(52, 0, 2)
            assert await found(store, "red") == ["a"]
            assert (await store.search(Query(words=("red",), min_likes=52), NOW))[0].post.id == "a"

    async def test_an_edit_keeps_counts_that_it_does_not_state(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a")), Upsert(post("b"))])
            await store.apply("s", [Engaged("a", Engagement(4)), Engaged("b", Engagement(4))])
            edits = [
                Upsert(post("a", "blue", at=NOW + 1)),
                Upsert(post("b", "blue", at=NOW + 1, engagement=Engagement(1))),
            ]
            await store.apply("s", [Engaged("a", Engagement(2)), *edits, Engaged("a", Engagement(1))])
            assert await likes(store, "a") == Engagement(7)
            assert await likes(store, "b") == Engagement(1)

    async def test_what_a_batch_owes_is_done_once_after_a_crash(self, tmp_path: Path, tiny: None) -> None:
        """The batch is committed; the process ends before, or just after, the old rows are brought up to it."""
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a")), Upsert(post("b", "old words"))])
            writer = store._shelves.writer
            paid, writer._pay = writer._pay, lambda: None  # type: ignore[method-assign]
            await store.apply("s", [Engaged("a", Engagement(3)), Delete("b", NOW)])
            assert await found(store, "old") == []
            with sqlite3.connect(tmp_path / "catalog.db") as con:
                assert con.execute("SELECT count(*) FROM owed").fetchone() == (1,)
            writer._owed, writer._pay = {}, paid  # type: ignore[method-assign]
        for _ in range(2):
            async with open_store(tmp_path) as store:
                assert await likes(store, "a") == Engagement(3)
                assert [p.id for p in await store.posts(["a", "b"])] == ["a"]
                assert await store.check() == []


class TestCrash:
    """What lies in the files when a process ends between two commits."""

    async def test_rows_of_a_batch_that_was_not_committed_are_rolled_back(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a"))])
            late = post("late", "blue whale")
            store._shelves.writer.partition(1).insert([Stored(2, late, 1, 1, key("late"))])
        async with open_store(tmp_path) as store:
            assert [p.id for p in await store.posts(["a", "late"])] == ["a"]
            assert await store.check() == []
            assert (await store.apply("s", [Upsert(late)])).added == 1
            assert await found(store, "whale") == ["late"]

    async def test_a_partition_of_such_a_batch_is_removed(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a"))])
        (tmp_path / "partitions" / f"{2:012d}").mkdir()
        (tmp_path / "partitions" / f"{1:012d}.dropped").mkdir()
        async with open_store(tmp_path) as store:
            assert await store.check() == []
        assert [p.name for p in (tmp_path / "partitions").iterdir()] == [f"{1:012d}"]

    async def test_a_partition_that_cannot_be_written_hides_what_was_removed(self, tmp_path: Path) -> None:
        """The disk fills between the commit and the old rows: the batch counts, and is not given again."""
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a", "secret")), Upsert(post("b", "blue"))])
            con = store._shelves.writer.partition(1).db.con
            con.execute("PRAGMA query_only=ON")
            assert (await store.apply("s", [Delete("a", NOW, "7"), Engaged("b", Engagement(2))])).deleted == 1
            assert (await store.posts(["a"]), await found(store, "secret")) == ([], [])
            with pytest.raises(VoxpopError):
                await store.apply("s", [Upsert(post("c"), "8")])
            assert await store.cursor("s") == "7"
            con.execute("PRAGMA query_only=OFF")
            await store.apply("s", [Upsert(post("c"), "8")])
            assert await likes(store, "b") == Engagement(2)
            assert await store.check() == []


class TestAliases:
    async def test_a_post_is_deleted_by_its_other_name(self, tmp_path: Path, tiny: None) -> None:
        async with open_store(tmp_path) as store:
            await store.apply(
                "s", [Upsert(post("a", alias="m:1")), Upsert(post("b")), Upsert(post("c", alias="m:3"))]
            )
            await store.apply("s", [Upsert(post("b", alias="m:2"))])
            await store.apply("s", [Upsert(post("c", "edited", at=NOW + 1, alias="m:3"))])
            await store.apply("s", [Delete("m:1", NOW), Delete("m:2", NOW), Delete("m:3", NOW), Delete("m:4", NOW)])
            assert await store.posts(["a", "b", "c"]) == []
            late = [post("a"), post("b", alias="n:2"), post("c"), post("d", alias="m:4")]
            assert (await store.apply("s", [Upsert(p) for p in late])).refused == 4
            assert (await store.apply("s", [Upsert(post("d"))])).refused == 1

    async def test_in_the_batch_that_brings_it(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            applied = await store.apply(
                "s", [Upsert(post("a", alias="m:1")), Delete("m:1", NOW), Upsert(post("a"))]
            )
            assert (applied.added, applied.deleted, applied.refused) == (1, 1, 1)


class TestRetention:
    async def test_the_oldest_partitions_go_at_once_cited_or_not(self, tmp_path: Path, tiny: None) -> None:
        async with open_store(tmp_path) as store:
            for n in range(8):
                await store.apply("s", [Upsert(post(f"p{n}", f"red thing{n}", at=NOW - (8 - n) * DAY))])
            await store.apply("s", [Missed(NOW - 9 * DAY, NOW - 8 * DAY, "asleep"), Missed(NOW - DAY, NOW, "away")])
            await store.cite(["p0"], NOW)
            await store.commit()
            began = time.perf_counter()
            assert await store.retain(4.5, 0, NOW) == 4
            assert time.perf_counter() - began < 0.25
            assert sorted(await found(store, "red")) == ["p4", "p5", "p6", "p7"]
            assert await store.posts(["p0"]) == []
            assert set(re.findall(rb"thing\d", _bytes(tmp_path))) == {b"thing4", b"thing5", b"thing6", b"thing7"}
            assert await store.gaps(0, NOW) == [("s", NOW - DAY, NOW, "away")]
            assert (await store.totals())["posts"] == (await store.totals())["indexed"] == 4
            assert await store.check() == []
            assert await store.retain(4.5, 0, NOW + 9 * DAY) == 4
            await store.apply("s", [Upsert(post("new", "red again"))])
            assert await found(store, "red") == ["new"]
        async with open_store(tmp_path) as store:
            assert (await found(store, "red"), store.rebuilt, await store.check()) == (["new"], "", [])

    async def test_by_size_the_one_that_takes_new_posts_stays(self, tmp_path: Path, tiny: None) -> None:
        async with open_store(tmp_path) as store:
            for n in range(6):
                await store.apply("s", [Upsert(post(f"p{n}", "red " * 5000, at=NOW + n))])
                await store.commit()
            sizes = (await store.figures())["disk_bytes"]
            assert await store.retain(0, int(sizes * 0.5), NOW) == 4
            assert await store.retain(0, 1000, NOW) == 0
            await store.apply("s", [Upsert(post("p9", "red", at=NOW + 9))])
            assert await store.retain(0, 1000, NOW) == 2
            assert await found(store, "red") == ["p9"]

    async def test_the_store_does_it_by_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("voxpop.store.local._RETAIN_S", 0.01)
        async with LocalStore(tmp_path, keep_days=1) as store:
            await store.apply("s", [Upsert(post("old", at=1))])
            for _ in range(500):
                if not (await store.totals())["posts"]:
                    break
                await asyncio.sleep(0.01)
            assert await found(store, "red") == []

    async def test_a_store_that_opens_does_it_at_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with LocalStore(tmp_path) as store:
            await store.apply("s", [Upsert(post("old", at=1))])
        with caplog.at_level("INFO"):
            async with LocalStore(tmp_path, keep_days=1) as store:
                assert (await store.totals())["posts"] == 0
        assert "Dropped the oldest 1 post: storage.keep_days is 1" in caplog.text

    async def test_searches_meanwhile_do_not_fail(self, tmp_path: Path, tiny: None) -> None:
        async with open_store(tmp_path) as store, asyncio.TaskGroup() as group:
            for n in range(60):
                await store.apply("s", [Upsert(post(f"p{n}", f"red thing{n}", at=NOW - (60 - n) * DAY))])
            await store.commit()

            async def ask() -> None:
                while (await store.totals())["posts"] > 2:
                    await found(store, "red")
                    await store.search(Query(), NOW)

            asking = [group.create_task(ask()) for _ in range(4)]
            async with open_store(tmp_path, readonly=True) as beside:
                for days in range(58, 0, -1):
                    await store.retain(days, 0, NOW)
                    assert len(await found(beside, "red")) <= days + 1
            await asyncio.gather(*asking)

    async def test_a_partition_moved_away_is_missed_and_taken_back(self, tmp_path: Path, tiny: None) -> None:
        async with open_store(tmp_path / "s") as store:
            for n in range(4):
                await store.apply("s", [Upsert(post(f"p{n}", at=NOW + n, who=f"did:plc:u{n}"))])
        (tmp_path / "s" / "partitions" / f"{1:012d}").rename(tmp_path / "away")
        async with open_store(tmp_path / "s") as store:
            assert await found(store, "red") == ["p2"]
            await store.apply("s", [Delete("p0", NOW)])
        (tmp_path / "away").rename(tmp_path / "s" / "partitions" / f"{1:012d}")
        async with open_store(tmp_path / "s") as store:
            assert [p.id for p in await store.posts(["p0", "p1", "p2", "p3"])] == ["p1", "p2", "p3"]
            assert await store.check() == []


def _bytes(folder: Path) -> bytes:
    return b"\0".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


class TestPurge:
    async def test_what_was_removed_is_in_no_byte_of_any_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Posts of unlike lengths come, are edited, deleted and lose their accounts at random, among others."""
        monkeypatch.setattr(partition, "FULL", 1500)
        luck, live = Random(7), dict[str, tuple[str, str]]()

        def fresh(n: int, who: str) -> Post:
            word = f"zx{luck.randrange(10**12):012d}q"
            live[f"id:{n}"] = (word, who)
            alt = (Media("image", f"https://pic.example/{word}", f"of {word}"),) if n % 3 == 0 else ()
            return post(f"id:{n}", f"see {word} " + "w" * luck.randrange(400), who=who, media=alt, at=NOW + clock)

        clock = 0
        async with open_store(tmp_path) as store:
            for n in range(0, 4000, 200):
                clock += 1
                batch: list[Event] = [Upsert(fresh(m, f"did:plc:{m % 97}")) for m in range(n, n + 200)]
                clock += 1
                for id_ in luck.sample(sorted(live), min(len(live), 130)):
                    _, who = live.pop(id_)
                    if luck.random() < 0.4:
                        batch.append(Upsert(fresh(int(id_[3:]), who)))
                    else:
                        batch.append(Delete(id_, NOW))
                await store.apply("s", batch)
                if luck.random() < 0.3:
                    await store.commit()
            name = "zx-the-name-of-one"
            await store.apply(
                "s", [Renamed(Author("did:plc:5", name, name)), Renamed(Author("did:plc:6", name + "6"))]
            )
            await store.apply("s", [Renamed(Author("did:plc:6", "other"))])
            await store.apply("s", [AccountGone("did:plc:5", NOW + 10**6)])
            live = {id_: (word, who) for id_, (word, who) in live.items() if who != "did:plc:5"}
            await store.purge()
            left = _bytes(tmp_path)
            kept = {word for word, _ in live.values()}
            assert len(kept) > 500
            assert {w.decode() for w in re.findall(rb"zx\d{12}q", left)} == kept
            assert not re.findall(rb"z\0x\0(?:\d\0){12}", left)
            assert name.encode() not in left
            indexes = b"\0".join(_bytes(p) for p in tmp_path.glob("partitions/*/index"))
            assert not re.findall(rb"zx\d{12}|did:plc:|image", indexes)
            assert await store.check() == []

    async def test_an_index_knows_no_word(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a", "xylophone in the park"))])
            await store.commit()
            searcher = store.index.at(1).searcher
            assert (searcher.doc_freq("text", "xylophone"), store.index.holding("xylophone")) == (0, 1)
            assert await found(store, "xylophone") == ["a"]

    async def test_an_index_with_removals_is_written_anew(self, tmp_path: Path) -> None:
        async with LocalStore(tmp_path, commit_s=0.01, purge_s=0.05) as store:
            await store.apply("s", [Upsert(post(f"p{n}", f"red thing{n}")) for n in range(40)])
            await store.apply("s", [Delete(f"p{n}", NOW) for n in range(0, 40, 2)])
            for _ in range(1000):
                if (await store.figures())["rebuilt"]:
                    break
                await asyncio.sleep(0.02)
            assert (await store.figures())["rebuilt"]
            assert len(await found(store, "red")) == 20
            assert await store.check() == []


class TestLedgers:
    async def test_gaps_and_spending(self, tmp_path: Path) -> None:
        november, december = 1_796_000_000 * MICROS, 1_797_000_000 * MICROS
        async with open_store(tmp_path) as store:
            await store.apply(
                "x", [Spent(november, 3, 15_000), Spent(november, 1, 5_000), Spent(december, 2, 10_000)]
            )
            await store.apply("x", [Missed(5, 9, "asleep"), Missed(5, 9, "asleep")])
            assert await store.spent("x", "2026-11") == (4, 20_000)
            assert await store.spent("x", "2026-10") == (0, 0)
            assert await store.spending() == [("x", "2026-11", 4, 20_000), ("x", "2026-12", 2, 10_000)]
            assert await store.gaps(9, 20) == [("x", 5, 9, "asleep")]
            assert await store.gaps(10, 20) == []

    async def test_what_is_cited_is_looked_up_first_and_again_when_it_is_old(
        self, tmp_path: Path, tiny: None
    ) -> None:
        async with open_store(tmp_path) as store:
            ages = {"ancient": 30, "old": 3, "fresh": 1, "cited": 20}
            await store.apply("s", [Upsert(post(i, at=NOW - age * DAY)) for i, age in ages.items()])
            other = replace(post("other", at=NOW - DAY), network="y")
            await store.apply("s", [Upsert(other), Upsert(post("now"))])
            await store.cite(["cited", "unknown"], NOW)
            assert (await store.to_check("x", NOW, 10))[0] == "cited"
            assert set(await store.to_check("x", NOW, 10)) == {"cited", "old", "fresh"}
            assert await store.to_check("x", NOW, 1) == ["cited"]
            await store.checked(["cited", "fresh"], NOW)
            assert await store.to_check("x", NOW, 10) == ["old"]
            assert set(await store.to_check("x", NOW + 1, 10)) == {"cited", "old", "fresh", "now"}


class TestOrders:
    async def test_forgetting_by_hand(self, tmp_path: Path, tiny: None) -> None:
        async with open_store(tmp_path) as store:
            for n in range(6):
                await store.apply("s", [Upsert(post(f"p{n}", at=NOW + n * DAY, who=f"did:plc:u{n % 2}"))])
            assert await store.forget(post="p0") == 1
            assert await store.forget(author="@c:u1") == 3
            assert await store.forget(before=NOW + 3 * DAY) == 1
            assert await store.forget(before=NOW + 5 * DAY) == 1
            assert (await store.totals())["posts"] == 0
            assert (await store.apply("s", [Upsert(post("p0"))])).refused == 1

    async def test_beside_a_server_and_without_one(self, tmp_path: Path) -> None:
        async with LocalStore(tmp_path, commit_s=0.01) as store:
            await store.apply("s", [Upsert(post("a")), Upsert(post("b")), Upsert(post("c"))])
            assert await order(tmp_path, {"do": "forget", "post": "a"}, 20) == "Forgot 1 post."
            assert [p.id for p in await store.posts(["a", "b"])] == ["b"]
            with pytest.raises(VoxpopError, match="is no order"):
                await order(tmp_path, {"do": "dance"}, 20)
        assert await order(tmp_path, {"do": "forget", "post": "b"}) == "Forgot 1 post."
        assert await order(tmp_path, {"do": "purge"}) == "What was removed is in no file."
        assert await order(tmp_path, {"do": "rebuild"}) == "Made the index of 1 post anew."
        with pytest.raises(UsageError, match="is no order"):
            await order(tmp_path, {"do": "forget"})
        with sqlite3.connect(tmp_path / "catalog.db") as con:
            assert con.execute("SELECT count(*) FROM orders").fetchone() == (0,)


class TestRebuild:
    async def test_all_indexes_are_made_anew_while_posts_come_and_go(self, tmp_path: Path, tiny: None) -> None:
        async with LocalStore(tmp_path, commit_s=0.01) as store:
            for n in range(5):
                await store.apply("s", [Upsert(post(f"p{n}", f"red thing{n}", at=NOW + n))])
            told: list[tuple[int, int]] = []
            making = asyncio.create_task(store.rebuild(lambda done, of: told.append((done, of))))
            n = 5
            while not making.done():
                await store.apply(
                    "s", [Upsert(post(f"p{n}", f"red thing{n}", at=NOW + n)), Delete(f"p{n - 4}", NOW)]
                )
                assert len(await found(store, "red")) == 4 + 1
                n += 1
                await asyncio.sleep(0.02)
            assert await making == 5
            assert told[-1][1] == 5
            assert sorted(await found(store, "red")) == sorted(["p0", *(f"p{m}" for m in range(n - 4, n))])
            assert await store.check() == []
            assert not list(tmp_path.glob("partitions/*/index.*"))
        async with open_store(tmp_path) as store:
            assert (store.rebuilt, await store.check()) == ("", [])

    async def test_what_a_killed_one_left_is_swept(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a"))])
        (index,) = tmp_path.glob("partitions/*/index")
        index.rename(index.with_name("index.old"))
        index.with_name("index.abcd").mkdir()
        async with open_store(tmp_path) as store:
            assert (store.rebuilt, await found(store, "red")) == ("", ["a"])
        assert [p.name for p in index.parent.glob("index*")] == ["index"]


class TestVersions:
    async def test_a_newer_folder_is_refused_by_name(self, tmp_path: Path) -> None:
        async with open_store(tmp_path):
            pass
        with sqlite3.connect(tmp_path / "catalog.db") as con:
            con.execute("PRAGMA user_version=99")
        with pytest.raises(VoxpopError, match=r"catalog\.db was written by a newer voxpop"):
            await open_store(tmp_path).__aenter__()

    async def test_partitions_without_their_catalog_are_not_touched(self, tmp_path: Path) -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a"))])
        (tmp_path / "catalog.db").unlink()
        with pytest.raises(VoxpopError, match=r"catalog\.db is missing"):
            await open_store(tmp_path).__aenter__()
        assert list(tmp_path.glob("partitions/*/posts.db"))


def test_a_reader_alone(tmp_path: Path) -> None:
    async def fill() -> None:
        async with open_store(tmp_path) as store:
            await store.apply("s", [Upsert(post("a"))])

    asyncio.run(fill())
    reader = Reader(tmp_path)
    assert [s.post.id for some in reader.after(1, 0) for s in some] == ["a"]
    reader.close()


async def test_leaving_amid_a_rebuild_waits_for_its_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    rest = PartitionIndex.rest

    def slow(part: PartitionIndex) -> None:
        rest(part)
        if part.folder.name != "index":  # the one that is to take its place
            begun.set()
            assert goes_on.wait(10)

    monkeypatch.setattr(PartitionIndex, "rest", slow)
    async with open_store(tmp_path) as store:
        await store.apply(
            "s", [Upsert(post("a", "a fox in the wood"), "1"), Upsert(post("b", "fox on a roof, again"), "2")]
        )
        await store.commit()
        rebuilding = asyncio.create_task(store.rebuild())
        assert await asyncio.to_thread(begun.wait, 10)
        rebuilding.cancel()
        await asyncio.gather(rebuilding, return_exceptions=True)
        goes_on.set()
        await store.apply("s", [Upsert(post("c", "who saw that fox?"), "3")])
        await store.commit()
        assert sorted(await found(store, "fox")) == ["a", "b", "c"]
    async with open_store(tmp_path) as store:
        assert store.rebuilt == ""
        assert sorted(await found(store, "fox")) == ["a", "b", "c"]
