"""Who comes in: a key or a session becomes an account; without any account this machine is its one user's.

What is known of a key is kept for half a second, so that a revocation is felt within one, in every process.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlalchemy.orm import Session

from voxpop.accounts import Account, Credential, Denied, Permit, Spent, Wanted, keys, people, secret
from voxpop.accounts.keys import Known
from voxpop.accounts.tables import User
from voxpop.errors import VoxpopError
from voxpop.messages import Asker
from voxpop.records import Database

LASTS_S = 0.5
_MOST = 10_000  # accounts that are kept at once; beyond them all are looked up anew


class Quotas(Protocol):
    """What sets aside what a request wants."""

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        """Raises Limited where too little is left, Denied where the tier lacks it."""
        ...


class Sessions(Protocol):
    """What knows the sessions of signed-in pages."""

    async def user(self, token: str) -> str:
        """The id of the user whose session it is; empty for one that is unknown or over."""
        ...


class NoQuotas:
    """Nothing is counted and nobody is stopped."""

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        return _Free(Asker(account.id))


class OpenGate(NoQuotas):
    """The gate of a machine without accounts: everybody on it is its one user, and nothing is counted."""

    async def account(self, credential: Credential) -> Account:
        return Account()


@dataclass(frozen=True, slots=True)
class _Free:
    asker: Asker

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    async def settle(self, spent: Spent) -> int:
        return 0

    async def refund(self, why: str) -> None:
        """Nothing was taken."""


@dataclass(frozen=True, slots=True)
class _Seen:
    known: Known
    at: float
    """When the look began, by `ticks`."""


@dataclass(slots=True)
class AccountGate:
    """The gate of a database of accounts.

    `open_here`: without any user, everybody who reaches this server is its one user; only for loopback. `clock` is
    in microseconds of UTC, `ticks` in seconds that never go back.
    """

    database: Database
    clock: Callable[[], int]
    open_here: bool = True
    quotas: Quotas = field(default_factory=NoQuotas)
    sessions: Sessions | None = None
    ticks: Callable[[], float] = time.monotonic
    _seen: dict[bytes | str, _Seen] = field(default_factory=dict)
    _asked: dict[bytes | str, "asyncio.Task[_Seen]"] = field(default_factory=dict)
    _owned: bool = False
    _empty_at: float = float("-inf")

    async def account(self, credential: Credential) -> Account:
        """Who comes by this credential. Raises Denied."""
        if not await self._is_owned():
            if self.open_here:
                return Account(country=credential.country)
            cure = "Make one on the server: voxpop users add NAME --admin, then voxpop keys create NAME"
            raise Denied("This server has no accounts yet.", cure, code="invalid_api_key")
        account = await self._named(credential)
        if credential.country and not account.country:
            account = replace(account, country=credential.country)
        return account

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        """Set aside what is wanted. Raises Limited or Denied."""
        return await self.quotas.permit(account, wanted)

    async def _named(self, credential: Credential) -> Account:
        if credential.key:
            given = secret.read(credential.key)
            if given is None:
                cure = "Send it as it was shown: vx-, 8 characters, -, 43 characters."
                raise Denied("This is no key of this server.", cure, code="invalid_api_key")
            return await self._known(given.hash, lambda s: keys.known(s, given, self.clock()))
        if credential.session and self.sessions:
            id_ = await self.sessions.user(credential.session)
            if id_:
                return await self._known(id_, lambda s: _signed_in(s, id_))
        cure = "Send `Authorization: Bearer vx-…`; an admin makes keys with: voxpop keys create NAME"
        raise Denied("A key is needed here.", cure, code="invalid_api_key")

    async def _is_owned(self) -> bool:
        """Whether there is any user. Once there is one it stays so: the last admin cannot be removed."""
        if not self._owned and self.ticks() - self._empty_at > LASTS_S:
            at = self.ticks()
            self._owned = bool(await self.database.run(people.count_users, write=False))
            self._empty_at = at
        return self._owned

    async def _known(self, by: bytes | str, look: Callable[[Session], Known]) -> Account:
        seen = self._seen.get(by)
        if seen is None or self.ticks() - seen.at > LASTS_S:
            # However many ask at once, one looks; that one of them goes away stops no other.
            task = self._asked.get(by)
            if task is None:
                task = self._asked[by] = asyncio.create_task(self._look(by, look))
                task.add_done_callback(lambda done: self._looked(by, done))
            seen = await asyncio.shield(task)
        if seen.known.until is not None and seen.known.until <= self.clock():
            raise Denied("This key is expired.", "Ask an admin for a new one.", code="invalid_api_key")
        return seen.known.account

    def _looked(self, by: bytes | str, done: "asyncio.Task[_Seen]") -> None:
        self._asked.pop(by, None)
        if not done.cancelled():
            done.exception()  # taken note of, also where who asked is gone

    async def _look(self, by: bytes | str, look: Callable[[Session], Known]) -> _Seen:
        def work(session: Session) -> _Seen:
            at = self.ticks()  # before the look: what is read can be no older
            return _Seen(look(session), at)

        try:
            seen = await self.database.run(work, write=False)
        except Denied:
            self._seen.pop(by, None)
            raise
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[by] = seen
        await self._note_use(seen.known)
        return seen

    async def _note_use(self, known: Known) -> None:
        id_, now = known.account.key, self.clock()
        if id_ and (known.used_at is None or known.used_at + keys.COARSE_US <= now):
            with suppress(VoxpopError):  # who has a good key is not turned away because that cannot be noted
                await self.database.run(lambda s: keys.used(s, id_, now))


def _signed_in(session: Session, id_: str) -> Known:
    found = session.get(User, id_)
    if found is None or found.disabled:
        raise Denied("This account is not there any more.", "Sign in as another.", code="invalid_api_key")
    return Known(keys.account_of(found), None, None)
