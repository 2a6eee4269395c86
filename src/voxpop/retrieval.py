"""Plan a search from a conversation and bring back numbered passages; it ranks evidence and judges no truth."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from voxpop.authorities import Authorities
from voxpop.evidence import denies, worth
from voxpop.inert import signed
from voxpop.messages import Passage, Request
from voxpop.questions import Question, means, read, spans
from voxpop.store import Hit, Query, Store
from voxpop.text import fold, is_cjk, names, numbers, words
from voxpop.times import MICROS
from voxpop.tones import tone

Kind = Literal["posts", "conversation", "general"]

_POOL = 50
_LISTED = 20
_DENIALS = 2
_WORTH = 0.6  # what the sentences weigh beside the words of the search
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
    asked = [m.content for m in request.messages if m.role == "user"]
    question = read(request.question, tuple(asked[:-1]))
    flat = fold(request.question).strip()
    kind: Kind = "posts"
    if means("conversation", flat):
        kind = "conversation"
    elif means("knowledge", flat) or (means("general", flat) and not names(request.question)):
        kind = "general"
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
        lang=bounds.lang,
        since=bounds.since if bounds.since is not None else since,
        until=until,
        min_likes=bounds.min_likes,
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
    """What a search brought: the passages, numbered from 1, and each search that was made, in words to be read."""

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
    """The best passages for a plan; the listed accounts are searched by themselves as well."""
    search = _Search(store, now)
    hits = await (_matching if planned.query.words or planned.query.handles else _newest)(
        search, planned, authorities
    )
    return Retrieved(tuple(best(planned.question, hits, authorities, limit)), tuple(search.told))


async def _matching(search: _Search, planned: Plan, authorities: Authorities) -> list[Hit]:
    wider = replace(planned.query, words=(), kin=_kin(planned.question), light=_light(planned.question))
    found = [await search("the question's words and their kin", wider)]
    # In a flood of copies a declaration is one post among thousands: whose word counts is asked apart.
    if authorities.accounts and not wider.handles:
        listed = replace(wider, handles=authorities.accounts, limit=_LISTED)
        found.append(await search("the same among the listed accounts", listed))
    return list({h.post.id: h for hits in found for h in _scaled(hits)}.values())


async def _newest(search: _Search, planned: Plan, authorities: Authorities) -> list[Hit]:
    """What is posted now, for a question without a topic: the listed accounts' newest and everybody's."""
    end = planned.query.until if planned.query.until is not None else search.now
    recent = replace(planned.query, since=planned.query.since or end - _RECENT)
    found = [await search("the newest posts", recent)]
    if authorities.accounts:
        listed = replace(recent, handles=authorities.accounts, limit=_LISTED)
        found.append(await search("the newest of the listed accounts", listed))
    return list({h.post.id: h for hits in found for h in hits}.values())


def _kin(question: Question) -> tuple[tuple[str, ...], ...]:
    """Each concept as the word itself and, after it, those that speak of the same thing."""
    kin = [(c.word, *sorted(c.kin - {c.word})) for c in question.concepts]
    counted = question.counted - frozenset().union(*(c.kin for c in question.concepts))
    return tuple(filter(None, [*kin, tuple(sorted(counted)), _IDENTIFIED if question.asks == "who" else ()]))


def _light(question: Question) -> tuple[str, ...]:
    """The question's other words: they tell two posts apart that speak of the same."""
    meant = frozenset().union(*(c.kin for c in question.concepts))
    return tuple(w for w in dict.fromkeys(words(question.text)) if w not in meant and not is_cjk(w))


def _scaled(hits: list[Hit]) -> list[Hit]:
    top = max((h.score for h in hits), default=1.0) or 1.0
    return [replace(h, score=h.score / top) for h in hits]


def _passage(number: int, hit: Hit, authorities: Authorities) -> Passage:
    who, how = authorities.classify(hit.post.author), tone(hit.post)
    passage = Passage(number, signed(hit.post), hit.score, hit.duplicates, hit.independent_authors, who, tone=how)
    # Also a listed account's jest is only somebody's word, and it calls nothing.
    return replace(passage, author_class="unknown") if passage.jests and who in ("authority", "press") else passage


def best(question: Question, hits: Iterable[Hit], authorities: Authorities, limit: int) -> list[Passage]:
    """Order hits by how they cover the question and who speaks, and number them; pure."""
    passages = [_passage(i, hit, authorities) for i, hit in enumerate(hits, 1)]
    scores = worth(question, passages)
    passages.sort(key=lambda p: -(p.score + _WORTH * scores.get(p.number, -1.0)))
    kept, rest = passages[: limit - _DENIALS], passages[limit - _DENIALS :]
    # The best twelve may all say one thing: who denies it, and newly, is heard beside them.
    against = [p for p in rest if p.number in scores and denies(question, p.post.text)]
    against.sort(key=lambda p: (not p.listed, -p.post.witnessed_at))
    heard = [*kept, *against[:_DENIALS]]
    heard += [p for p in rest if p not in heard][: limit - len(heard)]
    return [replace(p, number=i) for i, p in enumerate(heard, 1)]
