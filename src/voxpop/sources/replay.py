"""Replay recorded posts from a JSONL file (.gz, .zst); a row without a text or a time is dropped, never guessed.

One row is one JSON object: `id`, `platform`, `author`, `created_at`, `text`, and if known `url`, `lang`,
`in_reply_to_id`, `public_metrics` and the account: `author_name`, `author_mark`, `author_label`, `author_since`,
`author_bio`. A recording has no witness of its own, so the row's `created_at` stands for both times. The cursor is
the offset in the unpacked file of the byte after the row, and a mark of the file's first bytes: another file of the
same name, or one that was written anew, does not fit it and is read from its start.
"""

import asyncio
import gzip
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import orjson
import zstandard

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import LABELS, MARKS, Author, Engagement, Event, Post, Upsert
from voxpop.sources.fields import bio, claimed, count, language, web
from voxpop.sources.timestamps import timestamp
from voxpop.times import MICROS, iso, span

MAX_ROW_BYTES = 1 << 20
MAX_TEXT = 30_000
_BLOCK = 1 << 18
_ROWS_A_CHUNK = 1000
_HEAD = 4096
_MAX_NAME = 256
_TOLD_S = 1.0  # a shorter wait is not worth a word
_NO_ENGAGEMENT = Engagement()
_T = TypeVar("_T")
_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


class _Row(NamedTuple):
    """A line of the file and the offset after it; `line` is None where the line was too long to keep."""

    line: bytes | None
    end: int


class _Chunk(NamedTuple):
    """What some rows became."""

    events: list[Upsert]
    dropped: Counter[str]
    end: int


class ReplaySource:
    """The rows of one file, in their order, then the end.

    `speed` is "max" or how many recorded seconds pass in one real second. Posts carry the `platform` of their row
    as their network; `network` is only the name of the source's kind.
    """

    simulated = False

    def __init__(
        self,
        path: str | Path,
        speed: float | Literal["max"] = "max",
        *,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path).expanduser()
        if speed != "max" and not 0 < speed < float("inf"):
            raise UsageError(f"Replay speed {speed!r} is not possible.", "Give 'max' or a number above 0.")
        if not self.path.is_file():
            raise _missing(self.path)
        self.name = name or f"replay:{self.path.name}"
        self.network = "replay"
        self.speed = speed
        self.dropped: Counter[str] = Counter()
        self.state = "not started"
        self._clock = clock

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """The rows after the cursor; files and JSON are read in a thread, so the loop stays free."""
        pace = None if self.speed == "max" else _Pace(self.speed, self._clock)
        read, self.state = 0, f"replaying {self.path.name}"
        mark = await self._read(_Mark, self.path)
        rows = _rows(self.path, _offset(after, self.name, mark))
        while (chunk := await self._read(_next_chunk, rows, mark)) is not None:
            self.dropped.update(chunk.dropped)
            for event in chunk.events:
                if pace is not None:
                    await self._wait(pace, event)
                yield event
            read += len(chunk.events)
            self.state = f"replaying {self.path.name}, {read:,} posts read"
        self.state = f"ended: {self.path.name}, {read:,} posts read"

    async def _read(self, work: Callable[..., _T], *given: Any) -> _T:
        try:
            return await asyncio.to_thread(work, *given)
        except _UNREADABLE as error:
            self.state = f"stopped: {self.path.name} is unreadable"
            raise _unreadable(self.path, error) from error

    async def _wait(self, pace: "_Pace", event: Upsert) -> None:
        """Hold an event back until its time has come, and say so while it lasts."""
        while (early := pace.early(event)) > 0:
            if early >= _TOLD_S:
                self.state = f"replaying {self.path.name}, {pace.now()}, next post in {span(early)}"
            await asyncio.sleep(min(early, _TOLD_S))
        self.state = f"replaying {self.path.name}, {pace.now()}"


class _Mark:
    """Tell a file from another of its name: a digest of the unpacked bytes before an offset, at most 4 KB."""

    def __init__(self, path: Path) -> None:
        head = b""
        for block in _blocks(path):
            head += block
            if len(head) >= _HEAD:
                break
        self._head = head[:_HEAD]
        self._whole = _digest(self._head)

    def at(self, offset: int) -> str:
        return self._whole if offset >= len(self._head) else _digest(self._head[:offset])

    def cursor(self, offset: int) -> str:
        return f"{offset}@{self.at(offset)}"


def _digest(head: bytes) -> str:
    return blake2b(head, digest_size=6).hexdigest()


class _Pace:
    """When an event's recorded time comes; late and out-of-order events are never early."""

    def __init__(self, speed: float, clock: Callable[[], float]) -> None:
        self._speed, self._clock = speed, clock
        self._origin: tuple[float, int] | None = None

    def early(self, event: Upsert) -> float:
        """Seconds until then."""
        at = event.post.witnessed_at
        if self._origin is None:
            self._origin = (self._clock(), at)
        started, first = self._origin
        return (at - first) / MICROS / self._speed - (self._clock() - started)

    def now(self) -> str:
        """The recording's own time, such as `2014-10-22T14:30:00Z`."""
        started, first = self._origin or (0.0, 0)
        passed = (self._clock() - started) * self._speed if self._origin else 0.0
        return iso(first + int(passed * MICROS))[:19] + "Z"


def read_row(line: bytes, cursor: str = "") -> Upsert | str:
    """One row as an event, or the reason why it is none."""
    row = parse_row(line)
    return row if isinstance(row, str) else row_event(row, cursor)


def parse_row(line: bytes) -> dict[str, Any] | str:
    """The object of one line, or the reason why there is none."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "not JSON"
    return row if type(row) is dict else "not an object"


def row_event(row: dict[str, Any], cursor: str = "", now: int = -1) -> Upsert | str:
    """A row's post, or the reason why there is none.

    With `now` (microseconds) we are the witness, and a row need not say when it was written.
    """
    get: Callable[..., Any] = row.get
    text = get("text")
    if type(text) is not str or not text or text.isspace():
        return "no text"
    if len(text) > MAX_TEXT:
        return "text too long"
    network = get("platform")
    if type(network) is not str or not network.isidentifier():
        return "bad platform"
    claimed = get("created_at", "")
    try:
        at = timestamp(claimed) if claimed or now < 0 else 0
    except (TypeError, ValueError):
        return "bad time"
    if at < 0:
        return "bad time"
    return Upsert(_post(get, text, network, at, now), cursor)


def _post(get: Callable[..., Any], text: str, network: str, at: int, now: int) -> Post:
    handle = get("author")
    if type(handle) is not str:
        handle = ""
    id_ = row_uri(network, get("id")) or _derived(network, handle, at, text)
    url, lang, reply, counts = get("url"), get("lang"), get("in_reply_to_id"), get("public_metrics")
    return Post(
        id_,
        network,
        _profile(_author(network, handle, id_), get),
        text,
        at or max(now, 0),
        at if now < 0 else now,
        web(url),
        language(lang),
        row_uri(network, reply) if reply is not None else "",
        engagement=_engagement(counts) if type(counts) is dict else _NO_ENGAGEMENT,
    )


def row_uri(network: str, id_: object) -> str:
    """The URI of a post from its number at a network; an `at://` URI stays as it is; empty where it is neither."""
    if type(id_) is int:
        id_ = str(id_)
    if type(id_) is not str or not id_ or len(id_) > 512:
        return ""
    return id_ if id_.startswith("at://") else f"{network}:{id_}"


def _derived(network: str, handle: str, at: int, text: str) -> str:
    digest = blake2b(f"{network}\0{handle}\0{at}\0{text}".encode(), digest_size=12)
    return f"replay:{digest.hexdigest()}"


@lru_cache(maxsize=65_536)
def _known(network: str, handle: str) -> Author:
    return Author(f"{network}:{handle.lower()}", handle)


def _author(network: str, handle: str, id_: str) -> Author:
    if id_.startswith("at://did:"):
        return Author(id_[5:].partition("/")[0], handle)
    return _known(network, handle) if handle else Author("")


def _profile(author: Author, get: Callable[..., Any]) -> Author:
    """The account with what the row says of it; where nobody knows who wrote, nothing is said of nobody."""
    name, mark, label = get("author_name"), get("author_mark"), get("author_label")
    since, told = claimed(get("author_since"), 0), bio(get("author_bio"))
    if not author.id or not (name or mark or label or since or told):
        return author
    return author._replace(
        name=" ".join(name.split())[:_MAX_NAME] if type(name) is str else "",
        mark=mark if type(mark) is str and mark in MARKS else "",
        label=label if type(label) is str and label in LABELS else "",
        since=since,
        bio=told,
    )


def _engagement(counts: dict[str, object]) -> Engagement:
    likes, reposts, replies = counts.get("like_count"), counts.get("retweet_count"), counts.get("reply_count")
    return Engagement(count(likes), count(reposts), count(replies))


def _next_chunk(rows: Iterator[_Row], mark: _Mark) -> _Chunk | None:
    events: list[Upsert] = []
    dropped: Counter[str] = Counter()
    end = -1
    for line, end in rows:
        event = "line too long" if line is None else read_row(line, mark.cursor(end))
        if isinstance(event, str):
            dropped[event] += 1
        else:
            events.append(event)
        if len(events) >= _ROWS_A_CHUNK or dropped.total() >= _ROWS_A_CHUNK:
            break
    return None if end < 0 else _Chunk(events, dropped, end)


def _rows(path: Path, offset: int) -> Iterator[_Row]:
    """The lines that start at or after the offset in the unpacked bytes; empty lines are passed over."""
    at, rest, skipping = 0, b"", False
    for block in _blocks(path):
        if at + len(block) <= offset:
            at += len(block)
            continue
        if at < offset:
            block, at = block[offset - at :], offset  # noqa: PLW2901
        lines = (rest + block).split(b"\n")
        at -= len(rest)
        rest = lines.pop()
        for line in lines:
            at += len(line) + 1
            if skipping:
                skipping = False
            elif line and not line.isspace():
                yield _Row(line, at)
        if len(rest) > MAX_ROW_BYTES:
            at += len(rest)
            rest = b""
            if not skipping:
                skipping = True
                yield _Row(None, at)
        at += len(rest)
    if rest and not rest.isspace() and not skipping:
        yield _Row(rest, at)


def _blocks(path: Path) -> Iterator[bytes]:
    if path.suffix == ".zst":
        yield from _unzstd(path)
        return
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _unzstd(path: Path) -> Iterator[bytes]:
    """Frame after frame; a frame that breaks off is an error, which the library's own reader does not tell."""
    unpack = zstandard.ZstdDecompressor()
    frame = None
    with path.open("rb") as file:
        while packed := file.read(1 << 15):
            while packed:
                frame = frame or unpack.decompressobj()
                if block := frame.decompress(packed):
                    yield block
                packed, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("the compressed stream breaks off")


def _offset(after: str | None, name: str, mark: _Mark) -> int:
    """Where to go on: at the start where the cursor is another file's. An older version's has no mark."""
    if not after:
        return 0
    offset, _, marked = after.partition("@")
    if not (offset.isascii() and offset.isdigit()):
        raise VoxpopError(
            f"The cursor {after!r} of source {name!r} is not a byte offset.",
            "Remove that source's cursor from the store; the file is then read from its start.",
            lasting=True,
        )
    return 0 if marked and marked != mark.at(int(offset)) else int(offset)


def _missing(path: Path) -> VoxpopError:
    return VoxpopError(
        f"No replay file at {str(path)!r}.",
        "Give the path of a .jsonl, .jsonl.gz or .jsonl.zst file.",
        lasting=True,
    )


def _unreadable(path: Path, error: BaseException) -> VoxpopError:
    if isinstance(error, FileNotFoundError):
        return _missing(path)
    return VoxpopError(
        f"The replay file {str(path)!r} cannot be read: {error}.",
        "Check it with 'zstd -t' or 'gzip -t', then copy or record it again.",
    )
