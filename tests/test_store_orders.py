"""Orders to whoever holds a folder: done beside each other, answered each, and refused by name."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from voxpop.errors import VoxpopError
from voxpop.posts import Author, Post, Upsert
from voxpop.store.local import LocalStore
from voxpop.store.orders import held, order

AT = 1_800_000_000_000_000


async def fill(store: LocalStore) -> None:
    await store.apply("s", [Upsert(Post(f"x:{n}", "x", Author("a:1"), f"word{n}", AT, AT)) for n in range(3)])


async def test_a_text_is_forgotten_while_an_index_is_made(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    async with LocalStore(tmp_path) as store:
        await fill(store)
        async with store._making:  # an index that takes long
            making = asyncio.create_task(order(tmp_path, {"do": "rebuild"}, 20, lambda *n: told.append(n)))
            await asyncio.sleep(1)
            assert await order(tmp_path, {"do": "forget", "post": "x:1"}, 20) == "Forgot 1 post."
            assert not making.done()
        assert "Made the index" in await making
        assert [p.id for p in await store.posts(["x:0", "x:1", "x:2"])] == ["x:0", "x:2"]
        assert told[-1:] in ([], [(2, 3)])  # two of the three that there were when it began
        assert await store.check() == []


async def test_an_order_that_is_none_is_answered(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as store:
        await fill(store)
        for what in ({"do": "dance"}, {"do": "forget"}, {"do": "forget", "post": "a", "author": "b"}):
            with pytest.raises(VoxpopError, match="no order"):
                await order(tmp_path, what, 20)


async def test_who_waits_learns_that_the_server_is_gone(tmp_path: Path) -> None:
    code = "import sqlite3, sys, time; from pathlib import Path; from voxpop.store.shelves import lock;"
    code += "held = lock(Path(sys.argv[1])); print(flush=True); time.sleep(60)"
    async with LocalStore(tmp_path) as store:
        await fill(store)
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        assert held(tmp_path)
        waiting = asyncio.create_task(order(tmp_path, {"do": "purge"}, 60))
        await asyncio.sleep(0.3)
        server.send_signal(signal.SIGKILL)
        with pytest.raises(VoxpopError, match="has ended"):
            await asyncio.wait_for(waiting, 20)
    assert not held(tmp_path)
