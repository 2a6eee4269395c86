"""Whose turn it is among those who share one processor, by what each has had; it computes and waits for nothing.

Weighted fair queueing (Demers, Keshav, Shenker 1989): each owner has a clock that what they are given moves on,
slower where they weigh more; the one whose clock is furthest behind is next. Who comes starts at the slowest clock
of those present, so that nobody saves up turns by staying away, and nobody waits behind what others had before.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from voxpop.messages import Asker

_LEAST_WEIGHT = 1e-3


class Turn(Protocol):
    """What waits for turns; `turn` is the number of its last one, 0 before its first."""

    asker: Asker
    turn: int


J = TypeVar("J", bound=Turn)


@dataclass(slots=True)
class _Clock:
    at: float
    jobs: int = 1


@dataclass(slots=True)
class Shares:
    """The clocks of the owners that are present."""

    _clocks: dict[str, _Clock] = field(default_factory=dict)
    _turns: int = 0

    def come(self, asker: Asker) -> None:
        """One more job of an owner waits or runs."""
        if clock := self._clocks.get(asker.owner):
            clock.jobs += 1
        else:
            slowest = min((c.at for c in self._clocks.values()), default=0.0)
            self._clocks[asker.owner] = _Clock(slowest)

    def go(self, asker: Asker) -> None:
        """One of them is over."""
        clock = self._clocks[asker.owner]
        clock.jobs -= 1
        if not clock.jobs:
            del self._clocks[asker.owner]

    def charge(self, job: Turn, cost: float) -> None:
        """A job had a turn, which cost so much (seconds)."""
        self._turns += 1
        job.turn = self._turns
        self._clocks[job.asker.owner].at += cost / max(job.asker.weight, _LEAST_WEIGHT)

    def next(self, jobs: Iterable[J]) -> J | None:
        """Whose turn it is: of the owner who had least, the job whose last turn is longest ago."""
        return min(jobs, key=lambda job: (self._clocks[job.asker.owner].at, job.turn), default=None)

    def seats(self, owner: str, count: int) -> int:
        """How many of `count` seats an owner may hold: some are left for whoever comes. No owner: all."""
        return max(1, count // (1 + len(self._clocks))) if owner else count
