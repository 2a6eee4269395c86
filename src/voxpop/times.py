"""Read and write instants as whole microseconds of UTC; a text that names no instant raises ValueError."""

import re
from datetime import UTC, datetime

MICROS = 1_000_000
_AGO = re.compile(r"-(\d+(?:\.\d+)?)([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(text: str) -> int:
    """ISO 8601 (RFC 3339, a missing offset read as UTC) as microseconds since 1970."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    span = moment - _EPOCH
    return (span.days * 86400 + span.seconds) * MICROS + span.microseconds


def instant(text: str, now: int) -> int:
    """An instant as a person types it: ISO 8601, a date, `now`, or `-90m` (units s m h d w) before `now`."""
    text = text.strip()
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        return now - int(float(ago[1]) * _UNIT_S[ago[2]] * MICROS)
    return micros(text)


def iso(at: int) -> str:
    """RFC 3339 in UTC with milliseconds, such as `2014-10-22T14:30:00.000Z`."""
    whole, rest = divmod(at, MICROS)
    moment = datetime.fromtimestamp(whole, UTC).replace(tzinfo=None, microsecond=rest)
    return moment.isoformat(timespec="milliseconds") + "Z"  # strftime would write the year 900 with three digits


def span(seconds: float) -> str:
    """A length of time for people: `90 s`, `12 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
