"""The waiting list of a tier that is let in by and by: who asked, since when, and at what place they are."""

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from voxpop.accounts import Account
from voxpop.quotas.tables import Waiting
from voxpop.tiers import Tier


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody stands in the list of a tier, from 1, of how many, and why they are not in yet."""

    tier: str
    title: str
    place: int
    of: int
    why: str


def note(session: Session, tier: str, account: Account, now: int) -> None:
    """Put an account at the end of the list; one that is there keeps its place."""
    row = {"tier": tier, "account": account.id, "name": account.name[:64], "country": account.country, "since": now}
    made = sqlite.insert(Waiting) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(Waiting)
    session.execute(made.on_conflict_do_nothing(index_elements=["tier", "account"]), row)


def let_in(session: Session, tier: str, account: str) -> None:
    """Take an account off the list."""
    session.execute(delete(Waiting).where(Waiting.tier == tier, Waiting.account == account))


def waiting(session: Session, tier: Tier, now: int) -> list[Waiting]:
    """Who waits for a tier under its rules of now, in order; who could come in by now is left out."""
    rows = session.scalars(
        select(Waiting).where(Waiting.tier == tier.name).order_by(Waiting.since, Waiting.account)
    )
    return [
        r for r in rows if tier.rollout.keeps_out(tier.name, Account(r.account, r.name, country=r.country), now)
    ]


def place(session: Session, tier: Tier, account: Account, why: str, now: int) -> Place:
    """Where an account stands that has been noted."""
    rows = waiting(session, tier, now)
    before = [r.account for r in rows]
    at = before.index(account.id) + 1 if account.id in before else len(before) + 1
    return Place(tier.name, tier.title, at, max(at, len(before)), why)
