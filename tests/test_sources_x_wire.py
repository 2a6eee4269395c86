"""Payloads of X become posts, whatever is in them; what the simulator writes is what X writes."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.posts import LABELS, MARKS, Author, Engagement, Media
from voxpop.simulator import x_posts
from voxpop.simulator.x_rules import matcher
from voxpop.sources.replay import read_row
from voxpop.sources.x_gap import queries
from voxpop.sources.x_wire import FIELDS, MAX_TEXT, bare, id_at, instant_of, problem, read

DATA = Path(os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
RECORDED = [DATA / "wire" / "x_v2_tweepy", DATA / "wire" / "x_v2_python_twitter"]
NOW = 1_900_000_000_000_000
ID = str(id_at(NOW - 60_000_000) + 7)


def tweet(**more: Any) -> dict[str, Any]:
    return {"id": ID, "text": "Polls are open", "author_id": "42", "edit_history_tweet_ids": [ID], **more}


def line(data: object, **more: Any) -> bytes:
    return orjson.dumps({"data": data, **more})


ANA = {"users": [{"id": "42", "username": "Ana_V", "name": "Ana"}]}


def test_a_post_has_its_author_its_address_its_counts_and_the_time_of_its_id():
    counts = {"like_count": 5, "retweet_count": 2, "reply_count": 1, "quote_count": 9}
    got = read(line(tweet(lang="en", public_metrics=counts), includes=ANA), NOW)
    (post,) = got.posts
    assert post.id == f"x:{ID}"
    assert post.author == Author("x:42", "Ana_V", "Ana")
    assert post.url == f"https://x.com/Ana_V/status/{ID}"
    assert post.engagement == Engagement(5, 2, 1)
    assert post.lang == "en"
    assert post.created_at == post.witnessed_at == NOW - 60_000_000
    assert (got.billed, got.newest, got.dropped) == (1, int(ID), Counter())


def account(**more: object) -> Author:
    user = {"id": "42", "username": "Ana_V", "name": "Ana", **more}
    (post,) = read(line(tweet(), includes={"users": [user]}), NOW).posts
    return post.author


def test_an_account_has_x_s_own_word_on_it_and_its_bio():
    told = {"created_at": "2009-06-02T20:12:29.000Z", "description": " News,\nand  more ", "verified": True}
    whole = account(**told, verified_type="government", parody=False)
    assert whole == Author("x:42", "Ana_V", "Ana", "government", "", 1_243_973_549_000_000, "News, and more")
    assert account(verified_type="business").mark == "organisation"
    assert account(verified_type="blue", verified=True).mark == ""  # it is for sale
    assert account(parody=True).label == "parody"
    assert set(FIELDS["user.fields"].split(",")) >= {"verified_type", "parody", "created_at", "description"}


def test_a_recording_and_the_live_stream_name_a_post_alike():
    row = {"id": ID, "platform": "x", "author": "Ana_V", "created_at": "2026-01-01T00:00:00.000Z", "text": "Hi"}
    recorded = read_row(orjson.dumps(row))
    assert not isinstance(recorded, str)
    assert recorded.post.id == read(line(tweet()), NOW).posts[0].id


def test_a_text_has_its_links_in_full_and_no_entities_of_html():
    urls = [
        {"url": "https://t.co/a", "expanded_url": "https://news.example/x?a=1&b=2"},
        {"url": "https://t.co/b", "expanded_url": f"https://twitter.com/Ana_V/status/{ID}/photo/1"},
    ]
    text = "Fire &amp; smoke &lt;3 https://t.co/a https://t.co/b"
    (post,) = read(line(tweet(text=text, entities={"urls": urls})), NOW).posts
    assert post.text == "Fire & smoke <3 https://news.example/x?a=1&b=2"
    assert post.links == ("https://news.example/x?a=1&b=2",)


def test_a_long_post_is_whole():
    note = {"text": "word " * 200 + "https://t.co/z", "entities": {"urls": [{"url": "https://t.co/z",
            "expanded_url": "https://a.example/z"}]}}  # fmt: skip
    (post,) = read(line(tweet(text="word…", note_tweet=note)), NOW).posts
    assert post.text == "word " * 200 + "https://a.example/z"
    assert post.links == ("https://a.example/z",)


def test_what_a_post_answers_and_quotes_comes_with_it_and_is_paid_for():
    old, other = str(id_at(NOW - 10**12)), str(id_at(NOW - 2 * 10**12))
    references = [{"type": "replied_to", "id": old}, {"type": "quoted", "id": other}]
    beside = [{"id": old, "text": "First", "author_id": "7"}, {"id": other, "text": "Second", "author_id": "42"}]
    media = [{"media_key": "3_1", "type": "photo", "url": "https://pbs.example/1.jpg", "alt_text": "A queue"}]
    body = line(
        tweet(referenced_tweets=references, conversation_id=other, attachments={"media_keys": ["3_1", "3_2"]}),
        includes={**ANA, "tweets": beside, "media": media},
    )
    got = read(body, NOW)
    assert [p.text for p in got.posts] == ["Polls are open", "First", "Second"]
    post = got.posts[0]
    assert (post.reply_to, post.quote_of, post.root) == (f"x:{old}", f"x:{other}", f"x:{other}")
    assert post.media == (Media("image", "https://pbs.example/1.jpg", "A queue"),)
    assert got.posts[1].author == Author("x:7")
    assert got.posts[1].url == f"https://x.com/i/status/{old}"
    assert got.posts[1].witnessed_at == NOW - 10**12
    assert (got.billed, got.asked) == (3, 1)


def test_a_repost_is_no_post_but_what_it_reposts_is():
    old = str(id_at(NOW - 10**9))
    repost = tweet(text="RT @ana: First", referenced_tweets=[{"type": "retweeted", "id": old}])
    got = read(line(repost, includes={"tweets": [{"id": old, "text": "First", "author_id": "7"}]}), NOW)
    assert [p.text for p in got.posts] == ["First"]
    assert got.billed == 2
    assert read(line(repost), NOW).dropped == {"repost of a post that did not come": 1}


def test_an_edit_replaces_what_it_edits_and_an_edited_post_is_taken_back():
    new = str(int(ID) + 9)
    assert read(line(tweet(id=new, edit_history_tweet_ids=[ID, new])), NOW).replaced == [ID]
    late = read(line(tweet(edit_history_tweet_ids=[ID, new])), NOW)
    assert (late.posts, late.gone, late.dropped) == ([], [ID], {"edited since": 1})


def test_withheld_posts_are_gone():
    for withheld in ({"copyright": True}, {"copyright": False, "country_codes": ["DE"]}):
        got = read(line(tweet(withheld=withheld)), NOW)
        assert (got.posts, got.gone) == ([], [ID])


def test_partial_errors_are_kept_apart():
    def error(kind: str, value: str, parameter: str = "ids") -> dict[str, str]:
        address = f"https://api.x.com/2/problems/{kind}"
        return {"type": address, "value": value, "parameter": parameter, "resource_type": "tweet", "title": "No"}

    errors = [
        error("resource-not-found", "1"),
        error("not-authorized-for-resource", "2"),
        error("resource-not-found", "3", "referenced_tweets.id"),
        {"type": "about:blank", "title": "Odd", "detail": "Try again"},
    ]
    got = read(line([tweet()], errors=errors), NOW)
    assert got.gone == ["1", "2"]
    assert [str(p) for p in got.problems] == ["Try again"]
    assert len(got.posts) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{nope", "not JSON"),
        (b"7", "not an object"),
        (line(tweet(id="at://x")), "bad id"),
        (line(tweet(text=" ")), "no text"),
        (line(tweet(text="x" * (MAX_TEXT + 1))), "text too long"),
        (line(tweet(author_id=None)), "no author"),
        (line(tweet(id="77", created_at="once")), "bad time"),
        (line(tweet(id=str(id_at(NOW + 10**10)))), "bad time"),
    ],
)
def test_what_cannot_be_used_has_a_reason(body: bytes, reason: str):
    got = read(body, NOW)
    assert (got.posts, got.dropped) == ([], {reason: 1})


def test_an_id_of_the_far_future_moves_no_cursor():
    assert read(line(tweet(id="9" * 19)), NOW).newest == 0


def test_ids_tell_their_time():
    assert instant_of(int(ID)) == NOW - 60_000_000
    assert instant_of(20) == 0
    assert read(line(tweet(id="20", created_at="2006-03-21T20:50:14.000Z")), NOW).posts[0].created_at < 2 * 10**15
    assert (bare(f"x:{ID}"), bare("at://did:plc:a/b/c"), bare("x:abc")) == (ID, "", "")


def test_rules_become_few_searches():
    assert queries(["cat", "dog OR fox"]) == ["(cat) OR (dog OR fox)"]
    assert [len(q) <= 512 for q in queries(["x" * 300, "y" * 300, "z"])] == [True, True]


NAMES = ["data", "includes", "errors", "meta", "id", "text", "author_id", "users", "tweets", "media", "entities",
         "urls", "url", "expanded_url", "note_tweet", "referenced_tweets", "type", "attachments", "media_keys",
         "public_metrics", "like_count", "edit_history_tweet_ids", "withheld", "country_codes", "username", "title",
         "next_token", "lang", "created_at", "alt_text", "media_key", "value", "parameter", "x"]  # fmt: skip
VALUES = [ID, "42", "retweeted", "quoted", "tweet", "ids", "https://t.co/a", "https://a.example/b", "photo", "3_1"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8) | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(["verified_type", "parody", "created_at", "description", "name"]), JSON))
def test_any_account_is_read_within_bounds(told: dict[str, Any]):
    user = {"id": "42", "username": "Ana_V", **told}
    body = json.dumps({"data": tweet(), "includes": {"users": [user]}}).encode()
    (post,) = read(body, NOW).posts or (None,)
    if post is None:  # an integer that no JSON reader of ours takes
        return
    author = post.author
    assert author.mark in ("", *MARKS)
    assert author.label in ("", *LABELS)
    assert 0 <= author.since < 2**62
    assert len(author.bio) <= 300


@settings(deadline=None)
@given(st.binary(max_size=300) | JSON.map(lambda v: json.dumps(v).encode()))
def test_no_bytes_can_raise(body: bytes):
    got = read(body, NOW)
    assert len(got.posts) <= got.billed


@settings(deadline=None)
@given(JSON, JSON, JSON, JSON)
def test_no_field_can_raise(text: object, entities: object, references: object, includes: object):
    data = tweet(text=text, entities=entities, referenced_tweets=references, note_tweet=entities, lang=text,
                 public_metrics=includes, attachments=references, withheld=None, created_at=text)  # fmt: skip
    got = read(json.dumps({"data": [data, data], "includes": includes, "errors": references}).encode(), NOW)
    for post in got.posts:
        hash(post)
        assert len(post.text) <= MAX_TEXT
        assert post.witnessed_at <= NOW


def test_links_that_hold_each_other_do_not_grow_without_end():
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    urls = [{"url": f"https://t.co/{c}", "expanded_url": f"https://t.co/{d}" * 60} for c, d in pairs]
    got = read(line(tweet(text="https://t.co/a " * 100, entities={"urls": urls})), NOW)
    assert len(got.posts[0].text) < 32 * 60 * 14 + 15 * 100


def test_a_problem_is_bounded():
    assert len(str(problem({"type": "x/" + "y" * 999, "detail": "z" * 9999}))) == 300


# -- against what X has really sent ----------------------------------------------------------------------------


def recorded() -> Iterator[Any]:
    for folder in RECORDED:
        for path in sorted(folder.rglob("*.json")):
            body = json.loads(path.read_text("utf-8"))
            yield from (i["json"] for i in body if "json" in i) if isinstance(body, list) else [body]


def objects(value: Any, holds: set[str]) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if holds <= value.keys():
            yield value
        for inner in value.values():
            yield from objects(inner, holds)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner, holds)


def shape(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Each path in an object and the type of what is there."""
    yield at, type(value).__name__
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from shape(inner, f"{at}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from shape(inner, f"{at}[]")


needs_recordings = pytest.mark.skipif(
    not all(f.is_dir() for f in RECORDED), reason="the recorded payloads of X are not here"
)


@needs_recordings
def test_every_recorded_payload_is_read():
    posts, dropped = 0, Counter[str]()
    for payload in recorded():
        got = read(orjson.dumps(payload), NOW)
        posts += len(got.posts)
        dropped += got.dropped
    assert posts > 40  # most were asked for without their authors
    assert set(dropped) <= {"no author", "no text", "bad id", "repost of a post that did not come", "withheld"}


@needs_recordings
def test_every_recorded_post_has_its_text_whole():
    for data in (o for p in recorded() for o in objects(p, {"id", "text", "author_id"})):
        got = read(line(data), NOW)
        if got.posts:
            assert got.posts[0].text.split()[0] in data["text"].replace("&amp;", "&") or got.posts[0].links
            assert "t.co" not in got.posts[0].text or not data.get("entities", {}).get("urls")


@needs_recordings
def test_the_simulator_writes_objects_of_the_recorded_shapes():
    who = x_posts.account("ana", "Ana")
    long = x_posts.Tweet(
        ID, who, "Long #tag @ben https://a.example/b " + "word " * 80, NOW, reply_to="5", alt="Queue"
    )
    fields = [*FIELDS["tweet.fields"].split(","), "in_reply_to_user_id", "possibly_sensitive"]
    ours = {
        "tweet": (long.object(fields, who), {"id", "text"}),
        "user": (x_posts.user(who, ["created_at", "verified", "protected", "public_metrics"]), {"id", "username"}),
        "media": (long.media(["type", "url", "width", "height", "alt_text"]), {"media_key", "type"}),
    }
    # Newer than the recordings, as the reference of X's API describes them.
    newer = {".note_tweet", ".url", ".alt_text"}
    for made, holds in ours.values():
        known = {s for p in recorded() for o in objects(p, holds) for s in shape(o)}
        for path, kind in shape(made):
            assert (path, kind) in known or any(path.startswith(n) for n in newer), (path, kind)


@pytest.mark.parametrize(
    ("rule", "text", "fits"),
    [
        ("polls open", "the POLLS are open", True),
        ("polls closed", "the polls are open", False),
        ('"polls are" -closed', "polls are open", True),
        ("(fire OR smoke) lang:en", "smoke!", True),
        ("fire -(smoke OR ash)", "fire and ash", False),
        ("from:ana", "x", True),
    ],
)
def test_the_simulator_reads_rules(rule: str, text: str, fits: bool):
    assert matcher(rule)(x_posts.Tweet(ID, x_posts.account("ana"), text, NOW)) is fits


@pytest.mark.parametrize("rule", ["", "lang:en", '"open', "(a", "a)", "near:x y", "-only", "x is:odd", "x" * 1025])
def test_the_simulator_refuses_rules_as_x_does(rule: str):
    with pytest.raises(ValueError, match=r"\w"):
        matcher(rule)
