"""Make posts, accounts and media as X's API v2 writes them, field for field; it knows no sockets and no clock."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from typing import Any

from voxpop.simulator.wire import iso

EPOCH_MS = 1_288_834_974_657
LONGEST = 280
Object = dict[str, Any]
_URL = re.compile(r"https?://\S+")
_TAG = re.compile(r"#(\w+)")
_MENTION = re.compile(r"@(\w{1,15})")


@dataclass(slots=True)
class Account:
    """An account of the made-up X. `hidden` says that its posts are shown to nobody who asks.

    `verified` is a `verified_type` of X: `none`, `blue`, `business` or `government`.
    """

    id: str
    handle: str
    name: str
    hidden: bool = False
    verified: str = "none"
    parody: bool = False
    description: str = ""


@dataclass(slots=True)
class Tweet:
    """A post of the made-up X; `at` is in microseconds. `alt` gives it a picture."""

    id: str
    author: Account
    text: str
    at: int
    lang: str = "en"
    reply_to: str = ""
    quote: str = ""
    repost: str = ""
    root: str = ""
    alt: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    gone: bool = False

    @property
    def shown(self) -> str:
        """The text with its links as X shortens them."""
        text = _URL.sub(lambda m: short(m[0]), escape(self.text, quote=False))
        return f"{text} {short(self._picture)}" if self.alt else text

    @property
    def references(self) -> list[Object]:
        kinds = (("retweeted", self.repost), ("quoted", self.quote), ("replied_to", self.reply_to))
        return [{"type": kind, "id": id_} for kind, id_ in kinds if id_]

    @property
    def media_key(self) -> str:
        return f"3_{self.id}"

    @property
    def _picture(self) -> str:
        return f"https://twitter.com/{self.author.handle}/status/{self.id}/photo/1"

    def object(self, fields: Iterable[str], answered: Account | None) -> Object:
        """The object with the fields that were asked for; id, text and edit history always come."""
        whole: Object = {
            "author_id": self.author.id,
            "created_at": iso(self.at // 1_000_000 * 1_000_000),
            "conversation_id": self.root or self.id,
            "lang": self.lang,
            "public_metrics": self._metrics(),
            "possibly_sensitive": False,
            "edit_history_tweet_ids": self.history or [self.id],
            "id": self.id,
            "text": self._cut(),
        }
        whole |= {"referenced_tweets": self.references} if self.references else {}
        whole |= {"entities": entities} if (entities := self._entities(self.shown)) else {}
        whole |= {"attachments": {"media_keys": [self.media_key]}} if self.alt else {}
        whole |= {"in_reply_to_user_id": answered.id} if answered else {}
        whole |= {"withheld": {"copyright": False, "country_codes": self.withheld}} if self.withheld else {}
        if len(self.shown) > LONGEST:
            whole["note_tweet"] = {"text": self.shown, "entities": self._entities(self.shown)}
        wanted = {"id", "text", "edit_history_tweet_ids", *fields}
        return {name: value for name, value in whole.items() if name in wanted}

    def media(self, fields: Iterable[str]) -> Object:
        whole = {
            "media_key": self.media_key,
            "type": "photo",
            "url": f"https://pbs.twimg.com/media/{self.id}.jpg",
            "width": 1600,
            "height": 900,
            "alt_text": self.alt,
        }
        return {name: value for name, value in whole.items() if name in {"media_key", "type", *fields}}

    def _cut(self) -> str:
        shown = self.shown
        return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 25]}… {short('https://x.com/' + self.id)}"

    def _metrics(self) -> dict[str, int]:
        names = ("retweet_count", "reply_count", "like_count", "quote_count", "bookmark_count", "impression_count")
        return {name: self.counts.get(name, 0) for name in names}

    def _entities(self, shown: str) -> Object:
        urls = [*_URL.findall(self.text), *([self._picture] if self.alt else [])]
        found: Object = {}
        if urls:
            found["urls"] = [_link(shown, url) for url in urls]
        for name, key, pattern in (("hashtags", "tag", _TAG), ("mentions", "username", _MENTION)):
            if marks := [{"start": m.start(), "end": m.end(), key: m[1]} for m in pattern.finditer(shown)]:
                found[name] = marks
        return found


def account(handle: str, name: str = "") -> Account:
    """The account that belongs to a handle."""
    digest = int.from_bytes(sha256(handle.lower().encode()).digest()[:6])
    return Account(str(digest % 10**15 + 10**9), handle, name or handle)


def user(who: Account, fields: Iterable[str]) -> Object:
    """The account's object."""
    whole = {
        "id": who.id,
        "name": who.name,
        "username": who.handle,
        "created_at": "2019-05-01T08:00:00.000Z",
        "verified": who.verified != "none",
        "verified_type": who.verified,
        "parody": who.parody,
        "description": who.description,
        "protected": who.hidden,
        "public_metrics": {"followers_count": 120, "following_count": 80, "tweet_count": 400, "listed_count": 2},
    }
    return {name: value for name, value in whole.items() if name in {"id", "name", "username", *fields}}


def snowflake(at: int, serial: int) -> str:
    """The id of a post that was made `at` microseconds."""
    return str((at // 1000 - EPOCH_MS << 22) | serial & 0x3FFFFF)


def short(url: str) -> str:
    """How X shortens a link: 23 characters."""
    return "https://t.co/" + sha256(url.encode()).hexdigest()[:10]


def _link(shown: str, url: str) -> Object:
    start = max(shown.find(short(url)), 0)
    return {
        "start": start,
        "end": start + 23,
        "url": short(url),
        "expanded_url": url,
        "display_url": url.partition("://")[2][:28],
    }
