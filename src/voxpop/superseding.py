"""Mark the claims that a later post replaces: by a correction, a denial, a new value or state; pure.

On a doubt it replaces nothing: another place, flight or person is another matter; a lower class corrects nobody.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations

from voxpop.matters import Value, content, denied, marked, states, subjects, values
from voxpop.messages import Claim, Passage
from voxpop.questions import Question
from voxpop.signs import sign, unsure
from voxpop.text import family, fold, words
from voxpop.times import MICROS

RANK = {"authority": 3, "press": 2, "organisation": 1, "person": 0, "unknown": 0}
_SAME = 0.5  # of the shorter sentence's content
_APART = 10 * 60 * MICROS  # two peers that differ within it disagree: nobody is corrected

Fits = Callable[[str], bool]


def supersede(
    question: Question, claims: Iterable[Claim], passages: Mapping[int, Passage], fits: Fits
) -> list[Claim]:
    """The claims, with those that a later one replaces marked by the latest that does.

    `fits` tells whether a text holds the kind of thing that the question asks for.
    """
    listed = list(claims)
    said = {c: _Said(c.text, passages[c.number]) for c in listed}
    order = sorted(said, key=lambda c: (said[c].at, c.number, c.text))
    by: dict[Claim, int] = {}
    for earlier, later in combinations(order, 2):
        if earlier.number != later.number and _replaces(question, said[later], said[earlier], fits):
            by[earlier] = later.number
    return [replace(c, standing="superseded", by=by[c]) if c in by else c for c in listed]


@dataclass(frozen=True)
class _Said:
    """A sentence of a post, read once for all those with which it is compared."""

    text: str
    passage: Passage

    @property
    def at(self) -> int:
        return self.passage.post.witnessed_at

    @property
    def rank(self) -> int:
        return RANK[self.passage.author_class]

    @cached_property
    def own(self) -> frozenset[str]:
        return frozenset(words(self.text))

    @cached_property
    def around(self) -> frozenset[str]:
        """All words of the post: a name may stand in the sentence before."""
        return frozenset(words(self.passage.post.text)) | self.subjects

    @cached_property
    def content(self) -> frozenset[str]:
        return content(self.text)

    @cached_property
    def subjects(self) -> frozenset[str]:
        return subjects(self.text)

    @cached_property
    def values(self) -> tuple[Value, ...]:
        return values(self.text)

    @cached_property
    def denied(self) -> frozenset[str]:
        return denied(self.text)

    def marked(self, kind: str) -> bool:
        return marked(kind, self.text)


def _replaces(question: Question, later: _Said, earlier: _Said, fits: Fits) -> bool:
    if later.at <= earlier.at or later.rank < earlier.rank or later.passage.tone:
        return False
    if unsure(later.text) and not (unsure(earlier.text) or later.marked("denial")):
        return False
    same = _same_author(later, earlier)
    if same and question.asks == "how_many" and _answers_as_well(question, later.text, earlier.text, fits):
        return True
    above = same or later.rank > earlier.rank
    if not (above or _corrects_a_peer(later, earlier)) or _apart(later, earlier):
        return False
    alike = _alike(later, earlier, same)
    if alike and (_contradicts(later, earlier) or later.marked("correction")):
        return True
    return (alike or _named_alike(later, earlier)) and _revises(later, earlier)


def _same_author(later: _Said, earlier: _Said) -> bool:
    author = later.passage.post.author.id
    return bool(author) and author == earlier.passage.post.author.id


def _corrects_a_peer(later: _Said, earlier: _Said) -> bool:
    """Of equals a listed voice, if it says so or speaks later on; of strangers those who are not outnumbered."""
    says_so = any(map(later.marked, ("denial", "correction", "update")))
    if later.rank:
        return says_so or later.at - earlier.at >= _APART
    return says_so and later.passage.independent_authors >= max(2, earlier.passage.independent_authors)


def _answers_as_well(question: Question, later: str, earlier: str, fits: Fits) -> bool:
    new, old = (question.coverage(question.terms(text)) for text in (later, earlier))
    return new >= old and fits(later) and fits(earlier)


def _apart(later: _Said, earlier: _Said) -> bool:
    """Whether each names somebody or some place of which the other's post does not speak."""
    return bool(_unmet(later.subjects, earlier.around) and _unmet(earlier.subjects, later.around))


def _unmet(subjects: frozenset[str], terms: frozenset[str]) -> frozenset[str]:
    return frozenset(s for s in subjects if not family(s) & terms and not _joined(s, terms))


def _joined(name: str, terms: frozenset[str]) -> bool:
    """Whether a hashtag holds the name, or is the name that holds a term."""
    parts = (name[i:j] for i in range(len(name) - 3) for j in range(i + 4, len(name) + 1))
    return len(name) > 3 and (name in _flat(terms) or any(part in terms for part in parts))


@lru_cache(maxsize=1024)
def _flat(terms: frozenset[str]) -> str:
    return " ".join(terms)


def _named_alike(later: _Said, earlier: _Said) -> bool:
    """Whether both name somebody or some place, and the one that names less nobody else."""
    fewer, more = sorted((later, earlier), key=lambda said: len(said.subjects))
    return bool(fewer.subjects) and not _unmet(fewer.subjects, more.around)


def _alike(later: _Said, earlier: _Said, same: bool) -> bool:
    """Whether two sentences are about one thing: half of the shorter's content, and a name if both have any."""
    thread = {later.passage.post.reply_to, later.passage.post.root, later.passage.post.quote_of} - {""}
    close = same or thread & {earlier.passage.post.id, earlier.passage.post.root}
    met = later.subjects - _unmet(later.subjects, earlier.around)
    if later.subjects and earlier.subjects and not (met or close):
        return False
    smaller, larger = sorted((later.content, earlier.content), key=len)
    return bool(smaller) and sum(bool(family(w) & larger) for w in smaller) >= _SAME * len(smaller)


def _contradicts(later: _Said, earlier: _Said) -> bool:
    """Whether the later denies or calls off what the earlier says, or tells the state that ends the earlier's."""
    if any(later.marked(kind) and not earlier.marked(kind) for kind in ("denial", "off")):
        return True
    # Two that deny a thing agree, whatever else stands near the one's negation.
    news = frozenset[str]() if earlier.denied else later.denied - later.subjects
    if any(family(w) & (earlier.content - earlier.denied) for w in news):
        return True
    return not sign("planned").search(fold(later.text)) and any(
        mine & later.own and theirs & earlier.own and not theirs & later.own and not mine & earlier.own
        for pair in states()
        for mine, theirs in (pair, pair[::-1])
    )


def _revises(later: _Said, earlier: _Said) -> bool:
    """Whether the later gives another value of what the earlier counts, times or numbers."""
    for value, things in earlier.values:
        others = {v for v, counted in later.values if any(family(t) & counted for t in things)}
        if others and value not in others:
            return True
    return False
