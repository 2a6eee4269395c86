"""Signing in by name and password, signing up, invitations; it says as little of who exists as it can.

An unknown name takes as long as a wrong password and is told in the same words.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlalchemy import BigInteger, LargeBinary, String, delete, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.accounts import Denied, attempts, audit, passwords, people
from voxpop.accounts.audit import By
from voxpop.accounts.people import Wish
from voxpop.accounts.sessions import Sessions
from voxpop.accounts.tables import User
from voxpop.errors import UsageError
from voxpop.records import Base, Database

SignUp = Literal["off", "invited", "open"]
INVITED_S = 7 * 86_400
_ABREAST = 2  # passwords hashed at once: each takes 64 MiB


class Invitation(Base):
    """What somebody may sign up with, once, until `expires_at` (microseconds of UTC)."""

    __tablename__ = "invitations"
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    tier: Mapped[str] = mapped_column(String(64), default="")
    team: Mapped[str] = mapped_column(String(200), default="")
    by: Mapped[str] = mapped_column(String(120))
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


@dataclass(slots=True)
class SignIn:
    """Who may sign in at a database of accounts, and by what. `clock` is in microseconds of UTC."""

    database: Database
    sessions: Sessions
    clock: Callable[[], int]
    sign_up: SignUp = "off"
    _hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ABREAST))

    async def enter(self, name: str, password: str, address: str) -> str:
        """The token of a new session. Raises Denied (`bad_sign_in`), or Limited after too many tries."""
        user_id = await self._known(name, password, address)
        return await self.sessions.open(user_id)

    async def _known(self, name: str, password: str, address: str) -> str:
        now = self.clock()
        await self.database.run(lambda s: attempts.count(s, now, name, address))
        user = await self.database.run(lambda s: _found(s, name), write=False)
        kept = user.password if user else ""
        async with self._hashing:
            right = await asyncio.to_thread(passwords.matches, kept, password)
        if not right or user is None or user.disabled:
            cure = "Try again; an admin of this server can set a new password."
            raise Denied("The name or the password is not right.", cure, code="bad_sign_in")
        await self.database.run(lambda s: attempts.succeeded(s, name, address))
        if passwords.stale(kept):
            await self._keep(user.id, kept, await self._hashed(password))
        return user.id

    async def change(self, user_id: str, old: str, new: str, address: str, *, but: str = "") -> None:
        """Another password; every other session than the one of the token `but` ends. Raises as `enter`."""
        await self._known(user_id, old, address)
        hashed = await self._hashed(new)
        await self._keep(user_id, None, hashed)
        await self.sessions.end_all(user_id, but=but)

    async def _hashed(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(passwords.hashed, password)

    async def _keep(self, user_id: str, before: str | None, hashed: str) -> None:
        """Keep a hash; `before` is the one that it takes the place of, where nobody else has set another since."""

        def work(session: Session) -> None:
            kept = update(User).where(User.id == user_id).values(password=hashed)
            if before is None:
                audit.note(session, By(user_id, self.clock()), "user.change", user_id, password="set")  # noqa: S106
            else:
                kept = kept.where(User.password == before)
            session.execute(kept)

        await self.database.run(work)

    async def join(self, name: str, password: str, address: str, invitation: str = "") -> str:
        """A new user, signed in; the token of the session. Raises Denied, UsageError as `people.add_user`."""
        if self.sign_up == "off":
            raise Denied("Nobody can sign up here.", "Ask an admin of this server.", code="forbidden")
        now = self.clock()
        await self.database.run(lambda s: attempts.count(s, now, "sign-up", address))
        hashed = await self._hashed(password)

        def work(session: Session) -> str:
            wish = Wish(name=name, password=hashed)
            if self.sign_up == "invited" or invitation:
                wish = _invited(session, invitation, now, wish)
            return people.add_user(session, By("sign-up", now), wish).id

        return await self.sessions.open(await self.database.run(work))


def sign_up(said: str) -> SignUp:
    """Who may sign up, as a config says it. Raises UsageError."""
    if said not in ("off", "invited", "open"):
        raise UsageError(f"accounts.sign_up cannot be '{said[:40]}'.", "Give off, invited or open.")
    known: SignUp = said  # type: ignore[assignment]
    return known


def invite(session: Session, by: By, *, tier: str = "", team: str = "", lasts_s: float = INVITED_S) -> str:
    """A new invitation: the text that lets one person sign up. Raises UsageError for a team that is unknown."""
    session.execute(delete(Invitation).where(Invitation.expires_at <= by.now))
    team_id = people.team(session, team).id if team else ""
    token = secrets.token_urlsafe(24)
    until = by.now + int(lasts_s * 1_000_000)
    session.add(Invitation(hash=_hash(token), tier=tier, team=team_id, by=by.who, expires_at=until))
    audit.note(session, by, "user.invite", "", tier=tier, team=team)
    return token


def _invited(session: Session, token: str, now: int, wish: Wish) -> Wish:
    """What an invitation adds; it is used up, with the transaction that makes the user."""
    found = session.get(Invitation, _hash(token), with_for_update=True)
    if found is None or found.expires_at <= now:
        raise Denied("This invitation is used, too old, or none.", "Ask for another.", code="forbidden")
    session.delete(found)
    return replace(wish, tier=found.tier or None, team=found.team or None)


def _found(session: Session, who: str) -> User | None:
    try:
        return people.user(session, who)
    except UsageError:
        return None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
