"""Whether a name in katakana and one in Latin letters sound alike, by their consonants; it knows no name."""

import re
import unicodedata
from collections.abc import Iterable

_WRITTEN = re.compile(r"[ァ-ヺー]{2,}")
_SOUNDS = (
    (r"tch|ch", "t"),
    (r"sch|sh|th|z|j|c(?=[eiy])", "s"),
    (r"ck|qu|q|c", "k"),
    (r"ph|f", "h"),
    (r"x", "ks"),
    (r"l", "R"),
    (r"v", "b"),
    (r"m", "n"),
    (r"[wy]", ""),
)


def katakana(text: str) -> list[str]:
    """The runs of katakana in a text: in Japanese, mostly names from abroad."""
    return _WRITTEN.findall(text)


def sounds_in(name: str, latin: Iterable[str]) -> bool:
    """Whether a name in katakana sounds like one of these words, folded to ASCII.

    Vowels are not compared, but for whether one comes first; an R that closes a syllable may be silent.
    """
    heard = _heard(name)
    return len(heard) > 1 and any(heard in _spoken(word) for word in latin if word.isascii())


def _heard(name: str) -> str:
    letters = [unicodedata.name(c).rpartition(" ") for c in name if c != "ー"]
    heard = "".join(
        "" if "SMALL" in kind else sound.lower().rstrip("aiueo") or ("a" if not i else "")
        for i, (kind, _, sound) in enumerate(letters)
    )
    return _plain(heard)


def _spoken(word: str) -> frozenset[str]:
    silent = re.sub(r"(?<=[aeiou])r(?![aeiou])", "", word)
    return frozenset(_plain(w) for w in (word, silent))


def _plain(letters: str) -> str:
    for pattern, sound in _SOUNDS:
        letters = re.sub(pattern, sound, letters)
    letters = letters.lower()
    letters = ("a" if letters[:1] in tuple("aeiou") else "") + re.sub("[aeiou]", "", letters)
    return re.sub(r"(.)\1+", r"\1", letters)
