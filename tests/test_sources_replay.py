"""A recording replays whole, resumes after its cursor, and drops what it cannot use with a reason."""

import asyncio
import gzip
from contextlib import aclosing, suppress
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Author, Upsert
from voxpop.sources.replay import MAX_ROW_BYTES, ReplaySource, read_row

DATA = Path(__file__).parents[2] / "shared" / "data" / "posts"


def row(n: int = 0, **changes: object) -> dict[str, object]:
    return {
        "id": str(1000 + n),
        "platform": "x",
        "author": "Ana_B",
        "created_at": f"2030-05-01T10:{n // 60 % 60:02d}:{n % 60:02d}.250Z",
        "text": f"Row number {n}, a harbour seen from above",
        "url": f"https://x.com/Ana_B/status/{1000 + n}",
    } | changes


def lines(rows: list[dict[str, object]]) -> bytes:
    return b"".join(orjson.dumps(r) + b"\n" for r in rows)


async def collect(source: ReplaySource, after: str | None = None) -> list[Upsert]:
    return [event async for event in source.events(after) if isinstance(event, Upsert)]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
async def test_every_packing_gives_the_same_posts_and_resumes_after_any_cursor(tmp_path: Path, suffix: str):
    path, body = tmp_path / f"posts{suffix}", lines([row(n) for n in range(2500)])
    half = len(body) // 2
    path.write_bytes(
        {
            ".jsonl": lambda: body,
            ".jsonl.gz": lambda: gzip.compress(body[:half]) + gzip.compress(body[half:]),
            ".jsonl.zst": lambda: zstandard.compress(body[:half]) + zstandard.compress(body[half:]),
        }[suffix]()
    )
    source = ReplaySource(path)
    events = await collect(source)
    assert [e.post.id for e in events] == [f"x:{1000 + n}" for n in range(2500)]
    assert events[-1].cursor.partition("@")[0] == str(len(body))
    assert not source.dropped
    assert source.state.startswith("ended")
    for at in (0, 1, 999, 1000, 2498):
        again = await collect(ReplaySource(path), events[at].cursor)
        assert again == events[at + 1 :]
    assert await collect(ReplaySource(path), events[-1].cursor) == []


async def test_a_cursor_fits_its_file_alone_and_a_file_that_grew(tmp_path: Path):
    first, other = tmp_path / "a" / "posts.jsonl", tmp_path / "b" / "posts.jsonl"
    for path, rows in ((first, range(60)), (other, range(100, 180))):
        path.parent.mkdir()
        path.write_bytes(lines([row(n) for n in rows]))
    few, all_ = (await collect(ReplaySource(first)))[2].cursor, (await collect(ReplaySource(first)))[-1].cursor
    for cursor in (few, all_):
        assert len(await collect(ReplaySource(other), cursor)) == 80
    offset = all_.partition("@")[0]
    assert await collect(ReplaySource(first), offset) == []  # a cursor of an older version
    with first.open("ab") as file:
        file.write(lines([row(60)]))
    assert [e.post.id for e in await collect(ReplaySource(first), all_)] == ["x:1060"]
    assert len(await collect(ReplaySource(first), few)) == 58
    first.write_bytes(lines([row(n) for n in range(7, 90)]))
    assert len(await collect(ReplaySource(first), all_)) == 83


async def test_a_paced_recording_says_its_own_time_and_the_wait(tmp_path: Path):
    path = tmp_path / "posts.jsonl"
    path.write_bytes(lines([row(0), row(150)]))
    source = ReplaySource(path, speed=1)
    async with asyncio.timeout(5):
        async with aclosing(source.events(None)) as events:
            await anext(events)
            second = asyncio.ensure_future(anext(events))
            while "next" not in source.state:
                await asyncio.sleep(0.01)
            second.cancel()
            with suppress(asyncio.CancelledError):
                await second
    assert source.state == "replaying posts.jsonl, 2030-05-01T10:00:00Z, next post in 2 min"


def test_a_row_becomes_a_post_with_ids_that_are_unique_across_networks():
    event = read_row(
        orjson.dumps(
            row(3, lang="pt-BR", in_reply_to_id="77", public_metrics={"like_count": 4, "retweet_count": 2})
        ),
        "9",
    )
    assert isinstance(event, Upsert)
    post = event.post
    assert (event.cursor, post.id, post.network, post.reply_to) == ("9", "x:1003", "x", "x:77")
    assert post.author == Author("x:ana_b", "Ana_B", "")
    assert (post.lang, post.engagement) == ("pt", (4, 2, 0))
    assert post.created_at == post.witnessed_at == 1903860003250000


def test_a_row_may_tell_who_its_author_is():
    told = {
        "author_name": " Ana\tB ", "author_mark": "organisation", "author_label": "parody",
        "author_since": "2020-01-01T00:00:00Z", "author_bio": "Boats,\nand tides",
    }  # fmt: skip
    found = read_row(orjson.dumps(row(**told)))
    assert not isinstance(found, str)
    since = 1_577_836_800_000_000
    assert found.post.author == Author(
        "x:ana_b", "Ana_B", "Ana B", "organisation", "parody", since, "Boats, and tides"
    )
    odd = read_row(orjson.dumps(row(author_mark="king", author_label=["parody"], author_since=7, author_bio={})))
    assert not isinstance(odd, str)
    assert odd.post.author == Author("x:ana_b", "Ana_B")
    nobody = read_row(orjson.dumps(row(author=None, **told)))
    assert not isinstance(nobody, str)
    assert nobody.post.author == Author("")


def test_an_at_uri_is_kept_and_its_did_names_the_author():
    uri = "at://did:plc:abc/app.bsky.feed.post/3k"
    event = read_row(orjson.dumps(row(id=uri, platform="bluesky", author="ana.example")))
    assert isinstance(event, Upsert)
    assert event.post.id == uri
    assert event.post.author == Author("did:plc:abc", "ana.example", "")


def test_a_row_without_id_or_author_gets_a_stable_derived_id_and_an_unknown_author():
    first, again, other = (
        read_row(orjson.dumps(row(id=None, author=None, text=text))) for text in ("one", "one", "two")
    )
    assert isinstance(first, Upsert)
    assert isinstance(again, Upsert)
    assert isinstance(other, Upsert)
    assert first.post.id.startswith("replay:")
    assert first.post.id == again.post.id != other.post.id
    assert first.post.author == Author("", "", "")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{oops", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "not an object"),
        (orjson.dumps(row(text=None)), "no text"),
        (orjson.dumps(row(text=" \n")), "no text"),
        (orjson.dumps(row(text="a" * 40_000)), "text too long"),
        (orjson.dumps(row(platform="../x")), "bad platform"),
        (orjson.dumps(row(created_at="yesterday")), "bad time"),
        (orjson.dumps(row(created_at="2030-05-01T10:00:61.000Z")), "bad time"),
        (orjson.dumps(row(created_at=7)), "bad time"),
        (orjson.dumps(row(created_at="1914-05-01T10:00:00.000Z")), "bad time"),
    ],
)
async def test_a_bad_row_is_dropped_with_its_reason_and_the_rest_goes_on(tmp_path: Path, line: bytes, reason: str):
    assert read_row(line) == reason
    path = tmp_path / "posts.jsonl"
    path.write_bytes(lines([row(1)]) + line + b"\n\n" + lines([row(2)]))
    source = ReplaySource(path)
    assert [e.post.id for e in await collect(source)] == ["x:1001", "x:1002"]
    assert source.dropped == {reason: 1}


async def test_an_endless_line_is_dropped_and_the_cursor_after_it_still_resumes(tmp_path: Path):
    path = tmp_path / "posts.jsonl"
    path.write_bytes(
        lines([row(1)]) + b'{"text":"' + b"x" * (3 * MAX_ROW_BYTES) + b'"}\n' + lines([row(2), row(3)])
    )
    source = ReplaySource(path)
    events = await collect(source)
    assert [e.post.id for e in events] == ["x:1001", "x:1002", "x:1003"]
    assert source.dropped == {"line too long": 1}
    assert await collect(ReplaySource(path), events[1].cursor) == events[2:]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2030-05-01T10:00:00.001Z", 1903860000001000),
        ("2030-05-01T12:00:00+02:00", 1903860000000000),
        ("2030-05-01T10:00:00.000001Z", 1903860000000001),
    ],
)
def test_times_are_read_the_fast_and_the_slow_way_alike(text: str, at: int):
    event = read_row(orjson.dumps(row(created_at=text)))
    assert isinstance(event, Upsert)
    assert event.post.created_at == at


async def test_a_url_that_is_no_web_address_is_left_out():
    event = read_row(orjson.dumps(row(url="javascript:alert(1)")))
    assert isinstance(event, Upsert)
    assert event.post.url == ""


async def test_speed_paces_by_the_recorded_times(tmp_path: Path):
    path = tmp_path / "posts.jsonl"
    path.write_bytes(lines([row(0), row(10), row(20), row(5)]))
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert len(await collect(ReplaySource(path, speed=200))) == 4
    assert 0.095 <= loop.time() - started < 2


async def test_errors_name_the_file_and_the_cure(tmp_path: Path):
    with pytest.raises(VoxpopError, match=r"absent\.jsonl'\. Give the path"):
        ReplaySource(tmp_path / "absent.jsonl")
    with pytest.raises(UsageError, match="speed 0"):
        ReplaySource(__file__, speed=0)
    with pytest.raises(VoxpopError, match="cursor 'soon' of source"):
        await collect(ReplaySource(__file__), "soon")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "other"])
async def test_a_damaged_file_gives_what_it_has_and_then_says_so(tmp_path: Path, suffix: str, damage: str):
    body = lines([row(n) for n in range(4000)])
    packed = gzip.compress(body) if suffix == ".gz" else zstandard.compress(body)
    path = tmp_path / f"posts.jsonl{suffix}"
    path.write_bytes(packed[:-40] if damage == "cut" else b"plain text, not packed at all")
    with pytest.raises(VoxpopError, match="cannot be read"):
        await collect(ReplaySource(path))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*row(), "lang", "in_reply_to_id", "public_metrics", "like_count"]), inner),
    max_leaves=12,
).map(orjson.dumps))  # fmt: skip
def test_no_bytes_can_raise(line: bytes):
    event = read_row(line, "1")
    assert isinstance(event, str | Upsert)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded posts are not here")
async def test_recorded_posts_all_parse():
    source = ReplaySource(DATA / "ottawashooting_2014-10-22.jsonl.zst")
    events = await collect(source)
    assert len(events) == 11_911
    assert not source.dropped
