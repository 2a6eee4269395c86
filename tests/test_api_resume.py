"""A dropped connection, the door's settings and the end of a server, on real sockets and in a real process."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from conftest import Program, Running, Script, talking
from test_api_http import EVENTS, HELLO, POST, Serve, client, get, raw
from voxpop.accounts import Account, Credential, Denied
from voxpop.api import resuming, streams
from voxpop.api.door import Door
from voxpop.desk import Desk, OpenGate
from voxpop.engines.echo import EchoEngine
from voxpop.errors import UsageError
from voxpop.messages import Text
from voxpop.posts import Post

RESUME = {"x-voxpop-resume": "true"}
FACES = [("/v1/chat/completions", {"stream": True}), ("/api/answer", {})]


class Posts:
    """What is there of the cited posts."""

    def __init__(self, *there: Post) -> None:
        self.there = list(there)

    async def __call__(self, ids: Sequence[str]) -> list[Post]:
        return [p for p in self.there if p.id in ids]


class Gate(OpenGate):
    """Accounts by their keys; `narrow` may not ask in chat."""

    async def account(self, credential: Credential) -> Account:
        if not credential.key:
            raise Denied("No key.", "Send one.", code="invalid_api_key")
        who, _, kind = credential.key.partition("-")
        return Account(who, endpoints=frozenset({"models" if kind == "narrow" else "*"}))


def held(events: Sequence[Any], go_on: asyncio.Event, at: int) -> Script:
    """An assistant that waits before the event of that number."""

    class Held(Script):
        async def answer(self, request: Any) -> AsyncIterator[Any]:
            try:
                for n, event in enumerate(self.events):
                    if n == at:
                        await go_on.wait()
                    yield event
            finally:
                self.closed += 1

    return Held(events)


async def blocks(response: httpx.Response, most: int = 10**9) -> list[dict[str, str]]:
    """The first events of a stream, by field; at most so many."""
    found: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            found.append(fields)
            fields = {}
            if len(found) == most:
                break
    return found


def bare(events: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in e.items() if k != "id"} for e in events]


@pytest.mark.parametrize(("path", "fields"), FACES)
async def test_a_dropped_answer_is_read_on_where_it_broke(served: Serve, path: str, fields: Any) -> None:
    go_on = asyncio.Event()
    running = Running(held(EVENTS, go_on, 4))
    async with served(running, posts=Posts(POST)) as url, client(url) as http:
        async with http.stream("POST", path, json=HELLO | fields, headers=RESUME) as response:
            id_ = response.headers["x-voxpop-stream"]
            first = await blocks(response, 2)
        await asyncio.sleep(0.1)
        assert running.assistant.closed == 0
        go_on.set()
        async with http.stream("GET", f"/v1/streams/{id_}", headers={"last-event-id": first[-1]["id"]}) as response:
            assert response.headers["x-voxpop-stream"] == id_
            rest = await blocks(response)
        again = [e async for e in _whole(http, id_)]
        plain = await http.post(path, json=HELLO | fields)
    assert [e["id"] for e in first + rest] == [str(n + 1) for n in range(len(first + rest))]
    assert again == first + rest
    assert "id" not in plain.text.split("{")[0]
    assert "x-voxpop-stream" not in plain.headers
    whole = [dict(line.partition(": ")[::2] for line in b.split("\n")) for b in plain.text.strip().split("\n\n")]
    stamped = ("id", "created")

    def said(event: dict[str, str]) -> Any:
        data = event["data"]
        return data if data == "[DONE]" else {k: v for k, v in orjson.loads(data).items() if k not in stamped}

    assert [said(e) for e in first + rest] == [said(e) for e in whole]


async def _whole(http: httpx.AsyncClient, id_: str, after: int = 0) -> AsyncIterator[dict[str, str]]:
    async with http.stream("GET", f"/v1/streams/{id_}", params={"after": after}) as response:
        assert response.status_code == 200, await response.aread()
        for event in await blocks(response):
            yield event


async def test_what_rests_on_a_deleted_post_is_not_sent_again(served: Serve) -> None:
    edited = Post(POST.id, POST.network, POST.author, "The bridge is shut.", POST.created_at, POST.witnessed_at)
    for there in (Posts(), Posts(edited)):
        running = Running(Script(EVENTS))
        posts = Posts(POST)
        async with served(running, posts=posts) as url, client(url) as http:
            for path, fields in FACES:
                posts.there = [POST]
                whole = await http.post(path, json=HELLO | fields, headers=RESUME)
                id_ = whole.headers["x-voxpop-stream"]
                assert "bridge is open" in whole.text
                posts.there = there.there
                for _ in range(2):
                    rest = [e["data"] async for e in _whole(http, id_)]
                    assert "post_gone" in rest[-1]
                    assert not any("bridge is open" in data.partition("query")[0] for data in rest)


async def test_an_answer_is_told_no_further_to_a_key_that_was_revoked(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Revoking(Gate):
        revoked = False

        async def account(self, credential: Credential) -> Account:
            if self.revoked:
                raise Denied("The key is revoked.", "Ask for another.", code="invalid_api_key")
            return await super().account(credential)

    monkeypatch.setattr(streams, "_LOOK_S", 0.1)
    go_on, gate = asyncio.Event(), Revoking()
    running = Running(held(EVENTS, go_on, 4))
    desk = Desk(running.assistant, gate)
    async with served(running, posts=Posts(POST), desk=desk) as url, client(url) as http:
        http.headers["authorization"] = "Bearer ann"
        asked = {"json": HELLO, "headers": RESUME}
        async with asyncio.timeout(10), http.stream("POST", "/api/answer", **asked) as first:
            id_ = first.headers["x-voxpop-stream"]
            await asyncio.sleep(0.3)  # looked at some times by now
            gate.revoked = True
            told = await blocks(first)
            gate.revoked = False
            async with http.stream("GET", f"/v1/streams/{id_}") as second:
                await asyncio.sleep(0.3)
                gate.revoked = True
                again = await blocks(second)
            gate.revoked = False
            go_on.set()
            rest = [e async for e in _whole(http, id_)]
    assert "invalid_api_key" in told[-1]["data"]
    assert again == told
    assert rest[-1]["event"] == "done"  # it was made to its end all the same


async def test_a_stream_is_its_own_accounts_alone(served: Serve) -> None:
    desk = Desk(Script(EVENTS), Gate())
    running = Running(desk._answers)
    async with served(running, posts=Posts(POST), desk=desk) as url, client(url) as http:
        asked = {"authorization": "Bearer ada", **RESUME}
        id_ = (await http.post("/api/answer", json=HELLO, headers=asked)).headers["x-voxpop-stream"]
        for key, status, code in (
            ("bob", 404, "stream_not_found"),
            ("", 401, "invalid_api_key"),
            ("ada-narrow", 403, "forbidden"),
        ):
            found = await http.get(f"/v1/streams/{id_}", headers={"x-api-key": key})
            assert (found.status_code, found.json()["error"]["code"]) == (status, code)
        bob = await http.delete(f"/v1/streams/{id_}", headers={"authorization": "Bearer bob"})
        assert bob.status_code == 404
        for path in ("/v1/streams/strm_none", f"/v1/streams/{id_}x"):
            assert (await http.get(path, headers=asked)).status_code == 404
        for after in ("-1", "x", "9" * 13, "²"):
            bad = await http.get(f"/v1/streams/{id_}", params={"after": after}, headers=asked)
            assert bad.status_code == 400
        assert (await http.get(f"/v1/streams/{id_}", headers=asked)).status_code == 200


async def test_who_did_not_ask_for_it_stops_the_engine_by_leaving(served: Serve) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    async with served(talking(engine), posts=Posts()) as url, client(url) as http:
        async with http.stream("POST", "/api/answer", json=HELLO) as response:
            await blocks(response, 5)
        await asyncio.sleep(0.2)
        made = engine.words_made
        await asyncio.sleep(0.2)
        assert 0 < made == engine.words_made


async def test_ending_a_stream_stops_the_engine(served: Serve) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    async with served(talking(engine), posts=Posts()) as url, client(url) as http:
        async with http.stream("POST", "/api/answer", json=HELLO, headers=RESUME) as response:
            id_ = response.headers["x-voxpop-stream"]
            await blocks(response, 5)
        made = engine.words_made
        await asyncio.sleep(0.2)
        assert engine.words_made > made  # nobody reads, and it goes on: that was asked for
        assert (await http.delete(f"/v1/streams/{id_}")).json() == {"id": id_, "object": "stream", "deleted": True}
        made = engine.words_made
        await asyncio.sleep(0.2)
        assert engine.words_made == made
        assert (await http.get(f"/v1/streams/{id_}")).status_code == 404


async def test_an_answer_is_kept_for_its_time_and_then_stopped(served: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(resuming, "KEPT_S", 0.3)
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    async with served(talking(engine), posts=Posts()) as url, client(url) as http:
        async with http.stream("POST", "/api/answer", json=HELLO, headers=RESUME) as response:
            id_ = response.headers["x-voxpop-stream"]
            await asyncio.wait_for(blocks(response, 60), 5)  # being read it is kept beyond its time
        await asyncio.sleep(0.1)
        async with http.stream("GET", f"/v1/streams/{id_}", params={"after": 60}) as response:
            assert (await blocks(response, 1))[0]["id"] == "61"
        await asyncio.sleep(0.6)
        assert (await http.get(f"/v1/streams/{id_}")).status_code == 404
        made = engine.words_made
        await asyncio.sleep(0.2)
        assert made == engine.words_made < 1000


async def test_what_is_kept_is_bounded(served: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(resuming, "_LONGEST", 2000)
    monkeypatch.setattr(resuming, "_MOST_OF_ONE", 2)
    said = [*EVENTS[:3], *(Text(f"{n} " + "x" * 90, (1,)) for n in range(50)), EVENTS[-1]]
    async with served(Running(Script(said)), posts=Posts(POST)) as url, client(url) as http:
        ids = []
        for _ in range(3):
            whole = await http.post("/api/answer", json=HELLO, headers=RESUME)
            assert whole.text.count("event: text") == 50 or "stream_gone" in whole.text
            ids.append(whole.headers["x-voxpop-stream"])
        assert (await http.get(f"/v1/streams/{ids[0]}")).status_code == 404  # the oldest gave way
        events = [e async for e in _whole(http, ids[2])]
        assert "stream_gone" in events[0]["data"]
        assert [e["event"] async for e in _whole(http, ids[2], 52)][-1] == "done"


async def test_streams_that_nobody_ends_leave_the_rest_as_it_was(served: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(resuming, "_MOST_OF_ONE", 1)
    engine = EchoEngine("word " * 500, pause_s=0.01)
    async with (
        served(talking(engine), posts=Posts()) as url,
        client(url) as http,
        http.stream("POST", "/api/answer", json=HELLO, headers=RESUME) as one,
        http.stream("POST", "/api/answer", json=HELLO, headers=RESUME) as two,
    ):
        assert one.status_code == two.status_code == 200
        assert "x-voxpop-stream" in one.headers
        assert "x-voxpop-stream" not in two.headers  # no room: it is an answer as any other


# Time


async def test_an_answer_that_takes_too_long_is_broken_off(served: Serve) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.02)
    running = talking(engine)
    desk = Desk(running.assistant, longest_s=0.3)
    async with served(running, desk=desk) as url, client(url) as http:
        began = time.monotonic()
        whole = await http.post("/v1/chat/completions", json=HELLO)
        streamed = await http.post("/v1/chat/completions", json=HELLO | {"stream": True})
        assert time.monotonic() - began < 3
        assert (whole.status_code, whole.json()["error"]["code"]) == (504, "answer_too_slow")
        assert '"code":"answer_too_slow"' in streamed.text.strip().split("\n\n")[-1]
        made = engine.words_made
        await asyncio.sleep(0.2)
        assert engine.words_made == made


async def test_a_failure_is_logged_with_the_requests_id(served: Serve, caplog: Any) -> None:
    async with served(Running(Script([*EVENTS[:4], KeyError("k")]))) as url, client(url) as http:
        for path, fields in (("/api/answer", {}), ("/v1/chat/completions", {})):
            response = await http.post(path, json=HELLO | fields, headers={"x-request-id": f"req-{path[1:3]}"})
            assert response.headers["x-request-id"] == f"req-{path[1:3]}"
            assert f"(req-{path[1:3]})" in caplog.text


# The door


async def test_trusted_hosts_are_names_and_nothing_else(served: Serve) -> None:
    door = Door(hosts=("ask.example.org", "*.team.example.org"))
    async with served(Running(), door=door) as url:
        for host in ("ask.example.org", "ASK.example.org:8080", "a.team.example.org", "localhost", "127.0.0.1"):
            assert b" 200 " in await raw(url, get("/healthz", Host=host)), host
        for host in (
            "evil.example",
            "x.ask.example.org",
            "team.example.org",
            "evilteam.example.org",
            "a.team.example.org.evil.example",
        ):
            assert b'"code":"wrong_host"' in await raw(url, get("/healthz", Host=host)), host


async def test_a_named_sites_page_may_ask_with_a_key(served: Serve) -> None:
    desk = Desk(Script(EVENTS), Gate())
    site = {"origin": "https://app.example.org", "sec-fetch-site": "cross-site"}
    evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    wants = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-stainless-os",
    }
    path = "/v1/chat/completions"
    async with (
        served(Running(desk._answers), desk=desk, door=Door(origins=(site["origin"],))) as url,
        client(url) as http,
    ):
        asked = await http.options(path, headers=site | wants)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, site["origin"])
        assert "x-stainless-os" in asked.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in asked.headers
        told = await http.post(path, json=HELLO, headers=site | {"authorization": "Bearer ada"})
        assert (told.status_code, told.headers["access-control-allow-origin"]) == (200, site["origin"])
        unknown = await http.post(path, json=HELLO, headers=site)
        assert (unknown.status_code, unknown.headers["access-control-allow-origin"]) == (401, site["origin"])
        for refused in (
            await http.options(path, headers=evil | wants),
            await http.post(path, json=HELLO, headers=evil),
        ):
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "bad",
    [
        {"hosts": ("Ask.example",)},
        {"hosts": ("a:80",)},
        {"origins": ("*",)},
        {"origins": ("https://a/x",)},
        {"proxies": ("10.0.0.1/8",)},
    ],
)
def test_a_door_that_cannot_be_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot have"):
        Door(**bad)


async def test_a_country_is_believed_of_a_named_proxy_alone(served: Serve) -> None:
    seen = []

    class Asks(Gate):
        async def account(self, credential: Credential) -> Account:
            seen.append(credential.country)
            return Account()

    for proxies in ((), ("10.0.0.0/8",), ("127.0.0.1",)):
        desk = Desk(Script(EVENTS), Asks())
        door = Door(proxies=proxies, country="cf-ipcountry")
        async with served(Running(desk._answers), desk=desk, door=door) as url, client(url) as http:
            for country in ("ng", "N", "NG,US", "é"):
                await http.get("/v1/models", headers={"cf-ipcountry": country.encode("latin-1")})
    assert seen == [""] * 8 + ["NG", "", "", ""]


# The end of a server


class Slow:
    """A server that speaks OpenAI's API and takes its time; `left` says that a client has gone before its end."""

    def __init__(self, words: int, pause_s: float) -> None:
        self.words, self.pause_s, self.left, self.asked = words, pause_s, 0, 0
        app = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])
        config = uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    async def answer(self, request: Request) -> Response:
        return StreamingResponse(self.say(), media_type="text/event-stream")

    async def say(self) -> AsyncIterator[str]:
        self.left += 1
        self.asked += 1
        for n in range(self.words):
            yield f'data: {{"choices":[{{"delta":{{"content":"w{n} "}}}}]}}\n\n'
            await asyncio.sleep(self.pause_s)
        yield "data: [DONE]\n\n"
        self.left -= 1

    def __enter__(self) -> "Slow":
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}/v1"


@contextmanager
def program(folder: Path, engine: Slow, **settings: str) -> Iterator[tuple[Program, httpx.Client]]:
    arguments = ("up", "--source", "simulated", "--engine", "openai", "--port", "0", "--data", str(folder))
    running = Program(folder / "log", *arguments, VOXPOP_ENGINE_URL=engine.url, **settings)
    try:
        url = running.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        with httpx.Client(base_url=url, trust_env=False, timeout=15) as http:
            yield running, http
    finally:
        running.stop(signal.SIGKILL)


def test_no_answer_is_cut_when_the_server_is_told_to_end(tmp_path: Path) -> None:
    with Slow(40, 0.05) as engine, program(tmp_path, engine) as (running, http):
        live = http.build_request("GET", "/api/live")
        with (
            http.stream("POST", "/api/answer", json=HELLO, headers=RESUME) as response,
            contextlib.closing(http.send(live, stream=True)) as watching,
        ):
            lines = response.iter_lines()
            while "w3 " not in next(lines):
                pass
            running.process.send_signal(signal.SIGTERM)
            running.until("lets what is under way end")
            assert b"".join(watching.iter_raw()) is not None  # a stream without an end is ended
            ready = http.get("/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
            refused = http.post("/v1/chat/completions", json=HELLO)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
            assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
            back = http.get(f"/v1/streams/{response.headers['x-voxpop-stream']}", params={"after": 1})
            assert "w39 " in back.text
            assert "event: done" in back.text
        assert running.process.wait(5) == 0
    assert "Traceback" not in running.said


@pytest.mark.parametrize("how", ["late", "twice"])
def test_what_cannot_end_in_time_is_cut(tmp_path: Path, how: str) -> None:
    drain_s = "0.5" if how == "late" else "30"
    with (
        Slow(10_000, 0.05) as engine,
        program(tmp_path, engine, VOXPOP_SERVER_DRAIN_S=drain_s) as (running, http),
        http.stream("POST", "/api/answer", json=HELLO) as response,
    ):
        lines = response.iter_lines()
        while "w3 " not in next(lines):
            pass
        running.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        if how == "twice":
            running.until("lets what is under way end")
            running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(8) == 0
        assert time.monotonic() - began < 4
