"""Users and teams: added, found, changed and removed, each act in the audit log; the last admin always stays."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from voxpop.accounts import audit
from voxpop.accounts.audit import By
from voxpop.accounts.tables import Team, User, new_id
from voxpop.errors import UsageError

RANKS = ("admin", "member")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_TIER = re.compile(r"[a-z0-9_-]{0,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a user shall be; None leaves it as it is. `team` is a name or an id, empty for none."""

    name: str | None = None
    email: str | None = None
    rank: str | None = None
    tier: str | None = None
    country: str | None = None
    team: str | None = None
    disabled: bool | None = None
    password: str | None = None
    """Argon2's encoded hash (`passwords.hashed`)."""

    def said(self) -> dict[str, Any]:
        """For the audit log: a password only as that it was set."""
        names = ("name", "email", "rank", "tier", "country", "team", "disabled")
        said = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return said | ({"password": "set"} if self.password else {})


def count_users(session: Session) -> int:
    """How many there are."""
    return session.scalar(select(func.count()).select_from(User)) or 0


def users(session: Session, team: Team | None = None) -> Sequence[User]:
    """All, or a team's, by name."""
    query = select(User).order_by(User.folded)
    return session.scalars(query.where(User.team_id == team.id) if team else query).all()


def user(session: Session, who: str) -> User:
    """A user by id, name or e-mail address. Raises UsageError (`not_found`)."""
    named = (User.folded == folded(who)) | (User.email == who.strip().lower())
    # The id first: nobody stands for another by a name that looks like their id.
    found = (session.get(User, who) or session.scalar(select(User).where(named))) if who.isprintable() else None
    if not found:
        cure = "See who there is with: voxpop users list"
        raise UsageError(f"There is no user '{who[:80]}'.", cure, code="not_found")
    return found


def add_user(session: Session, by: By, wish: Wish) -> User:
    """A new user; the first one is an admin. Raises UsageError where the name or address is taken or cannot be."""
    audit.alone(session)
    if wish.name is None:
        raise UsageError("The user has no name.", "Give one.")
    first = count_users(session) == 0
    if first and wish.rank == "member":
        raise UsageError("The first user cannot be a member.", "Add an admin first.", code="no_admin")
    rank = wish.rank or ("admin" if first else "member")
    added = User(id=new_id("user"), created_at=by.now, rank=rank, tier="", country="", password="", disabled=False)
    _fill(session, added, wish)
    session.add(added)
    audit.note(session, by, "user.add", added.id, **wish.said() | {"rank": rank})
    session.flush()
    return added


def change_user(session: Session, by: By, changed: User, wish: Wish) -> None:
    """Make a user what is wished. Raises UsageError as `add_user`, and where no admin would be left."""
    audit.alone(session)
    session.refresh(changed)
    _fill(session, changed, wish)
    session.flush()
    _keep_an_admin(session)
    audit.note(session, by, "user.change", changed.id, of=changed.name, **wish.said())


def remove_user(session: Session, by: By, gone: User) -> None:
    """Remove a user with all their keys and sessions. Raises UsageError where no admin would be left."""
    audit.alone(session)
    session.delete(gone)
    session.flush()
    _keep_an_admin(session)
    audit.note(session, by, "user.remove", gone.id, name=gone.name)


def teams(session: Session) -> Sequence[Team]:
    """All, by name."""
    return session.scalars(select(Team).order_by(Team.folded)).all()


def team(session: Session, which: str) -> Team:
    """A team by id or name. Raises UsageError (`not_found`)."""
    named = Team.folded == folded(which)
    found = (session.get(Team, which) or session.scalar(select(Team).where(named))) if which.isprintable() else None
    if not found:
        cure = "See which there are with: voxpop teams list"
        raise UsageError(f"There is no team '{which[:80]}'.", cure, code="not_found")
    return found


def add_team(session: Session, by: By, name: str, tier: str = "") -> Team:
    """A new team. Raises UsageError where the name is taken or cannot be."""
    audit.alone(session)
    added = Team(id=new_id("team"), name=_name(name), folded=folded(name), tier=_tier(tier), created_at=by.now)
    _free(session, Team.folded, added.folded, added.id, f"The team '{added.name}' exists already.")
    session.add(added)
    audit.note(session, by, "team.add", added.id, name=added.name, tier=tier)
    session.flush()
    return added


def change_team(session: Session, by: By, changed: Team, *, tier: str) -> None:
    """Give a team another tier; empty for none of its own."""
    audit.alone(session)
    changed.tier = _tier(tier)
    audit.note(session, by, "team.change", changed.id, name=changed.name, tier=tier or "none")


def remove_team(session: Session, by: By, gone: Team) -> None:
    """Remove an empty team. Raises UsageError where it has members."""
    audit.alone(session)
    if held := users(session, gone):
        cure = f"Move them first, such as: voxpop teams members {gone.name} --remove {held[0].name}"
        raise UsageError(f"The team '{gone.name}' has {len(held)} members.", cure, code="has_members")
    session.delete(gone)
    audit.note(session, by, "team.remove", gone.id, name=gone.name)


def _fill(session: Session, filled: User, wish: Wish) -> None:
    if wish.name is not None:
        filled.name, filled.folded = _name(wish.name), folded(wish.name)
        _free(session, User.folded, filled.folded, filled.id, f"The name '{filled.name}' is taken.")
    if wish.email is not None:
        filled.email = _email(wish.email)
        _free(session, User.email, filled.email, filled.id, f"The address '{filled.email}' is taken.")
    if wish.rank is not None:
        if wish.rank not in RANKS:
            raise UsageError(f"A rank cannot be '{wish.rank[:40]}'.", "Give admin or member.")
        filled.rank = wish.rank
    if wish.tier is not None:
        filled.tier = _tier(wish.tier)
    if wish.country is not None:
        filled.country = _country(wish.country)
    if wish.team is not None:
        filled.team = team(session, wish.team) if wish.team else None
    if wish.disabled is not None:
        filled.disabled = wish.disabled
    if wish.password is not None:
        filled.password = wish.password


def _keep_an_admin(session: Session) -> None:
    admins = select(User.id).where(User.rank == "admin", User.disabled.is_(False)).limit(1)
    if session.scalar(admins) is None:
        what = "No admin would be left, and nobody could let anybody in."
        raise UsageError(what, "Make another admin first: voxpop users add NAME --admin", code="no_admin")


def _free(session: Session, column: Any, value: str | None, own: str, taken: str) -> None:
    if value is None:
        return
    with session.no_autoflush:
        holder = session.scalar(select(column.class_.id).where(column == value, column.class_.id != own))
    if holder:
        raise UsageError(taken, "Choose another.", code="taken")


def _name(name: str) -> str:
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 1 <= len(name) <= 64 or not name.isprintable() or "@" in name or name.startswith("-"):
        cure = "Give 1 to 64 characters without @, such as: ada"
        raise UsageError(f"A name cannot be '{name[:80]}'.", cure, code="bad_name")
    return name


def folded(name: str) -> str:
    """A name as it is compared: no two that look alike are two."""
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def _email(address: str) -> str | None:
    address = address.strip().lower()
    if address and not (_EMAIL.fullmatch(address) and address.isprintable()):
        raise UsageError(f"An e-mail address cannot be '{address[:80]}'.", "Give one such as ada@example.org.")
    return address or None


def _country(code: str) -> str:
    code = code.strip().upper()
    if code and not _COUNTRY.fullmatch(code):
        raise UsageError(f"A country cannot be '{code[:40]}'.", "Give ISO 3166-1's two letters, such as NZ.")
    return code


def _tier(name: str) -> str:
    name = name.strip().lower()
    if not _TIER.fullmatch(name):
        raise UsageError(f"A tier cannot be '{name[:80]}'.", "Give the name of one, such as premium.")
    return name
