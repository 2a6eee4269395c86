"""Judge by plain means of its own whether posts carry a sentence; it shares no rule with `verification`.

It sees numbers, names, quotations, negation and the share of words. It cannot see meaning: a true paraphrase in
other words is called unsupported, and a false sentence made of a post's own words passes (`docs/trust.md`).
"""

import re
import unicodedata
from collections.abc import Sequence

from voxpop.posts import Post

_QUOTED = re.compile(r"[“«„「\"]\s*(.+?)\s*[”»“」\"](?=\W*$|\W)", re.DOTALL)
_HANDLE = re.compile(r"@[\w.-]*\w")
_NUMBER = re.compile(r"\d[\d.,]*\d|\d")
_NAME = re.compile(r"(?<![.!?:“\"«]\s)(?<!^)\b[A-ZÀ-Þ][\wÀ-ÿ’'-]{2,}")
_NOT = re.compile(
    r"\b(?:not|no|never|nobody|none|n't|without|denie[sd]|false|pas|jamais|aucune?|no|nunca|nicht|kein\w*|não)\b|n't\b"
)
_SPEAKING = re.compile(
    r"\b(?:say|says|said|according|reports?|reported|claims?|claimed|writes?|tells?|denies|announce[sd]?|"
    r"dit|selon|dice|según|sagt|laut|diz|segundo|one post|un message|un mensaje|ein beitrag|uma mensagem|people)\b"
    r"|ある投稿|によると"
)
_WORD = re.compile(r"[^\W_]+")
_LITTLE = frozenset(
    _WORD.findall(
        "the and for are was were has have had his her its their this that with from but not they you will who "
        "what when where says said say one post been into over than then there about according also after before "
        "our out now"
    )
)
_ENOUGH = 0.5
_CJK = re.compile(r"[぀-ヿ㐀-鿿가-힯]")


def lacks(sentence: str, posts: Sequence[Post]) -> str:
    """Why the posts do not carry the sentence; empty where nothing speaks against it."""
    if not posts:
        return "cites nothing"
    source = _flat("\n".join(_whole(p) for p in posts))
    quoted = [_flat(q) for q in _QUOTED.findall(sentence)]
    if stray := next((q for q in quoted if _letters(q) not in _letters(source)), ""):
        return f"no cited post has the words “{stray[:60]}”"
    if handle := next((h for h in _HANDLE.findall(_QUOTED.sub(" ", sentence)) if _flat(h)[1:] not in source), ""):
        return f"{handle} wrote none of the cited posts"
    rest = _HANDLE.sub(" ", _QUOTED.sub(" ", sentence) if quoted else sentence)
    return _numbers(rest, source) or _names(rest, source) or ("" if quoted else _words(rest, source))


def attributed(sentence: str, posts: Sequence[Post]) -> bool:
    """Whether a sentence is told as somebody's words: a cited author's handle or name, or a word of speaking."""
    flat = _flat(_QUOTED.sub(" ", sentence))
    speakers = [_flat(n) for p in posts for n in (p.author.handle, p.author.name) if n]
    return any(s in flat for s in speakers) or bool(_SPEAKING.search(flat))


def holds(text: str, wanted: str) -> bool:
    """Whether a text holds most of the words of a short answer, whatever their order."""
    mine, theirs = _stems(_flat(text)), _stems(_flat(wanted)) or set(_WORD.findall(_flat(wanted)))
    if _CJK.search(wanted):
        return _letters(_flat(wanted)) in _letters(_flat(text))
    said = mine | set(_WORD.findall(_flat(text)))
    return bool(theirs) and len(theirs & said) >= 0.6 * len(theirs)


def overlap(one: str, other: str) -> float:
    """The share of the words of `one` that `other` has."""
    mine, theirs = _stems(_flat(one)), _stems(_flat(other))
    return len(mine & theirs) / len(mine) if mine else 0.0


def _numbers(rest: str, source: str) -> str:
    known = {_plain(n) for n in _NUMBER.findall(source)}
    stray = next((n for n in _NUMBER.findall(rest) if _plain(n) not in known), "")
    return f"no cited post has the number {stray}" if stray else ""


def _names(rest: str, source: str) -> str:
    stray = next((n for n in _NAME.findall(rest) if _flat(n)[:5] not in source), "")
    return f"no cited post has the name {stray}" if stray else ""


def _words(rest: str, source: str) -> str:
    mine, theirs = _stems(_flat(rest)), _stems(source)
    if _CJK.search(rest) or not mine:
        return ""
    if len(mine & theirs) < _ENOUGH * len(mine):
        return "most of its words are in no cited post"
    if bool(_NOT.search(_flat(rest))) and not _NOT.search(source):
        return "denies what no cited post denies"
    return ""


def _whole(post: Post) -> str:
    return "\n".join([post.text, post.author.name, post.author.handle, *(m.alt for m in post.media)])


def _flat(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.replace("’", "'")).lower()
    return "".join(c for c in plain if not unicodedata.combining(c))


def _letters(text: str) -> str:
    return "".join(_WORD.findall(text))


def _plain(number: str) -> str:
    return re.sub(r"[.,](?=\d{3}(?:\D|$))", "", number).replace(",", ".")


def _stems(flat: str) -> set[str]:
    return {
        w if w.isdigit() else w[:5] for w in _WORD.findall(flat) if (len(w) > 2 or w.isdigit()) and w not in _LITTLE
    }
