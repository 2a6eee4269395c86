"""One folder, filled by one process after another, each of which may be killed; what must be true after each."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Self

import chaos_nursery
import chaos_world
from voxpop.store import Query
from voxpop.store.local import LocalStore

KILLS = int(os.environ.get("VOXPOP_KILLS", "20"))
WHILE_OPENING = 0.25
_NOTE = re.compile(rb"zq\d{8}")


class Lives:
    """Orders for a nursery, as a context manager; `acknowledged` and `failures` are what its processes said."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.luck = Random(seed)
        self.truth = chaos_world.Truth()
        self.acknowledged = 0
        self.failures: list[dict[str, Any]] = []
        self.rebuilt: list[str] = []

    def __enter__(self) -> Self:
        command = [sys.executable, chaos_nursery.__file__]
        self._nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._nursery.stdin.close()
        self._nursery.wait(10)
        self._nursery.stdout.close()

    def live(self, *, killed: bool, at_s: float = 0.0, **order: Any) -> int:
        """One life, ended by a kill or by itself; its exit code. Now and then it is killed while it opens.

        With `at_s` it is killed that many seconds after its birth, whatever it has done.
        """
        order |= {"folder": str(self.folder), "seed": self.luck.random()}
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        opening = killed and (at_s > 0 or self.luck.random() < WHILE_OPENING)
        batches = 0 if opening else self.luck.randint(1, 6)
        delay = self.luck.uniform(0, 0.12) if opening else self.luck.uniform(0, 0.03) * self.luck.random()
        delay = at_s or delay
        pid = 0
        for said in map(json.loads, self._nursery.stdout):
            if "ended" in said:
                return int(said["ended"])
            pid = said.get("pid", pid)
            self.acknowledged = max(self.acknowledged, said.get("acknowledged", 0))
            self.failures += [said] if "failed" in said else []
            self.note(said.get("rebuilt", ""))
            batches -= "acknowledged" in said
            if killed and batches <= 0:
                killed = False
                time.sleep(delay)
                with suppress(ProcessLookupError):  # it ended by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
        raise AssertionError("the nursery is gone")

    def note(self, rebuilt: str) -> None:
        """A kill may leave an index that cannot be read, now and then; never one that lacks or doubles posts."""
        self.rebuilt += [rebuilt] if rebuilt else []
        assert "could not be read" in rebuilt or not rebuilt, rebuilt
        assert len(self.rebuilt) <= 1 + KILLS // 100, self.rebuilt

    async def look(self, *, closely: bool) -> None:
        """Open the store and compare it with what the script says until its cursor."""
        async with chaos_nursery.tiny_store(self.folder) as store:
            held = int(await store.cursor("world") or 0)
            assert held >= self.acknowledged
            self.truth.until(held)
            ids = set(self.truth.notes.values()) if closely else self.truth.touched
            found = {p.id: p for p in await store.posts(sorted(ids))}
            for id_ in ids:
                assert told(found.get(id_)) == told(self.truth.posts.get(id_)), (id_, held)
            assert (await store.totals())["posts"] == len(self.truth.posts)
            await self._search(store)
            self.note(store.rebuilt)
            await agree(store, closely=closely)

    async def _search(self, store: LocalStore) -> None:
        written = list(self.truth.notes)
        for word in [*written[-3:], *self.luck.choices(written, k=5)] if written else ():
            hits = await store.search(Query(words=(word,)), chaos_world.time_of(self.truth.seen))
            post = self.truth.posts.get(self.truth.notes[word])
            assert [h.post.id for h in hits] == ([post.id] if post and word in post.text else []), word

    def readable_but_removed(self) -> Iterator[str]:
        """Words of removed texts that can be read in a file of the folder."""
        removed = set(self.truth.removed_notes())
        for path in self.folder.rglob("*"):
            for note in set(_NOTE.findall(path.read_bytes())) if path.is_file() else ():
                if note.decode() in removed:
                    yield f"{note.decode()} in {path.relative_to(self.folder)}"


def told(post: Any) -> Any:
    """What of a post must be as it was sent."""
    return post and (post.text, post.created_at, post.witnessed_at, post.author.id, post.engagement)


async def agree(store: LocalStore, *, closely: bool) -> None:
    """Index and truth hold the same."""
    if closely:
        assert await store.check() == []
        totals = await store.totals()
        assert totals["indexed"] == totals["posts"]
