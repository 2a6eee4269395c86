"""An endless script of what happens to posts, event n from n alone, and a model of what must then be true."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random

from voxpop.posts import (
    AccountGone,
    Author,
    Counted,
    Delete,
    Engaged,
    Engagement,
    Event,
    Missed,
    Post,
    Renamed,
    Spent,
    Upsert,
)

BEGAN, STEP = 1_760_000_000_000_000, 40_000_000
_POSTS, _AUTHORS = 0.55, 300
_WORDS = ("river", "fire", "match", "vote", "storm", "train", "court", "bridge", "signal", "harbour")


def time_of(n: int) -> int:
    """When event n is witnessed, microseconds."""
    return BEGAN + n * STEP


def note(n: int) -> str:
    """A word that only the text of event n holds; all are of one length, so that none begins with another."""
    return f"zq{n:08d}"


def event(n: int) -> Event:  # noqa: C901
    """Event n; what it does to an earlier post, it does to one that is near or to any."""
    luck, cursor, at = Random(n), str(n + 1), time_of(n)
    roll = luck.random()
    if roll < _POSTS or n < 10:
        return Upsert(_post(n, n), cursor)
    back = int(luck.expovariate(1 / 40)) if luck.random() < 0.7 else luck.randrange(n)
    m = _post_before(max(n - 1 - back, 0))
    if roll < 0.66:
        return Upsert(_post(m, n), cursor)
    if roll < 0.76:
        return Delete(alias if luck.random() < 0.5 and (alias := _alias(m)) else f"x:{m}", at, cursor)
    if roll < 0.765:
        return AccountGone(_author(m).id, at, cursor)
    if roll < 0.88:
        return Engaged(f"x:{m}", Engagement(1, luck.randrange(2), 0), cursor)
    if roll < 0.90:
        return Counted(f"x:{m}", Engagement(luck.randrange(9), 1, 2), cursor)
    if roll < 0.93:
        return Renamed(Author(_author(m).id, f"called{n}.example", "Named"), cursor)
    if roll < 0.97:
        return Upsert(_post(m, m), cursor)
    if roll < 0.98:
        return Spent(at, 3, 15_000, cursor)
    if roll < 0.985:
        return Missed(at - 1000, at, "the network was away", cursor)
    return Delete(f"x:{n + luck.randrange(1, 200)}", at, cursor)


def _post(m: int, n: int) -> Post:
    """The post that event m brought, with the text that event n gave it."""
    luck = Random(-n)
    counts = Engagement(luck.randrange(5), 0, 0) if luck.random() < 0.2 else Engagement()
    text = f"{luck.choice(_WORDS)} {luck.choice(_WORDS)} {note(n)}"
    at = time_of(n) - luck.randrange(STEP // 2)
    return Post(f"x:{m}", "x", _author(m), text, at, at, lang="en", engagement=counts, alias=_alias(m))


def _author(m: int) -> Author:
    number = m * 7919 % _AUTHORS
    return Author(f"x:u{number}", f"u{number}.example")


def _alias(m: int) -> str:
    return f"server.example:{m}" if m % 3 == 0 else ""


@lru_cache(maxsize=100_000)
def _brings_a_post(m: int) -> bool:
    return m < 10 or Random(m).random() < _POSTS


def _post_before(m: int) -> int:
    while not _brings_a_post(m):
        m -= 1
    return m


@dataclass
class Truth:
    """What a store must hold after the first `seen` events, said as plainly as possible."""

    seen: int = 0
    posts: dict[str, Post] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    gone: dict[str, int] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)  # every note ever written, and in which post
    spent: int = 0

    def until(self, n: int) -> None:
        """Go on to the first `n` events."""
        self.touched.clear()
        for m in range(self.seen, n):
            self._take(event(m))
        self.seen = n

    def _take(self, event: Event) -> None:
        match event:
            case Upsert(post):
                self._upsert(post)
            case Delete(name):
                self.dead.add(name)
                self._remove(self.aliases.get(name, name))
            case AccountGone(who, at):
                self.gone[who] = max(at, self.gone.get(who, -1))
                for post in [p for p in self.posts.values() if p.author.id == who and p.witnessed_at <= at]:
                    self._remove(post.id)
            case Counted(id_, counts):
                self._count(id_, counts)
            case Engaged(id_, more) if id_ in self.posts:
                self._count(id_, Engagement(*map(sum, zip(self.posts[id_].engagement, more, strict=True))))
            case Spent(_, reads):
                self.spent += reads

    def _upsert(self, post: Post) -> None:
        self.touched.add(post.id)
        self.notes[post.text.split()[-1]] = post.id
        old = self.posts.get(post.id)
        if {post.id, post.alias} & self.dead or post.witnessed_at <= self.gone.get(post.author.id, -1):
            return
        if old is None or (post.witnessed_at > old.witnessed_at and post.text != old.text):
            kept = post.engagement if old is None or any(post.engagement) else old.engagement
            self.posts[post.id] = replace(post, engagement=kept)
            if post.alias:
                self.aliases[post.alias] = post.id
        elif post.witnessed_at >= old.witnessed_at and post.text == old.text and any(post.engagement):
            self._count(post.id, post.engagement)

    def _remove(self, id_: str) -> None:
        self.touched.add(id_)
        self.posts.pop(id_, None)

    def _count(self, id_: str, counts: Engagement) -> None:
        self.touched.add(id_)
        if id_ in self.posts:
            self.posts[id_] = replace(self.posts[id_], engagement=counts)

    def removed_notes(self) -> Iterator[str]:
        """Words that were written once and must be nowhere now."""
        live = {p.text.split()[-1] for p in self.posts.values()}
        return (word for word in self.notes if word not in live)
