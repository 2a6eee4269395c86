"""Write posts as a Mastodon 4.6 server's JSON, field for field, with its formatter's HTML; no sockets, no clock.

Shapes: a recorded server's answers, which `tests/test_simulator_mastodon.py` compares where they are at hand.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import escape
from typing import Any

from voxpop.simulator.records import WorldEvent

Json = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPECIAL = re.compile(r"(https?://[^\s<>\"]+)|(?<!\w)#(\w+)|(?<![\w@])@([\w.-]+)(?:@([\w.-]+\w))?")
_SHOWN = 30


@dataclass(slots=True)
class Toot:
    """One post of the world, as every server may come to carry it. `key` names it in the world; times are micros.

    `home` is the domain of its author's server. `changes` are laid over the finished status, `account` over its
    author, so that tests can say what no client writes.
    """

    key: str
    user: str
    home: str
    at: int
    text: str
    name: str = ""
    lang: str = "en"
    parent: str = ""
    quote: str = ""
    alts: tuple[str, ...] = ()
    card: tuple[str, ...] = ()
    edited: int = 0
    changes: Json = field(default_factory=dict)
    account: Json = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The ActivityPub address, the same on every server."""
        return f"https://{self.home}/users/{self.user}/statuses/{number(self.at, self.key)}"


@dataclass(frozen=True, slots=True)
class View:
    """The server whose answer it is: its domain, and the other posts that it carries, by their keys."""

    domain: str
    toots: dict[str, Toot]

    def local(self, toot: Toot) -> str:
        """This server's number of a post: its own posts keep the number of their address."""
        return number(toot.at, toot.key if toot.home == self.domain else f"{self.domain}:{toot.key}")


def number(at: int, salt: str) -> str:
    """A number as Mastodon makes it: milliseconds since 1970, then 16 bits that differ."""
    return str(at // 1000 << 16 | int.from_bytes(sha256(salt.encode()).digest()[:2], "big"))


def toot(event: WorldEvent, handle: str, name: str, at: int) -> Toot:
    """A post of the night; its author's handle says which server is the author's home."""
    user, _, home = handle.partition(".")
    record = event.record or {}
    embed: Json = record.get("embed") or {}
    quoted: Json = embed.get("record", {}).get("record", embed.get("record", {}))
    media: Json = embed.get("media", embed)
    external = media.get("external")
    return Toot(
        event.uri,
        user,
        home,
        at,
        _whole(record),
        name,
        (record.get("langs") or [""])[0],
        record.get("reply", {}).get("parent", {}).get("uri", ""),
        quoted.get("uri", ""),
        tuple(image["alt"] for image in media.get("images", ())),
        (external["uri"], external["title"], external["description"]) if external else (),
    )


def _whole(record: Json) -> str:
    """The text with its links written out: on Mastodon it is the server that shortens them."""
    text = str(record.get("text", "")).encode()
    for facet in reversed(record.get("facets", [])):
        if uri := facet["features"][0].get("uri"):
            index = facet["index"]
            text = text[: index["byteStart"]] + uri.encode() + text[index["byteEnd"] :]
    return text.decode()


def status(toot: Toot, view: View, *, nested: bool = False) -> Json:
    """A Status entity as `view` gives it to anybody."""
    parent, quoted = view.toots.get(toot.parent), view.toots.get(toot.quote)
    local = toot.home == view.domain
    found = list(_SPECIAL.finditer(toot.text))
    quote = None
    if quoted and not nested:
        quote = {"state": "accepted", "quoted_status": status(quoted, view, nested=True)}
    page = f"https://{toot.home}/@{toot.user}/{number(toot.at, toot.key)}"
    return {
        "id": view.local(toot),
        "created_at": iso(toot.at),
        "in_reply_to_id": view.local(parent) if parent else None,
        "in_reply_to_account_id": account(parent, view)["id"] if parent else None,
        "sensitive": False,
        "spoiler_text": "",
        "visibility": "public",
        "language": toot.lang or None,
        "uri": toot.uri,
        "url": page,
        "replies_count": 0,
        "reblogs_count": 0,
        "favourites_count": 0,
        "quotes_count": 0,
        "edited_at": iso(toot.edited) if toot.edited else None,
        "content": html(toot.text, toot.home),
        "reblog": None,
        **({"application": {"name": "Web", "website": None}} if local else {}),
        "account": account(toot, view),
        "media_attachments": [_image(toot, alt, view) for alt in toot.alts],
        "mentions": [_mention(m[3], m[4] or toot.home, view) for m in found if m[3]],
        "tags": [{"name": m[2].lower(), "url": f"https://{view.domain}/tags/{m[2]}"} for m in found if m[2]],
        "emojis": [],
        "tagged_collections": [],
        "quote": quote,
        "card": _card(toot.card) if toot.card else None,
        "poll": None,
        "quote_approval": {"automatic": ["public"], "manual": [], "current_user": "denied"},
    } | toot.changes


def account(toot: Toot, view: View) -> Json:
    """An Account entity."""
    local, address = toot.home == view.domain, f"https://{toot.home}"
    pictures = {name: f"{address}/{name}s/original/missing.png" for name in ("avatar", "header")}
    return {
        "id": number(1_700_000_000_000_000, f"{view.domain}:{toot.user}@{toot.home}"),
        "username": toot.user,
        "acct": toot.user if local else f"{toot.user}@{toot.home}",
        "display_name": toot.name,
        "locked": False,
        "bot": False,
        "discoverable": True,
        "indexable": True,
        "group": False,
        "created_at": "2024-05-01T00:00:00.000Z",
        "note": "",
        "url": f"{address}/@{toot.user}",
        "uri": f"{address}/users/{toot.user}",
        "avatar": pictures["avatar"],
        "avatar_static": pictures["avatar"],
        "avatar_description": "",
        "header": pictures["header"],
        "header_static": pictures["header"],
        "header_description": "",
        "followers_count": 120,
        "following_count": 80,
        "statuses_count": 400,
        "last_status_at": iso(toot.at)[:10],
        "hide_collections": None,
        "show_media": True,
        "show_media_replies": True,
        "show_featured": True,
        **({"noindex": False} if local else {}),
        "feature_approval": {"automatic": [], "manual": [], "current_user": "denied"},
        "emojis": [],
        "roles": [],
        "fields": [],
    } | toot.account


def html(text: str, home: str) -> str:
    """A text as Mastodon's formatter writes it: paragraphs, line breaks, shortened links, tags and mentions."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        parts, at = [], 0
        for match in _SPECIAL.finditer(paragraph):
            parts += [escape(paragraph[at : match.start()]), _anchor(match, home)]
            at = match.end()
        parts.append(escape(paragraph[at:]))
        paragraphs.append(f"<p>{''.join(parts)}</p>".replace("\n", "<br />"))
    return "".join(paragraphs)


def _anchor(match: re.Match[str], home: str) -> str:
    url, tag, user, host = match.groups()
    if url:
        scheme, rest = re.match(r"(https?://(?:www\.)?)(.*)", url).groups()  # type: ignore[union-attr]
        shown, hidden = escape(rest[:_SHOWN]), escape(rest[_SHOWN:])
        return (
            f'<a href="{escape(url)}" target="_blank" rel="nofollow noopener" translate="no">'
            f'<span class="invisible">{scheme}</span><span class="{"ellipsis" if hidden else ""}">{shown}</span>'
            f'<span class="invisible">{hidden}</span></a>'
        )
    if tag:
        return f'<a href="https://{home}/tags/{tag}" class="mention hashtag" rel="tag">#<span>{tag}</span></a>'
    return (
        f'<span class="h-card" translate="no"><a href="https://{host or home}/@{user}" class="u-url mention">'
        f"@<span>{user}</span></a></span>"
    )


def _mention(user: str, home: str, view: View) -> Json:
    return {
        "id": number(1_700_000_000_000_000, f"{view.domain}:{user}@{home}"),
        "username": user,
        "url": f"https://{home}/@{user}",
        "acct": user if home == view.domain else f"{user}@{home}",
    }


def _image(toot: Toot, alt: str, view: View) -> Json:
    name, local = number(toot.at, alt), toot.home == view.domain
    original = f"https://files.{toot.home}/media/{name}/original.jpg"
    size = {"width": 1600, "height": 900, "size": "1600x900", "aspect": 1.7777777777777777}
    return {
        "id": name,
        "type": "image",
        "url": original if local else f"https://files.{view.domain}/cache/{name}/original.jpg",
        "preview_url": f"https://files.{view.domain}/cache/{name}/small.jpg",
        "remote_url": None if local else original,
        "preview_remote_url": None,
        "text_url": None,
        "meta": {"original": size, "small": size},
        "description": alt,
        "blurhash": "UBL_:rOpGG-;~qRjj[ay00RjofWB",
    }


def _card(card: tuple[str, ...]) -> Json:
    address, title, description = card
    empty = dict.fromkeys(("author_name", "author_url", "provider_name", "provider_url", "html"), "")
    return {
        "url": address,
        "title": title,
        "description": description,
        "language": "en",
        "type": "link",
        **empty,
        "width": 0,
        "height": 0,
        "image": None,
        "image_description": "",
        "embed_url": "",
        "blurhash": None,
        "published_at": None,
        "missing_attribution": False,
        "authors": [],
    }


def instance(domain: str, base: str, streaming: str) -> Json:
    """What `/api/v2/instance` says, less the pictures and the rules."""
    return {
        "domain": domain,
        "title": "Murmur",
        "version": "4.6.4",
        "source_url": "https://github.com/mastodon/mastodon",
        "description": "A made-up server of a made-up night.",
        "usage": {"users": {"active_month": 760}},
        "thumbnail": {"url": f"{base}/preview.png", "description": ""},
        "icon": [],
        "languages": ["en"],
        "configuration": {
            "urls": {
                "streaming": streaming,
                "status": None,
                "about": f"{base}/about",
                "privacy_policy": f"{base}/privacy-policy",
                "terms_of_service": None,
            },
            "vapid": {"public_key": ""},
            "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
            "statuses": {"max_characters": 500, "max_media_attachments": 4, "characters_reserved_per_url": 23},
            "media_attachments": {"supported_mime_types": ["image/jpeg"], "image_size_limit": 16777216},
            "polls": {"max_options": 4, "max_characters_per_option": 50},
            "translation": {"enabled": False},
            "timelines_access": {
                feed: {"local": "public", "remote": "public"}
                for feed in ("live_feeds", "hashtag_feeds", "trending_link_feeds")
            },
            "limited_federation": False,
        },
        "registrations": {"enabled": False, "approval_required": False, "message": None, "url": None},
        "api_versions": {"mastodon": 11},
        "wrapstodon": None,
        "contact": {"email": "", "account": None},
        "rules": [],
    }


def iso(at: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return (_EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
