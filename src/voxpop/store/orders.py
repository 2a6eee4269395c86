"""What the operator asks of a folder, done by whichever process writes to it: the command line beside a server.

An order is JSON: `{"do": "forget", "post": ID}`, or `"author": ID_OR_HANDLE`, or `"before": MICROSECONDS`;
`{"do": "purge"}`; `{"do": "rebuild"}`. An order that cannot be read is refused, not guessed at.
"""

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from voxpop.errors import VoxpopError
from voxpop.store.database import Database
from voxpop.store.local import LocalStore
from voxpop.store.shelves import lock
from voxpop.store.trouble import said

_PAUSE_S = 0.1


async def order(folder: Path, what: Mapping[str, Any], wait_s: float = 600.0) -> str:
    """Do it here, or have it done by the process that holds the folder; what came of it.

    Raises VoxpopError where it failed, or where nobody did it within `wait_s` seconds.
    """
    if not held(folder):
        async with LocalStore(folder) as store:
            return await store.perform(what)
    return await asyncio.to_thread(_ask, folder, what, wait_s)


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


def _ask(folder: Path, what: Mapping[str, Any], wait_s: float) -> str:
    with said(folder):
        db = Database(folder / "catalog.db")
        try:
            return _wait(db, orjson.dumps(dict(what)).decode(), time.monotonic() + wait_s)
        finally:
            db.close()


def _wait(db: Database, what: str, until: float) -> str:
    number = db.rows("INSERT INTO orders(what) VALUES (?) RETURNING id", (what,))[0][0]
    try:
        while time.monotonic() < until:
            state, word = db.rows("SELECT state, said FROM orders WHERE id = ?", (number,))[0]
            if state == "done":
                return str(word)
            if state == "failed":
                raise VoxpopError(str(word))
            time.sleep(_PAUSE_S)
        raise VoxpopError("The voxpop that holds the folder did not answer in time.", "Look at its log.")
    finally:
        db.rows("DELETE FROM orders WHERE id = ?", (number,))
