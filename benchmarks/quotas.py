"""What holding a request to its tier costs: set aside and settle, on each database and store of counters.

`python benchmarks/quotas.py [POSTGRES_URL] [REDIS_URL]` prints one JSON line: of each, requests a second, the
median and 99th percentile of one request in milliseconds, and the process's CPU in microseconds a request, alone
and with 64 at once; for an account without limits and for one of premium_plus (five limits).
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from voxpop.accounts import Account, Spent, Wanted
from voxpop.quotas.permits import Quotas
from voxpop.quotas.short import Short
from voxpop.records import Database
from voxpop.tier_file import parse

TIERS = """
default = "five"
[tier.local.buckets.other]
[tier.five.buckets.chat]
requests_per_second = 1_000_000
requests_per_day = 100_000_000
tokens_per_minute = 1_000_000_000
tokens_per_month = 100_000_000_000
concurrent = 1000
"""
REQUESTS = 400
AT_ONCE = (1, 64)


async def ask(server: Quotas, account: Account, times: int, took: list[float]) -> None:
    for _ in range(times):
        began = time.perf_counter()
        permit = await server.permit(account, Wanted("r", "chat", "voxpop", prompt_tokens=50, max_tokens=300))
        await permit.settle(Spent(60, 120, answers=1))
        took.append(time.perf_counter() - began)


async def measure(url: str, redis: str) -> dict[str, Any]:
    tiers, told = parse(TIERS), {}
    async with Database(url) as database:
        short = Short(redis)
        server = Quotas(database, lambda: tiers, short, clock=lambda: time.time_ns() // 1000)
        for name in ("unlimited", "five limits"):
            for at_once in AT_ONCE:
                accounts = [
                    Account(f"u{n}", tier="five") if name != "unlimited" else Account() for n in range(at_once)
                ]
                took: list[float] = []
                await asyncio.gather(*(ask(server, a, 3, []) for a in accounts))
                began, cpu = time.perf_counter(), time.process_time()
                await asyncio.gather(*(ask(server, a, REQUESTS // at_once, took) for a in accounts))
                took.sort()
                told[f"{name}, {at_once} at once"] = {
                    "per_s": round(len(took) / (time.perf_counter() - began)),
                    "p50_ms": round(took[len(took) // 2] * 1000, 2),
                    "p99_ms": round(took[len(took) * 99 // 100] * 1000, 2),
                    "cpu_us": round((time.process_time() - cpu) / len(took) * 1e6),
                }
        await server.close()
        await short.close()
    return told


def main(postgres: str = "", redis: str = "") -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite, memory": asyncio.run(measure(f"sqlite:///{Path(folder) / 'a.db'}", ""))}
        if redis:
            found["sqlite, redis"] = asyncio.run(measure(f"sqlite:///{Path(folder) / 'b.db'}", redis))
        if postgres:
            found["postgresql, memory"] = asyncio.run(measure(postgres, ""))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
