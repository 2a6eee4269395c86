"""Make a flood of Jetstream v1 frames whose event number n says all of event n; it knows no sockets and no clock.

What a stream of any length holds can therefore be said afterwards without having kept it. Frames are joined from
pieces that were made once; only times, keys and addresses are new, all of fixed length.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson
import zstandard

from voxpop.simulator.records import LIKE, POST, REPOST, tid
from voxpop.simulator.world import night

CYCLE = 1000
_B32 = "abcdefghijklmnopqrstuvwxyz234567"
_KINDS = ("like", "repost", "reply", "update", "delete", "post")
_COLLECTION = {"like": LIKE, "repost": REPOST}
_LONGEST = 3000
_PAIRS = [tid(n)[9:11].encode() for n in range(1024)]
_LAST = tid(0, 7)[11:].encode()
_CID = b"bafyrei" + b"a" * 52


class Row(NamedTuple):
    """A post of the recording: what is said, by whom (any name), in which language (empty: not said)."""

    text: str
    author: str = ""
    lang: str = ""


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the events, each from 0 to 1; the rest are posts. A reply is a post that answers another."""

    like: float = 0.0
    repost: float = 0.0
    reply: float = 0.0
    update: float = 0.0
    delete: float = 0.0


class Event(NamedTuple):
    """What event n is: a post of its own (`post` is its number), or something done to the post number `post`."""

    kind: str
    post: int


class _Pieces(NamedTuple):
    """A post's line, cut where times and addresses go; `size` is its length with them, but without a reply."""

    author: bytes
    langs: bytes
    text: bytes
    size: int


class Flood:
    """Event n of a stream of `rate` events a second that began at `origin_us`; no two are of the same microsecond.

    Likes, reposts, replies, updates and deletes go to posts of the cycle of 1,000 events before; those of the first
    cycle go to posts that nobody has seen. No post is deleted or updated twice, and none is both.
    """

    def __init__(self, rows: Sequence[Row], rate: float, origin_us: int, mix: Mix = Mix(), seed: int = 7) -> None:
        self.rate, self.origin_us = rate, origin_us
        self._rows = [_cut(row) for row in rows]
        self._kinds = _cycle(mix, seed)
        self._posts = [slot for slot, kind in enumerate(self._kinds) if kind in ("post", "reply")]
        self._ranks = _ranks(self._kinds)
        self._top = (-1, b"")
        self._second = (-1, b"")

    def time_us(self, n: int) -> int:
        """When event n happens, microseconds."""
        return self.origin_us + int(n * 1_000_000 / self.rate)

    def first_after(self, time_us: int) -> int:
        """The number of the first event at or after a time."""
        n = max(int((time_us - self.origin_us) * self.rate / 1_000_000) - 1, 0)
        while self.time_us(n) < time_us:
            n += 1
        return n

    def event(self, n: int) -> Event:
        """What event n is."""
        cycle, slot = divmod(n, CYCLE)
        kind, rank, size = self._kinds[slot], self._ranks[slot], len(self._posts)
        if kind in ("post", "reply"):
            return Event(kind, cycle * size + rank)
        if kind in ("update", "delete"):
            return Event(kind, (cycle - 1) * size + rank)
        chance = (n * 2_654_435_761 & 0xFFFF) / 0x10000
        return Event(kind, (cycle - 1) * size + int(chance * chance * size))

    def wanted(self, collections: Iterable[str]) -> frozenset[str]:
        """The kinds of event that these collections hold; no collection means all."""
        asked = tuple(collections)
        held = {kind: _COLLECTION.get(kind, POST) for kind in _KINDS}
        return frozenset(k for k, c in held.items() if not asked or any(_holds(a, c) for a in asked))

    def counts(self, until: int, since: int = 0) -> dict[str, int]:
        """How many events of each kind have numbers from `since` to below `until`."""
        whole = {kind: self._kinds.count(kind) for kind in _KINDS}

        def below(n: int) -> dict[str, int]:
            cycles, rest = divmod(n, CYCLE)
            return {k: cycles * whole[k] + self._kinds[:rest].count(k) for k in _KINDS}

        before = below(since)
        return {kind: count - before[kind] for kind, count in below(until).items()}

    def uri(self, post: int) -> str:
        """The address of a post by its number."""
        return f"at://{self._did(post).decode()}/{POST}/{self._tid(self._time_of_post(post)).decode()}"

    def text(self, post: int) -> str:
        """What a post says when it first comes."""
        found: str = orjson.loads(b"{" + self._rows[post % len(self._rows)].text.removeprefix(b",") + b"}")["text"]
        return found

    # -- bytes ----------------------------------------------------------------------------------------------

    def frames(self, start: int, stop: int, kinds: frozenset[str] = frozenset(_KINDS)) -> Iterator[bytes]:
        """Websocket text frames (RFC 6455, section 5.2) of the events from `start` to below `stop`."""
        for n in range(start, stop):
            if self._kinds[n % CYCLE] in kinds:
                yield self._frame(n)

    def line(self, n: int) -> bytes:
        """Event n as one line of JSON."""
        frame = self._frame(n)
        return frame[4 if frame[1] == 126 else 2 :]

    def _frame(self, n: int) -> bytes:
        kind, post = self.event(n)
        at = self.time_us(n)
        if kind == "post":
            return self._post(post, at, at, b"create", b"", b"")
        if kind == "reply":
            parent = self.uri(post - len(self._posts)).encode()
            ref = b'{"cid":"' + _CID + b'","uri":"' + parent + b'"}'
            return self._post(post, at, at, b"create", b',"reply":{"parent":' + ref + b',"root":' + ref + b"}", b"")
        if kind == "update":
            return self._post(post, self._time_of_post(post), at, b"update", b"", b" (edited)")
        if kind == "delete":
            return self._delete(post, at)
        return self._reaction(kind.encode(), post, n, at)

    def _post(self, post: int, made: int, at: int, operation: bytes, reply: bytes, more: bytes) -> bytes:
        pieces = self._rows[post % len(self._rows)]
        text = pieces.text if not more else pieces.text[:-1] + more + b'"'
        key = self._tid(made)
        size = pieces.size + len(reply) + len(more)
        return b"".join((
            _header(size), b'{"did":"', self._did(post), b'","time_us":', b"%016d" % at,
            b',"kind":"commit","commit":{"rev":"', key if made == at else self._tid(at), b'","operation":"',
            operation, b'","collection":"app.bsky.feed.post","rkey":"', key,
            b'","record":{"$type":"app.bsky.feed.post","createdAt":"', self._iso(made), b'"', pieces.langs, reply,
            text, b'},"cid":"', _CID, b'"}}',
        ))  # fmt: skip

    def _delete(self, post: int, at: int) -> bytes:
        return framed(b"".join((
            b'{"did":"', self._did(post), b'","time_us":', b"%016d" % at,
            b',"kind":"commit","commit":{"rev":"', self._tid(at),
            b'","operation":"delete","collection":"app.bsky.feed.post","rkey":"',
            self._tid(self._time_of_post(post)), b'"}}',
        )))  # fmt: skip

    def _reaction(self, kind: bytes, post: int, n: int, at: int) -> bytes:
        key = self._tid(at)
        return framed(b"".join((
            b'{"did":"did:plc:', key, b'liker777777","time_us":', b"%016d" % at,
            b',"kind":"commit","commit":{"rev":"', key, b'","operation":"create","collection":"app.bsky.feed.',
            kind, b'","rkey":"', key, b'","record":{"$type":"app.bsky.feed.', kind, b'","createdAt":"',
            self._iso(at), b'","subject":{"cid":"', _CID, b'","uri":"',
            self.uri(post).encode(), b'"}},"cid":"', _CID, b'"}}',
        )))  # fmt: skip

    # -- keys and times -------------------------------------------------------------------------------------

    def _time_of_post(self, post: int) -> int:
        cycle, rank = divmod(post, len(self._posts))
        return self.time_us(cycle * CYCLE + self._posts[rank])

    def _did(self, post: int) -> bytes:
        """Each round through the recording has accounts of its own."""
        turn, row = divmod(post, len(self._rows))
        turn &= 0xFFFFF
        ends = (_B32[turn >> 15], _B32[turn >> 10 & 31], _B32[turn >> 5 & 31], _B32[turn & 31])
        return self._rows[row].author + "".join(ends).encode()

    def _tid(self, micros: int) -> bytes:
        top = micros >> 20
        if top != self._top[0]:
            self._top = (top, tid(micros)[:7].encode())
        return self._top[1] + _PAIRS[micros >> 10 & 1023] + _PAIRS[micros & 1023] + _LAST

    def _iso(self, at: int) -> bytes:
        whole, rest = divmod(at, 1_000_000)
        if whole != self._second[0]:
            self._second = (whole, datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode())
        return self._second[1] + b"%03dZ" % (rest // 1000)


def recording(path: Path, limit: int = 0) -> list[Row]:
    """The posts of a `.jsonl.zst` recording, at most `limit` (0: all); what no Jetstream could send is left out."""
    rows: list[Row] = []
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        rest = b""
        while block := reader.read(1 << 20):
            *lines, rest = (rest + block).split(b"\n")
            rows += [row for line in lines if (row := _row(line))]
            if 0 < limit <= len(rows):
                return rows[:limit]
    return rows


def invented() -> list[Row]:
    """The posts of the simulated night."""
    return [
        Row(e.text, e.did, "en") for e in night() if e.collection == POST and e.op == "create" and e.text.strip()
    ]


def _row(line: bytes) -> Row | None:
    row = orjson.loads(line) if line else {}
    text = row.get("text") or ""
    return (
        Row(text, row.get("author") or "", row.get("lang") or "")
        if text.strip() and len(text) <= _LONGEST
        else None
    )


def _cut(row: Row) -> _Pieces:
    luck = random.Random(row.author)
    author = "did:plc:" + "".join(luck.choices(_B32, k=20))
    langs = b',"langs":["' + row.lang.encode() + b'"]' if row.lang else b""
    text = b',"text":' + orjson.dumps(row.text)
    fixed = (
        b'{"did":"","time_us":,"kind":"commit","commit":{"rev":"","operation":"","collection":"app.bsky.feed.post",'
        b'"rkey":"","record":{"$type":"app.bsky.feed.post","createdAt":""},"cid":""}}'
    )
    size = len(fixed) + 32 + 16 + 13 + 13 + 6 + 24 + len(_CID) + len(langs) + len(text)
    return _Pieces(author.encode(), langs, text, size)


def _cycle(mix: Mix, seed: int) -> list[str]:
    shares = {kind: round(CYCLE * getattr(mix, kind)) for kind in _KINDS if kind != "post"}
    kinds = [kind for kind, count in shares.items() for _ in range(count)]
    posts = CYCLE - len(kinds)
    if min(shares.values()) < 0 or posts + shares["reply"] <= shares["update"] + shares["delete"]:
        raise ValueError(f"{mix} leaves too few posts for what is done to them")
    kinds += ["post"] * posts
    random.Random(seed).shuffle(kinds)
    return kinds


def _ranks(kinds: Sequence[str]) -> list[int]:
    """Which post of its cycle a slot is, or concerns: deletes take the first posts, updates those after them."""
    deletes, seen, ranks = kinds.count("delete"), dict.fromkeys(_KINDS, 0), []
    for kind in kinds:
        place = "post" if kind == "reply" else kind
        ranks.append(seen[place] + (deletes if kind == "update" else 0))
        seen[place] += 1
    return ranks


def _holds(asked: str, collection: str) -> bool:
    return asked == collection or (asked.endswith(".*") and collection.startswith(asked[:-1]))


def _header(size: int) -> bytes:
    if size < 126:
        return bytes((0x81, size))
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


def framed(line: bytes) -> bytes:
    return _header(len(line)) + line
