"""Plan a search from a conversation and bring back numbered passages; it ranks evidence and judges no truth."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from voxpop.authorities import Authorities
from voxpop.evidence import weigh
from voxpop.messages import Passage, Request
from voxpop.questions import Question, read
from voxpop.store import Hit, Query, Store
from voxpop.text import fold, is_cjk, lexicon, names
from voxpop.times import MICROS

Kind = Literal["posts", "conversation", "general"]

_POOL = 50
_LISTED = 20
_MINUTE = 60 * MICROS


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
    if _means("conversation", flat):
        kind = "conversation"
    elif _means("general", flat) and not names(request.question):
        kind = "general"
    return Plan(kind, question, _query(question, flat, request, now))


def _query(question: Question, flat: str, request: Request, now: int) -> Query:
    bounds = request.bounds
    end = min(t for t in (request.as_of, bounds.until, now) if t is not None)
    since = bounds.since if bounds.since is not None else _since(flat, end)
    phrases = tuple(c.word for c in question.concepts if is_cjk(c.word))[:1]
    return Query(
        words=tuple(c.word for c in question.concepts),
        phrases=phrases if len(question.concepts) == 1 else (),
        handles=bounds.handles,
        lang=bounds.lang,
        since=since,
        until=end,
        min_likes=bounds.min_likes,
        limit=_POOL,
    )


def _means(intent: str, flat: str) -> bool:
    return any(re.search(pattern, flat) for pattern in lexicon("intents")[intent])


def _since(flat: str, end: int) -> int | None:
    for minutes, patterns in lexicon("spans").items():
        for pattern in patterns:
            if found := re.search(pattern, flat):
                count = next((int(g) for g in found.groups() if g), 1)
                return end - count * int(minutes) * _MINUTE
    return None


async def retrieve(
    store: Store, planned: Plan, now: int, authorities: Authorities, limit: int = 12
) -> list[Passage]:
    """The best passages for a plan, numbered from 1; the listed accounts are searched by themselves as well."""
    if not planned.query.words and not planned.query.handles:
        return []
    plain = await store.search(planned.query, now)
    # Summed over synonyms, BM25 rewards the post that repeats itself: the plain words keep half of the pool. In a
    # flood of copies a declaration is one post among thousands: whose word counts is asked apart.
    wider = replace(planned.query, words=_kin(planned.question))
    found = [await store.search(wider, now), plain]
    if authorities.accounts and not wider.handles:
        found.append(await store.search(replace(wider, handles=authorities.accounts, limit=_LISTED), now))
    hits = {h.post.id: h for hits in found for h in _scaled(hits)}
    return best(planned.question, list(hits.values()), authorities, limit)


def _kin(question: Question) -> tuple[str, ...]:
    known = ("identified", "named") if question.asks == "who" else ()
    return tuple(dict.fromkeys([*(k for c in question.concepts for k in sorted(c.kin)), *known]))


def _scaled(hits: list[Hit]) -> list[Hit]:
    top = max((h.score for h in hits), default=1.0) or 1.0
    return [replace(h, score=h.score / top) for h in hits]


def best(question: Question, hits: Iterable[Hit], authorities: Authorities, limit: int) -> list[Passage]:
    """Order hits by how they cover the question and who speaks, and number them; pure."""
    passages = [
        Passage(0, h.post, h.score, h.duplicates, h.independent_authors, authorities.classify(h.post.author))
        for h in hits
    ]
    passages.sort(key=lambda p: -_worth(question, p))
    return [replace(p, number=i) for i, p in enumerate(passages[:limit], 1)]


def _worth(question: Question, passage: Passage) -> float:
    post = passage.post
    claims = weigh(question, [replace(passage, number=1)], post.witnessed_at).judged
    return passage.score + (claims[0].score if claims else -1.0)
