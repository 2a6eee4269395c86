"""Pick and order the sentences of posts that answer a question, each with its standing; pure, and it rewrites none.

A later post of the same author, or of a listed authority, replaces an earlier one on the same matter. Who is not a
listed authority or press account is only quoted as saying so; nobody but an authority is taken at their word on who
won, and a lone unlisted voice that calls it is not heard at all.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations
from math import log2, log10

from voxpop.bearing import around, bearing
from voxpop.floods import same_news
from voxpop.matters import states
from voxpop.messages import Claim, Passage, Standing
from voxpop.posts import Post
from voxpop.questions import SCORE, Question, declares
from voxpop.signs import declared, is_statement, opposed, sign, unsure
from voxpop.stances import denies, figures
from voxpop.superseding import RANK, supersede
from voxpop.text import bare, dates, family, fold, lexicon, names, numbers, sentences, shingles, words
from voxpop.times import MICROS

_SCORE = 1.0
_HALF_LIFE_S = 2 * 3600
_NEAR = 4

_OPEN = 0.5
_WEAKER = 0.4
_BEARS, _DOUBT = 2.0, 0.72
_MISSES, _LACKS, _JEST = -2.0, -0.6, 0.5
_SHOUT = re.compile(r"\b[A-ZÀ-Þ]{5,}\b")
_CLOCK = re.compile(r"\b\d{1,2}(?::\d{2}| ?[hH](?:\d{2})?| ?[ap]\.?m)\b")


@dataclass(frozen=True, slots=True)
class Evidence:
    """`chosen` answers the question, best first; `superseded` was chosen until a later post replaced it.

    `judged` holds every sentence that was weighed, by score. `disagree`: chosen voices differ on a number, or on
    yes and no; `stands` says what each does, by its text.
    """

    chosen: tuple[Claim, ...] = ()
    superseded: tuple[Claim, ...] = ()
    judged: tuple[Claim, ...] = ()
    disagree: bool = False
    stands: Mapping[str, str] = field(default_factory=dict)


def numbered(passages: Sequence[Passage], evidence: Evidence) -> tuple[tuple[Passage, ...], Evidence]:
    """The same passages and claims under their final numbers: the chosen ones first, in their order, from 1."""
    order = dict.fromkeys([c.number for c in evidence.chosen] + [p.number for p in passages])
    new = {old: n for n, old in enumerate(order, 1)}
    moved = sorted((replace(p, number=new[p.number]) for p in passages), key=lambda p: p.number)

    def move(claims: Iterable[Claim]) -> tuple[Claim, ...]:
        return tuple(replace(c, number=new[c.number], by=c.by and new[c.by]) for c in claims)

    chosen, superseded, judged = map(move, (evidence.chosen, evidence.superseded, evidence.judged))
    return tuple(moved), Evidence(chosen, superseded, judged, evidence.disagree, evidence.stands)


def weigh(question: Question, passages: Sequence[Passage], now: int, limit: int = 3) -> Evidence:
    """Evidence for `question` in `passages` at `now` (microseconds): at most `limit` chosen sentences."""
    posts = {p.post.id: p.post for p in passages}
    judged = [claim for p in passages for claim in _claims(question, p, posts, now)]
    judged = supersede(question, judged, {p.number: p for p in passages}, lambda text: answers(question, text))
    judged.sort(key=lambda c: (-c.score, c.number, c.text))
    fit = [c for c in judged if c.score >= _SCORE]
    standing = [c for c in fit if c.standing != "superseded"]
    if question.about_result:
        standing = _without_lone_calls(standing, {p.number: p for p in passages})
    chosen = _varied(question, standing, passages, limit)
    against = _denial(question, standing, chosen, {p.number: p for p in passages})
    if against:
        chosen = (against, *(c for c in chosen if c != against))[:limit]
    replaced = tuple(c for c in fit if c.standing == "superseded")
    by_number = {p.number: p for p in passages}
    stands = _stands(question, [c for c in chosen if not by_number[c.number].jests])
    disagree = _disagree(stands.values())
    if disagree:
        chosen, judged = tuple(_contested(chosen, by_number)), _contested(judged, by_number)
    return Evidence(chosen, replaced, tuple(judged), disagree, stands)


def _contested(claims: Iterable[Claim], passages: Mapping[int, Passage]) -> list[Claim]:
    """Where voices disagree, what the press says is only said by it; an authority's word stands."""
    return [
        replace(c, standing="attributed")
        if c.standing == "stated" and passages[c.number].author_class != "authority"
        else c
        for c in claims
    ]


def _denial(
    question: Question, claims: Sequence[Claim], chosen: Sequence[Claim], passages: Mapping[int, Passage]
) -> Claim | None:
    """Where a yes or no is asked and the best says yes: the newest listed voice that has denied it since."""
    if question.asks != "whether" or not chosen or denies(question, chosen[0].text):
        return None
    said = _when(chosen[0], passages)
    listed = [c for c in claims if passages[c.number].listed and _when(c, passages) > said]
    against = [c for c in listed if denies(question, c.text)]
    return max(against, key=lambda c: _when(c, passages), default=None)


def worth(question: Question, passages: Sequence[Passage]) -> dict[int, float]:
    """Of each passage's number the score of its best sentence, however old; a passage without one is left out."""
    posts = {p.post.id: p.post for p in passages}
    scores = {p.number: [c.score for c in _claims(question, p, posts, p.post.witnessed_at)] for p in passages}
    return {number: max(found) for number, found in scores.items() if found}


def _without_lone_calls(claims: list[Claim], passages: dict[int, Passage]) -> list[Claim]:
    """Unlisted accounts that call a result count only where no listed one speaks, and only when two do."""
    listed = any(passages[c.number].listed for c in claims)
    calls = [c for c in claims if not passages[c.number].listed and declared(c.text)]
    earnest = [passages[c.number] for c in calls if not passages[c.number].jests]
    callers = {p.post.author.id or str(p.number) for p in earnest}
    return [c for c in claims if c not in calls] if listed or len(callers) < 2 else claims


def answers(question: Question, sentence: str) -> bool:
    """Whether a sentence holds the kind of thing that is asked for: a number, a place, a name, a time, a reason."""
    flat = fold(sentence)
    if question.about_result and (unsure(sentence) or sign("supposed").search(flat) or not _tells(sentence)):
        return False
    denies = sign("negation").search(flat)
    if question.about_result and question.asks == "whether" and not (denies or question.names_in(sentence)):
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
        if any(c.word in family("name") for c in question.concepts) and not sign("identity").search(flat):
            return False
        known = question.names.union(*(c.kin for c in question.concepts))
        return bool(_named(sentence, question.about_result) - known)
    return True


def _tells(sentence: str) -> bool:
    return declares(frozenset(words(sentence)))


def _counts(question: Question, sentence: str) -> bool:
    # "30 shots were fired" counts no gunmen: the number must stand near what is counted. A time counts nothing.
    timeless = _CLOCK.sub(" ", sentence)
    said = words(timeless)
    things = [i for i, w in enumerate(said) if w in question.counted]
    counts = [i for i, w in enumerate(said) if numbers(w)]
    fresh = numbers(timeless) - numbers(question.text)
    if SCORE.search(timeless) and question.asks_score:
        return True
    return bool(fresh) and (not question.counted or any(abs(i - j) <= _NEAR for i in things for j in counts))


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


def _claims(question: Question, passage: Passage, posts: Mapping[str, Post], now: int) -> Iterable[Claim]:
    post = passage.post
    name = "" if passage.jests else post.author.name  # who plays somebody does not speak of what he does
    owner = frozenset(words(f"{name} {post.author.handle}")) & question.names
    whole = _terms(question, _context(post, posts)) | owner
    if not question.met_by(whole) or not (question.concepts or question.asks == "what"):
        return
    # A question without a topic ("what is going on?") is met by anything: who says it and how many decide.
    context = _weight(passage, now) + 0.3 * question.coverage(whole) + (0.0 if question.concepts else _OPEN)
    if question.about_result and passage.author_class == "authority":
        context += 0.6
    said = list(spoken(question, post.text))
    abroad = bool(post.lang) and post.lang != question.lang
    for i, text in enumerate(said):
        if _of_itself(question, text, owner):
            continue
        heard = _terms if question.asks in ("whether", "what") or answers(question, text) else Question.terms
        here = question.coverage(heard(question, text) | owner)
        score = context + 0.7 * here + _manner(question, text)
        if question.concepts and not question.about_result:
            taken = f"{around(said, i)}\n{' '.join(owner)}{_before(post, posts)}"
            bears = bearing(question, text, taken, abroad=abroad) - _DOUBT
            score += _BEARS * (bears if here else min(0.0, bears))  # its post alone does not make it an answer
        yield Claim(passage.number, text, _standing(question, passage), round(score, 4))


def _of_itself(question: Question, sentence: str, owner: frozenset[str]) -> bool:
    """Whether an account tells of itself where somebody else is asked about: `I called X` is not what X did."""
    if not question.names or owner or not sign("myself").search(fold(sentence)):
        return False
    return not question.met_by(question.terms(sentence))


def _terms(question: Question, text: str) -> frozenset[str]:
    """The words of a text, and those of the question whose opposite it tells: `open` speaks of `closed`."""
    terms = question.terms(text)
    if sign("planned").search(fold(text)):
        return terms
    pairs = [(one, other) for pair in states() for one, other in (pair, pair[::-1])]
    met = (c.word for c in question.concepts if any(c.word in one and other & terms for one, other in pairs))
    return terms.union(met)


def _context(post: Post, posts: Mapping[str, Post]) -> str:
    """A post's text and pictures, and the text of those that it answers or quotes: it speaks of what they do."""
    return "\n".join([post.text, *(m.alt for m in post.media)]) + _before(post, posts)


def _before(post: Post, posts: Mapping[str, Post]) -> str:
    return "".join(f"\n{posts[ref].text}" for ref in (post.reply_to, post.quote_of) if ref in posts)


def spoken(question: Question, text: str) -> Iterable[str]:
    """The statements of a post; a heading that answers only with the sentence after it comes with that sentence."""
    said = [bare(s) for s in sentences(text)]
    for i, sentence in enumerate(said):
        if not is_statement(sentence):
            continue
        pair = " ".join(said[i : i + 2])
        alone = answers(question, sentence) or i + 1 == len(said) or answers(question, said[i + 1])
        yield sentence if alone or not (is_statement(pair) and answers(question, pair)) else pair


def _weight(passage: Passage, now: int) -> float:
    post = passage.post
    age_s = max(0.0, (now - post.witnessed_at) / MICROS)
    return float(
        0.18 * max(0, RANK[passage.author_class] - 1)
        + min(0.25, 0.07 * log2(passage.independent_authors))
        + min(0.2, 0.06 * log10(1 + post.engagement.likes + post.engagement.reposts))
        + 0.25 * 0.5 ** (age_s / _HALF_LIFE_S)
        - (0.25 if post.text.lstrip(". ").startswith("@") else 0.0)
        - (_JEST if passage.jests else 0.0)
    )


def _strict(question: Question) -> bool:
    return question.about_result or question.asks == "how_many"


def _manner(question: Question, sentence: str) -> float:
    flat = fold(sentence)
    feelings = len(sign("feeling").findall(flat))
    return (
        (0.3 if answers(question, sentence) else _MISSES if _strict(question) else _LACKS)
        + (0.45 if question.asks == "who" and sign("identity").search(flat) else 0.0)
        - min(0.5, 0.2 * feelings)
        - (0.15 if sentence.isupper() else 0.0)
        - (0.1 if "!" in sentence else 0.0)
        - (0.1 if len(words(sentence)) < 5 else 0.0)
    )


def _standing(question: Question, passage: Passage) -> Standing:
    trusted = ("authority",) if question.about_result else ("authority", "press")
    return "stated" if passage.author_class in trusted and not passage.jests else "attributed"


def _when(claim: Claim, passages: Mapping[int, Passage]) -> int:
    return passages[claim.number].post.witnessed_at


def _varied(question: Question, claims: list[Claim], passages: Sequence[Passage], limit: int) -> tuple[Claim, ...]:
    authors = {p.number: p.post.author.id for p in passages}
    chosen: list[Claim] = []
    for claim in claims:
        alike = any(_alike(claim.text, c.text) for c in chosen)
        crowded = authors[claim.number] and sum(authors[c.number] == authors[claim.number] for c in chosen) >= 2
        weak = bool(chosen) and claim.score < chosen[0].score - _WEAKER
        beside = bool(chosen and question.concepts) and not question.coverage(question.terms(claim.text))
        if not (alike or crowded or weak or beside):
            chosen.append(claim)
        if len(chosen) == limit:
            break
    return tuple(chosen)


def _alike(one: str, other: str) -> bool:
    """Whether two texts say one thing in nearly one wording; another number or state is another thing."""
    mine, theirs = shingles(one), shingles(other)
    return len(mine & theirs) > 0.5 * min(len(mine), len(theirs)) and same_news(one, other)


def _stands(question: Question, claims: Sequence[Claim]) -> dict[str, str]:
    """By its text what each claim says where a yes or no, or a number, is asked; those left out say neither."""
    if question.asks == "whether":
        return {c.text: "no" if _against(question, c.text) else "yes" for c in claims}
    told = {c.text: figures(question, c.text)[:1] for c in claims} if question.asks == "how_many" else {}
    whole = {text: _total(text) for text in told}  # three adults and two children are the five of another
    found = {text: n for text, n in told.items() if not any(whole[text] in o for t, o in told.items() if t != text)}
    return {text: ", ".join(n) for text, n in found.items() if n}


def _against(question: Question, text: str) -> bool:
    """Whether a text says no to what is asked, by denial or by the opposite; `not open` is none of `closed`."""
    flat = fold(text)
    plain = not (sign("negation").search(flat) or sign("planned").search(flat))
    return denies(question, text) or bool(plain and opposed(question.text, text))


def _total(text: str) -> str:
    counts = [int(n) for n in numbers(text) if n.isdigit()]
    return str(sum(counts)) if len(counts) > 1 else ""


def _disagree(stands: Iterable[str]) -> bool:
    """Whether any two say nothing in common."""
    return any(not set(a.split(", ")) & set(b.split(", ")) for a, b in combinations(stands, 2))
