"""Check that a sentence changes no event, denial, condition, aim or reason of its posts; it asks no model."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any

from voxpop.figures import is_grammar, post_words
from voxpop.messages import Passage
from voxpop.signs import sign, unsure
from voxpop.text import HANDLE, family, fold, indexed, is_cjk, keywords, language, sentences, words

_CLAUSE = re.compile(r"[;–—()\n、。]|[,:](?!\d)| - |\b(?:but|and|while|mais|et|tandis que|pero|aber|und|mas)\b")
STEM = 5
_Y = re.compile(r"(?<=[^\Waeiou])(?:y|ies|ied)$")
_CAUSED = 0.6
_FEWEST = 4
_HANGING = re.compile(r",? (?:and|but|et|y|pero|und|aber|e|mas)$")
_HAS = frozenset({"has", "have", "had", "ont", "avait", "han", "habia", "hat", "haben", "hatte", "tem", "tinha"})
_SUFFERED = frozenset(
    {"been", "being", "was", "were", "ete", "etait", "sido", "fue", "fueron", "foi", "foram", "wurde", "worden"}
)
_LAST = re.compile(r", (?:and|but|while|which|who|mais|et|tandis|pero|y|aber|und|mas|e) ")
_NAME = re.compile(r"[#@]?[A-ZÀ-Þ][\w’-]+")
_PASSIVE = re.compile(r"(?<!\w)(?:by|par|por|von|vom|durch|pelo|pela)(?!\w)")


@dataclass(frozen=True, slots=True)
class Held:
    """What a text holds: its words in order, and their beginnings."""

    flat: str
    terms: tuple[str, ...]
    known: frozenset[str]
    stems: frozenset[str]

    def has(self, word: str) -> bool:
        """Whether it holds a folded word, one of its beginning, or one of its kin."""
        if word in self.known or (len(word) >= STEM and word[:STEM] in self.stems):
            return True
        return (is_cjk(word) and word in self.flat) or not self.known.isdisjoint(kin(word))

    def share(self, wanted: Sequence[str]) -> float:
        """How much of `wanted` it holds; all of nothing."""
        return sum(map(self.has, wanted)) / len(wanted) if wanted else 1.0


@lru_cache(maxsize=512)
def held(text: str) -> Held:
    """What a text holds, read once."""
    terms = tuple(indexed(text).split())
    return Held(fold(text), terms, frozenset(terms), frozenset(w[:STEM] for w in terms if len(w) >= STEM))


@lru_cache(maxsize=2048)
def kin(word: str) -> frozenset[str]:
    """Folded words that tell the same as one: its family, its event, its irregular forms."""
    alike = family(word).union(*(line for line in (*_lines("events"), *_lines("forms")) if word in line))
    ending = _Y.search(word)
    return alike | {f"{word[: ending.start()]}{end}" for end in ("y", "ies", "ied")} if ending else alike


@lru_cache(maxsize=512)
def meant(text: str) -> tuple[str, ...]:
    """The words of a text that mean something, without handles, numbers and words of saying."""
    plain = HANDLE.sub(" ", text)
    found = keywords(plain, language(plain))
    return tuple(w for w in found if not (w[0].isdigit() or is_grammar(w) or sign("says").fullmatch(w)))


@lru_cache(maxsize=1)
def _lists() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("voxpop").joinpath("wording.toml").read_text("utf-8"))


@lru_cache(maxsize=32)
def _pattern(section: str, kind: str = "patterns") -> re.Pattern[str]:
    listed = _lists()[section][kind]
    spaced = "|".join(p for p in listed if p.isascii())
    wide = [p for p in listed if not p.isascii()]
    return re.compile("|".join([*([rf"(?<!\w)(?:{spaced})(?!\w)"] if spaced else []), *wide]))


@lru_cache(maxsize=2)
def _lines(section: str) -> list[frozenset[str]]:
    return [frozenset(fold(line).split()) for line in _lists()[section]["same"]]


@lru_cache(maxsize=1)
def _events() -> frozenset[str]:
    return frozenset().union(*_lines("events"))


@lru_cache(maxsize=256)
def _clauses(text: str) -> tuple[str, ...]:
    return tuple(c.strip() for c in _CLAUSE.split(text) if c.strip() and words(c))


def nearest(text: str, passage: Passage) -> str:
    """The sentence of a post that is nearest to `text`."""
    mine = frozenset(words(text))
    said = sentences(post_words(passage))
    return max(said, key=lambda s: (len(mine & held(s).known), -len(s)), default=post_words(passage))


def _nearest_clause(text: str, passage: Passage) -> str:
    wanted = meant(text)
    parts = _clauses(nearest(text, passage)) or ("",)
    return max(parts, key=lambda c: sum(map(held(c).has, wanted)) / (3 + len(held(c).terms)))


# -- the checks: why a sentence may not be shown, or nothing ------------------------------------------------------


def keep_their_events(text: str, cited: Sequence[Passage]) -> str:
    """What happened is what a post tells: "lifted" of an amber warning is a word that it must hold."""
    sources = [held(post_words(p)) for p in cited]
    for word in _events_of(text):
        if not any(source.has(word) for source in sources):
            return f"the event '{word}' is in no cited post"
    return ""


def _events_of(text: str) -> Iterator[str]:
    plain = HANDLE.sub(" ", text)
    titled = {fold(w) for w in _NAME.findall(plain)[1:]}
    yield from (w for w in held(plain).known if w in _events() and w not in titled and not is_grammar(w))
    if is_cjk(plain):
        yield from (w for w in _events() if is_cjk(w) and len(w) > 1 and w in plain)


def give_their_reasons(text: str, cited: Sequence[Passage]) -> str:
    """A reason is one that a post gives as such, of the same thing."""
    for clause in _reasons(text):
        wanted = meant(clause)
        rest = [w for w in meant(text) if w not in wanted]
        if not any(_gives(post_words(p), wanted, rest) for p in cited):
            return "gives a reason that no cited post gives"
    return ""


def _reasons(text: str) -> Iterator[str]:
    """What stands after each word of reason; before it in CJK, whose order is the other."""
    flat = fold(HANDLE.sub(" ", text))
    for found in _pattern("reason").finditer(flat):
        yield flat[: found.start()] if is_cjk(found[0]) else flat[found.end() :]


def shorter(text: str) -> Iterator[str]:
    """A sentence without its reason, and without its last clause: what is left may pass."""
    flat = fold(text)
    ends = [found.start() for found in _pattern("reason").finditer(flat) if not is_cjk(found[0])]
    ends += [found.start() for found in _LAST.finditer(flat)]
    for end in ends if len(flat) == len(text) else ():
        rest = _HANGING.sub("", text[:end].rstrip(" ,;–—-("))
        if len(words(rest)) >= _FEWEST and not sign("negation").search(fold(rest.split()[-1])):
            yield rest + "."


def _gives(post: str, wanted: Sequence[str], rest: Sequence[str]) -> bool:
    """Whether a post gives a reason of these words; loosely only for what the same sentence tells."""
    abroad = language(" ".join([*rest, *wanted])) != language(post)
    for sentence in sentences(post):
        flat = fold(sentence)
        told = _pattern("reason").search(flat)
        loose = _pattern("reason", "loose").search(flat) or re.search(r"[:–—(]| - ", sentence)
        near = bool(told) or (bool(loose) and held(sentence).share(rest) >= _CAUSED)
        if (told and abroad) or (near and held(sentence).share(wanted) >= _CAUSED):
            return True
    return False


def keep_their_denials(text: str, cited: Sequence[Passage]) -> str:
    """What a post calls false is not told as so; what no post denies is not denied."""
    told = [nearest(text, p) for p in cited]
    if any(_drops(s, text) and not _denies(text) for s in told):
        return "a negation was lost"
    if cited and all(_drops(text, s) for s in told):
        return "a negation was added"
    mine = _denies(text)
    if mine and not any(_denies(post_words(p)) for p in cited):
        return "a denial was added"
    clauses = [_nearest_clause(text, p) for p in cited]
    if not mine and cited and all(map(_denies, clauses)):
        return "a negation was lost"
    if not mine and cited and all(_pattern("denial").search(fold(s)) for s in told):
        return "the cited post denies it"
    return ""


def _drops(one: str, other: str) -> bool:
    """Whether the words on both sides of a negation of `one` meet in `other`, and nowhere in `one`."""
    terms, met = held(HANDLE.sub(" ", one)).terms, frozenset(pairwise(held(HANDLE.sub(" ", other)).terms))
    own = frozenset(pairwise(terms))
    gaps = ((terms[i - 1], terms[i + 1]) for i in range(1, len(terms) - 1) if sign("negation").fullmatch(terms[i]))
    return any(pair in met and pair not in own for pair in gaps)


def _denies(text: str) -> bool:
    flat = fold(HANDLE.sub(" ", text))
    marks = (sign("negation"), _pattern("denial"), _pattern("denial", "negated"))
    return any(mark.search(flat) for mark in marks)


def keep_their_conditions(text: str, cited: Sequence[Passage]) -> str:
    """What would be under a condition, or is only wanted or planned, is not told as so."""
    mine = fold(HANDLE.sub(" ", text))
    told = [fold(nearest(text, p)) for p in cited]
    conditions, aims = _pattern("condition"), _pattern("intent")
    if told and all(conditions.search(s) for s in told) and not conditions.search(mine):
        return "leaves out the condition of the cited post"
    planned = [fold(_nearest_clause(text, p)) for p in cited]
    done = any(_events_of(text)) and not (aims.search(mine) or unsure(text))
    if done and planned and all(aims.search(s) for s in planned):
        return "tells as done what the cited post only plans or asks"
    return ""


def keep_their_days(text: str, cited: Sequence[Passage]) -> str:
    """Yesterday and tomorrow are those of the post."""
    theirs = frozenset().union(*(_days(post_words(p)) for p in cited))
    if strange := _days(text) - theirs:
        return f"the day '{min(strange).strip()}' is in no cited post"
    return ""


def _days(text: str) -> frozenset[str]:
    flat = f" {' '.join(held(text).terms)} "
    return frozenset(line[0] for line in _relative() if any(day in flat for day in line))


@lru_cache(maxsize=1)
def _relative() -> list[list[str]]:
    lines = (line.split("|") for line in _lists()["relative"]["days"])
    return [[f" {' '.join(words(day))} " for day in line] for line in lines]


def keep_their_voice(text: str, cited: Sequence[Passage]) -> str:
    """Who did it is not who it was done to: "has declared" is not "has been declared"."""
    mine = dict(_voices(text))
    for passage in cited:
        theirs = dict(_voices(nearest(text, passage)))
        if turned := [w for w, passive in mine.items() if theirs.get(w, passive) != passive]:
            return f"'{turned[0]}' is done by whom it was done to"
    return ""


def _voices(text: str) -> Iterator[tuple[str, bool]]:
    """Each word after "has" or the like, and whether it is suffered."""
    terms = held(HANDLE.sub(" ", text)).terms
    for i, word in enumerate(terms):
        before = set(terms[max(0, i - 3) : i])
        passive = bool(before & _SUFFERED)
        if word.isalpha() and (passive or before & _HAS) and not is_grammar(word):
            yield word[:STEM], passive


def keep_their_sides(text: str, cited: Sequence[Passage]) -> str:
    """Who did it to whom: two names do not trade their places around a word."""
    passive = bool(_PASSIVE.search(fold(text)))
    mine = set(_sides(text))
    for passage in cited:
        said = nearest(text, passage)
        theirs = set(_sides(said))
        for before, word, after in mine - theirs:
            if (after, word, before) in theirs and passive == bool(_PASSIVE.search(fold(said))):
                return f"'{before}' and '{after}' have changed sides"
    return ""


def _sides(text: str) -> Iterable[tuple[str, str, str]]:
    """Name, word and name in their order, for each word of meaning between two names."""
    plain = HANDLE.sub(" ", text)
    tokens = re.findall(r"[^\W\d_][\w’'-]*", plain)
    run: list[str] = []
    last = ""
    for token in tokens:
        if token[0].isupper() and not is_grammar(token):
            name = fold(token)
            yield from ((last, word[:STEM], name) for word in run if last)
            run, last = [], name
        elif not is_grammar(token):
            run.append(fold(token))
