"""A Mastodon server is heard live, its gaps are filled over REST, and what it takes back is gone from the store."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from voxpop.errors import UsageError, VoxpopError
from voxpop.ingest import Progress, ingest
from voxpop.posts import Event, Missed, Post, Upsert
from voxpop.simulator.mastodon import Faults, Mastodon
from voxpop.simulator.mastodon_frames import reply
from voxpop.sources.auto import Ways, open_source, parse_spec
from voxpop.sources.mastodon import MastodonSource, Patience
from voxpop.sources.mastodon_gap import Bounds, Reach
from voxpop.sources.mastodon_server import TOKENS, Channel
from voxpop.sources.mastodon_status import number_at
from voxpop.store import Query
from voxpop.store.local import LocalStore

QUICK = Patience(open_s=0.5, idle_s=0.5, quiet_s=5.0, first_wait_s=0.01, longest_wait_s=0.05)
PUBLIC = Channel()
SMALL = Bounds(overlap_s=0.0, first_wait_s=0.01)
TRANSPORTS = pytest.mark.parametrize("transport", ["ws", "sse"])


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Mastodon]]]:
    servers: list[Mastodon] = []

    async def start(domain: str = "murmur.example", *, night_age: float | None = None, **options: Any) -> Mastodon:
        server = Mastodon(domain, **options)
        servers.append(server)
        await server.start(elapsed=night_age)
        return server

    yield start
    for server in servers:
        await server.stop()


def source(server: Mastodon, channel: Channel = PUBLIC, **options: Any) -> MastodonSource:
    return MastodonSource(server.url, channel, **{"patience": QUICK, "bounds": SMALL, "lookback_s": 600} | options)


async def until(true: Callable[[], object], within_s: float = 5.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        await asyncio.sleep(0.01)


class Heard:
    """What a source gives while something happens."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def posts(self) -> list[Post]:
        return [e.post for e in self.events if isinstance(e, Upsert)]

    @property
    def texts(self) -> list[str]:
        return [p.text for p in self.posts]

    @property
    def missed(self) -> list[Missed]:
        return [e for e in self.events if isinstance(e, Missed)]

    async def said(self, *texts: str) -> None:
        await until(lambda: set(texts) <= set(self.texts))


@contextmanager
def no_timeline(server: Mastodon) -> Iterator[None]:
    """Timelines answer 503 although streams are open, until the block ends or `_timeline` is put back."""
    server._timeline = lambda *_: reply(503, b"", {})  # type: ignore[method-assign]
    yield
    server.__dict__.pop("_timeline", None)


@asynccontextmanager
async def listening(live: MastodonSource, after: str | None = None, *, filled: bool = True) -> AsyncIterator[Heard]:
    """The source, read in the background until the block ends; what it raises is raised there."""
    heard = Heard()

    async def read() -> None:
        async with aclosing(live.events(after)) as events:
            async for event in events:
                heard.events.append(event)

    task = asyncio.create_task(read())
    try:
        whole = f"connected to {live.host}" if filled else "connected"
        await until(lambda: task.done() or (live.state == whole if filled else live.state.startswith(whole)))
        if task.done():
            task.result()
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def ingesting(live: MastodonSource, store: LocalStore) -> AsyncIterator[Progress]:
    progress = Progress(live.name, live.network, live.simulated)
    task = asyncio.create_task(ingest(live, store, progress))
    try:
        await until(lambda: live.state == f"connected to {live.host}" or task.done())
        yield progress
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    async with LocalStore(tmp_path / "data") as opened:
        yield opened


async def found(store: LocalStore, word: str) -> list[str]:
    return [hit.post.text for hit in await store.search(Query(words=(word,)), time.time_ns() // 1000)]


async def finds(store: LocalStore, word: str, texts: list[str], within_s: float = 5.0) -> None:
    """Wait until a search gives just these texts."""
    end = time.monotonic() + within_s
    while sorted(await found(store, word)) != sorted(texts):
        assert time.monotonic() < end, await found(store, word)
        await asyncio.sleep(0.02)


# -- live -----------------------------------------------------------------------------------------------------


@TRANSPORTS
async def test_what_is_posted_edited_and_deleted_live_is_searchable_changed_and_gone(serve, store, transport: str):
    server = await serve()
    async with ingesting(source(server, transport=transport), store) as progress:
        server.post("boats", "The ferry has left #harbour")
        await finds(store, "ferry", ["The ferry has left #harbour"])
        server.edit("boats", "The ferry is still here")
        await finds(store, "ferry", ["The ferry is still here"])
        server.delete("boats")
        await finds(store, "ferry", [])
        assert (progress.posts, progress.deleted) == (2, 1)


async def test_a_post_that_is_deleted_after_a_restart_is_gone(serve, store):
    server = await serve()
    async with ingesting(source(server), store):
        server.post("boats", "The ferry has left")
        await finds(store, "ferry", ["The ferry has left"])
    async with ingesting(source(server), store):  # knows nothing any more of which number was which post
        server.delete("boats")
        await finds(store, "ferry", [])


async def test_the_same_post_from_two_servers_is_stored_once_and_either_may_take_it_back(serve, store):
    murmur, quay = await serve(), await serve("quay.example")
    async with ingesting(source(murmur), store), ingesting(source(quay), store):
        at = int(time.time() * 1e6)
        numbers = {server.post("boats", "The ferry has left", at=at)["id"] for server in (murmur, quay)}
        assert len(numbers) == 2
        await finds(store, "ferry", ["The ferry has left"])
        await asyncio.sleep(0.4)
        assert (await store.totals())["posts"] == 1
        quay.delete("boats")
        await finds(store, "ferry", [])


async def test_a_post_that_is_deleted_while_the_gap_is_filled_does_not_come_back(serve, store):
    server = await serve()
    server.post("boats", "The ferry has left")
    whole = server._timeline

    def deleted_meanwhile(*request: Any) -> bytes:
        answer = whole(*request)
        if "boats" in server._toots:
            server.delete("boats")
        return answer

    server._timeline = deleted_meanwhile
    async with ingesting(source(server), store) as progress:
        server.post("last", "The tram has left")
        await finds(store, "tram", ["The tram has left"])
        assert await found(store, "ferry") == []
        assert progress.events == 3


async def test_private_and_unindexable_posts_are_counted_and_not_stored(serve):
    server = await serve()
    server.lists["1"] = {"ana@murmur.example"}
    live = source(server, Channel("list", "1"))
    async with listening(live) as heard:
        server.post("a", "To friends", changes={"visibility": "private"})
        server.post("b", "To nobody's search", account={"indexable": False})
        server.post("c", "To all")
        await heard.said("To all")
    assert heard.texts == ["To all"]
    assert live.dropped == {"not public": 1, "author is not to be indexed": 1}
    async with listening(source(server, Channel("list", "1"), unindexable=True)) as heard:
        assert sorted(set(heard.texts)) == ["To all", "To nobody's search"]


@TRANSPORTS
async def test_channels_bring_their_own_posts_live_and_from_the_past(serve, transport: str):
    server = await serve()
    server.post("far", "Far away", "bo@quay.example")
    server.post("near", "Near by #Boats")
    for channel, text in (
        (Channel("public:local"), "Near by #Boats"),
        (Channel("public:remote"), "Far away"),
        (Channel("hashtag", "boats"), "Near by #Boats"),
    ):
        live = source(server, channel, transport=transport)
        async with listening(live) as heard:
            assert set(heard.texts) == {text}
            assert live.name.startswith(f"mastodon:{live.host}/{channel.stream}")
            now = time.time_ns()
            server.post(f"far{now}", f"Far {now}", "bo@quay.example")
            server.post(f"near{now}", f"Near {now} #Boats")
            await until(lambda heard=heard, now=now: any(str(now) in t for t in heard.texts))
        assert len({t.split()[0] for t in heard.texts}) == 1
        server.delete(f"far{now}")
        server.delete(f"near{now}")


async def test_streams_may_live_at_an_address_of_their_own(serve):
    server = await serve(apart=True)
    async with listening(source(server)) as heard:
        server.post("a", "From afar")
        await heard.said("From afar")


async def test_the_simulated_night_is_understood(serve):
    server = await serve(night_age=1800)
    live = source(server, lookback_s=3600)
    async with listening(live) as heard:
        await until(lambda: len({p.id for p in heard.posts}) > 100)
    assert not live.dropped
    assert any(p.reply_to.startswith("https://") for p in heard.posts)


# -- gaps -----------------------------------------------------------------------------------------------------


@TRANSPORTS
async def test_what_was_posted_while_the_line_was_down_is_filled_in(serve, transport: str):
    server = await serve(faults=Faults(drop_after=1, times=1))
    live = source(server, transport=transport)
    async with listening(live) as heard:
        server.faults.no_streams = True
        server.post("before", "Before the cut")
        await until(lambda: live.state.startswith("reconnecting"))
        for number in range(95):
            server.post(f"amid{number}", f"Amid {number}")
        server.faults.no_streams = False
        await heard.said(*(f"Amid {number}" for number in range(95)))
        await until(lambda: live.state.startswith("connected"))
        server.post("after", "After the cut")
        await heard.said("After the cut")
        assert not heard.missed
    assert live.dropped["connection lost"] >= 1


async def test_a_restart_goes_on_from_the_cursor_and_fills_what_came_between(serve):
    server = await serve()
    async with listening(source(server)) as heard:
        server.post("a", "First")
        await heard.said("First")
    cursor = heard.events[-1].cursor
    assert cursor.startswith(f"{heard.posts[-1].alias.rpartition('/')[2]}@")
    server.post("b", "Second")
    server.post("old", "Long before", at=int((time.time() - 900) * 1e6))
    async with listening(source(server), cursor) as heard:
        assert set(heard.texts) == {"First", "Second"}  # the last millisecond again, nothing older


async def test_while_a_gap_is_filled_the_cursor_stays_behind_it(serve):
    server = await serve()
    first = server.post("a", "First", at=int((time.time() - 500) * 1e6))
    for number in range(60):
        server.post(f"b{number}", f"Amid {number}", at=int((time.time() - 400 + number) * 1e6))
    live = source(server, bounds=SMALL._replace(tries=1000, first_wait_s=0.0))
    with no_timeline(server):
        async with listening(live, f"{first['id']}@1", filled=False) as heard:
            new = server.post("live", "Live")
            await heard.said("Live")
            assert heard.texts == ["Live"]
            assert {e.cursor for e in heard.events} == {f"{first['id']}@1"}
            assert live.state.endswith("filling a gap")
            server.__dict__.pop("_timeline")
            await heard.said("Amid 59")
            await until(lambda: live.state == f"connected to {live.host}")
            server.post("next", "Next")
            await heard.said("Next")
    numbers = [int(e.cursor.partition("@")[0]) for e in heard.events]
    assert numbers == sorted(numbers)
    assert numbers[-2] < int(new["id"]) < numbers[-1]


async def test_what_cannot_be_filled_is_said(serve):
    server = await serve()
    old = server.post("a", "First", at=int((time.time() - 3600) * 1e6))
    for number in range(100):
        server.post(f"b{number}", f"Amid {number}", at=int((time.time() - 1000 + number) * 1e6))
    after = f"{old['id']}@1"
    async with listening(source(server, bounds=SMALL._replace(pages=2)), after) as heard:
        (missed,) = heard.missed
        assert missed.why.endswith(": more than 2 pages of posts")
        assert missed.since == pytest.approx((time.time() - 1000 + 79) * 1e6, abs=5e6)
        assert missed.until == pytest.approx(time.time() * 1e6, abs=5e6)
    async with listening(source(server, bounds=SMALL._replace(longest_s=1800)), after) as heard:
        (missed,) = heard.missed
        assert missed.why.endswith(": more than 0.5 hours")
        assert (missed.until - missed.since) / 1e6 == pytest.approx(1800, abs=5)
        assert len(set(heard.texts)) == 100
    server.faults.token, server.faults.rest_token = "sesame", True
    server.faults.no_events = True
    async with listening(source(server, token="sesame"), after) as heard:
        assert not heard.missed


async def test_a_timeline_that_never_answers_is_a_gap_and_the_stream_goes_on(serve):
    server = await serve()
    old = server.post("a", "First")
    live = source(server, bounds=SMALL._replace(tries=2))
    with no_timeline(server):
        async with listening(live, f"{old['id']}@1") as heard:
            assert [m.why for m in heard.missed] == [f"{live.host}: HTTP 503"]
            server.post("b", "Second")
            await heard.said("Second")
            assert heard.events[-1].cursor > heard.missed[0].cursor


async def test_the_server_s_limit_is_kept(serve):
    server = await serve(faults=Faults(limit=4))
    for number in range(120):
        server.post(f"b{number}", f"Amid {number}", at=int((time.time() - 400 + number) * 1e6))
    live = source(server)
    task = asyncio.create_task(_drain(live))
    await until(lambda: "its limit of requests is reached" in live.state)
    assert live.state.startswith(f"connected to {live.host}, waiting ")
    assert len(server.seen.requests) <= 5
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _drain(live: MastodonSource) -> None:
    async with aclosing(live.events(None)) as events:
        async for _ in events:
            pass


def test_a_number_from_the_future_does_not_move_the_cursor():
    now = int(time.time() * 1e6)
    reach = Reach(f"{number_at(now)}@{now}", "m")
    reach.whole(now)
    reach.came(number_at(now + 10**12), now)
    reach.came("9" * 30, now)
    reach.came(number_at(now - 10**9), now)
    assert reach.cursor == f"{number_at(now)}@{now}"


@pytest.mark.parametrize("cursor", ["x", "12", "12@", "@12", "1 2@3", "12@x"])
async def test_a_cursor_that_names_no_post_is_our_own_fault_and_raises(cursor: str):
    with pytest.raises(VoxpopError, match="Remove that source's cursor"):
        await anext(MastodonSource("mastodon.example").events(cursor))


# -- trouble --------------------------------------------------------------------------------------------------


@TRANSPORTS
async def test_broken_and_doubled_frames_do_no_harm(serve, transport: str):
    server = await serve(faults=Faults(garbage_every=1, duplicate=True))
    live = source(server, transport=transport)
    async with listening(live) as heard:
        for number in range(10):
            server.post(f"p{number}", f"Post {number}")
        server.say("filters_changed", "undefined")
        server.say("surprise", "{}")
        await heard.said(*(f"Post {number}" for number in range(10)))
        await until(lambda: live.dropped["unknown event"])
    assert live.dropped["not JSON"] >= 2
    assert live.dropped["event filters_changed"] == 2
    assert not live.dropped["connection lost"]


@TRANSPORTS
async def test_a_frame_of_ten_megabytes_costs_a_line_at_most(serve, transport: str):
    server = await serve()
    live = source(server, transport=transport)
    async with listening(live) as heard:
        server.say("update", "x" * 10_000_000)
        await until(lambda: live.dropped["a frame over 1 MiB"] or live.dropped["connection lost"])
        await until(lambda: live.state == f"connected to {live.host}")
        server.post("a", "After it")
        await heard.said("After it")


@TRANSPORTS
async def test_a_silent_line_is_opened_anew(serve, transport: str):
    server = await serve(faults=Faults(silence_after=1, times=1, beat_s=0.05))
    live = source(server, transport=transport, patience=QUICK._replace(quiet_s=0.4))
    async with listening(live) as heard:
        server.post("a", "First")
        server.post("b", "Second")
        await heard.said("First", "Second")
    assert live.dropped["connection lost"] >= 1


async def test_without_websockets_events_are_asked_for(serve):
    server = await serve(faults=Faults(no_websocket=True))
    async with listening(source(server)) as heard:
        server.post("a", "First")
        await heard.said("First")
    assert [s.partition(" ")[0] for s in server.seen.streams][:2] == ["ws", "sse"]


@TRANSPORTS
async def test_a_server_that_wants_a_token_says_so_with_the_cure(serve, transport: str):
    server = await serve(faults=Faults(token="sesame"))
    live = source(server, transport=transport)
    with pytest.raises(VoxpopError) as refused:
        await anext(live.events(None))
    assert str(refused.value) == (
        f"{live.host} streams only to those with an access token (HTTP 401: Missing access token). "
        f"Make one there under Preferences, Development, and set VOXPOP_MASTODON_TOKENS={live.host}=TOKEN."
    )
    assert refused.value.lasting
    with pytest.raises(VoxpopError, match="refuses its access token") as refused:
        await anext(source(server, transport=transport, token="wrong").events(None))
    assert "wrong" not in str(refused.value)


@TRANSPORTS
async def test_the_token_opens_the_stream_and_is_never_written_down(serve, transport: str, caplog):
    caplog.set_level(logging.DEBUG)
    server = await serve(faults=Faults(token="sesame-1", rest_token=True))
    host = server.url.removeprefix("http://")
    ways = Ways(secret=lambda name: f"other.example=x,{host}=sesame-1" if name == TOKENS else "")
    live = await open_source(f"mastodon:{server.url}?transport={transport}", ways)
    assert isinstance(live, MastodonSource)
    async with listening(live) as heard:
        server.post("a", "Behind the door")
        await heard.said("Behind the door")
        assert "sesame" not in live.state
    assert "sesame" not in " ".join(server.seen.requests + server.seen.streams)
    assert "sesame" not in caplog.text
    assert "sesame" not in repr(heard.events)


def test_specs_are_checked_before_anything_is_opened():
    assert parse_spec("mastodon:mastodon.social").target == "mastodon.social"
    assert parse_spec("mastodon:mastodon.social?stream=hashtag&tag=news").options["tag"] == "news"
    for wrong in (
        "mastodon",
        "mastodon:mastodon.social?stream=home",
        "mastodon:mastodon.social?transport=pigeon",
        "mastodon:mastodon.social?unindexable=perhaps",
        "mastodon:mastodon.social/path",
        "mastodon:mastodon.social?token=sesame",
    ):
        with pytest.raises(UsageError):
            parse_spec(wrong)


async def test_names_tell_servers_and_streams_apart():
    names = {
        MastodonSource("mastodon.social").name,
        MastodonSource("https://Mastodon.Social", Channel("public:remote")).name,
        MastodonSource("other.example", Channel("hashtag", "news")).name,
    }
    assert names == {
        "mastodon:mastodon.social",
        "mastodon:mastodon.social/public:remote",
        "mastodon:other.example/hashtag/news",
    }
