"""Plan the searches for a conversation and bring back numbered passages; it judges no truth."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from voxpop.apart import apart
from voxpop.authorities import Authorities
from voxpop.choosing import choose
from voxpop.expansion import against, expansion
from voxpop.matters import marked
from voxpop.messages import Passage, Request
from voxpop.questions import Question, means, read, spans
from voxpop.results import asked, declaring, unpushed, wins
from voxpop.store import Hit, Query, Store
from voxpop.store.bounds import admitting
from voxpop.text import fold, is_cjk, names, numbers, words
from voxpop.times import MICROS

Kind = Literal["posts", "conversation", "general"]

_POOL = 50
_LISTED = 20
_DENIALS = 20
_FEW = 30  # hits: where there are more, the question's own words bring enough
_THREADS = 20
_BESIDE = 0.5  # of its score what a search for more counts: it was not for the question's words alone
_OF_THREAD = 0.5  # of the score of the post that answers or quotes
_RECENT = 30 * 60 * MICROS
_IDENTIFIED = ("identified", "named")
_MINUTE = 60 * MICROS
_DAY = 24 * 60 * _MINUTE


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a request: which kind of question it is, how it reads, what to search for."""

    kind: Kind
    question: Question
    query: Query


def plan(request: Request, now: int) -> Plan:
    """Decide between the posts, the conversation and the model's memory; write the query; `now` in microseconds."""
    said = [unpushed(m.content) for m in request.messages if m.role == "user"]
    question = read(unpushed(request.question), tuple(said[:-1]))
    flat = fold(request.question).strip()
    kind: Kind = "posts"
    if means("conversation", flat):
        kind = "conversation"
    elif means("knowledge", flat) or (means("general", flat) and not names(request.question)):
        kind = "general"
    if request.look == "on":
        kind = "posts"
    elif request.look == "off" and kind == "posts":
        kind = "general"
    if request.look != "off" and wins(question):  # who won is told from posts or not at all, however it is asked
        kind = "posts"
    return Plan(kind, question, _query(question, flat, request, now))


def _query(question: Question, flat: str, request: Request, now: int) -> Query:
    bounds = request.bounds
    end = min(t for t in (request.as_of, bounds.until, now) if t is not None)
    since, until = _span(flat, end)
    alone = tuple(c.word for c in question.concepts if is_cjk(c.word)) if len(question.concepts) == 1 else ()
    return Query(
        words=tuple(c.word for c in question.concepts),
        phrases=question.phrases or alone,
        handles=bounds.handles or question.handles,
        not_handles=bounds.not_handles,
        networks=bounds.networks,
        domains=bounds.domains,
        not_domains=bounds.not_domains,
        lang=bounds.lang,
        since=max((t for t in (bounds.since, since) if t is not None), default=None),
        until=until,
        min_likes=bounds.min_likes,
        min_views=bounds.min_views,
        limit=_POOL,
    )


def _span(flat: str, end: int) -> tuple[int | None, int]:
    """The time that a question bounds itself to, in UTC: `yesterday`, `since 20:00`, `in the last two hours`."""
    kind, found = next(spans(flat), ("", None))
    today = end - end % _DAY
    if found is None:
        return None, end
    if kind == "yesterday":
        return today - _DAY, today
    if kind == "since":
        begun = today + _clock(found) * _MINUTE
        return begun if begun <= end else begun - _DAY, end
    count = min(numbers(found[0]), default="1")
    return end - int(float(count) * int(kind)) * _MINUTE, end


def _clock(found: re.Match[str]) -> int:
    hour, minute, half = int(found[1]) % 24, int(found[2] or 0) % 60, found[3] or ""
    return (hour % 12 + 12 if half.startswith("p") else hour) * 60 + minute


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was found: the passages, numbered from 1, and each search that was made, in words to be read."""

    passages: tuple[Passage, ...] = ()
    searched: tuple[str, ...] = ()


@dataclass(slots=True)
class _Search:
    """A store that is searched at one moment, and what it was asked."""

    store: Store
    now: int
    told: list[str] = field(default_factory=list)

    async def __call__(self, what: str, query: Query) -> list[Hit]:
        said = " ".join([*query.words, *(group[0] for group in query.kin), *(f'"{p}"' for p in query.phrases)])
        self.told.append(f"{what}: {said}" if said else what)
        return await self.store.search(query, self.now)


async def retrieve(store: Store, planned: Plan, now: int, authorities: Authorities, limit: int = 12) -> Retrieved:
    """The best passages for a plan: of the question's own search, of the listed accounts, of who denies it.

    Where that brings few, names that the found posts join with the topic are searched for as well. What a found
    post answers or quotes comes with it.
    """
    search = _Search(store, now)
    query = planned.query
    hits = await (_matching if query.words or query.handles else _newest)(search, planned, authorities)
    hits = [*hits, *await _threads(store, query, hits)]
    chosen = await apart(choose, planned.question, hits, authorities, limit)
    return Retrieved(tuple(chosen), tuple(search.told))


async def _matching(search: _Search, planned: Plan, authorities: Authorities) -> list[Hit]:
    question = planned.question
    wider = replace(planned.query, words=(), kin=_kin(question), light=_light(question))
    first = await search("the question's words and their kin", wider)
    found = [_scaled(first)]
    # In a flood of copies a declaration is one post among thousands: whose word counts is asked apart.
    if authorities.accounts and not wider.handles:
        listed = replace(wider, handles=authorities.accounts, limit=_LISTED)
        found.append(_scaled(await search("the same among the listed accounts", listed)))
    if authorities.callers and not wider.handles and asked(question):
        # Their words need not be those of the question: it may be asked in another language.
        called = replace(wider, kin=(declaring(),), light=(), phrases=(), limit=_LISTED)
        called = replace(called, handles=authorities.callers)
        found.append(_scaled(await search("declarations of the listed authorities", called), _BESIDE))
    if wider.kin:
        marks = against([question.lang, *(h.post.lang for h in first)])
        denials = replace(wider, kin=(*wider.kin, marks), light=(), limit=_DENIALS)
        hits = await search("the same with words of denial and correction", denials)
        denying = [h for h in hits if marked("denial", h.post.text) or marked("correction", h.post.text)]
        found.append(_scaled(denying, _BESIDE))
    if len(first) < _FEW and (terms := expansion(question, first)):
        named = replace(wider, words=terms, light=(), limit=_LISTED)
        found.append(_scaled(await search("names found with them", named), _BESIDE))
    return _first(chain.from_iterable(found))


async def _newest(search: _Search, planned: Plan, authorities: Authorities) -> list[Hit]:
    """What is posted now, for a question without a topic: the listed accounts' newest and everybody's."""
    end = planned.query.until if planned.query.until is not None else search.now
    recent = replace(planned.query, since=planned.query.since or end - _RECENT)
    found = await search("the newest posts", recent)
    if authorities.accounts:
        listed = replace(recent, handles=authorities.accounts, limit=_LISTED)
        found += await search("the newest of the listed accounts", listed)
    return _first(found)


async def _threads(store: Store, query: Query, hits: Sequence[Hit]) -> list[Hit]:
    """What the first hits answer and quote, and where their conversations began, within the bounds of the query."""
    if query.handles:
        return []
    held = {h.post.id for h in hits}
    best = sorted(hits, key=lambda h: -h.score)[:_THREADS]
    wanted = {
        ref: h.score for h in reversed(best) for ref in (h.post.root, h.post.quote_of, h.post.reply_to) if ref
    }
    admits = admitting(query)
    found = await store.posts([ref for ref in wanted if ref not in held])
    return [Hit(p, _OF_THREAD * wanted[p.id]) for p in found if admits(p)]


def _first(hits: Iterable[Hit]) -> list[Hit]:
    """Each post once, as the first search that found it scored it."""
    found: dict[str, Hit] = {}
    for hit in hits:
        found.setdefault(hit.post.id, hit)
    return list(found.values())


def _kin(question: Question) -> tuple[tuple[str, ...], ...]:
    """Each concept as the word itself and, after it, those that speak of the same thing."""
    kin = [(c.word, *sorted(c.kin - {c.word})) for c in question.concepts]
    counted = question.counted - frozenset().union(*(c.kin for c in question.concepts))
    return tuple(filter(None, [*kin, tuple(sorted(counted)), _IDENTIFIED if question.asks == "who" else ()]))


def _light(question: Question) -> tuple[str, ...]:
    """The question's other words: they tell two posts apart that speak of the same."""
    meant = frozenset().union(*(c.kin for c in question.concepts))
    return tuple(w for w in dict.fromkeys(words(question.text)) if w not in meant and not is_cjk(w))


def _scaled(hits: list[Hit], top: float = 1.0) -> list[Hit]:
    best = max((h.score for h in hits), default=1.0) or 1.0
    return [replace(h, score=top * h.score / best) for h in hits]
