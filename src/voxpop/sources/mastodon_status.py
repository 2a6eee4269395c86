"""Turn what a Mastodon server says into events; what is malformed, not public or not to be indexed gets a reason.

Entities: docs.joinmastodon.org/entities/Status and /methods/streaming. The ActivityPub `uri` is the post's id, as
every server that carries the post gives the same; the server's own number is only its alias. `witnessed_at` is our
own clock: `created_at` is the claim of the author's server. A boost is engagement: it brings the boosted post, not
one of the booster's.
"""

import re
from collections import OrderedDict
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from voxpop.posts import Author, Delete, Engagement, Media, Post, Upsert
from voxpop.sources.fields import MAX_ALT, bio, claimed, count, described, language
from voxpop.sources.html_text import read_html, web_address
from voxpop.times import MICROS

MAX_HTML = 100_000
MAX_TEXT = 30_000
_MAX_MEDIA, _MAX_OPTIONS, _MAX_NAME, _MAX_PARENTS = 16, 20, 256, 20_000
_MAX_NOTE, _MAX_FIELDS = 4000, 16
_AHEAD_OK = 300 * MICROS
_PUBLIC = ("public", "unlisted")
_OTHERS = {"notification", "notifications_merged", "filters_changed", "conversation", "encrypted_message"}
_OTHERS |= {"announcement", "announcement.reaction", "announcement.delete"}
_KINDS = {"image": "image", "video": "video", "gifv": "video", "audio": "audio"}
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}").fullmatch
_URI = re.compile(r"(?:https?://|tag:)[^\s<>\"]{3,2040}").fullmatch
_NAME = re.compile(r"[\w.-]{1,128}").fullmatch
_DOMAIN = re.compile(r"[\w.-]{1,253}(?::\d{1,5})?").fullmatch

Json = dict[str, Any]


class Reading:
    """What the reader knows: the server's name in aliases, its domain in handles, and whom it may keep.

    `unindexable` keeps also posts of accounts that are not to be searched. The local numbers of recent posts are
    remembered, so that a reply can name its parent by the id that all servers share.
    """

    def __init__(self, host: str, domain: str = "", *, unindexable: bool = False) -> None:
        self.host, self.domain, self.unindexable = host, domain or host, unindexable
        self._uris: OrderedDict[str, str] = OrderedDict()

    def alias(self, local: str) -> str:
        """By which name a `Delete` of this server will speak of its post of that number."""
        return f"mastodon:{self.host}/{local}"

    def met(self, local: str, uri: str) -> None:
        """Remember a post, and forget the oldest."""
        self._uris[local] = uri
        if len(self._uris) > _MAX_PARENTS:
            self._uris.popitem(last=False)

    def named(self, local: object) -> str:
        """A post of that number, by its URI or else by its alias; empty where it is no number."""
        if type(local) is not str or not _ID(local):
            return ""
        return self._uris.get(local) or self.alias(local)


class Heard(NamedTuple):
    """An event without a cursor yet, and the server's number of the post that it brings (empty for a delete)."""

    event: Upsert | Delete
    local: str = ""


def read_event(name: str, payload: bytes | str, now: int, reading: Reading) -> Heard | str:
    """One event of a stream, or the reason why it is not used. `now` is our clock in microseconds."""
    if name == "delete":
        gone = payload.decode("ascii", "replace") if isinstance(payload, bytes) else payload
        gone = gone.strip().strip('"')
        return Heard(Delete(reading.alias(gone), now)) if _ID(gone) else "bad id"
    if name not in ("update", "status.update"):
        return f"event {name}" if name in _OTHERS else "unknown event"
    try:
        status = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return "not JSON"
    heard = read_status(status, now, reading)
    if name == "status.update" and isinstance(heard, str):
        # What the post said before is gone, even where what it says now is not to be kept.
        return Heard(Delete(reading.alias(local), now)) if (local := local_id(status)) else heard
    return heard


def read_status(status: object, now: int, reading: Reading) -> Heard | str:
    """One status, or the reason why it is not kept."""
    local = local_id(status)
    if type(status) is not dict or not local:
        return "bad id" if type(status) is dict else "not an object"
    if not _public(status):
        return "not public"
    if type(boosted := status.get("reblog")) is dict:
        heard = read_status(boosted | {"reblog": None}, now, reading)
        return heard if isinstance(heard, str) else Heard(heard.event, local)
    uri, account = status.get("uri"), status.get("account")
    if type(uri) is not str or not _URI(uri):
        return "bad uri"
    if type(account) is not dict:
        return "no account"
    if not reading.unindexable and (account.get("noindex") is True or account.get("indexable") is False):
        return "author is not to be indexed"
    author = _author(account, reading)
    post = author if isinstance(author, str) else _post(status, uri, author, now, reading)
    if isinstance(post, str):
        return post
    reading.met(local, uri)
    return Heard(Upsert(post), local)


def local_id(status: object) -> str:
    """The server's number of a status, which is its place in a timeline; empty where it has none."""
    local = status.get("id") if type(status) is dict else None
    return local if type(local) is str and _ID(local) else ""


def order(local: str) -> tuple[int, str]:
    """How numbers of one server compare: the longer is the later, else the greater (Mastodon's guidelines)."""
    return len(local), local


def made_at(local: str) -> int | None:
    """The moment (microseconds) in a number of Mastodon's own kind: milliseconds since 1970, then 16 other bits.

    None where the number is of another kind, such as the ULIDs of GoToSocial or Mastodon's own before 2.0.
    """
    if not (local.isascii() and local.isdigit() and 17 <= len(local) <= 19):
        return None
    return (int(local) >> 16) * 1000


def number_at(at: int) -> str:
    """The first number of Mastodon's own kind of that moment (microseconds)."""
    return str(max(at, 0) // 1000 << 16)


def believable(local: str, now: int) -> bool:
    """Whether a timeline can have come as far as that number: one from the future would hide all that follows."""
    if local.isascii() and local.isdigit() and len(local) > 16:
        at = made_at(local)
        return at is not None and at <= now + _AHEAD_OK
    return True


def _public(status: Json) -> bool:
    return status.get("visibility") in _PUBLIC and status.get("local_only") is not True


def _author(account: Json, reading: Reading) -> Author | str:
    id_, name, acct = account.get("uri"), account.get("display_name"), account.get("acct")
    if type(id_) is not str or not _URI(id_):
        id_ = account.get("url")
    if type(id_) is not str or not _URI(id_):
        return "bad account"
    user, _, domain = acct.partition("@") if type(acct) is str else ("", "", "")
    domain = domain or reading.domain
    handle = f"{user}@{domain}" if _NAME(user) and _DOMAIN(domain) else ""
    note = account.get("note")
    return Author(
        id_,
        handle,
        name.strip()[:_MAX_NAME] if type(name) is str else "",
        "person" if _linked_back(account.get("fields")) else "",
        "automated" if account.get("bot") is True else "",
        claimed(account.get("created_at"), 0),
        _told(note[:_MAX_NOTE]) if type(note) is str else "",
    )


def _linked_back(fields: object) -> bool:
    """Whether a page that the account names links back to it, as the server found when it looked there."""
    listed = fields[:_MAX_FIELDS] if type(fields) is list else ()
    return any(type(f) is dict and claimed(f.get("verified_at"), 0) > 0 for f in listed)


@lru_cache(maxsize=2048)
def _told(note: str) -> str:
    return bio(read_html(note).text)


def _post(status: Json, uri: str, author: Author, now: int, reading: Reading) -> Post | str:
    get = status.get
    content = get("content")
    if type(content) is not str:
        return "no text"
    if len(content) > MAX_HTML:
        return "text too long"
    written = read_html(content)
    text = "\n\n".join(filter(None, (_warning(get("spoiler_text")), written.text, _poll(get("poll")))))
    if len(text) > MAX_TEXT:
        return "text too long"
    media = _media(get("media_attachments"), get("card"))
    if not text and not any(m.alt for m in media):
        return "no text"
    return Post(
        uri,
        "mastodon",
        author,
        text,
        claimed(get("created_at"), now),
        now,
        web_address(get("url")) or web_address(uri),
        language(get("language")),
        reading.named(get("in_reply_to_id")),
        quote_of=_quoted(get("quote"), reading),
        media=media,
        links=written.links,
        engagement=Engagement(
            count(get("favourites_count")), count(get("reblogs_count")), count(get("replies_count"))
        ),
        alias=reading.alias(status["id"]),
    )


def _warning(spoiler: object) -> str:
    """The author's content warning, marked as what it is."""
    warning = " ".join(spoiler.split())[:MAX_ALT] if type(spoiler) is str else ""
    return f"CW: {warning}" if warning else ""


def _poll(poll: object) -> str:
    """The options of a poll; its counts change, so they are no text."""
    options = poll.get("options") if type(poll) is dict else None
    titles = [o.get("title") for o in options if type(o) is dict] if type(options) is list else []
    lines = [f"- {' '.join(t.split())[:MAX_ALT]}" for t in titles[:_MAX_OPTIONS] if type(t) is str and t.strip()]
    return "\n".join(["Poll:", *lines]) if lines else ""


def _media(attachments: object, card: object) -> tuple[Media, ...]:
    """What is attached. A picture's address is its author's server's, which all servers name alike."""
    found = [
        Media(
            _KINDS.get(str(a.get("type")), "file"),
            web_address(a.get("remote_url")) or web_address(a.get("url")),
            described(a.get("description")),
        )
        for a in (attachments[:_MAX_MEDIA] if type(attachments) is list else ())
        if type(a) is dict
    ]
    if type(card) is dict and (address := web_address(card.get("url"))):
        about = f"{described(card.get('title'))}\n{described(card.get('description'))}".strip()
        found.append(Media("card", address, about))
    return tuple(found)


def _quoted(quote: object, reading: Reading) -> str:
    """The quoted post (since Mastodon 4.4), where its author allowed it."""
    if type(quote) is not dict or quote.get("state") != "accepted":
        return ""
    quoted = quote.get("quoted_status")
    uri = quoted.get("uri") if type(quoted) is dict else None
    if type(uri) is str and _URI(uri):
        return uri
    return reading.named(quote.get("quoted_status_id"))
