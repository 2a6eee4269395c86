"""A store keeps events and finds posts; what `apply` acknowledged is searchable and survives a crash."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from voxpop.posts import Event, Post


@dataclass(frozen=True, slots=True)
class Query:
    """A search. Words are OR-ed and ranked; phrases and bounds (`bounds.py`) must hold; times are microseconds.

    `kin` are groups of words that count as one, OR-ed like words: the best that a post holds counts, the first of
    the group for more than the others. `light` words only order what the others find. `until` is inclusive and
    doubles as the as-of time: recency is measured back from it, or from `now`.
    """

    words: tuple[str, ...] = ()
    kin: tuple[tuple[str, ...], ...] = ()
    light: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()
    not_handles: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    not_domains: tuple[str, ...] = ()
    lang: str = ""
    since: int | None = None
    until: int | None = None
    min_likes: int = 0
    min_views: int = 0
    limit: int = 20
    per_author: int = 3
    half_life_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A found post. `duplicates` counts near-equal posts, itself included; `independent_authors` their accounts.

    `voices`: how many of those speak for themselves (see `floods`).
    """

    post: Post
    score: float
    duplicates: int = 1
    independent_authors: int = 1
    voices: int = 1


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did."""

    added: int = 0
    edited: int = 0
    deleted: int = 0
    unchanged: int = 0
    refused: int = 0


class Store(Protocol):
    """Keep events; find posts."""

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        """Store events and the last cursor among them in one transaction; the same batch twice changes nothing."""
        ...

    async def cursor(self, source: str) -> str | None:
        """The cursor of the last batch that was applied, None before the first."""
        ...

    async def search(self, query: Query, now: int) -> list[Hit]:
        """The best posts for `query` at `now` (microseconds), best first."""
        ...

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        """The stored posts of these ids, in their order; missing and deleted ones left out."""
        ...
