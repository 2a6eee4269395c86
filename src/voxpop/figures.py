"""Check the figures of a sentence against the posts that it cites: each with its unit, name and bound."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from voxpop.messages import Passage
from voxpop.signs import sign
from voxpop.text import HANDLE, dates, family, fold, keywords, lexicon, numbers, sentences, words

_UNIT = re.compile(r"(\d)\s*(%|percent|per cent|pour cent|prozent|por ciento|million|billion|thousand|[€$£])", re.I)
_GLUED = re.compile(r"(?<!\w)(\d+)(?=[^\W\d_])")
_PERCENT = frozenset({"percent", "per cent", "pour cent", "prozent", "por ciento"})
_COUNT = re.compile(r"(?P<number>(?<![\w.,])\d+(?:[.,]\d+)*)|(?P<name>[A-ZÀ-Þ][\w’-]+)|(?P<word>\w+)")
_MATCH = re.compile(r"(?<=\w )(\d{1,3}) ?[-–] ?(\d{1,3}) ((?:[A-ZÀ-Þ][\w’-]+ ?)+)")
_SCORED = re.compile(r"(?<!\d)\d{1,12} ?[-–] ?\d+")
_REACH = 3


def post_words(passage: Passage) -> str:
    """A post's words: its text and what it says of its pictures."""
    post = passage.post
    return "\n".join([post.text, *(m.alt for m in post.media if m.alt)])


def readable(passage: Passage) -> str:
    """What a reader sees of a post: its words, and who wrote them."""
    author = passage.post.author
    return f"{post_words(passage)}\n@{author.handle} {author.name}"


def occur(text: str, cited: Sequence[Passage]) -> str:
    """Numbers, dates and units of a sentence stand in the posts that it cites."""
    source, text = "\n".join(map(post_words, cited)), HANDLE.sub(" ", text)
    if missing := numbers(text) - numbers(source):
        return f"the number {min(missing)} is in no cited post"
    if missing := dates(text) - dates(source):
        return f"the date '{min(missing)}' is in no cited post"
    if missing := _measured(text) - _measured(source):
        return f"'{min(missing)}' is in no cited post"
    if missing := set(_GLUED.findall(text)) - set(re.findall(r"\d+", source)):
        return f"the number {min(missing)} is in no cited post"
    return ""


def keep_their_bounds(text: str, cited: Sequence[Passage]) -> str:
    """A number that the posts give as a bound (`1 or more`, `nearly 50`) is not told as exact."""
    for number in _figures(text):
        told = [_bounded(s, number) for p in cited for s in sentences(post_words(p)) if number in numbers(s)]
        if told and all(told) and not _bounded(text, number):
            return f"the number {number} is no exact one in the cited post"
    return ""


def _figures(text: str) -> list[str]:
    return sorted(numbers(HANDLE.sub(" ", text)))


def _bounded(sentence: str, number: str) -> bool:
    terms = words(sentence)
    places = [i for i, w in enumerate(terms) if number in numbers(w)]
    return any(sign("bound").search(" ".join(terms[max(0, i - 3) : i + 3])) for i in places)


def _measured(text: str) -> set[str]:
    """Numbers with their units, by the last digit: `2 %` and `2 percent` are the same, `2 million` is not."""
    units = ((m[1], m[2].lower()) for m in _UNIT.finditer(text))
    return {f"{digit} {'%' if unit in _PERCENT else unit}" for digit, unit in units}


def keep_their_names(text: str, cited: Sequence[Passage]) -> str:
    """In a list of names with numbers, a number stays with its name."""
    held: dict[str, set[str]] = {}
    for passage in cited:
        for name, count in _counts(post_words(passage), 2):
            held.setdefault(name, set()).add(count)
    for name, count in _counts(text, _REACH):
        others = [other for other, counts in held.items() if count in counts and other != name]
        if name in held and count not in held[name] and others:
            return f"the number {count} is not said of '{name}'"
    return ""


def _counts(text: str, reach: int) -> Iterator[tuple[str, str]]:
    """A name's words with the number within `reach` words after it, and with those that follow that at once."""
    for sentence in sentences(_SCORED.sub(" ", _MATCH.sub(r"\1, \3 \2", text))):
        run: list[str] = []
        gap = 0
        for token in _COUNT.finditer(sentence):
            if token["name"] and not is_grammar(token["name"]):
                run = [*(run if gap == reach else []), fold(token["name"])]
                gap = reach
            elif token["number"] and gap > 0:
                number = min(numbers(token["number"]), default=token["number"])
                yield from ((name, number) for name in run)
                gap = 1
            else:
                gap -= 1


def keep_their_company(text: str, cited: Sequence[Passage]) -> str:
    """A number does not take the thing of another: beside `5 % of stations`, `43.6 % of stations` is none."""
    theirs = {pair for p in cited for pair in _followed(post_words(p))}
    for number, thing in _followed(text):
        owners = {n for n, t in theirs if t == thing}
        if owners and number not in owners:
            return f"the number {number} is not said of '{thing}'"
    return ""


def _followed(text: str) -> Iterator[tuple[str, str]]:
    """Each number with the word of meaning that follows it at once, past a unit and words of grammar."""
    tokens, named = _tokens(text), _names_in(text)
    for i, number in enumerate(tokens):
        after = [t for t in tokens[i + 1 : i + 1 + _REACH] if t not in _PERCENT]
        thing = next((t for t in after if not is_grammar(t)), "")
        if number[0].isdigit() and thing and not thing[0].isdigit() and thing not in named:
            yield number, thing


def _names_in(text: str) -> set[str]:
    return {fold(part) for name in re.findall(r"[A-ZÀ-Þ][\w’-]+", text) for part in re.findall(r"[^\W\d_]+", name)}


def _tokens(text: str) -> list[str]:
    """Folded words and numbers in one spelling."""
    found = re.findall(r"\d+(?:[.,]\d+|[ \u00a0\u202f]\d{3}(?!\d))*|[^\W\d_]+", fold(HANDLE.sub(" ", text)))
    return [min(numbers(t), default=t) if t[0].isdigit() else t for t in found]


def keep_their_kind(text: str, cited: Sequence[Passage]) -> str:
    """Figures of a poll, a projection or a partial count are told as such."""
    partial, mine = sign("partial"), numbers(text)
    told = [part for p in cited for part in _telling(post_words(p), mine)]
    if not (mine and told and all(partial.search(fold(part)) for part in told)):
        return ""
    kept = partial.search(fold(text)) or family("counted") & set(words(text))
    return "" if kept else "leaves out that the figures are of a poll or a part"


def _telling(post: str, figures: set[str]) -> Iterator[str]:
    """The sentences of a post that tell one of some figures, each with the one before, which may head it."""
    said = sentences(post)
    yield from (" ".join(said[max(0, i - 1) : i + 1]) for i, s in enumerate(said) if numbers(s) & figures)


@lru_cache(maxsize=4096)
def is_grammar(text: str) -> bool:
    """Whether a text holds only function words, of one language or another."""
    return any(not keywords(text, lang) for lang in lexicon("function_words"))
