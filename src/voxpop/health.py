"""How one source fares now, as one value that page, metrics and live table all show; it decides nothing."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from voxpop.meters import Sample, bounded
from voxpop.runner import Runner

# Sources and engines say in words what they do; by the first of these words they are well, or on their way there.
_WELL = re.compile(r"(connected|connecting|replaying|reading|ended|not started|ready|loading|downloading)\b")
RECONNECTS = "connection lost"
_COUNTERS = ("events", "posts", "deleted", "refused", "restarts", "reconnects", "crashes")


def well(state: str) -> bool:
    """Whether a state in words is a good one."""
    return bool(_WELL.match(state))


@dataclass(frozen=True, slots=True)
class Spending:
    """US dollars of this calendar month (UTC); the budget is None where there is none."""

    usd: float
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """A source's counters since the start, and its state.

    `lag_s` is the age of the newest post, `behind_s` how far its reading lies behind its stream, `retry_s` the time
    until a failed source is tried again; None where it is not known or does not apply.
    """

    name: str
    network: str
    simulated: bool
    state: str
    ok: bool
    retry_s: float | None
    events: int
    posts: int
    deleted: int
    refused: int
    posts_per_minute: int
    lag_s: float | None
    behind_s: float | None
    queue: int
    dropped: Mapping[str, int]
    shed: Mapping[str, int]
    restarts: int
    reconnects: int
    crashes: int
    spend: Spending | None = None

    def json(self) -> dict[str, Any]:
        """The contract of one row of `sources` in `GET /api/status`."""
        return asdict(self)

    def samples(self) -> Iterator[Sample]:
        """The same as metrics."""
        me = (self.name,)
        yield "voxpop_source_up", me, float(self.ok)
        for name in _COUNTERS:
            yield f"voxpop_{name}", me, getattr(self, name)
        yield "voxpop_posts_per_second", me, self.posts_per_minute / 60
        yield "voxpop_queue_events", me, self.queue
        for name, seconds in (("lag", self.lag_s), ("behind", self.behind_s)):
            if seconds is not None:
                yield f"voxpop_{name}_seconds", me, seconds
        for name, counts in (("dropped", self.dropped), ("shed", self.shed)):
            for reason, count in counts.items():
                yield f"voxpop_{name}", (self.name, reason), count
        if self.spend:
            yield "voxpop_spend_usd", me, self.spend.usd
            if self.spend.budget_usd is not None:
                yield "voxpop_budget_usd", me, self.spend.budget_usd


def health(runner: Runner, now: int, spend: Spending | None = None) -> Health:
    """How a source fares at `now` (microseconds)."""
    source, progress = runner.source, runner.progress
    state, lag = runner.state, progress.lag_s(now)
    return Health(
        name=source.name,
        network=source.network,
        simulated=source.simulated,
        state=state,
        ok=not runner.failing and well(state),
        retry_s=runner.retry_s,
        events=progress.events,
        posts=progress.posts,
        deleted=progress.deleted,
        refused=progress.refused,
        posts_per_minute=progress.posts_per_minute(now),
        lag_s=None if lag is None else round(lag, 2),
        behind_s=None,
        queue=0,
        dropped=bounded(source.dropped),
        shed={},
        restarts=runner.restarts,
        reconnects=source.dropped[RECONNECTS],
        crashes=runner.crashes,
        spend=spend,
    )
