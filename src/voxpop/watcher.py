"""Look at standing questions again when posts came that may concern them, and keep what flipped; it tells nobody.

No engine is asked. Watches that a new post touches come first; the others in turn, within a tenth of the time.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from voxpop.authorities import Authorities
from voxpop.calls import licensed
from voxpop.choosing import choose
from voxpop.errors import UsageError, VoxpopError
from voxpop.evidence import weigh
from voxpop.messages import Message, Passage, Request
from voxpop.policy import Policy
from voxpop.positions import Position, flipped, kept, position
from voxpop.posts import Post
from voxpop.questions import Question
from voxpop.retrieval import Plan, plan, retrieve
from voxpop.store import Hit, Store
from voxpop.text import indexed
from voxpop.watches import Told, Watch, Watches

_log = logging.getLogger(__name__)
_NEWEST = 20_000
_ABREAST = 4  # looks that search at once: while one waits for the store another is weighed
_SHARE = 0.1
_SCRUB_S = 60.0
LONGEST_QUESTION = 4_000


class Growing(Store, Protocol):
    """A store that tells what came since."""

    async def totals(self) -> dict[str, int]:
        """`seq`, the number of the last text that came, and `tombstones`, how many were removed."""
        ...

    async def newer(self, seq: int, most: int) -> list[Post] | None:
        """The texts that came after a number, edits too; None where they are more than `most`."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question finds at one moment, before anything that is held of it."""

    plan: Plan
    passages: tuple[Passage, ...]
    now: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a question is looked at with: the posts, who may be believed, and what is neither asked nor quoted."""

    store: Growing
    authorities: Authorities
    policy: Policy

    async def ask(self, question: str, now: int) -> Asked:
        """Search for a question at `now`. Raises UsageError for what no post can answer, or the policy refuses."""
        if not question.strip() or len(question) > LONGEST_QUESTION:
            what = f"A question must have 1 to {LONGEST_QUESTION} characters."
            raise UsageError(what, 'Ask something, such as: voxpop watch "Who won?"', code="bad_question")
        if rule := self.policy.refuses(question):
            what = f"The rule '{rule.name}' of the policy refuses it."
            raise UsageError(what, "See: voxpop policy", code="refused")
        planned = plan(Request((Message("user", question),)), now)
        if planned.kind != "posts" or not (planned.query.words or planned.query.handles):
            cure = "Ask about something in the news, by its name."
            raise UsageError("That is no question that posts could answer.", cure, code="bad_question")
        retrieved = await retrieve(self.store, planned, now, self.authorities)
        return Asked(planned, tuple(retrieved.passages), now)

    async def stand(self, asked: Asked, before: Position | None = None) -> Position:
        """The position of what was found together with the posts on which `before` rests, however they rank now."""
        question, passages = asked.plan.question, list(asked.passages)
        found = {p.post.id for p in passages}
        if missing := [i for i in (before.posts if before else ()) if i not in found]:
            for post in await self.store.posts(missing):
                passages += choose(question, [Hit(post, 0.0)], self.authorities, 1)
        quotable, _ = self.policy.quotable(passages)
        numbered = [replace(p, number=n) for n, p in enumerate(quotable, 1)]
        heard = licensed(question, numbered, self.authorities, asked.plan.query.until or asked.now)
        # Weighed without a clock: nothing fades, so that only posts can flip an answer.
        return position(question, heard, weigh(question, heard, 0), before)


@dataclass(slots=True)
class Sight:
    """A watch that nobody keeps: what is held of it is here."""

    watch: Watch
    looked: bool = False

    async def again(self, look: Look, now: int) -> Told | None:
        """Look once more; the flip, if it flipped. The first look only tells where it stands."""
        before = self.watch.position if self.looked else None
        after = await look.stand(await look.ask(self.watch.question, now), before)
        flip = flipped(before, after) if before else None
        held = after if flip or before is None else kept(before, after)
        self.looked = True
        self.watch = replace(self.watch, position=held, seq=self.watch.seq + bool(flip))
        return Told(self.watch.id, self.watch.seq, now, flip) if flip else None


@dataclass(slots=True)
class Interests:
    """Which watches a post may concern, by the words of their questions."""

    questions: dict[str, Question] = field(default_factory=dict)
    by_word: dict[str, set[str]] = field(default_factory=dict)

    def take(self, watches: Iterable[Watch], now: int) -> None:
        """Keep up with the watches that there are."""
        wanted = {w.id: w.question for w in watches}
        if wanted.keys() == self.questions.keys():
            return
        self.questions = {
            id_: self.questions.get(id_) or plan(Request((Message("user", q),)), now).question
            for id_, q in wanted.items()
        }
        self.by_word = {}
        for id_, question in self.questions.items():
            for word in frozenset().union(*(c.kin for c in question.concepts)):
                self.by_word.setdefault(word, set()).add(id_)

    def touched(self, post: Post, before: Sequence[Post], *, listed: bool) -> set[str]:
        """The watches that a post may concern: with what it answers or quotes (`before`) it speaks of that.

        Of a listed account it is enough that it names whom the question names.
        """
        said = [post.text, *(m.alt for m in post.media), *(p.text for p in before)]
        text = "\n".join([*said, post.author.name, post.author.handle])
        terms = frozenset(indexed(text).split())
        near = set().union(*(self.by_word.get(w, ()) for w in terms))
        return {i for i in near if _concerns(self.questions[i], text, terms, listed=listed)}


def _concerns(question: Question, text: str, terms: frozenset[str], *, listed: bool) -> bool:
    if listed and (not question.names or question.names & terms):
        return True
    return question.met_by(question.terms(text))


class Watcher:
    """Looks at the watches of one store, every `every_s` seconds at most and only if something came.

    `clock` gives microseconds of UTC. `looks` counts evaluations, `took_s` the time that they took in all.
    """

    def __init__(
        self,
        watches: Watches,
        look: Look,
        *,
        clock: Callable[[], int],
        every_s: float = 2.0,
    ) -> None:
        self._watches, self._look, self._store = watches, look, look.store
        self._clock, self._every_s = clock, every_s
        self._interests = Interests()
        self._seen: tuple[int, int, int] | None = None  # the store's last number, its removals, its posts
        self._stale: dict[str, None] = {}  # not looked at since something came, the longest waiting first
        self._scrubbed = time.monotonic()
        self.looks = 0
        self.took_s = 0.0

    async def run(self) -> None:
        """Look until cancelled; what fails is tried again."""
        while True:
            began = time.monotonic()
            try:
                await self.once()
            except VoxpopError as error:
                _log.error("%s", error)
            except Exception:
                self._seen = None
                _log.exception("The watcher broke: a fault of ours")
            await asyncio.sleep(max(0.05, self._every_s - (time.monotonic() - began)))

    async def once(self) -> None:
        """Look at what came since, then at the others for a share of the time."""
        now = self._clock()
        await self._watches.expire(now)
        watches = {w.id: w for w in await self._watches.all()}
        self._interests.take(watches.values(), now)
        self._stale = {id_: None for id_ in self._stale if id_ in watches}
        first = await self._touched(watches)
        found: dict[str, Asked] = {}  # what many ask is searched for once
        for begin in range(0, len(first), _ABREAST):
            await self._ask([watches[id_].question for id_ in first[begin : begin + _ABREAST]], found)
            for id_ in first[begin : begin + _ABREAST]:
                await self._evaluate(watches[id_], found)
        end = time.monotonic() + _SHARE * self._every_s
        while self._stale and time.monotonic() < end:
            await self._evaluate(watches[next(iter(self._stale))], found)
        if time.monotonic() - self._scrubbed > _SCRUB_S:
            self._scrubbed = time.monotonic()
            await self._scrub()

    async def _touched(self, watches: dict[str, Watch]) -> list[str]:
        """The watches to look at now, those first that a listed account's post touches."""
        totals = await self._store.totals()
        seen = totals["seq"], totals["tombstones"], totals["posts"]
        before, self._seen = self._seen, seen
        if before == seen or not watches:
            return []
        self._stale |= dict.fromkeys(watches)
        posts = None if before is None else await self._store.newer(before[0], _NEWEST)
        if before is None or posts is None:
            return list(watches)
        at_once, soon = await self._concerned(posts)
        held = await self._watches.held_posts()
        changed = {p.id for p in posts if p.id in held}
        if held and (seen[1] != before[1] or seen[2] != before[2] + len(posts)):  # some went
            changed |= held.keys() - {p.id for p in await self._store.posts(list(held))}
        moved = set().union(*(held[id_] for id_ in changed))
        return [id_ for id_ in dict.fromkeys([*sorted(at_once), *sorted(moved), *sorted(soon)]) if id_ in watches]

    async def _concerned(self, posts: Sequence[Post]) -> tuple[set[str], set[str]]:
        """The watches that posts may concern: those that a listed account's does, and those of the others."""
        refs = {ref for p in posts for ref in (p.reply_to, p.quote_of) if ref}
        before = {p.id: p for p in await self._store.posts(list(refs))}
        at_once: set[str] = set()
        soon: set[str] = set()
        for post in posts:
            listed = self._look.authorities.classify(post.author) in ("authority", "press")
            meant = [before[ref] for ref in (post.reply_to, post.quote_of) if ref in before]
            (at_once if listed else soon).update(self._interests.touched(post, meant, listed=listed))
        return at_once, soon

    async def _ask(self, questions: Iterable[str], found: dict[str, Asked]) -> None:
        """Search for these questions at once, less those that are found."""
        asked = [question for question in dict.fromkeys(questions) if question not in found]
        asks = [self._look.ask(question, self._clock()) for question in asked]
        began = time.perf_counter()
        found |= zip(asked, await asyncio.gather(*asks), strict=True)
        self.took_s += time.perf_counter() - began

    async def _evaluate(self, watch: Watch, found: dict[str, Asked]) -> None:
        """Evaluate one watch and keep what came of it."""
        self._stale.pop(watch.id, None)
        await self._ask([watch.question], found)
        began = time.perf_counter()
        after = await self._look.stand(found[watch.question], watch.position)
        if flip := flipped(watch.position, after):
            await self._watches.flip(watch, flip, after, self._clock())
        elif (same := kept(watch.position, after)) != watch.position:
            await self._watches.hold(watch, same)
        self.looks += 1
        self.took_s += time.perf_counter() - began

    async def _scrub(self) -> None:
        held = list(await self._watches.held_posts())
        there = {p.id for p in await self._store.posts(held)}
        await self._watches.scrub(frozenset(held) - there)
