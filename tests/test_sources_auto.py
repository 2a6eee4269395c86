"""A spec opens its source; `auto` falls back to the simulated night and says so; a wrong spec names the cure."""

import time
from contextlib import aclosing
from pathlib import Path

import orjson
import pytest

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Renamed, Upsert
from voxpop.simulator.jetstream import Faults, Jetstream
from voxpop.sources.auto import Spec, Ways, open_source, parse_spec, probe
from voxpop.sources.bluesky import DEFAULT_HOSTS, BlueskySource
from voxpop.sources.replay import ReplaySource

NOBODY = "ws://127.0.0.1:9/subscribe"


@pytest.fixture
async def night():
    server = Jetstream()
    await server.start()
    yield server
    await server.stop()


def ways(server: Jetstream | None, *hosts: str, **options: object) -> Ways:
    started: list[tuple[int, float]] = []

    async def simulator(seed: int, speed: float) -> str:
        started.append((seed, speed))
        return server.url

    return Ways(hosts=hosts or (NOBODY,), simulator=simulator if server else None, **{"probe_s": 0.5} | options)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("auto", Spec("auto")),
        (" bluesky ", Spec("bluesky")),
        ("bluesky:wss://one.example/subscribe?x=1", Spec("bluesky", "wss://one.example/subscribe?x=1")),
        ("replay:/data/a:b.jsonl.zst", Spec("replay", "/data/a:b.jsonl.zst")),
        ("replay:what?.jsonl?speed=2.5", Spec("replay", "what?.jsonl", {"speed": "2.5"})),
        ("simulated", Spec("simulated")),
        ("simulated?seed=9&speed=20", Spec("simulated", "", {"seed": "9", "speed": "20"})),
    ],
)
def test_specs_are_read(text: str, spec: Spec):
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blusky", r"No source is called 'blusky'\. Did you mean 'bluesky'\?"),
        ("telegraph", r"Known: auto, bluesky, .*replay, .*simulated"),
        ("", r"No source is called ''"),
        ("replay", r"incomplete"),
        ("replay:", r"incomplete"),
        ("simulated:7", r"too long"),
        ("simulated?sed=7", r"no option 'sed'\. Did you mean 'seed'\?"),
        ("auto?speed=1", r"no option 'speed'\. It takes none\."),
        ("replay:a.jsonl?speed=0", r"Speed '0' is not possible"),
        ("simulated?speed=fast", r"Speed 'fast' is not possible"),
        ("simulated?seed=x", r"Seed 'x' is not possible"),
    ],
)
def test_a_wrong_spec_names_the_cure(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        parse_spec(text)


async def test_bluesky_opens_without_asking_the_network():
    source = await open_source("bluesky")
    assert isinstance(source, BlueskySource)
    assert (source.name, source.simulated, source.hosts) == ("bluesky", False, DEFAULT_HOSTS)
    own = await open_source("bluesky:ws://127.0.0.1:9/subscribe")
    assert isinstance(own, BlueskySource)
    assert (own.name, own.hosts) == ("bluesky:127.0.0.1:9", (NOBODY,))
    with pytest.raises(UsageError, match="no websocket address"):
        await open_source("bluesky:https://one.example")


async def test_replay_opens_the_file_at_its_speed(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    row = {"id": "1", "platform": "x", "author": "a", "created_at": "2030-01-01T00:00:00.000Z", "text": "Low tide"}
    path.write_bytes(orjson.dumps(row) + b"\n")
    source = await open_source(f"replay:{path}?speed=20")
    assert isinstance(source, ReplaySource)
    assert source.speed == 20.0
    assert [e.post.id async for e in source.events(None) if isinstance(e, Upsert)] == ["x:1"]
    with pytest.raises(VoxpopError, match="No replay file"):
        await open_source("replay:absent.jsonl")


async def test_simulated_starts_the_simulator_and_names_its_people(night: Jetstream):
    source = await open_source("simulated?seed=7&speed=5", ways(night))
    assert (source.name, source.simulated) == ("simulated", True)
    named = False
    async with aclosing(source.events(None)) as events:
        async for event in events:
            named = isinstance(event, Renamed) and event.author.handle.endswith(".example")
            if named:
                break
    assert named


async def test_auto_takes_bluesky_where_it_answers_and_begins_with_the_host_that_did(night: Jetstream):
    source = await open_source("auto", ways(None, NOBODY, night.url))
    assert isinstance(source, BlueskySource)
    assert (source.name, source.simulated, source.hosts) == ("bluesky", False, (night.url, NOBODY))


async def test_auto_falls_back_to_the_simulated_night(night: Jetstream):
    hanging = Jetstream(faults=Faults(hang=True))
    await hanging.start()
    began = time.monotonic()
    source = await open_source("auto", ways(night, NOBODY, hanging.url))
    assert time.monotonic() - began < 3
    assert (source.name, source.simulated) == ("simulated", True)
    await hanging.stop()


async def test_without_network_and_simulator_the_error_says_what_to_do():
    with pytest.raises(VoxpopError, match=r"None of 1 Bluesky hosts answered within 0\.5 s\. Check the network"):
        await open_source("auto", ways(None))
    with pytest.raises(VoxpopError, match="No simulator"):
        await open_source("simulated", ways(None))


async def test_the_probe_names_the_host_that_opens(night: Jetstream):
    assert await probe([NOBODY, night.url], 2) == night.url
    assert await probe([NOBODY], 0.3) == ""
    assert await probe([], 0.1) == ""
