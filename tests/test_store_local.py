"""The embedded store by example: order, copies, caps, bounds; and what it says when its folder is in trouble."""

import asyncio
import multiprocessing
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import pytest

from voxpop.errors import VoxpopError
from voxpop.posts import AccountGone, Author, Counted, Delete, Engagement, Media, Post, Renamed, Upsert
from voxpop.store import Applied, Query
from voxpop.store import index as index_module
from voxpop.store import partition as partition_module
from voxpop.store.local import LocalStore
from voxpop.store.trouble import DiskFull
from voxpop.times import MICROS

NOW = 1_800_000_000 * MICROS
HOUR = 3600 * MICROS
SECRET = "xylophone"


def post(id_: str, text: str, *, who: str = "", at: int = NOW - HOUR, **more: object) -> Post:
    return Post(f"at://{id_}", "x", Author(who or f"did:{id_}", who), text, at, at, **more)  # type: ignore[arg-type]


def upserts(*posts: Post) -> list[Upsert]:
    return [Upsert(p, str(n)) for n, p in enumerate(posts, 1)]


def open_store(folder: Path, **how: object) -> LocalStore:
    return LocalStore(folder, commit_s=3600, **how)  # type: ignore[arg-type]


@asynccontextmanager
async def filled(folder: Path, *posts: Post, committed: bool = False) -> AsyncIterator[LocalStore]:
    async with open_store(folder) as store:
        await store.apply("s", upserts(*posts))
        if committed:
            await store.commit()
        yield store


async def found(store: LocalStore, *words: str, **bounds: object) -> list[str]:
    hits = await store.search(Query(words=words, **bounds), NOW)  # type: ignore[arg-type]
    return [h.post.id.removeprefix("at://") for h in hits]


def bytes_below(folder: Path, *parts: str) -> bytes:
    """Of every file; one that a commit takes away meanwhile has none."""
    found = []
    for at, _, names in os.walk(folder.joinpath(*parts)):
        for name in sorted(names):
            with suppress(FileNotFoundError):
                found.append(Path(at, name).read_bytes())
    return b"".join(found)


@pytest.mark.parametrize("committed", [False, True])
class TestSearch:
    async def test_newer_first_among_equals(self, tmp_path: Path, committed: bool) -> None:
        texts = ("red fox runs", "old red barn", "the red car")
        three = [post(str(n), texts[n], at=NOW - age * HOUR) for n, age in enumerate((30, 1, 10))]
        async with filled(tmp_path, *three, committed=committed) as store:
            assert await found(store, "red") == ["1", "2", "0"]
            assert await found(store) == ["1", "2", "0"]

    async def test_more_of_the_words_first(self, tmp_path: Path, committed: bool) -> None:
        pair = post("one", "red house far away"), post("both", "red fox far away")
        async with filled(tmp_path, *pair, committed=committed) as store:
            assert await found(store, "red", "fox") == ["both", "one"]

    async def test_kin_count_as_one_word_and_the_word_itself_most(self, tmp_path: Path, committed: bool) -> None:
        texts = ("blaze blazes fire in town", "a burning car now", "the late ferry is late", "the ferry burning")
        posts = [post(str(n), text) for n, text in enumerate(texts)]
        async with filled(tmp_path, *posts, committed=committed) as store:
            groups = (("burning", "blaze", "blazes", "fire"), ("ferry", "boat"))
            assert (await found(store, kin=groups))[0] == "3"
            assert set(await found(store, kin=groups)) == {"0", "1", "2", "3"}
            assert set(await found(store, kin=(("late", "burning"),))) == {"1", "2", "3"}
            assert (await found(store, kin=(("late", "burning"),)))[0] == "2"
            assert await found(store, kin=(("boat",),)) == []

    async def test_light_words_order_what_is_found_and_find_nothing(self, tmp_path: Path, committed: bool) -> None:
        posts = [post("0", "we walk the dog"), post("1", "was the dog here"), post("2", "it was of the old")]
        async with filled(tmp_path, *posts, committed=committed) as store:
            assert await found(store, "dog", light=("was", "of")) == ["1", "0"]
            assert await found(store, "cat", light=("was", "of")) == []

    async def test_order_of_very_old_posts_is_by_time_not_by_arrival(self, tmp_path: Path, committed: bool) -> None:
        old = [post(str(n), f"red {w}", at=n * HOUR) for n, w in ((3, "fox"), (1, "barn"), (2, "car"))]
        async with filled(tmp_path, *old, committed=committed) as store:
            assert await found(store) == ["3", "2", "1"]

    async def test_no_author_above_the_cap_unless_asked_for(self, tmp_path: Path, committed: bool) -> None:
        kinds = ("fox", "barn", "car", "wine", "moon")
        mine = [post(str(n), f"red {k} number {n}", who="anna") for n, k in enumerate(kinds)]
        async with filled(tmp_path, *mine, post("other", "red planet"), committed=committed) as store:
            assert len(await found(store, "red")) == 4
            assert len(await found(store, "red", per_author=1)) == 2
            assert len(await found(store, "red", handles=("@ANNA",))) == 5
            assert await found(store, "red", handles=("nobody",)) == []

    async def test_copies_are_one_hit_spoken_for_by_the_first(self, tmp_path: Path, committed: bool) -> None:
        copies = (
            post("late", "RT @cbc: Shots fired at the war memorial! https://t.co/x", who="bert", at=NOW - HOUR),
            post("first", "Shots fired at the war memorial", who="anna", at=NOW - 2 * HOUR),
            post("again", "shots fired at the war memorial", who="bert", at=NOW - HOUR // 2),
            post("near", "Shots fired at the war memorial today", who="cleo", at=NOW - HOUR // 4),
        )
        async with filled(tmp_path, *copies, committed=committed) as store:
            (hit,) = await store.search(Query(words=("memorial",)), NOW)
            assert (hit.post.id, hit.duplicates) == ("at://first", 4)
            assert hit.independent_authors == 3
            then = await store.search(Query(words=("memorial",), until=NOW - HOUR), NOW)
            assert [(h.duplicates, h.independent_authors) for h in then] == [(2, 2)]

    async def test_what_differs_in_a_number_or_a_denial_is_no_copy(self, tmp_path: Path, committed: bool) -> None:
        said = "the council of the old town says that {} people were hurt when the dam broke at noon today"
        texts = (said.format("three"), said.format("five"), said.format("no"), f"now: {said.format('three')}")
        posts = [post(str(n), text, at=NOW - n * HOUR) for n, text in enumerate(texts)]
        async with filled(tmp_path, *posts, committed=committed) as store:
            assert set(await found(store, "dam")) == {"1", "2", "3"}

    async def test_copies_of_one_minute_or_of_young_accounts_are_one_voice(
        self, tmp_path: Path, committed: bool
    ) -> None:
        day = 24 * HOUR
        burst = [post(f"b{n}", "the dam broke", at=NOW - HOUR + n) for n in range(9)]
        spread = [post(f"s{n}", "the dam is dry", at=NOW - n * HOUR) for n in range(5)]
        young = [
            replace(p, author=p.author._replace(since=p.witnessed_at - day), id=f"{p.id}y", text="the dam is safe")
            for p in (post(f"y{n}", "", at=NOW - n * HOUR) for n in range(7))
        ]
        async with filled(tmp_path, *burst, *spread, *young, committed=committed) as store:
            hits = await store.search(Query(words=("dam",), per_author=9), NOW)
        assert {h.post.text: (h.independent_authors, h.voices) for h in hits} == {
            "the dam broke": (9, 1), "the dam is dry": (5, 5), "the dam is safe": (7, 1)
        }  # fmt: skip

    async def test_as_of_sees_nothing_witnessed_later(self, tmp_path: Path, committed: bool) -> None:
        then = replace(post("claimed", "red moon", at=NOW), created_at=1)
        async with filled(tmp_path, then, post("past", "red sun", at=5), committed=committed) as store:
            assert await found(store, "red", until=NOW - 1) == ["past"]
            assert await found(store, until=NOW - 1) == ["past"]
            assert await found(store, "red", until=4) == []
            assert await found(store, until=0) == []
            assert await found(store, "red", since=6) == ["claimed"]

    async def test_words_of_many_kinds(self, tmp_path: Path, committed: bool) -> None:
        several = (
            post("jp", "東京タワーで火事"),
            post("tag", "hold on #OttawaShooting"),
            post("alt", "see this", media=(Media("image", "", "a burning tower"),)),
            post("bold", "𝗕𝗥𝗘𝗔𝗞𝗜𝗡𝗚 from Élysée"),
            post("hindi", "भारत जीत गया"),
            post("long", "b" * 200 + " " + "é" * 4000),
        )
        async with filled(tmp_path, *several, committed=committed) as store:
            for asked, id_ in (
                ("東京", "jp"), ("火事", "jp"), ("ottawashooting", "tag"), ("#OttawaShooting", "tag"),
                ("shooting", "tag"), ("burning", "alt"), ("breaking", "bold"), ("ELYSEE", "bold"),
                ("जीत", "hindi"), ("b" * 200, "long"), ("é" * 4000, "long"),
            ):  # fmt: skip
                assert await found(store, asked) == [id_], asked
            assert await found(store, "京東") == []
            assert await found(store, "🔥", "!!!") == []
            assert await found(store, phrases=("this a",)) == []

    async def test_handles_follow_the_account(self, tmp_path: Path, committed: bool) -> None:
        async with filled(tmp_path, post("p", "red fox", who="anna"), committed=committed) as store:
            await store.apply("s", [Renamed(Author("anna", "annika", "Annika K."))])
            assert await found(store, "red", handles=("anna",)) == []
            assert await found(store, handles=("@Annika",)) == ["p"]
            assert (await store.posts(["at://p"]))[0].author == Author("anna", "annika", "Annika K.")

    async def test_a_profile_goes_with_the_account(self, tmp_path: Path, committed: bool) -> None:
        async with filled(tmp_path, post("p", "red fox", who="anna"), committed=committed) as store:
            whole = Author("anna", "anna", "Anna", "organisation", "automated", 77, "Counts foxes.")
            await store.apply("s", [Renamed(whole)])
            assert (await store.posts(["at://p"]))[0].author == whole
            await store.apply("s", [Renamed(Author("anna", "annika"))])
            assert (await store.posts(["at://p"]))[0].author == whole._replace(handle="annika")
            less = Author("anna", "annika", "Anna", since=77)  # its mark was taken away, its bio emptied
            await store.apply("s", [Renamed(less)])
            assert [h.post.author for h in await store.search(Query(words=("red",)), NOW)] == [less]

    async def test_a_handle_at_x_is_asked_apart(self, tmp_path: Path, committed: bool) -> None:
        desk, other = (
            replace(post(n, "red fox " + n), author=Author(i, "desk")) for n, i in (("a", "x:1"), ("b", "did:2"))
        )
        async with filled(tmp_path, desk, other, committed=committed) as store:
            assert await found(store, "red", handles=("x:Desk",)) == ["a"]
            assert await found(store, "red", handles=("x:1",)) == ["a"]
            assert set(await found(store, "red", handles=("desk",))) == {"a", "b"}

    async def test_likes_and_the_rare_among_many(self, tmp_path: Path, committed: bool) -> None:
        crowd = [post(f"c{n}", f"red thing {n} {n * 7} {n * 13}") for n in range(900)]
        rare = post("rare", "a red balloon over the old city", at=1, engagement=Engagement(500))
        async with filled(tmp_path, rare, *crowd, committed=committed) as store:
            assert await found(store, "red", min_likes=100) == ["rare"]
            await store.apply("s", [Counted("at://c5", Engagement(900))])
            assert set(await found(store, min_likes=100)) == {"rare", "c5"}
            assert len(await found(store, "red", limit=300)) == 300
            assert await found(store, "red", limit=0) == []


class TestOnce:
    """Invariant 1: a batch and its cursor are one, and are stored once."""

    @pytest.mark.parametrize(
        "bad",
        [Upsert(post("b", "red car"), cursor=object()), Upsert(post("b", object()), "2")],  # type: ignore[arg-type]
    )
    async def test_a_batch_that_fails_leaves_nothing(self, tmp_path: Path, bad: Upsert) -> None:
        async with filled(tmp_path, post("a", "red fox")) as store:
            with pytest.raises((VoxpopError, TypeError)):
                await store.apply("s", [Delete("at://a", NOW, "2"), Upsert(post("c", "red hat"), "2"), bad])
            assert (await store.cursor("s"), await found(store, "red")) == ("1", ["a"])
            await store.apply("s", upserts(post("d", "red sky")))
            assert set(await found(store, "red")) == {"a", "d"}

    async def test_the_same_batch_again_changes_nothing(self, tmp_path: Path) -> None:
        batch = upserts(post("a", "red fox", at=5), post("b", "red car"), post("a", "red hat", at=9))
        async with open_store(tmp_path) as store:
            assert await store.apply("s", batch) == Applied(added=2, edited=1)
            assert await store.apply("t", batch) == Applied(unchanged=3)
            await store.commit()
            assert await store.apply("s", batch) == Applied(unchanged=3)
            assert set(await found(store, "red")) == {"a", "b"}
            assert (await store.totals())["seq"] == 2

    async def test_what_a_crash_leaves_opens_whole(self, tmp_path: Path) -> None:
        async with filled(tmp_path / "a", post("a", "red fox"), post("b", "red car"), committed=True) as store:
            await store.apply("s", [*upserts(post("c", "red hat")), Delete("at://b", NOW, "9")])
            shutil.copytree(tmp_path / "a", tmp_path / "b", ignore=shutil.ignore_patterns("*.lock", "lock"))
        async with open_store(tmp_path / "b") as store:
            assert set(await found(store, "red")) == {"a", "c"}
            assert (await store.cursor("s"), await store.check(), store.rebuilt) == ("9", [], "")
            assert (await store.totals())["tail"] == 0


class TestForgetting:
    async def test_what_was_deleted_stays_deleted(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("a", "red fox"), post("m", "red car", who="mia", at=5)) as store:
            await store.apply("s", [Delete("at://a", NOW), Delete("at://unseen", NOW), AccountGone("mia", 7)])
            late = [post("a", "red fox", at=NOW), post("unseen", "red"), post("n", "red", who="mia", at=7)]
            assert (await store.apply("s", upserts(*late))).refused == 3
            assert await found(store, "red") == []
            assert await found(store) == []

    @pytest.mark.parametrize("committed", [False, True])
    async def test_an_edited_or_deleted_text_is_on_no_page_and_no_log(
        self, tmp_path: Path, committed: bool
    ) -> None:
        async with filled(
            tmp_path,
            *(post(str(n), f"my {SECRET} {n} " + "is here " * 40, who="w" if n > 1 else "") for n in range(20)),
            committed=committed,
        ) as store:
            await store.apply("s", [Upsert(post("0", "nothing to see", at=NOW)), Delete("at://1", NOW)])
            await store.apply("s", [AccountGone("w", NOW)])
            assert await found(store, SECRET) == []
            assert await found(store) == ["0"]
            await store.commit()
            assert await found(store, SECRET) == []
        left = bytes_below(tmp_path)
        assert SECRET.encode() not in left
        assert b"nothing to see" in left

    async def test_the_purge_empties_the_log_while_the_store_is_open(self, tmp_path: Path) -> None:
        async with LocalStore(tmp_path, commit_s=0.01, purge_s=0.02) as store:
            await store.apply(
                "s", upserts(*(post(str(n), f"my {SECRET} {n} " + "is here " * 40) for n in range(9)))
            )
            assert await found(store, SECRET)
            await store.apply("s", [Delete(f"at://{n}", NOW) for n in range(9)])
            for _ in range(500):
                left = bytes_below(tmp_path)
                if SECRET.encode() not in left:
                    break
                await asyncio.sleep(0.01)
            assert SECRET.encode() not in left

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("look at https://a.example/x", "look at https://a.example/y"),
            ("they won.", "they won?"),
            ("us", "US"),
        ],
    )
    async def test_an_edit_that_only_changes_a_link_or_a_sign_counts(
        self, tmp_path: Path, before: str, after: str
    ) -> None:
        async with filled(tmp_path, post("p", before)) as store:
            assert (await store.apply("s", [Upsert(post("p", after, at=NOW))])).edited == 1
            assert (await store.posts(["at://p"]))[0].text == after

    async def test_a_picture_taken_away_is_an_edit(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("p", "look", media=(Media("image", "u", SECRET),))) as store:
            await store.apply("s", [Upsert(post("p", "look", at=NOW))])
            assert await found(store, SECRET) == []

    async def test_of_a_gone_account_no_profile_is_kept(self, tmp_path: Path) -> None:
        whole = Author("w", "wren", "Wren", "person", "parody", 77, f"I am {SECRET}.")
        async with filled(tmp_path, post("p", "red fox"), post("q", "red car", who="w")) as store:
            await store.apply("s", [Renamed(whole)])
            await store.apply("s", [AccountGone("w", NOW)])
            await store.apply("s", [Renamed(whole)])  # somebody looked it up before, and it comes too late
            await store.apply("s", [Upsert(post("r", "red hen", who="w", at=NOW + 1))])
            assert (await store.posts(["at://r"]))[0].author == Author("w", "w")
        assert SECRET.encode() not in bytes_below(tmp_path)

    async def test_a_bio_that_was_changed_is_in_no_file(self, tmp_path: Path) -> None:
        async with filled(tmp_path, *(post(str(n), "red fox", who=f"w{n}") for n in range(40))) as store:
            old = [Author(f"w{n}", f"w{n}", since=7, bio=f"I am {SECRET} " + "x" * (n % 9) * 20) for n in range(40)]
            await store.apply("s", [Renamed(a) for a in old])
            await store.purge()
            await store.apply("s", [Renamed(a._replace(bio="A changed one. " + a.bio[30:] * 2)) for a in old])
            await store.purge()
            assert SECRET.encode() not in bytes_below(tmp_path)

    async def test_a_name_is_known_again_when_its_account_comes_back(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("p", "red fox", who="anna")) as store:
            await store.apply("s", [AccountGone("anna", NOW)])
            await store.apply("s", [Upsert(post("q", "red car", who="anna", at=NOW + 1))])
            assert await found(store, "red", handles=("anna",)) == ["q"]

    async def test_an_older_witness_does_not_take_counts_back(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("p", "red", at=NOW, engagement=Engagement(9))) as store:
            await store.apply("s", [Upsert(post("p", "red", at=NOW - 1, engagement=Engagement(2)))])
            assert (await store.posts(["at://p"]))[0].engagement.likes == 9


class TestFolder:
    async def test_opened_again_all_is_there(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("a", "red fox")) as store:
            await store.commit()
            await store.apply("t", upserts(post("b", "red car")))
        async with open_store(tmp_path) as store:
            assert set(await found(store, "red")) == {"a", "b"}
            assert await store.cursors() == {"s": "1", "t": "1"}
            assert await store.totals() == {
                "posts": 2, "tombstones": 0, "unindex": 0, "newest": NOW - HOUR, "seq": 2, "indexed": 2, "tail": 0
            }  # fmt: skip
            assert (await store.check(), store.rebuilt) == ([], "")

    async def test_commits_come_by_time(self, tmp_path: Path) -> None:
        async with LocalStore(tmp_path, commit_s=0.01) as store:
            await store.apply("s", upserts(post("a", "red fox")))
            for _ in range(500):
                if (await store.totals())["indexed"] == 1:
                    break
                await asyncio.sleep(0.01)
            assert (await store.totals())["tail"] == 0
            assert await found(store, "red") == ["a"]

    async def test_partitions_are_cut_and_lose_posts_alike(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partition_module, "FULL", 2)
        async with open_store(tmp_path) as store:
            for n in range(6):
                await store.apply("s", upserts(post(str(n), f"red thing {n} of {n * 7}")))
                await store.commit()
            assert len(list((tmp_path / "partitions").iterdir())) == 3
            await store.apply("s", [Delete("at://0", NOW), Upsert(post("3", "blue moon", at=NOW))])
            await store.commit()
            assert set(await found(store, "red")) == {"1", "2", "4", "5"}
            assert await store.check() == []
        async with open_store(tmp_path) as store:
            assert set(await found(store, "red")) == {"1", "2", "4", "5"}
            assert (await store.check(), store.rebuilt) == ([], "")

    async def test_a_reader_beside_the_writer_sees_what_is_stored(self, tmp_path: Path) -> None:
        three = post("a", "red fox"), post("b", "red car"), post("c", "red hat")
        async with filled(tmp_path, *three[:2], committed=True) as store:
            await store.apply("s", upserts(three[2]))
            async with open_store(tmp_path, readonly=True) as reader:
                assert set(await found(reader, "red")) == {"a", "b", "c"}
                await store.apply("s", [Delete("at://b", NOW)])
                assert set(await found(reader, "red")) == {"a", "c"}
                with pytest.raises(VoxpopError, match="read only"):
                    await reader.apply("s", [])
            assert set(await found(store, "red")) == {"a", "c"}

    async def test_a_reader_needs_a_store(self, tmp_path: Path) -> None:
        with pytest.raises(VoxpopError, match=r"holds no posts. Fill it first"):
            await open_store(tmp_path / "none", readonly=True).__aenter__()
        assert not (tmp_path / "none").exists()


class PanicException(BaseException):
    """As tantivy's, which cannot be imported."""


def _panics(*_: object, **__: object) -> None:
    raise PanicException("index out of bounds")


def rows_of(folder: Path) -> Path:
    """The first partition's file."""
    return next(iter(sorted(folder.glob("partitions/*/posts.db"))))


def _hurt(folder: Path, how: str) -> None:  # noqa: C901
    partitions = sorted(folder.glob("partitions/*/index"))
    if how == "deleted":
        for partition in partitions:
            shutil.rmtree(partition)
    elif how == "half written":
        (partitions[0] / "meta.json").write_text('{"segments": [')
    elif how == "emptied":
        for file in partitions[0].iterdir():
            file.unlink()
    elif how == "segment lost":
        for file in partitions[0].glob("*.term"):
            file.unlink()
    elif how == "segment cut short":
        for file in partitions[0].glob("*.idx"):
            file.write_bytes(file.read_bytes()[:10])
    elif how == "partition lost":
        shutil.rmtree(partitions[0])
    elif how == "not ours":
        (partitions[0] / "meta.json").write_text("{}")


class TestTrouble:
    @pytest.mark.parametrize(
        "how",
        ["deleted", "half written", "emptied", "segment lost", "segment cut short", "partition lost", "not ours"],
    )
    async def test_a_broken_index_is_rebuilt_and_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(partition_module, "FULL", 2)
        async with open_store(tmp_path) as store:
            for n in range(4):
                await store.apply("s", upserts(post(str(n), f"red thing {n} of {n * 7}")))
                await store.commit()
        _hurt(tmp_path, how)
        async with open_store(tmp_path) as store:
            assert store.rebuilt
            assert store.rebuilt in caplog.text
            assert set(await found(store, "red")) == {"0", "1", "2", "3"}
            assert await store.check() == []
        async with open_store(tmp_path) as store:
            assert store.rebuilt == ""

    async def test_check_says_what_disagrees(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("a", "red"), post("b", "blue"), committed=True) as store:
            con = sqlite3.connect(rows_of(tmp_path))
            with con:
                con.execute("DELETE FROM posts WHERE seq = 1")
                con.execute("UPDATE posts SET seq = 9 WHERE seq = 2")
            con.close()
            assert await store.check() == [
                f"{rows_of(tmp_path)} holds 1 posts and the catalog says 2",
                "the index lacks 1 posts, the first of them number 9",
                "the index still holds 2 posts, the first of them number 1",
            ]

    async def test_an_index_ahead_of_the_truth_gives_way(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("a", "red fox"), committed=True) as store:
            await store.commit()
        shutil.copytree(tmp_path, tmp_path / "old")
        async with open_store(tmp_path) as store:
            await store.apply("s", upserts(post("b", "red car"), post("c", "red hat")))
        for path in (rows_of(tmp_path), tmp_path / "catalog.db"):  # as a power cut may leave it
            shutil.copy(tmp_path / "old" / path.relative_to(tmp_path), path)
        async with open_store(tmp_path) as store:
            assert await found(store, "red") == ["a"]
            await store.apply("s", upserts(post("b", "red car")))
            assert set(await found(store, "red")) == {"a", "b"}
            assert (await store.check(), store.rebuilt) == ([], "")

    @pytest.mark.parametrize("where", [0, 4096])
    @pytest.mark.parametrize("name", ["catalog.db", "posts.db"])
    async def test_a_damaged_file_is_named_with_the_way_out(self, tmp_path: Path, where: int, name: str) -> None:
        async with filled(tmp_path, *(post(str(n), f"red {n}") for n in range(200))):
            pass
        (path,) = tmp_path.rglob(name)
        data = bytearray(path.read_bytes())
        data[where : where + 8192] = b"\xff" * 8192
        path.write_bytes(bytes(data))

        async def use() -> None:
            async with open_store(tmp_path) as store:
                await found(store, "red")
                await store.check()

        with pytest.raises(VoxpopError, match=rf"Restore a backup, or move {path.parent} away") as refused:
            await use()
        assert str(path) in refused.value.what

    async def test_an_index_that_fails_a_search_is_made_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with filled(tmp_path, post("a", "red fox"), post("b", "red car"), committed=True):
            pass
        index = index_module.index_of(tmp_path, 1)
        assert index_module.unsound(index) == ""
        async with LocalStore(tmp_path, commit_s=3600, purge_s=0.1) as store:
            monkeypatch.setattr(index_module.PartitionIndex, "search", _panics)
            with pytest.raises(VoxpopError, match="voxpop rebuild"):  # its files are sound: the cause is another
                await found(store, "red")
            for path in index.glob("*.pos"):
                path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
            assert "checksum of" in index_module.unsound(index)
            assert await found(store, "red") == []
            monkeypatch.undo()
            for _ in range(200):
                if (await store.figures())["rebuilt"]:  # counted last: it is searched a moment before
                    break
                await asyncio.sleep(0.05)
            assert set(await found(store, "red")) == {"a", "b"}
            assert (await store.figures())["rebuilt"] == 1
        assert index_module.unsound(index) == ""

    async def test_a_full_disk_says_so_and_keeps_what_it_took(self, tmp_path: Path) -> None:
        async with filled(tmp_path, post("a", "red fox")) as store:
            con = store._shelves.writer.partition(1).db.con
            pages = con.execute("PRAGMA page_count").fetchone()[0]
            con.execute(f"PRAGMA max_page_count={pages + 2}")
            with pytest.raises(VoxpopError, match=r"full.*Free space"):
                await store.apply("s", upserts(*(post(f"b{n}", "big " * 5000) for n in range(9))))
            assert (await store.cursor("s"), await found(store, "red", "big")) == ("1", ["a"])
            con.execute("PRAGMA max_page_count=1000000")
            await store.apply("s", upserts(post("c", "red car")))
            assert set(await found(store, "red", "big")) == {"a", "c"}

    async def test_an_index_that_cannot_be_written_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with filled(tmp_path, post("a", "red fox"), committed=True) as store:
            with monkeypatch.context() as patched:
                patched.setattr(index_module.PartitionIndex, "_commit", _no_space)
                await store.apply("s", [*upserts(post("b", "red car")), Delete("at://a", NOW)])
                with pytest.raises(VoxpopError, match="no space"):
                    await store.commit()
                assert await found(store, "red") == ["b"]
            await store.commit()
            assert (await found(store, "red"), await store.check()) == (["b"], [])

    async def test_a_tail_that_cannot_be_committed_takes_no_more(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("voxpop.store.local._TAIL_FULL", 1)
        async with filled(tmp_path, post("a", "red fox")) as store:
            with monkeypatch.context() as patched:
                patched.setattr(index_module.PartitionIndex, "_commit", _no_space)
                with pytest.raises(DiskFull, match="no space"):
                    await store.apply("s", [Upsert(post("b", "red car"), "9")])
                assert (await store.cursor("s"), await found(store, "red")) == ("1", ["a"])
            await store.apply("s", [Upsert(post("b", "red car"), "9")])
            assert sorted(await found(store, "red")) == ["a", "b"]

    async def test_a_folder_that_cannot_be_used_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(VoxpopError, match=r"Choose a folder with --data"):
                await open_store(folder).__aenter__()

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
    async def test_a_folder_that_may_not_be_written_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "shut").mkdir(mode=0o500)
        with pytest.raises(VoxpopError, match=r"Choose a folder with --data"):
            await open_store(tmp_path / "shut").__aenter__()

    async def test_a_second_writer_is_refused(self, tmp_path: Path, second_writer: Path) -> None:
        with pytest.raises(VoxpopError, match=r"locked.*Stop the voxpop that writes to it"):
            await open_store(second_writer).__aenter__()
        async with open_store(second_writer, readonly=True) as reader:
            assert await found(reader, "red") == ["a"]
        async with filled(tmp_path / "own", post("a", "red")):
            with pytest.raises(VoxpopError, match="Stop the voxpop"):
                await open_store(tmp_path / "own").__aenter__()


def _no_space(*_: object) -> None:
    raise OSError(28, "no space left on device")


def _write_elsewhere(folder: str, ready: Signal, done: Signal) -> None:
    async def hold() -> None:
        async with filled(Path(folder), post("a", "red fox")):
            ready.set()
            await asyncio.to_thread(done.wait, 30)

    asyncio.run(hold())


@pytest.fixture
def second_writer(tmp_path: Path) -> Iterator[Path]:
    """A folder that another process is writing to."""
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    process = spawn.Process(target=_write_elsewhere, args=(str(tmp_path / "other"), ready, done))
    process.start()
    assert ready.wait(30)
    yield tmp_path / "other"
    done.set()
    process.join(30)
    assert process.exitcode == 0
