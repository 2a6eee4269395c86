"""Turn Jetstream v1 lines into events; what is malformed gets a reason, what does not concern us gets None.

`time_us` is the relay's clock at the moment of witnessing. It is the only time that is trusted, and only so far: it
never becomes later than a second after our own clock, or a wrong relay would hide posts in the future and push the
cursor past events that were never read. `createdAt` is the author's claim and decides nothing.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from voxpop.posts import AccountGone, Author, Delete, Event, Media, Post, Renamed, Upsert
from voxpop.sources.engagement import LIKES, REPLIES, REPOSTS
from voxpop.sources.fields import claimed, described, language, web
from voxpop.times import MICROS

POST = "app.bsky.feed.post"
LIKE = "app.bsky.feed.like"
REPOST = "app.bsky.feed.repost"
FUTURE = "future time_us"
MAX_TEXT = 3000
_MAX_MEDIA, _MAX_FACETS = 10, 100
_MICROSECONDS_FROM = 10**15
_AHEAD_OK = MICROS
_AHEAD_WRONG = 300 * MICROS
_GONE = frozenset({"deleted", "suspended", "takendown", "deactivated", ""})
_DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:[a-zA-Z0-9.%-]{1,250})").fullmatch
_RKEY = re.compile(r"[A-Za-z0-9._:~-]{1,512}").fullmatch
_HANDLE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?").fullmatch
_AT_URI = re.compile(r"at://did:[a-z]+:[A-Za-z0-9.%:-]+/[A-Za-z0-9.-]+/[A-Za-z0-9._:~-]+").fullmatch

_REACTION = {LIKE: LIKES, REPOST: REPOSTS}

Json = dict[str, Any]


class Reading(NamedTuple):
    """What the reader knows: an author by DID, and the network that the posts carry.

    `reacted` is told of each new like, repost and reply: its kind, the post it goes to, its own key, and when.
    """

    known: Callable[[str], Author] = Author
    network: str = "bluesky"
    reacted: Callable[[int, str, str, int], object] | None = None


_PLAIN = Reading()


def read_line(line: str | bytes, now: int, reading: Reading = _PLAIN) -> Event | str | None:
    """One line as an event, as the reason why it cannot be used, or None where it is of another kind.

    `now` is our clock in microseconds.
    """
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "not JSON"
    if type(message) is not dict:
        return "not an object"
    did, time_us, kind = message.get("did"), message.get("time_us"), message.get("kind")
    if type(did) is not str or not _DID(did):
        return "bad did"
    if type(time_us) is not int or time_us < _MICROSECONDS_FROM:
        return "bad time_us"
    if time_us > now + _AHEAD_OK:
        if time_us > now + _AHEAD_WRONG:
            return FUTURE
        time_us = now + _AHEAD_OK
    fold = _FOLD.get(kind) if type(kind) is str else None
    if fold is None:
        return "unknown kind"
    body = message.get(kind)
    return fold(body, did, time_us, reading) if type(body) is dict else f"{kind} without its body"


def read_handle(value: object) -> str:
    """A handle in lower case; empty where the value is none."""
    if type(value) is not str or len(value) > 253:
        return ""
    handle = value.lower()
    return handle if _HANDLE(handle) else ""


def _commit(commit: Json, did: str, at: int, reading: Reading) -> Event | str | None:
    collection, rkey, operation = commit.get("collection"), commit.get("rkey"), commit.get("operation")
    if collection != POST:
        wanted = reading.reacted and type(collection) is str and collection in _REACTION
        return _reaction(commit, did, at, reading) if wanted else None
    if type(rkey) is not str or not _RKEY(rkey):
        return "bad rkey"
    if operation == "delete":
        return Delete(f"at://{did}/{POST}/{rkey}", at, str(at))
    if operation not in ("create", "update"):
        return "unknown operation"
    post = _post(commit.get("record"), did, rkey, at, reading)
    if isinstance(post, Post):
        if reading.reacted and post.reply_to and operation == "create":
            reading.reacted(REPLIES, post.reply_to, post.id, at)
        return Upsert(post, str(at))
    if operation == "update":  # what the post said before is gone, even where we cannot show what it says now
        return Delete(f"at://{did}/{POST}/{rkey}", at, str(at))
    return post


def _reaction(commit: Json, did: str, at: int, reading: Reading) -> str | None:
    """A like or repost that is taken back names no post, so it cannot be taken off a count."""
    if commit.get("operation") != "create":
        return None
    rkey, record = commit.get("rkey"), commit.get("record")
    if type(rkey) is not str or type(record) is not dict:
        return "bad reaction"
    post = _reference(record.get("subject"))
    if not post or reading.reacted is None:
        return "bad reaction"
    if f"/{POST}/" in post:  # feeds and lists are liked too
        reading.reacted(_REACTION[commit["collection"]], post, f"{did}/{rkey}", at)
    return None


def _account(account: Json, did: str, at: int, _: Reading) -> Event | str | None:
    if account.get("active") is not False:
        return None
    status = account.get("status", "")
    return AccountGone(did, at, str(at)) if type(status) is str and status in _GONE else None


def _identity(identity: Json, did: str, at: int, _: Reading) -> Event | str | None:
    """A new handle, as the account claims it; an empty one means that the handle may have changed."""
    return Renamed(Author(did, read_handle(identity.get("handle"))), str(at))


_FOLD: dict[object, Callable[[Json, str, int, Reading], Event | str | None]] = {
    "commit": _commit,
    "account": _account,
    "identity": _identity,
}


def _post(record: object, did: str, rkey: str, at: int, reading: Reading) -> Post | str:
    if type(record) is not dict or record.get("$type", POST) != POST:
        return "bad record"
    get = record.get
    text = get("text")
    if type(text) is not str:
        return "no text"
    if len(text) > MAX_TEXT:
        return "text too long"
    embed, facets, reply = get("embed"), get("facets"), get("reply")
    media, quote = _embed(embed) if type(embed) is dict else ((), "")
    if (not text or text.isspace()) and not any(m.alt for m in media):
        return "no text"
    parent, root = _reply(reply) if type(reply) is dict else ("", "")
    return Post(
        f"at://{did}/{POST}/{rkey}",
        reading.network,
        reading.known(did),
        text,
        claimed(get("createdAt"), at),
        at,
        f"https://bsky.app/profile/{did}/post/{rkey}" if reading.network == "bluesky" else "",
        _first_language(get("langs")),
        parent,
        root,
        quote,
        media,
        _links(facets, text) if type(facets) is list else (),
    )


def _first_language(langs: object) -> str:
    return language(langs[0]) if type(langs) is list and langs else ""


def _reply(reply: Json) -> tuple[str, str]:
    parent = _reference(reply.get("parent"))
    return parent, (_reference(reply.get("root")) or parent)


def _reference(value: object) -> str:
    uri = value.get("uri") if type(value) is dict else None
    return uri if type(uri) is str and len(uri) <= 1024 and _AT_URI(uri) else ""


def _embed(embed: Json) -> tuple[tuple[Media, ...], str]:
    """What is attached, and the URI of the post that is quoted."""
    kind = embed.get("$type")
    if kind == "app.bsky.embed.record":
        return (), _quoted(embed.get("record"))
    if kind == "app.bsky.embed.recordWithMedia":
        inner, record = embed.get("media"), embed.get("record")
        media = _media(inner) if type(inner) is dict else ()
        return media, _quoted(record.get("record")) if type(record) is dict else ""
    return _media(embed), ""


def _quoted(record: object) -> str:
    uri = _reference(record)
    return uri if f"/{POST}/" in uri else ""


def _media(embed: Json) -> tuple[Media, ...]:
    kind = embed.get("$type")
    if kind == "app.bsky.embed.images":
        images = embed.get("images")
        return tuple(_image(image) for image in images[:_MAX_MEDIA]) if type(images) is list else ()
    if kind == "app.bsky.embed.external":
        card = embed.get("external")
        return (_card(card),) if type(card) is dict else ()
    if kind == "app.bsky.embed.video":
        return (Media("video", "", described(embed.get("alt"))),)
    return ()


def _image(image: object) -> Media:
    return Media("image", "", described(image.get("alt")) if type(image) is dict else "")


def _card(card: Json) -> Media:
    title, summary = described(card.get("title")), described(card.get("description"))
    return Media("card", web(card.get("uri")), f"{title}\n{summary}".strip())


def _links(facets: list[Any], text: str) -> tuple[str, ...]:
    """The true addresses of links that the text shows shortened; a facet outside the text's bytes shows nothing."""
    size, links = len(text.encode()), []
    for facet in facets[:_MAX_FACETS]:
        if type(facet) is not dict or not _inside(facet.get("index"), size):
            continue
        features = facet.get("features")
        for feature in features if type(features) is list else ():
            if type(feature) is dict and feature.get("$type") == "app.bsky.richtext.facet#link":
                links.append(web(feature.get("uri")))
    return tuple(dict.fromkeys(filter(None, links)))


def _inside(index: object, size: int) -> bool:
    if type(index) is not dict:
        return False
    start, end = index.get("byteStart"), index.get("byteEnd")
    return type(start) is int and type(end) is int and 0 <= start < end <= size
