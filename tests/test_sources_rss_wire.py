"""Feeds of every kind and any bytes become entries or a reason; addresses, lists and pauses are what they say."""

import ast
import asyncio
import os
import re
import tarfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.errors import UsageError, VoxpopError
from voxpop.simulator.feed_wire import FORMATS, Channel, Item, opml
from voxpop.sources.feeds_pace import FeedSettings, Pace, allowed
from voxpop.sources.feeds_places import place, places
from voxpop.sources.feeds_process import FeedProcess
from voxpop.sources.feeds_wire import MAX_ENTRIES, MAX_TEXT, Entry, Feed, read_feed
from voxpop.sources.html_text import read_html
from voxpop.sources.opml import read_opml

_SHARED = os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
CASES = Path(_SHARED) / "wire" / "feeds_feedparser" / "feedparser_tests.tar.gz"
URL = "http://site.example/feed"

RSS = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0" xmlns:sy="http://purl.org/rss/1.0/modules/syndication/" xmlns:media="http://search.yahoo.com/mrss/">
<channel><title>The &lt;b&gt;Daily&lt;/b&gt; Pier</title><link>http://site.example/</link><language>pt-BR</language>
<ttl>30</ttl><sy:updatePeriod>daily</sy:updatePeriod><sy:updateFrequency>4</sy:updateFrequency>
<skipHours><hour>1</hour><hour>24</hour></skipHours><skipDays><day>Sunday</day></skipDays>
<item><title>Boat &amp;amp; crew</title><link>/a?x=1&amp;y=2</link><guid isPermaLink="false">g1</guid>
<description>&lt;p&gt;Seen by &lt;a href="/crew"&gt;two&lt;/a&gt;.&lt;script&gt;x()&lt;/script&gt;&lt;/p&gt;
</description>
<pubDate>Tue, 01 Jan 2030 10:00:00 GMT</pubDate><enclosure url="/a.mp3" type="audio/mpeg" length="3"/>
<media:content url="http://site.example/i.jpg" medium="image">
<media:description>A boat</media:description></media:content>
</item><item><title/><description> </description></item><item><title>Only a title</title></item>
<item><guid isPermaLink="false">g1</guid><title>Again</title></item></channel></rss>"""


def feed(body: bytes | str, content_type: str = "") -> Feed:
    found = read_feed(body.encode() if isinstance(body, str) else body, URL, content_type)
    assert isinstance(found, Feed), found
    return found


def test_rss_gives_plain_text_links_media_times_and_what_the_feed_asks_for():
    found = feed(RSS)
    assert (found.title, found.pause_s, found.skip_hours, found.skip_days) == (
        "The Daily Pier",
        21_600.0,
        (0, 1),
        (6,),
    )
    assert found.dropped == {"entry: no text": 1, "entry: repeated id": 1}
    first, second = found.entries
    assert first == Entry(
        "g1",
        "Boat & crew\nSeen by two.",
        "http://site.example/a?x=1&y=2",
        "pt",
        1893492000_000000,
        1893492000_000000,
        (("audio", "http://site.example/a.mp3", ""), ("image", "http://site.example/i.jpg", "A boat")),
        ("http://site.example/crew",),
    )
    assert second.text == "Only a title"
    assert second.id.startswith("text:")
    assert (second.claimed, second.changed) == (-1, -1)


def test_json_feed_gives_the_same():
    body = {
        "version": "https://jsonfeed.org/version/1",
        "title": "Pier",
        "language": "en-GB",
        "expired": True,
        "items": [
            {
                "id": 7,
                "url": "/7",
                "external_url": "https://else.example/x",
                "title": "Boat",
                "content_html": "<p>Seen <a href='/crew'>by two</a><img src='i.png' alt='A boat'></p>",
                "date_published": "2030-01-01T10:00:00Z",
                "date_modified": "2030-01-01T11:00:00+01:00",
                "attachments": [{"url": "/a.mp3", "mime_type": "audio/mpeg", "title": "Sound"}, 3],
            },
            {"id": "b", "summary": "Short", "content_text": "Long", "date_published": "never", "language": 3},
            "no object",
            {"id": "c"},
        ],
    }
    found = feed(b"\xef\xbb\xbf" + orjson.dumps(body))
    assert (found.title, found.expired) == ("Pier", True)
    assert found.dropped == {"entry: not an object": 1, "entry: no text": 1}
    first, second = found.entries
    assert first == Entry(
        "7",
        "Boat\nSeen by two",
        "http://site.example/7",
        "en",
        1893492000_000000,
        1893492000_000000,
        (("audio", "http://site.example/a.mp3", "Sound"), ("image", "http://site.example/i.png", "A boat")),
        ("https://else.example/x", "http://site.example/crew"),
    )
    assert (second.id, second.text, second.claimed) == ("b", "Short", -1)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_the_simulator_is_read_alike(form: str):
    at = 1893492000.0
    items = [
        Item(f"tag:{n}", f"{URL}/{n}", f"Títle {n}", f"<p>Tide &amp; <b>pier</b> {n}</p>", at, at) for n in (2, 1)
    ]
    write, content_type = FORMATS[form]
    found = feed(write(Channel(URL, "http://site.example/", "Pier & Co", "en", items)), content_type)
    assert found.title == "Pier & Co"
    assert [e.text for e in found.entries] == ["Títle 2\nTide & pier 2", "Títle 1\nTide & pier 1"]
    assert [e.id for e in found.entries] == ([i.url for i in items] if form == "rdf" else ["tag:2", "tag:1"])
    assert {(e.claimed, e.lang) for e in found.entries} == {(1893492000_000000, "en")}


def test_long_texts_and_long_feeds_are_cut():
    items = "".join(f"<item><guid>{n}</guid><title>{n}</title></item>" for n in range(MAX_ENTRIES + 3))
    found = feed(f"<rss><channel><item><title>{'word ' * 9000}</title></item>{items}</channel></rss>")
    assert len(found.entries) == MAX_ENTRIES
    assert found.dropped == {"entry: too many": 4}
    assert MAX_TEXT - 10 < len(found.entries[0].text) <= MAX_TEXT
    assert found.entries[0].text.endswith("word…")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"{", "not JSON"),
        (b"{}", "not a feed"),
        (b'{"version":"1","items":[]}', "not a feed"),
        (b'{"version":"https://jsonfeed.org/version/1","items":{}}', "not a feed"),
        (b"<html><body>Hello</body></html>", "not a feed"),
        (b"/etc/passwd", "not a feed"),
        (b"http://127.0.0.1:9/", "not a feed"),
        (b"\x00\xff" * 99, "not a feed"),
    ],
)
def test_what_is_no_feed_has_a_reason(body: bytes, reason: str):
    assert read_feed(body, URL) == reason


def test_entities_neither_grow_nor_fetch(tmp_path: Path):
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    outer = f'<!ENTITY out SYSTEM "{secret.as_uri()}"><!ENTITY % p SYSTEM "{secret.as_uri()}">%p;'
    body = f'<!DOCTYPE rss [<!ENTITY l0 "ha">{laughs}{outer}]><rss><channel><title>&l11;</title>'
    body += "<item><title>x &l11; y &out; z</title></item></channel></rss>"
    began = time.process_time()
    found = feed(body)
    assert time.process_time() - began < 1
    assert len(str(found)) < 5000
    assert "secret" not in str(found)


def test_the_cases_of_feedparser_are_read_as_they_ask():
    """965 feeds, strange and broken ones among them; titles, links and ids that a case states must be ours too."""
    if not CASES.exists():
        pytest.skip("the recorded feeds are not here")
    expected = re.compile(
        r"Expect:\s+(?:not )?bozo and (entries\[0\]|feed)\['(title|link|id|summary)'\] == u?('(?:[^'\\]|\\.)*')\s*$"
    )
    checked = 0
    with tarfile.open(CASES) as archive:
        for member in archive:
            body = archive.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            began = time.process_time()
            found = read_feed(body, "http://127.0.0.1:8097/feed.xml")
            assert time.process_time() - began < 0.5, member.name
            if isinstance(found, str):
                assert not body or member.name.endswith("rss_empty_document.xml"), (member.name, found)
                continue
            lines = [m for line in body.decode("latin-1").splitlines() if (m := expected.search(line))]
            for where, what, literal in (m.groups() for m in lines):
                checked += _as_stated(found, where, what, ast.literal_eval(literal))
    assert checked >= 80


def _as_stated(found: Feed, where: str, what: str, value: str) -> int:
    """1 where the case states something that we keep; where it states markup, we keep what that says."""
    shown = {" ".join(text.split()) for text in (value, read_html(value).text)}
    if where == "feed":
        if what != "title":
            return 0
        assert found.title in shown
        return 1
    if not found.entries:
        return 0
    entry = found.entries[0]
    if what == "link" and value.startswith("http"):
        assert entry.url == value
    elif what == "id":
        assert entry.id == value
    elif what in ("title", "summary"):
        assert any(one in " ".join(entry.text.split()) for one in shown)
    else:
        return 0
    return 1


_PIECES = [
    b"<rss version='2.0'>", b"<channel>", b"<item>", b"</item>", b"<title>", b"</title>",
    b"<description>", b"<![CDATA[", b"]]>", b"<feed xmlns='http://www.w3.org/2005/Atom'>",
    b"<entry>", b"<link href='", b"'/>", b"&#x110000;", b"&#0;", b"&lt;",
    b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;", b"<?xml version='1.0' encoding='", b"utf-7", b"'?>",
    b"\xff\xfe", b"<pubDate>Mon, 99 Foo 99999 25:61:61 +9999</pubDate>", b"<dc:date>",
    b"9999-12-31T23:59:60Z", b"</dc:date>", b"<media:content url='x'>",
    b"<georss:polygon>1 2</georss:polygon>", b"<skipHours><hour>x</hour>", b"\x00", b"</",
    b'{"version":"https://jsonfeed.org/version/1","items":[', b'{"id":"\\ud800","title":"t"}',
    b"]}", b"[", b"{", b"null",
]  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(_PIECES) | st.binary(max_size=20), max_size=30).map(b"".join), st.text(max_size=20))
def test_no_bytes_break_the_reader(body: bytes, content_type: str):
    found = read_feed(body, URL, content_type)
    assert found
    text = orjson.dumps(found)
    if isinstance(found, Feed):
        assert Feed.of(orjson.loads(text)) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**53) | st.text(max_size=5), lambda v: st.lists(v, max_size=3)
)
FIELDS = [
    "id",
    "url",
    "title",
    "summary",
    "content_html",
    "content_text",
    "date_published",
    "image",
    "attachments",
    "language",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6) | JSON, max_size=4), JSON)
def test_no_json_breaks_the_reader(items: list[object], other: object):
    body = {"version": "https://jsonfeed.org/version/1.1", "items": items, "title": other, "language": other}
    found = feed(orjson.dumps(body))
    assert len(found.entries) + sum(found.dropped.values()) == len(items)


# -- the reading process ----------------------------------------------------------------------------------------


async def test_the_process_reads_as_we_do_and_outlives_what_kills_it():
    reader = FeedProcess(within_s=0.4)
    try:
        assert await reader.read(RSS.encode(), URL) == feed(RSS)
        assert await reader.read(b"", URL) == "empty"
        endless = b"<rss><channel>" + b"<item><title>x</title>" * 150_000
        assert await reader.read(endless, URL) == "not read within 0.4 s"
        asked = asyncio.create_task(reader.read(endless, URL))
        await asyncio.sleep(0.2)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert await reader.read(RSS.encode(), URL) == feed(RSS)  # never another's answer
        reader._running.kill()  # type: ignore[union-attr]
        assert await reader.read(RSS.encode(), URL) == "breaks the reader"
        assert await reader.read(RSS.encode(), URL) == feed(RSS)
    finally:
        await reader.close()


# -- lists of feeds ---------------------------------------------------------------------------------------------


def test_opml_outlines_nest_and_each_feed_counts_once(tmp_path: Path):
    body = b"""<?xml version="1.0"?><OPML version="1.0"><body><outline text="a"><outline text="b">
    <outline xmlURL=" https://a.example/feed "/><outline xmlUrl="feed://b.example/x"/></outline></outline>
    <outline xmlUrl="http://a.example/feed/"/><outline text="no feed"/><outline xmlUrl="gopher://old"/></body></OPML>"""
    assert read_opml(body)[:2] == ("https://a.example/feed", "feed://b.example/x")
    path = tmp_path / "list.opml"
    path.write_bytes(body)
    found = places([str(path), "https://www.c.example/"])
    assert [(p.url, p.name, p.host) for p in found] == [
        ("https://a.example/feed", "a.example/feed", "a.example"),
        ("http://b.example/x", "b.example/x", "b.example"),
        ("https://www.c.example/", "www.c.example", "c.example"),
    ]
    path.write_bytes(opml({"one": ["https://d.example/1"], "two": ["https://d.example/2"]}))
    assert [p.name for p in places([str(path)])] == ["d.example/1", "d.example/2"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<opml><body/></opml>", "names no feed"),
        (b"<opml><outline xmlUrl='mailto:x'/></opml>", "names no web address"),
        (b"<html/>", "no OPML"),
        (b"<opml", "not XML"),
        (b"\xff\xfe\x00", "not XML"),
        (b"<!DOCTYPE o [<!ENTITY a 'b'>]><opml/>", "declares entities"),
        (
            b"<opml>" + b"".join(b"<outline xmlUrl='http://a/%d'/>" % n for n in range(10_001)) + b"</opml>",
            "over 10,000",
        ),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path: Path, body: bytes, reason: str):
    path = tmp_path / "list.opml"
    path.write_bytes(body)
    with pytest.raises(VoxpopError, match=reason):
        places([str(path)])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"<opml>", b"<outline xmlUrl='x'>", b"</", b"&a;", b"<!DOCTYPE"]) | st.binary(max_size=9)
    )
)
def test_no_bytes_break_the_list_reader(pieces: list[bytes]):
    with suppress(ValueError):
        assert isinstance(read_opml(b"".join(pieces)), tuple)


def test_a_feed_is_named_by_its_address_without_what_may_be_secret():
    found = place("HTTPS://ana:pass@WWW.Site.Example:443/a/feed/?token=abc#top")
    assert found.host == "site.example"
    assert re.fullmatch(r"www\.site\.example/a/feed\?[0-9a-f]{8}", found.name)
    assert "ana:pass@" in found.url
    assert found.name == place("http://www.site.example/a/feed?token=abc").name
    assert len({place(f"https://s.example/{x}").key for x in ("a", "b", "a?1", "a?2")}) == 4
    with pytest.raises(UsageError):
        place("https://s.example:99999/")


# -- pauses -----------------------------------------------------------------------------------------------------


def test_the_pause_shrinks_with_news_grows_without_and_stays_within_its_bounds():
    pace = Pace(FeedSettings(shortest_s=60, longest_s=3600))
    quiet = [pace.looked(False) for _ in range(12)]
    assert quiet == sorted(quiet)
    assert quiet[-1] == 3600
    busy = [pace.looked(True) for _ in range(12)]
    assert busy == sorted(busy, reverse=True)
    assert busy[-1] == 60
    assert pace.looked(True, asked_s=900) == 900
    assert pace.looked(True, asked_s=90_000) == 3600
    failing = [pace.failed() for _ in range(40)]
    assert failing[:3] == [60, 120, 240]
    assert failing[-1] == 3600
    assert pace.failed(7200) == 7200
    assert pace.failed(10**9) == 86_400
    assert pace.looked(True) == 60


def test_skipped_hours_and_days_are_waited_for():
    def at(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    monday = at("2030-01-07T01:30:00")
    assert allowed(monday, (), ()) == monday
    assert allowed(monday, (5,), ()) == monday
    assert allowed(monday, (1, 2), ()) == at("2030-01-07T03:00:00")
    assert allowed(monday, (0,), (0, 1)) == at("2030-01-09T01:00:00")
    assert allowed(monday, tuple(range(24)), ()) == monday
