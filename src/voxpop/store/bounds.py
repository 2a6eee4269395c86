"""Whether a post lies within the bounds of a search; pure, and a bound that nothing is known for admits no post."""

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from voxpop.posts import Author, Post
from voxpop.store import Query

KINDS = {"social": "post", "feeds": "news"}  # names that stand for every network of people, and for every feed


def narrow(query: Query) -> bool:
    """Whether of the copies of a text some may lie within the bounds and others not, as the index cannot tell."""
    return bool(query.domains or query.not_domains or query.min_likes)


def admitting(query: Query) -> Callable[[Post], bool]:
    """Whether a post lies within the bounds of a query, its words aside.

    A domain is that of the post's address or one above it. No network's views are kept, so that a post cannot be
    said to have any.
    """
    handles, others = _folded(query.handles), _folded(query.not_handles)
    since, until = query.since, query.until
    domains, banned = _hosts(query.domains), _hosts(query.not_domains)

    def admits(post: Post) -> bool:
        return (
            (since is None or since <= post.witnessed_at)
            and (until is None or post.witnessed_at <= until)
            and query.lang in ("", post.lang)
            and post.engagement.likes >= query.min_likes
            and query.min_views <= 0
            and (not query.networks or not _networks(post).isdisjoint(query.networks))
            and (not handles or not _names(post.author).isdisjoint(handles))
            and _names(post.author).isdisjoint(others)
            and (not domains or not _above(post).isdisjoint(domains))
            and (not banned or _above(post).isdisjoint(banned))
        )

    return admits


def _networks(post: Post) -> set[str]:
    return {post.network, *(name for name, kind in KINDS.items() if kind == post.kind)}


def _folded(handles: Iterable[str]) -> frozenset[str]:
    """Handles as they are compared: in any case, without `@`; ids as they are too."""
    return frozenset(one for h in handles for one in (h.lstrip("@"), h.lstrip("@").lower()))


def _names(author: Author) -> set[str]:
    """What an account goes by: its handle, `x:handle` on X, and its id where that names a network."""
    handle = author.handle.lower()
    of_x = {f"x:{handle}"} if handle and author.id.startswith("x:") else set()
    return of_x | ({handle} if handle else set()) | ({author.id} if ":" in author.id else set())


def _hosts(domains: Iterable[str]) -> frozenset[str]:
    return frozenset(domain.strip(".").lower() for domain in domains)


def _above(post: Post) -> set[str]:
    """The host of a post's address, and every domain that it lies in."""
    try:
        host = (urlsplit(post.url).hostname or "").rstrip(".")
    except ValueError:
        return set()
    labels = host.split(".") if host else []
    return {".".join(labels[n:]) for n in range(len(labels))}
