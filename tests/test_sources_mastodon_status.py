"""Statuses become posts that every server names alike; what is private, broken or not for an index does not."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.errors import UsageError
from voxpop.posts import LABELS, MARKS, Author, Delete, Engagement, Media, Post, Upsert
from voxpop.simulator.mastodon_wire import Toot, View, status
from voxpop.sources.mastodon_server import Budget, Channel, address, channel, token_of
from voxpop.sources.mastodon_status import (
    Heard,
    Reading,
    believable,
    made_at,
    number_at,
    order,
    read_event,
    read_status,
)
from voxpop.sources.mastodon_stream import MAX_FRAME, Frame, Lines, read_frame

DATA = Path(os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
WIRE = DATA / "wire" / "mastodon"
NOW = 1_900_000_000_000_000
READING = Reading("murmur.example")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def said(text: str = "Boats are in", **changes: Any) -> dict[str, Any]:
    """A status of this server as it would be sent, with changes."""
    toot = Toot("one", "ana", "murmur.example", NOW - 2_000_000, text, "Ana", changes=changes)
    return status(toot, View("murmur.example", {}))


def post(entity: object, reading: Reading = READING) -> Post:
    heard = read_status(entity, NOW, reading)
    assert isinstance(heard, Heard), heard
    assert isinstance(heard.event, Upsert)
    return heard.event.post


# -- one status -----------------------------------------------------------------------------------------------


def test_a_status_becomes_a_post_named_as_every_server_names_it():
    entity = said("Boats are *in*:\n\nsee #harbour", favourites_count=3, reblogs_count=2, replies_count=1)
    found = post(entity)
    assert found.id == entity["uri"]
    assert found.alias == f"mastodon:murmur.example/{entity['id']}"
    begun = 1_714_521_600_000_000
    assert found.author == Author("https://murmur.example/users/ana", "ana@murmur.example", "Ana", since=begun)
    assert found.text == "Boats are *in*:\nsee #harbour"
    assert (found.created_at, found.witnessed_at) == (NOW - 2_000_000, NOW)
    assert (found.network, found.lang, found.url) == ("mastodon", "en", entity["url"])
    assert found.engagement == Engagement(3, 2, 1)


def test_links_are_kept_whole_however_short_they_are_shown():
    link = "https://www.tpa.example/night/live-count?minute=123&station=45"
    found = post(said(f"Follow {link} with @bo@quay.example"))
    assert "ellipsis" in said(f"Follow {link}")["content"]
    assert found.text == f"Follow {link} with @bo"
    assert found.links == (link,)


def test_the_same_post_seen_from_its_own_server_and_from_another_is_the_same():
    toot = Toot("one", "ana", "murmur.example", NOW, "See https://x.example/a", "Ana", alts=("A quay",))
    home, away = (status(toot, View(domain, {})) for domain in ("murmur.example", "quay.example"))
    assert home["id"] != away["id"]
    assert home["account"]["acct"] != away["account"]["acct"]
    mine, theirs = post(home), post(away, Reading("quay.example"))
    assert mine.alias != theirs.alias
    for field in ("id", "author", "text", "media", "links", "url", "created_at"):
        assert getattr(mine, field) == getattr(theirs, field), field


def test_pictures_cards_polls_and_warnings_are_searchable_text():
    entity = said(
        "Look",
        spoiler_text="Election,  results",
        media_attachments=[
            {"type": "gifv", "url": "https://f.example/1", "remote_url": None, "description": " A quay "},
            {"type": "new", "url": "gopher://x", "description": None},
            7,
        ],
        card={"url": "https://tpa.example/n", "title": "Count", "description": "So far"},
        poll={"options": [{"title": "Korvane", "votes_count": 7}, {"title": " "}, {"title": "Dreyl"}, 7]},
    )
    found = post(entity)
    assert found.text == "CW: Election, results\n\nLook\n\nPoll:\n- Korvane\n- Dreyl"
    assert found.media == (
        Media("video", "https://f.example/1", "A quay"),
        Media("file"),
        Media("card", "https://tpa.example/n", "Count\nSo far"),
    )


def test_a_reply_names_its_parent_by_its_shared_id_if_it_was_seen_and_by_its_number_if_not():
    reading = Reading("murmur.example")
    parent = said("First")
    answer = said("Second", in_reply_to_id=parent["id"], id="117", uri="https://murmur.example/2")
    assert post(answer, reading).reply_to == f"mastodon:murmur.example/{parent['id']}"
    post(parent, reading)
    assert post(answer, reading).reply_to == parent["uri"]


@pytest.mark.parametrize(
    ("quote", "of"),
    [
        ({"state": "accepted", "quoted_status": {"uri": "https://x.example/1"}}, "https://x.example/1"),
        ({"state": "accepted", "quoted_status_id": "12"}, "mastodon:murmur.example/12"),
        ({"state": "revoked", "quoted_status": {"uri": "https://x.example/1"}}, ""),
        ({"state": "accepted", "quoted_status": None}, ""),
        (None, ""),
    ],
)
def test_a_quote_is_told_where_its_author_allowed_it(quote: object, of: str):
    assert post(said(quote=quote)).quote_of == of


def test_a_boost_brings_the_boosted_post_and_no_post_of_the_booster():
    boosted = said("Boats are in")
    heard = read_status(said("", id="999", uri="https://murmur.example/boost/999", reblog=boosted), NOW, READING)
    assert isinstance(heard, Heard)
    assert isinstance(heard.event, Upsert)
    assert heard.event.post.id == boosted["uri"]
    assert heard.local == "999"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"visibility": "private"}, "not public"),
        ({"visibility": "direct"}, "not public"),
        ({"visibility": None}, "not public"),
        ({"local_only": True}, "not public"),
        ({"reblog": {"visibility": "private", "id": "7"}}, "not public"),
        ({"id": 7}, "bad id"),
        ({"id": "../7"}, "bad id"),
        ({"uri": "at://did:plc:x/app.bsky.feed.post/1"}, "bad uri"),
        ({"uri": None}, "bad uri"),
        ({"account": []}, "no account"),
        ({"account": {"uri": "x", "url": None}}, "bad account"),
        ({"content": None}, "no text"),
        ({"content": "<p> </p>"}, "no text"),
        ({"content": "x" * 100_001}, "text too long"),
        ({"content": "x" * 30_001}, "text too long"),
    ],
)
def test_what_is_not_public_or_broken_is_not_kept(changes: dict[str, Any], reason: str):
    assert read_status(said(**changes), NOW, READING) == reason


@pytest.mark.parametrize("flag", [{"indexable": False}, {"noindex": True}])
def test_whoever_does_not_want_to_be_found_is_not_kept_unless_asked_for(flag: dict[str, bool]):
    entity = said()
    entity["account"] |= flag
    assert read_status(entity, NOW, READING) == "author is not to be indexed"
    assert post(entity, Reading("murmur.example", unindexable=True)).text == "Boats are in"
    del entity["account"]["indexable"]
    entity["account"]["noindex"] = None
    assert post(entity).text == "Boats are in"


@pytest.mark.parametrize("claim", [None, 7, "", "soon", "9999-99-99T00:00:00.000Z", "0001-01-01T00:00:00Z"])
def test_a_claim_that_is_no_time_counts_as_now(claim: object):
    assert post(said(created_at=claim)).created_at == NOW


def test_a_claim_of_the_year_9999_decides_nothing():
    found = post(said(created_at="9999-12-31T23:59:59.000Z"))
    assert found.witnessed_at == NOW


# -- one event ------------------------------------------------------------------------------------------------


def test_a_delete_names_the_alias_because_the_server_gives_its_own_number():
    assert read_event("delete", b"117", NOW, READING) == Heard(Delete("mastodon:murmur.example/117", NOW))
    assert read_event("delete", '"117"', NOW, READING) == Heard(Delete("mastodon:murmur.example/117", NOW))
    assert read_event("delete", b"\xff", NOW, READING) == "bad id"


def test_an_edit_that_is_not_to_be_kept_deletes_what_the_post_said_before():
    gone = said(visibility="private")
    heard = read_event("status.update", orjson.dumps(gone), NOW, READING)
    assert heard == Heard(Delete(f"mastodon:murmur.example/{gone['id']}", NOW))
    assert read_event("update", orjson.dumps(gone), NOW, READING) == "not public"


def test_other_events_are_counted_by_their_names():
    assert read_event("filters_changed", b"undefined", NOW, READING) == "event filters_changed"
    assert read_event("a new one", b"{}", NOW, READING) == "unknown event"
    assert read_event("update", b"{not json", NOW, READING) == "not JSON"


# -- numbers --------------------------------------------------------------------------------------------------


def test_mastodon_s_numbers_tell_their_time_and_others_do_not():
    number = said()["id"]
    assert made_at(number) == NOW - 2_000_000
    assert order(number_at(NOW - 2_000_000)) <= order(number) < order(number_at(NOW - 1_999_000))
    assert [made_at(other) for other in ("12345", "01HXYZ3J8Q2K7M5N9P4R6S8T0V", "9" * 20)] == [None, None, None]
    assert order("99") < order("100")


def test_a_number_from_the_future_does_not_count_as_the_end_of_a_timeline():
    assert believable(number_at(NOW), NOW)
    assert not believable(number_at(NOW + 3_600_000_000), NOW)
    assert not believable("9" * 30, NOW)
    assert believable("01HXYZ3J8Q2K7M5N9P4R6S8T0V", NOW)


# -- streams --------------------------------------------------------------------------------------------------


def lines(data: bytes, size: int) -> list[Frame]:
    reader = Lines()
    return [f for at in range(0, len(data), size) for f in reader.read(data[at : at + size]) if f != Frame()]


@given(st.integers(1, 40))
def test_events_are_read_whole_however_their_bytes_are_cut(size: int):
    data = b":)\nevent: update\ndata: {\ndata: }\n\n:thump\r\nevent: delete\r\ndata: 12\r\n\r\nevent: x\n\n"
    assert lines(data, size) == [Frame("update", b"{\n}"), Frame("delete", b"12")]


def test_an_event_of_ten_megabytes_is_passed_over_and_the_next_one_read():
    big, many = b"data: " + b"x" * (10 * MAX_FRAME), (b"data: " + b"x" * 1000 + b"\n") * 11_000
    data = b"event: update\n" + big + b"\n\nevent: update\n" + many + b"\nevent: delete\ndata: 12\n\n"
    found = lines(data, 1 << 16)
    assert [f.reason for f in found if f.reason] == ["a frame over 1 MiB"] * 2
    assert found[-1] == Frame("delete", b"12")


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe", b"{", b"[]", b"{}", b'{"event":7}', b'{"event":"update","payload":{}}']
)
def test_a_broken_frame_has_a_reason(raw: bytes):
    assert read_frame(raw).reason


# -- fuzz -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode) | JSON.map(orjson.dumps), st.integers(1, 9))
def test_no_bytes_can_break_the_readers(data: bytes, size: int):
    reader = Lines()
    for at in range(0, len(data), size):
        for frame in reader.read(data[at : at + size]):
            read_event(frame.event, frame.payload, NOW, READING)
    for name in ("update", "status.update", "delete"):
        assert isinstance(read_event(name, data, NOW, READING), str | Heard)
    if b"error" not in data:
        assert isinstance(read_frame(data), Frame)


FIELDS = sorted(said())


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
    st.dictionaries(
        st.text(max_size=9) | st.sampled_from(["note", "bot", "fields", "created_at", "acct"]), JSON, max_size=3
    ),
)
def test_no_status_can_raise(changes: dict[str, Any], account: dict[str, Any]):
    entity = said(**changes)
    if isinstance(entity["account"], dict):
        entity["account"] |= account
    heard = read_status(entity, NOW, READING)
    if isinstance(heard, Heard):
        assert isinstance(heard.event, Upsert)
        hash(heard.event.post)
        heard.event.post.text.encode()
        author = heard.event.post.author
        assert author.mark in ("", *MARKS)
        assert author.label in ("", *LABELS)
        assert 0 <= author.since < 2**62
        assert len(author.bio) <= 300


def test_an_account_is_a_person_where_a_page_links_back_and_automated_where_it_says_so():
    fields = [{"name": "Web", "value": "<a>ana.example</a>", "verified_at": None}]
    told = {"note": "<p>Boats &amp; <b>tides</b></p><p>Parody</p>", "bot": True, "fields": fields}

    def author(**more: object) -> Author:
        entity = said()
        entity["account"] |= told | more
        return post(entity).author

    plain = author()
    assert (plain.mark, plain.label, plain.bio) == ("", "automated", "Boats & tides Parody")
    linked = [*fields, {"name": "Home", "value": "x", "verified_at": "2023-01-01T00:00:00.000+00:00"}]
    assert (author(fields=linked, bot=False).mark, author(bot=False).label) == ("person", "")
    assert len(author(note="<p>" + "tide " * 4000).bio) <= 300


# -- what was recorded ----------------------------------------------------------------------------------------


def recorded() -> tuple[list[dict[str, Any]], list[Frame]]:
    """Every status that a real server sent, and every event of its streams."""
    statuses: list[dict[str, Any]] = []
    events: list[Frame] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if {"visibility", "content", "account"} <= value.keys():
                statuses.append(value)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    for path in sorted(WIRE.glob("*.json")):
        for exchange in json.loads(path.read_bytes()):
            walk(exchange.get("json"))
            events += [f for f in Lines().read(exchange.get("sse", "").encode()) if f.event]
    return statuses, events


@pytest.mark.skipif(not WIRE.is_dir(), reason="the recorded payloads are not here")
def test_every_recorded_status_is_understood():
    statuses, events = recorded()
    found = [read_status(s, NOW, Reading("localhost:3000", unindexable=True)) for s in statuses]
    reasons = Counter(f for f in found if isinstance(f, str))
    assert set(reasons) == {"not public"}
    assert reasons["not public"] == sum(s["visibility"] not in ("public", "unlisted") for s in statuses)
    posts = [f.event.post for f in found if isinstance(f, Heard) and isinstance(f.event, Upsert)]
    assert len(posts) > 150
    assert not [p for p in posts if "<" in p.text or "&" in p.text]
    assert any(p.links and p.links[0] in p.text for p in posts)
    assert {p.author.handle.count("@") for p in posts} == {1}
    assert any(p.quote_of for p in posts)
    assert any("Poll:" in p.text for p in posts)
    default = Counter(f for s in statuses if isinstance(f := read_status(s, NOW, READING), str))
    assert default["author is not to be indexed"] > 0
    kinds = Counter(f.event for f in events)
    assert {"update", "status.update", "delete", "notification", "conversation"} == set(kinds)
    heard = [read_event(f.event, f.payload, NOW, Reading("x", unindexable=True)) for f in events]
    assert {h for h in heard if isinstance(h, str)} <= {"event notification", "event conversation", "not public"}
    assert sum(isinstance(h, Heard) for h in heard) >= 3


# -- settings -------------------------------------------------------------------------------------------------


def test_the_options_name_one_channel():
    assert channel({}) == Channel()
    assert channel({"stream": "public:remote"}).timeline() == ("/api/v1/timelines/public", {"remote": "true"})
    assert channel({"tag": "#voices"}) == Channel("hashtag", "voices")
    assert channel({"stream": "list", "list": "12"}).query() == {"stream": "list", "list": "12"}
    assert channel({"tag": "élection"}).timeline()[0] == "/api/v1/timelines/tag/%C3%A9lection"
    assert channel({"stream": "public:local"}).events() == ("/api/v1/streaming/public/local", {})
    for wrong in ({"stream": "home"}, {"stream": "hashtag"}, {"stream": "public", "list": "1"}, {"tag": "a/../b"}):
        with pytest.raises(UsageError):
            channel(wrong)


@pytest.mark.parametrize(
    "target", ["", "ftp://x", "x.example/path", "user:secret@x.example", "https://x y", "a?b=c"]
)
def test_a_target_that_is_no_host_is_refused(target: str):
    with pytest.raises(UsageError):
        address(target)


def test_a_target_is_a_host_or_an_address():
    assert address("Mastodon.Social") == ("https://mastodon.social", "mastodon.social")
    assert address("ws://127.0.0.1:8766/") == ("http://127.0.0.1:8766", "127.0.0.1:8766")


def test_each_server_has_its_token_and_a_broken_list_is_not_repeated():
    tokens = "mastodon.social=a-b, other.example:8443=c=="
    assert [token_of(tokens, h) for h in ("mastodon.social", "other.example:8443", "x.example")] == [
        "a-b",
        "c==",
        "",
    ]
    with pytest.raises(UsageError) as refused:
        token_of("sesame", "mastodon.social")
    assert "sesame" not in str(refused.value)


# -- limits ---------------------------------------------------------------------------------------------------


def test_no_more_than_300_requests_leave_in_five_minutes():
    now = [0.0]
    budget = Budget(lambda: now[0])
    for _ in range(300):
        assert budget.wait_s() == 0
        budget.spend()
        now[0] += 0.5
    assert budget.wait_s() == pytest.approx(150)
    now[0] += 151
    assert budget.wait_s() == 0


@pytest.mark.parametrize(
    ("headers", "status", "wait"),
    [
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-08-01T00:02:00.000Z"}, 200, 120),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "2026-08-01T00:02:00.000Z"}, 200, 0),
        ({"retry-after": "17"}, 429, 17),
        ({"retry-after": "Sat, 01 Aug 2026 00:00:30 GMT"}, 429, 30),
        ({"x-ratelimit-reset": "2026-08-01T00:00:09.000Z"}, 429, 9),
        ({"retry-after": "soon", "x-ratelimit-reset": "later"}, 429, 300),
        ({"retry-after": "999999999999"}, 429, 3600),
    ],
)
def test_what_a_server_says_of_its_limit_goes_first(headers: dict[str, str], status: int, wait: float):
    budget = Budget(lambda: 5.0)
    budget.told({"date": "Sat, 01 Aug 2026 00:00:00 GMT", **headers}, status)
    assert budget.wait_s() == pytest.approx(wait)


def test_a_long_hostile_text_is_read_in_linear_time():
    began = time.process_time()
    for piece in ("<a ", "<!--", "&#9", "<blockquote>", '<a href="https://x.example">x…</a>'):
        read_status(said(content=piece * (100_000 // len(piece))), NOW, READING)
    assert time.process_time() - began < 2
