"""Measure whether the post that a question was written about is found; it judges no answer.

    python evals/recall.py --questions tweetqa_train.jsonl.gz [--among all.jsonl.zst] [--every 2] [--bare]

Each row of the questions holds `question` and `tweet` (TweetQA, Xiong et al. 2019), and `author` and `date` where
they are known. One JSON line: recall at 1 and at 10 of what an answer would be given, through the assistant's own
plan and retrieval. `--among` adds a recording's posts, `--bare` cuts the author's name and date off each tweet.
"""

import argparse
import asyncio
import gzip
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from voxpop.authorities import Authorities
from voxpop.messages import Message, Request
from voxpop.posts import Author, Event, Post, Upsert
from voxpop.retrieval import plan, retrieve
from voxpop.sources.replay import ReplaySource
from voxpop.store import Store
from voxpop.store.local import LocalStore
from voxpop.text import fingerprint
from voxpop.times import MICROS

Item = tuple[str, Post]
_SIGNED = re.compile(r"\s*[—–-]*\s*([^—–]{0,60}?)\s*\(@(\w+)\)\s+\w+ \d{1,2}, \d{4}\s*$")


def items(path: Path, bare: bool = False) -> list[Item]:
    """The questions, each with the post that it was written about."""
    rows = [orjson.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [(row["question"], _post(row, bare)) for row in rows]


def _post(row: dict[str, str], bare: bool) -> Post:
    day = datetime.strptime(row.get("date") or "2013-01-01", "%Y-%m-%d").replace(tzinfo=UTC)
    at = int(day.timestamp() * MICROS)
    handle, text, name = row.get("author") or "", row["tweet"], ""
    if bare and (signed := _SIGNED.search(text)):
        name, handle, text = signed[1], signed[2], text[: signed.start()]
    author = Author(f"tweetqa:{handle.lower()}" if handle else "", handle, name)
    return Post(f"tweetqa:{fingerprint(row['tweet']):x}", "x", author, text, at, at, lang="en")


async def recall(store: Store, asked: Sequence[Item], now: int, authorities: Authorities) -> dict[str, object]:
    """Of how many questions the post is the first, or among the first 10, that the assistant's retrieval gives.

    `now` in microseconds. A copy of the post counts as the post.
    """
    first, ten, times, cpu = 0, 0, [], time.process_time()
    for question, meant in asked:
        began = time.perf_counter()
        found = await retrieve(store, plan(Request((Message("user", question),)), now), now, authorities)
        times.append(time.perf_counter() - began)
        marks = [fingerprint(p.post.text) for p in found.passages]
        rank = marks.index(fingerprint(meant.text)) if fingerprint(meant.text) in marks else len(marks)
        first, ten = first + (rank == 0 and bool(marks)), ten + (rank < min(10, len(marks)))
    cpu = time.process_time() - cpu
    times.sort()
    return {
        "questions": len(asked),
        "recall_at_1": round(first / len(asked), 4),
        "recall_at_10": round(ten / len(asked), 4),
        "retrieval_ms_p50": round(1000 * times[len(times) // 2], 1),
        "retrieval_cpu_ms": round(1000 * cpu / len(asked), 1),
    }


async def _fill(store: LocalStore, posts: Iterable[Post], among: Path | None) -> int:
    events: list[Event] = [Upsert(post) for post in {p.id: p for p in posts}.values()]
    if among:
        events += [e async for e in ReplaySource(among).events(None) if isinstance(e, Upsert)]
    for start in range(0, len(events), 2000):
        await store.apply("recall", events[start : start + 2000])
    await store.commit()
    return len(events)


async def main(options: argparse.Namespace) -> None:
    """Fill a store, ask, print one line."""
    asked = items(options.questions, options.bare)
    with tempfile.TemporaryDirectory() as folder:
        async with LocalStore(Path(folder)) as store:
            held = await _fill(store, (post for _, post in asked), options.among)
            now = (await store.totals())["newest"]
            found = await recall(store, asked[options.start :: options.every], now, Authorities())
    print(orjson.dumps({"figure": "recall", "posts": held, "bare": options.bare, **found}).decode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True, help="rows of JSON, gzipped")
    parser.add_argument("--among", type=Path, help="a recording whose posts are searched as well")
    parser.add_argument("--every", type=int, default=1, help="ask every n-th question")
    parser.add_argument("--start", type=int, default=0, help="from this one")
    parser.add_argument("--bare", action="store_true", help="cut the author's name, handle and date off the text")
    sys.exit(asyncio.run(main(parser.parse_args())))
