"""What the words of a sentence tell: a result, a doubt, a denial, a question; pure, and it judges no truth."""

import re
from functools import lru_cache

from voxpop.questions import declares
from voxpop.text import HANDLE, bare, family, fold, lexicon, words


@lru_cache(maxsize=16)
def sign(kind: str) -> re.Pattern[str]:
    """The pattern of a kind of sign (`correction`, `hedge`, `negation`, …), to be searched in folded text."""
    spaced = [p for p in lexicon("signs")[kind] if p.isascii()]
    cjk = [p for p in lexicon("signs")[kind] if not p.isascii()]
    pattern = rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)"
    return re.compile("|".join([pattern, *cjk]))


def settles(text: str) -> bool:
    """Whether a text tells a result as settled: who won, who died, a verdict; a denial settles nothing."""
    return bool(settling() & frozenset(words(text))) and not sign("negation").search(fold(text))


def declared(text: str) -> bool:
    """Whether a text says that somebody won or was declared, and does not deny it."""
    return declares(frozenset(words(text))) and not sign("negation").search(fold(text))


@lru_cache(maxsize=1)
def settling() -> frozenset[str]:
    """Words that tell a result."""
    return declaring().union(*(family(word) for word in ("won", "lost", "dead", "verdict")))


@lru_cache(maxsize=1)
def declaring() -> frozenset[str]:
    """Words by which an authority tells a result of somebody else."""
    return frozenset(words(lexicon("settling")["words"]))


def unsure(sentence: str) -> bool:
    """Whether a sentence only supposes, expects or projects."""
    flat = fold(sentence)
    return any(sign(kind).search(flat) for kind in ("hedge", "projected"))


def opposed(one: str, other: str) -> str:
    """A word of `one` whose opposite, and not itself, `other` holds; empty where there is none."""
    mine, theirs = frozenset(words(one)), frozenset(words(other))
    for left, right in _opposites():
        for here, there in ((left, right), (right, left)):
            if mine & here and theirs & there and not theirs & here and not mine & there:
                return min(mine & here)
    return ""


@lru_cache(maxsize=1)
def _opposites() -> list[tuple[frozenset[str], frozenset[str]]]:
    pairs = (line.split("|") for lines in lexicon("opposites").values() for line in lines)
    return [(frozenset(words(left)), frozenset(words(right))) for left, right in pairs]


def is_statement(sentence: str) -> bool:
    """Whether a sentence can support anything: a question, a bare tag or a shout of two words cannot."""
    plain = HANDLE.sub("", bare(sentence)).strip()
    cjk = not plain.isascii() and len(plain) >= 6
    asks = re.search(r"[?？]", plain) or sign("asking").search(fold(plain))
    return not asks and (len(words(plain)) >= 3 or cjk)
