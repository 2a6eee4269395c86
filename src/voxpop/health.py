"""How one source fares now, as one value that page, metrics and live table all show; it decides nothing."""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from voxpop.ingest import BATCH, Progress
from voxpop.meters import Sample, bounded
from voxpop.runner import Runner
from voxpop.sources import Source
from voxpop.sources.spending import Spending, Spends

# Sources and engines say in words what they do; by the first of these words they are well, or on their way there.
_WELL = re.compile(
    r"(connected|connecting|replaying|reading|ended|not started|waiting for|ready|loading|downloading"
    r"|[1-9][\d,]* (of|rows))\b"
)
RECONNECTS = "connection lost"
_BEHIND_S = 10.0
_GAINING = 1.1
_RECORDED = "replay"  # a recording is as old as it is: it is neither late nor behind
_COUNTERS = ("events", "posts", "deleted", "refused", "engaged", "missed", "restarts", "reconnects", "crashes")


def well(state: str) -> bool:
    """Whether a state in words is a good one."""
    return bool(_WELL.match(state))


@dataclass(frozen=True, slots=True)
class Health:
    """A source's counters since the start, and its state.

    `lag_s` is the age of the newest post, `behind_s` how far its reading lies behind its stream, `retry_s` the time
    until a failed source is tried again; None where it is not known or does not apply, as with a recording's age.
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
    engaged: int
    missed: int
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
        return asdict(self) | {"spend": self.spend and self.spend._asdict()}

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
            yield "voxpop_budget_usd", me, self.spend.budget_usd


def of(source: Source, progress: Progress, now: int) -> Health:
    """How a source that runs fares at `now` (microseconds)."""
    lag = None if source.network == _RECORDED else progress.lag_s(now)
    return Health(
        name=source.name,
        network=source.network,
        simulated=source.simulated,
        state=source.state,
        ok=well(source.state),
        retry_s=None,
        events=progress.events,
        posts=progress.posts,
        deleted=progress.deleted,
        refused=progress.refused,
        engaged=progress.engaged,
        missed=progress.missed,
        posts_per_minute=progress.posts_per_minute(),
        lag_s=None if lag is None else round(lag, 2),
        behind_s=_behind_s(progress, lag),
        queue=progress.waiting,
        dropped=bounded(source.dropped),
        shed=bounded(progress.shed),
        restarts=0,
        reconnects=source.dropped[RECONNECTS],
        crashes=0,
        spend=source.budget.spending() if isinstance(source, Spends) else None,
    )


def _behind_s(progress: Progress, lag_s: float | None) -> float | None:
    """A quiet stream has an old newest post too: behind is what catches up, or what the store holds up."""
    if lag_s is None:
        return None
    recent = progress.pace and time.monotonic() - progress.pace[-1][0] < _BEHIND_S
    late = recent and lag_s >= _BEHIND_S and (progress.speed() > _GAINING or progress.waiting >= BATCH)
    return round(lag_s, 1) if late else 0.0


def health(runner: Runner, now: int) -> Health:
    """How a source fares at `now` (microseconds), failed or not."""
    return replace(
        of(runner.source, runner.progress, now),
        state=runner.state,
        ok=not runner.failing and well(runner.state),
        retry_s=runner.retry_s,
        restarts=runner.restarts,
        crashes=runner.crashes,
    )
