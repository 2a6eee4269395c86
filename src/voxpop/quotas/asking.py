"""What a usage report may be asked: words from a stranger become bounds and groups; what cannot be is refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches

from voxpop.errors import UsageError
from voxpop.quotas.reports import GROUPS, Asked
from voxpop.times import MICROS, instant, iso

KNOWN = ("start", "end", "group_by", "account", "team", "format")


def month(text: str, now: int) -> tuple[int, int]:
    """A month of UTC, such as `2026-11`; empty: this one. Raises UsageError."""
    if not text:
        text = datetime.fromtimestamp(now // MICROS, UTC).strftime("%Y-%m")
    try:
        begins = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        ends = begins.replace(year=begins.year + begins.month // 12, month=begins.month % 12 + 1)
        return int(begins.timestamp()) * MICROS, int(ends.timestamp()) * MICROS
    except (ValueError, OverflowError) as error:
        raise UsageError(f"'{text[:40]}' is no month.", "Give such as 2026-11.") from error


def asked(given: Mapping[str, str], now: int, *, account: str | None, team: str | None) -> Asked:
    """The bounds and groups of a report; without bounds it is this month. Raises UsageError."""
    for name in given:
        if name not in KNOWN:
            raise _unknown(name, KNOWN, "parameter")
    begins, ends = month("", now)
    if given.get("start"):
        begins = _moment("start", given["start"], now)
    if given.get("end") or given.get("start"):
        ends = _moment("end", given.get("end") or "now", now) + (0 if given.get("end") else 1)
    if begins >= ends:
        raise UsageError("'start' is not before 'end'.", "Give the earlier time in 'start'.")
    groups = tuple(dict.fromkeys(g.strip() for g in given.get("group_by", "day").split(",") if g.strip()))
    for group in groups:
        if group not in GROUPS:
            raise _unknown(group, GROUPS, "group")
    return Asked(begins, ends, account, team, groups)


def _moment(name: str, text: str, now: int) -> int:
    try:
        at = instant(text, now)
        iso(at)  # a time that cannot be written cannot be asked for
        return at
    except (ValueError, OverflowError, OSError) as error:
        cure = "Give an ISO 8601 time or date, or an age such as -7d."
        raise UsageError(f"'{name}' cannot be '{text[:40]}'.", cure) from error


def _unknown(name: str, known: tuple[str, ...], kind: str) -> UsageError:
    close = get_close_matches(name, known, 1, 0.5)
    cure = f"Did you mean '{close[0]}'?" if close else f"Known are: {', '.join(known)}."
    return UsageError(f"Unknown {kind} '{name[:40]}'.", cure)
