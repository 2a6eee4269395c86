"""The hot tail: posts that are stored but not yet in the committed index, searched in memory by the same words."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from voxpop.store.index import Entry, Wanted
from voxpop.text import words

_K1, _B = 1.2, 0.75


class HotTail:
    """Entries in order of `seq`. A search tokenises each entry once, at its first search, never on the way in.

    Safe to read from any thread while one thread adds and drops: a reader works on the list that it took.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._terms: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Iterable[Entry]) -> None:
        self._entries = [*self._entries, *entries]

    def take(self) -> list[Entry]:
        """The entries of this moment, to be indexed; they stay until `drop`."""
        return self._entries

    def drop(self, taken: list[Entry]) -> None:
        """Forget entries that the index now holds."""
        self._entries = self._entries[len(taken) :]
        for entry in taken:
            self._terms.pop(entry.seq, None)

    def search(self, wanted: Wanted, rarity: Callable[[str], float]) -> Iterator[tuple[int, float]]:
        """(seq, BM25) of the entries that match; `rarity` gives a term's IDF in the committed index."""
        weights = {term: rarity(term) for group in wanted.any_of for term in group}
        for entry in self._entries:
            if not wanted.admits(entry):
                continue
            terms = self._terms.get(entry.seq)
            if terms is None:
                terms = self._terms[entry.seq] = words(entry.text)
            if score := _score(terms, wanted, weights):
                yield entry.seq, score


def _score(terms: list[str], wanted: Wanted, weights: dict[str, float]) -> float:
    counts = Counter(terms)
    if any(_holds(terms, counts, group) for group in wanted.none_of):
        return 0.0
    if not all(_holds(terms, counts, group) for group in wanted.all_of):
        return 0.0
    length = _K1 * (1 - _B + _B * len(terms) / 18)
    score = 0.0
    for group in wanted.any_of:
        if _holds(terms, counts, group):
            score += sum(weights[t] * counts[t] * (_K1 + 1) / (counts[t] + length) for t in group)
    return score or (1.0 if wanted.all_of and not wanted.any_of else 0.0)


def _holds(terms: list[str], counts: Counter[str], group: tuple[str, ...]) -> bool:
    if any(not counts[t] for t in group):
        return False
    size = len(group)
    return size == 1 or any(tuple(terms[i : i + size]) == group for i in range(len(terms) - size + 1))


def idf(documents: int, holding: int) -> float:
    """BM25's inverse document frequency (Robertson and Zaragoza 2009), never negative."""
    return math.log(1 + (max(documents, holding) - holding + 0.5) / (holding + 0.5))
