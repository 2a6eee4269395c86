"""Words, sentences, numbers and names in a text of any language; pure, and never guesses beyond the text."""

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any

URL = re.compile(
    r"(?:https?://|www\.)[^\s<>\"”»）]+|(?<![\w-])[\w-]{1,63}\.(?:com|org|net|example)/\S*", re.IGNORECASE
)
HANDLE = re.compile(r"(?<![\w@])@[\w.-]*\w")
_WORD = re.compile(r"[^\W_]{1,64}")
_CJK = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿가-힯]")
_CJK_RUN = re.compile(r"[ァ-ヿ]+|[㐀-䶿一-鿿豈-﫿々]+|[가-힯]+")
_HIRAGANA = re.compile(r"[\u3041-\u309f]+")
_JOINED = re.compile(r"[#@]([^\W_]{4,64})")
_JOINED_PART = re.compile(r"[A-ZÀ-Þ]?[a-zß-ÿ]+|[A-ZÀ-Þ]+(?![a-zß-ÿ])|\d+")
MARK = re.compile(r"[\[［【〔]\s*(\d{1,4}(?:\s*[,;、]\s*\d{1,4})*)\s*[\]］】〕]")
_SENTENCE_END = re.compile(
    r"(?:(?<=[.!?…])|(?<=[.!?…][\"”’»)])|(?<=[.!?…][\"”’»)]{2}))\s+|"
    r"(?<=[。！？])(?![」』）])|(?<=[。！？][」』）])|(?<!\s)\s*\n\s*|(?<!\s)\s+(?=•)"
)
_ENDING = 24  # no abbreviation is longer: a whole text would be searched again at each of its stops
ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:mr|mrs|ms|dr|st|sgt|cpl|gen|gov|sen|rep|lt|col|capt|prof|vs|jr|sr|inc|approx|ave|(?-i:[A-Z])|"
    r"(?:[a-z]\.)+[a-z]|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mme|av|env|sra?|dra?)\.$",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?<![\w.,])[+-]?\d+(?:[.,:’']\d+|[ \u00a0\u202f]\d{3}(?!\d))*(?:st|nd|rd|th|e|er|ère|º|ª|k|m|bn)?(?!\w)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"“([^“”]{3,})”|«([^«»]{3,})»|„([^„“]{3,})“|\"([^\"]{3,})\"|「([^「」]{2,})」")
_RETWEET = re.compile(r"^(?:RT|MT)\s+@\w+:?\s*")
_FORWARDED = re.compile(r"^(?:RT|MT|via)\s+(?:@\w+:?\s*)?")
_TAGS = re.compile(r"(?:#\w+)+")
_NAME = re.compile(r"[#@]?[^\W\d_][\w’'-]*")
_STYLED = [
    *range(0xC0, 0x250), *range(0x1E00, 0x1F00), *range(0xFB00, 0xFB07), *range(0xFF10, 0xFF5B),
    *range(0x1D400, 0x1D800),
]  # fmt: skip
_FOLD: dict[int, str | None] = {
    c: "".join(d for d in unicodedata.normalize("NFKD", chr(c)) if not unicodedata.combining(d)).lower()
    for c in _STYLED
}
_FOLD |= dict.fromkeys(range(0x300, 0x370))  # accents that no letter took in
_FOLD |= zip(map(ord, "ßæœøđłıς"), ("ss", "ae", "oe", "o", "d", "l", "i", "σ"), strict=True)
_BREAK = " | "

_INFLECTION = re.compile(r"(?:ing|ed|es|er|s|e)$")
_LETTER_RUN = re.compile(r"[^\W\d_]+")
_ARTICLES = {"one", "un", "uno", "eins", "null"}
_WONT = re.compile(r"\bwon['’]t\b")
_MODAL = {"may", "march", "mars"}
LANGUAGES = ("en", "fr", "es", "de", "pt", "it", "nl", "ja", "zh", "ko", "ar", "ru")


def fold(text: str) -> str:
    """Lower case, Latin letters without diacritics or styling: as the index folds its terms."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text).lower().translate(_FOLD)


def words(text: str) -> list[str]:
    """The index's terms of a text, in order: folded alphanumeric runs; each CJK character stands alone."""
    folded = fold(text)
    if "won" in folded:  # "won't rule it out" tells of no winner
        folded = _WONT.sub("will not", folded)
    return _WORD.findall(_spaced(folded))


def _spaced(text: str) -> str:
    return _CJK.sub(r" \g<0> ", text) if not text.isascii() and _CJK.search(text) else text


def indexed(text: str, extras: Iterable[str] = ()) -> str:
    """What the index reads of a post: its words between spaces, CamelCase hashtags and handles also in parts.

    A mark that no word holds stands between the parts, so that no phrase spans two of them.
    """
    parts = [text, *extras]
    if "#" in text or "@" in text:
        split = (_JOINED_PART.findall(joined) for joined in _JOINED.findall(text))
        parts += [" ".join(some) for some in split if len(some) > 1]
    return _BREAK.join(" ".join(words(part)) for part in parts)


def is_cjk(text: str) -> bool:
    """Whether a text is written without spaces between words."""
    return bool(_CJK.search(text))


def keywords(text: str, lang: str = "en") -> list[str]:
    """What a text in `lang` is about: its words less the function words, in order, once each.

    A run of CJK characters without kana of grammar stays whole, to be searched as a phrase.
    """
    seen: dict[str, None] = {}
    for run in _WORD.findall(_CJK_RUN.sub(r" \g<0> ", fold(_HIRAGANA.sub(" ", URL.sub(" ", text))))):
        if run not in _stop_words(lang) and (len(run) > 1 or run.isdigit()):
            seen[run] = None
    return list(seen)


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text, in order; abbreviations, decimals and initials do not end one."""
    out: list[str] = []
    for piece in _SENTENCE_END.split(text):
        if out and ABBREVIATION.search(out[-1][-_ENDING:]) and not out[-1].endswith("\n"):
            out[-1] = f"{out[-1]} {piece}"
        elif piece and piece.strip():
            out.append(piece.strip())
    return out


def bare(text: str) -> str:
    """A sentence without the links, retweet marks and trailing hashtags that carry no words of it."""
    parts = _FORWARDED.sub("", URL.sub("", text).strip()).split()
    while parts and _TAGS.fullmatch(parts[-1], parts[-1].find("#")):
        parts[-1] = parts[-1].partition("#")[0]
        if parts[-1]:
            break
        parts.pop()
    return " ".join(parts).strip(" \t-–—|•:")


def unmarked(text: str) -> str:
    """A text in which nothing looks like a citation: `[3]` is `(3)`."""
    return MARK.sub(r"(\1)", text)


def numbers(text: str) -> set[str]:
    """Numbers of a text in one spelling: `12,000` and `12 000` are `12000`, `3,5` is `3.5`, `three` is `3`."""
    text = _spaced(URL.sub(" ", text))
    spelled = _places("number_words")
    found = {_canonical(raw) for raw in _NUMBER.findall(text)}
    return found | {spelled[w] for w in words(text) if w in spelled}


def _canonical(raw: str) -> str:
    raw = re.sub(r"(?<=\d)(?:st|nd|rd|th|e|er|ère|º|ª)$", "", raw.lower()).lstrip("+")
    raw = re.sub(r"[ \u00a0\u202f’']", "", raw)
    if re.fullmatch(r"-?\d{1,3}(?:[.,]\d{3})+(?:k|m|bn)?", raw):
        return re.sub(r"[.,]", "", raw)
    return raw.replace(",", ".")


def dates(text: str) -> set[str]:
    """Months and weekdays that a text names, folded."""
    known = _places("calendar")
    return {
        fold(w) for w in _LETTER_RUN.findall(text) if fold(w) in known and not (fold(w) in _MODAL and w.islower())
    }


def quotations(text: str) -> list[str]:
    """Passages that a text puts between quotation marks."""
    return [next(g for g in groups if g).strip() for groups in _QUOTED.findall(text)]


def names(text: str) -> set[str]:
    """Handles, hashtags and capitalised words (not the first of a sentence, unless it is in capitals), folded."""
    found: set[str] = set()
    for sentence in sentences(URL.sub(" ", text)):
        for match in _NAME.finditer(sentence):
            word = match.group().strip("'’-")
            word = re.sub(r"['’]s$", "", word)
            first = not sentence[: match.start()].strip(" \"'“”«»()[]-–—•¿¡")
            if word[:1] in "#@" or (word[:1].isupper() and (not first or word.isupper()) and len(word) > 1):
                found.add(fold(word.lstrip("#@")))
    return found


def fingerprint(text: str) -> int:
    """63 bits that are equal for copies of a text: links, retweet marks, case and punctuation do not count."""
    said = _RETWEET.sub("", text) if text[:2] in ("RT", "MT") else text
    low = said.lower()
    if "/" in low or "www." in low:  # else no link is in it, and the search for one costs more than all the rest
        low = URL.sub(" ", said).lower()
    core = " ".join(_WORD.findall(low))
    return int.from_bytes(hashlib.blake2b((core or text).encode(), digest_size=8).digest(), "big") >> 1


def shingles(text: str) -> frozenset[str]:
    """Pairs of neighbouring words: what near-duplicates share."""
    terms = words(bare(text))
    return frozenset(f"{a} {b}" for a, b in pairwise(terms)) or frozenset(terms)


@lru_cache(maxsize=1024)
def language(text: str, default: str = "en") -> str:
    """ISO 639-1 code of a short text: by its function words, else by a trained identifier."""
    if re.search(r"[぀-ヿ]", text):
        return "ja"
    runs = _LETTER_RUN.findall(HANDLE.sub(" ", URL.sub(" ", text)))
    terms = [fold(w) for i, w in enumerate(runs) if not i or w.islower()]  # a name tells no language
    votes = {code: sum(t in _stop_words(code) for t in terms) for code in _word_lists()["function_words"]}
    best = max(votes, key=lambda code: votes[code])
    if 3 * votes[best] >= max(1, len(terms)) and sum(v == votes[best] for v in votes.values()) == 1:
        return best
    if len(runs) < 3:
        return default
    return str(_identifier().classify(text)[0])


def lexicon(section: str) -> dict[str, Any]:
    """One section of `words.toml`: the project's word lists by language or kind."""
    return _word_lists()[section]


@lru_cache(maxsize=1)
def _word_lists() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("voxpop").joinpath("words.toml").read_text("utf-8"))


@lru_cache(maxsize=4096)
def family(word: str) -> frozenset[str]:
    """The folded words that speak of the same thing as `word`, itself and its plain inflections among them."""
    kin = {word}
    for group in _families():
        if word in group:
            kin |= group
    if len(word) > 4 and word.isascii() and word.isalpha():
        stem = _INFLECTION.sub("", word)
        kin |= (
            {stem, *(stem + end for end in ("s", "es", "e", "ed", "ing", "er"))} if len(stem) > 3 else {word + "s"}
        )
    return frozenset(kin)


@lru_cache(maxsize=1)
def _families() -> list[frozenset[str]]:
    return [frozenset(words(line)) for lines in lexicon("families").values() for line in lines]


@lru_cache(maxsize=32)
def _stop_words(lang: str) -> frozenset[str]:
    return frozenset(words(lexicon("function_words").get(lang, "")))


@lru_cache(maxsize=2)
def _places(section: str) -> dict[str, str]:
    return {
        word: str(place)
        for group in lexicon(section).values()
        for place, word in enumerate(words(group))
        if word not in _ARTICLES
    }


@lru_cache(maxsize=1)
def _identifier() -> Any:  # loaded at first need: half a second
    import py3langid

    py3langid.set_languages(list(LANGUAGES))
    return py3langid


def counted(count: int, noun: str) -> str:
    """A count and its noun, such as `1 post` or `2,000 posts`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
