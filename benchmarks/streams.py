"""Two hundred streams at once on a real server with accounts, tiers and a ledger: what our own layers cost.

python benchmarks/streams.py [--seconds 300] [--streams 200] [--rate ANSWERS_A_SECOND]

Each of the streams asks the page's endpoint (engine `quote`, the invented night), reads to the end, thinks for a
time with an exponential distribution, and asks again, together at `rate`; without a rate it is half
of what was measured at saturation. Our own overhead of an answer is the time from the request's first byte sent to
the stream's last byte read, less the answer's own `total_ms`: HTTP, the key, the permit, the ledger's settlement,
the loop's queue and the client's own. In the second part one account asks ten times as often as the others. At the
end the ledger is held against the sum of the answers.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from voxpop.accounts import keys, people
from voxpop.accounts.audit import By
from voxpop.records import Database

ACCOUNTS = 20
QUESTIONS = (
    "Did a ballot box burn in Dornick?",
    "What do the exit polls say?",
    "Who won the election?",
    "What are people saying about the bridge?",
)
TIERS = """
default = "team"
[tier.team]
title = "Team"
[tier.team.buckets.chat]
requests_per_second = {each}
tokens_per_minute = 100000000
concurrent = {concurrent}
[tier.team.buckets.other]
"""


@dataclass
class Seen:
    """What was measured of one part."""

    overhead_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lag_ms: list[float] = field(default_factory=list)

    def row(self, name: str, seconds: float) -> dict[str, Any]:
        return {
            "figure": name,
            "answers": sum(self.answers.values()),
            "answers_per_s": round(sum(self.answers.values()) / seconds, 1),
            "limited": sum(self.limited.values()),
            "errors": dict(self.errors),
            **{f"overhead_p{p}_ms": share(self.overhead_ms, p) for p in (50, 99)},
            **{f"answer_p{p}_ms": share(self.total_ms, p) for p in (50, 99)},
            "client_lag_p99_ms": share(self.lag_ms, 99),
            "load_average": round(os.getloadavg()[0], 1),
        }


def share(values: list[float], p: int) -> float | None:
    """The value under which `p` in a hundred lie."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 1) if ordered else None


async def ask(port: int, key: str, question: str, seen: Seen) -> None:
    """One answer over a connection of its own."""
    body = json.dumps({"messages": [{"role": "user", "content": question}]}).encode()
    head = f"POST /api/answer HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        began = time.perf_counter()
        writer.write(head.encode() + body)
        async with asyncio.timeout(60):
            said = await reader.read(-1)
        took_ms = (time.perf_counter() - began) * 1000
    finally:
        writer.close()
    status = said[9:12].decode()
    done = re.search(rb"event: done\ndata: (.*)\n", said)
    if status == "429":
        seen.limited[key] += 1
    elif status != "200" or not done:
        seen.errors[status if status != "200" else "broken"] += 1
    else:
        told = json.loads(done[1])
        seen.answers[key] += 1
        seen.tokens[key] += sum(told["usage"][k] for k in ("prompt_tokens", "completion_tokens"))
        seen.total_ms.append(took_ms)
        seen.overhead_ms.append(took_ms - told["timings"]["total_ms"])


async def part(port: int, keys: list[str], streams: int, seconds: float, pause_s: float, noisy: str = "") -> Seen:
    """So many streams for so long; a `noisy` account's think a tenth as long, and their times are left out."""
    seen, loud = Seen(), Seen()
    end = time.monotonic() + seconds

    async def stream(n: int) -> None:
        key, dice = keys[n % len(keys)], random.Random(n)
        pause = pause_s / 10 if key == noisy else pause_s
        await asyncio.sleep(min(dice.random() * pause, seconds))
        while time.monotonic() < end:
            with_whom = loud if key == noisy else seen
            try:
                await ask(port, key, dice.choice(QUESTIONS), with_whom)
            except (OSError, TimeoutError) as error:
                with_whom.errors[type(error).__name__] += 1
            thought = dice.expovariate(1 / pause) if pause else 0
            await asyncio.sleep(min(thought, max(0, end - time.monotonic())))

    async def lag() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.05)
            seen.lag_ms.append((time.perf_counter() - began - 0.05) * 1000)

    watching = asyncio.create_task(lag())
    await asyncio.gather(*(stream(n) for n in range(streams)))
    watching.cancel()
    for name in ("answers", "tokens", "limited", "errors"):
        getattr(seen, name).update(getattr(loud, name))
    return seen


def prepare(folder: Path, each: int, concurrent: int) -> tuple[list[str], Path]:
    """Accounts with a key each, and their tier."""
    tiers = folder / "tiers.toml"
    tiers.write_text(TIERS.format(each=each, concurrent=concurrent))

    def make(session: Session, n: int) -> str:
        by = By("benchmark", time.time_ns() // 1000)
        user = people.add_user(session, by, people.Wish(name=f"user{n}"))
        return keys.create(session, by, user, "key", keys.Scopes())[1]

    async def all_of_them() -> list[str]:
        async with Database.beside(folder) as database:
            return [await database.run(partial(make, n=n)) for n in range(ACCOUNTS)]

    return asyncio.run(all_of_them()), tiers


def ledger(folder: Path) -> tuple[int, int]:
    """(answers, tokens) that the ledger holds."""
    import sqlite3

    with sqlite3.connect(folder / "accounts.db") as con:
        return con.execute(
            "SELECT SUM(answers), SUM(prompt_tokens + completion_tokens) FROM usage_ledger"
        ).fetchone()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held_keys, tiers = prepare(folder, 1000, given.streams)
        settings = {"VOXPOP_ACCOUNTS_TIERS": str(tiers), "VOXPOP_SERVER_STREAMS": str(2 * given.streams)}
        command = [sys.executable, "-u", "-m", "voxpop.cli", "up", "--source", "simulated", "--engine", "quote"]
        log = folder / "log"
        with log.open("wb") as file:
            server = subprocess.Popen(
                [*command, "--port", "0", "--data", str(folder)],
                stdout=file,
                stderr=file,
                env=os.environ | settings,
            )
        try:
            while not (said := re.search(r"open http://127\.0\.0\.1:(\d+)", log.read_text())):
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            port = int(said[1])
            time.sleep(5)  # the invented night has been said by then
            parts = [asyncio.run(part(port, held_keys, 16, min(15, given.seconds), 0))]
            full = sum(parts[0].answers.values()) / min(15, given.seconds)
            print(json.dumps(parts[0].row("saturation", min(15, given.seconds))), flush=True)
            pause = given.streams / (given.rate or full / 2)
            for figure, noisy in (("paced", ""), ("beside a noisy one", held_keys[0])):
                parts.append(asyncio.run(part(port, held_keys, given.streams, given.seconds, pause, noisy)))
                print(json.dumps(parts[-1].row(figure, given.seconds)), flush=True)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        answers = sum(sum(p.answers.values()) for p in parts)
        tokens = sum(sum(p.tokens.values()) for p in parts)
        held = ledger(folder)
        print(json.dumps({"figure": "ledger", "answers": answers, "tokens": tokens, "held": held}))
        print(json.dumps({"equal": tuple(held) == (answers, tokens), "log": log.read_text()[-500:]}))


if __name__ == "__main__":
    main()
