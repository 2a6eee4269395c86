"""SIGKILL at any moment: what was acknowledged is there, nothing is doubled, and the rest follows (invariant 1).

`make chaos` kills 200 times; VOXPOP_KILLS says how often.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import chaos_nursery
import chaos_world
from voxpop.store import Query
from voxpop.store.local import LocalStore

KILLS = int(os.environ.get("VOXPOP_KILLS", "20"))
EVERY = 10
WHILE_OPENING = 0.25
REST = 2000
_NOTE = re.compile(rb"zq\d{8}")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


class Lives:
    """One folder, filled by one process after another."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.luck = Random(seed)
        self.truth = chaos_world.Truth()
        self.acknowledged = 0
        self._nursery = subprocess.Popen(
            [sys.executable, chaos_nursery.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def end(self) -> None:
        self._nursery.stdin.close()
        self._nursery.wait(10)
        self._nursery.stdout.close()

    def live(self, until: int, *, killed: bool) -> int:
        """One life, ended by a kill or by itself; its exit code. Now and then it is killed while it opens."""
        order = {"folder": str(self.folder), "until": until, "seed": self.luck.random()}
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        opening = killed and self.luck.random() < WHILE_OPENING
        batches = 0 if opening else self.luck.randint(1, 6)
        delay = self.luck.uniform(0, 0.12) if opening else self.luck.uniform(0, 0.03) * self.luck.random()
        pid = 0
        for said in self._said():
            if "ended" in said:
                return int(said["ended"])
            pid = said.get("pid", pid)
            self.acknowledged = said.get("acknowledged", self.acknowledged)
            batches -= "acknowledged" in said
            if killed and batches <= 0:
                killed = False
                time.sleep(delay)
                os.kill(pid, signal.SIGKILL)
        raise AssertionError("the nursery is gone")

    def _said(self) -> Iterator[dict[str, Any]]:
        for line in self._nursery.stdout:
            yield json.loads(line)

    # -- what must be true after it -------------------------------------------------------------------------

    async def look(self, *, closely: bool) -> None:
        """Open the store and compare it with what was sent until its cursor."""
        async with chaos_nursery.tiny_store(self.folder) as store:
            held = int(await store.cursor("world") or 0)
            assert held >= self.acknowledged
            self.truth.until(held)
            ids = set(self.truth.notes.values()) if closely else self.truth.touched
            found = {p.id: p for p in await store.posts(sorted(ids))}
            for id_ in ids:
                assert _told(found.get(id_)) == _told(self.truth.posts.get(id_)), (id_, held)
            assert (await store.totals())["posts"] == len(self.truth.posts)
            await self._search(store)
            assert store.rebuilt == ""
            if closely:
                assert await store.check() == []
                totals = await store.totals()
                assert totals["indexed"] == totals["posts"]

    async def _search(self, store: LocalStore) -> None:
        written = list(self.truth.notes)
        for word in [*written[-3:], *self.luck.choices(written, k=5)] if written else ():
            hits = await store.search(Query(words=(word,)), chaos_world.time_of(self.truth.seen))
            post = self.truth.posts.get(self.truth.notes[word])
            assert [h.post.id for h in hits] == ([post.id] if post and word in post.text else []), word

    def texts_in_files(self) -> set[str]:
        """Every note that can be read in any file of the folder."""
        return {
            note.decode()
            for path in self.folder.rglob("*")
            if path.is_file()
            for note in _NOTE.findall(path.read_bytes())
        }


def _told(post: Any) -> Any:
    return post and (post.text, post.created_at, post.witnessed_at, post.author.id, post.engagement)


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    lives = Lives(tmp_path / "store", seed=20261121)
    yield lives
    lives.end()


def test_killed_at_any_moment_it_loses_nothing_and_doubles_nothing(lives: Lives) -> None:
    kills = held = 0
    while kills < KILLS:
        code = lives.live(lives.truth.seen + 50_000, killed=True)
        assert code == -signal.SIGKILL
        kills += 1
        if kills % EVERY == 0 or lives.luck.random() > WHILE_OPENING:
            asyncio.run(lives.look(closely=kills % EVERY == 0))
            held += lives.truth.seen > held
    end = lives.acknowledged + REST
    assert lives.live(end, killed=False) == 0
    asyncio.run(lives.look(closely=True))
    assert lives.truth.seen == end
    assert not lives.texts_in_files() & set(lives.truth.removed_notes())
