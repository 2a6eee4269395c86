"""SIGKILL at any moment: what was acknowledged is there, nothing is doubled, and the rest follows (invariant 1)."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from voxpop.posts import Event
from voxpop.store import Applied, Query
from voxpop.store.local import LocalStore

ROWS, KILLS, BATCH = 60_000, 10, 400
WORDS = ["river", "fire", "match", "vote", "storm", "train", "court", "bridge", "signal", "harbour"]


def write_rows(path: Path) -> list[tuple[int, str, str]]:
    """(offset after the row, id, text) of each; every seventh row edits an earlier post."""
    rows, end = [], 0
    with path.open("wb") as file:
        for n in range(ROWS):
            id_ = str(n if n % 7 else n // 2)
            text = f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} note{n}"
            at = f"2026-01-{1 + n // 3600 // 24:02}T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}.000Z"
            row = {"id": id_, "platform": "x", "author": f"u{n % 500}", "created_at": at, "text": text}
            end += file.write(json.dumps(row).encode() + b"\n")
            rows.append((end, f"x:{id_}", text))
    return rows


async def check(folder: Path, rows: list[tuple[int, str, str]], acknowledged: int) -> int:
    """How many rows the store holds, after seeing that it holds these and nothing else."""
    async with LocalStore(folder) as store:
        cursor = int(await store.cursor("rows") or 0)
        assert cursor >= acknowledged
        held = next((n for n, row in enumerate(rows, 1) if row[0] == cursor), 0)
        expected = {id_: text for _, id_, text in rows[:held]}
        with closing(sqlite3.connect(folder / "posts.db")) as con:
            assert dict(con.execute("SELECT id, text FROM posts")) == expected
        totals = await store.totals()
        assert totals["posts"] == totals["indexed"] == len(expected)
        assert (await store.check(), store.rebuilt) == ([], "")
        if held:
            (hit,) = await store.search(Query(words=(f"note{held - 1}",)), 0)
            assert hit.post.text == rows[held - 1][2]
        return held


def ingest_until_killed(folder: Path, path: Path, luck: random.Random | None) -> int:
    """The last cursor that the child acknowledged before it was killed, or ended where `luck` is None."""
    command = [sys.executable, __file__, str(folder), str(path)]
    last, seen = 0, 0
    stop_after = luck.randint(0, 2 * ROWS // BATCH // KILLS - 3) if luck else -1
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            last, seen = int(line), seen + 1
            if luck and seen > stop_after:
                time.sleep(luck.uniform(0, 0.03))
                os.kill(child.pid, signal.SIGKILL)
                break
        for line in child.stdout:
            last = int(line) if line.endswith("\n") else last
    assert child.returncode == (-signal.SIGKILL if luck else 0)
    return last


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_at_any_moment_it_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    luck = random.Random(20261121)
    path, folder = tmp_path / "rows.jsonl", tmp_path / "store"
    rows = write_rows(path)
    held = []
    for _ in range(KILLS):
        acknowledged = ingest_until_killed(folder, path, luck)
        held.append(asyncio.run(check(folder, rows, acknowledged)))
    assert held == sorted(held)
    assert len(set(held)) > KILLS // 2
    assert held[-1] < ROWS
    assert ingest_until_killed(folder, path, None) == rows[-1][0]
    assert asyncio.run(check(folder, rows, rows[-1][0])) == ROWS


async def child(folder: Path, path: Path) -> None:
    from voxpop import ingest
    from voxpop.sources.replay import ReplaySource

    ingest.BATCH = BATCH

    class Telling(LocalStore):
        async def apply(self, source: str, events: Sequence[Event]) -> Applied:
            applied = await super().apply(source, events)
            print(events[-1].cursor, flush=True)
            return applied

    source = ReplaySource(path, name="rows")
    async with Telling(folder, commit_s=0.02) as store:
        await ingest.ingest(source, store, ingest.Progress("rows", "x", False))


if __name__ == "__main__":
    asyncio.run(child(Path(sys.argv[1]), Path(sys.argv[2])))
