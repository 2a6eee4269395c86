"""What a sentence is about: its content, whom it names, its values, what it denies; pure, and it compares none."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from voxpop.signs import sign
from voxpop.text import URL, bare, fold, is_cjk, lexicon, names, numbers, sentences, words

Value = tuple[str, frozenset[str]]

_NEAR = 4
_CLOCK = re.compile(
    r"(?<![\w:.,])([01]?\d|2[0-3])(?:[:h](\d{2})\b| ?([ap])\.?m\b| ?(?:Uhr|h|H)\b|時)", re.IGNORECASE
)
_CLAUSE = re.compile(r"[;:!?()、。；：（）]|[,.](?!\d)|\s[-–—]\s|\b(?:and|et|und|y|e)\b")
_RUN = re.compile(r"[ァ-ヺー]+|[㐀-鿿々]+|[가-힯]+")
_PLACE = re.compile(r"[ァ-ヺー]{2,}|[一-鿿]{2,4}?(?=[市県区駅町村島空])")
_CJK_NUMBER = re.compile(r"([^\W\d_]{0,4})(\d+(?:\.\d+)?)(人|件|便|番|棟|万)?")
_OPENING = re.compile(r"\W*([A-ZÀ-Þ][\w’'-]+)")


def content(text: str) -> frozenset[str]:
    """The folded words that tell what a sentence is about, of CJK runs the pairs of characters."""
    flat = fold(bare(text))
    for kind in ("denial", "correction", "update"):
        flat = _pattern(kind).sub(" ", flat)
    plain = (w for w in words(flat) if len(w) > 1 and not w.isdigit() and w not in _small())
    return frozenset((*plain, *(a + b for run in _RUN.findall(flat) for a, b in pairwise(run))))


def subjects(text: str) -> frozenset[str]:
    """Whom and what a sentence names, its first word too where it is no common one; not who only says it."""
    said = bare(text)
    found = {part for name in names(said) for part in words(name)}
    openings = (_OPENING.match(sentence) for clause in _CLAUSE.split(said) for sentence in sentences(clause))
    found |= {part for opening in openings if opening for part in words(opening[1])}
    speakers = {w for speaking in _speaking().finditer(said) for w in words(speaking[0])}
    values = {w for value, of in _slots(text) for w in words(value)}
    plain = {w for w in found if len(w) > 1 and not w.isdigit() and not is_cjk(w)}
    return frozenset(plain - speakers - values - _common()) | frozenset(_PLACE.findall(said))


def values(text: str) -> tuple[Value, ...]:
    """Each value with the words for what it is one of: a number and what it counts, a clock time, a gate."""
    plain = URL.sub(" ", text)
    timeless = _CLOCK.sub(" ", plain)
    slots = tuple(_slots(timeless))
    taken = {value for value, _ in slots}
    counted = (pair for clause in _CLAUSE.split(timeless) for pair in _counts(clause) if pair[0] not in taken)
    return (*slots, *_times(plain), *counted)


def denied(text: str) -> frozenset[str]:
    """The content that stands under a negation: beside it, or all before it where the language puts it last."""
    terms = words(text)
    marks = [i for i, w in enumerate(terms) if sign("negation").fullmatch(w)]
    near = {w for i in marks for w in terms[max(0, i - 1) : i + 1 + _NEAR]}
    return content(text) if _pattern("negation").search(text) else frozenset(near) & content(text)


def marked(kind: str, text: str) -> bool:
    """Whether a text holds a word of a `denial`, a `correction` or an `update`, or that a thing is `off`."""
    return bool(_pattern(kind).search(fold(text)))


@lru_cache(maxsize=1)
def states() -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Pairs of states of which one ends the other, such as open and closed."""
    pairs = (line.split("|") for line in lexicon("superseding")["states"])
    return tuple((frozenset(words(one)), frozenset(words(other))) for one, other in pairs)


def _times(text: str) -> Iterable[Value]:
    for found in _CLOCK.finditer(text):
        hour = int(found[1]) % 12 + 12 if (found[3] or "").lower() == "p" else int(found[1])
        yield f"{hour}:{found[2] or '00'}", frozenset(("clock",))


def _slots(text: str) -> Iterable[Value]:
    """What stands after a word such as `gate`, `platform` or `magnitude`: a number, a letter or both."""
    terms = words(text)
    for i, word in enumerate(terms):
        if (slot := _slot_of().get(word)) is not None:
            codes = (t for t in terms[i + 1 : i + 1 + _NEAR] if re.fullmatch(r"[a-z]?\d{1,3}[a-z]?|[a-z]", t))
            if code := next(codes, ""):
                # `6.1` are two terms of the index and one value
                tenth = re.search(rf"\b{code}[.,](\d)\b", text) if code.isdigit() else None
                yield f"{code}.{tenth[1]}" if tenth else code, frozenset((slot,))
    for before, number, after in _CJK_NUMBER.findall(text):
        if is_cjk(before) or after:
            yield number, frozenset(filter(None, (before[-2:], after and f"{before[-2:]}{after}")))


def _counts(clause: str) -> Iterable[Value]:
    """Numbers with what they count: the words after one up to a small word, else those before it."""
    terms = words(clause)
    for number in numbers(clause):
        digits = words(number)
        at = next((i for i in range(len(terms)) if numbers(" ".join(terms[i : i + len(digits)])) == {number}), -1)
        if at < 0:
            at = next((i for i, t in enumerate(terms) if t.isdigit() and number.startswith(t)), -1)
        if at >= 0:
            end = next((i for i in range(at + 1, len(terms)) if not terms[i].isdigit()), len(terms))
            things = _things(terms[end : end + _NEAR]) or _things(terms[max(0, at - _NEAR) : at][::-1])
            if things:
                yield number, frozenset(things)


def _things(terms: Sequence[str]) -> list[str]:
    found: list[str] = []
    for term in terms:
        if term.isdigit() or (found and term in _small()):
            break
        if term not in _small():
            found.append(term)
    return found


@lru_cache(maxsize=1)
def _speaking() -> re.Pattern[str]:
    says = rf"(?i:\b(?:{'|'.join(lexicon('signs')['says'])})\b)"
    name = r"(?:@?[A-ZÀ-Þ][\w.’'-]*\s*){1,4}"
    return re.compile(rf"{name}\s*{says}|{says}\s+(?:(?:the|la|le|el|der|die|o|a)\s+)?{name}")


@lru_cache(maxsize=5)
def _pattern(kind: str) -> re.Pattern[str]:
    listed = [p for patterns in lexicon("superseding")[kind].values() for p in patterns]
    spaced, cjk = [p for p in listed if p.isascii()], [p for p in listed if not p.isascii()]
    return re.compile("|".join([rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)"] * bool(spaced) + cjk))


@lru_cache(maxsize=1)
def _slot_of() -> dict[str, str]:
    return {w: line.split()[0] for line in lexicon("superseding")["slots"] for w in words(line)}


@lru_cache(maxsize=1)
def _small() -> frozenset[str]:
    """Words of grammar, of saying and of number in all our languages."""
    lists = [*lexicon("function_words").values(), *lexicon("number_words").values()]
    return frozenset(w for text in lists for w in words(text)) | frozenset(words(lexicon("superseding")["small"]))


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    """Words that a capital makes no name."""
    lines = [line for lists in lexicon("families").values() for line in lists]
    lines += [*lexicon("calendar").values(), *lexicon("superseding")["states"], lexicon("superseding")["common"]]
    return _small() | frozenset(w for line in lines for w in words(line)) | frozenset(_slot_of())
