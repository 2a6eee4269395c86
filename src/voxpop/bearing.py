"""How likely a sentence of a post answers a question, from their words; pure, and it judges no truth.

A logistic model of a few features of the pair. Its weights (`bearing.toml`) are learnt by `evals/bearing.py` from
questions that people asked of posts and of news, each beside the likest text that does not answer it.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from math import exp, log
from typing import Any

from voxpop.questions import Concept, Question, shown
from voxpop.text import indexed, words

_STEM = 5
_RARE = log(20_000)
_MOST = 3.0
_KIN = 0.6
_SHORT = 60


@dataclass(frozen=True, slots=True)
class _Words:
    """The folded words of a text, and their stems."""

    terms: frozenset[str]
    stems: frozenset[str]

    @classmethod
    def of(cls, text: str) -> "_Words":
        terms = frozenset(indexed(text).split()) | shown(text)
        return cls(terms, frozenset(t[:_STEM] for t in terms))

    def spells(self, concept: Concept) -> bool:
        """Whether the word itself is there, in whatever inflection."""
        return concept.word in self.terms or concept.word[:_STEM] in self.stems

    def holds(self, concept: Concept) -> bool:
        """Whether the word or its kin is there."""
        return bool(concept.kin & self.terms) or self.spells(concept)


def bearing(question: Question, sentence: str, context: str, *, abroad: bool = False) -> float:
    """The probability, 0 to 1, that `sentence` answers `question`.

    `context` is what a reader takes it with (`around`). `abroad`: question and post are in different languages, so
    that a word's kin count as the word itself.
    """
    found = features(question, sentence, context, abroad=abroad)
    weights = _model()["weights"]
    total = _model()["bias"] + sum(weights[name] * value for name, value in found.items())
    return 1 / (1 + exp(-max(-30.0, min(30.0, total))))


def around(spoken: Sequence[str], place: int) -> str:
    """What a reader takes a sentence of a post with: the whole of a short post, else its heading and neighbours."""
    if sum(len(s.split()) for s in spoken) <= _SHORT:
        return "\n".join(spoken)
    near = {0, *range(max(0, place - 1), min(len(spoken), place + 2))}
    return "\n".join(spoken[i] for i in sorted(near))


def threshold() -> float:
    """The least bearing of a sentence that may answer."""
    return float(_model()["threshold"])


def features(question: Question, sentence: str, context: str, *, abroad: bool = False) -> Mapping[str, float]:
    """What the model sees of a pair: shares from 0 to 1, masses of rarity and counts, all bounded."""
    concepts = question.concepts
    rare = [rarity(c.word) for c in concepts]
    total = sum(rare) or 1.0
    whole, own = _Words.of(context), _Words.of(sentence)

    def share(held: Iterable[float]) -> float:
        return sum(r * h for r, h in zip(rare, held, strict=True)) / total

    held = [whole.holds(c) for c in concepts]
    asked, said = set(pairwise(words(question.text))), words(context)
    return {
        "literal": share(h if abroad else whole.spells(c) or _KIN * h for c, h in zip(concepts, held, strict=True)),
        "in_the_sentence": share(own.holds(c) for c in concepts),
        "mass": min(_MOST, share(held) * total),
        "pairs": min(3, len(asked & set(pairwise(said)))),
        "no_topic": float(not concepts),
        "one_topic": float(len(concepts) == 1),
        "long": min(len(said), 50) / 50,
        "met": float(question.met_by(question.terms(context))),
    }


def rarity(word: str) -> float:
    """How much a folded word tells of what a text is about, 0 to 1: little where it is said everywhere."""
    rank = _ranks().get(word)
    return 1.0 if rank is None else min(1.0, log(2 + rank) / _RARE)


@lru_cache(maxsize=1)
def _ranks() -> dict[str, int]:
    """The best rank of each common word in any language."""
    ranks: dict[str, int] = {}
    for listed in _data("common_words").values():
        for rank, word in enumerate(listed.split()):
            ranks[word] = min(rank, ranks.get(word, rank))
    return ranks


@lru_cache(maxsize=1)
def _model() -> dict[str, Any]:
    return _data("bearing")


def _data(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("voxpop").joinpath(f"{name}.toml").read_text("utf-8"))
