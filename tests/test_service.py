"""The running program's own word on itself: which source is well, how far behind, and its counters."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from voxpop import voices
from voxpop.authorities import Authorities
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError, VoxpopError
from voxpop.history import History
from voxpop.messages import Citation, Done, Message, Request
from voxpop.posts import Author, Event, Missed, Post, Upsert
from voxpop.service import Service, clock
from voxpop.store.local import LocalStore
from voxpop.times import MICROS


class Script:
    """A source that gives some posts, then ends, fails, or waits."""

    network, simulated = "x", False

    def __init__(self, name: str, posts: int, end: Exception | None = None, *, waits: bool = False) -> None:
        self.name, self.posts, self.end, self.waits = name, posts, end, waits
        self.dropped: Counter[str] = Counter({"no text": 2})
        self.state = "connected to nowhere"

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        for n in range(self.posts):
            text = f"The tram number {n} is late."
            yield Upsert(Post(f"{self.name}:{n}", "x", Author(f"a{n}", f"a{n}.example"), text, 1, clock()), str(n))
        if self.end:
            raise self.end
        while self.waits:
            await asyncio.sleep(1)
        self.state = "ended: all read"


Build = Callable[..., Service]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    async with LocalStore(tmp_path) as store:

        def make(*sources: Any, engine_state: str = "ready") -> Service:
            return Service(
                store,
                sources,
                voices.load(),
                default_voice="regular",
                authorities=Authorities.of([], []),
                engine=QuoteEngine,
                engine_state=lambda: engine_state,
                history=History(tmp_path, keep_days=30, clock=clock),
            )

        yield make


async def test_a_source_that_fails_is_said_and_stops_no_other(build: Build) -> None:
    service = build(Script("good", 3), Script("bad", 1, UsageError("It broke.", "Mend it.")))
    assert await service.unready() == "no posts yet: good connected to nowhere; bad connected to nowhere"
    await service.run()
    status = await service.status()
    assert status["posts"] == 4
    assert [(s["name"], s["ok"], s["state"]) for s in status["sources"]] == [
        ("good", True, "ended: all read"),
        ("bad", False, "It broke. Mend it."),
    ]
    assert status["lag_s"] < 60
    assert await service.unready() == ""
    assert service.stream().down == ("bad",)


@pytest.mark.parametrize("fault", [VoxpopError("No route.", "Check it."), KeyError("k")])
async def test_a_source_that_waits_for_its_next_try_tells_when_that_is(build: Build, fault: Exception) -> None:
    service = build(Script("bad", 1, fault), Script("good", 3))
    task = asyncio.create_task(service.run())
    async with asyncio.timeout(5):
        while not (bad := (await service.status())["sources"][0])["retry_s"]:
            await asyncio.sleep(0.05)
    task.cancel()
    assert 0 < bad["retry_s"] <= 2
    assert not bad["ok"]
    assert bad["state"].startswith("trying again in ")
    assert bad["crashes"] == isinstance(fault, KeyError)
    assert (await service.status())["posts"] == 4


@pytest.mark.parametrize(
    ("state", "ok"),
    [
        ("connected to here, 2 s behind", True),
        ("connecting to here", True),
        ("not started", True),
        ("replaying posts.jsonl", True),
        ("ended: posts.jsonl", True),
        ("12 of 1,000 feeds fine; 3 not yet read", True),
        ("waiting for rows", True),
        ("1,200 rows read", True),
        ("0 of 3 feeds fine; no route: 3", False),
        ("paused: 20.00 of 20.00 USD are spent", False),
        ("reconnecting in 2 s: gone", False),
        ("stopped", False),
    ],
)
async def test_health_is_a_flag_beside_the_words(build: Build, state: str, ok: bool) -> None:
    source = Script("s", 0)
    source.state = state
    (row,) = (await build(source).status())["sources"]
    assert (row["name"], row["simulated"], row["state"], row["ok"]) == ("s", False, state, ok)


@pytest.mark.parametrize(
    ("state", "ok"),
    [("ready", True), ("ready: m writes", True), ("downloading m: 3 %", True), ("quotes only. No model.", False)],
)
async def test_so_is_the_engines(build: Build, state: str, ok: bool) -> None:
    engine = (await build(engine_state=state).status())["engine"]
    assert engine == {"name": "quote", "model": "none", "state": state, "ok": ok}


async def test_counters_grow_with_posts_and_answers(build: Build) -> None:
    service = build(Script("good", 3))

    def sample(name: str) -> float:
        text = generate_latest(service.registry).decode()
        found = [s for f in text_string_to_metric_families(text) for s in f.samples if s.name == name]
        return sum(s.value for s in found)

    assert (sample("voxpop_posts_total"), sample("voxpop_dropped_total")) == (0, 2)
    await service.run()
    assert sample("voxpop_posts_total") == 3
    assert 0 <= sample("voxpop_lag_seconds") < 60
    assert sample("voxpop_answers_total") == 0
    async for _ in service.assistant.answer(Request((Message("user", "Is the tram late?"),))):
        pass
    assert sample("voxpop_answers_total") == 1


class Gapped(Script):
    """A source that could not have an hour of its stream."""

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        yield Missed(clock() - 2 * 3600 * MICROS, clock() - 3600 * MICROS, "the host keeps 36 h", "0")
        async for event in super().events(after):
            yield event


async def test_an_answer_tells_the_gap_that_its_search_touched(build: Build) -> None:
    service = build(Gapped("bluesky", 3))
    await service.run()
    ask = Request((Message("user", "Is the tram late?"),))
    done = [e async for e in service.assistant.answer(ask)][-1]
    assert isinstance(done, Done)
    (gap,) = done.freshness.gaps
    assert (gap.source, gap.why, gap.until - gap.since) == (
        "bluesky",
        "the host keeps 36 h",
        pytest.approx(3600e6, rel=0.01),
    )
    assert (await service.status())["sources"][0]["missed"] == 1


async def test_what_an_answer_cites_is_looked_at_again_first(build: Build) -> None:
    service = build(Script("good", 60))
    await service.run()
    ask = Request((Message("user", "Is tram number 37 late?"),))
    cited = [e.passage.post.id async for e in service.assistant.answer(ask) if isinstance(e, Citation)]
    assert cited
    first = await service._store.to_check("x", clock() + MICROS, len(cited))
    assert set(first) == set(cited)


async def test_the_stores_figures_are_told(build: Build) -> None:
    service = build(Script("good", 3))
    await service.run()
    store = (await service.status())["store"]
    assert store["partitions"] == 1
    assert store["disk_bytes"] > 1000
    text = generate_latest(service.registry).decode()
    for name in ("stored_posts", "tail_posts", "partitions", "disk_bytes", "removals_waiting", "commits_total",
                 "commit_seconds_total", "purges_total", "purge_seconds"):  # fmt: skip
        assert f"\nvoxpop_{name} " in text, name


async def test_the_status_is_asked_of_the_store_twice_a_second_at_most(build: Build) -> None:
    service = build(Script("s", 0))
    first, *others = await asyncio.gather(*(service.status() for _ in range(20)))
    assert all(other is first for other in others)
