"""What the operator asks of a folder, done by whichever process writes to it: the command line beside a server.

An order is JSON: `{"do": "forget", "post": ID}`, or `"author": ID_OR_HANDLE`, or `"before": MICROSECONDS`;
`{"do": "purge"}`; `{"do": "rebuild"}`. An order that cannot be read is refused, not guessed at.
"""

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from voxpop.errors import VoxpopError
from voxpop.store.database import Database
from voxpop.store.local import LocalStore
from voxpop.store.shelves import lock
from voxpop.store.trouble import said

_PAUSE_S, _SEEN_S = 0.1, 2.0
_PROGRESS = re.compile(r"(\d+)/(\d+)")


async def order(
    folder: Path,
    what: Mapping[str, Any],
    wait_s: float = 600.0,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> str:
    """Do it here, or have it done by the process that holds the folder; what came of it.

    `tell` hears of long work how many posts of how many are done. Raises VoxpopError where it failed, nobody did it
    within `wait_s` seconds, or who held the folder has ended.
    """
    if not held(folder):
        async with LocalStore(folder) as store:
            return await store.perform(what, tell)
    with said(folder):
        db = Database(folder / "catalog.db")
        try:
            return await _wait(db, orjson.dumps(dict(what)).decode(), time.monotonic() + wait_s, tell)
        finally:
            db.close()


def held(folder: Path) -> bool:
    """Whether a process writes to the folder."""
    if not (folder / "lock").exists():
        return False
    with said(folder):
        try:
            lock(folder).close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return True
    return False


async def _wait(db: Database, what: str, until: float, tell: Callable[[int, int], None]) -> str:
    number = db.rows("INSERT INTO orders(what) VALUES (?) RETURNING id", (what,))[0][0]
    seen = time.monotonic()
    try:
        while time.monotonic() < until:
            state, word = db.rows("SELECT state, said FROM orders WHERE id = ?", (number,))[0]
            if state == "done":
                return str(word)
            if state == "failed":
                raise VoxpopError(str(word))
            if progress := _PROGRESS.fullmatch(word):
                tell(int(progress[1]), int(progress[2]))
            if time.monotonic() - seen > _SEEN_S:
                seen = time.monotonic()
                if not held(db.path.parent):
                    raise VoxpopError("The voxpop that held the folder has ended.", "Try again.")
            await asyncio.sleep(_PAUSE_S)
        raise VoxpopError("The voxpop that holds the folder did not answer in time.", "Look at its log.")
    finally:
        db.rows("DELETE FROM orders WHERE id = ?", (number,))
