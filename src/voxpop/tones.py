"""Whether a post is in earnest: satire or parody where its account or it itself says so, or only a question; pure.

It guesses nothing from what is said: who writes about satire is no satirist. An account's own words (name, handle,
bio) are heard only where they lower what may be believed of it.
"""

import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache, reduce
from importlib import resources
from typing import Any, Literal

from voxpop.messages import Passage, Tone
from voxpop.posts import Author, Post
from voxpop.signs import is_statement, sign
from voxpop.text import URL, bare, fold, quotations, sentences, words

Jest = Literal["satire", "parody"]
JESTS: tuple[Jest, ...] = ("parody", "satire")
# How an answer says it, by its language.
_LABELS: dict[str, dict[str, str]] = {
    "en": {"satire": "satire", "parody": "parody"},
    "fr": {"satire": "satire", "parody": "parodie"},
    "es": {"satire": "sátira", "parody": "parodia"},
    "de": {"satire": "Satire", "parody": "Parodie"},
    "pt": {"satire": "sátira", "parody": "paródia"},
    "ja": {"satire": "風刺", "parody": "パロディ"},
}
_TEXTS = 4096  # what is found of a text is kept: many questions find the same posts
_LONGEST = 2000
_MOST_NAMED = 6
_PARTS = re.compile(
    r"[.!?;:|•·,/／()\[\]{}（）【】「」『』。、！？｜–—*~\"“”«»\n\u2600-\u27bf\U0001f000-\U0001faff]|\s-\s"
)
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|&")
_BRACKET = r"[\[(（【]([^\[\](){}（）【】]{1,40})[\])）】]"
_OPENS = re.compile(rf"\W{{0,8}}{_BRACKET}")
_CLOSES = re.compile(rf"(?:[.!?…。！？\"”’»\u2600-\u27bf\U0001f000-\U0001faff]|\n)\s*{_BRACKET}\W*$")
_HEADING = re.compile(r"\W{0,8}([A-ZÀ-Þ][A-ZÀ-Þ ]{4,24}?) ?[:|–—-] ")
_MARKED = re.compile(r"(?<![^\s.!?…\"”’)])(/[a-zA-Z]{1,12})$")  # "km/s" is none
_FAKE = re.compile(r"\b(?:fake|faux|fals[ao])\b|偽").search
_FIRST_TAGS = re.compile(r"\W{0,8}((?:#\w+[\s,]*)+)")
_LAST_TAGS = re.compile(r"((?:#\w+[\s,.!]*)+)$")
_JOINED = ("of", "on", "for", "the", "and", "about", "in", "vs", "de", "la", "le", "el", "der", "die", "du", "da")


def tone(post: Post) -> Tone:
    """How a post is meant, by its account's word, else its own; empty where neither says so."""
    about = bool(post.reply_to or post.quote_of or post.links or post.media)  # "this is satire" speaks of that
    return of_account(post.author) or _of_text(post.text, about) or ("question" if only_asks(post.text) else "")


def label(how: Tone, lang: str) -> str:
    """What stands behind a name in an answer, such as ` (parody)`; empty for who is in earnest."""
    said = _LABELS.get(lang, _LABELS["en"]).get(how, "")
    return f" ({said})" if said else ""


def unlabelled(text: str, cited: Iterable[Passage]) -> tuple[str, str]:
    """A sentence without the labels of the jests that it cites, and what it lacks where it calls one no jest."""
    for passage in cited:
        if passage.jests:
            said = [label(passage.tone, lang) for lang in _LABELS]
            bare_text = re.sub("|".join(map(re.escape, said)), "", text, flags=re.IGNORECASE)
            if bare_text == text:
                return text, f"does not call it {passage.tone}"
            text = bare_text
    return text, ""


@lru_cache(maxsize=8192)
def of_account(author: Author) -> Jest | Literal[""]:
    """What an account says of itself, or its network of it."""
    if author.label == "parody":
        return "parody"
    handle = re.sub(r"[\W_\d]", "", fold(author.handle.partition("@")[0]))
    for jest in JESTS:
        if any(_declares(part, jest) for text in (author.name, author.bio) for part in _PARTS.split(text)):
            return jest
        if _ends_with(author.name, jest) or re.search(_lists()["handle"][jest], handle):
            return jest
    parts = [_plain(p) for text in (author.name, author.bio) for p in _PARTS.split(text)]
    return "parody" if any(_pattern("not_real").match(p) for p in parts) else ""


@lru_cache(maxsize=8192)
def unofficial(author: Author) -> bool:
    """Whether an account says that it is not theirs of whom it speaks: a fan's, an unofficial one."""
    text = f"{author.name} | {author.bio}"
    found = any(_pattern("unofficial").search(_plain(part)) for part in _PARTS.split(text))
    return found or bool(re.search(_lists()["unofficial"]["ja"], text))


@lru_cache(maxsize=_TEXTS)
def only_asks(text: str) -> bool:
    """Whether a text asks and states nothing."""
    said = [bare(s) for s in sentences(text)]
    asks = any(re.search(r"[?？]", s) or sign("asking").search(fold(s)) for s in said)
    return asks and not any(is_statement(s) for s in said)


@lru_cache(maxsize=_TEXTS)
def _of_text(whole: str, about: bool) -> Jest | Literal[""]:
    text = URL.sub(" ", whole[:_LONGEST]).strip()
    body = _LAST_TAGS.sub("", text).strip()
    marks = [m[1] for m in (_OPENS.match(text), _CLOSES.search(body), _HEADING.match(text)) if m]
    if not about:
        own = reduce(lambda said, quoted: said.replace(quoted, " "), quotations(body), body)
        marks += [s for s in sentences(own) if len(s) <= 60 and not _words("others") & set(words(s))]
    marks = [m for m in marks if not _FAKE(fold(m))]  # who warns of a fake speaks of somebody else
    for jest in JESTS:
        if any(_declares(mark.strip(" .!?。！"), jest) for mark in marks):
            return jest
    ending = _MARKED.search(body)
    ends = _lists()["post"]["ends"]
    return next((jest for jest in JESTS if ending and ending[1].lower() in ends[jest]), _tagged(text))


def _tagged(text: str) -> Jest | Literal[""]:
    """The hashtag before or after a text by which it calls itself so; not where the text is about such things."""
    runs = [m[1] for m in (_FIRST_TAGS.match(text), _LAST_TAGS.search(text)) if m]
    tags = {fold(tag) for run in runs for tag in re.findall(r"#(\w+)", run)}
    lists = _lists()["post"]
    spoken = set(words(_LAST_TAGS.sub("", _FIRST_TAGS.sub("", text))))
    found: list[Jest] = [jest for jest in JESTS if tags & set(lists["tags"][jest])]
    return found[0] if found and not spoken & _words("about") else ""


def _declares(part: str, jest: Jest) -> bool:
    """Whether a part of a text says this of itself and nothing else; "parody of" may be followed by a few words."""
    if len(part) > 120:
        return False
    if re.fullmatch(_lists()["ja"][jest], "".join(fold(part).split()).strip("※")):
        return True
    plain = " ".join(_pattern("unofficial").sub(" ", _plain(part)).split())
    said = _pattern(jest).search(plain)
    if not said:
        return False
    before, after = plain[: said.start()].split(), plain[said.end() :].split()
    named = next((i for i, word in enumerate(after) if word in _lists()["says"]["whom"]), len(after))
    beside = (*before, *(w for w in after[:named] if not any(_pattern(j).fullmatch(w) for j in JESTS)))
    return len(after) - named <= _MOST_NAMED + 1 and set(beside) <= _words("beside")


def _ends_with(name: str, jest: Jest) -> bool:
    """Whether a name ends so, such as "Mayor Parody"; "Museum of Parody" names a subject."""
    *before, last = _plain(name).split() or [""]
    return bool(before and before[-1] not in _JOINED and _pattern(jest).fullmatch(last))


def _plain(text: str) -> str:
    return " ".join(_TOKEN.findall(fold(text).replace("’", "'")))


@lru_cache(maxsize=8)
def _pattern(kind: str) -> re.Pattern[str]:
    lists = _lists()
    listed: Iterable[str] = lists["unofficial"]["says"] if kind == "unofficial" else lists["says"][kind]
    return re.compile(rf"(?<![\w'-])(?:{'|'.join(listed)})(?![\w'-])")


@lru_cache(maxsize=4)
def _words(kind: str) -> frozenset[str]:
    listed = _lists()["says" if kind == "beside" else "post"][kind]
    return frozenset(listed.split())


@lru_cache(maxsize=1)
def _lists() -> dict[str, Any]:
    return tomllib.loads(resources.files("voxpop").joinpath("tones.toml").read_text("utf-8"))
