"""The flood says of event n what it sent as event n; the server keeps its rate, resumes, filters and goes wrong."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import httpx
import orjson
import pytest
from websockets.asyncio import client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voxpop.simulator.firehose import Firehose, Harm
from voxpop.simulator.flood import CYCLE, Flood, Mix, Row, invented, recording
from voxpop.simulator.records import LIKE, POST, REPOST, tid

DATA = Path(os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
WIRE = DATA / "wire" / "bluesky_jetstream" / "expected_v1.jsonl"
ROWS = [
    Row(f"Row {n}: the boats are in, 100 % of them {'é' * (n % 300)}", f"author {n % 7}", "en") for n in range(50)
]
connect = partial(client.connect, close_timeout=0.1, max_size=1 << 25)
MIXED = Mix(like=0.5, repost=0.1, reply=0.1, update=0.02, delete=0.03)
ORIGIN = 1_900_000_000_000_000


def flood(mix: Mix = MIXED, rate: float = 5000.0) -> Flood:
    return Flood(ROWS, rate, ORIGIN, mix)


def paths(value: object, at: str = "") -> set[tuple[str, str]]:
    if isinstance(value, dict):
        return {pair for name, inner in value.items() for pair in paths(inner, f"{at}.{name}")}
    return {(at, type(value).__name__)}


# -- the flood ------------------------------------------------------------------------------------------------


def test_each_line_is_what_its_number_says() -> None:
    water, seen = flood(), Counter[str]()
    addresses: set[str] = set()
    for n in range(2 * CYCLE, 4 * CYCLE):
        message, event = json.loads(water.line(n)), water.event(n)
        commit = message["commit"]
        seen[event.kind] += 1
        assert message["time_us"] == water.time_us(n) == ORIGIN + n * 200
        uri = f"at://{message['did']}/{commit['collection']}/{commit['rkey']}"
        if event.kind in ("post", "reply"):
            addresses.add(uri)
            assert commit["record"]["text"] == water.text(event.post) == ROWS[event.post % 50].text
        if event.kind in ("like", "repost"):
            assert commit["record"]["subject"]["uri"] == water.uri(event.post)
        else:
            assert uri == water.uri(event.post)
    assert seen == {k: v for k, v in water.counts(4 * CYCLE, 2 * CYCLE).items() if v}
    assert seen == {"like": 1000, "repost": 200, "reply": 200, "update": 40, "delete": 60, "post": 500}
    assert len(addresses) == 700


def test_what_is_done_to_a_post_comes_after_it_and_only_once() -> None:
    water, born, done = flood(), set[int](), Counter[int]()
    for n in range(5 * CYCLE):
        kind, post = water.event(n)
        if kind in ("post", "reply"):
            born.add(post)
        else:
            assert n < CYCLE or post in born
        if kind in ("update", "delete"):
            done[post] += 1
    assert set(done.values()) == {1}
    assert born == set(range(len(born)))


def test_keys_sort_by_time_and_frames_have_their_length() -> None:
    water = flood()
    keys = [json.loads(water.line(n))["commit"]["rev"] for n in range(0, 40_000, 7)]
    assert keys == sorted(keys)
    assert keys[1][:11] == tid(water.time_us(7))[:11]
    for frame in water.frames(0, 2000):
        size = frame[1] if frame[1] < 126 else int.from_bytes(frame[2:4], "big")
        assert frame[0] == 0x81
        assert len(frame) == size + (2 if frame[1] < 126 else 4)


def test_a_time_names_the_first_event_from_then_on() -> None:
    water = flood(rate=3000.0)
    for n in (0, 1, 2, 999, 123_457):
        assert water.first_after(water.time_us(n)) == n
        assert water.first_after(water.time_us(n) + 1) == n + 1
    assert water.first_after(ORIGIN - 10**9) == 0


def test_a_mix_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="too few posts"):
        flood(Mix(like=0.99, delete=0.01))


def test_a_recording_gives_its_rows(tmp_path: Path) -> None:
    import zstandard

    lines = [{"text": f"post {n}", "author": "a", "lang": "de"} for n in range(9)] + [
        {"text": " "},
        {"text": "x" * 4000},
    ]
    (tmp_path / "p.zst").write_bytes(zstandard.compress(b"\n".join(map(orjson.dumps, lines)) + b"\n"))
    rows = recording(tmp_path / "p.zst")
    assert rows == [Row(f"post {n}", "a", "de") for n in range(9)]
    assert recording(tmp_path / "p.zst", 4) == rows[:4]
    assert len({row.text for row in invented()}) > 1000


@pytest.mark.skipif(not WIRE.is_file(), reason="the recorded lines are not here")
def test_lines_have_the_shape_of_recorded_ones() -> None:
    def kind(message: dict[str, dict[str, object]]) -> tuple[object, object]:
        return message["commit"]["collection"], message["commit"]["operation"]

    recorded: dict[tuple[object, object], list[set[tuple[str, str]]]] = {}
    for line in WIRE.read_bytes().splitlines():
        message = orjson.loads(line)
        if message["kind"] == "commit":
            recorded.setdefault(kind(message), []).append(paths(message))
    water, checked = flood(), set()
    for n in range(CYCLE, 2 * CYCLE):
        message = orjson.loads(water.line(n))
        if (of := kind(message)) in recorded:
            checked.add(of)
            assert paths(message) <= set.union(*recorded[of])
            assert set.intersection(*recorded[of]) - {(".commit.record.langs", "list")} <= paths(message)
    assert checked == {(LIKE, "create"), (REPOST, "create"), (POST, "create"), (POST, "delete")}


# -- the server -----------------------------------------------------------------------------------------------

Serve = Callable[..., Awaitable[Firehose]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[Firehose] = []

    async def start(elapsed: float = 1.0, **options: object) -> Firehose:
        servers.append(Firehose(ROWS, **{"rate": 3000.0, "mix": MIXED, **options}))
        await servers[-1].start(elapsed=elapsed)
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


async def read(server: Firehose, count: int, *collections: str, cursor: int = ORIGIN // 10) -> list[bytes]:
    query = urlencode([("wantedCollections", c) for c in collections] + [("cursor", str(cursor))])
    async with asyncio.timeout(10), connect(f"{server.url}?{query}") as socket:
        return [await socket.recv(decode=False) for _ in range(count)]


async def test_a_subscriber_gets_every_event_in_order_at_its_time(serve: Serve) -> None:
    server = await serve(count=4500)
    lines = await read(server, 4500)
    assert lines == [server.flood.line(n) for n in range(4500)]
    assert 0 <= time.time() * 1e6 - server.flood.time_us(4499) < 500_000


async def test_a_cursor_resumes_at_its_moment_and_collections_filter(serve: Serve) -> None:
    server = await serve()
    water = server.flood
    wanted = [water.line(n) for n in range(700, 3000) if water.event(n).kind in ("like", "repost")]
    assert await read(server, 500, LIKE, REPOST, cursor=water.time_us(700)) == wanted[:500]
    everything = await read(server, 50, "app.bsky.feed.*", cursor=water.time_us(700))
    assert everything == [water.line(n) for n in range(700, 750)]
    server.harm.clamp_s = 0.5
    late = orjson.loads((await read(server, 1, cursor=water.time_us(0)))[0])["time_us"]
    assert late / 1e6 == pytest.approx(time.time() - 0.5, abs=0.2)


async def test_it_says_what_the_stream_is_made_of(serve: Serve) -> None:
    server = await serve(count=2500)
    lines = await read(server, 2500)
    async with httpx.AsyncClient() as client:
        said = (await client.get(server.http_url + "/sent")).json()
        assert (await client.get(server.http_url + "/else")).status_code == 404
    assert said["events"] == said["frames"] == len(lines)
    collections = Counter(orjson.loads(line)["commit"]["collection"] for line in lines)
    assert said["kinds"]["like"] == collections[LIKE]
    assert sum(said["kinds"].values()) == 2500


async def test_a_slow_reader_is_waited_for(serve: Serve) -> None:
    server = await serve(elapsed=20.0, mix=Mix())
    async with connect(f"{server.url}?cursor=1", max_queue=1) as socket:
        await asyncio.sleep(0.3)
        held = server.frames
        assert held < 60_000
        lines = [await socket.recv(decode=False) for _ in range(30_000)]
    assert lines == [server.flood.line(n) for n in range(30_000)]


async def test_what_goes_wrong_is_what_was_asked_for(serve: Serve) -> None:
    harm = Harm(broken=400, bytes=400, future=400, huge=800, huge_bytes=200_000)
    server = await serve(harm=harm, count=800)
    lines = await read(server, 807)
    kinds = Counter[str]()
    for line in lines:
        try:
            kinds["future" if orjson.loads(line).get("time_us", 0) > 10**17 else "good"] += 1
        except orjson.JSONDecodeError:
            kinds["bytes" if b"\xff" in line else "broken"] += 1
        kinds["huge"] += len(line) > 200_000
    assert kinds == {"good": 801, "broken": 2, "bytes": 2, "future": 2, "huge": 1}


async def test_lines_come_twice_and_backwards_on_request(serve: Serve) -> None:
    server = await serve(harm=Harm(repeat=400), count=800)
    assert Counter(Counter(await read(server, 1600)).values()) == {2: 800}
    server.harm.repeat, server.harm.swap = 0, 400
    assert await read(server, 400) == [server.flood.line(n) for n in range(399, -1, -1)]


async def test_connections_are_cut_hang_or_are_refused(serve: Serve) -> None:
    server = await serve(harm=Harm(cut=400))
    with pytest.raises(ConnectionClosed):
        await read(server, 401)
    server.harm.cut, server.harm.hang = 0, 400
    async with connect(f"{server.url}?cursor=1") as socket:
        for _ in range(400):
            await socket.recv()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.2)
    server.harm.refuse = True
    with pytest.raises(InvalidStatus, match="503"):
        await read(server, 1)


async def test_it_runs_as_a_process_of_its_own() -> None:
    command = [
        sys.executable,
        "-m",
        "voxpop.simulator",
        "firehose",
        "--rate",
        "900",
        "--like",
        "0.5",
        "--count",
        "300",
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(10):
        said = json.loads(await process.stdout.readline())
        async with connect(f"{said['url']}?cursor=1") as socket:
            lines = [json.loads(await socket.recv()) for _ in range(300)]
        process.terminate()
        assert await process.wait() == 0
    assert sum(line["commit"]["collection"] == LIKE for line in lines) > 100
