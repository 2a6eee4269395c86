"""Servers that hammer one ledger and are killed: it is the sum of what was settled, and nothing stays held."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from conftest import environment
from test_quotas import Clock, quotas, redis_url, wanted
from voxpop.accounts import Account
from voxpop.quotas import permits
from voxpop.quotas.reports import differences
from voxpop.records import Database

__all__ = ["redis_url"]  # the fixture
HAMMER = Path(__file__).parent / "hammer.py"
SERVERS, LIVES, LIFE_S = 2, 2, 0.5


def hammer(url: str, redis: str, logs: list[Path]) -> None:
    """Let servers run beside each other and kill them, several times."""
    for life in range(LIVES):
        running = []
        for n in range(SERVERS):
            log = logs[life * SERVERS + n]
            with log.open("wb") as file:
                command = [sys.executable, str(HAMMER), url, redis, log.stem]
                running.append(subprocess.Popen(command, stdout=file, env=environment()))
        for _ in range(400):
            if all(log.read_bytes().count(b"settled") > 5 for log in logs[life * SERVERS :][:SERVERS]):
                break
            assert all(p.poll() is None for p in running)
            time.sleep(0.05)
        time.sleep(LIFE_S)
        for process in running:
            process.kill()
            process.wait()


async def test_the_ledger_is_the_sum_of_what_was_settled(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On SQLite with seconds counted in each process, on PostgreSQL with Redis."""
    shared = database_url.startswith("postgres")
    async with Database(database_url):
        pass
    logs = [tmp_path / f"server{n}" for n in range(SERVERS * LIVES)]
    hammer(database_url, request.getfixturevalue("redis_url") if shared else "", logs)
    said = [line.split() for log in logs for line in log.read_text().splitlines()]
    settled = {
        words[1]: (int(words[2]), int(words[3])) for words in said if words[0] == "settled" and len(words) == 4
    }
    begun = {words[1] for words in said if words[0] == "begun"}
    assert len(settled) > 20
    async with Database(database_url) as database:
        query = text(
            "SELECT request, prompt_tokens + completion_tokens, ticks FROM usage_ledger WHERE kind = 'settled'"
        )
        rows = await database.run(lambda s: s.execute(query).all(), write=False)
        ledger = {r: (tokens, ticks) for r, tokens, ticks in rows}
        assert len(ledger) == len(rows)  # none twice
        assert {r: ledger.get(r) for r in settled} == settled  # none that was told is missing, none is another
        # Written but killed before it could say so: only what was under way then.
        assert set(ledger) - set(settled) <= begun
        assert len(set(ledger) - set(settled)) <= 8 * SERVERS * LIVES
        assert await database.run(differences, write=False) == []
        few = await database.run(
            lambda s: s.execute(text("SELECT sum(requests) FROM usage_totals WHERE account = 'few'")).scalar(),
            write=False,
        )
        assert few == 25  # its day was reached, and not passed

        clock = Clock(time.time_ns() // 1000)
        after = quotas(database, clock)
        await after.look_after()
        clock.ticked += permits.DEAD_S
        await after.look_after()
        count = text("SELECT count(*) FROM usage_holds")
        assert await database.run(lambda s: s.execute(count).scalar(), write=False) == 0
        assert await database.run(differences, write=False) == []
        await (await after.permit(Account("u1", tier="t"), wanted())).refund("")
