"""The tables of who may ask: teams, users, their keys, and what admins did; no rule, no secret in clear.

Times are microseconds of UTC, ids are random and never given twice.
"""

import secrets
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from voxpop.records import Base


def new_id(kind: str) -> str:
    """An id such as `user_1f…`: 96 random bits, so nothing that was left of a removed one is ever another's."""
    return f"{kind}_{secrets.token_hex(12)}"


class Team(Base):
    """Users who belong together; `tier` is theirs where they have none of their own."""

    __tablename__ = "teams"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("team"))
    name: Mapped[str] = mapped_column(String(64))
    folded: Mapped[str] = mapped_column(String(200), unique=True)
    tier: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)


class User(Base):
    """A person or a program with an account. `password` is Argon2's encoded hash, empty where none is set."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("user"))
    name: Mapped[str] = mapped_column(String(64))
    folded: Mapped[str] = mapped_column(String(200), unique=True)
    email: Mapped[str | None] = mapped_column(String(254), unique=True)
    rank: Mapped[str] = mapped_column(String(16))
    tier: Mapped[str] = mapped_column(String(64), default="")
    country: Mapped[str] = mapped_column(String(2), default="")
    team_id: Mapped[str | None] = mapped_column(ForeignKey("teams.id"), index=True)
    password: Mapped[str] = mapped_column(Text, default="")
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[int] = mapped_column(BigInteger)
    team: Mapped[Team | None] = relationship(lazy="joined")


class Key(Base):
    """What an API key is for and how long it is valid; its secrets are apart, for a rotated one has two."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("key"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    models: Mapped[list[str]] = mapped_column(JSON)
    endpoints: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[int] = mapped_column(BigInteger)
    changed_by: Mapped[str] = mapped_column(String(120))
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    used_at: Mapped[int | None] = mapped_column(BigInteger)
    user: Mapped[User] = relationship(lazy="joined")
    secrets: Mapped[list["Secret"]] = relationship(
        back_populates="key", cascade="all, delete-orphan", passive_deletes=True, order_by="Secret.created_at"
    )


class Secret(Base):
    """One secret of a key, as its SHA-256, found by its prefix; `until` is set on one that was rotated away."""

    __tablename__ = "api_key_secrets"
    prefix: Mapped[str] = mapped_column(String(8), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[int | None] = mapped_column(BigInteger)
    key: Mapped[Key] = relationship(back_populates="secrets", lazy="joined")


class Act(Base):
    """What an admin did: triggers of the database refuse to change or remove a row."""

    __tablename__ = "audit_log"
    # SQLite numbers rows by itself only where the type is INTEGER.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    by: Mapped[str] = mapped_column(String(120))
    act: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(40), index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
