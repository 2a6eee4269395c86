"""The tables of batches, and rows as values; it decides nothing."""

import secrets
from dataclasses import asdict, fields
from typing import Any

import orjson
from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.accounts import Account
from voxpop.batches import Batch, Wish
from voxpop.records import Base


class BatchRow(Base):
    """A batch; `asker`, `meta` and `times` are JSON."""

    __tablename__ = "batches"
    __table_args__ = (Index("ix_batches_owner", "owner", "created_at"),)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    asker: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(String(255))
    endpoint: Mapped[str] = mapped_column(String(64))
    input_file: Mapped[str] = mapped_column(String(64))
    meta: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), index=True)
    times: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)


class RequestRow(Base):
    """One request of a batch; `body` is its client's own, `result` a packed `Shut`."""

    __tablename__ = "batch_requests"
    __table_args__ = (
        UniqueConstraint("batch", "custom_id"),
        Index("ix_batch_requests_state", "batch", "state", "n"),
    )
    batch: Mapped[str] = mapped_column(String(64), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    custom_id: Mapped[str] = mapped_column(String(255))
    endpoint: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16))
    status: Mapped[int] = mapped_column(Integer)
    request_id: Mapped[str] = mapped_column(String(128))
    result: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)


def row_of(batch: str, n: int, wish: Wish, now: int) -> RequestRow:
    return RequestRow(
        batch=batch,
        n=n,
        custom_id=wish.custom_id,
        endpoint=wish.endpoint,
        body=wish.body,
        state="pending",
        status=0,
        request_id=f"batch_req_{secrets.token_hex(16)}",
        result=None,
        created_at=now,
        ended_at=None,
    )


def batch_of(session: Session, row: BatchRow) -> Batch:
    counted = select(RequestRow.state, func.count()).where(RequestRow.batch == row.id).group_by(RequestRow.state)
    return Batch(
        id=row.id,
        owner=row.owner,
        account=_load(row.asker),
        name=row.name,
        endpoint=row.endpoint,
        input_file=row.input_file,
        meta=orjson.loads(row.meta),
        status=row.status,
        times=orjson.loads(row.times),
        created_at=row.created_at,
        expires_at=row.expires_at,
        counts={state: count for state, count in session.execute(counted)},
    )


def dump(account: Account) -> str:
    said = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(account).items()}
    return orjson.dumps(said).decode()


def _load(text: str) -> Account:
    known = {f.name for f in fields(Account)}
    said: dict[str, Any] = {
        k: frozenset(v) if isinstance(v, list) else v for k, v in orjson.loads(text).items() if k in known
    }
    return Account(**said)
