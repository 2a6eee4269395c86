"""API keys: made, rotated, revoked and known again; a key never makes one that may do more than itself.

A secret is given back once, by `create` or `rotate`; afterwards there is only its hash.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from voxpop.accounts import Account, Denied, audit, secret
from voxpop.accounts.audit import By
from voxpop.accounts.secret import Sealed
from voxpop.accounts.tables import Key, Secret, Team, User, new_id
from voxpop.errors import UsageError
from voxpop.times import iso

COARSE_US = 60_000_000
_SCOPE = re.compile(r"\*|[a-z0-9][a-z0-9._-]{0,63}")
_MOST_SCOPES = 50
_MOST_KEYS = 100  # of one user, revoked ones aside
_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Known:
    """A key that is good: whose it is, and until when (microseconds of UTC). `used_at` is a whole minute."""

    account: Account
    until: int | None
    used_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """What a key is for: names of models and endpoints, `*` for all, and until when it is valid."""

    models: Sequence[str] = ("*",)
    endpoints: Sequence[str] = ("*",)
    expires_at: int | None = None

    def check(self, now: int) -> None:
        """Raises UsageError for a name that cannot be, none at all, or a time that is over."""
        for kind, names in (("model", self.models), ("endpoint", self.endpoints)):
            wrong = [n for n in names if not _SCOPE.fullmatch(n)]
            if wrong or not 0 < len(names) <= _MOST_SCOPES:
                what = f"A key cannot be for the {kind} '{wrong[0][:60]}'." if wrong else f"A key for no {kind}."
                raise UsageError(what, f"Give 1 to {_MOST_SCOPES} names such as chat, or * for all.")
        if self.expires_at is not None and self.expires_at <= now:
            raise UsageError("The key would be expired at once.", "Give a time to come, such as 90d.")


def create(
    session: Session, by: By, owner: User, name: str, scopes: Scopes, *, within: str = ""
) -> tuple[Key, str]:
    """A new key and its secret. `within`: the id of the key that asks for it, which it cannot exceed.

    Raises UsageError for scopes that cannot be, Denied for wider ones.
    """
    audit.alone(session)
    scopes.check(by.now)
    if len(held(session, owner, by.now)) >= _MOST_KEYS:
        raise UsageError(f"'{owner.name}' has {_MOST_KEYS} keys.", "Revoke one first.", code="too_many_keys")
    if not 1 <= len(name.strip()) <= 64 or not name.isprintable():
        raise UsageError(f"A key's name cannot be '{name[:80]}'.", "Give 1 to 64 characters, such as: laptop")
    made = Key(
        id=new_id("key"),
        user_id=owner.id,
        user=owner,
        name=name.strip(),
        models=sorted(set(scopes.models)),
        endpoints=sorted(set(scopes.endpoints)),
        created_at=by.now,
        changed_at=by.now,
        changed_by=by.who,
        expires_at=scopes.expires_at,
    )
    _refuse_wider(session, made, within)
    session.add(made)
    clear = _add_secret(session, made, by.now)
    audit.note(session, by, "key.create", made.id, **_said(made), prefix=made.secrets[-1].prefix)
    return made, clear


def rotate(session: Session, by: By, key: Key, *, grace_s: float = 0, within: str = "") -> str:
    """A new secret for a key; its older ones end now, or after `grace_s`. Raises Denied, and UsageError."""
    audit.alone(session)
    session.refresh(key)
    _refuse_wider(session, key, within)
    if key.revoked_at is not None:
        raise UsageError(f"The key '{key.id}' is revoked.", "Create a new one.", code="revoked")
    ends = by.now + round(grace_s * _S)
    for old in list(key.secrets):
        if ends <= by.now or (old.until is not None and old.until <= by.now):
            key.secrets.remove(old)
        else:
            old.until = min(ends, old.until or ends)
    key.changed_at, key.changed_by = by.now, by.who
    clear = _add_secret(session, key, by.now)
    audit.note(session, by, "key.rotate", key.id, of=key.user_id, grace_s=grace_s, prefix=key.secrets[-1].prefix)
    return clear


def revoke(session: Session, by: By, key: Key, *, within: str = "") -> None:
    """End a key, for good; to do it again changes nothing. Raises Denied."""
    audit.alone(session)
    session.refresh(key)
    _refuse_wider(session, key, within)
    if key.revoked_at is None:
        key.revoked_at = key.changed_at = by.now
        key.changed_by = by.who
        audit.note(session, by, "key.revoke", key.id, of=key.user_id, name=key.name)


def keys(session: Session, owner: User | None = None) -> Sequence[Key]:
    """All, or a user's, the oldest first."""
    query = select(Key).order_by(Key.created_at, Key.id)
    return session.scalars(query.where(Key.user_id == owner.id) if owner else query).all()


def held(session: Session, owner: User, now: int) -> Sequence[Key]:
    """A user's keys that are neither revoked nor expired."""
    valid = Key.revoked_at.is_(None) & (Key.expires_at.is_(None) | (Key.expires_at > now))
    return session.scalars(select(Key).where(Key.user_id == owner.id, valid)).all()


def key(session: Session, which: str, owner: str = "") -> Key:
    """A key by its id or a secret's prefix; with `owner`, a user's id, only theirs. Raises UsageError."""
    found = session.get(Key, which) if which.isprintable() else None  # PostgreSQL takes no NUL
    if not found and which.isprintable():
        prefix = which.removeprefix("vx-").partition("-")[0]
        kept = session.get(Secret, prefix)
        found = kept.key if kept else None
    if not found or (owner and found.user_id != owner):
        shown = which if which.startswith("key_") else which[:11]  # it may be a whole secret
        cure = "See which there are with: voxpop keys list"
        raise UsageError(f"There is no key '{shown[:40]}'.", cure, code="not_found")
    return found


def known(session: Session, given: Sealed, now: int) -> Known:
    """Whose key this is. Raises Denied for one that is unknown, expired, revoked, or of somebody disabled."""
    row = session.execute(_KNOWN.where(Secret.prefix == given.prefix)).first()
    if not secret.same(row.hash if row else bytes(32), given.hash) or row is None:
        raise Denied("This key is not known.", "Check it, or ask an admin for a new one.", code="invalid_api_key")
    return _good(row, now)


def still(session: Session, account: Account, now: int) -> Account:
    """Who asked before, as it is now: for what is done later for it. Raises Denied where it may not."""
    if not account.id:
        return account
    if account.key:
        row = session.execute(_KNOWN.where(Key.id == account.key).order_by(Secret.created_at.desc())).first()
        if row is not None:
            return _good(row, now).account
    elif (user := session.get(User, account.id)) is not None and not user.disabled:
        return account_of(user)
    raise Denied("Who asked this is not there any more.", "Ask by another account.", code="invalid_api_key")


def _good(row: Any, now: int) -> Known:
    ends = [t for t in (row.until, row.expires_at) if t is not None]
    why = (
        "is revoked"
        if row.revoked_at is not None
        else "is expired"
        if min(ends, default=now + 1) <= now
        else "belongs to a disabled account"
        if row.disabled
        else ""
    )
    if why:
        raise Denied(f"This key {why}.", "Ask an admin for a new one.", code="invalid_api_key")
    account = Account(
        id=row.user_id,
        name=row.name,
        team=row.team_id or "",
        rank=row.rank,
        tier=row.tier or row.team_tier or "",
        country=row.country,
        key=row.key_id,
        models=frozenset(row.models),
        endpoints=frozenset(row.endpoints),
    )
    return Known(account, min(ends, default=None), row.used_at)


def account_of(found: User) -> Account:
    """The account of a user who came without a key: signed in."""
    tier = found.tier or (found.team.tier if found.team else "")
    return Account(
        id=found.id,
        name=found.name,
        team=found.team_id or "",
        rank="admin" if found.rank == "admin" else "member",
        tier=tier,
        country=found.country,
    )


def used(session: Session, id_: str, now: int) -> None:
    """Note that a key was used, to the minute: finer would say more of a person than anybody needs."""
    at = now - now % COARSE_US
    earlier = Key.used_at.is_(None) | (Key.used_at < at)
    session.execute(update(Key).where(Key.id == id_, earlier).values(used_at=at))


def acls(account: Account) -> list[str]:
    """What a key is for, as xAI writes it."""
    models = [f"api-key:model:{name}" for name in sorted(account.models)]
    return models + [f"api-key:endpoint:{name}" for name in sorted(account.endpoints)]


def information(session: Session, account: Account) -> dict[str, Any]:
    """What xAI says of a key at `GET /v1/api-key`; of the one user of a machine without accounts as well."""
    key = session.get(Key, account.key) if account.key else None
    return {
        "redacted_api_key": secret.redacted(key.secrets[-1].prefix) if key and key.secrets else "",
        "user_id": account.id,
        "name": key.name if key else account.name,
        "create_time": iso(key.created_at if key else 0),
        "modify_time": iso(key.changed_at if key else 0),
        "modified_by": key.changed_by.partition(" ")[0] if key else "",
        "team_id": account.team,
        "acls": acls(account),
        "api_key_id": account.key,
        "team_blocked": False,
        "api_key_blocked": False,
        "api_key_disabled": False,
    }


_KNOWN = (
    select(
        Secret.hash,
        Secret.until,
        Key.id.label("key_id"),
        Key.models,
        Key.endpoints,
        Key.expires_at,
        Key.revoked_at,
        Key.used_at,
        User.id.label("user_id"),
        User.name,
        User.team_id,
        User.rank,
        User.tier,
        User.country,
        User.disabled,
        Team.tier.label("team_tier"),
    )
    .join(Key, Key.id == Secret.key_id)
    .join(User, User.id == Key.user_id)
    .outerjoin(Team, Team.id == User.team_id)
)


def _add_secret(session: Session, key: Key, now: int) -> str:
    clear, sealed = secret.mint()
    while session.get(Secret, sealed.prefix):
        clear, sealed = secret.mint()
    key.secrets.append(Secret(prefix=sealed.prefix, hash=sealed.hash, created_at=now))
    session.flush()
    return clear


def _refuse_wider(session: Session, wanted: Key, within: str) -> None:
    if not within:
        return
    own = session.get(Key, within)
    if own is None:
        raise Denied("The key that you use is gone.", "Use another.", code="invalid_api_key")
    late = own.expires_at is not None and (wanted.expires_at is None or wanted.expires_at > own.expires_at)
    if late or not (_covers(own.models, wanted.models) and _covers(own.endpoints, wanted.endpoints)):
        what = "That key may do more, or for longer, than the one that you use."
        raise Denied(what, "Use a wider key, or ask for less.", code="forbidden")


def _covers(own: Iterable[str], wanted: Iterable[str]) -> bool:
    return "*" in own or set(wanted) <= set(own)


def _said(key: Key) -> dict[str, object]:
    until = {"expires_at": key.expires_at}
    return {"of": key.user_id, "name": key.name, "models": key.models, "endpoints": key.endpoints, **until}
