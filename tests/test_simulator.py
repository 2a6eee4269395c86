"""The made-up night is the same for the same seed, tells its story in order, and speaks the real wire."""

import contextlib
import json
import time
from collections import Counter
from pathlib import Path

import httpx
import orjson
import pytest
import zstandard
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voxpop.simulator import night_cast, wire
from voxpop.simulator.jetstream import Faults, Jetstream
from voxpop.simulator.records import LIKE, POST, REPOST, WorldEvent, did
from voxpop.simulator.world import (
    AUTHORITIES,
    DECLARED,
    END,
    FACTS,
    accounts,
    authorities,
    handle_at,
    keys,
    night,
    reactions,
    rest_of_time,
)

WIRE = Path(__file__).parents[2] / "shared" / "data" / "wire" / "bluesky_jetstream" / "expected_v1.jsonl"
NIGHT = night()


def shape(value: object) -> object:
    """Names, order and types, without the values."""
    if isinstance(value, dict):
        return tuple((name, shape(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return ("list", frozenset(shape(inner) for inner in value))
    return type(value).__name__


def paths(value: object, at: str = "") -> set[tuple[str, str]]:
    if isinstance(value, dict):
        return {pair for name, inner in value.items() for pair in paths(inner, f"{at}.{name}")}
    if isinstance(value, list):
        return {pair for inner in value for pair in paths(inner, f"{at}[]")}
    return {(at, type(value).__name__)}


def line(event: WorldEvent, time_us: int = 1_900_000_000_123_456) -> dict[str, object]:
    return json.loads(wire.line(event, time_us, 31_000_000_001))


# -- the world ------------------------------------------------------------------------------------------------


def test_one_seed_gives_one_night_and_another_seed_another_crowd():
    assert night(7) == NIGHT
    other = night(8)
    assert other != NIGHT
    assert [e for e in other if e.key] == [e for e in NIGHT if e.key]
    assert reactions(7) == reactions(7)
    assert rest_of_time(7, 0) == rest_of_time(7, 0) != rest_of_time(7, 1)


def test_the_night_is_as_large_and_as_mixed_as_promised():
    ops = Counter(event.op for event in NIGHT)
    langs = Counter(event.record["langs"][0] for event in NIGHT if event.record)
    assert 3000 <= ops["create"] <= 4200
    assert sum(1 for e in NIGHT if e.op == "create" and e.key) >= 120
    assert set(langs) == {"en", "fr", "es", "de", "pt", "ja"}
    assert min(langs.values()) > 100
    assert min(ops[op] for op in ("update", "delete", "identity", "account")) >= 10
    assert [e.at for e in NIGHT] == sorted(e.at for e in NIGHT)
    assert 0 <= NIGHT[0].at < NIGHT[-1].at < END + 1600
    uris = [e.uri for e in NIGHT if e.op == "create"]
    assert len(uris) == len(set(uris))


def test_only_the_commission_declares_and_only_near_the_end():
    commission = did("commission")
    declared = [e for e in NIGHT if e.did == commission and "elected President" in e.text]
    assert [(e.key, e.at >= DECLARED) for e in declared] == [("declared", True)]
    by_key = keys()
    assert by_key["pell-declared"].at < by_key["declared"].at
    assert "312,540" in by_key["hallovar-wrong"].text
    assert "321,540 votes, not 312,540" in by_key["hallovar-corrected"].text


def test_deletes_and_edits_name_posts_that_came_before():
    born = {e.uri: e.at for e in NIGHT if e.op == "create"}
    for event in NIGHT:
        if event.op in ("update", "delete"):
            assert born[event.uri] < event.at


def test_replies_and_quotes_point_at_earlier_posts():
    born = {e.uri: e.at for e in NIGHT if e.op == "create"}
    pointed = 0
    for event in NIGHT:
        if event.op == "create" and event.record and "reply" in event.record:
            assert born[event.record["reply"]["parent"]["uri"]] < event.at
            assert event.record["reply"]["root"]["uri"] in born
            pointed += 1
    assert pointed > 300


def test_every_fact_rests_on_posts_of_the_plot_that_exist_by_then():
    by_key = keys()
    assert len(FACTS) >= 30
    assert {f.kind for f in FACTS} == {"answerable", "unanswerable", "contested", "superseded", "undeclared"}
    for fact in FACTS:
        for key in fact.evidence:
            assert by_key[key].at <= fact.at, (fact.question, key)
        for key in fact.wrong:
            assert key in by_key
        if fact.kind in ("answerable", "superseded"):
            assert any(fact.answer in by_key[key].text for key in fact.evidence), fact.question


def test_authorities_have_their_own_domains_and_the_impostor_is_none_of_them():
    assert {a.role for a in AUTHORITIES} == {"authority", "press"}
    assert authorities("authority")[0].handle == "commission.tesmar.example"
    fake = night_cast.CAST["impostor"]
    assert fake.name == night_cast.CAST["commission"].name
    assert fake.handle not in {a.handle for a in AUTHORITIES}
    handles = [a.handle for a in accounts().values()]
    assert len(handles) == len(set(handles))
    assert all(handle.endswith(".example") for handle in handles)


def test_a_rename_shows_from_its_moment_on():
    junia = did("junia")
    assert handle_at(junia, 8399) == "junia.murmur.example"
    assert handle_at(junia, 8401) == "junia.lirrencourier.example"
    assert handle_at("did:plc:nobody", 0) == ""


def test_the_simulator_imports_nothing_of_voxpop_but_itself():
    for path in Path(wire.__file__).parent.glob("*.py"):
        for text in path.read_text().splitlines():
            if text.startswith(("from voxpop", "import voxpop")):
                assert text.startswith("from voxpop.simulator"), f"{path.name}: {text}"


# -- the wire -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not WIRE.is_file(), reason="the recorded lines are not here")
def test_lines_have_the_shape_of_recorded_ones():
    recorded = [json.loads(text) for text in WIRE.read_text().splitlines()]
    envelope = {
        (r["kind"], r.get("commit", {}).get("operation")): shape(
            r | {"commit": r.get("commit", {}) | {"record": 0}}
        )
        for r in recorded
        if r["kind"] == "commit"
    }
    for event in NIGHT[:1500] + reactions()[:200]:
        made = line(event)
        if made["kind"] == "commit":
            plain = shape(made | {"commit": made["commit"] | {"record": 0}})
            assert plain == envelope[("commit", made["commit"]["operation"])]
    for collection in (POST, LIKE, REPOST):
        real = [
            r["commit"]["record"]
            for r in recorded
            if r.get("commit", {}).get("record", {}).get("$type") == collection
        ]
        known = set().union(*(paths(r) for r in real))
        ours = [line(e)["commit"]["record"] for e in NIGHT + reactions() if e.record and e.collection == collection]
        unseen = {pair for record in ours for pair in paths(record) if pair not in known}
        assert all(at.startswith(".embed") for at, _ in unseen), unseen  # quotes and videos were not recorded
        orders = {tuple(record) for record in real}
        names = sorted(set().union(*orders))
        assert all(list(record) == [n for n in names if n in record] for record in ours)
    for kind in ("identity", "account"):
        real = next(r for r in recorded if r["kind"] == kind)
        ours = [line(e) for e in NIGHT if e.op == kind and not e.handle and not e.status]
        assert {shape(r) for r in ours} == {shape(real)}


def test_the_wire_says_how_an_account_went_and_what_it_is_called_now():
    gone = next(e for e in NIGHT if e.status == "takendown")
    said = line(gone)["account"]
    assert list(said) == ["active", "did", "seq", "status", "time"]
    assert (said["active"], said["status"], said["time"]) == (False, "takendown", "2030-03-17T17:46:40.123Z")
    renamed = next(e for e in NIGHT if e.handle)
    assert line(renamed)["identity"]["handle"] == "junia.lirrencourier.example"


def test_facets_count_bytes():
    event = next(e for e in NIGHT if e.record and "facets" in e.record and not e.text.isascii())
    facet = event.record["facets"][-1]
    cut = event.text.encode()[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode()
    assert cut.startswith("#") or cut.endswith("...")


# -- the server -----------------------------------------------------------------------------------------------


@pytest.fixture
async def server():
    jetstream = Jetstream()
    await jetstream.start()
    yield jetstream
    await jetstream.stop()


def lookback(seconds: float) -> str:
    return f"cursor={int((time.time() - seconds) * 1e6)}"


async def take(url: str, count: int) -> list[dict]:
    async with connect(url, compression=None, close_timeout=0.1) as socket:
        return [orjson.loads(await socket.recv()) for _ in range(count)]


async def test_a_cursor_brings_the_past_in_order_and_only_the_wanted_collections(server: Jetstream):
    lines = await take(f"{server.url}?wantedCollections={POST}&{lookback(1800)}", 300)
    times = [r["time_us"] for r in lines]
    assert times == sorted(set(times))
    assert times[0] == pytest.approx((time.time() - 1800) * 1e6, abs=30e6)
    assert {r["kind"] for r in lines} >= {"commit"}
    assert {r["commit"]["collection"] for r in lines if r["kind"] == "commit"} == {POST}


async def test_likes_flow_only_when_asked_for(server: Jetstream):
    lines = await take(f"{server.url}?wantedCollections=app.bsky.feed.*&{lookback(1800)}", 400)
    assert {LIKE, REPOST, POST} == {r["commit"]["collection"] for r in lines if r["kind"] == "commit"}


async def test_an_old_cursor_is_clamped_and_a_sequence_number_understood(server: Jetstream):
    old = await take(f"{server.url}?cursor=1000000000000000", 1)
    assert old[0]["time_us"] == pytest.approx(time.time() * 1e6 - 7200e6, abs=30e6)
    assert (await take(f"{server.url}?cursor=5", 1)) == old


async def test_a_fast_night_reaches_its_end_and_then_chatters_on():
    server = Jetstream()
    await server.start(elapsed=END - 60, speed=2000)
    try:
        lines = await take(f"{server.url}?wantedCollections={POST}&{lookback(0)}", 150)
    finally:
        await server.stop()
    texts = " ".join(r["commit"].get("record", {}).get("text", "") for r in lines if r["kind"] == "commit")
    assert "Korvane wins" not in texts
    assert len({r["time_us"] for r in lines}) == 150


async def test_the_directories_answer_in_the_network_s_shape(server: Jetstream):
    dids = [did("commission"), did("junia"), "did:plc:nobody"]
    async with httpx.AsyncClient(base_url=server.http_url) as client:
        document = (await client.get(f"/{dids[0]}")).json()
        assert document["alsoKnownAs"] == ["at://commission.tesmar.example"]
        assert (await client.get("/did:plc:nobody")).status_code == 404
        found = (await client.get("/xrpc/app.bsky.actor.getProfiles", params={"actors": dids})).json()["profiles"]
        assert [p["handle"] for p in found] == ["commission.tesmar.example", "junia.murmur.example"]
        assert (
            await client.get("/xrpc/app.bsky.actor.getProfiles", params={"actors": ["x"] * 26})
        ).status_code == 400


async def test_compression_needs_the_dictionary_and_uses_it(server: Jetstream):
    with pytest.raises(InvalidStatus):
        await take(f"{server.url}?compress=true", 1)
    dictionary = b"".join(wire.line(e, 1_900_000_000_000_000, 1) for e in NIGHT[:40])
    packed = Jetstream(dictionary=dictionary)
    await packed.start()
    try:
        async with connect(
            f"{packed.url}?compress=true&{lookback(600)}", compression=None, close_timeout=0.1
        ) as socket:
            frame = await socket.recv()
        unpack = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(dictionary))
        assert orjson.loads(unpack.decompress(frame))["kind"] == "commit"
    finally:
        await packed.stop()


async def test_two_runs_share_no_post_and_references_move_along(server: Jetstream):
    later = Jetstream()
    await later.start(elapsed=7100)
    lines = await take(f"{later.url}?wantedCollections={POST}&{lookback(3600)}", 500)
    await later.stop()
    created = {f"at://{r['did']}/{POST}/{r['commit']['rkey']}" for r in lines if r.get("commit", {}).get("cid")}
    known = {later.uri(e) for e in NIGHT if e.op == "create"}
    assert created <= known
    assert not known & {server.uri(e) for e in NIGHT}
    parents = {
        r["commit"]["record"]["reply"]["parent"]["uri"]
        for r in lines
        if "reply" in r.get("commit", {}).get("record", {})
    }
    assert parents
    assert parents <= known


async def test_faults_come_on_demand(server: Jetstream):
    server.faults = Faults(drop_after=3, duplicate=True, garbage_every=2, times=1)
    url = f"{server.url}?{lookback(1800)}"
    frames = []
    async with connect(url, compression=None, close_timeout=0.1) as socket:
        with contextlib.suppress(ConnectionClosed):
            while True:
                frames.append(await socket.recv())
    assert frames[0] == frames[1]
    assert sum(1 for f in frames if '"time_us":1' not in f) == 1
    server.faults.refuse = True
    with pytest.raises(InvalidStatus):
        await take(url, 1)
