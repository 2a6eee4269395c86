"""The tables of what was used: a ledger that only grows, and what can be counted anew from it; no text of anybody.

All times are microseconds of UTC, all sums whole numbers.
"""

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, SmallInteger, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from voxpop.records import Base


class Line(Base):
    """How one admitted request ended: `settled`, `refunded` or `expired` (its server ended first).

    Triggers of the database refuse to change or remove a row. One that expired may still be settled, once.
    """

    __tablename__ = "usage_ledger"
    __table_args__ = (UniqueConstraint("hold", "kind"), Index("ix_usage_ledger_account_at", "account", "at"))
    # SQLite numbers rows by itself only where the type is INTEGER.
    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    hold: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(8))
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    account: Mapped[str] = mapped_column(String(64))
    team: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(64))
    bucket: Mapped[str] = mapped_column(String(40))
    endpoint: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(120))
    request: Mapped[str] = mapped_column(String(128))
    requests: Mapped[int] = mapped_column(SmallInteger)
    answers: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger)
    searches: Mapped[int] = mapped_column(BigInteger)
    engine_us: Mapped[int] = mapped_column(BigInteger)
    source_ticks: Mapped[int] = mapped_column(BigInteger)
    ticks: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str] = mapped_column(String(200))


class Hold(Base):
    """What is set aside for a request that is under way, taken from the quarter of an hour `slot`."""

    __tablename__ = "usage_holds"
    __table_args__ = (Index("ix_usage_holds_account_bucket", "account", "bucket"),)
    hold: Mapped[str] = mapped_column(String(32), primary_key=True)
    server: Mapped[str] = mapped_column(String(32), index=True)
    at: Mapped[int] = mapped_column(BigInteger)
    account: Mapped[str] = mapped_column(String(64))
    team: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(64))
    bucket: Mapped[str] = mapped_column(String(40))
    endpoint: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(120))
    request: Mapped[str] = mapped_column(String(128))
    slot: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)
    answers: Mapped[int] = mapped_column(Integer)


class Total(Base):
    """Requests and tokens of an account in a quarter of an hour, those that are set aside included."""

    __tablename__ = "usage_totals"
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    bucket: Mapped[str] = mapped_column(String(40), primary_key=True)
    slot: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)


class Server(Base):
    """A process that holds something: as long as its `beats` grow it lives."""

    __tablename__ = "usage_servers"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    beats: Mapped[int] = mapped_column(BigInteger)


class Waiting(Base):
    """Who asked for a tier that is not open to it yet, since when."""

    __tablename__ = "tier_waiting"
    tier: Mapped[str] = mapped_column(String(40), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    country: Mapped[str] = mapped_column(String(2))
    since: Mapped[int] = mapped_column(BigInteger)


class Repeat(Base):
    """An answer that is given again to the same `Idempotency-Key`; while it is under way `server` makes it."""

    __tablename__ = "repeats"
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    server: Mapped[str] = mapped_column(String(32), index=True)
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
