"""Half an hour at 2,000 events a second from four sources side by side, two of them bad: `soak.py [MINUTES [SVG]]`.

Prints one JSON line, keeps a sample for every five seconds beside it, and draws docs/soak.svg. The sources:
`steady`, a Jetstream with likes, replies, edits and deletions; `recording`, a replay in real time; `broken`, a
Jetstream that hangs again and again, and slips in broken JSON, wrong UTF-8 and posts of the year 9999; `flood`, one
with two minutes to catch up that repeats, reverses, cuts and sends lines of 10 MB. The oldest posts are dropped
once the folder holds 0.4 GB.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

from _store import corpus, millis, queries
from plot import soak as draw
from voxpop.authorities import Authorities
from voxpop.engines.quote import QuoteEngine
from voxpop.service import Service
from voxpop.simulator.flood import CYCLE, Flood, Mix, invented
from voxpop.sources.bluesky import BlueskySource, Patience
from voxpop.sources.replay import ReplaySource
from voxpop.store.local import LocalStore
from voxpop.times import MICROS, iso
from voxpop.voices import load

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
SECONDS = int(MINUTES * 60)
SAMPLE_S = 5.0
STEADY, RECORDED, BROKEN, FLOOD = 700, 300, 500, 500
MIX = {"like": 0.5, "repost": 0.05, "reply": 0.05, "update": 0.02, "delete": 0.03}
BACKLOG_S = 120
QUICK = Patience(idle_s=5.0, first_wait_s=0.1, longest_wait_s=2.0, gap_s=1e9)
ILL = ["--harm-hang=20000", "--harm-broken=300", "--harm-bytes=500", "--harm-future=900"]
WILD = ["--harm-cut=45000", "--harm-repeat=900", "--harm-swap=1100", "--harm-huge=60000"]
DRAWN = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parents[1] / "docs" / "soak.svg"


class Server:
    """A firehose in a process of its own."""

    def __init__(self, rate: int, count: int, *more: str) -> None:
        shares = [f"--{name}={share}" for name, share in MIX.items()]
        command = [sys.executable, "-m", "voxpop.simulator", "firehose", f"--rate={rate}", f"--count={count}"]
        self._process = subprocess.Popen([*command, *shares, *more], stdout=subprocess.PIPE)
        self.at: dict[str, str] = json.loads(self._process.stdout.readline())

    def source(self, name: str) -> BlueskySource:
        return BlueskySource(
            [self.at["url"]], name=name, engagement=True, lookback_s=3600, directories=None, patience=QUICK
        )

    def sent(self) -> dict[str, Any]:
        return httpx.get(self.at["sent"], trust_env=False).json()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()


def recording(path: Path, rows: int) -> Path:
    """Posts at an even rate from two seconds in the future on."""
    start, texts = time.time() + 2, invented()
    with path.open("w") as file:
        for n in range(rows):
            at = iso(int((start + n / RECORDED) * MICROS))
            text = texts[n % len(texts)].text
            row = {"id": str(n), "platform": "x", "author": f"u{n % 5000}", "created_at": at, "text": text}
            file.write(json.dumps(row) + "\n")
    return path


class Watch:
    """A sample of everything that may grow, every five seconds."""

    def __init__(self, service: Service, store: LocalStore, searches: list[float]) -> None:
        self._service, self._store, self._searches = service, store, searches
        self._began, self._at = time.monotonic(), 0.0
        self._seen: dict[str, int] = {}
        self.samples: list[dict[str, Any]] = []

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            await self.take()

    async def take(self) -> None:
        totals, now = await self._store.totals(), time.time_ns() // 1000
        runners = {r.source.name: r for r in self._service._runners}
        at = time.monotonic() - self._began
        seen, self._seen = self._seen, {name: r.progress.events for name, r in runners.items()}
        since, self._at = at - self._at, at
        searches, self._searches[:] = list(self._searches), []
        self.samples.append({
            "at_s": round(at, 1),
            "rss_mb": round(resident() / 1e6, 1),
            "tail": totals["tail"],
            "posts": totals["posts"],
            "disk_mb": round(disk(self._store.folder) / 1e6, 1),
            "open_files": len(os.listdir("/proc/self/fd")),
            "search_ms": millis(searches, 0.5)[0] if searches else None,
            "rates": {name: (count - seen.get(name, 0)) / since for name, count in self._seen.items()},
            "queues": {name: r.progress.waiting for name, r in runners.items()},
            "lags_s": {name: r.progress.lag_s(now) for name, r in runners.items()},
            "dropped": {name: r.source.dropped.total() for name, r in runners.items()},
            "shed": {name: r.progress.shed.total() for name, r in runners.items()},
        })  # fmt: skip


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def disk(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def slope(samples: Sequence[dict[str, Any]]) -> float:
    """Megabytes an hour of the last half, by least squares."""
    points = [(s["at_s"] / 3600, s["rss_mb"]) for s in samples[len(samples) // 2 :]]
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    below = sum((a - x) ** 2 for a, _ in points)
    return sum((a - x) * (b - y) for a, b in points) / below if below else 0.0


async def search(store: LocalStore, wanted: Sequence[Any], took: list[float], every: list[float]) -> None:
    for query in wanted:
        await asyncio.sleep(1)
        began = time.perf_counter()
        await store.search(query, time.time_ns() // 1000)
        took.append(time.perf_counter() - began)
        every.append(took[-1])


def due(sent: dict[str, Any]) -> dict[str, int]:
    """What must have been added, edited and deleted of a flood that is over."""
    flood = Flood(invented(), sent["rate"], sent["origin_us"], Mix(**sent["mix"]))
    whole, later = flood.counts(sent["events"]), flood.counts(sent["events"], CYCLE)
    unseen = whole["update"] - later["update"]  # edits of the first cycle are of posts that nobody saw
    return {"added": whole["post"] + whole["reply"] + unseen, "edited": later["update"], "deleted": later["delete"]}


async def over(service: Service, ends: dict[str, int]) -> None:
    """Wait until these sources have had so many posts, or for a minute."""
    with suppress(TimeoutError):
        async with asyncio.timeout(60):
            while any(r.progress.added < ends.get(r.source.name, 0) for r in service._runners):
                await asyncio.sleep(0.2)
    await asyncio.sleep(2)


async def main() -> None:
    wanted = queries(await corpus(20_000), SECONDS + 70)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        rows = RECORDED * SECONDS
        replay = ReplaySource(recording(Path(temporary, "rows.jsonl"), rows), 1.0, name="recording")
        servers = {
            "steady": Server(STEADY, STEADY * SECONDS),
            "broken": Server(BROKEN, BROKEN * SECONDS, *ILL),
            "flood": Server(FLOOD, FLOOD * (SECONDS + BACKLOG_S), f"--elapsed={BACKLOG_S}", *WILD),
        }
        for server in servers.values():
            stack.callback(server.stop)
        sources = [replay, *(server.source(name) for name, server in servers.items())]
        async with LocalStore(Path(temporary, "data"), keep_gb=0.4, purge_s=10) as store:
            service = Service(
                store, sources, load(), default_voice="regular", authorities=Authorities.of(), engine=QuoteEngine,
                engine_state=lambda: "ready",
            )  # fmt: skip
            took: list[float] = []
            every: list[float] = []
            watch = Watch(service, store, took)
            gc.collect()
            gc.freeze()
            beside = [
                asyncio.create_task(w) for w in (service.run(), watch.run(), search(store, wanted, took, every))
            ]
            await asyncio.sleep(SECONDS)
            sent = {name: server.sent() for name, server in servers.items()}
            expected = {name: due(s) for name, s in sent.items()} | {
                "recording": {"added": rows, "edited": 0, "deleted": 0}
            }
            await over(service, {name: e["added"] for name, e in expected.items()})
            await watch.take()
            found = {r.source.name: r.progress for r in service._runners}
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            wrong = await store.check()
    stored = {n: {k: getattr(p, k) for k in ("added", "edited", "deleted")} for n, p in found.items()}
    samples = watch.samples
    memory = [s["rss_mb"] for s in samples]
    print(json.dumps({
        "figure": "soak", "minutes": MINUTES, "events": sum(p.events for p in found.values()),
        "events_per_s_sent": STEADY + RECORDED + BROKEN + FLOOD,
        "rss_mb": {"first": memory[0], "most": max(memory), "last": memory[-1]},
        "rss_mb_per_hour_last_half": round(slope(samples), 1),
        "queue_most": max(max(s["queues"].values()) for s in samples),
        **{f"{name}_most": max(s[name] for s in samples) for name in ("tail", "disk_mb", "open_files")},
        "search_ms": dict(zip(("p50", "p99"), millis(every, 0.5, 0.99), strict=True)),
        "lag_s_most": {n: round(max(s["lags_s"][n] or 0 for s in samples), 2) for n in found},
        "sent": expected, "stored": stored,
        "exact": {name: stored[name] == expected[name] for name in expected},
        "dropped": samples[-1]["dropped"], "shed": samples[-1]["shed"], "check": wrong,
    }))  # fmt: skip
    draw(samples, DRAWN)


asyncio.run(main())
