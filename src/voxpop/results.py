"""What settles a result: in whose name it is told, who calls it, what asks for it; pure, and it judges no truth."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from voxpop.messages import Passage
from voxpop.questions import Question
from voxpop.settling import (
    about_kinds,
    form,
    lists,
    mentions,
    narrowed,
    past,
    pattern_of,
    plain,
    settled,
    tells,
    unmixed,
    unsettled,
)
from voxpop.signs import sign
from voxpop.text import fold, quotations, sentences, words
from voxpop.times import iso

_BREAK = re.compile(
    r"[;—–\n。；]| - |,\s*(?=(?:and|but|while|whereas|as|et|mais|tandis|und|aber|y|pero|mientras|e|mas)\b)|"
    r"(?<!\w)(?:while|whereas|tandis que|mientras|enquanto)(?!\w)"
)
_YEAR = re.compile(
    r"(?<![\d.,#])(?<!since )(?<!than )(?<!depuis )(?<!desde )(?<!seit )((?:19|20)\d\d)(?![\d%])(?![.,]\d)"
    r"(?!\s?(?:votes?|voix|votos|stimmen|voti|stemmen|people|票|人))"
)


def kinds() -> tuple[str, ...]:
    """The kinds of result that the guard knows."""
    return tuple(lists()["kinds"])


# -- in whose name ----------------------------------------------------------------------------------------------


def in_no_ones_name(text: str, speakers: Sequence[re.Pattern[str]]) -> frozenset[str]:
    """The kinds of result that a text tells as settled where none of these speakers says so.

    A speaker governs what follows its word of saying, up to a break; or the sentence that it closes.
    """
    found: set[str] = set()
    for segment in _segments(text):
        if told := settled(segment):
            found |= frozenset() if any(_governs(s, segment) for s in speakers) else told
    return frozenset(found)


def _segments(text: str) -> Iterator[str]:
    """A text cut where what was said so far need not govern what follows; never inside a quotation."""
    held = {i for q in quotations(text) if (at := text.find(q)) >= 0 for i in range(at, at + len(q))}
    flat, begin = fold(text), 0
    cuts = [m for m in _BREAK.finditer(flat) if m.start() not in held] if len(flat) == len(text) else []
    for cut in cuts:
        yield text[begin : cut.start()]
        begin = cut.end()
    yield text[begin:]


def _governs(speaker: re.Pattern[str], segment: str) -> bool:
    flat = fold(segment)
    named = speaker.search(flat)
    if not named:
        return False
    first = _first(segment)
    saying = sign("says").search(flat, named.end()) or sign("says").search(flat[: named.start()])
    if named.start() < first:
        between = flat[named.end() : max(first, named.end())]
        return bool(sign("says").search(between) or re.search("[:：「]", between) or _by(flat, named))
    return bool(saying) and len(words(sign("says").sub(" ", flat[named.end() :]))) <= 1


def _by(flat: str, named: re.Match[str]) -> bool:
    return bool(
        re.search(r"(?:according to|selon|d'apres|segun|laut|segundo|secondo|volgens)\s*$", flat[: named.start()])
    )


def _first(segment: str) -> int:
    flat = unmixed(segment)
    return min((m.start() for _, p in tells() for m in [p.search(flat)] if m), default=len(flat))


# -- by whom ----------------------------------------------------------------------------------------------------


def calls(passage: Passage) -> frozenset[str]:
    """The kinds of result that a passage declares in its author's own words, as a listed authority for them.

    What it quotes or passes on, what warns of a false result, and a count that goes on declare nothing.
    """
    if passage.author_class != "authority" or passage.post.text.lstrip().startswith(("RT @", "MT @")):
        return frozenset()
    told = frozenset().union(*(settled(s) for s in own_sentences(passage) if not past(s)))
    return frozenset(kind for kind in told if may_call(passage, kind))


def own_sentences(passage: Passage) -> list[str]:
    """The sentences of a post that are its author's own and meant: none in quotation marks, or of a rehearsal."""
    text = passage.post.text
    for quoted in quotations(text):
        text = text.replace(quoted, " ")
    said = sentences(text)
    apart = any(_retracts(kind).search(fold(s)) for kind in ("foreign", "rehearsed") for s in said)
    return [] if apart else said


def may_call(passage: Passage, kind: str) -> bool:
    """Whether a passage's author is an authority whose declaration of this kind counts for what is asked."""
    return passage.author_class == "authority" and (kind in passage.calls or "*" in passage.calls)


def retracts(passage: Passage) -> bool:
    """Whether an account takes back a result here, or says that there is none."""
    return any(denied(s) for s in own_sentences(passage))


@lru_cache(maxsize=4096)
def denied(sentence: str) -> bool:
    """Whether a sentence takes back a result, or says that there is none."""
    flat = plain(sentence)
    if _retracts("words").search(flat):
        return True
    return bool(mentions(sentence) and unsettled("denies").search(flat)) and not settled(sentence)


def years(text: str) -> frozenset[int]:
    """The years that a text names as the time of something; not those since when something was not so."""
    return frozenset(int(year) for year in _YEAR.findall(fold(text)))


# -- what is asked, and what is said of it ------------------------------------------------------------------------


def kind_of(question: Question) -> str:
    """The kind of result that a question asks for, the likeliest of several; empty where it asks for none."""
    found = asked(question)
    return next((kind for kind in kinds() if kind in found), "")


def asked(question: Question) -> frozenset[str]:
    """The kinds of result that a question may ask for: who won may be an election, a match or an award."""
    said = frozenset(words(question.text))
    flat = " ".join([plain(question.text), *(c.word for c in question.concepts if c.word not in said)])
    found = frozenset().union(*(mentioned for mentioned, pattern in tells() if pattern.search(flat)))
    found |= {kind for kind, pattern in _asks().items() if pattern.search(flat)}
    if asks_call(question.text):
        found |= {"election"}
    if question.about_result and not found:
        found = frozenset(about_kinds())
    return narrowed(found, flat)


def wins(question: Question) -> bool:
    """Whether a question asks who won or is elected."""
    return bool(asked(question) & frozenset(about_kinds()))


def unpushed(text: str) -> str:
    """A question without what only pushes for an answer; the text itself where nothing else is in it."""
    flat = fold(text.replace("’", "'"))
    if len(flat) != len(text):
        return text
    for push in reversed(list(_pushes().finditer(flat))):
        text = f"{text[: push.start()]} {text[push.end() :]}"
    plain = re.sub(r"\s+", " ", text).strip(" ,.:;!-")
    return plain if words(plain) else text


def races(text: str) -> frozenset[str]:
    """The offices that a text names."""
    flat = fold(text)
    return frozenset(race for race, pattern in _races().items() if pattern.search(flat))


def partly(kind: str, text: str) -> bool:
    """Whether a text speaks of a part of the whole (`region`), or of another race of the same office (`other`)."""
    return bool(_parts(kind).search(fold(text)))


def is_common(word: str) -> bool:
    """Whether a word is one of results, offices or kinds of race: it tells no race from another of its office."""
    flat = fold(word)
    if any(flat in about for about in (*about_kinds().values(), _common())) or races(word):
        return True
    known = any(pattern.search(flat) for _, pattern in tells()) or any(p.search(flat) for p in _asks().values())
    return known or any(about in flat for about in ("選挙", "投票", "結果", "wahl"))


def declaring() -> tuple[str, ...]:
    """Words by which the posts of listed authorities are looked for where a result is asked."""
    return tuple(dict.fromkeys(words(lists()["declaring"]["words"])))


def not_declared(kind: str, lang: str, at: int) -> str:
    """The label of an answer to which no listed authority's declaration belongs; `at` in microseconds of UTC."""
    said = _said(lang)
    return str(said[lists()["kinds"][kind]["notice"]]).format(time=iso(at)[11:16])


def unconfirmed(text: str, cited: Sequence[Passage], lang: str) -> str:
    """What is put behind a sentence that tells a result which nobody who may has declared; else nothing."""
    told = settled(text)
    if not told or any(calls(p) & told for p in cited):
        return ""
    if any(p.listed for p in cited) and all(lists()["kinds"][kind]["press"] for kind in told):
        return ""
    return str(_said(lang)["unconfirmed"])


@lru_cache(maxsize=1)
def labels() -> re.Pattern[str]:
    """What `unconfirmed` may have put behind a sentence, to be found in folded text."""
    said = sorted({fold(row["unconfirmed"]) for row in lists()["said"].values()}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, said)))


def _said(lang: str) -> dict[str, Any]:
    said = lists()["said"]
    return dict(said.get(lang) or said["en"])


def asks_call(text: str) -> bool:
    """Whether a question asks if an authority has declared somebody."""
    return bool(form("called").search(fold(text)))


# -- the words --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _asks() -> dict[str, re.Pattern[str]]:
    asks = {kind: list(listed) for kind, listed in lists()["asks"].items()}
    asks["election"] += asks.pop("ja")
    return {kind: pattern_of(listed) for kind, listed in asks.items()}


@lru_cache(maxsize=1)
def _pushes() -> re.Pattern[str]:
    return pattern_of(lists()["pushes"]["words"])


@lru_cache(maxsize=2)
def _parts(kind: str) -> re.Pattern[str]:
    return pattern_of(lists()["parts"][kind])


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(words(lists()["common"]["words"]))


@lru_cache(maxsize=1)
def _races() -> dict[str, re.Pattern[str]]:
    return {race: pattern_of(listed) for race, listed in lists()["races"].items()}


@lru_cache(maxsize=3)
def _retracts(kind: str) -> re.Pattern[str]:
    return pattern_of(lists()["retracts"][kind])
