"""Two hundred streams at once on a real server with accounts, tiers and a ledger: what our own layers cost.

python benchmarks/streams.py [--seconds 300] [--streams 200] [--rate ANSWERS_A_SECOND]

Each stream asks the page's endpoint (engine `quote`, the invented night) over a connection of its own, reads to the
end, thinks for a time with an exponential distribution, and asks again. Four parts:

- `saturation`, 20 s: all streams at once, none thinks;
- `paced`, `--seconds`: together at `--rate`, by default at half of what saturation gave;
- `alone` and `beside a noisy one`, a quarter of `--seconds` each, in turn, twice: in the second another
  account asks twenty times as often as each of these; its tier holds it at about twice their rate.

`overhead` of an answer is the time from before the connection is made to the stream's last byte, less the answer's
own `total_ms`: HTTP, the key, the permit, the settlement, every wait for the event loop, the client's own share.
`admit` is the time until the response's head is there, in which the answer begins. `idle` is a request beside
them that asks nothing (`/healthz`): what the loop and the processor make any request wait. `client_lag` is how late
the client's own loop wakes. `cpu_ms` is the server's processor time an answer, the answer's own work included. At
the end the ledger is held against the sum of the answers.
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
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from voxpop.accounts import keys, people
from voxpop.accounts.audit import By
from voxpop.records import Database

ACCOUNTS = 20
_LOUD = 32  # streams of the noisy account
_TICKS = os.sysconf("SC_CLK_TCK")
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
requests_per_second = 1000
tokens_per_minute = 100000000
concurrent = {streams}
[tier.team.buckets.other]
[tier.loud.buckets.chat]
requests_per_second = {loud}
tokens_per_minute = 100000000
concurrent = {streams}
[tier.loud.buckets.other]
"""


@dataclass
class Server:
    """A server under measurement, and the keys of its accounts."""

    port: int
    pid: int
    keys: list[str]
    tiers: Path
    streams: int

    def cpu_s(self) -> float:
        """Processor time of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def hold(self, rate: float) -> None:
        """Give the noisy account's tier about this many requests a second."""
        self.tiers.write_text(TIERS.format(streams=self.streams, loud=max(1, round(rate))))
        time.sleep(2)  # the file is read again within a second


@dataclass
class Seen:
    """What was measured of one part."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    answers: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    cpu_s: float = 0

    def __add__(self, other: "Seen") -> "Seen":
        both = Seen(seconds=self.seconds + other.seconds, cpu_s=self.cpu_s + other.cpu_s)
        for one in (self, other):
            for name, values in one.times.items():
                both.times[name] += values
            for name in ("answers", "tokens", "limited", "errors"):
                getattr(both, name).update(getattr(one, name))
        return both

    def row(self, name: str) -> dict[str, Any]:
        answers = sum(self.answers.values())
        percentiles = {
            f"{kind}_p{p}_ms": share(self.times[kind], p)
            for kind in ("overhead", "admit", "idle", "answer", "client_lag")
            for p in (50, 99)
        }
        return {
            "figure": name,
            "answers": answers,
            "answers_per_s": round(answers / self.seconds, 1),
            "limited": sum(self.limited.values()),
            "errors": dict(self.errors),
            **{kind: ms for kind, ms in percentiles.items() if ms is not None},
            "cpu_ms": round(self.cpu_s * 1000 / max(1, answers), 1),
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
    began = time.perf_counter()
    status, said, admit_ms = await exchange(port, head.encode() + body)
    took_ms = (time.perf_counter() - began) * 1000
    done = re.search(rb"event: done\ndata: (.*)\n", said)
    if status == "429":
        seen.limited[key] += 1
    elif status != "200" or not done:
        seen.errors[status if status != "200" else "broken"] += 1
    else:
        told = json.loads(done[1])
        seen.answers[key] += 1
        seen.tokens[key] += sum(told["usage"][k] for k in ("prompt_tokens", "completion_tokens"))
        overhead_ms = took_ms - told["timings"]["total_ms"]
        seen.times["answer"].append(took_ms)
        seen.times["overhead"].append(overhead_ms)
        seen.times["admit"].append(admit_ms)


async def exchange(port: int, sent: bytes) -> tuple[str, bytes, float]:
    """The status, what follows the head, and how many milliseconds passed before the head was there."""
    began = time.perf_counter()
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            head_ms = (time.perf_counter() - began) * 1000
            return head[9:12].decode(), await reader.read(-1), head_ms
        finally:
            writer.close()


async def part(
    server: Server, streams: int, seconds: float, rate: float = 0, noisy: float = 0
) -> tuple[Seen, Seen]:
    """What the others saw, and what the noisy account that asks `noisy` times a second did."""
    seen, loud, cpu_s = Seen(seconds=seconds), Seen(seconds=seconds), server.cpu_s()
    end = time.monotonic() + seconds

    async def stream(n: int, key: str, pause: float, mine: Seen) -> None:
        dice = random.Random(f"{n} {key}")
        await asyncio.sleep(min(dice.random() * pause, seconds))
        while time.monotonic() < end:
            try:
                await ask(server.port, key, dice.choice(QUESTIONS), mine)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                mine.errors[type(error).__name__] += 1
            thought = dice.expovariate(1 / pause) if pause else 0
            await asyncio.sleep(min(thought, max(0, end - time.monotonic())))

    async def idle() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.05)
            seen.times["client_lag"].append((time.perf_counter() - began - 0.05) * 1000)
            sent = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            seen.times["idle"].append((await exchange(server.port, sent))[2])

    watching = asyncio.create_task(idle())
    others = [stream(n, server.keys[1 + n % ACCOUNTS], streams / rate if rate else 0, seen) for n in range(streams)]
    shouting = [stream(n, server.keys[0], _LOUD / noisy, loud) for n in range(_LOUD if noisy else 0)]
    await asyncio.gather(*others, *shouting)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    seen.cpu_s = server.cpu_s() - cpu_s
    return seen, loud


def prepare(folder: Path) -> list[str]:
    """Accounts with a key each, the noisy one first."""

    def make(session: Session, n: int) -> str:
        by = By("benchmark", time.time_ns() // 1000)
        user = people.add_user(session, by, people.Wish(name=f"user{n}", tier="" if n else "loud"))
        return keys.create(session, by, user, "key", keys.Scopes())[1]

    async def all_of_them() -> list[str]:
        async with Database.beside(folder) as database:
            return [await database.run(partial(make, n=n)) for n in range(ACCOUNTS + 1)]

    return asyncio.run(all_of_them())


def ledger(folder: Path) -> tuple[int, int]:
    """(answers, tokens) that the ledger holds."""
    import sqlite3

    with sqlite3.connect(folder / "accounts.db") as con:
        return con.execute(
            "SELECT SUM(answers), SUM(prompt_tokens + completion_tokens) FROM usage_ledger"
        ).fetchone()


@contextmanager
def serving(folder: Path, streams: int) -> Iterator[Server]:
    """A server process, drained at the end."""
    tiers, log = folder / "tiers.toml", folder / "log"
    tiers.write_text(TIERS.format(streams=streams, loud=1))
    settings = {"VOXPOP_ACCOUNTS_TIERS": str(tiers), "VOXPOP_SERVER_STREAMS": str(2 * streams)}
    settings |= {"VOXPOP_SERVER_GRPC_PORT": "0"}
    held = prepare(folder)
    command = [sys.executable, "-u", "-m", "voxpop.cli", "up", "--source", "simulated", "--engine", "quote"]
    with log.open("wb") as file:
        command += ["--port", "0", "--data", str(folder)]
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | settings)
    try:
        while not (said := re.search(r"open http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        time.sleep(5)  # the invented night has been said by then
        yield Server(int(said[1]), process.pid, held, tiers, streams)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        print(log.read_text()[-500:], file=sys.stderr)


def main(seconds: float, streams: int, rate: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, parts = Path(name), []

        def shown(figure: str, seen: Seen) -> Seen:
            print(json.dumps(seen.row(figure)), flush=True)
            parts.append(seen)
            return seen

        with serving(folder, streams) as server:
            full = shown("saturation", asyncio.run(part(server, streams, min(20, seconds)))[0])
            rate = rate or sum(full.answers.values()) / full.seconds / 2
            shown("paced", asyncio.run(part(server, streams, seconds, rate))[0])
            noisy = 20 * rate / ACCOUNTS
            server.hold(2 * rate / ACCOUNTS)
            alone, beside, loud = Seen(), Seen(), Seen()
            for _ in range(2):
                alone += asyncio.run(part(server, streams, seconds / 4, rate))[0]
                seen, heard = asyncio.run(part(server, streams, seconds / 4, rate, noisy))
                beside, loud = beside + seen, loud + heard
            for figure, seen in (("alone", alone), ("beside a noisy one", beside), ("the noisy one", loud)):
                shown(figure, seen)
        answers = sum(sum(p.answers.values()) for p in parts)
        tokens = sum(sum(p.tokens.values()) for p in parts)
        held = ledger(folder)
        equal = tuple(held) == (answers, tokens)
        print(json.dumps({"figure": "ledger", "answers": answers, "tokens": tokens, "held": held, "equal": equal}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0)
    main(**vars(parser.parse_args()))
