"""Make labelled pairs of a sentence and a post from recorded posts and question sets; it keeps none of their text.

Right ones: a post's own sentence in its author's name, a person's answer to a question about the post. Wrong ones:
the same with the likest other post, or with one edit. What is labelled is how a pair was made; see
docs/verification.md for what that leaves out.

    python -m voxpop.evaluation.real_pairs FOLDER --misses
"""

import gzip
import html
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import log
from pathlib import Path
from typing import Any

import zstandard

from voxpop.evaluation import citations
from voxpop.evaluation.citations import Pair
from voxpop.figures import is_grammar
from voxpop.messages import Passage
from voxpop.posts import Author, Post
from voxpop.signs import is_statement
from voxpop.text import bare, fingerprint, numbers, sentences, words

_SIGNED = re.compile(r"\s*[—–-]*\s*[^—–]{0,60}\(@(\w+)\)\s+\w+ \d{1,2}, \d{4}\s*$")
_TAG = re.compile(r"<[^>]*>")
_WH = re.compile(
    r"^(?:and |so )?(who|whom|what|which|where|when|how (?:many|much|long|old|far|often))\b(.*?)\??\s*$"
)
_AUXILIARY = frozenset(["did", "do", "does"])
_CAUSES = (
    "a strike",
    "track work",
    "a power cut",
    "heavy rain",
    "a court order",
    "a lack of money",
    "safety fears",
)
_ENOUGH = 5
_IF = re.compile(r"(?i)\W*(?:if|when|while|as|after|before|because|since|although|though|unless)\b")


def of_questions(folder: Path, limit: int = 3000) -> list[Pair]:
    """Pairs of TweetQA: a question with its answer as a statement on the tweet, and the tweet's own sentences."""
    rows = [*_rows(folder / "qa" / "tweetqa_train.jsonl.gz")][:limit]
    posts = [_tweet(row) for row in rows]
    luck = random.Random(1)
    near = Nearest(posts)
    kinds = defaultdict(list)
    for row in rows:
        kinds[_kind(row)].append(row["answers"][0])
    made: list[Pair] = []
    for row, passage in zip(rows, posts, strict=True):
        if said := statement(row["question"], row["answers"][0]):
            made.append(Pair("answered", True, _named(said, passage), passage))
            other = luck.choice(kinds[_kind(row)])
            wrong = statement(row["question"], other)
            if wrong and not _holds(passage, other) and not _alike(other, row["answers"]):
                made.append(Pair("another answer", False, _named(wrong, passage), passage))
            if likest := near(said, passage):
                made.append(Pair("answered of another post", False, _named(said, likest), likest))
    return made + of_posts(posts, near, luck)


def of_news(folder: Path) -> list[Pair]:
    """Pairs of RealTimeQA: a question with the right or a wrong choice, on the evidence that its editors give."""
    rows = [r for r in _rows(folder / "qa" / "realtimeqa_2022.jsonl.gz") if len(_evidence(r)) > 40]
    made: list[Pair] = []
    for row in rows:
        passage = _post(row["question_id"], "news.example", _evidence(row), "news")
        for place, choice in enumerate(row["choices"]):
            right = str(place) in row["answer"]
            said = statement(row["question_sentence"], choice)
            if said and (not right or _holds(passage, choice)):
                made.append(Pair("choice" if right else "wrong choice", right, _named(said, passage), passage))
    return made


def of_recording(path: Path, limit: int = 700) -> list[Pair]:
    """Pairs of a recorded window: the posts' own sentences, swapped and edited."""
    seen: dict[int, Passage] = {}
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            passage = _post(str(row["id"]), row.get("author") or "nobody", row["text"], row["platform"])
            seen.setdefault(fingerprint(row["text"]), passage)
    posts = list(seen.values())
    luck = random.Random(2)
    return of_posts(luck.sample(posts, min(limit, len(posts))), Nearest(posts), luck)


def of_posts(posts: Sequence[Passage], near: "Nearest", luck: random.Random) -> list[Pair]:
    """Each post's longest own sentence, with the likest other post, and with edits of many kinds."""
    made: list[Pair] = []
    found = [n for p in posts for n in re.findall(r"(?<=[a-z] )[A-Z][a-z]{3,}", p.post.text)]
    pool = [n for n in found if not is_grammar(n)]
    parts = [s for p in posts for s in sentences(p.post.text) if is_statement(s)]
    for passage in posts:
        own = [bare(s) for s in sentences(passage.post.text) if is_statement(bare(s)) and len(words(s)) >= _ENOUGH]
        if not own:
            continue
        said = max(own, key=len)
        made.append(Pair("own sentence", True, _named(said, passage), passage))
        if shorter := _shorter(said):
            made.append(Pair("own sentence, shorter", True, _named(shorter, passage), passage))
        if likest := near(said, passage):
            made.append(Pair("other post", False, _named(said, likest), likest))
        for kind, changed in edits(said, passage, pool, parts, luck):
            made.append(Pair(kind, False, _named(changed, passage), passage))
    return made


def edits(
    said: str, passage: Passage, pool: Sequence[str], parts: Sequence[str], luck: random.Random
) -> Iterator[tuple[str, str]]:
    """A true sentence with one thing changed, so that its post no longer carries it."""
    figures = [m for m in re.finditer(r"(?<![\w.,#@])\d+(?![\w])", said)]
    if figures:
        found = luck.choice(figures)
        new = str(int(found[0]) + luck.choice((1, 2, 7, 10, 30)))
        if not _holds(passage, new):
            yield "number", said[: found.start()] + new + said[found.end() :]
    named = list(re.finditer(r"(?<=[a-z] )[A-Z][a-z]{3,}\b", said))
    if named and pool:
        found, new = luck.choice(named), luck.choice(pool)
        if not _holds(passage, new):
            yield "name", said[: found.start()] + new + said[found.end() :]
    if (changed := re.sub(r"\b(is|are|was|were|has|have|will|can) (?!not)", r"\1 not ", said, count=1)) != said:
        yield "not added", changed
    if (changed := re.sub(r"\b(?:not|never) ", "", said, count=1)) != said:
        yield "not dropped", changed
    yield "reason", said.rstrip(" .!…") + f" because of {luck.choice(_CAUSES)}."
    mine, theirs = said.split(), luck.choice(parts).split()
    if len(mine) > 6 and len(theirs) > 6:
        mixed = " ".join(mine[: len(mine) // 2] + theirs[len(theirs) // 2 :])
        if _lacks(passage, mixed):
            yield "recombined", mixed


def statement(question: str, answer: str) -> str:
    """A question with its answer as one sentence, word order as it comes; empty without a wh-word."""
    found = _WH.match(re.sub(r"^.*?, (?=wh|how)", "", question.strip().lower()))
    if not found:
        return ""
    wh, rest = found[1], found[2].split()
    noun: list[str] = []
    if wh.startswith(("which", "what", "how")):
        while rest and rest[0] not in _AUXILIARY | _BE:
            noun.append(rest.pop(0))
        if not rest:
            noun, rest = noun[:1], noun[1:]
    if rest and rest[0] in _AUXILIARY:
        return " ".join([*rest[1:], answer]).strip()
    if wh.startswith(("where", "when", "how")) or (wh == "what" and rest[:1] and rest[0] in _BE and len(rest) > 2):
        return " ".join([*rest[1:], *rest[:1], answer]).strip()
    return " ".join([answer, *rest]).strip() if wh.startswith("who") else " ".join([*noun, answer, *rest]).strip()


_BE = frozenset(["is", "are", "was", "were", "will", "can", "could", "should", "would", "has", "have", "had"])


class Nearest:
    """The likest other post that lacks a good part of a sentence, by shared words, rare ones counting more."""

    def __init__(self, posts: Sequence[Passage]) -> None:
        self._posts = posts
        self._words = [frozenset(words(p.post.text)) for p in posts]
        seen = Counter(w for found in self._words for w in found)
        self._rare = {w: log(len(posts) / n) for w, n in seen.items()}
        self._with: defaultdict[str, list[int]] = defaultdict(list)
        for i, found in enumerate(self._words):
            for word in found:
                self._with[word].append(i)

    def __call__(self, said: str, own: Passage) -> Passage | None:
        scores: Counter[int] = Counter()
        for word in frozenset(words(said)):
            for i in self._with[word] if len(self._with[word]) < 400 else ():
                scores[i] += self._rare[word]  # type: ignore[assignment]
        for i, _ in scores.most_common(12):
            other = self._posts[i]
            if other.post.id != own.post.id and _lacks(other, said) and other.post.text != own.post.text:
                return other
        return None


def _lacks(passage: Passage, said: str) -> bool:
    """Whether a post surely does not carry a sentence: a quarter of its words are not there."""
    mine = frozenset(w for w in words(said) if len(w) > 3 or w.isdigit())
    return len(mine - frozenset(words(passage.post.text))) >= max(2, 0.25 * len(mine))


def _holds(passage: Passage, text: str) -> bool:
    wanted = frozenset(words(text)) | numbers(text)
    return len(wanted & (frozenset(words(passage.post.text)) | numbers(passage.post.text))) >= 0.5 * len(wanted)


def _alike(answer: str, others: Iterable[str]) -> bool:
    return any(frozenset(words(answer)) & frozenset(words(other)) for other in others)


def _shorter(said: str) -> str:
    head, mark, _ = said.partition(", ")
    return head if mark and len(words(head)) >= _ENOUGH and is_statement(head) and not _IF.match(head) else ""


def _kind(row: dict[str, Any]) -> str:
    found = _WH.match(row["question"].strip().lower())
    return f"{found[1] if found else ''} {bool(numbers(row['answers'][0]))}"


def _named(said: str, passage: Passage) -> str:
    return f"@{passage.post.author.handle} says: {said}"


def _tweet(row: dict[str, Any]) -> Passage:
    text = row["tweet"]
    signed = _SIGNED.search(text)
    handle = signed[1] if signed else str(row.get("author") or "nobody")
    return _post(row["qid"], handle, text[: signed.start()] if signed else text, "x")


def _post(key: str, handle: str, text: str, network: str) -> Passage:
    author = Author(f"{network}:{handle}", handle, "")
    return Passage(1, Post(f"{network}:{key}", network, author, html.unescape(text), 0, 0), author_class="unknown")


def _evidence(row: dict[str, Any]) -> str:
    return " ".join(html.unescape(_TAG.sub("", str(row.get("evidence") or ""))).split())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def everything(folder: Path) -> list[Pair]:
    """The pairs of both question sets and of one recorded window."""
    recording = folder / "posts" / "ottawashooting_2014-10-22.jsonl.zst"
    return [*of_questions(folder), *of_news(folder), *of_recording(recording)]


if __name__ == "__main__":
    citations.main(everything(Path(sys.argv[1])))
