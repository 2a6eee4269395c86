"""Requests with an `Idempotency-Key`: each is served once for its account, and answered alike for a day after.

What is kept of an answer is sealed under the posts that it rests on; this keeps no body of a request, only digests.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from voxpop.quotas.ledger import inserting
from voxpop.quotas.tables import Repeat
from voxpop.times import MICROS

DAY = 86_400 * MICROS
State = Literal["new", "under way", "another", "done"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who repeats what: the account, its key's digest, and the digest of method, path and body."""

    account: str
    key: str
    digest: bytes

    @classmethod
    def of(cls, account: str, key: str, *request: bytes) -> "Asked":
        """The names of a request; neither key nor body can be read from them."""
        parts = b"".join(len(part).to_bytes(8) + part for part in request)
        return cls(account, hashlib.sha256(key.encode()).hexdigest(), hashlib.sha256(parts).digest())


def begin(session: Session, asked: Asked, server: str, now: int) -> tuple[State, bytes]:
    """Whether it is to be served now (`new`, which one alone is told), and the sealed answer once it is done."""
    session.execute(delete(Repeat).where(Repeat.at < now - DAY))
    row = {"account": asked.account, "key": asked.key, "digest": asked.digest}
    made = inserting(session, Repeat).on_conflict_do_nothing(index_elements=["account", "key"]).returning(Repeat.at)
    if session.execute(made, {**row, "server": server, "at": now, "sealed": b""}).first():
        return "new", b""
    found = session.get_one(Repeat, (asked.account, asked.key))
    if found.digest != asked.digest:
        return "another", b""
    return ("under way", b"") if found.server else ("done", found.sealed)


def end(session: Session, asked: Asked, server: str, sealed: bytes) -> None:
    """Keep the answer; empty: it is not to be kept, and the next who asks is served anew."""
    mine = (Repeat.account == asked.account) & (Repeat.key == asked.key) & (Repeat.server == server)
    if sealed:
        session.execute(update(Repeat).where(mine).values(sealed=sealed, server=""))
    else:
        session.execute(delete(Repeat).where(mine))
