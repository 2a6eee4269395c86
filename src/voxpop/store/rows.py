"""A post as a row of SQLite and back: what posts of one network share is written as one sign; pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from voxpop.posts import Author, Engagement, Media, Post

COLUMNS = (
    "seq, key, id, network, author, text, created, witnessed, url, lang, reply_to, root, quote_of, extra,"
    " likes, reposts, replies, fingerprint, kind"
)
AS_JSON = "json_group_array(json_array(" + COLUMNS.replace("extra", "CAST(extra AS TEXT)") + "))"
_RAW, _AUTHOR, _LAST, _SAME = "\x01", "\x06", "\x07", "\x08"
_SIGNS = (
    ("at://", "\x02"),
    ("/app.bsky.feed.post/", "\x03"),
    ("https://bsky.app/profile/", "\x04"),
    ("/post/", "\x05"),
)
_SHORTEST = 4
_NOBODY = Author("")


@dataclass(slots=True)
class Stored:
    """A post with its place in the store: `seq` grows with every stored text and is never used twice.

    `author` is the number by which the catalog knows the author, `key` that of the id.
    """

    seq: int
    post: Post
    fingerprint: int
    author: int = 0
    key: int = 0


class Copies(NamedTuple):
    """The posts of one text: how many, from how many accounts, and how many of these speak for themselves."""

    posts: int = 0
    authors: int = 0
    voices: int = 0


def key(name: str) -> int:
    """64 signed bits of an id or an alias: by them posts are looked up, and remembered once they are gone."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def pack(name: str, author: str, last: str = "") -> str:
    """An id or address with signs for its author, for `last` and for what Bluesky's all share."""
    if not name:
        return name
    if not name.isprintable():
        return _RAW + name
    if len(author) >= _SHORTEST:
        name = name.replace(author, _AUTHOR)
    if len(last) >= _SHORTEST:
        name = name.replace(last, _LAST)
    (a, a_), (b, b_), (c, c_), (d, d_) = _SIGNS  # no loop: four times for each post that comes in
    return name.replace(a, a_).replace(b, b_).replace(c, c_).replace(d, d_)


def unpack(name: str, author: str, last: str = "") -> str:
    """What `pack` was given."""
    if name.isprintable():
        return name
    if name.startswith(_RAW):
        return name[1:]
    (a, a_), (b, b_), (c, c_), (d, d_) = _SIGNS
    name = name.replace(a_, a).replace(b_, b).replace(c_, c).replace(d_, d)
    return name.replace(_AUTHOR, author).replace(_LAST, last)


def extra(post: Post) -> bytes | None:
    """A post's media and links; JSON has no raw control character, so that one can stand for the author."""
    if not (post.media or post.links):
        return None
    packed = orjson.dumps([[list(m) for m in post.media], post.links])
    author = post.author.id
    if len(author) >= _SHORTEST and author.isascii() and author.isprintable():
        packed = packed.replace(author.encode(), _AUTHOR.encode())
    return packed


def row(stored: Stored) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    p = stored.post
    who, last = p.author.id, p.id.rpartition("/")[2]
    root = _SAME if p.root and p.root == p.reply_to else pack(p.root, who, last)
    return (
        stored.seq, stored.key, pack(p.id, who), p.network, stored.author, p.text, p.created_at - p.witnessed_at,
        p.witnessed_at, pack(p.url, who, last), p.lang, pack(p.reply_to, who, last), root,
        pack(p.quote_of, who, last), extra(p), *p.engagement, stored.fingerprint,
        p.kind if p.kind != "post" else "",
    )  # fmt: skip


def stored(row: Any, authors: Mapping[int, Author]) -> Stored:
    """The post of a row; `authors` by their number."""
    (
        seq, name, id_, network, number, text, created, witnessed, url, lang, reply_to, root, quote_of, packed,
        likes, reposts, replies, mark, kind,
    ) = row  # fmt: skip
    author = authors.get(number, _NOBODY)
    who = author.id
    id_ = unpack(id_, who)
    last = id_.rpartition("/")[2]
    reply_to = reply_to and unpack(reply_to, who, last)
    if isinstance(packed, bytes):
        packed = packed.decode()
    media, links = orjson.loads(packed.replace(_AUTHOR, who)) if packed else ((), ())
    post = Post(
        id=id_, network=network, author=author, text=text, created_at=witnessed + created, witnessed_at=witnessed,
        url=url and unpack(url, who, last), lang=lang, reply_to=reply_to,
        root=reply_to if root == _SAME else root and unpack(root, who, last),
        quote_of=quote_of and unpack(quote_of, who, last),
        media=tuple(Media(*m) for m in media), links=tuple(links), engagement=Engagement(likes, reposts, replies),
        kind=kind or "post",
    )  # fmt: skip
    return Stored(seq, post, mark, number, name)
