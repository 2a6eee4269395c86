"""Deferred answers on each database: given once, to their own account, within a day, or told as lost."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from voxpop.deferred import Later, Made
from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Author, Post
from voxpop.records import Database

NOW = 1_760_000_000_000_000
HOUR = 3600 * 1_000_000
POST = Post("at://1", "bluesky", Author("did:plc:ann"), "the secret words of a post", NOW, NOW)


class World:
    """The posts that are there, the clock, and what makes answers."""

    def __init__(self, database: Database) -> None:
        self.database, self.now, self.there = database, NOW, [POST]
        self.go = asyncio.Event()

    def later(self, beat_s: float = 5.0) -> Later:
        return Later(self.database, self.posts, lambda: self.now, beat_s=beat_s)

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return [p for p in self.there if p.id in ids]

    async def made(self) -> Made:
        return b"the secret words of a post, cited", [POST]

    async def slow(self) -> Made:
        await self.go.wait()
        return b"at last", []


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def taken(later: Later, owner: str, id_: str) -> bytes:
    for _ in range(200):
        if (data := await later.take(owner, id_)) is not None:
            return data
        await asyncio.sleep(0.01)
    raise AssertionError("it was never made")


async def fails(later: Later, owner: str, id_: str) -> VoxpopError:
    with pytest.raises(VoxpopError) as caught:
        await taken(later, owner, id_)
    return caught.value


async def test_an_answer_is_given_once_and_to_its_own_account(world: World) -> None:
    async with world.later() as later:
        id_ = await later.start("ann", world.made)
        assert (await fails(later, "ben", id_)).code == "not_found"
        assert await taken(later, "ann", id_) == b"the secret words of a post, cited"
        assert (await fails(later, "ann", id_)).code == "not_found"
        for strange in ("", "x" * 1000, "é\x00"):
            assert (await fails(later, "ann", strange)).code == "not_found"


async def test_of_many_who_fetch_it_at_once_one_gets_it(world: World) -> None:
    async with world.later() as later:
        id_ = await later.start("ann", world.made)
        await asyncio.sleep(0.2)
        got = await asyncio.gather(*(later.take("ann", id_) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, bytes) for one in got) == 1
    assert all(isinstance(one, bytes | UsageError) for one in got)


async def test_it_is_pending_until_it_is_made_and_gone_after_a_day(world: World) -> None:
    async with world.later() as later:
        id_ = await later.start("ann", world.slow)
        assert await later.take("ann", id_) is None
        world.go.set()
        await asyncio.sleep(0.2)
        world.now += 25 * HOUR
        assert (await fails(later, "ann", id_)).code == "not_found"


async def test_what_failed_says_why_once(world: World) -> None:
    async def broken() -> Made:
        raise UsageError("No such voice.", "Choose another.", code="unknown_voice")

    async def faulty() -> Made:
        raise KeyError("secret")

    async with world.later() as later:
        error = await fails(later, "", id_ := await later.start("", broken))
        assert (type(error), error.what, error.code) == (UsageError, "No such voice.", "unknown_voice")
        assert (await fails(later, "", id_)).code == "not_found"
        fault = await fails(later, "", await later.start("", faulty))
        assert (fault.code, "secret" in str(fault)) == ("internal_error", False)


async def test_where_a_post_is_gone_the_answer_went_with_it(world: World) -> None:
    async with world.later() as later:
        id_ = await later.start("ann", world.made)
        await asyncio.sleep(0.2)
        world.there.clear()
        assert (await fails(later, "ann", id_)).code == "withdrawn"
        assert (await fails(later, "ann", id_)).code == "not_found"


async def test_no_text_of_a_post_and_nothing_untraced_is_in_a_file(tmp_path: Path) -> None:
    async def untraced() -> Made:
        return b"words of which nobody knows the posts", None

    async with Database.beside(tmp_path) as database:
        world = World(database)
        async with world.later() as later:
            one, other = await later.start("", world.made), await later.start("", untraced)
            await asyncio.sleep(0.2)
            files = b"".join(p.read_bytes() for p in tmp_path.iterdir())
            assert one.encode() in files
            assert b"secret words" not in files
            assert b"nobody knows" not in files
            assert await taken(later, "", other) == b"words of which nobody knows the posts"
            assert (await fails(later, "", other)).code == "not_found"


async def test_a_server_that_ended_tells_its_answers_as_lost(world: World) -> None:
    async with world.later() as first:
        pending, finished = await first.start("ann", world.slow), await first.start("ann", world.made)
        await asyncio.sleep(0.2)
    async with world.later() as second:
        assert (await fails(second, "ann", pending)).code == "deferred_lost"
        assert (await fails(second, "ann", pending)).code == "not_found"
        assert await taken(second, "ann", finished) == b"the secret words of a post, cited"


async def test_another_process_knows_a_dead_one_by_its_silence(world: World) -> None:
    async with world.later(beat_s=0.02) as alive, world.later() as other:
        id_ = await alive.start("ann", world.slow)
        world.now += HOUR
        await asyncio.sleep(0.2)
        assert await other.take("ann", id_) is None
        alive._beating.cancel()
        world.now += HOUR
        assert (await fails(other, "ann", id_)).code == "deferred_lost"
        world.go.set()
