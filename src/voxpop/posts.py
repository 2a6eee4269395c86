"""What the world said: posts and the events that add, change and remove them; values only, no I/O."""

from dataclasses import dataclass, field
from typing import NamedTuple

MARKS = ("government", "organisation", "person")
LABELS = ("parody", "automated")


class Author(NamedTuple):
    """Who posted. `id` is the network's stable account id (a DID on Bluesky); a handle can change hands.

    What the network itself says of the account: `mark` is its verification (one of `MARKS`, or nothing), `label`
    its own label (one of `LABELS`, or nothing), `since` the account's beginning (microseconds of UTC, 0 where
    unknown). `bio` is the author's own words, at most 300 characters: data, believed by nobody. With `since` a
    profile is whole, and what it leaves out is no longer so; without it, nothing is known of what it leaves out.
    """

    id: str
    handle: str = ""
    name: str = ""
    mark: str = ""
    label: str = ""
    since: int = 0
    bio: str = ""


class Media(NamedTuple):
    """A picture, video or link card of a post; `alt` is its description or the card's title and summary."""

    kind: str
    url: str = ""
    alt: str = ""


class Engagement(NamedTuple):
    """Counts at the moment of witnessing; zero where the network did not say."""

    likes: int = 0
    reposts: int = 0
    replies: int = 0


@dataclass(frozen=True, slots=True)
class Post:
    """One public post.

    `id` is a URI unique across networks. Times are microseconds of UTC: `created_at` is the author's claim,
    `witnessed_at` is when this text was seen, and it is the only time that is trusted. `kind` is `post` or `news`.
    `alias` is another name by which this source's server will speak of the post (Mastodon's local number): a
    `Delete` may name either.
    """

    id: str
    network: str
    author: Author
    text: str
    created_at: int
    witnessed_at: int
    url: str = ""
    lang: str = ""
    reply_to: str = ""
    root: str = ""
    quote_of: str = ""
    media: tuple[Media, ...] = ()
    links: tuple[str, ...] = ()
    engagement: Engagement = field(default_factory=Engagement)
    kind: str = "post"
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Upsert:
    """A post appeared, or its text changed."""

    post: Post
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """A post was removed, named by its id or its alias; `at` (microseconds) is when the network said so."""

    id: str
    at: int
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class AccountGone:
    """An account was deleted, suspended or taken down: all that it posted until `at` goes with it."""

    author_id: str
    at: int
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Renamed:
    """An account's handle or display name became known or changed."""

    author: Author
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """All engagement counts of a post that may be stored, as the network states them now."""

    id: str
    engagement: Engagement
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Engaged:
    """More engagement of a post that may be stored: what is added to its counts.

    A source gives one only for what it has not given before its cursor, since adding twice would count twice.
    """

    id: str
    more: Engagement
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Missed:
    """Nothing can be had of the stretch from `since` to `until` (microseconds), and why."""

    since: int
    until: int
    why: str
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Spent:
    """Reads that cost money: how many at `at` (microseconds), and their price in millionths of a US dollar."""

    at: int
    reads: int
    micro_usd: int
    cursor: str = ""


Event = Upsert | Delete | AccountGone | Renamed | Counted | Engaged | Missed | Spent
