"""Stored conversations: opened for their own account while their posts stand, and for nobody else or longer."""

import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from voxpop.conversations import MOST_TURNS, Conversations, Exchange, Past, StoredExchange, forget, turns
from voxpop.errors import UsageError
from voxpop.messages import (
    AnswerEvent,
    Call,
    Called,
    Citation,
    Done,
    Found,
    Freshness,
    Message,
    Passage,
    Searching,
    Text,
    Timings,
    Token,
    Usage,
    Withheld,
)
from voxpop.posts import Author, Post
from voxpop.records import Database

NOW = 1_760_000_000_000_000
DAY = 24 * 3600 * 1_000_000
DONE = Done("stop", True, "echo", "regular", Usage(12, 7, 3), Freshness(), Timings())


def post(id_: str, said: str) -> Post:
    return Post(id_, "bluesky", Author("did:plc:ann", "ann.example"), said, NOW, NOW, f"https://example.org/{id_}")


BRIDGE = post("at://bridge", "the bridge is closed since noon")
FERRY = post("at://ferry", "ferries are full")


def answer(*posts: Post, chat: str = "") -> tuple[AnswerEvent, ...]:
    said: list[AnswerEvent] = [Searching("bridge"), Found(len(posts), NOW, 1.5)]
    for n, each in enumerate(posts, 1):
        said += [Citation(Passage(n, each)), Text(f"ann says {each.text}.", (n,), why="as the posts say")]
    if chat:
        said.append(Text(chat, kind="chat", tokens=(Token("x", -0.5, (("y", -1.5),)),)))
    return (*said, Withheld("the bridge fell", "no post says it"), DONE)


class World:
    """The posts that are there now, the clock, and the conversations over them."""

    def __init__(self, database: Database) -> None:
        self.there = {p.id: p for p in (BRIDGE, FERRY)}
        self.now = NOW
        self.database = database
        self.held = Conversations(database, self.posts, lambda: self.now)

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return [self.there[i] for i in ids if i in self.there]

    async def keep(self, id_: str, said: Sequence[AnswerEvent], previous: str = "", **more: Any) -> bool:
        past = await self.held.past("ann", previous) if previous else Past()
        past = replace(past, untraced=more.pop("untraced", False))
        asked = more.pop("asked", (Message("user", f"asked in {id_}"),))
        return await self.held.put(Exchange(id_, "ann", self.now, "voxpop", asked, (tuple(said),), previous), past)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    world = World(database)
    async with world.held:
        yield world


async def test_what_was_stored_comes_back_without_what_no_post_carries(world: World) -> None:
    given = Exchange(
        "resp_1",
        "ann",
        NOW,
        "voxpop-terse",
        (Message("user", "Is the bridge open?"), Message("tool", "{}", answers="call_1")),
        (answer(BRIDGE, chat="Take a boat."), (Called(Call("call_2", "boats", '{"to":"x"}')), DONE)),
        beside={"metadata": {"a": "b"}, "n": 2},
        ticks=77,
    )
    assert await world.held.put(given)
    got = await world.held.get("ann", "resp_1")
    assert given.answers is not None
    stands = [
        tuple(replace(e, why="") if isinstance(e, Text) else e for e in said if not isinstance(e, Withheld))
        for said in given.answers
    ]
    assert got == replace(given, answers=tuple(stands))


async def test_another_account_and_another_month_see_nothing(world: World) -> None:
    await world.keep("resp_1", answer(BRIDGE))
    for owner, id_ in (("bob", "resp_1"), ("", "resp_1"), ("ann", "resp_2"), ("ann", "\0"), ("ann", "\ud800")):
        for act in (world.held.get, world.held.past, world.held.remove):
            with pytest.raises(UsageError) as caught:
                await act(owner, id_)
            assert caught.value.code == "not_found"
    assert await world.held.get("ann", "resp_1")
    world.now += 30 * DAY + 1
    with pytest.raises(UsageError, match="Nothing is stored"):
        await world.held.get("ann", "resp_1")
    assert await rows(world)
    await world.held.drop()
    assert not await rows(world)


async def test_an_answer_goes_with_any_post_that_it_cites(world: World) -> None:
    await world.keep("resp_1", answer(BRIDGE, FERRY))
    world.there[FERRY.id] = replace(FERRY, text="ferries are empty")
    got = await world.held.get("ann", "resp_1")
    assert got.answers is None
    assert got.asked == (Message("user", "asked in resp_1"),)


async def test_an_answer_goes_with_the_posts_of_those_before_it(world: World) -> None:
    """A later turn may repeat an earlier one in the model's own words."""
    await world.keep("resp_1", answer(BRIDGE))
    await world.keep("resp_2", answer(chat="Ann said that the bridge is closed."), "resp_1")
    assert (await world.held.get("ann", "resp_2")).answers
    del world.there[BRIDGE.id]
    assert (await world.held.get("ann", "resp_2")).answers is None
    assert (await world.held.past("ann", "resp_2")).messages == (
        Message("user", "asked in resp_1"),
        Message("user", "asked in resp_2"),
    )


async def test_a_conversation_goes_on_without_what_was_withdrawn(world: World) -> None:
    await world.keep("resp_1", answer(BRIDGE))
    del world.there[BRIDGE.id]
    await world.keep("resp_2", answer(FERRY), "resp_1")
    past = await world.held.past("ann", "resp_2")
    assert past.messages == (
        Message("user", "asked in resp_1"),
        Message("user", "asked in resp_2"),
        Message("assistant", "ann says ferries are full."),
    )
    assert past.posts == (FERRY,)


async def test_a_result_goes_with_the_call_that_was_withdrawn(world: World) -> None:
    await world.keep("resp_1", answer(BRIDGE))
    await world.keep("resp_2", (Called(Call("call_1", "boats")), DONE), "resp_1")
    result = (Message("tool", "two boats", answers="call_1"),)
    await world.keep("resp_3", answer(chat="Two."), "resp_2", asked=result)
    assert [m.role for m in (await world.held.past("ann", "resp_3")).messages] == [
        *("user", "assistant") * 2,
        *("tool", "assistant"),
    ]
    del world.there[BRIDGE.id]
    assert [m.role for m in (await world.held.past("ann", "resp_3")).messages] == ["user", "user"]


async def test_nothing_of_an_answer_is_in_the_database_in_clear(world: World) -> None:
    await world.keep("resp_1", answer(BRIDGE, chat="Swim across."))
    asked = (Message("user", "hi"), Message("assistant", "Row across."), Message("user", "why?"))
    await world.keep("resp_2", answer(FERRY), "resp_1", asked=asked)
    words = ("bridge is", "noon", "Swim", "ferries", "Row", "fell")
    for row in await rows(world):
        for word in words:
            assert word.encode() not in row.shut
        assert b"Row" not in zlib.decompress(row.clear)
    assert (await world.held.get("ann", "resp_2")).asked == asked
    del world.there[BRIDGE.id]
    assert (await world.held.get("ann", "resp_2")).asked == (asked[0], asked[2])


async def test_what_a_model_made_of_an_unknown_turn_is_not_stored(world: World) -> None:
    asked = (Message("user", "hi"), Message("assistant", "The mayor left."), Message("user", "who left?"))
    assert not await world.keep("resp_1", answer(chat="The mayor."), asked=asked, untraced=True)
    assert not await world.keep("resp_2", (Called(Call("c", "f", '{"who":"mayor"}')),), asked=asked, untraced=True)
    assert await rows(world) == []
    assert await world.keep("resp_3", answer(FERRY), asked=asked, untraced=True)
    assert (await world.held.get("ann", "resp_3")).asked == (asked[0], asked[2])


async def test_a_removed_one_and_a_removed_account_leave_nothing(world: World) -> None:
    for n in range(4):
        await world.keep(f"resp_{n}", answer(FERRY))
    await world.held.remove("ann", "resp_0")
    assert len(await rows(world)) == 3
    await world.held.forget("bob")
    assert len(await rows(world)) == 3
    await world.database.run(lambda s: forget(s, "ann"))
    assert await rows(world) == []


async def test_an_endless_conversation_is_refused(world: World) -> None:
    await world.keep("resp_0", (DONE,))
    for n in range(1, MOST_TURNS + 1):
        said = Exchange(f"resp_{n}", "ann", NOW, "voxpop", (), ((DONE,),), f"resp_{n - 1}")
        await world.held.put(said)
    with pytest.raises(UsageError, match="over 100 turns"):
        await world.held.past("ann", f"resp_{MOST_TURNS}")
    assert await world.held.past("ann", f"resp_{MOST_TURNS - 1}")


async def test_a_changed_blob_withdraws_the_answer(world: World) -> None:
    await world.keep("resp_1", answer(BRIDGE))
    blob = (await rows(world))[0].shut
    changed = blob[:-1] + bytes([blob[-1] ^ 1])
    await world.database.run(lambda s: s.execute(text("UPDATE exchanges SET shut = :b"), {"b": changed}))
    assert (await world.held.get("ann", "resp_1")).answers is None


def test_an_answer_is_a_turn_without_marks_and_notices() -> None:
    assert turns(answer(BRIDGE, FERRY)) == (
        Message("assistant", f"ann says {BRIDGE.text}.\nann says {FERRY.text}."),
    )
    notice = Text("From the model, not from posts.", kind="notice")
    assert turns((notice, Text("Hel", kind="chat"), Text("lo", kind="chat"))) == (Message("assistant", "Hello"),)
    assert turns((notice,)) == (Message("assistant", notice.text),)
    call = Call("call_1", "boats")
    assert turns((Called(call), DONE)) == (Message("assistant", "", (call,)),)
    assert turns((DONE,)) == ()


async def rows(world: World) -> list[StoredExchange]:
    return await world.database.run(lambda s: list(s.scalars(select(StoredExchange))), write=False)
