"""Whether what is asked has been declared: who may call it, what they said last; pure, and it declares nothing.

An authority counts only for the kind, place and year that it is listed for, and for the race that is asked. Its
last word holds: a result that it takes back is none.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from voxpop import results
from voxpop.authorities import Authorities
from voxpop.evidence import Evidence
from voxpop.messages import Claim, Passage, Result
from voxpop.posts import Post
from voxpop.questions import Question, result_words
from voxpop.results import asked, calls, in_no_ones_name, kinds, may_call, retracts, settled, years
from voxpop.text import bare, keywords, names, numbers, words
from voxpop.times import MICROS, iso

_RECENT = 60 * 86400 * MICROS


def licensed(
    question: Question, passages: Iterable[Passage], authorities: Authorities, now: int
) -> tuple[Passage, ...]:
    """The passages, each with the kinds of result that its author may call for what is asked at `now`."""
    said = frozenset(words(question.text))
    return tuple(replace(p, calls=_kinds(question, p.post, authorities, said, now)) for p in passages)


def _kinds(
    question: Question, post: Post, authorities: Authorities, said: frozenset[str], now: int
) -> tuple[str, ...]:
    if not _in_time(question, post, now):
        return ()
    place, year = said | frozenset(words(post.text)), _year(post.witnessed_at)
    return tuple(k for k in kinds() if authorities.may_call(post.author, k, place, year))


def _in_time(question: Question, post: Post, now: int) -> bool:
    """Whether a post can tell of the year that is asked, which is this one where the question names none."""
    wanted, named = years(question.text), years(post.text)
    if wanted:
        return bool(named & wanted) or (not named and _year(post.witnessed_at) in wanted)
    same = _year(post.witnessed_at) == _year(now) or now - post.witnessed_at < _RECENT
    return same and (not named or bool(named & {_year(now), _year(post.witnessed_at)}))


def _year(at: int) -> int:
    return int(iso(at)[:4])


def ruled(question: Question, passages: Sequence[Passage], evidence: Evidence) -> tuple[Evidence, Result]:
    """The evidence led by the authority's last word on the result that is asked, and whether that declares it.

    Who may not call it is only quoted as saying so.
    """
    by_number = {p.number: p for p in passages}
    chosen = tuple(_owned(claim, by_number[claim.number]) for claim in evidence.chosen)
    wanted = asked(question)
    if not wanted:
        return replace(evidence, chosen=chosen), ""
    speak = [p for p in passages if any(may_call(p, kind) for kind in wanted) and _same_race(question, p)]
    last = max((p for p in speak if calls(p) & wanted or retracts(p)), key=_when, default=None)
    lead = _word(last, wanted, evidence) if last else None
    if lead:
        chosen = (lead, *(c for c in chosen if (c.number, c.text) != (lead.number, lead.text)))
        chosen = chosen[: max(len(evidence.chosen), 1)]
    called = bool(last and lead and calls(last) & wanted)
    return replace(evidence, chosen=chosen), "declared" if called else "not declared"


def _when(passage: Passage) -> tuple[int, int]:
    return passage.post.witnessed_at, -passage.number


def _owned(claim: Claim, passage: Passage) -> Claim:
    told = settled(claim.text)
    if claim.standing == "stated" and told and not any(may_call(passage, kind) for kind in told):
        return replace(claim, standing="attributed")
    return claim


def _word(passage: Passage, wanted: frozenset[str], evidence: Evidence) -> Claim | None:
    """The sentence in which an authority calls it, or else takes it back; None where a later one replaced it."""
    calling = bool(calls(passage) & wanted)
    fits = partial(_calls_it, wanted=wanted) if calling else results.denied
    judged = [c for c in evidence.judged if c.number == passage.number and fits(c.text)]
    if judged:
        best = max(judged, key=lambda c: (c.score, c.text))
        return None if best.standing == "superseded" else best
    said = [bare(s) for s in results.own_sentences(passage) if fits(s)]
    return Claim(passage.number, said[0], "stated", 1.0) if said else None


def _calls_it(text: str, wanted: frozenset[str]) -> bool:
    return bool(settled(text) & wanted)


def _same_race(question: Question, passage: Passage) -> bool:
    """Whether a post speaks of the race that is asked: of half of its topics, and of half of its names."""
    author = passage.post.author
    terms = question.terms(f"{passage.post.text}\n{author.name} {author.handle}")
    rest = [c for c in question.concepts if c.word not in result_words() and not c.word.isdigit()]
    topics, named = ([c for c in rest if (c.word in question.names) == of] for of in (False, True))
    shares = (replace(question, concepts=tuple(part)).coverage(terms) for part in (topics, named) if part)
    return all(share >= 0.5 for share in shares)


# -- what a sentence may say ------------------------------------------------------------------------------------


def undeclared(text: str, cited: Sequence[Passage], speakers: Sequence[re.Pattern[str]]) -> str:
    """Why a sentence may not be shown: it tells a result in no one's name that none of its posts' authors declares.

    A mere name says nothing of anybody and could answer anything: it is refused as well.
    """
    told = in_no_ones_name(text, speakers)
    if told and not any(calls(p) & told for p in cited):
        return "states as settled what no listed authority declares"
    if not told and not any(s.search(text.lower()) for s in speakers) and _mere_name(text):
        return "only names somebody"
    return ""


def _mere_name(text: str) -> bool:
    named = {part for name in names(f". {text}") for part in words(name)}
    if not named or numbers(text):
        return False
    return not set(keywords(text)) - named or not any(w[0].islower() for w in re.findall(r"[^\W\d_]+", text))
