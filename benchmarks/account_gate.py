"""What the gate costs each request: a key that is remembered, one that is looked up, and one that is unknown.

    python benchmarks/account_gate.py [postgresql+psycopg://…]

Without an address a SQLite file in a temporary folder is asked. One table row for each; microseconds.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy.orm import Session

from voxpop.accounts import Credential, Denied, keys, people
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.accounts.people import Wish
from voxpop.gate import LASTS_S, AccountGate
from voxpop.records import Database
from voxpop.service import clock

_USERS = 1000


def _people(session: Session) -> list[str]:
    by, mark = By("benchmark", clock()), time.time_ns()
    made = [people.add_user(session, by, Wish(name=f"{mark} {n}")) for n in range(_USERS)]
    return [keys.create(session, by, user, "k", Scopes())[1] for user in made]


async def _measured(times: int, work: Callable[[int], Awaitable[object]]) -> str:
    took = []
    for n in range(times):
        began = time.perf_counter_ns()
        await work(n)
        took.append((time.perf_counter_ns() - began) / 1000)
    cuts = statistics.quantiles(took, n=100)
    return f"{statistics.median(took):9.1f} {cuts[94]:9.1f} {cuts[98]:9.1f}"


async def main(url: str) -> None:
    """Measure, and print the table."""
    async with Database(url) as database:
        clear = await database.run(_people)
        ticks = [0.0]
        gate = AccountGate(database, clock, ticks=lambda: ticks[0])

        async def known(n: int) -> object:
            return await gate.account(Credential(key=clear[n % 10]))

        async def anew(n: int) -> object:
            ticks[0] += LASTS_S * 2
            return await gate.account(Credential(key=clear[n % _USERS]))

        async def unknown(n: int) -> object:
            try:
                return await gate.account(Credential(key=clear[n % _USERS][:-1] + "-"))
            except Denied:
                return None

        print(
            f"{'':<24}{'median':>9} {'p95':>9} {'p99':>9}   us, {_USERS} users, {database.url.get_backend_name()}"
        )
        for _ in range(_USERS):
            await anew(_)  # when each was used is noted once a minute: not measured here
        for name, times, work in (
            ("remembered", 20_000, known),
            ("looked up", 2000, anew),
            ("unknown", 2000, unknown),
        ):
            print(f"{name:<24}{await _measured(times, work)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{Path(folder) / 'accounts.db'}"))
