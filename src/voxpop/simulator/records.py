"""Write records, keys and addresses as the network writes them; content ids and keys are made up but stable."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

POST = "app.bsky.feed.post"
LIKE = "app.bsky.feed.like"
REPOST = "app.bsky.feed.repost"
Record = dict[str, Any]
Op = Literal["create", "update", "delete", "identity", "account"]
_B32 = "abcdefghijklmnopqrstuvwxyz234567"
_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"
EPOCH_US = 1_900_000_000_000_000
_TAG = re.compile(r"#\w+")


@dataclass(frozen=True, slots=True)
class WorldEvent:
    """One thing that happens `at` seconds into the night.

    `record` lacks `createdAt`, which depends on when the night is played; `claim` replaces it where an author's
    clock is wrong. `key` names the plot's posts for the evals. `status` says how an account went.
    """

    at: float
    op: Op
    did: str
    collection: str = POST
    rkey: str = ""
    record: Record | None = None
    key: str = ""
    handle: str = ""
    status: str = ""
    claim: str = ""

    @property
    def uri(self) -> str:
        return f"at://{self.did}/{self.collection}/{self.rkey}"

    @property
    def text(self) -> str:
        return str(self.record.get("text", "")) if self.record else ""


def did(name: str) -> str:
    """The account id that belongs to a name of the world."""
    return "did:plc:" + _letters("did:" + name, 24)


def cid(event: WorldEvent, text: str | None = None) -> str:
    """A content id that changes with the text."""
    return "bafyrei" + _letters(f"cid:{event.uri}:{event.text if text is None else text}", 52)


def tid(micros: int, clock: int = 0) -> str:
    """A record key: 13 letters that sort by time."""
    number = micros << 10 | clock & 1023
    return "".join(_SORTABLE[number >> shift & 31] for shift in range(60, -1, -5))


def rkey(at: float, serial: int) -> str:
    """The record key of an event of a night that began at `EPOCH_US`."""
    return tid(EPOCH_US + int(at * 1e6), serial)


def moved(rkey: str, micros: int) -> str:
    """The key that the same event has in a night that began so much later."""
    number = 0
    for letter in rkey:
        number = number << 5 | _SORTABLE.index(letter)
    return tid((number >> 10) + micros, number)


def reference(event: WorldEvent) -> Record:
    """How another record points at this one."""
    return {"cid": cid(event), "uri": event.uri}


def post_record(  # one argument a part of the record
    text: str,
    lang: str,
    *,
    parent: WorldEvent | None = None,
    root: WorldEvent | None = None,
    quote: WorldEvent | None = None,
    card: Sequence[str] = (),
    alt: Sequence[str] = (),
    video: str = "",
    link: tuple[str, str] | None = None,
) -> Record:
    """A post as its author's client would write it, fields in the order of the wire, without `createdAt`.

    `link` is (what the text shows, where it leads): clients shorten what they show.
    """
    record: Record = {"$type": POST}
    if embed := _embed(quote, card, alt, video):
        record["embed"] = embed
    if facets := _facets(text, link):
        record["facets"] = facets
    if lang:
        record["langs"] = [lang]
    if parent is not None:
        record["reply"] = {"parent": reference(parent), "root": reference(root or parent)}
    record["text"] = text
    return record


def _embed(quote: WorldEvent | None, card: Sequence[str], alt: Sequence[str], video: str) -> Record | None:
    media: Record | None = None
    if card:
        uri, title, summary = card
        external = {"description": summary, "thumb": _blob(uri), "title": title, "uri": uri}
        media = {"$type": "app.bsky.embed.external", "external": external}
    elif alt:
        images = [{"alt": a, "aspectRatio": {"height": 900, "width": 1600}, "image": _blob(a)} for a in alt]
        media = {"$type": "app.bsky.embed.images", "images": images}
    elif video:
        shape = {"height": 1080, "width": 1920}
        media = {
            "$type": "app.bsky.embed.video",
            "alt": video,
            "aspectRatio": shape,
            "video": _blob(video, "video/mp4"),
        }
    if quote is None:
        return media
    record = {"$type": "app.bsky.embed.record", "record": reference(quote)}
    return (
        record if media is None else {"$type": "app.bsky.embed.recordWithMedia", "media": media, "record": record}
    )


def _facets(text: str, link: tuple[str, str] | None) -> list[Record]:
    found = [(m.start(), m.end(), _feature("tag", "tag", m[0][1:])) for m in _TAG.finditer(text)]
    if link is not None and (start := text.find(link[0])) >= 0:
        found.append((start, start + len(link[0]), _feature("link", "uri", link[1])))
    return [
        {
            "features": [feature],
            "index": {"byteEnd": len(text[:end].encode()), "byteStart": len(text[:start].encode())},
        }
        for start, end, feature in found
    ]


def _feature(kind: str, field: str, value: str) -> Record:
    return {"$type": f"app.bsky.richtext.facet#{kind}", field: value}


def _blob(name: str, mime: str = "image/jpeg") -> Record:
    link = "bafkrei" + _letters("blob:" + name, 52)
    return {"$type": "blob", "ref": {"$link": link}, "mimeType": mime, "size": 40_000 + len(name) * 977}


def _letters(seed: str, count: int) -> str:
    digest = b"".join(sha256(f"{seed}:{n}".encode()).digest() for n in range(2))
    return "".join(_B32[byte & 31] for byte in digest[:count])
