"""How limits and usage are told: headers as OpenAI's clients read them, a refusal, a list for a page, CSV.

Durations in headers are as OpenAI writes them (`6m0s`, `120ms`); `retry-after` is in whole seconds (RFC 9110).
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from voxpop.accounts import Limited
from voxpop.tiers import Limit, Tier
from voxpop.times import MICROS, iso, span

_RISKY = ("=", "+", "-", "@", "\t", "\r")
_WHAT = {
    "requests": ("request", "requests"),
    "tokens": ("token", "tokens"),
    "concurrent": ("answer at once", "answers at once"),
}


@dataclass(frozen=True, slots=True)
class State:
    """Where a limit stands: how much is used, and when there is room again or it is whole (microseconds of UTC)."""

    limit: Limit
    used: int
    resets: int | None = None

    @property
    def left(self) -> int:
        """What may still be taken."""
        return max(0, self.limit.most - self.used)


def headers(states: Sequence[State], now: int) -> dict[str, str]:
    """Three of each limit by its name, and OpenAI's `-requests` and `-tokens` of the ones that stop a client first.

    That is, of those with nothing left, the one that resets last; else the one with the least left.
    """
    told: dict[str, str] = {}
    for measure in ("requests", "tokens"):
        of_it = [s for s in states if s.limit.measure == measure]
        if of_it:
            told |= _three(measure, min(of_it, key=_stops_first), now)
    for state in states:
        told |= _three(state.limit.name.replace("_", "-"), state, now)
    return told


def _stops_first(state: State) -> tuple[bool, float]:
    if state.left:
        return True, state.left / state.limit.most
    return False, -(state.resets or 0)


def limited(
    tier: Tier, bucket: str, full: State, cost: int, frees: int | None, states: Iterable[State], now: int
) -> Limited:
    """The refusal of a request that a limit has no room for: which, how much, until when, and the cure."""
    limit = full.limit
    each = f"{limit.most:,} {_WHAT[limit.measure][limit.most != 1]}" + (f" a {limit.per}" if limit.per else "")
    # The headers of what is full tell the same moment as `retry-after`.
    told = headers([replace(s, resets=frees) if frees and s.limit == limit else s for s in states], now)
    if cost > limit.most:
        what = f"This asks for up to {cost:,} {limit.measure}; the tier {tier.name} allows {each} ({bucket})."
        return Limited(what, "Ask for less, such as a smaller max_tokens.", {**told, "x-should-retry": "false"})
    wants = f", and this may need {cost:,}" if limit.measure == "tokens" else ""
    verb = "is" if full.used == 1 else "are"
    what = f"The tier {tier.name} allows {each} ({bucket}): {full.used:,} {verb} used{wants}."
    if frees is None:
        return Limited(what, "Wait until one of your answers has ended.", {**told, "retry-after": "1"})
    wait_s = max(1, ceil((frees - now) / MICROS))
    cure = f"Ask again at {iso(frees)}, in {span(wait_s)}, or ask for a larger tier."
    return Limited(what, cure, {**told, "retry-after": str(wait_s)})


def limit_json(state: State, now: int) -> dict[str, Any]:
    """A limit for a page: what is used of it, what is left, when it resets."""
    limit = state.limit
    return {
        "name": limit.name,
        "measure": limit.measure,
        "per": limit.per,
        "limit": limit.most,
        "used": state.used,
        "left": state.left,
        "resets_at": iso(state.resets) if state.resets is not None else None,
        "resets_in_s": max(0.0, (state.resets - now) / MICROS) if state.resets is not None else None,
    }


def tier_json(tier: Tier) -> dict[str, Any]:
    """What a tier gives."""
    return {
        "name": tier.name,
        "title": tier.title,
        "weight": tier.weight,
        "models": list(tier.models),
        "voices": list(tier.voices),
        "tools": list(tier.tools),
        "as_of_days": tier.as_of_days,
        "resets": str(tier.resets) if tier.resets else "slides",
        "buckets": {n: {one.name: one.most for one in limits} for n, limits in tier.buckets.items()},
        "rollout": _rollout(tier),
    }


def _rollout(tier: Tier) -> dict[str, Any]:
    rules = tier.rollout
    return {
        "countries": sorted(rules.countries),
        "share": rules.share,
        "accounts": sorted(rules.accounts),
        "starts": iso(rules.starts) if rules.starts is not None else None,
        "meanwhile": rules.meanwhile,
    }


def _three(name: str, state: State, now: int) -> Mapping[str, str]:
    told = {f"x-ratelimit-limit-{name}": str(state.limit.most), f"x-ratelimit-remaining-{name}": str(state.left)}
    if state.resets is not None:
        told[f"x-ratelimit-reset-{name}"] = duration(max(0, state.resets - now))
    return told


def duration(micros: int) -> str:
    """A length of time as OpenAI's headers have it."""
    if micros < MICROS:
        return f"{-(-micros // 1000)}ms"
    seconds = -(-micros // MICROS)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    head = f"{hours}h" if hours else ""
    return head + (f"{minutes}m" if hours or minutes else "") + f"{seconds % 60}s"


def csv_text(rows: list[dict[str, Any]], groups: tuple[str, ...]) -> str:
    """Rows as RFC 4180 has them, with a head; a text that a spreadsheet would take for a formula is quoted by '."""
    columns = [*groups, *(n for n in (rows[0] if rows else {}) if n not in groups)]
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    return written.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_RISKY) else value
