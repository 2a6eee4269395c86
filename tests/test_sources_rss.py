"""A thousand feeds are read gently: news come once, changes are seen, and no feed holds up another."""

import asyncio
import gzip
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from email.utils import formatdate

import orjson
import pytest

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Author, Post, Upsert
from voxpop.simulator.feed_wire import Item
from voxpop.simulator.feeds import FeedServer, Trouble
from voxpop.sources.auto import Ways, open_source, parse_spec
from voxpop.sources.feeds_pace import FeedSettings
from voxpop.sources.feeds_places import places
from voxpop.sources.rss import RssSource

FAST = FeedSettings(shortest_s=0.05, longest_s=0.05, start_every_s=0.0, silent_s=0.5, whole_s=1.0)


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    one = FeedServer()
    await one.start(elapsed=20_000)
    yield one
    await one.stop()


def source(*urls: str, settings: FeedSettings = FAST) -> RssSource:
    return RssSource(places(urls), settings)


class Watch:
    """Read a source in the background and keep what it gives."""

    def __init__(self, source: RssSource, after: str | None = None) -> None:
        self.source, self.events = source, list[Upsert]()
        self._task = asyncio.create_task(self._run(after))

    async def _run(self, after: str | None) -> None:
        async with aclosing(self.source.events(after)) as events:  # type: ignore[type-var]
            async for event in events:
                assert isinstance(event, Upsert)
                self.events.append(event)

    @property
    def posts(self) -> list[Post]:
        return [event.post for event in self.events]

    async def until(self, holds: Callable[[], object], within_s: float = 5.0) -> None:
        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, (self.source.state, self.source.dropped, len(self.events))
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Watch]]:
    open_: list[Watch] = []

    def begin(source: RssSource, after: str | None = None) -> Watch:
        open_.append(Watch(source, after))
        return open_[-1]

    yield begin
    for one in open_:
        await one.stop()


def item(n: int, text: str = "", age_s: float = 60) -> Item:
    at = time.time() - age_s
    return Item(f"id-{n}", f"http://site.example/{n}", f"Title {n}", f"<p>{text or f'Summary {n}'}</p>", at, at)


@pytest.mark.parametrize("form", ["rss", "atom", "rdf", "json"])
async def test_the_night_is_read_from_every_format_and_the_feed_is_the_author(
    server: FeedServer, watch: Callable[..., Watch], form: str
):
    url = server.press(form)["tpa"]
    seen = watch(source(url))
    await seen.until(lambda: len(server.asked.requests) >= 3)
    assert len(seen.posts) > 5
    where = server.url.removeprefix("http://")
    first = seen.posts[0]
    assert first.author == Author(f"rss:{where}/night/tpa.{form}", "127.0.0.1", "Tesmar Press Agency")
    assert (first.kind, first.network, first.lang) == ("news", "rss", "en")
    assert first.id.startswith(f"{first.author.id}#")
    assert first.url.startswith(server.url)
    assert "<" not in first.text
    assert [p.created_at for p in seen.posts] == sorted(p.created_at for p in seen.posts)
    assert all(abs(p.witnessed_at / 1e6 - time.time()) < 5 for p in seen.posts)
    assert len({p.id for p in seen.posts}) == len(seen.posts)
    assert seen.source.state == "reading: 1 of 1 feeds fine"
    assert server.asked.unchanged >= 1


async def test_a_changed_entry_keeps_its_id_and_one_that_leaves_the_feed_is_not_deleted(
    server: FeedServer, watch: Callable[..., Watch]
):
    server.items["a"] = [item(2), item(1)]
    seen = watch(source(f"{server.url}/a.rss"))
    await seen.until(lambda: len(seen.posts) == 2)
    assert [p.text for p in seen.posts] == ["Title 1\nSummary 1", "Title 2\nSummary 2"]
    server.items["a"] = [item(3), item(2, "Summary 2, corrected")]
    await seen.until(lambda: len(seen.posts) == 4)
    await asyncio.sleep(0.2)
    assert [p.text for p in seen.posts[2:]] == ["Title 2\nSummary 2, corrected", "Title 3\nSummary 3"]
    assert seen.posts[2].id == seen.posts[1].id
    assert seen.posts[2].witnessed_at > seen.posts[1].witnessed_at
    assert len(seen.posts) == 4


async def test_ids_that_change_at_every_look_and_old_entries_bring_no_flood(
    server: FeedServer, watch: Callable[..., Watch]
):
    server.validators = False
    server.items["a"] = [item(1), item(2, age_s=30 * 86_400)]
    seen = watch(source(f"{server.url}/a.json"))
    await seen.until(lambda: seen.posts)
    server.items["a"] = [server.items["a"][0]._replace(id="another")]
    asked = len(server.asked.requests)
    await seen.until(lambda: len(server.asked.requests) > asked + 2)
    assert len(seen.posts) == 1
    assert seen.source.dropped == {"entry: too old": 1}


async def test_the_cursor_takes_the_marks_across_a_restart_and_only_those_of_stored_entries(
    server: FeedServer, watch: Callable[..., Watch]
):
    server.items |= {"a": [item(2), item(1)], "b": [item(3)]}
    urls = [f"{server.url}/{name}.atom" for name in "ab"]
    seen = watch(source(*urls))
    await seen.until(lambda: len(seen.posts) == 3)
    await seen.stop()
    cursor = seen.events[-1].cursor
    assert len(orjson.loads(cursor)) == 2
    assert len(cursor) < 100
    of_a = [e.cursor for e in seen.events if "/a.atom" in e.post.id]
    assert of_a[0] == ""  # not before the feed's last entry
    assert of_a[1]
    server.asked.unchanged = 0
    again = watch(source(*urls), cursor)
    await again.until(lambda: server.asked.unchanged >= 2)
    assert again.posts == []
    server.items["b"] = [item(4), item(3)]
    await again.until(lambda: len(again.posts) == 2)  # the whole feed once more: the store knows what it holds
    assert again.posts[0].id == next(p.id for p in seen.posts if "/b.atom" in p.id)
    assert len(orjson.loads(again.events[-1].cursor)) == 2


async def test_reading_anew_after_a_failure_of_the_store_gives_again_what_was_not_stored(server: FeedServer):
    server.items["a"] = [item(1)]
    one = source(f"{server.url}/a.rss")
    for _ in range(2):
        async with aclosing(one.events(None)) as events:  # type: ignore[type-var]
            assert "Title 1" in (await anext(events)).post.text


@pytest.mark.parametrize("cursor", ["7", "{", "[]", '{"a":null}', '{"a":[1]}'])
async def test_a_broken_cursor_is_refused(server: FeedServer, cursor: str):
    with pytest.raises(VoxpopError, match="holds no marks"):
        await anext(source(f"{server.url}/many/1.rss").events(cursor))


def troubles() -> dict[str, tuple[Trouble, str]]:
    bomb = gzip.compress(b"<rss>" + b" " * (6 << 20))
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    return {
        "down": (Trouble(503), "HTTP 503"),
        "none": (Trouble(404), "HTTP 404"),
        "odd": (Trouble(799), "HTTP, but no status"),
        "slow": (Trouble(wait_s=5), "timed out"),
        "silent": (Trouble(hang=True), "timed out"),
        "huge": (Trouble(body=b"<rss>" + b" " * (6 << 20)), "too large"),
        "bomb": (Trouble(body=bomb, headers={"Content-Encoding": "gzip"}), "too large"),
        "cut": (
            Trouble(body=gzip.compress(b"<rss/>")[:9], headers={"Content-Encoding": "gzip"}),
            "bad compression",
        ),
        "brotli": (Trouble(body=b"x", headers={"Content-Encoding": "br"}), "unknown content encoding"),
        "page": (Trouble(body=b"<html><p>Not here</p></html>"), "not a feed"),
        "empty": (Trouble(body=b""), "empty"),
        "path": (Trouble(body=b"/etc/hostname"), "not a feed"),
        "round": (Trouble(302, {"Location": "/round.rss"}), "too many redirects"),
        "file": (Trouble(302, {"Location": "file:///etc/passwd"}), "redirect to no web address"),
        "lost": (Trouble(302), "too many redirects"),
        "laughs": (
            Trouble(
                body=b'<!DOCTYPE rss [<!ENTITY l0 "ha">'
                + laughs
                + b"]><rss><channel><title>&l9;</title></channel></rss>"
            ),
            "",
        ),
    }


async def test_a_feed_in_trouble_is_counted_by_its_reason_and_the_others_never_notice(
    server: FeedServer, watch: Callable[..., Watch]
):
    for name, (trouble, _) in troubles().items():
        server.troubles[f"/{name}.rss"] = trouble
    server.items["fine"] = [item(1)]
    bad = [f"{server.url}/{name}.rss" for name in troubles()]
    settings = FAST._replace(longest_s=0.2, a_host=100, at_once=100, suspects=100)
    seen = watch(source(*bad, f"{server.url}/fine.rss", "http://127.0.0.1:9/closed.rss", settings=settings))
    reasons = {f"feed: {why}" for _, why in troubles().values() if why} | {"feed: no connection"}
    await seen.until(lambda: reasons <= set(seen.source.dropped))
    assert set(seen.source.dropped) == reasons
    before = server.asked.paths()["/fine.rss"]
    server.items["fine"] = [item(2), item(1)]
    await seen.until(lambda: len(seen.posts) == 2)
    await seen.until(lambda: server.asked.paths()["/fine.rss"] > before + 3)
    assert seen.source.state.startswith("reading: 2 of 18 feeds fine")
    assert "HTTP 503: " in seen.source.state or "such as" in seen.source.state


async def test_feeds_that_hang_wait_in_a_lane_of_their_own(server: FeedServer, watch: Callable[..., Watch]):
    hanging = [f"{server.url}/hang{n}.rss" for n in range(6)]
    for n in range(6):
        server.troubles[f"/hang{n}.rss"] = Trouble(hang=True)
    server.items["fine"] = [item(1)]
    settings = FAST._replace(at_once=2, a_host=100, suspects=1, whole_s=0.3)
    seen = watch(source(*hanging, f"{server.url}/fine.rss", settings=settings))
    await seen.until(lambda: "timed out: 6," in seen.source.state)
    before = server.asked.paths()["/fine.rss"]
    await seen.until(lambda: server.asked.paths()["/fine.rss"] - before >= 5, 2.5)  # in turn it would take 4.5 s


async def test_a_feed_that_is_gone_or_finished_is_asked_no_more(server: FeedServer, watch: Callable[..., Watch]):
    server.troubles["/gone.rss"] = Trouble(410)
    ended = {
        "version": "https://jsonfeed.org/version/1.1",
        "items": [{"id": 1, "title": "The last"}],
        "expired": True,
    }
    server.troubles["/ended.json"] = Trouble(body=orjson.dumps(ended))
    server.items["fine"] = [item(1)]
    seen = watch(source(*(f"{server.url}/{path}" for path in ("gone.rss", "ended.json", "fine.rss"))))
    await seen.until(lambda: server.asked.paths()["/fine.rss"] >= 5)
    assert (server.asked.paths()["/gone.rss"], server.asked.paths()["/ended.json"]) == (1, 1)
    assert "The last" in {p.text for p in seen.posts}
    assert seen.source.state.startswith("reading: 2 of 3 feeds fine; HTTP 410: ")


@pytest.mark.parametrize(("status", "remembered"), [(301, True), (308, True), (302, False), (307, False)])
async def test_a_lasting_redirect_is_remembered_and_the_author_stays(
    server: FeedServer, watch: Callable[..., Watch], status: int, remembered: bool
):
    server.troubles["/old.rss"] = Trouble(status, {"Location": "/new.rss"})
    server.items["new"] = [item(1)]
    seen = watch(source(f"{server.url}/old.rss"))
    await seen.until(lambda: server.asked.paths()["/new.rss"] >= 4)
    assert (server.asked.paths()["/old.rss"] == 1) == remembered
    assert seen.posts[0].author.id.endswith("/old.rss")
    assert len(seen.posts) == 1


@pytest.mark.parametrize("as_date", [False, True])
async def test_retry_after_is_kept_to(server: FeedServer, watch: Callable[..., Watch], as_date: bool):
    wait = formatdate(time.time() + 60, usegmt=True) if as_date else "60"
    server.troubles["/busy.rss"] = Trouble(429, {"Retry-After": wait})
    server.items["fine"] = [item(1)]
    seen = watch(source(f"{server.url}/busy.rss", f"{server.url}/fine.rss"))
    await seen.until(lambda: server.asked.paths()["/fine.rss"] >= 5)
    assert server.asked.paths()["/busy.rss"] == 1


async def test_a_thousand_feeds_are_read_without_a_storm_and_then_hardly_cost_anything(
    server: FeedServer, watch: Callable[..., Watch]
):
    forms = ("rss", "atom", "rdf", "json")
    urls = [f"{server.url}/many/{n}.{forms[n % 4]}" for n in range(1000)]
    urls[500] = "http://127.0.0.1:9/closed.rss"
    server.troubles["/many/7.json"] = Trouble(500)
    settings = FeedSettings(shortest_s=2.2, longest_s=2.2, start_every_s=0.0022, at_once=24, a_host=16, suspects=2)
    seen = watch(source(*urls, settings=settings))
    await seen.until(lambda: server.asked.unchanged >= 900 and len(server.asked.paths()) == 999, 20)
    await seen.until(lambda: len(seen.posts) >= 998 * 2)
    again: set[str] = set()
    for path, headers in server.asked.requests:  # after the first time every feed is asked only for news
        assert path == "/many/7.json" or ("if-none-match" in headers) == (path in again)
        again.add(path)
    assert server.asked.at_once <= 16
    assert len({p.id for p in seen.posts}) == len(seen.posts) == 998 * 2
    assert len({p.author.id for p in seen.posts}) == 998
    assert seen.source.state.startswith("reading: 998 of 1,000 feeds fine; ")
    assert len(seen.events[-1].cursor) < 60_000


async def test_specs_name_addresses_or_lists_and_wrong_ones_are_refused(
    server: FeedServer, tmp_path: "os.PathLike[str]"
):
    opened = await open_source(f"rss:{server.url}/many/3.atom?key=secret")
    assert opened.name.startswith(f"rss:{server.url.removeprefix('http://')}/many/3.atom?")
    assert "secret" not in opened.name
    for text in ("rss:ftp://x.example/feed", "rss:https://", "rss:http://[", "rss:https://a b/c"):
        with pytest.raises(UsageError, match="no web address"):
            parse_spec(text)
    with pytest.raises(UsageError, match="has no feeds"):
        await open_source("rss")
    with pytest.raises(VoxpopError, match="cannot be read"):
        await open_source(f"rss:{tmp_path}/none.opml")
    both = await open_source("rss", Ways(rss=FeedSettings(feeds=(f"{server.url}/many/1.rss",))))
    assert both.name == "rss"


async def test_a_source_whose_feeds_all_fail_is_not_well(watch: Callable[..., Watch]):
    seen = watch(source("http://127.0.0.1:9/a", "http://127.0.0.1:9/b"))
    await seen.until(lambda: seen.source.state.startswith("failing: 0 of 2 feeds fine; no connection: 2, such as "))
