"""Seconds and minutes, counted in this process or in Redis for several; what is asked over a limit is not taken.

A window slides: of the one before, so much counts as still lies within the last second or minute, as if it had come
evenly. So no second or minute of the clock ever holds more than its limit, however many ask at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from limits.aio.storage import MemoryStorage, RedisStorage

from voxpop.errors import UsageError, VoxpopError
from voxpop.reach import Reach
from voxpop.tiers import Limit
from voxpop.times import MICROS
from voxpop.windows import short

_WAIT_S = 2.0
_GRACE = 3  # windows for which a counter is kept: this one, the next, and clocks that differ


class Storage(Protocol):
    """What the `limits` library stores counters in."""

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int: ...

    async def get(self, key: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken of a limit, and where it stands then; all times in microseconds of UTC."""

    limit: Limit
    key: str
    amount: int
    begins: int
    used: int
    resets: int


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A limit that has too little left: how much is used, and when there is room (None: never for so much)."""

    limit: Limit
    cost: int
    used: int
    resets: int
    frees: int | None


class Short:
    """Counters of short windows. `url`: empty for this process, else such as `redis://localhost:6379`.

    Raises UsageError for another kind of address, VoxpopError (`limits_failed`) where Redis does not answer.
    """

    def __init__(self, url: str = "") -> None:
        self._where = url.rpartition("@")[2] or "memory"
        self.reach = Reach("Redis of the limits")
        self._storage: Any = MemoryStorage()
        if url:
            if not url.startswith(("redis://", "rediss://", "redis+unix://")):
                raise UsageError(
                    f"Limits cannot be counted at '{self._where[:60]}'.", "Give such as redis://host:6379."
                )
            self._storage = _redis(url)

    async def close(self) -> None:
        """Close what is open to Redis."""
        bridge = getattr(self._storage, "bridge", None)
        if bridge:
            await bridge.get_connection().aclose()

    async def check(self) -> None:
        """Raises VoxpopError (`limits_failed`) where nothing can be counted."""
        await self._asked(self._storage.get("voxpop-doctor"))

    async def take(
        self, account: str, bucket: str, wanted: Sequence[tuple[Limit, int]], now: int
    ) -> list[Taken] | NoRoom:
        """Take from all of these limits, or from none: then the first that has too little left."""
        taken: list[Taken] = []
        for limit, cost in wanted:
            one = await self._asked(self._take(f"{account}/{bucket}/{limit.name}", limit, cost, now))
            if isinstance(one, NoRoom):
                await self.give_back(taken, now)
                return one
            taken.append(one)
        return taken

    async def give_back(self, taken: Sequence[Taken], now: int, keep: Sequence[int] | None = None) -> None:
        """Give back what was taken but for what is to `keep`, which may also be more than was taken."""
        for place, one in enumerate(taken):
            change = (keep[place] if keep else 0) - one.amount
            begins, size = short(one.limit.per, now)
            if change and abs(begins - one.begins) <= size:  # it counts no more in any other window
                await self._asked(self._storage.incr(one.key, _lasts(size), change))

    async def used(self, account: str, bucket: str, limit: Limit, now: int) -> tuple[int, int]:
        """How much of a limit counts as used, and when it resets."""
        begins, size = short(limit.per, now)
        name = f"{account}/{bucket}/{limit.name}"
        before = await self._asked(self._storage.get(f"{name}/{begins - size}"))
        here = await self._asked(self._storage.get(f"{name}/{begins}"))
        return _weighed(before, here, begins, size, now), _resets(before, here, 1, limit, begins, size, now)

    async def _take(self, name: str, limit: Limit, cost: int, now: int) -> Taken | NoRoom:
        begins, size = short(limit.per, now)
        key = f"{name}/{begins}"
        before = max(0, await self._storage.get(f"{name}/{begins - size}"))
        here = max(0, await self._storage.get(key))
        if _weighed(before, here + cost, begins, size, now) <= limit.most:
            here = await self._storage.incr(key, _lasts(size), cost)
            used = _weighed(before, here, begins, size, now)
            if used <= limit.most:
                return Taken(limit, key, cost, begins, used, _resets(before, here, cost, limit, begins, size, now))
            here = await self._storage.incr(key, _lasts(size), -cost)  # others came between
        used = _weighed(before, here, begins, size, now)
        resets = _resets(before, here, cost, limit, begins, size, now)
        return NoRoom(limit, cost, used, resets, _frees(before, here, cost, limit, begins, size))

    async def _asked(self, asking: Any) -> Any:
        try:
            done = await asking
        except Exception as error:
            if isinstance(error, VoxpopError) or self._where == "memory":
                raise
            what = f"The limits at {self._where[:60]} cannot be counted: {str(error)[:120].rstrip('. ')}."
            self.reach.failed(what)
            cure = "Check that Redis runs there, and accounts.limits_url."
            raise VoxpopError(what, cure, code="limits_failed") from error
        self.reach.worked()
        return done


def _redis(url: str) -> Any:
    try:
        return RedisStorage(
            f"async+{url}",
            implementation="redispy",
            key_prefix="voxpop",
            socket_timeout=_WAIT_S,
            socket_connect_timeout=_WAIT_S,
        )
    except Exception as error:
        raise VoxpopError(
            "The driver for Redis is missing.", "Install it with: pip install 'voxpop[team]'"
        ) from error


def _weighed(before: int, here: int, begins: int, size: int, now: int) -> int:
    """What counts in the window that ends now, rounded down: who comes evenly is never refused."""
    return max(0, here) + max(0, before) * (begins + size - now) // size


def _resets(before: int, here: int, cost: int, limit: Limit, begins: int, size: int, now: int) -> int:
    """When as much has room again, where it has none now; else when none of the limit is used any more."""
    again = _frees(before, here, cost, limit, begins, size)
    if again is None or again <= now:
        again = _frees(before, here, limit.most, limit, begins, size) or now
    return max(now, again)


def _frees(before: int, here: int, cost: int, limit: Limit, begins: int, size: int) -> int | None:
    """The first moment at which `cost` fits, if nobody else comes."""
    room = limit.most - cost
    if room < 0:
        return None
    if here <= room:  # as soon as enough of the window before has slid out
        return begins + size - _slid_out(before, room - here, size)
    return begins + 2 * size - _slid_out(here, room, size)


def _slid_out(amount: int, room: int, size: int) -> int:
    """How long before the end of its sliding out no more than `room` counts of an amount."""
    return min(size, ((room + 1) * size - 1) // max(1, amount))


def _lasts(size: int) -> int:
    return _GRACE * max(1, size // MICROS)
