"""The HTTP face on a real socket: bytes, errors, the door, bounds, and clients that go away or take their time."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from conftest import Running, Script, talking
from voxpop.api import bodies, patience, streams
from voxpop.api.chat import fingerprint
from voxpop.engines.echo import EchoEngine
from voxpop.errors import VoxpopError
from voxpop.messages import (
    Citation,
    Done,
    Found,
    Freshness,
    Passage,
    Receipt,
    Searching,
    Text,
    Timings,
    Usage,
    Withheld,
)
from voxpop.posts import Author, Post
from voxpop.times import micros

AT = micros("2026-11-21T20:00:00Z")
POST = Post(
    "at://did:plc:ada/app.bsky.feed.post/1",
    "bluesky",
    Author("did:plc:ada", "ada.example", "Ada"),
    "The bridge is open. 🚋",
    AT - 5_000_000,
    AT,
    url="https://posts.example/1",
    lang="en",
)
EVENTS = [
    Searching("bridge open"),
    Found(2, AT, 12.3),
    Citation(Passage(1, POST, 1.5, 3, 2, "press")),
    Text("Ada 🚋 says: “The bridge is open. 🚋”", (1,)),
    Withheld("It is blue.", "no cited post says so"),
    Text("Mind the gap.", kind="quip"),
    Done(
        "stop",
        True,
        "quote",
        "regular",
        Usage(7, 9, 2),
        Freshness(AT, AT, 0.4, False),
        Timings(12.3, 15.0, 20.5),
        Receipt(("bridge open",), 3, 2, ("x",)),
        "ab12",
    ),
]
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
FRESH = (
    '"freshness":{"newest":"2026-11-21T20:00:00.000Z","oldest":"2026-11-21T20:00:00.000Z",'
    '"stream_lag_s":0.4,"simulated":false,"behind_s":null,"gaps":[]},'
    '"receipt":{"searched":["bridge open"],"posts":3,"independent_authors":2,"sources_down":["x"],"result":""}'
)
LINK = (
    '{"type":"url_citation","url_citation":{"url":"https://posts.example/1",'
    '"title":"@ada.example, 2026-11-21T20:00:00.000Z","start_index":36,"end_index":39}}'
)
HELD = '"withheld":[{"text":"It is blue.","reason":"no cited post says so"}]'
ENGINE = '"answerable":true,"engine":"quote","answer_id":"ab12"'
USED = (
    '{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16,'
    '"prompt_tokens_details":{"text_tokens":7,"audio_tokens":0,"image_tokens":0,"cached_tokens":2},'
    '"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,'
    '"rejected_prediction_tokens":0},"num_sources_used":1,"cost_in_usd_ticks":0}'
)
NAMED = fingerprint(Running())
PLAIN = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"voxpop",'
    f'"system_fingerprint":"{NAMED}",'
    '"choices":[{"index":0,"message":{"role":"assistant",'
    '"content":"Ada 🚋 says: “The bridge is open. 🚋” [1]\\nMind the gap.","refusal":null,'
    f'"annotations":[{LINK}]}},"logprobs":null,"finish_reason":"stop"}}],'
    f'"usage":{USED},"citations":["https://posts.example/1"],'
    f"{HELD},{FRESH},{ENGINE}}}"
)
HEAD = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"voxpop",'
    f'"system_fingerprint":"{NAMED}","choices":'
)


def chunk(delta: str, finish: str = "null", more: str = "") -> str:
    return f'{HEAD}[{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":{finish}}}]{more}}}\n\n'


CHUNKS = (
    chunk('"role":"assistant","content":""')
    + chunk(f'"content":"Ada 🚋 says: “The bridge is open. 🚋” [1]","annotations":[{{"index":0,{LINK[1:]}]')
    + chunk('"content":"\\nMind the gap."')
    + chunk("", '"stop"', f',"citations":["https://posts.example/1"],{HELD},{FRESH},{ENGINE}')
    + f'{HEAD}[],"usage":{USED}}}\n\n'
    "data: [DONE]\n\n"
)
PAGE = (
    'event: searching\ndata: {"query":"bridge open"}\n\n'
    'event: found\ndata: {"posts":2,"newest":"2026-11-21T20:00:00.000Z","took_ms":12.3}\n\n'
    'event: citation\ndata: {"n":1,"id":"at://did:plc:ada/app.bsky.feed.post/1",'
    '"author":{"handle":"ada.example","name":"Ada"},"author_class":"press","tone":"","why":[],"network":"bluesky",'
    '"url":"https://posts.example/1","created_at":"2026-11-21T19:59:55.000Z",'
    '"witnessed_at":"2026-11-21T20:00:00.000Z","text":"The bridge is open. 🚋","lang":"en","duplicates":3,'
    '"independent_authors":2}\n\n'
    'event: text\ndata: {"text":"Ada 🚋 says: “The bridge is open. 🚋”","citations":[1],"kind":"sentence",'
    '"outcome":"shown","why":"","support":null}\n\n'
    'event: withheld\ndata: {"text":"It is blue.","reason":"no cited post says so"}\n\n'
    'event: text\ndata: {"text":"Mind the gap.","citations":[],"kind":"quip"}\n\n'
    'event: done\ndata: {"id":"ab12","reason":"stop","answerable":true,"engine":"quote","voice":"regular",'
    f'"usage":{{"prompt_tokens":7,"completion_tokens":9}},{FRESH},'
    '"timings":{"search_ms":12.3,"first_sentence_ms":15.0,"total_ms":20.5}}\n\n'
)

Serve = Callable[..., Any]


def fixed() -> tuple[str, int]:
    return "chatcmpl-1", 1_700_000_000


def client(url: str, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=5, **options)


async def test_a_plain_body_byte_for_byte(served: Serve) -> None:
    async with served(Running(Script(EVENTS)), stamp=fixed) as url, client(url) as http:
        response = await http.post("/v1/chat/completions", json=HELLO)
    assert response.text == PLAIN
    body = response.json()["choices"][0]["message"]
    link = body["annotations"][0]["url_citation"]
    assert body["content"][link["start_index"] : link["end_index"]] == "[1]"


async def test_a_chunk_sequence_byte_for_byte(served: Serve) -> None:
    asked = HELLO | {"stream": True, "stream_options": {"include_usage": True}}
    async with served(Running(Script(EVENTS)), stamp=fixed) as url, client(url) as http:
        response = await http.post("/v1/chat/completions", json=asked)
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
    assert response.text == CHUNKS


async def test_a_page_event_sequence_byte_for_byte(served: Serve) -> None:
    async with served(Running(Script(EVENTS))) as url, client(url) as http:
        response = await http.post("/api/answer", json=HELLO)
        assert response.headers["cache-control"] == "no-store"
    assert response.text == PAGE


async def test_a_label_and_a_models_words_are_set_apart(served: Serve) -> None:
    said = [Text("From the model.", kind="notice"), Text("Hel", kind="chat"), Text("lo.", kind="chat"), EVENTS[-1]]
    async with served(Running(Script(said))) as url, client(url) as http:
        response = await http.post("/v1/chat/completions", json=HELLO)
    assert response.json()["choices"][0]["message"]["content"] == "From the model.\nHello."


# Errors


def broken(message: str = "The engine is gone.") -> VoxpopError:
    return VoxpopError(message, "Start it.", code="engine_unreachable")


@pytest.mark.parametrize(
    ("error", "status", "code"), [(broken(), 503, "engine_unreachable"), (KeyError("k"), 500, "internal_error")]
)
@pytest.mark.parametrize(
    ("path", "stream"), [("/v1/chat/completions", False), ("/v1/chat/completions", True), ("/api/answer", False)]
)
async def test_an_error_before_the_first_event_is_an_http_error(
    served: Serve, path: str, stream: bool, error: Exception, status: int, code: str, caplog: Any
) -> None:
    async with served(Running(Script([error]))) as url, client(url) as http:
        response = await http.post(path, json=HELLO | {"stream": stream})
    assert response.status_code == status
    said = response.json()["error"]
    assert (said["code"], said["type"]) == (code, "server_error")
    assert said["cure"]
    assert "Traceback" not in response.text
    assert "KeyError" not in response.text
    assert ("A request failed" in caplog.text) == (status == 500)


@pytest.mark.parametrize(("error", "code"), [(broken(), "engine_unreachable"), (KeyError("k"), "internal_error")])
async def test_an_error_in_mid_stream_is_an_event_and_the_end(served: Serve, error: Exception, code: str) -> None:
    script = Script([*EVENTS[:4], error])
    async with served(Running(script)) as url, client(url) as http:
        page = (await http.post("/api/answer", json=HELLO)).text
        chunks = (await http.post("/v1/chat/completions", json=HELLO | {"stream": True})).text
    *_, last = page.strip().split("\n\n")
    assert last.startswith("event: error\n")
    assert f'"code":"{code}"' in last
    *_, error_chunk = chunks.strip().split("\n\n")
    assert error_chunk.startswith('data: {"error":{"message":')
    assert script.closed == 2
    assert "KeyError" not in page + chunks


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    ({"content": b"", "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    ({"content": b'{"messages":"\xff"}', "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    ({"content": b'{"messages":"\\ud800"}', "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    ({"content": b"[" * 500_000, "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    (
        {"content": b'{"n":' + b"[" * 500 + b"]" * 500 + b"}", "headers": {"content-type": "application/json"}},
        400,
        "bad_usage",
    ),
    ({"content": b"[]", "headers": {"content-type": "Application/JSON; charset=utf-8"}}, 400, "bad_usage"),
    ({"content": b"{}"}, 415, "unsupported_media_type"),
    ({"data": {"messages": "x"}}, 415, "unsupported_media_type"),
    ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
    ({"content": b" " * (bodies.MAX_BODY + 1), "headers": {"content-type": "application/json"}}, 413, "too_large"),
    ({"json": HELLO | {"model": "llama-9"}}, 404, "model_not_found"),
    ({"json": HELLO | {"modalities": ["audio"]}}, 400, "unsupported"),
]


async def test_bad_bodies_get_openais_error_object(served: Serve) -> None:
    running = Running(Script(EVENTS))
    async with served(running) as url, client(url) as http:
        for path in ("/v1/chat/completions", "/api/answer"):
            for request, status, code in BAD:
                response = await http.post(path, **request)
                error = response.json()["error"]
                assert (response.status_code, error["code"]) == (status, code)
                assert set(error) == {"message", "type", "param", "code", "cure"}
    assert running.assistant.requests == []


async def test_what_is_not_served_says_so(served: Serve) -> None:
    async with served(Running()) as url, client(url) as http:
        for method, path, status in (
            ("GET", "/nope", 404),
            ("GET", "/v1/chat/completions", 405),
            ("OPTIONS", "/v1/chat/completions", 405),
            ("POST", "/", 405),
            ("GET", "/v1/models/gpt-9", 404),
            ("GET", "/static/nope.js", 404),
        ):
            response = await http.request(method, path)
            assert response.status_code == status
            assert response.json()["error"]["cure"]
            assert "access-control-allow-origin" not in response.headers
        head = await http.head("/api/live")
        assert (head.status_code, head.content) == (200, b"")
        assert (await http.head("/")).status_code == 200
        assert (await http.post("/")).headers["allow"]


# The door


async def raw(url: str, request: bytes, *, within_s: float = 5) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), within_s)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def get(path: str, **headers: str) -> bytes:
    lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    return f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode()


async def test_only_loopbacks_own_names_are_served(served: Serve) -> None:
    async with served(Running()) as url:
        for host in ("localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "LOCALHOST:1"):
            assert b" 200 OK" in await raw(url, get("/healthz", Host=host)), host
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "[::",
            "10.0.0.1",
            "",
        ):
            answer = await raw(url, get("/api/status", Host=host))
            assert b" 403 " in answer, host
            assert b'"code":"wrong_host"' in answer
        assert b" 400 " in await raw(url, get("/healthz"))


async def test_another_sites_page_is_refused(served: Serve) -> None:
    async with served(Running()) as url, client(url) as http:
        for site in ("cross-site", "same-site"):
            for path in ("/v1/models", "/api/status", "/api/live"):
                response = await http.get(path, headers={"sec-fetch-site": site})
                assert (response.status_code, response.json()["error"]["code"]) == (403, "wrong_site")
            assert (await http.get("/", headers={"sec-fetch-site": site})).status_code == 200
            led = await http.get("/answers/a%2F1?x=1", headers={"sec-fetch-site": site})
            assert led.status_code in (303, 404)
            led = await http.get("/answers/a1", headers={"sec-fetch-site": site})
            assert (led.status_code, led.headers["location"]) == (303, "../?answer=a1")
        for site in ("same-origin", "none"):
            assert (await http.get("/v1/models", headers={"sec-fetch-site": site})).status_code == 200


async def test_every_answer_has_the_headers_and_none_comes_from_the_client(served: Serve) -> None:
    async with served(Running()) as url, client(url) as http:
        for path in ("/", "/static/app.js", "/nope", "/v1/models"):
            headers = (await http.get(path)).headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers
        answer = await raw(url, get("/nope%0d%0aSet-Cookie:%20a=b", Host="localhost"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"set-cookie" not in head.lower()
        assert b"Set-Cookie" in body


async def test_static_files_stay_in_their_folder(served: Serve) -> None:
    async with served(Running()) as url:
        assert b"import" in await raw(url, get("/static/app.js", Host="localhost"))
        for path in (
            "/static/../config.py",
            "/static/..%2fconfig.py",
            "/static/%2e%2e/config.py",
            "/static/..%5cconfig.py",
            "/static//etc/passwd",
            "/static/%00",
            "/../../../../etc/passwd",
        ):
            answer = await raw(url, get(path, Host="localhost"))
            assert b" 404 " in answer.partition(b"\r\n")[0], path
            assert b"dataclass" not in answer


# Clients that go, and clients that take their time


async def quiet(engine: EchoEngine) -> bool:
    """Whether the engine has begun, and computes no more."""
    await asyncio.sleep(0.3)
    made = engine.words_made
    await asyncio.sleep(0.3)
    return 0 < made == engine.words_made < 1000


@pytest.mark.parametrize(("path", "fields"), [("/v1/chat/completions", {"stream": True}), ("/api/answer", {})])
async def test_closing_a_stream_stops_the_engine(served: Serve, path: str, fields: dict[str, Any]) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    async with served(talking(engine)) as url, client(url) as http:
        async with http.stream("POST", path, json=HELLO | fields) as response:
            async for line in response.aiter_lines():
                if "word" in line:
                    break
        assert await quiet(engine)


async def test_leaving_before_the_whole_answer_stops_the_engine(served: Serve, capsys: Any) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    async with served(talking(engine)) as url, client(url) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=HELLO, timeout=0.3)
        assert await quiet(engine)
    assert capsys.readouterr() == ("", "")


async def test_leaving_before_the_first_event_stops_the_engine(served: Serve) -> None:
    engine = EchoEngine("word", pause_s=30)
    running = talking(engine)
    async with served(running) as url, client(url) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=HELLO | {"stream": True}, timeout=0.3)
        await asyncio.sleep(0.3)
        assert engine.prompts
    assert engine.words_made == 0


async def test_streams_are_bounded_and_their_places_come_back(served: Serve) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    stream = HELLO | {"stream": True}
    async with served(talking(engine), streams=2) as url, client(url) as http:
        for _ in range(2):
            async with (
                http.stream("POST", "/v1/chat/completions", json=stream) as one,
                http.stream("POST", "/api/answer", json=HELLO) as two,
            ):
                assert (one.status_code, two.status_code) == (200, 200)
                for fields in ({"stream": True}, {}):
                    response = await http.post("/v1/chat/completions", json=HELLO | fields)
                    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
                    assert response.json()["error"]["code"] == "too_busy"
                async with http.stream("GET", "/api/live") as watching:
                    assert watching.status_code == 200
            await asyncio.sleep(0.4)


async def test_many_who_come_and_go_leave_no_place_taken() -> None:
    places = streams.Places(3)
    for _ in range(10):
        with places.held(), places.held(), places.held(), pytest.raises(VoxpopError), places.held():
            pass
    assert places.taken == 0


async def test_a_slow_head_and_a_slow_body_are_let_go(served: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(patience, "HEAD_S", 0.3)
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.3)
    async with served(Running(Script(EVENTS))) as url:
        assert await raw(url, b"", within_s=3) == b""
        assert await raw(url, b"GET / HTTP/1.1\r\nHost: loc", within_s=3) == b""
        head = b"POST /api/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        rest = b'Connection: close\r\nContent-Length: 99\r\n\r\n{"mess'
        answer = await raw(url, head + rest, within_s=3)
        assert b" 408 " in answer
        assert b'"code":"too_slow"' in answer


async def test_a_huge_head_is_refused(served: Serve) -> None:
    async with served(Running()) as url:
        answer = b""
        with suppress(ConnectionError):  # the door may be shut before all of it was sent
            answer = await raw(url, get("/healthz", Host="localhost", X_Big="x" * 400_000))
        assert b" 200 " not in answer


async def test_a_stream_beats_while_it_is_silent(served: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(streams, "_BEAT_S", 0.05)

    class Slow(Script):
        async def answer(self, request: Any) -> AsyncIterator[Any]:
            yield EVENTS[0]
            await asyncio.sleep(0.3)
            yield EVENTS[-1]

    async with served(Running(Slow())) as url, client(url) as http:
        text = (await http.post("/api/answer", json=HELLO)).text
    assert ": still here\n\n" in text
    assert text.endswith("}\n\n")
    assert "event: done" in text


async def test_the_live_stream_tells_the_status(served: Serve) -> None:
    async with served(Running()) as url, client(url) as http, http.stream("GET", "/api/live") as response:
        assert response.headers["cache-control"] == "no-store"
        lines = response.aiter_lines()
        assert [await anext(lines), await anext(lines)] == [
            "event: live",
            'data: {"posts":3,"sources":[],"engine":{"name":"echo","ok":true}}',
        ]


# For operators


async def test_health_readiness_and_metrics(served: Serve) -> None:
    running = Running(why_unready="no posts yet: bluesky connecting")
    asked = Counter("asked", "Questions.", registry=running.registry)
    async with served(running) as url, client(url) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "no posts yet: bluesky connecting"})
        running.why_unready = ""
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        for expected in (0.0, 1.0):
            metrics = await http.get("/metrics")
            assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
            samples = {s.name: s.value for f in text_string_to_metric_families(metrics.text) for s in f.samples}
            assert samples["asked_total"] == expected
            asked.inc()


async def test_no_question_is_logged(served: Serve, caplog: Any, capsys: Any) -> None:
    caplog.set_level(logging.INFO)  # also what uvicorn says: it has no form of its own
    logging.getLogger("httpx").setLevel(logging.WARNING)
    secret = {"messages": [{"role": "user", "content": "hello xyzzy"}]}
    async with served(talking(EchoEngine("plugh"))) as url, client(url) as http:
        await http.post("/v1/chat/completions", json=secret)
        await http.post("/api/answer", json=secret)
        await http.post("/api/answer", json=secret | {"n": 4})
        await http.get("/", params={"q": "xyzzy"})
    said = caplog.text + "".join(capsys.readouterr())
    assert "xyzzy" not in said
    assert "plugh" not in said


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_no_small_write_waits_for_an_acknowledgement(host: str) -> None:
    """Nagle's algorithm (RFC 896) is off on every accepted connection: else a kept-alive request waits 40 ms."""
    from voxpop.api.http import application
    from voxpop.api.serving import listen, server_of

    try:
        door = listen(host, 0)
    except VoxpopError:
        pytest.skip(f"this machine has no {host}")
    server = server_of(application(Running()))
    task = asyncio.create_task(server.serve(sockets=[door]))
    try:
        named = f"[{host}]" if ":" in host else host
        base = f"http://{named}:{door.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            assert (await client.get("/healthz")).status_code == 200
            (connection,) = server.server_state.connections
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        server.should_exit = True
        await task
        door.close()
