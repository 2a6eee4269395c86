"""X with the real store: what is spent outlives the process, what is gone leaves the store, and the commands."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from conftest import environment, voxpop
from voxpop.ingest import Progress, ingest
from voxpop.recheck import Recheck
from voxpop.simulator.x import TOKEN, X
from voxpop.sources.spending import month_of
from voxpop.sources.x import Patience, XSettings, XSource
from voxpop.sources.x_api import Timeouts
from voxpop.store import Query
from voxpop.store.local import LocalStore

QUICK = Patience(0.01, 0.05, 0.02, 0.1, 0.05, 0.2, overlap_s=5, indexing_s=0.05, nap_s=0.05)
READER = """
import asyncio, sys
from pathlib import Path
from voxpop.ingest import Progress, ingest
from voxpop.simulator.x import TOKEN
from voxpop.sources.x import Patience, XSettings, XSource
from voxpop.store.local import LocalStore

async def main(host, folder):
    patience = Patience(0.01, 0.05, 0.02, 0.1, 0.05, 0.2, overlap_s=5, indexing_s=0.05, nap_s=0.05)
    source = XSource(TOKEN, XSettings(("election",), host, monthly_usd=1000, patience=patience))
    async with LocalStore(Path(folder)) as store:
        await source.budget.open(store)
        await ingest(source, store, Progress("x", "x", True))

asyncio.run(main(*sys.argv[1:]))
"""


def micros() -> int:
    return time.time_ns() // 1000


@pytest.fixture
async def world() -> AsyncIterator[X]:
    server = X(keep_alive_s=0.1)
    await server.start()
    yield server
    await server.stop()


async def until(holds, within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not (found := holds()) or (asyncio.iscoroutine(found) and not await found):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def open_x(world: X) -> XSource:
    settings = XSettings(("election",), world.url, patience=QUICK, timeouts=Timeouts(1, 2, 1))
    return XSource(TOKEN, settings)


async def test_a_deleted_post_is_found_by_the_recheck_and_leaves_the_search(world: X, tmp_path: Path):
    async with LocalStore(tmp_path) as store:
        source = open_x(world)
        await source.budget.open(store)
        progress = Progress("x", "x", True)
        reading = asyncio.create_task(ingest(source, store, progress))
        await until(lambda: world.connected)
        kept, gone = (
            world.say("ana", "The election goes on"),
            world.say("ben", "The election was stolen by badgers"),
        )
        await until(lambda: progress.posts == 2)
        recheck = Recheck(source, store, every_s=0.01, clock=micros)
        gone.gone, kept.counts["like_count"] = True, 7
        await asyncio.sleep(0.05)
        await until(lambda: progress.posts == 2)
        await recheck.once()
        assert await store.search(Query(words=("badgers",)), micros()) == []
        (hit,) = await store.search(Query(words=("election",)), micros())
        assert hit.post.engagement.likes == 7
        assert recheck.counts["gone"] == 1
        await recheck.once()
        assert recheck.counts["gone"] == 1
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        parts = [(await store.spent(name, month_of(micros())))[0] for name in ("x", "x:recheck")]
        assert sum(parts) == source.spending().reads == world.billed
        await source.aclose()


async def test_a_budget_goes_on_where_the_last_process_left_it(world: X, tmp_path: Path):
    async with LocalStore(tmp_path) as store:
        source = open_x(world)
        await source.budget.open(store)
        kept = await source.budget.reserve(40)
        assert kept
        await source.budget.settle(kept, 30)
        await source.aclose()
    async with LocalStore(tmp_path) as store:
        source = open_x(world)
        await source.budget.open(store)
        assert source.spending().reads == 30
        assert source.spending().usd == pytest.approx(0.15)
        await source.aclose()


async def test_kills_lose_no_post_and_no_cent(world: X, tmp_path: Path):
    chance, said = random.Random(7), []
    for life in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", READER, world.url, str(tmp_path)], env=environment(), stderr=subprocess.DEVNULL
        )
        try:
            await until(lambda: world.connected)
            await asyncio.sleep(0 if life else 0.5)  # the very first cursor is stored
            for n in range(chance.randrange(20, 60)):
                quoted = said[-1].id if said and n % 4 == 0 else ""
                said.append(world.say(f"ana{n}", f"election {len(said)}", quote=quoted))
                await asyncio.sleep(chance.random() * 0.005)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        await until(lambda: not world.connected)
        said.append(world.say("ben", f"election {len(said)} meanwhile"))
    async with LocalStore(tmp_path) as store:
        killed = (await store.spent("x", month_of(micros())))[0]
        assert killed >= world.billed
        source = XSource(TOKEN, XSettings(("election",), world.url, monthly_usd=1000, patience=QUICK))
        await source.budget.open(store)
        reading = asyncio.create_task(ingest(source, store, Progress("x", "x", True)))
        ids = [f"x:{t.id}" for t in said]

        async def whole() -> bool:
            return len(await store.posts(ids)) == len(ids)

        await until(whole)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert (await store.totals())["posts"] == len(ids)
        assert (await store.spent("x", month_of(micros())))[0] >= world.billed
        await source.aclose()


async def test_the_command_shows_what_differs_and_applies_it(world: X, tmp_path: Path):
    world.keep_rule("kittens", "another program")
    world.keep_rule("old", "voxpop")
    settings = {"VOXPOP_X_HOST": world.url, "VOXPOP_X_TOKEN": TOKEN, "VOXPOP_X_RULES": "election, lang:en"}

    async def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return await asyncio.to_thread(voxpop, *arguments, "--data", str(tmp_path), **settings)

    shown = await run("x", "rules")
    assert shown.stdout.splitlines() == [
        "+ election",
        "! lang:en: X refuses it: UnprocessableEntity: "
        "Rules must contain at least one positive, standalone operator",
        "- old",
        "? kittens (of another program: another program; left alone)",
    ]
    assert set(world.rules) == {"kittens", "old"}
    applied = orjson.loads((await run("x", "rules", "--apply", "--json")).stdout)
    assert (applied["add"], applied["delete"], list(applied["refused"])) == (["election"], ["old"], ["lang:en"])
    assert world.rules == {"kittens": "another program", "election": "voxpop"}


async def test_without_a_token_the_commands_name_the_cure(tmp_path: Path):
    for arguments in (("x", "rules"), ("ingest", "--source", "x")):
        settings = {"VOXPOP_X_RULES": "election"}
        failed = await asyncio.to_thread(voxpop, *arguments, "--data", str(tmp_path), **settings)
        assert failed.returncode == 1
        assert "VOXPOP_X_TOKEN is not set" in failed.stderr


async def test_the_sources_show_what_the_month_cost(world: X, tmp_path: Path):
    async with LocalStore(tmp_path) as store:
        source = open_x(world)
        await source.budget.open(store)
        await source.budget.reserve(40)
        post = world.say("ana", "election")
        reading = asyncio.create_task(ingest(source, store, progress := Progress("x", "x", True)))
        await until(lambda: world.connected)
        world.say("ana", f"election {post.id}")
        await until(lambda: progress.posts)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await source.aclose()
    listed = await asyncio.to_thread(voxpop, "sources", "--json", "--data", str(tmp_path))
    (row,) = [r for r in orjson.loads(listed.stdout)["sources"] if r["about"] == "stored"]
    assert (row["reads"], row["spent_usd"]) == (41, 0.205)
    shown = await asyncio.to_thread(voxpop, "sources", "--data", str(tmp_path))
    assert "$0.20 for 41 reads this month" in shown.stdout
