"""A user who is removed leaves nothing but lines of the ledger and of the audit log, whoever removes them."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Program, voxpop
from test_isolation import (
    ASKED,
    ITEM,
    MARK,
    a_batch,
    a_deferred,
    a_file,
    a_key,
    a_response,
    a_stream,
    a_watch,
    an_answer,
    settle,
)

STAY = {"usage_ledger", "audit_log"}


@pytest.fixture
async def place(tmp_path: Path) -> Any:
    """A running server with users, by its address, and their keys."""
    data = tmp_path / "data"
    data.mkdir()
    good, _ = await settle(data)
    program = Program(
        tmp_path / "log", "up", "--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(data),
        VOXPOP_SERVER_GRPC="off",
    )  # fmt: skip
    try:
        url = program.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        with client(url, good["admin"]) as admin:
            end = time.monotonic() + 20
            while not admin.get("/api/status").json()["posts"] and time.monotonic() < end:
                time.sleep(0.1)
        yield url, good, data
    finally:
        program.stop()


def client(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=30)


def live(asked: httpx.Client) -> None:
    """Have one of everything that an account can have."""
    for make in (a_key, an_answer, a_watch, a_stream, a_deferred, a_file, a_batch, a_response):
        make(asked)
    asked.post("/v1/chat/completions", json=ASKED, headers={"idempotency-key": "once"}).raise_for_status()
    asked.post("/v1/responses/compact", json=ITEM)


def tables(path: Path, id_: str) -> dict[str, int]:
    """How many rows of each table of a database know an id, in any column."""
    found = {}
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as con:
        for (table,) in con.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            rows = con.execute(f"SELECT * FROM {table}").fetchall()
            if count := sum(any(id_ in str(value) for value in row) for row in rows):
                found[table] = count
    return found


def files(data: Path, *texts: bytes) -> Iterator[str]:
    """The files other than the records in which any of the texts stands; logs of SQLite are read too.

    A running index makes and drops files of its own: one that goes while we look holds nothing any more.
    """
    for folder, _, names in os.walk(data):
        for name in sorted(n for n in names if not n.startswith("accounts.db")):
            with suppress(FileNotFoundError):
                held = Path(folder, name).read_bytes()
                if any(text in held for text in texts):
                    yield str(Path(folder, name).relative_to(data))


@pytest.mark.parametrize("way", ["http", "command"])
async def test_only_the_ledger_and_the_log_know_who_was_removed(place: Any, way: str) -> None:
    url, good, data = place
    with client(url, good["admin"]) as admin, client(url, good["ada"]) as ada, client(url, good["bob"]) as bob:
        ids = {u["name"]: u["id"] for u in admin.get("/v1/admin/users").json()["data"]}
        live(ada)
        live(bob)
        end = time.monotonic() + 10  # kept beside the answers
        while not list(files(data, ids["ada"].encode())) and time.monotonic() < end:
            time.sleep(0.05)
        before = tables(data / "accounts.db", ids["ada"])
        stored = {"api_keys", "exchanges", "deferred", "files", "batches", "repeats", "usage_totals"}
        assert stored | STAY <= before.keys(), "the test made too little to be removed"
        assert len(list((data / "files").iterdir())) == 2
        kept = [len(bob.get(path).json()["data"]) for path in ("/v1/files", "/v1/answers", "/v1/watches")]
        if way == "http":
            admin.delete(f"/v1/admin/users/{ids['ada']}").raise_for_status()
        else:
            done = voxpop("users", "remove", "ada", "--yes", "--data", str(data))
            assert done.returncode == 0, done.stderr
        assert tables(data / "accounts.db", ids["ada"]).keys() == STAY
        assert list(files(data, ids["ada"].encode())) == []
        assert len(list((data / "files").iterdir())) == 1
        end = time.monotonic() + 1.5
        while ada.get("/v1/models").status_code != 401 and time.monotonic() < end:
            time.sleep(0.05)
        assert ada.get("/v1/models").status_code == 401
        assert [len(bob.get(path).json()["data"]) for path in ("/v1/files", "/v1/answers", "/v1/watches")] == kept
        assert MARK in bob.get("/v1/files").text
