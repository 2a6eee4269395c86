"""Decide when a feed is looked at again, from what it says and how often it has news; it waits for nothing."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_DAY_S = 86_400.0
_HOURS_A_WEEK = 168


class FeedSettings(NamedTuple):
    """Which feeds are read (addresses, or paths of OPML files), and how gently; times are in seconds.

    `at_once` feeds are fetched at a time, of them `a_host` from one host; a feed that failed waits in a lane of its
    own, `suspects` wide, so that hosts that hang hold up only each other.
    """

    feeds: tuple[str, ...] = ()
    shortest_s: float = 60.0
    longest_s: float = 3600.0
    oldest_s: float = 7 * _DAY_S  # an entry whose own date is older is no news; 0 takes all
    at_once: int = 24
    a_host: int = 2
    suspects: int = 6
    start_every_s: float = 0.05  # between two feeds' first looks, on average
    connect_s: float = 10.0
    silent_s: float = 10.0  # between two pieces of an answer
    whole_s: float = 30.0  # for a whole fetch, redirects included
    read_s: float = 5.0  # for reading a feed's bytes
    max_bytes: int = 5 << 20  # of an unpacked body


class Pace:
    """The pause between two looks at one feed: shorter after news, longer without, doubled by each failure."""

    def __init__(self, settings: FeedSettings) -> None:
        self._shortest_s = settings.shortest_s
        self._longest_s = max(settings.longest_s, settings.shortest_s)
        self._pause_s: float = (self._shortest_s * self._longest_s) ** 0.5  # halfway, as factors go
        self.failures = 0

    def looked(self, news: bool, asked_s: float = 0.0) -> float:
        """Seconds until the next look. `asked_s` is what the feed or its server wants; `longest_s` bounds it."""
        self.failures = 0
        pause_s = self._pause_s * (0.5 if news else 1.5)
        self._pause_s = min(max(pause_s, self._shortest_s), self._longest_s)
        return min(max(self._pause_s, asked_s), self._longest_s)

    def failed(self, retry_after_s: float = 0.0) -> float:
        """Seconds until the next try. A server's Retry-After is kept to, up to a day."""
        self.failures += 1
        pause_s = min(self._pause_s * 2.0 ** min(self.failures - 1, 20), self._longest_s)
        return max(pause_s, min(retry_after_s, _DAY_S))


def allowed(at_s: float, hours: tuple[int, ...], days: tuple[int, ...]) -> float:
    """The first moment from `at_s` (Unix seconds) on that lies in no hour and no day that the feed wants skipped.

    A feed that skips all of them is taken at no word.
    """
    if not hours and not days:
        return at_s
    moment = datetime.fromtimestamp(at_s, UTC)
    for _ in range(_HOURS_A_WEEK + 1):
        if moment.hour not in hours and moment.weekday() not in days:
            return moment.timestamp()
        moment = moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return at_s
