"""Remove what an account stored in the database, in the transaction that removes the account; nobody else's."""

from sqlalchemy.orm import Session

from voxpop import conversations, files
from voxpop.batches import store as batches


def forget(session: Session, owner: str) -> None:
    """Its conversations, files and batches; the bytes of its files are swept within two hours.

    The empty owner is nobody: what was stored before there were accounts is the operator's to remove.
    """
    if owner:
        for part in (conversations, files, batches):
            part.forget(session, owner)
