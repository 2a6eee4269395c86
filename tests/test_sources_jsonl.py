"""Rows that are piped in become posts that we witness; bad ones are counted, and the pipe holds its writer back."""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import aclosing, suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import environment
from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Delete, Event, Upsert
from voxpop.sources.auto import open_source
from voxpop.sources.jsonl import JsonlSource, Lines, read_event
from voxpop.sources.replay import MAX_ROW_BYTES

NOW = 1_900_000_000_000_000


def row(n: int, **changes: object) -> bytes:
    return orjson.dumps({"id": str(n), "platform": "pier", "author": "ana", "text": f"Row {n}"} | changes) + b"\n"


def posts(events: list[Event]) -> list[str]:
    return [e.post.text for e in events if isinstance(e, Upsert)]


def test_we_are_the_witness_of_a_row_and_it_need_not_say_when_it_was_written():
    bare, dated = read_event(row(1), NOW), read_event(row(2, created_at="2030-01-01T00:00:00Z"), NOW)
    assert isinstance(bare, Upsert)
    assert isinstance(dated, Upsert)
    assert (bare.post.id, bare.post.created_at, bare.post.witnessed_at) == ("pier:1", NOW, NOW)
    assert (dated.post.created_at, dated.post.witnessed_at) == (1893456000_000000, NOW)
    assert bare.cursor == ""
    again = read_event(row(1, id=None), NOW + 1)
    assert isinstance(again, Upsert)
    assert again.post.id == read_event(row(1, id=None), NOW).post.id  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"delete":"7","platform":"pier"}', Delete("pier:7", NOW)),
        (b'{"delete":7,"platform":"pier"}', Delete("pier:7", NOW)),
        (b'{"delete":"at://did:plc:x/p/1"}', Delete("at://did:plc:x/p/1", NOW)),
        (b'{"delete":"7"}', "bad platform"),
        (b'{"delete":"7","platform":"../x"}', "bad platform"),
        (b'{"delete":null,"platform":"pier"}', "bad id"),
        (b'{"text":"\xff","platform":"pier"}', "not JSON"),
        (b'{"text":"x"}', "bad platform"),
        (row(1, created_at="soon"), "bad time"),
        (b"[]", "not an object"),
    ],
)
def test_a_row_may_take_a_post_away_and_a_bad_one_has_a_reason(line: bytes, event: Event | str):
    assert read_event(line, NOW) == event


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"\n", b" ", b"\xff", b"{", b"\r\n"]) | st.binary(max_size=5), max_size=30))
def test_lines_do_not_depend_on_how_the_bytes_arrive(blocks: list[bytes]):
    lines, whole = Lines(), b"".join(blocks)
    found = [line for block in blocks for line in lines.of(block)] + list(lines.rest())
    assert found == [line for line in whole.split(b"\n") if line.strip()]


def test_a_line_without_end_is_given_up_and_the_next_one_is_read():
    lines = Lines()
    found = [line for _ in range(40) for line in lines.of(b"x" * (MAX_ROW_BYTES // 8))]
    found += [*lines.of(b"end\nnext\n" + b"y" * (MAX_ROW_BYTES + 1) + b"\nlast"), *lines.rest()]
    assert found == [None, b"next", None, b"last"]


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["id", "platform", "text", "delete", "created_at", "author", "url", "public_metrics"]),
        st.none()
        | st.integers(-9, 2**63)
        | st.text(max_size=6)
        | st.just("pier")
        | st.lists(st.none(), max_size=1),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_row_breaks_the_reader(line: bytes):
    assert isinstance(read_event(line, NOW), str | Upsert | Delete)


async def take(source: JsonlSource, count: int) -> list[Event]:
    found: list[Event] = []
    async with aclosing(source.events(None)) as events, asyncio.timeout(5):  # type: ignore[type-var]
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_a_fifo_is_read_for_ever_whoever_writes_and_can_be_left_at_any_time(tmp_path: Path):
    path = tmp_path / "rows"
    os.mkfifo(path)
    source = await open_source(f"jsonl:{path}")
    taking = asyncio.create_task(take(source, 3))  # type: ignore[arg-type]
    for n in range(3):
        await asyncio.to_thread(path.write_bytes, row(n))
    assert posts(await taking) == ["Row 0", "Row 1", "Row 2"]
    waiting = asyncio.create_task(take(source, 1))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert time.monotonic() - began < 0.5


async def test_a_slow_store_holds_the_writer_back(tmp_path: Path):
    path, written, line = tmp_path / "rows", 0, row(1)
    os.mkfifo(path)
    events = JsonlSource(str(path)).events(None)
    first = asyncio.create_task(anext(events))  # type: ignore[arg-type]
    await asyncio.sleep(0.02)
    pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for _ in range(50):
            with suppress(BlockingIOError):
                while True:
                    written += os.write(pipe, line * 40)
            await asyncio.sleep(0.004)
        assert posts([await first]) == ["Row 1"]
        assert 65_536 < written < 600_000  # the pipe's own 64 kB and a few blocks of ours
        for _ in range(written // len(line) - 1):
            assert posts([await anext(events)]) == ["Row 1"]
    finally:
        os.close(pipe)
        await events.aclose()  # type: ignore[attr-defined]


async def test_a_file_is_followed_as_it_grows(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(row(1) + row(2)[:20])
    taking = asyncio.create_task(take(JsonlSource(str(path)), 3))
    await asyncio.sleep(0.1)
    with path.open("ab") as file:
        file.write(row(2)[20:] + b"oops\n" + row(3))
    assert posts(await taking) == ["Row 1", "Row 2", "Row 3"]


async def test_a_path_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(VoxpopError, match="cannot be read"):
        await take(JsonlSource(str(tmp_path / "none")), 1)


async def test_a_terminal_is_no_pipe(monkeypatch: pytest.MonkeyPatch):
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(UsageError, match="Nothing is piped"):
            await take(JsonlSource(), 1)
    os.close(master)


@pytest.mark.parametrize("piped", [True, False])
def test_what_is_piped_into_the_program_is_stored(tmp_path: Path, piped: bool):
    body = row(1) + b"\xff\xfe\n" + row(2) + b'{"delete":"1","platform":"pier"}\n' + row(3).strip()
    (tmp_path / "rows").write_bytes(body)
    with (tmp_path / "rows").open("rb") as file:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "voxpop.cli",
                "ingest",
                "--source",
                "jsonl",
                "--data",
                str(tmp_path / "d"),
                "--json",
            ],
            **({"input": body} if piped else {"stdin": file}),
            capture_output=True,
            timeout=30,
            check=True,
            env=environment(),
        )
    found = json.loads(done.stdout)["sources"][0]
    assert (found["source"], found["posts"], found["deleted"], found["dropped"]) == ("jsonl", 3, 1, {"not JSON": 1})
