"""Pick and order the sentences of posts that answer a question, each with its standing; pure, and it rewrites none.

A later post of the same author, or of a listed authority, replaces an earlier one on the same matter. Who is not a
listed authority or press account is only quoted as saying so; nobody but an authority is taken at their word on who
won.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from math import log2, log10

from voxpop.messages import Claim, Passage, Standing
from voxpop.questions import Question
from voxpop.text import HANDLE, bare, dates, family, fold, lexicon, names, numbers, sentences, shingles, words
from voxpop.times import MICROS

_SCORE = 1.0
_RANK = {"authority": 2, "press": 1, "unknown": 0}
_HALF_LIFE_S = 2 * 3600
_NEAR = 4
_SHOUT = re.compile(r"\b[A-ZÀ-Þ]{5,}\b")


@dataclass(frozen=True, slots=True)
class Evidence:
    """`chosen` answers the question, best first; `superseded` was chosen until a later post replaced it.

    `judged` holds every sentence that was weighed, by score. `disagree`: chosen voices differ on a number.
    """

    chosen: tuple[Claim, ...] = ()
    superseded: tuple[Claim, ...] = ()
    judged: tuple[Claim, ...] = ()
    disagree: bool = False


def numbered(passages: Sequence[Passage], evidence: Evidence) -> tuple[tuple[Passage, ...], Evidence]:
    """The same passages and claims under their final numbers: the chosen ones first, in their order, from 1."""
    order = dict.fromkeys([c.number for c in evidence.chosen] + [p.number for p in passages])
    new = {old: n for n, old in enumerate(order, 1)}
    moved = sorted((replace(p, number=new[p.number]) for p in passages), key=lambda p: p.number)

    def move(claims: Iterable[Claim]) -> tuple[Claim, ...]:
        return tuple(replace(c, number=new[c.number], by=c.by and new[c.by]) for c in claims)

    chosen, superseded, judged = map(move, (evidence.chosen, evidence.superseded, evidence.judged))
    return tuple(moved), Evidence(chosen, superseded, judged, evidence.disagree)


@lru_cache(maxsize=16)
def sign(kind: str) -> re.Pattern[str]:
    """The pattern of a kind of sign (`correction`, `hedge`, `negation`, …), to be searched in folded text."""
    spaced = [p for p in lexicon("signs")[kind] if p.isascii()]
    cjk = [p for p in lexicon("signs")[kind] if not p.isascii()]
    pattern = rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)"
    return re.compile("|".join([pattern, *cjk]))


def weigh(question: Question, passages: Sequence[Passage], now: int, limit: int = 3) -> Evidence:
    """Evidence for `question` in `passages` at `now` (microseconds): at most `limit` chosen sentences."""
    judged = [claim for p in passages for claim in _claims(question, p, now)]
    judged = _supersede(judged, {p.number: p for p in passages})
    judged.sort(key=lambda c: (-c.score, c.number))
    fit = [c for c in judged if c.score >= _SCORE]
    standing = [c for c in fit if c.standing != "superseded"]
    chosen = _varied(standing, passages, limit)
    replaced = tuple(c for c in fit if c.standing == "superseded")
    return Evidence(chosen, replaced, tuple(judged), question.asks == "how_many" and _differ(chosen, question))


def is_statement(sentence: str) -> bool:
    """Whether a sentence can support anything: a question, a bare tag or a shout of two words cannot."""
    plain = HANDLE.sub("", bare(sentence)).strip()
    cjk = not plain.isascii() and len(plain) >= 6
    asks = re.search(r"[?？]", plain) or sign("asking").search(fold(plain))
    return not asks and (len(words(plain)) >= 3 or cjk)


def answers(question: Question, sentence: str) -> bool:
    """Whether a sentence holds the kind of thing that is asked for: a number, a place, a name, a time, a reason."""
    flat = fold(sentence)
    if question.about_result and (sign("supposed").search(flat) or not _tells(sentence)):
        return False
    if question.asks == "how_many":
        return _counts(question, sentence)
    if question.asks == "when":
        return bool(sign("when").search(flat) or dates(sentence))
    if question.asks == "why":
        return bool(sign("why").search(flat))
    if question.asks == "where":
        return bool(_place().search(sentence))
    if question.asks == "who":
        known = question.names.union(*(c.kin for c in question.concepts))
        return bool(_named(sentence, question.about_result) - known)
    return True


def _tells(sentence: str) -> bool:
    return bool(family("won") & frozenset(words(sentence)))


def _counts(question: Question, sentence: str) -> bool:
    # "30 shots were fired" does not count gunmen: the number must stand near what is counted.
    said = words(sentence)
    kin = frozenset().union(*(c.kin for c in question.concepts if c.word not in question.names))
    things = [i for i, w in enumerate(said) if w in kin]
    counts = [i for i, w in enumerate(said) if numbers(w)]
    fresh = numbers(sentence) - numbers(question.text)
    return bool(fresh) and (not kin or any(abs(i - j) <= _NEAR for i in things for j in counts))


@lru_cache(maxsize=1)
def _place() -> re.Pattern[str]:
    return re.compile(
        rf"(?i:\b{lexicon('signs')['where'][0]})\s+(?:(?i:the|le|la|les|l'|el|los|dem|der|das|o)\s+)?[#@]?[A-ZÀ-Þ]\w"
    )


def _named(sentence: str, first_counts: bool) -> set[str]:
    body = re.sub(r"^[A-Z\s]{4,}\W+|^[^:]{3,25}:\s+", "", sentence)
    found = {part for name in names(body) for part in words(name)} - {fold(w) for w in _SHOUT.findall(body)}
    opening = re.match(r"\W*([A-ZÀ-Þ][\w’'-]+)\s+((?:[\w’'-]+\s*){1,3})", body)
    if opening and (opening[2][0].isupper() or (first_counts and _tells(opening[2]))):
        found.add(fold(opening[1]))
    return {w for w in found if len(w) > 1}


def _claims(question: Question, passage: Passage, now: int) -> Iterable[Claim]:
    post = passage.post
    whole = frozenset(words(post.text)) | frozenset(w for m in post.media for w in words(m.alt))
    if not question.met_by(whole):
        return
    reach = question.coverage(whole)
    context = _weight(passage, now) + 0.3 * reach
    if question.about_result and passage.author_class == "authority":
        context += 0.6
    for sentence in sentences(post.text):
        if is_statement(sentence) and (text := bare(sentence)):
            score = context + 0.7 * question.coverage(frozenset(words(text))) + _manner(question, text)
            yield Claim(passage.number, text, _standing(question, passage), round(score, 4))


def _weight(passage: Passage, now: int) -> float:
    post = passage.post
    age_s = max(0.0, (now - post.witnessed_at) / MICROS)
    return float(
        0.18 * _RANK[passage.author_class]
        + min(0.25, 0.07 * log2(passage.independent_authors))
        + min(0.2, 0.06 * log10(1 + post.engagement.likes + post.engagement.reposts))
        + 0.25 * 0.5 ** (age_s / _HALF_LIFE_S)
        - (0.25 if post.text.lstrip(". ").startswith("@") else 0.0)
    )


def _manner(question: Question, sentence: str) -> float:
    flat = fold(sentence)
    feelings = len(sign("feeling").findall(flat))
    return (
        (0.3 if answers(question, sentence) else -0.6)
        + (0.45 if question.asks == "who" and sign("identity").search(flat) else 0.0)
        - min(0.5, 0.2 * feelings)
        - (0.15 if sentence.isupper() else 0.0)
        - (0.1 if "!" in sentence else 0.0)
        - (0.1 if len(words(sentence)) < 5 else 0.0)
    )


def _standing(question: Question, passage: Passage) -> Standing:
    trusted = ("authority",) if question.about_result else ("authority", "press")
    return "stated" if passage.author_class in trusted else "attributed"


def _supersede(claims: list[Claim], passages: dict[int, Passage]) -> list[Claim]:
    by: dict[int, int] = {}
    for i, j in combinations(range(len(claims)), 2):
        a, b = (i, j) if _when(claims[i], passages) <= _when(claims[j], passages) else (j, i)
        if claims[a].number != claims[b].number and _replaces(claims[b], claims[a], passages):
            by[a] = claims[b].number
    return [replace(c, standing="superseded", by=by[i]) if i in by else c for i, c in enumerate(claims)]


def _when(claim: Claim, passages: dict[int, Passage]) -> int:
    return passages[claim.number].post.witnessed_at


def _replaces(later: Claim, earlier: Claim, passages: dict[int, Passage]) -> bool:
    new, old = passages[later.number], passages[earlier.number]
    same = bool(new.post.author.id) and new.post.author.id == old.post.author.id
    above = new.author_class == "authority" and old.author_class != "authority"
    if not (same or above) or new.post.witnessed_at == old.post.witnessed_at:
        return False
    if _overlap(later.text, earlier.text) < 0.5:
        return False
    corrects = bool(sign("correction").search(fold(new.post.text)))
    revised = same and bool(numbers(later.text)) and bool(numbers(earlier.text) - numbers(later.text))
    return corrects or revised


def _overlap(a: str, b: str) -> float:
    one, two = (frozenset(w for w in words(t) if len(w) > 3 or w.isdigit()) for t in (a, b))
    plain_one, plain_two = ({w for w in s if not w.isdigit()} for s in (one, two))
    smaller = min(len(plain_one), len(plain_two))
    return len(plain_one & plain_two) / smaller if smaller else 0.0


def _varied(claims: list[Claim], passages: Sequence[Passage], limit: int) -> tuple[Claim, ...]:
    authors = {p.number: p.post.author.id for p in passages}
    chosen: list[Claim] = []
    for claim in claims:
        mine = shingles(claim.text)
        alike = any(len(mine & s) > 0.5 * min(len(mine), len(s)) for s in (shingles(c.text) for c in chosen))
        crowded = authors[claim.number] and sum(authors[c.number] == authors[claim.number] for c in chosen) >= 2
        weak = bool(chosen) and claim.score < chosen[0].score - 0.45
        if not (alike or crowded or weak):
            chosen.append(claim)
        if len(chosen) == limit:
            break
    return tuple(chosen)


def _differ(chosen: Sequence[Claim], question: Question) -> bool:
    asked = numbers(question.text)
    said = [numbers(c.text) - asked for c in chosen]
    return any(a and b and not a & b for a, b in combinations(said, 2))
