"""Batches, ages, ends and failures between a source and a store."""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from voxpop import ingest as module
from voxpop.errors import VoxpopError
from voxpop.ingest import BATCH, MAX_AGE_S, Progress, ingest
from voxpop.posts import Author, Delete, Engaged, Engagement, Event, Missed, Post, Upsert
from voxpop.sources.replay import ReplaySource
from voxpop.store import Applied, Hit, Query
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

DATA = Path(os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
RECORDING = DATA / "posts" / "ottawashooting_2014-10-22.jsonl.zst"


def event(n: int) -> Upsert:
    return Upsert(Post(f"at://{n}", "x", Author("a"), f"text {n}", n, n), str(n))


class Script:
    """A source that follows a script of numbers (that many events), pauses and errors."""

    name, network, simulated, state = "script", "x", False, "scripted"

    def __init__(self, *steps: object) -> None:
        self.dropped: Counter[str] = Counter()
        self.steps = steps
        self.after: str | None = "unasked"
        self.given = 0
        self.closed = False

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        self.after = after
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    for _ in range(int(str(step))):
                        self.given += 1
                        yield event(self.given)
        finally:
            self.closed = True


class Kept:
    """A store that keeps batches in a list."""

    def __init__(self, before: Callable[[], Awaitable[None]] | None = None, cursor: str | None = None) -> None:
        self.batches: list[list[Event]] = []
        self.at: list[float] = []
        self._before = before
        self._cursor = cursor

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        if self._before:
            await self._before()
        self.batches.append(list(events))
        self.at.append(time.monotonic())
        return Applied(added=len(events))

    async def cursor(self, source: str) -> str | None:
        return self._cursor

    async def search(self, query: Query, now: int) -> list[Hit]:
        return []

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return []

    @property
    def numbers(self) -> list[int]:
        return [int(e.cursor) for batch in self.batches for e in batch]


def progress() -> Progress:
    return Progress("script", "x", False)


async def run(source: Script, store: Kept) -> Progress:
    seen = progress()
    await asyncio.wait_for(ingest(source, store, seen), 10)
    return seen


async def test_full_batches_leave_at_once_and_the_rest_at_the_end() -> None:
    store = Kept()
    seen = await run(Script(2 * BATCH + 7), store)
    assert [len(b) for b in store.batches] == [BATCH, BATCH, 7]
    assert store.numbers == list(range(1, 2 * BATCH + 8))
    assert (seen.events, seen.posts, seen.added, seen.cursor) == (2 * BATCH + 7,) * 3 + (str(2 * BATCH + 7),)
    assert store.at[-1] - store.at[0] < MAX_AGE_S


async def test_a_batch_that_is_not_full_leaves_when_it_is_old() -> None:
    store = Kept()
    await run(Script(3, 3 * MAX_AGE_S, 2), store)
    assert [len(b) for b in store.batches] == [3, 2]
    assert store.at[1] - store.at[0] > MAX_AGE_S


async def test_it_goes_on_after_the_stored_cursor() -> None:
    source, store = Script(), Kept(cursor="41")
    seen = await run(source, store)
    assert (source.after, seen.cursor, store.batches) == ("41", "41", [])


async def test_cancelled_it_stores_what_it_has() -> None:
    source, store = Script(BATCH + 5, 60.0), Kept()
    task = asyncio.create_task(ingest(source, store, progress()))
    while source.given < BATCH + 5:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.numbers == list(range(1, BATCH + 6))
    assert source.closed


async def test_cancelled_while_storing_it_waits_for_the_batch() -> None:
    started, free = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        started.set()
        await free.wait()

    source, store, seen = Script(BATCH + 3, 60.0), Kept(slow), progress()
    task = asyncio.create_task(ingest(source, store, seen))
    await started.wait()
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, free.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.numbers == list(range(1, source.given + 1))
    assert seen.events == source.given


@pytest.mark.parametrize("steps", [(3, 60.0), (BATCH, 60.0), (10 * BATCH,), (1,)])
async def test_a_store_that_fails_stops_the_source_at_once(steps: tuple[object, ...]) -> None:
    async def fail() -> None:
        raise VoxpopError("The disk is full.", "Free space.")

    source = Script(*steps)
    with pytest.raises(VoxpopError, match="disk is full"):
        await run(source, Kept(fail))
    assert source.closed
    assert source.given <= 2 * BATCH


async def test_a_store_that_fails_while_cancelled_is_not_silent() -> None:
    async def fail() -> None:
        raise VoxpopError("The disk is full.", "Free space.")

    source = Script(3, 60.0)
    task = asyncio.create_task(ingest(source, Kept(fail), progress()))
    while source.given < 3:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(VoxpopError, match="disk is full"):
        await task


async def test_a_source_that_fails_has_given_what_it_gave(caplog: pytest.LogCaptureFixture) -> None:
    store = Kept()
    with caplog.at_level(logging.ERROR), pytest.raises(VoxpopError, match="broken"):
        await run(Script(BATCH + 4, VoxpopError("The line is broken.")), store)
    assert store.numbers == list(range(1, BATCH + 5))
    assert not caplog.records


async def test_a_slow_store_slows_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    lead: list[int] = []

    async def slow() -> None:
        await asyncio.sleep(0.005)
        lead.append(source.given - sum(map(len, store.batches)))

    source, store = Script(200), Kept(slow)
    await run(source, store)
    assert store.numbers == list(range(1, 201))
    assert max(map(len, store.batches)) == 10
    assert max(lead) <= 20


def test_progress_counts_and_rates() -> None:
    seen = progress()
    assert seen.lag_s(5) is None
    seen.count([event(5 * MICROS), Delete("at://1", 1, "c9")], Applied(added=1, deleted=1), 100.2)
    seen.count([event(3 * MICROS)], Applied(unchanged=1), 100.9)
    assert (seen.events, seen.posts, seen.added, seen.deleted, seen.unchanged) == (3, 2, 1, 1, 1)
    assert (seen.newest, seen.cursor) == (5 * MICROS, str(3 * MICROS))
    assert seen.lag_s(7 * MICROS) == 2.0
    assert list(seen.recent) == [(100, 2)]
    seen.count([event(1), event(2)], Applied(added=2), 130.0)
    assert [seen.posts_per_minute(at) for at in (131, 159, 161, 189, 900)] == [4, 4, 2, 2, 0]
    seen.count([event(100 * MICROS)], Applied(added=1), 170.0)
    assert list(seen.recent) == [(130, 2), (170, 1)]


def test_progress_says_how_far_behind_and_how_fast_it_catches_up() -> None:
    seen, hour = progress(), 3600 * MICROS
    assert (seen.speed(), seen.behind(hour)) == (0.0, "")
    for second in range(20):
        seen.count([event((1000 + 8 * second) * MICROS)], Applied(added=1), float(second))
    assert seen.speed() == pytest.approx(8.0)
    assert len(seen.pace) == 11
    assert seen.behind((1152 + 720) * MICROS) == "behind 12 min, catching up at 8x"
    assert seen.behind((1152 + 5) * MICROS) == ""
    for second in range(20, 40):
        seen.count([event((1152 + second) * MICROS)], Applied(added=1), float(second))
    assert seen.behind((1191 + 7300) * MICROS) == "behind 2.0 h, and not catching up"


def test_progress_counts_sums_gaps_and_batches() -> None:
    seen = progress()
    seen.count([event(1), Engaged("at://1", Engagement(3), "2"), Missed(0, 1, "away", "3")], Applied(added=1))
    seen.count([event(2)], Applied(added=1))
    assert (seen.engaged, seen.missed, seen.batches, seen.batch, seen.cursor) == (1, 1, 2, 1, "2")


class Mixed(Script):
    """Gives blocks of ten posts and, after them, five sums under one cursor."""

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        for block in range(int(str(self.steps[0]))):
            for n in range(10):
                yield event(block * 10 + n)
            for n in range(5):
                self.given += 1
                yield Engaged(f"at://{n}", Engagement(1), str(block * 10 + 9))
            if len(self.steps) > 1:
                await asyncio.sleep(float(str(self.steps[1])))


async def test_when_the_store_is_slow_sums_are_shed_and_counted_and_no_post_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 100)

    async def slow() -> None:
        await asyncio.sleep(0.005)

    source, store = Mixed(200), Kept(slow)
    seen = await run(source, store)
    posts = [e for batch in store.batches for e in batch if isinstance(e, Upsert)]
    assert [e.cursor for e in posts] == [str(n) for n in range(2000)]
    assert 0 < seen.shed["engaged"] < source.given == 1000
    assert seen.engaged + seen.shed["engaged"] == 1000
    assert max(map(len, store.batches)) <= 200


async def test_while_the_store_keeps_up_nothing_is_shed_and_sums_of_one_cursor_stay_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 12)
    store = Kept()
    seen = await run(Mixed(40, 0.001), store)
    assert (seen.shed, seen.engaged) == ({}, 200)
    for batch in store.batches:
        sums = Counter(e.cursor for e in batch if isinstance(e, Engaged))
        assert set(sums.values()) <= {5}


async def test_sums_alone_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)

    class Likes(Script):
        async def events(self, after: str | None) -> AsyncIterator[Event]:
            for n in range(500):
                yield Engaged(f"at://{n}", Engagement(1), "1")

    store = Kept()
    seen = await run(Likes(), store)
    assert (max(map(len, store.batches)), seen.shed["engaged"]) == (20, 480)


class Flooding(Script):
    """Gives posts of its own, as many and as fast as they are taken."""

    name = "flooding"

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        while True:
            for _ in range(500):
                self.given += 1
                yield Upsert(
                    Post(f"flood:{self.given}", "x", Author("f"), f"flood {self.given} rises", 1, self.given), "c"
                )
            await asyncio.sleep(0)


class Hanging(Script):
    name = "hanging"

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield event(1)


class Steadily(Script):
    """Gives a post every 20 ms, witnessed at the moment it is given."""

    name = "steady"

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        for n in range(100):
            await asyncio.sleep(0.02)
            yield Upsert(Post(f"steady:{n}", "x", Author("s"), f"steady {n}", 1, int(time.time() * MICROS)), str(n))


async def test_a_source_that_floods_or_hangs_delays_another_by_no_more_than_a_batch(tmp_path: Path) -> None:
    waits: list[float] = []
    floods: list[float] = []

    class Watched(LocalStore):
        async def apply(self, source: str, events: Sequence[Event]) -> Applied:
            began = time.perf_counter()
            applied = await super().apply(source, events)
            if source == "steady":
                ages = [time.time() - e.post.witnessed_at / MICROS for e in events if isinstance(e, Upsert)]
                waits.append(max(ages))
            else:
                floods.append(time.perf_counter() - began)
            return applied

    async with Watched(tmp_path) as store:
        tasks, seen = [], {}
        for source in (Flooding(), Hanging(), Steadily()):
            seen[source.name] = Progress(source.name, "x", False)
            tasks.append(asyncio.create_task(ingest(source, store, seen[source.name])))
        async with asyncio.timeout(20):
            await tasks[-1]
        for task in tasks[:-1]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert seen["steady"].posts == 100
    assert seen["flooding"].posts > 2 * BATCH
    # A batch waits until it is old, then for at most one batch of the flood, then it is stored.
    assert max(waits) < MAX_AGE_S + 2 * max(floods) + 0.25


@pytest.mark.skipif(not RECORDING.exists(), reason=f"no recording at {RECORDING}")
async def test_a_real_recording_is_stored_whole_and_only_once(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as store:
        source, seen = ReplaySource(RECORDING), progress()
        await ingest(source, store, seen)
        assert seen.posts + source.dropped.total() == 11_911
        assert seen.added + seen.edited + seen.unchanged + seen.refused == seen.posts
        assert seen.refused == 0
        totals = await store.totals()
        assert totals["posts"] == seen.added > 11_000
        for name, after in (("second", None), ("third", seen.cursor)):
            again = progress()
            source = ReplaySource(RECORDING, name=name)
            if after:
                assert [e async for e in source.events(after)] == []
            await ingest(source, store, again)
            assert (again.added, again.edited, again.posts) == (0, 0, seen.posts)
        assert (await store.totals())["posts"] == totals["posts"]
        assert await store.check() == []
        hits = await store.search(Query(words=("ottawa", "soldier")), totals["newest"])
        assert len(hits) == 20
