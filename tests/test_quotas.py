"""Every request is held to its tier: set aside, settled, given back, across servers, clocks and ends."""

import asyncio
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import text

from voxpop.accounts import Account, Denied, Limited, Spent, Wanted
from voxpop.errors import VoxpopError
from voxpop.quotas import ledger, permits
from voxpop.quotas.permits import Quotas
from voxpop.quotas.reports import differences, limits_of
from voxpop.quotas.short import Short
from voxpop.quotas.telling import duration
from voxpop.records import Database
from voxpop.tier_file import TierFile, parse
from voxpop.times import MICROS, micros

NOON = micros("2026-11-22T12:00:00Z")
DAY = 86_400 * MICROS
ANN, BEN = Account("ann", "Ann", tier="t"), Account("ben", "Ben", tier="t")


@dataclass
class Clock:
    """A clock that a test sets; `ticks` only grows."""

    at: int = NOON
    ticked: float = 0.0

    def __call__(self) -> int:
        return self.at

    def ticks(self) -> float:
        return self.ticked


def quotas(database: Database, clock: Clock, tier: str = "", short: Short | None = None, more: str = "") -> Quotas:
    """Quotas with one tier `t`, whose bucket `chat` is as told."""
    tiers = parse(f"default = 't'\n[tier.local]\n[tier.local.buckets.other]\n[tier.t.buckets.chat]\n{tier}\n{more}")
    return Quotas(database, lambda: tiers, short or Short(), clock=clock, ticks=clock.ticks)


def wanted(**given: Any) -> Wanted:
    return Wanted(
        **{"id": "r", "endpoint": "chat", "model": "voxpop", "prompt_tokens": 10, "max_tokens": 90} | given
    )


async def left(server: Quotas, name: str, account: Account = ANN, bucket: str = "chat") -> int:
    shown = await limits_of(server, account)
    return next(
        one["left"] for b in shown["buckets"] if b["name"] == bucket for one in b["limits"] if one["name"] == name
    )


async def admitted(server: Quotas, times: int, account: Account = ANN, **given: Any) -> list[Any]:
    """The permits that are had of so many asked for at once."""
    got = await asyncio.gather(
        *(server.permit(account, wanted(**given)) for _ in range(times)), return_exceptions=True
    )
    assert all(isinstance(g, Limited) or hasattr(g, "settle") for g in got), got
    return [g for g in got if not isinstance(g, BaseException)]


class TestOneServer:
    async def test_settled_replaces_what_was_set_aside_and_a_refund_gives_all_back(
        self, database: Database
    ) -> None:
        server = quotas(database, Clock(), "requests_per_day = 5\ntokens_per_month = 1000\ntokens_per_minute = 500")
        permit = await server.permit(ANN, wanted())
        assert [await left(server, n) for n in ("requests_per_day", "tokens_per_month")] == [4, 900]
        await permit.settle(Spent(7, 5, answers=1))
        for name, has in [("requests_per_day", 4), ("tokens_per_month", 988), ("tokens_per_minute", 488)]:
            assert await left(server, name) == has
        other = await server.permit(ANN, wanted())
        await other.refund("the engine failed")
        for name, has in [("requests_per_day", 4), ("tokens_per_month", 988), ("tokens_per_minute", 488)]:
            assert await left(server, name) == has
        await other.settle(Spent(100, 100))  # it has ended: once
        await permit.settle(Spent(100, 100))
        assert await left(server, "tokens_per_month") == 988
        assert await rows(database) == [("refunded", 0, 0), ("settled", 1, 12)]
        assert await database.run(differences, write=False) == []

    async def test_more_than_was_set_aside_is_counted_too(self, database: Database) -> None:
        server = quotas(database, Clock(), "tokens_per_month = 1000\ntokens_per_minute = 900")
        await (await server.permit(ANN, wanted())).settle(Spent(950, 100))
        assert await left(server, "tokens_per_month") == 0
        with pytest.raises(Limited):
            await server.permit(ANN, wanted())

    @pytest.mark.parametrize(
        ("limit", "said", "name"),
        [
            ("requests_per_second = 2", "2 requests a second", "requests"),
            ("requests_per_day = 2", "2 requests a day", "requests-per-day"),
            ("tokens_per_minute = 200", "200 tokens a minute", "tokens"),
            ("tokens_per_month = 200", "200 tokens a month", "tokens-per-month"),
            ("concurrent = 2", "2 answers at once", "concurrent"),
        ],
    )
    async def test_of_many_at_once_exactly_so_many_are_admitted(
        self, database: Database, limit: str, said: str, name: str
    ) -> None:
        server = quotas(database, Clock(), limit)
        assert len(await admitted(server, 20)) == 2
        with pytest.raises(Limited, match=said) as caught:
            await server.permit(ANN, wanted())
        headers = caught.value.headers
        assert int(headers["retry-after"]) >= 1
        assert headers[f"x-ratelimit-remaining-{name}"] == "0"
        assert headers[f"x-ratelimit-limit-{name}"] == limit.rsplit(maxsplit=1)[-1]
        assert len(await admitted(server, 20, BEN)) == 2  # nobody else is stopped

    async def test_what_asks_for_more_than_there_ever_is_says_so_and_is_not_tried_again(
        self, database: Database
    ) -> None:
        for limit in ("tokens_per_minute = 99", "tokens_per_month = 99"):
            with pytest.raises(Limited, match="up to 100 tokens") as caught:
                await quotas(database, Clock(), limit).permit(ANN, wanted())
            assert caught.value.headers["x-should-retry"] == "false"
            assert "retry-after" not in caught.value.headers

    async def test_retry_after_is_when_it_works_and_not_before(self, database: Database) -> None:
        clock = Clock(NOON + 300_000)
        for n, limit in enumerate(["requests_per_second = 2", "tokens_per_minute = 200", "requests_per_day = 2"]):
            server, who = quotas(database, clock, limit), Account(f"u{n}", tier="t")
            await admitted(server, 2, who)
            with pytest.raises(Limited) as caught:
                await server.permit(who, wanted())
            clock.at += int(caught.value.headers["retry-after"]) * MICROS
            await (await server.permit(who, wanted())).settle(Spent())

    async def test_what_a_later_limit_refuses_is_given_back_to_the_earlier(self, database: Database) -> None:
        server = quotas(database, Clock(), "requests_per_second = 9\ntokens_per_minute = 900\nrequests_per_day = 1")
        await server.permit(ANN, wanted())
        assert await admitted(server, 5) == []
        assert await left(server, "requests_per_second") == 8
        assert await left(server, "tokens_per_minute") == 800

    async def test_chat_is_never_locked_out_by_another_bucket(self, database: Database) -> None:
        more = "[tier.t.buckets.pictures]\nrequests_per_day = 1\nconcurrent = 1\nrequests_per_second = 1"
        server = quotas(
            database, Clock(), "requests_per_day = 1\nconcurrent = 1\nrequests_per_second = 1", more=more
        )
        assert len(await admitted(server, 5, bucket="pictures")) == 1
        assert len(await admitted(server, 5)) == 1

    async def test_headers_say_what_is_left_and_the_least_under_openais_names(self, database: Database) -> None:
        server = quotas(
            database, Clock(), "requests_per_second = 10\nrequests_per_day = 2\ntokens_per_minute = 400"
        )
        headers = (await server.permit(ANN, wanted())).headers
        assert headers["x-ratelimit-remaining-requests"] == headers["x-ratelimit-remaining-requests-per-day"] == "1"
        assert headers["x-ratelimit-reset-requests"] == "12h0m0s"
        assert headers["x-ratelimit-remaining-tokens"] == "300"
        assert headers["x-ratelimit-remaining-requests-per-second"] == "9"
        assert (await server.permit(Account(), wanted())).headers == {}

    async def test_n_answers_are_so_many_at_once_and_one_request(self, database: Database) -> None:
        server = quotas(database, Clock(), "concurrent = 3\nrequests_per_day = 9")
        permit = await server.permit(ANN, wanted(answers=2))
        assert await admitted(server, 2, answers=2) == []
        await permit.settle(Spent(answers=2))
        assert [await left(server, n) for n in ("concurrent", "requests_per_day")] == [3, 8]

    async def test_the_tier_is_the_account_s_of_now(self, database: Database) -> None:
        server = quotas(
            database, Clock(), "requests_per_day = 1", more="[tier.big]\nweight=3\n[tier.big.buckets.chat]\n"
        )
        await admitted(server, 1)
        assert await admitted(server, 1) == []
        permit = await server.permit(Account("ann", tier="big"), wanted())
        assert (permit.asker.owner, permit.asker.weight) == ("ann", 3)

    async def test_a_client_that_leaves_while_it_is_admitted_holds_nothing(self, database: Database) -> None:
        server = quotas(database, Clock(), "concurrent = 1\nrequests_per_day = 5\nrequests_per_second = 5")
        for wait in range(8):
            asking = asyncio.create_task(server.permit(ANN, wanted()))
            for _ in range(wait):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await server.close()
        assert [await left(server, n) for n in ("concurrent", "requests_per_day")] == [1, 5]

    async def test_what_cannot_be_written_is_told_and_written_later(self, database: Database) -> None:
        server = quotas(database, Clock(), "concurrent = 1")
        permit = await server.permit(ANN, wanted())
        await database.run(lambda s: s.execute(text("ALTER TABLE usage_ledger RENAME TO gone")))
        with pytest.raises(VoxpopError, match="failed"):
            await permit.settle(Spent(3, 4))
        await database.run(lambda s: s.execute(text("ALTER TABLE gone RENAME TO usage_ledger")))
        assert await left(server, "concurrent") == 0
        await server.look_after()
        assert await left(server, "concurrent") == 1
        assert await rows(database) == [("settled", 1, 7)]
        assert server.open == 0


async def rows(database: Database) -> list[tuple[str, int, int]]:
    """The kind, requests and tokens of every line, sorted."""
    query = text("SELECT kind, requests, prompt_tokens + completion_tokens FROM usage_ledger ORDER BY 1, 3")
    return [tuple(r) for r in await database.run(lambda s: s.execute(query).all(), write=False)]


class TestTheLedgerOnlyGrows:
    @pytest.mark.parametrize("sql", ["UPDATE usage_ledger SET ticks = 0", "DELETE FROM usage_ledger"])
    async def test_no_statement_changes_or_removes_a_line(self, database: Database, sql: str) -> None:
        server = quotas(database, Clock())
        await (await server.permit(ANN, wanted())).settle(Spent(1, 1))
        with pytest.raises(VoxpopError, match="append-only"):
            await database.run(lambda s: s.execute(text(sql)))
        assert await rows(database) == [("settled", 1, 2)]


class TestRestartsAndClocks:
    async def test_days_and_months_and_what_is_under_way_survive_a_restart(self, database_url: str) -> None:
        limit = "requests_per_day = 3\ntokens_per_month = 1000\nconcurrent = 2"
        async with Database(database_url) as database:
            server = quotas(database, Clock(), limit)
            await (await server.permit(ANN, wanted())).settle(Spent(40, 2))
            await server.permit(ANN, wanted())
        async with Database(database_url) as database:
            server = quotas(database, Clock(), limit)
            assert [await left(server, n) for n in ("requests_per_day", "tokens_per_month", "concurrent")] == [
                1,
                858,
                1,
            ]

    @pytest.mark.parametrize("slides", [False, True])
    async def test_a_clock_set_back_gives_nothing_back_and_one_set_forward_only_what_is_due(
        self, database: Database, slides: bool
    ) -> None:
        clock = Clock()
        server = quotas(database, clock, "requests_per_day = 4", more="[tier.t]\nresets='slides'" if slides else "")
        for permit in await admitted(server, 3):
            await permit.settle(Spent(1, 1))
        clock.at -= 3600 * MICROS
        assert await left(server, "requests_per_day") == 1
        assert len(await admitted(server, 3)) == 1
        clock.at = NOON + 11 * 3600 * MICROS
        assert await left(server, "requests_per_day") == 0
        clock.at = NOON + 365 * DAY
        assert len(await admitted(server, 9)) == 4
        clock.at = NOON + 2 * DAY  # what a clock of next year counted does not stop anybody now
        assert len(await admitted(server, 9)) == 4

    async def test_a_short_window_holds_when_the_clock_goes_back(self, database: Database) -> None:
        clock = Clock(NOON + 500_000)
        server = quotas(database, clock, "requests_per_second = 3")
        assert len(await admitted(server, 9)) == 3
        clock.at -= 400_000
        assert len(await admitted(server, 9)) == 0
        clock.at -= 3600 * MICROS
        assert len(await admitted(server, 9)) == 3

    async def test_a_sliding_day_frees_what_is_a_day_old(self, database: Database) -> None:
        clock = Clock()
        server = quotas(database, clock, "requests_per_day = 2", more="[tier.t]\nresets = 'slides'")
        await admitted(server, 1)
        clock.at += 3600 * MICROS
        await admitted(server, 1)
        with pytest.raises(Limited) as caught:
            await server.permit(ANN, wanted())
        wait = int(caught.value.headers["retry-after"])
        clock.at += (wait - 1) * MICROS
        assert await admitted(server, 3) == []
        clock.at += MICROS
        assert len(await admitted(server, 3)) == 1
        assert abs(clock.at - NOON - DAY) <= 900 * MICROS

    async def test_a_window_never_holds_more_than_its_limit_whenever_they_come(self, database: Database) -> None:
        clock, chance = Clock(), random.Random(5)
        server = quotas(database, clock, "requests_per_second = 5")
        per_window: dict[int, int] = {}
        for _ in range(300):
            clock.at += chance.randrange(400_000)
            got = len(await admitted(server, chance.randrange(4)))
            per_window[clock.at // MICROS] = per_window.get(clock.at // MICROS, 0) + got
        assert max(per_window.values()) == 5


class TestSeveralServers:
    async def test_two_servers_share_what_there_is(self, database_url: str) -> None:
        limit = "requests_per_day = 7\nconcurrent = 5"
        async with Database(database_url) as one, Database(database_url) as other:
            servers = [quotas(d, Clock(), limit) for d in (one, other)]
            got = await asyncio.gather(*(admitted(s, 10) for s in servers))
            assert sum(map(len, got)) == 5
            assert await left(servers[0], "requests_per_day") == 2

    async def test_what_an_ended_server_held_is_given_back_by_a_line(self, database: Database) -> None:
        clock = Clock()
        limit = "requests_per_day = 5\nconcurrent = 2\ntokens_per_month = 1000"
        ended, server = quotas(database, clock, limit), quotas(database, clock, limit)
        permit = await ended.permit(ANN, wanted())
        await ended.look_after()
        await server.look_after()
        clock.at += 10 * DAY  # a clock that jumps ends nobody
        clock.ticked += permits.DEAD_S - 1
        await server.look_after()
        assert await left(server, "concurrent") == 1
        clock.ticked += 1
        await server.look_after()
        assert await left(server, "concurrent") == 2
        assert await left(server, "tokens_per_month") == 1000
        assert await rows(database) == [("expired", 0, 0)]
        await permit.settle(Spent(4, 4, answers=1))  # it lived after all: what it used is counted, once
        assert await left(server, "tokens_per_month") == 992
        assert await rows(database) == [("expired", 0, 0), ("settled", 1, 8)]
        assert await database.run(differences, write=False) == []

    async def test_a_settlement_that_is_written_twice_counts_once(self, database: Database) -> None:
        """A server that got no word of its commit writes again."""
        server = quotas(database, Clock(), "tokens_per_month = 1000")
        permit: Any = await server.permit(ANN, wanted())
        for _ in range(2):
            work = partial(ledger.settle, who=permit._who, now=NOON, spent=Spent(4, 4), ticks=1, held=True)
            await database.run(work)
        assert await left(server, "tokens_per_month") == 992
        assert await rows(database) == [("settled", 1, 8)]

    async def test_a_server_that_beats_keeps_what_it_holds(self, database: Database) -> None:
        clock = Clock()
        busy, server = (quotas(database, clock, "concurrent = 2") for _ in range(2))
        await busy.permit(ANN, wanted())
        for _ in range(20):
            clock.ticked += permits.BEAT_S
            await busy.look_after()
            await server.look_after()
        assert await left(server, "concurrent") == 1


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this session's own."""
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("no Redis here: install Debian's package `redis-server`")
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for _ in range(200):
                with socket.socket() as door:
                    if door.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


class TestRedis:
    async def test_two_servers_share_seconds_and_minutes(self, tmp_path: Path, redis_url: str) -> None:
        limit = "requests_per_second = 6\ntokens_per_minute = 100000"
        clock = Clock(NOON + 1)
        async with Database.beside(tmp_path) as database:
            one, other = (quotas(database, clock, limit, Short(redis_url)) for _ in range(2))
            got = await asyncio.gather(admitted(one, 10), admitted(other, 10))
            assert sum(map(len, got)) == 6
            assert await left(other, "tokens_per_minute") == 100_000 - 600
            for permit in got[0] + got[1]:
                await permit.settle(Spent(10, 0))
            assert await left(one, "tokens_per_minute") == 100_000 - 60
            await asyncio.gather(one.short.close(), other.short.close())

    async def test_without_redis_nobody_passes_unseen(self, tmp_path: Path) -> None:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            url = f"redis://:hunter2@127.0.0.1:{door.getsockname()[1]}"
        async with Database.beside(tmp_path) as database:
            server = quotas(database, Clock(), "requests_per_second = 6", Short(url))
            with pytest.raises(VoxpopError, match="cannot be counted") as caught:
                await server.permit(ANN, wanted())
            assert "hunter2" not in str(caught.value)
            await server.short.close()

    async def test_it_is_said_once_that_redis_is_gone_and_once_that_it_is_back(
        self, tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Database.beside(tmp_path) as database:
            short = Short(redis_url)
            server = quotas(database, Clock(), "requests_per_second = 6", short)
            there, short._storage = short._storage, Short(f"redis://127.0.0.1:{free_port()}")._storage
            assert server.unready() == ""
            for _ in range(2):
                with pytest.raises(VoxpopError, match=r"cannot be counted: .*[^.]\.$"):
                    await short.check()
            assert server.unready() == "the Redis of the limits does not answer"
            short._storage = there
            await short.check()
            assert server.unready() == ""
            gone, back = (r.getMessage() for r in caplog.records if r.name == "voxpop.reach")
            assert "127.0.0.1" in gone
            assert back == "The Redis of the limits answers again."
            await short.close()


async def test_all_that_is_told_of_a_refusal_names_one_moment(database: Database) -> None:
    clock = Clock(NOON + 100_000)
    server = quotas(database, clock, "requests_per_second = 1\nrequests_per_day = 100\ntokens_per_minute = 20000")
    first = (await server.permit(ANN, wanted())).headers
    assert first["x-ratelimit-reset-requests"] == first["x-ratelimit-reset-requests-per-second"] == "901ms"
    with pytest.raises(Limited, match=r"allows 1 request a second \(chat\): 1 is used\.") as caught:
        await server.permit(ANN, wanted())
    assert caught.value.headers["retry-after"] == "1"
    assert caught.value.headers["x-ratelimit-reset-requests"] == "901ms"
    second = (await limits_of(server, ANN))["buckets"][0]["limits"][0]
    assert (second["left"], second["resets_at"][:21]) == (0, "2026-11-22T12:00:01.0")
    assert second["resets_at"] in caught.value.cure


async def test_of_limits_with_nothing_left_the_last_to_reset_is_told(database: Database) -> None:
    server = quotas(database, Clock(), "requests_per_second = 1\nrequests_per_day = 1")
    told = (await server.permit(ANN, wanted())).headers
    assert told["x-ratelimit-reset-requests"] == told["x-ratelimit-reset-requests-per-day"] == "12h0m0s"


async def test_a_broken_edit_is_said_where_nobody_asks(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "BEAT_S", 0.1)
    own = tmp_path / "tiers.toml"
    own.write_text("default = 'premium'")
    server = Quotas(database, TierFile(own), Short(), clock=Clock())
    running = asyncio.create_task(server.run())
    own.write_text("default = ")
    async with asyncio.timeout(5):
        while "The tiers stay as they were" not in caplog.text:
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await server.close()


class TestRollout:
    more = "[tier.p]\ntitle='Plus'\n[tier.p.buckets.chat]\n[tier.p.rollout]\ncountries = ['FR']\n"

    async def test_who_is_not_in_yet_is_told_their_place(self, database: Database) -> None:
        clock = Clock()
        server = quotas(database, clock, more=self.more)
        for n, (name, place) in enumerate([("a", 1), ("b", 2), ("c", 3), ("a", 1)]):
            clock.at = NOON + n
            with pytest.raises(Denied, match="open in FR") as caught:
                await server.permit(Account(name, tier="p", country="DE"), wanted())
            assert f"number {place} of" in caught.value.cure
        await server.permit(Account("d", tier="p", country="FR"), wanted())
        shown = await limits_of(server, Account("b", tier="p", country="DE"))
        assert shown["waiting"] == {
            "tier": "p",
            "title": "Plus",
            "place": 2,
            "of": 3,
            "why": "it is open in FR so far",
        }

    async def test_meanwhile_another_tier_serves_them(self, database: Database) -> None:
        server = quotas(database, Clock(), "requests_per_day = 1", more=f"{self.more}meanwhile = 't'\n")
        who = Account("a", tier="p", country="DE")
        await server.permit(who, wanted())
        with pytest.raises(Limited, match="tier t"):
            await server.permit(who, wanted())
        shown = await limits_of(server, who)
        assert (shown["tier"]["name"], shown["waiting"]["place"]) == ("t", 1)


def test_durations_are_openais() -> None:
    given = {0: "0ms", 1: "1ms", 999_000: "999ms", MICROS: "1s", 60 * MICROS: "1m0s", 3600 * MICROS: "1h0m0s"}
    assert {n: duration(n) for n in given} == given


@dataclass
class _Model:
    """What ought to be: of each open permit its tokens, and all that was settled."""

    requests: int = 0
    tokens: int = 0
    ticks: int = 0
    open: list[tuple[Any, int]] = field(default_factory=list)


class Ledger(RuleBasedStateMachine):
    """Any order of asking, settling, refunding, ends of servers and clocks that jump, against the plain sum."""

    MOST, TOKENS, AT_ONCE = 12, 3000, 4

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database.beside(Path(self.folder.name))
        self.do(self.database.__aenter__())
        self.clock, self.model = Clock(), _Model()
        self.server = self._server()

    def _server(self) -> Quotas:
        limit = f"requests_per_month = {self.MOST}\ntokens_per_month = {self.TOKENS}\nconcurrent = {self.AT_ONCE}"
        return quotas(self.database, self.clock, limit, more="[price.voxpop]\nprompt = 3\ncompletion = 7")

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(asks=st.lists(st.integers(1, 900), min_size=1, max_size=5))
    def ask(self, asks: Sequence[int]) -> None:
        async def together() -> list[Any]:
            calls = (self.server.permit(ANN, wanted(prompt_tokens=0, max_tokens=n)) for n in asks)
            return await asyncio.gather(*calls, return_exceptions=True)

        for tokens, got in zip(asks, self.do(together()), strict=True):
            model = self.model
            held = sum(t for _, t in model.open)
            fits = (
                model.requests + len(model.open) < self.MOST
                and model.tokens + held + tokens <= self.TOKENS
                and len(model.open) < self.AT_ONCE
            )
            assert isinstance(got, Limited) != fits, (got, model)
            if fits:
                model.open.append((got, tokens))

    @rule(which=st.integers(0, 9), prompt=st.integers(0, 500), completion=st.integers(0, 500))
    def settle(self, which: int, prompt: int, completion: int) -> None:
        if self.model.open:
            permit, _ = self.model.open.pop(which % len(self.model.open))
            self.model.ticks += self.do(permit.settle(Spent(prompt, completion, answers=1)))
            self.model.requests += 1
            self.model.tokens += prompt + completion
            self.do(permit.refund("too late"))

    @rule(which=st.integers(0, 9))
    def refund(self, which: int) -> None:
        if self.model.open:
            permit, _ = self.model.open.pop(which % len(self.model.open))
            self.do(permit.refund("the engine failed"))
            self.do(permit.settle(Spent(1, 1)))

    @rule()
    def the_server_ends(self) -> None:
        self.server = self._server()
        self.do(self.server.look_after())
        self.clock.ticked += permits.DEAD_S
        self.do(self.server.look_after())
        self.model.open.clear()

    @rule(seconds=st.integers(-7200, 7200))
    def the_clock_jumps(self, seconds: int) -> None:
        self.clock.at = NOON + seconds * MICROS

    @invariant()
    def it_is_the_plain_sum(self) -> None:
        query = text("SELECT coalesce(sum(requests), 0), coalesce(sum(prompt_tokens + completion_tokens), 0), "
                     "coalesce(sum(ticks), 0) FROM usage_ledger")  # fmt: skip
        found = self.do(self.database.run(lambda s: tuple(s.execute(query).one()), write=False))
        assert found == (self.model.requests, self.model.tokens, self.model.ticks)
        assert self.do(self.database.run(differences, write=False)) == []
        assert self.do(left(self.server, "concurrent")) == self.AT_ONCE - len(self.model.open)

    def teardown(self) -> None:
        self.do(self.database.__aexit__())
        self.folder.cleanup()
        self.loop.close()


Ledger.TestCase.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTheLedgerAgainstAModel = Ledger.TestCase
