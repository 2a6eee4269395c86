"""Say which feed is meant, and who it is in the store; an address that is no http(s) one is refused.

A feed's identity is the address that the operator wrote, and nothing that the feed says of itself: another feed
could say the same, and would then speak in its name or change its posts.
"""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from voxpop.errors import UsageError, VoxpopError
from voxpop.sources.opml import MAX_FEEDS, load_opml

_PORTS = {"http": 80, "https": 443}


class Place(NamedTuple):
    """A feed: where it is asked for, its name in the store, its host without `www.`, and a short key."""

    url: str
    name: str
    host: str
    key: str


def place(url: str) -> Place:
    """The place of an address. Raises UsageError where it is none.

    The name leaves out the scheme, a password, and the query, of which a digest stands: a query may hold a key.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in _PORTS or not host or len(url) > 2048 or any(c.isspace() for c in url.strip()):
        shown = url.partition("?")[0][:200]
        raise UsageError(f"The feed {shown!r} is no web address.", "Write it as https://host/path.")
    where = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    query = f"?{_digest(parts.query, 4)}" if parts.query else ""
    name = f"{where}{parts.path.rstrip('/') or ''}{query}"
    return Place(parts._replace(fragment="").geturl(), name, host.removeprefix("www."), _digest(name, 6))


def places(named: Iterable[str]) -> tuple[Place, ...]:
    """Every feed that is named by its address or listed in an OPML file, each once. It reads those files.

    Raises UsageError for a bad address, VoxpopError for a bad file; a bad address within a file is passed over.
    """
    found: dict[str, Place] = {}
    for one in named:
        if is_address(one):
            feeds = [place(one)]
        else:
            feeds = [p for url in load_opml(Path(one).expanduser()) if (p := _listed(url))]
            if not feeds:
                raise VoxpopError(f"The list of feeds {one!r} names no web address.", "Check its xmlUrl values.")
        for feed in feeds:
            found.setdefault(feed.name, feed)
    if len(found) > MAX_FEEDS:
        raise UsageError(f"{len(found):,} feeds are too many.", f"Name at most {MAX_FEEDS:,}.")
    return tuple(found.values())


def is_address(text: str) -> bool:
    """Whether it is meant as an address, not as the path of a file."""
    return "://" in text[:16]


def _listed(url: str) -> Place | None:
    """Feed readers also export `feed:` addresses."""
    url = url.removeprefix("feed://") if url.startswith("feed://") else url.removeprefix("feed:")
    try:
        return place(url if is_address(url) else f"http://{url}")
    except UsageError:
        return None


def _digest(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=size).hexdigest()
