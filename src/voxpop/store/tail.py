"""The hot tail: posts that are stored but not yet in the committed index, searched in memory by the same words."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain

from voxpop.store.index import KIN, LIGHT, Entry, Wanted

_K1, _B, _USUAL_LENGTH = 1.2, 0.75, 18
_Group = tuple[str, ...]


class Slice:
    """The entries of one batch, in the partition `first`, with all their texts in one piece (UTF-8).

    A few thousand texts are looked through faster than postings of them could be made, which live half a second.
    """

    def __init__(self, entries: Sequence[Entry], first: int) -> None:
        self.entries = entries
        self.first = first
        texts = [f" {entry.text} ".encode() for entry in entries]
        self._texts = b"".join(texts)
        self._starts = [0, *accumulate(map(len, texts))]

    def search(self, wanted: Wanted, weights: dict[str, float]) -> Iterator[tuple[int, float]]:
        groups = [wanted.all_of[0]] if wanted.all_of else [*wanted.any_of, *chain.from_iterable(wanted.kin)]
        for place in {p for group in groups for p in self._holding(" ".join(group))}:
            entry = self.entries[place]
            if wanted.admits(entry) and (score := bm25(entry.text.split(), wanted, weights)):
                yield entry.seq, score

    def _holding(self, words: str) -> Iterator[int]:
        """The places of the entries that hold these words side by side."""
        wanted = f" {words} ".encode()
        at = self._texts.find(wanted)
        while at >= 0:
            place = bisect_right(self._starts, at)
            yield place - 1
            at = self._texts.find(wanted, self._starts[place])


class HotTail:
    """Slices in order of `seq`. Any thread may search while one thread adds and drops: it works on what it took."""

    def __init__(self) -> None:
        self._slices: tuple[Slice, ...] = ()

    def __len__(self) -> int:
        return sum(len(s.entries) for s in self._slices)

    def add(self, entries: Sequence[Entry], first: int) -> None:
        """Take the entries of one batch, which lie in the partition `first`."""
        if entries:
            self._slices = (*self._slices, Slice(entries, first))

    def take(self) -> tuple[Slice, ...]:
        """The slices of this moment, to be indexed; they stay until `drop`."""
        return self._slices

    def drop(self, taken: tuple[Slice, ...]) -> None:
        """Forget slices that the index now holds."""
        self._slices = self._slices[len(taken) :]

    def search(self, wanted: Wanted, rarity: Callable[[str], float]) -> Iterator[tuple[int, float]]:
        """(seq, BM25) of the entries that match; `rarity` gives a term's IDF in the committed index."""
        slices = self._slices
        if slices:
            weights = rarities(wanted, rarity)
            for one in slices:
                yield from one.search(wanted, weights)


def rarities(wanted: Wanted, rarity: Callable[[str], float]) -> dict[str, float]:
    """The IDF of each term that is ranked."""
    groups = chain(wanted.any_of, wanted.light, chain.from_iterable(wanted.kin))
    return {term: rarity(term) for group in groups for term in group}


def bm25(terms: list[str], wanted: Wanted, weights: dict[str, float]) -> float:
    """How well a text's terms match; 0 where they do not. Of a group of kin the best counts."""
    if any(holds(terms, group) for group in wanted.none_of):
        return 0.0
    if not all(holds(terms, group) for group in wanted.all_of):
        return 0.0
    if not (wanted.any_of or wanted.kin):
        return 1.0
    length = _K1 * (1 - _B + _B * len(terms) / _USUAL_LENGTH)

    def worth(group: _Group) -> float:
        if not holds(terms, group):
            return 0.0
        return sum(weights[t] * (n := terms.count(t)) * (_K1 + 1) / (n + length) for t in group)

    score = sum(map(worth, wanted.any_of))
    score += sum(max(worth(first), *(KIN * worth(o) for o in others), 0.0) for first, *others in wanted.kin)
    return score + LIGHT * sum(map(worth, wanted.light)) if score else 0.0


def holds(terms: list[str], group: _Group) -> bool:
    """Whether the terms hold the group, side by side and in order."""
    size = len(group)
    if size == 1:
        return group[0] in terms
    return group[0] in terms and any(
        tuple(terms[i : i + size]) == group for i, term in enumerate(terms) if term == group[0]
    )


def idf(documents: int, holding: int) -> float:
    """BM25's inverse document frequency (Robertson and Zaragoza 2009), never negative."""
    return math.log(1 + (max(documents, holding) - holding + 0.5) / (holding + 0.5))
