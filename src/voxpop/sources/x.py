"""Read X's filtered stream within a month's budget, and fill its gaps by search; what cannot be had is said.

One task reads the stream, another fills a gap: a search that must wait never holds up what is new. Both put their
events on one bounded line. The cursor is the newest post's id, and while a gap is open also where it begins and
ends: `ID` or `ID,SINCE,UNTIL` (microseconds).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Delete, Event, Missed, Spent, Upsert
from voxpop.sources.lookup import Later, Looked
from voxpop.sources.spending import Budget, Reserved, Spending
from voxpop.sources.x_api import TOKEN, Api, Refused, Timeouts
from voxpop.sources.x_gap import Gap, Way, fill
from voxpop.sources.x_rules import sync
from voxpop.sources.x_wire import FIELDS, NETWORK, WORST, Payload, bare, id_at, instant_of, read, uri
from voxpop.times import MICROS, iso

STREAM = "/2/tweets/search/stream"
LOOKUP = "/2/tweets"
BLOCK = 50  # posts of the stream that are paid for ahead
_WAITING = 100  # payloads
_RECHECK, _RECHECK_SHARE = "recheck", 0.25
_LATER_S = 3600.0
_CLOSERS = {"usage-capped": "capped", "credits-depleted": "capped", "operational-disconnect": "network"}
_CLOSERS |= {"streaming-connection": "limited"}


class Patience(NamedTuple):
    """How long to wait after which failure, in seconds, as X asks of its clients; and how long a gap may wait."""

    network_s: float = 0.25  # grows by this
    network_most_s: float = 16.0
    busy_s: float = 5.0  # doubles
    busy_most_s: float = 320.0
    limited_s: float = 60.0  # doubles, where X does not say until when
    limited_most_s: float = 900.0
    overlap_s: float = 5.0  # ids do not come in their order
    indexing_s: float = 30.0  # until a search can know what was just posted
    nap_s: float = 600.0  # between two looks at the calendar


class XSettings(NamedTuple):
    """What an operator sets; `patience` and `timeouts` are X's own figures."""

    rules: tuple[str, ...] = ()
    host: str = "https://api.x.com"
    price_usd: float = 0.005
    monthly_usd: float = 20.0
    backfill_minutes: int = 0
    patience: Patience = Patience()
    timeouts: Timeouts = Timeouts()


class XSource:
    """Posts, what they quote and answer, edits and gaps of X; `look` tells whether a post is still public.

    `budget` must be opened with a ledger before events are asked for, and `aclose` ends the connections. Posts that
    a loopback address gives are made up: X itself is never there.
    """

    network = NETWORK

    def __init__(
        self, token: str, settings: XSettings, *, name: str = "x", clock: Callable[[], float] = time.time
    ) -> None:
        if not settings.rules:
            raise UsageError(
                "The source 'x' has no rules.", "Set 'x.rules', such as VOXPOP_X_RULES='#election lang:en'."
            )
        if settings.monthly_usd < BLOCK * settings.price_usd:
            cure = f"Set 'x.monthly_usd' to {BLOCK * settings.price_usd:g} at least."
            raise UsageError(f"{settings.monthly_usd:g} USD a month do not pay for {BLOCK} posts of X.", cure)
        self.name, self.settings = name, settings
        self.api = Api(settings.host, token, timeouts=settings.timeouts, clock=clock)
        self.budget = Budget(
            name,
            monthly_usd=settings.monthly_usd,
            price_usd=settings.price_usd,
            parts={_RECHECK: _RECHECK_SHARE},
            clock=clock,
        )
        self.simulated = settings.host.startswith("http://")
        self.dropped: Counter[str] = Counter()
        self.state = "not started"
        self._clock, self._patience = clock, settings.patience
        self._line: asyncio.Queue[list[Event] | Exception | None] = asyncio.Queue(_WAITING)
        self._turn = asyncio.Lock()
        self._newest = self._alive = 0
        self._gap: Gap | None = None
        self._filling: asyncio.Task[None] | None = None
        self._failures: Counter[str] = Counter()
        self._notes = ""

    async def aclose(self) -> None:
        """Close the connections."""
        await self.api.aclose()

    def spending(self) -> Spending:
        """What this month cost so far; what is reserved counts as spent."""
        return self.budget.spending()

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """Events after the cursor, until X's own cap is reached. Raises VoxpopError for what X refuses for good."""
        self._newest, self._gap = _cursor(after, self.name)
        self._alive, self._line = 0, asyncio.Queue(_WAITING)
        listening = asyncio.create_task(self._guard(self._listen()))
        try:
            while (found := await self._line.get()) is not None:
                if isinstance(found, Exception):
                    self.state = f"stopped: {found}"
                    raise found
                for event in found:
                    yield event
        finally:
            tasks = [listening, *([self._filling] if self._filling else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not self.state.startswith("stopped"):
                self.state = "stopped"

    async def look(self, ids: Sequence[str]) -> Looked:
        """Ask X for these posts, at the price of those that are still there. Raises Later."""
        asked = [number for i in ids if (number := bare(i))]
        if not asked:
            return Looked([], [])
        reserved = await self.budget.reserve(len(asked), _RECHECK)
        if reserved is None:
            raise Later("the budget's share for looking again is used up for now", _LATER_S)
        used = reserved.reads
        try:
            params = {"ids": ",".join(asked), "tweet.fields": FIELDS["tweet.fields"]}
            payload = read(await self.api.get(LOOKUP, params), self._now())
            used = payload.billed
        except Refused as error:
            used = reserved.reads if error.sent else 0
            raise Later(str(error), self._wait(error, "look")) from error
        finally:
            await self.budget.settle(reserved, used)
        del self._failures["look"]
        self._count(payload)
        return Looked(payload.posts, [uri(i) for i in payload.gone if i in asked])

    # -- one connection after another -----------------------------------------------------------------------

    async def _guard(self, work: Coroutine[None, None, None], ends: bool = True) -> None:
        """What goes wrong in a task must reach whoever reads the events; and where it `ends`, that it has."""
        try:
            await work
        except Exception as error:
            await self._line.put(error)
        else:
            if ends:
                await self._line.put(None)

    async def _listen(self) -> None:
        synced = False
        while True:
            try:
                if not synced:
                    await self._sync_rules()
                    synced = True
                ended = await self._connection()
            except Refused as error:
                ended = error
            if ended is None:
                await self._rest()
                continue
            if ended.kind in ("denied", "forbidden", "invalid"):
                cure = f"Check {TOKEN} and 'x.rules' (docs/x.md)."
                raise VoxpopError(f"X refused: {ended}.", cure, lasting=ended.kind == "denied")
            if ended.kind == "capped":
                self.state = f"stopped: the account's own cap at X is reached: {ended}"
                return
            wait = self._wait(ended, ended.kind)
            self.dropped["connection lost"] += 1
            self.state = f"reconnecting in {wait:.1f} s: {ended}"
            await asyncio.sleep(wait)

    async def _sync_rules(self) -> None:
        self.state = "connecting: comparing rules"
        synced = await sync(self.api, self.settings.rules)
        self._notes = "".join(f"; rule {rule!r} refused: {why}" for rule, why in synced.refused.items())
        if synced.refused:
            self.dropped["rule refused"] += len(synced.refused)

    async def _connection(self) -> Refused | None:
        """Read one connection to its end; None where the budget ended it. Raises Refused."""
        meter = _Meter(self.budget)
        if not await meter.open():
            return None
        where = urlsplit(self.settings.host).netloc
        self.state = f"connecting to {where}"
        since = max(instant_of(self._newest), self._alive) - int(self._patience.overlap_s * MICROS)
        known = bool(self._newest or self._alive)
        minutes = math.ceil((self._now() - since) / (60 * MICROS)) if known else 0
        given_back = 0 < minutes <= self.settings.backfill_minutes and self._gap is None
        params = FIELDS | ({"backfill_minutes": str(minutes)} if given_back else {})
        try:
            async with self.api.stream(STREAM, params) as lines, aclosing(lines):
                self.state = f"connected to {where}{self._notes}"
                if not known:
                    # A first cursor, so that what comes from now on is a gap and not lost if this process dies.
                    await self._pass_on([Spent(self._now(), 0, 0)], id_at(self._now()))
                elif self._gap or not given_back:
                    self._open_gap(since)
                async for line in lines:
                    self._failures.clear()
                    # What X gives again comes first: until it must have come, the gap stays where it began.
                    self._alive = max(self._alive, self._now() - (60 * minutes * MICROS if given_back else 0))
                    if line != b"" and not await self._take(line, meter):
                        return None
                return Refused("network", "X closed the stream")
        finally:
            await meter.close()

    async def _take(self, line: bytes | None, meter: "_Meter") -> bool:
        """Whether there is money for the next line. Raises Refused where this one ends the stream."""
        payload = read(line, self._now()) if line is not None else None
        if payload is None:
            self.dropped["line too long"] += 1
            return await meter.draw(WORST)
        # What cannot be read was paid for as well, and may have been as many posts as a line can hold.
        unread = not payload.billed and bool(payload.dropped)
        going = await meter.draw(WORST if unread else payload.billed)
        await self._put(payload, payload.newest)
        for problem in payload.problems:
            if kind := _CLOSERS.get(problem.kind):
                raise Refused(kind, str(problem), sent=True)
        return going

    async def _rest(self) -> None:
        """Wait until the month has money again: until the next one begins."""
        spending, began = self.budget.spending(), self._alive or self._now()
        first = iso(int((self._clock() + self.budget.seconds_to_next_month() + 1) * MICROS))[:10]
        self.state = (
            f"paused: {spending.usd:.2f} of {spending.budget_usd:.2f} USD of {spending.month} are spent; "
            f"it goes on on {first}"
        )
        while self.budget.month() == spending.month:  # noqa: ASYNC110  nothing but the calendar can end it
            await asyncio.sleep(min(self.budget.seconds_to_next_month() + 0.01, self._patience.nap_s))
        self._alive = self._now()  # what was posted meanwhile is not bought after
        await self._say_missed(Missed(began, self._alive, "the month's budget was used up"))

    # -- gaps -----------------------------------------------------------------------------------------------

    def _open_gap(self, since: int) -> None:
        """A gap until now; one that is still open grows, and is filled from its new end."""
        until = self._now() + int(self._patience.overlap_s * MICROS)
        begins = min(self._gap.since, since) if self._gap else since
        self._gap = Gap(begins, until)
        if self._filling:
            self._filling.cancel()
        self._filling = asyncio.create_task(self._guard(self._fill(self._gap), ends=False))

    async def _fill(self, gap: Gap) -> None:
        await asyncio.sleep(self._patience.indexing_s)
        way = Way(self.api, self.budget, self.settings.rules, self._now, self._patience.busy_s)
        missed: list[Missed] = []
        async with aclosing(fill(way, gap)) as found:
            async for page in found:
                if isinstance(page, Missed):
                    missed.append(page)
                else:
                    await self._put(page)
        self._gap = None
        for stretch in missed:
            await self._say_missed(stretch)

    async def _say_missed(self, missed: Missed) -> None:
        self.dropped["stretch missed"] += 1
        await self._pass_on([missed])

    # -- one payload ----------------------------------------------------------------------------------------

    async def _put(self, payload: Payload, newest: int = 0) -> None:
        self._count(payload)
        now = self._now()
        events: list[Event] = [Delete(uri(i), now) for i in (*payload.replaced, *payload.gone)]
        await self._pass_on([*events, *(Upsert(post) for post in payload.posts)], newest)

    async def _pass_on(self, events: list[Event], newest: int = 0) -> None:
        """Put on the line with the cursor on the last, so that a payload is stored whole or comes again.

        One at a time: no cursor may pass a post that is not yet on the line.
        """
        async with self._turn:
            self._newest = max(self._newest, newest)
            if events:
                await self._line.put([*events[:-1], replace(events[-1], cursor=self._cursor())])

    def _count(self, payload: Payload) -> None:
        self.dropped.update(payload.dropped)
        if payload.problems:
            self.dropped["problem told by X"] += len(payload.problems)

    def _cursor(self) -> str:
        if not self._gap:
            return str(self._newest or "")
        return f"{self._newest},{self._gap.since},{self._gap.until}"

    def _now(self) -> int:
        return int(self._clock() * MICROS)

    def _wait(self, error: Refused, what: str) -> float:
        """Seconds before the next try, as X's guide to disconnections asks for them."""
        self._failures[what] += 1
        tries, patience = min(self._failures[what], 64), self._patience
        if error.kind == "network":
            return min(patience.network_s * tries, patience.network_most_s)
        if error.kind == "limited":
            doubled = patience.limited_s * 2.0 ** (tries - 1)
            return error.wait_s if error.wait_s is not None else min(doubled, patience.limited_most_s)
        return min(patience.busy_s * 2.0 ** (tries - 1), patience.busy_most_s)


class _Meter:
    """Pays for the posts of one connection, a block ahead of what comes: they cannot be refused once they are sent.

    At the end what was not used is taken back, except where the money ran out: then X may have sent more than we
    read, and half a block stays spent.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._blocks: list[Reserved] = []
        self._left = 0
        self._dry = False

    async def open(self) -> bool:
        """Whether there is money for a first block."""
        return await self._more(BLOCK)

    async def draw(self, posts: int) -> bool:
        """Count posts that came; whether there is money for more."""
        self._left -= posts
        while self._left < BLOCK // 2 and not self._dry:
            self._dry = not await self._more(BLOCK // 2)
        return not self._dry

    async def close(self) -> None:
        """Take back what was not used."""
        if self._blocks:
            last = self._blocks[-1]
            kept = max(min(self._left, BLOCK // 2), 0) if self._dry else 0
            await self._budget.settle(last, last.reads - self._left + kept)
            self._blocks.clear()

    async def _more(self, posts: int) -> bool:
        block = await self._budget.reserve(posts)
        if block is None:
            return False
        self._blocks[:] = [block]
        self._left += posts
        return True


def _cursor(after: str | None, name: str) -> tuple[int, Gap | None]:
    if not after:
        return 0, None
    parts = after.split(",")
    if len(parts) not in (1, 3) or not all(p.isascii() and p.isdigit() and len(p) <= 19 for p in parts):
        raise VoxpopError(
            f"The cursor {after!r} of source {name!r} is no id of a post.",
            "Remove that source's cursor from the store; it then begins now.",
        )
    newest, *gap = map(int, parts)
    return newest, Gap(*gap) if gap else None
