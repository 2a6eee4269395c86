"""A source that fails is said, tried again from its cursor with growing waits, and takes no other down."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from voxpop.errors import UsageError, VoxpopError
from voxpop.logs import Text
from voxpop.posts import Author, Event, Post, Upsert
from voxpop.runner import Backoff, Runner
from voxpop.sources.replay import ReplaySource
from voxpop.store import Applied
from voxpop.store.local import LocalStore

SOON = Backoff(0.02, 0.08, 60)
SECRET_TEXT = "the words of a stranger's post"


def post(n: int) -> Upsert:
    return Upsert(Post(f"x:{n}", "x", Author("a"), f"Tram number {n} is late.", 1, 1_000_000 + n), str(n))


class Flaky:
    """Gives posts 0, 1, 2 … after its cursor, and raises the next of its failures after each."""

    name, network, simulated = "flaky", "x", False

    def __init__(self, *failures: Exception, posts: int = 3) -> None:
        self.failures, self.posts = list(failures), posts
        self.dropped: Counter[str] = Counter()
        self.state = "connected to nowhere"
        self.began: list[str | None] = []
        self.times: list[float] = []

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        self.began.append(after)
        self.times.append(asyncio.get_running_loop().time())
        for n in range(int(after or -1) + 1, self.posts):
            yield post(n)
            if self.failures:
                raise self.failures.pop(0)
        self.state = "ended: all read"


class Full(LocalStore):
    """A real store whose disk is full until there is `space`."""

    space = False

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        if not self.space:
            raise VoxpopError("The disk is full.", "Free space on it.")
        return await super().apply(source, events)


async def until(holds: Callable[[], object], within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The log's lines, as people see them."""
    caplog.set_level(logging.INFO, "voxpop")
    return lambda: [Text([]).format(r).partition("\n")[0] for r in caplog.records if r.name == "voxpop.runner"]


async def test_a_failure_is_said_and_the_source_goes_on_from_its_cursor(
    tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    source = Flaky(VoxpopError("No route.", "Check it."), OSError("raw"), VoxpopError("No route."))
    async with LocalStore(tmp_path) as store:
        runner = Runner(source, store, SOON)
        await runner.run()
        assert (await store.totals())["posts"] == 3
    assert source.began == [None, "0", "1", "2"]
    assert (runner.restarts, runner.crashes, runner.failing, runner.retry_s) == (3, 1, False, None)
    assert runner.state == "ended: all read"
    assert said()[0] == "flaky: trying again in 0.02 s. No route. Check it."
    assert said()[-1] == "flaky: the source has ended after 3 posts"


async def test_the_waits_grow_to_a_bound_and_the_state_tells_the_next_try(
    tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    source = Flaky(*[VoxpopError("No route.", "")] * 5, posts=6)
    async with LocalStore(tmp_path) as store:
        runner = Runner(source, store, SOON)
        task = asyncio.create_task(runner.run())
        await until(lambda: runner.failing)
        assert runner.state == "trying again in 0 s: No route."
        assert 0 <= (runner.retry_s or 0) <= 0.02
        await task
    waits = [b - a for a, b in zip(source.times, source.times[1:], strict=False)]
    assert all(wait >= wanted for wait, wanted in zip(waits, (0.02, 0.04, 0.08, 0.08, 0.08), strict=True))
    assert len(said()) == 2, "the same failure is said once"


@pytest.mark.parametrize("missing", [True, False])
async def test_what_no_second_try_can_mend_stops_with_its_reason(
    tmp_path: Path, missing: bool, said: Callable[[], list[str]]
) -> None:
    file = tmp_path / "posts.jsonl"
    file.touch()
    source = ReplaySource(file) if missing else Flaky(UsageError("No such rule.", "Mend it."))
    file.unlink()
    async with LocalStore(tmp_path / "data") as store:
        runner = Runner(source, store, SOON)
        await asyncio.wait_for(runner.run(), 5)
    assert runner.failing
    assert (runner.restarts, runner.retry_s) == (0, None)
    assert said() == [f"{source.name}: stopped. {runner.state}"]
    assert ("No replay file" if missing else "No such rule. Mend it.") in runner.state


async def test_ingest_goes_on_by_itself_when_the_disk_has_room_again(tmp_path: Path) -> None:
    async with Full(tmp_path) as store:
        runner = Runner(Flaky(), store, SOON)
        task = asyncio.create_task(runner.run())
        await until(lambda: runner.restarts >= 2)
        assert "The disk is full. Free space on it." in runner.state or not runner.failing
        assert (await store.totals())["posts"] == 0, "answers go on: the store can still be read"
        store.space = True
        await asyncio.wait_for(task, 5)
        assert (await store.totals())["posts"] == 3


async def test_a_crash_is_logged_with_its_place_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with LocalStore(tmp_path) as store:
        runner = Runner(Flaky(KeyError(SECRET_TEXT)), store, Backoff(60))
        task = asyncio.create_task(runner.run())
        await until(lambda: runner.failing)
        assert runner.state == "trying again in 60 s: a fault of ours (KeyError)"
        task.cancel()
    record = caplog.records[0]
    assert (record.levelno, record.source) == (logging.ERROR, "flaky")
    assert SECRET_TEXT not in record.getMessage()
    assert record.exc_info
