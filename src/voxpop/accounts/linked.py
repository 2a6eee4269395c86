"""Whose account somebody from a provider of identities is: linked by issuer and subject, never by a name.

The first time, an address that the provider has verified finds the user who has it; else a user is added, unless
that is off. The provider is trusted for the addresses that it calls verified: it is the operator's own choice.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.accounts import Denied, audit, people
from voxpop.accounts.audit import By
from voxpop.accounts.people import Wish
from voxpop.accounts.tables import User
from voxpop.errors import UsageError
from voxpop.records import Base


class Linked(Base):
    """An account elsewhere, and the user who signs in by it."""

    __tablename__ = "sign_ins"
    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)


@dataclass(frozen=True, slots=True)
class Began:
    """A sign-in that was begun: what the browser must bring back, and the address to send it to."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is by a provider's word. `email`: empty unless verified; `wish`: what the claims map to."""

    issuer: str
    subject: str
    name: str
    email: str
    wish: Wish = Wish()


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may come in by a provider: `domains` of verified addresses, none for all; `add` lets new ones in."""

    domains: Sequence[str] = ()
    add: bool = True


def user_of(session: Session, identity: Identity, admitted: Admitted, now: int) -> str:
    """The id of the user; claims that map to a tier, team or rank are taken over. Raises Denied."""
    _check_domain(identity, admitted)
    audit.alone(session)
    by = By("sign-in", now)
    found = _linked(session, identity) or _by_address(session, identity, by)
    if found is None:
        if not admitted.add:
            what = "Nobody here is known by your account."
            raise Denied(what, "Ask an admin of this server to add your address.", code="forbidden")
        found = _added(session, identity, by)
    elif changes := _changes(found, identity.wish):
        people.change_user(session, by, found, changes)
    if found.disabled:
        raise Denied("This account is disabled.", "Ask an admin of this server.", code="forbidden")
    return found.id


def _check_domain(identity: Identity, admitted: Admitted) -> None:
    domain = identity.email.rpartition("@")[2]
    if admitted.domains and domain not in {d.lower() for d in admitted.domains}:
        what = f"Addresses of '{domain}' may not sign in here." if domain else "Your address is not verified."
        raise Denied(what, f"Use one of: {', '.join(admitted.domains)}.", code="forbidden")


def _linked(session: Session, identity: Identity) -> User | None:
    link = session.get(Linked, (identity.issuer, identity.subject))
    return session.get(User, link.user_id) if link else None


def _by_address(session: Session, identity: Identity, by: By) -> User | None:
    user = session.scalar(select(User).where(User.email == identity.email)) if identity.email else None
    # Who is linked already with this provider is somebody else there: an address was given to another.
    taken = user and session.scalar(
        select(Linked.subject).where(Linked.issuer == identity.issuer, Linked.user_id == user.id)
    )
    if user is None or taken:
        return None
    _link(session, identity, user, by)
    return user


def _added(session: Session, identity: Identity, by: By) -> User:
    held = session.scalar(select(User.id).where(User.email == identity.email)) if identity.email else None
    email = None if held else identity.email or None
    name = _free_name(session, identity.name)
    user = people.add_user(session, by, replace(identity.wish, name=name, email=email))
    _link(session, identity, user, by)
    return user


def _link(session: Session, identity: Identity, user: User, by: By) -> None:
    session.add(Linked(issuer=identity.issuer, subject=identity.subject, user_id=user.id))
    audit.note(session, by, "user.link", user.id, of=user.name, issuer=identity.issuer)
    session.flush()


def _free_name(session: Session, wanted: str) -> str:
    """A name near the one that is wanted which nobody has."""
    bare = " ".join(re.sub(r"[^\w .'-]", " ", wanted).split()).lstrip("-")[:56].strip() or "user"
    for number in range(1, 10_000):
        name = bare if number == 1 else f"{bare} {number}"
        try:
            people.user(session, name)
        except UsageError:
            return name
    raise UsageError("No name is free.", "Ask an admin of this server to add you.", code="taken")


def _changes(user: User, wish: Wish) -> Wish | None:
    """What of the wish is not so already."""
    team = user.team.name if user.team else ""
    now = {"rank": user.rank, "tier": user.tier, "team": team}
    given = {name: value for name in now if (value := getattr(wish, name)) is not None and value != now[name]}
    return Wish(**given) if given else None
