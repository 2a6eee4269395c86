"""Order found posts: relevance with recency decay, copies collapsed, no author above the cap; pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from voxpop.floods import same_news
from voxpop.posts import Post
from voxpop.store import Hit, Query
from voxpop.store.rows import Copies, Stored
from voxpop.text import shingles
from voxpop.times import MICROS

_FLOOR = 0.35
_ALIKE = 0.8
_COMPARED = 3

Count = Callable[[Iterable[int], int], dict[int, Copies]]


class _Cluster:
    """Posts of one text, told apart by fingerprint and, near enough, by shared word pairs."""

    def __init__(self, stored: Stored, score: float, mine: frozenset[str]) -> None:
        self.post: Post = stored.post
        self.score = score
        self.shingles = mine
        self.marks: set[int] = set()
        self.authors: set[str] = set()
        self.posts = 0

    def take(self, stored: Stored) -> None:
        """Count a copy; the earliest witnessed one speaks for all."""
        self.marks.add(stored.fingerprint)
        self.authors.add(stored.post.author.id)
        self.posts += 1
        if stored.post.witnessed_at < self.post.witnessed_at:
            self.post = stored.post


def decayed(score: float, age_s: float, half_life_s: float) -> float:
    """A score that halves with age down to a floor: what is old but fits stays within reach."""
    return float(score * (_FLOOR + (1 - _FLOOR) * 0.5 ** (max(age_s, 0.0) / half_life_s)))


def rank(found: Sequence[tuple[Stored, float]], query: Query, now: int, copies: Count) -> list[Hit]:
    """The best `query.limit` of (stored post, BM25); `copies` counts the posts of a fingerprint."""
    until = min(query.until if query.until is not None else now, max(now, 0))
    scored = sorted(
        (
            (decayed(score, (until - s.post.witnessed_at) / MICROS, query.half_life_s), s)
            for s, score in found
            if query.until is None or s.post.witnessed_at <= query.until
        ),
        key=lambda pair: (-pair[0], -pair[1].post.witnessed_at, -pair[1].seq),
    )
    clusters = _collapse(scored, _COMPARED * query.limit)
    capped = _cap(clusters, query)
    counts = copies({m for c in capped for m in c.marks}, until)
    return [_hit(c, counts) for c in capped]


def _collapse(scored: Iterable[tuple[float, Stored]], compared: int) -> list[_Cluster]:
    """Copies together; only the first `compared` clusters take in what is merely near, the rest stand too low."""
    by_mark: dict[int, _Cluster] = {}
    by_shingle: dict[str, list[_Cluster]] = {}
    clusters: list[_Cluster] = []
    for score, stored in scored:
        cluster = by_mark.get(stored.fingerprint)
        if cluster is None:
            mine = shingles(stored.post.text) if len(clusters) < compared else frozenset[str]()
            cluster = _nearest(stored.post.text, mine, by_shingle)
            if cluster is None:
                cluster = _Cluster(stored, score, mine)
                clusters.append(cluster)
                for shingle in mine:
                    by_shingle.setdefault(shingle, []).append(cluster)
        cluster.take(stored)
        by_mark[stored.fingerprint] = cluster
    return clusters


def _nearest(text: str, mine: frozenset[str], by_shingle: dict[str, list[_Cluster]]) -> _Cluster | None:
    if not mine:
        return None
    shared = Counter(chain.from_iterable(by_shingle.get(shingle, ()) for shingle in mine))
    for cluster, count in shared.most_common(3):
        small, large = sorted((len(cluster.shingles), len(mine)))
        if count >= _ALIKE * small and large <= 2 * small and same_news(text, cluster.post.text):
            return cluster
    return None


def _cap(clusters: Iterable[_Cluster], query: Query) -> list[_Cluster]:
    cap = query.limit if query.handles else query.per_author
    seen: Counter[str] = Counter()
    kept = []
    for cluster in clusters:
        author = cluster.post.author.id
        seen[author] += 1
        if seen[author] <= cap or not author:
            kept.append(cluster)
        if len(kept) == query.limit:
            break
    return kept


def _hit(cluster: _Cluster, counts: dict[int, Copies]) -> Hit:
    known = [counts[m] for m in cluster.marks if m in counts]
    posts = max(cluster.posts, sum(c.posts for c in known))
    authors = max(len(cluster.authors), max((c.authors for c in known), default=1))
    # Of the posts that are only near, each text has been counted by itself: the largest speaks for all.
    voices = max((c.voices for c in known), default=1)
    return Hit(cluster.post, round(cluster.score, 4), posts, authors, voices)
