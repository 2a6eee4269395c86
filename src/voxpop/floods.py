"""How many speak for themselves among posts that say one thing; pure, and it tells nobody from his name.

Copies are no further evidence. What counts as a copy is near-equal text or the same link; of copies each minute
counts once, since a crowd that posts one text within a minute was told to, and accounts of the last month for one
together.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from voxpop.posts import Post
from voxpop.signs import sign
from voxpop.text import fold, lexicon, names, numbers, shingles, words
from voxpop.times import MICROS

_MINUTE = 60 * MICROS
_ADDED = re.compile(r"[#@]\w+")
_YOUNG = 30 * 24 * 60 * _MINUTE
_ALIKE, _LOOSELY = 0.8, 0.6  # of the shorter text's pairs of words
_LONGER = 2
_TEXTS = 4096  # what is found of a text is kept: many questions find the same posts
_FEWEST = 3  # pairs: what two shorter texts share is chance


class Copy(NamedTuple):
    """A post of a text: its account, when it was witnessed, when the account began (microseconds, 0 unknown)."""

    account: object
    at: int
    since: int = 0


def independent(copies: Iterable[Copy]) -> int:
    """How many of the accounts that post one text speak for themselves, at least 1."""
    first: dict[object, Copy] = {}
    for copy in sorted(copies, key=lambda c: c.at):
        first.setdefault(copy.account, copy)
    return max(1, len({c.at // _MINUTE for c in first.values() if not _young(c)}))


def voices(posts: Sequence[Post]) -> int:
    """How many independent accounts there are among posts: copies together, the young count only by themselves."""
    groups = together(posts, loosely=True)
    alone = {(copy := _copy(posts[g[0]])).account: copy for g in groups if len(g) == 1}
    grown = sum(not _young(copy) for copy in alone.values())
    flooded = sum(independent(_copy(posts[i]) for i in g) for g in groups if len(g) > 1)
    return grown + flooded or min(1, len(alone))


def _young(copy: Copy) -> bool:
    return bool(copy.since) and copy.at - copy.since < _YOUNG


def _copy(post: Post) -> Copy:
    return Copy(post.author.id or post.id, post.witnessed_at, post.author.since)


def together(posts: Sequence[Post], *, loosely: bool = False) -> list[list[int]]:
    """Places of posts in groups of near-equal text that says one thing, in the order of the first of each.

    `loosely`: whatever it says, or of one link: by a number of its own each copy of a flood could look alone.
    """
    share = _LOOSELY if loosely else _ALIKE
    pairs = [shingles(post.text) for post in posts]
    groups: list[list[int]] = []
    holding: dict[str, list[int]] = {}  # by a pair of words or a link, the groups of which the first post holds it
    for place, post in enumerate(posts):
        shared = Counter(chain.from_iterable(holding.get(pair, ()) for pair in pairs[place]))
        addresses = [f"link {link}" for link in post.links] if loosely else []
        linked = (g for address in addresses for g in holding.get(address, ()))
        near = (g for g, count in shared.most_common(3) if _near(count, pairs[place], pairs[groups[g][0]], share))
        alike = (g for g in near if loosely or same_news(post.text, posts[groups[g][0]].text))
        home = next(chain(alike, linked), None)
        if home is not None:
            groups[home].append(place)
            continue
        groups.append([place])
        for key in chain(pairs[place], addresses):
            holding.setdefault(key, []).append(len(groups) - 1)
    return groups


def same_news(one: str, other: str) -> bool:
    """Whether two texts of near-equal words say one thing: no number, denial or state is another, and no name."""
    if _told(one) != _told(other):
        return False
    return not (_called(one) - frozenset(words(other)) and _called(other) - frozenset(words(one)))


@lru_cache(maxsize=_TEXTS)
def _told(text: str) -> tuple[frozenset[str], ...]:
    flat = fold(text)
    marks = frozenset(sign("negation").findall(flat)), frozenset(sign("correction").findall(flat))
    planned = frozenset(["planned"] if sign("planned").search(flat) else [])
    return frozenset(numbers(text)), planned, *marks, frozenset(words(text)) & _telling()


@lru_cache(maxsize=_TEXTS)
def _called(text: str) -> frozenset[str]:
    """The names of a text, less handles and hashtags: a flood changes those from copy to copy."""
    return frozenset(w for name in names(_ADDED.sub(" ", text)) for w in words(name))


@lru_cache(maxsize=1)
def _telling() -> frozenset[str]:
    """Words of which one denies another: open and closed, won and lost."""
    lines = chain(lexicon("superseding")["states"], *lexicon("opposites").values())
    return frozenset(w for line in lines for w in words(line))


def _near(shared: int, one: frozenset[str], other: frozenset[str], share: float) -> bool:
    small, large = sorted((len(one), len(other)))
    return small >= _FEWEST and shared >= share * small and large <= _LONGER * small
