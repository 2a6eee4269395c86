"""What a sentence tells as settled: a result, of which kind, of now; pure, and it asks not whose word it is.

The words are data (`results.toml`). Where a sentence could be read either way it counts as settled: what is then
refused costs a quotation, what is let through would be a result that nobody declared.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from voxpop.text import HANDLE, fold, language, words

_CLAUSE = re.compile(
    r"[,;:—–()\n。、；：（）]| - |(?<!\w)(?:and|but|while|whereas|et|mais|tandis que|und|aber|wahrend|y|pero|"
    r"mientras|mas|enquanto|ma|maar)(?!\w)"
)
_BARE = frozenset({"to", "would", "could", "might", "may", "can", "will", "shall", "should", "must", "'ll", "'d"})
_PLAIN = frozenset({"win", "beat", "defeat", "prevail", "triumph", "clinch", "default"})
_AUXILIARY = re.compile(r"(?: (?:has|have|had|will|would|is|was|a|ont|est|sera|ha|han|fue|es|hat|haben|tem|foi))+$")
_LAST = frozenset({"asks", "supposes", "disowns", "after"})
_FAR = 5
_AFTER_JA = 8


@lru_cache(maxsize=4096)
def settled(sentence: str) -> frozenset[str]:
    """The kinds of which a sentence tells a result as settled; what is denied, supposed or asked settles nothing.

    A winner of whom no word tells the kind may be of any.
    """
    flat = plain(sentence)
    if re.search(r"[?？]\W*$", flat):
        return frozenset()
    found: set[str] = set()
    if form("heading").match(flat.lstrip(" #*!-")):
        found.add("election")
    for mentioned, pattern in tells():
        if mentioned <= found:
            continue
        if any(not _doubted(flat, match) for match in pattern.finditer(flat)):
            found |= mentioned
    return narrowed(frozenset(found), flat)


def headed(sentence: str) -> bool:
    """Whether a sentence declares only by the word that it opens with: "DECLARED: Oss, all counted"."""
    flat = fold(sentence).lstrip(" #*!-")
    opens = form("heading").match(flat)
    return opens is not None and not settled(flat[opens.end() :].lstrip(" :"))


def mentions(text: str) -> frozenset[str]:
    """The kinds of which a text holds any word, however it is meant."""
    flat = plain(text)
    return frozenset().union(*(mentioned for mentioned, pattern in tells() if pattern.search(flat)))


def plain(text: str) -> str:
    """Folded, handles made blank of their words, turns of speech that only stress left out."""
    return _stress().sub("", unmixed(text))


def unmixed(text: str) -> str:
    """Folded, of the same length: handles blank, and words blank that only mean a result in another language."""
    flat = fold(HANDLE.sub(lambda m: "@" + "_" * (len(m[0]) - 1), text).replace("’", "'"))
    if not _any_homograph().search(flat):
        return flat
    here = _homographs().get(language(text))
    return here.sub(lambda m: "_" * len(m[0]), flat) if here else flat


def narrowed(found: frozenset[str], flat: str) -> frozenset[str]:
    if not {"election", "match", "award"} <= found:
        return found
    near = frozenset(kind for kind, about in about_kinds().items() if about & frozenset(words(flat)))
    return (found - frozenset(about_kinds())) | near if near else found


def _doubted(flat: str, match: re.Match[str]) -> bool:
    """Whether what stands before a word of result takes its certainty."""
    if not match[0].isascii():
        return bool(unsettled("ja").search(flat[match.end() : match.end() + _AFTER_JA]))
    earlier = list(_CLAUSE.split(flat[: match.start()]))
    before, given = earlier[-1].strip(), earlier[:-1]
    if any(unsettled("given").match(clause.strip()) for clause in given):
        return True
    if (given and unsettled("disowns").search(given[-1].strip())) or unsettled("after").search(flat, match.end()):
        return True
    if _asked_only(earlier) or unsettled("doubts").search(before):
        return True
    if unsettled("given").match(f"{before} {match[0]}"):
        return True
    near = " ".join(before.split()[-_FAR:])
    denied = unsettled("denies").search(near) and not match[0].startswith("not guilty")
    after = words(flat[match.end() :])[:3]
    if denied or after[:1] == ["no"] or "nicht" in after or "niet" in after:
        return True
    supposed = unsettled("supposes").search(before)
    return bool(supposed) and not (supposed[0].strip() in _BARE and match[0] not in _PLAIN)  # type: ignore[index]


def _asked_only(earlier: Sequence[str]) -> bool:
    # "Lind, who won" tells; "who won" at the head of a sentence, and "to know who won", only ask.
    before = _AUXILIARY.sub("", " ".join(earlier[-1].split()))
    found = unsettled("asks").search(before)
    if not found:
        return False
    return found[0] != before or before.startswith("wer") or not any(clause.strip() for clause in earlier[:-1])


def only_asks(sentence: str) -> bool:
    """Whether a sentence speaks of who won only as of a question, and tells no result."""
    flat = plain(sentence)
    heads = (_CLAUSE.split(flat[: m.start()]) for _, p in tells() for m in p.finditer(flat) if m[0].isascii())
    return any(_asked_only(list(head)) for head in heads) and not settled(sentence)


def past(sentence: str) -> bool:
    """Whether what a sentence tells is of an earlier time than its own: the last time, years ago."""
    parts = re.split(r"[,;:—–(、。]", fold(sentence))
    told = [any(p.search(part) for _, p in tells()) for part in parts]
    return any(is_earlier(part) and (told[i] or not i) for i, part in enumerate(parts))


def is_earlier(text: str) -> bool:
    """Whether a text names an earlier time by its distance, not by its year."""
    return any(_earlier(kind).search(fold(text)) for kind in ("words", "before"))


def year_before(text: str) -> bool:
    """Whether a text speaks of the year before its own."""
    return bool(_earlier("before").search(fold(text)))


# -- the words --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def lists() -> dict[str, Any]:
    return tomllib.loads(resources.files("voxpop").joinpath("results.toml").read_text("utf-8"))


def pattern_of(listed: Sequence[str], tail: str = r"(?!\w)") -> re.Pattern[str]:
    spaced, cjk = [p for p in listed if p.isascii()], [p for p in listed if not p.isascii()]
    return re.compile("|".join([*([rf"(?<!\w)(?:{'|'.join(spaced)}){tail}"] if spaced else []), *cjk]))


@lru_cache(maxsize=1)
def tells() -> list[tuple[frozenset[str], re.Pattern[str]]]:
    rows = [(frozenset(row.pop("kinds")), row) for row in map(dict, lists()["tells"])]
    return [(mentioned, pattern_of([p for listed in row.values() for p in listed])) for mentioned, row in rows]


@lru_cache(maxsize=1)
def about_kinds() -> dict[str, frozenset[str]]:
    return {kind: frozenset(words(listed)) for kind, listed in lists()["about"].items()}


@lru_cache(maxsize=8)
def unsettled(kind: str) -> re.Pattern[str]:
    listed = lists()["unsettled"][kind]
    if kind == "ja":
        return re.compile("|".join(listed))
    return pattern_of(listed, r"\W*$" if kind in _LAST else r"(?!\w)")


@lru_cache(maxsize=1)
def _homographs() -> dict[str, re.Pattern[str]]:
    return {lang: pattern_of(listed) for lang, listed in lists()["homographs"].items()}


@lru_cache(maxsize=1)
def _any_homograph() -> re.Pattern[str]:
    return re.compile("|".join(pattern.pattern for pattern in _homographs().values()))


@lru_cache(maxsize=1)
def _stress() -> re.Pattern[str]:
    return pattern_of(lists()["unsettled"]["emphasis"])


@lru_cache(maxsize=2)
def _earlier(kind: str) -> re.Pattern[str]:
    return pattern_of(lists()["earlier"][kind])


@lru_cache(maxsize=2)
def form(kind: str) -> re.Pattern[str]:
    return pattern_of(lists()["forms"][kind])
