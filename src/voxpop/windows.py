"""When a limit's window begins and ends: aligned, sliding, or reset at a stated hour of a zone; it counts nothing.

All times are microseconds of UTC. Long windows are counted in quarters of an hour: every zone's midnight is on one.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from voxpop.tiers import Per, Resets
from voxpop.times import MICROS

SLOT = 900 * MICROS
_LONG = {"day": 86_400 * MICROS, "month": 30 * 86_400 * MICROS}
_SHORT = {"second": MICROS, "minute": 60 * MICROS}


def slot_of(at: int) -> int:
    """The quarter of an hour that a moment lies in, by its beginning."""
    return at - at % SLOT


def short(per: Per, now: int) -> tuple[int, int]:
    """The second or minute that `now` lies in: when it began, and how long it is."""
    size = _SHORT[per]
    return now - now % size, size


def long(per: Per, now: int, resets: Resets | None) -> tuple[int, int]:
    """The day or month that is counted at `now`: its first slot, and the end.

    A sliding one reaches a whole window back (the quarter that it cuts is counted whole) and as far ahead: what was
    used before a clock was set back still counts.
    """
    if resets is None:
        return slot_of(now - _LONG[per]), slot_of(now) + _LONG[per]
    zone = ZoneInfo(resets.zone)
    local = datetime.fromtimestamp(now // MICROS, zone)
    begins = local.replace(hour=resets.hour, minute=resets.minute, second=0, microsecond=0, tzinfo=None)
    if per == "month":
        begins = begins.replace(day=1)
    # Wall clocks are compared as instants: an hour may be there twice, or not at all.
    if _at(begins, zone) > now:
        begins = _next(begins, per, -1)
    if _at(_next(begins, per, 1), zone) <= now:
        begins = _next(begins, per, 1)
    return slot_of(_at(begins, zone)), slot_of(_at(_next(begins, per, 1), zone))


def frees(slot: int, per: Per) -> int:
    """When what was used in a slot has left its sliding window."""
    return slot + SLOT + _LONG[per]


def _next(begins: datetime, per: Per, step: int) -> datetime:
    if per == "day":
        return begins + timedelta(days=step)
    months = begins.year * 12 + begins.month - 1 + step
    return begins.replace(year=months // 12, month=months % 12 + 1)


def _at(wall: datetime, zone: ZoneInfo) -> int:
    return int(wall.replace(tzinfo=zone).astimezone(UTC).timestamp()) * MICROS
