"""The X source against a real server on loopback: rules, budget, gaps, limits and deaths, told as stories."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Delete, Event, Missed, Spent, Upsert
from voxpop.simulator.x import PROBLEMS, TOKEN, X
from voxpop.sources.lookup import Later
from voxpop.sources.spending import Budget
from voxpop.sources.x import BLOCK, Patience, XSettings, XSource
from voxpop.sources.x_api import Refused, Timeouts
from voxpop.sources.x_rules import sync

QUICK = Patience(0.01, 0.05, 0.02, 0.1, 0.05, 0.2, overlap_s=5, indexing_s=0.05, nap_s=0.05)
NOVEMBER = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()


class Book:
    """A ledger in memory; it keeps what it is told before it returns, as a store does."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.named: list[str] = []

    async def apply(self, source: str, events: Sequence[Event]) -> None:
        self.events += events
        self.named += [source] * len(events)

    async def spent(self, source: str, month: str) -> tuple[int, int]:
        spent = [e for e, n in zip(self.events, self.named, strict=True) if n == source and isinstance(e, Spent)]
        spent = [e for e in spent if datetime.fromtimestamp(e.at / 1e6, UTC).strftime("%Y-%m") == month]
        return sum(e.reads for e in spent), sum(e.micro_usd for e in spent)

    async def reads(self) -> int:
        months = {datetime.fromtimestamp(e.at / 1e6, UTC).strftime("%Y-%m") for e in self.events}  # type: ignore[union-attr]
        return sum([(await self.spent(n, m))[0] for m in months for n in set(self.named)])


class Clock:
    """Real time, moved."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def set(self, to: float) -> None:
        self.ahead = to - time.time()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[X]:
    server = X(keep_alive_s=0.1, clock=clock)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def open_x(world: X, clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    opened: list[XSource] = []

    async def start(book: Book | None = None, token: str = TOKEN, **more: Any) -> XSource:
        given = {"rules": ("election",), "host": world.url, "patience": QUICK, "timeouts": Timeouts(1, 2, 1)} | more
        source = XSource(token, XSettings(**given), clock=clock)
        await source.budget.open(book or Book())
        opened.append(source)
        return source

    yield start
    for source in opened:
        await source.aclose()


class Reader:
    """Reads a source in the background, as the store would."""

    def __init__(self, source: XSource, after: str | None = None) -> None:
        self.events: list[Event] = []
        self.source, self.after = source, after
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with aclosing(self.source.events(self.after)) as events:  # type: ignore[type-var]
            async for event in events:
                self.events.append(event)

    @property
    def texts(self) -> list[str]:
        return [e.post.text for e in self.events if isinstance(e, Upsert)]

    @property
    def missed(self) -> list[Missed]:
        return [e for e in self.events if isinstance(e, Missed)]

    @property
    def cursor(self) -> str:
        return next((e.cursor for e in reversed(self.events) if e.cursor), "")

    async def until(self, holds: Callable[[], object], within_s: float = 5) -> None:
        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, f"{self.source.state}; {self.events}"
            if self.task.done():
                self.task.result()
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def connected(world: X, reader: Reader) -> None:
    await reader.until(lambda: world.connected)


# -- what comes ------------------------------------------------------------------------------------------------


async def test_a_post_that_fits_a_rule_comes_with_what_it_quotes(world: X, open_x):
    reader = Reader(await open_x())
    await connected(world, reader)
    quoted = world.say("ben", "The count begins")
    world.say("ana", "Another day")
    world.say("ana", "The election: look", quote=quoted.id, alt="A hall")
    await reader.until(lambda: len(reader.texts) == 2)
    post, beside = (e.post for e in reader.events if isinstance(e, Upsert))
    assert (post.text, beside.text) == ("The election: look", "The count begins")
    assert (post.author.handle, beside.author.handle) == ("ana", "ben")
    assert post.quote_of == f"x:{quoted.id}"
    assert post.media[0].alt == "A hall"
    assert reader.cursor == post.id.removeprefix("x:")
    assert reader.source.state.startswith("connected to 127.0.0.1")
    await reader.stop()
    assert reader.source.state == "stopped"


async def test_an_edit_comes_as_a_new_post_and_a_delete(world: X, open_x):
    reader = Reader(await open_x())
    await connected(world, reader)
    old = world.say("ana", "The election is on Monday")
    world.edit(old, "The election is on Tuesday")
    await reader.until(lambda: len(reader.texts) == 2)
    assert [e.id for e in reader.events if isinstance(e, Delete)] == [f"x:{old.id}"]
    assert reader.texts[-1] == "The election is on Tuesday"
    await reader.stop()


async def test_a_first_start_has_a_cursor_before_the_first_post(world: X, open_x):
    first = Reader(await open_x())
    await first.until(lambda: first.cursor)
    await first.stop()
    world.say("ana", "election: while nobody read")
    second = Reader(await open_x(), first.cursor)
    await second.until(lambda: second.texts == ["election: while nobody read"])
    await second.stop()


# -- rules -----------------------------------------------------------------------------------------------------


async def test_rules_are_kept_in_sync_and_those_of_others_left_alone(world: X, open_x):
    world.keep_rule("kittens", "another program")
    world.keep_rule("old news", "voxpop")
    source = await open_x(rules=("election", "count  lang:en", "kittens"))
    synced = await sync(source.api, source.settings.rules, dry_run=True)
    assert synced.difference.add == ("election", "count lang:en")
    assert [r.value for r in synced.difference.delete] == ["old news"]
    assert set(world.rules) == {"kittens", "old news"}  # a dry run changes nothing
    await sync(source.api, source.settings.rules)
    assert world.rules == {"kittens": "another program", "election": "voxpop", "count lang:en": "voxpop"}
    assert (await sync(source.api, source.settings.rules)).difference.add == ()


async def test_a_rule_that_x_refuses_is_told_in_its_words_and_the_others_are_read(world: X, open_x):
    reader = Reader(await open_x(rules=("election", "lang:en")))
    await connected(world, reader)
    await reader.until(lambda: "refused" in reader.source.state)
    assert "must contain at least one positive, standalone operator" in reader.source.state
    assert world.rules == {"election": "voxpop"}
    await reader.stop()


async def test_where_x_takes_no_rule_the_source_says_why(world: X, open_x):
    reader = Reader(await open_x(rules=("(open",)))
    with pytest.raises(VoxpopError, match=r"missing '\)'"):
        await reader.task


# -- money -----------------------------------------------------------------------------------------------------


async def test_what_was_read_is_what_x_bills(world: X, open_x):
    book = Book()
    reader = Reader(await open_x(book))
    await connected(world, reader)
    for n in range(70):
        world.say("ana", f"election {n}")
    await reader.until(lambda: len(reader.texts) == 70)
    assert await book.reads() >= world.billed == 70  # a block is paid for ahead
    await reader.stop()
    assert await book.reads() == world.billed


async def test_the_stream_stops_at_the_budget_and_goes_on_next_month(world: X, open_x, clock: Clock):
    clock.set(NOVEMBER)
    book = Book()
    source = await open_x(book, monthly_usd=100 * 0.005)
    reader = Reader(source)
    await connected(world, reader)
    for n in range(400):
        world.say("ana", f"election {n}")
        await asyncio.sleep(0)
    await reader.until(lambda: source.state.startswith("paused"))
    assert "2026-11" in source.state
    assert "it goes on on 2026-12-01" in source.state
    assert (await book.spent("x", "2026-11")) == (100, 500_000)
    assert 75 <= len(reader.texts) <= 100
    assert not world.connected
    with pytest.raises(Later):
        await source.look([e.post.id for e in reader.events[:9] if isinstance(e, Upsert)])
    clock.set(NOVEMBER + 3600 + 5)
    await connected(world, reader)
    world.say("ben", "election in December")
    await reader.until(lambda: "election in December" in reader.texts)
    assert "budget" in reader.missed[0].why
    assert source.budget.spending().month == "2026-12"
    await reader.stop()
    assert (await book.spent("x", "2026-12"))[0] < BLOCK


async def test_the_month_is_remembered_by_whoever_comes_next(world: X, open_x):
    book = Book()
    await book.apply("x", [Spent(int(time.time() * 1e6), 100, 500_000)])
    source = await open_x(book, monthly_usd=0.5)
    reader = Reader(source)
    await reader.until(lambda: source.state.startswith("paused"))
    assert world.requests["stream"] == 0
    await reader.stop()


async def test_a_death_between_the_page_and_the_store_costs_too_much_never_too_little(world: X, open_x):
    book, before = Book(), time.time() - 600
    for n in range(30):
        world.say("ana", f"election {n}", at=before + n)
    newest = world.say("ben", "old", at=before - 60)
    reader = Reader(await open_x(book), newest.id)
    await reader.until(lambda: world.requests["search"])
    reserved = list(book.events)  # what is on disk when the process is killed: only what was written until then
    await reader.stop()
    killed = Book()
    killed.events, killed.named = reserved, ["x"] * len(reserved)
    assert await killed.reads() >= world.billed
    again = Reader(await open_x(killed), newest.id)
    await again.until(lambda: len(again.texts) == 30)
    await again.stop()
    assert await killed.reads() >= world.billed  # both readings are in it


async def test_a_page_that_breaks_off_stays_paid(world: X, open_x):
    book = Book()
    now = time.time()
    for n in range(12):
        world.say("ana", f"election {n}", at=now - 300 + n)
    world.faults.cut_pages = 2
    reader = Reader(await open_x(book), world.say("b", "x", at=now - 400).id)
    await reader.until(lambda: len(reader.texts) == 12)
    await reader.stop()
    assert world.billed == 36
    assert await book.reads() >= 36


async def test_looking_again_has_a_share_of_the_money_spread_over_the_month(clock: Clock):
    clock.set(datetime(2026, 11, 1, 0, 0, 1, tzinfo=UTC).timestamp())
    book = Book()
    budget = Budget("x", monthly_usd=20, price_usd=0.005, parts={"recheck": 0.25}, clock=clock)
    await budget.open(book)
    assert await budget.reserve(100, "recheck")  # one runs ahead
    assert await budget.reserve(100, "recheck") is None
    assert await budget.reserve(100)  # the stream has its own
    clock.set(datetime(2026, 11, 16, tzinfo=UTC).timestamp())
    found = [await budget.reserve(100, "recheck") for _ in range(9)]
    assert [f is not None for f in found] == [True] * 5 + [False] * 4  # half of 1,000 by the middle of the month
    again = Budget("x", monthly_usd=20, price_usd=0.005, parts={"recheck": 0.25}, clock=clock)
    await again.open(book)
    assert again.spending() == budget.spending()
    assert again.spending().reads == 700
    assert await again.reserve(100, "recheck") is None


async def test_a_budget_without_a_ledger_spends_nothing():
    with pytest.raises(RuntimeError, match="no ledger"):
        await Budget("x", monthly_usd=1, price_usd=0.005).reserve(1)


def test_a_budget_that_pays_for_nothing_is_refused():
    with pytest.raises(UsageError, match="do not pay for"):
        XSource("token", XSettings(("a",), monthly_usd=0.1))


# -- gaps ------------------------------------------------------------------------------------------------------


async def test_after_a_cut_the_gap_is_filled_from_search(world: X, open_x):
    world.faults.cut_after, world.faults.times = 1, 1
    reader = Reader(await open_x())
    await connected(world, reader)
    world.say("ana", "election: before")
    await reader.until(lambda: not world.connected)
    world.say("ben", "election: meanwhile")
    await connected(world, reader)
    world.say("ana", "election: after")
    await reader.until(lambda: {"election: before", "election: meanwhile", "election: after"} <= set(reader.texts))
    await reader.until(lambda: reader.source._gap is None)
    world.say("ana", "election: later")
    await reader.until(lambda: "," not in reader.cursor)
    assert not reader.missed
    await reader.stop()


async def test_after_a_restart_the_gap_is_filled_page_by_page(world: X, open_x):
    now = time.time()
    last = world.say("ana", "election: last seen", at=now - 3600)
    for n in range(250):
        world.say("ana", f"election {n}", at=now - 3000 + n)
    reader = Reader(await open_x(monthly_usd=100), last.id)
    await reader.until(lambda: len(set(reader.texts)) == 251)
    assert world.requests["search"] >= 3
    assert not reader.missed
    await reader.stop()


async def test_a_gap_that_was_being_filled_at_a_death_is_filled_after_it(world: X, open_x):
    now = time.time()
    missed = world.say("ana", "election: in the gap", at=now - 1000)
    gap = f"{int((now - 1500) * 1e6)},{int((now - 900) * 1e6)}"
    newest = world.say("ana", "election: seen live", at=now - 10)
    reader = Reader(await open_x(), f"{newest.id},{gap}")
    await reader.until(lambda: missed.text in reader.texts)
    await reader.stop()


async def test_what_search_does_not_reach_is_said(world: X, open_x):
    now = time.time()
    long_ago = world.say("ana", "election: long ago", at=now - 9 * 86400)
    world.say("ana", "election: yesterday", at=now - 86400)
    reader = Reader(await open_x(monthly_usd=50), long_ago.id)
    await reader.until(lambda: reader.missed)
    assert "election: yesterday" in reader.texts
    (missed,) = reader.missed
    assert (missed.until - missed.since) / 86400e6 == pytest.approx(2, abs=0.01)
    assert "seven days" in missed.why
    await reader.stop()


async def test_a_gap_takes_no_more_than_a_quarter_of_the_money(world: X, open_x):
    now = time.time()
    last = world.say("ana", "election: last seen", at=now - 3600)
    for n in range(400):
        world.say("ana", f"election {n}", at=now - 3000 + n)
    reader = Reader(await open_x(monthly_usd=5), last.id)  # 1000 posts
    await reader.until(lambda: reader.missed)
    assert 100 < len(reader.texts) <= 250
    assert "no money" in reader.missed[0].why
    assert "election 399" in reader.texts  # the newest first
    await reader.stop()


async def test_where_the_access_has_it_x_gives_the_last_minutes_again(world: X, open_x):
    world.faults.cut_after, world.faults.times = 1, 1
    reader = Reader(await open_x(backfill_minutes=5))
    await connected(world, reader)
    world.say("ana", "election: before")
    await reader.until(lambda: not world.connected)
    world.say("ben", "election: meanwhile")
    await reader.until(lambda: "election: meanwhile" in reader.texts)
    assert world.requests["search"] == 0
    assert world.asked[-1][1]["backfill_minutes"] == "1"
    await reader.stop()


# -- refusals --------------------------------------------------------------------------------------------------


async def test_a_limit_is_kept_until_x_opens_the_window(world: X, open_x, clock: Clock):
    source = await open_x()
    await sync(source.api, source.settings.rules)
    world.faults.limits["stream"] = 0
    with pytest.raises(Refused) as refused:
        async with source.api.stream("/2/tweets/search/stream", {}):
            pass
    assert refused.value.kind == "limited"
    assert refused.value.wait_s == pytest.approx(901, abs=3)
    reader = Reader(source)
    await reader.until(lambda: source.state.startswith("reconnecting in 9"))
    assert "Too Many Requests" in source.state
    await reader.stop()


async def test_waits_grow_as_x_asks(open_x):
    source = await open_x(patience=Patience())
    waits: dict[str, list[float]] = defaultdict(list)
    for kind in ("network", "busy", "limited"):
        waits[kind] = [source._wait(Refused(kind, ""), kind) for _ in range(70)]
    assert waits["network"][:4] == [0.25, 0.5, 0.75, 1.0]
    assert waits["busy"][:4] == [5, 10, 20, 40]
    assert waits["limited"][:3] == [60, 120, 240]
    assert (waits["network"][-1], waits["busy"][-1], waits["limited"][-1]) == (16, 320, 900)
    assert source._wait(Refused("limited", "", wait_s=7.0), "limited") == 7


@pytest.mark.parametrize("status", [500, 503])
async def test_a_busy_x_is_asked_again(world: X, open_x, status: int):
    world.faults.answers = [("rules", status, b"<html>"), ("stream", status, b""), ("stream", 429, b"[]")]
    reader = Reader(await open_x())
    await connected(world, reader)
    assert reader.source.dropped["connection lost"] == 3
    await reader.stop()


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), (TOKEN, 403)])
async def test_a_token_that_x_refuses_stops_the_source_with_the_cure(world: X, open_x, token: str, status: int):
    if status == 403:
        detail = "When authenticating requests to the Twitter API v2 endpoints, you must use keys from a Project."
        world.faults.answers = [("rules", 403, {"title": "Client Forbidden", "detail": detail, "type": "x/y"})]
    reader = Reader(await open_x(token=token))
    with pytest.raises(VoxpopError, match=str(status)) as error:
        await reader.task
    assert "VOXPOP_X_TOKEN" in str(error.value)
    assert token not in str(error.value)
    assert token not in reader.source.state


async def test_without_a_token_the_cure_is_named():
    with pytest.raises(VoxpopError, match="VOXPOP_X_TOKEN is not set"):
        XSource("", XSettings(("a",)))


def test_a_token_travels_by_https_only():
    with pytest.raises(UsageError, match="https"):
        XSource("token", XSettings(("a",), host="http://api.x.com"))


async def test_the_accounts_own_cap_ends_the_source_cleanly(world: X, open_x):
    capped = {"title": "UsageCapExceeded", "detail": "Usage cap exceeded: Monthly product cap",
              "type": PROBLEMS + "usage-capped"}  # fmt: skip
    world.faults.said = [orjson.dumps({"errors": [capped]})]
    reader = Reader(await open_x())
    async with asyncio.timeout(5):
        await reader.task
    assert reader.source.state.startswith("stopped: the account's own cap at X is reached: Usage cap exceeded")
    world.faults.answers = [("stream", 429, capped)]
    again = Reader(await open_x())
    async with asyncio.timeout(5):
        await again.task
    assert "Monthly product cap" in again.source.state


async def test_an_operational_disconnect_is_taken_up_again(world: X, open_x):
    error = {"title": "operational-disconnect", "disconnect_type": "OperationalDisconnect",
             "detail": "This stream has been disconnected for operational reasons.",
             "type": PROBLEMS + "operational-disconnect"}  # fmt: skip
    world.faults.said = [orjson.dumps({"errors": [error]})]
    reader = Reader(await open_x())
    await reader.until(lambda: world.requests["stream"] == 2 and world.connected)
    assert reader.source.dropped["problem told by X"] == 1
    await reader.stop()


async def test_a_second_connection_waits_for_its_turn(world: X, open_x):
    first = Reader(await open_x())
    await connected(world, first)
    second = Reader(await open_x())
    await second.until(lambda: "maximum allowed connection limit" in second.source.state)
    await first.stop()
    await second.until(lambda: second.source.state.startswith("connected"))
    await second.stop()


async def test_garbage_on_the_line_is_counted_and_paid_for(world: X, open_x):
    book = Book()
    world.faults.said = [b"{nope", b"7", b'{"data":{"id":"x"}}', b"\xff\xfe", b"x" * (1 << 21)]
    reader = Reader(await open_x(book))
    await connected(world, reader)
    world.say("ana", "election")
    await reader.until(lambda: reader.texts)
    assert reader.source.dropped == {"not JSON": 2, "not an object": 1, "bad id": 1, "line too long": 1}
    await reader.stop()
    assert await book.reads() == 3 * 4 + 1 + 1


async def test_a_silent_line_is_left(world: X, open_x):
    world._keep_alive_s = 60
    reader = Reader(await open_x(timeouts=Timeouts(1, 2, 0.2)))
    await reader.until(lambda: world.requests["stream"] >= 2)
    await reader.stop()


async def test_a_broken_cursor_is_refused(open_x):
    with pytest.raises(VoxpopError, match="no id of a post"):
        await Reader(await open_x(), "at://nonsense").task


async def test_a_look_tells_what_is_gone(world: X, open_x):
    kept, gone, hidden = (world.say("a", "election 1"), world.say("b", "election 2"), world.say("c", "election 3"))
    withheld = world.say("d", "election 4", withheld=["DE"])
    gone.gone = hidden.author.hidden = True
    kept.counts["like_count"] = 12
    book = Book()
    source = await open_x(book)
    found = await source.look([f"x:{t.id}" for t in (kept, gone, hidden, withheld)])
    assert [p.id for p in found.posts] == [f"x:{kept.id}"]
    assert found.posts[0].engagement.likes == 12
    assert set(found.gone) == {f"x:{t.id}" for t in (gone, hidden, withheld)}
    assert await book.reads() == world.billed == 2
