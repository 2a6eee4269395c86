"""Write feeds as RSS 2.0, Atom, RSS 1.0 (RDF), JSON Feed and OPML, byte for byte; it opens no socket."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from html import escape
from typing import NamedTuple

import orjson


class Item(NamedTuple):
    """One entry: `html` is its summary as markup, times are Unix seconds."""

    id: str
    url: str
    title: str
    html: str
    published: float
    updated: float
    picture: str = ""


class Channel(NamedTuple):
    """A feed: its own address, its site's, its title and language, newest entry first; `ttl` is in minutes."""

    url: str
    site: str
    title: str
    lang: str
    items: Sequence[Item]
    ttl: int = 0


def rss(channel: Channel) -> bytes:
    """RSS 2.0, with an enclosure where an entry has a picture."""
    items = "".join(
        f"<item><title>{escape(i.title)}</title><link>{escape(i.url)}</link>"
        f'<guid isPermaLink="false">{escape(i.id)}</guid><description>{escape(i.html)}</description>'
        f"<pubDate>{formatdate(i.published, usegmt=True)}</pubDate>"
        + (f'<enclosure url="{escape(i.picture)}" type="image/jpeg" length="1"/>' if i.picture else "")
        + "</item>"
        for i in channel.items
    )
    ttl = f"<ttl>{channel.ttl}</ttl>" if channel.ttl else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0">'
        f"<channel><title>{escape(channel.title)}</title>"
        f"<link>{escape(channel.site)}</link><description/><language>{channel.lang}</language>{ttl}{items}"
        "</channel></rss>"
    ).encode()


def atom(channel: Channel) -> bytes:
    """Atom 1.0 (RFC 4287)."""
    entries = "".join(
        f'<entry><id>{escape(i.id)}</id><title>{escape(i.title)}</title><link href="{escape(i.url)}"/>'
        f'<summary type="html">{escape(i.html)}</summary>'
        f"<published>{_iso(i.published)}</published><updated>{_iso(i.updated)}</updated>"
        + (f'<link rel="enclosure" type="image/jpeg" href="{escape(i.picture)}"/>' if i.picture else "")
        + "</entry>"
        for i in channel.items
    )
    newest = max((i.updated for i in channel.items), default=0)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="{channel.lang}">'
        f"<id>{escape(channel.url)}</id><title>{escape(channel.title)}</title><updated>{_iso(newest)}</updated>"
        f'<link rel="self" href="{escape(channel.url)}"/><link href="{escape(channel.site)}"/>{entries}</feed>'
    ).encode()


def rdf(channel: Channel) -> bytes:
    """RSS 1.0, whose entries are named by their address, with Dublin Core dates."""
    items = "".join(
        f'<item rdf:about="{escape(i.url)}"><title>{escape(i.title)}</title><link>{escape(i.url)}</link>'
        f"<description>{escape(i.html)}</description><dc:date>{_iso(i.published)}</dc:date></item>"
        for i in channel.items
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
        ' xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<channel rdf:about="{escape(channel.site)}"><title>{escape(channel.title)}</title>'
        f"<link>{escape(channel.site)}</link><dc:language>{channel.lang}</dc:language></channel>{items}</rdf:RDF>"
    ).encode()


def json_feed(channel: Channel) -> bytes:
    """JSON Feed 1.1 (jsonfeed.org)."""
    items = [
        {
            "id": i.id,
            "url": i.url,
            "title": i.title,
            "content_html": i.html,
            "date_published": _iso(i.published),
            "date_modified": _iso(i.updated),
            **({"image": i.picture} if i.picture else {}),
        }
        for i in channel.items
    ]
    return orjson.dumps(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "title": channel.title,
            "home_page_url": channel.site,
            "feed_url": channel.url,
            "language": channel.lang,
            "items": items,
        }
    )


FORMATS = {
    "rss": (rss, "application/rss+xml; charset=utf-8"),
    "atom": (atom, "application/atom+xml"),
    "rdf": (rdf, "application/rdf+xml"),
    "json": (json_feed, "application/feed+json"),
}


def opml(folders: dict[str, Iterable[str]]) -> bytes:
    """OPML 2.0: a folder of feeds each."""
    outlines = "".join(
        f'<outline text="{escape(name)}">'
        + "".join(f'<outline type="rss" text="feed" xmlUrl="{escape(url)}"/>' for url in urls)
        + "</outline>"
        for name, urls in folders.items()
    )
    head = "<head><title>Feeds</title></head>"
    return f'<?xml version="1.0"?>\n<opml version="2.0">{head}<body>{outlines}</body></opml>'.encode()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
