"""What the posts of a moment answer, as a position that can be compared; pure, and it writes no sentence.

Two texts that say the same give the same position. It holds until a post contradicts it, or those that carry it are
gone: neither age nor rank nor number of copies moves it.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from voxpop import stances
from voxpop.calls import ruled
from voxpop.evidence import Evidence, answers
from voxpop.messages import Claim, Passage
from voxpop.questions import Question
from voxpop.results import calls
from voxpop.signs import sign
from voxpop.text import fold

Stance = Literal["unknown", "yes", "no", "contested", "not declared", "declared", "told"]
Why = Literal[
    "answered", "affirmed", "denied", "contested", "settled", "confirmed", "declared", "changed", "revised",
    "retracted", "gone",
]  # fmt: skip

_FIT = 1.0
_RANK = {"authority": 2, "press": 1}
_HEARD = 4  # a side with a fourth of the other's voices is heard
_POSTS = 8


@dataclass(frozen=True, slots=True)
class Position:
    """What is said, and by which posts.

    `said` has the figures, names, places, times or words of the matter that are told, in one spelling. `confirmed`:
    a listed account says so. `posts` are the ids of the posts that carry it, those of both sides where it is
    contested.
    """

    stance: Stance = "unknown"
    said: tuple[str, ...] = ()
    confirmed: bool = False
    posts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flip:
    """An answer that is another one now; `posts` are the ids of those that made it so, or that are gone."""

    why: Why
    before: Position
    after: Position
    posts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Voice:
    """A claim that is heard, with its passage."""

    claim: Claim
    passage: Passage

    @property
    def rank(self) -> int:
        return _RANK.get(self.passage.author_class, 0)

    @property
    def at(self) -> tuple[int, str]:
        return self.passage.post.witnessed_at, self.passage.post.id

    @property
    def id(self) -> str:
        return self.passage.post.id


def position(
    question: Question, passages: Sequence[Passage], evidence: Evidence, before: Position | None = None
) -> Position:
    """What `evidence` answers. `before` is what was held: a post that carries it keeps its say while it stands."""
    if question.about_result:
        return _result(question, passages, evidence)
    held = frozenset(before.posts if before else ())
    by_number = {p.number: p for p in passages}
    fit = [c for c in evidence.judged if c.score >= _FIT and not by_number[c.number].tone]
    voices = [v for v in (_Voice(c, by_number[c.number]) for c in fit) if _answers(question, v)]
    told = {v.claim.number for v in voices}
    voices = [v for v in voices if not _replaced(v.claim, told, by_number)]
    if question.asks == "whether":
        return _whether(question, voices, held)
    if question.asks in ("what", "why"):
        return _matter(question, voices, held)
    return _told({v: stances.told(question, v.claim.text) for v in voices}, held)


def _answers(question: Question, voice: _Voice) -> bool:
    """Whether a claim takes a stand on the question, in a way that can be compared."""
    text = voice.claim.text
    if not stances.speaks_of(question, text, voice.passage.post):
        return False
    if question.asks == "whether":
        return True
    return answers(question, text) and (question.asks in ("what", "why") or bool(stances.told(question, text)))


def _replaced(claim: Claim, told: Container[int], passages: Mapping[int, Passage]) -> bool:
    """Whether a later post took a claim's place: it answers too, or says that this was wrong.

    One that answers nothing itself leaves the earlier in its place: else a remark of its author would unsay it.
    """
    if claim.standing != "superseded" or claim.by is None:
        return False
    return claim.by in told or bool(sign("correction").search(fold(passages[claim.by].post.text)))


def _result(question: Question, passages: Sequence[Passage], evidence: Evidence) -> Position:
    """Only an authority declares, and its last word holds (calls.py)."""
    led, result = ruled(question, passages, evidence)
    if result != "declared":
        return Position("not declared")
    lead = next(p for p in passages if p.number == led.chosen[0].number)
    others = [p for p in passages if calls(p) & calls(lead) and p.number != lead.number]
    ids = (lead.post.id, *sorted(p.post.id for p in others))
    return Position("declared", stances.people(question, led.chosen[0].text), True, ids[:_POSTS])


def _whether(question: Question, voices: Sequence[_Voice], held: frozenset[str]) -> Position:
    newest = _newest_of_each_author(voices)
    rank = max((v.rank for v in newest), default=0)
    sides: dict[bool, list[_Voice]] = {True: [], False: []}
    for voice in newest:
        if voice.rank == rank:
            sides[not stances.denied(question, voice.claim.text)].append(voice)
    yes, no = sides[True], sides[False]
    if not rank:
        yes, no = _heard(yes, no, held), _heard(no, yes, held)
    confirmed = rank > 0
    if yes and no:
        return Position("contested", (), confirmed, _ids([*_ordered(yes)[:2], *_ordered(no)[:2]]))
    if not (yes or no):
        return Position()
    return Position("yes" if yes else "no", (), confirmed, _ids(yes or no))


def _newest_of_each_author(voices: Iterable[_Voice]) -> list[_Voice]:
    last: dict[str, _Voice] = {}
    for voice in voices:
        who = voice.passage.post.author.id or voice.id
        # Of one post's sentences the one that answers best is its say.
        if who not in last or (voice.at, voice.claim.score) > (last[who].at, last[who].claim.score):
            last[who] = voice
    return list(last.values())


def _heard(side: list[_Voice], other: Sequence[_Voice], held: frozenset[str]) -> list[_Voice]:
    """A few voices against many are not heard; who was heard once stays heard while the post stands."""
    if any(v.id in held for v in side) or _HEARD * _crowd(side) >= _crowd(other):
        return side
    return []


def _crowd(side: Iterable[_Voice]) -> int:
    return sum(v.passage.independent_authors for v in side)


def _told(said: Mapping[_Voice, tuple[str, ...]], held: frozenset[str]) -> Position:
    """Of listed accounts the newest of the best class has the word; others must agree to be told as one."""
    if not said:
        return Position()
    rank = max(v.rank for v in said)
    best = [v for v in said if v.rank == rank]
    if rank:
        newest = max(best, key=lambda v: v.at)
        return Position(
            "told", said[newest], True, _ids([v for v in best if _agree(said[v], said[newest])], newest)
        )
    best = [v for v in best if _heard([v], [o for o in best if not _agree(said[o], said[v])], held)]
    if any(not _agree(said[a], said[b]) for a, b in combinations(best, 2)):
        return Position("contested", (), False, _ids(best))
    lead = max(best, key=lambda v: (v.claim.score, v.at))
    return Position("told", said[lead], False, _ids(best, lead))


def _matter(question: Question, voices: Sequence[_Voice], held: frozenset[str]) -> Position:
    """What was told is kept while its post stands, until a later voice of its class or above tells it otherwise."""
    if not voices:
        return Position()
    kept = [v for v in voices if v.id in held]
    lead = min(kept or voices, key=lambda v: (-v.rank, -v.claim.score, v.id))
    later = [v for v in voices if v.at > lead.at and v.rank >= lead.rank and v.rank]
    against = [v for v in later if stances.contradicts(v.claim.text, lead.claim.text)]
    lead = max(against, key=lambda v: v.at, default=lead)
    return Position("told", stances.matter(lead.claim.text, question.lang), lead.rank > 0, (lead.id,))


def _ordered(voices: Iterable[_Voice]) -> list[_Voice]:
    return sorted(voices, key=lambda v: (-v.rank, -v.claim.score, v.id))


def _ids(voices: Iterable[_Voice], first: _Voice | None = None) -> tuple[str, ...]:
    """The ids of the posts, the first one first, then the best; stable whatever the order that they came in."""
    found = [*([first] if first else []), *_ordered(voices)]
    return tuple(dict.fromkeys(v.id for v in found))[:_POSTS]


def _agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the first thing that one tells is told by the other too; the first of both, up to rounding."""
    return stances.equal(one[0], other[0]) or one[0] in other or other[0] in one


def same(one: Position, other: Position) -> bool:
    """Whether two positions say the same, whoever says it."""
    if one.stance != other.stance:
        return False
    if not (one.said and other.said):
        return True
    return stances.alike(one.said, other.said) if len(one.said) > 4 else _agree(one.said, other.said)


def flipped(before: Position, after: Position) -> Flip | None:
    """What became of the answer; None where it says what it said.

    That a listed account now says what only others said is one: the answer was somebody's word and is a statement.
    """
    newly = after.confirmed and not before.confirmed and before.stance in ("yes", "no", "told")
    if same(before, after) and not newly:
        return None
    new = tuple(i for i in after.posts if i not in before.posts)
    gone = tuple(i for i in before.posts if i not in after.posts)
    return Flip(_why(before, after), before, after, new or gone or after.posts)


def _why(before: Position, after: Position) -> Why:
    named: Mapping[Stance, Why] = {"declared": "declared", "contested": "contested", "not declared": "retracted"}
    if before.stance == after.stance:
        return "confirmed" if same(before, after) else "changed" if after.stance == "declared" else "revised"
    if after.stance == "unknown":
        return "gone"
    if before.stance == "unknown":
        return "answered"
    if before.stance == "contested":
        return "settled"
    return named.get(after.stance) or ("affirmed" if after.stance == "yes" else "denied")


def kept(before: Position, after: Position) -> Position:
    """What to hold on to where nothing flipped: the first wording of it, and all posts that carry it now."""
    return replace(after, said=before.said or after.said, confirmed=before.confirmed or after.confirmed)
