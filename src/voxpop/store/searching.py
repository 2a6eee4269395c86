"""Find posts: the tail and the index say what may match, the truth says what is, ranking orders it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from heapq import nlargest

from voxpop.store import Hit, Query
from voxpop.store.bounds import admitting, narrow
from voxpop.store.index import Index, Wanted, entry
from voxpop.store.partition import FOREVER
from voxpop.store.ranking import decayed, rank
from voxpop.store.reading import Reader
from voxpop.store.rows import Stored
from voxpop.store.tail import HotTail, bm25, holds, idf, rarities
from voxpop.text import words
from voxpop.times import MICROS

_CANDIDATES = 120
_MOST_CANDIDATES = 6400
_MOST_NARROW = 51_200  # where the index cannot hold a bound, what it ranks first may all lie outside


def search(reader: Reader, index: Index, tail: HotTail, query: Query, now: int) -> list[Hit]:
    """The best posts for `query` at `now` (microseconds), best first."""
    extents = reader.extents()
    authors = reader.authors(query.handles) if query.handles else []
    others = reader.authors(query.not_handles) if query.not_handles else []
    if query.limit < 1 or query.min_views > 0 or (query.handles and not set(authors).difference(others)):
        return []
    wanted, admits = _wanted(query, authors, others), admitting(query)
    most = _MOST_NARROW if query.networks or query.domains else _MOST_CANDIDATES
    limit = few = max(_CANDIDATES, 6 * query.limit)
    # The tail is read before the index: a post that a commit moves in between is then seen twice, never missed.
    documents = index.documents + len(tail)
    rarity = cache(lambda term: idf(documents, index.holding(term)))
    fresh = dict(tail.search(wanted, rarity))
    while True:
        if query.words or query.kin or query.phrases:
            scores = fresh | _candidates(index, wanted, query, now, limit)
            looked = len(scores)
            if query.networks:
                scores = {seq: scores[seq] for seq in reader.of_networks(scores, query.networks, extents)}
            if limit > few and not narrow(query):
                scores = _one_of_each(reader.texts(scores, extents), scores, query, now, 2 * few)
            found = [(s, scores[s.seq]) for s in reader.by_seqs(scores, extents)]
            found = [(s, score) for s, score in found if admits(s.post)]
            if query.light:
                found = _reordered(found, wanted, rarity, 2 * query.limit)
        else:
            latest = reader.latest(query, authors, others, limit, extents)
            looked = len(latest)
            found = [(s, 1.0) for s in latest if admits(s.post) and not _excluded(s, wanted)]
        hits = rank(found, query, now, partial(reader.copies, extents))
        if len(hits) >= query.limit or looked < limit or limit >= most:
            return hits
        limit = min(8 * limit, _MOST_NARROW)


def _reordered(
    found: list[tuple[Stored, float]], wanted: Wanted, rarity: Callable[[str], float], most: int
) -> list[tuple[Stored, float]]:
    """The best `most` scored again with the light words: their postings are half of all posts, too many to walk."""
    weights = rarities(wanted, rarity)
    best = nlargest(most, found, key=lambda pair: pair[1])
    again = {s.seq: bm25(entry(s).text.split(), wanted, weights) for s, _ in best}
    return [(s, again.get(s.seq) or score) for s, score in found]


def _candidates(index: Index, wanted: Wanted, query: Query, now: int, limit: int) -> dict[int, float]:
    found = dict(index.search(wanted, limit))
    recent = min(now, wanted.until) - int(query.half_life_s * MICROS)
    if len(found) >= limit and recent > wanted.since:
        found.update(index.search(wanted.within(recent, wanted.until), limit // 2))
    return found


def _one_of_each(
    texts: Iterable[tuple[int, int, int, int]],
    scores: Mapping[int, float],
    query: Query,
    now: int,
    most: int,
) -> dict[int, float]:
    """Of the copies of each text the first and the last: in a flood, thousands of rows need not be read."""
    until = min(query.until if query.until is not None else now, now)
    best = [
        (decayed(scores[last], (until - at) / MICROS, query.half_life_s), first, last)
        for _, first, last, at in texts
    ]
    return {seq: scores[seq] for _, *both in nlargest(most, best) for seq in both}


def _excluded(stored: Stored, wanted: Wanted) -> bool:
    return bool(wanted.none_of) and any(holds(entry(stored).text.split(), group) for group in wanted.none_of)


def _wanted(query: Query, authors: Sequence[int], others: Sequence[int]) -> Wanted:
    def groups(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        return tuple(dict.fromkeys(tuple(terms) for t in texts if (terms := words(t))))

    return Wanted(
        any_of=groups(query.words),
        kin=tuple(some for group in query.kin if (some := groups(group))),
        light=groups(query.light),
        all_of=groups(query.phrases),
        none_of=groups(query.excluded),
        authors=frozenset(authors).difference(others) if query.handles else None,
        others=frozenset(others),
        lang=query.lang,
        since=query.since or 0,
        until=query.until if query.until is not None else FOREVER,
    )
