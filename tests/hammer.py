"""A server process that asks and settles as fast as it can and says each settled answer once it is; to be killed.

`python hammer.py URL REDIS NAME`: a line `settled HOLD TOKENS TICKS` for each; `begun HOLD` when one is admitted.
"""

import asyncio
import os
import random
import sys
import time

from voxpop.accounts import Account, Limited, Spent, Wanted
from voxpop.quotas.permits import Quotas
from voxpop.quotas.short import Short
from voxpop.records import Database
from voxpop.tier_file import parse

TIERS = """
default = "t"
[tier.t.buckets.chat]
requests_per_day = 100000
tokens_per_month = 100_000_000
concurrent = 40
[tier.few.buckets.chat]
requests_per_day = 25
requests_per_second = 100000
[price.m]
prompt = 3
completion = 7
"""


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def ask(server: Quotas, name: str, chance: random.Random) -> None:
    while True:
        few = chance.random() < 0.3
        account = Account("few", tier="few") if few else Account(f"u{chance.randrange(3)}", tier="t")
        request = f"{name}-{chance.getrandbits(48):x}"
        try:
            permit = await server.permit(account, Wanted(request, "chat", "m", prompt_tokens=50, max_tokens=50))
        except Limited:
            await asyncio.sleep(0.001)
            continue
        say("begun", request)
        await asyncio.sleep(chance.random() * 0.003)
        if chance.random() < 0.1:
            await permit.refund("the engine failed")
            continue
        spent = Spent(chance.randrange(90), chance.randrange(90), answers=1)
        ticks = await permit.settle(spent)
        say("settled", request, spent.prompt_tokens + spent.completion_tokens, ticks)


async def main(url: str, redis: str, name: str) -> None:
    tiers = parse(TIERS)
    async with Database(url) as database:
        server = Quotas(database, lambda: tiers, Short(redis), clock=lambda: time.time_ns() // 1000)
        chance = random.Random(name)
        await asyncio.gather(server.run(), *(ask(server, name, chance) for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
