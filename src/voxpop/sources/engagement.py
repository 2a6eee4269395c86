"""Add up likes, reposts and replies by post, each of them once; what was counted before it began is refused."""

from voxpop.posts import Engagement

LIKES, REPOSTS, REPLIES = 0, 1, 2
FULL = 2000
_KEPT = 100_000


class Tally:
    """What was added since it was last taken. `newest` is the latest moment (microseconds) of all that it was told.

    A stream that is taken up again repeats itself. What lies at or before `after` (microseconds) was counted by an
    earlier run; of this run the last 100,000 to 200,000 reactions are remembered by a hash of their key.
    """

    def __init__(self, after: int = 0) -> None:
        self._after = after
        self.newest = 0
        self._sums: dict[str, list[int]] = {}
        self._young: set[int] = set()
        self._old: set[int] = set()

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, kind: int, post: str, key: str, at: int) -> None:
        """Count one reaction to a post; `key` is the address of the reaction, `at` when the relay saw it."""
        self.newest = max(self.newest, at)
        mark = hash(key)
        if at <= self._after or mark in self._young or mark in self._old:
            return
        if len(self._young) >= _KEPT:
            self._old, self._young = self._young, set()
        self._young.add(mark)
        sums = self._sums.get(post)
        if sums is None:
            sums = self._sums[post] = [0, 0, 0]
        sums[kind] += 1

    def take(self) -> dict[str, Engagement]:
        """What was added to each post since the last time."""
        sums, self._sums = self._sums, {}
        return {post: Engagement(*counts) for post, counts in sums.items()}
