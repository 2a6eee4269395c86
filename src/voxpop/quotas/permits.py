"""Holds every request to its tier: sets aside before, settles after, gives back what was not served.

Short windows are asked first, then the long ones and the answers under way, in the database, for all servers
together. A server that ended without a word is found by its beats that stop, and what it held is given back.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.orm import Session

from voxpop.accounts import Account, Denied, Permit, Spent, Wanted
from voxpop.errors import VoxpopError
from voxpop.messages import Asker
from voxpop.quotas import ledger, waiting
from voxpop.quotas.ledger import Counted, Reserved, Who
from voxpop.quotas.short import NoRoom, Short, Taken
from voxpop.quotas.telling import State, headers, limited
from voxpop.quotas.writer import Writer
from voxpop.records import Database
from voxpop.tiers import Limit, Price, Tier, Tiers
from voxpop.windows import long

_log = logging.getLogger(__name__)
BEAT_S = 5.0
DEAD_S = 30.0  # a server whose beats stand still for so long has ended


class Quotas:
    """What every server asks. `clock` is microseconds of UTC and may jump; `ticks` seconds that only grow."""

    def __init__(
        self,
        database: Database,
        tiers: Callable[[], Tiers],
        short: Short,
        *,
        clock: Callable[[], int],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database, self.tiers, self.short, self.clock = database, tiers, short, clock
        self.server = secrets.token_hex(8)
        self.writer = Writer(database)
        self.open = 0  # of what this server holds
        self._owed: list[tuple[str, Callable[[Session], object], bool]] = []
        self._ticks = ticks
        self._seen: dict[str, tuple[int, float]] = {}
        self._noted: dict[tuple[str, str], bool] = {}

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        """Set aside what is wanted. Raises Limited where too little is left, Denied where the tier lacks it."""
        tiers, now = self.tiers(), self.clock()
        tier = await self.tier(account, tiers, now)
        tiers.check(tier, wanted, now)
        limits = tier.bucket(wanted.bucket) or ()
        who = Who(
            hold=secrets.token_hex(12),
            account=account.id,
            team=account.team,
            key=account.key,
            bucket=wanted.bucket[:40],
            endpoint=wanted.endpoint[:40],
            model=wanted.model[:120],
            request=wanted.id[:128],
        )
        tokens = wanted.prompt_tokens + wanted.max_tokens
        cost = {"requests": 1, "tokens": tokens, "concurrent": wanted.answers}
        short = [(limit, cost[limit.measure]) for limit in limits if limit.is_short]
        taken = await self.short.take(account.id, who.bucket, short, now)
        if isinstance(taken, NoRoom):
            state = State(taken.limit, taken.used, taken.resets)
            raise limited(tier, who.bucket, state, taken.cost, taken.frees, [state], now)
        counted = count(tier, limits, cost, now)
        states = [State(t.limit, t.used, t.resets) for t in taken]
        if counted:
            try:
                states += await self._reserve(tier, who, now, tokens, wanted.answers, counted, states)
            except BaseException:
                await self.returned(taken, now)
                raise
        self.open += bool(counted)
        asker = Asker(account.id, tier.weight)
        return _Permit(self, tiers, who, asker, headers(states, now), taken, bool(counted))

    def price(self, model: str) -> Price:
        """What a model costs now."""
        return self.tiers().price(model)

    async def _reserve(
        self,
        tier: Tier,
        who: Who,
        now: int,
        tokens: int,
        answers: int,
        counted: Sequence[Counted],
        before: Sequence[State],
    ) -> list[State]:
        begun = self.writer.begin(
            who.account, lambda s: ledger.reserve(s, who, self.server, now, tokens, answers, counted)
        )
        try:
            reserved: Reserved = await asyncio.shield(begun)
        except asyncio.CancelledError:
            # Written or not by now: what comes after it in the queue gives it back.
            self.writer.begin(who.account, lambda s: ledger.refund(s, who, now, "the client left", held=True))
            raise
        states = [
            State(c.limit, n, c.ends if c.limit.per else None) for c, n in zip(counted, reserved.used, strict=True)
        ]
        if reserved.full:
            full = next(s for s in states if s.limit == reserved.full.limit)
            raise limited(tier, who.bucket, full, reserved.full.cost, reserved.frees, [*before, *states], now)
        return states

    async def tier(self, account: Account, tiers: Tiers, now: int) -> Tier:
        """The tier that serves an account now. Raises Denied, with its place in the list, where it must wait."""
        tier = tiers.named(account)
        why = tier.rollout.keeps_out(tier.name, account, now)
        await self._note(tier.name, account, bool(why), now)
        if not why:
            return tier
        if tier.rollout.meanwhile:
            return tiers.tiers[tier.rollout.meanwhile]
        place = await self.database.run(lambda s: waiting.place(s, tier, account, why, now), write=False)
        what = f"The tier {tier.name} is not open to you yet: {why}."
        cure = f"You are number {place.place} of {place.of} who wait; ask again later."
        raise Denied(what, cure, code="forbidden")

    async def _note(self, tier: str, account: Account, waits: bool, now: int) -> None:
        """Keep the waiting list as it is, with one write when that changes."""
        known = self._noted.get((tier, account.id))
        if known == waits or (known is None and not waits and not self.tiers().tiers[tier].rollout.is_partial):
            return
        if waits:
            await self.writer.do(account.id, lambda s: waiting.note(s, tier, account, now))
        else:
            await self.writer.do(account.id, lambda s: waiting.let_in(s, tier, account.id))
        self._noted[tier, account.id] = waits

    async def run(self) -> None:
        """Beat while anything is held, and take back what ended servers held, until cancelled."""
        while True:
            self.tiers()  # a broken edit is said also where nobody asks
            for look in (self.look_after, self.short.check):
                with suppress(VoxpopError):  # the log has it, once
                    await look()
            await asyncio.sleep(BEAT_S)

    def unready(self) -> str:
        """Why nothing can be counted, in words for everybody; empty where it can."""
        return self.database.reach.why or self.short.reach.why

    async def look_after(self) -> None:
        """One beat and one look. A server is known to live by its beats, not by any clock."""
        if self.open:
            await self.writer.do("", lambda s: ledger.beat(s, self.server))
        await self._pay()
        holders = await self.database.run(ledger.holders, write=False)
        holders.pop(self.server, None)
        now = self._ticks()
        before = self._seen
        self._seen = {s: before[s] if before.get(s, (-1, 0.0))[0] == n else (n, now) for s, n in holders.items()}
        for server, (_, since) in self._seen.items():
            if now - since >= DEAD_S:
                await self._take_back(server)

    async def _take_back(self, server: str) -> None:
        for who in await self.database.run(lambda s: ledger.held_by(s, server), write=False):
            work = partial(
                ledger.refund, who=who, now=self.clock(), why="its server ended", held=True, kind="expired"
            )
            await self.writer.do(who.account, work)
        await self.writer.do("", lambda s: ledger.forget_server(s, server))

    async def end(self, account: str, work: Callable[[Session], object], *, held: bool) -> None:
        """Write how a request ended, also if nobody waits for it any more.

        Raises VoxpopError where that fails; it is then tried again until it is done.
        """

        def written(done: "asyncio.Future[object]") -> None:
            if not done.cancelled() and done.exception():
                self._owed.append((account, work, held))
            else:
                self.open -= held

        begun = self.writer.begin(account, work)
        begun.add_done_callback(written)
        await asyncio.shield(begun)

    async def _pay(self) -> None:
        """Write what could not be written before."""
        while self._owed:
            account, work, held = self._owed[0]
            await self.writer.do(account, work)
            self._owed.pop(0)
            self.open -= held

    async def returned(self, taken: Sequence[Taken], now: int, keep: Sequence[int] | None = None) -> None:
        """Give back what was taken of short windows; where that fails they are free again within a minute."""
        try:
            await self.short.give_back(taken, now, keep)
        except VoxpopError as error:
            _log.warning("What was taken is not given back: %s", error.what)

    async def close(self) -> None:
        """Returns when all that was settled is written."""
        with suppress(VoxpopError):
            await self._pay()
        await self.writer.close()


def count(tier: Tier, limits: Sequence[Limit], cost: Mapping[str, int], now: int) -> list[Counted]:
    """The limits that the database counts, each with its window."""
    counted = []
    for limit in limits:
        if not limit.is_short:
            begins, ends = long(limit.per, now, tier.resets) if limit.per else (0, 0)
            counted.append(Counted(limit, begins, ends, cost[limit.measure], slides=tier.resets is None))
    return counted


@dataclass(slots=True)
class _Permit:
    _quotas: Quotas
    _tiers: Tiers
    _who: Who
    asker: Asker
    headers: Mapping[str, str]
    _taken: Sequence[Taken]
    _held: bool
    _ended: bool = field(default=False)

    async def settle(self, spent: Spent) -> int:
        ticks = self._tiers.price(self._who.model).ticks(spent)
        if self._end():
            quotas, now = self._quotas, self._quotas.clock()
            tokens = spent.prompt_tokens + spent.completion_tokens
            keep = [tokens if t.limit.measure == "tokens" else t.amount for t in self._taken]
            try:
                work = partial(ledger.settle, who=self._who, now=now, spent=spent, ticks=ticks, held=self._held)
                await quotas.end(self._who.account, work, held=self._held)
            finally:
                await quotas.returned(self._taken, now, keep)
        return ticks

    async def refund(self, why: str) -> None:
        if self._end():
            quotas, now = self._quotas, self._quotas.clock()
            try:
                work = partial(ledger.refund, who=self._who, now=now, why=why, held=self._held)
                await quotas.end(self._who.account, work, held=self._held)
            finally:
                await quotas.returned(self._taken, now)

    def _end(self) -> bool:
        if self._ended:
            return False
        self._ended = True
        return True
