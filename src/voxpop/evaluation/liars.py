"""Engines that lie on purpose, each in one way, and remember what they made up; none is ever offered to a user."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from math import inf
from typing import Any

from voxpop.drafts import Lines
from voxpop.engines import EngineInfo
from voxpop.engines.quote import opening
from voxpop.evaluation.judge import attributed, lacks
from voxpop.messages import Claim, Delta, Passage, Prompt, Usage
from voxpop.text import HANDLE, bare, sentences, words

_OTHERS, _SEAM, _CUT = 6, 3, 2
_QUOTED = ("”", "»", "“", "」")
_NAME = re.compile(r"\b[A-ZÀ-Þ][\wÀ-ÿ-]{3,}\b")


class Liar:
    """Writes a lie of one kind for each claim of the prompt; `lies` holds every sentence that it wrote.

    A lie is a sentence that its cited post does not carry; where a post happens to carry it, it is not told.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.lies: set[str] = set()
        self._seams: set[str] = set()

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        passages = {p.number: p for p in prompt.passages}
        for claim in prompt.claims:
            for text, number in KINDS[self.kind](claim, passages, prompt.lang):
                line = f"{text} [{number}]\n"
                for draft in Lines().feed(line):
                    seams = self._joined(draft.text, passages, prompt.lang) if self.kind == "mixture" else ()
                    if seams or (self.kind != "mixture" and self._lies(draft.text, passages[number])):
                        self.lies.add(draft.text)
                        self._seams.update(seams)
                yield Delta(line)
        yield Delta(usage=Usage())

    def wrote(self, shown: str) -> bool:
        """Whether a sentence that was shown is one of its lies, with whatever label behind it."""
        if shown.rstrip().endswith(_QUOTED):  # the quote in a lie's place
            return False
        flat = f" {' '.join(_bare(shown))} "
        return any(shown.startswith(lie.rstrip(" .。")) for lie in self.lies) or any(s in flat for s in self._seams)

    def _joined(self, said: str, passages: Mapping[int, Passage], lang: str) -> set[str]:
        """Three words that stand together in a sentence and in no post: where a mixture has its seams.

        None where a sentence of one post holds it all, in order and but for two words.
        """
        for passage in passages.values():
            said = said.removeprefix(opening(passage, lang))
        terms = _bare(said)
        posts = [_bare(s) for p in passages.values() for s in (p.post.text, *sentences(p.post.text))]
        if any(_within(terms, post) for post in posts):
            return set()
        runs = (f" {' '.join(terms[i : i + _SEAM])} " for i in range(len(terms) - _SEAM + 1))
        return {run for run in runs if not any(run in f" {' '.join(post)} " for post in posts)}

    def _lies(self, said: str, passage: Passage) -> bool:
        # A line is cut into sentences before it is judged, and not every one of them need be made up.
        body = said.removeprefix(opening(passage, "en")).strip()
        whole = self.kind in ("rumour as fact", "winner invented")
        return whole or (
            body not in passage.post.text and bool(lacks(said, [passage.post]) or self.kind != "citation swapped")
        )

    def check(self, schema: Mapping[str, Any]) -> None:
        """It is held to none."""

    def count(self, text: str) -> int:
        return len(text.split())

    def describe(self) -> EngineInfo:
        return EngineInfo(f"liar: {self.kind}", "none", converses=False)


def _bare(text: str) -> list[str]:
    return words(HANDLE.sub(" ", bare(text)))


def _within(terms: list[str], post: list[str]) -> bool:
    """Whether a post has these words in their order, with at most two others between."""
    starts = [i for i, w in enumerate(post) if terms and w == terms[0]]
    return any(_skipped(terms, post[i:]) <= _CUT for i in starts)


def _skipped(terms: list[str], post: list[str]) -> float:
    at = 0
    for term in terms:
        if term not in post[at:]:
            return inf
        at = post.index(term, at) + 1
    return at - len(terms)


Told = Iterator[tuple[str, int]]
_Lie = Callable[[Claim, Mapping[int, Passage], str], Told]


def _swap(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """What one post says, told of another."""
    for number, other in passages.items():
        if number != claim.number and lacks(claim.text, [other.post]):
            yield opening(other, lang) + claim.text, number


def _number(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """Its last figure is another."""
    changed = re.sub(r"\d(?=\D*$)", lambda m: str((int(m[0]) + 3) % 10), claim.text)
    yield from _made(claim, changed, passages, lang)


def _name(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """Its first name is one of another post."""
    own = set(_NAME.findall(passages[claim.number].post.text))
    others = (n for p in passages.values() for n in _NAME.findall(p.post.text) if n not in own)
    if mine := _NAME.search(claim.text[1:]):
        yield from _made(claim, claim.text.replace(mine[0], next(others, "Hartwell")), passages, lang)


def _reason(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """A reason that no post gives."""
    yield from _made(claim, f"{claim.text.rstrip('.!?')} because of a broken water main.", passages, lang)


def _denial(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """The contrary."""
    changed = re.sub(r"\b(is|are|has|was|have|were|will) (?!not\b)", r"\1 not ", claim.text, count=1)
    if "not" not in claim.text.split():
        yield from _made(claim, changed, passages, lang)


def _rumour(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """What an unlisted account says, as a fact in no one's name."""
    passage = passages[claim.number]
    if (
        not passage.listed
        and not claim.text.lstrip().startswith("@")
        and not attributed(claim.text, [passage.post])
    ):
        yield claim.text, claim.number


def _winner(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """Somebody whom the posts name has won, the post says so or not."""
    post = passages[claim.number].post
    for name in sorted(set(_NAME.findall(claim.text[1:])))[:2]:
        if not re.search(r"DECLARED|elected|wins?\b|won\b", post.text):
            yield f"{name} won the election.", claim.number


def _mixture(claim: Claim, passages: Mapping[int, Passage], lang: str) -> Told:
    """The half of one sentence with that of another, of its own post or another's; one sentence turned about."""
    passage = passages[claim.number]
    own = HANDLE.sub("", claim.text).split()
    theirs = [(p, s) for p in passages.values() for s in map(bare, sentences(p.post.text)) if s != claim.text]
    for other, said in theirs[:_OTHERS]:
        rest = HANDLE.sub("", said).split()
        mixed = " ".join([*own[: len(own) // 2], *rest[len(rest) // 2 :]])
        yield from _made(claim, mixed, passages, lang)
        if other.number != claim.number:
            yield f"{mixed} [{other.number}]", claim.number
    for cut in {len(own) // 2, len(own) // 3}:
        yield opening(passage, lang) + " ".join([*own[cut:], *own[:cut]]), claim.number


def _made(claim: Claim, changed: str, passages: Mapping[int, Passage], lang: str) -> Told:
    passage = passages[claim.number]
    if changed != claim.text and changed not in passage.post.text:
        yield opening(passage, lang) + changed, claim.number


KINDS: dict[str, _Lie] = {
    "citation swapped": _swap,
    "number changed": _number,
    "name changed": _name,
    "reason invented": _reason,
    "denied": _denial,
    "rumour as fact": _rumour,
    "winner invented": _winner,
    "mixture": _mixture,
}
