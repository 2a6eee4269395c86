"""A request that comes again with its `Idempotency-Key`: one answer, metered once, to nobody else, for a day."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from conftest import Running, Script
from test_api_http import raw
from test_quotas import Clock, quotas
from test_usage import SAID, ByName, Serve, by
from voxpop.desk import Desk
from voxpop.errors import VoxpopError
from voxpop.messages import Citation, Passage
from voxpop.posts import Author, Post
from voxpop.quotas import permits
from voxpop.quotas.permits import Quotas
from voxpop.records import Database
from voxpop.times import MICROS

SECRET = "the mayor of Dornick resigned"
POST = Post("at://p/1", "bluesky", Author("did:plc:a", "ann.example"), f"Heard that {SECRET}.", 1, 1)


@dataclass
class Served:
    """A running server, what it says, and the posts that are still there."""

    http: httpx.AsyncClient
    script: Script
    server: Quotas
    clock: Clock
    database: Database
    posts: dict[str, Post]

    async def ask(self, name: str = "ann", key: str = "once", **body: Any) -> httpx.Response:
        sent = {"model": "voxpop", "messages": [{"role": "user", "content": "hi"}], **body}
        headers = {**by(name), "idempotency-key": key}
        return await self.http.post("/v1/chat/completions", json=sent, headers=headers)

    async def metered(self) -> int:
        count = text("SELECT count(*) FROM usage_ledger WHERE kind = 'settled'")
        return int(await self.database.run(lambda s: s.execute(count).scalar_one(), write=False))


@pytest.fixture
async def there(served: Serve, database: Database) -> AsyncIterator[Served]:
    clock = Clock()
    server = quotas(database, clock)
    script, posts = Script(SAID), {POST.id: POST}
    running = Running(script)

    async def now(ids: Sequence[str]) -> list[Post]:
        return [posts[i] for i in ids if i in posts]

    desk = Desk(script, ByName(server))
    serving = served(running, desk=desk, posts=now, quotas=server)
    async with serving as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        yield Served(http, script, server, clock, database, posts)


async def test_the_same_answer_comes_again_and_is_metered_once(there: Served) -> None:
    first, again = await there.ask(), await there.ask()
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert len(there.script.requests) == await there.metered() == 1


async def test_a_stream_comes_again_whole(there: Served) -> None:
    first, again = await there.ask(stream=True), await there.ask(stream=True)
    assert first.text == again.text
    assert again.text.endswith("data: [DONE]\n\n")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert await there.metered() == 1


async def test_another_body_is_refused(there: Served) -> None:
    await there.ask()
    other = await there.ask(max_tokens=5)
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "repeat_of_another"
    assert other.headers["x-should-retry"] == "false"
    assert await there.metered() == 1


async def test_each_account_has_keys_of_its_own_and_each_key_an_answer(there: Served) -> None:
    for name, key in [("ann", "once"), ("ben", "once"), ("ann", "twice")]:
        answer = await there.ask(name, key)
        assert "idempotent-replayed" not in answer.headers
    assert await there.metered() == 3


async def test_while_it_is_under_way_it_is_not_begun_again(there: Served) -> None:
    go = asyncio.Event()

    async def slowly(request: Any) -> AsyncIterator[Any]:
        await go.wait()
        for event in SAID:
            yield event

    there.script.answer = slowly  # type: ignore[method-assign]
    first = asyncio.create_task(there.ask())
    for _ in range(200):
        await asyncio.sleep(0.01)
        second = await there.ask()
        if second.status_code == 409:
            break
    assert second.json()["error"]["code"] == "repeat_under_way"
    assert second.headers["retry-after"] == "1"
    go.set()
    assert (await first).json() == (await there.ask()).json()


async def test_a_client_that_left_finds_its_answer(there: Served) -> None:
    go = asyncio.Event()

    async def slowly(request: Any) -> AsyncIterator[Any]:
        there.script.requests.append(request)
        await go.wait()
        for event in SAID:
            yield event

    there.script.answer = slowly  # type: ignore[method-assign]
    with pytest.raises(httpx.ReadTimeout):
        await there.http.post(
            "/v1/chat/completions",
            json={"model": "voxpop", "messages": [{"role": "user", "content": "hi"}]},
            headers={**by("ann"), "idempotency-key": "once"},
            timeout=0.5,
        )
    go.set()
    for _ in range(200):
        answer = await there.ask()
        if answer.status_code == 200:
            break
        await asyncio.sleep(0.01)
    assert answer.headers["idempotent-replayed"] == "true"
    assert len(there.script.requests) == await there.metered() == 1


async def test_a_failure_is_not_kept(there: Served) -> None:
    there.script.events = [VoxpopError("The engine failed.", "Try again.")]
    assert (await there.ask()).status_code == 503
    there.script.events = SAID
    answer = await there.ask()
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


async def test_what_rested_on_a_post_goes_with_it_and_lies_nowhere_in_clear(there: Served) -> None:
    said = replace(SAID[0], text=f"They say {SECRET}.", citations=(1,), kind="sentence")
    there.script.events = [Citation(Passage(1, POST)), said, SAID[1]]
    first = await there.ask()
    assert SECRET in first.text
    assert (await there.ask()).json() == first.json()
    rows = await there.database.run(lambda s: s.execute(text("SELECT sealed FROM repeats")).scalars().all())
    assert not any(SECRET.encode() in bytes(row) for row in rows)
    there.posts[POST.id] = replace(POST, text="Never mind.")
    gone = await there.ask()
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "withdrawn")
    there.posts.clear()
    assert (await there.ask()).status_code == 410
    assert await there.metered() == 1


async def test_a_day_later_it_is_a_new_request(there: Served) -> None:
    await there.ask()
    there.clock.at += 86_400 * MICROS
    assert "idempotent-replayed" in (await there.ask()).headers
    there.clock.at += 1
    assert "idempotent-replayed" not in (await there.ask()).headers


async def test_what_an_ended_server_was_about_can_be_asked_anew(there: Served) -> None:
    body = {"model": "voxpop", "messages": [{"role": "user", "content": "hi"}]}
    await there.ask()
    busy = text("UPDATE repeats SET server = 'gone', sealed = :none")
    await there.database.run(lambda s: s.execute(busy, {"none": b""}))
    assert (await there.ask(**body)).status_code == 409
    await there.server.look_after()
    there.clock.ticked += permits.DEAD_S
    await there.server.look_after()
    assert (await there.ask(**body)).status_code == 200


async def test_where_it_is_not_served_it_is_refused_and_not_ignored(there: Served) -> None:
    for path, key, said in [("/v1/watches", "k", "not served"), ("/v1/chat/completions", "", "1 to 255")]:
        answer = await there.http.post(path, json={}, headers={**by("ann"), "idempotency-key": key})
        assert answer.status_code == 400
        assert said in json.dumps(answer.json())


async def test_many_at_once_are_one(there: Served) -> None:
    answers = await asyncio.gather(*(there.ask() for _ in range(12)))
    assert {a.status_code for a in answers} <= {200, 409}
    assert await there.metered() == 1


async def test_a_body_that_does_not_come_is_not_waited_for(there: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr("voxpop.api.repeating.PATIENCE_S", 0.2)
    said = {**by("ann"), "idempotency-key": "slow", "content-type": "application/json", "content-length": "99"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    head = f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n"
    answer = await raw(str(there.http.base_url), head.encode() + b'{"mess', within_s=5)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'{"type":"error"' in answer  # as Anthropic's clients read it
