"""One harness for each parser of the world's bytes: it takes any bytes, and raises only where the parser is wrong.

A parser is wrong when it raises what its contract does not name, or gives what the store cannot hold: a text that
is not UTF-8, a whole number beyond 63 bits, a text without an end.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from voxpop.errors import VoxpopError

NOW = 1_900_000_000_000_000
_MOST_TEXT = 200_000
_WHOLE = range(-(2**63), 2**63)
SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())


@dataclass(frozen=True, slots=True)
class Harness:
    """What is fed with bytes; `shape` says how its inputs are changed: as JSON, as lines of text, or as bytes."""

    feed: Callable[[bytes], object]
    shape: str = "bytes"
    largest: int = 1 << 14


def storable(value: Any) -> None:
    """Refuse what SQLite and the index would choke on, at any depth of an event."""
    if isinstance(value, str):
        value.encode()
        assert len(value) <= _MOST_TEXT, f"a text of {len(value)} characters"
    elif isinstance(value, int):
        assert value in _WHOLE, f"a number beyond 63 bits: {value}"
    elif isinstance(value, tuple | list):
        for part in value:
            storable(part)
    elif is_dataclass(value):
        for field in fields(value):
            storable(getattr(value, field.name))


def _events(found: Iterable[Any]) -> None:
    for event in found:
        if not isinstance(event, str):
            storable(event)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def jetstream(data: bytes) -> None:
    from voxpop.sources.jetstream import Reading, read_line

    reacted: list[Any] = []
    reading = Reading(reacted=lambda *said: reacted.append(said))
    _events([read_line(data, NOW, reading), read_line(_text(data), NOW)])
    storable(reacted)


def mastodon(data: bytes) -> None:
    """A status or a WebSocket frame as JSON, and the same bytes as server-sent events."""
    from voxpop.sources.mastodon_server import Server, Unanswered
    from voxpop.sources.mastodon_status import Reading, read_event
    from voxpop.sources.mastodon_stream import Lines, read_frame

    reading = Reading("m.example", unindexable=True)
    frames = [*Lines().read(data), *Lines().read(b"event: update\ndata: " + data + b"\n\n")]
    with suppress(Unanswered):
        frames.append(read_frame(data))
    for name, payload in [("update", data), ("status.update", data), *((f.event, f.payload) for f in frames)]:
        heard = read_event(name, payload, NOW, reading)
        if not isinstance(heard, str):
            storable(heard.event)
    with suppress(orjson.JSONDecodeError):
        told = orjson.loads(data)
        server = SimpleNamespace(base="https://m.example", host="m.example")
        storable((Server._streaming(server, told), Server._domain(server, told)))  # type: ignore[arg-type]


def replay(data: bytes) -> None:
    from voxpop.sources.replay import read_row

    _events([read_row(data, "7")])


def rows(data: bytes) -> None:
    """Rows that are piped in, cut into lines and one by one."""
    from voxpop.sources.jsonl import Lines, read_event

    lines = Lines()
    _events(read_event(line, NOW) for line in (data, *lines.of(data), *lines.rest()) if line)


def feeds(data: bytes) -> None:
    from voxpop.sources.feeds_wire import MAX_ENTRIES, Feed, read_feed

    found = read_feed(data, "https://feeds.example/news")
    if isinstance(found, Feed):
        storable(found)
        assert len(found.entries) <= MAX_ENTRIES
        assert Feed.of(orjson.loads(orjson.dumps(found))) == found


def opml(data: bytes) -> None:
    from voxpop.sources.opml import read_opml

    with suppress(ValueError):
        storable(read_opml(data))


def html(data: bytes) -> None:
    from voxpop.sources.html_text import read_html, web_address

    storable(tuple(read_html(_text(data), "https://feeds.example/")))
    storable(web_address(_text(data), "https://feeds.example/"))


def x(data: bytes) -> None:
    """Payloads of the stream, of searches and of look-ups, and X's words about what it refuses."""
    from voxpop.sources.x_api import _words
    from voxpop.sources.x_wire import read

    storable(_words(data))
    found = read(data, NOW)
    _events(found.posts)
    storable((found.gone, found.replaced, found.problems, found.newest, found.next_token))
    assert len(found.posts) <= found.billed


def x_rules(data: bytes) -> None:
    """X's answers about the rules of its filtered stream."""
    from voxpop.sources.x_rules import sync

    class Api:
        async def get(self, path: str, params: object) -> bytes:
            return data

        async def post(self, path: str, params: object, body: object) -> tuple[int, bytes]:
            return 201, data

    with suppress(VoxpopError, StopIteration):
        sync(Api(), ["boats"]).send(None)  # type: ignore[arg-type]


def handles(data: bytes) -> None:
    """Profiles and DID documents, as JSON that came from a directory."""
    from voxpop.sources import handles

    with suppress(orjson.JSONDecodeError):
        answer = orjson.loads(data)
        storable(handles._claimed_handle(answer))
        if isinstance(answer, dict):
            storable(handles._author("did:plc:x", answer))


def text(data: bytes) -> None:
    """What every post goes through on its way into the index and into an answer."""
    from voxpop import text, tones
    from voxpop.posts import Author, Post

    said = _text(data)
    tones.tone(Post("x:1", "x", Author("x:1", said[:30], said[:100], bio=said[:300]), said, 0, 0))
    tones.tone(Post("x:1", "x", Author("x:1"), said, 0, 0))
    text.indexed(said)
    text.fingerprint(said)
    text.keywords(said)
    text.names(said)
    text.quotations(said)
    text.shingles(said)
    text.language(said)
    for sentence in text.sentences(said):
        text.numbers(sentence)
        text.dates(sentence)


def query(data: bytes) -> None:
    from voxpop.store.query import parse

    with suppress(VoxpopError):
        parse(_text(data), NOW)


def specs(data: bytes) -> None:
    from voxpop.sources.auto import parse_spec

    with suppress(VoxpopError):
        parse_spec(_text(data))


def api(data: bytes) -> None:
    from voxpop.api.asked import Known, parse

    with suppress(orjson.JSONDecodeError, VoxpopError):
        parse(orjson.loads(data), Known(_voices(), "regular"))


@cache
def _voices() -> Any:
    from voxpop import voices

    return voices.load()


def engine(data: bytes) -> None:
    """A line that another program's model server streams."""
    from voxpop.engines.openai import _delta

    with suppress(VoxpopError):
        delta = _delta("data: " + _text(data))
        assert delta is None or isinstance(delta.text, str)


def gguf(data: bytes) -> None:
    from voxpop.engines.gguf_file import GgufFile
    from voxpop.engines.template import Template
    from voxpop.engines.vocabulary import Vocabulary
    from voxpop.messages import Message

    with suppress(VoxpopError):
        card = GgufFile(_file(data, ".gguf")).card()
        for reading in (
            lambda: Vocabulary(card).encode("a b"),
            lambda: Template(card).pieces([Message("user", "hi")]),
        ):
            with suppress(VoxpopError):
                reading()


def grok_gguf(data: bytes) -> None:
    """A GGUF file of a Grok model, or the importance of its inputs."""
    from voxpop.weights import importance
    from voxpop.weights.formats.gguf_grok import GgufSource
    from voxpop.weights.grok import Grok

    path = _file(data, ".gguf")
    with suppress(VoxpopError):
        found = GgufSource(path)
        found.faults()
        for reading in (found.words, *(partial(found.read, name) for name in found.shape.specs)):
            with suppress(VoxpopError):
                reading()
    with suppress(VoxpopError):
        small = Grok(layers=1, width=32, heads=1, kv_heads=1, head_width=32, feed_forward=32, experts=1)
        importance.read(path, small)


def leaf(data: bytes) -> None:
    """A file of xAI's checkpoint: what is accepted means what Python's own machine says."""
    from voxpop.weights.formats import pickles

    sys.path.append(str(Path(__file__).parent.parent))
    from leaf_oracle import known, parts

    with suppress(VoxpopError):
        found = parts(pickles.read(_file(data, ".pickle")))
        assert sum(len(array) for _, _, array in found) < len(data)
        assert found == known(data)


def config(data: bytes) -> None:
    from voxpop.config import load

    with suppress(VoxpopError):
        load(_file(data, ".toml"), {})


def _file(data: bytes, suffix: str) -> Path:
    path = SCRATCH / f"voxpop-fuzz-{os.getpid()}{suffix}"
    path.write_bytes(data)
    return path


HARNESSES = {
    "jetstream": Harness(jetstream, "json"),
    "mastodon": Harness(mastodon, "json"),
    "replay": Harness(replay, "json"),
    "rows": Harness(rows, "json"),
    "feeds": Harness(feeds),
    "opml": Harness(opml, largest=4096),
    "html": Harness(html),
    "x": Harness(x, "json"),
    "x_rules": Harness(x_rules, "json"),
    "handles": Harness(handles, "json"),
    "text": Harness(text, largest=3000),
    "query": Harness(query, largest=1100),
    "specs": Harness(specs, largest=300),
    "api": Harness(api, "json"),
    "engine": Harness(engine, "json"),
    "gguf": Harness(gguf),
    "grok_gguf": Harness(grok_gguf),
    "leaf": Harness(leaf, largest=1024),
    "config": Harness(config, largest=4096),
}
