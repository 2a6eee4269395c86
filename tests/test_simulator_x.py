"""The made-up X speaks X: the library that was made for X reads it without noticing."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from voxpop.simulator.x import TOKEN, X

FIELDS = {"tweet_fields": ["author_id", "created_at", "public_metrics", "referenced_tweets", "entities"],
          "expansions": ["author_id", "referenced_tweets.id"], "user_fields": ["username"]}  # fmt: skip


@pytest.fixture
async def world() -> AsyncIterator[X]:
    server = X(keep_alive_s=0.1)
    await server.start()
    yield server
    await server.stop()


def sent_to(world: X, client: Any) -> Any:
    """tweepy's client as it is, its bytes carried to the loopback server."""
    from requests.adapters import HTTPAdapter

    class Loopback(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            request.url = request.url.replace("https://api.twitter.com", world.url)
            return super().send(request, *args, **kwargs)

    client.session.trust_env = False
    client.session.mount("https://api.twitter.com", Loopback())
    return client


async def test_tweepy_keeps_rules_and_reads_the_stream(world: X):
    tweepy = pytest.importorskip("tweepy", reason="tweepy is not installed")
    seen: list[Any] = []
    signs: list[int] = []

    class Listener(tweepy.StreamingClient):  # type: ignore[misc, name-defined]
        def on_response(self, response: Any) -> None:
            seen.append(response)
            if len(seen) == 2:
                self.disconnect()

        def on_keep_alive(self) -> None:
            signs.append(1)

    client = sent_to(world, Listener(TOKEN))
    rule = tweepy.StreamRule("election", tag="mine")
    tried = await asyncio.to_thread(client.add_rules, rule, dry_run=True)
    assert tried.meta["summary"] == {"created": 1, "not_created": 0, "valid": 1, "invalid": 0}
    assert world.rules == {}
    await asyncio.to_thread(client.add_rules, [rule, tweepy.StreamRule("cats")])
    listed = (await asyncio.to_thread(client.get_rules)).data
    assert [(r.value, r.tag) for r in listed] == [("election", "mine"), ("cats", None)]
    await asyncio.to_thread(client.delete_rules, [r.id for r in listed if r.value == "cats"])
    assert world.rules == {"election": "mine"}
    refused = await asyncio.to_thread(client.add_rules, [rule, tweepy.StreamRule("lang:en")])
    assert [e["title"] for e in refused.errors] == ["DuplicateRule", "UnprocessableEntity"]

    reading = asyncio.create_task(asyncio.to_thread(client.filter, **FIELDS))
    while not world.connected:
        await asyncio.sleep(0.01)
    quoted = world.say("ben", "The count begins")
    await asyncio.sleep(0.15)
    world.say("ana", "The election: look", quote=quoted.id)
    world.say("ana", "no match")
    world.say("eve", "election " + "word " * 100)
    async with asyncio.timeout(10):
        await reading
    first, second = seen
    assert first.data.text == "The election: look"
    assert [u.username for u in first.includes["users"]] == ["ana"]
    assert [t.text for t in first.includes["tweets"]] == ["The count begins"]
    assert [r.tag for r in first.matching_rules] == ["mine"]
    assert len(second.data.text) <= 280
    assert signs


async def test_tweepy_searches_page_by_page_and_looks_posts_up(world: X):
    tweepy = pytest.importorskip("tweepy", reason="tweepy is not installed")
    now = time.time()
    made = [world.say("ana", f"election {n}", at=now - 1000 + n) for n in range(25)]
    client = sent_to(world, tweepy.Client(TOKEN))

    def pages() -> list[Any]:
        return list(tweepy.Paginator(client.search_recent_tweets, "election", max_results=10, **FIELDS))

    found = await asyncio.to_thread(pages)
    assert [len(p.data) for p in found] == [10, 10, 5]
    assert [t.id for p in found for t in p.data] == [int(t.id) for t in reversed(made)]
    assert found[0].meta["newest_id"] == made[-1].id
    made[3].gone = True
    made[4].author.hidden = False
    looked = await asyncio.to_thread(client.get_tweets, [made[2].id, made[3].id, "7"], **FIELDS)
    assert [t.text for t in looked.data] == ["election 2"]
    assert looked.data[0].created_at.timestamp() == int(now - 1000 + 2)
    assert [e["title"] for e in looked.errors] == ["Not Found Error"] * 2


async def test_tweepy_hears_what_x_refuses(world: X):
    tweepy = pytest.importorskip("tweepy", reason="tweepy is not installed")
    with pytest.raises(tweepy.Unauthorized):
        await asyncio.to_thread(sent_to(world, tweepy.Client("wrong")).get_tweets, ["1"])
    client = sent_to(world, tweepy.Client(TOKEN))
    with pytest.raises(tweepy.BadRequest, match="max_results"):
        await asyncio.to_thread(client.search_recent_tweets, "a", max_results=5)
    world.faults.limits["lookup"] = 0
    with pytest.raises(tweepy.TooManyRequests):
        await asyncio.to_thread(client.get_tweets, ["1"])
    world.faults.answers = [("search", 503, b"")]
    with pytest.raises(tweepy.TwitterServerError):
        await asyncio.to_thread(client.search_recent_tweets, "a")


async def test_the_wire_is_chunks_lines_and_signs_of_life(world: X):
    world.keep_rule("election")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx.AsyncClient(base_url=world.url, headers=headers, trust_env=False) as client,
        client.stream("GET", "/2/tweets/search/stream") as response,
    ):
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.headers["x-rate-limit-limit"] == "50"
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"\r\n"
        world.say("ana", "election")
        line = await anext(chunks)
        while line == b"\r\n":
            line = await anext(chunks)
        assert line.endswith(b"}\r\n")


async def test_the_night_is_posted_with_its_answers(world: X):
    began = time.time() - 6 * 3600
    told = world.night(began=began)
    assert len(told) > 1000
    assert sum(bool(t.reply_to) for t in told) > 20
    assert all(began <= t.at / 1e6 for t in told)
    assert len({t.id for t in told}) == len(told)
