"""What a standing question costs: a look, and a round of 1,000 watches of which new posts touch a few."""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from statistics import median

from voxpop import app, policy
from voxpop.config import Config
from voxpop.evaluation import night
from voxpop.positions import Position
from voxpop.posts import Upsert
from voxpop.simulator.world import DECLARED, FACTS
from voxpop.store.local import LocalStore
from voxpop.watcher import Look, Watcher
from voxpop.watches import Watches

WATCHES = 1000
BATCHES = 20
CALLED = "Who won the presidential election?"


async def main() -> None:
    heard = await night.listen()
    now = heard.moment(DECLARED - 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with LocalStore(folder) as store, Watches(folder, most=2 * WATCHES) as watches:
            await store.apply("night", list(heard.between(0, now)))
            await store.commit()
            look = Look(store, app.authorities(Config(), invented=True), policy.load())
            watcher = Watcher(watches, look, clock=lambda: now)
            questions = [CALLED, *(f.question for f in FACTS)]
            for n in range(WATCHES - len(questions)):  # each asks something of its own
                questions.append(f"Is the {('bridge', 'school', 'tram', 'market')[n % 4]} of Town{n} closed?")
            for question in questions:
                held = Position("not declared") if question == CALLED else Position()
                await watches.add(question, now=now, lasts_s=86_400, url="", position=held)
            began, used = time.perf_counter(), time.process_time()
            await watcher.once()
            first_s, first_cpu_s = time.perf_counter() - began, time.process_time() - used
            looks, took = watcher.looks, watcher.took_s
            chatter = [e for e in heard.between(heard.moment(DECLARED), heard.moment(DECLARED + 600))]
            chatter = [e for e in chatter if isinstance(e, Upsert)]
            rounds, touched = [], []
            size = max(1, len(chatter) // BATCHES)
            for start in range(0, size * BATCHES, size):
                await store.apply("night", chatter[start : start + size])
                now = heard.moment(DECLARED + 600)
                began, before = time.perf_counter(), watcher.looks
                await watcher.once()
                rounds.append(time.perf_counter() - began)
                touched.append(watcher.looks - before)
    row = {
        "figure": "watches",
        "watches": WATCHES,
        "look_ms": round(1000 * took / looks, 2),
        "look_cpu_ms": round(1000 * first_cpu_s / looks, 2),
        "first_round_s": round(first_s, 2),
        "round_median_ms": round(1000 * median(rounds), 1),
        "round_worst_ms": round(1000 * max(rounds), 1),
        "looks_a_round_median": median(touched),
        "posts_a_round": size,
        "goal_round_ms": 2000,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    asyncio.run(main())
