"""What a question asks: its language, the kind of answer, its concepts and names; it reads, and answers nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from voxpop.text import family, fold, is_cjk, keywords, language, lexicon, names, words

Asks = Literal["how_many", "where", "when", "why", "who", "whether", "what"]

_WHETHER = re.compile(
    r"^(?:so |and |et |y |und )?(?:is|are|was|were|did|does|do|has|have|had|can|could|will|would|est-ce|est|"
    r"a-t|ont-|sont|es|esta|ha|han|ist|hat|haben|sind|gibt)\b"
)
_FOLLOWS = re.compile(
    r"^(?:and|but|so|et|mais|y|pero|und|e|what about|how about|et pour|qu'en est-il)\b|"
    r"\b(?:it|they|them|he|she|him|her|his|their|that|this|those|these|there|il|elle|ils|elles|lui|leur|cela|ca|celui|"
    r"ello|ellos|er|sie|ele|ela)\b"
)
_RESULTS = frozenset(
    {"result", "results", "outcome", "resultat", "resultats", "resultado", "resultados", "ergebnis"}
)


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that an answer must speak of: a word, its kin, and how much it counts (names count double)."""

    word: str
    kin: frozenset[str]
    weight: float


@dataclass(frozen=True, slots=True)
class Question:
    """A question, read. `about_result` is set where it asks who won."""

    text: str
    lang: str
    asks: Asks
    concepts: tuple[Concept, ...]
    names: frozenset[str]
    about_result: bool

    def coverage(self, terms: frozenset[str]) -> float:
        """How much of the question's concepts these folded words speak of, 0 to 1."""
        return _share(self.concepts, terms)

    def met_by(self, terms: frozenset[str]) -> bool:
        """Whether words speak of what is asked and of whom: half of its topics, and half of its names."""
        topics = [c for c in self.concepts if c.word not in self.names]
        named = [c for c in self.concepts if c.word in self.names]
        return bool(self.concepts) and all(_share(part, terms) >= 0.5 for part in (topics, named) if part)


def _share(concepts: Sequence[Concept], terms: frozenset[str]) -> float:
    total = sum(c.weight for c in concepts)
    return sum(c.weight for c in concepts if c.kin & terms or _within(c.word, terms)) / total if total else 0.0


def _within(word: str, terms: frozenset[str]) -> bool:
    # A hashtag such as #ottawashooting holds the word without a space; a CJK run holds it as its characters.
    if is_cjk(word):
        return frozenset(word) <= terms
    return len(word) > 4 and any(word in term for term in terms)


def read(text: str, earlier: tuple[str, ...] = ()) -> Question:
    """Read a question; one that leans on what was said before takes its missing concepts from `earlier`."""
    lang = language(text)
    flat = fold(text).strip(" ¿¡")
    found = keywords(text, lang)
    named = _names(text)
    if earlier and (len(found) < 2 or _FOLLOWS.search(flat)):
        before = next((e for e in reversed(earlier) if keywords(e, language(e))), "")
        found = list(dict.fromkeys([*found, *keywords(before, language(before))]))
        named |= _names(before)
    concepts = tuple(Concept(w, family(w), 2.0 if w in named or w.isdigit() else 1.0) for w in found)
    asks = _asks(flat)
    about_result = asks in ("who", "whether", "what") and any(
        c.word in family("won") | _RESULTS or "当選" in c.word for c in concepts
    )
    return Question(text, lang, asks, concepts, frozenset(named), about_result)


def _names(text: str) -> set[str]:
    return {part for name in names(text) for part in words(name)}


def _asks(flat: str) -> Asks:
    for kind, pattern in _patterns():
        if pattern.search(flat):
            return kind
    return "whether" if _WHETHER.search(flat) else "what"


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[Asks, re.Pattern[str]]]:
    spaced, cjk = lexicon("asks"), lexicon("asks_cjk")
    return [
        (kind, re.compile(rf"(?<!\w)(?:{'|'.join(spaced[kind])})(?!\w)|{'|'.join(cjk[kind])}"))
        for kind in get_args(Asks)
        if kind in spaced
    ]
