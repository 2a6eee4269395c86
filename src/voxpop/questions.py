"""What a question asks: its language, the kind of answer, its concepts and names; it reads, and answers nothing."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

from voxpop.text import HANDLE, family, fold, indexed, is_cjk, keywords, language, lexicon, names, words

Asks = Literal["how_many", "where", "when", "why", "who", "whether", "what"]

SCORE = re.compile(
    r"(?<![\w.,-])\d{1,3} ?[-–] ?\d{1,3}(?![\w-])(?![.,]\d)|"
    r"(?<!\w)[A-ZÀ-Þ]\w{1,40} \d{1,3}, (?:[A-ZÀ-Þ]\w{1,40} ){1,3}\d{1,3}(?![\d%]| %|[.,]\d)"
)
STANDING = re.compile(r"(?<![\w’-])([A-ZÀ-Þ][\w’-]{1,40})\W{1,3}(\d{1,3}(?:[.,]\d{1,2})?)(?![\d:]|[.,]\d)")
_OPEN_UNTIL = re.compile(
    r"\b(?:open|ouvert\w*|abiert\w+|geoffnet|offen|abert\w+) (?:\w+ )?(?:until|till|jusqu|hasta|bis|ate)\b"
)
_WHETHER = re.compile(
    r"^(?:so |and |et |y |und |e )?(?:is|are|was|were|did|does|do|has|have|had|can|could|will|would|est-ce|est|"
    r"a-t|ont-|sont|es|esta|ha|han|ist|hat|haben|sind|gibt)\b"
)
_JOINS = re.compile(
    r"^(?:and|but|so|et|mais|y|pero|und|aber|e|mas)\b|"
    r"^(?:what about|how about|et pour|qu'en est-il|wie ist)\b"
)
_PRONOUN = re.compile(
    r"\b(?:it|they|them|he|she|him|her|his|their|that|this|those|these|there|il|elle|ils|elles|lui|leur|cela|ca|celui|"
    r"ello|ellos|er|sie|ele|ela)\b"
)
_QUOTED = re.compile(r"[\"“«„]\s*([^\"“”«»„]{3,80}?)\s*[\"”»“]")
_FULL_HOUR = re.compile(r"\b(\d{1,2})(?::00\b| ?[hH](?:00)?\b)")
_FAR_LONGER = 4
_RESULTS = frozenset(
    {"result", "results", "outcome", "resultat", "resultats", "resultado", "resultados", "ergebnis"}
)


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that an answer must speak of: a word, its kin, its weight (names double, light words half)."""

    word: str
    kin: frozenset[str]
    weight: float


@dataclass(frozen=True, slots=True)
class Question:
    """A question, read. `about_result` is set where it asks who won.

    `phrases` are put between quotation marks; `handles` are accounts whose own words are asked for; `counted` are
    the words near which a number answers.
    """

    text: str
    lang: str
    asks: Asks
    concepts: tuple[Concept, ...]
    names: frozenset[str]
    about_result: bool
    phrases: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()
    counted: frozenset[str] = frozenset()

    @property
    def asks_score(self) -> bool:
        """Whether it asks how a match stands."""
        return any(c.word in family("score") for c in self.concepts)

    def terms(self, text: str) -> frozenset[str]:
        """The folded words of a text, and what it shows without a word (`shown`)."""
        return _terms(text)

    def coverage(self, terms: frozenset[str]) -> float:
        """How much of the question's concepts these folded words speak of, 0 to 1."""
        return _share(self.concepts, terms)

    def names_in(self, text: str) -> bool:
        """Whether a text names half of whom the question names, if anybody."""
        named = [c for c in self.concepts if c.word in self.names]
        return not named or _share(named, self.terms(text)) >= 0.5

    def met_by(self, terms: frozenset[str]) -> bool:
        """Whether words speak of what is asked and of whom: most of its topics, and half of its names.

        Where it asks who won, they must tell a result, and of the race that is meant.
        """
        topics = [c for c in self.concepts if c.word not in self.names]
        named = [c for c in self.concepts if c.word in self.names]
        if self.about_result:
            if not declares(terms):
                return False
            topics = [c for c in topics if c.word not in result_words()]
        if not self.concepts:
            return True
        return (not topics or _share(topics, terms) > 0.5) and (not named or _share(named, terms) >= 0.5)


@lru_cache(maxsize=4096)
def _terms(text: str) -> frozenset[str]:
    return frozenset(indexed(_FULL_HOUR.sub(r"\1 ", text)).split()) | shown(text)


def shown(text: str) -> frozenset[str]:
    """`score` where a text holds one (`2-1`), `leads` where names have a share each, `close` where open until."""
    shares = STANDING.findall(text) if "%" in text else []
    found = {"score": SCORE.search(text), "leads": len(shares) > 1, "close": _OPEN_UNTIL.search(fold(text))}
    return frozenset(word for word, there in found.items() if there)


def result_words() -> frozenset[str]:
    """Words that tell who won, or that it was declared."""
    return family("won") | family("declared")


def declares(terms: frozenset[str]) -> bool:
    """Whether folded words tell who won, or that it was declared."""
    return bool(result_words() & terms) or {"当", "選"} <= terms


def _share(concepts: Sequence[Concept], terms: frozenset[str]) -> float:
    total = sum(c.weight for c in concepts)
    return sum(c.weight for c in concepts if c.kin & terms or _within(c.word, terms)) / total if total else 0.0


def _within(word: str, terms: frozenset[str]) -> bool:
    # A hashtag such as #ottawashooting holds the word without a space; a CJK run holds it as its characters.
    if is_cjk(word):
        return frozenset(word) <= terms
    long = len(word) + _FAR_LONGER
    return len(word) > 4 and any(len(t) >= long and t.startswith(word) for t in terms)


def read(text: str, earlier: tuple[str, ...] = ()) -> Question:
    """Read a question; one that leans on what was said before takes what it lacks from `earlier`."""
    question = _alone(text)
    before = next((q for e in reversed(earlier) if (q := _alone(e)).concepts), None)
    flat = fold(text).strip(" ¿¡")
    joins, leans = bool(_JOINS.search(flat)), bool(_PRONOUN.search(flat))
    if before is None or not (joins or leans or len(question.concepts) < 2):
        return question
    if question.handles or question.phrases:
        return question
    return _continued(question, before)


def _alone(text: str) -> Question:
    lang = language(text)
    handles = _speakers(text)
    plain = _FULL_HOUR.sub(r"\1 ", HANDLE.sub(" ", text) if handles else text)
    asks = _asks(fold(text).strip(" ¿¡"))
    named = frozenset(part for name in names(plain) for part in words(name))
    timely = {w for _, span in spans(fold(text)) for w in (span[0], *words(span[0]))}
    found = [w for w in keywords(plain, lang) if w not in timely and not (asks == "how_many" and w in _measures())]
    return _settled(Question(text, lang, asks, _concepts(found, named), named, False, _phrases(text), handles))


def _concepts(found: Iterable[str], named: frozenset[str]) -> tuple[Concept, ...]:
    return tuple(Concept(w, family(w), _weight(w, named)) for w in found)


def _weight(word: str, named: frozenset[str]) -> float:
    if word in named or word.isdigit():
        return 2.0
    return 0.5 if word in _light() else 1.0


def _settled(question: Question) -> Question:
    """What follows from the kind of question and its concepts: whether it asks for a result, what it counts."""
    said = {c.word for c in question.concepts}
    offices, declared = family("president") | family("mayor"), family("declared") - _RESULTS
    told = bool(said & (family("won") | _RESULTS)) or any("当選" in word for word in said)
    told = told and not said & family("conceded")  # who accepts a result is not who won
    office = bool(said & offices) and (
        bool(said & declared) or (question.asks == "who" and not said & family("leads"))
    )
    about_result = question.asks in ("who", "whether", "what") and (told or office)
    topics = [c.kin for c in question.concepts if c.word not in question.names and not c.word.isdigit()]
    counted = frozenset().union(*topics)
    if question.asks == "how_many" and _by_how_many().search(fold(question.text)):
        counted = family("margin")
    return replace(question, about_result=about_result, counted=counted)


def _continued(question: Question, before: Question) -> Question:
    """A follow-up: its names stand in the place of those of their kind, places for places, others for others."""
    places = {word: is_place(word, q.text) for q in (before, question) for word in q.names}
    kinds = {places[w] for w in question.names}
    gone = {w for w in before.names - question.names if places[w] in kinds}
    named = (question.names | before.names) - gone
    found = dict.fromkeys([c.word for c in (*question.concepts, *before.concepts) if c.word not in gone])
    asks = before.asks if question.asks in ("what", "whether") and not _verb_of_asking(question) else question.asks
    merged = replace(question, asks=asks, concepts=_concepts(found, named), names=named, phrases=before.phrases)
    return _settled(merged)


def _verb_of_asking(question: Question) -> bool:
    flat = fold(question.text).strip(" ¿¡")
    return bool(_WHETHER.search(flat) or re.match(r"what (?!about)|que |was ", flat))


def is_place(word: str, text: str) -> bool:
    """Whether a text speaks of a word as of a place: `in Oss`, `à Paris`."""
    before = lexicon("signs")["where"][0]
    return bool(re.search(rf"\b{before}\s+(?:(?:the|le|la|les|der|dem|el|o|a)\s+)?{re.escape(word)}\b", fold(text)))


def _speakers(text: str) -> tuple[str, ...]:
    """The accounts whose own words are asked for: "what does @x say", "que dit @x"."""
    if not means("speaks", fold(text)):
        return ()
    return tuple(dict.fromkeys(h.lstrip("@").lower() for h in HANDLE.findall(text)))


def spans(flat: str) -> Iterator[tuple[str, re.Match[str]]]:
    """The times to which a folded question bounds itself: `yesterday`, `since` a clock time, minutes of a unit."""
    for kind, patterns in (lexicon("days") | lexicon("spans")).items():
        for pattern in patterns:
            if found := re.search(pattern, flat):
                yield kind, found


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(p for p in _QUOTED.findall(text) if len(words(p)) > 1)


def _asks(flat: str) -> Asks:
    for kind, pattern in _patterns():
        if pattern.search(flat):
            return kind
    return "whether" if _WHETHER.search(flat) else "what"


def means(intent: str, flat: str) -> bool:
    """Whether a folded text means what the patterns of an intent describe."""
    return any(re.search(pattern, flat) for pattern in lexicon("intents")[intent])


@lru_cache(maxsize=1)
def _light() -> frozenset[str]:
    return frozenset(words(lexicon("light")["words"]))


@lru_cache(maxsize=1)
def _measures() -> frozenset[str]:
    return frozenset(words(lexicon("measures")["words"]))


@lru_cache(maxsize=1)
def _by_how_many() -> re.Pattern[str]:
    return re.compile("|".join(lexicon("measures")["margin"]))


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[Asks, re.Pattern[str]]]:
    spaced, cjk = lexicon("asks"), lexicon("asks_cjk")
    return [
        (kind, re.compile(rf"(?<!\w)(?:{'|'.join(spaced[kind])})(?!\w)|{'|'.join(cjk[kind])}"))
        for kind in get_args(Asks)
        if kind in spaced
    ]
