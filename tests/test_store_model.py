"""The store against a model of a few lines: any events in any order, with commits, replays and new starts between.

Invariants 1 to 3: what `apply` took is found at once, before and after a commit; what was deleted or edited away
never is; a batch and its cursor are one, and the same batch twice changes nothing. Partitions are tiny and dropped.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxpop.posts import AccountGone, Author, Counted, Delete, Engaged, Engagement, Event, Post, Renamed, Upsert
from voxpop.store import Applied, Query, partition
from voxpop.store.local import LocalStore
from voxpop.text import words
from voxpop.times import MICROS

TEXTS = (
    "Shots fired near the parliament hill",
    "Police ask everyone to stay inside tonight",
    "Le maire annonce un couvre-feu à Élysée",
    "東京で地震がありました",
    "#OttawaShooting one soldier wounded",
    "Volcano erupts in Iceland, flights cancelled",
    "soldier leaves hospital after a long week",
    "Straße gesperrt wegen Demonstration",
)
QUERIES = (
    Query(words=("soldier", "iceland")),
    Query(words=("ottawa",)),
    Query(words=("地震",)),
    Query(words=("elysee", "STRASSE")),
    Query(phrases=("stay inside",)),
    Query(phrases=("soldier",), excluded=("hospital",)),
    Query(words=("police", "soldier", "volcano"), handles=("@Anna",)),
    Query(words=("police", "soldier", "shots"), lang="fr"),
    Query(words=("police", "soldier", "shots"), since=4, until=9),
    Query(words=("police", "soldier", "shots"), min_likes=3),
    Query(excluded=("police", "地震")),
    Query(until=6),
)
NOW = 100
SPAN = 94  # posts witnessed before 6 may be dropped
OLDEST_KEPT = SPAN / (24 * 3600 * MICROS)

times = st.integers(1, 12)
people = st.sampled_from(("a", "b", "c"))
ids = st.integers(0, 7).map(lambda n: f"at://post/{n}")
handles = st.sampled_from(("", "anna", "Bert", "cleo"))
counts = st.builds(Engagement, st.integers(0, 5), st.integers(0, 2), st.just(0))


authors = st.builds(
    Author,
    people,
    handles,
    handles,
    st.sampled_from(("", "", "person")),
    st.sampled_from(("", "", "parody")),
    st.sampled_from((0, 0, 7)),
    st.sampled_from(("", "", "just a fan")),
)


def _post(n: int, author: Author, text: str, at: int, lang: str, likes: Engagement) -> Post:
    author = author._replace(id="abc"[n % 3])
    return Post(f"at://post/{n}", "x", author, text, 0, at, lang=lang, engagement=likes)


posts = st.builds(
    _post, st.integers(0, 7), authors, st.sampled_from(TEXTS), times, st.sampled_from(("", "fr")), counts
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Upsert, posts),
    st.builds(Upsert, posts),
    st.builds(Upsert, posts),
    st.builds(Delete, ids, times),
    st.builds(AccountGone, people, times),
    st.builds(Renamed, authors),
    st.builds(Counted, ids, counts),
    st.builds(Engaged, ids, counts),
)
batches = st.lists(events, min_size=1, max_size=12)
steps = st.one_of(batches, batches, batches, st.sampled_from(("commit", "reopen", "again", "purge", "retain")))


@dataclass
class Model:
    """What a store must hold, said as plainly as possible."""

    posts: dict[str, Post] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    gone: dict[str, int] = field(default_factory=dict)
    names: dict[str, Author] = field(default_factory=dict)
    cursor: str | None = None

    def apply(self, batch: Sequence[Event]) -> Applied:  # noqa: C901
        added = edited = deleted = unchanged = refused = 0
        for event in batch:
            self.cursor = event.cursor or self.cursor
            match event:
                case Upsert(post):
                    old = self.posts.get(post.id)
                    if post.id in self.dead or post.witnessed_at <= self.gone.get(post.author.id, -1):
                        refused += 1
                    elif old is None or (post.witnessed_at > old.witnessed_at and post.text != old.text):
                        added, edited = added + (old is None), edited + (old is not None)
                        kept = post.engagement if old is None or any(post.engagement) else old.engagement
                        self.posts[post.id] = replace(post, engagement=kept)
                        self.name(post.author)
                    else:
                        unchanged += 1
                        if post.witnessed_at >= old.witnessed_at and post.text == old.text:
                            self.count(post.id, post.engagement if any(post.engagement) else old.engagement)
                case Delete(id_):
                    self.dead.add(id_)
                    deleted += self.posts.pop(id_, None) is not None
                case AccountGone(who, at):
                    self.gone[who] = max(at, self.gone.get(who, -1))
                    mine = [p for p in self.posts.values() if p.author.id == who]
                    for post in mine:
                        if post.witnessed_at <= at:
                            del self.posts[post.id]
                            deleted += 1
                    if all(p.witnessed_at <= at for p in mine):
                        self.names.pop(who, None)
                case Renamed(author):
                    mine = [p.witnessed_at for p in self.posts.values() if p.author.id == author.id]
                    if author.id not in self.gone or any(at > self.gone[author.id] for at in mine):
                        self.name(author)
                case Counted(id_, engagement):
                    self.count(id_, engagement)
                case Engaged(id_, more) if id_ in self.posts:
                    self.count(id_, Engagement(*map(sum, zip(self.posts[id_].engagement, more, strict=True))))
        return Applied(added, edited, deleted, unchanged, refused)

    def name(self, author: Author) -> None:
        known = self.names.get(author.id, Author(author.id))
        if any(author[1:]):
            whole = author.since > 0
            self.names[author.id] = Author(
                author.id,
                author.handle or known.handle,
                author.name if whole else author.name or known.name,
                author.mark if whole else author.mark or known.mark,
                author.label if whole else author.label or known.label,
                author.since or known.since,
                author.bio if whole else author.bio or known.bio,
            )

    def count(self, id_: str, engagement: Engagement) -> None:
        if id_ in self.posts:
            self.posts[id_] = replace(self.posts[id_], engagement=engagement)

    def shown(self, post: Post) -> Post:
        return replace(post, author=self.names.get(post.author.id, Author(post.author.id)))

    def found(self, query: Query) -> set[tuple[str, int, int, int]]:
        """(text, when first seen, copies, their authors) of what a search must find."""
        until = NOW if query.until is None else query.until
        matching: dict[str, int] = {}
        for post in map(self.shown, self.posts.values()):
            if self.matches(post, query) and (query.since or 0) <= post.witnessed_at <= until:
                matching[post.text] = min(post.witnessed_at, matching.get(post.text, NOW))
        known = [p for p in self.posts.values() if p.witnessed_at <= until]
        return {
            (text, first, len(same := [p for p in known if p.text == text]), len({p.author.id for p in same}))
            for text, first in matching.items()
        }

    @staticmethod
    def matches(post: Post, query: Query) -> bool:
        held = " " + " ".join(words(post.text.replace("#OttawaShooting", "Ottawa Shooting"))) + " "

        def holds(asked: str) -> bool:
            return " " + " ".join(words(asked)) + " " in held

        return (
            (not query.words or any(map(holds, query.words)))
            and all(map(holds, query.phrases))
            and not any(map(holds, query.excluded))
            and (not query.handles or post.author.handle.lower() in [h.lstrip("@").lower() for h in query.handles])
            and (not query.lang or post.lang == query.lang)
            and post.engagement.likes >= query.min_likes
        )


async def _agree(store: LocalStore, model: Model) -> None:
    held = await store.posts([f"at://post/{n}" for n in range(8)])
    assert {p.id: p for p in held} == {i: model.shown(p) for i, p in model.posts.items()}
    assert await store.cursor("s") == model.cursor
    for query in QUERIES:
        hits = await store.search(replace(query, limit=50, per_author=50), NOW)
        got = [(h.post.text, h.post.witnessed_at, h.duplicates, h.independent_authors) for h in hits]
        assert len(got) == len(set(got)), query
        assert set(got) == model.found(query), query


async def _follow(folder: Path, script: Sequence[list[Event] | str]) -> None:
    model, done = Model(), list[list[Event]]()
    store = await LocalStore(folder, commit_s=3600).__aenter__()
    try:
        for number, step in enumerate(script):
            if step == "commit":
                await store.commit()
            elif step == "purge":
                await store.purge()
            elif step == "retain":
                await store.retain(OLDEST_KEPT, 0, NOW)
                held = {p.id for p in await store.posts(list(model.posts))}
                assert all(model.posts[i].witnessed_at < NOW - SPAN for i in model.posts.keys() - held)
                model.posts = {i: p for i, p in model.posts.items() if i in held}
            elif step == "reopen":
                await store.__aexit__()
                store = await LocalStore(folder, commit_s=3600).__aenter__()
                assert store.rebuilt == ""
            else:
                if isinstance(step, list):
                    done.append([*step[:-1], replace(step[-1], cursor=str(number))])
                if done:
                    batch = [e for e in done[-1] if not isinstance(e, Engaged)] if step == "again" else done[-1]
                    assert await store.apply("s", batch) == model.apply(batch)
            await _agree(store, model)
        assert await store.check() == []
    finally:
        await store.__aexit__()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=1, max_size=10), st.integers(1, 9))
def test_any_story_ends_as_the_model_says(script: list[list[Event] | str], full: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(partition, "FULL", full)
        asyncio.run(_follow(Path(folder), script))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches, batches)
def test_the_same_batch_twice_changes_nothing(first: list[Event], second: list[Event]) -> None:
    # What an account posted again after it was gone is taken at the second time, not at the first: left out here.
    first, second = ([replace(e, at=12) if isinstance(e, AccountGone) else e for e in b] for b in (first, second))

    async def twice(folder: Path) -> None:
        async with LocalStore(folder, commit_s=3600) as store:
            await store.apply("s", first)
            await store.apply("s", second)
            before = await store.posts([f"at://post/{n}" for n in range(8)])
            again = await store.apply("s", second)
            after = await store.posts([f"at://post/{n}" for n in range(8)])
            assert (again.added, again.edited, again.deleted) == (0, 0, 0)
            assert [(p.id, p.text, p.witnessed_at) for p in after] == [
                (p.id, p.text, p.witnessed_at) for p in before
            ]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(twice(Path(folder)))
