"""Keep what a source's reads cost within a month's budget; it refuses a read before it is made, never after.

A read is paid for when the network sends it, stored or not. So its worst case is written to the ledger first, and
what was not used is taken back after: a process that dies in between has counted too much, never too little.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from voxpop.errors import UsageError
from voxpop.posts import Event, Spent
from voxpop.times import MICROS


class Ledger(Protocol):
    """Where spending is kept for good; a store is one."""

    async def apply(self, source: str, events: Sequence[Event]) -> object:
        """Keep the `Spent` among the events before returning."""
        ...

    async def spent(self, source: str, month: str) -> tuple[int, int]:
        """Reads and millionths of a US dollar of a month such as `2026-11` (UTC)."""
        ...


class Reserved(NamedTuple):
    """Reads that are counted as spent at `at` (microseconds), though they were not yet made; `part` is what for."""

    reads: int
    at: int
    part: str = ""


class Spending(NamedTuple):
    """A month's reads and dollars so far, and what it may cost."""

    reads: int
    usd: float
    budget_usd: float
    month: str


class Budget:
    """What one source may still spend this calendar month (UTC).

    `price_usd` is of one read, kept as whole millionths of a dollar. Until `open` gave it a ledger it refuses to
    reserve anything. `parts` are uses that may have no more than a share of the whole, spread over the month;
    the ledger keeps them as `SOURCE:PART`.
    """

    def __init__(
        self,
        source: str,
        *,
        monthly_usd: float,
        price_usd: float,
        parts: Mapping[str, float] = MappingProxyType({}),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source, self._shares = source, {"": 1.0, **parts}
        self._monthly, self._price = round(monthly_usd * MICROS), round(price_usd * MICROS)
        if self._price < 0 or self._monthly < 0:
            raise UsageError(
                f"A read for {price_usd} USD of {monthly_usd} USD a month cannot be.", "Give no negative numbers."
            )
        self._clock = clock
        self._ledger: Ledger | None = None
        self._month = ""
        self._parts: dict[str, tuple[int, int]] = {}
        self._turn = asyncio.Lock()

    async def open(self, ledger: Ledger) -> None:
        """Take up the month where the ledger has it."""
        self._ledger = ledger
        async with self._turn:
            self._month = ""
            await self._turn_page()

    async def reserve(self, reads: int, part: str = "") -> Reserved | None:
        """Count reads as spent, for good, before they are made; None where the month cannot pay for them."""
        async with self._turn:
            await self._turn_page()
            if not self._affordable(reads, part):
                return None
            reserved = Reserved(reads, int(self._clock() * MICROS), part)
            await self._write(reads, reserved)
            return reserved

    async def settle(self, reserved: Reserved, used: int) -> None:
        """Take back what was not used of a reservation, or add what was used beyond it."""
        async with self._turn:
            await self._turn_page()
            if used != reserved.reads:
                await self._write(used - reserved.reads, reserved)

    def affordable(self) -> int:
        """How many reads the month still pays for."""
        if self.month() != self._month:
            return self._monthly // self._price if self._price else 1 << 31
        return max(self._monthly - self._spent(), 0) // self._price if self._price else 1 << 31

    def month(self) -> str:
        """This month, as `2026-11`."""
        return month_of(int(self._clock() * MICROS))

    def seconds_to_next_month(self) -> float:
        """Until the first moment of the next month (UTC), when there is money again."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        return (first - now).total_seconds()

    def spending(self) -> Spending:
        """The month so far; what is reserved counts as spent."""
        if self.month() != self._month:
            return Spending(0, 0.0, self._monthly / MICROS, self.month())
        reads = sum(reads for reads, _ in self._parts.values())
        return Spending(reads, self._spent() / MICROS, self._monthly / MICROS, self._month)

    def _spent(self) -> int:
        return sum(micro_usd for _, micro_usd in self._parts.values())

    def _affordable(self, reads: int, part: str) -> bool:
        cost = reads * self._price
        if part:
            due = self._monthly * self._shares[part] * self._elapsed()
            # What is due at the month's first moment would pay for nothing: one request may run ahead.
            if self._parts[part][1] > due:
                return False
        return self._spent() + cost <= self._monthly

    def _elapsed(self) -> float:
        """How much of the month is over, from 0 to 1."""
        left = self.seconds_to_next_month()
        gone = self._clock() - _begin(self._clock())
        return gone / (gone + left)

    async def _turn_page(self) -> None:
        if self._ledger is None:
            raise RuntimeError(f"The budget of {self.source!r} has no ledger: nothing may be spent.")
        if (month := self.month()) != self._month:
            self._parts = {part: await self._ledger.spent(self._name(part), month) for part in self._shares}
            self._month = month

    def _name(self, part: str) -> str:
        return f"{self.source}:{part}" if part else self.source

    async def _write(self, reads: int, reserved: Reserved) -> None:
        """Into the ledger first: what is not kept there is not spent."""
        assert self._ledger is not None  # noqa: S101  `_turn_page` has seen to it
        at, part = reserved.at, reserved.part
        await self._ledger.apply(self._name(part), [Spent(at, reads, reads * self._price)])
        if month_of(at) == self._month:
            had, micro_usd = self._parts[part]
            self._parts[part] = had + reads, micro_usd + reads * self._price


@runtime_checkable
class Spends(Protocol):
    """A source whose reads cost money; its budget is opened before it is read."""

    budget: Budget


def month_of(at: int) -> str:
    """The calendar month (UTC) of a moment in microseconds, as `2026-11`."""
    return datetime.fromtimestamp(at / MICROS, UTC).strftime("%Y-%m")


def _begin(at: float) -> float:
    now = datetime.fromtimestamp(at, UTC)
    return datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()
