"""No found post lies outside a request's bounds, whichever of its searches brought it; and none within is lost."""

import asyncio
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxpop.authorities import Authorities
from voxpop.messages import Bounds, Message, Request
from voxpop.posts import Author, Engagement, Post, Upsert
from voxpop.retrieval import plan, retrieve
from voxpop.store import Query
from voxpop.store.local import LocalStore

NOW = 1_000_000_000
MINUTE = 60_000_000
AUTHORS = {
    "x:1": ("x", "Anna"),
    "x:2": ("x", "bert"),
    "did:plc:One": ("bluesky", "anna"),
    "did:plc:two": ("bluesky", "cleo.example"),
    "mastodon:dora@some.example": ("mastodon", "dora@some.example"),
    "rss:news.example/feed": ("rss", "news.example"),
    "rss:www.paper.example/all": ("rss", "paper.example"),
}
HOSTS = {
    "rss": ("https://news.example/1", "https://www.paper.example/2", "https://paper.example.evil.example/3", "")
}
SAID = (
    "The bridge in Oss is closed",
    "The bridge in Oss is not closed, that is false",
    "Police closed the bridge in Oss, two people hurt",
    "Oss: correction, the bridge was never closed",
)


def _post(n: int, who: str, text: str, at: int, lang: str, likes: int, url: str, root: int) -> Post:
    network, handle = AUTHORS[who]
    thread = f"p:{root}" if root != n else ""
    return Post(
        f"p:{n}",
        network,
        Author(who, handle),
        f"{text}, says number {n}",
        at,
        at,
        url if network == "rss" else f"https://{network}.example/{n}",
        lang,
        reply_to=thread,
        root=thread,
        engagement=Engagement(likes),
        kind="news" if network == "rss" else "post",
    )


times = st.integers(1, 12).map(lambda n: NOW - n * MINUTE)
made = st.tuples(
    st.sampled_from(list(AUTHORS)),
    st.sampled_from(SAID),
    times,
    st.sampled_from(("en", "fr")),
    st.integers(0, 4),
    st.sampled_from(HOSTS["rss"]),
    st.integers(0, 20),
)
worlds = st.lists(made, min_size=8, max_size=24).map(lambda rows: [_post(n, *row) for n, row in enumerate(rows)])
some = st.frozensets(
    st.sampled_from(("@anna", "x:ANNA", "bert", "did:plc:One", "news.example", "dora@some.example"))
)
hosts = st.frozensets(st.sampled_from(("news.example", "Paper.example", "bluesky.example", "example")), max_size=2)
bounds = st.builds(
    Bounds,
    since=st.none() | times,
    until=st.none() | times,
    handles=st.just(()) | some.map(tuple),
    not_handles=st.just(()) | some.map(tuple),
    networks=st.just(()) | st.frozensets(st.sampled_from(("x", "bluesky", "rss", "social", "feeds"))).map(tuple),
    domains=st.just(()) | hosts.map(tuple),
    not_domains=st.just(()) | hosts.map(tuple),
    lang=st.sampled_from(("", "", "en")),
    min_likes=st.sampled_from((0, 0, 2)),
    min_views=st.sampled_from((0, 0, 0, 0, 0, 1)),
    limit=st.integers(1, 12),
)
QUESTIONS = ("Is the bridge in Oss closed?", "What is happening right now?", "What did @anna say about the bridge?")


def within(post: Post, bound: Bounds) -> bool:
    """The bounds said as plainly as can be."""

    def is_of(handles: Iterable[str]) -> bool:
        asked = [h.lstrip("@") for h in handles]
        handle = post.author.handle.lower()
        own = [h.lower() == handle for h in asked] + [h == post.author.id for h in asked]
        of_x = [h.lower() == f"x:{handle}" and post.network == "x" for h in asked]
        return any(own + of_x)

    def lies_in(domains: Iterable[str]) -> bool:
        host = urlsplit(post.url).hostname or ""
        return any(host == d.lower() or host.endswith("." + d.lower()) for d in domains)

    kind = "feeds" if post.network == "rss" else "social"
    return (
        (bound.since is None or post.witnessed_at >= bound.since)
        and (bound.until is None or post.witnessed_at <= bound.until)
        and (not bound.handles or is_of(bound.handles))
        and not is_of(bound.not_handles)
        and (not bound.networks or post.network in bound.networks or kind in bound.networks)
        and (not bound.domains or lies_in(bound.domains))
        and not lies_in(bound.not_domains)
        and (not bound.lang or post.lang == bound.lang)
        and post.engagement.likes >= bound.min_likes
        and bound.min_views == 0
    )


def query_of(bound: Bounds, **more: object) -> Query:
    """A search of nothing but bounds; all of what it admits."""
    names = ("since", "until", "handles", "not_handles", "networks", "domains", "not_domains", "lang", "min_likes")
    same = {name: getattr(bound, name) for name in (*names, "min_views")}
    return Query(**same, limit=100, per_author=100, **more)  # type: ignore[arg-type]


LISTS = Authorities.of(authority=["x:anna", "did:plc:two"], press=["news.example", "bert"])


@pytest.mark.parametrize("committed", [False, True])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds, bound=bounds, question=st.sampled_from(QUESTIONS))
def test_nothing_outside_is_found_and_nothing_inside_is_lost(
    committed: bool, world: list[Post], bound: Bounds, question: str
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with LocalStore(Path(folder), commit_s=60) as store:
                await store.apply("test", [Upsert(post) for post in world])
                if committed:
                    await store.commit()
                inside = {p.id for p in world if within(p, bound)}
                for query in (query_of(bound), query_of(bound, words=("bridge", "oss"))):
                    found = {h.post.id for h in await store.search(query, NOW)}
                    assert found <= inside
                request = Request((Message("user", question),), bounds=bound)
                got = await retrieve(store, plan(request, NOW), NOW, LISTS, bound.limit)
                assert {p.post.id for p in got.passages} <= inside
                assert len(got.passages) <= bound.limit

    asyncio.run(run())


def lone(bound: Bounds, *posts: Post, words: tuple[str, ...]) -> list[str]:
    async def run() -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            async with LocalStore(Path(folder)) as store:
                await store.apply("test", [Upsert(post) for post in posts])
                hits = await store.search(query_of(bound, words=words), NOW)
        return [h.post.id for h in hits]

    return asyncio.run(run())


@pytest.mark.parametrize("words", [(), ("bridge",)])
def test_what_is_within_is_found(words: tuple[str, ...]) -> None:
    texts = ("quay", "mill", "oak", "tram", "fire", "snow", "rust")
    world = [
        _post(n, who, f"bridge {word} {word}ed {word}ing", NOW - MINUTE, "en", n, "https://a.news.example/1", n)
        for n, (who, word) in enumerate(zip(AUTHORS, texts, strict=True))
    ]
    for bound in (
        Bounds(handles=("anna",)),
        Bounds(handles=("X:anna", "news.example")),
        Bounds(not_handles=("@ANNA", "did:plc:two")),
        Bounds(networks=("bluesky", "feeds")),
        Bounds(networks=("social",), not_handles=("bert",)),
        Bounds(domains=("news.example",)),
        Bounds(not_domains=("example",)),
        Bounds(not_domains=("news.example",), min_likes=2),
    ):
        assert sorted(lone(bound, *world, words=words)) == sorted(p.id for p in world if within(p, bound)), bound


def test_a_few_within_are_found_among_very_many_outside() -> None:
    crowd = [_post(n, "x:1", f"bridge bridge {n} {n + 7}", NOW - MINUTE, "en", 0, "", n) for n in range(1000, 3500)]
    feed = _post(1, "rss:news.example/feed", "A long story of a bridge", NOW - 9 * MINUTE, "en", 0, "", 1)
    for networks, words in product((("rss",), ("feeds",)), ((), ("bridge",))):
        assert lone(Bounds(networks=networks), feed, *crowd, words=words) == ["p:1"]


def test_a_flood_of_copies_does_not_hide_the_one_within() -> None:
    """Of very many copies of a text only the first and the last are read: not where a bound tells them apart."""
    crowd = [
        _post(n, "x:1" if n != 1500 else "did:plc:One", "x", NOW - MINUTE, "en", 0, "", n)
        for n in range(1000, 2500)
    ]
    same = [
        Post(p.id, p.network, p.author, "The bridge is closed", p.created_at, NOW - MINUTE, p.url) for p in crowd
    ]
    for bound in (Bounds(networks=("bluesky",)), Bounds(domains=("bluesky.example",))):
        assert lone(bound, *same, words=("bridge",)) == ["p:1500"]


def test_what_a_found_post_answers_comes_only_from_within() -> None:
    root = _post(1, "x:2", "Where do all the trams go", NOW - 2 * MINUTE, "en", 0, "", 1)
    answer = _post(2, "did:plc:two", "The bridge in Oss is closed", NOW - MINUTE, "en", 0, "", 1)

    async def run(bound: Bounds) -> set[str]:
        with tempfile.TemporaryDirectory() as folder:
            async with LocalStore(Path(folder)) as store:
                await store.apply("test", [Upsert(root), Upsert(answer)])
                request = Request((Message("user", QUESTIONS[0]),), bounds=bound)
                got = await retrieve(store, plan(request, NOW), NOW, LISTS)
        return {p.post.id for p in got.passages}

    assert asyncio.run(run(Bounds())) == {"p:1", "p:2"}
    for bound in (Bounds(networks=("bluesky",)), Bounds(not_handles=("bert",)), Bounds(since=NOW - MINUTE)):
        assert asyncio.run(run(bound)) == {"p:2"}
