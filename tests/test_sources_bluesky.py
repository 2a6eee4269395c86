"""The live source folds every kind of event, resumes, outlives bad hosts, and never raises on input."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from operator import sub
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import (
    LABELS,
    MARKS,
    AccountGone,
    Author,
    Delete,
    Engaged,
    Engagement,
    Event,
    Missed,
    Renamed,
    Upsert,
)
from voxpop.simulator import wire
from voxpop.simulator.firehose import Firehose, Harm
from voxpop.simulator.flood import Flood, Mix
from voxpop.simulator.jetstream import Faults, Jetstream
from voxpop.simulator.records import POST, did
from voxpop.simulator.world import keys, night
from voxpop.sources import bluesky
from voxpop.sources.bluesky import DEFAULT_HOSTS, BlueskySource, Patience
from voxpop.sources.engagement import LIKES, REPLIES, REPOSTS, Tally
from voxpop.sources.handles import Directories, Handles, _author
from voxpop.sources.jetstream import LIKE, REPOST, Reading, read_line
from voxpop.sources.steady import Steady
from voxpop.times import span

DATA = Path(os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
WIRE = DATA / "wire" / "bluesky_jetstream" / "expected_v1.jsonl"
NOW = 1_900_000_000_000_000
ANA = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
QUICK = Patience(open_s=0.3, idle_s=0.3, first_wait_s=0.01, longest_wait_s=0.05, overlap_s=0.0)


def commit(record: object = None, *, operation: str = "create", **changes: object) -> bytes:
    body = {"rev": "3k", "operation": operation, "collection": POST, "rkey": "3kpost"}
    if record is not None:
        body |= {"record": record, "cid": "bafy"}
    message = {"did": ANA, "time_us": NOW - 5, "kind": "commit", "commit": body | changes.pop("commit", {})}
    return orjson.dumps(message | changes)


def record(text: object = "Boats are in", **more: object) -> dict[str, object]:
    return {"$type": POST, "createdAt": "2030-03-17T17:46:30.000Z", "langs": ["pt-BR"], "text": text} | more


def post(line: bytes):
    event = read_line(line, NOW)
    assert isinstance(event, Upsert), event
    return event.post


# -- the fold -------------------------------------------------------------------------------------------------


def test_a_create_becomes_a_post_with_the_relay_s_time_and_the_author_s_claim():
    event = read_line(commit(record()), NOW)
    assert isinstance(event, Upsert)
    found = event.post
    assert event.cursor == str(NOW - 5)
    assert found.id == f"at://{ANA}/{POST}/3kpost"
    assert found.url == f"https://bsky.app/profile/{ANA}/post/3kpost"
    assert (found.author, found.network, found.lang) == (Author(ANA), "bluesky", "pt")
    assert (found.witnessed_at, found.created_at) == (NOW - 5, NOW - 10_000_000)


@pytest.mark.parametrize("claim", ["", "soon", None, 7, "0001-01-01T00:00:00Z", "9999-99-99T00:00:00.000Z"])
def test_a_claim_that_is_no_time_counts_as_the_moment_of_witnessing(claim: object):
    assert post(commit(record(createdAt=claim))).created_at == NOW - 5


def test_a_claim_from_the_future_changes_neither_the_witnessed_time_nor_the_cursor():
    event = read_line(commit(record(createdAt="2099-01-01T00:00:00.000Z")), NOW)
    assert isinstance(event, Upsert)
    assert (event.post.witnessed_at, event.cursor) == (NOW - 5, str(NOW - 5))


def test_a_relay_ahead_of_us_is_held_to_one_second_and_a_wrong_one_is_dropped():
    near = read_line(commit(record(), time_us=NOW + 60_000_000), NOW)
    assert isinstance(near, Upsert)
    assert (near.post.witnessed_at, near.cursor) == (NOW + 1_000_000, str(NOW + 1_000_000))
    assert read_line(commit(record(), time_us=NOW + 3_600_000_000), NOW) == "future time_us"
    assert read_line(commit(record(), time_us=31_000_000_000), NOW) == "bad time_us"


def test_a_shortened_link_gets_its_true_address_by_byte_offsets():
    text = "Héron 🪶 www.youtube.com/watch?v=V5lD..."
    start, end = len("Héron 🪶 ".encode()), len(text.encode())
    feature = {"$type": "app.bsky.richtext.facet#link", "uri": "https://www.youtube.com/watch?v=V5lDabc"}
    hidden = {"$type": "app.bsky.richtext.facet#link", "uri": "https://nobody.example/sees-this"}
    facets = [
        {"features": [feature], "index": {"byteStart": start, "byteEnd": end}},
        {"features": [hidden], "index": {"byteStart": start, "byteEnd": end + 1}},
        {
            "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "x"}],
            "index": {"byteStart": 0, "byteEnd": 1},
        },
    ]
    assert post(commit(record(text, facets=facets))).links == ("https://www.youtube.com/watch?v=V5lDabc",)


def test_attachments_replies_and_quotes_are_read():
    other = f"at://{ANA}/{POST}/3kother"
    image = {"$type": "app.bsky.embed.images", "images": [{"alt": "A quay", "image": {}}, {"alt": "", "image": {}}]}
    ref = {"cid": "bafy", "uri": other}
    quote = {"$type": "app.bsky.embed.record", "record": ref}
    card = {"title": "Tides", "description": "When to sail", "uri": "https://tides.example/"}
    assert post(commit(record(embed=image))).media == (("image", "", "A quay"), ("image", "", ""))
    assert post(commit(record("", embed=image))).text == ""
    assert post(commit(record(embed=quote))).quote_of == other
    both = {"$type": "app.bsky.embed.recordWithMedia", "media": image, "record": quote}
    assert (post(commit(record(embed=both))).quote_of, len(post(commit(record(embed=both))).media)) == (other, 2)
    external = {"$type": "app.bsky.embed.external", "external": card}
    assert post(commit(record(embed=external))).media == (
        ("card", "https://tides.example/", "Tides\nWhen to sail"),
    )
    video = {"$type": "app.bsky.embed.video", "alt": "A bell rings", "video": {}}
    assert post(commit(record(embed=video))).media == (("video", "", "A bell rings"),)
    reply = {"parent": ref, "root": {"cid": "bafy", "uri": f"at://{ANA}/{POST}/3kroot"}}
    answered = post(commit(record(reply=reply)))
    assert (answered.reply_to, answered.root) == (other, f"at://{ANA}/{POST}/3kroot")


def test_an_update_replaces_and_one_that_cannot_be_shown_removes_what_was_there():
    assert post(commit(record("Now fixed"), operation="update")).text == "Now fixed"
    for unusable in (record(""), record("x" * 4000), record(7), None, {"$type": "other"}):
        assert read_line(commit(unusable, operation="update"), NOW) == Delete(
            f"at://{ANA}/{POST}/3kpost", NOW - 5, str(NOW - 5)
        )


def test_deletes_and_departed_accounts_are_events():
    assert read_line(commit(operation="delete"), NOW) == Delete(f"at://{ANA}/{POST}/3kpost", NOW - 5, str(NOW - 5))
    for status in ("deleted", "suspended", "takendown", "deactivated"):
        body = {"active": False, "did": ANA, "seq": 1, "status": status, "time": ""}
        line = orjson.dumps({"did": ANA, "time_us": NOW, "kind": "account", "account": body})
        assert read_line(line, NOW) == AccountGone(ANA, NOW, str(NOW))
    for body in ({"active": True}, {"active": False, "status": "throttled"}):
        assert (
            read_line(orjson.dumps({"did": ANA, "time_us": NOW, "kind": "account", "account": body}), NOW) is None
        )


def test_an_identity_event_names_the_new_handle():
    line = orjson.dumps({"did": ANA, "time_us": NOW, "kind": "identity", "identity": {"handle": "Ana.Example"}})
    assert read_line(line, NOW) == Renamed(Author(ANA, "ana.example"), str(NOW))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{nope", "not JSON"),
        (b"7", "not an object"),
        (commit(record(), did="did:key:z6"), "bad did"),
        (commit(record(), did="did:plc:aaaa/../../x"), "bad did"),
        (commit(record(), time_us="1900000000000000"), "bad time_us"),
        (commit(record(), time_us=True), "bad time_us"),
        (commit(record(), kind="surprise"), "unknown kind"),
        (commit(record(), kind=["commit"]), "unknown kind"),
        (orjson.dumps({"did": ANA, "time_us": NOW, "kind": "commit"}), "commit without its body"),
        (commit(record(), commit={"rkey": "a/b"}), "bad rkey"),
        (commit(record(), operation="rewrite"), "unknown operation"),
        (commit([]), "bad record"),
        (commit(record(None)), "no text"),
        (commit(record("  \n")), "no text"),
        (commit(record("x" * 3001)), "text too long"),
    ],
)
def test_a_bad_line_has_a_reason(line: bytes, reason: str):
    assert read_line(line, NOW) == reason


NAMES = [
    "did",
    "time_us",
    "kind",
    "commit",
    "identity",
    "account",
    "record",
    "text",
    "embed",
    "$type",
    "facets",
    "index",
]
NAMES += [
    "operation",
    "collection",
    "rkey",
    "langs",
    "reply",
    "parent",
    "root",
    "uri",
    "images",
    "alt",
    "features",
    "media",
]
VALUES = ["commit", "identity", "account", "create", "update", "delete", POST, ANA, "app.bsky.embed.images", "3k"]
VALUES += [
    "app.bsky.embed.record",
    "app.bsky.embed.recordWithMedia",
    "app.bsky.embed.external",
    "app.bsky.embed.video",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=8) | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300) | JSON.map(orjson.dumps))
def test_no_bytes_can_raise(line: str | bytes):
    event = read_line(line, NOW)
    assert event is None or isinstance(event, str | Event)


@settings(deadline=None)
@given(JSON, JSON, JSON, JSON, st.sampled_from(["create", "update"]))
def test_no_record_can_raise(text: object, embed: object, facets: object, reply: object, operation: str):
    made = record(text, embed=embed, facets=facets, reply=reply, langs=[text], createdAt=text)
    event = read_line(commit(made, operation=operation), NOW)
    assert isinstance(event, str | Event)
    if isinstance(event, Upsert):
        hash(event.post)


@pytest.mark.skipif(not WIRE.is_file(), reason="the recorded lines are not here")
def test_no_recorded_line_is_bad():
    lines = WIRE.read_bytes().splitlines()
    events = [read_line(line, int(time.time() * 1e6)) for line in lines]
    assert len(events) == 152
    assert not [e for e in events if isinstance(e, str)]
    posts = [e.post for e in events if isinstance(e, Upsert)]
    assert len(posts) == 17
    assert any(p.text.endswith("...") and p.links and not p.links[0].endswith("...") for p in posts)
    assert sum(isinstance(e, Delete) for e in events) == 1


def test_every_event_of_the_night_is_understood():
    events = [read_line(wire.line(e, NOW, 1), NOW) for e in night()]
    assert not [e for e in events if isinstance(e, str)]
    assert {type(e) for e in events} == {Upsert, Delete, AccountGone, Renamed, type(None)}


# -- the connection -------------------------------------------------------------------------------------------


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., object]]:
    servers: list[Jetstream] = []

    async def start(faults: Faults | None = None, **options: float) -> Jetstream:
        server = Jetstream(faults=faults)
        servers.append(server)
        await server.start(**options)
        return server

    yield start
    for server in servers:
        await server.stop()


async def take(source: BlueskySource, count: int, after: str | None = None) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(10), aclosing(source.events(after)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


def posts_of(events: list[Event]) -> list[str]:
    return [e.post.id for e in events if isinstance(e, Upsert)]


def source(*servers: Jetstream, **options: object) -> BlueskySource:
    return BlueskySource([s.url for s in servers], **{"directories": None, "patience": QUICK} | options)


async def test_without_a_cursor_it_begins_at_its_look_back(serve):
    server = await serve()
    live = source(server, lookback_s=600)
    events = await take(live, 40)
    first = next(e.post.witnessed_at for e in events if isinstance(e, Upsert))
    assert first / 1e6 == pytest.approx(time.time() - 600, abs=30)
    assert f"wantedCollections={POST}&cursor=" in server.seen.subscriptions[0].replace("%3A", ":")
    assert not live.dropped
    assert live.state == "stopped"


async def test_a_stored_cursor_resumes_after_it(serve):
    server = await serve()
    first = await take(source(server), 30)
    again = await take(source(server), 31, first[9].cursor)
    assert [e.cursor for e in again[:21]] == [e.cursor for e in first[9:]]


async def test_the_state_says_where_and_how_far_behind(serve):
    server = await serve()
    live = source(server)
    async with aclosing(live.events(None)) as events:
        await anext(events)
        await asyncio.sleep(0.05)
        assert live.state.startswith(f"connected to 127.0.0.1:{server.url.split(':')[2].split('/')[0]}, ")
        assert live.gap_s == 0
        for _ in range(300):  # the state keeps step with what is read
            assert live.state.endswith(f", {span(live.lag_s)} behind")
            await anext(events)


async def test_a_cut_line_is_taken_up_again_without_loss(serve):
    server = await serve(Faults(drop_after=7, times=3))
    live = source(server)
    begin = str(int((time.time() - 1800) * 1e6))
    got = posts_of(await take(live, 60, begin))
    assert len(server.seen.subscriptions) == 4
    assert live.dropped["connection lost"] == 3
    server.faults = Faults()
    whole = posts_of(await take(source(server), 60, begin))
    assert list(dict.fromkeys(got))[:25] == whole[:25]


async def test_doubled_and_broken_lines_do_no_harm(serve):
    server = await serve(Faults(duplicate=True, garbage_every=3))
    live = source(server)
    got = posts_of(await take(live, 80))
    assert len(got) > len(set(got)) > 20
    assert set(live.dropped) == {"not JSON", "bad did", "not an object"}


async def test_a_silent_host_is_dead_and_the_next_one_takes_over(serve):
    silent, well = await serve(Faults(silence_after=3)), await serve()
    live = source(silent, well)
    got = await take(live, 40)
    assert len(got) == 40
    assert len(silent.seen.subscriptions) == len(well.seen.subscriptions) == 1
    asked = int(well.seen.subscriptions[0].partition("cursor=")[2])
    assert asked == int(got[2].cursor)


@pytest.mark.parametrize("faults", [Faults(refuse=True), Faults(hang=True)])
async def test_a_host_that_does_not_open_is_passed_over(serve, faults: Faults):
    live = source(await serve(faults), await serve())
    assert len(await take(live, 5)) == 5
    assert live.dropped == {"connection lost": 1}


async def test_while_no_host_answers_it_keeps_trying_and_says_why():
    live = BlueskySource(["ws://127.0.0.1:9/subscribe"], directories=None, patience=QUICK)
    async with aclosing(live.events(None)) as events:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.3)
        assert live.dropped["connection lost"] > 2
        assert "127.0.0.1:9" in live.state
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_clamped_cursor_shows_as_a_gap(serve):
    server = await serve(Faults(clamp_s=300))
    live = source(server)
    async with aclosing(live.events(str(int((time.time() - 7000) * 1e6)))) as events:
        await anext(events)
        await asyncio.sleep(0.02)
        assert live.gap_s == pytest.approx(6700, abs=40)
        assert "1" in live.state.partition("missing")[0]
        assert live.state.endswith("missing before")


async def test_compressed_frames_are_read_with_a_dictionary(tmp_path: Path):
    content = b"".join(wire.line(e, NOW, 1) for e in night()[:40])
    (tmp_path / "dictionary").write_bytes(content)
    server = Jetstream(dictionary=content)
    await server.start()
    live = source(server, compress=True, dictionary=tmp_path / "dictionary")
    assert len(posts_of(await take(live, 20))) > 10
    assert "compress=true" in server.seen.subscriptions[0]
    assert not live.dropped
    await server.stop()


def test_impossible_settings_say_what_and_how(tmp_path: Path):
    with pytest.raises(UsageError, match=r"'https://x' is no websocket address\. Write it as wss"):
        BlueskySource(["https://x"])
    with pytest.raises(UsageError, match="no hosts"):
        BlueskySource([])
    with pytest.raises(UsageError, match="dictionary, and none was given"):
        BlueskySource(compress=True)
    with pytest.raises(VoxpopError, match="absent' cannot be read"):
        BlueskySource(compress=True, dictionary=tmp_path / "absent")
    assert len(DEFAULT_HOSTS) == 4


async def test_a_cursor_that_is_none_is_our_own_fault_and_raises():
    with pytest.raises(VoxpopError, match="cursor 'x' of source 'bluesky'"):
        await take(BlueskySource(), 1, "x")


# -- handles --------------------------------------------------------------------------------------------------


async def named(server: Jetstream, *dids: str, **options: object) -> dict[str, Author]:
    handles = Handles(Directories.at(server.http_url), pause_s=0.01, **options)
    found: dict[str, Author] = {}

    async def note(author: Author) -> None:
        found[author.id] = author

    for one in dids:
        assert handles.known(one) == Author(one)
    task = asyncio.create_task(handles.run(note))
    for _ in range(100):
        await asyncio.sleep(0.01)
        if all(handles.known(one).handle for one in dids):
            break
    task.cancel()
    return found


async def test_posts_come_first_and_their_authors_handles_later(serve):
    server = await serve()
    live = source(server, directories=Directories.at(server.http_url))
    events: list[Event] = []
    async with asyncio.timeout(10), aclosing(live.events(None)) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, Renamed) and event.author.handle:
                break
    assert isinstance(events[0], Upsert)
    assert events[0].post.author.handle == ""
    renamed = events[-1]
    assert renamed.author.handle.endswith(".example")
    assert renamed.author.id in {e.post.author.id for e in events if isinstance(e, Upsert)}
    assert renamed.cursor
    assert all(r.count("actors=") <= 25 for r in server.seen.requests)


async def test_handles_are_asked_for_25_at_a_time_and_remembered(serve):
    server = await serve()
    dids = sorted({e.did for e in night()})[:60]
    found = await named(server, *dids)
    assert set(found) == set(dids)
    assert len(server.seen.requests) == 3
    assert found[dids[0]].name


async def test_a_profile_tells_what_its_network_says_of_it_and_its_own_words(serve):
    server = await serve()
    commission, dreyl, soup = did("commission"), did("parody_dreyl"), did("parody_commission")
    found = await named(server, commission, dreyl, soup)
    assert (found[commission].mark, found[dreyl].mark) == ("person", "")
    assert [found[d].label for d in (commission, dreyl, soup)] == ["", "parody", ""]
    assert found[soup].bio == "Counting soup since 2019. Parody account."
    assert found[soup].since == 1_714_550_400_000_000


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from(["handle", "displayName", "description", "createdAt"]), JSON),
    st.dictionaries(st.sampled_from(["verifiedStatus", "trustedVerifierStatus"]), JSON) | JSON,
    st.lists(st.fixed_dictionaries({"val": JSON | st.sampled_from(["parody", "bot"]), "neg": JSON}) | JSON) | JSON,
)
def test_any_profile_is_read_within_bounds(profile: dict[str, Any], verification: Any, labels: Any):
    author = _author(ANA, profile | {"verification": verification, "labels": labels})
    assert author.mark in ("", *MARKS)
    assert author.label in ("", *LABELS)
    assert 0 <= author.since < 2**62
    assert len(author.bio) <= 300
    hash(author)


def test_whom_the_network_verified_is_a_person_and_who_may_verify_an_organisation():
    valid, none = {"verifiedStatus": "valid"}, {"verifiedStatus": "none", "trustedVerifierStatus": "none"}
    assert _author(ANA, {"verification": valid}).mark == "person"
    assert _author(ANA, {"verification": valid | {"trustedVerifierStatus": "valid"}}).mark == "organisation"
    assert _author(ANA, {"verification": none}).mark == ""
    assert _author(ANA, {"labels": [{"val": "impersonation"}, {"val": "bot"}]}).label == "parody"
    assert _author(ANA, {"labels": [{"val": "parody", "neg": True}, {"val": "bot"}]}).label == "automated"


async def test_when_the_profile_service_is_down_the_documents_answer_and_the_domain_confirms(serve):
    commission, junia = did("commission"), did("junia")
    server = await serve(Faults(profiles_down=True, claims={junia: "commission.tesmar.example"}))
    found = await named(server, commission, junia)
    assert found == {commission: Author(commission, "commission.tesmar.example")}


async def test_memory_and_queue_are_bounded_and_the_oldest_ask_gives_way():
    handles = Handles(cache=2, queue=3)
    for number in range(5):
        handles.ask(f"did:web:{number}.example")
    assert handles.dropped == {"handle not asked: queue full": 2}
    assert list(handles._asked) == ["did:web:2.example", "did:web:3.example", "did:web:4.example"]
    for number in range(4):
        handles._remember(Author(f"did:web:{number}.example", "a.example"))
    assert len(handles._known) == 2


@pytest.mark.parametrize(("claim", "said"), [("new.example", ["handle.invalid"]), ("old.example", []), ("", [])])
async def test_an_identity_event_makes_the_handle_unknown_until_it_is_asked_again(claim: str, said: list[str]):
    live = BlueskySource()
    live._handles = handles = Handles()
    handles._remember(Author(ANA, "old.example", "Ana"))
    line = orjson.dumps({"did": ANA, "time_us": NOW, "kind": "identity", "identity": {"handle": claim}})
    events = live._take(line, NOW)
    assert [e.author for e in events if isinstance(e, Renamed)] == [Author(ANA, handle, "Ana") for handle in said]
    assert list(handles._asked) == [ANA]
    assert handles.known(ANA) == Author(ANA)


async def test_posts_go_on_when_lookups_break(serve, monkeypatch: pytest.MonkeyPatch):
    async def broken(*_: object) -> None:
        raise RuntimeError("no sockets left")

    monkeypatch.setattr(Handles, "run", broken)
    server = await serve()
    live = source(server, directories=Directories.at(server.http_url))
    assert len(await take(live, 30)) == 30
    assert live.dropped["handles: lookups stopped"] >= 1


async def test_a_fault_of_our_own_reaches_the_reader(serve, monkeypatch: pytest.MonkeyPatch):
    live = source(await serve())
    monkeypatch.setattr(live, "_take", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await take(live, 1)


async def test_a_claimed_new_handle_ends_the_old_one_and_counts_once_confirmed(serve):
    rename = next(e for e in night() if e.handle)
    server = await serve(elapsed=rename.at + 30)
    live = source(server, lookback_s=60, directories=Directories.at(server.http_url))
    said: list[str] = []
    async with asyncio.timeout(10), aclosing(live.events(None)) as events:
        async for event in events:
            if isinstance(event, Renamed) and event.author.id == rename.did:
                said.append(event.author.handle)
                if len(said) == 2:
                    break
    assert said == ["handle.invalid", "junia.lirrencourier.example"]
    without = await take(source(server, lookback_s=60), 12)
    assert [e.author.handle for e in without if isinstance(e, Renamed)] == ["junia.lirrencourier.example"]


async def test_the_impostor_is_taken_down_in_the_stream(serve):
    fake = keys()["impostor-call"]
    server = await serve(elapsed=15_400)
    live = source(server, lookback_s=900)
    seen: list[Event] = []
    async with asyncio.timeout(10), aclosing(live.events(None)) as events:
        async for event in events:
            seen.append(event)
            if isinstance(event, AccountGone) and event.author_id == fake.did:
                break
    assert server.uri(fake) in posts_of(seen)


# -- engagement -----------------------------------------------------------------------------------------------


def reaction(subject: object, collection: str = LIKE, **commit_: object) -> bytes:
    body = {"rev": "3k", "operation": "create", "collection": collection, "rkey": "3klike", "cid": "bafy"}
    body |= {"record": {"$type": collection, "subject": {"cid": "bafy", "uri": subject}}} | commit_
    return orjson.dumps({"did": ANA, "time_us": NOW - 5, "kind": "commit", "commit": body})


def told(*lines: bytes) -> tuple[list[tuple[int, str, str, int]], list[object]]:
    heard: list[tuple[int, str, str, int]] = []
    reading = Reading(reacted=lambda *what: heard.append(what))
    return heard, [read_line(line, NOW, reading) for line in lines]


def test_likes_reposts_and_replies_are_told_with_their_own_key():
    other = f"at://{ANA}/{POST}/3kother"
    reply = {"parent": {"cid": "b", "uri": other}, "root": {"cid": "b", "uri": other}}
    answer = commit(record(reply=reply))
    edited = commit(record(reply=reply), operation="update")
    heard, events = told(reaction(other), reaction(other, REPOST), answer, edited)
    assert heard == [
        (LIKES, other, f"{ANA}/3klike", NOW - 5),
        (REPOSTS, other, f"{ANA}/3klike", NOW - 5),
        (REPLIES, other, f"at://{ANA}/{POST}/3kpost", NOW - 5),
    ]
    assert events[:2] == [None, None]
    assert all(isinstance(e, Upsert) for e in events[2:])
    assert read_line(reaction(other), NOW) is None


def test_a_reaction_that_names_no_post_is_not_counted_and_a_bad_one_has_a_reason():
    feed = f"at://{ANA}/app.bsky.feed.generator/3k"
    heard, events = told(
        reaction(feed),
        reaction("x", operation="delete"),
        reaction("nowhere"),
        reaction(7),
        reaction(feed, record=[]),
    )
    assert heard == []
    assert events == [None, None, "bad reaction", "bad reaction", "bad reaction"]


@settings(deadline=None)
@given(JSON, JSON, JSON, st.sampled_from([LIKE, REPOST]))
def test_no_reaction_can_raise(record_: object, rkey: object, operation: object, collection: str):
    _, events = told(reaction("", collection, record=record_, rkey=rkey, operation=operation), reaction(record_))
    assert all(e is None or isinstance(e, str) for e in events)


def test_a_tally_counts_each_key_once_and_nothing_from_before_it_began(monkeypatch: pytest.MonkeyPatch):
    from voxpop.sources import engagement

    monkeypatch.setattr(engagement, "_KEPT", 3)
    tally = Tally(after=10)
    for key, at in (("a", 10), ("b", 11), ("b", 11), ("c", 12), ("d", 13), ("e", 14), ("b", 11)):
        tally.add(LIKES, "p", key, at)
    tally.add(REPLIES, "q", "f", 15)
    assert (len(tally), tally.newest) == (2, 15)
    assert tally.take() == {"p": Engagement(likes=4), "q": Engagement(replies=1)}
    assert tally.take() == {}


MIXED = Mix(like=0.6, repost=0.1, reply=0.1, delete=0.02)


@pytest.fixture
async def gush() -> AsyncIterator[Callable[..., object]]:
    servers: list[Firehose] = []

    async def start(elapsed: float = 30.0, **options: object) -> Firehose:
        servers.append(Firehose(**{"rate": 500.0, "mix": MIXED, **options}))
        await servers[-1].start(elapsed=elapsed)
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


def folded(flood: Flood, start: int, stop: int) -> dict[str, Engagement]:
    """What the events of these numbers add to each post."""
    sums: dict[str, list[int]] = {}
    for n in range(start, stop):
        kind, post = flood.event(n)
        if kind == "reply":
            post -= len(flood._posts)
        if kind in ("like", "repost", "reply"):
            sums.setdefault(flood.uri(post), [0, 0, 0])[("like", "repost", "reply").index(kind)] += 1
    return {uri: Engagement(*counts) for uri, counts in sums.items()}


def added(events: list[Event]) -> dict[str, Engagement]:
    sums: dict[str, Engagement] = {}
    for event in events:
        if isinstance(event, Engaged):
            old = sums.get(event.id, Engagement())
            sums[event.id] = Engagement(*(a + b for a, b in zip(old, event.more, strict=True)))
    return sums


async def until_added(live: BlueskySource, wanted: dict[str, Engagement], after: str = "1") -> list[Event]:
    """Events until as much was added as is wanted."""
    found: list[Event] = []
    left = sum(sum(counts) for counts in wanted.values())
    async with asyncio.timeout(10), aclosing(live.events(after)) as events:
        async for event in events:
            found.append(event)
            left -= sum(event.more) if isinstance(event, Engaged) else 0
            if left <= 0:
                break
    return found


PLENTY = QUICK._replace(gap_s=float("inf"), idle_s=5.0)
SUMS = PLENTY._replace(overlap_s=0.2, adding_s=0.05, idle_s=2.0)


@pytest.mark.parametrize(
    "harm", [Harm(), Harm(cut=1700), Harm(repeat=300), Harm(swap=900), Harm(broken=100, future=150, bytes=90)]
)
async def test_sums_are_exact_whatever_the_host_does(gush, harm: Harm):
    server = await gush(count=6000, harm=harm)
    live, wanted = source(server, engagement=True, patience=SUMS), folded(server.flood, 0, 6000)
    events = await until_added(live, wanted)
    assert added(events) == wanted
    assert len([e for e in events if isinstance(e, Engaged)]) < 3000
    assert set(posts_of(events)) == {
        server.flood.uri(e.post) for e in map(server.flood.event, range(6000)) if e.kind in ("post", "reply")
    }
    assert bool(live.dropped) == (harm not in (Harm(), Harm(repeat=300), Harm(swap=900)))


async def test_many_likes_of_a_post_are_one_event_and_the_cursor_moves_with_the_sums(gush):
    server = await gush(count=2000)
    events = await until_added(source(server, engagement=True, patience=SUMS), folded(server.flood, 0, 2000))
    runs: list[list[Engaged]] = [[]]
    for event in events:
        if isinstance(event, Engaged):
            runs[-1].append(event)
        elif runs[-1]:
            runs.append([])
    for run in filter(None, runs):
        assert len({e.cursor for e in run}) == 1
        assert len({e.id for e in run}) == len(run)
    cursors = [int(e.cursor) for e in events if e.cursor]
    assert cursors == sorted(cursors)


@pytest.mark.parametrize("stop", [1, 700, 1500])
@pytest.mark.parametrize("last", [Upsert, Engaged])
async def test_a_restart_goes_on_from_the_stored_cursor_and_counts_nothing_twice(gush, stop: int, last: type):
    server = await gush(count=6000)
    live = source(server, engagement=True, patience=SUMS._replace(adding_s=0.0 if last is Engaged else 0.05))
    found = [e async for e in stored(live, stop, last)]
    before, wanted = added(found), folded(server.flood, 0, 6000)
    left = {post: Engagement(*map(sub, counts, before.get(post, (0, 0, 0)))) for post, counts in wanted.items()}
    cursor = next((e.cursor for e in reversed(found) if e.cursor), "")
    found += await until_added(source(server, engagement=True, patience=SUMS), left, cursor or "1")
    assert added(found) == wanted


async def stored(live: BlueskySource, count: int, last: type) -> AsyncIterator[Event]:
    """At least `count` events, the last of a kind, but no torn run of sums: what `ingest` may have stored."""
    seen, over = 0, False
    async with asyncio.timeout(10), aclosing(live.events("1")) as events:
        async for event in events:
            if over and not isinstance(event, Engaged):
                return
            yield event
            seen += 1
            over = seen >= count and isinstance(event, last)
            if over and last is Upsert:
                return


async def test_with_several_hosts_what_another_saw_within_the_overlap_is_not_counted(gush):
    server = await gush(count=3000)
    cursor = server.flood.time_us(1000)
    live = BlueskySource([server.url] * 2, directories=None, engagement=True, patience=SUMS)
    first = server.flood.first_after(cursor + 200_001)
    wanted = folded(server.flood, first, 3000)
    assert added(await until_added(live, wanted, str(cursor))) == wanted


# -- trouble --------------------------------------------------------------------------------------------------


async def test_broken_lines_of_every_kind_cost_no_post_and_no_connection(gush):
    harm = Harm(broken=50, bytes=70, future=90, huge=900, huge_bytes=10_000_000)
    server = await gush(count=3000, mix=Mix(), harm=harm)
    live = source(server, patience=PLENTY)
    got = posts_of(await take(live, 3000, "1"))
    assert got == [server.flood.uri(n) for n in range(3000)]
    assert live.dropped["line too long"] >= 2
    assert live.dropped["not JSON"] >= 90
    assert live.dropped["future time_us"] >= 30
    assert "connection lost" not in live.dropped


async def test_a_host_that_floods_with_garbage_is_left_and_starves_nobody(gush):
    bad, well = await gush(harm=Harm(garbage=True)), await gush(mix=Mix())
    live = source(bad, well, patience=PLENTY._replace(longest_wait_s=0.2))
    worst, last = 0.0, time.monotonic()

    async def beat() -> None:
        nonlocal worst, last
        while True:
            await asyncio.sleep(0.001)
            worst, last = max(worst, time.monotonic() - last), time.monotonic()

    beating = asyncio.create_task(beat())
    assert len(await take(live, 3000, "1")) == 3000
    beating.cancel()
    assert live.dropped["connection lost"] == 1
    assert live.dropped["not JSON"] + live.dropped["not an object"] < 5000
    assert worst < 1.0


async def test_a_flood_that_nobody_takes_is_held_back(gush):
    server = await gush(elapsed=100.0, rate=2000.0, mix=Mix())
    live = source(server, patience=PLENTY._replace(idle_s=0.4))
    async with asyncio.timeout(10), aclosing(live.events("1")) as events:
        got = [await anext(events)]
        await asyncio.sleep(1.0)  # longer than a silent line may last
        assert server.frames < 60_000
        assert server.connections == 1
        while len(got) < 20_000:
            got.append(await anext(events))
    assert posts_of(got) == [server.flood.uri(n) for n in range(20_000)]
    assert not live.dropped


async def test_what_a_host_no_longer_keeps_is_missed_once(serve):
    server = await serve(Faults(clamp_s=300, drop_after=10, times=2))
    cursor = int((time.time() - 7000) * 1e6)
    events = await take(source(server, patience=QUICK._replace(gap_s=60)), 60, str(cursor))
    missed = [e for e in events if isinstance(e, Missed)]
    assert len(missed) == 1
    assert isinstance(events[0], Missed)
    assert (missed[0].since, missed[0].why) == (cursor, "the host keeps no more")
    assert missed[0].until / 1e6 == pytest.approx(time.time() - 300, abs=40)
    assert missed[0].cursor == events[1].cursor
    assert not [e for e in await take(source(server, lookback_s=9000), 20) if isinstance(e, Missed)]


def test_a_clock_that_is_set_back_goes_on_and_one_that_is_set_forward_is_followed():
    wall, run = [1000.0], [5.0]
    clock = Steady(lambda: wall[0], lambda: run[0])

    def after(seconds: float, said: float) -> float:
        run[0], wall[0] = run[0] + seconds, said
        return clock()

    assert after(1, 1001.0) == 1001.0
    assert after(1, 1001.9) == 1001.9  # no clock is exact
    assert after(10, -2589.0) == 1011.9
    assert after(10, -2579.0) == pytest.approx(1021.9)
    assert after(1, 9000.0) == 9000.0  # the machine slept
    assert after(1, 9001.0) == 9001.0


async def test_a_clock_that_is_set_back_an_hour_loses_nothing_and_keeps_the_order(gush):
    server = await gush(elapsed=2.0, mix=Mix(), count=2000)
    skew = [0.0]
    live = source(server, clock=lambda: time.time() + skew[0], patience=PLENTY)
    got: list[Event] = []
    async with asyncio.timeout(10), aclosing(live.events("1")) as events:
        async for event in events:
            got.append(event)
            if len(got) == 1000:
                skew[0] = -3600.0
            if len(got) == 2000:
                break
    assert posts_of(got) == [server.flood.uri(n) for n in range(2000)]
    seen = [e.post.witnessed_at for e in got if isinstance(e, Upsert)]
    assert seen == [server.flood.time_us(n) for n in range(2000)]
    assert not live.dropped


async def test_where_our_clock_is_wrong_from_the_start_it_says_so_and_loses_nothing(gush):
    server = await gush(mix=Mix(), rate=2000.0)
    skew = [-3600.0]
    live = source(server, clock=lambda: time.time() + skew[0], patience=PLENTY)
    async with asyncio.timeout(10), aclosing(live.events("1")) as events:
        waiting = asyncio.ensure_future(anext(events))
        while "clock" not in live.state:
            await asyncio.sleep(0.01)
        assert "its times lie in our future: is this machine's clock right?" in live.state
        skew[0] = 0.0
        first = await waiting
    assert posts_of([first]) == [server.flood.uri(0)]


async def test_after_a_sleep_of_the_machine_it_connects_anew_from_its_cursor(gush, monkeypatch: pytest.MonkeyPatch):
    server = await gush(elapsed=1.0, mix=Mix())
    live = source(server, patience=PLENTY._replace(idle_s=1.0))
    got: list[Event] = []
    async with asyncio.timeout(10), aclosing(live.events("1")) as events:
        async for event in events:
            got.append(event)
            if len(got) == 600:
                monkeypatch.setattr(bluesky.time, "time", itertools.repeat(time.time() + 3600).__next__)
            if server.connections == 2:
                break
    assert live.dropped == {"connection lost": 1}
    monkeypatch.undo()
