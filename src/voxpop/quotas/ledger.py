"""The ledger's transactions: set aside, settle, give back, and take back what an ended server held; all exact.

What is set aside counts as used until it is settled. A request ends once: settled or refunded by its server, or
expired by another; one that was settled after it had expired is counted all the same.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, case, delete, func, insert, select, union
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from voxpop.accounts import TICKS, Spent
from voxpop.quotas.tables import Hold, Line, Repeat, Server, Total, Waiting
from voxpop.tiers import Limit
from voxpop.times import MICROS
from voxpop.windows import frees, slot_of

_LINES: Any = Line.__table__
_HOLDS: Any = Hold.__table__
_TOTALS: Any = Total.__table__
_SERVERS: Any = Server.__table__


@dataclass(frozen=True, slots=True)
class Who:
    """Whose request it is and what for; `hold` is its name here, never given twice."""

    hold: str
    account: str
    team: str
    key: str
    bucket: str
    endpoint: str
    model: str
    request: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A limit with the window in which it is counted (its first slot, its end), and what is wanted of it."""

    limit: Limit
    begins: int
    ends: int
    cost: int
    slides: bool = False


@dataclass(frozen=True, slots=True)
class Reserved:
    """How much of each limit is used, in their order, what was set aside included.

    `full`: the first that has too little left, and then nothing was set aside; `frees`: when it has room again.
    """

    used: tuple[int, ...]
    full: Counted | None = None
    frees: int | None = None


def used(session: Session, account: str, bucket: str, counted: Sequence[Counted]) -> list[int]:
    """How much of each limit is used or set aside."""
    whose = {"whose": account, "which": bucket}
    long = [c for c in counted if c.limit.per]
    found: list[int] = []
    if long:
        bounds = {f"from{n}": c.begins for n, c in enumerate(long)} | {f"to{n}": c.ends for n, c in enumerate(long)}
        sums = _sums(tuple(c.limit.measure for c in long))
        row = session.execute(sums, {**whose, **bounds, "first": min(c.begins for c in long)}).one()
        found = [max(0, int(n)) for n in row]
    under_way = int(session.execute(_UNDER_WAY, whose).scalar_one()) if len(long) < len(counted) else 0
    taken = iter(found)
    return [next(taken) if c.limit.per else under_way for c in counted]


def reserve(
    session: Session, who: Who, server: str, now: int, tokens: int, answers: int, counted: Sequence[Counted]
) -> Reserved:
    """Set aside a request, its tokens and its answers, where all limits have room for them; else nothing."""
    before = used(session, who.account, who.bucket, counted)
    for each, taken in zip(counted, before, strict=True):
        if taken + each.cost > each.limit.most:
            return Reserved(tuple(before), each, _frees(session, who, each, taken))
    row = {**asdict(who), "server": server, "at": now, "slot": slot_of(now), "tokens": tokens, "answers": answers}
    session.execute(_HELD, row)
    _add(session, who.account, who.bucket, slot_of(now), 1, tokens)
    return Reserved(tuple(n + c.cost for n, c in zip(before, counted, strict=True)))


def settle(session: Session, who: Who, now: int, spent: Spent, ticks: int, *, held: bool) -> None:
    """Write down what was used in the place of what was set aside; a second time changes nothing."""
    if not _append(session, who, "settled", now, spent, ticks):
        return
    tokens = spent.prompt_tokens + spent.completion_tokens
    was = _let_go(session, who.hold) if held else None
    if was is None:
        _add(session, who.account, who.bucket, slot_of(now), 1, tokens)
    else:
        _add(session, who.account, who.bucket, was[0], 0, tokens - was[1])


def refund(session: Session, who: Who, now: int, why: str, *, held: bool, kind: str = "refunded") -> bool:
    """Give back what was set aside; whether there was anything to give back."""
    was = _let_go(session, who.hold) if held else None
    if held and was is None:
        return False
    if was:
        _add(session, who.account, who.bucket, was[0], -1, -was[1])
    return _append(session, who, kind, now, Spent(), 0, why)


def beat(session: Session, server: str) -> None:
    """Say that this server lives."""
    row = {"id": server, "beats": 1}
    grown = {"beats": _SERVERS.c.beats + 1}
    session.execute(
        inserting(session, _SERVERS).values(row).on_conflict_do_update(index_elements=["id"], set_=grown)
    )


def holders(session: Session) -> dict[str, int]:
    """The servers that hold something or serve what may be repeated, with their beats (0: it never beat)."""
    busy = union(select(Hold.server), select(Repeat.server).where(Repeat.server != "")).subquery()
    both = busy.outerjoin(_SERVERS, _SERVERS.c.id == busy.c.server)
    rows = session.execute(select(busy.c.server, func.coalesce(_SERVERS.c.beats, 0)).select_from(both))
    return {server: int(n) for server, n in rows}


def held_by(session: Session, server: str) -> list[Who]:
    """What a server holds."""
    names = Who.__dataclass_fields__
    rows = session.execute(select(*(_HOLDS.c[n] for n in names)).where(_HOLDS.c.server == server))
    return [Who(*row) for row in rows]


def forget_server(session: Session, server: str) -> None:
    """Nothing is held by it any more, and what it served can be asked for anew."""
    session.execute(delete(Repeat).where(Repeat.server == server))
    session.execute(delete(_SERVERS).where(_SERVERS.c.id == server))


def forget(session: Session, account: str) -> None:
    """Remove what is counted and kept of an account, but for the lines of the ledger, which stay."""
    for table in (Hold, Total, Waiting, Repeat):
        session.execute(delete(table).where(table.account == account))


def _append(session: Session, who: Who, kind: str, now: int, spent: Spent, ticks: int, why: str = "") -> bool:
    """Whether the line is new."""
    row = {
        **asdict(who),
        "kind": kind,
        "at": now,
        "requests": int(kind == "settled"),
        "answers": spent.answers,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cached_tokens": spent.cached_tokens,
        "reasoning_tokens": spent.reasoning_tokens,
        "searches": spent.searches,
        "engine_us": round(spent.engine_s * MICROS),
        "source_ticks": round(spent.source_usd * TICKS),
        "ticks": ticks,
        "why": why[:200],
    }
    return session.execute(_line(_dialect(session)), row).first() is not None


def _let_go(session: Session, hold: str) -> tuple[int, int] | None:
    """The slot and the tokens of what was held, which is held no more; None where nothing was."""
    row = session.execute(_GONE, {"name": hold}).one_or_none()
    return (int(row[0]), int(row[1])) if row else None


def _add(session: Session, account: str, bucket: str, slot: int, requests: int, tokens: int) -> None:
    row = {"account": account, "bucket": bucket, "slot": slot, "requests": requests, "tokens": tokens}
    session.execute(_total(_dialect(session)), row)


def _frees(session: Session, who: Who, full: Counted, taken: int) -> int | None:
    """When a limit has room again; None where that is when an answer ends, or never."""
    limit = full.limit
    if not limit.per or full.cost > limit.most:
        return None
    if not full.slides:
        return full.ends
    mine = (_TOTALS.c.account == who.account) & (_TOTALS.c.bucket == who.bucket)
    within = mine & (_TOTALS.c.slot >= full.begins) & (_TOTALS.c.slot < full.ends)
    rows = select(_TOTALS.c.slot, _TOTALS.c[limit.measure]).where(within).order_by(_TOTALS.c.slot)
    for slot, amount in session.execute(rows):
        taken -= amount
        if taken + full.cost <= limit.most:
            return frees(slot, limit.per)
    return None


def inserting(session: Session, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, in the dialect of this database."""
    return _insert(_dialect(session), table)


# Statements are made once: making one costs more than SQLite takes to do it.
_WHOSE: Any = (bindparam("whose"), bindparam("which"))
_HELD = insert(_HOLDS)
_GONE = delete(_HOLDS).where(_HOLDS.c.hold == bindparam("name")).returning(_HOLDS.c.slot, _HOLDS.c.tokens)
_UNDER_WAY = select(func.coalesce(func.sum(_HOLDS.c.answers), 0)).where(
    _HOLDS.c.account == _WHOSE[0], _HOLDS.c.bucket == _WHOSE[1]
)


@cache
def _sums(measures: tuple[str, ...]) -> Select[Any]:
    slot, columns = _TOTALS.c.slot, []
    for n, measure in enumerate(measures):
        within = (slot >= bindparam(f"from{n}")) & (slot < bindparam(f"to{n}"))
        columns.append(func.coalesce(func.sum(case((within, _TOTALS.c[measure]), else_=0)), 0))
    mine = (_TOTALS.c.account == _WHOSE[0], _TOTALS.c.bucket == _WHOSE[1], slot >= bindparam("first"))
    return select(*columns).where(*mine)


@cache
def _line(dialect: str) -> Any:
    made = _insert(dialect, _LINES).on_conflict_do_nothing(index_elements=["hold", "kind"])
    return made.returning(_LINES.c.seq)


@cache
def _total(dialect: str) -> Any:
    made = _insert(dialect, _TOTALS)
    grown = {n: _TOTALS.c[n] + made.excluded[n] for n in ("requests", "tokens")}
    return made.on_conflict_do_update(index_elements=["account", "bucket", "slot"], set_=grown)


def _insert(dialect: str, table: Any) -> Any:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def _dialect(session: Session) -> str:
    return session.get_bind().dialect.name
