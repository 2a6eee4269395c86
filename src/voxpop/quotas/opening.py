"""Opens what counts, as the settings say, and closes it; it counts nothing itself."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from voxpop.config import Accounts
from voxpop.quotas.permits import Quotas
from voxpop.quotas.short import Short
from voxpop.records import Database
from voxpop.tier_file import TierFile


def tier_file(settings: Accounts) -> TierFile:
    """The tiers in force. Raises UsageError where the operator's file says what cannot be."""
    return TierFile(Path(settings.tiers).expanduser() if settings.tiers else None)


@asynccontextmanager
async def opened(settings: Accounts, database: Database, clock: Callable[[], int]) -> AsyncIterator[Quotas]:
    """Quotas over a database that is entered; what was settled is written when this ends."""
    short = Short(settings.limits_url)
    quotas = Quotas(database, tier_file(settings), short, clock=clock)
    try:
        yield quotas
    finally:
        await quotas.close()
        await short.close()
