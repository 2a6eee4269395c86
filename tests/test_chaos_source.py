"""Kills under a source that goes wrong in every way, and under a clock set back: still all of it, once each."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import chaos_nursery
from chaos_lives import KILLS, Lives, agree
from voxpop.posts import Engagement
from voxpop.simulator.flood import Flood, Mix, invented

MIX = {"like": 0.3, "repost": 0.05, "reply": 0.1, "update": 0.05, "delete": 0.1}
RATE = 3000
LIVES = KILLS // 4
ILL = {"broken": 90, "bytes": 110, "future": 130, "huge": 2500, "repeat": 450, "cut": 2600}


@contextmanager
def flood(count: int, harm: dict[str, int]) -> Iterator[dict[str, str]]:
    """A firehose in a process of its own; its addresses."""
    command = [sys.executable, "-m", "voxpop.simulator", "firehose", f"--rate={RATE}", f"--count={count}"]
    command += [f"--{name}={share}" for name, share in MIX.items()]
    command += [f"--harm-{name}={every}" for name, every in harm.items()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def sent(at: dict[str, str]) -> Flood:
    """The flood that a firehose plays."""
    said = httpx.get(at["sent"], trust_env=False).json()
    return Flood(invented(), said["rate"], said["origin_us"], Mix(**said["mix"]))


def due(played: Flood, count: int) -> tuple[dict[str, str], dict[str, Engagement]]:
    """The texts, and the counts, of all posts that must be there after so many events."""
    texts: dict[str, str] = {}
    counts: dict[str, Counter[str]] = {}
    deleted: set[str] = set()
    size = played.counts(1000)
    cycle = size["post"] + size["reply"]
    for n in range(count):
        kind, post = played.event(n)
        uri = played.uri(post)
        if kind in ("post", "reply"):
            texts.setdefault(uri, played.text(post))
            if kind == "reply":
                counts.setdefault(played.uri(post - cycle), Counter())["replies"] += 1
        elif kind == "update":
            texts[uri] = played.text(post) + " (edited)"
        elif kind == "delete":
            deleted.add(uri)
        else:
            counts.setdefault(uri, Counter())[kind + "s"] += 1
    return (
        {uri: text for uri, text in texts.items() if uri not in deleted},
        {uri: Engagement(c["likes"], c["reposts"], c["replies"]) for uri, c in counts.items()},
    )


async def look(folder: Path, played: Flood, count: int, *, likes: bool) -> None:
    texts, counts = due(played, count)
    every = sorted({played.uri(played.event(n).post) for n in range(count)})
    async with chaos_nursery.tiny_store(folder) as store:
        found = {p.id: p for p in await store.posts(every)}
        assert {uri: post.text for uri, post in found.items()} == texts
        assert (await store.totals())["posts"] == len(texts)
        if likes:
            came = {played.uri(n) for n in range(count)}  # not those of which only an edit was ever seen
            assert {u: p.engagement for u, p in found.items() if u in came} == {
                u: counts.get(u, Engagement()) for u in texts if u in came
            }
        await agree(store, closely=True)


@pytest.mark.parametrize(
    ("harm", "likes"),
    [(ILL, True), (ILL | {"swap": 700}, False), ({"hang": 2300}, True)],
    ids=["broken", "reversed", "hanging"],
)
def test_a_bad_source_and_kills_lose_nothing(tmp_path: Path, harm: dict[str, int], likes: bool) -> None:
    count = 1200 * LIVES
    with flood(count, harm) as at, Lives(tmp_path / "store", seed=count) as lives:
        played = sent(at)
        for _ in range(LIVES):
            clock = lives.luck.choice(["right", "right", "slow", "set back"])
            at_s = lives.luck.uniform(0.1, 0.4) if clock == "slow" else 0.0
            lives.live(url=at["url"], until=played.time_us(10**9), clock=clock, killed=True, at_s=at_s)
        assert lives.live(url=at["url"], until=played.time_us(count - 1), clock="right", killed=False) == 0, (
            lives.failures
        )
        asyncio.run(look(tmp_path / "store", played, count, likes=likes))
