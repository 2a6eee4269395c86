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
from voxpop.evidence import Evidence, answers
from voxpop.kana import katakana, sounds_in
from voxpop.messages import Claim, Passage, Result
from voxpop.posts import Post
from voxpop.questions import Concept, Question, is_place, result_words
from voxpop.results import (
    asked,
    calls,
    in_no_ones_name,
    is_common,
    kinds,
    may_call,
    own_sentences,
    partly,
    races,
    retracts,
    years,
)
from voxpop.settling import headed, is_earlier, only_asks, past, settled, year_before
from voxpop.text import bare, keywords, names, numbers, words
from voxpop.times import MICROS, iso

_RECENT = 60 * 86400 * MICROS


def licensed(
    question: Question, passages: Iterable[Passage], authorities: Authorities, now: int
) -> tuple[Passage, ...]:
    """The passages, each with the kinds of result that its author may call for what is asked at `now`."""
    said = frozenset(words(question.text)).union(c.word for c in question.concepts)
    return tuple(replace(p, calls=_kinds(question, p.post, authorities, said, now)) for p in passages)


def _kinds(
    question: Question, post: Post, authorities: Authorities, said: frozenset[str], now: int
) -> tuple[str, ...]:
    if authorities.classify(post.author) != "authority" or not _in_time(question, post, now):
        return ()
    # Who is bound to a place calls nothing where the question does not name it: a part is not the whole.
    year = _year(post.witnessed_at)
    return tuple(k for k in kinds() if authorities.may_call(post.author, k, said, year))


def _in_time(question: Question, post: Post, now: int) -> bool:
    """Whether a post can tell of the year that is asked, which is this one where the question names none."""
    wanted, named = years(question.text), years(post.text)
    if not wanted and is_earlier(question.text):
        if not year_before(question.text):
            return False
        wanted = frozenset({_year(now) - 1})
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
    chosen = tuple(c for c in chosen if _of_now(question, c, by_number[c.number]))
    speak = [p for p in passages if any(may_call(p, kind) for kind in wanted) and _same_race(question, p)]
    last = max((p for p in speak if calls(p) & wanted or retracts(p)), key=_when, default=None)
    lead = _word(last, wanted, evidence) if last else None
    called = bool(last and lead and calls(last) & wanted)
    # Who asks for the margin is not answered by who won.
    if lead and (question.asks != "how_many" or answers(question, lead.text)):
        chosen = (lead, *(c for c in chosen if (c.number, c.text) != (lead.number, lead.text)))
        chosen = chosen[: max(len(evidence.chosen), 1)]
    return replace(evidence, chosen=chosen), "declared" if called else "not declared"


def _of_now(question: Question, claim: Claim, passage: Passage) -> bool:
    """Whether a sentence can tell of what is asked: not where it is of an earlier race, or only asks as well."""
    if only_asks(claim.text):
        return False
    if is_earlier(question.text):
        return True
    named = years(claim.text)
    wanted = years(question.text) or frozenset({_year(passage.post.witnessed_at)})
    return not past(claim.text) and (not named or bool(named & wanted))


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
    said = [bare(s) for s in own_sentences(passage) if fits(s)]
    return Claim(passage.number, said[0], "stated", 1.0) if said else None


def _calls_it(text: str, wanted: frozenset[str]) -> bool:
    return bool(settled(text) & wanted)


def official(question: Question, passages: Sequence[Passage]) -> list[Passage]:
    """What authorities say of the result that is asked, the newest first."""
    wanted = asked(question)
    spoken = [p for p in passages if p.author_class == "authority" and (calls(p) & wanted or retracts(p))]
    return sorted((p for p in spoken if _same_race(question, p)), key=_when, reverse=True)


def _same_race(question: Question, passage: Passage) -> bool:
    """Whether a post speaks of the race that is asked: of its office, of its place, of half of what else it names.

    Who stands need not be named in a declaration of that office: another may have won.
    """
    post, author = passage.post.text, passage.post.author
    asks = " ".join([question.text, *(c.word for c in question.concepts)])
    meant, told = races(asks), races(post)
    if (meant and not meant & told) or partly("other", asks) != partly("other", post):
        return False
    rest = [c for c in question.concepts if not (c.word in result_words() or c.word.isdigit() or is_common(c.word))]
    named = [c for c in rest if c.word in question.names]
    calls_it = [s for s in own_sentences(passage) if settled(s)]
    calling, opened = " ".join(calls_it), bool(calls_it) and all(headed(s) for s in calls_it)
    part = opened or (partly("region", calling if races(calling) else post) and not partly("region", asks))
    if part and (meant or not (named and _covers(question, named, calling if opened else post))):
        return False
    if meant or results.asks_call(question.text):
        here = frozenset(words(question.text))
        named = [c for c in named if c.word not in here or is_place(c.word, question.text)]
    topics = [] if meant else [c for c in rest if c.word not in question.names]
    whole = f"{post}\n{author.name} {author.handle}"
    if any(_foreign(c.word) for c in rest):
        return _sounds(question, [c.word for c in rest if _foreign(c.word)], whole, bool(meant))
    return _covers(question, named, whole) and _covers(question, topics, whole)


def _foreign(word: str) -> bool:
    return katakana(word) == [word]


def _sounds(question: Question, heard: Sequence[str], whole: str, meant: bool) -> bool:
    """Whether a post in another script names whom and where a question in Japanese does, by their sound."""
    if meant:  # who stands need not have won; where it was must be named
        heard = [w for w in heard if re.search(re.escape(w) + "(?:の|で|における|大統領|市長|知事)", question.text)]
    said = words(whole)
    return all(word in whole or sounds_in(word, said) for word in heard)


def _covers(question: Question, concepts: Sequence[Concept], text: str) -> bool:
    part = replace(question, concepts=tuple(concepts))
    return not concepts or part.coverage(question.terms(text)) >= 0.5


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
