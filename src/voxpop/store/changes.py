"""Fold one batch of events over what is stored, in their order; it reads, and leaves all writing to `truth`.

It refuses a post that was deleted, a post of an account that is gone, and a text older than the one it holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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
from voxpop.store import Applied
from voxpop.store.catalog import Catalog
from voxpop.store.partition import FOREVER, Partition, Work
from voxpop.store.rows import Stored, extra, key, unpack
from voxpop.text import fingerprint

_NOTHING = Engagement()


class _Known(NamedTuple):
    first: int
    seq: int
    author: int
    witnessed_at: int
    text: str
    extra: bytes | None
    engagement: Engagement


class Change:
    """What a batch comes to: rows to add and to remove, counts, names, tombstones; `run` fills it."""

    def __init__(
        self, catalog: Catalog, partitions: Sequence[Partition], events: Sequence[Event], next_author: int
    ) -> None:
        self._catalog = catalog
        self._partitions = partitions
        self._events = events
        self._next_author = next_author
        self._new: dict[str, Stored] = {}
        self._alias_of: dict[str, str] = {}
        self._added = self._edited = self._deleted = self._unchanged = self._refused = 0
        self.removed: dict[int, int] = {}  # number -> its partition
        self._counts: dict[tuple[int, int], Engagement] = {}
        self._more: dict[tuple[int, int], Engagement] = {}
        self.new_authors: list[tuple[int, str]] = []
        self.names: dict[str, Author] = {}
        self.forgotten: set[str] = set()
        self.tombstones: list[tuple[int, int]] = []
        self.gone: dict[str, int] = {}
        self.missed: list[tuple[int, int, str]] = []
        self.spent: list[tuple[int, int, int]] = []
        self._look_up(events)

    # what is stored

    def _look_up(self, events: Sequence[Event]) -> None:
        posts = [e.post for e in events if type(e) is Upsert]
        deleted = [e.id for e in events if type(e) is Delete]
        names = {p.id for p in posts} | set(deleted) | {p.alias for p in posts if p.alias}
        counted = {e.id for e in events if type(e) is Engaged or type(e) is Counted}
        self._keys = {name: key(name) for name in names | counted}
        self._known: dict[str, _Known] = {}
        hits = [(p.first, r) for p in self._partitions for r in p.held(self._keys.values())] if self._keys else []
        self._take(hits)
        self._aliases = self._look_up_aliases([d for d in deleted if d not in self._known])
        self._dead = self._catalog.dead(self._keys[n] for n in names) if names else set()
        who = {p.author.id for p in posts} | {e.author_id for e in events if type(e) is AccountGone}
        who |= {e.author.id for e in events if type(e) is Renamed}
        self.numbers = self._catalog.numbers(list(who))
        gone = self._catalog.gone(self.numbers.values())
        self._gone = {id_: gone[n] for id_, n in self.numbers.items() if n in gone} if gone else {}

    def _take(self, hits: Iterable[tuple[int, Any]], *, asked: bool = True) -> dict[int, str]:
        """Keep rows as known, by the id that they hold (a key may be shared); the ids by number."""
        found = list(hits)
        authors = self._catalog.authors(r[3] for _, r in found) if found else {}
        ids: dict[int, str] = {}
        for first, (_, seq, packed, author, witnessed, text, more, *counts) in found:
            id_ = unpack(packed, authors[author].id if author in authors else "")
            held = self._known.get(id_)
            if (not asked or id_ in self._keys) and (held is None or held.seq < seq):
                self._known[id_] = _Known(first, seq, author, witnessed, text, more, Engagement(*counts))
            ids[seq] = id_
        return ids

    def _look_up_aliases(self, names: Sequence[str]) -> dict[str, str]:
        """The ids of stored posts that go by these names."""
        by_key = {self._keys[name]: name for name in names}
        found: dict[str, str] = {}
        for partition in self._partitions if names else ():
            if pairs := partition.aliased(by_key):
                rows = [(partition.first, r) for r in partition.held_at(seq for _, seq in pairs)]
                ids = self._take(rows, asked=False)
                found.update((by_key[k], ids[seq]) for k, seq in pairs if seq in ids)
        return found

    # folding

    def run(self) -> Applied:
        fold: Mapping[type, Callable[[Any], None]] = {
            Upsert: self._upsert,
            Delete: self._delete,
            AccountGone: self._account_gone,
            Renamed: lambda e: self._rename(e.author),
            Counted: lambda e: self._count(e.id, e.engagement),
            Engaged: lambda e: self._engage(e.id, e.more),
            Missed: lambda e: self.missed.append((e.since, e.until, e.why)),
            Spent: lambda e: self.spent.append((e.at, e.reads, e.micro_usd)),
        }
        for event in self._events:
            fold[type(event)](event)
        return Applied(self._added, self._edited, self._deleted, self._unchanged, self._refused)

    @property
    def added(self) -> list[Stored]:
        """New posts, in order."""
        return list(self._new.values())

    def works(self, active: int) -> dict[int, Work]:
        """What is owed to each partition; new posts are in `active`, their numbers given."""
        owed: dict[int, Work] = {}

        def to(first: int) -> Work:
            return owed.setdefault(first, Work([], [], [], []))

        for seq, first in self.removed.items():
            to(first).removed.append(seq)
        for (first, seq), counts in self._counts.items():
            to(first).counts.append((*counts, seq))
        for (first, seq), counts in self._more.items():
            to(first).more.append((*counts, seq))
        for alias, id_ in self._alias_of.items():
            if new := self._new.get(id_):
                to(active).aliases.append((self._keys[alias], new.seq))
            elif known := self._known.get(id_):
                to(known.first).aliases.append((self._keys[alias], known.seq))
        return owed

    def number(self, id_: str) -> int:
        """The number of an author, a new one where it is not known."""
        number = self.numbers.get(id_)
        if number is None:
            number = self.numbers[id_] = self._next_author + len(self.new_authors)
            self.new_authors.append((number, id_))
        return number

    def _upsert(self, event: Upsert) -> None:
        post = event.post
        if self._is_refused(post):
            self._refused += 1
            return
        if post.alias:
            self._alias_of[post.alias] = post.id
        held = self._held(post.id)
        if held is None:
            self._added += 1
        elif post.witnessed_at < held.witnessed_at:
            self._unchanged += 1
            return
        elif (post.text, extra(post)) == (held.text, held.extra):
            self._unchanged += 1
            if post.engagement != _NOTHING:
                self._count(post.id, post.engagement)
            return
        elif post.witnessed_at == held.witnessed_at:  # two texts of one moment: the first stays, in every replay
            self._unchanged += 1
            return
        else:
            self._edited += 1
            if post.engagement == _NOTHING:  # a network that counts by events says nothing with the text
                post = replace(post, engagement=self._counted(post.id, held))
            self._remove(post.id)
        number = self.number(post.author.id)
        self._new[post.id] = Stored(0, post, fingerprint(post.text), number, self._keys[post.id])
        self._name(post.author)

    def _is_refused(self, post: Post) -> bool:
        if post.witnessed_at <= self._gone.get(post.author.id, -1) or self._keys[post.id] in self._dead:
            return True
        if post.alias and self._keys[post.alias] in self._dead:  # deleted by its other name before it came
            self._bury(self._keys[post.id], post.witnessed_at)
            return True
        return False

    def _held(self, id_: str) -> _Known | None:
        if pending := self._new.get(id_):
            post = pending.post
            return _Known(0, 0, pending.author, post.witnessed_at, post.text, extra(post), post.engagement)
        return self._known.get(id_)

    def _remove(self, id_: str) -> bool:
        """Whether there was a post to remove."""
        pending = self._new.pop(id_, None)
        known = self._known.pop(id_, None)
        if known:
            self._take_out(known.first, known.seq)
        return bool(pending or known)

    def _take_out(self, first: int, seq: int) -> None:
        self.removed[seq] = first
        self._counts.pop((first, seq), None)
        self._more.pop((first, seq), None)

    def _bury(self, name: int, at: int) -> None:
        self.tombstones.append((name, at))
        self._dead.add(name)

    def _delete(self, event: Delete) -> None:
        id_ = event.id
        self._bury(self._keys[id_], event.at)
        other = self._alias_of.get(id_) or self._aliases.get(id_)
        if other and self._held(id_) is None:
            self._bury(key(other), event.at)
            id_ = other
        self._deleted += self._remove(id_)

    def _account_gone(self, event: AccountGone) -> None:
        who, at = event.author_id, event.at
        number = self.number(who)
        self.gone[who] = self._gone[who] = max(at, self._gone.get(who, -1))
        pending = [s.post for s in self._new.values() if s.post.author.id == who]
        for post in pending:
            if post.witnessed_at <= at:
                self._deleted += self._remove(post.id)
        for id_ in [i for i, k in self._known.items() if k.author == number and k.witnessed_at <= at]:
            self._deleted += self._remove(id_)
        for partition in self._partitions:
            for seq, _ in partition.by_author(number, -FOREVER, at):
                if seq not in self.removed:
                    self._take_out(partition.first, seq)
                    self._deleted += 1
        if not self._posted_after(who, at):
            self.names.pop(who, None)
            self.forgotten.add(who)

    def _posted_after(self, who: str, at: int) -> bool:
        """Whether a post of this account is left that was witnessed after `at`."""
        number = self.number(who)
        return any(s.post.author.id == who and s.post.witnessed_at > at for s in self._new.values()) or any(
            seq not in self.removed for p in self._partitions for seq, _ in p.by_author(number, at + 1, FOREVER)
        )

    def _rename(self, author: Author) -> None:
        """What is said of an account that is gone comes too late, unless it is back."""
        at = self._gone.get(author.id)
        if at is None or self._posted_after(author.id, at):
            self._name(author)

    def _name(self, author: Author) -> None:
        if any(author[1:]):
            self.number(author.id)
            self.names[author.id] = _merged(self.names.get(author.id, author), author)

    # engagement

    def _counted(self, id_: str, held: _Known) -> Engagement:
        if id_ in self._new or id_ not in self._known:
            return held.engagement
        place = held.first, held.seq
        return _sum(self._counts.get(place, held.engagement), self._more.get(place, _NOTHING))

    def _count(self, id_: str, counts: Engagement) -> None:
        if pending := self._new.get(id_):
            pending.post = replace(pending.post, engagement=counts)
        elif known := self._known.get(id_):
            self._counts[known.first, known.seq] = counts
            self._more.pop((known.first, known.seq), None)

    def _engage(self, id_: str, more: Engagement) -> None:
        if pending := self._new.get(id_):
            pending.post = replace(pending.post, engagement=_sum(pending.post.engagement, more))
        elif known := self._known.get(id_):
            place = known.first, known.seq
            for counts in (self._counts, self._more):
                if place in counts or counts is self._more:
                    counts[place] = _sum(counts.get(place, _NOTHING), more)
                    return


def _merged(known: Author, said: Author) -> Author:
    """A profile with the account's beginning is whole and replaces; else it only adds to what was known."""
    if said.since:
        return said._replace(handle=said.handle or known.handle)
    return Author(
        said.id,
        said.handle or known.handle,
        said.name or known.name,
        said.mark or known.mark,
        said.label or known.label,
        known.since,
        said.bio or known.bio,
    )


def _sum(a: Engagement, b: Engagement) -> Engagement:
    return Engagement(a.likes + b.likes, a.reposts + b.reposts, a.replies + b.replies)
