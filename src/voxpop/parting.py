"""Remove an account and all that it leaves, from the command line and over HTTP alike; nobody else's.

The ledger of what was used and the audit log stay: they are the operator's own, and cannot be changed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from voxpop import conversations, deferred, files
from voxpop.accounts import people
from voxpop.accounts.audit import By
from voxpop.batches import store as batches
from voxpop.quotas import ledger

Work = Callable[[Session, By], "Parted"]


@dataclass(frozen=True, slots=True)
class Parted:
    """A user who is gone, and the ids of files whose bytes are still to go."""

    id: str
    name: str
    files: tuple[str, ...]


async def part(
    who: str, do: Callable[[Work], Awaitable[Parted]], beside: Callable[[str], Awaitable[None]], data: Path
) -> Parted:
    """Remove a user with all that is theirs. Raises UsageError for one who is unknown or the last admin.

    `do` carries a work out in one transaction; `beside` removes the answers and standing questions of an id;
    `data` is the data folder.
    """

    def work(session: Session, by: By) -> Parted:
        gone = people.user(session, who)
        people.remove_user(session, by, gone)
        return Parted(gone.id, gone.name, tuple(forget(session, gone.id)))

    parted = await do(work)
    await beside(parted.id)
    await asyncio.to_thread(files.wipe, data / files.FOLDER, parted.files)
    return parted


def forget(session: Session, owner: str) -> list[str]:
    """Remove what an account stored in the database, in a transaction that is open; the ids of its files.

    The empty owner is nobody: what was stored before there were accounts is the operator's to remove.
    """
    if not owner:
        return []
    for part_ in (conversations, deferred, batches, ledger):
        part_.forget(session, owner)
    return files.forget(session, owner)
