"""What was used, summed as somebody asks; what is left of each limit; and whether totals and ledger agree."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.orm import Session

from voxpop.accounts import TICKS, Account, people
from voxpop.accounts.tables import Team, User
from voxpop.errors import UsageError
from voxpop.quotas import ledger, waiting
from voxpop.quotas.permits import Quotas, count
from voxpop.quotas.tables import Hold, Line, Total
from voxpop.quotas.telling import State, limit_json, tier_json
from voxpop.times import MICROS, iso

DAY = 86_400 * MICROS
MOST_ROWS = 10_000
GROUPS = ("day", "model", "key", "endpoint", "account", "team", "bucket")
_NAMED: dict[str, Any] = {"account": User, "team": Team}
SUMS = (
    "requests",
    "answers",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "searches",
    "engine_us",
    "source_ticks",
    "ticks",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which usage: from `begins` to before `ends` (microseconds of UTC), of whom (None: of all), by what."""

    begins: int
    ends: int
    account: str | None = None
    team: str | None = None
    groups: tuple[str, ...] = ("day",)


def usage(session: Session, asked: Asked) -> list[dict[str, Any]]:
    """A row of sums for each group, in the order of the groups; days are UTC's, such as `2026-11-22`."""
    columns: list[Any] = []
    for group in asked.groups:
        if group == "day":
            # Whole days since 1970, for SQL has no one name for dates.
            columns.append((cast(Line.at, BigInteger) - cast(Line.at, BigInteger) % DAY).label("day"))
        else:
            columns.append(getattr(Line, group))
    sums = [func.coalesce(func.sum(getattr(Line, name)), 0) for name in SUMS]
    query = select(*columns, *sums).where(Line.at >= asked.begins, Line.at < asked.ends)
    if asked.account is not None:
        query = query.where(Line.account == asked.account)
    if asked.team is not None:
        query = query.where(Line.team == asked.team)
    rows = session.execute(query.group_by(*columns).order_by(*columns).limit(MOST_ROWS + 1)).all()
    return [_row(asked.groups, row) for row in rows]


def report(session: Session, asked: Asked) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a report and their sum. Raises UsageError where they are too many."""
    rows = usage(session, asked)
    if len(rows) > MOST_ROWS:
        raise UsageError(f"There are over {MOST_ROWS:,} rows.", "Ask for a shorter time, or for fewer groups.")
    (whole,) = usage(session, replace(asked, groups=()))
    for group, kind in _NAMED.items():
        if group in asked.groups:
            names: dict[str, str] = {id_: name for id_, name in session.execute(select(kind.id, kind.name))}
            rows = [{**row, f"{group}_name": names.get(row[group], "")} for row in rows]
    return rows, whole


def columns(groups: Sequence[str]) -> tuple[str, ...]:
    """The columns of a report by these groups, of which there may be no row; names stand beside ids."""
    named = [n for group in groups for n in (group, *((f"{group}_name",) if group in _NAMED else ()))]
    return (*named, *_shown(dict.fromkeys(SUMS, 0)))


def statement(session: Session, team: str, begins: int, ends: int) -> dict[str, Any]:
    """A month of a team (its id or name; empty: of whoever is in none), by account and model, with its sum.

    Raises UsageError where there is no such team.
    """
    found = people.team(session, team) if team else None
    rows, whole = report(session, Asked(begins, ends, None, found.id if found else "", ("account", "model")))
    named = [{"account": r["account"], "name": r.pop("account_name"), **r} for r in rows]
    return {
        "object": "usage.statement",
        "month": iso(begins)[:7],
        "start": iso(begins),
        "end": iso(ends),
        "team": {"id": found.id, "name": found.name} if found else None,
        "data": named,
        "total": whole,
    }


def _row(groups: Sequence[str], row: Any) -> dict[str, Any]:
    named = dict(zip(groups, row, strict=False))
    if "day" in named:
        named["day"] = iso(int(named["day"]))[:10]
    return {**named, **_shown({name: int(n) for name, n in zip(SUMS, row[len(groups) :], strict=True)})}


def _shown(sums: dict[str, int]) -> dict[str, Any]:
    whole = {n: sums[n] for n in SUMS if n not in ("engine_us", "source_ticks", "ticks")}
    return {
        **whole,
        "engine_s": sums["engine_us"] / MICROS,
        "source_usd": sums["source_ticks"] / TICKS,
        "cost_usd": sums["ticks"] / TICKS,
        "cost_in_usd_ticks": sums["ticks"],
    }


STATEMENT = ("account", "name", "model", *_shown(dict.fromkeys(SUMS, 0)))


async def limits_of(quotas: Quotas, account: Account) -> dict[str, Any]:
    """An account's tier, and of each limit what is used, what is left and when it resets; its place if it waits.

    Raises Denied where its tier does not exist.
    """
    tiers, now = quotas.tiers(), quotas.clock()
    named = tiers.named(account)
    place = None
    if why := named.rollout.keeps_out(named.name, account, now):
        place = await quotas.database.run(lambda s: waiting.place(s, named, account, why, now), write=False)
    tier = tiers.tiers[named.rollout.meanwhile] if why and named.rollout.meanwhile else named
    buckets = []
    for bucket, limits in tier.buckets.items():
        counted = count(tier, limits, dict.fromkeys(("requests", "tokens", "concurrent"), 0), now)
        long = await quotas.database.run(
            lambda s, b=bucket, c=counted: ledger.used(s, account.id, b, c),  # type: ignore[misc]
            write=False,
        )
        states = {c.limit: State(c.limit, n, c.ends or None) for c, n in zip(counted, long, strict=True)}
        for limit in limits:
            if limit.is_short:
                states[limit] = State(limit, *await quotas.short.used(account.id, bucket, limit, now))
        buckets.append({"name": bucket, "limits": [limit_json(states[limit], now) for limit in limits]})
    shown = tier_json(tier)
    return {
        "object": "limits",
        "tier": {"name": tier.name, "title": tier.title},
        "waiting": asdict(place) if place else None,
        **{name: shown[name] for name in ("models", "voices", "tools", "as_of_days", "weight", "resets")},
        "buckets": buckets,
    }


def differences(session: Session) -> list[tuple[str, str, int, int]]:
    """Where totals are not what ledger and holds say, as (account, bucket, requests, tokens) that are too many.

    A total counts a request in the quarter of an hour in which it was set aside, the ledger in which it ended: they
    are compared over all time.
    """
    line = select(
        Line.account,
        Line.bucket,
        func.sum(Line.requests),
        func.sum(Line.prompt_tokens + Line.completion_tokens),
    ).group_by(Line.account, Line.bucket)
    hold = select(Hold.account, Hold.bucket, func.count(), func.sum(Hold.tokens)).group_by(
        Hold.account, Hold.bucket
    )
    sums = select(Total.account, Total.bucket, func.sum(Total.requests), func.sum(Total.tokens)).group_by(
        Total.account, Total.bucket
    )
    over: dict[tuple[str, str], list[int]] = {}
    for sign, query in ((1, sums), (-1, line), (-1, hold)):
        for account, bucket, requests, tokens in session.execute(query):
            row = over.setdefault((account, bucket), [0, 0])
            row[0] += sign * int(requests)
            row[1] += sign * int(tokens)
    return [(*where, row[0], row[1]) for where, row in sorted(over.items()) if row != [0, 0]]
