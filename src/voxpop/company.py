"""Check that neighbours in a sentence are near each other in its post; it refuses what joins halves of a post."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product, takewhile
from typing import NamedTuple

from voxpop.figures import is_grammar, post_words
from voxpop.messages import Passage
from voxpop.signs import sign
from voxpop.speakers import known_as
from voxpop.support import is_abroad
from voxpop.text import HANDLE, URL, fold, is_cjk, lexicon, numbers, sentences, words
from voxpop.wording import STEM, kin

_TOKEN = re.compile(
    r"\d+(?:[.,:’']\d+|[ \u00a0\u202f]\d{3}(?!\d))*|[ァ-ヿ]+|[㐀-鿿々]+|[가-힯]+|[぀-ゟ]+|"
    r"[^\W\d_぀-ヿ㐀-鿿가-힯]+|[@,;:.–—()。、：]"
)
_REASONS = ("because", "due", "parce", "porque", "debido", "weil", "wegen", "aufgrund")  # checked in wording.py
_AND = frozenset({"and", "but", "while", "et", "mais", "y", "pero", "und", "aber", "e", "mas", *_REASONS})
_ENDS = frozenset(",;:.–—()。、：")
_LOWER = re.compile(r"(?<!\w)[^\W\d_A-ZÀ-Þ]\w+")
_TELLING, _SHARED = 3, 0.2  # so many words without a capital tell a language; how many two languages share
_TAG, _HUMP = re.compile(r"#\w+"), re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])")
_ENDING = 3  # letters by which two forms of a word differ
_AHEAD, _BACK = 3, 4  # words of meaning: how far apart in the post neighbours of the sentence may stand
_APART = "joins words that stand apart in the cited post"


_Place = tuple[int, int]  # which sentence of the post, which word of meaning in it


class _Word(NamedTuple):
    """A word of meaning or a number: whether it opens or closes its clause, and whether an "and" is before it."""

    term: str
    opens: bool = False
    closes: bool = False
    joined: bool = False


def keep_together(text: str, cited: Sequence[Passage]) -> str:
    """Every word of meaning is the post's, and its neighbours are near it in one sentence of the post."""
    reasons = [_apart(text, p) for p in cited]
    return "" if "" in reasons else reasons[0]


def _apart(text: str, passage: Passage) -> str:
    """Why a post does not hold a sentence together, if so; of another language little is asked."""
    said = [_read(s) for s in sentences(post_words(passage))]
    whose = frozenset(words(f"{passage.post.author.name} {passage.post.author.handle}"))
    spoken = sign("says").sub(" ", known_as(passage).sub(" ", fold(_parted(text))))
    if unnamed := sign("nameless").match(spoken):
        spoken = spoken[unnamed.end() :]
    abroad = _abroad(text, passage)
    used: Counter[tuple[_Place, ...]] = Counter()
    last: tuple[_Place, ...] = ()
    for word in _read(spoken):
        here = _places(word.term, said)
        near = bool(here) and (not last or _follows(word, last, here, said))
        if not near and (abroad or word.term in _plain() or (word.term in whose and not last)):
            continue
        if not here:
            return f"'{word.term}' is not what the cited post says"
        used[here] += 1
        if not abroad and (used[here] > len(here) or not near):
            return _APART
        last = here
    return "" if abroad or is_cjk(spoken) or _framed_as(spoken, passage) else _APART


def _abroad(text: str, passage: Passage) -> bool:
    """Whether a sentence is in another language: surely, since little is asked of it then."""
    post = post_words(passage)
    if not is_abroad(text, [passage]):
        return False
    if is_cjk(text) != is_cjk(post):
        return 2 * len(re.findall("[A-Za-z]", HANDLE.sub(" ", text))) < len(text)
    own, theirs = (frozenset(_LOWER.findall(HANDLE.sub(" ", t))) for t in (text, post))
    return len(own) >= _TELLING and len(own & theirs) <= _SHARED * len(own)


def _follows(word: _Word, last: Sequence[_Place], here: Sequence[_Place], said: Sequence[Sequence[_Word]]) -> bool:
    """Whether a word may come after the one before it, by where both stand in the post.

    A clause may follow another than in the post if it begins as it does there, with who it tells of; without an
    "and", only a whole one that comes later.
    """
    for (s, i), (t, j) in product(last, here):
        if s == t and i != j and -_BACK <= j - i <= _AHEAD:
            return True
        later = word.opens and said[s][i].closes and (t, j) > (s, i)
        if (word.joined or later) and said[t][j].opens:
            return True
    return False


def _framed_as(spoken: str, passage: Passage) -> bool:
    """Whether words of grammar at both ends of a sentence stand beside its first and last word in the post too."""
    terms = words(spoken)
    meaning = [i for i, w in enumerate(terms) if not is_grammar(w)] or [0]
    head, tail = terms[: meaning[0] + 1], terms[meaning[-1] :]
    post = f" {' '.join(words(post_words(passage)))} "
    free = all(w in _openers() for w in head[:-1])
    return all(len(run) < 2 or f" {' '.join(run)} " in post for run in (([] if free else head), tail))


@lru_cache(maxsize=1)
def _openers() -> frozenset[str]:
    return frozenset(words(lexicon("company")["openers"]))


@lru_cache(maxsize=1)
def _plain() -> frozenset[str]:
    """Words that a sentence may have of its own: they tell nothing by themselves."""
    lists = (lexicon("light")["words"], lexicon("measures")["words"], lexicon("company")["words"])
    return frozenset(words(" ".join(lists)))


def _places(word: str, said: Sequence[Sequence[_Word]]) -> tuple[_Place, ...]:
    """Where a word stands, itself or by kin: sentence and place."""
    alike = kin(word)
    return tuple(
        (s, i)
        for s, terms in enumerate(said)
        for i, (term, *_) in enumerate(terms)
        if term == word or term in alike or _same_stem(term, word)
    )


def _same_stem(one: str, other: str) -> bool:
    return len(one) >= STEM and one[:STEM] == other[:STEM] and abs(len(one) - len(other)) <= _ENDING


@lru_cache(maxsize=512)
def _read(sentence: str) -> tuple[_Word, ...]:
    """Words of meaning and numbers in their order."""
    return tuple(_counted(fold(HANDLE.sub(" @ ", URL.sub(" ", _parted(sentence))))))


def _parted(text: str) -> str:
    return _TAG.sub(lambda tag: _HUMP.sub(" ", tag[0]), text)


def _counted(flat: str) -> Iterator[_Word]:
    gap, before, held = ["."], list[str](), ""
    for token in [*_TOKEN.findall(flat), "."]:
        if token[0].isdigit() or is_cjk(token) or (len(token) > 1 and not _says_little(token)):
            if held:
                yield _word(held, before, not _ENDS.isdisjoint(gap))
            held, before, gap = token, gap, []
        else:
            gap.append(token)
    if held:
        yield _word(held, before, closes=True)


def _says_little(token: str) -> bool:
    return token in _openers() or token in _AND or is_grammar(token)


def _word(token: str, before: Sequence[str], closes: bool) -> _Word:
    term = min(numbers(token), default=token) if token[0].isdigit() else token
    since = list(takewhile(lambda t: t not in _ENDS, reversed(before)))
    opens = len(since) < len(before) and all(t in _openers() for t in since)
    return _Word(term, opens, closes, not _AND.isdisjoint(before))
