"""Remove what an account leaves beside the database, its kept answers and standing questions; nobody else's."""

from pathlib import Path

from voxpop.history import NAME as ANSWERS
from voxpop.history import History
from voxpop.watches import NAME as WATCHES
from voxpop.watches import Watches


async def forget(owner: str, history: History, watches: Watches) -> None:
    """Remove an account's answers and watches from what a running server has open. Raises VoxpopError.

    The empty owner is nobody: what was asked before there were accounts is the operator's to remove.
    """
    if owner:
        await history.forget(owner)
        await watches.forget(owner)


async def forget_in(data: Path, owner: str) -> None:
    """The same in a data folder, that of invented posts included, from another process than the server's.

    Never call it where the server runs: closing the file of the watches once more would drop its locks there.
    """
    for folder in (data, data / "simulated"):
        if owner and (folder / ANSWERS).exists():
            async with History(folder, keep_days=1, clock=lambda: 0) as history:  # at 0 nothing is too old
                await history.forget(owner)
        if owner and (folder / WATCHES).exists():
            async with Watches(folder) as watches:
                await watches.forget(owner)
