"""What settles a result: of which kind, in which words, in whose name; pure, and it judges no truth.

The words are data (`results.toml`). Where a sentence could be read either way it counts as settled: what is then
refused costs a quotation, what is let through would be a result that nobody declared.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from voxpop.messages import Passage
from voxpop.questions import Question
from voxpop.signs import sign
from voxpop.text import HANDLE, fold, quotations, sentences, words
from voxpop.times import iso

_CLAUSE = re.compile(
    r"[,;:—–()\n。、；：（）]| - |(?<!\w)(?:and|but|while|whereas|et|mais|tandis que|und|aber|wahrend|y|pero|"
    r"mientras|mas|enquanto|ma|maar)(?!\w)"
)
_BREAK = re.compile(
    r"[;—–\n。；]| - |,\s*(?=(?:and|but|while|whereas|as|et|mais|tandis|und|aber|y|pero|mientras|e|mas)\b)|"
    r"(?<!\w)(?:while|whereas|tandis que|mientras|enquanto)(?!\w)"
)
_BARE = frozenset({"to", "would", "could", "might", "may", "can", "will", "shall", "should", "must", "'ll", "'d"})
_PLAIN = frozenset({"win", "beat", "defeat", "prevail", "triumph", "clinch", "default"})
_FAR = 5
_AFTER_JA = 8
_YEAR = re.compile(
    r"(?<![\d.,#])(?<!since )(?<!than )(?<!depuis )(?<!desde )(?<!seit )((?:19|20)\d\d)(?![\d%])(?![.,]\d)"
    r"(?!\s?(?:votes?|voix|votos|stimmen|voti|stemmen|people|票|人))"
)


def kinds() -> tuple[str, ...]:
    """The kinds of result that the guard knows."""
    return tuple(_data()["kinds"])


def settled(sentence: str) -> frozenset[str]:
    """The kinds of which a sentence tells a result as settled; what is denied, supposed or asked settles nothing.

    A winner of whom no word tells the kind may be of any.
    """
    flat = _masked(sentence)
    if re.search(r"[?？]\W*$", flat):
        return frozenset()
    found: set[str] = set()
    for mentioned, pattern in _tells():
        if mentioned <= found:
            continue
        if any(not _doubted(flat, match) for match in pattern.finditer(flat)):
            found |= mentioned
    return _narrowed(frozenset(found), flat)


def mentions(text: str) -> frozenset[str]:
    """The kinds of which a text holds any word, however it is meant."""
    flat = _masked(text)
    return frozenset().union(*(mentioned for mentioned, pattern in _tells() if pattern.search(flat)))


def _masked(text: str) -> str:
    """Folded, handles made blank of their words, turns of speech that only stress left out."""
    flat = fold(HANDLE.sub(lambda m: "@" + "_" * (len(m[0]) - 1), text).replace("’", "'"))
    return _stress().sub("", flat)


def _narrowed(found: frozenset[str], flat: str) -> frozenset[str]:
    if not {"election", "match", "award"} <= found:
        return found
    near = frozenset(kind for kind, about in _about().items() if about & frozenset(words(flat)))
    return (found - frozenset(_about())) | near if near else found


def _doubted(flat: str, match: re.Match[str]) -> bool:
    """Whether what stands before a word of result takes its certainty."""
    if not match[0].isascii():
        return bool(_unsettled("ja").search(flat[match.end() : match.end() + _AFTER_JA]))
    earlier = list(_CLAUSE.split(flat[: match.start()]))
    before, given = earlier[-1].strip(), earlier[:-1]
    if any(_unsettled("given").match(clause.strip()) for clause in given):
        return True
    if _unsettled("doubts").search(before) or _unsettled("given").match(f"{before} {match[0]}"):
        return True
    near = " ".join(before.split()[-_FAR:])
    denied = _unsettled("denies").search(near) and not match[0].startswith("not guilty")
    after = words(flat[match.end() :])[:3]
    if denied or after[:1] == ["no"] or "nicht" in after or "niet" in after:
        return True
    supposed = _unsettled("supposes").search(before)
    return bool(supposed) and not (supposed[0].strip() in _BARE and match[0] not in _PLAIN)  # type: ignore[index]


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
    flat = fold(HANDLE.sub(lambda m: "@" + "_" * (len(m[0]) - 1), segment).replace("’", "'"))
    return min((m.start() for _, p in _tells() for m in [p.search(flat)] if m), default=len(flat))


# -- by whom ----------------------------------------------------------------------------------------------------


def calls(passage: Passage) -> frozenset[str]:
    """The kinds of result that a passage declares in its author's own words, as a listed authority for them.

    What it quotes or passes on, what warns of a false result, and a count that goes on declare nothing.
    """
    if passage.author_class != "authority" or passage.post.text.lstrip().startswith(("RT @", "MT @")):
        return frozenset()
    told = frozenset().union(*(settled(s) for s in own_sentences(passage)))
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


def denied(sentence: str) -> bool:
    """Whether a sentence takes back a result, or says that there is none."""
    flat = _masked(sentence)
    if _retracts("words").search(flat):
        return True
    return bool(mentions(sentence) and _unsettled("denies").search(flat)) and not settled(sentence)


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
    flat = _masked(" ".join([question.text, *(c.word for c in question.concepts)]))
    found = frozenset().union(*(mentioned for mentioned, pattern in _tells() if pattern.search(flat)))
    found |= {kind for kind, pattern in _asks().items() if pattern.search(flat)}
    if question.about_result and not found:
        found = frozenset(_about())
    return _narrowed(found, flat)


def wins(question: Question) -> bool:
    """Whether a question asks who won or is elected."""
    return bool(asked(question) & frozenset(_about()))


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
    if any(flat in about for about in (*_about().values(), _common())) or races(word):
        return True
    known = any(pattern.search(flat) for _, pattern in _tells()) or any(p.search(flat) for p in _asks().values())
    return known or any(about in flat for about in ("選挙", "投票", "結果", "wahl"))


def declaring() -> tuple[str, ...]:
    """Words by which the posts of listed authorities are looked for where a result is asked."""
    return tuple(dict.fromkeys(words(_data()["declaring"]["words"])))


def not_declared(kind: str, lang: str, at: int) -> str:
    """The label of an answer to which no listed authority's declaration belongs; `at` in microseconds of UTC."""
    said = _said(lang)
    return str(said[_data()["kinds"][kind]["notice"]]).format(time=iso(at)[11:16])


def unconfirmed(text: str, cited: Sequence[Passage], lang: str) -> str:
    """What is put behind a sentence that tells a result which nobody who may has declared; else nothing."""
    told = settled(text)
    if not told or any(calls(p) & told for p in cited):
        return ""
    if any(p.listed for p in cited) and all(_data()["kinds"][kind]["press"] for kind in told):
        return ""
    return str(_said(lang)["unconfirmed"])


@lru_cache(maxsize=1)
def labels() -> re.Pattern[str]:
    """What `unconfirmed` may have put behind a sentence, to be found in folded text."""
    said = sorted({fold(row["unconfirmed"]) for row in _data()["said"].values()}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, said)))


def _said(lang: str) -> dict[str, Any]:
    said = _data()["said"]
    return dict(said.get(lang) or said["en"])


# -- the words --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files("voxpop").joinpath("results.toml").read_text("utf-8"))


def _pattern(listed: Sequence[str], tail: str = r"(?!\w)") -> re.Pattern[str]:
    spaced, cjk = [p for p in listed if p.isascii()], [p for p in listed if not p.isascii()]
    return re.compile("|".join([*([rf"(?<!\w)(?:{'|'.join(spaced)}){tail}"] if spaced else []), *cjk]))


@lru_cache(maxsize=1)
def _tells() -> list[tuple[frozenset[str], re.Pattern[str]]]:
    return [
        (frozenset(row["kinds"]), _pattern([p for lang, listed in row.items() if lang != "kinds" for p in listed]))
        for row in _data()["tells"]
    ]


@lru_cache(maxsize=1)
def _asks() -> dict[str, re.Pattern[str]]:
    asks = {kind: list(listed) for kind, listed in _data()["asks"].items()}
    asks["election"] += asks.pop("ja")
    return {kind: _pattern(listed) for kind, listed in asks.items()}


@lru_cache(maxsize=1)
def _about() -> dict[str, frozenset[str]]:
    return {kind: frozenset(words(listed)) for kind, listed in _data()["about"].items()}


@lru_cache(maxsize=8)
def _unsettled(kind: str) -> re.Pattern[str]:
    listed = _data()["unsettled"][kind]
    if kind == "ja":
        return re.compile("|".join(listed))
    return _pattern(listed, r"\W*$" if kind == "supposes" else r"(?!\w)")


@lru_cache(maxsize=1)
def _pushes() -> re.Pattern[str]:
    return _pattern(_data()["pushes"]["words"])


@lru_cache(maxsize=2)
def _parts(kind: str) -> re.Pattern[str]:
    return _pattern(_data()["parts"][kind])


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(words(_data()["common"]["words"]))


@lru_cache(maxsize=1)
def _races() -> dict[str, re.Pattern[str]]:
    return {race: _pattern(listed) for race, listed in _data()["races"].items()}


@lru_cache(maxsize=1)
def _stress() -> re.Pattern[str]:
    return _pattern(_data()["unsettled"]["emphasis"])


@lru_cache(maxsize=3)
def _retracts(kind: str) -> re.Pattern[str]:
    return _pattern(_data()["retracts"][kind])
