"""Choose the passages of an answer from what was found, each with its reasons; pure, and it judges no truth.

Near-copies are one passage, no account takes more than its share, and who denies, the newest and the oldest are
heard beside the best.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from voxpop.authorities import Authorities
from voxpop.calls import official
from voxpop.evidence import worth
from voxpop.floods import together
from voxpop.inert import signed
from voxpop.matters import marked
from voxpop.messages import Passage
from voxpop.questions import Question
from voxpop.stances import denies
from voxpop.store import Hit
from voxpop.text import numbers
from voxpop.tones import tone

_WORTH = 0.6  # what the sentences weigh beside the words of the search
_AGAINST = 2
_OF_ONE = 3
_CLASSES = {"authority": "listed authority", "press": "listed press", "organisation": "verified organisation"}


def choose(question: Question, hits: Iterable[Hit], authorities: Authorities, limit: int) -> list[Passage]:
    """The best `limit` passages for a question, numbered from 1, best first; `why` tells what spoke for each."""
    found = _collapsed(list(hits), authorities)
    scores = worth(question, found)
    found.sort(key=lambda p: (-p.score - _WORTH * scores.get(p.number, -1.0), p.post.id))
    met = [p for p in found if p.number in scores]
    declared = {p.number: "an authority on what is asked" for p in official(question, found)[:_AGAINST]}
    asked = declared | _besides(question, met) | declared  # the authorities first, by their own reason
    best = _shared_out(found, alone=bool(question.handles))[:limit]
    # Those who are heard besides take the places of the last: at most a third, and of none that is one of them.
    missing = [p for p in found if p.number in asked and p not in best]
    missing = sorted(missing, key=lambda p: list(asked).index(p.number))[: limit // 3]
    others = [p.number for p in best if p.number not in asked]
    gone = others[max(0, len(others) - len(missing)) :] if len(best) == limit else []
    chosen = [*(p for p in best if p.number not in gone), *missing][:limit]
    handles = {p.post.id: p.post.author.handle for p in chosen}
    return [
        replace(p, number=i, why=_why(question, p, p.number in scores, asked.get(p.number, ""), handles))
        for i, p in enumerate(chosen, 1)
    ]


def _collapsed(hits: Sequence[Hit], authorities: Authorities) -> list[Passage]:
    """Hits as passages, near-copies as one: an authority's last speaks for them, else listed press's first."""
    passages = []
    for number, group in enumerate(together([h.post for h in hits]), 1):
        some = [_passage(number, hits[i], authorities) for i in group]
        speaker = min(some, key=lambda p: (p.jests, *_rank(p), p.post.id))
        passages.append(
            replace(
                speaker,
                score=max(p.score for p in some),
                duplicates=sum(p.duplicates for p in some),
                independent_authors=max(p.independent_authors for p in some),
            )
        )
    return passages


def _rank(passage: Passage) -> tuple[bool, bool, int]:
    # What an authority says again after it took it back holds anew.
    other, at = passage.author_class != "authority", passage.post.witnessed_at
    return other, not passage.listed, at if other else -at


def _passage(number: int, hit: Hit, authorities: Authorities) -> Passage:
    who, how = authorities.classify(hit.post.author), tone(hit.post)
    passage = Passage(number, signed(hit.post), hit.score, hit.duplicates, hit.voices, who, tone=how)
    # Also a listed account's jest is only somebody's word, and it calls nothing.
    return replace(passage, author_class="unknown") if passage.jests and who in ("authority", "press") else passage


def _besides(question: Question, met: Sequence[Passage]) -> dict[int, str]:
    """Whom to hear beside the best, and why: who denies it and, where they disagree, the oldest and the newest."""
    against = [p for p in met if _against(question, p)]
    against.sort(key=lambda p: (not p.listed, -p.post.witnessed_at, p.post.id))
    heard = {p.number: "denies or corrects it" for p in against[:_AGAINST]}
    heard |= {number: "newest of the account" for number in _last_words(met)}
    if _disagree(question, met):
        by_age = sorted(met, key=lambda p: (p.post.witnessed_at, p.post.id))
        heard = {by_age[0].number: "oldest", by_age[-1].number: "newest"} | heard
    return heard


def _last_words(met: Sequence[Passage]) -> list[int]:
    """Of each listed account that has said more than its share: what it said last."""
    by_account: dict[str, list[Passage]] = {}
    for passage in met:
        if passage.listed:
            by_account.setdefault(passage.post.author.id, []).append(passage)
    return [
        max(said, key=lambda p: (p.post.witnessed_at, p.post.id)).number
        for said in by_account.values()
        if len(said) > _OF_ONE
    ]


def _against(question: Question, passage: Passage) -> bool:
    text = passage.post.text
    return denies(question, text) or marked("denial", text) or marked("correction", text)


def _disagree(question: Question, met: Sequence[Passage]) -> bool:
    if question.asks == "whether":
        return len({_against(question, p) for p in met}) > 1
    if question.asks != "how_many":
        return False
    said = [numbers(p.post.text) - numbers(question.text) for p in met]
    return any(a and b and not a & b for a, b in combinations(said, 2))


def _shared_out(passages: Sequence[Passage], *, alone: bool) -> list[Passage]:
    """In their order, what an account has above its share after all others; `alone`: one account was asked for."""
    seen: Counter[str] = Counter()
    kept: list[Passage] = []
    over: list[Passage] = []
    for passage in passages:
        author = passage.post.author.id
        seen[author] += 1
        (kept if alone or not author or seen[author] <= _OF_ONE else over).append(passage)
    return [*kept, *over]


def _why(
    question: Question, passage: Passage, met: bool, asked: str, handles: Mapping[str, str]
) -> tuple[str, ...]:
    post = passage.post
    reasons = ["names the topic" if met else "near the topic"] if question.concepts else []
    reasons += [_CLASSES[passage.author_class]] if passage.author_class in _CLASSES else []
    if passage.independent_authors > 1:
        reasons.append(f"{passage.independent_authors} independent accounts")
    elif passage.duplicates > 1:
        reasons.append(f"{passage.duplicates} copies count as one")
    reasons += [asked] if asked else []
    for ref, how in ((post.reply_to, "in reply to"), (post.quote_of, "quotes")):
        if ref in handles:
            reasons.append(f"{how} @{handles[ref]}" if handles[ref] else f"{how} another of these")
    return tuple(reasons)
