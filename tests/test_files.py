"""Files and batches on a real server: OpenAI's and xAI's shapes, bounds, whose they are, a kill, deleted posts."""

import asyncio
import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Running, Script
from test_api_http import EVENTS, HELLO, POST, Serve, client
from test_api_resume import Gate, Posts, Slow, held, program
from voxpop.accounts import Account, Denied, Limited
from voxpop.api.http import application
from voxpop.api.storing import storing
from voxpop.batches import Wish
from voxpop.batches.store import Batches
from voxpop.batches.work import lines, wish
from voxpop.config import Config, Files, Storage
from voxpop.desk import Desk
from voxpop.documents import cut, ranked
from voxpop.errors import UsageError
from voxpop.files import File
from voxpop.files import Files as Stored
from voxpop.parting import forget
from voxpop.places import Places
from voxpop.records import Database

Keeping = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def keeping(served: Serve, tmp_path: Path) -> Keeping:
    """A server with files and batches; gives a client of `ada`."""

    @asynccontextmanager
    async def serve(script: Any = None, posts: Any = None, **kept: int) -> AsyncIterator[httpx.AsyncClient]:
        config = Config(storage=Storage(data=str(tmp_path)), files=Files(**kept))
        script, posts = script or Script(EVENTS), posts or Posts(POST)

        async with (
            Database.beside(tmp_path) as database,
            storing(config, database, posts, lambda: time.time_ns() // 1000) as stored,
            served(Running(script), desk=Desk(script, Gate()), more=stored.routes(Places(8)), posts=posts) as url,
            client(url, headers={"authorization": "Bearer ada"}) as http,
        ):
            yield http

    return serve


async def upload(http: httpx.AsyncClient, content: bytes, name: str = "notes.txt", **fields: str) -> httpx.Response:
    return await http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "user_data"} | fields)


async def test_a_file_comes_back_as_it_went(keeping: Keeping, tmp_path: Path) -> None:
    async with keeping() as http:
        text = "Bridges.\n" * 200_000  # beyond what lies in memory
        file = (await upload(http, text.encode(), "brücken.txt")).json()
        assert (file["object"], file["bytes"], file["filename"]) == ("file", len(text), "brücken.txt")
        assert (await http.get(f"/v1/files/{file['id']}")).json() == file
        content = await http.get(f"/v1/files/{file['id']}/content")
        assert content.text == text
        assert content.headers["content-disposition"] == "attachment; filename*=UTF-8''br%C3%BCcken.txt"
        held = tmp_path / "files" / file["id"]
        assert stat.S_IMODE(held.stat().st_mode) == 0o600
        assert stat.S_IMODE(held.parent.stat().st_mode) == 0o700
        for way in (http.get, http.delete):
            for path in ("", "/content")[: 2 if way is http.get else 1]:
                other = await way(f"/v1/files/{file['id']}{path}", headers={"authorization": "Bearer bob"})
                assert other.status_code == 404
        narrow = await http.get("/v1/files", headers={"authorization": "Bearer ada-narrow"})
        assert narrow.status_code == 403
        assert (await http.delete(f"/v1/files/{file['id']}")).json()["deleted"] is True
        assert (await http.get(f"/v1/files/{file['id']}")).status_code == 404
        assert list(held.parent.iterdir()) == []


async def test_files_are_listed_page_by_page(keeping: Keeping) -> None:
    async with keeping() as http:
        made = [(await upload(http, b"x" * (n + 1), f"{n}.txt")).json()["id"] for n in range(5)]
        for query in (
            {"order": "asc"},
            {"order": "desc"},
            {"sort_by": "size"},
            {"sort_by": "filename", "order": "asc"},
        ):
            seen: list[str] = []
            more: dict[str, str] = {}
            while True:
                page = (await http.get("/v1/files", params={"limit": "2", **query, **more})).json()
                seen += [f["id"] for f in page["data"]]
                if not page["has_more"]:
                    break
                more = {"after": page["last_id"]}
            assert sorted(seen) == sorted(made)
            if "sort_by" in query:
                assert seen == (made if query.get("order") == "asc" else made[::-1])
        assert (await http.get("/v1/files", headers={"authorization": "Bearer bob"})).json()["data"] == []
        for bad in ({"limit": "0"}, {"limit": "x"}, {"order": "up"}, {"sort_by": "owner"}, {"after": "file-x"}):
            assert (await http.get("/v1/files", params=bad)).status_code in (400, 404)


async def test_what_is_no_text_or_too_much_is_refused_and_leaves_nothing(keeping: Keeping, tmp_path: Path) -> None:
    async with keeping(each_mb=1, account_mb=2) as http:
        for content, status, code in (
            (b"\x89PNG\r\n\x1a\n\x00", 400, "unsupported"),
            (b"caf\xe9", 400, "unsupported"),
            ("é".encode()[:1], 400, "unsupported"),
            (b"", 400, "bad_usage"),
            (b"x" * ((1 << 20) + 1), 413, "too_large"),
            (b"x" * (3 << 20), 413, "too_large"),
        ):
            refused = await upload(http, content)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
        for name, fields in (
            ("", {}),
            ("a" * 256, {}),
            ("a", {"purpose": "vision"}),
            ("a", {"expires_after[seconds]": "5"}),
        ):
            assert (await upload(http, b"x", name, **fields)).status_code == 400
        assert (await http.post("/v1/files", json={})).status_code == 415
        assert list((tmp_path / "files").iterdir()) == []
        for status in (200, 200, 413):
            assert (await upload(http, b"x" * (1 << 20))).status_code == status
        assert len(list((tmp_path / "files").iterdir())) == 2


async def test_forms_of_strangers_are_refused_in_words(keeping: Keeping) -> None:
    head = {"content-type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    many = b"".join(part % (b"f%d" % n, b"", b"x") for n in range(100))
    async with keeping() as http:
        for body, headers in (
            (b"", head),
            (b"--b\r\n", head),
            (b"junk", head),
            (part % (b"file", b"", b"no filename") + b"--b--\r\n", head),
            (many + b"--b--\r\n", head),
            (part % (b"x", b"", b"y" * 10_000) + b"--b--\r\n", head),
            (b"x", {"content-type": "multipart/form-data"}),
            (b"x", {"content-type": "multipart/form-data; boundary="}),
        ):
            answer = await http.post("/v1/files", content=body, headers=headers)
            assert 400 <= answer.status_code < 500, (body[:60], answer.text)
            assert answer.json()["error"]["cure"]


async def test_files_that_are_over_are_gone(tmp_path: Path) -> None:
    now = [time.time_ns() // 1000]

    async def said() -> AsyncIterator[bytes]:
        yield b"hello"

    async with Database.beside(tmp_path) as database, Stored(database, tmp_path / "f", lambda: now[0]) as files:
        file = await files.put("ada", "a.txt", "user_data", said(), 3600)
        stays = await files.put("ada", "b.txt", "user_data", said())
        stray = tmp_path / "f" / "file-stray"
        stray.write_bytes(b"x")
        now[0] += 3601 * 1_000_000
        with pytest.raises(UsageError, match="no file"):
            await files.get("ada", file.id)
        assert [f.id for f in (await files.list("ada"))[0]] == [stays.id]
        old = time.time() - 7200
        for path in (stray, tmp_path / "f" / file.id):
            os.utime(path, (old, old))
        await files.drop()
        assert [p.name for p in (tmp_path / "f").iterdir()] == [stays.id]
        assert await files.text_of("ada", stays.id) == "hello"


async def test_a_search_finds_the_passage(keeping: Keeping) -> None:
    async with keeping() as http:
        filler = "The weather was mild and nobody came. " * 100
        one = (
            await upload(http, f"{filler}\nThe bridge at Dornick was closed by the flood.\n{filler}".encode())
        ).json()
        await upload(http, filler.encode())
        found = (await http.post("/v1/documents/search", json={"query": "Dornick bridge", "limit": 3})).json()[
            "matches"
        ]
        assert len(found) == 1
        assert "bridge at Dornick" in found[0]["chunk_content"]
        assert found[0]["file_id"] == one["id"]
        theirs = {"headers": {"authorization": "Bearer bob"}}
        assert (await http.post("/v1/documents/search", json={"query": "bridge"}, **theirs)).json() == {
            "matches": []
        }
        named = {"query": "bridge", "source": {"file_ids": [one["id"]]}}
        assert (await http.post("/v1/documents/search", json=named, **theirs)).status_code == 404
        for bad in (
            {},
            {"query": ""},
            {"query": "x", "limit": 0},
            {"query": "x", "source": {"collection_ids": ["c"]}},
        ):
            assert (await http.post("/v1/documents/search", json=bad)).status_code == 400


@given(st.text(max_size=5000))
@settings(max_examples=60, deadline=None)
def test_pieces_are_the_whole_text(text: str) -> None:
    assert "".join("".join(cut(text)).split()) == "".join(text.split())
    ranked("a b", [(File("f", "n", "user_data", 1, 0), text)], 3)


async def test_a_removed_account_leaves_nothing_behind(tmp_path: Path) -> None:
    async def said() -> AsyncIterator[bytes]:
        yield b"hello"

    async with Database.beside(tmp_path) as database, Stored(database, tmp_path / "f", lambda: 10**15) as files:
        batches = Batches(database, Posts(), lambda: 10**15)
        for owner in ("ada", "bob"):
            await files.put(owner, "a.txt", "user_data", said())
            made = await batches.create(Account(owner), name="b")
            await batches.add(made, [Wish("r1", "/v1/chat/completions", b"{}")])
        await database.run(lambda s: forget(s, "ada"))
        for owner, left in (("ada", 0), ("bob", 1)):
            assert len((await files.list(owner))[0]) == len((await batches.of(owner))[0]) == left
        assert [b.total for b in await batches.open_ones()] == [1]


# Batches


def line(n: int, text: str = "Hello", **more: Any) -> bytes:
    body = {"model": "voxpop", "messages": [{"role": "user", "content": text}]}
    said = {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} | more
    return orjson.dumps(said) + b"\n"


@asynccontextmanager
async def batching(
    tmp_path: Path, script: Any, posts: Any, desk: Desk | None = None, denied: bool = False
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `ada` at an application that works through its batches."""

    async def still(account: Account) -> Account:
        if denied:
            raise Denied("The key is revoked.", "Ask for another.", code="invalid_api_key")
        return account

    config = Config(storage=Storage(data=str(tmp_path)))
    async with (
        Database.beside(tmp_path) as database,
        storing(config, database, posts, lambda: time.time_ns() // 1000, still) as stored,
    ):
        app = application(
            Running(script), desk=desk or Desk(script, Gate()), more=stored.routes(Places(8)), posts=posts
        )
        task = asyncio.create_task(stored.run(app))
        ada = {"authorization": "Bearer ada"}
        through = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=through, base_url="http://localhost", headers=ada) as http:
            yield http
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def make(http: httpx.AsyncClient, *rows: bytes, **fields: Any) -> dict[str, Any]:
    file = (await upload(http, b"".join(rows), "in.jsonl", purpose="batch")).json()["id"]
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"} | fields
    made = await http.post("/v1/batches", json=body)
    assert made.status_code == 200, made.text
    batch: dict[str, Any] = made.json()
    return batch


async def until(http: httpx.AsyncClient, id_: str, *status: str) -> dict[str, Any]:
    for _ in range(200):
        batch: dict[str, Any] = (await http.get(f"/v1/batches/{id_}")).json()
        if batch["status"] in status:
            return batch
        await asyncio.sleep(0.02)
    raise AssertionError(batch)


async def content(http: httpx.AsyncClient, id_: str) -> list[dict[str, Any]]:
    text = (await http.get(f"/v1/files/{id_}/content")).text
    return [orjson.loads(row) for row in text.splitlines()]


async def test_a_batch_is_answered_and_its_results_rest_on_posts(tmp_path: Path) -> None:
    posts = Posts(POST)
    async with batching(tmp_path, Script(EVENTS), posts) as http:
        bad = orjson.dumps({"custom_id": "r9", "method": "POST", "url": "/v1/chat/completions", "body": {"n": 99}})
        made = await make(http, line(1), b"\n", line(2), bad, metadata={"for": "test"})
        assert (made["status"], made["metadata"]) == ("validating", {"for": "test"})
        batch = await until(http, made["id"], "completed")
        assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
        output = await content(http, batch["output_file_id"])
        assert [row["custom_id"] for row in output] == ["r1", "r2"]
        told = output[0]["response"]
        assert told["status_code"] == 200
        assert "bridge is open" in told["body"]["choices"][0]["message"]["content"]
        failed = await content(http, batch["error_file_id"])
        assert (failed[0]["custom_id"], failed[0]["response"]["status_code"]) == ("r9", 400)
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or b"bridge is open" not in file.read_bytes(), file
        posts.there = []
        output = await content(http, batch["output_file_id"])
        assert [row["error"]["code"] for row in output] == ["post_gone"] * 2
        assert "bridge" not in str(output)
        bob = {"headers": {"authorization": "Bearer bob"}}
        for path in (
            f"batches/{batch['id']}",
            f"batches/{batch['id']}/results",
            f"files/{batch['output_file_id']}/content",
        ):
            assert (await http.get(f"/v1/{path}", **bob)).status_code == 404
        assert (await http.post(f"/v1/batches/{batch['id']}/cancel", **bob)).status_code == 404
        assert (await http.get("/v1/batches", **bob)).json()["data"] == []


async def test_a_file_that_cannot_be_asked_fails_with_its_lines(tmp_path: Path) -> None:
    async with batching(tmp_path, Script(EVENTS), Posts()) as http:
        rows = (
            line(1),
            b"{\n",
            line(1, url="/v1/embeddings"),
            line(3, body={"stream": True}),
            line(4, custom_id=4),
        )
        batch = await until(http, (await make(http, *rows))["id"], "failed")
        assert [e["line"] for e in batch["errors"]["data"]] == [2, 3, 4, 5]
        batch = await until(http, (await make(http, line(1), line(1)))["id"], "failed")
        assert batch["errors"]["data"][0]["code"] == "duplicate_custom_id"
        assert batch["request_counts"]["total"] == 0
        for body in ({}, {"input_file_id": "file-x"}, {"input_file_id": 3}, {"name": 3}, []):
            assert (await http.post("/v1/batches", json=body)).status_code in (400, 404)


async def test_a_batch_is_asked_in_xais_way(tmp_path: Path) -> None:
    async with batching(tmp_path, Script(EVENTS), Posts(POST)) as http:
        batch = (await http.post("/v1/batches", json={"name": "evening"})).json()
        assert (batch["batch_id"], batch["name"]) == (batch["id"], "evening")
        asked = [{"batch_request_id": f"q{n}", "batch_request": {"chat_get_completion": HELLO}} for n in range(3)]
        added = await http.post(f"/v1/batches/{batch['id']}/requests", json={"batch_requests": asked})
        assert added.json()["state"]["num_requests"] == 3
        again = await http.post(f"/v1/batches/{batch['id']}/requests", json={"batch_requests": asked[:1]})
        assert again.json()["error"]["code"] == "duplicate_custom_id"
        for _ in range(200):
            state = (await http.get(f"/v1/batches/{batch['id']}")).json()["state"]
            if state["num_success"] == 3:
                break
            await asyncio.sleep(0.02)
        seen, token = [], "0"
        while token:
            params = {"limit": "2", "pagination_token": token}
            page = (await http.get(f"/v1/batches/{batch['id']}/results", params=params)).json()
            seen += page["results"]
            token = page["pagination_token"]
        assert [r["batch_request_id"] for r in seen] == ["q0", "q1", "q2"]
        assert seen[0]["batch_result"]["response"]["chat_get_completion"]["object"] == "chat.completion"
        rows = (await http.get(f"/v1/batches/{batch['id']}/requests")).json()["batch_request_metadata"]
        assert [r["state"] for r in rows] == ["succeeded"] * 3
        over = (await http.post(f"/v1/batches/{batch['id']}:cancel")).json()
        assert over["cancel_time"]
        more = await http.post(f"/v1/batches/{batch['id']}/requests", json={"batch_requests": asked})
        assert more.json()["error"]["code"] == "batch_over"


async def test_a_cancelled_batch_begins_nothing_more(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    script = held(EVENTS, go_on, 3)
    async with batching(tmp_path, script, Posts(POST)) as http:
        batch = await make(http, *(line(n) for n in range(9)))
        await until(http, batch["id"], "in_progress")
        while (await http.get(f"/v1/batches/{batch['id']}")).json()["state"]["num_pending"] < 9:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        batch = (await http.post(f"/v1/batches/{batch['id']}/cancel")).json()
        assert batch["status"] == "cancelled"
        assert batch["state"]["num_cancelled"] == 7  # two were under way
        go_on.set()
        await asyncio.sleep(0.3)
        assert script.closed == 2
        state = (await http.get(f"/v1/batches/{batch['id']}")).json()["state"]
        assert (state["num_success"], state["num_cancelled"]) == (2, 7)


async def test_what_cannot_be_served_yet_waits_and_a_revoked_key_asks_nothing(tmp_path: Path) -> None:
    class Full(Gate):
        left = 1

        async def permit(self, account: Account, wanted: Any) -> Any:
            if wanted.bucket == "files":
                return await super().permit(account, wanted)
            assert wanted.bucket == "batch"
            self.left -= 1
            if self.left < 0:
                self.left = 1
                raise Limited("Nothing is left.", "Wait.", {"retry-after": "0"})
            return await super().permit(account, wanted)

    script = Script(EVENTS)
    async with batching(tmp_path / "a", script, Posts(POST), Desk(script, Full())) as http:
        batch = await until(http, (await make(http, *(line(n) for n in range(4))))["id"], "completed")
        assert batch["request_counts"] == {"total": 4, "completed": 4, "failed": 0}
    async with batching(tmp_path / "b", script, Posts(POST), denied=True) as http:
        batch = await until(http, (await make(http, line(1)))["id"], "completed")
        assert batch["request_counts"]["failed"] == 1
        assert (await content(http, batch["error_file_id"]))[0]["response"]["status_code"] == 401
    assert script.closed == 4


def test_a_killed_server_asks_no_answered_request_again(tmp_path: Path) -> None:
    with Slow(6, 0.05) as engine:
        with program(tmp_path, engine) as (running, http):
            sdk = openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)
            file = sdk.files.create(file=("in.jsonl", b"".join(line(n) for n in range(8))), purpose="batch")
            batch = sdk.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            while (sdk.batches.retrieve(batch.id).request_counts or batch.request_counts).completed < 3:  # type: ignore[union-attr]
                time.sleep(0.02)
            running.stop(signal.SIGKILL)
        with program(tmp_path, engine) as (_, http):
            sdk = openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)
            end = time.monotonic() + 20
            while (after := sdk.batches.retrieve(batch.id)).status != "completed":
                assert time.monotonic() < end
                time.sleep(0.05)
            rows = [orjson.loads(r) for r in sdk.files.content(after.output_file_id or "").text.splitlines()]
        assert sorted(r["custom_id"] for r in rows) == [f"r{n}" for n in range(8)]
        assert len({r["id"] for r in rows}) == 8
        assert 8 <= engine.asked <= 10  # those two that were under way


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b)), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_lines_are_found_however_they_are_cut(rows: list[bytes], size: int) -> None:
    whole = b"\n".join(rows)

    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, len(whole), size):
            yield whole[at : at + size]

    async def read() -> list[tuple[int, bytes]]:
        return [row async for row in lines(parts())]

    assert asyncio.run(read()) == [(n + 1, row) for n, row in enumerate(rows) if row.strip()]


@given(
    st.binary(max_size=200)
    | st.builds(
        orjson.dumps,
        st.dictionaries(
            st.sampled_from(["custom_id", "method", "url", "body"]),
            st.none() | st.text(max_size=9).filter(str.isascii) | st.dictionaries(st.just("a"), st.just(1)),
        ),
    )
)
@settings(max_examples=100, deadline=None)
def test_a_strangers_line_is_a_wish_or_refused(text: bytes) -> None:
    with suppress(UsageError):
        assert wish(text, "/v1/chat/completions").custom_id
